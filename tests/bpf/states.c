/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What TCP may do at any moment of a connection: SYNs with data or again, keep-alives, closed windows, every order of FINs and resets, a port used anew. */
#include "../lib/dialog.h"

#include <string.h>

#include "util/cleanup.h"

#define ONE "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n"

static struct pkt client_says(const struct dialog *d, uint8_t flags, uint32_t back, const char *text)
{
	return (struct pkt){ .saddr = d->client, .daddr = d->frontend, .sport = d->cport, .dport = d->fport, .flags = flags, .seq = d->next - back,
			     .ack = d->received, .window = 512, .tstamp = d->tstamp, .tsval = d->tsval, .tsecr = d->tsecr, .payload = text,
			     .len = strlen(text) };
}

static struct pkt pod_says(const struct dialog *d, const struct dialog_pod *pod, uint8_t flags, uint32_t back)
{
	return (struct pkt){ .saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = flags, .seq = pod->sent - back,
			     .ack = pod->received, .window = 512, .tstamp = d->tstamp, .tsval = pod->tsval, .tsecr = pod->tsecr };
}

static void expect_numbers(struct dialog *d, uint32_t seq, uint32_t ack, const char *what)
{
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != V_PASS || d->r.out.why || p->seq != seq || p->ack != ack)
		dialog_fail(d, what);
}

/* ---- the beginning ---------------------------------------------------------------------------------------------------------------------- */

/* TCP Fast Open (RFC 7413): the data is not acknowledged, so the client sends it again behind the handshake. */
static void test_data_in_a_syn_is_not_taken_and_comes_again(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
		const struct pkt *p = &d.r.out.pkt;
		struct pkt syn;

		d.next = d.isn;
		syn = client_says(&d, SYN, 0, ONE);
		syn.mss = 1400;
		syn.wscale = 8;
		syn.sack_ok = true;
		syn.layout = "mptnwu"; /* the unknown one is a cookie's */
		bpfrun_packet(*state, FROM_CLIENT, &syn, &d.r);
		if (d.r.verdict != V_REDIRECT || d.r.out.why || p->flags != (SYN | ACK) || p->ack != d.isn + 1 || p->len)
			dialog_fail(&d, "not a SYN-ACK of the SYN alone");
		d.next = d.isn + 1;
		d.received = p->seq + 1;
		d.tsecr = p->tsval;
		dialog_says(&d, ONE);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, ONE, strlen(ONE));
	}
}

/* A client whose SYNs stay unanswered tries with fewer options. The one that it goes on with counts, whichever answer that is. */
static void test_a_syn_again_with_other_options_is_answered_by_its_own(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int last = 0; last < 2; last++) {
			struct dialog d[2] = { dialog_of(*state, family), dialog_of(*state, family) };
			struct dialog_pod pod = dialog_pod(&d[0], DIALOG_V1);
			struct shunt_flow flow;

			bpfrun_forget(*state);
			d[1].tstamp = d[1].sack = d[1].wscale = false;
			dialog_syn(&d[0]);
			dialog_syn(&d[1]);
			assert_int_equal(bpfrun_flows(*state), 0);
			dialog_says(&d[last], ONE);
			dialog_expect_leg(&d[last], &pod, d[last].isn + 1);
			dialog_pod_accepts(&d[last], &pod, ONE, strlen(ONE));
			assert_true(bpfrun_flow(*state, &d[0].client, d[0].cport, &d[0].frontend, 80, &flow));
			assert_int_equal(!!(flow.flags & SHUNT_F_TSTAMP), last == 0);
			assert_int_equal(bpfrun_flows(*state), 1);
		}
	}
}

static void test_a_port_is_used_again_at_once(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);

		bpfrun_forget(*state);
		for (int i = 0; i < 5; i++) {
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

			d.isn += 100000;
			d.tsecr = 0;
			dialog_exchange(&d, &pod, ONE);
			dialog_flags(&d, FIN | ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
			pod.received++;
			dialog_pod_flags(&d, &pod, FIN | ACK);
			expect_numbers(&d, d.received, d.next, "the pod's FIN does not reach the client");
			d.received++;
			dialog_flags(&d, ACK);
			expect_numbers(&d, pod.received, pod.sent, "the last ACK does not reach the pod");
			assert_int_equal(bpfrun_flows(*state), 0);
			assert_int_equal(bpfrun_legs(*state), 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_NEW), 5);
	}
}

/* ---- keep-alives and windows ------------------------------------------------------------------------------------------------------------- */

/* With and without the byte that old stacks send along (RFC 9293 section 3.8.4). */
static void test_a_clients_keep_alives_are_answered_in_every_state(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int byte = 0; byte < 2; byte++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct pkt probe;

			bpfrun_forget(*state);
			dialog_connects(&d);
			probe = client_says(&d, ACK, 1, byte ? "x" : "");
			bpfrun_packet(*state, FROM_CLIENT, &probe, &d.r);
			dialog_expect_ack(&d); /* before a request */
			dialog_sends(&d, ONE, 10);
			dialog_expect_ack(&d);
			probe = client_says(&d, ACK, 1, byte ? "x" : "");
			bpfrun_packet(*state, FROM_CLIENT, &probe, &d.r);
			dialog_expect_ack(&d); /* within its head */
			dialog_says(&d, ONE + 10);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, ONE, strlen(ONE));
			dialog_pod_says(&d, &pod, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
			probe = client_says(&d, ACK, 1, byte ? "x" : "");
			bpfrun_packet(*state, FROM_CLIENT, &probe, &d.r);
			expect_numbers(&d, pod.received - 1, pod.sent, "a keep-alive does not reach the pod");
			assert_int_equal(d.r.out.pkt.len, byte);
			assert_int_equal(bpfrun_flows(*state), 1);
		}
	}
}

static void test_keep_alives_and_closed_windows_pass_on_an_open_connection(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct pkt pkt = pod_says(&d, &pod, ACK, 1);

		bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
		expect_numbers(&d, d.received - 1, d.next, "the pod's keep-alive does not reach the client");
		pkt = pod_says(&d, &pod, ACK, 0);
		pkt.window = 0;
		bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
		expect_numbers(&d, d.received, d.next, "the pod's closed window does not reach the client");
		assert_int_equal(d.r.out.pkt.window, 0);
		pkt = client_says(&d, ACK, 1, ""); /* the client's probe */
		bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
		expect_numbers(&d, pod.received - 1, pod.sent, "the client's probe does not reach the pod");
		pkt = client_says(&d, ACK, 0, "");
		pkt.window = 0;
		bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
		expect_numbers(&d, pod.received, pod.sent, "the client's closed window does not reach the pod");
		assert_int_equal(d.r.out.pkt.window, 0);
	}
}

/* ---- the end ----------------------------------------------------------------------------------------------------------------------------- */

static void test_a_closed_direction_leaves_the_other_open(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

		bpfrun_forget(*state);
		dialog_exchange(&d, &pod, ONE);
		dialog_says(&d, ONE);
		dialog_expect_at_pod(&d, &pod, ONE, strlen(ONE));
		dialog_flags(&d, FIN | ACK); /* it has no further request, and waits for the answer */
		dialog_expect_at_pod(&d, &pod, NULL, 0);
		pod.received++;
		for (int i = 0; i < 3; i++) {
			dialog_pod_says(&d, &pod, i ? "more" : "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n");
			dialog_flags(&d, ACK);
			expect_numbers(&d, pod.received, pod.sent, "an ACK behind the FIN does not reach the pod");
		}
		assert_int_equal(bpfrun_flows(*state), 1);
		dialog_pod_flags(&d, &pod, FIN | ACK);
		d.received++;
		dialog_flags(&d, ACK);
		assert_int_equal(bpfrun_flows(*state), 0);
	}
}

static void test_fins_that_cross_close_the_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

		bpfrun_forget(*state);
		dialog_exchange(&d, &pod, ONE);
		dialog_flags(&d, FIN | ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
		dialog_pod_flags(&d, &pod, FIN | ACK); /* which does not acknowledge the client's */
		expect_numbers(&d, d.received, d.next - 1, "the pod's FIN does not reach the client");
		d.received++;
		pod.received++;
		dialog_flags(&d, ACK);
		expect_numbers(&d, pod.received, pod.sent, "the client's ACK does not reach the pod");
		assert_int_equal(bpfrun_flows(*state), 1);
		dialog_pod_flags(&d, &pod, ACK);
		expect_numbers(&d, d.received, d.next, "the pod's ACK does not reach the client");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* ---- resets ------------------------------------------------------------------------------------------------------------------------------ */

#define TWO "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\nContent-Length: 9\r\n\r\n"
#define UPGRADE "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
#define OK_0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define OK_9 "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"

/* A connection and the pods that have an end of it. */
struct scene {
	struct dialog d;
	struct dialog_pod pod, idle; /* of the current leg, and of one that it came from */
	bool has_pod, has_idle;
};

static void connected(struct scene *s)
{
	dialog_connects(&s->d);
}

static void half_a_head(struct scene *s)
{
	dialog_connects(&s->d);
	dialog_sends(&s->d, ONE, 10);
}

static void a_leg_opens(struct scene *s)
{
	dialog_connects(&s->d);
	dialog_says(&s->d, ONE);
	dialog_expect_leg(&s->d, &s->pod, s->d.isn + 1);
	s->has_pod = true;
}

static void a_request_is_at_its_pod(struct scene *s)
{
	a_leg_opens(s);
	dialog_pod_accepts(&s->d, &s->pod, ONE, strlen(ONE));
}

static void half_a_body(struct scene *s)
{
	dialog_connects(&s->d);
	dialog_says(&s->d, POST);
	dialog_expect_leg(&s->d, &s->pod, s->d.isn + 1);
	dialog_pod_accepts(&s->d, &s->pod, POST, strlen(POST));
	dialog_says(&s->d, "half");
	dialog_expect_at_pod(&s->d, &s->pod, "half", 4);
	s->has_pod = true;
}

static void half_an_answers_head(struct scene *s)
{
	a_request_is_at_its_pod(s);
	dialog_pod_sends(&s->d, &s->pod, OK_9, 20);
}

static void half_an_answer(struct scene *s)
{
	a_request_is_at_its_pod(s);
	dialog_pod_says(&s->d, &s->pod, OK_9 "half");
	dialog_flags(&s->d, ACK);
	dialog_expect_at_pod(&s->d, &s->pod, NULL, 0);
}

static void a_request_waits(struct scene *s)
{
	half_an_answer(s);
	dialog_waits(&s->d, TWO);
}

static void between_requests(struct scene *s)
{
	a_request_is_at_its_pod(s);
	dialog_pod_says(&s->d, &s->pod, OK_0);
	dialog_flags(&s->d, ACK);
	dialog_expect_at_pod(&s->d, &s->pod, NULL, 0);
}

static void half_a_later_head(struct scene *s)
{
	between_requests(s);
	dialog_sends(&s->d, TWO, 10);
	dialog_expect_ack(&s->d);
}

static void another_leg_opens(struct scene *s)
{
	between_requests(s);
	dialog_says(&s->d, TWO);
	s->idle = s->pod;
	s->has_idle = true;
	s->pod = dialog_pod(&s->d, DIALOG_V2);
	dialog_expect_leg(&s->d, &s->pod, s->d.next - strlen(TWO));
}

static void two_legs(struct scene *s)
{
	another_leg_opens(s);
	dialog_pod_accepts(&s->d, &s->pod, TWO, strlen(TWO));
	dialog_pod_says(&s->d, &s->pod, OK_9 "half");
}

static void another_protocol(struct scene *s)
{
	dialog_connects(&s->d);
	dialog_says(&s->d, UPGRADE);
	dialog_expect_leg(&s->d, &s->pod, s->d.isn + 1);
	dialog_pod_accepts(&s->d, &s->pod, UPGRADE, strlen(UPGRADE));
	dialog_pod_says(&s->d, &s->pod, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
	s->has_pod = true;
}

static void the_client_has_closed(struct scene *s)
{
	half_an_answer(s);
	dialog_flags(&s->d, FIN | ACK);
	dialog_expect_at_pod(&s->d, &s->pod, NULL, 0);
	s->pod.received++;
}

static void the_pod_has_closed(struct scene *s)
{
	half_a_body(s);
	dialog_pod_flags(&s->d, &s->pod, FIN | ACK);
	expect_numbers(&s->d, s->d.received, s->d.next, "the pod's FIN does not reach the client");
	s->d.received++;
}

static void both_have_closed(struct scene *s)
{
	between_requests(s);
	dialog_flags(&s->d, FIN | ACK);
	dialog_expect_at_pod(&s->d, &s->pod, NULL, 0);
	s->pod.received++;
	dialog_pod_flags(&s->d, &s->pod, FIN | ACK);
	s->d.received++;
}

static const struct {
	const char *sentence;
	void (*come)(struct scene *s);
	bool waits; /* nothing of the flow is with the pod: its reset concerns the leg alone */
} moments[] = {
	{ "connected", connected, false },
	{ "half a head has come", half_a_head, false },
	{ "a leg opens", a_leg_opens, false },
	{ "a request is at its pod", a_request_is_at_its_pod, false },
	{ "half of its body is", half_a_body, false },
	{ "half of an answer's head has gone by", half_an_answers_head, false },
	{ "half of an answer has", half_an_answer, false },
	{ "a request waits behind it", a_request_waits, false },
	{ "all is answered", between_requests, false },
	{ "half of a later head has come", half_a_later_head, true },
	{ "a leg to another version opens", another_leg_opens, false },
	{ "two legs are open", two_legs, false },
	{ "the protocol is another", another_protocol, false },
	{ "the client has closed", the_client_has_closed, false },
	{ "the pod has closed", the_pod_has_closed, false },
	{ "both have closed", both_have_closed, false },
};

static struct scene come_to(struct bpfrun *run, int family, size_t moment)
{
	struct scene s = { .d = dialog_of(run, family) };

	bpfrun_forget(run);
	s.d.sentence = moments[moment].sentence;
	s.pod = dialog_pod(&s.d, DIALOG_V1);
	moments[moment].come(&s);
	return s;
}

/* How many of the frames that the last packet caused are a reset for this end, whose next number is `seq`. pod: NULL for the client. */
static int resets(struct scene *s, const struct dialog_pod *pod, uint32_t seq)
{
	const struct bpfrun_result *r = &s->d.r;
	int found = 0;

	for (size_t i = 0; i < 1 + r->clones + r->copies; i++) {
		const struct bpfrun_frame *frame = !i ? &r->out : i <= r->clones ? &r->clone[i - 1] : &r->copy[i - 1 - r->clones];
		const struct pkt *p = &frame->pkt;

		if (!i && r->verdict == V_DROP)
			continue;
		if (frame->why || !(p->flags & RST))
			dialog_fail(&s->d, "something else than a right reset");
		if (p->to_client != !pod || (pod && (p->dport != pod->port || memcmp(&p->daddr, &pod->addr, sizeof(p->daddr)))))
			continue;
		if (p->seq != seq)
			dialog_fail(&s->d, "a reset that its end does not believe");
		found++;
	}
	return found;
}

static void expect_nothing_left(struct scene *s)
{
	if (bpfrun_flows(s->d.run) || bpfrun_legs(s->d.run) || bpfrun_holds(s->d.run))
		dialog_fail(&s->d, "something is left");
}

static void test_a_clients_reset_reaches_all_of_its_pods_at_any_moment_and_leaves_nothing(void **state)
{
	for (size_t i = 0; i < SHUNT_FAMILIES * ARRAY_SIZE(moments); i++) {
		struct scene s = come_to(*state, i % 2, i / 2);

		dialog_flags(&s.d, RST | ACK);
		if (resets(&s, &s.pod, s.pod.received) != s.has_pod || resets(&s, &s.idle, s.idle.received) != s.has_idle || resets(&s, NULL, 0))
			dialog_fail(&s.d, "not each of its pods is reset once");
		expect_nothing_left(&s);
	}
}

static void test_a_pods_reset_reaches_the_client_and_the_other_pods_at_any_moment_and_leaves_nothing(void **state)
{
	for (size_t i = 0; i < SHUNT_FAMILIES * ARRAY_SIZE(moments); i++) {
		struct scene s = come_to(*state, i % 2, i / 2);

		if (!s.has_pod)
			continue;
		dialog_pod_flags(&s.d, &s.pod, RST | ACK);
		if (moments[i / 2].waits) {
			if (s.d.r.verdict != V_DROP || s.d.r.copies || bpfrun_flows(*state) != 1)
				dialog_fail(&s.d, "the client hears of it");
			s.idle = dialog_pod(&s.d, DIALOG_V2);
			dialog_says(&s.d, TWO + 10);
			dialog_expect_leg(&s.d, &s.idle, s.d.next - strlen(TWO));
			continue;
		}
		if (resets(&s, NULL, s.d.received) != 1 || resets(&s, &s.idle, s.idle.received) != s.has_idle || resets(&s, &s.pod, 0))
			dialog_fail(&s.d, "not each of the others is reset once");
		expect_nothing_left(&s);
	}
}

/* Anybody may send one; only at the place where the end would take it does it count (RFC 5961 section 3.2), or TCP's own answer to it decides. */
static void test_a_reset_from_anywhere_ends_nothing_at_any_moment(void **state)
{
	for (size_t i = 0; i < SHUNT_FAMILIES * ARRAY_SIZE(moments); i++) {
		for (int of_pod = 0; of_pod < 2; of_pod++) {
			struct scene s = come_to(*state, i % 2, i / 2), forged = s;

			if (of_pod && !s.has_pod)
				continue;
			forged.d.next += 1u << 30;
			forged.d.received -= 1u << 20;
			forged.pod.sent += 1u << 30;
			forged.pod.received += 1u << 30; /* it acknowledges what never was, too */
			if (of_pod)
				dialog_pod_flags(&forged.d, &forged.pod, RST | ACK);
			else
				dialog_flags(&forged.d, RST);
			if (bpfrun_flows(*state) != 1 || bpfrun_legs(*state) != (size_t)s.has_pod + s.has_idle)
				dialog_fail(&s.d, of_pod ? "a guessed reset of the pod ends it" : "a guessed reset of the client ends it");
		}
	}
}

/* A SYN-ACK is no packet of a client, except of one whose SYN met a SYN of ours (RFC 9293 section 3.5): there is none. Nothing comes of it. */
static void test_a_clients_syn_ack_begins_and_ends_nothing(void **state)
{
	for (size_t i = 0; i < SHUNT_FAMILIES * ARRAY_SIZE(moments); i++) {
		struct scene s = come_to(*state, i % 2, i / 2);
		size_t legs = bpfrun_legs(*state);

		s.d.received -= 100; /* else it has the last ACK, too */
		dialog_flags(&s.d, SYN | ACK);
		if (bpfrun_flows(*state) != 1 || bpfrun_legs(*state) != legs || s.d.r.copies)
			dialog_fail(&s.d, "a SYN-ACK of the client changed something");
	}
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct scene s = { .d = dialog_of(*state, family) };

		bpfrun_forget(*state);
		s.d.received = 12345;
		dialog_flags(&s.d, SYN | ACK);
		if (resets(&s, NULL, 12345) != 1)
			dialog_fail(&s.d, "a SYN-ACK of no connection is not reset");
		expect_nothing_left(&s);
	}
}

/* A pod that connects to the client from its own port at that moment: its SYN does not pass for an answer, and its SYN-ACK opens the leg as ever. */
static void test_a_pods_syn_that_meets_ours_does_no_harm(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct scene s = { .d = dialog_of(*state, family) };

		bpfrun_forget(*state);
		s.pod = dialog_pod(&s.d, DIALOG_V1);
		a_leg_opens(&s);
		dialog_pod_flags(&s.d, &s.pod, SYN);
		if (s.d.r.verdict != V_DROP || s.d.r.copies || s.d.r.clones)
			dialog_fail(&s.d, "a pod's SYN went somewhere");
		s.pod.sent--;
		dialog_pod_accepts(&s.d, &s.pod, ONE, strlen(ONE));
		dialog_pod_says(&s.d, &s.pod, OK_0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data_in_a_syn_is_not_taken_and_comes_again),
		cmocka_unit_test(test_a_syn_again_with_other_options_is_answered_by_its_own),
		cmocka_unit_test(test_a_port_is_used_again_at_once),
		cmocka_unit_test(test_a_clients_keep_alives_are_answered_in_every_state),
		cmocka_unit_test(test_keep_alives_and_closed_windows_pass_on_an_open_connection),
		cmocka_unit_test(test_a_closed_direction_leaves_the_other_open),
		cmocka_unit_test(test_fins_that_cross_close_the_flow),
		cmocka_unit_test(test_a_clients_reset_reaches_all_of_its_pods_at_any_moment_and_leaves_nothing),
		cmocka_unit_test(test_a_pods_reset_reaches_the_client_and_the_other_pods_at_any_moment_and_leaves_nothing),
		cmocka_unit_test(test_a_reset_from_anywhere_ends_nothing_at_any_moment),
		cmocka_unit_test(test_a_clients_syn_ack_begins_and_ends_nothing),
		cmocka_unit_test(test_a_pods_syn_that_meets_ours_does_no_harm),
	};

	return bpfrun_main("states", dialog_tables(), tests, ARRAY_SIZE(tests));
}
