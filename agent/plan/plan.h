/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * plan(): from the world to the tables that steer packets. Pure: no I/O, no clock, no globals; the same world gives the same tables on every node.
 *
 *     world, steerings, series so far ──▶ plan() ──▶ tables + notes ──▶ datapath/tables.c writes them beside the live ones and flips
 */
#ifndef SHUNT_PLAN_H
#define SHUNT_PLAN_H

#include "shunt/abi.h"
#include "world/world.h"

/* Part of the users: hashes below `end` that no share before takes. */
struct steering_share {
	char *version; /* name as the route has it */
	uint64_t end;  /* of 2^32; the last one's is 2^32 */
};

/*
 * What an experiment wants of a route. While it runs: its users divided by its own salt, so that no two experiments have the same guinea pigs, and in
 * shares of its own in place of an entry's weights. When it has ended (a promotion): one version gets all traffic. What it does not say stays as the
 * route's manifest says it: rules of users, weights of other entries, header edits.
 */
struct steering {
	char *experiment; /* "namespace/name", for notes */
	char *route;      /* "namespace/name" of the VirtualService; NULL: every route that has the version */
	char *version;    /* a promotion's; NULL: the experiment runs */
	uint64_t route_hash; /* a promotion holds while the VirtualService's object_meta.hash is this; 0: always */
	char *salt;       /* text that the users' hashes are salted with, at most SHUNT_ID_MAX - 1 bytes; NULL: that of the route */
	int entry;        /* index of the entry (spec.http[], spec.tcp[]) that the shares are of; -1: the default one */
	struct steering_share shares[SHUNT_SHARES];
	size_t share_count; /* 0: the weights as they are written */
	struct shunt_trial trial; /* of a running experiment, which wants to know what single users get; id 0: it does not */
};

enum note_level { NOTE_INFO, NOTE_WARNING, NOTE_ERROR };

/* Something a person should know about how the world was understood. A note never stops the rest of the plan. */
struct plan_note {
	enum note_level level;
	char *where;   /* "routing.yaml:12 VirtualService default/routing-rule spec.http[0].route[0]" */
	char *message; /* what was found, what is done about it, what to do */
};

struct tables_frontend {
	struct shunt_frontend_key key; /* side is filled in at the commit */
	struct shunt_frontend value;
};

struct tables_rule {
	uint16_t route;
	uint8_t length;           /* bytes of id; an exact rule includes its terminating 0 */
	uint8_t id[SHUNT_ID_MAX + 8];
	struct shunt_rule value;
};

/* Names beside struct shunt_version, for people. */
struct tables_version {
	struct shunt_version value;
	uint16_t pods[SHUNT_FAMILIES]; /* ready pods in its rings */
};

/* The node that the plan is for. Which pods are its own, EndpointSlices say (nodeName); one that says nothing has all its pods here. */
struct plan_node {
	const char *name;
	bool uplink;                 /* clients outside come in, by --uplink */
	bool address[SHUNT_FAMILIES]; /* the uplink has one, to which pods on other nodes can answer */
};

/* One side of the tables, and the series as they are to be. All indices are those of abi.h. */
struct tables {
	struct tables_frontend *frontends;
	size_t frontend_count;
	struct shunt_route *routes;
	size_t route_count;
	struct tables_rule *rules;
	size_t rule_count;
	struct shunt_entry *entries;
	size_t entry_count;
	struct shunt_condition *conditions;
	size_t condition_count;
	struct shunt_split *splits;
	size_t split_count;
	struct tables_version *versions;
	size_t version_count;
	struct shunt_edit *edits; /* versions[].value.edit is an index of these + 1 */
	size_t edit_count;
	struct shunt_ring *rings;
	size_t ring_count;
	struct shunt_pod *pods;
	size_t pod_count;
	struct shunt_trial *trials;
	size_t trial_count;
	struct shunt_series series[SHUNT_SERIES];
	struct plan_note *notes;
	size_t note_count;
};

/*
 * Plans for a node (NULL: all pods are here). `series` are the names in use so far (SHUNT_SERIES of them): known (route, version) pairs keep their index, so that counters and flows
 * stay theirs; new ones get the first free. `salt_key` is 16 bytes that this installation keeps secret and constant: split salts come from it and
 * the name of the route (or an experiment's salt), so that every node and every restart sends a user to the same version and two routes are independent.
 * Returns 0 and a new tables (tables_free), or -ENOMEM. A world larger than abi.h's sizes gives NOTE_ERRORs and leaves the excess objects out whole.
 */
int plan(const struct world *world, const struct plan_node *node, const struct steering *steerings, size_t steering_count,
	 const struct shunt_series series[SHUNT_SERIES], const uint8_t salt_key[16], struct tables **ret_tables);

void tables_free(struct tables **tables);

/*
 * The versions that an experiment's versionInfo names, as series. For each version detail: the one series whose version name equals the detail's
 * name; else the one whose destination lies in the namespace that the variable `ns` gives. ret_series[i] is -1 where there is none (a note says
 * why); ret_route is the "namespace/name" of the route that has them all, or NULL. The caller frees ret_route and the notes (notes_free).
 */
int plan_resolve_versions(const struct world *world, const struct tables *tables, const struct experiment *experiment, int *ret_series,
			  char **ret_route, struct plan_note **ret_notes, size_t *ret_note_count);

/*
 * The weights that a route's entry gives to versions of these names (NULL: nobody), in per cent of all its weights. entry as in struct steering.
 * -ENOENT: there is no such route or entry.
 */
int plan_entry_weights(const struct world *world, const char *route, int entry, char *const names[], size_t count, double *ret_percent);

void notes_free(struct plan_note **notes, size_t count);

#endif
