/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The hold: request bytes that are not at their pod yet.
 *
 *      hold_seq            request_end          hold_seq + hold_len
 *         │ current request    │ pipelined requests   │
 *         ▼                    ▼                      ▼
 *     data[0] ··················································· data[SHUNT_HOLD_SIZE]
 *
 * Bytes before request_end go to the current leg, those behind it wait for their turn. In SHUNT_FLOW_HEAD request_end is where the head being
 * collected begins. A buffer is taken from a fixed array by compare-and-swap on its owner word; one whose flow has not come back for a minute is free
 * again, so that nothing leaks for ever whatever happened to the flow.
 */
#ifndef SHUNT_HOLD_BPF_H
#define SHUNT_HOLD_BPF_H

#include "lib/payload.bpf.h"

#define HOLD_TRIES 128 /* owner words looked at for a free one: of 2048 buffers with 5 % free, all but one search in 700 finds one */
#define HOLD_ROOM (SHUNT_HOLD_SIZE - SHUNT_EDIT_MAX) /* for a request as its client sends it: its head may become longer */

/* How many there are: the size of shunt_hold, by who loads the programs. */
const volatile __u32 hold_count = SHUNT_HOLDS;

struct hold_search {
	__u64 owner, now;
	__u32 index;
	__u32 taken;
};

static __always_inline __u64 hold_owner(const struct work *w, const struct shunt_flow *flow)
{
	return (__u64)flow->isn << 32 | (__u32)w->key.cport << 16 | (addr_word(&w->key.client, 3) >> 16) | 1;
}

static long hold_try(__u32 i, struct hold_search *search)
{
	__u32 index = (search->index + 1) % hold_count;
	struct shunt_hold *hold = bpf_map_lookup_elem(&shunt_hold, &index);
	__u64 owner;

	search->index = index;
	if (!hold)
		return 1;
	owner = hold->owner;
	if (owner && elapsed(search->now, hold->since) < HOLD_STALE_NS)
		return 0;
	hold->since = search->now; /* before it is ours: another CPU that sees our name must not see the time of who had it before */
	if (__sync_val_compare_and_swap(&hold->owner, owner, search->owner) != owner)
		return 0;
	search->taken = 1;
	return 1;
}

/* The flow's buffer, NULL when it has none (any more). */
static __always_inline struct shunt_hold *hold_of(const struct work *w, const struct shunt_flow *flow)
{
	__u32 index = flow->hold - 1;
	struct shunt_hold *hold;

	if (!flow->hold)
		return NULL;
	hold = bpf_map_lookup_elem(&shunt_hold, &index);
	return hold && hold->owner == hold_owner(w, flow) ? hold : NULL;
}

/* The flow's buffer, or a new empty one that begins at `seq`; NULL when all are taken. */
static __noinline struct shunt_hold *hold_take(const struct work *w, struct shunt_flow *flow, __u32 seq)
{
	struct shunt_hold *hold = hold_of(w, flow);
	struct hold_search search = {
		.owner = hold_owner(w, flow),
		.now = bpf_ktime_get_ns(),
		.index = bpf_get_prandom_u32(),
	};

	if (hold)
		return hold;
	bpf_loop(HOLD_TRIES, hold_try, &search, 0);
	if (!search.taken) {
		reason_count(SHUNT_R_HOLD_FULL);
		return NULL;
	}
	flow->hold = search.index + 1;
	flow->hold_seq = seq;
	flow->hold_len = 0;
	flow->hold_answer = 0;
	return hold_of(w, flow);
}

static __always_inline void hold_free(const struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold = hold_of(w, flow);

	if (hold)
		hold->owner = 0;
	flow->hold = 0;
	flow->hold_len = 0;
	flow->hold_answer = 0;
	flow->flags &= ~SHUNT_F_ACKED;
}

/* The buffer begins anew at `seq` with no request bytes; a piece of an answer's head stays. */
static __always_inline struct shunt_hold *hold_restart(const struct work *w, struct shunt_flow *flow, __u32 seq)
{
	flow->hold_seq = seq;
	flow->hold_len = 0;
	flow->flags &= ~SHUNT_F_ACKED;
	return hold_take(w, flow, seq);
}

/* C: one past the last held byte. */
static __always_inline __u32 hold_end(const struct shunt_flow *flow)
{
	return flow->hold_seq + flow->hold_len;
}

/* Bytes that wait for the answer of the request before them. */
static __always_inline __u32 hold_waiting(const struct shunt_flow *flow)
{
	__u32 end = hold_end(flow);

	return flow->hold && !(flow->flags & SHUNT_F_PINNED) && seq_after(end, flow->request_end) ? end - flow->request_end : 0;
}

/* C: one past the last held byte that belongs to the current request. */
static __always_inline __u32 hold_sent_end(const struct shunt_flow *flow)
{
	return hold_waiting(flow) ? flow->request_end : hold_end(flow);
}

struct hold_move {
	struct shunt_hold *hold;
	__u32 from, to, len;
};

/* 64 bytes of a move. Downwards from low to high, upwards from high to low, so that source and target may overlap. */
static long hold_move_step(__u32 i, struct hold_move *move)
{
	bool up = move->to > move->from;
	__u32 off = i * 64, from, to;

	if (off >= move->len)
		return 1;
	if (up)
		off = ((move->len - 1) & ~63u) - off;
	from = move->from + off;
	to = move->to + off;
	keep(to);
	keep(from);
	if (to > SHUNT_HOLD_SIZE || from > SHUNT_HOLD_SIZE)
		return 1;
	for (int word = 0; word < 8; word++) {
		__u32 at = (up ? 7 - word : word) * 8;

		*(__u64 *)(move->hold->data + to + at) = *(const __u64 *)(move->hold->data + from + at);
	}
	return 0;
}

/* Moves data[from..) to data[to..), up to the end of what is held, which becomes longer or shorter by it. What is before it stays. */
static __noinline int hold_move(struct shunt_flow *flow, struct shunt_hold *hold, __u32 from, __u32 to)
{
	struct hold_move move = { .hold = hold, .from = from, .to = to, .len = flow->hold_len - from };

	bpf_loop(SHUNT_HOLD_SIZE / 64, hold_move_step, &move, 0);
	flow->hold_len += to - from;
	return 0;
}

/* Bytes before data[at] are done: the rest moves to the front, so that all of the buffer's size is for what waits. */
static __always_inline void hold_shift(struct shunt_flow *flow, struct shunt_hold *hold, __u32 at)
{
	hold_move(flow, hold, at, 0);
	flow->hold_seq += at;
}

/* Appends what of this packet's payload continues the buffer. Returns how many bytes; 0: nothing new, no room, a gap before it, or it is corrupt. */
static __always_inline __u32 hold_append(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_hold *hold)
{
	__u32 at = flow->hold_len, skip = hold_end(flow) - w->p.seq, len = w->p.len;

	if (seq_before(hold_end(flow), w->p.seq) || skip >= len || at >= SHUNT_HOLD_SIZE || !payload_load(skb, w))
		return 0;
	len -= skip;
	if (len > SHUNT_HOLD_SIZE - at)
		len = SHUNT_HOLD_SIZE - at;
	keep(len);
	keep(at);
	if (len == 0 || len > SHUNT_HOLD_SIZE || at >= SHUNT_HOLD_SIZE)
		return 0;
	if (bpf_skb_load_bytes(skb, w->p.payload + skip, hold->data + at, len)) {
		reason_count(SHUNT_R_INTERNAL);
		return 0;
	}
	flow->hold_len = at + len;
	return len;
}

#endif
