// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * A packet's fate, from the top.
 *
 *            client's interface, host side                              host's stack
 *     client ──▶ ingress: shunt_from_client ──▶ routing, conntrack see client ──▶ pod ──▶ pod
 *     client ◀── egress:  shunt_to_client   ◀── routing, conntrack see pod ──▶ client ◀── pod
 *
 * Request frontends: the client's SYN is answered here (cookie.bpf.h), its request is held until the head is whole (hold, client), the tables say which
 * pod (choose), a connection to it is opened from the client's own address (leg), and from then on packets are translated (translate). Every later
 * request on the connection is decided again; the answer is followed (answer) to know when that is possible.
 * Connection frontends: decided at the SYN by client address, then translated.
 * Everything else is not ours and leaves as it came.
 *
 * Where answers do not come by the client's egress (a CNI that delivers past it; a pod on another node, which answers to this node's address),
 * shunt_from_pod meets them at ingress, where they enter the node, and sends them to the client's interface. forge.bpf.h has all the ways.
 */
#include "maps.bpf.h"

#include "lib/client.bpf.h"
#include "lib/icmp.bpf.h"
#include "lib/lock.bpf.h"
#include "lib/pod.bpf.h"
#include "lib/tick.bpf.h"
#include "lib/translate.bpf.h"

#define END_WINDOW (1u << 24) /* more than any window of a pod */

static __always_inline struct work *work_area(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shunt_work, &zero);
}

static __always_inline void key_from_client(struct work *w)
{
	w->key.client = w->p.saddr;
	w->key.frontend = w->p.daddr;
	w->key.cport = w->p.sport;
	w->key.fport = w->p.dport;
}

/* Both FINs are acknowledged. */
static __always_inline bool flow_closed(const struct shunt_flow *flow)
{
	const __u32 both = SHUNT_F_POD_FIN_ACKED | SHUNT_F_CLIENT_FIN_ACKED;

	return (flow->flags & both) == both;
}

/* ---- client ──▶ pod ------------------------------------------------------------------------------------------------------------------------ */

/*
 * The packet is the flow's last, or a FIN or RST: idle legs are reset first, with copies; then it is made anew. Only when it has no payload to lose. A
 * reset's number is the pod's next: the client's may count held bytes, and the pod would not believe it (RFC 5961 section 3.2).
 */
static __always_inline int close_all(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	__u32 tsecr;

	if (flow->flags & SHUNT_F_TSTAMP)
		tstamp_load(skb, w, &flow->ts_client, &tsecr);
	legs_reset(skb, w, flow, flow->current);
	forge_to_pod(w, leg, w->p.flags);
	w->forge.seq = w->p.flags & TCP_RST ? leg->cnext : w->p.seq - leg->cdelta;
	w->forge.ack = ack_for_pod(flow, leg, w->p.ack);
	w->forge.window = window_for_pod(flow, leg, window_before_lines(flow, w->p.ack, w->p.window));
	forge_tstamp_to_pod(w, flow, leg);
	return forge_bare(skb, w) ? DROP : send_to_pod(skb, w, true);
}

/* A FIN or RST counts only when the pod will believe it too: anybody may send one with any number. */
static __always_inline bool client_ends(const struct work *w, const struct shunt_leg *leg)
{
	return w->p.flags & (TCP_FIN | TCP_RST) && w->p.seq + w->p.len - leg->acked < END_WINDOW;
}

/* Follows the closing handshake; true: this packet is the flow's last. */
static __always_inline bool client_closes(const struct work *w, struct shunt_flow *flow, bool ends)
{
	if (ends && w->p.flags & TCP_FIN) {
		flow->flags |= SHUNT_F_CLIENT_FIN;
		flow->client_fin = w->p.seq + w->p.len + 1;
	}
	if (flow->flags & SHUNT_F_POD_FIN && w->p.ack == flow->snext)
		flow->flags |= SHUNT_F_POD_FIN_ACKED;
	return (ends && w->p.flags & TCP_RST) || flow_closed(flow);
}

static __always_inline int client_bound(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	__u32 end = w->p.seq + w->p.len;
	struct shunt_leg *leg;
	bool ends, last;
	int verdict;

	if (seq_after(w->p.ack, flow->sacked) && !seq_after(w->p.ack, flow->snext))
		flow->sacked = w->p.ack;
	insert_acknowledged(flow);
	flow->window = w->p.window;
	if (flow->hold || (seq_after(end, flow->request_end) && w->p.len && !(flow->flags & SHUNT_F_PINNED))) {
		verdict = client_turn(skb, w, flow);
		if (verdict == HELD)
			return request_or_probe(skb, w, flow);
		if (verdict != GO_ON)
			return verdict;
	}
	/* A FIN behind bytes that we hold comes again. */
	if (w->p.flags & TCP_FIN && hold_waiting(flow)) {
		reason_count(SHUNT_R_HOLD_DROP);
		return DROP;
	}
	leg = LEG(flow, flow->current);
	ends = client_ends(w, leg);
	last = client_closes(w, flow, ends);
	if (w->p.len)
		count_rx(leg, end - leg->cdelta);
	if (unlikely((ends || last) && !w->p.len && (legs_idle(flow) || (w->p.flags & TCP_RST && hold_waiting(flow)))))
		verdict = close_all(skb, w, flow, leg);
	else
		verdict = translate(skb, w, flow, leg, true);
	if (unlikely(leg->mask) && verdict == PASS) {
		w->mask = leg->mask;
		verdict = send_to_pod(skb, w, false);
	}
	if (unlikely(last))
		flow_end(w, flow);
	return verdict;
}

/* A packet of a flow, or one that may begin a flow; the flow is locked. */
static __always_inline int client_locked(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	int verdict;

	if (unlikely(!flow || (flow->flags & SHUNT_F_PENDING && w->p.seq == flow->pending_isn + 1 && w->p.seq != flow->isn + 1))) {
		verdict = flow_begin(skb, w);
		if (verdict != GO_ON)
			return verdict;
		flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
		if (!flow)
			return DROP;
	}
	flow->seen = bpf_ktime_get_coarse_ns();
	flow_follow(skb, w, flow);
	if (likely(flow->state == SHUNT_FLOW_BOUND))
		return client_bound(skb, w, flow);
	verdict = client_waiting(skb, w, flow);
	return verdict == HELD ? request_or_probe(skb, w, flow) : verdict;
}

/* ---- pod ──▶ client ------------------------------------------------------------------------------------------------------------------------ */

static __always_inline bool pod_closes(const struct work *w, struct shunt_flow *flow, const struct shunt_leg *leg)
{
	if (w->p.flags & TCP_FIN)
		flow->flags |= SHUNT_F_POD_FIN;
	if (flow->flags & SHUNT_F_CLIENT_FIN && w->p.ack + leg->cdelta == flow->client_fin)
		flow->flags |= SHUNT_F_CLIENT_FIN_ACKED;
	/* A reset that answers an earlier connection of the tuple has a number from anywhere; the client does not believe it either. */
	return (w->p.flags & TCP_RST && w->p.seq - leg->pnext + END_WINDOW < 2 * END_WINDOW) || flow_closed(flow);
}

/* What the pod has acknowledged need not be held any more. */
static __always_inline void hold_acknowledged(struct work *w, struct shunt_flow *flow, const struct shunt_leg *leg)
{
	if (seq_before(leg->acked, hold_sent_end(flow)) || flow->hold_answer)
		return;
	flow->flags &= ~SHUNT_F_ACKED;
	if (!hold_waiting(flow))
		hold_free(w, flow);
}

static __always_inline int pod_bound(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, struct shunt_leg *leg)
{
	__u32 end = w->p.seq + w->p.len + (w->p.flags & TCP_FIN ? 1 : 0), ack = w->p.ack + leg->cdelta, start = w->p.seq + leg->sdelta;
	bool last, was_busy = flow->answer != SHUNT_ANSWER_IDLE;
	__u64 now = 0;
	int verdict;

	if (seq_after(ack, leg->acked))
		leg->acked = ack;
	if (unlikely(flow->hold)) {
		recast_acknowledged(w, flow, flow->current);
		hold_acknowledged(w, flow, leg);
	}
	w->insert.len = 0;
	w->insert.fresh = 0;
	if (w->p.len) {
		if (insert_is_on(flow) && insert_again(skb, w, flow, &start) == DROP)
			return DROP;
		if (flow->answer != SHUNT_ANSWER_IDLE || flow->flags & SHUNT_F_WAITING) {
			now = bpf_ktime_get_ns();
			if (answer_follow(skb, w, flow, start, now) == DROP)
				return DROP;
		}
		count_tx(leg, w->p.seq, end - (w->p.flags & TCP_FIN ? 1 : 0));
	} else if (unlikely(answer_fin_ahead(w, flow, start))) {
		reason_count(SHUNT_R_ANSWER_AHEAD);
		return DROP;
	} else if (flow->kind == SHUNT_KIND_CONNECTION && flow->flags & SHUNT_F_WAITING && !(w->p.flags & TCP_RST)) {
		answer_first_byte(flow, bpf_ktime_get_ns()); /* the SYN-ACK */
	}
	/* What has gone by, not what a bare ACK behind a lost packet says was sent. */
	if ((seq_after(end, leg->pnext) && (w->p.len || w->p.flags & TCP_FIN)) || (flow->kind == SHUNT_KIND_CONNECTION && w->p.flags & TCP_SYN)) {
		if (w->p.flags & TCP_SYN)
			end++;
		leg->pnext = end;
		flow->snext = end + leg->sdelta;
	}
	if (w->p.flags & TCP_FIN && flow->answer == SHUNT_ANSWER_CLOSE)
		answer_complete(flow, bpf_ktime_get_ns());
	last = pod_closes(w, flow, leg);
	verdict = translate(skb, w, flow, leg, false);
	if (insert_is_on(flow) && w->p.len && verdict == PASS)
		verdict = edit_packet(skb, w, flow);
	if (unlikely(last)) {
		if (legs_idle(flow) && verdict == PASS) { /* a reset: the other pods hear of it, too */
			send_copy_to_client(skb, w);
			legs_reset(skb, w, flow, flow->current);
			verdict = DROP;
		}
		flow_end(w, flow);
	} else if (unlikely(was_busy && flow->answer == SHUNT_ANSWER_IDLE && hold_waiting(flow) && verdict == PASS && !(w->p.flags & TCP_FIN))) {
		/*
		 * The packet completes an answer, and requests wait behind it. It goes to the client as a copy, and the skb brings the next request to its
		 * pod; else that would wait for the client's delayed ACK.
		 */
		send_copy_to_client(skb, w);
		flow->started = now;
		return request_or_probe(skb, w, flow);
	}
	return verdict == PASS ? send_to_client(skb, w) : verdict;
}

/* The leg that a packet is an answer of. Looked at in w->peek alone: see shunt_to_client. */
static __always_inline struct shunt_leg_owner *owner_find(struct work *w)
{
	w->peek.key.client = w->peek.p.daddr;
	w->peek.key.pod = w->peek.p.saddr;
	w->peek.key.lport = w->peek.p.dport;
	w->peek.key.pport = w->peek.p.sport;
	return bpf_map_lookup_elem(&shunt_leg, &w->peek.key);
}

/* A packet in w->peek, from the pod of a leg. */
static __always_inline int pod_packet(struct __sk_buff *skb, struct work *w, const struct shunt_leg_owner *owner, const enum place place)
{
	struct shunt_flow *flow;
	struct shunt_lock *lock;
	struct shunt_leg *leg;
	int verdict = PASS;

	w->p = w->peek.p;
	w->leg_key = w->peek.key;
	lock = owner_lock(skb, w, owner, place);
	if (!lock)
		return DROP;
	flow = owner_flow(w, place);
	if (flow) {
		leg = LEG(flow, w->leg);
		if (leg->lport != w->p.dport || leg->state == SHUNT_LEG_NONE) {
			verdict = drop_stray(); /* too late for its leg: the client knows nothing of this pod */
		} else {
			flow->seen = bpf_ktime_get_coarse_ns();
			verdict = GO_ON;
			if (unlikely(flow->state != SHUNT_FLOW_BOUND || w->leg != flow->current || leg->state == SHUNT_LEG_OPENING ||
				     (w->p.flags & TCP_SYN && flow->kind == SHUNT_KIND_REQUEST)))
				verdict = pod_slow(skb, w, flow);
			if (likely(verdict == GO_ON))
				verdict = pod_bound(skb, w, flow, leg);
		}
	}
	lock_release(lock);
	return verdict;
}

SEC("tc")
int shunt_to_client(struct __sk_buff *skb)
{
	struct work *w = work_area();
	struct shunt_leg_owner *owner;

	/* A packet that we send to a client from the other program comes by here while that one works: nothing but `peek` may change for it. */
	if (!w)
		return PASS;
	if (unlikely(skb->mark == SHUNT_MARK_COPY) && w->parting)
		return part_copy(skb, w);
	if (!packet_parse(skb, &w->peek.p))
		return odd_to_client(skb, w, AT_CLIENT_OUT);
	owner = owner_find(w);
	if (!owner)
		return likely(!direct_moved) ? PASS : direct_to_client(skb, w);
	return pod_packet(skb, w, owner, AT_CLIENT_OUT);
}

/*
 * At ingress of an interface with a pod behind it. Of an uplink, whose other answers pass by the client's egress, only those to the node's own address
 * are taken here.
 */
SEC("tc")
int shunt_from_pod(struct __sk_buff *skb)
{
	struct work *w = work_area();
	struct shunt_leg_owner *owner;

	if (!w || skb->mark == SHUNT_MARK)
		return PASS;
	if (!packet_parse(skb, &w->peek.p))
		return odd_to_client(skb, w, AT_POD_IN);
	owner = owner_find(w);
	if (!owner)
		return likely(!direct_moved) ? PASS : direct_to_client(skb, w);
	return returns_here(skb, owner) ? pod_packet(skb, w, owner, AT_POD_IN) : PASS;
}

/* ---- from clients -------------------------------------------------------------------------------------------------------------------------- */

/* A packet to an address of ours, from behind a client's interface: what a pod answers to itself turns round here; to the host it just goes on. */
static __always_inline int own_address_from_client(struct __sk_buff *skb, struct work *w)
{
	struct shunt_leg_owner *owner;

	w->peek.p = w->p;
	owner = owner_find(w);
	if (!owner || owner->mask != SHUNT_MASK_HAIRPIN)
		return PASS;
	return pod_packet(skb, w, owner, AT_POD_IN);
}

/* The pod of a connection has not answered in time, and its client sends the SYN again. GO_ON: there is no other pod, it goes to the same. */
static __always_inline int connection_silent(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *flow = bpf_map_lookup_elem(&shunt_flow, &w->key);

	if (!flow)
		return DROP;
	reason_count(SHUNT_R_LEG_SILENT);
	return leg_elsewhere(skb, w, flow, 1);
}

SEC("tc")
int shunt_from_client(struct __sk_buff *skb)
{
	struct work *w = work_area();
	struct shunt_lock *lock;
	int verdict = GO_ON;
	bool known, syn;

	if (skb->mark == SHUNT_MARK) { /* ours, on its way round to a pod */
		skb->mark = 0;
		return PASS;
	}
	if (!w)
		return PASS;
	if (!packet_parse(skb, &w->p))
		return odd_from_client(skb, w);
	w->place = AT_CLIENT_IN;
	w->aim = AIM_POD;
	w->ifindex = skb->ifindex;
	w->attempt = 0;
	key_from_client(w);
	known = bpf_map_lookup_elem(&shunt_flow, &w->key) != NULL;
	if (!known && !frontend_find(w))
		return unlikely(is_own(&w->p.daddr, w->p.family)) ? own_address_from_client(skb, w) : direct_from_client(skb, w);
	syn = (w->p.flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	if (unlikely(syn && w->p.flags & (TCP_FIN | TCP_RST))) { /* as Linux does in LISTEN (tcp_rcv_state_process) */
		reason_count(SHUNT_R_SYN_BAD);
		return DROP;
	}
	if (syn) {
		if (known && !frontend_find(w)) /* the plan has dropped it; the old flow is the sweep's */
			return PASS;
		if (w->frontend.kind == SHUNT_KIND_REQUEST && !known)
			return cookie_answer(skb, w);
	}
	lock = lock_take(&w->key);
	if (!lock)
		return DROP;
	if (syn)
		verdict = w->frontend.kind == SHUNT_KIND_REQUEST ? cookie_answer(skb, w) : connection_begin(skb, w);
	if (unlikely(verdict == SILENT))
		verdict = connection_silent(skb, w);
	if (verdict == GO_ON)
		verdict = client_locked(skb, w);
	lock_release(lock);
	return verdict;
}

/* ---- sweep --------------------------------------------------------------------------------------------------------------------------------- */

struct sweep {
	struct work *w;
	__u64 now;
};

/* How long a flow may be silent. A bound one outlives TCP's two hours of keep-alive (RFC 9293 section 3.8.4). */
static __always_inline __u64 idle_limit(const struct shunt_flow *flow)
{
	const __u64 second = 1000000000;

	if (flow->state != SHUNT_FLOW_BOUND)
		return (__u64)SHUNT_IDLE_UNBOUND_S * second;
	return flow->flags & (SHUNT_F_CLIENT_FIN | SHUNT_F_POD_FIN) ? (__u64)SHUNT_IDLE_CLOSING_S * second : (__u64)SHUNT_IDLE_BOUND_S * second;
}

static long sweep_flow(void *map, const struct shunt_flow_key *key, struct shunt_flow *flow, struct sweep *sweep)
{
	struct work *w = sweep->w;
	struct shunt_lock *lock;

	if (elapsed(sweep->now, flow->seen) < idle_limit(flow))
		return 0;
	w->key = *key;
	lock = lock_take(&w->key);
	if (!lock)
		return 0;
	flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	if (flow && elapsed(sweep->now, flow->seen) >= idle_limit(flow)) {
		reason_count(SHUNT_R_FLOW_IDLE);
		flow_end(w, flow);
	}
	lock_release(lock);
	return 0;
}

/* For BPF_PROG_TEST_RUN, which the agent does now and then: flows that have been silent too long go. */
SEC("tc")
int shunt_sweep(struct __sk_buff *skb)
{
	struct sweep sweep = { .w = work_area(), .now = bpf_ktime_get_coarse_ns() };

	if (!sweep.w)
		return DROP;
	bpf_for_each_map_elem(&shunt_flow, sweep_flow, &sweep, 0);
	return PASS;
}

/* ---- tick ---------------------------------------------------------------------------------------------------------------------------------- */

static long tick_step(void *map, const struct shunt_flow_key *key, const __u64 *since, struct tick *tick)
{
	struct work *w = tick->w;
	struct shunt_lock *lock;
	bool done;

	if (addr_family(&key->client) != tick->family)
		return 0;
	w->key = *key;
	lock = lock_take(&w->key);
	if (!lock)
		return 0;
	done = tick_flow(tick, *since);
	lock_release(lock);
	if (done)
		bpf_map_delete_elem(&shunt_wait, &w->key);
	return 0;
}

/*
 * For BPF_PROG_TEST_RUN, which the agent does every SHUNT_TICK_MS, with a frame of IPv4 and one of IPv6: what must happen after a time although no
 * packet comes (tick.bpf.h).
 */
SEC("tc")
int shunt_tick(struct __sk_buff *skb)
{
	struct tick tick = { .w = work_area(), .skb = skb, .now = bpf_ktime_get_ns() };
	const struct shunt_meta *meta = meta_live();

	if (!tick.w || !meta)
		return DROP;
	tick.family = skb->protocol == bpf_htons(ETH_P_IPV6) ? SHUNT_V6 : SHUNT_V4;
	tick.pod_deadline = pod_deadline_ns(meta);
	tick.quiet = (meta->quiet_ms ?: SHUNT_QUIET_MS) * 1000000ull;
	bpf_for_each_map_elem(&shunt_wait, tick_step, &tick, 0);
	return PASS;
}

/* ---- explain ------------------------------------------------------------------------------------------------------------------------------- */

/* For BPF_PROG_TEST_RUN: takes a packet with a request as a client would send it and puts in its place what the tables say (struct shunt_answer). */
SEC("tc")
int shunt_explain(struct __sk_buff *skb)
{
	struct work *w = work_area();
	struct shunt_answer answer = {};
	int chosen = 0;
	__u32 len;

	if (!w || !packet_parse(skb, &w->p))
		return DROP;
	w->attempt = 0;
	w->ifindex = skb->ifindex;
	key_from_client(w);
	choice_clear(w);
	w->choice.refused = SHUNT_R_NO_TABLE + 1;
	if (frontend_find(w)) {
		choice_clear(w);
		if (w->frontend.kind == SHUNT_KIND_CONNECTION || !w->p.len) {
			chosen = choose_by_client(w);
		} else {
			len = answer_load(skb, w, 0, HTTP_HEAD_MAX);
			if (request_scan(w, &w->buf, 0, len) == HTTP_COMPLETE)
				chosen = choose_by_request(w, &w->buf, 0, len);
			else
				choice_refuse(w, SHUNT_R_NOT_HTTP);
		}
	}
	answer.verdict = chosen ? 0 : w->choice.refused;
	answer.route = w->choice.route;
	answer.split = w->choice.split;
	answer.version = w->choice.version;
	answer.served = w->choice.served;
	answer.pod = w->choice.pod;
	answer.by = w->choice.by;
	answer.id_from_client = w->choice.id_from_client;
	answer.hash = w->choice.hash;
	answer.side = w->side;
	answer.item = w->choice.item;
	answer.match = w->choice.match;
	answer.id_len = w->id.len;
	__builtin_memcpy(answer.id, w->id.b, sizeof(answer.id));
	if (bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0) || bpf_skb_store_bytes(skb, 0, &answer, sizeof(answer), 0))
		return DROP;
	return PASS;
}

char _license[] SEC("license") = "GPL";
