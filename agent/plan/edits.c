// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Header edits: what headers.response of a destination and of its entry put into heads, as the kernel wants it: the lines of the headers that are set,
 * then those that are added, in one piece of text. A header that both set is as the destination says.
 */
#include "plan/internal.h"

#include <errno.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"

/* Headers that say how a message and its connection are read (RFC 9112 sections 6 and 9, RFC 9110 section 7.6.1): whoever changes them breaks it. */
static const char *const untouchable[] = {
	"connection", "content-length", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
};

static bool is_untouchable(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(untouchable); i++)
		if (strcasecmp(untouchable[i], name) == 0)
			return true;
	return false;
}

/* false: the line is left out; a note says why. */
static bool is_possible(struct planner *planner, const struct place *place, const struct shunt_edit *edit, const struct header_line *line)
{
	const char *how = line->add ? "add" : "set";
	size_t len = strlen(line->name) + strlen(line->value) + strlen(": \r\n");

	if (is_untouchable(line->name))
		note(planner, NOTE_ERROR, place, "headers.response.%s.%s is left out: that header says how the response is read", how, line->name);
	else if (strchr(line->value, '%'))
		note(planner, NOTE_WARNING, place, "headers.response.%s.%s is left out: variables of Envoy (%%...%%) are not available", how, line->name);
	else if (!line->add && strlen(line->name) > SHUNT_NAME_MAX)
		note(planner, NOTE_ERROR, place, "headers.response.set.%s is left out: the name has %zu bytes, allowed are %d", line->name,
		     strlen(line->name), SHUNT_NAME_MAX);
	else if (!line->add && strlen(line->value) > SHUNT_ID_MAX)
		note(planner, NOTE_ERROR, place, "headers.response.set.%s is left out: the value has %zu bytes, allowed are %d", line->name,
		     strlen(line->value), SHUNT_ID_MAX);
	else if (!line->add && edit->sets == SHUNT_EDIT_SETS)
		note(planner, NOTE_ERROR, place, "headers.response.set.%s is left out: responses of a version have %d headers set at most", line->name,
		     SHUNT_EDIT_SETS);
	else if (edit->len + len > SHUNT_EDIT_MAX)
		note(planner, NOTE_ERROR, place, "headers.response.%s.%s is left out: all lines together have %zu bytes, allowed are %d", how, line->name,
		     edit->len + len, SHUNT_EDIT_MAX);
	else
		return true;
	return false;
}

static bool is_set(const struct shunt_edit *edit, const char *name)
{
	for (size_t i = 0; i < edit->sets; i++)
		if (strncasecmp(edit->set[i].name, name, SHUNT_NAME_MAX) == 0)
			return true;
	return false;
}

static void put_line(struct shunt_edit *edit, const struct header_line *line)
{
	char text[SHUNT_EDIT_MAX + 1];
	int len = snprintf(text, sizeof(text), "%s: %s\r\n", line->name, line->value);
	struct shunt_edit_set *set;

	memcpy(edit->text + edit->len, text, len);
	edit->len += len;
	if (line->add) {
		edit->adds++;
		return;
	}
	set = &edit->set[edit->sets++];
	for (size_t i = 0; line->name[i]; i++)
		set->name[i] = tolower((unsigned char)line->name[i]);
	memcpy(set->value, line->value, strlen(line->value));
}

static void put_lines(struct planner *planner, const struct place *place, struct shunt_edit *edit, const struct header_line *lines, size_t count,
		      bool add)
{
	for (size_t i = 0; i < count; i++) {
		if (lines[i].add != add)
			continue;
		if (!add && is_set(edit, lines[i].name))
			note(planner, NOTE_WARNING, place, "headers.response.set.%s is set twice; what this destination says first holds", lines[i].name);
		else if (is_possible(planner, place, edit, &lines[i]))
			put_line(edit, &lines[i]);
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

uint16_t edit_get(struct planner *planner, const struct place *place, const struct http_route *entry, const struct http_destination *destination)
{
	struct tables *t = planner->tables;
	struct shunt_edit edit = {}, *added;
	const char *full;
	uint16_t found;

	for (int add = 0; add < 2; add++) {
		put_lines(planner, place, &edit, destination->lines, destination->line_count, add);
		put_lines(planner, place, &edit, entry->lines, entry->line_count, add);
	}
	if (!edit.len)
		return 0;
	found = find_edit(t, &edit);
	if (found)
		return found;
	added = TABLE_APPEND(planner, t->edits, t->edit_count, SHUNT_EDITS, "header edits", &full);
	if (!added) {
		note(planner, NOTE_ERROR, place, "headers.response is left out: there are %d different ones already", SHUNT_EDITS);
		return 0;
	}
	*added = edit;
	return t->edit_count;
}
