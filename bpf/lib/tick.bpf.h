/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What time brings. A flow that waits, for its client's first byte or for a pod's SYN-ACK, has an entry in shunt_wait; the agent runs shunt_tick every
 * SHUNT_TICK_MS, which looks at those and at no other flows (BPF's own timers cannot send packets, a program run by BPF_PROG_TEST_RUN can).
 *
 *     HEAD, the client is quiet ──quiet_ms──▶ a leg by the client's address, early ─┬─ the server speaks ─▶ BOUND, pinned
 *                                                                                 └─ the client does ──▶ the request is decided as always; the
 *                                                                                                        leg is its version's, or goes
 *     OPENING, the pod is silent ──pod_deadline_ms──▶ the next pod, up to SHUNT_POD_ATTEMPTS ─▶ the fallback version ─▶ reset
 *
 * A client that says nothing may be a browser's spare connection: it has lost nothing, its requests go where they belong. Without an agent the client's
 * own retransmissions do the second part (leg_again), and nothing does the first.
 */
#ifndef SHUNT_TICK_BPF_H
#define SHUNT_TICK_BPF_H

#include "lib/client.bpf.h"

#define TICK_TRIES (2 * SHUNT_POD_ATTEMPTS) /* SYNs in all before a flow is given up */

struct tick {
	struct work *w;
	struct __sk_buff *skb;
	__u64 now, pod_deadline, quiet;
	__u32 family;
};

/* The frame becomes one from the client, as if it were at its interface's ingress. */
static __always_inline bool tick_begin(struct __sk_buff *skb, struct work *w, const struct shunt_flow *flow, __u32 family)
{
	__builtin_memset(&w->p, 0, sizeof(w->p));
	w->p.family = family;
	w->ifindex = flow->ifindex;
	w->place = AT_CLIENT_IN;
	w->aim = AIM_POD;
	w->attempt = 0;
	__builtin_memcpy(w->mac, flow->mac, sizeof(w->mac));
	return flow->ifindex && !bpf_skb_store_bytes(skb, 0, w->mac, sizeof(w->mac), 0);
}

/* Nobody carries out a verdict here: the frame goes as a copy. */
static __always_inline void tick_send(struct __sk_buff *skb, struct work *w, int verdict)
{
	if (verdict != PASS && verdict != REDIRECT)
		return;
	if (w->aim == AIM_CLIENT)
		send_copy_to_client(skb, w);
	else
		send_copy_to_pod(skb, w);
}

/* The client has been quiet: a pod by its address is connected; it may speak first. */
static __always_inline int tick_quiet(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int verdict;

	if (!frontend_find(w))
		return DROP;
	if (!choose_by_client(w))
		return refuse(skb, w, flow);
	choice_report(w);
	reason_count(SHUNT_R_CLIENT_QUIET);
	flow->flags |= SHUNT_F_EARLY;
	verdict = leg_open(skb, w, flow, flow->request_end);
	flow->state = SHUNT_FLOW_HEAD;
	return verdict;
}

/* The pod of the opening leg has not answered in time: another, the same again when there is no other, and at last none. */
static __always_inline int tick_overdue(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u64 now)
{
	int verdict;

	reason_count(SHUNT_R_LEG_SILENT);
	verdict = leg_elsewhere(skb, w, flow, flow->attempt < SHUNT_POD_ATTEMPTS);
	if (verdict != GO_ON)
		return verdict;
	if (flow->attempt >= TICK_TRIES) {
		reason_count(SHUNT_R_POD_NONE);
		legs_reset(skb, w, flow, SHUNT_LEGS);
		verdict = tell_client(skb, w, flow, flow->hold ? flow->hold_seq : flow->request_end, TCP_RST | TCP_ACK);
		flow_end(w, flow);
		return verdict;
	}
	flow->attempt++;
	flow->opened = now;
	if (leg_port_again(skb, w, flow))
		return DROP;
	return leg_syn(skb, w, flow, flow->current) ? DROP : send_to_pod(skb, w, false);
}

/* Looks after the flow of w->key, which waits since then and is locked. true: it need not be looked after any more. */
static __always_inline bool tick_flow(struct tick *tick, __u64 since)
{
	struct work *w = tick->w;
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	struct shunt_leg *leg;

	if (!flow)
		return true;
	leg = LEG(flow, flow->current);
	if (leg->state == SHUNT_LEG_OPENING) {
		if (elapsed(tick->now, flow->opened) < tick->pod_deadline)
			return false;
		if (tick_begin(tick->skb, w, flow, tick->family))
			tick_send(tick->skb, w, tick_overdue(tick->skb, w, flow, tick->now));
		return false;
	}
	if (flow->state == SHUNT_FLOW_BOUND || flow->hold || leg->state != SHUNT_LEG_NONE) /* it has begun to speak, or waits for its second word */
		return true;
	if (elapsed(tick->now, since) < tick->quiet)
		return false;
	if (tick_begin(tick->skb, w, flow, tick->family))
		tick_send(tick->skb, w, tick_quiet(tick->skb, w, flow));
	return false;
}

#endif
