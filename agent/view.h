/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The live tables in the words that people use: names, endpoints, shares. For the commands. */
#ifndef SHUNT_VIEW_H
#define SHUNT_VIEW_H

#include <jansson.h>

#include "plan/plan.h"

#define VIEW_TEXT_MAX 256

/* "header:userhash", "client". Returns buf. */
const char *view_identity(const struct shunt_route *route, char buf[VIEW_TEXT_MAX]);

/* "example.com", "*.example.com", "*". Returns buf. */
const char *view_host(const struct shunt_route *route, char buf[VIEW_TEXT_MAX]);

/* "101*" for a prefix, "=bob" for an exact rule. Returns buf. */
const char *view_rule(const struct tables_rule *rule, char buf[VIEW_TEXT_MAX]);

/* "path=/a (any case)", "method=GET", "header:x-beta", "!query:lang=de*". Returns buf. */
const char *view_condition(const struct shunt_condition *condition, char buf[VIEW_TEXT_MAX]);

/* All conditions of an entry, with "and" between them; what does not fit ends with "...". Returns buf. */
const char *view_entry(const struct tables *tables, const struct shunt_entry *entry, char buf[VIEW_TEXT_MAX]);

/* "request", "connection". */
const char *view_kind(const struct shunt_frontend *frontend);

/* The names of a version's series. Tables may be read while they are replaced, so any index is possible: NULL when it is out of range. */
const struct shunt_series *view_series(const struct tables *tables, uint32_t version);

/* The "namespace/name" that a route came from; "?" when the tables do not say. */
const char *view_route_name(const struct tables *tables, uint16_t route);

/* The share of the hash space that a series has in a split, 0 to 1. */
double view_share(const struct tables *tables, uint32_t split, int series);

/*
 * What happens to the heads of a version's requests, or of its responses: the lines they get ("version: v2"), then headers they lose ("-server"). A list,
 * which is the caller's. NULL: no memory.
 */
json_t *view_edits(const struct tables *tables, uint32_t version, bool of_request);

/* Frontends as an array of objects: address, kind, routes, hosts, identity. NULL: no memory. */
json_t *view_frontends(const struct tables *tables);

/*
 * Versions as an array of objects, one for each series in use: series (index), route, version, share (null: none), rules, pods,
 * response_lines. NULL: no memory.
 */
json_t *view_versions(const struct tables *tables);

#endif
