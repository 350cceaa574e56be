/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/schema.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/quantity.h"
#include "world/yaml.h"

/* ---- where */

struct cursor cursor_member(const struct cursor *at, const char *key)
{
	return (struct cursor){ .parent = at, .key = key, .value = json_object_get(at->value, key), .position = yaml_member(at->position, key) };
}

struct cursor cursor_item(const struct cursor *at, size_t index)
{
	return (struct cursor){ .parent = at, .index = index, .value = json_array_get(at->value, index), .position = yaml_item(at->position, index) };
}

static bool is_plain_key(const char *key)
{
	for (const char *p = key; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("_-", *p))
			return false;
	return *key;
}

static void write_path(FILE *out, const char *prefix, const struct cursor *at)
{
	if (!at->parent) {
		fputs(prefix, out);
		return;
	}
	write_path(out, prefix, at->parent);
	if (!at->key)
		fprintf(out, "[%zu]", at->index);
	else if (!is_plain_key(at->key))
		fprintf(out, "[%s]", at->key); /* an annotation's or a header's name: spec.x[shunt.dev/identity] */
	else
		fprintf(out, "%s%s", ftell(out) ? "." : "", at->key);
}

char *decode_path(struct decoder *d, const struct cursor *at)
{
	char *path = NULL;
	size_t size;
	FILE *out = open_memstream(&path, &size);

	if (!out) {
		d->r = -ENOMEM;
		return NULL;
	}
	write_path(out, d->prefix, at);
	if (fclose(out) == 0)
		return path;
	free(path);
	d->r = -ENOMEM;
	return NULL;
}

int decode_line(const struct decoder *d, const struct cursor *at)
{
	for (; at; at = at->parent)
		if (at->position)
			return yaml_line(at->position);
	return d->line;
}

/* ---- what is wrong */

void decode_error(struct decoder *d, const struct cursor *at, const char *format, ...)
{
	_cleanup_free_ char *path = decode_path(d, at);
	va_list args;

	if (!path)
		return;
	va_start(args, format);
	if (manifest_errors_addv(d->errors, d->file, decode_line(d, at), path, format, args) < 0)
		d->r = -ENOMEM;
	va_end(args);
}

#define FOUND_MAX 60 /* bytes of a text that an error repeats */

void decode_type_error(struct decoder *d, const struct cursor *at, const char *allowed)
{
	const json_t *value = at->value;

	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return decode_error(d, at, "found an object; allowed: %s", allowed);
	case JSON_ARRAY:
		return decode_error(d, at, "found a list; allowed: %s", allowed);
	case JSON_STRING:
		return decode_error(d, at, "found text \"%.*s%s\"; allowed: %s", FOUND_MAX, json_string_value(value),
				    json_string_length(value) > FOUND_MAX ? "..." : "", allowed);
	case JSON_INTEGER:
		return decode_error(d, at, "found integer %" JSON_INTEGER_FORMAT "; allowed: %s", json_integer_value(value), allowed);
	case JSON_REAL:
		return decode_error(d, at, "found number %g; allowed: %s", json_real_value(value), allowed);
	case JSON_TRUE:
	case JSON_FALSE:
		return decode_error(d, at, "found %s; allowed: %s", json_is_true(value) ? "true" : "false", allowed);
	case JSON_NULL:
		return decode_error(d, at, "found null; allowed: %s", allowed);
	}
}

/* Next letter of a name as people confuse them: rollbackOnFailure and rollback_on_failure are spelt alike. */
static const char *skip_separators(const char *p)
{
	while (*p && !isalnum((unsigned char)*p))
		p++;
	return p;
}

#define NAME_MAX_COMPARED 64

/* Levenshtein distance of two names by letters and digits alone, ignoring case. */
static unsigned int name_distance(const char *a, const char *b)
{
	unsigned int row[NAME_MAX_COMPARED + 1], columns = 0;

	for (const char *q = skip_separators(b); *q && columns < NAME_MAX_COMPARED; q = skip_separators(q + 1))
		columns++;
	for (unsigned int i = 0; i <= columns; i++)
		row[i] = i;
	for (const char *p = skip_separators(a); *p; p = skip_separators(p + 1)) {
		const char *q = skip_separators(b);
		unsigned int diagonal = row[0];

		row[0]++;
		for (unsigned int i = 1; i <= columns; i++, q = skip_separators(q + 1)) {
			unsigned int replaced = diagonal + (tolower((unsigned char)*p) != tolower((unsigned char)*q));

			diagonal = row[i];
			row[i] = row[i] < row[i - 1] ? row[i] + 1 : row[i - 1] + 1;
			row[i] = replaced < row[i] ? replaced : row[i];
		}
	}
	return row[columns];
}

struct nearest {
	const char *name;
	unsigned int distance;
};

static void consider(struct nearest *nearest, const char *found, const char *allowed)
{
	unsigned int distance = name_distance(found, allowed);

	if (distance <= (strlen(found) + 1) / 3 && (!nearest->name || distance < nearest->distance))
		*nearest = (struct nearest){ .name = allowed, .distance = distance };
}

/* "found unknown field "foo"; did you mean "bar"? allowed: bar, baz" */
static void error_not_among(struct decoder *d, const struct cursor *at, const char *what, const char *found, const struct nearest *nearest,
			    const char *allowed)
{
	decode_error(d, at, "found %s \"%.*s%s\"; %s%s%sallowed: %s", what, FOUND_MAX, found, strlen(found) > FOUND_MAX ? "..." : "",
		     nearest->name ? "did you mean \"" : "", nearest->name ? nearest->name : "", nearest->name ? "\"? " : "", allowed);
}

static void error_unknown_field(struct decoder *d, const struct schema *schema, const struct cursor *at)
{
	_cleanup_free_ char *allowed = NULL;
	struct nearest nearest = {};
	size_t size;
	FILE *out = open_memstream(&allowed, &size);

	if (!out) {
		d->r = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < schema->count; i++) {
		fprintf(out, "%s%s", i ? ", " : "", schema->fields[i].name);
		consider(&nearest, at->key, schema->fields[i].name);
	}
	if (fclose(out) == 0)
		error_not_among(d, at, "unknown field", at->key, &nearest, allowed);
	else
		d->r = -ENOMEM;
}

static void error_enum(struct decoder *d, const struct field *field, const struct cursor *at)
{
	_cleanup_free_ char *allowed = NULL;
	struct nearest nearest = {};
	size_t size;
	FILE *out = open_memstream(&allowed, &size);

	if (!out) {
		d->r = -ENOMEM;
		return;
	}
	for (const char *const *name = field->names; *name; name++) {
		fprintf(out, "%s%s", name == field->names ? "" : ", ", *name);
		if (json_is_string(at->value))
			consider(&nearest, json_string_value(at->value), *name);
	}
	if (fclose(out) != 0)
		d->r = -ENOMEM;
	else if (json_is_string(at->value))
		error_not_among(d, at, "text", json_string_value(at->value), &nearest, allowed);
	else
		decode_type_error(d, at, allowed);
}

void decode_append(struct decoder *d, char ***items, size_t *count, char *item)
{
	char **bigger;

	if (!item)
		return;
	bigger = reallocarray(*items, *count + 1, sizeof(*bigger));
	if (!bigger) {
		free(item);
		d->r = -ENOMEM;
		return;
	}
	bigger[(*count)++] = item;
	*items = bigger;
}

void decode_unsupported(struct decoder *d, const struct cursor *at)
{
	decode_append(d, d->unsupported, d->unsupported_count, decode_path(d, at));
}

/* ---- one reader a type */

static void *slot(const struct field *field, void *target)
{
	return field->offset == FIELD_NOT_STORED ? NULL : (char *)target + field->offset;
}

static size_t *count_slot(const struct field *field, void *target)
{
	return (size_t *)((char *)target + field->also);
}

static void store_string(struct decoder *d, char **to, const char *text)
{
	free(*to);
	*to = strdup(text);
	if (!*to)
		d->r = -ENOMEM;
}

/* Little-endian or not: through a type of the right width. */
static void store_integer(const struct field *field, void *to, long long value)
{
	if (!to)
		return;
	if (field->size == sizeof(bool))
		*(bool *)to = value;
	else if (field->size == sizeof(int16_t))
		*(int16_t *)to = (int16_t)value;
	else if (field->size == sizeof(int32_t))
		*(int32_t *)to = (int32_t)value;
	else
		*(int64_t *)to = value;
}

char *decode_string(struct decoder *d, const struct cursor *at)
{
	char *copy;

	if (json_is_integer(at->value) || json_is_real(at->value) || json_is_boolean(at->value)) {
		decode_type_error(d, at, "text; quote it");
		return NULL;
	}
	if (!json_is_string(at->value)) {
		decode_type_error(d, at, "text");
		return NULL;
	}
	copy = strdup(json_string_value(at->value));
	if (!copy)
		d->r = -ENOMEM;
	return copy;
}

static void read_string(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	_cleanup_free_ char *text = decode_string(d, at);
	char **to = slot(field, target);

	if (!text)
		return;
	if (field->required && !field->empty && !*text)
		return decode_error(d, at, "found an empty text; allowed: one that is not");
	if (to) {
		free(*to);
		*to = TAKE_PTR(text);
	}
}

static void read_enum(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	for (int i = 0; json_is_string(at->value) && field->names[i]; i++)
		if (strcmp(json_string_value(at->value), field->names[i]) == 0)
			return store_integer(field, slot(field, target), i);
	error_enum(d, field, at);
}

static void read_bool(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	bool *to = slot(field, target);

	if (!json_is_boolean(at->value))
		return decode_type_error(d, at, "true, false");
	if (to)
		*to = json_is_true(at->value);
}

static void read_int(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	json_int_t value = json_integer_value(at->value);
	char allowed[80];

	if (json_is_integer(at->value) && value >= field->min && value <= field->max)
		return store_integer(field, slot(field, target), value);
	snprintf(allowed, sizeof(allowed), "an integer from %lld to %lld", field->min, field->max);
	decode_type_error(d, at, allowed);
}

static void read_quantity(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	static const char allowed[] = "an integer, or a quantity in quotes such as \"0.01\", \"10m\", \"5k\", \"1Ki\", \"1e3\"";
	double value;

	if (json_is_integer(at->value))
		value = (double)json_integer_value(at->value);
	else if (!json_is_string(at->value) || quantity_parse(json_string_value(at->value), &value) < 0)
		return decode_type_error(d, at, allowed);
	*(double *)slot(field, target) = value;
	if (field->also)
		*(bool *)((char *)target + field->also) = true;
}

static void read_object(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	schema_decode(d, field->schema, at, (char *)target + field->offset);
}

/* A list's items, all zeros yet. NULL: there are none, or there is an error. */
static void *list_begin(struct decoder *d, const struct cursor *at, size_t item_size, size_t *ret_count)
{
	size_t count = json_array_size(at->value);
	void *items;

	if (!json_is_array(at->value)) {
		decode_type_error(d, at, "a list");
		return NULL;
	}
	if (!count)
		return NULL;
	items = calloc(count, item_size);
	if (!items)
		d->r = -ENOMEM;
	else
		*ret_count = count;
	return items;
}

static bool refuse_empty_list(struct decoder *d, const struct field *field, const struct cursor *at)
{
	if (!field->required || !json_is_array(at->value) || json_array_size(at->value))
		return false;
	decode_error(d, at, "found an empty list; allowed: at least one entry");
	return true;
}

void schema_decode_list(struct decoder *d, const struct schema *schema, const struct cursor *at, void **items, size_t *count)
{
	char *item = *items = list_begin(d, at, schema->size, count);

	for (size_t i = 0; item && i < *count; i++, item += schema->size) {
		struct cursor item_at = cursor_item(at, i);

		schema_decode(d, schema, &item_at, item);
	}
}

static void read_list(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	if (!refuse_empty_list(d, field, at))
		schema_decode_list(d, field->schema, at, slot(field, target), count_slot(field, target));
}

static void read_strings(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	char **items;

	if (refuse_empty_list(d, field, at))
		return;
	items = list_begin(d, at, sizeof(char *), count_slot(field, target));
	*(char ***)slot(field, target) = items;
	for (size_t i = 0; items && i < *count_slot(field, target); i++) {
		struct cursor item = cursor_item(at, i);

		items[i] = decode_string(d, &item);
		if (items[i] && !*items[i])
			decode_error(d, &item, "found an empty text; allowed: one that is not");
	}
}

static void store_json(const struct field *field, const struct cursor *at, void *target)
{
	json_t **to = slot(field, target);

	if (to)
		*to = json_incref(at->value);
}

static void read_string_map(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	const char *key;
	json_t *value;

	if (!json_is_object(at->value))
		return decode_type_error(d, at, "an object of texts");
	json_object_foreach(at->value, key, value) {
		struct cursor member = cursor_member(at, key);

		free(decode_string(d, &member));
	}
	store_json(field, at, target);
}

static void read_json(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	if (field->schema)
		schema_decode(d, field->schema, at, NULL); /* whose fields are not stored */
	store_json(field, at, target);
}

static void read_custom(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	field->custom(d, at, target);
}

static void read_accepted(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	(void)d, (void)field, (void)at, (void)target;
}

static void read_unsupported(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	const char *key;
	json_t *value;

	(void)target;
	if (!field->each || !json_is_object(at->value))
		return decode_unsupported(d, at);
	json_object_foreach(at->value, key, value) {
		struct cursor member = cursor_member(at, key);

		decode_unsupported(d, &member);
	}
}

static void (*const readers[FIELD_TYPE_MAX])(struct decoder *d, const struct field *field, const struct cursor *at, void *target) = {
	[FIELD_STRING] = read_string,         [FIELD_ENUM] = read_enum,         [FIELD_BOOL] = read_bool,
	[FIELD_INT] = read_int,               [FIELD_QUANTITY] = read_quantity, [FIELD_OBJECT] = read_object,
	[FIELD_LIST] = read_list,             [FIELD_STRINGS] = read_strings,   [FIELD_STRING_MAP] = read_string_map,
	[FIELD_JSON] = read_json,             [FIELD_CUSTOM] = read_custom,     [FIELD_ACCEPTED] = read_accepted,
	[FIELD_UNSUPPORTED] = read_unsupported,
};

/* ---- an object */

static void set_absent(struct decoder *d, const struct field *field, void *target)
{
	void *to = slot(field, target);

	if (!to)
		return;
	switch (field->type) {
	case FIELD_STRING:
		if (field->text)
			store_string(d, to, field->text);
		break;
	case FIELD_BOOL:
		*(bool *)to = field->fallback;
		break;
	case FIELD_ENUM:
	case FIELD_INT:
		store_integer(field, to, field->fallback);
		break;
	case FIELD_OBJECT:
		for (size_t i = 0; i < field->schema->count; i++)
			set_absent(d, &field->schema->fields[i], to);
		break;
	default: /* zeros */
		break;
	}
}

static void decode_field(struct decoder *d, const struct field *field, const struct cursor *at, void *target)
{
	struct cursor member = cursor_member(at, field->name);

	if (member.value && !json_is_null(member.value))
		return readers[field->type](d, field, &member, target);
	if (field->required)
		decode_error(d, &member, "missing; it is required");
	set_absent(d, field, target);
}

static bool knows_field(const struct schema *schema, const char *name)
{
	for (size_t i = 0; i < schema->count; i++)
		if (strcmp(schema->fields[i].name, name) == 0)
			return true;
	return false;
}

void schema_decode(struct decoder *d, const struct schema *schema, const struct cursor *at, void *target)
{
	char ***unsupported = d->unsupported;
	size_t *unsupported_count = d->unsupported_count;
	size_t errors = d->errors->count;
	const char *key;
	json_t *value;

	if (!json_is_object(at->value))
		return decode_type_error(d, at, "an object");
	if (schema->unsupported_count) {
		d->unsupported = (char ***)((char *)target + schema->unsupported);
		d->unsupported_count = (size_t *)((char *)target + schema->unsupported_count);
	}
	json_object_foreach(at->value, key, value) {
		struct cursor member = cursor_member(at, key);

		if (!knows_field(schema, key))
			error_unknown_field(d, schema, &member);
	}
	for (size_t i = 0; i < schema->count; i++)
		decode_field(d, &schema->fields[i], at, target);
	if (schema->check && d->errors->count == errors && d->r == 0)
		schema->check(d, at, target);
	d->unsupported = unsupported;
	d->unsupported_count = unsupported_count;
}
