/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Text that is built at run time. */
#ifndef SHUNT_TEXT_H
#define SHUNT_TEXT_H

#include <stdarg.h>

/* What printf would print, allocated; NULL when there is no memory. */
__attribute__((format(printf, 1, 2))) char *text_printf(const char *format, ...);
__attribute__((format(printf, 1, 0))) char *text_vprintf(const char *format, va_list args);

/* Puts a text in place of *text, which is freed. */
__attribute__((format(printf, 2, 3))) void text_replace(char **text, const char *format, ...);

#endif
