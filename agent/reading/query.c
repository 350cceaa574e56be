/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/query.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <jq.h>

#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

#define LINE_MAX_SHOWN 200 /* characters of an answer in a message */

json_t *query_values(const struct version_detail *version, int64_t elapsed_ms)
{
	_cleanup_json_ json_t *values = json_pack("{s:s}", "name", version->name);
	int64_t seconds = elapsed_ms / 1000;
	char text[32];

	for (size_t i = 0; i < version->variable_count; i++) {
		if (json_object_set_new(values, version->variables[i].name, json_string(version->variables[i].value)) < 0)
			return NULL;
	}
	snprintf(text, sizeof(text), "%lld", (long long)(seconds < 1 ? 1 : seconds));
	if (json_object_set_new(values, "elapsedTime", json_string(text)) < 0)
		return NULL;
	return TAKE_PTR(values);
}

/* ---- the request ---- */

static int put_escaped(FILE *out, const char *text)
{
	char *escaped = curl_easy_escape(NULL, text, 0);

	if (!escaped)
		return -ENOMEM;
	fputs(escaped, out);
	curl_free(escaped);
	return 0;
}

static int put_params(FILE *out, const struct metric *metric, const json_t *values, char mark)
{
	for (size_t i = 0; i < metric->param_count; i++) {
		_cleanup_free_ char *value = template_substitute(metric->params[i].value, values);

		fputc(i == 0 ? mark : '&', out);
		if (!value || put_escaped(out, metric->params[i].name) < 0)
			return -ENOMEM;
		fputc('=', out);
		if (put_escaped(out, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

static char *build_url(const struct metric *metric, const json_t *values, const json_t *secret)
{
	_cleanup_free_ char *base = secret ? template_substitute(metric->url, secret) : strdup(metric->url), *url = NULL;
	size_t size;
	FILE *out;
	int r;

	if (!base)
		return NULL;
	out = open_memstream(&url, &size);
	if (!out)
		return NULL;
	fputs(base, out);
	r = put_params(out, metric, values, strchr(base, '?') ? '&' : '?');
	if (fclose(out) != 0 || r < 0)
		return NULL;
	return TAKE_PTR(url);
}

static int add_header(struct query_request *request, char *header)
{
	if (!header)
		return -ENOMEM;
	request->headers[request->header_count++] = header;
	return 0;
}

/* Values come from secrets and variables: a line break in one would be a header of its own. */
static int check_header(const char *header, const char *name, char **ret_problem)
{
	if (!strpbrk(header, "\r\n"))
		return 0;
	*ret_problem = text_printf("header %s has a line break in its value", name);
	return -EINVAL;
}

static int add_bearer(struct query_request *request, const json_t *secret, char **ret_problem)
{
	const char *token = json_string_value(json_object_get(secret, "token"));

	for (size_t i = 0; i < request->header_count; i++) {
		if (strncasecmp(request->headers[i], "authorization:", strlen("authorization:")) == 0)
			return 0;
	}
	if (!token) {
		*ret_problem = text_printf("authType Bearer needs a secret with the key token, or a header template Authorization");
		return -EINVAL;
	}
	return add_header(request, text_printf("Authorization: Bearer %s", token));
}

static int add_headers(struct query_request *request, const struct metric *metric, const json_t *secret, char **ret_problem)
{
	const json_t *keys = metric->auth == AUTH_BEARER || metric->auth == AUTH_APIKEY ? secret : NULL;
	int r = 0;

	request->headers = calloc(metric->header_count + 2, sizeof(*request->headers)); /* and Content-Type, Authorization */
	if (!request->headers)
		return -ENOMEM;
	if (request->body)
		r = add_header(request, strdup("Content-Type: application/json"));
	for (size_t i = 0; i < metric->header_count && r == 0; i++) {
		const struct variable *header = &metric->headers[i];
		_cleanup_free_ char *value = keys ? template_substitute(header->value, keys) : strdup(header->value);

		if (!value)
			return -ENOMEM;
		r = add_header(request, text_printf("%s: %s", header->name, value));
		if (r == 0)
			r = check_header(request->headers[request->header_count - 1], header->name, ret_problem);
	}
	if (r == 0 && metric->auth == AUTH_BEARER)
		r = add_bearer(request, secret, ret_problem);
	return r;
}

static int add_basic(struct query_request *request, const json_t *secret, char **ret_problem)
{
	const char *username = json_string_value(json_object_get(secret, "username"));
	const char *password = json_string_value(json_object_get(secret, "password"));

	if (!username || !password) {
		*ret_problem = text_printf("authType Basic needs a secret with the keys username and password");
		return -EINVAL;
	}
	request->username = strdup(username);
	request->password = strdup(password);
	return request->username && request->password ? 0 : -ENOMEM;
}

static int add_body(struct query_request *request, const struct metric *metric, const json_t *values, char **ret_problem)
{
	_cleanup_json_ json_t *parsed = NULL;
	json_error_t error;

	if (!metric->body)
		return 0;
	request->body = template_substitute(metric->body, values);
	if (!request->body)
		return -ENOMEM;
	parsed = json_loads(request->body, JSON_DECODE_ANY, &error);
	if (parsed)
		return 0;
	*ret_problem = text_printf("spec.body is not JSON once its placeholders are filled in: %s (line %d)", error.text, error.line);
	return -EINVAL;
}

static int check_fields(const struct metric *metric, char **ret_problem)
{
	if (*metric->url && *metric->jq)
		return 0;
	*ret_problem = text_printf("Metric %s/%s has no spec.%s, which a query needs", metric->meta.ns, metric->meta.name,
				   *metric->url ? "jqExpression" : "urlTemplate");
	return -EINVAL;
}

int query_build(const struct metric *metric, const json_t *values, const json_t *secret, struct query_request *ret_request, char **ret_problem)
{
	_cleanup_(query_request_clear) struct query_request request = {};
	int r = check_fields(metric, ret_problem);

	if (r < 0)
		return r;
	request.url = build_url(metric, values, secret);
	r = request.url ? add_body(&request, metric, values, ret_problem) : -ENOMEM;
	if (r == 0)
		r = add_headers(&request, metric, secret, ret_problem);
	if (r == 0 && metric->auth == AUTH_BASIC)
		r = add_basic(&request, secret, ret_problem);
	if (r < 0)
		return r;
	*ret_request = request;
	request = (struct query_request){};
	return 0;
}

void query_request_clear(struct query_request *request)
{
	for (size_t i = 0; i < request->header_count; i++)
		free(request->headers[i]);
	free(request->headers);
	free(request->url);
	free(request->body);
	free(request->username);
	free(request->password);
	*request = (struct query_request){};
}

/* ---- the answer ---- */

/* Characters of the first line that a message shows. */
static int first_line(const char *body, size_t size)
{
	size_t n = 0;

	while (n < size && n < LINE_MAX_SHOWN && body[n] && body[n] != '\n' && body[n] != '\r')
		n++;
	return (int)n;
}

char *query_status_problem(long status, const char *body, size_t size)
{
	int n = first_line(body, size);

	return text_printf("HTTP %ld%s%.*s", status, n ? ": " : "", n, body);
}

static void cleanup_jq(jq_state **jq)
{
	if (*jq)
		jq_teardown(jq);
}

static void cleanup_jv(jv *value)
{
	jv_free(*value);
}

/* The value, leaving null: libjq's functions take what they are given. */
static jv take_jv(jv *value)
{
	jv taken = *value;

	*value = jv_null();
	return taken;
}

/* libjq's complaints, the last of them. */
static void keep_error(void *arg, jv message)
{
	char **problem = arg;
	jv text = jv_get_kind(message) == JV_KIND_STRING ? message : jv_dump_string(message, 0);

	text_replace(problem, "%s", jv_string_value(text));
	jv_free(text);
}

/* The reason that libjq or the answer's JSON gives, as a problem of ours. */
static int fail_jv(jv value, const char *what, char **ret_problem)
{
	jv message = jv_invalid_has_msg(jv_copy(value)) ? jv_invalid_get_msg(value) : (jv_free(value), jv_null());
	bool has_text = jv_get_kind(message) == JV_KIND_STRING;

	*ret_problem = text_printf("%s%s%s", what, has_text ? ": " : "", has_text ? jv_string_value(message) : "");
	jv_free(message);
	return -EINVAL;
}

static int compile(jq_state *jq, const char *expression, char **ret_problem)
{
	_cleanup_free_ char *complaint = NULL;
	int compiled;

	jq_set_error_cb(jq, keep_error, &complaint);
	compiled = jq_compile(jq, expression);
	jq_set_error_cb(jq, NULL, NULL);
	if (compiled)
		return 0;
	*ret_problem = text_printf("spec.jqExpression \"%s\" does not compile%s%s", expression, complaint ? ": " : "", complaint ?: "");
	return -EINVAL;
}

/*
 * Expressions that were compiled lately. libjq takes some ten milliseconds for one, its own library with it, which would be a whole core for a thousand
 * experiments with a provider's metric.
 */
#define PROGRAMS 64

static struct {
	char *expression;
	jq_state *jq;
} programs[PROGRAMS];

static size_t next_program;

static void forget_programs(void)
{
	for (size_t i = 0; i < PROGRAMS; i++) {
		cleanup_jq(&programs[i].jq);
		free(programs[i].expression);
	}
}

/* The expression compiled; borrowed until the next call. */
static int program_of(const char *expression, jq_state **ret_jq, char **ret_problem)
{
	_cleanup_(cleanup_jq) jq_state *jq = NULL;
	_cleanup_free_ char *copy = NULL;
	int r;

	for (size_t i = 0; i < PROGRAMS && programs[i].jq; i++) {
		if (strcmp(programs[i].expression, expression) != 0)
			continue;
		*ret_jq = programs[i].jq;
		return 0;
	}
	jq = jq_init();
	copy = strdup(expression);
	r = jq && copy ? compile(jq, expression, ret_problem) : -ENOMEM;
	if (r < 0)
		return r;
	if (!programs[0].jq)
		atexit(forget_programs);
	cleanup_jq(&programs[next_program].jq);
	free(programs[next_program].expression);
	programs[next_program].expression = TAKE_PTR(copy);
	*ret_jq = programs[next_program].jq = TAKE_PTR(jq);
	next_program = (next_program + 1) % PROGRAMS;
	return 0;
}

int query_check(const struct metric *metric, char **ret_problem)
{
	_cleanup_free_ char *problem = NULL;
	jq_state *jq;
	int r = check_fields(metric, ret_problem);

	if (r == 0)
		r = program_of(metric->jq, &jq, &problem);
	if (problem)
		*ret_problem = text_printf("Metric %s/%s: %s", metric->meta.ns, metric->meta.name, problem);
	return r;
}

/* The first output for the answer, the caller's to free. */
static int apply(const char *expression, const char *body, size_t size, jv *ret_output, char **ret_problem)
{
	_cleanup_(cleanup_jv) jv input = jv_null(), output = jv_null();
	jq_state *jq;
	int r = program_of(expression, &jq, ret_problem);

	if (r < 0)
		return r;
	input = jv_parse_sized(body, (int)size);
	if (!jv_is_valid(input))
		return fail_jv(take_jv(&input), "the answer is not JSON", ret_problem);
	jq_start(jq, jv_copy(input), 0);
	output = jq_next(jq);
	jq_start(jq, jv_null(), 0); /* it keeps no answer */
	if (!jv_is_valid(output))
		return fail_jv(take_jv(&output), "spec.jqExpression gives nothing for the answer", ret_problem);
	*ret_output = take_jv(&output);
	return 0;
}

int query_number(const char *expression, const char *body, size_t size, double *ret_number, char **ret_problem)
{
	_cleanup_(cleanup_jv) jv output = jv_null();
	double number;
	int r = apply(expression, body, size, &output, ret_problem);

	if (r < 0)
		return r;
	if (jv_get_kind(output) != JV_KIND_NUMBER) {
		*ret_problem = text_printf("spec.jqExpression gives a value of type %s, not a number", jv_kind_name(jv_get_kind(output)));
		return -EINVAL;
	}
	number = jv_number_value(output);
	if (isnan(number) || fabs(number) >= DBL_MAX) { /* libjq reads 1e999 as the greatest double */
		*ret_problem = text_printf("the value is %s, not a finite number", isnan(number) ? "NaN" : "infinite");
		return -EINVAL;
	}
	*ret_number = number;
	return 0;
}

#define SAMPLE_TIME                                                                                                 \
	"select(.status == \"success\").data | if .resultType == \"vector\" then .result[0].value[0] elif .resultType == \"scalar\" then .result[0] " \
	"elif .resultType == \"matrix\" then .result[0].values[-1][0] else null end"

double query_age(const char *body, size_t size, int64_t date, double age, int64_t now)
{
	_cleanup_free_ char *problem = NULL;
	double sample, behind;

	if (!memmem(body, size, "\"resultType\"", strlen("\"resultType\"")) || query_number(SAMPLE_TIME, body, size, &sample, &problem) < 0)
		return age;
	behind = (double)(date >= 0 ? date : now) - sample;
	return age + (behind > 0 ? behind : 0);
}

char *query_output(const char *expression, const char *body, size_t size)
{
	_cleanup_free_ char *problem = NULL;
	jv output = jv_null(), text;
	char *copy;

	if (apply(expression, body, size, &output, &problem) < 0)
		return NULL;
	text = jv_dump_string(output, 0);
	copy = strdup(jv_string_value(text));
	jv_free(text);
	return copy;
}
