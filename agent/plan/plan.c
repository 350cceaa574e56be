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
	route->trial = SHUNT_NONE;
	route->item = SHUNT_NONE;
	route->manifest = body->vs->gateway_api ? SHUNT_HTTP_ROUTE : SHUNT_VIRTUAL_SERVICE;
}

static int add_matches(struct planner *planner, const struct body *body, const char **ret_full)
{
	_cleanup_free_ const struct body_match **matches = calloc(body->match_count + 1, sizeof(*matches));

	if (!matches) {
		planner->out_of_memory = true;
		return -ENOMEM;
	}
	for (size_t i = 0; i < body->match_count; i++)
		matches[i] = &body->matches[i];
	return entries_add(planner, matches, body->match_count, planner->tables->route_count - 1, ret_full);
}

static int add_routes(struct planner *planner, struct route_list *list, const char **ret_full)
{
	struct tables *t = planner->tables;

	list->route = t->route_count;
	for (size_t i = 0; i < list->count; i++) {
		struct shunt_route *route = TABLE_APPEND(planner, t->routes, t->route_count, SHUNT_ROUTES, "routes", ret_full);

		if (!route)
			return -ENOSPC;
		list->routes++;
		fill_route(&list->items[i], route);
		if (add_matches(planner, list->items[i].body, ret_full) < 0)
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
	frontend->value = (struct shunt_frontend){ .kind = list->items[0].body->kind, .routes = planned->routes, .route = planned->route };
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

int plan(const struct world *world, const struct steering *steerings, size_t steering_count,
	 const struct shunt_series series[SHUNT_SERIES], const uint8_t salt_key[16], struct tables **ret_tables)
{
	_cleanup_(planner_done) struct planner planner = { .world = world, .steerings = steerings, .steering_count = steering_count };
	int r;

	memcpy(planner.salt_key, salt_key, sizeof(planner.salt_key));
	for (int i = 0; i < 2; i++)
		planner.salt_key[i] = le64toh(planner.salt_key[i]);
	planner.tables = calloc(1, sizeof(*planner.tables));
	if (!planner.tables)
		return -ENOMEM;
	memcpy(planner.tables->series, series, sizeof(planner.tables->series));

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
	free(t->rings);
	free(t->pods);
	free(t->trials);
	notes_free(&t->notes, t->note_count);
	free(t);
	*tables = NULL;
}
