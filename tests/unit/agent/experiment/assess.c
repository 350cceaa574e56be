/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/assess.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

#define MISSING NAN
#define VERSIONS 3

static struct version_detail versions[VERSIONS] = { { .name = (char *)"v1" }, { .name = (char *)"v2" }, { .name = (char *)"v3" } };

/* An experiment with one objective, "slo" <= 100, and the reward "reward"; and readings for it. */
struct scene {
	struct objective objective;
	struct reward reward;
	struct experiment experiment;
	struct readings *readings;
};

static void scene_open(struct scene *scene, enum testing_pattern testing, size_t version_count, bool high)
{
	static struct world world;

	*scene = (struct scene){
		.objective = { .metric = (char *)"slo", .has_upper = true, .upper = 100 },
		.reward = { .metric = (char *)"reward", .high = high },
	};
	scene->experiment = (struct experiment){
		.meta = { .ns = (char *)"default", .name = (char *)"e" },
		.testing = testing,
		.deployment = DEPLOYMENT_FIXED_SPLIT,
		.max_candidate_weight = 100,
		.max_candidate_weight_increment = 10,
		.objectives = &scene->objective,
		.objective_count = 1,
		.rewards = &scene->reward,
		.reward_count = testing == TESTING_AB || testing == TESTING_ABN,
		.versions = versions,
		.version_count = version_count,
	};
	assert_int_equal(readings_new(&world, &scene->experiment, &scene->readings), 0);
}

static void scene_close(struct scene *scene)
{
	readings_free(&scene->readings);
}

#define _cleanup_scene_ _cleanup_(scene_close)

static void put(struct scene *scene, const char *metric, size_t version, double value)
{
	struct reading *reading = readings_at(scene->readings, metric, version);

	if (isnan(value))
		reading_fail(reading, "HTTP 500: no");
	else
		reading_set(reading, value);
}

static struct assessment *assessed(struct scene *scene, const int *current)
{
	struct assessment *assessment;

	assert_int_equal(assess(&scene->experiment, scene->readings, current, &assessment), 0);
	return assessment;
}

/* reference/iter8.md section 7.5, direction High: b and c say whether all objectives hold. */
static const struct {
	bool b, c;
	double reward_b, reward_c;
	bool found;
	size_t recommended;
	double mix; /* of the baseline, before caps */
	const char *message;
} truth[] = {
	{ true, true, 10, 15, true, 1, 5, "Error: ; Warning: ; Info: found unique winner" },
	{ true, true, 15, 10, true, 0, 95, "Error: ; Warning: ; Info: found unique winner" },
	{ true, true, 10, 10, false, 0, 50, "Error: ; Warning: ; Info: no unique winner; two or more feasible versions with same reward value" },
	{ true, true, MISSING, 15, true, 1, 5, "Error: ; Warning: reward value for feasible version v1 is not available; Info: found unique winner" },
	{ true, true, 10, MISSING, true, 0, 95, "Error: ; Warning: reward value for feasible version v2 is not available; Info: found unique winner" },
	{ true, true, MISSING, MISSING, false, 0, 95,
	  "Error: ; Warning: reward value for feasible version v1 is not available, reward value for feasible version v2 is not available; Info: " },
	{ true, false, 10, 99, true, 0, 95, "Error: ; Warning: ; Info: found unique winner" },
	{ true, false, MISSING, 99, false, 0, 95, "Error: ; Warning: reward value for feasible version v1 is not available; Info: " },
	{ false, true, 99, 1, true, 1, 5, "Error: ; Warning: ; Info: found unique winner" },
	{ false, true, 99, MISSING, false, 0, 95, "Error: ; Warning: reward value for feasible version v2 is not available; Info: " },
	{ false, false, 10, 15, false, 0, 95, "Error: ; Warning: ; Info: no version satisfies all objectives" },
};

static void the_truth_table_of_reference_7_5_holds(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(truth); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_AB, 2, true);
		put(&scene, "slo", 0, truth[i].b ? 100 : 101);
		put(&scene, "slo", 1, truth[i].c ? 1 : 200);
		put(&scene, "reward", 0, truth[i].reward_b);
		put(&scene, "reward", 1, truth[i].reward_c);
		a = assessed(&scene, NULL);
		assert_int_equal(a->winner_found, truth[i].found);
		assert_int_equal(a->recommended, truth[i].recommended);
		assert_true(fabs(a->mix[0] - truth[i].mix) < 1e-9);
		assert_string_equal(a->winner_message, truth[i].message);
		assert_int_equal(a->weights[0] + a->weights[1], 100);
	}
}

static void direction_low_takes_the_smaller_reward(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2, false);
	put(&scene, "slo", 0, 1);
	put(&scene, "slo", 1, 1);
	put(&scene, "reward", 0, 10);
	put(&scene, "reward", 1, -15);
	a = assessed(&scene, NULL);
	assert_true(a->winner_found);
	assert_int_equal(a->winner, 1);
}

static const struct {
	bool has_lower, has_upper;
	double value;
	enum objective_verdict want;
} limits[] = {
	{ false, true, 100, OBJECTIVE_SATISFIED }, /* limits are inclusive */
	{ false, true, 100.0000001, OBJECTIVE_VIOLATED },
	{ true, false, 50, OBJECTIVE_SATISFIED },
	{ true, false, 49.9999999, OBJECTIVE_VIOLATED },
	{ true, true, 75, OBJECTIVE_SATISFIED },
	{ true, true, 0, OBJECTIVE_VIOLATED },
	{ false, false, -1e20, OBJECTIVE_SATISFIED }, /* without limits a value is enough */
	{ false, false, MISSING, OBJECTIVE_MISSING },
	{ true, true, MISSING, OBJECTIVE_MISSING },
};

static void t12_an_objective_holds_between_its_limits_and_needs_a_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_CONFORMANCE, 1, true);
		scene.objective = (struct objective){ (char *)"slo", limits[i].has_upper, limits[i].has_lower, 100, 50, false };
		put(&scene, "slo", 0, limits[i].value);
		a = assessed(&scene, NULL);
		assert_int_equal(a->objectives[0], limits[i].want);
		assert_int_equal(a->feasible[0], limits[i].want == OBJECTIVE_SATISFIED);
	}
}

static void what_is_missing_is_said_and_by_whom(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_CANARY, 2, true);
	put(&scene, "slo", 0, 1);
	put(&scene, "slo", 1, MISSING);
	a = assessed(&scene, NULL);
	assert_string_equal(a->metrics_message, "Error: Error from metrics backend for metric: slo and version: v2: HTTP 500: no; Warning: ; Info: ");
	assert_string_equal(a->versions_message, "Error: ; Warning: Value for slo metric and v2 version is None.; Info: ");
}

static const struct {
	enum testing_pattern testing;
	bool b, c, found;
	size_t recommended;
	const char *message;
} patterns[] = {
	{ TESTING_CANARY, false, true, true, 1, "Error: ; Warning: ; Info: candidate satisfies all objectives" },
	{ TESTING_CANARY, true, true, true, 1, "Error: ; Warning: ; Info: candidate satisfies all objectives" },
	{ TESTING_CANARY, true, false, true, 0, "Error: ; Warning: ; Info: baseline satisfies all objectives; candidate does not" },
	{ TESTING_CANARY, false, false, false, 0, "Error: ; Warning: ; Info: no version satisfies all objectives" },
	{ TESTING_CONFORMANCE, true, false, true, 0, "Error: ; Warning: ; Info: baseline satisfies all objectives" },
	{ TESTING_CONFORMANCE, false, false, false, 0, "Error: ; Warning: ; Info: no version satisfies all objectives" },
};

static void canary_and_conformance_decide_by_objectives_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;
		bool conformance = patterns[i].testing == TESTING_CONFORMANCE;

		scene_open(&scene, patterns[i].testing, conformance ? 1 : 2, true);
		put(&scene, "slo", 0, patterns[i].b ? 1 : 101);
		if (!conformance)
			put(&scene, "slo", 1, patterns[i].c ? 1 : 101);
		a = assessed(&scene, NULL);
		assert_int_equal(a->winner_found, patterns[i].found);
		assert_int_equal(a->recommended, patterns[i].recommended);
		assert_string_equal(a->winner_message, patterns[i].message);
		assert_int_equal(a->weights == NULL, conformance);
	}
}

static void a_tie_of_two_best_of_three_has_no_winner_and_shares_the_traffic(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_ABN, 3, true);
	for (size_t v = 0; v < 3; v++) {
		put(&scene, "slo", v, 1);
		put(&scene, "reward", v, v == 0 ? 1 : 5);
	}
	a = assessed(&scene, NULL);
	assert_false(a->winner_found);
	assert_int_equal(a->recommended, 0);
	assert_true(fabs(a->mix[0] - 10 / 3.0) < 1e-9);
	assert_true(fabs(a->mix[1] - (45 + 10 / 3.0)) < 1e-9);
	assert_true(fabs(a->mix[2] - (45 + 10 / 3.0)) < 1e-9);
}

/* Iter8 fails with HTTP 500 when it knows the weights of some versions only. */
static void t23_weights_that_are_not_known_stop_nothing(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_ABN, 3, true);
	scene.experiment.deployment = DEPLOYMENT_FIXED_SPLIT;
	for (size_t v = 0; v < 3; v++) {
		put(&scene, "slo", v, 1);
		put(&scene, "reward", v, (double)v);
	}
	a = assessed(&scene, NULL);
	assert_true(a->winner_found);
	assert_int_equal(a->winner, 2);
	assert_int_equal(a->weights[0] + a->weights[1] + a->weights[2], 100);
}

/* reference/iter8.md section 3.1: increment 10 from 100/0, the candidate best: exploration keeps 5. */
static void weights_climb_by_the_increment_and_stop_at_the_exploration(void **state)
{
	static const int want[] = { 90, 80, 70, 60, 50, 40, 30, 20, 10, 5, 5 };
	int current[2] = { 100, 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_AB, 2, true);
		for (size_t v = 0; v < 2; v++) {
			put(&scene, "slo", v, 1);
			put(&scene, "reward", v, v == 0 ? 10 : 15);
		}
		a = assessed(&scene, current);
		assert_int_equal(a->weights[0], want[i]);
		assert_int_equal(a->weights[1], 100 - want[i]);
		memcpy(current, a->weights, sizeof(current));
	}
}

static const struct {
	int max, increment, current[3];
	size_t best;
	int want[3];
} caps[] = {
	{ 100, 10, { 100, 0, 0 }, 1, { 87, 10, 3 } }, /* 86.67, 10, 3.33 */
	{ 40, 100, { 20, 40, 40 }, 1, { 57, 40, 3 } },
	{ 100, 100, { 50, 50, 0 }, 0, { 94, 3, 3 } },  /* decreases have no bound; 93.33, 3.33, 3.33: the remainder goes to the first */
	{ 0, 100, { 100, 0, 0 }, 2, { 100, 0, 0 } },
};

static void a_candidate_gets_no_more_than_its_caps(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_ABN, 3, true);
		scene.experiment.max_candidate_weight = caps[i].max;
		scene.experiment.max_candidate_weight_increment = caps[i].increment;
		for (size_t v = 0; v < 3; v++) {
			put(&scene, "slo", v, 1);
			put(&scene, "reward", v, v == caps[i].best);
		}
		a = assessed(&scene, caps[i].current);
		for (size_t v = 0; v < 3; v++)
			assert_int_equal(a->weights[v], caps[i].want[v]);
	}
}

static const struct {
	bool flag;
	double b, c;
	bool want;
} rollbacks[] = {
	{ true, 1, 101, true },
	{ false, 1, 101, false },
	{ true, 101, 1, false },      /* T4: the baseline's failure is no reason to go back to it */
	{ true, 1, MISSING, false },  /* no decision on what is not known */
	{ true, 1, 100, false },
};

static void t4_only_a_candidates_measured_failure_asks_for_a_rollback(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rollbacks); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_CANARY, 2, true);
		scene.objective.rollback_on_failure = rollbacks[i].flag;
		put(&scene, "slo", 0, rollbacks[i].b);
		put(&scene, "slo", 1, rollbacks[i].c);
		a = assessed(&scene, NULL);
		assert_int_equal(a->rollback, rollbacks[i].want);
		if (a->rollback)
			assert_string_equal(a->rollback_reason, "slo of candidate v2 is 101, outside its limits");
	}
}

static void without_objectives_every_version_is_feasible(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2, true);
	scene.experiment.objective_count = 0;
	put(&scene, "reward", 0, 1);
	put(&scene, "reward", 1, 2);
	a = assessed(&scene, NULL);
	assert_true(a->feasible[0] && a->feasible[1] && a->winner_found);
}

static void an_ab_experiment_without_a_reward_says_so(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *a = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2, true);
	scene.experiment.reward_count = 0;
	a = assessed(&scene, NULL);
	assert_string_equal(a->winner_message, "Error: ; Warning: No reward metric in experiment. Winner assessment cannot be computed for ab or abn experiments without reward metric.; Info: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_truth_table_of_reference_7_5_holds),
		cmocka_unit_test(direction_low_takes_the_smaller_reward),
		cmocka_unit_test(t12_an_objective_holds_between_its_limits_and_needs_a_value),
		cmocka_unit_test(what_is_missing_is_said_and_by_whom),
		cmocka_unit_test(canary_and_conformance_decide_by_objectives_alone),
		cmocka_unit_test(a_tie_of_two_best_of_three_has_no_winner_and_shares_the_traffic),
		cmocka_unit_test(t23_weights_that_are_not_known_stop_nothing),
		cmocka_unit_test(weights_climb_by_the_increment_and_stop_at_the_exploration),
		cmocka_unit_test(a_candidate_gets_no_more_than_its_caps),
		cmocka_unit_test(t4_only_a_candidates_measured_failure_asks_for_a_rollback),
		cmocka_unit_test(without_objectives_every_version_is_feasible),
		cmocka_unit_test(an_ab_experiment_without_a_reward_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
