/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sequence numbers around a request's head that is another for the pod (struct shunt_recast), while the pod has not acknowledged all of it.
 *
 *     client (C)    ... │ head as the client sent it      │ body ...
 *                       at                           at + len
 *     C by cdelta   ... ... │ edited head                 │ body ...       = pod's + leg->cdelta, right for what is behind the head
 *                       at + less                    at + len
 *
 * No byte within one head is a byte within the other, so the client hears that its head has arrived when all of the edited one has, and until then
 * that none of it has. What was before the head is by `less` off.
 */
#ifndef SHUNT_RECAST_BPF_H
#define SHUNT_RECAST_BPF_H

#include "lib/base.bpf.h"

static __always_inline __u32 recast_end(const struct shunt_recast *r)
{
	return r->at + r->len;
}

/* Does the number belong to the head or to what was before it? Both kinds of C are the same behind it. */
static __always_inline bool recast_takes(const struct shunt_recast *r, __u32 seq)
{
	return unlikely(r->len) && seq_before(seq, recast_end(r));
}

/* C by cdelta to C, for what the pod acknowledges. */
static __always_inline __u32 recast_ack(const struct shunt_recast *r, __u32 ack)
{
	if (!recast_takes(r, ack))
		return ack;
	return seq_after(ack, r->at + r->less) ? r->at : ack - r->less;
}

/*
 * The same for the edges of a SACK block: a part of the edited head is none of the client's. A block that lies within it becomes one that ends before it
 * begins; such are ignored (RFC 2018 section 8: blocks are advice).
 */
static __always_inline __u32 recast_edge(const struct shunt_recast *r, __u32 edge, bool right)
{
	return !right && recast_takes(r, edge) && seq_after(edge, r->at + r->less) ? recast_end(r) : recast_ack(r, edge);
}

/* C to C by cdelta, for a packet without a byte of the head. */
static __always_inline __u32 recast_seq(const struct shunt_recast *r, __u32 seq)
{
	if (!recast_takes(r, seq))
		return seq;
	return seq_after(seq, r->at) ? recast_end(r) : seq + r->less;
}

/*
 * A packet of the pod, w->p, before it is translated: the head is done with, or the packet says in the client's numbers what the pod has. The window's
 * right edge stays where the pod has it.
 */
__noinline int recast_acknowledged(struct work *w, struct shunt_flow *flow, __u32 index)
{
	struct shunt_leg *leg;
	__u32 ack, told, scale, window;

	if (!w || !flow)
		return 0;
	leg = &flow->leg[index & (SHUNT_LEGS - 1)];
	if (!recast_takes(&flow->recast, leg->acked)) {
		flow->recast.len = 0;
		return 0;
	}
	ack = w->p.ack + leg->cdelta;
	told = recast_ack(&flow->recast, ack);
	scale = leg->wscale & 15;
	window = ((__u32)w->p.window << scale) + ack - told;
	if ((__s32)window < 0)
		window = 0;
	window >>= scale;
	w->p.window = window > 0xffff ? 0xffff : window;
	w->p.ack = told - leg->cdelta;
	return 0;
}

#endif
