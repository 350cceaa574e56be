/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Runs the experiments of a world on a libuv loop: takes their readings, assesses, decides, runs tasks, keeps the status files. It knows the
 * datapath only by four calls of its owner, so that this whole loop runs in a test.
 *
 *     engine_set_world() ──▶ one run for each Experiment ──▶ decide_next() ─┬─ READ     edge.resolve, edge.read, providers ──▶ assess()
 *                                                                           ├─ STEER    edge.resolve, status file, then edge.steer
 *                                                                           ├─ PROMOTE  status file first, then edge.steer
 *                                                                           └─ TASK     a child
 *
 * Everything that must survive is in the status file before it happens, so an agent that is killed at any point goes on where it was: the same
 * iteration, startTime and counters, a promotion that holds from the first plan on, finish tasks from the first that was not done.
 */
#ifndef SHUNT_ENGINE_H
#define SHUNT_ENGINE_H

#include <uv.h>

#include "datapath/datapath.h"
#include "experiment/task.h"
#include "plan/plan.h"
#include "reading/mock.h"
#include "world/world.h"

/* Where the versions of an experiment are in the tables. Arrays are as long as the experiment has versions and come zeroed; the engine frees all. */
struct resolution {
	int *series;   /* [version] of shunt_count; -1: the version is in no route */
	char **names;  /* [version] the series' version name, which may differ from the experiment's; NULL like -1 */
	char *route;   /* "namespace/name" of the one route that has all versions; NULL: there is no such route */
	double *percent; /* [version] weights that the route's manifest gives in split_entry(); -1 in [0]: it has no such entry */
	char *problem; /* why something is missing; NULL: nothing is */
};

/* The engine's owner. All are called from the loop, never from within engine_set_world() or engine_steerings(). */
struct engine_edge {
	/* plan_resolve_versions() on the live tables. -errno: nothing is known. */
	int (*resolve)(void *arg, const struct experiment *experiment, struct resolution *resolution);
	/* datapath_read_numbers() */
	int (*read)(void *arg, int series, struct series_numbers *ret_numbers);
	/* user_fold_find() on a fold that is at most a second old. NULL: nobody tells users apart. */
	int (*read_users)(void *arg, uint32_t trial, int series, struct user_sums *ret_sums);
	/* Plan the live world anew with engine_steerings() and commit. Returns when the packets follow it: 0 or -errno. */
	int (*steer)(void *arg);
	/* Some status has changed. May be NULL. */
	void (*changed)(void *arg);
	void *arg;
};

struct engine_options {
	const char *folder;         /* of the status files */
	const char *secrets;        /* of metric providers (reading/secret.h); NULL: <folder>/.secrets */
	struct task_options task;
	int64_t interval_ms;        /* in place of spec.duration.intervalSeconds; 0: as the manifest says */
	int64_t (*now)(void *arg);  /* ms since the epoch; NULL: the system's clock */
	void *now_arg;
	struct mock_random random;  /* next NULL: the system's random numbers */
};

struct engine;

/* The strings of options are copied. */
int engine_new(uv_loop_t *loop, const struct engine_options *options, const struct engine_edge *edge, struct engine **ret_engine);

/* Stops everything; status files stay. Not from within an edge call. Memory goes as the loop closes the handles: run it until nothing is left. */
void engine_free(struct engine **engine);

/*
 * Takes a new world, which the caller keeps until the next engine_set_world() or engine_free(). New experiments begin (or go on from their status
 * file), changed ones go on with what is written now, those that are gone end, with their promotion and their status file. Nothing runs before the loop
 * does, so the order is: engine_set_world(), plan with engine_steerings(), commit. 0 or -ENOMEM.
 */
int engine_set_world(struct engine *engine, const struct world *world);

/*
 * What experiments want of routes: the weights of those that run and the promotions that hold, also of experiments that completed before a restart.
 * The array is the caller's to free; its strings live until the engine runs again. 0 or -ENOMEM.
 */
int engine_steerings(const struct engine *engine, struct steering **ret_steerings, size_t *ret_count);

/*
 * All experiments in short, for a list of them: [{namespace, name, target, stage, completed_iterations, recommended, verdict, weights, message}]. Cheap, also with
 * a thousand. NULL when there is no memory.
 */
json_t *engine_list(const struct engine *engine);

/* Appends to list what is wrong with experiments (report.h). */
void engine_problems(const struct engine *engine, json_t *list);

/* All experiments with all of their status: [{namespace, name, target, interval_ms, status}]. NULL when there is no memory. */
json_t *engine_view(const struct engine *engine);

#endif
