/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>

#include "sandbox.h"

#define MANY 100000 /* several batches */

static void put(struct datapath *datapath, struct shunt_user_key key, struct shunt_user user)
{
	assert_int_equal(bpf_map_update_elem(datapath->map[DATAPATH_MAP_USER], &key, &user, BPF_NOEXIST), 0);
}

static uint32_t table_size(struct datapath *datapath)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(datapath->map[DATAPATH_MAP_USER], &info, &size), 0);
	return info.max_entries;
}

static void test_one_user(void **state)
{
	static const struct shunt_user user = { .latency_us = 12500, .latency_us2 = 90000000, .requests = 3, .timed = 2, .errors = 1, .refusals = 1,
						.conversions = 2 };
	static const double value[USER_QUANTITIES] = { 3, 2, 1, 1, 12.5, 2, 1 };
	struct user_sums sums = {};

	(void)state;
	user_sums_add(&sums, &user);
	user_sums_add(&sums, &user);
	assert_int_equal(sums.users, 2);
	assert_true(sums.latency_sumsq == 180);
	for (int a = 0; a < USER_QUANTITIES; a++) {
		assert_true(sums.sum[a] == 2 * value[a]);
		for (int b = 0; b < USER_QUANTITIES; b++)
			assert_true(sums.product[a][b] == 2 * value[a] * value[b]);
	}
}

/* Each series and trial gets its own users, all of them. */
static void test_many_users(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = NULL;
	_cleanup_(user_fold_free) struct user_fold *fold = NULL;

	(void)state;
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = 2 * MANY }, &datapath), 0);
	for (uint32_t i = 0; i < MANY; i++)
		put(datapath, (struct shunt_user_key){ .user = i, .trial = 1 + i % 2, .series = i % 3 }, (struct shunt_user){ .requests = 1 + i });
	assert_int_equal(datapath_fold_users(datapath, &fold), 0);
	for (uint32_t trial = 1; trial <= 2; trial++) {
		for (uint32_t series = 0; series < 4; series++) {
			const struct user_sums *sums = user_fold_find(fold, trial, series);
			uint64_t users = 0, requests = 0;

			for (uint32_t i = 0; i < MANY; i++) {
				if (1 + i % 2 != trial || i % 3 != series)
					continue;
				users++;
				requests += 1 + i;
			}
			assert_int_equal(sums->users, users);
			assert_true(sums->sum[USER_REQUESTS] == (double)requests);
		}
	}
	assert_int_equal(user_fold_find(fold, 3, 0)->users, 0);
	assert_int_equal(user_fold_find(fold, 1, SHUNT_SERIES)->users, 0);
}

static void test_nobody(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_(user_fold_free) struct user_fold *fold = NULL;

	(void)state;
	assert_int_equal(datapath_fold_users(datapath, &fold), 0);
	assert_int_equal(user_fold_find(fold, 1, 0)->users, 0);
}

/* Whoever pins the table chooses its size; a later agent takes it over with everybody in it. */
static void test_size(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = NULL;
	_cleanup_(user_fold_free) struct user_fold *fold = NULL;

	(void)state;
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = 5000 }, &datapath), 0);
	assert_int_equal(table_size(datapath), 5000);
	put(datapath, (struct shunt_user_key){ .user = 1, .trial = 1 }, (struct shunt_user){ .requests = 1 });
	datapath_close(&datapath);
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = 0 }, &datapath), 0);
	assert_int_equal(table_size(datapath), 5000);
	datapath_close(&datapath);
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = 7000 }, &datapath), 0);
	assert_int_equal(table_size(datapath), 5000);
	assert_int_equal(datapath_fold_users(datapath, &fold), 0);
	assert_int_equal(user_fold_find(fold, 1, 0)->users, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_user),
		cmocka_unit_test_teardown(test_many_users, sandbox_unload),
		cmocka_unit_test_teardown(test_nobody, sandbox_unload),
		cmocka_unit_test_teardown(test_size, sandbox_unload),
	};

	return cmocka_run_group_tests_name("users", tests, sandbox_begin, sandbox_end);
}
