/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How an experiment divides the users of its route. Pure.
 *
 *     route as written ──▶ split_hold() ──▶ state.split ──▶ plan() ──▶ tables
 *                                             ▲
 *                          assess().weights ──▶ split_move(): the fewest users move, none leaves a version that grows (plan/shares.h)
 *
 *     FixedSplit    the weights as they are written; only the salt is the experiment's
 *     Progressive   from the weights as they are written, then what assess() recommends after each iteration
 *     BlueGreen     the candidates have everything from the first iteration on, as far as maxCandidateWeight lets them
 *     Conformance   nothing: there is one version
 */
#ifndef SHUNT_SPLIT_H
#define SHUNT_SPLIT_H

#include "experiment/state.h"
#include "world/world.h"

/* Where the versions are. */
struct split_origin {
	const char *route;
	uint64_t route_hash;
	char *const *names;    /* [version] as the route has them */
	const double *percent; /* [version] as the route's manifest weighs them; NULL: it does not say */
};

/* Does the experiment divide users at all; by weights of its own? */
bool split_divides(const struct experiment *experiment);
bool split_weighs(const struct experiment *experiment);

/* The entry of the route whose weights the experiment sets: that of a version's weightObjRef.fieldPath, else -1, the default one. */
int split_entry(const struct experiment *experiment);

/* BlueGreen's weights: the candidates have everything, each as far as maxCandidateWeight lets it (etc3 DefaultBlueGreenSplit is 0, 100). */
void split_green(const struct experiment *experiment, int *ret_weights);

/* Takes the split; the tables do not follow yet. 0, -ENOMEM, or -E2BIG: more versions than a split has shares (SHUNT_SHARES). */
int split_hold(const struct experiment *experiment, struct state *state, const struct split_origin *origin);

/*
 * Gives the split back when the experiment has failed: nobody watches its candidates any more, so the route's own rules hold. Nothing happens after a
 * promotion, which stands. The tables do not follow yet: split_steered() with released set.
 */
void split_release(struct state *state);

/* What the tables still have to follow, and not too soon after a failure: split_hold() unless held, steer, split_steered(). */
bool split_wanted(const struct experiment *experiment, struct state *state, int64_t now);

/* What became of it: 0; or -errno and a problem, said once and tried again from retry_at (ms since the epoch) on, while the experiment goes on. */
void split_steered(struct state *state, int result, const char *problem, int64_t retry_at);

/* The weights of an assessment, per cent by version. Nothing happens when the experiment does not weigh or does not hold the split. */
void split_move(const struct experiment *experiment, struct state *state, const int *weights);

/* The weights in force, by version; false: not known. */
bool split_weights(const struct experiment *experiment, const struct state *state, int *ret_weights);

/* Keeps status.currentWeightDistribution: of a split that is not the experiment's own, and of a promotion. */
void split_observe(const struct experiment *experiment, struct state *state, const double *percent);
void split_promoted(const struct experiment *experiment, struct state *state);

#endif
