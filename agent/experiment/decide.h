/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The stage machine of an experiment: what to do next. Pure: time is a value, what was done is reported by calls.
 *
 *     Waiting ──target free──▶ Initializing ──start tasks──▶ Running ──last iteration + interval, or rollback──▶ Finishing ──finish tasks──▶ Completed
 *        │                          │                       │  ▲                                        promote first   │
 *        └── bad tasks ─────────────┴── task failed ────────┘  └─ read, assess, loop tasks                              └── task failed
 *                                       ▼                                                                               ▼
 *                                 Completed and Failed: no finish tasks,                            the same; the promotion stands
 *                                 the route's own rules hold again
 *
 * Before the first iteration the experiment takes the route's split (salted by its uid, in its own weights unless FixedSplit), and after each the
 * weights move on; the iteration that follows already counts what they bring.
 *
 * As Iter8's controller (etc3 controllers/; reference/iter8.md section 3.2): the first iteration runs at once, the last is followed by one interval,
 * stages never go back. Different on purpose: a final verdict under criteria.strength ends the experiment like its last iteration, at once; a
 * rollback recommends the baseline (T3), bad tasks make the experiment Failed (T8), contenders of the same second have an order, and the
 * steering table follows the recommendation before any finish task runs.
 */
#ifndef SHUNT_DECIDE_H
#define SHUNT_DECIDE_H

#include "experiment/assess.h"
#include "experiment/state.h"
#include "world/world.h"

/* An experiment that may want the same target. */
struct contender {
	const struct experiment *experiment;
	const struct state *state;
};

struct decide_input {
	const struct world *world;
	const struct experiment *experiment;
	const struct contender *contenders; /* every experiment of the world, this one among them or not; needed in stage Waiting only */
	size_t contender_count;
	int64_t now;         /* ms since the epoch */
	int64_t interval_ms; /* between iterations */
};

enum decision_kind {
	DECIDE_WAIT,    /* nothing until `until`, or (0) until another experiment or the world changes */
	DECIDE_READ,    /* take the readings of an iteration, then decide_assessed() */
	DECIDE_STEER,   /* split_hold() unless state.split.held, make the tables follow, split_steered() (split.h) */
	DECIDE_PROMOTE, /* steer to state.recommended, then decide_promoted() */
	DECIDE_TASK,    /* run `task`, then decide_task_done() */
	DECIDE_OVER,
};

struct decision {
	enum decision_kind kind;
	int64_t until;
	const struct task *task;
};

/* An experiment that was not there before: initTime and the three conditions. */
void decide_init(struct state *state, int64_t now);

/* Moves the experiment on as far as it goes without the outside world, and says what that has to do. Call again after each report. */
struct decision decide_next(const struct decide_input *in, struct state *state);

/* Reports. The analysis of the iteration is in state->analysis already. */
void decide_assessed(const struct decide_input *in, struct state *state, const struct assessment *assessment);
void decide_promoted(const struct decide_input *in, struct state *state, int result); /* 0, or -errno: it is tried again after an interval */
void decide_task_done(const struct decide_input *in, struct state *state, bool ok, const char *message);

/* Ends the experiment as failed; no tasks run. For what only the outside world can see. */
void decide_fail(struct state *state, int64_t now, const char *reason, const char *message);

/* Index of a version by name; the baseline's when there is none of that name. */
size_t decide_version(const struct experiment *experiment, const char *name);

const char *testing_pattern_name(enum testing_pattern testing);
const char *deployment_pattern_name(enum deployment_pattern deployment);

#endif
