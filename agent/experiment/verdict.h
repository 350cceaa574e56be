/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * verdict(): what the evidence of an experiment says, and how surely. Pure.
 *
 *     evidence ──▶ split of users as configured? ──▶ sample large enough? ──▶ each objective: bound inside its limits?  ──▶ verdict, and why
 *                                                                             each pair: difference of the reward without 0?
 *
 * All intervals are confidence sequences (experiment/stats.h), so the verdict of any iteration may be acted upon. With criteria.strength it is
 * the rule: it takes the place of Iter8's comparison of two numbers and may end the experiment early. Without it the verdict is computed all the
 * same and shown as advice.
 *
 * The chance that an experiment ever names a wrong winner is at most 1 - confidence: over several pairs of versions it is divided evenly
 * (Bonferroni), and objectives need no correction, because all of them have to hold (an intersection-union test: Berger, Technometrics 24, 1982).
 */
#ifndef SHUNT_VERDICT_H
#define SHUNT_VERDICT_H

#include "experiment/stats.h"
#include "reading/reading.h"
#include "world/world.h"

/* In place of what criteria.strength does not say. */
#define STRENGTH_CONFIDENCE 0.95
#define STRENGTH_MINIMUM_SAMPLE 100
#define STRENGTH_TUNED_SAMPLE 5000 /* units at which intervals are tightest; with a maximumSample that */

/* A split is called wrong below this p-value (Fabijan et al., KDD 2019, alert at 0.0005). */
#define SPLIT_P_VALUE 0.001
#define SPLIT_CONCENTRATION 1000 /* users after which a wrong split has had its say */

enum verdict_kind {
	VERDICT_INCONCLUSIVE,          /* not yet, or not from this evidence */
	VERDICT_WINNER,
	VERDICT_NO_DIFFERENCE,         /* all versions have their maximumSample, and what they differ by may be nothing */
	VERDICT_INSUFFICIENT_DATA,     /* a version is below minimumSample */
	VERDICT_SAMPLE_RATIO_MISMATCH, /* the users are not divided as the split says: whatever loses them spoils the comparison */
	VERDICT_NO_FEASIBLE_VERSION,   /* every version surely fails an objective */
};

/* What is known of a statement. */
enum claim {
	CLAIM_UNKNOWN, /* there is no evidence on it */
	CLAIM_OPEN,    /* it may be so or not */
	CLAIM_HOLDS,
	CLAIM_FAILS,
};

/* A value and where the truth lies. */
struct estimate {
	bool known;
	double value, sample; /* sample: independent units that it is worth */
	struct interval interval;
};

struct objective_claim {
	enum claim claim;
	struct estimate estimate;
};

/* Of the reward: versions[b] - versions[a]. */
struct pair_claim {
	size_t a, b;
	enum claim b_better, a_better; /* one holds and the other fails, or both are open or unknown */
	double value;
	struct interval interval;
};

struct verdict {
	enum verdict_kind kind;
	size_t winner; /* of VERDICT_WINNER */
	bool final;    /* more iterations would not change it, or the maximumSample is there */
	char *why;     /* a sentence */
	struct strength strength; /* with its defaults filled in */
	size_t version_count, objective_count, pair_count;
	double *samples;                      /* [version] units */
	bool has_samples;                     /* the units are evidence; else what the metrics say of their samples */
	enum sample_unit unit;
	double lost;                          /* users of whom no sums were kept */
	bool split_tested;
	double split_p_value;
	struct objective_claim *objectives;   /* [version * objective_count + objective] */
	struct pair_claim *pairs;
};

/* Returns 0 or -ENOMEM. The experiment has at least one version, readings the same versions. */
int verdict_new(const struct experiment *experiment, const struct readings *readings, struct verdict **ret_verdict);
void verdict_free(struct verdict **verdict);

/* "Winner", "NoDifference", ... */
const char *verdict_name(enum verdict_kind kind);

/* As status.shunt.evidence holds it; docs/statistics.md describes the fields. Numbers are quantities. */
json_t *verdict_to_json(const struct experiment *experiment, const struct verdict *verdict);

#endif
