/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The counters as Prometheus reads them (text format 0.0.4). Pure; docs/metrics.md lists the names.
 *
 *     series ─▶ shunt_requests_total{namespace, route, version} ...      reasons ─▶ shunt_events_total{reason}
 *
 * Counters are those of the kernel: they go on over restarts of the agent, and begin anew with `shunt unload` or a reboot, which Prometheus expects.
 */
#ifndef SHUNT_EXPOSITION_H
#define SHUNT_EXPOSITION_H

#include <stdio.h>

#include "datapath/datapath.h"

/* One version and what it counted. */
struct exposed_series {
	const struct shunt_series *name;
	struct series_numbers numbers;
};

struct exposition {
	const struct exposed_series *series;
	size_t series_count;
	const uint64_t *reasons; /* SHUNT_R_MAX of them */
	size_t frontends, interfaces, experiments;
};

void exposition_write(FILE *out, const struct exposition *exposition);

/* Upper bound of a histogram bucket in seconds, i = 0.. EXPOSITION_BUCKETS - 1; each lies between two slots of shunt/histogram.h, so that counts are exact. */
#define EXPOSITION_BUCKETS 40
double exposition_bound(size_t i);

#endif
