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

const json_t *template_member(const json_t *object, const char *name, size_t length)
{
	const json_t *metadata = json_object_get(object, "metadata"), *value = json_object_getn(object, name, length);
	char lower[64];

	if (value || length == 0 || length >= sizeof(lower))
		return value;
	memcpy(lower, name, length);
	lower[0] = (char)tolower((unsigned char)lower[0]);
	lower[length] = '\0';
	value = json_object_get(object, lower);
	if (!value && metadata)
		value = strcmp(lower, "objectMeta") == 0 ? metadata : json_object_get(metadata, lower);
	return value;
}

/* A template language: what stands around a field, and where fields are looked up. */
struct language {
	const char *open, *close;
	const json_t *context, *secret;
	bool go; /* names as Go spells them, and .Secret "key" */
	bool check; /* there are no values: fields are shown to see, when there is one */
	template_see_fn see;
	void *arg;
};

static void see_field(const struct language *language, const char *path, size_t length)
{
	if (language->check && language->see)
		language->see(language->arg, path, length);
}

/* Follows ".a.b" from *at on and moves *at past it. *ret_value is NULL where the path leads nowhere. -EINVAL: not a path. */
static int follow_path(const char **at, const struct language *language, const json_t **ret_value)
{
	const json_t *value = language->context;
	const char *p = *at;

	if (*p != '.')
		return -EINVAL;
	while (*p == '.') {
		size_t n = name_length(p + 1);

		if (n == 0)
			return -EINVAL;
		value = language->go ? template_member(value, p + 1, n) : json_object_getn(value, p + 1, n);
		p += 1 + n;
	}
	see_field(language, *at + 1, (size_t)(p - *at - 1));
	*at = p;
	*ret_value = value;
	return 0;
}

/* .Secret "key" */
static int follow_secret(const char **at, const struct language *language, const json_t **ret_value)
{
	const char *key = *at + strlen(".Secret"), *end;

	key += strspn(key, " \t\r\n");
	end = *key == '"' ? strchr(key + 1, '"') : NULL;
	*ret_value = end ? json_object_getn(language->secret, key + 1, (size_t)(end - key - 1)) : NULL;
	if (!end || (!*ret_value && !language->check))
		return -EINVAL;
	see_field(language, "Secret", strlen("Secret"));
	*at = end + 1;
	return 0;
}

/* Expands what follows the opening braces at p; returns where the text goes on, NULL when it is no field. */
static const char *expand_action(FILE *out, const char *p, const struct language *language)
{
	const json_t *value;
	int r;

	p += strspn(p, " \t\r\n");
	r = language->go && strncmp(p, ".Secret", strlen(".Secret")) == 0 ? follow_secret(&p, language, &value) : follow_path(&p, language, &value);
	if (r < 0)
		return NULL;
	p += strspn(p, " \t\r\n");
	if (strncmp(p, language->close, 2) != 0 || put_value(out, value) < 0)
		return NULL;
	return p + 2;
}

static char *action_problem(const char *action, const struct language *language)
{
	const char *end = strstr(action, language->close);

	if (!end)
		return text_printf("template \"%s\" has no closing %s", action, language->close);
	return text_printf("template \"%.*s\" is not understood: only a field that holds text, such as %s, can stand between the braces",
			   (int)(end + 2 - action), action,
			   language->go ? "@< .Spec.Target >@ or @< .Secret \"key\" >@ of a secret that has the key" : "{{ .promote }} or {{ .this.metadata.name }}");
}

static int expand(const char *text, const struct language *language, char **ret_text, char **ret_problem)
{
	_cleanup_free_ char *result = NULL;
	const char *open, *next;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	if (!out)
		return -ENOMEM;
	for (open = strstr(text, language->open); open; open = strstr(text, language->open)) {
		fwrite(text, 1, (size_t)(open - text), out);
		next = expand_action(out, open + 2, language);
		if (!next) {
			fclose(out);
			*ret_problem = action_problem(open, language);
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

int template_expand(const char *text, const json_t *context, char **ret_text, char **ret_problem)
{
	return expand(text, &(struct language){ .open = "{{", .close = "}}", .context = context }, ret_text, ret_problem);
}

int template_expand_run(const char *text, const json_t *experiment, const json_t *secret, char **ret_text, char **ret_problem)
{
	return expand(text, &(struct language){ .open = "@<", .close = ">@", .context = experiment, .secret = secret, .go = true }, ret_text, ret_problem);
}

static int check(const char *text, const struct language *language, char **ret_problem)
{
	_cleanup_free_ char *expanded = NULL;

	return expand(text, language, &expanded, ret_problem);
}

int template_check(const char *text, template_see_fn see, void *arg, char **ret_problem)
{
	return check(text, &(struct language){ .open = "{{", .close = "}}", .check = true, .see = see, .arg = arg }, ret_problem);
}

int template_check_run(const char *text, template_see_fn see, void *arg, char **ret_problem)
{
	return check(text, &(struct language){ .open = "@<", .close = ">@", .go = true, .check = true, .see = see, .arg = arg }, ret_problem);
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
