/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../../lib/plan_text.h"
#include "util/cleanup.h"

#define SERVICE(ns, name, ip) \
	"---\n{apiVersion: v1, kind: Service, metadata: {namespace: " ns ", name: " name "}, spec: {clusterIPs: [" ip \
	"], ports: [{port: 80}]}}\n"
#define VS(name, frontend, route) \
	"---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: " name \
	", annotations: {shunt.dev/frontend: '" frontend ":80'}}, spec: {hosts: ['*'], http: [{route: [" route "]}]}}\n"
#define TO(host, version) "{destination: {host: " host "}, weight: 1, headers: {response: {set: {version: " version "}}}}"
#define TO_UNNAMED(host) "{destination: {host: " host "}, weight: 1}"

#define SERVICES SERVICE("ns-a", "app", "10.0.0.1") SERVICE("ns-b", "app", "10.0.0.2") SERVICE("default", "app", "10.0.0.3")

static struct version_detail version(const char *name, struct variable *variable)
{
	return (struct version_detail){ .name = (char *)name, .variables = variable, .variable_count = variable ? 1 : 0 };
}

struct resolve_case {
	const char *sentence, *yaml, *baseline, *candidate;
	const char *baseline_ns, *candidate_ns; /* variable ns; NULL: not set */
	const char *expected;			/* "route: series, series" */
	const char *notes;
};

static const struct resolve_case cases[] = {
	{ "versions are found by name", SERVICES VS("r", "10.9.0.1", TO("app.ns-a", "v1") ", " TO("app.ns-b", "v2")), "v1", "v2", NULL,
	  NULL, "default/r: default/r v1, default/r v2", "" },
	{ "without a version of that name, the variable ns finds it",
	  SERVICES VS("r", "10.9.0.1", TO_UNNAMED("app.ns-a") ", " TO_UNNAMED("app.ns-b")), "v1", "v2", "ns-a", "ns-b",
	  "default/r: default/r app.ns-a, default/r app.ns-b", "" },
	{ "a name is stronger than a namespace", SERVICES VS("r", "10.9.0.1", TO("app.ns-a", "v1") ", " TO("app.ns-b", "v2")), "v2", "v1",
	  "ns-a", "ns-b", "default/r: default/r v2, default/r v1", "" },
	{ "the route that has them all wins over one that has some",
	  SERVICES VS("a", "10.9.0.1", TO("app.ns-a", "v1")) VS("b", "10.9.0.2", TO("app.ns-a", "v1") ", " TO("app.ns-b", "v2")), "v1",
	  "v2", NULL, NULL, "default/b: default/b v1, default/b v2", "" },
	{ "two routes that have them all are ambiguous",
	  SERVICES VS("a", "10.9.0.1", TO("app.ns-a", "v1") ", " TO("app.ns-b", "v2"))
		  VS("b", "10.9.0.2", TO("app.ns-a", "v1") ", " TO("app.ns-b", "v2")),
	  "v1", "v2", NULL, NULL, "-: -, -",
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo.baseline: version 'v1' could be 'v1' of default/a, 'v1' of default/b; give the versions of different routes different names\n"
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo.candidates[0]: version 'v2' could be 'v2' of default/a, 'v2' of default/b; give the versions of different routes different names\n" },
	{ "a version that is nowhere", SERVICES VS("r", "10.9.0.1", TO("app.ns-a", "v1")), "v1", "v2", NULL, "ns-c", "-: default/r v1, -",
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo.candidates[0]: no route has a version 'v2' (headers.response.set.version, subset or service.namespace), nor one in the namespace "
	  "of its variable ns (ns-c)\n" },
	{ "versions on different routes", SERVICES VS("a", "10.9.0.1", TO("app.ns-a", "v1")) VS("b", "10.9.0.2", TO("app.ns-b", "v2")),
	  "v1", "v2", NULL, NULL, "-: default/a v1, default/b v2",
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo: the versions are on different routes; one VirtualService must route to all of them\n" },
	{ "a route that steers nothing has no versions",
	  SERVICES
	  "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r}, spec: {hosts: [nowhere], http: [{route: [" TO(
		  "app.ns-a", "v1") "]}]}}\n",
	  "v1", "v1", NULL, NULL, "-: -, -",
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo.baseline: no route has a version 'v1' (headers.response.set.version, subset or service.namespace), nor one in the namespace of its "
	  "variable ns (not set)\n"
	  "error exp.yaml:3 Experiment default/exp spec.versionInfo.candidates[0]: no route has a version 'v1' (headers.response.set.version, subset or service.namespace), nor one in the namespace "
	  "of its variable ns (not set)\n" },
};

static char *result_text(const struct tables *tables, const char *route, const int *series, size_t count)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fprintf(out, "%s:", route ? route : "-");
	for (size_t i = 0; i < count; i++) {
		fprintf(out, "%s ", i ? "," : "");
		if (series[i] < 0)
			fputc('-', out);
		else
			fprintf(out, "%s %s", tables->series[series[i]].route, tables->series[series[i]].version);
	}
	fclose(out);
	return text;
}

static void check(const struct resolve_case *c)
{
	struct world *world = world_of(c->yaml);
	struct tables *tables = plan_of(world, NULL, 0);
	struct variable ns[2] = { { (char *)"ns", (char *)c->baseline_ns }, { (char *)"ns", (char *)c->candidate_ns } };
	struct version_detail versions[2] = { version(c->baseline, c->baseline_ns ? &ns[0] : NULL),
					      version(c->candidate, c->candidate_ns ? &ns[1] : NULL) };
	struct experiment experiment = {
		.meta = { .ns = (char *)"default", .name = (char *)"exp", .file = (char *)"exp.yaml", .line = 3 },
		.versions = versions,
		.version_count = 2,
	};
	_cleanup_free_ char *route = NULL, *result = NULL, *text = NULL;
	struct plan_note *notes;
	size_t note_count;
	int series[2];

	assert_int_equal(plan_resolve_versions(world, tables, &experiment, series, &route, &notes, &note_count), 0);
	result = result_text(tables, route, series, 2);
	text = plan_notes_text(notes, note_count);
	if (strcmp(result, c->expected) != 0 || strcmp(text, c->notes) != 0)
		print_error("case: %s\n", c->sentence);
	assert_string_equal(result, c->expected);
	assert_string_equal(text, c->notes);
	notes_free(&notes, note_count);
	tables_free(&tables);
	world_free(&world);
}

static void an_experiments_versions_are_those_of_one_route(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		check(&cases[i]);
}

static void a_series_that_is_left_over_is_not_resolved(void **state)
{
	static const struct shunt_series left_over[SHUNT_SERIES] = { { "default/r", "v1" } };
	static const uint8_t key[16];
	struct version_detail detail = version("v1", NULL);
	struct experiment experiment = { .meta = { .ns = (char *)"default", .name = (char *)"exp", .file = (char *)"exp.yaml" },
					 .versions = &detail,
					 .version_count = 1 };
	struct world *world = world_of(
		SERVICES
		"---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r}, spec: {hosts: [nowhere], http: [{route: [" TO(
			"app.ns-a", "v1") "]}]}}\n");
	struct plan_note *notes;
	struct tables *tables;
	size_t note_count;
	char *route;
	int series;

	(void)state;
	assert_int_equal(plan(world, NULL, NULL, 0, left_over, key, &tables), 0);
	assert_int_equal(plan_resolve_versions(world, tables, &experiment, &series, &route, &notes, &note_count), 0);
	assert_int_equal(series, -1);
	assert_null(route);
	notes_free(&notes, note_count);
	tables_free(&tables);
	world_free(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_experiments_versions_are_those_of_one_route),
		cmocka_unit_test(a_series_that_is_left_over_is_not_resolved),
	};

	return cmocka_run_group_tests_name("agent/plan/resolve", tests, NULL, NULL);
}
