/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/quantity.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

#define DIGITS "0123456789"
#define TEXT_MAX 64

static const struct suffix {
	const char *text;
	int decimal; /* power of ten */
	int binary;  /* power of two */
} suffixes[] = {
	{ "", 0, 0 },   { "n", -9, 0 }, { "u", -6, 0 },  { "m", -3, 0 },  { "k", 3, 0 },   { "M", 6, 0 },   { "G", 9, 0 },   { "T", 12, 0 },
	{ "P", 15, 0 }, { "E", 18, 0 }, { "Ki", 0, 10 }, { "Mi", 0, 20 }, { "Gi", 0, 30 }, { "Ti", 0, 40 }, { "Pi", 0, 50 }, { "Ei", 0, 60 },
};

/* Length of "12", "1.5", "1." or ".5" with an optional sign; 0 when there is none. */
static size_t mantissa_length(const char *text)
{
	size_t sign = *text == '+' || *text == '-';
	size_t whole = strspn(text + sign, DIGITS), fraction = 0, point = 0;

	if (text[sign + whole] == '.') {
		point = 1;
		fraction = strspn(text + sign + whole + 1, DIGITS);
	}
	return whole || fraction ? sign + whole + point + fraction : 0;
}

static bool is_exponent(const char *text)
{
	const char *p = text + 1;

	if (*text != 'e' && *text != 'E')
		return false;
	p += *p == '+' || *p == '-';
	return *p && !p[strspn(p, DIGITS)] && strlen(p) <= 4;
}

/* The decimal suffix goes into the text as an exponent, so that strtod rounds once: "10m" is exactly what "0.01" is. */
static int scale(const char *text, size_t length, const struct suffix *suffix, double *ret_value)
{
	char number[TEXT_MAX + 16];
	double value;

	snprintf(number, sizeof(number), "%.*se%d", (int)length, text, suffix->decimal);
	errno = 0;
	value = ldexp(strtod(number, NULL), suffix->binary);
	if (errno || !isfinite(value))
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int quantity_parse(const char *text, double *ret_value)
{
	size_t length = mantissa_length(text);
	double value;

	if (!length || strlen(text) > TEXT_MAX)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (strcmp(text + length, suffixes[i].text) == 0)
			return scale(text, length, &suffixes[i], ret_value);
	if (!is_exponent(text + length))
		return -EINVAL;
	errno = 0;
	value = strtod(text, NULL);
	if (errno || !isfinite(value))
		return -ERANGE;
	*ret_value = value;
	return 0;
}
