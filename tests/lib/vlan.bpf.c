// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * A VLAN on a link, for tests on kernels that have no VLAN devices: each end tags what it sends and takes the tag off what it receives.
 *
 * A packet that turns round at a link keeps its tag, so none gets a second one.
 */
#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_SHOT 2
#define ETH_P_8021Q 0x8100
#define VLAN 10

SEC("tc")
int vlan_tag(struct __sk_buff *skb)
{
	if (skb->vlan_present)
		return skb->vlan_tci == VLAN ? TC_ACT_UNSPEC : TC_ACT_SHOT;
	return bpf_skb_vlan_push(skb, bpf_htons(ETH_P_8021Q), VLAN) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* The box's end. What comes without a tag is lost, as it would be at a port that is a member of the VLAN alone. */
SEC("tc")
int vlan_untag(struct __sk_buff *skb)
{
	return !skb->vlan_present || bpf_skb_vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* The node's end. What shunt turns round at egress comes by before it was tagged: there a VLAN device would have tagged it already. */
SEC("tc")
int vlan_untag_node(struct __sk_buff *skb)
{
	return skb->vlan_present && bpf_skb_vlan_pop(skb) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
