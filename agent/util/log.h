/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The log: one line an event on stderr. An error is logged once, where it is understood, and names the object, what was found and the next step.
 */
#ifndef SHUNT_LOG_H
#define SHUNT_LOG_H

#include <stdarg.h>

enum log_level { LOG_ERR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Messages above this level are not printed. Default: LOG_INFO. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* A line at a level, without a newline of its own. */
__attribute__((format(printf, 2, 3))) void log_msg(enum log_level level, const char *format, ...);
void log_msgv(enum log_level level, const char *format, va_list args);

#define log_warn(...) log_msg(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_DEBUG, __VA_ARGS__)

/*
 * Logs an error and returns it, so that `return log_err(r, "attach %s", ifname);` is the whole path. err: negative errno, whose text is appended;
 * 0: the message alone, and -EINVAL is returned.
 */
__attribute__((format(printf, 2, 3))) int log_err(int err, const char *format, ...);

#endif
