/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * provider.c against a real Prometheus: the seed's mean-latency query, over counters that Prometheus scrapes from this process. Each scrape finds 10
 * more requests of flowers-v1 with 12.5 ms each, so the mean is known whenever it is asked for.
 */
#include "reading/provider.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../../lib/tree.h"
#include "reading/query.h"
#include "util/cleanup.h"
#include "util/text.h"

#define LIMIT_MS 60000
#define POLL_MS 100
#define WINDOW_MS 30000 /* elapsedTime of the query */

static struct {
	uv_loop_t loop;
	uv_timer_t limit, poll;
	uv_tcp_t target;
	uv_process_t prometheus;
	char folder[64];
	int target_port, prometheus_port, scrapes;
	struct provider *provider;
	struct metric metric;
	struct query *query;
	struct reading reading;
	char last_problem[256];
} bench;

/* ---- what Prometheus scrapes ---- */

struct connection {
	uv_tcp_t tcp;
	uv_write_t write;
	char request[4096], answer[1024];
	size_t size;
};

static void connection_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void close_connection(struct connection *c)
{
	if (!uv_is_closing((uv_handle_t *)&c->tcp))
		uv_close((uv_handle_t *)&c->tcp, connection_closed);
}

static void answer_sent(uv_write_t *write, int status)
{
	(void)status;
	close_connection(write->data);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
	struct connection *c = handle->data;

	(void)suggested;
	*buffer = uv_buf_init(c->request + c->size, (unsigned int)(sizeof(c->request) - 1 - c->size));
}

static void request_came(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer)
{
	struct connection *c = stream->data;
	uv_buf_t out;

	(void)buffer;
	if (n < 0) {
		close_connection(c);
		return;
	}
	c->size += (size_t)n;
	if (!strstr(c->request, "\r\n\r\n"))
		return;
	bench.scrapes++;
	snprintf(c->answer, sizeof(c->answer),
		 "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n\r\n"
		 "revision_app_request_latencies_sum{namespace_name=\"ns-baseline\"} %.1f\n"
		 "revision_app_request_latencies_count{namespace_name=\"ns-baseline\"} %d\n",
		 bench.scrapes * 125.0, bench.scrapes * 10);
	out = uv_buf_init(c->answer, (unsigned int)strlen(c->answer));
	c->write.data = c;
	uv_read_stop(stream);
	uv_write(&c->write, stream, &out, 1, answer_sent);
}

static void client_came(uv_stream_t *server, int status)
{
	struct connection *c = calloc(1, sizeof(*c));

	assert_int_equal(status, 0);
	uv_tcp_init(server->loop, &c->tcp);
	c->tcp.data = c;
	assert_int_equal(uv_accept(server, (uv_stream_t *)&c->tcp), 0);
	uv_read_start((uv_stream_t *)&c->tcp, give_buffer, request_came);
}

/* Binds a loopback port of the kernel's choice. */
static int bind_port(uv_tcp_t *tcp)
{
	struct sockaddr_in address;
	int size = sizeof(address);

	uv_ip4_addr("127.0.0.1", 0, &address);
	uv_tcp_init(&bench.loop, tcp);
	assert_int_equal(uv_tcp_bind(tcp, (struct sockaddr *)&address, 0), 0);
	assert_int_equal(uv_tcp_getsockname(tcp, (struct sockaddr *)&address, &size), 0);
	return ntohs(address.sin_port);
}

/* ---- Prometheus ---- */

static void prometheus_ended(uv_process_t *process, int64_t status, int signal_number)
{
	if (signal_number != SIGKILL)
		fail_msg("prometheus ended with status %lld", (long long)status);
	uv_close((uv_handle_t *)process, NULL);
}

static void start_prometheus(void)
{
	_cleanup_free_ char *config = text_printf("%s/prometheus.yml", bench.folder), *config_flag = text_printf("--config.file=%s", config);
	_cleanup_free_ char *data = text_printf("--storage.tsdb.path=%s/data", bench.folder);
	_cleanup_free_ char *listen = text_printf("--web.listen-address=127.0.0.1:%d", bench.prometheus_port);
	char *args[] = { (char *)"prometheus", config_flag, data, listen, (char *)"--log.level=error", NULL };
	uv_process_options_t options = { .exit_cb = prometheus_ended, .file = "prometheus", .args = args };
	FILE *file = fopen(config, "we");

	fprintf(file, "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
		      "scrape_configs: [{job_name: app, static_configs: [{targets: ['127.0.0.1:%d']}]}]\n", bench.target_port);
	fclose(file);
	assert_int_equal(uv_spawn(&bench.loop, &bench.prometheus, &options), 0);
}

/* ---- asking until it knows ---- */

static void ask(uv_timer_t *timer);

static void keep_reading(void *arg, struct reading *reading)
{
	(void)arg;
	if (reading->present) {
		bench.reading = *reading;
		uv_stop(&bench.loop);
		return;
	}
	snprintf(bench.last_problem, sizeof(bench.last_problem), "%s", reading->problem);
	uv_timer_start(&bench.poll, ask, POLL_MS, 0);
}

static void ask(uv_timer_t *timer)
{
	static struct variable ns = { (char *)"ns", (char *)"ns-baseline" };
	struct version_detail version = { .name = (char *)"flowers-v1", .variables = &ns, .variable_count = 1 };
	_cleanup_json_ json_t *values = query_values(&version, WINDOW_MS);
	char *problem = NULL;

	(void)timer;
	assert_int_equal(provider_query(bench.provider, &bench.metric, values, &(struct query_limits){ .deadline_ms = 5000, .oldest_s = 10 }, keep_reading, NULL, &bench.query, &problem), 0);
}

static void limit_reached(uv_timer_t *timer)
{
	(void)timer;
	fail_msg("no value within %d ms; scrapes %d, last problem: %s", LIMIT_MS, bench.scrapes, bench.last_problem);
}

static int setup(void **state)
{
	uv_tcp_t probe;

	(void)state;
	uv_loop_init(&bench.loop);
	uv_timer_init(&bench.loop, &bench.limit);
	uv_timer_init(&bench.loop, &bench.poll);
	strcpy(bench.folder, "/tmp/shunt-prometheus-XXXXXX");
	assert_non_null(mkdtemp(bench.folder));
	bench.target_port = bind_port(&bench.target);
	assert_int_equal(uv_listen((uv_stream_t *)&bench.target, 16, client_came), 0);
	bench.prometheus_port = bind_port(&probe); /* free a moment ago: Prometheus cannot say which port it was given */
	uv_close((uv_handle_t *)&probe, NULL);
	uv_run(&bench.loop, UV_RUN_NOWAIT);
	start_prometheus();
	return provider_new(&bench.loop, &(struct secret_source){ .folder = bench.folder }, &bench.provider);
}

static int teardown(void **state)
{
	(void)state;
	provider_free(&bench.provider);
	uv_process_kill(&bench.prometheus, SIGKILL);
	uv_close((uv_handle_t *)&bench.target, NULL);
	uv_close((uv_handle_t *)&bench.limit, NULL);
	uv_close((uv_handle_t *)&bench.poll, NULL);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&bench.loop), 0);
	tree_remove(bench.folder);
	return 0;
}

/* ---- the test ---- */

#define LATENCIES "revision_app_request_latencies"

static void a_real_prometheus_gives_the_tutorials_mean_latency(void **state)
{
	static char query[] = "(sum(increase(" LATENCIES "_sum{namespace_name='$ns'}[${elapsedTime}s])) or on() vector(0)) / "
			      "(sum(increase(" LATENCIES "_count{namespace_name='$ns'}[${elapsedTime}s])) or on() vector(0))";
	struct variable param = { (char *)"query", query };
	_cleanup_free_ char *url = text_printf("http://127.0.0.1:%d/api/v1/query", bench.prometheus_port);
	char empty[] = "";

	(void)state;
	bench.metric = (struct metric){
		.meta = { .ns = (char *)"iter8-kfserving", .name = (char *)"mean-latency" },
		.description = empty, .units = empty, .provider = empty,
		.url = url, .jq = (char *)".data.result[0].value[1] | tonumber",
		.params = &param, .param_count = 1,
	};
	uv_timer_start(&bench.limit, limit_reached, LIMIT_MS, 0);
	ask(NULL);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	assert_true(bench.reading.present);
	assert_true(bench.reading.value > 12.49 && bench.reading.value < 12.51);
	assert_true(bench.scrapes >= 2);
	assert_true(bench.last_problem[0]); /* before it had two samples there was no value, and a reason */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_real_prometheus_gives_the_tutorials_mean_latency, setup, teardown),
	};

	setenv("no_proxy", "*", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
