/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/builtin.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"

#define MS 1000000ull

/*
 * 100 requests: 99 of 10 ms and one of 500 ms; two errors, one of which is a connection that ended early; five were refused. They are of 20 users, whose
 * first bytes came after 8 ms; 5 users made the 7 conversions.
 */
static struct series_numbers hundred_requests(void)
{
	struct series_numbers n = { .count = { .requests = 100, .errors = 2, .aborted = 1, .latency_count = 100, .status = { [4] = 5 } } };

	n.count.latency_sum_ns = 99 * 10 * MS + 500 * MS;
	n.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(10 * MS)] = 99;
	n.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(500 * MS)] = 1;
	n.count.ttfb_count = 100;
	n.count.ttfb_sum_ns = 100 * 8 * MS;
	n.latency[SHUNT_LATENCY_TTFB].slot[shunt_hist_slot(8 * MS)] = 100;
	n.count.users = 20;
	n.count.conversions = 7;
	return n;
}

static const struct user_sums twenty_users = { .users = 20, .sum = { [USER_REQUESTS] = 100, [USER_CONVERSIONS] = 7, [USER_CONVERTED] = 5 } };
static const struct user_sums nobody;

static const struct {
	const char *metric;
	double low, high; /* the value lies between, ends included */
	double sample;
	const char *none; /* of a window without requests: no value, and why; NULL: 0 */
} rows[] = {
#define NO_REQUEST "no request has reached the version since the experiment began"
	{ "request-count", 100, 100, 100, NULL },
	{ "error-count", 2, 2, 100, NULL },
	{ "connection-failures", 1, 1, 100, NULL },
	{ "error-rate", 0.02, 0.02, 100, NO_REQUEST },
	{ "user-count", 20, 20, 100, NULL },
	{ "conversion-count", 7, 7, 100, NULL },
	{ "conversion-rate", 0.25, 0.25, 20, "no user's request to the version is over yet" },
	{ "mean-latency", 14.9, 14.9, 100, NO_REQUEST },
	{ "50th-percentile-tail-latency", 9.4, 10.6, 100, NO_REQUEST },
	{ "75th-percentile-tail-latency", 9.4, 10.6, 100, NO_REQUEST },
	{ "90th-percentile-tail-latency", 9.4, 10.6, 100, NO_REQUEST },
	{ "95th-percentile-tail-latency", 9.4, 10.6, 100, NO_REQUEST },
	{ "99th-percentile-tail-latency", 9.4, 10.6, 100, NO_REQUEST },
	{ "99.9th-percentile-tail-latency", 469, 531, 100, NO_REQUEST },
	{ "mean-time-to-first-byte", 8, 8, 100, NO_REQUEST },
	{ "50th-percentile-time-to-first-byte", 7.5, 8.5, 100, NO_REQUEST },
	{ "95th-percentile-time-to-first-byte", 7.5, 8.5, 100, NO_REQUEST },
	{ "99.9th-percentile-time-to-first-byte", 7.5, 8.5, 100, NO_REQUEST },
	/* Iter8's own spelling (install/builtin-metrics/metrics.yaml) */
	{ "latency-50th-percentile", 9.4, 10.6, 100, NO_REQUEST },
	{ "latency-95th-percentile", 9.4, 10.6, 100, NO_REQUEST },
	{ "latency-99.9th-percentile", 469, 531, 100, NO_REQUEST },
};

static void every_metric_is_computed_from_the_counters(void **state)
{
	struct builtin_input input = { .window = hundred_requests(), .users = &twenty_users, .converts = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct builtin *builtin = builtin_find(rows[i].metric);
		struct reading reading = {};

		assert_non_null(builtin);
		builtin_read(builtin, &input, &reading);
		if (!reading.present || reading.value < rows[i].low || reading.value > rows[i].high || reading.sample != rows[i].sample)
			fail_msg("%s is %g, of %g", rows[i].metric, reading.value, reading.sample);
	}
	assert_null(builtin_find("latency"));
}

static void of_no_requests_there_are_counts_but_no_rates(void **state)
{
	struct builtin_input input = { .users = &nobody, .converts = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reading reading = {};

		builtin_read(builtin_find(rows[i].metric), &input, &reading);
		assert_int_equal(reading.present, !rows[i].none);
		if (rows[i].none)
			assert_string_equal(reading.problem, rows[i].none);
		else
			assert_true(reading.value == 0);
		free(reading.problem);
	}
}

static void expect_problem(const struct builtin_input *input, const char *metric, const char *problem)
{
	struct reading reading = {};

	builtin_read(builtin_find(metric), input, &reading);
	assert_false(reading.present);
	assert_string_equal(reading.problem, problem);
	free(reading.problem);
}

static void requests_without_whole_responses_have_no_latency(void **state)
{
	struct builtin_input input = { .window = { .count = { .requests = 3 } } };

	(void)state;
	expect_problem(&input, "mean-latency", "none of its 3 requests has a whole response yet");
	expect_problem(&input, "mean-time-to-first-byte", "none of its 3 requests has the first byte of a response yet");
}

static void users_and_conversions_need_an_experiment_that_asks_for_them(void **state)
{
	struct builtin_input input = { .window = hundred_requests(), .users = &twenty_users };

	(void)state;
	expect_problem(&input, "conversion-rate",
		       "the experiment does not say what a conversion is: annotation shunt.dev/conversion, such as \"POST /checkout 2xx\"");
	input.converts = true;
	input.users = NULL;
	expect_problem(&input, "conversion-count", "conversions are counted only while the experiment divides the users of one route");
	expect_problem(&input, "user-count", "users are told apart only while the experiment divides those of one route");
}

static void refusals_are_errors_when_the_experiment_says_so(void **state)
{
	struct builtin_input input = { .window = hundred_requests() };
	struct reading reading = {};

	(void)state;
	builtin_count_refusals(&input.window);
	builtin_read(builtin_find("error-rate"), &input, &reading);
	assert_true(reading.value == 0.07);
}

static void a_window_is_what_was_added_since_the_base(void **state)
{
	struct series_numbers base = hundred_requests(), now = hundred_requests();
	struct builtin_input input = {};
	struct reading reading = {};

	(void)state;
	now.count.requests += 10;
	now.count.latency_count += 10;
	now.count.latency_sum_ns += 10 * 30 * MS;
	now.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(30 * MS)] += 10;
	assert_true(builtin_window(&now, &base, &input.window));
	assert_int_equal(input.window.count.requests, 10);
	assert_int_equal(input.window.count.errors, 0);
	builtin_read(builtin_find("mean-latency"), &input, &reading);
	assert_true(reading.value == 30);
	builtin_read(builtin_find("50th-percentile-tail-latency"), &input, &reading);
	assert_true(reading.value > 28 && reading.value < 32);
}

static void counters_that_began_anew_are_taken_whole(void **state)
{
	struct series_numbers base = hundred_requests(), now = { .count = { .requests = 7 } }, window;

	(void)state;
	assert_false(builtin_window(&now, &base, &window));
	assert_int_equal(window.count.requests, 7);
}

static void a_base_survives_the_status_file(void **state)
{
	struct series_numbers base = hundred_requests(), back;
	_cleanup_json_ json_t *json = builtin_base_to_json(&base);

	(void)state;
	assert_int_equal(json_object_size(json), 1 + 10 + 3); /* only what is not zero */
	assert_int_equal(builtin_base_from_json(json, &back), 0);
	assert_memory_equal(&back, &base, sizeof(base));
}

static void a_base_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *json;
		int r;
	} bad[] = {
		{ "{}", -EPROTO },
		{ "{\"schema\": 99}", -EPROTO },
		{ "{\"schema\": 1, \"100000\": 1}", -EINVAL },
		{ "{\"schema\": 1, \"x\": 1}", -EINVAL },
		{ "{\"schema\": 1, \"0\": -1}", -EINVAL },
		{ "{\"schema\": 1, \"0\": \"1\"}", -EINVAL },
	};
	struct series_numbers back;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_json_ json_t *json = json_loads(bad[i].json, 0, NULL);

		if (SHUNT_SCHEMA != 1 && bad[i].r == -EINVAL)
			json_object_set_new(json, "schema", json_integer(SHUNT_SCHEMA));
		assert_int_equal(builtin_base_from_json(json, &back), bad[i].r);
	}
}

static void all_names_are_listed_for_messages(void **state)
{
	_cleanup_free_ char *names = builtin_names();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct builtin *builtin = builtin_find(rows[i].metric);

		if (!builtin->quantile)
			assert_non_null(strstr(names, builtin->name));
	}
	assert_non_null(strstr(names, "<N>th-percentile-time-to-first-byte with <N> one of 50 75 90 95 99 99.9"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_is_computed_from_the_counters),
		cmocka_unit_test(of_no_requests_there_are_counts_but_no_rates),
		cmocka_unit_test(requests_without_whole_responses_have_no_latency),
		cmocka_unit_test(users_and_conversions_need_an_experiment_that_asks_for_them),
		cmocka_unit_test(refusals_are_errors_when_the_experiment_says_so),
		cmocka_unit_test(a_window_is_what_was_added_since_the_base),
		cmocka_unit_test(counters_that_began_anew_are_taken_whole),
		cmocka_unit_test(a_base_survives_the_status_file),
		cmocka_unit_test(a_base_that_makes_no_sense_is_refused),
		cmocka_unit_test(all_names_are_listed_for_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
