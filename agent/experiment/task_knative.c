/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * knative/init-experiment (Iter8's handler lib/knative): waits until the Knative service that the experiment's target names is ready, and has the
 * revisions that the versions' variable `revision` names; then every version has the variable `namespace`.
 *
 *     target "ns/name" ─▶ kubectl get ─▶ Ready, ConfigurationsReady, RoutesReady? ─no─▶ again, until the deadline
 *                                                    ╰─yes─▶ revision of each version among status.traffic? ─▶ variable namespace
 *
 * Iter8 also points the versions' weightObjRef at the service's traffic, to set its per cents. Here the kernel divides the users, and the service's own
 * traffic stays as it is written.
 */
#include "experiment/task_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/child.h"
#include "util/cleanup.h"
#include "util/text.h"

#define INTERVAL_MS 5000
#define WORDS "jsonpath={range .status.conditions[*]}{.type}={.status} {end}{range .status.traffic[*]}revision={.revisionName} {end}"

struct knative {
	struct task_run *run;
	char *ns, *name;
	char **revisions; /* of the versions */
	size_t revision_count;
	uint64_t deadline; /* of uv_now() */
	struct child *child;
	uv_timer_t timer;
};

static void timer_closed(uv_handle_t *handle)
{
	struct knative *k = handle->data;

	for (size_t i = 0; i < k->revision_count; i++)
		free(k->revisions[i]);
	free(k->revisions);
	free(k->ns);
	free(k->name);
	free(k);
}

static void cancel(void *work)
{
	struct knative *k = work;

	child_cancel(&k->child);
	uv_close((uv_handle_t *)&k->timer, timer_closed);
}

__attribute__((format(printf, 3, 4))) static void finish(struct knative *k, bool ok, const char *format, ...)
{
	struct task_run *run = k->run;
	_cleanup_free_ char *detail = NULL, *message = NULL;
	va_list args;

	va_start(args, format);
	if (vasprintf(&detail, format, args) < 0)
		detail = NULL;
	va_end(args);
	message = text_printf("%s: Knative service %s/%s %s", run->what, k->ns, k->name, detail ?: "");
	if (ok)
		run->variables = json_pack("{s:s}", "namespace", k->ns);
	uv_close((uv_handle_t *)&k->timer, timer_closed);
	task_finish(run, ok, message ?: "out of memory", NULL);
}

/* ---- what kubectl says ---- */

static bool has_word(const char *text, const char *key, const char *value)
{
	size_t n = strlen(key), m = strlen(value);

	for (const char *word = text + strspn(text, " "); *word; word += strcspn(word, " "), word += strspn(word, " ")) {
		if (strncmp(word, key, n) == 0 && word[n] == '=' && strncmp(word + n + 1, value, m) == 0 && strcspn(word, " ") == n + 1 + m)
			return true;
	}
	return false;
}

/* A condition that is not there yet; NULL: all are. */
static const char *missing_condition(const char *words)
{
	static const char *const conditions[] = { "Ready", "ConfigurationsReady", "RoutesReady" };

	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++) {
		if (!has_word(words, conditions[i], "True"))
			return conditions[i];
	}
	return NULL;
}

static void ask(struct knative *k);

static void ask_again(uv_timer_t *timer)
{
	ask(timer->data);
}

static void answered(void *arg, const struct child_end *end)
{
	struct knative *k = arg;
	_cleanup_free_ char *problem = NULL;
	const char *missing;

	k->child = NULL;
	if (!child_ended_well(end)) {
		problem = child_end_text("kubectl get", end);
		finish(k, false, "cannot be read: %s", problem ?: "out of memory");
		return;
	}
	missing = missing_condition(end->output);
	uv_update_time(k->timer.loop);
	if (missing && uv_now(k->timer.loop) + INTERVAL_MS < k->deadline) {
		uv_timer_start(&k->timer, ask_again, INTERVAL_MS, 0);
		return;
	}
	if (missing) {
		finish(k, false, "is not ready: condition %s is not True", missing);
		return;
	}
	for (size_t i = 0; i < k->revision_count; i++) {
		if (!has_word(end->output, "revision", k->revisions[i])) {
			finish(k, false, "has no revision %s in its traffic: %s", k->revisions[i], end->output);
			return;
		}
	}
	finish(k, true, "is ready and has the revisions of all versions");
}

static void ask(struct knative *k)
{
	const struct child_options options = { .user = k->run->user, .deadline_ms = k->run->deadline_ms };
	char *args[] = { (char *)"kubectl", (char *)"get", (char *)"services.serving.knative.dev", k->name, (char *)"--namespace", k->ns, (char *)"--output",
			 (char *)WORDS, NULL };
	_cleanup_free_ char *problem = NULL;
	int r = child_start(k->timer.loop, args, &options, answered, k, &k->child, &problem);

	if (r < 0)
		finish(k, false, "cannot be read: %s", problem ?: strerror(-r));
}

/* ---- its beginning ---- */

static const char *revision_of(const struct version_detail *version)
{
	for (size_t i = 0; i < version->variable_count; i++) {
		if (strcmp(version->variables[i].name, "revision") == 0)
			return version->variables[i].value;
	}
	return NULL;
}

/* What the experiment has to be like; NULL: it is. */
static char *unfit(const struct experiment *e)
{
	const char *slash = strchr(e->target, '/');

	if (!slash || slash == e->target || !slash[1] || strchr(slash + 1, '/') || e->target[0] == '-' || slash[1] == '-')
		return text_printf("found target \"%s\"; allowed: namespace/name of the Knative service", e->target);
	if (e->testing != TESTING_CONFORMANCE && e->testing != TESTING_CANARY)
		return strdup("allowed: testingPattern Conformance or Canary");
	for (size_t v = 0; v < e->version_count; v++) {
		if (!revision_of(&e->versions[v]))
			return text_printf("version %s has no variable revision", e->versions[v].name);
	}
	return e->version_count ? NULL : strdup("the experiment has no versionInfo");
}

static int fill(struct knative *k, const struct experiment *e)
{
	const char *slash = strchr(e->target, '/');

	k->ns = strndup(e->target, (size_t)(slash - e->target));
	k->name = strdup(slash + 1);
	k->revisions = calloc(e->version_count, sizeof(*k->revisions));
	if (!k->ns || !k->name || !k->revisions)
		return -ENOMEM;
	for (; k->revision_count < e->version_count; k->revision_count++) {
		k->revisions[k->revision_count] = strdup(revision_of(&e->versions[k->revision_count]));
		if (!k->revisions[k->revision_count])
			return -ENOMEM;
	}
	return 0;
}

static void begin(uv_timer_t *timer)
{
	ask(timer->data);
}

static int start(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	_cleanup_free_ char *problem = unfit(context->experiment);
	struct knative *k;

	if (problem) {
		*ret_problem = text_printf("%s: %s", task->path, problem);
		return -EINVAL;
	}
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->run = run;
	uv_timer_init(run->loop, &k->timer);
	k->timer.data = k;
	if (fill(k, context->experiment) < 0) {
		uv_close((uv_handle_t *)&k->timer, timer_closed);
		return -ENOMEM;
	}
	uv_update_time(run->loop);
	k->deadline = uv_now(run->loop) + run->deadline_ms;
	run->work = k;
	uv_timer_start(&k->timer, begin, 0, 0); /* what goes wrong from here on is the task's end, and comes from the loop */
	return 0;
}

const struct task_kind task_knative = { "knative/init-experiment", .start = start, .cancel = cancel };
