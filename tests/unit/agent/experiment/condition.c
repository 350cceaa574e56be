/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/condition.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static json_t *experiment(const char *winner, int candidates)
{
	json_t *document = json_pack("{s:{s:s, s:s}, s:{s:s, s:{s:[]}}, s:{s:s, s:i, s:{s:{s:{s:b}}}}}", "metadata", "name", "exp", "namespace", "prod", "spec", "target",
				     "flowers", "versionInfo", "candidates", "status", "stage", "Finishing", "completedIterations", 10, "analysis",
				     "winnerAssessment", "data", "winnerFound", winner != NULL);
	json_t *list = json_object_get(json_object_get(json_object_get(document, "spec"), "versionInfo"), "candidates");
	json_t *analysis = json_object_get(json_object_get(document, "status"), "analysis");

	for (int i = 0; i < candidates; i++)
		json_array_append_new(list, json_pack("{s:s}", "name", i ? "v3" : "v2"));
	if (winner)
		json_object_set_new(json_object_get(json_object_get(analysis, "winnerAssessment"), "data"), "winner", json_string(winner));
	return document;
}

static const struct {
	const char *text, *winner;
	int candidates;
	int want; /* 0, 1; -1: an error */
} rows[] = {
	{ "WinnerFound()", "v1", 1, 1 },
	{ "WinnerFound()", NULL, 1, 0 },
	{ "CandidateWon()", "v2", 1, 1 },
	{ "CandidateWon()", "v1", 1, 0 },
	{ "CandidateWon()", "v2", 2, 0 }, /* exactly one candidate */
	{ "not CandidateWon()", "v1", 1, 1 },
	{ "!CandidateWon()", "v2", 1, 0 },
	{ "WinnerFound() and not CandidateWon()", "v1", 1, 1 },
	{ "WinnerFound() && CandidateWon()", "v1", 1, 0 },
	{ "CandidateWon() or WinnerFound()", "v1", 1, 1 },
	{ "true or false and false", NULL, 1, 1 }, /* and binds closer */
	{ "(true or false) and false", NULL, 1, 0 },
	{ "not not true", NULL, 1, 1 },
	{ "Status.Stage == \"Finishing\"", NULL, 1, 1 },
	{ "status.completedIterations >= 10", NULL, 1, 1 },
	{ "Status.CompletedIterations < 10.5 && Spec.Target != 'roses'", NULL, 1, 1 },
	{ "Namespace == 'prod'", NULL, 1, 1 },
	{ "Status.Nothing.Here == 'x'", NULL, 1, 0 },
	{ "Status.Stage", NULL, 1, -1 },
	{ "Spec.Target > 3", NULL, 1, 0 },
	{ "Won()", NULL, 1, -1 },
	{ "", NULL, 1, -1 },
	{ "true true", NULL, 1, -1 },
	{ "(true", NULL, 1, -1 },
	{ "not 3", NULL, 1, -1 },
	{ "true and 3", NULL, 1, -1 },
	{ "'a", NULL, 1, -1 },
	{ "not not not not not not not not not not not not not not not not not not not not not not not not not not not not not not not not not true", NULL, 1, -1 },
};

static void conditions_are_those_of_iter8(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *document = experiment(rows[i].winner, rows[i].candidates);
		_cleanup_free_ char *problem = NULL;
		bool holds = false;
		int r = condition_holds(rows[i].text, document, &holds, &problem);

		if (r != (rows[i].want < 0 ? -EINVAL : 0) || (r == 0 && holds != rows[i].want))
			fail_msg("%s: result %d, holds %d, problem %s", rows[i].text, r, holds, problem ?: "none");
		assert_int_equal(problem != NULL, r < 0);
	}
}

static void a_condition_is_checked_without_an_experiment(void **state)
{
	static const char *const unknown[] = { "Stage == 'x'", "Status.STAGE == 'x'", "spec.targets == 'x'", "WinnerFound == true" };
	_cleanup_free_ char *problem = NULL;
	bool holds;

	(void)state;
	assert_int_equal(condition_holds("Status.Stage == 'Running' and WinnerFound()", NULL, &holds, &problem), 0);
	assert_int_equal(condition_holds("Namespace == 'prod' and metadata.labels.x == 'y' and Status.Analysis.WinnerAssessment.Any == 1", NULL, &holds, &problem), 0);
	for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
		_cleanup_free_ char *why = NULL;

		assert_int_equal(condition_holds(unknown[i], NULL, &holds, &why), -EINVAL);
		assert_memory_equal(why, "an Experiment has no field ", 27);
	}
	assert_int_equal(condition_holds("WinnerFond()", NULL, &holds, &problem), -EINVAL);
	assert_memory_equal(problem, "an unknown function at \"WinnerFond()\" of \"WinnerFond()\"; allowed: ", 65);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(conditions_are_those_of_iter8),
		cmocka_unit_test(a_condition_is_checked_without_an_experiment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
