/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/users.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>

#include "datapath/internal.h"
#include "util/cleanup.h"
#include "util/log.h"

#define BATCH 16384 /* entries in one call */

/* The users of one series in one trial. */
struct cell {
	struct cell *next;
	uint32_t trial;
	struct user_sums sums;
};

struct user_fold {
	struct cell *series[SHUNT_SERIES]; /* the trial of the last user first: a series rarely has two that are live */
};

void user_sums_add(struct user_sums *sums, const struct shunt_user *user)
{
	const double value[USER_QUANTITIES] = {
		[USER_REQUESTS] = user->requests,
		[USER_TIMED] = user->timed,
		[USER_ERRORS] = user->errors,
		[USER_REFUSALS] = user->refusals,
		[USER_LATENCY] = (double)user->latency_us / 1e3,
		[USER_CONVERSIONS] = user->conversions,
		[USER_CONVERTED] = user->conversions > 0,
	};

	sums->users++;
	sums->latency_sumsq += (double)user->latency_us2 / 1e6;
	for (int a = 0; a < USER_QUANTITIES; a++) {
		sums->sum[a] += value[a];
		for (int b = 0; b < USER_QUANTITIES; b++)
			sums->product[a][b] += value[a] * value[b];
	}
}

/* Of f = e + r every sum is that of e and that of r: f·a = e·a + r·a, f·f = e·e + 2 e·r + r·r. */
void user_sums_count_refusals(struct user_sums *sums)
{
	double square = sums->product[USER_ERRORS][USER_ERRORS] + 2 * sums->product[USER_ERRORS][USER_REFUSALS] +
			sums->product[USER_REFUSALS][USER_REFUSALS];

	sums->sum[USER_ERRORS] += sums->sum[USER_REFUSALS];
	for (int a = 0; a < USER_QUANTITIES; a++) {
		sums->product[USER_ERRORS][a] += sums->product[USER_REFUSALS][a];
		sums->product[a][USER_ERRORS] = sums->product[USER_ERRORS][a];
	}
	sums->product[USER_ERRORS][USER_ERRORS] = square;
}

static struct cell *cell_of(struct user_fold *fold, const struct shunt_user_key *key)
{
	struct cell **first = &fold->series[key->series], *cell;

	for (struct cell **at = first; *at; at = &(*at)->next) {
		if ((*at)->trial != key->trial)
			continue;
		cell = *at;
		*at = cell->next;
		cell->next = *first;
		return *first = cell;
	}
	cell = calloc(1, sizeof(*cell));
	if (!cell)
		return NULL;
	cell->trial = key->trial;
	cell->next = *first;
	return *first = cell;
}

static int fold_batch(struct user_fold *fold, const struct shunt_user_key *keys, const struct shunt_user *users, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct cell *cell;

		if (keys[i].series >= SHUNT_SERIES || !users[i].requests) /* of this moment: nothing is in it yet */
			continue;
		cell = cell_of(fold, &keys[i]);
		if (!cell)
			return -ENOMEM;
		user_sums_add(&cell->sums, &users[i]);
	}
	return 0;
}

/* A batch is whole buckets of the hash, each read under its lock: nobody comes twice. */
static int walk(struct datapath *datapath, struct user_fold *fold)
{
	_cleanup_free_ struct shunt_user_key *keys = calloc(BATCH, sizeof(*keys));
	_cleanup_free_ struct shunt_user *users = calloc(BATCH, sizeof(*users));
	uint32_t at, *from = NULL;
	int r = 0;

	if (!keys || !users)
		return -ENOMEM;
	while (!r) {
		uint32_t count = BATCH;
		int error = bpf_map_lookup_batch(datapath->map[DATAPATH_MAP_USER], from, &at, keys, users, &count, NULL) ? errno : 0;

		if (error && error != ENOENT)
			return log_err(-error, "cannot read shunt_user");
		r = fold_batch(fold, keys, users, count);
		if (error) /* that was the last */
			break;
		from = &at;
	}
	return r;
}

int datapath_fold_users(struct datapath *datapath, struct user_fold **ret_fold)
{
	_cleanup_(user_fold_free) struct user_fold *fold = calloc(1, sizeof(*fold));
	int r = fold ? walk(datapath, fold) : -ENOMEM;

	if (!r)
		*ret_fold = TAKE_PTR(fold);
	return r;
}

const struct user_sums *user_fold_find(const struct user_fold *fold, uint32_t trial, uint32_t series)
{
	static const struct user_sums none;

	for (const struct cell *cell = series < SHUNT_SERIES ? fold->series[series] : NULL; cell; cell = cell->next)
		if (cell->trial == trial)
			return &cell->sums;
	return &none;
}

void user_fold_free(struct user_fold **fold)
{
	struct user_fold *f = TAKE_PTR(*fold);
	struct cell *next;

	for (int i = 0; f && i < SHUNT_SERIES; i++) {
		for (struct cell *cell = f->series[i]; cell; cell = next) {
			next = cell->next;
			free(cell);
		}
	}
	free(f);
}
