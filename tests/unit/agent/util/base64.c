/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/base64.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const struct {
	const char *text, *want; /* NULL: it is none */
} rows[] = {
	/* RFC 4648 section 10 */
	{ "", "" },
	{ "Zg==", "f" },
	{ "Zm8=", "fo" },
	{ "Zm9v", "foo" },
	{ "Zm9vYg==", "foob" },
	{ "Zm9vYmE=", "fooba" },
	{ "Zm9vYmFy", "foobar" },
	{ "Zm9v\nYmFy\r\n", "foobar" },
	{ "++//", "\xfb\xef\xff" },
	{ "Zg=", NULL },
	{ "Zg", NULL },
	{ "Z", NULL },
	{ "Z===", NULL },
	{ "====", NULL },
	{ "Zg==Zg==", NULL },
	{ "Zm-v", NULL },
	{ "Zm 9v", NULL },
};

static void texts_are_those_of_rfc_4648(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *data = NULL;
		size_t size = 0;
		int r = base64_decode(rows[i].text, &data, &size);

		assert_int_equal(r, rows[i].want ? 0 : -EINVAL);
		if (!rows[i].want)
			continue;
		assert_int_equal(size, strlen(rows[i].want));
		assert_string_equal(data, rows[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_are_those_of_rfc_4648),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
