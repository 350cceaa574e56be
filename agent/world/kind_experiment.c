/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Experiment (iter8.tools/v2alpha2; Iter8's etc3 api/v2alpha2/experiment_types.go, defaults.go). What Iter8 checks only while an experiment runs
 * (number of candidates and rewards, unique names) is left to the experiment station, which reports it in the status as Iter8 does.
 */
#include "world/kinds.h"

#include <errno.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/quantity.h"

/* ---- strategy */

static void check_task(struct decoder *d, const struct cursor *at, void *target)
{
	struct task *task = target;
	struct cursor with = cursor_member(at, "with");
	bool has_task = task->name && *task->name, has_run = task->run && *task->run;

	if (has_task == has_run)
		return decode_error(d, at, "found %s; allowed: exactly one of task, run", has_task ? "task and run" : "neither task nor run");
	if (task->with && !json_is_object(task->with))
		return decode_type_error(d, &with, "an object");
	if (has_run) {
		free(task->name);
		task->name = strdup("run");
		if (!task->name)
			d->r = -ENOMEM;
	} else {
		free(task->run); /* run: "" is no run task */
		task->run = NULL;
	}
	task->path = decode_path(d, at);
}

static const struct field task_fields[] = {
	{ "task", FIELD_STRING, AT(struct task, name) },
	{ "run", FIELD_STRING, AT(struct task, run) },
	{ "if", FIELD_STRING, AT(struct task, condition) },
	{ "with", FIELD_JSON, AT(struct task, with) },
};

static const struct schema task_schema = { FIELDS(task_fields), .size = sizeof(struct task), .check = check_task };

/* actions: {finish: [tasks]}. Iter8 takes any key and never runs but these three; here a misspelt one is an error. */
static void decode_action(struct decoder *d, const struct cursor *at, void *target)
{
	struct experiment *experiment = target;
	struct action *bigger = reallocarray(experiment->actions, experiment->action_count + 1, sizeof(*bigger));
	struct action *action;

	if (!bigger) {
		d->r = -ENOMEM;
		return;
	}
	experiment->actions = bigger;
	action = &bigger[experiment->action_count++];
	*action = (struct action){ .name = strdup(at->key) };
	if (!action->name)
		d->r = -ENOMEM;
	schema_decode_list(d, &task_schema, at, (void **)&action->tasks, &action->task_count);
}

static const struct field action_fields[] = {
	{ "start", FIELD_CUSTOM, .custom = decode_action },
	{ "loop", FIELD_CUSTOM, .custom = decode_action },
	{ "finish", FIELD_CUSTOM, .custom = decode_action },
};

static const struct schema action_schema = { FIELDS(action_fields) };

static const struct field weight_fields[] = {
	{ "maxCandidateWeight", FIELD_INT, AT(struct experiment, max_candidate_weight), .min = 0, .max = 100, .fallback = 100 },
	{ "maxCandidateWeightIncrement", FIELD_INT, AT(struct experiment, max_candidate_weight_increment), .min = 0, .max = 100, .fallback = 10 },
};

static const struct schema weight_schema = { FIELDS(weight_fields) };

/* in the order of the enums */
static const char *const testing_patterns[] = { "Canary", "A/B", "A/B/N", "Conformance", NULL };
static const char *const deployment_patterns[] = { "Progressive", "FixedSplit", "BlueGreen", NULL };

static const struct field strategy_fields[] = {
	{ "testingPattern", FIELD_ENUM, AT(struct experiment, testing), .names = testing_patterns, .required = true },
	{ "deploymentPattern", FIELD_ENUM, AT(struct experiment, deployment), .names = deployment_patterns, .fallback = DEPLOYMENT_PROGRESSIVE },
	{ "actions", FIELD_OBJECT, .schema = &action_schema },
	{ "weights", FIELD_OBJECT, .schema = &weight_schema },
};

static const struct schema strategy_schema = { FIELDS(strategy_fields) };

/* ---- criteria */

static void check_objective(struct decoder *d, const struct cursor *at, void *target)
{
	const struct objective *objective = target;
	struct cursor lower = cursor_member(at, "lowerLimit");

	if (objective->has_lower && objective->has_upper && objective->lower > objective->upper)
		decode_error(d, &lower, "found %g, above upperLimit %g; allowed: at most the upper limit, or no value satisfies the objective",
			     objective->lower, objective->upper);
}

static const char *const directions[] = { "Low", "High", NULL };

static const struct field reward_fields[] = {
	{ "metric", FIELD_STRING, AT(struct reward, metric), .required = true },
	{ "preferredDirection", FIELD_ENUM, AT(struct reward, high), .names = directions, .required = true },
};

static const struct field objective_fields[] = {
	{ "metric", FIELD_STRING, AT(struct objective, metric), .required = true },
	{ "upperLimit", FIELD_QUANTITY, AT(struct objective, upper), COUNT_AT(struct objective, has_upper) },
	{ "lowerLimit", FIELD_QUANTITY, AT(struct objective, lower), COUNT_AT(struct objective, has_lower) },
	{ "rollback_on_failure", FIELD_BOOL, AT(struct objective, rollback_on_failure) },
};

static const struct schema reward_schema = { FIELDS(reward_fields), .size = sizeof(struct reward) };
static const struct schema objective_schema = { FIELDS(objective_fields), .size = sizeof(struct objective), .check = check_objective };

/* A number as people write it: 0.95. A quantity in quotes is fine, too. */
static void decode_confidence(struct decoder *d, const struct cursor *at, void *target)
{
	struct strength *strength = target;
	double value = json_number_value(at->value);

	if (!json_is_number(at->value) && (!json_is_string(at->value) || quantity_parse(json_string_value(at->value), &value) < 0))
		return decode_type_error(d, at, "a number such as 0.95");
	if (!(value > 0.5 && value < 1))
		return decode_error(d, at, "found %g; allowed: above 0.5 and below 1, such as 0.95", value);
	strength->confidence = value;
}

static void check_strength(struct decoder *d, const struct cursor *at, void *target)
{
	const struct strength *strength = target;
	struct cursor maximum = cursor_member(at, "maximumSample");

	if (strength->maximum_sample && strength->maximum_sample < strength->minimum_sample)
		decode_error(d, &maximum, "found %lld, below minimumSample %lld; allowed: at least the minimum", (long long)strength->maximum_sample,
			     (long long)strength->minimum_sample);
}

/* in the order of enum sample_unit */
static const char *const sample_units[] = { "user", "request", NULL };

static const struct field strength_fields[] = {
	{ "confidence", FIELD_CUSTOM, .custom = decode_confidence },
	{ "minimumSample", FIELD_INT, AT(struct strength, minimum_sample), .min = 2, .max = INT64_MAX },
	{ "maximumSample", FIELD_INT, AT(struct strength, maximum_sample), .min = 2, .max = INT64_MAX },
	{ "unit", FIELD_ENUM, AT(struct strength, unit), .names = sample_units, .fallback = UNIT_USER },
};

static const struct schema strength_schema = { FIELDS(strength_fields), .check = check_strength };

static void decode_strength(struct decoder *d, const struct cursor *at, void *target)
{
	struct experiment *experiment = target;

	experiment->strength.given = true;
	schema_decode(d, &strength_schema, at, &experiment->strength);
}

static const struct field criteria_fields[] = {
	{ "requestCount", FIELD_STRING, AT(struct experiment, request_count) },
	{ "rewards", FIELD_LIST, AT(struct experiment, rewards), COUNT_AT(struct experiment, reward_count), .schema = &reward_schema },
	{ "indicators", FIELD_STRINGS, AT(struct experiment, indicators), COUNT_AT(struct experiment, indicator_count) },
	{ "objectives", FIELD_LIST, AT(struct experiment, objectives), COUNT_AT(struct experiment, objective_count), .schema = &objective_schema },
	{ "strength", FIELD_CUSTOM, .custom = decode_strength },
};

static const struct schema criteria_schema = { FIELDS(criteria_fields) };

static const struct field duration_fields[] = {
	{ "intervalSeconds", FIELD_INT, AT(struct experiment, interval_seconds), .min = 1, .max = INT32_MAX, .fallback = 20 },
	{ "iterationsPerLoop", FIELD_INT, AT(struct experiment, iterations_per_loop), .min = 1, .max = INT32_MAX, .fallback = 15 },
	{ "maxLoops", FIELD_INT, AT(struct experiment, max_loops), .min = 1, .max = INT32_MAX, .fallback = 1 },
};

static const struct schema duration_schema = { FIELDS(duration_fields) };

/* ---- versions */

static const struct field object_reference_fields[] = {
	{ "apiVersion", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "kind", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "name", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "namespace", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "fieldPath", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "uid", FIELD_STRING, .offset = FIELD_NOT_STORED },
	{ "resourceVersion", FIELD_STRING, .offset = FIELD_NOT_STORED },
};

static const struct schema object_reference_schema = { FIELDS(object_reference_fields) };

static const struct field version_fields[] = {
	{ "name", FIELD_STRING, AT(struct version_detail, name), .required = true },
	{ "variables", FIELD_LIST, AT(struct version_detail, variables), COUNT_AT(struct version_detail, variable_count),
	  .schema = &variable_schema },
	{ "weightObjRef", FIELD_JSON, AT(struct version_detail, weight_obj_ref), .schema = &object_reference_schema },
};

static const struct schema version_schema = { FIELDS(version_fields), .size = sizeof(struct version_detail) };

static void version_release(struct version_detail *version)
{
	free(version->name);
	variables_free(version->variables, version->variable_count);
	json_decref(version->weight_obj_ref);
}

static void versions_free(struct version_detail *versions, size_t count)
{
	for (size_t i = 0; i < count; i++)
		version_release(&versions[i]);
	free(versions);
}

struct version_info {
	struct version_detail baseline;
	struct version_detail *candidates;
	size_t candidate_count;
};

static const struct field version_info_fields[] = {
	{ "baseline", FIELD_OBJECT, AT(struct version_info, baseline), .schema = &version_schema, .required = true },
	{ "candidates", FIELD_LIST, AT(struct version_info, candidates), COUNT_AT(struct version_info, candidate_count), .schema = &version_schema },
};

static const struct schema version_info_schema = { FIELDS(version_info_fields) };

/* Baseline and candidates become one list; what is in them moves, whether it is whole or not. */
static void decode_version_info(struct decoder *d, const struct cursor *at, void *target)
{
	struct experiment *experiment = target;
	struct version_info info = {};

	schema_decode(d, &version_info_schema, at, &info);
	experiment->versions = reallocarray(info.candidates, info.candidate_count + 1, sizeof(*info.candidates));
	if (!experiment->versions) {
		d->r = -ENOMEM;
		version_release(&info.baseline);
		versions_free(info.candidates, info.candidate_count);
		return;
	}
	memmove(&experiment->versions[1], &experiment->versions[0], info.candidate_count * sizeof(*info.candidates));
	experiment->versions[0] = info.baseline;
	experiment->version_count = info.candidate_count + 1;
}

/* ---- the object */

/* rollback_on_failure defaults to true under BlueGreen (Objective.GetRollbackOnFailure). */
static void check_experiment(struct decoder *d, const struct cursor *at, void *target)
{
	struct experiment *experiment = target;
	struct cursor spec = cursor_member(at, "spec"), strategy = cursor_member(&spec, "strategy");
	struct cursor criteria = cursor_member(&spec, "criteria"), objectives = cursor_member(&criteria, "objectives");

	decode_experiment_annotations(d, at, experiment);
	experiment->deployment_set = json_is_string(json_object_get(strategy.value, "deploymentPattern"));
	for (size_t i = 0; experiment->deployment == DEPLOYMENT_BLUE_GREEN && i < experiment->objective_count; i++)
		if (!json_is_boolean(json_object_get(json_array_get(objectives.value, i), "rollback_on_failure")))
			experiment->objectives[i].rollback_on_failure = true;
}

static const struct field experiment_spec_fields[] = {
	{ "target", FIELD_STRING, AT(struct experiment, target), .required = true },
	{ "strategy", FIELD_OBJECT, .schema = &strategy_schema, .required = true },
	{ "criteria", FIELD_OBJECT, .schema = &criteria_schema },
	{ "duration", FIELD_OBJECT, .schema = &duration_schema },
	{ "versionInfo", FIELD_CUSTOM, .custom = decode_version_info },
};

static const struct schema experiment_spec_schema = { FIELDS(experiment_spec_fields) };

static const struct field experiment_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &experiment_spec_schema, .required = true },
};

const struct schema experiment_schema = { FIELDS(experiment_fields), .check = check_experiment };

static void action_release(struct action *action)
{
	for (struct task *task = action->tasks; task < action->tasks + action->task_count; task++) {
		free(task->name);
		free(task->run);
		free(task->condition);
		json_decref(task->with);
		free(task->path);
	}
	free(action->tasks);
	free(action->name);
}

void experiment_release(void *object)
{
	struct experiment *experiment = object;

	for (size_t i = 0; i < experiment->action_count; i++)
		action_release(&experiment->actions[i]);
	free(experiment->actions);
	for (size_t i = 0; i < experiment->reward_count; i++)
		free(experiment->rewards[i].metric);
	free(experiment->rewards);
	for (size_t i = 0; i < experiment->objective_count; i++)
		free(experiment->objectives[i].metric);
	free(experiment->objectives);
	strings_free(experiment->indicators, experiment->indicator_count);
	versions_free(experiment->versions, experiment->version_count);
	free(experiment->conversion.method);
	free(experiment->conversion.path);
	free(experiment->request_count);
	free(experiment->target);
}
