/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Interfaces of this network namespace: those that are there, and those that come and go (rtnetlink through libmnl; RFC 3549). */
#ifndef SHUNT_NETLINK_H
#define SHUNT_NETLINK_H

#include <stdbool.h>
#include <stdint.h>

#include <net/if.h>

#include "shunt/abi.h"

struct netlink_link {
	char name[IFNAMSIZ];
	char kind[16]; /* "veth", "bridge", ...; "" for a device without one */
	uint32_t ifindex;
	uint32_t master; /* the bridge, bond, ... that it is a port of; 0: none */
	uint32_t link;   /* what it stands on (a VLAN, macvlan, ...), or a veth's other end, when that is in this namespace; 0 */
	bool up;       /* set up by its owner (IFF_UP) */
	bool gone;     /* has just been removed */
};

struct netlink;
struct nlmsghdr;

typedef void (*netlink_link_fn)(void *data, const struct netlink_link *link);

/* Sends a request and hands every message of the answer to cb, until its end. 0, or the kernel's errno. */
int netlink_ask(struct nlmsghdr *request, int (*cb)(const struct nlmsghdr *header, void *data), void *data);

/* Begins to listen. The descriptor is non-blocking; poll it for reading. */
int netlink_open(struct netlink **ret_netlink);
void netlink_close(struct netlink **netlink);
int netlink_fd(const struct netlink *netlink);

/* Calls f with every interface there is. Changes from netlink_open() on are not lost: they come with netlink_read(). */
int netlink_list(struct netlink *netlink, netlink_link_fn f, void *data);

/*
 * Calls f with what has changed. When the kernel had to drop events (ENOBUFS), lists everything instead. *ret_addresses: addresses of interfaces may
 * have changed, too.
 */
int netlink_read(struct netlink *netlink, netlink_link_fn f, void *data, bool *ret_addresses);

/* The interface's first global address of each family that is good to be a source; zero: it has none. */
int netlink_addresses(uint32_t ifindex, struct shunt_addr ret_addresses[SHUNT_FAMILIES]);

/*
 * netlink_name_matches(): whether one of the patterns takes the name. netlink_matches(): whether clients are taken to be behind this interface. patterns: shell patterns with commas between ("veth*,eth0.5"), which take the name
 * whatever its state; NULL: every veth that is up, as the host's ends of pods are.
 */
bool netlink_name_matches(const char *name, const char *patterns);
bool netlink_matches(const struct netlink_link *link, const char *patterns);

/* Removes the interface's clsact qdisc when no filter of anybody is in it. */
int netlink_remove_empty_clsact(uint32_t ifindex);

#endif
