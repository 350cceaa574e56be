/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The client's handshake with a request frontend: answered with a cookie, no state before the cookie is proved. */
#include "../lib/dialog.h"

#include <string.h>

#include "util/cleanup.h"

/* What a client may offer, and what of it a flow knows afterwards. */
static const struct {
	const char *sentence;
	bool tstamp, sack, wscale;
	uint16_t mss, kept[SHUNT_FAMILIES]; /* the cookie keeps a class */
	uint32_t flags;
} offers[] = {
	{ "Linux", true, true, true, 1460, { 1460, 1440 }, SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_WSCALE },
	{ "no SACK", true, false, true, 1460, { 1460, 1440 }, SHUNT_F_TSTAMP | SHUNT_F_WSCALE },
	{ "no window scale", true, true, false, 1460, { 1460, 1440 }, SHUNT_F_TSTAMP | SHUNT_F_SACK },
	{ "no timestamps, which takes the rest along", false, true, true, 1460, { 1460, 1440 }, 0 },
	{ "nothing but an MSS", false, false, false, 1460, { 1460, 1440 }, 0 },
	{ "a tunnel's MSS", true, true, true, 1300, { 1300, 1220 }, SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_WSCALE },
	{ "a tunnel's MSS without timestamps", false, false, false, 1300, { 1300, 1220 }, 0 },
	{ "a small MSS", true, true, true, 600, { 536, 1220 }, SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_WSCALE },
	{ "a jumbo MSS", true, true, true, 8960, { 8940, 8940 }, SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_WSCALE },
	{ "a jumbo MSS without timestamps, which IPv4's cookie does not know", false, false, false, 8960, { 1460, 8940 }, 0 },
};

static struct dialog offering(struct bpfrun *run, int family, size_t i)
{
	struct dialog d = dialog_of(run, family);

	d.tstamp = offers[i].tstamp;
	d.sack = offers[i].sack;
	d.wscale = offers[i].wscale;
	d.mss = offers[i].mss;
	d.cport += i;
	return d;
}

static void test_a_syn_gets_a_syn_ack_and_makes_no_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		bpfrun_forget(*state);
		for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
			struct dialog d = offering(*state, family, i);

			dialog_syn(&d);
			assert_int_equal(bpfrun_flows(*state), 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_SYN), ARRAY_SIZE(offers));
	}
}

/* No stack answers them; scanners send them to see who does. */
static void test_a_syn_that_is_also_a_fin_or_a_reset_is_dropped_and_counted(void **state)
{
	static const uint8_t flags[] = { SYN | FIN, SYN | RST, SYN | FIN | RST | PSH };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int port = 0; port < 2; port++) { /* of a request frontend, and of a connection frontend */
			struct dialog d = dialog_of(*state, family);

			bpfrun_forget(*state);
			if (port)
				dialog_towards(&d, 11, 443);
			for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
				struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = 1234, .dport = d.fport, .flags = flags[i], .seq = 5 };

				bpfrun_packet(*state, FROM_CLIENT, &pkt, &d.r);
				assert_int_equal(d.r.verdict, V_DROP);
			}
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_SYN_BAD), ARRAY_SIZE(flags));
			assert_int_equal(bpfrun_flows(*state), 0);
		}
	}
}

static void test_the_ack_makes_a_flow_that_knows_what_the_client_offered(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(offers); i++) {
			struct dialog d = offering(*state, family, i);
			struct shunt_flow flow;

			dialog_connects(&d);
			if (!bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow))
				fail_msg("%s: no flow", offers[i].sentence);
			if (flow.flags != offers[i].flags || flow.mss != offers[i].kept[family] || flow.wscale != (offers[i].flags & SHUNT_F_WSCALE ? 7 : 15))
				fail_msg("%s: flags %x, MSS %u, window scale %u", offers[i].sentence, flow.flags, flow.mss, flow.wscale);
			assert_int_equal(flow.state, SHUNT_FLOW_HEAD);
			assert_int_equal(flow.isn, d.isn);
			assert_int_equal(flow.request_end, d.isn + 1);
			assert_int_equal(flow.snext, d.cookie + 1);
			assert_int_equal(flow.hold, 0);
		}
	}
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_NEW), SHUNT_FAMILIES * ARRAY_SIZE(offers));
}

static void test_the_syn_ack_turns_round_to_the_senders_mac(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);

	dialog_syn(&d);
	assert_memory_equal(d.r.out.bytes, "\x02\x73\x68\x00\x00\x02\x02\x73\x68\x00\x00\x01", 12);
	assert_int_equal(d.r.clones, 0);
}

static void test_data_with_the_handshakes_ack_is_enough(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);

		dialog_syn(&d);
		dialog_says(&d, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
		dialog_expect_leg(&d, &pod, d.isn + 1);
	}
}

/* Each changes one thing of a right ACK. (Numbers off by less than the MSS classes, four, are a cookie of another class.) */
static void test_an_ack_without_our_cookie_is_reset_and_makes_no_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int i = 0; i < 4; i++) {
			struct dialog d = dialog_of(*state, family);

			dialog_syn(&d);
			d.received += i == 0 ? 100 : 0;
			d.next += i == 1 ? 1 << 20 : 0;
			d.cport += i == 2;
			d.client.ip[15] ^= i == 3;
			dialog_flags(&d, ACK);
			if (d.r.verdict != V_REDIRECT || d.r.out.why || d.r.out.pkt.flags != RST || d.r.out.pkt.seq != d.received)
				dialog_fail(&d, "no reset");
			assert_int_equal(bpfrun_flows(*state), 0);
		}
	}
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_BAD), 8);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_UNKNOWN), 8);
}

/* Its ACK and first segment are lost or late. A reset would end what the client is just beginning; it sends them again. */
static void test_a_segment_ahead_of_the_one_that_proves_the_client_is_dropped(void **state)
{
	static const uint32_t ahead[] = { 1, 2, 3, 100, 14480 };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(ahead); i++) {
			struct dialog d = dialog_of(*state, family);

			dialog_syn(&d);
			d.next += ahead[i];
			dialog_says(&d, "Host: example.com\r\n\r\n");
			assert_int_equal(d.r.verdict, V_DROP);
			assert_int_equal(bpfrun_flows(*state), 0);
		}
	}
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_BAD), 0);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_HOLD_DROP), SHUNT_FAMILIES * ARRAY_SIZE(ahead));
}

static void test_a_reset_of_nobodys_flow_gets_no_answer(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V6);

	dialog_flags(&d, RST);
	assert_int_equal(d.r.verdict, V_DROP);
	assert_int_equal(bpfrun_flows(*state), 0);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_STRAY), 1);
}

static void test_a_syn_on_a_live_flow_changes_nothing_until_its_cookie_is_proved(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family), again;
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
		struct shunt_flow flow;

		dialog_exchange(&d, &pod, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
		again = d;
		again.isn = 77777;
		again.tsecr = 0;
		dialog_syn(&again);
		dialog_pod_says(&d, &pod, ""); /* the old flow goes on */
		assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow));
		assert_int_equal(flow.isn, d.isn);

		dialog_flags(&again, ACK);
		assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow));
		assert_int_equal(flow.isn, 77777);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_REUSED), family + 1);
	}
}

static void test_a_late_ack_of_an_ended_flow_does_not_revive_it(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);

		dialog_connects(&d);
		dialog_flags(&d, RST | ACK);
		assert_int_equal(bpfrun_flows(*state), 0);
		dialog_flags(&d, ACK);
		assert_int_equal(d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_COOKIE_REPLAYED), family + 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_syn_gets_a_syn_ack_and_makes_no_flow),
		cmocka_unit_test(test_a_syn_that_is_also_a_fin_or_a_reset_is_dropped_and_counted),
		cmocka_unit_test(test_the_ack_makes_a_flow_that_knows_what_the_client_offered),
		cmocka_unit_test(test_the_syn_ack_turns_round_to_the_senders_mac),
		cmocka_unit_test(test_data_with_the_handshakes_ack_is_enough),
		cmocka_unit_test(test_an_ack_without_our_cookie_is_reset_and_makes_no_flow),
		cmocka_unit_test(test_a_segment_ahead_of_the_one_that_proves_the_client_is_dropped),
		cmocka_unit_test(test_a_reset_of_nobodys_flow_gets_no_answer),
		cmocka_unit_test(test_a_syn_on_a_live_flow_changes_nothing_until_its_cookie_is_proved),
		cmocka_unit_test(test_a_late_ack_of_an_ended_flow_does_not_revive_it),
	};

	return bpfrun_main("syn", dialog_tables(), tests, ARRAY_SIZE(tests));
}
