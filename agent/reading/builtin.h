/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The metrics that shunt has by itself: computed from the counters and histograms that the kernel keeps per version. No scrape, no change of the app.
 *
 * The counters only ever grow. An experiment remembers where they stood when it began (its base); its window is what was added since, so every
 * reading is cumulative from startTime, as Iter8's Prometheus queries are (reference/iter8.md section 2.2).
 */
#ifndef SHUNT_BUILTIN_H
#define SHUNT_BUILTIN_H

#include <stdbool.h>

#include <jansson.h>

#include "datapath/datapath.h"
#include "reading/reading.h"

/* What a version got since the experiment began. */
struct builtin_input {
	struct series_numbers window;  /* builtin_window() */
	const struct user_sums *users; /* NULL: nobody was told apart */
	bool converts;                 /* the experiment says what a conversion is */
};

/* One built-in metric. */
struct builtin {
	const char *name;        /* what follows "shunt/" */
	const char *description;
	const char *units;       /* "" when it has none */
	enum metric_type type;
	void (*compute)(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading);
	struct metric_basis basis; /* what evidence its value rests on */
	const char *also;        /* another name; NULL: none */
	double quantile;         /* of a percentile metric */
};

/* The metric of a name without "shunt/", also as Iter8's built-in family spells it ("latency-95th-percentile"); NULL: there is none. */
const struct builtin *builtin_find(const char *name);

/* The names of all of them, for messages; the caller frees it. */
char *builtin_names(void);

/*
 * What was added to the counters since the base. Returns false when they have begun anew in between (the host was restarted: they are smaller than
 * the base); the window is then everything since.
 */
bool builtin_window(const struct series_numbers *now, const struct series_numbers *base, struct series_numbers *ret_window);

/* Computes a metric over a window. Of no requests there is a count, 0, but neither rate nor latency. */
void builtin_read(const struct builtin *builtin, const struct builtin_input *input, struct reading *reading);

/* Statuses 400..499 are errors, too, in a window of counters. */
void builtin_count_refusals(struct series_numbers *window);

/* A base as the status file keeps it: only what is not zero. */
json_t *builtin_base_to_json(const struct series_numbers *numbers);
int builtin_base_from_json(const json_t *json, struct series_numbers *ret_numbers);

#endif
