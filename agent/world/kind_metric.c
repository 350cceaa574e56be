/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Metric (iter8.tools/v2alpha2; Iter8's etc3 api/v2alpha2/metric_types.go, and `mock` of later releases). */
#include "world/kinds.h"

#include "util/cleanup.h"

/* in the order of the enums */
static const char *const metric_types[] = { "Gauge", "Counter", NULL };
static const char *const methods[] = { "GET", "POST", NULL };
static const char *const auth_types[] = { "None", "Basic", "Bearer", "APIKey", NULL };

static const struct field mock_fields[] = {
	{ "name", FIELD_STRING, AT(struct metric_mock, name), .required = true },
	{ "level", FIELD_QUANTITY, AT(struct metric_mock, level), .required = true },
};

static const struct schema mock_schema = { FIELDS(mock_fields), .size = sizeof(struct metric_mock) };

static const struct field metric_spec_fields[] = {
	{ "description", FIELD_STRING, AT(struct metric, description), .text = "" },
	{ "units", FIELD_STRING, AT(struct metric, units), .text = "" },
	{ "provider", FIELD_STRING, AT(struct metric, provider), .text = "" },
	{ "type", FIELD_ENUM, AT(struct metric, type), .names = metric_types, .fallback = METRIC_GAUGE },
	{ "params", FIELD_LIST, AT(struct metric, params), COUNT_AT(struct metric, param_count), .schema = &variable_schema },
	{ "body", FIELD_STRING, AT(struct metric, body) },
	{ "method", FIELD_ENUM, AT(struct metric, post), .names = methods },
	{ "authType", FIELD_ENUM, AT(struct metric, auth), .names = auth_types, .fallback = AUTH_NONE },
	{ "secret", FIELD_STRING, AT(struct metric, secret) },
	{ "headerTemplates", FIELD_LIST, AT(struct metric, headers), COUNT_AT(struct metric, header_count), .schema = &variable_schema },
	{ "urlTemplate", FIELD_STRING, AT(struct metric, url), .text = "" },
	{ "jqExpression", FIELD_STRING, AT(struct metric, jq), .text = "" },
	{ "sampleSize", FIELD_STRING, AT(struct metric, sample_size) },
	{ "mock", FIELD_LIST, AT(struct metric, mocks), COUNT_AT(struct metric, mock_count), .schema = &mock_schema },
};

static const struct schema metric_spec_schema = { FIELDS(metric_spec_fields) };

static const struct field metric_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &metric_spec_schema, .required = true },
};

static void check_metric(struct decoder *d, const struct cursor *at, void *target)
{
	decode_metric_annotations(d, at, target);
}

const struct schema metric_schema = { FIELDS(metric_fields), .check = check_metric };

void metric_release(void *object)
{
	struct metric *metric = object;

	free(metric->description);
	free(metric->units);
	free(metric->provider);
	free(metric->body);
	free(metric->secret);
	free(metric->url);
	free(metric->jq);
	free(metric->sample_size);
	variables_free(metric->params, metric->param_count);
	variables_free(metric->headers, metric->header_count);
	for (size_t i = 0; i < metric->mock_count; i++)
		free(metric->mocks[i].name);
	free(metric->mocks);
}
