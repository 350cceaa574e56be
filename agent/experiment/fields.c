/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/fields.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "util/cleanup.h"

struct field_name {
	const char *parent; /* "" at the top */
	const char *name;
	json_type type;
};

/* In the order in which messages name them. */
static const struct field_name known[] = {
	{ "", "apiVersion", JSON_STRING },
	{ "", "kind", JSON_STRING },
	{ "", "metadata", JSON_OBJECT },
	{ "", "spec", JSON_OBJECT },
	{ "", "status", JSON_OBJECT },
	{ "", "name", JSON_STRING }, /* what Go embeds from metadata */
	{ "", "namespace", JSON_STRING },
	{ "", "labels", JSON_OBJECT },
	{ "", "annotations", JSON_OBJECT },
	{ "", "objectMeta", JSON_OBJECT },
	{ "spec", "target", JSON_STRING },
	{ "spec", "versionInfo", JSON_OBJECT },
	{ "spec", "strategy", JSON_OBJECT },
	{ "spec", "criteria", JSON_OBJECT },
	{ "spec", "duration", JSON_OBJECT },
	{ "status", "conditions", JSON_ARRAY },
	{ "status", "initTime", JSON_STRING },
	{ "status", "startTime", JSON_STRING },
	{ "status", "lastUpdateTime", JSON_STRING },
	{ "status", "stage", JSON_STRING },
	{ "status", "completedIterations", JSON_INTEGER },
	{ "status", "currentWeightDistribution", JSON_ARRAY },
	{ "status", "analysis", JSON_OBJECT },
	{ "status", "versionRecommendedForPromotion", JSON_STRING },
	{ "status", "message", JSON_STRING },
	{ "status", "metrics", JSON_ARRAY },
	{ "status", "shunt", JSON_OBJECT },
};

/* As template_member() finds it: as written here, or with a capital first letter. */
static bool is_spelled(const char *name, const char *text, size_t length)
{
	return strlen(name) == length && strncasecmp(name, text, 1) == 0 && strncmp(name + 1, text + 1, length - 1) == 0;
}

static const struct field_name *find(const char *parent, const char *text, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].parent, parent) == 0 && is_spelled(known[i].name, text, length))
			return &known[i];
	}
	return NULL;
}

static bool has_children(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].parent, name) == 0)
			return true;
	}
	return false;
}

/* The length of the first name of a path. */
static size_t first_name(const char *path, size_t length)
{
	const char *dot = memchr(path, '.', length);

	return dot ? (size_t)(dot - path) : length;
}

bool field_known(const char *path, size_t length, json_type *ret_type)
{
	size_t n = first_name(path, length);
	const struct field_name *field = find("", path, n);

	if (field && n < length && has_children(field->name)) {
		path += n + 1;
		length -= n + 1;
		n = first_name(path, length);
		field = find(field->name, path, n);
	}
	if (!field)
		return false;
	*ret_type = n < length ? JSON_NULL : field->type;
	return true;
}

char *field_advice(const char *path, size_t length)
{
	const struct field_name *top = find("", path, first_name(path, length));
	const char *parent = top && has_children(top->name) ? top->name : "";
	_cleanup_free_ char *text = NULL;
	const char *comma = " has ";
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs(*parent ? parent : "an Experiment", out);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcmp(known[i].parent, parent) != 0)
			continue;
		fprintf(out, "%s%s", comma, known[i].name);
		comma = ", ";
	}
	return fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}
