/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The daemon: observe, assess, decide, steer, in one process and one thread.
 *
 *     folder changes ──┐
 *     interface comes ─┼─▶ loop ──▶ plan ──▶ commit ──▶ packets
 *     experiment ends ─┘     └────▶ attach, <run dir>/state.json
 */
#ifndef SHUNT_LOOP_H
#define SHUNT_LOOP_H

#include <stdbool.h>

#include "datapath/datapath.h"

struct loop_options {
	const char *dir;        /* of manifests */
	const char *interfaces; /* patterns (netlink_matches); NULL: every veth that is up */
	const char *uplinks;    /* likewise, of interfaces that lead out of the node; NULL: none */
	const char *node_name;  /* as EndpointSlices call this node */
	bool return_at_pods;    /* answers are met where they come in from pods, too */
	bool host;              /* the node's own connections are steered */
	const char *pin_dir, *run_dir;
	const char *task_user;  /* NULL: nobody */
	struct datapath_wishes wishes;
	const char *listen;     /* address and port of the HTTP server (serve/server.h); NULL: none */
	enum attach_mode attach;
	bool once;              /* steer by what is there now, and leave */
};

/*
 * Runs until SIGTERM or SIGINT; everything stays attached and pinned, and packets go on. SIGHUP reads the folder again. Everything that went wrong is
 * logged. Returns 0; -EBADMSG: the folder does not parse and nothing was touched; another negative errno.
 */
int loop_run(const struct loop_options *options);

#endif
