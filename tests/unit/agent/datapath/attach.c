/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <cap-ng.h>
#include <net/if.h>

#include "datapath/bpfsys.h"
#include "sandbox.h"

/* Each test has a veth pair of its own. */
static int make_veth(void **state)
{
	(void)state;
	return system("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
}

static int remove_veth(void **state)
{
	int r = sandbox_unload(state);

	if (if_nametoindex("v0"))
		r |= system("ip link del v0");
	return r;
}

/* Our attachment of that interface; the test fails when there is none or more than `count` in all. */
static struct attachment only_attachment(struct datapath *datapath, const char *ifname)
{
	_cleanup_free_ struct attachment *all = NULL;
	size_t count;

	assert_int_equal(datapath_read_attachments(datapath, &all, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(all[0].ifname, ifname);
	return all[0];
}

/* Ids of the programs on a tcx hook, first to run first. */
static uint32_t hook_programs(const char *ifname, enum tcx_hook hook, uint32_t ret_ids[8])
{
	uint32_t count = 8, flags;

	assert_int_equal(bpf_prog_query(if_nametoindex(ifname), (enum bpf_attach_type)hook, 0, &flags, ret_ids, &count), 0);
	return count;
}

static uint32_t program_id(int fd)
{
	struct bpfsys_info info;

	assert_int_equal(bpfsys_info(fd, &info), 0);
	return info.prog_id;
}

/* Exactly our two programs, of this load, are on the interface. */
static void assert_hooked(struct datapath *datapath, const char *ifname)
{
	uint32_t ids[8];

	assert_int_equal(hook_programs(ifname, TCX_INGRESS, ids), 1);
	assert_int_equal(ids[0], program_id(datapath->prog[DATAPATH_PROG_FROM_CLIENT]));
	assert_int_equal(hook_programs(ifname, TCX_EGRESS, ids), 1);
	assert_int_equal(ids[0], program_id(datapath->prog[DATAPATH_PROG_TO_CLIENT]));
}

static void assert_unhooked(const char *ifname)
{
	uint32_t ids[8];

	assert_int_equal(hook_programs(ifname, TCX_INGRESS, ids), 0);
	assert_int_equal(hook_programs(ifname, TCX_EGRESS, ids), 0);
}

static uint32_t link_id(const char *name)
{
	_cleanup_free_ char *path = pins_path(sandbox_pins, "link/", name);
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_link_info info = {};
	uint32_t size = sizeof(info);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	return info.id;
}

/* Filters of ours that tc sees on both hooks of an interface. */
static void assert_filters(const char *ifname, bool present)
{
	sandbox_run("for hook in ingress egress; do tc filter show dev %s $hook | grep -q 'handle 0x73687574' %s || exit 1; done", ifname,
		    present ? "" : "&& exit 1; true");
}

static void test_tcx(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct attachment attachment;

	(void)state;
	assert_false(datapath_attach_needs_net_admin(datapath));
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	attachment = only_attachment(datapath, "v0");
	assert_true(attachment.tcx);
	assert_int_equal(attachment.ifindex, if_nametoindex("v0"));
	assert_hooked(datapath, "v0");
	assert_unhooked("v1");
}

static void test_again(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	uint32_t from, to;

	(void)state;
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	from = link_id("v0-from");
	to = link_id("v0-to");
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_int_equal(link_id("v0-from"), from);
	assert_int_equal(link_id("v0-to"), to);
	assert_hooked(datapath, "v0");
}

static void test_restart(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	uint32_t from, old_program, ids[8];

	(void)state;
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	from = link_id("v0-from");
	old_program = program_id(datapath->prog[DATAPATH_PROG_FROM_CLIENT]);
	datapath_close(&datapath);
	assert_int_equal(hook_programs("v0", TCX_INGRESS, ids), 1); /* nobody holds it but the pin */
	assert_int_equal(ids[0], old_program);

	datapath = sandbox_open();
	assert_int_equal(link_id("v0-from"), from);
	assert_int_not_equal(program_id(datapath->prog[DATAPATH_PROG_FROM_CLIENT]), old_program);
	assert_hooked(datapath, "v0");
}

static void test_before_others(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_close_ int other = -1;
	uint32_t ids[8];

	(void)state;
	other = tcx_link_create(datapath->prog[DATAPATH_PROG_EXPLAIN], if_nametoindex("v0"), TCX_EGRESS); /* any program that is not ours there */
	assert_true(other >= 0);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_int_equal(hook_programs("v0", TCX_EGRESS, ids), 2);
	assert_int_equal(ids[0], program_id(datapath->prog[DATAPATH_PROG_TO_CLIENT]));
	assert_int_equal(ids[1], program_id(datapath->prog[DATAPATH_PROG_EXPLAIN]));
}

static void test_new_interface_of_the_name(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_free_ struct attachment *all = NULL;
	size_t count;

	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	sandbox_run("ip link del v0");
	assert_int_equal(datapath_read_attachments(datapath, &all, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(all[0].ifname, "v0");
	assert_int_equal(all[0].ifindex, 0); /* gone */

	make_veth(state);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_int_equal(only_attachment(datapath, "v0").ifindex, if_nametoindex("v0"));
	assert_hooked(datapath, "v0");

	sandbox_run("ip link del v0");
	datapath_close(&datapath);
	datapath = sandbox_open(); /* a restart forgets what is gone */
	free(TAKE_PTR(all));
	assert_int_equal(datapath_read_attachments(datapath, &all, &count), 0);
	assert_int_equal(count, 0);
}

static void test_renamed(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_free_ struct attachment *all = NULL;
	size_t count;

	(void)state;
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	sandbox_run("ip link set v0 down && ip link set v0 name v0.5");
	assert_int_equal(datapath_attach(datapath, "v0.5", false), 0);
	only_attachment(datapath, "v0.5");
	assert_hooked(datapath, "v0.5");
	assert_true(link_id("v0%2e5-to"));

	/* Another takes the old name before we hear of the new one. */
	sandbox_run("ip link set v0.5 name v9 && ip link set v1 down && ip link set v1 name v0.5");
	assert_int_equal(datapath_attach(datapath, "v0.5", false), 0);
	assert_hooked(datapath, "v9");
	assert_hooked(datapath, "v0.5");
	assert_int_equal(datapath_read_attachments(datapath, &all, &count), 0);
	assert_int_equal(count, 2);
	sandbox_run("ip link del v9");
}

static size_t count_pins(void)
{
	char **names;
	size_t count;

	assert_int_equal(pins_list(sandbox_pins, "link", &names, &count), 0);
	pins_free_list(&names, count);
	return count;
}

static void test_forget(void **state)
{
	static const enum attach_mode modes[] = { ATTACH_TCX, ATTACH_CLSACT };
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		datapath_set_attach_mode(datapath, modes[i]);
		assert_int_equal(datapath_attach(datapath, "v1", false), 0);
		assert_int_equal(datapath_forget(datapath, "v1"), 0);
		assert_int_equal(count_pins(), 2); /* it is there */
		sandbox_run("ip link del v1");
		assert_int_equal(datapath_forget(datapath, "v1"), 0);
		assert_int_equal(count_pins(), 0);
		make_veth(NULL);
	}
}

static void test_moved(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	sandbox_run("ip link add m0 type veth peer name m1");
	assert_int_equal(datapath_attach(datapath, "m0", false), 0);
	sandbox_run("unshare -n sleep 60 & echo $! >%s/pid; until [ \"$(readlink /proc/$!/ns/net)\" != \"$(readlink /proc/$$/ns/net)\" ]; do :; done; ip link set m0 netns $!",
		    sandbox_root);
	assert_int_equal(datapath_forget(datapath, "m0"), 0);
	assert_int_equal(count_pins(), 0);
	sandbox_run("kill $(cat %s/pid) && rm %s/pid", sandbox_root, sandbox_root);
}

static void test_refused(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	assert_int_equal(datapath_attach(datapath, "absent", false), -ENODEV);
	assert_int_equal(datapath_attach(datapath, "lo", false), -EOPNOTSUPP);
}

static void test_clsact(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	datapath_set_attach_mode(datapath, ATTACH_CLSACT);
	assert_true(datapath_attach_needs_net_admin(datapath));
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_false(only_attachment(datapath, "v0").tcx);
	assert_filters("v0", true);
	assert_unhooked("v0");

	datapath_close(&datapath);
	datapath = sandbox_open();
	sandbox_run("tc filter show dev v0 ingress | grep -q 'id %u '", program_id(datapath->prog[DATAPATH_PROG_FROM_CLIENT]));
	datapath_close(&datapath);

	assert_int_equal(datapath_unload(sandbox_pins), 0);
	assert_filters("v0", false);
	sandbox_run("! tc qdisc show dev v0 | grep clsact");
}

static void test_foreign_filter_stays(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	sandbox_run("tc qdisc add dev v0 clsact");
	sandbox_run("tc filter add dev v0 egress prio 7 bpf object-pinned %s/prog/shunt_explain direct-action", sandbox_pins);
	datapath_set_attach_mode(datapath, ATTACH_CLSACT);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	datapath_close(&datapath);
	assert_int_equal(datapath_unload(sandbox_pins), 0);
	assert_filters("v0", false);
	sandbox_run("tc filter show dev v0 egress | grep -q 'pref 7 '");
}

static void test_change_of_mode(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();

	(void)state;
	datapath_set_attach_mode(datapath, ATTACH_CLSACT);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	datapath_set_attach_mode(datapath, ATTACH_TCX);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_true(only_attachment(datapath, "v0").tcx);
	assert_hooked(datapath, "v0");
	assert_filters("v0", false);

	datapath_set_attach_mode(datapath, ATTACH_CLSACT);
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	assert_false(only_attachment(datapath, "v0").tcx);
	assert_unhooked("v0");
	assert_filters("v0", true);
}

static void test_unload(void **state)
{
	struct datapath *datapath = sandbox_open();

	(void)state;
	assert_int_equal(datapath_attach(datapath, "v0", false), 0);
	datapath_close(&datapath);
	assert_int_equal(datapath_unload(sandbox_pins), 0);
	assert_unhooked("v0");
}

static enum attach_mode child_mode;

static int attach_without_capabilities(void)
{
	struct datapath *datapath;

	if (datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &datapath))
		return 254;
	datapath_set_attach_mode(datapath, child_mode);
	capng_clear(CAPNG_SELECT_BOTH);
	if (capng_apply(CAPNG_SELECT_CAPS))
		return 255;
	return -datapath_attach(datapath, "v0", false);
}

static void test_capabilities(void **state)
{
	char text[4096];

	(void)state;
	child_mode = ATTACH_AUTO;
	assert_int_equal(sandbox_child(attach_without_capabilities, text, sizeof(text)), 0);
	sandbox_unload(NULL);
	child_mode = ATTACH_CLSACT;
	assert_int_equal(sandbox_child(attach_without_capabilities, text, sizeof(text)), EPERM);
	assert_non_null(strstr(text, "CAP_NET_ADMIN"));
}

static void test_modes(void **state)
{
	enum attach_mode mode = ATTACH_MODE_MAX;

	(void)state;
	assert_int_equal(attach_mode_parse("clsact", &mode), 0);
	assert_int_equal(mode, ATTACH_CLSACT);
	assert_int_equal(attach_mode_parse("auto", &mode), 0);
	assert_int_equal(mode, ATTACH_AUTO);
	assert_int_equal(attach_mode_parse("tcx", &mode), 0);
	assert_int_equal(mode, ATTACH_TCX);
	assert_int_equal(attach_mode_parse("xdp", &mode), -EINVAL);
	assert_int_equal(mode, ATTACH_TCX);
}

#define TEST(f, name) { name, f, make_veth, remove_veth, NULL }

/* Answers of pods are met at ingress, beside the packets of clients; attaching again without that takes it away. */
static void test_returns(void **state)
{
	static const enum attach_mode modes[] = { ATTACH_TCX, ATTACH_CLSACT };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
		struct attachment there;

		sandbox_run("ip link add r0 type veth peer name r1");
		datapath_set_attach_mode(datapath, modes[i]);
		assert_int_equal(datapath_attach(datapath, "r0", true), 0);
		there = only_attachment(datapath, "r0");
		assert_true(there.returns);
		if (modes[i] == ATTACH_TCX) {
			uint32_t ids[8];

			assert_int_equal(hook_programs("r0", TCX_INGRESS, ids), 2);
		} else {
			sandbox_run("tc filter show dev r0 ingress | grep -q shunt_from_pod");
		}
		assert_int_equal(datapath_attach(datapath, "r0", false), 0);
		there = only_attachment(datapath, "r0");
		assert_false(there.returns);
		if (modes[i] == ATTACH_TCX)
			assert_hooked(datapath, "r0");
		else
			sandbox_run("! tc filter show dev r0 ingress | grep -q shunt_from_pod && tc filter show dev r0 ingress | grep -q shunt_from_clie");
		assert_int_equal(datapath_attach(datapath, "r0", true), 0);
		datapath_close(&datapath);
		assert_int_equal(sandbox_unload(NULL), 0);
		sandbox_run("ip link del r0");
	}
}

static void test_places(void **state)
{
	const struct datapath_place first[] = { { 1, { .kind = SHUNT_PLACE_UPLINK } }, { 2, { .kind = SHUNT_PLACE_HOST } } };
	const struct datapath_place second[] = { { 2, { .kind = SHUNT_PLACE_UPLINK, .returns = 1 } }, { 3, { .kind = SHUNT_PLACE_UPLINK } } };
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct shunt_place place;
	uint32_t key;

	(void)state;
	assert_int_equal(datapath_set_places(datapath, first, ARRAY_SIZE(first)), 0);
	assert_int_equal(datapath_set_places(datapath, second, ARRAY_SIZE(second)), 0);
	key = 1;
	assert_int_not_equal(bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_PLACE], &key, &place), 0);
	for (size_t i = 0; i < ARRAY_SIZE(second); i++) {
		assert_int_equal(bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_PLACE], &second[i].ifindex, &place), 0);
		assert_memory_equal(&place, &second[i].place, sizeof(place));
	}
	assert_int_equal(datapath_set_places(datapath, NULL, 0), 0);
	assert_int_not_equal(bpf_map_get_next_key(datapath->map[DATAPATH_MAP_PLACE], NULL, &key), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_tcx, "both programs stand on the interface, and on no other"),
		TEST(test_returns, "answers of pods are met at ingress when asked for, and no more when not"),
		TEST(test_places, "places are those that were set last"),
		TEST(test_again, "attaching again keeps the links"),
		TEST(test_restart, "links stay without a process, and a restart puts its programs into them"),
		TEST(test_before_others, "our program runs before those that are there"),
		TEST(test_new_interface_of_the_name, "a new interface with the name of one that is gone is attached"),
		TEST(test_renamed, "the links of a renamed interface follow its name, dots and all"),
		TEST(test_forget, "the pins of an interface that is gone are removed, of one that is there they stay"),
		TEST(test_moved, "the link of an interface that left the namespace is ended"),
		TEST(test_refused, "no such interface and no Ethernet are told apart"),
		TEST(test_clsact, "clsact filters are put, renewed by a restart and removed with their qdisc"),
		TEST(test_foreign_filter_stays, "unload leaves the filters of others"),
		TEST(test_change_of_mode, "changing between clsact and tcx leaves one of them"),
		TEST(test_unload, "unload takes the programs off"),
		TEST(test_capabilities, "tcx attaches without any capability, clsact says it needs CAP_NET_ADMIN"),
		TEST(test_modes, "attach modes are read by name"),
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
