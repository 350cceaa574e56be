/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The status of an experiment in Iter8's own fields (iter8.tools/v2alpha2; reference/iter8.md sections 1.3 and 7.2), as JSON and as the YAML file beside
 * the manifest. What Iter8 has no field for is under status.shunt: the counters at the start, the promotion, which tasks are done, and the verdict
 * of the evidence (status.shunt.evidence, docs/statistics.md).
 *
 *     state, readings, assessment ──▶ status_to_json() ──▶ <folder>/<namespace>.<name>.status.yaml ──▶ status_from_json() ──▶ state
 */
#ifndef SHUNT_STATUS_H
#define SHUNT_STATUS_H

#include "experiment/assess.h"
#include "experiment/state.h"

#define STATUS_SUFFIX ".status.yaml"

/* Path of an experiment's status file; the caller frees it. */
char *status_path(const char *folder, const char *ns, const char *name);

/* The whole document: apiVersion, kind, metadata, status. NULL when there is no memory. */
json_t *status_to_json(const struct experiment *experiment, const struct state *state);

/* Back from the document. -EINVAL and *ret_problem, which names the field. */
int status_from_json(const json_t *document, struct state **ret_state, char **ret_problem);

/* Replaces the file in one step, so that a reader sees the old or the new one whole. 0 or -errno. */
int status_write(const char *path, const json_t *document);

/* Reads the file. -ENOENT: there is none. Other errors: *ret_problem is a sentence. */
int status_read(const char *path, json_t **ret_document, char **ret_problem);

/* status.metrics: the Metric object of everything that is read, built-in ones as an object of the same shape. */
json_t *status_metrics(const struct world *world, const struct experiment *experiment, const struct readings *readings);

/* status.analysis of an iteration. now: ms since the epoch. */
json_t *status_analysis(const struct experiment *experiment, const struct readings *readings, const struct assessment *assessment, int64_t now);

/* status.analysis.aggregatedBuiltinHists: what metrics/collect has measured (reading/collected.h). Takes data. */
json_t *status_collected(json_t *data, int64_t now);

/* Brings state.missing (what has no value, why, and since when) and state.retried (what was asked for more than once, and why) up to date. */
void status_note_readings(struct state *state, const struct readings *readings, int64_t now);

/* RFC 3339 in whole seconds, as Kubernetes writes times. Returns buf. */
const char *status_time(int64_t ms, char buf[32]);

#endif
