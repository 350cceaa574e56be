/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/plan_text.h"
#include "util/cleanup.h"

#define SERVICE(name, ip, pod) \
	"---\n{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {clusterIPs: [" ip \
	"], ports: [{port: 80, targetPort: 8080}]}}\n" \
	"---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: " name \
	"-1, labels: {kubernetes.io/service-name: " name "}}, endpoints: [" pod "], ports: [{port: 8080}]}\n"

#define LINES "{request: {set: {Host: h}, remove: [X]}, response: {set: {a: b}, add: {c: d}}}"
static const char manifests[] = SERVICE("v1", "10.0.0.11", "{addresses: [10.1.0.1]}, {addresses: [10.1.0.2]}") SERVICE(
	"v2", "10.0.0.12",
	"{addresses: [10.2.0.1]}") "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r, annotations: {shunt.dev/frontend: '10.0.0.1:80,[fd00::1]:80'}}, spec: {hosts: [a.example, '*.b.example'], "
				   "http: [{match: [{headers: {user: {prefix: a}}}, {headers: {user: {exact: bob}}}], route: [{destination: {host: v2}, headers: " LINES "}]}, "
				   "{route: [{destination: {host: v1}, weight: 75}, {destination: {host: v2}, weight: 25, headers: " LINES "}]}]}}\n"
				   "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: s, annotations: {shunt.dev/frontend: '10.0.0.2:5432'}}, spec: {hosts: ['*'], "
				   "tcp: [{route: [{destination: {host: v1}}]}]}}\n";

static struct world *world;
static struct tables *tables;

static int set_up(void **state)
{
	(void)state;
	world = world_of(manifests);
	tables = plan_of(world, NULL, 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tables_free(&tables);
	world_free(&world);
	return 0;
}

static void assert_json(const json_t *found, const char *expected)
{
	_cleanup_free_ char *text = json_dumps(found, JSON_ENCODE_ANY);

	assert_string_equal(text, expected);
}

static void frontends_say_who_comes_in_and_who_a_user_is(void **state)
{
	_cleanup_json_ json_t *found = view_frontends(tables);

	(void)state;
#define R \
	"\"kind\": \"request\", \"routes\": [\"default/r\"], \"hosts\": [\"a.example\", \"*.b.example\"], \"identities\": [\"header:user\"]"
	assert_json(
		found,
		"[{\"address\": \"10.0.0.1:80\", " R "}, {\"address\": \"[fd00::1]:80\", " R "}, "
		"{\"address\": \"10.0.0.2:5432\", \"kind\": \"connection\", \"routes\": [\"default/s\"], \"hosts\": [\"*\"], \"identities\": [\"client\"]}]");
}

static void versions_say_their_share_rules_and_pods(void **state)
{
	_cleanup_json_ json_t *found = view_versions(tables);

	(void)state;
	assert_int_equal(json_array_size(found), 3);
	assert_json(
		json_array_get(found, 0),
		"{\"series\": 0, \"route\": \"default/r\", \"version\": \"v2.default\", \"share\": 0.25, \"rules\": 2, \"pods\": [\"10.2.0.1:8080\"], \"request_lines\": [\"Host: h\", \"-x\"], \"response_lines\": [\"a: b\", \"c: d\"]}");
	assert_json(json_object_get(json_array_get(found, 1), "response_lines"), "[]");
	assert_json(json_object_get(json_array_get(found, 1), "share"), "0.75");
	assert_int_equal(json_array_size(json_object_get(json_array_get(found, 1), "pods")), 2);
	assert_json(json_object_get(json_array_get(found, 2), "share"), "1.0");
	assert_json(json_object_get(json_array_get(found, 2), "route"), "\"default/s\"");
}

static void conditions_are_told_apart(void **state)
{
	static const struct {
		struct shunt_condition condition;
		const char *text;
	} rows[] = {
		{ { .subject = SHUNT_ON_METHOD, .how = SHUNT_IS_EQUAL, .len = 3, .value = "GET" }, "method=GET" },
		{ { .subject = SHUNT_ON_PATH, .how = SHUNT_BEGINS_PATH, .len = 2, .value = "/a" }, "path=/a/*" },
		{ { .subject = SHUNT_ON_PATH, .how = SHUNT_BEGINS_WITH, .flags = SHUNT_C_ANY_CASE, .len = 2, .value = "/a" }, "path=/a* (any case)" },
		{ { .subject = SHUNT_ON_HOST, .how = SHUNT_IS_EQUAL, .flags = SHUNT_C_ANY_CASE, .len = 1, .value = "h" }, "host=h" },
		{ { .subject = SHUNT_ON_HEADER, .how = SHUNT_IS_THERE, .flags = SHUNT_C_NOT, .name_len = 1, .name = "b" }, "!header:b" },
		{ { .subject = SHUNT_ON_QUERY, .how = SHUNT_IS_EQUAL, .name_len = 1, .name = "q" }, "query:q=" },
		{ { .subject = 99, .how = 99 }, "?=?" }, /* tables may be read while they are replaced */
	};
	struct shunt_condition many[SHUNT_CONDITIONS_PER_ENTRY];
	const struct tables some = { .conditions = many, .condition_count = ARRAY_SIZE(many) };
	char text[VIEW_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(view_condition(&rows[i].condition, text), rows[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct shunt_condition){ .subject = SHUNT_ON_HEADER, .how = SHUNT_IS_EQUAL, .len = 60, .value = "0123456789012345678901234567890123456789012345678901234567890" };
	assert_string_equal(view_entry(&some, &(struct shunt_entry){ .condition = 15, .conditions = 2 }, text), view_condition(&many[15], (char[VIEW_TEXT_MAX]){}));
	view_entry(&some, &(struct shunt_entry){ .conditions = ARRAY_SIZE(many) }, text);
	assert_string_equal(text + strlen(text) - 4, " ...");
	assert_non_null(strstr(text, " and "));
}

static void rules_are_told_apart(void **state)
{
	char text[VIEW_TEXT_MAX];

	(void)state;
	assert_string_equal(view_rule(&tables->rules[0], text), "a*");
	assert_string_equal(view_rule(&tables->rules[1], text), "=bob");
}

static void indices_out_of_range_are_survived(void **state)
{
	(void)state;
	assert_null(view_series(tables, SHUNT_NONE));
	assert_string_equal(view_route_name(tables, SHUNT_NONE), "?");
	assert_true(view_share(tables, SHUNT_NONE, 0) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frontends_say_who_comes_in_and_who_a_user_is),
		cmocka_unit_test(versions_say_their_share_rules_and_pods),
		cmocka_unit_test(conditions_are_told_apart),
		cmocka_unit_test(rules_are_told_apart),
		cmocka_unit_test(indices_out_of_range_are_survived),
	};

	return cmocka_run_group_tests_name("agent/view", tests, set_up, tear_down);
}
