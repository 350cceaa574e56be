/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "world/manifest.h"

static const char text[] = "{apiVersion: iter8.tools/v2alpha2, kind: Metric, metadata: {name: m}, spec: {units: in-default}}\n---\n"
			   "{apiVersion: iter8.tools/v2alpha2, kind: Metric, metadata: {name: m, namespace: a}, spec: {units: in-a}}\n---\n"
			   "{apiVersion: v1, kind: Service, metadata: {name: s, namespace: a}, spec: {}}\n---\n"
			   "{apiVersion: iter8.tools/v2alpha2, kind: Experiment, metadata: {name: e, namespace: a}, spec: {target: t, strategy: {testingPattern: Canary}}}\n";

static int setup(void **state)
{
	struct manifest_documents documents = {};
	struct manifest_errors errors = {};
	struct world *world = calloc(1, sizeof(*world));

	assert_int_equal(manifest_parse("w.yaml", text, strlen(text), 0, &documents, &errors), 0);
	for (size_t i = 0; i < documents.count; i++)
		assert_int_equal(manifest_decode(&documents.items[i], world, &errors), 0);
	manifest_documents_release(&documents);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	world_free((struct world **)state);
	assert_null(*state);
	return 0;
}

static void test_a_metric_is_found_by_bare_and_by_full_name(void **state)
{
	static const struct {
		const char *ns, *reference, *want; /* units; NULL: not found */
	} rows[] = {
		{ "default", "m", "in-default" }, { NULL, "m", "in-default" }, { "", "m", "in-default" }, { "a", "m", "in-a" },
		{ "default", "a/m", "in-a" },     { "a", "default/m", "in-default" }, { "a", "/m", "in-default" },
		{ "b", "m", NULL },               { "default", "b/m", NULL },  { "default", "n", NULL },  { "default", "a/m/x", NULL },
		{ "default", "", NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct metric *metric = world_metric(*state, rows[i].ns, rows[i].reference);

		if (!metric != !rows[i].want || (metric && strcmp(metric->units, rows[i].want) != 0))
			fail_msg("%s from %s is %s", rows[i].reference, rows[i].ns ? rows[i].ns : "NULL", metric ? metric->units : "not found");
	}
}

static void test_objects_are_found_by_namespace_and_name(void **state)
{
	assert_non_null(world_service(*state, "a", "s"));
	assert_null(world_service(*state, NULL, "s"));
	assert_null(world_service(*state, "a", "t"));
	assert_non_null(world_experiment(*state, "a", "e"));
	assert_null(world_experiment(*state, "default", "e"));
}

static void test_freeing_no_world_is_fine(void **state)
{
	struct world *none = NULL;

	(void)state;
	world_free(&none);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_metric_is_found_by_bare_and_by_full_name),
		cmocka_unit_test(test_objects_are_found_by_namespace_and_name),
		cmocka_unit_test(test_freeing_no_world_is_fine),
	};

	return cmocka_run_group_tests_name("world", tests, setup, teardown);
}
