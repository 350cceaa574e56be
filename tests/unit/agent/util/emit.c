/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/emit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const struct emit_column row_columns[] = {
	{ "name", "NAME", EMIT_TEXT },
	{ "share", "SHARE", EMIT_PERCENT },
	{ "ms", "MS", EMIT_FIXED2 },
	{ "tags", "TAGS", EMIT_TEXT },
};
static const struct emit_column line_columns[] = {
	{ "pid", "pid", EMIT_TEXT },
	{ "running", "running", EMIT_TEXT },
	{ "rate", "per second", EMIT_FIXED1 },
};
static const struct emit_section sections[] = {
	{ "agent", "Agent", line_columns, ARRAY_SIZE(line_columns), NULL },
	{ "rows", "Rows", row_columns, ARRAY_SIZE(row_columns), "none" },
	{ "others", "Others", row_columns, ARRAY_SIZE(row_columns), NULL },
	{ "message", NULL, NULL, 0, NULL },
};

static char *emitted(const char *document, bool json)
{
	_cleanup_json_ json_t *value = json_loads(document, 0, NULL);
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(value);
	assert_int_equal(emit(out, value, sections, ARRAY_SIZE(sections), json), 0);
	fclose(out);
	return text;
}

static void documents_become_text(void **state)
{
	static const struct {
		const char *document, *text;
	} cases[] = {
		{ "{\"agent\": {\"pid\": 7, \"running\": true, \"rate\": 12.25}}",
		  "Agent\n  pid         7\n  running     yes\n  per second  12.2\n" },
		{ "{\"agent\": {\"pid\": 7, \"running\": false, \"rate\": null}}", "Agent\n  pid      7\n  running  no\n" },
		{ "{\"rows\": []}", "Rows\n  none\n" },
		{ "{\"others\": [], \"message\": \"done\"}", "done\n" },
		{ "{\"rows\": [{\"name\": \"a\", \"share\": 0.125, \"ms\": 1234.5, \"tags\": [\"x\", \"y\"]}, {\"name\": \"longer\", \"share\": null, \"ms\": 1, \"tags\": []}], \"message\": \"m\"}",
		  "Rows\n  NAME      SHARE       MS  TAGS\n  a       12.50 %  1234.50  x, y\n  longer        -     1.00  -\n\nm\n" },
		{ "{\"rows\": [{\"name\": \"\xc3\xa4\xc3\xb6\", \"ms\": 1}, {\"name\": \"abc\", \"ms\": 20}]}",
		  "Rows\n  NAME  SHARE     MS  TAGS\n  \xc3\xa4\xc3\xb6        -   1.00  -\n  abc       -  20.00  -\n" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = emitted(cases[i].document, false);

		assert_string_equal(text, cases[i].text);
	}
}

static void json_is_the_document_with_what_text_leaves_out(void **state)
{
	_cleanup_free_ char *text = emitted("{\"others\": [], \"agent\": {\"rate\": null}, \"extra\": 0.1}", true);

	(void)state;
	assert_string_equal(text, "{\n  \"others\": [],\n  \"agent\": {\n    \"rate\": null\n  },\n  \"extra\": 0.1\n}\n");
}

static void a_list_that_is_too_long_for_a_cell_says_so(void **state)
{
	_cleanup_json_ json_t *document = json_pack("{s:[{s:[]}]}", "rows", "tags"),
			      *tags = json_object_get(json_array_get(json_object_get(document, "rows"), 0), "tags");
	_cleanup_free_ char *dumped = NULL, *text = NULL;

	(void)state;
	json_incref(tags);
	for (int i = 0; i < 200; i++)
		json_array_append_new(tags, json_string("10.0.0.1:80"));
	dumped = json_dumps(document, 0);
	text = emitted(dumped, false);
	assert_string_equal(text + strlen(text) - strlen(" ...\n"), " ...\n");
}

static void a_full_disk_is_an_error(void **state)
{
	_cleanup_file_ FILE *out = fopen("/dev/full", "w");
	_cleanup_json_ json_t *document = json_pack("{s:s}", "message", "m");

	(void)state;
	assert_non_null(out);
	assert_true(emit(out, document, sections, ARRAY_SIZE(sections), false) < 0);
	assert_true(emit(out, document, sections, ARRAY_SIZE(sections), true) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(documents_become_text),
		cmocka_unit_test(json_is_the_document_with_what_text_leaves_out),
		cmocka_unit_test(a_list_that_is_too_long_for_a_cell_says_so),
		cmocka_unit_test(a_full_disk_is_an_error),
	};

	return cmocka_run_group_tests_name("agent/util/emit", tests, NULL, NULL);
}
