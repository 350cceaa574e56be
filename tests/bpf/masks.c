/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whose address a pod sees when it cannot be its client's: by where the client is, and where the pod is. */
#include "../lib/dialog.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define GET "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n" /* v1's */

static struct shunt_addr addr_of(const char *text)
{
	struct shunt_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct shunt_addr own_address(int family)
{
	return addr_of(family == SHUNT_V6 ? "fd73:6875:6e74::1" : "169.254.115.104");
}

static struct shunt_addr node_address(int family)
{
	return addr_of(family == SHUNT_V6 ? "fd00:5::1" : "10.5.0.1");
}

/* The interface leads there; 0: to pods of this node, as all others. */
static void lead_to(struct bpfrun *run, enum shunt_place_kind kind)
{
	struct datapath_place place = { .ifindex = run->ifindex, .place = { .kind = kind, .node = { node_address(SHUNT_V4), node_address(SHUNT_V6) } } };

	assert_int_equal(datapath_set_places(run->datapath, &place, kind ? 1 : 0), 0);
}

/* The packet at hand is a SYN from `from` to the pod. */
static void expect_syn(struct dialog *d, int verdict, const struct shunt_addr *from)
{
	struct dialog_pod pod = dialog_pod(d, DIALOG_V1);
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != verdict || d->r.out.why || p->flags != SYN || memcmp(&p->saddr, from, sizeof(*from)) ||
	    memcmp(&p->daddr, &pod.addr, sizeof(pod.addr)) || p->dport != pod.port)
		dialog_fail(d, "no SYN with the address that stands in");
}

static void test_a_pod_sees_shunts_own_address_for_a_client_on_the_node(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct shunt_addr own = own_address(family);

		bpfrun_forget(*state);
		lead_to(*state, SHUNT_PLACE_HOST);
		dialog_connects(&d);
		dialog_says(&d, GET);
		expect_syn(&d, V_PASS, &own);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_HOST), 1);
		lead_to(*state, 0);
	}
}

static void test_a_pod_that_is_its_own_client_sees_shunts_own_address(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct shunt_addr own = own_address(family);

		bpfrun_forget(*state);
		d.client = dialog_pod(&d, DIALOG_V1).addr;
		dialog_connects(&d);
		dialog_says(&d, GET);
		expect_syn(&d, V_REDIRECT, &own);
		assert_int_equal(d.r.mark, 0); /* turned round to where it came from */
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_HAIRPIN), 1);
	}
}

static void routes(const char *what)
{
	char command[256];

	snprintf(command, sizeof(command), "ip -4 route %s 10.77.3.0/24 dev client0 && ip -6 route %s fd00:77:3::/64 dev client0", what, what);
	assert_int_equal(system(command), 0);
}

/* Without a route the packet goes nowhere, and is counted; the client's next try finds the route when there is one. */
static void test_a_pod_on_another_node_sees_this_nodes_address_for_a_client_outside(void **state)
{
	struct tables elsewhere = *dialog_tables();
	struct shunt_pod *pods = calloc(elsewhere.pod_count, sizeof(*pods));

	assert_non_null(pods);
	memcpy(pods, elsewhere.pods, elsewhere.pod_count * sizeof(*pods));
	for (size_t i = 0; i < elsewhere.pod_count; i++)
		pods[i].elsewhere = 1;
	elsewhere.pods = pods;
	bpfrun_commit(*state, &elsewhere);
	lead_to(*state, SHUNT_PLACE_UPLINK);
	assert_int_equal(system("sysctl -q -w net.ipv4.conf.all.forwarding=1 net.ipv6.conf.all.forwarding=1"), 0);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct shunt_addr node = node_address(family);

		bpfrun_forget(*state);
		dialog_connects(&d);
		dialog_says(&d, GET);
		assert_int_equal(d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_NODE), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_NO_WAY), 1);
		routes("add");
		d.next -= strlen(GET);
		dialog_says(&d, GET);
		expect_syn(&d, V_REDIRECT, &node);
		routes("del");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_NO_WAY), 1);
	}
	lead_to(*state, 0);
	bpfrun_commit(*state, dialog_tables());
	free(pods);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_pod_sees_shunts_own_address_for_a_client_on_the_node),
		cmocka_unit_test(test_a_pod_that_is_its_own_client_sees_shunts_own_address),
		cmocka_unit_test(test_a_pod_on_another_node_sees_this_nodes_address_for_a_client_outside),
	};

	return bpfrun_main("masks", dialog_tables(), tests, ARRAY_SIZE(tests));
}
