/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>

char *text_printf(const char *format, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, format);
	n = vasprintf(&text, format, args);
	va_end(args);
	return n < 0 ? NULL : text;
}

void text_replace(char **text, const char *format, ...)
{
	va_list args;
	char *fresh;
	int n;

	va_start(args, format);
	n = vasprintf(&fresh, format, args);
	va_end(args);
	free(*text);
	*text = n < 0 ? NULL : fresh;
}
