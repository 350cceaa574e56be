/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Statistics: agreement with what others have printed, and coverage over all looks in simulation. Seeds are fixed: a run is the same every time.
 *
 * confseq: the unit tests of github.com/gostevehoward/confseq, test/uniform_boundaries_unittest.cpp, whose values come "from a reference implementation in R".
 * gbstats: the unit tests of github.com/growthbook/growthbook, packages/stats/tests/frequentist/test_tests.py.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>
#include <gsl/gsl_sf_gamma.h>

#include "experiment/stats.h"
#include "shunt/histogram.h"
#include "util/cleanup.h"

#define RUNS 2000
#define LOOKS 100
#define ALPHA 0.05

#define assert_near(value, expected, tolerance)                                                                                                        \
	do {                                                                                                                                           \
		if (!(fabs((value) - (expected)) <= (tolerance)))                                                                                      \
			fail_msg("%s is %.9g, not %.9g", #value, (double)(value), (double)(expected));                                                 \
	} while (0)

static struct stats_level level_of(double n_opt)
{
	return (struct stats_level){ .alpha = ALPHA, .n_opt = n_opt };
}

/* ---- printed values ---- */

static void the_normal_mixture_is_that_of_confseq(void **state)
{
	(void)state;
	assert_near(stats_normal_mixture_bound(100, 0.05, 100), 30.35209, 1e-5);
	assert_near(pow(stats_normal_mixture_bound(0, 0.05, 100), 2) / (2 * log(20)), 12.60056, 1e-5); /* best_rho: the bound at v = 0 is sqrt(2 rho log(1/alpha)) */
}

/* s = x - n p and v = n p (1 - p) in the library's terms: s 10, v 100, g 0.2, h 0.8. */
static void the_beta_binomial_mixture_is_that_of_confseq(void **state)
{
	const double n = 100 / (0.2 * 0.8);

	(void)state;
	assert_near(stats_beta_binomial(0.2 * n + 10, n, 0.2, level_of(n)), -0.6941012, 1e-5);
	assert_near(stats_beta_binomial(0.2 * n + 31.4308, n, 0.2, level_of(n)), log(20), 1e-4); /* its bound at v = 100 */
}

static void rate_intervals_are_those_of_confseq(void **state)
{
	static const struct {
		double x, n, n_opt, low, high;
	} cases[] = {
		{ 700, 1000, 100, 0.651629, 0.745949 }, { 15, 50, 50, 0.129556, 0.511896 }, { 5, 50, 50, 0.013021, 0.269264 },
		{ 1, 50, 50, 0, 0.13489 },		{ 1, 2, 50, 0, 1 },		    { 100, 200, 1, 0.328923, 0.671076 },
		{ 0, 1, 50, 0, 1 },			{ 1, 1, 50, 0, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct interval interval = stats_rate_interval(cases[i].x, cases[i].n, level_of(cases[i].n_opt));

		assert_near(interval.low, cases[i].low, 1e-5);
		assert_near(interval.high, cases[i].high, 1e-5);
	}
}

static struct stats_mean plain_mean(double n, double x, double xx)
{
	struct stats_sums sums = { .n = n, .x = x, .xx = xx, .y = n, .yy = n, .xy = x };
	struct stats_mean mean = {};

	assert_true(stats_ratio(&sums, &mean));
	return mean;
}

/* gbstats prints the standard deviation of the absolute difference, and a sequential interval of the relative one around its own standard deviation. */
static void differences_are_those_of_gbstats(void **state)
{
	struct stats_mean a = plain_mean(3000, 1396.87, 52377.9767), b = plain_mean(3461, 2422.7, 134698.29);
	struct stats_mean of_zero = { .n = 3000 }, relative = { .n = 3461, .value = 0.50336, .variance = 0.33341 * 0.33341 * 3461 };
	struct interval interval;

	(void)state;
	assert_near(b.value - a.value, 0.23437666666666668, 1e-9);
	assert_near(sqrt(a.variance / a.n + b.variance / b.n), 0.12983081254184736, 1e-9);
	interval = stats_difference_interval(&of_zero, &relative, level_of(1000));
	assert_near(interval.low, -0.55844, 5e-5);
	assert_near(interval.high, 1.56516, 5e-5);
	relative.value = 0.50386;
	relative.variance = 0.03386 * 0.03386 * 3461;
	interval = stats_difference_interval(&of_zero, &relative, level_of(5000));
	assert_near(interval.low, 0.40098, 5e-5);
	assert_near(interval.high, 0.60675, 5e-5);
}

/* ---- identities ---- */

/* Every user has the same number of requests: the ratio is the mean of the users' own means, and so is its variance. */
static void the_delta_method_of_equal_users_is_the_plain_variance(void **state)
{
	const double rates[] = { 0.1, 0.4, 0.2, 0.9, 0.5 };
	struct stats_sums by_request = {}, by_user = {};
	struct stats_mean ratio, mean;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		double x = 10 * rates[i];

		by_request.n++;
		by_request.x += x;
		by_request.xx += x * x;
		by_request.y += 10;
		by_request.yy += 100;
		by_request.xy += 10 * x;
		by_user.x += rates[i];
		by_user.xx += rates[i] * rates[i];
	}
	mean = plain_mean(5, by_user.x, by_user.xx);
	assert_true(stats_ratio(&by_request, &ratio));
	assert_near(ratio.value, 0.42, 1e-12);
	assert_near(ratio.value, mean.value, 1e-12);
	assert_near(ratio.variance, mean.variance, 1e-12);
}

static void nothing_to_divide_by_is_no_estimate(void **state)
{
	struct stats_mean mean;

	(void)state;
	assert_false(stats_ratio(&(struct stats_sums){ .n = 1, .x = 1, .xx = 1, .y = 1, .yy = 1, .xy = 1 }, &mean));
	assert_false(stats_ratio(&(struct stats_sums){ .n = 5 }, &mean));
}

/* 100 users with 10 requests each: all alike within a user, or all independent. */
static void alike_requests_of_a_user_count_once(void **state)
{
	struct stats_sums alike = { .n = 100, .x = 300, .xx = 3000, .y = 1000, .yy = 10000, .xy = 3000 };
	struct stats_sums none = { .n = 100, .y = 1000, .yy = 10000 }, single = { .n = 100, .x = 30, .xx = 30, .y = 100, .yy = 100, .xy = 30 };
	struct stats_mean mean;

	(void)state;
	assert_true(stats_ratio(&alike, &mean));
	assert_near(stats_effective_sample(&alike, &mean), 99, 1e-9); /* n - 1 in the variance */
	assert_true(stats_ratio(&none, &mean));
	assert_near(stats_effective_sample(&none, &mean), 100, 1e-9);
	assert_true(stats_ratio(&single, &mean));
	assert_near(stats_effective_sample(&single, &mean), 99, 1e-9);
	assert_near(stats_effective_users(1000, 10000), 100, 1e-9);
}

static double edge_ms(size_t slot)
{
	return (double)shunt_hist_low((__u32)slot) / 1e6;
}

/* The statement "p95 lies below the limit" is the same by the quantile's interval and by the rate of values below the limit. */
static void a_quantile_is_a_rate_of_values_below(void **state)
{
	double count[SHUNT_HIST_SLOTS] = {};
	struct stats_level level = level_of(1000);
	struct interval interval;
	double below = 0;

	(void)state;
	for (int i = 0; i < 1000; i++)
		count[shunt_hist_slot((__u64)(1 + i) * 1000000)]++;
	interval = stats_quantile_interval(count, SHUNT_HIST_SLOTS, 1, 0.95, edge_ms, level);
	assert_true(interval.low < 950 && interval.low > 880);
	assert_true(interval.high > 950 && isfinite(interval.high));
	for (size_t i = 0; i < SHUNT_HIST_SLOTS; i++) {
		below += count[i];
		if (edge_ms(i + 1) == interval.high) /* values in the bucket before: not enough to exclude; with this bucket: excluded */
			assert_true(stats_beta_binomial(below, 1000, 0.95, level) >= log(1 / ALPHA));
	}
	interval = stats_quantile_interval(count, SHUNT_HIST_SLOTS, 0.01, 0.95, edge_ms, level); /* worth 10 values: nothing is known above */
	assert_true(isinf(interval.high));
}

/* Uniform prior, fair coin: the Bayes factor of ten heads is 2^10 B(11, 1) = 1024 / 11. */
static void the_split_test_is_the_beta_binomial_of_a_coin(void **state)
{
	const double fair[] = { 0.5, 0.5 }, thirds[] = { 1.0 / 3, 1.0 / 3, 1.0 / 3 };

	(void)state;
	assert_near(stats_split_p_value((double[]){ 10, 0 }, fair, 2, 2), 11.0 / 1024, 1e-12);
	assert_near(stats_split_p_value((double[]){ 5, 5 }, fair, 2, 2), 1, 1e-12);
	/* Dirichlet(1, 1, 1): 3^3 * 2! 3! / 5! = 27 / 10 */
	assert_near(stats_split_p_value((double[]){ 3, 0, 0 }, thirds, 3, 3), 10.0 / 27, 1e-12);
}

/* ---- coverage: in how many of 2,000 runs the truth was excluded at any of 100 looks ---- */

struct simulation {
	gsl_rng *rng;
	double step; /* the looks are at step, 2 step, ..., 100 step units */
};

static struct simulation begin_simulation(unsigned long seed, double step)
{
	struct simulation simulation = { gsl_rng_alloc(gsl_rng_mt19937), step };

	gsl_rng_set(simulation.rng, seed);
	return simulation;
}

static void check_errors(struct simulation *simulation, const char *what, int errors)
{
	gsl_rng_free(simulation->rng);
	print_message("             %s: the truth was excluded in %.2f %% of %d runs (%.0f %% allowed)\n", what, 100.0 * errors / RUNS, RUNS, 100 * ALPHA);
	assert_true(errors <= RUNS * ALPHA);
}

static bool holds(struct interval interval, double truth)
{
	return interval.low <= truth && truth <= interval.high;
}

/* Latencies: log-normal with sigma 1, a mean of 10. */
static int run_mean(struct simulation *s, struct stats_level level)
{
	const double sigma = 1, mu = log(10) - sigma * sigma / 2;
	double n = 0, x = 0, xx = 0;

	for (int look = 0; look < LOOKS; look++) {
		struct stats_mean mean;

		for (int i = 0; i < s->step; i++) {
			double value = gsl_ran_lognormal(s->rng, mu, sigma);

			n++;
			x += value;
			xx += value * value;
		}
		mean = plain_mean(n, x, xx);
		if (!holds(stats_mean_interval(&mean, level), 10))
			return 1;
	}
	return 0;
}

static void means_are_covered_at_all_looks(void **state)
{
	struct simulation s = begin_simulation(1, 100);
	int errors = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++)
		errors += run_mean(&s, level_of(5000));
	check_errors(&s, "mean of a log-normal", errors);
}

static int run_rate(struct simulation *s, double p, struct stats_level level)
{
	double x = 0;

	for (int look = 1; look <= LOOKS; look++) {
		x += gsl_ran_binomial(s->rng, p, (unsigned)s->step);
		if (stats_beta_binomial(x, look * s->step, p, level) >= log(1 / level.alpha))
			return 1;
	}
	return 0;
}

static void rates_are_covered_at_all_looks(void **state)
{
	const double rates[] = { 0.001, 0.05, 0.5 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		struct simulation s = begin_simulation(2 + i, 50);
		char what[32];
		int errors = 0;

		for (int run = 0; run < RUNS; run++)
			errors += run_rate(&s, rates[i], level_of(2500));
		snprintf(what, sizeof(what), "rate of %g", rates[i]);
		check_errors(&s, what, errors);
	}
}

/* What is excluded by the mixture is what lies outside of the interval. */
static void a_rate_interval_ends_where_the_mixture_excludes(void **state)
{
	struct stats_level level = level_of(2500);

	(void)state;
	for (double x = 0; x <= 1000; x += 50) {
		struct interval interval = stats_rate_interval(x, 1000, level);

		for (double p = 0.005; p < 1; p += 0.01)
			assert_int_equal(!holds(interval, p), stats_beta_binomial(x, 1000, p, level) > log(1 / level.alpha));
	}
}

/* Users with 1 to 30 requests each, and a rate of errors of their own that grows with their number: a mean by request would be wrong. */
static int run_clustered(struct simulation *s, double truth, struct stats_level level)
{
	struct stats_sums sums = {};

	for (int look = 0; look < LOOKS; look++) {
		struct stats_mean mean;

		for (int i = 0; i < s->step; i++) {
			double y = 1 + gsl_rng_uniform_int(s->rng, 30);
			double x = gsl_ran_binomial(s->rng, gsl_ran_beta(s->rng, 1, 9), (unsigned)y);

			sums.n++;
			sums.x += x;
			sums.xx += x * x;
			sums.y += y;
			sums.yy += y * y;
			sums.xy += x * y;
		}
		if (stats_ratio(&sums, &mean) && !holds(stats_mean_interval(&mean, level), truth))
			return 1;
		if (stats_beta_binomial(mean.value * stats_effective_sample(&sums, &mean), stats_effective_sample(&sums, &mean), truth, level) >=
		    log(1 / level.alpha))
			return 1;
	}
	return 0;
}

static void ratios_of_clustered_requests_are_covered_at_all_looks(void **state)
{
	struct simulation s = begin_simulation(5, 50);
	int errors = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++)
		errors += run_clustered(&s, 0.1, level_of(2500));
	check_errors(&s, "error rate by user, both ways", errors);
}

static int run_quantile(struct simulation *s, double q, struct stats_level level)
{
	double count[SHUNT_HIST_SLOTS] = {}, truth = 10 * -log(1 - q);

	for (int look = 0; look < LOOKS; look++) {
		for (int i = 0; i < s->step; i++)
			count[shunt_hist_slot((__u64)(gsl_ran_exponential(s->rng, 10) * 1e6))]++;
		if (!holds(stats_quantile_interval(count, SHUNT_HIST_SLOTS, 1, q, edge_ms, level), truth))
			return 1;
	}
	return 0;
}

static void quantiles_are_covered_at_all_looks(void **state)
{
	struct simulation s = begin_simulation(6, 100);
	int errors = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++)
		errors += run_quantile(&s, 0.95, level_of(5000));
	check_errors(&s, "p95 of an exponential", errors);
}

static int run_split(struct simulation *s, const double *shares, size_t k)
{
	double users[3] = {};
	unsigned drawn[3];

	for (int look = 0; look < LOOKS; look++) {
		gsl_ran_multinomial(s->rng, k, (unsigned)s->step, shares, drawn);
		for (size_t i = 0; i < k; i++)
			users[i] += drawn[i];
		if (stats_split_p_value(users, shares, k, 1000) < ALPHA)
			return 1;
	}
	return 0;
}

static void a_right_split_is_rarely_called_wrong(void **state)
{
	const double shares[] = { 0.7, 0.2, 0.1 };
	struct simulation s = begin_simulation(7, 100);
	int errors = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++)
		errors += run_split(&s, shares, ARRAY_SIZE(shares));
	check_errors(&s, "split 70/20/10", errors);
}

/* One side loses 5 % of its users (they break before they are counted). */
static void a_split_that_loses_users_is_found(void **state)
{
	const double fair[] = { 0.5, 0.5 };

	(void)state;
	assert_true(stats_split_p_value((double[]){ 500000, 475000 }, fair, 2, 1000) < 1e-9);
	assert_true(stats_split_p_value((double[]){ 40000, 38000 }, fair, 2, 1000) < 1e-3);
	assert_true(stats_split_p_value((double[]){ 500, 475 }, fair, 2, 1000) > 0.05);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_normal_mixture_is_that_of_confseq),
		cmocka_unit_test(the_beta_binomial_mixture_is_that_of_confseq),
		cmocka_unit_test(rate_intervals_are_those_of_confseq),
		cmocka_unit_test(differences_are_those_of_gbstats),
		cmocka_unit_test(the_delta_method_of_equal_users_is_the_plain_variance),
		cmocka_unit_test(nothing_to_divide_by_is_no_estimate),
		cmocka_unit_test(alike_requests_of_a_user_count_once),
		cmocka_unit_test(a_quantile_is_a_rate_of_values_below),
		cmocka_unit_test(a_rate_interval_ends_where_the_mixture_excludes),
		cmocka_unit_test(the_split_test_is_the_beta_binomial_of_a_coin),
		cmocka_unit_test(means_are_covered_at_all_looks),
		cmocka_unit_test(rates_are_covered_at_all_looks),
		cmocka_unit_test(ratios_of_clustered_requests_are_covered_at_all_looks),
		cmocka_unit_test(quantiles_are_covered_at_all_looks),
		cmocka_unit_test(a_right_split_is_rarely_called_wrong),
		cmocka_unit_test(a_split_that_loses_users_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
