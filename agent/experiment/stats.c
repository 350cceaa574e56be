/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/stats.h"

#include <math.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_roots.h>
#include <gsl/gsl_sf_gamma.h>

#define ROOT_STEPS 200
#define ROOT_PRECISION 1e-9

/* ---- mixtures ---- */

/* v over the best rho: 2 log(1/alpha) + log(1 + 2 log(1/alpha)). */
static double tuning(double alpha)
{
	double twice = 2 * log(1 / alpha);

	return twice + log1p(twice);
}

double stats_normal_mixture_bound(double v, double alpha, double v_opt)
{
	double rho = v_opt / tuning(alpha);

	return sqrt((v + rho) * (log1p(v / rho) + 2 * log(1 / alpha)));
}

double stats_beta_binomial(double x, double n, double p, struct stats_level level)
{
	double k = fmax(level.n_opt / tuning(level.alpha) - 1, 1e-3);

	return gsl_sf_lnbeta(k * p + x, k * (1 - p) + n - x) - gsl_sf_lnbeta(k * p, k * (1 - p)) - x * log(p) - (n - x) * log1p(-p);
}

/* ---- estimates by unit ---- */

bool stats_ratio(const struct stats_sums *s, struct stats_mean *ret_mean)
{
	double ratio, residual;

	if (s->n < 2 || s->y <= 0)
		return false;
	ratio = s->x / s->y;
	/* The variance of x - ratio * y, whose mean is 0: the delta method's three terms in one. */
	residual = (s->xx - 2 * ratio * s->xy + ratio * ratio * s->yy) / (s->n - 1);
	*ret_mean = (struct stats_mean){ .n = s->n, .value = ratio, .variance = fmax(residual, 0) / (s->y / s->n * (s->y / s->n)) };
	return true;
}

double stats_effective_users(double y, double yy)
{
	return yy > 0 ? fmin(y * y / yy, y) : 0;
}

double stats_effective_sample(const struct stats_sums *s, const struct stats_mean *mean)
{
	double binomial = mean->value * (1 - mean->value);

	if (binomial <= 0 || mean->variance <= 0)
		return stats_effective_users(s->y, s->yy);
	return fmin(binomial * mean->n / mean->variance, s->y);
}

/* ---- confidence sequences ---- */

struct interval stats_mean_interval(const struct stats_mean *mean, struct stats_level level)
{
	double half = INFINITY; /* of values that are all the same: they may all be of one kind yet */

	if (mean->variance > 0)
		half = stats_normal_mixture_bound(mean->n * mean->variance, level.alpha, level.n_opt * mean->variance) / mean->n;
	return (struct interval){ mean->value - half, mean->value + half };
}

struct interval stats_difference_interval(const struct stats_mean *a, const struct stats_mean *b, struct stats_level level)
{
	struct stats_mean difference = {
		.n = a->n + b->n,
		.value = b->value - a->value,
		.variance = (a->n + b->n) * (a->variance / a->n + b->variance / b->n),
	};

	return stats_mean_interval(&difference, level);
}

/* ---- roots ---- */

struct mixture_root {
	double x, n, p;
	struct stats_level level;
};

static double excess_at_p(double p, void *arg)
{
	const struct mixture_root *root = arg;

	return stats_beta_binomial(root->x, root->n, p, root->level) - log(1 / root->level.alpha);
}

static double excess_at_x(double x, void *arg)
{
	const struct mixture_root *root = arg;

	return stats_beta_binomial(x, root->n, root->p, root->level) - log(1 / root->level.alpha);
}

/* Where f changes its sign between a and b, by Brent's method; b when it does not. */
static double find_root(double (*f)(double, void *), struct mixture_root *root, double a, double b)
{
	gsl_function function = { f, root };
	gsl_root_fsolver *solver;
	double low = fmin(a, b), high = fmax(a, b), found = b;

	if ((f(a, root) > 0) == (f(b, root) > 0))
		return b;
	solver = gsl_root_fsolver_alloc(gsl_root_fsolver_brent);
	if (!solver || gsl_root_fsolver_set(solver, &function, low, high) != GSL_SUCCESS) {
		gsl_root_fsolver_free(solver);
		return b; /* the wide side */
	}
	for (int i = 0; i < ROOT_STEPS && gsl_root_test_interval(low, high, ROOT_PRECISION, ROOT_PRECISION) == GSL_CONTINUE; i++) {
		gsl_root_fsolver_iterate(solver);
		low = gsl_root_fsolver_x_lower(solver);
		high = gsl_root_fsolver_x_upper(solver);
	}
	found = gsl_root_fsolver_root(solver);
	gsl_root_fsolver_free(solver);
	return found;
}

/* The evidence is least at the observed rate and grows towards 0 and 1, where it is infinite unless nothing but failures or successes was seen. */
struct interval stats_rate_interval(double x, double n, struct stats_level level)
{
	const double edge = 1e-12;
	struct mixture_root root = { .x = x, .n = n, .level = level };
	double rate = n > 0 ? x / n : 0.5, inside = fmin(fmax(rate, edge), 1 - edge);
	struct interval all = { 0, 1 };

	if (n <= 0)
		return all;
	if (x > 0 && excess_at_p(edge, &root) > 0)
		all.low = find_root(excess_at_p, &root, inside, edge);
	if (x < n && excess_at_p(1 - edge, &root) > 0)
		all.high = find_root(excess_at_p, &root, inside, 1 - edge);
	return all;
}

/*
 * A value is too low to be the q-quantile when too few values lie at or below it, and too high when too many lie below it. Within a bucket
 * nobody knows who lies where, so a bucket is excluded only if that holds for all of it.
 *
 *     fewest ... the least number of values at or below the quantile that n trials of probability q allow;  most ... the largest
 */
struct interval stats_quantile_interval(const double *count, size_t slots, double weight, double q, double (*edge)(size_t slot),
					 struct stats_level level)
{
	struct interval bounds = { edge(0), INFINITY };
	struct mixture_root root = { .p = q, .level = level };
	double total = 0, below = 0, fewest, most;
	bool low_found = false;

	for (size_t i = 0; i < slots; i++)
		total += count[i];
	root.n = total * weight;
	if (root.n <= 0)
		return bounds;
	fewest = excess_at_x(0, &root) > 0 ? find_root(excess_at_x, &root, q * root.n, 0) : 0;
	most = excess_at_x(root.n, &root) > 0 ? find_root(excess_at_x, &root, q * root.n, root.n) : root.n;
	for (size_t i = 0; i < slots; i++) {
		below += count[i] * weight;
		if (!low_found && below >= fewest) {
			low_found = true;
			bounds.low = edge(i);
		}
		if (below > most && i + 1 < slots) {
			bounds.high = edge(i + 1);
			break;
		}
	}
	return bounds;
}

/* ---- sample ratio ---- */

double stats_split_p_value(const double *users, const double *shares, size_t k, double concentration)
{
	double n = 0, log_factor = 0;

	for (size_t i = 0; i < k; i++) {
		double prior = concentration * shares[i];

		n += users[i];
		log_factor += gsl_sf_lngamma(prior + users[i]) - gsl_sf_lngamma(prior) - users[i] * log(shares[i]);
	}
	log_factor += gsl_sf_lngamma(concentration) - gsl_sf_lngamma(concentration + n);
	return fmin(1, exp(-log_factor));
}
