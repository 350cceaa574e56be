/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../../lib/plan_text.h"
#include "shunt/hash.h"
#include "util/cleanup.h"

#define _cleanup_world_ _cleanup_(world_free)
#define _cleanup_tables_ _cleanup_(tables_free)

/* Manifests by line, so that cases stay readable. */
#define META(ns, name) "metadata: {namespace: " ns ", name: " name "}"
#define SERVICE(ns, name, ip, ports) \
	"---\n{apiVersion: v1, kind: Service, " META(ns, name) ", spec: {clusterIPs: [" ip "], ports: [" ports "]}}\n"
#define SLICE_OF(ns, name, suffix, family, endpoints, ports) \
	"---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: " family ", metadata: {namespace: " ns ", name: " name \
	"-" suffix ", labels: {kubernetes.io/service-name: " name "}}, endpoints: [" endpoints "], ports: [" ports "]}\n"
#define SLICE(ns, name, ip, port) SLICE_OF(ns, name, "1", "IPv4", "{addresses: [" ip "]}", "{port: " port "}")
#define VS(name, spec) "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, " META("default", name) ", spec: {" spec "}}\n"
#define VS_NOTED(name, annotations, spec) \
	"---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {namespace: default, name: " name \
	", annotations: {" annotations "}}, spec: {" spec "}}\n"
#define TO(host) "{destination: {host: " host "}}"
#define TO_WEIGHT(host, weight) "{destination: {host: " host "}, weight: " weight "}"

/* Service web with versions v1 and v2 as Services of their own. */
#define WEB SERVICE("default", "web", "10.0.0.1", "{port: 80}")
#define V1 SERVICE("default", "v1", "10.0.0.11", "{port: 80}") SLICE("default", "v1", "10.1.0.1", "80")
#define V2 SERVICE("default", "v2", "10.0.0.12", "{port: 80}") SLICE("default", "v2", "10.2.0.1", "80")

/* ---- the tutorial ----------------------------------------------------------------------------------------------------------------------- */

#define FLOWERS(ns, ip, ip6, pod, pod6, target) \
	SERVICE(ns, "flowers-predictor-default", ip ", '" ip6 "'", "{name: http, port: 80, targetPort: " target "}") \
	SLICE_OF(ns, "flowers-predictor-default", "v4", "IPv4", "{addresses: [" pod "]}", "{name: http, port: " target "}") \
	SLICE_OF(ns, "flowers-predictor-default", "v6", "IPv6", "{addresses: ['" pod6 "']}", "{name: http, port: " target "}")

/* The seed's VirtualService, and the cluster around it. */
static const char tutorial[] =
	"apiVersion: networking.istio.io/v1alpha3\n"
	"kind: VirtualService\n"
	"metadata:\n"
	"  name: routing-rule\n"
	"  namespace: default\n"
	"spec:\n"
	"  gateways:\n"
	"  - knative-serving/knative-ingress-gateway\n"
	"  hosts:\n"
	"  - example.com\n"
	"  http:\n"
	"  - match:\n"
	"    - headers:\n"
	"        userhash: # user hash is a 10-digit random binary string\n"
	"          prefix: \"101\" # in expectation, 1/8th of user hashes will match this prefix\n"
	"    route: # matching users will always go to v2\n"
	"    - destination:\n"
	"        host: flowers-predictor-default.ns-candidate.svc.cluster.local\n"
	"      headers:\n"
	"        request:\n"
	"          set:\n"
	"            Host: flowers-predictor-default.ns-candidate\n"
	"        response:\n"
	"          set:\n"
	"            version: flowers-v2\n"
	"  - route: # non-matching users will always go to v1\n"
	"    - destination:\n"
	"        host: flowers-predictor-default.ns-baseline.svc.cluster.local\n"
	"      headers:\n"
	"        request:\n"
	"          set:\n"
	"            Host: flowers-predictor-default.ns-baseline\n"
	"        response:\n"
	"          set:\n"
	"            version: flowers-v1\n"
	"---\n"
	"{apiVersion: v1, kind: Service, metadata: {namespace: istio-system, name: istio-ingressgateway, annotations: {shunt.dev/gateway: "
	"knative-serving/knative-ingress-gateway}}, spec: {clusterIPs: [10.96.0.10, 'fd00:96::10'], ports: [{port: 80}]}}\n" FLOWERS(
		"ns-baseline", "10.96.1.10", "fd00:96::1:10", "10.77.3.2", "fd00:77:3::2", "8080")
		FLOWERS("ns-candidate", "10.96.2.10", "fd00:96::2:10", "10.77.4.2", "fd00:77:4::2", "8081");

static void the_tutorial_steers_101_to_the_candidate_on_both_families(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
	_cleanup_free_ char *steering = plan_steering_text(tables), *versions = plan_versions_text(tables),
			    *notes = plan_notes_text(tables->notes, tables->note_count);

	(void)state;
	assert_string_equal(steering, "10.96.0.10:80 request\n"
				      "  example.com by header:userhash\n"
				      "    101* flowers-v2\n"
				      "    else flowers-v1\n"
				      "[fd00:96::10]:80 like 10.96.0.10:80\n");
	assert_string_equal(versions, "flowers-v2 of default/routing-rule: 10.77.4.2:8081 [fd00:77:4::2]:8081, else flowers-v1, asks [Host: flowers-predictor-default.ns-candidate]!, answers [version: flowers-v2]\n"
				      "flowers-v1 of default/routing-rule: 10.77.3.2:8080 [fd00:77:3::2]:8080, asks [Host: flowers-predictor-default.ns-baseline]!, answers [version: flowers-v1]\n");
	assert_string_equal(notes, "");
}

static void an_experiments_trial_is_on_its_route_alone(void **state)
{
	static const struct shunt_trial trial = { .id = 77, .class = 2, .method_len = 4, .method = "POST" };
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering steerings[] = { { .experiment = (char *)"default/other", .route = (char *)"default/elsewhere", .entry = -1, .trial.id = 5 },
					{ .experiment = (char *)"default/exp", .route = (char *)"default/routing-rule", .entry = -1, .trial = trial } };
	_cleanup_tables_ struct tables *tables = plan_of(world, steerings, 2), *plain = plan_of(world, NULL, 0);

	(void)state;
	assert_int_equal(tables->trial_count, 1);
	assert_memory_equal(&tables->trials[0], &trial, sizeof(trial));
	assert_true(tables->route_count > 0);
	for (size_t i = 0; i < tables->route_count; i++)
		assert_int_equal(tables->routes[i].trial, 0);
	assert_int_equal(plain->trial_count, 0);
	for (size_t i = 0; i < plain->route_count; i++)
		assert_int_equal(plain->routes[i].trial, SHUNT_NONE);
}

static void a_promotion_gives_the_version_everything(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering promotion = { .experiment = (char *)"default/exp",
				       .version = (char *)"flowers-v2",
				       .route_hash = world->virtual_services[0].meta.hash };
	_cleanup_tables_ struct tables *tables = plan_of(world, &promotion, 1);
	_cleanup_free_ char *steering = plan_steering_text(tables), *versions = plan_versions_text(tables);

	(void)state;
	assert_string_equal(steering, "10.96.0.10:80 request\n"
				      "  example.com by header:userhash\n"
				      "    else flowers-v2\n"
				      "[fd00:96::10]:80 like 10.96.0.10:80\n");
	assert_non_null(strstr(versions, "flowers-v2 of default/routing-rule: 10.77.4.2:8081 [fd00:77:4::2]:8081, else flowers-v1, asks [Host: flowers-predictor-default.ns-candidate]!, answers "));
}

/* ---- frontends, hosts, rules, versions: manifest and expected steering ------------------------------------------------------------------- */

struct steering_case {
	const char *sentence, *yaml, *steering, *notes; /* notes NULL: none */
};

/* 119 bytes */
#define LONG_HOST "h23456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789.123456789"
#define AS(version) "{destination: {host: v1, subset: " version "}, weight: 1}"
#define NINE AS("a") ", " AS("b") ", " AS("c") ", " AS("d") ", " AS("e") ", " AS("f") ", " AS("g") ", " AS("h") ", " AS("i")

static const struct steering_case frontend_cases[] = {
	{ "a short host is a Service of the route's namespace, and all its TCP ports are frontends",
	  SERVICE("default", "web", "10.0.0.1", "{name: a, port: 80}, {name: b, port: 8080}, {name: u, port: 53, protocol: UDP}")
		  V1 VS("r", "hosts: [web], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v1.default\n10.0.0.1:8080 request\n  * by client\n    else v1.default\n", NULL },
	{ "full and short names of one Service are one frontend",
	  WEB V1 VS("r", "hosts: [web, web.default, web.default.svc, web.default.svc.cluster.local], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v1.default\n", NULL },
	{ "annotated addresses of both families share their routes",
	  V1 VS_NOTED("r", "shunt.dev/frontend: '10.0.0.9:8080, [fd00::9]:8080', shunt.dev/identity: 'header:X-User'",
		      "hosts: [Example.com, '*.example.org', '*'], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.9:8080 request\n  example.com by header:x-user\n    else v1.default\n  *.example.org by header:x-user\n    else v1.default\n  * by header:x-user\n    else v1.default\n"
	  "[fd00::9]:8080 like 10.0.0.9:8080\n",
	  "warning test.yaml:6 VirtualService default/r: version 'v1.default' (v1) has no ready IPv6 pod and nobody stands in; its users' connections to port 8080 are reset until it has\n" },
	{ "routes of one address are ordered: exact, longer suffix, suffix, any",
	  V1 V2 VS_NOTED("a", "shunt.dev/frontend: 10.0.0.9:80", "hosts: ['*', '*.b.example'], http: [{route: [" TO("v1") "]}]") VS_NOTED(
		  "b", "shunt.dev/frontend: 10.0.0.9:80", "hosts: ['*.a.b.example', x.b.example], http: [{route: [" TO("v2") "]}]"),
	  "10.0.0.9:80 request\n  x.b.example by client\n    else v2.default\n  *.a.b.example by client\n    else v2.default\n  *.b.example by client\n    else v1.default\n"
	  "  * by client\n    else v1.default\n",
	  NULL },
	{ "tcp routes are connection frontends",
	  WEB V1 V2 VS("r", "hosts: [web], tcp: [{route: [" TO_WEIGHT("v1", "75") ", " TO_WEIGHT("v2", "25") "]}]"),
	  "10.0.0.1:80 connection\n  * by client\n    else v2.default 25% v1.default 75%\n", NULL },
	{ "two routes that claim one host of one frontend: the first one steers",
	  WEB V1 V2 VS("b", "hosts: [web], http: [{route: [" TO("v1") "]}]") VS("a", "hosts: [web], http: [{route: [" TO("v2") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v2.default\n",
	  "error test.yaml:12 VirtualService default/b spec.hosts[0]: two routes on one frontend: 10.0.0.1:80 for host * belongs to VirtualService default/a (test.yaml:14), which came first "
	  "and goes on steering. Change a host or an address\n"
	  "error test.yaml:12 VirtualService default/b spec.hosts: no frontend leads to this route, so it steers nothing\n" },
	{ "a frontend is of one kind",
	  WEB V1 VS("a", "hosts: [web], http: [{route: [" TO("v1") "]}]") VS("b", "hosts: [web], tcp: [{route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v1.default\n",
	  "error test.yaml:10 VirtualService default/b spec.hosts[0]: frontend 10.0.0.1:80: VirtualService default/a (test.yaml:8) came first and has spec.http, this one spec.tcp; a frontend "
	  "is of one kind. It is left out here\n"
	  "error test.yaml:10 VirtualService default/b spec.hosts: no frontend leads to this route, so it steers nothing\n" },
	{ "frontends that cannot be read are named one by one",
	  V1 VS_NOTED("r", "shunt.dev/frontend: '10.0.0.9, 10.0.0.9:0, 10.0.0.9:65536, fd00::1:80, [10.0.0.9:80, 10.0.0.9:8x, 10.0.0.9:80'",
		      "hosts: ['*'], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.9:80 request\n  * by client\n    else v1.default\n",
#define BAD_FRONTEND(text) \
	"error test.yaml:6 VirtualService default/r metadata.annotations[shunt.dev/frontend]: found '" text \
	"', allowed are address:port with ports 1 to 65535, such as 10.0.0.1:80,[fd00::1]:80; it is left out\n"
	  BAD_FRONTEND("10.0.0.9") BAD_FRONTEND("10.0.0.9:0") BAD_FRONTEND("10.0.0.9:65536") BAD_FRONTEND("fd00::1:80")
		  BAD_FRONTEND("[10.0.0.9:80") BAD_FRONTEND("10.0.0.9:8x") },
	{ "a gateway without an annotated Service is said", V1 VS("r", "gateways: [gw], hosts: [web], http: [{route: [" TO("v1") "]}]"), "",
	  "warning test.yaml:6 VirtualService default/r spec.gateways[0]: no Service has the annotation shunt.dev/gateway: default/gw, so the gateway's addresses are not known; annotate the Service "
	  "in front of it\n"
	  "error test.yaml:6 VirtualService default/r spec.hosts: no frontend leads to this route, so it steers nothing\n" },
	{ "a host that is no Service needs a frontend", V1 VS("r", "hosts: [example.com], http: [{route: [" TO("v1") "]}]"), "",
	  "error test.yaml:6 VirtualService default/r spec.hosts: no host names a Service that is there; for other hosts write the annotation shunt.dev/frontend: address:port, or spec.gateways and a "
	  "Service with the annotation shunt.dev/gateway\n"
	  "error test.yaml:6 VirtualService default/r spec.hosts: no frontend leads to this route, so it steers nothing\n" },
	{ "a Service may stand for several gateways, and for hosts inside the cluster only when mesh is listed",
	  "---\n{apiVersion: v1, kind: Service, metadata: {namespace: edge, name: lb, annotations: {shunt.dev/gateway: 'a/other, default/gw'}}, spec: {clusterIPs: [10.0.0.5], ports: [{port: 80}]}}\n" WEB
		  V1 VS("r", "gateways: [gw], hosts: [web], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.5:80 request\n  web by client\n    else v1.default\n", NULL },
	{ "mesh and a gateway are both ways",
	  "---\n{apiVersion: v1, kind: Service, metadata: {namespace: edge, name: lb, annotations: {shunt.dev/gateway: default/gw}}, spec: {clusterIPs: [10.0.0.5], ports: [{port: 80}]}}\n" WEB
		  V1 VS("r", "gateways: [gw, mesh], hosts: [web], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.5:80 request\n  web by client\n    else v1.default\n10.0.0.1:80 request\n  * by client\n    else v1.default\n", NULL },
	{ "a Service without an address is said",
	  "---\n{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: None, ports: [{port: 80}]}}\n" V1 VS(
		  "r", "hosts: [web], http: [{route: [" TO("v1") "]}]"),
	  "",
	  "warning test.yaml:8 VirtualService default/r spec.hosts[0]: Service default/web (test.yaml:2) has no address (clusterIP or externalIPs), so no traffic can be steered there\n"
	  "error test.yaml:8 VirtualService default/r spec.hosts: no frontend leads to this route, so it steers nothing\n" },
	{ "a host that is longer than the kernel compares is left out",
	  V1 VS_NOTED("r", "shunt.dev/frontend: 10.0.0.9:80", "hosts: [" LONG_HOST "x, " LONG_HOST "], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.9:80 request\n  " LONG_HOST " by client\n    else v1.default\n",
	  "error test.yaml:6 VirtualService default/r spec.hosts[0]: host '" LONG_HOST
	  "x' has 120 bytes, allowed are 119; it is left out\n" },
	{ "http goes before tcp in one VirtualService, and that is an error",
	  WEB V1 VS("r", "hosts: [web], http: [{route: [" TO("v1") "]}], tcp: [{route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v1.default\n",
	  "error test.yaml:8 VirtualService default/r: has spec.http and spec.tcp; spec.tcp is left out. Write two VirtualServices with their own frontends\n" },
	{ "a second tcp entry is unreachable, and a connection has no header",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'header:user'",
			     "hosts: [web], tcp: [{route: [" TO("v1") "]}, {route: [" TO("v2") "]}]"),
	  "10.0.0.1:80 connection\n  * by client\n    else v1.default\n",
	  "error test.yaml:12 VirtualService default/r metadata.annotations[shunt.dev/identity]: found 'header:user', but spec.tcp routes know a user by the client address only; write client or spec.http\n"
	  "warning test.yaml:12 VirtualService default/r spec.tcp[1]: unreachable: spec.tcp[0] takes everything and comes first\n" },
	{ "a split of nine versions leaves the route out", WEB V1 VS("r", "hosts: [web], http: [{route: [" NINE "]}]"), "",
	  "error test.yaml:8 VirtualService default/r spec.http[0]: 9 destinations with a weight, allowed are 8\n"
	  "error test.yaml:8 VirtualService default/r: the route is left out (its traffic passes untouched)\n" },
};

#define TWO_ENTRIES(match, rest) "hosts: [web], http: [{match: [" match "], route: [" TO("v2") "]}, " rest "{route: [" TO("v1") "]}]"
#define STEERS(rules) "10.0.0.1:80 request\n  * by header:user\n" rules "    else v1.default\n"
#define RULE_NOTE(level, path, text) level " test.yaml:12 VirtualService default/r " path ": " text "\n"

#define LEFT_OUT(text) "error test.yaml:12 VirtualService default/r: " text "\n"
#define IDENTITY_NOTE(text) RULE_NOTE("error", "metadata.annotations[shunt.dev/identity]", text)
#define SPLIT "hosts: [web], http: [{route: [" TO_WEIGHT("v1", "50") ", " TO_WEIGHT("v2", "50") "]}]"
#define HALVED(identity) "10.0.0.1:80 request\n  * by " identity "\n    else v2.default 50% v1.default 50%\n"
#define NAME_64 "x-a-name-of-sixty-four-bytes-so-that-every-byte-of-it-is-in-use-"

static const struct steering_case rule_cases[] = {
	{ "prefix and exact matches become rules",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {User: {prefix: a}}}, {headers: {user: {exact: bob}}}", "")),
	  STEERS("    a* v2.default\n    =bob v2.default\n"), NULL },
	{ "a rule's split has weights, the first destination last",
	  WEB V1 V2 VS("r", "hosts: [web], http: [{match: [{headers: {user: {prefix: a}}}], route: [" TO_WEIGHT("v1", "99") ", " TO_WEIGHT(
				    "v2", "1") "]}, {route: [" TO("v1") "]}]"),
	  STEERS("    a* v2.default 1% v1.default 99%\n"), NULL },
	{ "a longer prefix in front of a shorter one stays",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {user: {prefix: ab}}}",
					"{match: [{headers: {user: {prefix: a}}}], route: [" TO("v1") "]}, ")),
	  STEERS("    ab* v2.default\n    a* v1.default\n"), NULL },
	{ "what an earlier, shorter prefix covers is unreachable",
	  WEB V1 V2 VS(
		  "r",
		  TWO_ENTRIES(
			  "{headers: {user: {prefix: a}}}",
			  "{match: [{headers: {user: {prefix: ab}}}, {headers: {user: {exact: abc}}}, {headers: {user: {prefix: b}}}], route: [" TO(
				  "v1") "]}, ")),
	  STEERS("    a* v2.default\n    b* v1.default\n"),
	  RULE_NOTE("warning", "spec.http[1].match[0]",
		    "unreachable: 'ab' lies within 'a' of spec.http[0], which comes first; put the longer one first")
		  RULE_NOTE("warning", "spec.http[1].match[1]",
			    "unreachable: 'abc' lies within 'a' of spec.http[0], which comes first; put the longer one first") },
	{ "of two equal rules the first one counts; within one entry nobody needs to know",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {user: {exact: a}}}, {headers: {user: {exact: a}}}",
					"{match: [{headers: {user: {exact: a}}}], route: [" TO("v1") "]}, ")),
	  STEERS("    =a v2.default\n"),
	  RULE_NOTE("warning", "spec.http[1].match[0]",
		    "unreachable: 'a' lies within 'a' of spec.http[0], which comes first; remove one of them") },
	{ "entries behind one without match are unreachable",
	  WEB V1 V2 VS("r", "hosts: [web], http: [{match: [{headers: {user: {prefix: a}}}], route: [" TO("v2") "]}, {route: [" TO(
				    "v1") "]}, {match: [{headers: {user: {prefix: b}}}], route: [" TO("v2") "]}]"),
	  STEERS("    a* v2.default\n"),
	  RULE_NOTE("warning", "spec.http[2]", "unreachable: spec.http[1] takes everything and comes first") },
	{ "without a default entry the first destination is the default",
	  WEB V1 V2 VS("r",
		       "hosts: [web], http: [{match: [{headers: {user: {prefix: a}}}], route: [" TO("v1") ", " TO_WEIGHT("v2", "1") "]}]"),
	  STEERS("    a* v2.default\n"),
	  RULE_NOTE(
		  "warning", "spec.http",
		  "no entry without match; users that no match names go to 'v1.default' (Istio would answer 404). Add an entry without match") },
	{ "a match on more than the user is an entry, in its place among the rules",
	  WEB V1 V2 VS(
		  "r",
		  TWO_ENTRIES("{uri: {prefix: /x}}, {headers: {user: {prefix: a}}, method: {exact: GET}}, {headers: {user: {exact: b}}}", "")),
	  STEERS("    path=/x* v2.default\n    method=GET and header:user=a* v2.default\n    =b v2.default\n"), NULL },
	{ "every condition is in the tables",
	  WEB V1 V2 VS_NOTED(
		  "r", "shunt.dev/identity: 'header:user'",
		  TWO_ENTRIES("{uri: {exact: /A}, ignoreUriCase: true, method: {prefix: P}, authority: {prefix: Shop.}, port: 80, scheme: {exact: http}, "
			      "headers: {B: {}, user: {exact: u}}, withoutHeaders: {c: {prefix: x}, d: {}}, queryParams: {Q: {exact: ''}, r: {prefix: z}}, "
			      "statPrefix: s, name: n}",
			      "")),
	  STEERS("    method=P* and path=/a (any case) and host=shop.* and header:b and header:user=u and !header:c=x* and !header:d and query:Q= and "
		 "query:r=z* v2.default\n"),
	  NULL },
	{ "a prefix / takes everything",
	  WEB V1 V2 VS("r", "hosts: [web], http: [{match: [{uri: {prefix: /a}}], route: [" TO("v2") "]}, {match: [{uri: {prefix: /}}], route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    path=/a* v2.default\n    else v1.default\n", NULL },
	{ "an identity too long for a rule is an entry",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {user: {exact: " LONG_HOST "x}}}, {headers: {user: {exact: " LONG_HOST "}}}", "")),
	  STEERS("    header:user=" LONG_HOST "x v2.default\n    =" LONG_HOST " v2.default\n"), NULL },
	{ "regular expressions that are texts are read, others are named",
	  WEB V1 V2 VS_NOTED(
		  "r", "shunt.dev/identity: 'header:user'",
		  TWO_ENTRIES("{headers: {user: {regex: '^a\\.b$'}}}, {headers: {user: {regex: 'c.*'}}}, {uri: {regex: '/x/.*'}}, {headers: {d: {regex: '.*'}}}, "
			      "{headers: {user: {regex: 'a|b'}}}, {uri: {regex: '/x+'}}, {uri: {regex: '/[0-9]'}}, {uri: {regex: '/x\\d'}}, "
			      "{uri: {regex: '/x\\.*'}}, {uri: {regex: '/x.'}}",
			      "")),
	  STEERS("    =a.b v2.default\n    c* v2.default\n    path=/x/* v2.default\n    header:d v2.default\n"),
#define NO_REGEX(match, path)                                                                                         \
	RULE_NOTE("error", "spec.http[0].match[" match "]",                                                           \
		  "the condition spec.http[0].match[" match "]." path ".regex is not available; this match is left out " \
		  "(its requests are routed by the others)")
	  NO_REGEX("4", "headers.user") NO_REGEX("5", "uri") NO_REGEX("6", "uri") NO_REGEX("7", "uri") NO_REGEX("8", "uri") NO_REGEX("9", "uri") },
	{ "an entry whose matches are all left out has no split",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'header:user'", TWO_ENTRIES("{sourceNamespace: x}", "")), STEERS(""),
	  RULE_NOTE("error", "spec.http[0].match[0]",
		    "the condition spec.http[0].match[0].sourceNamespace is not available; this match is left out (its requests are routed by the others)") },
	{ "matches for other ports and schemes take nothing",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'header:user'", TWO_ENTRIES("{port: 8080}, {scheme: {exact: https}}", "")), STEERS(""),
	  RULE_NOTE("warning", "spec.http[0].match[1]", "asks for the scheme 'https', but requests are read in plain http only; this match takes none") },
	{ "what no path and no host is, is said",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'header:user'", TWO_ENTRIES("{uri: {prefix: '/a?b'}}, {authority: {exact: 'a:80'}}, {authority: {exact: '[::1]'}}", "")),
	  STEERS("    host=[::1] v2.default\n"),
	  RULE_NOTE("error", "spec.http[0].match[0]", "the path '/a?b' has a '?', a '#' or a blank, which no path has; this match is left out")
		  RULE_NOTE("error", "spec.http[0].match[1]",
			    "authority 'a:80' has a port, allowed is a host; write the condition port. This match is left out") },
	{ "more than an entry takes leaves the route out",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}, g: {}, h: {}, i: {}, j: {}, k: {}, l: {}, m: {}, n: {}, o: {}, p: {}, q: {}}}", "")),
	  "",
	  RULE_NOTE("warning", "spec.http",
		    "matches look at the header 'a' and the header 'q'; a user is known by one. 'a' is taken; choose with the annotation shunt.dev/identity: header:NAME")
		  RULE_NOTE("error", "spec.http[0].match[0]", "has more than 16 conditions")
			  LEFT_OUT("the route is left out (its traffic passes untouched)") },
	{ "so does a value that is too long",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: client", TWO_ENTRIES("{uri: {exact: /" LONG_HOST "123456789}}", "")), "",
	  RULE_NOTE("error", "spec.http[0].match[0]", "the value for the path '' has 129 bytes, allowed are 128")
		  LEFT_OUT("the route is left out (its traffic passes untouched)") },
	{ "presence, two headers at once and an empty prefix",
	  WEB V1 V2 VS_NOTED(
		  "r", "shunt.dev/identity: 'header:user'",
		  TWO_ENTRIES("{headers: {user: {}}}, {headers: {user: {prefix: a}, other: {exact: b}}}, {headers: {user: {prefix: ''}}}",
			      "")),
	  STEERS("    header:user v2.default\n    header:user=a* and header:other=b v2.default\n    header:user v2.default\n"), NULL },
	{ "matches on two headers: the first with a prefix is the identity",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {group: {exact: b}}}, {headers: {user: {prefix: a}}}", "")),
	  STEERS("    header:group=b v2.default\n    a* v2.default\n"),
	  RULE_NOTE(
		  "warning", "spec.http",
		  "matches look at the header 'user' and the header 'group'; a user is known by one. 'user' is taken; choose with the annotation shunt.dev/identity: header:NAME") },
	{ "what must not be there is nobody's identity",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{withoutHeaders: {debug: {}}, headers: {user: {prefix: a}}}", "")),
	  STEERS("    header:user=a* and !header:debug v2.default\n"), NULL },
	{ "a cookie's name keeps its case",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'cookie:__Host-Uid'", SPLIT), HALVED("cookie:__Host-Uid"), NULL },
	{ "a parameter's name keeps its case and its escapes",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'query:user%5Bid]'", SPLIT), HALVED("query:user%5Bid]"), NULL },
	{ "names of 64 bytes are the longest",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'cookie:" NAME_64 "'", SPLIT), HALVED("cookie:" NAME_64), NULL },
	{ "a longer name is refused", WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'query:" NAME_64 "x'", SPLIT), HALVED("client"),
	  IDENTITY_NOTE("the query parameter's name has 65 bytes, allowed are 1 to 64; the client address decides instead") },
	{ "so is none", WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'cookie:'", SPLIT), HALVED("client"),
	  IDENTITY_NOTE("the cookie's name has 0 bytes, allowed are 1 to 64; the client address decides instead") },
	{ "a cookie's name is a token", WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'cookie:a=b'", SPLIT), HALVED("client"),
	  IDENTITY_NOTE("the cookie's name is 'a=b', allowed are letters, digits and !#$%&'*+-.^_`|~; the client address decides instead") },
	{ "a parameter's name is as it stands in a URL", WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'query:a&b'", SPLIT), HALVED("client"),
	  IDENTITY_NOTE("the query parameter's name is 'a&b', allowed are letters, digits and !$'()*+,-./:;?@_~[]%; the client address decides instead") },
	{ "names are ASCII", WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'header:n\xc3\xa4me'", SPLIT), HALVED("client"),
	  IDENTITY_NOTE("the header's name is 'n\xc3\xa4me', allowed are letters, digits and !#$%&'*+-.^_`|~; the client address decides instead") },
	{ "matches on a parameter make it the identity, and rules",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{queryParams: {Uid: {prefix: a}}}, {queryParams: {Uid: {exact: bob}}}", "")),
	  "10.0.0.1:80 request\n  * by query:Uid\n    a* v2.default\n    =bob v2.default\n    else v1.default\n", NULL },
	{ "an entry that asks for a parameter is no default",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'query:uid'", TWO_ENTRIES("{queryParams: {uid: {exact: a}}}", "")),
	  "10.0.0.1:80 request\n  * by query:uid\n    =a v2.default\n    else v1.default\n", NULL },
	{ "parameters' names differ by case, and from headers",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'query:uid'", TWO_ENTRIES("{queryParams: {Uid: {prefix: a}}}, {headers: {uid: {prefix: b}}}", "")),
	  "10.0.0.1:80 request\n  * by query:uid\n    query:Uid=a* v2.default\n    header:uid=b* v2.default\n    else v1.default\n", NULL },
	{ "a header and a parameter: the first is the identity",
	  WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {user: {prefix: a}}}, {queryParams: {user: {exact: b}}}", "")),
	  STEERS("    a* v2.default\n    query:user=b v2.default\n"),
	  RULE_NOTE(
		  "warning", "spec.http",
		  "matches look at the header 'user' and the query parameter 'user'; a user is known by one. 'user' is taken; choose with the annotation shunt.dev/identity: query:NAME") },
	{ "the whole Cookie header is nobody's identity, but may be matched",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: 'cookie:user'",
			     TWO_ENTRIES("{headers: {cookie: {exact: user=a}}}, {headers: {user: {exact: c}}}", "")),
	  "10.0.0.1:80 request\n  * by cookie:user\n    header:cookie=user=a v2.default\n    header:user=c v2.default\n    else v1.default\n", NULL },
	{ "also without the annotation", WEB V1 V2 VS("r", TWO_ENTRIES("{headers: {cookie: {prefix: user=a}}}", "")),
	  "10.0.0.1:80 request\n  * by client\n    header:cookie=user=a* v2.default\n    else v1.default\n", NULL },
	{ "an identity of no known form is said",
	  WEB V1 V2 VS_NOTED("r", "shunt.dev/identity: userhash", "hosts: [web], http: [{route: [" TO("v1") "]}]"),
	  "10.0.0.1:80 request\n  * by client\n    else v1.default\n",
	  RULE_NOTE("error", "metadata.annotations[shunt.dev/identity]",
		    "found 'userhash', allowed are header:NAME, cookie:NAME, query:NAME and client; the client address decides instead") },
};

/* ---- Gateway and HTTPRoute: precedence and merging --------------------------------------------------------------------------------------- */

#define GATEWAY_OF(ns, class, listeners, more)                                                                                          \
	"---\n{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, " META(ns, "gw") ", spec: {gatewayClassName: " class ", listeners: [" \
	listeners "]" more "}}\n"
#define LISTENER(more) "{name: http, port: 80, protocol: HTTP" more "}"
#define GATEWAY GATEWAY_OF("default", "shunt", LISTENER(""), ", addresses: [{value: 10.0.0.1}]")
#define HTTP_ROUTE_OF(name, created, spec)                                                                                            \
	"---\n{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: " name ", creationTimestamp: '" created "'}, spec: {" spec "}}\n"
#define HTTP_ROUTE(name, hosts, rules) HTTP_ROUTE_OF(name, "2026-01-01T00:00:00Z", "parentRefs: [{name: gw}], " hosts "rules: [" rules "]")
#define RULE(version, matches) "{matches: [" matches "], backendRefs: [{name: " version ", port: 80}]}, "
#define PATH(type, value) "path: {type: " type ", value: " value "}"
#define ALL_ELSE "{backendRefs: [{name: v1, port: 80}]}"
#define GW_NOTE(level, path, text) level " test.yaml:14 HTTPRoute default/r " path ": " text "\n"
#define NO_FRONTEND GW_NOTE("error", "spec.parentRefs", "no frontend leads to this route, so it steers nothing")

static const struct steering_case gateway_cases[] = {
	{ "rules stand in the order of the Gateway API, not of the manifest",
	  WEB V1 V2 GATEWAY HTTP_ROUTE(
		  "r", "",
		  ALL_ELSE ", " RULE("v2", "{headers: [{name: X-A, value: b}]}, {queryParams: [{name: a, value: b}]}, {method: GET}")
			  RULE("v1", "{method: GET, headers: [{name: x-a, value: b}], queryParams: [{name: a, value: b}]}")
			  RULE("v1", "{" PATH("PathPrefix", "/a") ", method: GET}") RULE("v2", "{" PATH("PathPrefix", "/ab/") "}")
			  RULE("v2", "{" PATH("Exact", "/") "}, {" PATH("PathPrefix", "/a") ", headers: [{name: a, value: b}, {name: c, value: d}]}")
			  RULE("v2", "{" PATH("PathPrefix", "/a") ", headers: [{name: a, value: b}]}")),
	  "10.0.0.1:80 request\n  * by header:x-a\n"
	  "    path=/ v2.default\n    path=/ab/* v2.default\n    method=GET and path=/a/* v1.default\n    path=/a/* and header:a=b and header:c=d v2.default\n"
	  "    path=/a/* and header:a=b v2.default\n    method=GET and header:x-a=b and query:a=b v1.default\n    method=GET v2.default\n    =b v2.default\n"
	  "    query:a=b v2.default\n    else v1.default\n",
	  GW_NOTE("warning", "spec.rules",
		  "matches look at the header 'x-a' and the header 'a'; a user is known by one. 'x-a' is taken; choose with the annotation shunt.dev/identity: header:NAME") },
	{ "weights divide a rule's users; the first backend comes last",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("r", "", "{backendRefs: [{name: v1, port: 80, weight: 3}, {name: v2, port: 80}], sessionPersistence: {sessionName: Uid}}"),
	  "10.0.0.1:80 request\n  * by cookie:Uid\n    else v2.default 25% v1.default 75%\n", NULL },
	{ "a header of sessionPersistence, and a version from a filter",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("r", "hostnames: [A.test], ",
				       "{backendRefs: [{name: v1, port: 80}], filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: Version, value: one}]}}], "
				       "sessionPersistence: {sessionName: User, type: Header}}"),
	  "10.0.0.1:80 request\n  a.test by header:user\n    else one\n", NULL },
	{ "routes of one host are one list: by precedence, then age, then name",
	  WEB V1 V2 GATEWAY HTTP_ROUTE_OF("a", "2026-01-02T00:00:00Z", "parentRefs: [{name: gw}], rules: [" RULE("v1", "{" PATH("PathPrefix", "/same") "}, {" PATH("Exact", "/x") "}") "]")
		  HTTP_ROUTE_OF("b", "2026-01-01T00:00:00Z",
				"parentRefs: [{name: gw}], rules: [" RULE("v2", "{" PATH("PathPrefix", "/same") "}, {" PATH("PathPrefix", "/longer") "}") ALL_ELSE "]"),
	  "10.0.0.1:80 request\n  * by client\n    path=/x v1.default\n    path=/longer/* v2.default\n    path=/same/* v2.default\n    path=/same/* v1.default\n    else v1.default\n",
	  "warning test.yaml:14 HTTPRoute default/a spec.rules: no entry without match; users that no match names go to 'v1.default' (a gateway would answer 404). Add an entry without match\n" },
	{ "what a host's own rules do not take falls to those of a wildcard",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("a", "hostnames: ['*.b.test'], ", RULE("v2", "{" PATH("Exact", "/any") "}") ALL_ELSE)
		  HTTP_ROUTE("b", "hostnames: [a.b.test, c.test], ", RULE("v2", "{" PATH("PathPrefix", "/own") "}") RULE("v1", "{" PATH("PathPrefix", "/") ", method: GET}")),
	  "10.0.0.1:80 request\n"
	  "  a.b.test by client\n    path=/own/* v2.default\n    method=GET v1.default\n    path=/any v2.default\n    else v1.default\n"
	  "  c.test by client\n    path=/own/* v2.default\n    method=GET v1.default\n    else v2.default\n"
	  "  *.b.test by client\n    path=/any v2.default\n    else v1.default\n",
	  "warning test.yaml:16 HTTPRoute default/b spec.rules: no entry without match; users that no match names go to 'v2.default' (a gateway would answer 404). Add an entry without match\n" },
	{ "routes of one host know their users by one name",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("a", "", "{backendRefs: [{name: v1, port: 80}], sessionPersistence: {sessionName: a}}")
		  HTTP_ROUTE("b", "", "{" "matches: [{" PATH("Exact", "/x") "}], backendRefs: [{name: v2, port: 80}], sessionPersistence: {sessionName: b}}"),
	  "10.0.0.1:80 request\n  * by cookie:a\n    else v1.default\n",
	  "warning test.yaml:16 HTTPRoute default/b spec.rules: no entry without match; users that no match names go to 'v2.default' (a gateway would answer 404). Add an entry without match\n"
	  "error test.yaml:16 HTTPRoute default/b spec.rules: users are known by another header, cookie or parameter than in HTTPRoute default/a, whose host * this route has, too; its rules are left "
	  "out there. Write the same sessionPersistence in both\n" },
	{ "rules of one route know their users by one name",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("r", "", "{matches: [{" PATH("Exact", "/x") "}], backendRefs: [{name: v2, port: 80}], sessionPersistence: {sessionName: a}}, "
						"{backendRefs: [{name: v1, port: 80}], sessionPersistence: {sessionName: a, type: Header}}"),
	  "10.0.0.1:80 request\n  * by cookie:a\n    path=/x v2.default\n    else v1.default\n",
	  GW_NOTE("error", "spec.rules[1].sessionPersistence", "'a', but an earlier rule has 'a'; a user is known by one, the first is taken") },
	{ "a listener's hostname and the route's: the narrower of both",
	  WEB V1 GATEWAY_OF("default", "shunt", LISTENER(", hostname: '*.b.test'"), ", addresses: [{value: 10.0.0.1}]")
		  HTTP_ROUTE("r", "hostnames: [a.b.test, '*.test', c.test, '*.x.b.test'], ", ALL_ELSE),
	  "10.0.0.1:80 request\n  a.b.test by client\n    else v1.default\n  *.x.b.test by client\n    else v1.default\n  *.b.test by client\n    else v1.default\n", NULL },
	{ "a parent chooses a listener by name or port; each address is a frontend",
	  V1 GATEWAY_OF("default", "shunt", LISTENER("") ", {name: b, port: 81, protocol: HTTP, hostname: b.test}, {name: c, port: 82, protocol: HTTP}",
			", addresses: [{value: 10.0.0.1}, {type: IPAddress, value: 10.0.0.2}]")
		  HTTP_ROUTE_OF("r", "2026-01-01T00:00:00Z", "parentRefs: [{name: gw, sectionName: b}, {name: gw, port: 82}], rules: [" ALL_ELSE "]"),
	  "10.0.0.1:81 request\n  b.test by client\n    else v1.default\n10.0.0.2:81 like 10.0.0.1:81\n10.0.0.1:82 request\n  * by client\n    else v1.default\n10.0.0.2:82 like 10.0.0.1:82\n", NULL },
	{ "without addresses, those of the Service that stands for the Gateway",
	  "---\n{apiVersion: v1, kind: Service, metadata: {namespace: edge, name: lb, annotations: {shunt.dev/gateway: default/gw}}, spec: {clusterIPs: [10.0.0.5], ports: [{port: 8080}]}}\n" V1
		  GATEWAY_OF("default", "shunt", LISTENER(""), "") HTTP_ROUTE("r", "", ALL_ELSE),
	  "10.0.0.5:80 request\n  * by client\n    else v1.default\n", NULL },
	{ "a Service as parent, for any host, on one port",
	  SERVICE("default", "web", "10.0.0.1", "{name: a, port: 80}, {name: b, port: 81}") V1
		  HTTP_ROUTE_OF("r", "2026-01-01T00:00:00Z", "parentRefs: [{group: '', kind: Service, name: web, port: 81}], rules: [" ALL_ELSE "]"),
	  "10.0.0.1:81 request\n  * by client\n    else v1.default\n", NULL },
	{ "an HTTPRoute and a VirtualService share a frontend, but not a host",
	  V1 V2 GATEWAY HTTP_ROUTE("r", "hostnames: [a.test, c.test], ", ALL_ELSE)
		  VS_NOTED("vs", "shunt.dev/frontend: 10.0.0.1:80", "hosts: [a.test, b.test], http: [{route: [" TO("v2") "]}]"),
	  "10.0.0.1:80 request\n  a.test by client\n    else v2.default\n  b.test by client\n    else v2.default\n  c.test by client\n    else v1.default\n",
	  "error test.yaml:12 HTTPRoute default/r spec.parentRefs[0]: two routes on one frontend: 10.0.0.1:80 for host a.test belongs to VirtualService default/vs (test.yaml:14), which came first and goes "
	  "on steering. Change a host or an address\n" },
	{ "a Gateway that is not there", WEB V1 V2 HTTP_ROUTE("r", "", ALL_ELSE), "",
	  "error test.yaml:12 HTTPRoute default/r spec.parentRefs[0]: there is no Gateway default/gw; create it or correct the name\n"
	  "error test.yaml:12 HTTPRoute default/r spec.parentRefs: no frontend leads to this route, so it steers nothing\n" },
	{ "a Gateway of another class", WEB V1 V2 GATEWAY_OF("default", "istio", LISTENER(""), ", addresses: [{value: 10.0.0.1}]") HTTP_ROUTE("r", "", ALL_ELSE), "",
	  GW_NOTE("warning", "spec.parentRefs[0]", "Gateway default/gw is of the class 'istio', and shunt carries out 'shunt'; it is left to its own controller") NO_FRONTEND },
	{ "a listener that is not plain HTTP",
	  WEB V1 V2 GATEWAY_OF("default", "shunt", "{name: tls, port: 443, protocol: HTTPS, tls: {}}", ", addresses: [{value: 10.0.0.1}]") HTTP_ROUTE("r", "", ALL_ELSE), "",
	  "warning test.yaml:12 Gateway default/gw: spec.listeners[0].tls is accepted, not done yet\n"
	  GW_NOTE("warning", "spec.parentRefs[0]", "listener 'tls' of Gateway default/gw has the protocol HTTPS; requests are read in plain HTTP only, so it is left out") NO_FRONTEND },
	{ "a Gateway of another namespace takes only whom it names",
	  WEB V1 V2 GATEWAY_OF("edge", "shunt", LISTENER("") ", {name: all, port: 81, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}", ", addresses: [{value: 10.0.0.1}]")
		  HTTP_ROUTE_OF("r", "2026-01-01T00:00:00Z", "parentRefs: [{name: gw, namespace: edge}], rules: [" ALL_ELSE "]"),
	  "10.0.0.1:81 request\n  * by client\n    else v1.default\n",
	  GW_NOTE("error", "spec.parentRefs[0]",
		  "listener 'http' of Gateway edge/gw (test.yaml:12) does not take routes of namespace default; allowedRoutes.namespaces.from may be Same or All (Selector is not done yet)") },
	{ "no listener leads there",
	  WEB V1 V2 GATEWAY_OF("default", "shunt", LISTENER(", hostname: a.test"), ", addresses: [{value: 10.0.0.1}]") HTTP_ROUTE("r", "hostnames: [b.test], ", ALL_ELSE), "",
	  GW_NOTE("error", "spec.parentRefs[0]",
		  "no listener of Gateway default/gw leads here: none has this sectionName, port and one of the hostnames at an address; write spec.addresses, or the annotation shunt.dev/gateway: default/gw on "
		  "the Service in front of it") NO_FRONTEND },
	{ "filters and regular expressions that are not done are named",
	  WEB V1 V2 GATEWAY HTTP_ROUTE("r", "", "{filters: [{type: URLRewrite, urlRewrite: {}}], timeouts: {request: 1s}, "
						"matches: [{" PATH("RegularExpression", "/a.*") "}, {" PATH("RegularExpression", "'/a|b'") "}], backendRefs: [{name: v2, port: 80}]}, " ALL_ELSE),
	  "10.0.0.1:80 request\n  * by client\n    path=/a* v2.default\n    else v1.default\n",
	  GW_NOTE("warning", "spec.rules[0]", "spec.rules[0].filters[0].urlRewrite is accepted, not done yet")
		  GW_NOTE("warning", "spec.rules[0]", "spec.rules[0].timeouts is accepted, not done yet")
			  GW_NOTE("error", "spec.rules[0].matches[1]",
				  "the condition spec.rules[0].matches[1].path.value is not available; this match is left out (its requests are routed by the others)") },
};

static void check_steering(const struct steering_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		_cleanup_world_ struct world *world = world_of(cases[i].yaml);
		_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
		_cleanup_free_ char *steering = plan_steering_text(tables), *notes = plan_notes_text(tables->notes, tables->note_count);
		const char *expected = cases[i].notes ? cases[i].notes : "";

		if (strcmp(steering, cases[i].steering) != 0 || strcmp(notes, expected) != 0)
			print_error("case: %s\n%s%s", cases[i].sentence, steering, notes);
		assert_string_equal(steering, cases[i].steering);
		assert_string_equal(notes, expected);
	}
}

static void frontends_follow_hosts_gateways_and_annotations(void **state)
{
	(void)state;
	check_steering(frontend_cases, ARRAY_SIZE(frontend_cases));
}

static void rules_follow_istios_order(void **state)
{
	(void)state;
	check_steering(rule_cases, ARRAY_SIZE(rule_cases));
}

static void http_routes_follow_the_gateway_apis_precedence(void **state)
{
	(void)state;
	check_steering(gateway_cases, ARRAY_SIZE(gateway_cases));
}

/* ---- pods ------------------------------------------------------------------------------------------------------------------------------- */

#define ROUTE_TO(destination) WEB VS("r", "hosts: [web], http: [{route: [" destination "]}]")

static const struct {
	const char *sentence, *yaml, *versions, *notes;
} pod_cases[] = {
	{ "targetPort by name is what the slice says",
	  ROUTE_TO(TO("app")) SERVICE("default", "app", "10.0.0.2", "{name: web, port: 80, targetPort: serve}")
		  SLICE_OF("default", "app", "1", "IPv4", "{addresses: [10.1.0.1]}", "{name: admin, port: 9}, {name: web, port: 8443}"),
	  "app.default of default/r: 10.1.0.1:8443\n", "" },
	{ "a slice that carries only the number of targetPort",
	  ROUTE_TO(TO("app")) SERVICE("default", "app", "10.0.0.2", "{name: web, port: 80, targetPort: 8080}")
		  SLICE_OF("default", "app", "1", "IPv4", "{addresses: [10.1.0.1]}", "{port: 9}, {port: 8080}"),
	  "app.default of default/r: 10.1.0.1:8080\n", "" },
	{ "only ready pods that do not terminate, each once",
	  ROUTE_TO(TO("app")) SERVICE("default", "app", "10.0.0.2", "{port: 80}") SLICE_OF(
		  "default", "app", "1", "IPv4",
		  "{addresses: [10.1.0.1]}, {addresses: [10.1.0.2], conditions: {ready: false}}, {addresses: [10.1.0.3], conditions: {ready: true, terminating: true}}, {addresses: [10.1.0.4], conditions: {ready: true}}",
		  "{port: 80}") SLICE_OF("default", "app", "2", "IPv4", "{addresses: [10.1.0.1]}", "{port: 80}"),
	  "app.default of default/r: 10.1.0.1:80 10.1.0.4:80\n", "" },
	{ "a destination's port chooses among the Service's",
	  ROUTE_TO("{destination: {host: app, port: {number: 8080}}}") SERVICE(
		  "default", "app", "10.0.0.2", "{name: a, port: 80, targetPort: 1080}, {name: b, port: 8080, targetPort: 2080}")
		  SLICE_OF("default", "app", "1", "IPv4", "{addresses: [10.1.0.1]}", "{name: a, port: 1080}, {name: b, port: 2080}"),
	  "app.default of default/r: 10.1.0.1:2080\n", "" },
	{ "without one, the frontend's port does",
	  ROUTE_TO(TO("app")) SERVICE("default", "app", "10.0.0.2",
				      "{name: b, port: 8080, targetPort: 2080}, {name: a, port: 80, targetPort: 1080}")
		  SLICE_OF("default", "app", "1", "IPv4", "{addresses: [10.1.0.1]}", "{name: a, port: 1080}, {name: b, port: 2080}"),
	  "app.default of default/r: 10.1.0.1:1080\n", "" },
	{ "a port that the Service does not have",
	  ROUTE_TO("{destination: {host: app, port: {number: 81}}}")
		  SERVICE("default", "app", "10.0.0.2", "{name: a, port: 80}, {name: b, port: 8080}"),
	  "app.default of default/r:\n",
	  "error test.yaml:4 VirtualService default/r spec.http[0].route[0]: Service default/app has no TCP port 81 (its ports: 80, 8080); correct destination.port.number\n"
	  "warning test.yaml:4 VirtualService default/r: version 'app.default' (app) has no ready IPv4 pod and nobody stands in; its users' connections to port 80 are reset until it has\n" },
	{ "a Service that does not exist names those that do",
	  ROUTE_TO(TO_WEIGHT("v1", "90") ", " TO_WEIGHT("v3.default.svc.cluster.local", "10")) V1,
	  "v1.default of default/r: 10.1.0.1:80\nv3.default of default/r:, else v1.default\n",
	  "error test.yaml:4 VirtualService default/r spec.http[0].route[1]: a route whose Service does not exist: no Service 'v3' in namespace 'default' (Services there: web, v1); create it or correct "
	  "destination.host 'v3.default.svc.cluster.local'\n"
	  "warning test.yaml:4 VirtualService default/r: version 'v3.default' (v3.default.svc.cluster.local) has no ready IPv4 pod; 'v1.default' serves its users on port 80 until it has\n" },
	{ "a destination that is no Service name", ROUTE_TO(TO_WEIGHT("v1", "90") ", " TO_WEIGHT("api.example.com", "10")) V1,
	  "v1.default of default/r: 10.1.0.1:80\napi.example.com of default/r:, else v1.default\n",
	  "error test.yaml:4 VirtualService default/r spec.http[0].route[1]: destination host 'api.example.com' is no Service name; allowed are name, name.namespace and "
	  "name.namespace.svc.cluster.local\n"
	  "warning test.yaml:4 VirtualService default/r: version 'api.example.com' (api.example.com) has no ready IPv4 pod; 'v1.default' serves its users on port 80 until it has\n" },
	{ "a slice without the port",
	  ROUTE_TO(TO("app")) SERVICE("default", "app", "10.0.0.2", "{name: web, port: 80}")
		  SLICE_OF("default", "app", "1", "IPv4", "{addresses: [10.1.0.1]}", "{name: x, port: 81}"),
	  "app.default of default/r:\n",
	  "warning test.yaml:8 EndpointSlice default/app-1 ports: no port has the name 'web' of port 80 of Service app, nor its targetPort; the slice's pods are left out\n"
	  "warning test.yaml:4 VirtualService default/r: version 'app.default' (app) has no ready IPv4 pod and nobody stands in; its users' connections to port 80 are reset until it has\n" },
	{ "subset and response header name versions; one name for two destinations is an error",
	  ROUTE_TO(
		  "{destination: {host: v1, subset: old}, weight: 1}, {destination: {host: v2}, weight: 1, headers: {response: {set: {version: new}}}}, {destination: {host: v1}, weight: 1, headers: "
		  "{response: {set: {version: new}}}}") V1 V2,
	  "old of default/r: 10.1.0.1:80\nnew of default/r: 10.2.0.1:80, else old, answers [version: new]\n",
	  "error test.yaml:4 VirtualService default/r spec.http[0].route[2]: version 'new' names another destination (v1) than before (v2); the first one serves both. Give them two names\n" },
};

static void versions_have_the_ready_pods_behind_their_port(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pod_cases); i++) {
		_cleanup_world_ struct world *world = world_of(pod_cases[i].yaml);
		_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
		_cleanup_free_ char *versions = plan_versions_text(tables), *notes = plan_notes_text(tables->notes, tables->note_count);

		if (strcmp(versions, pod_cases[i].versions) != 0 || strcmp(notes, pod_cases[i].notes) != 0)
			print_error("case: %s\n%s%s", pod_cases[i].sentence, versions, notes);
		assert_string_equal(versions, pod_cases[i].versions);
		assert_string_equal(notes, pod_cases[i].notes);
	}
}

/* ---- nodes ------------------------------------------------------------------------------------------------------------------------------ */

#define POD_AT(ip, node) "{addresses: [" ip "], nodeName: " node "}"
#define MIXED V1 SERVICE("default", "v2", "10.0.0.12", "{port: 80}") \
	SLICE_OF("default", "v2", "1", "IPv4", POD_AT("10.2.0.1", "here") "," POD_AT("10.2.0.2", "there") "," POD_AT("10.2.0.3", "there"), "{port: 80}")
#define ROUTE_MIXED VS("web", "hosts: [web], http: [{route: [" TO_WEIGHT("v1", "50") "," TO_WEIGHT("v2", "50") "]}]")

static const struct {
	const char *sentence;
	bool known;
	struct plan_node node;
	const char *versions, *notes;
} node_cases[] = {
	{ "who knows no node has all pods here", false, {}, "v1.default of default/web: 10.1.0.1:80\n"
	  "v2.default of default/web: 10.2.0.1:80 10.2.0.2:80 10.2.0.3:80, else v1.default\n", "" },
	{ "pods of other nodes serve, and those of this are known", true, { "here", true, { true, true } },
	  "v1.default of default/web: 10.1.0.1:80\n"
	  "v2.default of default/web: 10.2.0.1:80 10.2.0.2:80 10.2.0.3:80, here 10.2.0.1:80, else v1.default\n", "" },
	{ "a slice that names no node has its pods here", true, { "elsewhere", true, { true, true } },
	  "v1.default of default/web: 10.1.0.1:80\n"
	  "v2.default of default/web: 10.2.0.1:80 10.2.0.2:80 10.2.0.3:80, here, else v1.default\n", "" },
	{ "no uplink: said", true, { "here", false, { false, false } },
	  "v1.default of default/web: 10.1.0.1:80\n"
	  "v2.default of default/web: 10.2.0.1:80 10.2.0.2:80 10.2.0.3:80, here 10.2.0.1:80, else v1.default\n",
	  "info test.yaml:8 Service default/v2: 2 of 3 IPv4 pods are on other nodes; clients outside and processes of this node can use them only when shunt knows the interface that leads there (--uplink)\n" },
	{ "an uplink without an address: warned of", true, { "there", true, { false, true } },
	  "v1.default of default/web: 10.1.0.1:80\n"
	  "v2.default of default/web: 10.2.0.1:80 10.2.0.2:80 10.2.0.3:80, here 10.2.0.2:80 10.2.0.3:80, else v1.default\n",
	  "warning test.yaml:8 Service default/v2: 1 of 3 IPv4 pods are on other nodes and this node's uplink has no IPv4 address to which they could answer: clients outside and on the node itself get the pods of this node only\n" },
};

static void pods_are_on_this_node_or_elsewhere(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(node_cases); i++) {
		_cleanup_world_ struct world *world = world_of(WEB MIXED ROUTE_MIXED);
		_cleanup_tables_ struct tables *tables = plan_on(world, node_cases[i].known ? &node_cases[i].node : NULL, NULL, 0);
		_cleanup_free_ char *versions = plan_versions_text(tables), *notes = plan_notes_text(tables->notes, tables->note_count);

		if (strcmp(versions, node_cases[i].versions) != 0 || strcmp(notes, node_cases[i].notes) != 0)
			print_error("case: %s\n%s%s", node_cases[i].sentence, versions, notes);
		assert_string_equal(versions, node_cases[i].versions);
		assert_string_equal(notes, node_cases[i].notes);
	}
}

static void a_services_traffic_policies_are_its_frontends(void **state)
{
	static const struct {
		const char *spec;
		uint8_t near;
	} cases[] = {
		{ "", 0 },
		{ ", externalTrafficPolicy: Cluster, internalTrafficPolicy: Cluster", 0 },
		{ ", externalTrafficPolicy: Local", SHUNT_NEAR_OUTSIDE },
		{ ", internalTrafficPolicy: Local", SHUNT_NEAR_INSIDE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *yaml = NULL;
		_cleanup_world_ struct world *world = NULL;
		_cleanup_tables_ struct tables *tables = NULL;

		assert_true(asprintf(&yaml, "---\n{apiVersion: v1, kind: Service, " META("default", "web") ", spec: {clusterIPs: [10.0.0.1], ports: [{port: 80}]%s}}\n%s",
				     cases[i].spec, V1 VS("web", "hosts: [web], http: [{route: [" TO("v1") "]}]")) > 0);
		world = world_of(yaml);
		tables = plan_of(world, NULL, 0);
		assert_int_equal(tables->frontend_count, 1);
		assert_int_equal(tables->frontends[0].value.near, cases[i].near);
	}
}

/* ---- header edits ----------------------------------------------------------------------------------------------------------------------- */

#define LONG40 "abcdefghijklmnopqrstabcdefghijklmnopqrst"
#define LONG120 LONG40 LONG40 LONG40
#define HEADERS(response) ROUTE_TO("{destination: {host: v1}, headers: {response: " response "}}") V1
#define REQUESTS(request) ROUTE_TO("{destination: {host: v1}, headers: {request: " request "}}") V1
#define AT_FIRST "test.yaml:4 VirtualService default/r spec.http[0].route[0]: "
#define WHERE AT_FIRST "headers.response."
#define OF_REQUESTS AT_FIRST "headers.request."

static const struct {
	const char *sentence, *yaml, *answers, *notes;
} edit_cases[] = {
	{ "lines that are set come before those that are added", HEADERS("{add: {X: 'y z'}, set: {A-b: c}}"), "[A-b: c]+[X: y z]", "" },
	{ "an empty value", HEADERS("{set: {a: ''}}"), "[a: ]", "" },
	{ "headers that are removed", HEADERS("{set: {a: b}, remove: [Server, A, x-powered-by]}"), "[a: b]-server-x-powered-by", "" },
	{ "what the destination sets comes before what the entry sets, which comes before what both add",
	  WEB V1 VS("r", "hosts: [web], http: [{headers: {response: {set: {c: d}, add: {e: f}}}, route: [{destination: {host: v1}, headers: {response: {set: {a: b}, add: {g: h}}}}]}]"),
	  "[a: b][c: d]+[g: h][e: f]", "" },
	{ "a header that both set is as the destination says",
	  WEB V1 VS("r", "hosts: [web], http: [{headers: {response: {set: {A: d}}}, route: [{destination: {host: v1}, headers: {response: {set: {a: b}}}}]}]"),
	  "[a: b]",
	  "warning test.yaml:8 VirtualService default/r spec.http[0].route[0]: headers.response.set.A is set twice; what this destination says first holds\n" },
	{ "headers that say how a message is read", HEADERS("{set: {Content-Length: '5', a: b}, add: {transfer-encoding: chunked, Connection: close}}"), "[a: b]",
	  "error " WHERE "set.Content-Length is left out: that header says how the response is read\n"
	  "error " WHERE "add.transfer-encoding is left out: that header says how the response is read\n"
	  "error " WHERE "add.Connection is left out: that header says how the response is read\n" },
	{ "a variable of Envoy", HEADERS("{set: {a: '%START_TIME%', b: c}}"), "[b: c]",
	  "warning " WHERE "set.a is left out: variables of Envoy (%...%) are not available\n" },
	{ "a ninth header that is set", HEADERS("{set: {a: b, c: d, e: f, g: h, i: j, k: l, m: n, o: p, q: r}, add: {s: t}}"),
	  "[a: b][c: d][e: f][g: h][i: j][k: l][m: n][o: p]+[s: t]",
	  "error " WHERE "set.q is left out: responses of a version have 8 headers set or removed at most\n" },
	{ "a value that is too long to be compared", HEADERS("{set: {a: " LONG120 "0, b: " LONG120 "}}"), "[b: " LONG120 "]",
	  "error " WHERE "set.a is left out: the value has 121 bytes, allowed are 120\n" },
	{ "a name that is too long to be compared", HEADERS("{set: {" LONG40 LONG40 ": a, b: c}}"), "[b: c]",
	  "error " WHERE "set." LONG40 LONG40 " is left out: the name has 80 bytes, allowed are 64\n" },
	{ "more than a head gets", HEADERS("{add: {a: " LONG120 ", b: " LONG120 ", c: " LONG40 ", d: e}}"), "+[a: " LONG120 "][b: " LONG120 "][d: e]",
	  "error " WHERE "add.c is left out: all lines together have 295 bytes, allowed are 256\n" },
	{ "one version with different lines",
	  WEB V1 VS("r", "hosts: [web], http: [{match: [{headers: {u: {exact: a}}}], route: [{destination: {host: v1}, headers: {response: {set: {a: b}}}}]}, {route: [{destination: {host: v1}}]}]"),
	  "[a: b]",
	  "warning test.yaml:8 VirtualService default/r spec.http[1].route[0]: version 'v1.default' has other headers.response here than before; the first ones serve both. Give it two names\n" },
};

/* What the first version's heads get is `due`, behind `word`; and what could not be done is noted. */
static void expect_edit(const char *sentence, const char *yaml, const char *word, const char *due, const char *notes_due)
{
	_cleanup_world_ struct world *world = world_of(yaml);
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
	_cleanup_free_ char *versions = plan_versions_text(tables), *notes = plan_notes_text(tables->notes, tables->note_count);
	const char *found = strstr(versions, word);

	if (!found || strncmp(found + strlen(word), due, strlen(due)) != 0 || found[strlen(word) + strlen(due)] != '\n' || strcmp(notes, notes_due) != 0)
		fail_msg("case: %s\n%s%s", sentence, versions, notes);
}

static void lines_for_responses_are_planned_or_noted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(edit_cases); i++)
		expect_edit(edit_cases[i].sentence, edit_cases[i].yaml, ", answers ", edit_cases[i].answers, edit_cases[i].notes);
}

static const struct {
	const char *sentence, *yaml, *asks, *notes;
} request_cases[] = {
	{ "Host, as the tutorial sets it", REQUESTS("{set: {Host: flowers.ns}}"), "[Host: flowers.ns]!", "" },
	{ "names that are set come before those that are removed", REQUESTS("{remove: [X-Old, b], set: {a: c}, add: {d: e}}"), "[a: c]+[d: e]-x-old-b", "" },
	{ "only removed", REQUESTS("{remove: [a]}"), "-a", "" },
	{ "a header that is set and removed is set", REQUESTS("{remove: [A], set: {a: b}}"), "[a: b]", "" },
	{ "one that is added and removed is only there once", REQUESTS("{remove: [A], add: {a: b}}"), "+[a: b]-a", "" },
	{ "of the destination and of the entry",
	  WEB V1 VS("r", "hosts: [web], http: [{headers: {request: {set: {c: d}, remove: [g]}}, route: [{destination: {host: v1}, headers: {request: {set: {a: b}, remove: [e]}}}]}]"),
	  "[a: b][c: d]-e-g", "" },
	{ "what says how a request is read", REQUESTS("{set: {Expect: x, a: b}, remove: [Content-Length], add: {upgrade: c}}"), "[a: b]",
	  "error " OF_REQUESTS "set.Expect is left out: that header says how the request is read\n"
	  "error " OF_REQUESTS "remove.Content-Length is left out: that header says how the request is read\n"
	  "error " OF_REQUESTS "add.upgrade is left out: that header says how the request is read\n" },
	{ "a Host more or less", REQUESTS("{add: {Host: x}, remove: [host], set: {a: b}}"), "[a: b]",
	  "error " OF_REQUESTS "remove.host is left out: a request has one Host (RFC 9112 section 3.2); set it\n"
	  "error " OF_REQUESTS "add.Host is left out: a request has one Host (RFC 9112 section 3.2); set it\n" },
	{ "a ninth name", REQUESTS("{set: {a: b, c: d, e: f, g: h}, remove: [i, j, k, l, m]}"), "[a: b][c: d][e: f][g: h]-i-j-k-l",
	  "error " OF_REQUESTS "remove.m is left out: requests of a version have 8 headers set or removed at most\n" },
	{ "one version with different edits",
	  WEB V1 VS("r", "hosts: [web], http: [{match: [{headers: {u: {exact: a}}}], route: [{destination: {host: v1}, headers: {request: {set: {a: b}}}}]}, {route: [{destination: {host: v1}}]}]"),
	  "[a: b]",
	  "warning test.yaml:8 VirtualService default/r spec.http[1].route[0]: version 'v1.default' has other headers.request here than before; the first ones serve both. Give it two names\n" },
};

static void edits_of_requests_are_planned_or_noted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(request_cases); i++)
		expect_edit(request_cases[i].sentence, request_cases[i].yaml, ", asks ", request_cases[i].asks, request_cases[i].notes);
}

/* ---- users ------------------------------------------------------------------------------------------------------------------------------ */

static struct shunt_id user(unsigned int n)
{
	struct shunt_id id = {};

	id.len = snprintf((char *)id.b, sizeof(id.b), "user-%u", n);
	return id;
}

static const char *version_of_user(const struct tables *tables, size_t route, unsigned int n)
{
	const struct shunt_split *split = &tables->splits[tables->routes[route].split];
	struct shunt_id id = user(n);
	uint32_t version = shunt_split_pick(split, shunt_split_hash(shunt_siphash(split->salt, &id)));

	return tables->series[tables->versions[version].value.series].version;
}

#define USERS 20000
#define HALF_AND_HALF(name, host) VS(name, "hosts: [" host "], http: [{route: [" TO_WEIGHT("v1", "1") ", " TO_WEIGHT("v2", "1") "]}]")

static void raising_the_candidates_weight_moves_users_only_towards_it(void **state)
{
	static const int weights[] = { 1, 5, 20, 50, 100 };
	static bool on_candidate[USERS];

	(void)state;
	for (size_t w = 0; w < ARRAY_SIZE(weights); w++) {
		char yaml[4096];
		size_t there = 0;

		snprintf(
			yaml, sizeof(yaml),
			WEB V1 V2 VS(
				"r",
				"hosts: [web], http: [{route: [{destination: {host: v1}, weight: %d}, {destination: {host: v2}, weight: %d}]}]"),
			100 - weights[w], weights[w]);
		_cleanup_world_ struct world *world = world_of(yaml);
		_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);

		for (unsigned int n = 0; n < USERS; n++) {
			bool now = strcmp(version_of_user(tables, 0, n), "v2.default") == 0;

			assert_true(now || !on_candidate[n]);
			on_candidate[n] = now;
			there += now;
		}
		/* five standard errors of a share of a half */
		assert_true(there > USERS * weights[w] / 100.0 - 354 && there < USERS * weights[w] / 100.0 + 354);
	}
}

/* Another node has read the objects in another order and has other indices, but the same key of the installation. */
static void every_node_places_a_user_alike(void **state)
{
#define TENTH VS("r", "hosts: [web], http: [{route: [" TO_WEIGHT("v1", "9") ", " TO_WEIGHT("v2", "1") "]}]")
	_cleanup_world_ struct world *world = world_of(WEB V1 V2 TENTH);
	_cleanup_world_ struct world *other_world = world_of(SERVICE("default", "shop", "10.0.0.2", "{port: 80}") V2 HALF_AND_HALF("a", "shop") V1 TENTH WEB);
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0), *other = plan_of(other_world, NULL, 0);

	(void)state;
	assert_int_equal(tables->route_count, 1);
	assert_int_equal(other->route_count, 2);
	for (unsigned int n = 0; n < USERS; n++)
		assert_string_equal(version_of_user(tables, 0, n), version_of_user(other, 1, n));
}

static void weights_become_exact_ranges(void **state)
{
	_cleanup_world_ struct world *world = world_of(WEB V1 VS("r", "hosts: [web], http: [{route: [" AS("a") ", " AS("b") ", " AS(
									      "c") ", {destination: {host: v1, subset: d}, weight: 0}]}]"));
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
	const struct shunt_split *split = &tables->splits[0];

	(void)state;
	assert_int_equal(split->shares, 3); /* a weight of 0 is no share */
	assert_int_equal(split->share[0].end, 0x55555555);
	assert_int_equal(split->share[1].end, 0xaaaaaaaa);
	assert_true(split->share[2].end == 1ull << 32);
	assert_int_equal(tables->version_count, 4);
}

static void the_same_user_is_placed_independently_by_two_routes(void **state)
{
	_cleanup_world_ struct world *world = world_of(WEB SERVICE("default", "shop", "10.0.0.2", "{port: 80}")
							       V1 V2 HALF_AND_HALF("a", "web") HALF_AND_HALF("b", "shop"));
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);
	size_t both = 0;

	(void)state;
	for (unsigned int n = 0; n < USERS; n++)
		both += strcmp(version_of_user(tables, 0, n), "v2.default") == 0 &&
			strcmp(version_of_user(tables, 1, n), "v2.default") == 0;
	assert_true(both > USERS / 4 - 307 && both < USERS / 4 + 307);
}

/* ---- promotions ------------------------------------------------------------------------------------------------------------------------- */

static void a_promotion_ends_when_its_route_changes(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering promotions[] = {
		{ .experiment = (char *)"default/other", .route = (char *)"default/elsewhere", .version = (char *)"flowers-v2" },
		{ .experiment = (char *)"default/old",
		  .version = (char *)"flowers-v2",
		  .route_hash = world->virtual_services[0].meta.hash + 1 },
		{ .experiment = (char *)"default/odd", .route = (char *)"default/routing-rule", .version = (char *)"flowers-v3" },
	};
	_cleanup_tables_ struct tables *tables = plan_of(world, promotions, ARRAY_SIZE(promotions)), *plain = plan_of(world, NULL, 0);
	_cleanup_free_ char *steering = plan_steering_text(tables), *expected = plan_steering_text(plain),
			    *notes = plan_notes_text(tables->notes, 2);

	(void)state;
	assert_string_equal(steering, expected);
	assert_string_equal(
		notes,
		"info test.yaml:1 VirtualService default/routing-rule: changed since experiment default/old promoted 'flowers-v2'; the promotion has ended, the rules as written hold\n"
		"warning test.yaml:1 VirtualService default/routing-rule: experiment default/odd promoted 'flowers-v3', which this route does not have; the rules as written hold\n");
}

/* The experiment's versions, by name and by namespace; /static goes to neither. */
static void a_promotion_changes_only_what_leads_to_its_experiments_versions(void **state)
{
	static const char experiment[] =
		"---\n{apiVersion: iter8.tools/v2alpha2, kind: Experiment, metadata: {name: exp}, spec: {target: t, strategy: {testingPattern: A/B}, "
		"duration: {intervalSeconds: 1, iterationsPerLoop: 1}, versionInfo: {baseline: {name: v1.default}, candidates: [{name: v2.default}]}}}\n";
	_cleanup_free_ char *yaml = NULL, *steering = NULL;
	struct steering promotion = { .experiment = (char *)"default/exp", .route = (char *)"default/r", .version = (char *)"v2.default" };

	(void)state;
	assert_true(asprintf(&yaml, "%s%s%s%s",
			     WEB V1 V2 SERVICE("default", "files", "10.0.0.13", "{port: 80}") SLICE("default", "files", "10.3.0.1", "80"), experiment,
			     VS("r", "hosts: [web], http: [{match: [{uri: {prefix: /static}}], route: [" TO("files") "]}, {match: [{headers: {user: {prefix: a}}}], route: [" TO("v1") "]}, "
				     "{route: [" TO_WEIGHT("v1", "50") ", " TO_WEIGHT("v2", "50") "]}]"), "") > 0);
	_cleanup_world_ struct world *world = world_of(yaml);
	_cleanup_tables_ struct tables *tables = plan_of(world, &promotion, 1);

	steering = plan_steering_text(tables);
	assert_string_equal(steering, "10.0.0.1:80 request\n  * by header:user\n    path=/static* files.default\n    a* v2.default\n    else v2.default\n");
}

static void a_promotion_keeps_the_winners_users_on_their_pods(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering promotion = { .experiment = (char *)"default/exp", .version = (char *)"flowers-v2" };
	_cleanup_tables_ struct tables *before = plan_of(world, NULL, 0), *after = plan_of(world, &promotion, 1);

	(void)state;
	assert_memory_equal(before->splits[before->rules[0].value.split].salt, after->splits[after->routes[0].split].salt, 16);
	assert_true(after->splits[0].salt[0] != after->splits[0].salt[1]);
}

/* ---- experiments that run --------------------------------------------------------------------------------------------------------------- */

#define QUARTER (1ull << 30)

static struct steering running(int entry)
{
	return (struct steering){
		.experiment = (char *)"default/exp",
		.route = (char *)"default/routing-rule",
		.salt = (char *)"7b1c",
		.entry = entry,
		.shares = { { (char *)"flowers-v2", QUARTER }, { (char *)"flowers-v1", 4 * QUARTER } },
		.share_count = 2,
	};
}

static void an_experiment_weighs_the_default_entry_and_leaves_rules_as_they_are(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering steering = running(-1);
	_cleanup_tables_ struct tables *tables = plan_of(world, &steering, 1);
	_cleanup_free_ char *text = plan_steering_text(tables), *notes = plan_notes_text(tables->notes, tables->note_count);

	(void)state;
	assert_string_equal(text, "10.96.0.10:80 request\n"
				  "  example.com by header:userhash\n"
				  "    101* flowers-v2\n"
				  "    else flowers-v2 25% flowers-v1 75%\n"
				  "[fd00:96::10]:80 like 10.96.0.10:80\n");
	assert_non_null(strstr(notes, "experiment default/exp sets the weights"));
}

static void an_experiment_weighs_the_entry_that_its_field_path_names(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering steering = running(0);
	_cleanup_tables_ struct tables *tables = plan_of(world, &steering, 1);
	_cleanup_free_ char *text = plan_steering_text(tables);

	(void)state;
	assert_non_null(strstr(text, "    101* flowers-v2 25% flowers-v1 75%\n    else flowers-v1\n"));
}

static void t14_an_experiment_salts_all_splits_of_its_route(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering steerings[] = { running(-1), running(-1) };
	_cleanup_tables_ struct tables *plain = plan_of(world, NULL, 0), *first = plan_of(world, &steerings[0], 1), *second = NULL;

	(void)state;
	steerings[1].salt = (char *)"7b1d";
	second = plan_of(world, &steerings[1], 1);
	for (size_t i = 0; i < first->split_count; i++)
		assert_memory_equal(first->splits[i].salt, first->splits[0].salt, 16);
	assert_memory_not_equal(first->splits[0].salt, plain->splits[0].salt, 16);
	assert_memory_not_equal(first->splits[0].salt, second->splits[0].salt, 16);
}

static void t16_who_has_which_version_is_the_same_after_a_restart_and_on_every_node(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial), *again = world_of(tutorial);
	struct steering steering = running(-1);
	_cleanup_tables_ struct tables *first = plan_of(world, &steering, 1), *second = plan_of(again, &steering, 1);

	(void)state;
	assert_int_equal(first->split_count, second->split_count);
	assert_memory_equal(first->splits, second->splits, first->split_count * sizeof(*first->splits));
}

static void versions_that_the_route_has_no_more_leave_its_weights_as_they_are(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	struct steering steering = running(-1);
	_cleanup_tables_ struct tables *tables = NULL;
	_cleanup_free_ char *text = NULL, *notes = NULL;

	(void)state;
	steering.shares[0].version = (char *)"flowers-v3";
	tables = plan_of(world, &steering, 1);
	text = plan_steering_text(tables);
	notes = plan_notes_text(tables->notes, tables->note_count);
	assert_non_null(strstr(text, "    else flowers-v1\n"));
	assert_non_null(strstr(notes, "of which this route does not have 'flowers-v3'; the weights as written hold"));
}

static void the_weights_of_an_entry_are_told_by_name(void **state)
{
	_cleanup_world_ struct world *world = world_of(tutorial);
	char *names[] = { (char *)"flowers-v2", NULL, (char *)"flowers-v1" };
	double percent[3];

	(void)state;
	assert_int_equal(plan_entry_weights(world, "default/routing-rule", -1, names, 3, percent), 0);
	assert_true(percent[0] == 0 && percent[1] == 0 && percent[2] == 100);
	assert_int_equal(plan_entry_weights(world, "default/routing-rule", 0, names, 3, percent), 0);
	assert_true(percent[0] == 100 && percent[1] == 0 && percent[2] == 0);
	assert_int_equal(plan_entry_weights(world, "default/routing-rule", 7, names, 3, percent), -ENOENT);
	assert_int_equal(plan_entry_weights(world, "default/other", -1, names, 3, percent), -ENOENT);
}

/* ---- series ----------------------------------------------------------------------------------------------------------------------------- */

static void series_keep_their_index_and_are_never_reused(void **state)
{
	static struct shunt_series series[SHUNT_SERIES] = {
		[0] = { "default/gone", "v9" },
		[2] = { "default/r", "v2.default" },
	};
	static const uint8_t key[16];
	_cleanup_world_ struct world *world = world_of(ROUTE_TO(TO_WEIGHT("v1", "1") ", " TO_WEIGHT("v2", "1")) V1 V2);
	_cleanup_tables_ struct tables *tables = NULL;

	(void)state;
	assert_int_equal(plan(world, NULL, NULL, 0, series, key, &tables), 0);
	assert_string_equal(tables->series[0].version, "v9");
	assert_string_equal(tables->series[1].version, "v1.default");
	assert_string_equal(tables->series[2].version, "v2.default");
	assert_int_equal(tables->versions[0].value.series, 1);
	assert_int_equal(tables->versions[1].value.series, 2);
}

static void a_full_series_table_leaves_the_route_out_whole(void **state)
{
	static struct shunt_series series[SHUNT_SERIES];
	static const uint8_t key[16];
	_cleanup_world_ struct world *world = world_of(ROUTE_TO(TO_WEIGHT("v1", "1") ", " TO_WEIGHT("v2", "1")) V1 V2);
	_cleanup_tables_ struct tables *tables = NULL;
	_cleanup_free_ char *notes = NULL;

	(void)state;
	for (int i = 0; i < SHUNT_SERIES - 1; i++)
		snprintf(series[i].version, sizeof(series[i].version), "v%d", i);
	assert_int_equal(plan(world, NULL, NULL, 0, series, key, &tables), 0);
	notes = plan_notes_text(tables->notes, tables->note_count);
	assert_string_equal(
		notes,
		"error test.yaml:4 VirtualService default/r: no more room for series (route and version names since the maps were made); the route is left out (its traffic passes untouched)\n");
	assert_true(tables->frontend_count == 0 && tables->route_count == 0 && tables->split_count == 0 && tables->version_count == 0 &&
		    tables->ring_count == 0 && tables->pod_count == 0);
}

/* ---- sizes ------------------------------------------------------------------------------------------------------------------------------ */

static void more_than_a_table_takes_leaves_whole_objects_out(void **state)
{
	_cleanup_free_ char *yaml = NULL, *notes = NULL;
	size_t size;
	FILE *out = open_memstream(&yaml, &size);

	(void)state;
	fputs(V1, out);
	for (int i = 0; i < SHUNT_VERSIONS + 1; i++) /* a version for each; as many routes fit */
		fprintf(out, VS_NOTED("r%03d", "shunt.dev/frontend: '10.9.%d.%d:80'", "hosts: ['*'], http: [{route: [" TO("v1") "]}]"), i,
			i / 250, i % 250);
	fclose(out);

	_cleanup_world_ struct world *world = world_of(yaml);
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);

	notes = plan_notes_text(tables->notes, tables->note_count);
	assert_int_equal(tables->frontend_count, SHUNT_VERSIONS);
	assert_non_null(strstr(notes, "VirtualService default/r256: no more room for "));
	assert_int_equal(tables->note_count, 1);
}

static void more_hosts_than_a_frontend_takes_are_said(void **state)
{
	_cleanup_free_ char *yaml = NULL, *notes = NULL;
	size_t size;
	FILE *out = open_memstream(&yaml, &size);

	(void)state;
	fputs(V1
	      "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r, annotations: {shunt.dev/frontend: '10.0.0.1:80'}}, spec: {hosts: [h0",
	      out);
	for (int i = 1; i <= SHUNT_ROUTES_PER_FRONTEND; i++)
		fprintf(out, ", h%d", i);
	fputs("], http: [{route: [" TO("v1") "]}]}}\n", out);
	fclose(out);

	_cleanup_world_ struct world *world = world_of(yaml);
	_cleanup_tables_ struct tables *tables = plan_of(world, NULL, 0);

	notes = plan_notes_text(tables->notes, tables->note_count);
	assert_int_equal(tables->frontends[0].value.routes, SHUNT_ROUTES_PER_FRONTEND);
	assert_string_equal(
		notes,
		"error test.yaml:6 VirtualService default/r metadata.annotations[shunt.dev/frontend]: frontend 10.0.0.1:80 has 16 routes already, more is not possible; host h16 is left out there\n");
}

/* A route with `count` matches on `names` different headers, and one beside it. */
static struct tables *plan_of_large_route(int count, int names, char **ret_notes)
{
	_cleanup_free_ char *yaml = NULL;
	size_t size;
	FILE *out = open_memstream(&yaml, &size);

	fputs(WEB V1 VS_NOTED("other", "shunt.dev/frontend: 10.0.0.9:80", "hosts: ['*'], http: [{route: [" TO("v1") "]}]")
	      "---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r, annotations: {shunt.dev/identity: client}}, spec: {hosts: [web], http: [{match: [", out);
	for (int i = 0; i < count; i++)
		fprintf(out, "{headers: {h%d: {exact: v%d}}}, ", i % names, i);
	fputs("], route: [" TO("v1") "]}, {route: [" TO("v1") "]}]}}\n", out);
	fclose(out);

	_cleanup_world_ struct world *world = world_of(yaml);
	struct tables *tables = plan_of(world, NULL, 0);

	*ret_notes = plan_notes_text(tables->notes, tables->note_count);
	return tables;
}

static void a_route_with_more_entries_than_fit_is_left_out_whole(void **state)
{
	static const struct {
		int count, names;
		const char *why; /* NULL: it fits */
	} rows[] = {
		{ SHUNT_ENTRIES_PER_ROUTE, SHUNT_NAMES_PER_ROUTE - 1, NULL },
		{ SHUNT_ENTRIES_PER_ROUTE + 1, 1, "no more room for another entry of one route; the frontend 10.0.0.1:80 is left out" },
		{ SHUNT_NAMES_PER_ROUTE, SHUNT_NAMES_PER_ROUTE,
		  "no more room for another header or parameter that the matches of one route look at; the frontend 10.0.0.1:80 is left out" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *notes = NULL;
		_cleanup_tables_ struct tables *tables = plan_of_large_route(rows[i].count, rows[i].names, &notes);

		assert_int_equal(tables->frontend_count, rows[i].why ? 1 : 2);
		assert_int_equal(tables->route_count, rows[i].why ? 1 : 2);
		assert_int_equal(tables->entry_count, rows[i].why ? 0 : rows[i].count);
		assert_int_equal(tables->condition_count, tables->entry_count);
		assert_true(rows[i].why ? strstr(notes, rows[i].why) != NULL && strncmp(strstr(notes, "default/r:") - 15, "VirtualService ", 15) == 0 : !strstr(notes, "room"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_tutorial_steers_101_to_the_candidate_on_both_families),
		cmocka_unit_test(an_experiments_trial_is_on_its_route_alone),
		cmocka_unit_test(a_promotion_gives_the_version_everything),
		cmocka_unit_test(frontends_follow_hosts_gateways_and_annotations),
		cmocka_unit_test(rules_follow_istios_order),
		cmocka_unit_test(http_routes_follow_the_gateway_apis_precedence),
		cmocka_unit_test(versions_have_the_ready_pods_behind_their_port),
		cmocka_unit_test(pods_are_on_this_node_or_elsewhere),
		cmocka_unit_test(a_services_traffic_policies_are_its_frontends),
		cmocka_unit_test(lines_for_responses_are_planned_or_noted),
		cmocka_unit_test(edits_of_requests_are_planned_or_noted),
		cmocka_unit_test(raising_the_candidates_weight_moves_users_only_towards_it),
		cmocka_unit_test(every_node_places_a_user_alike),
		cmocka_unit_test(weights_become_exact_ranges),
		cmocka_unit_test(the_same_user_is_placed_independently_by_two_routes),
		cmocka_unit_test(a_promotion_ends_when_its_route_changes),
		cmocka_unit_test(an_experiment_weighs_the_default_entry_and_leaves_rules_as_they_are),
		cmocka_unit_test(an_experiment_weighs_the_entry_that_its_field_path_names),
		cmocka_unit_test(t14_an_experiment_salts_all_splits_of_its_route),
		cmocka_unit_test(t16_who_has_which_version_is_the_same_after_a_restart_and_on_every_node),
		cmocka_unit_test(versions_that_the_route_has_no_more_leave_its_weights_as_they_are),
		cmocka_unit_test(the_weights_of_an_entry_are_told_by_name),
		cmocka_unit_test(a_promotion_changes_only_what_leads_to_its_experiments_versions),
		cmocka_unit_test(a_promotion_keeps_the_winners_users_on_their_pods),
		cmocka_unit_test(series_keep_their_index_and_are_never_reused),
		cmocka_unit_test(a_full_series_table_leaves_the_route_out_whole),
		cmocka_unit_test(more_than_a_table_takes_leaves_whole_objects_out),
		cmocka_unit_test(more_hosts_than_a_frontend_takes_are_said),
		cmocka_unit_test(a_route_with_more_entries_than_fit_is_left_out_whole),
	};

	return cmocka_run_group_tests_name("agent/plan/plan", tests, NULL, NULL);
}
