/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a process of the node itself sends never comes in by a client's interface. A veth pair gives it one:
 *
 *     process ──▶ route "frontend dev shunt0" ──▶ shunt0 ══ shunt1 ──▶ ingress: shunt_from_client ──▶ routing ──▶ pod
 *     process ◀── shunt0 ══ shunt1 ◀── egress: shunt_to_client ◀── route "shunt's own address dev shunt1" ◀── routing ◀── pod
 *
 * The process has the source address that the kernel chooses, the node's. The pod must not see that: its answer would be for the node and be taken by
 * the node's stack. It sees shunt's own address (abi.h), which is on no interface and is routed back to shunt1.
 *
 * Both ends have one Ethernet address and no ARP, so that neither has to find the other. All of it is the kernel's: it needs no agent. Routes have a
 * protocol number of their own, by which they are known as ours (`ip route show proto 115`), interfaces an alias.
 */
#include "datapath/host.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

#include "datapath/netlink.h"
#include "util/addr.h"
#include "util/cleanup.h"
#include "util/log.h"

#define PROTOCOL 115 /* 's' */
#define ALIAS "shunt: the node's own connections"

static const uint8_t mac[6] = { 0x02, 's', 'h', 'u', 'n', 't' };
static const uint32_t own_words[SHUNT_FAMILIES][4] = { SHUNT_OWN_V4, SHUNT_OWN_V6 };

/* ---- interfaces ---- */

static int none(const struct nlmsghdr *header, void *data)
{
	(void)header, (void)data;
	return MNL_CB_OK;
}

static int make_pair(void)
{
	char buffer[1024] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct nlattr *info, *data, *peer;

	request->nlmsg_type = RTM_NEWLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, HOST_OUT);
	mnl_attr_put(request, IFLA_ADDRESS, sizeof(mac), mac);
	info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(request, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, HOST_IN);
	mnl_attr_put(request, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_nest_end(request, peer);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
	return netlink_ask(request, none, NULL);
}

static struct nlmsghdr *about_link(char *buffer, uint16_t type, uint32_t ifindex)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	((struct ifinfomsg *)mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg)))->ifi_index = ifindex;
	return request;
}

/* The message that makes a pair can give it no alias, and an end without its other one cannot be up. */
static int finish_end(const char *name)
{
	char buffer[256] = {};
	struct nlmsghdr *request = about_link(buffer, RTM_NEWLINK, if_nametoindex(name));
	struct ifinfomsg *info = mnl_nlmsg_get_payload(request);

	info->ifi_flags = IFF_UP | IFF_NOARP;
	info->ifi_change = IFF_UP | IFF_NOARP;
	mnl_attr_put_strz(request, IFLA_IFALIAS, ALIAS);
	return netlink_ask(request, none, NULL);
}

/* The alias; or the address, of a pair whose maker was killed before it could give it one. */
static int find_mark(const struct nlattr *attr, void *data)
{
	int type = mnl_attr_get_type(attr);

	if ((type == IFLA_IFALIAS && !strcmp(mnl_attr_get_str(attr), ALIAS)) ||
	    (type == IFLA_ADDRESS && mnl_attr_get_payload_len(attr) == sizeof(mac) && !memcmp(mnl_attr_get_payload(attr), mac, sizeof(mac))))
		*(bool *)data = true;
	return MNL_CB_OK;
}

static int find_mark_in(const struct nlmsghdr *header, void *data)
{
	return mnl_attr_parse(header, sizeof(struct ifinfomsg), find_mark, data);
}

static bool is_ours(const char *name)
{
	char buffer[256] = {};
	uint32_t ifindex = if_nametoindex(name);
	bool ours = false;

	return ifindex && !netlink_ask(about_link(buffer, RTM_GETLINK, ifindex), find_mark_in, &ours) && ours;
}

int host_remove(void)
{
	char buffer[256] = {};
	int r;

	if (!is_ours(HOST_OUT))
		return 0;
	r = netlink_ask(about_link(buffer, RTM_DELLINK, if_nametoindex(HOST_OUT)), none, NULL);
	return r ? log_err(r, "cannot remove the interfaces %s and %s", HOST_OUT, HOST_IN) : 0;
}

/* ---- routes ---- */

static struct shunt_addr own_address(int family)
{
	struct shunt_addr addr;

	for (int i = 0; i < 4; i++) {
		uint32_t word = htonl(own_words[family][i]);

		memcpy(addr.ip + 4 * i, &word, sizeof(word));
	}
	return addr;
}

static int change_route(uint16_t type, uint16_t flags, const struct shunt_addr *addr, uint32_t ifindex)
{
	char buffer[256] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	bool v4 = addr_is_v4(addr);
	struct rtmsg *route;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	route = mnl_nlmsg_put_extra_header(request, sizeof(*route));
	route->rtm_family = v4 ? AF_INET : AF_INET6;
	route->rtm_dst_len = v4 ? 32 : 128;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = PROTOCOL;
	route->rtm_scope = v4 ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	mnl_attr_put(request, RTA_DST, v4 ? 4 : 16, addr->ip + (v4 ? 12 : 0));
	mnl_attr_put_u32(request, RTA_OIF, ifindex);
	return netlink_ask(request, none, NULL);
}

/* The routes of ours to an interface. */
struct route_list {
	uint32_t ifindex;
	struct shunt_addr *items;
	size_t count;
	bool out_of_memory;
};

static int route_attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;
	int type = mnl_attr_get_type(attr);

	if (type == RTA_DST || type == RTA_OIF)
		attrs[type] = attr;
	return MNL_CB_OK;
}

static int append_route(const struct nlmsghdr *header, void *data)
{
	const struct rtmsg *route = mnl_nlmsg_get_payload(header);
	const struct nlattr *attrs[RTA_OIF + 1] = {};
	struct route_list *list = data;
	struct shunt_addr *longer;

	if (header->nlmsg_type != RTM_NEWROUTE || route->rtm_protocol != PROTOCOL || route->rtm_table != RT_TABLE_MAIN)
		return MNL_CB_OK;
	mnl_attr_parse(header, sizeof(*route), route_attribute, attrs);
	if (!attrs[RTA_DST] || !attrs[RTA_OIF] || mnl_attr_get_u32(attrs[RTA_OIF]) != list->ifindex)
		return MNL_CB_OK;
	longer = realloc(list->items, (list->count + 1) * sizeof(*longer));
	if (!longer) {
		list->out_of_memory = true;
		return MNL_CB_STOP;
	}
	list->items = longer;
	longer += list->count++;
	memset(longer, 0, sizeof(*longer));
	if (route->rtm_family == AF_INET) {
		memset(longer->ip + 10, 0xff, 2);
		memcpy(longer->ip + 12, mnl_attr_get_payload(attrs[RTA_DST]), 4);
	} else {
		memcpy(longer->ip, mnl_attr_get_payload(attrs[RTA_DST]), 16);
	}
	return MNL_CB_OK;
}

static int list_routes(uint32_t ifindex, struct route_list *list)
{
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct rtmsg)];
	struct nlmsghdr *request;
	int r;

	do {
		list->ifindex = ifindex;
		list->count = 0;
		memset(buffer, 0, sizeof(buffer));
		request = mnl_nlmsg_put_header(buffer);
		request->nlmsg_type = RTM_GETROUTE;
		request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		mnl_nlmsg_put_extra_header(request, sizeof(struct rtmsg));
		r = netlink_ask(request, append_route, list);
	} while (r == -EINTR);
	return list->out_of_memory ? -ENOMEM : r;
}

static bool holds(const struct shunt_addr *list, size_t count, const struct shunt_addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(&list[i], addr, sizeof(*addr)) == 0)
			return true;
	return false;
}

static int sync_routes(struct route_list *there, const struct shunt_addr *addresses, size_t count)
{
	char text[ADDR_TEXT_MAX];
	int r;

	for (size_t i = 0; i < there->count; i++) {
		if (holds(addresses, count, &there->items[i]))
			continue;
		r = change_route(RTM_DELROUTE, 0, &there->items[i], there->ifindex);
		if (r && r != -ESRCH)
			return log_err(r, "cannot remove the route to %s", addr_text(&there->items[i], text));
	}
	for (size_t i = 0; i < count; i++) {
		if (holds(there->items, there->count, &addresses[i]) || holds(addresses, i, &addresses[i]))
			continue;
		r = change_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &addresses[i], there->ifindex);
		if (r == -EEXIST)
			log_warn("%s has a route of somebody else's: this node's own connections to it are not steered", addr_text(&addresses[i], text));
		else if (r)
			return log_err(r, "cannot route %s to %s", addr_text(&addresses[i], text), HOST_OUT);
	}
	return 0;
}

int host_route(const struct shunt_addr *addresses, size_t count)
{
	struct route_list there = {};
	int r = list_routes(if_nametoindex(HOST_OUT), &there);

	r = r ? log_err(r, "cannot list the routes to %s", HOST_OUT) : sync_routes(&there, addresses, count);
	free(there.items);
	return r;
}

/* ---- the pair ---- */

int host_make(void)
{
	bool out = is_ours(HOST_OUT), in = is_ours(HOST_IN);
	int r = 0;

	if ((!out && if_nametoindex(HOST_OUT)) || (!in && if_nametoindex(HOST_IN)) || out != in) {
		log_err(0, "--host needs interfaces %s and %s, and there is one of that name which shunt did not make: rename or remove it",
			HOST_OUT, HOST_IN);
		return -EEXIST;
	}
	if (!out)
		r = make_pair();
	if (!r) /* also of a pair that is there: an earlier start may have come only so far */
		r = finish_end(HOST_OUT);
	if (!r)
		r = finish_end(HOST_IN);
	if (r)
		return log_err(r, "cannot make the interfaces %s and %s", HOST_OUT, HOST_IN);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct shunt_addr own = own_address(family);

		r = change_route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &own, if_nametoindex(HOST_IN));
		if (r && family == SHUNT_V6) /* a kernel without it, or told to do without it */
			log_warn("cannot route shunt's own IPv6 address to %s (%s): this node's own IPv6 connections are not steered", HOST_IN, strerror(-r));
		else if (r)
			return log_err(r, "cannot route shunt's own IPv4 address to %s", HOST_IN);
	}
	return 0;
}
