/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/yamlout.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <yaml.h>

#include "util/cleanup.h"

#define LINE_WIDTH 150

static bool is_reserved(const char *text)
{
	static const char *const words[] = { "null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(text, words[i]) == 0)
			return true;
	}
	return false;
}

/* Starts like a number and is a quantity: 10023m. */
static bool is_quantity(const char *text, size_t length)
{
	char *end;

	strtod(text, &end);
	return *end && strchr("numkMGTPE", text[length - 1]) && strspn(text, "0123456789") == length - 1;
}

/* What every reader of YAML 1.1 and 1.2 takes for a string without quotes. */
static bool is_plain(const char *text)
{
	size_t length = strlen(text);

	if (length == 0 || is_reserved(text) || text[length - 1] == ' ' || strlen(text) > LINE_WIDTH)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr(" _./()%-", text[i]))
			return false;
	}
	return isalpha((unsigned char)text[0]) || is_quantity(text, length);
}

static int emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
	if (!made)
		return -ENOMEM;
	return yaml_emitter_emit(emitter, event) ? 0 : -EIO;
}

static int write_scalar(yaml_emitter_t *emitter, const char *text, bool plain)
{
	yaml_event_t event;
	yaml_scalar_style_t style = plain ? YAML_PLAIN_SCALAR_STYLE : strchr(text, '\n') ? YAML_DOUBLE_QUOTED_SCALAR_STYLE : YAML_SINGLE_QUOTED_SCALAR_STYLE;

	return emit(emitter, &event,
		    yaml_scalar_event_initialize(&event, NULL, NULL, (yaml_char_t *)text, (int)strlen(text), plain, !plain, style));
}

static int write_value(yaml_emitter_t *emitter, const json_t *json);

static int compare_keys(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int write_object(yaml_emitter_t *emitter, const json_t *json)
{
	_cleanup_free_ const char **keys = calloc(json_object_size(json) + 1, sizeof(*keys));
	yaml_event_t event;
	const char *key;
	size_t n = 0;
	json_t *value;
	int r;

	if (!keys)
		return -ENOMEM;
	json_object_foreach((json_t *)json, key, value)
		keys[n++] = key;
	qsort(keys, n, sizeof(*keys), compare_keys);
	r = emit(emitter, &event,
		 yaml_mapping_start_event_initialize(&event, NULL, NULL, 1, n ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE));
	for (size_t i = 0; i < n && r == 0; i++) {
		r = write_scalar(emitter, keys[i], is_plain(keys[i]));
		if (r == 0)
			r = write_value(emitter, json_object_get(json, keys[i]));
	}
	return r < 0 ? r : emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
}

static int write_array(yaml_emitter_t *emitter, const json_t *json)
{
	yaml_event_t event;
	const json_t *value;
	size_t i;
	int r = emit(emitter, &event,
		     yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
							  json_array_size(json) ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE));

	json_array_foreach(json, i, value) {
		if (r == 0)
			r = write_value(emitter, value);
	}
	return r < 0 ? r : emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
}

static int write_value(yaml_emitter_t *emitter, const json_t *json)
{
	_cleanup_free_ char *text = NULL;

	switch (json_typeof(json)) {
	case JSON_OBJECT:
		return write_object(emitter, json);
	case JSON_ARRAY:
		return write_array(emitter, json);
	case JSON_STRING:
		return write_scalar(emitter, json_string_value(json), is_plain(json_string_value(json)));
	default:
		text = json_dumps(json, JSON_ENCODE_ANY);
		return text ? write_scalar(emitter, text, true) : -ENOMEM;
	}
}

int yamlout_write(FILE *file, const json_t *json)
{
	yaml_emitter_t emitter;
	yaml_event_t event;
	int r;

	if (!yaml_emitter_initialize(&emitter))
		return -ENOMEM;
	yaml_emitter_set_output_file(&emitter, file);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, LINE_WIDTH);
	r = emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	if (r == 0)
		r = emit(&emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	if (r == 0)
		r = write_value(&emitter, json);
	if (r == 0)
		r = emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1));
	if (r == 0)
		r = emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&emitter);
	return r;
}
