/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who a user is, and what the matches of a route ask of a request, in the terms of abi.h: a list of conditions each.
 *
 * A match that asks only for the user id becomes a rule (entries.c), so that any number of them costs one look-up.
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

/* A condition of a match on a header or parameter. */
struct named {
	const struct source *source;
	const struct name_match *match;
};

static size_t named_count(const struct http_match *match)
{
	return match->header_count + match->param_count;
}

static struct named named_at(const struct http_match *match, size_t index)
{
	if (index < match->header_count)
		return (struct named){ source_of(SHUNT_ID_HEADER), &match->headers[index] };
	return (struct named){ source_of(SHUNT_ID_QUERY), &match->params[index - match->header_count] };
}

/* Can it tell users apart? The Cookie header holds all of a user's cookies in any order, and what must not be there is nobody's id. */
static bool names_users(const struct named *named)
{
	return !named->match->without && !(named->source->identity == SHUNT_ID_HEADER && strcmp(named->match->name, "cookie") == 0);
}

static bool same_name(const struct named *a, const struct named *b)
{
	return a->source == b->source && strcmp(a->match->name, b->match->name) == 0;
}

/* The best of the headers and parameters that the matches look at: the first with a prefix, which is for ids and not for flags; else the first. */
static struct named best_name(const struct body *body, struct named *ret_other)
{
	struct named best = {};

	for (size_t e = 0; e < body->vs->http_count; e++) {
		const struct http_route *entry = &body->vs->http[e];

		for (size_t m = 0; m < entry->match_count; m++) {
			for (size_t i = 0; i < named_count(&entry->matches[m]); i++) {
				struct named named = named_at(&entry->matches[m], i);

				if (!names_users(&named) || (best.match && same_name(&named, &best)))
					continue;
				if (!best.match) {
					best = named;
				} else if (best.match->kind != MATCH_PREFIX && named.match->kind == MATCH_PREFIX) {
					*ret_other = best;
					best = named;
				} else {
					*ret_other = named;
				}
			}
		}
	}
	return best;
}

static void identity_from_matches(struct planner *planner, struct body *body)
{
	struct place place = place_of_route(body->vs, 0, "%s", words_of(body->vs)->items);
	struct named other = {}, best = best_name(body, &other);

	if (!best.match)
		return;
	if (other.match)
		note(planner, NOTE_WARNING, &place,
		     "matches look at the %s '%s' and the %s '%s'; a user is known by one. '%s' is taken; choose with the annotation %s: %sNAME",
		     best.source->what, best.match->name, other.source->what, other.match->name, best.match->name, ANNOTATION_IDENTITY,
		     other.source->prefix);
	set_identity(planner, body, &place, best.source, best.match->name);
}

/* sessionPersistence of an HTTPRoute's rules. false: none has it. */
static bool identity_from_session(struct planner *planner, struct body *body)
{
	const struct http_route *first = NULL;

	for (size_t e = 0; e < body->vs->http_count; e++) {
		const struct http_route *rule = &body->vs->http[e];
		struct place place = place_of_route(body->vs, rule->line, "spec.rules[%zu].sessionPersistence", e);

		if (!rule->session)
			continue;
		if (!first)
			set_identity(planner, body, &place, source_of(rule->session_header ? SHUNT_ID_HEADER : SHUNT_ID_COOKIE), rule->session);
		else if (first->session_header != rule->session_header || strcmp(first->session, rule->session) != 0)
			note(planner, NOTE_ERROR, &place, "'%s', but an earlier rule has '%s'; a user is known by one, the first is taken", rule->session,
			     first->session);
		first = first ? first : rule;
	}
	return first;
}

void rules_identity(struct planner *planner, struct body *body)
{
	const char *annotation = json_string_value(json_object_get(body->vs->meta.annotations, ANNOTATION_IDENTITY));

	body->identity = SHUNT_ID_CLIENT;
	if (annotation)
		identity_from_annotation(planner, body, annotation);
	else if (body->kind == SHUNT_KIND_REQUEST && !identity_from_session(planner, body))
		identity_from_matches(planner, body);
}

/* ---- matches ---------------------------------------------------------------------------------------------------------------------------- */

static bool match_is_default(const struct http_match *match)
{
	bool any_path = !match->uri.value || (match->uri.kind != MATCH_EXACT && strcmp(match->uri.value, "/") == 0);

	return any_path && named_count(match) == 0 && match->unsupported_count == 0 && !match->method.value && !match->authority.value &&
	       !match->scheme.value && !match->port;
}

bool rules_entry_is_default(const struct http_route *entry)
{
	for (size_t m = 0; m < entry->match_count; m++)
		if (match_is_default(&entry->matches[m]))
			return true;
	return entry->match_count == 0;
}

/* A match on its way into body->matches. */
struct draft {
	struct planner *planner;
	const struct body *body;
	const struct place *place;
	struct body_match match;
	bool never; /* a note says why it is left out, or it is for other ports */
	int r;      /* -E2BIG, -ENOMEM */
};

/* What makes the whole object too large for the tables. */
#define too_big(draft, ...) ((draft)->r = (draft)->r ? (draft)->r : -E2BIG, (void)note((draft)->planner, NOTE_ERROR, (draft)->place, __VA_ARGS__))

#define leave_out(draft, ...) ((draft)->never = true, (void)note((draft)->planner, NOTE_ERROR, (draft)->place, __VA_ARGS__))

static void lower(char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text[i] = tolower((unsigned char)text[i]);
}

static enum shunt_how how_of(enum match_kind kind, size_t len)
{
	switch (kind) {
	case MATCH_EXACT:
		return SHUNT_IS_EQUAL;
	case MATCH_PREFIX:
		return len ? SHUNT_BEGINS_WITH : SHUNT_IS_THERE;
	case MATCH_PATH_PREFIX:
		return len ? SHUNT_BEGINS_PATH : SHUNT_IS_THERE;
	case MATCH_PRESENT:
		break;
	}
	return SHUNT_IS_THERE;
}

static void add_condition(struct draft *draft, struct shunt_condition condition, const char *what, const char *name, const char *value)
{
	size_t name_len = strlen(name), len = strlen(value);
	struct shunt_condition *added;

	if (name_len > SHUNT_NAME_MAX)
		return too_big(draft, "the name of the %s '%s' has %zu bytes, allowed are %d", what, name, name_len, SHUNT_NAME_MAX);
	if (len > SHUNT_VALUE_MAX)
		return too_big(draft, "the value for the %s '%s' has %zu bytes, allowed are %d", what, name, len, SHUNT_VALUE_MAX);
	if (draft->match.condition_count == SHUNT_CONDITIONS_PER_ENTRY)
		return too_big(draft, "has more than %d conditions", SHUNT_CONDITIONS_PER_ENTRY);
	added = ARRAY_APPEND(draft->match.conditions, draft->match.condition_count);
	if (!added) {
		draft->r = -ENOMEM;
		return;
	}
	*added = condition;
	added->name_len = name_len;
	added->len = len;
	memcpy(added->name, name, name_len);
	memcpy(added->value, value, len);
	if (condition.flags & SHUNT_C_ANY_CASE)
		lower(added->value, len);
}

static void add_named(struct draft *draft, const struct named *named)
{
	const struct name_match *match = named->match;
	struct shunt_condition condition = {
		.subject = named->source->identity == SHUNT_ID_HEADER ? SHUNT_ON_HEADER : SHUNT_ON_QUERY,
		.how = how_of(match->kind, strlen(match->value)),
		.flags = match->without ? SHUNT_C_NOT : 0,
	};

	if (!is_name(named->source, match->name))
		return leave_out(draft, "the %s's name is '%s', allowed are letters, digits and %s; this match is left out", named->source->what, match->name,
				 named->source->others);
	add_condition(draft, condition, named->source->what, match->name, match->value);
}

/* Conditions on what every request has: one that takes any value is none. */
static void add_text(struct draft *draft, enum shunt_subject subject, uint8_t flags, const char *what, enum match_kind kind, const char *value)
{
	struct shunt_condition condition = { .subject = subject, .how = how_of(kind, strlen(value)), .flags = flags };

	if (condition.how != SHUNT_IS_THERE)
		add_condition(draft, condition, what, "", value);
}

/* "/" begins every path; "*", of OPTIONS, counts as one (Envoy's prefix "/" is the usual way to write "everything"). */
static void add_path(struct draft *draft, const struct http_match *match)
{
	_cleanup_free_ char *value = match->uri.value ? strdup(match->uri.value) : NULL;
	uint8_t flags = match->ignore_uri_case ? SHUNT_C_ANY_CASE : 0;
	size_t len = value ? strlen(value) : 0;

	if (!match->uri.value)
		return;
	if (!value) {
		draft->r = -ENOMEM;
		return;
	}
	if (strpbrk(value, "?# \t"))
		return leave_out(draft, "the path '%s' has a '?', a '#' or a blank, which no path has; this match is left out", value);
	while (match->uri.kind == MATCH_PATH_PREFIX && len && value[len - 1] == '/')
		value[--len] = '\0';
	if (match->uri.kind == MATCH_PREFIX && strcmp(value, "/") == 0)
		return;
	add_text(draft, SHUNT_ON_PATH, flags, "path", match->uri.kind, value);
}

/* Hosts are compared without their port and in any case, as those of the route are. */
static void add_authority(struct draft *draft, const struct text_match *authority)
{
	const char *colon = authority->value ? strrchr(authority->value, ':') : NULL;

	if (!authority->value)
		return;
	if (colon && !strchr(colon, ']'))
		return leave_out(draft, "authority '%s' has a port, allowed is a host; write the condition port. This match is left out", authority->value);
	add_text(draft, SHUNT_ON_HOST, SHUNT_C_ANY_CASE, "authority", authority->kind, authority->value);
}

/* What is known before any request comes: requests that we can read are plain HTTP, and a body is of one port. */
static void check_connection(struct draft *draft, const struct http_match *match)
{
	const struct text_match *scheme = &match->scheme;

	if (match->port && match->port != draft->body->port)
		draft->never = true;
	if (!scheme->value || scheme->kind == MATCH_PRESENT)
		return;
	if (scheme->kind == MATCH_EXACT ? strcmp(scheme->value, "http") == 0 : strncmp(scheme->value, "http", strlen(scheme->value)) == 0)
		return;
	draft->never = true;
	note(draft->planner, NOTE_WARNING, draft->place, "asks for the scheme '%s', but requests are read in plain http only; this match takes none",
	     scheme->value);
}

/* Can the trie say it? Then its id has the length *ret_length; an exact one ends with a 0 byte. */
static bool is_rule(const struct body *body, const struct body_match *match)
{
	const struct shunt_condition *c = match->conditions;

	if (match->condition_count != 1 || c->flags || c->len == 0)
		return false;
	if (body->identity == SHUNT_ID_HEADER ? c->subject != SHUNT_ON_HEADER : body->identity != SHUNT_ID_QUERY || c->subject != SHUNT_ON_QUERY)
		return false;
	if (strncmp(c->name, body->identity_name, sizeof(c->name)) != 0)
		return false;
	return c->how == SHUNT_IS_EQUAL ? c->len < SHUNT_ID_MAX : c->how == SHUNT_BEGINS_WITH && c->len <= SHUNT_ID_MAX;
}

static void draft_match(struct draft *draft, const struct http_match *match)
{
	for (size_t i = 0; i < match->unsupported_count; i++)
		leave_out(draft, "the condition %s is not available; this match is left out (its requests are routed by the others)",
			  match->unsupported[i]);
	check_connection(draft, match);
	if (match->method.value)
		add_text(draft, SHUNT_ON_METHOD, 0, "method", match->method.kind, match->method.value);
	add_path(draft, match);
	add_authority(draft, &match->authority);
	for (size_t i = 0; i < named_count(match); i++) {
		struct named named = named_at(match, i);

		add_named(draft, &named);
	}
	draft->match.is_rule = is_rule(draft->body, &draft->match);
}

/* 1: appended; 0: left out. */
static int keep_draft(struct body *body, struct draft *draft)
{
	struct body_match *added = draft->r == 0 && !draft->never ? ARRAY_APPEND(body->matches, body->match_count) : NULL;

	if (added) {
		*added = draft->match;
		return 1;
	}
	free(draft->match.conditions);
	if (draft->r < 0)
		return draft->r;
	return draft->never ? 0 : -ENOMEM;
}

int rules_add(struct planner *planner, struct body *body, const struct http_route *route, uint16_t item)
{
	const struct route_words *words = words_of(body->vs);
	int added = 0;

	for (size_t m = 0; m < route->match_count || (m == 0 && !route->match_count); m++) {
		struct place place = place_of_route(body->vs, route->line, "%s[%u].%s[%zu]", words->items, item, words->match, m);
		struct draft draft = { .planner = planner, .body = body, .place = &place, .match = { .body = body, .item = item, .match = m } };
		int r;

		if (route->match_count)
			draft_match(&draft, &route->matches[m]);
		else
			draft.match.match = SHUNT_NONE;
		r = keep_draft(body, &draft);
		if (r < 0)
			return r;
		added += r;
	}
	return added;
}
