/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connection frontends: any TCP, decided at the SYN by the client address, translated from then on. */
#include "../lib/dialog.h"

#include <arpa/inet.h>
#include <string.h>

#include "util/cleanup.h"

/* One packet between the ends, each with its own numbers, which connection frontends leave alone. */
struct wire {
	struct bpfrun *run;
	struct shunt_addr client, frontend;
	struct dialog_pod pod;
	uint16_t cport, lport;
	struct bpfrun_result r;
};

static void to_pod(struct wire *w, const struct pkt *what)
{
	struct pkt pkt = *what, *p = &w->r.out.pkt;

	pkt.saddr = w->client;
	pkt.daddr = w->frontend;
	pkt.sport = w->cport;
	pkt.dport = 443;
	bpfrun_packet(w->run, FROM_CLIENT, &pkt, &w->r);
	if (w->r.verdict != V_PASS || w->r.out.why)
		fail_msg("to the pod: verdict %d %s", w->r.verdict, w->r.out.why ? w->r.out.why : "");
	if (pkt.flags == SYN) {
		w->lport = p->sport;
		for (int version = 0; version < 2; version++) {
			struct dialog d = { .client = w->client };

			w->pod = dialog_pod(&d, version);
			if (w->pod.port == p->dport)
				break;
		}
	}
	assert_memory_equal(&p->saddr, &w->client, sizeof(p->saddr));
	assert_memory_equal(&p->daddr, &w->pod.addr, sizeof(p->daddr));
	assert_int_equal(p->sport, w->lport);
	assert_int_equal(p->dport, w->pod.port);
}

static void to_client(struct wire *w, const struct pkt *what)
{
	struct pkt pkt = *what, *p = &w->r.out.pkt;

	pkt.saddr = w->pod.addr;
	pkt.daddr = w->client;
	pkt.sport = w->pod.port;
	pkt.dport = w->lport;
	bpfrun_packet(w->run, TO_CLIENT, &pkt, &w->r);
	if (w->r.verdict != V_PASS || w->r.out.why)
		fail_msg("to the client: verdict %d %s", w->r.verdict, w->r.out.why ? w->r.out.why : "");
	assert_memory_equal(&p->saddr, &w->frontend, sizeof(p->saddr));
	assert_memory_equal(&p->daddr, &w->client, sizeof(p->daddr));
	assert_int_equal(p->sport, 443);
	assert_int_equal(p->dport, w->cport);
}

/* All but addresses and ports is as it was sent. */
static void expect_untouched(const struct wire *w, const struct pkt *sent)
{
	const struct pkt *p = &w->r.out.pkt;

	assert_int_equal(p->seq, sent->seq);
	assert_int_equal(p->ack, sent->ack);
	assert_int_equal(p->flags, sent->flags);
	assert_int_equal(p->window, sent->window);
	assert_int_equal(p->mss, sent->mss);
	assert_int_equal(p->wscale, sent->wscale);
	assert_int_equal(p->sack_ok, sent->sack_ok);
	assert_int_equal(p->tsval, sent->tsval);
	assert_int_equal(p->tsecr, sent->tsecr);
	assert_int_equal(p->sacks, sent->sacks);
	assert_memory_equal(p->sack, sent->sack, sizeof(p->sack));
	assert_int_equal(p->len, sent->len);
	if (p->len)
		assert_memory_equal(p->payload, sent->payload, p->len);
}

static struct wire wire_of(struct bpfrun *run, int family)
{
	struct dialog d = dialog_of(run, family);
	struct wire w = { .run = run, .client = d.client, .cport = 50000 };

	dialog_towards(&d, 11, 443);
	w.frontend = d.frontend;
	return w;
}

static struct wire fresh_wire(struct bpfrun *run, int family)
{
	bpfrun_forget(run);
	return wire_of(run, family);
}

/* The three packets of a handshake, the fourth with data; timestamps and SACK included. */
static const struct pkt client_says[] = {
	{ .flags = SYN, .seq = 0xffffffffu, .window = 64240, .mss = 1460, .wscale = 8, .sack_ok = true, .tstamp = true, .tsval = 7 },
	{ .flags = ACK, .seq = 0, .ack = 1001, .window = 502, .tstamp = true, .tsval = 8, .tsecr = 99 },
	{ .flags = ACK | PSH, .seq = 0, .ack = 1001, .window = 502, .tstamp = true, .tsval = 9, .tsecr = 99, .payload = "\x16\x03\x01", .len = 3 },
	{ .flags = ACK, .seq = 3, .ack = 1001, .window = 0, .tstamp = true, .tsval = 10, .tsecr = 99, .sacks = 2,
	  .sack = { { 2000, 3000 }, { 5000, 6000 } } },
};

static const struct pkt pod_says[] = {
	{ .flags = SYN | ACK, .seq = 1000, .ack = 0, .window = 65160, .mss = 1460, .wscale = 11, .sack_ok = true, .tstamp = true, .tsval = 99, .tsecr = 7 },
	{ .flags = ACK, .seq = 1001, .ack = 3, .window = 65000, .tstamp = true, .tsval = 100, .tsecr = 9 },
	{ .flags = ACK | PSH, .seq = 1001, .ack = 3, .window = 65000, .payload = "answer", .len = 6 },
};

static void opens(struct wire *w)
{
	to_pod(w, &client_says[0]);
	expect_untouched(w, &client_says[0]);
	to_client(w, &pod_says[0]);
	expect_untouched(w, &pod_says[0]);
	to_pod(w, &client_says[1]);
	expect_untouched(w, &client_says[1]);
}

static void test_packets_change_addresses_and_ports_alone(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);

		w.run->summed = family == SHUNT_V6; /* of one family: in the other the skb has none */
		opens(&w);
		for (size_t i = 2; i < ARRAY_SIZE(client_says); i++) {
			to_pod(&w, &client_says[i]);
			expect_untouched(&w, &client_says[i]);
		}
		for (size_t i = 1; i < ARRAY_SIZE(pod_says); i++) {
			to_client(&w, &pod_says[i]);
			expect_untouched(&w, &pod_says[i]);
		}
		assert_int_equal(bpfrun_flows(*state), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_BIND), 1);
	}
}

static void test_a_client_address_always_belongs_to_one_version_and_many_to_both(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		int second = 0;

		for (int host = 1; host <= 64; host++) {
			uint16_t port = 0;

			for (int time = 0; time < 2; time++) {
				struct wire w = wire_of(*state, family);

				w.client.ip[15] = host;
				w.cport += host * 2 + time;
				to_pod(&w, &client_says[0]);
				assert_true(!port || port == w.pod.port);
				port = w.pod.port;
			}
			second += port == 8081;
		}
		assert_in_range(second, 16, 48);
	}
}

static void test_a_syn_sent_again_is_the_same_connection(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);

		to_pod(&w, &client_says[0]);
		to_pod(&w, &client_says[0]);
		expect_untouched(&w, &client_says[0]);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_NEW), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_REUSED), 0);
	}
}

static void test_another_syn_on_the_port_is_another_connection(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);
		struct pkt again = client_says[0];

		opens(&w);
		again.seq = 12345;
		to_pod(&w, &again);
		assert_int_equal(bpfrun_flows(*state), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_REUSED), 1);
	}
}

static void test_both_fins_or_a_reset_end_it(void **state)
{
	static const struct pkt fin = { .flags = FIN | ACK, .seq = 0, .ack = 1001, .window = 502 };
	static const struct pkt pod_fin = { .flags = FIN | ACK, .seq = 1001, .ack = 1, .window = 502 };
	static const struct pkt last = { .flags = ACK, .seq = 1, .ack = 1002, .window = 502 };
	static const struct pkt reset = { .flags = RST, .seq = 0 };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);

		opens(&w);
		to_pod(&w, &fin);
		to_client(&w, &pod_fin);
		to_pod(&w, &last);
		expect_untouched(&w, &last);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);

		w = fresh_wire(*state, family);
		opens(&w);
		to_pod(&w, &reset);
		expect_untouched(&w, &reset);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* Numbers have no beginning: a client may start anywhere, and its FIN or reset must be believed there, too. */
static void test_connections_from_any_number_on_end(void **state)
{
	static const uint32_t isns[] = { 1, 0x7ffffff0, 0x80000010, 0xc0000000 };

	for (size_t i = 0; i < ARRAY_SIZE(isns) * SHUNT_FAMILIES; i++) {
		uint32_t isn = isns[i / SHUNT_FAMILIES];
		const struct pkt syn = { .flags = SYN, .seq = isn, .window = 64240, .mss = 1460 };
		const struct pkt accept = { .flags = SYN | ACK, .seq = 1000, .ack = isn + 1, .window = 65160, .mss = 1460 };
		const struct pkt fin = { .flags = FIN | ACK, .seq = isn + 1, .ack = 1001, .window = 502 };
		const struct pkt pod_fin = { .flags = FIN | ACK, .seq = 1001, .ack = isn + 2, .window = 502 };
		const struct pkt last = { .flags = ACK, .seq = isn + 2, .ack = 1002, .window = 502 };
		const struct pkt reset = { .flags = RST, .seq = isn + 1 };
		struct wire w = fresh_wire(*state, i % SHUNT_FAMILIES);

		to_pod(&w, &syn);
		to_client(&w, &accept);
		to_pod(&w, &fin);
		to_client(&w, &pod_fin);
		to_pod(&w, &last);
		assert_int_equal(bpfrun_flows(*state), 0);

		w = fresh_wire(*state, i % SHUNT_FAMILIES);
		to_pod(&w, &syn);
		to_client(&w, &accept);
		to_pod(&w, &reset);
		assert_int_equal(bpfrun_flows(*state), 0);
	}
}

/* The client has a connection of its own to the pod, from the port that it now uses to the frontend. */
static void test_a_leg_leaves_the_clients_own_connection_to_the_pod_alone(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);
		struct pkt direct = client_says[0];
		struct bpfrun_result r;

		to_pod(&w, &client_says[0]); /* where does it go? */
		bpfrun_forget(*state);
		direct.saddr = w.client;
		direct.daddr = w.pod.addr;
		direct.sport = w.cport;
		direct.dport = w.pod.port;
		bpfrun_packet(*state, FROM_CLIENT, &direct, &r);
		assert_int_equal(r.verdict, V_PASS);
		assert_int_equal(r.out.pkt.sport, w.cport);

		opens(&w);
		assert_int_not_equal(w.lport, w.cport);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_PORT), 1);
		to_client(&w, &pod_says[1]);
		expect_untouched(&w, &pod_says[1]);
	}
}

static void test_the_clients_own_connection_is_moved_off_a_legs_port(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);
		struct pkt direct = client_says[0], back = pod_says[0];
		struct bpfrun_result r;
		uint16_t moved;

		opens(&w);
		assert_int_equal(w.lport, w.cport);
		direct.saddr = w.client;
		direct.daddr = w.pod.addr;
		direct.sport = w.cport;
		direct.dport = w.pod.port;
		direct.seq += 1000000;
		bpfrun_packet(*state, FROM_CLIENT, &direct, &r);
		assert_int_equal(r.verdict, V_PASS);
		assert_null(r.out.why);
		moved = r.out.pkt.sport;
		assert_int_not_equal(moved, w.cport);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_DIRECT_MOVED), 1);

		back.saddr = w.pod.addr;
		back.daddr = w.client;
		back.sport = w.pod.port;
		back.dport = moved;
		bpfrun_packet(*state, TO_CLIENT, &back, &r);
		assert_int_equal(r.verdict, V_PASS);
		assert_null(r.out.why);
		assert_int_equal(r.out.pkt.dport, w.cport);
		assert_memory_equal(&r.out.pkt.saddr, &w.pod.addr, sizeof(w.pod.addr));

		to_client(&w, &pod_says[1]); /* the leg goes on */
		expect_untouched(&w, &pod_says[1]);
	}
}

static void test_a_leg_that_comes_by_a_second_interface_passes_it_as_it_is(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct wire w = fresh_wire(*state, family);
		struct bpfrun_result again;

		to_pod(&w, &client_says[0]);
		for (int times = 0; times < 2; times++) {
			bpfrun_bytes(*state, FROM_CLIENT, w.r.out.bytes, w.r.out.len, &again);
			assert_int_equal(again.verdict, V_PASS);
			assert_int_equal(again.out.len, w.r.out.len);
			assert_memory_equal(again.out.bytes, w.r.out.bytes, w.r.out.len);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_MET_AGAIN), 2);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_DIRECT_MOVED), 0);
		to_client(&w, &pod_says[0]);
		expect_untouched(&w, &pod_says[0]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_change_addresses_and_ports_alone),
		cmocka_unit_test(test_a_client_address_always_belongs_to_one_version_and_many_to_both),
		cmocka_unit_test(test_a_syn_sent_again_is_the_same_connection),
		cmocka_unit_test(test_another_syn_on_the_port_is_another_connection),
		cmocka_unit_test(test_both_fins_or_a_reset_end_it),
		cmocka_unit_test(test_connections_from_any_number_on_end),
		cmocka_unit_test(test_a_leg_leaves_the_clients_own_connection_to_the_pod_alone),
		cmocka_unit_test(test_the_clients_own_connection_is_moved_off_a_legs_port),
		cmocka_unit_test(test_a_leg_that_comes_by_a_second_interface_passes_it_as_it_is),
	};

	return bpfrun_main("connection", dialog_tables(), tests, ARRAY_SIZE(tests));
}
