/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Evidence: the sufficient statistics of one version since the experiment began. A reading says what a value is; the evidence says how far to
 * trust it.
 *
 * The unit is the user, because users are what the split tells apart: requests of one user resemble each other, so a thousand of them say less than
 * a thousand users do. Everything is a sum over units, so it is added up in one pass and never grows:
 *
 *     of each user:  requests n, errors e, responses r, latency l (ms, summed), conversions c
 *     kept:          users, sum of each of the five, sum of the product of each two (their squares among them)
 *
 *     error-rate       sum e / sum n        a ratio of two sums: its variance is the delta method's (experiment/stats.h)
 *     mean-latency     sum l / sum r        the same
 *     conversion-rate  sum c / users        a mean
 *     percentiles      from the histogram of all responses
 *
 * Where nothing is kept of users, every request counts as a unit of its own, and whoever shows the evidence says so (evidence_unit_name()).
 */
#ifndef SHUNT_EVIDENCE_H
#define SHUNT_EVIDENCE_H

#include <stdbool.h>

#include "datapath/datapath.h"
#include "world/world.h"

/* What is summed of each unit. */
enum quantity {
	QUANTITY_UNITS, /* 1 of each: its sum is how many units there are */
	QUANTITY_REQUESTS,
	QUANTITY_ERRORS,
	QUANTITY_RESPONSES,  /* whole ones, those that have a latency */
	QUANTITY_LATENCY_MS, /* their sum */
	QUANTITY_CONVERSIONS,
	QUANTITY_MAX
};

struct evidence {
	bool present;            /* false: nothing is known of this version, and nothing below means anything */
	enum sample_unit unit;
	double lost;             /* users of whom the kernel had no room to keep sums: they are missing in what follows */
	double share;            /* of the users, 0..1, that the split sends here; 0: not by a split alone (rules, changed weights) */
	double sum[QUANTITY_MAX];
	double product[QUANTITY_MAX][QUANTITY_MAX]; /* symmetric */
	double latency[SHUNT_HIST_SLOTS];           /* responses by bucket (shunt/histogram.h) */
};

/* Adds one unit. values[QUANTITY_UNITS] is 1. The histogram is filled apart. */
void evidence_add(struct evidence *evidence, const double values[QUANTITY_MAX]);

/* The evidence that the counters of a version give, which know no users: unit request. Conversions are not among them. */
void evidence_from_counters(const struct series_numbers *window, struct evidence *ret_evidence);

/* The evidence of users: unit user, and conversions are users that converted. lost: users that the table had to forget; window: for the histogram. */
void evidence_from_users(const struct user_sums *sums, double lost, const struct series_numbers *window, struct evidence *ret_evidence);

/* The histogram of a window; for evidence that was added up by user. */
void evidence_set_latency(const struct series_numbers *window, struct evidence *evidence);

/* How a metric is made of evidence. */
enum metric_form {
	FORM_NONE,     /* it is not: a number from a provider, which comes without its spread */
	FORM_COUNT,    /* it is not, and needs none: a count is what it is */
	FORM_FRACTION, /* sum over / sum under, where over is a part of under: 0..1 */
	FORM_RATIO,    /* sum over / sum under */
	FORM_QUANTILE, /* of the latency histogram */
};

struct metric_basis {
	enum metric_form form;
	enum quantity over, under;
	double quantile;
};

/* "user", "request" */
const char *evidence_unit_name(enum sample_unit unit);

#endif
