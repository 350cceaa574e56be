/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From evidence to a verdict: tables of sums and what they mean. How often a verdict is wrong is the test of simulate.c. */
#include "experiment/verdict.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "experiment/assess.h"
#include "reading/builtin.h"
#include "shunt/histogram.h"
#include "util/cleanup.h"

#define VERSIONS 3

static struct version_detail versions[VERSIONS] = { { .name = (char *)"v1" }, { .name = (char *)"v2" }, { .name = (char *)"v3" } };

/* Reward: the lower error rate. Objective: p95 of at most 100 ms. */
struct scene {
	struct objective objectives[1];
	struct reward rewards[1];
	struct experiment experiment;
	struct readings *readings;
};

static void scene_open(struct scene *scene, enum testing_pattern testing, size_t version_count)
{
	static struct world world;

	*scene = (struct scene){
		.objectives = { { .metric = (char *)"shunt/95th-percentile-tail-latency", .has_upper = true, .upper = 100 } },
		.rewards = { { .metric = (char *)"shunt/error-rate", .high = false } },
	};
	scene->experiment = (struct experiment){
		.meta = { .ns = (char *)"default", .name = (char *)"e" },
		.testing = testing,
		.deployment = DEPLOYMENT_FIXED_SPLIT,
		.objectives = scene->objectives,
		.objective_count = 1,
		.rewards = scene->rewards,
		.reward_count = testing == TESTING_AB || testing == TESTING_ABN,
		.versions = versions,
		.version_count = version_count,
		.strength = { .given = true },
	};
	assert_int_equal(readings_new(&world, &scene->experiment, &scene->readings), 0);
}

static void scene_close(struct scene *scene)
{
	readings_free(&scene->readings);
}

#define _cleanup_scene_ _cleanup_(scene_close)

/* So many users with one request each, of which so many fail and `slow` take 200 ms, the others 10 ms. */
static void put(struct scene *scene, size_t version, double users, double errors, double slow)
{
	struct evidence *e = &scene->readings->evidence[version];

	*e = (struct evidence){ .present = true, .unit = UNIT_USER };
	for (enum quantity a = QUANTITY_UNITS; a <= QUANTITY_RESPONSES; a++) {
		e->sum[a] = a == QUANTITY_ERRORS ? errors : users;
		for (enum quantity b = QUANTITY_UNITS; b <= QUANTITY_RESPONSES; b++)
			e->product[a][b] = a == QUANTITY_ERRORS || b == QUANTITY_ERRORS ? errors : users;
	}
	e->latency[shunt_hist_slot(10000000)] = users - slow;
	e->latency[shunt_hist_slot(200000000)] = slow;
	reading_set(readings_at(scene->readings, "shunt/error-rate", version) ?: &(struct reading){}, errors / users);
	reading_set(readings_at(scene->readings, "shunt/95th-percentile-tail-latency", version), slow > 0.05 * users ? 200 : 10);
}

static struct verdict *judged(const struct scene *scene)
{
	struct verdict *verdict;

	assert_int_equal(verdict_new(&scene->experiment, scene->readings, &verdict), 0);
	return verdict;
}

static const struct {
	enum testing_pattern testing;
	double users[2], errors[2], slow[2];
	int64_t maximum;
	enum verdict_kind kind;
	size_t winner;
	bool final;
	const char *why;
} rows[] = {
	{ TESTING_AB, { 99, 5000 }, { 5, 50 }, { 0, 0 }, 0, VERDICT_INSUFFICIENT_DATA, 0, false, "v1 has 99 users, of at least 100" },
	{ TESTING_AB, { 5000, 5000 }, { 500, 250 }, { 0, 0 }, 0, VERDICT_WINNER, 1, true,
	  "v2 has the better shunt/error-rate than every other version that satisfies the objectives, and satisfies all of its own" },
	{ TESTING_AB, { 5000, 5000 }, { 250, 500 }, { 0, 0 }, 0, VERDICT_WINNER, 0, true,
	  "v1 has the better shunt/error-rate than every other version that satisfies the objectives, and satisfies all of its own" },
	{ TESTING_AB, { 5000, 5000 }, { 260, 250 }, { 0, 0 }, 0, VERDICT_INCONCLUSIVE, 0, false, "no version is surely better in shunt/error-rate than every other" },
	{ TESTING_AB, { 5000, 5000 }, { 260, 250 }, { 0, 0 }, 5000, VERDICT_NO_DIFFERENCE, 0, true, "with 5000 users each, no version is surely better in shunt/error-rate" },
	/* better, but perhaps too slow: it does not win; surely too slow: the other wins, though it is worse */
	{ TESTING_AB, { 5000, 5000 }, { 500, 250 }, { 0, 245 }, 0, VERDICT_INCONCLUSIVE, 0, false,
	  "shunt/95th-percentile-tail-latency of v2 may be inside of its limits or outside" },
	{ TESTING_AB, { 5000, 5000 }, { 500, 250 }, { 0, 1000 }, 0, VERDICT_WINNER, 0, true,
	  "v1 has the better shunt/error-rate than every other version that satisfies the objectives, and satisfies all of its own" },
	{ TESTING_AB, { 5000, 5000 }, { 500, 250 }, { 1000, 1000 }, 0, VERDICT_NO_FEASIBLE_VERSION, 0, true, "every version surely fails an objective" },
	{ TESTING_CANARY, { 5000, 5000 }, { 0, 0 }, { 0, 0 }, 0, VERDICT_WINNER, 1, true, "v2 satisfies all objectives" },
	{ TESTING_CANARY, { 5000, 5000 }, { 0, 0 }, { 0, 1000 }, 0, VERDICT_WINNER, 0, true, "v1 satisfies all objectives; the candidate surely fails one" },
	{ TESTING_CANARY, { 5000, 5000 }, { 0, 0 }, { 0, 245 }, 5000, VERDICT_INCONCLUSIVE, 0, true,
	  "shunt/95th-percentile-tail-latency of v2 may be inside of its limits or outside" },
};

static void evidence_gives_the_verdict_of_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(verdict_free) struct verdict *verdict = NULL;

		scene_open(&scene, rows[i].testing, 2);
		scene.experiment.strength.maximum_sample = rows[i].maximum;
		for (size_t v = 0; v < 2; v++)
			put(&scene, v, rows[i].users[v], rows[i].errors[v], rows[i].slow[v]);
		verdict = judged(&scene);
		assert_string_equal(verdict_name(verdict->kind), verdict_name(rows[i].kind));
		assert_string_equal(verdict->why, rows[i].why);
		assert_int_equal(verdict->winner, rows[i].winner);
		assert_int_equal(verdict->final, rows[i].final);
	}
}

static void a_conformance_experiment_is_about_the_baseline(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL;

	(void)state;
	scene_open(&scene, TESTING_CONFORMANCE, 1);
	put(&scene, 0, 5000, 0, 10);
	verdict = judged(&scene);
	assert_int_equal(verdict->kind, VERDICT_WINNER);
	assert_false(verdict->split_tested);
}

/* Of three versions the winner has to beat both others, at a third of the error each. */
static void a_winner_of_three_beats_both(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL, *second = NULL;

	(void)state;
	scene_open(&scene, TESTING_ABN, 3);
	put(&scene, 0, 5000, 500, 0);
	put(&scene, 1, 5000, 250, 0);
	put(&scene, 2, 5000, 245, 0);
	verdict = judged(&scene);
	assert_int_equal(verdict->pair_count, 3);
	assert_int_equal(verdict->kind, VERDICT_INCONCLUSIVE);
	put(&scene, 1, 5000, 400, 0);
	second = judged(&scene);
	assert_int_equal(second->kind, VERDICT_WINNER);
	assert_int_equal(second->winner, 2);
}

/* The error is divided: among three pairs, and among the two intervals of a difference of percentiles. */
static void several_statements_share_the_error(void **state)
{
	const struct stats_mean rates[] = { { 5000, 0.1, 5000 * 0.1 * 0.9 / 4999 }, { 5000, 0.05, 5000 * 0.05 * 0.95 / 4999 } };
	struct interval third = stats_difference_interval(&rates[0], &rates[1], (struct stats_level){ 0.05 / 3, STRENGTH_TUNED_SAMPLE });
	_cleanup_scene_ struct scene scene, latency;
	_cleanup_(verdict_free) struct verdict *verdict = NULL, *by_latency = NULL;
	const struct pair_claim *pair;
	struct interval sixth;

	(void)state;
	scene_open(&scene, TESTING_ABN, 3);
	put(&scene, 0, 5000, 500, 0);
	put(&scene, 1, 5000, 250, 0);
	put(&scene, 2, 5000, 245, 0);
	verdict = judged(&scene);
	assert_float_equal(verdict->pairs[0].interval.low, third.low, 1e-9);
	assert_float_equal(verdict->pairs[0].interval.high, third.high, 1e-9);

	scene_open(&latency, TESTING_ABN, 3);
	latency.rewards[0].metric = latency.objectives[0].metric;
	for (size_t v = 0; v < 3; v++)
		put(&latency, v, 5000, 0, v == 0 ? 400 : 0);
	by_latency = judged(&latency);
	pair = &by_latency->pairs[0];
	sixth = stats_rate_interval(4600, 5000, (struct stats_level){ 0.05 / 6, STRENGTH_TUNED_SAMPLE });
	assert_true(sixth.high < 0.95); /* so the baseline's percentile is surely that of the slow ones, and the candidate's that of the others */
	assert_true(pair->interval.high < -150 && pair->interval.low > -250);
	assert_int_equal(pair->b_better, CLAIM_HOLDS);
}

/* At the very edge: the slow ones are too many at 5 % of error, and not at a sixth of that. */
static void a_difference_of_percentiles_is_as_sure_as_any(void **state)
{
	struct stats_level level = { 0.05, STRENGTH_TUNED_SAMPLE }, half = { 0.025, STRENGTH_TUNED_SAMPLE };
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL, *sure = NULL;
	double slow = 250;

	(void)state;
	while (stats_beta_binomial(5000 - slow, 5000, 0.95, level) < log(20) + 1e-9)
		slow++;
	assert_true(stats_beta_binomial(5000 - slow, 5000, 0.95, half) < log(40));
	scene_open(&scene, TESTING_AB, 2);
	scene.rewards[0].metric = scene.objectives[0].metric;
	scene.objectives[0].upper = 1000;
	put(&scene, 0, 5000, 0, slow);
	put(&scene, 1, 5000, 0, 0);
	verdict = judged(&scene);
	assert_int_equal(verdict->kind, VERDICT_INCONCLUSIVE);
	put(&scene, 0, 5000, 0, slow + 30);
	sure = judged(&scene);
	assert_int_equal(sure->kind, VERDICT_WINNER);
	assert_int_equal(sure->winner, 1);
}

static void a_split_that_loses_users_blocks_the_winner(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL, *by_request = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2);
	put(&scene, 0, 40000, 4000, 0);
	put(&scene, 1, 38000, 1900, 0);
	scene.readings->evidence[0].share = scene.readings->evidence[1].share = 0.5;
	verdict = judged(&scene);
	assert_int_equal(verdict->kind, VERDICT_SAMPLE_RATIO_MISMATCH);
	assert_false(verdict->final);
	assert_non_null(strstr(verdict->why, "the users are not divided as the split says (p = "));
	scene.readings->evidence[1].unit = UNIT_REQUEST; /* requests come in bunches: no test of them */
	by_request = judged(&scene);
	assert_false(by_request->split_tested);
	assert_int_equal(by_request->kind, VERDICT_WINNER);
}

static void a_metric_without_evidence_decides_nothing(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL, *second = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2);
	put(&scene, 0, 5000, 500, 0);
	put(&scene, 1, 5000, 250, 0);
	scene.readings->bases[0].form = FORM_NONE; /* the reward */
	verdict = judged(&scene);
	assert_int_equal(verdict->kind, VERDICT_INCONCLUSIVE);
	assert_non_null(strstr(verdict->why, "nothing is known of how the reward shunt/error-rate varies"));
	scene.readings->evidence[1].present = false;
	second = judged(&scene);
	assert_int_equal(second->kind, VERDICT_INSUFFICIENT_DATA);
}

/* 5,000 requests of two users are two users. */
static void t2_requests_of_few_users_are_no_large_sample(void **state)
{
	const double user[QUANTITY_MAX] = { 1, 2500, 100, 2500, 25000, 0 };
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2);
	put(&scene, 0, 5000, 500, 0);
	put(&scene, 1, 5000, 250, 0);
	scene.readings->evidence[1] = (struct evidence){ .present = true, .unit = UNIT_USER };
	evidence_add(&scene.readings->evidence[1], user);
	evidence_add(&scene.readings->evidence[1], user);
	verdict = judged(&scene);
	assert_int_equal(verdict->kind, VERDICT_INSUFFICIENT_DATA);
	assert_string_equal(verdict->why, "v2 has 2 users, of at least 100");
}

/* 12,500 responses of which 6 % are slow would be sure of a p95 above the limit; 250 users with 50 each are not. */
static void a_percentile_of_few_users_is_wide(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *many = NULL, *few = NULL;

	(void)state;
	scene_open(&scene, TESTING_CONFORMANCE, 1);
	put(&scene, 0, 12500, 0, 0.06 * 12500);
	many = judged(&scene);
	assert_int_equal(many->objectives[0].claim, CLAIM_FAILS);
	put(&scene, 0, 12500, 0, 0.06 * 12500);
	scene.readings->evidence[0].sum[QUANTITY_UNITS] = 250;
	scene.readings->evidence[0].product[QUANTITY_RESPONSES][QUANTITY_RESPONSES] = 250 * 50 * 50;
	few = judged(&scene);
	assert_float_equal(few->objectives[0].estimate.sample, 250, 1e-9);
	assert_int_equal(few->objectives[0].claim, CLAIM_OPEN);
}

/* ---- what assess() makes of it ---- */

static void without_strength_the_readings_decide_and_the_verdict_is_advice(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(assessment_free) struct assessment *advised = NULL, *ruled = NULL;

	(void)state;
	scene_open(&scene, TESTING_AB, 2);
	put(&scene, 0, 5000, 260, 0);
	put(&scene, 1, 5000, 250, 0);
	scene.experiment.strength.given = false;
	assert_int_equal(assess(&scene.experiment, scene.readings, NULL, &advised), 0);
	assert_true(advised->winner_found && advised->recommended == 1 && !advised->final);
	assert_int_equal(advised->verdict->kind, VERDICT_INCONCLUSIVE);

	scene.experiment.strength.given = true;
	assert_int_equal(assess(&scene.experiment, scene.readings, NULL, &ruled), 0);
	assert_false(ruled->winner_found);
	assert_int_equal(ruled->recommended, 0);
	assert_string_equal(ruled->winner_message,
			    "Error: ; Warning: ; Info: Inconclusive: no version is surely better in shunt/error-rate than every other");
}

static void under_strength_a_rollback_has_to_be_sure(void **state)
{
	(void)state;
	for (int sure = 0; sure <= 1; sure++) {
		_cleanup_scene_ struct scene scene;
		_cleanup_(assessment_free) struct assessment *a = NULL;

		scene_open(&scene, TESTING_CANARY, 2);
		scene.objectives[0].rollback_on_failure = true;
		put(&scene, 0, 5000, 0, 0);
		put(&scene, 1, 5000, 0, sure ? 1000 : 260);
		assert_int_equal(assess(&scene.experiment, scene.readings, NULL, &a), 0);
		assert_int_equal(a->objectives[1], OBJECTIVE_VIOLATED);
		assert_int_equal(a->rollback, sure);
	}
}

static void the_status_has_the_evidence(void **state)
{
	_cleanup_scene_ struct scene scene;
	_cleanup_(verdict_free) struct verdict *verdict = NULL;
	_cleanup_json_ json_t *json = NULL;
	const json_t *difference, *objective;

	(void)state;
	scene_open(&scene, TESTING_AB, 2);
	put(&scene, 0, 5000, 500, 0);
	put(&scene, 1, 5000, 250, 0);
	verdict = judged(&scene);
	json = verdict_to_json(&scene.experiment, verdict);
	assert_string_equal(json_string_value(json_object_get(json, "verdict")), "Winner");
	assert_string_equal(json_string_value(json_object_get(json, "winner")), "v2");
	assert_string_equal(json_string_value(json_object_get(json, "confidence")), "950m");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "sample"), "v2")), 5000);
	difference = json_array_get(json_object_get(json, "differences"), 0);
	assert_string_equal(json_string_value(json_object_get(difference, "value")), "-50m");
	assert_string_equal(json_string_value(json_object_get(difference, "better")), "v2");
	objective = json_array_get(json_object_get(json, "objectives"), 1);
	assert_string_equal(json_string_value(json_object_get(objective, "version")), "v2");
	assert_string_equal(json_string_value(json_object_get(objective, "claim")), "holds");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(evidence_gives_the_verdict_of_the_table),
		cmocka_unit_test(a_conformance_experiment_is_about_the_baseline),
		cmocka_unit_test(a_winner_of_three_beats_both),
		cmocka_unit_test(several_statements_share_the_error),
		cmocka_unit_test(a_difference_of_percentiles_is_as_sure_as_any),
		cmocka_unit_test(a_split_that_loses_users_blocks_the_winner),
		cmocka_unit_test(a_metric_without_evidence_decides_nothing),
		cmocka_unit_test(t2_requests_of_few_users_are_no_large_sample),
		cmocka_unit_test(a_percentile_of_few_users_is_wide),
		cmocka_unit_test(without_strength_the_readings_decide_and_the_verdict_is_advice),
		cmocka_unit_test(under_strength_a_rollback_has_to_be_sure),
		cmocka_unit_test(the_status_has_the_evidence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
