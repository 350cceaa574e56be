/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Legs: a flow's connections to pods.
 *
 * A leg's SYN carries the sequence number before the request's first byte, so the client's sequence space is kept on a new leg (cdelta 0). When the
 * flow comes back to a leg after other requests went elsewhere, the bytes in between never were on it: cdelta grows by them.
 *
 *     client's bytes    ├─ request 1 ─┼─ request 2 ─┼─ request 3 ─┤
 *     leg 0 (v1)        ├─ request 1 ─┼─ request 3 ─┤               cdelta = length of request 2
 *     leg 1 (v2)                      ├─ request 2 ─┤
 *
 * A leg uses the client's own port while that tuple is free. The client may have a connection of its own to the pod, or the pod may remember the
 * tuple; then the leg takes another port, which is translated both ways.
 */
#ifndef SHUNT_LEG_BPF_H
#define SHUNT_LEG_BPF_H

#include "lib/cookie.bpf.h"
#include "lib/insert.bpf.h"
#include "lib/recast.bpf.h"

#define LEG(flow, index) (&(flow)->leg[(index) & (SHUNT_LEGS - 1)])
#define LEG_PORT_TRIES 16 /* about half of the ports are the node's own, where that counts */
#define LEG_TRIES 12     /* other ports after challenge ACKs, for one leg */
#define EMIT_SEGMENTS 33 /* a full hold in segments of the smallest MSS class */
_Static_assert((SHUNT_LEGS & (SHUNT_LEGS - 1)) == 0, "leg indices are masked");
_Static_assert(EMIT_SEGMENTS * 512 > SHUNT_HOLD_SIZE, "a full hold can be sent");

static __always_inline void leg_key(struct work *w, const struct shunt_leg *leg, __be16 lport)
{
	w->leg_key.client = leg->from;
	w->leg_key.pod = leg->pod;
	w->leg_key.lport = lport;
	w->leg_key.pport = leg->pport;
}

/* The flow whose leg has the tuple. */
static __always_inline void key_of_owner(struct work *w, const struct shunt_leg_owner *owner)
{
	w->key.client = owner->client;
	w->key.frontend = owner->frontend;
	w->key.cport = owner->cport;
	w->key.fport = owner->fport;
}

/* A tuple with an address that stands in for clients' is not the client's by its address alone. */
static __always_inline bool leg_is_mine(const struct work *w, const struct shunt_leg_owner *owner)
{
	return owner->cport == w->key.cport && owner->fport == w->key.fport && addr_equal(&owner->client, &w->key.client);
}

/*
 * The leg's tuple is in the map: takes it over when an earlier leg of this client and frontend left it. A live leg of the flow keeps its own: two versions
 * may have one pod. A dead one lets go, so that the tuple is forgotten with its new leg and not before.
 */
static __always_inline bool leg_take_over(struct work *w, struct shunt_flow *flow, const struct shunt_leg *leg)
{
	struct shunt_leg_owner *owner = bpf_map_lookup_elem(&shunt_leg, &w->leg_key);
	struct shunt_leg *other;

	if (!owner || !leg_is_mine(w, owner) || w->leg_key.lport != w->key.cport ||
	    !addr_equal(&owner->frontend, &w->key.frontend))
		return false;
	other = LEG(flow, owner->leg);
	if (other->lport == w->leg_key.lport && other->pport == leg->pport && addr_equal(&other->pod, &leg->pod)) {
		if (other->state == SHUNT_LEG_OPEN || other->state == SHUNT_LEG_OPENING)
			return false;
		other->lport = 0;
	}
	return !bpf_map_update_elem(&shunt_leg, &w->leg_key, &w->owner, BPF_ANY);
}

/* What is known of the interface that the client is behind; NULL: it leads to pods of this node. */
static __always_inline struct shunt_place *place_of(const struct work *w)
{
	return bpf_map_lookup_elem(&shunt_place, &w->ifindex);
}

/* At ingress of an interface with pods behind it: is an answer of this leg taken here, or does it go on to the egress of its client's interface? */
static __always_inline bool returns_here(struct __sk_buff *skb, const struct shunt_leg_owner *owner)
{
	__u32 ifindex = skb->ifindex;
	const struct shunt_place *here = bpf_map_lookup_elem(&shunt_place, &ifindex);

	return !here || here->returns || owner->mask == SHUNT_MASK_NODE;
}

/* Packets of this run go by the interface that the flow's client came by. */
static __always_inline void way_of_client(struct work *w, const struct shunt_flow *flow)
{
	w->aim = AIM_OTHER;
	w->ifindex = flow->ifindex;
	__builtin_memcpy(w->mac, flow->mac, sizeof(w->mac));
}

static __always_inline bool is_own(const struct shunt_addr *addr, __u8 family)
{
	const __u32 v4[] = SHUNT_OWN_V4, v6[] = SHUNT_OWN_V6;

	if (likely(addr_word(addr, 3) != bpf_htonl(family == SHUNT_V6 ? v6[3] : v4[3])))
		return false;
	return family == SHUNT_V4 || (addr_word(addr, 0) == bpf_htonl(v6[0]) && addr_word(addr, 1) == bpf_htonl(v6[1]) && !addr_word(addr, 2));
}

static __always_inline void own_address(struct shunt_addr *addr, __u8 family)
{
	const __u32 v4[] = SHUNT_OWN_V4, v6[] = SHUNT_OWN_V6;

	for (int i = 0; i < 4; i++)
		((__be32 *)addr->ip)[i] = bpf_htonl(family == SHUNT_V6 ? v6[i] : v4[i]);
}

/* Whose address the chosen pod, which is in the leg, will see. */
__noinline int leg_mask(const struct work *w, struct shunt_leg *leg)
{
	const struct shunt_place *place;

	if (!w || !leg)
		return 0;
	place = place_of(w);
	leg->mask = SHUNT_MASK_NONE;
	leg->from = w->key.client;
	if (unlikely(place && w->choice.elsewhere)) {
		leg->mask = SHUNT_MASK_NODE;
		leg->from = place->node[w->p.family & 1];
		reason_count(SHUNT_R_LEG_NODE);
	} else if (unlikely(place && place->kind == SHUNT_PLACE_HOST)) {
		leg->mask = SHUNT_MASK_HOST;
		own_address(&leg->from, w->p.family);
		reason_count(SHUNT_R_LEG_HOST);
	} else if (unlikely(addr_equal(&leg->pod, &w->key.client))) {
		leg->mask = SHUNT_MASK_HAIRPIN;
		own_address(&leg->from, w->p.family);
		reason_count(SHUNT_R_LEG_HAIRPIN);
	}
	return 0;
}

/* May a leg with the node's address have this port? Not one of those that the node's own connections take or are about to take. */
__noinline int node_port_free(struct __sk_buff *skb, struct work *w, const struct shunt_leg *leg, __u32 port)
{
	const struct shunt_place *place;
	struct bpf_sock_tuple *tuple;
	struct bpf_sock *sock;
	__u32 size;

	if (!w || !leg)
		return 0;
	place = place_of(w);
	if (!place || (port >= place->port_low && port <= place->port_high))
		return 0;
	tuple = &w->tuple;
	if (w->p.family == SHUNT_V6) {
		size = sizeof(tuple->ipv6);
		__builtin_memcpy(tuple->ipv6.saddr, leg->pod.ip, 16);
		__builtin_memcpy(tuple->ipv6.daddr, leg->from.ip, 16);
		tuple->ipv6.sport = leg->pport;
		tuple->ipv6.dport = bpf_htons(port);
	} else {
		size = sizeof(tuple->ipv4);
		tuple->ipv4.saddr = addr_word(&leg->pod, 3);
		tuple->ipv4.daddr = addr_word(&leg->from, 3);
		tuple->ipv4.sport = leg->pport;
		tuple->ipv4.dport = bpf_htons(port);
	}
	sock = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sock)
		return 1;
	bpf_sk_release(sock);
	return 0;
}

static __always_inline bool leg_try_port(struct work *w, struct shunt_flow *flow, struct shunt_leg *leg, __be16 lport)
{
	leg_key(w, leg, lport);
	if (bpf_map_lookup_elem(&shunt_direct, &w->leg_key))
		return false;
	if (bpf_map_update_elem(&shunt_leg, &w->leg_key, &w->owner, BPF_NOEXIST) && !leg_take_over(w, flow, leg))
		return false;
	leg->lport = lport;
	return true;
}

static __always_inline void leg_forget_port(struct work *w, struct shunt_leg *leg)
{
	struct shunt_leg_owner *owner;

	if (!leg->lport)
		return;
	leg_key(w, leg, leg->lport);
	owner = bpf_map_lookup_elem(&shunt_leg, &w->leg_key);
	if (owner && leg_is_mine(w, owner))
		bpf_map_delete_elem(&shunt_leg, &w->leg_key);
	leg->lport = 0;
}

/* Finds a port for the leg: the client's own, or (other != 0, or that is taken or not ours to take) a random one. 0, or -1: none found. */
__noinline int leg_claim_port(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 index, __u32 other)
{
	struct shunt_leg *leg;

	if (!w || !flow)
		return -1;
	leg = LEG(flow, index);
	leg_forget_port(w, leg);
	__builtin_memset(&w->owner, 0, sizeof(w->owner));
	w->owner.frontend = w->key.frontend;
	w->owner.fport = w->key.fport;
	w->owner.cport = w->key.cport;
	w->owner.owner = SHUNT_OWNER_FLOW;
	w->owner.leg = index;
	w->owner.mask = leg->mask;
	w->owner.client = w->key.client;
	if (!other && leg->mask != SHUNT_MASK_NODE && leg_try_port(w, flow, leg, w->key.cport))
		return 0;
	reason_count(SHUNT_R_LEG_PORT);
	for (int i = 0; i < LEG_PORT_TRIES; i++) {
		__u32 port = 1024 + bpf_get_prandom_u32() % 64000;

		if (leg->mask == SHUNT_MASK_NODE && !node_port_free(skb, w, leg, port))
			continue;
		if (leg_try_port(w, flow, leg, bpf_htons(port)))
			return 0;
	}
	reason_count(SHUNT_R_FLOW_FULL);
	return -1;
}

/* Before the opening leg's SYN is sent again: another port after a challenge ACK, and one at all where none was found before. 0, or -1: none found. */
static __always_inline int leg_port_again(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	return flow->tries || !LEG(flow, flow->current)->lport ? leg_claim_port(skb, w, flow, flow->current, flow->tries) : 0;
}

/* The client's window for the leg's pod: a pod that does not scale reads the field as it is, while the client counts on its scale. */
static __always_inline __u16 window_for_pod(const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 window)
{
	if (likely(!(leg->lacks & SHUNT_LACK_WSCALE)))
		return window;
	window <<= flow->wscale & 15;
	return window > 0xffff ? 0xffff : window;
}

/* The timestamps of a packet that we make for the leg's pod, when it does them. */
static __always_inline void forge_tstamp_to_pod(struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg)
{
	if (flow->flags & SHUNT_F_TSTAMP && !(leg->lacks & SHUNT_LACK_TSTAMP))
		forge_tstamp(w, flow->ts_client, leg->tslast);
}

/* The flow waits from now on, for a pod or for its client: shunt_tick looks after it. */
static __always_inline void flow_waits(const struct work *w)
{
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&shunt_wait, &w->key, &now, BPF_ANY);
}

/* Makes the leg's SYN of the packet at hand: the client's options, the client's address. */
__noinline int leg_syn(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 index)
{
	struct shunt_leg *leg;

	if (!w || !flow)
		return -1;
	leg = LEG(flow, index);
	forge_to_pod(w, leg, TCP_SYN | (flow->flags & SHUNT_F_ECN ? TCP_ECE | TCP_CWR : 0));
	w->forge.seq = leg->acked - 1;
	w->forge.window = flow->kind == SHUNT_KIND_CONNECTION ? flow->window : 64240;
	options_syn(w, flow->mss, flow->flags & SHUNT_F_SACK, flow->flags & SHUNT_F_TSTAMP, flow->wscale, flow->ts_client, 0);
	return forge_bare(skb, w);
}

/* A place for another leg: unused, dead, or the one after the current. */
static __always_inline __u32 leg_place(struct shunt_flow *flow)
{
	__u32 place = flow->current + 1;

	for (__u32 i = 0; i < SHUNT_LEGS; i++)
		if (flow->leg[i].state == SHUNT_LEG_NONE || flow->leg[i].state == SHUNT_LEG_DEAD)
			place = i;
	return place & (SHUNT_LEGS - 1);
}

/* The open leg to a version, or SHUNT_LEGS. */
static __always_inline __u32 leg_find(const struct shunt_flow *flow, __u16 series)
{
	__u32 found = SHUNT_LEGS;

	for (__u32 i = 0; i < SHUNT_LEGS; i++)
		if (flow->leg[i].state == SHUNT_LEG_OPEN && flow->leg[i].series == series)
			found = i;
	return found;
}

/* Begins a bare packet to a leg's pod at its present place. */
static __always_inline void leg_word(struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg, __u8 flags)
{
	forge_to_pod(w, leg, flags);
	w->forge.seq = leg->cnext;
	w->forge.ack = leg->pnext;
	w->forge.window = window_for_pod(flow, leg, flow->window);
	forge_tstamp_to_pod(w, flow, leg);
}

/* A bare packet to a leg's pod at its present place; the skb is lost, a copy is sent. */
__noinline int leg_tell(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 index, __u32 flags)
{
	struct shunt_leg *leg;

	if (!w || !flow)
		return -1;
	leg = LEG(flow, index);
	leg_word(w, flow, leg, flags);
	if (forge_bare(skb, w))
		return -1;
	send_copy_to_pod(skb, w);
	return 0;
}

/* Resets every leg but `except` (SHUNT_LEGS: all). The skb is lost. */
__noinline int legs_reset(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 except)
{
	if (!w || !flow)
		return -1;
	for (__u32 i = 0; i < SHUNT_LEGS; i++) {
		struct shunt_leg *leg = &flow->leg[i];

		if (i == except || (leg->state != SHUNT_LEG_OPEN && leg->state != SHUNT_LEG_OPENING))
			continue;
		leg_tell(skb, w, flow, i, TCP_RST | TCP_ACK);
		leg->state = SHUNT_LEG_DEAD;
	}
	return 0;
}

/* Is a leg other than the current one open? */
static __always_inline bool legs_idle(const struct shunt_flow *flow)
{
	bool idle = false;

	for (__u32 i = 0; i < SHUNT_LEGS; i++)
		idle |= i != flow->current && flow->leg[i].state == SHUNT_LEG_OPEN;
	return idle;
}

/*
 * Opens a leg to the chosen pod for the request that begins at `start` (C), with the packet at hand as its SYN. Ingress side: before it, the pod of
 * the current leg is told that the client has its answer.
 */
__noinline int leg_open(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 start)
{
	struct shunt_leg *leg;
	__u32 index;

	if (!w || !flow)
		return DROP;
	index = leg_place(flow);
	leg = LEG(flow, index);
	if (leg->state == SHUNT_LEG_OPEN) {
		reason_count(SHUNT_R_LEG_EVICTED);
		leg_tell(skb, w, flow, index, TCP_RST | TCP_ACK);
	}
	leg_forget_port(w, leg);
	__builtin_memset(leg, 0, sizeof(*leg));
	leg->pod = w->choice.addr;
	leg->pport = w->choice.port;
	leg->version = w->choice.served;
	leg->series = w->choice.series;
	leg->state = SHUNT_LEG_OPENING;
	leg->acked = start;
	leg->cnext = start;
	flow->current = index;
	insert_end(flow);
	flow->recast.len = 0;
	flow->state = SHUNT_FLOW_OPENING;
	flow->tries = 0;
	flow->opened = bpf_ktime_get_ns();
	flow_waits(w);
	reason_count(SHUNT_R_LEG_OPEN);
	leg_mask(w, leg);
	if (leg_claim_port(skb, w, flow, index, 0) || leg_syn(skb, w, flow, index))
		return DROP;
	return send_to_pod(skb, w, false);
}

/* Begins segments with the client's bytes that we send; how long they may be is in w->emit.mss. */
static __always_inline void emit_begin(struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg)
{
	forge_to_pod(w, leg, TCP_ACK | TCP_PSH);
	w->forge.window = window_for_pod(flow, leg, window_before_lines(flow, flow->sacked, flow->window));
	w->forge.ack = ack_for_pod(flow, leg, flow->sacked); /* not snext: what the pod has sent may be lost on its way to the client */
	w->emit.mss = flow->mss < leg->mss ? flow->mss : leg->mss;
	if (w->emit.mss > SEGMENT_MAX)
		w->emit.mss = SEGMENT_MAX;
	forge_tstamp_to_pod(w, flow, leg);
	w->emit.mss -= w->forge.options_len;
}

/* One segment of held bytes, from w->emit.at on. GO_ON: there is more. */
__noinline int emit_segment(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_hold *hold)
{
	struct shunt_leg *leg;
	__u32 len;

	if (!w || !flow || !hold)
		return DROP;
	leg = LEG(flow, flow->current);
	len = w->emit.end - w->emit.at;
	if (len > w->emit.mss)
		len = w->emit.mss;
	w->forge.seq = flow->hold_seq + w->emit.at - leg->cdelta;
	if (forge_segment(skb, w, hold, w->emit.at, len))
		return DROP;
	w->emit.at += len;
	w->emit.segments++;
	count_rx(leg, w->forge.seq + len);
	if (w->emit.at >= w->emit.end)
		return send_to_pod(skb, w, w->emit.segments > 1);
	send_copy_to_pod(skb, w);
	return GO_ON;
}

/*
 * Sends what the hold has for the current leg and the pod has not acknowledged, in segments. With the first one of a leg this completes the handshake.
 */
__noinline int emit(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold;
	struct shunt_leg *leg;
	int verdict = GO_ON;

	if (!w || !flow)
		return DROP;
	leg = LEG(flow, flow->current);
	hold = hold_of(w, flow);
	if (!hold)
		return DROP;
	w->emit.at = seq_after(leg->acked, flow->hold_seq) ? leg->acked - flow->hold_seq : 0;
	w->emit.end = hold_sent_end(flow) - flow->hold_seq;
	w->emit.segments = 0;
	if (w->emit.at >= w->emit.end || w->emit.end > SHUNT_HOLD_SIZE)
		return DROP;
	emit_begin(w, flow, leg);
	reason_count(SHUNT_R_HOLD_SENT);
	for (int i = 0; i < EMIT_SEGMENTS && verdict == GO_ON; i++)
		verdict = emit_segment(skb, w, flow, hold);
	return verdict == GO_ON ? DROP : verdict;
}

/* C: one past the FIN that the client has sent, or would send now. */
static __always_inline __u32 flow_reach(const struct shunt_flow *flow)
{
	const struct shunt_leg *leg = LEG(flow, flow->current);
	__u32 end = flow->hold ? hold_end(flow) : flow->request_end, sent = leg->cnext + leg->cdelta;

	return 1 + (leg->state == SHUNT_LEG_OPEN && seq_after(sent, end) ? sent : end);
}

/* The end of a flow: its entries go, its numbers are remembered against late packets. */
__noinline int flow_end(struct work *w, struct shunt_flow *flow)
{
	struct shunt_closed closed;

	if (!w || !flow)
		return 0;
	closed.isn = flow->isn;
	closed.end = flow_reach(flow);
	closed.syn = flow->isn;
	answer_aborted(flow);
	for (__u32 i = 0; i < SHUNT_LEGS; i++)
		leg_forget_port(w, &flow->leg[i]);
	hold_free(w, flow);
	bpf_map_update_elem(&shunt_closed, &w->key, &closed, BPF_ANY);
	bpf_map_delete_elem(&shunt_flow, &w->key);
	reason_count(SHUNT_R_FLOW_END);
	return 0;
}

#endif
