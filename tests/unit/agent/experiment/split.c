/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How an experiment divides its users: what it begins with, and what each assessment makes of it. */
#include "experiment/split.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static struct version_detail versions[] = { { .name = (char *)"v1" }, { .name = (char *)"v2" }, { .name = (char *)"v3" } };
static char *const names[] = { (char *)"one", (char *)"two", (char *)"three" };

struct scene {
	struct experiment experiment;
	struct state *state;
};

static int setup(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	s->experiment = (struct experiment){ .testing = TESTING_ABN, .deployment = DEPLOYMENT_PROGRESSIVE, .max_candidate_weight = 100,
					     .max_candidate_weight_increment = 10, .versions = versions, .version_count = 3 };
	state_new(&s->state);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct scene *s = *state;

	state_free(&s->state);
	free(s);
	return 0;
}

static void hold(struct scene *s, const double *percent)
{
	struct split_origin origin = { .route = "default/route", .route_hash = 7, .names = names, .percent = percent };

	assert_int_equal(split_hold(&s->experiment, s->state, &origin), 0);
}

static void assert_weights(struct scene *s, int first, int second, int third)
{
	int weights[3] = {};

	assert_true(split_weights(&s->experiment, s->state, weights));
	assert_int_equal(weights[0], first);
	assert_int_equal(weights[1], second);
	assert_int_equal(weights[2], third);
}

static const char *last_event(const struct scene *s)
{
	return json_string_value(json_array_get(s->state->events, json_array_size(s->state->events) - 1));
}

static void patterns_begin_with_their_own_weights(void **state)
{
	static const double route[] = { 60, 30, 10 };
	static const struct {
		enum deployment_pattern deployment;
		int max;
		int weights[3];
	} cases[] = {
		{ DEPLOYMENT_PROGRESSIVE, 100, { 60, 30, 10 } },
		{ DEPLOYMENT_BLUE_GREEN, 100, { 0, 50, 50 } },
		{ DEPLOYMENT_BLUE_GREEN, 20, { 60, 20, 20 } },
	};
	struct scene *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		s->experiment.deployment = cases[i].deployment;
		s->experiment.max_candidate_weight = cases[i].max;
		hold(s, route);
		assert_weights(s, cases[i].weights[0], cases[i].weights[1], cases[i].weights[2]);
		assert_true(s->state->split.weighted);
	}
	hold(s, NULL);
}

static void a_fixed_split_has_only_its_salt_and_shows_what_is_written(void **state)
{
	static const double route[] = { 60, 30, 10 };
	struct scene *s = *state;
	int weights[] = { 0, 100, 0 };

	s->experiment.deployment = DEPLOYMENT_FIXED_SPLIT;
	hold(s, route);
	assert_true(s->state->split.held && !s->state->split.weighted);
	split_observe(&s->experiment, s->state, route);
	assert_weights(s, 60, 30, 10);
	split_move(&s->experiment, s->state, weights);
	assert_weights(s, 60, 30, 10);
}

static void a_route_that_says_nothing_of_the_versions_has_them_all_on_the_baseline(void **state)
{
	hold(*state, (const double[]){ 0, 0, 0 });
	assert_weights(*state, 100, 0, 0);
}

/* Iter8 takes what it observes, and 100 minus the sum may be negative. */
static void t24_weights_of_any_sum_become_100_per_cent(void **state)
{
	hold(*state, (const double[]){ 60, 20, 0 });
	assert_weights(*state, 75, 25, 0);
	hold(*state, (const double[]){ 100, 100, 100 });
	assert_weights(*state, 34, 33, 33);
	hold(*state, (const double[]){ 0.1, 0, 0 });
	assert_weights(*state, 100, 0, 0);
}

static void a_move_says_who_gains_and_how_many_users_move(void **state)
{
	struct scene *s = *state;

	hold(s, NULL);
	split_steered(s->state, 0, NULL, 0);
	split_move(&s->experiment, s->state, (const int[]){ 87, 10, 3 });
	assert_string_equal(last_event(s), "Weights: v1 100 -> 87 %, v2 0 -> 10 %, v3 0 -> 3 %: 13 % of the users move");
	assert_false(s->state->split.steered);
	assert_true(split_wanted(&s->experiment, s->state, 0));
	split_move(&s->experiment, s->state, (const int[]){ 77, 20, 3 });
	assert_string_equal(last_event(s), "Weights: v1 87 -> 77 %, v2 10 -> 20 %: 10 % of the users move");
	assert_int_equal(s->state->split.changes, 2);
	split_steered(s->state, 0, NULL, 0);
	split_move(&s->experiment, s->state, (const int[]){ 77, 20, 3 }); /* the same again */
	assert_true(s->state->split.steered);
	assert_int_equal(s->state->split.changes, 2);
}

static void more_versions_than_a_split_takes_are_refused(void **state)
{
	struct version_detail many[SHUNT_SHARES + 1];
	struct split_origin origin = { .route = "default/route", .names = names };
	struct scene *s = *state;

	for (size_t v = 0; v <= SHUNT_SHARES; v++)
		many[v] = (struct version_detail){ .name = (char *)"v" };
	s->experiment.versions = many;
	s->experiment.version_count = SHUNT_SHARES + 1;
	assert_int_equal(split_hold(&s->experiment, s->state, &origin), -E2BIG);
	assert_false(s->state->split.held);
}

static void t6_t7_weights_go_by_name_and_not_by_position(void **state)
{
	static struct version_detail turned[] = { { .name = (char *)"v1" }, { .name = (char *)"v3" }, { .name = (char *)"v2" } };
	struct scene *s = *state;

	hold(s, (const double[]){ 60, 30, 10 });
	s->experiment.versions = turned;
	assert_weights(s, 60, 10, 30);
	split_move(&s->experiment, s->state, (const int[]){ 50, 20, 30 }); /* it is of other versions: not the split's business */
	assert_weights(s, 60, 10, 30);
	assert_true(split_wanted(&s->experiment, s->state, 0)); /* and is taken anew */
	assert_false(s->state->split.held);
}

static void the_entry_is_that_of_the_field_path(void **state)
{
	static const struct {
		const char *path;
		int entry;
	} cases[] = {
		{ ".spec.http[0].route[1].weight", 0 },
		{ ".spec.http[12].route[0].weight", 12 },
		{ ".spec.tcp[3].route[0].weight", 3 },
		{ ".spec.rules[1].backendRefs[1].weight", 1 },
		{ ".spec.template", -1 },
		{ NULL, -1 },
	};
	struct version_detail with_path[2] = { { .name = (char *)"v1" }, { .name = (char *)"v2" } };
	struct experiment experiment = { .versions = with_path, .version_count = 2 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		with_path[1].weight_obj_ref = cases[i].path ? json_pack("{s:s}", "fieldPath", cases[i].path) : NULL;
		assert_int_equal(split_entry(&experiment), cases[i].entry);
		json_decref(with_path[1].weight_obj_ref);
	}
}

static void a_failure_is_said_once_and_tried_again_later(void **state)
{
	struct scene *s = *state;
	size_t events;

	split_steered(s->state, -ENOENT, "no route has it", 5000);
	assert_string_equal(last_event(s), "WeightRedistributionFailed: Users are steered as before; it is tried again every interval: no route has it");
	events = json_array_size(s->state->events);
	assert_false(split_wanted(&s->experiment, s->state, 4999));
	assert_true(split_wanted(&s->experiment, s->state, 5000));
	split_steered(s->state, -ENOENT, "no route has it", 10000);
	assert_int_equal(json_array_size(s->state->events), events);
	split_steered(s->state, 0, NULL, 0);
	assert_null(s->state->split.problem);
}

static void conformance_divides_nothing(void **state)
{
	struct scene *s = *state;

	s->experiment.testing = TESTING_CONFORMANCE;
	assert_false(split_wanted(&s->experiment, s->state, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(patterns_begin_with_their_own_weights),
		T(a_fixed_split_has_only_its_salt_and_shows_what_is_written),
		T(a_route_that_says_nothing_of_the_versions_has_them_all_on_the_baseline),
		T(t24_weights_of_any_sum_become_100_per_cent),
		T(a_move_says_who_gains_and_how_many_users_move),
		T(more_versions_than_a_split_takes_are_refused),
		T(t6_t7_weights_go_by_name_and_not_by_position),
		T(the_entry_is_that_of_the_field_path),
		T(a_failure_is_said_once_and_tried_again_later),
		T(conformance_divides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
