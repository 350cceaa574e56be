/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Header edits: the head of a final answer gets lines before its blank line, in the packet path.
 *
 * answer_edit() decides, when the head is known up to its blank line; what went by before keeps its numbers, what follows has greater ones
 * (insert.bpf.h). edit_packet() then does it to the packet at hand and, while the client has not acknowledged the lines, to every packet of the pod
 * that brings a part of that head again, however it is cut:
 *
 *     small, for the first time     │ head │ lines │ blank line, body │                     the packet grows
 *     full, merged (GSO), or again  │ first len bytes of head+lines │ and │ the rest, body │  of the same size as before, and one ahead of it
 *
 * The second way: a packet that comes again must not grow, it may come again because it was too large for the path. The one ahead is a copy that enters
 * shunt_to_client, by the client's egress, while this run still works; it is known by its mark, and made what w->forge and w->buf say.
 *
 * A header that is set must not be there twice. When the pod says the same, its answer stays as it is; when it says something else, its line stays and
 * gets another name: the first byte becomes '~', in place. So does that of a header that is removed, and its value becomes blank. What cannot be edited
 * passes as it is, and is counted.
 */
#ifndef SHUNT_EDIT_BPF_H
#define SHUNT_EDIT_BPF_H

#include "lib/choose.bpf.h"
#include "lib/translate.bpf.h"

#define GROW_HEAD_MAX 4096  /* of a head in a packet that grows */
#define GROW_REST_MAX 9216  /* and of what is behind it: jumbo frames */
#define RENAMED '~'
_Static_assert(GROW_HEAD_MAX + GROW_REST_MAX <= HTTP_HEAD_MAX, "both lie in w->buf");

static __always_inline struct shunt_edit *edit_at(__u32 index)
{
	return bpf_map_lookup_elem(&shunt_edit, &index);
}

/* ---- deciding --------------------------------------------------------------------------------------------------------------------------- */

/* The answer to the request at hand: which lines shall it get? */
static __always_inline void edit_due(const struct work *w, struct shunt_flow *flow)
{
	flow->flags &= ~SHUNT_F_EDIT;
	flow->edit = w->choice.edit;
	if (flow->edit)
		flow->flags |= SHUNT_F_EDIT;
}

/* It passes without. */
static __always_inline __u32 edit_pass(struct shunt_flow *flow, enum shunt_reason reason)
{
	if (flow->flags & SHUNT_F_EDIT)
		reason_count(reason);
	flow->flags &= ~SHUNT_F_EDIT;
	return 0;
}

/* Is the value that w->line found what edit->names[which] says? */
__noinline int edit_is_same(struct work *w, const struct http_buf *buf, __u32 index, __u32 which)
{
	struct shunt_edit *edit = edit_at(index);
	__u64 differ = 0;

	if (!w || !buf || !edit || which >= SHUNT_EDIT_NAMES || w->line.id_len > SHUNT_ID_MAX)
		return 0;
	token_copy(&w->id, buf, w->line.id_off, w->line.id_len, 0);
	for (__u32 i = 0; i < SHUNT_ID_MAX / 8; i++)
		differ |= w->id.w[i] ^ *(const __u64 *)(edit->names[which].value + i * 8);
	return !differ;
}

/* A line of the pod, found by w->line, is another for the client; `end`: behind its value that becomes blank, 0: that stays. Its head's lines end at `to`. */
static __always_inline void found_note(struct work *w, __u32 to, __u32 end)
{
	struct shunt_rename *line = &w->found.line[w->found.count & (SHUNT_RENAMES - 1)];

	if (w->found.count++ >= SHUNT_RENAMES)
		return;
	line->name = to - w->line.start_off;
	line->value = to - w->line.id_off;
	line->len = end ? end - w->line.id_off : 0;
}

/*
 * Looks for the pod's own lines of the headers that are set, in buf[from, to): the lines of a head. Places of their names go to w->found. Returns
 * how many of the headers are there once, with the same value. What it counts lies in the work area, since stack is scarce.
 */
__noinline int edit_names(struct work *w, const struct http_buf *buf, __u32 index, __u32 from, __u32 to)
{
	struct shunt_edit *edit = edit_at(index);

	if (!w || !buf || !edit)
		return 0;
	w->found.count = 0;
	w->found.same = 0;
	w->found.removed = 0;
	for (__u32 i = 0; i < SHUNT_EDIT_NAMES; i++) {
		if (i >= edit->sets)
			break;
		__builtin_memcpy(w->name.s, edit->names[i].name, sizeof(w->name.s));
		w->line.line = from;
		w->found.of_name = 0;
		for (__u32 n = 0; n <= SHUNT_RENAMES; n++) {
			if (!http_find_line(buf, w->line.line, to, &w->name, &w->line))
				break;
			found_note(w, to, 0);
			w->found.of_name++;
			w->found.is_same = edit_is_same(w, buf, index, i);
		}
		w->found.same += w->found.of_name == 1 && w->found.is_same;
	}
	return w->found.same;
}
_Static_assert((SHUNT_RENAMES & (SHUNT_RENAMES - 1)) == 0, "indices are masked");

/* The same for lines of headers that are removed, behind edit_names(). */
__noinline int edit_removed(struct work *w, const struct http_buf *buf, __u32 index, __u32 from, __u32 to)
{
	struct shunt_edit *edit = edit_at(index);

	if (!w || !buf || !edit)
		return 0;
	for (__u32 i = 0; i < SHUNT_EDIT_NAMES; i++) {
		if (i < edit->sets || i >= edit->sets + edit->removes)
			continue;
		__builtin_memcpy(w->name.s, edit->names[i].name, sizeof(w->name.s));
		w->line.line = from;
		for (__u32 n = 0; n <= SHUNT_RENAMES; n++) {
			if (!http_find_line(buf, w->line.line, to, &w->name, &w->line))
				break;
			w->line.line = http_skip_folds(buf, w->line.line, to, &w->line);
			found_note(w, to, w->line.line);
			w->found.removed++;
		}
	}
	return 0;
}

/*
 * The head of a final answer is known up to its blank line: its lines are buf[from, to), and the blank line is w->insert.seq (S), in the packet at
 * hand. Decides, and returns how many bytes go in before it.
 */
__noinline int answer_edit(struct work *w, struct shunt_flow *flow, const struct http_buf *buf, __u32 from, __u32 to)
{
	struct shunt_edit *edit;
	struct shunt_leg *leg;
	__u32 index, ahead, same;

	if (!w || !flow || !buf)
		return 0;
	index = flow->edit - 1;
	edit = edit_at(index);
	leg = LEG(flow, flow->current);
	ahead = w->insert.seq - (w->p.seq + leg->sdelta); /* bytes of the packet before the blank line */
	if (!edit || insert_is_on(flow) || w->p.flags & TCP_URG || ahead >= w->p.len || ahead > HTTP_HEAD_MAX - SHUNT_EDIT_MAX)
		return edit_pass(flow, SHUNT_R_EDIT_PASSED);
	same = edit_names(w, buf, index, from, to);
	if (unlikely(edit->removes))
		edit_removed(w, buf, index, from, to);
	if (same == edit->sets && !edit->adds && !w->found.removed)
		return edit_pass(flow, SHUNT_R_EDIT_SAME);
	if (w->found.count > SHUNT_RENAMES)
		return edit_pass(flow, SHUNT_R_EDIT_PASSED);
	for (__u32 i = 0; i < SHUNT_RENAMES; i++) {
		flow->insert.rename[i].name = 0;
		if (i >= w->found.count)
			continue;
		if (seq_before(w->insert.seq - w->found.line[i].name, flow->snext)) /* has gone by */
			return edit_pass(flow, SHUNT_R_EDIT_PASSED);
		flow->insert.rename[i] = w->found.line[i];
		reason_count(SHUNT_R_EDIT_RENAMED);
	}
	if (seq_after(flow->snext, w->insert.seq)) /* it went by before, corrupt */
		flow->snext += edit->len;
	flow->flags &= ~SHUNT_F_EDIT;
	flow->insert.at = w->insert.seq;
	flow->insert.len = edit->len;
	flow->insert.edit = index + 1;
	leg->sdelta += edit->len;
	w->insert.at = ahead;
	w->insert.len = edit->len;
	w->insert.fresh = 1;
	reason_count(SHUNT_R_EDITED);
	return edit->len;
}

/*
 * A packet with payload while lines are not acknowledged: are they to go into it (again)? Its bytes then get a checksum of ours, so they must be right:
 * DROP when they are not. Else *ret_start is S of the first byte, as if the lines came before it when they are in it.
 */
static __always_inline int insert_again(struct __sk_buff *skb, struct work *w, const struct shunt_flow *flow, __u32 *ret_start)
{
	const struct shunt_insert *in = &flow->insert;
	__u32 first = *ret_start - in->len;

	if (seq_after(first, in->at))
		return PASS;
	if (in->at - first >= w->p.len) { /* all of it is before the lines */
		*ret_start = first;
		return PASS;
	}
	w->insert.at = in->at - first;
	w->insert.len = in->len;
	return payload_load(skb, w) ? PASS : DROP;
}

/* ---- doing ------------------------------------------------------------------------------------------------------------------------------ */

/* A sum's bytes as they count when they begin at an odd place (RFC 1071 section 2). */
static __always_inline __wsum csum_at(__wsum sum, __u32 at)
{
	return at & 1 ? sum << 8 | sum >> 24 : sum;
}

struct blank_walk {
	struct __sk_buff *skb;
	__u32 payload, check; /* offsets in the packet */
	__u32 at, len;        /* of the payload */
	int err;
};

/* Eight bytes of a value become blanks, but for line ends: what is folded stays so. */
static long blank_step(__u32 i, struct blank_walk *walk)
{
	__u64 from = 0, to, ends;
	__u32 off = i * 8, at = walk->at + off, len = walk->len - off;

	if (off >= walk->len)
		return 1;
	if (len > 8)
		len = 8;
	keep(len);
	if (len == 0 || len > 8 || bpf_skb_load_bytes(walk->skb, walk->payload + at, &from, len)) {
		walk->err = -1;
		return 1;
	}
	ends = ((http_equal(from, '\r') | http_equal(from, '\n')) >> 7) * 0xff;
	to = (from & ends) | (HTTP_EACH(' ') & ~ends & HTTP_BYTES(len));
	walk->err = bpf_skb_store_bytes(walk->skb, walk->payload + at, &to, len, 0) ||
		    bpf_l4_csum_replace(walk->skb, walk->check, 0, csum_at(bpf_csum_diff((__be32 *)&from, 8, (__be32 *)&to, 8, 0), at), 0);
	return walk->err;
}

/* Makes blank what of payload[at, at + len) is in the packet; `at` may lie before it. */
static __noinline int blank_value(struct __sk_buff *skb, const struct work *w, __u32 at, __u32 len)
{
	struct blank_walk walk = { .skb = skb, .payload = w->p.payload, .check = w->p.l4 + TCP_CHECK_OFFSET, .at = at, .len = len };

	if ((__s32)at < 0) {
		walk.at = 0;
		walk.len = at + len;
	}
	if ((__s32)walk.len <= 0 || walk.at >= w->p.len)
		return 0;
	if (walk.len > w->p.len - walk.at)
		walk.len = w->p.len - walk.at;
	bpf_loop(HTTP_HEAD_MAX / 8, blank_step, &walk, 0);
	return walk.err;
}

/* Another first byte for a name, which is `at` bytes into the payload. */
static __always_inline int rename_line(struct __sk_buff *skb, const struct work *w, __u32 at)
{
	__u32 shift = at & 1 ? 8 : 0; /* within its 16 bits of the sum, little-endian */
	__u8 from, to = RENAMED;

	return bpf_skb_load_bytes(skb, w->p.payload + at, &from, 1) || bpf_skb_store_bytes(skb, w->p.payload + at, &to, 1, 0) ||
	       bpf_l4_csum_replace(skb, w->p.l4 + TCP_CHECK_OFFSET, from << shift, to << shift, sizeof(__be16));
}

/* What of the pod's lines is in this packet, whose first byte is `start` (S), gets other names and blank values. */
static __always_inline int rename_lines(struct __sk_buff *skb, const struct work *w, const struct shunt_flow *flow, __u32 start)
{
	for (__u32 i = 0; i < SHUNT_RENAMES; i++) {
		const struct shunt_rename *line = &flow->insert.rename[i];
		__u32 at = flow->insert.at - start;

		if (!line->name)
			continue;
		if (at - line->name < w->p.len && rename_line(skb, w, at - line->name))
			return -1;
		if (line->len && blank_value(skb, w, at - line->value, line->len))
			return -1;
	}
	return 0;
}

/* May the packet grow by the lines? Not beyond what the client or its interface takes. */
static __always_inline bool insert_fits(struct __sk_buff *skb, const struct work *w, const struct shunt_flow *flow)
{
	__u32 mtu = 0, len = w->p.len + w->insert.len, options = w->p.payload - w->p.l4 - TCP_LEN;

	return w->insert.fresh && !skb->gso_size && len + options <= flow->mss && w->insert.at <= GROW_HEAD_MAX &&
	       w->p.len - w->insert.at <= GROW_REST_MAX && !bpf_check_mtu(skb, w->ifindex, &mtu, w->insert.len, 0);
}

/* The packet's new length in its headers, and what it changes in the sums. */
static __always_inline int lengthen(struct __sk_buff *skb, const struct work *w, __u32 by)
{
	__u32 tcp = w->p.payload - w->p.l4 + w->p.len;
	__be16 from, to;

	if (w->p.family == SHUNT_V6) {
		to = bpf_htons(tcp + by);
		if (bpf_skb_store_bytes(skb, ETH_HLEN + IPV6_PAYLOAD_LEN_OFFSET, &to, sizeof(to), 0))
			return -1;
	} else {
		from = bpf_htons(IPV4_LEN + tcp);
		to = bpf_htons(IPV4_LEN + tcp + by);
		if (bpf_l3_csum_replace(skb, ETH_HLEN + IPV4_CHECK_OFFSET, from, to, sizeof(to)) ||
		    bpf_skb_store_bytes(skb, ETH_HLEN + IPV4_TOT_LEN_OFFSET, &to, sizeof(to), 0))
			return -1;
	}
	return csum_replace_pseudo(skb, w->p.l4 + TCP_CHECK_OFFSET, csum_change(bpf_htons(tcp), bpf_htons(tcp + by)), w->p.family);
}

/* The lines go into the packet, whose payload is in w->buf. */
__noinline int insert_grow(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_edit *edit;
	__u32 at, len, rest, end;
	__wsum text, tail, change;

	if (!w || !flow)
		return -1;
	edit = edit_at(flow->insert.edit - 1);
	at = w->insert.at;
	len = w->insert.len;
	rest = w->p.len - at;
	end = w->p.payload + at;
	keep(at);
	keep(len);
	keep(rest);
	if (!edit || at > GROW_HEAD_MAX || rest == 0 || rest > GROW_REST_MAX || len == 0 || len > SHUNT_EDIT_MAX)
		return -1;
	text = bpf_csum_diff(NULL, 0, (__be32 *)edit->text, SHUNT_EDIT_MAX, 0); /* zeros behind the text add nothing */
	tail = bytes_sum(&w->buf, at, rest);
	change = csum_plus(csum_at(text, at), csum_plus(csum_at(tail, at + len), ~csum_at(tail, at)));
	if (bpf_skb_change_tail(skb, end + rest + len, 0) || bpf_skb_store_bytes(skb, end + len, w->buf.b + at, rest, 0) ||
	    bpf_skb_store_bytes(skb, end, edit->text, len, 0) || lengthen(skb, w, len))
		return -1;
	return bpf_l4_csum_replace(skb, w->p.l4 + TCP_CHECK_OFFSET, 0, change, 0);
}

/* The head's bytes in the packet, then the lines, into w->buf. */
static __always_inline int part_load(struct __sk_buff *skb, struct work *w, const struct shunt_edit *edit, __u32 at)
{
	keep(at);
	if (at > HTTP_HEAD_MAX - SHUNT_EDIT_MAX)
		return -1;
	if (at && bpf_skb_load_bytes(skb, w->p.payload, w->buf.b, at))
		return -1;
	for (__u32 i = 0; i < SHUNT_EDIT_MAX; i += 8)
		*(__u64 *)(w->buf.b + at + i) = *(const __u64 *)(edit->text + i);
	return 0;
}

/* The packet that goes ahead of the one at hand, `start` (S): for part_copy(). */
static __always_inline void part_forge(struct __sk_buff *skb, struct work *w, const struct shunt_flow *flow, const struct shunt_leg *leg, __u32 start)
{
	__u32 tsval, tsecr;

	forge_to_client(w, TCP_ACK);
	w->forge.seq = start;
	w->forge.ack = w->p.ack + leg->cdelta;
	w->forge.window = window_for_client(w, flow, leg);
	if (flow->flags & SHUNT_F_TSTAMP && tstamp_load(skb, w, &tsval, &tsecr))
		forge_tstamp(w, tsval, tsecr);
	w->forge.len = w->insert.len;
	w->forge.sum = bytes_sum(&w->buf, 0, w->insert.len);
}

/* Of head and lines, what the packet has no room for goes ahead; the rest takes the head's place. */
__noinline int insert_part(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_edit *edit;
	__u32 at, len, start, mark;
	__be32 from, to;
	__wsum change;

	if (!w || !flow)
		return -1;
	edit = edit_at(flow->insert.edit - 1);
	at = w->insert.at;
	len = w->insert.len;
	start = flow->insert.at - at;
	if (!edit || part_load(skb, w, edit, at))
		return -1;
	part_forge(skb, w, flow, LEG(flow, flow->current), start);
	change = csum_plus(bytes_sum(&w->buf, len, at), ~bytes_sum(&w->buf, 0, at));
	keep(len);
	keep(at);
	if (len == 0 || len > SHUNT_EDIT_MAX || at > HTTP_HEAD_MAX - SHUNT_EDIT_MAX)
		return -1;
	if (at && bpf_skb_store_bytes(skb, w->p.payload, w->buf.b + len, at, 0))
		return -1;
	from = bpf_htonl(start);
	to = bpf_htonl(start + len);
	if (bpf_skb_store_bytes(skb, w->p.l4 + TCP_SEQ_OFFSET, &to, sizeof(to), 0) ||
	    bpf_l4_csum_replace(skb, w->p.l4 + TCP_CHECK_OFFSET, 0, csum_plus(change, csum_change(from, to)), 0))
		return -1;
	reason_count(SHUNT_R_EDIT_PARTED);
	aim(skb, w, AIM_CLIENT);
	mark = skb->mark;
	skb->mark = SHUNT_MARK_COPY;
	w->parting = 1;
	if (bpf_clone_redirect(skb, w->ifindex, 0))
		reason_count(SHUNT_R_INTERNAL);
	w->parting = 0;
	skb->mark = mark;
	return 0;
}

/* The copy that insert_part() sent has come to this program. */
static __always_inline int part_copy(struct __sk_buff *skb, struct work *w)
{
	w->parting = 0;
	skb->mark = 0;
	return forge_loaded(skb, w, w->forge.len) ? DROP : PASS;
}

/* A translated packet of a flow whose lines are not acknowledged. DROP: it could not be edited, and must not pass as it is; the pod sends it again. */
__noinline int edit_packet(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	int err;

	if (!w || !flow)
		return DROP;
	err = rename_lines(skb, w, flow, seq_for_client(flow, LEG(flow, flow->current), w->p.seq));
	if (!err && w->insert.len)
		err = insert_fits(skb, w, flow) ? insert_grow(skb, w, flow) : insert_part(skb, w, flow);
	if (!err)
		return PASS;
	reason_count(SHUNT_R_INTERNAL);
	return DROP;
}

#endif
