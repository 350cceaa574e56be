/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Queries over real sockets: a small HTTP server on loopback, in the same loop, that answers as the path asks for. */
#include "reading/provider.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../../../lib/tree.h"
#include "reading/query.h"
#include "util/cleanup.h"
#include "util/text.h"

#define LIMIT_MS 20000
#define SHORT_MS 1500 /* where attempts fail until the deadline; a busy machine has time for two of them */

static char empty[] = "";

/* ---- the server ---- */

struct bench {
	uv_loop_t loop;
	uv_timer_t limit;
	uv_tcp_t server;
	int port;
	int open, most_open; /* requests that have no answer yet, now and at most */
	int answered;
	int failing;         /* so many requests to /shaky fail before one is answered */
	const char *failure; /* status line and headers of those; NULL: the connection is closed without a word */
	char request[8192];  /* the last one */
	char secrets[64];
	struct provider *provider;
};

struct connection {
	uv_tcp_t tcp;
	uv_write_t write;
	struct bench *bench;
	char request[8192];
	size_t size;
	char *answer;
	struct connection *next;
};

static struct connection *held; /* requests to /together, answered when there are three of them */

static void connection_closed(uv_handle_t *handle)
{
	struct connection *c = handle->data;

	free(c->answer);
	free(c);
}

static void answer_sent(uv_write_t *write, int status)
{
	struct connection *c = write->data;

	(void)status;
	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		uv_close((uv_handle_t *)&c->tcp, connection_closed);
}

static void answer(struct connection *c, const char *status, const char *body, size_t size)
{
	char head[256];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status, size);
	uv_buf_t buffer;

	c->answer = malloc((size_t)n + size);
	memcpy(c->answer, head, (size_t)n);
	memcpy(c->answer + n, body, size);
	buffer = uv_buf_init(c->answer, (unsigned int)((size_t)n + size));
	c->write.data = c;
	c->bench->open--;
	uv_write(&c->write, (uv_stream_t *)&c->tcp, &buffer, 1, answer_sent);
}

#define NEW_RELIC "{\"results\":[{\"sum\":14.737}]}"
#define PROMETHEUS(value) "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1623255870.61,\"" value "\"]}]}}"

static const struct {
	const char *path, *status, *body;
} pages[] = {
	{ "/newrelic", "200 OK", NEW_RELIC },
	{ "/prometheus", "200 OK\r\nDate: Wed, 09 Jun 2021 16:24:31 GMT", PROMETHEUS("315.18") }, /* the sample is of 16:24:30.61 */
	{ "/fresh", "200 OK\r\nDate: Wed, 09 Jun 2021 16:24:40 GMT", PROMETHEUS("315.18") },
	{ "/stale", "200 OK\r\nDate: Wed, 09 Jun 2021 16:24:42 GMT", PROMETHEUS("315.18") },
	{ "/timeless", "200 OK", PROMETHEUS("315.18") }, /* our clock stands in */
	{ "/cached", "200 OK\r\nAge: 75", NEW_RELIC },
	{ "/nan", "200 OK", PROMETHEUS("NaN") },
	{ "/nothing", "200 OK", "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}" },
	{ "/broken", "500 Internal Server Error", "no such account\nstack trace\n" },
	{ "/lying", "503 Service Unavailable", NEW_RELIC }, /* a number, but not an answer */
	{ "/moved", "302 Found", "" },
	{ "/empty", "200 OK", "" },
	{ "/html", "200 OK", "<html>login</html>" },
	{ "/wrong", "404 Not Found", "no such account" },
};

static void answer_huge(struct connection *c)
{
	size_t size = 2 * PROVIDER_BODY_MAX;
	char *body = malloc(size);

	memset(body, ' ', size);
	answer(c, "200 OK", body, size);
	free(body);
}

/* Answers only when three are there: queries that wait for each other would never get one. */
static void answer_together(struct connection *c)
{
	int count = 0;

	c->next = held;
	held = c;
	for (struct connection *at = held; at; at = at->next)
		count++;
	while (count == 3 && held) {
		struct connection *first = held;

		held = first->next;
		answer(first, "200 OK", NEW_RELIC, strlen(NEW_RELIC));
	}
}

static void answer_shaky(struct connection *c)
{
	struct bench *bench = c->bench;

	if (bench->failing-- <= 0) {
		answer(c, "200 OK", NEW_RELIC, strlen(NEW_RELIC));
	} else if (bench->failure) {
		answer(c, bench->failure, "", 0);
	} else {
		bench->open--;
		uv_close((uv_handle_t *)&c->tcp, connection_closed);
	}
}

static void serve(struct connection *c)
{
	const char *path = strchr(c->request, ' ') + 1;
	size_t n = strcspn(path, " ?");

	memcpy(c->bench->request, c->request, sizeof(c->request));
	c->bench->open++;
	c->bench->answered++;
	if (c->bench->open > c->bench->most_open)
		c->bench->most_open = c->bench->open;
	if (n == strlen("/slow") && strncmp(path, "/slow", n) == 0)
		return;
	if (n == strlen("/huge") && strncmp(path, "/huge", n) == 0) {
		answer_huge(c);
		return;
	}
	if (n == strlen("/together") && strncmp(path, "/together", n) == 0) {
		answer_together(c);
		return;
	}
	if (n == strlen("/shaky") && strncmp(path, "/shaky", n) == 0) {
		answer_shaky(c);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(pages); i++) {
		if (n == strlen(pages[i].path) && strncmp(path, pages[i].path, n) == 0)
			answer(c, pages[i].status, pages[i].body, strlen(pages[i].body));
	}
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *c = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(c->request + c->size, (unsigned int)(sizeof(c->request) - 1 - c->size));
}

static bool is_whole(const struct connection *c)
{
	const char *end = strstr(c->request, "\r\n\r\n"), *length = strstr(c->request, "Content-Length: ");

	if (!end)
		return false;
	return !length || strlen(end + 4) >= (size_t)atoi(length + strlen("Content-Length: "));
}

static void request_came(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct connection *c = stream->data;

	(void)buffer;
	if (n < 0) {
		if (!uv_is_closing((uv_handle_t *)stream))
			uv_close((uv_handle_t *)stream, connection_closed);
		return;
	}
	c->size += (size_t)n;
	if (is_whole(c))
		serve(c);
}

static void client_came(uv_stream_t *server, int status)
{
	struct bench *bench = server->data;
	struct connection *c = calloc(1, sizeof(*c));

	assert_int_equal(status, 0);
	c->bench = bench;
	uv_tcp_init(&bench->loop, &c->tcp);
	c->tcp.data = c;
	assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
	uv_read_start((uv_stream_t *)&c->tcp, give_buffer, request_came);
}

/* ---- the bench ---- */

static void limit_reached(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("no answer within %d ms", LIMIT_MS);
}

static double least(void *arg)
{
	(void)arg;
	return 0;
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	struct sockaddr_in address;
	int size = sizeof(address);

	held = NULL;
	uv_loop_init(&bench->loop);
	uv_timer_init(&bench->loop, &bench->limit);
	uv_timer_start(&bench->limit, limit_reached, LIMIT_MS, 0);
	uv_unref((uv_handle_t *)&bench->limit);
	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_init(&bench->loop, &bench->server);
	bench->server.data = bench;
	uv_tcp_bind(&bench->server, (struct sockaddr *)&address, 0);
	assert_int_equal(uv_listen((uv_stream_t *)&bench->server, 16, client_came), 0);
	uv_tcp_getsockname(&bench->server, (struct sockaddr *)&address, &size);
	bench->port = ntohs(address.sin_port);
	strcpy(bench->secrets, "/tmp/shunt-provider-XXXXXX");
	assert_non_null(mkdtemp(bench->secrets));
	assert_int_equal(provider_new(&bench->loop, &(struct secret_source){ .folder = bench->secrets }, &bench->provider), 0);
	provider_jitter(bench->provider, &(struct mock_random){ least, NULL });
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	provider_free(&bench->provider);
	if (!uv_is_closing((uv_handle_t *)&bench->server))
		uv_close((uv_handle_t *)&bench->server, NULL);
	uv_close((uv_handle_t *)&bench->limit, NULL);
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&bench->loop), 0);
	tree_remove(bench->secrets);
	free(bench);
	return 0;
}

/* One query and what came of it. */
struct asked {
	uv_loop_t *loop;
	bool done;
	struct reading reading;
	struct query *query;
};

static void keep_reading(void *arg, struct reading *reading)
{
	struct asked *asked = arg;

	asked->done = true;
	uv_stop(asked->loop);
	reading_take(&asked->reading, reading);
}

static void ask(struct bench *bench, struct metric *metric, uint64_t deadline_ms, struct asked *asked)
{
	_cleanup_json_ json_t *values = json_pack("{s:s, s:s}", "name", "flowers-v2", "elapsedTime", "90");
	char *problem = NULL;
	int r;

	asked->loop = &bench->loop;
	r = provider_query(bench->provider, metric, values, &(struct query_limits){ .deadline_ms = deadline_ms, .oldest_s = 10 }, keep_reading, asked, &asked->query,
			   &problem);
	if (r < 0)
		*asked = (struct asked){ .reading = { .problem = problem } };
}

static struct metric metric_at(char *url, const char *jq)
{
	return (struct metric){
		.meta = { .ns = (char *)"iter8-kfserving", .name = (char *)"m" },
		.description = empty, .units = empty, .provider = empty, .url = url, .jq = (char *)jq,
	};
}

static void wait_for(struct bench *bench, const struct asked *asked)
{
	while (!asked->done)
		uv_run(&bench->loop, UV_RUN_DEFAULT);
}

static struct reading read_page(struct bench *bench, const char *path, const char *jq, uint64_t deadline_ms)
{
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d%s", bench->port, path);
	struct metric metric = metric_at(url, jq);
	struct asked asked = {};

	ask(bench, &metric, deadline_ms, &asked);
	wait_for(bench, &asked);
	return asked.reading;
}

/* ---- tests ---- */

static void assert_begins(const char *text, const char *beginning)
{
	assert_true(strlen(text) >= strlen(beginning));
	assert_memory_equal(text, beginning, strlen(beginning));
}

#define NEW_RELIC_JQ ".results[0] | .[] | tonumber"
#define PROMETHEUS_JQ ".data.result[0].value[1] | tonumber"

static const struct {
	const char *path, *jq;
	double value;
	const char *problem; /* its beginning; NULL: there is a value */
} rows[] = {
	{ "/newrelic", NEW_RELIC_JQ, 14.737, NULL },
	{ "/prometheus", PROMETHEUS_JQ, 315.18, NULL },
	{ "/fresh", PROMETHEUS_JQ, 315.18, NULL },
	{ "/stale", PROMETHEUS_JQ, 0, "the value is stale: the provider made it 11 s ago, and an interval has 10 s" },
	{ "/timeless", PROMETHEUS_JQ, 0, "the value is stale: " },
	{ "/cached", NEW_RELIC_JQ, 0, "the value is stale: the provider made it 75 s ago" },
	{ "/nan", PROMETHEUS_JQ, 0, "" },
	{ "/nothing", PROMETHEUS_JQ, 0, "spec.jqExpression gives nothing for the answer" },
	{ "/broken", NEW_RELIC_JQ, 0, "HTTP 500: no such account" },
	{ "/lying", NEW_RELIC_JQ, 0, "HTTP 503: {" },
	{ "/moved", NEW_RELIC_JQ, 0, "HTTP 302" },
	{ "/empty", NEW_RELIC_JQ, 0, "the answer is not JSON" },
	{ "/html", NEW_RELIC_JQ, 0, "the answer is not JSON" },
	{ "/wrong", NEW_RELIC_JQ, 0, "HTTP 404: no such account" },
	{ "/huge", NEW_RELIC_JQ, 0, "the answer has more than 1048576 bytes" },
};

static void t17_every_kind_of_answer_is_a_value_or_a_problem(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct reading reading = read_page(*state, rows[i].path, rows[i].jq, SHORT_MS);

		assert_int_equal(reading.present, rows[i].problem == NULL);
		if (rows[i].problem)
			assert_memory_equal(reading.problem, rows[i].problem, strlen(rows[i].problem));
		else
			assert_true(reading.value == rows[i].value);
		reading_clear(&reading);
	}
}

static void t17_a_provider_that_never_answers_costs_its_deadline_only(void **state)
{
	struct reading reading = read_page(*state, "/slow", NEW_RELIC_JQ, 200);

	assert_false(reading.present);
	assert_memory_equal(reading.problem, "no whole answer within the deadline", 35);
	reading_clear(&reading);
}

static void a_port_where_nobody_listens_is_a_problem(void **state)
{
	struct bench *bench = *state;
	struct reading reading;

	uv_close((uv_handle_t *)&bench->server, NULL);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	reading = read_page(bench, "/newrelic", NEW_RELIC_JQ, SHORT_MS);
	assert_false(reading.present);
	assert_non_null(strstr(reading.problem, "connect"));
	assert_true(reading.attempts >= 2);
	assert_non_null(strstr(reading.trouble, "connect"));
	reading_clear(&reading);
}

/* ---- attempts ---- */

static const struct {
	const char *failure;
	int failing;
	unsigned int attempts;
	const char *trouble; /* in the reason of the attempt before the last; NULL: there was none */
	bool present;
} attempts[] = {
	{ "503 Service Unavailable", 0, 1, NULL, true },
	{ "503 Service Unavailable", 2, 3, "HTTP 503", true },
	{ "429 Too Many Requests", 1, 2, "HTTP 429", true },
	{ NULL, 2, 3, "Empty reply", true },
	{ "404 Not Found", 1, 1, NULL, false },
	{ "429 Too Many Requests\r\nRetry-After: 7", 1, 1, NULL, false }, /* beyond the deadline */
	{ "503 Service Unavailable\r\nRetry-After: 1", 1, 2, "HTTP 503", true },
};

static void what_fails_twice_is_asked_a_third_time(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		uint64_t begin = uv_hrtime();
		struct reading reading;

		bench->failing = attempts[i].failing;
		bench->failure = attempts[i].failure;
		reading = read_page(bench, "/shaky", NEW_RELIC_JQ, 5000);
		assert_int_equal(reading.present, attempts[i].present);
		assert_int_equal(reading.attempts, attempts[i].attempts);
		assert_int_equal(reading.trouble != NULL, attempts[i].trouble != NULL);
		if (attempts[i].trouble)
			assert_non_null(strstr(reading.trouble, attempts[i].trouble));
		if (attempts[i].failure && strstr(attempts[i].failure, "Retry-After: 1"))
			assert_true(uv_hrtime() - begin >= 1000000000ull); /* it waited as long as it was told to */
		reading_clear(&reading);
	}
}

static void attempts_end_with_the_deadline_and_the_last_reason_stands(void **state)
{
	struct bench *bench = *state;
	struct reading reading;

	bench->failing = 1000;
	bench->failure = "500 Oh";
	reading = read_page(bench, "/shaky", NEW_RELIC_JQ, SHORT_MS);
	assert_false(reading.present);
	assert_true(reading.attempts >= 2);
	assert_int_equal(bench->answered, reading.attempts);
	assert_string_equal(reading.problem, "HTTP 500");
	reading_clear(&reading);
}

static void a_query_that_waits_for_its_next_attempt_can_be_cancelled(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/shaky", bench->port);
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked = {};

	bench->failing = 1000;
	bench->failure = "503 Oh\r\nRetry-After: 2";
	ask(bench, &metric, 5000, &asked);
	while (bench->answered == 0 || bench->open)
		uv_run(&bench->loop, UV_RUN_ONCE);
	query_cancel(&asked.query);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	assert_false(asked.done);
}

static void t17_queries_of_an_iteration_run_at_once(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/together", bench->port);
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked[3] = {};

	for (size_t i = 0; i < 3; i++)
		ask(bench, &metric, 10000, &asked[i]);
	for (size_t i = 0; i < 3; i++) {
		wait_for(bench, &asked[i]);
		assert_true(asked[i].reading.present);
	}
	assert_int_equal(bench->most_open, 3);
}

static void the_request_is_the_seeds(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/newrelic", bench->port);
	struct variable param = { (char *)"nrql", (char *)"SELECT average(duration) FROM Sessions WHERE version='$name' SINCE $elapsedTime sec ago\n" };
	struct variable header = { (char *)"X-Query-Key", (char *)"t0p-secret-api-key" };
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked = {};

	metric.params = &param;
	metric.param_count = 1;
	metric.headers = &header;
	metric.header_count = 1;
	ask(bench, &metric, 5000, &asked);
	wait_for(bench, &asked);
	assert_true(asked.reading.present);
	assert_begins(bench->request, "GET /newrelic?nrql=SELECT%20average%28duration%29%20FROM%20Sessions%20WHERE%20version%3D%27flowers-v2%27%20SINCE%2090%20sec%20ago%0A HTTP/1.1\r\n");
	assert_non_null(strstr(bench->request, "\r\nX-Query-Key: t0p-secret-api-key\r\n"));
}

static void a_body_is_posted_as_json(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/newrelic", bench->port);
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked = {};

	metric.post = true;
	metric.body = (char *)"{\"version\": \"$name\"}";
	ask(bench, &metric, 5000, &asked);
	wait_for(bench, &asked);
	assert_true(asked.reading.present);
	assert_begins(bench->request, "POST /newrelic HTTP/1.1\r\n");
	assert_non_null(strstr(bench->request, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(bench->request, "\r\n\r\n{\"version\": \"flowers-v2\"}"));
}

static void put_secret(const struct bench *bench, const char *key, const char *value)
{
	_cleanup_free_ char *ns = text_printf("%s/iter8-kfserving", bench->secrets), *name = text_printf("%s/nr", ns), *path = text_printf("%s/%s", name, key);
	FILE *file;

	mkdir(ns, 0700);
	mkdir(name, 0700);
	file = fopen(path, "we");
	fputs(value, file);
	fclose(file);
}

static void a_secret_comes_from_its_folder(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/newrelic", bench->port);
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked = {};

	put_secret(bench, "username", "ann\n");
	put_secret(bench, "password", "pass");
	metric.auth = AUTH_BASIC;
	metric.secret = (char *)"nr";
	ask(bench, &metric, 5000, &asked);
	wait_for(bench, &asked);
	assert_true(asked.reading.present);
	assert_non_null(strstr(bench->request, "\r\nAuthorization: Basic YW5uOnBhc3M=\r\n")); /* ann:pass */
}

static const struct {
	const char *reference, *problem;
} secrets[] = {
	{ "absent", "secret iter8-kfserving/absent: no folder " },
	{ "../../etc", "spec.secret \"../../etc\" is no secret's name; allowed: name or namespace/name" },
	{ "a/b/c", "spec.secret \"a/b/c\" is no secret's name; allowed: name or namespace/name" },
	{ "/x", "spec.secret \"/x\" is no secret's name; allowed: name or namespace/name" },
};

static void a_secret_that_is_not_there_stops_the_query_before_it_is_sent(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < ARRAY_SIZE(secrets); i++) {
		struct metric metric = metric_at((char *)"http://127.0.0.1:1/", NEW_RELIC_JQ);
		struct asked asked = {};

		metric.secret = (char *)secrets[i].reference;
		ask(bench, &metric, 5000, &asked);
		assert_memory_equal(asked.reading.problem, secrets[i].problem, strlen(secrets[i].problem));
		reading_clear(&asked.reading);
	}
	assert_int_equal(bench->answered, 0);
}

static void a_cancelled_query_is_not_reported(void **state)
{
	struct bench *bench = *state;
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/slow", bench->port);
	struct metric metric = metric_at(url, NEW_RELIC_JQ);
	struct asked asked = {};

	ask(bench, &metric, 5000, &asked);
	while (bench->answered == 0) /* until the server has it */
		uv_run(&bench->loop, UV_RUN_ONCE);
	query_cancel(&asked.query);
	assert_null(asked.query);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	assert_false(asked.done);
}

static void a_file_or_a_mail_is_no_provider(void **state)
{
	struct bench *bench = *state;
	struct metric metric = metric_at((char *)"file:///etc/hostname", ".");
	struct asked asked = {};

	ask(bench, &metric, 5000, &asked);
	wait_for(bench, &asked);
	assert_false(asked.reading.present);
	assert_non_null(strstr(asked.reading.problem, "file"));
	reading_clear(&asked.reading);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(t17_every_kind_of_answer_is_a_value_or_a_problem),
		T(t17_a_provider_that_never_answers_costs_its_deadline_only),
		T(a_port_where_nobody_listens_is_a_problem),
		T(what_fails_twice_is_asked_a_third_time),
		T(attempts_end_with_the_deadline_and_the_last_reason_stands),
		T(a_query_that_waits_for_its_next_attempt_can_be_cancelled),
		T(t17_queries_of_an_iteration_run_at_once),
		T(the_request_is_the_seeds),
		T(a_body_is_posted_as_json),
		T(a_secret_comes_from_its_folder),
		T(a_secret_that_is_not_there_stops_the_query_before_it_is_sent),
		T(a_cancelled_query_is_not_reported),
		T(a_file_or_a_mail_is_no_provider),
	};

	setenv("no_proxy", "*", 1); /* the machine's proxy has no business here */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
