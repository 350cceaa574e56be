/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The client's handshake without state: the SYN is answered with the kernel's own SYN cookie, and the flow begins with the first ACK that proves it.
 * A flood of SYNs costs packets, not memory.
 *
 * What the client offered must come back with that ACK. As in the kernel (tcp_syncookies), it rides in the low bits of our timestamp:
 *
 *     our tsval:  milliseconds, rounded down to 512  │ ECN:1 │ MSS class:3 │ SACK:1 │ wscale:4 (15: none)
 *
 * A client without timestamps gets neither window scale, SACK nor ECN, and its MSS class is found by making the cookie again.
 *
 * What the client is promised a pod must keep that is not chosen yet. So a frontend whose pods do not all do everything promises less, from the first
 * time on that one of them did not (promise_learn).
 */
#ifndef SHUNT_COOKIE_BPF_H
#define SHUNT_COOKIE_BPF_H

#include "lib/hold.bpf.h"
#include "lib/options.bpf.h"

enum proof {
	PROOF_GOOD,
	PROOF_NOT_NOW, /* of a flow that has ended, or what begins a flow is still to come: nobody's fault */
	PROOF_NONE,
};

#define KERNEL_CLASSES 4
#define CLASS_JUMBO 4 /* ours, for IPv4: Ethernet's 9000 bytes */
#define CLASS_UNKNOWN 5
#define FIRST_FLIGHT 0x10000 /* more than a client sends before its first ACK comes */

/* In the option bits; the wscale's are the lowest. */
#define BIT_SACK (1u << 4)
#define BITS_CLASS_SHIFT 5
#define BIT_ECN (1u << 8)
#define BITS 0x1ffu

/* The kernel's classes: msstab[] of net/ipv4/syncookies.c and net/ipv6/syncookies.c. */
static __always_inline __u16 mss_of_class(__u32 class, __u8 family)
{
	if (family == SHUNT_V6)
		return class == 0 ? 1220 : class == 1 ? 1420 : class == 2 ? 1440 : 8940;
	return class == 0 ? 536 : class == 1 ? 1300 : class == 2 ? 1440 : class == 3 ? 1460 : 8940;
}

static __always_inline __u32 mss_class(__u16 mss, __u8 family)
{
	if (family == SHUNT_V6)
		return mss >= 8940 ? 3 : mss >= 1440 ? 2 : mss >= 1420 ? 1 : 0;
	return mss >= 8940 ? CLASS_JUMBO : mss >= 1460 ? 3 : mss >= 1440 ? 2 : mss >= 1300 ? 1 : 0;
}

/* What we take from a client in one segment when its pods take it: Ethernet's 1500 bytes. */
static __always_inline __u16 our_mss(__u8 family)
{
	return family == SHUNT_V6 ? 1440 : 1460;
}

static __always_inline struct shunt_promise *promise_find(const struct work *w, struct shunt_frontend_key *ret_key)
{
	__builtin_memset(ret_key, 0, sizeof(*ret_key));
	ret_key->addr = w->key.frontend;
	ret_key->port = w->key.fport;
	return bpf_map_lookup_elem(&shunt_promise, ret_key);
}

/* What the client may be promised, into *ret_promise. */
static __always_inline void promise_make(const struct work *w, struct shunt_promise *ret_promise)
{
	struct shunt_frontend_key key;
	struct shunt_promise *known = promise_find(w, &key);

	__builtin_memset(ret_promise, 0, sizeof(*ret_promise));
	ret_promise->mss = our_mss(w->p.family);
	if (likely(!known) || elapsed(bpf_ktime_get_ns(), known->since) > SHUNT_PROMISE_S * 1000000000ull)
		return;
	ret_promise->lacks = known->lacks;
	if (known->mss < ret_promise->mss)
		ret_promise->mss = known->mss;
}

/* A pod has offered less than what we promise: its frontend's other clients are promised less. */
__noinline int promise_learn(const struct work *w, __u32 mss, __u32 lacks)
{
	struct shunt_frontend_key key;
	struct shunt_promise promise;

	if (!w)
		return 0;
	promise_make(w, &promise);
	if (mss < promise.mss)
		promise.mss = mss;
	promise.lacks |= lacks;
	promise.since = bpf_ktime_get_ns();
	promise_find(w, &key);
	return bpf_map_update_elem(&shunt_promise, &key, &promise, BPF_ANY);
}

/* The clock of our timestamps, ms. */
static __always_inline __u32 tstamp_now(void)
{
	return bpf_ktime_get_ns() / 1000000;
}

static __always_inline __u32 tstamp_with(__u32 bits)
{
	__u32 now = tstamp_now(), value = (now & ~BITS) | bits;

	return seq_after(value, now) ? value - (BITS + 1) : value;
}

static __always_inline int cookie_load(struct __sk_buff *skb, struct work *w)
{
	struct cookie_headers *h = &w->cookie;
	int err;

	__builtin_memset(h, 0, sizeof(*h));
	if (w->p.family == SHUNT_V6)
		err = bpf_skb_load_bytes(skb, ETH_HLEN, &h->v6, IPV6_LEN);
	else
		err = bpf_skb_load_bytes(skb, ETH_HLEN, &h->v4, IPV4_LEN);
	return err ? err : bpf_skb_load_bytes(skb, w->p.l4, &h->tcp, TCP_LEN);
}

/* The cookie for w->cookie with options_len bytes of TCP options; bits 32..47 have the MSS it stands for. */
static __always_inline __s64 cookie_make(struct work *w, __u32 options_len)
{
	struct cookie_headers *h = &w->cookie;
	__u32 len = TCP_LEN + options_len;

	keep(len);
	if (len < TCP_LEN || len > TCP_LEN + TCP_OPTIONS_MAX)
		return -1;
	if (w->p.family == SHUNT_V6)
		return bpf_tcp_raw_gen_syncookie_ipv6(&h->v6, &h->tcp, len);
	return bpf_tcp_raw_gen_syncookie_ipv4(&h->v4, &h->tcp, len);
}

static __always_inline bool cookie_valid(struct work *w)
{
	struct cookie_headers *h = &w->cookie;

	if (w->p.family == SHUNT_V6)
		return bpf_tcp_raw_check_syncookie_ipv6(&h->v6, &h->tcp) == 0;
	return bpf_tcp_raw_check_syncookie_ipv4(&h->v4, &h->tcp) == 0;
}

/* Answers a SYN to a request frontend. Makes no state. */
__noinline int cookie_answer(struct __sk_buff *skb, struct work *w)
{
	struct shunt_promise promise;
	struct shunt_closed *closed;
	struct tcp_options *o;
	struct shunt_flow *flow;
	bool tstamp, sack, ecn;
	__s64 cookie;
	__u32 bits;
	__u8 wscale;

	if (!w)
		return DROP;
	o = &w->options;
	if (cookie_load(skb, w) || options_parse(skb, w))
		return drop_stray();
	__builtin_memcpy(w->cookie.options, o->raw, TCP_OPTIONS_MAX);
	cookie = cookie_make(w, o->len);
	if (cookie < 0) {
		reason_count(SHUNT_R_INTERNAL);
		return DROP;
	}
	reason_count(SHUNT_R_SYN);
	/* The tuple may be about to be used again; only a proved cookie ends the flow that has it. */
	flow = bpf_map_lookup_elem(&shunt_flow, &w->key);
	if (flow) {
		flow->flags |= SHUNT_F_PENDING;
		flow->pending_isn = w->p.seq;
	}
	closed = bpf_map_lookup_elem(&shunt_closed, &w->key);
	if (closed)
		closed->syn = w->p.seq;
	promise_make(w, &promise);
	tstamp = o->tstamp && !(promise.lacks & SHUNT_LACK_TSTAMP);
	sack = tstamp && o->sack && !(promise.lacks & SHUNT_LACK_SACK);
	wscale = tstamp && !(promise.lacks & SHUNT_LACK_WSCALE) ? o->wscale : NO_WSCALE;
	ecn = tstamp && (w->p.flags & (TCP_ECE | TCP_CWR)) == (TCP_ECE | TCP_CWR) && !(promise.lacks & SHUNT_LACK_ECN);
	bits = mss_class(o->mss, w->p.family) << BITS_CLASS_SHIFT | (sack ? BIT_SACK : 0) | (ecn ? BIT_ECN : 0) | wscale;
	forge_to_client(w, TCP_SYN | TCP_ACK | (ecn ? TCP_ECE : 0));
	w->forge.seq = cookie;
	w->forge.ack = w->p.seq + 1;
	w->forge.window = SHUNT_HOLD_SIZE;
	options_syn(w, promise.mss, sack, tstamp, wscale == NO_WSCALE ? NO_WSCALE : OUR_WSCALE, tstamp_with(bits), o->tsval);
	if (forge_bare(skb, w))
		return DROP;
	return send_to_client(skb, w);
}

/*
 * What the cookie of the lowest MSS class would be, now, had the client begun at `isn`. A cookie is a hash of the addresses, plus the ISN, plus the minute,
 * plus its class (net/ipv4/syncookies.c), so the difference to the acknowledged one tells the class when the ISN is known, and the ISN but for the class.
 * Negative: none can be made.
 */
static __always_inline __s64 cookie_lowest(struct work *w, __u32 isn)
{
	struct cookie_headers *h = &w->cookie;

	h->tcp.seq = bpf_htonl(isn);
	((__u8 *)&h->tcp)[12] = (TCP_LEN + 4) << 2;
	((__u8 *)&h->tcp)[13] = TCP_SYN;
	h->options[0] = TCPOPT_MSS;
	h->options[1] = 4;
	h->options[2] = mss_of_class(0, w->p.family) >> 8;
	h->options[3] = mss_of_class(0, w->p.family) & 0xff;
	return cookie_make(w, 4);
}

/* The class of the acknowledged cookie; CLASS_UNKNOWN: it was made in another minute. */
static __always_inline __u32 cookie_class(struct work *w, __u32 isn)
{
	__s64 lowest = cookie_lowest(w, isn);
	__u32 class = w->p.ack - 1 - (__u32)lowest;

	return lowest >= 0 && class < KERNEL_CLASSES ? class : CLASS_UNKNOWN;
}

/* A client whose handshake has just ended, but the packet that proves it is lost or late: this one is from further on. */
static __always_inline bool cookie_ahead(struct work *w)
{
	__s64 zero = cookie_lowest(w, 0);

	return zero >= 0 && w->p.seq - (w->p.ack - 1 - (__u32)zero) < FIRST_FLIGHT;
}

/* A packet of an ended flow, by its number: that is one of the flow's, and no SYN has come for it since. */
static __always_inline bool closed_has(const struct shunt_closed *closed, __u32 isn)
{
	return isn == closed->isn || (isn != closed->syn && isn - closed->isn < closed->end - closed->isn);
}

/* Proves a packet that is no SYN as the end of a handshake of ours; the flow that it begins is in w->fresh then. */
__noinline int cookie_prove(struct __sk_buff *skb, struct work *w)
{
	struct shunt_flow *flow;
	struct shunt_closed *closed;
	__u32 isn, tsecr, class, made;
	bool ended;

	if (!w)
		return PROOF_NONE;
	flow = &w->fresh;
	isn = w->p.seq - 1;
	if ((w->p.flags & (TCP_ACK | TCP_RST | TCP_SYN)) != TCP_ACK || cookie_load(skb, w))
		return PROOF_NONE;
	closed = bpf_map_lookup_elem(&shunt_closed, &w->key);
	ended = closed && closed_has(closed, isn);
	if (ended || !cookie_valid(w)) {
		/*
		 * A client that still sends in an ended flow waits for what nobody sends any more: an ACK of its FIN, or the pod's reset, which was lost. It gets
		 * a reset; an ACK alone wants no answer.
		 */
		if (ended ? !(w->p.flags & TCP_FIN) && !w->p.len : closed || cookie_ahead(w)) {
			reason_count(closed ? SHUNT_R_COOKIE_REPLAYED : SHUNT_R_HOLD_DROP);
			return PROOF_NOT_NOW;
		}
		reason_count(SHUNT_R_COOKIE_BAD);
		return PROOF_NONE;
	}
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->kind = SHUNT_KIND_REQUEST;
	flow->state = SHUNT_FLOW_HEAD;
	flow->isn = isn;
	flow->request_end = isn + 1;
	flow->snext = w->p.ack;
	flow->sacked = w->p.ack;
	flow->wscale = NO_WSCALE;
	made = cookie_class(w, isn);
	if (tstamp_load(skb, w, &flow->ts_client, &tsecr)) {
		flow->flags |= SHUNT_F_TSTAMP | (tsecr & BIT_SACK ? SHUNT_F_SACK : 0) | (tsecr & BIT_ECN ? SHUNT_F_ECN : 0);
		flow->ts_sent = tsecr;
		flow->wscale = tsecr & 15;
		if (flow->wscale != NO_WSCALE)
			flow->flags |= SHUNT_F_WSCALE;
		class = tsecr >> BITS_CLASS_SHIFT & 7;
		/* A cookie of class 3 is one of class 2 for the next ISN: the first bytes are missing. */
		if (made != CLASS_UNKNOWN && made != (class == CLASS_JUMBO ? 3 : class)) {
			reason_count(SHUNT_R_HOLD_DROP);
			return PROOF_NOT_NOW;
		}
	} else {
		class = made == CLASS_UNKNOWN ? 0 : made; /* the lowest is always safe */
	}
	flow->mss = mss_of_class(class, w->p.family);
	return PROOF_GOOD;
}

#endif
