/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Following the answer, to know when it is complete: only then may the next request go to another version, and only then is its time taken.
 *
 *     IDLE ──request──▶ HEAD ──Content-Length──▶ BODY ──answer_end goes by──▶ IDLE
 *                        ▲ │──chunked──▶ CHUNKED (chunk.bpf.h) ──last chunk──▶ BODY
 *                        └─┘ 1xx
 *                          └─▶ CLOSE (until the connection ends; pinned)
 *
 * Only the head, the lines around chunks and the trailer are read; answer_next says where the next such byte is, and packets that are all body pass
 * without a look, in any order. A packet from beyond a byte that must be read is dropped until what is missing has come: what went by unread could not
 * be caught up with, and the next request on the connection would go wrong.
 */
#ifndef SHUNT_ANSWER_BPF_H
#define SHUNT_ANSWER_BPF_H

#include "lib/chunk.bpf.h"
#include "lib/edit.bpf.h"

#define ANSWER_INTERIM 3 /* 1xx heads in one packet */

/* The flow stays on its leg from here on. */
static __always_inline void flow_pin(struct shunt_flow *flow, enum shunt_reason reason)
{
	if (flow->flags & SHUNT_F_PINNED)
		return;
	flow->flags |= SHUNT_F_PINNED;
	reason_count(reason);
}

/* It ends with the connection, by its own word. */
static __always_inline void answer_until_close(struct shunt_flow *flow)
{
	flow->answer = SHUNT_ANSWER_CLOSE;
	flow_pin(flow, SHUNT_R_ANSWER_UNFRAMED);
}

/* We cannot know where it ends: it counts, its time does not. */
static __always_inline void answer_lost(struct shunt_flow *flow)
{
	answer_until_close(flow);
	answer_untimed(flow);
	edit_pass(flow, SHUNT_R_EDIT_PASSED);
}

/* The blank line at `at` of buf: CR LF, a lone LF, or a CR whose LF has not come. The lines before it begin at `from`, which is `start` (S). */
static __always_inline __u32 edit_before(struct work *w, struct shunt_flow *flow, const struct http_buf *buf, __u32 from, __u32 at, __u32 start)
{
	if (likely(!(flow->flags & SHUNT_F_EDIT)))
		return 0;
	w->insert.seq = start + (at - from);
	return answer_edit(w, flow, buf, from, at);
}

/* The head in w->response begins at `start` (S), and at `from` in buf. */
static __always_inline void answer_head(struct work *w, struct shunt_flow *flow, const struct http_buf *buf, __u32 from, __u32 start)
{
	struct http_response *r = &w->response;
	__u32 blank = from + r->head_len;

	if (r->status >= 200) {
		blank -= http_byte(buf, blank - 2) == '\r' ? 2 : 1;
		start += edit_before(w, flow, buf, from, blank, start);
	}
	flow->status = r->status;
	flow->answer_next = start + r->head_len;
	if (r->status == 101) { /* another protocol from here on */
		flow_pin(flow, SHUNT_R_UPGRADED);
		answer_lost(flow);
		return;
	}
	if (r->status == 100)
		flow->flags &= ~SHUNT_F_EXPECT;
	if (r->status < 200)
		return;
	/* Client and server may hold different opinions on whether the body still comes (RFC 9110 section 10.1.1). */
	if (flow->flags & SHUNT_F_EXPECT)
		flow_pin(flow, SHUNT_R_EXPECT_REFUSED);
	flow->answer = SHUNT_ANSWER_BODY;
	flow->answer_end = flow->answer_next;
	if (flow->flags & SHUNT_F_HEAD || r->status == 204 || r->status == 304 || r->framing == HTTP_NO_BODY)
		return;
	if (r->framing == HTTP_LENGTH && r->length < 0x7fffffff) {
		flow->answer_end += r->length;
	} else if (r->framing == HTTP_CHUNKED) {
		flow->answer = SHUNT_ANSWER_CHUNKED;
		flow->answer_walk = SHUNT_CHUNK_SIZE;
		flow->answer_chunk = 0;
	} else if (!(r->scan.facts & (HTTP_F_UNFRAMED | HTTP_F_CODING | HTTP_F_LENGTH))) { /* it says nothing: until the end */
		answer_until_close(flow);
	} else {
		answer_lost(flow);
	}
}

/* Reads the sizes of chunks in this packet, whose payload begins at `start` (S). */
static __noinline int answer_chunks(struct __sk_buff *skb, const struct work *w, struct shunt_flow *flow, __u32 start)
{
	struct http_chunks chunks = { .state = flow->answer_walk, .next = flow->answer_next, .size = flow->answer_chunk };
	bool good = chunks_in_packet(skb, w, &chunks, start);

	flow->answer_walk = chunks.state;
	flow->answer_next = chunks.next;
	flow->answer_chunk = chunks.size;
	if (!good) {
		answer_lost(flow);
	} else if (chunks.state == SHUNT_CHUNK_END) {
		flow->answer = SHUNT_ANSWER_BODY;
		flow->answer_end = chunks.next;
	}
	return 0;
}

/* Up to `max` bytes of payload from `skip` on into w->buf; how many. */
static __always_inline __u32 answer_load(struct __sk_buff *skb, struct work *w, __u32 skip, __u32 max)
{
	__u32 len = w->p.len - skip;

	if (len > max)
		len = max;
	keep(len);
	if (len == 0 || len > HTTP_HEAD_MAX || bpf_skb_load_bytes(skb, w->p.payload + skip, w->buf.b, len))
		return 0;
	return len;
}

struct piece_copy {
	struct shunt_hold *hold;
	const struct http_buf *buf;
	__u32 skip, at, len;
};

static long piece_step(__u32 i, struct piece_copy *copy)
{
	__u32 from = copy->skip + i * 8, to = copy->at + i * 8;

	keep(from);
	keep(to);
	if (i * 8 >= copy->len || from > HTTP_HEAD_MAX || to > SHUNT_ANSWER_HEAD_SIZE)
		return 1;
	*(__u64 *)(copy->hold->answer + to) = *(const __u64 *)(copy->buf->b + from);
	return 0;
}

/* A head in pieces: they are put together in the hold. The payload is in w->buf. */
__noinline int answer_piece(struct work *w, struct shunt_flow *flow, __u32 skip)
{
	struct piece_copy copy = { .skip = skip };
	const struct http_buf *buf;
	__u32 line;
	int verdict;

	if (!w || !flow)
		return 0;
	copy.buf = &w->buf;
	copy.at = flow->hold_answer;
	copy.len = w->p.len - skip;
	copy.hold = hold_take(w, flow, flow->request_end);
	if (!copy.hold || w->p.len > HTTP_HEAD_MAX || copy.len > SHUNT_ANSWER_HEAD_SIZE - copy.at) {
		answer_lost(flow);
		return 0;
	}
	bpf_loop(SHUNT_ANSWER_HEAD_SIZE / 8, piece_step, &copy, 0);
	flow->hold_answer = copy.at + copy.len;
	verdict = http_scan_response((struct http_buf *)copy.hold->answer, 0, flow->hold_answer, &w->response);
	buf = (const struct http_buf *)copy.hold->answer;
	if (verdict == HTTP_PARTIAL) {
		line = w->response.scan.line;
		/* The CR of the blank line must not go by before the lines do. Whatever follows it, here a line may begin. */
		if (line + 1 == flow->hold_answer && w->response.scan.status >= 200 && http_byte(buf, line) == '\r')
			flow->answer_next += edit_before(w, flow, buf, 0, line, flow->answer_next - copy.at);
		flow->answer_next += copy.len;
		return 0;
	}
	if (verdict == HTTP_COMPLETE)
		answer_head(w, flow, buf, 0, flow->answer_next - copy.at);
	else
		answer_lost(flow);
	flow->hold_answer = 0;
	if (flow->hold_len == 0)
		hold_free(w, flow);
	return 0;
}

/* Reads one head, or a piece of it, `skip` bytes into the payload, which begins at `start` (S). */
__noinline int answer_read(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 start)
{
	__u32 skip, len, from = 0;
	int verdict;

	if (!w || !flow)
		return 0;
	skip = flow->answer_next - start;
	if (flow->hold_answer)
		return answer_piece(w, flow, skip);
	if (w->p.len <= HTTP_HEAD_MAX) {
		from = skip;
		verdict = http_scan_response(&w->buf, from, w->p.len - skip, &w->response);
	} else { /* a merged packet, of which only the head's part is loaded */
		len = answer_load(skb, w, skip, HTTP_HEAD_MAX);
		verdict = http_scan_response(&w->buf, 0, len, &w->response);
		if (verdict == HTTP_PARTIAL && len < w->p.len - skip)
			verdict = HTTP_BAD;
	}
	if (verdict == HTTP_PARTIAL)
		return answer_piece(w, flow, skip);
	if (verdict == HTTP_COMPLETE)
		answer_head(w, flow, &w->buf, from, start + skip);
	else
		answer_lost(flow);
	return 0;
}

/* Something of the answer is still to be read, at answer_next. */
static __always_inline bool answer_reads(const struct shunt_flow *flow)
{
	return flow->answer == SHUNT_ANSWER_HEAD || flow->answer == SHUNT_ANSWER_CHUNKED;
}

/* All that the pod has sent is acknowledged, and of what we had to read some went by unread. */
static __always_inline bool answer_out_of_step(const struct work *w, const struct shunt_flow *flow)
{
	return answer_reads(flow) && w->p.ack == flow->snext && seq_before(flow->answer_next, flow->snext);
}

/* Packets overtake each other, also on their way to us; the last byte by number is then not the last to come. */
static __always_inline void answer_gaps(struct shunt_flow *flow, __u32 start, __u32 end)
{
	__u32 filled;

	if (seq_after(start, flow->snext)) {
		flow->missing += start - flow->snext;
	} else if (unlikely(flow->missing)) {
		filled = (seq_before(end, flow->snext) ? end : flow->snext) - start;
		flow->missing -= filled < flow->missing ? filled : flow->missing;
	}
}

/* A FIN without payload behind a head that is to be edited: its number is not known yet. */
static __always_inline bool answer_fin_ahead(const struct work *w, const struct shunt_flow *flow, __u32 start)
{
	return w->p.flags & TCP_FIN && flow->flags & SHUNT_F_EDIT && flow->answer == SHUNT_ANSWER_HEAD && seq_after(start, flow->answer_next);
}

/*
 * A packet with payload from the current leg; `start`: S of its first byte, or as if lines in it (w->insert) came before it. Called before the packet
 * moves snext. DROP: it must not pass, see above.
 */
static __always_inline int answer_follow(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow, __u32 start, __u64 now)
{
	__u32 end = start + w->p.len, inserted = w->insert.len;

	if (flow->flags & SHUNT_F_WAITING)
		answer_first_byte(flow, now);
	if (answer_reads(flow) && seq_after(end, flow->answer_next)) {
		if (seq_after(start, flow->answer_next)) {
			reason_count(SHUNT_R_ANSWER_AHEAD);
			return DROP;
		}
		if (!payload_load(skb, w)) /* the client will not take it either */
			return PASS;
		for (int i = 0; i < ANSWER_INTERIM && flow->answer == SHUNT_ANSWER_HEAD && seq_after(end, flow->answer_next); i++)
			answer_read(skb, w, flow, start);
		start += w->insert.len - inserted;
		end = start + w->p.len;
		if (unlikely(flow->answer == SHUNT_ANSWER_CHUNKED) && seq_after(end, flow->answer_next))
			answer_chunks(skb, w, flow, start);
	}
	answer_gaps(flow, start - w->insert.len, end);
	if (flow->answer != SHUNT_ANSWER_BODY)
		return PASS;
	if (seq_after(flow->snext, end))
		end = flow->snext;
	if (seq_before(end, flow->answer_end) || flow->missing)
		return PASS;
	answer_complete(flow, now);
	flow->answer = SHUNT_ANSWER_IDLE;
	if (w->p.flags & TCP_FIN || flow->flags & SHUNT_F_POD_FIN) /* snext may count it */
		end = flow->answer_end;
	if (end != flow->answer_end) /* more than it promised: we do not read this pod */
		answer_lost(flow);
	return PASS;
}

#endif
