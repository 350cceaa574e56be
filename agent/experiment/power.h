/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How many users an experiment needs, for the sequential comparison that verdict.c makes. Pure.
 *
 * The difference of two versions, over its standard error, is a Brownian motion with a drift; the experiment ends where it leaves the band of
 * the confidence sequence. What share of the paths do so by the end depends on the drift alone, which is found by bisection over simulated
 * paths, and the users follow from it:
 *
 *     users = (drift * standard deviation / effect)^2
 */
#ifndef SHUNT_POWER_H
#define SHUNT_POWER_H

struct power_plan {
	double baseline_mean, baseline_variance; /* of one user */
	double candidate_mean, candidate_variance;
	double share;      /* of the users that the candidate gets, 0..1 */
	double confidence; /* 0..1 */
	double power;      /* 0..1: the chance to find the effect */
	unsigned int looks;
};

struct power_result {
	double users;             /* of both versions */
	double maximum_sample;    /* of the version that has fewer: criteria.strength.maximumSample */
	double median_end;        /* share of the users at which half of the experiments that find the effect have ended */
	double median_end_double; /* ... when the effect is twice as large */
	double fixed_users;       /* what one look at a size chosen ahead would need: what it costs to look at any time */
};

/* Needs a share, confidence and power inside of 0..1, at least one look, means that differ and a variance above 0. */
void power_calculate(const struct power_plan *plan, struct power_result *ret_result);

#endif
