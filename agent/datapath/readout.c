/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The numbers: every CPU has its own copy of each counter, so that no packet waits for another; a reader adds them up. Counters only grow and are
 * never reset: who wants a rate or an interval keeps the last reading and subtracts.
 */
#include "datapath/internal.h"

#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "util/cleanup.h"
#include "util/log.h"

_Static_assert(sizeof(struct shunt_count) % sizeof(__u64) == 0 && sizeof(struct shunt_hist) % sizeof(__u64) == 0,
	       "counters are added up as 64-bit words");

/* One entry, its words added up over all CPUs. ret_value has the map's value size. */
static int sum(struct datapath *datapath, enum datapath_map map, uint32_t key, void *ret_value)
{
	size_t size = datapath_map_info[map].value_size, words = size / sizeof(__u64);
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ __u64 *values = NULL;

	if (cpus < 0)
		return log_err(cpus, "cannot find the number of CPUs");
	values = calloc(cpus, size);
	if (!values)
		return -ENOMEM;
	if (bpf_map_lookup_elem(datapath->map[map], &key, values))
		return log_err(-errno, "cannot read %s", datapath_map_info[map].name);
	for (int cpu = 1; cpu < cpus; cpu++)
		for (size_t i = 0; i < words; i++)
			values[i] += values[cpu * words + i];
	memcpy(ret_value, values, size);
	return 0;
}

int datapath_read_numbers(struct datapath *datapath, int series, struct series_numbers *ret_numbers)
{
	struct series_numbers numbers;
	int r;

	if (series < 0 || series >= SHUNT_SERIES)
		return -EINVAL;
	r = sum(datapath, DATAPATH_MAP_COUNT, series, &numbers.count);
	for (int i = 0; i < SHUNT_LATENCIES && !r; i++)
		r = sum(datapath, DATAPATH_MAP_HIST, series * SHUNT_LATENCIES + i, &numbers.latency[i]);
	if (!r)
		*ret_numbers = numbers;
	return r;
}

int datapath_read_reasons(struct datapath *datapath, uint64_t ret_reasons[SHUNT_R_MAX])
{
	uint64_t reasons[SHUNT_R_MAX];
	int r = 0;

	for (int i = 0; i < SHUNT_R_MAX && !r; i++)
		r = sum(datapath, DATAPATH_MAP_REASON, i, &reasons[i]);
	if (!r)
		memcpy(ret_reasons, reasons, sizeof(reasons));
	return r;
}
