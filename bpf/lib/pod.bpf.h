/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Packets from pods that are not simply translated: a leg's handshake, an idle leg's strays. */
#ifndef SHUNT_POD_BPF_H
#define SHUNT_POD_BPF_H

#include "lib/answer.bpf.h"
#include "lib/client.bpf.h"
#include "lib/lock.bpf.h"

/* The packet at hand is for the client of the leg that `owner` tells of. Locks its flow, that of w->key; NULL: it was busy for too long. */
static __always_inline struct shunt_lock *owner_lock(struct __sk_buff *skb, struct work *w, const struct shunt_leg_owner *owner, __u32 place)
{
	w->place = place;
	w->aim = AIM_CLIENT;
	w->ifindex = skb->ifindex;
	w->attempt = 0;
	key_of_owner(w, owner);
	w->leg = owner->leg & (SHUNT_LEGS - 1);
	return lock_take(&w->key);
}

/* The flow that owner_lock() locked; NULL: it is gone. */
static __always_inline struct shunt_flow *owner_flow(struct work *w, __u32 place)
{
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, &w->key);

	if (flow && place == AT_POD_IN)
		way_of_client(w, flow);
	return flow;
}

/* What the pod's SYN-ACK (w->options) offers, and what it does not though the client was promised it. */
__noinline int leg_agreed(struct work *w, struct shunt_flow *flow)
{
	const struct tcp_options *o;
	struct shunt_leg *leg;
	__u32 lacks = 0;

	if (!w || !flow)
		return 0;
	o = &w->options;
	leg = LEG(flow, flow->current);
	if (flow->flags & SHUNT_F_TSTAMP && !o->tstamp)
		lacks |= SHUNT_LACK_TSTAMP;
	if (flow->flags & SHUNT_F_SACK && !o->sack)
		lacks |= SHUNT_LACK_SACK;
	if (flow->flags & SHUNT_F_WSCALE && o->wscale == NO_WSCALE)
		lacks |= SHUNT_LACK_WSCALE;
	if (flow->flags & SHUNT_F_ECN && !(w->p.flags & TCP_ECE))
		lacks |= SHUNT_LACK_ECN;
	leg->lacks = lacks;
	leg->wscale = o->wscale == NO_WSCALE ? 0 : o->wscale;
	leg->mss = o->mss ? o->mss : mss_of_class(0, w->p.family); /* RFC 9293 section 3.7.1 */
	if (unlikely(lacks))
		reason_count(SHUNT_R_LEG_LESS);
	if (unlikely(lacks || leg->mss < our_mss(w->p.family)))
		promise_learn(w, leg->mss, lacks);
	return 0;
}

/* The pod's SYN-ACK: the leg's deltas are known now, and the held request goes out. For an early leg there is none, and a bare ACK goes. */
static __always_inline int leg_opened(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	if (w->p.ack != leg->acked || options_parse(skb, w))
		return drop_stray();
	/* The pod's clock goes on from what the client was sent last, which the client will echo. */
	leg->tsfirst = w->options.tsval;
	leg->tslast = w->options.tsval;
	leg->tsdelta = flow->ts_sent - w->options.tsval;
	leg_agreed(w, flow);
	leg->sdelta = flow->snext - (w->p.seq + 1);
	leg->pnext = w->p.seq + 1;
	leg->cdelta = 0;
	leg->state = SHUNT_LEG_OPEN;
	flow->attempt = 0;
	if (flow->flags & SHUNT_F_EARLY) {
		leg_word(w, flow, leg, TCP_ACK);
		return forge_bare(skb, w) ? DROP : send_to_pod(skb, w, false);
	}
	flow->state = SHUNT_FLOW_BOUND;
	if (unlikely(flow->flags & SHUNT_F_RECAST))
		request_edit(w, flow);
	return emit(skb, w, flow);
}

/* The same of a connection, whose SYN-ACK the client itself gets. */
static __always_inline int connection_opened(struct shunt_flow *flow, struct shunt_leg *leg)
{
	leg->state = SHUNT_LEG_OPEN;
	flow->attempt = 0;
	return GO_ON;
}

/* The pod answers our SYN with an ACK: it remembers the tuple (RFC 5961 section 4). Another port, at once; never a reset, it may not be ours to end. */
static __always_inline int leg_challenged(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	reason_count(SHUNT_R_LEG_CHALLENGED);
	if (flow->tries++ >= LEG_TRIES || leg_claim_port(skb, w, flow, flow->current, 1) || leg_syn(skb, w, flow, flow->current))
		return DROP;
	return send_to_pod(skb, w, false);
}

/* The opening leg's pod does not take the connection: another pod, or the client hears of it. */
__noinline int leg_gone(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int err, verdict;

	if (!w || !flow)
		return DROP;
	reason_count(SHUNT_R_LEG_REFUSED);
	verdict = leg_elsewhere(skb, w, flow, 0);
	if (verdict != GO_ON)
		return verdict;
	reason_count(SHUNT_R_POD_NONE);
	if (legs_idle(flow))
		legs_reset(skb, w, flow, flow->current);
	forge_to_client(w, TCP_RST | TCP_ACK);
	w->forge.seq = flow->snext;
	w->forge.ack = flow->hold ? flow->hold_seq : flow->request_end;
	err = forge_bare(skb, w);
	flow_end(w, flow);
	return err ? DROP : send_to_client(skb, w);
}

/* A reset. It is believed when it answers our SYN, or the client's, which may have had data (RFC 7413). */
static __always_inline int leg_refused(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	__u32 data = flow->kind == SHUNT_KIND_CONNECTION ? flow->mss : 0;

	return w->p.flags & TCP_ACK && w->p.ack - leg->acked <= data ? leg_gone(skb, w, flow) : drop_stray();
}

/*
 * A packet of a leg that the flow does not use now. Data is old and gets its ACK; a FIN (the pod's idle timer) ends the leg with a reset, so that the
 * pod need not wait; nothing reaches the client.
 */
static __always_inline int leg_idle(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	bool fin = w->p.flags & TCP_FIN;

	reason_count(SHUNT_R_IDLE_ANSWERED);
	if (w->p.flags & TCP_RST) {
		leg->state = SHUNT_LEG_DEAD;
		return DROP;
	}
	/* A bare ACK wants no answer, but a keep-alive probe, which repeats the byte before, does. */
	if (!w->p.len && !fin && !seq_before(w->p.seq, leg->pnext))
		return DROP;
	leg_word(w, flow, leg, fin ? TCP_RST | TCP_ACK : TCP_ACK);
	if (fin)
		leg->state = SHUNT_LEG_DEAD;
	if (forge_bare(skb, w))
		return DROP;
	return send_to_pod(skb, w, false);
}

/*
 * A packet of a leg that was opened before its client spoke. The server speaks first, or closes: the flow is bound by its client's address, and the
 * packet goes on (GO_ON). Once the client has begun to speak the pod must not (a timeout's answer): then the leg is given up.
 */
static __always_inline int pod_early(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	if (leg->state != SHUNT_LEG_OPEN || (!w->p.len && !(w->p.flags & TCP_FIN)) || w->p.flags & (TCP_SYN | TCP_RST))
		return leg->state == SHUNT_LEG_OPEN ? leg_idle(skb, w, flow, leg) : drop_stray();
	if (flow->hold) {
		leg->state = SHUNT_LEG_DEAD;
		leg_word(w, flow, leg, TCP_RST | TCP_ACK);
		return forge_bare(skb, w) ? DROP : send_to_pod(skb, w, false);
	}
	flow->flags &= ~SHUNT_F_EARLY;
	flow_pin(flow, SHUNT_R_SERVER_FIRST);
	reason_count(SHUNT_R_BIND);
	flow->started = bpf_ktime_get_ns();
	flow->answer = SHUNT_ANSWER_CLOSE;
	flow->state = SHUNT_FLOW_BOUND;
	w->choice.series = leg->series;
	request_begin(w, flow);
	return GO_ON;
}

/* A packet of leg w->leg that is not on the established path. GO_ON: it is, after all. */
__noinline int pod_slow(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_leg *leg;

	if (!w || !flow)
		return DROP;
	leg = LEG(flow, w->leg);
	if (w->leg == flow->current && flow->flags & SHUNT_F_EARLY && leg->state != SHUNT_LEG_OPENING)
		return pod_early(skb, w, flow, leg);
	if (w->leg != flow->current || (flow->state == SHUNT_FLOW_HEAD && !(flow->flags & SHUNT_F_EARLY)))
		return leg->state == SHUNT_LEG_OPEN ? leg_idle(skb, w, flow, leg) : drop_stray();
	if (leg->state == SHUNT_LEG_OPENING) {
		if ((w->p.flags & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))
			return flow->kind == SHUNT_KIND_CONNECTION ? connection_opened(flow, leg) : leg_opened(skb, w, flow, leg);
		if (w->p.flags & TCP_RST)
			return leg_refused(skb, w, flow, leg);
		return w->p.flags & TCP_ACK ? leg_challenged(skb, w, flow) : drop_stray();
	}
	/* Bound, and a SYN-ACK again: our ACK was lost, and what it carried. */
	if (flow->hold && seq_before(leg->acked, hold_sent_end(flow)))
		return emit(skb, w, flow);
	return drop_stray();
}

#endif
