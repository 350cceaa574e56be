/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/quantity.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const struct {
	const char *text;
	double want;
} good_rows[] = {
	{ "0", 0 },
	{ "2000", 2000 },
	{ "+5", 5 },
	{ "-1.5", -1.5 },
	{ "0.01", 0.01 },
	{ ".5", 0.5 },
	{ "1.", 1 },
	{ "10m", 0.01 }, /* the very double that 0.01 is: an inclusive limit must not depend on its spelling */
	{ "100u", 0.0001 },
	{ "1n", 1e-9 },
	{ "90846332047n", 90.846332047 },
	{ "5k", 5000 },
	{ "2M", 2e6 },
	{ "3G", 3e9 },
	{ "1T", 1e12 },
	{ "1P", 1e15 },
	{ "1E", 1e18 },
	{ "1Ki", 1024 },
	{ "1.5Mi", 1572864 },
	{ "1Gi", 1073741824 },
	{ "1Ti", 1099511627776. },
	{ "1Pi", 1125899906842624. },
	{ "1Ei", 1152921504606846976. },
	{ "1e3", 1000 },
	{ "1E3", 1000 },
	{ "12e-2", 0.12 },
	{ "1.5e+2", 150 },
};

static void test_a_quantity_is_the_nearest_double(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good_rows); i++) {
		double value = -1;

		if (quantity_parse(good_rows[i].text, &value) != 0 || value != good_rows[i].want)
			fail_msg("%s: %.17g, expected %.17g", good_rows[i].text, value, good_rows[i].want);
	}
}

static const struct {
	const char *text;
	int want;
} bad_rows[] = {
	{ "", -EINVAL },      { "+", -EINVAL },     { ".", -EINVAL },    { "m", -EINVAL },   { "NaN", -EINVAL },  { "Inf", -EINVAL },    { "-inf", -EINVAL },
	{ "0x10", -EINVAL },  { "1 ", -EINVAL },    { " 1", -EINVAL },   { "1 k", -EINVAL }, { "1K", -EINVAL },   { "1ki", -EINVAL },    { "1mi", -EINVAL },
	{ "1.2.3", -EINVAL }, { "1e", -EINVAL },    { "1e3k", -EINVAL }, { "1e+", -EINVAL }, { "1,5", -EINVAL },  { "--1", -EINVAL },    { "1e99999", -EINVAL },
	{ "5%", -EINVAL },    { "1e999", -ERANGE }, { "ten", -EINVAL },  { "10ms", -EINVAL }, { "1e-999", -ERANGE },
	{ "11111111111111111111111111111111111111111111111111111111111111111", -EINVAL },
};

static void test_what_is_no_quantity_is_refused_and_sets_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_rows); i++) {
		double value = 42;
		int r = quantity_parse(bad_rows[i].text, &value);

		if (r != bad_rows[i].want || value != 42)
			fail_msg("\"%s\": returned %d, value %g", bad_rows[i].text, r, value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_quantity_is_the_nearest_double),
		cmocka_unit_test(test_what_is_no_quantity_is_refused_and_sets_nothing),
	};

	return cmocka_run_group_tests_name("quantity", tests, NULL, NULL);
}
