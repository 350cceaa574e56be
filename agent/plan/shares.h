/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How the hashes of users are divided among versions, and how that changes with the fewest users moving. Pure.
 *
 *     0         c1                                   c2     2^32
 *     ├─ c1 10 % ┼─ baseline 85 % ────────────────────┼─ c2 5 % ┤
 *                ╰──▶ c1 to 20 %: one end moves, c1 keeps all its users and c2 is not touched
 *
 * A change of weights moves exactly what the growing versions gain: no user goes from one version to another and no version loses users to make
 * room for its own (invariant 1). Ranges are therefore state, kept with the experiment, and not a function of the weights.
 */
#ifndef SHUNT_SHARES_H
#define SHUNT_SHARES_H

#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

#define SHARES_ALL (1ull << 32)

struct share {
	uint64_t end; /* of 2^32, above that of the share before; the last one's is 2^32 */
	int version;
};

struct shares {
	struct share items[SHUNT_SHARES];
	size_t count;
};

/* From nothing: the candidates in order from 0 on, the baseline (version 0) behind them. Weights are per cent with the sum 100. */
void shares_lay(struct shares *shares, const int *weights, size_t version_count);

/*
 * To other weights with the fewest users moving. Returns how many of the 2^32 hashes have another version now. When the ranges would become more
 * than a split holds they are laid anew, which moves more; the result says so.
 */
uint64_t shares_move(struct shares *shares, const int *weights, size_t version_count);

/* Hashes that have another version in one than in the other. */
uint64_t shares_difference(const struct shares *a, const struct shares *b);

/* Hashes of a version. */
uint64_t shares_of(const struct shares *shares, int version);

#endif
