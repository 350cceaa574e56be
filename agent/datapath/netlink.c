/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "util/cleanup.h"

#define BUFFER 32768 /* a dump's message; MNL_SOCKET_BUFFER_SIZE is 8192 or a page */

struct netlink {
	struct mnl_socket *events; /* subscribed */
};

struct call {
	netlink_link_fn f;
	void *data;
};

static int attribute(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;
	int type = mnl_attr_get_type(attr);

	if (type == IFLA_IFNAME || type == IFLA_LINKINFO)
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
	const struct call *call = data;
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(header);
	const struct nlattr *attrs[IFLA_LINKINFO + 1] = {};
	struct netlink_link link = {};
	const char *kind = "";

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

/* Sends a request and hands every message of the answer to cb, until its end. */
static int ask(struct nlmsghdr *request, mnl_cb_t cb, void *data)
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
	netlink->events = open_socket(1u << (RTNLGRP_LINK - 1));
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
	struct call call = { f, data };
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct ifinfomsg)] = {};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);

	int r;

	(void)netlink;
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	do {
		r = ask(request, message, &call);
	} while (r == -EINTR); /* the list changed under the dump: it may lack some */
	return r;
}

int netlink_read(struct netlink *netlink, netlink_link_fn f, void *data)
{
	struct call call = { f, data };
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
	return lost ? netlink_list(netlink, f, data) : 0;
}

bool netlink_matches(const struct netlink_link *link, const char *patterns)
{
	_cleanup_free_ char *copy = NULL;
	char *rest, *pattern;

	if (!patterns)
		return link->up && !strcmp(link->kind, "veth");
	copy = rest = strdup(patterns);
	while ((pattern = strsep(&rest, ",")))
		if (*pattern && !fnmatch(pattern, link->name, 0))
			return true;
	return false;
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
		r = ask(tc_request(buffer, RTM_GETTFILTER, NLM_F_DUMP, ifindex, parents[i]), count_filter, &filters);
		if (r)
			return r;
	}
	if (filters)
		return 0;
	request = tc_request(buffer, RTM_DELQDISC, NLM_F_ACK, ifindex, TC_H_CLSACT);
	((struct tcmsg *)mnl_nlmsg_get_payload(request))->tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	return ask(request, count_filter, &filters);
}
