/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/manifest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

#define SAMPLE "deploy/samples/session-affinity/"
#define GATEWAY_SAMPLE "deploy/samples/gateway-api/route.yaml"
#define MTIME 1622600000

/* A world, what was wrong, and all of that freed at the end of the test. */
struct decoded {
	struct world *world;
	struct manifest_errors errors;
};

static void decoded_release(struct decoded *d)
{
	world_free(&d->world);
	manifest_errors_release(&d->errors);
}

#define _cleanup_decoded_ _cleanup_(decoded_release)

static void decode_more(struct decoded *d, const char *file, const char *text)
{
	struct manifest_documents documents = {};

	assert_int_equal(manifest_parse(file, text, strlen(text), MTIME, &documents, &d->errors), 0);
	for (size_t i = 0; i < documents.count; i++) {
		size_t errors = d->errors.count;
		int r = manifest_decode(&documents.items[i], d->world, &d->errors);

		assert_int_equal(r, d->errors.count > errors ? -EINVAL : 0);
	}
	manifest_documents_release(&documents);
}

static struct decoded decode(const char *text)
{
	struct decoded d = { .world = calloc(1, sizeof(struct world)) };

	decode_more(&d, "m.yaml", text);
	return d;
}

static char *read_sample(const char *path)
{
	_cleanup_file_ FILE *file = fopen(path, "r");
	char *text = NULL;
	size_t size = 0;

	if (!file)
		fail_msg("%s is not there: run from the top of the tree", path);
	assert_true(getdelim(&text, &size, '\0', file) > 0);
	return text;
}

static struct decoded decode_sample(const char *path)
{
	_cleanup_free_ char *text = read_sample(path);
	struct decoded d = { .world = calloc(1, sizeof(struct world)) };

	decode_more(&d, path, text);
	for (size_t i = 0; i < d.errors.count; i++)
		print_error("%s:%d %s: %s\n", d.errors.items[i].file, d.errors.items[i].line, d.errors.items[i].path, d.errors.items[i].message);
	assert_int_equal(d.errors.count, 0);
	return d;
}

/* ---- the tutorial */

/* "set name: value", "add ..." and "remove name", one a line. */
static void assert_edit(const struct header_edit *edit, const char *want)
{
	static const char *const how[] = { [LINE_SET] = "set", [LINE_ADD] = "add", [LINE_REMOVE] = "remove" };
	char text[1024];
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < edit->count; i++) {
		const struct header_line *line = &edit->lines[i];

		len += snprintf(text + len, sizeof(text) - len, "%s %s%s%s\n", how[line->how], line->name, line->value ? ": " : "",
				line->value ? line->value : "");
		assert_true(len < sizeof(text));
	}
	assert_string_equal(text, want);
}

static void assert_destination(const struct http_route *route, const char *host, const char *version, const char *request, const char *response)
{
	assert_int_equal(route->destination_count, 1);
	assert_string_equal(route->destinations[0].host, host);
	assert_string_equal(route->destinations[0].version, version);
	assert_string_equal(route->destinations[0].subset, "");
	assert_int_equal(route->destinations[0].port, 0);
	assert_int_equal(route->destinations[0].weight, 100);
	assert_edit(&route->destinations[0].headers.request, request);
	assert_edit(&route->destinations[0].headers.response, response);
	assert_int_equal(route->unsupported_count, 0);
}

static void test_the_tutorials_virtual_service_is_understood_as_written(void **state)
{
	_cleanup_decoded_ struct decoded d = decode_sample(SAMPLE "routing-rule.yaml");
	const struct virtual_service *vs = d.world->virtual_services;

	(void)state;
	assert_int_equal(d.world->virtual_service_count, 1);
	assert_string_equal(vs->meta.ns, "default");
	assert_string_equal(vs->meta.name, "routing-rule");
	assert_string_equal(vs->meta.file, SAMPLE "routing-rule.yaml");
	assert_int_equal(vs->meta.line, 1);
	assert_int_equal(vs->meta.created, MTIME);
	assert_null(vs->meta.annotations);
	assert_non_null(json_object_get(vs->meta.document, "spec"));
	assert_int_equal(vs->host_count, 1);
	assert_string_equal(vs->hosts[0], "example.com");
	assert_int_equal(vs->gateway_count, 1);
	assert_string_equal(vs->gateways[0], "knative-serving/knative-ingress-gateway");
	assert_int_equal(vs->tcp_count, 0);
	assert_int_equal(vs->unsupported_count, 0);

	assert_int_equal(vs->http_count, 2);
	assert_int_equal(vs->http[0].line, 12);
	assert_int_equal(vs->http[0].match_count, 1);
	assert_int_equal(vs->http[0].matches[0].unsupported_count, 0);
	assert_int_equal(vs->http[0].matches[0].header_count, 1);
	assert_string_equal(vs->http[0].matches[0].headers[0].name, "userhash");
	assert_int_equal(vs->http[0].matches[0].headers[0].kind, MATCH_PREFIX);
	assert_string_equal(vs->http[0].matches[0].headers[0].value, "101");
	assert_destination(&vs->http[0], "flowers-predictor-default.ns-candidate.svc.cluster.local", "flowers-v2",
			   "set Host: flowers-predictor-default.ns-candidate\n", "set version: flowers-v2\n");
	assert_int_equal(vs->http[1].line, 26);
	assert_int_equal(vs->http[1].match_count, 0);
	assert_destination(&vs->http[1], "flowers-predictor-default.ns-baseline.svc.cluster.local", "flowers-v1",
			   "set Host: flowers-predictor-default.ns-baseline\n", "set version: flowers-v1\n");
}

static void assert_version(const struct version_detail *version, const char *name, const char *ns, const char *promote)
{
	assert_string_equal(version->name, name);
	assert_null(version->weight_obj_ref);
	assert_int_equal(version->variable_count, 2);
	assert_string_equal(version->variables[0].name, "ns");
	assert_string_equal(version->variables[0].value, ns);
	assert_string_equal(version->variables[1].name, "promote");
	assert_string_equal(version->variables[1].value, promote);
}

static void assert_objective(const struct objective *objective, const char *metric, double upper)
{
	assert_string_equal(objective->metric, metric);
	assert_true(objective->has_upper);
	assert_true(objective->upper == upper);
	assert_false(objective->has_lower);
	assert_false(objective->rollback_on_failure);
}

static void test_the_tutorials_experiment_is_understood_as_written(void **state)
{
	_cleanup_decoded_ struct decoded d = decode_sample(SAMPLE "experiment.yaml");
	const struct experiment *e = world_experiment(d.world, NULL, "session-affinity-exp");
	const struct task *task;

	(void)state;
	assert_int_equal(d.world->experiment_count, 1);
	assert_non_null(e);
	assert_string_equal(e->meta.ns, "default");
	assert_string_equal(e->target, "flowers");
	assert_int_equal(e->testing, TESTING_AB);
	assert_int_equal(e->deployment, DEPLOYMENT_FIXED_SPLIT);
	assert_true(e->deployment_set);
	assert_int_equal(e->max_candidate_weight, 100);
	assert_int_equal(e->max_candidate_weight_increment, 10);

	assert_int_equal(e->action_count, 1);
	assert_string_equal(e->actions[0].name, "finish");
	assert_int_equal(e->actions[0].task_count, 1);
	task = &e->actions[0].tasks[0];
	assert_string_equal(task->name, "common/exec");
	assert_string_equal(task->path, "spec.strategy.actions.finish[0]");
	assert_null(task->run);
	assert_null(task->condition);
	assert_string_equal(json_string_value(json_object_get(task->with, "cmd")), "/bin/bash");
	assert_string_equal(json_string_value(json_array_get(json_object_get(task->with, "args"), 1)), "kubectl apply -f {{ .promote }}");

	assert_string_equal(e->request_count, "iter8-kfserving/request-count");
	assert_int_equal(e->reward_count, 1);
	assert_string_equal(e->rewards[0].metric, "iter8-kfserving/user-engagement");
	assert_true(e->rewards[0].high);
	assert_int_equal(e->indicator_count, 0);
	assert_false(e->strength.given);
	assert_int_equal(e->objective_count, 3);
	assert_objective(&e->objectives[0], "iter8-kfserving/mean-latency", 2000);
	assert_objective(&e->objectives[1], "iter8-kfserving/95th-percentile-tail-latency", 5000);
	assert_objective(&e->objectives[2], "iter8-kfserving/error-rate", 0.01);

	assert_int_equal(e->interval_seconds, 10);
	assert_int_equal(e->iterations_per_loop, 10);
	assert_int_equal(e->max_loops, 1);
	assert_int_equal(e->version_count, 2);
	assert_version(&e->versions[0], "flowers-v1", "ns-baseline",
		       "https://raw.githubusercontent.com/iter8-tools/iter8/master/samples/kfserving/quickstart/promote-v1.yaml");
	assert_version(&e->versions[1], "flowers-v2", "ns-candidate",
		       "https://raw.githubusercontent.com/iter8-tools/iter8/master/samples/kfserving/quickstart/promote-v2.yaml");
}

static void test_the_demos_services_and_pods_are_understood(void **state)
{
	_cleanup_decoded_ struct decoded services = decode_sample(SAMPLE "services.yaml");
	_cleanup_decoded_ struct decoded slices = decode_sample(SAMPLE "endpoints.yaml");
	const struct service *gateway = world_service(services.world, "istio-system", "istio-ingressgateway");
	const struct service *candidate = world_service(services.world, "ns-candidate", "flowers-predictor-default");
	const struct endpoint_slice *last = &slices.world->slices[3];

	(void)state;
	assert_int_equal(services.world->service_count, 3);
	assert_non_null(gateway);
	assert_string_equal(json_string_value(json_object_get(gateway->meta.annotations, "shunt.dev/gateway")), "knative-serving/knative-ingress-gateway");
	assert_int_equal(gateway->address_count, 2);
	assert_string_equal(gateway->addresses[0], "10.96.0.10");
	assert_string_equal(gateway->addresses[1], "fd00:96::10");
	assert_int_equal(gateway->ports[0].port, 80);
	assert_int_equal(gateway->ports[0].target, 8080);
	assert_true(gateway->ports[0].tcp);
	assert_non_null(candidate);
	assert_int_equal(candidate->ports[0].target, 8081);
	assert_null(world_service(services.world, "default", "flowers-predictor-default"));

	assert_int_equal(slices.world->slice_count, 4);
	assert_string_equal(last->meta.ns, "ns-candidate");
	assert_string_equal(last->service, "flowers-predictor-default");
	assert_true(last->ipv6);
	assert_int_equal(last->endpoint_count, 1);
	assert_string_equal(last->endpoints[0].addresses[0], "fd00:77:4::2");
	assert_true(last->endpoints[0].ready && last->endpoints[0].serving && !last->endpoints[0].terminating);
	assert_int_equal(last->port_count, 1);
	assert_string_equal(last->ports[0].name, "http");
	assert_int_equal(last->ports[0].port, 8081);
	assert_false(slices.world->slices[2].ipv6);
}

static void test_the_tutorials_reward_metric_is_understood(void **state)
{
	_cleanup_decoded_ struct decoded d = decode_sample(SAMPLE "metrics.yaml");
	const struct metric *m = world_metric(d.world, "default", "iter8-kfserving/user-engagement");

	(void)state;
	assert_non_null(m);
	assert_ptr_equal(world_metric(d.world, "iter8-kfserving", "user-engagement"), m); /* a bare name: in the experiment's own namespace */
	assert_null(world_metric(d.world, "default", "user-engagement"));
	assert_string_equal(m->description, "Average duration of a session");
	assert_string_equal(m->provider, "newrelic");
	assert_string_equal(m->units, "");
	assert_int_equal(m->type, METRIC_GAUGE);
	assert_int_equal(m->param_count, 1);
	assert_string_equal(m->params[0].name, "nrql");
	assert_string_equal(m->params[0].value, "SELECT average(duration) FROM Sessions WHERE version='$name' SINCE $elapsedTime sec ago\n");
	assert_int_equal(m->header_count, 1);
	assert_string_equal(m->headers[0].value, "t0p-secret-api-key");
	assert_string_equal(m->url, "http://127.0.0.1:8091/newrelic");
	assert_string_equal(m->jq, ".results[0] | .[] | tonumber");
	assert_null(m->body);
	assert_false(m->post);
	assert_int_equal(m->auth, AUTH_NONE);
	assert_null(m->secret);
	assert_null(m->sample_size);
	assert_int_equal(m->mock_count, 0);
}

static void test_the_promotions_send_everyone_to_one_version(void **state)
{
	static const struct {
		const char *path, *host, *version, *request, *response;
	} rows[] = {
		{ SAMPLE "promote/promote-v1.yaml", "flowers-predictor-default.ns-baseline.svc.cluster.local", "flowers-v1",
		  "set Host: flowers-predictor-default.ns-baseline\n", "set version: flowers-v1\n" },
		{ SAMPLE "promote/promote-v2.yaml", "flowers-predictor-default.ns-candidate.svc.cluster.local", "flowers-v2",
		  "set Host: flowers-predictor-default.ns-candidate\n", "set version: flowers-v2\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_decoded_ struct decoded d = decode_sample(rows[i].path);
		const struct virtual_service *vs = d.world->virtual_services;

		assert_string_equal(vs->meta.name, "routing-rule");
		assert_int_equal(vs->http_count, 1);
		assert_int_equal(vs->http[0].match_count, 0);
		assert_destination(&vs->http[0], rows[i].host, rows[i].version, rows[i].request, rows[i].response);
	}
}

/* ---- mistakes */

#define HR "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n"                          /* 5 */
#define GW "apiVersion: gateway.networking.k8s.io/v1beta1\nkind: Gateway\nmetadata: {name: g}\nspec:\n"                        /* 5 */
#define VS "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {name: r}\nspec:\n"                /* the next line is 5 */
#define ROUTE "  hosts: [example.com]\n  http:\n  - route: [{destination: {host: a}}]\n"                                  /* 5 to 7 */
#define EXP "apiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: e}\nspec:\n"                            /* 5 */
#define TARGET "  target: t\n  strategy: {testingPattern: A/B}\n"                                                         /* 5 and 6 */
#define METRIC "apiVersion: iter8.tools/v2alpha2\nkind: Metric\nmetadata: {name: m}\nspec:\n"                             /* 5 */
#define SERVICE "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec:\n"                                             /* 5 */
#define SLICE "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s\n  labels: {kubernetes.io/service-name: s}\n" /* 6 */
#define STRENGTH(text) EXP TARGET "  criteria:\n    strength:\n      " text "\n"                                       /* 9 */
#define LIMITS(text) EXP TARGET "  criteria:\n    objectives:\n    - metric: m\n      " text "\n"                         /* 10 */

static const struct {
	const char *text;
	int line;
	const char *path, *found, *allowed; /* parts of the message */
} bad_rows[] = {
	/* documents */
	{ "just text\n", 1, "", "found text \"just text\"", "apiVersion and kind" },
	{ "- a\n", 1, "", "found a list", "" },
	{ "a: [\n", 2, "", "not YAML", "" },
	{ "apiVersion: v1\nmetadata: {name: x}\n", 1, "kind", "missing", "" },
	{ "\nkind: Service\n", 2, "apiVersion", "missing", "" },
	{ "apiVersion: apps/v1\nkind: Deployment\n", 2, "kind", "found apps/v1 Deployment", "discovery.k8s.io/v1 EndpointSlice" },
	{ "apiVersion: networking.istio.io/v2\nkind: VirtualService\n", 1, "apiVersion", "found networking.istio.io/v2 VirtualService",
	  "networking.istio.io/v1alpha3, networking.istio.io/v1beta1, networking.istio.io/v1" },
	{ "apiVersion: v1\nkind: List\nitems: 5\n", 1, "items", "found no list", "" },
	{ "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Service\n  metadata: {name: s}\n  spec:\n    porst: []\n",
	  8, "items[0].spec.porst",
	  "unknown field \"porst\"", "did you mean \"ports\"?" },
	/* metadata */
	{ "apiVersion: v1\nkind: Service\nspec: {}\n", 1, "metadata", "missing", "required" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {namespace: x}\nspec: {}\n", 3, "metadata.name", "missing", "required" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {name: ../x}\nspec: {}\n", 3, "metadata.name", "found text \"../x\"", "lower case letters" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a.b}\nspec: {}\n", 3, "metadata.namespace", "found text \"a.b\"", "" },
	{ "apiVersion: v1\nkind: Service\nmetadata:\n  name: s\n  annotations:\n    shunt.dev/x: 1\nspec: {}\n",
	  6, "metadata.annotations[shunt.dev/x]",
	  "found integer 1", "text; quote it" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {name: s, lables: {}}\nspec: {}\n", 3, "metadata.lables", "unknown field \"lables\"",
	  "\"labels\"" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {name: s, creationTimestamp: now}\nspec: {}\n", 3, "metadata.creationTimestamp",
	  "\"now\"", "2021-" },
	{ "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspecs: {}\nspec: {}\n", 4, "specs", "unknown field \"specs\"",
	  "did you mean \"spec\"?" },
	/* VirtualService */
	{ VS "  http:\n  - route: [{destination: {host: a}}]\n", 4, "spec.hosts", "missing", "required" },
	{ VS "  hosts: []\n  http:\n  - route: [{destination: {host: a}}]\n", 5, "spec.hosts", "found an empty list", "at least one" },
	{ VS "  hosts: example.com\n  http:\n  - route: [{destination: {host: a}}]\n", 5, "spec.hosts", "found text \"example.com\"", "a list" },
	{ VS "  hosts: [a, '']\n  http:\n  - route: [{destination: {host: a}}]\n", 5, "spec.hosts[1]", "found an empty text", "" },
	{ VS "  hosts: [example.com]\n", 4, "spec", "found no routes", "http, tcp, tls" },
	{ VS ROUTE "  gateway: x\n", 8, "spec.gateway", "unknown field", "did you mean \"gateways\"?" },
	{ HR "  rules: []\n", 5, "spec.rules", "empty", "at least one" },
	{ HR "  rules:\n  - matches: [{path: {type: Prefix}}]\n    backendRefs: [{name: a, port: 80}]\n", 6, "spec.rules[0].matches[0].path.type", "\"Prefix\"", "Exact, PathPrefix, RegularExpression" },
	{ HR "  rules:\n  - matches: [{path: {value: a}}]\n    backendRefs: [{name: a, port: 80}]\n", 6, "spec.rules[0].matches[0].path.value", "\"a\"", "begins with /" },
	{ HR "  rules:\n  - matches: [{method: get}]\n    backendRefs: [{name: a, port: 80}]\n", 6, "spec.rules[0].matches[0].method", "\"get\"", "GET, HEAD" },
	{ HR "  rules:\n  - matches: [{headers: [{name: 'a b', value: c}]}]\n    backendRefs: [{name: a, port: 80}]\n", 6, "spec.rules[0].matches[0].headers[0].name", "\"a b\"", "name of a header" },
	{ HR "  rules:\n  - matches: [{headers: [{name: a}]}]\n    backendRefs: [{name: a, port: 80}]\n", 6, "spec.rules[0].matches[0].headers[0].value", "missing", "required" },
	{ HR "  rules:\n  - backendRefs: [{name: a}]\n", 6, "spec.rules[0].backendRefs[0].port", "missing", "required" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80, kind: Bucket}]\n", 6, "spec.rules[0].backendRefs[0].kind", "\"Bucket\"", "Service" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80, weight: 0}]\n", 6, "spec.rules[0].backendRefs", "weights are all 0", "at least one" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80}]\n    filters: [{type: Rewrite}]\n", 7, "spec.rules[0].filters[0].type", "\"Rewrite\"", "URLRewrite" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80}]\n    filters: [{type: RequestRedirect}]\n", 7, "spec.rules[0].filters[0].requestRedirect", "missing", "RequestRedirect" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80}]\n    sessionPersistence: {type: Cookie}\n", 7, "spec.rules[0].sessionPersistence.sessionName", "missing", "required" },
	{ GW "  gatewayClassName: shunt\n  listeners: [{name: a, port: 80, protocol: http}]\n", 6, "spec.listeners[0].protocol", "\"http\"", "HTTP, HTTPS" },
	{ GW "  gatewayClassName: shunt\n  listeners: [{name: a, port: 0, protocol: HTTP}]\n", 6, "spec.listeners[0].port", "0", "1 to 65535" },
	{ GW "  listeners: [{name: a, port: 80, protocol: HTTP}]\n", 4, "spec.gatewayClassName", "missing", "required" },
	{ VS "  hosts: [a]\n  http:\n  - match: [{uri: {}}]\n    route: [{destination: {host: a}}]\n", 7, "spec.http[0].match[0].uri", "object", "one of exact, prefix, regex" },
	{ VS "  hosts: [a]\n  http:\n  - match: [{uri: {exact: /a, prefix: /b}}]\n    route: [{destination: {host: a}}]\n", 7, "spec.http[0].match[0].uri", "2 conditions", "one of" },
	{ VS "  hosts: [a]\n  http:\n  - match: [{method: GET}]\n    route: [{destination: {host: a}}]\n", 7, "spec.http[0].match[0].method", "\"GET\"", "an object" },
	{ VS "  hosts: [a]\n  http:\n  - match: [{port: 0}]\n    route: [{destination: {host: a}}]\n", 7, "spec.http[0].match[0].port", "0", "1 to 65535" },
	{ VS "  hosts: [a]\n  http:\n  - match: [{withoutHeaders: {'a b': {}}}]\n    route: [{destination: {host: a}}]\n", 7, "spec.http[0].match[0].withoutHeaders[a b]", "a b", "name of a header" },
	{ VS "  hosts: [a]\n  http:\n  - redirect: {uri: /}\n", 7, "spec.http[0].route", "missing", "required" },
	{ VS "  hosts: [a]\n  http:\n  - route: []\n", 7, "spec.http[0].route", "found an empty list", "at least one" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - weight: 5\n", 8, "spec.http[0].route[0].destination", "missing", "" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {}\n", 8, "spec.http[0].route[0].destination.host", "missing", "" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination:\n        host: a\n        port: {number: 65536}\n", 10,
	  "spec.http[0].route[0].destination.port.number", "found integer 65536", "an integer from 1 to 65535" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      weight: -1\n", 9, "spec.http[0].route[0].weight",
	  "found integer -1", "from 0" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      weight: 50.5\n", 9, "spec.http[0].route[0].weight",
	  "found number 50.5",
	  "an integer" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n    - destination: {host: b}\n      weight: 0\n",
	  7, "spec.http[0].route",
	  "found 2 destinations whose weights are all 0", "at least one above 0" },
	{ VS "  hosts: [a]\n  http:\n  - match:\n    - headers:\n        userhash:\n          prefix: 101\n    route: [{destination: {host: a}}]\n", 10,
	  "spec.http[0].match[0].headers.userhash.prefix", "found integer 101", "text; quote it" },
	{ VS "  hosts: [a]\n  http:\n  - match:\n    - headers:\n        userhash: {prefix: a, exact: b}\n    route: [{destination: {host: a}}]\n", 9,
	  "spec.http[0].match[0].headers.userhash", "found 2 conditions", "one of exact, prefix, regex" },
	{ VS "  hosts: [a]\n  http:\n  - match:\n    - headers:\n        user hash: {prefix: a}\n    route: [{destination: {host: a}}]\n", 9,
	  "spec.http[0].match[0].headers[user hash]", "found \"user hash\"", "name of a header" },
	{ VS "  hosts: [a]\n  http:\n  - match:\n    - headers:\n        userhash: 101\n    route: [{destination: {host: a}}]\n", 9,
	  "spec.http[0].match[0].headers.userhash", "found integer 101", "an object" },
	{ VS "  hosts: [a]\n  http:\n  - match:\n    - header: {}\n    route: [{destination: {host: a}}]\n", 8, "spec.http[0].match[0].header",
	  "unknown field", "did you mean \"headers\"?" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      headers: {response: {set: {'a b': c}}}\n", 9,
	  "spec.http[0].route[0].headers.response.set[a b]", "found \"a b\"", "name of a header" },
	{ VS "  hosts: [a]\n  http:\n  - route: [{destination: {host: a}}]\n    headers: {request: {remove: [b, 'c d']}}\n", 8,
	  "spec.http[0].headers.request.remove[1]", "found \"c d\"", "name of a header" },
	{ HR "  rules:\n  - backendRefs: [{name: a, port: 80}]\n    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: 'a:', value: b}]}}]\n", 7,
	  "spec.rules[0].filters[0].requestHeaderModifier.set[0]", "found \"a:\"", "name of a header" },
	{ VS "  hosts: [a]\n  http:\n  - route: [{destination: {host: a}}]\n    headers: {response: {add: {a: \"b\\r\\nc: d\"}}}\n", 8,
	  "spec.http[0].headers.response.add.a", "found a line end", "text of one line" },
	{ VS "  hosts: [a]\n  http:\n  - route:\n    - destination: {host: a}\n      headers: {response: {set: {version: 2}}}\n", 9,
	  "spec.http[0].route[0].headers.response.set.version", "found integer 2", "quote it" },
	/* Experiment */
	{ EXP "  strategy: {testingPattern: A/B}\n", 4, "spec.target", "missing", "required" },
	{ EXP "  target: ''\n  strategy: {testingPattern: A/B}\n", 5, "spec.target", "found an empty text", "" },
	{ EXP "  target: t\n", 4, "spec.strategy", "missing", "" },
	{ EXP "  target: t\n  strategy: {testingPattern: a/b}\n", 6, "spec.strategy.testingPattern", "found text \"a/b\"; did you mean \"A/B\"?",
	  "Canary, A/B, A/B/N, Conformance" },
	{ EXP "  target: t\n  strategy: {testingPattern: Canary, deploymentPattern: 5}\n", 6, "spec.strategy.deploymentPattern", "found integer 5",
	  "Progressive, FixedSplit, BlueGreen" },
	{ EXP "  target: t\n  strategy:\n    testingPattern: A/B\n    actions: {finnish: []}\n", 8, "spec.strategy.actions.finnish", "unknown field",
	  "did you mean \"finish\"? allowed: start, loop, finish" },
	{ EXP "  target: t\n  strategy:\n    testingPattern: A/B\n    actions:\n      finish:\n      - with: {}\n",
	  10, "spec.strategy.actions.finish[0]",
	  "neither task nor run", "exactly one of task, run" },
	{ EXP "  target: t\n  strategy:\n    testingPattern: A/B\n    actions:\n      start:\n      - {task: a, run: b}\n",
	  10, "spec.strategy.actions.start[0]",
	  "task and run", "" },
	{ EXP "  target: t\n  strategy:\n    testingPattern: A/B\n    actions:\n      start:\n      - task: a\n        with: x\n", 11,
	  "spec.strategy.actions.start[0].with", "found text \"x\"", "an object" },
	{ EXP "  target: t\n  strategy:\n    testingPattern: A/B\n    weights: {maxCandidateWeight: 101}\n",
	  8, "spec.strategy.weights.maxCandidateWeight",
	  "found integer 101", "an integer from 0 to 100" },
	{ EXP TARGET "  duration:\n    intervalSeconds: 0\n", 8, "spec.duration.intervalSeconds", "found integer 0",
	  "an integer from 1 to 2147483647" },
	{ EXP TARGET "  duration:\n    intervalSeconds: '10'\n", 8, "spec.duration.intervalSeconds", "found text \"10\"", "an integer" },
	{ EXP TARGET "  duration:\n    maxLoops: 2147483648\n", 8, "spec.duration.maxLoops", "found integer 2147483648", "" },
	{ EXP TARGET "  criteria:\n    rewards: [{metric: m}]\n", 8, "spec.criteria.rewards[0].preferredDirection", "missing", "" },
	{ EXP TARGET "  criteria:\n    rewards: [{metric: m, preferredDirection: Hihg}]\n", 8, "spec.criteria.rewards[0].preferredDirection",
	  "found text \"Hihg\"", "Low, High" },
	{ LIMITS("upperLimit: 0.01"), 10, "spec.criteria.objectives[0].upperLimit", "found number 0.01", "a quantity in quotes such as \"0.01\"" },
	{ LIMITS("upperLimit: 5 ms"), 10, "spec.criteria.objectives[0].upperLimit", "found text \"5 ms\"", "\"10m\"" },
	{ LIMITS("upperLimit: 'NaN'"), 10, "spec.criteria.objectives[0].upperLimit", "found text \"NaN\"", "" },
	{ LIMITS("upperLimit: .inf"), 10, "", "found .inf: not a finite number", "" },
	{ LIMITS("upperLimit: 1\n      lowerLimit: 2"), 11, "spec.criteria.objectives[0].lowerLimit", "found 2, above upperLimit 1", "" },
	{ STRENGTH("confidence: 95"), 9, "spec.criteria.strength.confidence", "found 95", "above 0.5 and below 1, such as 0.95" },
	{ STRENGTH("confidence: high"), 9, "spec.criteria.strength.confidence", "found text \"high\"", "a number such as 0.95" },
	{ STRENGTH("unit: session"), 9, "spec.criteria.strength.unit", "found text \"session\"", "user, request" },
	{ STRENGTH("minimumSample: 1"), 9, "spec.criteria.strength.minimumSample", "found integer 1", "an integer from 2" },
	{ STRENGTH("maximumSample: 10\n      minimumSample: 20"), 9, "spec.criteria.strength.maximumSample", "found 10, below minimumSample 20", "" },
	{ STRENGTH("power: 0.8"), 9, "spec.criteria.strength.power", "unknown field", "confidence" },
	{ LIMITS("rollbackOnFailure: true"), 10, "spec.criteria.objectives[0].rollbackOnFailure", "unknown field \"rollbackOnFailure\"",
	  "did you mean \"rollback_on_failure\"?" },
	{ EXP TARGET "  versionInfo:\n    candidates: []\n", 7, "spec.versionInfo.baseline", "missing", "" },
	{ EXP TARGET "  versionInfo:\n    baseline:\n      name: v1\n      variables: [{name: ns}]\n",
	  10, "spec.versionInfo.baseline.variables[0].value", "missing", "" },
	{ EXP TARGET "  versionInfo:\n    baseline: {name: v1}\n    candidates:\n    - name: 2\n", 10, "spec.versionInfo.candidates[0].name",
	  "found integer 2", "" },
	{ EXP TARGET "  versionInfo:\n    baseline: {name: v1, weightObjRef: {path: x}}\n", 8, "spec.versionInfo.baseline.weightObjRef.path",
	  "unknown field",
	  "fieldPath" },
#define ANNOTATED(text) "apiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata:\n  name: e\n  annotations:\n    " text "\nspec:\n" TARGET
	{ ANNOTATED("shunt.dev/conversion: ''"), 6, "metadata.annotations[shunt.dev/conversion]", "found \"\"", "such as \"POST /checkout 2xx\"" },
	{ ANNOTATED("shunt.dev/conversion: POST checkout"), 6, "metadata.annotations[shunt.dev/conversion]", "found \"POST checkout\"", "" },
	{ ANNOTATED("shunt.dev/conversion: post /checkout"), 6, "metadata.annotations[shunt.dev/conversion]", "found \"post /checkout\"", "" },
	{ ANNOTATED("shunt.dev/conversion: /checkout POST"), 6, "metadata.annotations[shunt.dev/conversion]", "found \"/checkout POST\"", "" },
	{ ANNOTATED("shunt.dev/conversion: POST /checkout 6xx"), 6, "metadata.annotations[shunt.dev/conversion]", "6xx", "" },
	{ ANNOTATED("shunt.dev/conversion: POST /a /b"), 6, "metadata.annotations[shunt.dev/conversion]", "/b", "" },
	{ ANNOTATED("shunt.dev/errors-from: '404'"), 6, "metadata.annotations[shunt.dev/errors-from]", "found \"404\"", "\"400\", \"500\"" },
	/* Metric */
	{ METRIC "  type: gauge\n", 5, "spec.type", "found text \"gauge\"; did you mean \"Gauge\"?", "Gauge, Counter" },
	{ "apiVersion: iter8.tools/v2alpha2\nkind: Metric\nmetadata:\n  name: m\n  annotations:\n    shunt.dev/insecure-skip-tls-verify: 'yes'\nspec: {}\n", 6,
	  "metadata.annotations[shunt.dev/insecure-skip-tls-verify]", "found \"yes\"", "\"true\", \"false\"" },
	{ METRIC "  method: PUT\n", 5, "spec.method", "found text \"PUT\"", "GET, POST" },
	{ METRIC "  authType: Digest\n", 5, "spec.authType", "found text \"Digest\"", "Basic, Bearer, APIKey" },
	{ METRIC "  mock: [{name: v1}]\n", 5, "spec.mock[0].level", "missing", "" },
	{ METRIC "  headers: []\n", 5, "spec.headers", "unknown field", "headerTemplates" },
	/* Service, EndpointSlice */
	{ SERVICE "  ports:\n  - port: 0\n", 6, "spec.ports[0].port", "found integer 0", "an integer from 1 to 65535" },
	{ SERVICE "  ports:\n  - name: x\n", 6, "spec.ports[0].port", "missing", "" },
	{ SERVICE "  ports:\n  - port: 80\n    targetPort: 70000\n", 7, "spec.ports[0].targetPort", "found integer 70000", "name of a port" },
	{ SERVICE "  ports:\n  - port: 80\n    targetPort: '8080'\n", 7, "spec.ports[0].targetPort", "found text \"8080\"", "an integer" },
	{ SERVICE "  ports:\n  - port: 80\n    protocol: tcp\n", 7, "spec.ports[0].protocol", "found text \"tcp\"; did you mean \"TCP\"?",
	  "TCP, UDP, SCTP" },
	{ SERVICE "  clusterIP: 10.0.0.256\n", 5, "spec.clusterIP", "found text \"10.0.0.256\"", "an IPv4 or IPv6 address" },
	{ SERVICE "  clusterIPs: [10.0.0.1, fd00::g]\n", 5, "spec.clusterIPs[1]", "found text \"fd00::g\"", "" },
	{ SLICE "addressType: FQDN\n", 6, "addressType", "found text \"FQDN\"", "IPv4, IPv6" },
	{ SLICE "addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n- addresses: [fd00::1]\n", 9, "endpoints[1].addresses[0]",
	  "found text \"fd00::1\"",
	  "an IPv4 address" },
	{ SLICE "addressType: IPv4\nendpoints:\n- conditions: {ready: yes}\n  addresses: [10.0.0.1]\n", 8, "endpoints[0].conditions.ready",
	  "found text \"yes\"",
	  "true, false" },
	{ "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s}\naddressType: IPv4\n", 3,
	  "metadata.labels[kubernetes.io/service-name]", "missing", "names the Service" },
};

static void test_every_mistake_is_named_with_line_path_found_and_allowed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++) {
		_cleanup_decoded_ struct decoded d = decode(bad_rows[i].text);
		const struct manifest_error *e = d.errors.items;

		if (d.errors.count != 1)
			fail_msg("<<%s>>\ngave %zu errors, expected one", bad_rows[i].text, d.errors.count);
		if (e->line != bad_rows[i].line || strcmp(e->path, bad_rows[i].path) != 0 || !strstr(e->message, bad_rows[i].found) ||
		    !strstr(e->message, bad_rows[i].allowed))
			fail_msg("<<%s>>\ngave line %d, path \"%s\": %s", bad_rows[i].text, e->line, e->path, e->message);
		assert_string_equal(e->file, "m.yaml");
		assert_int_equal(d.world->service_count + d.world->slice_count + d.world->virtual_service_count + d.world->experiment_count +
					 d.world->metric_count,
				 0);
	}
}

static void test_all_mistakes_of_a_document_are_named_at_once(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(EXP "  target: 5\n  strategy: {testingPattern: X}\n  duration: {maxLoops: 0}\n  extra: 1\n");

	(void)state;
	assert_int_equal(d.errors.count, 4);
}

static void test_an_error_is_one_line_of_text(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(SERVICE "  ports: [{port: 0}]\n---\na: [\n");
	_cleanup_free_ char *with_path = NULL, *without_path = NULL;

	(void)state;
	assert_int_equal(d.errors.count, 2);
	without_path = manifest_error_text(&d.errors.items[0]); /* what is no YAML comes first */
	with_path = manifest_error_text(&d.errors.items[1]);
	assert_string_equal(with_path, "m.yaml:5: spec.ports[0].port: found integer 0; allowed: an integer from 1 to 65535");
	assert_memory_equal(without_path, "m.yaml:8: not YAML: ", 20);
}

/* ---- many documents */

static void test_one_bad_document_in_the_middle_stops_no_other(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("# first\n" SERVICE "  clusterIP: 10.0.0.1\n---\n" VS ROUTE "---\n" METRIC "  type: Wrong\n---\n"
						    "bad: [yaml\n---\n" METRIC "  type: Counter\n---\n" EXP TARGET);

	(void)state;
	assert_int_equal(d.world->service_count, 1);
	assert_int_equal(d.world->virtual_service_count, 1);
	assert_int_equal(d.world->experiment_count, 1);
	assert_int_equal(d.world->metric_count, 1);
	assert_int_equal(d.world->metrics[0].type, METRIC_COUNTER);
	assert_int_equal(d.world->metrics[0].meta.line, 24);
	assert_int_equal(d.errors.count, 2);
	assert_int_equal(d.errors.items[0].line, 23); /* where the parser noticed */
	assert_non_null(strstr(d.errors.items[0].message, "begins in line 22"));
	assert_string_equal(d.errors.items[1].path, "spec.type");
	assert_int_equal(d.errors.items[1].line, 20);
}

static void test_items_of_a_list_have_their_own_fates(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("apiVersion: v1\nkind: List\nmetadata: {resourceVersion: ''}\nitems:\n"
						    "- {apiVersion: v1, kind: Service, metadata: {name: a}, spec: {}}\n"
						    "- {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {}}\n"
						    "- {apiVersion: v1, kind: Service, metadata: {name: c}, spec: {}}\n");

	(void)state;
	assert_int_equal(d.world->service_count, 2);
	assert_string_equal(d.world->services[1].meta.name, "c");
	assert_int_equal(d.world->services[1].meta.line, 7);
	assert_int_equal(d.errors.count, 1);
	assert_string_equal(d.errors.items[0].path, "items[1].kind");
	assert_int_equal(d.errors.items[0].line, 6);
}

static void test_of_two_objects_with_one_name_the_first_holds_and_both_places_are_named(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("\n" SERVICE "  clusterIP: 10.0.0.1\n---\n" METRIC "  units: s\n");

	(void)state;
	decode_more(&d, "z.yaml", SERVICE "  clusterIP: 10.0.0.2\n---\n"
				  "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: other}\nspec: {}\n");
	assert_int_equal(d.world->service_count, 2);
	assert_string_equal(d.world->services[0].addresses[0], "10.0.0.1");
	assert_int_equal(d.errors.count, 1);
	assert_string_equal(d.errors.items[0].file, "z.yaml");
	assert_int_equal(d.errors.items[0].line, 1);
	assert_non_null(strstr(d.errors.items[0].message, "Service default/s again; the one in m.yaml:2 holds"));
}

/* ---- what is accepted */

static void test_a_service_as_kubectl_prints_it_is_read(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(
		"apiVersion: v1\nkind: Service\nmetadata:\n  annotations:\n    kubectl.kubernetes.io/last-applied-configuration: |\n      {}\n"
		"  creationTimestamp: \"2021-06-02T10:00:00Z\"\n  labels: {app: x}\n  managedFields: [{manager: kubectl}]\n  name: web\n  namespace: shop\n"
		"  resourceVersion: \"17\"\n  uid: 1f0e\n"
		"spec:\n  allocateLoadBalancerNodePorts: true\n  clusterIP: 10.96.0.5\n  clusterIPs: [10.96.0.5, 'fd00::5']\n  externalIPs: [192.0.2.1]\n"
		"  externalTrafficPolicy: Cluster\n  internalTrafficPolicy: Cluster\n  ipFamilies: [IPv4, IPv6]\n  ipFamilyPolicy: PreferDualStack\n"
		"  ports:\n  - {name: http, nodePort: 30080, port: 80, protocol: TCP, targetPort: web, appProtocol: http}\n"
		"  - {name: dns, port: 53, protocol: UDP}\n  selector: {app: x}\n  sessionAffinity: None\n  type: LoadBalancer\n"
		"status:\n  loadBalancer: {}\n");
	const struct service *s = world_service(d.world, "shop", "web");

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_non_null(s);
	assert_int_equal(s->meta.created, 1622628000);
	assert_non_null(json_object_get(s->meta.document, "status"));
	assert_int_equal(s->address_count, 3);
	assert_string_equal(s->addresses[2], "192.0.2.1");
	assert_string_equal(s->ports[0].target_name, "web");
	assert_int_equal(s->ports[0].target, 0);
	assert_string_equal(s->ports[0].app_protocol, "http");
	assert_int_equal(s->ports[1].target, 53); /* the port itself */
	assert_false(s->ports[1].tcp);
	assert_null(s->ports[1].target_name);
}

static void test_a_headless_service_has_no_address(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(SERVICE "  clusterIP: None\n  clusterIPs: [None]\n  ports: [{port: 80}]\n");

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(d.world->services[0].address_count, 0);
	assert_string_equal(d.world->services[0].ports[0].name, "");
}

static void test_conditions_and_ports_of_a_slice_have_kubernetes_defaults(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(
		SLICE "addressType: IPv4\nendpoints:\n- addresses: [10.0.0.1]\n- {addresses: [10.0.0.2], conditions: {ready: false}, nodeName: n1, zone: z}\n"
		      "- {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}, targetRef: {kind: Pod}}\n"
		      "ports:\n- {name: dns, port: 53, protocol: UDP}\n- {name: '', port: 80, protocol: TCP}\n- {name: web, port: 81, appProtocol: null}\n");
	const struct endpoint_slice *s = d.world->slices;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(s->endpoint_count, 3);
	assert_true(s->endpoints[0].ready && s->endpoints[0].serving && !s->endpoints[0].terminating);
	assert_true(!s->endpoints[1].ready && !s->endpoints[1].serving);
	assert_string_equal(s->endpoints[1].node, "n1");
	assert_true(!s->endpoints[2].ready && s->endpoints[2].serving && s->endpoints[2].terminating);
	assert_int_equal(s->port_count, 2); /* UDP is left out */
	assert_int_equal(s->ports[0].port, 80);
	assert_string_equal(s->ports[1].name, "web");
}

static void assert_strings(char *const *items, size_t count, const char *const *want)
{
	for (size_t i = 0; i < count; i++)
		if (!want[i] || strcmp(items[i], want[i]) != 0)
			fail_msg("unsupported[%zu] is %s, expected %s", i, items[i], want[i] ? want[i] : "no more");
	if (want[count])
		fail_msg("%zu are unsupported, expected also %s", count, want[count]);
}

static void test_what_is_not_done_yet_is_listed_by_its_path(void **state)
{
	static const char *const want_match[] = { "spec.http[0].match[0].headers.b.regex", "spec.http[0].match[0].gateways",
						  "spec.http[0].match[0].queryParams.r.regex", "spec.http[0].match[0].sourceLabels", NULL };
	static const char *const want_route[] = {
		"spec.http[0].fault",
		"spec.http[0].mirror",                             "spec.http[0].retries",
		"spec.http[0].rewrite",                            "spec.http[0].timeout",
		NULL,
	};
	static const char *const want_tcp[] = { "spec.tcp[0].match", NULL };
	static const char *const want_spec[] = { "spec.tls", "spec.exportTo", NULL };
	_cleanup_decoded_ struct decoded d = decode(
		VS "  hosts: [a]\n  exportTo: ['.']\n  tls: [{}]\n  tcp: [{match: [{port: 5}], route: [{destination: {host: t, port: {number: 5432}}}]}]\n  http:\n"
		   "  - match:\n    - {uri: {prefix: /v1}, method: {exact: GET}, queryParams: {Q: {exact: x}, r: {regex: 'y|z'}, s: {prefix: ''}}, headers: {A: {exact: x}, b: {regex: 'y|z'}, c: {}},\n"
		   "       withoutHeaders: {D: {regex: 'e\\.f.*'}}, authority: {exact: a.b}, scheme: {prefix: http}, ignoreUriCase: true, port: 80, gateways: [g], sourceLabels: {a: b}, "
		   "statPrefix: p}\n"
		   "    timeout: 5s\n    retries: {attempts: 3}\n    mirror: {host: m}\n    fault: {}\n    rewrite: {uri: /}\n    headers: {request: {remove: [z]}}\n"
		   "    route:\n    - destination: {host: h, subset: v2, port: {number: 8080}}\n"
		   "      headers: {request: {set: {Host: h}, add: {X: y}}, response: {set: {Version: v9, x-y: z}, remove: [w]}}\n");
	const struct virtual_service *vs = d.world->virtual_services;
	const struct http_match *match;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	match = vs->http[0].matches;
	assert_strings(match->unsupported, match->unsupported_count, want_match);
	assert_strings(vs->http[0].unsupported, vs->http[0].unsupported_count, want_route);
	assert_strings(vs->tcp[0].unsupported, vs->tcp[0].unsupported_count, want_tcp);
	assert_strings(vs->unsupported, vs->unsupported_count, want_spec);

	/* and the rest is there */
	assert_int_equal(match->header_count, 3);
	assert_string_equal(match->headers[0].name, "a");
	assert_int_equal(match->headers[0].kind, MATCH_EXACT);
	assert_string_equal(match->headers[1].name, "c");
	assert_int_equal(match->headers[1].kind, MATCH_PRESENT);
	assert_string_equal(match->headers[1].value, "");
	assert_false(match->headers[1].without);
	assert_string_equal(match->headers[2].name, "d");
	assert_int_equal(match->headers[2].kind, MATCH_PREFIX); /* of a regex that says no more */
	assert_string_equal(match->headers[2].value, "e.f");
	assert_true(match->headers[2].without);
	assert_int_equal(match->uri.kind, MATCH_PREFIX);
	assert_string_equal(match->uri.value, "/v1");
	assert_true(match->ignore_uri_case);
	assert_int_equal(match->method.kind, MATCH_EXACT);
	assert_string_equal(match->method.value, "GET");
	assert_string_equal(match->authority.value, "a.b");
	assert_string_equal(match->scheme.value, "http");
	assert_int_equal(match->port, 80);
	assert_int_equal(match->param_count, 2);
	assert_string_equal(match->params[0].name, "Q");
	assert_int_equal(match->params[0].kind, MATCH_EXACT);
	assert_string_equal(match->params[0].value, "x");
	assert_string_equal(match->params[1].name, "s");
	assert_int_equal(match->params[1].kind, MATCH_PREFIX);
	assert_string_equal(vs->http[0].destinations[0].version, "v9"); /* header names know no case */
	assert_edit(&vs->http[0].headers.request, "remove z\n");
	assert_edit(&vs->http[0].destinations[0].headers.request, "set Host: h\nadd X: y\n");
	assert_edit(&vs->http[0].destinations[0].headers.response, "set Version: v9\nset x-y: z\nremove w\n");
	assert_string_equal(vs->http[0].destinations[0].subset, "v2");
	assert_int_equal(vs->http[0].destinations[0].port, 8080);
	assert_int_equal(vs->tcp[0].destinations[0].port, 5432);
	assert_string_equal(vs->gateways[0], "mesh");
}

static void test_an_http_route_and_its_gateway_are_read(void **state)
{
	static const char *const want_match[] = { "spec.rules[0].matches[0].headers[1].value", NULL };
	static const char *const want_rule[] = {
		"spec.rules[0].filters[0].requestMirror", "spec.rules[0].sessionPersistence.idleTimeout",
		"spec.rules[0].retry", NULL,
	};
	static const char *const want_gateway[] = { "spec.listeners[0].allowedRoutes.kinds", "spec.addresses[1]", "spec.infrastructure", NULL };
	_cleanup_decoded_ struct decoded d = decode(
		"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r, namespace: shop}\nspec:\n"
		"  parentRefs: [{name: gw, namespace: edge, sectionName: http}, {kind: Service, group: '', name: web, port: 80}]\n  hostnames: [a.test]\n  rules:\n"
		"  - name: n\n    matches:\n    - {path: {value: /a/}, method: GET, queryParams: [{name: Q, value: x}, {name: Q, value: y}],\n"
		"       headers: [{name: A, value: b}, {name: c, type: RegularExpression, value: 'd|e'}, {name: f, type: RegularExpression, value: '.*'}, {name: a, value: z}]}\n"
		"    - {}\n"
		"    backendRefs: [{name: v1, port: 80, weight: 3, filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x, value: y}, {name: Version, value: one}], add: [{name: z, value: a}], remove: [w]}}]}, "
		"{name: v2, namespace: other, port: 8080}]\n"
		"    filters: [{type: RequestMirror, requestMirror: {}}, {type: RequestHeaderModifier, requestHeaderModifier: {remove: [q, r], add: [{name: b, value: c}]}}]\n"
		"    sessionPersistence: {sessionName: S, type: Header, idleTimeout: 1h}\n    retry: {}\n"
		"---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: gw, namespace: edge}\nspec:\n  gatewayClassName: shunt\n"
		"  listeners: [{name: http, hostname: '*.test', port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}, kinds: []}}, {name: s, port: 443, protocol: HTTPS}]\n"
		"  addresses: [{value: 10.0.0.1}, {type: Hostname, value: x}]\n  infrastructure: {}\n");
	const struct virtual_service *route = d.world->virtual_services;
	const struct gateway *gateway = d.world->gateways;
	const struct http_route *rule;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(d.world->virtual_service_count, 1);
	assert_true(route->gateway_api);
	assert_int_equal(route->parent_count, 2);
	assert_false(route->parents[0].service);
	assert_string_equal(route->parents[0].ns, "edge");
	assert_string_equal(route->parents[0].section, "http");
	assert_true(route->parents[1].service);
	assert_string_equal(route->parents[1].ns, "shop"); /* its own namespace when none is written */
	assert_int_equal(route->parents[1].port, 80);
	rule = route->http;
	assert_strings(rule->matches[0].unsupported, rule->matches[0].unsupported_count, want_match);
	assert_strings(rule->unsupported, rule->unsupported_count, want_rule);
	assert_int_equal(rule->match_count, 2);
	assert_int_equal(rule->matches[0].uri.kind, MATCH_PATH_PREFIX);
	assert_string_equal(rule->matches[0].uri.value, "/a/");
	assert_string_equal(rule->matches[0].method.value, "GET");
	assert_int_equal(rule->matches[0].header_count, 2); /* of two with one name the first */
	assert_string_equal(rule->matches[0].headers[0].name, "a");
	assert_string_equal(rule->matches[0].headers[0].value, "b");
	assert_int_equal(rule->matches[0].headers[1].kind, MATCH_PRESENT);
	assert_int_equal(rule->matches[0].param_count, 1);
	assert_string_equal(rule->matches[0].params[0].value, "x");
	assert_null(rule->matches[1].uri.value);
	assert_string_equal(rule->session, "S");
	assert_true(rule->session_header);
	assert_string_equal(rule->destinations[0].host, "v1.shop");
	assert_string_equal(rule->destinations[0].version, "one");
	assert_edit(&rule->destinations[0].headers.response, "set x: y\nset Version: one\nadd z: a\nremove w\n");
	assert_edit(&rule->headers.request, "add b: c\nremove q\nremove r\n");
	assert_edit(&rule->headers.response, "");
	assert_int_equal(rule->destinations[0].weight, 3);
	assert_string_equal(rule->destinations[1].host, "v2.other");
	assert_int_equal(rule->destinations[1].weight, 1);
	assert_int_equal(rule->destinations[1].port, 8080);

	assert_string_equal(gateway->class_name, "shunt");
	assert_int_equal(gateway->listener_count, 2);
	assert_string_equal(gateway->listeners[0].hostname, "*.test");
	assert_int_equal(gateway->listeners[0].from, FROM_ALL);
	assert_int_equal(gateway->listeners[1].from, FROM_SAME);
	assert_int_equal(gateway->listeners[1].protocol, PROTOCOL_HTTPS);
	assert_int_equal(gateway->address_count, 1);
	assert_strings(gateway->unsupported, gateway->unsupported_count, want_gateway);
}

static void test_routes_of_both_kinds_go_by_one_name(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: r}\nspec: {hosts: [a], http: [{route: [{destination: {host: a}}]}]}\n"
						    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {rules: [{backendRefs: [{name: a, port: 80}]}]}\n");

	(void)state;
	assert_int_equal(d.world->virtual_service_count, 1);
	assert_int_equal(d.errors.count, 1);
	assert_non_null(strstr(d.errors.items[0].message, "but the VirtualService in"));
}

static void test_weights_are_as_written_and_an_only_destination_has_all(void **state)
{
	static const struct {
		const char *routes;
		size_t count;
		uint32_t want[3];
	} rows[] = {
		{ "[{destination: {host: a}}]", 1, { 100 } },
		{ "[{destination: {host: a}, weight: 0}]", 1, { 100 } },
		{ "[{destination: {host: a}, weight: 7}]", 1, { 7 } },
		{ "[{destination: {host: a}, weight: 60}, {destination: {host: b}, weight: 40}]", 2, { 60, 40 } },
		{ "[{destination: {host: a}, weight: 5}, {destination: {host: b}}]", 2, { 5, 0 } },
		{ "[{destination: {host: a}, weight: 1}, {destination: {host: b}, weight: 2}, {destination: {host: c}, weight: 3}]", 3, { 1, 2, 3 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, VS "  hosts: [x]\n  gateways: [gw, mesh, a/b]\n  http: [{route: %s}]\n", rows[i].routes) > 0);
		_cleanup_decoded_ struct decoded d = decode(text);

		assert_int_equal(d.errors.count, 0);
		assert_string_equal(d.world->virtual_services[0].gateways[0], "default/gw"); /* a bare name: in the object's own namespace */
		assert_string_equal(d.world->virtual_services[0].gateways[1], "mesh");
		assert_string_equal(d.world->virtual_services[0].gateways[2], "a/b");
		assert_int_equal(d.world->virtual_services[0].http[0].destination_count, rows[i].count);
		for (size_t j = 0; j < rows[i].count; j++)
			assert_int_equal(d.world->virtual_services[0].http[0].destinations[j].weight, rows[i].want[j]);
	}
}

static void test_an_experiment_has_iter8s_defaults(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(EXP TARGET);
	const struct experiment *e = d.world->experiments;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(e->deployment, DEPLOYMENT_PROGRESSIVE);
	assert_false(e->deployment_set);
	assert_int_equal(e->interval_seconds, 20);
	assert_int_equal(e->iterations_per_loop, 15);
	assert_int_equal(e->max_loops, 1);
	assert_int_equal(e->max_candidate_weight, 100);
	assert_int_equal(e->max_candidate_weight_increment, 10);
	assert_null(e->request_count);
	assert_int_equal(e->action_count, 0);
	assert_int_equal(e->version_count, 0);
	assert_int_equal(e->objective_count, 0);
}

static void test_t5_rollback_on_failure_defaults_to_true_under_blue_green_alone(void **state)
{
	static const struct {
		const char *pattern, *objective;
		bool want;
	} rows[] = {
		{ "BlueGreen", "{metric: m}", true },
		{ "BlueGreen", "{metric: m, rollback_on_failure: false}", false },
		{ "BlueGreen", "{metric: m, rollback_on_failure: true}", true },
		{ "Progressive", "{metric: m}", false },
		{ "FixedSplit", "{metric: m, rollback_on_failure: true}", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *text = NULL;

		assert_true(asprintf(&text, EXP "  target: t\n  strategy: {testingPattern: Canary, deploymentPattern: %s}\n  criteria: {objectives: [%s]}\n",
				     rows[i].pattern, rows[i].objective) > 0);
		_cleanup_decoded_ struct decoded d = decode(text);

		assert_int_equal(d.errors.count, 0);
		assert_int_equal(d.world->experiments[0].objectives[0].rollback_on_failure, rows[i].want);
	}
}

static void test_a_strength_says_how_sure_a_verdict_has_to_be(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(
		EXP "  target: t\n  strategy: {testingPattern: Canary}\n"
		    "  criteria: {strength: {confidence: \"990m\", minimumSample: 50, maximumSample: 20000, unit: request}}\n"
		    "---\napiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: f}\nspec:\n  target: u\n"
		    "  strategy: {testingPattern: Canary}\n  criteria: {strength: {}}\n");
	const struct strength *strength = &d.world->experiments[0].strength;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_true(strength->given && strength->confidence == 0.99 && strength->minimum_sample == 50 && strength->maximum_sample == 20000);
	assert_int_equal(strength->unit, UNIT_REQUEST);
	strength = &d.world->experiments[1].strength;
	assert_true(strength->given && strength->confidence == 0 && strength->minimum_sample == 0 && strength->maximum_sample == 0);
	assert_int_equal(strength->unit, UNIT_USER);
}

static void test_an_experiment_with_everything_is_read(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(
		EXP "  target: ns/app\n  strategy:\n    testingPattern: A/B/N\n    deploymentPattern: Progressive\n    weights: {maxCandidateWeight: 0}\n"
		    "    actions:\n      finish:\n      - if: CandidateWon()\n        run: kubectl apply -f x\n      - {task: common/bash, run: '', with: {script: x}}\n"
		    "      start:\n      - task: common/readiness\n"
		    "  criteria:\n    indicators: [a/b, c]\n    strength: {confidence: 0.95}\n    objectives:\n    - {metric: m, upperLimit: 10m, lowerLimit: -1}\n"
		    "  versionInfo:\n    baseline:\n      name: v1\n      variables: [{name: x, value: ''}]\n    candidates:\n"
		    "    - {name: v2, weightObjRef: {apiVersion: v1, kind: K, name: n, fieldPath: .spec.x}}\n    - name: v3\n"
		    "status: {stage: Running}\n");
	const struct experiment *e = d.world->experiments;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(e->testing, TESTING_ABN);
	assert_int_equal(e->max_candidate_weight, 0);
	assert_int_equal(e->max_candidate_weight_increment, 10);
	assert_int_equal(e->action_count, 2);
	assert_string_equal(e->actions[0].name, "start");
	assert_null(e->actions[0].tasks[0].with);
	assert_string_equal(e->actions[1].name, "finish");
	assert_string_equal(e->actions[1].tasks[0].name, "run");
	assert_string_equal(e->actions[1].tasks[0].run, "kubectl apply -f x");
	assert_string_equal(e->actions[1].tasks[0].condition, "CandidateWon()");
	assert_string_equal(e->actions[1].tasks[1].name, "common/bash");
	assert_null(e->actions[1].tasks[1].run);
	assert_string_equal(e->actions[1].tasks[1].path, "spec.strategy.actions.finish[1]");
	assert_int_equal(e->indicator_count, 2);
	assert_string_equal(e->indicators[0], "a/b");
	assert_true(e->strength.given && e->strength.confidence == 0.95 && e->strength.minimum_sample == 0);
	assert_true(e->objectives[0].has_lower && e->objectives[0].lower == -1 && e->objectives[0].upper == 0.01);
	assert_int_equal(e->version_count, 3);
	assert_string_equal(e->versions[0].name, "v1");
	assert_string_equal(e->versions[0].variables[0].value, "");
	assert_string_equal(json_string_value(json_object_get(e->versions[1].weight_obj_ref, "fieldPath")), ".spec.x");
	assert_string_equal(e->versions[2].name, "v3");
	assert_non_null(json_object_get(e->meta.document, "status"));
}

static void test_a_metric_with_everything_is_read(void **state)
{
	_cleanup_decoded_ struct decoded d = decode(
		METRIC "  type: Counter\n  method: POST\n  authType: APIKey\n  secret: ns/s\n  body: '{}'\n  units: ms\n  sampleSize: request-count\n"
		       "  mock: [{name: v1, level: '15.0'}, {name: v2, level: 20}]\n");
	const struct metric *m = d.world->metrics;

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(m->type, METRIC_COUNTER);
	assert_true(m->post);
	assert_int_equal(m->auth, AUTH_APIKEY);
	assert_string_equal(m->secret, "ns/s");
	assert_string_equal(m->body, "{}");
	assert_string_equal(m->sample_size, "request-count");
	assert_string_equal(m->url, "");
	assert_int_equal(m->mock_count, 2);
	assert_string_equal(m->mocks[0].name, "v1");
	assert_true(m->mocks[0].level == 15 && m->mocks[1].level == 20);
}

static void test_a_secret_is_read_and_its_values_never_shown(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("apiVersion: v1\nkind: Secret\nmetadata: {name: nr, namespace: prod}\ntype: Opaque\nimmutable: true\n"
						    "data: {token: dDBwCg==, both: b2xk, binary: //8=}\nstringData: {both: new, plain: \"x\\n\"}\n");
	_cleanup_decoded_ struct decoded bad = decode("apiVersion: v1\nkind: Secret\nmetadata: {name: nr}\ndata: {token: s3cret}\nstringData: {pin: 31337}\n---\n"
						      "apiVersion: v1\nkind: Secret\nmetadata: {name: two}\nstringData: s3cret\n");
	const struct secret *secret = world_secret(d.world, "prod", "nr");

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_non_null(secret);
	assert_string_equal(json_string_value(json_object_get(secret->data, "token")), "t0p");
	assert_string_equal(json_string_value(json_object_get(secret->data, "both")), "new");
	assert_string_equal(json_string_value(json_object_get(secret->data, "plain")), "x");
	assert_true(json_is_null(json_object_get(secret->data, "binary")));
	assert_null(secret->meta.document);
	assert_null(world_secret(d.world, "default", "nr"));

	assert_int_equal(bad.world->secret_count, 0);
	assert_int_equal(bad.errors.count, 3);
	for (size_t i = 0; i < bad.errors.count; i++) {
		assert_null(strstr(bad.errors.items[i].message, "s3cret"));
		assert_null(strstr(bad.errors.items[i].message, "31337"));
		assert_non_null(strstr(bad.errors.items[i].message, "it is not shown"));
	}
	assert_string_equal(bad.errors.items[1].path, "data.token");
}

static void test_json_is_read_as_well(void **state)
{
	_cleanup_decoded_ struct decoded d = decode("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"s\"},\n"
						    "\t\"spec\": {\"clusterIP\": \"10.0.0.1\", \"ports\": [{\"port\": 80}]}\n}\n");

	(void)state;
	assert_int_equal(d.errors.count, 0);
	assert_int_equal(d.world->services[0].ports[0].port, 80);
}

/* ---- hash */

static uint64_t hash_of(const char *text)
{
	_cleanup_decoded_ struct decoded d = decode(text);

	assert_int_equal(d.world->service_count, 1);
	return d.world->services[0].meta.hash;
}

#define HASHED "apiVersion: v1\nkind: Service\n"

static void test_the_hash_is_of_the_content_alone(void **state)
{
	static const char *const same[] = {
		"metadata: {name: s}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\n" HASHED,
		HASHED "# a comment\nmetadata:\n  name: \"s\"\nspec:\n  type: ClusterIP\n  clusterIP: 10.0.0.1\n",
		HASHED "metadata: {name: s}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\nstatus: {x: 1}\n",
		HASHED "metadata: {name: s, resourceVersion: '8', generation: 2, managedFields: []}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\n",
	};
	static const char *const different[] = {
		HASHED "metadata: {name: s}\nspec: {clusterIP: 10.0.0.2, type: ClusterIP}\n",
		HASHED "metadata: {name: t}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\n",
		HASHED "metadata: {name: s, annotations: {a: b}}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\n",
		HASHED "metadata: {name: s}\nspec: {clusterIP: 10.0.0.1}\n",
	};
	uint64_t hash = hash_of(HASHED "metadata: {name: s}\nspec: {clusterIP: 10.0.0.1, type: ClusterIP}\n");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(same); i++)
		assert_int_equal(hash_of(same[i]), hash);
	for (size_t i = 0; i < ARRAY_SIZE(different); i++)
		assert_int_not_equal(hash_of(different[i]), hash);
}

/* ---- lack of memory */

static long allocations_left;

static void *scarce_malloc(size_t size)
{
	return allocations_left-- > 0 ? malloc(size) : NULL;
}

/* The number-th document of a manifest. */
static void check_lack_of_memory(const char *file, size_t number)
{
	_cleanup_free_ char *text = read_sample(file);
	int r = -ENOMEM;

	json_set_alloc_funcs(scarce_malloc, free);
	for (long limit = 0; r != 0; limit++) { /* one tree node more each time, until it is enough; the sanitizer build looks for leaks */
		_cleanup_decoded_ struct decoded d = { .world = calloc(1, sizeof(struct world)) };
		struct manifest_documents documents = {};

		allocations_left = limit;
		r = manifest_parse("m.yaml", text, strlen(text), MTIME, &documents, &d.errors);
		if (r == 0)
			r = manifest_decode(&documents.items[number], d.world, &d.errors);
		manifest_documents_release(&documents);
		assert_true(r == 0 || r == -ENOMEM);
		assert_int_equal(d.world->experiment_count + d.world->virtual_service_count + d.world->gateway_count, r == 0 ? 1 : 0);
		assert_int_equal(d.errors.count, 0);
	}
	json_set_alloc_funcs(malloc, free);
}

static void test_a_lack_of_memory_is_told_and_leaves_nothing_behind(void **state)
{
	(void)state;
	check_lack_of_memory(SAMPLE "experiment.yaml", 0);
	check_lack_of_memory(SAMPLE "routing-rule.yaml", 0);
	check_lack_of_memory(GATEWAY_SAMPLE, 0);
	check_lack_of_memory(GATEWAY_SAMPLE, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_tutorials_virtual_service_is_understood_as_written),
		cmocka_unit_test(test_the_tutorials_experiment_is_understood_as_written),
		cmocka_unit_test(test_the_demos_services_and_pods_are_understood),
		cmocka_unit_test(test_the_tutorials_reward_metric_is_understood),
		cmocka_unit_test(test_the_promotions_send_everyone_to_one_version),
		cmocka_unit_test(test_every_mistake_is_named_with_line_path_found_and_allowed),
		cmocka_unit_test(test_all_mistakes_of_a_document_are_named_at_once),
		cmocka_unit_test(test_an_error_is_one_line_of_text),
		cmocka_unit_test(test_one_bad_document_in_the_middle_stops_no_other),
		cmocka_unit_test(test_items_of_a_list_have_their_own_fates),
		cmocka_unit_test(test_of_two_objects_with_one_name_the_first_holds_and_both_places_are_named),
		cmocka_unit_test(test_a_service_as_kubectl_prints_it_is_read),
		cmocka_unit_test(test_a_headless_service_has_no_address),
		cmocka_unit_test(test_conditions_and_ports_of_a_slice_have_kubernetes_defaults),
		cmocka_unit_test(test_what_is_not_done_yet_is_listed_by_its_path),
		cmocka_unit_test(test_an_http_route_and_its_gateway_are_read),
		cmocka_unit_test(test_routes_of_both_kinds_go_by_one_name),
		cmocka_unit_test(test_weights_are_as_written_and_an_only_destination_has_all),
		cmocka_unit_test(test_an_experiment_has_iter8s_defaults),
		cmocka_unit_test(test_t5_rollback_on_failure_defaults_to_true_under_blue_green_alone),
		cmocka_unit_test(test_a_strength_says_how_sure_a_verdict_has_to_be),
		cmocka_unit_test(test_an_experiment_with_everything_is_read),
		cmocka_unit_test(test_a_metric_with_everything_is_read),
		cmocka_unit_test(test_a_secret_is_read_and_its_values_never_shown),
		cmocka_unit_test(test_json_is_read_as_well),
		cmocka_unit_test(test_the_hash_is_of_the_content_alone),
		cmocka_unit_test(test_a_lack_of_memory_is_told_and_leaves_nothing_behind),
	};

	return cmocka_run_group_tests_name("manifest", tests, NULL, NULL);
}
