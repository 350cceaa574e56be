/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Latency histograms: log-linear buckets, so that one small array covers a microsecond and two minutes at one relative width.
 *
 * A value is counted in units of 1024 ns (ns >> 10: no division in the kernel). The first 32 buckets are one unit wide; from there every power of
 * two is cut into 16 buckets of equal width, so a bucket is never wider than 1/16 (6.25 %) of its low bound:
 *
 *     units    0  1 .. 31 | 32 34 .. 62 | 64 68 .. 124 | 128 136 .. | ...      the group from 2^n is cut into 16 of 2^(n-4)
 *     bucket   0  1 .. 31 | 32 33 .. 47 | 48 49 .. 63  |  64  65 .. | ...
 *
 * Below 16 units (16 us) the width is the unit itself. The last bucket, from 31 * 2^22 units (133 s) on, takes everything above, too.
 * The idea is HdrHistogram's (Tene, hdrhistogram.org).
 */
#ifndef SHUNT_HISTOGRAM_H
#define SHUNT_HISTOGRAM_H

#include "shunt/abi.h"

#define SHUNT_HIST_UNIT_BITS 10 /* 1024 ns */
#define SHUNT_HIST_SUB_BITS 4   /* 16 buckets in every power of two */
#define SHUNT_HIST_SUBS (1u << SHUNT_HIST_SUB_BITS)

/* Position of the highest set bit; 0 for 0. A ladder of shifts: clang's BPF backend has no count-leading-zeros. */
static inline __attribute__((always_inline)) __u32 shunt_log2(__u64 v)
{
	__u32 bits = 0, step;

	step = (v > 0xffffffffull) << 5;
	v >>= step;
	bits |= step;
	step = (v > 0xffff) << 4;
	v >>= step;
	bits |= step;
	step = (v > 0xff) << 3;
	v >>= step;
	bits |= step;
	step = (v > 0xf) << 2;
	v >>= step;
	bits |= step;
	step = (v > 0x3) << 1;
	v >>= step;
	return bits | step | (__u32)(v >> 1);
}

/* The bucket of a duration: 0..SHUNT_HIST_SLOTS-1. The last comparison bounds the index for the verifier on every path. */
static inline __attribute__((always_inline)) __u32 shunt_hist_slot(__u64 ns)
{
	__u64 units = ns >> SHUNT_HIST_UNIT_BITS;
	__u32 group = shunt_log2(units | (SHUNT_HIST_SUBS - 1)) - (SHUNT_HIST_SUB_BITS - 1); /* 0: below 16 units */
	__u32 slot;

	if (group == 0)
		slot = units;
	else
		slot = group * SHUNT_HIST_SUBS + (__u32)(units >> (group - 1)) - SHUNT_HIST_SUBS;
	return slot < SHUNT_HIST_SLOTS ? slot : SHUNT_HIST_SLOTS - 1;
}

/* The first nanosecond of a bucket; of SHUNT_HIST_SLOTS: the end of the last bucket's own range (it takes more than that). */
static inline __attribute__((always_inline)) __u64 shunt_hist_low(__u32 slot)
{
	__u32 group = slot / SHUNT_HIST_SUBS;
	__u64 units = group == 0 ? slot : (__u64)(slot % SHUNT_HIST_SUBS + SHUNT_HIST_SUBS) << (group - 1);

	return units << SHUNT_HIST_UNIT_BITS;
}

/* One past the last nanosecond of a bucket. */
static inline __attribute__((always_inline)) __u64 shunt_hist_high(__u32 slot)
{
	return shunt_hist_low(slot + 1);
}

#ifndef __bpf__

/* What a histogram knows about a quantile. All 0 when it is empty. */
struct shunt_quantile {
	__u64 low_ns;  /* the exact value lies in [low_ns, high_ns) */
	__u64 high_ns; /* ~0 when it lies in the bucket that takes everything above */
	double mid_ns; /* between them by rank, as if the bucket's values were evenly spread; of the last bucket: its low bound */
};

/*
 * The q-quantile, 0 <= q <= 1: the value of rank ceil(q * count), at least the first (nearest rank, so it is one of the measured values, and the band
 * holds it for certain). `slots` are SHUNT_HIST_SLOTS counts.
 */
static inline struct shunt_quantile shunt_hist_quantile(const __u64 *slots, double q)
{
	__u64 count = 0, below = 0, rank;

	for (__u32 i = 0; i < SHUNT_HIST_SLOTS; i++)
		count += slots[i];
	if (count == 0)
		return (struct shunt_quantile){ 0 };
	rank = (__u64)(q * (double)count);
	rank += (double)rank < q * (double)count;
	rank = rank < 1 ? 1 : rank > count ? count : rank;

	for (__u32 i = 0; i < SHUNT_HIST_SLOTS - 1; i++) {
		__u64 low = shunt_hist_low(i), high = shunt_hist_high(i);

		if (below + slots[i] >= rank)
			return (struct shunt_quantile){
				.low_ns = low,
				.high_ns = high,
				.mid_ns = (double)low + (double)(high - low) * ((double)(rank - below) - 0.5) / (double)slots[i],
			};
		below += slots[i];
	}
	return (struct shunt_quantile){
		.low_ns = shunt_hist_low(SHUNT_HIST_SLOTS - 1),
		.high_ns = ~0ull,
		.mid_ns = (double)shunt_hist_low(SHUNT_HIST_SLOTS - 1),
	};
}

#endif

#endif
