// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * A link that loses packets: drops a share of what passes, at random, and counts. For tests (tests/lib/fault.py attaches it with tc).
 *
 * The kernel of a test machine may lack netem, and this one can say exactly how many packets it took.
 */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2

enum fault_slot {
	FAULT_PER_MILLION = 0, /* written by the test: packets to drop of a million */
	FAULT_SEEN = 1,
	FAULT_DROPPED = 2,
	FAULT_SLOTS = 3,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FAULT_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} fault_slots SEC(".maps");

static __u64 *slot(__u32 index)
{
	return bpf_map_lookup_elem(&fault_slots, &index);
}

SEC("tc")
int fault_drop(struct __sk_buff *skb)
{
	__u64 *per_million = slot(FAULT_PER_MILLION), *seen = slot(FAULT_SEEN), *dropped = slot(FAULT_DROPPED);

	if (!per_million || !seen || !dropped)
		return TC_ACT_UNSPEC;
	__sync_fetch_and_add(seen, 1);
	if (bpf_get_prandom_u32() % 1000000 >= *per_million)
		return TC_ACT_UNSPEC;
	__sync_fetch_and_add(dropped, 1);
	return TC_ACT_SHOT;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
