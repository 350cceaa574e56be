/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The established path: addresses, ports, sequence numbers, timestamps and SACK blocks of a packet, in place.
 *
 *                      client ──▶ pod                           pod ──▶ client
 *     address          frontend becomes pod                     pod becomes frontend
 *     ports            client's -> leg's, frontend's -> pod's   back
 *     seq              - cdelta                                 + sdelta
 *     ack, SACK        - sdelta                                 + cdelta
 *     TS value         kept (the client's clock)                + tsdelta, never backwards
 *     TS echo          - tsdelta, not before the leg            kept
 *     window           kept (the leg has the client's scale)    rescaled, clamped
 */
#ifndef SHUNT_TRANSLATE_BPF_H
#define SHUNT_TRANSLATE_BPF_H

#include "lib/csum.bpf.h"
#include "lib/leg.bpf.h"

#define SACK_BLOCKS_MAX 4

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

/* Shifts SACK blocks (RFC 2018) by `shift`. */
static __always_inline __wsum sack_shift(__be32 *o, void *end, __u32 blocks, __u32 shift)
{
	__wsum change = 0;

	for (__u32 i = 0; i < 2 * SACK_BLOCKS_MAX; i++) {
		if (i >= 2 * blocks || (void *)(o + i + 1) > end)
			break;
		change = csum_plus(change, replace_be32(o + i, bpf_ntohl(o[i]) + shift));
	}
	return change;
}

/* Timestamps and SACK blocks, where every common stack puts them: NOP NOP TS, then NOP NOP SACK. */
static __always_inline __wsum options_translate(struct shunt_flow *flow, struct shunt_leg *leg, struct tcphdr *tcp, __u32 len, void *end, bool to_pod)
{
	__be32 *o = (void *)tcp + TCP_LEN;
	__wsum change = 0;
	__u32 word, shift = to_pod ? -leg->sdelta : leg->cdelta;

	if ((void *)(o + 1) > end)
		return 0;
	word = bpf_ntohl(*o);
	if (word == 0x0101080a) {
		if ((void *)(o + 3) > end)
			return 0;
		if (to_pod) {
			__u32 tsecr = bpf_ntohl(o[2]) - leg->tsdelta;

			flow->ts_client = bpf_ntohl(o[1]);
			if (seq_before(tsecr, leg->tsfirst)) /* of another leg's packet */
				tsecr = leg->tsfirst;
			change = replace_be32(o + 2, tsecr);
		} else {
			__u32 tsval = bpf_ntohl(o[1]);

			leg->tslast = tsval;
			tsval += leg->tsdelta;
			if (seq_before(tsval, flow->ts_sent))
				tsval = flow->ts_sent;
			flow->ts_sent = tsval;
			change = replace_be32(o + 1, tsval);
		}
		if (len <= 12 || (void *)(o + 4) > end)
			return change;
		o += 3;
		word = bpf_ntohl(*o);
	}
	if ((word & 0xffffff00) == 0x01010500)
		change = csum_plus(change, sack_shift(o + 1, end, ((word & 0xff) - 2) / 8, shift));
	return change;
}

/*
 * Window for the client: what the pod takes, but no more than the hold behind the end of this request while the flow may re-bind. The end of a chunked
 * request comes unannounced; what does not fit the hold behind it is dropped then, and the client sends it again.
 */
static __always_inline __u16 window_for_client(const struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg)
{
	__u32 window = (__u32)w->p.window << (leg->wscale & 15);

	if (!(flow->flags & SHUNT_F_PINNED) && !flow->request_walk) {
		__u32 room = flow->request_end + SHUNT_HOLD_SIZE - (w->p.ack + leg->cdelta);

		if ((__s32)room < 0)
			room = 0;
		if (window > room)
			window = room;
	}
	if (flow->flags & SHUNT_F_WSCALE)
		window >>= OUR_WSCALE;
	return window > 0xffff ? 0xffff : window;
}

static __always_inline int translate(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg, bool to_pod)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct shunt_addr *from = to_pod ? &w->key.frontend : &leg->pod, *to = to_pod ? &leg->pod : &w->key.frontend;
	__wsum pseudo = csum_addr_change(from, to), change;
	struct tcphdr *tcp;
	__u32 check;

	if (w->p.family == SHUNT_V6) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		tcp = data + ETH_HLEN + IPV6_LEN;
		if ((void *)(tcp + 1) > end)
			return DROP;
		__builtin_memcpy(to_pod ? &ip->daddr : &ip->saddr, to->ip, 16);
		check = ETH_HLEN + IPV6_LEN + TCP_CHECK_OFFSET;
	} else {
		struct iphdr *ip = data + ETH_HLEN;

		tcp = data + ETH_HLEN + IPV4_LEN;
		if ((void *)(tcp + 1) > end)
			return DROP;
		if (to_pod)
			ip->daddr = addr_word(to, 3);
		else
			ip->saddr = addr_word(to, 3);
		ip->check = ~csum_fold16(csum_plus((__u16)~ip->check, pseudo));
		check = ETH_HLEN + IPV4_LEN + TCP_CHECK_OFFSET;
	}
	if (to_pod) {
		change = replace_be32(&tcp->seq, w->p.seq - leg->cdelta);
		change = csum_plus(change, replace_be32(&tcp->ack_seq, w->p.ack - leg->sdelta));
		change = csum_plus(change, replace_be16(&tcp->source, leg->lport));
		change = csum_plus(change, replace_be16(&tcp->dest, leg->pport));
	} else {
		change = replace_be32(&tcp->seq, w->p.seq + leg->sdelta);
		change = csum_plus(change, replace_be32(&tcp->ack_seq, w->p.ack + leg->cdelta));
		change = csum_plus(change, replace_be16(&tcp->source, w->key.fport));
		change = csum_plus(change, replace_be16(&tcp->dest, w->key.cport));
	}
	if (flow->kind == SHUNT_KIND_REQUEST) {
		if (!to_pod)
			change = csum_plus(change, replace_be16(&tcp->window, bpf_htons(window_for_client(w, flow, leg))));
		if (w->p.payload > w->p.l4 + TCP_LEN)
			change = csum_plus(change, options_translate(flow, leg, tcp, w->p.payload - w->p.l4 - TCP_LEN, end, to_pod));
	}
	bpf_l4_csum_replace(skb, check, 0, pseudo, BPF_F_PSEUDO_HDR);
	bpf_l4_csum_replace(skb, check, 0, change, 0);
	return PASS;
}

#endif
