/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/base64.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"

/* 0..63; -1: no character of base64 */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *text, char **ret_data, size_t *ret_size)
{
	_cleanup_free_ char *data = malloc(strlen(text) / 4 * 3 + 4);
	size_t size = 0, digits = 0, padding = 0;
	uint32_t bits = 0;

	if (!data)
		return -ENOMEM;
	for (; *text; text++) {
		int value = value_of(*text);

		if (*text == '\n' || *text == '\r')
			continue;
		if (*text == '=') {
			padding++;
			continue;
		}
		if (value < 0 || padding)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
		if (++digits % 4 == 1)
			continue;
		data[size++] = (char)(bits >> (6 - (digits - 1) % 4 * 2));
	}
	if ((digits + padding) % 4 || padding > 2)
		return -EINVAL;
	data[size] = '\0';
	*ret_size = size;
	*ret_data = TAKE_PTR(data);
	return 0;
}
