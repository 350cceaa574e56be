/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/maglev.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/hash.h"
#include "util/cleanup.h"

/* One pod: its permutation is offset, offset + skip, offset + 2 skip ... (mod size). size is prime, so any skip visits every slot. */
struct walker {
	const char *name;
	uint16_t index; /* in the caller's names */
	size_t offset, skip;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct walker *)a)->name, ((const struct walker *)b)->name);
}

/* Constants, and no secret: the ring is chosen by names that the cluster gave, not by clients. Any two independent hashes do. */
static const __u64 offset_key[2] = { 0x6d61676c6576206f, 0x66667365742e2e2e };
static const __u64 skip_key[2] = { 0x6d61676c65762073, 0x6b69702e2e2e2e2e };

static int walker_init(struct walker *walker, const char *name, size_t index, size_t size)
{
	struct shunt_id id = {};
	size_t len = strlen(name);

	if (len > SHUNT_ID_MAX)
		return -EINVAL;
	id.len = len;
	memcpy(id.b, name, len);
	*walker = (struct walker){
		.name = name,
		.index = index,
		.offset = shunt_siphash(offset_key, &id) % size,
		.skip = shunt_siphash(skip_key, &id) % (size - 1) + 1,
	};
	return 0;
}

/* The paper's Listing 1 "Populate": every pod in turn takes the next free slot of its permutation. `taken` starts as zeros. */
static void populate(struct walker *walkers, size_t count, uint16_t *ring, size_t size, bool *taken)
{
	for (size_t filled = 0;; ) {
		for (size_t i = 0; i < count; i++) {
			struct walker *walker = &walkers[i];

			while (taken[walker->offset])
				walker->offset = (walker->offset + walker->skip) % size;
			taken[walker->offset] = true;
			ring[walker->offset] = walker->index;
			if (++filled == size)
				return;
		}
	}
}

int maglev_fill(const char *const *names, size_t count, uint16_t *ring, size_t size)
{
	_cleanup_free_ struct walker *walkers = NULL;
	_cleanup_free_ bool *taken = NULL;

	if (count < 1 || count > size || count > UINT16_MAX || size < 2)
		return -EINVAL;
	walkers = calloc(count, sizeof(*walkers));
	taken = calloc(size, sizeof(*taken));
	if (!walkers || !taken)
		return -ENOMEM;

	for (size_t i = 0; i < count; i++) {
		int r = walker_init(&walkers[i], names[i], i, size);

		if (r < 0)
			return r;
	}
	qsort(walkers, count, sizeof(*walkers), by_name);
	for (size_t i = 1; i < count; i++)
		if (strcmp(walkers[i - 1].name, walkers[i].name) == 0)
			return -EINVAL;
	populate(walkers, count, ring, size, taken);
	return 0;
}
