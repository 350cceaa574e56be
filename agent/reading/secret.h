/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Secrets of metric providers, stand-alone: the files of a folder laid out as Kubernetes mounts a Secret,
 *
 *     <folder>/<namespace>/<name>/<key>        default folder: DIR/.secrets
 *
 * so that `kubectl get secret` and this folder hold the same keys. One newline at a value's end is not part of it. Values are never logged.
 */
#ifndef SHUNT_SECRET_H
#define SHUNT_SECRET_H

#include <jansson.h>

/*
 * Reads a secret that a Metric refers to: "[ns/]name", of the metric's own namespace when it has none. Returns 0 and an object of strings, or -errno
 * and *ret_problem, a sentence.
 */
int secret_read(const char *folder, const char *metric_ns, const char *reference, json_t **ret_secret, char **ret_problem);

#endif
