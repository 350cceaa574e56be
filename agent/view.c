/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "view.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "util/addr.h"
#include "util/cleanup.h"

/* ---- words ------------------------------------------------------------------------------------------------------------------------------ */

const char *view_identity(const struct shunt_route *route, char buf[VIEW_TEXT_MAX])
{
	static const char *const kinds[] = {
		[SHUNT_ID_CLIENT] = "client",
		[SHUNT_ID_HEADER] = "header:",
		[SHUNT_ID_COOKIE] = "cookie:",
		[SHUNT_ID_QUERY] = "query:",
	};

	snprintf(buf, VIEW_TEXT_MAX, "%s%.*s", route->identity < ARRAY_SIZE(kinds) ? kinds[route->identity] : "?", route->name_len,
		 route->name);
	return buf;
}

const char *view_host(const struct shunt_route *route, char buf[VIEW_TEXT_MAX])
{
	snprintf(buf, VIEW_TEXT_MAX, "%s%.*s", route->host_match == SHUNT_HOST_EXACT ? "" : "*", route->host_len, route->host);
	return buf;
}

const char *view_rule(const struct tables_rule *rule, char buf[VIEW_TEXT_MAX])
{
	bool exact = rule->length > 0 && rule->id[rule->length - 1] == '\0';

	snprintf(buf, VIEW_TEXT_MAX, exact ? "=%.*s" : "%.*s*", rule->length, (const char *)rule->id);
	return buf;
}

const char *view_condition(const struct shunt_condition *condition, char buf[VIEW_TEXT_MAX])
{
	static const char *const subjects[] = {
		[SHUNT_ON_METHOD] = "method",	[SHUNT_ON_PATH] = "path",      [SHUNT_ON_HOST] = "host",
		[SHUNT_ON_HEADER] = "header:", [SHUNT_ON_QUERY] = "query:",
	};
	static const char *const ends[] = { [SHUNT_IS_THERE] = "", [SHUNT_IS_EQUAL] = "", [SHUNT_BEGINS_WITH] = "*", [SHUNT_BEGINS_PATH] = "/*" };

	snprintf(buf, VIEW_TEXT_MAX, "%s%s%.*s%s%.*s%s%s", condition->flags & SHUNT_C_NOT ? "!" : "",
		 condition->subject < ARRAY_SIZE(subjects) ? subjects[condition->subject] : "?", condition->name_len, condition->name,
		 condition->how == SHUNT_IS_THERE ? "" : "=", condition->len, condition->value,
		 condition->how < ARRAY_SIZE(ends) ? ends[condition->how] : "?",
		 condition->flags & SHUNT_C_ANY_CASE && condition->subject != SHUNT_ON_HOST ? " (any case)" : "");
	return buf;
}

const char *view_entry(const struct tables *tables, const struct shunt_entry *entry, char buf[VIEW_TEXT_MAX])
{
	size_t used = 0;

	*buf = '\0';
	for (size_t i = entry->condition; i < (size_t)entry->condition + entry->conditions && i < tables->condition_count; i++) {
		char text[VIEW_TEXT_MAX];
		const char *separator = used ? " and " : "";

		view_condition(&tables->conditions[i], text);
		if (used + strlen(separator) + strlen(text) + sizeof(" ...") > VIEW_TEXT_MAX) {
			snprintf(buf + used, VIEW_TEXT_MAX - used, " ...");
			break;
		}
		used += snprintf(buf + used, VIEW_TEXT_MAX - used, "%s%s", separator, text);
	}
	return buf;
}

const char *view_kind(const struct shunt_frontend *frontend)
{
	return frontend->kind == SHUNT_KIND_REQUEST ? "request" : frontend->kind == SHUNT_KIND_CONNECTION ? "connection" : "?";
}

/* ---- who belongs to whom ---------------------------------------------------------------------------------------------------------------- */

const struct shunt_series *view_series(const struct tables *tables, uint32_t version)
{
	if (version >= tables->version_count || tables->versions[version].value.series >= SHUNT_SERIES)
		return NULL;
	return &tables->series[tables->versions[version].value.series];
}

/* A route's splits hold its own versions only, so any of them names it. */
static const struct shunt_series *split_series(const struct tables *tables, uint32_t split)
{
	if (split >= tables->split_count || tables->splits[split].shares == 0)
		return NULL;
	return view_series(tables, tables->splits[split].share[0].version);
}

const char *view_route_name(const struct tables *tables, uint16_t route)
{
	const struct shunt_series *series = route < tables->route_count ? split_series(tables, tables->routes[route].split) : NULL;

	return series ? series->route : "?";
}

double view_share(const struct tables *tables, uint32_t split, int series)
{
	uint64_t low = 0, sum = 0;

	if (split >= tables->split_count)
		return 0;
	for (uint32_t i = 0; i < tables->splits[split].shares && i < SHUNT_SHARES; i++) {
		const struct shunt_share *share = &tables->splits[split].share[i];

		if (view_series(tables, share->version) == &tables->series[series])
			sum += share->end - low;
		low = share->end;
	}
	return sum / 4294967296.0;
}

/* ---- frontends -------------------------------------------------------------------------------------------------------------------------- */

/* Adds a text to a list unless it is there. */
static int add_once(json_t *list, const char *text)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
		if (strcmp(json_string_value(item), text) == 0)
			return 0;
	return json_array_append_new(list, json_string(text));
}

static json_t *view_frontend(const struct tables *tables, const struct tables_frontend *frontend)
{
	_cleanup_json_ json_t *routes = json_array(), *hosts = json_array(), *identities = json_array();
	char text[VIEW_TEXT_MAX], address[ADDR_PORT_TEXT_MAX];

	for (size_t i = frontend->value.route; i < (size_t)frontend->value.route + frontend->value.routes && i < tables->route_count; i++) {
		if (add_once(routes, view_route_name(tables, i)) < 0 || add_once(hosts, view_host(&tables->routes[i], text)) < 0 ||
		    add_once(identities, view_identity(&tables->routes[i], text)) < 0)
			return NULL;
	}
	return json_pack("{s:s,s:s,s:O,s:O,s:O}", "address", addr_port_text(&frontend->key.addr, ntohs(frontend->key.port), address),
			 "kind", view_kind(&frontend->value), "routes", routes, "hosts", hosts, "identities", identities);
}

json_t *view_frontends(const struct tables *tables)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < tables->frontend_count; i++)
		if (json_array_append_new(list, view_frontend(tables, &tables->frontends[i])) < 0)
			return NULL;
	return json_incref(list);
}

/* ---- versions --------------------------------------------------------------------------------------------------------------------------- */

/* The first of the tables' routes that leads to the series' VirtualService; its others (hosts, ports) have the same shares. -1: none. */
static int route_of_series(const struct tables *tables, int series)
{
	for (size_t i = 0; i < tables->route_count; i++)
		if (strcmp(view_route_name(tables, i), tables->series[series].route) == 0)
			return i;
	return -1;
}

/* Rules and entries of the route that lead to the series. */
static int count_rules(const struct tables *tables, int route, int series)
{
	int count = 0;

	for (size_t i = 0; route >= 0 && i < tables->routes[route].entries && tables->routes[route].entry + i < tables->entry_count; i++)
		count += view_share(tables, tables->entries[tables->routes[route].entry + i].split, series) > 0;
	for (size_t i = 0; i < tables->rule_count; i++)
		count += tables->rules[i].route == route && view_share(tables, tables->rules[i].value.split, series) > 0;
	return count;
}

static int add_pods(const struct tables *tables, const struct shunt_version *version, json_t *pods)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		bool there[SHUNT_PODS] = {};

		for (size_t slot = 0; slot < SHUNT_RING_SIZE && version->ring[family] < tables->ring_count; slot++) {
			uint16_t pod = tables->rings[version->ring[family]].pod[slot];
			char text[ADDR_PORT_TEXT_MAX];

			if (pod >= tables->pod_count || there[pod])
				continue;
			there[pod] = true;
			if (add_once(pods, addr_port_text(&tables->pods[pod].addr, ntohs(tables->pods[pod].port), text)) < 0)
				return -1;
		}
	}
	return 0;
}

/* The lines of an edit (its index + 1), without their line ends, and "-name" for a header that is removed. */
static json_t *view_edit(const struct tables *tables, uint16_t index)
{
	_cleanup_json_ json_t *lines = json_array();
	const struct shunt_edit *edit;

	if (!index || index > tables->edit_count)
		return json_incref(lines);
	edit = &tables->edits[index - 1];
	for (size_t at = 0; at < edit->len;) {
		const char *line = (const char *)edit->text + at;
		size_t len = strcspn(line, "\r");

		if (json_array_append_new(lines, json_stringn(line, len)) < 0)
			return NULL;
		at += len + strlen("\r\n");
	}
	for (int i = 0; i < edit->removes; i++)
		if (json_array_append_new(lines, json_sprintf("-%.*s", SHUNT_NAME_MAX, edit->names[edit->sets + i].name)) < 0)
			return NULL;
	return json_incref(lines);
}

json_t *view_edits(const struct tables *tables, uint32_t version, bool of_request)
{
	const struct shunt_version *value;

	if (version >= tables->version_count)
		return json_array();
	value = &tables->versions[version].value;
	return view_edit(tables, of_request ? value->request_edit : value->edit);
}

static json_t *view_version(const struct tables *tables, int series)
{
	_cleanup_json_ json_t *pods = json_array(), *requests = NULL, *responses = NULL;
	int route = route_of_series(tables, series);
	double share = route < 0 ? 0 : view_share(tables, tables->routes[route].split, series);

	for (size_t i = 0; i < tables->version_count && !requests; i++) {
		if (tables->versions[i].value.series != series)
			continue;
		requests = view_edits(tables, i, true);
		responses = view_edits(tables, i, false);
	}
	for (size_t i = 0; i < tables->version_count; i++)
		if (tables->versions[i].value.series == series && add_pods(tables, &tables->versions[i].value, pods) < 0)
			return NULL;
	return json_pack("{s:i,s:s,s:s,s:o,s:i,s:O,s:O,s:O}", "series", series, "route", tables->series[series].route, "version",
			 tables->series[series].version, "share", share > 0 ? json_real(share) : json_null(), "rules",
			 count_rules(tables, route, series), "pods", pods, "request_lines", requests, "response_lines", responses);
}

json_t *view_versions(const struct tables *tables)
{
	_cleanup_json_ json_t *list = json_array();
	bool seen[SHUNT_SERIES] = {};

	for (size_t i = 0; i < tables->version_count; i++) {
		uint16_t series = tables->versions[i].value.series;

		if (series >= SHUNT_SERIES || seen[series])
			continue;
		seen[series] = true;
		if (json_array_append_new(list, view_version(tables, series)) < 0)
			return NULL;
	}
	return json_incref(list);
}
