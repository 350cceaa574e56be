/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/overlap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "util/cleanup.h"

#define LINKS 6

#define LINK(of, is, ...) { .name = of, .kind = is, __VA_ARGS__ }

/* Links have the numbers 1, 2, ...; a capital name is wanted. */
struct overlap_case {
	const char *what;
	struct netlink_link links[LINKS];
	const char *attached; /* names, in their order */
};

static const struct overlap_case cases[] = {
	{ "two veths that have nothing to do with each other", { LINK("A", "veth"), LINK("B", "veth") }, "AB" },
	{ "a bridge and its ports: the ports", { LINK("B", "bridge"), LINK("P", "veth", .master = 1), LINK("Q", "veth", .master = 1) }, "PQ" },
	{ "a bridge whose ports nobody wants: the bridge", { LINK("B", "bridge"), LINK("p", "veth", .master = 1) }, "B" },
	{ "a bond and its members: the bond", { LINK("B", "bond"), LINK("M", "", .master = 1), LINK("N", "", .master = 1) }, "B" },
	{ "a VRF's members stay: its packets do not come in by it", { LINK("V", "vrf"), LINK("M", "veth", .master = 1) }, "VM" },
	{ "a VLAN and what it stands on: the VLAN", { LINK("E", ""), LINK("V", "vlan", .link = 1) }, "V" },
	{ "both ends of a pair: neither", { LINK("A", "veth", .link = 2), LINK("B", "veth", .link = 1) }, "" },
	{ "one end of a pair", { LINK("A", "veth", .link = 2), LINK("b", "veth", .link = 1) }, "A" },
	{ "a veth whose other end's number elsewhere is one of here", { LINK("A", "veth"), LINK("B", "veth", .link = 0) }, "AB" },
	{ "a VLAN on a bridge, over a bridge that nobody wants", { LINK("b", "bridge"), LINK("V", "vlan", .link = 1), LINK("P", "veth", .master = 1) }, "P" },
	{ "member, bond, VLAN, bridge: the VLAN",
	  { LINK("M", "", .master = 2), LINK("B", "bond"), LINK("V", "vlan", .link = 2, .master = 4), LINK("R", "bridge") }, "V" },
	{ "devices that stand on each other end", { LINK("A", "vlan", .link = 2), LINK("B", "vlan", .link = 1) }, "" },
};

static void test_one_of_the_interfaces_on_a_path_is_attached(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netlink_link links[LINKS];
		bool wanted[LINKS] = {};
		char attached[LINKS + 1] = "";
		size_t by[LINKS], count = 0;

		memcpy(links, cases[i].links, sizeof(links));
		for (; count < LINKS && links[count].name[0]; count++) {
			links[count].ifindex = count + 1;
			wanted[count] = links[count].name[0] < 'a';
		}
		overlap_resolve(links, wanted, count, by);
		for (size_t n = 0; n < count; n++)
			if (wanted[n] && by[n] == n)
				strcat(attached, links[n].name);
		if (strcmp(attached, cases[i].attached))
			fail_msg("%s: attached \"%s\", not \"%s\"", cases[i].what, attached, cases[i].attached);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_of_the_interfaces_on_a_path_is_attached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
