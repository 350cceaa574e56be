/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Walking the chunks of a body, request's or answer's, in a packet or in the hold. The walk itself is http_chunk_byte(); what it keeps between packets
 * lies in the flow.
 */
#ifndef SHUNT_CHUNK_BPF_H
#define SHUNT_CHUNK_BPF_H

#include "lib/hold.bpf.h"

#define CHUNK_BYTES 16384 /* of size lines and trailers in one packet */

struct chunk_walk {
	struct http_chunks chunks;
	struct __sk_buff *skb;
	const struct http_buf *buf;
	__u32 at;    /* offset of the first byte in skb or buf */
	__u32 start; /* its sequence number */
	__u32 len;
	__u32 lost;
};

/* Whether a byte is to be read here; *ret_at is its offset. */
static __always_inline bool chunk_due(const struct chunk_walk *walk, __u32 *ret_at)
{
	__u32 ahead = walk->chunks.next - walk->start;

	*ret_at = walk->at + ahead;
	return ahead < walk->len && walk->chunks.state != SHUNT_CHUNK_END;
}

static __always_inline long chunk_take(struct chunk_walk *walk, __u8 byte)
{
	walk->lost = !http_chunk_byte(&walk->chunks, byte);
	return walk->lost;
}

static long chunk_step_packet(__u32 i, struct chunk_walk *walk)
{
	__u32 at;
	__u8 byte;

	if (!chunk_due(walk, &at))
		return 1;
	if (bpf_skb_load_bytes(walk->skb, at, &byte, 1)) {
		walk->lost = 1;
		return 1;
	}
	return chunk_take(walk, byte);
}

static long chunk_step_buf(__u32 i, struct chunk_walk *walk)
{
	__u32 at;

	if (!chunk_due(walk, &at))
		return 1;
	return chunk_take(walk, http_byte(walk->buf, at));
}

/* All that is to be read was, and could be. */
static __always_inline bool chunks_good(const struct chunk_walk *walk)
{
	__u32 at;

	return !walk->lost && !chunk_due(walk, &at);
}

/* On through the packet at hand, whose payload begins with number `start`, not behind chunks->next. false: the body cannot be followed any more. */
static __noinline bool chunks_in_packet(struct __sk_buff *skb, const struct work *w, struct http_chunks *chunks, __u32 start)
{
	struct chunk_walk walk = { .chunks = *chunks, .skb = skb, .at = w->p.payload, .start = start, .len = w->p.len };

	bpf_loop(CHUNK_BYTES, chunk_step_packet, &walk, 0);
	*chunks = walk.chunks;
	return chunks_good(&walk);
}

/* The same through the request bytes that are held. */
static __noinline bool chunks_in_hold(const struct shunt_hold *hold, const struct shunt_flow *flow, struct http_chunks *chunks)
{
	struct chunk_walk walk = { .chunks = *chunks, .buf = (const struct http_buf *)hold->data, .start = flow->hold_seq, .len = flow->hold_len };

	bpf_loop(CHUNK_BYTES, chunk_step_buf, &walk, 0);
	*chunks = walk.chunks;
	return chunks_good(&walk);
}

#endif
