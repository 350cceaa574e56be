/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sequence numbers around the lines that an answer's head got (struct shunt_insert). The line belongs to the byte at the boundary, the first of the
 * blank line: whoever has not all of it has not that byte.
 *
 *     pod (P)       ... head ...│blank line, body ...            leg->sdelta counts the lines: it is right for what is behind them
 *                              b│
 *     client (S)    ... head ...│lines│blank line, body ...
 *                              at     at + len
 *
 *     P before b  ─▶ P + sdelta - len            S up to at  ─▶ S - sdelta + len      S within the lines ─▶ b
 *     P behind b  ─▶ P + sdelta                  S behind the lines ─▶ S - sdelta
 *
 * One head at a time: the next request waits until the client has acknowledged the lines, and from then on nothing is special. A packet of the pod
 * that comes later than that, again and wholly or in part from before b, gets too great a number for the bytes before b; the client has them all.
 */
#ifndef SHUNT_INSERT_BPF_H
#define SHUNT_INSERT_BPF_H

#include "lib/base.bpf.h"

/* P to S, for a packet's first byte: at b the lines come first. */
static __always_inline __u32 seq_for_client(const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 seq)
{
	__u32 to = seq + leg->sdelta;

	return unlikely(flow->insert.len) && !seq_after(to - flow->insert.len, flow->insert.at) ? to - flow->insert.len : to;
}

/* S to P, for what the client acknowledges: the pod must send the byte at b again while the client has not all of the lines. */
static __always_inline __u32 ack_for_pod(const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 ack)
{
	const struct shunt_insert *in = &flow->insert;
	__s32 past = ack - in->at;

	if (likely(!in->len) || past >= in->len)
		return ack - leg->sdelta;
	return (past < 0 ? ack : in->at) - leg->sdelta + in->len;
}

/* The same for the left edge of a SACK block. A block that begins behind b's lines has b only when it has the lines, too: else it begins at b + 1. */
static __always_inline __u32 sack_left_for_pod(const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 left)
{
	const struct shunt_insert *in = &flow->insert;
	__s32 past = left - in->at;

	return in->len && past > 0 && past <= in->len ? in->at + in->len + 1 - leg->sdelta : ack_for_pod(flow, leg, left);
}

/* The client's window, which the lines that are still to come take a part of. `window` as in the packet, in units of the client's scale. */
static __always_inline __u16 window_before_lines(const struct shunt_flow *flow, __u32 ack, __u16 window)
{
	const struct shunt_insert *in = &flow->insert;
	__s32 left = in->at + in->len - ack;
	__u32 scale = flow->flags & SHUNT_F_WSCALE ? flow->wscale & 15 : 0, units;

	if (likely(!in->len) || left <= 0)
		return window;
	if (left > in->len)
		left = in->len;
	units = ((__u32)left + (1u << scale) - 1) >> scale;
	return window > units ? window - units : 0;
}

/* Has the head changes that the client has not acknowledged? */
static __always_inline bool insert_is_on(const struct shunt_flow *flow)
{
	return unlikely(flow->insert.edit);
}

static __always_inline void insert_end(struct shunt_flow *flow)
{
	flow->insert.len = 0;
	flow->insert.edit = 0;
}

/* The client has acknowledged up to flow->sacked. */
static __always_inline void insert_acknowledged(struct shunt_flow *flow)
{
	if (insert_is_on(flow) && !seq_before(flow->sacked, flow->insert.at + flow->insert.len))
		insert_end(flow);
}

#endif
