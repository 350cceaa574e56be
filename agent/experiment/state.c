/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

static const char *const stage_names[STAGE_MAX] = {
	[STAGE_WAITING] = "Waiting",
	[STAGE_INITIALIZING] = "Initializing",
	[STAGE_RUNNING] = "Running",
	[STAGE_FINISHING] = "Finishing",
	[STAGE_COMPLETED] = "Completed",
};

static const char *const condition_names[CONDITION_MAX] = {
	[CONDITION_COMPLETED] = "Completed",
	[CONDITION_FAILED] = "Failed",
	[CONDITION_TARGET_ACQUIRED] = "TargetAcquired",
	[CONDITION_NO_FEASIBLE_VERSION] = "NoFeasibleVersion",
	[CONDITION_INCONCLUSIVE] = "Inconclusive",
};

const char *stage_name(enum stage stage)
{
	return stage_names[stage];
}

const char *condition_name(enum condition_type type)
{
	return condition_names[type];
}

int state_new(struct state **ret_state)
{
	_cleanup_(state_free) struct state *state = calloc(1, sizeof(*state));

	if (!state)
		return -ENOMEM;
	state->split.entry = -1;
	state->base = json_object();
	state->missing = json_object();
	state->retried = json_object();
	state->events = json_array();
	state->tasks = json_array();
	if (!state->tasks || !state->base || !state->missing || !state->retried || !state->events)
		return -ENOMEM;
	*ret_state = TAKE_PTR(state);
	return 0;
}

static void free_names(char **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

void state_split_clear(struct state_split *split)
{
	free_names(split->versions, split->version_count);
	free_names(split->names, split->version_count);
	free(split->route);
	free(split->problem);
	*split = (struct state_split){ .entry = -1 };
}

void state_free(struct state **state)
{
	struct state *s = TAKE_PTR(*state);

	if (!s)
		return;
	for (int i = 0; i < CONDITION_MAX; i++) {
		free(s->conditions[i].reason);
		free(s->conditions[i].message);
	}
	free(s->recommended);
	free(s->message);
	free(s->task_action);
	free(s->uid);
	state_split_clear(&s->split);
	json_decref(s->weights);
	free(s->promotion.route);
	free(s->promotion.version);
	json_decref(s->tasks);
	json_decref(s->collected);
	json_decref(s->base);
	json_decref(s->missing);
	free(s->scratch);
	json_decref(s->notes);
	json_decref(s->variables);
	json_decref(s->retried);
	json_decref(s->metrics);
	json_decref(s->analysis);
	json_decref(s->evidence);
	json_decref(s->events);
	free(s);
}

void state_event(struct state *state, const char *reason, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;

	va_start(args, format);
	message = text_vprintf(format, args);
	va_end(args);
	if (!message)
		return;
	text_replace(&state->message, "%s: %s", reason, message);
	json_array_append_new(state->events, json_string(state->message ?: reason));
}

void state_set_condition(struct state *state, enum condition_type type, bool status, const char *reason, const char *message, int64_t now)
{
	struct condition *condition = &state->conditions[type];

	if (condition->status != status || condition->since == 0)
		condition->since = now;
	condition->status = status;
	text_replace(&condition->reason, "%s", reason);
	text_replace(&condition->message, "%s", message);
}
