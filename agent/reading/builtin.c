/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/builtin.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"

#define NS_PER_MS 1e6

/* ---- the metrics ---- */

static void request_count(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	reading_set(reading, (double)input->window.count.requests);
}

static void error_count(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	reading_set(reading, (double)input->window.count.errors);
}

/* A rate or a latency of no requests is no number; a count of none is 0. */
static bool has_requests(const struct builtin_input *input, struct reading *reading)
{
	if (input->window.count.requests > 0)
		return true;
	reading_fail(reading, "no request has reached the version since the experiment began");
	return false;
}

static void error_rate(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (has_requests(input, reading))
		reading_set(reading, (double)input->window.count.errors / (double)input->window.count.requests);
}

static void connection_failures(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	reading_set(reading, (double)input->window.count.aborted);
}

/* The sample of a time is the responses that have it; a version whose requests have none yet has no such time. */
static bool has_times(const struct builtin_input *input, __u64 count, const char *what, struct reading *reading)
{
	if (!has_requests(input, reading))
		return false;
	reading->sample = (double)count;
	if (count > 0)
		return true;
	reading_fail(reading, "none of its %llu requests has %s yet", (unsigned long long)input->window.count.requests, what);
	return false;
}

static bool has_responses(const struct builtin_input *input, struct reading *reading)
{
	return has_times(input, input->window.count.latency_count, "a whole response", reading);
}

static bool has_first_bytes(const struct builtin_input *input, struct reading *reading)
{
	return has_times(input, input->window.count.ttfb_count, "the first byte of a response", reading);
}

static void mean_latency(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (has_responses(input, reading))
		reading_set(reading, (double)input->window.count.latency_sum_ns / (double)input->window.count.latency_count / NS_PER_MS);
}

static void mean_first_byte(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (has_first_bytes(input, reading))
		reading_set(reading, (double)input->window.count.ttfb_sum_ns / (double)input->window.count.ttfb_count / NS_PER_MS);
}

static void read_quantile(const struct shunt_hist *hist, double quantile, struct reading *reading)
{
	reading_set(reading, shunt_hist_quantile((const __u64 *)hist->slot, quantile).mid_ns / NS_PER_MS);
}

static void latency_percentile(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	if (has_responses(input, reading))
		read_quantile(&input->window.latency[SHUNT_LATENCY_TOTAL], builtin->quantile, reading);
}

static void first_byte_percentile(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	if (has_first_bytes(input, reading))
		read_quantile(&input->window.latency[SHUNT_LATENCY_TTFB], builtin->quantile, reading);
}

/* Entries of the table, also of those that it had to forget. */
static void user_count(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (input->users)
		reading_set(reading, (double)input->window.count.users);
	else
		reading_fail(reading, "users are told apart only while the experiment divides those of one route");
}

static bool has_conversion(const struct builtin_input *input, struct reading *reading)
{
	if (input->converts && input->users)
		return true;
	if (!input->converts)
		reading_fail(reading, "the experiment does not say what a conversion is: annotation shunt.dev/conversion, such as \"POST /checkout 2xx\"");
	else
		reading_fail(reading, "conversions are counted only while the experiment divides the users of one route");
	return false;
}

static void conversion_count(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (has_conversion(input, reading))
		reading_set(reading, (double)input->window.count.conversions);
}

/* Of the users that are remembered: the share that converted, however often. */
static void conversion_rate(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	(void)builtin;
	if (!has_conversion(input, reading))
		return;
	reading->sample = (double)input->users->users;
	if (input->users->users > 0)
		reading_set(reading, input->users->sum[USER_CONVERTED] / (double)input->users->users);
	else
		reading_fail(reading, "no user's request to the version is over yet");
}

#define PERCENTILES(text, fraction)                                                                                                       \
	{                                                                                                                                 \
		text "th-percentile-tail-latency", text "th percentile tail latency", "milliseconds", METRIC_GAUGE, latency_percentile,   \
		{ .form = FORM_QUANTILE, .quantile = fraction }, "latency-" text "th-percentile", fraction                                \
	},                                                                                                                                \
	{                                                                                                                                 \
		text "th-percentile-time-to-first-byte", text "th percentile of the time to the response's first byte", "milliseconds",   \
		METRIC_GAUGE, first_byte_percentile, { .form = FORM_NONE }, "time-to-first-byte-" text "th-percentile", fraction          \
	}

static const struct builtin builtins[] = {
	{ "request-count", "Number of requests", "", METRIC_COUNTER, request_count, { .form = FORM_COUNT }, NULL, 0 },
	{ "error-count", "Number of error responses: status 500 and above, and connections that ended before their response", "", METRIC_COUNTER, error_count,
	  { .form = FORM_COUNT }, NULL, 0 },
	{ "error-rate", "Fraction of requests with error responses", "", METRIC_GAUGE, error_rate,
	  { FORM_FRACTION, QUANTITY_ERRORS, QUANTITY_REQUESTS, 0 }, NULL, 0 },
	{ "connection-failures", "Number of connections that ended before their response", "", METRIC_COUNTER, connection_failures, { .form = FORM_COUNT },
	  NULL, 0 },
	{ "user-count", "Number of users", "", METRIC_COUNTER, user_count, { .form = FORM_COUNT }, NULL, 0 },
	{ "conversion-count", "Number of responses that are conversions", "", METRIC_COUNTER, conversion_count, { .form = FORM_COUNT }, NULL, 0 },
	{ "conversion-rate", "Fraction of users with a conversion", "", METRIC_GAUGE, conversion_rate,
	  { FORM_FRACTION, QUANTITY_CONVERSIONS, QUANTITY_UNITS, 0 }, NULL, 0 },
	{ "mean-latency", "Mean latency", "milliseconds", METRIC_GAUGE, mean_latency, { FORM_RATIO, QUANTITY_LATENCY_MS, QUANTITY_RESPONSES, 0 }, NULL, 0 },
	{ "mean-time-to-first-byte", "Mean time to the response's first byte", "milliseconds", METRIC_GAUGE, mean_first_byte, { .form = FORM_NONE }, NULL, 0 },
	PERCENTILES("50", 0.5),
	PERCENTILES("75", 0.75),
	PERCENTILES("90", 0.9),
	PERCENTILES("95", 0.95),
	PERCENTILES("99", 0.99),
	PERCENTILES("99.9", 0.999),
};

const struct builtin *builtin_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++) {
		if (strcmp(builtins[i].name, name) == 0 || (builtins[i].also && strcmp(builtins[i].also, name) == 0))
			return &builtins[i];
	}
	return NULL;
}

char *builtin_names(void)
{
	_cleanup_free_ char *names = NULL;
	size_t size;
	FILE *out = open_memstream(&names, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
		if (!builtins[i].quantile)
			fprintf(out, "%s, ", builtins[i].name);
	fputs("<N>th-percentile-tail-latency and <N>th-percentile-time-to-first-byte with <N> one of", out);
	for (size_t i = 0; i < ARRAY_SIZE(builtins); i++)
		if (builtins[i].compute == latency_percentile)
			fprintf(out, " %.*s", (int)strcspn(builtins[i].name, "t"), builtins[i].name);
	return fclose(out) == 0 ? TAKE_PTR(names) : NULL;
}

void builtin_read(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading)
{
	reading->has_sample = true;
	reading->sample = (double)input->window.count.requests;
	builtin->compute(builtin, input, reading);
}

void builtin_count_refusals(struct series_numbers *window)
{
	window->count.errors += window->count.status[4];
}

/* ---- windows ---- */

/* Everything that a base is made of is a 64-bit counter, one after the other. */
#define COUNTERS (sizeof(struct series_numbers) / sizeof(__u64))
_Static_assert(sizeof(struct series_numbers) == sizeof(struct shunt_count) + SHUNT_LATENCIES * sizeof(struct shunt_hist), "series_numbers holds only counters");
_Static_assert(sizeof(struct shunt_count) % sizeof(__u64) == 0, "shunt_count holds only counters");

static void as_counters(const struct series_numbers *numbers, __u64 counters[COUNTERS])
{
	memcpy(counters, numbers, sizeof(*numbers));
}

bool builtin_window(const struct series_numbers *now, const struct series_numbers *base, struct series_numbers *ret_window)
{
	__u64 after[COUNTERS], before[COUNTERS];

	as_counters(now, after);
	as_counters(base, before);
	for (size_t i = 0; i < COUNTERS; i++) {
		if (after[i] < before[i]) {
			*ret_window = *now;
			return false;
		}
		after[i] -= before[i];
	}
	memcpy(ret_window, after, sizeof(*ret_window));
	return true;
}

/* ---- the base in the status file: {"0": 17, "21": 4, ...}, counters by their place, and the schema that places them ---- */

json_t *builtin_base_to_json(const struct series_numbers *numbers)
{
	_cleanup_json_ json_t *json = json_pack("{s:i}", "schema", SHUNT_SCHEMA);
	__u64 counters[COUNTERS];
	char place[16];

	as_counters(numbers, counters);
	for (size_t i = 0; i < COUNTERS; i++) {
		if (counters[i] == 0)
			continue;
		snprintf(place, sizeof(place), "%zu", i);
		if (json_object_set_new(json, place, json_integer((json_int_t)counters[i])) < 0)
			return NULL;
	}
	return TAKE_PTR(json);
}

int builtin_base_from_json(const json_t *json, struct series_numbers *ret_numbers)
{
	__u64 counters[COUNTERS] = {};
	const char *place;
	json_t *value;

	if (json_integer_value(json_object_get(json, "schema")) != SHUNT_SCHEMA)
		return -EPROTO;
	json_object_foreach((json_t *)json, place, value) {
		char *end;
		unsigned long i = strtoul(place, &end, 10);

		if (strcmp(place, "schema") == 0)
			continue;
		if (*end || i >= COUNTERS || !json_is_integer(value) || json_integer_value(value) < 0)
			return -EINVAL;
		counters[i] = (__u64)json_integer_value(value);
	}
	memcpy(ret_numbers, counters, sizeof(*ret_numbers));
	return 0;
}
