/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Where an experiment stands: what its status says, as values. decide.c moves it on, status.c writes it and reads it back.
 *
 * Times are milliseconds since the epoch, 0 where there is none yet; the status file holds whole seconds, as Kubernetes does.
 */
#ifndef SHUNT_STATE_H
#define SHUNT_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "plan/shares.h"

/* In this order; an experiment never goes back. */
enum stage {
	STAGE_WAITING,      /* for its target */
	STAGE_INITIALIZING, /* start tasks */
	STAGE_RUNNING,      /* iterations, loop tasks */
	STAGE_FINISHING,    /* finish tasks */
	STAGE_COMPLETED,
	STAGE_MAX
};

enum condition_type {
	CONDITION_COMPLETED,
	CONDITION_FAILED,
	CONDITION_TARGET_ACQUIRED,
	CONDITION_NO_FEASIBLE_VERSION, /* the recommendation is the baseline although no version satisfies all objectives; only when True */
	CONDITION_INCONCLUSIVE,        /* ... although no version won; only when True */
	CONDITION_MAX
};

struct condition {
	bool status;
	int64_t since; /* last transition */
	char *reason, *message; /* NULL when absent */
};

/* The steering that the experiment's end asks for. */
struct state_promotion {
	bool made;       /* it was asked for: the route, version and hash are those */
	bool released;   /* it no longer holds: the route's object has changed, or a later experiment needs the route */
	bool steered;    /* the tables follow it */
	char *route;     /* NULL: the version is in no single route */
	char *version;   /* name of the series */
	uint64_t route_hash;
};

/*
 * How the route's users are divided while the experiment runs, and after it when it ended without a promotion. From `held` on the split is the
 * experiment's: salted with its uid and, when weighted, in its shares.
 */
struct state_split {
	bool held;
	bool released;  /* no longer: the experiment has failed, the route has changed after the end, or a later experiment needs it */
	bool steered;   /* the tables follow it */
	bool weighted;  /* shares in place of the entry's weights (Progressive, BlueGreen); else the manifest's weights */
	char *route;
	uint64_t route_hash;
	int entry;      /* whose weights they are; -1: the default one */
	size_t version_count;
	char **versions; /* names as the experiment has them; indices of shares are into this list */
	char **names;    /* as the route has them */
	struct shares shares;
	uint64_t moved_last, moved_all; /* hashes, of 2^32, that the last change of weights moved, and all of them */
	int changes;
	char *problem;    /* why nothing is steered; NULL: nothing is wrong */
	int64_t retry_at; /* not kept */
};

struct state {
	enum stage stage;
	int64_t init_time, start_time, last_update;
	int completed_iterations;
	struct condition conditions[CONDITION_MAX];
	char *recommended; /* name of a version; NULL before Running */
	char *message;     /* "Reason: message" of the last event; NULL before the first */
	bool rolled_back;
	bool winner_found, any_feasible; /* of the last iteration */
	bool final;       /* the verdict of the last iteration ends the experiment (criteria.strength) */

	/* what has been done, so that a restart does it neither twice nor never */
	bool start_done;
	int loops_done;
	char *task_action; /* action whose tasks are being run; NULL: none */
	size_t task_next;  /* its first task that is not done */
	json_t *tasks;     /* array of {task, ok, message}: how those of the last action ended */
	char *scratch;     /* SCRATCH_DIR of its tasks (scratch.h); NULL: none was needed yet, or it is gone */
	json_t *collected; /* status.analysis.aggregatedBuiltinHists: what metrics/collect has measured; NULL: nothing */
	char *uid; /* of the Experiment object; stand-alone, a random one of this run. Salts the split */
	struct state_split split;
	json_t *weights; /* status.currentWeightDistribution: [{name, value}]; NULL: not known */
	struct state_promotion promotion;

	int64_t retry_at; /* not before this time (not kept in the file) */

	json_t *base;     /* object: version -> counters at the start (builtin_base_to_json) */
	json_t *missing;  /* object: "metric version" -> {since, problem, attempts} */
	json_t *retried;  /* object: "metric version" -> {attempts, problem}: read, after attempts that failed; of the last iteration */
	json_t *metrics;  /* status.metrics; NULL before Running */
	json_t *analysis; /* status.analysis; NULL before the first iteration */
	json_t *evidence; /* verdict_to_json() of the last iteration; NULL before the first */
	json_t *variables; /* object: what tasks gave every version as a variable; NULL: nothing */
	json_t *notes;    /* array of sentences: what of the tasks is most likely a mistake (task_note()); NULL before the target is acquired */
	json_t *events;   /* array of "Reason: message" that nobody has taken yet (not kept) */
};

/* Forgets what the split held. */
void state_split_clear(struct state_split *split);

int state_new(struct state **ret_state);
void state_free(struct state **state);

/* The names that Iter8 gives them. */
const char *stage_name(enum stage stage);
const char *condition_name(enum condition_type type);

/* Records an event; it becomes status.message. */
__attribute__((format(printf, 3, 4))) void state_event(struct state *state, const char *reason, const char *format, ...);

/* Sets a condition; `since` moves only when the status changes. */
void state_set_condition(struct state *state, enum condition_type type, bool status, const char *reason, const char *message, int64_t now);

#endif
