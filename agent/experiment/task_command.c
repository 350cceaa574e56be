/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks that are commands. Arguments stay arguments: a value of a template is one word of the vector whatever it holds (T10). Only common/bash and run:
 * hand a text to a shell, because that is what they are for.
 */
#include "experiment/task_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/child.h"
#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

#define SHELL "/bin/bash"

/* ---- arguments ---- */

/* Appends a copy; NULL items are an error of memory. */
static int add_arg(char **vector, const char *text)
{
	size_t n = 0;

	while (vector[n])
		n++;
	vector[n] = strdup(text);
	return vector[n] ? 0 : -ENOMEM;
}

/* Expands what `input` (and its index, if it is in a list) holds. */
static int add_expanded(char **vector, const struct task *task, const char *input, int index, const char *text, const struct task_context *context,
			char **ret_problem)
{
	_cleanup_free_ char *expanded = NULL, *problem = NULL;
	int r;

	if (!context->values) {
		*ret_problem = text_printf("%s: no version is recommended yet, so its arguments cannot be filled in; disableInterpolation: true of common/exec runs it as it is",
					   task->path);
		return -EINVAL;
	}
	r = template_expand(text, context->values, &expanded, &problem);
	if (r < 0 && problem)
		*ret_problem = index < 0 ? text_printf("%s.with.%s: %s", task->path, input, problem) :
					   text_printf("%s.with.%s[%d]: %s", task->path, input, index, problem);
	return r < 0 ? r : add_arg(vector, expanded);
}

static int exec_args(char **vector, const struct task *task, const struct task_context *context, char **ret_problem)
{
	const json_t *args = json_object_get(task->with, "args");
	bool raw = json_is_true(json_object_get(task->with, "disableInterpolation"));
	int r = add_arg(vector, task_text(task, "cmd", ""));

	for (size_t i = 0; i < json_array_size(args) && r == 0; i++) {
		const json_t *arg = json_array_get(args, i);
		_cleanup_free_ char *text = json_is_string(arg) ? strdup(json_string_value(arg)) : json_dumps(arg, JSON_ENCODE_ANY);

		if (!text)
			r = -ENOMEM;
		else
			r = raw ? add_arg(vector, text) : add_expanded(vector, task, "args", (int)i, text, context, ret_problem);
	}
	return r;
}

static int bash_args(char **vector, const struct task *task, const struct task_context *context, char **ret_problem)
{
	int r = add_arg(vector, SHELL);

	if (r == 0)
		r = add_arg(vector, "-c");
	return r == 0 ? add_expanded(vector, task, "script", -1, task_text(task, "script", ""), context, ret_problem) : r;
}

static int promote_args(char **vector, const struct task *task, const struct task_context *context, char **ret_problem)
{
	const char *const words[] = { "kubectl", "apply", "--namespace", task_text(task, "namespace", context->experiment->meta.ns) };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(words) && r == 0; i++)
		r = add_arg(vector, words[i]);
	if (r == 0 && json_is_true(json_object_get(task->with, "recursive")))
		r = add_arg(vector, "--recursive");
	if (r == 0)
		r = add_arg(vector, "--filename");
	return r == 0 ? add_expanded(vector, task, "manifest", -1, task_text(task, "manifest", ""), context, ret_problem) : r;
}

static int script_args(char **vector, const struct task *task, const struct task_context *context, const json_t *secret, char **ret_problem)
{
	_cleanup_free_ char *script = NULL, *problem = NULL;
	int r = template_expand_run(task->run, context->document, secret, &script, &problem);

	if (r < 0 && problem)
		*ret_problem = text_printf("%s.run: %s", task->path, problem);
	if (r == 0)
		r = add_arg(vector, SHELL);
	if (r == 0)
		r = add_arg(vector, "-c");
	return r == 0 ? add_arg(vector, script) : r;
}

int task_args(const struct task *task, const struct task_context *context, const json_t *secret, char ***ret_args, char **ret_problem)
{
	_cleanup_(task_free_args) char **vector = calloc(json_array_size(json_object_get(task->with, "args")) + 8, sizeof(*vector));
	int r;

	if (!vector)
		return -ENOMEM;
	if (task->run)
		r = script_args(vector, task, context, secret, ret_problem);
	else if (strcmp(task->name, task_bash.name) == 0)
		r = bash_args(vector, task, context, ret_problem);
	else if (strcmp(task->name, task_promote.name) == 0)
		r = promote_args(vector, task, context, ret_problem);
	else
		r = exec_args(vector, task, context, ret_problem);
	if (r < 0)
		return r;
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

/* ---- running them ---- */

static void ended(void *arg, const struct child_end *end)
{
	struct task_run *run = arg;
	_cleanup_free_ char *message = child_end_text(run->what, end);

	task_finish(run, child_ended_well(end), message ?: "out of memory", NULL);
}

/* A script that may hold a secret is no argument: everybody can read those. */
static char *hidden_shell[] = { (char *)SHELL, (char *)"/dev/fd/3", NULL };

static int start(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	const char *reference = task->run ? task_text(task, "secret", NULL) : NULL;
	_cleanup_free_ char *variable = context->scratch ? text_printf("SCRATCH_DIR=%s", context->scratch) : NULL, *problem = NULL;
	struct child_options options = { .user = run->user, .deadline_ms = run->deadline_ms, .label = run->what, .variable = variable };
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_json_ json_t *secret = NULL;
	struct child *child;
	int r = reference ? task_secret(run, reference, &secret, ret_problem) : 0;

	if (r == 0)
		r = task_args(task, context, secret, &args, ret_problem);
	if (r < 0)
		return r;
	options.secret = secret;
	if (secret)
		options.script = args[2];
	r = child_start(run->loop, secret ? hidden_shell : args, &options, ended, run, &child, &problem);
	if (r < 0) {
		*ret_problem = text_printf("%s: %s", run->what, problem ?: strerror(-r));
		return r;
	}
	run->work = child;
	return 0;
}

static void cancel(void *work)
{
	struct child *child = work;

	child_cancel(&child);
}

static const struct task_input exec_inputs[] = {
	{ "cmd", .type = INPUT_TEXT, .needed = "the command to run, a string" },
	{ "args", .type = INPUT_SCALARS, .template = true },
	{ "disableInterpolation", .type = INPUT_BOOL },
};

static const struct task_input bash_inputs[] = {
	{ "script", .type = INPUT_TEXT, .needed = "the script to run, a string", .template = true },
};

static const struct task_input promote_inputs[] = {
	{ "manifest", .type = INPUT_TEXT, .needed = "the manifest to apply, a file name or URL", .template = true },
	{ "namespace", .type = INPUT_TEXT },
	{ "recursive", .type = INPUT_BOOL },
};

static const struct task_input script_inputs[] = {
	{ "secret", .type = INPUT_TEXT },
};

const struct task_kind task_exec = { "common/exec", INPUTS(exec_inputs), .scratch = true, .start = start, .cancel = cancel };
const struct task_kind task_bash = { "common/bash", INPUTS(bash_inputs), .scratch = true, .start = start, .cancel = cancel };
const struct task_kind task_promote = { "common/promote-kubectl", INPUTS(promote_inputs), .scratch = true, .start = start, .cancel = cancel };
const struct task_kind task_script = { "run", INPUTS(script_inputs), .scratch = true, .start = start, .cancel = cancel };
