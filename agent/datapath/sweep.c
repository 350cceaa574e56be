/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/datapath.h"

#include <errno.h>

#include <bpf/bpf.h>

#include "datapath/internal.h"

int datapath_sweep(struct datapath *datapath)
{
	unsigned char frame[64] = {}; /* the least that BPF_PROG_TEST_RUN takes; the program does not look at it */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	if (bpf_prog_test_run_opts(datapath->prog[DATAPATH_PROG_SWEEP], &opts))
		return log_err(-errno, "cannot run %s; flows whose ends are gone stay in the flow table", SHUNT_PROG_SWEEP);
	return 0;
}
