// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * What a CNI with eBPF host routing does: at the host's end of a pod's link, packets for another pod of the node go straight into that pod's namespace.
 * The host's stack, and the egress of the other pod's link, never see them. tests/lib/redirect_peer.py fills the map and attaches the program.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct peer {
	__u32 ifindex; /* the host's end of the pod's link */
	__u8 mac[12];  /* Ethernet header on that link: the pod's, the host's */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct in6_addr); /* IPv4: ::ffff:a.b.c.d */
	__type(value, struct peer);
} peers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} peered SEC(".maps"); /* packets that took the short way */

SEC("tc")
int redirect_peer(struct __sk_buff *skb)
{
	struct in6_addr to = {};
	struct peer *peer;
	__u64 *count;
	__u32 zero = 0;

	if (skb->protocol == bpf_htons(0x86dd)) {
		if (bpf_skb_load_bytes(skb, 14 + 24, &to, sizeof(to)))
			return TCX_NEXT;
	} else if (skb->protocol == bpf_htons(0x0800)) {
		to.in6_u.u6_addr32[2] = bpf_htonl(0xffff);
		if (bpf_skb_load_bytes(skb, 14 + 16, &to.in6_u.u6_addr32[3], 4))
			return TCX_NEXT;
	}
	peer = bpf_map_lookup_elem(&peers, &to);
	if (!peer || bpf_skb_store_bytes(skb, 0, peer->mac, sizeof(peer->mac), 0))
		return TCX_NEXT;
	count = bpf_map_lookup_elem(&peered, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return bpf_redirect_peer(peer->ifindex, 0);
}

char _license[] SEC("license") = "GPL";
