/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan_text.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "util/addr.h"
#include "util/cleanup.h"
#include "view.h"
#include "world/manifest.h"

struct world *world_of(const char *yaml)
{
	struct manifest_documents documents = {};
	struct manifest_errors errors = {};
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	assert_int_equal(manifest_parse("test.yaml", yaml, strlen(yaml), 1000, &documents, &errors), 0);
	for (size_t i = 0; i < documents.count; i++)
		manifest_decode(&documents.items[i], world, &errors);
	for (size_t i = 0; i < errors.count; i++) {
		_cleanup_free_ char *text = manifest_error_text(&errors.items[i]);

		print_error("%s\n", text);
	}
	assert_int_equal(errors.count, 0);
	manifest_documents_release(&documents);
	manifest_errors_release(&errors);
	return world;
}

struct tables *plan_on(const struct world *world, const struct plan_node *node, const struct steering *steerings, size_t steering_count)
{
	static const struct shunt_series no_series[SHUNT_SERIES];
	static const uint8_t key[16] = "0123456789abcdef";
	struct tables *tables;

	assert_int_equal(plan(world, node, steerings, steering_count, no_series, key, &tables), 0);
	return tables;
}

struct tables *plan_of(const struct world *world, const struct steering *steerings, size_t steering_count)
{
	return plan_on(world, NULL, steerings, steering_count);
}

static void print_endpoint(FILE *out, const struct shunt_addr *addr, __be16 port)
{
	char text[ADDR_PORT_TEXT_MAX];

	fputs(addr_port_text(addr, ntohs(port), text), out);
}

static const char *version_text(const struct tables *tables, uint32_t version)
{
	assert_true(version < tables->version_count);
	return tables->series[tables->versions[version].value.series].version;
}

static void print_split(FILE *out, const struct tables *tables, uint32_t index)
{
	const struct shunt_split *split = &tables->splits[index];
	uint64_t low = 0;

	assert_true(index < tables->split_count && split->shares > 0);
	for (uint32_t i = 0; i < split->shares; i++) {
		fprintf(out, " %s", version_text(tables, split->share[i].version));
		if (split->shares > 1)
			fprintf(out, " %.4g%%", (double)(split->share[i].end - low) * 100 / 4294967296.0);
		low = split->share[i].end;
	}
	assert_true(low == 1ull << 32);
	fputc('\n', out);
}

static bool print_rule(FILE *out, const struct tables *tables, uint16_t route, uint16_t order)
{
	for (size_t i = 0; i < tables->rule_count; i++) {
		const struct tables_rule *rule = &tables->rules[i];
		char text[VIEW_TEXT_MAX];

		if (rule->route != route || rule->value.order != order)
			continue;
		fprintf(out, "    %s", view_rule(rule, text));
		print_split(out, tables, rule->value.split);
		return true;
	}
	return false;
}

static bool print_entry(FILE *out, const struct tables *tables, const struct shunt_route *route, uint16_t order)
{
	for (size_t i = route->entry; i < (size_t)route->entry + route->entries; i++) {
		const struct shunt_entry *entry = &tables->entries[i];
		char text[VIEW_TEXT_MAX];

		assert_true(i < tables->entry_count);
		if (entry->order != order)
			continue;
		fprintf(out, "    %s", view_entry(tables, entry, text));
		print_split(out, tables, entry->split);
		return true;
	}
	return false;
}

static void print_route(FILE *out, const struct tables *tables, uint16_t index)
{
	static const char *const identity[] = { "client", "header:", "cookie:", "query:" };
	const struct shunt_route *route = &tables->routes[index];
	size_t rules = 0, entries = 0;

	fprintf(out, "  %s%.*s by %s%.*s\n", route->host_match == SHUNT_HOST_EXACT ? "" : "*", route->host_len, route->host,
		identity[route->identity], route->name_len, route->name);
	for (uint16_t order = 0; order < tables->rule_count + tables->entry_count + 16; order++) { /* some are left out, as unreachable */
		rules += print_rule(out, tables, index, order);
		entries += print_entry(out, tables, route, order);
	}
	assert_int_equal(rules, route->rules);
	assert_int_equal(entries, route->entries);
	fprintf(out, "    else");
	print_split(out, tables, route->split);
}

char *plan_steering_text(const struct tables *tables)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < tables->frontend_count; i++) {
		const struct tables_frontend *frontend = &tables->frontends[i];
		size_t first = 0;

		while (tables->frontends[first].value.route != frontend->value.route)
			first++;
		print_endpoint(out, &frontend->key.addr, frontend->key.port);
		if (first < i) {
			fprintf(out, " like ");
			print_endpoint(out, &tables->frontends[first].key.addr, tables->frontends[first].key.port);
			fputc('\n', out);
			continue;
		}
		fprintf(out, " %s\n", frontend->value.kind == SHUNT_KIND_REQUEST ? "request" : "connection");
		for (uint16_t r = 0; r < frontend->value.routes; r++)
			print_route(out, tables, frontend->value.route + r);
	}
	fclose(out);
	return text;
}

/* The pods that a ring holds, each once. */
static void print_ring(FILE *out, const struct tables *tables, uint16_t ring)
{
	_cleanup_free_ bool *there = calloc(SHUNT_PODS, sizeof(*there));

	assert_true(ring < tables->ring_count);
	for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
		there[tables->rings[ring].pod[slot]] = true;
	for (size_t pod = 0; pod < tables->pod_count; pod++) {
		if (!there[pod])
			continue;
		fputc(' ', out);
		print_endpoint(out, &tables->pods[pod].addr, tables->pods[pod].port);
	}
}

/* ", answers [version: v2][a: b]+[c: d]-e": what is set, "+" and what is added, "-" and each header that is removed; "!" where Host is set. */
static void print_edit(FILE *out, const char *what, const struct shunt_edit *edit)
{
	int line = 0;

	fprintf(out, ", %s ", what);
	for (size_t at = 0; at < edit->len; line++) {
		size_t len = strcspn((const char *)edit->text + at, "\r");

		fprintf(out, "%s[%.*s]", line == edit->sets ? "+" : "", (int)len, (const char *)edit->text + at);
		at += len + 2;
	}
	assert_int_equal(line, edit->sets + edit->adds);
	for (int i = 0; i < edit->removes; i++)
		fprintf(out, "-%.*s", SHUNT_NAME_MAX, edit->names[edit->sets + i].name);
	fprintf(out, "%s", edit->host ? "!" : "");
}

char *plan_versions_text(const struct tables *tables)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < tables->version_count; i++) {
		const struct shunt_version *version = &tables->versions[i].value;

		fprintf(out, "%s of %s:", version_text(tables, i), tables->series[version->series].route);
		for (int family = 0; family < SHUNT_FAMILIES; family++)
			if (version->ring[family] != SHUNT_NONE)
				print_ring(out, tables, version->ring[family]);
		for (int family = 0; family < SHUNT_FAMILIES; family++) {
			if (version->near[family] == version->ring[family])
				continue;
			fprintf(out, ", here");
			if (version->near[family] != SHUNT_NONE)
				print_ring(out, tables, version->near[family]);
		}
		if (version->fallback != SHUNT_NONE)
			fprintf(out, ", else %s", version_text(tables, version->fallback));
		if (version->request_edit)
			print_edit(out, "asks", &tables->edits[version->request_edit - 1]);
		if (version->edit)
			print_edit(out, "answers", &tables->edits[version->edit - 1]);
		fputc('\n', out);
	}
	fclose(out);
	return text;
}

char *plan_notes_text(const struct plan_note *notes, size_t count)
{
	static const char *const level[] = { "info", "warning", "error" };
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (size_t i = 0; i < count; i++)
		fprintf(out, "%s %s: %s\n", level[notes[i].level], notes[i].where, notes[i].message);
	fclose(out);
	return text;
}
