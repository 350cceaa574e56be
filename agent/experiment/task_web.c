/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Tasks that speak HTTP: a thread of their own for libcurl's plain interface, so that nothing of it waits in the loop, and the two notifications.
 *
 *     loop ──task_thread_start()──▶ thread: body(), result ──uv_async──▶ loop: join, task_finish()
 *
 * A notification that fails does not fail its action unless ignoreFailure is false; the result says that it failed either way.
 */
#include "experiment/task_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "experiment/decide.h"
#include "reading/query.h"
#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

#define NOTIFY_TIMEOUT_MS 5000L
#define ANSWER_MAX 4096 /* bytes of an answer that are looked at */

/* ---- threads ---- */

bool task_thread_stopped(const struct task_thread *thread)
{
	return __atomic_load_n(&thread->stop, __ATOMIC_ACQUIRE);
}

static void stop(struct task_thread *thread)
{
	__atomic_store_n(&thread->stop, 1, __ATOMIC_RELEASE);
}

static void handle_closed(uv_handle_t *handle)
{
	struct task_thread *thread = handle->data;

	if (--thread->open > 0)
		return;
	thread->release(thread->data);
	json_decref(thread->collected);
	free(thread->message);
	free(thread);
}

static void thread_ended(uv_async_t *async)
{
	struct task_thread *thread = async->data;
	struct task_run *run = thread->run;
	_cleanup_free_ char *message = NULL;
	bool ok = thread->ok && !thread->late;
	json_t *collected;

	uv_thread_join(&thread->thread);
	uv_close((uv_handle_t *)&thread->ended, handle_closed);
	uv_close((uv_handle_t *)&thread->deadline, handle_closed);
	if (!run)
		return;
	collected = ok ? TAKE_PTR(thread->collected) : NULL; /* half a measurement is none */
	if (thread->late)
		message = text_printf("%s was ended after %.3g s, its deadline", run->what, (double)run->deadline_ms / 1000);
	else
		message = text_printf("%s %s%s", run->what, thread->message ?: "failed: out of memory", !ok && thread->ignore_failure ? " (ignored)" : "");
	task_finish(run, ok || thread->ignore_failure, message ?: "out of memory", collected);
}

static void deadline_reached(uv_timer_t *timer)
{
	struct task_thread *thread = timer->data;

	thread->late = true;
	stop(thread);
}

static void thread_main(void *arg)
{
	struct task_thread *thread = arg;

	thread->body(thread);
	uv_async_send(&thread->ended);
}

int task_thread_start(struct task_run *run, void (*body)(struct task_thread *thread), void *data, void (*release)(void *data), bool ignore_failure)
{
	struct task_thread *thread = calloc(1, sizeof(*thread));
	int r;

	if (!thread) {
		release(data);
		return -ENOMEM;
	}
	*thread = (struct task_thread){ .run = run, .body = body, .data = data, .release = release, .ignore_failure = ignore_failure, .open = 2 };
	uv_async_init(run->loop, &thread->ended, thread_ended);
	uv_timer_init(run->loop, &thread->deadline);
	thread->ended.data = thread->deadline.data = thread;
	uv_timer_start(&thread->deadline, deadline_reached, run->deadline_ms, 0);
	r = uv_thread_create(&thread->thread, thread_main, thread);
	if (r < 0) {
		uv_close((uv_handle_t *)&thread->ended, handle_closed);
		uv_close((uv_handle_t *)&thread->deadline, handle_closed);
		return r;
	}
	run->work = thread;
	return 0;
}

/* The thread ends by itself; then its async closes what is left. */
void task_thread_cancel(void *work)
{
	struct task_thread *thread = work;

	thread->run = NULL;
	stop(thread);
}

/* ---- one request ---- */

struct request {
	char *url, *method, *body;
	char *username, *password; /* NULL unless authType is Basic */
	struct curl_slist *headers;
	bool slack; /* its answers say ok in the body */
	char answer[ANSWER_MAX];
	size_t size;
};

static void request_free(void *data)
{
	struct request *request = data;

	free(request->url);
	free(request->method);
	free(request->body);
	free(request->username);
	free(request->password);
	curl_slist_free_all(request->headers);
	free(request);
}

/* A header of libcurl's list. 0 or -ENOMEM. */
static int add_header(struct request *request, const char *name, const char *value)
{
	_cleanup_free_ char *line = text_printf(*value ? "%s: %s" : "%s;", name, value);
	struct curl_slist *longer = line ? curl_slist_append(request->headers, line) : NULL;

	if (!longer)
		return -ENOMEM;
	request->headers = longer;
	return 0;
}

static size_t keep_answer(char *data, size_t size, size_t count, void *arg)
{
	struct request *request = arg;
	size_t n = size * count, room = sizeof(request->answer) - request->size;

	memcpy(request->answer + request->size, data, n < room ? n : room);
	request->size += n < room ? n : room;
	return n;
}

int task_thread_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)a, (void)b, (void)c, (void)d;
	return task_thread_stopped(arg);
}

/* Slack answers 200 and {"ok": false, "error": "channel_not_found"}. */
static char *slack_problem(const struct request *request)
{
	_cleanup_json_ json_t *answer = json_loadb(request->answer, request->size, 0, NULL);

	if (json_is_true(json_object_get(answer, "ok")))
		return NULL;
	return text_printf("failed: Slack says %s", json_string_value(json_object_get(answer, "error")) ?: "neither ok nor an error");
}

static void send_request(struct task_thread *thread)
{
	struct request *request = thread->data;
	_cleanup_free_ char *problem = NULL;
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;
	long status = 0;

	if (curl) {
		curl_easy_setopt(curl, CURLOPT_URL, request->url);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, NOTIFY_TIMEOUT_MS);
		curl_easy_setopt(curl, CURLOPT_HTTPHEADER, request->headers);
		if (strcmp(request->method, "GET") != 0)
			curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body);
		if (request->username) {
			curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
			curl_easy_setopt(curl, CURLOPT_USERNAME, request->username);
			curl_easy_setopt(curl, CURLOPT_PASSWORD, request->password);
		}
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep_answer);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, request);
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, task_thread_progress);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, thread);
		code = curl_easy_perform(curl);
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_cleanup(curl);
	}
	thread->ok = code == CURLE_OK && status < 300;
	if (code != CURLE_OK)
		thread->message = text_printf("failed: %s: %s", request->url, curl_easy_strerror(code));
	else if (!thread->ok)
		thread->message = text_printf("failed: %s", (problem = query_status_problem(status, request->answer, request->size)));
	else if (request->slack && (thread->message = slack_problem(request)))
		thread->ok = false;
	else
		thread->message = text_printf("was sent: HTTP %ld", status);
}

/* ---- notification/http ---- */

/* What templates of a notification may name: this and secret. */
static json_t *notify_values(const struct task_context *context, json_t *secret)
{
	return json_pack("{s:O, s:O*}", "this", context->document, "secret", secret);
}

static json_t *winner_of(const json_t *document, const char *key)
{
	const json_t *analysis = json_object_get(json_object_get(document, "status"), "analysis");

	return json_object_get(json_object_get(json_object_get(analysis, "winnerAssessment"), "data"), key);
}

/* Iter8's default body: a summary, and the whole experiment. */
static char *default_body(const json_t *document)
{
	json_t *status = json_object_get(document, "status");
	json_t *weights = json_object_get(json_object_get(json_object_get(status, "analysis"), "weights"), "data");
	_cleanup_json_ json_t *body = json_pack("{s:{s:b, s:O*, s:O*, s:O*}, s:O}", "summary", "winnerFound", json_is_true(winner_of(document, "winnerFound")),
						"winner", winner_of(document, "winner"), "versionRecommendedForPromotion",
						json_object_get(status, "versionRecommendedForPromotion"), "lastRecommendedWeights", weights, "experiment", document);

	return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

/* An expanded text; NULL and *ret_problem, which names the input. */
static char *expand(const struct task_run *run, const char *input, const char *text, const json_t *values, char **ret_problem)
{
	_cleanup_free_ char *problem = NULL;
	char *expanded = NULL;

	if (template_expand(text, values, &expanded, &problem) < 0)
		*ret_problem = text_printf("%s.with.%s: %s", run->path, input, problem ?: "out of memory");
	return expanded;
}

static int add_authorization(struct request *request, const char *type, const json_t *secret)
{
	_cleanup_free_ char *line = NULL;
	const char *token = json_string_value(json_object_get(secret, "token"));

	if (strcasecmp(type, "Bearer") == 0) {
		line = text_printf("Bearer %s", token ?: "");
		return line ? add_header(request, "Authorization", line) : -ENOMEM;
	}
	if (strcasecmp(type, "Basic") != 0)
		return 0;
	request->username = strdup(json_string_value(json_object_get(secret, "username")) ?: "");
	request->password = strdup(json_string_value(json_object_get(secret, "password")) ?: "");
	return request->username && request->password ? 0 : -ENOMEM;
}

static int add_headers(const struct task_run *run, struct request *request, const json_t *headers, const json_t *values, char **ret_problem)
{
	const json_t *header;
	size_t i;
	int r = 0;

	json_array_foreach(headers, i, header) {
		_cleanup_free_ char *value = expand(run, "headers", json_string_value(json_object_get(header, "value")), values, ret_problem);

		r = value ? add_header(request, json_string_value(json_object_get(header, "name")), value) : -EINVAL;
		if (r < 0)
			break;
	}
	return r;
}

static int start_http(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	_cleanup_json_ json_t *secret = NULL, *values = NULL;
	struct request *request = calloc(1, sizeof(*request));
	const char *reference = task_text(task, "secret", NULL), *body = task_text(task, "body", NULL);
	int r = !request ? -ENOMEM : reference ? task_secret(run, reference, &secret, ret_problem) : 0;

	if (r == 0) {
		values = notify_values(context, secret);
		request->method = strdup(task_text(task, "method", "POST"));
		request->url = expand(run, "URL", task_text(task, "URL", ""), values, ret_problem);
		request->body = body ? expand(run, "body", body, values, ret_problem) : default_body(context->document);
		r = *ret_problem ? -EINVAL : request->method && request->url && request->body ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = add_header(request, "Content-Type", "application/json");
	if (r == 0)
		r = add_authorization(request, task_text(task, "authType", "None"), secret);
	if (r == 0)
		r = add_headers(run, request, json_object_get(task->with, "headers"), values, ret_problem);
	if (r < 0) {
		if (request)
			request_free(request);
		return r;
	}
	return task_thread_start(run, send_request, request, request_free, !json_is_false(json_object_get(task->with, "ignoreFailure")));
}

/* ---- notification/slack ---- */

/* "Name: _ns/name_" and so on, as Iter8 writes it. */
static char *slack_text(const struct task_context *context)
{
	const struct experiment *e = context->experiment;
	const json_t *status = json_object_get(context->document, "status"), *condition;
	const char *winner = json_string_value(winner_of(context->document, "winner"));
	_cleanup_free_ char *text = NULL;
	bool failed = false;
	size_t i, size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	json_array_foreach(json_object_get(status, "conditions"), i, condition) {
		const char *type = json_string_value(json_object_get(condition, "type")), *value = json_string_value(json_object_get(condition, "status"));

		failed |= type && value && strcmp(type, "Failed") == 0 && strcmp(value, "True") == 0;
	}
	fprintf(out, "*Name:* _%s/%s_\n*Versions:* _", e->meta.ns, e->meta.name);
	for (size_t v = 0; v < e->version_count; v++)
		fprintf(out, "%s%s", v ? ", " : "", e->versions[v].name);
	fprintf(out, "_\n*Stage:* _%s_\n*Winner:* _%s_%s", json_string_value(json_object_get(status, "stage")) ?: "Waiting", winner ?: "not found",
		failed ? "\n*Failed:* _true_" : "");
	return fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

static char *slack_body(const struct task *task, const struct task_context *context)
{
	_cleanup_free_ char *title = text_printf("*%s experiment on %s*", testing_pattern_name(context->experiment->testing), context->experiment->target);
	_cleanup_free_ char *text = slack_text(context);
	_cleanup_json_ json_t *body = NULL;

	body = json_pack("{s:s, s:s, s:[{s:s, s:{s:s, s:s}}], s:[{s:[{s:s, s:{s:s, s:s}}]}]}", "channel", task_text(task, "channel", ""), "text", title ?: "",
			 "blocks", "type", "section", "text", "type", "mrkdwn", "text", title ?: "", "attachments", "blocks", "type", "section", "text", "type",
			 "mrkdwn", "text", text ?: "");
	return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

static int start_slack(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	_cleanup_json_ json_t *secret = NULL;
	struct request *request = calloc(1, sizeof(*request));
	int r = request ? task_secret(run, task_text(task, "secret", ""), &secret, ret_problem) : -ENOMEM;

	if (r == 0) {
		request->slack = true;
		request->method = strdup("POST");
		request->url = strdup(run->slack_url);
		request->body = slack_body(task, context);
		r = request->method && request->url && request->body ? 0 : -ENOMEM;
	}
	if (r == 0)
		r = add_header(request, "Content-Type", "application/json; charset=utf-8");
	if (r == 0)
		r = add_authorization(request, "Bearer", secret);
	if (r < 0) {
		if (request)
			request_free(request);
		return r;
	}
	return task_thread_start(run, send_request, request, request_free, !json_is_false(json_object_get(task->with, "ignoreFailure")));
}

/* ---- what they take ---- */

static int check_choice(const struct task *task, const char *input, const char *const *choices, char **ret_problem)
{
	const char *text = task_text(task, input, NULL);
	_cleanup_free_ char *list = NULL;

	for (size_t i = 0; choices[i]; i++) {
		_cleanup_free_ char *before = TAKE_PTR(list);

		if (!text || strcmp(text, choices[i]) == 0)
			return 0;
		list = text_printf("%s%s%s", before ?: "", before ? ", " : "", choices[i]);
	}
	*ret_problem = text_printf("%s.with.%s: found \"%s\"; allowed: %s", task->path, input, text, list ?: "");
	return -EINVAL;
}

static int check_http(const struct task *task, char **ret_problem)
{
	static const char *const methods[] = { "GET", "POST", NULL };
	static const char *const auths[] = { "None", "Basic", "Bearer", "APIKey", NULL };
	const char *auth = task_text(task, "authType", "None");
	const json_t *header;
	size_t i;
	int r = check_choice(task, "method", methods, ret_problem);

	if (r == 0)
		r = check_choice(task, "authType", auths, ret_problem);
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(task->with, "headers"), i, header) {
		if (json_string_length(json_object_get(header, "name")) && json_is_string(json_object_get(header, "value")))
			continue;
		*ret_problem = text_printf("%s.with.headers[%zu]: a header needs a name and a value, strings", task->path, i);
		return -EINVAL;
	}
	if (strcmp(auth, "None") != 0 && !task_text(task, "secret", NULL)) {
		*ret_problem = text_printf("%s.with.secret: authType %s needs the secret that it is made of", task->path, auth);
		return -EINVAL;
	}
	return 0;
}

static const char *const header_keys[] = { "name", "value", NULL };

static const struct task_input http_inputs[] = {
	{ "URL", .type = INPUT_TEXT, .needed = "the URL to notify, a string", .template = true },
	{ "method", .type = INPUT_TEXT },
	{ "authType", .type = INPUT_TEXT },
	{ "secret", .type = INPUT_TEXT },
	{ "headers", .type = INPUT_OBJECTS, .keys = header_keys, .template = true },
	{ "body", .type = INPUT_TEXT, .template = true },
	{ "ignoreFailure", .type = INPUT_BOOL },
};

static const struct task_input slack_inputs[] = {
	{ "channel", .type = INPUT_TEXT, .needed = "the channel's ID, a string" },
	{ "secret", .type = INPUT_TEXT, .needed = "the secret whose key `token` is Slack's token" },
	{ "ignoreFailure", .type = INPUT_BOOL },
};

const struct task_kind task_http = { "notification/http", INPUTS(http_inputs), .check = check_http, .start = start_http, .cancel = task_thread_cancel };
const struct task_kind task_slack = { "notification/slack", INPUTS(slack_inputs), .start = start_slack, .cancel = task_thread_cancel };
