/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/decimal.h"

#include <errno.h>
#include <float.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const struct {
	double value;
	const char *want;
} print_rows[] = {
	{ 0, "0" },
	{ -0.0, "0" },
	{ 1, "1" },
	{ 315.18, "315180m" },
	{ 45.021, "45021m" },
	{ 10.023, "10023m" },
	{ 14.737, "14737m" },
	{ 5000, "5k" },
	{ 5001, "5001" },
	{ 0.01, "10m" },
	{ 90.846332047, "90846332047n" },
	{ 1506.61809582, "1506618095820n" },
	{ 0.1 + 0.2, "300000001n" }, /* finer than a nano: away from zero */
	{ -0.1 - 0.2, "-300000001n" },
	{ 1e-300, "1n" },
	{ 1e18, "1E" },
	{ 2.5e20, "250E" },
	{ -1.5, "-1500m" },
	{ 1e21, "1000E" },
};

static void numbers_print_as_kubernetes_prints_them(void **state)
{
	char buf[DECIMAL_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(print_rows); i++)
		assert_string_equal(decimal_quantity(print_rows[i].value, buf), print_rows[i].want);
	assert_string_equal(decimal_quantity(DBL_MAX, buf), "1.7976931348623157e+308");
}

static const struct {
	const char *text;
	int r;
	const char *decimal; /* rounded up to three places */
} parse_rows[] = {
	{ "90846332047n", 0, "90.847" },
	{ "1506618095820n", 0, "1506.619" },
	{ "24453608192n", 0, "24.454" },
	{ "315180m", 0, "315.180" },
	{ "2000", 0, "2000.000" },
	{ "0.01", 0, "0.010" },
	{ ".5", 0, "0.500" },
	{ "5.", 0, "5.000" },
	{ "5k", 0, "5000.000" },
	{ "1Ki", 0, "1024.000" },
	{ "2Mi", 0, "2097152.000" },
	{ "1.5e3", 0, "1500.000" },
	{ "1E3", 0, "1000.000" },
	{ "1E", 0, "1000000000000000000.000" },
	{ "-1n", 0, "0.000" }, /* up is towards plus infinity */
	{ "-1001u", 0, "-0.001" },
	{ "+3", 0, "3.000" },
	{ "0.0000000001", 0, "0.001" },
	{ "0", 0, "0.000" },
	{ "", -EINVAL, NULL },
	{ "-", -EINVAL, NULL },
	{ "abc", -EINVAL, NULL },
	{ "1x", -EINVAL, NULL },
	{ "1 k", -EINVAL, NULL },
	{ "1.2.3", -EINVAL, NULL },
	{ "1Kib", -EINVAL, NULL },
	{ "1e", -EINVAL, NULL },
	{ "1e5x", -EINVAL, NULL },
	{ "1e99", -ERANGE, NULL },
	{ "1e999", -ERANGE, NULL },
	{ "1000000000000000000000000000000000000000000", -ERANGE, NULL },
};

static void quantities_are_read_exactly_and_rounded_up_to_three_decimals(void **state)
{
	char buf[DECIMAL_TEXT_MAX];
	__int128 nano;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(parse_rows); i++) {
		assert_int_equal(decimal_parse(parse_rows[i].text, &nano), parse_rows[i].r);
		if (parse_rows[i].r == 0)
			assert_string_equal(decimal_ceil3(nano, buf), parse_rows[i].decimal);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_print_as_kubernetes_prints_them),
		cmocka_unit_test(quantities_are_read_exactly_and_rounded_up_to_three_decimals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
