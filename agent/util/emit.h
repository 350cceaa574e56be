/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Output of the commands: a command fills one JSON document; --json prints it as it is, otherwise a table of sections says how a person reads the
 * same document. There is no second printer that could disagree.
 *
 *     { "pids": [ {"name": "x", "rate": 1.25}, ... ], "agent": {"pid": 7} }
 *
 *     section {key "agent", title "Agent"}           section {key "pids", title "Pids", columns name, rate}
 *       Agent                                           Pids
 *         pid  7                                          Name   Rate
 *                                                         x      1.25
 *
 * Field names are an interface: scripts read them. Units are part of the name (latency_p95_ms). A value that is not known is null: "-" in a table, no line in
 * an object.
 */
#ifndef SHUNT_EMIT_H
#define SHUNT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <jansson.h>

/* How a person sees a value. Arrays are joined with ", ", booleans are yes and no. */
enum emit_format {
	EMIT_TEXT,    /* as it is, to the left; numbers to the right */
	EMIT_FIXED1,  /* a number with one decimal */
	EMIT_FIXED2,
	EMIT_PERCENT, /* a fraction of 1, as percent with two decimals */
};

/* A column of a table, or a line of an object. */
struct emit_column {
	const char *key;
	const char *title;
	enum emit_format format;
};

/* One member of the document, or (key NULL) the document itself: an array of objects is a table, an object is a list of lines, anything else is a single line. */
struct emit_section {
	const char *key;   /* several sections may show the same member */
	const char *title; /* NULL: no heading, and nothing is indented */
	const struct emit_column *columns;
	size_t column_count;
	const char *empty; /* said when the member is an empty array; NULL: the section is left out then, as it is when the member is absent or null */
};

/* Prints the document. As text: the sections in order, with an empty line between them. Returns 0, or -EIO when writing fails. */
int emit(FILE *out, const json_t *document, const struct emit_section *sections, size_t section_count, bool json);

#endif
