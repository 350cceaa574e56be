/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets from clients that are not simply translated: a request's head, the choice, the step from one leg to another.
 *
 *     HEAD ──head complete──▶ choice ─┬─ the leg is there ─────────────▶ BOUND
 *      ▲                              └─ leg_open ─▶ OPENING ─SYN-ACK─▶ BOUND
 *      └────────── a later request whose head comes in pieces ────────────┘
 */
#ifndef SHUNT_CLIENT_BPF_H
#define SHUNT_CLIENT_BPF_H

#include "lib/answer.bpf.h"
#include "lib/choose.bpf.h"
#include "lib/leg.bpf.h"
#include "lib/request_edit.bpf.h"

/* A bare packet to the client, of the packet at hand. */
static __always_inline int tell_client(struct __sk_buff *skb, struct work *w, const struct shunt_flow *flow, __u32 ack, __u8 flags)
{
	__u32 window = SHUNT_HOLD_SIZE - flow->hold_len;

	forge_to_client(w, flags);
	w->forge.seq = flow->snext;
	w->forge.ack = ack;
	w->forge.window = flow->flags & SHUNT_F_WSCALE ? window >> OUR_WSCALE : window;
	if (flow->flags & SHUNT_F_TSTAMP)
		forge_tstamp(w, flow->ts_sent, flow->ts_client);
	if (forge_bare(skb, w))
		return DROP;
	return send_to_client(skb, w);
}

/* A reset to whoever sent this packet, which belongs to no flow (RFC 9293 section 3.10.7.1). */
static __always_inline int reset_stranger(struct __sk_buff *skb, struct work *w)
{
	if (w->p.flags & TCP_RST)
		return drop_stray();
	reason_count(SHUNT_R_FLOW_UNKNOWN);
	forge_to_client(w, TCP_RST);
	w->forge.seq = w->p.ack;
	if (forge_bare(skb, w))
		return DROP;
	return send_to_client(skb, w);
}

/* No pod for the flow: a reset says so at once. */
static __always_inline int refuse(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int verdict;

	choice_report(w);
	if (legs_idle(flow))
		legs_reset(skb, w, flow, SHUNT_LEGS);
	verdict = tell_client(skb, w, flow, hold_end(flow), TCP_RST | TCP_ACK);
	flow_end(w, flow);
	return verdict;
}

/* The client has all of the answers so far. */
static __always_inline bool flow_quiet(const struct shunt_flow *flow)
{
	return flow->sacked == flow->snext;
}

/* What is kept of the request in w->request, which begins at `start`: where it ends, how its answer is read. */
static __always_inline void request_framing(const struct work *w, struct shunt_flow *flow, __u32 start)
{
	const struct http_request *r = &w->request;

	flow->answer = SHUNT_ANSWER_HEAD;
	flow->answer_next = flow->snext;
	flow->missing = 0;
	flow->flags &= ~(SHUNT_F_HEAD | SHUNT_F_EXPECT);
	edit_due(w, flow);
	request_edit_due(w, flow);
	if (r->head_method)
		flow->flags |= SHUNT_F_HEAD;
	if (r->expect && (r->framing == HTTP_CHUNKED || r->length))
		flow->flags |= SHUNT_F_EXPECT;
	flow->request_end = start + r->head_len;
	flow->request_walk = SHUNT_CHUNK_END;
	flow->request_chunk = 0;
	if (r->framing == HTTP_LENGTH && r->length < 0x3fffffff)
		flow->request_end += r->length;
	else if (r->framing == HTTP_CHUNKED)
		flow->request_walk = SHUNT_CHUNK_SIZE;
	else if (r->framing != HTTP_NO_BODY)
		flow_pin(flow, SHUNT_R_REQUEST_UNFRAMED);
}

static __always_inline struct http_chunks request_walk(const struct shunt_flow *flow)
{
	return (struct http_chunks){ .state = flow->request_walk, .next = flow->request_end, .size = flow->request_chunk };
}

/* Keeps where the walk over a chunked request came to. */
static __always_inline void request_walked(struct shunt_flow *flow, const struct http_chunks *chunks, bool good)
{
	flow->request_walk = chunks->state;
	flow->request_end = chunks->next;
	flow->request_chunk = chunks->size;
	if (flow->hold && !flow->hold_len) /* it has a piece of the answer only */
		flow->hold_seq = chunks->next;
	if (!good)
		flow_pin(flow, SHUNT_R_REQUEST_UNFRAMED);
}

/* Follows a chunked request through the packet at hand. DROP: the packet is from beyond a byte that must be read first; see answer.bpf.h. */
__noinline int request_chunks(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct http_chunks chunks;
	bool good;

	if (!w || !flow)
		return DROP;
	chunks = request_walk(flow);
	if (seq_after(w->p.seq, chunks.next)) {
		reason_count(SHUNT_R_REQUEST_AHEAD);
		return DROP;
	}
	good = chunks_in_packet(skb, w, &chunks, w->p.seq);
	request_walked(flow, &chunks, good);
	return GO_ON;
}

/* The same through what is held of it. */
static __always_inline void request_chunks_held(struct shunt_flow *flow, const struct shunt_hold *hold)
{
	struct http_chunks chunks = request_walk(flow);
	bool good;

	if (chunks.state == SHUNT_CHUNK_END)
		return;
	good = chunks_in_hold(hold, flow, &chunks);
	request_walked(flow, &chunks, good);
}

/*
 * The client speaks, after all, on a flow whose leg was opened before (tick.bpf.h), and its version is chosen. A leg of another version is reset: it has
 * not had a byte. true: the leg is of this version and still opens; it takes the request along.
 */
static __always_inline bool early_takes(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_leg *leg = LEG(flow, flow->current);

	flow->flags &= ~SHUNT_F_EARLY;
	if (leg->series != w->choice.series)
		legs_reset(skb, w, flow, SHUNT_LEGS);
	if (leg->state != SHUNT_LEG_OPEN && leg->state != SHUNT_LEG_OPENING)
		return false;
	reason_count(SHUNT_R_BIND);
	return leg->state == SHUNT_LEG_OPENING;
}

/* The chosen version becomes the flow's: its open leg, or a new one. The request that begins at `start` lies in the hold. */
__noinline int bind_held(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 start)
{
	struct shunt_leg *leg;
	__u32 index;

	if (!w || !flow)
		return DROP;
	if (flow->flags & SHUNT_F_EARLY && early_takes(skb, w, flow)) {
		request_begin(w, flow);
		flow->state = SHUNT_FLOW_OPENING;
		return DROP; /* it goes with the leg's SYN-ACK */
	}
	index = leg_find(flow, w->choice.series);
	request_begin(w, flow);
	if (index >= SHUNT_LEGS) {
		if (LEG(flow, flow->current)->state == SHUNT_LEG_OPEN) {
			reason_count(SHUNT_R_REBIND);
			LEG(flow, flow->current)->cnext = start - LEG(flow, flow->current)->cdelta;
			leg_tell(skb, w, flow, flow->current, TCP_ACK);
		} else {
			reason_count(SHUNT_R_BIND);
		}
		return leg_open(skb, w, flow, start);
	}
	if (index != flow->current) {
		reason_count(SHUNT_R_REBIND);
		leg = LEG(flow, flow->current);
		if (leg->state == SHUNT_LEG_OPEN) {
			leg->cnext = start - leg->cdelta;
			leg_tell(skb, w, flow, flow->current, TCP_ACK);
		}
		leg = LEG(flow, index);
		leg->cdelta = start - leg->cnext;
		leg->sdelta = flow->snext - leg->pnext;
		flow->current = index;
	}
	leg = LEG(flow, index);
	if (seq_before(leg->acked, start) || seq_after(leg->acked, hold_end(flow)))
		leg->acked = start;
	flow->state = SHUNT_FLOW_BOUND;
	if (unlikely(flow->flags & SHUNT_F_RECAST))
		request_edit(w, flow);
	return emit(skb, w, flow);
}

/* The head cannot be read: the flow goes where its client's address belongs, and stays there. */
static __always_inline int bind_blind(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 start, enum shunt_reason reason)
{
	flow_pin(flow, reason);
	flow->answer = SHUNT_ANSWER_CLOSE;
	flow->flags &= ~SHUNT_F_RECAST;
	if (LEG(flow, flow->current)->state == SHUNT_LEG_OPEN && !(flow->flags & SHUNT_F_EARLY)) { /* in mid-connection: it stays where it is */
		if (flow->request_edit)
			request_edit_pass();
		flow->state = SHUNT_FLOW_BOUND;
		return emit(skb, w, flow);
	}
	if (!choose_by_client(w))
		return refuse(skb, w, flow);
	choice_report(w);
	if (w->choice.request_edit)
		request_edit_pass();
	return bind_held(skb, w, flow, start);
}

/*
 * A byte that the client acknowledged long ago, so that it acknowledges at once all it has (RFC 9293 section 3.10.7.4): it may take 40 ms over it
 * otherwise, while a request waits.
 */
__noinline int probe(struct __sk_buff *skb, struct work *w, const struct shunt_flow *flow)
{
	__u8 old = 0;

	if (!w || !flow)
		return DROP;
	forge_to_client(w, TCP_ACK);
	w->forge.seq = flow->sacked - 1;
	w->forge.ack = flow->request_end;
	w->forge.window = flow->flags & SHUNT_F_WSCALE ? SHUNT_HOLD_SIZE >> OUR_WSCALE : SHUNT_HOLD_SIZE;
	w->forge.len = sizeof(old); /* a zero, which adds nothing to the sum */
	if (flow->flags & SHUNT_F_TSTAMP)
		forge_tstamp(w, flow->ts_sent, flow->ts_client);
	if (forge_resize(skb, w) || bpf_skb_store_bytes(skb, skb->len - sizeof(old), &old, sizeof(old), 0) || forge_headers(skb, w)) {
		reason_count(SHUNT_R_INTERNAL);
		return DROP;
	}
	return send_to_client(skb, w);
}

/* The plan has no pod for the request any more, and nobody else to serve it. The flow's leg may lead to one that terminates and serves as long as it is there. */
static __always_inline bool choice_stays(struct work *w, const struct shunt_flow *flow)
{
	const struct shunt_version *version = version_at(w->side, w->choice.version);

	if (w->choice.refused != SHUNT_R_NO_POD + 1 || !version || leg_find(flow, version->series) >= SHUNT_LEGS)
		return false;
	w->choice.noted[SHUNT_R_NO_POD / 64] &= ~(1ull << SHUNT_R_NO_POD % 64);
	w->choice.series = version->series;
	w->choice.edit = version->edit;
	return true;
}

/*
 * The hold has bytes of the next request, from request_end on, and the answer before it is complete. Looks for its head; binds when it is there,
 * waits for more when not. NOT_YET: the client must acknowledge the answer first.
 */
__noinline int request_held(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold;
	__u32 start, at, len;
	int verdict;

	if (!w || !flow)
		return DROP;
	start = flow->request_end;
	at = start - flow->hold_seq;
	len = flow->hold_len - at;
	hold = hold_of(w, flow);
	if (!hold || at > SHUNT_HOLD_SIZE || len > SHUNT_HOLD_SIZE - at || flow->recast.len) /* the pod has answered, and not all of the head before */
		return DROP;
	if (at + len > SHUNT_HOLD_SIZE / 2 && at && !(flow->flags & SHUNT_F_ACKED)) {
		hold_shift(flow, hold, at);
		at = 0;
	}
	if (!frontend_find(w)) {
		/* The plan no longer has this frontend: the flow ends its life where it is. */
		return bind_blind(skb, w, flow, start, SHUNT_R_NO_TABLE);
	}
	verdict = request_scan(w, (struct http_buf *)hold->data, at, len);
	if (verdict == HTTP_PARTIAL && at + len < SHUNT_HOLD_SIZE) {
		if (!flow_quiet(flow))
			return NOT_YET;
		flow->state = SHUNT_FLOW_HEAD;
		flow->flags |= SHUNT_F_ACKED;
		reason_count(SHUNT_R_HEAD_PARTIAL);
		return tell_client(skb, w, flow, hold_end(flow), TCP_ACK);
	}
	if (verdict != HTTP_COMPLETE)
		return bind_blind(skb, w, flow, start, verdict == HTTP_PARTIAL ? SHUNT_R_HEAD_TOO_LONG : SHUNT_R_NOT_HTTP);
	if (!choose_by_request(w, (struct http_buf *)hold->data, at, len) && !choice_stays(w, flow))
		return refuse(skb, w, flow);
	/*
	 * Another leg may take over only when nothing of the one before is on its way, and another head get lines only when those of the one before are
	 * there; the client's next ACK brings us back here.
	 */
	if (insert_is_on(flow) || (!flow_quiet(flow) && leg_find(flow, w->choice.series) != flow->current))
		return NOT_YET;
	choice_report(w);
	request_framing(w, flow, start);
	request_chunks_held(flow, hold);
	return bind_held(skb, w, flow, start);
}

static __always_inline int request_or_probe(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int verdict = request_held(skb, w, flow);

	return verdict == NOT_YET ? probe(skb, w, flow) : verdict;
}

/*
 * The first bytes of the next request, in a packet of their own, the answer before it being complete. In the common case (the whole head, the same
 * version, nothing of a further request, no edits) the packet just goes on: GO_ON. HELD: it lies in the hold now.
 */
__noinline int request_fresh(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	__u32 skip, len, start;
	struct shunt_hold *hold;

	if (!w || !flow)
		return DROP;
	start = flow->request_end;
	skip = start - w->p.seq;
	flow->started = bpf_ktime_get_ns();
	if (flow->recast.len || !payload_load(skb, w))
		return DROP;
	len = w->p.len;
	if (!skip && len <= HTTP_HEAD_MAX && !flow->hold && !insert_is_on(flow) && !flow->request_edit && frontend_find(w)) {
		if (request_scan(w, &w->buf, 0, len) == HTTP_COMPLETE && choose_by_request(w, &w->buf, 0, len) &&
		    leg_find(flow, w->choice.series) == flow->current && !w->choice.request_edit) {
			request_framing(w, flow, start);
			if (flow->request_walk)
				request_chunks(skb, w, flow);
			if (flow->flags & SHUNT_F_PINNED || !seq_after(w->p.seq + w->p.len, flow->request_end)) {
				choice_report(w);
				request_begin(w, flow);
				return GO_ON;
			}
			/* More than this request: take the long way. */
			flow->request_end = start;
			flow->request_walk = SHUNT_CHUNK_END;
			flow->answer = SHUNT_ANSWER_IDLE;
		}
	}
	/* Bytes before `start` went their way long ago; a buffer that held them is done. */
	if (!hold_waiting(flow))
		hold_free(w, flow);
	hold = hold_take(w, flow, start);
	return hold && hold_append(skb, w, flow, hold) ? HELD : DROP;
}

/* Client bytes behind the current request: they wait, unacknowledged. */
static __always_inline void hold_more(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold;

	if (!hold_waiting(flow) && !(flow->flags & SHUNT_F_ACKED) && !flow->recast.len && !flow->hold_answer)
		hold_free(w, flow);
	hold = hold_take(w, flow, flow->request_end);
	if (hold && hold_append(skb, w, flow, hold))
		reason_count(SHUNT_R_PIPELINED);
	else
		reason_count(SHUNT_R_HOLD_DROP);
}

/* The same while the answer is not complete. What the packet says of that, its ACK and window, goes on without the bytes. */
static __always_inline int hold_pipelined(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_leg *leg = LEG(flow, flow->current);

	hold_more(skb, w, flow);
	forge_to_pod(w, leg, TCP_ACK);
	w->forge.seq = leg->cnext;
	w->forge.ack = ack_for_pod(flow, leg, w->p.ack);
	w->forge.window = window_for_pod(flow, leg, window_before_lines(flow, w->p.ack, w->p.window));
	forge_tstamp_to_pod(w, flow, leg);
	return forge_bare(skb, w) ? DROP : send_to_pod(skb, w, false);
}

/* A segment with the end of the current request and the start of another: through the hold, which sends the first part and keeps the second. */
static __always_inline int hold_crossing(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold;

	/* A retransmission may begin before what is held, merged from what is held and what went on as it came (and was lost): it replaces the hold. */
	if (!(flow->flags & SHUNT_F_ACKED) && !flow->recast.len && (seq_after(w->p.seq, hold_end(flow)) || seq_before(w->p.seq, flow->hold_seq)))
		hold = hold_restart(w, flow, w->p.seq);
	else
		hold = hold_take(w, flow, w->p.seq);
	if (!hold)
		return DROP;
	hold_append(skb, w, flow, hold);
	return emit(skb, w, flow);
}

/*
 * A packet of a bound flow that may need more than translation: it has bytes behind the current request, or bytes that we acknowledged and the pod
 * has not, or it acknowledges the answer that a held request waited for. GO_ON: translate it to flow->current; HELD: the next request is in the hold.
 */
__noinline int client_turn(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_leg *leg;
	__u32 end, tsecr;

	if (!w || !flow)
		return DROP;
	leg = LEG(flow, flow->current);
	end = w->p.seq + w->p.len;
	if (flow->flags & SHUNT_F_TSTAMP) /* for the packets that we make */
		tstamp_load(skb, w, &flow->ts_client, &tsecr);
	if (recast_takes(&flow->recast, w->p.seq)) {
		if (w->p.len && seq_after(end, flow->recast.at))
			return recast_again(skb, w, flow);
		w->p.seq = recast_seq(&flow->recast, w->p.seq);
		if (w->p.len)
			return GO_ON;
	}
	if (flow->flags & SHUNT_F_ACKED && w->p.len && seq_before(leg->acked, hold_sent_end(flow)) &&
	    seq_before(w->p.seq, hold_sent_end(flow)))
		return emit(skb, w, flow);
	if (flow->flags & SHUNT_F_PINNED)
		return GO_ON;
	if (!w->p.len) {
		if (hold_waiting(flow) && flow->answer == SHUNT_ANSWER_IDLE && w->p.ack == flow->snext && !(w->p.flags & (TCP_FIN | TCP_RST))) {
			flow->started = bpf_ktime_get_ns();
			return HELD;
		}
		return GO_ON;
	}
	if (flow->request_walk && seq_after(end, flow->request_end)) {
		if (!payload_load(skb, w)) /* the pod will not take it either */
			return GO_ON;
		if (request_chunks(skb, w, flow) == DROP)
			return DROP;
	}
	if (!seq_after(end, flow->request_end) || flow->flags & SHUNT_F_PINNED)
		return GO_ON;
	if (flow->answer == SHUNT_ANSWER_IDLE) {
		if (hold_waiting(flow)) { /* bytes that waited, and these */
			hold_more(skb, w, flow);
			flow->started = bpf_ktime_get_ns();
			return HELD;
		}
		if (seq_after(w->p.seq, flow->request_end)) {
			reason_count(SHUNT_R_HOLD_DROP);
			return DROP;
		}
		return request_fresh(skb, w, flow);
	}
	if (answer_out_of_step(w, flow) || (flow->missing && w->p.ack == flow->snext)) {
		answer_lost(flow);
		return GO_ON;
	}
	if (!seq_before(w->p.seq, flow->request_end))
		return hold_pipelined(skb, w, flow);
	return hold_crossing(skb, w, flow);
}

/* Chooses again for the request that the opening leg waits with; by the client's address when there is none yet. */
static __always_inline int choose_again(struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg)
{
	struct shunt_hold *hold = hold_of(w, flow);
	__u32 at = leg->acked - flow->hold_seq, len = flow->hold_len - at;

	if (flow->flags & SHUNT_F_EARLY || flow->kind == SHUNT_KIND_CONNECTION)
		return choose_by_client(w);
	if (!hold || at > SHUNT_HOLD_SIZE || len > SHUNT_HOLD_SIZE - at)
		return 0;
	if (request_scan(w, (struct http_buf *)hold->data, at, len) == HTTP_COMPLETE)
		return choose_by_request(w, (struct http_buf *)hold->data, at, len);
	return choose_by_client(w);
}

/*
 * The pod of the opening leg does not take the connection, and has had nothing but its SYN: the next pod of the version, or (`stay` == 0) of its
 * fallback. GO_ON: there is no other.
 */
__noinline int leg_elsewhere(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 stay)
{
	struct shunt_leg *leg;
	int verdict;

	if (!w || !flow)
		return DROP;
	leg = LEG(flow, flow->current);
	if (!frontend_find(w))
		return GO_ON;
	if (flow->attempt > SHUNT_POD_ATTEMPTS || (stay && flow->attempt == SHUNT_POD_ATTEMPTS))
		return GO_ON;
	w->attempt = flow->attempt + 1;
	w->same_version = stay;
	if (!choose_again(w, flow, leg))
		return GO_ON;
	choice_report(w);
	reason_count(SHUNT_R_POD_NEXT);
	if (w->choice.series != leg->series && !(flow->flags & SHUNT_F_EARLY)) { /* an error of the version that could not serve */
		answer_aborted(flow);
		request_begin(w, flow);
	}
	if (flow->flags & SHUNT_F_EDIT || w->choice.edit)
		edit_due(w, flow);
	if (flow->flags & SHUNT_F_RECAST || w->choice.request_edit)
		request_edit_due(w, flow);
	flow->attempt++;
	leg->state = SHUNT_LEG_DEAD;
	verdict = leg_open(skb, w, flow, leg->acked);
	if (flow->kind == SHUNT_KIND_CONNECTION)
		flow->state = SHUNT_FLOW_BOUND;
	else if (flow->flags & SHUNT_F_EARLY)
		flow->state = SHUNT_FLOW_HEAD;
	return verdict;
}

/* The opening leg's pod has had its time. */
static __always_inline bool pod_is_silent(const struct shunt_flow *flow)
{
	return elapsed(bpf_ktime_get_ns(), flow->opened) >= pod_deadline_ns(meta_live());
}

/*
 * The client sends again what waits for the leg: its retransmission timer is ours too. A pod that was silent for so long is given up for another of its
 * version; without another it gets the SYN again, after a challenge ACK from another port (pods limit those).
 */
static __always_inline int leg_again(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int verdict;

	if (pod_is_silent(flow)) {
		reason_count(SHUNT_R_LEG_SILENT);
		verdict = leg_elsewhere(skb, w, flow, 1);
		if (verdict != GO_ON)
			return verdict;
	}
	if (leg_port_again(skb, w, flow))
		return DROP;
	return leg_syn(skb, w, flow, flow->current) ? DROP : send_to_pod(skb, w, false);
}

/* FIN or RST of the client before the flow is bound. */
static __always_inline int client_leaves(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int verdict = DROP;
	__u32 ack = w->p.seq + w->p.len + 1;
	bool fin = w->p.flags & TCP_FIN;

	legs_reset(skb, w, flow, SHUNT_LEGS);
	if (fin)
		verdict = tell_client(skb, w, flow, ack, TCP_FIN | TCP_ACK);
	flow_end(w, flow);
	return verdict;
}

/* A packet of a client whose flow is not bound: the head is being collected, or the leg is being opened. HELD: more of a head is in the hold. */
__noinline int client_waiting(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_hold *hold;
	__u32 due, tsecr;

	if (!w || !flow)
		return DROP;
	due = flow->hold ? hold_end(flow) : flow->request_end;
	if (w->p.flags & TCP_RST)
		return seq_before(w->p.seq, flow->isn + 1) || seq_after(w->p.seq, due) ? drop_stray() : client_leaves(skb, w, flow);
	flow->window = w->p.window;
	if (flow->flags & SHUNT_F_TSTAMP)
		tstamp_load(skb, w, &flow->ts_client, &tsecr);
	if (!w->p.len) {
		if (w->p.flags & TCP_FIN && w->p.seq == due && flow->state == SHUNT_FLOW_HEAD)
			return client_leaves(skb, w, flow);
		if (seq_before(w->p.seq, due) && flow->state == SHUNT_FLOW_HEAD) /* keep-alive */
			return tell_client(skb, w, flow, due, TCP_ACK);
		if (w->p.flags & TCP_FIN)
			reason_count(SHUNT_R_HOLD_DROP); /* it comes again */
		return DROP;
	}
	if (!flow->hold && flow->state == SHUNT_FLOW_HEAD)
		flow->started = bpf_ktime_get_ns();
	hold = hold_take(w, flow, flow->request_end);
	if (!hold)
		return DROP;
	if (!hold_append(skb, w, flow, hold)) {
		if (seq_after(w->p.seq, due)) {
			reason_count(SHUNT_R_HOLD_DROP);
			return DROP;
		}
		if (flow->state == SHUNT_FLOW_HEAD) /* sent again what we have */
			return tell_client(skb, w, flow, due, TCP_ACK);
		return leg_again(skb, w, flow);
	}
	if (flow->state != SHUNT_FLOW_OPENING)
		return HELD;
	request_chunks_held(flow, hold);
	return DROP;
}

/* ---- the beginning ---------------------------------------------------------------------------------------------------------------------- */

/* By which way the client came: answers may have to find it by that. */
static __always_inline void flow_from(struct __sk_buff *skb, const struct work *w, struct shunt_flow *flow)
{
	flow->ifindex = w->ifindex;
	bpf_skb_load_bytes(skb, 0, flow->mac, sizeof(flow->mac));
}

/*
 * The same with every packet: the router that the client is behind may have failed over to another. Not from another interface: there anybody may bear
 * the client's address, and would be sent its answers.
 */
static __always_inline void flow_follow(struct __sk_buff *skb, const struct work *w, struct shunt_flow *flow)
{
	const __u32 *now = (void *)(long)skb->data, *known = (const __u32 *)flow->mac;

	if ((void *)(now + 3) > (void *)(long)skb->data_end)
		return;
	if (unlikely((now[0] != known[0] || now[1] != known[1] || now[2] != known[2]) && w->ifindex == flow->ifindex))
		flow_from(skb, w, flow);
}
_Static_assert(__builtin_offsetof(struct shunt_flow, mac) % 4 == 0, "compared by words");

/* A packet that no flow knows, or (flow) that may be the first of the next one with this port. GO_ON: w->key has a new flow. */
__noinline int flow_begin(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *old;

	if (!w)
		return DROP;
	switch (cookie_prove(skb, w)) {
	case PROOF_GOOD:
		break;
	case PROOF_NOT_NOW:
		return DROP;
	default:
		return reset_stranger(skb, w);
	}
	old = bpf_map_lookup_elem(&shunt_flow, &w->key);
	if (old) {
		reason_count(SHUNT_R_FLOW_REUSED);
		flow_end(w, old);
	}
	w->fresh.seen = bpf_ktime_get_coarse_ns();
	flow_from(skb, w, &w->fresh);
	if (bpf_map_update_elem(&shunt_flow, &w->key, &w->fresh, BPF_ANY)) {
		reason_count(SHUNT_R_FLOW_FULL);
		return DROP;
	}
	flow_waits(w);
	reason_count(SHUNT_R_FLOW_NEW);
	return GO_ON;
}

/* ---- connection frontends --------------------------------------------------------------------------------------------------------------- */

/*
 * The flow is bound from its SYN on: its packets, the SYN and its options, are the client's own. What of them is kept is for the SYN to another pod, which
 * we make should this one refuse, or be silent (leg_gone, tick_overdue, SILENT): until a SYN-ACK has gone by, the client knows of no pod.
 */
static __always_inline void connection_offers(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	const struct tcp_options *o = &w->options;

	if (options_parse(skb, w))
		return;
	flow->mss = o->mss ?: mss_of_class(0, w->p.family); /* RFC 9293 section 3.7.1 */
	flow->wscale = o->wscale;
	flow->ts_client = o->tsval;
	flow->window = w->p.window;
	flow->flags &= ~(SHUNT_F_TSTAMP | SHUNT_F_SACK | SHUNT_F_ECN);
	if (o->tstamp)
		flow->flags |= SHUNT_F_TSTAMP;
	if (o->sack)
		flow->flags |= SHUNT_F_SACK;
	if ((w->p.flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR))
		flow->flags |= SHUNT_F_ECN;
}

/* The SYN is sent again. Without an agent the client's timer is what finds a silent pod. */
static __always_inline int connection_again(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	if (LEG(flow, flow->current)->state != SHUNT_LEG_OPENING)
		return GO_ON;
	connection_offers(skb, w, flow);
	return pod_is_silent(flow) ? SILENT : GO_ON;
}

/* A SYN to a connection frontend: the flow begins here. GO_ON: translate it. SILENT: to another pod, if there is one. */
__noinline int connection_begin(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *flow;
	struct shunt_leg *leg;
	int chosen;

	if (!w)
		return DROP;
	flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	if (flow && flow->isn == w->p.seq)
		return connection_again(skb, w, flow);
	if (flow) {
		reason_count(SHUNT_R_FLOW_REUSED);
		flow_end(w, flow);
	}
	flow = &w->fresh;
	__builtin_memset(flow, 0, sizeof(*flow));
	chosen = choose_by_client(w);
	choice_report(w);
	if (!chosen) {
		forge_to_client(w, TCP_RST | TCP_ACK);
		w->forge.ack = w->p.seq + 1;
		return forge_bare(skb, w) ? DROP : send_to_client(skb, w);
	}
	flow->kind = SHUNT_KIND_CONNECTION;
	flow->state = SHUNT_FLOW_BOUND;
	flow->answer = SHUNT_ANSWER_CLOSE;
	flow->flags = SHUNT_F_PINNED;
	flow->isn = w->p.seq;
	flow->request_end = w->p.seq + 1;
	flow->started = bpf_ktime_get_ns();
	flow->opened = flow->started;
	connection_offers(skb, w, flow);
	leg = &flow->leg[0];
	leg->pod = w->choice.addr;
	leg->pport = w->choice.port;
	leg->version = w->choice.served;
	leg->series = w->choice.series;
	leg->state = SHUNT_LEG_OPENING;
	leg->cnext = w->p.seq + 1;
	leg->acked = w->p.seq + 1;
	leg_mask(w, leg);
	flow_from(skb, w, flow);
	if (leg_claim_port(skb, w, flow, 0, 0))
		return DROP;
	if (bpf_map_update_elem(&shunt_flow, &w->key, flow, BPF_ANY)) {
		reason_count(SHUNT_R_FLOW_FULL);
		leg_forget_port(w, leg);
		return DROP;
	}
	flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	if (!flow)
		return DROP;
	request_begin(w, flow);
	flow_waits(w);
	reason_count(SHUNT_R_FLOW_NEW);
	reason_count(SHUNT_R_BIND);
	reason_count(SHUNT_R_LEG_OPEN);
	return GO_ON;
}

/* ---- clients' own connections to pods --------------------------------------------------------------------------------------------------- */

/* Set when the first one had to be moved; spares all others a look-up per packet. */
volatile __u32 direct_moved;

static __always_inline int replace_port(struct __sk_buff *skb, const struct packet *p, __u32 at, __be16 from, __be16 to)
{
	bpf_l4_csum_replace(skb, p->l4 + TCP_CHECK_OFFSET, from, to, sizeof(to));
	bpf_skb_store_bytes(skb, p->l4 + at, &to, sizeof(to), BPF_F_INVALIDATE_HASH);
	return PASS;
}

/* A SYN to a pod on the tuple of a leg: is it the leg's own, which has come by another interface before? */
static __always_inline bool direct_is_leg(struct work *w, const struct shunt_leg_owner *owner)
{
	struct shunt_flow *flow;

	key_of_owner(w, owner);
	flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	return flow && w->p.seq == LEG(flow, owner->leg)->acked - 1;
}

/*
 * A SYN from a client to what is no frontend. When it is a pod, the tuple is remembered so that no leg takes it; when a leg has it already, this
 * connection gets another port, which shunt_direct translates both ways.
 */
__noinline int direct_begin(struct work *w)
{
	struct shunt_leg_owner direct = { .owner = SHUNT_OWNER_DIRECT };
	struct shunt_leg_owner *known, *leg;

	if (!w)
		return PASS;
	direct.cport = w->p.sport;
	known = bpf_map_lookup_elem(&shunt_direct, &w->leg_key);
	if (known && known->cport == w->p.sport)
		return PASS; /* this connection's own entry */
	if (known) /* of a connection that was moved to this port some time ago: it is over, or its client would not use the port again */
		bpf_map_delete_elem(&shunt_direct, &w->leg_key);
	leg = bpf_map_lookup_elem(&shunt_leg, &w->leg_key);
	if (!leg) {
		bpf_map_update_elem(&shunt_direct, &w->leg_key, &direct, BPF_NOEXIST);
		return PASS;
	}
	if (direct_is_leg(w, leg)) {
		reason_count(SHUNT_R_MET_AGAIN);
		return PASS;
	}
	/* Two entries: the client's tuple says where it went (fport), the new one says whose it is (cport). */
	for (int i = 0; i < LEG_PORT_TRIES; i++) {
		__be16 port = bpf_htons(1024 + bpf_get_prandom_u32() % 64000);

		w->leg_key.lport = port;
		if (bpf_map_lookup_elem(&shunt_leg, &w->leg_key))
			continue;
		direct.owner = SHUNT_OWNER_TRANSLATED;
		direct.cport = w->p.sport;
		direct.fport = port;
		if (bpf_map_update_elem(&shunt_direct, &w->leg_key, &direct, BPF_NOEXIST))
			continue;
		w->leg_key.lport = w->p.sport;
		bpf_map_update_elem(&shunt_direct, &w->leg_key, &direct, BPF_ANY);
		direct_moved = 1;
		reason_count(SHUNT_R_DIRECT_MOVED);
		return PASS;
	}
	reason_count(SHUNT_R_FLOW_FULL);
	return DROP;
}

/* A packet that is for no frontend. */
static __always_inline int direct_from_client(struct __sk_buff *skb, struct work *w)
{
	struct shunt_leg_owner *direct;

	if (likely(!direct_moved && (w->p.flags & (TCP_SYN | TCP_FIN | TCP_RST)) == 0))
		return PASS;
	w->leg_key.client = w->p.saddr;
	w->leg_key.pod = w->p.daddr;
	w->leg_key.lport = w->p.sport;
	w->leg_key.pport = w->p.dport;
	if ((w->p.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && direct_begin(w) == DROP)
		return DROP;
	direct = bpf_map_lookup_elem(&shunt_direct, &w->leg_key);
	if (direct && direct->owner == SHUNT_OWNER_DIRECT) {
		/* It ends; should the pod still know the tuple when a leg wants it, its challenge ACK will say so. */
		if (w->p.flags & (TCP_FIN | TCP_RST))
			bpf_map_delete_elem(&shunt_direct, &w->leg_key);
		return PASS;
	}
	if (!direct || direct->owner != SHUNT_OWNER_TRANSLATED || direct->fport == w->p.sport)
		return PASS;
	return replace_port(skb, &w->p, 0, w->p.sport, direct->fport);
}

/* A packet at egress that is of no leg; see shunt_to_client for why it is looked at in w->peek. */
static __always_inline int direct_to_client(struct __sk_buff *skb, struct work *w)
{
	struct shunt_leg_owner *direct = bpf_map_lookup_elem(&shunt_direct, &w->peek.key);

	if (!direct || direct->owner != SHUNT_OWNER_TRANSLATED || direct->fport != w->peek.p.dport)
		return PASS;
	return replace_port(skb, &w->peek.p, 2, w->peek.p.dport, direct->cport);
}

#endif
