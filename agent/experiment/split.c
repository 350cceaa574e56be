/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/split.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/text.h"

static json_t *weights_json(const struct experiment *e, const int *weights)
{
	json_t *list = json_array();

	for (size_t v = 0; v < e->version_count; v++)
		json_array_append_new(list, json_pack("{s:s, s:i}", "name", e->versions[v].name, "value", weights[v]));
	return list;
}

static void put_weights(const struct experiment *e, struct state *state, const int *weights)
{
	json_decref(state->weights);
	state->weights = weights_json(e, weights);
}

/* Is the experiment one that divides users at all? */
bool split_divides(const struct experiment *e)
{
	return e->testing != TESTING_CONFORMANCE;
}

bool split_weighs(const struct experiment *e)
{
	return split_divides(e) && e->deployment != DEPLOYMENT_FIXED_SPLIT;
}

/* The split is of the versions that the manifest has now, in their order. */
static bool split_fits(const struct experiment *e, const struct state_split *split)
{
	if (split->version_count != e->version_count)
		return false;
	for (size_t v = 0; v < e->version_count; v++) {
		if (strcmp(split->versions[v], e->versions[v].name) != 0)
			return false;
	}
	return true;
}

bool split_weights(const struct experiment *e, const struct state *state, int *ret_weights)
{
	for (size_t v = 0; v < e->version_count; v++) {
		const json_t *item;
		size_t i;
		bool found = false;

		json_array_foreach(state->weights, i, item) { /* by name: the manifest may have changed their order (T6) */
			const char *name = json_string_value(json_object_get(item, "name"));

			if (!name || strcmp(name, e->versions[v].name) != 0)
				continue;
			ret_weights[v] = (int)json_integer_value(json_object_get(item, "value"));
			found = true;
		}
		if (!found)
			return false;
	}
	return true;
}

void split_observe(const struct experiment *e, struct state *state, const double *percent)
{
	_cleanup_free_ int *weights = calloc(e->version_count + 1, sizeof(*weights));

	if (!weights || state->promotion.made || (state->split.held && state->split.weighted))
		return;
	for (size_t v = 0; v < e->version_count; v++)
		weights[v] = (int)lround(percent[v]);
	put_weights(e, state, weights);
}

/* ".spec.http[2].route[1].weight" is of entry 2, and so is ".spec.rules[2].backendRefs[1].weight" of an HTTPRoute. */
int split_entry(const struct experiment *e)
{
	static const char *const forms[] = { ".spec.http[%d].", ".spec.tcp[%d].", ".spec.rules[%d]." };

	for (size_t v = 0; v < e->version_count; v++) {
		const char *path = json_string_value(json_object_get(e->versions[v].weight_obj_ref, "fieldPath"));
		int entry;

		for (size_t i = 0; path && i < ARRAY_SIZE(forms); i++) {
			if (sscanf(path, forms[i], &entry) == 1 && entry >= 0)
				return entry;
		}
	}
	return -1;
}

void split_green(const struct experiment *e, int *weights)
{
	size_t candidates = e->version_count - 1;

	weights[0] = 100;
	for (size_t v = 1; v <= candidates; v++) {
		int even = (int)(100 / candidates + (v <= 100 % candidates));

		weights[v] = even < e->max_candidate_weight ? even : e->max_candidate_weight;
		weights[0] -= weights[v];
	}
}

/* The route's own weights, as whole per cents with the sum 100; all to the baseline when they say nothing of these versions. */
static void first_weights(const struct experiment *e, const double *percent, int *weights)
{
	double sum = 0;

	for (size_t v = 0; v < e->version_count; v++)
		sum += percent ? percent[v] : 0;
	weights[0] = 100;
	for (size_t v = 1; v < e->version_count && sum > 0; v++) {
		weights[v] = (int)lround(100 * percent[v] / sum);
		weights[v] = weights[v] < weights[0] ? weights[v] : weights[0];
		weights[0] -= weights[v];
	}
}

static char **copy_names(char *const *names, size_t count)
{
	char **copy = calloc(count + 1, sizeof(*copy));
	bool whole = copy;

	for (size_t i = 0; copy && i < count; i++) {
		copy[i] = strdup(names[i]);
		whole = whole && copy[i];
	}
	if (whole)
		return copy;
	for (size_t i = 0; copy && i < count; i++)
		free(copy[i]);
	free(copy);
	return NULL;
}

int split_hold(const struct experiment *e, struct state *state, const struct split_origin *origin)
{
	struct state_split *split = &state->split;
	_cleanup_free_ int *weights = calloc(e->version_count + 1, sizeof(*weights));
	_cleanup_free_ char **own = calloc(e->version_count + 1, sizeof(*own));

	if (!weights || !own)
		return -ENOMEM;
	if (split_weighs(e) && e->version_count > SHUNT_SHARES)
		return -E2BIG;
	for (size_t v = 0; v < e->version_count; v++)
		own[v] = e->versions[v].name;
	state_split_clear(split);
	split->version_count = e->version_count;
	split->versions = copy_names(own, e->version_count);
	split->names = copy_names(origin->names, e->version_count);
	split->route = strdup(origin->route);
	if (!split->versions || !split->names || !split->route) {
		state_split_clear(split);
		return -ENOMEM;
	}
	split->route_hash = origin->route_hash;
	split->entry = split_entry(e);
	split->weighted = split_weighs(e);
	split->held = true;
	if (!split->weighted)
		return 0;
	first_weights(e, origin->percent, weights);
	shares_lay(&split->shares, weights, e->version_count);
	if (e->deployment == DEPLOYMENT_BLUE_GREEN) {
		split_green(e, weights);
		split->moved_last = split->moved_all = shares_move(&split->shares, weights, e->version_count);
		split->changes = 1;
		state_event(state, "Weights", "BlueGreen: the candidates get %d %% of the users; %.3g %% of them move", 100 - weights[0],
			    100.0 * (double)split->moved_last / (double)SHARES_ALL);
	}
	put_weights(e, state, weights);
	return 0;
}

void split_release(struct state *state)
{
	struct state_split *split = &state->split;

	if (!split->held || split->released || state->promotion.made)
		return;
	split->released = true;
	split->steered = false;
	split->retry_at = 0;
	json_decref(state->weights);
	state->weights = NULL;
	state_event(state, "Weights", "The experiment has failed: the rules of route %s hold as they are written", split->route);
}

void split_steered(struct state *state, int result, const char *problem, int64_t retry_at)
{
	struct state_split *split = &state->split;

	if (result == 0) {
		split->steered = true;
		free(TAKE_PTR(split->problem));
		return;
	}
	split->retry_at = retry_at;
	problem = problem ?: strerror(-result);
	if (split->problem && strcmp(split->problem, problem) == 0)
		return;
	text_replace(&split->problem, "%s", problem);
	state_event(state, "WeightRedistributionFailed", "Users are steered as before; it is tried again every interval: %s", problem);
}

/* "flowers-v1 90 -> 80, flowers-v2 10 -> 20" */
static char *change_text(const struct experiment *e, const int *before, const int *after)
{
	_cleanup_free_ char *text = NULL;
	size_t size, n = 0;
	FILE *out = open_memstream(&text, &size);

	for (size_t v = 0; out && v < e->version_count; v++) {
		if (before[v] != after[v])
			fprintf(out, "%s%s %d -> %d %%", n++ ? ", " : "", e->versions[v].name, before[v], after[v]);
	}
	return out && fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

/* The weights of an assessment become the split. */
void split_move(const struct experiment *e, struct state *state, const int *weights)
{
	struct state_split *split = &state->split;
	_cleanup_free_ int *before = calloc(e->version_count + 1, sizeof(*before));
	_cleanup_free_ char *text = NULL;

	if (!before || !split->held || !split->weighted || !split_fits(e, split) || !split_weights(e, state, before))
		return;
	if (memcmp(before, weights, e->version_count * sizeof(*weights)) == 0)
		return;
	split->moved_last = shares_move(&split->shares, weights, e->version_count);
	split->moved_all += split->moved_last;
	split->changes++;
	split->steered = false;
	split->retry_at = 0;
	put_weights(e, state, weights);
	text = change_text(e, before, weights);
	state_event(state, "Weights", "%s: %.3g %% of the users move", text ?: "changed", 100.0 * (double)split->moved_last / (double)SHARES_ALL);
}

/* The split has to be taken, or moved on. */
bool split_wanted(const struct experiment *e, struct state *state, int64_t now)
{
	struct state_split *split = &state->split;

	if (!split_divides(e))
		return false;
	if (split->held && !split_fits(e, split)) /* the manifest names other versions now */
		state_split_clear(split);
	return !split->steered && split->retry_at <= now;
}

void split_promoted(const struct experiment *e, struct state *state)
{
	_cleanup_free_ int *weights = calloc(e->version_count + 1, sizeof(*weights));

	if (!weights || !state->promotion.made || !split_divides(e))
		return;
	for (size_t v = 0; v < e->version_count; v++)
		weights[v] = state->recommended && strcmp(e->versions[v].name, state->recommended) == 0 ? 100 : 0;
	put_weights(e, state, weights);
}
