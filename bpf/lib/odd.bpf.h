/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets that packet_parse() does not take, though they may be about our frontends: ICMP errors, and TCP behind IP options, IPv6 extension headers, in
 * fragments, under a second VLAN tag. The latter pass untouched, and those to a frontend are counted. (One VLAN tag the kernel has taken off before we
 * see the packet, and puts on again behind us; so does a reply that turns round.)
 */
#ifndef SHUNT_ODD_BPF_H
#define SHUNT_ODD_BPF_H

#include "lib/choose.bpf.h"

#define VLAN_HLEN 4
#define EXTENSIONS_MAX 6 /* headers that we look behind */

enum odd {
	ODD_NOTHING, /* to do with us */
	ODD_ICMP,
	ODD_TCP,     /* or what may be */
};

enum ipv6_next { NEXT_HOP_BY_HOP = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_DESTINATION = 60 };

static __always_inline bool next_is_extension(__u8 next)
{
	return next == NEXT_HOP_BY_HOP || next == NEXT_ROUTING || next == NEXT_FRAGMENT || next == NEXT_DESTINATION;
}

/* One look at the protocol: most of what comes here is UDP, ARP and the like, and leaves at once. */
static __always_inline enum odd odd_kind(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u8 next;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return ODD_NOTHING;
		next = ip->protocol;
		return next == IPPROTO_ICMP ? ODD_ICMP : next == IPPROTO_TCP ? ODD_TCP : ODD_NOTHING;
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return ODD_NOTHING;
		next = ip->nexthdr;
		return next == IPPROTO_ICMPV6 ? ODD_ICMP : next_is_extension(next) ? ODD_TCP : ODD_NOTHING;
	}
	return skb->protocol == bpf_htons(ETH_P_8021Q) || skb->protocol == bpf_htons(ETH_P_8021AD) ? ODD_TCP : ODD_NOTHING;
}

/* TCP's header in an IPv4 packet at `at`; 0: there is none. *ret_reason: what keeps us from reading it. */
static __always_inline __u32 odd_ipv4(struct __sk_buff *skb, struct work *w, __u32 at, enum shunt_reason *ret_reason)
{
	struct iphdr *ip = &w->cookie.v4;

	if (bpf_skb_load_bytes(skb, at, ip, IPV4_LEN) || ip->version != 4 || ip->protocol != IPPROTO_TCP || ip->frag_off & bpf_htons(0x1fff))
		return 0;
	addr_from_v4(&w->key.client, ip->saddr);
	addr_from_v4(&w->key.frontend, ip->daddr);
	if (ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
		*ret_reason = SHUNT_R_FRAGMENT;
	else if (ip->ihl > 5)
		*ret_reason = SHUNT_R_IP_OPTIONS;
	return at + ip->ihl * 4;
}

static __always_inline __u32 odd_ipv6(struct __sk_buff *skb, struct work *w, __u32 at, enum shunt_reason *ret_reason)
{
	__u8 next, head[4]; /* next header, length / 8 - 1, fragment offset */

	if (bpf_skb_load_bytes(skb, at, &w->cookie.v6, IPV6_LEN))
		return 0;
	addr_from_v6(&w->key.client, &w->cookie.v6.saddr);
	addr_from_v6(&w->key.frontend, &w->cookie.v6.daddr);
	next = w->cookie.v6.nexthdr;
	at += IPV6_LEN;
	for (int i = 0; i < EXTENSIONS_MAX && next_is_extension(next); i++) {
		if (bpf_skb_load_bytes(skb, at, head, sizeof(head)))
			return 0;
		if (next == NEXT_FRAGMENT && (head[2] || head[3] & ~7))
			return 0;
		*ret_reason = next == NEXT_FRAGMENT || *ret_reason == SHUNT_R_FRAGMENT ? SHUNT_R_FRAGMENT : SHUNT_R_IP_OPTIONS;
		at += next == NEXT_FRAGMENT ? 8 : (head[1] + 1) * 8;
		next = head[0];
	}
	return next == IPPROTO_TCP ? at : 0;
}

/* Counts a packet to a frontend under what keeps us from steering it. Of a fragmented packet the first part alone has a port. */
static __always_inline void odd_count(struct __sk_buff *skb, struct work *w)
{
	enum shunt_reason reason = SHUNT_R_MAX;
	__be16 type = skb->protocol;
	__u32 at = ETH_HLEN, l4;

	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
		reason = SHUNT_R_VLAN_TWICE;
		if (bpf_skb_load_bytes(skb, at + 2, &type, sizeof(type)))
			return;
		at += VLAN_HLEN;
	}
	l4 = type == bpf_htons(ETH_P_IP) ? odd_ipv4(skb, w, at, &reason) : type == bpf_htons(ETH_P_IPV6) ? odd_ipv6(skb, w, at, &reason) : 0;
	if (!l4 || reason == SHUNT_R_MAX || bpf_skb_load_bytes(skb, l4, &w->cookie.tcp, 4))
		return;
	w->key.cport = w->cookie.tcp.source;
	w->key.fport = w->cookie.tcp.dest;
	if (!frontend_find(w))
		return;
	reason_count(reason);
}

#endif
