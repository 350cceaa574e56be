/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define DEPTH_MAX 64

/*
 * This thread's files are the user's until leave(): the folder is his from the beginning, and what is removed is what he could remove. The agent has
 * CAP_SETUID for its children, but neither CAP_CHOWN nor CAP_DAC_OVERRIDE. -EPERM: it may not.
 */
static int enter(const struct passwd *user)
{
	setfsgid(user->pw_gid);
	setfsuid(user->pw_uid);
	return setfsuid((uid_t)-1) == (int)user->pw_uid ? 0 : -EPERM;
}

static void leave(void)
{
	setfsuid(geteuid());
	setfsgid(getegid());
}

static bool is_ours(const char *path, uid_t user)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == user && (st.st_mode & 0077) == 0;
}

static int make(const struct passwd *user, char *path)
{
	int r = enter(user);

	if (r == 0 && !mkdtemp(path)) /* 0700 */
		r = -errno;
	leave();
	return r;
}

int scratch_open(const char *user, char **path)
{
	const struct passwd *entry = getpwnam(user);
	const char *parent = getenv("TMPDIR");
	_cleanup_free_ char *fresh = text_printf("%s/shunt-XXXXXX", parent && *parent == '/' ? parent : "/tmp");
	int r;

	if (!fresh)
		return -ENOMEM;
	if (!entry)
		return log_err(-ENOENT, "there is no user %s to make a scratch folder for", user);
	if (*path && is_ours(*path, entry->pw_uid))
		return 0;
	r = make(entry, fresh);
	if (r < 0)
		return log_err(r, "scratch folder %s cannot be made for user %s", fresh, user);
	free(*path);
	*path = TAKE_PTR(fresh);
	return 0;
}

/* By descriptors only: whoever may write in the folder could put a link in the place of a folder while a path is followed. */
static int remove_tree(int parent, const char *name, int depth)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	struct dirent *entry;
	DIR *dir;

	if (fd < 0 || depth > DEPTH_MAX)
		r = fd < 0 ? -errno : -ELOOP;
	dir = r == 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return r ? r : -ENOMEM;
	}
	while (r == 0 && (entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(dirfd(dir), entry->d_name, 0) < 0)
			r = errno == EISDIR || errno == EPERM ? remove_tree(dirfd(dir), entry->d_name, depth + 1) : -errno;
	}
	closedir(dir);
	return r < 0 ? r : unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

void scratch_remove(const char *user, char **path)
{
	const struct passwd *entry = getpwnam(user);
	_cleanup_free_ char *gone = TAKE_PTR(*path);
	int r = entry ? 0 : -ENOENT;

	if (!gone)
		return;
	if (r == 0)
		r = enter(entry);
	if (r == 0)
		r = remove_tree(AT_FDCWD, gone, 0);
	leave();
	if (r < 0 && r != -ENOENT)
		log_err(r, "scratch folder %s cannot be removed", gone);
}
