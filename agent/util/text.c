/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/text.h"

#include <stdio.h>
#include <stdlib.h>

char *text_vprintf(const char *format, va_list args)
{
	char *text;

	return vasprintf(&text, format, args) < 0 ? NULL : text; /* text is undefined then */
}

char *text_printf(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = text_vprintf(format, args);
	va_end(args);
	return text;
}

void text_replace(char **text, const char *format, ...)
{
	va_list args;
	char *fresh;

	va_start(args, format);
	fresh = text_vprintf(format, args);
	va_end(args);
	free(*text);
	*text = fresh;
}
