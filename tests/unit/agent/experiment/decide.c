/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The stage machine with a clock of its own: every time is a number of the test's. */
#include "experiment/decide.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "experiment/split.h"
#include "util/cleanup.h"

#define T0 1623255870000ll /* 2021-06-09T16:24:30Z */
#define S 1000ll

static struct version_detail versions[] = { { .name = (char *)"flowers-v1" }, { .name = (char *)"flowers-v2" }, { .name = (char *)"flowers-v3" } };
static struct reward rewards[] = { { (char *)"shunt/request-count", true }, { (char *)"shunt/error-count", true } };

struct scene {
	json_t *with;
	struct task tasks[2];
	struct action actions[3];
	struct experiment experiment;
	struct world world;
	struct state *state;
	struct decide_input in;
};

/* The tutorial's experiment, 10 s * 10, with a finish task. */
static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->with = json_pack("{s:s}", "cmd", "true");
	for (size_t i = 0; i < 2; i++)
		s->tasks[i] = (struct task){ .name = (char *)"common/exec", .with = s->with, .path = (char *)"spec.strategy.actions.finish[0]" };
	s->actions[0] = (struct action){ (char *)"finish", s->tasks, 1 };
	s->experiment = (struct experiment){
		.meta = { .ns = (char *)"default", .name = (char *)"exp", .created = 100 },
		.target = (char *)"flowers",
		.testing = TESTING_AB,
		.deployment = DEPLOYMENT_FIXED_SPLIT,
		.actions = s->actions,
		.action_count = 1,
		.rewards = rewards,
		.reward_count = 1,
		.versions = versions,
		.version_count = 2,
		.interval_seconds = 10,
		.iterations_per_loop = 10,
		.max_loops = 1,
	};
	state_new(&s->state);
	s->in = (struct decide_input){ .world = &s->world, .experiment = &s->experiment, .now = T0, .interval_ms = 10 * S };
	decide_init(s->state, T0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	state_free(&s->state);
	json_decref(s->with);
	free(s);
	return 0;
}

/* The split is taken and followed whenever the experiment wants that; tests of split.c look at it more closely. */
static struct decision next(struct scene *s)
{
	static char *const names[] = { (char *)"v1", (char *)"v2", (char *)"v3" };
	struct decision decision = decide_next(&s->in, s->state);

	while (decision.kind == DECIDE_STEER) {
		if (!s->state->split.held)
			assert_int_equal(split_hold(&s->experiment, s->state, &(struct split_origin){ .route = "default/route", .names = names }), 0);
		split_steered(s->state, 0, NULL, 0);
		decision = decide_next(&s->in, s->state);
	}
	return decision;
}

/* An iteration whose verdict is given. */
static void assessed(struct scene *s, bool winner_found, size_t recommended, bool rollback)
{
	bool feasible[3] = { true, true, true };
	struct assessment a = {
		.version_count = s->experiment.version_count, .feasible = feasible, .winner_found = winner_found, .recommended = recommended,
		.rollback = rollback, .rollback_reason = rollback ? (char *)"it is slow" : NULL,
	};

	decide_assessed(&s->in, s->state, &a);
}

static bool has_event(const struct state *state, const char *text)
{
	const json_t *event;
	size_t i;

	json_array_foreach(state->events, i, event) {
		if (strcmp(json_string_value(event), text) == 0)
			return true;
	}
	return false;
}

/* reference/iter8.md section 7.1 */
static void the_timeline_of_reference_7_1_ten_iterations_from_0_to_90_s_and_the_finish_at_100_s(void **state)
{
	struct scene *s = *state;
	struct decision decision;

	for (int i = 0; i < 10; i++) {
		s->in.now = T0 + i * 10 * S;
		decision = next(s);
		assert_int_equal(decision.kind, DECIDE_READ);
		assert_int_equal(s->state->stage, STAGE_RUNNING);
		assert_int_equal(s->state->start_time, T0);
		if (i == 0)
			assert_string_equal(s->state->recommended, "flowers-v1");
		assessed(s, i > 0, i > 0, false);
		assert_int_equal(s->state->completed_iterations, i + 1);
		assert_int_equal(s->state->last_update, s->in.now);
		decision = next(s);
		assert_int_equal(decision.kind, DECIDE_WAIT);
		assert_true(decision.until == s->in.now + 10 * S);
		s->in.now += 10 * S - 1;
		assert_int_equal(next(s).kind, DECIDE_WAIT); /* not a millisecond too early */
	}
	assert_true(has_event(s->state, "IterationUpdate: Completed Iteration 3"));
	assert_string_equal(s->state->message, "IterationUpdate: Completed Loop 1");

	s->in.now = T0 + 100 * S;
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
	decide_promoted(&s->in, s->state, 0);
	decision = next(s);
	assert_int_equal(decision.kind, DECIDE_TASK);
	assert_ptr_equal(decision.task, &s->tasks[0]);
	assert_int_equal(s->state->stage, STAGE_FINISHING);
	decide_task_done(&s->in, s->state, true, "ended");
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_int_equal(s->state->stage, STAGE_COMPLETED);
	assert_string_equal(s->state->recommended, "flowers-v2");
	assert_string_equal(s->state->message, "ExperimentCompleted: Experiment Completed");
	assert_true(s->state->conditions[CONDITION_COMPLETED].status);
	assert_int_equal(s->state->conditions[CONDITION_COMPLETED].since, T0 + 100 * S);
	assert_false(s->state->conditions[CONDITION_FAILED].status);
	assert_true(s->state->conditions[CONDITION_TARGET_ACQUIRED].status);
	assert_false(s->state->conditions[CONDITION_INCONCLUSIVE].status);
}

static void the_events_are_those_of_iter8_in_their_order(void **state)
{
	struct scene *s = *state;
	static const char *const want[] = {
		"ExperimentInitialized: Experiment status initialized",
		"TargetAcquired: Target flowers acquired",
		"StageAdvanced: Advanced to Running",
		"IterationUpdate: Completed Iteration 1",
		"IterationUpdate: Completed Loop 1",
		"HandlerLaunched: Finish handler 'finish' launched",
		"HandlerCompleted: Finish handler 'finish' completed",
		"ExperimentCompleted: Experiment Completed",
	};

	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 1, false);
	s->in.now += 10 * S;
	next(s);
	decide_promoted(&s->in, s->state, 0);
	next(s);
	decide_task_done(&s->in, s->state, true, "");
	next(s);
	assert_int_equal(json_array_size(s->state->events), ARRAY_SIZE(want));
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_string_equal(json_string_value(json_array_get(s->state->events, i)), want[i]);
}

static void loop_tasks_run_after_every_loop_and_the_start_task_once(void **state)
{
	struct scene *s = *state;
	int loops = 0, starts = 0, reads = 0;
	bool over = false;

	s->actions[1] = (struct action){ (char *)"loop", &s->tasks[1], 1 };
	s->actions[2] = (struct action){ (char *)"start", &s->tasks[1], 1 };
	s->experiment.action_count = 3;
	s->experiment.iterations_per_loop = 2;
	s->experiment.max_loops = 3;
	while (!over) {
		struct decision decision = next(s);

		switch (decision.kind) {
		case DECIDE_READ:
			reads++;
			assessed(s, true, 1, false);
			break;
		case DECIDE_TASK:
			loops += strcmp(s->state->task_action, "loop") == 0;
			starts += strcmp(s->state->task_action, "start") == 0;
			decide_task_done(&s->in, s->state, true, "");
			break;
		case DECIDE_PROMOTE:
			decide_promoted(&s->in, s->state, 0);
			break;
		case DECIDE_WAIT:
			s->in.now = decision.until;
			break;
		case DECIDE_STEER: /* next() has seen to it */
		case DECIDE_OVER:
			over = true;
			break;
		}
	}
	assert_int_equal(reads, 6);
	assert_int_equal(loops, 3);
	assert_int_equal(starts, 1);
	assert_true(has_event(s->state, "IterationUpdate: Completed Loop 3"));
	assert_true(has_event(s->state, "HandlerLaunched: Start handler 'start' launched"));
}

static void a_restart_goes_on_from_the_first_task_that_was_not_done(void **state)
{
	struct scene *s = *state;

	s->actions[0].task_count = 2;
	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 1, false);
	s->in.now += 10 * S;
	next(s);
	decide_promoted(&s->in, s->state, 0);
	assert_ptr_equal(next(s).task, &s->tasks[0]);
	assert_ptr_equal(next(s).task, &s->tasks[0]); /* asked again: still that one */
	decide_task_done(&s->in, s->state, true, "");
	assert_ptr_equal(next(s).task, &s->tasks[1]);
	assert_int_equal(s->state->task_next, 1); /* what the status file keeps */
}

static void without_a_finish_action_there_is_no_finishing_stage(void **state)
{
	struct scene *s = *state;

	s->experiment.action_count = 0;
	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 1, false);
	s->in.now += 10 * S;
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
	decide_promoted(&s->in, s->state, 0);
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_string_equal(s->state->message, "ExperimentCompleted: Experiment completed successfully");
}

static void a_conformance_experiment_promotes_nothing(void **state)
{
	struct scene *s = *state;

	s->experiment.testing = TESTING_CONFORMANCE;
	s->experiment.version_count = 1;
	s->experiment.reward_count = 0;
	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 0, false);
	s->in.now += 10 * S;
	assert_int_equal(next(s).kind, DECIDE_TASK);
}

/* An iteration under criteria.strength. */
static void ruled(struct scene *s, enum verdict_kind kind, bool final)
{
	bool feasible[2] = { true, true };
	struct verdict verdict = { .kind = kind, .why = (char *)"so it is" };
	struct assessment a = {
		.version_count = 2, .feasible = feasible, .winner_found = kind == VERDICT_WINNER, .recommended = kind == VERDICT_WINNER,
		.verdict = &verdict, .final = final,
	};

	s->experiment.strength.given = true;
	json_decref(s->state->evidence);
	s->state->evidence = json_pack("{s:s, s:s}", "verdict", verdict_name(kind), "why", verdict.why);
	decide_assessed(&s->in, s->state, &a);
}

static void a_final_verdict_ends_the_experiment_at_once(void **state)
{
	struct scene *s = *state;

	assert_int_equal(next(s).kind, DECIDE_READ);
	ruled(s, VERDICT_INCONCLUSIVE, false);
	assert_int_equal(next(s).kind, DECIDE_WAIT);
	s->in.now += 10 * S;
	assert_int_equal(next(s).kind, DECIDE_READ);
	ruled(s, VERDICT_WINNER, true);
	assert_true(has_event(s->state, "Verdict: Winner: so it is"));
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
	assert_int_equal(s->state->completed_iterations, 2);
	assert_string_equal(s->state->recommended, "flowers-v2");
}

static void without_a_winner_the_verdict_is_in_the_condition(void **state)
{
	struct scene *s = *state;

	assert_int_equal(next(s).kind, DECIDE_READ);
	ruled(s, VERDICT_NO_DIFFERENCE, true);
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
	decide_promoted(&s->in, s->state, 0);
	assert_int_equal(next(s).kind, DECIDE_TASK);
	decide_task_done(&s->in, s->state, true, "ended");
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_true(s->state->conditions[CONDITION_INCONCLUSIVE].status);
	assert_string_equal(s->state->conditions[CONDITION_INCONCLUSIVE].reason, "NoDifference");
	assert_string_equal(s->state->conditions[CONDITION_INCONCLUSIVE].message,
			    "so it is; the baseline flowers-v1 is recommended because there is no winner");
}

/* T3: Iter8 keeps the recommendation of the iteration before. */
static void t3_a_rollback_recommends_the_baseline_and_finishes_at_once(void **state)
{
	struct scene *s = *state;

	next(s);
	assessed(s, true, 1, false);
	assert_string_equal(s->state->recommended, "flowers-v2");
	s->in.now += 10 * S;
	next(s);
	assessed(s, false, 0, true);
	assert_string_equal(s->state->recommended, "flowers-v1");
	assert_string_equal(s->state->message, "Rollback: Experiment rolled back: it is slow");
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
	decide_promoted(&s->in, s->state, 0);
	assert_int_equal(next(s).kind, DECIDE_TASK);
	decide_task_done(&s->in, s->state, true, "");
	next(s);
	assert_string_equal(s->state->conditions[CONDITION_COMPLETED].message, "Experiment rolled back");
	assert_int_equal(s->state->completed_iterations, 1);
	assert_false(s->state->conditions[CONDITION_FAILED].status);
}

static void both_infeasible_says_so_as_does_no_winner(void **state)
{
	struct scene *s = *state;

	s->experiment.iterations_per_loop = 1;
	s->experiment.action_count = 0;
	next(s);
	assessed(s, false, 0, false);
	s->in.now += 10 * S;
	next(s);
	decide_promoted(&s->in, s->state, 0);
	next(s);
	assert_true(s->state->conditions[CONDITION_INCONCLUSIVE].status);
	assert_string_equal(s->state->conditions[CONDITION_INCONCLUSIVE].message,
			    "no version has won; the baseline flowers-v1 is recommended because there is no winner");
	assert_false(s->state->conditions[CONDITION_NO_FEASIBLE_VERSION].status);
}

static void a_failed_task_fails_the_experiment_and_says_why(void **state)
{
	struct scene *s = *state;

	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 1, false);
	s->in.now += 10 * S;
	next(s);
	s->state->promotion.made = true;
	decide_promoted(&s->in, s->state, 0);
	next(s);
	decide_task_done(&s->in, s->state, false, "ended with status 3");
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_false(s->state->split.released); /* the promotion stands */
	assert_true(s->state->conditions[CONDITION_FAILED].status);
	assert_string_equal(s->state->conditions[CONDITION_FAILED].reason, "HandlerFailed");
	assert_string_equal(s->state->message, "HandlerFailed: Finish handler 'finish' failed: ended with status 3");
	assert_string_equal(s->state->conditions[CONDITION_COMPLETED].message, "Finish actions failed");
	assert_string_equal(s->state->recommended, "flowers-v2");
}

static void a_failure_before_the_promotion_gives_the_split_back(void **state)
{
	struct scene *s = *state;
	struct decision decision;

	next(s);
	assert_true(s->state->split.held && s->state->split.steered);
	decide_fail(s->state, s->in.now, "HandlerFailed", "it broke");
	assert_true(s->state->split.released);
	assert_string_equal(s->state->message, "HandlerFailed: it broke"); /* the last word is why */
	decision = decide_next(&s->in, s->state);
	assert_int_equal(decision.kind, DECIDE_STEER);
	split_steered(s->state, -EBUSY, NULL, s->in.now + 10 * S);
	decision = decide_next(&s->in, s->state);
	assert_int_equal(decision.kind, DECIDE_WAIT);
	assert_true(decision.until == s->in.now + 10 * S);
	s->in.now += 10 * S;
	assert_int_equal(decide_next(&s->in, s->state).kind, DECIDE_STEER);
	split_steered(s->state, 0, NULL, 0);
	assert_int_equal(decide_next(&s->in, s->state).kind, DECIDE_OVER);
}

static void steering_is_tried_again_after_an_interval(void **state)
{
	struct scene *s = *state;
	struct decision decision;

	s->experiment.iterations_per_loop = 1;
	next(s);
	assessed(s, true, 1, false);
	s->in.now += 10 * S;
	next(s);
	decide_promoted(&s->in, s->state, -EBUSY);
	decision = next(s);
	assert_int_equal(decision.kind, DECIDE_WAIT);
	assert_true(decision.until == s->in.now + 10 * S);
	s->in.now = decision.until;
	assert_int_equal(next(s).kind, DECIDE_PROMOTE);
}

/* ---- what cannot run ---- */

static void assert_begins(const char *text, const char *beginning)
{
	assert_true(strlen(text) >= strlen(beginning));
	assert_memory_equal(text, beginning, strlen(beginning));
}

struct invalid {
	enum testing_pattern testing;
	size_t versions, rewards;
	const char *message;
};

static const struct invalid invalid_rows[] = {
	{ TESTING_AB, 0, 1, "InvalidExperiment: No versionInfo in experiment: spec.versionInfo.baseline is needed by the end of the start tasks" },
	{ TESTING_AB, 1, 1, "InvalidExperiment: Invalid number of candidates for A/B experiment: found 0, allowed exactly 1" },
	{ TESTING_AB, 3, 1, "InvalidExperiment: Invalid number of candidates for A/B experiment: found 2, allowed exactly 1" },
	{ TESTING_AB, 2, 0, "InvalidExperiment: Invalid number of rewards for A/B experiment: found 0, allowed 1" },
	{ TESTING_AB, 2, 2, "InvalidExperiment: Invalid number of rewards for A/B experiment: found 2, allowed 1" },
	{ TESTING_ABN, 1, 1, "InvalidExperiment: Invalid number of candidates for A/B/N experiment: found 0, allowed at least 1" },
	{ TESTING_CANARY, 3, 0, "InvalidExperiment: Invalid number of candidates for Canary experiment: found 2, allowed exactly 1" },
	{ TESTING_CANARY, 2, 1, "InvalidExperiment: Invalid number of rewards for Canary experiment: found 1, allowed 0" },
	{ TESTING_CONFORMANCE, 2, 0, "InvalidExperiment: Invalid number of candidates for Conformance experiment: found 1, allowed none" },
};

static void an_invalid_experiment_fails_with_what_was_found_and_allowed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(invalid_rows); i++) {
		struct scene *s;

		setup((void **)&s);
		s->experiment.testing = invalid_rows[i].testing;
		s->experiment.version_count = invalid_rows[i].versions;
		s->experiment.reward_count = invalid_rows[i].rewards;
		assert_int_equal(next(s).kind, DECIDE_OVER);
		assert_string_equal(s->state->message, invalid_rows[i].message);
		assert_true(s->state->conditions[CONDITION_FAILED].status);
		assert_true(s->state->conditions[CONDITION_COMPLETED].status);
		teardown((void **)&s);
	}
}

static void two_versions_of_one_name_are_refused(void **state)
{
	struct scene *s = *state;
	struct version_detail same[] = { versions[0], versions[0] };

	s->experiment.versions = same;
	next(s);
	assert_string_equal(s->state->message, "InvalidExperiment: Version names are not unique: found flowers-v1 twice in spec.versionInfo");
}

static void a_field_path_begins_with_a_dot(void **state)
{
	struct scene *s = *state;
	_cleanup_json_ json_t *ref = json_pack("{s:s}", "fieldPath", "spec.http[0]");
	struct version_detail two[] = { versions[0], versions[1] };

	two[1].weight_obj_ref = ref;
	s->experiment.versions = two;
	next(s);
	assert_string_equal(s->state->message, "InvalidExperiment: Fieldpaths must start with '.': found \"spec.http[0]\" in weightObjRef of version flowers-v2");
}

static void an_unknown_metric_fails_before_the_first_iteration(void **state)
{
	struct scene *s = *state;
	struct objective objective = { .metric = (char *)"shunt/mean-latencyy" };

	s->experiment.objectives = &objective;
	s->experiment.objective_count = 1;
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_begins(s->state->message, "MetricUnavailable: Unable to find metric shunt/mean-latencyy: there is no Metric object of that name, and the built-in ones are request-count, ");
}

/* Iter8 completes without Failed. */
static void t8_invalid_tasks_fail_the_experiment_with_the_reason_before_anything_runs(void **state)
{
	struct scene *s = *state;

	s->tasks[0].name = (char *)"common/bash";
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_string_equal(s->state->message,
			    "InvalidExperiment: spec.strategy.actions.finish[0].with.cmd: common/bash has no such input; it has script");
	assert_true(s->state->conditions[CONDITION_FAILED].status);
	assert_string_equal(s->state->conditions[CONDITION_FAILED].message, s->state->message + strlen("InvalidExperiment: "));
	assert_true(s->state->conditions[CONDITION_COMPLETED].status);
	assert_false(s->state->conditions[CONDITION_TARGET_ACQUIRED].status);
}

/* Where, what, allowed; and before a start task runs. */
static void a_broken_finish_template_is_found_before_the_start_task_runs(void **state)
{
	struct scene *s = *state;
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s]}", "cmd", "true", "args", "{{ if .x }}");

	s->actions[1] = (struct action){ (char *)"start", &s->tasks[1], 1 };
	s->experiment.action_count = 2;
	s->tasks[0].with = with;
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_begins(s->state->message, "InvalidExperiment: spec.strategy.actions.finish[0].with.args[0]: template \"{{ if .x }}\" is not understood: only a field");
	assert_false(s->state->start_done);
}

static void bad_versions_are_found_before_the_start_task_runs(void **state)
{
	struct scene *s = *state;

	s->actions[1] = (struct action){ (char *)"start", &s->tasks[1], 1 };
	s->experiment.action_count = 2;
	s->experiment.version_count = 1;
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_begins(s->state->message, "InvalidExperiment: Invalid number of candidates");
	assert_false(s->state->start_done);
}

static void metrics_are_compiled_before_the_first_iteration(void **state)
{
	struct scene *s = *state;
	struct metric metrics[] = {
		{ .meta = { .ns = (char *)"n", .name = (char *)"m" }, .provider = (char *)"x", .url = (char *)"http://h/", .jq = (char *)". |" },
		{ .meta = { .ns = (char *)"n", .name = (char *)"sized" }, .provider = (char *)"x", .url = (char *)"http://h/", .jq = (char *)".",
		  .sample_size = (char *)"nowhere" },
	};
	struct objective objective = { .metric = (char *)"n/m" };

	s->world = (struct world){ .metrics = metrics, .metric_count = 2 };
	s->experiment.objectives = &objective;
	s->experiment.objective_count = 1;
	assert_int_equal(next(s).kind, DECIDE_OVER);
	assert_begins(s->state->message, "MetricsUnreadable: Metric n/m: spec.jqExpression \". |\" does not compile");
	teardown(state);
	setup(state);
	s = *state;
	objective.metric = (char *)"n/sized";
	s->world = (struct world){ .metrics = metrics, .metric_count = 2 };
	s->experiment.objectives = &objective;
	s->experiment.objective_count = 1;
	next(s);
	assert_begins(s->state->message, "MetricUnavailable: Unable to find metric nowhere");
}

static void what_is_likely_a_mistake_is_noted(void **state)
{
	struct scene *s = *state;
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s]}", "cmd", "true", "args", "{{ .promte }}");

	s->tasks[0].with = with;
	assert_int_equal(next(s).kind, DECIDE_READ);
	assert_int_equal(json_array_size(s->state->notes), 2);
	assert_true(has_event(s->state, "Note: spec.strategy.actions.finish[0].with.args[0]: .promte will be empty when flowers-v2 is recommended: it has no such variable"));
}

/* ---- the target lock ---- */

static const struct {
	const char *what, *target, *ns, *name;
	int64_t init, created;
	bool holds, completed;
	bool goes_first;
} rivals[] = {
	{ "it has the target", "flowers", "default", "zzz", T0 + 5 * S, 900, true, false, true },
	{ "it is completed", "flowers", "default", "aaa", T0 - 5 * S, 1, true, true, false },
	{ "it wants something else", "trees", "default", "aaa", T0 - 5 * S, 1, true, false, false },
	{ "it came earlier", "flowers", "default", "zzz", T0 - 1 * S, 900, false, false, true },
	{ "it came later", "flowers", "default", "aaa", T0 + 1 * S, 1, false, false, false },
	{ "same second, older object", "flowers", "default", "zzz", T0 + 999, 99, false, false, true },
	{ "same second, younger object", "flowers", "default", "aaa", T0 - 0, 101, false, false, false },
	{ "same second, same age, namespace before", "flowers", "a", "zzz", T0, 100, false, false, true },
	{ "same second, same age, name before", "flowers", "default", "aaa", T0, 100, false, false, true },
	{ "same second, same age, name after", "flowers", "default", "zzz", T0, 100, false, false, false },
};

static void same_second_contenders_have_an_order_and_one_target_one_experiment(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rivals); i++) {
		struct experiment other = { .meta = { .ns = (char *)rivals[i].ns, .name = (char *)rivals[i].name, .created = rivals[i].created }, .target = (char *)rivals[i].target };
		struct state other_state = { .init_time = rivals[i].init, .stage = rivals[i].completed ? STAGE_COMPLETED : STAGE_WAITING };
		struct contender contenders[2] = { { &other, &other_state } };
		struct decision decision;
		struct scene *s;

		setup((void **)&s);
		other_state.conditions[CONDITION_TARGET_ACQUIRED].status = rivals[i].holds;
		contenders[1] = (struct contender){ &s->experiment, s->state };
		s->in.contenders = contenders;
		s->in.contender_count = 2;
		decision = next(s);
		assert_int_equal(decision.kind, rivals[i].goes_first ? DECIDE_WAIT : DECIDE_READ);
		if (rivals[i].goes_first) {
			assert_true(decision.until == 0);
			assert_int_equal(s->state->stage, STAGE_WAITING);
			other_state.stage = STAGE_COMPLETED; /* freed */
			assert_int_equal(next(s).kind, DECIDE_READ);
		}
		teardown((void **)&s);
	}
}

static void waiting_is_said_once(void **state)
{
	struct scene *s = *state;
	struct experiment other = { .meta = { .ns = (char *)"ns", .name = (char *)"first" }, .target = (char *)"flowers" };
	struct state other_state = { .init_time = T0 - S };
	struct contender contender = { &other, &other_state };

	s->in.contenders = &contender;
	s->in.contender_count = 1;
	next(s);
	next(s);
	assert_int_equal(json_array_size(s->state->events), 2);
	assert_string_equal(s->state->message, "Target: Target flowers is taken by experiment ns/first");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(the_timeline_of_reference_7_1_ten_iterations_from_0_to_90_s_and_the_finish_at_100_s),
		T(the_events_are_those_of_iter8_in_their_order),
		T(loop_tasks_run_after_every_loop_and_the_start_task_once),
		T(a_restart_goes_on_from_the_first_task_that_was_not_done),
		T(without_a_finish_action_there_is_no_finishing_stage),
		T(a_conformance_experiment_promotes_nothing),
		T(a_final_verdict_ends_the_experiment_at_once),
		T(without_a_winner_the_verdict_is_in_the_condition),
		T(t3_a_rollback_recommends_the_baseline_and_finishes_at_once),
		T(both_infeasible_says_so_as_does_no_winner),
		T(a_failed_task_fails_the_experiment_and_says_why),
		T(a_failure_before_the_promotion_gives_the_split_back),
		T(steering_is_tried_again_after_an_interval),
		cmocka_unit_test(an_invalid_experiment_fails_with_what_was_found_and_allowed),
		T(two_versions_of_one_name_are_refused),
		T(a_field_path_begins_with_a_dot),
		T(an_unknown_metric_fails_before_the_first_iteration),
		T(t8_invalid_tasks_fail_the_experiment_with_the_reason_before_anything_runs),
		T(a_broken_finish_template_is_found_before_the_start_task_runs),
		T(bad_versions_are_found_before_the_start_task_runs),
		T(metrics_are_compiled_before_the_first_iteration),
		T(what_is_likely_a_mistake_is_noted),
		cmocka_unit_test(same_second_contenders_have_an_order_and_one_target_one_experiment),
		T(waiting_is_said_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
