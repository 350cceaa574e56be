/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One end of a TCP connection, small but real: what a client's or a pod's kernel does with packets, for tests that put many of them through the
 * programs. It has no clock and no network of its own: the caller says what time it is, brings packets, and takes those that are due.
 *
 *     tcp_end_write ─▶ out[] ─▶ tcp_end_next ─▶ packets          packets ─▶ tcp_end_receive ─▶ in[] ─▶ the caller reads from `read` on
 *
 * Positions are offsets in a direction's stream: 0 is the SYN, 1 the first byte, behind the last byte lies the FIN; seq = iss + position.
 *
 * It retransmits by timer and after three duplicate ACKs, never what was selectively acknowledged; delays ACKs; sends SACK blocks; waits for a window
 * that takes a whole segment, and probes a closed one as Linux does; refuses old timestamps (PAWS) and, before its handshake is complete, any echo but
 * of its SYN-ACKs (Linux 6.15). It is strict where Linux is forgiving: what no right peer would send is a breach, and ends the test.
 */
#ifndef SHUNT_TEST_TCP_END_H
#define SHUNT_TEST_TCP_END_H

#include "pkt.h"

#define TCP_END_STREAM 131072 /* bytes in one direction */
#define TCP_END_PIECES 256
#define TCP_END_RTO 200 /* ms, doubled each time up to TCP_END_RTO_MAX */
#define TCP_END_RTO_MAX 1600
#define TCP_END_DELAYED_ACK 40

enum tcp_end_state {
	TCP_END_LISTEN = 0,
	TCP_END_SYN_SENT,
	TCP_END_SYN_RECEIVED,
	TCP_END_OPEN,
	TCP_END_RESET, /* by a reset that came, or that went */
};

struct tcp_end {
	/* What it is; set by the caller */
	struct shunt_addr addr, peer;
	uint16_t port, peer_port;
	uint32_t iss;
	uint32_t clock;   /* its timestamp at time 0 */
	uint32_t buffer;  /* for received bytes that are not read yet */
	uint16_t mss;
	uint8_t wscale;   /* shift + 1 that it offers or agrees to; 0: none */
	bool tstamp, sack; /* likewise */
	bool quick;       /* acknowledges at once */
	bool merges;      /* retransmits across the borders of writes */

	/* Where it stands */
	enum tcp_end_state state;
	uint32_t peer_iss;
	uint16_t peer_mss;
	uint8_t peer_wscale; /* shift */

	/* Sending */
	uint8_t *out;
	uint8_t *sacked;  /* flag a byte */
	uint32_t written; /* bytes of out[] */
	uint32_t piece[TCP_END_PIECES]; /* where writes end */
	size_t pieces;
	bool closed;      /* a FIN follows the last byte */
	bool probe;       /* the window's timer ran out */
	uint32_t una, next, max; /* acknowledged, to be sent next, ever sent */
	uint32_t window;  /* of the peer */
	uint32_t wl1;     /* peer's position that it is from */
	uint32_t cwnd;
	uint32_t dupacks;
	uint32_t recovered; /* fast retransmission again behind this */

	/* Receiving */
	uint8_t *in;
	uint8_t *got;     /* flag a byte */
	uint32_t due;     /* next position, as the ACK says */
	uint32_t top;     /* highest byte received, as a position behind it */
	uint32_t read;    /* bytes that the caller has taken from in[] */
	uint32_t edge;    /* right edge of the widest window promised */
	uint32_t fin;     /* position behind the peer's FIN; 0: not yet */
	uint32_t fresh;   /* segments not acknowledged yet */
	uint32_t ts_recent, ts_syn_first, ts_syn_last, last_ack;
	bool ack_now;

	/* Timers, ms; 0: off */
	uint64_t rto_at, ack_at;
	uint32_t rto;
	uint32_t timeouts; /* without progress */
	uint64_t segments, retransmitted;
};

/* Allocates the streams (both of TCP_END_STREAM bytes); tcp_end_release() frees them. */
void tcp_end_init(struct tcp_end *end);
void tcp_end_release(struct tcp_end *end);

/* The client's first step. */
void tcp_end_connect(struct tcp_end *end, uint64_t now);

/* One write of the application. What does not fit TCP_END_STREAM aborts: the test is wrong. */
void tcp_end_write(struct tcp_end *end, const void *bytes, size_t len);

/* No more writes: a FIN follows. */
void tcp_end_close(struct tcp_end *end);

/* A packet for this end. NULL, or the breach that it is. */
const char *tcp_end_receive(struct tcp_end *end, const struct pkt *p, uint64_t now);

/* A packet that is due now, to be sent; false: none. Its payload points into the end. */
bool tcp_end_next(struct tcp_end *end, uint64_t now, struct pkt *ret_pkt);

/* A reset of this end's own, with which it is closed. */
struct pkt tcp_end_abort(struct tcp_end *end, uint64_t now);

/* Runs the timers that are over; tcp_end_timer() says when the next one is, UINT64_MAX: none. */
void tcp_end_tick(struct tcp_end *end, uint64_t now);
uint64_t tcp_end_timer(const struct tcp_end *end);

/* The application took `len` bytes of what can be read (tcp_end_readable). */
uint32_t tcp_end_readable(const struct tcp_end *end);
void tcp_end_take(struct tcp_end *end, uint32_t len);

/* All that was written (and the FIN) is acknowledged; the peer's FIN came. */
bool tcp_end_flushed(const struct tcp_end *end);
bool tcp_end_peer_closed(const struct tcp_end *end);

/* Both directions are closed and acknowledged, or it was reset. */
bool tcp_end_over(const struct tcp_end *end);

#endif
