/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "util/cleanup.h"

/* A position is [line], [line, {key: position}] or [line, [position]]. */

struct builder {
	yaml_parser_t parser;
	const char *text; /* this part */
	size_t size;
	int line_base; /* lines before it */
	int depth;
	size_t nodes;
	char *error;
	int error_line;
};

static int build_node(struct builder *b, const yaml_event_t *event, int line, json_t **ret_value, json_t **ret_position);

/* Remembers what is wrong and where; the first error ends the document. */
__attribute__((format(printf, 3, 4))) static int fail(struct builder *b, int line, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(&b->error, format, args);
	va_end(args);
	if (r < 0) {
		b->error = NULL;
		return -ENOMEM;
	}
	b->error_line = line;
	return -EINVAL;
}

static int event_line(const struct builder *b, const yaml_event_t *event)
{
	return b->line_base + (int)event->start_mark.line + 1;
}

/* The reader runs ahead of the parser, so its errors are known by their place in the text. */
static int fail_reader(struct builder *b)
{
	int line = b->line_base + 1;

	for (size_t i = 0; i < b->parser.problem_offset && i < b->size; i++)
		line += b->text[i] == '\n';
	return fail(b, line, "not YAML: %s", b->parser.problem);
}

static int next_event(struct builder *b, yaml_event_t *event)
{
	const yaml_parser_t *p = &b->parser;
	int line;

	if (yaml_parser_parse(&b->parser, event))
		return 0;
	if (p->error == YAML_MEMORY_ERROR)
		return -ENOMEM;
	if (p->error == YAML_READER_ERROR)
		return fail_reader(b);
	line = b->line_base + (int)p->problem_mark.line + 1;
	if (!p->context || p->context_mark.line == p->problem_mark.line)
		return fail(b, line, "not YAML: %s (column %zu)", p->problem, p->problem_mark.column + 1);
	return fail(b, line, "not YAML: %s (column %zu), %s that begins in line %d", p->problem, p->problem_mark.column + 1, p->context,
		    b->line_base + (int)p->context_mark.line + 1);
}

static bool one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcmp(text, *words) == 0)
			return true;
	return false;
}

/* 1, +12, -3, 0x1F, 0o17. What comes is made of digits alone, so that strtoll's own liberties (white space, other bases) never apply. */
static int resolve_integer(struct builder *b, const char *text, int line, json_t **ret_value)
{
	bool sign = *text == '-' || *text == '+';
	const char *digits = text + sign;
	long long value;
	int base = 10;

	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o')) {
		base = digits[1] == 'x' ? 16 : 8;
		text = digits + 2;
	} else if (digits[0] == '0' && digits[1]) {
		return fail(b, line, "found %s: octal in YAML 1.1 and decimal in YAML 1.2; quote it, or leave out the leading zero", text);
	}
	errno = 0;
	value = strtoll(text, NULL, base);
	if (errno)
		return fail(b, line, "found integer %s: beyond 64 bits; quote it if it is text", text);
	*ret_value = json_integer(value);
	return *ret_value ? 0 : -ENOMEM;
}

static int resolve_float(struct builder *b, const char *text, int line, json_t **ret_value)
{
	double value = strtod(text, NULL);

	if (!isfinite(value))
		return fail(b, line, "found number %s: too large; quote it if it is text", text);
	*ret_value = json_real(value);
	return *ret_value ? 0 : -ENOMEM;
}

enum number { NUMBER_NONE, NUMBER_INTEGER, NUMBER_FLOAT };

static enum number number_of(const char *text)
{
	const char *p = text + (*text == '-' || *text == '+');
	size_t whole, fraction = 0;

	if (p == text && p[0] == '0' && p[1] == 'x')
		return p[2] && !p[2 + strspn(p + 2, "0123456789abcdefABCDEF")] ? NUMBER_INTEGER : NUMBER_NONE;
	if (p == text && p[0] == '0' && p[1] == 'o')
		return p[2] && !p[2 + strspn(p + 2, "01234567")] ? NUMBER_INTEGER : NUMBER_NONE;
	whole = strspn(p, "0123456789");
	p += whole;
	if (!*p)
		return whole ? NUMBER_INTEGER : NUMBER_NONE;
	if (*p == '.') {
		fraction = strspn(++p, "0123456789");
		p += fraction;
	}
	if (!whole && !fraction)
		return NUMBER_NONE;
	if (*p == 'e' || *p == 'E') {
		p += 1 + (p[1] == '-' || p[1] == '+');
		whole = strspn(p, "0123456789");
		if (!whole)
			return NUMBER_NONE;
		p += whole;
	}
	return *p ? NUMBER_NONE : NUMBER_FLOAT;
}

/* The YAML 1.2 core schema (section 10.3.2 of the specification). */
static int resolve_plain(struct builder *b, const char *text, size_t length, int line, json_t **ret_value)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL", NULL };
	static const char *const trues[] = { "true", "True", "TRUE", NULL };
	static const char *const falses[] = { "false", "False", "FALSE", NULL };
	static const char *const odd[] = { ".nan",  ".NaN",  ".NAN",  ".inf",  ".Inf",  ".INF", "+.inf",
					   "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", NULL };

	if (one_of(text, odd))
		return fail(b, line, "found %s: not a finite number; quote it if it is text", text);
	if (one_of(text, nulls))
		*ret_value = json_null();
	else if (one_of(text, trues))
		*ret_value = json_true();
	else if (one_of(text, falses))
		*ret_value = json_false();
	else if (number_of(text) == NUMBER_INTEGER)
		return resolve_integer(b, text, line, ret_value);
	else if (number_of(text) == NUMBER_FLOAT)
		return resolve_float(b, text, line, ret_value);
	else
		*ret_value = json_stringn_nocheck(text, length); /* libyaml has checked the UTF-8 */
	return *ret_value ? 0 : -ENOMEM;
}

static int build_scalar(struct builder *b, const yaml_event_t *event, int line, json_t **ret_value)
{
	const char *text = (const char *)event->data.scalar.value;
	size_t length = event->data.scalar.length;
	const char *tag = (const char *)event->data.scalar.tag;

	if (strlen(text) != length)
		return fail(b, line, "found a text with a NUL character");
	if (tag && strcmp(tag, YAML_STR_TAG) != 0 && strcmp(tag, "!") != 0)
		return fail(b, line, "found tag %s; allowed: none, or !!str", tag);
	if (!tag && event->data.scalar.plain_implicit)
		return resolve_plain(b, text, length, line, ret_value);
	*ret_value = json_stringn_nocheck(text, length);
	return *ret_value ? 0 : -ENOMEM;
}

static int build_sequence(struct builder *b, json_t *values, json_t *positions)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = {};
		json_t *value, *position;
		int r = next_event(b, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_SEQUENCE_END_EVENT)
			return 0;
		r = build_node(b, &event, event_line(b, &event), &value, &position);
		if (r < 0)
			return r;
		/* both take their reference, also when they fail */
		r = json_array_append_new(values, value);
		r |= json_array_append_new(positions, position);
		if (r < 0)
			return -ENOMEM;
	}
}

static int check_key(struct builder *b, const yaml_event_t *event, const json_t *positions)
{
	const char *key = (const char *)event->data.scalar.value;
	int line = event_line(b, event);

	if (event->type == YAML_ALIAS_EVENT)
		return fail(b, line, "found alias *%s as a key; write the key out", (const char *)event->data.alias.anchor);
	if (event->type != YAML_SCALAR_EVENT)
		return fail(b, line, "found a key that is a list or a mapping; allowed: text");
	if (strlen(key) != event->data.scalar.length)
		return fail(b, line, "found a key with a NUL character");
	if (json_object_get(positions, key))
		return fail(b, line, "found key \"%s\" twice in one mapping, first in line %d", key, yaml_line(json_object_get(positions, key)));
	return 0;
}

static int build_mapping(struct builder *b, json_t *values, json_t *positions)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t key_event = {};
		_cleanup_(yaml_event_delete) yaml_event_t event = {};
		const char *key;
		json_t *value, *position;
		int r = next_event(b, &key_event);

		if (r < 0)
			return r;
		if (key_event.type == YAML_MAPPING_END_EVENT)
			return 0;
		r = check_key(b, &key_event, positions);
		if (r < 0)
			return r;
		r = next_event(b, &event);
		if (r < 0)
			return r;
		r = build_node(b, &event, event_line(b, &key_event), &value, &position);
		if (r < 0)
			return r;
		key = (const char *)key_event.data.scalar.value;
		r = json_object_set_new_nocheck(values, key, value);
		r |= json_object_set_new_nocheck(positions, key, position);
		if (r < 0)
			return -ENOMEM;
	}
}

/* What begins with a SEQUENCE_START or MAPPING_START event. */
static int build_collection(struct builder *b, bool mapping, int line, json_t **ret_value, json_t **ret_children)
{
	_cleanup_json_ json_t *value = mapping ? json_object() : json_array();
	_cleanup_json_ json_t *children = mapping ? json_object() : json_array();
	int r;

	if (!value || !children)
		return -ENOMEM;
	if (b->depth == YAML_DEPTH_MAX)
		return fail(b, line, "nested deeper than %d levels", YAML_DEPTH_MAX);
	b->depth++;
	r = mapping ? build_mapping(b, value, children) : build_sequence(b, value, children);
	b->depth--;
	if (r < 0)
		return r;
	*ret_value = TAKE_PTR(value);
	*ret_children = TAKE_PTR(children);
	return 0;
}

/* The value that begins with this event, and its position, whose line is given: a mapping's members are where their keys are. */
static int build_node(struct builder *b, const yaml_event_t *event, int line, json_t **ret_value, json_t **ret_position)
{
	_cleanup_json_ json_t *value = NULL;
	_cleanup_json_ json_t *children = NULL;
	_cleanup_json_ json_t *position = json_pack("[i]", line);
	int r;

	if (!position)
		return -ENOMEM;
	if (++b->nodes > YAML_NODES_MAX)
		return fail(b, line, "more than %d values in one document", YAML_NODES_MAX);

	if (event->type == YAML_SCALAR_EVENT)
		r = build_scalar(b, event, line, &value);
	else if (event->type == YAML_ALIAS_EVENT)
		r = fail(b, line, "found alias *%s; aliases are not read, write the value out", (const char *)event->data.alias.anchor);
	else
		r = build_collection(b, event->type == YAML_MAPPING_START_EVENT, line, &value, &children);
	if (r < 0)
		return r;
	if (children && json_array_append(position, children) < 0)
		return -ENOMEM;
	*ret_value = TAKE_PTR(value);
	*ret_position = TAKE_PTR(position);
	return 0;
}

static int append_document(struct yaml_document **documents, size_t *count, const struct yaml_document *document)
{
	struct yaml_document *bigger = reallocarray(*documents, *count + 1, sizeof(*bigger));

	if (!bigger)
		return -ENOMEM;
	bigger[(*count)++] = *document;
	*documents = bigger;
	return 0;
}

/* The next document of the part. Returns 1, 0 at the end, -EINVAL with b->error, -ENOMEM. */
static int build_document(struct builder *b, struct yaml_document *ret_document)
{
	for (;;) {
		_cleanup_(yaml_event_delete) yaml_event_t event = {};
		int r = next_event(b, &event);

		if (r < 0)
			return r;
		if (event.type == YAML_STREAM_END_EVENT)
			return 0;
		if (event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT)
			continue;
		b->nodes = 0;
		ret_document->line = event_line(b, &event);
		r = build_node(b, &event, ret_document->line, &ret_document->root, &ret_document->positions);
		return r < 0 ? r : 1;
	}
}

static void document_release(struct yaml_document *document)
{
	json_decref(document->root);
	json_decref(document->positions);
	free(document->error);
}

static int parse_part(const char *text, size_t size, int line_base, struct yaml_document **documents, size_t *count)
{
	struct builder b = { .text = text, .size = size, .line_base = line_base };
	int r;

	if (!yaml_parser_initialize(&b.parser))
		return -ENOMEM;
	yaml_parser_set_input_string(&b.parser, (const unsigned char *)text, size);
	do {
		struct yaml_document document = {};
		int added = 0;

		r = build_document(&b, &document);
		if (r == -EINVAL) {
			document.error = TAKE_PTR(b.error);
			document.line = b.error_line;
		}
		if (document.error || (r > 0 && !json_is_null(document.root)))
			added = append_document(documents, count, &document);
		else
			document_release(&document);
		if (added < 0) {
			document_release(&document);
			r = added;
		}
	} while (r > 0);
	yaml_parser_delete(&b.parser);
	return r == -ENOMEM ? r : 0;
}

/* "---" or "..." alone on a line or followed by white space. */
static bool is_marker(const char *line, const char *end, const char *marker)
{
	return end - line >= 3 && memcmp(line, marker, 3) == 0 && (end - line == 3 || strchr(" \t\r\n", line[3]));
}

/* Neither white space nor comment nor directive nor the start marker by itself: something that the document consists of. */
static bool has_content(const char *line, const char *end)
{
	if (line < end && *line == '%')
		return false;
	if (is_marker(line, end, "---"))
		line += 3;
	while (line < end && strchr(" \t\r\n", *line))
		line++;
	return line < end && *line != '#';
}

int yaml_parse(const char *text, size_t size, struct yaml_document **ret_documents, size_t *ret_count)
{
	struct yaml_document *documents = NULL;
	const char *end = text + size, *part = text, *line = text;
	size_t count = 0;
	int line_number = 0, part_line = 0, r = 0;
	bool content = false;

	while (line < end && r == 0) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *next = newline ? newline + 1 : end;
		bool start = is_marker(line, next, "---"), stop = is_marker(line, next, "...");

		if ((start && content) || stop) {
			const char *part_end = start ? line : next;

			if (content)
				r = parse_part(part, (size_t)(part_end - part), part_line, &documents, &count);
			part = part_end;
			part_line = start ? line_number : line_number + 1;
			content = false;
		}
		content |= !stop && has_content(line, next);
		line = next;
		line_number++;
	}
	if (r == 0 && content)
		r = parse_part(part, (size_t)(end - part), part_line, &documents, &count);
	if (r < 0) {
		yaml_documents_free(documents, count);
		return r;
	}
	*ret_documents = documents;
	*ret_count = count;
	return 0;
}

void yaml_documents_free(struct yaml_document *documents, size_t count)
{
	for (size_t i = 0; i < count; i++)
		document_release(&documents[i]);
	free(documents);
}

int yaml_line(const json_t *position)
{
	return (int)json_integer_value(json_array_get(position, 0));
}

const json_t *yaml_member(const json_t *position, const char *key)
{
	return json_object_get(json_array_get(position, 1), key);
}

const json_t *yaml_item(const json_t *position, size_t index)
{
	return json_array_get(json_array_get(position, 1), index);
}
