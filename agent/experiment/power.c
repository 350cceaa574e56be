/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/power.h"

#include <math.h>
#include <stdlib.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "experiment/stats.h"

#define PATHS 4000
#define SEED 1
#define BISECTIONS 30

/* Where the paths leave the band: at which look, 0 for never. The same paths for every drift, so that the share is monotone in it. */
struct crossing {
	unsigned int count;            /* that find the effect */
	unsigned int *at;              /* [look] how many of them there */
};

/* The band at a look, in standard errors. The sequence is tightest at the maximumSample of the smaller version. */
static double band(const struct power_plan *plan, unsigned int look)
{
	double n = (double)look / plan->looks, smaller = fmin(plan->share, 1 - plan->share);

	return stats_normal_mixture_bound(n, 1 - plan->confidence, smaller) / sqrt(n);
}

static void walk(const struct power_plan *plan, const double *bands, double drift, struct crossing *ret_crossing)
{
	gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
	double step = 1 / sqrt(plan->looks);

	gsl_rng_set(rng, SEED);
	ret_crossing->count = 0;
	for (unsigned int look = 0; look <= plan->looks; look++)
		ret_crossing->at[look] = 0;
	for (int path = 0; path < PATHS; path++) {
		unsigned int crossed = 0;
		bool wrong = false;
		double w = 0;

		for (unsigned int look = 1; look <= plan->looks; look++) {
			double t = (double)look / plan->looks, z;

			w += step * gsl_ran_gaussian_ziggurat(rng, 1);
			z = (w + drift * t) / sqrt(t);
			wrong |= !crossed && z < -bands[look];
			if (!crossed && !wrong && z > bands[look])
				crossed = look;
		}
		ret_crossing->at[crossed]++;
		ret_crossing->count += crossed > 0;
	}
	gsl_rng_free(rng);
}

static double median_end(const struct power_plan *plan, const struct crossing *crossing)
{
	unsigned int seen = 0;

	for (unsigned int look = 1; look <= plan->looks; look++) {
		seen += crossing->at[look];
		if (2 * seen >= crossing->count && crossing->count)
			return (double)look / plan->looks;
	}
	return 1;
}

static double find_drift(const struct power_plan *plan, const double *bands, struct crossing *crossing)
{
	double low = 0, high = 2 * (bands[plan->looks] + gsl_cdf_ugaussian_Pinv(plan->power)) + 10;

	for (int i = 0; i < BISECTIONS; i++) {
		double middle = (low + high) / 2;

		walk(plan, bands, middle, crossing);
		if (crossing->count < plan->power * PATHS)
			low = middle;
		else
			high = middle;
	}
	return high;
}

void power_calculate(const struct power_plan *plan, struct power_result *ret_result)
{
	double variance = plan->baseline_variance / (1 - plan->share) + plan->candidate_variance / plan->share;
	double effect = fabs(plan->candidate_mean - plan->baseline_mean), drift;
	double fixed = gsl_cdf_ugaussian_Pinv(0.5 + plan->confidence / 2) + gsl_cdf_ugaussian_Pinv(plan->power);
	double *bands = calloc(plan->looks + 1, sizeof(*bands));
	struct crossing crossing = { .at = calloc(plan->looks + 1, sizeof(*crossing.at)) };

	for (unsigned int look = 1; bands && look <= plan->looks; look++)
		bands[look] = band(plan, look);
	drift = find_drift(plan, bands, &crossing);
	walk(plan, bands, drift, &crossing);
	*ret_result = (struct power_result){
		.users = ceil(drift * drift * variance / (effect * effect)),
		.median_end = median_end(plan, &crossing),
		.fixed_users = ceil(fixed * fixed * variance / (effect * effect)),
	};
	ret_result->maximum_sample = ceil(ret_result->users * fmin(plan->share, 1 - plan->share));
	walk(plan, bands, 2 * drift, &crossing);
	ret_result->median_end_double = median_end(plan, &crossing);
	free(crossing.at);
	free(bands);
}
