/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is not ours leaves as it came, byte for byte, on both hooks, and no flow or reason knows of it. */
#include "../lib/dialog.h"

#include <string.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"

struct frame {
	uint8_t bytes[PKT_MAX];
	size_t len;
};

static void expect_untouched(struct bpfrun *run, enum bpfrun_hook hook, const struct frame *frame, const char *sentence)
{
	struct bpfrun_result r;

	bpfrun_bytes(run, hook, frame->bytes, frame->len, &r);
	if (r.verdict != V_PASS || r.mark || r.clones || r.out.len != frame->len || memcmp(r.out.bytes, frame->bytes, frame->len))
		fail_msg("%s, %s: verdict %d, mark %x, %zu clones, %zu of %zu bytes, %s", sentence, hook == FROM_CLIENT ? "from client" : "to client",
			 r.verdict, r.mark, r.clones, r.out.len, frame->len,
			 memcmp(r.out.bytes, frame->bytes, frame->len) ? "changed" : "as they were");
}

/* Neither flow nor leg nor any reason. */
static void expect_no_trace(struct bpfrun *run)
{
	assert_int_equal(bpfrun_flows(run), 0);
	assert_int_equal(bpfrun_legs(run), 0);
	for (int reason = 0; reason < SHUNT_R_MAX; reason++)
		if (reason != SHUNT_R_FRAGMENT)
			assert_int_equal(bpfrun_reason(run, reason), 0);
}

static struct frame built(const struct pkt *pkt)
{
	struct frame frame = {};

	frame.len = pkt_build(pkt, frame.bytes);
	return frame;
}

static void test_packets_for_no_frontend_pass_untouched(void **state)
{
	static const char head[] = "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n";
	static const struct {
		const char *sentence;
		enum pkt_kind kind;
		bool to_frontend;
		uint16_t dport;
		uint8_t flags;
		const char *payload;
	} each[] = {
		{ "a SYN to another port", PKT_TCP, true, 81, SYN, "" },
		{ "an ACK to another port", PKT_TCP, true, 443, ACK, "" },
		{ "a request to another port", PKT_TCP, true, 8080, ACK | PSH, head },
		{ "a reset to another port", PKT_TCP, true, 8080, RST, "" },
		{ "a request to a pod", PKT_TCP, false, 8080, ACK | PSH, head },
		{ "a FIN to a pod", PKT_TCP, false, 8080, FIN | ACK, "" },
		{ "UDP to the frontend's port", PKT_UDP, true, 80, 0, "dns" },
		{ "UDP to a pod", PKT_UDP, false, 8080, 0, "x" },
		{ "a ping of the frontend", PKT_PING, true, 0, 0, "ping" },
		{ "a ping of a pod", PKT_PING, false, 0, 0, "ping" },
	};

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
			struct pkt pkt = { .saddr = d.client, .daddr = each[i].to_frontend ? d.frontend : pod.addr, .kind = each[i].kind,
					   .sport = 1234, .dport = each[i].dport, .flags = each[i].flags, .seq = 5, .ack = 6, .window = 7,
					   .tstamp = each[i].kind == PKT_TCP, .tsval = 1, .payload = each[i].payload, .len = strlen(each[i].payload) };
			struct frame frame = built(&pkt);

			expect_untouched(*state, FROM_CLIENT, &frame, each[i].sentence);
			expect_untouched(*state, TO_CLIENT, &frame, each[i].sentence);
		}
		expect_no_trace(*state);
	}
}

/* A SYN to a pod passes too; that tuple is remembered, so that no leg takes it. */
static void test_a_clients_own_connection_to_a_pod_passes_untouched(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V1);
		struct pkt to = { .saddr = d.client, .daddr = pod.addr, .sport = 1234, .dport = pod.port, .flags = SYN, .seq = 5, .mss = 1460, .wscale = 8 };
		struct pkt back = { .saddr = pod.addr, .daddr = d.client, .sport = pod.port, .dport = 1234, .flags = SYN | ACK, .seq = 7, .ack = 6 };
		struct frame frame = built(&to);

		expect_untouched(*state, FROM_CLIENT, &frame, "SYN");
		frame = built(&back);
		expect_untouched(*state, TO_CLIENT, &frame, "SYN-ACK");
		to.flags = ACK;
		to.ack = 8;
		frame = built(&to);
		expect_untouched(*state, FROM_CLIENT, &frame, "ACK");
		expect_no_trace(*state);
	}
}

/* Packets to a frontend that TCP itself would not take. */
static void test_what_cannot_be_read_passes_untouched(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = 1234, .dport = 80, .flags = ACK, .seq = 5, .ack = 6,
				   .payload = "hello", .len = 5 };
		size_t ip = 14, tcp = family == SHUNT_V4 ? 34 : 54;
		struct frame whole = built(&pkt), frame;

		for (size_t len = tcp; len < tcp + 20; len++) { /* the kernel runs no shorter ones */
			frame = whole;
			frame.len = len;
			expect_untouched(*state, FROM_CLIENT, &frame, "cut short");
		}
		frame = whole;
		frame.bytes[tcp + 12] = 0x40; /* a TCP header of 16 bytes */
		expect_untouched(*state, FROM_CLIENT, &frame, "a TCP header too short");
		frame.bytes[tcp + 12] = 0xf0; /* of 60, beyond the packet */
		expect_untouched(*state, FROM_CLIENT, &frame, "a TCP header too long");
		frame = whole;
		frame.bytes[ip + (family == SHUNT_V4 ? 3 : 5)] += 100; /* the IP length lies */
		expect_untouched(*state, FROM_CLIENT, &frame, "an IP length beyond the packet");
		frame = whole;
		frame.bytes[12] = 0x88;
		frame.bytes[13] = 0xcc;
		expect_untouched(*state, FROM_CLIENT, &frame, "another Ethernet protocol");
		frame = whole;
		if (family == SHUNT_V4) {
			frame.bytes[ip + 6] = 0x20; /* more fragments */
			expect_untouched(*state, FROM_CLIENT, &frame, "a first fragment");
			frame.bytes[ip + 6] = 0;
			frame.bytes[ip + 7] = 10;
			expect_untouched(*state, FROM_CLIENT, &frame, "a later fragment");
			frame = whole;
			frame.bytes[ip] = 0x46;
			expect_untouched(*state, FROM_CLIENT, &frame, "IP options");
		} else {
			frame.bytes[ip + 6] = 44;
			expect_untouched(*state, FROM_CLIENT, &frame, "a fragment");
			frame.bytes[ip + 6] = 0;
			expect_untouched(*state, FROM_CLIENT, &frame, "an extension header");
		}
		expect_no_trace(*state);
	}
}

/* Bytes put into a frame before TCP, or (VLAN) before the Ethernet protocol; and what else makes such a packet. */
struct insertion {
	const char *sentence;
	enum shunt_family family;
	size_t at, len;
	const char *bytes;
	uint8_t next;           /* IPv6: next header, instead of TCP */
	uint8_t fragment[2];    /* IPv4: flags and offset */
	enum shunt_reason reason; /* SHUNT_R_MAX: not counted */
};

static struct frame inserted(const struct frame *whole, const struct insertion *in)
{
	struct frame frame = { .len = whole->len + in->len };
	size_t added = in->at < 14 ? 0 : in->len;

	memcpy(frame.bytes, whole->bytes, in->at);
	if (in->len)
		memcpy(frame.bytes + in->at, in->bytes, in->len);
	memcpy(frame.bytes + in->at + in->len, whole->bytes + in->at, whole->len - in->at);
	if (in->family == SHUNT_V4 && in->at >= 14) {
		frame.bytes[14] += in->len / 4;
		frame.bytes[17] += added;
		memcpy(frame.bytes + 20, in->fragment, 2);
	} else if (in->at >= 14) {
		frame.bytes[19] += added;
		frame.bytes[20] = in->next;
	}
	return frame;
}

static void test_packets_to_a_frontend_that_cannot_be_steered_pass_and_are_counted(void **state)
{
	static const struct insertion each[] = {
		{ "IPv4 options", SHUNT_V4, 34, 4, "\1\1\1\0", .reason = SHUNT_R_IP_OPTIONS },
		{ "a first fragment", SHUNT_V4, 34, 0, "", .fragment = { 0x20, 0 }, .reason = SHUNT_R_FRAGMENT },
		{ "a later fragment", SHUNT_V4, 34, 0, "", .fragment = { 0x20, 9 }, .reason = SHUNT_R_MAX },
		{ "a second VLAN tag", SHUNT_V4, 12, 4, "\x81\x00\x00\x0a", .reason = SHUNT_R_VLAN_TWICE },
		{ "a provider's VLAN tag", SHUNT_V6, 12, 4, "\x88\xa8\x00\x0a", .reason = SHUNT_R_VLAN_TWICE },
		{ "a hop-by-hop header", SHUNT_V6, 54, 8, "\6\0\1\4\0\0\0\0", 0, .reason = SHUNT_R_IP_OPTIONS },
		{ "destination options", SHUNT_V6, 54, 8, "\6\0\1\4\0\0\0\0", 60, .reason = SHUNT_R_IP_OPTIONS },
		{ "two extension headers", SHUNT_V6, 54, 16, "\53\0\1\4\0\0\0\0\6\0\4\0\0\0\0\0", 0, .reason = SHUNT_R_IP_OPTIONS },
		{ "a first fragment", SHUNT_V6, 54, 8, "\6\0\0\1\0\0\0\7", 44, .reason = SHUNT_R_FRAGMENT },
		{ "a later fragment", SHUNT_V6, 54, 8, "\6\0\1\1\0\0\0\7", 44, .reason = SHUNT_R_MAX },
		{ "an extension header before UDP", SHUNT_V6, 54, 8, "\x11\0\1\4\0\0\0\0", 0, .reason = SHUNT_R_MAX },
		{ "an extension header too long", SHUNT_V6, 54, 8, "\6\xff\1\4\0\0\0\0", 0, .reason = SHUNT_R_MAX },
	};

	for (size_t i = 0; i < 2 * ARRAY_SIZE(each); i++) {
		const struct insertion *in = &each[i / 2];
		struct dialog d = dialog_of(*state, in->family);
		bool ours = i % 2 == 0;
		struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = 1234, .dport = ours ? 80 : 81, .flags = SYN, .seq = 5 };
		struct frame whole = built(&pkt), frame = inserted(&whole, in);

		bpfrun_forget(*state);
		expect_untouched(*state, FROM_CLIENT, &frame, in->sentence);
		expect_untouched(*state, TO_CLIENT, &frame, in->sentence);
		for (int reason = 0; reason < SHUNT_R_MAX; reason++)
			if (bpfrun_reason(*state, reason) != (ours && reason == (int)in->reason))
				fail_msg("%s, %s: reason %d counted %d times", in->sentence, ours ? "to a frontend" : "to another port", reason,
					 (int)bpfrun_reason(*state, reason));
	}
}

static void test_our_own_packet_on_its_way_round_passes_without_its_mark(void **state)
{
	struct bpfrun *run = *state;
	struct dialog d = dialog_of(run, SHUNT_V4);
	struct pkt pkt = { .saddr = d.client, .daddr = d.frontend, .sport = 1234, .dport = 80, .flags = SYN };
	struct frame frame = built(&pkt);
	struct __sk_buff in = { .mark = SHUNT_MARK }, out = { .mark = 1 };
	uint8_t bytes[PKT_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.bytes, .data_size_in = frame.len, .data_out = bytes, .data_size_out = sizeof(bytes),
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out));

	assert_int_equal(bpf_prog_test_run_opts(run->prog[FROM_CLIENT], &opts), 0);
	assert_int_equal((int)opts.retval, V_PASS);
	assert_int_equal(out.mark, 0);
	assert_memory_equal(bytes, frame.bytes, frame.len);
	expect_no_trace(run);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_for_no_frontend_pass_untouched),
		cmocka_unit_test(test_a_clients_own_connection_to_a_pod_passes_untouched),
		cmocka_unit_test(test_what_cannot_be_read_passes_untouched),
		cmocka_unit_test(test_packets_to_a_frontend_that_cannot_be_steered_pass_and_are_counted),
		cmocka_unit_test(test_our_own_packet_on_its_way_round_passes_without_its_mark),
	};

	return bpfrun_main("foreign", dialog_tables(), tests, ARRAY_SIZE(tests));
}
