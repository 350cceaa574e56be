/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "pkt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "util/addr.h"

#define TTL 64

static const uint8_t host_mac[ETH_ALEN] = { 2, 0x73, 0x68, 0, 0, 1 }, client_mac[ETH_ALEN] = { 2, 0x73, 0x68, 0, 0, 2 };

uint32_t pkt_sum(const void *bytes, size_t len, uint32_t sum)
{
	const uint8_t *b = bytes;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* Of the pseudo header before `len` bytes. */
static uint32_t pseudo_sum(const struct pkt *pkt, uint8_t protocol, size_t len)
{
	uint8_t tail[4] = { 0, protocol, len >> 8, len & 0xff };
	size_t skip = addr_is_v4(&pkt->saddr) ? 12 : 0;
	uint32_t sum;

	sum = pkt_sum(pkt->saddr.ip + skip, 16 - skip, 0);
	sum = pkt_sum(pkt->daddr.ip + skip, 16 - skip, sum);
	return pkt_sum(tail, sizeof(tail), sum);
}

/* Over the pseudo header and a transport header with its payload. A right checksum makes it 0xffff. */
static uint32_t transport_sum(const struct pkt *pkt, uint8_t protocol, const void *bytes, size_t len)
{
	return pkt_sum(bytes, len, pseudo_sum(pkt, protocol, len));
}

static void put16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = value & 0xff;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

/* ---- building ------------------------------------------------------------------------------------------------------------------------- */

static const uint8_t unknown_option[] = { 253, 6, 'n', 'o', 'n', 'e' }; /* of RFC 4727 */

static size_t put_blocks(const struct pkt *pkt, uint8_t *o)
{
	for (size_t i = 0; i < 2 * pkt->sacks; i++)
		put32(o + 4 * i, pkt->sack[i / 2][i % 2]);
	return 8 * pkt->sacks;
}

static size_t put_option(const struct pkt *pkt, char letter, uint8_t *o)
{
	switch (letter) {
	case 'm':
		put32(o, 2u << 24 | 4 << 16 | pkt->mss);
		return 4;
	case 'w':
		put16(o, 3 << 8 | 3);
		o[2] = pkt->wscale - 1;
		return 3;
	case 'p':
		put16(o, 4 << 8 | 2);
		return 2;
	case 't':
		put16(o, 8 << 8 | 10);
		put32(o + 2, pkt->tsval);
		put32(o + 6, pkt->tsecr);
		return 10;
	case 's':
		put16(o, 5 << 8 | (2 + 8 * pkt->sacks));
		return 2 + put_blocks(pkt, o + 2);
	case 'u':
		memcpy(o, unknown_option, sizeof(unknown_option));
		return sizeof(unknown_option);
	default:
		o[0] = letter == 'n';
		return 1;
	}
}

/* As pkt->layout says, padded with ends of options. */
static size_t put_layout(const struct pkt *pkt, uint8_t *o)
{
	uint8_t all[128] = {};
	size_t n = 0;

	for (const char *letter = pkt->layout; *letter; letter++)
		n += put_option(pkt, *letter, all + n);
	n = (n + 3) & ~3u;
	if (n > 40)
		abort();
	memcpy(o, all, n);
	return n;
}

/* In the order and with the padding of Linux (tcp_options_write). Returns their length, a multiple of 4. */
static size_t put_options(const struct pkt *pkt, uint8_t *o)
{
	size_t n = 0;

	if (pkt->layout)
		return put_layout(pkt, o);
	if (pkt->mss) {
		put32(o + n, 2u << 24 | 4 << 16 | pkt->mss);
		n += 4;
	}
	if (pkt->tstamp) {
		put32(o + n, pkt->sack_ok ? 0x0402080a : 0x0101080a);
		put32(o + n + 4, pkt->tsval);
		put32(o + n + 8, pkt->tsecr);
		n += 12;
	} else if (pkt->sack_ok) {
		put32(o + n, 0x01010402);
		n += 4;
	}
	if (pkt->wscale) {
		put32(o + n, 0x01030300 | (pkt->wscale - 1));
		n += 4;
	}
	if (pkt->sacks) {
		put32(o + n, 0x01010500 | (2 + 8 * pkt->sacks));
		n += 4;
	}
	return n + put_blocks(pkt, o + n);
}

static size_t put_tcp(const struct pkt *pkt, uint8_t *at)
{
	size_t header = sizeof(struct tcphdr) + put_options(pkt, at + sizeof(struct tcphdr));
	struct tcphdr tcp = {
		.th_sport = htons(pkt->sport),
		.th_dport = htons(pkt->dport),
		.th_seq = htonl(pkt->seq),
		.th_ack = htonl(pkt->ack),
		.th_off = header / 4,
		.th_flags = pkt->flags,
		.th_win = htons(pkt->window),
		.th_urp = htons(pkt->urgent),
	};

	memcpy(at, &tcp, sizeof(tcp));
	return header;
}

static size_t put_udp(const struct pkt *pkt, uint8_t *at)
{
	struct udphdr udp = { .uh_sport = htons(pkt->sport), .uh_dport = htons(pkt->dport), .uh_ulen = htons(sizeof(udp) + pkt->len) };

	memcpy(at, &udp, sizeof(udp));
	return sizeof(udp);
}

static size_t put_ping(const struct pkt *pkt, uint8_t *at)
{
	memset(at, 0, 8);
	at[0] = addr_is_v4(&pkt->saddr) ? ICMP_ECHO : ICMP6_ECHO_REQUEST;
	put16(at + 4, pkt->sport); /* identifier */
	put16(at + 6, pkt->seq & 0xffff);
	return 8;
}

static uint8_t protocol_of(const struct pkt *pkt)
{
	if (pkt->kind == PKT_PING)
		return addr_is_v4(&pkt->saddr) ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	return pkt->kind == PKT_UDP ? IPPROTO_UDP : IPPROTO_TCP;
}

static void put_ip(const struct pkt *pkt, uint8_t *at, size_t len)
{
	if (addr_is_v4(&pkt->saddr)) {
		struct iphdr ip = {
			.version = 4, .ihl = 5, .tos = pkt->ecn, .tot_len = htons(sizeof(ip) + len), .id = htons(0x5348), .frag_off = htons(IP_DF), .ttl = TTL,
			.protocol = protocol_of(pkt),
		};

		memcpy(&ip.saddr, pkt->saddr.ip + 12, 4);
		memcpy(&ip.daddr, pkt->daddr.ip + 12, 4);
		ip.check = htons(~pkt_sum(&ip, sizeof(ip), 0) & 0xffff);
		memcpy(at, &ip, sizeof(ip));
	} else {
		struct ip6_hdr ip = { .ip6_flow = htonl(6u << 28 | pkt->ecn << 20), .ip6_plen = htons(len), .ip6_nxt = protocol_of(pkt), .ip6_hlim = TTL };

		memcpy(&ip.ip6_src, pkt->saddr.ip, 16);
		memcpy(&ip.ip6_dst, pkt->daddr.ip, 16);
		memcpy(at, &ip, sizeof(ip));
	}
}

size_t pkt_build(const struct pkt *pkt, uint8_t frame[PKT_MAX])
{
	bool v4 = addr_is_v4(&pkt->saddr), no_pseudo = v4 && pkt->kind == PKT_PING;
	size_t l4 = sizeof(struct ethhdr) + (v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr)), header;
	size_t check = pkt->kind == PKT_TCP ? 16 : pkt->kind == PKT_UDP ? 6 : 2;
	uint32_t sum;

	if (l4 + 60 + pkt->len > PKT_MAX || addr_is_v4(&pkt->daddr) != v4 || pkt->sacks > PKT_SACK_MAX)
		abort();
	memcpy(frame, pkt->to_client ? client_mac : host_mac, ETH_ALEN);
	memcpy(frame + ETH_ALEN, pkt->to_client ? host_mac : client_mac, ETH_ALEN);
	put16(frame + 12, v4 ? ETH_P_IP : ETH_P_IPV6);
	header = pkt->kind == PKT_TCP ? put_tcp(pkt, frame + l4) : pkt->kind == PKT_UDP ? put_udp(pkt, frame + l4) : put_ping(pkt, frame + l4);
	if (pkt->len)
		memcpy(frame + l4 + header, pkt->payload, pkt->len);
	sum = no_pseudo ? pkt_sum(frame + l4, header + pkt->len, 0) : transport_sum(pkt, protocol_of(pkt), frame + l4, header + pkt->len);
	if (pkt->damage == PKT_UNSUMMED)
		sum = ~pseudo_sum(pkt, protocol_of(pkt), header + pkt->len);
	put16(frame + l4 + check, ~sum & 0xffff);
	if (pkt->damage == PKT_CORRUPT)
		frame[l4 + header + pkt->len - 1] ^= 0x20;
	put_ip(pkt, frame + sizeof(struct ethhdr), header + pkt->len);
	return l4 + header + pkt->len;
}

/* ---- parsing -------------------------------------------------------------------------------------------------------------------------- */

static int bad(int error, const char *why, const char **ret_why)
{
	*ret_why = why;
	return error;
}

static int parse_option(const uint8_t *o, size_t len, struct pkt *p, const char **ret_why)
{
	switch (o[0] << 8 | len) {
	case 2 << 8 | 4:
		p->mss = o[2] << 8 | o[3];
		return 0;
	case 3 << 8 | 3:
		p->wscale = o[2] + 1;
		return 0;
	case 4 << 8 | 2:
		p->sack_ok = true;
		return 0;
	case 8 << 8 | 10:
		p->tstamp = true;
		p->tsval = get32(o + 2);
		p->tsecr = get32(o + 6);
		return 0;
	case 5 << 8 | 10:
	case 5 << 8 | 18:
	case 5 << 8 | 26:
	case 5 << 8 | 34:
		p->sacks = (len - 2) / 8;
		for (size_t i = 0; i < 2 * p->sacks; i++)
			p->sack[i / 2][i % 2] = get32(o + 2 + 4 * i);
		return 0;
	case 253 << 8 | sizeof(unknown_option):
		p->unknown += !memcmp(o, unknown_option, sizeof(unknown_option));
		return 0;
	default:
		return bad(-EPROTO, "an unknown TCP option, or one of a wrong length", ret_why);
	}
}

static int parse_options(const uint8_t *o, size_t len, struct pkt *p, const char **ret_why)
{
	for (size_t at = 0; at < len;) {
		int r;

		if (o[at] == 1) {
			at++;
			continue;
		}
		if (o[at] == 0)
			return 0;
		if (at + 2 > len || o[at + 1] < 2 || at + o[at + 1] > len)
			return bad(-EPROTO, "a TCP option beyond the header", ret_why);
		r = parse_option(o + at, o[at + 1], p, ret_why);
		if (r)
			return r;
		at += o[at + 1];
	}
	return 0;
}

static int parse_tcp(const uint8_t *at, size_t len, struct pkt *p, const char **ret_why)
{
	struct tcphdr tcp;
	size_t header;

	if (len < sizeof(tcp))
		return bad(-EPROTO, "cut within the TCP header", ret_why);
	memcpy(&tcp, at, sizeof(tcp));
	header = tcp.th_off * 4u;
	if (header < sizeof(tcp) || header > len)
		return bad(-EPROTO, "a wrong length of the TCP header", ret_why);
	p->sport = ntohs(tcp.th_sport);
	p->dport = ntohs(tcp.th_dport);
	p->seq = ntohl(tcp.th_seq);
	p->ack = ntohl(tcp.th_ack);
	p->flags = tcp.th_flags;
	p->window = ntohs(tcp.th_win);
	p->urgent = ntohs(tcp.th_urp);
	p->payload = at + header;
	p->len = len - header;
	return parse_options(at + sizeof(tcp), header - sizeof(tcp), p, ret_why);
}

/* Addresses, protocol and the bytes behind the IP header. */
static int parse_ip(const uint8_t *at, size_t len, uint16_t type, struct pkt *p, uint8_t *ret_protocol, const uint8_t **ret_l4, size_t *ret_len,
		    const char **ret_why)
{
	if (type == ETH_P_IP) {
		struct iphdr ip;

		if (len < sizeof(ip))
			return bad(-EPROTO, "cut within the IPv4 header", ret_why);
		memcpy(&ip, at, sizeof(ip));
		if (ip.version != 4 || ip.ihl != 5 || ntohs(ip.tot_len) != len || !ip.ttl)
			return bad(-EPROTO, "a wrong version, length or TTL in the IPv4 header", ret_why);
		if (pkt_sum(&ip, sizeof(ip), 0) != 0xffff)
			return bad(-EBADMSG, "IPv4 checksum", ret_why);
		p->saddr.ip[10] = p->saddr.ip[11] = p->daddr.ip[10] = p->daddr.ip[11] = 0xff;
		memcpy(p->saddr.ip + 12, &ip.saddr, 4);
		memcpy(p->daddr.ip + 12, &ip.daddr, 4);
		p->ecn = ip.tos & 3;
		*ret_protocol = ip.protocol;
		*ret_l4 = at + sizeof(ip);
		*ret_len = len - sizeof(ip);
	} else {
		struct ip6_hdr ip;

		if (type != ETH_P_IPV6 || len < sizeof(ip))
			return bad(-EPROTO, "neither IPv4 nor IPv6, or cut within the header", ret_why);
		memcpy(&ip, at, sizeof(ip));
		if (at[0] >> 4 != 6 || ntohs(ip.ip6_plen) + sizeof(ip) != len || !ip.ip6_hlim)
			return bad(-EPROTO, "a wrong version, length or hop limit in the IPv6 header", ret_why);
		memcpy(p->saddr.ip, &ip.ip6_src, 16);
		memcpy(p->daddr.ip, &ip.ip6_dst, 16);
		p->ecn = at[1] >> 4 & 3;
		*ret_protocol = ip.ip6_nxt;
		*ret_l4 = at + sizeof(ip);
		*ret_len = len - sizeof(ip);
	}
	return 0;
}

static int parse_macs(const uint8_t *frame, struct pkt *p, const char **ret_why)
{
	p->to_client = !memcmp(frame, client_mac, ETH_ALEN);
	if (memcmp(frame, p->to_client ? client_mac : host_mac, ETH_ALEN) || memcmp(frame + ETH_ALEN, p->to_client ? host_mac : client_mac, ETH_ALEN))
		return bad(-EPROTO, "MACs that are not the client's and the host's", ret_why);
	return 0;
}

/* Ethernet and IP headers of a frame: addresses, protocol and what is behind them. */
static int parse_headers(const uint8_t *frame, size_t len, struct pkt *p, uint8_t *ret_protocol, const uint8_t **ret_l4, size_t *ret_len,
			 const char **ret_why)
{
	int r;

	if (len < sizeof(struct ethhdr))
		return bad(-EPROTO, "cut within the Ethernet header", ret_why);
	r = parse_macs(frame, p, ret_why);
	if (r)
		return r;
	return parse_ip(frame + sizeof(struct ethhdr), len - sizeof(struct ethhdr), frame[12] << 8 | frame[13], p, ret_protocol, ret_l4, ret_len, ret_why);
}

int pkt_parse(const uint8_t *frame, size_t len, struct pkt *ret_pkt, const char **ret_why)
{
	struct pkt p = {};
	const uint8_t *l4;
	uint8_t protocol;
	size_t l4_len;
	int r;

	r = parse_headers(frame, len, &p, &protocol, &l4, &l4_len, ret_why);
	if (r)
		return r;
	if (protocol != IPPROTO_TCP)
		return bad(-EPROTO, "not TCP", ret_why);
	if (transport_sum(&p, protocol, l4, l4_len) != 0xffff)
		return bad(-EBADMSG, "TCP checksum", ret_why);
	r = parse_tcp(l4, l4_len, &p, ret_why);
	if (r)
		return r;
	*ret_pkt = p;
	return 0;
}

/* ---- ICMP errors ---------------------------------------------------------------------------------------------------------------------- */

size_t pkt_icmp_build(const struct pkt_icmp *icmp, uint8_t frame[PKT_MAX])
{
	struct pkt pkt = { .saddr = icmp->saddr, .daddr = icmp->daddr, .kind = PKT_PING, .to_client = icmp->to_client, .payload = icmp->quoted,
			   .len = icmp->quoted_len };
	bool v4 = addr_is_v4(&icmp->saddr);
	size_t len = pkt_build(&pkt, frame), l4 = sizeof(struct ethhdr) + (v4 ? sizeof(struct iphdr) : sizeof(struct ip6_hdr));
	uint32_t sum;

	frame[l4] = icmp->type;
	frame[l4 + 1] = icmp->code;
	put16(frame + l4 + 2, 0);
	put32(frame + l4 + 4, icmp->mtu);
	sum = v4 ? pkt_sum(frame + l4, len - l4, 0) : transport_sum(&pkt, IPPROTO_ICMPV6, frame + l4, len - l4);
	put16(frame + l4 + 2, ~sum & 0xffff);
	return len;
}

int pkt_icmp_parse(const uint8_t *frame, size_t len, struct pkt_icmp *ret_icmp, const char **ret_why)
{
	const uint8_t *l4;
	struct pkt p = {};
	uint8_t protocol;
	size_t l4_len;
	uint32_t sum;
	int r;

	r = parse_headers(frame, len, &p, &protocol, &l4, &l4_len, ret_why);
	if (r)
		return r;
	if (protocol != (addr_is_v4(&p.saddr) ? IPPROTO_ICMP : IPPROTO_ICMPV6) || l4_len < 8)
		return bad(-EPROTO, "not ICMP", ret_why);
	sum = addr_is_v4(&p.saddr) ? pkt_sum(l4, l4_len, 0) : transport_sum(&p, protocol, l4, l4_len);
	if (sum != 0xffff)
		return bad(-EBADMSG, "ICMP checksum", ret_why);
	*ret_icmp = (struct pkt_icmp){ .saddr = p.saddr, .daddr = p.daddr, .to_client = p.to_client, .type = l4[0], .code = l4[1],
				       .mtu = get32(l4 + 4), .quoted = l4 + 8, .quoted_len = l4_len - 8 };
	return 0;
}
