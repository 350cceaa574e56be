/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP options wherever they stand, and what a client and its pods agree on: window scales, segment sizes, ECN. */
#include "../lib/dialog.h"

#include <string.h>

#include "util/cleanup.h"

#define ONE "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n"
#define HOUR 3600

/* A bare ACK of the client or of the pod, before its options. */
static struct pkt ack_of_client(const struct dialog *d)
{
	return (struct pkt){ .saddr = d->client, .daddr = d->frontend, .sport = d->cport, .dport = d->fport, .flags = ACK, .seq = d->next,
			     .ack = d->received, .window = 512 };
}

static struct pkt ack_of_pod(const struct dialog *d, const struct dialog_pod *pod)
{
	return (struct pkt){ .saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = ACK, .seq = pod->sent,
			     .ack = pod->received, .window = 512 };
}

static size_t count(const char *layout, char letter)
{
	size_t n = 0;

	for (; *layout; layout++)
		n += *layout == letter;
	return n;
}

/* Blocks beyond `from`. */
static void set_blocks(struct pkt *pkt, size_t blocks, uint32_t from)
{
	pkt->sacks = blocks;
	for (size_t i = 0; i < blocks; i++) {
		pkt->sack[i][0] = from + 1000 * (i + 1);
		pkt->sack[i][1] = from + 1000 * (i + 1) + 500;
	}
}

static void expect_options(struct dialog *d, const struct pkt *sent, uint32_t from)
{
	const struct pkt *p = &d->r.out.pkt;
	struct pkt due = {};

	set_blocks(&due, sent->sacks, from);
	if (d->r.verdict != V_PASS || d->r.out.why || p->sacks != sent->sacks || memcmp(p->sack, due.sack, sizeof(due.sack)) ||
	    p->unknown != count(sent->layout, 'u') || p->tstamp != sent->tstamp || p->window != sent->window)
		dialog_fail(d, "the options are not the other end's");
}

static const struct {
	const char *layout;
	size_t blocks;
} layouts[] = {
	{ "nnt", 0 }, { "nntnns", 3 }, { "nns", 1 }, { "nns", 4 },                     /* the usual ones */
	{ "tnn", 0 }, { "te", 0 }, { "ntn", 0 }, { "nnnnnnt", 0 },                      /* timestamps elsewhere */
	{ "snn", 4 }, { "ns", 4 }, { "nnnns", 4 }, { "s", 2 },                          /* blocks alone */
	{ "nnsnnt", 3 }, { "ts", 1 }, { "ts", 3 }, { "st", 3 }, { "ntsn", 2 }, { "nnts", 2 }, /* both, in any order */
	{ "u", 0 }, { "ut", 0 }, { "tu", 0 }, { "nntu", 0 }, { "nntnnsu", 1 }, { "sut", 1 }, { "nnsu", 2 }, { "unnt", 0 },
	{ "nntnn", 0 }, { "nnte", 0 }, { "nnnn", 0 }, { "e", 0 },
};

static void test_options_in_any_order_are_translated_and_unknown_ones_pass(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);

		for (size_t i = 0; i < ARRAY_SIZE(layouts); i++) {
			bool tstamp = count(layouts[i].layout, 't');
			struct pkt to = ack_of_client(&d), back = ack_of_pod(&d, &pod);
			const struct pkt *p = &d.r.out.pkt;

			d.sentence = layouts[i].layout;
			to.layout = back.layout = layouts[i].layout;
			to.tstamp = back.tstamp = tstamp;
			to.tsval = ++d.tsval;
			to.tsecr = d.tsecr;
			set_blocks(&to, layouts[i].blocks, d.received);
			bpfrun_packet(*state, FROM_CLIENT, &to, &d.r);
			expect_options(&d, &to, pod.sent);
			if (p->seq != pod.received || p->ack != pod.sent || (tstamp && (p->tsval != d.tsval || p->tsecr != pod.tsval)))
				dialog_fail(&d, "not the pod's numbers");

			back.tsval = ++pod.tsval;
			back.tsecr = d.tsval;
			back.window = 8; /* << the pod's 10 is << our 7 of 64; see expect_options */
			set_blocks(&back, layouts[i].blocks, pod.received);
			bpfrun_packet(*state, TO_CLIENT, &back, &d.r);
			back.window = 64;
			expect_options(&d, &back, d.next);
			if (p->seq != d.received || p->ack != d.next || (tstamp && (p->tsecr != d.tsval || p->tsval != d.tsecr + 1)))
				dialog_fail(&d, "not the client's numbers");
			if (tstamp)
				d.tsecr = p->tsval;
			else
				pod.tsval--;
		}
	}
}

/* Lengths that lie: an option beyond the header, of length 0 or 1. The packet passes with its numbers translated and its options as they are. */
static void test_options_that_lie_about_their_length_harm_nobody(void **state)
{
	static const uint8_t lies[][4] = { { 8, 0, 0, 0 }, { 8, 1, 1, 1 }, { 5, 10, 0, 0 }, { 8, 10, 0, 0 }, { 5, 255, 1, 1 }, { 1, 1, 1, 8 }, { 5, 2, 1, 1 } };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		size_t options = family == SHUNT_V6 ? 74 : 54;

		for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
			struct pkt pkt = ack_of_client(&d);
			uint8_t frame[PKT_MAX];
			size_t len;

			pkt.layout = "nnnn";
			len = pkt_build(&pkt, frame);
			memcpy(frame + options, lies[i], sizeof(lies[i]));
			bpfrun_bytes(*state, FROM_CLIENT, frame, len, &d.r);
			assert_int_equal(d.r.verdict, V_PASS);
			assert_int_equal(d.r.out.len, len);
			assert_memory_equal(d.r.out.bytes + options, lies[i], sizeof(lies[i]));
		}
	}
}

static void test_a_handshake_with_options_in_any_order_is_one(void **state)
{
	static const char *const each[] = { "mtpw", "wptm", "nmnwnptu", "upmwt", "mnwpt" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
			struct dialog d = dialog_of(*state, family);
			struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = d.cport += i, .dport = d.fport, .flags = SYN, .seq = d.isn,
					   .mss = 1300, .wscale = 4, .sack_ok = true, .tstamp = true, .tsval = 77, .layout = each[i] };
			const struct pkt *p = &d.r.out.pkt;
			struct shunt_flow flow;

			d.sentence = each[i];
			bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
			if (d.r.verdict != V_REDIRECT || d.r.out.why || p->flags != (SYN | ACK) || !p->sack_ok || !p->wscale || p->tsecr != 77)
				dialog_fail(&d, "not the SYN-ACK for this SYN");
			d.next = d.isn + 1;
			d.received = p->seq + 1;
			pkt = ack_of_client(&d);
			pkt.tstamp = true;
			pkt.tsval = 78;
			pkt.tsecr = p->tsval;
			pkt.layout = "unt";
			bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
			assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow));
			assert_int_equal(flow.flags, SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_WSCALE);
			assert_int_equal(flow.wscale, 3);
			assert_int_equal(flow.mss, family == SHUNT_V6 ? 1220 : 1300);
			assert_int_equal(flow.ts_client, 78);
		}
	}
}

/* ---- what the ends agree on ------------------------------------------------------------------------------------------------------------- */

/* A pod that is not like most. */
struct odd_pod {
	const char *sentence;
	bool no_tstamp, no_sack, no_wscale, no_ecn;
	uint16_t mss;
	uint8_t wscale; /* shift */
};

/* The client's SYN with all offers; the SYN-ACK is in d->r. */
static void offers_all(struct dialog *d, uint8_t wscale)
{
	struct pkt syn = { .saddr = d->client, .daddr = d->frontend, .sport = d->cport, .dport = d->fport, .flags = SYN | ECE | CWR, .seq = d->isn,
			   .window = 64240, .mss = 1460, .wscale = wscale, .sack_ok = true, .tstamp = true, .tsval = ++d->tsval };

	bpfrun_packet(d->run, FROM_CLIENT, &syn, &d->r);
	if (d->r.verdict != V_REDIRECT || d->r.out.why)
		dialog_fail(d, "no SYN-ACK");
	d->next = d->isn + 1;
	d->received = d->r.out.pkt.seq + 1;
	d->tsecr = d->r.out.pkt.tsval;
}

/* ... its request, and the answer of such a pod to the leg's SYN. What goes to the pod is in d->r. */
static struct pkt meets(struct dialog *d, struct dialog_pod *pod, const struct odd_pod *odd, const char *request, size_t len)
{
	struct pkt answer;

	dialog_sends(d, request, len);
	answer = d->r.out.pkt; /* the leg's SYN */
	assert_int_equal(answer.flags & SYN, SYN);
	pod->lport = answer.sport;
	pod->sent = pod->iss;
	pod->received = answer.seq + 1;
	answer = ack_of_pod(d, pod);
	answer.flags = SYN | ACK | (odd->no_ecn ? 0 : ECE);
	answer.mss = odd->mss;
	answer.wscale = odd->no_wscale ? 0 : odd->wscale + 1;
	answer.sack_ok = !odd->no_sack;
	answer.tstamp = !odd->no_tstamp;
	answer.tsval = ++pod->tsval;
	answer.tsecr = d->tsval;
	bpfrun_packet(d->run, TO_CLIENT, &answer, &d->r);
	pod->sent++;
	if (d->r.out.why || d->r.out.pkt.to_client)
		dialog_fail(d, "the request does not go to the pod");
	return d->r.out.pkt;
}

static void test_windows_are_right_for_every_pair_of_scales(void **state)
{
	static const uint16_t windows[] = { 0, 1, 5, 100, 0x7fff, 0xffff };

	for (int client = -1; client <= 14; client++) { /* -1: does not scale */
		for (int scale = -1; scale <= 14; scale++) {
			struct dialog d = dialog_of(*state, (client + scale) & 1);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct odd_pod odd = { .no_wscale = scale < 0 || client < 0, .wscale = scale < 0 ? 0 : scale, .mss = 1460 };
			const struct pkt *p = &d.r.out.pkt;

			bpfrun_forget(*state);
			offers_all(&d, client + 1);
			assert_int_equal(p->wscale, client < 0 ? 0 : 8);
			meets(&d, &pod, &odd, ONE, strlen(ONE));
			pod.received += strlen(ONE);
			for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
				struct pkt pkt = ack_of_client(&d);
				uint64_t bytes = (uint64_t)windows[i] << (client < 0 ? 0 : client), room;

				pkt.window = windows[i];
				bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
				room = (uint64_t)p->window << (odd.no_wscale ? 0 : client);
				if (room != (odd.no_wscale && bytes > 0xffff ? 0xffff : bytes))
					fail_msg("client %d, pod %d: %lu bytes of window are %lu for the pod", client, scale, (unsigned long)bytes,
						 (unsigned long)room);

				pkt = ack_of_pod(&d, &pod);
				pkt.window = windows[i];
				bytes = (uint64_t)windows[i] << (odd.no_wscale ? 0 : scale);
				bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
				room = (uint64_t)p->window << (client < 0 ? 0 : 7);
				if (bytes > SHUNT_HOLD_SIZE - SHUNT_EDIT_MAX) /* no more than we could hold of a next request, edited */
					bytes = SHUNT_HOLD_SIZE - SHUNT_EDIT_MAX;
				if (room > bytes || (client < 0 ? room != bytes : bytes - room >= 128))
					fail_msg("client %d, pod %d: %lu bytes of window are %lu for the client", client, scale, (unsigned long)bytes,
						 (unsigned long)room);
			}
		}
	}
}

static void test_a_pod_that_does_less_is_seen_and_no_later_client_is_promised_it(void **state)
{
	static const struct odd_pod pods[] = {
		{ "no timestamps", .no_tstamp = true, .mss = 1460, .wscale = 7 },
		{ "no SACK", .no_sack = true, .mss = 1460, .wscale = 7 },
		{ "no window scale", .no_wscale = true, .mss = 1460 },
		{ "no ECN", .no_ecn = true, .mss = 1460, .wscale = 7 },
		{ "a tunnel's MSS", .mss = 1350, .wscale = 7 },
		{ "nothing at all", .no_tstamp = true, .no_sack = true, .no_wscale = true, .no_ecn = true, .mss = 0 },
	};

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(pods); i++) {
			const struct odd_pod *odd = &pods[i];
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			const struct pkt *p = &d.r.out.pkt;
			uint16_t full = family == SHUNT_V6 ? 1440 : 1460;

			bpfrun_forget(*state);
			d.sentence = odd->sentence;
			offers_all(&d, 8);
			if (!p->tstamp || !p->sack_ok || !p->wscale || p->flags != (SYN | ACK | ECE) || p->mss != full)
				dialog_fail(&d, "a new frontend does not promise all");
			meets(&d, &pod, odd, ONE, strlen(ONE));
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_LESS), odd->mss != 1350);

			d.cport++;
			offers_all(&d, 8);
			if (p->tstamp == odd->no_tstamp || p->sack_ok != (!odd->no_sack && !odd->no_tstamp) ||
			    !!p->wscale != (!odd->no_wscale && !odd->no_tstamp) || !!(p->flags & ECE) != (!odd->no_ecn && !odd->no_tstamp) ||
			    p->mss != (odd->mss == 1460 ? full : odd->mss ? odd->mss : family == SHUNT_V6 ? 1220 : 536))
				dialog_fail(&d, "a client is promised what the pod did not do");

			bpfrun_age_promises(*state, HOUR);
			d.cport++;
			offers_all(&d, 8);
			if (!p->tstamp || !p->sack_ok || !p->wscale || !(p->flags & ECE) || p->mss != full)
				dialog_fail(&d, "a pod that was there an hour ago still counts");
		}
	}
}

static void test_held_bytes_leave_in_segments_that_the_pod_takes(void **state)
{
	static char head[3000] = "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9000\r\n\r\n";

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
		size_t seen = 0;

		memset(head + strlen(head), 'x', sizeof(head) - strlen(head));
		bpfrun_forget(*state);
		offers_all(&d, 8);
		dialog_sends(&d, head, 1400); /* whole heads with some of the body; the rest below */
		d.next -= 1400;
		meets(&d, &pod, &(struct odd_pod){ .mss = 600, .wscale = 7 }, head, 1400);
		assert_int_equal(d.r.clones, 2);
		for (size_t i = 0; i < 3; i++) {
			const struct pkt *p = i < 2 ? &d.r.clone[i].pkt : &d.r.out.pkt;

			assert_true(p->len <= 600 - 12);
			assert_memory_equal(p->payload, head + seen, p->len);
			seen += p->len;
		}
		assert_int_equal(seen, 1400);
	}
}

/* ---- ECN -------------------------------------------------------------------------------------------------------------------------------- */

static void test_ecn_is_agreed_on_and_its_marks_pass(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int pod_does = 0; pod_does < 2; pod_does++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct odd_pod odd = { .mss = 1460, .wscale = 7, .no_ecn = !pod_does };
			const struct pkt *p = &d.r.out.pkt;

			bpfrun_forget(*state);
			offers_all(&d, 8);
			assert_int_equal(p->flags, SYN | ACK | ECE);
			assert_int_equal(p->ecn, 0);
			dialog_says(&d, ONE);
			assert_int_equal(p->flags, SYN | ECE | CWR);
			d.next -= strlen(ONE);
			meets(&d, &pod, &odd, ONE, strlen(ONE));
			pod.received += strlen(ONE);
			for (int mark = 0; mark < 4; mark++) {
				struct pkt pkt = ack_of_client(&d);

				pkt.ecn = mark;
				pkt.flags |= mark == 2 ? CWR : mark == 3 ? ECE : 0;
				bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
				if (d.r.verdict != V_PASS || d.r.out.why || p->flags != pkt.flags || p->ecn != (pod_does ? mark : 0))
					dialog_fail(&d, "ECN does not reach the pod as it must");
				pkt = ack_of_pod(&d, &pod);
				pkt.ecn = mark;
				pkt.flags |= mark == 3 ? ECE : 0;
				bpfrun_packet(*state, TO_CLIENT, &pkt, &d.r);
				if (d.r.verdict != V_PASS || d.r.out.why || p->flags != pkt.flags || p->ecn != mark)
					dialog_fail(&d, "ECN does not reach the client");
			}
		}
	}
}

static void test_a_client_without_ecn_gets_a_leg_without(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

	dialog_exchange(&d, &pod, ONE); /* dialog_expect_leg: SYN alone */
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_LESS), 0);
}

static void test_urgent_data_and_pushes_pass(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct pkt to = ack_of_client(&d), back = ack_of_pod(&d, &pod);
		const struct pkt *p = &d.r.out.pkt;

		to.flags = back.flags = ACK | URG | PSH;
		to.urgent = back.urgent = 0x1234;
		bpfrun_packet(*state, FROM_CLIENT, &to, &d.r);
		if (d.r.verdict != V_PASS || d.r.out.why || p->flags != to.flags || p->urgent != to.urgent)
			dialog_fail(&d, "urgent data does not reach the pod");
		bpfrun_packet(*state, TO_CLIENT, &back, &d.r);
		if (d.r.verdict != V_PASS || d.r.out.why || p->flags != back.flags || p->urgent != back.urgent)
			dialog_fail(&d, "urgent data does not reach the client");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options_in_any_order_are_translated_and_unknown_ones_pass),
		cmocka_unit_test(test_options_that_lie_about_their_length_harm_nobody),
		cmocka_unit_test(test_a_handshake_with_options_in_any_order_is_one),
		cmocka_unit_test(test_windows_are_right_for_every_pair_of_scales),
		cmocka_unit_test(test_a_pod_that_does_less_is_seen_and_no_later_client_is_promised_it),
		cmocka_unit_test(test_held_bytes_leave_in_segments_that_the_pod_takes),
		cmocka_unit_test(test_ecn_is_agreed_on_and_its_marks_pass),
		cmocka_unit_test(test_a_client_without_ecn_gets_a_leg_without),
		cmocka_unit_test(test_urgent_data_and_pushes_pass),
	};

	return bpfrun_main("options", dialog_tables(), tests, ARRAY_SIZE(tests));
}
