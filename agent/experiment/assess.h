/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * assess(): from the readings of one iteration to a verdict on each version. Pure: no I/O, no clock, no randomness.
 *
 *     readings ──▶ objectives hold or not ──▶ feasible versions ──▶ best by reward ──▶ winner ──▶ recommended version and weights
 *
 * The same readings give the same answer as Iter8's analytics service (iter8-analytics api/v2/experiment.py; reference/iter8.md sections 3.1, 7.5),
 * in its words, with these differences: weights go by version name and not by position (T6), a metric's two spellings are one (T7), an objective that
 * lacks its reading is told from one that fails, only a candidate's failure asks for a rollback (T4), and weights are rounded by the largest
 * remainder instead of by chance.
 *
 * Beside that stands the verdict of the evidence (verdict.h). Under criteria.strength it is the rule: winner, recommendation and rollback are
 * its own, and it may end the experiment. Objectives, feasible and best versions, and so the weights, stay Iter8's comparison of the readings.
 */
#ifndef SHUNT_ASSESS_H
#define SHUNT_ASSESS_H

#include "experiment/verdict.h"
#include "reading/reading.h"
#include "world/world.h"

enum objective_verdict {
	OBJECTIVE_MISSING,   /* no reading: false, as in Iter8, but no reason to roll back */
	OBJECTIVE_VIOLATED,
	OBJECTIVE_SATISFIED, /* lower <= value <= upper */
};

struct assessment {
	size_t version_count, objective_count;
	enum objective_verdict *objectives; /* [version * objective_count + objective] */
	bool *feasible;                     /* [version] all objectives are satisfied */
	bool *best;                         /* [version] */
	bool winner_found;
	size_t winner;
	size_t recommended;                 /* the winner, else the baseline */
	struct verdict *verdict;
	bool final;                         /* the verdict is the rule and more iterations would not change it */
	bool rollback;                      /* a candidate violates an objective with rollback_on_failure; under the rule: surely */
	char *rollback_reason;              /* a sentence; NULL when not */
	double *mix;                        /* [version] per cent, before caps; NULL: weights do not apply (Conformance) */
	int *weights;                       /* [version] per cent, sum 100; NULL like mix */
	char *metrics_message, *versions_message, *winner_message, *weights_message; /* "Error: ...; Warning: ...; Info: ..." */
};

/*
 * Assesses. current_weights: per cent by version, NULL for 100, 0, ... The experiment has at least one version, readings the same versions.
 * Returns 0 or -ENOMEM.
 */
int assess(const struct experiment *experiment, const struct readings *readings, const int *current_weights, struct assessment **ret_assessment);

void assessment_free(struct assessment **assessment);

#endif
