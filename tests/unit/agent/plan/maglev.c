/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/maglev.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "shunt/abi.h"
#include "util/cleanup.h"

#define PODS 10

static char storage[100][24];
static const char *names[100];

static int make_names(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++) {
		snprintf(storage[i], sizeof(storage[i]), "10.1.%d.%d:8080", i / 10, i % 10);
		names[i] = storage[i];
	}
	return 0;
}

static void every_pod_has_its_share_within_one_slot(void **state)
{
	static const size_t counts[] = { 1, 2, 3, 10, 41, 100 };
	uint16_t ring[SHUNT_RING_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		size_t slots[100] = {};

		assert_int_equal(maglev_fill(names, counts[i], ring, SHUNT_RING_SIZE), 0);
		for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++) {
			assert_true(ring[slot] < counts[i]);
			slots[ring[slot]]++;
		}
		for (size_t pod = 0; pod < counts[i]; pod++)
			assert_true(slots[pod] == SHUNT_RING_SIZE / counts[i] || slots[pod] == SHUNT_RING_SIZE / counts[i] + 1);
	}
}

static void the_order_of_the_pods_does_not_matter(void **state)
{
	uint16_t ring[SHUNT_RING_SIZE], other[SHUNT_RING_SIZE];
	const char *reversed[PODS];

	(void)state;
	for (size_t i = 0; i < PODS; i++)
		reversed[i] = names[PODS - 1 - i];
	assert_int_equal(maglev_fill(names, PODS, ring, SHUNT_RING_SIZE), 0);
	assert_int_equal(maglev_fill(reversed, PODS, other, SHUNT_RING_SIZE), 0);
	for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
		assert_string_equal(names[ring[slot]], reversed[other[slot]]);
}

/* Section 5.3 of the paper: Maglev trades a little disruption for equal shares. Every one of ten pods goes once. */
static void a_pod_that_goes_moves_few_slots_of_the_others(void **state)
{
	uint16_t ring[SHUNT_RING_SIZE], other[SHUNT_RING_SIZE];

	(void)state;
	assert_int_equal(maglev_fill(names, PODS, ring, SHUNT_RING_SIZE), 0);
	for (size_t gone = 0; gone < PODS; gone++) {
		const char *left[PODS - 1];
		size_t kept = 0, moved = 0;

		for (size_t i = 0; i < PODS; i++)
			if (i != gone)
				left[kept++] = names[i];
		assert_int_equal(maglev_fill(left, kept, other, SHUNT_RING_SIZE), 0);
		for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
			moved += ring[slot] != gone && strcmp(names[ring[slot]], left[other[slot]]) != 0;
		assert_true(moved < (SHUNT_RING_SIZE - SHUNT_RING_SIZE / PODS) * 15 / 100);
	}
}

static void bad_input_is_refused_and_leaves_the_ring_alone(void **state)
{
	static char longest[SHUNT_ID_MAX + 2];
	const char *twins[] = { "a", "b", "a" }, *too_long[] = { longest };
	uint16_t ring[7] = { 42 };

	(void)state;
	memset(longest, 'x', SHUNT_ID_MAX + 1);
	assert_int_equal(maglev_fill(names, 0, ring, 7), -EINVAL);
	assert_int_equal(maglev_fill(names, 8, ring, 7), -EINVAL);
	assert_int_equal(maglev_fill(twins, 3, ring, 7), -EINVAL);
	assert_int_equal(maglev_fill(too_long, 1, ring, 7), -EINVAL);
	assert_int_equal(ring[0], 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pod_has_its_share_within_one_slot),
		cmocka_unit_test(the_order_of_the_pods_does_not_matter),
		cmocka_unit_test(a_pod_that_goes_moves_few_slots_of_the_others),
		cmocka_unit_test(bad_input_is_refused_and_leaves_the_ring_alone),
	};

	return cmocka_run_group_tests_name("agent/plan/maglev", tests, make_names, NULL);
}
