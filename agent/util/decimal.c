/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/decimal.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANO_DIGITS 9
#define NANO_MAX ((__int128)1000000000 * 1000000000 * 1000000000 * 1000000000) /* 10^36: room for one more digit */

static const struct {
	const char *text;
	int exponent; /* of ten */
} decimal_suffix[] = {
	{ "n", -9 }, { "u", -6 }, { "m", -3 }, { "", 0 }, { "k", 3 }, { "M", 6 }, { "G", 9 }, { "T", 12 }, { "P", 15 }, { "E", 18 },
};

static const char binary_suffix[] = "KMGTPE";

/* value * 10^exponent; what is lost below one is rounded away from zero. false: it does not fit. */
static bool scale_ten(__int128 *value, int exponent)
{
	bool negative = *value < 0, lost = false;

	for (; exponent > 0; exponent--) {
		if (*value > NANO_MAX || *value < -NANO_MAX)
			return false;
		*value *= 10;
	}
	for (; exponent < 0 && *value != 0; exponent++) {
		lost |= *value % 10 != 0;
		*value /= 10;
	}
	if (lost)
		*value += negative ? -1 : 1;
	return *value <= NANO_MAX && *value >= -NANO_MAX;
}

static const char *print_int128(__int128 value, char *end)
{
	bool negative = value < 0;

	*--end = '\0';
	do {
		int digit = (int)(value % 10);

		*--end = (char)('0' + (digit < 0 ? -digit : digit));
		value /= 10;
	} while (value != 0);
	if (negative)
		*--end = '-';
	return end;
}

/* The shortest decimal that reads back as the same double: 17 digits are always enough, 15 keep 10.023 what a person wrote. */
static void shortest_decimal(double value, char buf[32])
{
	for (int digits = 14; digits <= 16; digits++) {
		snprintf(buf, 32, "%.*e", digits, value);
		if (strtod(buf, NULL) == value)
			return;
	}
}

/* "[-]d.ddde[+-]xx" as an integer and its power of ten. */
static __int128 read_decimal(const char *text, int *ret_exponent)
{
	__int128 value = 0;
	bool negative = *text == '-';
	int point = 0;

	for (text += negative; *text != 'e'; text++) {
		if (*text == '.') {
			point = 1;
			continue;
		}
		value = value * 10 + (*text - '0');
		if (point)
			point++;
	}
	*ret_exponent = atoi(text + 1) - (point ? point - 1 : 0);
	return negative ? -value : value;
}

const char *decimal_quantity(double value, char buf[DECIMAL_TEXT_MAX])
{
	char decimal[32], digits[DECIMAL_TEXT_MAX];
	__int128 number;
	size_t suffix = 0;
	int exponent;

	shortest_decimal(value, decimal);
	number = read_decimal(decimal, &exponent);
	if (!scale_ten(&number, exponent + NANO_DIGITS)) {
		snprintf(buf, DECIMAL_TEXT_MAX, "%s", decimal); /* beyond 10^27 by exponent, which quantities also allow */
		return buf;
	}
	while (number != 0 && number % 1000 == 0 && suffix + 1 < sizeof(decimal_suffix) / sizeof(decimal_suffix[0])) {
		number /= 1000;
		suffix++;
	}
	snprintf(buf, DECIMAL_TEXT_MAX, "%s%s", print_int128(number, digits + sizeof(digits)), number ? decimal_suffix[suffix].text : "");
	return buf;
}

/* The power of ten or of two that a suffix means. */
static int read_suffix(const char *text, int *ret_ten, int *ret_two)
{
	const char *binary = text[0] && text[1] == 'i' && !text[2] ? strchr(binary_suffix, text[0]) : NULL;
	char *end;

	*ret_two = 0;
	for (size_t i = 0; i < sizeof(decimal_suffix) / sizeof(decimal_suffix[0]); i++) {
		if (strcmp(text, decimal_suffix[i].text) == 0) {
			*ret_ten = decimal_suffix[i].exponent;
			return 0;
		}
	}
	if (binary) {
		*ret_ten = 0;
		*ret_two = 10 * (int)(binary - binary_suffix + 1);
		return 0;
	}
	if ((text[0] != 'e' && text[0] != 'E') || !text[1] || isspace((unsigned char)text[1]))
		return -EINVAL;
	*ret_ten = (int)strtol(text + 1, &end, 10);
	if (*end)
		return -EINVAL;
	return *ret_ten > 100 || *ret_ten < -100 ? -ERANGE : 0;
}

int decimal_parse(const char *text, __int128 *ret_nano)
{
	bool negative = *text == '-', any = false, point = false;
	int ten, two, fraction = 0, r;
	__int128 value = 0;

	for (text += *text == '-' || *text == '+'; isdigit((unsigned char)*text) || (*text == '.' && !point); text++) {
		if (*text == '.') {
			point = true;
			continue;
		}
		if (value > NANO_MAX)
			return -ERANGE;
		value = value * 10 + (*text - '0');
		fraction += point;
		any = true;
	}
	if (!any)
		return -EINVAL;
	r = read_suffix(text, &ten, &two);
	if (r < 0)
		return r;
	for (; two > 0; two--) {
		if (value > NANO_MAX)
			return -ERANGE;
		value *= 2;
	}
	if (!scale_ten(&value, ten - fraction + NANO_DIGITS))
		return -ERANGE;
	*ret_nano = negative ? -value : value;
	return 0;
}

const char *decimal_ceil3(__int128 nano, char buf[DECIMAL_TEXT_MAX])
{
	const __int128 micro = 1000000; /* billionths in a thousandth */
	__int128 milli = nano / micro + (nano % micro > 0);
	bool negative = milli < 0;
	char digits[DECIMAL_TEXT_MAX];

	if (negative)
		milli = -milli;
	snprintf(buf, DECIMAL_TEXT_MAX, "%s%s.%03d", negative ? "-" : "", print_int128(milli / 1000, digits + sizeof(digits)), (int)(milli % 1000));
	return buf;
}
