/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/world.h"

#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "world/kinds.h"

void world_free(struct world **world)
{
	struct world *w = *world;

	*world = NULL;
	for (size_t k = 0; w && k < kind_count; k++) {
		char *items = *(char **)((char *)w + kinds[k].items);
		size_t count = *(size_t *)((char *)w + kinds[k].count);

		/* Two kinds may share a list. */
		*(char **)((char *)w + kinds[k].items) = NULL;
		*(size_t *)((char *)w + kinds[k].count) = 0;
		for (size_t i = 0; i < count; i++) {
			kinds[k].release(items + i * kinds[k].size);
			object_meta_release((struct object_meta *)(items + i * kinds[k].size));
		}
		free(items);
	}
	free(w);
}

static bool is_named(const struct object_meta *meta, const char *ns, const char *name)
{
	return strcmp(meta->name, name) == 0 && strcmp(meta->ns, ns && *ns ? ns : "default") == 0;
}

const struct service *world_service(const struct world *world, const char *ns, const char *name)
{
	for (size_t i = 0; i < world->service_count; i++)
		if (is_named(&world->services[i].meta, ns, name))
			return &world->services[i];
	return NULL;
}

const struct gateway *world_gateway(const struct world *world, const char *ns, const char *name)
{
	for (size_t i = 0; i < world->gateway_count; i++)
		if (is_named(&world->gateways[i].meta, ns, name))
			return &world->gateways[i];
	return NULL;
}

const struct experiment *world_experiment(const struct world *world, const char *ns, const char *name)
{
	for (size_t i = 0; i < world->experiment_count; i++)
		if (is_named(&world->experiments[i].meta, ns, name))
			return &world->experiments[i];
	return NULL;
}

const struct secret *world_secret(const struct world *world, const char *ns, const char *name)
{
	for (size_t i = 0; i < world->secret_count; i++)
		if (is_named(&world->secrets[i].meta, ns, name))
			return &world->secrets[i];
	return NULL;
}

const struct metric *world_metric(const struct world *world, const char *experiment_ns, const char *reference)
{
	const char *slash = strchr(reference, '/');
	_cleanup_free_ char *ns = slash ? strndup(reference, (size_t)(slash - reference)) : NULL;
	const char *in = slash ? ns : experiment_ns;

	if (slash && !ns)
		return NULL;
	for (size_t i = 0; i < world->metric_count; i++)
		if (is_named(&world->metrics[i].meta, in, slash ? slash + 1 : reference))
			return &world->metrics[i];
	return NULL;
}
