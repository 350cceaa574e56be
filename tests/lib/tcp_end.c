/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "tcp_end.h"

#include <stdlib.h>
#include <string.h>

void tcp_end_init(struct tcp_end *end)
{
	end->out = malloc(TCP_END_STREAM);
	end->in = malloc(TCP_END_STREAM);
	end->sacked = calloc(1, TCP_END_STREAM);
	end->got = calloc(1, TCP_END_STREAM);
	if (!end->out || !end->in || !end->sacked || !end->got)
		abort();
	end->rto = TCP_END_RTO;
}

void tcp_end_release(struct tcp_end *end)
{
	free(end->out);
	free(end->in);
	free(end->sacked);
	free(end->got);
	end->out = end->in = end->sacked = end->got = NULL;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static uint32_t most(uint32_t a, uint32_t b)
{
	return a > b ? a : b;
}

/* ---- what there is to say --------------------------------------------------------------------------------------------------------------- */

/* Position behind everything that is to be sent, with the FIN. */
static uint32_t out_end(const struct tcp_end *end)
{
	return 1 + end->written + end->closed;
}

bool tcp_end_flushed(const struct tcp_end *end)
{
	return end->una == out_end(end);
}

bool tcp_end_peer_closed(const struct tcp_end *end)
{
	return end->fin && end->due == end->fin;
}

bool tcp_end_over(const struct tcp_end *end)
{
	return end->state == TCP_END_RESET || (end->closed && tcp_end_flushed(end) && tcp_end_peer_closed(end));
}

uint32_t tcp_end_readable(const struct tcp_end *end)
{
	uint32_t bytes = end->due ? end->due - 1 : 0;

	if (tcp_end_peer_closed(end))
		bytes--;
	return bytes - end->read;
}

static uint32_t segment_max(const struct tcp_end *end)
{
	return end->peer_mss - (end->tstamp ? 12 : 0);
}

static uint32_t window_now(const struct tcp_end *end)
{
	uint32_t waiting = tcp_end_readable(end);

	return waiting < end->buffer ? end->buffer - waiting : 0;
}

/* ---- sending ----------------------------------------------------------------------------------------------------------------------------- */

static void arm(struct tcp_end *end, uint64_t now)
{
	end->rto_at = now + end->rto;
}

void tcp_end_connect(struct tcp_end *end, uint64_t now)
{
	end->state = TCP_END_SYN_SENT;
	arm(end, now);
}

void tcp_end_write(struct tcp_end *end, const void *bytes, size_t len)
{
	if (end->written + len + 2 > TCP_END_STREAM || end->closed)
		abort();
	memcpy(end->out + end->written, bytes, len);
	end->written += len;
	if (end->pieces < TCP_END_PIECES)
		end->piece[end->pieces++] = end->written;
}

void tcp_end_close(struct tcp_end *end)
{
	end->closed = true;
}

void tcp_end_take(struct tcp_end *end, uint32_t len)
{
	uint32_t before = window_now(end);

	end->read += len;
	if (before < end->mss && window_now(end) >= least(end->mss, end->buffer / 2))
		end->ack_now = true; /* the window opens */
}

/* SACK blocks: what came beyond a gap, from the top down. */
static void put_sacks(const struct tcp_end *end, struct pkt *p)
{
	uint32_t at = end->top;

	while (at > end->due && p->sacks < PKT_SACK_MAX - end->tstamp) {
		uint32_t right;

		while (at > end->due && !end->got[at - 2])
			at--;
		right = at;
		while (at > end->due && end->got[at - 2])
			at--;
		if (right == at)
			break;
		p->sack[p->sacks][0] = end->peer_iss + at;
		p->sack[p->sacks++][1] = end->peer_iss + right;
	}
}

static struct pkt packet(struct tcp_end *end, uint8_t flags, uint32_t position, uint64_t now)
{
	uint32_t window = window_now(end);
	uint8_t shift = flags & SYN ? 0 : end->wscale ? end->wscale - 1 : 0;
	struct pkt p = {
		.saddr = end->addr, .daddr = end->peer, .sport = end->port, .dport = end->peer_port, .flags = flags, .seq = end->iss + position,
		.tstamp = end->tstamp, .tsval = end->clock + (uint32_t)now, .tsecr = end->ts_recent,
	};

	p.window = least(window >> shift, 0xffff);
	if (!(flags & ACK))
		return p;
	p.ack = end->peer_iss + end->due;
	end->edge = most(end->edge, end->due + ((uint32_t)p.window << shift));
	end->last_ack = end->due;
	end->ack_now = false;
	end->ack_at = 0;
	end->fresh = 0;
	if (end->sack && end->top > end->due && !(flags & SYN))
		put_sacks(end, &p);
	return p;
}

static struct pkt syn_packet(struct tcp_end *end, uint64_t now)
{
	bool answer = end->state == TCP_END_SYN_RECEIVED;
	struct pkt p = packet(end, answer ? SYN | ACK : SYN, 0, now);

	p.mss = end->mss;
	p.sack_ok = end->sack;
	p.wscale = end->wscale;
	end->ts_syn_last = p.tsval;
	if (!end->max)
		end->ts_syn_first = p.tsval;
	end->next = 1;
	end->max = most(end->max, 1);
	end->segments++;
	arm(end, now);
	return p;
}

/* The border that a segment from here on keeps to: of a write, or of what was sent before. */
static uint32_t piece_end(const struct tcp_end *end, uint32_t position)
{
	if (end->merges && position < end->max)
		return least(end->max, 1 + end->written);
	for (size_t i = 0; i < end->pieces; i++)
		if (end->piece[i] + 1 > position)
			return end->piece[i] + 1;
	return 1 + end->written;
}

/* How many bytes the next segment has; 0: it must wait. */
static uint32_t segment_size(const struct tcp_end *end)
{
	uint32_t n = least(segment_max(end), piece_end(end, end->next) - end->next), edge = end->una + end->window;

	if (end->next < end->max)
		n = least(n, end->max - end->next);
	for (uint32_t i = 1; i < n; i++)
		if (end->sacked[end->next - 1 + i])
			n = i;
	if (end->next + n <= edge && (end->next - end->una + n <= end->cwnd || end->next == end->una))
		return n;
	return end->probe && end->next == end->una && edge > end->next ? edge - end->next : 0;
}

static struct pkt data_packet(struct tcp_end *end, uint32_t len, bool fin, uint64_t now)
{
	uint32_t position = end->next;
	struct pkt p = packet(end, ACK | (len ? PSH : 0) | (fin ? FIN : 0), position, now);

	p.payload = end->out + position - 1;
	p.len = len;
	if (p.len + 12 * p.tstamp + 4 + 8 * p.sacks > end->peer_mss) /* no room for blocks */
		p.sacks = 0;
	end->next += len + fin;
	end->segments++;
	end->retransmitted += position < end->max;
	end->max = most(end->max, end->next);
	if (!end->rto_at || end->probe)
		arm(end, now);
	end->probe = false;
	return p;
}

bool tcp_end_next(struct tcp_end *end, uint64_t now, struct pkt *ret_pkt)
{
	uint32_t n;
	bool fin;

	if (end->state == TCP_END_LISTEN || end->state == TCP_END_RESET)
		return false;
	if (end->state != TCP_END_OPEN) {
		if (end->next)
			return false;
		*ret_pkt = syn_packet(end, now);
		return true;
	}
	while (end->next <= end->written && end->next && end->sacked[end->next - 1])
		end->next++;
	n = end->next <= end->written ? segment_size(end) : 0;
	fin = end->closed && end->next + n == 1 + end->written;
	if (n || (fin && end->next == 1 + end->written)) {
		*ret_pkt = data_packet(end, n, fin, now);
		return true;
	}
	if (end->probe) { /* of a window that takes nothing: an old position makes the peer answer */
		end->probe = false;
		arm(end, now);
		*ret_pkt = packet(end, ACK, end->una - 1, now);
		return true;
	}
	if (!end->rto_at && end->next < out_end(end) && end->next == end->una)
		arm(end, now);
	if (!end->ack_now)
		return false;
	*ret_pkt = packet(end, ACK, end->max, now);
	return true;
}

struct pkt tcp_end_abort(struct tcp_end *end, uint64_t now)
{
	struct pkt p = packet(end, end->due ? RST | ACK : RST, end->max, now);

	p.sacks = 0;
	end->state = TCP_END_RESET;
	return p;
}

/* ---- timers ------------------------------------------------------------------------------------------------------------------------------ */

void tcp_end_tick(struct tcp_end *end, uint64_t now)
{
	if (end->state == TCP_END_RESET)
		return;
	if (end->ack_at && end->ack_at <= now) {
		end->ack_at = 0;
		end->ack_now = true;
	}
	if (!end->rto_at || end->rto_at > now)
		return;
	end->rto_at = 0;
	if (end->state == TCP_END_OPEN && tcp_end_flushed(end))
		return;
	end->rto = least(end->rto * 2, TCP_END_RTO_MAX);
	end->timeouts++;
	end->cwnd = end->state == TCP_END_OPEN ? segment_max(end) : 0;
	/* Of a segment that the window does not take whole any more, Linux sends again what it takes (tcp_retransmit_skb). */
	end->probe = end->una == end->max || end->window < segment_max(end);
	end->next = end->una;
	arm(end, now);
}

uint64_t tcp_end_timer(const struct tcp_end *end)
{
	uint64_t at = UINT64_MAX;

	if (end->state == TCP_END_RESET)
		return at;
	if (end->ack_at)
		at = end->ack_at;
	if (end->rto_at && end->rto_at < at)
		at = end->rto_at;
	return at;
}

/* ---- receiving ---------------------------------------------------------------------------------------------------------------------------- */

/* What both SYNs have agreed on. */
static void agree(struct tcp_end *end, const struct pkt *p)
{
	end->peer_iss = p->seq;
	end->peer_mss = p->mss ? p->mss : 536;
	end->tstamp = end->tstamp && p->tstamp;
	end->sack = end->sack && p->sack_ok;
	if (!p->wscale)
		end->wscale = 0;
	end->peer_wscale = end->wscale ? p->wscale - 1 : 0;
	end->ts_recent = p->tsval;
	end->due = 1;
	end->top = 1;
	end->wl1 = 0;
	end->window = p->window;
	end->cwnd = 10 * segment_max(end);
}

static const char *receive_syn(struct tcp_end *end, const struct pkt *p)
{
	if (p->flags != SYN)
		return p->flags & RST ? NULL : "a connection that does not begin with a SYN";
	end->state = TCP_END_SYN_RECEIVED;
	agree(end, p);
	return NULL;
}

static const char *receive_syn_ack(struct tcp_end *end, const struct pkt *p)
{
	if (p->flags & RST) {
		if (p->ack == end->iss + 1)
			end->state = TCP_END_RESET;
		return NULL;
	}
	if (p->flags != (SYN | ACK) || p->len)
		return "something else than a SYN-ACK in answer to a SYN";
	if (p->ack != end->iss + 1)
		return "a SYN-ACK of another SYN";
	if (p->tstamp && !end->tstamp)
		return "timestamps that were not offered";
	if ((p->sack_ok && !end->sack) || (p->wscale && !end->wscale))
		return "a SYN-ACK with an option that was not offered";
	agree(end, p);
	end->state = TCP_END_OPEN;
	end->una = 1;
	end->probe = false;
	end->rto_at = 0;
	end->rto = TCP_END_RTO;
	end->timeouts = 0;
	end->ack_now = true;
	return NULL;
}

static const char *receive_sacks(struct tcp_end *end, const struct pkt *p)
{
	if (p->sacks && !end->sack)
		return "SACK blocks that were not agreed on";
	for (size_t i = 0; i < p->sacks; i++) {
		uint32_t left = p->sack[i][0] - end->iss, right = p->sack[i][1] - end->iss;

		if ((int32_t)(left - end->max) > 0 || (int32_t)(right - end->max) > 0)
			return "a SACK block of what was never sent";
		if ((int32_t)(left - end->una) < 0 || (int32_t)(right - left) <= 0)
			continue; /* old; or of nothing, which Linux and FreeBSD ignore, too (a part of an edited head) */
		for (uint32_t at = left; at < right && at <= end->written; at++)
			if (at)
				end->sacked[at - 1] = 1;
	}
	return NULL;
}

static const char *receive_ack(struct tcp_end *end, const struct pkt *p, uint64_t now)
{
	uint32_t ack = p->ack - end->iss, window = (uint32_t)p->window << end->peer_wscale, seq = p->seq - end->peer_iss;

	if ((int32_t)(ack - end->max) > 0)
		return "an ACK of what was never sent";
	if ((int32_t)(ack - end->una) < 0)
		return NULL;
	if (ack == end->una && !p->len && !(p->flags & FIN) && window == end->window && end->una < end->max)
		end->dupacks++;
	if (ack > end->una) {
		end->cwnd += segment_max(end);
		end->una = ack;
		end->next = most(end->next, ack);
		end->dupacks = 0;
		end->rto = TCP_END_RTO;
		end->timeouts = 0;
		end->rto_at = 0;
		if (end->una < end->max)
			arm(end, now);
		end->wl1 = seq;
		end->window = window;
	} else if ((int32_t)(seq - end->wl1) > 0 || (seq == end->wl1 && window > end->window)) {
		end->wl1 = seq;
		end->window = window;
		if (window)
			end->timeouts = 0;
	}
	if (end->dupacks == 3 && end->una >= end->recovered) {
		end->recovered = end->max;
		end->next = end->una;
	}
	return receive_sacks(end, p);
}

static const char *receive_bytes(struct tcp_end *end, const struct pkt *p, uint64_t now)
{
	uint32_t at = p->seq - end->peer_iss, limit = end->read + 1 + end->buffer, before = end->due;
	const uint8_t *bytes = p->payload;

	if (p->len + (p->tstamp ? 12 : 0) > end->mss)
		return "a segment larger than the MSS";
	if ((int32_t)(at + p->len - end->edge) > (int32_t)end->buffer)
		return "data far beyond the window";
	for (size_t i = 0; i < p->len; i++, at++) {
		if ((int32_t)(at - before) < 0 || at >= limit)
			continue; /* what is acknowledged nobody looks at again: that makes probes possible */
		if (at > TCP_END_STREAM || (end->fin && at >= end->fin - 1))
			return "data behind the end of the stream";
		if (end->got[at - 1] && end->in[at - 1] != bytes[i])
			return "another byte where one was before";
		end->in[at - 1] = bytes[i];
		end->got[at - 1] = 1;
		end->top = most(end->top, at + 1);
	}
	if (p->flags & FIN) {
		if ((end->fin && end->fin != at + 1) || end->top > at)
			return "a FIN at another place";
		if (at < limit)
			end->fin = at + 1;
	}
	while (end->due <= TCP_END_STREAM && end->got[end->due - 1])
		end->due++;
	if (end->fin && end->due == end->fin - 1)
		end->due++;
	if (end->due == before || end->top > end->due || end->quick || ++end->fresh >= 2 || p->flags & FIN)
		end->ack_now = true;
	else
		end->ack_at = now + TCP_END_DELAYED_ACK;
	return NULL;
}

/* Timestamps (RFC 7323 section 5). *ret_old: the packet is older than what came before it. */
static const char *receive_tstamp(struct tcp_end *end, const struct pkt *p, bool *ret_old)
{
	uint32_t at = p->seq - end->peer_iss;

	*ret_old = false;
	if (p->tstamp != end->tstamp && !(p->flags & RST))
		return p->tstamp ? "timestamps that were not agreed on" : "no timestamp though they were agreed on";
	if (!p->tstamp)
		return NULL;
	if ((int32_t)(p->tsval - end->ts_recent) < 0) {
		*ret_old = !(p->flags & RST);
		return NULL;
	}
	if ((int32_t)(at - end->last_ack) <= 0)
		end->ts_recent = p->tsval;
	return NULL;
}

/* The ACK that ends the handshake of a pod. true: it does. */
static bool receive_third(struct tcp_end *end, const struct pkt *p)
{
	if (!(p->flags & ACK) || p->ack != end->iss + 1 || p->seq - end->peer_iss < 1)
		return false;
	if (end->tstamp && ((int32_t)(p->tsecr - end->ts_syn_first) < 0 || (int32_t)(p->tsecr - end->ts_syn_last) > 0))
		return false;
	end->state = TCP_END_OPEN;
	end->una = 1;
	end->probe = false;
	end->rto_at = 0;
	end->rto = TCP_END_RTO;
	end->timeouts = 0;
	return true;
}

const char *tcp_end_receive(struct tcp_end *end, const struct pkt *p, uint64_t now)
{
	uint32_t at = p->seq - end->peer_iss;
	const char *breach;
	bool old;

	if (end->state == TCP_END_RESET)
		return NULL;
	if (end->state == TCP_END_LISTEN)
		return receive_syn(end, p);
	if (end->state == TCP_END_SYN_SENT)
		return receive_syn_ack(end, p);
	breach = receive_tstamp(end, p, &old);
	if (breach)
		return breach;
	if (p->flags & SYN) { /* again: ours was lost, or this one is a late copy */
		if (end->state == TCP_END_SYN_RECEIVED && p->flags == SYN && !at)
			end->next = 0;
		else
			end->ack_now = true;
		return NULL;
	}
	/* Linux's tcp_sequence(): some of it, or of its place, lies within the window. */
	if (old || (int32_t)(at + p->len - end->last_ack) < 0 || (int32_t)(at - end->edge) > 0) {
		end->ack_now = !(p->flags & RST) && (end->state == TCP_END_OPEN || end->ack_now);
		return (int32_t)(at - end->edge) > (int32_t)end->buffer ? "a packet far beyond the window" : NULL;
	}
	if (p->flags & RST) {
		if (at == end->due)
			end->state = TCP_END_RESET;
		else
			end->ack_now = true; /* RFC 5961 section 3.2 */
		return NULL;
	}
	if (end->state == TCP_END_SYN_RECEIVED && !receive_third(end, p))
		return NULL;
	if (!(p->flags & ACK))
		return "a packet without an ACK in mid-connection";
	breach = receive_ack(end, p, now);
	if (!breach && (p->len || p->flags & FIN))
		breach = receive_bytes(end, p, now);
	else if (!breach && (int32_t)(at - end->due) < 0)
		end->ack_now = true; /* a keep-alive, or a probe of the window */
	return breach;
}
