/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Evidence: what is summed of users, and what the counters alone give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "reading/evidence.h"
#include "shunt/histogram.h"

static void users_are_added_with_their_products(void **state)
{
	const double alice[QUANTITY_MAX] = { 1, 3, 1, 2, 50, 1 }, bob[QUANTITY_MAX] = { 1, 4, 0, 4, 20, 0 };
	struct evidence evidence = {};

	(void)state;
	evidence_add(&evidence, alice);
	evidence_add(&evidence, bob);
	assert_true(evidence.sum[QUANTITY_UNITS] == 2);
	assert_true(evidence.sum[QUANTITY_REQUESTS] == 7);
	assert_true(evidence.sum[QUANTITY_LATENCY_MS] == 70);
	assert_true(evidence.product[QUANTITY_REQUESTS][QUANTITY_REQUESTS] == 9 + 16);
	assert_true(evidence.product[QUANTITY_REQUESTS][QUANTITY_ERRORS] == 3);
	assert_true(evidence.product[QUANTITY_RESPONSES][QUANTITY_LATENCY_MS] == 100 + 80);
	assert_true(evidence.product[QUANTITY_UNITS][QUANTITY_LATENCY_MS] == 70);
}

/* Of 10 requests 2 failed and 8 have a latency: 4 of 1 ms, 4 of 3 ms. */
static void counters_are_users_with_one_request_each(void **state)
{
	struct series_numbers window = {
		.count = { .requests = 10, .errors = 2, .latency_count = 8, .latency_sum_ns = 16000000, .latency_sumsq_us2 = 4000000 + 36000000 },
	};
	struct evidence by_request, by_hand = {};

	(void)state;
	window.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(1000000)] = 4;
	window.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(3000000)] = 4;
	evidence_from_counters(&window, &by_request);
	for (int i = 0; i < 4; i++) {
		evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 1, 0, 1, 1 });
		evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 1, 0, 1, 3 });
	}
	evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 1, 1, 0, 0 });
	evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 1, 1, 0, 0 });

	assert_true(by_request.present);
	assert_int_equal(by_request.unit, UNIT_REQUEST);
	for (int i = 0; i < QUANTITY_MAX; i++) {
		assert_float_equal(by_request.sum[i], by_hand.sum[i], 1e-9);
		for (int j = 0; j < QUANTITY_MAX; j++)
			assert_float_equal(by_request.product[i][j], by_hand.product[i][j], 1e-9);
	}
	assert_true(by_request.latency[shunt_hist_slot(1000000)] == 4);
}

static void users_of_the_kernel_become_evidence(void **state)
{
	static const struct shunt_user alice = { .latency_us = 50000, .requests = 3, .timed = 2, .errors = 1, .refusals = 1, .conversions = 2 };
	static const struct shunt_user bob = { .latency_us = 20000, .requests = 4, .timed = 4 };
	static const struct series_numbers window = { .latency[SHUNT_LATENCY_TOTAL].slot[9] = 6 };
	struct evidence evidence, by_hand = {};
	struct user_sums sums = {};

	(void)state;
	user_sums_add(&sums, &alice);
	user_sums_add(&sums, &bob);
	for (int refusals = 0; refusals < 2; refusals++) {
		by_hand = (struct evidence){};
		evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 3, 1 + refusals, 2, 50, 1 });
		evidence_add(&by_hand, (const double[QUANTITY_MAX]){ 1, 4, 0, 4, 20, 0 });
		evidence_from_users(&sums, 3, &window, &evidence);
		assert_true(evidence.present && evidence.unit == UNIT_USER && evidence.lost == 3 && evidence.latency[9] == 6);
		assert_memory_equal(evidence.sum, by_hand.sum, sizeof(by_hand.sum));
		assert_memory_equal(evidence.product, by_hand.product, sizeof(by_hand.product));
		user_sums_count_refusals(&sums);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_are_added_with_their_products),
		cmocka_unit_test(counters_are_users_with_one_request_each),
		cmocka_unit_test(users_of_the_kernel_become_evidence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
