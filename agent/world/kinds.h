/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The kinds of objects that shunt reads; one table entry each. Only world/ includes this. */
#ifndef SHUNT_KINDS_H
#define SHUNT_KINDS_H

#include "world/schema.h"
#include "world/world.h"

#define API_VERSIONS_MAX 4

struct kind {
	const char *name;
	const char *api_versions[API_VERSIONS_MAX]; /* ends with NULL */
	const struct schema *schema;                /* of the whole document; every object starts with its struct object_meta */
	size_t size;
	size_t items, count;                        /* offsets in struct world */
	void (*release)(void *object);              /* frees what the object holds, but not its meta */
};

extern const struct kind kinds[];
extern const size_t kind_count;

/* The fields that every document has around its spec. */
extern const struct schema metadata_schema;
#define DOCUMENT_FIELDS ACCEPTED("apiVersion"), ACCEPTED("kind"), METADATA_FIELD, ACCEPTED("status")
#define METADATA_FIELD { "metadata", FIELD_OBJECT, .schema = &metadata_schema, .required = true }

extern const struct schema service_schema, endpoint_slice_schema, virtual_service_schema, http_route_schema, gateway_schema, experiment_schema, metric_schema,
	secret_schema;
void service_release(void *object);
void endpoint_slice_release(void *object);
void virtual_service_release(void *object);
void gateway_release(void *object);
void experiment_release(void *object);
void metric_release(void *object);
void secret_release(void *object);

void object_meta_release(struct object_meta *meta);

/* annotations.c: what the annotations of the object at the cursor say. */
void decode_experiment_annotations(struct decoder *d, const struct cursor *at, struct experiment *experiment);
void decode_metric_annotations(struct decoder *d, const struct cursor *at, struct metric *metric);

/* Frees the strings and the list of them. */
void strings_free(char **items, size_t count);

/* { name: x, value: y } lists. */
extern const struct schema variable_schema;
void variables_free(struct variable *items, size_t count);

#endif
