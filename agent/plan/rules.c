/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who a user is, and which users are named by rules.
 *
 * Istio takes the first entry that matches; the kernel takes the longest prefix (an LPM trie). Both agree once the rules that Istio never reaches are
 * gone: a rule is unreachable when an earlier entry's prefix covers it, and of two rules that are left and match one user the longer comes first.
 */
#include "plan/internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define ANNOTATION_IDENTITY "shunt.dev/identity"

/* ---- identity --------------------------------------------------------------------------------------------------------------------------- */

static void set_header_identity(struct planner *planner, struct body *body, const struct place *place, const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > SHUNT_NAME_MAX) {
		note(planner, NOTE_ERROR, place, "the header's name has %zu bytes, allowed are 1 to %d; the client address decides instead",
		     len, SHUNT_NAME_MAX);
		return;
	}
	body->identity = SHUNT_ID_HEADER;
	for (size_t i = 0; i < len; i++)
		body->identity_name[i] = tolower((unsigned char)name[i]);
}

static void identity_from_annotation(struct planner *planner, struct body *body, const char *text)
{
	struct place place = place_of_route(body->vs, 0, "metadata.annotations[%s]", ANNOTATION_IDENTITY);

	if (strcmp(text, "client") == 0)
		return;
	if (body->kind == SHUNT_KIND_CONNECTION)
		note(planner, NOTE_ERROR, &place,
		     "found '%s', but spec.tcp routes know a user by the client address only; write client or spec.http", text);
	else if (strncmp(text, "header:", strlen("header:")) == 0)
		set_header_identity(planner, body, &place, text + strlen("header:"));
	else if (strncmp(text, "cookie:", strlen("cookie:")) == 0 || strncmp(text, "query:", strlen("query:")) == 0)
		note(planner, NOTE_ERROR, &place,
		     "found '%s': cookies and query parameters are not available yet; the client address decides until then (or write header:NAME)",
		     text);
	else
		note(planner, NOTE_ERROR, &place,
		     "found '%s', allowed are header:NAME, cookie:NAME, query:NAME and client; the client address decides instead", text);
}

/* The one header that the matches look at. */
static void identity_from_matches(struct planner *planner, struct body *body)
{
	struct place place = place_of_route(body->vs, 0, "spec.http");
	const char *name = NULL;

	for (size_t e = 0; e < body->vs->http_count; e++) {
		const struct http_route *entry = &body->vs->http[e];

		for (size_t m = 0; m < entry->match_count; m++) {
			for (size_t h = 0; h < entry->matches[m].header_count; h++) {
				const char *header = entry->matches[m].headers[h].name;

				if (!name)
					set_header_identity(planner, body, &place, name = header);
				else if (strcmp(name, header) != 0)
					note(planner, NOTE_ERROR, &place,
					     "matches on the headers '%s' and '%s'; a user is known by one. '%s' is taken; choose with the annotation %s: header:NAME",
					     name, header, name, ANNOTATION_IDENTITY);
			}
		}
	}
}

void rules_identity(struct planner *planner, struct body *body)
{
	const char *annotation = json_string_value(json_object_get(body->vs->meta.annotations, ANNOTATION_IDENTITY));

	body->identity = SHUNT_ID_CLIENT;
	if (annotation)
		identity_from_annotation(planner, body, annotation);
	else if (body->kind == SHUNT_KIND_REQUEST)
		identity_from_matches(planner, body);
}

/* ---- rules ------------------------------------------------------------------------------------------------------------------------------ */

static bool match_is_empty(const struct http_match *match)
{
	return match->header_count == 0 && match->unsupported_count == 0;
}

bool rules_entry_is_default(const struct http_route *entry)
{
	for (size_t m = 0; m < entry->match_count; m++)
		if (match_is_empty(&entry->matches[m]))
			return true;
	return entry->match_count == 0;
}

/* Fits the match into a rule? A note says why not. */
static bool match_is_rule(struct planner *planner, const struct body *body, const struct http_match *match, const struct place *place)
{
	const struct header_match *header = match->headers;
	size_t len;

	for (size_t i = 0; i < match->unsupported_count; i++)
		note(planner, NOTE_ERROR, place,
		     "the condition %s is not available yet; this match is left out (its users are routed by the other entries)",
		     match->unsupported[i]);
	if (match->unsupported_count)
		return false;
	if (match->header_count != 1) {
		note(planner, NOTE_ERROR, place, "conditions on %zu headers at once, allowed is one, the user's; this match is left out",
		     match->header_count);
		return false;
	}
	if (body->identity != SHUNT_ID_HEADER || strcmp(header->name, body->identity_name) != 0) {
		note(planner, NOTE_ERROR, place, "looks at the header '%s', but users are known by %s%s; this match is left out",
		     header->name, body->identity == SHUNT_ID_HEADER ? "the header " : "the client address", body->identity_name);
		return false;
	}
	if (header->kind == MATCH_PRESENT) {
		note(planner, NOTE_ERROR, place,
		     "asks only whether the header '%s' is there; allowed are prefix and exact. This match is left out", header->name);
		return false;
	}
	len = strlen(header->value);
	if (len == 0 || len > SHUNT_ID_MAX - (header->kind == MATCH_EXACT)) {
		note(planner, NOTE_ERROR, place, "the value of the header '%s' has %zu bytes, allowed are 1 to %d; this match is left out",
		     header->name, len, SHUNT_ID_MAX - (header->kind == MATCH_EXACT));
		return false;
	}
	return true;
}

static bool rule_covers(const struct body_rule *rule, const struct body_rule *other)
{
	return other->length >= rule->length && memcmp(rule->id, other->id, rule->length) == 0;
}

/* 1: added; 0: an earlier rule has all of its users. */
static int add_rule(struct planner *planner, struct body *body, const struct body_rule *rule, const struct place *place)
{
	struct body_rule *added;

	for (size_t i = 0; i < body->rule_count; i++) {
		const struct body_rule *earlier = &body->rules[i];

		if (!rule_covers(earlier, rule))
			continue;
		if (earlier->entry != rule->entry)
			note(planner, NOTE_WARNING, place, "unreachable: '%s' lies within '%s' of spec.http[%zu], which comes first; %s",
			     (const char *)rule->id, (const char *)earlier->id, earlier->entry,
			     earlier->length == rule->length ? "remove one of them" : "put the longer one first");
		return 0;
	}
	added = ARRAY_APPEND(body->rules, body->rule_count);
	if (!added)
		return -ENOMEM;
	*added = *rule;
	return 1;
}

int rules_add(struct planner *planner, struct body *body, size_t entry, uint32_t split)
{
	const struct http_route *route = &body->vs->http[entry];
	int added = 0;

	for (size_t m = 0; m < route->match_count; m++) {
		const struct http_match *match = &route->matches[m];
		struct place place = place_of_route(body->vs, route->line, "spec.http[%zu].match[%zu]", entry, m);
		struct body_rule rule = { .entry = entry, .split = split };
		int r;

		if (!match_is_rule(planner, body, match, &place))
			continue;
		rule.length = strlen(match->headers->value);
		memcpy(rule.id, match->headers->value, rule.length);
		rule.length += match->headers->kind == MATCH_EXACT; /* its terminating 0 */
		r = add_rule(planner, body, &rule, &place);
		if (r < 0)
			return r;
		added += r;
	}
	return added;
}
