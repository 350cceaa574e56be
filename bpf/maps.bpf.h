/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Every map. What they hold and how they hang together stands at the head of shunt/abi.h. */
#ifndef SHUNT_MAPS_BPF_H
#define SHUNT_MAPS_BPF_H

#include "lib/base.bpf.h"

#define SHUNT_MAP(name, map_type, entries, key_type, value_type, flags) \
	struct {                                                        \
		__uint(type, map_type);                                 \
		__uint(max_entries, entries);                           \
		__uint(map_flags, flags);                               \
		__type(key, key_type);                                  \
		__type(value, value_type);                              \
	} name SEC(".maps")

/* tables: both sides in one map */
SHUNT_MAP(shunt_meta, BPF_MAP_TYPE_ARRAY, 1, __u32, struct shunt_meta, 0);
SHUNT_MAP(shunt_frontend, BPF_MAP_TYPE_HASH, 2 * SHUNT_FRONTENDS, struct shunt_frontend_key, struct shunt_frontend, 0);
SHUNT_MAP(shunt_route, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_ROUTES, __u32, struct shunt_route, 0);
SHUNT_MAP(shunt_rule, BPF_MAP_TYPE_LPM_TRIE, 2 * SHUNT_RULES, struct shunt_rule_key, struct shunt_rule, BPF_F_NO_PREALLOC);
SHUNT_MAP(shunt_entry, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_ENTRIES, __u32, struct shunt_entry, 0);
SHUNT_MAP(shunt_cond, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_CONDITIONS, __u32, struct shunt_condition, 0);
SHUNT_MAP(shunt_split, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_SPLITS, __u32, struct shunt_split, 0);
SHUNT_MAP(shunt_version, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_VERSIONS, __u32, struct shunt_version, 0);
SHUNT_MAP(shunt_ring, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_RINGS, __u32, struct shunt_ring, 0);
SHUNT_MAP(shunt_pod, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_PODS, __u32, struct shunt_pod, 0);
SHUNT_MAP(shunt_trial, BPF_MAP_TYPE_ARRAY, 2 * SHUNT_TRIALS, __u32, struct shunt_trial, 0);

SHUNT_MAP(shunt_place, BPF_MAP_TYPE_HASH, SHUNT_PLACES, __u32, struct shunt_place, 0);

/* names */
SHUNT_MAP(shunt_series, BPF_MAP_TYPE_ARRAY, SHUNT_SERIES, __u32, struct shunt_series, 0);
SHUNT_MAP(shunt_edit, BPF_MAP_TYPE_ARRAY, SHUNT_EDITS, __u32, struct shunt_edit, 0);

/* state */
SHUNT_MAP(shunt_flow, BPF_MAP_TYPE_HASH, SHUNT_FLOWS, struct shunt_flow_key, struct shunt_flow, 0);
SHUNT_MAP(shunt_leg, BPF_MAP_TYPE_HASH, 2 * SHUNT_FLOWS, struct shunt_leg_key, struct shunt_leg_owner, 0);
SHUNT_MAP(shunt_direct, BPF_MAP_TYPE_LRU_HASH, SHUNT_DIRECTS, struct shunt_leg_key, struct shunt_leg_owner, 0);
SHUNT_MAP(shunt_wait, BPF_MAP_TYPE_LRU_HASH, SHUNT_WAITS, struct shunt_flow_key, __u64, 0);
SHUNT_MAP(shunt_closed, BPF_MAP_TYPE_LRU_HASH, SHUNT_CLOSED, struct shunt_flow_key, struct shunt_closed, 0);
SHUNT_MAP(shunt_promise, BPF_MAP_TYPE_LRU_HASH, SHUNT_PROMISES, struct shunt_frontend_key, struct shunt_promise, 0);
SHUNT_MAP(shunt_hold, BPF_MAP_TYPE_ARRAY, SHUNT_HOLDS, __u32, struct shunt_hold, 0);
SHUNT_MAP(shunt_lock, BPF_MAP_TYPE_ARRAY, SHUNT_LOCKS, __u32, struct shunt_lock, 0);

/* numbers */
SHUNT_MAP(shunt_count, BPF_MAP_TYPE_PERCPU_ARRAY, SHUNT_SERIES, __u32, struct shunt_count, 0);
SHUNT_MAP(shunt_hist, BPF_MAP_TYPE_PERCPU_ARRAY, SHUNT_SERIES * SHUNT_LATENCIES, __u32, struct shunt_hist, 0);
SHUNT_MAP(shunt_reason, BPF_MAP_TYPE_PERCPU_ARRAY, SHUNT_R_MAX, __u32, __u64, 0);

/*
 * users. One LRU list for all CPUs: with a list for each (BPF_F_NO_COMMON_LRU) a CPU that serves most users would forget some while the others have room.
 * The entries are allocated when the map is made, as those of every LRU map; the agent sets their number before.
 */
SHUNT_MAP(shunt_user, BPF_MAP_TYPE_LRU_HASH, SHUNT_USERS, struct shunt_user_key, struct shunt_user, 0);

/* events, and when the last one of each reason was */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, SHUNT_EVENTS_SIZE);
} shunt_events SEC(".maps");
SHUNT_MAP(shunt_told, BPF_MAP_TYPE_PERCPU_ARRAY, SHUNT_R_MAX, __u32, __u64, 0); /* not pinned */

/* what one run of a program works on; not pinned */
SHUNT_MAP(shunt_work, BPF_MAP_TYPE_PERCPU_ARRAY, 1, __u32, struct work, 0);

#endif
