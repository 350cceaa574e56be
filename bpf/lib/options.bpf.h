/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP options, in any order and at any place (RFC 9293 section 3.2, RFC 7323, RFC 2018). What we do not know is left alone. */
#ifndef SHUNT_OPTIONS_BPF_H
#define SHUNT_OPTIONS_BPF_H

#include "lib/forge.bpf.h"

enum tcp_option {
	TCPOPT_EOL = 0,
	TCPOPT_NOP = 1,
	TCPOPT_MSS = 2,
	TCPOPT_WSCALE = 3,
	TCPOPT_SACK_OK = 4,
	TCPOPT_SACK = 5,
	TCPOPT_TSTAMP = 8,
};

#define SACK_BLOCKS_MAX 4

static __always_inline __u32 get_be32(const __u8 *at)
{
	return (__u32)at[0] << 24 | at[1] << 16 | at[2] << 8 | at[3];
}

static long options_step(__u32 n, struct tcp_options **walk)
{
	struct tcp_options *o = *walk;
	__u32 at = o->at;
	__u8 kind, len;

	keep(at);
	if (at >= o->len || at >= TCP_OPTIONS_MAX)
		return 1;
	kind = o->raw[at];
	if (kind == TCPOPT_EOL)
		return 1;
	if (kind == TCPOPT_NOP) {
		o->at = at + 1;
		return 0;
	}
	len = o->raw[at + 1];
	if (len < 2 || at + len > o->len)
		return 1;
	o->at = at + len;
	if (kind == TCPOPT_MSS && len == 4)
		o->mss = o->raw[at + 2] << 8 | o->raw[at + 3];
	else if (kind == TCPOPT_WSCALE && len == 3)
		o->wscale = o->raw[at + 2] > 14 ? 14 : o->raw[at + 2];
	else if (kind == TCPOPT_SACK_OK)
		o->sack = 1;
	else if (kind == TCPOPT_SACK && len <= 2 + 8 * SACK_BLOCKS_MAX) {
		o->blocks = at + 2;
		o->blocks_len = (len - 2) & ~7u;
	} else if (kind == TCPOPT_TSTAMP && len == 10 && at <= TCP_OPTIONS_MAX - 10) {
		o->tstamp = at + 2;
		o->tsval = get_be32(o->raw + at + 2);
		o->tsecr = get_be32(o->raw + at + 6);
	}
	return 0;
}

/* Reads the options of the packet at hand into w->options. */
__noinline int options_parse(struct __sk_buff *skb, struct work *w)
{
	struct tcp_options *o;
	__u32 len;

	if (!w)
		return -1;
	o = &w->options;
	__builtin_memset(o, 0, sizeof(*o));
	o->wscale = NO_WSCALE;
	len = w->p.payload - w->p.l4 - TCP_LEN;
	keep(len);
	if (len == 0 || len > TCP_OPTIONS_MAX)
		return 0;
	if (bpf_skb_load_bytes(skb, w->p.l4 + TCP_LEN, o->raw, len))
		return -1;
	o->len = len;
	bpf_loop(TCP_OPTIONS_MAX, options_step, &o, 0);
	return 0;
}

/* Timestamps of a segment that is no SYN: every Linux, BSD and Windows begins its options with NOP NOP TS; another order takes the long way. */
static __always_inline bool tstamp_load(struct __sk_buff *skb, struct work *w, __u32 *tsval, __u32 *tsecr)
{
	__be32 words[3] = {};

	if (w->p.payload < w->p.l4 + TCP_LEN + 12 || bpf_skb_load_bytes(skb, w->p.l4 + TCP_LEN, words, sizeof(words)))
		return false;
	if (likely(words[0] == bpf_htonl(0x0101080a))) {
		*tsval = bpf_ntohl(words[1]);
		*tsecr = bpf_ntohl(words[2]);
		return true;
	}
	if (options_parse(skb, w) || !w->options.tstamp)
		return false;
	*tsval = w->options.tsval;
	*tsecr = w->options.tsecr;
	return true;
}

/*
 * Options of a SYN or SYN-ACK that we make, into the work area, in the order that Linux uses:
 *     MSS | SACK-permitted or NOP NOP, TS | NOP WS
 */
static __always_inline void options_syn(struct work *w, __u16 mss, bool sack, bool tstamp, __u8 wscale, __u32 tsval, __u32 tsecr)
{
	__u8 *o = w->forge.options;
	__u32 at;

	o[0] = TCPOPT_MSS;
	o[1] = 4;
	o[2] = mss >> 8;
	o[3] = mss & 0xff;
	o[4] = sack ? TCPOPT_SACK_OK : TCPOPT_NOP;
	o[5] = sack ? 2 : TCPOPT_NOP;
	if (tstamp) {
		o[6] = TCPOPT_TSTAMP;
		o[7] = 10;
		put_be32(o + 8, tsval);
		put_be32(o + 12, tsecr);
		at = 16;
	} else {
		o[6] = TCPOPT_NOP;
		o[7] = TCPOPT_NOP;
		at = 8;
	}
	o[at] = TCPOPT_NOP;
	o[at + 1] = wscale == NO_WSCALE ? TCPOPT_NOP : TCPOPT_WSCALE;
	o[at + 2] = wscale == NO_WSCALE ? TCPOPT_NOP : 3;
	o[at + 3] = wscale == NO_WSCALE ? TCPOPT_NOP : wscale;
	w->forge.options_len = at + 4;
}

#endif
