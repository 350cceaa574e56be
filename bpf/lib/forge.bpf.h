/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets that we make. There is no skb to allocate in a BPF program: a packet at hand is cut or stretched to size and gets new headers.
 *
 * The checksum must come out right whether the skb is CHECKSUM_PARTIAL (the common case on veth: the field holds only the pseudo header's sum and the
 * rest is added on the way out) or not. So the field starts as one's-complement zero, 0xffff, and bpf_l4_csum_replace() adds first the pseudo header,
 * which both kinds take, then the data, which a partial one ignores.
 */
#ifndef SHUNT_FORGE_BPF_H
#define SHUNT_FORGE_BPF_H

#include "lib/payload.bpf.h"

#define SEGMENT_MAX 1460

static __always_inline void put_be32(__u8 *at, __u32 value)
{
	at[0] = value >> 24;
	at[1] = value >> 16;
	at[2] = value >> 8;
	at[3] = value;
}

/* Begins a packet in the work area: addresses, ports and flags, everything else 0. */
static __always_inline void forge_begin(struct work *w, __u8 flags)
{
	struct forge *f = &w->forge;

	f->seq = 0;
	f->ack = 0;
	f->len = 0;
	f->sum = 0;
	f->window = 0;
	f->flags = flags;
	f->options_len = 0;
	f->family = w->p.family;
}

static __always_inline void forge_to_client(struct work *w, __u8 flags)
{
	forge_begin(w, flags);
	w->forge.saddr = w->key.frontend;
	w->forge.daddr = w->key.client;
	w->forge.sport = w->key.fport;
	w->forge.dport = w->key.cport;
}

static __always_inline void forge_to_pod(struct work *w, const struct shunt_leg *leg, __u8 flags)
{
	forge_begin(w, flags);
	w->mask = leg->mask;
	w->forge.saddr = leg->from;
	w->forge.daddr = leg->pod;
	w->forge.sport = leg->lport;
	w->forge.dport = leg->pport;
}

/* RFC 7323 appendix A: NOP NOP TS. */
static __always_inline void forge_tstamp(struct work *w, __u32 tsval, __u32 tsecr)
{
	__u8 *o = w->forge.options;

	o[0] = 1;
	o[1] = 1;
	o[2] = 8;
	o[3] = 10;
	put_be32(o + 4, tsval);
	put_be32(o + 8, tsecr);
	w->forge.options_len = 12;
}

/* Cuts or stretches the skb to headers and payload. */
static __always_inline int forge_resize(struct __sk_buff *skb, const struct work *w)
{
	return bpf_skb_change_tail(skb, ETH_HLEN + ip_len(w->forge.family) + TCP_LEN + w->forge.options_len + w->forge.len, 0);
}

static __always_inline void forge_ip(struct forge *f, __u32 tcp_len)
{
	if (f->family == SHUNT_V6) {
		struct ipv6hdr *ip = (void *)f->ip;

		__builtin_memset(f->ip, 0, sizeof(f->ip));
		ip->version = 6;
		ip->payload_len = bpf_htons(tcp_len + f->len);
		ip->nexthdr = IPPROTO_TCP;
		ip->hop_limit = 64;
		__builtin_memcpy(&ip->saddr, f->saddr.ip, 16);
		__builtin_memcpy(&ip->daddr, f->daddr.ip, 16);
	} else {
		struct iphdr *ip = (void *)(f->ip + IPV6_LEN - IPV4_LEN);

		__builtin_memset(f->ip, 0, sizeof(f->ip));
		ip->version = 4;
		ip->ihl = 5;
		ip->tot_len = bpf_htons(IPV4_LEN + tcp_len + f->len);
		ip->frag_off = bpf_htons(0x4000); /* DF */
		ip->ttl = 64;
		ip->protocol = IPPROTO_TCP;
		ip->saddr = addr_word(&f->saddr, 3);
		ip->daddr = addr_word(&f->daddr, 3);
		ip->check = ~csum_fold16(bpf_csum_diff(NULL, 0, (__be32 *)ip, IPV4_LEN, 0));
	}
}

/*
 * A NIC may have summed up the bytes that are overwritten (skb->csum, CHECKSUM_COMPLETE). Those of a right TCP segment sum up to the complement of its
 * pseudo header, those of an IPv4 header to nothing.
 */
static __always_inline void forge_sum(struct __sk_buff *skb, const struct forge *f, __wsum pseudo)
{
	__s64 before = bpf_csum_update(skb, 0);
	__wsum sum = ~pseudo;

	if (likely(before < 0)) /* it did not */
		return;
	if (f->family == SHUNT_V6)
		sum = bpf_csum_diff(NULL, 0, (__be32 *)f->ip, IPV6_LEN, sum);
	bpf_csum_update(skb, csum_plus(sum, ~(__u32)before));
}

/* Writes the headers over a skb that has its size and payload. */
__noinline int forge_headers(struct __sk_buff *skb, struct work *w)
{
	struct forge *f;
	__u32 tcp_len;
	__wsum sum, pseudo;
	__u32 check;
	int err;

	if (!w)
		return -1;
	f = &w->forge;
	tcp_len = TCP_LEN + f->options_len;
	keep(tcp_len);
	if (tcp_len < TCP_LEN || tcp_len > TCP_LEN + TCP_OPTIONS_MAX)
		return -1;
	forge_ip(f, tcp_len);
	f->tcp.source = f->sport;
	f->tcp.dest = f->dport;
	f->tcp.seq = bpf_htonl(f->seq);
	f->tcp.ack_seq = bpf_htonl(f->ack);
	((__u8 *)&f->tcp)[12] = tcp_len << 2;
	((__u8 *)&f->tcp)[13] = f->flags;
	f->tcp.window = bpf_htons(f->window);
	f->tcp.check = 0;
	f->tcp.urg_ptr = 0;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&f->tcp, tcp_len & ~3u, f->sum);
	f->tcp.check = 0xffff;
	pseudo = csum_pseudo(&f->saddr, &f->daddr, tcp_len + f->len, f->family);
	if (f->family == SHUNT_V6) {
		check = ETH_HLEN + IPV6_LEN + TCP_CHECK_OFFSET;
		err = bpf_skb_store_bytes(skb, ETH_HLEN, f->ip, IPV6_LEN + tcp_len, BPF_F_INVALIDATE_HASH);
	} else {
		check = ETH_HLEN + IPV4_LEN + TCP_CHECK_OFFSET;
		err = bpf_skb_store_bytes(skb, ETH_HLEN, f->ip + IPV6_LEN - IPV4_LEN, IPV4_LEN + tcp_len, BPF_F_INVALIDATE_HASH);
	}
	if (err)
		return err;
	err = bpf_l4_csum_replace(skb, check, 0, pseudo, BPF_F_PSEUDO_HDR);
	if (!err)
		err = bpf_l4_csum_replace(skb, check, 0, sum, 0);
	forge_sum(skb, f, pseudo);
	return err;
}

/* A packet without payload. */
static __always_inline int forge_bare(struct __sk_buff *skb, struct work *w)
{
	if (forge_resize(skb, w) || forge_headers(skb, w)) {
		reason_count(SHUNT_R_INTERNAL);
		return -1;
	}
	return 0;
}

/* A packet with the first bytes of w->buf, len up to SEGMENT_MAX; the work area has the headers and the bytes' sum. */
static __always_inline int forge_loaded(struct __sk_buff *skb, struct work *w, __u32 len)
{
	__u32 payload = ETH_HLEN + ip_len(w->forge.family) + TCP_LEN + w->forge.options_len;

	keep(len);
	if (len == 0 || len > SEGMENT_MAX)
		return -1;
	if (forge_resize(skb, w) || bpf_skb_store_bytes(skb, payload, w->buf.b, len, 0) || forge_headers(skb, w)) {
		reason_count(SHUNT_R_INTERNAL);
		return -1;
	}
	return 0;
}

/* A packet with held bytes [at, at + len), len up to SEGMENT_MAX; the work area has the headers. */
__noinline int forge_segment(struct __sk_buff *skb, struct work *w, struct shunt_hold *hold, __u32 at, __u32 len)
{
	__u32 payload;

	if (!w || !hold)
		return -1;
	keep(at);
	keep(len);
	if (len == 0 || len > SEGMENT_MAX || at > SHUNT_HOLD_SIZE)
		return -1;
	w->forge.len = len;
	payload = ETH_HLEN + ip_len(w->forge.family) + TCP_LEN + w->forge.options_len;
	if (forge_resize(skb, w) || bpf_skb_store_bytes(skb, payload, hold->data + at, len, 0)) {
		reason_count(SHUNT_R_INTERNAL);
		return -1;
	}
	w->forge.sum = bytes_sum((const struct http_buf *)hold->data, at, len);
	if (forge_headers(skb, w)) {
		reason_count(SHUNT_R_INTERNAL);
		return -1;
	}
	return 0;
}

/* ---- where a packet goes ---------------------------------------------------------------------------------------------------------------- */

/*
 *                       here: AT_CLIENT_IN               AT_CLIENT_OUT             AT_POD_IN
 *     to the client     turns round                      is on its way             leaves by the client's interface
 *     to a pod          goes on, into the host           ╮ enters by the client's interface as if it came from the client: a mark tells
 *                                                        ╯ shunt_from_client, and routing and conntrack see a whole connection
 *     to the client's   turns round                      is on its way             leaves by the client's interface
 *     own pod (HAIRPIN)
 *     to a pod on another node, with this node's         leaves by the interface that the routes say: the host would not take
 *     address (NODE)                                     a packet that comes in with its own address
 */

/* A function of its own for its stack: calls nest deep here, and all frames together have 512 bytes. */
__noinline int swap_macs(struct __sk_buff *skb)
{
	__u8 from[12], to[12];

	if (bpf_skb_load_bytes(skb, 0, from, sizeof(from)))
		return -1;
	__builtin_memcpy(to, from + 6, 6);
	__builtin_memcpy(to + 6, from, 6);
	return bpf_skb_store_bytes(skb, 0, to, sizeof(to), 0);
}

/* From AIM_OTHER. */
static __always_inline void write_macs(struct __sk_buff *skb, const struct work *w)
{
	bool at_pod = w->aim == AIM_POD;

	bpf_skb_store_bytes(skb, 0, w->mac + (at_pod ? 0 : 6), 6, 0);
	bpf_skb_store_bytes(skb, 6, w->mac + (at_pod ? 6 : 0), 6, 0);
}

static __always_inline void aim(struct __sk_buff *skb, struct work *w, enum aim at)
{
	__u32 before = w->aim;

	if (before == at)
		return;
	w->aim = at;
	if (unlikely(before == AIM_OTHER))
		write_macs(skb, w);
	else
		swap_macs(skb);
}

/* To the client. */
static __always_inline int send_to_client(struct __sk_buff *skb, struct work *w)
{
	aim(skb, w, AIM_CLIENT);
	return w->place == AT_CLIENT_OUT ? PASS : bpf_redirect(w->ifindex, 0);
}

/* The same for a copy; the skb stays with us. */
static __always_inline void send_copy_to_client(struct __sk_buff *skb, struct work *w)
{
	aim(skb, w, AIM_CLIENT);
	if (bpf_clone_redirect(skb, w->ifindex, 0))
		reason_count(SHUNT_R_INTERNAL);
}

/*
 * Aims a packet from the node's address at a pod on another node. Returns the interface it must leave by. Negative: its next hop is not known yet, and
 * the interface is -1 minus that. 0: there is no route.
 */
__noinline int aim_elsewhere(struct __sk_buff *skb, struct work *w)
{
	struct bpf_fib_lookup *fib;
	long found;

	if (!w)
		return 0;
	fib = &w->fib;
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->ifindex = w->ifindex;
	if (w->p.family == SHUNT_V6) {
		fib->family = AF_INET6;
		bpf_skb_load_bytes(skb, ETH_HLEN + 8, fib->ipv6_src, sizeof(fib->ipv6_src));
		bpf_skb_load_bytes(skb, ETH_HLEN + 24, fib->ipv6_dst, sizeof(fib->ipv6_dst));
	} else {
		fib->family = AF_INET;
		bpf_skb_load_bytes(skb, ETH_HLEN + 12, &fib->ipv4_src, sizeof(fib->ipv4_src));
		bpf_skb_load_bytes(skb, ETH_HLEN + 16, &fib->ipv4_dst, sizeof(fib->ipv4_dst));
	}
	if (w->aim != AIM_OTHER) {
		bpf_skb_load_bytes(skb, w->aim == AIM_POD ? 0 : 6, w->mac, 6);
		bpf_skb_load_bytes(skb, w->aim == AIM_POD ? 6 : 0, w->mac + 6, 6);
		w->aim = AIM_OTHER;
	}
	found = bpf_fib_lookup(skb, fib, sizeof(*fib), 0);
	if (found == BPF_FIB_LKUP_RET_NO_NEIGH)
		return -1 - (int)fib->ifindex;
	if (found != BPF_FIB_LKUP_RET_SUCCESS || bpf_skb_store_bytes(skb, 0, fib->dmac, sizeof(fib->dmac), 0) ||
	    bpf_skb_store_bytes(skb, 6, fib->smac, sizeof(fib->smac), 0))
		return 0;
	return fib->ifindex;
}

/* To a pod whose legs do not go through the host's stack. */
__noinline int send_masked(struct __sk_buff *skb, struct work *w)
{
	int ifindex;

	if (!w)
		return DROP;
	if (w->mask == SHUNT_MASK_HAIRPIN)
		return send_to_client(skb, w);
	ifindex = aim_elsewhere(skb, w);
	if (ifindex > 0)
		return bpf_redirect(ifindex, 0);
	if (ifindex < 0)
		return bpf_redirect_neigh(-1 - ifindex, NULL, 0, 0);
	reason_count(SHUNT_R_LEG_NO_WAY);
	return DROP;
}

__noinline int send_copy_masked(struct __sk_buff *skb, struct work *w)
{
	int ifindex;

	if (!w)
		return 0;
	if (w->mask == SHUNT_MASK_HAIRPIN) {
		send_copy_to_client(skb, w);
		return 0;
	}
	ifindex = aim_elsewhere(skb, w);
	if (ifindex <= 0) /* a copy cannot wait for its next hop */
		reason_count(SHUNT_R_LEG_NO_WAY);
	else if (bpf_clone_redirect(skb, ifindex, 0))
		reason_count(SHUNT_R_INTERNAL);
	return 0;
}

/* Does a leg's packet go round the host's stack? */
static __always_inline bool goes_round(const struct work *w)
{
	return w->mask >= SHUNT_MASK_HAIRPIN;
}

/*
 * To the pod of the leg that w->forge or w->mask is for. The last of several takes the way of the others, which were sent as copies and are on it.
 */
static __always_inline int send_to_pod(struct __sk_buff *skb, struct work *w, bool last_of_several)
{
	if (unlikely(goes_round(w)))
		return send_masked(skb, w);
	aim(skb, w, AIM_POD);
	if (w->place == AT_CLIENT_IN && !last_of_several)
		return PASS;
	skb->mark = SHUNT_MARK;
	return bpf_redirect(w->ifindex, BPF_F_INGRESS);
}

/* The same for a copy; the skb stays with us. */
static __always_inline void send_copy_to_pod(struct __sk_buff *skb, struct work *w)
{
	if (unlikely(goes_round(w))) {
		send_copy_masked(skb, w);
		return;
	}
	aim(skb, w, AIM_POD);
	skb->mark = SHUNT_MARK;
	if (bpf_clone_redirect(skb, w->ifindex, BPF_F_INGRESS))
		reason_count(SHUNT_R_INTERNAL);
	skb->mark = 0;
}

#endif
