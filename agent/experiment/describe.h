/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * An experiment for a person, in the layout of `iter8ctl describe` (iter8ctl describe/describe.go; reference/iter8.md section 2.4), from its manifest
 * and status alone: what kubectl shows of an Iter8 experiment can be read the same way.
 *
 *     experiment, status ──▶ describe() ──▶ document (--json) ──▶ describe_print() ──▶ sections and tables
 */
#ifndef SHUNT_DESCRIBE_H
#define SHUNT_DESCRIBE_H

#include <stdio.h>

#include <jansson.h>

#include "world/world.h"

/*
 * The document: name, namespace, target, testing_pattern, deployment_pattern, stage, completed_iterations, message, versions, winner, recommended,
 * rewards, objectives, metrics (values are numbers with three decimals, rounded up, or null), missing. status: the status object of the status file;
 * NULL: the experiment has not begun. NULL when there is no memory.
 */
json_t *describe(const struct experiment *experiment, const json_t *status);

/* Prints the document. 0 or -EIO. */
int describe_print(FILE *out, const json_t *document);

#endif
