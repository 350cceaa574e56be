/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a metrics/collect task measured, in the form that Iter8 keeps in status.analysis.aggregatedBuiltinHists (fortio's): version -> DurationHistogram
 * {Count, Max, Sum, Data [{Start, End, Count}]} in seconds, and RetCodes {"200": n, "-1": no answer}. The ranges are those of histogram.h, so that the
 * built-in metrics are computed from it by the code that computes them from the kernel's counters.
 */
#ifndef SHUNT_COLLECTED_H
#define SHUNT_COLLECTED_H

#include <jansson.h>

#include "datapath/datapath.h"

/* One request: its status (0: no answer), and how long it took. */
void collected_count(struct series_numbers *numbers, json_t *codes, long status, uint64_t ns);

/* Adds what a version was measured with to what is there already. NULL old: nothing is. A new reference, NULL when there is no memory. */
json_t *collected_add(const json_t *old, const char *version, const struct series_numbers *numbers, const json_t *codes);

/* Back to counters: errors are statuses of 400 and above and requests without an answer, as in Iter8. false: the version has none. */
bool collected_numbers(const json_t *collected, const char *version, struct series_numbers *ret_numbers);

#endif
