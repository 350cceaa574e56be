/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "shunt/histogram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void log2_finds_every_bit(void **state)
{
	(void)state;
	assert_int_equal(shunt_log2(0), 0);
	for (uint32_t bit = 0; bit < 64; bit++) {
		assert_int_equal(shunt_log2(1ull << bit), bit);
		assert_int_equal(shunt_log2((1ull << bit) | ((1ull << bit) - 1)), bit);
	}
}

static void known_durations_have_known_buckets(void **state)
{
	static const struct {
		uint64_t ns;
		uint32_t slot;
	} cases[] = {
		{ 0, 0 },           { 1023, 0 },         { 1024, 1 },           { 15 * 1024, 15 },     { 16 * 1024, 16 },
		{ 31 * 1024, 31 },  { 32 * 1024, 32 },   { 33 * 1024, 32 },     { 34 * 1024, 33 },     { 63 * 1024 + 1023, 47 },
		{ 64 * 1024, 48 },  { 1000000, 110 },    { 1000000000, 269 },   { 10000000000, 322 },  { (31ull << 32) - 1, 382 },
		{ 31ull << 32, 383 }, { 1ull << 40, 383 }, { UINT64_MAX, 383 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(shunt_hist_slot(cases[i].ns), cases[i].slot);
}

static void every_bound_lies_in_its_own_bucket_and_the_buckets_leave_no_gap(void **state)
{
	(void)state;
	assert_int_equal(shunt_hist_low(0), 0);
	for (uint32_t slot = 0; slot < SHUNT_HIST_SLOTS; slot++) {
		assert_true(shunt_hist_low(slot) < shunt_hist_high(slot));
		assert_int_equal(shunt_hist_slot(shunt_hist_low(slot)), slot);
		assert_int_equal(shunt_hist_slot(shunt_hist_high(slot) - 1), slot);
		if (slot + 1 < SHUNT_HIST_SLOTS)
			assert_int_equal(shunt_hist_slot(shunt_hist_high(slot)), slot + 1);
	}
}

static void a_bucket_above_16_units_is_at_most_a_sixteenth_wide(void **state)
{
	(void)state;
	for (uint32_t slot = 16; slot < SHUNT_HIST_SLOTS; slot++)
		assert_true((shunt_hist_high(slot) - shunt_hist_low(slot)) * 16 <= shunt_hist_low(slot));
}

static void an_empty_histogram_has_no_quantile(void **state)
{
	static const __u64 slots[SHUNT_HIST_SLOTS];
	struct shunt_quantile q = shunt_hist_quantile(slots, 0.5);

	(void)state;
	assert_true(q.low_ns == 0 && q.high_ns == 0 && q.mid_ns == 0);
}

static void the_only_value_is_every_quantile(void **state)
{
	static const double qs[] = { 0, 0.5, 0.95, 1 };
	__u64 slots[SHUNT_HIST_SLOTS] = {};

	(void)state;
	slots[shunt_hist_slot(5000000)] = 1;
	for (size_t i = 0; i < ARRAY_SIZE(qs); i++) {
		struct shunt_quantile q = shunt_hist_quantile(slots, qs[i]);

		assert_true(q.low_ns <= 5000000 && 5000000 < q.high_ns);
		assert_true(q.mid_ns == (q.low_ns + q.high_ns) / 2.0);
	}
}

/* 1..10,000 in steps of 0.1 ms: the value of rank r is r * 0.1 ms, which the band must hold and the interpolation come near. */
static void the_band_holds_the_exact_quantile(void **state)
{
	static const double qs[] = { 0.001, 0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1 };
	__u64 slots[SHUNT_HIST_SLOTS] = {};

	(void)state;
	for (uint32_t i = 1; i <= 10000; i++)
		slots[shunt_hist_slot(i * 100000ull)]++;
	for (size_t i = 0; i < ARRAY_SIZE(qs); i++) {
		double exact = qs[i] * 10000 * 100000;
		struct shunt_quantile q = shunt_hist_quantile(slots, qs[i]);

		assert_true(q.low_ns <= exact + 0.5 && exact - 0.5 < q.high_ns);
		assert_true(q.mid_ns >= q.low_ns && q.mid_ns <= q.high_ns);
	}
	assert_true(shunt_hist_quantile(slots, 0.5).mid_ns > 499e6 && shunt_hist_quantile(slots, 0.5).mid_ns < 501e6);
}

static void a_value_beyond_the_last_bound_has_an_open_band(void **state)
{
	__u64 slots[SHUNT_HIST_SLOTS] = {};
	struct shunt_quantile q;

	(void)state;
	slots[shunt_hist_slot(UINT64_MAX)] = 1;
	q = shunt_hist_quantile(slots, 0.99);
	assert_true(q.low_ns == 31ull << 32 && q.high_ns == UINT64_MAX && q.mid_ns == (double)q.low_ns);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(log2_finds_every_bit),
		cmocka_unit_test(known_durations_have_known_buckets),
		cmocka_unit_test(every_bound_lies_in_its_own_bucket_and_the_buckets_leave_no_gap),
		cmocka_unit_test(a_bucket_above_16_units_is_at_most_a_sixteenth_wide),
		cmocka_unit_test(an_empty_histogram_has_no_quantile),
		cmocka_unit_test(the_only_value_is_every_quantile),
		cmocka_unit_test(the_band_holds_the_exact_quantile),
		cmocka_unit_test(a_value_beyond_the_last_bound_has_an_open_band),
	};

	return cmocka_run_group_tests_name("include/shunt/histogram.h", tests, NULL, NULL);
}
