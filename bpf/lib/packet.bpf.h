/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading a packet: is it TCP that we could be asked about, and what does it say? */
#ifndef SHUNT_PACKET_BPF_H
#define SHUNT_PACKET_BPF_H

#include "lib/base.bpf.h"

#define IP_MF_OR_OFFSET 0x3fff

static __always_inline void addr_from_v4(struct shunt_addr *addr, __be32 v4)
{
	__u32 *word = (__u32 *)addr->ip;

	word[0] = 0;
	word[1] = 0;
	word[2] = bpf_htonl(0xffff);
	word[3] = v4;
}

static __always_inline void addr_from_v6(struct shunt_addr *addr, const struct in6_addr *v6)
{
	__builtin_memcpy(addr->ip, v6, sizeof(addr->ip));
}

static __always_inline bool addr_equal(const struct shunt_addr *a, const struct shunt_addr *b)
{
	const __u64 *x = (const __u64 *)a->ip, *y = (const __u64 *)b->ip;

	return x[0] == y[0] && x[1] == y[1];
}

/* Makes sure that `len` bytes can be read directly. */
static __always_inline bool packet_linear(struct __sk_buff *skb, __u32 len)
{
	if (likely((void *)(long)skb->data + len <= (void *)(long)skb->data_end))
		return true;
	return skb->len >= len && bpf_skb_pull_data(skb, len) == 0;
}

/*
 * Reads Ethernet, IP and TCP into *p. false: not a packet for us (another protocol, a fragment, IP options, IPv6 extension headers, cut short); it
 * passes untouched, and *p is undefined.
 */
static __always_inline bool packet_parse(struct __sk_buff *skb, struct packet *p)
{
	__u32 l4, total, header;
	struct tcphdr *tcp;
	void *data;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip;

		l4 = ETH_HLEN + IPV4_LEN;
		if (!packet_linear(skb, l4 + TCP_LEN))
			return false;
		data = (void *)(long)skb->data;
		if (data + ETH_HLEN + IPV4_LEN + TCP_LEN > (void *)(long)skb->data_end)
			return false;
		ip = data + ETH_HLEN;
		if (ip->protocol != IPPROTO_TCP || ip->ihl != 5 || ip->version != 4 || ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
			return false;
		addr_from_v4(&p->saddr, ip->saddr);
		addr_from_v4(&p->daddr, ip->daddr);
		total = bpf_ntohs(ip->tot_len) - IPV4_LEN;
		if (unlikely(!ip->tot_len)) /* BIG TCP */
			total = skb->len - l4;
		p->family = SHUNT_V4;
		tcp = data + ETH_HLEN + IPV4_LEN;
		header = ((__u8 *)tcp)[12] >> 4 << 2;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip;

		l4 = ETH_HLEN + IPV6_LEN;
		if (!packet_linear(skb, l4 + TCP_LEN))
			return false;
		data = (void *)(long)skb->data;
		if (data + ETH_HLEN + IPV6_LEN + TCP_LEN > (void *)(long)skb->data_end)
			return false;
		ip = data + ETH_HLEN;
		if (ip->nexthdr != IPPROTO_TCP || ip->version != 6)
			return false;
		addr_from_v6(&p->saddr, &ip->saddr);
		addr_from_v6(&p->daddr, &ip->daddr);
		total = bpf_ntohs(ip->payload_len);
		if (unlikely(!total))
			total = skb->len - l4;
		p->family = SHUNT_V6;
		tcp = data + ETH_HLEN + IPV6_LEN;
		header = ((__u8 *)tcp)[12] >> 4 << 2;
	} else {
		return false;
	}
	p->sport = tcp->source;
	p->dport = tcp->dest;
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack_seq);
	p->window = bpf_ntohs(tcp->window);
	p->flags = ((__u8 *)tcp)[13];
	if (header < TCP_LEN || total < header || l4 + total > skb->len)
		return false;
	p->l4 = l4;
	p->payload = l4 + header;
	p->len = total - header;
	/* Options are read and written in place later on. */
	return header == TCP_LEN || packet_linear(skb, l4 + header);
}

/* Offset of an IP header's end; what direct accesses use, so that the compiler sees one of two constants. */
static __always_inline __u32 ip_len(__u8 family)
{
	return family == SHUNT_V6 ? IPV6_LEN : IPV4_LEN;
}

#endif
