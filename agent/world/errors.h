/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is wrong with manifests, as values: whoever shows them (log, status, a test) decides how. */
#ifndef SHUNT_ERRORS_H
#define SHUNT_ERRORS_H

#include <stdarg.h>
#include <stddef.h>

struct manifest_error {
	char *file;
	int line;      /* from 1; 0: the file as a whole */
	char *path;    /* "spec.http[0].match[0].headers.userhash.prefix"; "" for the document as a whole */
	char *message; /* what was found, what is allowed */
};

struct manifest_errors {
	struct manifest_error *items;
	size_t count;
};

/* Appends a copy of all of it. Returns 0 or -ENOMEM. */
__attribute__((format(printf, 5, 6))) int manifest_errors_add(struct manifest_errors *errors, const char *file, int line, const char *path,
							      const char *format, ...);
int manifest_errors_addv(struct manifest_errors *errors, const char *file, int line, const char *path, const char *format, va_list args);

/* "routing.yaml:12: spec.http[0].route: missing ...". The caller frees it; NULL without memory. */
char *manifest_error_text(const struct manifest_error *error);

/* Frees what it holds and makes it empty again. */
void manifest_errors_release(struct manifest_errors *errors);

#endif
