/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * shunt metric test MANIFESTS: asks for one metric as an experiment would, and shows each step: request, answer, what jq made of it, value. What comes from
 * a secret is shown as ***. Needs no agent and no root.
 */
#include "cmd.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <uv.h>

#include "datapath/datapath.h"
#include "reading/mock.h"
#include "reading/provider.h"
#include "reading/query.h"
#include "reading/secret.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"
#include "util/text.h"
#include "world/world.h"

#define BODY_SHOWN 4096 /* bytes of an answer */

struct metric_options {
	struct cmd_common common;
	const char *version, *metric, *secrets;
	struct cmd_strings variables;
	double elapsed, timeout;
};

static const struct metric_options defaults = { .common = CMD_COMMON_DEFAULTS, .elapsed = 60, .timeout = 5 };

static const struct cmd_option cmd_options[] = {
	{ "version", 0, CMD_STRING, "NAME", "the version to ask about; placeholder $name", offsetof(struct metric_options, version) },
	{ "metric", 'm', CMD_STRING, "[NS/]NAME", "which Metric, when there are several", offsetof(struct metric_options, metric) },
	{ "variable", 0, CMD_STRINGS, "NAME=VALUE", "a variable of the version, besides those of its Experiment", offsetof(struct metric_options, variables) },
	{ "elapsed", 0, CMD_SECONDS, "S", "seconds since the experiment's start, placeholder $elapsedTime; 60 when absent", offsetof(struct metric_options, elapsed) },
	{ "secrets", 0, CMD_STRING, "DIR", "folder of secrets, DIR/<namespace>/<name>/<key>; .secrets in the folder of MANIFESTS when absent; a Secret object in them serves, too", offsetof(struct metric_options, secrets) },
	{ "timeout", 0, CMD_SECONDS, "S", "deadline of the query with its attempts; 5 when absent, as an experiment's at most", offsetof(struct metric_options, timeout) },
};

/* ---- how a person sees it --------------------------------------------------------------------------------------------------------------- */

static const struct emit_column metric_columns[] = {
	{ "metric", "metric", EMIT_TEXT },     { "provider", "provider", EMIT_TEXT }, { "type", "type", EMIT_TEXT },
	{ "version", "version", EMIT_TEXT },
};

static const struct emit_column request_columns[] = {
	{ "method", "method", EMIT_TEXT },
	{ "url", "URL", EMIT_TEXT },
	{ "headers", "headers", EMIT_TEXT },
	{ "body", "body", EMIT_TEXT },
};

static const struct emit_column reply_columns[] = {
	{ "status", "status", EMIT_TEXT },
	{ "ms", "milliseconds", EMIT_FIXED1 },
	{ "bytes", "bytes", EMIT_TEXT },
	{ "body", "body", EMIT_TEXT },
};

static const struct emit_column result_columns[] = {
	{ "jq", "jq", EMIT_TEXT },     { "output", "output", EMIT_TEXT },   { "value", "value", EMIT_TEXT },
	{ "units", "units", EMIT_TEXT }, { "problem", "problem", EMIT_TEXT },
	{ "attempts", "attempts", EMIT_TEXT },
};

#define SECTION(name, heading, table) { name, heading, table, ARRAY_SIZE(table), NULL }
static const struct emit_section sections[] = {
	SECTION("metric", NULL, metric_columns),
	SECTION("request", "Request", request_columns),
	SECTION("reply", "Reply", reply_columns),
	SECTION("result", "Result", result_columns),
};

/* ---- the manifests ---------------------------------------------------------------------------------------------------------------------- */

static bool is_named(const struct metric *metric, const char *name)
{
	const char *slash = strchr(name, '/');

	if (!slash)
		return strcmp(metric->meta.name, name) == 0;
	return strlen(metric->meta.ns) == (size_t)(slash - name) && strncmp(metric->meta.ns, name, (size_t)(slash - name)) == 0 &&
	       strcmp(metric->meta.name, slash + 1) == 0;
}

/* The one that is meant; NULL, logged: none, or several. */
static const struct metric *choose_metric(const struct world *world, const char *path, const char *name)
{
	const struct metric *chosen = NULL;
	size_t found = 0;

	for (size_t i = 0; i < world->metric_count; i++) {
		if (name && !is_named(&world->metrics[i], name))
			continue;
		chosen = &world->metrics[i];
		found++;
	}
	if (found == 1)
		return chosen;
	if (name || !found)
		log_err(0, "shunt metric: %s has %zu Metrics %s", path, found, name ?: "that can be read");
	else
		log_err(0, "shunt metric: %s has %zu Metrics; name one with --metric", path, found);
	for (size_t i = 0; i < world->metric_count; i++)
		log_err(0, "    %s/%s", world->metrics[i].meta.ns, world->metrics[i].meta.name);
	return NULL;
}

/* The version of that name in an Experiment of the file. */
static struct version_detail find_version(const struct world *world, const char *name)
{
	for (size_t i = 0; i < world->experiment_count; i++) {
		const struct experiment *e = &world->experiments[i];

		for (size_t v = 0; v < e->version_count; v++)
			if (strcmp(e->versions[v].name, name) == 0)
				return e->versions[v];
	}
	return (struct version_detail){ .name = (char *)name };
}

static int set_variables(json_t *values, const struct cmd_strings *variables)
{
	for (size_t i = 0; i < variables->count; i++) {
		const char *text = variables->items[i], *equals = strchr(text, '=');

		if (!equals || equals == text) {
			log_err(0, "--variable takes NAME=VALUE; found \"%s\"", text);
			return -EINVAL;
		}
		if (json_object_setn_new(values, text, (size_t)(equals - text), json_string(equals + 1)) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* ---- what is shown ---------------------------------------------------------------------------------------------------------------------- */

static json_t *hidden_json(const char *text, const json_t *secret)
{
	_cleanup_free_ char *hidden = text ? secret_hide(text, secret) : NULL;

	return hidden ? json_string(hidden) : json_null();
}

static json_t *request_json(const struct metric *metric, const struct query_request *request, const json_t *secret)
{
	json_t *headers = json_array();

	for (size_t i = 0; i < request->header_count; i++) {
		const char *header = request->headers[i];

		if (strncasecmp(header, "authorization:", strlen("authorization:")) == 0)
			json_array_append_new(headers, json_string("Authorization: " SECRET_HIDDEN));
		else
			json_array_append_new(headers, hidden_json(header, secret));
	}
	if (request->username)
		json_array_append_new(headers, json_string("Authorization: Basic " SECRET_HIDDEN));
	return json_pack("{s:s, s:o, s:o, s:o}", "method", metric->post ? "POST" : "GET", "url", hidden_json(request->url, secret), "headers", headers, "body",
			 hidden_json(request->body, secret));
}

/* Bytes that are no UTF-8 are not shown. */
static json_t *body_json(const char *body, size_t size)
{
	json_t *text = json_stringn(body, size < BODY_SHOWN ? size : BODY_SHOWN);

	return text ? text : json_string("(not text)");
}

/* ---- asking ----------------------------------------------------------------------------------------------------------------------------- */

struct test {
	const struct metric *metric;
	json_t *document;
	json_t *result; /* in the document */
	bool present;
};

static void on_answer(void *arg, long status, const char *body, size_t size, double ms)
{
	struct test *test = arg;
	_cleanup_free_ char *output = query_output(test->metric->jq, body, size);

	if (status)
		json_object_set_new(test->document, "reply", json_pack("{s:i, s:f, s:i, s:o}", "status", (int)status, "ms", ms, "bytes", (int)size, "body",
								       body_json(body, size)));
	json_object_set_new(test->result, "output", output ? json_string(output) : json_null());
}

static void on_reading(void *arg, struct reading *reading)
{
	struct test *test = arg;

	test->present = reading->present;
	json_object_set_new(test->result, "value", reading->present ? json_real(reading->value) : json_null());
	if (reading->attempts)
		json_object_set_new(test->result, "attempts", json_integer(reading->attempts));
	json_object_set_new(test->result, "problem", reading->problem ? json_string(reading->problem) : json_null());
}

static void fail(struct test *test, const char *problem)
{
	struct reading reading = { .problem = (char *)problem };

	on_reading(test, &reading);
}

static int ask(const struct metric_options *o, const struct secret_source *secrets, const json_t *values, struct test *test)
{
	const struct query_limits limits = { .deadline_ms = (uint64_t)(o->timeout * 1e3) };
	struct provider *provider = NULL;
	struct query *query = NULL;
	_cleanup_free_ char *problem = NULL;
	uv_loop_t loop;
	int r = uv_loop_init(&loop);

	if (r == 0)
		r = provider_new(&loop, secrets, &provider);
	if (r < 0)
		return r;
	provider_tap(provider, on_answer, test);
	r = provider_query(provider, test->metric, values, &limits, on_reading, test, &query, &problem);
	if (r < 0)
		fail(test, problem ?: strerror(-r));
	while (r == 0 && !json_object_get(test->result, "problem") && uv_run(&loop, UV_RUN_ONCE))
		;
	provider_free(&provider);
	uv_run(&loop, UV_RUN_DEFAULT);
	return uv_loop_close(&loop);
}

static int test_http(const struct metric_options *o, const struct secret_source *secrets, const json_t *values, struct test *test)
{
	_cleanup_(query_request_clear) struct query_request request = {};
	_cleanup_free_ char *problem = NULL;
	_cleanup_json_ json_t *secret = NULL;
	int r = 0;

	if (test->metric->secret)
		r = secret_read(secrets, test->metric->meta.ns, test->metric->secret, &secret, &problem);
	if (r == 0)
		r = query_build(test->metric, values, secret, &request, &problem);
	if (r < 0) {
		fail(test, problem ?: strerror(-r));
		return 0;
	}
	json_object_set_new(test->document, "request", request_json(test->metric, &request, secret));
	json_object_set_new(test->result, "jq", json_string(test->metric->jq));
	return ask(o, secrets, values, test);
}

static double middle(void *arg)
{
	(void)arg;
	return 0.5;
}

static void test_mock(const struct metric_options *o, struct test *test)
{
	static const struct mock_random random = { middle, NULL };
	struct reading reading = {};

	mock_read(test->metric, o->version, o->elapsed < 1 ? 1 : o->elapsed, &random, &reading);
	on_reading(test, &reading);
	free(reading.problem);
}

/* Where the agent looks for secrets, if it ran with these manifests. */
static char *secrets_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		return text_printf("%s/.secrets", path);
	return text_printf("%.*s.secrets", slash ? (int)(slash + 1 - path) : 0, path);
}

static int run_test(const struct metric_options *o, const char *path, const struct world *world, struct test *test)
{
	_cleanup_free_ char *folder = o->secrets ? strdup(o->secrets) : secrets_of(path);
	const struct secret_source secrets = { folder, &world };
	const struct version_detail version = find_version(world, o->version);
	_cleanup_json_ json_t *values = query_values(&version, (int64_t)(o->elapsed * 1e3));
	const char *provider = test->metric->provider;
	int r = values && folder ? set_variables(values, &o->variables) : -ENOMEM;

	if (r < 0)
		return r;
	if (test->metric->mock_count)
		test_mock(o, test);
	else if (strcmp(provider, "shunt") == 0 || strcmp(provider, "iter8") == 0)
		fail(test, "it is a built-in metric: the running agent reads it from the kernel, `shunt describe` shows it");
	else
		r = test_http(o, &secrets, values, test);
	return r;
}

static json_t *new_document(const struct metric *metric, const char *version)
{
	_cleanup_free_ char *name = text_printf("%s/%s", metric->meta.ns, metric->meta.name);

	return json_pack("{s:{s:s?, s:s, s:s, s:s}, s:{s:s}}", "metric", "metric", name, "provider", metric->mock_count ? "mock" : metric->provider, "type",
			 metric->type == METRIC_COUNTER ? "Counter" : "Gauge", "version", version, "result", "units", metric->units);
}

static int run(const void *options, int argc, char **argv)
{
	const struct metric_options *o = options;
	_cleanup_(world_free) struct world *world = NULL;
	_cleanup_json_ json_t *document = NULL;
	struct test test = {};
	int r;

	(void)argc;
	if (strcmp(argv[0], "test") != 0 || !o->version) {
		log_err(0, "usage: shunt metric test MANIFESTS --version NAME");
		return CMD_USAGE;
	}
	if (cmd_load_world(argv[1], &world) < 0)
		return CMD_FAILED;
	test.metric = choose_metric(world, argv[1], o->metric);
	if (!test.metric)
		return CMD_USAGE;
	test.document = document = new_document(test.metric, o->version);
	test.result = json_object_get(document, "result");
	r = document ? run_test(o, argv[1], world, &test) : -ENOMEM;
	if (r == -EINVAL)
		return CMD_USAGE;
	if (r == 0)
		r = emit(stdout, document, sections, ARRAY_SIZE(sections), o->common.json);
	if (r < 0)
		log_err(r, "shunt metric test");
	return r == 0 && test.present ? CMD_OK : CMD_FAILED;
}

const struct cmd cmd_metric = {
	.name = "metric",
	.arguments = "test MANIFESTS",
	.arguments_min = 2,
	.arguments_max = 2,
	.summary = "Ask for one metric as an experiment would, and show request, reply and value",
	.details = "MANIFESTS is a file or a folder with the Metric, and perhaps the Experiment whose version's variables it uses. What comes from a secret is shown as ***. Exit code 1: there\nis no value, and `problem` says why.",
	.options = cmd_options,
	.option_count = ARRAY_SIZE(cmd_options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
