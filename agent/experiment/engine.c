/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "experiment/assess.h"
#include "experiment/decide.h"
#include "experiment/report.h"
#include "experiment/scratch.h"
#include "experiment/split.h"
#include "experiment/state.h"
#include "experiment/status.h"
#include "experiment/trial.h"
#include "reading/builtin.h"
#include "reading/collected.h"
#include "reading/provider.h"
#include "reading/query.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define QUERY_DEADLINE_MIN_MS 1000
#define QUERY_DEADLINE_MAX_MS 5000 /* as Iter8's; all queries of an iteration run at once, so it is also the iteration's */

struct engine {
	uv_loop_t *loop;
	char *folder, *secrets, *user;
	struct engine_options options;
	struct engine_edge edge;
	struct provider *provider;
	const struct world *world;
	struct run *runs;
};

/* One reading that a provider has been asked for. */
struct asked {
	struct run *run;
	struct reading *reading;
	struct query *query; /* NULL: answered, or never asked */
};

/* One experiment. */
struct run {
	struct run *next;
	struct engine *engine;
	const struct experiment *experiment; /* of the engine's world */
	uint64_t hash;                       /* of its document */
	char *ns, *name, *path;
	char *label;                         /* "ns/name" */
	bool over;                           /* others know that it is completed */
	struct state *state; /* NULL: its status file cannot be read, and it stays as it is */
	json_t *written;     /* what the status file holds */
	bool metrics_old;    /* a Metric may have changed since status.metrics was made */
	bool unsaved;        /* something outside of decide_next() has changed the state since it was written */
	int write_error;
	uv_timer_t timer;
	bool seen;
	struct task_run *task;
	char *task_name; /* of the task that runs */
	struct readings *readings; /* while they are taken */
	struct asked *asked;
	size_t asked_count, waiting;
};

static void advance(struct run *run);

/* ---- clock and chance ---- */

static int64_t engine_now(const struct engine *engine)
{
	struct timespec ts;

	if (engine->options.now)
		return engine->options.now(engine->options.now_arg);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t interval_of(const struct run *run)
{
	int64_t override = run->engine->options.interval_ms;

	return override ? override : (int64_t)run->experiment->interval_seconds * 1000;
}

/* ---- the status file ---- */

static void log_events(struct run *run)
{
	const json_t *event;
	size_t i;

	json_array_foreach(run->state->events, i, event) {
		bool routine = strncmp(json_string_value(event), "IterationUpdate", strlen("IterationUpdate")) == 0;

		log_msg(routine ? LOG_DEBUG : LOG_INFO, "experiment %s: %s", run->label, json_string_value(event));
	}
	json_array_clear(run->state->events);
}

/* Writes the status when it has changed. A failure is logged once and tried again at the next change: the experiment goes on without it. */
static void save(struct run *run)
{
	_cleanup_json_ json_t *document = status_to_json(run->experiment, run->state);
	int r;

	run->unsaved = false;
	log_events(run);
	if (run->written && document && json_equal(document, run->written))
		return;
	r = status_write(run->path, document);
	if (r < 0 && r != run->write_error)
		log_err(r, "experiment %s: status file %s cannot be written; a restart of the agent would begin it anew", run->label, run->path);
	run->write_error = r;
	json_decref(run->written);
	run->written = r == 0 ? json_deep_copy(document) : NULL;
	if (run->engine->edge.changed)
		run->engine->edge.changed(run->engine->edge.arg);
}

/* That of the object, or a random one: it salts the split, so that every run of an experiment has other guinea pigs. */
static int give_uid(struct run *run)
{
	const json_t *metadata = json_object_get(run->experiment->meta.document, "metadata");
	const char *uid = json_string_value(json_object_get(metadata, "uid"));
	uint64_t bits[2];

	if (run->state->uid)
		return 0;
	if (!uid && getrandom(bits, sizeof(bits), 0) != sizeof(bits))
		return -EIO;
	run->state->uid = uid ? strdup(uid) : text_printf("%016llx%016llx", (unsigned long long)bits[0], (unsigned long long)bits[1]);
	return run->state->uid ? 0 : -ENOMEM;
}

/* Loads what an earlier agent left, or begins. */
static int load_state(struct run *run)
{
	_cleanup_json_ json_t *document = NULL;
	_cleanup_free_ char *problem = NULL;
	int r = status_read(run->path, &document, &problem);

	if (r == -ENOENT) {
		r = state_new(&run->state);
		if (r == 0)
			decide_init(run->state, engine_now(run->engine));
		return r == 0 ? give_uid(run) : r;
	}
	if (r == 0)
		r = status_from_json(document, &run->state, &problem);
	if (r == -ENOMEM)
		return r;
	if (r < 0) {
		log_err(0, "experiment %s/%s does not run: its status file %s cannot be used: %s; move the file away to begin the experiment anew",
			run->ns, run->name, run->path, problem ?: strerror(-r));
		return 0;
	}
	r = give_uid(run);
	if (r < 0)
		return r;
	run->written = TAKE_PTR(document);
	log_info("experiment %s goes on: stage %s, %d iterations completed", run->label, stage_name(run->state->stage),
		 run->state->completed_iterations);
	return 0;
}

/* ---- readings ---- */

static void resolution_clear(struct resolution *resolution, size_t count)
{
	for (size_t v = 0; resolution->names && v < count; v++)
		free(resolution->names[v]);
	free(resolution->names);
	free(resolution->series);
	free(resolution->percent);
	free(resolution->route);
	free(resolution->problem);
}

/* On an error every version is unresolved, and the resolution says why. */
static int resolve(struct run *run, struct resolution *resolution)
{
	size_t count = run->experiment->version_count;
	int r;

	*resolution = (struct resolution){ .series = calloc(count + 1, sizeof(int)), .names = calloc(count + 1, sizeof(char *)),
					   .percent = calloc(count + 1, sizeof(double)) };
	if (!resolution->series || !resolution->names || !resolution->percent)
		return -ENOMEM;
	r = run->engine->edge.resolve(run->engine->edge.arg, run->experiment, resolution);
	for (size_t v = 0; r < 0 && v < count; v++)
		resolution->series[v] = -1;
	if (r < 0 && !resolution->problem)
		resolution->problem = text_printf("the tables cannot be read: %s", strerror(-r));
	return r;
}

/* What was counted for a version since the experiment began; the first time, that is now. */
static int read_window(struct run *run, const char *version, int series, struct series_numbers *ret_window)
{
	struct series_numbers now, base;
	int r = run->engine->edge.read(run->engine->edge.arg, series, &now);

	if (r < 0)
		return r;
	if (!json_object_get(run->state->base, version))
		json_object_set_new(run->state->base, version, builtin_base_to_json(&now));
	r = builtin_base_from_json(json_object_get(run->state->base, version), &base);
	if (r < 0)
		return r;
	if (!builtin_window(&now, &base, ret_window)) {
		log_warn("experiment %s: the counters of %s have begun anew since it started; it counts from there", run->label, version);
		json_object_set_new(run->state->base, version, builtin_base_to_json(&(struct series_numbers){}));
	}
	return 0;
}

static void fail_builtins(struct run *run, size_t version, const char *problem)
{
	for (size_t m = 0; m < run->readings->metric_count; m++) {
		struct metric_origin origin = metric_resolve(run->engine->world, run->ns, run->readings->metrics[m]);

		if (origin.source == METRIC_BUILTIN)
			reading_fail(&run->readings->cells[m * run->readings->version_count + version], "%s", problem);
	}
}

/* What single users got of a version, when the experiment divides them. Returns whether that is known. */
static bool read_users(struct run *run, int series, struct user_sums *ret_sums)
{
	const struct engine_edge *edge = &run->engine->edge;

	if (!run->state->split.held || run->state->split.released || !edge->read_users)
		return false;
	if (edge->read_users(edge->arg, trial_id(run->state->uid), series, ret_sums) < 0)
		return false;
	if (run->experiment->refusals_are_errors)
		user_sums_count_refusals(ret_sums);
	return true;
}

static void read_evidence(const struct builtin_input *input, enum sample_unit unit, struct evidence *evidence)
{
	double lost;

	if (!input->users || unit == UNIT_REQUEST) {
		evidence_from_counters(&input->window, evidence);
		return;
	}
	lost = (double)input->window.count.users - (double)input->users->users;
	evidence_from_users(input->users, lost > 0 ? lost : 0, &input->window, evidence);
}

static void read_builtins(struct run *run, size_t version, const struct resolution *resolution)
{
	struct builtin_input input = { .converts = run->experiment->conversion.class > 0 };
	struct user_sums users;
	int r;

	if (resolution->series[version] < 0) {
		fail_builtins(run, version, resolution->problem ?: "the version is in no route");
		return;
	}
	r = read_window(run, run->readings->versions[version], resolution->series[version], &input.window);
	if (r < 0) {
		fail_builtins(run, version, strerror(-r));
		return;
	}
	if (run->experiment->refusals_are_errors)
		builtin_count_refusals(&input.window);
	if (read_users(run, resolution->series[version], &users))
		input.users = &users;
	read_evidence(&input, run->experiment->strength.unit, &run->readings->evidence[version]);
	for (size_t m = 0; m < run->readings->metric_count; m++) {
		struct metric_origin origin = metric_resolve(run->engine->world, run->ns, run->readings->metrics[m]);

		if (origin.source == METRIC_BUILTIN)
			builtin_read(origin.builtin, &input, &run->readings->cells[m * run->readings->version_count + version]);
	}
}

/* Iter8's own built-in metrics (provider iter8) are of the load that metrics/collect has driven, once it has. */
static void read_collected(struct run *run, size_t version)
{
	const json_t *data = json_object_get(run->state->collected, "data");
	struct builtin_input input = {};

	if (!collected_numbers(data, run->readings->versions[version], &input.window))
		return;
	for (size_t m = 0; m < run->readings->metric_count; m++) {
		const char *reference = run->readings->metrics[m];
		struct metric_origin origin = metric_resolve(run->engine->world, run->ns, reference);
		bool iter8 = origin.object ? strcmp(origin.object->provider, "iter8") == 0 : strncmp(reference, "iter8-system/", 13) == 0;

		if (origin.source == METRIC_BUILTIN && iter8)
			builtin_read(origin.builtin, &input, &run->readings->cells[m * run->readings->version_count + version]);
	}
}

static void finish_reading(struct run *run);

static void answered(void *arg, struct reading *reading)
{
	struct asked *asked = arg;
	struct run *run = asked->run;

	asked->query = NULL;
	reading_take(asked->reading, reading);
	if (--run->waiting == 0)
		finish_reading(run);
}

static void ask_provider(struct run *run, const struct metric *metric, size_t version, struct reading *reading)
{
	int64_t elapsed = engine_now(run->engine) - run->state->start_time, deadline = interval_of(run);
	_cleanup_json_ json_t *values = query_values(&run->experiment->versions[version], elapsed);
	struct asked *asked = &run->asked[run->asked_count];
	_cleanup_free_ char *problem = NULL;
	int r;

	deadline = deadline < QUERY_DEADLINE_MIN_MS ? QUERY_DEADLINE_MIN_MS : deadline > QUERY_DEADLINE_MAX_MS ? QUERY_DEADLINE_MAX_MS : deadline;
	json_object_update(values, run->state->variables);
	*asked = (struct asked){ .run = run, .reading = reading };
	r = values ? provider_query(run->engine->provider, metric, values,
				    &(struct query_limits){ .deadline_ms = (uint64_t)deadline, .oldest_s = (double)interval_of(run) / 1e3 }, answered, asked,
				    &asked->query, &problem) : -ENOMEM;
	if (r < 0) {
		reading_fail(reading, "%s", problem ?: strerror(-r));
		return;
	}
	run->asked_count++;
	run->waiting++;
}

/* What does not come from our counters. */
static void read_others(struct run *run, size_t metric, size_t version)
{
	struct metric_origin origin = metric_resolve(run->engine->world, run->ns, run->readings->metrics[metric]);
	struct reading *reading = &run->readings->cells[metric * run->readings->version_count + version];
	double elapsed = (double)((engine_now(run->engine) - run->state->start_time) / 1000);

	if (origin.source == METRIC_HTTP)
		ask_provider(run, origin.object, version, reading);
	else if (origin.source == METRIC_MOCK)
		mock_read(origin.object, run->readings->versions[version], elapsed < 1 ? 1 : elapsed, &run->engine->options.random, reading);
	else if (origin.source == METRIC_UNKNOWN)
		reading_fail(reading, "Unable to find metric %s", run->readings->metrics[metric]);
}

static void cancel_reading(struct run *run)
{
	for (size_t i = 0; i < run->asked_count; i++)
		query_cancel(&run->asked[i].query);
	free(TAKE_PTR(run->asked));
	run->asked_count = run->waiting = 0;
	readings_free(&run->readings);
}

/* What a run that is over still holds of a route. */
static bool still_holds(const struct run *run, const char *route)
{
	const struct state *state = run->state;

	if (!state || !route)
		return false;
	if (state->promotion.made && !state->promotion.released && state->promotion.route)
		return strcmp(route, state->promotion.route) == 0;
	return state->split.held && !state->split.released && strcmp(route, state->split.route) == 0;
}

/* The route is this experiment's now: what one that is over has left there would bring one version no users. Returns whether something ended. */
static bool release_older(struct run *run, const char *route)
{
	bool released = false;

	for (struct run *other = run->engine->runs; other; other = other->next) {
		if (other == run || !still_holds(other, route) || other->state->stage != STAGE_COMPLETED)
			continue;
		other->state->promotion.released = other->state->split.released = released = true;
		log_info("experiment %s: its promotion of %s ends because %s begins on route %s", other->label, other->state->recommended ?: "nothing",
			 run->label, route);
		save(other);
	}
	return released;
}

/* Another experiment that runs on the route; NULL: none. */
static const struct run *find_holder(const struct run *run, const char *route)
{
	for (const struct run *other = run->engine->runs; other; other = other->next) {
		if (other != run && still_holds(other, route) && other->state->stage != STAGE_COMPLETED)
			return other;
	}
	return NULL;
}

static const struct virtual_service *find_route(const struct world *world, const char *route)
{
	for (size_t i = 0; route && i < world->virtual_service_count; i++) {
		const struct object_meta *meta = &world->virtual_services[i].meta;
		size_t length = strlen(meta->ns);

		if (strncmp(route, meta->ns, length) == 0 && route[length] == '/' && strcmp(route + length + 1, meta->name) == 0)
			return &world->virtual_services[i];
	}
	return NULL;
}

/*
 * The shares that the users have to fall on, for the test of the split. Only where a split alone divides them, always in the same shares: the route has a single
 * entry, which takes every request, and is still as it was when the experiment took it. Users that were forgotten would have to be missing evenly, which nobody knows.
 */
static void note_shares(struct run *run, const struct resolution *resolution)
{
	const struct virtual_service *vs = find_route(run->engine->world, resolution->route);
	const struct http_route *only = !vs || vs->http_count + vs->tcp_count != 1 ? NULL : vs->http_count ? vs->http : vs->tcp;
	const struct state_split *split = &run->state->split;

	if (!only || only->match_count > 0 || !split->held || split->route_hash != vs->meta.hash || split_weighs(run->experiment) ||
	    resolution->percent[0] < 0)
		return;
	for (size_t v = 0; v < run->experiment->version_count; v++) {
		struct evidence *evidence = &run->readings->evidence[v];

		evidence->share = evidence->lost > 0 ? 0 : resolution->percent[v] / 100;
	}
}

static int begin_reading(struct run *run)
{
	struct resolution resolution = {};
	int r = resolve(run, &resolution) == -ENOMEM ? -ENOMEM : 0; /* without the tables other metrics can still be read */

	if (r == 0)
		r = readings_new(run->engine->world, run->experiment, &run->readings);
	if (r == 0) {
		run->asked = calloc(run->readings->metric_count * run->readings->version_count + 1, sizeof(*run->asked));
		r = run->asked ? 0 : -ENOMEM;
	}
	if (r == 0 && resolution.route && resolution.percent[0] >= 0)
		split_observe(run->experiment, run->state, resolution.percent);
	for (size_t v = 0; r == 0 && v < run->experiment->version_count; v++) {
		read_builtins(run, v, &resolution);
		read_collected(run, v);
		for (size_t m = 0; m < run->readings->metric_count; m++)
			read_others(run, m, v);
	}
	if (r == 0)
		note_shares(run, &resolution);
	resolution_clear(&resolution, run->experiment->version_count);
	return r;
}

/* ---- decisions ---- */

struct decide_call {
	struct decide_input in;
	struct contender *contenders;
};

static void cleanup_call(struct decide_call *call)
{
	free(call->contenders);
}

/* Who else wants the target is asked while waiting for it only; with a thousand experiments that is a long list. */
static int list_contenders(const struct run *run, struct decide_call *call)
{
	size_t count = 0;

	for (const struct run *other = run->engine->runs; other; other = other->next)
		count++;
	call->contenders = calloc(count, sizeof(*call->contenders));
	if (!call->contenders)
		return -ENOMEM;
	call->in.contenders = call->contenders;
	for (const struct run *other = run->engine->runs; other; other = other->next) {
		if (other->state)
			call->contenders[call->in.contender_count++] = (struct contender){ other->experiment, other->state };
	}
	return 0;
}

static int make_call(const struct run *run, struct decide_call *call)
{
	call->in = (struct decide_input){
		.world = run->engine->world,
		.experiment = run->experiment,
		.now = engine_now(run->engine),
		.interval_ms = interval_of(run),
	};
	return run->state && run->state->stage == STAGE_WAITING ? list_contenders(run, call) : 0;
}

static void turn(uv_timer_t *timer)
{
	advance(timer->data);
}

static void turn_in(struct run *run, int64_t ms)
{
	uv_update_time(run->engine->loop);
	uv_timer_start(&run->timer, turn, ms > 0 ? (uint64_t)ms : 0, 0);
}

/* The target may be free for another now. */
static void wake_waiting(struct engine *engine)
{
	for (struct run *run = engine->runs; run; run = run->next) {
		if (run->state && run->state->stage == STAGE_WAITING)
			turn_in(run, 0);
	}
}

static int assess_readings(const struct run *run, struct assessment **ret_assessment)
{
	_cleanup_free_ int *weights = calloc(run->experiment->version_count + 1, sizeof(*weights));

	if (!weights)
		return -ENOMEM;
	return assess(run->experiment, run->readings, split_weights(run->experiment, run->state, weights) ? weights : NULL, ret_assessment);
}

static void finish_reading(struct run *run)
{
	_cleanup_(assessment_free) struct assessment *assessment = NULL;
	_cleanup_(cleanup_call) struct decide_call call = {};

	readings_join_samples(run->engine->world, run->experiment, run->readings);
	if (make_call(run, &call) < 0 || assess_readings(run, &assessment) < 0) {
		log_err(-ENOMEM, "experiment %s: iteration left out", run->label);
		cancel_reading(run);
		turn_in(run, interval_of(run));
		return;
	}
	if (!run->state->metrics || run->metrics_old) { /* what is read is what the folder has now (Iter8 reads a Metric once, T22) */
		json_decref(run->state->metrics);
		run->state->metrics = status_metrics(run->engine->world, run->experiment, run->readings);
		run->metrics_old = false;
	}
	json_decref(run->state->analysis);
	run->state->analysis = status_analysis(run->experiment, run->readings, assessment, call.in.now);
	json_decref(run->state->evidence);
	run->state->evidence = verdict_to_json(run->experiment, assessment->verdict);
	status_note_readings(run->state, run->readings, call.in.now);
	decide_assessed(&call.in, run->state, assessment);
	run->unsaved = true;
	cancel_reading(run);
	advance(run);
}

static uint64_t route_hash(const struct world *world, const char *route)
{
	const struct virtual_service *vs = find_route(world, route);

	return vs ? vs->meta.hash : 0;
}

/* ---- steering ---- */

/* The experiment has the route's split from here on. -ENOENT, -EBUSY and *ret_problem: it cannot have it. */
static int hold(struct run *run, char **ret_problem)
{
	struct resolution resolution = {};
	struct series_numbers window;
	const struct run *holder;
	int r = resolve(run, &resolution);

	if (r == 0 && !resolution.route) {
		r = -ENOENT;
		*ret_problem = strdup(resolution.problem ?: "no route has all versions of the experiment");
	}
	holder = r == 0 ? find_holder(run, resolution.route) : NULL;
	if (holder) {
		r = -EBUSY;
		*ret_problem = text_printf("route %s is divided by experiment %s, which is not over yet; experiments on one route take turns when they have the same target",
					   resolution.route, holder->label);
	}
	if (r == 0) {
		release_older(run, resolution.route);
		r = split_hold(run->experiment, run->state,
			       &(struct split_origin){ resolution.route, route_hash(run->engine->world, resolution.route), resolution.names,
						       resolution.percent[0] >= 0 ? resolution.percent : NULL });
	}
	for (size_t v = 0; r == 0 && v < run->experiment->version_count; v++) /* before the first of its users comes */
		read_window(run, run->experiment->versions[v].name, resolution.series[v], &window);
	if (r == -E2BIG)
		*ret_problem = text_printf("the experiment has %zu versions, and users can be divided among %d at most", run->experiment->version_count,
					   SHUNT_SHARES);
	resolution_clear(&resolution, run->experiment->version_count);
	return r;
}

/* On disk before the packets follow it, as a promotion is. */
static void steer(struct run *run, const struct decide_input *in)
{
	_cleanup_free_ char *problem = NULL;
	int r = run->state->split.held ? 0 : hold(run, &problem);

	if (r == 0) {
		save(run);
		r = run->engine->edge.steer(run->engine->edge.arg);
	}
	split_steered(run->state, r, problem, in->now + in->interval_ms);
	run->unsaved = true;
}

/* Sets what the next plan is to follow. -ENOENT: the version is in no route, there is nothing to steer. */
static int record_promotion(struct run *run)
{
	struct state_promotion *promotion = &run->state->promotion;
	size_t version = decide_version(run->experiment, run->state->recommended);
	struct resolution resolution = {};
	int r = resolve(run, &resolution);

	if (r == 0 && (resolution.series[version] < 0 || !resolution.names[version])) {
		r = -ENOENT;
		state_event(run->state, "Promotion", "Nothing is steered: %s is in no route%s%s", run->state->recommended,
			    resolution.problem ? ": " : "", resolution.problem ?: "");
	}
	if (r == 0) {
		free(promotion->route);
		promotion->route = TAKE_PTR(resolution.route);
		text_replace(&promotion->version, "%s", resolution.names[version]);
		promotion->route_hash = route_hash(run->engine->world, promotion->route);
		promotion->made = true;
		promotion->released = false;
		state_event(run->state, "Promotion", "Steering route %s to %s", promotion->route ?: "(all that have the version)", promotion->version);
	}
	resolution_clear(&resolution, run->experiment->version_count);
	return r;
}

/* The intention is on disk before the packets follow it: a plan made after a crash in between has the promotion too. */
static void promote(struct run *run, const struct decide_input *in)
{
	int r = record_promotion(run);

	if (r == 0) {
		save(run);
		r = run->engine->edge.steer(run->engine->edge.arg);
	} else if (r == -ENOENT) {
		r = 0; /* the tasks may still do what they are for */
	}
	decide_promoted(in, run->state, r);
	run->unsaved = true;
}

static const char *task_user(const struct run *run)
{
	return run->engine->options.task.user ?: TASK_USER;
}

/* What templates of a task may name; NULL: no version is recommended yet. document: the experiment with its status. */
static json_t *task_values(const struct run *run, json_t *document)
{
	const struct version_detail *version;
	json_t *values;

	if (!run->state->recommended)
		return NULL;
	version = &run->experiment->versions[decide_version(run->experiment, run->state->recommended)];
	values = json_pack("{s:s}", "name", version->name);
	for (size_t i = 0; i < version->variable_count; i++)
		json_object_set_new(values, version->variables[i].name, json_string(version->variables[i].value));
	json_object_update(values, run->state->variables);
	json_object_set(values, "this", document);
	return values;
}

/* The experiment as the manifest has it, with the status as it is now. */
static json_t *whole_document(const struct run *run)
{
	_cleanup_json_ json_t *status = status_to_json(run->experiment, run->state);
	json_t *document = json_copy(run->experiment->meta.document) ?: json_object();

	json_object_set(document, "status", json_object_get(status, "status"));
	return document;
}

static void report_task(struct run *run, bool ok, const char *message)
{
	_cleanup_(cleanup_call) struct decide_call call = {};

	log_msg(ok ? LOG_INFO : LOG_ERR, "experiment %s: %s", run->label, message);
	if (run->state->task_next == 0)
		json_array_clear(run->state->tasks);
	json_array_append_new(run->state->tasks, json_pack("{s:s, s:b, s:s}", "task", run->task_name ?: "", "ok", ok, "message", message));
	if (make_call(run, &call) == 0)
		decide_task_done(&call.in, run->state, ok, message);
	run->unsaved = true;
}

static void task_ended(void *arg, const struct task_outcome *outcome)
{
	struct run *run = arg;

	run->task = NULL;
	if (outcome->collected) {
		json_decref(run->state->collected);
		run->state->collected = status_collected(json_incref(outcome->collected), engine_now(run->engine));
	}
	if (outcome->variables) {
		json_decref(run->state->variables);
		run->state->variables = json_incref(outcome->variables);
	}
	report_task(run, outcome->ok, outcome->message);
	advance(run);
}

/* Returns whether the task is running; when it is not, that is reported already. */
static bool start_task(struct run *run, const struct task *task)
{
	_cleanup_json_ json_t *document = whole_document(run), *values = task_values(run, document);
	const struct task_context context = {
		.experiment = run->experiment,
		.document = document,
		.values = values,
		.world = &run->engine->world,
		.collected = json_object_get(run->state->collected, "data"),
		.scratch = run->state->scratch,
	};
	_cleanup_free_ char *text = NULL;
	int r;

	text_replace(&run->task_name, "%s", task->name);
	r = task_start(run->engine->loop, task, &context, &run->engine->options.task, task_ended, run, &run->task, &text);
	if (r == 0)
		return true;
	report_task(run, r > 0, text ?: strerror(-r));
	return false;
}

/* Carries out one decision. Returns whether the machine can turn again at once. */
static bool carry_out(struct run *run, const struct decide_input *in, const struct decision *decision)
{
	switch (decision->kind) {
	case DECIDE_READ:
		if (begin_reading(run) < 0) {
			cancel_reading(run);
			turn_in(run, in->interval_ms);
		} else if (run->waiting == 0) {
			finish_reading(run); /* which goes on by itself */
		}
		return false;
	case DECIDE_STEER:
		steer(run, in);
		return true;
	case DECIDE_PROMOTE:
		promote(run, in);
		return true;
	case DECIDE_TASK:
		if (task_uses_scratch(decision->task))
			scratch_open(task_user(run), &run->state->scratch); /* a task that wants none can do without */
		save(run);
		return !start_task(run, decision->task);
	case DECIDE_WAIT:
		if (decision->until)
			turn_in(run, decision->until - in->now);
		return false;
	case DECIDE_OVER:
		return false;
	}
	return false;
}

/*
 * decide_next(), and the status on disk when that has changed something: most turns only find that it is time to read, and a status is much to build for
 * every one of a thousand experiments. What decide_next() changes is a member of the state, or it says so by an event.
 */
static struct decision decide(struct run *run, const struct decide_input *in)
{
	struct state before;
	struct decision decision;

	memcpy(&before, run->state, sizeof(before));
	decision = decide_next(in, run->state);
	if (run->state->stage == STAGE_COMPLETED)
		scratch_remove(task_user(run), &run->state->scratch);
	if (run->unsaved || json_array_size(run->state->events) || memcmp(&before, run->state, sizeof(before)) != 0)
		save(run);
	return decision;
}

/* One experiment as far as it goes without waiting. */
static void advance(struct run *run)
{
	bool again = true;

	while (again && run->state && !run->task && !run->readings) {
		_cleanup_(cleanup_call) struct decide_call call = {};
		struct decision decision;

		if (make_call(run, &call) < 0) {
			turn_in(run, interval_of(run));
			return;
		}
		decision = decide(run, &call.in);
		if (!run->over && run->state->stage == STAGE_COMPLETED) {
			run->over = true;
			wake_waiting(run->engine);
		}
		again = carry_out(run, &call.in, &decision);
	}
}

/* ---- the world ---- */

static void run_closed(uv_handle_t *handle)
{
	struct run *run = handle->data;

	state_free(&run->state);
	json_decref(run->written);
	free(run->ns);
	free(run->name);
	free(run->path);
	free(run->label);
	free(run->task_name);
	free(run);
}

/* The engine may be gone by the time the handle is closed. */
static void run_end(struct run *run)
{
	cancel_reading(run);
	task_cancel(&run->task);
	uv_close((uv_handle_t *)&run->timer, run_closed);
}

static int run_new(struct engine *engine, const struct experiment *experiment)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return -ENOMEM;
	run->engine = engine;
	run->experiment = experiment;
	run->hash = experiment->meta.hash;
	run->seen = run->unsaved = true;
	uv_timer_init(engine->loop, &run->timer);
	run->timer.data = run;
	run->ns = strdup(experiment->meta.ns);
	run->name = strdup(experiment->meta.name);
	run->path = status_path(engine->folder, experiment->meta.ns, experiment->meta.name);
	run->label = text_printf("%s/%s", experiment->meta.ns, experiment->meta.name);
	if (!run->ns || !run->name || !run->path || !run->label || load_state(run) < 0) {
		uv_close((uv_handle_t *)&run->timer, run_closed);
		return -ENOMEM;
	}
	run->next = engine->runs;
	engine->runs = run;
	return 0;
}

static struct run *find_run(const struct engine *engine, const struct object_meta *meta)
{
	for (struct run *run = engine->runs; run; run = run->next) {
		if (strcmp(run->ns, meta->ns) == 0 && strcmp(run->name, meta->name) == 0)
			return run;
	}
	return NULL;
}

static void update_run(struct run *run, const struct experiment *experiment)
{
	run->experiment = experiment;
	run->seen = run->metrics_old = true;
	if (run->hash == experiment->meta.hash)
		return;
	run->hash = experiment->meta.hash;
	cancel_reading(run); /* it was of other versions or metrics, perhaps */
	log_info("experiment %s: its manifest has changed; it goes on with what is written now", run->label);
}

/* An experiment that is deleted takes its status and its promotion with it. */
static void drop_unseen(struct engine *engine)
{
	for (struct run **at = &engine->runs; *at;) {
		struct run *run = *at;

		if (run->seen) {
			at = &run->next;
			continue;
		}
		*at = run->next;
		log_info("experiment %s is gone; the route's own rules hold again", run->label);
		task_cancel(&run->task);
		if (run->state)
			scratch_remove(task_user(run), &run->state->scratch);
		if (unlink(run->path) < 0 && errno != ENOENT)
			log_err(-errno, "status file %s cannot be removed", run->path);
		run_end(run);
	}
}

/*
 * What an experiment leaves behind stands in for a change of the route's object. Once the object has changed, what it says is what holds, for good.
 * While an experiment runs, its weights stand whatever else of the route changes.
 */
static void release_changed(struct run *run)
{
	struct state *state = run->state;
	const char *route = state ? state->promotion.route ?: state->split.route : NULL;
	uint64_t hash = !state ? 0 : state->promotion.made ? state->promotion.route_hash : state->split.route_hash;

	if (!route || !still_holds(run, route) || (!state->promotion.made && state->stage != STAGE_COMPLETED))
		return;
	if (route_hash(run->engine->world, route) == hash)
		return;
	state->promotion.released = state->split.released = run->unsaved = true;
	log_info("experiment %s: route %s has changed; its rules hold from here on, the promotion of %s has done its work", run->label, route,
		 state->recommended ?: "nothing");
}

int engine_set_world(struct engine *engine, const struct world *world)
{
	int r = 0;

	engine->world = world;
	for (struct run *run = engine->runs; run; run = run->next)
		run->seen = false;
	for (size_t i = 0; i < world->experiment_count; i++) {
		struct run *run = find_run(engine, &world->experiments[i].meta);

		if (run)
			update_run(run, &world->experiments[i]);
		else if (run_new(engine, &world->experiments[i]) < 0)
			r = -ENOMEM;
	}
	drop_unseen(engine);
	for (struct run *run = engine->runs; run; run = run->next) {
		release_changed(run);
		turn_in(run, 0);
	}
	return r;
}

/* What a running experiment wants of its route. */
static struct steering split_steering(const struct run *run)
{
	const struct state_split *split = &run->state->split;
	struct steering steering = { .experiment = run->label, .route = split->route, .salt = run->state->uid, .entry = split->entry,
				     .trial = trial_of(run->experiment, run->state->uid) };

	for (size_t i = 0; i < split->shares.count; i++)
		steering.shares[steering.share_count++] = (struct steering_share){ split->names[split->shares.items[i].version], split->shares.items[i].end };
	return steering;
}

/* false: nothing. */
static bool steering_of(const struct run *run, struct steering *ret_steering)
{
	const struct state *state = run->state;

	if (state && state->promotion.made && !state->promotion.released)
		*ret_steering = (struct steering){ .experiment = run->label, .route = state->promotion.route, .version = state->promotion.version,
						   .route_hash = state->promotion.route_hash, .salt = state->split.held ? state->uid : NULL, .entry = -1 };
	else if (state && !state->promotion.made && state->split.held && !state->split.released)
		*ret_steering = split_steering(run);
	else
		return false;
	return true;
}

int engine_steerings(const struct engine *engine, struct steering **ret_steerings, size_t *ret_count)
{
	struct steering *steerings;
	size_t count = 0;

	for (const struct run *run = engine->runs; run; run = run->next)
		count++;
	steerings = calloc(count + 1, sizeof(*steerings));
	if (!steerings)
		return -ENOMEM;
	count = 0;
	for (const struct run *run = engine->runs; run; run = run->next)
		count += steering_of(run, &steerings[count]);
	*ret_steerings = steerings;
	*ret_count = count;
	return 0;
}

/* "flowers-v1 60, flowers-v2 40"; NULL: not known */
static char *weights_text(const json_t *weights)
{
	_cleanup_free_ char *text = NULL;
	const json_t *item;
	size_t i, size;
	FILE *out = json_array_size(weights) ? open_memstream(&text, &size) : NULL;

	if (!out)
		return NULL;
	json_array_foreach(weights, i, item)
		fprintf(out, "%s%s %d", i ? ", " : "", json_string_value(json_object_get(item, "name")), (int)json_integer_value(json_object_get(item, "value")));
	return fclose(out) == 0 ? TAKE_PTR(text) : NULL;
}

static json_t *in_short(const struct run *run)
{
	const struct state *state = run->state;
	_cleanup_free_ char *weights = state ? weights_text(state->weights) : NULL;

	if (!state)
		return json_pack("{s:s, s:s, s:s, s:n, s:n, s:n, s:n, s:n, s:s}", "namespace", run->ns, "name", run->name, "target", run->experiment->target, "stage",
				 "completed_iterations", "recommended", "verdict", "weights", "message", "its status file cannot be used");
	return json_pack("{s:s, s:s, s:s, s:s, s:i, s:s?, s:s?, s:s?, s:s?}", "namespace", run->ns, "name", run->name, "target", run->experiment->target, "stage",
			 stage_name(state->stage), "completed_iterations", state->completed_iterations, "recommended", state->recommended, "verdict",
			 json_string_value(json_object_get(state->evidence, "verdict")), "weights", weights,
			 "message", state->message);
}

json_t *engine_list(const struct engine *engine)
{
	json_t *list = json_array();

	for (const struct run *run = engine->runs; run; run = run->next)
		json_array_append_new(list, in_short(run));
	for (size_t i = 0, n = json_array_size(list); i < n / 2; i++) { /* the newest run is the first in the engine's list */
		_cleanup_json_ json_t *first = json_incref(json_array_get(list, i));

		json_array_set(list, i, json_array_get(list, n - 1 - i));
		json_array_set(list, n - 1 - i, first);
	}
	return list;
}

void engine_problems(const struct engine *engine, json_t *list)
{
	for (const struct run *run = engine->runs; run; run = run->next) {
		if (run->state)
			report_problems(run->label, run->state, list);
	}
}

json_t *engine_view(const struct engine *engine)
{
	json_t *list = json_array();

	for (const struct run *run = engine->runs; run; run = run->next) {
		_cleanup_json_ json_t *document = run->state ? status_to_json(run->experiment, run->state) : NULL;
		json_t *status = document ? json_object_get(document, "status") : NULL;

		json_array_insert_new(list, 0, /* the newest run is the first in the list */
				      json_pack("{s:s, s:s, s:s, s:I, s:O?}", "namespace", run->ns, "name", run->name, "target", run->experiment->target,
						"interval_ms", (json_int_t)interval_of(run), "status", status));
	}
	return list;
}

/* ---- lifetime ---- */

int engine_new(uv_loop_t *loop, const struct engine_options *options, const struct engine_edge *edge, struct engine **ret_engine)
{
	struct engine *engine = calloc(1, sizeof(*engine));

	if (!engine)
		return -ENOMEM;
	engine->loop = loop;
	engine->options = *options;
	engine->edge = *edge;
	engine->folder = strdup(options->folder);
	engine->secrets = options->secrets ? strdup(options->secrets) : text_printf("%s/.secrets", options->folder);
	engine->user = options->task.user ? strdup(options->task.user) : NULL;
	engine->options.task.user = engine->user;
	engine->options.task.secrets = engine->secrets;
	if (!engine->options.random.next)
		engine->options.random = mock_random_system;
	if (!engine->folder || !engine->secrets ||
	    provider_new(loop, &(struct secret_source){ engine->secrets, &engine->world }, &engine->provider) < 0) {
		engine_free(&engine);
		return -ENOMEM;
	}
	*ret_engine = engine;
	return 0;
}

void engine_free(struct engine **engine)
{
	struct engine *e = TAKE_PTR(*engine);
	struct run *next;

	if (!e)
		return;
	for (struct run *run = e->runs; run; run = next) {
		next = run->next;
		run_end(run);
	}
	provider_free(&e->provider);
	free(e->folder);
	free(e->secrets);
	free(e->user);
	free(e);
}
