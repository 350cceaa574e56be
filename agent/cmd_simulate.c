/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt simulate MANIFESTS: an experiment against users that are made up, thousands of times. Needs no agent and no root. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datapath/datapath.h"
#include "experiment/simulate.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"
#include "world/world.h"

struct simulate_cmd_options {
	struct cmd_common common;
	struct simulate_options simulate;
	unsigned int seed;
	const char *name;
};

static const struct simulate_cmd_options defaults = {
	.common = CMD_COMMON_DEFAULTS,
	.simulate = { .runs = 2000, .users = 1000, .requests = 3, .error_rate = 0.01, .latency_ms = 100, .conversion_rate = 0.05 },
	.seed = 1,
};

#define OPTION(member) offsetof(struct simulate_cmd_options, member)

static const struct cmd_option cmd_options[] = {
	{ "name", 'n', CMD_STRING, "NAME", "of the experiment, when there are several", OPTION(name) },
	{ "runs", 'r', CMD_NUMBER, "N", "experiments (2000)", OPTION(simulate.runs) },
	{ "users", 'u', CMD_NUMBER, "N", "new users in each iteration, over all versions (1000)", OPTION(simulate.users) },
	{ "requests", 0, CMD_REAL, "N", "of a user, on average (3)", OPTION(simulate.requests) },
	{ "share", 's', CMD_REAL, "FRACTION", "of the users for each candidate under FixedSplit; absent: even", OPTION(simulate.share) },
	{ "error-rate", 0, CMD_REAL, "RATE", "of requests (0.01)", OPTION(simulate.error_rate) },
	{ "latency", 0, CMD_REAL, "MS", "mean (100)", OPTION(simulate.latency_ms) },
	{ "conversion-rate", 0, CMD_REAL, "RATE", "of users, also read by metrics of providers (0.05)", OPTION(simulate.conversion_rate) },
	{ "error-effect", 0, CMD_REAL, "FRACTION", "of the candidates on the error rate: 0.1 is 10 % more (0)", OPTION(simulate.error_effect) },
	{ "latency-effect", 0, CMD_REAL, "FRACTION", "of the candidates on the latency (0)", OPTION(simulate.latency_effect) },
	{ "conversion-effect", 'e', CMD_REAL, "FRACTION", "of the candidates on the conversion rate (0)", OPTION(simulate.conversion_effect) },
	{ "loss", 0, CMD_REAL, "FRACTION", "of the candidates' users that get lost on the way (0)", OPTION(simulate.loss) },
	{ "seed", 0, CMD_NUMBER, "N", "of the random numbers: the same seed gives the same result (1)", OPTION(seed) },
};

static const struct experiment *find_experiment(const struct world *world, const char *path, const char *name)
{
	const struct experiment *found = NULL;
	size_t count = 0;

	for (size_t i = 0; i < world->experiment_count; i++) {
		if (name && strcmp(world->experiments[i].meta.name, name) != 0)
			continue;
		found = &world->experiments[i];
		count++;
	}
	if (count == 1)
		return found;
	log_err(0, "shunt simulate: %s has %zu Experiments%s%s; exactly one is simulated%s", path, count, name ? " of the name " : "", name ?: "",
		count > 1 && !name ? ", --name NAME says which" : "");
	return NULL;
}

static bool check_rates(const struct simulate_options *o)
{
	const struct {
		const char *name;
		double value, most;
	} rates[] = {
		{ "error-rate", o->error_rate, 1 },
		{ "conversion-rate", o->conversion_rate, 1 },
		{ "error rate with its effect", o->error_rate * (1 + o->error_effect), 1 },
		{ "conversion rate with its effect", o->conversion_rate * (1 + o->conversion_effect), 1 },
		{ "loss", o->loss, 0.99 },
		{ "share", o->share, 0.99 },
		{ "latency in ms", o->latency_ms, 1e6 },
		{ "latency with its effect", o->latency_ms * (1 + o->latency_effect), 1e6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		if (rates[i].value >= 0 && rates[i].value <= rates[i].most)
			continue;
		log_err(0, "shunt simulate: %s: found %g, allowed are 0 to %g", rates[i].name, rates[i].value, rates[i].most);
		return false;
	}
	if (o->runs > 0 && o->users > 0 && o->requests >= 1 && o->requests <= 100)
		return true;
	log_err(0, "shunt simulate: --runs and --users have to be 1 or more, --requests 1 to 100");
	return false;
}

static json_t *outcomes_json(const struct experiment *e, const struct simulate_options *o, const struct simulate_result *result)
{
	json_t *list = json_array();

	for (size_t i = 0; i < result->outcome_count; i++) {
		const struct simulate_outcome *outcome = &result->outcomes[i];

		json_array_append_new(list, json_pack("{s:s, s:s?, s:i, s:f, s:i, s:i, s:i, s:I}", "decision", outcome->decision, "version",
						      outcome->version < 0 ? NULL : e->versions[outcome->version].name, "runs", (int)outcome->runs, "share",
						      (double)outcome->runs / o->runs, "iteration_p10", (int)outcome->iteration[0], "iteration_median",
						      (int)outcome->iteration[1], "iteration_p90", (int)outcome->iteration[2], "users_median",
						      (json_int_t)outcome->iteration[1] * o->users));
	}
	return list;
}

static const struct emit_column head[] = {
	{ "experiment", "Experiment", EMIT_TEXT },
	{ "rule", "Decided by", EMIT_TEXT },
	{ "iterations", "Iterations at most", EMIT_TEXT },
	{ "users_per_iteration", "Users in each", EMIT_TEXT },
	{ "runs", "Runs", EMIT_TEXT },
};

static const struct emit_column columns[] = {
	{ "decision", "Decision", EMIT_TEXT },
	{ "version", "Version", EMIT_TEXT },
	{ "runs", "Runs", EMIT_TEXT },
	{ "share", "Share", EMIT_PERCENT },
	{ "iteration_p10", "Iteration p10", EMIT_TEXT },
	{ "iteration_median", "Median", EMIT_TEXT },
	{ "iteration_p90", "p90", EMIT_TEXT },
	{ "users_median", "Users (median)", EMIT_TEXT },
};

static const struct emit_section sections[] = {
	{ NULL, NULL, head, ARRAY_SIZE(head), NULL },
	{ "decisions", "Decisions", columns, ARRAY_SIZE(columns), NULL },
};

static int print(const struct simulate_cmd_options *o, const struct experiment *e, const struct simulate_result *result)
{
	_cleanup_json_ json_t *document =
		json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:o}", "experiment", e->meta.name, "rule", e->strength.given ? "criteria.strength" : "the last reading, as Iter8",
			  "iterations", (int)result->iterations, "users_per_iteration", (int)o->simulate.users, "runs", (int)o->simulate.runs, "seed", (int)o->seed,
			  "decisions", outcomes_json(e, &o->simulate, result));

	return document && emit(stdout, document, sections, ARRAY_SIZE(sections), o->common.json) == 0 ? CMD_OK : CMD_FAILED;
}

static int run(const void *options, int argc, char **argv)
{
	const struct simulate_cmd_options *o = options;
	struct simulate_options simulated = o->simulate;
	_cleanup_(world_free) struct world *world = NULL;
	_cleanup_free_ char *problem = NULL;
	const struct experiment *e;
	struct simulate_result result;
	int r;

	(void)argc;
	simulated.seed = o->seed;
	if (!check_rates(&simulated))
		return CMD_USAGE;
	if (cmd_load_world(argv[0], &world) < 0)
		return CMD_FAILED;
	e = find_experiment(world, argv[0], o->name);
	if (!e)
		return CMD_USAGE;
	r = simulate(world, e, &simulated, &result, &problem);
	if (r < 0) {
		log_err(0, "shunt simulate: %s: %s", e->meta.name, problem ?: strerror(-r));
		return CMD_FAILED;
	}
	r = print(o, e, &result);
	simulate_clear(&result);
	return r;
}

const struct cmd cmd_simulate = {
	.name = "simulate",
	.arguments = "MANIFESTS",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Run an experiment against made-up users, thousands of times",
	.details = "MANIFESTS is a file or a folder with an Experiment and the Metric objects that it names. Every run goes through the agent's own assessment and\n"
		   "decisions with a clock that jumps; tasks are not run. Without any effect the share of winners is how often the experiment would be wrong.",
	.options = cmd_options,
	.option_count = ARRAY_SIZE(cmd_options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
