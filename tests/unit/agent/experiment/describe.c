/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/describe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "world/yaml.h"

static struct version_detail versions[] = { { .name = (char *)"flowers-v1" }, { .name = (char *)"flowers-v2" } };
static struct reward reward = { (char *)"iter8-kfserving/user-engagement", true };
static struct objective objectives[] = {
	{ .metric = (char *)"iter8-kfserving/mean-latency", .has_upper = true, .upper = 2000 },
	{ .metric = (char *)"iter8-kfserving/95th-percentile-tail-latency", .has_upper = true, .upper = 5000 },
	{ .metric = (char *)"iter8-kfserving/error-rate", .has_upper = true, .has_lower = true, .upper = 0.01, .lower = -0.5 },
};
static const struct experiment tutorial = {
	.meta = { .ns = (char *)"default", .name = (char *)"session-affinity-exp" },
	.target = (char *)"flowers",
	.testing = TESTING_AB,
	.deployment = DEPLOYMENT_FIXED_SPLIT,
	.versions = versions,
	.version_count = 2,
	.rewards = &reward,
	.reward_count = 1,
	.objectives = objectives,
	.objective_count = 3,
};

/* reference/iter8.md section 7.2, with numbers of section 2.4 that round up. */
static const char status_yaml[] =
	"stage: Completed\ncompletedIterations: 10\nmessage: 'ExperimentCompleted: Experiment Completed'\nversionRecommendedForPromotion: flowers-v2\n"
	"metrics:\n"
	"- {name: iter8-kfserving/request-count, metricObj: {spec: {type: Counter}}}\n"
	"- {name: iter8-kfserving/user-engagement, metricObj: {spec: {}}}\n"
	"- {name: iter8-kfserving/mean-latency, metricObj: {spec: {units: milliseconds}}}\n"
	"analysis:\n"
	"  aggregatedMetrics:\n    data:\n"
	"      iter8-kfserving/request-count: {data: {flowers-v1: {value: 315180m}, flowers-v2: {value: 45021m}}}\n"
	"      iter8-kfserving/user-engagement: {data: {flowers-v1: {value: 10023m}, flowers-v2: {value: 14737m}}}\n"
	"      iter8-kfserving/mean-latency: {data: {flowers-v1: {value: 90846332047n}, flowers-v2: {}}}\n"
	"  versionAssessments: {data: {flowers-v1: [true, true, true], flowers-v2: [false, true]}}\n"
	"  winnerAssessment: {data: {winner: flowers-v2, winnerFound: true}}\n"
	"shunt: {missing: {iter8-kfserving/mean-latency flowers-v2: {since: '2021-06-09T17:04:56Z', problem: 'HTTP 500: no', attempts: 4}},"
	" retried: {iter8-kfserving/mean-latency flowers-v1: {attempts: 2, problem: 'HTTP 503: soon'}}}\n";

static const char golden[] =
	"\n****** Overview ******\n"
	"Experiment name: session-affinity-exp\n"
	"Experiment namespace: default\n"
	"Target: flowers\n"
	"Testing pattern: A/B\n"
	"Deployment pattern: FixedSplit\n"
	"\n****** Progress Summary ******\n"
	"Experiment stage: Completed\n"
	"Number of completed iterations: 10\n"
	"Last event: ExperimentCompleted: Experiment Completed\n"
	"\n****** Winner Assessment ******\n"
	"App versions in this experiment: [flowers-v1 flowers-v2]\n"
	"Winning version: flowers-v2\n"
	"Version recommended for promotion: flowers-v2\n"
	"\n****** Reward Assessment ******\n"
	"> Identifies values of reward metrics for each version. The best version is marked with a '*'.\n"
	"+-------------------------------------------------+------------+------------+\n"
	"|                     REWARD                      | FLOWERS-V1 | FLOWERS-V2 |\n"
	"+-------------------------------------------------+------------+------------+\n"
	"| iter8-kfserving/user-engagement (higher better) |     10.023 | 14.737 *   |\n"
	"+-------------------------------------------------+------------+------------+\n"
	"\n****** Objective Assessment ******\n"
	"> Identifies whether or not the experiment objectives are satisfied by the most recently observed metrics values for each version.\n"
	"+----------------------------------------------------------+------------+-------------+\n"
	"|                        OBJECTIVE                         | FLOWERS-V1 | FLOWERS-V2  |\n"
	"+----------------------------------------------------------+------------+-------------+\n"
	"| iter8-kfserving/mean-latency <= 2000.000                 | true       | false       |\n"
	"+----------------------------------------------------------+------------+-------------+\n"
	"| iter8-kfserving/95th-percentile-tail-latency <= 5000.000 | true       | true        |\n"
	"+----------------------------------------------------------+------------+-------------+\n"
	"| -0.500 <= iter8-kfserving/error-rate <= 0.010            | true       | unavailable |\n"
	"+----------------------------------------------------------+------------+-------------+\n"
	"\n****** Metrics Assessment ******\n"
	"> Most recently read values of experiment metrics for each version.\n"
	"+---------------------------------------------+------------+-------------+\n"
	"|                   METRIC                    | FLOWERS-V1 | FLOWERS-V2  |\n"
	"+---------------------------------------------+------------+-------------+\n"
	"| iter8-kfserving/request-count               |    315.180 |      45.021 |\n"
	"+---------------------------------------------+------------+-------------+\n"
	"| iter8-kfserving/user-engagement             |     10.023 |      14.737 |\n"
	"+---------------------------------------------+------------+-------------+\n"
	"| iter8-kfserving/mean-latency (milliseconds) |     90.847 | unavailable |\n"
	"+---------------------------------------------+------------+-------------+\n"
	"\n****** Missing Values ******\n"
	"iter8-kfserving/mean-latency flowers-v2: HTTP 500: no (since 2021-06-09T17:04:56Z; asked 4 times in the last iteration)\n"
	"\n****** Values That Had To Be Asked For Again ******\n"
	"iter8-kfserving/mean-latency flowers-v1: attempt 2 had it, the one before: HTTP 503: soon\n";

static json_t *yaml(const char *text)
{
	struct yaml_document *documents;
	json_t *root;
	size_t count;

	assert_int_equal(yaml_parse(text, strlen(text), &documents, &count), 0);
	assert_int_equal(count, 1);
	assert_non_null(documents[0].root);
	root = json_incref(documents[0].root);
	yaml_documents_free(documents, count);
	return root;
}

static char *printed(const struct experiment *experiment, const json_t *status)
{
	_cleanup_json_ json_t *document = describe(experiment, status);
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(document);
	assert_int_equal(describe_print(out, document), 0);
	fclose(out);
	return text;
}

static void the_tutorial_reads_as_iter8ctl_prints_it(void **state)
{
	_cleanup_json_ json_t *status = yaml(status_yaml);
	_cleanup_free_ char *text = printed(&tutorial, status);

	(void)state;
	assert_string_equal(text, golden);
}

/* iter8ctl marks the last version, whichever is best. */
static void t11_the_star_marks_the_best_version_wherever_it_is(void **state)
{
	_cleanup_json_ json_t *status = yaml(status_yaml);
	struct reward lower = { reward.metric, false };
	struct experiment other = tutorial;
	_cleanup_free_ char *text = NULL;

	(void)state;
	other.rewards = &lower;
	text = printed(&other, status);
	assert_non_null(strstr(text, "| iter8-kfserving/user-engagement (lower better) | 10.023 *   |     14.737 |\n"));
}

static void an_experiment_that_has_not_begun_has_only_its_overview(void **state)
{
	_cleanup_free_ char *text = printed(&tutorial, NULL);

	(void)state;
	assert_non_null(strstr(text, "****** Progress Summary ******\nNumber of completed iterations: 0\n"));
	assert_null(strstr(text, "Winner"));
	assert_null(strstr(text, "Experiment stage"));
}

static void patterns_explain_their_winner(void **state)
{
	_cleanup_json_ json_t *status = yaml("{stage: Running, completedIterations: 1, versionRecommendedForPromotion: flowers-v1}");
	struct experiment canary = tutorial, conformance = tutorial;
	_cleanup_free_ char *canary_text = NULL, *conformance_text = NULL;

	(void)state;
	canary.testing = TESTING_CANARY;
	conformance.testing = TESTING_CONFORMANCE;
	conformance.version_count = 1;
	canary_text = printed(&canary, status);
	conformance_text = printed(&conformance, status);
	assert_non_null(strstr(canary_text, "> If the candidate version satisfies the experiment objectives, then it is the winner.\n"));
	assert_non_null(strstr(canary_text, "Winning version: not found\nVersion recommended for promotion: flowers-v1\n"));
	assert_non_null(strstr(conformance_text, "> Otherwise, there is no winner.\nWinning version: not found\n\n"));
	assert_null(strstr(conformance_text, "App versions"));
}

static void the_document_has_numbers_and_nulls(void **state)
{
	_cleanup_json_ json_t *status = yaml(status_yaml), *document = describe(&tutorial, status);
	json_t *latency = json_object_get(json_array_get(json_object_get(document, "metrics"), 2), "values");

	(void)state;
	assert_true(json_real_value(json_array_get(latency, 0)) == 90.847);
	assert_true(json_is_null(json_array_get(latency, 1)));
	assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(document, "rewards"), 0), "best")), "flowers-v2");
}

static const char evidence_yaml[] =
	"stage: Running\ncompletedIterations: 3\n"
	"shunt:\n  evidence:\n    verdict: Inconclusive\n    why: it may be nothing\n    rule: true\n    unit: request\n    confidence: 950m\n    splitPValue: 12m\n"
	"    lostUsers: 7\n    sample: {flowers-v1: 5000, flowers-v2: 4900}\n"
	"    differences: [{metric: iter8-kfserving/95th-percentile-tail-latency, version: flowers-v2, minus: flowers-v1, value: -5m, low: -12m, high: 2m}]\n"
	"    objectives:\n    - {metric: mean-latency, version: flowers-v1, claim: holds, value: '90', low: '80', high: '100'}\n"
	"    - {metric: p95, version: flowers-v2, claim: open, value: 4k, low: 3k}\n    - {metric: engagement, version: flowers-v2, claim: unknown}\n";

static const char evidence_golden[] =
	"\n****** Evidence ******\n"
	"> Whether it is more than chance; valid at every iteration (docs/statistics.md).\n"
	"Verdict: Inconclusive (it decides: criteria.strength)\n"
	"Because: it may be nothing\n"
	"Sample: flowers-v1 5000 requests, flowers-v2 4900 requests\n"
	"Split of the users: as configured (p = 0.012)\n"
	"NOTE: the evidence is reduced: 7 of 9907 users are missing in it, because the kernel's table of users was full (`shunt run --users` makes it larger); "
	"the split is not tested without them\n"
	"Note: every request counts as independent. Requests of one user are not, so intervals by request are too narrow when users are few.\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n"
	"|                   EVIDENCE                    | VALUE  |    95 % SURE    |     RESULT     |\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n"
	"| iter8-kfserving/95th-percentile-tail-latency, | -0.005 | -0.012 to 0.002 | may be nothing |\n"
	"| flowers-v2 minus flowers-v1                   |        |                 |                |\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n"
	"| mean-latency of flowers-v1                    |     90 | 80 to 100       | surely inside  |\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n"
	"| p95 of flowers-v2                             |   4000 | 3000 or more    | may be either  |\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n"
	"| engagement of flowers-v2                      | -      | -               | no evidence    |\n"
	"+-----------------------------------------------+--------+-----------------+----------------+\n";

static void the_evidence_is_readable(void **state)
{
	_cleanup_json_ json_t *status = yaml(evidence_yaml), *document = describe(&tutorial, status);
	_cleanup_free_ char *text = printed(&tutorial, status);
	const char *section = strstr(text, "\n****** Evidence");

	(void)state;
	assert_non_null(section);
	assert_string_equal(section, evidence_golden);
	assert_true(json_real_value(json_object_get(json_object_get(document, "evidence"), "confidence")) == 0.95);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_evidence_is_readable),
		cmocka_unit_test(the_tutorial_reads_as_iter8ctl_prints_it),
		cmocka_unit_test(t11_the_star_marks_the_best_version_wherever_it_is),
		cmocka_unit_test(an_experiment_that_has_not_begun_has_only_its_overview),
		cmocka_unit_test(patterns_explain_their_winner),
		cmocka_unit_test(the_document_has_numbers_and_nulls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
