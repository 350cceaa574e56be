/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/task.h"

#include <cap-ng.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

#define OUTPUT_KEPT 1024 /* bytes of the beginning, and of the end */

/* ---- common/exec: what to run ---- */

static const char *const known_tasks = "common/exec";

static int check_exec(const struct task *task, char **ret_problem)
{
	const json_t *args = json_object_get(task->with, "args"), *raw = json_object_get(task->with, "disableInterpolation");
	const char *key;
	json_t *value;

	json_object_foreach(task->with, key, value) {
		if (strcmp(key, "cmd") != 0 && strcmp(key, "args") != 0 && strcmp(key, "disableInterpolation") != 0) {
			*ret_problem = text_printf("%s.with.%s: common/exec has no such input; it has cmd, args and disableInterpolation", task->path, key);
			return -EINVAL;
		}
	}
	if (!json_string_length(json_object_get(task->with, "cmd"))) {
		*ret_problem = text_printf("%s.with.cmd: common/exec needs the command to run, a string", task->path);
		return -EINVAL;
	}
	if (raw && !json_is_boolean(raw)) {
		*ret_problem = text_printf("%s.with.disableInterpolation: allowed: true or false", task->path);
		return -EINVAL;
	}
	if (args && !json_is_array(args)) {
		*ret_problem = text_printf("%s.with.args: allowed: a list", task->path);
		return -EINVAL;
	}
	for (size_t i = 0; i < json_array_size(args); i++) {
		const json_t *arg = json_array_get(args, i);

		if (json_is_object(arg) || json_is_array(arg) || json_is_null(arg)) {
			*ret_problem = text_printf("%s.with.args[%zu]: allowed: a string, number or boolean", task->path, i);
			return -EINVAL;
		}
	}
	return 0;
}

int task_check(const struct task *task, char **ret_problem)
{
	if (strcmp(task->name, "common/exec") != 0) {
		*ret_problem = text_printf("%s: task \"%s\" is not known to this version of shunt; known: %s", task->path, task->name, known_tasks);
		return -EINVAL;
	}
	if (task->condition) {
		*ret_problem = text_printf("%s.if: conditions are not known to this version of shunt; leave `if` out to run the task always", task->path);
		return -EINVAL;
	}
	return check_exec(task, ret_problem);
}

static int expand_arg(const struct task *task, size_t index, const json_t *arg, const json_t *context, bool raw, char **ret_text, char **ret_problem)
{
	_cleanup_free_ char *text = json_is_string(arg) ? strdup(json_string_value(arg)) : json_dumps(arg, JSON_ENCODE_ANY), *problem = NULL;
	int r;

	if (!text)
		return -ENOMEM;
	if (raw) {
		*ret_text = TAKE_PTR(text);
		return 0;
	}
	if (!context) {
		*ret_problem = text_printf("%s: no version is recommended yet, so its arguments cannot be filled in; disableInterpolation: true runs it as it is",
					   task->path);
		return -EINVAL;
	}
	r = template_expand(text, context, ret_text, &problem);
	if (r < 0 && problem)
		*ret_problem = text_printf("%s.with.args[%zu]: %s", task->path, index, problem);
	return r;
}

int task_args(const struct task *task, const json_t *context, char ***ret_args, char **ret_problem)
{
	const json_t *args = json_object_get(task->with, "args");
	_cleanup_(task_free_args) char **vector = calloc(json_array_size(args) + 2, sizeof(*vector));
	bool raw = json_is_true(json_object_get(task->with, "disableInterpolation"));

	if (!vector)
		return -ENOMEM;
	vector[0] = strdup(json_string_value(json_object_get(task->with, "cmd")));
	if (!vector[0])
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(args); i++) {
		int r = expand_arg(task, i, json_array_get(args, i), context, raw, &vector[i + 1], ret_problem);

		if (r < 0)
			return r;
	}
	*ret_args = TAKE_PTR(vector);
	return 0;
}

void task_free_args(char ***args)
{
	char **vector = TAKE_PTR(*args);

	for (size_t i = 0; vector && vector[i]; i++)
		free(vector[i]);
	free(vector);
}

/* ---- output: the beginning, and a ring of the end ---- */

struct output {
	char head[OUTPUT_KEPT], tail[OUTPUT_KEPT];
	size_t size; /* of all that was printed */
};

static void output_add(struct output *output, const char *data, size_t size)
{
	for (size_t i = 0; i < size; i++, output->size++) {
		if (output->size < OUTPUT_KEPT)
			output->head[output->size] = data[i];
		else
			output->tail[output->size % OUTPUT_KEPT] = data[i];
	}
}

/* Text on one line: a status message and a log line are read that way. */
static void put_printable(FILE *out, char c)
{
	if (c == '\n')
		fputs(" | ", out);
	else if ((unsigned char)c >= ' ' && c != 0x7f)
		fputc(c, out);
}

static bool ends_in_space(const struct output *output, size_t i)
{
	char c = i < OUTPUT_KEPT ? output->head[i] : output->tail[i % OUTPUT_KEPT];

	return c == '\n' || c == '\r' || c == ' ';
}

static char *output_text(const struct output *output)
{
	_cleanup_free_ char *text = NULL;
	size_t size, end = output->size, tail_from = OUTPUT_KEPT;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (output->size > 2 * OUTPUT_KEPT)
		tail_from = output->size - OUTPUT_KEPT;
	while (end > tail_from && ends_in_space(output, end - 1))
		end--;
	while (end <= OUTPUT_KEPT && end > 0 && ends_in_space(output, end - 1))
		end--;
	for (size_t i = 0; i < end && i < OUTPUT_KEPT; i++)
		put_printable(out, output->head[i]);
	if (tail_from > OUTPUT_KEPT)
		fprintf(out, " ... (%zu bytes left out) ... ", tail_from - OUTPUT_KEPT);
	for (size_t i = tail_from; i < end; i++)
		put_printable(out, output->tail[i % OUTPUT_KEPT]);
	return fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

/* ---- the child ---- */

struct task_run {
	uv_process_t process;
	uv_pipe_t pipe;   /* its stdout and stderr */
	uv_timer_t timer;
	int open;         /* handles that are not closed yet */
	pid_t group;      /* 0: it did not start, or it is over */
	uint64_t deadline_ms;
	bool late;
	int64_t status;   /* how it ended */
	int signal;
	char *path;       /* of the task in the manifest */
	char buffer[4096];
	struct output output;
	task_done_fn done; /* NULL: cancelled */
	void *arg;
};

static void run_closed(uv_handle_t *handle)
{
	struct task_run *run = handle->data;

	if (--run->open > 0)
		return;
	free(run->path);
	free(run);
}

static void run_close(struct task_run *run)
{
	uv_handle_t *handles[] = { (uv_handle_t *)&run->process, (uv_handle_t *)&run->pipe, (uv_handle_t *)&run->timer };

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		if (!uv_is_closing(handles[i]))
			uv_close(handles[i], run_closed);
	}
}

/* Everything the child has started and not put into a session of its own goes with it. */
static void kill_group(struct task_run *run)
{
	if (run->group > 0)
		kill(-run->group, SIGKILL);
	run->group = 0;
}

/* What is in the pipe when the child has ended: libuv may see the end before the data. */
static void drain(struct task_run *run)
{
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&run->pipe, &fd) < 0)
		return;
	while ((n = read(fd, run->buffer, sizeof(run->buffer))) > 0)
		output_add(&run->output, run->buffer, (size_t)n);
}

static char *describe_end(const struct task_run *run)
{
	_cleanup_free_ char *printed = output_text(&run->output);
	const char *colon = printed && *printed ? ": " : "", *text = printed ?: "";

	if (run->late)
		return text_printf("%s was killed after %.3g s, its deadline%s%s", run->path, (double)run->deadline_ms / 1000, colon, text);
	if (run->signal)
		return text_printf("%s was killed by signal %d (%s)%s%s", run->path, run->signal, strsignal(run->signal), colon, text);
	return text_printf("%s ended with status %lld%s%s", run->path, (long long)run->status, colon, text);
}

static void child_ended(uv_process_t *process, int64_t status, int signal_number)
{
	struct task_run *run = process->data;
	_cleanup_free_ char *message = NULL;
	task_done_fn done = run->done;
	void *arg = run->arg;

	kill_group(run);
	if (!done) {
		run_close(run);
		return;
	}
	run->status = status;
	run->signal = signal_number;
	drain(run);
	message = describe_end(run);
	run_close(run);
	done(arg, status == 0 && signal_number == 0, message ?: "out of memory");
}

static void deadline_reached(uv_timer_t *timer)
{
	struct task_run *run = timer->data;

	run->late = true;
	kill_group(run);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct task_run *run = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(run->buffer, sizeof(run->buffer));
}

static void child_printed(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct task_run *run = stream->data;

	if (n > 0)
		output_add(&run->output, buffer->base, (size_t)n);
	else if (n < 0)
		uv_read_stop(stream);
}

/* ---- starting it ---- */

/* What a child needs to find programs and a cluster; nothing else of the agent's environment is its business. */
static const char *const passed_on[] = { "PATH", "LANG", "TZ", "KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT" };

static void free_environment(char **environment)
{
	for (size_t i = 0; environment[i]; i++)
		free(environment[i]);
}

static void make_environment(const struct passwd *user, char *environment[ARRAY_SIZE(passed_on) + 2])
{
	size_t n = 0;

	environment[n++] = text_printf("HOME=%s", user->pw_dir);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++) {
		const char *value = getenv(passed_on[i]);

		if (value && environment[n - 1])
			environment[n++] = text_printf("%s=%s", passed_on[i], value);
	}
	environment[n] = NULL;
}

struct spawn {
	uv_loop_t *loop;
	uv_process_t *process;
	uv_process_options_t options;
	int result;
};

/*
 * Runs in a thread of its own that forks the child and ends: what a thread gives up, its children do not have, and the agent's other threads keep.
 * An empty bounding set leaves no capability after exec, also for root and for files with capabilities; no_new_privs disarms set-user-ID programs.
 * CAP_SETUID and CAP_SETGID stay until libuv's child has changed its user, which ends them.
 */
static void *spawn_without_capabilities(void *arg)
{
	struct spawn *spawn = arg;
	capng_select_t sets = geteuid() == 0 ? CAPNG_SELECT_ALL : CAPNG_SELECT_CAPS | CAPNG_SELECT_AMBIENT;

	capng_clear(CAPNG_SELECT_ALL);
	if (geteuid() == 0)
		capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_SETUID, CAP_SETGID, -1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || capng_apply(sets) != 0) {
		spawn->result = -EPERM; /* rather no task than one with capabilities */
		return NULL;
	}
	spawn->result = uv_spawn(spawn->loop, spawn->process, &spawn->options);
	return NULL;
}

/* The loop is ours while its thread waits here, so another may use it. */
static int spawn_child(struct spawn *spawn)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, spawn_without_capabilities, spawn);

	if (r != 0)
		return -r;
	pthread_join(thread, NULL);
	return spawn->result;
}

/* One pipe for both streams, so that the output keeps its order. The write end is the child's alone. */
static int open_pipe(struct task_run *run, int *ret_write_end)
{
	uv_file ends[2];
	int r = uv_pipe(ends, UV_NONBLOCK_PIPE, 0);

	if (r < 0)
		return r;
	r = uv_pipe_open(&run->pipe, ends[0]);
	if (r < 0) {
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	*ret_write_end = ends[1];
	return 0;
}

static int spawn_run(struct task_run *run, char **args, const struct passwd *user)
{
	char *environment[ARRAY_SIZE(passed_on) + 2] = {};
	uv_stdio_container_t stdio[3] = { { .flags = UV_IGNORE } };
	struct spawn spawn = { .loop = run->timer.loop, .process = &run->process };
	_cleanup_close_ int write_end = -1;
	int r = open_pipe(run, &write_end);

	if (r < 0)
		return r;
	stdio[1] = stdio[2] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = write_end };
	make_environment(user, environment);
	spawn.options = (uv_process_options_t){
		.exit_cb = child_ended,
		.file = args[0],
		.args = args,
		.env = environment,
		.cwd = "/",
		.flags = UV_PROCESS_DETACHED | (user->pw_uid == geteuid() ? 0 : UV_PROCESS_SETUID | UV_PROCESS_SETGID),
		.stdio = stdio,
		.stdio_count = ARRAY_SIZE(stdio),
		.uid = user->pw_uid,
		.gid = user->pw_gid,
	};
	r = spawn_child(&spawn);
	free_environment(environment);
	return r;
}

static struct task_run *run_new(uv_loop_t *loop, const struct task *task, const struct task_options *options, task_done_fn done, void *arg)
{
	struct task_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->path = text_printf("%s %s", task->path, task->name);
	if (!run->path) {
		free(run);
		return NULL;
	}
	run->deadline_ms = options->deadline_ms ? options->deadline_ms : TASK_DEADLINE_MS;
	run->done = done;
	run->arg = arg;
	run->open = 3;
	uv_pipe_init(loop, &run->pipe, 0);
	uv_timer_init(loop, &run->timer);
	run->process.loop = loop;
	run->process.data = run->pipe.data = run->timer.data = run;
	return run;
}

int task_start(uv_loop_t *loop, const struct task *task, const json_t *context, const struct task_options *options, task_done_fn done, void *arg,
	       struct task_run **ret_run, char **ret_problem)
{
	_cleanup_(task_free_args) char **args = NULL;
	const char *name = options->user ? options->user : TASK_USER;
	const struct passwd *user = getpwnam(name);
	struct task_run *run;
	int r = task_args(task, context, &args, ret_problem);

	if (r < 0)
		return r;
	if (!user) {
		*ret_problem = text_printf("%s: there is no user %s on this machine to run it as", task->path, name);
		return -ENOENT;
	}
	run = run_new(loop, task, options, done, arg);
	if (!run)
		return -ENOMEM;
	r = spawn_run(run, args, user);
	if (r < 0) {
		*ret_problem = text_printf("%s: %s could not be started as user %s: %s", run->path, args[0], name, uv_strerror(r));
		run_close(run);
		return r;
	}
	run->group = run->process.pid;
	uv_read_start((uv_stream_t *)&run->pipe, give_buffer, child_printed);
	uv_timer_start(&run->timer, deadline_reached, run->deadline_ms, 0);
	*ret_run = run;
	return 0;
}

void task_cancel(struct task_run **run)
{
	struct task_run *r = TAKE_PTR(*run);

	if (!r)
		return;
	r->done = NULL; /* the handles close when the child has been reaped */
	kill_group(r);
}
