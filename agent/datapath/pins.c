/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The pin directory: where the datapath lives when no process holds it.
 *
 *     /sys/fs/bpf/shunt/            0700: who can open a program pin can attach it
 *       shunt_meta shunt_flow ...   maps
 *       prog/shunt_from_client ...  programs of the last load
 *       link/eth0-from eth0-to ...  attachments
 *
 * One writer at a time: the agent and `unload` hold flock(2) on the directory itself. The kernel ends the lock with the process, so that a killed
 * agent leaves none behind. Readers take no lock; tables.c tells them when a commit passed under them.
 */
#include "datapath/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"
#include "util/log.h"

#define BPFFS "/sys/fs/bpf"

const struct datapath_map_info datapath_map_info[DATAPATH_MAP_MAX] = {
#define X(id, name, key, value) [DATAPATH_MAP_##id] = { name, sizeof(key), sizeof(value) },
	DATAPATH_MAPS(X)
#undef X
};

const char *const datapath_prog_name[DATAPATH_PROG_MAX] = {
	[DATAPATH_PROG_FROM_CLIENT] = SHUNT_PROG_FROM_CLIENT,
	[DATAPATH_PROG_TO_CLIENT] = SHUNT_PROG_TO_CLIENT,
	[DATAPATH_PROG_FROM_POD] = SHUNT_PROG_FROM_POD,
	[DATAPATH_PROG_EXPLAIN] = SHUNT_PROG_EXPLAIN,
	[DATAPATH_PROG_SWEEP] = SHUNT_PROG_SWEEP,
	[DATAPATH_PROG_TICK] = SHUNT_PROG_TICK,
};

int pins_check_meta(const char *pin_dir, int meta_fd)
{
	struct bpf_map_info info = {};
	uint32_t size = sizeof(info), zero = 0;
	_cleanup_free_ struct shunt_meta *meta = NULL;

	if (bpf_obj_get_info_by_fd(meta_fd, &info, &size))
		return log_err(-errno, "%s/shunt_meta: cannot read what it is", pin_dir);
	meta = calloc(1, info.value_size > sizeof(*meta) ? info.value_size : sizeof(*meta));
	if (!meta)
		return -ENOMEM;
	if (info.type != BPF_MAP_TYPE_ARRAY || bpf_map_lookup_elem(meta_fd, &zero, meta))
		return log_refuse(-EPROTO, "%s/shunt_meta is no map of shunt: remove %s, or choose another directory (--pin-dir)", pin_dir, pin_dir);
	if (!meta->magic && !meta->generation)
		return 0; /* made, and its maker ended before it wrote anything */
	if (meta->magic != SHUNT_MAGIC)
		return log_refuse(-EPROTO, "%s/shunt_meta has magic %#x, shunt's is %#x: choose another directory (--pin-dir)", pin_dir, meta->magic,
			       SHUNT_MAGIC);
	if (meta->schema != SHUNT_SCHEMA || info.value_size != sizeof(*meta))
		return log_refuse(-EPROTO,
			       "%s holds maps of schema %u (%u bytes), this shunt understands %u (%zu bytes): run the shunt that made them, or begin anew with `shunt unload --pin-dir %s` (its connections break)",
			       pin_dir, meta->schema, info.value_size, SHUNT_SCHEMA, sizeof(*meta), pin_dir);
	return 0;
}

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return !statfs(path, &fs) && fs.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(void)
{
	if (is_bpffs(BPFFS))
		return 0;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME, "mode=0700"))
		return log_err(-errno, "no BPF file system at " BPFFS " and mounting one failed; as root: mount -t bpf bpf " BPFFS);
	log_info("mounted a BPF file system at " BPFFS);
	return 0;
}

/* mkdir -p for the part of the path that lies in bpffs. */
static int make_directories(const char *path)
{
	_cleanup_free_ char *copy = strdup(path);
	char *slash;

	if (!copy)
		return -ENOMEM;
	if (!mkdir(copy, 0700) || errno == EEXIST)
		return 0;
	slash = strrchr(copy, '/');
	if (errno != ENOENT || !slash || slash == copy)
		return -errno;
	*slash = '\0';
	if (make_directories(copy))
		return -errno;
	return mkdir(path, 0700) && errno != EEXIST ? -errno : 0;
}

int pins_prepare(const char *pin_dir)
{
	static const char *const sub[] = { "", "prog", "link" };
	int r;

	if (pin_dir[0] != '/')
		return log_err(0, "the pin directory must be an absolute path in a BPF file system, such as %s; found \"%s\"", DATAPATH_PIN_DIR, pin_dir);
	if (!strncmp(pin_dir, BPFFS "/", strlen(BPFFS "/"))) {
		r = mount_bpffs();
		if (r)
			return r;
	}
	for (size_t i = 0; i < ARRAY_SIZE(sub); i++) {
		_cleanup_free_ char *path = pins_path(pin_dir, "", sub[i]);

		if (!path)
			return -ENOMEM;
		r = make_directories(path);
		if (r == -EPERM)
			return log_err(r, "cannot make %s: a BPF file system takes no dots in names", path);
		if (r)
			return log_err(r, "cannot make %s", path);
		if (!is_bpffs(path))
			return log_err(0, "%s is not in a BPF file system (mount -t bpf): choose another --pin-dir, such as %s", path, DATAPATH_PIN_DIR);
	}
	return 0;
}

/* True when path is still the directory that fd has open: `unload` may have removed it while we waited. */
static bool is_same(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int pins_lock(const char *pin_dir, int *ret_fd)
{
	_cleanup_close_ int fd = -1;

	fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : log_err(-errno, "cannot open %s", pin_dir);
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno != EWOULDBLOCK)
			return log_err(-errno, "cannot lock %s", pin_dir);
		return log_refuse(-EBUSY, "another shunt works on %s: stop it first, or choose another directory (--pin-dir)", pin_dir);
	}
	if (!is_same(fd, pin_dir))
		return log_refuse(-EBUSY, "%s was removed by another shunt just now: start again", pin_dir);
	*ret_fd = TAKE_FD(fd);
	return 0;
}

char *pins_path(const char *pin_dir, const char *sub, const char *name)
{
	char *path;

	return asprintf(&path, "%s/%s%s", pin_dir, sub, name) < 0 ? NULL : path;
}

int pins_replace(int fd, const char *path)
{
	_cleanup_free_ char *fresh = NULL;
	int r;

	if (asprintf(&fresh, "%s~", path) < 0)
		return -ENOMEM;
	if (unlink(fresh) && errno != ENOENT)
		return -errno;
	if (bpf_obj_pin(fd, fresh))
		return -errno;
	if (!rename(fresh, path))
		return 0;
	r = -errno;
	unlink(fresh);
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int append_name(char ***names, size_t *count, const char *name)
{
	char **longer = realloc(*names, (*count + 1) * sizeof(char *));

	if (!longer)
		return -ENOMEM;
	*names = longer;
	longer[*count] = strdup(name);
	if (!longer[*count])
		return -ENOMEM;
	(*count)++;
	return 0;
}

static void close_directory(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int pins_list(const char *pin_dir, const char *sub, char ***ret_names, size_t *ret_count)
{
	_cleanup_free_ char *path = pins_path(pin_dir, "", sub);
	_cleanup_(close_directory) DIR *dir = path ? opendir(path) : NULL;
	char **names = NULL;
	size_t count = 0;
	struct dirent *entry;

	if (!path)
		return -ENOMEM;
	if (!dir && errno != ENOENT)
		return -errno;
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (append_name(&names, &count, entry->d_name)) {
			pins_free_list(&names, count);
			return -ENOMEM;
		}
	}
	if (count)
		qsort(names, count, sizeof(*names), by_name);
	*ret_names = names;
	*ret_count = count;
	return 0;
}

void pins_free_list(char ***names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		free((*names)[i]);
	free(*names);
	*names = NULL;
}
