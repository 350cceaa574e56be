/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Header edits of requests: the head is edited in the hold, right before it goes to its pod. What chooses the pod has read the client's own head by then,
 * also when other pods were tried before; and each leg gets what its version's requests get.
 *
 *     hold_seq                                     hold_seq + less
 *     │ GET / HTTP/1.1⏎ Host: a⏎ X: b⏎ ⏎ │ body       │ GET / HTTP/1.1⏎ X: b⏎ Host: flowers⏎ ⏎ │ body
 *                       ╰ cut ─╯                                        ╰ text ───────╯
 *
 * The lines of a header that is set or removed are cut out, also those that go on it (obs-fold); then the lines of those that are set and added go before
 * the blank line. A Host counts for nothing beside a target in absolute form (RFC 9112 section 3.2.2). So where Host is set, such a target becomes what a
 * server gets from its clients, the origin form: "GET http://example.com/a" becomes "GET /a".
 *
 * Bodies that were held behind the head move with it. What then has no room goes, from the end: it was not acknowledged, the client sends it again.
 */
#ifndef SHUNT_REQUEST_EDIT_BPF_H
#define SHUNT_REQUEST_EDIT_BPF_H

#include "lib/edit.bpf.h"

/* The request that is decided: how shall its head be edited? */
static __always_inline void request_edit_due(const struct work *w, struct shunt_flow *flow)
{
	flow->flags &= ~SHUNT_F_RECAST;
	flow->request_edit = w->choice.request_edit;
	if (flow->request_edit)
		flow->flags |= SHUNT_F_RECAST;
}

/* It goes as it is. */
static __always_inline int request_edit_pass(void)
{
	reason_count(SHUNT_R_REQUEST_EDIT_PASSED);
	return 0;
}

/* buf[at, to) shall go. */
static __always_inline void cut_note(struct work *w, __u32 at, __u32 to)
{
	__u32 n = w->cuts.count++;

	keep(n);
	if (n >= CUTS_MAX)
		return;
	w->cuts.cut[n].at = at;
	w->cuts.cut[n].len = to - at;
	w->cuts.bytes += to - at;
}

/* Notes the lines of headers that are set or removed, in buf[from, to). */
__noinline int cut_names(struct work *w, const struct http_buf *buf, __u32 index, __u32 from, __u32 to)
{
	struct shunt_edit *edit = edit_at(index);

	if (!w || !buf || !edit)
		return 0;
	for (__u32 i = 0; i < SHUNT_EDIT_NAMES; i++) {
		if (i >= edit->sets + edit->removes)
			break;
		__builtin_memcpy(w->name.s, edit->names[i].name, sizeof(w->name.s));
		w->line.line = from;
		for (__u32 n = 0; n <= CUTS_MAX; n++) {
			if (!http_find_line(buf, w->line.line, to, &w->name, &w->line))
				break;
			w->line.line = http_skip_folds(buf, w->line.line, to, &w->line);
			cut_note(w, w->line.start_off, w->line.line);
		}
	}
	return 0;
}

/* A target in absolute form, of w->request in the hold, loses scheme and authority; where there is no path it gets the least one. */
static __always_inline void cut_authority(struct work *w, struct shunt_hold *hold)
{
	struct http_buf *buf = (struct http_buf *)hold->data;
	__u32 at = w->request.target_off, path = w->request.path_off, end = at + w->request.target_len;

	if (path == at)
		return;
	if (path == end || http_byte(buf, path) != '/') {
		path--;
		keep(path);
		if (path >= SHUNT_HOLD_SIZE)
			return;
		/* OPTIONS of a server as a whole (RFC 9112 section 3.2.4) */
		hold->data[path] = path + 1 == end && w->request.method_len == 7 && http_byte(buf, at - 8) == 'O' ? '*' : '/';
	}
	cut_note(w, at, path);
}

/* Cuts out what was noted. */
__noinline int cuts_make(struct work *w, struct shunt_flow *flow, struct shunt_hold *hold)
{
	if (!w || !flow || !hold)
		return 0;
	for (__u32 i = 0; i < CUTS_MAX; i++) {
		__u32 at = w->cuts.cut[i].at, len = w->cuts.cut[i].len;

		if (i >= w->cuts.count)
			break;
		hold_move(flow, hold, at + len, at);
		for (__u32 other = i + 1; other < CUTS_MAX; other++)
			if (w->cuts.cut[other].at > at)
				w->cuts.cut[other].at -= len;
	}
	return 0;
}

/* The edit's lines go to data[at..). */
__noinline int lines_put(struct shunt_flow *flow, struct shunt_hold *hold, __u32 index, __u32 at)
{
	struct shunt_edit *edit = edit_at(index);

	if (!flow || !hold || !edit)
		return 0;
	if (flow->hold_len > SHUNT_HOLD_SIZE - edit->len)
		flow->hold_len = SHUNT_HOLD_SIZE - edit->len;
	hold_move(flow, hold, at, at + edit->len);
	for (__u32 i = 0; i < SHUNT_EDIT_MAX; i++) {
		__u32 to = at + i;

		keep(to);
		if (i >= edit->len || to >= SHUNT_HOLD_SIZE)
			break;
		hold->data[to] = edit->text[i];
	}
	return 0;
}

/* The head of w->request, whose lines are data[at..blank), is edited. Returns how many bytes less it has. */
static __always_inline __s32 head_edit(struct work *w, struct shunt_flow *flow, struct shunt_hold *hold, const struct shunt_edit *edit, __u32 blank)
{
	cuts_make(w, flow, hold);
	lines_put(flow, hold, flow->request_edit - 1, blank - w->cuts.bytes);
	return w->cuts.bytes - edit->len;
}

/* Edits the head that is the next to go to flow->current, whose numbers are known: it begins at leg->acked (C). */
__noinline int request_edit(struct work *w, struct shunt_flow *flow)
{
	struct shunt_edit *edit;
	struct shunt_hold *hold;
	struct shunt_leg *leg;
	__u32 at, blank;
	__s32 less;

	if (!w || !flow)
		return 0;
	flow->flags &= ~SHUNT_F_RECAST;
	leg = &flow->leg[flow->current & (SHUNT_LEGS - 1)];
	edit = edit_at(flow->request_edit - 1);
	hold = hold_of(w, flow);
	at = leg->acked - flow->hold_seq;
	if (!edit || !hold || at > SHUNT_HOLD_SIZE || flow->hold_len > SHUNT_HOLD_SIZE)
		return request_edit_pass();
	__builtin_memset(&w->name, 0, sizeof(w->name));
	if (http_scan_request((struct http_buf *)hold->data, at, flow->hold_len - at, &w->name, &w->request) != HTTP_COMPLETE)
		return request_edit_pass();
	blank = at + w->request.head_len - 1;
	if (http_byte((struct http_buf *)hold->data, blank - 1) == '\r')
		blank--;
	w->cuts.count = 0;
	w->cuts.bytes = 0;
	cut_names(w, (struct http_buf *)hold->data, flow->request_edit - 1, at, blank);
	if (w->cuts.count >= CUTS_MAX || at + w->request.head_len - w->cuts.bytes + edit->len > SHUNT_HOLD_SIZE)
		return request_edit_pass();
	if (edit->host)
		cut_authority(w, hold);
	if (!w->cuts.count && !edit->len)
		return 0;
	less = head_edit(w, flow, hold, edit, blank);
	flow->recast.at = leg->acked;
	flow->recast.len = w->request.head_len;
	flow->recast.less = less;
	flow->hold_seq += less;
	leg->acked += less;
	leg->cdelta += less;
	reason_count(SHUNT_R_REQUEST_EDITED);
	return 0;
}

/*
 * A packet of the client with a byte of the head, which the pod gets from us; or from before it, when an answer came before all of the request before was
 * there. What of that is in one packet with the head goes by itself.
 */
__noinline int recast_again(struct __sk_buff *skb, struct work *w, struct shunt_flow *flow)
{
	struct shunt_leg *leg;
	__u32 len;

	if (!w || !flow)
		return DROP;
	leg = LEG(flow, flow->current);
	if (!seq_before(w->p.seq, flow->recast.at))
		return emit(skb, w, flow);
	if (w->p.len > HTTP_HEAD_MAX || !payload_load(skb, w))
		return DROP;
	emit_begin(w, flow, leg);
	len = flow->recast.at - w->p.seq;
	if (len > w->emit.mss)
		len = w->emit.mss;
	w->forge.seq = w->p.seq + flow->recast.less - leg->cdelta;
	w->forge.len = len;
	w->forge.sum = bytes_sum(&w->buf, 0, len);
	return forge_loaded(skb, w, len) ? DROP : send_to_pod(skb, w, false);
}

#endif
