/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Attaching: shunt_from_client at an interface's ingress, shunt_to_client at its egress; and shunt_from_pod at its ingress where answers come in that
 * do not leave by their client's egress. The two at ingress know each other's packets, so their order does not matter.
 *
 *     tcx     (6.6)   <pin dir>/link/eth0-from is a link: it owns the attachment, nobody else can replace it, its program changes in place
 *     clsact  (older) <pin dir>/link/eth0-from is the program that is attached, so that a later agent knows the filter as ours
 *
 * We stand before all other programs, in both directions. At ingress we must see the address the client asked for, before a CNI's program
 * translates it. At egress a CNI's program that ends the chain with TCX_PASS (Cilium's does) would hide the answers from us, which would break the
 * connection; the price is that programs behind us see the frontend's address there.
 *
 * bpffs takes no dots in names; interfaces (VLANs: eth0.5) do. A dot is written %2e, a % is %25.
 */
#include "datapath/internal.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/bpfsys.h"
#include "datapath/netlink.h"
#include "util/cleanup.h"
#include "util/log.h"

#define CLSACT_HANDLE SHUNT_MAGIC /* numbers nobody else takes for a filter, one for each direction: what has them is ours */
#define CLSACT_PRIORITY 1

#define PIN_NAME_MAX (3 * IFNAMSIZ + sizeof("-return"))

static const struct direction {
	const char *suffix;
	enum datapath_prog prog;
	enum tcx_hook tcx;
	enum bpf_tc_attach_point clsact;
	uint32_t handle;
} directions[] = {
	{ "-from", DATAPATH_PROG_FROM_CLIENT, TCX_INGRESS, BPF_TC_INGRESS, CLSACT_HANDLE },
	{ "-to", DATAPATH_PROG_TO_CLIENT, TCX_EGRESS, BPF_TC_EGRESS, CLSACT_HANDLE },
	{ "-return", DATAPATH_PROG_FROM_POD, TCX_INGRESS, BPF_TC_INGRESS, CLSACT_HANDLE + 1 },
};

static const char *const mode_name[ATTACH_MODE_MAX] = {
	[ATTACH_AUTO] = "auto",
	[ATTACH_TCX] = "tcx",
	[ATTACH_CLSACT] = "clsact",
};

int attach_mode_parse(const char *text, enum attach_mode *ret_mode)
{
	for (int i = 0; i < ATTACH_MODE_MAX; i++) {
		if (strcmp(text, mode_name[i]))
			continue;
		*ret_mode = i;
		return 0;
	}
	return -EINVAL;
}

void datapath_set_attach_mode(struct datapath *datapath, enum attach_mode mode)
{
	datapath->attach_mode = mode;
}

/* ---- names of pins ---- */

static void pin_name(const char *ifname, const struct direction *direction, char name[PIN_NAME_MAX])
{
	char *out = name;

	for (; *ifname; ifname++) {
		if (*ifname == '.' || *ifname == '%')
			out += sprintf(out, "%%%02x", (unsigned int)*ifname);
		else
			*out++ = *ifname;
	}
	strcpy(out, direction->suffix);
}

/* The other way round. NULL: not a pin of ours. */
static const struct direction *parse_pin_name(const char *name, char ret_ifname[IFNAMSIZ])
{
	const struct direction *direction = NULL;
	size_t length = strlen(name), n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		size_t suffix = strlen(directions[i].suffix);

		if (length > suffix && !strcmp(name + length - suffix, directions[i].suffix)) {
			direction = &directions[i];
			length -= suffix;
			break;
		}
	}
	for (size_t i = 0; direction && i < length; i++) {
		unsigned int c = (unsigned char)name[i];

		if (c == '%' && i + 2 < length && sscanf(name + i + 1, "%2x", &c) == 1)
			i += 2;
		if (n == IFNAMSIZ - 1)
			return NULL;
		ret_ifname[n++] = c;
	}
	ret_ifname[n] = '\0';
	return direction;
}

static char *link_path(const char *pin_dir, const char *ifname, const struct direction *direction)
{
	char name[PIN_NAME_MAX];

	pin_name(ifname, direction, name);
	return pins_path(pin_dir, "link/", name);
}

/* What is pinned at path. -ENOENT: nothing. The descriptor is the caller's. */
static int open_pin(const char *path, struct bpfsys_info *ret_info)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	int r;

	if (fd < 0)
		return -errno;
	r = bpfsys_info(fd, ret_info);
	return r ? r : TAKE_FD(fd);
}

static int detach_clsact(const struct direction *direction, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = direction->clsact);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = direction->handle, .priority = CLSACT_PRIORITY);
	int r;

	bpfsys_quiet(true); /* not there: fine */
	r = bpf_tc_detach(&hook, &opts);
	bpfsys_quiet(false);
	return r == -ENOENT || r == -EINVAL || r == -ENODEV ? 0 : r;
}

/* ---- tcx ---- */

/* Detaches the tcx link that is pinned there, if any, now: unpinning alone ends it only when the kernel gets to it. */
static int end_link(const char *path)
{
	_cleanup_close_ int fd = -1;
	struct bpfsys_info info;

	fd = open_pin(path, &info);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	return info.tcx && bpf_link_detach(fd) && errno != ENOLINK ? -errno : 0;
}

/*
 * The pin's name is taken by a link to an interface of another number: a new interface has an old one's name. If the old one is gone the pin goes;
 * if it was renamed, its pin follows it.
 */
static int clear_name(const char *pin_dir, const char *path, const struct direction *direction, uint32_t old_ifindex)
{
	char ifname[IFNAMSIZ];

	if (old_ifindex && if_indextoname(old_ifindex, ifname)) {
		_cleanup_free_ char *right = link_path(pin_dir, ifname, direction);

		if (!right)
			return -ENOMEM;
		return rename(path, right) ? -errno : 0;
	}
	return unlink(path) ? -errno : 0;
}

/* The link of an interface that was renamed after it was attached gets its new name. */
static int adopt_link(const char *pin_dir, const char *path, const struct direction *direction, uint32_t ifindex)
{
	char **names;
	size_t count;
	int r;

	r = pins_list(pin_dir, "link", &names, &count);
	if (r)
		return r;
	r = -EEXIST;
	for (size_t i = 0; i < count && r == -EEXIST; i++) {
		_cleanup_free_ char *old = pins_path(pin_dir, "link/", names[i]);
		_cleanup_close_ int fd = -1;
		struct bpfsys_info info;
		char ifname[IFNAMSIZ];

		if (!old || parse_pin_name(names[i], ifname) != direction)
			continue;
		fd = open_pin(old, &info);
		if (fd >= 0 && info.tcx && info.ifindex == ifindex)
			r = rename(old, path) ? -errno : 0;
	}
	pins_free_list(&names, count);
	return r;
}

/* Renews the link that is pinned there. -ENOENT: none for this interface (any more). ret_clsact: the pin says that a clsact filter is there. */
static int update_link(struct datapath *datapath, const char *path, const struct direction *direction, uint32_t ifindex, bool *ret_clsact)
{
	_cleanup_close_ int fd = -1;
	struct bpfsys_info info;
	int r;

	fd = open_pin(path, &info);
	if (fd < 0)
		return fd;
	if (!info.tcx) {
		*ret_clsact = true;
		return -ENOENT;
	}
	if (info.ifindex != ifindex) {
		r = clear_name(datapath->pin_dir, path, direction, info.ifindex);
		return r ? r : -ENOENT;
	}
	return bpf_link_update(fd, datapath->prog[direction->prog], NULL) ? -errno : 0;
}

static int attach_tcx(struct datapath *datapath, const char *path, const struct direction *direction, uint32_t ifindex)
{
	_cleanup_close_ int fd = -1;
	bool clsact = false;
	int r;

	r = update_link(datapath, path, direction, ifindex, &clsact);
	if (r != -ENOENT && r != -ENOLINK)
		return r;
	fd = tcx_link_create(datapath->prog[direction->prog], ifindex, direction->tcx);
	if (fd == -EEXIST)
		return adopt_link(datapath->pin_dir, path, direction, ifindex);
	if (fd < 0)
		return fd;
	r = pins_replace(fd, path);
	if (r || !clsact)
		return r;
	/* An earlier run had --attach clsact. While both are there a packet meets the filter with addresses that are not ours any more: it passes. */
	return detach_clsact(direction, ifindex);
}

/* ---- clsact ---- */

static int attach_clsact(struct datapath *datapath, const char *path, const struct direction *direction, uint32_t ifindex)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = direction->clsact);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = direction->handle, .priority = CLSACT_PRIORITY, .prog_fd = datapath->prog[direction->prog],
		    .flags = BPF_TC_F_REPLACE);
	int r;

	bpfsys_quiet(true); /* the other direction, or somebody else, made the qdisc already: fine */
	r = bpf_tc_hook_create(&hook);
	bpfsys_quiet(false);
	if (r && r != -EEXIST)
		return r;
	r = bpf_tc_attach(&hook, &opts);
	if (r)
		return r;
	r = end_link(path); /* from a run that had tcx: as above */
	return r ? r : pins_replace(datapath->prog[direction->prog], path);
}

bool datapath_attach_needs_net_admin(const struct datapath *datapath)
{
	int fd;

	if (datapath->attach_mode != ATTACH_AUTO)
		return datapath->attach_mode == ATTACH_CLSACT;
	/* No interface has this number: a kernel with tcx says ENODEV, one without does not know the attach type. */
	fd = tcx_link_create(datapath->prog[DATAPATH_PROG_FROM_CLIENT], UINT32_MAX >> 1, TCX_INGRESS);
	cleanup_close(&fd);
	return fd != -ENODEV;
}

/* ---- public ---- */

static int check_ethernet(const char *ifname)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {};

	if (fd < 0)
		return -errno;
	strncpy(request.ifr_name, ifname, sizeof(request.ifr_name) - 1);
	if (ioctl(fd, SIOCGIFHWADDR, &request))
		return -errno;
	return request.ifr_hwaddr.sa_family == ARPHRD_ETHER ? 0 : -EOPNOTSUPP;
}

static int remove_one(void *data, const char *path, const char *ifname, const struct direction *direction)
{
	_cleanup_close_ int fd = -1;
	struct bpfsys_info info;
	uint32_t ifindex;
	int r;

	(void)data;
	fd = open_pin(path, &info);
	ifindex = if_nametoindex(ifname);
	if (fd >= 0 && !info.tcx && ifindex) {
		r = detach_clsact(direction, ifindex);
		if (r)
			return log_err(r, "cannot detach from %s", ifname);
		r = netlink_remove_empty_clsact(ifindex);
		if (r)
			log_warn("%s keeps an empty clsact qdisc: %s", ifname, strerror(-r));
	}
	r = end_link(path);
	if (r)
		return log_err(r, "cannot detach from %s", ifname);
	return unlink(path) ? log_err(-errno, "cannot remove %s", path) : 0;
}

static int attach_direction(struct datapath *datapath, const char *ifname, const struct direction *direction, uint32_t ifindex)
{
	_cleanup_free_ char *path = link_path(datapath->pin_dir, ifname, direction);
	int r = -EINVAL;

	if (!path)
		return -ENOMEM;
	if (datapath->attach_mode != ATTACH_CLSACT)
		r = attach_tcx(datapath, path, direction, ifindex);
	if (datapath->attach_mode == ATTACH_TCX || (r != -EINVAL && datapath->attach_mode == ATTACH_AUTO))
		return r;
	return attach_clsact(datapath, path, direction, ifindex);
}

static int detach_direction(struct datapath *datapath, const char *ifname, const struct direction *direction)
{
	_cleanup_free_ char *path = link_path(datapath->pin_dir, ifname, direction);

	if (!path)
		return -ENOMEM;
	return access(path, F_OK) ? 0 : remove_one(NULL, path, ifname, direction);
}

bool attach_has(const char *pin_dir, const char *ifname)
{
	_cleanup_free_ char *path = link_path(pin_dir, ifname, &directions[0]);

	return path && !access(path, F_OK);
}

int datapath_attach(struct datapath *datapath, const char *ifname, bool returns)
{
	uint32_t ifindex = if_nametoindex(ifname);
	int r;

	if (!ifindex)
		return log_refuse(-ENODEV, "attach %s: no such interface in this network namespace", ifname);
	r = check_ethernet(ifname);
	if (r == -EOPNOTSUPP)
		return log_refuse(r, "attach %s: not an Ethernet interface; shunt reads Ethernet frames only", ifname);
	for (size_t i = 0; i < ARRAY_SIZE(directions) && !r; i++) {
		if (directions[i].prog != DATAPATH_PROG_FROM_POD || returns)
			r = attach_direction(datapath, ifname, &directions[i], ifindex);
		else
			r = detach_direction(datapath, ifname, &directions[i]);
	}
	if (r == -EPERM)
		return log_refuse(r, "attach %s: clsact (%s) needs CAP_NET_ADMIN", ifname,
			       datapath->attach_mode == ATTACH_CLSACT ? "asked for with --attach" : "this kernel has no tcx");
	if (r == -EINVAL && datapath->attach_mode == ATTACH_TCX)
		return log_refuse(r, "attach %s: this kernel has no tcx (Linux 6.6 does); use --attach auto", ifname);
	return r ? log_err(r, "attach %s", ifname) : 0;
}

int datapath_detach(struct datapath *datapath, const char *ifname)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(directions) && !r; i++)
		r = detach_direction(datapath, ifname, &directions[i]);
	return r;
}

int datapath_forget(struct datapath *datapath, const char *ifname)
{
	char name[IFNAMSIZ];

	for (size_t i = 0; i < ARRAY_SIZE(directions); i++) {
		_cleanup_free_ char *path = link_path(datapath->pin_dir, ifname, &directions[i]);
		_cleanup_close_ int fd = -1;
		struct bpfsys_info info;

		if (!path)
			return -ENOMEM;
		fd = open_pin(path, &info);
		if (fd < 0 || (info.tcx ? info.ifindex && if_indextoname(info.ifindex, name) : if_nametoindex(ifname)))
			continue;
		/* An interface that was moved to another namespace took the link with it. */
		if (info.tcx && bpf_link_detach(fd) && errno != ENOLINK)
			return -errno;
		if (unlink(path))
			return -errno;
	}
	return 0;
}

/* Calls f with each pin of ours under link/. The first error ends it. */
static int for_each_pin(const char *pin_dir,
			int (*f)(void *data, const char *path, const char *ifname, const struct direction *direction), void *data)
{
	char **names;
	size_t count;
	int r;

	r = pins_list(pin_dir, "link", &names, &count);
	if (r)
		return r;
	for (size_t i = 0; i < count && !r; i++) {
		_cleanup_free_ char *path = pins_path(pin_dir, "link/", names[i]);
		char ifname[IFNAMSIZ];
		const struct direction *direction = parse_pin_name(names[i], ifname);

		if (!path)
			r = -ENOMEM;
		else if (direction)
			r = f(data, path, ifname, direction);
	}
	pins_free_list(&names, count);
	return r;
}

static int renew(void *data, const char *path, const char *ifname, const struct direction *direction)
{
	struct datapath *datapath = data;
	_cleanup_close_ int fd = -1;
	struct bpfsys_info info;
	uint32_t ifindex;

	fd = open_pin(path, &info);
	if (fd < 0)
		return log_err(fd, "cannot open %s", path);
	ifindex = info.tcx ? info.ifindex : if_nametoindex(ifname);
	if (!ifindex) {
		log_debug("interface %s is gone: its attachment too", ifname);
		return unlink(path) ? log_err(-errno, "cannot remove %s", path) : 0;
	}
	if (!info.tcx)
		return attach_clsact(datapath, path, direction, ifindex);
	return bpf_link_update(fd, datapath->prog[direction->prog], NULL) && errno != ENOLINK ? log_err(-errno, "cannot renew %s", path) : 0;
}

int attach_renew(struct datapath *datapath)
{
	/* For some microseconds an interface has the new program in one direction and the old one in the other. Both work on the same maps under the
	 * same schema, so that a packet may meet either. */
	return for_each_pin(datapath->pin_dir, renew, datapath);
}

int attach_remove_all(const char *pin_dir)
{
	return for_each_pin(pin_dir, remove_one, NULL);
}

struct attachment_list {
	struct attachment *items;
	size_t count;
};

/* An interface counts once, by its ingress pin: the pins come in order, "from" before "return" and "to". */
static int append_attachment(void *data, const char *path, const char *ifname, const struct direction *direction)
{
	struct attachment_list *list = data;
	_cleanup_close_ int fd = -1;
	struct bpfsys_info info;
	struct attachment *longer;

	if (direction->prog == DATAPATH_PROG_FROM_POD && list->count)
		list->items[list->count - 1].returns = true;
	if (direction->prog != DATAPATH_PROG_FROM_CLIENT)
		return 0;
	fd = open_pin(path, &info);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd; /* gone since it was listed */
	longer = realloc(list->items, (list->count + 1) * sizeof(*longer));
	if (!longer)
		return -ENOMEM;
	list->items = longer;
	longer += list->count++;
	*longer = (struct attachment){ .ifindex = info.tcx ? info.ifindex : if_nametoindex(ifname), .tcx = info.tcx };
	if (!longer->ifindex || !if_indextoname(longer->ifindex, longer->ifname))
		strcpy(longer->ifname, ifname);
	return 0;
}

int datapath_read_attachments(struct datapath *datapath, struct attachment **ret_attachments, size_t *ret_count)
{
	struct attachment_list list = {};
	int r;

	r = for_each_pin(datapath->pin_dir, append_attachment, &list);
	if (r) {
		free(list.items);
		return r;
	}
	for (size_t i = 0; i < list.count; i++)
		bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_PLACE], &list.items[i].ifindex, &list.items[i].place); /* none: stays zero */
	*ret_attachments = list.items;
	*ret_count = list.count;
	return 0;
}

/* ---- places ---- */

int datapath_set_places(struct datapath *datapath, const struct datapath_place *places, size_t count)
{
	int fd = datapath->map[DATAPATH_MAP_PLACE];
	uint32_t stale[SHUNT_PLACES], key, *before = NULL;
	size_t stale_count = 0;

	for (size_t i = 0; i < count; i++)
		if (bpf_map_update_elem(fd, &places[i].ifindex, &places[i].place, BPF_ANY))
			return log_err(-errno, "cannot write shunt_place, which has room for %d interfaces", SHUNT_PLACES);
	while (stale_count < SHUNT_PLACES && !bpf_map_get_next_key(fd, before, &key)) {
		stale[stale_count] = key;
		before = &stale[stale_count++];
	}
	for (size_t i = 0; i < stale_count; i++) {
		bool used = false;

		for (size_t j = 0; j < count; j++)
			used |= places[j].ifindex == stale[i];
		if (!used && bpf_map_delete_elem(fd, &stale[i]) && errno != ENOENT)
			return log_err(-errno, "cannot write shunt_place");
	}
	return 0;
}
