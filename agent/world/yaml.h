/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * YAML text into the JSON trees that every decoder of shunt reads, with the line of each value beside it.
 *
 *     text ──split at "---" and "..."──▶ a document ──libyaml──▶ root (jansson) + positions (same shape, lines instead of values)
 *
 * The text is split before it is parsed: a parser cannot go on after a syntax error, and one bad document must not stop the others. YAML allows
 * these markers at the start of a line nowhere else, so the split is exact.
 *
 * Scalars follow the YAML 1.2 core schema: quoted text is a string, plain null/true/false/integers/floats are typed, all else is a string (also
 * yes, no, on, off, which YAML 1.1 took for booleans). What JSON cannot hold or what the two YAML versions read differently is an error and never a
 * guess: .nan, .inf, integers beyond 64 bits, leading zeros. So are aliases, tags other than !!str, duplicate keys and keys that are no scalars.
 */
#ifndef SHUNT_YAML_H
#define SHUNT_YAML_H

#include <stddef.h>

#include <jansson.h>

#define YAML_SIZE_MAX (4u << 20) /* bytes of one text; the API server takes 1.5 MiB an object */
#define YAML_DEPTH_MAX 64        /* nested lists and mappings */
#define YAML_NODES_MAX 250000    /* values of one document */

struct yaml_document {
	json_t *root;      /* NULL when the document is bad */
	json_t *positions; /* yaml_line() and friends */
	int line;          /* of the first value, from 1; of the error when there is one */
	char *error;       /* NULL, or what is wrong, without file and line */
};

/*
 * All documents of a text, in order; empty ones are left out. Bad ones are in the list with their error. Returns 0 or -ENOMEM.
 * Free with yaml_documents_free().
 */
int yaml_parse(const char *text, size_t size, struct yaml_document **ret_documents, size_t *ret_count);

void yaml_documents_free(struct yaml_document *documents, size_t count);

/* Positions run parallel to values. All of these take NULL (nothing is known) and then give 0 or NULL. */
int yaml_line(const json_t *position); /* from 1; of the key for a member of a mapping */
const json_t *yaml_member(const json_t *position, const char *key);
const json_t *yaml_item(const json_t *position, size_t index);

#endif
