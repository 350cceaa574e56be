/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Secret (v1): `data` in base64, `stringData` as it is and in its place where both have a key. No message shows a value, and the document as it was written
 * is forgotten once it is read.
 */
#include "world/kinds.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "util/base64.h"
#include "util/cleanup.h"

/* One newline at the end is not part of a value, as in the files of reading/secret.h. null: bytes that are no text, which no header or URL could carry. */
static json_t *value_json(const char *value, size_t size)
{
	json_t *text = json_stringn(value, size && value[size - 1] == '\n' ? size - 1 : size);

	return text ? text : json_null();
}

static void set_value(struct decoder *d, struct secret *secret, const char *key, json_t *value)
{
	if (!secret->data)
		secret->data = json_object();
	if (json_object_set_new(secret->data, key, value) < 0)
		d->r = -ENOMEM;
}

static void decode_encoded(struct decoder *d, const struct cursor *at, struct secret *secret)
{
	_cleanup_free_ char *value = NULL;
	size_t size;
	int r = base64_decode(json_string_value(at->value), &value, &size);

	if (r == -ENOMEM)
		d->r = r;
	else if (r < 0)
		decode_error(d, at, "found text that is no base64 (it is not shown); allowed: base64, or the value itself under stringData");
	else if (!json_object_get(secret->data, at->key)) /* stringData goes before data */
		set_value(d, secret, at->key, value_json(value, size));
}

static void decode_values(struct decoder *d, const struct cursor *at, void *target)
{
	bool encoded = strcmp(at->key, "data") == 0;
	const char *key;
	json_t *value;

	if (!json_is_object(at->value)) {
		decode_error(d, at, "found no object (it is not shown); allowed: an object of strings");
		return;
	}
	json_object_foreach(at->value, key, value) {
		struct cursor item = cursor_member(at, key);

		if (!json_is_string(value))
			decode_error(d, &item, "found no string (it is not shown); allowed: a string, numbers in quotes");
		else if (encoded)
			decode_encoded(d, &item, target);
		else
			set_value(d, target, key, value_json(json_string_value(value), json_string_length(value)));
	}
}

static void check_secret(struct decoder *d, const struct cursor *at, void *target)
{
	struct secret *secret = target;
	struct stat st;

	(void)at;
	secret->exposed = stat(d->file, &st) == 0 && (st.st_mode & S_IROTH);
	json_decref(secret->meta.document);
	secret->meta.document = NULL;
}

/* stringData before data, because it wins. */
static const struct field secret_fields[] = {
	ACCEPTED("apiVersion"),
	ACCEPTED("kind"),
	METADATA_FIELD,
	ACCEPTED("type"),
	ACCEPTED("immutable"),
	{ "stringData", FIELD_CUSTOM, .custom = decode_values },
	{ "data", FIELD_CUSTOM, .custom = decode_values },
};

const struct schema secret_schema = { FIELDS(secret_fields), .check = check_secret };

void secret_release(void *object)
{
	struct secret *secret = object;

	json_decref(secret->data);
}
