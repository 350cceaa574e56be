/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/collected.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"

#define NS_PER_S 1e9

void collected_count(struct series_numbers *numbers, json_t *codes, long status, uint64_t ns)
{
	char code[24];

	snprintf(code, sizeof(code), "%ld", status ? status : -1);
	json_object_set_new(codes, code, json_integer(json_integer_value(json_object_get(codes, code)) + 1));
	numbers->count.requests++;
	numbers->count.errors += status == 0 || status >= 400;
	if (status == 0)
		return;
	numbers->count.latency_count++;
	numbers->count.latency_sum_ns += ns;
	numbers->latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(ns)]++;
}

static double slot_seconds(uint64_t ns)
{
	return (double)ns / NS_PER_S;
}

static json_t *histogram_json(const struct series_numbers *numbers)
{
	json_t *data = json_array();
	double max = 0;

	for (uint32_t i = 0; i < SHUNT_HIST_SLOTS; i++) {
		uint64_t count = numbers->latency[SHUNT_LATENCY_TOTAL].slot[i];

		if (count == 0)
			continue;
		max = slot_seconds(shunt_hist_high(i));
		json_array_append_new(data, json_pack("{s:f, s:f, s:I}", "Start", slot_seconds(shunt_hist_low(i)), "End", max, "Count", (json_int_t)count));
	}
	return json_pack("{s:I, s:f, s:f, s:o}", "Count", (json_int_t)numbers->count.latency_count, "Max", max, "Sum",
			 (double)numbers->count.latency_sum_ns / NS_PER_S, "Data", data);
}

static void add_numbers(struct series_numbers *sum, const struct series_numbers *more)
{
	sum->count.latency_count += more->count.latency_count;
	sum->count.latency_sum_ns += more->count.latency_sum_ns;
	for (size_t i = 0; i < SHUNT_HIST_SLOTS; i++)
		sum->latency[SHUNT_LATENCY_TOTAL].slot[i] += more->latency[SHUNT_LATENCY_TOTAL].slot[i];
}

json_t *collected_add(const json_t *old, const char *version, const struct series_numbers *numbers, const json_t *codes)
{
	_cleanup_json_ json_t *all = old ? json_deep_copy(old) : json_object(), *sums = json_object();
	const json_t *before = json_object_get(json_object_get(old, version), "RetCodes");
	struct series_numbers sum = {};
	const char *code;
	json_t *count;

	if (!all || !sums)
		return NULL;
	json_object_update(sums, (json_t *)before);
	json_object_foreach((json_t *)codes, code, count)
		json_object_set_new(sums, code, json_integer(json_integer_value(json_object_get(before, code)) + json_integer_value(count)));
	collected_numbers(old, version, &sum);
	add_numbers(&sum, numbers);
	if (json_object_set_new(all, version, json_pack("{s:o, s:O}", "DurationHistogram", histogram_json(&sum), "RetCodes", sums)) < 0)
		return NULL;
	return TAKE_PTR(all);
}

bool collected_numbers(const json_t *collected, const char *version, struct series_numbers *ret_numbers)
{
	json_t *result = json_object_get(collected, version), *histogram = json_object_get(result, "DurationHistogram"), *range, *count;
	const char *code;
	size_t i;

	*ret_numbers = (struct series_numbers){};
	if (!histogram)
		return false;
	json_object_foreach(json_object_get(result, "RetCodes"), code, count) {
		long status = strtol(code, NULL, 10);

		ret_numbers->count.requests += (uint64_t)json_integer_value(count);
		ret_numbers->count.errors += status < 0 || status >= 400 ? (uint64_t)json_integer_value(count) : 0;
	}
	ret_numbers->count.latency_count = (uint64_t)json_integer_value(json_object_get(histogram, "Count"));
	ret_numbers->count.latency_sum_ns = (uint64_t)llround(json_number_value(json_object_get(histogram, "Sum")) * NS_PER_S);
	json_array_foreach(json_object_get(histogram, "Data"), i, range) {
		double middle = (json_number_value(json_object_get(range, "Start")) + json_number_value(json_object_get(range, "End"))) / 2;

		ret_numbers->latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot((uint64_t)(middle * NS_PER_S))] +=
			(uint64_t)json_integer_value(json_object_get(range, "Count"));
	}
	return true;
}
