/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "serve/exposition.h"

#include <stddef.h>
#include <string.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"

#define NS_PER_S 1e9
#define FIRST_BOUND_BITS 17 /* 2^17 ns = 131 us */

/* ---- the table of counters by version ---- */

#define COUNT(member) offsetof(struct shunt_count, member)

static const struct {
	const char *name, *help;
	size_t offset; /* in struct shunt_count */
} counters[] = {
	{ "shunt_requests_total", "Requests bound to the version; connections, for a frontend that steers those.", COUNT(requests) },
	{ "shunt_errors_total", "Responses with status 500 and above, and connections that ended before their response.", COUNT(errors) },
	{ "shunt_connection_failures_total", "Connections that ended before their response did.", COUNT(aborted) },
	{ "shunt_request_bytes_total", "Payload from clients to pods.", COUNT(rx_bytes) },
	{ "shunt_response_bytes_total", "Payload from pods to clients.", COUNT(tx_bytes) },
	{ "shunt_conversions_total", "Responses that the experiment of their time calls a conversion.", COUNT(conversions) },
	{ "shunt_users_total", "Users of experiments; one that was forgotten counts again.", COUNT(users) },
};

static const struct {
	const char *name, *help;
	enum shunt_latency kind;
	size_t sum; /* in struct shunt_count, ns */
} histograms[] = {
	{ "shunt_request_duration_seconds", "From the request's first byte to the response's last, at the client's interface.", SHUNT_LATENCY_TOTAL,
	  COUNT(latency_sum_ns) },
	{ "shunt_time_to_first_byte_seconds", "From the request's first byte to the response's first.", SHUNT_LATENCY_TTFB, COUNT(ttfb_sum_ns) },
};

static __u64 counter_at(const struct exposed_series *series, size_t offset)
{
	__u64 value;

	memcpy(&value, (const char *)&series->numbers.count + offset, sizeof(value));
	return value;
}

/* ---- writing ---- */

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: backslash, quote and line feed are escaped. */
static void put_text(FILE *out, const char *text, size_t length)
{
	for (size_t i = 0; i < length && text[i]; i++) {
		if (text[i] == '\n')
			fputs("\\n", out);
		else if (text[i] == '"' || text[i] == '\\')
			fprintf(out, "\\%c", text[i]);
		else
			fputc(text[i], out);
	}
}

static void put_labels(FILE *out, const struct exposed_series *series)
{
	const char *route = series->name->route, *slash = strchr(route, '/'), *name = slash ? slash + 1 : route;

	fputs("{namespace=\"", out);
	put_text(out, route, slash ? (size_t)(slash - route) : 0);
	fputs("\",route=\"", out);
	put_text(out, name, strlen(name));
	fputs("\",version=\"", out);
	put_text(out, series->name->version, strlen(series->name->version));
	fputc('"', out);
}

static void put_counters(FILE *out, const struct exposition *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(counters); i++) {
		put_head(out, counters[i].name, "counter", counters[i].help);
		for (size_t s = 0; s < e->series_count; s++) {
			fputs(counters[i].name, out);
			put_labels(out, &e->series[s]);
			fprintf(out, "} %llu\n", (unsigned long long)counter_at(&e->series[s], counters[i].offset));
		}
	}
}

static void put_responses(FILE *out, const struct exposition *e)
{
	static const char *const class[] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };

	put_head(out, "shunt_responses_total", "counter", "Responses by status class; none: the status could not be read.");
	for (size_t s = 0; s < e->series_count; s++) {
		for (size_t i = 0; i < ARRAY_SIZE(class); i++) {
			fputs("shunt_responses_total", out);
			put_labels(out, &e->series[s]);
			fprintf(out, ",class=\"%s\"} %llu\n", class[i], (unsigned long long)e->series[s].numbers.count.status[i]);
		}
	}
}

/* Powers of two and the middles between them: 131 us, 197 us, 262 us, ... 69 s, 103 s. */
static __u64 bound_ns(size_t i)
{
	return (2ull + i % 2) << (FIRST_BOUND_BITS - 1 + i / 2);
}

double exposition_bound(size_t i)
{
	return (double)bound_ns(i) / NS_PER_S;
}

static void put_histogram(FILE *out, const char *name, const struct exposed_series *series, const struct shunt_hist *hist, __u64 sum_ns)
{
	unsigned long long below = 0;
	__u32 slot = 0;

	for (size_t i = 0; i < EXPOSITION_BUCKETS; i++) {
		while (slot < SHUNT_HIST_SLOTS && shunt_hist_high(slot) <= bound_ns(i))
			below += hist->slot[slot++];
		fprintf(out, "%s_bucket", name);
		put_labels(out, series);
		fprintf(out, ",le=\"%.9g\"} %llu\n", exposition_bound(i), below);
	}
	while (slot < SHUNT_HIST_SLOTS)
		below += hist->slot[slot++];
	fprintf(out, "%s_bucket", name);
	put_labels(out, series);
	fprintf(out, ",le=\"+Inf\"} %llu\n%s_sum", below, name);
	put_labels(out, series);
	fprintf(out, "} %.9f\n%s_count", (double)sum_ns / NS_PER_S, name);
	put_labels(out, series);
	fprintf(out, "} %llu\n", below);
}

static void put_histograms(FILE *out, const struct exposition *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(histograms); i++) {
		put_head(out, histograms[i].name, "histogram", histograms[i].help);
		for (size_t s = 0; s < e->series_count; s++)
			put_histogram(out, histograms[i].name, &e->series[s], &e->series[s].numbers.latency[histograms[i].kind],
				      counter_at(&e->series[s], histograms[i].sum));
	}
}

static void put_reasons(FILE *out, const struct exposition *e)
{
	static const char *const names[SHUNT_R_MAX] = {
#define X(name, sort, text) [SHUNT_R_##name] = #name,
		SHUNT_REASONS(X)
#undef X
	};

	put_head(out, "shunt_events_total", "counter", "Packets, requests and flows that left the ordinary path, by reason; `shunt status --all` explains each.");
	for (size_t i = 0; i < SHUNT_R_MAX; i++) {
		fputs("shunt_events_total{reason=\"", out);
		for (const char *p = names[i]; *p; p++)
			fputc(*p >= 'A' && *p <= 'Z' ? *p - 'A' + 'a' : *p, out);
		fprintf(out, "\"} %llu\n", (unsigned long long)e->reasons[i]);
	}
}

static void put_gauge(FILE *out, const char *name, const char *help, size_t value)
{
	put_head(out, name, "gauge", help);
	fprintf(out, "%s %zu\n", name, value);
}

void exposition_write(FILE *out, const struct exposition *e)
{
	put_counters(out, e);
	put_responses(out, e);
	put_histograms(out, e);
	put_reasons(out, e);
	put_gauge(out, "shunt_frontends", "Addresses and ports that are steered.", e->frontends);
	put_gauge(out, "shunt_interfaces", "Interfaces that the programs are attached to.", e->interfaces);
	put_gauge(out, "shunt_experiments", "Experiments that there are, completed ones too.", e->experiments);
	put_head(out, "shunt_build_info", "gauge", "The build, always 1.");
	fputs("shunt_build_info{version=\"" SHUNT_VERSION "\"} 1\n", out);
}
