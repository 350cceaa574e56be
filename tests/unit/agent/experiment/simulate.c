/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How often whole experiments are wrong, and how soon they are right. Seeds are fixed: a run is the same every time. */
#include "experiment/simulate.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static struct version_detail versions[] = { { .name = (char *)"v1" }, { .name = (char *)"v2" }, { .name = (char *)"v3" } };
static struct reward rewards[] = { { (char *)"shunt/error-rate", true } }; /* a rate; that more is better here makes an effect upwards a good one */

/* 100 iterations, no objectives. */
static struct experiment ab(bool strength)
{
	return (struct experiment){
		.meta = { .ns = (char *)"default", .name = (char *)"e" },
		.target = (char *)"t",
		.testing = TESTING_AB,
		.deployment = DEPLOYMENT_FIXED_SPLIT,
		.rewards = rewards,
		.reward_count = 1,
		.versions = versions,
		.version_count = 2,
		.interval_seconds = 10,
		.iterations_per_loop = 100,
		.max_loops = 1,
		.strength = { .given = strength },
	};
}

static void run(const struct experiment *e, const struct simulate_options *options, struct simulate_result *ret_result)
{
	static const struct world world;
	_cleanup_free_ char *problem = NULL;

	assert_int_equal(simulate(&world, e, options, ret_result, &problem), 0);
}

/* Of all runs, those with this decision (and winner; -2: any). */
static double share_of(const struct simulate_result *result, const char *decision, int version)
{
	double all = 0, some = 0;

	for (size_t i = 0; i < result->outcome_count; i++) {
		const struct simulate_outcome *outcome = &result->outcomes[i];

		all += outcome->runs;
		if (strcmp(outcome->decision, decision) == 0 && (version == -2 || outcome->version == version))
			some += outcome->runs;
	}
	return some / all;
}

static const struct simulate_options aa = { .runs = 2000, .seed = 11, .users = 200, .requests = 1, .error_rate = 0.05, .latency_ms = 100, .conversion_rate = 0.1 };

static void equal_versions_have_a_winner_in_at_most_5_percent(void **state)
{
	struct experiment e = ab(true), iter8 = ab(false);
	struct simulate_options clustered = aa;
	struct simulate_result result;
	double wrong;

	(void)state;
	run(&e, &aa, &result);
	wrong = share_of(&result, "Winner", -2);
	print_message("             A/A, 2,000 runs of 100 looks, 95 %%: a winner in %.2f %%\n", 100 * wrong);
	assert_true(wrong <= 0.05);
	assert_true(fabs(share_of(&result, "Inconclusive", -1) + wrong - 1) < 1e-9);
	simulate_clear(&result);

	clustered.requests = 5;
	run(&e, &clustered, &result);
	wrong = share_of(&result, "Winner", -2);
	print_message("             the same with 5 requests a user: %.2f %%\n", 100 * wrong);
	assert_true(wrong <= 0.05);
	simulate_clear(&result);

	run(&iter8, &aa, &result);
	print_message("             by Iter8's comparison of the last readings: a winner in %.1f %%, the candidate in %.1f %%\n",
		      100 * share_of(&result, "Winner", -2), 100 * share_of(&result, "Winner", 1));
	assert_true(share_of(&result, "Winner", 1) > 0.4);
	simulate_clear(&result);
}

/* Latency as reward is skewed, and low is better. */
static void equal_latencies_have_a_winner_in_at_most_5_percent(void **state)
{
	struct reward latency[] = { { (char *)"shunt/mean-latency", false } };
	struct experiment e = ab(true);
	struct simulate_options options = aa;
	struct simulate_result result;

	(void)state;
	options.requests = 3;
	e.rewards = latency;
	run(&e, &options, &result);
	print_message("             A/A by mean latency: a winner in %.2f %%\n", 100 * share_of(&result, "Winner", -2));
	assert_true(share_of(&result, "Winner", -2) <= 0.05);
	simulate_clear(&result);
}

/* 80,000 users for each version, 5 % and 5.5 %. */
static const struct simulate_options planned = {
	.runs = 500, .seed = 12, .users = 1600, .requests = 1, .error_rate = 0.05, .latency_ms = 100, .error_effect = 0.1,
};

static void an_effect_of_10_percent_on_5_percent_is_found(void **state)
{
	struct experiment e = ab(true);
	struct simulate_result result;
	double found;

	(void)state;
	e.strength.maximum_sample = 80000;
	run(&e, &planned, &result);
	found = share_of(&result, "Winner", 1);
	print_message("             +10 %% on 5 %% with 80,000 users each: found in %.1f %%, a wrong winner in %.1f %%\n", 100 * found,
		      100 * share_of(&result, "Winner", 0));
	assert_true(found >= 0.9);
	assert_true(fabs(share_of(&result, "NoDifference", -1) + found + share_of(&result, "Winner", 0) - 1) < 1e-9);
	simulate_clear(&result);
}

static void twice_the_planned_effect_ends_the_experiment_early(void **state)
{
	struct experiment e = ab(true);
	struct simulate_options options = planned;
	struct simulate_result result;

	(void)state;
	e.strength.maximum_sample = 80000;
	options.error_effect = 0.2;
	run(&e, &options, &result);
	print_message("             twice the effect: ends at %.0f %% of the planned users (median), %.0f %% (90th percentile)\n", result.outcomes[0].iteration[1],
		      result.outcomes[0].iteration[2]);
	assert_string_equal(result.outcomes[0].decision, "Winner");
	assert_int_equal(result.outcomes[0].version, 1);
	assert_int_equal(result.outcomes[0].runs, options.runs);
	assert_true(result.outcomes[0].iteration[1] < 40);
	simulate_clear(&result);
}

static void lost_users_are_a_wrong_split(void **state)
{
	struct experiment e = ab(true);
	struct simulate_options options = planned;
	struct simulate_result result;

	(void)state;
	options.runs = 50;
	options.loss = 0.05;
	options.error_effect = 0;
	run(&e, &options, &result);
	assert_true(share_of(&result, "SampleRatioMismatch", -1) >= 0.95);
	simulate_clear(&result);
}

/* Through all stages with weights that change: the candidate ends with nearly all users. */
static void a_progressive_experiment_is_simulated_with_its_weights(void **state)
{
	struct experiment e = ab(true);
	struct simulate_options options = planned;
	struct simulate_result result;

	(void)state;
	e.deployment = DEPLOYMENT_PROGRESSIVE;
	e.max_candidate_weight = 100;
	e.max_candidate_weight_increment = 10;
	options.runs = 50;
	options.error_effect = 0.3;
	run(&e, &options, &result);
	assert_true(share_of(&result, "Winner", 1) >= 0.95);
	simulate_clear(&result);
}

static void an_experiment_that_cannot_run_says_why(void **state)
{
	static const struct world world;
	struct reward unknown[] = { { (char *)"user-engagement", true } };
	_cleanup_free_ char *problem = NULL;
	struct experiment e = ab(true);
	struct simulate_result result;

	(void)state;
	e.rewards = unknown;
	assert_int_equal(simulate(&world, &e, &aa, &result, &problem), -22);
	assert_non_null(strstr(problem, "Unable to find metric user-engagement"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal_versions_have_a_winner_in_at_most_5_percent),
		cmocka_unit_test(equal_latencies_have_a_winner_in_at_most_5_percent),
		cmocka_unit_test(an_effect_of_10_percent_on_5_percent_is_found),
		cmocka_unit_test(twice_the_planned_effect_ends_the_experiment_early),
		cmocka_unit_test(lost_users_are_a_wrong_split),
		cmocka_unit_test(a_progressive_experiment_is_simulated_with_its_weights),
		cmocka_unit_test(an_experiment_that_cannot_run_says_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
