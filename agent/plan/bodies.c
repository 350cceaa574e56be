/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a VirtualService does with the traffic of a port: its versions, its splits, and what an experiment wants in their place.
 *
 * The layout of a split decides who moves when a weight changes. The first destination (the baseline) comes last, behind the candidates:
 *
 *     0        w2        w2+w3                                  2^32
 *     ├─ second ┼─ third ─┼─ first (baseline) ────────────────────┤
 *
 * With two destinations raising the candidate's weight moves its end up: it gains users and loses none (invariant 1). With more, that holds for the
 * last candidate; raising an earlier one also moves users between it and those behind it, which one line of ranges cannot avoid. An experiment keeps
 * its own ranges, which can (shares.h).
 *
 * A promotion changes the items that lead to one of its experiment's versions, and no others: what /static goes to was not in the experiment.
 *
 * All splits of a route have one salt, so a user keeps the hash, and with it the pod of a version, when a rule comes or goes or a version is promoted.
 * An experiment's salt takes the place of the route's from its first iteration on until its promotion is over.
 */
#include "plan/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/hash.h"
#include "util/cleanup.h"

const struct route_words *words_of(const struct virtual_service *vs)
{
	static const struct route_words http_route = { "HTTPRoute", "spec.rules", "matches", "backendRefs" },
					http = { "VirtualService", "spec.http", "match", "route" },
					tcp = { "VirtualService", "spec.tcp", "match", "route" };

	return vs->gateway_api ? &http_route : vs->http_count ? &http : &tcp;
}

/* The items that count: spec.http, or spec.tcp when there is no http. */
struct entries {
	const char *path;
	const struct http_route *items;
	size_t count;
};

static struct entries entries_of(const struct virtual_service *vs)
{
	const char *path = words_of(vs)->items;

	return vs->http_count ? (struct entries){ path, vs->http, vs->http_count } : (struct entries){ path, vs->tcp, vs->tcp_count };
}

static void route_name(const struct virtual_service *vs, char name[ROUTE_NAME_MAX + 1])
{
	snprintf(name, ROUTE_NAME_MAX + 1, "%s/%s", vs->meta.ns, vs->meta.name);
}

/* ---- versions --------------------------------------------------------------------------------------------------------------------------- */

const char *version_name(const char *ns, const struct http_destination *destination, char buf[SHUNT_NAME_MAX * 2])
{
	struct host_name host;
	int len;

	if (destination->version[0])
		len = snprintf(buf, SHUNT_NAME_MAX * 2, "%s", destination->version);
	else if (destination->subset[0])
		len = snprintf(buf, SHUNT_NAME_MAX * 2, "%s", destination->subset);
	else if (host_parse(destination->host, ns, &host))
		len = snprintf(buf, SHUNT_NAME_MAX * 2, "%s.%s", host.service, host.ns);
	else
		len = snprintf(buf, SHUNT_NAME_MAX * 2, "%s", destination->host);
	return len < SHUNT_NAME_MAX * 2 ? buf : NULL;
}

static struct body_version *find_version(const struct body *body, const char *name)
{
	for (size_t i = 0; i < body->version_count; i++)
		if (strcmp(body->versions[i].name, name) == 0)
			return &body->versions[i];
	return NULL;
}

/* The version's entry in the tables, with its rings; the fallback follows when the default split is known. */
static int add_to_tables(struct planner *planner, struct body *body, struct body_version *version, const struct place *place,
			 const char **ret_full)
{
	struct tables *t = planner->tables;
	struct backend backend = { .ring = { SHUNT_NONE, SHUNT_NONE }, .near = { SHUNT_NONE, SHUNT_NONE } };
	struct tables_version *added;
	char route[ROUTE_NAME_MAX + 1];
	int series, r;

	r = backend_get(planner, place, body->vs, version->destination, body->port, &backend, ret_full);
	if (r < 0 && r != -ENOENT)
		return r;
	route_name(body->vs, route);
	series = series_get(t->series, route, version->name);
	if (series < 0) {
		*ret_full = "series (route and version names since the maps were made)";
		return series;
	}
	added = TABLE_APPEND(planner, t->versions, t->version_count, SHUNT_VERSIONS, "versions", ret_full);
	if (!added)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	added->value = (struct shunt_version){ .series = series, .fallback = SHUNT_NONE };
	memcpy(added->value.ring, backend.ring, sizeof(backend.ring));
	memcpy(added->value.near, backend.near, sizeof(backend.near));
	memcpy(added->pods, backend.pods, sizeof(backend.pods));
	version->index = t->version_count - 1;
	return 0;
}

/* One version has the same edits everywhere: those of the entry which names it first. */
static void note_other_edits(struct planner *planner, const struct body_version *version, const struct shunt_version *edits, const struct place *place)
{
	const struct shunt_version *first = &planner->tables->versions[version->index].value;

	if (edits->edit != first->edit)
		note(planner, NOTE_WARNING, place, "version '%s' has other headers.response here than before; the first ones serve both. Give it two names",
		     version->name);
	if (edits->request_edit != first->request_edit)
		note(planner, NOTE_WARNING, place, "version '%s' has other headers.request here than before; the first ones serve both. Give it two names",
		     version->name);
}

static int add_version(struct planner *planner, struct body *body, const struct http_route *entry, const struct http_destination *destination,
		       const struct place *place, const char **ret_full)
{
	struct body_version *version;
	char name[SHUNT_NAME_MAX * 2];
	struct shunt_version edits;
	int r;

	if (!version_name(body->vs->meta.ns, destination, name)) {
		note(planner, NOTE_ERROR, place, "the version's name is longer than %d bytes; shorten headers.response.set.version",
		     SHUNT_NAME_MAX * 2 - 1);
		return -ENAMETOOLONG;
	}
	version = find_version(body, name);
	edits_get(planner, place, entry, destination, &edits);
	if (version) {
		const struct http_destination *first = version->destination;

		if (strcmp(first->host, destination->host) != 0 || strcmp(first->subset, destination->subset) != 0 ||
		    first->port != destination->port)
			note(planner, NOTE_ERROR, place,
			     "version '%s' names another destination (%s) than before (%s); the first one serves both. Give them two names",
			     name, destination->host, first->host);
		note_other_edits(planner, version, &edits, place);
		return 0;
	}
	version = ARRAY_APPEND(body->versions, body->version_count);
	if (!version)
		return -ENOMEM;
	memcpy(version->name, name, sizeof(name));
	version->destination = destination;
	r = add_to_tables(planner, body, version, place, ret_full);
	if (!r) {
		planner->tables->versions[version->index].value.edit = edits.edit;
		planner->tables->versions[version->index].value.request_edit = edits.request_edit;
	}
	return r;
}

static int add_versions(struct planner *planner, struct body *body, const char **ret_full)
{
	struct entries entries = entries_of(body->vs);

	for (size_t e = 0; e < entries.count; e++) {
		for (size_t d = 0; d < entries.items[e].destination_count; d++) {
			struct place place = place_of_route(body->vs, entries.items[e].line, "%s[%zu].%s[%zu]", entries.path, e,
							    words_of(body->vs)->destination, d);
			int r = add_version(planner, body, &entries.items[e], &entries.items[e].destinations[d], &place, ret_full);

			if (r < 0)
				return r;
		}
	}
	return 0;
}

static uint16_t version_of(const struct body *body, const struct http_destination *destination)
{
	char name[SHUNT_NAME_MAX * 2];

	return find_version(body, version_name(body->vs->meta.ns, destination, name))->index;
}

/* ---- splits ----------------------------------------------------------------------------------------------------------------------------- */

/* A byte that tells the two words apart (and an experiment's from a route's), and the route's name or the experiment's salt. */
static void body_salt(const struct planner *planner, const struct body *body, __u64 salt[2])
{
	const char *own = body->steering ? body->steering->salt : NULL;
	char name[ROUTE_NAME_MAX + 1];
	size_t len;

	if (own)
		snprintf(name, sizeof(name), "%s", own);
	else
		route_name(body->vs, name);
	len = strlen(name);
	for (int i = 0; i < 2; i++) {
		struct shunt_id id = { .len = len + 1 };

		id.b[0] = i + (own ? 2 : 0);
		memcpy(id.b + 1, name, len);
		salt[i] = shunt_siphash(planner->salt_key, &id);
	}
}

/* A new split with the body's salt and no shares. */
static struct shunt_split *add_split(struct planner *planner, const struct body *body, const char **ret_full)
{
	struct tables *t = planner->tables;
	struct shunt_split *split = TABLE_APPEND(planner, t->splits, t->split_count, SHUNT_SPLITS, "splits", ret_full);

	if (split)
		body_salt(planner, body, split->salt);
	return split;
}

static void add_share(struct shunt_split *split, uint64_t cumulated, uint64_t sum, uint16_t version)
{
	split->share[split->shares++] = (struct shunt_share){
		.end = (uint64_t)(((unsigned __int128)cumulated << 32) / sum), /* exactly 2^32 for the last: cumulated is the sum */
		.version = version,
	};
}

/* Are the entry's weights those of an experiment, and can they be followed? A note says what is done. */
static bool is_steered(struct planner *planner, const struct body *body, const struct http_route *entry, const struct place *place)
{
	const struct steering *steering = body->steering;

	if (!steering || steering->share_count == 0 || route_entry(body->vs, steering->entry) != entry)
		return false;
	for (size_t i = 0; i < steering->share_count; i++) {
		if (find_version(body, steering->shares[i].version))
			continue;
		note(planner, NOTE_WARNING, place, "experiment %s divides the users among versions of which this route does not have '%s'; the weights as written hold",
		     steering->experiment, steering->shares[i].version);
		return false;
	}
	note(planner, NOTE_INFO, place, "experiment %s sets the weights", steering->experiment);
	return true;
}

static int build_steered_split(struct planner *planner, struct body *body, uint16_t *ret_split, const char **ret_full)
{
	struct shunt_split *split = add_split(planner, body, ret_full);

	if (!split)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	for (size_t i = 0; i < body->steering->share_count; i++) {
		const struct steering_share *share = &body->steering->shares[i];

		split->share[split->shares++] = (struct shunt_share){ .end = share->end, .version = find_version(body, share->version)->index };
	}
	*ret_split = planner->tables->split_count - 1;
	return 0;
}

/* The split of an entry, to *ret_split. -E2BIG: it has more versions than a split takes (a note says so). */
static int build_split(struct planner *planner, struct body *body, const struct http_route *entry, const struct place *place,
		       uint16_t *ret_split, const char **ret_full)
{
	struct shunt_split *split;
	uint64_t sum = 0, cumulated = 0;
	size_t shares = 0;

	if (is_steered(planner, body, entry, place))
		return build_steered_split(planner, body, ret_split, ret_full);
	for (size_t d = 0; d < entry->destination_count; d++) {
		sum += entry->destinations[d].weight;
		shares += entry->destinations[d].weight > 0;
	}
	if (shares > SHUNT_SHARES) {
		note(planner, NOTE_ERROR, place, "%zu destinations with a weight, allowed are %d", shares, SHUNT_SHARES);
		return -E2BIG;
	}
	split = add_split(planner, body, ret_full);
	if (!split)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	if (sum == 0) {
		note(planner, NOTE_ERROR, place, "all weights are 0; the first destination takes everything");
		add_share(split, 1, 1, version_of(body, &entry->destinations[0]));
	}
	for (size_t d = 1; d <= entry->destination_count && sum; d++) {
		const struct http_destination *destination = &entry->destinations[d % entry->destination_count]; /* the first one last */

		cumulated += destination->weight;
		if (destination->weight)
			add_share(split, cumulated, sum, version_of(body, destination));
	}
	*ret_split = planner->tables->split_count - 1;
	return 0;
}

static int build_whole_split(struct planner *planner, struct body *body, uint16_t version, uint16_t *ret_split, const char **ret_full)
{
	struct shunt_split *split = add_split(planner, body, ret_full);

	if (!split)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	add_share(split, 1, 1, version);
	*ret_split = planner->tables->split_count - 1;
	return 0;
}

/* ---- what an experiment wants ----------------------------------------------------------------------------------------------------------- */

/* A promotion that no longer holds is said and passed over. */
static bool holds(struct planner *planner, const struct body *body, const struct steering *steering)
{
	struct place place = place_of_route(body->vs, 0, "%s", "");

	if (!steering->version)
		return true;
	if (steering->route_hash && steering->route_hash != body->vs->meta.hash) {
		note(planner, NOTE_INFO, &place, "changed since experiment %s promoted '%s'; the promotion has ended, the rules as written hold",
		     steering->experiment, steering->version);
		return false;
	}
	if (!find_version(body, steering->version)) {
		note(planner, NOTE_WARNING, &place, "experiment %s promoted '%s', which this route does not have; the rules as written hold",
		     steering->experiment, steering->version);
		return false;
	}
	note(planner, NOTE_INFO, &place, "experiment %s promoted '%s': it gets all traffic", steering->experiment, steering->version);
	return true;
}

/* The first experiment that wants something of this route and can have it; NULL: none. */
static const struct steering *steering_of(struct planner *planner, const struct body *body)
{
	char name[ROUTE_NAME_MAX + 1];

	route_name(body->vs, name);
	for (size_t i = 0; i < planner->steering_count; i++) {
		const struct steering *steering = &planner->steerings[i];
		bool meant = steering->route ? strcmp(steering->route, name) == 0 : steering->version && find_version(body, steering->version);

		if (meant && holds(planner, body, steering))
			return steering;
	}
	return NULL;
}

/* What an experiment has chosen for a route. */
struct promoted {
	const struct body_version *version;  /* NULL: nothing */
	const struct experiment *experiment; /* NULL: it is not known (any more) */
};

static struct promoted promotion_of(const struct planner *planner, const struct body *body)
{
	const struct steering *steering = body->steering;
	const char *slash = steering && steering->version ? strchr(steering->experiment, '/') : NULL;
	_cleanup_free_ char *ns = slash ? strndup(steering->experiment, slash - steering->experiment) : NULL;

	if (!steering || !steering->version)
		return (struct promoted){};
	return (struct promoted){ find_version(body, steering->version), ns ? world_experiment(planner->world, ns, slash + 1) : NULL };
}

/* Does the item lead to one of the experiment's versions? Of an experiment that is not known any more, all of the route do. */
static bool item_is_promoted(const struct body *body, const struct http_route *item, const struct promoted *promoted)
{
	if (!promoted->version)
		return false;
	for (size_t d = 0; d < item->destination_count && promoted->experiment; d++)
		for (size_t v = 0; v < promoted->experiment->version_count; v++)
			if (destination_is_described(body->vs, &item->destinations[d], &promoted->experiment->versions[v]))
				return true;
	return !promoted->experiment;
}

/* Then the route needs no matches: one version has everything. */
static bool all_is_promoted(const struct body *body, const struct entries *entries, const struct promoted *promoted)
{
	for (size_t e = 0; e < entries->count; e++)
		if (!item_is_promoted(body, &entries->items[e], promoted))
			return false;
	return true;
}

/* ---- items ------------------------------------------------------------------------------------------------------------------------------ */

static void note_unsupported(struct planner *planner, const struct http_route *entry, const struct place *place)
{
	for (size_t i = 0; i < entry->unsupported_count; i++)
		note(planner, NOTE_WARNING, place, "%s is accepted, not done yet", entry->unsupported[i]);
}

/* Nobody is named by a default entry; its first destination with a weight is where users go whose own version has no pods. */
static void set_fallback(struct planner *planner, struct body *body, const struct http_route *entry)
{
	const struct http_destination *first = entry->destinations;

	for (size_t d = 0; d < entry->destination_count && first->weight == 0; d++)
		if (entry->destinations[d].weight)
			first = &entry->destinations[d];
	for (size_t i = 0; i < body->version_count; i++) {
		uint16_t index = body->versions[i].index, fallback = version_of(body, first);

		planner->tables->versions[index].value.fallback = index == fallback ? SHUNT_NONE : fallback;
	}
}

/* The first item that takes everything; NULL: none does. */
static const struct http_route *default_item(const struct body *body, const struct entries *entries)
{
	for (size_t i = 0; i < body->match_count; i++)
		if (body->matches[i].condition_count == 0)
			return &entries->items[body->matches[i].item];
	return NULL;
}

const struct http_route *route_entry(const struct virtual_service *vs, int entry)
{
	struct entries entries = entries_of(vs);

	if (entry >= 0)
		return (size_t)entry < entries.count ? &entries.items[entry] : NULL;
	for (size_t e = 0; e < entries.count; e++)
		if (rules_entry_is_default(&entries.items[e]))
			return &entries.items[e];
	return entries.count ? entries.items : NULL;
}

/* Requests that nothing takes go to the first destination of all, or to what was promoted in its place. */
static int plan_stand_in(struct planner *planner, struct body *body, const struct entries *entries, const struct promoted *promoted,
			 const char **ret_full)
{
	const struct http_destination *first = &entries->items[0].destinations[0];
	struct place place = place_of_route(body->vs, 0, "%s", entries->path);
	char name[SHUNT_NAME_MAX * 2];

	if (item_is_promoted(body, &entries->items[0], promoted))
		return build_whole_split(planner, body, promoted->version->index, &body->split, ret_full);
	note(planner, NOTE_WARNING, &place,
	     "no entry without match; users that no match names go to '%s' (%s would answer 404). Add an entry without match",
	     version_name(body->vs->meta.ns, first, name), body->vs->gateway_api ? "a gateway" : "Istio");
	return build_whole_split(planner, body, version_of(body, first), &body->split, ret_full);
}

/* The matches of an item and their split. */
static int plan_item(struct planner *planner, struct body *body, const struct entries *entries, size_t e, const struct promoted *promoted,
		     const char **ret_full)
{
	const struct http_route *entry = &entries->items[e];
	struct place place = place_of_route(body->vs, entry->line, "%s[%zu]", entries->path, e);
	size_t first = body->match_count;
	uint16_t split;
	int r = rules_add(planner, body, entry, e);

	if (r <= 0)
		return r; /* nobody is led there */
	if (item_is_promoted(body, entry, promoted))
		r = build_whole_split(planner, body, promoted->version->index, &split, ret_full);
	else
		r = build_split(planner, body, entry, &place, &split, ret_full);
	for (size_t i = first; i < body->match_count && r == 0; i++)
		body->matches[i].split = split;
	return r;
}

/* All items. Of a VirtualService, what comes behind one that takes everything is unreachable. */
static int plan_items(struct planner *planner, struct body *body, const struct entries *entries, const struct promoted *promoted,
		      const char **ret_full)
{
	for (size_t e = 0; e < entries->count; e++) {
		const struct http_route *entry = &entries->items[e], *last = body->vs->gateway_api ? NULL : default_item(body, entries);
		struct place place = place_of_route(body->vs, entry->line, "%s[%zu]", entries->path, e);
		int r;

		note_unsupported(planner, entry, &place);
		if (last) {
			note(planner, NOTE_WARNING, &place, "unreachable: %s[%td] takes everything and comes first", entries->path,
			     last - entries->items);
			continue;
		}
		r = plan_item(planner, body, entries, e, promoted, ret_full);
		if (r < 0)
			return r;
	}
	return default_item(body, entries) ? 0 : plan_stand_in(planner, body, entries, promoted, ret_full);
}

/* What the experiment on the route wants to know of its users. */
static int add_trial(struct planner *planner, struct body *body, const char **ret_full)
{
	struct tables *t = planner->tables;
	struct shunt_trial *trial;

	if (!body->steering || !body->steering->trial.id)
		return 0;
	trial = TABLE_APPEND(planner, t->trials, t->trial_count, SHUNT_TRIALS, "trials", ret_full);
	if (!trial)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	*trial = body->steering->trial;
	body->trial = t->trial_count - 1;
	return 0;
}

/* ---- the body --------------------------------------------------------------------------------------------------------------------------- */

static void forget_matches(struct body *body)
{
	for (size_t i = 0; i < body->match_count; i++)
		free(body->matches[i].conditions);
	free(body->matches);
	body->matches = NULL;
	body->match_count = 0;
}

static int plan_steering(struct planner *planner, struct body *body, const char **ret_full)
{
	struct entries entries = entries_of(body->vs);
	size_t splits = planner->tables->split_count;
	const struct http_route *fallback;
	struct promoted promoted;
	int r;

	r = add_versions(planner, body, ret_full);
	if (r < 0)
		return r;
	rules_identity(planner, body);
	body->steering = steering_of(planner, body);
	r = add_trial(planner, body, ret_full);
	if (r < 0)
		return r;
	promoted = promotion_of(planner, body);
	r = plan_items(planner, body, &entries, &promoted, ret_full);
	if (r < 0)
		return r;
	fallback = default_item(body, &entries);
	set_fallback(planner, body, fallback ? fallback : &entries.items[0]);
	body->item = fallback ? fallback - entries.items : SHUNT_NONE;
	if (body->vs->gateway_api || !all_is_promoted(body, &entries, &promoted)) /* an HTTPRoute's matches also tell its requests from others' */
		return 0;
	forget_matches(body);
	planner->tables->split_count = splits;
	body->item = fallback ? fallback - entries.items : 0;
	return build_whole_split(planner, body, promoted.version->index, &body->split, ret_full);
}

/* Can the route be planned at all? Notes say what cannot. */
static bool check_route(struct planner *planner, const struct virtual_service *vs)
{
	struct place place = place_of_route(vs, 0, "%s", "");

	if (strlen(vs->meta.ns) + 1 + strlen(vs->meta.name) > ROUTE_NAME_MAX) {
		note(planner, NOTE_ERROR, &place, "'namespace/name' is longer than %d bytes; the route is left out. Shorten metadata.name",
		     ROUTE_NAME_MAX);
		return false;
	}
	for (size_t i = 0; i < vs->unsupported_count; i++)
		note(planner, NOTE_WARNING, &place, "%s is accepted, not done yet", vs->unsupported[i]);
	if (vs->http_count == 0 && vs->tcp_count == 0) {
		note(planner, NOTE_ERROR, &place, "neither spec.http nor spec.tcp has an entry; the route is left out");
		return false;
	}
	if (vs->http_count && vs->tcp_count)
		note(planner, NOTE_ERROR, &place,
		     "has spec.http and spec.tcp; spec.tcp is left out. Write two VirtualServices with their own frontends");
	return true;
}

static int plan_body(struct planner *planner, struct body *body)
{
	struct tables *t = planner->tables;
	size_t splits = t->split_count, versions = t->version_count, edits = t->edit_count, rings = t->ring_count, pods = t->pod_count,
	       backends = planner->backend_count, trials = t->trial_count;
	struct place place = place_of_route(body->vs, 0, "%s", "");
	const char *full = NULL;
	int r;

	if (!check_route(planner, body->vs)) {
		body->unusable = true;
		return 0;
	}
	r = plan_steering(planner, body, &full);
	if (r == 0 || r == -ENOMEM)
		return r;
	if (r == -ENOSPC)
		note(planner, NOTE_ERROR, &place, "no more room for %s; the route is left out (its traffic passes untouched)", full);
	else
		note(planner, NOTE_ERROR, &place, "the route is left out (its traffic passes untouched)");
	body->unusable = true;
	t->split_count = splits;
	t->version_count = versions;
	t->edit_count = edits;
	t->ring_count = rings;
	t->pod_count = pods;
	t->trial_count = trials;
	planner->backend_count = backends;
	return 0;
}

struct body *body_get(struct planner *planner, const struct virtual_service *vs, uint16_t port)
{
	struct body *body, **kept;

	for (size_t i = 0; i < planner->body_count; i++)
		if (planner->bodies[i]->vs == vs && planner->bodies[i]->port == port)
			return planner->bodies[i];
	body = calloc(1, sizeof(*body));
	kept = body ? ARRAY_APPEND(planner->bodies, planner->body_count) : NULL;
	if (!kept) {
		free(body);
		return NULL;
	}
	*kept = body;
	body->vs = vs;
	body->port = port;
	body->trial = SHUNT_NONE;
	body->kind = vs->http_count ? SHUNT_KIND_REQUEST : SHUNT_KIND_CONNECTION;
	return plan_body(planner, body) < 0 ? NULL : body;
}

void body_free(struct body *body)
{
	free(body->versions);
	forget_matches(body);
	free(body);
}

/* ---- versions without pods -------------------------------------------------------------------------------------------------------------- */

static void check_version(struct planner *planner, const struct body *body, const struct body_version *version, int family)
{
	const struct tables_version *entry = &planner->tables->versions[version->index];
	struct place place = place_of_route(body->vs, 0, "%s", "");
	const char *ip = family == SHUNT_V4 ? "IPv4" : "IPv6";

	if (entry->pods[family])
		return;
	if (entry->value.fallback != SHUNT_NONE && planner->tables->versions[entry->value.fallback].pods[family])
		note(planner, NOTE_WARNING, &place, "version '%s' (%s) has no ready %s pod; '%s' serves its users on port %u until it has",
		     version->name, version->destination->host, ip,
		     planner->tables->series[planner->tables->versions[entry->value.fallback].value.series].version, body->port);
	else
		note(planner, NOTE_WARNING, &place,
		     "version '%s' (%s) has no ready %s pod and nobody stands in; its users' connections to port %u are reset until it has",
		     version->name, version->destination->host, ip, body->port);
}

void bodies_check_pods(struct planner *planner)
{
	for (size_t b = 0; b < planner->body_count; b++) {
		const struct body *body = planner->bodies[b];

		for (int family = 0; family < SHUNT_FAMILIES && !body->unusable; family++)
			for (size_t i = 0; i < body->version_count && body->families[family]; i++)
				check_version(planner, body, &body->versions[i], family);
	}
}
