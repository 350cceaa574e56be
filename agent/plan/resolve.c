/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which series an experiment's versions are: by the version's name, else by the namespace that its variable `ns` gives.
 *
 * One route must have them all, since the versions of an experiment divide one stream of users. When no route or more than one has, each version that is
 * in just one place still resolves, and the notes say what is missing or which routes stand against each other.
 */
#include "plan/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* A version of the tables, and where it was found. */
struct candidate {
	const struct virtual_service *vs;
	int series;
};

struct candidates {
	struct candidate *items; /* one for each series */
	size_t count;
};

static void candidates_release(struct candidates *candidates)
{
	free(candidates->items);
}

/* Series outlive their versions; only what is planned now can be chosen. */
static bool is_planned(const struct tables *tables, int series)
{
	for (size_t i = 0; i < tables->version_count; i++)
		if (tables->versions[i].value.series == series)
			return true;
	return false;
}

static int add_candidate(struct candidates *candidates, const struct tables *tables, const struct virtual_service *vs, const char *version)
{
	char route[SHUNT_NAME_MAX * 2];
	struct candidate *added;
	int series;

	snprintf(route, sizeof(route), "%s/%s", vs->meta.ns, vs->meta.name);
	series = series_find(tables->series, route, version);
	if (series < 0 || !is_planned(tables, series))
		return 0;
	for (size_t i = 0; i < candidates->count; i++)
		if (candidates->items[i].series == series)
			return 0;
	added = ARRAY_APPEND(candidates->items, candidates->count);
	if (!added)
		return -ENOMEM;
	*added = (struct candidate){ vs, series };
	return 0;
}

static const char *variable_of(const struct version_detail *detail, const char *name)
{
	for (size_t i = 0; i < detail->variable_count; i++)
		if (strcmp(detail->variables[i].name, name) == 0)
			return detail->variables[i].value;
	return NULL;
}

/* Does the destination mean the version that the experiment describes? By its name, or (by_ns) by the namespace of its Service. */
static bool is_described(const struct virtual_service *vs, const struct http_destination *destination, const struct version_detail *detail,
			 bool by_ns)
{
	const char *ns = variable_of(detail, "ns");
	char name[SHUNT_NAME_MAX * 2];
	struct host_name host;

	if (by_ns)
		return ns && host_parse(destination->host, vs->meta.ns, &host) && strcmp(host.ns, ns) == 0;
	return version_name(vs->meta.ns, destination, name) && strcmp(name, detail->name) == 0;
}

bool destination_is_described(const struct virtual_service *vs, const struct http_destination *destination, const struct version_detail *detail)
{
	return is_described(vs, destination, detail, false) || is_described(vs, destination, detail, true);
}

static int search_entries(const struct tables *tables, const struct virtual_service *vs, const struct http_route *entries, size_t count,
			  const struct version_detail *detail, bool by_ns, struct candidates *candidates)
{
	for (size_t e = 0; e < count; e++) {
		for (size_t d = 0; d < entries[e].destination_count; d++) {
			const struct http_destination *destination = &entries[e].destinations[d];
			char name[SHUNT_NAME_MAX * 2];
			int r = 0;

			if (is_described(vs, destination, detail, by_ns) && version_name(vs->meta.ns, destination, name))
				r = add_candidate(candidates, tables, vs, name);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int find_candidates(const struct world *world, const struct tables *tables, const struct version_detail *detail,
			   struct candidates *candidates)
{
	for (int by_ns = 0; by_ns <= 1 && candidates->count == 0; by_ns++) {
		for (size_t i = 0; i < world->virtual_service_count; i++) {
			const struct virtual_service *vs = &world->virtual_services[i];
			int r = search_entries(tables, vs, vs->http, vs->http_count, detail, by_ns, candidates);

			if (r == 0)
				r = search_entries(tables, vs, vs->tcp, vs->tcp_count, detail, by_ns, candidates);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static const struct candidate *candidate_in(const struct candidates *candidates, const struct virtual_service *vs)
{
	const struct candidate *found = NULL;

	for (size_t i = 0; i < candidates->count; i++) {
		if (candidates->items[i].vs != vs)
			continue;
		if (found)
			return NULL; /* two versions of the route lie in the namespace */
		found = &candidates->items[i];
	}
	return found;
}

/* The route that has all versions of the experiment; NULL: none, or (*ret_several) more than one. */
static const struct virtual_service *common_route(const struct world *world, const struct candidates *candidates, size_t count,
						  bool *ret_several)
{
	const struct virtual_service *found = NULL;

	*ret_several = false;
	for (size_t i = 0; i < world->virtual_service_count; i++) {
		size_t has = 0;

		while (has < count && candidate_in(&candidates[has], &world->virtual_services[i]))
			has++;
		if (has < count)
			continue;
		*ret_several = found != NULL;
		if (found)
			return NULL;
		found = &world->virtual_services[i];
	}
	return found;
}

static int note_unresolved(const struct tables *tables, const struct version_detail *detail, const struct candidates *candidates,
			   const struct place *place, struct plan_note **notes, size_t *note_count)
{
	char list[512] = "";
	size_t used = 0;

	for (size_t i = 0; i < candidates->count && used < sizeof(list); i++) {
		const struct shunt_series *series = &tables->series[candidates->items[i].series];

		used += snprintf(list + used, sizeof(list) - used, "%s'%s' of %s", i ? ", " : "", series->version, series->route);
	}
	if (candidates->count)
		return note_add(notes, note_count, NOTE_ERROR, place,
				"version '%s' could be %s; give the versions of different routes different names", detail->name, list);
	return note_add(
		notes, note_count, NOTE_ERROR, place,
		"no route has a version '%s' (headers.response.set.version, subset or service.namespace), nor one in the namespace of its variable ns (%s)",
		detail->name, variable_of(detail, "ns") ? variable_of(detail, "ns") : "not set");
}

/* What each version resolves to, given the candidates of each. */
static int resolve(const struct world *world, const struct tables *tables, const struct experiment *experiment,
		   const struct candidates *candidates, int *series, const struct virtual_service **ret_route, struct plan_note **notes,
		   size_t *note_count)
{
	bool several;
	const struct virtual_service *route = common_route(world, candidates, experiment->version_count, &several);
	size_t missing = 0;
	int r = 0;

	for (size_t i = 0; i < experiment->version_count && r == 0; i++) {
		const struct version_detail *detail = &experiment->versions[i];
		struct place place =
			place_of(&experiment->meta, "Experiment", 0, "spec.versionInfo.%s", i == 0 ? "baseline" : "candidates");

		if (i)
			place = place_of(&experiment->meta, "Experiment", 0, "spec.versionInfo.candidates[%zu]", i - 1);
		series[i] = -1;
		if (route)
			series[i] = candidate_in(&candidates[i], route)->series;
		else if (candidates[i].count == 1)
			series[i] = candidates[i].items[0].series;
		else
			r = note_unresolved(tables, detail, &candidates[i], &place, notes, note_count);
		missing += series[i] < 0;
	}
	if (r == 0 && !route && !several && !missing && experiment->version_count) {
		struct place place = place_of(&experiment->meta, "Experiment", 0, "spec.versionInfo");

		r = note_add(notes, note_count, NOTE_ERROR, &place,
			     "the versions are on different routes; one VirtualService must route to all of them");
	}
	*ret_route = route;
	return r;
}

int plan_resolve_versions(const struct world *world, const struct tables *tables, const struct experiment *experiment, int *ret_series,
			  char **ret_route, struct plan_note **ret_notes, size_t *ret_note_count)
{
	size_t count = experiment->version_count, note_count = 0;
	_cleanup_free_ struct candidates *candidates = calloc(count + 1, sizeof(*candidates));
	_cleanup_free_ int *series = calloc(count + 1, sizeof(*series));
	_cleanup_free_ char *name = NULL;
	struct plan_note *notes = NULL;
	const struct virtual_service *route = NULL;
	int r = candidates && series ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && r == 0; i++)
		r = find_candidates(world, tables, &experiment->versions[i], &candidates[i]);
	if (r == 0 && count)
		r = resolve(world, tables, experiment, candidates, series, &route, &notes, &note_count);
	if (r == 0 && route && asprintf(&name, "%s/%s", route->meta.ns, route->meta.name) < 0) {
		name = NULL;
		r = -ENOMEM;
	}
	for (size_t i = 0; i < count && candidates; i++)
		candidates_release(&candidates[i]);
	if (r < 0) {
		notes_free(&notes, note_count);
		return r;
	}
	memcpy(ret_series, series, count * sizeof(*series));
	*ret_route = TAKE_PTR(name);
	*ret_notes = notes;
	*ret_note_count = note_count;
	return 0;
}

/* ---- weights as they are written ---- */

static const struct virtual_service *find_route(const struct world *world, const char *name)
{
	for (size_t i = 0; i < world->virtual_service_count; i++) {
		const struct object_meta *meta = &world->virtual_services[i].meta;
		size_t length = strlen(meta->ns);

		if (strncmp(name, meta->ns, length) == 0 && name[length] == '/' && strcmp(name + length + 1, meta->name) == 0)
			return &world->virtual_services[i];
	}
	return NULL;
}

int plan_entry_weights(const struct world *world, const char *route, int entry, char *const names[], size_t count, double *ret_percent)
{
	const struct virtual_service *vs = find_route(world, route);
	const struct http_route *found = vs ? route_entry(vs, entry) : NULL;
	double sum = 0;

	if (!found)
		return -ENOENT;
	for (size_t i = 0; i < count; i++)
		ret_percent[i] = 0;
	for (size_t d = 0; d < found->destination_count; d++)
		sum += found->destinations[d].weight;
	for (size_t d = 0; d < found->destination_count && sum > 0; d++) {
		char name[SHUNT_NAME_MAX * 2];

		for (size_t i = 0; i < count && version_name(vs->meta.ns, &found->destinations[d], name); i++)
			if (names[i] && strcmp(names[i], name) == 0)
				ret_percent[i] += 100 * found->destinations[d].weight / sum;
	}
	return 0;
}
