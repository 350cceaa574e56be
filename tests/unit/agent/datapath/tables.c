/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdatomic.h>
#include <pthread.h>

#include "sandbox.h"
#include "util/addr.h"

static void *list(size_t count, size_t size)
{
	void *items = calloc(count, size);

	assert_non_null(items);
	return items;
}

/* A plan of n of everything, in which every number says `mark`: no two marks give an equal entry anywhere. */
static struct tables *make_tables(size_t n, uint16_t mark)
{
	struct tables *t = list(1, sizeof(*t));
	size_t half = (n + 1) / 2;

	t->frontends = list(n, sizeof(*t->frontends));
	t->routes = list(n, sizeof(*t->routes));
	t->rules = list(n, sizeof(*t->rules));
	t->splits = list(n, sizeof(*t->splits));
	t->versions = list(n, sizeof(*t->versions));
	t->rings = list(n, sizeof(*t->rings));
	t->pods = list(n, sizeof(*t->pods));
	t->frontend_count = t->route_count = t->rule_count = t->split_count = t->version_count = t->ring_count = t->pod_count = n;
	for (size_t i = 0; i < n; i++) {
		/* in the order in which they are read back: IPv4, IPv6, and by port; by route */
		assert_int_equal(addr_parse(i < half ? "10.96.0.10" : "fd00::10", &t->frontends[i].key.addr), 0);
		t->frontends[i].key.port = htons(1 + (i < half ? i : i - half));
		t->frontends[i].value = (struct shunt_frontend){ .kind = SHUNT_KIND_REQUEST, .routes = 1 + mark % 16, .route = i };
		t->routes[i] = (struct shunt_route){ .identity = SHUNT_ID_HEADER, .name_len = 8, .name = "userhash", .split = i, .rules = mark };
		t->rules[i].route = i;
		t->rules[i].length = snprintf((char *)t->rules[i].id, sizeof(t->rules[i].id), "%u", mark) + i % 2; /* prefix or exact */
		t->rules[i].value.split = mark;
		t->splits[i] = (struct shunt_split){ .salt = { mark, i }, .shares = 1, .share = { { .end = 1ull << 32, .version = i } } };
		t->versions[i].value = (struct shunt_version){ .series = i, .fallback = SHUNT_NONE, .ring = { i, SHUNT_NONE } };
		t->versions[i].pods[SHUNT_V4] = i ? 2 : 1; /* pod i and pod 0 */
		for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
			t->rings[i].pod[slot] = slot % 2 ? i : 0;
		t->pods[i] = (struct shunt_pod){ .port = htons(mark) };
		assert_int_equal(addr_parse("10.1.2.3", &t->pods[i].addr), 0);
	}
	return t;
}

static void assert_same(const struct tables *got, const struct tables *want)
{
	assert_int_equal(got->frontend_count, want->frontend_count);
	for (size_t i = 0; i < want->frontend_count; i++) {
		assert_memory_equal(&got->frontends[i].key.addr, &want->frontends[i].key.addr, sizeof(struct shunt_addr));
		assert_int_equal(got->frontends[i].key.port, want->frontends[i].key.port);
		assert_memory_equal(&got->frontends[i].value, &want->frontends[i].value, sizeof(want->frontends[i].value));
	}
	assert_int_equal(got->rule_count, want->rule_count);
	for (size_t i = 0; i < want->rule_count; i++) {
		assert_int_equal(got->rules[i].route, want->rules[i].route);
		assert_int_equal(got->rules[i].length, want->rules[i].length);
		assert_int_equal(got->rules[i].value.split, want->rules[i].value.split);
		assert_memory_equal(got->rules[i].id, want->rules[i].id, sizeof(want->rules[i].id));
	}
	assert_int_equal(got->version_count, want->version_count);
	for (size_t i = 0; i < want->version_count; i++) {
		assert_memory_equal(&got->versions[i].value, &want->versions[i].value, sizeof(want->versions[i].value));
		assert_memory_equal(got->versions[i].pods, want->versions[i].pods, sizeof(want->versions[i].pods));
	}
#define SAME(items, count)                                                                                       \
	do {                                                                                                     \
		assert_int_equal(got->count, want->count);                                                       \
		if (want->count)                                                                                 \
			assert_memory_equal(got->items, want->items, want->count * sizeof(*want->items));        \
	} while (0)
	SAME(routes, route_count);
	SAME(splits, split_count);
	SAME(rings, ring_count);
	SAME(pods, pod_count);
#undef SAME
	assert_memory_equal(got->series, want->series, sizeof(want->series));
}

static void assert_live(struct datapath *datapath, const struct tables *want)
{
	_cleanup_(tables_free) struct tables *got = NULL;

	assert_int_equal(datapath_read_tables(datapath, &got), 0);
	assert_same(got, want);
}

static struct shunt_meta read_meta(const struct datapath *datapath)
{
	struct shunt_meta meta;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_META], &zero, &meta), 0);
	return meta;
}

/* Entries of a side in the maps that have the side in their keys. */
static size_t count_side(const struct datapath *datapath, enum datapath_map map, uint32_t side)
{
	union {
		struct shunt_frontend_key frontend;
		struct shunt_rule_key rule;
	} key, next;
	size_t count = 0;

	for (void *from = NULL; !bpf_map_get_next_key(datapath->map[map], from, &next); from = &key) {
		key = next;
		count += (map == DATAPATH_MAP_RULE ? ntohs(key.rule.side) : key.frontend.side) == side;
	}
	return count;
}

static void test_read_back(void **state)
{
	static const size_t sizes[] = { 0, 1, 2, 17, 256 };
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		_cleanup_(tables_free) struct tables *tables = make_tables(sizes[i], i + 1);

		assert_int_equal(datapath_commit(datapath, tables), 0);
		assert_live(datapath, tables);
		assert_int_equal(read_meta(datapath).generation, i + 1);
	}
}

static void test_flip(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_(tables_free) struct tables *first = make_tables(5, 1), *second = make_tables(3, 2), *third = make_tables(1, 3);
	uint32_t side;

	(void)state;
	assert_int_equal(datapath_commit(datapath, first), 0);
	side = read_meta(datapath).side;
	assert_int_equal(datapath_commit(datapath, second), 0);
	assert_int_equal(read_meta(datapath).side, !side);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_RULE, side), 5); /* a packet may still be on it */
	assert_int_equal(count_side(datapath, DATAPATH_MAP_FRONTEND, side), 5);
	assert_int_equal(datapath_commit(datapath, third), 0);
	assert_int_equal(read_meta(datapath).side, side);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_RULE, side), 1);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_FRONTEND, side), 1);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_RULE, !side), 3);
	assert_live(datapath, third);
}

static void test_refused(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_(tables_free) struct tables *good = make_tables(4, 1), *bad = make_tables(4, 2);
	struct shunt_meta before, after;

	(void)state;
	strcpy(good->series[7].route, "default/r");
	strcpy(good->series[7].version, "v1");
	assert_int_equal(datapath_commit(datapath, good), 0);
	before = read_meta(datapath);

	bad->series[7] = good->series[7];
	bad->rule_count = SHUNT_RULES + 1;
	assert_int_equal(datapath_commit(datapath, bad), -E2BIG);
	bad->rule_count = 4;
	strcpy(bad->series[7].version, "v2"); /* its counters are v1's */
	assert_int_equal(datapath_commit(datapath, bad), -EINVAL);
	strcpy(bad->series[7].version, "");
	assert_int_equal(datapath_commit(datapath, bad), -EINVAL);
	bad->series[7] = good->series[7];
	bad->rules[3].length = sizeof(bad->rules[3].id) + 1;
	assert_int_equal(datapath_commit(datapath, bad), -E2BIG);

	after = read_meta(datapath);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_live(datapath, good);
}

static void test_full(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct tables tables = {};
	_cleanup_(tables_free) struct tables *some = make_tables(SHUNT_RULES, 1);

	(void)state;
	tables = *some;
	tables.frontend_count = SHUNT_FRONTENDS;
	tables.route_count = SHUNT_ROUTES;
	tables.split_count = SHUNT_SPLITS;
	tables.version_count = SHUNT_VERSIONS;
	tables.ring_count = SHUNT_RINGS;
	/* twice: both sides are full then */
	assert_int_equal(datapath_commit(datapath, &tables), 0);
	assert_int_equal(datapath_commit(datapath, &tables), 0);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_RULE, 0), SHUNT_RULES);
	assert_int_equal(count_side(datapath, DATAPATH_MAP_RULE, 1), SHUNT_RULES);
	assert_live(datapath, &tables);
}

static void test_restart(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_(tables_free) struct tables *tables = make_tables(6, 1);
	struct shunt_series series[SHUNT_SERIES];

	(void)state;
	strcpy(tables->series[0].route, "default/r");
	strcpy(tables->series[0].version, "v1");
	assert_int_equal(datapath_commit(datapath, tables), 0);
	datapath_close(&datapath);
	datapath = sandbox_open();
	assert_live(datapath, tables);
	assert_int_equal(read_meta(datapath).generation, 1);
	assert_int_equal(datapath_read_series(datapath, series), 0);
	assert_memory_equal(series, tables->series, sizeof(series));
}

struct reader {
	struct datapath *datapath;
	struct tables *plans[2];
	atomic_bool stop;
	unsigned int reads, torn;
};

static bool equals(const struct tables *got, const struct tables *want)
{
	return got->rule_count == want->rule_count && got->frontend_count == want->frontend_count && got->pod_count == want->pod_count &&
	       !memcmp(got->pods, want->pods, want->pod_count * sizeof(*want->pods)) && got->rules[0].value.split == want->rules[0].value.split &&
	       got->frontends[0].value.routes == want->frontends[0].value.routes;
}

static void *read_all_the_time(void *arg)
{
	struct reader *reader = arg;

	while (!atomic_load(&reader->stop)) {
		_cleanup_(tables_free) struct tables *got = NULL;

		if (datapath_read_tables(reader->datapath, &got))
			continue; /* it says so when commits come too fast */
		reader->reads++;
		reader->torn += !equals(got, reader->plans[0]) && !equals(got, reader->plans[1]);
	}
	return NULL;
}

static void test_reader_and_commits(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open(), *other = NULL;
	_cleanup_(tables_free) struct tables *one = make_tables(9, 1), *two = make_tables(4, 2);
	struct reader reader = { .plans = { one, two } };
	pthread_t thread;

	(void)state;
	assert_int_equal(datapath_commit(datapath, one), 0);
	assert_int_equal(datapath_open_pinned(sandbox_pins, &other), 0);
	reader.datapath = other;
	assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &reader), 0);
	for (int i = 0; i < 60; i++)
		assert_int_equal(datapath_commit(datapath, reader.plans[!(i % 2)]), 0);
	atomic_store(&reader.stop, true);
	pthread_join(thread, NULL);
	assert_true(reader.reads > 0);
	assert_int_equal(reader.torn, 0);
}

/* What the only version of the live plan puts into heads; NULL: nothing. */
static const char *live_text(struct datapath *datapath, struct tables **tables)
{
	uint16_t edit;

	tables_free(tables);
	assert_int_equal(datapath_read_tables(datapath, tables), 0);
	edit = (*tables)->versions[0].value.edit;
	assert_int_equal((*tables)->edit_count, SHUNT_EDITS);
	return edit ? (const char *)(*tables)->edits[edit - 1].text : NULL;
}

static void test_edits(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_(tables_free) struct tables *t = make_tables(1, 3), *live = NULL;
	uint16_t first;

	(void)state;
	t->edits = list(1, sizeof(*t->edits));
	t->edit_count = 1;
	t->versions[0].value.edit = 1;
	for (int i = 0; i < SHUNT_EDITS; i++) {
		t->edits[0].len = snprintf((char *)t->edits[0].text, sizeof(t->edits[0].text), "a: %u\r\n", i % 200 + 1000);
		assert_int_equal(datapath_commit(datapath, t), 0);
		assert_string_equal(live_text(datapath, &live), (char *)t->edits[0].text);
		assert_int_equal(live->versions[0].value.edit, i % 200 + 1); /* the same lines have the same place for ever */
	}
	first = live->versions[0].value.edit;
	for (int i = 200; i < SHUNT_EDITS; i++) {
		t->edits[0].len = snprintf((char *)t->edits[0].text, sizeof(t->edits[0].text), "b: %u\r\n", i);
		assert_int_equal(datapath_commit(datapath, t), 0);
		assert_string_equal(live_text(datapath, &live), (char *)t->edits[0].text);
	}
	assert_string_equal((char *)live->edits[first - 1].text, "a: 1055\r\n");
	/* No place is left: the version does without, and says so in the log; everything else is as planned. */
	snprintf((char *)t->edits[0].text, sizeof(t->edits[0].text), "c: 1234\r\n");
	assert_int_equal(datapath_commit(datapath, t), 0);
	assert_null(live_text(datapath, &live));
	assert_int_equal(live->pod_count, 1);
}

#define TEST(f, name) { name, f, NULL, sandbox_unload, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_read_back, "what is committed is read back, whatever was there before"),
		TEST(test_flip, "a commit leaves the side it replaces alone until the next one"),
		TEST(test_refused, "a plan that does not fit, or renames a series, changes nothing"),
		TEST(test_full, "a plan as large as the tables fits, twice"),
		TEST(test_restart, "a restart finds tables and names"),
		TEST(test_edits, "lines for heads keep their place, and none is used twice"),
		TEST(test_reader_and_commits, "a reader never sees a mixture of two plans"),
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
