/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define BUFFER 32768 /* a dump's message; MNL_SOCKET_BUFFER_SIZE is 8192 or a page */

struct netlink {
	struct mnl_socket *events; /* subscribed */
};

struct call {
	netlink_link_fn f;
	void *data;
	bool addresses; /* those of an interface have changed */
};

static int attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;
	int type = mnl_attr_get_type(attr);

	if (type == IFLA_IFNAME || type == IFLA_LINKINFO || type == IFLA_MASTER || type == IFLA_LINK || type == IFLA_LINK_NETNSID)
		attrs[type] = attr;
	return MNL_CB_OK;
}

static int info_attribute(const struct nlattr *attr, void *data)
{
	if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
		*(const char **)data = mnl_attr_get_str(attr);
	return MNL_CB_OK;
}

static int message(const struct nlmsghdr *header, void *data)
{
	struct call *call = data;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attrs[IFLA_LINK_NETNSID + 1] = {};
	struct netlink_link link = {};
	const char *kind = "";

	call->addresses |= header->nlmsg_type == RTM_NEWADDR || header->nlmsg_type == RTM_DELADDR;
	/* A bridge tells of its ports in its own family (AF_BRIDGE), also that a port left it: not that the interface is gone. */
	if ((header->nlmsg_type != RTM_NEWLINK && header->nlmsg_type != RTM_DELLINK) || info->ifi_family != AF_UNSPEC)
		return MNL_CB_OK;
	mnl_attr_parse(header, sizeof(*info), attribute, attrs);
	if (!attrs[IFLA_IFNAME])
		return MNL_CB_OK;
	if (attrs[IFLA_LINKINFO])
		mnl_attr_parse_nested(attrs[IFLA_LINKINFO], info_attribute, &kind);
	strncpy(link.name, mnl_attr_get_str(attrs[IFLA_IFNAME]), sizeof(link.name) - 1);
	strncpy(link.kind, kind, sizeof(link.kind) - 1);
	link.ifindex = info->ifi_index;
	if (attrs[IFLA_MASTER])
		link.master = mnl_attr_get_u32(attrs[IFLA_MASTER]);
	if (attrs[IFLA_LINK] && !attrs[IFLA_LINK_NETNSID])
		link.link = mnl_attr_get_u32(attrs[IFLA_LINK]);
	link.up = info->ifi_flags & IFF_UP;
	link.gone = header->nlmsg_type == RTM_DELLINK;
	call->f(call->data, &link);
	return MNL_CB_OK;
}

static void close_socket(struct mnl_socket **socket)
{
	if (*socket)
		mnl_socket_close(*socket);
}

static struct mnl_socket *open_socket(unsigned int groups)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (!socket || !mnl_socket_bind(socket, groups, MNL_SOCKET_AUTOPID))
		return socket;
	close_socket(&socket);
	return NULL;
}

int netlink_ask(struct nlmsghdr *request, mnl_cb_t cb, void *data)
{
	_cleanup_(close_socket) struct mnl_socket *socket = open_socket(0);
	_cleanup_free_ char *buffer = malloc(BUFFER);
	int r = MNL_CB_OK;

	if (!buffer)
		return -ENOMEM;
	request->nlmsg_seq = time(NULL);
	if (!socket || mnl_socket_sendto(socket, request, request->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = mnl_socket_recvfrom(socket, buffer, BUFFER);

		if (n < 0)
			return -errno;
		r = mnl_cb_run(buffer, n, request->nlmsg_seq, mnl_socket_get_portid(socket), cb, data);
	}
	return r < 0 ? -errno : 0;
}

int netlink_open(struct netlink **ret_netlink)
{
	_cleanup_(netlink_close) struct netlink *netlink = calloc(1, sizeof(*netlink));
	int fd;

	if (!netlink)
		return -ENOMEM;
	netlink->events = open_socket(1u << (RTNLGRP_LINK - 1) | 1u << (RTNLGRP_IPV4_IFADDR - 1) | 1u << (RTNLGRP_IPV6_IFADDR - 1));
	if (!netlink->events)
		return -errno;
	fd = mnl_socket_get_fd(netlink->events);
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK))
		return -errno;
	*ret_netlink = TAKE_PTR(netlink);
	return 0;
}

void netlink_close(struct netlink **netlink)
{
	if (!*netlink)
		return;
	close_socket(&(*netlink)->events);
	free(*netlink);
	*netlink = NULL;
}

int netlink_fd(const struct netlink *netlink)
{
	return mnl_socket_get_fd(netlink->events);
}

int netlink_list(struct netlink *netlink, netlink_link_fn f, void *data)
{
	struct call call = { .f = f, .data = data };
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct ifinfomsg)] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	int r;

	(void)netlink;
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	do {
		r = netlink_ask(request, message, &call);
	} while (r == -EINTR); /* the list changed under the dump: it may lack some */
	return r;
}

int netlink_read(struct netlink *netlink, netlink_link_fn f, void *data, bool *ret_addresses)
{
	struct call call = { .f = f, .data = data };
	_cleanup_free_ char *buffer = malloc(BUFFER);
	bool lost = false;

	if (!buffer)
		return -ENOMEM;
	for (;;) {
		ssize_t n = mnl_socket_recvfrom(netlink->events, buffer, BUFFER);

		if (n < 0 && errno == ENOBUFS)
			lost = true;
		else if (n < 0)
			break;
		else
			mnl_cb_run(buffer, n, 0, 0, message, &call);
	}
	if (errno != EAGAIN)
		return -errno;
	*ret_addresses = lost || call.addresses;
	return lost ? netlink_list(netlink, f, data) : 0;
}

bool netlink_name_matches(const char *name, const char *patterns)
{
	_cleanup_free_ char *copy = NULL;
	char *rest, *pattern;

	copy = rest = strdup(patterns);
	while ((pattern = strsep(&rest, ",")))
		if (*pattern && !fnmatch(pattern, name, 0))
			return true;
	return false;
}

bool netlink_matches(const struct netlink_link *link, const char *patterns)
{
	return patterns ? netlink_name_matches(link->name, patterns) : link->up && !strcmp(link->kind, "veth");
}

/* ---- addresses ---- */

struct address_search {
	uint32_t ifindex;
	struct shunt_addr *addresses;
};

static int address_attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;
	int type = mnl_attr_get_type(attr);

	if (type == IFA_ADDRESS || type == IFA_LOCAL || type == IFA_FLAGS)
		attrs[type] = attr;
	return MNL_CB_OK;
}

static int address(const struct nlmsghdr *header, void *data)
{
	const uint32_t unfit = IFA_F_TENTATIVE | IFA_F_DADFAILED | IFA_F_DEPRECATED | IFA_F_TEMPORARY;
	struct address_search *search = data;
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attrs[IFA_FLAGS + 1] = {}, *local;
	struct shunt_addr *found;

	if (header->nlmsg_type != RTM_NEWADDR || info->ifa_index != search->ifindex || info->ifa_scope != RT_SCOPE_UNIVERSE ||
	    (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
		return MNL_CB_OK;
	mnl_attr_parse(header, sizeof(*info), address_attribute, attrs);
	local = attrs[IFA_LOCAL] ? attrs[IFA_LOCAL] : attrs[IFA_ADDRESS];
	/* The flag of a temporary address (RFC 8981) is that of a secondary one of IPv4. */
	if (!local || (attrs[IFA_FLAGS] && mnl_attr_get_u32(attrs[IFA_FLAGS]) & unfit))
		return MNL_CB_OK;
	found = &search->addresses[info->ifa_family == AF_INET ? SHUNT_V4 : SHUNT_V6];
	if (!addr_is_none(found))
		return MNL_CB_OK;
	if (info->ifa_family == AF_INET) {
		memset(found->ip + 10, 0xff, 2);
		memcpy(found->ip + 12, mnl_attr_get_payload(local), 4);
	} else {
		memcpy(found->ip, mnl_attr_get_payload(local), sizeof(found->ip));
	}
	return MNL_CB_OK;
}

int netlink_addresses(uint32_t ifindex, struct shunt_addr ret_addresses[SHUNT_FAMILIES])
{
	struct shunt_addr addresses[SHUNT_FAMILIES];
	struct address_search search = { .ifindex = ifindex, .addresses = addresses };
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct ifaddrmsg)];
	struct nlmsghdr *request;
	int r;

	do {
		memset(addresses, 0, sizeof(addresses));
		memset(buffer, 0, sizeof(buffer));
		request = mnl_nlmsg_put_header(buffer);
		request->nlmsg_type = RTM_GETADDR;
		request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		mnl_nlmsg_put_extra_header(request, sizeof(struct ifaddrmsg));
		r = netlink_ask(request, address, &search);
	} while (r == -EINTR);
	if (r)
		return r;
	memcpy(ret_addresses, addresses, sizeof(addresses));
	return 0;
}

/* ---- clsact ---- */

static int count_filter(const struct nlmsghdr *header, void *data)
{
	if (header->nlmsg_type == RTM_NEWTFILTER)
		(*(int *)data)++;
	return MNL_CB_OK;
}

static struct nlmsghdr *tc_request(char *buffer, uint16_t type, uint16_t flags, uint32_t ifindex, uint32_t parent)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	struct tcmsg *tc;

	request->nlmsg_type = type;
	request->nlmsg_flags = NLM_F_REQUEST | flags;
	tc = mnl_nlmsg_put_extra_header(request, sizeof(*tc));
	tc->tcm_family = AF_UNSPEC;
	tc->tcm_ifindex = ifindex;
	tc->tcm_parent = parent;
	return request;
}

int netlink_remove_empty_clsact(uint32_t ifindex)
{
	static const uint32_t parents[] = { TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS), TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS) };
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct tcmsg)] = {};
	struct nlmsghdr *request;
	int filters = 0, r;

	for (size_t i = 0; i < ARRAY_SIZE(parents); i++) {
		r = netlink_ask(tc_request(buffer, RTM_GETTFILTER, NLM_F_DUMP, ifindex, parents[i]), count_filter, &filters);
		if (r)
			return r;
	}
	if (filters)
		return 0;
	request = tc_request(buffer, RTM_DELQDISC, NLM_F_ACK, ifindex, TC_H_CLSACT);
	((struct tcmsg *)mnl_nlmsg_get_payload(request))->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	return netlink_ask(request, count_filter, &filters);
}
