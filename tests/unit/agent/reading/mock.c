/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/mock.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static char ns[] = "default", name[] = "engagement", v1[] = "flowers-v1", v2[] = "flowers-v2";
static struct metric_mock mocks[] = { { v1, 15 }, { v2, 20 } };

static struct metric metric_of(enum metric_type type)
{
	return (struct metric){ .meta = { .ns = ns, .name = name }, .type = type, .mocks = mocks, .mock_count = 2 };
}

/* The numbers of a small linear generator (Numerical Recipes): the same on every run. */
static double next_uniform(void *arg)
{
	unsigned int *seed = arg;

	*seed = *seed * 1664525u + 1013904223u;
	return (*seed + 0.5) / 4294967296.0;
}

static void a_counter_grows_with_the_seconds(void **state)
{
	struct metric counter = metric_of(METRIC_COUNTER);
	struct reading reading = {};
	unsigned int seed = 1;

	(void)state;
	mock_read(&counter, "flowers-v2", 7, &(struct mock_random){ next_uniform, &seed }, &reading);
	assert_true(reading.present && reading.value == 140);
}

/* Beta(a, a) has mean 1/2 and variance 1 / (4 * (2a + 1)). */
static void a_gauge_has_the_mean_and_variance_of_its_beta(void **state)
{
	struct metric gauge = metric_of(METRIC_GAUGE);
	unsigned int seed = 2026;

	(void)state;
	for (int elapsed = 1; elapsed <= 100; elapsed *= 10) {
		double sum = 0, squares = 0, mean, variance, want = 30 * 30 / (4.0 * (2 * elapsed + 1));
		const int n = 20000;

		for (int i = 0; i < n; i++) {
			struct reading reading = {};

			mock_read(&gauge, "flowers-v1", elapsed, &(struct mock_random){ next_uniform, &seed }, &reading);
			assert_true(reading.present && reading.value >= 0 && reading.value <= 30);
			sum += reading.value;
			squares += reading.value * reading.value;
		}
		mean = sum / n;
		variance = squares / n - mean * mean;
		assert_true(fabs(mean - 15) < 5 * sqrt(want / n));
		assert_true(fabs(variance / want - 1) < 0.06);
	}
}

static void a_version_without_a_mock_is_a_problem(void **state)
{
	struct metric gauge = metric_of(METRIC_GAUGE);
	struct reading reading = {};
	unsigned int seed = 1;

	(void)state;
	mock_read(&gauge, "flowers-v3", 7, &(struct mock_random){ next_uniform, &seed }, &reading);
	assert_false(reading.present);
	assert_string_equal(reading.problem, "Metric default/engagement mocks no version flowers-v3; spec.mock has to name it");
	free(reading.problem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_counter_grows_with_the_seconds),
		cmocka_unit_test(a_gauge_has_the_mean_and_variance_of_its_beta),
		cmocka_unit_test(a_version_without_a_mock_is_a_problem),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
