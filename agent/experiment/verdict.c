/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/verdict.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/histogram.h"
#include "util/cleanup.h"
#include "util/decimal.h"
#include "util/text.h"

#define NS_PER_MS 1e6

static const char *const verdict_names[] = {
	[VERDICT_INCONCLUSIVE] = "Inconclusive",
	[VERDICT_WINNER] = "Winner",
	[VERDICT_NO_DIFFERENCE] = "NoDifference",
	[VERDICT_INSUFFICIENT_DATA] = "InsufficientData",
	[VERDICT_SAMPLE_RATIO_MISMATCH] = "SampleRatioMismatch",
	[VERDICT_NO_FEASIBLE_VERSION] = "NoFeasibleVersion",
};

static const char *const claim_names[] = {
	[CLAIM_UNKNOWN] = "unknown",
	[CLAIM_OPEN] = "open",
	[CLAIM_HOLDS] = "holds",
	[CLAIM_FAILS] = "fails",
};

const char *verdict_name(enum verdict_kind kind)
{
	return verdict_names[kind];
}

/* ---- strength ---- */

static struct strength with_defaults(struct strength strength)
{
	if (strength.confidence == 0)
		strength.confidence = STRENGTH_CONFIDENCE;
	if (strength.minimum_sample == 0)
		strength.minimum_sample = STRENGTH_MINIMUM_SAMPLE;
	if (strength.maximum_sample && strength.minimum_sample > strength.maximum_sample)
		strength.minimum_sample = strength.maximum_sample;
	return strength;
}

static struct stats_level level_of(const struct verdict *verdict, size_t comparisons)
{
	const struct strength *strength = &verdict->strength;

	return (struct stats_level){
		.alpha = (1 - strength->confidence) / (double)comparisons,
		.n_opt = strength->maximum_sample ? (double)strength->maximum_sample : STRENGTH_TUNED_SAMPLE,
	};
}

/* ---- estimates ---- */

static struct stats_sums sums_of(const struct evidence *e, const struct metric_basis *basis)
{
	return (struct stats_sums){
		.n = e->sum[QUANTITY_UNITS],
		.x = e->sum[basis->over],
		.xx = e->product[basis->over][basis->over],
		.y = e->sum[basis->under],
		.yy = e->product[basis->under][basis->under],
		.xy = e->product[basis->over][basis->under],
	};
}

static double bucket_edge_ms(size_t slot)
{
	return (double)shunt_hist_low((__u32)slot) / NS_PER_MS;
}

static void estimate_quantile(const struct evidence *e, double q, double value, struct stats_level level, struct estimate *ret_estimate)
{
	double responses = e->sum[QUANTITY_RESPONSES];
	double worth = stats_effective_users(responses, e->product[QUANTITY_RESPONSES][QUANTITY_RESPONSES]);

	if (responses <= 0)
		return;
	*ret_estimate = (struct estimate){
		.known = true,
		.value = value,
		.sample = worth,
		.interval = stats_quantile_interval(e->latency, SHUNT_HIST_SLOTS, worth / responses, q, bucket_edge_ms, level),
	};
}

static void estimate_ratio(const struct evidence *e, const struct metric_basis *basis, struct stats_level level, struct estimate *ret_estimate)
{
	struct stats_sums sums = sums_of(e, basis);
	struct stats_mean mean;

	if (!stats_ratio(&sums, &mean))
		return;
	*ret_estimate = (struct estimate){ .known = true, .value = mean.value, .sample = mean.n };
	if (basis->form == FORM_FRACTION && mean.value <= 1) {
		ret_estimate->sample = stats_effective_sample(&sums, &mean);
		ret_estimate->interval = stats_rate_interval(mean.value * ret_estimate->sample, ret_estimate->sample, level);
	} else {
		ret_estimate->interval = stats_mean_interval(&mean, level);
	}
}

static struct estimate estimate_metric(const struct metric_basis *basis, const struct reading *reading, const struct evidence *e,
				       struct stats_level level)
{
	struct estimate estimate = {};

	if (!reading || !reading->present)
		return estimate;
	if (basis->form == FORM_COUNT)
		estimate = (struct estimate){ .known = true, .value = reading->value, .interval = { reading->value, reading->value } };
	else if (e->present && basis->form == FORM_QUANTILE)
		estimate_quantile(e, basis->quantile, reading->value, level, &estimate);
	else if (e->present && (basis->form == FORM_RATIO || basis->form == FORM_FRACTION))
		estimate_ratio(e, basis, level, &estimate);
	return estimate;
}

static const struct metric_basis *basis_of(const struct readings *readings, const char *metric)
{
	static const struct metric_basis none = { .form = FORM_NONE };

	for (size_t m = 0; m < readings->metric_count; m++) {
		if (strcmp(readings->metrics[m], metric) == 0)
			return &readings->bases[m];
	}
	return &none;
}

/* ---- objectives ---- */

static enum claim judge_objective(const struct objective *objective, const struct estimate *estimate)
{
	const struct interval *interval = &estimate->interval;

	if (!estimate->known)
		return CLAIM_UNKNOWN;
	if ((objective->has_upper && interval->low > objective->upper) || (objective->has_lower && interval->high < objective->lower))
		return CLAIM_FAILS;
	if ((!objective->has_upper || interval->high <= objective->upper) && (!objective->has_lower || interval->low >= objective->lower))
		return CLAIM_HOLDS;
	return CLAIM_OPEN;
}

static void claim_objectives(struct verdict *verdict, const struct experiment *e, const struct readings *readings)
{
	for (size_t v = 0; v < verdict->version_count; v++) {
		for (size_t i = 0; i < verdict->objective_count; i++) {
			const char *metric = e->objectives[i].metric;
			struct objective_claim *claim = &verdict->objectives[v * verdict->objective_count + i];

			claim->estimate = estimate_metric(basis_of(readings, metric), readings_at(readings, metric, v), &readings->evidence[v],
							  level_of(verdict, 1));
			claim->claim = judge_objective(&e->objectives[i], &claim->estimate);
		}
	}
}

/* All objectives of a version have this claim (of none: they hold). */
static bool all_hold(const struct verdict *verdict, size_t version)
{
	for (size_t i = 0; i < verdict->objective_count; i++) {
		if (verdict->objectives[version * verdict->objective_count + i].claim != CLAIM_HOLDS)
			return false;
	}
	return true;
}

static bool one_fails(const struct verdict *verdict, size_t version)
{
	for (size_t i = 0; i < verdict->objective_count; i++) {
		if (verdict->objectives[version * verdict->objective_count + i].claim == CLAIM_FAILS)
			return true;
	}
	return false;
}

/* ---- the reward ---- */

/* Of quantiles: what two intervals leave, each with half of the error. */
static bool compare_estimates(const struct readings *readings, const char *metric, struct stats_level level, struct pair_claim *pair)
{
	const struct metric_basis *basis = basis_of(readings, metric);
	struct estimate a, b;

	level.alpha /= 2;
	a = estimate_metric(basis, readings_at(readings, metric, pair->a), &readings->evidence[pair->a], level);
	b = estimate_metric(basis, readings_at(readings, metric, pair->b), &readings->evidence[pair->b], level);
	if (!a.known || !b.known)
		return false;
	pair->value = b.value - a.value;
	pair->interval = (struct interval){ b.interval.low - a.interval.high, b.interval.high - a.interval.low };
	return true;
}

static bool compare_means(const struct readings *readings, const struct metric_basis *basis, struct stats_level level, struct pair_claim *pair)
{
	const struct evidence *ea = &readings->evidence[pair->a], *eb = &readings->evidence[pair->b];
	struct stats_sums sums_a = sums_of(ea, basis), sums_b = sums_of(eb, basis);
	struct stats_mean a, b;

	if (!ea->present || !eb->present || !stats_ratio(&sums_a, &a) || !stats_ratio(&sums_b, &b))
		return false;
	pair->value = b.value - a.value;
	pair->interval = stats_difference_interval(&a, &b, level);
	return true;
}

static void claim_pair(struct verdict *verdict, const struct experiment *e, const struct readings *readings, struct pair_claim *pair)
{
	const struct reward *reward = &e->rewards[0];
	const struct metric_basis *basis = basis_of(readings, reward->metric);
	struct stats_level level = level_of(verdict, verdict->pair_count);
	bool known = basis->form == FORM_QUANTILE			       ? compare_estimates(readings, reward->metric, level, pair) :
		     basis->form == FORM_RATIO || basis->form == FORM_FRACTION ? compare_means(readings, basis, level, pair) :
										 false;
	bool above = known && pair->interval.low > 0, below = known && pair->interval.high < 0;

	pair->b_better = pair->a_better = known ? CLAIM_OPEN : CLAIM_UNKNOWN;
	if (above || below) {
		pair->b_better = above == reward->high ? CLAIM_HOLDS : CLAIM_FAILS;
		pair->a_better = above == reward->high ? CLAIM_FAILS : CLAIM_HOLDS;
	}
}

static void claim_pairs(struct verdict *verdict, const struct experiment *e, const struct readings *readings)
{
	struct pair_claim *pair = verdict->pairs;

	for (size_t a = 0; verdict->pair_count && a < verdict->version_count; a++) {
		for (size_t b = a + 1; b < verdict->version_count; b++, pair++) {
			pair->a = a;
			pair->b = b;
			claim_pair(verdict, e, readings, pair);
		}
	}
}

static bool is_better(const struct verdict *verdict, size_t version, size_t other)
{
	for (size_t i = 0; i < verdict->pair_count; i++) {
		const struct pair_claim *pair = &verdict->pairs[i];

		if (pair->a == version && pair->b == other)
			return pair->a_better == CLAIM_HOLDS;
		if (pair->b == version && pair->a == other)
			return pair->b_better == CLAIM_HOLDS;
	}
	return false;
}

/* ---- samples ---- */

/* What the metrics say where there is no evidence: the least of the experiment's request count and of what its rewards and objectives rest on. */
static double sample_by_metrics(const struct experiment *e, const struct readings *readings, size_t version)
{
	const struct reading *count = readings_at(readings, e->request_count, version);
	double least = count && count->present ? count->value : INFINITY;

	for (size_t m = 0; m < readings->metric_count; m++) {
		const struct reading *reading = &readings->cells[m * readings->version_count + version];

		if (reading->present && reading->has_sample)
			least = fmin(least, reading->sample);
	}
	return isfinite(least) ? least : 0;
}

static void count_samples(struct verdict *verdict, const struct experiment *e, const struct readings *readings)
{
	verdict->has_samples = true;
	verdict->unit = UNIT_USER;
	for (size_t v = 0; v < verdict->version_count; v++) {
		const struct evidence *evidence = &readings->evidence[v];

		verdict->has_samples &= evidence->present;
		if (!evidence->present || evidence->unit == UNIT_REQUEST)
			verdict->unit = UNIT_REQUEST;
		verdict->samples[v] = evidence->present ? evidence->sum[QUANTITY_UNITS] : sample_by_metrics(e, readings, v);
		verdict->lost += evidence->lost;
	}
}

static bool has_maximum(const struct verdict *verdict)
{
	bool reached = verdict->strength.maximum_sample > 0;

	for (size_t v = 0; v < verdict->version_count; v++)
		reached &= verdict->samples[v] >= (double)verdict->strength.maximum_sample;
	return reached;
}

/* Only of users, and where a split alone divides them: requests come in bunches, and rules divide as they like. */
static int test_split(struct verdict *verdict, const struct readings *readings)
{
	size_t count = verdict->version_count;
	_cleanup_free_ double *shares = calloc(count, sizeof(*shares));
	double total = 0;

	if (!shares)
		return -ENOMEM;
	verdict->split_tested = count > 1 && verdict->has_samples && verdict->unit == UNIT_USER;
	for (size_t v = 0; v < count; v++) {
		shares[v] = readings->evidence[v].share;
		total += shares[v];
		verdict->split_tested &= shares[v] > 0;
	}
	for (size_t v = 0; v < count; v++)
		shares[v] /= total;
	if (verdict->split_tested)
		verdict->split_p_value = stats_split_p_value(verdict->samples, shares, count, SPLIT_CONCENTRATION);
	return 0;
}

/* ---- the verdict ---- */

__attribute__((format(printf, 3, 4))) static void conclude(struct verdict *verdict, enum verdict_kind kind, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	verdict->why = text_vprintf(format, args);
	va_end(args);
	verdict->kind = kind;
}

static void conclude_winner(struct verdict *verdict, const struct experiment *e, size_t version)
{
	verdict->winner = version;
	verdict->final = true;
	if (verdict->pair_count)
		conclude(verdict, VERDICT_WINNER,
			 "%s has the better %s than every other version that satisfies the objectives, and satisfies all of its own",
			 e->versions[version].name, e->rewards[0].metric);
	else
		conclude(verdict, VERDICT_WINNER, "%s satisfies all objectives%s", e->versions[version].name,
			 e->testing == TESTING_CANARY && version == 0 ? "; the candidate surely fails one" : "");
}

/* The first objective of which that is known. */
static bool find_claim(const struct verdict *verdict, enum claim claim, size_t *ret_version, size_t *ret_objective)
{
	for (size_t i = 0; i < verdict->version_count * verdict->objective_count; i++) {
		if (verdict->objectives[i].claim != claim)
			continue;
		*ret_version = i / verdict->objective_count;
		*ret_objective = i % verdict->objective_count;
		return true;
	}
	return false;
}

static bool reward_is_known(const struct verdict *verdict)
{
	for (size_t i = 0; i < verdict->pair_count; i++) {
		if (verdict->pairs[i].b_better == CLAIM_UNKNOWN)
			return false;
	}
	return verdict->pair_count > 0;
}

static void conclude_open(struct verdict *verdict, const struct experiment *e)
{
	size_t v, i;

	if (find_claim(verdict, CLAIM_UNKNOWN, &v, &i))
		conclude(verdict, VERDICT_INCONCLUSIVE,
			 "nothing is known of how %s of %s varies: it has no reading, or it comes from a provider without its spread",
			 e->objectives[i].metric, e->versions[v].name);
	else if (verdict->pair_count && !reward_is_known(verdict))
		conclude(verdict, VERDICT_INCONCLUSIVE,
			 "nothing is known of how the reward %s varies: it has no reading, or it comes from a provider without its spread",
			 e->rewards[0].metric);
	else if (find_claim(verdict, CLAIM_OPEN, &v, &i))
		conclude(verdict, VERDICT_INCONCLUSIVE, "%s of %s may be inside of its limits or outside",
			 e->objectives[i].metric, e->versions[v].name);
	else if (verdict->pair_count)
		conclude(verdict, VERDICT_INCONCLUSIVE, "no version is surely better in %s than every other", e->rewards[0].metric);
	else
		conclude(verdict, VERDICT_INCONCLUSIVE, "no version surely satisfies all objectives");
}

static bool wins(const struct verdict *verdict, const struct experiment *e, size_t version)
{
	if (!all_hold(verdict, version))
		return false;
	if (e->testing == TESTING_CONFORMANCE)
		return version == 0;
	if (e->testing == TESTING_CANARY)
		return version == 1 || (version == 0 && verdict->version_count > 1 && one_fails(verdict, 1));
	for (size_t other = 0; other < verdict->version_count; other++) {
		if (other != version && !one_fails(verdict, other) && !is_better(verdict, version, other))
			return false;
	}
	return e->reward_count > 0;
}

static void judge(struct verdict *verdict, const struct experiment *e)
{
	size_t failed = 0;

	if (verdict->split_tested && verdict->split_p_value < SPLIT_P_VALUE) {
		conclude(verdict, VERDICT_SAMPLE_RATIO_MISMATCH,
			 "the users are not divided as the split says (p = %.2g): find what loses or doubles users of one version, and begin anew",
			 verdict->split_p_value);
		return;
	}
	for (size_t v = 0; v < verdict->version_count; v++) {
		if (verdict->samples[v] >= (double)verdict->strength.minimum_sample)
			continue;
		conclude(verdict, VERDICT_INSUFFICIENT_DATA, "%s has %.0f %ss, of at least %lld", e->versions[v].name, verdict->samples[v],
			 evidence_unit_name(verdict->unit), (long long)verdict->strength.minimum_sample);
		return;
	}
	for (size_t v = 0; v < verdict->version_count; v++) {
		if (wins(verdict, e, v)) {
			conclude_winner(verdict, e, v);
			return;
		}
		failed += one_fails(verdict, v);
	}
	verdict->final = has_maximum(verdict);
	if (failed == verdict->version_count) {
		conclude(verdict, VERDICT_NO_FEASIBLE_VERSION, "every version surely fails an objective");
		verdict->final = true;
	} else if (verdict->final && reward_is_known(verdict)) {
		conclude(verdict, VERDICT_NO_DIFFERENCE, "with %lld %ss each, no version is surely better in %s",
			 (long long)verdict->strength.maximum_sample, evidence_unit_name(verdict->unit), e->rewards[0].metric);
	} else {
		conclude_open(verdict, e);
	}
}

int verdict_new(const struct experiment *e, const struct readings *readings, struct verdict **ret_verdict)
{
	_cleanup_(verdict_free) struct verdict *verdict = calloc(1, sizeof(*verdict));
	bool by_reward = (e->testing == TESTING_AB || e->testing == TESTING_ABN) && e->reward_count > 0;

	if (!verdict)
		return -ENOMEM;
	verdict->strength = with_defaults(e->strength);
	verdict->version_count = e->version_count;
	verdict->objective_count = e->objective_count;
	verdict->pair_count = by_reward ? e->version_count * (e->version_count - 1) / 2 : 0;
	verdict->samples = calloc(verdict->version_count, sizeof(*verdict->samples));
	verdict->objectives = calloc(verdict->version_count * verdict->objective_count + 1, sizeof(*verdict->objectives));
	verdict->pairs = calloc(verdict->pair_count + 1, sizeof(*verdict->pairs));
	if (!verdict->samples || !verdict->objectives || !verdict->pairs)
		return -ENOMEM;
	count_samples(verdict, e, readings);
	claim_objectives(verdict, e, readings);
	claim_pairs(verdict, e, readings);
	if (test_split(verdict, readings) < 0)
		return -ENOMEM;
	judge(verdict, e);
	if (!verdict->why)
		return -ENOMEM;
	*ret_verdict = TAKE_PTR(verdict);
	return 0;
}

void verdict_free(struct verdict **verdict)
{
	struct verdict *v = TAKE_PTR(*verdict);

	if (!v)
		return;
	free(v->why);
	free(v->samples);
	free(v->objectives);
	free(v->pairs);
	free(v);
}

/* ---- for the status ---- */

/* A quantity; no line at all for what has no number (an end that is infinite). */
static void put_number(json_t *object, const char *key, double value)
{
	char text[DECIMAL_TEXT_MAX];

	if (isfinite(value))
		json_object_set_new(object, key, json_string(decimal_quantity(value, text)));
}

static json_t *samples_json(const struct experiment *e, const struct verdict *verdict)
{
	json_t *samples = json_object();

	for (size_t v = 0; v < verdict->version_count; v++)
		json_object_set_new(samples, e->versions[v].name, json_integer((json_int_t)verdict->samples[v]));
	return samples;
}

static json_t *objective_json(const struct experiment *e, const struct verdict *verdict, size_t version, size_t objective)
{
	const struct objective_claim *claim = &verdict->objectives[version * verdict->objective_count + objective];
	json_t *json = json_pack("{s:s, s:s, s:s}", "metric", e->objectives[objective].metric, "version", e->versions[version].name, "claim",
				 claim_names[claim->claim]);

	if (claim->estimate.known) {
		put_number(json, "value", claim->estimate.value);
		put_number(json, "low", claim->estimate.interval.low);
		put_number(json, "high", claim->estimate.interval.high);
	}
	return json;
}

static json_t *pair_json(const struct experiment *e, const struct pair_claim *pair)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "metric", e->rewards[0].metric, "version", e->versions[pair->b].name, "minus",
				 e->versions[pair->a].name);
	const char *better = pair->b_better == CLAIM_HOLDS ? e->versions[pair->b].name :
			     pair->a_better == CLAIM_HOLDS ? e->versions[pair->a].name :
							     NULL;

	if (pair->b_better != CLAIM_UNKNOWN) {
		put_number(json, "value", pair->value);
		put_number(json, "low", pair->interval.low);
		put_number(json, "high", pair->interval.high);
	}
	if (better)
		json_object_set_new(json, "better", json_string(better));
	return json;
}

json_t *verdict_to_json(const struct experiment *e, const struct verdict *verdict)
{
	json_t *json = json_pack("{s:s, s:s, s:b, s:s, s:o}", "verdict", verdict_name(verdict->kind), "why", verdict->why, "rule",
				 verdict->strength.given, "unit", evidence_unit_name(verdict->unit), "sample", samples_json(e, verdict));
	json_t *objectives = json_array(), *differences = json_array();

	put_number(json, "confidence", verdict->strength.confidence);
	if (verdict->kind == VERDICT_WINNER)
		json_object_set_new(json, "winner", json_string(e->versions[verdict->winner].name));
	if (verdict->lost > 0)
		json_object_set_new(json, "lostUsers", json_integer((json_int_t)verdict->lost));
	if (verdict->split_tested)
		put_number(json, "splitPValue", verdict->split_p_value);
	for (size_t i = 0; i < verdict->pair_count; i++)
		json_array_append_new(differences, pair_json(e, &verdict->pairs[i]));
	for (size_t i = 0; i < verdict->objective_count; i++) {
		for (size_t v = 0; v < verdict->version_count; v++)
			json_array_append_new(objectives, objective_json(e, verdict, v, i));
	}
	json_object_set_new(json, "differences", differences);
	json_object_set_new(json, "objectives", objectives);
	return json;
}
