/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/errors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

int manifest_errors_addv(struct manifest_errors *errors, const char *file, int line, const char *path, const char *format, va_list args)
{
	struct manifest_error *bigger = reallocarray(errors->items, errors->count + 1, sizeof(*bigger));
	_cleanup_free_ char *message = text_vprintf(format, args);
	_cleanup_free_ char *file_copy = strdup(file);
	_cleanup_free_ char *path_copy = strdup(path);

	if (bigger)
		errors->items = bigger;
	if (!bigger || !message || !file_copy || !path_copy)
		return -ENOMEM;
	errors->items[errors->count++] = (struct manifest_error){
		.file = TAKE_PTR(file_copy),
		.line = line,
		.path = TAKE_PTR(path_copy),
		.message = TAKE_PTR(message),
	};
	return 0;
}

int manifest_errors_add(struct manifest_errors *errors, const char *file, int line, const char *path, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = manifest_errors_addv(errors, file, line, path, format, args);
	va_end(args);
	return r;
}

char *manifest_error_text(const struct manifest_error *error)
{
	_cleanup_free_ char *place = NULL;
	char *text;
	int r;

	r = error->line ? asprintf(&place, "%s:%d", error->file, error->line) : asprintf(&place, "%s", error->file);
	if (r < 0) {
		place = NULL;
		return NULL;
	}
	r = asprintf(&text, "%s: %s%s%s", place, error->path, *error->path ? ": " : "", error->message);
	return r < 0 ? NULL : text;
}

void manifest_errors_release(struct manifest_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		free(errors->items[i].file);
		free(errors->items[i].path);
		free(errors->items[i].message);
	}
	free(errors->items);
	*errors = (struct manifest_errors){};
}
