/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks of an experiment's actions. This version has one: common/exec, which runs a command.
 *
 * A child gets no capabilities (also none by running a set-user-ID program), the user nobody unless configured, a small environment, a process group
 * of its own and a deadline, at which the whole group is killed. What it prints is kept in bounds: its first and last bytes are in the result.
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
};

/* Whether a task can be run at all: its name is known and its inputs are right. 0, or -EINVAL and *ret_problem, which says what is allowed. Pure. */
int task_check(const struct task *task, char **ret_problem);

/*
 * The command line of a common/exec task, its arguments expanded from the context unless disableInterpolation says not to; NULL context: there is no
 * recommended version yet, so only tasks without interpolation can run. Pure. 0 and a NULL-terminated vector (task_free_args), or -errno and
 * *ret_problem.
 */
int task_args(const struct task *task, const json_t *context, char ***ret_args, char **ret_problem);
void task_free_args(char ***args);

struct task_run;

/* The end of a task, from the loop. message: a sentence with how it ended and what it printed; never NULL. The run is gone by then. */
typedef void (*task_done_fn)(void *arg, bool ok, const char *message);

/* Starts a task. 0, or -errno and *ret_problem; done is called only after 0, and not after task_cancel(). */
int task_start(uv_loop_t *loop, const struct task *task, const json_t *context, const struct task_options *options, task_done_fn done, void *arg,
	       struct task_run **ret_run, char **ret_problem);

/* Kills the task's process group. The memory goes when the loop has closed the handles. *run becomes NULL; NULL is fine. */
void task_cancel(struct task_run **run);

#endif
