/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ICMP errors name the packet that their receiver has sent, and two of them change what we do ourselves. */
#include "../lib/dialog.h"

#include <string.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define ONE "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n"
#define ETH 14

/* An error, as each family says it. */
struct error {
	const char *sentence;
	uint8_t type[SHUNT_FAMILIES], code[SHUNT_FAMILIES];
	uint16_t mtu;
};

static const struct error errors[] = {
	{ "host unreachable", { 3, 1 }, { 1, 3 }, 0 },
	{ "prohibited", { 3, 1 }, { 13, 1 }, 0 },
	{ "port unreachable", { 3, 1 }, { 3, 4 }, 0 },
	{ "too big", { 3, 2 }, { 4, 0 }, 1300 },
	{ "time exceeded", { 11, 3 }, { 0, 0 }, 0 },
	{ "parameter problem", { 12, 4 }, { 0, 0 }, 0 },
};

static const struct error *const unreachable = &errors[0], *const too_big = &errors[3];

/* Bytes of TCP that are quoted; 0: all. */
static const size_t quotes[] = { 8, 12, 18, 20, 32, 0 };

static struct shunt_addr router(enum shunt_family family)
{
	struct shunt_addr addr;

	assert_int_equal(addr_parse(family == SHUNT_V6 ? "fd00:77::99" : "10.77.0.99", &addr), 0);
	return addr;
}

/* Runs an error of `from` about the frame; what became of it is in *ret, checked for its checksum. false: dropped. */
static bool tell(struct dialog *d, enum bpfrun_hook hook, const struct shunt_addr *from, const struct shunt_addr *to, const struct error *error,
		 const struct bpfrun_frame *about, size_t tcp_bytes, struct pkt_icmp *ret)
{
	enum shunt_family family = addr_is_v4(&d->client) ? SHUNT_V4 : SHUNT_V6;
	size_t ip = family == SHUNT_V6 ? 40 : 20, whole = about->len - ETH;
	struct pkt_icmp icmp = { .saddr = *from, .daddr = *to, .to_client = hook == TO_CLIENT, .type = error->type[family], .code = error->code[family],
				 .mtu = error->mtu, .quoted = about->bytes + ETH,
				 .quoted_len = tcp_bytes && ip + tcp_bytes < whole ? ip + tcp_bytes : whole };
	uint8_t frame[PKT_MAX];
	const char *why;
	size_t len = pkt_icmp_build(&icmp, frame);

	bpfrun_bytes(d->run, hook, frame, len, &d->r);
	if (d->r.verdict == V_DROP)
		return false;
	if (pkt_icmp_parse(d->r.out.bytes, d->r.out.len, ret, &why))
		return true; /* something else now */
	assert_int_equal(ret->type, icmp.type);
	assert_int_equal(ret->code, icmp.code);
	assert_int_equal(ret->mtu, icmp.mtu);
	assert_int_equal(ret->quoted_len, icmp.quoted_len);
	return true;
}

/* The quoted packet is `sent`, as far as it goes, but for what we change on the way: window and timestamps. */
static void expect_quoted(struct dialog *d, const struct pkt_icmp *icmp, const struct pkt *sent, size_t tcp_bytes)
{
	size_t ip = addr_is_v4(&d->client) ? 20 : 40;
	uint8_t frame[PKT_MAX];
	struct pkt p;
	const char *why;

	pkt_build(sent, frame);
	assert_memory_equal(icmp->quoted + ip - (ip == 20 ? 8 : 32), frame + ETH + ip - (ip == 20 ? 8 : 32), ip == 20 ? 8 : 32);
	assert_memory_equal(icmp->quoted + ip, frame + ETH + ip, tcp_bytes && tcp_bytes < 12 ? tcp_bytes : 12);
	if (ip == 20 && pkt_sum(icmp->quoted, 20, 0) != 0xffff)
		fail_msg("%s: the quoted IP header's checksum", d->sentence);
	if (tcp_bytes)
		return;
	memcpy(frame + ETH, icmp->quoted, icmp->quoted_len);
	if (pkt_parse(frame, ETH + icmp->quoted_len, &p, &why))
		fail_msg("%s: the quoted packet: %s", d->sentence, why);
}

static void test_errors_from_the_clients_side_name_what_the_pod_has_sent(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct shunt_addr hop = router(family);
		struct pkt sent = { .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = pod.lport, .flags = ACK | PSH, .seq = pod.sent,
				    .ack = pod.received, .window = 99, .tstamp = true, .tsval = ++pod.tsval, .tsecr = pod.tsecr, .payload = "hello!!",
				    .len = 7, .to_client = true };
		struct bpfrun_frame seen;

		bpfrun_packet(*state, TO_CLIENT, &sent, &d.r);
		assert_int_equal(d.r.verdict, V_PASS);
		seen = d.r.out;
		for (size_t i = 0; i < ARRAY_SIZE(errors) * ARRAY_SIZE(quotes) * 2; i++) {
			const struct error *error = &errors[i / 2 % ARRAY_SIZE(errors)];
			size_t quote = quotes[i / 2 / ARRAY_SIZE(errors)];
			const struct shunt_addr *from = i % 2 ? &hop : &d.client;
			struct pkt_icmp icmp;

			d.sentence = error->sentence;
			if (!tell(&d, FROM_CLIENT, from, &d.frontend, error, &seen, quote, &icmp) || d.r.verdict != V_PASS)
				dialog_fail(&d, "the error does not go on");
			assert_false(icmp.to_client);
			assert_memory_equal(&icmp.saddr, from, sizeof(*from));
			assert_memory_equal(&icmp.daddr, &pod.addr, sizeof(pod.addr));
			expect_quoted(&d, &icmp, &sent, quote);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ICMP), ARRAY_SIZE(errors) * ARRAY_SIZE(quotes) * 2);
	}
}

static void test_errors_from_the_pods_side_name_what_the_client_has_sent(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct shunt_addr hop = router(family);
		struct pkt sent = { .saddr = d.client, .daddr = d.frontend, .sport = d.cport, .dport = d.fport, .flags = ACK | PSH, .seq = d.next,
				    .ack = d.received, .window = 99, .tstamp = true, .tsval = ++d.tsval, .tsecr = d.tsecr, .payload = ONE,
				    .len = strlen(ONE) };
		struct bpfrun_frame seen;

		bpfrun_packet(*state, FROM_CLIENT, &sent, &d.r);
		assert_int_equal(d.r.verdict, V_PASS);
		seen = d.r.out;
		for (size_t i = 0; i < ARRAY_SIZE(errors) * ARRAY_SIZE(quotes) * 2; i++) {
			const struct error *error = &errors[i / 2 % ARRAY_SIZE(errors)];
			size_t quote = quotes[i / 2 / ARRAY_SIZE(errors)];
			const struct shunt_addr *from = i % 2 ? &hop : &pod.addr;
			struct pkt_icmp icmp;

			d.sentence = error->sentence;
			if (!tell(&d, TO_CLIENT, from, &d.client, error, &seen, quote, &icmp) || d.r.verdict != V_PASS)
				dialog_fail(&d, "the error does not go on");
			assert_true(icmp.to_client);
			assert_memory_equal(&icmp.daddr, &d.client, sizeof(d.client));
			assert_memory_equal(&icmp.saddr, i % 2 ? &hop : &d.frontend, sizeof(hop)); /* the client knows no pod */
			expect_quoted(&d, &icmp, &sent, quote);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ICMP), ARRAY_SIZE(errors) * ARRAY_SIZE(quotes) * 2);
	}
}

/* ---- what we do ourselves ---------------------------------------------------------------------------------------------------------------- */

static void test_an_unreachable_pod_has_refused(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct shunt_addr hop = router(family);
			struct bpfrun_frame syn, other;
			struct pkt_icmp icmp;

			bpfrun_forget(*state);
			d.sentence = errors[i].sentence;
			dialog_connects(&d);
			dialog_says(&d, ONE);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			syn = other = d.r.out;
			other.bytes[family == SHUNT_V6 ? 58 : 38]++; /* another sequence number: anybody may have sent the error */
			assert_false(tell(&d, TO_CLIENT, &hop, &d.client, &errors[i], &other, 8, &icmp));
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_REFUSED), 0);
			if (!tell(&d, TO_CLIENT, &hop, &d.client, &errors[i], &syn, 8, &icmp)) {
				assert_ptr_equal(&errors[i], too_big);
				continue;
			}
			/* v1 has no other pod and no fallback. */
			if (d.r.verdict != V_PASS || d.r.out.why || d.r.out.pkt.flags != (RST | ACK) || d.r.out.pkt.seq != d.received)
				dialog_fail(&d, "the client does not hear that there is no pod");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_REFUSED), 1);
			assert_int_equal(bpfrun_flows(*state), 0);
			assert_int_equal(bpfrun_legs(*state), 0);
		}
	}
}

/* The client was told that the pieces of its head have arrived: it never sends them again. */
static void test_held_bytes_too_big_for_the_path_go_again_in_smaller_segments(void **state)
{
	static char head[1400];

	memset(head, 'x', sizeof(head));
	memcpy(head, ONE, strlen(ONE) - 2);
	memcpy(head + strlen(ONE) - 2, "fill: ", 6);
	memcpy(head + sizeof(head) - 4, "\r\n\r\n", 4);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
		struct shunt_addr hop = router(family);
		struct bpfrun_frame sent;
		struct pkt_icmp icmp;
		size_t at = 0;

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_sends(&d, head, 700);
		dialog_expect_ack(&d);
		dialog_sends(&d, head + 700, sizeof(head) - 700);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, head, sizeof(head));
		sent = d.r.out;
		assert_int_equal(d.r.clones, 0);
		assert_true(tell(&d, TO_CLIENT, &hop, &d.client, &(struct error){ "600", { 3, 2 }, { 4, 0 }, 600 }, &sent, 8, &icmp));
		assert_int_equal(d.r.verdict, V_REDIRECT);
		assert_int_equal(d.r.mark, SHUNT_MARK);
		for (size_t i = 0; i <= d.r.clones; i++) {
			const struct bpfrun_frame *frame = i < d.r.clones ? &d.r.clone[i] : &d.r.out;

			assert_null(frame->why);
			assert_true(frame->len <= ETH + 600);
			assert_int_equal(frame->pkt.seq, (uint32_t)(pod.received - sizeof(head) + at));
			assert_memory_equal(frame->pkt.payload, head + at, frame->pkt.len);
			at += frame->pkt.len;
		}
		assert_int_equal(at, sizeof(head));

		/* An error about a number that is not on its way tells nothing. */
		sent.bytes[family == SHUNT_V6 ? 58 : 38]++;
		assert_true(tell(&d, TO_CLIENT, &hop, &d.client, &(struct error){ "300", { 3, 2 }, { 4, 0 }, 300 }, &sent, 8, &icmp));
		assert_int_equal(d.r.verdict, V_PASS);
	}
}

/* ---- not ours ---------------------------------------------------------------------------------------------------------------------------- */

static void test_an_error_about_an_idle_leg_does_not_reach_the_client(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod, other;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct shunt_addr hop = router(family);
		struct pkt pkt;
		struct bpfrun_frame idle = {};
		struct pkt_icmp icmp;

		other = dialog_pod(&d, DIALOG_V2);
		pkt = (struct pkt){ .saddr = d.client, .daddr = other.addr, .sport = d.cport, .dport = other.port, .flags = ACK, .seq = 1 };
		idle.len = pkt_build(&pkt, idle.bytes);
		assert_false(tell(&d, TO_CLIENT, &hop, &d.client, unreachable, &idle, 8, &icmp));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_IDLE_ANSWERED), 1);
	}
}

static void test_errors_about_what_is_not_ours_pass_untouched(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		struct shunt_addr hop = router(family);
		struct pkt each[] = {
			{ .saddr = d.client, .daddr = pod.addr, .sport = 77, .dport = pod.port, .flags = ACK },
			{ .saddr = d.client, .daddr = d.frontend, .sport = 77, .dport = 81, .flags = ACK },
			{ .saddr = d.client, .daddr = pod.addr, .sport = pod.lport, .dport = pod.port, .kind = PKT_UDP },
			{ .saddr = d.client, .daddr = pod.addr, .sport = 7, .kind = PKT_PING, .payload = "12345678", .len = 8 },
			{ .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = pod.lport, .flags = ACK }, /* its receiver did not send it */
		};

		for (size_t i = 0; i < ARRAY_SIZE(each) * ARRAY_SIZE(errors) * 2; i++) {
			enum bpfrun_hook hook = i % 2 ? FROM_CLIENT : TO_CLIENT;
			const struct error *error = &errors[i / 2 % ARRAY_SIZE(errors)];
			uint8_t about[PKT_MAX], frame[PKT_MAX];
			size_t len = pkt_build(&each[i / 2 / ARRAY_SIZE(errors)], about);
			struct pkt_icmp icmp = { .saddr = hop, .daddr = d.client, .to_client = hook == TO_CLIENT, .type = error->type[family],
						 .code = error->code[family], .quoted = about + ETH, .quoted_len = len - ETH };

			len = pkt_icmp_build(&icmp, frame);
			for (size_t cut = len; cut > len - 10; cut--) {
				bpfrun_bytes(*state, hook, frame, cut, &d.r);
				assert_int_equal(d.r.verdict, V_PASS);
				assert_int_equal(d.r.out.len, cut);
				assert_memory_equal(d.r.out.bytes, frame, cut);
			}
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ICMP), 0);
	}
}

/* Before a pod is known there is nobody to tell; such an error passes, and is counted. */
static void test_an_error_about_our_own_answer_to_a_syn_is_counted(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct bpfrun_frame answer;
		struct pkt_icmp icmp;

		bpfrun_forget(*state);
		dialog_syn(&d);
		answer = d.r.out;
		assert_true(tell(&d, FROM_CLIENT, &d.client, &d.frontend, unreachable, &answer, 8, &icmp));
		assert_int_equal(d.r.verdict, V_PASS);
		assert_memory_equal(&icmp.daddr, &d.frontend, sizeof(d.frontend));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ICMP_UNBOUND), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_errors_from_the_clients_side_name_what_the_pod_has_sent),
		cmocka_unit_test(test_errors_from_the_pods_side_name_what_the_client_has_sent),
		cmocka_unit_test(test_an_unreachable_pod_has_refused),
		cmocka_unit_test(test_held_bytes_too_big_for_the_path_go_again_in_smaller_segments),
		cmocka_unit_test(test_an_error_about_an_idle_leg_does_not_reach_the_client),
		cmocka_unit_test(test_errors_about_what_is_not_ours_pass_untouched),
		cmocka_unit_test(test_an_error_about_our_own_answer_to_a_syn_is_counted),
	};

	return bpfrun_main("icmp", dialog_tables(), tests, ARRAY_SIZE(tests));
}
