/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is told of flows, and what happens when there is no room: a full table, locks that are held. */
#include "../lib/dialog.h"

#include <arpa/inet.h>
#include <string.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"

#define TWO "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

enum { EVENTS = 4096 };

struct told {
	struct shunt_event event[EVENTS];
	size_t count;
};

static void on_event(void *arg, const struct shunt_event *event)
{
	struct told *told = arg;

	assert_true(told->count < EVENTS);
	told->event[told->count++] = *event;
}

static struct told *events(struct bpfrun *run)
{
	static struct told told;

	told.count = 0;
	bpfrun_events(run, on_event, &told);
	return &told;
}

static const struct shunt_event *find(const struct told *told, enum shunt_reason reason)
{
	for (size_t i = 0; i < told->count; i++)
		if (told->event[i].reason == reason)
			return &told->event[i];
	return NULL;
}

static struct dialog client_number(struct bpfrun *run, int family, int number)
{
	struct dialog d = dialog_of(run, family);

	d.cport = 20000 + number;
	return d;
}

static void test_an_event_names_the_flow_and_its_version_and_is_read_once(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		const struct shunt_event *event;

		bpfrun_forget(*state);
		events(*state);
		dialog_exchange(&d, &pod, TWO);
		dialog_says(&d, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\nContent-Length: +5\r\n\r\n");
		event = find(events(*state), SHUNT_R_REQUEST_UNFRAMED);
		assert_non_null(event);
		assert_memory_equal(&event->flow.client, &d.client, sizeof(d.client));
		assert_memory_equal(&event->flow.frontend, &d.frontend, sizeof(d.frontend));
		assert_int_equal(ntohs(event->flow.cport), d.cport);
		assert_int_equal(event->series, DIALOG_V2);
		assert_int_equal(events(*state)->count, 0);
	}
}

/* Also of a packet that is not read any further than its ports. */
static void test_an_event_of_a_packet_that_passes_untouched_names_its_own_client(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4), other = d;
	struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = 1234, .dport = d.fport, .flags = SYN, .seq = 5 };
	const struct shunt_event *event;
	struct bpfrun_result r;
	uint8_t frame[PKT_MAX];
	size_t len;

	bpfrun_forget(*state);
	other.cport = 4321;
	dialog_connects(&other); /* what the programs had in their hands before */
	len = pkt_build(&pkt, frame);
	frame[20] = 0x20; /* more fragments */
	events(*state);
	bpfrun_bytes(*state, FROM_CLIENT, frame, len, &r);
	event = find(events(*state), SHUNT_R_FRAGMENT);
	assert_non_null(event);
	assert_memory_equal(&event->flow.client, &d.client, sizeof(d.client));
	assert_memory_equal(&event->flow.frontend, &d.frontend, sizeof(d.frontend));
	assert_int_equal(ntohs(event->flow.cport), 1234);
	assert_int_equal(event->series, SHUNT_NONE);
}

/* A refused leg, a table without a pod and so on are told in their own tests' terms: here the table of reasons says what is an event at all. */
static void test_what_is_odd_is_an_event_and_what_is_of_every_packet_is_none(void **state)
{
	static const struct {
		enum shunt_reason reason;
		const char *sort;
	} all[] = {
#define X(name, sort, text) { SHUNT_R_##name, #sort },
		SHUNT_REASONS(X)
#undef X
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		assert_int_equal(shunt_is_event(all[i].reason), !!strcmp(all[i].sort, "note"));
	assert_false(shunt_is_event(SHUNT_R_EVENT_LOST));
}

static void test_a_flood_of_events_is_cut_and_counted(void **state)
{
	struct bpfrun_result r;
	struct dialog d = dialog_of(*state, SHUNT_V4);
	uint64_t told, lost;

	bpfrun_forget(*state);
	events(*state);
	for (int i = 0; i < 2000; i++) {
		struct pkt stray = { .saddr = d.client, .daddr = d.frontend, .sport = d.cport, .dport = d.fport, .flags = ACK, .seq = i * 100000u, .ack = i };

		bpfrun_packet(*state, FROM_CLIENT, &stray, &r);
	}
	told = events(*state)->count;
	lost = bpfrun_reason(*state, SHUNT_R_EVENT_LOST);
	assert_true(told > 0 && lost > 0);
	assert_int_equal(told + lost, bpfrun_reason(*state, SHUNT_R_COOKIE_BAD) + bpfrun_reason(*state, SHUNT_R_FLOW_UNKNOWN));
}

/* A flow that has no place is no flow: its client sends again, and the others do not notice. */
static void test_a_full_flow_table_refuses_new_flows_and_touches_no_other(void **state)
{
	enum { MOST = 8192 };
	struct dialog first = client_number(*state, SHUNT_V4, 0), d;
	struct dialog_pod pod = dialog_pod(&first, DIALOG_V2);
	int n = 0;

	bpfrun_forget(*state);
	dialog_exchange(&first, &pod, TWO);
	while (!bpfrun_reason(*state, SHUNT_R_FLOW_FULL) && ++n < MOST) {
		d = client_number(*state, SHUNT_V4, n);
		dialog_connects(&d);
	}
	assert_true(n < MOST);
	assert_int_equal(d.r.verdict, V_DROP);
	assert_int_equal(bpfrun_flows(*state), n);
	dialog_says(&first, TWO);
	dialog_expect_at_pod(&first, &pod, TWO, strlen(TWO));
	dialog_pod_says(&first, &pod, OK0);
	dialog_flags(&first, ACK);
	dialog_expect_at_pod(&first, &pod, NULL, 0);
	dialog_flags(&first, RST | ACK); /* makes room */
	dialog_flags(&d, ACK);
	assert_int_equal(bpfrun_flows(*state), n);
}

static void hold_locks(uint32_t held)
{
	_cleanup_close_ int fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_lock");
	const struct shunt_lock lock = { .held = held };

	for (uint32_t i = 0; i < SHUNT_LOCKS; i++)
		assert_int_equal(bpf_map_update_elem(fd, &i, &lock, BPF_ANY), 0);
}

static void test_a_packet_that_waits_in_vain_for_its_flow_is_dropped_and_counted(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

	bpfrun_forget(*state);
	dialog_exchange(&d, &pod, TWO);
	hold_locks(1);
	dialog_says(&d, TWO);
	assert_int_equal(d.r.verdict, V_DROP);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_LOCK_TIMEOUT), 1);
	hold_locks(0);
	d.next -= strlen(TWO); /* again */
	dialog_says(&d, TWO);
	dialog_expect_at_pod(&d, &pod, TWO, strlen(TWO));
}

/* A pod's veth is gone, with all who waited behind it: their packets have nowhere to go. */
static void test_a_packet_whose_interface_is_gone_is_dropped_and_counted(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		_cleanup_close_ int flows = bpf_obj_get("/sys/fs/bpf/shunt/shunt_flow");
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		struct shunt_flow_key key = { .client = d.client, .frontend = d.frontend, .cport = htons(d.cport), .fport = htons(d.fport) };
		struct shunt_flow flow;

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_says(&d, TWO);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(bpf_map_lookup_elem(flows, &key, &flow), 0);
		flow.ifindex = 9999;
		assert_int_equal(bpf_map_update_elem(flows, &key, &flow, BPF_EXIST), 0);
		bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &d.r);
		assert_int_equal(d.r.clones + d.r.copies, 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_INTERNAL), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_event_names_the_flow_and_its_version_and_is_read_once),
		cmocka_unit_test(test_an_event_of_a_packet_that_passes_untouched_names_its_own_client),
		cmocka_unit_test(test_what_is_odd_is_an_event_and_what_is_of_every_packet_is_none),
		cmocka_unit_test(test_a_flood_of_events_is_cut_and_counted),
		cmocka_unit_test(test_a_full_flow_table_refuses_new_flows_and_touches_no_other),
		cmocka_unit_test(test_a_packet_that_waits_in_vain_for_its_flow_is_dropped_and_counted),
		cmocka_unit_test(test_a_packet_whose_interface_is_gone_is_dropped_and_counted),
	};

	return bpfrun_main("events", dialog_tables(), tests, ARRAY_SIZE(tests));
}
