/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/reading.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reading/builtin.h"
#include "util/cleanup.h"
#include "util/text.h"

/* ---- cells ---- */

void reading_set(struct reading *reading, double value)
{
	if (!isfinite(value)) {
		reading_fail(reading, "the value is %s, not a finite number", isnan(value) ? "NaN" : "infinite");
		return;
	}
	free(TAKE_PTR(reading->problem));
	reading->present = true;
	reading->value = value;
}

void reading_fail(struct reading *reading, const char *format, ...)
{
	va_list args;
	char *problem;

	va_start(args, format);
	problem = text_vprintf(format, args);
	va_end(args);
	reading_clear(reading);
	reading->problem = problem;
}

void reading_take(struct reading *reading, struct reading *from)
{
	reading_clear(reading);
	*reading = *from;
	*from = (struct reading){};
}

void reading_clear(struct reading *reading)
{
	free(reading->problem);
	free(reading->trouble);
	*reading = (struct reading){};
}

/* ---- the table ---- */

static bool has_metric(const struct readings *readings, const char *reference)
{
	for (size_t i = 0; i < readings->metric_count; i++) {
		if (strcmp(readings->metrics[i], reference) == 0)
			return true;
	}
	return false;
}

static int add_metric(struct readings *readings, const char *reference)
{
	char **grown, *copy;

	if (!reference || has_metric(readings, reference))
		return 0;
	grown = reallocarray(readings->metrics, readings->metric_count + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	readings->metrics = grown;
	copy = strdup(reference);
	if (!copy)
		return -ENOMEM;
	grown[readings->metric_count++] = copy;
	return 0;
}

/* "ns/name" of the metric that counts the sample of another; NULL when none does. */
static char *sample_reference(const struct world *world, const char *ns, const char *reference)
{
	const struct metric *metric = metric_resolve(world, ns, reference).object;

	if (!metric || !metric->sample_size)
		return NULL;
	if (strchr(metric->sample_size, '/'))
		return strdup(metric->sample_size);
	return text_printf("%s/%s", metric->meta.ns, metric->sample_size);
}

static int add_criteria(struct readings *readings, const struct experiment *e)
{
	int r = add_metric(readings, e->request_count);

	for (size_t i = 0; i < e->reward_count && r == 0; i++)
		r = add_metric(readings, e->rewards[i].metric);
	for (size_t i = 0; i < e->indicator_count && r == 0; i++)
		r = add_metric(readings, e->indicators[i]);
	for (size_t i = 0; i < e->objective_count && r == 0; i++)
		r = add_metric(readings, e->objectives[i].metric);
	return r;
}

static int add_samples(struct readings *readings, const struct world *world, const char *ns)
{
	size_t asked = readings->metric_count;
	int r = 0;

	for (size_t i = 0; i < asked && r == 0; i++) {
		_cleanup_free_ char *sample = sample_reference(world, ns, readings->metrics[i]);

		r = add_metric(readings, sample);
	}
	return r;
}

static int add_versions(struct readings *readings, const struct experiment *e)
{
	readings->versions = calloc(e->version_count + 1, sizeof(*readings->versions));
	if (!readings->versions)
		return -ENOMEM;
	for (; readings->version_count < e->version_count; readings->version_count++) {
		char *name = strdup(e->versions[readings->version_count].name);

		if (!name)
			return -ENOMEM;
		readings->versions[readings->version_count] = name;
	}
	return 0;
}

int readings_new(const struct world *world, const struct experiment *experiment, struct readings **ret_readings)
{
	_cleanup_(readings_free) struct readings *readings = calloc(1, sizeof(*readings));
	int r;

	if (!readings)
		return -ENOMEM;
	r = add_criteria(readings, experiment);
	if (r == 0)
		r = add_samples(readings, world, experiment->meta.ns);
	if (r == 0)
		r = add_versions(readings, experiment);
	if (r < 0)
		return r;
	readings->cells = calloc(readings->metric_count * readings->version_count + 1, sizeof(*readings->cells));
	readings->bases = calloc(readings->metric_count + 1, sizeof(*readings->bases));
	readings->evidence = calloc(readings->version_count + 1, sizeof(*readings->evidence));
	if (!readings->cells || !readings->bases || !readings->evidence)
		return -ENOMEM;
	for (size_t i = 0; i < readings->metric_count; i++) {
		struct metric_origin origin = metric_resolve(world, experiment->meta.ns, readings->metrics[i]);
		bool counter;

		if (origin.builtin)
			readings->bases[i] = origin.builtin->basis;
		counter = origin.builtin ? origin.builtin->type == METRIC_COUNTER : origin.object && origin.object->type == METRIC_COUNTER;
		if (counter && readings->bases[i].form == FORM_NONE)
			readings->bases[i].form = FORM_COUNT;
	}
	*ret_readings = TAKE_PTR(readings);
	return 0;
}

void readings_free(struct readings **readings)
{
	struct readings *r = TAKE_PTR(*readings);

	if (!r)
		return;
	for (size_t i = 0; r->cells && i < r->metric_count * r->version_count; i++)
		reading_clear(&r->cells[i]);
	for (size_t i = 0; i < r->metric_count; i++)
		free(r->metrics[i]);
	for (size_t i = 0; i < r->version_count; i++)
		free(r->versions[i]);
	free(r->cells);
	free(r->bases);
	free(r->evidence);
	free(r->metrics);
	free(r->versions);
	free(r);
}

struct reading *readings_at(const struct readings *readings, const char *metric, size_t version)
{
	for (size_t i = 0; metric && i < readings->metric_count; i++) {
		if (strcmp(readings->metrics[i], metric) == 0)
			return &readings->cells[i * readings->version_count + version];
	}
	return NULL;
}

void readings_join_samples(const struct world *world, const struct experiment *experiment, struct readings *readings)
{
	for (size_t i = 0; i < readings->metric_count; i++) {
		_cleanup_free_ char *sample = sample_reference(world, experiment->meta.ns, readings->metrics[i]);

		for (size_t v = 0; v < readings->version_count; v++) {
			struct reading *reading = &readings->cells[i * readings->version_count + v], *size = readings_at(readings, sample, v);

			if (!size || !size->present || !reading->present)
				continue;
			reading->has_sample = true;
			reading->sample = size->value;
		}
	}
}

/* ---- names ---- */

static bool is_our_own(const struct metric *metric)
{
	return strcmp(metric->provider, "iter8") == 0 || strcmp(metric->provider, "shunt") == 0;
}

struct metric_origin metric_resolve(const struct world *world, const char *experiment_ns, const char *reference)
{
	const struct metric *object = world_metric(world, experiment_ns, reference);
	const char *slash = strrchr(reference, '/');
	struct metric_origin origin = { .object = object };

	if (object && object->mock_count > 0) {
		origin.source = METRIC_MOCK;
	} else if (object && !is_our_own(object)) {
		origin.source = METRIC_HTTP;
	} else {
		origin.builtin = builtin_find(object ? object->meta.name : slash ? slash + 1 : reference);
		origin.source = origin.builtin ? METRIC_BUILTIN : METRIC_UNKNOWN;
	}
	return origin;
}
