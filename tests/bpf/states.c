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

enum moment { IN_HEAD, OPENING, BOUND, ANSWERING, CLOSING, MOMENTS };

/* A connection of that moment; *pod is told as far as it is there. */
static struct dialog at(struct bpfrun *run, int family, enum moment moment, struct dialog_pod *pod)
{
	struct dialog d = dialog_of(run, family);

	bpfrun_forget(run);
	*pod = dialog_pod(&d, DIALOG_V1);
	dialog_connects(&d);
	dialog_sends(&d, ONE, 10);
	if (moment == IN_HEAD)
		return d;
	dialog_says(&d, ONE + 10);
	dialog_expect_leg(&d, pod, d.isn + 1);
	if (moment == OPENING)
		return d;
	dialog_pod_accepts(&d, pod, ONE, strlen(ONE));
	if (moment == BOUND)
		return d;
	dialog_pod_says(&d, pod, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
	dialog_flags(&d, ACK);
	dialog_expect_at_pod(&d, pod, NULL, 0);
	if (moment == ANSWERING)
		return d;
	dialog_flags(&d, FIN | ACK);
	dialog_expect_at_pod(&d, pod, NULL, 0);
	pod->received++;
	return d;
}

static void test_a_reset_of_either_end_at_any_moment_leaves_nothing(void **state)
{
	for (int i = 0; i < SHUNT_FAMILIES * MOMENTS * 2; i++) {
		enum moment moment = i / 2 % MOMENTS;
		bool of_pod = i % 2;
		struct dialog_pod pod;
		struct dialog d = at(*state, i / 2 / MOMENTS, moment, &pod);

		if (moment == IN_HEAD && of_pod)
			continue;
		if (of_pod) {
			dialog_pod_flags(&d, &pod, RST | ACK);
			if (d.r.verdict != V_PASS || d.r.out.why || !d.r.out.pkt.to_client || !(d.r.out.pkt.flags & RST) || d.r.out.pkt.seq != d.received)
				dialog_fail(&d, "the pod's reset does not reach the client");
		} else {
			dialog_flags(&d, RST | ACK);
			if (moment != IN_HEAD && moment != OPENING && (d.r.out.why || !(d.r.out.pkt.flags & RST) || d.r.out.pkt.seq != pod.received))
				dialog_fail(&d, "the client's reset does not reach the pod");
			if (moment == OPENING && d.r.clones != 1)
				dialog_fail(&d, "the pod of the opening leg is not reset");
		}
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
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
		cmocka_unit_test(test_a_reset_of_either_end_at_any_moment_leaves_nothing),
	};

	return bpfrun_main("states", dialog_tables(), tests, ARRAY_SIZE(tests));
}
