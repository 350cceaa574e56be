// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Header edits: what headers.request and headers.response of a destination and of its entry do to heads, as the kernel wants it: names of headers that are
 * set and that are removed; and the lines of those that are set, then those that are added, in one piece of text. A header that both set is as the
 * destination says; one that is set and removed is set.
 */
#include "plan/internal.h"

#include <errno.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"
#include "util/text.h"

/* Which heads an edit is of. */
struct side {
	const char *path;    /* in the manifest */
	const char *message; /* what is read */
	bool request;
};

static const struct side request_side = { "headers.request", "request", true }, response_side = { "headers.response", "response", false };

/* Headers that say how a message and its connection are read (RFC 9112 sections 6 and 9, RFC 9110 sections 7.6.1 and 10.1.1): whoever changes them breaks it. */
static const char *const untouchable[] = {
	"connection", "content-length", "expect", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

static bool is_untouchable(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(untouchable); i++)
		if (strcasecmp(untouchable[i], name) == 0)
			return true;
	return false;
}

static const char *const how_text[] = { [LINE_SET] = "set", [LINE_ADD] = "add", [LINE_REMOVE] = "remove" };

__attribute__((format(printf, 6, 7)))
static bool leave_out(struct planner *planner, enum note_level level, const struct place *place, const struct side *side, const struct header_line *line,
		      const char *format, ...)
{
	_cleanup_free_ char *why = NULL;
	va_list args;

	va_start(args, format);
	why = text_vprintf(format, args);
	va_end(args);
	note(planner, level, place, "%s.%s.%s is left out: %s", side->path, how_text[line->how], line->name, why ? why : "no memory");
	return false;
}

/* false: the line is left out; a note says why. */
static bool is_possible(struct planner *planner, const struct place *place, const struct side *side, const struct shunt_edit *edit,
			const struct header_line *line)
{
	size_t len = line->how == LINE_REMOVE ? 0 : strlen(line->name) + strlen(line->value) + strlen(": \r\n");

	if (is_untouchable(line->name))
		return leave_out(planner, NOTE_ERROR, place, side, line, "that header says how the %s is read", side->message);
	if (side->request && line->how != LINE_SET && strcasecmp(line->name, "host") == 0)
		return leave_out(planner, NOTE_ERROR, place, side, line, "a request has one Host (RFC 9112 section 3.2); set it");
	if (line->value && strchr(line->value, '%'))
		return leave_out(planner, NOTE_WARNING, place, side, line, "variables of Envoy (%%...%%) are not available");
	if (line->how != LINE_ADD && strlen(line->name) > SHUNT_NAME_MAX)
		return leave_out(planner, NOTE_ERROR, place, side, line, "the name has %zu bytes, allowed are %d", strlen(line->name), SHUNT_NAME_MAX);
	if (line->how == LINE_SET && strlen(line->value) > SHUNT_ID_MAX)
		return leave_out(planner, NOTE_ERROR, place, side, line, "the value has %zu bytes, allowed are %d", strlen(line->value), SHUNT_ID_MAX);
	if (line->how != LINE_ADD && edit->sets + edit->removes == SHUNT_EDIT_NAMES)
		return leave_out(planner, NOTE_ERROR, place, side, line, "%ss of a version have %d headers set or removed at most", side->message,
				 SHUNT_EDIT_NAMES);
	if (edit->len + len > SHUNT_EDIT_MAX)
		return leave_out(planner, NOTE_ERROR, place, side, line, "all lines together have %zu bytes, allowed are %d", edit->len + len, SHUNT_EDIT_MAX);
	return true;
}

static bool is_named(const struct shunt_edit *edit, const char *name)
{
	for (int i = 0; i < edit->sets + edit->removes; i++)
		if (strncasecmp(edit->names[i].name, name, SHUNT_NAME_MAX) == 0)
			return true;
	return false;
}

static void put_name(struct shunt_edit *edit, const struct header_line *line)
{
	struct shunt_edit_name *to = &edit->names[edit->sets + edit->removes];

	for (size_t i = 0; line->name[i]; i++)
		to->name[i] = tolower((unsigned char)line->name[i]);
	if (line->how == LINE_REMOVE) {
		edit->removes++;
		return;
	}
	memcpy(to->value, line->value, strlen(line->value));
	edit->sets++;
	edit->host |= strcmp(to->name, "host") == 0;
}

static void put_line(struct shunt_edit *edit, const struct header_line *line)
{
	char text[SHUNT_EDIT_MAX + 1];
	int len;

	if (line->how == LINE_ADD)
		edit->adds++;
	else
		put_name(edit, line);
	if (line->how == LINE_REMOVE)
		return;
	len = snprintf(text, sizeof(text), "%s: %s\r\n", line->name, line->value);
	memcpy(edit->text + edit->len, text, len);
	edit->len += len;
}

static void put_lines(struct planner *planner, const struct place *place, const struct side *side, struct shunt_edit *edit, const struct header_edit *from,
		      enum line_how how)
{
	for (size_t i = 0; i < from->count; i++) {
		const struct header_line *line = &from->lines[i];
		bool named = how != LINE_ADD && is_named(edit, line->name);

		if (line->how != how)
			continue;
		if (named && how == LINE_SET)
			note(planner, NOTE_WARNING, place, "%s.set.%s is set twice; what this destination says first holds", side->path, line->name);
		if (!named && is_possible(planner, place, side, edit, line))
			put_line(edit, line);
	}
}

/* Equal lines are one edit. */
static uint16_t find_edit(const struct tables *t, const struct shunt_edit *edit)
{
	for (size_t i = 0; i < t->edit_count; i++)
		if (memcmp(&t->edits[i], edit, sizeof(*edit)) == 0)
			return i + 1;
	return 0;
}

static uint16_t edit_get(struct planner *planner, const struct place *place, const struct side *side, const struct header_edit *of_entry,
			 const struct header_edit *of_destination)
{
	/* The names of those that are set come before those that are removed, and their lines before those that are added. */
	static const enum line_how order[] = { LINE_SET, LINE_REMOVE, LINE_ADD };
	struct tables *t = planner->tables;
	struct shunt_edit edit = {}, *added;
	const char *full;
	uint16_t found;

	for (size_t i = 0; i < ARRAY_SIZE(order); i++) {
		put_lines(planner, place, side, &edit, of_destination, order[i]);
		put_lines(planner, place, side, &edit, of_entry, order[i]);
	}
	if (!edit.len && !edit.removes)
		return 0;
	found = find_edit(t, &edit);
	if (found)
		return found;
	added = TABLE_APPEND(planner, t->edits, t->edit_count, SHUNT_EDITS, "header edits", &full);
	if (!added) {
		note(planner, NOTE_ERROR, place, "%s is left out: there are %d different header edits already", side->path, SHUNT_EDITS);
		return 0;
	}
	*added = edit;
	return t->edit_count;
}

void edits_get(struct planner *planner, const struct place *place, const struct http_route *entry, const struct http_destination *destination,
	       struct shunt_version *ret_version)
{
	ret_version->edit = edit_get(planner, place, &response_side, &entry->headers.response, &destination->headers.response);
	ret_version->request_edit = edit_get(planner, place, &request_side, &entry->headers.request, &destination->headers.request);
}
