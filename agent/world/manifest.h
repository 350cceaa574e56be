/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Manifests into objects, strictly: an unknown kind or field, a wrong type, a value out of range or a missing field is an error of its document, and
 * never stops the others.
 *
 *     text ──manifest_parse──▶ documents (items of a List are documents of their own) ──manifest_decode──▶ objects in a world
 *
 * The two steps are apart so that a source can keep the last good document of an object and decode it again into each new world.
 */
#ifndef SHUNT_MANIFEST_H
#define SHUNT_MANIFEST_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "world/errors.h"
#include "world/world.h"

/* One object's document, not decoded yet. */
struct manifest_document {
	char *file;
	char *prefix; /* "", or "items[3]" in a List; before paths in errors */
	int line;
	int64_t created; /* of the object when it does not say itself; seconds since the epoch */
	json_t *root;
	json_t *positions; /* yaml.h; may be NULL */
};

struct manifest_documents {
	struct manifest_document *items;
	size_t count;
};

/*
 * Appends all documents of a text to *documents; what is no YAML goes to *errors. Returns 0 or -ENOMEM (then what was appended stays).
 * mtime: of the file, seconds since the epoch.
 */
int manifest_parse(const char *file, const char *text, size_t size, int64_t mtime, struct manifest_documents *documents,
		   struct manifest_errors *errors);

/* Appends a copy that shares the trees. Returns 0 or -ENOMEM. */
int manifest_documents_add(struct manifest_documents *documents, const struct manifest_document *document);
void manifest_documents_release(struct manifest_documents *documents);

/*
 * Decodes a document and appends its object to the world. Returns 0; -EINVAL when there were errors: they are appended and the world is as before; or
 * -ENOMEM. An object that the world has already (same kind, namespace and name) is an error that names both places; the first stays.
 */
int manifest_decode(const struct manifest_document *document, struct world *world, struct manifest_errors *errors);

/* Whether two documents are of the same object: kind, namespace, name. */
bool manifest_same_object(const struct manifest_document *a, const struct manifest_document *b);

/*
 * Hash of a decoded document: the same for the same content in any order of keys. What the API server changes by itself is left out:
 * status, metadata.resourceVersion, generation, managedFields. Returns 0 or -ENOMEM.
 */
int manifest_hash(const json_t *document, uint64_t *ret_hash);

#endif
