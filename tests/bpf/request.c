/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The first request of a connection: held until its head is whole, decided, and given to a pod; then packets both ways. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define HEAD "GET /index.html HTTP/1.1\r\nHost: example.com\r\nuserhash: 1010101010\r\nAccept: */*\r\n\r\n"

/* ---- the choice ----------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *sentence;
	int frontend;
	const char *request;
	enum dialog_version version;
	int reason; /* that is counted, or -1 */
} choices[] = {
	{ "a rule's prefix", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n", DIALOG_V2, -1 },
	{ "the prefix is the whole id", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 101\r\n\r\n", DIALOG_V2, -1 },
	{ "the id is shorter than the prefix", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 10\r\n\r\n", DIALOG_V1, -1 },
	{ "no rule", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1111100000\r\n\r\n", DIALOG_V1, -1 },
	{ "an exact rule before its prefix", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1010\r\n\r\n", DIALOG_V1, -1 },
	{ "an exact rule is for no longer id", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 10100\r\n\r\n", DIALOG_V2, -1 },
	{ "case of name and Host, white space, a port", 10, "GET / HTTP/1.1\r\nHOST:\tExample.COM:80 \r\nUserHash:\t 1011 \r\n\r\n", DIALOG_V2, -1 },
	{ "no id", 10, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", DIALOG_V1, SHUNT_R_ID_MISSING },
	{ "an empty id", 10, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: \r\n\r\n", DIALOG_V1, SHUNT_R_ID_MISSING },
	{ "a Host of no route takes the first", 10, "GET / HTTP/1.1\r\nHost: example.net\r\nuserhash: 1011\r\n\r\n", DIALOG_V2, SHUNT_R_HOST_UNMATCHED },
	{ "a longer Host is another", 10, "GET / HTTP/1.1\r\nHost: xexample.com\r\nuserhash: 1011\r\n\r\n", DIALOG_V2, SHUNT_R_HOST_UNMATCHED },
	{ "no Host", 10, "GET / HTTP/1.0\r\nuserhash: 1011\r\n\r\n", DIALOG_V2, SHUNT_R_HOST_UNMATCHED },
	{ "a version without pods, with a fallback", 13, "GET / HTTP/1.1\r\nHost: x\r\nuserhash: 1\r\n\r\n", DIALOG_V1, SHUNT_R_FALLBACK },
};

static void test_each_request_goes_to_its_version(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(choices); i++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, choices[i].version);

			d.sentence = choices[i].sentence;
			bpfrun_forget(*state);
			dialog_towards(&d, choices[i].frontend, 80);
			dialog_connects(&d);
			dialog_says(&d, choices[i].request);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, choices[i].request, strlen(choices[i].request));
			if (choices[i].reason >= 0)
				assert_int_equal(bpfrun_reason(*state, choices[i].reason), 1);
			for (int odd = SHUNT_R_HOST_UNMATCHED; odd <= SHUNT_R_FALLBACK; odd++)
				if (odd != choices[i].reason)
					assert_int_equal(bpfrun_reason(*state, odd), 0);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_BIND), 1);
		}
	}
}

/* The other route has another identity header and a Host suffix: about half of its users go to each version, and each always to the same. */
static void test_a_split_divides_users_and_keeps_each(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		int second = 0;

		for (int user = 0; user < 64; user++) {
			int version[2];

			for (int time = 0; time < 2; time++) {
				struct dialog d = dialog_of(*state, family);
				struct dialog_pod pods[2] = { dialog_pod(&d, DIALOG_V1), dialog_pod(&d, DIALOG_V2) };
				char request[128];

				d.cport = 20000 + user * 2 + time;
				snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: a%d.example.org\r\nuserhash: 1011\r\nuser: u%d\r\n\r\n", time, user);
				dialog_connects(&d);
				dialog_says(&d, request);
				version[time] = d.r.out.pkt.dport == pods[1].port;
				dialog_expect_leg(&d, &pods[version[time]], d.isn + 1);
			}
			assert_int_equal(version[0], version[1]);
			second += version[0];
		}
		assert_in_range(second, 16, 48);
		bpfrun_forget(*state);
	}
}

static void test_without_any_pod_the_client_is_reset(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);

		dialog_towards(&d, 12, 80);
		dialog_connects(&d);
		dialog_says(&d, "GET / HTTP/1.1\r\nHost: x\r\nuserhash: 1\r\n\r\n");
		if (d.r.verdict != V_REDIRECT || d.r.out.why || !(d.r.out.pkt.flags & RST) || d.r.out.pkt.seq != d.received)
			dialog_fail(&d, "no reset");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_NO_POD), family + 1);
	}
}

/* ---- the head in pieces --------------------------------------------------------------------------------------------------------------- */

static void test_a_head_cut_anywhere_is_put_together(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t cut = 1; cut < strlen(HEAD); cut++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

			d.cport = 20000 + cut;
			dialog_connects(&d);
			dialog_sends(&d, HEAD, cut);
			dialog_expect_ack(&d);
			dialog_says(&d, HEAD + cut);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		}
		bpfrun_forget(*state);
	}
}

static void test_a_head_byte_by_byte_is_put_together(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		for (size_t i = 0; i + 1 < strlen(HEAD); i++) {
			dialog_sends(&d, HEAD + i, 1);
			dialog_expect_ack(&d);
			assert_int_equal(bpfrun_holds(*state), 1);
		}
		dialog_says(&d, HEAD + strlen(HEAD) - 1);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		dialog_pod_says(&d, &pod, "");
		assert_int_equal(bpfrun_holds(*state), 0); /* the pod has it */
	}
}

static void test_a_piece_that_comes_again_is_acknowledged_again_and_held_once(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

	dialog_connects(&d);
	dialog_sends(&d, HEAD, 30);
	dialog_expect_ack(&d);
	d.next -= 30;
	dialog_sends(&d, HEAD, 30);
	dialog_expect_ack(&d);
	d.next -= 10; /* overlaps */
	dialog_says(&d, HEAD + 20);
	dialog_expect_leg(&d, &pod, d.isn + 1);
	dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
}

static void test_a_piece_behind_a_gap_is_dropped_and_comes_again(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V6);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

	dialog_connects(&d);
	d.next += 30;
	dialog_says(&d, HEAD + 30);
	assert_int_equal(d.r.verdict, V_DROP);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_DROP), 1);
	d.next = d.isn + 1;
	dialog_says(&d, HEAD);
	dialog_expect_leg(&d, &pod, d.isn + 1);
	dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
}

/* ---- what is no readable head --------------------------------------------------------------------------------------------------------- */

static void test_what_is_not_http_is_bound_by_client_address_and_pinned(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} each[] = { { "\x16\x03\x01\x02\x00\x01\x00", 7 }, { "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24 }, { "hello\r\n", 7 } };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct shunt_flow flow;

			bpfrun_forget(*state);
			dialog_connects(&d);
			dialog_sends(&d, each[i].bytes, each[i].len);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, each[i].bytes, each[i].len);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_NOT_HTTP), 1);
			assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow));
			assert_true(flow.flags & SHUNT_F_PINNED);

			dialog_says(&d, HEAD); /* would be another version's */
			dialog_expect_at_pod(&d, &pod, HEAD, strlen(HEAD));
		}
	}
}

static void test_a_head_too_long_to_hold_is_bound_by_client_address_and_pinned(void **state)
{
	static char head[SHUNT_HOLD_SIZE];
	const size_t piece = 1024;

	memset(head, 'x', sizeof(head));
	memcpy(head, "GET /", 5);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

		dialog_connects(&d);
		for (size_t at = 0; at + piece < sizeof(head); at += piece) {
			dialog_sends(&d, head + at, piece);
			dialog_expect_ack(&d);
		}
		dialog_sends(&d, head + sizeof(head) - piece, piece);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_HEAD_TOO_LONG), family + 1);
		dialog_pod_accepts(&d, &pod, head, sizeof(head));
		assert_true(d.r.clones >= 2); /* in segments */
		dialog_says(&d, "more of it");
		dialog_expect_at_pod(&d, &pod, "more of it", 10);
	}
}

/* ---- the leg -------------------------------------------------------------------------------------------------------------------------- */

/* RFC 9293 section 3.1: without ACK the field means nothing; every stack sends 0, and a filter on the way may insist. */
static void test_a_legs_syn_acknowledges_nothing(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_sends(&d, HEAD, 10);
		dialog_says(&d, HEAD + 10);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(d.r.out.pkt.ack, 0);
	}
}

static void test_a_client_without_timestamps_gets_a_leg_without(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		d.tstamp = d.sack = d.wscale = false;
		dialog_exchange(&d, &pod, HEAD);
	}
}

static void test_held_bytes_leave_in_segments_of_the_clients_mss(void **state)
{
	static const uint16_t sizes[] = { 536, 1300, 1460 };
	static char head[4000];

	snprintf(head, sizeof(head), "GET /%03000d HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n", 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct dialog d = dialog_of(*state, SHUNT_V4);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		size_t first = 1000;

		d.mss = sizes[i];
		d.cport += i;
		dialog_connects(&d);
		for (size_t at = 0; at < 3000; at += first) {
			dialog_sends(&d, head + at, first);
			dialog_expect_ack(&d);
		}
		dialog_says(&d, head + 3000);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, head, strlen(head));
		for (size_t k = 0; k < d.r.clones; k++)
			assert_true(d.r.clone[k].pkt.len <= sizes[i] - 12u);
		assert_true(d.r.clones >= strlen(head) / sizes[i]);
	}
}

static void test_a_syn_ack_that_comes_again_brings_the_held_bytes_again(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		pod.received = d.isn + 1; /* it was lost */
		pod.sent = pod.iss;
		dialog_pod_flags(&d, &pod, SYN | ACK);
		if (d.r.verdict != V_REDIRECT || d.r.mark != SHUNT_MARK || d.r.out.why || d.r.out.pkt.seq != d.isn + 1 ||
		    d.r.out.pkt.len != strlen(HEAD) || memcmp(d.r.out.pkt.payload, HEAD, strlen(HEAD)))
			dialog_fail(&d, "the held bytes do not come again");
	}
}

static void test_the_clients_own_retransmission_opens_the_leg_again(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		d.next = d.isn + 1; /* the SYN was lost */
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), family + 1);
	}
}

static void test_a_challenge_ack_means_another_port_at_once(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		uint16_t first;

		dialog_connects(&d);
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(pod.lport, d.cport);
		first = pod.lport;
		pod.received += 5000; /* what the pod remembers of the tuple */
		dialog_pod_flags(&d, &pod, ACK);
		if (d.r.verdict != V_REDIRECT || d.r.mark != SHUNT_MARK || d.r.out.why || d.r.out.pkt.flags != SYN || d.r.out.pkt.sport == first ||
		    d.r.out.pkt.dport != pod.port || d.r.out.pkt.seq != d.isn)
			dialog_fail(&d, "no SYN from another port");
		pod.lport = d.r.out.pkt.sport;
		pod.received = d.isn + 1;
		pod.tsecr = d.r.out.pkt.tsval;
		dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		dialog_pod_says(&d, &pod, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_CHALLENGED), family + 1);
	}
}

static void test_a_pod_that_refuses_resets_the_client(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		pod.sent = 0;
		dialog_pod_flags(&d, &pod, RST | ACK);
		if (d.r.verdict != V_PASS || d.r.out.why || !(d.r.out.pkt.flags & RST) || d.r.out.pkt.seq != d.received || d.r.out.pkt.sport != 80)
			dialog_fail(&d, "no reset for the client");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_REFUSED), family + 1);
	}
}

/* ---- established ---------------------------------------------------------------------------------------------------------------------- */

static void test_packets_pass_both_ways_in_each_ends_numbers(void **state)
{
	static char body[1300];

	memset(body, 'b', sizeof(body));
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_says(&d, HEAD);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, HEAD, strlen(HEAD));
		dialog_pod_sends(&d, &pod, "", 0);
		dialog_pod_says(&d, &pod, "HTTP/1.1 200 OK\r\nContent-Length: 13000\r\n\r\n");
		for (int i = 0; i < 10; i++) { /* across the pod's sequence wrap and odd lengths */
			dialog_pod_sends(&d, &pod, body, 1299 + i % 2);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
		}
	}
}

static void test_sack_blocks_are_in_each_ends_numbers(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t blocks = 1; blocks < PKT_SACK_MAX; blocks++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct pkt pkt;

			bpfrun_forget(*state);
			dialog_exchange(&d, &pod, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
			pkt = (struct pkt){ .saddr = d.client, .daddr = d.frontend, .sport = d.cport, .dport = 80, .flags = ACK, .seq = d.next,
					    .ack = d.received, .window = 512, .tstamp = true, .tsval = ++d.tsval, .tsecr = d.tsecr, .sacks = blocks };
			for (size_t i = 0; i < blocks; i++) {
				pkt.sack[i][0] = d.received + 1000 * (i + 1);
				pkt.sack[i][1] = d.received + 1000 * (i + 1) + 500;
			}
			bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
			assert_int_equal(d.r.out.pkt.sacks, blocks);
			for (size_t i = 0; i < blocks; i++) {
				assert_int_equal(d.r.out.pkt.sack[i][0], pod.sent + 1000 * (i + 1));
				assert_int_equal(d.r.out.pkt.sack[i][1], pod.sent + 1000 * (i + 1) + 500);
			}
			/* On this first leg the client's numbers are the pod's: blocks of the pod stay. */
			pkt = (struct pkt){ .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = pod.lport, .flags = ACK, .seq = pod.sent,
					    .ack = pod.received, .window = 512, .tstamp = true, .tsval = ++pod.tsval, .tsecr = pod.tsecr, .sacks = blocks,
					    .sack = { { 1, 2 }, { 3, 4 }, { 5, 6 } } };
			bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
			assert_null(d.r.out.why);
			assert_int_equal(d.r.out.pkt.sacks, blocks);
			assert_memory_equal(d.r.out.pkt.sack, pkt.sack, blocks * sizeof(pkt.sack[0]));
		}
	}
}

#define ROOM (SHUNT_HOLD_SIZE - SHUNT_EDIT_MAX)

/* The pod's window, in our scale, and never beyond what the hold takes behind this request, whose head may become longer there. */
static void test_the_window_is_rescaled_and_clamped(void **state)
{
	static const struct {
		uint16_t window;
		uint32_t bytes; /* for the client */
	} each[] = { { 0, 0 }, { 1, 1 << 10 }, { 3, 3 << 10 }, { SHUNT_HOLD_SIZE >> 10, ROOM }, { 65535, ROOM } };
	struct dialog d = dialog_of(*state, SHUNT_V4);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V1); /* scale 10 */

	dialog_exchange(&d, &pod, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
		struct pkt pkt = { .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = pod.lport, .flags = ACK, .seq = pod.sent,
				   .ack = pod.received, .window = each[i].window, .tstamp = true, .tsval = ++pod.tsval, .tsecr = pod.tsecr };

		bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
		assert_null(d.r.out.why);
		assert_int_equal(d.r.out.pkt.window, each[i].bytes >> 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_request_goes_to_its_version),
		cmocka_unit_test(test_a_split_divides_users_and_keeps_each),
		cmocka_unit_test(test_without_any_pod_the_client_is_reset),
		cmocka_unit_test(test_a_head_cut_anywhere_is_put_together),
		cmocka_unit_test(test_a_head_byte_by_byte_is_put_together),
		cmocka_unit_test(test_a_piece_that_comes_again_is_acknowledged_again_and_held_once),
		cmocka_unit_test(test_a_piece_behind_a_gap_is_dropped_and_comes_again),
		cmocka_unit_test(test_what_is_not_http_is_bound_by_client_address_and_pinned),
		cmocka_unit_test(test_a_head_too_long_to_hold_is_bound_by_client_address_and_pinned),
		cmocka_unit_test(test_a_legs_syn_acknowledges_nothing),
		cmocka_unit_test(test_a_client_without_timestamps_gets_a_leg_without),
		cmocka_unit_test(test_held_bytes_leave_in_segments_of_the_clients_mss),
		cmocka_unit_test(test_a_syn_ack_that_comes_again_brings_the_held_bytes_again),
		cmocka_unit_test(test_the_clients_own_retransmission_opens_the_leg_again),
		cmocka_unit_test(test_a_challenge_ack_means_another_port_at_once),
		cmocka_unit_test(test_a_pod_that_refuses_resets_the_client),
		cmocka_unit_test(test_packets_pass_both_ways_in_each_ends_numbers),
		cmocka_unit_test(test_sack_blocks_are_in_each_ends_numbers),
		cmocka_unit_test(test_the_window_is_rescaled_and_clamped),
	};

	return bpfrun_main("request", dialog_tables(), tests, ARRAY_SIZE(tests));
}
