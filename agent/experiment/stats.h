/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Statistics that stay valid however often one looks. Pure.
 *
 * An ordinary 95 % interval is right at one look that was planned; looked at a hundred times and stopped at the first good news, it errs in about
 * four experiments of ten. A confidence sequence is right at all looks together: with probability 1 - alpha it never excludes the truth, so an
 * experiment may stop at any iteration. The price is width, least near a sample size that is chosen ahead (`n_opt`):
 *
 *     width / standard error     at n_opt / 10: 3.9     at n_opt: 3.0     at 10 n_opt: 3.2         (95 %; the ordinary interval has 2.0 everywhere)
 *
 *     a mean, a ratio, a difference   asymptotic, normal mixture      Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory
 *                                                                     and asymptotic confidence sequences", Ann. Stat. 52(6) 2024, eq. (9) in arXiv:2103.06476v7
 *     a rate                          exact, beta-binomial mixture    Howard, Ramdas, McAuliffe, Sekhon, "Time-uniform, nonparametric, nonasymptotic
 *                                                                     confidence sequences", Ann. Stat. 49(2) 2021, Propositions 4 and 6 (arXiv:1810.08240)
 *     a quantile                      exact, by the rate of values    Howard, Ramdas, "Sequential estimation of quantiles with applications to A/B testing
 *                                     below it                        and best-arm identification", Bernoulli 28(3) 2022, section 3 (arXiv:1906.09712)
 *     split of users                  exact, Dirichlet mixture        Lindon, Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022
 *                                                                     (arXiv:2011.03567), the multinomial test
 *     requests of users               delta method                    Deng, Knoblich, Lu, "Applying the delta method in metric analytics", KDD 2018 (arXiv:1803.06336), on cluster randomization
 *
 * Which of these numbers were checked, and against what: docs/statistics.md.
 */
#ifndef SHUNT_STATS_H
#define SHUNT_STATS_H

#include <stdbool.h>
#include <stddef.h>

struct interval {
	double low, high; /* either may be infinite */
};

/* How sure, and where the sequences are tightest. */
struct stats_level {
	double alpha; /* 0..1: one minus the confidence */
	double n_opt; /* units, above 0 */
};

/* ---- mixtures ---- */

/*
 * The two-sided normal mixture: a process of variance v stays below this for ever with probability 1 - alpha; tightest at v_opt.
 * Howard et al. 2021, Proposition 4; rho by their section 3.5.
 */
double stats_normal_mixture_bound(double v, double alpha, double v_opt);

/*
 * The logarithm of the two-sided beta-binomial mixture: the evidence of x successes in n against a success probability of p, 0 < p < 1. P is excluded
 * when it is log(1 / alpha) or more. Mixes over Beta(k p, k (1 - p)), which is Howard et al. 2021, Proposition 6, with g = p, h = 1 - p. x and n
 * need not be whole.
 */
double stats_beta_binomial(double x, double n, double p, struct stats_level level);

/* ---- estimates by unit ---- */

/* Sums over units; y is the denominator, 1 of each unit for a plain mean. */
struct stats_sums {
	double n, x, xx, y, yy, xy;
};

struct stats_mean {
	double n;
	double value;    /* sum x / sum y */
	double variance; /* of one unit: value varies with variance / n */
};

/* By the delta method. False when there is nothing to divide by, or only one unit. */
bool stats_ratio(const struct stats_sums *sums, struct stats_mean *ret_mean);

/*
 * How many independent requests the requests of these users are worth. For a rate (`mean` of x / y) the y * p (1 - p) over the variance, as in
 * Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from survey data", Survey
 * Methodology 24 (1998); without successes or without failures that says nothing, and it is what it is in the worst case, Kish's (sum y)^2 / sum
 * y^2. At most sum y.
 */
double stats_effective_sample(const struct stats_sums *sums, const struct stats_mean *mean);

/* Kish, Survey Sampling (1965): the worst case, in which all requests of a user are alike. */
double stats_effective_users(double y, double yy);

/* ---- confidence sequences ---- */

/* Infinite while all units are the same: nothing is known of their spread. */
struct interval stats_mean_interval(const struct stats_mean *mean, struct stats_level level);

/* Of b.value - a.value. n_opt counts the units of both. */
struct interval stats_difference_interval(const struct stats_mean *a, const struct stats_mean *b, struct stats_level level);

/* Of a success probability, from x successes in n. */
struct interval stats_rate_interval(double x, double n, struct stats_level level);

/*
 * Of the q-quantile (0 < q < 1) of what was counted in `slots` buckets. Every value weighs `weight` independent ones (0..1). The ends are bucket
 * edges, in the unit of edge(): edge(i) is the low end of bucket i and the high end of bucket i - 1. The last bucket has no high end.
 */
struct interval stats_quantile_interval(const double *count, size_t slots, double weight, double q, double (*edge)(size_t slot),
					 struct stats_level level);

/* ---- sample ratio ---- */

/*
 * The always-valid p-value of users[0..k) against the shares of a split (positive, sum 1): small when they cannot come from it. Lindon and Malek
 * 2022, with the prior Dirichlet(concentration * shares).
 */
double stats_split_p_value(const double *users, const double *shares, size_t k, double concentration);

#endif
