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

/* What a user can be known by, other than the client address. */
struct source {
	enum shunt_identity identity;
	const char *prefix; /* in the annotation */
	const char *what;
	const char *others; /* characters of a name beside letters and digits, also for people */
};

/* RFC 9110 section 5.6.2; RFC 6265 section 4.1.1; what RFC 3986 section 3.4 leaves when '=', '&' and '#' end a name. */
#define TOKEN "!#$%&'*+-.^_`|~"
static const struct source sources[] = {
	{ SHUNT_ID_HEADER, "header:", "header", TOKEN },
	{ SHUNT_ID_COOKIE, "cookie:", "cookie", TOKEN },
	{ SHUNT_ID_QUERY, "query:", "query parameter", "!$'()*+,-./:;?@_~[]%" },
};

static const struct source *source_of(enum shunt_identity identity)
{
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (sources[i].identity == identity)
			return &sources[i];
	return NULL;
}

/* Who a body's users are known by, for notes. */
static const char *known_by(const struct body *body, char text[SHUNT_NAME_MAX + 32])
{
	const struct source *source = source_of(body->identity);

	if (source)
		snprintf(text, SHUNT_NAME_MAX + 32, "the %s %s", source->what, body->identity_name);
	return source ? text : "the client address";
}

static bool is_name(const struct source *source, const char *name)
{
	for (const char *c = name; *c; c++)
		if (!isascii((unsigned char)*c) || !(isalnum((unsigned char)*c) || strchr(source->others, *c)))
			return false;
	return true;
}

static void set_identity(struct planner *planner, struct body *body, const struct place *place, const struct source *source, const char *name)
{
	size_t len = strlen(name);

	if (len == 0 || len > SHUNT_NAME_MAX) {
		note(planner, NOTE_ERROR, place, "the %s's name has %zu bytes, allowed are 1 to %d; the client address decides instead",
		     source->what, len, SHUNT_NAME_MAX);
		return;
	}
	if (!is_name(source, name)) {
		note(planner, NOTE_ERROR, place, "the %s's name is '%s', allowed are letters, digits and %s; the client address decides instead",
		     source->what, name, source->others);
		return;
	}
	body->identity = source->identity;
	for (size_t i = 0; i < len; i++)
		body->identity_name[i] = source->identity == SHUNT_ID_HEADER ? tolower((unsigned char)name[i]) : name[i];
}

static void identity_from_annotation(struct planner *planner, struct body *body, const char *text)
{
	struct place place = place_of_route(body->vs, 0, "metadata.annotations[%s]", ANNOTATION_IDENTITY);

	if (strcmp(text, "client") == 0)
		return;
	if (body->kind == SHUNT_KIND_CONNECTION) {
		note(planner, NOTE_ERROR, &place,
		     "found '%s', but spec.tcp routes know a user by the client address only; write client or spec.http", text);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sources); i++)
		if (strncmp(text, sources[i].prefix, strlen(sources[i].prefix)) == 0)
			return set_identity(planner, body, &place, &sources[i], text + strlen(sources[i].prefix));
	note(planner, NOTE_ERROR, &place,
	     "found '%s', allowed are header:NAME, cookie:NAME, query:NAME and client; the client address decides instead", text);
}

/* A condition of a match, and on what. */
struct condition {
	const struct source *source;
	const struct name_match *match;
};

static size_t condition_count(const struct http_match *match)
{
	return match->header_count + match->param_count;
}

static struct condition condition_at(const struct http_match *match, size_t index)
{
	if (index < match->header_count)
		return (struct condition){ source_of(SHUNT_ID_HEADER), &match->headers[index] };
	return (struct condition){ source_of(SHUNT_ID_QUERY), &match->params[index - match->header_count] };
}

/* The Cookie header holds all of a user's cookies in any order, so it tells nobody apart. */
static bool is_cookie_header(const struct condition *condition)
{
	return condition->source->identity == SHUNT_ID_HEADER && strcmp(condition->match->name, "cookie") == 0;
}

/* Whether the condition looks at what `first` looks at; *first becomes the condition when there was none. */
static bool same_source(const struct condition *condition, struct condition *first)
{
	if (!first->match)
		*first = *condition;
	return condition->source == first->source && strcmp(condition->match->name, first->match->name) == 0;
}

/* The one header or parameter that the matches look at. */
static void identity_from_matches(struct planner *planner, struct body *body)
{
	struct place place = place_of_route(body->vs, 0, "spec.http");
	struct condition first = {};

	for (size_t e = 0; e < body->vs->http_count; e++) {
		const struct http_route *entry = &body->vs->http[e];

		for (size_t m = 0; m < entry->match_count; m++) {
			for (size_t i = 0; i < condition_count(&entry->matches[m]); i++) {
				struct condition condition = condition_at(&entry->matches[m], i);

				if (is_cookie_header(&condition) || same_source(&condition, &first))
					continue;
				note(planner, NOTE_ERROR, &place,
				     "matches on the %s '%s' and the %s '%s'; a user is known by one. '%s' is taken; choose with the annotation %s: %sNAME",
				     first.source->what, first.match->name, condition.source->what, condition.match->name, first.match->name,
				     ANNOTATION_IDENTITY, condition.source->prefix);
			}
		}
	}
	if (first.match)
		set_identity(planner, body, &place, first.source, first.match->name);
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
	return condition_count(match) == 0 && match->unsupported_count == 0;
}

bool rules_entry_is_default(const struct http_route *entry)
{
	for (size_t m = 0; m < entry->match_count; m++)
		if (match_is_empty(&entry->matches[m]))
			return true;
	return entry->match_count == 0;
}

/* Is it the user that the condition looks at? A note says if not. */
static bool condition_is_on_user(struct planner *planner, const struct body *body, const struct condition *condition,
				 const struct place *place)
{
	char text[SHUNT_NAME_MAX + 32];

	if (condition->source->identity == body->identity && strcmp(condition->match->name, body->identity_name) == 0)
		return true;
	if (is_cookie_header(condition))
		note(planner, NOTE_ERROR, place,
		     "looks at the whole header 'cookie', which is not available; a user can be known by one cookie (annotation %s: cookie:NAME). This match is left out",
		     ANNOTATION_IDENTITY);
	else
		note(planner, NOTE_ERROR, place, "looks at the %s '%s', but users are known by %s; this match is left out",
		     condition->source->what, condition->match->name, known_by(body, text));
	return false;
}

/* Can a rule say it? A note says why not. */
static bool condition_is_prefix(struct planner *planner, const struct condition *condition, const struct place *place)
{
	const struct name_match *match = condition->match;
	size_t len = strlen(match->value), max = SHUNT_ID_MAX - (match->kind == MATCH_EXACT);

	if (match->kind == MATCH_PRESENT) {
		note(planner, NOTE_ERROR, place, "asks only whether the %s '%s' is there; allowed are prefix and exact. This match is left out",
		     condition->source->what, match->name);
		return false;
	}
	if (len == 0 || len > max) {
		note(planner, NOTE_ERROR, place, "the value of the %s '%s' has %zu bytes, allowed are 1 to %zu; this match is left out",
		     condition->source->what, match->name, len, max);
		return false;
	}
	return true;
}

/* Fits the match into a rule? A note says why not. */
static bool match_is_rule(struct planner *planner, const struct body *body, const struct http_match *match, const struct place *place)
{
	struct condition condition;

	for (size_t i = 0; i < match->unsupported_count; i++)
		note(planner, NOTE_ERROR, place,
		     "the condition %s is not available yet; this match is left out (its users are routed by the other entries)",
		     match->unsupported[i]);
	if (match->unsupported_count)
		return false;
	if (condition_count(match) != 1) {
		note(planner, NOTE_ERROR, place, "conditions on %zu headers and query parameters at once, allowed is one, the user's; this match is left out",
		     condition_count(match));
		return false;
	}
	condition = condition_at(match, 0);
	return condition_is_on_user(planner, body, &condition, place) && condition_is_prefix(planner, &condition, place);
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
		struct condition condition;
		int r;

		if (!match_is_rule(planner, body, match, &place))
			continue;
		condition = condition_at(match, 0);
		rule.length = strlen(condition.match->value);
		memcpy(rule.id, condition.match->value, rule.length);
		rule.length += condition.match->kind == MATCH_EXACT; /* its terminating 0 */
		r = add_rule(planner, body, &rule, &place);
		if (r < 0)
			return r;
		added += r;
	}
	return added;
}
