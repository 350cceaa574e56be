/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Numbers: reasons, requests, latencies. Per CPU and without atomics: the programs do not nest on a CPU. */
#ifndef SHUNT_COUNT_BPF_H
#define SHUNT_COUNT_BPF_H

#include "maps.bpf.h"
#include "shunt/histogram.h"

static __always_inline void reason_count(enum shunt_reason reason)
{
	__u32 index = reason;
	__u64 *count = bpf_map_lookup_elem(&shunt_reason, &index);

	if (count)
		(*count)++;
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

/* A request is bound: it counts, and its time runs. */
static __always_inline void request_begin(struct shunt_flow *flow, __u32 series)
{
	struct shunt_count *count = series_count(series);

	flow->series = series;
	flow->status = 0;
	flow->flags |= SHUNT_F_MEASURED | SHUNT_F_WAITING;
	if (count)
		count->requests++;
}

static __always_inline void answer_first_byte(struct shunt_flow *flow, __u64 now)
{
	flow->flags &= ~SHUNT_F_WAITING;
	if (flow->flags & SHUNT_F_MEASURED)
		latency_record(flow->series, SHUNT_LATENCY_TTFB, now - flow->started);
}

/* The answer came and its end is unknown: it counts, its time does not. */
static __always_inline void answer_untimed(struct shunt_flow *flow)
{
	struct shunt_count *count = series_count(flow->series);
	__u32 class = flow->status / 100;

	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	flow->flags &= ~(SHUNT_F_MEASURED | SHUNT_F_WAITING);
	if (!count)
		return;
	if (class == 5)
		count->errors++;
	keep(class);
	if (class > 5)
		class = 0;
	count->status[class]++;
}

/* The answer's last byte went by. */
static __always_inline void answer_complete(struct shunt_flow *flow, __u64 now)
{
	struct shunt_count *count = series_count(flow->series);
	__u64 ns = now - flow->started, us = ns / 1000;

	if (!(flow->flags & SHUNT_F_MEASURED))
		return;
	answer_untimed(flow);
	latency_record(flow->series, SHUNT_LATENCY_TOTAL, ns);
	if (!count)
		return;
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
	flow->flags &= ~(SHUNT_F_MEASURED | SHUNT_F_WAITING);
	if (count) {
		count->aborted++;
		count->errors++;
	}
}

#endif
