/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a user id to a version and a pod: the same code in the kernel programs, the agent and the tests, so that all give one answer (invariant 4).
 *
 *     id ── SipHash-2-4(salt of the split) ──▶ 64 bits ─┬─ upper 32 ──▶ shunt_split_pick(): which share, so which version
 *                                                       └─ lower 32 ──▶ shunt_ring_slot(): which slot of that version's ring, so which pod
 *
 * Keyed, because ids come from clients: who does not know the salt cannot choose ids that all fall on one version or one pod. The two halves are
 * independent, so a version's share of the users spreads over all of its pods.
 *
 * SipHash: Aumasson and Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, sections 2.2 to 2.4.
 */
#ifndef SHUNT_HASH_H
#define SHUNT_HASH_H

#include "shunt/abi.h"

#define SHUNT_ID_WORDS ((SHUNT_ID_MAX + 8) / 8)

/*
 * A user id. The bytes from len on are 0: the words of the hash are then plain loads of a fixed-size struct, which costs the verifier nothing and
 * needs no special case for the tail. SHUNT_ID_MAX is a multiple of 8 and one more word holds the tail of the longest id.
 */
struct shunt_id {
	__u8 len; /* 0..SHUNT_ID_MAX */
	__u8 pad[7];
	union {
		__u8 b[SHUNT_ID_MAX + 8];
		__u64 w[SHUNT_ID_WORDS];
	};
} __attribute__((aligned(8)));
SHUNT_ASSERT(struct shunt_id, 8 + SHUNT_ID_MAX + 8);
_Static_assert(SHUNT_ID_MAX % 8 == 0, "the tail of the longest id needs a word of its own");

/* A loop is worth its branches: sixteen copies of the compression are too much for the instruction cache (and gcc does not know the pragma). */
#ifdef __clang__
#define SHUNT_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define SHUNT_NO_UNROLL
#endif

static inline __attribute__((always_inline)) __u64 shunt_rotl(__u64 x, int bits)
{
	return (x << bits) | (x >> (64 - bits));
}

static inline __attribute__((always_inline)) void shunt_sipround(__u64 v[4])
{
	v[0] += v[1];
	v[2] += v[3];
	v[1] = shunt_rotl(v[1], 13) ^ v[0];
	v[3] = shunt_rotl(v[3], 16) ^ v[2];
	v[0] = shunt_rotl(v[0], 32);
	v[2] += v[1];
	v[0] += v[3];
	v[1] = shunt_rotl(v[1], 17) ^ v[2];
	v[3] = shunt_rotl(v[3], 21) ^ v[0];
	v[2] = shunt_rotl(v[2], 32);
}

/* SipHash-2-4 of id->b[0..len) under `key` (two little-endian words). Equal on machines of either byte order. */
static inline __attribute__((always_inline)) __u64 shunt_siphash(const __u64 key[2], const struct shunt_id *id)
{
	__u64 v[4] = {
		key[0] ^ 0x736f6d6570736575ull,
		key[1] ^ 0x646f72616e646f6dull,
		key[0] ^ 0x6c7967656e657261ull,
		key[1] ^ 0x7465646279746573ull,
	};
	__u32 last = id->len / 8u; /* the word with the tail, which also takes the length */

	/* A compiler that knows how long the id can be drops the loop's own bound, and the verifier, which does not know, refuses the program. */
	__asm__ volatile("" : "+r"(last));

	SHUNT_NO_UNROLL
	for (__u32 i = 0; i < SHUNT_ID_WORDS; i++) {
		__u64 word = id->w[i];

#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
		word = __builtin_bswap64(word);
#endif
		if (i == last)
			word |= (__u64)id->len << 56;
		v[3] ^= word;
		shunt_sipround(v);
		shunt_sipround(v);
		v[0] ^= word;
		if (i == last)
			break;
	}
	v[2] ^= 0xff;
	shunt_sipround(v);
	shunt_sipround(v);
	shunt_sipround(v);
	shunt_sipround(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The half of shunt_siphash() that shares are compared with. */
static inline __attribute__((always_inline)) __u32 shunt_split_hash(__u64 hash)
{
	return hash >> 32;
}

/*
 * The version of the first share whose end is above `hash`; SHUNT_NONE when no share is (a split with shares has 2^32 as its last end, so: an empty
 * table entry). Exact: of the 2^32 hashes a share takes end - previous end.
 */
static inline __attribute__((always_inline)) __u32 shunt_split_pick(const struct shunt_split *split, __u32 hash)
{
	SHUNT_NO_UNROLL
	for (__u32 i = 0; i < SHUNT_SHARES; i++) {
		if (i >= split->shares)
			break;
		if ((__u64)hash < split->share[i].end)
			return split->share[i].version;
	}
	return SHUNT_NONE;
}

/* The slot, 0..SHUNT_RING_SIZE-1. The remainder favours some slots by 1 in 2^32 / 4093, one millionth: less than the ring's own slot. */
static inline __attribute__((always_inline)) __u32 shunt_ring_slot(__u64 hash)
{
	return (__u32)hash % SHUNT_RING_SIZE;
}

#endif
