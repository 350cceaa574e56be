/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Loading: from the BPF object that is linked into this binary to pinned maps and programs.
 *
 *     capabilities? ─▶ pin directory, lock ─▶ maps: taken over where pinned, else made ─▶ verifier ─▶ pin programs ─▶ renew attachments
 *
 * The live programs of an earlier agent run on until the last step, and the new ones work on the very same maps: a restart or an upgrade is not
 * visible to a connection. Any failure before the last step leaves everything as it was.
 *
 * The object has no CO-RE relocations (see bpf/trim_vmlinux.py), so a kernel without BTF loads it as well. The least kernel is 6.0
 * (bpf_tcp_raw_gen_syncookie_ipv4); since 5.19 a process that has our descriptors needs no capability to use them, which the agent relies on.
 */
#include "datapath/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>

#include "datapath/bpfsys.h"
#include "datapath/host.h"
#include "shunt.skel.h"
#include "util/cleanup.h"
#include "util/log.h"

#define VERIFIER_LOG_SIZE (16u << 20) /* virtual; pages come as the verifier writes */
#define VERIFIER_LINES 20             /* of its end, on the terminal */

/* ---- what a person can do about a failure ---- */

/* Why each is needed stands in deploy/: CAP_BPF makes maps and loads, CAP_NET_ADMIN loads tc programs, CAP_PERFMON lets them scan by pointer. */
static int check_capabilities(void)
{
	static const struct {
		unsigned int capability;
		const char *name;
	} needed[] = { { CAP_BPF, "CAP_BPF" }, { CAP_NET_ADMIN, "CAP_NET_ADMIN" }, { CAP_PERFMON, "CAP_PERFMON" } };
	char missing[64] = "";

	if (capng_get_caps_process())
		return log_err(-errno, "cannot read this process's capabilities");
	/* The kernel takes CAP_SYS_ADMIN for each of them (include/linux/capability.h: bpf_capable, perfmon_capable; kernel/bpf/syscall.c). */
	if (capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, needed[i].capability))
			continue;
		if (missing[0])
			strcat(missing, ", ");
		strcat(missing, needed[i].name);
	}
	if (!missing[0])
		return 0;
	return log_refuse(-EPERM, "loading BPF programs needs %s, which this process does not have: run as root, or with the missing capabilities", missing);
}

/* The whole log in a file, its end on the terminal. */
static void show_verifier_log(const char *log)
{
	static const char path[] = "/tmp/shunt-verifier.log"; /* one: an agent that is started again and again must not fill the disk */
	_cleanup_close_ int fd = -1;
	const char *end = log + strlen(log);
	int lines = 0;

	if (end == log)
		return;
	unlink(path); /* and then O_EXCL: nobody can have laid a link there */
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, log, end - log) != end - log)
		log_warn("cannot write the verifier's log to %s: %s", path, strerror(errno));
	else
		log_msg(LOG_ERR, "the verifier's whole log is in %s; its end:", path);

	while (end > log && lines <= VERIFIER_LINES)
		if (*--end == '\n')
			lines++;
	for (const char *line = *end == '\n' ? end + 1 : end; *line; line += strcspn(line, "\n"), line += *line == '\n')
		log_msg(LOG_ERR, "    %.*s", (int)strcspn(line, "\n"), line);
}

static int explain_load_error(int r, const char *log)
{
	switch (-r) {
	case EPERM:
		return log_err(r, "the kernel refuses BPF although the capabilities are there: a container's seccomp or AppArmor profile, a user namespace, or kernel lockdown; see the system log");
	case ENOMEM:
		return log_err(r, "not enough memory for the maps (about 490 MB by default, see --flows, --users and --holds; a container's limit counts)");
	case EACCES:
	case EINVAL:
	case ENOSPC:
	case E2BIG:
		show_verifier_log(log);
		return log_err(r, "this kernel's verifier refuses the programs; shunt needs Linux 6.0 or newer");
	default:
		return log_err(r, "cannot load the BPF programs");
	}
}

/* ---- maps that are there already ---- */

/* libbpf would refuse a pinned map of another shape too, but it does not say what to do. */
static int check_layout(const char *path, const struct bpf_map *map)
{
	_cleanup_close_ int fd = bpf_obj_get(path);
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (fd < 0)
		return errno == ENOENT ? 0 : log_err(-errno, "cannot open %s", path);
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return log_err(-errno, "cannot read what %s is", path);
	if (info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) && info.value_size == bpf_map__value_size(map) &&
	    info.max_entries == bpf_map__max_entries(map) && info.map_flags == bpf_map__map_flags(map))
		return 0;
	return log_refuse(-EPROTO,
		       "%s is of another shunt: type %u, key %u, value %u bytes, %u entries; this one has type %u, key %u, value %u bytes, %u entries. Run the shunt that made it, or begin anew with `shunt unload` (its connections break)",
		       path, info.type, info.key_size, info.value_size, info.max_entries, bpf_map__type(map), bpf_map__key_size(map),
		       bpf_map__value_size(map), bpf_map__max_entries(map));
}

/* Some sizes are chosen: by whoever makes the pin. wish: 0 is the size that the object has; factor: entries for one. */
static int size_map(const char *pin_dir, struct bpf_map *map, uint32_t wish, uint32_t factor, const char *option)
{
	_cleanup_free_ char *path = pins_path(pin_dir, "", bpf_map__name(map));
	_cleanup_close_ int fd = path ? bpf_obj_get(path) : -1;
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (!path)
		return -ENOMEM;
	if (fd < 0) /* not made yet; any other trouble is check_layout()'s to tell */
		return wish ? bpf_map__set_max_entries(map, wish * factor) : 0;
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return log_err(-errno, "cannot read what %s is", path);
	if (wish && wish * factor != info.max_entries && factor == 1)
		log_warn("%s was made for %u and stays so; %s %u is for after a `shunt unload`", path, info.max_entries, option, wish);
	return bpf_map__set_max_entries(map, info.max_entries);
}

static int size_maps(const char *pin_dir, struct shunt_bpf *skeleton, const struct datapath_wishes *wishes)
{
	int r;

	r = size_map(pin_dir, skeleton->maps.shunt_user, wishes->users, 1, "--users");
	if (!r)
		r = size_map(pin_dir, skeleton->maps.shunt_flow, wishes->flows, 1, "--flows");
	if (!r)
		r = size_map(pin_dir, skeleton->maps.shunt_leg, wishes->flows, 2, "--flows");
	if (!r)
		r = size_map(pin_dir, skeleton->maps.shunt_hold, wishes->holds, 1, "--holds");
	skeleton->rodata->hold_count = bpf_map__max_entries(skeleton->maps.shunt_hold);
	return r;
}

static int check_pinned_meta(const char *pin_dir)
{
	_cleanup_free_ char *path = pins_path(pin_dir, "", datapath_map_info[DATAPATH_MAP_META].name);
	_cleanup_close_ int fd = -1;

	if (!path)
		return -ENOMEM;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : log_err(-errno, "cannot open %s", path);
	return pins_check_meta(pin_dir, fd);
}

/* ---- loading ---- */

/* Every map that outlives the agent gets its pin's path; libbpf takes over what is pinned there and pins what is not. */
static int set_pin_paths(struct bpf_object *object, const char *pin_dir)
{
	int r;

	r = check_pinned_meta(pin_dir);
	if (r)
		return r;
	for (int i = 0; i < DATAPATH_MAP_MAX; i++) {
		_cleanup_free_ char *path = pins_path(pin_dir, "", datapath_map_info[i].name);
		struct bpf_map *map = bpf_object__find_map_by_name(object, datapath_map_info[i].name);

		if (!path)
			return -ENOMEM;
		if (!map)
			return log_refuse(-ENOENT, "map %s is not in the BPF object: a defect of this build", datapath_map_info[i].name);
		r = check_layout(path, map);
		if (r)
			return r;
		r = bpf_map__set_pin_path(map, path);
		if (r)
			return r;
	}
	return 0;
}

static int dup_cloexec(int fd)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

/* Our own descriptors, so that the object with its copy of everything can go. */
static int take_descriptors(struct datapath *datapath, struct bpf_object *object)
{
	for (int i = 0; i < DATAPATH_MAP_MAX; i++) {
		datapath->map[i] = dup_cloexec(bpf_object__find_map_fd_by_name(object, datapath_map_info[i].name));
		if (datapath->map[i] < 0)
			return datapath->map[i];
	}
	for (int i = 0; i < DATAPATH_PROG_MAX; i++) {
		struct bpf_program *program = bpf_object__find_program_by_name(object, datapath_prog_name[i]);

		if (!program)
			return log_refuse(-ENOENT, "program %s is not in the BPF object: a defect of this build", datapath_prog_name[i]);
		datapath->prog[i] = dup_cloexec(bpf_program__fd(program));
		if (datapath->prog[i] < 0)
			return datapath->prog[i];
	}
	return 0;
}

static void destroy_skeleton(struct shunt_bpf **skeleton)
{
	shunt_bpf__destroy(*skeleton);
}

static bool taken_over(const char *pin_dir)
{
	_cleanup_free_ char *path = pins_path(pin_dir, "", "shunt_direct");

	return path && access(path, F_OK) == 0;
}

static int load(struct datapath *datapath, const struct datapath_wishes *wishes)
{
	_cleanup_free_ char *log = malloc(VERIFIER_LOG_SIZE);
	_cleanup_(destroy_skeleton) struct shunt_bpf *skeleton = NULL;
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = log, .kernel_log_size = VERIFIER_LOG_SIZE);
	int r;

	if (!log)
		return -ENOMEM;
	*log = '\0';
	skeleton = shunt_bpf__open_opts(&opts);
	if (!skeleton)
		return log_err(-errno, "cannot read the BPF object: a defect of this build");
	r = size_maps(datapath->pin_dir, skeleton, wishes);
	if (!r)
		r = set_pin_paths(skeleton->obj, datapath->pin_dir);
	if (r)
		return r;
	/* An earlier load may have moved a client's own connection, which lives on in shunt_direct. */
	skeleton->bss->direct_moved = taken_over(datapath->pin_dir);
	r = bpf_object__load(skeleton->obj);
	if (r)
		return explain_load_error(r, log);
	return take_descriptors(datapath, skeleton->obj);
}

static int write_meta(struct datapath *datapath, const struct datapath_wishes *wishes)
{
	struct shunt_meta meta;
	uint32_t zero = 0;

	if (bpf_map_lookup_elem(datapath->map[DATAPATH_MAP_META], &zero, &meta))
		return log_err(-errno, "cannot read %s/shunt_meta", datapath->pin_dir);
	if (!meta.magic)
		meta = (struct shunt_meta){ .magic = SHUNT_MAGIC, .schema = SHUNT_SCHEMA };
	meta.pod_deadline_ms = wishes->pod_deadline_ms;
	meta.quiet_ms = wishes->quiet_ms;
	if (bpf_map_update_elem(datapath->map[DATAPATH_MAP_META], &zero, &meta, BPF_ANY))
		return log_err(-errno, "cannot write %s/shunt_meta", datapath->pin_dir);
	return 0;
}

static int pin_programs(struct datapath *datapath)
{
	int r;

	for (int i = 0; i < DATAPATH_PROG_MAX; i++) {
		_cleanup_free_ char *path = pins_path(datapath->pin_dir, "prog/", datapath_prog_name[i]);

		r = path ? pins_replace(datapath->prog[i], path) : -ENOMEM;
		if (r)
			return log_err(r, "cannot pin %s under %s/prog", datapath_prog_name[i], datapath->pin_dir);
	}
	return 0;
}

/* ---- public ---- */

static struct datapath *new_datapath(const char *pin_dir)
{
	struct datapath *datapath = calloc(1, sizeof(*datapath));

	if (!datapath)
		return NULL;
	datapath->lock = -1;
	for (int i = 0; i < DATAPATH_MAP_MAX; i++)
		datapath->map[i] = -1;
	for (int i = 0; i < DATAPATH_PROG_MAX; i++)
		datapath->prog[i] = -1;
	datapath->pin_dir = strdup(pin_dir);
	if (!datapath->pin_dir)
		datapath_close(&datapath);
	return datapath;
}

void datapath_close(struct datapath **datapath)
{
	struct datapath *d = *datapath;

	if (!d)
		return;
	for (int i = 0; i < DATAPATH_MAP_MAX; i++)
		cleanup_close(&d->map[i]);
	for (int i = 0; i < DATAPATH_PROG_MAX; i++)
		cleanup_close(&d->prog[i]);
	cleanup_close(&d->lock);
	free(d->pin_dir);
	free(d);
	*datapath = NULL;
}

int datapath_open(const char *pin_dir, const struct datapath_wishes *wishes, struct datapath **ret_datapath)
{
	_cleanup_(datapath_close) struct datapath *datapath = new_datapath(pin_dir);
	int r;

	if (!datapath)
		return -ENOMEM;
	bpfsys_log_libbpf();
	r = check_capabilities();
	if (!r)
		r = pins_prepare(pin_dir);
	if (!r)
		r = pins_lock(pin_dir, &datapath->lock);
	if (!r)
		r = load(datapath, wishes);
	if (!r)
		r = write_meta(datapath, wishes);
	if (!r)
		r = pin_programs(datapath);
	if (!r)
		r = attach_renew(datapath);
	if (r)
		return r;
	*ret_datapath = TAKE_PTR(datapath);
	return 0;
}

int datapath_host(struct datapath *datapath, bool wanted)
{
	int r;

	if (wanted)
		return host_make();
	if (!attach_has(datapath->pin_dir, HOST_IN))
		return 0;
	r = host_remove();
	return r ? r : datapath_forget(datapath, HOST_IN);
}

static int open_pinned_map(struct datapath *datapath, int i)
{
	const struct datapath_map_info *want = &datapath_map_info[i];
	_cleanup_free_ char *path = pins_path(datapath->pin_dir, "", want->name);
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info);

	if (!path)
		return -ENOMEM;
	datapath->map[i] = bpf_obj_get(path);
	if (datapath->map[i] < 0)
		return i == DATAPATH_MAP_META && errno == ENOENT ? -ENOENT : log_err(-errno, "cannot open %s", path);
	if (i == DATAPATH_MAP_META)
		return pins_check_meta(datapath->pin_dir, datapath->map[i]);
	if (bpf_obj_get_info_by_fd(datapath->map[i], &info, &size))
		return log_err(-errno, "cannot read what %s is", path);
	if (info.key_size != want->key_size || info.value_size != want->value_size)
		return log_refuse(-EPROTO, "%s has keys of %u and values of %u bytes, this shunt's have %u and %u: use the shunt that made it", path,
			       info.key_size, info.value_size, want->key_size, want->value_size);
	return 0;
}

int datapath_open_pinned(const char *pin_dir, struct datapath **ret_datapath)
{
	_cleanup_(datapath_close) struct datapath *datapath = new_datapath(pin_dir);
	int r;

	if (!datapath)
		return -ENOMEM;
	bpfsys_log_libbpf();
	for (int i = 0; i < DATAPATH_MAP_MAX; i++) {
		r = open_pinned_map(datapath, i);
		if (r)
			return r;
	}
	for (int i = 0; i < DATAPATH_PROG_MAX; i++) {
		_cleanup_free_ char *path = pins_path(pin_dir, "prog/", datapath_prog_name[i]);

		if (!path)
			return -ENOMEM;
		datapath->prog[i] = bpf_obj_get(path);
		if (datapath->prog[i] < 0)
			return log_err(-errno, "cannot open %s", path);
	}
	*ret_datapath = TAKE_PTR(datapath);
	return 0;
}

static void unlink_pin(const char *pin_dir, const char *sub, const char *name)
{
	_cleanup_free_ char *path = pins_path(pin_dir, sub, name);

	if (path && unlink(path) && errno != ENOENT)
		log_warn("cannot remove %s: %s", path, strerror(errno));
}

/* With all that is in it. */
static int remove_sub_directory(const char *pin_dir, const char *sub)
{
	_cleanup_free_ char *path = pins_path(pin_dir, "", sub);
	char **names;
	size_t count;
	int r;

	if (!path)
		return -ENOMEM;
	r = pins_list(pin_dir, sub, &names, &count);
	if (r)
		return log_err(r, "cannot list %s", path);
	for (size_t i = 0; i < count; i++)
		unlink_pin(path, "", names[i]);
	pins_free_list(&names, count);
	return rmdir(path) && errno != ENOENT ? log_err(-errno, "cannot remove %s", path) : 0;
}

int datapath_unload(const char *pin_dir)
{
	_cleanup_close_ int lock = -1;
	bool host;
	int r;

	bpfsys_log_libbpf();
	r = pins_lock(pin_dir, &lock);
	host = !r && attach_has(pin_dir, HOST_IN);
	if (!r)
		r = attach_remove_all(pin_dir);
	if (!r && host)
		r = host_remove();
	if (r)
		return r;
	for (int i = 0; i < DATAPATH_MAP_MAX; i++)
		unlink_pin(pin_dir, "", datapath_map_info[i].name);
	r = remove_sub_directory(pin_dir, "prog");
	if (!r)
		r = remove_sub_directory(pin_dir, "link");
	if (!r && rmdir(pin_dir))
		r = log_err(-errno, "cannot remove %s: something in it is not shunt's", pin_dir);
	return r;
}
