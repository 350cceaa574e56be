/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The world: every object that shunt reads, by kind, as plain values.
 *
 * A source (the folder, later the API server) decodes manifests into a world; plan() and the experiments only read it. A world is immutable once
 * built and owns all it points to: world_free() ends everything. Strings are never NULL unless the comment says so; lists are {items, count}.
 */
#ifndef SHUNT_WORLD_H
#define SHUNT_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Where an object was written, and its name. */
struct object_meta {
	char *ns;            /* "default" when the manifest has none */
	char *name;
	char *file;          /* path as given to the source */
	int line;            /* of the document's first key, from 1 */
	uint64_t hash;       /* of the decoded document: changes when its content does */
	int64_t created;     /* seconds since the epoch: metadata.creationTimestamp; without one the file's mtime */
	json_t *annotations; /* object of strings; may be NULL */
	json_t *document;    /* the whole document as it was decoded (borrowed by nobody else) */
};

/* ---- Service, EndpointSlice (core/v1, discovery.k8s.io/v1) ---- */

struct service_port {
	char *name;         /* "" when unnamed */
	uint16_t port;
	char *target_name;  /* targetPort by name; NULL: by number */
	uint16_t target;    /* targetPort by number (the port itself when absent) */
	char *app_protocol; /* "" when absent */
	bool tcp;
};

struct service {
	struct object_meta meta;
	char **addresses; /* clusterIPs and externalIPs, text, both families; "None" is left out */
	size_t address_count;
	struct service_port *ports;
	size_t port_count;
	bool external_local, internal_local; /* externalTrafficPolicy, internalTrafficPolicy: Local */
};

struct endpoint {
	char **addresses;
	size_t address_count;
	bool ready, serving, terminating; /* conditions; absent ready means true, absent serving means ready */
	char *node;                       /* "" when absent */
};

struct slice_port {
	char *name;
	uint16_t port;
};

struct endpoint_slice {
	struct object_meta meta;
	char *service; /* label kubernetes.io/service-name */
	bool ipv6;     /* addressType */
	struct endpoint *endpoints;
	size_t endpoint_count;
	struct slice_port *ports; /* the TCP ones */
	size_t port_count;
};

/* ---- VirtualService (networking.istio.io) ---- */

enum match_kind {
	MATCH_EXACT,
	MATCH_PREFIX,
	MATCH_PRESENT,
	MATCH_PATH_PREFIX, /* of a path, by whole elements */
};

/* A condition on what bears a name. */
struct name_match {
	char *name; /* of a header: in lower case; of a query parameter: as written */
	enum match_kind kind;
	char *value;
	bool without; /* withoutHeaders: it must not hold */
};

/* A condition on what there is one of. */
struct text_match {
	enum match_kind kind;
	char *value; /* NULL: no condition */
};

/* One entry of http[].match: all of its conditions hold. What shunt does not evaluate is named in `unsupported`, never ignored silently. */
struct http_match {
	struct name_match *headers; /* headers and withoutHeaders */
	size_t header_count;
	struct name_match *params; /* queryParams */
	size_t param_count;
	struct text_match uri, method, authority, scheme;
	bool ignore_uri_case;
	uint16_t port; /* of the frontend; 0: any */
	char **unsupported; /* paths, such as "spec.http[0].match[0].uri" */
	size_t unsupported_count;
};

enum line_how {
	LINE_SET,    /* in place of what is there */
	LINE_ADD,    /* beside it */
	LINE_REMOVE, /* what is there goes */
};

/* What happens to a line of a head. */
struct header_line {
	char *name, *value; /* as written: a token; no control characters. LINE_REMOVE: no value */
	enum line_how how;
};

struct header_edit {
	struct header_line *lines;
	size_t count;
};

/* Of the requests to a destination, and of their responses. */
struct header_edits {
	struct header_edit request, response;
};

struct http_destination {
	char *host;     /* as written; of an HTTPRoute "name.namespace" */
	char *ns;       /* backendRefs[].namespace; NULL when absent, and in a VirtualService */
	char *subset;   /* "" when absent */
	uint16_t port;  /* 0 when absent */
	uint32_t weight; /* as written, 0 when absent; an only destination without a weight above 0 has 100; sums of 0 are errors */
	char *version;  /* headers.response.set.version; "" when absent: then the version is named after its destination */
	struct header_edits headers; /* the version among them */
};

struct http_route {
	char *version;       /* of an HTTPRoute's rule with several backends, whose filters name one for all; else NULL */
	char *session;       /* sessionPersistence.sessionName of an HTTPRoute: who a user is; NULL when absent */
	bool session_header; /* it is a header's name; else a cookie's */
	struct http_match *matches; /* any of them; none: matches all */
	size_t match_count;
	struct http_destination *destinations; /* at least one */
	size_t destination_count;
	struct header_edits headers; /* for all destinations */
	char **unsupported; /* fields of this entry that are accepted and not done yet, by path */
	size_t unsupported_count;
	int line;
};

/* What an HTTPRoute is attached to. */
struct parent_ref {
	bool service;  /* a Service of the cluster; else a Gateway */
	char *ns, *name;
	char *section; /* name of the listener; NULL: any */
	uint16_t port; /* 0: any */
};

/* A VirtualService; or an HTTPRoute, which says the same in other words (its rules are `http`). Both are "routes", and share their names. */
struct virtual_service {
	struct object_meta meta;
	bool gateway_api; /* an HTTPRoute */
	char **hosts;
	size_t host_count;
	char **gateways; /* "namespace/name"; "mesh" where none is written. None of an HTTPRoute */
	size_t gateway_count;
	struct parent_ref *parents; /* of an HTTPRoute */
	size_t parent_count;
	struct http_route *http;
	size_t http_count;
	struct http_route *tcp; /* connection routes: no matches in this version */
	size_t tcp_count;
	char **unsupported; /* fields outside of http[] and tcp[] that are accepted and not done yet, by path */
	size_t unsupported_count;
};

/* ---- Gateway (gateway.networking.k8s.io) ---- */

enum listener_protocol { PROTOCOL_HTTP, PROTOCOL_HTTPS, PROTOCOL_TLS, PROTOCOL_TCP, PROTOCOL_UDP };
enum listener_from { FROM_SAME, FROM_ALL, FROM_SELECTOR, FROM_NONE };

struct listener {
	char *name;
	char *hostname; /* NULL: any */
	uint16_t port;
	enum listener_protocol protocol;
	enum listener_from from; /* namespaces whose routes may attach */
};

struct gateway {
	struct object_meta meta;
	char *class_name;
	struct listener *listeners;
	size_t listener_count;
	char **addresses; /* IP addresses, text */
	size_t address_count;
	char **unsupported; /* fields that are accepted and not done yet, by path */
	size_t unsupported_count;
};

/* ---- Experiment, Metric (iter8.tools/v2alpha2; reference/iter8.md sections 1 and 2) ---- */

enum testing_pattern { TESTING_CANARY, TESTING_AB, TESTING_ABN, TESTING_CONFORMANCE };
enum deployment_pattern { DEPLOYMENT_PROGRESSIVE, DEPLOYMENT_FIXED_SPLIT, DEPLOYMENT_BLUE_GREEN };

struct variable {
	char *name, *value;
};

struct version_detail {
	char *name;
	struct variable *variables;
	size_t variable_count;
	json_t *weight_obj_ref; /* NULL when absent */
};

struct objective {
	char *metric;
	bool has_upper, has_lower;
	double upper, lower;      /* Kubernetes quantities as numbers; inclusive */
	bool rollback_on_failure;
};

struct reward {
	char *metric;
	bool high; /* preferredDirection */
};

struct task {
	char *name;    /* "common/exec"; "run" for a run: task */
	char *run;     /* NULL unless a run: task */
	char *condition; /* if: ; NULL when absent */
	json_t *with;  /* object; NULL when absent */
	char *path;    /* "spec.strategy.actions.finish[0]", for messages */
};

struct action {
	char *name; /* start, loop, finish */
	struct task *tasks;
	size_t task_count;
};

/* What a sample counts. */
enum sample_unit { UNIT_USER, UNIT_REQUEST };

/* criteria.strength, which Iter8 reserves and never reads: how sure a verdict has to be. Numbers that are not written are 0; experiment/verdict.h has the defaults. */
struct strength {
	bool given;            /* it is there, if only as {}: the evidence decides. Else the last reading does, as in Iter8 */
	double confidence;     /* between 0.5 and 1 */
	int64_t minimum_sample; /* units of each version: no verdict on fewer */
	int64_t maximum_sample; /* ... the experiment ends when all versions have so many */
	enum sample_unit unit;
};

/* A response of a status class to a request of a method whose target begins with a path. */
struct conversion {
	int class;    /* 1..5; 0: the experiment has no conversion */
	char *method; /* "": any */
	char *path;   /* "": any */
};

struct experiment {
	struct object_meta meta;
	char *target;
	enum testing_pattern testing;
	enum deployment_pattern deployment;
	bool deployment_set; /* written in the manifest */
	struct action *actions;
	size_t action_count;
	int32_t max_candidate_weight, max_candidate_weight_increment;
	char *request_count; /* metric reference; NULL when absent */
	struct reward *rewards;
	size_t reward_count;
	char **indicators;
	size_t indicator_count;
	struct objective *objectives;
	size_t objective_count;
	struct strength strength;
	struct conversion conversion; /* annotation shunt.dev/conversion */
	bool refusals_are_errors;     /* annotation shunt.dev/errors-from is 400: statuses 400..499 are errors, too; else only 500 and above */
	int32_t interval_seconds, iterations_per_loop, max_loops;
	struct version_detail *versions; /* [0] is the baseline, then the candidates in order; count 0: no versionInfo */
	size_t version_count;
};

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };
enum metric_auth { AUTH_NONE, AUTH_BASIC, AUTH_BEARER, AUTH_APIKEY };

struct metric_mock {
	char *name; /* of the version */
	double level;
};

struct metric {
	struct object_meta meta;
	char *description, *units, *provider; /* "" when absent */
	enum metric_type type;
	struct variable *params;
	size_t param_count;
	char *body; /* NULL when absent */
	bool post;
	bool insecure; /* annotation shunt.dev/insecure-skip-tls-verify: certificate and name of the provider are not looked at */
	enum metric_auth auth;
	char *secret; /* "[ns/]name"; NULL when absent */
	struct variable *headers;
	size_t header_count;
	char *url, *jq;      /* "" when absent */
	char *sample_size;   /* metric reference; NULL when absent */
	struct metric_mock *mocks;
	size_t mock_count;
};

/* ---- Secret ---- */

/* meta.document is NULL: what was written is not kept. */
struct secret {
	struct object_meta meta;
	json_t *data; /* object: key -> its value, a string; null where it is no text; NULL: no keys */
	bool exposed; /* everybody on this machine can read the file */
};

/* ---- all of it ---- */

struct world {
	struct service *services;
	size_t service_count;
	struct endpoint_slice *slices;
	size_t slice_count;
	struct virtual_service *virtual_services;
	size_t virtual_service_count; /* HTTPRoutes are among them */
	struct gateway *gateways;
	size_t gateway_count;
	struct experiment *experiments;
	size_t experiment_count;
	struct metric *metrics;
	size_t metric_count;
	struct secret *secrets;
	size_t secret_count;
};

/* Frees the world and all it owns; *world becomes NULL. NULL is fine. */
void world_free(struct world **world);

/* Objects by name, NULL when absent. A NULL or empty ns means "default". */
const struct service *world_service(const struct world *world, const char *ns, const char *name);
const struct gateway *world_gateway(const struct world *world, const char *ns, const char *name);
const struct secret *world_secret(const struct world *world, const char *ns, const char *name);
const struct experiment *world_experiment(const struct world *world, const char *ns, const char *name);

/*
 * The metric that a reference in an experiment means: "ns/name", or a bare name in the experiment's own namespace (Iter8 accepts both, reference
 * section 3.3 T7). NULL when no object has that name; the caller then looks for a built-in one.
 */
const struct metric *world_metric(const struct world *world, const char *experiment_ns, const char *reference);

#endif
