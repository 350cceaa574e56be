/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/split.h"
#include "experiment/task.h"
#include "reading/builtin.h"
#include "reading/query.h"
#include "util/cleanup.h"
#include "util/text.h"

#define MS_PER_S 1000

const char *testing_pattern_name(enum testing_pattern testing)
{
	static const char *const names[] = {
		[TESTING_CANARY] = "Canary",
		[TESTING_AB] = "A/B",
		[TESTING_ABN] = "A/B/N",
		[TESTING_CONFORMANCE] = "Conformance",
	};

	return names[testing];
}

const char *deployment_pattern_name(enum deployment_pattern deployment)
{
	static const char *const names[] = {
		[DEPLOYMENT_PROGRESSIVE] = "Progressive",
		[DEPLOYMENT_FIXED_SPLIT] = "FixedSplit",
		[DEPLOYMENT_BLUE_GREEN] = "BlueGreen",
	};

	return names[deployment];
}

size_t decide_version(const struct experiment *experiment, const char *name)
{
	for (size_t v = 0; name && v < experiment->version_count; v++) {
		if (strcmp(experiment->versions[v].name, name) == 0)
			return v;
	}
	return 0;
}

/* ---- ends ---- */

void decide_fail(struct state *state, int64_t now, const char *reason, const char *message)
{
	split_release(state);
	state_set_condition(state, CONDITION_FAILED, true, reason, message, now);
	state_set_condition(state, CONDITION_COMPLETED, true, "ExperimentCompleted", "Experiment failed", now);
	state_event(state, reason, "%s", message); /* the last word is why it failed, not that it is over */
	state->stage = STAGE_COMPLETED;
}

__attribute__((format(printf, 4, 5))) static void fail(const struct decide_input *in, struct state *state, const char *reason, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;

	va_start(args, format);
	message = text_vprintf(format, args);
	va_end(args);
	decide_fail(state, in->now, reason, message ?: "out of memory");
}

/* The verdict that was the rule, where it is no winner. */
static void note_verdict(const struct decide_input *in, struct state *state)
{
	const char *verdict = json_string_value(json_object_get(state->evidence, "verdict")), *why = json_string_value(json_object_get(state->evidence, "why"));
	enum condition_type type = verdict && strcmp(verdict, verdict_name(VERDICT_NO_FEASIBLE_VERSION)) == 0 ? CONDITION_NO_FEASIBLE_VERSION :
														CONDITION_INCONCLUSIVE;
	_cleanup_free_ char *message = text_printf("%s; the baseline %s is recommended because there is no winner", why ?: "", state->recommended);

	state_set_condition(state, type, true, verdict ?: condition_name(type), message ?: "", in->now);
}

/* The recommendation of an experiment without a winner is the baseline, as in Iter8; it should not pass for a result. */
static void note_no_winner(const struct decide_input *in, struct state *state)
{
	enum condition_type type = state->any_feasible ? CONDITION_INCONCLUSIVE : CONDITION_NO_FEASIBLE_VERSION;
	_cleanup_free_ char *message = NULL;

	if (state->winner_found || state->rolled_back)
		return;
	if (in->experiment->strength.given && state->evidence) {
		note_verdict(in, state);
		return;
	}
	message = text_printf("%s; the baseline %s is recommended because there is no winner",
			      state->any_feasible ? "no version has won" : "no version satisfies all objectives", state->recommended);
	state_set_condition(state, type, true, condition_name(type), message ?: "", in->now);
}

static void complete(const struct decide_input *in, struct state *state, const char *message)
{
	note_no_winner(in, state);
	state_set_condition(state, CONDITION_COMPLETED, true, "ExperimentCompleted", message, in->now);
	state_event(state, "ExperimentCompleted", "%s", message);
	state->stage = STAGE_COMPLETED;
}

/* ---- validation ---- */

static const struct action *find_action(const struct experiment *e, const char *name)
{
	for (size_t i = 0; i < e->action_count; i++) {
		if (strcmp(e->actions[i].name, name) == 0)
			return &e->actions[i];
	}
	return NULL;
}

/* All of them before any runs: an experiment should not find after an hour that its finish task does not exist. */
static bool check_tasks(const struct decide_input *in, struct state *state)
{
	const struct experiment *e = in->experiment;

	for (size_t a = 0; a < e->action_count; a++) {
		for (size_t t = 0; t < e->actions[a].task_count; t++) {
			_cleanup_free_ char *problem = NULL;

			if (task_check(&e->actions[a].tasks[t], &problem) == 0)
				continue;
			fail(in, state, "InvalidExperiment", "%s", problem ?: "out of memory");
			return false;
		}
	}
	return true;
}

/* Allowed, but most likely a mistake: it is said once in the log, and stays in the status. */
static void note_tasks(const struct decide_input *in, struct state *state)
{
	const struct experiment *e = in->experiment;
	const json_t *note;
	size_t i;

	json_decref(state->notes);
	state->notes = json_array();
	for (size_t a = 0; a < e->action_count; a++) {
		for (size_t t = 0; t < e->actions[a].task_count; t++)
			task_note(&e->actions[a].tasks[t], e, state->notes);
	}
	json_array_foreach(state->notes, i, note)
		state_event(state, "Note", "%s", json_string_value(note));
}

static bool find_metric(const struct decide_input *in, struct state *state, const char *ns, const char *reference, struct metric_origin *ret_origin)
{
	_cleanup_free_ char *names = NULL;

	*ret_origin = metric_resolve(in->world, ns, reference);
	if (ret_origin->source != METRIC_UNKNOWN)
		return true;
	names = builtin_names();
	fail(in, state, "MetricUnavailable", "Unable to find metric %s: there is no Metric object of that name, and the built-in ones are %s", reference,
	     names ?: "not known");
	return false;
}

/* That it is there, could be asked for, and that what counts its sample is there. */
static bool check_metric(const struct decide_input *in, struct state *state, const char *reference)
{
	_cleanup_free_ char *problem = NULL;
	struct metric_origin origin, sample;

	if (!reference)
		return true;
	if (!find_metric(in, state, in->experiment->meta.ns, reference, &origin))
		return false;
	if (origin.source == METRIC_HTTP && query_check(origin.object, &problem) < 0) {
		fail(in, state, "MetricsUnreadable", "%s", problem ?: "out of memory");
		return false;
	}
	return !origin.object || !origin.object->sample_size || find_metric(in, state, origin.object->meta.ns, origin.object->sample_size, &sample);
}

static bool check_metrics(const struct decide_input *in, struct state *state)
{
	const struct experiment *e = in->experiment;

	if (!check_metric(in, state, e->request_count))
		return false;
	for (size_t i = 0; i < e->reward_count; i++) {
		if (!check_metric(in, state, e->rewards[i].metric))
			return false;
	}
	for (size_t i = 0; i < e->indicator_count; i++) {
		if (!check_metric(in, state, e->indicators[i]))
			return false;
	}
	for (size_t i = 0; i < e->objective_count; i++) {
		if (!check_metric(in, state, e->objectives[i].metric))
			return false;
	}
	return true;
}

/* How many candidates and rewards a testing pattern takes. */
static const struct {
	size_t candidates_min, candidates_max, rewards;
	const char *candidates;
} pattern_rules[] = {
	[TESTING_CANARY] = { 1, 1, 0, "exactly 1" },
	[TESTING_AB] = { 1, 1, 1, "exactly 1" },
	[TESTING_ABN] = { 1, SIZE_MAX, 1, "at least 1" },
	[TESTING_CONFORMANCE] = { 0, 0, 0, "none" },
};

/* NULL: none. */
static const char *name_twice(const struct experiment *e)
{
	for (size_t i = 0; i < e->version_count; i++) {
		for (size_t j = i + 1; j < e->version_count; j++) {
			if (strcmp(e->versions[i].name, e->versions[j].name) == 0)
				return e->versions[i].name;
		}
	}
	return NULL;
}

static const char *field_path_of(const struct version_detail *version)
{
	return json_string_value(json_object_get(version->weight_obj_ref, "fieldPath"));
}

/* NULL: none. */
static const struct version_detail *bad_field_path(const struct experiment *e)
{
	for (size_t v = 0; v < e->version_count; v++) {
		const char *path = field_path_of(&e->versions[v]);

		if (path && path[0] != '.')
			return &e->versions[v];
	}
	return NULL;
}

/* At run time and not when the manifest is read: a start task may fill versionInfo in. */
static bool check_versions(const struct decide_input *in, struct state *state)
{
	const struct experiment *e = in->experiment;
	const char *pattern = testing_pattern_name(e->testing);
	size_t candidates = e->version_count ? e->version_count - 1 : 0;

	if (e->version_count == 0)
		fail(in, state, "InvalidExperiment", "No versionInfo in experiment: spec.versionInfo.baseline is needed by the end of the start tasks");
	else if (candidates < pattern_rules[e->testing].candidates_min || candidates > pattern_rules[e->testing].candidates_max)
		fail(in, state, "InvalidExperiment", "Invalid number of candidates for %s experiment: found %zu, allowed %s", pattern, candidates,
		     pattern_rules[e->testing].candidates);
	else if (name_twice(e))
		fail(in, state, "InvalidExperiment", "Version names are not unique: found %s twice in spec.versionInfo", name_twice(e));
	else if (e->reward_count != pattern_rules[e->testing].rewards)
		fail(in, state, "InvalidExperiment", "Invalid number of rewards for %s experiment: found %zu, allowed %zu", pattern, e->reward_count,
		     pattern_rules[e->testing].rewards);
	else if (bad_field_path(e))
		fail(in, state, "InvalidExperiment", "Fieldpaths must start with '.': found \"%s\" in weightObjRef of version %s", field_path_of(bad_field_path(e)),
		     bad_field_path(e)->name);
	else
		return true;
	return false;
}

/* ---- the target lock ---- */

/* initTime in whole seconds, as the status file keeps it, so that a restart does not change the order; then the object's age, then its name. */
static int compare_contenders(const struct contender *a, const struct contender *b)
{
	int64_t a_init = a->state->init_time / MS_PER_S, b_init = b->state->init_time / MS_PER_S;
	const struct object_meta *am = &a->experiment->meta, *bm = &b->experiment->meta;
	int by_ns;

	if (a_init != b_init)
		return a_init < b_init ? -1 : 1;
	if (am->created != bm->created)
		return am->created < bm->created ? -1 : 1;
	by_ns = strcmp(am->ns, bm->ns);
	return by_ns ? by_ns : strcmp(am->name, bm->name);
}

/* The experiment that goes before this one; NULL: none, the target is ours. The target is compared across all namespaces. */
static const struct contender *find_rival(const struct decide_input *in, const struct state *state)
{
	const struct contender self = { in->experiment, state }, *rival = NULL;

	for (size_t i = 0; i < in->contender_count; i++) {
		const struct contender *other = &in->contenders[i];

		if (other->state == state || other->state->stage == STAGE_COMPLETED || other->state->init_time == 0)
			continue;
		if (strcmp(other->experiment->target, in->experiment->target) != 0)
			continue;
		if (other->state->conditions[CONDITION_TARGET_ACQUIRED].status)
			return other;
		if (compare_contenders(other, &self) < 0 && (!rival || compare_contenders(other, rival) < 0))
			rival = other;
	}
	return rival;
}

/* ---- tasks ---- */

/* The next task of an action that has not been done; NULL when all are. */
static const struct task *next_task(const struct decide_input *in, struct state *state, const char *name)
{
	const struct action *action = find_action(in->experiment, name);

	if (!state->task_action || strcmp(state->task_action, name) != 0) {
		text_replace(&state->task_action, "%s", name);
		state->task_next = 0;
		if (action && action->task_count > 0)
			state_event(state, "HandlerLaunched", "%c%s handler '%s' launched", name[0] - 'a' + 'A', name + 1, name);
	}
	return action && state->task_next < action->task_count ? &action->tasks[state->task_next] : NULL;
}

static void end_action(struct state *state, const struct decide_input *in)
{
	const struct action *action = find_action(in->experiment, state->task_action);

	if (action && action->task_count > 0)
		state_event(state, "HandlerCompleted", "%c%s handler '%s' completed", action->name[0] - 'a' + 'A', action->name + 1, action->name);
	free(TAKE_PTR(state->task_action));
	state->task_next = 0;
}

static bool run_task(const struct decide_input *in, struct state *state, const char *name, struct decision *decision)
{
	const struct task *task = next_task(in, state, name);

	if (!task)
		return false;
	*decision = (struct decision){ .kind = DECIDE_TASK, .task = task };
	return true;
}

/* ---- steps: each returns true when the stage may have changed and the machine turns again, false with a decision for the outside ---- */

static bool step_waiting(const struct decide_input *in, struct state *state, struct decision *decision)
{
	_cleanup_free_ char *message = NULL;
	const struct contender *rival;

	if (!check_tasks(in, state) || (in->experiment->version_count && !check_versions(in, state)))
		return true;
	rival = find_rival(in, state);
	if (rival) {
		message = text_printf("Target: Target %s is taken by experiment %s/%s", in->experiment->target, rival->experiment->meta.ns,
				      rival->experiment->meta.name);
		if (message && (!state->message || strcmp(state->message, message) != 0))
			state_event(state, "Target", "%s", message + strlen("Target: "));
		*decision = (struct decision){ .kind = DECIDE_WAIT };
		return false;
	}
	note_tasks(in, state);
	state_set_condition(state, CONDITION_TARGET_ACQUIRED, true, "TargetAcquired", "", in->now);
	state_event(state, "TargetAcquired", "Target %s acquired", in->experiment->target);
	state->stage = STAGE_INITIALIZING;
	return true;
}

static bool step_initializing(const struct decide_input *in, struct state *state, struct decision *decision)
{
	if (!state->start_done) {
		if (run_task(in, state, "start", decision))
			return false;
		end_action(state, in);
		state->start_done = true;
	}
	if (!check_metrics(in, state) || !check_versions(in, state))
		return true;
	text_replace(&state->recommended, "%s", in->experiment->versions[0].name);
	state->stage = STAGE_RUNNING;
	state_event(state, "StageAdvanced", "Advanced to Running");
	return true;
}

static bool run_loop_tasks(const struct decide_input *in, struct state *state, struct decision *decision)
{
	while (state->loops_done < state->completed_iterations / in->experiment->iterations_per_loop) {
		if (run_task(in, state, "loop", decision))
			return true;
		end_action(state, in);
		state->loops_done++;
	}
	return false;
}

static bool wait_until(const struct decide_input *in, int64_t until, struct decision *decision)
{
	if (until <= in->now)
		return false;
	*decision = (struct decision){ .kind = DECIDE_WAIT, .until = until };
	return true;
}

static bool step_running(const struct decide_input *in, struct state *state, struct decision *decision)
{
	const struct experiment *e = in->experiment;
	bool early = state->rolled_back || state->final, last = early || state->completed_iterations >= (int64_t)e->iterations_per_loop * e->max_loops;

	if (!check_versions(in, state))
		return true;
	if (run_loop_tasks(in, state, decision))
		return false;
	if (!early && !state->promotion.made && split_wanted(e, state, in->now)) { /* at first, and for the weights of an iteration */
		*decision = (struct decision){ .kind = DECIDE_STEER };
		return false;
	}
	if (!early && state->last_update && wait_until(in, state->last_update + in->interval_ms, decision))
		return false;
	if (!last) {
		if (!state->start_time)
			state->start_time = in->now;
		*decision = (struct decision){ .kind = DECIDE_READ };
		return false;
	}
	if (wait_until(in, state->retry_at, decision))
		return false;
	if (!state->promotion.steered && e->testing != TESTING_CONFORMANCE) {
		*decision = (struct decision){ .kind = DECIDE_PROMOTE };
		return false;
	}
	if (find_action(e, "finish")) {
		state->stage = STAGE_FINISHING;
		return true;
	}
	complete(in, state, state->rolled_back ? "Experiment rolled back" : "Experiment completed successfully");
	return true;
}

static bool step_finishing(const struct decide_input *in, struct state *state, struct decision *decision)
{
	if (run_task(in, state, "finish", decision))
		return false;
	end_action(state, in);
	complete(in, state, state->rolled_back ? "Experiment rolled back" : "Experiment Completed");
	return true;
}

struct decision decide_next(const struct decide_input *in, struct state *state)
{
	static bool (*const steps[STAGE_MAX])(const struct decide_input *, struct state *, struct decision *) = {
		[STAGE_WAITING] = step_waiting,
		[STAGE_INITIALIZING] = step_initializing,
		[STAGE_RUNNING] = step_running,
		[STAGE_FINISHING] = step_finishing,
	};
	struct decision decision = { .kind = DECIDE_OVER };

	while (state->stage != STAGE_COMPLETED && steps[state->stage](in, state, &decision))
		;
	if (state->stage == STAGE_COMPLETED && state->split.held && state->split.released && !state->split.steered &&
	    !wait_until(in, state->split.retry_at, &decision))
		decision = (struct decision){ .kind = DECIDE_STEER };
	return decision;
}

/* ---- reports ---- */

void decide_init(struct state *state, int64_t now)
{
	state->init_time = now;
	state->stage = STAGE_WAITING;
	for (int i = 0; i <= CONDITION_TARGET_ACQUIRED; i++)
		state->conditions[i].since = now;
	state_event(state, "ExperimentInitialized", "Experiment status initialized");
}

void decide_assessed(const struct decide_input *in, struct state *state, const struct assessment *assessment)
{
	const struct experiment *e = in->experiment;
	bool feasible = false;

	state->last_update = in->now;
	if (assessment->rollback) {
		state->rolled_back = true;
		text_replace(&state->recommended, "%s", e->versions[0].name);
		state_event(state, "Rollback", "Experiment rolled back: %s", assessment->rollback_reason ?: "an objective of the candidate failed");
		return;
	}
	for (size_t v = 0; v < assessment->version_count; v++)
		feasible |= assessment->feasible[v];
	state->any_feasible = feasible;
	state->winner_found = assessment->winner_found;
	state->final = assessment->final;
	text_replace(&state->recommended, "%s", e->versions[assessment->recommended].name);
	state->completed_iterations++;
	if (assessment->weights)
		split_move(in->experiment, state, assessment->weights);
	state_event(state, "IterationUpdate", "Completed Iteration %d", state->completed_iterations);
	if (state->completed_iterations % e->iterations_per_loop == 0)
		state_event(state, "IterationUpdate", "Completed Loop %d", state->completed_iterations / e->iterations_per_loop);
	if (assessment->final)
		state_event(state, "Verdict", "%s: %s", verdict_name(assessment->verdict->kind), assessment->verdict->why);
}

void decide_promoted(const struct decide_input *in, struct state *state, int result)
{
	if (result == 0) {
		split_promoted(in->experiment, state);
		state->promotion.steered = true;
		state->retry_at = 0;
		return;
	}
	state->retry_at = in->now + in->interval_ms;
	state_event(state, "Promotion", "Steering to %s failed and will be tried again: %s", state->recommended, strerror(-result));
}

void decide_task_done(const struct decide_input *in, struct state *state, bool ok, const char *message)
{
	_cleanup_free_ char *action = NULL;

	if (ok) {
		state->task_next++;
		return;
	}
	action = TAKE_PTR(state->task_action);
	fail(in, state, "HandlerFailed", "%c%s handler '%s' failed: %s", action[0] - 'a' + 'A', action + 1, action, message);
	if (strcmp(action, "finish") == 0)
		text_replace(&state->conditions[CONDITION_COMPLETED].message, "Finish actions failed");
}
