/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel side, as the agent and the commands see it.
 *
 *     datapath_open ──▶ datapath_attach (each interface) ──▶ datapath_commit (each plan) ──▶ readout (any time, also without the agent)
 *
 * Everything lives in pins, so the packets need no agent:   <pin dir>/shunt_*   maps
 *                                                           <pin dir>/prog/...  programs
 *                                                           <pin dir>/link/<interface>-<from|to|return>   tcx links; for clsact the program that is attached
 */
#ifndef SHUNT_DATAPATH_H
#define SHUNT_DATAPATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "datapath/users.h"
#include "plan/plan.h"
#include "shunt/abi.h"

#define DATAPATH_PIN_DIR "/sys/fs/bpf/shunt" /* default; --pin-dir changes it */

struct datapath; /* loaded or opened; owns its file descriptors */

/* What may be chosen; 0 is the default. Maps that are pinned already keep their sizes, and a warning says so. */
struct datapath_wishes {
	uint32_t users;           /* entries of shunt_user (SHUNT_USERS) */
	uint32_t flows;           /* entries of shunt_flow (SHUNT_FLOWS); shunt_leg has twice as many */
	uint32_t holds;           /* entries of shunt_hold (SHUNT_HOLDS) */
	uint32_t pod_deadline_ms; /* SHUNT_POD_DEADLINE_MS */
	uint32_t quiet_ms;        /* SHUNT_QUIET_MS */
};

/*
 * Loads the programs and pins maps and programs under pin_dir (bpffs is mounted at its parent when it is not there yet). Maps that are pinned already
 * are taken over with all they hold: flows, counters, tables; links that are pinned are updated to the new programs in place. Pins of another
 * SHUNT_SCHEMA are refused (-EPROTO), never reinterpreted. Errors name the missing capability (CAP_BPF, CAP_NET_ADMIN) or kernel feature.
 * The pin directory is locked until datapath_close(): -EBUSY when another agent has it. One pin directory serves one network namespace.
 */
int datapath_open(const char *pin_dir, const struct datapath_wishes *wishes, struct datapath **ret_datapath);

/* Opens the pins of a running (or left) datapath for reading; loads nothing. -ENOENT: nothing is pinned there. */
int datapath_open_pinned(const char *pin_dir, struct datapath **ret_datapath);

/* Closes the descriptors. The packets go on. NULL is fine. */
void datapath_close(struct datapath **datapath);

/* How programs get onto an interface. AUTO: tcx where the kernel has it (6.6), else clsact. */
enum attach_mode { ATTACH_AUTO, ATTACH_TCX, ATTACH_CLSACT, ATTACH_MODE_MAX };

/* "auto", "tcx", "clsact". -EINVAL: none of these. */
int attach_mode_parse(const char *text, enum attach_mode *ret_mode);

/* For the calls of datapath_attach() that follow; AUTO is set at the start. */
void datapath_set_attach_mode(struct datapath *datapath, enum attach_mode mode);

/* True when attaching needs CAP_NET_ADMIN: clsact does, tcx with loaded programs needs nothing. */
bool datapath_attach_needs_net_admin(const struct datapath *datapath);

/*
 * Attaches to an interface of the caller's network namespace: tcx where the kernel has it, else clsact. Clients are behind it; `returns`: pods too, whose
 * answers are met where they come in (shunt_from_pod). Attaching again is fine: it renews the programs. -ENODEV, -EOPNOTSUPP (no Ethernet), -EPERM.
 */
int datapath_attach(struct datapath *datapath, const char *ifname, bool returns);

/* Ends what datapath_attach() made there, now or in an earlier run. 0 also when there is nothing. */
int datapath_detach(struct datapath *datapath, const char *ifname);

/* Makes the interfaces for the node's own connections (host.h), or removes what an earlier run made. To be called before the first attachment. */
int datapath_host(struct datapath *datapath, bool wanted);

struct datapath_place {
	uint32_t ifindex;
	struct shunt_place place;
};

/* What the programs are to know of interfaces that do not just lead to pods of this node: these, and no others. */
int datapath_set_places(struct datapath *datapath, const struct datapath_place *places, size_t count);

/* Removes the pins of an interface that has left this network namespace. An interface of that name that is there is left alone. */
int datapath_forget(struct datapath *datapath, const char *ifname);

/* Writes the plan beside the live tables and flips. On any error the live tables stay as they are. */
int datapath_commit(struct datapath *datapath, const struct tables *tables);

/* The live side, as values. ret_tables: what datapath_commit wrote, without notes (tables_free). */
int datapath_read_tables(struct datapath *datapath, struct tables **ret_tables);

/* The series names alone: input of the next plan(). */
int datapath_read_series(struct datapath *datapath, struct shunt_series ret_series[SHUNT_SERIES]);

/* The counters of one series, added up over CPUs. */
struct series_numbers {
	struct shunt_count count;
	struct shunt_hist latency[SHUNT_LATENCIES];
};

int datapath_read_numbers(struct datapath *datapath, int series, struct series_numbers *ret_numbers);

/* All reason counters, added up over CPUs. */
int datapath_read_reasons(struct datapath *datapath, uint64_t ret_reasons[SHUNT_R_MAX]);

/* Hands on the events that are in the ring, oldest first. Each is read once, by whoever comes first. */
int datapath_read_events(struct datapath *datapath, void (*on_event)(void *arg, const struct shunt_event *event), void *arg);

/* One interface with our programs. */
struct attachment {
	char ifname[16];
	uint32_t ifindex;  /* 0: the interface is gone */
	bool tcx;          /* else clsact */
	bool returns;      /* answers of pods are met at its ingress */
	struct shunt_place place; /* all zero: it leads to pods of this node */
};

/* Attachments of the caller's network namespace; the caller frees *ret_attachments. */
int datapath_read_attachments(struct datapath *datapath, struct attachment **ret_attachments, size_t *ret_count);

/* A request as explain asks about it. Text is sent as it is. */
struct explain_request {
	struct shunt_addr client, frontend; /* both of one family */
	uint16_t client_port, frontend_port;
	const char *head; /* a whole HTTP request head, or "" for a connection frontend */
};

/* Runs the kernel's own decision code on the live tables (BPF_PROG_TEST_RUN). Counts nothing, sends nothing. */
int datapath_explain(struct datapath *datapath, const struct explain_request *request, struct shunt_answer *ret_answer);

/* Lets the programs do what is due by time: every SHUNT_TICK_MS. */
int datapath_tick(struct datapath *datapath);

/* Ends flows of which nothing was heard for too long (SHUNT_IDLE_* in abi.h). Walks the flow table once, some 10 ms when it is full. */
int datapath_sweep(struct datapath *datapath);

/* Detaches from every interface and removes all pins. Flows of request frontends break. -ENOENT: nothing there; -EBUSY: an agent runs on it. */
int datapath_unload(const char *pin_dir);

#endif
