// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The program that does nothing: what a packet costs before any program does something (tests/bench/packets.py). */
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>

#define TC_ACT_UNSPEC (-1)

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
