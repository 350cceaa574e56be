/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/plan.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plan/internal.h"
#include "util/addr.h"
#include "util/cleanup.h"

void *table_append(struct planner *planner, void *items, size_t *count, size_t size, size_t max, const char *name, const char **ret_full)
{
	void *added;

	if (*count >= max) {
		*ret_full = name;
		return NULL;
	}
	added = array_append(items, count, size);
	planner->out_of_memory |= !added;
	return added;
}

/* ---- routes of a frontend --------------------------------------------------------------------------------------------------------------- */

static int by_host(const void *a, const void *b)
{
	return claim_compare(((const struct route_source *)a)->claim, ((const struct route_source *)b)->claim);
}

static int list_routes(struct planner *planner, const struct shunt_frontend_key *key, struct route_list *list)
{
	*list = (struct route_list){};
	for (size_t i = 0; i < planner->claim_count; i++) {
		const struct claim *claim = &planner->claims[i];
		struct body *body;

		if (memcmp(&claim->key, key, sizeof(*key)) != 0)
			continue;
		body = body_get(planner, claim->vs, ntohs(key->port));
		if (!body)
			return -ENOMEM;
		if (!body->unusable)
			list->items[list->count++] = (struct route_source){ body, claim };
	}
	qsort(list->items, list->count, sizeof(list->items[0]), by_host);
	return 0;
}

/* An equal list that another frontend has; NULL: there is none. */
static const struct route_list *find_list(const struct planner *planner, const struct route_list *list)
{
	for (size_t l = 0; l < planner->list_count; l++) {
		const struct route_list *other = &planner->lists[l];
		size_t same = 0;

		while (other->count == list->count && same < list->count) {
			const struct route_source *a = &other->items[same], *b = &list->items[same];

			if (a->body != b->body || !claim_same_host(a->claim, b->claim))
				break;
			same++;
		}
		if (same == list->count)
			return other;
	}
	return NULL;
}

static void fill_route(const struct route_source *source, struct shunt_route *route)
{
	const struct body *body = source->body;
	const struct claim *claim = source->claim;

	route->identity = body->identity;
	route->name_len = strlen(body->identity_name);
	memcpy(route->name, body->identity_name, route->name_len);
	route->host_match = claim->match;
	route->host_len = claim->host ? strlen(claim->host) : 0;
	for (size_t i = 0; i < route->host_len; i++)
		route->host[i] = tolower((unsigned char)claim->host[i]);
	route->split = body->split;
	route->trial = body->trial;
	route->item = body->item;
	route->manifest = body->vs->gateway_api ? SHUNT_HTTP_ROUTE : SHUNT_VIRTUAL_SERVICE;
}

/* A match, and what decides its place. */
struct ranked {
	const struct body_match *match;
	int level;       /* 0: of the most specific host, then of the next */
	size_t sequence; /* age and name of the route, then its own order */
};

static int by_precedence(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	int r = x->level - y->level;

	if (r == 0 && x->match->body->vs->gateway_api)
		r = match_precedence(x->match, y->match);
	return r ? r : (x->sequence > y->sequence) - (x->sequence < y->sequence);
}

/* Routes under one host tell users apart in one way. Says so where they do not. */
static bool same_identity(struct planner *planner, const struct route_source *first, const struct route_source *other)
{
	struct place place = place_of_route(other->body->vs, 0, "%s", words_of(other->body->vs)->items);

	if (first->body->identity == other->body->identity && strcmp(first->body->identity_name, other->body->identity_name) == 0)
		return true;
	note(planner, NOTE_ERROR, &place,
	     "users are known by another header, cookie or parameter than in HTTPRoute %s/%s, whose host %s this route has, too; its rules are left out there. Write the same sessionPersistence in both",
	     first->body->vs->meta.ns, first->body->vs->meta.name, first->claim->host ? first->claim->host : "*");
	return false;
}

/*
 * The matches of the i-th route of a list, in their order. An HTTPRoute's rules stand among those of all HTTPRoutes that have its host, also by a
 * wildcard: those of the more specific host come first (HTTPRoute, spec.hostnames), so what none of them takes falls to the next.
 */
static int add_matches(struct planner *planner, const struct route_list *list, size_t i, const char **ret_full)
{
	_cleanup_free_ const struct body_match **matches = NULL;
	_cleanup_free_ struct ranked *ranked = NULL;
	const struct route_source *first = &list->items[i];
	size_t count = 0;
	int level = 0;

	for (size_t j = i; j < list->count; j++) {
		const struct route_source *source = &list->items[j];

		if (j > i && (!first->body->vs->gateway_api || !source->body->vs->gateway_api || !claim_covers(source->claim, first->claim) ||
			      !same_identity(planner, first, source)))
			continue;
		level += j > i && !claim_same_host(source->claim, list->items[j - 1].claim);
		for (size_t m = 0; m < source->body->match_count; m++) {
			struct ranked *added = ARRAY_APPEND(ranked, count);

			planner->out_of_memory |= !added;
			if (!added)
				return -ENOMEM;
			*added = (struct ranked){ &source->body->matches[m], level, count };
		}
	}
	matches = calloc(count + 1, sizeof(*matches));
	planner->out_of_memory |= !matches;
	if (!matches)
		return -ENOMEM;
	if (count)
		qsort(ranked, count, sizeof(*ranked), by_precedence);
	for (size_t m = 0; m < count; m++)
		matches[m] = ranked[m].match;
	return entries_add(planner, matches, count, planner->tables->route_count - 1, ret_full);
}

/* HTTPRoutes with one host are one route of the tables: that of the first. */
static bool is_merged(const struct route_list *list, size_t i)
{
	return i > 0 && list->items[i].body->vs->gateway_api && claim_same_host(list->items[i].claim, list->items[i - 1].claim);
}

static int add_routes(struct planner *planner, struct route_list *list, const char **ret_full)
{
	struct tables *t = planner->tables;

	list->route = t->route_count;
	for (size_t i = 0; i < list->count; i++) {
		struct shunt_route *route = is_merged(list, i) ? NULL : TABLE_APPEND(planner, t->routes, t->route_count, SHUNT_ROUTES, "routes", ret_full);

		if (is_merged(list, i))
			continue;
		if (!route)
			return -ENOSPC;
		list->routes++;
		fill_route(&list->items[i], route);
		if (add_matches(planner, list, i, ret_full) < 0)
			return -ENOSPC;
	}
	return 0;
}

/* ---- frontends -------------------------------------------------------------------------------------------------------------------------- */

/* The list's routes in the tables, those of an equal list when there is one. NULL: no memory, or full. */
static const struct route_list *list_get(struct planner *planner, const struct route_list *list, const char **ret_full)
{
	struct tables *t = planner->tables;
	size_t routes = t->route_count, rules = t->rule_count, entries = t->entry_count, conditions = t->condition_count;
	const struct route_list *known = find_list(planner, list);
	struct route_list *added = known ? NULL : ARRAY_APPEND(planner->lists, planner->list_count);

	if (known)
		return known;
	planner->out_of_memory |= !added;
	if (!added)
		return NULL;
	*added = *list;
	if (add_routes(planner, added, ret_full) == 0)
		return added;
	planner->list_count--;
	t->route_count = routes;
	t->rule_count = rules;
	t->entry_count = entries;
	t->condition_count = conditions;
	return NULL;
}

/* The traffic policies of the Service that has the address. */
static uint8_t frontend_near(const struct planner *planner, const struct shunt_addr *addr)
{
	for (size_t i = 0; i < planner->world->service_count; i++) {
		const struct service *service = &planner->world->services[i];

		for (size_t a = 0; a < service->address_count; a++) {
			struct shunt_addr own;

			if (addr_parse(service->addresses[a], &own) == 0 && memcmp(&own, addr, sizeof(own)) == 0)
				return (service->external_local ? SHUNT_NEAR_OUTSIDE : 0) | (service->internal_local ? SHUNT_NEAR_INSIDE : 0);
		}
	}
	return 0;
}

static int add_frontend(struct planner *planner, const struct shunt_frontend_key *key, const struct route_list *list, const char **ret_full)
{
	struct tables *t = planner->tables;
	struct tables_frontend *frontend = TABLE_APPEND(planner, t->frontends, t->frontend_count, SHUNT_FRONTENDS, "frontends", ret_full);
	const struct route_list *planned = frontend ? list_get(planner, list, ret_full) : NULL;

	if (!planned) {
		t->frontend_count -= frontend != NULL;
		return -ENOSPC;
	}
	frontend->key = *key;
	frontend->value = (struct shunt_frontend){
		.kind = list->items[0].body->kind,
		.routes = planned->routes,
		.route = planned->route,
		.near = frontend_near(planner, &key->addr),
	};
	return 0;
}

static bool frontend_is_planned(const struct tables *t, const struct shunt_frontend_key *key)
{
	for (size_t i = 0; i < t->frontend_count; i++)
		if (memcmp(&t->frontends[i].key, key, sizeof(*key)) == 0)
			return true;
	return false;
}

static int plan_frontend(struct planner *planner, const struct claim *claim)
{
	struct place place = place_of_route(claim->vs, 0, "%s", "");
	char text[ADDR_PORT_TEXT_MAX];
	struct route_list list;
	const char *full = NULL;
	int r;

	r = list_routes(planner, &claim->key, &list);
	if (r < 0 || list.count == 0)
		return r;
	r = add_frontend(planner, &claim->key, &list, &full);
	if (r < 0 && !planner->out_of_memory)
		note(planner, NOTE_ERROR, &place, "no more room for %s; the frontend %s is left out (its traffic passes untouched)", full,
		     addr_port_text(&claim->key.addr, ntohs(claim->key.port), text));
	for (size_t i = 0; i < list.count && r == 0; i++)
		list.items[i].body->families[addr_is_v4(&claim->key.addr) ? SHUNT_V4 : SHUNT_V6] = true;
	return 0;
}

static int plan_frontends(struct planner *planner)
{
	int r = claims_collect(planner);

	for (size_t i = 0; i < planner->claim_count && r == 0; i++)
		if (!frontend_is_planned(planner->tables, &planner->claims[i].key))
			r = plan_frontend(planner, &planner->claims[i]);
	return r;
}

/* ---- the whole -------------------------------------------------------------------------------------------------------------------------- */

static int by_creation(const void *a, const void *b)
{
	const struct object_meta *x = &(*(const struct virtual_service *const *)a)->meta,
				 *y = &(*(const struct virtual_service *const *)b)->meta;
	int r = (x->created > y->created) - (x->created < y->created);

	r = r ? r : strcmp(x->ns, y->ns);
	return r ? r : strcmp(x->name, y->name);
}

static int order_routes(struct planner *planner)
{
	const struct world *world = planner->world;

	planner->routes = calloc(world->virtual_service_count + 1, sizeof(*planner->routes));
	if (!planner->routes)
		return -ENOMEM;
	for (size_t i = 0; i < world->virtual_service_count; i++)
		planner->routes[i] = &world->virtual_services[i];
	planner->route_count = world->virtual_service_count;
	qsort(planner->routes, planner->route_count, sizeof(*planner->routes), by_creation);
	return 0;
}

static void planner_done(struct planner *planner)
{
	for (size_t i = 0; i < planner->body_count; i++)
		body_free(planner->bodies[i]);
	free(planner->bodies);
	free(planner->routes);
	free(planner->claims);
	free(planner->backends);
	free(planner->lists);
	tables_free(&planner->tables);
}

/* Values that should be nobody else's business. */
static void note_exposed(struct planner *planner)
{
	for (size_t i = 0; i < planner->world->secret_count; i++) {
		const struct secret *secret = &planner->world->secrets[i];
		struct place place = { .meta = &secret->meta, .kind = "Secret" };

		if (secret->exposed)
			note(planner, NOTE_WARNING, &place, "everybody on this machine can read the file; take that away with chmod o-r");
	}
}

int plan(const struct world *world, const struct plan_node *node, const struct steering *steerings, size_t steering_count,
	 const struct shunt_series series[SHUNT_SERIES], const uint8_t salt_key[16], struct tables **ret_tables)
{
	_cleanup_(planner_done) struct planner planner = {
		.world = world, .node = node, .steerings = steerings, .steering_count = steering_count
	};
	int r;

	memcpy(planner.salt_key, salt_key, sizeof(planner.salt_key));
	for (int i = 0; i < 2; i++)
		planner.salt_key[i] = le64toh(planner.salt_key[i]);
	planner.tables = calloc(1, sizeof(*planner.tables));
	if (!planner.tables)
		return -ENOMEM;
	memcpy(planner.tables->series, series, sizeof(planner.tables->series));

	note_exposed(&planner);
	r = order_routes(&planner);
	if (r == 0)
		r = plan_frontends(&planner);
	if (r == 0)
		bodies_check_pods(&planner);
	if (r < 0 || planner.out_of_memory)
		return -ENOMEM;
	*ret_tables = TAKE_PTR(planner.tables);
	return 0;
}

void tables_free(struct tables **tables)
{
	struct tables *t = *tables;

	if (!t)
		return;
	free(t->frontends);
	free(t->routes);
	free(t->rules);
	free(t->entries);
	free(t->conditions);
	free(t->splits);
	free(t->versions);
	free(t->edits);
	free(t->rings);
	free(t->pods);
	free(t->trials);
	notes_free(&t->notes, t->note_count);
	free(t);
	*tables = NULL;
}
