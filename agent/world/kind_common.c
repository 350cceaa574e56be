/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What all kinds share: metadata (k8s.io/apimachinery ObjectMeta), names, small lists. */
#include "world/kinds.h"

#include <string.h>
#include <time.h>

#include "util/cleanup.h"

/* RFC 1123 names, which are also safe in file names: a status file is called after its object. */
static bool is_name(const char *text, size_t length_max, bool dots)
{
	static const char alphanumerical[] = "abcdefghijklmnopqrstuvwxyz0123456789";
	size_t length = strlen(text);

	if (!length || length > length_max || !strchr(alphanumerical, text[0]) || !strchr(alphanumerical, text[length - 1]))
		return false;
	for (const char *p = text; *p; p++)
		if (!strchr(alphanumerical, *p) && *p != '-' && !(dots && *p == '.'))
			return false;
	return true;
}

static void check_metadata(struct decoder *d, const struct cursor *at, void *target)
{
	struct object_meta *meta = target;
	struct cursor name = cursor_member(at, "name"), ns = cursor_member(at, "namespace");

	if (!is_name(meta->name, 253, true))
		decode_type_error(d, &name, "lower case letters, digits, - and ., at most 253, letters or digits at both ends");
	if (!is_name(meta->ns, 63, false))
		decode_type_error(d, &ns, "lower case letters, digits and -, at most 63, letters or digits at both ends");
}

static void decode_created(struct decoder *d, const struct cursor *at, void *target)
{
	struct object_meta *meta = target;
	_cleanup_free_ char *text = decode_string(d, at);
	struct tm tm = {};
	const char *end;

	if (!text)
		return;
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end)
		return decode_type_error(d, at, "a time such as 2021-06-02T10:00:00Z");
	meta->created = timegm(&tm);
}

static const struct field metadata_fields[] = {
	{ "name", FIELD_STRING, AT(struct object_meta, name), .required = true },
	{ "namespace", FIELD_STRING, AT(struct object_meta, ns), .text = "default" },
	{ "annotations", FIELD_STRING_MAP, AT(struct object_meta, annotations) },
	{ "labels", FIELD_STRING_MAP, .offset = FIELD_NOT_STORED },
	{ "creationTimestamp", FIELD_CUSTOM, .custom = decode_created },
	ACCEPTED("deletionGracePeriodSeconds"),
	ACCEPTED("deletionTimestamp"),
	ACCEPTED("finalizers"),
	ACCEPTED("generateName"),
	ACCEPTED("generation"),
	ACCEPTED("managedFields"),
	ACCEPTED("ownerReferences"),
	ACCEPTED("resourceVersion"),
	ACCEPTED("selfLink"),
	ACCEPTED("uid"),
};

const struct schema metadata_schema = { FIELDS(metadata_fields), .check = check_metadata };

static const struct field variable_fields[] = {
	{ "name", FIELD_STRING, AT(struct variable, name), .required = true },
	{ "value", FIELD_STRING, AT(struct variable, value), .required = true, .empty = true },
};

const struct schema variable_schema = { FIELDS(variable_fields), .size = sizeof(struct variable) };

void variables_free(struct variable *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(items[i].name);
		free(items[i].value);
	}
	free(items);
}

void strings_free(char **items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free(items[i]);
	free(items);
}

void object_meta_release(struct object_meta *meta)
{
	free(meta->ns);
	free(meta->name);
	free(meta->file);
	json_decref(meta->annotations);
	json_decref(meta->document);
}
