/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/template.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

static bool is_name_start(char c)
{
	return isalpha((unsigned char)c) || c == '_';
}

static size_t name_length(const char *text)
{
	size_t n = 0;

	if (!is_name_start(text[0]))
		return 0;
	while (isalnum((unsigned char)text[n]) || text[n] == '_')
		n++;
	return n;
}

/* ---- {{ .field }} ---- */

static int put_value(FILE *out, const json_t *value)
{
	_cleanup_free_ char *text = NULL;

	if (!value || json_is_null(value))
		return 0;
	if (json_is_string(value)) {
		fputs(json_string_value(value), out);
		return 0;
	}
	if (json_is_object(value) || json_is_array(value))
		return -EINVAL;
	text = json_dumps(value, JSON_ENCODE_ANY);
	if (!text)
		return -ENOMEM;
	fputs(text, out);
	return 0;
}

/* Follows ".a.b" from *at on and moves *at past it. *ret_value is NULL where the path leads nowhere. -EINVAL: not a path. */
static int follow_path(const char **at, const json_t *context, const json_t **ret_value)
{
	const json_t *value = context;
	const char *p = *at;

	if (*p != '.')
		return -EINVAL;
	while (*p == '.') {
		size_t n = name_length(p + 1);

		if (n == 0)
			return -EINVAL;
		value = json_object_getn(value, p + 1, n);
		p += 1 + n;
	}
	*at = p;
	*ret_value = value;
	return 0;
}

/* Expands what follows "{{" at p; returns where the text goes on, NULL when it is no field. */
static const char *expand_action(FILE *out, const char *p, const json_t *context)
{
	const json_t *value;

	p += strspn(p, " \t\r\n");
	if (follow_path(&p, context, &value) < 0)
		return NULL;
	p += strspn(p, " \t\r\n");
	if (strncmp(p, "}}", 2) != 0 || put_value(out, value) < 0)
		return NULL;
	return p + 2;
}

static char *action_problem(const char *action)
{
	const char *end = strstr(action, "}}");

	if (!end)
		return text_printf("template \"%s\" has no closing }}", action);
	return text_printf("template \"%.*s\" is not understood: only a field that holds text, such as {{ .promote }} or {{ .this.metadata.name }}, can stand between the braces",
			   (int)(end + 2 - action), action);
}

int template_expand(const char *text, const json_t *context, char **ret_text, char **ret_problem)
{
	_cleanup_free_ char *result = NULL;
	const char *open, *next;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	if (!out)
		return -ENOMEM;
	for (open = strstr(text, "{{"); open; open = strstr(text, "{{")) {
		fwrite(text, 1, (size_t)(open - text), out);
		next = expand_action(out, open + 2, context);
		if (!next) {
			fclose(out);
			*ret_problem = action_problem(open);
			return -EINVAL;
		}
		text = next;
	}
	fputs(text, out);
	if (fclose(out) != 0)
		return -ENOMEM;
	*ret_text = TAKE_PTR(result);
	return 0;
}

/* ---- $name ---- */

/* Expands what starts with the $ at p; returns where the text goes on. */
static const char *substitute_one(FILE *out, const char *p, const json_t *values)
{
	bool braced = p[1] == '{';
	const char *name = p + 1 + braced;
	size_t n = name_length(name);
	const json_t *value;

	if (p[1] == '$') {
		fputc('$', out);
		return p + 2;
	}
	if (n == 0 || (braced && name[n] != '}')) {
		fputc('$', out);
		return p + 1;
	}
	value = json_object_getn(values, name, n);
	if (json_is_string(value))
		fputs(json_string_value(value), out);
	else
		fwrite(p, 1, n + 1 + 2 * braced, out);
	return name + n + braced;
}

char *template_substitute(const char *text, const json_t *values)
{
	_cleanup_free_ char *result = NULL;
	const char *dollar;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	if (!out)
		return NULL;
	for (dollar = strchr(text, '$'); dollar; dollar = strchr(text, '$')) {
		fwrite(text, 1, (size_t)(dollar - text), out);
		text = substitute_one(out, dollar, values);
	}
	fputs(text, out);
	if (fclose(out) != 0)
		return NULL;
	return TAKE_PTR(result);
}
