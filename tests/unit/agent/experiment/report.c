/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static json_t *problems_of(const struct state *state)
{
	json_t *list = json_array();

	report_problems("default/exp", state, list);
	return list;
}

static const char *message(const json_t *list, size_t i)
{
	return json_string_value(json_object_get(json_array_get(list, i), "message"));
}

static void an_experiment_without_troubles_has_none(void **unused)
{
	_cleanup_(state_free) struct state *state = NULL;
	_cleanup_json_ json_t *list = NULL;

	(void)unused;
	assert_int_equal(state_new(&state), 0);
	state->stage = STAGE_RUNNING;
	state->evidence = json_pack("{s:s, s:{s:i}}", "verdict", "Inconclusive", "sample", "v1", 7);
	list = problems_of(state);
	assert_int_equal(json_array_size(list), 0);
}

static void troubles_are_told_the_first_of_many_missing_values_in_full(void **unused)
{
	_cleanup_(state_free) struct state *state = NULL;
	_cleanup_json_ json_t *list = NULL, *over = NULL;

	(void)unused;
	assert_int_equal(state_new(&state), 0);
	state->stage = STAGE_RUNNING;
	state->evidence = json_pack("{s:i, s:{s:i, s:i}}", "lostUsers", 25, "sample", "v1", 40, "v2", 35);
	state->notes = json_pack("[s]", "a likely mistake");
	json_object_set_new(state->missing, "m v1", json_pack("{s:s, s:s}", "since", "T", "problem", "HTTP 500"));
	json_object_set_new(state->missing, "m v2", json_pack("{s:s, s:s}", "since", "T", "problem", "HTTP 501"));
	state->split.problem = strdup("no route");
	list = problems_of(state);
	assert_int_equal(json_array_size(list), 4);
	assert_string_equal(message(list, 0), "no route");
	assert_string_equal(message(list, 1), "no value of m v1 since T: HTTP 500 (and 1 more; `shunt describe` has them all)");
	assert_memory_equal(message(list, 2), "the evidence is reduced: 25 of 100 users are missing in it", 58);
	assert_string_equal(message(list, 3), "a likely mistake");
	assert_string_equal(json_string_value(json_object_get(json_array_get(list, 0), "where")), "experiment default/exp");

	state->stage = STAGE_COMPLETED; /* what nobody reads any more is missing no longer; the evidence stays reduced */
	over = problems_of(state);
	assert_int_equal(json_array_size(over), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_experiment_without_troubles_has_none),
		cmocka_unit_test(troubles_are_told_the_first_of_many_missing_values_in_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
