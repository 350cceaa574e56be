/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/describe.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/decide.h"
#include "experiment/report.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include "util/text.h"
#include "world/quantity.h"

/* ---- the document ---- */

static const json_t *analysis_data(const json_t *status, const char *part)
{
	return json_object_get(json_object_get(json_object_get(status, "analysis"), part), "data");
}

/* The value of a metric for a version, exactly as the status has it; NULL: there is none. */
static const char *metric_quantity(const json_t *status, const char *metric, const char *version)
{
	const json_t *versions = json_object_get(json_object_get(analysis_data(status, "aggregatedMetrics"), metric), "data");

	return json_string_value(json_object_get(json_object_get(versions, version), "value"));
}

static json_t *metric_number(const json_t *status, const char *metric, const char *version)
{
	const char *quantity = metric_quantity(status, metric, version);
	char text[DECIMAL_TEXT_MAX];
	__int128 nano;

	if (!quantity || decimal_parse(quantity, &nano) < 0)
		return json_null();
	return json_real(strtod(decimal_ceil3(nano, text), NULL));
}

static json_t *metric_numbers(const struct experiment *e, const json_t *status, const char *metric)
{
	json_t *values = json_array();

	for (size_t v = 0; v < e->version_count; v++)
		json_array_append_new(values, metric_number(status, metric, e->versions[v].name));
	return values;
}

/* Index of the version with the best reward, from the exact values; -1: none has one. */
static int best_version(const struct experiment *e, const json_t *status, const struct reward *reward)
{
	__int128 top = 0, nano;
	int best = -1;

	for (size_t v = 0; v < e->version_count; v++) {
		const char *quantity = metric_quantity(status, reward->metric, e->versions[v].name);

		if (!quantity || decimal_parse(quantity, &nano) < 0)
			continue;
		if (best < 0 || (reward->high ? nano > top : nano < top)) {
			best = (int)v;
			top = nano;
		}
	}
	return best;
}

static json_t *rewards_json(const struct experiment *e, const json_t *status)
{
	json_t *list = json_array();

	for (size_t i = 0; i < e->reward_count; i++) {
		int best = best_version(e, status, &e->rewards[i]);

		json_array_append_new(list, json_pack("{s:s, s:s, s:o, s:s?}", "metric", e->rewards[i].metric, "preferred_direction",
						      e->rewards[i].high ? "High" : "Low", "values", metric_numbers(e, status, e->rewards[i].metric), "best",
						      best < 0 ? NULL : e->versions[best].name));
	}
	return list;
}

static json_t *objectives_json(const struct experiment *e, const json_t *status)
{
	const json_t *assessments = analysis_data(status, "versionAssessments");
	json_t *list = json_array();

	for (size_t i = 0; i < e->objective_count; i++) {
		json_t *satisfied = json_array();

		for (size_t v = 0; v < e->version_count; v++) {
			json_t *verdict = json_array_get(json_object_get(assessments, e->versions[v].name), i);

			json_array_append_new(satisfied, verdict ? json_incref(verdict) : json_null());
		}
		json_array_append_new(list, json_pack("{s:s, s:o, s:o, s:o}", "metric", e->objectives[i].metric, "lower_limit",
						      e->objectives[i].has_lower ? json_real(e->objectives[i].lower) : json_null(), "upper_limit",
						      e->objectives[i].has_upper ? json_real(e->objectives[i].upper) : json_null(), "satisfied", satisfied));
	}
	return list;
}

static json_t *metrics_json(const struct experiment *e, const json_t *status)
{
	const json_t *info;
	json_t *list = json_array();
	size_t i;

	json_array_foreach(json_object_get(status, "metrics"), i, info) {
		const char *name = json_string_value(json_object_get(info, "name"));
		const json_t *spec = json_object_get(json_object_get(info, "metricObj"), "spec");

		if (name)
			json_array_append_new(list, json_pack("{s:s, s:s?, s:o}", "metric", name, "units", json_string_value(json_object_get(spec, "units")),
							      "values", metric_numbers(e, status, name)));
	}
	return list;
}

static json_t *versions_json(const struct experiment *e)
{
	json_t *list = json_array();

	for (size_t v = 0; v < e->version_count; v++)
		json_array_append_new(list, json_string(e->versions[v].name));
	return list;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* The status keeps numbers as quantities; whoever reads the document wants numbers. What is absent (an end that is infinite) is null. */
static void quantities_to_numbers(json_t *object)
{
	static const char *const keys[] = { "confidence", "splitPValue", "value", "low", "high" };

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *text = text_of(object, keys[i]);
		double value;

		if (text && quantity_parse(text, &value) == 0)
			json_object_set_new(object, keys[i], json_real(value));
	}
}

static json_t *evidence_json(const json_t *status)
{
	json_t *evidence = json_deep_copy(json_object_get(json_object_get(status, "shunt"), "evidence")), *item;
	size_t i;

	if (!evidence)
		return json_null();
	quantities_to_numbers(evidence);
	json_array_foreach(json_object_get(evidence, "differences"), i, item)
		quantities_to_numbers(item);
	json_array_foreach(json_object_get(evidence, "objectives"), i, item)
		quantities_to_numbers(item);
	return evidence;
}

/* How many users have been seen, by the evidence; 0: it is of requests, or there is none. */
static double users_seen(const json_t *status)
{
	const json_t *evidence = json_object_get(json_object_get(status, "shunt"), "evidence");
	const char *unit = text_of(evidence, "unit"), *version;
	double sum = 0;
	json_t *sample;

	if (!unit || strcmp(unit, "user") != 0)
		return 0;
	json_object_foreach(json_object_get(evidence, "sample"), version, sample)
		sum += json_number_value(sample);
	return sum;
}

/* Whose users are whose now, and who moved; null before the experiment has a split. */
static json_t *users_json(const json_t *status)
{
	json_t *split = json_object_get(json_object_get(status, "shunt"), "split"), *weights = json_object_get(status, "currentWeightDistribution");
	json_t *moved = json_object_get(split, "movedUsersPercent");

	if (!split && !weights)
		return json_null();
	return json_pack("{s:O*, s:O*, s:O*, s:O*, s:O*, s:O*, s:f}", "route", json_object_get(split, "route"), "problem", json_object_get(split, "problem"), "weights",
			 weights, "changes", json_object_get(split, "changes"), "moved_last_percent", json_object_get(moved, "last"), "moved_all_percent",
			 json_object_get(moved, "all"), "seen", users_seen(status));
}

json_t *describe(const struct experiment *e, const json_t *status)
{
	const json_t *own = json_object_get(status, "shunt");

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s?, s:I, s:s?, s:o, s:s?, s:s?, s:o, s:o, s:o, s:O?, s:O?, s:o, s:o, s:O?, s:O?}",
			 "name", e->meta.name, "namespace", e->meta.ns, "target", e->target, "testing_pattern", testing_pattern_name(e->testing),
			 "deployment_pattern", deployment_pattern_name(e->deployment), "stage", text_of(status, "stage"), "completed_iterations",
			 json_integer_value(json_object_get(status, "completedIterations")), "message", text_of(status, "message"), "versions", versions_json(e),
			 "winner", text_of(analysis_data(status, "winnerAssessment"), "winner"), "recommended", text_of(status, "versionRecommendedForPromotion"),
			 "rewards", rewards_json(e, status), "objectives", objectives_json(e, status), "metrics", metrics_json(e, status), "missing", json_object_get(own, "missing"),
			 "retried", json_object_get(own, "retried"), "evidence", evidence_json(status), "users", users_json(status), "tasks", json_object_get(own, "tasks"), "notes",
			 json_object_get(own, "notes"));
}

/*
 * ---- tables, as olekukonko/tablewriter draws them with row lines. It breaks names at 30 characters, wherever a space is, and moves a limit that comes to stand
 * alone to the right; here a row has one line while its name has at most 60, and pieces that belong together stay together. ----
 */

#define NAME_MAX_LINE 60

struct table {
	size_t columns, rows; /* row 0 is the header */
	char **cells;         /* [row * columns + column]; lines are separated by \n */
};

static void table_clear(struct table *table)
{
	for (size_t i = 0; i < table->rows * table->columns; i++)
		free(table->cells[i]);
	free(table->cells);
}

/* Appends a row; takes the texts, of which NULL means no memory and is shown as such. */
static void table_add(struct table *table, char **texts)
{
	char **grown = reallocarray(table->cells, (table->rows + 1) * table->columns, sizeof(*grown));

	if (!grown) {
		for (size_t i = 0; i < table->columns; i++)
			free(texts[i]);
		return;
	}
	table->cells = grown;
	for (size_t i = 0; i < table->columns; i++)
		grown[table->rows * table->columns + i] = texts[i];
	table->rows++;
}

/* The pieces of a name ("": none), in one line where there is room, else each in its own. */
static char *name_text(const char *before, const char *name, const char *after)
{
	const char *space = strlen(before) + strlen(name) + strlen(after) + 2 > NAME_MAX_LINE ? "\n" : " ";

	return text_printf("%s%s%s%s%s", before, *before ? space : "", name, *after ? space : "", after);
}

static const char *next_line(const char *text)
{
	const char *end = text ? strchr(text, '\n') : NULL;

	return end ? end + 1 : NULL;
}

static size_t line_length(const char *text)
{
	return text ? strcspn(text, "\n") : 0;
}

static size_t column_width(const struct table *table, size_t column)
{
	size_t width = 0;

	for (size_t row = 0; row < table->rows; row++) {
		for (const char *line = table->cells[row * table->columns + column]; line; line = next_line(line))
			width = line_length(line) > width ? line_length(line) : width;
	}
	return width;
}

static bool is_number(const char *line, size_t length)
{
	char copy[64], *end;

	if (length == 0 || length >= sizeof(copy) || (!isdigit((unsigned char)line[0]) && line[0] != '-'))
		return false;
	memcpy(copy, line, length);
	copy[length] = '\0';
	strtod(copy, &end);
	return *end == '\0';
}

static void print_rule(FILE *out, const struct table *table)
{
	for (size_t column = 0; column < table->columns; column++) {
		fputc('+', out);
		for (size_t i = 0; i < column_width(table, column) + 2; i++)
			fputc('-', out);
	}
	fputs("+\n", out);
}

static void print_line(FILE *out, const char *line, size_t width, bool header)
{
	size_t length = line_length(line), left;

	left = header ? (width - length) / 2 : is_number(line, length) ? width - length : 0;
	fprintf(out, "| %*s", (int)left, "");
	for (size_t i = 0; i < length; i++)
		fputc(header ? toupper((unsigned char)line[i]) : line[i], out);
	fprintf(out, "%*s ", (int)(width - length - left), "");
}

static void print_row(FILE *out, const struct table *table, size_t row)
{
	_cleanup_free_ const char **lines = calloc(table->columns, sizeof(*lines));
	bool more = lines != NULL;

	for (size_t i = 0; lines && i < table->columns; i++)
		lines[i] = table->cells[row * table->columns + i];
	while (more) {
		more = false;
		for (size_t i = 0; i < table->columns; i++) {
			print_line(out, lines[i], column_width(table, i), row == 0);
			lines[i] = next_line(lines[i]);
			more |= lines[i] != NULL;
		}
		fputs("|\n", out);
	}
	print_rule(out, table);
}

static void table_print(FILE *out, struct table *table)
{
	print_rule(out, table);
	for (size_t row = 0; row < table->rows; row++)
		print_row(out, table, row);
}

/* ---- sections ---- */

/* A table with one column for each version. make_cell makes the texts of an item: column 0 is its name. */
static void print_versions_table(FILE *out, const json_t *document, const char *title, const char *key,
				 char *(*make_cell)(const json_t *document, const json_t *item, size_t column))
{
	const json_t *versions = json_object_get(document, "versions"), *item;
	_cleanup_(table_clear) struct table table = { .columns = json_array_size(versions) + 1 };
	_cleanup_free_ char **texts = calloc(table.columns, sizeof(*texts));
	size_t i;

	if (!texts)
		return;
	texts[0] = strdup(title);
	for (size_t v = 1; v < table.columns; v++)
		texts[v] = strdup(json_string_value(json_array_get(versions, v - 1)));
	table_add(&table, texts);
	json_array_foreach(json_object_get(document, key), i, item) {
		for (size_t column = 0; column < table.columns; column++)
			texts[column] = make_cell(document, item, column);
		table_add(&table, texts);
	}
	table_print(out, &table);
}

static char *number_cell(const json_t *item, size_t column, bool marked)
{
	const json_t *value = json_array_get(json_object_get(item, "values"), column - 1);

	if (!json_is_number(value))
		return strdup("unavailable");
	return text_printf("%.3f%s", json_number_value(value), marked ? " *" : "");
}

static char *reward_cell(const json_t *document, const json_t *item, size_t column)
{
	const char *best = text_of(item, "best"), *version;

	if (column == 0)
		return name_text("", text_of(item, "metric"), strcmp(text_of(item, "preferred_direction"), "High") == 0 ? "(higher better)" : "(lower better)");
	version = json_string_value(json_array_get(json_object_get(document, "versions"), column - 1));
	return number_cell(item, column, best && strcmp(best, version) == 0);
}

static char *limit_text(const json_t *limit)
{
	char quantity[DECIMAL_TEXT_MAX], text[DECIMAL_TEXT_MAX];
	__int128 nano;

	if (decimal_parse(decimal_quantity(json_number_value(limit), quantity), &nano) < 0)
		return strdup(quantity);
	return strdup(decimal_ceil3(nano, text));
}

static char *objective_cell(const json_t *document, const json_t *item, size_t column)
{
	const json_t *lower = json_object_get(item, "lower_limit"), *upper = json_object_get(item, "upper_limit"), *verdict;
	_cleanup_free_ char *low = NULL, *up = NULL, *before = NULL, *after = NULL;

	(void)document;
	if (column > 0) {
		verdict = json_array_get(json_object_get(item, "satisfied"), column - 1);
		return strdup(json_is_true(verdict) ? "true" : json_is_false(verdict) ? "false" : "unavailable");
	}
	low = limit_text(lower);
	up = limit_text(upper);
	before = json_is_number(lower) ? text_printf("%s <=", low) : NULL;
	after = json_is_number(upper) ? text_printf("<= %s", up) : NULL;
	return name_text(before ?: "", text_of(item, "metric"), after ?: "");
}

static char *metric_cell(const json_t *document, const json_t *item, size_t column)
{
	_cleanup_free_ char *units = text_of(item, "units") ? text_printf("(%s)", text_of(item, "units")) : NULL;

	(void)document;
	return column > 0 ? number_cell(item, column, false) : name_text("", text_of(item, "metric"), units ?: "");
}

static void print_overview(FILE *out, const json_t *d)
{
	fputs("\n****** Overview ******\n", out);
	fprintf(out, "Experiment name: %s\nExperiment namespace: %s\nTarget: %s\nTesting pattern: %s\nDeployment pattern: %s\n", text_of(d, "name"),
		text_of(d, "namespace"), text_of(d, "target"), text_of(d, "testing_pattern"), text_of(d, "deployment_pattern"));
	fputs("\n****** Progress Summary ******\n", out);
	if (text_of(d, "stage"))
		fprintf(out, "Experiment stage: %s\n", text_of(d, "stage"));
	fprintf(out, "Number of completed iterations: %lld\n", (long long)json_integer_value(json_object_get(d, "completed_iterations")));
	if (text_of(d, "message"))
		fprintf(out, "Last event: %s\n", text_of(d, "message"));
}

static void print_winner(FILE *out, const json_t *d)
{
	bool conformance = strcmp(text_of(d, "testing_pattern"), "Conformance") == 0;
	const json_t *version;
	size_t i;

	fputs("\n****** Winner Assessment ******\n", out);
	if (strcmp(text_of(d, "testing_pattern"), "Canary") == 0)
		fputs("> If the candidate version satisfies the experiment objectives, then it is the winner.\n"
		      "> Otherwise, if the baseline version satisfies the experiment objectives, it is the winner.\n"
		      "> Otherwise, there is no winner.\n", out);
	if (conformance)
		fputs("> If the version being validated; i.e., the baseline version, satisfies the experiment objectives, it is the winner.\n"
		      "> Otherwise, there is no winner.\n", out);
	if (!conformance) {
		fputs("App versions in this experiment: [", out);
		json_array_foreach(json_object_get(d, "versions"), i, version)
			fprintf(out, "%s%s", i ? " " : "", json_string_value(version));
		fputs("]\n", out);
	}
	fprintf(out, "Winning version: %s\n", text_of(d, "winner") ?: "not found");
	if (!conformance && text_of(d, "recommended"))
		fprintf(out, "Version recommended for promotion: %s\n", text_of(d, "recommended"));
}

static void print_tables(FILE *out, const json_t *d)
{
	if (json_array_size(json_object_get(d, "rewards"))) {
		fputs("\n****** Reward Assessment ******\n"
		      "> Identifies values of reward metrics for each version. The best version is marked with a '*'.\n", out);
		print_versions_table(out, d, "Reward", "rewards", reward_cell);
	}
	if (json_array_size(json_object_get(d, "objectives"))) {
		fputs("\n****** Objective Assessment ******\n"
		      "> Identifies whether or not the experiment objectives are satisfied by the most recently observed metrics values for each version.\n", out);
		print_versions_table(out, d, "Objective", "objectives", objective_cell);
	}
	fputs("\n****** Metrics Assessment ******\n> Most recently read values of experiment metrics for each version.\n", out);
	print_versions_table(out, d, "Metric", "metrics", metric_cell);
}

/* Iter8 leaves it at "unavailable"; the reason is what a person looks for next. */
static void print_missing(FILE *out, const json_t *d)
{
	const json_t *missing = json_object_get(d, "missing");
	const char *what;
	json_t *why;

	if (json_object_size(missing) == 0)
		return;
	fputs("\n****** Missing Values ******\n", out);
	json_object_foreach((json_t *)missing, what, why) {
		fprintf(out, "%s: %s (since %s", what, text_of(why, "problem"), text_of(why, "since"));
		if (json_integer_value(json_object_get(why, "attempts")) > 1)
			fprintf(out, "; asked %lld times in the last iteration", (long long)json_integer_value(json_object_get(why, "attempts")));
		fputs(")\n", out);
	}
}

/* Values that are there, but whose provider had to be asked again. */
static void print_retried(FILE *out, const json_t *d)
{
	const json_t *retried = json_object_get(d, "retried");
	const char *what;
	json_t *why;

	if (json_object_size(retried) == 0)
		return;
	fputs("\n****** Values That Had To Be Asked For Again ******\n", out);
	json_object_foreach((json_t *)retried, what, why)
		fprintf(out, "%s: attempt %lld had it, the one before: %s\n", what, (long long)json_integer_value(json_object_get(why, "attempts")),
			text_of(why, "problem"));
}

/* ---- the evidence ---- */

static char *number_text(const json_t *item, const char *key)
{
	const json_t *value = json_object_get(item, key);

	return json_is_number(value) ? text_printf("%.4g", json_number_value(value)) : strdup("-");
}

static char *interval_text(const json_t *item)
{
	_cleanup_free_ char *low = number_text(item, "low"), *high = number_text(item, "high");
	bool has_low = json_is_number(json_object_get(item, "low")), has_high = json_is_number(json_object_get(item, "high"));

	if (has_low && has_high)
		return text_printf("%s to %s", low, high);
	return has_low ? text_printf("%s or more", low) : has_high ? text_printf("%s or less", high) : strdup("-");
}

static char *difference_result(const json_t *item)
{
	if (text_of(item, "better"))
		return text_printf("%s is better", text_of(item, "better"));
	return strdup(json_object_get(item, "value") ? "may be nothing" : "no evidence");
}

static char *objective_result(const json_t *item)
{
	static const char *const words[][2] = { { "holds", "surely inside" }, { "fails", "surely outside" }, { "open", "may be either" } };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcmp(text_of(item, "claim"), words[i][0]) == 0)
			return strdup(words[i][1]);
	}
	return strdup("no evidence");
}

static char *claim_name(const json_t *item, bool difference)
{
	_cleanup_free_ char *metric = text_printf(difference ? "%s," : "%s of", text_of(item, "metric"));
	_cleanup_free_ char *versions = difference ? text_printf("%s minus %s", text_of(item, "version"), text_of(item, "minus")) : NULL;

	return name_text("", metric ?: "", versions ?: text_of(item, "version"));
}

static void add_claims(struct table *table, const json_t *list, bool differences)
{
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item) {
		char *texts[] = {
			claim_name(item, differences),
			number_text(item, "value"),
			interval_text(item),
			differences ? difference_result(item) : objective_result(item),
		};

		table_add(table, texts);
	}
}

static void print_claims(FILE *out, const json_t *evidence)
{
	_cleanup_(table_clear) struct table table = { .columns = 4 };
	char *header[] = { strdup("Evidence"), strdup("Value"), text_printf("%g %% sure", 100 * json_number_value(json_object_get(evidence, "confidence"))),
			   strdup("Result") };

	table_add(&table, header);
	add_claims(&table, json_object_get(evidence, "differences"), true);
	add_claims(&table, json_object_get(evidence, "objectives"), false);
	if (table.rows > 1)
		table_print(out, &table);
}

static void print_samples(FILE *out, const json_t *evidence)
{
	const json_t *split = json_object_get(evidence, "splitPValue");
	_cleanup_free_ char *lost = report_lost(evidence);
	const char *version, *comma = "";
	json_t *sample;

	fputs("Sample: ", out);
	json_object_foreach(json_object_get(evidence, "sample"), version, sample) {
		fprintf(out, "%s%s %lld %ss", comma, version, (long long)json_integer_value(sample), text_of(evidence, "unit"));
		comma = ", ";
	}
	fputs("\n", out);
	if (json_is_number(split))
		fprintf(out, "Split of the users: %s (p = %.2g)\n", json_number_value(split) < SPLIT_P_VALUE ? "NOT as configured" : "as configured",
			json_number_value(split));
	if (lost)
		fprintf(out, "NOTE: %s\n", lost);
	if (strcmp(text_of(evidence, "unit"), "request") == 0)
		fputs("Note: every request counts as independent. Requests of one user are not, so intervals by request are too narrow when users are few.\n", out);
}

static void print_evidence(FILE *out, const json_t *d)
{
	const json_t *evidence = json_object_get(d, "evidence");

	if (!json_is_object(evidence))
		return;
	fputs("\n****** Evidence ******\n> Whether it is more than chance; valid at every iteration (docs/statistics.md).\n", out);
	fprintf(out, "Verdict: %s (%s)\nBecause: %s\n", text_of(evidence, "verdict"),
		json_is_true(json_object_get(evidence, "rule")) ? "it decides: criteria.strength" : "advice: without criteria.strength the readings decide",
		text_of(evidence, "why"));
	print_samples(out, evidence);
	print_claims(out, evidence);
}

/* "10 % (about 1200 users)" */
static void print_moved(FILE *out, const json_t *users, const char *key, const char *what)
{
	double percent = json_number_value(json_object_get(users, key)), seen = json_number_value(json_object_get(users, "seen"));

	fprintf(out, "%s: %.3g %% of the users", what, percent);
	if (seen > 0)
		fprintf(out, " (about %.0f of the %.0f seen)", percent / 100 * seen, seen);
	fputs("\n", out);
}

static void print_users(FILE *out, const json_t *d)
{
	const json_t *users = json_object_get(d, "users"), *weights = json_object_get(users, "weights"), *item;
	size_t i;

	if (!json_is_object(users))
		return;
	fputs("\n****** Users ******\n", out);
	if (text_of(users, "route"))
		fprintf(out, "Route: %s\n", text_of(users, "route"));
	json_array_foreach(weights, i, item)
		fprintf(out, "%s%s %lld %%", i ? ", " : "Weights: ", text_of(item, "name"), (long long)json_integer_value(json_object_get(item, "value")));
	if (json_array_size(weights))
		fputs("\n", out);
	if (json_integer_value(json_object_get(users, "changes")) > 0) {
		print_moved(out, users, "moved_last_percent", "Moved by the last change of weights");
		print_moved(out, users, "moved_all_percent", "Moved by all of them together");
	}
	if (text_of(users, "problem"))
		fprintf(out, "NOT steered as the experiment wants: %s\n", text_of(users, "problem"));
}

static void print_tasks(FILE *out, const json_t *d)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(d, "tasks"), i, item)
		fprintf(out, "%s%s %s\n", i ? "" : "\n****** Tasks ******\n", json_is_true(json_object_get(item, "ok")) ? "done  " : "FAILED", text_of(item, "message"));
}

static void print_notes(FILE *out, const json_t *d)
{
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(d, "notes"), i, item)
		fprintf(out, "%s%s\n", i ? "" : "\n****** Notes ******\n", json_string_value(item));
}

int describe_print(FILE *out, const json_t *document)
{
	print_overview(out, document);
	if (json_integer_value(json_object_get(document, "completed_iterations")) > 0) {
		print_winner(out, document);
		print_tables(out, document);
		print_evidence(out, document);
		print_missing(out, document);
		print_retried(out, document);
	}
	print_users(out, document);
	print_tasks(out, document);
	print_notes(out, document);
	return fflush(out) == 0 && !ferror(out) ? 0 : -EIO;
}
