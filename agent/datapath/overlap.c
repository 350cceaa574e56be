/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/overlap.h"

#include <string.h>

#define DEPTH 8 /* of devices on devices: a bridge on a VLAN on a bond on a port is 4 */

static bool is_kind(const struct netlink_link *link, const char *kind)
{
	return strcmp(link->kind, kind) == 0;
}

static bool is_bridge(const struct netlink_link *link)
{
	return is_kind(link, "bridge");
}

/* Do packets that come in by a member come in by this master? (A VRF's do not, at the hooks of tc.) */
static bool takes_over(const struct netlink_link *master)
{
	return is_bridge(master) || is_kind(master, "bond") || is_kind(master, "team");
}

static bool stands_on(const struct netlink_link *link, const struct netlink_link *lower)
{
	return link->link == lower->ifindex && !is_kind(link, "veth");
}

static bool is_next(const struct netlink_link *lower, const struct netlink_link *upper)
{
	return (lower->master == upper->ifindex && takes_over(upper)) || stands_on(upper, lower);
}

/* Do packets that come in by `from` come in by `to` after that? *ret_bridged: there is a bridge on the way. */
static bool leads_to(const struct netlink_link *links, size_t count, size_t from, size_t to, int depth, bool *ret_bridged)
{
	for (size_t i = 0; i < count && depth; i++) {
		bool bridged = is_bridge(&links[i]);

		if (!is_next(&links[from], &links[i]) || (i != to && !leads_to(links, count, i, to, depth - 1, &bridged)))
			continue;
		*ret_bridged = bridged || is_bridge(&links[i]);
		return true;
	}
	return false;
}

static bool are_pair(const struct netlink_link *a, const struct netlink_link *b)
{
	return is_kind(a, "veth") && is_kind(b, "veth") && a->link == b->ifindex && b->link == a->ifindex;
}

/* The first reason stays. */
static void leave(size_t *by, size_t which, size_t for_which)
{
	if (by[which] == which)
		by[which] = for_which;
}

void overlap_resolve(const struct netlink_link *links, const bool *wanted, size_t count, size_t *ret_by)
{
	for (size_t i = 0; i < count; i++)
		ret_by[i] = i;
	for (size_t upper = 0; upper < count; upper++) {
		if (!wanted[upper] || !(takes_over(&links[upper]) || links[upper].link))
			continue;
		for (size_t lower = 0; lower < count; lower++) {
			bool bridged = false;

			if (lower == upper || !wanted[lower])
				continue;
			if (are_pair(&links[upper], &links[lower]))
				bridged = true;
			else if (!leads_to(links, count, lower, upper, DEPTH, &bridged))
				continue;
			if (bridged)
				leave(ret_by, upper, lower);
			else
				leave(ret_by, lower, upper);
		}
	}
}

const char *overlap_text(const struct netlink_link *link, const struct netlink_link *by)
{
	if (are_pair(link, by))
		return "its other end";
	if (is_bridge(link))
		return by->master == link->ifindex ? "its port" : "what comes in by it";
	if (link->master == by->ifindex)
		return "its master";
	return "what stands on it";
}
