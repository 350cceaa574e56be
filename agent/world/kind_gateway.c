/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Gateway and HTTPRoute (gateway.networking.k8s.io v1, v1beta1; kubernetes-sigs/gateway-api, apis/v1). Every field of theirs is known here: it is
 * decoded, or it is listed as unsupported by its path. An HTTPRoute becomes a struct virtual_service, so that one planner has both.
 */
#include "world/kinds.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/routing.h"

#define WEIGHT_MAX 1000000

/* ---- matches */

static const char *const string_types[] = { "Exact", "RegularExpression", NULL };
enum { TYPE_EXACT, TYPE_REGEX };

struct typed_match {
	int type;
	char *name, *value;
};

static const struct field header_match_fields[] = {
	{ "type", FIELD_ENUM, AT(struct typed_match, type), .names = string_types, .fallback = TYPE_EXACT },
	{ "name", FIELD_STRING, AT(struct typed_match, name), .required = true },
	{ "value", FIELD_STRING, AT(struct typed_match, value), .required = true },
};

static const struct schema header_match_schema = { FIELDS(header_match_fields), .size = sizeof(struct typed_match) };

static bool is_named_before(const struct name_match *items, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(items[i].name, name) == 0)
			return true;
	return false;
}

/* One header or parameter. Of several with one name the first counts (HTTPRouteMatch). */
static void add_named(struct decoder *d, const struct cursor *at, struct typed_match *from, bool header, struct name_match *items, size_t *count)
{
	struct cursor value_at = cursor_member(at, "value");
	_cleanup_free_ char *name = header ? routing_lower_case(from->name) : strdup(from->name);
	struct name_match *match = &items[*count];

	if (!name) {
		d->r = -ENOMEM;
		return;
	}
	if (is_named_before(items, *count, name))
		return;
	match->kind = MATCH_EXACT;
	if (from->type == TYPE_REGEX && !routing_regex(d, &value_at, from->value, &match->kind, &match->value))
		return;
	if (from->type == TYPE_EXACT)
		match->value = TAKE_PTR(from->value);
	match->name = TAKE_PTR(name);
	(*count)++;
}

static void decode_named_list(struct decoder *d, const struct cursor *at, bool header, struct name_match **items, size_t *count)
{
	struct typed_match *list = NULL;
	size_t list_count = 0, errors = d->errors->count;

	schema_decode_list(d, &header_match_schema, at, (void **)&list, &list_count);
	*items = calloc(list_count + 1, sizeof(**items));
	if (!*items)
		d->r = -ENOMEM;
	for (size_t i = 0; i < list_count; i++) {
		struct cursor item = cursor_item(at, i), name = cursor_member(&item, "name");

		if (*items && d->r == 0 && errors == d->errors->count) {
			if (header && !routing_is_header_name(list[i].name))
				decode_error(d, &name, "found \"%s\"; allowed: the name of a header (letters, digits, -)", list[i].name);
			else
				add_named(d, &item, &list[i], header, *items, count);
		}
		free(list[i].name);
		free(list[i].value);
	}
	free(list);
}

static void decode_header_matches(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_match *match = target;

	decode_named_list(d, at, true, &match->headers, &match->header_count);
}

static void decode_param_matches(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_match *match = target;

	decode_named_list(d, at, false, &match->params, &match->param_count);
}

static const char *const path_types[] = { "Exact", "PathPrefix", "RegularExpression", NULL };
enum { PATH_EXACT, PATH_PREFIX, PATH_REGEX };

struct path_match {
	int type;
	char *value;
};

static const struct field path_match_fields[] = {
	{ "type", FIELD_ENUM, AT(struct path_match, type), .names = path_types, .fallback = PATH_PREFIX },
	{ "value", FIELD_STRING, AT(struct path_match, value), .text = "/" },
};

static const struct schema path_match_schema = { FIELDS(path_match_fields) };

static void decode_path_match(struct decoder *d, const struct cursor *at, void *target)
{
	struct cursor value_at = cursor_member(at, "value");
	struct text_match *uri = &((struct http_match *)target)->uri;
	struct path_match match = {};

	schema_decode(d, &path_match_schema, at, &match);
	if (match.value && match.type == PATH_REGEX) {
		routing_regex(d, &value_at, match.value, &uri->kind, &uri->value);
	} else if (match.value && (*match.value != '/' || strstr(match.value, "//"))) {
		decode_error(d, &value_at, "found \"%s\"; allowed: a path that begins with / and has no //", match.value);
	} else if (match.value) {
		uri->kind = match.type == PATH_EXACT ? MATCH_EXACT : MATCH_PATH_PREFIX;
		uri->value = TAKE_PTR(match.value);
	}
	free(match.value);
}

static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", NULL };

static void decode_method(struct decoder *d, const struct cursor *at, void *target)
{
	struct text_match *method = &((struct http_match *)target)->method;

	for (const char *const *name = methods; *name && json_is_string(at->value); name++) {
		if (strcmp(json_string_value(at->value), *name) != 0)
			continue;
		method->kind = MATCH_EXACT;
		method->value = decode_string(d, at);
		return;
	}
	decode_type_error(d, at, "GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE, PATCH");
}

static const struct field match_fields[] = {
	{ "path", FIELD_CUSTOM, .custom = decode_path_match },
	{ "headers", FIELD_CUSTOM, .custom = decode_header_matches },
	{ "queryParams", FIELD_CUSTOM, .custom = decode_param_matches },
	{ "method", FIELD_CUSTOM, .custom = decode_method },
};

static const struct schema match_schema = {
	FIELDS(match_fields),
	.size = sizeof(struct http_match),
	.unsupported = offsetof(struct http_match, unsupported),
	.unsupported_count = offsetof(struct http_match, unsupported_count),
};

/* ---- filters */

/* A name and value of a header modifier's set or add. */
struct header_value {
	char *name, *value;
};

static const struct field header_value_fields[] = {
	{ "name", FIELD_STRING, AT(struct header_value, name), .required = true },
	{ "value", FIELD_STRING, AT(struct header_value, value), .required = true },
};

static const struct schema header_value_schema = { FIELDS(header_value_fields), .size = sizeof(struct header_value) };

static void decode_modifier_list(struct decoder *d, const struct cursor *at, struct header_edit *edit, enum line_how how)
{
	struct header_value *list = NULL;
	size_t count = 0;

	schema_decode_list(d, &header_value_schema, at, (void **)&list, &count);
	for (size_t i = 0; i < count; i++) {
		struct cursor item = cursor_item(at, i);

		routing_add_line(d, &item, edit, TAKE_PTR(list[i].name), TAKE_PTR(list[i].value), how);
	}
	free(list);
}

static void decode_modifier_set(struct decoder *d, const struct cursor *at, void *target)
{
	decode_modifier_list(d, at, target, LINE_SET);
}

static void decode_modifier_add(struct decoder *d, const struct cursor *at, void *target)
{
	decode_modifier_list(d, at, target, LINE_ADD);
}

static const struct field modifier_fields[] = {
	{ "set", FIELD_CUSTOM, .custom = decode_modifier_set },
	{ "add", FIELD_CUSTOM, .custom = decode_modifier_add },
	{ "remove", FIELD_CUSTOM, .custom = routing_decode_remove },
};

static const struct schema modifier_schema = { FIELDS(modifier_fields) };

static const char *const filter_types[] = { "RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "RequestRedirect",
					    "URLRewrite",	     "CORS",		       "ExternalAuth",	"ExtensionRef",	   NULL };

static const char *const filter_members[] = { "requestHeaderModifier", "responseHeaderModifier", "requestMirror", "requestRedirect",
					      "urlRewrite",	       "cors",			 "externalAuth",  "extensionRef" };

/* One filter: its type, and the member that the type calls for. */
static void decode_filter(struct decoder *d, const struct cursor *at, struct header_edits *edits)
{
	struct cursor type = cursor_member(at, "type");
	const char *name = json_string_value(type.value);
	struct cursor body;
	size_t i = 0;

	if (!json_is_object(at->value))
		return decode_type_error(d, at, "a filter: an object with type");
	while (name && filter_types[i] && strcmp(filter_types[i], name) != 0)
		i++;
	if (!name || !filter_types[i])
		return decode_error(d, &type, "found \"%s\"; allowed: RequestHeaderModifier, ResponseHeaderModifier, RequestMirror, RequestRedirect, URLRewrite, "
					     "CORS, ExternalAuth, ExtensionRef", name ? name : "nothing");
	body = cursor_member(at, filter_members[i]);
	if (!json_is_object(body.value))
		return decode_error(d, &body, "missing; a filter of type %s has it", name);
	if (strcmp(name, "RequestHeaderModifier") == 0)
		schema_decode(d, &modifier_schema, &body, &edits->request);
	else if (strcmp(name, "ResponseHeaderModifier") == 0)
		schema_decode(d, &modifier_schema, &body, &edits->response);
	else
		decode_unsupported(d, &body);
}

static void decode_filters(struct decoder *d, const struct cursor *at, struct header_edits *edits)
{
	if (!json_is_array(at->value))
		return decode_type_error(d, at, "a list of filters");
	for (size_t i = 0; i < json_array_size(at->value); i++) {
		struct cursor item = cursor_item(at, i);

		decode_filter(d, &item, edits);
	}
}

static void decode_backend_filters(struct decoder *d, const struct cursor *at, void *target)
{
	decode_filters(d, at, &((struct http_destination *)target)->headers);
}

static void decode_rule_filters(struct decoder *d, const struct cursor *at, void *target)
{
	decode_filters(d, at, &((struct http_route *)target)->headers);
}

/* ---- backends */

static const char *const service_kinds[] = { "Service", NULL };
static const char *const core_groups[] = { "", NULL };

/* The response header `version` names the version that the backend is. */
static void check_backend(struct decoder *d, const struct cursor *at, void *target)
{
	struct http_destination *destination = target;
	const char *version = routing_line_set(&destination->headers.response, "version");

	(void)at;
	destination->subset = strdup("");
	destination->version = strdup(version ? version : "");
	if (!destination->subset || !destination->version)
		d->r = -ENOMEM;
}

static const struct field backend_fields[] = {
	{ "group", FIELD_ENUM, .offset = FIELD_NOT_STORED, .names = core_groups },
	{ "kind", FIELD_ENUM, .offset = FIELD_NOT_STORED, .names = service_kinds },
	{ "name", FIELD_STRING, AT(struct http_destination, host), .required = true },
	{ "namespace", FIELD_STRING, AT(struct http_destination, ns) },
	{ "port", FIELD_INT, AT(struct http_destination, port), .required = true, .min = 1, .max = UINT16_MAX },
	{ "weight", FIELD_INT, AT(struct http_destination, weight), .min = 0, .max = WEIGHT_MAX, .fallback = 1 },
	{ "filters", FIELD_CUSTOM, .custom = decode_backend_filters },
};

static const struct schema backend_schema = { FIELDS(backend_fields), .size = sizeof(struct http_destination), .check = check_backend };

/* ---- rules */

static const char *const session_types[] = { "Cookie", "Header", NULL };

static const struct field session_fields[] = {
	{ "sessionName", FIELD_STRING, AT(struct http_route, session), .required = true },
	{ "type", FIELD_ENUM, AT(struct http_route, session_header), .names = session_types },
	UNSUPPORTED("absoluteTimeout"),
	UNSUPPORTED("idleTimeout"),
	UNSUPPORTED("cookieConfig"),
};

static const struct schema session_schema = { FIELDS(session_fields) };

/* A rule's own `version` is that of its only destination. */
static void check_rule(struct decoder *d, const struct cursor *at, void *target)
{
	struct cursor backends = cursor_member(at, "backendRefs");
	struct http_route *rule = target;
	const char *version = routing_line_set(&rule->headers.response, "version");
	uint64_t sum = 0;

	rule->line = decode_line(d, at);
	for (size_t i = 0; i < rule->destination_count; i++)
		sum += rule->destinations[i].weight;
	if (sum == 0)
		decode_error(d, &backends, "found %zu backends whose weights are all 0; allowed: at least one above 0", rule->destination_count);
	if (!version)
		return;
	rule->version = strdup(version);
	if (!rule->version)
		d->r = -ENOMEM;
	if (rule->version && rule->destination_count == 1 && rule->destinations[0].version && !*rule->destinations[0].version) {
		free(rule->destinations[0].version);
		rule->destinations[0].version = TAKE_PTR(rule->version);
	}
}

/* A rule without backends (a redirect) is an error for now, as in a VirtualService: it would have to answer. */
static const struct field rule_fields[] = {
	ACCEPTED("name"),
	{ "matches", FIELD_LIST, AT(struct http_route, matches), COUNT_AT(struct http_route, match_count), .schema = &match_schema },
	{ "backendRefs", FIELD_LIST, AT(struct http_route, destinations), COUNT_AT(struct http_route, destination_count), .schema = &backend_schema,
	  .required = true },
	{ "filters", FIELD_CUSTOM, .custom = decode_rule_filters },
	{ "sessionPersistence", FIELD_OBJECT, .schema = &session_schema },
	UNSUPPORTED("timeouts"),
	UNSUPPORTED("retry"),
};

static const struct schema rule_schema = {
	FIELDS(rule_fields),
	.size = sizeof(struct http_route),
	.unsupported = offsetof(struct http_route, unsupported),
	.unsupported_count = offsetof(struct http_route, unsupported_count),
	.check = check_rule,
};

/* ---- the route */

static const char *const parent_kinds[] = { "Gateway", "Service", NULL };
static const char *const parent_groups[] = { "gateway.networking.k8s.io", "", NULL };

static const struct field parent_fields[] = {
	{ "group", FIELD_ENUM, .offset = FIELD_NOT_STORED, .names = parent_groups },
	{ "kind", FIELD_ENUM, AT(struct parent_ref, service), .names = parent_kinds },
	{ "namespace", FIELD_STRING, AT(struct parent_ref, ns) },
	{ "name", FIELD_STRING, AT(struct parent_ref, name), .required = true },
	{ "sectionName", FIELD_STRING, AT(struct parent_ref, section) },
	{ "port", FIELD_INT, AT(struct parent_ref, port), .min = 1, .max = UINT16_MAX },
};

static const struct schema parent_schema = { FIELDS(parent_fields), .size = sizeof(struct parent_ref) };

/* "name" in a namespace becomes the host "name.namespace", as a VirtualService would have it. */
static void name_backend(struct decoder *d, const char *ns, struct http_destination *destination)
{
	char *host;

	if (asprintf(&host, "%s.%s", destination->host, destination->ns ? destination->ns : ns) < 0) {
		d->r = -ENOMEM;
		return;
	}
	free(destination->host);
	destination->host = host;
}

static void check_http_route(struct decoder *d, const struct cursor *at, void *target)
{
	struct virtual_service *route = target;

	(void)at;
	route->gateway_api = true;
	for (size_t i = 0; i < route->parent_count; i++) {
		if (!route->parents[i].ns)
			route->parents[i].ns = strdup(route->meta.ns);
		if (!route->parents[i].ns)
			d->r = -ENOMEM;
	}
	for (size_t r = 0; r < route->http_count; r++)
		for (size_t i = 0; i < route->http[r].destination_count; i++)
			name_backend(d, route->meta.ns, &route->http[r].destinations[i]);
}

static const struct field http_route_spec_fields[] = {
	{ "parentRefs", FIELD_LIST, AT(struct virtual_service, parents), COUNT_AT(struct virtual_service, parent_count), .schema = &parent_schema },
	{ "hostnames", FIELD_STRINGS, AT(struct virtual_service, hosts), COUNT_AT(struct virtual_service, host_count) },
	{ "rules", FIELD_LIST, AT(struct virtual_service, http), COUNT_AT(struct virtual_service, http_count), .schema = &rule_schema,
	  .required = true },
	UNSUPPORTED("useDefaultGateways"),
};

static const struct schema http_route_spec_schema = { FIELDS(http_route_spec_fields) };

static const struct field http_route_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &http_route_spec_schema, .required = true },
};

const struct schema http_route_schema = {
	FIELDS(http_route_fields),
	.unsupported = offsetof(struct virtual_service, unsupported),
	.unsupported_count = offsetof(struct virtual_service, unsupported_count),
	.check = check_http_route,
};

/* ---- Gateway */

static const char *const protocols[] = { "HTTP", "HTTPS", "TLS", "TCP", "UDP", NULL };
static const char *const namespaces_from[] = { "Same", "All", "Selector", "None", NULL };

static const struct field namespaces_fields[] = {
	{ "from", FIELD_ENUM, AT(struct listener, from), .names = namespaces_from, .fallback = FROM_SAME },
	UNSUPPORTED("selector"),
};

static const struct schema namespaces_schema = { FIELDS(namespaces_fields) };

static const struct field allowed_routes_fields[] = {
	{ "namespaces", FIELD_OBJECT, .schema = &namespaces_schema },
	UNSUPPORTED("kinds"),
};

static const struct schema allowed_routes_schema = { FIELDS(allowed_routes_fields) };

static const struct field listener_fields[] = {
	{ "name", FIELD_STRING, AT(struct listener, name), .required = true },
	{ "hostname", FIELD_STRING, AT(struct listener, hostname) },
	{ "port", FIELD_INT, AT(struct listener, port), .required = true, .min = 1, .max = UINT16_MAX },
	{ "protocol", FIELD_ENUM, AT(struct listener, protocol), .required = true, .names = protocols },
	{ "allowedRoutes", FIELD_OBJECT, .schema = &allowed_routes_schema },
	UNSUPPORTED("tls"),
};

static const struct schema listener_schema = { FIELDS(listener_fields), .size = sizeof(struct listener) };

static const char *const address_types[] = { "IPAddress", "Hostname", NULL };

struct gateway_address {
	int type;
	char *value;
};

static const struct field address_fields[] = {
	{ "type", FIELD_ENUM, AT(struct gateway_address, type), .names = address_types },
	{ "value", FIELD_STRING, AT(struct gateway_address, value), .required = true },
};

static const struct schema address_schema = { FIELDS(address_fields), .size = sizeof(struct gateway_address) };

/* A Hostname would have to be resolved: it is named and left out. */
static void decode_addresses(struct decoder *d, const struct cursor *at, void *target)
{
	struct gateway *gateway = target;
	struct gateway_address *list = NULL;
	size_t count = 0;

	schema_decode_list(d, &address_schema, at, (void **)&list, &count);
	for (size_t i = 0; i < count; i++) {
		struct cursor item = cursor_item(at, i);

		if (list[i].type == 0 && list[i].value)
			decode_append(d, &gateway->addresses, &gateway->address_count, TAKE_PTR(list[i].value));
		else if (list[i].value)
			decode_unsupported(d, &item);
		free(list[i].value);
	}
	free(list);
}

static const struct field gateway_spec_fields[] = {
	{ "gatewayClassName", FIELD_STRING, AT(struct gateway, class_name), .required = true },
	{ "listeners", FIELD_LIST, AT(struct gateway, listeners), COUNT_AT(struct gateway, listener_count), .schema = &listener_schema, .required = true },
	{ "addresses", FIELD_CUSTOM, .custom = decode_addresses },
	UNSUPPORTED("infrastructure"),
	UNSUPPORTED("backendTLS"),
	UNSUPPORTED("tls"),
	UNSUPPORTED("allowedListeners"),
	UNSUPPORTED("defaultScope"),
};

static const struct schema gateway_spec_schema = { FIELDS(gateway_spec_fields) };

static const struct field gateway_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &gateway_spec_schema, .required = true },
};

const struct schema gateway_schema = {
	FIELDS(gateway_fields),
	.unsupported = offsetof(struct gateway, unsupported),
	.unsupported_count = offsetof(struct gateway, unsupported_count),
};

void gateway_release(void *object)
{
	struct gateway *gateway = object;

	for (size_t i = 0; i < gateway->listener_count; i++) {
		free(gateway->listeners[i].name);
		free(gateway->listeners[i].hostname);
	}
	free(gateway->listeners);
	free(gateway->class_name);
	strings_free(gateway->addresses, gateway->address_count);
	strings_free(gateway->unsupported, gateway->unsupported_count);
}
