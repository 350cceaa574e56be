/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the files of plan/ share. plan() runs once through them:
 *
 *     claims.c    which VirtualService claims which frontend for which hosts; who wins when two claim the same
 *     bodies.c    what a VirtualService does on a frontend's port: versions, splits, what an experiment wants of it
 *     rules.c     its part that looks at requests: identity and matches
 *     entries.c   the matches of one route in their order, as rules and entries of the tables
 *     edits.c     what happens to heads of a version's requests and responses
 *     backends.c  the ready pods behind a Service's port, and their rings
 *     shares.c    which users move when weights change
 *     series.c    the index that a (route, version) pair keeps
 *     plan.c      puts them together, frontend by frontend
 *     resolve.c   plan_resolve_versions()
 *
 * A table that is full rolls back what was begun: a route or frontend is in the tables whole or not at all.
 */
#ifndef SHUNT_PLAN_INTERNAL_H
#define SHUNT_PLAN_INTERNAL_H

#include <stdbool.h>

#include "plan/plan.h"

/* Longest "namespace/name" of a route: it is hashed in one piece, with a byte in front, into the salts of its splits. */
#define ROUTE_NAME_MAX (SHUNT_ID_MAX - 1)

/* ---- notes ---- */

/* Where a note points to. Filled by place_of(). */
struct place {
	const struct object_meta *meta;
	const char *kind;
	int line;      /* 0: that of the object */
	char path[96]; /* "" when the whole object is meant */
};

__attribute__((format(printf, 4, 5))) struct place place_of(const struct object_meta *meta, const char *kind, int line, const char *path,
							    ...);

/* How the manifests of a route call things. */
struct route_words {
	const char *kind, *items, *match, *destination; /* "VirtualService", "spec.http", "match", "route" */
};

const struct route_words *words_of(const struct virtual_service *vs);

#define place_of_route(vs, line, ...) place_of(&(vs)->meta, words_of(vs)->kind, line, __VA_ARGS__)

/* Appends a note. 0 or -ENOMEM. */
__attribute__((format(printf, 5, 6))) int note_add(struct plan_note **notes, size_t *count, enum note_level level,
						   const struct place *place, const char *format, ...);

/* In a planner: running out of memory is remembered and ends the plan. */
#define note(planner, level, place, ...) \
	((planner)->out_of_memory |= note_add(&(planner)->tables->notes, &(planner)->tables->note_count, level, place, __VA_ARGS__) < 0)

/* ---- growing arrays ---- */

/* A new zeroed element at the end of the array that `items` points to (a pointer to a pointer); NULL when there is no memory. */
void *array_append(void *items, size_t *count, size_t size);

#define ARRAY_APPEND(items, count) ((__typeof__(items))array_append(&(items), &(count), sizeof(*(items))))

/* ---- the planner ---- */

/* "At this address and port, requests with this Host are mine." */
struct claim {
	struct shunt_frontend_key key;
	const struct virtual_service *vs;
	enum shunt_host_match match;
	const char *host; /* as written, "*." cut off for a suffix; NULL for any */
};

/* A destination's Service port and the rings of the pods behind it. */
struct backend {
	const struct service *service;
	const struct service_port *port;
	uint16_t ring[SHUNT_FAMILIES]; /* SHUNT_NONE: no ready pod */
	uint16_t near[SHUNT_FAMILIES]; /* likewise, of the pods on this node */
	uint16_t pods[SHUNT_FAMILIES];
};

/* A version within a body. */
struct body_version {
	char name[SHUNT_NAME_MAX * 2];
	const struct http_destination *destination; /* the first that has the name */
	uint16_t index;				    /* in tables->versions */
};

/* One match of an item, such as spec.http[item].match[match]: conditions that all hold, and where it leads. */
struct body_match {
	const struct body *body;
	uint16_t item, match; /* match SHUNT_NONE: the item has none and takes everything */
	uint16_t split;
	bool is_rule;         /* its one condition is on the user id, and the trie can say it */
	struct shunt_condition *conditions; /* none: it takes everything; slots are not filled in */
	size_t condition_count;
};

/* A VirtualService on one port: all its frontends with that port, of either family and under any host, have this in common. */
struct body {
	const struct virtual_service *vs;
	uint16_t port;
	bool unusable; /* a note says why; its frontends stay untouched */
	enum shunt_kind kind;
	const struct steering *steering; /* NULL: no experiment wants anything of the route */
	enum shunt_identity identity;
	char identity_name[SHUNT_NAME_MAX + 1];
	struct body_version *versions;
	size_t version_count;
	struct body_match *matches; /* in the order in which they are tried */
	size_t match_count;
	uint16_t split; /* for what no match takes */
	uint16_t item;  /* where that was written; SHUNT_NONE: nowhere, it stands in */
	uint16_t trial; /* in tables->trials; SHUNT_NONE */
	bool families[SHUNT_FAMILIES]; /* of its frontends */
};

struct route_source {
	struct body *body;
	const struct claim *claim;
};

/* The claims on one frontend whose routes can be planned, in the order in which the kernel tries them. Frontends whose lists are equal share routes. */
struct route_list {
	struct route_source items[SHUNT_ROUTES_PER_FRONTEND];
	size_t count;
	uint16_t route, routes; /* what they are in the tables: the first, and how many */
};

struct planner {
	const struct world *world;
	const struct plan_node *node; /* NULL: every pod is here */
	const struct steering *steerings;
	size_t steering_count;
	__u64 salt_key[2];
	struct tables *tables;
	const struct virtual_service **routes; /* in the order that settles who is first: creation, then namespace/name */
	size_t route_count;
	struct claim *claims; /* in the order of routes */
	size_t claim_count;
	struct body **bodies;
	size_t body_count;
	struct backend *backends;
	size_t backend_count;
	struct route_list *lists;
	size_t list_count;
	bool out_of_memory;
};

/* Which of abi.h's tables is full, for the note of whoever rolls back; its elements are zeroed. NULL: no memory, or full (*ret_full is its name). */
#define TABLE_APPEND(planner, items, count, max, name, ret_full) \
	((__typeof__(items))table_append(planner, &(items), &(count), sizeof(*(items)), max, name, ret_full))
void *table_append(struct planner *planner, void *items, size_t *count, size_t size, size_t max, const char *name, const char **ret_full);

/* claims.c: fills planner->claims. 0 or -ENOMEM. */
int claims_collect(struct planner *planner);

/* claims.c: order in which a frontend's routes are looked at: exact hosts, then suffixes, longer ones first, then any. As strcmp() says it. */
int claim_compare(const struct claim *a, const struct claim *b);
bool claim_same_host(const struct claim *a, const struct claim *b);

/* claims.c: does the first claim's host take every request that the second one's does? */
bool claim_covers(const struct claim *a, const struct claim *b);

/* bodies.c: the body of a route on a port, planned when it is first asked for. NULL only when there is no memory. */
struct body *body_get(struct planner *planner, const struct virtual_service *vs, uint16_t port);
void body_free(struct body *body);

/* bodies.c: notes about versions without ready pods, once all frontends are known. */
void bodies_check_pods(struct planner *planner);

/* rules.c: body->identity and identity_name. What cannot be used is noted, and the client address stands in. */
void rules_identity(struct planner *planner, struct body *body);

/*
 * rules.c: appends the matches of an item, without their split, to body->matches. Returns how many; what cannot be evaluated is noted and left out.
 * -E2BIG: it is larger than abi.h's sizes (a note says so); -ENOMEM.
 */
int rules_add(struct planner *planner, struct body *body, const struct http_route *route, uint16_t item);

/* bodies.c: the entry (spec.http[], or spec.tcp[] without any) that takes every request, or the first; NULL: no entries. */
const struct http_route *route_entry(const struct virtual_service *vs, int entry);

/* rules.c: does the entry take every request, as it is written? */
bool rules_entry_is_default(const struct http_route *entry);
/*
 * entries.c: the matches, in their order, as rules and entries of tables->routes[index], whose identity is set; the first that takes everything is its
 * default. 0; -ENOSPC and *ret_full (what was added is the caller's to roll back); -ENOMEM.
 */
int entries_add(struct planner *planner, const struct body_match *const *matches, size_t count, uint16_t index, const char **ret_full);

/*
 * entries.c: the precedence of HTTPRouteMatches (Gateway API, HTTPRouteRule.matches): exact path, longest prefix, method, headers, parameters. As
 * strcmp() says it; 0: the older route, then the first rule counts.
 */
int match_precedence(const struct body_match *a, const struct body_match *b);

/* edits.c: what happens to heads of requests to an entry's destination and of their responses: edit and request_edit. What cannot be done is noted. */
void edits_get(struct planner *planner, const struct place *place, const struct http_route *entry, const struct http_destination *destination,
	       struct shunt_version *ret_version);

/* backends.c: rings of the pods that a destination means on a frontend's port. 0; -ENOENT (a note says why); -ENOSPC and *ret_full; -ENOMEM. */
int backend_get(struct planner *planner, const struct place *place, const struct virtual_service *vs,
		const struct http_destination *destination, uint16_t frontend_port, struct backend *ret_backend, const char **ret_full);

/* A destination's or host's Service by Istio's rules: "name" in `ns`, "name.ns", "name.ns.svc", "name.ns.svc.cluster.local". */
struct host_name {
	char service[254], ns[254];
};

/* false: no name of that form. */
bool host_parse(const char *host, const char *ns, struct host_name *ret_name);
const struct service *host_service(const struct world *world, const char *host, const char *ns);

/* The version of a destination: what its answers are marked with, else its subset, else "<service>.<namespace>". Returns buf, or NULL: too long. */
const char *version_name(const char *ns, const struct http_destination *destination, char buf[SHUNT_NAME_MAX * 2]);

/* resolve.c: does the destination lead to the version that the experiment describes, by its name or by its namespace? */
bool destination_is_described(const struct virtual_service *vs, const struct http_destination *destination, const struct version_detail *detail);

/* series.c: the index of a pair, a new one when it has none. -ENOSPC when all are taken. */
int series_get(struct shunt_series series[SHUNT_SERIES], const char *route, const char *version);

/* -1 when the pair has none. */
int series_find(const struct shunt_series series[SHUNT_SERIES], const char *route, const char *version);

#endif
