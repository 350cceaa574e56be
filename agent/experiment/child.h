/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A program that a task runs: with its argument vector, never through a shell of ours.
 *
 * A child gets no capabilities (also none by running a set-user-ID program), the user it is to run as, a small environment, a process group of its own
 * and a deadline, at which the whole group is killed. What it prints goes to the log line by line, and in bounds to its result: the first and the last
 * bytes.
 */
#ifndef SHUNT_CHILD_H
#define SHUNT_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>
#include <uv.h>

struct child;

struct child_options {
	const char *user;
	uint64_t deadline_ms;
	const char *label;    /* of its lines in the log; NULL: they are not logged */
	const char *variable; /* "NAME=value" beside the usual environment; NULL: none */
	const char *script;   /* what the child finds as /dev/fd/3, so that no process list shows it; NULL: nothing */
	json_t *secret;       /* whose values are hidden in what it prints (secret_hide()); NULL: none */
};

/* How it ended. */
struct child_end {
	int64_t status;
	int signal;           /* 0: by itself */
	bool late;            /* it was killed at its deadline */
	uint64_t deadline_ms;
	const char *output;   /* on one line, without control characters; "" when it printed nothing */
};

static inline bool child_ended_well(const struct child_end *end)
{
	return end->status == 0 && end->signal == 0;
}

/* From the loop; the child is gone by then. */
typedef void (*child_done_fn)(void *arg, const struct child_end *end);

/* Starts args[0], looked up in PATH. 0, or -errno and *ret_problem; done is called only after 0, and not after child_cancel(). */
int child_start(uv_loop_t *loop, char **args, const struct child_options *options, child_done_fn done, void *arg, struct child **ret_child,
		char **ret_problem);

/* Kills its process group. The memory goes when the loop has closed the handles. *child becomes NULL; NULL is fine. */
void child_cancel(struct child **child);

/* A sentence: "<what> ended with status 1: what it printed". The caller frees it. */
char *child_end_text(const char *what, const struct child_end *end);

#endif
