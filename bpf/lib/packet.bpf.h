/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading a packet: is it TCP that we could be asked about, and what does it say? */
#ifndef SHUNT_PACKET_BPF_H
#define SHUNT_PACKET_BPF_H

#include "lib/base.bpf.h"

#define IP_MF_OR_OFFSET 0x3fff
#define JUMBO_LEN 8

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

static __always_inline bool addr_none(const struct shunt_addr *addr)
{
	const __u64 *x = (const __u64 *)addr->ip;

	return !(x[0] | x[1]);
}

/* Of an address as keys have it. */
static __always_inline __u32 addr_family(const struct shunt_addr *addr)
{
	const __u32 *word = (const __u32 *)addr->ip;

	return word[0] || word[1] || word[2] != bpf_htonl(0xffff) ? SHUNT_V6 : SHUNT_V4;
}

/* Makes sure that `len` bytes can be read directly. */
static __always_inline bool packet_linear(struct __sk_buff *skb, __u32 len)
{
	if (likely((void *)(long)skb->data + len <= (void *)(long)skb->data_end))
		return true;
	return skb->len >= len && bpf_skb_pull_data(skb, len) == 0;
}

static __always_inline bool ipv4_parse(const struct iphdr *ip, struct packet *p, __u32 *ret_len)
{
	if (ip->protocol != IPPROTO_TCP || ip->ihl != 5 || ip->version != 4 || ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
		return false;
	addr_from_v4(&p->saddr, ip->saddr);
	addr_from_v4(&p->daddr, ip->daddr);
	p->family = SHUNT_V4;
	*ret_len = ip->tot_len ? bpf_ntohs(ip->tot_len) - IPV4_LEN : 0;
	return true;
}

/*
 * The hop-by-hop header that Linux puts into packets of more than 64 KiB (BIG TCP; RFC 2675): next header, 0, a jumbo payload option. No other fills
 * just 8 bytes with an option of type 0xc2.
 */
static __always_inline bool ipv6_is_jumbo(const struct ipv6hdr *ip)
{
	const __u8 *options = (const void *)(ip + 1);

	return unlikely(ip->nexthdr == 0) && !ip->payload_len && options[0] == IPPROTO_TCP && options[1] == 0 && options[2] == 0xc2;
}

static __always_inline bool ipv6_parse(const struct ipv6hdr *ip, struct packet *p, bool jumbo, __u32 *ret_len)
{
	if ((ip->nexthdr != IPPROTO_TCP && !jumbo) || ip->version != 6)
		return false;
	addr_from_v6(&p->saddr, &ip->saddr);
	addr_from_v6(&p->daddr, &ip->daddr);
	p->family = SHUNT_V6;
	*ret_len = bpf_ntohs(ip->payload_len);
	return true;
}

/*
 * Reads Ethernet, IP and TCP into *p. false: not a packet for us (another protocol, a fragment, IP options, IPv6 extension headers, cut short); it
 * passes untouched, and *p is undefined.
 */
static __always_inline bool packet_parse(struct __sk_buff *skb, struct packet *p)
{
	bool v6 = skb->protocol == bpf_htons(ETH_P_IPV6), jumbo = false;
	__u32 l4 = ETH_HLEN + (v6 ? IPV6_LEN : IPV4_LEN), len, header;
	const struct tcphdr *tcp;
	void *data;

	if ((!v6 && skb->protocol != bpf_htons(ETH_P_IP)) || !packet_linear(skb, l4 + TCP_LEN))
		return false;
	data = (void *)(long)skb->data;
	if (data + ETH_HLEN + IPV4_LEN + TCP_LEN > (void *)(long)skb->data_end)
		return false;
	if (v6) {
		if (data + ETH_HLEN + IPV6_LEN + TCP_LEN > (void *)(long)skb->data_end)
			return false;
		jumbo = ipv6_is_jumbo(data + ETH_HLEN);
		if (jumbo) {
			l4 += JUMBO_LEN;
			if (!packet_linear(skb, l4 + TCP_LEN))
				return false;
			data = (void *)(long)skb->data;
		}
	}
	tcp = data + l4;
	if ((void *)(tcp + 1) > (void *)(long)skb->data_end)
		return false;
	if (v6 ? !ipv6_parse(data + ETH_HLEN, p, jumbo, &len) : !ipv4_parse(data + ETH_HLEN, p, &len))
		return false;
	if (unlikely(!len)) /* BIG TCP: longer than the field can say (RFC 2675) */
		len = skb->len - l4;
	p->sport = tcp->source;
	p->dport = tcp->dest;
	p->seq = bpf_ntohl(tcp->seq);
	p->ack = bpf_ntohl(tcp->ack_seq);
	p->window = bpf_ntohs(tcp->window);
	p->flags = ((const __u8 *)tcp)[13];
	header = ((const __u8 *)tcp)[12] >> 4 << 2;
	if (header < TCP_LEN || len < header || l4 + len > skb->len)
		return false;
	p->l4 = l4;
	p->payload = l4 + header;
	p->len = len - header;
	/* Options are read and written in place later on. */
	return header == TCP_LEN || packet_linear(skb, l4 + header);
}

/* Offset of an IP header's end; what direct accesses use, so that the compiler sees one of two constants. */
static __always_inline __u32 ip_len(__u8 family)
{
	return family == SHUNT_V6 ? IPV6_LEN : IPV4_LEN;
}

#endif
