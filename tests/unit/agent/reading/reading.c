/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/reading.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "reading/builtin.h"
#include "util/cleanup.h"

#define METRIC(space, label, by) \
	{ .meta = { .ns = (char *)space, .name = (char *)label }, .description = (char *)"", .units = (char *)"", .provider = (char *)by, .url = (char *)"http://h/", .jq = (char *)"." }

static struct metric_mock mock = { (char *)"v1", 1 };
static struct metric metrics[] = {
	METRIC("iter8-kfserving", "mean-latency", "prometheus"),
	METRIC("iter8-kfserving", "user-engagement", "newrelic"),
	METRIC("iter8-system", "error-rate", "iter8"),
	METRIC("default", "mocked", ""),
	METRIC("default", "error-count", "shunt"),
	METRIC("default", "nothing", "shunt"),
};
static struct world world = { .metrics = metrics, .metric_count = ARRAY_SIZE(metrics) };

static const struct {
	const char *reference;
	enum metric_source source;
	bool object;
	const char *builtin;
} rows[] = {
	{ "iter8-kfserving/mean-latency", METRIC_HTTP, true, NULL },              /* the object goes before the built-in */
	{ "iter8-kfserving/request-count", METRIC_BUILTIN, false, "request-count" },
	{ "iter8-kfserving/95th-percentile-tail-latency", METRIC_BUILTIN, false, "95th-percentile-tail-latency" },
	{ "shunt/mean-latency", METRIC_BUILTIN, false, "mean-latency" },
	{ "mean-latency", METRIC_BUILTIN, false, "mean-latency" },                /* that object is in another namespace */
	{ "mocked", METRIC_MOCK, true, NULL },
	{ "default/mocked", METRIC_MOCK, true, NULL },
	{ "iter8-system/error-rate", METRIC_BUILTIN, true, "error-rate" },        /* provider iter8 stands for the built-in */
	{ "error-count", METRIC_BUILTIN, true, "error-count" },
	{ "nothing", METRIC_UNKNOWN, true, NULL },
	{ "iter8-kfserving/nonsense", METRIC_UNKNOWN, false, NULL },
	{ "", METRIC_UNKNOWN, false, NULL },
};

static void t7_a_reference_of_either_spelling_means_the_object_else_the_built_in_of_its_base_name(void **state)
{
	(void)state;
	metrics[3].mocks = &mock;
	metrics[3].mock_count = 1;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metric_origin origin = metric_resolve(&world, "default", rows[i].reference);

		assert_int_equal(origin.source, rows[i].source);
		assert_int_equal(origin.object != NULL, rows[i].object);
		if (rows[i].builtin)
			assert_string_equal(origin.builtin->name, rows[i].builtin);
		else
			assert_null(origin.builtin);
	}
}

static struct version_detail versions[] = { { .name = (char *)"v1" }, { .name = (char *)"v2" } };

static void t21_metrics_are_read_once_each_and_in_a_fixed_order(void **state)
{
	static const char *const want[] = { "r/count", "r/reward", "r/indicator", "r/slo", "iter8-kfserving/sample" };
	struct metric sampled = METRIC("r", "slo", "x");
	struct world w = { .metrics = &sampled, .metric_count = 1 };
	struct reward rewards[] = { { (char *)"r/reward", true } };
	char *indicators[] = { (char *)"r/indicator", (char *)"r/count" };
	struct objective objectives[] = { { .metric = (char *)"r/slo" }, { .metric = (char *)"r/reward" } };
	struct experiment e = {
		.meta = { .ns = (char *)"default", .name = (char *)"e" }, .request_count = (char *)"r/count", .rewards = rewards, .reward_count = 1,
		.indicators = indicators, .indicator_count = 2, .objectives = objectives, .objective_count = 2, .versions = versions, .version_count = 2,
	};
	_cleanup_(readings_free) struct readings *readings = NULL;

	(void)state;
	sampled.sample_size = (char *)"iter8-kfserving/sample";
	assert_int_equal(readings_new(&w, &e, &readings), 0);
	assert_int_equal(readings->metric_count, ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(readings->metrics[i], want[i]);

	reading_set(readings_at(readings, "r/slo", 1), 5);
	reading_set(readings_at(readings, "iter8-kfserving/sample", 1), 700);
	readings_join_samples(&w, &e, readings);
	assert_true(readings_at(readings, "r/slo", 1)->has_sample);
	assert_true(readings_at(readings, "r/slo", 1)->sample == 700);
	assert_false(readings_at(readings, "r/slo", 0)->has_sample); /* has no value */
	assert_null(readings_at(readings, "r/other", 0));
}

static void t20_only_finite_numbers_are_values(void **state)
{
	static const struct {
		double value;
		const char *problem;
	} numbers[] = { { 0, NULL }, { -1e300, NULL }, { NAN, "the value is NaN, not a finite number" }, { INFINITY, "the value is infinite, not a finite number" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct reading reading = {};

		reading_set(&reading, numbers[i].value);
		assert_int_equal(reading.present, numbers[i].problem == NULL);
		if (numbers[i].problem)
			assert_string_equal(reading.problem, numbers[i].problem);
		free(reading.problem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(t7_a_reference_of_either_spelling_means_the_object_else_the_built_in_of_its_base_name),
		cmocka_unit_test(t21_metrics_are_read_once_each_and_in_a_fixed_order),
		cmocka_unit_test(t20_only_finite_numbers_are_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
