/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * metrics/collect: asks each version's URL at a steady rate over a few connections, one version after the other, and measures (Iter8 runs fortio for it).
 *
 *     due: 0, 1/qps, 2/qps ..  ──▶ the next connection that is free ──▶ libcurl ──▶ status and time ──▶ reading/collected.h
 *
 * numQueries wins over time. A body, or a contentType, makes the requests POST. A version of whose requests none is answered fails the task.
 */
#include "experiment/task_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "reading/collected.h"
#include "util/cleanup.h"
#include "util/text.h"

#define QUERIES 100
#define QPS 8
#define CONNECTIONS 4
#define CONNECTIONS_MAX 256
#define REQUEST_TIMEOUT_MS 5000L
#define PAYLOAD_MAX (16 << 20)
#define POLL_MS 50 /* how long a stop may take to be seen */

struct load_version {
	char *name, *url;
	struct curl_slist *headers;
};

struct load {
	struct load_version *versions;
	size_t version_count;
	double queries; /* INFINITY: as many as the time allows */
	double seconds; /* INFINITY: until the queries are done */
	double qps;
	size_t connections;
	bool load_only, post;
	char *payload, *payload_url;
	size_t payload_size;
	json_t *collected; /* of earlier tasks; NULL: nothing */
};

static void load_free(void *data)
{
	struct load *load = data;

	for (size_t i = 0; i < load->version_count; i++) {
		free(load->versions[i].name);
		free(load->versions[i].url);
		curl_slist_free_all(load->versions[i].headers);
	}
	free(load->versions);
	free(load->payload);
	free(load->payload_url);
	json_decref(load->collected);
	free(load);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* ---- requests ---- */

struct pool {
	struct task_thread *thread;
	const struct load *load;
	CURLM *multi;
	CURL *handles[CONNECTIONS_MAX];
	bool busy[CONNECTIONS_MAX];
	size_t active;
	double sent;
	struct series_numbers numbers;
	json_t *codes;
};

static size_t drop(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

static CURL *new_handle(const struct load *load, const struct load_version *version)
{
	CURL *curl = curl_easy_init();

	if (!curl)
		return NULL;
	curl_easy_setopt(curl, CURLOPT_URL, version->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, version->headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop);
	if (load->post) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, load->payload ?: "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)load->payload_size);
	}
	return curl;
}

/* Ends all: what is under way is not counted. */
static void pool_close(struct pool *pool)
{
	for (size_t i = 0; i < pool->load->connections; i++) {
		if (pool->busy[i])
			curl_multi_remove_handle(pool->multi, pool->handles[i]);
		if (pool->handles[i])
			curl_easy_cleanup(pool->handles[i]);
	}
	curl_multi_cleanup(pool->multi);
	json_decref(pool->codes);
}

static bool pool_open(struct pool *pool, const struct load_version *version)
{
	pool->multi = curl_multi_init();
	pool->codes = json_object();
	for (size_t i = 0; i < pool->load->connections; i++) {
		pool->handles[i] = new_handle(pool->load, version);
		if (!pool->handles[i])
			return false;
	}
	return pool->multi && pool->codes;
}

/* Sends what is due, as long as a connection is free. */
static void send_due(struct pool *pool, double elapsed)
{
	for (size_t i = 0; i < pool->load->connections && pool->sent < pool->load->queries && pool->sent / pool->load->qps <= elapsed; i++) {
		if (pool->busy[i] || elapsed >= pool->load->seconds)
			continue;
		pool->busy[i] = true;
		pool->active++;
		pool->sent++;
		curl_multi_add_handle(pool->multi, pool->handles[i]);
	}
}

static void count_answer(struct pool *pool, CURL *curl, CURLcode code)
{
	curl_off_t us = 0;
	long status = 0;

	curl_easy_getinfo(curl, CURLINFO_TOTAL_TIME_T, &us);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	collected_count(&pool->numbers, pool->codes, status, (uint64_t)us * 1000);
	curl_multi_remove_handle(pool->multi, curl);
	for (size_t i = 0; i < pool->load->connections; i++)
		pool->busy[i] = pool->busy[i] && pool->handles[i] != curl;
	pool->active--;
}

static void take_answers(struct pool *pool)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(pool->multi, &left))) {
		if (message->msg == CURLMSG_DONE)
			count_answer(pool, message->easy_handle, message->data.result);
	}
}

/* Until the next request is due, or something happens. */
static int wait_ms(const struct pool *pool, double elapsed)
{
	double due = pool->sent < pool->load->queries ? pool->sent / pool->load->qps - elapsed : INFINITY;

	return due <= 0 ? pool->active == pool->load->connections ? POLL_MS : 0 : due * 1000 < POLL_MS ? (int)ceil(due * 1000) : POLL_MS;
}

static void run_load(struct pool *pool)
{
	double start = now_s(), elapsed = 0;
	int running;

	while (!task_thread_stopped(pool->thread)) {
		send_due(pool, elapsed);
		if (pool->active == 0 && (pool->sent >= pool->load->queries || elapsed >= pool->load->seconds))
			return;
		curl_multi_perform(pool->multi, &running);
		take_answers(pool);
		curl_multi_poll(pool->multi, NULL, 0, wait_ms(pool, now_s() - start), NULL);
		elapsed = now_s() - start;
	}
}

/* ---- the payload ---- */

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
	struct load *load = arg;
	size_t n = size * count;
	char *longer = load->payload_size + n <= PAYLOAD_MAX ? realloc(load->payload, load->payload_size + n) : NULL;

	if (!longer)
		return 0;
	memcpy(longer + load->payload_size, data, n);
	load->payload = longer;
	load->payload_size += n;
	return n;
}

static char *fetch_payload(const struct task_thread *thread, struct load *load)
{
	CURL *curl = curl_easy_init();
	CURLcode code = CURLE_OUT_OF_MEMORY;

	if (curl) {
		curl_easy_setopt(curl, CURLOPT_URL, load->payload_url);
		curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
		curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
		curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
		curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
		curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 10 * REQUEST_TIMEOUT_MS);
		curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
		curl_easy_setopt(curl, CURLOPT_WRITEDATA, load);
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, task_thread_progress);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, thread);
		code = curl_easy_perform(curl);
		curl_easy_cleanup(curl);
	}
	return code == CURLE_OK ? NULL : text_printf("failed: payload %s: %s", load->payload_url, curl_easy_strerror(code));
}

/* ---- the whole ---- */

/* NULL: the version is measured; else why not. */
static char *measure(struct task_thread *thread, struct load *load, const struct load_version *version)
{
	struct pool pool = { .thread = thread, .load = load };
	char *problem = NULL;
	json_t *more;

	if (!pool_open(&pool, version)) {
		problem = strdup("failed: out of memory");
	} else {
		run_load(&pool);
		if (!task_thread_stopped(thread) && pool.numbers.count.latency_count == 0)
			problem = text_printf("failed: none of %llu requests to %s was answered", (unsigned long long)pool.numbers.count.requests, version->url);
	}
	if (!problem && !load->load_only) {
		more = collected_add(load->collected, version->name, &pool.numbers, pool.codes);
		json_decref(load->collected);
		load->collected = more;
	}
	pool_close(&pool);
	return problem;
}

static void body(struct task_thread *thread)
{
	struct load *load = thread->data;

	if (load->payload_url)
		thread->message = fetch_payload(thread, load);
	for (size_t i = 0; i < load->version_count && !thread->message && !task_thread_stopped(thread); i++)
		thread->message = measure(thread, load, &load->versions[i]);
	if (thread->message)
		return;
	thread->ok = true;
	thread->collected = load->load_only ? NULL : TAKE_PTR(load->collected);
	thread->message = text_printf("asked %zu version%s", load->version_count, load->version_count == 1 ? "" : "s");
}

/* Go's durations: "10s", "1m30s", "500ms". -1: it is none. */
static double duration_s(const char *text)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = { { "ms", 0.001 }, { "h", 3600 }, { "m", 60 }, { "s", 1 } };
	double sum = 0;

	while (*text) {
		char *end;
		double number = strtod(text, &end);
		size_t u = 0;

		while (u < ARRAY_SIZE(units) && strncmp(end, units[u].unit, strlen(units[u].unit)) != 0)
			u++;
		if (end == text || !isfinite(number) || number < 0 || u == ARRAY_SIZE(units))
			return -1;
		sum += number * units[u].seconds;
		text = end + strlen(units[u].unit);
	}
	return sum > 0 ? sum : -1;
}

static int add_header(struct load_version *version, const char *name, const char *value)
{
	_cleanup_free_ char *line = text_printf(*value ? "%s: %s" : "%s;", name, value);
	struct curl_slist *longer = line ? curl_slist_append(version->headers, line) : NULL;

	if (!longer)
		return -ENOMEM;
	version->headers = longer;
	return 0;
}

static int add_version(struct load *load, const json_t *json, const char *content_type)
{
	struct load_version *version = &load->versions[load->version_count++];
	const char *name;
	json_t *value;
	int r = 0;

	version->name = strdup(json_string_value(json_object_get(json, "name")));
	version->url = strdup(json_string_value(json_object_get(json, "url")));
	if (!version->name || !version->url)
		return -ENOMEM;
	if (content_type)
		r = add_header(version, "Content-Type", content_type);
	json_object_foreach(json_object_get(json, "headers"), name, value)
		r = r < 0 ? r : add_header(version, name, json_string_value(value));
	return r;
}

static int fill(struct load *load, const struct task *task, const struct task_context *context)
{
	const json_t *versions = json_object_get(task->with, "versions"), *collected = context->collected;
	const char *time_text = task_text(task, "time", NULL), *payload = task_text(task, "payloadStr", NULL), *url = task_text(task, "payloadURL", NULL);
	const char *content_type = task_text(task, "contentType", NULL);
	bool counted = json_object_get(task->with, "numQueries") || !time_text;
	int r = 0;

	load->queries = counted ? task_number(task, "numQueries", QUERIES) : INFINITY;
	load->seconds = counted ? INFINITY : duration_s(time_text);
	load->qps = task_number(task, "qps", QPS);
	load->connections = (size_t)task_number(task, "connections", CONNECTIONS);
	load->load_only = json_is_true(json_object_get(task->with, "loadOnly"));
	load->post = payload || url || content_type;
	load->payload = payload && !url ? strdup(payload) : NULL;
	load->payload_size = load->payload ? strlen(load->payload) : 0;
	load->payload_url = url ? strdup(url) : NULL;
	load->collected = collected ? json_deep_copy(collected) : NULL;
	load->versions = calloc(json_array_size(versions) + 1, sizeof(*load->versions));
	if (!load->versions || (url && !load->payload_url) || (payload && !url && !load->payload) || (collected && !load->collected))
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(versions) && r == 0; i++)
		r = add_version(load, json_array_get(versions, i), content_type);
	return r;
}

static bool is_version(const struct experiment *e, const char *name)
{
	for (size_t v = 0; v < e->version_count; v++) {
		if (strcmp(e->versions[v].name, name) == 0)
			return true;
	}
	return false;
}

static int start(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	struct load *load;
	const json_t *version;
	size_t i;
	int r;

	json_array_foreach(json_object_get(task->with, "versions"), i, version) {
		const char *name = json_string_value(json_object_get(version, "name"));

		if (is_version(context->experiment, name))
			continue;
		*ret_problem = text_printf("%s.with.versions[%zu].name: found \"%s\", which is no version of the experiment (spec.versionInfo)", run->path, i, name);
		return -EINVAL;
	}
	load = calloc(1, sizeof(*load));
	r = load ? fill(load, task, context) : -ENOMEM;
	if (r < 0) {
		if (load)
			load_free(load);
		return r;
	}
	return task_thread_start(run, body, load, load_free, false);
}

static int check_version(const struct task *task, size_t i, const json_t *version, char **ret_problem)
{
	const json_t *headers = json_object_get(version, "headers");
	const char *key;
	json_t *value;

	if (!json_string_length(json_object_get(version, "name")) || !json_string_length(json_object_get(version, "url")) || (headers && !json_is_object(headers))) {
		*ret_problem = text_printf("%s.with.versions[%zu]: needs name and url, strings; headers, an object of strings, may be there", task->path, i);
		return -EINVAL;
	}
	json_object_foreach((json_t *)headers, key, value) {
		if (json_is_string(value))
			continue;
		*ret_problem = text_printf("%s.with.versions[%zu].headers.%s: allowed: a string", task->path, i, key);
		return -EINVAL;
	}
	return 0;
}

static int check(const struct task *task, char **ret_problem)
{
	const char *time_text = task_text(task, "time", NULL);
	double connections = task_number(task, "connections", CONNECTIONS);
	const json_t *version;
	size_t i;
	int r = 0;

	if (time_text && duration_s(time_text) < 0)
		*ret_problem = text_printf("%s.with.time: found \"%s\"; allowed: a duration such as 10s or 1m30s", task->path, time_text);
	else if (connections < 1 || connections > CONNECTIONS_MAX)
		*ret_problem = text_printf("%s.with.connections: found %g; allowed: 1 to %d", task->path, connections, CONNECTIONS_MAX);
	if (*ret_problem)
		return -EINVAL;
	json_array_foreach(json_object_get(task->with, "versions"), i, version)
		r = r < 0 ? r : check_version(task, i, version, ret_problem);
	return r;
}

static const char *const version_keys[] = { "name", "url", "headers", NULL };

static const struct task_input inputs[] = {
	{ "versions", .type = INPUT_OBJECTS, .needed = "the versions to ask, a list of {name, url, headers}", .keys = version_keys },
	{ "numQueries", .type = INPUT_COUNT },
	{ "time", .type = INPUT_TEXT },
	{ "qps", .type = INPUT_NUMBER },
	{ "connections", .type = INPUT_COUNT },
	{ "loadOnly", .type = INPUT_BOOL },
	{ "payloadStr", .type = INPUT_TEXT },
	{ "payloadURL", .type = INPUT_TEXT },
	{ "contentType", .type = INPUT_TEXT },
};

const struct task_kind task_collect = { "metrics/collect", INPUTS(inputs), .check = check, .start = start, .cancel = task_thread_cancel };
