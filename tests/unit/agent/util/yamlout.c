/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/yamlout.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "world/yaml.h"

static char *written(const json_t *json)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(yamlout_write(out, json), 0);
	fclose(out);
	return text;
}

static const struct {
	const char *text, *want; /* the line of {k: text} */
} scalars[] = {
	{ "flowers-v1", "k: flowers-v1\n" },
	{ "iter8-kfserving/mean-latency", "k: iter8-kfserving/mean-latency\n" },
	{ "10023m", "k: 10023m\n" },
	{ "5k", "k: 5k\n" },
	{ "80", "k: '80'\n" },
	{ "1e3", "k: '1e3'\n" },
	{ "0x1E", "k: '0x1E'\n" },
	{ "true", "k: 'true'\n" },
	{ "True", "k: 'True'\n" },
	{ "no", "k: 'no'\n" }, /* YAML 1.1 */
	{ "null", "k: 'null'\n" },
	{ "", "k: ''\n" },
	{ "2021-06-09T16:24:56Z", "k: '2021-06-09T16:24:56Z'\n" },
	{ "a: b", "k: 'a: b'\n" },
	{ "a #b", "k: 'a #b'\n" },
	{ "it's", "k: 'it''s'\n" },
	{ "line\nline", "k: \"line\\nline\"\n" },
	{ "- x", "k: '- x'\n" },
};

static void strings_are_quoted_where_a_reader_could_mistake_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scalars); i++) {
		_cleanup_json_ json_t *json = json_pack("{s:s}", "k", scalars[i].text);
		_cleanup_free_ char *text = written(json);

		assert_string_equal(text, scalars[i].want);
	}
}

static void any_tree_is_read_back_as_it_was(void **state)
{
	_cleanup_json_ json_t *json = json_loads("{\"b\": [1, -2, true, null, \"x\", [], {}, [[\"deep\"]]], \"a\": {\"\": \"empty key\", \"9007199254740993\": 9007199254740993},"
						 "\"e\": 0.25, \"u\": \"\xc3\xa9\\u0001\\t\", \"long\": \"word word word word word word word word word word word word word word word "
						 "word word word word word word word word word word word word word word word word word word word word word word word word word\"}",
						 0, NULL);
	_cleanup_free_ char *text = written(json);
	struct yaml_document *documents;
	size_t count;

	(void)state;
	assert_int_equal(yaml_parse(text, strlen(text), &documents, &count), 0);
	assert_int_equal(count, 1);
	assert_null(documents[0].error);
	assert_true(json_equal(documents[0].root, json));
	yaml_documents_free(documents, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_are_quoted_where_a_reader_could_mistake_them),
		cmocka_unit_test(any_tree_is_read_back_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
