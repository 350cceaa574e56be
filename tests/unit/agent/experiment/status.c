/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/status.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "experiment/decide.h"
#include "reading/builtin.h"
#include "util/cleanup.h"
#include "util/text.h"

#define T0 1623255896000ll /* 2021-06-09T16:24:56Z */

static struct version_detail versions[] = { { .name = (char *)"flowers-v1" }, { .name = (char *)"flowers-v2" } };
static struct reward reward = { (char *)"iter8-kfserving/user-engagement", true };
static struct objective objective = { .metric = (char *)"iter8-kfserving/mean-latency", .has_upper = true, .upper = 2000 };
static const struct experiment experiment = {
	.meta = { .ns = (char *)"default", .name = (char *)"session-affinity-exp" },
	.target = (char *)"flowers",
	.testing = TESTING_AB,
	.deployment = DEPLOYMENT_FIXED_SPLIT,
	.max_candidate_weight = 100,
	.max_candidate_weight_increment = 10,
	.iterations_per_loop = 10,
	.max_loops = 1,
	.request_count = (char *)"iter8-kfserving/request-count",
	.rewards = &reward,
	.reward_count = 1,
	.objectives = &objective,
	.objective_count = 1,
	.versions = versions,
	.version_count = 2,
};

/* A status after the first iteration, with everything that a status can hold. */
static struct state *full_state(void)
{
	_cleanup_(assessment_free) struct assessment *assessment = NULL;
	_cleanup_(readings_free) struct readings *readings = NULL;
	struct world world = {};
	struct decide_input in = { .world = &world, .experiment = &experiment, .now = T0, .interval_ms = 10000 };
	struct series_numbers base = { .count = { .requests = 17, .latency_sum_ns = 1ull << 40 } };
	struct state *state;

	assert_int_equal(state_new(&state), 0);
	assert_int_equal(readings_new(&world, &experiment, &readings), 0);
	reading_set(readings_at(readings, "iter8-kfserving/request-count", 0), 315.18);
	reading_set(readings_at(readings, "iter8-kfserving/request-count", 1), 45.021);
	reading_set(readings_at(readings, "iter8-kfserving/user-engagement", 0), 10.023);
	reading_set(readings_at(readings, "iter8-kfserving/user-engagement", 1), 14.737);
	reading_set(readings_at(readings, "iter8-kfserving/mean-latency", 0), 1.133);
	reading_fail(readings_at(readings, "iter8-kfserving/mean-latency", 1), "HTTP 500: \"no\": such\naccount");
	readings_at(readings, "iter8-kfserving/mean-latency", 0)->has_sample = true;
	readings_at(readings, "iter8-kfserving/mean-latency", 0)->sample = 315;
	assert_int_equal(assess(&experiment, readings, NULL, &assessment), 0);

	decide_init(state, T0);
	state->stage = STAGE_RUNNING;
	state->start_time = T0;
	state->start_done = true;
	state_set_condition(state, CONDITION_TARGET_ACQUIRED, true, "TargetAcquired", "", T0);
	state->analysis = status_analysis(&experiment, readings, assessment, T0);
	state->metrics = status_metrics(&world, &experiment, readings);
	status_note_readings(state, readings, T0);
	decide_assessed(&in, state, assessment);
	json_object_set_new(state->base, "flowers-v1", builtin_base_to_json(&base));
	state->task_action = strdup("finish");
	state->task_next = 1;
	state->promotion = (struct state_promotion){ .made = true, .steered = true, .route = strdup("default/routing-rule"), .version = strdup("flowers-v2"),
						     .route_hash = 0xfedcba9876543210ull };
	return state;
}

/* Shape and spelling of reference/iter8.md section 7.2. */
static const char golden_status[] =
	"status:\n"
	"  analysis:\n"
	"    aggregatedMetrics:\n"
	"      data:\n"
	"        iter8-kfserving/mean-latency:\n"
	"          data:\n"
	"            flowers-v1:\n"
	"              sampleSize: 315\n"
	"              value: 1133m\n"
	"            flowers-v2: {}\n"
	"        iter8-kfserving/request-count:\n"
	"          data:\n"
	"            flowers-v1:\n"
	"              value: 315180m\n"
	"            flowers-v2:\n"
	"              value: 45021m\n"
	"        iter8-kfserving/user-engagement:\n"
	"          data:\n"
	"            flowers-v1:\n"
	"              value: 10023m\n"
	"            flowers-v2:\n"
	"              value: 14737m\n";

static const char *const golden_parts[] = {
	"    versionAssessments:\n      data:\n        flowers-v1:\n        - true\n        flowers-v2:\n        - false\n",
	"    weights:\n      data:\n      - name: flowers-v1\n        value: 95\n      - name: flowers-v2\n        value: 5\n"
	"      message: 'Error: ; Warning: ; Info: all ok'\n",
	"    winnerAssessment:\n      data:\n        winner: flowers-v1\n        winnerFound: true\n"
	"      message: 'Error: ; Warning: ; Info: found unique winner'\n      provenance: shunt\n      timestamp: '2021-06-09T16:24:56Z'\n",
	"  completedIterations: 1\n  conditions:\n  - lastTransitionTime: '2021-06-09T16:24:56Z'\n    status: 'False'\n    type: Completed\n",
	"    reason: TargetAcquired\n    status: 'True'\n    type: TargetAcquired\n",
	"  initTime: '2021-06-09T16:24:56Z'\n  lastUpdateTime: '2021-06-09T16:24:56Z'\n  message: 'IterationUpdate: Completed Iteration 1'\n",
	"  stage: Running\n  startTime: '2021-06-09T16:24:56Z'\n  versionRecommendedForPromotion: flowers-v1\n",
};

static char *path_in(const char *folder)
{
	return status_path(folder, "default", "session-affinity-exp");
}

static void make_folder(char folder[64])
{
	strcpy(folder, "/tmp/shunt-status-XXXXXX");
	assert_non_null(mkdtemp(folder));
}

static char *read_whole(const char *path)
{
	_cleanup_file_ FILE *file = fopen(path, "re");
	char *text = calloc(1, 65536);

	assert_non_null(file);
	assert_true(fread(text, 1, 65535, file) > 0);
	return text;
}

static void the_file_reads_like_iter8s_status(void **cmocka_state)
{
	_cleanup_(state_free) struct state *state = full_state();
	_cleanup_json_ json_t *document = status_to_json(&experiment, state);
	_cleanup_free_ char *path = NULL, *text = NULL;
	char folder[64];

	(void)cmocka_state;
	make_folder(folder);
	path = path_in(folder);
	assert_int_equal(status_write(path, document), 0);
	text = read_whole(path);
	assert_non_null(strstr(path, "/default.session-affinity-exp.status.yaml"));
	assert_memory_equal(text, "apiVersion: iter8.tools/v2alpha2\nkind: Experiment\nmetadata:\n  name: session-affinity-exp\n  namespace: default\nstatus:\n", 117);
	assert_non_null(strstr(text, golden_status));
	for (size_t i = 0; i < ARRAY_SIZE(golden_parts); i++)
		assert_non_null(strstr(text, golden_parts[i]));
	unlink(path);
	assert_int_equal(rmdir(folder), 0); /* no other file is left */
}

static void what_was_written_is_what_is_read(void **cmocka_state)
{
	_cleanup_(state_free) struct state *state = full_state(), *back = NULL;
	_cleanup_json_ json_t *document = status_to_json(&experiment, state), *read = NULL, *again = NULL;
	_cleanup_free_ char *path = NULL, *problem = NULL;
	struct series_numbers base;
	char folder[64];

	(void)cmocka_state;
	make_folder(folder);
	path = path_in(folder);
	assert_int_equal(status_write(path, document), 0);
	assert_int_equal(status_read(path, &read, &problem), 0);
	assert_int_equal(status_from_json(read, &back, &problem), 0);
	again = status_to_json(&experiment, back);
	assert_true(json_equal(again, document));
	assert_int_equal(back->completed_iterations, 1);
	assert_true(back->start_time == T0);
	assert_int_equal(back->task_next, 1);
	assert_true(back->promotion.made && back->promotion.steered && !back->promotion.released);
	assert_true(back->promotion.route_hash == 0xfedcba9876543210ull);
	assert_int_equal(builtin_base_from_json(json_object_get(back->base, "flowers-v1"), &base), 0);
	assert_true(base.count.latency_sum_ns == 1ull << 40);
	unlink(path);
	rmdir(folder);
}

static void what_is_missing_keeps_the_time_since_when(void **cmocka_state)
{
	_cleanup_(state_free) struct state *state = full_state();
	_cleanup_(readings_free) struct readings *readings = NULL;
	struct world world = {};
	json_t *missing;

	(void)cmocka_state;
	assert_int_equal(readings_new(&world, &experiment, &readings), 0);
	reading_set(readings_at(readings, "iter8-kfserving/user-engagement", 0), 1);
	status_note_readings(state, readings, T0 + 10000);
	missing = json_object_get(state->missing, "iter8-kfserving/mean-latency flowers-v2");
	assert_string_equal(json_string_value(json_object_get(missing, "since")), "2021-06-09T16:24:56Z");
	missing = json_object_get(state->missing, "iter8-kfserving/mean-latency flowers-v1");
	assert_string_equal(json_string_value(json_object_get(missing, "since")), "2021-06-09T16:25:06Z");
	assert_null(json_object_get(state->missing, "iter8-kfserving/user-engagement flowers-v1"));
}

#define GOOD "conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Running, shunt: {base: {}}"

static const struct {
	const char *status, *field; /* field NULL: it can be read */
} rows[] = {
	{ "{" GOOD "}", NULL },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, shunt: {base: {}}}", "stage" },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Sleeping, shunt: {base: {}}}", "stage" },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: -1, stage: Running, shunt: {base: {}}}", "completedIterations" },
	{ "{conditions: [], completedIterations: 1, stage: Running, shunt: {base: {}}}", "initTime" },
	{ "{" GOOD ", startTime: yesterday}", "startTime" },
	{ "{" GOOD ", lastUpdateTime: '2021-06-09'}", "lastUpdateTime" },
	{ "{conditions: [{type: Sleeping}], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Running, shunt: {base: {}}}", "conditions" },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Running}", "shunt" },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Running, shunt: {base: {v: {schema: 1, x: 1}}}}", "shunt" },
	{ "{conditions: [], initTime: '2021-06-09T16:24:56Z', completedIterations: 1, stage: Running, shunt: {base: {}, promotion: {}}}", "shunt" },
};

static void a_status_that_cannot_be_read_names_its_field(void **cmocka_state)
{
	_cleanup_free_ char *path = NULL;
	char folder[64];

	(void)cmocka_state;
	make_folder(folder);
	path = path_in(folder);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(state_free) struct state *state = NULL;
		_cleanup_free_ char *problem = NULL, *want = NULL;
		_cleanup_json_ json_t *document = NULL;
		FILE *file = fopen(path, "we");
		int r;

		fprintf(file, "status: %s\n", rows[i].status);
		fclose(file);
		assert_int_equal(status_read(path, &document, &problem), 0);
		r = status_from_json(document, &state, &problem);
		assert_int_equal(r, rows[i].field ? -EINVAL : 0);
		want = text_printf("status.%s is missing or not as shunt writes it", rows[i].field ?: "");
		if (rows[i].field)
			assert_string_equal(problem, want);
	}
	unlink(path);
	rmdir(folder);
}

static void a_file_that_is_no_yaml_or_not_there_says_so(void **cmocka_state)
{
	_cleanup_free_ char *path = NULL, *problem = NULL, *none = NULL;
	json_t *document;
	char folder[64];
	FILE *file;

	(void)cmocka_state;
	make_folder(folder);
	path = path_in(folder);
	assert_int_equal(status_read(path, &document, &none), -ENOENT);
	file = fopen(path, "we");
	fputs("a: [\n", file);
	fclose(file);
	assert_int_equal(status_read(path, &document, &problem), -EINVAL);
	assert_memory_equal(problem, "line ", 5);
	unlink(path);
	rmdir(folder);
}

static void a_folder_that_cannot_be_written_is_an_error(void **cmocka_state)
{
	_cleanup_json_ json_t *document = json_object();

	(void)cmocka_state;
	assert_int_equal(status_write("/proc/no/such.status.yaml", document), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_file_reads_like_iter8s_status),
		cmocka_unit_test(what_was_written_is_what_is_read),
		cmocka_unit_test(what_is_missing_keeps_the_time_since_when),
		cmocka_unit_test(a_status_that_cannot_be_read_names_its_field),
		cmocka_unit_test(a_file_that_is_no_yaml_or_not_there_says_so),
		cmocka_unit_test(a_folder_that_cannot_be_written_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
