/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Interfaces on one path. A packet that comes in by a port of a bridge comes in by the bridge, too; at the second of two attached interfaces it would
 * be another packet: the client's own connection to a pod, on the tuple of our leg. So of interfaces on one path one is attached:
 *
 *     a bridge and its ports            the ports: traffic between them passes the bridge by
 *     a bond or team and its members    the bond: a flow's packets may come and go by any member
 *     a VLAN (macvlan, ...) and what    the VLAN: packets that we send to its clients must get its tag
 *     it stands on
 *     both ends of a veth pair          neither: it leads from this namespace to itself, and no client is behind it
 */
#ifndef SHUNT_OVERLAP_H
#define SHUNT_OVERLAP_H

#include "datapath/netlink.h"

/*
 * links: all of this namespace. For each link that is wanted, ret_by is the index of the one for which it must be left alone; its own index: attach it.
 * A link that is not wanted keeps its own index, too.
 */
void overlap_resolve(const struct netlink_link *links, const bool *wanted, size_t count, size_t *ret_by);

/* How link i and the one it is left alone for belong together: "its port", "the VLAN on it", ... */
const char *overlap_text(const struct netlink_link *link, const struct netlink_link *by);

#endif
