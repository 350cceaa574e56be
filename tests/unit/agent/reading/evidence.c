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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(users_are_added_with_their_products),
		cmocka_unit_test(counters_are_users_with_one_request_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
