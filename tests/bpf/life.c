/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What ends a flow and what must not: resets, used ports, silence; and what becomes of requests when there is no room for them. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define OF(user) "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define GET OF("1011")
#define OTHER OF("000")
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

/* It still works: one more exchange. */
static void expect_alive(struct dialog *d, struct dialog_pod *pod)
{
	dialog_says(d, GET);
	dialog_expect_at_pod(d, pod, GET, strlen(GET));
	dialog_pod_says(d, pod, OK0);
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

static void expect_nothing_left(struct bpfrun *run)
{
	assert_int_equal(bpfrun_flows(run), 0);
	assert_int_equal(bpfrun_legs(run), 0);
	assert_int_equal(bpfrun_holds(run), 0);
}

/* ---- resets ----------------------------------------------------------------------------------------------------------------------------- */

/* Somebody guesses: the pod would not believe these numbers (RFC 9293 section 3.10.7.4), so the flow must not either. */
static void test_a_reset_outside_the_window_ends_nothing(void **state)
{
	static const int32_t off[] = { -1, -1000, -0x10000000, 0x10000000, 0x7fffffff };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
			struct dialog forged = d;

			forged.next += off[i];
			dialog_flags(&forged, i % 2 ? RST : RST | ACK);
			d.tsval = forged.tsval;
			assert_int_equal(bpfrun_flows(*state), 1);
			assert_int_equal(bpfrun_legs(*state), 1);
			expect_alive(&d, &pod);
		}
	}
}

static void test_a_reset_inside_the_window_ends_the_flow(void **state)
{
	static const int32_t off[] = { 0, 1, 60000 };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			d.next += off[i];
			dialog_flags(&d, RST);
			if (d.r.verdict != V_PASS || d.r.out.why || d.r.out.pkt.flags != RST || d.r.out.pkt.seq != pod.received + off[i])
				dialog_fail(&d, "the reset does not reach the pod");
			expect_nothing_left(*state);
		}
	}
}

/* Before the pod is there: the numbers that were acknowledged, and no others. */
static void test_a_guessed_reset_does_not_end_a_flow_whose_head_is_collected(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family), forged;
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_sends(&d, GET, 10);
		forged = d;
		for (int i = 0; i < 2; i++) {
			forged.next = i ? d.isn - 5 : d.next + 5000;
			dialog_flags(&forged, RST);
			assert_int_equal(forged.r.verdict, V_DROP);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_STRAY), 2);
		d.tsval = forged.tsval;
		dialog_says(&d, GET + 10);
		dialog_expect_leg(&d, &pod, d.isn + 1);
	}
}

/* ---- ports that are used again ------------------------------------------------------------------------------------------------------------ */

/* SYN and ACK from somebody who does not see our answer. */
static void test_a_guessed_ack_after_a_syn_does_not_end_the_live_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET), forged = d;

		forged.isn = 77777;
		forged.tsecr = 0;
		dialog_syn(&forged);
		forged.received += 0x01020300; /* not the cookie */
		for (int i = 0; i < 3; i++) {
			if (i == 2)
				dialog_says(&forged, GET);
			else
				dialog_flags(&forged, i ? ACK | FIN : ACK);
			if (forged.r.verdict != V_REDIRECT || forged.r.out.pkt.flags != RST || forged.r.out.pkt.seq != forged.received)
				dialog_fail(&forged, "no reset for the guesser");
			forged.next = forged.isn + 1;
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_BAD), 3);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_REUSED), 0);
		assert_int_equal(bpfrun_flows(*state), 1);
		d.tsval = forged.tsval;
		expect_alive(&d, &pod);
	}
}

static void test_a_proved_ack_replaces_the_flow_and_all_that_it_had(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_sends(&d, GET, 10); /* the old one even has a hold */
		dialog_expect_ack(&d);
		assert_int_equal(bpfrun_holds(*state), 1);
		d.isn = 77777;
		d.tsecr = 0;
		dialog_connects(&d);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_REUSED), 1);
		assert_int_equal(bpfrun_flows(*state), 1);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, OK0);
	}
}

static void expect_reset(struct dialog *d)
{
	if (d->r.verdict != V_REDIRECT || d->r.out.why || !d->r.out.pkt.to_client || d->r.out.pkt.flags != RST || d->r.out.pkt.seq != d->received)
		dialog_fail(d, "no reset for the client");
}

static void test_the_first_ack_of_a_closed_flow_comes_too_late(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET), first = d;

		dialog_flags(&d, FIN | ACK);
		pod.received++;
		dialog_pod_flags(&d, &pod, FIN | ACK);
		d.received++;
		dialog_flags(&d, ACK);
		expect_nothing_left(*state);
		first.next = first.isn + 1;
		first.received = first.cookie + 1;
		dialog_flags(&first, ACK);
		assert_int_equal(first.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_REPLAYED), 1);
		dialog_says(&first, GET);
		expect_reset(&first);
		expect_nothing_left(*state);
	}
}

/*
 * As much was answered as was asked, so what comes again proves a SYN cookie, too: it is the client's number plus a hash. A request that comes again must
 * not be served again. Only a SYN makes these numbers good for another connection.
 */
static void test_late_packets_of_a_closed_flow_begin_nothing(void **state)
{
	for (int i = 0; i < 2 * SHUNT_FAMILIES; i++) {
		struct dialog d = dialog_of(*state, i % 2), late;
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		char answer[sizeof(GET) + 1];
		uint32_t tsecr;

		bpfrun_forget(*state);
		d.tstamp = i < 2;
		snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nX: %0*d\r\nContent-Length: 0\r\n\r\n", (int)sizeof(GET) - 44, 0);
		assert_int_equal(strlen(answer), strlen(GET));
		dialog_connects(&d);
		tsecr = d.tsecr;
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, answer);
		late = d;
		late.tsecr = tsecr; /* what the client was promised stands there, too */
		dialog_says(&d, GET);
		pod.received += strlen(GET);
		dialog_pod_says(&d, &pod, answer);
		dialog_flags(&d, RST | ACK);
		expect_nothing_left(*state);
		dialog_says(&late, GET);
		expect_reset(&late);
		dialog_flags(&late, ACK);
		assert_int_equal(late.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_REPLAYED), 1);
		dialog_flags(&late, ACK | FIN);
		expect_reset(&late);
		expect_nothing_left(*state);
		d.isn += 20;
		d.tsecr = 0;
		dialog_exchange(&d, &pod, GET);
	}
}

/* ---- a plan without its frontend ---------------------------------------------------------------------------------------------------------- */

static void test_a_connection_whose_frontend_leaves_the_plan_stays_where_it_is(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct tables without = *dialog_tables();
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_flags(&d, ACK);
		without.frontend_count = 0;
		bpfrun_commit(*state, &without);
		for (int i = 0; i < 3; i++) {
			dialog_says(&d, OTHER);
			dialog_expect_at_pod(&d, &pod, OTHER, strlen(OTHER));
			dialog_pod_says(&d, &pod, OK0);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_NO_TABLE), 1);
		bpfrun_commit(*state, dialog_tables());
	}
}

/* ---- silence ------------------------------------------------------------------------------------------------------------------------------ */

enum stage { HEAD_COLLECTED, LEG_OPENING, BOUND, TWO_LEGS, CLIENT_FIN, POD_FIN, STAGES };

static const struct {
	const char *sentence;
	unsigned int limit;
} stages[STAGES] = {
	[HEAD_COLLECTED] = { "half a head", SHUNT_IDLE_UNBOUND_S },
	[LEG_OPENING] = { "a pod that says nothing", SHUNT_IDLE_UNBOUND_S },
	[BOUND] = { "an open connection", SHUNT_IDLE_BOUND_S },
	[TWO_LEGS] = { "an open connection with an idle leg", SHUNT_IDLE_BOUND_S },
	[CLIENT_FIN] = { "a client that closed", SHUNT_IDLE_CLOSING_S },
	[POD_FIN] = { "a pod that closed", SHUNT_IDLE_CLOSING_S },
};

static struct dialog reach(struct bpfrun *run, int family, enum stage stage)
{
	struct dialog d = dialog_of(run, family);
	struct dialog_pod one = dialog_pod(&d, DIALOG_V1), pod = dialog_pod(&d, DIALOG_V2);

	bpfrun_forget(run);
	if (stage <= LEG_OPENING) {
		dialog_connects(&d);
		dialog_sends(&d, GET, stage == HEAD_COLLECTED ? 10 : strlen(GET));
		assert_int_equal(bpfrun_holds(run), 1);
		return d;
	}
	dialog_exchange(&d, &pod, GET);
	if (stage == TWO_LEGS) {
		dialog_says(&d, OTHER);
		dialog_expect_leg(&d, &one, d.next - strlen(OTHER));
		dialog_pod_accepts(&d, &one, OTHER, strlen(OTHER));
		assert_int_equal(bpfrun_legs(run), 2);
	}
	if (stage == CLIENT_FIN)
		dialog_flags(&d, FIN | ACK);
	if (stage == POD_FIN)
		dialog_pod_flags(&d, &pod, FIN | ACK);
	return d;
}

static void test_the_sweep_ends_flows_that_were_silent_for_too_long_and_no_others(void **state)
{
	struct bpfrun *run = *state;

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int stage = 0; stage < STAGES; stage++) {
			struct dialog d = reach(run, family, stage);
			size_t legs = bpfrun_legs(run), held = bpfrun_holds(run);

			bpfrun_silence(run, &d.client, d.cport, &d.frontend, d.fport, -1); /* heard of by another CPU since the sweep began */
			assert_int_equal(datapath_sweep(run->datapath), 0);
			assert_int_equal(bpfrun_flows(run), 1);
			bpfrun_silence(run, &d.client, d.cport, &d.frontend, d.fport, stages[stage].limit - 5);
			assert_int_equal(datapath_sweep(run->datapath), 0);
			if (bpfrun_flows(run) != 1 || bpfrun_legs(run) != legs || bpfrun_holds(run) != held)
				fail_msg("%s: swept too early", stages[stage].sentence);
			bpfrun_silence(run, &d.client, d.cport, &d.frontend, d.fport, stages[stage].limit + 1);
			assert_int_equal(datapath_sweep(run->datapath), 0);
			if (bpfrun_flows(run) || bpfrun_legs(run) || bpfrun_holds(run))
				fail_msg("%s: not swept: %zu flows, %zu legs, %zu holds", stages[stage].sentence, bpfrun_flows(run), bpfrun_legs(run),
					 bpfrun_holds(run));
			assert_int_equal(bpfrun_reason(run, SHUNT_R_FLOW_IDLE), 1);
		}
	}
}

static void test_the_sweep_finds_the_silent_among_many(void **state)
{
	enum { MANY = 200 };
	struct bpfrun *run = *state;

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		bpfrun_forget(run);
		for (int i = 0; i < MANY; i++) {
			struct dialog d = dialog_of(run, family);

			d.cport = 30000 + i;
			dialog_connects(&d);
			if (i % 3 == 0)
				bpfrun_silence(run, &d.client, d.cport, &d.frontend, d.fport, SHUNT_IDLE_UNBOUND_S + 1);
		}
		assert_int_equal(datapath_sweep(run->datapath), 0);
		assert_int_equal(bpfrun_flows(run), MANY - (MANY + 2) / 3);
	}
}

/* ---- no room ------------------------------------------------------------------------------------------------------------------------------ */

static void test_without_a_free_hold_a_request_is_dropped_and_its_second_try_goes(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		bpfrun_forget(*state);
		bpfrun_take_holds(*state, 0);
		dialog_connects(&d);
		dialog_says(&d, GET);
		assert_int_equal(d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_FULL), 1);
		assert_int_equal(bpfrun_flows(*state), 1);
		d.next -= strlen(GET);
		bpfrun_free_holds(*state);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, OK0);
	}
}

/* On a bound flow a hold is wanted for pieces, for what waits, and to move; none of it ends the flow. */
static void test_without_a_free_hold_a_bound_flow_goes_on(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_flags(&d, ACK);
		bpfrun_take_holds(*state, 0);
		dialog_sends(&d, GET, 10);
		assert_int_equal(d.r.verdict, V_DROP);
		d.next -= 10;
		dialog_says(&d, OTHER);
		assert_int_equal(d.r.verdict, V_DROP);
		d.next -= strlen(OTHER);
		dialog_says(&d, GET); /* this one needs none */
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		dialog_says(&d, GET);
		dialog_expect_parted(&d);
		d.next -= strlen(GET);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_FULL), 3);
		dialog_pod_says(&d, &pod, OK0);
		expect_alive(&d, &pod);
	}
}

/* An answer's head in pieces cannot be put together then: the flow is pinned. */
static void test_without_a_free_hold_an_answer_in_pieces_pins_the_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);
		struct shunt_flow flow;

		dialog_flags(&d, ACK);
		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		bpfrun_take_holds(*state, 0);
		dialog_pod_says(&d, &pod, "HTTP/1.1 200 ");
		dialog_pod_says(&d, &pod, "OK\r\nContent-Length: 0\r\n\r\n");
		assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, d.fport, &flow));
		assert_true(flow.flags & SHUNT_F_PINNED);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_FULL), 1);
		expect_alive(&d, &pod);
	}
}

static void test_a_hold_that_nobody_came_back_for_is_taken(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		bpfrun_forget(*state);
		bpfrun_take_holds(*state, 61);
		dialog_connects(&d);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_FULL), 0);
	}
}

/* Its flow lives still: it must not send another's bytes. */
static void test_a_flow_whose_hold_was_taken_sends_nothing_of_the_new_owner(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		struct bpfrun_result r;

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		bpfrun_take_holds(*state, 0);
		bpfrun_packet(*state, TO_CLIENT,
			      &(struct pkt){ .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = pod.lport, .flags = SYN | ACK,
					     .seq = pod.iss, .ack = pod.received, .window = 1000, .mss = 1460, .tstamp = true, .tsval = 5, .tsecr = pod.tsecr },
			      &r);
		assert_int_equal(r.verdict, V_DROP);
		assert_int_equal(r.clones, 0);
		assert_int_equal(r.copies, 0);
	}
}

/* ---- a pod that knows the port ------------------------------------------------------------------------------------------------------------ */

static void test_challenge_acks_without_end_stop_at_a_bound_and_the_client_tries_again(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
		int tries = 0;

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		pod.received += 5000;
		for (;; tries++) {
			uint16_t old = pod.lport;

			dialog_pod_flags(&d, &pod, ACK);
			if (d.r.verdict == V_DROP)
				break;
			if (d.r.out.why || d.r.out.pkt.flags != SYN || d.r.out.pkt.sport == old || d.r.out.pkt.to_client)
				dialog_fail(&d, "no SYN from another port");
			pod.lport = d.r.out.pkt.sport;
			assert_int_equal(bpfrun_legs(*state), 1);
			assert_true(tries < 100);
		}
		assert_true(tries >= 4);
		d.next -= strlen(GET);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, OK0);
	}
}

/* Of another connection, or guessed. */
static void test_what_an_opening_leg_does_not_wait_for_is_dropped_and_counted(void **state)
{
	static const struct {
		uint8_t flags;
		uint32_t off;
	} strays[] = { { RST | ACK, 5 }, { RST, 0 }, { SYN | ACK, 7 }, { PSH, 0 } };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2), stray;

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_says(&d, GET);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		for (size_t i = 0; i < ARRAY_SIZE(strays); i++) {
			stray = pod;
			stray.received += strays[i].off;
			dialog_pod_flags(&d, &stray, strays[i].flags);
			if (d.r.verdict != V_DROP || d.r.clones || d.r.copies)
				dialog_fail(&d, "a stray went somewhere");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_STRAY), i + 1);
		}
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		dialog_pod_says(&d, &pod, OK0);
	}
}

/* The clients' own connection to a pod keeps its port from legs until it ends. */
static void test_a_port_is_free_for_a_leg_again_when_the_clients_own_connection_ended(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int reset = 0; reset < 2; reset++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
			struct pkt direct = { .saddr = d.client, .daddr = pod.addr, .sport = d.cport, .dport = pod.port, .flags = SYN, .seq = 9 };

			bpfrun_forget(*state);
			bpfrun_packet(*state, FROM_CLIENT, &direct, &d.r);
			direct.flags = reset ? RST | ACK : FIN | ACK;
			bpfrun_packet(*state, FROM_CLIENT, &direct, &d.r);
			assert_int_equal(d.r.verdict, V_PASS);
			dialog_connects(&d);
			dialog_says(&d, GET);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			assert_int_equal(pod.lport, d.cport);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_reset_outside_the_window_ends_nothing),
		cmocka_unit_test(test_a_reset_inside_the_window_ends_the_flow),
		cmocka_unit_test(test_a_guessed_reset_does_not_end_a_flow_whose_head_is_collected),
		cmocka_unit_test(test_a_guessed_ack_after_a_syn_does_not_end_the_live_flow),
		cmocka_unit_test(test_a_proved_ack_replaces_the_flow_and_all_that_it_had),
		cmocka_unit_test(test_the_first_ack_of_a_closed_flow_comes_too_late),
		cmocka_unit_test(test_late_packets_of_a_closed_flow_begin_nothing),
		cmocka_unit_test(test_a_connection_whose_frontend_leaves_the_plan_stays_where_it_is),
		cmocka_unit_test(test_the_sweep_ends_flows_that_were_silent_for_too_long_and_no_others),
		cmocka_unit_test(test_the_sweep_finds_the_silent_among_many),
		cmocka_unit_test(test_without_a_free_hold_a_request_is_dropped_and_its_second_try_goes),
		cmocka_unit_test(test_without_a_free_hold_a_bound_flow_goes_on),
		cmocka_unit_test(test_without_a_free_hold_an_answer_in_pieces_pins_the_flow),
		cmocka_unit_test(test_a_hold_that_nobody_came_back_for_is_taken),
		cmocka_unit_test(test_a_flow_whose_hold_was_taken_sends_nothing_of_the_new_owner),
		cmocka_unit_test(test_what_an_opening_leg_does_not_wait_for_is_dropped_and_counted),
		cmocka_unit_test(test_challenge_acks_without_end_stop_at_a_bound_and_the_client_tries_again),
		cmocka_unit_test(test_a_port_is_free_for_a_leg_again_when_the_clients_own_connection_ended),
	};

	return bpfrun_main("life", dialog_tables(), tests, ARRAY_SIZE(tests));
}
