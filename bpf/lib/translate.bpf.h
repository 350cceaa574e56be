/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The established path: addresses, ports, sequence numbers, timestamps and SACK blocks of a packet, in place.
 *
 *                      client ──▶ pod                           pod ──▶ client
 *     address          frontend becomes pod                     pod becomes frontend
 *     (of a mask)      client becomes leg's                     back
 *     ports            client's -> leg's, frontend's -> pod's   back
 *     seq              - cdelta                                 + sdelta
 *     ack, SACK        - sdelta                                 + cdelta
 *     TS value         kept (the client's clock)                + tsdelta, never backwards
 *     TS echo          - tsdelta, not before the leg            kept
 *     window           kept (the leg has the client's scale)    rescaled, clamped
 *
 * Options are where every common stack puts them, and are rewritten where they lie; any other order takes the long way (options_walk). Packets keep
 * what we do not know: options, ECN, PSH and URG with its pointer, which counts from seq.
 *
 * While a head has lines that the client has not acknowledged, insert.bpf.h says what sdelta means; while the pod has not all of an edited request's
 * head, recast.bpf.h does of cdelta.
 */
#ifndef SHUNT_TRANSLATE_BPF_H
#define SHUNT_TRANSLATE_BPF_H

#include "lib/csum.bpf.h"
#include "lib/leg.bpf.h"

static __always_inline __wsum replace_be32(__be32 *at, __u32 host)
{
	__be32 to = bpf_htonl(host);
	__wsum change = csum_change(*at, to);

	*at = to;
	return change;
}

static __always_inline __wsum replace_be16(__be16 *at, __be16 to)
{
	__wsum change = csum_change(*at, to);

	*at = to;
	return change;
}

/* An edge of a SACK block (RFC 2018). */
static __always_inline __u32 sack_edge(const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 edge, bool right, bool to_pod)
{
	if (!to_pod)
		return recast_edge(&flow->recast, edge + leg->cdelta, right);
	return right ? ack_for_pod(flow, leg, edge) : sack_left_for_pod(flow, leg, edge);
}

/* Translates SACK blocks. */
static __always_inline __wsum sack_translate(const struct shunt_flow *flow, const struct shunt_leg *leg, __be32 *o, void *end, __u32 blocks, bool to_pod)
{
	__wsum change = 0;

	for (__u32 i = 0; i < 2 * SACK_BLOCKS_MAX; i++) {
		if (i >= 2 * blocks || (void *)(o + i + 1) > end)
			break;
		change = csum_plus(change, replace_be32(o + i, sack_edge(flow, leg, bpf_ntohl(o[i]), i & 1, to_pod)));
	}
	return change;
}

/* The client's timestamps for the pod: what it echoes. */
static __always_inline __u32 tsecr_for_pod(struct shunt_flow *flow, const struct shunt_leg *leg, __u32 tsval, __u32 tsecr)
{
	flow->ts_client = tsval;
	tsecr -= leg->tsdelta;
	return seq_before(tsecr, leg->tsfirst) ? leg->tsfirst : tsecr; /* of another leg's packet */
}

/* The pod's timestamp for the client. */
static __always_inline __u32 tsval_for_client(struct shunt_flow *flow, struct shunt_leg *leg, __u32 tsval)
{
	leg->tslast = tsval;
	tsval += leg->tsdelta;
	if (seq_after(tsval, flow->ts_sent))
		flow->ts_sent = tsval;
	return flow->ts_sent;
}

/* How much of the options lies as usual. */
enum layout { ODD, TSTAMP, TSTAMP_SACK, SACK };

#define NOP_NOP_TSTAMP 0x0101080au
#define NOP_NOP_SACK 0x01010500u /* and its length */

static __always_inline enum layout options_layout(const __be32 *o, __u32 len, const void *end)
{
	if ((void *)(o + 3) > end)
		return ODD;
	if (*o == bpf_htonl(NOP_NOP_TSTAMP)) {
		if (likely(len == 12))
			return TSTAMP;
		return (void *)(o + 4) <= end && o[3] == bpf_htonl(NOP_NOP_SACK | (len - 14)) ? TSTAMP_SACK : ODD;
	}
	return *o == bpf_htonl(NOP_NOP_SACK | (len - 2)) ? SACK : ODD;
}

/* Timestamps and SACK blocks of a usual layout, in place. */
static __always_inline __wsum options_translate(struct shunt_flow *flow, struct shunt_leg *leg, __be32 *o, enum layout layout, __u32 len, void *end,
						bool to_pod)
{
	__wsum change = 0;

	if (layout != SACK) {
		if ((void *)(o + 3) > end)
			return 0;
		if (to_pod)
			change = replace_be32(o + 2, tsecr_for_pod(flow, leg, bpf_ntohl(o[1]), bpf_ntohl(o[2])));
		else
			change = replace_be32(o + 1, tsval_for_client(flow, leg, bpf_ntohl(o[1])));
		o += 3;
		len -= 12;
	}
	return layout == TSTAMP ? change : csum_plus(change, sack_translate(flow, leg, o + 1, end, len / 8, to_pod));
}

/* Overwrites an option of up to 2 + 8 * SACK_BLOCKS_MAX bytes. */
static __always_inline void option_clear(struct tcp_options *o, __u32 at, __u32 len)
{
	for (__u32 i = 0; i < 2 + 8 * SACK_BLOCKS_MAX; i++) {
		__u32 byte = at + i;

		keep(byte);
		if (i >= len || byte >= TCP_OPTIONS_MAX)
			break;
		o->raw[byte] = TCPOPT_NOP;
	}
}

/* The same for options in any order, and for a pod that lacks some. They are written back; what the checksum gains by it is in w->options.change. */
__noinline int options_walk(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 index, __u32 to_pod)
{
	struct tcp_options *o;
	struct shunt_leg *leg;
	__u32 len, at;
	__wsum before;

	if (!w || !flow || options_parse(skb, w))
		return -1;
	o = &w->options;
	leg = LEG(flow, index);
	before = bpf_csum_diff((__be32 *)o->raw, TCP_OPTIONS_MAX, NULL, 0, 0);
	if (to_pod && unlikely(leg->lacks & SHUNT_LACK_SACK) && o->blocks) {
		option_clear(o, o->blocks - 2, o->blocks_len + 2);
		o->blocks_len = 0;
	}
	at = o->tstamp;
	keep(at);
	if (at && to_pod && leg->lacks & SHUNT_LACK_TSTAMP) {
		flow->ts_client = o->tsval;
		option_clear(o, at - 2, 10);
	} else if (at && at <= TCP_OPTIONS_MAX - 8) {
		if (to_pod)
			put_be32(o->raw + at + 4, tsecr_for_pod(flow, leg, o->tsval, o->tsecr));
		else
			put_be32(o->raw + at, tsval_for_client(flow, leg, o->tsval));
	}
	for (__u32 i = 0; i < 2 * SACK_BLOCKS_MAX; i++) {
		at = o->blocks + 4 * i;
		keep(at);
		if (4 * i >= o->blocks_len || at > TCP_OPTIONS_MAX - 4)
			break;
		put_be32(o->raw + at, sack_edge(flow, leg, get_be32(o->raw + at), i & 1, to_pod));
	}
	o->change = bpf_csum_diff(NULL, 0, (__be32 *)o->raw, TCP_OPTIONS_MAX, before);
	len = o->len;
	keep(len);
	if (len == 0 || len > TCP_OPTIONS_MAX)
		return -1;
	return bpf_skb_store_bytes(skb, w->p.l4 + TCP_LEN, o->raw, len, 0);
}

/* Where ECN was promised and the pod does not do it, routers must not mark packets in vain (RFC 3168 section 6.1.1). */
static __always_inline __wsum ecn_clear(__be16 *version_and_class, __u16 bits)
{
	return replace_be16(version_and_class, *version_and_class & ~bpf_htons(bits));
}

/*
 * Window for the client: what the pod takes, but no more than the hold, with an edited head, behind the end of this request while the flow may re-bind. The end of a chunked
 * request comes unannounced; what does not fit the hold behind it is dropped then, and the client sends it again.
 */
static __always_inline __u16 window_for_client(const struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg)
{
	__u32 window = (__u32)w->p.window << (leg->wscale & 15);

	if (!(flow->flags & SHUNT_F_PINNED) && !flow->request_walk) {
		__u32 room = flow->request_end + HOLD_ROOM - (w->p.ack + leg->cdelta);

		if ((__s32)room < 0)
			room = 0;
		if (window > room)
			window = room;
	}
	if (flow->flags & SHUNT_F_WSCALE)
		window >>= OUR_WSCALE;
	return window > 0xffff ? 0xffff : window;
}

/* The address that stands in for the client's goes to its place in the header, or back. Returns how the header's sum changes. */
static __always_inline __wsum mask_translate(void *at, bool v6, const struct work *w, const struct shunt_leg *leg, bool to_pod)
{
	const struct shunt_addr *from = to_pod ? &w->key.client : &leg->from, *to = to_pod ? &leg->from : &w->key.client;

	if (v6)
		__builtin_memcpy(at, to->ip, 16);
	else
		*(__be32 *)at = addr_word(to, 3);
	return csum_addr_change(from, to);
}

static __always_inline int translate(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg, bool to_pod)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct shunt_addr *from = to_pod ? &w->key.frontend : &leg->pod, *to = to_pod ? &leg->pod : &w->key.frontend;
	__wsum pseudo = csum_addr_change(from, to), change;
	bool no_ecn = to_pod && unlikely(leg->lacks & SHUNT_LACK_ECN);
	enum layout layout = ODD;
	struct tcphdr *tcp;
	__u32 l4 = w->p.l4, options;

	keep(l4);
	if (l4 < ETH_HLEN + IPV4_LEN || l4 > ETH_HLEN + IPV6_LEN + JUMBO_LEN)
		return DROP;
	tcp = data + l4;
	if ((void *)(tcp + 1) > end)
		return DROP;
	if (w->p.family == SHUNT_V6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return DROP;
		__builtin_memcpy(to_pod ? &ip->daddr : &ip->saddr, to->ip, 16);
		if (unlikely(leg->mask))
			pseudo = csum_plus(pseudo, mask_translate(to_pod ? &ip->saddr : &ip->daddr, true, w, leg, to_pod));
		if (no_ecn)
			bpf_csum_update(skb, ecn_clear((__be16 *)ip, 0x0030));
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return DROP;
		if (to_pod)
			ip->daddr = addr_word(to, 3);
		else
			ip->saddr = addr_word(to, 3);
		if (unlikely(leg->mask))
			pseudo = csum_plus(pseudo, mask_translate(to_pod ? &ip->saddr : &ip->daddr, false, w, leg, to_pod));
		change = pseudo;
		if (no_ecn)
			change = csum_plus(change, ecn_clear((__be16 *)ip, 0x0003));
		ip->check = ~csum_fold16(csum_plus((__u16)~ip->check, change));
	}
	if (to_pod) {
		change = replace_be32(&tcp->seq, w->p.seq - leg->cdelta);
		change = csum_plus(change, replace_be32(&tcp->ack_seq, ack_for_pod(flow, leg, w->p.ack)));
		change = csum_plus(change, replace_be16(&tcp->source, leg->lport));
		change = csum_plus(change, replace_be16(&tcp->dest, leg->pport));
	} else {
		change = replace_be32(&tcp->seq, seq_for_client(flow, leg, w->p.seq));
		change = csum_plus(change, replace_be32(&tcp->ack_seq, w->p.ack + leg->cdelta));
		change = csum_plus(change, replace_be16(&tcp->source, w->key.fport));
		change = csum_plus(change, replace_be16(&tcp->dest, w->key.cport));
	}
	options = flow->kind == SHUNT_KIND_REQUEST ? w->p.payload - w->p.l4 - TCP_LEN : 0;
	if (flow->kind == SHUNT_KIND_REQUEST) {
		if (!to_pod)
			change = csum_plus(change, replace_be16(&tcp->window, bpf_htons(window_for_client(w, flow, leg))));
		else if (unlikely(leg->lacks & SHUNT_LACK_WSCALE || flow->insert.len))
			change = csum_plus(change, replace_be16(&tcp->window, bpf_htons(window_for_pod(flow, leg, window_before_lines(flow, w->p.ack, w->p.window)))));
	}
	if (options) {
		layout = options_layout((void *)(tcp + 1), options, end);
		if (to_pod && unlikely(leg->lacks & (SHUNT_LACK_TSTAMP | SHUNT_LACK_SACK)))
			layout = ODD;
		if (likely(layout != ODD))
			change = csum_plus(change, options_translate(flow, leg, (void *)(tcp + 1), layout, options, end, to_pod));
		else if (!options_walk(skb, w, flow, flow->current, to_pod))
			change = csum_plus(change, w->options.change);
	}
	csum_replace_pseudo(skb, l4 + TCP_CHECK_OFFSET, pseudo, w->p.family);
	bpf_l4_csum_replace(skb, l4 + TCP_CHECK_OFFSET, 0, change, 0);
	return PASS;
}

#endif
