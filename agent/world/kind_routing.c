/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * VirtualService (networking.istio.io, istio/api networking/v1alpha3/virtual_service.proto). Every field of Istio's is known here: it is decoded, or
 * it is listed as unsupported by its path, so that nobody believes in a timeout that is not there.
 */
#include "world/kinds.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/routing.h"

#define WEIGHT_ALL 100 /* what an only destination has */

/* ---- matches */

struct string_match {
	char *exact, *prefix;
	bool present; /* a regex that takes any value */
};

/*
 * The kernel compares bytes and has no regular expressions. Of RE2's, which must match the whole value, it can say those that are a text, a text before
 * ".*", or ".*" alone. Returns the text, and whether anything may follow; NULL: it is not of this kind (or no memory, then errno is ENOMEM).
 */
static char *regex_text(const char *regex, bool *ret_open)
{
	_cleanup_free_ char *text = calloc(strlen(regex) + 1, 1);
	char *end = text;

	*ret_open = false;
	if (!text)
		return NULL;
	errno = 0;
	regex += *regex == '^';
	for (const char *c = regex; *c && strcmp(c, "$") != 0; c++) {
		if (strcmp(c, ".*") == 0 || strcmp(c, ".*$") == 0) {
			*ret_open = true;
			break;
		}
		if (*c == '\\' && ispunct((unsigned char)c[1]))
			c++;
		else if (strchr("\\^$.|?*+()[]{}", *c))
			return NULL;
		if (c[1] && strchr("?*+{", c[1])) /* repeated */
			return NULL;
		*end++ = *c;
	}
	return TAKE_PTR(text);
}

bool routing_regex(struct decoder *d, const struct cursor *at, const char *regex, enum match_kind *ret_kind, char **ret_value)
{
	bool open = false;
	char *text = regex_text(regex, &open);

	if (!text && errno == ENOMEM)
		d->r = -ENOMEM;
	else if (!text)
		decode_unsupported(d, at);
	if (!text)
		return false;
	*ret_kind = !open ? MATCH_EXACT : *text ? MATCH_PREFIX : MATCH_PRESENT;
	*ret_value = text;
	return true;
}

static void decode_regex(struct decoder *d, const struct cursor *at, void *target)
{
	struct string_match *match = target;
	_cleanup_free_ char *regex = decode_string(d, at), *value = NULL;
	enum match_kind kind;

	if (!regex || !routing_regex(d, at, regex, &kind, &value))
		return;
	match->present = kind == MATCH_PRESENT;
	if (kind == MATCH_PREFIX)
		match->prefix = TAKE_PTR(value);
	else if (kind == MATCH_EXACT)
		match->exact = TAKE_PTR(value);
}

static const struct field string_match_fields[] = {
	{ "exact", FIELD_STRING, AT(struct string_match, exact) },
	{ "prefix", FIELD_STRING, AT(struct string_match, prefix) },
	{ "regex", FIELD_CUSTOM, .custom = decode_regex },
};

static const struct schema string_match_schema = { FIELDS(string_match_fields) };

/* Istio's StringMatch. false: there was an error, or a regex that is not supported (said already). */
static bool decode_string_match(struct decoder *d, const struct cursor *at, enum match_kind *ret_kind, char **ret_value)
{
	struct string_match match = {};
	bool good;

	schema_decode(d, &string_match_schema, at, &match);
	if (json_object_size(at->value) > 1)
		decode_error(d, at, "found %zu conditions; allowed: one of exact, prefix, regex", json_object_size(at->value));
	good = json_object_size(at->value) == 0 || match.exact || match.prefix || match.present;
	if (good) {
		*ret_kind = match.exact ? MATCH_EXACT : match.prefix ? MATCH_PREFIX : MATCH_PRESENT;
		*ret_value = match.exact ? TAKE_PTR(match.exact) : match.prefix ? TAKE_PTR(match.prefix) : strdup("");
		if (!*ret_value)
			d->r = -ENOMEM;
	}
	free(match.exact);
	free(match.prefix);
	return good;
}

/* RFC 9110 section 5.6.2 */
bool routing_is_header_name(const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("!#$%&'*+-.^_`|~", *p))
			return false;
	return *name;
}

char *routing_lower_case(const char *text)
{
	char *copy = strdup(text);

	for (char *p = copy; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* An object of names, each with one of exact, prefix, regex. */
struct conditions {
	struct name_match **items;
	size_t *count;
	bool headers; /* else query parameters */
	bool without;
};

/* One member. An empty object asks for presence. */
static void decode_condition(struct decoder *d, const struct cursor *at, const struct conditions *conditions)
{
	struct name_match *match = &(*conditions->items)[*conditions->count];

	if (conditions->headers && !routing_is_header_name(at->key))
		return decode_error(d, at, "found \"%s\"; allowed: the name of a header (letters, digits, -)", at->key);
	if (!decode_string_match(d, at, &match->kind, &match->value))
		return;
	match->without = conditions->without;
	match->name = conditions->headers ? routing_lower_case(at->key) : strdup(at->key);
	if (!match->name)
		d->r = -ENOMEM;
	(*conditions->count)++;
}

static void decode_conditions(struct decoder *d, const struct cursor *at, const struct conditions *conditions)
{
	struct name_match *items;
	const char *name;
	json_t *value;

	if (!json_is_object(at->value))
		return decode_type_error(d, at, conditions->headers ? "an object of header names, each with one of exact, prefix, regex" :
							       "an object of parameter names, each with one of exact, prefix, regex");
	if (!json_object_size(at->value))
		return;
	items = reallocarray(*conditions->items, *conditions->count + json_object_size(at->value), sizeof(*items));
	if (!items) {
		d->r = -ENOMEM;
		return;
	}
	memset(items + *conditions->count, 0, json_object_size(at->value) * sizeof(*items));
	*conditions->items = items;
	json_object_foreach(at->value, name, value) {
		struct cursor member = cursor_member(at, name);

		decode_condition(d, &member, conditions);
	}
}

static void decode_headers(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_match *match = target;
	const struct conditions headers = { .items = &match->headers, .count = &match->header_count, .headers = true };

	decode_conditions(d, at, &headers);
}

static void decode_without_headers(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_match *match = target;
	const struct conditions headers = { .items = &match->headers, .count = &match->header_count, .headers = true, .without = true };

	decode_conditions(d, at, &headers);
}

static void decode_params(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_match *match = target;
	const struct conditions params = { .items = &match->params, .count = &match->param_count };

	decode_conditions(d, at, &params);
}

static void decode_text_match(struct decoder *d, const struct cursor *at, struct text_match *match)
{
	if (json_is_object(at->value) && !json_object_size(at->value))
		return decode_type_error(d, at, "one of exact, prefix, regex");
	decode_string_match(d, at, &match->kind, &match->value);
}

#define TEXT_MATCH(member)                                                                        \
	static void decode_##member(struct decoder *d, const struct cursor *at, void *target)     \
	{                                                                                         \
		decode_text_match(d, at, &((struct http_match *)target)->member);                 \
	}

TEXT_MATCH(uri)
TEXT_MATCH(method)
TEXT_MATCH(authority)
TEXT_MATCH(scheme)

/* statPrefix names statistics of Envoy and is no condition. */
static const struct field match_fields[] = {
	ACCEPTED("name"),
	{ "headers", FIELD_CUSTOM, .custom = decode_headers },
	{ "authority", FIELD_CUSTOM, .custom = decode_authority },
	UNSUPPORTED("gateways"),
	{ "ignoreUriCase", FIELD_BOOL, AT(struct http_match, ignore_uri_case) },
	{ "method", FIELD_CUSTOM, .custom = decode_method },
	{ "port", FIELD_INT, AT(struct http_match, port), .min = 1, .max = UINT16_MAX },
	{ "queryParams", FIELD_CUSTOM, .custom = decode_params },
	{ "scheme", FIELD_CUSTOM, .custom = decode_scheme },
	UNSUPPORTED("sourceLabels"),
	UNSUPPORTED("sourceNamespace"),
	ACCEPTED("statPrefix"),
	{ "uri", FIELD_CUSTOM, .custom = decode_uri },
	{ "withoutHeaders", FIELD_CUSTOM, .custom = decode_without_headers },
};

static const struct schema match_schema = {
	FIELDS(match_fields),
	.size = sizeof(struct http_match),
	.unsupported = offsetof(struct http_match, unsupported),
	.unsupported_count = offsetof(struct http_match, unsupported_count),
};

/* ---- lines for heads */

static bool is_header_value(const char *value)
{
	for (const char *p = value; *p; p++)
		if (iscntrl((unsigned char)*p) && *p != '\t')
			return false;
	return true;
}

static bool is_possible_line(struct decoder *d, const struct cursor *at, const char *name, const char *value)
{
	if (!routing_is_header_name(name))
		decode_error(d, at, "found \"%s\"; allowed: the name of a header (letters, digits, -)", name);
	else if (value && !is_header_value(value))
		decode_error(d, at, "found a line end or another control character; allowed: text of one line");
	else
		return true;
	return false;
}

void routing_add_line(struct decoder *d, const struct cursor *at, struct header_edit *edit, char *name, char *value, enum line_how how)
{
	struct header_line *lines = NULL;

	if (name && (value || how == LINE_REMOVE) && is_possible_line(d, at, name, value)) {
		lines = reallocarray(edit->lines, edit->count + 1, sizeof(*lines));
		if (!lines)
			d->r = -ENOMEM;
	}
	if (!lines) {
		free(name);
		free(value);
		return;
	}
	edit->lines = lines;
	lines[edit->count++] = (struct header_line){ .name = name, .value = value, .how = how };
}

const char *routing_line_set(const struct header_edit *edit, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < edit->count; i++)
		if (edit->lines[i].how == LINE_SET && strcasecmp(edit->lines[i].name, name) == 0)
			value = edit->lines[i].value;
	return value;
}

static void edit_release(struct header_edit *edit)
{
	for (size_t i = 0; i < edit->count; i++) {
		free(edit->lines[i].name);
		free(edit->lines[i].value);
	}
	free(edit->lines);
}

void routing_edits_release(struct header_edits *edits)
{
	edit_release(&edits->request);
	edit_release(&edits->response);
}

/* An object of names and values. */
static void decode_lines(struct decoder *d, const struct cursor *at, struct header_edit *edit, enum line_how how)
{
	const char *name;
	json_t *value;

	if (!json_is_object(at->value))
		return decode_type_error(d, at, "an object of texts");
	json_object_foreach(at->value, name, value) {
		struct cursor member = cursor_member(at, name);

		routing_add_line(d, &member, edit, strdup(name), decode_string(d, &member), how);
	}
}

static void decode_set(struct decoder *d, const struct cursor *at, void *target)
{
	decode_lines(d, at, target, LINE_SET);
}

static void decode_add(struct decoder *d, const struct cursor *at, void *target)
{
	decode_lines(d, at, target, LINE_ADD);
}

void routing_decode_remove(struct decoder *d, const struct cursor *at, void *target)
{
	if (!json_is_array(at->value))
		return decode_type_error(d, at, "a list of texts");
	for (size_t i = 0; i < json_array_size(at->value); i++) {
		struct cursor item = cursor_item(at, i);

		routing_add_line(d, &item, target, decode_string(d, &item), NULL, LINE_REMOVE);
	}
}

/* ---- destinations */

static const struct field header_edit_fields[] = {
	{ "set", FIELD_CUSTOM, .custom = decode_set },
	{ "add", FIELD_CUSTOM, .custom = decode_add },
	{ "remove", FIELD_CUSTOM, .custom = routing_decode_remove },
};

static const struct schema header_edit_schema = { FIELDS(header_edit_fields) };

static const struct field header_edits_fields[] = {
	{ "request", FIELD_OBJECT, AT(struct header_edits, request), .schema = &header_edit_schema },
	{ "response", FIELD_OBJECT, AT(struct header_edits, response), .schema = &header_edit_schema },
};

static const struct schema header_edits_schema = { FIELDS(header_edits_fields) };

static const struct field port_fields[] = {
	{ "number", FIELD_INT, AT(struct http_destination, port), .required = true, .min = 1, .max = UINT16_MAX },
};

static const struct schema port_schema = { FIELDS(port_fields) };

static const struct field where_fields[] = {
	{ "host", FIELD_STRING, AT(struct http_destination, host), .required = true },
	{ "subset", FIELD_STRING, AT(struct http_destination, subset), .text = "" },
	{ "port", FIELD_OBJECT, .schema = &port_schema },
};

static const struct schema where_schema = { FIELDS(where_fields) };

/* headers.response.set.version also names the version that this destination is. */
static void check_destination(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_destination *destination = target;
	const char *version = routing_line_set(&destination->headers.response, "version");

	(void)at;
	destination->version = strdup(version ? version : "");
	if (!destination->version)
		d->r = -ENOMEM;
}

#define WEIGHT_FIELD { "weight", FIELD_INT, AT(struct http_destination, weight), .min = 0, .max = INT32_MAX }

static const struct field http_destination_fields[] = {
	{ "destination", FIELD_OBJECT, .schema = &where_schema, .required = true },
	WEIGHT_FIELD,
	{ "headers", FIELD_OBJECT, AT(struct http_destination, headers), .schema = &header_edits_schema },
};

static const struct schema http_destination_schema = {
	FIELDS(http_destination_fields),
	.size = sizeof(struct http_destination),
	.check = check_destination,
};

static const struct field tcp_destination_fields[] = {
	{ "destination", FIELD_OBJECT, .schema = &where_schema, .required = true },
	WEIGHT_FIELD,
};

static const struct schema tcp_destination_schema = {
	FIELDS(tcp_destination_fields),
	.size = sizeof(struct http_destination),
	.check = check_destination,
};

/* ---- entries of http[] and tcp[] */

/* Istio sends everything to an only destination, whatever its weight. */
static void check_route(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_route *route = target;
	struct cursor destinations = cursor_member(at, "route");
	uint64_t sum = 0;

	route->line = decode_line(d, at);
	for (size_t i = 0; i < route->destination_count; i++)
		sum += route->destinations[i].weight;
	if (sum == 0 && route->destination_count == 1)
		route->destinations[0].weight = WEIGHT_ALL;
	else if (sum == 0)
		decode_error(d, &destinations, "found %zu destinations whose weights are all 0 (or absent); allowed: at least one above 0",
			     route->destination_count);
}

/* An entry without destinations (redirect, directResponse, delegate) is an error for now: it would have to answer or to look elsewhere. */
static const struct field http_route_fields[] = {
	ACCEPTED("name"),
	{ "match", FIELD_LIST, AT(struct http_route, matches), COUNT_AT(struct http_route, match_count), .schema = &match_schema },
	{ "route", FIELD_LIST, AT(struct http_route, destinations), COUNT_AT(struct http_route, destination_count),
	  .schema = &http_destination_schema, .required = true },
	{ "headers", FIELD_OBJECT, AT(struct http_route, headers), .schema = &header_edits_schema },
	UNSUPPORTED("corsPolicy"),
	UNSUPPORTED("delegate"),
	UNSUPPORTED("directResponse"),
	UNSUPPORTED("fault"),
	UNSUPPORTED("mirror"),
	UNSUPPORTED("mirrorPercent"),
	UNSUPPORTED("mirrorPercentage"),
	UNSUPPORTED("mirrors"),
	UNSUPPORTED("redirect"),
	UNSUPPORTED("retries"),
	UNSUPPORTED("rewrite"),
	UNSUPPORTED("timeout"),
};

static const struct field tcp_route_fields[] = {
	UNSUPPORTED("match"),
	{ "route", FIELD_LIST, AT(struct http_route, destinations), COUNT_AT(struct http_route, destination_count),
	  .schema = &tcp_destination_schema, .required = true },
};

#define ROUTE_SCHEMA(fields)                                               \
	FIELDS(fields), .size = sizeof(struct http_route),                 \
		.unsupported = offsetof(struct http_route, unsupported),   \
		.unsupported_count = offsetof(struct http_route, unsupported_count), .check = check_route

static const struct schema http_entry_schema = { ROUTE_SCHEMA(http_route_fields) };
static const struct schema tcp_route_schema = { ROUTE_SCHEMA(tcp_route_fields) };

/* ---- the object */

static void qualify_gateway(struct decoder *d, const char *ns, char **gateway)
{
	char *qualified;

	if (strchr(*gateway, '/') || strcmp(*gateway, "mesh") == 0)
		return;
	if (asprintf(&qualified, "%s/%s", ns, *gateway) < 0) {
		d->r = -ENOMEM;
		return;
	}
	free(*gateway);
	*gateway = qualified;
}

static void check_virtual_service(struct decoder *d, const struct cursor *at, void *target)
{
	struct virtual_service *vs = target;
	struct cursor spec = cursor_member(at, "spec");

	if (!vs->http_count && !vs->tcp_count && !json_object_get(spec.value, "tls"))
		decode_error(d, &spec, "found no routes; allowed: at least one of http, tcp, tls");
	for (size_t i = 0; i < vs->gateway_count; i++)
		qualify_gateway(d, vs->meta.ns, &vs->gateways[i]);
	if (!vs->gateway_count) {
		char *mesh = strdup("mesh");

		if (!mesh)
			d->r = -ENOMEM;
		decode_append(d, &vs->gateways, &vs->gateway_count, mesh);
	}
}

static const struct field virtual_service_spec_fields[] = {
	{ "hosts", FIELD_STRINGS, AT(struct virtual_service, hosts), COUNT_AT(struct virtual_service, host_count), .required = true },
	{ "gateways", FIELD_STRINGS, AT(struct virtual_service, gateways), COUNT_AT(struct virtual_service, gateway_count) },
	{ "http", FIELD_LIST, AT(struct virtual_service, http), COUNT_AT(struct virtual_service, http_count), .schema = &http_entry_schema },
	{ "tcp", FIELD_LIST, AT(struct virtual_service, tcp), COUNT_AT(struct virtual_service, tcp_count), .schema = &tcp_route_schema },
	UNSUPPORTED("tls"),
	UNSUPPORTED("exportTo"),
};

static const struct schema virtual_service_spec_schema = { FIELDS(virtual_service_spec_fields) };

static const struct field virtual_service_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &virtual_service_spec_schema, .required = true },
};

const struct schema virtual_service_schema = {
	FIELDS(virtual_service_fields),
	.unsupported = offsetof(struct virtual_service, unsupported),
	.unsupported_count = offsetof(struct virtual_service, unsupported_count),
	.check = check_virtual_service,
};

static void name_matches_free(struct name_match *matches, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(matches[i].name);
		free(matches[i].value);
	}
	free(matches);
}

static void match_release(struct http_match *match)
{
	name_matches_free(match->headers, match->header_count);
	name_matches_free(match->params, match->param_count);
	free(match->uri.value);
	free(match->method.value);
	free(match->authority.value);
	free(match->scheme.value);
	strings_free(match->unsupported, match->unsupported_count);
}

static void routes_free(struct http_route *routes, size_t count)
{
	for (struct http_route *route = routes; route < routes + count; route++) {
		for (size_t i = 0; i < route->match_count; i++)
			match_release(&route->matches[i]);
		free(route->matches);
		for (size_t i = 0; i < route->destination_count; i++) {
			free(route->destinations[i].host);
			free(route->destinations[i].ns);
			free(route->destinations[i].subset);
			free(route->destinations[i].version);
			routing_edits_release(&route->destinations[i].headers);
		}
		free(route->destinations);
		free(route->version);
		free(route->session);
		routing_edits_release(&route->headers);
		strings_free(route->unsupported, route->unsupported_count);
	}
	free(routes);
}

void virtual_service_release(void *object)
{
	struct virtual_service *vs = object;

	routes_free(vs->http, vs->http_count);
	routes_free(vs->tcp, vs->tcp_count);
	strings_free(vs->hosts, vs->host_count);
	strings_free(vs->gateways, vs->gateway_count);
	for (size_t i = 0; i < vs->parent_count; i++) {
		free(vs->parents[i].ns);
		free(vs->parents[i].name);
		free(vs->parents[i].section);
	}
	free(vs->parents);
	strings_free(vs->unsupported, vs->unsupported_count);
}
