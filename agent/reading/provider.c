/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/provider.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <curl/curl.h>

#include "reading/query.h"
#include "reading/retry.h"
#include "reading/secret.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define CONNECT_SHARE 3 /* of the deadline a connection may take: a lost SYN is one that is asked again, and an answer that is slow has the rest */

struct provider {
	CURLM *multi;
	uv_loop_t *loop;
	uv_timer_t timer;
	struct secret_source secrets;
	char *folder; /* of them */
	provider_tap_fn tap;
	void *tap_arg;
	struct mock_random jitter;
	size_t handles; /* uv handles that are not closed yet */
	struct query *queries;
	bool closing;
};

/* A socket of libcurl's, watched by the loop. */
struct watch {
	uv_poll_t poll;
	struct provider *provider;
	curl_socket_t fd;
};

struct query {
	struct query *next;
	struct provider *provider;
	CURL *easy;
	struct curl_slist *headers;
	char *body, *jq;
	double oldest_s;
	char *answer;
	size_t answer_size;
	bool too_large;
	char error[CURL_ERROR_SIZE];
	char *label;          /* "ns/name" of the metric, for the log */
	json_t *secret;       /* what no problem may show; NULL: it has none */
	bool added;           /* libcurl has it; else it waits for its next attempt */
	uv_timer_t pause;
	uint64_t deadline;    /* in the loop's time */
	unsigned int attempts;
	char *trouble;        /* of the last attempt that failed before this one */
	query_done_fn done;
	void *arg;
};

/* ---- lifetime ---- */

static void handle_gone(struct provider *provider)
{
	if (--provider->handles > 0 || !provider->closing)
		return;
	free(provider->folder);
	free(provider);
}

static void timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void pause_closed(uv_handle_t *handle)
{
	struct query *query = handle->data;

	handle_gone(query->provider);
	free(query);
}

static void query_release(struct query *query)
{
	struct query **at = &query->provider->queries;

	while (*at != query)
		at = &(*at)->next;
	*at = query->next;
	if (query->added)
		curl_multi_remove_handle(query->provider->multi, query->easy);
	curl_easy_cleanup(query->easy);
	curl_slist_free_all(query->headers);
	free(query->body);
	free(query->jq);
	free(query->answer);
	free(query->label);
	free(query->trouble);
	json_decref(query->secret);
	uv_close((uv_handle_t *)&query->pause, pause_closed);
}

void query_cancel(struct query **query)
{
	struct query *q = TAKE_PTR(*query);

	if (q)
		query_release(q);
}

void provider_free(struct provider **provider)
{
	struct provider *p = TAKE_PTR(*provider);

	if (!p)
		return;
	while (p->queries)
		query_release(p->queries);
	curl_multi_cleanup(p->multi); /* takes its sockets out of the loop */
	p->closing = true;
	uv_close((uv_handle_t *)&p->timer, timer_closed);
}

static void finish_query(struct query *query, CURLcode code);

/* ---- answers ---- */

static size_t take_answer(char *data, size_t one, size_t size, void *arg)
{
	struct query *query = arg;
	char *grown;

	(void)one;
	if (query->answer_size + size > PROVIDER_BODY_MAX) {
		query->too_large = true;
		return 0; /* libcurl ends the transfer */
	}
	grown = realloc(query->answer, query->answer_size + size + 1);
	if (!grown)
		return 0;
	query->answer = grown;
	memcpy(query->answer + query->answer_size, data, size);
	query->answer_size += size;
	return size;
}

#define STAMP_S 1 /* times of HTTP are whole seconds */

static double answer_age(const struct query *query)
{
	struct curl_header *date = NULL, *age = NULL;

	curl_easy_header(query->easy, "Date", 0, CURLH_HEADER, -1, &date);
	curl_easy_header(query->easy, "Age", 0, CURLH_HEADER, -1, &age);
	return query_age(query->answer, query->answer_size, date ? (int64_t)curl_getdate(date->value, NULL) : -1, age ? strtod(age->value, NULL) : 0,
			 (int64_t)time(NULL));
}

static void read_number(const struct query *query, double number, struct reading *reading)
{
	double age = query->oldest_s > 0 ? answer_age(query) : 0;

	if (age > query->oldest_s + STAMP_S)
		reading_fail(reading, "the value is stale: the provider made it %.0f s ago, and an interval has %g s", age, query->oldest_s);
	else
		reading_set(reading, number);
}

static void read_answer(struct query *query, CURLcode code, struct reading *reading)
{
	const char *answer = query->answer ? query->answer : "";
	_cleanup_free_ char *problem = NULL;
	long status = 0;
	double number;

	curl_easy_getinfo(query->easy, CURLINFO_RESPONSE_CODE, &status);
	if (query->too_large) {
		reading_fail(reading, "the answer has more than %u bytes", PROVIDER_BODY_MAX);
	} else if (code == CURLE_OPERATION_TIMEDOUT) {
		reading_fail(reading, "no whole answer within the deadline (%s)", *query->error ? query->error : curl_easy_strerror(code));
	} else if (code != CURLE_OK) {
		reading_fail(reading, "%s", *query->error ? query->error : curl_easy_strerror(code));
	} else if (status < 200 || status > 299) {
		problem = query_status_problem(status, answer, query->answer_size);
		reading_fail(reading, "%s", problem ? problem : "out of memory");
	} else if (query_number(query->jq, answer, query->answer_size, &number, &problem) < 0) {
		reading_fail(reading, "%s", problem ? problem : "out of memory");
	} else {
		read_number(query, number, reading);
	}
}

void provider_tap(struct provider *provider, provider_tap_fn tap, void *arg)
{
	provider->tap = tap;
	provider->tap_arg = arg;
}

static void show_answer(const struct query *query)
{
	const struct provider *provider = query->provider;
	double seconds = 0;
	long status = 0;

	if (!provider->tap)
		return;
	curl_easy_getinfo(query->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(query->easy, CURLINFO_TOTAL_TIME, &seconds);
	provider->tap(provider->tap_arg, status, query->answer ? query->answer : "", query->answer_size, seconds * 1e3);
}

/* ---- attempts ---- */

void provider_jitter(struct provider *provider, const struct mock_random *jitter)
{
	provider->jitter = *jitter;
}

static int64_t time_left(const struct query *query)
{
	uv_update_time(query->provider->loop);
	return (int64_t)query->deadline - (int64_t)uv_now(query->provider->loop);
}

/* Hands the query to libcurl with what is left of its time. */
static int attempt(struct query *query)
{
	int64_t left = time_left(query);

	left = left > 1 ? left : 1;
	curl_easy_setopt(query->easy, CURLOPT_TIMEOUT_MS, (long)left);
	curl_easy_setopt(query->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(left / CONNECT_SHARE + 1));
	query->attempts++;
	query->answer_size = 0;
	query->error[0] = '\0';
	query->added = curl_multi_add_handle(query->provider->multi, query->easy) == CURLM_OK;
	return query->added ? 0 : -ENOMEM;
}

static void pause_over(uv_timer_t *timer)
{
	struct query *query = timer->data;

	if (attempt(query) < 0)
		finish_query(query, CURLE_OUT_OF_MEMORY);
}

/* Returns whether the query will be asked again; *problem, the reason, is taken then. */
static bool retry(struct query *query, CURLcode code, char **problem)
{
	const struct mock_random *jitter = &query->provider->jitter;
	curl_off_t after_s = 0;
	long status = 0;
	int64_t pause;

	curl_easy_getinfo(query->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(query->easy, CURLINFO_RETRY_AFTER, &after_s);
	if (query->too_large || !retry_helps(code, status))
		return false;
	pause = retry_pause(query->attempts, jitter->next(jitter->arg), after_s * 1000, time_left(query));
	if (pause < 0)
		return false;
	log_debug("metric %s: %s; attempt %u follows in %lld ms", query->label, *problem, query->attempts + 1, (long long)pause);
	curl_multi_remove_handle(query->provider->multi, query->easy);
	query->added = false;
	free(query->trouble);
	query->trouble = TAKE_PTR(*problem);
	return uv_timer_start(&query->pause, pause_over, (uint64_t)pause, 0) == 0;
}

/* An answer may say again what it was asked with. */
static void hide_secret(const struct query *query, struct reading *reading)
{
	_cleanup_free_ char *problem = reading->problem;

	reading->problem = problem ? secret_hide(problem, query->secret) : NULL;
}

static void finish_query(struct query *query, CURLcode code)
{
	query_done_fn done = query->done;
	void *arg = query->arg;
	struct reading reading = {};

	show_answer(query);
	read_answer(query, code, &reading);
	hide_secret(query, &reading);
	if (retry(query, code, &reading.problem)) {
		reading_clear(&reading);
		return;
	}
	reading.attempts = query->attempts;
	reading.trouble = TAKE_PTR(query->trouble);
	query_release(query);
	done(arg, &reading);
	reading_clear(&reading);
}

/* done() may start and cancel queries, but not free the provider: the daemon frees it outside of the loop's callbacks. */
static void collect(struct provider *provider)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(provider->multi, &left))) {
		struct query *query;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&query);
		finish_query(query, message->data.result);
	}
}

/* ---- libcurl's sockets and timeout on the loop ---- */

static void socket_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *watch = poll->data;
	struct provider *provider = watch->provider;
	int running, ready = status < 0 ? CURL_CSELECT_ERR : 0;

	if (events & UV_READABLE)
		ready |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		ready |= CURL_CSELECT_OUT;
	curl_multi_socket_action(provider->multi, watch->fd, ready, &running);
	collect(provider);
}

static void timeout_reached(uv_timer_t *timer)
{
	struct provider *provider = timer->data;
	int running;

	curl_multi_socket_action(provider->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(provider);
}

static void watch_closed(uv_handle_t *handle)
{
	struct watch *watch = handle->data;

	handle_gone(watch->provider);
	free(watch);
}

static struct watch *watch_new(struct provider *provider, curl_socket_t fd)
{
	struct watch *watch = calloc(1, sizeof(*watch));

	if (!watch)
		return NULL;
	watch->provider = provider;
	watch->fd = fd;
	if (uv_poll_init_socket(provider->loop, &watch->poll, fd) < 0) {
		free(watch);
		return NULL;
	}
	watch->poll.data = watch;
	provider->handles++;
	return watch;
}

static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct provider *provider = arg;
	struct watch *watch = socket_arg;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			uv_close((uv_handle_t *)&watch->poll, watch_closed);
		return 0;
	}
	if (!watch) {
		watch = watch_new(provider, fd);
		if (!watch)
			return -1;
		curl_multi_assign(provider->multi, fd, watch);
	}
	if (what != CURL_POLL_OUT)
		events |= UV_READABLE;
	if (what != CURL_POLL_IN)
		events |= UV_WRITABLE;
	return uv_poll_start(&watch->poll, events, socket_ready) < 0 ? -1 : 0;
}

static int timeout_changed(CURLM *multi, long timeout_ms, void *arg)
{
	struct provider *provider = arg;

	(void)multi;
	if (timeout_ms < 0)
		uv_timer_stop(&provider->timer);
	else
		uv_timer_start(&provider->timer, timeout_reached, (uint64_t)timeout_ms, 0);
	return 0;
}

int provider_new(uv_loop_t *loop, const struct secret_source *secrets, struct provider **ret_provider)
{
	struct provider *provider = calloc(1, sizeof(*provider));

	if (!provider)
		return -ENOMEM;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		provider->multi = curl_multi_init();
	provider->folder = strdup(secrets->folder);
	provider->secrets = (struct secret_source){ provider->folder, secrets->world };
	if (!provider->multi || !provider->folder) {
		curl_multi_cleanup(provider->multi);
		free(provider->folder);
		free(provider);
		return -ENOMEM;
	}
	provider->loop = loop;
	provider->jitter = mock_random_system;
	uv_timer_init(loop, &provider->timer);
	provider->timer.data = provider;
	provider->handles = 1;
	curl_multi_setopt(provider->multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
	curl_multi_setopt(provider->multi, CURLMOPT_SOCKETDATA, provider);
	curl_multi_setopt(provider->multi, CURLMOPT_TIMERFUNCTION, timeout_changed);
	curl_multi_setopt(provider->multi, CURLMOPT_TIMERDATA, provider);
	*ret_provider = provider;
	return 0;
}

/* ---- queries ---- */

static void set_options(struct query *query, const struct query_request *request, const struct metric *metric)
{
	CURL *easy = query->easy;

	curl_easy_setopt(easy, CURLOPT_URL, request->url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "shunt/" SHUNT_VERSION);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, query->headers);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, query->error);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, query);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, query);
	if (request->username) {
		curl_easy_setopt(easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(easy, CURLOPT_USERNAME, request->username);
		curl_easy_setopt(easy, CURLOPT_PASSWORD, request->password);
	}
	if (metric->insecure) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	if (metric->post) {
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, query->body ? query->body : "");
	}
}

static int set_headers(struct query *query, const struct query_request *request)
{
	for (size_t i = 0; i < request->header_count; i++) {
		struct curl_slist *grown = curl_slist_append(query->headers, request->headers[i]);

		if (!grown)
			return -ENOMEM;
		query->headers = grown;
	}
	return 0;
}

static int build(struct provider *provider, const struct metric *metric, const json_t *values, json_t **ret_secret, struct query_request *ret_request,
		 char **ret_problem)
{
	if (metric->secret) {
		int r = secret_read(&provider->secrets, metric->meta.ns, metric->secret, ret_secret, ret_problem);

		if (r < 0)
			return r;
	}
	return query_build(metric, values, *ret_secret, ret_request, ret_problem);
}

int provider_query(struct provider *provider, const struct metric *metric, const json_t *values, const struct query_limits *limits, query_done_fn done,
		   void *arg, struct query **ret_query, char **ret_problem)
{
	_cleanup_(query_request_clear) struct query_request request = {};
	_cleanup_json_ json_t *secret = NULL;
	struct query *query;
	int r = build(provider, metric, values, &secret, &request, ret_problem);

	if (r < 0)
		return r;
	query = calloc(1, sizeof(*query));
	if (!query)
		return -ENOMEM;
	query->provider = provider;
	uv_timer_init(provider->loop, &query->pause);
	query->pause.data = query;
	provider->handles++;
	uv_update_time(provider->loop);
	query->deadline = uv_now(provider->loop) + limits->deadline_ms;
	query->oldest_s = limits->oldest_s;
	query->done = done;
	query->arg = arg;
	query->secret = TAKE_PTR(secret);
	query->jq = strdup(metric->jq);
	query->label = text_printf("%s/%s", metric->meta.ns, metric->meta.name);
	query->body = TAKE_PTR(request.body);
	query->easy = curl_easy_init();
	query->next = provider->queries;
	provider->queries = query;
	if (!query->jq || !query->label || !query->easy || set_headers(query, &request) < 0) {
		query_release(query);
		return -ENOMEM;
	}
	set_options(query, &request, metric);
	if (attempt(query) < 0) {
		query_release(query);
		return -ENOMEM;
	}
	*ret_query = query;
	return 0;
}
