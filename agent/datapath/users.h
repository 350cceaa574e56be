/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What single users got, folded into sums: all that statistics by user need, in one walk over shunt_user.
 *
 *     shunt_user {user, trial, series} ─▶ requests, errors, ...      a user is a vector of quantities
 *     user_sums  {trial, series}       ─▶ users, Σ a, Σ a·b          over users, for every pair of quantities a, b
 *
 * A ratio of two quantities (errors of requests, latency of responses) has its variance by the delta method from these sums (Deng et al. 2018).
 */
#ifndef SHUNT_DATAPATH_USERS_H
#define SHUNT_DATAPATH_USERS_H

#include <stdint.h>

#include "shunt/abi.h"

struct datapath;

/* What is known of each user; in the order of struct user_sums. */
enum user_quantity {
	USER_REQUESTS,    /* that are over */
	USER_TIMED,       /* whole responses */
	USER_ERRORS,      /* status >= 500, and aborted */
	USER_REFUSALS,    /* status 400..499 */
	USER_LATENCY,     /* sum over her timed requests, ms */
	USER_CONVERSIONS,
	USER_CONVERTED,   /* 1: at least one conversion */
	USER_QUANTITIES
};

struct user_sums {
	uint64_t users;
	double sum[USER_QUANTITIES];
	double product[USER_QUANTITIES][USER_QUANTITIES]; /* symmetric; the diagonal has the sums of squares */
	double latency_sumsq;                             /* over requests, not users: ms^2 */
};

struct user_fold;

/*
 * Walks the table once and folds every user. 1,048,576 of them take 0.2 to 0.4 s; packets go on in the meantime, and a user who comes or goes during
 * the walk is in it or not. The walk does not make anybody recent. 0, -ENOMEM, or an errno of the map (logged).
 */
int datapath_fold_users(struct datapath *datapath, struct user_fold **ret_fold);

/* The sums of a series' users in a trial, which live as long as the fold. All zero: there are none. */
const struct user_sums *user_fold_find(const struct user_fold *fold, uint32_t trial, uint32_t series);

/* NULL is fine. */
void user_fold_free(struct user_fold **fold);

/* Adds one user to the sums. Pure; for tests and simulations. */
void user_sums_add(struct user_sums *sums, const struct shunt_user *user);

/* From here on refusals are errors, too. */
void user_sums_count_refusals(struct user_sums *sums);

#endif
