/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/secret.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/text.h"

static const struct {
	const char *text, *want;
} hidden[] = {
	{ "nothing to see", "nothing to see" },
	{ "key=s3cret;s3cret", "key=***;***" },
	{ "s3cret-and-more", "***" }, /* the longer of two that begin alike */
	{ "*", "***" },
	{ "", "" },
	{ "first line | second line", "*** | ***" }, /* as a child's output is told */
};

static void values_are_hidden(void **state)
{
	_cleanup_json_ json_t *secret = json_pack("{s:s, s:s, s:s, s:s, s:s}", "a", "s3cret", "b", "s3cret-and-more", "c", "", "d", "*", "e", "first line\nsecond line\nx");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
		_cleanup_free_ char *shown = secret_hide(hidden[i].text, secret), *plain = secret_hide(hidden[i].text, NULL);

		assert_string_equal(shown, hidden[i].want);
		assert_string_equal(plain, hidden[i].text);
	}
}

static void a_secret_object_serves_where_there_is_no_folder(void **state)
{
	_cleanup_json_ json_t *data = json_pack("{s:s, s:n}", "token", "t0p", "binary"), *secret = NULL, *filed = NULL;
	struct secret objects[] = { { .meta = { .ns = (char *)"prod", .name = (char *)"nr" }, .data = data } };
	const struct world world = { .secrets = objects, .secret_count = 1 }, *now = &world;
	char folder[] = "/tmp/shunt-secret-XXXXXX";
	struct secret_source source = { folder, &now };
	_cleanup_free_ char *problem = NULL, *ns = NULL, *name = NULL, *path = NULL, *command = NULL;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(secret_read(&source, "prod", "nr", &secret, &problem), 0);
	assert_string_equal(json_string_value(json_object_get(secret, "token")), "t0p");
	assert_int_equal(json_object_size(secret), 1); /* what is no text is no value */
	assert_int_equal(secret_read(&source, "dev", "nr", &filed, &problem), -ENOENT);
	assert_non_null(strstr(problem, "secret dev/nr: no folder "));
	assert_non_null(strstr(problem, ", and no Secret object of that name"));

	ns = text_printf("%s/prod", folder);
	name = text_printf("%s/nr", ns);
	path = text_printf("%s/token", name);
	mkdir(ns, 0700);
	mkdir(name, 0700);
	file = fopen(path, "we");
	fputs("filed\n", file);
	fclose(file);
	assert_int_equal(secret_read(&source, "dev", "prod/nr", &filed, &problem), 0);
	assert_string_equal(json_string_value(json_object_get(filed, "token")), "filed"); /* the folder goes first */
	command = text_printf("rm -r '%s'", folder);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_are_hidden),
		cmocka_unit_test(a_secret_object_serves_where_there_is_no_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
