/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/kinds.h"
#include "world/yaml.h"

#define KIND(type, list, list_count)                                                                                       \
	.size = sizeof(struct type), .items = offsetof(struct world, list), .count = offsetof(struct world, list_count),   \
	.schema = &type##_schema, .release = type##_release

const struct kind kinds[] = {
	{ "Service", { "v1" }, KIND(service, services, service_count) },
	{ "EndpointSlice", { "discovery.k8s.io/v1" }, KIND(endpoint_slice, slices, slice_count) },
	{ "VirtualService",
	  { "networking.istio.io/v1alpha3", "networking.istio.io/v1beta1", "networking.istio.io/v1" },
	  KIND(virtual_service, virtual_services, virtual_service_count) },
	{ "HTTPRoute",
	  { "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1" },
	  .size = sizeof(struct virtual_service), .items = offsetof(struct world, virtual_services), .count = offsetof(struct world, virtual_service_count),
	  .schema = &http_route_schema, .release = virtual_service_release },
	{ "Gateway", { "gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1" }, KIND(gateway, gateways, gateway_count) },
	{ "Experiment", { "iter8.tools/v2alpha2" }, KIND(experiment, experiments, experiment_count) },
	{ "Metric", { "iter8.tools/v2alpha2" }, KIND(metric, metrics, metric_count) },
	{ "Secret", { "v1" }, KIND(secret, secrets, secret_count) },
};

const size_t kind_count = ARRAY_SIZE(kinds);

/* ---- documents */

int manifest_documents_add(struct manifest_documents *documents, const struct manifest_document *document)
{
	struct manifest_document *bigger = reallocarray(documents->items, documents->count + 1, sizeof(*bigger));
	_cleanup_free_ char *file = strdup(document->file);
	_cleanup_free_ char *prefix = strdup(document->prefix);

	if (bigger)
		documents->items = bigger;
	if (!bigger || !file || !prefix)
		return -ENOMEM;
	bigger[documents->count++] = (struct manifest_document){
		.file = TAKE_PTR(file),
		.prefix = TAKE_PTR(prefix),
		.line = document->line,
		.created = document->created,
		.root = json_incref(document->root),
		.positions = json_incref(document->positions),
	};
	return 0;
}

void manifest_documents_release(struct manifest_documents *documents)
{
	for (size_t i = 0; i < documents->count; i++) {
		free(documents->items[i].file);
		free(documents->items[i].prefix);
		json_decref(documents->items[i].root);
		json_decref(documents->items[i].positions);
	}
	free(documents->items);
	*documents = (struct manifest_documents){};
}

static const char *text_member(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static bool is_list(const json_t *root)
{
	const char *kind = text_member(root, "kind"), *api_version = text_member(root, "apiVersion");

	return kind && api_version && strcmp(kind, "List") == 0 && strcmp(api_version, "v1") == 0;
}

/* `kubectl get -o yaml` of several objects. Its items have their own fates. */
static int add_list(const struct manifest_document *list, struct manifest_documents *documents, struct manifest_errors *errors)
{
	const json_t *items = json_object_get(list->root, "items");
	const json_t *positions = yaml_member(list->positions, "items");
	size_t i;
	json_t *item;
	int r = 0;

	if (!json_is_array(items))
		return manifest_errors_add(errors, list->file, list->line, "items", "found no list; allowed: a list of objects");
	json_array_foreach(items, i, item) {
		char prefix[32];
		struct manifest_document document = *list;

		snprintf(prefix, sizeof(prefix), "items[%zu]", i);
		document.prefix = prefix;
		document.root = item;
		document.positions = (json_t *)yaml_item(positions, i);
		if (document.positions)
			document.line = yaml_line(document.positions);
		r = manifest_documents_add(documents, &document);
		if (r < 0)
			return r;
	}
	return 0;
}

int manifest_parse(const char *file, const char *text, size_t size, int64_t mtime, struct manifest_documents *documents,
		   struct manifest_errors *errors)
{
	struct yaml_document *parsed;
	size_t count;
	int r;

	if (size > YAML_SIZE_MAX)
		return manifest_errors_add(errors, file, 0, "", "found %zu bytes; allowed: at most %u, split the file", size, YAML_SIZE_MAX);
	r = yaml_parse(text, size, &parsed, &count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count && r == 0; i++) {
		struct manifest_document document = {
			.file = (char *)file,
			.prefix = (char *)"",
			.line = parsed[i].line,
			.created = mtime,
			.root = parsed[i].root,
			.positions = parsed[i].positions,
		};

		if (parsed[i].error)
			r = manifest_errors_add(errors, file, parsed[i].line, "", "%s", parsed[i].error);
		else if (is_list(document.root))
			r = add_list(&document, documents, errors);
		else
			r = manifest_documents_add(documents, &document);
	}
	yaml_documents_free(parsed, count);
	return r;
}

static bool same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

bool manifest_same_object(const struct manifest_document *a, const struct manifest_document *b)
{
	const json_t *meta_a = json_object_get(a->root, "metadata"), *meta_b = json_object_get(b->root, "metadata");
	const char *ns_a = text_member(meta_a, "namespace"), *ns_b = text_member(meta_b, "namespace");

	return same_text(text_member(a->root, "kind"), text_member(b->root, "kind")) &&
	       same_text(text_member(meta_a, "name"), text_member(meta_b, "name")) &&
	       strcmp(ns_a ? ns_a : "default", ns_b ? ns_b : "default") == 0;
}

/* ---- hash */

#define FNV_OFFSET 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

/* FNV-1a: it only has to see a change, nobody chooses a manifest against it. */
static int hash_chunk(const char *text, size_t size, void *userdata)
{
	uint64_t *hash = userdata;

	for (size_t i = 0; i < size; i++)
		*hash = (*hash ^ (unsigned char)text[i]) * FNV_PRIME;
	return 0;
}

/* Members are hashed apart and added, so that their order is of no account. */
static int hash_without(const json_t *object, const char *const *left_out, uint64_t *sum)
{
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)object, key, value) {
		uint64_t hash = FNV_OFFSET;
		bool skip = false;

		for (const char *const *name = left_out; *name; name++)
			skip |= strcmp(key, *name) == 0;
		if (skip)
			continue;
		hash_chunk(key, strlen(key) + 1, &hash);
		if (json_dump_callback(value, hash_chunk, &hash, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) < 0)
			return -ENOMEM;
		*sum += hash;
	}
	return 0;
}

int manifest_hash(const json_t *document, uint64_t *ret_hash)
{
	static const char *const not_content[] = { "status", "metadata", NULL };
	static const char *const not_metadata[] = { "resourceVersion", "generation", "managedFields", NULL };
	uint64_t hash = FNV_OFFSET, content = 0, metadata = 0;

	if (hash_without(document, not_content, &content) < 0 || hash_without(json_object_get(document, "metadata"), not_metadata, &metadata) < 0)
		return -ENOMEM;
	hash_chunk((const char *)&content, sizeof(content), &hash);
	hash_chunk((const char *)&metadata, sizeof(metadata), &hash);
	*ret_hash = hash;
	return 0;
}

/* ---- objects */

static void *kind_items(const struct kind *kind, struct world *world, size_t **ret_count)
{
	*ret_count = (size_t *)((char *)world + kind->count);
	return *(void **)((char *)world + kind->items);
}

static bool kind_has_version(const struct kind *kind, const char *api_version)
{
	for (const char *const *v = kind->api_versions; *v; v++)
		if (strcmp(*v, api_version) == 0)
			return true;
	return false;
}

/* "networking.istio.io/v1alpha3, ... VirtualService; iter8.tools/v2alpha2 Experiment" */
static char *allowed_kinds(const char *only)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (const struct kind *kind = kinds; kind < kinds + kind_count; kind++)
		for (const char *const *v = kind->api_versions; *v && (!only || strcmp(only, kind->name) == 0); v++)
			fprintf(out, "%s%s%s%s", ftell(out) ? ", " : "", *v, only ? "" : " ", only ? "" : kind->name);
	if (fclose(out) == 0)
		return text;
	free(text);
	return NULL;
}

/* The kind of a document, or NULL with an error. */
static const struct kind *find_kind(struct decoder *d, const struct cursor *at)
{
	struct cursor kind_at = cursor_member(at, "kind"), version_at = cursor_member(at, "apiVersion");
	const char *name = json_string_value(kind_at.value), *api_version = json_string_value(version_at.value);
	_cleanup_free_ char *allowed = NULL;

	if (!name || !api_version) {
		decode_error(d, name ? &version_at : &kind_at, "missing; every object has apiVersion and kind as texts");
		return NULL;
	}
	for (const struct kind *kind = kinds; kind < kinds + kind_count; kind++) {
		if (strcmp(kind->name, name) != 0)
			continue;
		if (kind_has_version(kind, api_version))
			return kind;
		allowed = allowed_kinds(name);
		decode_error(d, &version_at, "found %s %s; allowed: %s", api_version, name, allowed ? allowed : "");
		return NULL;
	}
	allowed = allowed_kinds(NULL);
	decode_error(d, &kind_at, "found %s %s, which shunt does not read; allowed: %s", api_version, name, allowed ? allowed : "");
	return NULL;
}

static const struct object_meta *find_object(const struct kind *kind, struct world *world, const struct object_meta *meta)
{
	size_t *count;
	const char *items = kind_items(kind, world, &count);

	for (size_t i = 0; i < *count; i++) {
		const struct object_meta *other = (const struct object_meta *)(items + i * kind->size);

		if (strcmp(other->name, meta->name) == 0 && strcmp(other->ns, meta->ns) == 0)
			return other;
	}
	return NULL;
}

/* Room for one more object, without counting it yet: lists grow at powers of two. NULL without memory. */
static void *make_room(const struct kind *kind, struct world *world)
{
	size_t *count;
	char *items = kind_items(kind, world, &count);

	if ((*count & (*count - 1)) == 0) {
		items = reallocarray(items, *count ? *count * 2 : 1, kind->size);
		if (!items)
			return NULL;
		*(void **)((char *)world + kind->items) = items;
	}
	return memset(items + *count * kind->size, 0, kind->size);
}

static void refuse_duplicate(struct decoder *d, const struct kind *kind, struct world *world, const struct cursor *at, const struct object_meta *meta)
{
	const struct object_meta *first = find_object(kind, world, meta);
	const char *other = first ? text_member(first->document, "kind") : NULL;

	if (other && strcmp(other, kind->name) != 0)
		decode_error(d, at, "found %s %s/%s, but the %s in %s:%d has that name; routes of both kinds go by one name, give one of them another",
			     kind->name, meta->ns, meta->name, other, first->file, first->line);
	else if (first)
		decode_error(d, at, "found %s %s/%s again; the one in %s:%d holds, remove one of them", kind->name, meta->ns, meta->name, first->file,
			     first->line);
}

static void fill_meta(struct decoder *d, const struct manifest_document *document, struct object_meta *meta)
{
	meta->file = strdup(document->file);
	if (!meta->file || manifest_hash(document->root, &meta->hash) < 0)
		d->r = -ENOMEM;
	meta->line = document->line;
	meta->created = document->created;
	meta->document = json_incref(document->root);
}

int manifest_decode(const struct manifest_document *document, struct world *world, struct manifest_errors *errors)
{
	struct decoder d = { .file = document->file, .prefix = document->prefix, .line = document->line, .errors = errors };
	struct cursor root = { .value = document->root, .position = document->positions };
	size_t errors_before = errors->count;
	const struct kind *kind;
	struct object_meta *meta;

	if (!json_is_object(root.value)) {
		decode_type_error(&d, &root, "an object with apiVersion and kind");
		return d.r ? d.r : -EINVAL;
	}
	kind = find_kind(&d, &root);
	if (!kind)
		return d.r ? d.r : -EINVAL;
	meta = make_room(kind, world);
	if (!meta)
		return -ENOMEM;

	fill_meta(&d, document, meta);
	schema_decode(&d, kind->schema, &root, meta);
	if (d.r == 0 && errors->count == errors_before)
		refuse_duplicate(&d, kind, world, &root, meta);
	if (d.r < 0 || errors->count > errors_before) {
		kind->release(meta);
		object_meta_release(meta);
		return d.r ? d.r : -EINVAL;
	}
	++*(size_t *)((char *)world + kind->count);
	return 0;
}
