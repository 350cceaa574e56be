/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "sandbox.h"

/* Writes an entry of a per-CPU map: every word of CPU c is `word` with c added. Returns what the words add up to. */
static __u64 fill(struct datapath *datapath, enum datapath_map map, uint32_t key, __u64 word)
{
	size_t words = datapath_map_info[map].value_size / sizeof(__u64);
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ __u64 *values = calloc(cpus, words * sizeof(*values));
	__u64 sum = 0;

	for (int cpu = 0; cpu < cpus; cpu++) {
		sum += word + cpu;
		for (size_t i = 0; i < words; i++)
			values[cpu * words + i] = word + cpu;
	}
	assert_int_equal(bpf_map_update_elem(datapath->map[map], &key, values, BPF_ANY), 0);
	return sum;
}

static void assert_words(const void *value, size_t size, __u64 word)
{
	const __u64 *words = value;

	for (size_t i = 0; i < size / sizeof(*words); i++)
		assert_int_equal(words[i], word);
}

static void test_numbers(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct series_numbers numbers;
	__u64 count, total, ttfb;

	(void)state;
	assert_int_equal(datapath_read_numbers(datapath, SHUNT_SERIES - 1, &numbers), 0);
	assert_words(&numbers, sizeof(numbers), 0);
	count = fill(datapath, DATAPATH_MAP_COUNT, SHUNT_SERIES - 1, 1ull << 40);
	total = fill(datapath, DATAPATH_MAP_HIST, (SHUNT_SERIES - 1) * SHUNT_LATENCIES + SHUNT_LATENCY_TOTAL, 5);
	ttfb = fill(datapath, DATAPATH_MAP_HIST, (SHUNT_SERIES - 1) * SHUNT_LATENCIES + SHUNT_LATENCY_TTFB, 70);
	assert_int_equal(datapath_read_numbers(datapath, SHUNT_SERIES - 1, &numbers), 0);
	assert_words(&numbers.count, sizeof(numbers.count), count);
	assert_words(&numbers.latency[SHUNT_LATENCY_TOTAL], sizeof(struct shunt_hist), total);
	assert_words(&numbers.latency[SHUNT_LATENCY_TTFB], sizeof(struct shunt_hist), ttfb);
	assert_int_equal(datapath_read_numbers(datapath, SHUNT_SERIES - 2, &numbers), 0);
	assert_words(&numbers, sizeof(numbers), 0);
}

static void test_range(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct series_numbers numbers;

	(void)state;
	assert_int_equal(datapath_read_numbers(datapath, -1, &numbers), -EINVAL);
	assert_int_equal(datapath_read_numbers(datapath, SHUNT_SERIES, &numbers), -EINVAL);
}

static void test_reasons(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	uint64_t reasons[SHUNT_R_MAX], want[SHUNT_R_MAX];

	(void)state;
	for (int i = 0; i < SHUNT_R_MAX; i++)
		want[i] = fill(datapath, DATAPATH_MAP_REASON, i, 1000 * i);
	assert_int_equal(datapath_read_reasons(datapath, reasons), 0);
	assert_memory_equal(reasons, want, sizeof(want));
}

static void test_restart(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct series_numbers numbers;
	__u64 count = fill(datapath, DATAPATH_MAP_COUNT, 3, 9);

	(void)state;
	datapath_close(&datapath);
	datapath = sandbox_open();
	assert_int_equal(datapath_read_numbers(datapath, 3, &numbers), 0);
	assert_int_equal(numbers.count.requests, count);
}

#define TEST(f, name) { name, f, NULL, sandbox_unload, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_numbers, "every field of a series is added up over the CPUs, and no other series"),
		TEST(test_range, "a series that cannot be is refused"),
		TEST(test_reasons, "every reason is added up over the CPUs"),
		TEST(test_restart, "counters survive a restart"),
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
