/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The entries of a route: which of them takes a request.
 *
 *     w->route ─▶ entry ─▶ condition, condition, ... all hold ─▶ taken
 *                   │          └─ one does not ─▶ the next entry
 *                   └─ at the place of the rule that names the user, or behind the last: none is
 *
 * Method, path and host are known from the scan for the user id. The value of another header or parameter is scanned for when a condition first asks for
 * it, and is kept in the slot that the plan gave its name: SHUNT_NAMES_PER_ROUTE bounds how often a head is scanned. entries_try() returns for that
 * scan instead of calling it, since stack is scarce, and goes on where it was.
 */
#ifndef SHUNT_MATCH_BPF_H
#define SHUNT_MATCH_BPF_H

#include "lib/base.bpf.h"

_Static_assert((SHUNT_NAMES_PER_ROUTE & (SHUNT_NAMES_PER_ROUTE - 1)) == 0, "slots are masked");
_Static_assert(SHUNT_NAMES_PER_ROUTE <= 32, "slots are bits");

#define BYTES8(x) (0x0101010101010101ull * (x))

/* ASCII capitals of eight bytes at once to small letters. */
static __always_inline __u64 lower8(__u64 word)
{
	__u64 low = word & BYTES8(0x7f);
	__u64 from_a = low + BYTES8(0x80 - 'A'), past_z = low + BYTES8(0x80 - 'Z' - 1);

	return word | ((from_a & ~past_z & ~word & BYTES8(0x80)) >> 2);
}

/* Does what lies at `at` begin with a text of `len` bytes, zero padded to `max`, whole words? any_case: the text is in lower case. */
static __always_inline bool text_begins(const struct http_buf *buf, __u32 at, const char *text, __u32 len, __u32 max, __u32 any_case)
{
	for (__u32 i = 0; i < max / 8; i++) {
		__u64 have, want = *(const __u64 *)(text + i * 8);

		if (i * 8 >= len)
			break;
		have = http_word(buf, at, i * 8);
		if (any_case)
			have = lower8(have);
		if (len - i * 8 < 8)
			have &= (1ull << ((len - i * 8) * 8)) - 1;
		if (have != want)
			return false;
	}
	return true;
}

static __always_inline bool value_begins(const struct http_buf *buf, __u32 at, const struct shunt_condition *condition)
{
	return text_begins(buf, at, condition->value, condition->len, SHUNT_VALUE_MAX, condition->flags & SHUNT_C_ANY_CASE);
}

static __always_inline bool text_holds(const struct http_buf *buf, __u32 at, __u32 len, const struct shunt_condition *condition)
{
	if (condition->how == SHUNT_IS_THERE)
		return true;
	if (condition->how == SHUNT_IS_EQUAL ? len != condition->len : len < condition->len)
		return false;
	return value_begins(buf, at, condition);
}

/* Of the path the end is not known: a query or a fragment may follow. No condition's value holds their '?' or '#', so bytes that match are of the path. */
static __always_inline bool path_holds(const struct http_buf *buf, __u32 at, __u32 end, const struct shunt_condition *condition)
{
	__u32 next = at + condition->len;
	__u8 first = http_byte(buf, at), after;

	if (at >= end || first == '?' || first == '#') /* "http://host" is "http://host/" */
		return condition->len == 1 && condition->value[0] == '/';
	if (next > end || !value_begins(buf, at, condition))
		return false;
	if (condition->how == SHUNT_BEGINS_WITH || next == end)
		return true;
	after = http_byte(buf, next);
	return after == '?' || after == '#' || (after == '/' && condition->how == SHUNT_BEGINS_PATH);
}

/* Does the condition hold for the request that was scanned in `buf`? Its value is known. */
static __always_inline bool condition_holds(const struct work *w, const struct http_buf *buf, const struct shunt_condition *condition, __u32 slot)
{
	const struct http_request *r = &w->request;

	switch (condition->subject) {
	case SHUNT_ON_METHOD:
		return text_holds(buf, r->target_off - 1 - r->method_len, r->method_len, condition);
	case SHUNT_ON_PATH:
		return path_holds(buf, r->path_off, r->target_off + r->target_len, condition);
	case SHUNT_ON_HOST:
		return text_holds(buf, r->host_off, r->host_len, condition);
	default:
		return w->match.value[slot].off && text_holds(buf, w->match.value[slot].off, w->match.value[slot].len, condition);
	}
}

static __always_inline struct shunt_condition *condition_at(__u32 side, __u32 index)
{
	__u32 key = side * SHUNT_CONDITIONS + index;

	return bpf_map_lookup_elem(&shunt_cond, &key);
}

struct entry_walk {
	struct work *w;
	const struct http_buf *buf;
};

static __always_inline struct shunt_entry *entry_at(__u32 side, __u32 index)
{
	__u32 key = side * SHUNT_ENTRIES + index;

	return bpf_map_lookup_elem(&shunt_entry, &key);
}

static __always_inline void entry_takes(struct work *w, const struct shunt_entry *entry)
{
	w->choice.by = SHUNT_BY_ENTRY;
	w->choice.split = entry->split;
	w->choice.item = entry->item;
	w->choice.match = entry->match;
}

/* The scan that the condition needs goes to w->name. */
static __always_inline void value_wanted(struct work *w, const struct shunt_condition *condition, __u32 slot)
{
	w->match.wanted = slot;
	__builtin_memcpy(w->name.s, condition->name, sizeof(w->name.s));
	w->name.kind = condition->subject == SHUNT_ON_HEADER ? SHUNT_ID_HEADER : SHUNT_ID_QUERY;
}

static long entry_step(__u32 i, struct entry_walk *walk)
{
	struct work *w = walk->w;
	struct shunt_condition *condition;
	struct shunt_entry *entry;
	__u32 slot;

	if (w->match.entry >= w->match.end)
		return 1;
	entry = entry_at(w->side, w->match.entry);
	if (!entry || entry->order > w->match.order)
		return 1;
	if (w->match.condition >= entry->conditions) {
		entry_takes(w, entry);
		return 1;
	}
	condition = condition_at(w->side, entry->condition + w->match.condition);
	if (!condition)
		return 1;
	slot = condition->slot;
	keep(slot);
	slot &= SHUNT_NAMES_PER_ROUTE - 1;
	if (condition->subject >= SHUNT_ON_HEADER && !(w->match.known & 1u << slot)) {
		value_wanted(w, condition, slot);
		return 1;
	}
	if (condition_holds(w, walk->buf, condition, slot) != (condition->flags & SHUNT_C_NOT)) {
		w->match.condition++;
	} else {
		w->match.entry++;
		w->match.condition = 0;
	}
	return 0;
}

/* Tries the entries from w->match on. 1: it needs the value of w->name; 0: it is over, and an entry that takes the request has changed w->choice. */
__noinline int entries_try(struct work *w, const struct http_buf *buf)
{
	struct entry_walk walk = { .w = w, .buf = buf };

	if (!w || !buf)
		return 0;
	w->match.wanted = 0;
	bpf_loop(SHUNT_ENTRIES_PER_ROUTE * (SHUNT_CONDITIONS_PER_ENTRY + 1), entry_step, &walk, 0);
	return w->match.wanted != 0;
}

static __always_inline void value_found(struct work *w, __u32 slot)
{
	keep(slot);
	slot &= SHUNT_NAMES_PER_ROUTE - 1;
	w->match.value[slot].off = w->request.id_off;
	w->match.value[slot].len = w->request.id_len;
	w->match.known |= 1u << slot;
}

/* The first entry before the place `order` that takes the request scanned in buf[at, at + len) decides, in place of what w->choice says. */
static __always_inline void entry_find(struct work *w, const struct http_buf *buf, __u32 at, __u32 len, __u32 order)
{
	w->match.entry = w->route.entry;
	w->match.end = w->route.entry + w->route.entries;
	w->match.condition = 0;
	w->match.order = order;
	w->match.known = 0;
	value_found(w, SHUNT_SLOT_ID);
	for (__u32 i = 0; i < SHUNT_NAMES_PER_ROUTE && entries_try(w, buf); i++) {
		http_scan_request(buf, at, len, &w->name, &w->request);
		value_found(w, w->match.wanted);
	}
}

#endif
