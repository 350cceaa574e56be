/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/evidence.h"

#include <string.h>

#define NS_PER_MS 1e6
#define US2_PER_MS2 1e6

void evidence_add(struct evidence *evidence, const double values[QUANTITY_MAX])
{
	for (int i = 0; i < QUANTITY_MAX; i++) {
		evidence->sum[i] += values[i];
		for (int j = 0; j < QUANTITY_MAX; j++)
			evidence->product[i][j] += values[i] * values[j];
	}
}

void evidence_set_latency(const struct series_numbers *window, struct evidence *evidence)
{
	for (int i = 0; i < SHUNT_HIST_SLOTS; i++)
		evidence->latency[i] = (double)window->latency[SHUNT_LATENCY_TOTAL].slot[i];
}

static void set_product(struct evidence *evidence, enum quantity a, enum quantity b, double value)
{
	evidence->product[a][b] = evidence->product[b][a] = value;
}

/*
 * Of one request each quantity but the latency is 0 or 1, so a product is the smaller of the two: whoever has an error or a whole response has a
 * request. Errors and responses are not looked at together by any metric; their product is left 0, as is that of errors and latency.
 */
void evidence_from_counters(const struct series_numbers *window, struct evidence *ret_evidence)
{
	const struct shunt_count *count = &window->count;
	double sums[QUANTITY_MAX] = {
		[QUANTITY_UNITS] = (double)count->requests,
		[QUANTITY_REQUESTS] = (double)count->requests,
		[QUANTITY_ERRORS] = (double)count->errors,
		[QUANTITY_RESPONSES] = (double)count->latency_count,
		[QUANTITY_LATENCY_MS] = (double)count->latency_sum_ns / NS_PER_MS,
	};

	*ret_evidence = (struct evidence){ .present = true, .unit = UNIT_REQUEST };
	memcpy(ret_evidence->sum, sums, sizeof(sums));
	for (enum quantity q = 0; q < QUANTITY_MAX; q++) {
		set_product(ret_evidence, QUANTITY_UNITS, q, sums[q]);
		set_product(ret_evidence, QUANTITY_REQUESTS, q, sums[q]);
	}
	set_product(ret_evidence, QUANTITY_ERRORS, QUANTITY_ERRORS, sums[QUANTITY_ERRORS]);
	set_product(ret_evidence, QUANTITY_RESPONSES, QUANTITY_RESPONSES, sums[QUANTITY_RESPONSES]);
	set_product(ret_evidence, QUANTITY_RESPONSES, QUANTITY_LATENCY_MS, sums[QUANTITY_LATENCY_MS]);
	set_product(ret_evidence, QUANTITY_LATENCY_MS, QUANTITY_LATENCY_MS, (double)count->latency_sumsq_us2 / US2_PER_MS2);
	evidence_set_latency(window, ret_evidence);
}

void evidence_from_users(const struct user_sums *sums, double lost, const struct series_numbers *window, struct evidence *ret_evidence)
{
	static const enum user_quantity source[QUANTITY_MAX] = {
		[QUANTITY_REQUESTS] = USER_REQUESTS,
		[QUANTITY_ERRORS] = USER_ERRORS,
		[QUANTITY_RESPONSES] = USER_TIMED,
		[QUANTITY_LATENCY_MS] = USER_LATENCY,
		[QUANTITY_CONVERSIONS] = USER_CONVERTED,
	};

	*ret_evidence = (struct evidence){ .present = true, .unit = UNIT_USER, .lost = lost };
	ret_evidence->sum[QUANTITY_UNITS] = ret_evidence->product[QUANTITY_UNITS][QUANTITY_UNITS] = (double)sums->users;
	for (enum quantity a = QUANTITY_REQUESTS; a < QUANTITY_MAX; a++) {
		ret_evidence->sum[a] = sums->sum[source[a]];
		set_product(ret_evidence, QUANTITY_UNITS, a, sums->sum[source[a]]);
		for (enum quantity b = QUANTITY_REQUESTS; b < QUANTITY_MAX; b++)
			ret_evidence->product[a][b] = sums->product[source[a]][source[b]];
	}
	evidence_set_latency(window, ret_evidence);
}

const char *evidence_unit_name(enum sample_unit unit)
{
	return unit == UNIT_USER ? "user" : "request";
}
