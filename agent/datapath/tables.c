/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The tables: a plan goes to the side that is not live, then one write of shunt_meta makes it live.
 *
 *     side 0   plan 6 ── live ──────────────▶ kept until the commit after next   ... cleared, plan 8
 *     side 1   (plan 5)  cleared, plan 7 ▲ flip
 *
 * A packet that began on a side may still be on it when the next commit comes to clear it. So a commit first waits until every program that runs now
 * has ended (an RCU grace period). Nothing else is needed: whoever begins later reads the live side.
 *
 * Only the frontends and rules of the earlier plan are removed; in the tables by index, shunt_meta.used says what counts. Names and header edits are of
 * no side: what is there stays.
 */
#include "datapath/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/syscall.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"
#include "util/log.h"

#define READ_TRIES 8 /* commits are seconds apart: more than one retry is a surprise */

/* ---- maps in bulk ---- */

/* Writes count values to the indices from first on. */
static int write_indexed(struct datapath *datapath, enum datapath_map map, uint32_t first, const void *values, size_t count)
{
	_cleanup_free_ uint32_t *keys = NULL;
	uint32_t n = count;

	if (!count)
		return 0;
	keys = calloc(count, sizeof(*keys));
	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		keys[i] = first + i;
	if (bpf_map_update_batch(datapath->map[map], keys, values, &n, NULL))
		return log_err(-errno, "cannot write %s", datapath_map_info[map].name);
	return 0;
}

static int read_indexed(struct datapath *datapath, enum datapath_map map, uint32_t first, size_t count, void **ret_values)
{
	size_t size = datapath_map_info[map].value_size;
	_cleanup_free_ char *values = calloc(count + 1, size);

	if (!values)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		uint32_t key = first + i;

		if (bpf_map_lookup_elem(datapath->map[map], &key, values + i * size))
			return log_err(-errno, "cannot read %s", datapath_map_info[map].name);
	}
	*ret_values = TAKE_PTR(values);
	return 0;
}

/*
 * All keys of a hash or trie. When a commit removes the key that the walk is at, the kernel begins again at the first: then some keys come twice,
 * and -EAGAIN is returned when they are more than the map can hold.
 */
static int read_keys(struct datapath *datapath, enum datapath_map map, size_t max, void **ret_keys, size_t *ret_count)
{
	size_t size = datapath_map_info[map].key_size, n = 0;
	_cleanup_free_ char *keys = calloc(max + 1, size);

	if (!keys)
		return -ENOMEM;
	while (n <= max && !bpf_map_get_next_key(datapath->map[map], n ? keys + (n - 1) * size : NULL, keys + n * size))
		n++;
	if (n > max)
		return -EAGAIN;
	if (errno != ENOENT)
		return log_err(-errno, "cannot walk %s", datapath_map_info[map].name);
	*ret_keys = TAKE_PTR(keys);
	*ret_count = n;
	return 0;
}

/* Removes repetitions from a sorted array. Returns how many are left. */
static size_t unique(void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
	char *array = items;
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (!i || compare(array + (n - 1) * size, array + i * size))
			memmove(array + n++ * size, array + i * size, size);
	return n;
}

static int read_meta(struct datapath *datapath, struct shunt_meta *ret_meta)
{
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_META], &zero, ret_meta))
		return log_err(-errno, "cannot read shunt_meta");
	if (ret_meta->side > 1)
		return log_refuse(-EPROTO, "shunt_meta says side %u, there are 0 and 1: somebody else writes these maps", ret_meta->side);
	return 0;
}

/* ---- commit ---- */

static int check_sizes(const struct tables *tables)
{
	const struct {
		const char *what;
		size_t count, max;
	} sizes[] = {
		{ "frontends", tables->frontend_count, SHUNT_FRONTENDS }, { "routes", tables->route_count, SHUNT_ROUTES },
		{ "rules", tables->rule_count, SHUNT_RULES },             { "entries", tables->entry_count, SHUNT_ENTRIES },
		{ "conditions", tables->condition_count, SHUNT_CONDITIONS }, { "splits", tables->split_count, SHUNT_SPLITS },
		{ "versions", tables->version_count, SHUNT_VERSIONS },    { "rings", tables->ring_count, SHUNT_RINGS },
		{ "pods", tables->pod_count, SHUNT_PODS },                { "trials", tables->trial_count, SHUNT_TRIALS },
		{ "header edits", tables->edit_count, SHUNT_EDITS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		if (sizes[i].count > sizes[i].max)
			return log_refuse(-E2BIG, "the plan has %zu %s, the tables hold %zu", sizes[i].count, sizes[i].what, sizes[i].max);
	return 0;
}

/* Waits until all programs that are running now have ended. */
static void wait_for_programs(void)
{
	/* MEMBARRIER_CMD_GLOBAL is synchronize_rcu(), and tc programs run inside an RCU read-side section. A kernel with nohz_full CPUs does not offer it;
	 * there a time stands in that no packet stays in a program. */
	if (syscall(__NR_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0))
		usleep(100000);
}

static int clear_frontends(struct datapath *datapath, uint32_t side)
{
	_cleanup_free_ struct shunt_frontend_key *keys = NULL;
	size_t count;
	int r;

	r = read_keys(datapath, DATAPATH_MAP_FRONTEND, 2 * SHUNT_FRONTENDS, (void **)&keys, &count);
	for (size_t i = 0; !r && i < count; i++)
		if (keys[i].side == side && bpf_map_delete_elem(datapath->map[DATAPATH_MAP_FRONTEND], &keys[i]))
			r = log_err(-errno, "cannot clear shunt_frontend");
	return r;
}

static int clear_rules(struct datapath *datapath, uint32_t side)
{
	_cleanup_free_ struct shunt_rule_key *keys = NULL;
	size_t count;
	int r;

	r = read_keys(datapath, DATAPATH_MAP_RULE, 2 * SHUNT_RULES, (void **)&keys, &count);
	for (size_t i = 0; !r && i < count; i++)
		if (ntohs(keys[i].side) == side && bpf_map_delete_elem(datapath->map[DATAPATH_MAP_RULE], &keys[i]))
			r = log_err(-errno, "cannot clear shunt_rule");
	return r;
}

static int write_frontends(struct datapath *datapath, const struct tables *tables, uint32_t side)
{
	for (size_t i = 0; i < tables->frontend_count; i++) {
		struct shunt_frontend_key key = tables->frontends[i].key;

		key.side = side;
		key.pad = 0;
		if (bpf_map_update_elem(datapath->map[DATAPATH_MAP_FRONTEND], &key, &tables->frontends[i].value, BPF_ANY))
			return log_err(-errno, "cannot write shunt_frontend");
	}
	return 0;
}

static int write_rules(struct datapath *datapath, const struct tables *tables, uint32_t side)
{
	for (size_t i = 0; i < tables->rule_count; i++) {
		const struct tables_rule *rule = &tables->rules[i];
		struct shunt_rule_key key = { .prefixlen = 32 + 8 * rule->length, .side = htons(side), .route = htons(rule->route) };

		if (rule->length > sizeof(key.id))
			return log_refuse(-E2BIG, "a rule of route %u has %u bytes, the tables hold %zu", rule->route, rule->length, sizeof(key.id));
		memcpy(key.id, rule->id, rule->length);
		if (bpf_map_update_elem(datapath->map[DATAPATH_MAP_RULE], &key, &rule->value, BPF_ANY))
			return log_err(-errno, "cannot write shunt_rule");
	}
	return 0;
}

/* The index + 1 of an edit in `kept`: its own, or the first free. 0: all are taken. */
static uint16_t keep_edit(struct shunt_edit kept[SHUNT_EDITS], const struct shunt_edit *edit)
{
	for (uint16_t i = 0; i < SHUNT_EDITS; i++) {
		if ((kept[i].len || kept[i].removes) && memcmp(&kept[i], edit, sizeof(*edit)) != 0)
			continue;
		kept[i] = *edit;
		return i + 1;
	}
	return 0;
}

/*
 * Where the plan's edits are in the map: places[i] is what shunt_version.edit says for the plan's i-th. Flows refer to an edit while a head may have to
 * be sent again, so one that is there never changes; new ones take free places.
 */
static int write_edits(struct datapath *datapath, const struct tables *tables, uint16_t places[SHUNT_EDITS])
{
	_cleanup_free_ struct shunt_edit *kept = NULL;
	int r;

	if (!tables->edit_count)
		return 0;
	r = read_indexed(datapath, DATAPATH_MAP_EDIT, 0, SHUNT_EDITS, (void **)&kept);
	for (size_t i = 0; !r && i < tables->edit_count; i++) {
		places[i] = keep_edit(kept, &tables->edits[i]);
		if (!places[i])
			log_warn("a header edit ('%.*s...') is left out: %d different ones were used since the maps were made; run `shunt unload` and start again",
				 (int)strcspn((const char *)tables->edits[i].text, "\r"), (const char *)tables->edits[i].text, SHUNT_EDITS);
		else
			r = write_indexed(datapath, DATAPATH_MAP_EDIT, places[i] - 1, &tables->edits[i], 1);
	}
	return r;
}

static uint16_t place_of_edit(const struct tables *tables, const uint16_t places[SHUNT_EDITS], uint16_t edit)
{
	return edit && edit <= tables->edit_count ? places[edit - 1] : 0;
}

static int write_versions(struct datapath *datapath, const struct tables *tables, uint32_t side)
{
	_cleanup_free_ struct shunt_version *values = calloc(tables->version_count + 1, sizeof(*values));
	uint16_t edits[SHUNT_EDITS] = {};
	int r;

	if (!values)
		return -ENOMEM;
	r = write_edits(datapath, tables, edits);
	if (r)
		return r;
	for (size_t i = 0; i < tables->version_count; i++) {
		values[i] = tables->versions[i].value;
		values[i].edit = place_of_edit(tables, edits, values[i].edit);
		values[i].request_edit = place_of_edit(tables, edits, values[i].request_edit);
	}
	return write_indexed(datapath, DATAPATH_MAP_VERSION, side * SHUNT_VERSIONS, values, tables->version_count);
}

/* New names only: an index stands for its counters and for flows, so it never changes its meaning. */
static int write_series(struct datapath *datapath, const struct tables *tables)
{
	struct shunt_series live[SHUNT_SERIES];
	int r;

	r = datapath_read_series(datapath, live);
	for (uint32_t i = 0; !r && i < SHUNT_SERIES; i++) {
		const struct shunt_series *series = &tables->series[i];

		if (!memcmp(series, &live[i], sizeof(*series)))
			continue;
		if (live[i].version[0])
			r = log_err(-EINVAL, "series %u is %s %s and cannot become %s %s: a defect of the plan", i, live[i].route, live[i].version,
				    series->route, series->version);
		else
			r = write_indexed(datapath, DATAPATH_MAP_SERIES, i, series, 1);
	}
	return r;
}

static int write_side(struct datapath *datapath, const struct tables *tables, uint32_t side)
{
	int r;

	r = write_indexed(datapath, DATAPATH_MAP_POD, side * SHUNT_PODS, tables->pods, tables->pod_count);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_RING, side * SHUNT_RINGS, tables->rings, tables->ring_count);
	if (!r)
		r = write_versions(datapath, tables, side);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_SPLIT, side * SHUNT_SPLITS, tables->splits, tables->split_count);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_TRIAL, side * SHUNT_TRIALS, tables->trials, tables->trial_count);
	if (!r)
		r = write_rules(datapath, tables, side);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_CONDITION, side * SHUNT_CONDITIONS, tables->conditions, tables->condition_count);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_ENTRY, side * SHUNT_ENTRIES, tables->entries, tables->entry_count);
	if (!r)
		r = write_indexed(datapath, DATAPATH_MAP_ROUTE, side * SHUNT_ROUTES, tables->routes, tables->route_count);
	if (!r)
		r = write_frontends(datapath, tables, side);
	return r;
}

static int flip(struct datapath *datapath, struct shunt_meta *meta, const struct tables *tables)
{
	uint32_t zero = 0;

	meta->side = !meta->side;
	meta->generation++;
	meta->used[meta->side] = (struct shunt_used){
		.routes = tables->route_count,
		.splits = tables->split_count,
		.versions = tables->version_count,
		.rings = tables->ring_count,
		.pods = tables->pod_count,
		.trials = tables->trial_count,
		.entries = tables->entry_count,
		.conditions = tables->condition_count,
	};
	return bpf_map_update_elem(datapath->map[DATAPATH_MAP_META], &zero, meta, BPF_ANY) ? log_err(-errno, "cannot write shunt_meta") : 0;
}

int datapath_commit(struct datapath *datapath, const struct tables *tables)
{
	struct shunt_meta meta;
	int r;

	r = check_sizes(tables);
	if (!r)
		r = read_meta(datapath, &meta);
	if (r)
		return r;
	wait_for_programs();
	r = clear_frontends(datapath, !meta.side);
	if (!r)
		r = clear_rules(datapath, !meta.side);
	if (!r)
		r = write_series(datapath, tables);
	if (!r)
		r = write_side(datapath, tables, !meta.side);
	if (!r)
		r = flip(datapath, &meta, tables);
	return r;
}

/* ---- read back ---- */

static int by_frontend(const void *a, const void *b)
{
	const struct tables_frontend *x = a, *y = b;
	int order = memcmp(&x->key.addr, &y->key.addr, sizeof(x->key.addr));

	return order ? order : ntohs(x->key.port) - ntohs(y->key.port);
}

static int by_rule(const void *a, const void *b)
{
	const struct tables_rule *x = a, *y = b;
	int order = x->route - y->route;

	if (!order)
		order = memcmp(x->id, y->id, sizeof(x->id));
	return order ? order : x->length - y->length;
}

static int read_frontends(struct datapath *datapath, uint32_t side, struct tables *tables)
{
	_cleanup_free_ struct shunt_frontend_key *keys = NULL;
	size_t count;
	int r;

	r = read_keys(datapath, DATAPATH_MAP_FRONTEND, 2 * SHUNT_FRONTENDS, (void **)&keys, &count);
	if (r)
		return r;
	tables->frontends = calloc(count + 1, sizeof(*tables->frontends));
	if (!tables->frontends)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct tables_frontend *frontend = &tables->frontends[tables->frontend_count];

		if (keys[i].side != side || bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_FRONTEND], &keys[i], &frontend->value))
			continue;
		frontend->key = keys[i];
		tables->frontend_count++;
	}
	qsort(tables->frontends, tables->frontend_count, sizeof(*tables->frontends), by_frontend);
	tables->frontend_count = unique(tables->frontends, tables->frontend_count, sizeof(*tables->frontends), by_frontend);
	return 0;
}

static int read_rules(struct datapath *datapath, uint32_t side, struct tables *tables)
{
	_cleanup_free_ struct shunt_rule_key *keys = NULL;
	size_t count;
	int r;

	r = read_keys(datapath, DATAPATH_MAP_RULE, 2 * SHUNT_RULES, (void **)&keys, &count);
	if (r)
		return r;
	tables->rules = calloc(count + 1, sizeof(*tables->rules));
	if (!tables->rules)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct tables_rule *rule = &tables->rules[tables->rule_count];

		if (ntohs(keys[i].side) != side || keys[i].prefixlen < 32 || bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_RULE], &keys[i], &rule->value))
			continue;
		rule->route = ntohs(keys[i].route);
		rule->length = (keys[i].prefixlen - 32) / 8;
		memcpy(rule->id, keys[i].id, rule->length);
		tables->rule_count++;
	}
	qsort(tables->rules, tables->rule_count, sizeof(*tables->rules), by_rule);
	tables->rule_count = unique(tables->rules, tables->rule_count, sizeof(*tables->rules), by_rule);
	return 0;
}

/* Pods that a ring holds at least one slot of. */
static uint16_t count_pods(const struct tables *tables, uint16_t ring)
{
	_cleanup_free_ bool *seen = calloc(SHUNT_PODS, sizeof(*seen));
	uint16_t count = 0;

	if (!seen || ring >= tables->ring_count)
		return 0;
	for (size_t i = 0; i < SHUNT_RING_SIZE; i++) {
		uint16_t pod = tables->rings[ring].pod[i];

		if (pod >= SHUNT_PODS || seen[pod])
			continue;
		seen[pod] = true;
		count++;
	}
	return count;
}

static int read_versions(struct datapath *datapath, uint32_t side, size_t count, struct tables *tables)
{
	_cleanup_free_ struct shunt_version *values = NULL;
	int r;

	r = read_indexed(datapath, DATAPATH_MAP_VERSION, side * SHUNT_VERSIONS, count, (void **)&values);
	if (r)
		return r;
	tables->versions = calloc(count + 1, sizeof(*tables->versions));
	if (!tables->versions)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		tables->versions[i].value = values[i];
		for (int family = 0; family < SHUNT_FAMILIES; family++)
			tables->versions[i].pods[family] = count_pods(tables, values[i].ring[family]);
	}
	tables->version_count = count;
	return 0;
}

static bool used_fits(const struct shunt_used *used)
{
	return used->routes <= SHUNT_ROUTES && used->splits <= SHUNT_SPLITS && used->versions <= SHUNT_VERSIONS && used->rings <= SHUNT_RINGS &&
	       used->pods <= SHUNT_PODS && used->trials <= SHUNT_TRIALS && used->entries <= SHUNT_ENTRIES && used->conditions <= SHUNT_CONDITIONS;
}

static int read_side(struct datapath *datapath, const struct shunt_meta *meta, struct tables *tables)
{
	const struct shunt_used *used = &meta->used[meta->side];
	uint32_t side = meta->side;
	int r;

	if (!used_fits(used))
		return log_refuse(-EPROTO, "shunt_meta says more entries are in use than the tables have: somebody else writes these maps");
	tables->route_count = used->routes;
	tables->split_count = used->splits;
	tables->ring_count = used->rings;
	tables->pod_count = used->pods;
	tables->trial_count = used->trials;
	tables->entry_count = used->entries;
	tables->condition_count = used->conditions;
	r = read_indexed(datapath, DATAPATH_MAP_ROUTE, side * SHUNT_ROUTES, used->routes, (void **)&tables->routes);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_ENTRY, side * SHUNT_ENTRIES, used->entries, (void **)&tables->entries);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_CONDITION, side * SHUNT_CONDITIONS, used->conditions, (void **)&tables->conditions);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_SPLIT, side * SHUNT_SPLITS, used->splits, (void **)&tables->splits);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_RING, side * SHUNT_RINGS, used->rings, (void **)&tables->rings);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_POD, side * SHUNT_PODS, used->pods, (void **)&tables->pods);
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_TRIAL, side * SHUNT_TRIALS, used->trials, (void **)&tables->trials);
	if (!r)
		r = read_versions(datapath, side, used->versions, tables);
	tables->edit_count = SHUNT_EDITS; /* those of earlier plans, too: flows may refer to them */
	if (!r)
		r = read_indexed(datapath, DATAPATH_MAP_EDIT, 0, SHUNT_EDITS, (void **)&tables->edits);
	if (!r)
		r = read_frontends(datapath, side, tables);
	if (!r)
		r = read_rules(datapath, side, tables);
	if (!r)
		r = datapath_read_series(datapath, tables->series);
	return r;
}

int datapath_read_tables(struct datapath *datapath, struct tables **ret_tables)
{
	struct shunt_meta before, after;
	int r;

	/* A commit that begins after we read shunt_meta leaves our side alone, the one after it does not: then read again. */
	for (int i = 0; i < READ_TRIES; i++) {
		_cleanup_(tables_free) struct tables *tables = calloc(1, sizeof(*tables));

		if (!tables)
			return -ENOMEM;
		r = read_meta(datapath, &before);
		if (!r)
			r = read_side(datapath, &before, tables);
		if (!r)
			r = read_meta(datapath, &after);
		if (r == -EAGAIN)
			continue;
		if (r)
			return r;
		if (before.generation != after.generation)
			continue;
		*ret_tables = TAKE_PTR(tables);
		return 0;
	}
	return log_refuse(-EAGAIN, "the tables changed %d times while they were read", READ_TRIES);
}

int datapath_read_series(struct datapath *datapath, struct shunt_series ret_series[SHUNT_SERIES])
{
	_cleanup_free_ struct shunt_series *series = NULL;
	int r;

	r = read_indexed(datapath, DATAPATH_MAP_SERIES, 0, SHUNT_SERIES, (void **)&series);
	if (r)
		return r;
	memcpy(ret_series, series, SHUNT_SERIES * sizeof(*series));
	return 0;
}
