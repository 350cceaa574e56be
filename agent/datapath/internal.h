/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the files of datapath/ share: the descriptors, the pins and the raw system calls. Nobody else includes this. */
#ifndef SHUNT_DATAPATH_INTERNAL_H
#define SHUNT_DATAPATH_INTERNAL_H

#include "datapath/datapath.h"
#include "util/log.h"

/* Logs a message that needs no errno's text behind it, and gives that errno. */
#define log_refuse(err, ...) ((void)log_err(0, __VA_ARGS__), (err))

/* X(id, name, key, value): the maps that outlive the agent. Others of the BPF object (scratch) belong to one load and are not pinned. */
#define DATAPATH_MAPS(X)                                                          \
	X(META, "shunt_meta", __u32, struct shunt_meta)                           \
	X(FRONTEND, "shunt_frontend", struct shunt_frontend_key, struct shunt_frontend) \
	X(ROUTE, "shunt_route", __u32, struct shunt_route)                        \
	X(RULE, "shunt_rule", struct shunt_rule_key, struct shunt_rule)           \
	X(ENTRY, "shunt_entry", __u32, struct shunt_entry)                        \
	X(CONDITION, "shunt_cond", __u32, struct shunt_condition)                 \
	X(SPLIT, "shunt_split", __u32, struct shunt_split)                        \
	X(VERSION, "shunt_version", __u32, struct shunt_version)                  \
	X(RING, "shunt_ring", __u32, struct shunt_ring)                           \
	X(POD, "shunt_pod", __u32, struct shunt_pod)                              \
	X(TRIAL, "shunt_trial", __u32, struct shunt_trial)                        \
	X(PLACE, "shunt_place", __u32, struct shunt_place)                        \
	X(SERIES, "shunt_series", __u32, struct shunt_series)                     \
	X(EDIT, "shunt_edit", __u32, struct shunt_edit)                           \
	X(FLOW, "shunt_flow", struct shunt_flow_key, struct shunt_flow)           \
	X(LEG, "shunt_leg", struct shunt_leg_key, struct shunt_leg_owner)         \
	X(DIRECT, "shunt_direct", struct shunt_leg_key, struct shunt_leg_owner)   \
	X(WAIT, "shunt_wait", struct shunt_flow_key, __u64)                       \
	X(CLOSED, "shunt_closed", struct shunt_flow_key, struct shunt_closed)     \
	X(PROMISE, "shunt_promise", struct shunt_frontend_key, struct shunt_promise) \
	X(HOLD, "shunt_hold", __u32, struct shunt_hold)                           \
	X(LOCK, "shunt_lock", __u32, struct shunt_lock)                           \
	X(COUNT, "shunt_count", __u32, struct shunt_count)                        \
	X(HIST, "shunt_hist", __u32, struct shunt_hist)                           \
	X(EVENTS, "shunt_events", struct {}, struct {})                          \
	X(REASON, "shunt_reason", __u32, __u64)                                   \
	X(USER, "shunt_user", struct shunt_user_key, struct shunt_user)

enum datapath_map {
#define X(id, name, key, value) DATAPATH_MAP_##id,
	DATAPATH_MAPS(X)
#undef X
	DATAPATH_MAP_MAX
};

struct datapath_map_info {
	const char *name;
	uint32_t key_size, value_size;
};

extern const struct datapath_map_info datapath_map_info[DATAPATH_MAP_MAX];

enum datapath_prog {
	DATAPATH_PROG_FROM_CLIENT,
	DATAPATH_PROG_TO_CLIENT,
	DATAPATH_PROG_FROM_POD,
	DATAPATH_PROG_EXPLAIN,
	DATAPATH_PROG_SWEEP,
	DATAPATH_PROG_TICK,
	DATAPATH_PROG_MAX
};

extern const char *const datapath_prog_name[DATAPATH_PROG_MAX];

struct datapath {
	char *pin_dir;
	int lock; /* the locked pin directory; -1 for readers */
	int map[DATAPATH_MAP_MAX];
	int prog[DATAPATH_PROG_MAX];
	enum attach_mode attach_mode;
};

/* ---- pins.c: the pin directory ---- */

/* Reads and checks the head of the pinned tables: -EPROTO (logged) when they are not ours to understand. */
int pins_check_meta(const char *pin_dir, int meta_fd);

/* Creates the directory tree (and mounts bpffs under it when that is /sys/fs/bpf). Logged. */
int pins_prepare(const char *pin_dir);

/*
 * Takes the exclusive lock on the pin directory, which ends with the process. -EBUSY (logged): another agent has it; -ENOENT (not logged): there is
 * no such directory. ret_fd: the open directory.
 */
int pins_lock(const char *pin_dir, int *ret_fd);

/* A pin's path; the caller frees it. NULL: no memory. sub is "", "prog/" or "link/". */
char *pins_path(const char *pin_dir, const char *sub, const char *name);

/* Pins fd under path, in place of what is pinned there (in one step: readers always find one of both). */
int pins_replace(int fd, const char *path);

/* Names in a sub-directory of the pin directory, in order. None when it is absent. The caller frees each and the list. */
int pins_list(const char *pin_dir, const char *sub, char ***ret_names, size_t *ret_count);

void pins_free_list(char ***names, size_t count);

/* ---- attach.c ---- */

/* Puts the programs of this load in the place of the earlier ones on every interface that has them. */
int attach_renew(struct datapath *datapath);

/* Is an attachment to the interface pinned? */
bool attach_has(const char *pin_dir, const char *ifname);

/* Detaches everything under <pin_dir>/link. */
int attach_remove_all(const char *pin_dir);

#endif
