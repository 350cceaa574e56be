// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * A bad network: packets are lost, come late and out of order, come twice, or come with a byte that is not what was sent. For tests
 * (tests/lib/mangle.py attaches it); the kernel of a test machine may lack netem, and this one says how many packets it touched.
 *
 *                  ┌────────────── a box ──────────────┐
 *     the node ════╪═ eth0 ── mangle_in, mangle_out ── stack
 *                  │             │late       ▲ again
 *                  │           park0 ─────▶ park1      a slow link (TBF): what takes it is overtaken by what does not
 *                  └───────────────────────────────────┘
 *
 * A packet that was through carries a mark, so that it meets its fate once. Damage is done by an XDP program where a packet arrives, at either end
 * of a link: a byte that is changed before its sender's checksum is made would be a byte that was sent. So the senders must not offload checksums.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2
#define XDP_PASS 2

/* User-space ABI; not among the types of bpf/, whose programs are all for tc. */
struct xdp_md {
	__u32 data;
	__u32 data_end;
};

enum mangle_slot { /* of mangle_slots; Mangle of mangle.py */
	MANGLE_LOSE = 0, /* written by the test: packets of a million */
	MANGLE_DELAY = 1,
	MANGLE_REPEAT = 2,
	MANGLE_DAMAGE = 3,
	MANGLE_DONE = 4, /* MANGLE_DONE + i: how many it were */
	MANGLE_PARK = 8, /* index of park0, the same in every box */
	MANGLE_SLOTS = 9,
};

enum mangle_mark { /* skb->mark; the lower half is the index of the interface to go back to */
	MARK_OUT = 0x6d010000,
	MARK_IN = 0x6d020000,
	MARK_THROUGH = 0x6d030000,
	MARK_KIND = 0xffff0000,
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MANGLE_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} mangle_slots SEC(".maps");

static __u64 slot(__u32 index)
{
	__u64 *value = bpf_map_lookup_elem(&mangle_slots, &index);

	return value ? *value : 0;
}

static bool strikes(__u32 fault)
{
	__u32 index = MANGLE_DONE + fault;
	__u64 *done = bpf_map_lookup_elem(&mangle_slots, &index);

	if (!done || bpf_get_prandom_u32() % 1000000 >= slot(fault))
		return false;
	__sync_fetch_and_add(done, 1);
	return true;
}

static __always_inline int mangle(struct __sk_buff *skb, __u32 back, __u64 direction)
{
	if ((skb->mark & MARK_KIND) == MARK_THROUGH) {
		skb->mark = 0;
		return TC_ACT_UNSPEC;
	}
	if (strikes(MANGLE_LOSE))
		return TC_ACT_SHOT;
	if (strikes(MANGLE_REPEAT)) {
		skb->mark = MARK_THROUGH;
		bpf_clone_redirect(skb, skb->ifindex, direction);
		skb->mark = 0;
	}
	if (strikes(MANGLE_DELAY)) {
		skb->mark = back | (skb->ifindex & ~MARK_KIND);
		return bpf_redirect(slot(MANGLE_PARK), 0);
	}
	return TC_ACT_UNSPEC;
}

SEC("tc")
int mangle_out(struct __sk_buff *skb)
{
	return mangle(skb, MARK_OUT, 0);
}

SEC("tc")
int mangle_in(struct __sk_buff *skb)
{
	return mangle(skb, MARK_IN, BPF_F_INGRESS);
}

/* Ingress of park1. */
SEC("tc")
int mangle_again(struct __sk_buff *skb)
{
	__u32 kind = skb->mark & MARK_KIND, ifindex = skb->mark & ~MARK_KIND;

	if (kind != MARK_OUT && kind != MARK_IN)
		return TC_ACT_UNSPEC;
	skb->mark = MARK_THROUGH;
	return bpf_redirect(ifindex, kind == MARK_IN ? BPF_F_INGRESS : 0);
}

/* Sets a bit of a TCP segment's payload that was not set: two such faults on two links never make up for each other in the checksum. */
SEC("xdp")
int mangle_damage(struct xdp_md *xdp)
{
	void *data = (void *)(long)xdp->data, *end = (void *)(long)xdp->data_end;
	struct ethhdr *eth = data;
	__u32 at = sizeof(*eth), length, offset;
	struct tcphdr *tcp;
	__u8 *byte;

	if (data + sizeof(*eth) + sizeof(struct ipv6hdr) + sizeof(*tcp) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(0x0800)) {
		struct iphdr *ip = data + at;

		if (ip->protocol != IPPROTO_TCP)
			return XDP_PASS;
		length = at + bpf_ntohs(ip->tot_len);
		at += sizeof(*ip);
	} else if (eth->h_proto == bpf_htons(0x86dd)) {
		struct ipv6hdr *ip = data + at;

		if (ip->nexthdr != IPPROTO_TCP)
			return XDP_PASS;
		length = at + sizeof(*ip) + bpf_ntohs(ip->payload_len);
		at += sizeof(*ip);
	} else {
		return XDP_PASS;
	}
	tcp = data + at;
	at += tcp->doff * 4;
	if (at >= length || !strikes(MANGLE_DAMAGE))
		return XDP_PASS;
	offset = (at + bpf_get_prandom_u32() % (length - at)) & 0x3fff; /* no offloads: a packet is not long */
	byte = data + offset;
	if ((void *)(byte + 1) > end)
		return XDP_PASS;
	*byte |= *byte + 1;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
