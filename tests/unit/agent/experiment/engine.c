/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whole experiments on a real loop, with real status files and real tasks. What stands in for the datapath are the engine's own edge calls: counters
 * that the test sets, and a note of what the engine asked to be steered, and when.
 */
#include "experiment/engine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../../lib/tree.h"
#include "experiment/status.h"
#include "experiment/trial.h"
#include "shunt/histogram.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"
#include "world/manifest.h"

#define MS 1000000ull
#define INTERVAL_MS 30
#define LIMIT_MS 20000 /* of a whole test; it ends much sooner */

static const char route_yaml[] =
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: routing-rule}\n"
	"spec:\n  hosts: [example.com]\n  http:\n"
	"  - match: [{headers: {userhash: {prefix: \"101\"}}}]\n"
	"    route: [{destination: {host: flowers.ns-candidate.svc.cluster.local}, headers: {response: {set: {version: flowers-v2}}}}]\n"
	"  - route: [{destination: {host: flowers.ns-baseline.svc.cluster.local}, headers: {response: {set: {version: flowers-v1}}}}]\n---\n";

static const char promoted_yaml[] =
	"apiVersion: networking.istio.io/v1alpha3\nkind: VirtualService\nmetadata: {name: routing-rule}\n"
	"spec:\n  hosts: [example.com]\n  http:\n"
	"  - route: [{destination: {host: flowers.ns-baseline.svc.cluster.local}, headers: {response: {set: {version: flowers-v2}}}}]\n---\n";

static const char metric_yaml[] =
	"apiVersion: iter8.tools/v2alpha2\nkind: Metric\nmetadata: {name: user-engagement, namespace: iter8-kfserving}\n"
	"spec:\n  type: Counter\n  mock: [{name: flowers-v1, level: 10}, {name: flowers-v2, level: 15}]\n---\n";

/* The tutorial's experiment; %s: name, the finish script, iterations. */
static const char experiment_yaml[] =
	"apiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: %s}\n"
	"spec:\n  target: flowers\n  strategy:\n    testingPattern: A/B\n    deploymentPattern: FixedSplit\n"
	"    actions: {finish: [{task: common/exec, with: {cmd: /bin/sh, args: [-c, '%s']}}]}\n"
	"  criteria:\n    requestCount: iter8-kfserving/request-count\n"
	"    rewards: [{metric: iter8-kfserving/user-engagement, preferredDirection: High}]\n"
	"    objectives: [{metric: iter8-kfserving/mean-latency, upperLimit: 2000}, {metric: iter8-kfserving/error-rate, upperLimit: \"0.01\"}]\n"
	"  duration: {intervalSeconds: 10, iterationsPerLoop: %d}\n"
	"  versionInfo:\n    baseline: {name: flowers-v1, variables: [{name: promote, value: v1.yaml}]}\n"
	"    candidates: [{name: flowers-v2, variables: [{name: promote, value: v2.yaml}]}]\n---\n";

struct bench {
	uv_loop_t loop;
	uv_timer_t limit;
	char folder[64];
	struct engine *engine;
	struct world *world;
	struct series_numbers numbers[2]; /* of series 7 and 8 */
	int reads;
	int steered;           /* times */
	int steer_result;
	int steer_fails_from; /* the so many-th time and all that follow; 0: none */
	int resolves, resolve_result;
	bool promoted_on_disk; /* the status file had the promotion when steering was asked for */
	char *steered_to;      /* version of the only steering's promotion, "split" while it is none, "" without a steering */
	char *salt;            /* of it */
	struct shunt_trial planned; /* of it */
	uint32_t trial;        /* whose users were asked for */
	uint64_t candidate_end[8]; /* what flowers-v2 had of the hashes at the first steerings, in their order */
	double percent;        /* weight of flowers-v2 as the route's manifest says it */
	const char *stop_stage; /* stop the loop when an experiment's status says this */
	int stop_iterations;
	const char *watched;   /* name of that experiment */
};

/* ---- the edge ---- */

static int edge_resolve(void *arg, const struct experiment *experiment, struct resolution *resolution)
{
	struct bench *bench = arg;

	bench->resolves++;
	if (bench->resolve_result < 0)
		return bench->resolve_result;
	for (size_t v = 0; v < experiment->version_count; v++) {
		bool first = strcmp(experiment->versions[v].name, "flowers-v1") == 0;

		resolution->series[v] = first ? 7 : 8;
		resolution->names[v] = strdup(experiment->versions[v].name);
	}
	resolution->percent[0] = 100 - bench->percent;
	resolution->percent[1] = bench->percent;
	resolution->route = strdup("default/routing-rule");
	return 0;
}

/* Once the experiment has the split, every look finds 20 more requests of 10 ms (baseline) or 12 ms. */
static int edge_read(void *arg, int series, struct series_numbers *ret_numbers)
{
	struct bench *bench = arg;
	struct series_numbers *n = &bench->numbers[series - 7];
	uint64_t ns = series == 7 ? 10 * MS : 12 * MS;

	bench->reads++;
	*ret_numbers = *n;
	if (!bench->steered)
		return 0;
	n->count.requests += 20;
	n->count.latency_count += 20;
	n->count.latency_sum_ns += 20 * ns;
	n->latency[SHUNT_LATENCY_TOTAL].slot[shunt_hist_slot(ns)] += 20;
	return 0;
}

/* Two users of ten requests each for each look. */
static int edge_read_users(void *arg, uint32_t trial, int series, struct user_sums *ret_sums)
{
	static const struct shunt_user user = { .requests = 10, .timed = 10, .latency_us = 100000 };
	struct bench *bench = arg;
	const struct series_numbers *n = &bench->numbers[series - 7];

	bench->trial = trial;
	*ret_sums = (struct user_sums){};
	for (uint64_t i = 10; i <= n->count.requests; i += 10)
		user_sums_add(ret_sums, &user);
	return 0;
}

static json_t *read_status(const struct bench *bench, const char *name)
{
	_cleanup_free_ char *path = status_path(bench->folder, "default", name), *problem = NULL;
	json_t *document = NULL;

	return status_read(path, &document, &problem) == 0 ? document : NULL;
}

static int edge_steer(void *arg)
{
	struct bench *bench = arg;
	_cleanup_json_ json_t *document = read_status(bench, "exp");
	_cleanup_free_ struct steering *steerings = NULL;
	json_t *recorded = json_object_get(json_object_get(json_object_get(document, "status"), "shunt"), "promotion");
	size_t count;

	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0);
	if (count == 1 && bench->steered < 8)
		bench->candidate_end[bench->steered] = steerings[0].share_count > 1 ? steerings[0].shares[0].end : 0;
	text_replace(&bench->salt, "%s", count == 1 ? steerings[0].salt : "");
	if (count == 1 && !steerings[0].version)
		bench->planned = steerings[0].trial;
	bench->steered++;
	bench->promoted_on_disk = json_is_object(recorded);
	text_replace(&bench->steered_to, "%s", count == 1 ? steerings[0].version ?: "split" : "");
	return bench->steer_fails_from && bench->steered >= bench->steer_fails_from ? -EBUSY : bench->steer_result;
}

static void edge_changed(void *arg)
{
	struct bench *bench = arg;
	_cleanup_json_ json_t *view = engine_view(bench->engine);
	const json_t *item, *status;
	size_t i;

	json_array_foreach(view, i, item) {
		status = json_object_get(item, "status");
		if (strcmp(json_string_value(json_object_get(item, "name")), bench->watched) != 0 || !status)
			continue;
		if (bench->stop_stage && strcmp(json_string_value(json_object_get(status, "stage")), bench->stop_stage) == 0)
			uv_stop(&bench->loop);
		if (bench->stop_iterations && json_integer_value(json_object_get(status, "completedIterations")) >= bench->stop_iterations)
			uv_stop(&bench->loop);
	}
}

/* ---- the bench ---- */

static struct world *world_of(const char *text)
{
	struct manifest_documents documents = {};
	struct manifest_errors errors = {};
	struct world *world = calloc(1, sizeof(*world));

	assert_int_equal(manifest_parse("test.yaml", text, strlen(text), 1000, &documents, &errors), 0);
	for (size_t i = 0; i < documents.count; i++)
		assert_int_equal(manifest_decode(&documents.items[i], world, &errors), 0);
	assert_int_equal(errors.count, 0);
	manifest_documents_release(&documents);
	manifest_errors_release(&errors);
	return world;
}

static void set_world(struct bench *bench, char *text)
{
	struct world *old = bench->world;

	bench->world = world_of(text);
	free(text);
	assert_int_equal(engine_set_world(bench->engine, bench->world), 0);
	world_free(&old);
}

static char *tutorial(const char *route, const char *finish, int iterations)
{
	_cleanup_free_ char *experiment = text_printf(experiment_yaml, "exp", finish, iterations);

	return text_printf("%s%s%s", route, metric_yaml, experiment);
}

static void limit_reached(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("the experiment did not get where it should within %d ms", LIMIT_MS);
}

static void start_engine(struct bench *bench)
{
	struct engine_options options = { .folder = bench->folder, .interval_ms = INTERVAL_MS, .task = { .user = "root" } };
	struct engine_edge edge = { edge_resolve, edge_read, edge_read_users, edge_steer, edge_changed, bench };

	assert_int_equal(engine_new(&bench->loop, &options, &edge, &bench->engine), 0);
}

static void stop_engine(struct bench *bench)
{
	engine_free(&bench->engine);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	log_set_level(LOG_ERR);
	bench->watched = "exp";
	strcpy(bench->folder, "/tmp/shunt-engine-XXXXXX");
	assert_non_null(mkdtemp(bench->folder));
	uv_loop_init(&bench->loop);
	uv_timer_init(&bench->loop, &bench->limit);
	uv_unref((uv_handle_t *)&bench->limit);
	uv_timer_start(&bench->limit, limit_reached, LIMIT_MS, 0);
	start_engine(bench);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	engine_free(&bench->engine);
	uv_close((uv_handle_t *)&bench->limit, NULL);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&bench->loop), 0);
	world_free(&bench->world);
	tree_remove(bench->folder);
	free(bench->steered_to);
	free(bench->salt);
	free(bench);
	return 0;
}

static void run_until(struct bench *bench, const char *stage, int iterations)
{
	bench->stop_stage = stage;
	bench->stop_iterations = iterations;
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	bench->stop_stage = NULL;
	bench->stop_iterations = 0;
}

static json_t *status_of(const struct bench *bench, const char *name)
{
	_cleanup_json_ json_t *document = read_status(bench, name);

	assert_non_null(document);
	return json_incref(json_object_get(document, "status"));
}

static const char *text_at(const json_t *json, const char *key)
{
	return json_string_value(json_object_get(json, key));
}

static bool condition_is_true(const json_t *status, const char *type)
{
	const json_t *condition;
	size_t i;

	json_array_foreach(json_object_get(status, "conditions"), i, condition) {
		if (strcmp(text_at(condition, "type"), type) == 0)
			return strcmp(text_at(condition, "status"), "True") == 0;
	}
	return false;
}

static char *read_file(const char *folder, const char *name)
{
	_cleanup_free_ char *path = text_printf("%s/%s", folder, name);
	_cleanup_file_ FILE *file = fopen(path, "re");
	char *text = calloc(1, 1024);

	assert_non_null(file);
	assert_true(fread(text, 1, 1023, file) > 0);
	return text;
}

static bool exists(const char *folder, const char *name)
{
	_cleanup_free_ char *path = text_printf("%s/%s", folder, name);

	return access(path, F_OK) == 0;
}

/* A shell opens a file before it writes to it. */
static bool is_written(const char *folder, const char *name)
{
	_cleanup_free_ char *path = text_printf("%s/%s", folder, name);
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > 0;
}

/* ---- tests ---- */

static void the_tutorial_ends_with_its_winner_promoted_and_its_task_run(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *finish = text_printf("echo apply {{ .promote }} >>%s/applied", bench->folder), *applied = NULL;
	_cleanup_json_ json_t *status = NULL;
	json_t *analysis, *values;

	set_world(bench, tutorial(route_yaml, finish, 5));
	run_until(bench, "Completed", 0);
	status = status_of(bench, "exp");
	analysis = json_object_get(status, "analysis");
	assert_int_equal(json_integer_value(json_object_get(status, "completedIterations")), 5);
	assert_string_equal(text_at(status, "versionRecommendedForPromotion"), "flowers-v2");
	assert_string_equal(text_at(status, "message"), "ExperimentCompleted: Experiment Completed");
	assert_true(condition_is_true(status, "Completed"));
	assert_true(condition_is_true(status, "TargetAcquired"));
	assert_false(condition_is_true(status, "Failed"));
	assert_string_equal(text_at(json_object_get(json_object_get(analysis, "winnerAssessment"), "data"), "winner"), "flowers-v2");

	/* the fifth look is 4 * 20 requests after the first, which was the base */
	values = json_object_get(json_object_get(json_object_get(analysis, "aggregatedMetrics"), "data"), "iter8-kfserving/request-count");
	assert_string_equal(text_at(json_object_get(json_object_get(values, "data"), "flowers-v2"), "value"), "80");

	assert_int_equal(bench->steered, 2); /* the split with its own salt, then the promotion */
	assert_string_equal(bench->steered_to, "flowers-v2");
	assert_true(bench->promoted_on_disk);
	applied = read_file(bench->folder, "applied");
	assert_string_equal(applied, "apply v2.yaml\n");
}

/* The task looks for what steering left: it finds it only if steering came first. */
static int steer_and_leave_mark(void *arg)
{
	struct bench *bench = arg;
	_cleanup_free_ char *path = text_printf("%s/steered", bench->folder);
	_cleanup_file_ FILE *mark = fopen(path, "we");

	return edge_steer(arg);
}

static void t13_the_winners_users_stay_because_steering_comes_before_the_finish_task(void **state)
{
	struct bench *bench = *state;
	struct engine_options options = { .folder = bench->folder, .interval_ms = INTERVAL_MS, .task = { .user = "root" } };
	struct engine_edge edge = { edge_resolve, edge_read, edge_read_users, steer_and_leave_mark, edge_changed, bench };
	_cleanup_free_ char *finish = text_printf("test -e %s/steered", bench->folder);
	_cleanup_json_ json_t *status = NULL;

	stop_engine(bench);
	assert_int_equal(engine_new(&bench->loop, &options, &edge, &bench->engine), 0);
	set_world(bench, tutorial(route_yaml, finish, 2));
	run_until(bench, "Completed", 0);
	status = status_of(bench, "exp");
	assert_false(condition_is_true(status, "Failed"));
}

static void a_restart_goes_on_with_the_same_iteration_start_and_counters(void **state)
{
	struct bench *bench = *state;
	_cleanup_json_ json_t *before = NULL, *after = NULL;
	json_t *values;

	set_world(bench, tutorial(route_yaml, "true", 6));
	run_until(bench, NULL, 3);
	before = status_of(bench, "exp");
	stop_engine(bench); /* as kill -9 would: nothing is said to anybody */
	start_engine(bench);
	set_world(bench, tutorial(route_yaml, "true", 6));
	run_until(bench, "Completed", 0);
	after = status_of(bench, "exp");
	assert_string_equal(text_at(after, "startTime"), text_at(before, "startTime"));
	assert_string_equal(text_at(after, "initTime"), text_at(before, "initTime"));
	assert_true(json_equal(json_object_get(json_object_get(after, "shunt"), "base"), json_object_get(json_object_get(before, "shunt"), "base")));
	assert_int_equal(json_integer_value(json_object_get(after, "completedIterations")), 6);
	values = json_object_get(json_object_get(json_object_get(json_object_get(after, "analysis"), "aggregatedMetrics"), "data"), "iter8-kfserving/request-count");
	assert_string_equal(text_at(json_object_get(json_object_get(values, "data"), "flowers-v1"), "value"), "100");
}

static void a_restart_in_the_finish_task_runs_it_again_and_steers_from_the_first_plan_on(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *slow = text_printf("echo begun >>%s/applied; test -e %s/go || sleep 1000", bench->folder, bench->folder);
	_cleanup_free_ char *go = text_printf("%s/go", bench->folder), *applied = NULL;
	_cleanup_free_ struct steering *steerings = NULL;
	_cleanup_file_ FILE *mark = NULL;
	size_t count;

	set_world(bench, tutorial(route_yaml, slow, 1));
	run_until(bench, "Finishing", 0);
	while (!is_written(bench->folder, "applied"))
		uv_run(&bench->loop, UV_RUN_NOWAIT);
	stop_engine(bench);

	mark = fopen(go, "we");
	start_engine(bench);
	set_world(bench, tutorial(route_yaml, slow, 1));
	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(steerings[0].experiment, "default/exp");
	assert_string_equal(steerings[0].route, "default/routing-rule");
	run_until(bench, "Completed", 0);
	applied = read_file(bench->folder, "applied");
	assert_string_equal(applied, "begun\nbegun\n");
	assert_int_equal(bench->steered, 2); /* the split, the promotion, both before the restart; then the first plan had them */
}

static void a_promotion_ends_when_the_route_is_changed_and_never_comes_back(void **state)
{
	struct bench *bench = *state;
	size_t count[3];

	for (int i = 0; i < 3; i++) {
		_cleanup_free_ struct steering *steerings = NULL;

		set_world(bench, tutorial(i == 1 ? promoted_yaml : route_yaml, "true", 1));
		if (i == 0)
			run_until(bench, "Completed", 0);
		assert_int_equal(engine_steerings(bench->engine, &steerings, &count[i]), 0);
	}
	assert_int_equal(count[0], 1);
	assert_int_equal(count[1], 0);
	assert_int_equal(count[2], 0);
}

static void a_completed_experiment_stays_completed_after_a_restart(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ struct steering *steerings = NULL;
	int reads;
	size_t count;

	set_world(bench, tutorial(route_yaml, "true", 1));
	run_until(bench, "Completed", 0);
	stop_engine(bench);
	reads = bench->reads;
	start_engine(bench);
	set_world(bench, tutorial(route_yaml, "true", 1));
	uv_run(&bench->loop, UV_RUN_DEFAULT); /* until there is nothing left to do */
	assert_int_equal(bench->reads, reads);
	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0);
	assert_int_equal(count, 1);
}

static void deleting_the_experiment_ends_its_promotion_and_its_status(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ struct steering *steerings = NULL;
	size_t count;

	set_world(bench, tutorial(route_yaml, "true", 1));
	run_until(bench, "Completed", 0);
	assert_true(exists(bench->folder, "default.exp.status.yaml"));
	set_world(bench, strdup(route_yaml));
	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0);
	assert_int_equal(count, 0);
	assert_false(exists(bench->folder, "default.exp.status.yaml"));
}

static void deleting_a_running_experiment_kills_its_task(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *slow = text_printf("echo $$ >%s/pid; exec sleep 1000", bench->folder), *pid = NULL;

	set_world(bench, tutorial(route_yaml, slow, 1));
	run_until(bench, "Finishing", 0);
	while (!is_written(bench->folder, "pid"))
		uv_run(&bench->loop, UV_RUN_NOWAIT);
	set_world(bench, strdup(route_yaml));
	uv_run(&bench->loop, UV_RUN_DEFAULT); /* ends only when the child has */
	pid = read_file(bench->folder, "pid");
	assert_int_equal(kill(atoi(pid), 0), -1);
	assert_int_equal(errno, ESRCH);
}

static void a_failing_finish_task_fails_the_experiment_but_the_winner_stays(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ struct steering *steerings = NULL;
	_cleanup_json_ json_t *status = NULL;
	size_t count;

	set_world(bench, tutorial(route_yaml, "echo no cluster here >&2; exit 4", 2));
	run_until(bench, "Completed", 0);
	status = status_of(bench, "exp");
	assert_true(condition_is_true(status, "Failed"));
	assert_string_equal(text_at(status, "message"), "HandlerFailed: Finish handler 'finish' failed: spec.strategy.actions.finish[0] common/exec ended with status 4: no cluster here");
	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0);
	assert_int_equal(count, 1);
}

static void steering_that_fails_is_tried_again_before_any_task(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *finish = text_printf("touch %s/applied", bench->folder);

	bench->steer_result = -EBUSY;
	set_world(bench, tutorial(route_yaml, finish, 1));
	while (bench->steered < 3)
		uv_run(&bench->loop, UV_RUN_ONCE);
	assert_false(exists(bench->folder, "applied"));
	bench->steer_result = 0;
	run_until(bench, "Completed", 0);
	assert_true(exists(bench->folder, "applied"));
}

static void tables_that_cannot_be_read_put_the_promotion_off(void **state)
{
	struct bench *bench = *state;
	int before;

	set_world(bench, tutorial(route_yaml, "true", 1));
	run_until(bench, NULL, 1);
	bench->resolve_result = -EIO;
	before = bench->resolves;
	while (bench->resolves < before + 2)
		uv_run(&bench->loop, UV_RUN_ONCE);
	assert_string_equal(bench->steered_to, "split");
	bench->resolve_result = 0;
	run_until(bench, "Completed", 0);
	assert_string_equal(bench->steered_to, "flowers-v1"); /* one iteration has no winner */
}

/* What knative/init-experiment finds out is a variable of the tasks that follow, also after a restart. */
static void a_task_gives_every_version_a_variable(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *kubectl = text_printf("%s/kubectl", bench->folder), *path = text_printf("%s:/usr/bin:/bin", bench->folder), *before = strdup(getenv("PATH"));
	_cleanup_free_ char *text = text_printf("%sapiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: exp}\nspec:\n  target: prod/app\n"
						"  strategy:\n    testingPattern: Conformance\n    actions: {start: [{task: knative/init-experiment}], finish: [{task: common/exec, "
						"with: {cmd: touch, args: ['%s/in-{{ .namespace }}']}}]}\n"
						"  criteria: {requestCount: shunt/request-count}\n  duration: {intervalSeconds: 10, iterationsPerLoop: 2}\n"
						"  versionInfo: {baseline: {name: flowers-v1, variables: [{name: revision, value: app-v1}]}}\n---\n", route_yaml, bench->folder);
	FILE *file = fopen(kubectl, "we");

	fputs("#!/bin/sh\necho ConfigurationsReady=True Ready=True RoutesReady=True revision=app-v1\n", file);
	fclose(file);
	chmod(kubectl, 0755);
	setenv("PATH", path, 1);
	set_world(bench, strdup(text));
	run_until(bench, NULL, 1);
	stop_engine(bench);
	start_engine(bench);
	set_world(bench, strdup(text));
	run_until(bench, "Completed", 0);
	setenv("PATH", before, 1);
	assert_true(exists(bench->folder, "in-prod"));
}

/* ---- readings that fail ---- */

/* The tutorial with an objective of Metric slow, which a provider on this port answers. */
static char *provided(int port, int iterations)
{
	_cleanup_free_ char *text = tutorial(route_yaml, "true", iterations);
	char *at = strstr(text, "iter8-kfserving/mean-latency");

	memcpy(at, "iter8-kfserving/slow-latency", strlen("iter8-kfserving/slow-latency"));
	return text_printf("apiVersion: iter8.tools/v2alpha2\nkind: Metric\nmetadata: {name: slow-latency, namespace: iter8-kfserving}\n"
			   "spec: {provider: test, urlTemplate: 'http://127.0.0.1:%d/', jqExpression: .value}\n---\n%s", port, text);
}

/* Fails `bad` requests, answers `good` ones with a value and then fails, until it is told otherwise. */
struct provider_stub {
	uv_thread_t thread;
	int fd, port;
	int bad, good;
};

static void provide(void *arg)
{
	struct provider_stub *stub = arg;
	char request[4096];
	int fd;

	while ((fd = accept(stub->fd, NULL, NULL)) >= 0) {
		bool bad = stub->bad > 0 && stub->bad--, good = !bad && __atomic_fetch_sub(&stub->good, 1, __ATOMIC_RELAXED) > 0;

		if (read(fd, request, sizeof(request)) > 0)
			dprintf(fd, "HTTP/1.1 %s\r\nContent-Length: 12\r\nConnection: close\r\n\r\n{\"value\": 7}", good ? "200 OK" : "503 Gone");
		close(fd);
	}
}

static void start_provider(struct provider_stub *stub)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	stub->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(stub->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(stub->fd, 64), 0);
	assert_int_equal(getsockname(stub->fd, (struct sockaddr *)&address, &size), 0);
	stub->port = ntohs(address.sin_port);
	assert_int_equal(uv_thread_create(&stub->thread, provide, stub), 0);
}

static void stop_provider(struct provider_stub *stub)
{
	shutdown(stub->fd, SHUT_RDWR);
	uv_thread_join(&stub->thread);
	close(stub->fd);
}

static const json_t *reading_in(const json_t *status, const char *metric, const char *version)
{
	const json_t *data = json_object_get(json_object_get(json_object_get(status, "analysis"), "aggregatedMetrics"), "data");

	return json_object_get(json_object_get(json_object_get(json_object_get(data, metric), "data"), version), "value");
}

static void t1_a_stale_reading_is_missing_and_not_reused(void **state)
{
	struct bench *bench = *state;
	struct provider_stub stub = { .good = 1000 };
	_cleanup_json_ json_t *first = NULL, *second = NULL;

	start_provider(&stub);
	set_world(bench, provided(stub.port, 1000));
	run_until(bench, NULL, 2);
	first = status_of(bench, "exp");
	assert_string_equal(json_string_value(reading_in(first, "iter8-kfserving/slow-latency", "flowers-v1")), "7");
	__atomic_store_n(&stub.good, 0, __ATOMIC_RELAXED);
	run_until(bench, NULL, (int)json_integer_value(json_object_get(first, "completedIterations")) + 2);
	second = status_of(bench, "exp");
	assert_null(reading_in(second, "iter8-kfserving/slow-latency", "flowers-v1"));
	stop_provider(&stub);
}

/* Iter8 reads Metric objects once. */
static void t22_a_metric_that_changes_is_read_as_it_is_now(void **state)
{
	struct bench *bench = *state;
	struct provider_stub stub = { .good = 1 << 20 };
	_cleanup_json_ json_t *status = NULL;
	const json_t *item, *found = NULL;
	char *changed, *at;
	size_t i;

	start_provider(&stub);
	set_world(bench, provided(stub.port, 1000));
	run_until(bench, NULL, 2);
	changed = provided(stub.port, 1000);
	at = strstr(changed, "jqExpression: .value}");
	memcpy(at, "jqExpression: '1234'}", strlen("jqExpression: '1234'}"));
	set_world(bench, changed);
	status = status_of(bench, "exp");
	run_until(bench, NULL, (int)json_integer_value(json_object_get(status, "completedIterations")) + 2);
	json_decref(status);
	status = status_of(bench, "exp");
	assert_string_equal(json_string_value(reading_in(status, "iter8-kfserving/slow-latency", "flowers-v1")), "1234");
	json_array_foreach(json_object_get(status, "metrics"), i, item)
		found = strcmp(text_at(item, "name"), "iter8-kfserving/slow-latency") == 0 ? item : found;
	assert_non_null(found);
	assert_string_equal(text_at(json_object_get(json_object_get(found, "metricObj"), "spec"), "jqExpression"), "1234");
	stop_provider(&stub);
}

static void an_analytics_error_is_tried_again_and_the_status_says_what_is_missing_and_since_when(void **state)
{
	struct bench *bench = *state;
	struct provider_stub stub = { .good = 0 };
	_cleanup_json_ json_t *failing = NULL, *later = NULL, *mended = NULL;
	const char *key = "iter8-kfserving/slow-latency flowers-v1", *since;
	const json_t *missing;

	start_provider(&stub);
	set_world(bench, provided(stub.port, 1000));
	run_until(bench, NULL, 1);
	failing = status_of(bench, "exp");
	missing = json_object_get(json_object_get(json_object_get(failing, "shunt"), "missing"), key);
	assert_memory_equal(text_at(missing, "problem"), "HTTP 503", 8);
	assert_true(json_integer_value(json_object_get(missing, "attempts")) > 1);
	since = text_at(missing, "since");
	run_until(bench, NULL, 3);
	later = status_of(bench, "exp");
	assert_false(condition_is_true(later, "Failed"));
	missing = json_object_get(json_object_get(json_object_get(later, "shunt"), "missing"), key);
	assert_string_equal(text_at(missing, "since"), since);
	__atomic_store_n(&stub.good, 1 << 20, __ATOMIC_RELAXED);
	run_until(bench, NULL, (int)json_integer_value(json_object_get(later, "completedIterations")) + 2);
	mended = status_of(bench, "exp");
	assert_null(json_object_get(json_object_get(json_object_get(mended, "shunt"), "missing"), key));
	assert_string_equal(json_string_value(reading_in(mended, "iter8-kfserving/slow-latency", "flowers-v1")), "7");
	stop_provider(&stub);
}

static void a_reading_that_fails_is_tried_again_within_its_iteration(void **state)
{
	struct bench *bench = *state;
	struct provider_stub stub = { .bad = 3, .good = 1 << 20 }; /* of the two versions' first two attempts at least one */
	_cleanup_json_ json_t *status = NULL;
	json_t *retried, *item;
	const char *key;
	int attempts = 0;

	start_provider(&stub);
	set_world(bench, provided(stub.port, 1));
	run_until(bench, "Completed", 0);
	status = status_of(bench, "exp");
	assert_string_equal(json_string_value(reading_in(status, "iter8-kfserving/slow-latency", "flowers-v1")), "7");
	assert_string_equal(json_string_value(reading_in(status, "iter8-kfserving/slow-latency", "flowers-v2")), "7");
	retried = json_object_get(json_object_get(status, "shunt"), "retried");
	json_object_foreach(retried, key, item) {
		assert_memory_equal(text_at(item, "problem"), "HTTP 503", 8);
		attempts += (int)json_integer_value(json_object_get(item, "attempts"));
	}
	assert_int_equal(attempts, (int)json_object_size(retried) + 3);
	stop_provider(&stub);
}

/* Iter8's built-in metrics are of the load that metrics/collect drives; the counters that edge_read() gives know nothing of it. */
static void what_collect_measures_is_read_as_iter8s_builtin_metrics(void **state)
{
	struct bench *bench = *state;
	struct provider_stub stub = { .good = 1 << 20 };
	_cleanup_json_ json_t *status = NULL, *later = NULL;
	_cleanup_free_ char *text = NULL;
	const json_t *collected;

	start_provider(&stub);
	text = text_printf("%sapiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: exp}\nspec:\n  target: flowers\n"
			   "  strategy:\n    testingPattern: Conformance\n    actions: {start: [{task: metrics/collect, with: {numQueries: 7, qps: 1000, versions: "
			   "[{name: flowers-v1, url: 'http://127.0.0.1:%d/'}]}}]}\n"
			   "  criteria: {requestCount: iter8-system/request-count, indicators: [iter8-system/latency-95th-percentile, shunt/request-count]}\n"
			   "  duration: {intervalSeconds: 10, iterationsPerLoop: 1000}\n  versionInfo: {baseline: {name: flowers-v1}}\n---\n", route_yaml, stub.port);
	set_world(bench, TAKE_PTR(text));
	run_until(bench, NULL, 3);
	status = status_of(bench, "exp");
	collected = json_object_get(json_object_get(json_object_get(status, "analysis"), "aggregatedBuiltinHists"), "data");
	assert_non_null(json_object_get(collected, "flowers-v1"));
	assert_string_equal(json_string_value(reading_in(status, "iter8-system/request-count", "flowers-v1")), "7");
	assert_non_null(reading_in(status, "iter8-system/latency-95th-percentile", "flowers-v1"));
	assert_string_equal(json_string_value(reading_in(status, "shunt/request-count", "flowers-v1")), "0"); /* the counters count none of it */

	stop_engine(bench); /* and it is still there after a restart */
	start_engine(bench);
	set_world(bench, text_printf("%sapiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: exp}\nspec:\n  target: flowers\n"
				     "  strategy: {testingPattern: Conformance}\n  criteria: {requestCount: iter8-system/request-count}\n"
				     "  duration: {intervalSeconds: 10, iterationsPerLoop: 1000}\n  versionInfo: {baseline: {name: flowers-v1}}\n---\n", route_yaml));
	run_until(bench, NULL, (int)json_integer_value(json_object_get(status, "completedIterations")) + 2);
	later = status_of(bench, "exp");
	assert_string_equal(json_string_value(reading_in(later, "iter8-system/request-count", "flowers-v1")), "7");
	stop_provider(&stub);
}

/* ---- weights ---- */

/* The tutorial with another deployment pattern. */
static char *deployed(const char *pattern, const char *finish, int iterations)
{
	_cleanup_free_ char *text = tutorial(route_yaml, finish, iterations);
	char *at = strstr(text, "FixedSplit"), *rest = at + strlen("FixedSplit");

	*at = '\0';
	return text_printf("%s%s%s", text, pattern, rest);
}

static void assert_percent(uint64_t hashes, int percent)
{
	assert_in_range(hashes + 1, (uint64_t)percent * SHARES_ALL / 100, (uint64_t)percent * SHARES_ALL / 100 + 2);
}

/* The first iteration has no requests to go by, so nobody wins: 95/5, as in Iter8. Then the increment. */
static void a_progressive_experiment_moves_the_split_step_by_step(void **state)
{
	static const int expected[] = { 0, 5, 15, 25, 35 };
	struct bench *bench = *state;
	_cleanup_json_ json_t *status = NULL;
	const json_t *moved, *weights;

	set_world(bench, deployed("Progressive", "true", 4));
	run_until(bench, NULL, 4);
	while (bench->steered < 5)
		uv_run(&bench->loop, UV_RUN_ONCE);
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++)
		assert_percent(bench->candidate_end[i], expected[i]);
	status = status_of(bench, "exp");
	weights = json_object_get(status, "currentWeightDistribution");
	assert_string_equal(text_at(json_array_get(weights, 1), "name"), "flowers-v2");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(weights, 1), "value")), 35);
	moved = json_object_get(json_object_get(json_object_get(status, "shunt"), "split"), "movedUsersPercent");
	assert_true(json_number_value(json_object_get(moved, "last")) == 10);
	assert_true(json_number_value(json_object_get(moved, "all")) == 35);
	run_until(bench, "Completed", 0);
	json_decref(status);
	status = status_of(bench, "exp");
	weights = json_object_get(status, "currentWeightDistribution");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(weights, 1), "value")), 100);
	assert_string_equal(bench->steered_to, "flowers-v2");
}

/* The whole matrix runs to its end, each with its own answer. */
static void every_testing_pattern_runs_with_every_deployment_pattern(void **state)
{
	static const struct {
		const char *testing, *rewards, *candidates, *recommended, *steered_to;
	} testing[] = {
		{ "Canary", "", ", candidates: [{name: flowers-v2}]", "flowers-v2", "flowers-v2" },
		{ "A/B", "rewards: [{metric: iter8-kfserving/user-engagement, preferredDirection: High}], ", ", candidates: [{name: flowers-v2}]", "flowers-v2", "flowers-v2" },
		{ "A/B/N", "rewards: [{metric: iter8-kfserving/user-engagement, preferredDirection: Low}], ", ", candidates: [{name: flowers-v2}]", "flowers-v1", "flowers-v1" },
		{ "Conformance", "", "", "flowers-v1", NULL }, /* nothing is steered */
	};
	static const char *const deployment[] = { "FixedSplit", "Progressive", "BlueGreen" };

	for (size_t t = 0; t < ARRAY_SIZE(testing); t++) {
		for (size_t d = 0; d < ARRAY_SIZE(deployment); d++) {
			struct bench *bench = *state;
			_cleanup_json_ json_t *status = NULL;
			const json_t *winner;

			set_world(bench, text_printf("%s%sapiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata: {name: exp}\nspec:\n  target: flowers\n"
						     "  strategy: {testingPattern: %s, deploymentPattern: %s, actions: {finish: [{task: common/exec, with: {cmd: touch, "
						     "args: ['%s/done-{{ .name }}']}}]}}\n"
						     "  criteria: {%sobjectives: [{metric: shunt/request-count, lowerLimit: 0}]}\n"
						     "  duration: {intervalSeconds: 10, iterationsPerLoop: 3}\n  versionInfo: {baseline: {name: flowers-v1}%s}\n---\n",
						     route_yaml, metric_yaml, testing[t].testing, deployment[d], bench->folder, testing[t].rewards, testing[t].candidates));
			run_until(bench, "Completed", 0);
			status = status_of(bench, "exp");
			assert_true(condition_is_true(status, "Completed") && condition_is_true(status, "TargetAcquired"));
			assert_false(condition_is_true(status, "Failed"));
			assert_int_equal(json_integer_value(json_object_get(status, "completedIterations")), 3);
			assert_string_equal(text_at(status, "versionRecommendedForPromotion"), testing[t].recommended);
			winner = json_object_get(json_object_get(json_object_get(status, "analysis"), "winnerAssessment"), "data");
			assert_string_equal(text_at(winner, "winner"), testing[t].recommended);
			if (testing[t].steered_to)
				assert_string_equal(bench->steered_to, testing[t].steered_to);
			else
				assert_int_equal(bench->steered, 0);
			teardown(state);
			setup(state);
		}
	}
}

/* A loop task that fails after the second iteration of the first loop. */
static char *failing(void)
{
	_cleanup_free_ char *text = deployed("Progressive", "true", 2);
	char *at = strstr(text, "actions: {"), *rest = at + strlen("actions: {");

	*at = '\0';
	return text_printf("%sactions: {loop: [{task: common/exec, with: {cmd: /bin/false}}], %s", text, rest);
}

static void a_failed_experiment_gives_the_route_back(void **state)
{
	struct bench *bench = *state;
	_cleanup_json_ json_t *status = NULL;
	int steered;

	set_world(bench, failing());
	run_until(bench, "Completed", 0);
	while (strcmp(bench->steered_to, "") != 0)
		assert_true(uv_run(&bench->loop, UV_RUN_ONCE)); /* there is something left to do */
	assert_percent(bench->candidate_end[1], 5); /* it had users of its own before */
	status = status_of(bench, "exp");
	assert_true(condition_is_true(status, "Failed"));
	assert_null(json_object_get(status, "currentWeightDistribution"));

	steered = bench->steered;
	stop_engine(bench); /* and a restart does not take it again */
	start_engine(bench);
	set_world(bench, failing());
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	assert_int_equal(bench->steered, steered);
}

static void giving_the_route_back_is_tried_again(void **state)
{
	struct bench *bench = *state;

	bench->steer_fails_from = 3; /* 2 with its weights, the others in vain */
	set_world(bench, failing());
	while (bench->steered < 5)
		assert_true(uv_run(&bench->loop, UV_RUN_ONCE));
	bench->steer_fails_from = 0;
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	assert_string_equal(bench->steered_to, "");
}

static void a_progressive_experiment_begins_with_the_weights_of_the_route(void **state)
{
	struct bench *bench = *state;

	bench->percent = 25;
	set_world(bench, deployed("Progressive", "true", 4));
	run_until(bench, NULL, 3);
	assert_percent(bench->candidate_end[0], 25);
	assert_percent(bench->candidate_end[1], 5);
	assert_percent(bench->candidate_end[2], 15);
}

static void a_blue_green_experiment_gives_the_candidate_everything_from_its_first_iteration_on(void **state)
{
	struct bench *bench = *state;
	_cleanup_json_ json_t *status = NULL;

	set_world(bench, deployed("BlueGreen", "true", 2));
	run_until(bench, NULL, 2);
	assert_int_equal(bench->steered, 1);
	status = status_of(bench, "exp");
	assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(status, "currentWeightDistribution"), 1), "value")), 100);
}

static void a_restart_in_mid_experiment_goes_on_with_iteration_and_weights(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ struct steering *steerings = NULL;
	_cleanup_free_ char *salt = NULL;
	size_t count;

	set_world(bench, deployed("Progressive", "true", 6));
	run_until(bench, NULL, 2);
	while (bench->steered < 3)
		uv_run(&bench->loop, UV_RUN_ONCE);
	salt = strdup(bench->salt);
	stop_engine(bench);

	start_engine(bench);
	set_world(bench, deployed("Progressive", "true", 6));
	assert_int_equal(engine_steerings(bench->engine, &steerings, &count), 0); /* the first plan has them */
	assert_int_equal(count, 1);
	assert_string_equal(steerings[0].salt, salt);
	assert_percent(steerings[0].shares[0].end, 15);
	run_until(bench, NULL, 3);
	while (bench->steered < 4)
		uv_run(&bench->loop, UV_RUN_ONCE);
	assert_percent(bench->candidate_end[3], 25);
}

static void t14_every_run_of_an_experiment_has_its_own_salt(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *first = NULL;

	set_world(bench, tutorial(route_yaml, "true", 1));
	run_until(bench, "Completed", 0);
	first = strdup(bench->salt);
	assert_true(strlen(first) > 16);
	set_world(bench, text_printf("%s", route_yaml)); /* deleted */
	set_world(bench, tutorial(route_yaml, "true", 1));
	run_until(bench, "Completed", 0);
	assert_string_not_equal(bench->salt, first);
}

static void a_route_that_another_experiment_divides_is_not_taken_from_it(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *both = NULL, *second = NULL;
	_cleanup_json_ json_t *status = NULL;
	const char *problem;
	char *target;

	both = deployed("Progressive", "true", 1000);
	second = text_printf(experiment_yaml, "late", "true", 3);
	target = strstr(second, "target: flowers");
	memcpy(target, "target: florals", strlen("target: florals"));
	set_world(bench, text_printf("%s", both));
	run_until(bench, NULL, 1);
	set_world(bench, text_printf("%s%s", both, second));
	bench->watched = "late";
	run_until(bench, NULL, 2);
	status = status_of(bench, "late");
	problem = text_at(json_object_get(json_object_get(status, "shunt"), "split"), "problem");
	assert_non_null(problem);
	assert_non_null(strstr(problem, "route default/routing-rule is divided by experiment default/exp"));
}

static void a_second_experiment_on_the_target_waits_for_the_first(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *first = text_printf(experiment_yaml, "exp", "true", 2), *second = text_printf(experiment_yaml, "later", "true", 2);
	_cleanup_json_ json_t *waiting = NULL, *done = NULL;

	set_world(bench, text_printf("%s%s%s%s", route_yaml, metric_yaml, second, first)); /* same second, same age: "exp" < "later" */
	run_until(bench, NULL, 1);
	waiting = status_of(bench, "later");
	assert_string_equal(text_at(waiting, "stage"), "Waiting");
	assert_string_equal(text_at(waiting, "message"), "Target: Target flowers is taken by experiment default/exp");
	bench->watched = "later";
	run_until(bench, "Completed", 0);
	done = status_of(bench, "exp");
	assert_string_equal(text_at(done, "stage"), "Completed");
	assert_true(json_is_true(json_object_get(json_object_get(json_object_get(done, "shunt"), "promotion"), "released"))); /* the route was needed */
}

static void a_status_file_that_cannot_be_read_stops_the_experiment_and_stays(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *path = status_path(bench->folder, "default", "exp"), *text = NULL;
	FILE *file = fopen(path, "we");

	fputs("status: {stage: Nonsense}\n", file);
	fclose(file);
	set_world(bench, tutorial(route_yaml, "true", 1));
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	text = read_file(bench->folder, "default.exp.status.yaml");
	assert_string_equal(text, "status: {stage: Nonsense}\n");
	assert_int_equal(bench->reads, 0);
}

static void users_are_told_apart_by_the_experiments_own_number(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *plain = tutorial(route_yaml, "true", 2), *changed = NULL;
	_cleanup_json_ json_t *status = NULL;
	const char *name = strstr(plain, "{name: exp}");

	changed = text_printf("%.*s{name: exp, annotations: {shunt.dev/conversion: POST /buy 3xx}}%s", (int)(name - plain), plain, name + 11);
	set_world(bench, TAKE_PTR(changed));
	run_until(bench, "Completed", 0);
	assert_true(bench->planned.id != 0);
	assert_int_equal(bench->planned.id, trial_id(bench->salt));
	assert_int_equal(bench->trial, bench->planned.id);
	assert_int_equal(bench->planned.class, 3);
	assert_string_equal(bench->planned.method, "POST");
	assert_string_equal(bench->planned.path, "/buy");
	assert_true(trial_id("another") != trial_id("anothes"));
}

static void an_unknown_metric_is_named_in_the_status(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *experiment = text_printf(experiment_yaml, "exp", "true", 1);
	_cleanup_json_ json_t *status = NULL;

	set_world(bench, text_printf("%s%s", route_yaml, experiment)); /* nobody has defined user-engagement */
	run_until(bench, "Completed", 0);
	status = status_of(bench, "exp");
	assert_true(condition_is_true(status, "Failed"));
	assert_memory_equal(text_at(status, "message"), "MetricUnavailable: Unable to find metric iter8-kfserving/user-engagement: ", 74);
	assert_int_equal(bench->steered, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(the_tutorial_ends_with_its_winner_promoted_and_its_task_run),
		T(t13_the_winners_users_stay_because_steering_comes_before_the_finish_task),
		T(a_restart_goes_on_with_the_same_iteration_start_and_counters),
		T(a_restart_in_the_finish_task_runs_it_again_and_steers_from_the_first_plan_on),
		T(a_promotion_ends_when_the_route_is_changed_and_never_comes_back),
		T(a_completed_experiment_stays_completed_after_a_restart),
		T(deleting_the_experiment_ends_its_promotion_and_its_status),
		T(deleting_a_running_experiment_kills_its_task),
		T(a_failing_finish_task_fails_the_experiment_but_the_winner_stays),
		T(steering_that_fails_is_tried_again_before_any_task),
		T(tables_that_cannot_be_read_put_the_promotion_off),
		T(what_collect_measures_is_read_as_iter8s_builtin_metrics),
		T(a_task_gives_every_version_a_variable),
		T(t1_a_stale_reading_is_missing_and_not_reused),
		T(t22_a_metric_that_changes_is_read_as_it_is_now),
		T(an_analytics_error_is_tried_again_and_the_status_says_what_is_missing_and_since_when),
		T(a_reading_that_fails_is_tried_again_within_its_iteration),
		T(a_progressive_experiment_moves_the_split_step_by_step),
		T(every_testing_pattern_runs_with_every_deployment_pattern),
		T(a_failed_experiment_gives_the_route_back),
		T(giving_the_route_back_is_tried_again),
		T(a_progressive_experiment_begins_with_the_weights_of_the_route),
		T(a_blue_green_experiment_gives_the_candidate_everything_from_its_first_iteration_on),
		T(a_restart_in_mid_experiment_goes_on_with_iteration_and_weights),
		T(t14_every_run_of_an_experiment_has_its_own_salt),
		T(a_route_that_another_experiment_divides_is_not_taken_from_it),
		T(a_second_experiment_on_the_target_waits_for_the_first),
		T(a_status_file_that_cannot_be_read_stops_the_experiment_and_stays),
		T(users_are_told_apart_by_the_experiments_own_number),
		T(an_unknown_metric_is_named_in_the_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
