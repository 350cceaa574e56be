/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/task.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/condition.h"
#include "experiment/fields.h"
#include "experiment/task_internal.h"
#include "reading/secret.h"
#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

static const struct task_kind *const kinds[] = { &task_exec, &task_bash, &task_promote, &task_readiness, &task_collect, &task_http, &task_slack, &task_script, &task_knative };

static const struct task_kind *find_kind(const struct task *task)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kinds[i]->name, task->name) == 0)
			return kinds[i];
	}
	return NULL;
}

/* "cmd, args and disableInterpolation" */
static char *list_text(const char *(*name_of)(const void *list, size_t i), const void *list, size_t count)
{
	_cleanup_free_ char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; out && i < count; i++)
		fprintf(out, "%s%s", i == 0 ? "" : i + 1 == count ? " and " : ", ", name_of(list, i));
	return out && fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

/* ---- inputs ---- */

static bool is_scalar(const json_t *value)
{
	return json_is_string(value) || json_is_number(value) || json_is_boolean(value);
}

static const char *allowed(const json_t *value, enum input_type type)
{
	switch (type) {
	case INPUT_TEXT:
		return json_is_string(value) ? NULL : "a string";
	case INPUT_BOOL:
		return json_is_boolean(value) ? NULL : "true or false";
	case INPUT_COUNT:
		return json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= INT32_MAX ? NULL : "a whole number from 0 on";
	case INPUT_NUMBER:
		return json_is_number(value) && json_number_value(value) > 0 ? NULL : "a number above 0";
	case INPUT_SCALARS:
	case INPUT_OBJECTS:
		return json_is_array(value) ? NULL : "a list";
	}
	return NULL;
}

/* "kind, namespace and name" of a NULL-terminated list */
static const char *key_name(const void *list, size_t i)
{
	return ((const char *const *)list)[i];
}

static int check_keys(const struct task *task, const struct task_input *input, size_t index, const json_t *object, char **ret_problem)
{
	_cleanup_free_ char *names = NULL;
	const char *key;
	json_t *value;
	size_t count = 0;

	while (input->keys && input->keys[count])
		count++;
	json_object_foreach((json_t *)object, key, value) {
		size_t i = 0;

		while (i < count && strcmp(input->keys[i], key) != 0)
			i++;
		if (i < count || !input->keys)
			continue;
		names = list_text(key_name, input->keys, count);
		*ret_problem = text_printf("%s.with.%s[%zu].%s: there is no such field; it has %s", task->path, input->name, index, key, names ?: "others");
		return -EINVAL;
	}
	return 0;
}

static int check_items(const struct task *task, const struct task_input *input, const json_t *list, char **ret_problem)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);

		if (json_is_object(item) && input->type == INPUT_OBJECTS) {
			if (check_keys(task, input, i, item, ret_problem) < 0)
				return -EINVAL;
			continue;
		}
		if (input->type == INPUT_SCALARS && is_scalar(item))
			continue;
		*ret_problem = text_printf("%s.with.%s[%zu]: allowed: %s", task->path, input->name, i,
					   input->type == INPUT_SCALARS ? "a string, number or boolean" : "an object");
		return -EINVAL;
	}
	return 0;
}

static int check_input(const struct task *task, const struct task_input *input, char **ret_problem)
{
	const json_t *value = json_object_get(task->with, input->name);
	const char *wanted = value ? allowed(value, input->type) : NULL;
	bool empty = !value || (json_is_string(value) && json_string_length(value) == 0) || (json_is_array(value) && json_array_size(value) == 0);

	if (input->needed && (wanted || empty))
		*ret_problem = text_printf("%s.with.%s: %s needs %s", task->path, input->name, task->name, input->needed);
	else if (wanted)
		*ret_problem = text_printf("%s.with.%s: allowed: %s", task->path, input->name, wanted);
	else if (input->type == INPUT_SCALARS || input->type == INPUT_OBJECTS)
		return check_items(task, input, value, ret_problem);
	else
		return 0;
	return -EINVAL;
}

static const char *input_name(const void *list, size_t i)
{
	return ((const struct task_input *)list)[i].name;
}

static int check_names(const struct task *task, const struct task_kind *kind, char **ret_problem)
{
	_cleanup_free_ char *names = NULL;
	const char *key;
	json_t *value;

	json_object_foreach(task->with, key, value) {
		size_t i = 0;

		while (i < kind->input_count && strcmp(kind->inputs[i].name, key) != 0)
			i++;
		if (i < kind->input_count)
			continue;
		names = list_text(input_name, kind->inputs, kind->input_count);
		*ret_problem = text_printf("%s.with.%s: %s has no such input; it has %s", task->path, key, kind->name, names && *names ? names : "none");
		return -EINVAL;
	}
	return 0;
}

static const char *kind_name(const void *list, size_t i)
{
	return ((const struct task_kind *const *)list)[i]->name;
}

static int check_condition(const struct task *task, char **ret_problem)
{
	_cleanup_free_ char *problem = NULL;
	bool holds;
	int r = task->condition ? condition_holds(task->condition, NULL, &holds, &problem) : 0;

	if (problem)
		*ret_problem = text_printf("%s.if: %s", task->path, problem);
	return r;
}

/* ---- templates ---- */

/* Called with each text of a task whose {{ }} is filled in, and where it stands: "args[1]". */
typedef void (*text_fn)(void *arg, const char *where, const char *text);

static void each_item(const struct task_input *input, const json_t *list, text_fn fn, void *arg)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		_cleanup_free_ char *where = text_printf("%s[%zu]", input->name, i);
		const char *text = json_string_value(json_is_object(item) ? json_object_get(item, "value") : item);

		if (where && text)
			fn(arg, where, text);
	}
}

static void each_template(const struct task *task, const struct task_kind *kind, text_fn fn, void *arg)
{
	bool raw = json_is_true(json_object_get(task->with, "disableInterpolation"));

	for (size_t i = 0; i < kind->input_count && !raw; i++) {
		const json_t *value = json_object_get(task->with, kind->inputs[i].name);

		if (!kind->inputs[i].template)
			continue;
		if (json_is_string(value))
			fn(arg, kind->inputs[i].name, json_string_value(value));
		else
			each_item(&kind->inputs[i], value, fn, arg);
	}
}

struct template_check {
	const struct task *task;
	const struct experiment *experiment;
	const char *where;
	json_t *notes;
	char *problem; /* the first */
};

static void check_text(void *arg, const char *where, const char *text)
{
	struct template_check *check = arg;
	_cleanup_free_ char *problem = NULL;

	if (!check->problem && template_check(text, NULL, NULL, &problem) < 0)
		check->problem = text_printf("%s.with.%s: %s", check->task->path, where, problem ?: "out of memory");
}

static void check_script_field(void *arg, const char *path, size_t length)
{
	struct template_check *check = arg;
	const struct task *task = check->task;
	_cleanup_free_ char *advice = NULL;
	json_type type;

	if (check->problem)
		return;
	if (strncmp(path, "Secret", length) == 0) {
		if (!task_text(task, "secret", NULL))
			check->problem = text_printf("%s.with.secret: the script uses .Secret, and no secret is named", task->path);
	} else if (!field_known(path, length, &type)) {
		advice = field_advice(path, length);
		check->problem = text_printf("%s.run: an Experiment has no field %.*s; %s", task->path, (int)length, path, advice ?: "");
	}
}

static int check_templates(const struct task *task, const struct task_kind *kind, char **ret_problem)
{
	struct template_check check = { .task = task };
	_cleanup_free_ char *problem = NULL;

	if (task->run && template_check_run(task->run, check_script_field, &check, &problem) < 0)
		*ret_problem = text_printf("%s.run: %s", task->path, problem ?: "out of memory");
	else if (!task->run)
		each_template(task, kind, check_text, &check);
	if (check.problem && !*ret_problem)
		*ret_problem = TAKE_PTR(check.problem);
	free(check.problem);
	return *ret_problem ? -EINVAL : 0;
}

static bool has_variable(const struct version_detail *version, const char *name, size_t length)
{
	for (size_t i = 0; i < version->variable_count; i++) {
		if (strlen(version->variables[i].name) == length && strncmp(version->variables[i].name, name, length) == 0)
			return true;
	}
	return false;
}

static bool is_path(const char *path, size_t length, const char *name)
{
	size_t n = strlen(name);

	return length >= n && strncmp(path, name, n) == 0 && (length == n || path[n] == '.');
}

static void note_field(void *arg, const char *path, size_t length)
{
	const struct template_check *check = arg;
	const struct experiment *e = check->experiment;
	bool notification = strcmp(check->task->name, task_http.name) == 0;

	if (is_path(path, length, "this") || is_path(path, length, notification ? "secret" : "name"))
		return;
	for (size_t v = 0; v < e->version_count; v++) {
		_cleanup_free_ char *note = NULL;

		if (!notification && has_variable(&e->versions[v], path, length))
			continue;
		note = notification ? text_printf("%s.with.%s: .%.*s will be empty: a notification knows .this and .secret", check->task->path, check->where,
						  (int)length, path) :
				      text_printf("%s.with.%s: .%.*s will be empty when %s is recommended: it has no such variable", check->task->path, check->where,
						  (int)length, path, e->versions[v].name);
		json_array_append_new(check->notes, json_string(note ?: "out of memory"));
		if (notification)
			return;
	}
}

static void note_text(void *arg, const char *where, const char *text)
{
	struct template_check *check = arg;
	_cleanup_free_ char *problem = NULL;

	check->where = where;
	template_check(text, note_field, check, &problem);
}

void task_note(const struct task *task, const struct experiment *experiment, json_t *notes)
{
	const struct task_kind *kind = find_kind(task);

	if (kind && !task->run)
		each_template(task, kind, note_text, &(struct template_check){ .task = task, .experiment = experiment, .notes = notes });
}

/* ---- all of it ---- */

int task_check(const struct task *task, char **ret_problem)
{
	const struct task_kind *kind = find_kind(task);
	_cleanup_free_ char *names = NULL;
	int r;

	if (!kind) {
		names = list_text(kind_name, kinds, ARRAY_SIZE(kinds));
		*ret_problem = text_printf("%s: task \"%s\" is not known to this version of shunt; known: %s", task->path, task->name, names ?: "others");
		return -EINVAL;
	}
	r = check_condition(task, ret_problem);
	if (r == 0)
		r = check_names(task, kind, ret_problem);
	for (size_t i = 0; i < kind->input_count && r == 0; i++)
		r = check_input(task, &kind->inputs[i], ret_problem);
	if (r == 0 && kind->check)
		r = kind->check(task, ret_problem);
	return r == 0 ? check_templates(task, kind, ret_problem) : r;
}

bool task_uses_scratch(const struct task *task)
{
	const struct task_kind *kind = find_kind(task);

	return kind && kind->scratch;
}

const char *task_text(const struct task *task, const char *name, const char *fallback)
{
	return json_string_value(json_object_get(task->with, name)) ?: fallback;
}

double task_number(const struct task *task, const char *name, double fallback)
{
	const json_t *value = json_object_get(task->with, name);

	return json_is_number(value) ? json_number_value(value) : fallback;
}

/* ---- runs ---- */

static void run_free(struct task_run *run)
{
	free(run->path);
	free(run->what);
	free(run->user);
	free(run->secrets);
	free(run->ns);
	free(run->slack_url);
	json_decref(run->secret);
	json_decref(run->variables);
	free(run);
}

static struct task_run *run_new(uv_loop_t *loop, const struct task *task, const struct task_context *context, const struct task_options *options,
				task_done_fn done, void *arg)
{
	struct task_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	run->loop = loop;
	run->kind = find_kind(task);
	run->path = strdup(task->path);
	run->what = text_printf("%s %s", task->path, task->name);
	run->user = strdup(options->user ?: TASK_USER);
	run->secrets = strdup(options->secrets ?: "");
	run->world = context->world;
	run->ns = strdup(context->experiment->meta.ns ?: "default");
	run->slack_url = strdup(options->slack_url ?: "https://slack.com/api/chat.postMessage");
	run->deadline_ms = options->deadline_ms ? options->deadline_ms : TASK_DEADLINE_MS;
	run->done = done;
	run->arg = arg;
	if (run->path && run->what && run->user && run->secrets && run->ns && run->slack_url)
		return run;
	run_free(run);
	return NULL;
}

int task_secret(struct task_run *run, const char *reference, json_t **ret_secret, char **ret_problem)
{
	_cleanup_free_ char *problem = NULL;
	int r = secret_read(&(struct secret_source){ run->secrets, run->world }, run->ns, reference, ret_secret, &problem);

	if (r < 0)
		*ret_problem = text_printf("%s: %s", run->what, problem ?: strerror(-r));
	else
		run->secret = json_incref(*ret_secret);
	return r;
}

void task_finish(struct task_run *run, bool ok, const char *message, json_t *collected)
{
	_cleanup_free_ char *shown = secret_hide(message, run->secret);
	_cleanup_json_ json_t *variables = json_incref(run->variables);
	struct task_outcome outcome = { ok, shown ?: "out of memory", collected, variables };
	task_done_fn done = run->done;
	void *arg = run->arg;

	run_free(run);
	done(arg, &outcome);
	json_decref(collected);
}

/* 1: it does not hold. */
static int try_condition(const struct task *task, const struct task_context *context, char **ret_text)
{
	_cleanup_free_ char *problem = NULL;
	bool holds = true;
	int r = task->condition ? condition_holds(task->condition, context->document, &holds, &problem) : 0;

	if (r < 0)
		*ret_text = text_printf("%s.if: %s", task->path, problem ?: strerror(-r));
	else if (!holds)
		*ret_text = text_printf("%s %s was left out: \"%s\" does not hold", task->path, task->name, task->condition);
	return r < 0 ? r : !holds;
}

int task_start(uv_loop_t *loop, const struct task *task, const struct task_context *context, const struct task_options *options, task_done_fn done,
	       void *arg, struct task_run **ret_run, char **ret_text)
{
	struct task_run *run;
	int r = try_condition(task, context, ret_text);

	if (r)
		return r;
	run = run_new(loop, task, context, options, done, arg);
	if (!run)
		return -ENOMEM;
	r = run->kind->start(run, task, context, ret_text);
	if (r < 0) {
		_cleanup_free_ char *problem = *ret_text;

		*ret_text = problem ? secret_hide(problem, run->secret) : NULL;
		run_free(run);
		return r;
	}
	*ret_run = run;
	return 0;
}

void task_cancel(struct task_run **run)
{
	struct task_run *r = TAKE_PTR(*run);

	if (!r)
		return;
	r->kind->cancel(r->work);
	run_free(r);
}
