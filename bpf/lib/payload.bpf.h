/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A packet's payload in the work area, with its checksum believed or not. */
#ifndef SHUNT_PAYLOAD_BPF_H
#define SHUNT_PAYLOAD_BPF_H

#include "lib/count.bpf.h"
#include "lib/csum.bpf.h"
#include "lib/packet.bpf.h"

#define CSUM_CHUNK 512 /* bpf_csum_diff() takes no more before Linux 6.13 */
_Static_assert(SHUNT_HOLD_SLACK >= CSUM_CHUNK, "a chunk may begin at the last byte");

struct sum_walk {
	const struct http_buf *buf;
	__u32 at, left;
	__wsum sum;
};

static long sum_step(__u32 i, struct sum_walk *walk)
{
	__u32 len = walk->left > CSUM_CHUNK ? CSUM_CHUNK : walk->left, at = walk->at;

	keep(len);
	keep(at);
	if (len == 0 || len > CSUM_CHUNK || at > HTTP_HEAD_MAX)
		return 1;
	walk->sum = bpf_csum_diff(NULL, 0, (__be32 *)(walk->buf->b + at), len & ~3u, walk->sum);
	walk->at = at + len;
	walk->left -= len;
	return 0;
}

/* One's-complement sum of buf[at, at + len). */
static __noinline __wsum bytes_sum(const struct http_buf *buf, __u32 at, __u32 len)
{
	struct sum_walk walk = { .buf = buf, .at = at, .left = len & ~3u };
	__u32 tail = len & 3;

	bpf_loop(HTTP_HEAD_MAX / CSUM_CHUNK, sum_step, &walk, 0);
	at += len & ~3u;
	keep(at);
	if (tail && at <= HTTP_HEAD_MAX)
		walk.sum = csum_plus(walk.sum, *(const __u32 *)(buf->b + at) & bpf_htonl(~0u << (32 - 8 * tail)));
	return walk.sum;
}

/*
 * Loads the payload into w->buf and checks the packet's checksum. What we read, hold and send again would otherwise get a good checksum from us, and
 * what we follow would be led astray. Three ways to be right: the sum is; the field has the pseudo header's sum (CHECKSUM_PARTIAL: it never left this
 * machine, or was merged from checked packets); the packet is larger than w->buf, which only a merged one can be (then nothing is loaded).
 */
__noinline int payload_load(struct __sk_buff *skb, struct work *w)
{
	__u32 header, len;
	__wsum pseudo, sum;

	if (!w)
		return 0;
	header = w->p.payload - w->p.l4;
	len = w->p.len;
	if (len > HTTP_HEAD_MAX)
		return 1;
	keep(header);
	keep(len);
	if (header < TCP_LEN || header > TCP_LEN + TCP_OPTIONS_MAX || bpf_skb_load_bytes(skb, w->p.l4, &w->cookie.tcp, header))
		return 0;
	if (len && (len > HTTP_HEAD_MAX || bpf_skb_load_bytes(skb, w->p.payload, w->buf.b, len)))
		return 0;
	pseudo = csum_pseudo(&w->p.saddr, &w->p.daddr, header + w->p.len, w->p.family);
	if (w->cookie.tcp.check == csum_fold16(pseudo))
		return 1;
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&w->cookie.tcp, header & ~3u, pseudo);
	if (csum_fold16(csum_plus(sum, bytes_sum(&w->buf, 0, w->p.len))) == 0xffff)
		return 1;
	reason_count(SHUNT_R_CHECKSUM_BAD);
	return 0;
}

#endif
