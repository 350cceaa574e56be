/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

void *array_append(void *items, size_t *count, size_t size)
{
	void *array;

	memcpy(&array, items, sizeof(array));
	if ((*count & (*count - 1)) == 0) { /* 0 and the powers of two: time to double */
		array = reallocarray(array, *count ? 2 * *count : 1, size);
		if (!array)
			return NULL;
		memcpy(items, &array, sizeof(array));
	}
	return memset((char *)array + size * (*count)++, 0, size);
}

struct place place_of(const struct object_meta *meta, const char *kind, int line, const char *path, ...)
{
	struct place place = { .meta = meta, .kind = kind, .line = line };
	va_list args;

	va_start(args, path);
	vsnprintf(place.path, sizeof(place.path), path, args);
	va_end(args);
	return place;
}

static char *place_text(const struct place *place)
{
	const struct object_meta *meta = place->meta;
	char *text;

	if (asprintf(&text, "%s:%d %s %s/%s%s%s", meta->file, place->line ? place->line : meta->line, place->kind, meta->ns, meta->name,
		     place->path[0] ? " " : "", place->path) < 0)
		return NULL;
	return text;
}

int note_add(struct plan_note **notes, size_t *count, enum note_level level, const struct place *place, const char *format, ...)
{
	_cleanup_free_ char *where = place_text(place);
	_cleanup_free_ char *message = NULL;
	struct plan_note *note;
	va_list args;

	va_start(args, format);
	message = text_vprintf(format, args);
	va_end(args);
	if (!where || !message)
		return -ENOMEM;

	/* A route is planned once for each of its ports; a person wants to hear of it once. */
	for (size_t i = 0; i < *count; i++)
		if (strcmp((*notes)[i].where, where) == 0 && strcmp((*notes)[i].message, message) == 0)
			return 0;
	note = ARRAY_APPEND(*notes, *count);
	if (!note)
		return -ENOMEM;
	*note = (struct plan_note){ .level = level, .where = TAKE_PTR(where), .message = TAKE_PTR(message) };
	return 0;
}

void notes_free(struct plan_note **notes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free((*notes)[i].where);
		free((*notes)[i].message);
	}
	free(*notes);
	*notes = NULL;
}
