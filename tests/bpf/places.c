/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where packets are met besides the client's interface, and what a pod sees in place of its client's address (tests/net/test_places.py has the real places). */
#include "../lib/dialog.h"

#include <string.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define ETH 14
#define GET "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static const uint8_t pod_macs[12] = { 2, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2 }, router_mac[6] = { 2, 3, 3, 3, 3, 3 };

static struct shunt_addr addr_of(const char *text)
{
	struct shunt_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

/* A client with a request, without timestamps; the leg's SYN is the packet at hand. */
static struct dialog asking(struct bpfrun *run, int family, struct dialog_pod *pod)
{
	struct dialog d = dialog_of(run, family);

	*pod = dialog_pod(&d, DIALOG_V2);
	bpfrun_forget(run);
	d.tstamp = d.sack = d.wscale = false;
	dialog_connects(&d);
	dialog_says(&d, GET);
	return d;
}

static uint8_t frame[PKT_MAX];
static size_t len;

/* A packet of the pod, in `frame`, as it comes in by the pod's interface, or leaves by the client's. */
static void answers(struct dialog *d, struct dialog_pod *pod, enum bpfrun_hook hook, uint8_t flags, const char *payload)
{
	struct pkt pkt = { .saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = flags, .seq = pod->sent,
			   .ack = pod->received, .window = 1000, .mss = flags & SYN ? 1460 : 0, .payload = payload, .len = strlen(payload) };

	pkt.to_client = hook == TO_CLIENT;
	len = pkt_build(&pkt, frame);
	if (hook == FROM_POD)
		memcpy(frame, pod_macs, sizeof(pod_macs));
	bpfrun_bytes(d->run, hook, frame, len, &d->r);
	pod->sent += pkt.len + (flags & SYN ? 1 : 0);
}

/* The leg opens and the request goes to it, by the client's interface and with the client's Ethernet addresses. */
static void opens(struct dialog *d, struct dialog_pod *pod)
{
	const struct pkt *p = &d->r.out.pkt;

	dialog_expect_leg(d, pod, d->isn + 1);
	answers(d, pod, FROM_POD, SYN | ACK, "");
	if (d->r.verdict != V_REDIRECT || d->r.mark != SHUNT_MARK || d->r.out.why || p->to_client || p->len != strlen(GET))
		dialog_fail(d, "the request does not go round by the client's interface");
	pod->received += p->len;
}

static void test_answers_are_met_where_they_come_in(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = asking(*state, family, &pod);
		const struct pkt *p = &d.r.out.pkt;

		opens(&d, &pod);
		answers(&d, &pod, FROM_POD, ACK | PSH, OK5);
		if (d.r.verdict != V_REDIRECT || d.r.mark || d.r.out.why || !p->to_client || p->len != strlen(OK5) || p->seq != d.received)
			dialog_fail(&d, "the answer does not leave by the client's interface");
		assert_memory_equal(&p->saddr, &d.frontend, sizeof(p->saddr));
		assert_memory_equal(&p->daddr, &d.client, sizeof(p->daddr));
	}
}

/* The client is behind a router that fails over: the answer goes to the one that its last packet came from. */
static void test_answers_go_the_way_that_the_client_came_last(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = asking(*state, family, &pod);
		struct pkt ack = { .saddr = d.client, .daddr = d.frontend, .sport = d.cport, .dport = d.fport, .flags = ACK, .seq = d.next, .ack = d.received,
				   .window = 1000 };

		opens(&d, &pod);
		len = pkt_build(&ack, frame);
		memcpy(frame + 6, router_mac, sizeof(router_mac));
		bpfrun_bytes(*state, FROM_CLIENT, frame, len, &d.r);
		assert_int_equal(d.r.verdict, V_PASS);
		answers(&d, &pod, FROM_POD, ACK | PSH, OK5);
		assert_int_equal(d.r.verdict, V_REDIRECT);
		assert_memory_equal(d.r.out.bytes, router_mac, sizeof(router_mac));
	}
}

static void test_packets_of_no_leg_pass_untouched_where_they_come_in(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = asking(*state, family, &pod);

		pod.lport = 5; /* of nobody */
		answers(&d, &pod, FROM_POD, ACK | PSH, OK5);
		assert_int_equal(d.r.verdict, V_PASS);
		assert_int_equal(d.r.out.len, len);
		assert_memory_equal(d.r.out.bytes, frame, len);
	}
}

/* ---- a pod that sees shunt's own address ------------------------------------------------------------------------------------------------- */

static void leads_to_the_host(struct bpfrun *run, bool is)
{
	const struct datapath_place place = {
		.ifindex = run->ifindex,
		.place = { .kind = SHUNT_PLACE_HOST, .node = { addr_of("10.77.0.1"), addr_of("fd00:77::1") }, .port_low = 32768, .port_high = 60999 },
	};

	assert_int_equal(datapath_set_places(run->datapath, &place, is), 0);
}

static int no_places(void **state)
{
	leads_to_the_host(*state, false);
	return 0;
}

/* Runs an error of a router that says "packet too big" about a frame of one end. */
static void too_big(struct dialog *d, enum bpfrun_hook hook, const struct bpfrun_frame *about, const struct shunt_addr *to, struct pkt_icmp *ret)
{
	bool v4 = addr_is_v4(&d->client);
	struct pkt_icmp icmp = { .saddr = addr_of(v4 ? "10.77.0.99" : "fd00:77::99"), .daddr = *to, .to_client = hook == TO_CLIENT, .type = v4 ? 3 : 2,
				 .code = v4 ? 4 : 0, .mtu = 1000, .quoted = about->bytes + ETH, .quoted_len = about->len - ETH };
	const char *why;

	len = pkt_icmp_build(&icmp, frame);
	d->run->summed = true;
	bpfrun_bytes(d->run, hook, frame, len, &d->r);
	d->run->summed = false;
	if (d->r.verdict != V_PASS || pkt_icmp_parse(d->r.out.bytes, d->r.out.len, ret, &why))
		dialog_fail(d, "the error does not go on");
	assert_int_equal(ret->mtu, 1000);
}

/* What an error quotes, with an Ethernet header before it; its checksums must be right. */
static struct pkt quoted(struct dialog *d, const struct pkt_icmp *icmp, bool to_client)
{
	const struct pkt any = { .saddr = d->client, .daddr = d->frontend, .to_client = to_client };
	const char *why;
	struct pkt p;

	pkt_build(&any, frame); /* its Ethernet header */
	memcpy(frame + ETH, icmp->quoted, icmp->quoted_len);
	if (pkt_parse(frame, ETH + icmp->quoted_len, &p, &why))
		fail_msg("the quoted packet: %s", why);
	return p;
}

static void test_errors_of_a_masked_leg_are_about_what_each_end_sent(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		const struct shunt_addr own = addr_of(family == SHUNT_V6 ? "fd73:6875:6e74::1" : "169.254.115.104");
		struct shunt_addr client;
		struct bpfrun_frame seen;
		struct pkt_icmp icmp;
		struct dialog_pod pod;
		struct dialog d;
		struct pkt p;

		leads_to_the_host(*state, true);
		d = asking(*state, family, &pod);
		assert_memory_equal(&d.r.out.pkt.saddr, &own, sizeof(own));
		client = d.client;
		pod.lport = d.r.out.pkt.sport;
		pod.sent = pod.iss;
		pod.received = d.isn + 1;
		d.client = own; /* as the pod sees it */
		answers(&d, &pod, TO_CLIENT, SYN | ACK, "");
		if (d.r.verdict != V_REDIRECT || d.r.out.why || d.r.out.pkt.len != strlen(GET))
			dialog_fail(&d, "the request does not go to the pod");
		seen = d.r.out;
		too_big(&d, TO_CLIENT, &seen, &own, &icmp);
		assert_memory_equal(&icmp.daddr, &client, sizeof(client));
		p = quoted(&d, &icmp, false);
		assert_memory_equal(&p.saddr, &client, sizeof(client));
		assert_memory_equal(&p.daddr, &d.frontend, sizeof(d.frontend));
		assert_int_equal(p.sport, d.cport);
		assert_int_equal(p.seq, d.isn + 1);

		pod.received += strlen(GET);
		answers(&d, &pod, TO_CLIENT, ACK | PSH, OK5);
		seen = d.r.out; /* the answer at the client */
		assert_memory_equal(&seen.pkt.daddr, &client, sizeof(client));
		too_big(&d, FROM_CLIENT, &seen, &d.frontend, &icmp);
		assert_memory_equal(&icmp.daddr, &pod.addr, sizeof(pod.addr));
		p = quoted(&d, &icmp, true);
		assert_memory_equal(&p.saddr, &pod.addr, sizeof(pod.addr));
		assert_memory_equal(&p.daddr, &own, sizeof(own));
		assert_int_equal(p.dport, pod.lport);
		assert_int_equal(p.seq, pod.iss + 1);
	}
}

/* ---- sums of a NIC ------------------------------------------------------------------------------------------------------------------------ */

/* A packet each way, of a leg of the client's address and of one of shunt's own; the kernel looks at the sum (bpfrun.h). */
static void test_the_sum_that_a_nic_took_is_that_of_the_translated_bytes(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int masked = 0; masked < 2; masked++) {
			struct bpfrun *run = *state;
			struct shunt_addr client;
			struct dialog_pod pod;
			struct dialog d;

			leads_to_the_host(run, masked);
			d = asking(run, family, &pod);
			client = d.client;
			d.client = d.r.out.pkt.saddr; /* as the pod sees it */
			pod.lport = d.r.out.pkt.sport;
			pod.sent = pod.iss;
			pod.received = d.isn + 1;
			answers(&d, &pod, TO_CLIENT, SYN | ACK, "");
			pod.received += strlen(GET);
			run->summed = true;
			answers(&d, &pod, TO_CLIENT, ACK | PSH, OK5);
			assert_memory_equal(&d.r.out.pkt.daddr, &client, sizeof(client));
			d.received += strlen(OK5);
			d.client = client;
			dialog_says(&d, GET); /* goes on as it is, to the same leg */
			assert_int_equal(d.r.out.pkt.len, strlen(GET));
			assert_memory_equal(&d.r.out.pkt.daddr, &pod.addr, sizeof(pod.addr));
			run->summed = false;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_are_met_where_they_come_in),
		cmocka_unit_test(test_answers_go_the_way_that_the_client_came_last),
		cmocka_unit_test(test_packets_of_no_leg_pass_untouched_where_they_come_in),
		cmocka_unit_test_teardown(test_the_sum_that_a_nic_took_is_that_of_the_translated_bytes, no_places),
		cmocka_unit_test_teardown(test_errors_of_a_masked_leg_are_about_what_each_end_sent, no_places),
	};

	return bpfrun_main("places", dialog_tables(), tests, ARRAY_SIZE(tests));
}
