/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/assess.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/split.h"
#include "util/cleanup.h"
#include "util/text.h"

#define EXPLORE 0.1 /* share of the traffic that is spread evenly; the rest goes to the best versions (Iter8's AdvancedParameters) */

/* ---- messages ---- */

enum message_level { MESSAGE_ERROR, MESSAGE_WARNING, MESSAGE_INFO, MESSAGE_LEVELS };

struct messages {
	char *text[MESSAGE_LEVELS];
};

__attribute__((format(printf, 3, 4))) static void add_message(struct messages *messages, enum message_level level, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	char *old = messages->text[level];
	va_list args;

	va_start(args, format);
	message = text_vprintf(format, args);
	va_end(args);
	if (!message)
		return;
	messages->text[level] = old ? text_printf("%s, %s", old, message) : TAKE_PTR(message);
	free(old);
}

static char *join_messages(const struct messages *messages)
{
	return text_printf("Error: %s; Warning: %s; Info: %s", messages->text[MESSAGE_ERROR] ?: "", messages->text[MESSAGE_WARNING] ?: "",
			   messages->text[MESSAGE_INFO] ?: "");
}

static void clear_messages(struct messages *messages)
{
	for (int i = 0; i < MESSAGE_LEVELS; i++)
		free(messages->text[i]);
}

#define _cleanup_messages_ _cleanup_(clear_messages)

/* ---- what is missing ---- */

static char *metrics_message(const struct readings *readings)
{
	_cleanup_messages_ struct messages messages = {};

	for (size_t m = 0; m < readings->metric_count; m++) {
		for (size_t v = 0; v < readings->version_count; v++) {
			const struct reading *reading = &readings->cells[m * readings->version_count + v];

			if (!reading->present)
				add_message(&messages, MESSAGE_ERROR, "Error from metrics backend for metric: %s and version: %s: %s", readings->metrics[m],
					    readings->versions[v], reading->problem ?: "it was not read");
		}
	}
	return join_messages(&messages);
}

/* ---- objectives ---- */

static enum objective_verdict check_objective(const struct objective *objective, const struct reading *reading)
{
	if (!reading || !reading->present)
		return OBJECTIVE_MISSING;
	if (objective->has_upper && reading->value > objective->upper)
		return OBJECTIVE_VIOLATED;
	if (objective->has_lower && reading->value < objective->lower)
		return OBJECTIVE_VIOLATED;
	return OBJECTIVE_SATISFIED;
}

static void ask_rollback(struct assessment *a, const struct experiment *e, size_t version, const struct objective *objective, const struct reading *reading)
{
	if (a->rollback)
		return;
	a->rollback = true;
	a->rollback_reason = text_printf("%s of candidate %s is %g, outside its limits", objective->metric, e->versions[version].name, reading->value);
}

/* Under criteria.strength one bad reading is no reason to roll back while it may be chance; of what has no evidence there is only the reading. */
static bool is_sure(const struct assessment *a, size_t version, size_t objective)
{
	enum claim claim = a->verdict->objectives[version * a->objective_count + objective].claim;

	return !a->verdict->strength.given || claim == CLAIM_FAILS || claim == CLAIM_UNKNOWN;
}

static void assess_objective(struct assessment *a, const struct experiment *e, const struct readings *readings, size_t index, struct messages *messages)
{
	const struct objective *objective = &e->objectives[index];

	for (size_t v = 0; v < a->version_count; v++) {
		const struct reading *reading = readings_at(readings, objective->metric, v);
		enum objective_verdict verdict = check_objective(objective, reading);

		a->objectives[v * a->objective_count + index] = verdict;
		if (verdict != OBJECTIVE_SATISFIED)
			a->feasible[v] = false;
		if (verdict == OBJECTIVE_MISSING)
			add_message(messages, MESSAGE_WARNING, "Value for %s metric and %s version is None.", objective->metric, e->versions[v].name);
		if (verdict == OBJECTIVE_VIOLATED && v > 0 && objective->rollback_on_failure && is_sure(a, v, index))
			ask_rollback(a, e, v, objective, reading);
	}
}

static void assess_versions(struct assessment *a, const struct experiment *e, const struct readings *readings)
{
	_cleanup_messages_ struct messages messages = {};

	for (size_t v = 0; v < a->version_count; v++)
		a->feasible[v] = true;
	for (size_t i = 0; i < a->objective_count; i++)
		assess_objective(a, e, readings, i, &messages);
	a->versions_message = join_messages(&messages);
}

/* ---- the winner ---- */

static void set_winner(struct assessment *a, size_t version)
{
	a->winner_found = true;
	a->winner = a->recommended = version;
	a->best[version] = true;
}

static void find_winner_conformance(struct assessment *a, struct messages *messages)
{
	if (a->feasible[0]) {
		set_winner(a, 0);
		add_message(messages, MESSAGE_INFO, "baseline satisfies all objectives");
	} else {
		add_message(messages, MESSAGE_INFO, "no version satisfies all objectives");
	}
}

static void find_winner_canary(struct assessment *a, struct messages *messages)
{
	if (a->version_count > 1 && a->feasible[1]) {
		set_winner(a, 1);
		add_message(messages, MESSAGE_INFO, "candidate satisfies all objectives");
	} else if (a->feasible[0]) {
		set_winner(a, 0);
		add_message(messages, MESSAGE_INFO, "baseline satisfies all objectives; candidate does not");
	} else {
		add_message(messages, MESSAGE_INFO, "no version satisfies all objectives");
	}
}

/* The feasible versions with the best reward; returns how many. Equal means equal: two versions a hair apart have one winner. */
static size_t find_best(struct assessment *a, const struct experiment *e, const struct readings *readings, struct messages *messages)
{
	const struct reward *reward = &e->rewards[0];
	size_t count = 0;
	double top = 0;

	for (size_t v = 0; v < a->version_count; v++) {
		const struct reading *reading = readings_at(readings, reward->metric, v);

		if (!a->feasible[v])
			continue;
		if (!reading || !reading->present) {
			add_message(messages, MESSAGE_WARNING, "reward value for feasible version %s is not available", e->versions[v].name);
			continue;
		}
		if (count == 0 || (reward->high ? reading->value > top : reading->value < top)) {
			memset(a->best, 0, a->version_count * sizeof(*a->best));
			top = reading->value;
			count = 0;
		}
		if (reading->value == top) {
			a->best[v] = true;
			count++;
		}
	}
	return count;
}

static bool any(const bool *flags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (flags[i])
			return true;
	}
	return false;
}

static void find_winner_by_reward(struct assessment *a, const struct experiment *e, const struct readings *readings, struct messages *messages)
{
	size_t best;

	if (e->reward_count == 0) {
		add_message(messages, MESSAGE_WARNING,
			    "No reward metric in experiment. Winner assessment cannot be computed for ab or abn experiments without reward metric.");
		return;
	}
	if (!any(a->feasible, a->version_count))
		add_message(messages, MESSAGE_INFO, "no version satisfies all objectives");
	best = find_best(a, e, readings, messages);
	if (best > 1)
		add_message(messages, MESSAGE_INFO, "no unique winner; two or more feasible versions with same reward value");
	for (size_t v = 0; best == 1 && v < a->version_count; v++) {
		if (!a->best[v])
			continue;
		set_winner(a, v);
		add_message(messages, MESSAGE_INFO, "found unique winner");
	}
}

static void find_winner(struct assessment *a, const struct experiment *e, const struct readings *readings)
{
	_cleanup_messages_ struct messages messages = {};

	if (e->testing == TESTING_CONFORMANCE)
		find_winner_conformance(a, &messages);
	else if (e->testing == TESTING_CANARY)
		find_winner_canary(a, &messages);
	else
		find_winner_by_reward(a, e, readings, &messages);
	a->winner_message = join_messages(&messages);
}

/* The verdict takes the place of the comparison. */
static void rule_by_verdict(struct assessment *a)
{
	const struct verdict *verdict = a->verdict;

	if (!verdict->strength.given)
		return;
	a->winner_found = verdict->kind == VERDICT_WINNER;
	a->winner = a->recommended = a->winner_found ? verdict->winner : 0;
	a->final = verdict->final;
	free(a->winner_message);
	a->winner_message = text_printf("Error: ; Warning: ; Info: %s: %s", verdict_name(verdict->kind), verdict->why);
}

/* ---- weights ---- */

static void mix_weights(struct assessment *a)
{
	size_t best = 0;

	for (size_t v = 0; v < a->version_count; v++)
		best += a->best[v];
	for (size_t v = 0; v < a->version_count; v++) {
		double exploit = best > 0 ? (double)a->best[v] / (double)best : v == 0;

		a->mix[v] = 100 * (EXPLORE / (double)a->version_count + (1 - EXPLORE) * exploit);
	}
}

/* A candidate's weight may grow by an increment only, and to a maximum; what it may not have goes to the baseline. */
static void cap_weights(const struct assessment *a, const struct experiment *e, const int *current, double *weights)
{
	memcpy(weights, a->mix, a->version_count * sizeof(*weights));
	for (size_t v = 1; v < a->version_count; v++) {
		double grown = a->mix[v] - (current ? current[v] : 0);
		double excess = fmax(0, fmax(grown - e->max_candidate_weight_increment, a->mix[v] - e->max_candidate_weight));

		weights[v] -= excess;
		weights[0] += excess;
	}
}

/* Whole per cents that sum to 100: the largest remainders are rounded up, the first of equals first. Weights that are whole but for the last bits of a
 * double stay what they are. */
static void round_weights(struct assessment *a, double *weights)
{
	int left = 100;

	for (size_t v = 0; v < a->version_count; v++) {
		a->weights[v] = (int)floor(weights[v] + 1e-9);
		weights[v] -= a->weights[v];
		left -= a->weights[v];
	}
	for (; left > 0; left--) {
		size_t largest = 0;

		for (size_t v = 1; v < a->version_count; v++) {
			if (weights[v] > weights[largest] + 1e-9)
				largest = v;
		}
		a->weights[largest]++;
		weights[largest] -= 1;
	}
}

static int assess_weights(struct assessment *a, const struct experiment *e, const int *current)
{
	_cleanup_messages_ struct messages messages = {};
	_cleanup_free_ double *weights = NULL;

	if (e->testing == TESTING_CONFORMANCE) {
		a->weights_message = strdup("weight computation is not applicable to a conformance experiment");
		return a->weights_message ? 0 : -ENOMEM;
	}
	a->mix = calloc(a->version_count, sizeof(*a->mix));
	a->weights = calloc(a->version_count, sizeof(*a->weights));
	weights = calloc(a->version_count, sizeof(*weights));
	if (!a->mix || !a->weights || !weights)
		return -ENOMEM;
	mix_weights(a);
	if (e->deployment == DEPLOYMENT_BLUE_GREEN) {
		split_green(e, a->weights);
	} else {
		cap_weights(a, e, current, weights);
		round_weights(a, weights);
	}
	add_message(&messages, MESSAGE_INFO, "all ok");
	a->weights_message = join_messages(&messages);
	return 0;
}

int assess(const struct experiment *experiment, const struct readings *readings, const int *current_weights, struct assessment **ret_assessment)
{
	_cleanup_(assessment_free) struct assessment *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return -ENOMEM;
	a->version_count = experiment->version_count;
	a->objective_count = experiment->objective_count;
	a->objectives = calloc(a->version_count * a->objective_count + 1, sizeof(*a->objectives));
	a->feasible = calloc(a->version_count, sizeof(*a->feasible));
	a->best = calloc(a->version_count, sizeof(*a->best));
	if (!a->objectives || !a->feasible || !a->best)
		return -ENOMEM;
	r = verdict_new(experiment, readings, &a->verdict);
	if (r < 0)
		return r;
	a->metrics_message = metrics_message(readings);
	assess_versions(a, experiment, readings);
	find_winner(a, experiment, readings);
	rule_by_verdict(a);
	r = assess_weights(a, experiment, current_weights);
	if (r < 0)
		return r;
	if (!a->metrics_message || !a->versions_message || !a->winner_message || !a->weights_message)
		return -ENOMEM;
	*ret_assessment = TAKE_PTR(a);
	return 0;
}

void assessment_free(struct assessment **assessment)
{
	struct assessment *a = TAKE_PTR(*assessment);

	if (!a)
		return;
	free(a->objectives);
	free(a->feasible);
	free(a->best);
	verdict_free(&a->verdict);
	free(a->rollback_reason);
	free(a->mix);
	free(a->weights);
	free(a->metrics_message);
	free(a->versions_message);
	free(a->winner_message);
	free(a->weights_message);
	free(a);
}
