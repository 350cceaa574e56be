/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Readings: what the metrics of an experiment say about each version at one moment, as values. Where they come from is the business of builtin.c
 * (our own counters), provider.c (HTTP) and mock.c; what they mean is that of experiment/.
 *
 *                          flowers-v1       flowers-v2
 *     request-count        315.18           45.021
 *     user-engagement      10.023           missing: "HTTP 500: no such account"
 */
#ifndef SHUNT_READING_H
#define SHUNT_READING_H

#include <stdbool.h>
#include <stddef.h>

#include "reading/evidence.h"
#include "world/world.h"

/* One value, or why there is none. */
struct reading {
	bool present;
	double value;    /* finite */
	bool has_sample;
	double sample;   /* requests (or what the metric's sampleSize counts) that the value rests on */
	char *problem;   /* a sentence when not present (NULL: nobody has asked yet) */
	unsigned int attempts; /* how often a provider was asked; 0: the value is not from one */
	char *trouble;   /* why the attempt before the last had no answer; NULL: there was one attempt at most */
};

/* What an experiment asks for: every metric for every version. */
struct readings {
	char **metrics; /* references as the manifest writes them, each once: request count, reward, indicators, objectives, then sample sizes */
	size_t metric_count;
	char **versions; /* names; [0] is the baseline */
	size_t version_count;
	struct reading *cells;
	struct metric_basis *bases; /* [metric] how the evidence bears on it; FORM_NONE: not at all */
	struct evidence *evidence;  /* [version] not present until its source fills it in */
};

/* The empty table of an experiment. -ENOMEM. */
int readings_new(const struct world *world, const struct experiment *experiment, struct readings **ret_readings);

void readings_free(struct readings **readings);

/* A cell; NULL when the experiment does not ask for the metric. */
struct reading *readings_at(const struct readings *readings, const char *metric, size_t version);

/* The cell holds a value; one that is not finite makes it a problem. */
void reading_set(struct reading *reading, double value);

/* The cell becomes what another one is, which is empty then. */
void reading_take(struct reading *reading, struct reading *from);

/* Frees what it holds and makes it empty. */
void reading_clear(struct reading *reading);

/* The cell has no value because of this. */
__attribute__((format(printf, 2, 3))) void reading_fail(struct reading *reading, const char *format, ...);

/* Where the readings of a metric come from. */
enum metric_source {
	METRIC_UNKNOWN,
	METRIC_BUILTIN, /* our counters */
	METRIC_HTTP,    /* a provider */
	METRIC_MOCK,    /* made up by the Metric object */
};

struct builtin;

struct metric_origin {
	enum metric_source source;
	const struct metric *object;   /* NULL for a built-in one that no object describes */
	const struct builtin *builtin; /* METRIC_BUILTIN */
};

/*
 * What a reference means: the Metric object of that name ("ns/name", or a bare name in the experiment's namespace); when there is none, the built-in
 * metric whose name is what follows the slash. An object whose provider is "iter8" or "shunt" stands for the built-in of its name.
 */
struct metric_origin metric_resolve(const struct world *world, const char *experiment_ns, const char *reference);

/* Puts the values of the sampleSize metrics beside the values that name them, once all cells are there. */
void readings_join_samples(const struct world *world, const struct experiment *experiment, struct readings *readings);

#endif
