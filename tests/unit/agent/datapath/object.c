/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <cap-ng.h>

#include "sandbox.h"

static uint32_t map_id(int fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	return info.id;
}

static void write_meta(const struct datapath *datapath, const struct shunt_meta *meta)
{
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(datapath->map[DATAPATH_MAP_META], &zero, meta, BPF_ANY), 0);
}

static struct shunt_meta read_meta(const struct datapath *datapath)
{
	struct shunt_meta meta;
	uint32_t zero = 0;

	assert_int_equal(bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_META], &zero, &meta), 0);
	return meta;
}

static void test_first_load(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct shunt_meta meta = read_meta(datapath);

	(void)state;
	assert_int_equal(meta.magic, SHUNT_MAGIC);
	assert_int_equal(meta.schema, SHUNT_SCHEMA);
	assert_int_equal(meta.generation, 0);
	for (int i = 0; i < DATAPATH_MAP_MAX; i++) {
		_cleanup_free_ char *path = pins_path(sandbox_pins, "", datapath_map_info[i].name);

		assert_int_equal(access(path, F_OK), 0);
	}
	for (int i = 0; i < DATAPATH_PROG_MAX; i++) {
		_cleanup_free_ char *path = pins_path(sandbox_pins, "prog/", datapath_prog_name[i]);

		assert_int_equal(access(path, F_OK), 0);
	}
}

static void test_restart_takes_over(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct shunt_flow_key key = { .cport = 1, .fport = 2 };
	struct shunt_flow flow = { .isn = 4711 }, found;
	uint32_t ids[DATAPATH_MAP_MAX];

	(void)state;
	for (int i = 0; i < DATAPATH_MAP_MAX; i++)
		ids[i] = map_id(datapath->map[i]);
	assert_int_equal(bpf_map_update_elem(datapath->map[DATAPATH_MAP_FLOW], &key, &flow, BPF_ANY), 0);
	datapath_close(&datapath);

	datapath = sandbox_open();
	for (int i = 0; i < DATAPATH_MAP_MAX; i++)
		assert_int_equal(map_id(datapath->map[i]), ids[i]);
	assert_int_equal(bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_FLOW], &key, &found), 0);
	assert_int_equal(found.isn, 4711);
}

static void test_reader(void **state)
{
	_cleanup_(datapath_close) struct datapath *agent = NULL, *reader = NULL;

	(void)state;
	assert_int_equal(datapath_open_pinned(sandbox_pins, &reader), -ENOENT);
	agent = sandbox_open();
	assert_int_equal(datapath_open_pinned(sandbox_pins, &reader), 0);
	assert_int_equal(map_id(reader->map[DATAPATH_MAP_META]), map_id(agent->map[DATAPATH_MAP_META]));
	datapath_close(&reader);
	datapath_close(&agent);
	assert_int_equal(datapath_open_pinned(sandbox_pins, &reader), 0);
}

static void test_one_agent(void **state)
{
	_cleanup_(datapath_close) struct datapath *first = sandbox_open(), *second = NULL;

	(void)state;
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &second), -EBUSY);
	assert_null(second);
	assert_int_equal(datapath_unload(sandbox_pins), -EBUSY);
	datapath_close(&first);
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &second), 0);
}

static void test_other_meta(void **state)
{
	static const struct shunt_meta others[] = {
		{ .magic = SHUNT_MAGIC, .schema = SHUNT_SCHEMA + 1 },
		{ .magic = SHUNT_MAGIC, .schema = SHUNT_SCHEMA - 1 },
		{ .magic = SHUNT_MAGIC ^ 1, .schema = SHUNT_SCHEMA },
		{ .magic = 0, .generation = 1 },
	};
	_cleanup_(datapath_close) struct datapath *left = sandbox_open(), *opened = NULL;
	struct shunt_meta ours = read_meta(left), now;

	(void)state;
	close(left->lock);
	left->lock = -1;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		write_meta(left, &others[i]);
		assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &opened), -EPROTO);
		assert_int_equal(datapath_open_pinned(sandbox_pins, &opened), -EPROTO);
		now = read_meta(left);
		assert_memory_equal(&now, &others[i], sizeof(now));
	}
	write_meta(left, &ours);
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &opened), 0);
}

static void test_other_layout(void **state)
{
	_cleanup_(datapath_close) struct datapath *opened = NULL;
	_cleanup_free_ char *path = pins_path(sandbox_pins, "", "shunt_pod");
	_cleanup_close_ int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "shunt_pod", 4, sizeof(struct shunt_pod) + 4, 2 * SHUNT_PODS, NULL);
	struct datapath *first = sandbox_open();

	(void)state;
	assert_true(fd >= 0);
	datapath_close(&first);
	assert_int_equal(pins_replace(fd, path), 0);
	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &opened), -EPROTO);
	assert_int_equal(datapath_open_pinned(sandbox_pins, &opened), -EPROTO);
}

static void test_wrong_place(void **state)
{
	_cleanup_(datapath_close) struct datapath *opened = NULL;

	(void)state;
	assert_int_equal(datapath_open("relative", &(struct datapath_wishes){ .users = SANDBOX_USERS }, &opened), -EINVAL);
	assert_int_equal(datapath_open(sandbox_root, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &opened), -EINVAL); /* no BPF file system */
	assert_null(opened);
}

static void test_unload(void **state)
{
	struct datapath *datapath = sandbox_open();

	(void)state;
	datapath_close(&datapath);
	assert_int_equal(datapath_unload(sandbox_pins), 0);
	assert_int_equal(access(sandbox_pins, F_OK), -1);
	assert_int_equal(datapath_unload(sandbox_pins), -ENOENT);
}

/* ---- capabilities and kernels, in a child ---- */

static unsigned int keep_only[3];

static int open_with_capabilities(void)
{
	struct datapath *datapath;

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(keep_only); i++)
		if (keep_only[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, keep_only[i]);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return 255;
	return -datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &datapath);
}

static void test_capabilities(void **state)
{
	static const struct {
		unsigned int keep[3];
		int error;
		const char *named, *unnamed;
	} cases[] = {
		{ { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON }, 0, "", "CAP_" },
		{ { CAP_NET_ADMIN, CAP_PERFMON }, EPERM, "CAP_BPF", "CAP_NET_ADMIN" },
		{ { CAP_BPF, CAP_PERFMON }, EPERM, "CAP_NET_ADMIN", "CAP_BPF" },
		{ { CAP_BPF, CAP_NET_ADMIN }, EPERM, "CAP_PERFMON", "CAP_BPF" },
		{ { CAP_CHOWN }, EPERM, "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON", "CAP_SYS_ADMIN" },
	};
	char text[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memcpy(keep_only, cases[i].keep, sizeof(keep_only));
		assert_int_equal(sandbox_child(open_with_capabilities, text, sizeof(text)), cases[i].error);
		assert_non_null(strstr(text, cases[i].named));
		assert_null(strstr(text, cases[i].unnamed));
		assert_true(access(sandbox_pins, F_OK) == (cases[i].error ? -1 : 0));
		sandbox_unload(NULL);
	}
}

static int open_without_btf(void)
{
	struct datapath *datapath;

	if (unshare(CLONE_NEWNS) || mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL) || !access("/sys/kernel/btf/vmlinux", F_OK))
		return 255;
	return -datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &datapath);
}

static void test_no_btf(void **state)
{
	char text[4096];

	(void)state;
	if (sandbox_child(open_without_btf, text, sizeof(text)))
		fail_msg("%s", text);
}

#define TEST(f, name) { name, f, NULL, sandbox_unload, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_first_load, "the first load pins every map and program and says who made them"),
		TEST(test_restart_takes_over, "a restart takes over every map with all it holds"),
		TEST(test_reader, "a reader opens the pins with and without an agent, and gets ENOENT where nothing is"),
		TEST(test_one_agent, "a second agent and an unload are refused while an agent has the pins"),
		TEST(test_other_meta, "maps of another schema or maker are refused and left as they are"),
		TEST(test_other_layout, "a map of another layout is refused"),
		TEST(test_wrong_place, "a pin directory outside a BPF file system is refused"),
		TEST(test_unload, "unload leaves nothing"),
		TEST(test_capabilities, "the three capabilities are enough, and the ones that are missing are named"),
		TEST(test_no_btf, "a kernel that shows no BTF loads the programs"),
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
