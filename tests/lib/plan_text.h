/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Worlds from YAML text and plans as text, so that a test of the planner is a manifest and the lines that are expected of it. */
#ifndef SHUNT_TEST_PLAN_TEXT_H
#define SHUNT_TEST_PLAN_TEXT_H

#include "plan/plan.h"

/* Decodes documents of a file called "test.yaml"; a manifest error ends the test with its text. Free with world_free(). */
struct world *world_of(const char *yaml);

/* The plan of a world from scratch, or with steerings, on a node; never fails. Free with tables_free(). plan_of(): all pods are here. */
struct tables *plan_on(const struct world *world, const struct plan_node *node, const struct steering *steerings, size_t steering_count);
struct tables *plan_of(const struct world *world, const struct steering *steerings, size_t steering_count);

/*
 * Steering as text (the caller frees it). Frontends in their order; a frontend that shares its routes with an earlier one says so:
 *
 *     10.0.0.1:80 request
 *       example.com by header:userhash
 *         101* v2
 *         =abc v2 25% v1 75%
 *         else v1
 *     [fd00::1]:80 like 10.0.0.1:80
 */
char *plan_steering_text(const struct tables *tables);

/* Versions with their pods and fallback:   v2 of default/web: 10.1.0.1:8080 [fd00::2]:8080, else v1, answers [version: v2]+[a: b]   */
char *plan_versions_text(const struct tables *tables);

/* Notes, one a line:   error test.yaml:3 VirtualService default/web spec.http[0]: message   */
char *plan_notes_text(const struct plan_note *notes, size_t count);

#endif
