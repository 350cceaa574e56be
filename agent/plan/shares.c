/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/shares.h"

#include <stdbool.h>
#include <string.h>

static uint64_t start_of(const struct shares *shares, size_t i)
{
	return i ? shares->items[i - 1].end : 0;
}

static uint64_t size_of(const struct shares *shares, size_t i)
{
	return shares->items[i].end - start_of(shares, i);
}

uint64_t shares_of(const struct shares *shares, int version)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < shares->count; i++)
		if (shares->items[i].version == version)
			sum += size_of(shares, i);
	return sum;
}

uint64_t shares_difference(const struct shares *a, const struct shares *b)
{
	uint64_t at = 0, different = 0;

	for (size_t i = 0, j = 0; i < a->count && j < b->count;) {
		uint64_t end = a->items[i].end < b->items[j].end ? a->items[i].end : b->items[j].end;

		if (a->items[i].version != b->items[j].version)
			different += end - at;
		at = end;
		i += a->items[i].end == end;
		j += b->items[j].end == end;
	}
	return different;
}

/* What a version is to have. Sums of the rounded parts are exact because each is the difference of two rounded sums. */
static uint64_t target_of(const int *weights, size_t version)
{
	uint64_t before = 0;

	for (size_t v = 0; v < version; v++)
		before += (uint64_t)weights[v];
	return (before + (uint64_t)weights[version]) * SHARES_ALL / 100 - before * SHARES_ALL / 100;
}

void shares_lay(struct shares *shares, const int *weights, size_t version_count)
{
	uint64_t end = 0;

	shares->count = 0;
	for (size_t n = 1; n <= version_count; n++) {
		size_t version = n % version_count; /* the baseline last */

		end += target_of(weights, version);
		if (weights[version] && shares->count < SHUNT_SHARES)
			shares->items[shares->count++] = (struct share){ end, (int)version };
	}
	if (shares->count)
		shares->items[shares->count - 1].end = SHARES_ALL;
}

/* ---- moving ---- */

static bool insert(struct shares *shares, size_t at, uint64_t end, int version)
{
	if (shares->count == SHUNT_SHARES)
		return false;
	memmove(&shares->items[at + 1], &shares->items[at], (shares->count - at) * sizeof(shares->items[0]));
	shares->items[at] = (struct share){ end, version };
	shares->count++;
	return true;
}

/* Drops ranges that have become empty and joins neighbours of one version. */
static void tidy(struct shares *shares)
{
	size_t kept = 0;
	uint64_t start = 0;

	for (size_t i = 0; i < shares->count; i++) {
		struct share share = shares->items[i];

		if (share.end == start)
			continue;
		start = share.end;
		if (kept && shares->items[kept - 1].version == share.version)
			shares->items[kept - 1].end = share.end;
		else
			shares->items[kept++] = share;
	}
	shares->count = kept;
}

/* What a version still has to gain (above 0) or to give. */
static int64_t missing(const struct shares *shares, const int *weights, size_t version_count, int version)
{
	uint64_t target = (size_t)version < version_count ? target_of(weights, (size_t)version) : 0;

	return (int64_t)target - (int64_t)shares_of(shares, version);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Moves the border of two neighbours of which one is to grow and the other to shrink. false: there are none. */
static bool move_border(struct shares *shares, const int *weights, size_t version_count)
{
	for (size_t i = 0; i + 1 < shares->count; i++) {
		int64_t left = missing(shares, weights, version_count, shares->items[i].version);
		int64_t right = missing(shares, weights, version_count, shares->items[i + 1].version);

		if (left > 0 && right < 0)
			shares->items[i].end += smaller(smaller((uint64_t)left, (uint64_t)-right), size_of(shares, i + 1));
		else if (left < 0 && right > 0)
			shares->items[i].end -= smaller(smaller((uint64_t)-left, (uint64_t)right), size_of(shares, i));
		else
			continue;
		tidy(shares);
		return true;
	}
	return false;
}

/* The largest range whose version is to shrink; count: none is. */
static size_t find_giver(const struct shares *shares, const int *weights, size_t version_count)
{
	size_t found = shares->count;

	for (size_t i = 0; i < shares->count; i++) {
		if (missing(shares, weights, version_count, shares->items[i].version) >= 0)
			continue;
		if (found == shares->count || size_of(shares, i) > size_of(shares, found))
			found = i;
	}
	return found;
}

/*
 * A range of its own for a version that borders on nobody who gives: at an outer end of the giver, where one is free, else in its middle. So the
 * giver keeps bordering on the others that grow from it, and later steps only move borders. false: no room.
 */
static bool carve(struct shares *shares, size_t giver, uint64_t amount, int version)
{
	uint64_t start = start_of(shares, giver), end = shares->items[giver].end, from;
	int given = shares->items[giver].version;

	if (start == 0)
		return insert(shares, giver, amount, version);
	if (end == SHARES_ALL) {
		shares->items[giver].end = end - amount;
		return insert(shares, giver + 1, SHARES_ALL, version);
	}
	from = start + (end - start - amount) / 2;
	if (shares->count + 2 > SHUNT_SHARES)
		return false;
	return insert(shares, giver, from, given) && insert(shares, giver + 1, from + amount, version);
}

static bool carve_next(struct shares *shares, const int *weights, size_t version_count)
{
	for (size_t v = 0; v < version_count; v++) {
		int64_t grow = missing(shares, weights, version_count, (int)v);
		size_t giver = find_giver(shares, weights, version_count);
		uint64_t give;
		bool ok;

		if (grow <= 0 || giver == shares->count)
			continue;
		give = smaller((uint64_t)-missing(shares, weights, version_count, shares->items[giver].version), size_of(shares, giver));
		ok = carve(shares, giver, smaller((uint64_t)grow, give), (int)v);
		tidy(shares);
		return ok;
	}
	return false;
}

static bool is_reached(const struct shares *shares, const int *weights, size_t version_count)
{
	for (size_t v = 0; v < version_count; v++)
		if (missing(shares, weights, version_count, (int)v))
			return false;
	return true;
}

uint64_t shares_move(struct shares *shares, const int *weights, size_t version_count)
{
	const struct shares before = *shares;

	while (move_border(shares, weights, version_count) || carve_next(shares, weights, version_count))
		;
	if (!is_reached(shares, weights, version_count))
		shares_lay(shares, weights, version_count);
	return before.count ? shares_difference(&before, shares) : 0;
}
