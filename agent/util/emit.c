/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/emit.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "util/cleanup.h"

#define CELL_MAX 512

/* ---- one value -------------------------------------------------------------------------------------------------------------------------- */

static void format_number(double value, enum emit_format format, char cell[CELL_MAX])
{
	switch (format) {
	case EMIT_FIXED1:
		snprintf(cell, CELL_MAX, "%.1f", value);
		break;
	case EMIT_FIXED2:
		snprintf(cell, CELL_MAX, "%.2f", value);
		break;
	case EMIT_PERCENT:
		snprintf(cell, CELL_MAX, "%.2f %%", value * 100);
		break;
	case EMIT_TEXT:
		snprintf(cell, CELL_MAX, "%g", value);
		break;
	}
}

static void format_value(const json_t *value, enum emit_format format, char cell[CELL_MAX]);

static void format_list(const json_t *list, enum emit_format format, char cell[CELL_MAX])
{
	size_t used = 0, i;
	json_t *item;

	cell[0] = '\0';
	json_array_foreach((json_t *)list, i, item) {
		char text[CELL_MAX];

		format_value(item, format, text);
		used += snprintf(cell + used, CELL_MAX - used, "%s%s", i ? ", " : "", text);
		if (used >= CELL_MAX) {
			strcpy(cell + CELL_MAX - sizeof(" ..."), " ..."); /* the whole list is in the JSON */
			return;
		}
	}
}

static void format_value(const json_t *value, enum emit_format format, char cell[CELL_MAX])
{
	switch (value ? json_typeof(value) : JSON_NULL) {
	case JSON_INTEGER:
		if (format == EMIT_TEXT)
			snprintf(cell, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else
			format_number(json_number_value(value), format, cell);
		return;
	case JSON_REAL:
		format_number(json_real_value(value), format, cell);
		return;
	case JSON_STRING:
		snprintf(cell, CELL_MAX, "%s", json_string_value(value));
		return;
	case JSON_TRUE:
		strcpy(cell, "yes");
		return;
	case JSON_FALSE:
		strcpy(cell, "no");
		return;
	case JSON_ARRAY:
		format_list(value, format, cell);
		if (*cell)
			return;
		break;
	default:
		break;
	}
	strcpy(cell, "-");
}

/* Columns on a terminal: UTF-8 characters, each taken as one column wide. */
static int width_of(const char *text)
{
	int width = 0;

	for (; *text; text++)
		width += (*text & 0xc0) != 0x80;
	return width;
}

static void print_padded(FILE *out, const char *text, int width, bool right, bool last)
{
	int pad = width - width_of(text);

	fprintf(out, "%*s%s%*s", right ? pad : 0, "", text, right || last ? 0 : pad, "");
}

/* ---- sections --------------------------------------------------------------------------------------------------------------------------- */

/* Width of a column, and whether it holds numbers: then it is aligned to the right. */
static int measure_column(const json_t *rows, const struct emit_column *column, bool *ret_number)
{
	int width = width_of(column->title);
	bool number = column->format != EMIT_TEXT, other = false;
	json_t *row;
	size_t i;

	json_array_foreach((json_t *)rows, i, row) {
		const json_t *value = json_object_get(row, column->key);
		char cell[CELL_MAX];

		format_value(value, column->format, cell);
		width = width_of(cell) > width ? width_of(cell) : width;
		number |= json_is_number(value);
		other |= value && !json_is_null(value) && !json_is_number(value);
	}
	*ret_number = number && !other;
	return width;
}

#define COLUMNS_MAX 16

static void print_table(FILE *out, const json_t *rows, const struct emit_section *section, const char *indent)
{
	size_t columns = section->column_count < COLUMNS_MAX ? section->column_count : COLUMNS_MAX, i;
	int width[COLUMNS_MAX];
	bool number[COLUMNS_MAX];
	json_t *row;

	fputs(indent, out);
	for (size_t c = 0; c < columns; c++) {
		width[c] = measure_column(rows, &section->columns[c], &number[c]);
		print_padded(out, section->columns[c].title, width[c], number[c], c == columns - 1);
		fputs(c == columns - 1 ? "\n" : "  ", out);
	}
	json_array_foreach((json_t *)rows, i, row) {
		fputs(indent, out);
		for (size_t c = 0; c < columns; c++) {
			char cell[CELL_MAX];

			format_value(json_object_get(row, section->columns[c].key), section->columns[c].format, cell);
			print_padded(out, cell, width[c], number[c], c == columns - 1);
			fputs(c == columns - 1 ? "\n" : "  ", out);
		}
	}
}

static bool is_there(const json_t *value)
{
	return value && !json_is_null(value);
}

static void print_lines(FILE *out, const json_t *object, const struct emit_section *section, const char *indent)
{
	int width = 0;

	for (size_t c = 0; c < section->column_count; c++)
		if (is_there(json_object_get(object, section->columns[c].key)))
			width = width_of(section->columns[c].title) > width ? width_of(section->columns[c].title) : width;
	for (size_t c = 0; c < section->column_count; c++) {
		const json_t *value = json_object_get(object, section->columns[c].key);
		char cell[CELL_MAX];

		if (!is_there(value))
			continue;
		format_value(value, section->columns[c].format, cell);
		fputs(indent, out);
		print_padded(out, section->columns[c].title, width, false, false);
		fprintf(out, "  %s\n", cell);
	}
}

static void print_section(FILE *out, const json_t *value, const struct emit_section *section)
{
	const char *indent = section->title ? "  " : "";
	char cell[CELL_MAX];

	if (section->title)
		fprintf(out, "%s\n", section->title);
	if (json_is_array(value) && json_array_size(value) == 0) {
		fprintf(out, "%s%s\n", indent, section->empty);
	} else if (json_is_array(value) && section->column_count) {
		print_table(out, value, section, indent);
	} else if (json_is_object(value)) {
		print_lines(out, value, section, indent);
	} else {
		format_value(value, EMIT_TEXT, cell);
		fprintf(out, "%s%s\n", indent, cell);
	}
}

static bool is_shown(const json_t *value, const struct emit_section *section)
{
	if (!is_there(value))
		return false;
	return !json_is_array(value) || json_array_size(value) || section->empty;
}

int emit(FILE *out, const json_t *document, const struct emit_section *sections, size_t section_count, bool json)
{
	bool first = true;

	if (json) {
		if (json_dumpf(document, out, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) < 0)
			return -EIO;
		fputc('\n', out);
	} else {
		for (size_t i = 0; i < section_count; i++) {
			const json_t *value = sections[i].key ? json_object_get(document, sections[i].key) : document;

			if (!is_shown(value, &sections[i]))
				continue;
			if (!first)
				fputc('\n', out);
			print_section(out, value, &sections[i]);
			first = false;
		}
	}
	return fflush(out) || ferror(out) ? -EIO : 0;
}
