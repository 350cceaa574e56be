/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Any bytes as a manifest: reading it must end, with objects or errors, and give back all memory (libFuzzer; the leak sanitizer sees the rest).
 *
 * What is checked beside that: a document that was refused says why and leaves the world as it was, an error has a text, and what was accepted once
 * is accepted again.
 */
#include "world/manifest.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static void expect(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "%s\n", what);
	abort();
}

static size_t objects(const struct world *world)
{
	return world->service_count + world->slice_count + world->virtual_service_count + world->experiment_count + world->metric_count;
}

static void expect_texts(const struct manifest_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		char *text = manifest_error_text(&errors->items[i]);

		expect(text && *text, "an error without a text");
		free(text);
	}
}

/* Decodes all documents; how many were accepted. */
static size_t decode(const struct manifest_documents *documents, struct manifest_errors *errors)
{
	struct world *world = calloc(1, sizeof(*world));
	size_t accepted = 0;

	if (!world)
		abort();
	for (size_t i = 0; i < documents->count; i++) {
		size_t before = objects(world), said = errors->count;
		bool good = manifest_decode(&documents->items[i], world, errors) == 0;

		expect(good || errors->count > said, "refused without a word");
		expect(good || objects(world) == before, "refused, and yet there");
		accepted += good;
	}
	world_free(&world);
	return accepted;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct manifest_documents documents = {};
	struct manifest_errors errors = {};
	size_t accepted;

	if (manifest_parse("fuzz.yaml", (const char *)input, size, 0, &documents, &errors))
		abort();
	accepted = decode(&documents, &errors);
	expect_texts(&errors);
	expect(decode(&documents, &errors) == accepted, "decoded differently the second time");
	manifest_documents_release(&documents);
	manifest_errors_release(&errors);
	return 0;
}
