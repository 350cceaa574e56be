/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The plan of an experiment, against textbook numbers and against the experiment itself in simulation. */
#include "experiment/power.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "experiment/simulate.h"

static struct power_plan rate_plan(double baseline, double effect, double power)
{
	double candidate = baseline * (1 + effect);

	return (struct power_plan){
		.baseline_mean = baseline, .baseline_variance = baseline * (1 - baseline), .candidate_mean = candidate,
		.candidate_variance = candidate * (1 - candidate), .share = 0.5, .confidence = 0.95, .power = power, .looks = 100,
	};
}

/* (1.959964 + 0.841621)^2 = 7.848880; 16 s^2 / d^2 is the rule of thumb for it (Kohavi, Tang, Xu 2020, eq. 15.5, as n for each version). */
static void one_look_needs_the_textbook_number(void **state)
{
	struct power_plan plan = rate_plan(0.05, 0.1, 0.8);
	struct power_result result;
	double each = 7.848880 * (0.05 * 0.95 + 0.055 * 0.945) / (0.005 * 0.005);

	(void)state;
	power_calculate(&plan, &result);
	assert_true(fabs(result.fixed_users - 2 * each) < 2);
	assert_true(fabs(each / (16 * 0.05 * 0.95 / (0.005 * 0.005)) - 1) < 0.05);
}

static void looking_at_any_time_costs_users_at_the_end_and_saves_them_on_the_way(void **state)
{
	struct power_plan plan = rate_plan(0.05, 0.1, 0.8);
	struct power_result result;

	(void)state;
	power_calculate(&plan, &result);
	assert_true(result.users > result.fixed_users && result.users < 2 * result.fixed_users);
	assert_true(result.median_end < 0.8);
	assert_true(result.median_end_double < 0.4);
	assert_true(result.maximum_sample == ceil(result.users / 2));
}

/* A candidate with a tenth of the users needs more of them in all. */
static void an_uneven_split_needs_more_users(void **state)
{
	struct power_plan plan = rate_plan(0.05, 0.1, 0.8);
	struct power_result even, uneven;

	(void)state;
	power_calculate(&plan, &even);
	plan.share = 0.1;
	power_calculate(&plan, &uneven);
	assert_true(uneven.users > 2 * even.users);
	assert_true(uneven.maximum_sample == ceil(uneven.users * 0.1));
}

static void the_planned_experiment_finds_the_effect_as_often_as_planned(void **state)
{
	static struct version_detail versions[] = { { .name = (char *)"v1" }, { .name = (char *)"v2" } };
	static struct reward reward = { (char *)"shunt/error-rate", true };
	static const struct world world;
	struct power_plan plan = rate_plan(0.05, 0.1, 0.9);
	struct simulate_result simulated;
	struct power_result result;
	double found = 0;
	char *problem;

	(void)state;
	power_calculate(&plan, &result);
	assert_int_equal(simulate(&world,
				  &(struct experiment){ .meta = { .ns = (char *)"default", .name = (char *)"e" }, .target = (char *)"t", .testing = TESTING_AB,
							.deployment = DEPLOYMENT_FIXED_SPLIT, .rewards = &reward, .reward_count = 1, .versions = versions,
							.version_count = 2, .interval_seconds = 10, .iterations_per_loop = 100, .max_loops = 1,
							.strength = { .given = true, .maximum_sample = (int64_t)result.maximum_sample } },
				  &(struct simulate_options){ .runs = 1000, .seed = 3, .users = (unsigned int)(result.users / 100), .requests = 1, .error_rate = 0.05,
							      .latency_ms = 10, .error_effect = 0.1 },
				  &simulated, &problem),
			 0);
	for (size_t i = 0; i < simulated.outcome_count; i++)
		found += simulated.outcomes[i].version == 1 ? simulated.outcomes[i].runs / 1000.0 : 0;
	print_message("             planned for 90 %% with %.0f users each: found in %.1f %%\n", result.maximum_sample, 100 * found);
	assert_true(fabs(found - 0.9) < 0.03);
	simulate_clear(&simulated);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_look_needs_the_textbook_number),
		cmocka_unit_test(looking_at_any_time_costs_users_at_the_end_and_saves_them_on_the_way),
		cmocka_unit_test(an_uneven_split_needs_more_users),
		cmocka_unit_test(the_planned_experiment_finds_the_effect_as_often_as_planned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
