/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Programs that no packet runs but the agent, now and then. */
#include "datapath/datapath.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>

#include <bpf/bpf.h>

#include "datapath/internal.h"
#include "util/cleanup.h"

/* Runs a program on the least frame that BPF_PROG_TEST_RUN takes; all that it looks at is the protocol. */
static int run_on_frame(struct datapath *datapath, enum datapath_prog prog, uint16_t protocol)
{
	unsigned char frame[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	((struct ethhdr *)frame)->h_proto = htons(protocol);
	return bpf_prog_test_run_opts(datapath->prog[prog], &opts) ? -errno : 0;
}

int datapath_tick(struct datapath *datapath)
{
	static const uint16_t protocols[] = { ETH_P_IP, ETH_P_IPV6 };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(protocols) && !r; i++)
		r = run_on_frame(datapath, DATAPATH_PROG_TICK, protocols[i]);
	return r ? log_err(r, "cannot run %s; silent pods are given up when their client sends again", SHUNT_PROG_TICK) : 0;
}

int datapath_sweep(struct datapath *datapath)
{
	int r = run_on_frame(datapath, DATAPATH_PROG_SWEEP, ETH_P_IP);

	return r ? log_err(r, "cannot run %s; flows whose ends are gone stay in the flow table", SHUNT_PROG_SWEEP) : 0;
}
