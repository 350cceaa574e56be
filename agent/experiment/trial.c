/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/trial.h"

#include <string.h>

/* FNV-1a, 32 bits (draft-eastlake-fnv, section 2). Nobody chooses uids to collide, and two that do would have to be on one route. */
uint32_t trial_id(const char *uid)
{
	uint32_t hash = 2166136261u;

	for (const char *p = uid; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return hash ? hash : 1;
}

struct shunt_trial trial_of(const struct experiment *experiment, const char *uid)
{
	const struct conversion *conversion = &experiment->conversion;
	struct shunt_trial trial = { .id = trial_id(uid), .class = conversion->class };

	if (!conversion->class)
		return trial;
	trial.method_len = strlen(conversion->method); /* annotations.c bounds both */
	trial.path_len = strlen(conversion->path);
	memcpy(trial.method, conversion->method, trial.method_len);
	memcpy(trial.path, conversion->path, trial.path_len);
	return trial;
}
