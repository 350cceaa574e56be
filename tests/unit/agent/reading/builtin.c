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

/* 100 requests: 99 of 10 ms and one of 500 ms; two errors, one of which is a connection that ended early. */
static struct series_numbers hundred_requests(void)
{
	struct series_numbers n = { .count = { .requests = 100, .errors = 2, .aborted = 1, .latency_count = 100 } };

	n.count.latency_sum_ns = 99 * 10 * MS + 500 * MS;
	n.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(10 * MS)] = 99;
	n.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(500 * MS)] = 1;
	return n;
}

static const struct {
	const char *metric;
	double low, high; /* the value lies between, ends included */
	bool none;        /* of a window without requests: no value */
} rows[] = {
	{ "request-count", 100, 100, false },
	{ "error-count", 2, 2, false },
	{ "connection-failures", 1, 1, false },
	{ "error-rate", 0.02, 0.02, true },
	{ "mean-latency", 14.9, 14.9, true },
	{ "50th-percentile-tail-latency", 9.4, 10.6, true },
	{ "75th-percentile-tail-latency", 9.4, 10.6, true },
	{ "90th-percentile-tail-latency", 9.4, 10.6, true },
	{ "95th-percentile-tail-latency", 9.4, 10.6, true },
	{ "99th-percentile-tail-latency", 9.4, 10.6, true },
	{ "99.9th-percentile-tail-latency", 469, 531, true },
};

static void every_metric_is_computed_from_the_counters(void **state)
{
	struct series_numbers window = hundred_requests();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct builtin *builtin = builtin_find(rows[i].metric);
		struct reading reading = {};

		assert_non_null(builtin);
		builtin_read(builtin, &window, &reading);
		assert_true(reading.present);
		assert_true(reading.value >= rows[i].low && reading.value <= rows[i].high);
		assert_true(reading.has_sample && reading.sample == 100);
	}
	assert_null(builtin_find("conversion-rate"));
}

static void of_no_requests_there_are_counts_but_no_rates(void **state)
{
	struct series_numbers nothing = {};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reading reading = {};

		builtin_read(builtin_find(rows[i].metric), &nothing, &reading);
		assert_int_equal(reading.present, !rows[i].none);
		if (rows[i].none)
			assert_string_equal(reading.problem, "no request has reached the version since the experiment began");
		else
			assert_true(reading.value == 0);
		free(reading.problem);
	}
}

static void requests_without_whole_responses_have_no_latency(void **state)
{
	struct series_numbers window = { .count = { .requests = 3 } };
	struct reading reading = {};

	(void)state;
	builtin_read(builtin_find("mean-latency"), &window, &reading);
	assert_false(reading.present);
	assert_string_equal(reading.problem, "none of its 3 requests has a whole response yet");
	free(reading.problem);
}

static void a_window_is_what_was_added_since_the_base(void **state)
{
	struct series_numbers base = hundred_requests(), now = hundred_requests(), window;
	struct reading reading = {};

	(void)state;
	now.count.requests += 10;
	now.count.latency_count += 10;
	now.count.latency_sum_ns += 10 * 30 * MS;
	now.latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(30 * MS)] += 10;
	assert_true(builtin_window(&now, &base, &window));
	assert_int_equal(window.count.requests, 10);
	assert_int_equal(window.count.errors, 0);
	builtin_read(builtin_find("mean-latency"), &window, &reading);
	assert_true(reading.value == 30);
	builtin_read(builtin_find("50th-percentile-tail-latency"), &window, &reading);
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
	assert_int_equal(json_object_size(json), 1 + 5 + 2); /* only what is not zero */
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
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_non_null(strstr(names, rows[i].metric));
	assert_non_null(strstr(names, " and 99.9th-percentile-tail-latency"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_metric_is_computed_from_the_counters),
		cmocka_unit_test(of_no_requests_there_are_counts_but_no_rates),
		cmocka_unit_test(requests_without_whole_responses_have_no_latency),
		cmocka_unit_test(a_window_is_what_was_added_since_the_base),
		cmocka_unit_test(counters_that_began_anew_are_taken_whole),
		cmocka_unit_test(a_base_survives_the_status_file),
		cmocka_unit_test(a_base_that_makes_no_sense_is_refused),
		cmocka_unit_test(all_names_are_listed_for_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
