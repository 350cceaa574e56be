/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/template.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static json_t *context(void)
{
	return json_pack("{s:s, s:s, s:s, s:i, s:{s:{s:s}}}", "name", "flowers-v2", "revision", "revision1", "promote", "https://x/?a=1&b='2+3'", "number", 7,
			 "this", "metadata", "namespace", "default");
}

/* The first rows are the vectors of Iter8's handler (tasks/experiment_test.go, testdata/experiment6.yaml). */
static const struct {
	const char *text, *want; /* want NULL: an error */
} go_rows[] = {
	{ "hello-world", "hello-world" },
	{ "hello {{ .revision }} world", "hello revision1 world" },
	{ "hello {{ .omg }} world", "hello  world" },
	{ "{{ range .ForEver .omg }}", NULL },
	{ "{{.this.metadata.namespace}} {{.revision}}", "default revision1" },
	{ "kubectl apply -f {{ .promote }}", "kubectl apply -f https://x/?a=1&b='2+3'" },
	{ "{{ .number }}{{\t.name\n}}", "7flowers-v2" },
	{ "{{ .this.nothing.here }}|", "|" },
	{ "{{ .revision.deeper }}|", "|" },
	{ "", "" },
	{ "a } b } {c}", "a } b } {c}" },
	{ "{{ .this }}", NULL },
	{ "{{ . }}", NULL },
	{ "{{ name }}", NULL },
	{ "{{ .name | upper }}", NULL },
	{ "{{ .name", NULL },
	{ "{{}}", NULL },
	{ "{{ .a..b }}", NULL },
};

static void task_arguments_expand_as_go_templates_do_and_stay_plain_text(void **state)
{
	_cleanup_json_ json_t *values = context();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(go_rows); i++) {
		_cleanup_free_ char *text = NULL, *problem = NULL;
		int r = template_expand(go_rows[i].text, values, &text, &problem);

		if (go_rows[i].want) {
			assert_int_equal(r, 0);
			assert_string_equal(text, go_rows[i].want);
			assert_null(problem);
		} else {
			assert_int_equal(r, -EINVAL);
			assert_null(text);
			assert_non_null(problem);
		}
	}
}

static void a_bad_template_is_quoted_in_its_error(void **state)
{
	_cleanup_json_ json_t *values = context();
	_cleanup_free_ char *text = NULL, *problem = NULL, *open = NULL;

	(void)state;
	assert_int_equal(template_expand("x {{ if .a }} y", values, &text, &problem), -EINVAL);
	assert_non_null(strstr(problem, "\"{{ if .a }}\""));
	assert_int_equal(template_expand("x {{ .a", values, &text, &open), -EINVAL);
	assert_string_equal(open, "template \"{{ .a\" has no closing }}");
}

static const struct {
	const char *text, *want;
} python_rows[] = {
	/* the worked example of Iter8's documentation (metrics/custom.md) */
	{ "sum(increase(x{service_name='${name}',${userfilter}}[${elapsedTime}s])) or on() vector(0)",
	  "sum(increase(x{service_name='current',usergroup!~\"wakanda\"}[600s])) or on() vector(0)" },
	{ "SELECT average(duration) FROM Sessions WHERE version='$name' SINCE $elapsedTime sec ago\n",
	  "SELECT average(duration) FROM Sessions WHERE version='current' SINCE 600 sec ago\n" },
	{ "version='$version'", "version='$version'" }, /* the quick start page's trap: nothing is called version */
	{ "$$name costs $5 and $", "$name costs $5 and $" },
	{ "${name", "${name" },
	{ "${na-me}", "${na-me}" },
	{ "$name_x $namex", "$name_x $namex" },
	{ "$name.", "current." },
	{ "${}$", "${}$" },
	{ "", "" },
};

static void metric_queries_expand_as_python_safe_substitute_does(void **state)
{
	_cleanup_json_ json_t *values = json_pack("{s:s, s:s, s:s}", "name", "current", "userfilter", "usergroup!~\"wakanda\"", "elapsedTime", "600");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(python_rows); i++) {
		_cleanup_free_ char *text = template_substitute(python_rows[i].text, values);

		assert_string_equal(text, python_rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(task_arguments_expand_as_go_templates_do_and_stay_plain_text),
		cmocka_unit_test(a_bad_template_is_quoted_in_its_error),
		cmocka_unit_test(metric_queries_expand_as_python_safe_substitute_does),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
