/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "serve/exposition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"

static char *written(const struct exposed_series *series, size_t count)
{
	static const uint64_t reasons[SHUNT_R_MAX] = { [SHUNT_R_REBIND] = 3 };
	struct exposition exposition = { .series = series, .series_count = count, .reasons = reasons, .frontends = 2, .interfaces = 4, .experiments = 1 };
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	exposition_write(out, &exposition);
	fclose(out);
	return text;
}

static void expect_line(const char *text, const char *line)
{
	if (!strstr(text, line))
		fail_msg("no line %s in\n%s", line, text);
}

static void counters_have_their_labels(void **state)
{
	static const struct shunt_series name = { .route = "default/routing-rule", .version = "v\"1\\" };
	struct exposed_series series = { .name = &name };
	_cleanup_free_ char *text = NULL;

	(void)state;
	series.numbers.count = (struct shunt_count){ .requests = 7, .status = { 1, 0, 5, 0, 0, 1 }, .errors = 2, .aborted = 1, .rx_bytes = 1ull << 40 };
	text = written(&series, 1);
	expect_line(text, "# TYPE shunt_requests_total counter\n");
	expect_line(text, "\nshunt_requests_total{namespace=\"default\",route=\"routing-rule\",version=\"v\\\"1\\\\\"} 7\n");
	expect_line(text, "\nshunt_responses_total{namespace=\"default\",route=\"routing-rule\",version=\"v\\\"1\\\\\",class=\"2xx\"} 5\n");
	expect_line(text, ",class=\"none\"} 1\n");
	expect_line(text, "shunt_errors_total{namespace=\"default\",route=\"routing-rule\",version=\"v\\\"1\\\\\"} 2\n");
	expect_line(text, "} 1099511627776\n");
	expect_line(text, "\nshunt_events_total{reason=\"rebind\"} 3\n");
	expect_line(text, "\nshunt_interfaces 4\n");
}

/* Each bound is one between two slots: no measured time is in a bucket that it is not below. */
static void bounds_lie_between_slots(void **state)
{
	(void)state;
	for (size_t i = 0; i < EXPOSITION_BUCKETS; i++) {
		double ns = exposition_bound(i) * 1e9;
		uint32_t slot = shunt_hist_slot((uint64_t)(ns + 0.5));

		if ((double)shunt_hist_low(slot) != ns)
			fail_msg("bound %zu is %.0f ns, its slot begins at %llu", i, ns, (unsigned long long)shunt_hist_low(slot));
		assert_true(i == 0 || exposition_bound(i) > exposition_bound(i - 1));
	}
	assert_true(exposition_bound(0) < 0.0002 && exposition_bound(EXPOSITION_BUCKETS - 1) > 60);
}

static void a_histogram_counts_up_to_its_sum(void **state)
{
	static const struct shunt_series name = { .route = "a/b", .version = "v" };
	struct exposed_series series = { .name = &name };
	struct shunt_hist *hist = &series.numbers.latency[SHUNT_LATENCY_TOTAL];
	_cleanup_free_ char *text = NULL;

	(void)state;
	hist->slot[shunt_hist_slot(1000)] = 2;           /* below all bounds */
	hist->slot[shunt_hist_slot(20000000)] = 3;       /* 20 ms */
	hist->slot[shunt_hist_slot(300000000000ull)] = 4; /* above all */
	series.numbers.count.latency_sum_ns = 1500000000;
	text = written(&series, 1);
#define LABELS "{namespace=\"a\",route=\"b\",version=\"v\""
	expect_line(text, "# TYPE shunt_request_duration_seconds histogram\n");
	expect_line(text, "\nshunt_request_duration_seconds_bucket" LABELS ",le=\"0.000131072\"} 2\n");
	expect_line(text, "\nshunt_request_duration_seconds_bucket" LABELS ",le=\"0.016777216\"} 2\n");
	expect_line(text, "\nshunt_request_duration_seconds_bucket" LABELS ",le=\"0.025165824\"} 5\n");
	expect_line(text, ",le=\"+Inf\"} 9\n");
	expect_line(text, "\nshunt_request_duration_seconds_sum" LABELS "} 1.500000000\n");
	expect_line(text, "\nshunt_request_duration_seconds_count" LABELS "} 9\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(counters_have_their_labels),
		cmocka_unit_test(bounds_lie_between_slots),
		cmocka_unit_test(a_histogram_counts_up_to_its_sum),
	};

	return cmocka_run_group_tests_name("agent/serve/exposition", tests, NULL, NULL);
}
