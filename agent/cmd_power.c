/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt power: how long an experiment needs. Needs no agent and no root. */
#include "cmd.h"

#include <math.h>

#include "datapath/datapath.h"
#include "experiment/power.h"
#include "experiment/verdict.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"

struct power_options {
	struct cmd_common common;
	double baseline, mean, sd, effect, share, confidence, power;
	unsigned int users_per_day, looks;
};

static const struct power_options defaults = {
	.common = CMD_COMMON_DEFAULTS,
	.baseline = NAN,
	.mean = NAN,
	.sd = NAN,
	.effect = NAN,
	.share = 0.5,
	.confidence = STRENGTH_CONFIDENCE,
	.power = 0.8,
	.looks = 100,
};

#define OPTION(member) offsetof(struct power_options, member)

static const struct cmd_option cmd_options[] = {
	{ "baseline", 'b', CMD_REAL, "RATE", "the baseline's rate by user, such as 0.02 for 2 % of the users", OPTION(baseline) },
	{ "mean", 0, CMD_REAL, "MEAN", "in place of a rate: the baseline's mean by user", OPTION(mean) },
	{ "sd", 0, CMD_REAL, "SD", "with --mean: the standard deviation between users", OPTION(sd) },
	{ "effect", 'e', CMD_REAL, "FRACTION", "to be found, relative: 0.1 for 10 % more, -0.1 for 10 % less", OPTION(effect) },
	{ "users-per-day", 'u', CMD_NUMBER, "N", "new users of all versions in a day; absent: no days are told", OPTION(users_per_day) },
	{ "share", 's', CMD_REAL, "FRACTION", "of the users that the candidate gets (0.5)", OPTION(share) },
	{ "confidence", 'c', CMD_REAL, "FRACTION", "of criteria.strength (0.95)", OPTION(confidence) },
	{ "power", 'p', CMD_REAL, "FRACTION", "chance to find the effect if it is there (0.8)", OPTION(power) },
	{ "looks", 0, CMD_NUMBER, "N", "iterations of the experiment (100)", OPTION(looks) },
};

static bool is_fraction(const char *name, double value)
{
	if (value > 0 && value < 1)
		return true;
	log_err(0, "shunt power: --%s: found %g, allowed is a number between 0 and 1, such as 0.5", name, value);
	return false;
}

/* Of a rate the variance follows; a mean says its own, and keeps it. */
static bool make_plan(const struct power_options *o, struct power_plan *plan)
{
	bool rate = !isnan(o->baseline);

	if (rate == !isnan(o->mean) || isnan(o->mean) != isnan(o->sd)) {
		log_err(0, "shunt power: found %s; allowed: --baseline RATE, or --mean MEAN with --sd SD", rate ? "a rate and a mean" : "neither a rate nor a mean with its sd");
		return false;
	}
	if (isnan(o->effect) || o->effect == 0) {
		log_err(0, "shunt power: --effect is missing or 0; name the smallest effect that matters, such as --effect 0.1 for 10 %% more");
		return false;
	}
	*plan = (struct power_plan){ .share = o->share, .confidence = o->confidence, .power = o->power, .looks = o->looks };
	if (!is_fraction("share", o->share) || !is_fraction("confidence", o->confidence) || !is_fraction("power", o->power))
		return false;
	plan->baseline_mean = rate ? o->baseline : o->mean;
	plan->candidate_mean = plan->baseline_mean * (1 + o->effect);
	if (rate && (!is_fraction("baseline", plan->baseline_mean) || !is_fraction("baseline with its effect", plan->candidate_mean)))
		return false;
	plan->baseline_variance = rate ? plan->baseline_mean * (1 - plan->baseline_mean) : o->sd * o->sd;
	plan->candidate_variance = rate ? plan->candidate_mean * (1 - plan->candidate_mean) : o->sd * o->sd;
	if (plan->baseline_variance > 0 && plan->baseline_mean != 0 && o->looks > 0)
		return true;
	log_err(0, "shunt power: --mean, --sd and --looks have to be other than 0");
	return false;
}

static json_t *days(const struct power_options *o, double users)
{
	return o->users_per_day ? json_real(ceil(10 * users / o->users_per_day) / 10) : json_null();
}

static json_t *result_json(const struct power_options *o, const struct power_plan *plan, const struct power_result *r)
{
	return json_pack("{s:f, s:f, s:f, s:f, s:i, s:I, s:I, s:o, s:I, s:o, s:I, s:o, s:I, s:o}", "baseline", plan->baseline_mean, "candidate",
			 plan->candidate_mean, "confidence", plan->confidence, "power", plan->power, "looks", (int)plan->looks, "users", (json_int_t)r->users,
			 "maximum_sample", (json_int_t)r->maximum_sample, "days", days(o, r->users), "users_median", (json_int_t)(r->users * r->median_end), "days_median",
			 days(o, r->users * r->median_end), "users_median_double_effect", (json_int_t)(r->users * r->median_end_double), "days_median_double_effect",
			 days(o, r->users * r->median_end_double), "users_fixed_sample", (json_int_t)r->fixed_users, "days_fixed_sample", days(o, r->fixed_users));
}

static const struct emit_column columns[] = {
	{ "baseline", "Baseline", EMIT_TEXT },
	{ "candidate", "Candidate with the effect", EMIT_TEXT },
	{ "confidence", "Confidence", EMIT_PERCENT },
	{ "power", "Chance to find the effect", EMIT_PERCENT },
	{ "users", "Users, all versions", EMIT_TEXT },
	{ "maximum_sample", "strength.maximumSample", EMIT_TEXT },
	{ "days", "Days", EMIT_FIXED1 },
	{ "users_median", "Users when half have found it", EMIT_TEXT },
	{ "days_median", "Days when half have found it", EMIT_FIXED1 },
	{ "users_median_double_effect", "... with twice the effect: users", EMIT_TEXT },
	{ "days_median_double_effect", "... with twice the effect: days", EMIT_FIXED1 },
	{ "users_fixed_sample", "One look at the end would need users", EMIT_TEXT },
	{ "days_fixed_sample", "One look at the end would need days", EMIT_FIXED1 },
};

static const struct emit_section sections[] = { { NULL, NULL, columns, ARRAY_SIZE(columns), NULL } };

static int run(const void *options, int argc, char **argv)
{
	const struct power_options *o = options;
	_cleanup_json_ json_t *document = NULL;
	struct power_plan plan;
	struct power_result result;

	(void)argc;
	(void)argv;
	if (!make_plan(o, &plan))
		return CMD_USAGE;
	power_calculate(&plan, &result);
	document = result_json(o, &plan, &result);
	return document && emit(stdout, document, sections, ARRAY_SIZE(sections), o->common.json) == 0 ? CMD_OK : CMD_FAILED;
}

const struct cmd cmd_power = {
	.name = "power",
	.summary = "Say how many users and days an experiment needs",
	.details = "For the sequential comparison of criteria.strength (docs/statistics.md), which may end at any iteration. The numbers come from 4,000 simulated\n"
		   "experiments with a fixed seed.\n\n"
		   "  shunt power --baseline 0.02 --effect 0.1 --users-per-day 5000\n"
		   "  shunt power --mean 120 --sd 300 --effect -0.05 --users-per-day 5000",
	.options = cmd_options,
	.option_count = ARRAY_SIZE(cmd_options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
