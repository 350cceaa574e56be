/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A small HTTP server on the daemon's loop (libmicrohttpd, no threads of its own):
 *
 *     GET /metrics   what Prometheus scrapes (serve/exposition.h)
 *     GET /healthz   200 while the loop turns
 *     GET /readyz    200 once packets are steered, else 503 and why not
 */
#ifndef SHUNT_SERVER_H
#define SHUNT_SERVER_H

#include <stdbool.h>
#include <stdio.h>

#include <uv.h>

struct server;

struct server_edge {
	/* Writes the metrics. 0 or -errno, which the client gets as a 500. */
	int (*metrics)(void *arg, FILE *out);
	/* NULL: ready; else why not, a sentence. */
	const char *(*unready)(void *arg);
	void *arg;
};

/* Listens on "127.0.0.1:9642", "[::1]:9642" or ":9642" (all addresses). -EINVAL: no such form; -EADDRINUSE, ...; all are logged. */
int server_new(uv_loop_t *loop, const char *listen, const struct server_edge *edge, struct server **ret_server);

/* Closes it. The memory goes when the loop has closed the handles. NULL is fine. */
void server_free(struct server **server);

#endif
