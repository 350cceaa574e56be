/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

/* The JSON of all documents, one a line; a bad one as "!line message". */
static char *dump(const char *text)
{
	struct yaml_document *documents;
	char *out_text = NULL;
	size_t count, size;
	FILE *out = open_memstream(&out_text, &size);

	assert_int_equal(yaml_parse(text, strlen(text), &documents, &count), 0);
	for (size_t i = 0; i < count; i++) {
		if (documents[i].error)
			fprintf(out, "!%d %s", documents[i].line, documents[i].error);
		else
			json_dumpf(documents[i].root, out, JSON_COMPACT | JSON_ENCODE_ANY);
		fputc('\n', out);
	}
	yaml_documents_free(documents, count);
	fclose(out);
	return out_text;
}

static const struct {
	const char *text, *want;
} good_rows[] = {
	{ "", "" },
	{ "# only a comment\n", "" },
	{ "---\n---\n...\n", "" },
	{ "a: 1", "{\"a\":1}\n" },
	{ "a: 1\r\nb: x\r\n", "{\"a\":1,\"b\":\"x\"}\n" },
	{ "a: [1, -2, +3, 0x1F, 0o17, 0]", "{\"a\":[1,-2,3,31,15,0]}\n" },
	{ "a: [1.5, .5, 2., 1e3, -1.5e-1]", "{\"a\":[1.5,0.5,2.0,1000.0,-0.14999999999999999]}\n" },
	{ "[true, True, TRUE, false, null, ~, Null, ]", "[true,true,true,false,null,null,null]\n" },
	{ "[yes, no, on, off, y, n]", "[\"yes\",\"no\",\"on\",\"off\",\"y\",\"n\"]\n" },
	{ "['1', \"true\", 'null', \"0101\", !!str 7, ! 8]", "[\"1\",\"true\",\"null\",\"0101\",\"7\",\"8\"]\n" },
	{ "[1.2.3, 10.0.0.1, 1-2, 1_000, 12:30, -, ., 0x, e5, 2021-06-02T10:00:00Z]",
	  "[\"1.2.3\",\"10.0.0.1\",\"1-2\",\"1_000\",\"12:30\",\"-\",\".\",\"0x\",\"e5\",\"2021-06-02T10:00:00Z\"]\n" },
	{ "a:\nb: \n", "{\"a\":null,\"b\":null}\n" },
	{ "1: x\ntrue: y\n", "{\"1\":\"x\",\"true\":\"y\"}\n" },
	{ "a: |\n  line\n  # no comment\nb: >-\n  folded\n  text\n", "{\"a\":\"line\\n# no comment\\n\",\"b\":\"folded text\"}\n" },
	{ "a: 1\n---\nb: 2\n---\nc: 3", "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n" },
	{ "--- {a: 1}\n--- # next\nb: 2\n...\n# done\n", "{\"a\":1}\n{\"b\":2}\n" },
	{ "%YAML 1.1\n---\na: 1\n...\n%YAML 1.1\n---\nb: 2\n", "{\"a\":1}\n{\"b\":2}\n" },
	{ "a: |\n  ---\n  x\n", "{\"a\":\"---\\nx\\n\"}\n" }, /* indented: text, no marker */
	{ "a: ---x\nb: ...\n", "{\"a\":\"---x\",\"b\":\"...\"}\n" },
	{ "{\"a\": [1, true, null, \"\\u00e4\\n\"],\n\t\"b\": {\"c\": \"x\"}}", "{\"a\":[1,true,null,\"\xc3\xa4\\n\"],\"b\":{\"c\":\"x\"}}\n" },
	{ "a: &anchor 1\n", "{\"a\":1}\n" }, /* an anchor alone harms nobody */
	{ "\xef\xbb\xbf" "a: 1\n", "{\"a\":1}\n" },
};

static void test_scalars_and_documents_become_json(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_rows); i++) {
		_cleanup_free_ char *found = dump(good_rows[i].text);

		if (strcmp(found, good_rows[i].want) != 0)
			fail_msg("<<%s>>\ngave     %sexpected %s", good_rows[i].text, found, good_rows[i].want);
	}
}

static const struct {
	const char *text, *line, *what;
} bad_rows[] = {
	{ "a: 1\nb: [1\nc: 2\n", "!3 ", "not YAML" },
	{ "a: b: c\n", "!1 ", "mapping values are not allowed" },
	{ "a: 1\n\tb: 2\n", "!2 ", "not YAML" },
	{ "a: 'x\n", "!2 ", "not YAML" },
	{ "a: \x01\n", "!1 ", "control characters" },
	{ "a: 1\nb: 2\nc: \x01\n", "!3 ", "control characters" },
	{ "a: \xff\n", "!1 ", "not YAML" },
	{ "a: 1\nb: 2\na: 3\n", "!3 ", "key \"a\" twice in one mapping, first in line 1" },
	{ "a: {b: 1,\n b: 2}", "!2 ", "first in line 1" },
	{ "a: &x 1\nb: *x\n", "!2 ", "alias *x" },
	{ "a: &x 1\n*x : 2\n", "!2 ", "alias *x as a key" },
	{ "...\n...\n%YAML 1.1\n---\nb: *x\n", "!5 ", "alias *x" },
	{ "[a]: 1\n", "!1 ", "allowed: text" },
	{ "a: \"x\\0y\"\n", "!1 ", "NUL" },
	{ "\"x\\0y\": 1\n", "!1 ", "NUL" },
	{ "a: !!binary aGk=\n", "!1 ", "tag tag:yaml.org,2002:binary" },
	{ "a: 0101\n", "!1 ", "0101: octal in YAML 1.1 and decimal in YAML 1.2" },
	{ "a: .nan\n", "!1 ", "not a finite number" },
	{ "a: -.inf\n", "!1 ", "not a finite number" },
	{ "a: 1e999\n", "!1 ", "too large" },
	{ "a: 9223372036854775808\n", "!1 ", "beyond 64 bits" },
};

static void test_what_is_no_plain_yaml_is_an_error_with_its_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++) {
		_cleanup_free_ char *found = dump(bad_rows[i].text);

		if (strncmp(found, bad_rows[i].line, strlen(bad_rows[i].line)) != 0 || !strstr(found, bad_rows[i].what))
			fail_msg("<<%s>>\ngave %s", bad_rows[i].text, found);
	}
}

static void test_a_bad_document_leaves_the_others_and_their_lines_alone(void **state)
{
	_cleanup_free_ char *found = dump("a: 1\n---\nb: [\n---\nc: 3\n---\nd: *x\n---\ne: 5\ne: 6\n");

	(void)state;
	assert_non_null(strstr(found, "{\"a\":1}\n!4 not YAML"));
	assert_non_null(strstr(found, "\n{\"c\":3}\n!7 found alias *x"));
	assert_non_null(strstr(found, "\n!10 found key \"e\" twice in one mapping, first in line 9"));
}

static void test_every_value_knows_its_line(void **state)
{
	static const char text[] = "# head\na: 0\n---\n\nspec:\n  http:\n  - match:\n    - headers: {userhash: {prefix: x}}\n    name: >\n      folded\n    port:\n      7\n";
	struct yaml_document *documents;
	const json_t *spec, *http, *entry;
	size_t count;

	(void)state;
	assert_int_equal(yaml_parse(text, strlen(text), &documents, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(documents[0].line, 2);
	assert_int_equal(documents[1].line, 5);
	spec = yaml_member(documents[1].positions, "spec");
	http = yaml_member(spec, "http");
	entry = yaml_item(http, 0);
	assert_int_equal(yaml_line(documents[1].positions), 5);
	assert_int_equal(yaml_line(spec), 5);
	assert_int_equal(yaml_line(http), 6);
	assert_int_equal(yaml_line(entry), 7);
	assert_int_equal(yaml_line(yaml_item(yaml_member(entry, "match"), 0)), 8);
	assert_int_equal(yaml_line(yaml_member(yaml_member(yaml_item(yaml_member(entry, "match"), 0), "headers"), "userhash")), 8);
	assert_int_equal(yaml_line(yaml_member(entry, "name")), 9);
	assert_int_equal(yaml_line(yaml_member(entry, "port")), 11); /* where the key is */
	assert_null(yaml_member(entry, "none"));
	assert_null(yaml_item(http, 1));
	assert_int_equal(yaml_line(NULL), 0);
	yaml_documents_free(documents, count);
}

static char *repeat(const char *text, size_t times)
{
	size_t length = strlen(text);
	char *all = calloc(times, length + 1);

	for (size_t i = 0; i < times; i++)
		memcpy(all + i * length, text, length);
	return all;
}

static void test_depth_and_size_are_bounded(void **state)
{
	_cleanup_free_ char *deepest = repeat("- ", YAML_DEPTH_MAX);
	_cleanup_free_ char *too_deep = repeat("- ", YAML_DEPTH_MAX + 1);
	_cleanup_free_ char *flow = repeat("[", 100000);
	_cleanup_free_ char *many = repeat("- x\n", YAML_NODES_MAX);
	_cleanup_free_ char *deepest_found = dump(deepest), *too_deep_found = dump(too_deep), *flow_found = dump(flow), *many_found = dump(many);

	(void)state;
	assert_memory_equal(deepest_found, "[[[[", 4);
	assert_string_equal(too_deep_found, "!1 nested deeper than 64 levels\n");
	assert_string_equal(flow_found, "!1 nested deeper than 64 levels\n");
	assert_string_equal(many_found, "!250000 more than 250000 values in one document\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars_and_documents_become_json),
		cmocka_unit_test(test_what_is_no_plain_yaml_is_an_error_with_its_line),
		cmocka_unit_test(test_a_bad_document_leaves_the_others_and_their_lines_alone),
		cmocka_unit_test(test_every_value_knows_its_line),
		cmocka_unit_test(test_depth_and_size_are_bounded),
	};

	return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
