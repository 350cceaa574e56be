/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What to ask a metric provider, and what its answer means. Pure: provider.c does the asking.
 *
 *     Metric object, version's values ──▶ query_build() ──▶ HTTP request ──▶ answer ──▶ query_number() ──▶ a number
 *
 * As Iter8 does it (reference/iter8.md section 2.1), except that the answer's status counts and a number must be finite.
 */
#ifndef SHUNT_QUERY_H
#define SHUNT_QUERY_H

#include <jansson.h>

#include "world/world.h"

struct query_request {
	char *url;       /* with its query string */
	char *body;      /* NULL: none */
	char **headers;  /* "Name: value" */
	size_t header_count;
	char *username, *password; /* NULL unless authType is Basic */
};

/*
 * What the placeholders of params and body mean for a version: `name`, the version's variables (which may replace it) and `elapsedTime`, whole
 * seconds, at least 1. NULL when there is no memory.
 */
json_t *query_values(const struct version_detail *version, int64_t elapsed_ms);

/*
 * Builds the request. secret: an object of strings, NULL when the metric names none; its keys are put into the URL, and with authType Bearer or
 * APIKey into the headers. Bearer without an Authorization header of its own sends the secret's `token`.
 * Returns 0, or -EINVAL/-ENOMEM and *ret_problem, a sentence.
 */
int query_build(const struct metric *metric, const json_t *values, const json_t *secret, struct query_request *ret_request, char **ret_problem);

/* Frees what the request holds. */
void query_request_clear(struct query_request *request);

/* Whether a metric could be asked for at all: it says where and what to make of the answer, and its jqExpression compiles. 0, or -EINVAL and *ret_problem. */
int query_check(const struct metric *metric, char **ret_problem);

/* Applies a jq expression to a JSON text; its first output has to be a finite number. 0, or -EINVAL and *ret_problem. */
int query_number(const char *expression, const char *body, size_t size, double *ret_number, char **ret_problem);

/*
 * How many seconds before it was asked for a value was made, by what the answer says of itself: the time of a Prometheus answer's sample (vector, scalar
 * or matrix) against the answer's Date, and its Age (RFC 9111 section 5.1). 0: it says nothing. Both clocks are the provider's, so ours may be wrong.
 * date: seconds since the epoch, -1: the answer has none, and now stands in. age: seconds, 0 when the answer has none.
 */
double query_age(const char *body, size_t size, int64_t date, double age, int64_t now);

/* What the expression's first output is, as JSON text, for a person; NULL: none. The caller frees it. */
char *query_output(const char *expression, const char *body, size_t size);

/* "HTTP 500: first line of the body", for an answer that is no success. */
char *query_status_problem(long status, const char *body, size_t size);

#endif
