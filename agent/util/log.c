/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum log_level max_level = LOG_INFO;

static const char *const level_name[] = {
	[LOG_ERR] = "error",
	[LOG_WARN] = "warning",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

void log_set_level(enum log_level level)
{
	max_level = level;
}

enum log_level log_get_level(void)
{
	return max_level;
}

void log_msgv(enum log_level level, const char *format, va_list args)
{
	char line[4096];

	if (level > max_level)
		return;
	vsnprintf(line, sizeof(line), format, args);
	fprintf(stderr, "shunt: %s: %s\n", level_name[level], line);
}

void log_msg(enum log_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_msgv(level, format, args);
	va_end(args);
}

int log_err(int err, const char *format, ...)
{
	char line[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);

	if (err)
		log_msg(LOG_ERR, "%s: %s", line, strerror(-err));
	else
		log_msg(LOG_ERR, "%s", line);
	return err ? err : -EINVAL;
}
