/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/simulate.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "experiment/assess.h"
#include "experiment/decide.h"
#include "experiment/split.h"
#include "experiment/state.h"
#include "reading/reading.h"
#include "shunt/histogram.h"
#include "util/cleanup.h"
#include "util/text.h"

#define T0 1000000000000ll /* any moment, in ms */
#define NS_PER_MS 1e6
#define POOL_USERS 2000000
#define POOL_BLOCKS_MIN 200
#define POOL_BLOCKS_MAX 2000
#define REQUEST_SIGMA 0.5
#define USER_SIGMA 0.3
#define REQUESTS_MAX 1000 /* of a user */

struct pool {
	struct evidence *blocks;
	size_t count;
};

/* One run's end. */
struct run {
	size_t outcome;
	int iteration;
};

struct simulation {
	const struct world *world;
	const struct experiment *e;
	const struct simulate_options *o;
	struct simulate_result *result;
	gsl_rng *rng;
	struct pool pools[2];      /* of the baseline, of the candidates (the same when nothing tells them apart) */
	int block_percent;         /* of an iteration's users */
	struct readings *readings;
	struct run *runs;
	char **problem;
};

/* ---- users ---- */

struct kind {
	double error_rate, latency_ms, conversion_rate, loss;
};

static void add_latency(struct evidence *block, double ms)
{
	block->latency[shunt_hist_slot((__u64)(ms * NS_PER_MS))]++;
}

/* Numbers are drawn in the same order whatever the rates are, so that two kinds of users from one seed differ by their rates only. */
static void draw_user(gsl_rng *rng, const struct simulate_options *o, const struct kind *kind, struct evidence *block)
{
	double values[QUANTITY_MAX] = { [QUANTITY_UNITS] = 1 };
	const double centre = (USER_SIGMA * USER_SIGMA + REQUEST_SIGMA * REQUEST_SIGMA) / 2; /* so that the mean is latency_ms */
	double scale = kind->latency_ms * exp(gsl_ran_gaussian_ziggurat(rng, USER_SIGMA) - centre);
	unsigned int more = o->requests > 1 ? gsl_ran_geometric(rng, 1 / o->requests) - 1 : 0;
	bool lost = gsl_rng_uniform(rng) < kind->loss;

	values[QUANTITY_REQUESTS] = values[QUANTITY_RESPONSES] = 1 + fmin(more, REQUESTS_MAX - 1);
	values[QUANTITY_CONVERSIONS] = gsl_rng_uniform(rng) < kind->conversion_rate;
	for (int i = 0; i < values[QUANTITY_REQUESTS]; i++) {
		double ms = scale * exp(gsl_ran_gaussian_ziggurat(rng, REQUEST_SIGMA));

		values[QUANTITY_ERRORS] += gsl_rng_uniform(rng) < kind->error_rate;
		values[QUANTITY_LATENCY_MS] += ms;
		if (!lost)
			add_latency(block, ms);
	}
	if (!lost)
		evidence_add(block, values);
}

static int draw_pool(const struct simulation *s, const struct kind *kind, struct pool *ret_pool)
{
	size_t users = (size_t)fmax(1, round(s->o->users * s->block_percent / 100.0));
	size_t count = POOL_USERS / users;
	struct evidence *blocks;

	count = count < POOL_BLOCKS_MIN ? POOL_BLOCKS_MIN : count > POOL_BLOCKS_MAX ? POOL_BLOCKS_MAX : count;
	blocks = calloc(count, sizeof(*blocks));
	if (!blocks)
		return -ENOMEM;
	gsl_rng_set(s->rng, s->o->seed);
	for (size_t i = 0; i < count; i++) {
		for (size_t user = 0; user < users; user++)
			draw_user(s->rng, s->o, kind, &blocks[i]);
	}
	*ret_pool = (struct pool){ blocks, count };
	return 0;
}

static int draw_pools(struct simulation *s)
{
	const struct simulate_options *o = s->o;
	struct kind baseline = { o->error_rate, o->latency_ms, o->conversion_rate, 0 };
	struct kind candidate = { o->error_rate * (1 + o->error_effect), o->latency_ms * (1 + o->latency_effect),
				  o->conversion_rate * (1 + o->conversion_effect), o->loss };
	int r = draw_pool(s, &baseline, &s->pools[0]);

	if (r < 0)
		return r;
	if (memcmp(&baseline, &candidate, sizeof(baseline)) != 0)
		return draw_pool(s, &candidate, &s->pools[1]);
	s->pools[1] = s->pools[0];
	return 0;
}

static void add_block(struct evidence *to, const struct evidence *block)
{
	for (int i = 0; i < QUANTITY_MAX; i++) {
		to->sum[i] += block->sum[i];
		for (int j = 0; j < QUANTITY_MAX; j++)
			to->product[i][j] += block->product[i][j];
	}
	for (int i = 0; i < SHUNT_HIST_SLOTS; i++)
		to->latency[i] += block->latency[i];
}

/* ---- shares of the users ---- */

static int gcd(int a, int b)
{
	return b ? gcd(b, a % b) : a;
}

/* Per cent of the version, where the experiment does not set weights. */
static int fixed_percent(const struct simulation *s, size_t version)
{
	int candidates = (int)s->e->version_count - 1;
	int each = s->o->share > 0 ? (int)round(100 * s->o->share) : 100 / (candidates + 1);

	return version > 0 ? each : 100 - candidates * each;
}

static int percent_of(const struct simulation *s, const struct state *state, size_t version)
{
	int weights[SHUNT_SHARES];

	if (split_weighs(s->e) && s->e->version_count <= SHUNT_SHARES && split_weights(s->e, state, weights))
		return weights[version];
	return fixed_percent(s, version);
}

static int block_percent(const struct simulation *s)
{
	int percent = 100;

	if (split_weighs(s->e))
		return 1;
	for (size_t v = 0; v < s->e->version_count; v++)
		percent = gcd(percent, fixed_percent(s, v));
	return percent;
}

/* ---- readings ---- */

static double quantile_of(const struct evidence *e, double q)
{
	__u64 slots[SHUNT_HIST_SLOTS];

	for (int i = 0; i < SHUNT_HIST_SLOTS; i++)
		slots[i] = (__u64)e->latency[i];
	return shunt_hist_quantile(slots, q).mid_ns / NS_PER_MS;
}

/* A metric that the evidence does not bear on is a count of something, or a provider's: that reads as the conversion rate. */
static double value_of(const struct metric_basis *basis, const char *metric, const struct evidence *e)
{
	switch (basis->form) {
	case FORM_FRACTION:
	case FORM_RATIO:
		return e->sum[basis->over] / e->sum[basis->under];
	case FORM_QUANTILE:
		return quantile_of(e, basis->quantile);
	case FORM_COUNT:
		return e->sum[strstr(metric, "error") ? QUANTITY_ERRORS : QUANTITY_REQUESTS];
	case FORM_NONE:
		return e->sum[QUANTITY_CONVERSIONS] / e->sum[QUANTITY_UNITS];
	}
	return NAN;
}

static void take_readings(const struct simulation *s)
{
	for (size_t m = 0; m < s->readings->metric_count; m++) {
		for (size_t v = 0; v < s->readings->version_count; v++)
			reading_set(&s->readings->cells[m * s->readings->version_count + v],
				    value_of(&s->readings->bases[m], s->readings->metrics[m], &s->readings->evidence[v]));
	}
}

static void reset_evidence(const struct simulation *s)
{
	for (size_t v = 0; v < s->e->version_count; v++)
		s->readings->evidence[v] = (struct evidence){
			.present = true,
			.unit = UNIT_USER,
			.share = split_weighs(s->e) ? 0 : fixed_percent(s, v) / 100.0,
		};
}

static void add_users(const struct simulation *s, const struct state *state)
{
	for (size_t v = 0; v < s->e->version_count; v++) {
		const struct pool *pool = &s->pools[v > 0];

		for (int left = percent_of(s, state, v) / s->block_percent; left > 0; left--)
			add_block(&s->readings->evidence[v], &pool->blocks[gsl_rng_uniform_int(s->rng, pool->count)]);
	}
}

/* ---- one run ---- */

static int note_outcome(const struct simulation *s, const char *decision, int version, size_t *ret_outcome)
{
	struct simulate_result *result = s->result;
	struct simulate_outcome *grown;

	for (*ret_outcome = 0; *ret_outcome < result->outcome_count; ++*ret_outcome) {
		struct simulate_outcome *outcome = &result->outcomes[*ret_outcome];

		if (outcome->version == version && strcmp(outcome->decision, decision) == 0) {
			outcome->runs++;
			return 0;
		}
	}
	grown = reallocarray(result->outcomes, result->outcome_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	result->outcomes = grown;
	grown[result->outcome_count] = (struct simulate_outcome){ .decision = strdup(decision), .version = version, .runs = 1 };
	return grown[result->outcome_count++].decision ? 0 : -ENOMEM;
}

static int end_run(const struct simulation *s, const struct state *state, const struct assessment *last, struct run *run)
{
	bool won = last && last->winner_found && !state->rolled_back;
	const char *decision = state->rolled_back ? "RolledBack" : won ? "Winner" : "NoWinner";

	if (!last) {
		*s->problem = text_printf("the experiment does not run: %s", state->message ?: "it has no iteration");
		return -EINVAL;
	}
	if (s->e->strength.given && !state->rolled_back)
		decision = verdict_name(last->verdict->kind);
	run->iteration = state->completed_iterations + state->rolled_back;
	return note_outcome(s, decision, won ? (int)last->winner : -1, &run->outcome);
}

static int iterate(const struct simulation *s, const struct decide_input *in, struct state *state, struct assessment **last)
{
	int weights[SHUNT_SHARES], r;
	bool known = s->e->version_count <= SHUNT_SHARES && split_weights(s->e, state, weights);

	add_users(s, state);
	take_readings(s);
	assessment_free(last);
	r = assess(s->e, s->readings, known ? weights : NULL, last);
	if (r < 0)
		return r;
	decide_assessed(in, state, *last);
	json_array_clear(state->events);
	return 0;
}

static int steer(const struct simulation *s, struct state *state)
{
	_cleanup_free_ char **names = calloc(s->e->version_count, sizeof(*names));
	int r = names ? 0 : -ENOMEM;

	for (size_t v = 0; names && v < s->e->version_count; v++)
		names[v] = s->e->versions[v].name;
	if (r == 0 && !state->split.held)
		r = split_hold(s->e, state, &(struct split_origin){ "default/simulated", 0, names, NULL });
	split_steered(state, r, r < 0 ? "out of memory" : NULL, 0);
	return r;
}

/* The outside world of the stage machine: all tasks succeed, everything takes no time but the intervals. */
static int carry_out(const struct simulation *s, struct decide_input *in, const struct decision *decision, struct state *state,
		     struct assessment **last)
{
	switch (decision->kind) {
	case DECIDE_READ:
		return iterate(s, in, state, last);
	case DECIDE_WAIT:
		in->now = decision->until > in->now ? decision->until : in->now + in->interval_ms;
		return 0;
	case DECIDE_STEER:
		return steer(s, state);
	case DECIDE_PROMOTE:
		decide_promoted(in, state, 0);
		return 0;
	case DECIDE_TASK:
		decide_task_done(in, state, true, "simulated");
		return 0;
	case DECIDE_OVER:
		return 0;
	}
	return 0;
}

static int simulate_run(const struct simulation *s, struct run *run)
{
	struct decide_input in = { .world = s->world, .experiment = s->e, .now = T0, .interval_ms = (int64_t)s->e->interval_seconds * 1000 };
	_cleanup_(assessment_free) struct assessment *last = NULL;
	_cleanup_(state_free) struct state *state = NULL;
	struct decision decision = { .kind = DECIDE_WAIT };
	int r = state_new(&state);

	if (r < 0)
		return r;
	decide_init(state, T0);
	reset_evidence(s);
	while (r == 0 && decision.kind != DECIDE_OVER) {
		decision = decide_next(&in, state);
		r = carry_out(s, &in, &decision, state, &last);
	}
	return r < 0 ? r : end_run(s, state, last, run);
}

/* ---- all of them ---- */

static int compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int summarize(const struct simulation *s)
{
	static const double quantiles[] = { 0.1, 0.5, 0.9 };
	_cleanup_free_ int *iterations = calloc(s->o->runs, sizeof(*iterations));

	if (!iterations)
		return -ENOMEM;
	for (size_t i = 0; i < s->result->outcome_count; i++) {
		struct simulate_outcome *outcome = &s->result->outcomes[i];
		size_t count = 0;

		for (unsigned int run = 0; run < s->o->runs; run++) {
			if (s->runs[run].outcome == i)
				iterations[count++] = s->runs[run].iteration;
		}
		qsort(iterations, count, sizeof(*iterations), compare_ints);
		for (size_t q = 0; q < ARRAY_SIZE(quantiles); q++)
			outcome->iteration[q] = iterations[(size_t)ceil(quantiles[q] * (double)count) - 1];
	}
	return 0;
}

static int compare_outcomes(const void *a, const void *b)
{
	const struct simulate_outcome *one = a, *other = b;

	return (one->runs < other->runs) - (one->runs > other->runs);
}

static int run_all(struct simulation *s)
{
	int r = draw_pools(s);

	if (r == 0)
		r = readings_new(s->world, s->e, &s->readings);
	gsl_rng_set(s->rng, s->o->seed + 1);
	for (unsigned int run = 0; r == 0 && run < s->o->runs; run++)
		r = simulate_run(s, &s->runs[run]);
	if (r == 0)
		r = summarize(s);
	qsort(s->result->outcomes, s->result->outcome_count, sizeof(*s->result->outcomes), compare_outcomes);
	return r;
}

int simulate(const struct world *world, const struct experiment *e, const struct simulate_options *options, struct simulate_result *ret_result,
	     char **ret_problem)
{
	struct simulate_result result = { .iterations = (unsigned int)(e->iterations_per_loop * e->max_loops) };
	struct simulation s = { .world = world, .e = e, .o = options, .result = &result, .problem = ret_problem };
	int r = 0;

	if (e->version_count == 0) {
		*ret_problem = strdup("the experiment has no versionInfo");
		return -EINVAL;
	}
	s.block_percent = block_percent(&s);
	if (fixed_percent(&s, 0) <= 0) {
		*ret_problem = text_printf("candidates with a share of %g each leave nothing for the baseline", options->share);
		return -EINVAL;
	}
	s.rng = gsl_rng_alloc(gsl_rng_mt19937);
	s.runs = calloc(options->runs + 1, sizeof(*s.runs));
	r = s.rng && s.runs ? run_all(&s) : -ENOMEM;
	if (s.pools[1].blocks != s.pools[0].blocks)
		free(s.pools[1].blocks);
	free(s.pools[0].blocks);
	readings_free(&s.readings);
	free(s.runs);
	if (s.rng)
		gsl_rng_free(s.rng);
	if (r < 0)
		simulate_clear(&result);
	else
		*ret_result = result;
	return r;
}

void simulate_clear(struct simulate_result *result)
{
	for (size_t i = 0; i < result->outcome_count; i++)
		free(result->outcomes[i].decision);
	free(result->outcomes);
	*result = (struct simulate_result){};
}
