/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * An experiment against users that are made up, many times over: how often does it decide what, and when? Nothing is simulated but the users:
 * readings, assess() and the stage machine are those of the agent, with a clock that jumps.
 *
 *     users ──▶ pool of blocks of sums, one pool for each kind of version ──▶ each run: a block after the other ──▶ assess() ──▶ decide_next() ──▶ outcome
 *
 * Users are drawn one by one, but only once: runs draw blocks of them from the pool, with repetition, which makes 2,000 runs of 100 iterations a
 * matter of seconds (Efron's bootstrap, of blocks). Versions without an effect have the same pool, so that they do not differ at all; versions
 * with one are drawn with the same random numbers. How many users a version gets is not random: a right split never looks wrong here.
 */
#ifndef SHUNT_SIMULATE_H
#define SHUNT_SIMULATE_H

#include <stdint.h>

#include "world/world.h"

/* What the users are like. Effects are relative and of all candidates: 0.1 is 10 % more. */
struct simulate_options {
	unsigned int runs;
	uint64_t seed;
	unsigned int users;       /* new ones in each iteration, over all versions */
	double requests;          /* of a user, on average; at least 1 */
	double share;             /* of the users, that each candidate gets under FixedSplit; 0: as many as the baseline */
	double error_rate;        /* of a request */
	double latency_ms;        /* mean; log-normal, sigma 0.5 for a request and 0.3 for its user */
	double conversion_rate;   /* of a user; it is also what metrics of providers read */
	double error_effect, latency_effect, conversion_effect;
	double loss;              /* share of the candidates' users that get lost on the way */
};

/* What came out of some of the runs. */
struct simulate_outcome {
	char *decision;      /* a verdict; without criteria.strength: Winner, NoWinner, RolledBack */
	int version;         /* the winner; -1: none */
	unsigned int runs;
	double iteration[3]; /* at which it was decided: 10th, 50th, 90th percentile of these runs */
};

struct simulate_result {
	struct simulate_outcome *outcomes;
	size_t outcome_count;
	unsigned int iterations; /* that the experiment has at most */
};

/* 0, or -EINVAL and *ret_problem when the experiment cannot run, or -ENOMEM. Free the result with simulate_clear(). */
int simulate(const struct world *world, const struct experiment *experiment, const struct simulate_options *options,
	     struct simulate_result *ret_result, char **ret_problem);
void simulate_clear(struct simulate_result *result);

#endif
