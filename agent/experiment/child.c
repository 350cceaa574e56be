/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/child.h"

#include <cap-ng.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "reading/secret.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define OUTPUT_KEPT 1024 /* bytes of the beginning, and of the end */

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

#define LOG_LINE_MAX 1024  /* bytes; a longer line is logged in pieces */
#define LOG_LINES_MAX 1000 /* of one child: a runaway should not fill the disk */

struct child {
	uv_process_t process;
	uv_pipe_t pipe;   /* its stdout and stderr */
	uv_timer_t timer;
	int open;         /* handles that are not closed yet */
	pid_t group;      /* 0: it did not start, or it is over */
	uint64_t deadline_ms;
	bool late;
	char *label;      /* of its lines in the log */
	json_t *secret;
	char buffer[4096];
	struct output output;
	char line[LOG_LINE_MAX + 1]; /* that is not ended yet */
	size_t line_size, lines;
	child_done_fn done; /* NULL: cancelled */
	void *arg;
};

/* What a child prints is in the log, line by line; the result keeps the beginning and the end. */
static void log_line(struct child *child)
{
	_cleanup_free_ char *shown = NULL;

	child->line[child->line_size] = '\0';
	if (child->line_size && child->label && ++child->lines == LOG_LINES_MAX)
		log_info("%s: prints more than %d lines; the rest is not logged", child->label, LOG_LINES_MAX);
	else if (child->line_size && child->label && child->lines < LOG_LINES_MAX && (shown = secret_hide(child->line, child->secret)))
		log_info("%s: %s", child->label, shown);
	child->line_size = 0;
}

static void take_output(struct child *child, const char *data, size_t size)
{
	output_add(&child->output, data, size);
	for (size_t i = 0; i < size; i++) {
		if (data[i] == '\n' || child->line_size == LOG_LINE_MAX)
			log_line(child);
		if ((unsigned char)data[i] >= ' ' && data[i] != 0x7f)
			child->line[child->line_size++] = data[i];
	}
}

static void child_closed(uv_handle_t *handle)
{
	struct child *child = handle->data;

	if (--child->open > 0)
		return;
	free(child->label);
	json_decref(child->secret);
	free(child);
}

static void child_close(struct child *child)
{
	uv_handle_t *handles[] = { (uv_handle_t *)&child->process, (uv_handle_t *)&child->pipe, (uv_handle_t *)&child->timer };

	for (size_t i = 0; i < ARRAY_SIZE(handles); i++) {
		if (!uv_is_closing(handles[i]))
			uv_close(handles[i], child_closed);
	}
}

/* Everything the child has started and not put into a session of its own goes with it. */
static void kill_group(struct child *child)
{
	if (child->group > 0)
		kill(-child->group, SIGKILL);
	child->group = 0;
}

/* What is in the pipe when the child has ended: libuv may see the end before the data. */
static void drain(struct child *child)
{
	uv_os_fd_t fd;
	ssize_t n;

	if (uv_fileno((uv_handle_t *)&child->pipe, &fd) < 0)
		return;
	while ((n = read(fd, child->buffer, sizeof(child->buffer))) > 0)
		take_output(child, child->buffer, (size_t)n);
}

static void child_ended(uv_process_t *process, int64_t status, int signal_number)
{
	struct child *child = process->data;
	_cleanup_free_ char *printed = NULL, *shown = NULL;
	child_done_fn done = child->done;
	struct child_end end = { .status = status, .signal = signal_number, .late = child->late, .deadline_ms = child->deadline_ms };
	void *arg = child->arg;

	kill_group(child);
	if (!done) {
		child_close(child);
		return;
	}
	drain(child);
	log_line(child);
	printed = output_text(&child->output);
	shown = printed ? secret_hide(printed, child->secret) : NULL;
	end.output = shown ?: "";
	child_close(child);
	done(arg, &end);
}

static void deadline_reached(uv_timer_t *timer)
{
	struct child *child = timer->data;

	child->late = true;
	kill_group(child);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct child *child = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(child->buffer, sizeof(child->buffer));
}

static void child_printed(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct child *child = stream->data;

	if (n > 0)
		take_output(child, buffer->base, (size_t)n);
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

static void make_environment(const struct passwd *user, const char *extra, char *environment[ARRAY_SIZE(passed_on) + 3])
{
	size_t n = 0;

	environment[n++] = text_printf("HOME=%s", user->pw_dir);
	for (size_t i = 0; i < ARRAY_SIZE(passed_on); i++) {
		const char *value = getenv(passed_on[i]);

		if (value && environment[n - 1])
			environment[n++] = text_printf("%s=%s", passed_on[i], value);
	}
	if (extra && environment[n - 1])
		environment[n++] = strdup(extra);
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
static int open_pipe(struct child *child, int *ret_write_end)
{
	uv_file ends[2];
	int r = uv_pipe(ends, UV_NONBLOCK_PIPE, 0);

	if (r < 0)
		return r;
	r = uv_pipe_open(&child->pipe, ends[0]);
	if (r < 0) {
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	*ret_write_end = ends[1];
	return 0;
}

/* A file in memory that holds the script. -errno */
static int open_script(const char *script)
{
	_cleanup_close_ int fd = memfd_create("shunt-script", MFD_CLOEXEC);
	size_t size = strlen(script);

	for (size_t done = 0; fd >= 0 && done < size;) {
		ssize_t n = write(fd, script + done, size - done);

		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return fd < 0 ? -errno : TAKE_FD(fd);
}

static int spawn_as(struct child *child, char **args, const struct child_options *options, const struct passwd *user)
{
	char *environment[ARRAY_SIZE(passed_on) + 3] = {};
	uv_stdio_container_t stdio[4] = { { .flags = UV_IGNORE } };
	struct spawn spawn = { .loop = child->timer.loop, .process = &child->process };
	_cleanup_close_ int write_end = -1, script = options->script ? open_script(options->script) : -1;
	int r = options->script && script < 0 ? script : open_pipe(child, &write_end);

	if (r < 0)
		return r;
	stdio[1] = stdio[2] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = write_end };
	stdio[3] = (uv_stdio_container_t){ .flags = UV_INHERIT_FD, .data.fd = script };
	make_environment(user, options->variable, environment);
	spawn.options = (uv_process_options_t){
		.exit_cb = child_ended,
		.file = args[0],
		.args = args,
		.env = environment,
		.cwd = "/",
		.flags = UV_PROCESS_DETACHED | (user->pw_uid == geteuid() ? 0 : UV_PROCESS_SETUID | UV_PROCESS_SETGID),
		.stdio = stdio,
		.stdio_count = options->script ? 4 : 3,
		.uid = user->pw_uid,
		.gid = user->pw_gid,
	};
	r = spawn_child(&spawn);
	free_environment(environment);
	return r;
}

static struct child *child_new(uv_loop_t *loop, const struct child_options *options, child_done_fn done, void *arg)
{
	struct child *child = calloc(1, sizeof(*child));

	if (!child)
		return NULL;
	child->label = options->label ? strdup(options->label) : NULL;
	child->secret = json_incref(options->secret);
	child->deadline_ms = options->deadline_ms;
	child->done = done;
	child->arg = arg;
	child->open = 3;
	uv_pipe_init(loop, &child->pipe, 0);
	uv_timer_init(loop, &child->timer);
	child->process.loop = loop;
	child->process.data = child->pipe.data = child->timer.data = child;
	return child;
}

int child_start(uv_loop_t *loop, char **args, const struct child_options *options, child_done_fn done, void *arg, struct child **ret_child,
		char **ret_problem)
{
	const struct passwd *user = getpwnam(options->user);
	struct child *child;
	int r;

	if (!user) {
		*ret_problem = text_printf("there is no user %s on this machine to run it as", options->user);
		return -ENOENT;
	}
	child = child_new(loop, options, done, arg);
	if (!child)
		return -ENOMEM;
	r = spawn_as(child, args, options, user);
	if (r < 0) {
		*ret_problem = text_printf("%s could not be started as user %s: %s", args[0], options->user, uv_strerror(r));
		child_close(child);
		return r;
	}
	child->group = child->process.pid;
	uv_read_start((uv_stream_t *)&child->pipe, give_buffer, child_printed);
	uv_timer_start(&child->timer, deadline_reached, child->deadline_ms, 0);
	*ret_child = child;
	return 0;
}

void child_cancel(struct child **child)
{
	struct child *c = TAKE_PTR(*child);

	if (!c)
		return;
	c->done = NULL; /* the handles close when the child has been reaped */
	kill_group(c);
}

char *child_end_text(const char *what, const struct child_end *end)
{
	const char *colon = *end->output ? ": " : "";

	if (end->late)
		return text_printf("%s was killed after %.3g s, its deadline%s%s", what, (double)end->deadline_ms / 1000, colon, end->output);
	if (end->signal)
		return text_printf("%s was killed by signal %d (%s)%s%s", what, end->signal, strsignal(end->signal), colon, end->output);
	return text_printf("%s ended with status %lld%s%s", what, (long long)end->status, colon, end->output);
}
