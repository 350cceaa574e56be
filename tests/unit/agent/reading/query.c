/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/query.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/text.h"

static char empty[] = "";

static struct variable v1_variables[] = { { (char *)"ns", (char *)"ns-baseline" }, { (char *)"userfilter", (char *)"usergroup!~\"wakanda\"" } };
static const struct version_detail v1 = { .name = (char *)"flowers-v1", .variables = v1_variables, .variable_count = 2 };

static struct metric metric_at(const char *url)
{
	return (struct metric){
		.meta = { .ns = (char *)"iter8-kfserving", .name = (char *)"m" },
		.description = empty, .units = empty, .provider = empty,
		.url = (char *)url,
		.jq = (char *)".x",
	};
}

static void placeholders_stand_for_name_variables_and_whole_seconds(void **state)
{
	static const struct {
		int64_t elapsed_ms;
		const char *want;
	} rows[] = { { 0, "1" }, { 999, "1" }, { 1000, "1" }, { 1999, "1" }, { 600000, "600" } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_json_ json_t *values = query_values(&v1, rows[i].elapsed_ms);

		assert_string_equal(json_string_value(json_object_get(values, "name")), "flowers-v1");
		assert_string_equal(json_string_value(json_object_get(values, "ns")), "ns-baseline");
		assert_string_equal(json_string_value(json_object_get(values, "elapsedTime")), rows[i].want);
	}
}

static void a_variable_may_replace_the_name(void **state)
{
	struct variable own = { (char *)"name", (char *)"other" };
	struct version_detail version = { .name = (char *)"v", .variables = &own, .variable_count = 1 };
	_cleanup_json_ json_t *values = query_values(&version, 0);

	(void)state;
	assert_string_equal(json_string_value(json_object_get(values, "name")), "other");
}

static void params_become_an_escaped_query_string(void **state)
{
	struct variable params[] = { { (char *)"query", (char *)"sum(increase(c{ns='$ns'}[${elapsedTime}s])) or on() vector(0)" }, { (char *)"a b", (char *)"100%" } };
	struct metric metric = metric_at("http://h/api?x=1");
	_cleanup_(query_request_clear) struct query_request request = {};
	_cleanup_json_ json_t *values = query_values(&v1, 90000);
	_cleanup_free_ char *problem = NULL;

	(void)state;
	metric.params = params;
	metric.param_count = 2;
	assert_int_equal(query_build(&metric, values, NULL, &request, &problem), 0);
	assert_string_equal(request.url, "http://h/api?x=1&query=sum%28increase%28c%7Bns%3D%27ns-baseline%27%7D%5B90s%5D%29%29%20or%20on%28%29%20vector%280%29&a%20b=100%25");
	assert_null(request.body);
	assert_int_equal(request.header_count, 0);
}

static void a_body_is_filled_in_and_has_to_be_json(void **state)
{
	struct metric metric = metric_at("http://h/");
	_cleanup_(query_request_clear) struct query_request request = {};
	_cleanup_json_ json_t *values = query_values(&v1, 0);
	_cleanup_free_ char *problem = NULL;

	(void)state;
	metric.post = true;
	metric.body = (char *)"{\"version\": \"$name\"}";
	assert_int_equal(query_build(&metric, values, NULL, &request, &problem), 0);
	assert_string_equal(request.body, "{\"version\": \"flowers-v1\"}");
	assert_string_equal(request.headers[0], "Content-Type: application/json");
	query_request_clear(&request);

	metric.body = (char *)"{\"filter\": \"$userfilter\"}"; /* its quotes end the string */
	assert_int_equal(query_build(&metric, values, NULL, &request, &problem), -EINVAL);
	assert_non_null(strstr(problem, "spec.body is not JSON once its placeholders are filled in"));
}

static const struct {
	const char *what;
	enum metric_auth auth;
	const char *secret;         /* JSON; NULL: none */
	const char *header, *value; /* template; NULL: none */
	const char *want_header;    /* the last header; NULL: there is none */
	const char *want_user, *want_problem;
} auth_rows[] = {
	{ "no auth leaves header templates as they are", AUTH_NONE, "{\"key\": \"s\"}", "X-Key", "${key}", "X-Key: ${key}", NULL, NULL },
	{ "APIKey fills headers from the secret", AUTH_APIKEY, "{\"key\": \"s\"}", "X-Key", "${key}", "X-Key: s", NULL, NULL },
	{ "APIKey without a secret leaves them", AUTH_APIKEY, NULL, "X-Query-Key", "t0p-secret-api-key", "X-Query-Key: t0p-secret-api-key", NULL, NULL },
	{ "Bearer fills its own template", AUTH_BEARER, "{\"token\": \"t\"}", "authorization", "Bearer ${token}", "authorization: Bearer t", NULL, NULL },
	{ "Bearer without a template sends the token", AUTH_BEARER, "{\"token\": \"t\"}", NULL, NULL, "Authorization: Bearer t", NULL, NULL },
	{ "Bearer without a token says what it needs", AUTH_BEARER, "{}", NULL, NULL, NULL, NULL, "authType Bearer needs a secret with the key token, or a header template Authorization" },
	{ "Basic takes username and password", AUTH_BASIC, "{\"username\": \"u\", \"password\": \"p\"}", "X", "${username}", "X: ${username}", "u", NULL },
	{ "Basic without a password says what it needs", AUTH_BASIC, "{\"username\": \"u\"}", NULL, NULL, NULL, NULL, "authType Basic needs a secret with the keys username and password" },
	{ "a line break in a header is refused", AUTH_APIKEY, "{\"key\": \"a\\nHost: evil\"}", "X", "${key}", NULL, NULL, "header X has a line break in its value" },
};

static void each_way_to_authenticate_puts_the_secret_where_iter8_does(void **state)
{
	_cleanup_json_ json_t *values = query_values(&v1, 0);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(auth_rows); i++) {
		struct variable header = { (char *)auth_rows[i].header, (char *)auth_rows[i].value };
		struct metric metric = metric_at("http://h/");
		_cleanup_(query_request_clear) struct query_request request = {};
		_cleanup_json_ json_t *secret = auth_rows[i].secret ? json_loads(auth_rows[i].secret, 0, NULL) : NULL;
		_cleanup_free_ char *problem = NULL;
		int r;

		metric.auth = auth_rows[i].auth;
		metric.headers = &header;
		metric.header_count = auth_rows[i].header != NULL;
		r = query_build(&metric, values, secret, &request, &problem);
		assert_int_equal(r, auth_rows[i].want_problem ? -EINVAL : 0);
		if (auth_rows[i].want_problem)
			assert_string_equal(problem, auth_rows[i].want_problem);
		if (auth_rows[i].want_header)
			assert_string_equal(request.headers[request.header_count - 1], auth_rows[i].want_header);
		if (auth_rows[i].want_user)
			assert_string_equal(request.username, auth_rows[i].want_user);
	}
}

static void the_secret_is_put_into_the_url(void **state)
{
	struct metric metric = metric_at("https://api/${account}/q");
	_cleanup_(query_request_clear) struct query_request request = {};
	_cleanup_json_ json_t *values = query_values(&v1, 0), *secret = json_pack("{s:s}", "account", "42");
	_cleanup_free_ char *problem = NULL;

	(void)state;
	assert_int_equal(query_build(&metric, values, secret, &request, &problem), 0);
	assert_string_equal(request.url, "https://api/42/q");
}

static void a_metric_without_url_or_expression_cannot_be_asked(void **state)
{
	struct metric no_url = metric_at(""), no_jq = metric_at("http://h/");
	_cleanup_json_ json_t *values = query_values(&v1, 0);
	_cleanup_free_ char *problem = NULL, *other = NULL;
	struct query_request request;

	(void)state;
	no_jq.jq = empty;
	assert_int_equal(query_build(&no_url, values, NULL, &request, &problem), -EINVAL);
	assert_string_equal(problem, "Metric iter8-kfserving/m has no spec.urlTemplate, which a query needs");
	assert_int_equal(query_build(&no_jq, values, NULL, &request, &other), -EINVAL);
	assert_string_equal(other, "Metric iter8-kfserving/m has no spec.jqExpression, which a query needs");
}

#define PROMETHEUS(value) "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[{\"metric\":{},\"value\":[1623255870.61,\"" value "\"]}]}}"
#define PROMETHEUS_JQ ".data.result[0].value[1] | tonumber"

static const struct {
	const char *jq, *body;
	double want;
	const char *problem; /* beginning of it; NULL: there is a number */
} answer_rows[] = {
	{ ".results[0] | .[] | tonumber", "{\"results\":[{\"sum\":10.023}]}", 10.023, NULL },
	{ PROMETHEUS_JQ, PROMETHEUS("315.18"), 315.18, NULL },
	{ PROMETHEUS_JQ, PROMETHEUS("0"), 0, NULL },
	{ PROMETHEUS_JQ, PROMETHEUS("-1e-3"), -0.001, NULL },
	{ ".[]", "[1,2,3]", 1, NULL }, /* the first output counts */
	{ PROMETHEUS_JQ, PROMETHEUS("NaN"), 0, "" },
	{ PROMETHEUS_JQ, PROMETHEUS("+Inf"), 0, "" },
	{ ".x", "{\"x\":1e999}", 0, "the value is infinite, not a finite number" },
	{ "nan", "{}", 0, "the value is NaN, not a finite number" },
	{ PROMETHEUS_JQ, "{\"data\":{\"result\":[]}}", 0, "spec.jqExpression gives nothing for the answer" },
	{ ".x", "{\"x\":\"12\"}", 0, "spec.jqExpression gives a value of type string, not a number" },
	{ ".x", "{}", 0, "spec.jqExpression gives a value of type null, not a number" },
	{ "empty", "{}", 0, "spec.jqExpression gives nothing for the answer" },
	{ ".x", "<html>", 0, "the answer is not JSON" },
	{ ".x", "", 0, "the answer is not JSON" },
	{ ".x |", "{}", 0, "spec.jqExpression \".x |\" does not compile" },
	{ "nosuch(1)", "{}", 0, "spec.jqExpression \"nosuch(1)\" does not compile" },
};

static void an_answer_is_a_finite_number_or_a_problem(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(answer_rows); i++) {
		_cleanup_free_ char *problem = NULL;
		double number = 0;
		int r = query_number(answer_rows[i].jq, answer_rows[i].body, strlen(answer_rows[i].body), &number, &problem);

		if (answer_rows[i].problem) {
			assert_int_equal(r, -EINVAL);
			assert_memory_equal(problem, answer_rows[i].problem, strlen(answer_rows[i].problem));
		} else {
			assert_int_equal(r, 0);
			assert_true(number == answer_rows[i].want);
		}
	}
}

/* More of them than are kept compiled, and each twice: none answers for another. */
static void many_expressions_do_not_mix(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		_cleanup_free_ char *expression = text_printf(".[%d]", i % 100), *problem = NULL;
		_cleanup_json_ json_t *list = json_array();
		_cleanup_free_ char *body = NULL;
		double number = 0;

		for (int n = 0; n < 100; n++)
			json_array_append_new(list, json_integer(n * n));
		body = json_dumps(list, JSON_COMPACT);
		assert_int_equal(query_number(expression, body, strlen(body), &number, &problem), 0);
		assert_true(number == (i % 100) * (i % 100));
	}
}

static void an_expression_that_does_not_compile_is_found_without_an_answer(void **state)
{
	struct metric metric = { .meta = { .ns = (char *)"n", .name = (char *)"m" }, .url = (char *)"http://h/", .jq = (char *)".data | tonumber" };
	_cleanup_free_ char *problem = NULL, *second = NULL;

	(void)state;
	assert_int_equal(query_check(&metric, &problem), 0);
	metric.jq = (char *)".data | tonumbr";
	assert_int_equal(query_check(&metric, &problem), -EINVAL);
	assert_non_null(strstr(problem, "Metric n/m: spec.jqExpression \".data | tonumbr\" does not compile: "));
	metric.jq = (char *)"";
	assert_int_equal(query_check(&metric, &second), -EINVAL);
	assert_string_equal(second, "Metric n/m has no spec.jqExpression, which a query needs");
}

static void a_refusal_shows_the_first_line_of_its_body(void **state)
{
	static const struct {
		long status;
		const char *body, *want;
	} rows[] = {
		{ 500, "no such account\nat line 7\n", "HTTP 500: no such account" },
		{ 401, "", "HTTP 401" },
		{ 302, "\r\n", "HTTP 302" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *problem = query_status_problem(rows[i].status, rows[i].body, strlen(rows[i].body));

		assert_string_equal(problem, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(placeholders_stand_for_name_variables_and_whole_seconds),
		cmocka_unit_test(a_variable_may_replace_the_name),
		cmocka_unit_test(params_become_an_escaped_query_string),
		cmocka_unit_test(a_body_is_filled_in_and_has_to_be_json),
		cmocka_unit_test(each_way_to_authenticate_puts_the_secret_where_iter8_does),
		cmocka_unit_test(the_secret_is_put_into_the_url),
		cmocka_unit_test(a_metric_without_url_or_expression_cannot_be_asked),
		cmocka_unit_test(an_answer_is_a_finite_number_or_a_problem),
		cmocka_unit_test(many_expressions_do_not_mix),
		cmocka_unit_test(an_expression_that_does_not_compile_is_found_without_an_answer),
		cmocka_unit_test(a_refusal_shows_the_first_line_of_its_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
