/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks of an experiment's actions (reference/iter8.md section 1.2).
 *
 *     common/exec, common/bash, common/promote-kubectl, run:     a child (child.h, task_command.c)
 *     common/readiness                                           objects of the folder, else kubectl (task_readiness.c)
 *     knative/init-experiment                                    kubectl (task_knative.c)
 *     notification/http, notification/slack, metrics/collect     HTTP in a thread of its own (task_web.c, task_collect.c)
 *
 * Every task has a deadline and a result that is a sentence. All inputs are checked before anything of the experiment runs.
 */
#ifndef SHUNT_TASK_H
#define SHUNT_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#include "world/world.h"

#define TASK_USER "nobody"
#define TASK_DEADLINE_MS 300000 /* that of Iter8's jobs */

struct task_options {
	const char *user;     /* NULL: TASK_USER */
	uint64_t deadline_ms; /* 0: TASK_DEADLINE_MS */
	const char *secrets;  /* folder of secret_read(); NULL: there is none */
	const char *slack_url; /* NULL: Slack's own */
};

/* What a task may look at. All of it is the caller's and needed only while task_start() runs, but for world. */
struct task_context {
	const struct experiment *experiment;
	const json_t *document;           /* the Experiment with its status */
	const json_t *values;             /* name and variables of the recommended version, and `this`; NULL: none is recommended yet */
	const struct world *const *world; /* where the world is at any time; NULL: there is none */
	const json_t *collected;          /* what metrics/collect has found so far; NULL: nothing */
	const char *scratch;              /* SCRATCH_DIR of commands; NULL: there is none */
};

struct task_outcome {
	bool ok;
	const char *message; /* a sentence with how it ended and what it printed */
	json_t *collected;   /* what metrics/collect has found up to now; NULL: this was another task */
	json_t *variables;   /* object: variables that every version gets; NULL: none */
};

/*
 * Whether a task can be run at all: its name is known, its inputs, templates and condition are right. 0, or -EINVAL and *ret_problem, which says where,
 * what, and what is allowed. Pure.
 */
int task_check(const struct task *task, char **ret_problem);

/*
 * Appends to notes, an array, what is allowed and yet most likely a mistake: a sentence for each field of a template that a version of the experiment
 * has no variable for, so that nothing will stand in its place, as in Iter8. Pure.
 */
void task_note(const struct task *task, const struct experiment *experiment, json_t *notes);

/* Whether it is a command that may look for SCRATCH_DIR. */
bool task_uses_scratch(const struct task *task);

/*
 * The command line of a task that is one, its templates expanded. secret: of a run: task, NULL when it names none. Pure. 0 and a NULL-terminated
 * vector (task_free_args), or -errno and *ret_problem.
 */
int task_args(const struct task *task, const struct task_context *context, const json_t *secret, char ***ret_args, char **ret_problem);
void task_free_args(char ***args);

struct task_run;

/* The end of a task, from the loop. The run is gone by then. */
typedef void (*task_done_fn)(void *arg, const struct task_outcome *outcome);

/*
 * Starts a task. 0; 1 and *ret_text when its `if` does not hold, so that it is done; or -errno and *ret_text, what is wrong. done is called only
 * after 0, and not after task_cancel().
 */
int task_start(uv_loop_t *loop, const struct task *task, const struct task_context *context, const struct task_options *options, task_done_fn done,
	       void *arg, struct task_run **ret_run, char **ret_text);

/* Ends it, with its process group or its requests. The memory goes when the loop has closed the handles. *run becomes NULL; NULL is fine. */
void task_cancel(struct task_run **run);

#endif
