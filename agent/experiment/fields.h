/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which fields an Experiment has (reference/iter8.md section 1), for what names them before there are values: `if:` conditions and run: scripts. Iter8's
 * Go program stops at a field that its struct has not; so that nobody finds a misspelt one at the end of an experiment, it is an error at its start.
 */
#ifndef SHUNT_FIELDS_H
#define SHUNT_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>

/*
 * Whether there is a field of this path, "Spec.Target" or "spec.target"; what is below the second name is not looked at. *ret_type: its type, JSON_NULL
 * where any is possible.
 */
bool field_known(const char *path, size_t length, json_type *ret_type);

/* What could stand in place of a path that is not known: "status has conditions, initTime, ...". The caller frees it; NULL when there is no memory. */
char *field_advice(const char *path, size_t length);

#endif
