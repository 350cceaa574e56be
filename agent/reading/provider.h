/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Asks metric providers over HTTP: libcurl's multi interface, driven by a libuv loop. Nothing here blocks the loop, and all queries run at once.
 *
 *     provider_query() ──▶ libcurl ──sockets, timeouts──▶ uv_poll, uv_timer ──▶ answer ──▶ query_number() ──▶ done(reading)
 *
 * A failure that may pass is asked again within the deadline (retry.h); the reading says how often.
 *
 * TLS certificates and names are verified, redirects are not followed (an answer other than 2xx is a problem with the first line of its body), a body
 * has a bound, and every query a deadline. Whatever goes wrong is a reading with a problem, never an error of the agent.
 */
#ifndef SHUNT_PROVIDER_H
#define SHUNT_PROVIDER_H

#include <stdint.h>

#include <uv.h>

#include "reading/mock.h"
#include "reading/reading.h"
#include "reading/secret.h"

#define PROVIDER_BODY_MAX (1u << 20) /* bytes of an answer */

struct provider;
struct query;

/* The folder of secrets is copied. -ENOMEM. */
int provider_new(uv_loop_t *loop, const struct secret_source *secrets, struct provider **ret_provider);

/* Where the spread of pauses comes from (retry.h), for tests; the system's random numbers when it was never called. */
void provider_jitter(struct provider *provider, const struct mock_random *jitter);

/* Cancels what is under way. The memory goes when the loop has closed the handles: run the loop until it has nothing left. NULL is fine. */
void provider_free(struct provider **provider);

/* Shows every answer as it came, before it is read, that of each attempt: HTTP status, 0 when there was none; the bytes; milliseconds. For `shunt metric test`. */
typedef void (*provider_tap_fn)(void *arg, long status, const char *body, size_t size, double ms);
void provider_tap(struct provider *provider, provider_tap_fn tap, void *arg);

/* The result of one query; the callee may reading_take() it. The query is gone by then. */
typedef void (*query_done_fn)(void *arg, struct reading *reading);

struct query_limits {
	uint64_t deadline_ms; /* of all attempts together */
	double oldest_s;      /* an answer whose value is older (query_age()) is none; 0: any is one */
};

/*
 * Asks for a metric with the values of query_values(). done is called once, later, from the loop, unless the query is cancelled before.
 * Returns 0, or -errno and *ret_problem when the request cannot even be built (done is not called then). The metric is not used after the call.
 */
int provider_query(struct provider *provider, const struct metric *metric, const json_t *values, const struct query_limits *limits, query_done_fn done,
		   void *arg, struct query **ret_query, char **ret_problem);

/* Ends a query without an answer. *query becomes NULL; NULL is fine. */
void query_cancel(struct query **query);

#endif
