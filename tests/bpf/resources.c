/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is of a fixed number: hold buffers, places in the tables of flows and of legs. All of them are used, all come back, and what asks beyond is told so. */
#include "../lib/dialog.h"

#include <string.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"

#define GET "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define PART 10 /* bytes of a head that is not whole */

static void expect_nothing_left(struct bpfrun *run)
{
	assert_int_equal(bpfrun_holds(run), 0);
	assert_int_equal(bpfrun_legs(run), 0);
	assert_int_equal(bpfrun_flows(run), 0);
}

/* ---- hold buffers ----------------------------------------------------------------------------------------------------------------------- */

/* How a client's hold is left. */
enum way { SENT, ANSWERED_IN_PIECES, CLIENT_RESETS, CLIENT_CLOSES, CLIENT_RESETS_ITS_LEG, PORT_IS_REUSED, POD_REFUSES, NO_POD_IS_LEFT, AGE, WAYS };

/* What must be remembered of a client between its two parts; a whole dialog has room for captured packets and is too large for thousands. */
struct client {
	uint32_t next, received, acked, cookie, tsval, tsecr;
};

static void meet(struct bpfrun *run, struct dialog *d, int number, int round)
{
	*d = dialog_of(run, number % SHUNT_FAMILIES);
	d->cport = 10000 + number;
	d->isn = 1000003u * round + number;
	if (number % WAYS == NO_POD_IS_LEFT)
		dialog_towards(d, 12, 80);
}

static void remember(struct client *c, const struct dialog *d)
{
	*c = (struct client){ d->next, d->received, d->acked, d->cookie, d->tsval, d->tsecr };
}

static void recall(struct dialog *d, const struct client *c)
{
	d->next = c->next;
	d->received = c->received;
	d->acked = c->acked;
	d->cookie = c->cookie;
	d->tsval = c->tsval;
	d->tsecr = c->tsecr;
}

/* Part of a head, which takes a hold. With few free ones a search may end before it meets one; the client sends again. Returns how often it had to. */
static unsigned int send_part(struct dialog *d)
{
	unsigned int again = 0;

	for (;; again++) {
		dialog_sends(d, GET, PART);
		if (d->r.verdict == V_REDIRECT)
			break;
		d->next -= PART;
		assert_true(again < 2000);
	}
	dialog_expect_ack(d);
	return again;
}

static void leave(struct dialog *d, enum way way)
{
	struct dialog_pod pod = dialog_pod(d, DIALOG_V2);

	switch (way) {
	case CLIENT_RESETS:
		dialog_flags(d, RST | ACK);
		return;
	case CLIENT_CLOSES:
		dialog_flags(d, FIN | ACK);
		return;
	case PORT_IS_REUSED:
		d->isn += 500000;
		d->tsecr = 0;
		dialog_connects(d);
		dialog_flags(d, RST | ACK);
		return;
	case AGE:
		bpfrun_silence(d->run, &d->client, d->cport, &d->frontend, d->fport, SHUNT_IDLE_UNBOUND_S + 1);
		return;
	default:
		break;
	}
	dialog_says(d, &GET[PART]);
	if (way == NO_POD_IS_LEFT)
		return;
	dialog_expect_leg(d, &pod, d->isn + 1);
	if (way == CLIENT_RESETS_ITS_LEG) {
		dialog_flags(d, RST | ACK);
		return;
	}
	if (way == POD_REFUSES) {
		pod.sent = 0;
		dialog_pod_flags(d, &pod, RST | ACK);
		return;
	}
	dialog_pod_accepts(d, &pod, GET, strlen(GET));
	dialog_pod_sends(d, &pod, OK0, way == SENT ? strlen(OK0) : 20);
	if (way == ANSWERED_IN_PIECES)
		dialog_pod_says(d, &pod, &OK0[20]);
	dialog_flags(d, RST | ACK);
}

static void test_all_hold_buffers_are_filled_and_drained_a_hundred_times_and_none_leaks(void **state)
{
	enum { ROUNDS = 100 };
	static struct client clients[SHUNT_HOLDS];
	static struct dialog d;
	struct bpfrun *run = *state;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t full = bpfrun_reason(run, SHUNT_R_HOLD_FULL);

		for (int i = 0; i < SHUNT_HOLDS; i++) {
			meet(run, &d, i, round);
			dialog_connects(&d);
			full += send_part(&d);
			remember(&clients[i], &d);
		}
		assert_int_equal(bpfrun_holds(run), SHUNT_HOLDS);
		assert_int_equal(bpfrun_reason(run, SHUNT_R_HOLD_FULL), full);

		/* One more has to wait, and knows no more of it than of a lost packet. */
		meet(run, &d, SHUNT_HOLDS, round);
		dialog_connects(&d);
		dialog_sends(&d, GET, PART);
		assert_int_equal(d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(run, SHUNT_R_HOLD_FULL), full + 1);
		d.next -= PART;
		dialog_flags(&d, RST | ACK);

		for (int i = 0; i < SHUNT_HOLDS; i++) {
			meet(run, &d, i, round);
			recall(&d, &clients[i]);
			leave(&d, i % WAYS);
		}
		assert_int_equal(bpfrun_flows(run), (SHUNT_HOLDS + WAYS - 1 - AGE) / WAYS);
		assert_int_equal(datapath_sweep(run->datapath), 0);
		expect_nothing_left(run);
	}
	assert_int_equal(bpfrun_reason(run, SHUNT_R_HOLD_SENT), ROUNDS * ((SHUNT_HOLDS + WAYS - 1 - SENT) / WAYS + (SHUNT_HOLDS + WAYS - 1 - ANSWERED_IN_PIECES) / WAYS));
	assert_int_equal(bpfrun_reason(run, SHUNT_R_NO_POD), ROUNDS * ((SHUNT_HOLDS + WAYS - 1 - NO_POD_IS_LEFT) / WAYS));
}

/* ---- flows ------------------------------------------------------------------------------------------------------------------------------ */

enum { MOST = 8192 }; /* more than the tables of these tests have room for */

/* A SYN to the connection frontend; the verdict. */
static int connect_to(struct bpfrun *run, int number)
{
	struct dialog d = dialog_of(run, SHUNT_V4);
	struct pkt syn;

	dialog_towards(&d, 11, 443);
	syn = (struct pkt){ .saddr = d.client, .daddr = d.frontend, .sport = 10000 + number, .dport = d.fport, .flags = SYN, .seq = 7000, .window = 64240,
			    .mss = 1460 };
	bpfrun_packet(run, FROM_CLIENT, &syn, &d.r);
	return d.r.verdict;
}

static uint64_t requests(struct bpfrun *run)
{
	uint64_t sum = 0;

	for (int series = 0; series < 2; series++) {
		struct series_numbers numbers;

		assert_int_equal(datapath_read_numbers(run->datapath, series, &numbers), 0);
		sum += numbers.count.requests;
	}
	return sum;
}

static void test_a_full_flow_table_takes_no_connection_and_forgets_those_that_were_silent_for_long(void **state)
{
	struct bpfrun *run = *state;
	struct dialog d = dialog_of(run, SHUNT_V4);
	uint64_t before = requests(run);
	int n = 0;

	dialog_towards(&d, 11, 443);
	while (connect_to(run, n) == V_PASS && n < MOST)
		n++;
	assert_true(n < MOST);
	assert_int_equal(connect_to(run, n), V_DROP); /* it sends again and again */
	assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_FULL), 2);
	assert_int_equal(bpfrun_flows(run), n);
	assert_int_equal(bpfrun_legs(run), n);
	assert_int_equal(requests(run) - before, n);
	assert_int_equal(connect_to(run, 5), V_PASS); /* one that is there goes on */

	for (int i = 0; i < n; i += 2)
		bpfrun_silence(run, &d.client, 10000 + i, &d.frontend, d.fport, SHUNT_IDLE_BOUND_S + 1);
	assert_int_equal(datapath_sweep(run->datapath), 0);
	assert_int_equal(bpfrun_flows(run), n / 2);
	assert_int_equal(bpfrun_legs(run), n / 2);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_IDLE), (n + 1) / 2);
	assert_int_equal(connect_to(run, n), V_PASS);
}

static void test_a_full_table_of_legs_lets_requests_wait_until_there_is_room(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		_cleanup_close_ int legs = bpf_obj_get("/sys/fs/bpf/shunt/shunt_leg");
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		const struct shunt_leg_owner others = {};
		struct shunt_leg_key key = {};

		bpfrun_forget(*state);
		for (key.lport = 1; !bpf_map_update_elem(legs, &key, &others, BPF_NOEXIST); key.lport++)
			assert_true(key.lport < MOST);
		dialog_connects(&d);
		for (int i = 0; i < 3; i++) {
			dialog_says(&d, GET);
			if (d.r.verdict != V_DROP || d.r.clones || d.r.copies)
				dialog_fail(&d, "a packet without a place of its own");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_FULL), i + 1);
			d.next -= strlen(GET);
		}
		while (--key.lport)
			assert_int_equal(bpf_map_delete_elem(legs, &key), 0);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(pod.lport, d.cport);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, OK0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_hold_buffers_are_filled_and_drained_a_hundred_times_and_none_leaks),
		cmocka_unit_test(test_a_full_flow_table_takes_no_connection_and_forgets_those_that_were_silent_for_long),
		cmocka_unit_test(test_a_full_table_of_legs_lets_requests_wait_until_there_is_room),
	};

	return bpfrun_main("resources", dialog_tables(), tests, ARRAY_SIZE(tests));
}
