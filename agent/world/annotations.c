/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What Iter8's Experiment and Metric have no field for, as annotations of the object:
 *
 *     shunt.dev/conversion: "POST /checkout 2xx"     method, beginning of the path, status class; each may be left out, but not all
 *     shunt.dev/errors-from: "400"                   the least status that is an error: 400 or 500, which is the default
 *     shunt.dev/insecure-skip-tls-verify: "true"     of a Metric: its provider's certificate is not verified
 */
#include "world/kinds.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "shunt/abi.h"
#include "util/cleanup.h"

#define CONVERSION_FORM "\"[METHOD] [/path] [1xx..5xx]\", such as \"POST /checkout 2xx\""

/* One word of a conversion; false: it cannot stand there, or is there already. */
static bool put_word(struct conversion *conversion, const char *word)
{
	size_t length = strlen(word);
	char **text = word[0] == '/' ? &conversion->path : &conversion->method;

	if (length == 3 && word[0] >= '1' && word[0] <= '5' && strcmp(word + 1, "xx") == 0) {
		if (conversion->class)
			return false;
		conversion->class = word[0] - '0';
		return true;
	}
	if (*text || conversion->class || (word[0] != '/' && conversion->path) || length >= (word[0] == '/' ? SHUNT_PATH_MAX : SHUNT_METHOD_MAX))
		return false;
	for (size_t i = 0; i < length; i++)
		if (word[0] != '/' && !isupper((unsigned char)word[i]) && word[i] != '-' && word[i] != '_')
			return false;
	*text = strdup(word);
	return true;
}

static void decode_conversion(struct decoder *d, const struct cursor *at, struct conversion *conversion)
{
	const char *found = json_string_value(at->value);
	_cleanup_free_ char *text = found ? strdup(found) : NULL;
	char *rest = text, *word;
	bool good = true;

	if (!text)
		return;
	while (good && (word = strsep(&rest, " ")))
		good = !*word || put_word(conversion, word);
	if (!good || (!conversion->class && !conversion->method && !conversion->path)) {
		decode_error(d, at, "found \"%s\"; allowed: " CONVERSION_FORM ", with a path below %d bytes", found, SHUNT_PATH_MAX);
		return;
	}
	if (!conversion->class)
		conversion->class = 2;
	conversion->method = conversion->method ?: strdup("");
	conversion->path = conversion->path ?: strdup("");
	if (!conversion->method || !conversion->path)
		d->r = -ENOMEM;
}

static void decode_errors_from(struct decoder *d, const struct cursor *at, bool *ret_refusals)
{
	const char *text = json_string_value(at->value);

	if (!text)
		return;
	if (strcmp(text, "400") != 0 && strcmp(text, "500") != 0)
		return decode_error(d, at, "found \"%s\"; allowed: \"400\", \"500\"", text);
	*ret_refusals = text[0] == '4';
}

void decode_experiment_annotations(struct decoder *d, const struct cursor *at, struct experiment *experiment)
{
	struct cursor metadata = cursor_member(at, "metadata"), annotations = cursor_member(&metadata, "annotations");
	struct cursor conversion = cursor_member(&annotations, "shunt.dev/conversion"), errors = cursor_member(&annotations, "shunt.dev/errors-from");

	decode_conversion(d, &conversion, &experiment->conversion);
	decode_errors_from(d, &errors, &experiment->refusals_are_errors);
}

void decode_metric_annotations(struct decoder *d, const struct cursor *at, struct metric *metric)
{
	struct cursor metadata = cursor_member(at, "metadata"), annotations = cursor_member(&metadata, "annotations");
	struct cursor insecure = cursor_member(&annotations, "shunt.dev/insecure-skip-tls-verify");
	const char *text = json_string_value(insecure.value);

	if (!text)
		return;
	if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
		return decode_error(d, &insecure, "found \"%s\"; allowed: \"true\", \"false\"", text);
	metric->insecure = text[0] == 't';
}
