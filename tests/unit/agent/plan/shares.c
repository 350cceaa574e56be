/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who moves when weights change: as many as must, and nobody from a version that grows. */
#include "plan/shares.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PERCENT(n) ((uint64_t)(n) * SHARES_ALL / 100)
#define VERSIONS 4

static int version_at(const struct shares *shares, uint64_t hash)
{
	size_t i = 0;

	while (hash >= shares->items[i].end)
		i++;
	return shares->items[i].version;
}

static void assert_whole(const struct shares *shares)
{
	uint64_t start = 0;

	assert_in_range(shares->count, 1, SHUNT_SHARES);
	for (size_t i = 0; i < shares->count; i++) {
		assert_true(shares->items[i].end > start);
		start = shares->items[i].end;
	}
	assert_true(start == SHARES_ALL);
}

/* Moves, and checks what every move has to hold: the weights are reached, and just those move who must. */
static uint64_t move(struct shares *shares, const int weights[VERSIONS])
{
	struct shares before = *shares;
	uint64_t moved = shares_move(shares, weights, VERSIONS), gained = 0;

	assert_whole(shares);
	for (int v = 0; v < VERSIONS; v++) {
		uint64_t had = shares_of(&before, v), has = shares_of(shares, v);

		assert_in_range(has + 1, PERCENT(weights[v]), PERCENT(weights[v]) + 2);
		gained += has > had ? has - had : 0;
	}
	assert_true(moved == gained);
	assert_true(moved == shares_difference(&before, shares));
	for (uint64_t hash = 0; hash < SHARES_ALL; hash += SHARES_ALL / 4093) {
		int from = version_at(&before, hash), to = version_at(shares, hash);

		if (from != to) /* nobody leaves a version that grows, nobody comes to one that shrinks */
			assert_true(shares_of(&before, from) > shares_of(shares, from) && shares_of(&before, to) < shares_of(shares, to));
	}
	return moved;
}

static void the_candidates_come_first_and_the_baseline_last(void **state)
{
	const int weights[VERSIONS] = { 60, 30, 0, 10 };
	struct shares shares;

	(void)state;
	shares_lay(&shares, weights, VERSIONS);
	assert_whole(&shares);
	assert_int_equal(shares.count, 3);
	assert_int_equal(version_at(&shares, 0), 1);
	assert_int_equal(version_at(&shares, PERCENT(35)), 3);
	assert_int_equal(version_at(&shares, PERCENT(41)), 0);
}

static void a_ramp_moves_users_one_way_only(void **state)
{
	static const int ramp[] = { 1, 5, 20, 50, 100 };
	struct shares shares, first;
	int weights[VERSIONS] = { 100 }, last = 0;

	(void)state;
	shares_lay(&shares, weights, VERSIONS);
	for (size_t i = 0; i < sizeof(ramp) / sizeof(*ramp); i++) {
		first = shares;
		weights[0] = 100 - ramp[i];
		weights[1] = ramp[i];
		assert_in_range(move(&shares, weights) + 1, PERCENT(ramp[i] - last), PERCENT(ramp[i] - last) + 2);
		for (uint64_t hash = 0; hash < PERCENT(last); hash += PERCENT(1) / 7)
			assert_true(version_at(&first, hash) == 0 || version_at(&shares, hash) == 1);
		last = ramp[i];
	}
}

/* Iter8's weights fall without bound when the winner changes; who comes back to the candidate later is who was there before. */
static void users_who_left_a_candidate_are_the_first_to_come_back(void **state)
{
	static const int steps[][VERSIONS] = { { 60, 40 }, { 95, 5 }, { 85, 15 }, { 60, 40 } };
	struct shares shares, at_first;

	(void)state;
	shares_lay(&shares, steps[0], VERSIONS);
	at_first = shares;
	for (size_t i = 1; i < sizeof(steps) / sizeof(*steps); i++)
		move(&shares, steps[i]);
	assert_true(shares_difference(&at_first, &shares) == 0);
}

static void two_candidates_grow_from_both_ends_of_the_baseline(void **state)
{
	static const int steps[][VERSIONS] = { { 87, 10, 3 }, { 77, 20, 3 }, { 67, 30, 3 }, { 64, 30, 6 }, { 50, 35, 15 }, { 82, 3, 15 } };
	const int start[VERSIONS] = { 100 };
	struct shares shares;

	(void)state;
	shares_lay(&shares, start, VERSIONS);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++)
		move(&shares, steps[i]);
	assert_int_equal(shares.count, 3);
}

/* A thousand changes at random: the least move every time as long as a split has room for the ranges, and always the right weights. */
static void any_sequence_of_weights_is_reached(void **state)
{
	const int start[VERSIONS] = { 100 };
	struct shares shares;
	int anew = 0;

	(void)state;
	srand(7);
	shares_lay(&shares, start, VERSIONS);
	for (int n = 0; n < 1000; n++) {
		int weights[VERSIONS] = {};
		struct shares before = shares;
		uint64_t gained = 0;

		for (int i = 0; i < 100; i++)
			weights[rand() % VERSIONS]++;
		if (n % 10 == 0)
			weights[0] += weights[1], weights[1] = 0;
		shares_move(&shares, weights, VERSIONS);
		assert_whole(&shares);
		for (int v = 0; v < VERSIONS; v++) {
			uint64_t had = shares_of(&before, v), has = shares_of(&shares, v);

			assert_in_range(has + 1, PERCENT(weights[v]), PERCENT(weights[v]) + 2);
			gained += has > had ? has - had : 0;
		}
		anew += shares_difference(&before, &shares) != gained;
	}
	assert_in_range(anew, 0, 400);
}

static void ranges_that_would_become_too_many_are_laid_anew(void **state)
{
	const int weights[] = { 20, 20, 20, 40 };
	struct shares shares = { .count = SHUNT_SHARES };
	uint64_t moved;

	(void)state;
	for (int i = 0; i < SHUNT_SHARES; i++) /* 0 1 0 1 0 1 ..: a version in between needs two more ranges */
		shares.items[i] = (struct share){ SHARES_ALL / SHUNT_SHARES * (uint64_t)(i + 1), i % 2 };
	moved = shares_move(&shares, weights, VERSIONS);
	assert_whole(&shares);
	assert_true(moved > PERCENT(60) - 3);
	for (int v = 0; v < VERSIONS; v++)
		assert_in_range(shares_of(&shares, v) + 1, PERCENT(weights[v]), PERCENT(weights[v]) + 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_candidates_come_first_and_the_baseline_last),
		cmocka_unit_test(a_ramp_moves_users_one_way_only),
		cmocka_unit_test(users_who_left_a_candidate_are_the_first_to_come_back),
		cmocka_unit_test(two_candidates_grow_from_both_ends_of_the_baseline),
		cmocka_unit_test(any_sequence_of_weights_is_reached),
		cmocka_unit_test(ranges_that_would_become_too_many_are_laid_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
