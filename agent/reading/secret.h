/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Secrets of metric providers and tasks, stand-alone: the files of a folder laid out as Kubernetes mounts a Secret,
 *
 *     <folder>/<namespace>/<name>/<key>        default folder: DIR/.secrets
 *
 * so that `kubectl get secret` and this folder hold the same keys; where there is no such folder, the Secret object of that name among the manifests. One
 * newline at a value's end is not part of it. Values are never logged, and hidden in what others print or answer (secret_hide()).
 */
#ifndef SHUNT_SECRET_H
#define SHUNT_SECRET_H

#include <jansson.h>

#include "world/world.h"

#define SECRET_HIDDEN "***"

/* Where secrets are. */
struct secret_source {
	const char *folder;
	const struct world *const *world; /* where the world is at any time; NULL: there is none */
};

/*
 * Reads a secret that a Metric or a task refers to: "[ns/]name", of its own namespace when it has none. Returns 0 and an object of strings, or -errno and
 * *ret_problem, a sentence.
 */
int secret_read(const struct secret_source *source, const char *ns, const char *reference, json_t **ret_secret, char **ret_problem);

/* The text with every occurrence of a value of the secret as ***. secret NULL: the text. The caller frees it; NULL when there is no memory. */
char *secret_hide(const char *text, const json_t *secret);

#endif
