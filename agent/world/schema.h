/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A small decoder of JSON trees into structs, driven by tables: one line a field, so that a kind of object reads like its documentation, and
 * unknown fields, wrong types, values out of range and missing fields are caught in one place for all kinds.
 *
 *     static const struct field duration_fields[] = {
 *             { "intervalSeconds", FIELD_INT, AT(struct experiment, interval_seconds), .min = 1, .max = INT32_MAX, .fallback = 20 },
 *             ...
 *     };
 *
 * Structs start as zeros; after a failed decode they hold a part and are released like whole ones. A field that is null is absent, as in Kubernetes.
 */
#ifndef SHUNT_SCHEMA_H
#define SHUNT_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "world/errors.h"

/* Where the decoder is: a chain on the stack, turned into a path only when there is something to say. */
struct cursor {
	const struct cursor *parent;
	const char *key; /* NULL: an item of a list */
	size_t index;
	json_t *value;
	const json_t *position; /* of yaml.h; NULL when not known */
};

struct decoder {
	const char *file;
	const char *prefix; /* path of the document in its file: "", or "items[3]" in a List */
	int line;           /* of the document */
	struct manifest_errors *errors;
	char ***unsupported; /* list that fields go to which are accepted and not done; of the struct being decoded */
	size_t *unsupported_count;
	int r; /* -ENOMEM, else 0 */
};

enum field_type {
	FIELD_STRING,      /* char *; absent: .text */
	FIELD_ENUM,        /* enum, or bool for two of them: index in .names; absent: .fallback */
	FIELD_BOOL,        /* bool; absent: .fallback */
	FIELD_INT,         /* integer of .size bytes, .min to .max; absent: .fallback */
	FIELD_QUANTITY,    /* double, and a bool at .also that says whether it is there */
	FIELD_OBJECT,      /* struct at .offset, by .schema; absent: its fields are absent */
	FIELD_LIST,        /* pointer to structs by .schema, and their count at .also */
	FIELD_STRINGS,     /* char **, and their count at .also */
	FIELD_STRING_MAP,  /* json_t * object of strings; absent: NULL */
	FIELD_JSON,        /* json_t *, anything (an object, checked against .schema if there is one); absent: NULL */
	FIELD_CUSTOM,      /* .custom decodes it; not called when absent */
	FIELD_ACCEPTED,    /* known, of no use here */
	FIELD_UNSUPPORTED, /* known, not done yet: its path goes to the list of unsupported fields */
	FIELD_TYPE_MAX,
};

#define FIELD_NOT_STORED SIZE_MAX /* .offset of what is checked and not kept */

struct field {
	const char *name;
	enum field_type type;
	size_t offset, size;
	size_t also;
	bool required; /* lists: with at least one item; strings: not empty, unless .empty */
	bool empty;
	bool each;     /* FIELD_UNSUPPORTED: every member by its own path */
	long long min, max;
	long long fallback;
	const char *text;         /* NULL: the pointer stays NULL */
	const char *const *names; /* ends with NULL; holes are not possible */
	const struct schema *schema;
	void (*custom)(struct decoder *d, const struct cursor *at, void *target);
};

struct schema {
	const struct field *fields;
	size_t count;
	size_t size;                            /* of the struct, where it is an item of a list */
	size_t unsupported, unsupported_count;  /* offsets of the struct's own list; 0: the enclosing struct's */
	void (*check)(struct decoder *d, const struct cursor *at, void *target); /* after the fields, when none had an error */
};

#define AT(type, member) .offset = offsetof(type, member), .size = sizeof(((type *)0)->member)
#define COUNT_AT(type, member) .also = offsetof(type, member)
#define ACCEPTED(field_name) { .name = field_name, .type = FIELD_ACCEPTED }
#define UNSUPPORTED(field_name) { .name = field_name, .type = FIELD_UNSUPPORTED }
#define FIELDS(table) .fields = table, .count = ARRAY_SIZE(table)

/* Decodes the object at the cursor into target. Errors go to d->errors, lack of memory to d->r. */
void schema_decode(struct decoder *d, const struct schema *schema, const struct cursor *at, void *target);

/* Decodes the list at the cursor: structs by the schema, which the caller owns also when there were errors. */
void schema_decode_list(struct decoder *d, const struct schema *schema, const struct cursor *at, void **items, size_t *count);

/* The cursor of a member or an item. */
struct cursor cursor_member(const struct cursor *at, const char *key);
struct cursor cursor_item(const struct cursor *at, size_t index);

/* An error about the value at the cursor; one that is absent has the line of the object around it. */
__attribute__((format(printf, 3, 4))) void decode_error(struct decoder *d, const struct cursor *at, const char *format, ...);

/* An error about the type: "found integer 5; allowed: <allowed>". */
void decode_type_error(struct decoder *d, const struct cursor *at, const char *allowed);

/* The path of this value goes to the list of unsupported fields. */
void decode_unsupported(struct decoder *d, const struct cursor *at);

/* A copy of the string at the cursor, or NULL with an error. */
char *decode_string(struct decoder *d, const struct cursor *at);

/* "spec.http[0].route"; the caller frees it; NULL (and d->r) without memory. */
char *decode_path(struct decoder *d, const struct cursor *at);
int decode_line(const struct decoder *d, const struct cursor *at);

/* Appends a string that the list takes over (also on failure). */
void decode_append(struct decoder *d, char ***items, size_t *count, char *item);

#endif
