/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Requests of several users on one connection: each goes to its user's version, over a leg of its own, and comes back to it. */
#include "../lib/dialog.h"

#include <string.h>

#include "util/cleanup.h"

#define OF(user, more) "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n" more "\r\n"
#define ONE OF("000", "")
#define TWO OF("1011", "")
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

struct both {
	struct dialog d;
	struct dialog_pod one, two;
};

/* An open connection whose first request went to v1. */
static struct both open_one(struct bpfrun *run, int family)
{
	struct both b = { .d = dialog_of(run, family) };

	bpfrun_forget(run);
	b.one = dialog_pod(&b.d, DIALOG_V1);
	b.two = dialog_pod(&b.d, DIALOG_V2);
	dialog_exchange(&b.d, &b.one, ONE);
	return b;
}

/* A clone told a pod that the client has all of its answer. */
static void expect_told(struct dialog *d, const struct dialog_pod *pod, uint8_t flags)
{
	assert_int_equal(d->r.clones, 1);
	dialog_expect_told(d, &d->r.clone[0], pod, flags);
}

/* The next request, of the other version, which has no leg yet. */
static void moves_to_new_leg(struct dialog *d, struct dialog_pod *from, struct dialog_pod *to, const char *request)
{
	uint32_t start = d->next;

	dialog_says(d, request);
	expect_told(d, from, ACK);
	dialog_expect_leg(d, to, start);
	dialog_pod_accepts(d, to, request, strlen(request));
}

/* The next request, of a version that has a leg: it is made anew in that leg's numbers. */
static void moves_back(struct dialog *d, struct dialog_pod *from, struct dialog_pod *to, const char *request)
{
	dialog_says(d, request);
	expect_told(d, from, ACK);
	if (d->r.verdict == V_REDIRECT && d->r.mark == SHUNT_MARK)
		d->r.verdict = V_PASS;
	dialog_expect_at_pod(d, to, request, strlen(request));
}

/* The pod's answer in the client's numbers: what went over other legs is counted in. */
static void answers(struct dialog *d, struct dialog_pod *pod, const char *answer)
{
	dialog_pod_says(d, pod, answer);
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

static void test_another_users_request_opens_a_leg_to_its_version(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);

		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		answers(&b.d, &b.two, OK5);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 2);
		assert_int_equal(bpfrun_legs(*state), 2);
	}
}

static void test_users_take_turns_on_two_legs_for_long(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);

		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		answers(&b.d, &b.two, OK5);
		for (int i = 0; i < 20; i++) {
			moves_back(&b.d, &b.two, &b.one, ONE);
			answers(&b.d, &b.one, OK5);
			if (i % 3 == 0) { /* now and then the same user twice */
				dialog_says(&b.d, ONE);
				dialog_expect_at_pod(&b.d, &b.one, ONE, strlen(ONE));
				answers(&b.d, &b.one, OK5);
			}
			moves_back(&b.d, &b.one, &b.two, TWO);
			answers(&b.d, &b.two, OK5);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 2);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 41);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_INTERNAL), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

static void test_a_moved_head_in_any_two_pieces_is_put_together(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t cut = 1; cut < strlen(TWO); cut += 5) {
			struct both b = open_one(*state, family);
			uint32_t start = b.d.next;

			dialog_sends(&b.d, TWO, cut);
			assert_int_equal(b.d.r.verdict, V_REDIRECT);
			assert_int_equal(b.d.r.out.pkt.ack, b.d.next);
			dialog_says(&b.d, TWO + cut);
			dialog_expect_leg(&b.d, &b.two, start);
			dialog_pod_accepts(&b.d, &b.two, TWO, strlen(TWO));
			answers(&b.d, &b.two, OK5);
		}
	}
}

static void test_a_flow_moves_only_when_the_client_has_the_answer(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);

		dialog_says(&b.d, ONE);
		dialog_expect_at_pod(&b.d, &b.one, ONE, strlen(ONE));
		dialog_waits(&b.d, TWO); /* the answer is not there */
		dialog_pod_completes(&b.d, &b.one, OK5);
		dialog_expect_probe(&b.d); /* it is on its way */
		dialog_flags(&b.d, ACK); /* now the client has it */
		expect_told(&b.d, &b.one, ACK);
		dialog_expect_leg(&b.d, &b.two, b.d.next - strlen(TWO));
		dialog_pod_accepts(&b.d, &b.two, TWO, strlen(TWO));
		answers(&b.d, &b.two, OK5);
	}
}

/* A client's ACK of a part of the answer moves nothing, and its retransmissions change nothing. */
static void test_a_flow_waits_for_the_ack_of_the_whole_answer(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);
		struct dialog before;

		dialog_says(&b.d, ONE);
		dialog_expect_at_pod(&b.d, &b.one, ONE, strlen(ONE));
		dialog_waits(&b.d, TWO);
		before = b.d;
		dialog_pod_completes(&b.d, &b.one, OK5);
		dialog_expect_probe(&b.d);
		before.received += 10;
		before.tsval = b.d.tsval;
		dialog_flags(&before, ACK);
		if (before.r.clones || before.r.verdict == V_DROP)
			dialog_fail(&before, "an ACK of half an answer moved the flow");
		b.d.tsval = before.tsval;
		b.d.next -= strlen(TWO);
		b.d.acked = before.received;
		b.d.received = before.received; /* sent again before the answer came in full */
		dialog_says(&b.d, TWO);
		if (b.d.r.clones || (b.d.r.verdict == V_PASS && !b.d.r.out.pkt.to_client))
			dialog_fail(&b.d, "a retransmission moved the flow");
		b.d.received = b.d.acked + strlen(OK5) - 10;
		dialog_flags(&b.d, ACK);
		expect_told(&b.d, &b.one, ACK);
		dialog_expect_leg(&b.d, &b.two, b.d.next - strlen(TWO));
		dialog_pod_accepts(&b.d, &b.two, TWO, strlen(TWO));
		answers(&b.d, &b.two, OK5);
	}
}

/* The users of pipelined requests, in order, while the answer before them is on its way. */
static void test_pipelined_requests_of_several_users_each_go_to_their_version(void **state)
{
	static const char *const orders[] = { "12", "21", "1122", "1212", "2112", "22221", "212121", "121221112" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
			struct both b = open_one(*state, family);
			struct dialog_pod *at = &b.one;
			bool two_is_open = false;

			b.d.sentence = orders[i];
			dialog_says(&b.d, ONE);
			dialog_expect_at_pod(&b.d, &b.one, ONE, strlen(ONE));
			for (const char *user = orders[i]; *user; user++)
				dialog_waits(&b.d, *user == '1' ? ONE : TWO);
			for (const char *user = orders[i]; *user; user++) {
				const char *request = *user == '1' ? ONE : TWO;
				struct dialog_pod *to = *user == '1' ? &b.one : &b.two;

				dialog_pod_completes(&b.d, at, OK5);
				if (to == at) {
					dialog_expect_released(&b.d, at, request);
					continue;
				}
				dialog_expect_probe(&b.d);
				dialog_flags(&b.d, ACK);
				expect_told(&b.d, at, ACK);
				if (to == &b.two && !two_is_open) {
					dialog_expect_leg(&b.d, to, b.d.next - b.d.waiting);
					dialog_pod_accepts(&b.d, to, request, strlen(request));
					two_is_open = true;
				} else {
					b.d.r.clones = 0; /* checked */
					dialog_expect_released(&b.d, to, request);
				}
				at = to;
			}
			answers(&b.d, at, OK5);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 2);
		}
	}
}

/* An old echo is a round-trip time of the client's whole pause, and its retransmission timer with it (RFC 7323 section 4.1). */
static void test_packets_that_we_make_have_the_clients_last_timestamp(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);
		uint32_t start = b.d.next;

		b.d.tsval += 60000;
		dialog_sends(&b.d, TWO, 20);
		assert_int_equal(b.d.r.out.pkt.tsecr, b.d.tsval);
		b.d.tsval += 60000;
		dialog_says(&b.d, TWO + 20);
		assert_int_equal(b.d.r.clones, 1);
		assert_int_equal(b.d.r.clone[0].pkt.tsval, b.d.tsval);
		assert_int_equal(b.d.r.out.pkt.tsval, b.d.tsval);
		dialog_expect_leg(&b.d, &b.two, start);
	}
}

/* ---- strays of the leg that is left ------------------------------------------------------------------------------------------------------ */

static void test_what_an_idle_leg_says_never_reaches_the_client(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);
		struct dialog_pod stray;

		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		stray = b.one;
		stray.sent -= 5; /* sent again */
		bpfrun_packet(*state, TO_CLIENT,
			      &(struct pkt){ .saddr = stray.addr, .daddr = b.d.client, .sport = stray.port, .dport = stray.lport, .flags = ACK,
					     .seq = stray.sent, .ack = stray.received, .window = 9, .tstamp = true, .tsval = 1, .payload = "hello", .len = 5 },
			      &b.d.r);
		if (b.d.r.verdict != V_REDIRECT || b.d.r.mark != SHUNT_MARK || b.d.r.out.why || b.d.r.out.pkt.flags != ACK ||
		    b.d.r.out.pkt.ack != b.one.sent || b.d.r.out.pkt.seq != b.one.received)
			dialog_fail(&b.d, "no ACK in answer");

		dialog_pod_flags(&b.d, &b.one, ACK); /* a bare ACK wants none */
		assert_int_equal(b.d.r.verdict, V_DROP);

		dialog_pod_flags(&b.d, &b.one, FIN | ACK); /* the pod's idle timer */
		if (b.d.r.verdict != V_REDIRECT || b.d.r.mark != SHUNT_MARK || !(b.d.r.out.pkt.flags & RST) || b.d.r.out.pkt.seq != b.one.received)
			dialog_fail(&b.d, "no reset in answer");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_IDLE_ANSWERED), 3);
		answers(&b.d, &b.two, OK5); /* the client knows nothing of it */
	}
}

static void test_a_leg_that_died_idle_is_opened_anew(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);

		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		answers(&b.d, &b.two, OK5);
		dialog_pod_flags(&b.d, &b.one, RST | ACK);
		assert_int_equal(b.d.r.verdict, V_DROP);
		b.one.iss += 123456;
		moves_to_new_leg(&b.d, &b.two, &b.one, ONE);
		answers(&b.d, &b.one, OK5);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 3);
	}
}

static void test_a_client_that_leaves_ends_all_legs(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);

		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		answers(&b.d, &b.two, OK5);
		dialog_flags(&b.d, RST | ACK);
		expect_told(&b.d, &b.one, RST | ACK);
		if (b.d.r.out.why || !(b.d.r.out.pkt.flags & RST) || b.d.r.out.pkt.dport != b.two.port || b.d.r.out.pkt.seq != b.two.received)
			dialog_fail(&b.d, "no reset for the current leg");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

/* ---- one pod of two versions -------------------------------------------------------------------------------------------------------------- */

/* A pod that is of two versions has a leg for each, and each its own port. */
static void test_two_versions_with_one_pod_have_two_legs(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct shunt_ring rings[4];
		struct tables t = *dialog_tables();
		struct both b;

		assert_int_equal(t.ring_count, ARRAY_SIZE(rings));
		memcpy(rings, t.rings, sizeof(rings));
		memcpy(rings + 2, rings, 2 * sizeof(*rings));
		t.rings = rings;
		bpfrun_commit(*state, &t);
		b = open_one(*state, family);
		b.two = b.one;
		b.two.iss += 5000000;
		moves_to_new_leg(&b.d, &b.one, &b.two, TWO);
		assert_true(b.two.lport != b.one.lport);
		assert_int_equal(bpfrun_legs(*state), 2);
		answers(&b.d, &b.two, OK5);
		moves_back(&b.d, &b.two, &b.one, ONE);
		answers(&b.d, &b.one, OK5);
		moves_back(&b.d, &b.one, &b.two, TWO);
		answers(&b.d, &b.two, OK5);
		dialog_flags(&b.d, RST | ACK);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		bpfrun_commit(*state, dialog_tables());
	}
}

/* ---- the plan changes --------------------------------------------------------------------------------------------------------------------- */

/* The tables of dialogs, but every user belongs to v2. */
static struct tables promoted(struct shunt_split splits[5])
{
	struct tables t = *dialog_tables();

	memcpy(splits, t.splits, 5 * sizeof(*splits));
	splits[0].share[0].version = 1;
	splits[1].share[0].version = 1;
	t.splits = splits;
	return t;
}

static void test_a_promotion_moves_open_connections_at_their_next_request(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);
		struct shunt_split splits[5];
		struct tables t = promoted(splits);

		bpfrun_commit(*state, &t);
		moves_to_new_leg(&b.d, &b.one, &b.two, ONE);
		answers(&b.d, &b.two, OK5);
		bpfrun_commit(*state, dialog_tables());
		moves_back(&b.d, &b.two, &b.one, ONE);
		answers(&b.d, &b.one, OK5);
	}
}

/* The only pod of a version with a fallback: an error of that version, and a request of the one that stands in. */
static void test_the_fallback_takes_the_request_that_the_only_pod_refused(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct both b = open_one(*state, family);
		struct series_numbers before, after;
		struct tables t = *dialog_tables();
		struct tables_version versions[4];
		struct bpfrun *run = *state;

		assert_int_equal(t.version_count, ARRAY_SIZE(versions));
		memcpy(versions, t.versions, sizeof(versions));
		versions[DIALOG_V2].value.fallback = DIALOG_V1;
		t.versions = versions;
		bpfrun_commit(run, &t);
		assert_int_equal(datapath_read_numbers(run->datapath, DIALOG_V2, &before), 0);
		dialog_says(&b.d, TWO);
		expect_told(&b.d, &b.one, ACK);
		dialog_expect_leg(&b.d, &b.two, b.d.next - strlen(TWO));
		b.two.sent = 0;
		dialog_pod_flags(&b.d, &b.two, RST | ACK);
		if (b.d.r.out.pkt.flags == SYN) { /* v1 anew */
			b.d.r.verdict = V_PASS;
			dialog_expect_leg(&b.d, &b.one, b.d.next - strlen(TWO));
			dialog_pod_accepts(&b.d, &b.one, TWO, strlen(TWO));
		} else { /* over v1's open leg */
			dialog_expect_released(&b.d, &b.one, TWO);
		}
		answers(&b.d, &b.one, OK5);
		assert_int_equal(bpfrun_reason(run, SHUNT_R_FALLBACK), 1);
		assert_int_equal(datapath_read_numbers(run->datapath, DIALOG_V2, &after), 0);
		assert_int_equal(after.count.errors - before.count.errors, 1);
		bpfrun_commit(run, dialog_tables());
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_another_users_request_opens_a_leg_to_its_version),
		cmocka_unit_test(test_users_take_turns_on_two_legs_for_long),
		cmocka_unit_test(test_a_moved_head_in_any_two_pieces_is_put_together),
		cmocka_unit_test(test_a_flow_moves_only_when_the_client_has_the_answer),
		cmocka_unit_test(test_a_flow_waits_for_the_ack_of_the_whole_answer),
		cmocka_unit_test(test_pipelined_requests_of_several_users_each_go_to_their_version),
		cmocka_unit_test(test_packets_that_we_make_have_the_clients_last_timestamp),
		cmocka_unit_test(test_what_an_idle_leg_says_never_reaches_the_client),
		cmocka_unit_test(test_a_leg_that_died_idle_is_opened_anew),
		cmocka_unit_test(test_a_client_that_leaves_ends_all_legs),
		cmocka_unit_test(test_two_versions_with_one_pod_have_two_legs),
		cmocka_unit_test(test_a_promotion_moves_open_connections_at_their_next_request),
		cmocka_unit_test(test_the_fallback_takes_the_request_that_the_only_pod_refused),
	};

	return bpfrun_main("rebind", dialog_tables(), tests, ARRAY_SIZE(tests));
}
