/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/report.h"

#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

static void add(json_t *list, const char *level, const char *label, const char *message)
{
	_cleanup_free_ char *where = text_printf("experiment %s", label);

	if (where && message)
		json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "level", level, "where", where, "message", message));
}

char *report_lost(const json_t *evidence)
{
	json_int_t lost = json_integer_value(json_object_get(evidence, "lostUsers")), kept = 0;
	const char *version;
	json_t *sample;

	if (lost <= 0)
		return NULL;
	json_object_foreach(json_object_get(evidence, "sample"), version, sample)
		kept += json_integer_value(sample);
	return text_printf("the evidence is reduced: %lld of %lld users are missing in it, because the kernel's table of users was full "
			   "(`shunt run --users` makes it larger); the split is not tested without them", (long long)lost, (long long)(lost + kept));
}

/* One line for all of them: the first, and how many more. */
static char *missing_text(const json_t *missing)
{
	const char *what = NULL, *key;
	json_t *value, *why = NULL;
	size_t more = json_object_size(missing);

	json_object_foreach((json_t *)missing, key, value) {
		what = key;
		why = value;
		break;
	}
	if (!what)
		return NULL;
	return more > 1 ? text_printf("no value of %s since %s: %s (and %zu more; `shunt describe` has them all)", what,
				      json_string_value(json_object_get(why, "since")), json_string_value(json_object_get(why, "problem")), more - 1) :
			  text_printf("no value of %s since %s: %s", what, json_string_value(json_object_get(why, "since")),
				      json_string_value(json_object_get(why, "problem")));
}

void report_problems(const char *label, const struct state *state, json_t *list)
{
	bool runs = state->stage == STAGE_RUNNING;
	_cleanup_free_ char *lost = report_lost(state->evidence), *missing = runs ? missing_text(state->missing) : NULL;
	const json_t *note;
	size_t i;

	if (runs && state->split.problem)
		add(list, "warning", label, state->split.problem);
	add(list, "warning", label, missing);
	add(list, "warning", label, lost);
	json_array_foreach(state->notes, i, note)
		add(list, "info", label, json_string_value(note));
}
