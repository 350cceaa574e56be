/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>

#include "datapath/netlink.h"
#include "sandbox.h"
#include "util/addr.h"

struct seen {
	struct netlink_link links[64];
	size_t count;
};

static bool addresses; /* of netlink_read() */

static void see(void *data, const struct netlink_link *link)
{
	struct seen *seen = data;

	assert_true(seen->count < ARRAY_SIZE(seen->links));
	seen->links[seen->count++] = *link;
}

static const struct netlink_link *find(const struct seen *seen, const char *name)
{
	for (size_t i = seen->count; i-- > 0;)
		if (!strcmp(seen->links[i].name, name))
			return &seen->links[i];
	return NULL;
}

/* Reads events until there is one of that interface; the test fails when it does not come. */
static struct netlink_link next_of(struct netlink *netlink, const char *name)
{
	for (;;) {
		struct pollfd poll_fd = { .fd = netlink_fd(netlink), .events = POLLIN };
		struct seen seen = {};

		assert_int_equal(poll(&poll_fd, 1, 5000), 1);
		assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0);
		if (find(&seen, name))
			return *find(&seen, name);
	}
}

static void test_matches(void **state)
{
	static const struct {
		const char *name, *kind;
		bool up;
		const char *patterns;
		bool matches;
	} cases[] = {
		{ "veth0", "veth", true, NULL, true },
		{ "veth0", "veth", false, NULL, false },
		{ "eth0", "", true, NULL, false },
		{ "br0", "bridge", true, NULL, false },
		{ "eth0", "", true, "eth0", true },
		{ "eth0", "", false, "eth0", true },
		{ "eth0.5", "vlan", true, "veth*,eth0.5", true },
		{ "eth0x5", "vlan", true, "veth*,eth0.5", false },
		{ "veth9", "veth", true, "veth*,eth0.5", true },
		{ "veth9", "veth", true, "eth*", false },
		{ "cali1", "veth", true, "lxc*,,cali?", true },
		{ "cali12", "veth", true, "lxc*,cali?", false },
		{ "veth0", "veth", true, "", false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netlink_link link = { .up = cases[i].up };

		strcpy(link.name, cases[i].name);
		strcpy(link.kind, cases[i].kind);
		if (netlink_matches(&link, cases[i].patterns) != cases[i].matches)
			fail_msg("case %zu: %s, %s", i, cases[i].name, cases[i].patterns);
	}
}

static void test_list(void **state)
{
	_cleanup_(netlink_close) struct netlink *netlink = NULL;
	struct seen seen = {};

	(void)state;
	sandbox_run("ip link add l0 type veth peer name l1 && ip link set l0 up && ip link add l.br type bridge");
	assert_int_equal(netlink_open(&netlink), 0);
	assert_int_equal(netlink_list(netlink, see, &seen), 0);
	assert_string_equal(find(&seen, "l0")->kind, "veth");
	assert_true(find(&seen, "l0")->up);
	assert_int_equal(find(&seen, "l0")->ifindex, if_nametoindex("l0"));
	assert_false(find(&seen, "l1")->up);
	assert_string_equal(find(&seen, "l.br")->kind, "bridge");
	assert_string_equal(find(&seen, "lo")->kind, "");
	for (size_t i = 0; i < seen.count; i++)
		assert_false(seen.links[i].gone);
	sandbox_run("ip link del l0 && ip link del l.br");
}

static void test_events(void **state)
{
	_cleanup_(netlink_close) struct netlink *netlink = NULL;
	struct netlink_link link;
	struct seen seen = {};

	(void)state;
	assert_int_equal(netlink_open(&netlink), 0);
	assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0); /* nothing yet, and it does not wait */
	assert_int_equal(seen.count, 0);
	sandbox_run("ip link add e0 type veth peer name e1");
	link = next_of(netlink, "e0");
	assert_false(link.gone);
	assert_string_equal(link.kind, "veth");
	sandbox_run("ip link set e0 up");
	do {
		link = next_of(netlink, "e0");
	} while (!link.up);
	sandbox_run("ip link del e0");
	do {
		link = next_of(netlink, "e0");
	} while (!link.gone);
}

static void test_left_bridge(void **state)
{
	_cleanup_(netlink_close) struct netlink *netlink = NULL;
	struct seen seen = {};

	(void)state;
	sandbox_run("ip link add b0 type veth peer name b1 && ip link add bb type bridge && ip link set b0 master bb");
	assert_int_equal(netlink_open(&netlink), 0);
	sandbox_run("ip link set b0 nomaster && ip link set b0 up");
	next_of(netlink, "b0");
	assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0);
	for (size_t i = 0; i < seen.count; i++)
		assert_false(seen.links[i].gone);
	sandbox_run("ip link del b0 && ip link del bb");
}

static void test_overrun(void **state)
{
	_cleanup_(netlink_close) struct netlink *netlink = NULL;
	int size = 1; /* the kernel's least: a few events */
	struct seen seen = {};

	(void)state;
	assert_int_equal(netlink_open(&netlink), 0);
	assert_int_equal(setsockopt(netlink_fd(netlink), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	sandbox_run("for i in 1 2 3 4 5 6 7 8; do ip link add o$i type veth peer name p$i || exit 1; done");
	assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0);
	assert_non_null(find(&seen, "o8")); /* its event was lost; the list has it */
	sandbox_run("for i in 1 2 3 4 5 6 7 8; do ip link del o$i || exit 1; done");
}

static void test_addresses(void **state)
{
	struct shunt_addr found[SHUNT_FAMILIES];
	char text[ADDR_TEXT_MAX];

	(void)state;
	sandbox_run("ip link add a0 type veth peer name a1 && ip link set a0 up && ip link set a1 up");
	assert_int_equal(netlink_addresses(if_nametoindex("a0"), found), 0);
	assert_true(addr_is_none(&found[SHUNT_V4]) && addr_is_none(&found[SHUNT_V6])); /* link-local ones do not count */
	sandbox_run("ip address add 10.9.0.1/24 dev a0 && ip address add 10.9.0.2/24 dev a0 && ip address add 10.8.0.1/24 dev a1");
	sandbox_run("ip address add fd00:9::1/64 dev a0 preferred_lft 0 && ip address add fd00:9::2/64 dev a0 nodad");
	assert_int_equal(netlink_addresses(if_nametoindex("a0"), found), 0);
	assert_string_equal(addr_text(&found[SHUNT_V4], text), "10.9.0.1");
	assert_string_equal(addr_text(&found[SHUNT_V6], text), "fd00:9::2"); /* the other one is deprecated */
}

static void test_address_events(void **state)
{
	_cleanup_(netlink_close) struct netlink *netlink = NULL;
	struct seen seen = {};

	(void)state;
	sandbox_run("ip link add e0 type veth peer name e1");
	assert_int_equal(netlink_open(&netlink), 0);
	assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0);
	assert_false(addresses);
	sandbox_run("ip address add 10.7.0.1/24 dev e0");
	assert_int_equal(netlink_read(netlink, see, &seen, &addresses), 0);
	assert_true(addresses);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		{ "patterns take names, no pattern takes veths that are up", test_matches, NULL, NULL, NULL },
		{ "the list has every interface with its kind and state", test_list, NULL, NULL, NULL },
		{ "interfaces are heard of as they come, change and go", test_events, NULL, NULL, NULL },
		{ "an interface's address is a global one, and not deprecated", test_addresses, NULL, NULL, NULL },
		{ "addresses that come are heard of", test_address_events, NULL, NULL, NULL },
		{ "a port that leaves its bridge is not gone", test_left_bridge, NULL, NULL, NULL },
		{ "events that the kernel dropped are made good by a list", test_overrun, NULL, NULL, NULL },
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
