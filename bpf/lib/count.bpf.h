/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Numbers: reasons, requests, latencies. Per CPU and without atomics: the programs do not nest on a CPU. */
#ifndef SHUNT_COUNT_BPF_H
#define SHUNT_COUNT_BPF_H

#include "maps.bpf.h"
#include "shunt/histogram.h"

static __always_inline void reason_add(enum shunt_reason reason)
{
	__u32 index = reason;
	__u64 *count = bpf_map_lookup_elem(&shunt_reason, &index);

	if (count)
		(*count)++;
}

#define RINGBUF_NO_WAKEUP 1 /* BPF_RB_NO_WAKEUP; its enum has no name in vmlinux.h */

/* The series of a flow's request or, between two, of the leg that it is at. */
static __always_inline __u16 series_of(const struct shunt_flow_key *key)
{
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, key);
	struct shunt_leg *leg;

	if (!flow)
		return SHUNT_NONE;
	if (flow->flags & SHUNT_F_MEASURED)
		return flow->series;
	leg = &flow->leg[flow->current & (SHUNT_LEGS - 1)];
	return leg->state == SHUNT_LEG_NONE ? SHUNT_NONE : leg->series;
}

/* Tells of a reason, of the flow at hand. A ring that nobody reads, or a flood, costs a look-up or two. */
__noinline int event_tell(__u32 reason)
{
	__u64 *last = bpf_map_lookup_elem(&shunt_told, &reason), now = bpf_ktime_get_coarse_ns();
	struct shunt_event *event;
	struct work *w;
	__u32 zero = 0;

	w = bpf_map_lookup_elem(&shunt_work, &zero);
	if (!last || !w)
		return 0;
	event = *last == now ? NULL : bpf_ringbuf_reserve(&shunt_events, sizeof(*event), 0);
	if (!event) {
		reason_add(SHUNT_R_EVENT_LOST);
		return 0;
	}
	*last = now;
	event->time = bpf_ktime_get_ns();
	event->flow = w->key;
	event->reason = reason;
	event->series = series_of(&w->key);
	bpf_ringbuf_submit(event, RINGBUF_NO_WAKEUP);
	return 0;
}

static __always_inline void reason_count(enum shunt_reason reason)
{
	reason_add(reason);
	if (shunt_is_event(reason))
		event_tell(reason);
}

/* A packet that no end would take either, at this moment of its connection. */
static __always_inline int drop_stray(void)
{
	reason_count(SHUNT_R_STRAY);
	return DROP;
}

static __always_inline struct shunt_count *series_count(__u32 series)
{
	return bpf_map_lookup_elem(&shunt_count, &series);
}

static __always_inline void latency_record(__u32 series, enum shunt_latency kind, __u64 ns)
{
	__u32 index = series * SHUNT_LATENCIES + kind;
	struct shunt_hist *hist = bpf_map_lookup_elem(&shunt_hist, &index);
	__u32 slot = shunt_hist_slot(ns);

	keep(slot);
	if (hist && slot < SHUNT_HIST_SLOTS)
		hist->slot[slot]++;
}

/* Client bytes up to `end` (the pod's space) go to the leg's pod; what it was sent before does not count again. */
static __always_inline void count_rx(struct shunt_leg *leg, __u32 end)
{
	struct shunt_count *count;
	__u32 new = end - leg->cnext;

	if ((__s32)new <= 0)
		return;
	leg->cnext = end;
	count = series_count(leg->series);
	if (count)
		count->rx_bytes += new;
}

/* Pod bytes [seq, end) go to the client. Called before pnext moves on. */
static __always_inline void count_tx(const struct shunt_leg *leg, __u32 seq, __u32 end)
{
	struct shunt_count *count;
	__u32 new = seq_after(leg->pnext, seq) ? end - leg->pnext : end - seq;

	if ((__s32)new <= 0)
		return;
	count = series_count(leg->series);
	if (count)
		count->tx_bytes += new;
}

/* A request is bound, as w->choice says: it counts, and its time runs. */
static __always_inline void request_begin(const struct work *w, struct shunt_flow *flow)
{
	struct shunt_count *count = series_count(w->choice.series);

	flow->series = w->choice.series;
	flow->status = 0;
	flow->flags |= SHUNT_F_MEASURED | SHUNT_F_WAITING;
	flow->who.user = w->choice.user;
	flow->who.trial = w->choice.trial;
	flow->who.series = w->choice.series;
	flow->convert = w->choice.convert;
	if (count)
		count->requests++;
}

/* How a request ended. */
enum request_end {
	END_TIMED = 0,
	END_UNTIMED = 1, /* answered, and the answer's end is unknown */
	END_ABORTED = 2,
};

static const struct shunt_user no_sums;

/* Her sums; they begin here when there are none. */
static __always_inline struct shunt_user *user_sums(const struct shunt_flow *flow)
{
	struct shunt_user *user = bpf_map_lookup_elem(&shunt_user, &flow->who);
	struct shunt_count *count;

	if (likely(user))
		return user;
	count = series_count(flow->series);
	if (!bpf_map_update_elem(&shunt_user, &flow->who, &no_sums, BPF_NOEXIST) && count)
		count->users++;
	user = bpf_map_lookup_elem(&shunt_user, &flow->who);
	if (!user)
		reason_count(SHUNT_R_USER_FULL);
	else if (!user->first)
		user->first = flow->started;
	return user;
}

static __always_inline bool answer_converts(const struct shunt_flow *flow)
{
	return flow->convert && flow->convert == flow->status / 100;
}

/* The request goes to its user's sums. Her requests may end on several CPUs at once, so these are atomic. us: latency when it is END_TIMED. */
__noinline int user_count(const struct shunt_flow *flow, __u32 end, __u64 us)
{
	struct shunt_user *user;
	__u32 class;

	if (!flow)
		return 0;
	user = user_sums(flow);
	if (!user)
		return 0;
	class = flow->status / 100;
	__sync_fetch_and_add(&user->requests, 1);
	if (end == END_ABORTED || class == 5)
		__sync_fetch_and_add(&user->errors, 1);
	else if (class == 4)
		__sync_fetch_and_add(&user->refusals, 1);
	if (end != END_ABORTED && answer_converts(flow))
		__sync_fetch_and_add(&user->conversions, 1);
	if (end != END_TIMED)
		return 0;
	__sync_fetch_and_add(&user->timed, 1);
	__sync_fetch_and_add(&user->latency_us, us);
	__sync_fetch_and_add(&user->latency_us2, us * us);
	return 0;
}

/* The request is over and counts in what concerns one user, and in nothing else from here on. */
static __always_inline void request_over(struct shunt_flow *flow, enum request_end end, __u64 us)
{
	flow->flags &= ~(SHUNT_F_MEASURED | SHUNT_F_WAITING);
	if (unlikely(flow->who.trial))
		user_count(flow, end, us);
}

static __always_inline void answer_first_byte(struct shunt_flow *flow, __u64 now)
{
	struct shunt_count *count = series_count(flow->series);

	flow->flags &= ~SHUNT_F_WAITING;
	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	latency_record(flow->series, SHUNT_LATENCY_TTFB, now - flow->started);
	if (!count)
		return;
	count->ttfb_count++;
	count->ttfb_sum_ns += now - flow->started;
}

/* By what its head said. */
static __always_inline void answer_count(const struct shunt_flow *flow, struct shunt_count *count)
{
	__u32 class = flow->status / 100;

	if (class == 5)
		count->errors++;
	if (answer_converts(flow))
		count->conversions++;
	keep(class);
	if (class > 5)
		class = 0;
	count->status[class]++;
}

/* The answer came and its end is unknown: it counts, its time does not. */
static __always_inline void answer_untimed(struct shunt_flow *flow)
{
	struct shunt_count *count = series_count(flow->series);

	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	request_over(flow, END_UNTIMED, 0);
	if (count)
		answer_count(flow, count);
}

/* The answer's last byte went by. */
static __always_inline void answer_complete(struct shunt_flow *flow, __u64 now)
{
	struct shunt_count *count = series_count(flow->series);
	__u64 ns = now - flow->started, us = ns / 1000;

	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	request_over(flow, END_TIMED, us);
	latency_record(flow->series, SHUNT_LATENCY_TOTAL, ns);
	if (!count)
		return;
	answer_count(flow, count);
	count->latency_count++;
	count->latency_sum_ns += ns;
	count->latency_sumsq_us2 += us * us;
}

/* The connection ends with its request unanswered, or answered in part. */
static __always_inline void answer_aborted(struct shunt_flow *flow)
{
	struct shunt_count *count = series_count(flow->series);

	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	request_over(flow, END_ABORTED, 0);
	if (count) {
		count->aborted++;
		count->errors++;
	}
}

#endif
