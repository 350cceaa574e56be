/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * ICMP errors about our flows: "too big", "unreachable", "time exceeded". Each quotes the packet it is about, and its receiver knows that packet by the
 * numbers that it sent it with. So an error is translated against the packet's own way, to whoever sent it:
 *
 *     client side ──error about frontend ──▶ client──▶ ingress ──about pod ──▶ client──▶ host ──▶ pod       seq - sdelta, ack - cdelta
 *     client ◀──about client ──▶ frontend── egress ◀──error about client ──▶ pod── pod side or host         seq + cdelta, ack + sdelta
 *
 * Two errors concern us first: a pod that cannot be reached by its leg's SYN has refused, and a leg's path that takes less than we thought makes us
 * cut held bytes smaller. All others are the ends' own (RFC 5927: they look whether the quoted number is one on its way; we do before we act).
 *
 *     Ethernet │ IP │ ICMP: 8 │ quoted IP header │ at least 8 bytes of the quoted TCP header
 */
#ifndef SHUNT_ICMP_BPF_H
#define SHUNT_ICMP_BPF_H

#include "lib/lock.bpf.h"
#include "lib/odd.bpf.h"
#include "lib/pod.bpf.h"

#define ICMP_LEN 8
#define ICMP_CHECK_OFFSET 2
#define IPV4_CHECK_OFFSET 10
#define MTU_MIN 296 /* RFC 1191 section 3: there is no smaller path */

enum icmp_v4 { ICMP_UNREACHABLE = 3, ICMP_TOO_BIG_CODE = 4, ICMP_TIME_EXCEEDED = 11, ICMP_PARAMETER = 12 };
enum icmp_v6 { ICMPV6_UNREACHABLE = 1, ICMPV6_TOO_BIG = 2, ICMPV6_TIME_EXCEEDED = 3, ICMPV6_PARAMETER = 4 };

/* Offset of the quoted IP header. */
static __always_inline __u32 icmp_quoted(__u8 family)
{
	return ETH_HLEN + ip_len(family) + ICMP_LEN;
}

/* What the ICMP header says. false: no error that is about one packet of TCP's. */
static __always_inline bool icmp_kind(struct icmp_error *e, const __u8 *icmp)
{
	__u8 type = icmp[0], code = icmp[1];

	if (e->family == SHUNT_V6) {
		e->too_big = type == ICMPV6_TOO_BIG;
		e->mtu = get_be32(icmp + 4);
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER;
	}
	e->mtu = icmp[6] << 8 | icmp[7];
	e->too_big = type == ICMP_UNREACHABLE && code == ICMP_TOO_BIG_CODE;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER;
}

/* Addresses and protocol of the IP header at `at`, and its length; 0: of no whole packet. */
static __always_inline __u32 icmp_addresses(struct __sk_buff *skb, struct work *w, __u32 at, struct shunt_addr *saddr, struct shunt_addr *daddr,
					    __u8 *protocol)
{
	if (w->icmp.family == SHUNT_V6) {
		struct ipv6hdr *ip = &w->cookie.v6;

		if (bpf_skb_load_bytes(skb, at, ip, IPV6_LEN) || ip->version != 6)
			return 0;
		addr_from_v6(saddr, &ip->saddr);
		addr_from_v6(daddr, &ip->daddr);
		*protocol = ip->nexthdr;
		return IPV6_LEN;
	} else {
		struct iphdr *ip = &w->cookie.v4;

		if (bpf_skb_load_bytes(skb, at, ip, IPV4_LEN) || ip->version != 4 || ip->ihl < 5 || ip->frag_off & bpf_htons(IP_MF_OR_OFFSET))
			return 0;
		addr_from_v4(saddr, ip->saddr);
		addr_from_v4(daddr, ip->daddr);
		*protocol = ip->protocol;
		return ip->ihl * 4;
	}
}

/* Reads an ICMP error about a TCP packet into w->icmp; 0: the packet at hand is none. */
__noinline int icmp_parse(struct __sk_buff *skb, struct work *w)
{
	struct icmp_error *e;
	__u8 head[ICMP_LEN], protocol = 0;
	__u32 at, len;

	if (!w)
		return 0;
	e = &w->icmp;
	__builtin_memset(e, 0, sizeof(*e));
	e->family = skb->protocol == bpf_htons(ETH_P_IPV6) ? SHUNT_V6 : SHUNT_V4;
	at = icmp_quoted(e->family);
	if (icmp_addresses(skb, w, ETH_HLEN, &e->sender, &e->receiver, &protocol) != ip_len(e->family) ||
	    protocol != (e->family == SHUNT_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP) ||
	    bpf_skb_load_bytes(skb, at - ICMP_LEN, head, sizeof(head)) || !icmp_kind(e, head))
		return 0;
	len = icmp_addresses(skb, w, at, &e->saddr, &e->daddr, &protocol);
	if (!len || protocol != IPPROTO_TCP)
		return 0;
	e->l4 = at + len;
	if (bpf_skb_load_bytes(skb, e->l4, &w->cookie.tcp, 8))
		return 0;
	e->sport = w->cookie.tcp.source;
	e->dport = w->cookie.tcp.dest;
	e->seq = bpf_ntohl(w->cookie.tcp.seq);
	return 1;
}

/* Puts a word in the place of one, into the quoted packet. */
static __always_inline int icmp_put(struct __sk_buff *skb, struct work *w, __u32 at, __be32 from, __be32 to)
{
	__wsum change = csum_change(from, to);

	w->icmp.change = csum_plus(w->icmp.change, change);
	w->icmp.tcp_change = csum_plus(w->icmp.tcp_change, change);
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

/* A checksum within the quoted packet, whose bytes have changed so. */
static __always_inline int icmp_put_check(struct __sk_buff *skb, struct work *w, __u32 at, __wsum change)
{
	__u16 from, to;

	if (bpf_skb_load_bytes(skb, at, &from, sizeof(from)))
		return 0; /* beyond what is quoted */
	to = ~csum_fold16(csum_plus((__u16)~from, change));
	w->icmp.change = csum_plus(w->icmp.change, csum_change(from, to));
	return bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0);
}

static __always_inline int icmp_put_addr(struct __sk_buff *skb, struct work *w, __u32 at, const struct shunt_addr *from, const struct shunt_addr *to)
{
	int err = 0;

	if (w->icmp.family == SHUNT_V4)
		return icmp_put(skb, w, at, addr_word(from, 3), addr_word(to, 3));
	for (int i = 0; i < 4; i++)
		err |= icmp_put(skb, w, at + 4 * i, addr_word(from, i), addr_word(to, i));
	return err;
}

/*
 * Translates the error in w->icmp: in the quoted packet the address `from` becomes `to`, as source or as destination; ports and numbers as w->icmp says. In the
 * error's own header likewise, as the other of the two.
 */
static __always_inline int icmp_write(struct __sk_buff *skb, struct work *w, const struct shunt_addr *from, const struct shunt_addr *to, __u32 of_source)
{
	struct icmp_error *e = &w->icmp;
	__u32 quoted, v6, outer;
	__be32 ack;
	int err;

	v6 = e->family == SHUNT_V6;
	quoted = icmp_quoted(e->family);
	e->change = 0;
	e->tcp_change = 0;
	err = icmp_put_addr(skb, w, quoted + (v6 ? 8 : 12) + (of_source ? 0 : v6 ? 16 : 4), from, to);
	if (!v6)
		err |= icmp_put_check(skb, w, quoted + IPV4_CHECK_OFFSET, e->tcp_change);
	err |= icmp_put(skb, w, e->l4, e->sport | (__u32)e->dport << 16, e->new_sport | (__u32)e->new_dport << 16);
	err |= icmp_put(skb, w, e->l4 + TCP_SEQ_OFFSET, bpf_htonl(e->seq), bpf_htonl(e->seq + e->seq_shift));
	if (!bpf_skb_load_bytes(skb, e->l4 + TCP_SEQ_OFFSET + 4, &ack, sizeof(ack)))
		err |= icmp_put(skb, w, e->l4 + TCP_SEQ_OFFSET + 4, ack, bpf_htonl(bpf_ntohl(ack) + e->ack_shift));
	err |= icmp_put_check(skb, w, e->l4 + TCP_CHECK_OFFSET, e->tcp_change);
	err |= bpf_l4_csum_replace(skb, quoted - ICMP_LEN + ICMP_CHECK_OFFSET, 0, e->change, 0);
	if (!addr_equal(of_source ? &e->receiver : &e->sender, from)) /* a router's, or the host's: it keeps its address */
		return err;
	outer = ETH_HLEN + (v6 ? 8 : 12) + (of_source ? (v6 ? 16 : 4) : 0);
	if (v6) {
		err |= bpf_skb_store_bytes(skb, outer, to->ip, 16, 0);
		return err | csum_replace_pseudo(skb, quoted - ICMP_LEN + ICMP_CHECK_OFFSET, csum_addr_change(from, to), SHUNT_V6);
	}
	err |= bpf_skb_store_bytes(skb, outer, to->ip + 12, 4, 0);
	return err | bpf_l3_csum_replace(skb, ETH_HLEN + IPV4_CHECK_OFFSET, 0, csum_addr_change(from, to), 0);
}

__noinline int icmp_translate(struct __sk_buff *skb, struct work *w, const struct shunt_addr *from, const struct shunt_addr *to, __u32 of_source)
{
	int err;

	if (!w || !from || !to)
		return -1;
	err = icmp_write(skb, w, from, to, of_source);
	if (err)
		reason_count(SHUNT_R_INTERNAL);
	return err;
}

/* The same for the address that stands in for the client's, after that. */
static __always_inline int icmp_translate_mask(struct __sk_buff *skb, struct work *w, const struct shunt_addr *from, const struct shunt_addr *to,
					       __u32 of_source)
{
	struct icmp_error *e = &w->icmp;

	e->sport = e->new_sport;
	e->dport = e->new_dport;
	e->seq += e->seq_shift;
	e->seq_shift = 0;
	e->ack_shift = 0;
	return icmp_translate(skb, w, from, to, of_source);
}

/* ---- from the client's side: about a packet that came from the frontend ----------------------------------------------------------------- */

static __always_inline int icmp_client_locked(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	struct icmp_error *e = &w->icmp;
	struct shunt_leg *leg;

	if (!flow || flow->state != SHUNT_FLOW_BOUND) {
		reason_count(SHUNT_R_ICMP_UNBOUND);
		return PASS;
	}
	leg = LEG(flow, flow->current);
	e->new_sport = leg->pport;
	e->new_dport = leg->lport;
	e->seq_shift = ack_for_pod(flow, leg, e->seq) - e->seq;
	e->ack_shift = -leg->cdelta;
	reason_count(SHUNT_R_ICMP);
	w->mask = leg->mask;
	if (icmp_translate(skb, w, &w->key.frontend, &leg->pod, 1) ||
	    (unlikely(leg->mask) && icmp_translate_mask(skb, w, &w->key.client, &leg->from, 0)))
		return DROP;
	return send_to_pod(skb, w, false);
}

static __always_inline int icmp_from_client(struct __sk_buff *skb, struct work *w)
{
	struct shunt_lock *lock;
	int verdict;

	if (!icmp_parse(skb, w) || !addr_equal(&w->icmp.receiver, &w->icmp.saddr))
		return PASS;
	w->place = AT_CLIENT_IN;
	w->aim = AIM_POD;
	w->ifindex = skb->ifindex;
	w->p.family = w->icmp.family;
	w->key.client = w->icmp.daddr;
	w->key.frontend = w->icmp.saddr;
	w->key.cport = w->icmp.dport;
	w->key.fport = w->icmp.sport;
	if (!bpf_map_lookup_elem(&shunt_flow, &w->key) && !frontend_find(w))
		return PASS;
	lock = lock_take(&w->key);
	if (!lock)
		return DROP;
	verdict = icmp_client_locked(skb, w);
	lock_release(lock);
	return verdict;
}

/* ---- from the pod's side, or the host: about a leg's packet ----------------------------------------------------------------------------- */

/* Is the quoted packet one that the pod has not acknowledged? Anybody may send an error about any other (RFC 5927 section 4). */
static __always_inline bool icmp_believed(const struct icmp_error *e, const struct shunt_leg *leg)
{
	__u32 acked = leg->acked - leg->cdelta;

	return e->seq - acked <= leg->cnext - acked;
}

static __always_inline int icmp_pod_locked(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	struct icmp_error *e = &w->icmp;
	__u32 mss;

	if (leg->state == SHUNT_LEG_OPENING && w->leg == flow->current) {
		if (e->too_big || e->seq != leg->acked - 1)
			return drop_stray();
		return leg_gone(skb, w, flow);
	}
	if (e->too_big && icmp_believed(e, leg)) {
		mss = (e->mtu < MTU_MIN ? MTU_MIN : e->mtu) - ip_len(e->family) - TCP_LEN;
		if (mss < leg->mss)
			leg->mss = mss;
		/* The client was told that these bytes have arrived: they are ours to send again. */
		if (flow->state == SHUNT_FLOW_BOUND && w->leg == flow->current && flow->flags & SHUNT_F_ACKED &&
		    seq_before(leg->acked, hold_sent_end(flow)))
			return emit(skb, w, flow);
	}
	if (flow->state != SHUNT_FLOW_BOUND || w->leg != flow->current) {
		reason_count(SHUNT_R_IDLE_ANSWERED);
		return DROP;
	}
	e->new_sport = w->key.cport;
	e->new_dport = w->key.fport;
	e->seq_shift = leg->cdelta;
	e->ack_shift = leg->sdelta;
	reason_count(SHUNT_R_ICMP);
	if (icmp_translate(skb, w, &leg->pod, &w->key.frontend, 0) ||
	    (unlikely(leg->mask) && icmp_translate_mask(skb, w, &leg->from, &w->key.client, 1)))
		return DROP;
	return send_to_client(skb, w);
}

static __always_inline int icmp_to_client(struct __sk_buff *skb, struct work *w, __u32 place)
{
	struct shunt_leg_owner *owner;
	struct shunt_flow *flow;
	struct shunt_lock *lock;
	struct shunt_leg *leg;
	int verdict = PASS;

	if (!icmp_parse(skb, w) || !addr_equal(&w->icmp.receiver, &w->icmp.saddr))
		return PASS;
	w->leg_key.client = w->icmp.saddr;
	w->leg_key.pod = w->icmp.daddr;
	w->leg_key.lport = w->icmp.sport;
	w->leg_key.pport = w->icmp.dport;
	owner = bpf_map_lookup_elem(&shunt_leg, &w->leg_key);
	if (!owner || (place == AT_POD_IN && !returns_here(skb, owner)))
		return PASS;
	w->p.family = w->icmp.family;
	w->p.flags = 0;
	lock = owner_lock(skb, w, owner, place);
	if (!lock)
		return DROP;
	flow = owner_flow(w, place);
	if (flow) {
		leg = LEG(flow, w->leg);
		if (leg->lport == w->icmp.sport && leg->state != SHUNT_LEG_NONE)
			verdict = icmp_pod_locked(skb, w, flow, leg);
	}
	lock_release(lock);
	return verdict;
}

/* ---- what packet_parse() did not take ---------------------------------------------------------------------------------------------------- */

__noinline int odd_from_client(struct __sk_buff *skb, struct work *w)
{
	if (!w)
		return PASS;
	if (odd_kind(skb) == ODD_ICMP)
		return icmp_from_client(skb, w);
	odd_count(skb, w);
	return PASS;
}

__noinline int odd_to_client(struct __sk_buff *skb, struct work *w, __u32 place)
{
	return w && odd_kind(skb) == ODD_ICMP ? icmp_to_client(skb, w, place) : PASS;
}

#endif
