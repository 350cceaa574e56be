/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connections that come and go, a hundred thousand of them: when the last is gone nothing is left of any. */
#include "../lib/dialog.h"

#include <string.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"

#define OF(user) "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define TWO OF("1011")
#define ONE OF("000")
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

enum { CONNECTIONS = 100000, PORTS = 60000, TOGETHER = 500 };

enum end { CLIENT_CLOSES, POD_CLOSES, CLIENT_RESETS, POD_RESETS, ENDS };

static void ends(struct dialog *d, struct dialog_pod *pod, enum end end)
{
	switch (end) {
	case CLIENT_CLOSES:
		dialog_flags(d, FIN | ACK);
		pod->received++;
		dialog_pod_flags(d, pod, FIN | ACK);
		d->received++;
		dialog_flags(d, ACK);
		break;
	case POD_CLOSES:
		dialog_pod_flags(d, pod, FIN | ACK);
		d->received++;
		dialog_flags(d, FIN | ACK);
		pod->received++;
		dialog_pod_flags(d, pod, ACK);
		break;
	case CLIENT_RESETS:
		dialog_flags(d, RST | ACK);
		break;
	default:
		dialog_pod_flags(d, pod, RST | ACK);
		break;
	}
}

/* One request, or one to each version. */
static void lives(struct bpfrun *run, int number)
{
	struct dialog d = dialog_of(run, number % SHUNT_FAMILIES);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V2), other = dialog_pod(&d, DIALOG_V1);
	bool both = number % 10 == 0;

	d.cport = 1024 + number % PORTS;
	d.isn = 7919u * number;
	dialog_exchange(&d, &pod, TWO);
	dialog_flags(&d, ACK);
	if (both) {
		dialog_says(&d, ONE);
		dialog_expect_leg(&d, &other, d.next - strlen(ONE));
		dialog_pod_accepts(&d, &other, ONE, strlen(ONE));
		dialog_pod_says(&d, &other, OK0);
		dialog_flags(&d, ACK);
	}
	ends(&d, both ? &other : &pod, number / 20 % ENDS);
}

static size_t locks_held(void)
{
	_cleanup_close_ int fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_lock");
	struct shunt_lock lock;
	size_t held = 0;

	for (uint32_t i = 0; i < SHUNT_LOCKS; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &i, &lock), 0);
		held += lock.held != 0;
	}
	return held;
}

static void test_nothing_is_left_of_a_hundred_thousand_connections(void **state)
{
	struct bpfrun *run = *state;
	struct bpfrun_result r;

	for (int i = 0; i < CONNECTIONS; i++) {
		lives(run, i);
		if (i % TOGETHER)
			continue;
		assert_int_equal(bpfrun_flows(run), 0);
		bpfrun_tick(run, SHUNT_TICK_MS, &r);
		assert_int_equal(r.clones + r.copies, 0);
	}
	bpfrun_tick(run, SHUNT_TICK_MS, &r);
	assert_int_equal(bpfrun_flows(run), 0);
	assert_int_equal(bpfrun_legs(run), 0);
	assert_int_equal(bpfrun_holds(run), 0);
	assert_int_equal(bpfrun_waits(run), 0);
	assert_int_equal(locks_held(), 0);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_NEW), CONNECTIONS);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_END), CONNECTIONS);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_REUSED), 0);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_REBIND), CONNECTIONS / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_left_of_a_hundred_thousand_connections),
	};

	return bpfrun_main("turnover", dialog_tables(), tests, ARRAY_SIZE(tests));
}
