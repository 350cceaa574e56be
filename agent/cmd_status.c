/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * shunt status: what the kernel does right now, from the pinned maps, so it works without the agent; and what the agent has to say, from its state.json.
 */
#include "cmd.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "datapath/datapath.h"
#include "shunt/histogram.h"
#include "util/addr.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"
#include "util/text.h"
#include "view.h"

struct status_options {
	struct cmd_common common;
	double interval;
	bool all;
};

static const struct status_options defaults = { .common = CMD_COMMON_DEFAULTS, .interval = 1 };

static const struct cmd_option options_table[] = {
	{ "all", 'a', CMD_FLAG, NULL, "show all counters, also those of normal life and those at 0", offsetof(struct status_options, all) },
	{ "interval", 'i', CMD_SECONDS, "S", "seconds between the two readings that rates come from (1); 0: no rates",
	  offsetof(struct status_options, interval) },
};

/* ---- how a person sees it --------------------------------------------------------------------------------------------------------------- */

static const struct emit_column agent_columns[] = {
	{ "running", "running", EMIT_TEXT },
	{ "pid", "pid", EMIT_TEXT },
	{ "since", "since", EMIT_TEXT },
	{ "manifests", "manifests", EMIT_TEXT },
};

static const struct emit_column attachment_columns[] = {
	{ "interface", "INTERFACE", EMIT_TEXT },
	{ "kind", "KIND", EMIT_TEXT },
	{ "present", "PRESENT", EMIT_TEXT },
	{ "purpose", "FOR", EMIT_TEXT },
};

static const struct emit_column frontend_columns[] = {
	{ "address", "ADDRESS", EMIT_TEXT },
	{ "kind", "KIND", EMIT_TEXT },
	{ "hosts", "HOSTS", EMIT_TEXT },
	{ "routes", "ROUTES", EMIT_TEXT },
	{ "identities", "USER BY", EMIT_TEXT },
};

static const struct emit_column version_columns[] = {
	{ "version", "VERSION", EMIT_TEXT },
	{ "route", "ROUTE", EMIT_TEXT },
	{ "share", "SHARE", EMIT_PERCENT },
	{ "rules", "RULES", EMIT_TEXT },
	{ "pods", "PODS", EMIT_TEXT },
	{ "request_lines", "REQUESTS GET", EMIT_TEXT },
	{ "response_lines", "RESPONSES GET", EMIT_TEXT },
};

static const struct emit_column number_columns[] = {
	{ "version", "VERSION", EMIT_TEXT },
	{ "requests", "REQUESTS", EMIT_TEXT },
	{ "rate_per_s", "PER SECOND", EMIT_FIXED1 },
	{ "errors", "ERRORS", EMIT_TEXT },
	{ "aborted", "ABORTED", EMIT_TEXT },
	{ "latency_mean_ms", "MEAN ms", EMIT_FIXED2 },
	{ "latency_p50_ms", "P50 ms", EMIT_FIXED2 },
	{ "latency_p95_ms", "P95 ms", EMIT_FIXED2 },
	{ "latency_p99_ms", "P99 ms", EMIT_FIXED2 },
};

static const struct emit_column experiment_columns[] = {
	{ "namespace", "NAMESPACE", EMIT_TEXT },
	{ "name", "NAME", EMIT_TEXT },
	{ "stage", "STAGE", EMIT_TEXT },
	{ "completed_iterations", "ITERATIONS", EMIT_TEXT },
	{ "weights", "WEIGHTS %", EMIT_TEXT },
	{ "verdict", "EVIDENCE", EMIT_TEXT },
	{ "recommended", "RECOMMENDED", EMIT_TEXT },
	{ "message", "MESSAGE", EMIT_TEXT },
};

static const struct emit_column problem_columns[] = {
	{ "level", "LEVEL", EMIT_TEXT },
	{ "where", "WHERE", EMIT_TEXT },
	{ "message", "MESSAGE", EMIT_TEXT },
};

static const struct emit_column reason_columns[] = {
	{ "count", "COUNT", EMIT_TEXT },
	{ "text", "WHAT", EMIT_TEXT },
	{ "name", "COUNTER", EMIT_TEXT },
};

#define SECTION(key, title, columns, empty) { key, title, columns, ARRAY_SIZE(columns), empty }

static const struct emit_section sections[] = {
	SECTION("agent", "Agent", agent_columns, NULL),
	SECTION("attachments", "Attached", attachment_columns, "no interface: nothing is steered in this network namespace"),
	SECTION("frontends", "Frontends", frontend_columns, "none: no route leads anywhere"),
	SECTION("versions", "Versions", version_columns, "none"),
	SECTION("versions", "Numbers", number_columns, NULL),
	SECTION("experiments", "Experiments", experiment_columns, NULL),
	SECTION("problems", "Problems and notes", problem_columns, NULL),
	SECTION("unusual", "Unusual", reason_columns, "nothing"),
	SECTION("reasons", "All counters", reason_columns, NULL), /* last: left out without --all */
};

/* ---- numbers ---------------------------------------------------------------------------------------------------------------------------- */

static json_t *ms_or_null(double ns, bool known)
{
	return known ? json_real(ns / 1e6) : json_null();
}

/* Quantiles with the band that holds the exact value: latency_p95_ms between latency_p95_low_ms and latency_p95_high_ms. */
static int set_quantiles(json_t *version, const struct shunt_hist *hist, const char *prefix, bool known)
{
	static const struct {
		const char *name;
		double q;
	} quantiles[] = { { "p50", 0.5 }, { "p95", 0.95 }, { "p99", 0.99 } };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		struct shunt_quantile quantile = shunt_hist_quantile(hist->slot, quantiles[i].q);
		char key[64];

		snprintf(key, sizeof(key), "%s_%s_ms", prefix, quantiles[i].name);
		r |= json_object_set_new(version, key, ms_or_null(quantile.mid_ns, known));
		snprintf(key, sizeof(key), "%s_%s_low_ms", prefix, quantiles[i].name);
		r |= json_object_set_new(version, key, ms_or_null(quantile.low_ns, known));
		snprintf(key, sizeof(key), "%s_%s_high_ms", prefix, quantiles[i].name);
		r |= json_object_set_new(version, key, ms_or_null(quantile.high_ns, known && quantile.high_ns != UINT64_MAX));
	}
	return r;
}

static int set_numbers(json_t *version, const struct series_numbers *numbers)
{
	const struct shunt_count *count = &numbers->count;
	bool known = count->latency_count > 0;
	_cleanup_json_ json_t *classes = json_array();
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(count->status); i++)
		r |= json_array_append_new(classes, json_integer(count->status[i]));
	r |= json_object_set_new(version, "requests", json_integer(count->requests));
	r |= json_object_set(version, "responses_by_class", classes);
	r |= json_object_set_new(version, "errors", json_integer(count->errors));
	r |= json_object_set_new(version, "aborted", json_integer(count->aborted));
	r |= json_object_set_new(version, "rx_bytes", json_integer(count->rx_bytes));
	r |= json_object_set_new(version, "tx_bytes", json_integer(count->tx_bytes));
	r |= json_object_set_new(version, "latency_count", json_integer(count->latency_count));
	r |= json_object_set_new(version, "latency_mean_ms",
				 ms_or_null(known ? (double)count->latency_sum_ns / (double)count->latency_count : 0, known));
	r |= set_quantiles(version, &numbers->latency[SHUNT_LATENCY_TOTAL], "latency", known);
	r |= set_quantiles(version, &numbers->latency[SHUNT_LATENCY_TTFB], "ttfb", known);
	return r ? -ENOMEM : 0;
}

/* Adds its numbers to each version. */
static int read_versions(struct datapath *datapath, json_t *versions)
{
	json_t *version;
	size_t i;

	json_array_foreach(versions, i, version) {
		struct series_numbers numbers;
		int r = datapath_read_numbers(datapath, json_integer_value(json_object_get(version, "series")), &numbers);

		if (r == 0)
			r = set_numbers(version, &numbers);
		if (r < 0)
			return r;
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void pause_for(double seconds)
{
	struct timespec t = { .tv_sec = seconds, .tv_nsec = (seconds - (time_t)seconds) * 1e9 };

	while (nanosleep(&t, &t) && errno == EINTR)
		;
}

/* Reads all versions twice and sets rate_per_s to what came between; null when there is only one reading. */
static int read_with_rates(struct datapath *datapath, json_t *versions, double interval)
{
	_cleanup_json_ json_t *before = json_array();
	double began = now(), passed;
	json_t *version;
	size_t i;
	int r = read_versions(datapath, versions);

	json_array_foreach(versions, i, version)
		if (r == 0 && json_array_append(before, json_object_get(version, "requests")) < 0)
			r = -ENOMEM;
	if (r == 0 && interval > 0) {
		pause_for(interval);
		r = read_versions(datapath, versions);
	}
	passed = now() - began;
	json_array_foreach(versions, i, version) {
		json_int_t more = json_integer_value(json_object_get(version, "requests")) - json_integer_value(json_array_get(before, i));

		if (r == 0 && json_object_set_new(version, "rate_per_s", interval > 0 ? json_real(more / passed) : json_null()) < 0)
			r = -ENOMEM;
	}
	return r;
}

/* ---- reasons ---------------------------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name, *sort, *text;
} reason_info[SHUNT_R_MAX] = {
#define X(name, sort, text) [SHUNT_R_##name] = { #name, #sort, text },
	SHUNT_REASONS(X)
#undef X
};

/* All counters to `reasons`; to `unusual` those that want a look. */
static int read_reasons(struct datapath *datapath, json_t *document)
{
	_cleanup_json_ json_t *all = json_array(), *unusual = json_array();
	uint64_t reasons[SHUNT_R_MAX];
	int r = datapath_read_reasons(datapath, reasons);

	if (r < 0)
		return r;
	for (int i = 0; i < SHUNT_R_MAX; i++) {
		_cleanup_json_ json_t *row = json_pack("{s:s,s:s,s:I,s:s}", "name", reason_info[i].name, "sort", reason_info[i].sort,
						       "count", (json_int_t)reasons[i], "text", reason_info[i].text);

		if (!row || json_array_append(all, row) < 0)
			return -ENOMEM;
		if (reasons[i] && strcmp(reason_info[i].sort, "odd") == 0 && json_array_append(unusual, row) < 0)
			return -ENOMEM;
	}
	return json_object_set(document, "unusual", unusual) | json_object_set(document, "reasons", all) ? -ENOMEM : 0;
}

/* ---- attachments ------------------------------------------------------------------------------------------------------------------------ */

/* What the interface is for; the caller frees it. */
static char *purpose_text(const struct attachment *attachment)
{
	const struct shunt_place *place = &attachment->place;
	bool has[] = { !addr_is_none(&place->node[SHUNT_V4]), !addr_is_none(&place->node[SHUNT_V6]) };
	char node[SHUNT_FAMILIES][ADDR_TEXT_MAX];

	for (int family = 0; family < SHUNT_FAMILIES; family++)
		addr_text(&place->node[family], node[family]);
	if (place->kind == SHUNT_PLACE_HOST)
		return strdup("this node's own connections");
	if (place->kind != SHUNT_PLACE_UPLINK)
		return strdup(attachment->returns ? "clients, and answers of pods" : "clients");
	if (!has[SHUNT_V4] && !has[SHUNT_V6])
		return strdup("uplink: clients outside; no address for pods on other nodes to answer to");
	return text_printf("uplink: clients outside; pods on other nodes answer to %s%s%s", has[SHUNT_V4] ? node[SHUNT_V4] : "",
			   has[SHUNT_V4] && has[SHUNT_V6] ? ", " : "", has[SHUNT_V6] ? node[SHUNT_V6] : "");
}

static int read_attachments(struct datapath *datapath, json_t *document)
{
	_cleanup_free_ struct attachment *attachments = NULL;
	_cleanup_json_ json_t *list = json_array();
	size_t count;
	int r = datapath_read_attachments(datapath, &attachments, &count);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ char *purpose = purpose_text(&attachments[i]);
		json_t *row = json_pack("{s:s,s:s,s:b,s:s?}", "interface", attachments[i].ifname, "kind", attachments[i].tcx ? "tcx" : "clsact",
					"present", attachments[i].ifindex != 0, "purpose", purpose);

		if (json_array_append_new(list, row) < 0)
			return -ENOMEM;
	}
	return json_object_set(document, "attachments", list) ? -ENOMEM : 0;
}

/* ---- the agent's word ------------------------------------------------------------------------------------------------------------------- */

/* The process that wrote state.json, if it is still that one: pids come again. */
static bool is_running(json_int_t pid)
{
	char path[64], comm[32] = "";
	_cleanup_file_ FILE *file = NULL;

	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/comm", pid);
	file = fopen(path, "re");
	return file && fgets(comm, sizeof(comm), file) && strcmp(comm, "shunt\n") == 0;
}

static json_t *load_state(const char *run_dir)
{
	_cleanup_free_ char *path = NULL;
	json_error_t error;
	json_t *state;

	if (asprintf(&path, "%s/state.json", run_dir) < 0) {
		path = NULL;
		return NULL;
	}
	if (access(path, F_OK) && errno == ENOENT)
		return NULL;
	state = json_load_file(path, 0, &error);
	if (!state)
		log_warn("%s:%d: %s; what the agent says is left out", path, error.line, error.text);
	return state;
}

static json_t *time_text(const json_t *seconds)
{
	time_t t = json_integer_value(seconds);
	char text[32];
	struct tm tm;

	if (!json_is_integer(seconds) || !gmtime_r(&t, &tm) || !strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm))
		return json_null();
	return json_string(text);
}

/* A list of the state as it is; an empty one when there is none. */
static int take_list(json_t *document, const json_t *state, const char *key)
{
	json_t *list = json_object_get(state, key);

	return json_is_array(list) ? json_object_set(document, key, list) : json_object_set_new(document, key, json_array());
}

static int read_state(const char *run_dir, json_t *document)
{
	_cleanup_json_ json_t *state = load_state(run_dir);
	json_t *pid = json_object_get(state, "pid"), *started = json_object_get(state, "started"),
	       *manifests = json_object_get(state, "manifests");
	bool running = is_running(json_integer_value(pid));
	json_t *agent = running ? json_pack("{s:b,s:O,s:O?,s:o,s:O?}", "running", 1, "pid", pid, "started", started, "since",
					    time_text(started), "manifests", manifests)
				: json_pack("{s:b}", "running", 0);

	if (json_object_set_new(document, "agent", agent) < 0 || take_list(document, state, "problems") < 0 ||
	    take_list(document, state, "experiments") < 0)
		return -ENOMEM;
	return 0;
}

/* ---- the command ------------------------------------------------------------------------------------------------------------------------ */

static int read_all(struct datapath *datapath, const struct status_options *options, json_t *document)
{
	_cleanup_(tables_free) struct tables *tables = NULL;
	json_t *versions;
	int r = read_state(options->common.run_dir, document);

	if (r == 0)
		r = read_attachments(datapath, document);
	if (r == 0)
		r = datapath_read_tables(datapath, &tables);
	if (r < 0)
		return r;
	versions = view_versions(tables);
	if (json_object_set_new(document, "frontends", view_frontends(tables)) < 0 ||
	    json_object_set_new(document, "versions", versions) < 0)
		return -ENOMEM;
	r = read_with_rates(datapath, versions, options->interval);
	return r < 0 ? r : read_reasons(datapath, document);
}

/* A person reads places in the folder of manifests without it: it stands above, and the table gets narrow. */
static int shorten_places(json_t *document)
{
	const char *folder = json_string_value(json_object_get(json_object_get(document, "agent"), "manifests"));
	size_t length = folder ? strlen(folder) : 0, i;
	json_t *problem;

	json_array_foreach(json_object_get(document, "problems"), i, problem) {
		json_t *where = json_object_get(problem, "where");
		const char *text = json_string_value(where);

		if (length && text && strncmp(text, folder, length) == 0 && text[length] == '/' &&
		    json_object_set_new(problem, "where", json_string(text + length + 1)))
			return -ENOMEM;
	}
	return 0;
}

static int run(const void *data, int argc, char **argv)
{
	const struct status_options *options = data;
	_cleanup_(datapath_close) struct datapath *datapath = NULL;
	_cleanup_json_ json_t *document = json_object();
	int r;

	(void)argc, (void)argv;
	r = datapath_open_pinned(options->common.pin_dir, &datapath);
	if (r == -ENOENT)
		log_err(0,
			"nothing is pinned under %s: shunt steers nothing here. Start it with `shunt run DIR`, or say where its pins are with --pin-dir",
			options->common.pin_dir);
	if (r == 0)
		r = read_all(datapath, options, document);
	if (r == 0 && !options->common.json)
		r = shorten_places(document);
	if (r == -ENOMEM)
		log_err(r, "status");
	if (r < 0)
		return CMD_FAILED;
	if (emit(stdout, document, sections, ARRAY_SIZE(sections) - !options->all, options->common.json) < 0)
		return log_err(0, "status: cannot write the output"), CMD_FAILED;
	return CMD_OK;
}

const struct cmd cmd_status = {
	.name = "status",
	.summary = "Show what is attached, steered and measured, and anything unusual",
	.details =
		"Reads the pinned maps, so it works whether or not an agent runs. Latencies are of whole responses, since the maps were made.",
	.options = options_table,
	.option_count = ARRAY_SIZE(options_table),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
