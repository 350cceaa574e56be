/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What `shunt status` says of an experiment's troubles, in the form of every problem there: {level, where, message}. */
#ifndef SHUNT_REPORT_H
#define SHUNT_REPORT_H

#include "experiment/state.h"

/*
 * Appends to list, an array: evidence that lacks users, values that are missing (while it runs), what is most likely a mistake in its tasks, and why nothing
 * is steered. label: "ns/name".
 */
void report_problems(const char *label, const struct state *state, json_t *list);

/* "7 of 9907 users are missing ...", of status.shunt.evidence as numbers or as the status has it; NULL: none is. The caller frees it. */
char *report_lost(const json_t *evidence);

#endif
