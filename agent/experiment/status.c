/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/status.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "reading/builtin.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include "util/text.h"
#include "util/yamlout.h"
#include "world/yaml.h"

#define API_VERSION "iter8.tools/v2alpha2"
#define STATUS_SIZE_MAX (4 << 20)

char *status_path(const char *folder, const char *ns, const char *name)
{
	return text_printf("%s/%s.%s" STATUS_SUFFIX, folder, ns, name);
}

/* ---- times ---- */

const char *status_time(int64_t ms, char buf[32])
{
	time_t seconds = ms / 1000;
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(buf, 32, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}

static void put_time(json_t *object, const char *key, int64_t ms)
{
	char text[32];

	if (ms)
		json_object_set_new(object, key, json_string(status_time(ms, text)));
}

static int read_time(const json_t *object, const char *key, int64_t *ret_ms)
{
	const char *text = json_string_value(json_object_get(object, key)), *end;
	struct tm tm = {};

	if (!text)
		return 0;
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (!end || *end)
		return -EINVAL;
	*ret_ms = (int64_t)timegm(&tm) * 1000;
	return 0;
}

static void put_string(json_t *object, const char *key, const char *text)
{
	if (text)
		json_object_set_new(object, key, json_string(text));
}

/* ---- analysis ---- */

static json_t *analysis_part(json_t *data, const char *message, int64_t now)
{
	char time_text[32];

	return json_pack("{s:o, s:s, s:s, s:s}", "data", data, "message", message, "provenance", "shunt", "timestamp", status_time(now, time_text));
}

static json_t *value_json(const struct reading *reading)
{
	char text[DECIMAL_TEXT_MAX];
	json_t *json = json_object();

	if (reading->present)
		json_object_set_new(json, "value", json_string(decimal_quantity(reading->value, text)));
	if (reading->has_sample)
		json_object_set_new(json, "sampleSize", json_integer((json_int_t)reading->sample));
	return json;
}

static json_t *aggregated_metrics(const struct readings *readings)
{
	json_t *metrics = json_object();

	for (size_t m = 0; m < readings->metric_count; m++) {
		json_t *versions = json_object();

		for (size_t v = 0; v < readings->version_count; v++)
			json_object_set_new(versions, readings->versions[v], value_json(&readings->cells[m * readings->version_count + v]));
		json_object_set_new(metrics, readings->metrics[m], json_pack("{s:o}", "data", versions));
	}
	return metrics;
}

static json_t *version_assessments(const struct experiment *experiment, const struct assessment *assessment)
{
	json_t *versions = json_object();

	for (size_t v = 0; v < assessment->version_count; v++) {
		json_t *list = json_array();

		for (size_t i = 0; i < assessment->objective_count; i++)
			json_array_append_new(list, json_boolean(assessment->objectives[v * assessment->objective_count + i] == OBJECTIVE_SATISFIED));
		json_object_set_new(versions, experiment->versions[v].name, list);
	}
	return versions;
}

static json_t *winner_data(const struct experiment *experiment, const struct assessment *assessment)
{
	json_t *data = json_pack("{s:b}", "winnerFound", assessment->winner_found);

	if (assessment->winner_found)
		put_string(data, "winner", experiment->versions[assessment->winner].name);
	return data;
}

static json_t *weights_data(const struct experiment *experiment, const struct assessment *assessment)
{
	json_t *list = json_array();

	for (size_t v = 0; assessment->weights && v < assessment->version_count; v++)
		json_array_append_new(list, json_pack("{s:s, s:i}", "name", experiment->versions[v].name, "value", assessment->weights[v]));
	return list;
}

json_t *status_analysis(const struct experiment *experiment, const struct readings *readings, const struct assessment *assessment, int64_t now)
{
	return json_pack("{s:o, s:o, s:o, s:o}",
			 "aggregatedMetrics", analysis_part(aggregated_metrics(readings), assessment->metrics_message, now),
			 "versionAssessments", analysis_part(version_assessments(experiment, assessment), assessment->versions_message, now),
			 "winnerAssessment", analysis_part(winner_data(experiment, assessment), assessment->winner_message, now),
			 "weights", analysis_part(weights_data(experiment, assessment), assessment->weights_message, now));
}

json_t *status_collected(json_t *data, int64_t now)
{
	return analysis_part(data, "", now);
}

static json_t *missing_json(const struct state *state, const char *key, const struct reading *reading, int64_t now)
{
	const char *since = json_string_value(json_object_get(json_object_get(state->missing, key), "since"));
	char now_text[32];
	json_t *json = json_pack("{s:s, s:s}", "since", since ?: status_time(now, now_text), "problem", reading->problem ?: "it was not read");

	if (reading->attempts)
		json_object_set_new(json, "attempts", json_integer(reading->attempts));
	return json;
}

void status_note_readings(struct state *state, const struct readings *readings, int64_t now)
{
	json_t *missing = json_object(), *retried = json_object();

	for (size_t m = 0; m < readings->metric_count; m++) {
		for (size_t v = 0; v < readings->version_count; v++) {
			const struct reading *reading = &readings->cells[m * readings->version_count + v];
			_cleanup_free_ char *key = text_printf("%s %s", readings->metrics[m], readings->versions[v]);

			if (!reading->present && key)
				json_object_set_new(missing, key, missing_json(state, key, reading, now));
			else if (reading->trouble && key)
				json_object_set_new(retried, key, json_pack("{s:i, s:s}", "attempts", (int)reading->attempts, "problem", reading->trouble));
		}
	}
	json_decref(state->missing);
	json_decref(state->retried);
	state->missing = missing;
	state->retried = retried;
}

/* ---- metrics ---- */

static json_t *builtin_object(const struct builtin *builtin)
{
	json_t *spec = json_pack("{s:s, s:s, s:s}", "provider", "shunt", "description", builtin->description, "type",
				 builtin->type == METRIC_COUNTER ? "Counter" : "Gauge");

	if (*builtin->units)
		put_string(spec, "units", builtin->units);
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", API_VERSION, "kind", "Metric", "metadata", "name", builtin->name, "namespace",
			 "shunt", "spec", spec);
}

json_t *status_metrics(const struct world *world, const struct experiment *experiment, const struct readings *readings)
{
	json_t *metrics = json_array();

	for (size_t m = 0; m < readings->metric_count; m++) {
		struct metric_origin origin = metric_resolve(world, experiment->meta.ns, readings->metrics[m]);
		json_t *object = origin.object && origin.object->meta.document ? json_incref(origin.object->meta.document) :
				 origin.builtin ? builtin_object(origin.builtin) : json_object();

		json_array_append_new(metrics, json_pack("{s:s, s:o}", "name", readings->metrics[m], "metricObj", object));
	}
	return metrics;
}

/* ---- the document ---- */

static json_t *condition_json(const struct state *state, enum condition_type type)
{
	const struct condition *condition = &state->conditions[type];
	json_t *json = json_pack("{s:s, s:s}", "type", condition_name(type), "status", condition->status ? "True" : "False");

	put_time(json, "lastTransitionTime", condition->since);
	put_string(json, "reason", condition->reason);
	put_string(json, "message", condition->message);
	return json;
}

static json_t *conditions_json(const struct state *state)
{
	json_t *list = json_array();

	for (int i = 0; i < CONDITION_MAX; i++) {
		if (i <= CONDITION_TARGET_ACQUIRED || state->conditions[i].status)
			json_array_append_new(list, condition_json(state, i));
	}
	return list;
}

static json_t *promotion_json(const struct state_promotion *promotion)
{
	char hash[24];
	json_t *json;

	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)promotion->route_hash);
	json = json_pack("{s:s, s:s, s:b, s:b}", "version", promotion->version, "routeHash", hash, "released", promotion->released, "steered",
			 promotion->steered);
	put_string(json, "route", promotion->route);
	return json;
}

/* "12.5": per cent of the users, as people read it. */
static json_t *percent_json(uint64_t hashes)
{
	return json_real(round(1000.0 * (double)hashes / (double)SHARES_ALL * 100.0) / 1000.0);
}

static json_t *split_shares_json(const struct state_split *split)
{
	json_t *list = json_array();

	for (size_t i = 0; i < split->shares.count; i++)
		json_array_append_new(list, json_pack("{s:s, s:I}", "version", split->versions[split->shares.items[i].version], "end",
						      (json_int_t)split->shares.items[i].end));
	return list;
}

static json_t *split_names_json(const struct state_split *split)
{
	json_t *list = json_array();

	for (size_t v = 0; v < split->version_count; v++)
		json_array_append_new(list, json_pack("{s:s, s:s}", "version", split->versions[v], "inRoute", split->names[v]));
	return list;
}

/* shares: ends of ranges of 2^32, in whose order the versions follow each other. */
static json_t *split_json(const struct state_split *split)
{
	json_t *json = json_object();
	char hash[24];

	put_string(json, "problem", split->problem);
	if (!split->held)
		return json;
	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)split->route_hash);
	json_object_update_new(json, json_pack("{s:s, s:s, s:i, s:b, s:b, s:o}", "route", split->route, "routeHash", hash, "entry", split->entry, "steered",
					       split->steered, "released", split->released, "versions", split_names_json(split)));
	if (!split->weighted)
		return json;
	json_object_set_new(json, "shares", split_shares_json(split));
	json_object_set_new(json, "changes", json_integer(split->changes));
	json_object_set_new(json, "movedUsersPercent", json_pack("{s:o, s:o}", "last", percent_json(split->moved_last), "all", percent_json(split->moved_all)));
	return json;
}

static json_t *own_json(const struct state *state)
{
	json_t *own = json_pack("{s:b, s:i, s:b, s:b, s:b, s:O}", "startDone", state->start_done, "loopsDone", state->loops_done, "rolledBack",
				state->rolled_back, "winnerFound", state->winner_found, "anyFeasible", state->any_feasible, "base", state->base);

	if (state->final)
		json_object_set_new(own, "final", json_true());
	if (state->evidence)
		json_object_set(own, "evidence", state->evidence);
	if (state->variables)
		json_object_set(own, "variables", state->variables);
	if (json_array_size(state->notes))
		json_object_set(own, "notes", state->notes);
	if (json_object_size(state->missing))
		json_object_set(own, "missing", state->missing);
	if (json_object_size(state->retried))
		json_object_set(own, "retried", state->retried);
	if (state->task_action)
		json_object_set_new(own, "task", json_pack("{s:s, s:i}", "action", state->task_action, "next", (int)state->task_next));
	if (json_array_size(state->tasks))
		json_object_set(own, "tasks", state->tasks);
	put_string(own, "uid", state->uid);
	put_string(own, "scratch", state->scratch);
	if (state->split.held || state->split.problem)
		json_object_set_new(own, "split", split_json(&state->split));
	if (state->promotion.made)
		json_object_set_new(own, "promotion", promotion_json(&state->promotion));
	return own;
}

static json_t *analysis_json(const struct state *state)
{
	json_t *analysis = state->analysis ? json_copy(state->analysis) : json_object();

	if (state->collected)
		json_object_set(analysis, "aggregatedBuiltinHists", state->collected);
	return analysis;
}

static json_t *status_json(const struct state *state)
{
	json_t *status = json_pack("{s:s, s:i, s:o, s:o}", "stage", stage_name(state->stage), "completedIterations", state->completed_iterations,
				   "conditions", conditions_json(state), "shunt", own_json(state));

	put_time(status, "initTime", state->init_time);
	put_time(status, "startTime", state->start_time);
	put_time(status, "lastUpdateTime", state->last_update);
	put_string(status, "versionRecommendedForPromotion", state->recommended);
	put_string(status, "message", state->message);
	if (json_array_size(state->weights))
		json_object_set(status, "currentWeightDistribution", state->weights);
	if (state->metrics)
		json_object_set(status, "metrics", state->metrics);
	if (state->analysis || state->collected)
		json_object_set_new(status, "analysis", analysis_json(state));
	return status;
}

json_t *status_to_json(const struct experiment *experiment, const struct state *state)
{
	return json_pack("{s:s, s:s, s:{s:s, s:s}, s:o}", "apiVersion", API_VERSION, "kind", "Experiment", "metadata", "name", experiment->meta.name,
			 "namespace", experiment->meta.ns, "status", status_json(state));
}

/* ---- back again ---- */

static int read_stage(const json_t *status, enum stage *ret_stage)
{
	const char *text = json_string_value(json_object_get(status, "stage"));

	for (int i = 0; text && i < STAGE_MAX; i++) {
		if (strcmp(text, stage_name(i)) == 0) {
			*ret_stage = i;
			return 0;
		}
	}
	return -EINVAL;
}

static int read_condition(const json_t *json, struct state *state)
{
	const char *type = json_string_value(json_object_get(json, "type")), *text;

	for (int i = 0; type && i < CONDITION_MAX; i++) {
		struct condition *condition = &state->conditions[i];

		if (strcmp(type, condition_name(i)) != 0)
			continue;
		text = json_string_value(json_object_get(json, "status"));
		condition->status = text && strcmp(text, "True") == 0;
		text = json_string_value(json_object_get(json, "reason"));
		condition->reason = text ? strdup(text) : NULL;
		text = json_string_value(json_object_get(json, "message"));
		condition->message = text ? strdup(text) : NULL;
		return read_time(json, "lastTransitionTime", &condition->since);
	}
	return -EINVAL;
}

static int read_conditions(const json_t *status, struct state *state)
{
	const json_t *list = json_object_get(status, "conditions"), *json;
	size_t i;

	json_array_foreach(list, i, json) {
		if (read_condition(json, state) < 0)
			return -EINVAL;
	}
	return json_is_array(list) ? 0 : -EINVAL;
}

static char *copy_string(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? strdup(text) : NULL;
}

static int read_promotion(const json_t *json, struct state_promotion *promotion)
{
	const char *hash = json_string_value(json_object_get(json, "routeHash"));

	if (!json)
		return 0;
	promotion->version = copy_string(json, "version");
	promotion->route = copy_string(json, "route");
	promotion->released = json_is_true(json_object_get(json, "released"));
	promotion->steered = json_is_true(json_object_get(json, "steered"));
	promotion->route_hash = hash ? strtoull(hash, NULL, 16) : 0;
	promotion->made = true;
	return promotion->version && hash ? 0 : -EINVAL;
}

static int read_split_versions(const json_t *list, struct state_split *split)
{
	size_t count = json_array_size(list);

	split->versions = calloc(count + 1, sizeof(*split->versions));
	split->names = calloc(count + 1, sizeof(*split->names));
	if (!split->versions || !split->names)
		return -ENOMEM;
	for (; split->version_count < count; split->version_count++) {
		const json_t *item = json_array_get(list, split->version_count);

		split->versions[split->version_count] = copy_string(item, "version");
		split->names[split->version_count] = copy_string(item, "inRoute");
		if (!split->versions[split->version_count] || !split->names[split->version_count]) {
			split->version_count++;
			return -EINVAL;
		}
	}
	return count ? 0 : -EINVAL;
}

static int split_index(const struct state_split *split, const char *version)
{
	for (size_t v = 0; version && v < split->version_count; v++) {
		if (strcmp(split->versions[v], version) == 0)
			return (int)v;
	}
	return -1;
}

static int read_split_shares(const json_t *list, struct state_split *split)
{
	uint64_t start = 0;

	if (json_array_size(list) == 0 || json_array_size(list) > SHUNT_SHARES)
		return -EINVAL;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		struct share share = { (uint64_t)json_integer_value(json_object_get(item, "end")),
				       split_index(split, json_string_value(json_object_get(item, "version"))) };

		if (share.version < 0 || share.end <= start || share.end > SHARES_ALL)
			return -EINVAL;
		start = share.end;
		split->shares.items[split->shares.count++] = share;
	}
	return start == SHARES_ALL ? 0 : -EINVAL;
}

static uint64_t read_percent(const json_t *json, const char *key)
{
	return (uint64_t)llround(json_number_value(json_object_get(json, key)) / 100 * (double)SHARES_ALL);
}

static int read_split(const json_t *json, struct state_split *split)
{
	const json_t *shares = json_object_get(json, "shares"), *moved = json_object_get(json, "movedUsersPercent");
	const char *hash = json_string_value(json_object_get(json, "routeHash"));

	split->problem = copy_string(json, "problem");
	if (!hash)
		return 0;
	split->route = copy_string(json, "route");
	split->route_hash = strtoull(hash, NULL, 16);
	split->entry = (int)json_integer_value(json_object_get(json, "entry"));
	split->steered = json_is_true(json_object_get(json, "steered"));
	split->released = json_is_true(json_object_get(json, "released"));
	split->weighted = shares != NULL;
	split->changes = (int)json_integer_value(json_object_get(json, "changes"));
	split->moved_last = read_percent(moved, "last");
	split->moved_all = read_percent(moved, "all");
	split->held = true;
	if (!split->route || read_split_versions(json_object_get(json, "versions"), split) < 0)
		return -EINVAL;
	return split->weighted ? read_split_shares(shares, split) : 0;
}

static int read_own(const json_t *own, struct state *state)
{
	const json_t *task = json_object_get(own, "task");
	json_t *base = json_object_get(own, "base"), *missing = json_object_get(own, "missing"), *numbers;
	struct series_numbers scratch;
	const char *version;

	state->start_done = json_is_true(json_object_get(own, "startDone"));
	state->loops_done = (int)json_integer_value(json_object_get(own, "loopsDone"));
	state->rolled_back = json_is_true(json_object_get(own, "rolledBack"));
	state->winner_found = json_is_true(json_object_get(own, "winnerFound"));
	state->any_feasible = json_is_true(json_object_get(own, "anyFeasible"));
	state->final = json_is_true(json_object_get(own, "final"));
	state->evidence = json_incref(json_object_get(own, "evidence"));
	state->task_action = copy_string(task, "action");
	state->task_next = (size_t)json_integer_value(json_object_get(task, "next"));
	if (!json_is_object(base))
		return -EINVAL;
	json_object_foreach(base, version, numbers) {
		if (builtin_base_from_json(numbers, &scratch) < 0)
			return -EINVAL;
	}
	json_object_update(state->base, base);
	if (missing)
		json_object_update(state->missing, missing);
	json_object_update(state->retried, json_object_get(own, "retried"));
	state->notes = json_incref(json_object_get(own, "notes"));
	state->variables = json_incref(json_object_get(own, "variables"));
	json_array_extend(state->tasks, json_object_get(own, "tasks"));
	state->uid = copy_string(own, "uid");
	state->scratch = copy_string(own, "scratch");
	if (read_split(json_object_get(own, "split"), &state->split) < 0)
		return -EINVAL;
	return read_promotion(json_object_get(own, "promotion"), &state->promotion);
}

/* What tasks have collected outlives the analysis of an iteration. */
static void read_analysis(json_t *analysis, struct state *state)
{
	state->collected = json_incref(json_object_get(analysis, "aggregatedBuiltinHists"));
	state->analysis = json_object_get(analysis, "winnerAssessment") ? json_copy(analysis) : NULL;
	if (state->analysis)
		json_object_del(state->analysis, "aggregatedBuiltinHists");
}

/* Which part of the status cannot be read; NULL: all can. */
static const char *read_status(const json_t *status, struct state *state)
{
	const json_t *iterations = json_object_get(status, "completedIterations");

	if (read_stage(status, &state->stage) < 0)
		return "stage";
	if (!json_is_integer(iterations) || json_integer_value(iterations) < 0 || json_integer_value(iterations) > INT32_MAX)
		return "completedIterations";
	if (read_time(status, "initTime", &state->init_time) < 0 || state->init_time == 0)
		return "initTime";
	if (read_time(status, "startTime", &state->start_time) < 0)
		return "startTime";
	if (read_time(status, "lastUpdateTime", &state->last_update) < 0)
		return "lastUpdateTime";
	if (read_conditions(status, state) < 0)
		return "conditions";
	if (read_own(json_object_get(status, "shunt"), state) < 0)
		return "shunt";
	state->completed_iterations = (int)json_integer_value(iterations);
	state->recommended = copy_string(status, "versionRecommendedForPromotion");
	state->message = copy_string(status, "message");
	state->weights = json_incref(json_object_get(status, "currentWeightDistribution"));
	state->metrics = json_incref(json_object_get(status, "metrics"));
	read_analysis(json_object_get(status, "analysis"), state);
	return NULL;
}

int status_from_json(const json_t *document, struct state **ret_state, char **ret_problem)
{
	_cleanup_(state_free) struct state *state = NULL;
	const char *field;
	int r = state_new(&state);

	if (r < 0)
		return r;
	field = read_status(json_object_get(document, "status"), state);
	if (field) {
		*ret_problem = text_printf("status.%s is missing or not as shunt writes it", field);
		return -EINVAL;
	}
	*ret_state = TAKE_PTR(state);
	return 0;
}

/* ---- the file ---- */

/* On the disk before it takes the old file's place: a status that is lost in a power cut starts the experiment anew. */
static int write_and_sync(const char *path, const json_t *document)
{
	_cleanup_file_ FILE *file = fopen(path, "we");
	int r;

	if (!file)
		return -errno;
	r = yamlout_write(file, document);
	if (r < 0)
		return r;
	return fflush(file) != 0 || fsync(fileno(file)) < 0 ? -errno : 0;
}

int status_write(const char *path, const json_t *document)
{
	_cleanup_free_ char *fresh = text_printf("%s.new", path);
	int r;

	if (!fresh || !document)
		return -ENOMEM;
	r = write_and_sync(fresh, document);
	if (r == 0 && rename(fresh, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(fresh);
	return r;
}

static int read_text(const char *path, char **ret_text, size_t *ret_size)
{
	_cleanup_file_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *text = NULL;
	struct stat st;

	if (!file || fstat(fileno(file), &st) < 0)
		return -errno;
	if (st.st_size > STATUS_SIZE_MAX)
		return -EFBIG;
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	*ret_size = fread(text, 1, (size_t)st.st_size, file);
	text[*ret_size] = '\0';
	*ret_text = TAKE_PTR(text);
	return 0;
}

int status_read(const char *path, json_t **ret_document, char **ret_problem)
{
	struct yaml_document *documents = NULL;
	_cleanup_free_ char *text = NULL;
	size_t size = 0, count = 0;
	int r = read_text(path, &text, &size);

	if (r == 0)
		r = yaml_parse(text, size, &documents, &count);
	if (r < 0) {
		*ret_problem = strdup(strerror(-r));
		return r;
	}
	if (count == 1 && documents[0].root) {
		*ret_document = json_incref(documents[0].root);
	} else {
		r = -EINVAL;
		*ret_problem = count == 1 ? text_printf("line %d: %s", documents[0].line, documents[0].error) :
					    text_printf("it holds %zu documents instead of one", count);
	}
	yaml_documents_free(documents, count);
	return r;
}
