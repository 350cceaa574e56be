/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the files of task.h share. */
#ifndef SHUNT_TASK_INTERNAL_H
#define SHUNT_TASK_INTERNAL_H

#include <curl/curl.h>

#include "experiment/task.h"

enum input_type {
	INPUT_TEXT,
	INPUT_BOOL,
	INPUT_COUNT,   /* a whole number from 0 on */
	INPUT_NUMBER,  /* above 0 */
	INPUT_SCALARS, /* a list of strings, numbers, booleans */
	INPUT_OBJECTS, /* a list of objects */
};

struct task_input {
	const char *name;
	enum input_type type;
	const char *needed; /* "the command to run, a string": it has to be there; NULL: it may be absent */
	const char *const *keys; /* what its objects may have, NULL-terminated; of INPUT_OBJECTS */
	bool template; /* {{ }} is filled in: in the text, in scalars, in the `value` of objects */
};

struct task_kind {
	const char *name;
	const struct task_input *inputs;
	size_t input_count;
	bool scratch; /* it is a command, which finds SCRATCH_DIR */
	int (*check)(const struct task *task, char **ret_problem); /* beyond the inputs' types; NULL: nothing */
	/* Begins; sets run->work. 0, or -errno and *ret_problem. */
	int (*start)(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem);
	/* Ends run->work without a word. */
	void (*cancel)(void *work);
};

#define INPUTS(list) .inputs = list, .input_count = sizeof(list) / sizeof(*(list))

extern const struct task_kind task_exec, task_bash, task_promote, task_script, task_readiness, task_collect, task_http, task_slack, task_knative;

struct task_run {
	uv_loop_t *loop;
	const struct task_kind *kind;
	char *path, *what; /* "spec.strategy.actions.finish[0]"; the same and the task's name */
	char *user, *secrets, *ns, *slack_url;
	const struct world *const *world; /* NULL: there is none */
	json_t *variables; /* its result: what every version gets; NULL: nothing */
	json_t *secret; /* what it has read, which nothing of its result shows; NULL: nothing */
	uint64_t deadline_ms;
	task_done_fn done;
	void *arg;
	void *work;
};

/* The task is over: frees the run, then reports. Takes collected. */
void task_finish(struct task_run *run, bool ok, const char *message, json_t *collected);

/* The secret that a task names, of the experiment's namespace when it has none. */
int task_secret(struct task_run *run, const char *reference, json_t **ret_secret, char **ret_problem);

/* An input, or what stands for it when it is absent. */
const char *task_text(const struct task *task, const char *name, const char *fallback);
double task_number(const struct task *task, const char *name, double fallback);

/* Work in a thread of its own (task_web.c), for libcurl's plain interface. */
struct task_thread {
	uv_thread_t thread;
	uv_async_t ended;
	uv_timer_t deadline;
	int open;
	struct task_run *run; /* NULL: cancelled */
	int stop;             /* look at it with task_thread_stopped() */
	bool late, ok;
	bool ignore_failure;
	char *message;        /* the result; the body sets it, and ok */
	json_t *collected;
	void (*body)(struct task_thread *thread);
	void (*release)(void *data);
	void *data;
};

/* Begins body(thread) in a thread; it has to end soon after task_thread_stopped(). Takes data also when it fails. */
int task_thread_start(struct task_run *run, void (*body)(struct task_thread *thread), void *data, void (*release)(void *data), bool ignore_failure);
bool task_thread_stopped(const struct task_thread *thread);
void task_thread_cancel(void *work);

/* For CURLOPT_XFERINFOFUNCTION, with the thread as its data: ends a transfer when the thread is to stop. */
int task_thread_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d);

#endif
