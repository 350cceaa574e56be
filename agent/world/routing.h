/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the decoders of VirtualService and HTTPRoute share. Only world/ includes this. */
#ifndef SHUNT_ROUTING_H
#define SHUNT_ROUTING_H

#include "world/schema.h"
#include "world/world.h"

/* RFC 9110 section 5.6.2. */
bool routing_is_header_name(const char *name);

/* A copy in lower case; NULL: no memory. */
char *routing_lower_case(const char *text);

/*
 * A regular expression as a comparison of bytes, where it is one (kind_routing.c says which). false: it is none, and its path is in the list of
 * unsupported fields; or there is no memory.
 */
bool routing_regex(struct decoder *d, const struct cursor *at, const char *regex, enum match_kind *ret_kind, char **ret_value);

/* Appends a line to an edit; takes name and value, which may be NULL after an error of theirs. What is wrong with them is reported at `at`. */
void routing_add_line(struct decoder *d, const struct cursor *at, struct header_edit *edit, char *name, char *value, enum line_how how);

/* A list of names, as FIELD_CUSTOM of a struct header_edit. */
void routing_decode_remove(struct decoder *d, const struct cursor *at, void *target);

/* The value that the lines set a header to, the last when there are several; NULL: they do not. */
const char *routing_line_set(const struct header_edit *edit, const char *name);

void routing_edits_release(struct header_edits *edits);

#endif
