/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "util/cleanup.h"
#include "util/text.h"

#define VALUE_MAX 65536 /* bytes of one key; a Kubernetes Secret has at most 1 MiB in all */

static void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* One key's file. -EFBIG, -EISDIR for what is no value. */
static int read_value(int folder, const char *key, json_t **ret_value)
{
	_cleanup_free_ char *buf = malloc(VALUE_MAX + 1);
	_cleanup_close_ int fd = openat(folder, key, O_RDONLY | O_CLOEXEC);
	ssize_t n, size = 0;

	if (!buf)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf + size, (size_t)(VALUE_MAX + 1 - size))) > 0)
		size += n;
	if (n < 0)
		return -errno;
	if (size > VALUE_MAX)
		return -EFBIG;
	if (size > 0 && buf[size - 1] == '\n')
		size--;
	*ret_value = json_stringn(buf, (size_t)size);
	return *ret_value ? 0 : -EINVAL; /* jansson takes UTF-8 only, and so do HTTP headers at most */
}

static int read_keys(DIR *dir, const char *path, json_t *secret, char **ret_problem)
{
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		json_t *value = NULL;
		int r;

		if (entry->d_name[0] == '.') /* also the ..data links of a Kubernetes mount */
			continue;
		r = read_value(dirfd(dir), entry->d_name, &value);
		if (r < 0) {
			*ret_problem = text_printf("secret file %s/%s cannot be used: %s", path, entry->d_name, strerror(-r));
			return r;
		}
		if (json_object_set_new(secret, entry->d_name, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* A namespace or name that would leave the folder is none. */
static int is_plain(const char *name, size_t length)
{
	return length > 0 && name[0] != '.' && !memchr(name, '/', length);
}

int secret_read(const char *folder, const char *metric_ns, const char *reference, json_t **ret_secret, char **ret_problem)
{
	const char *slash = strchr(reference, '/'), *name = slash ? slash + 1 : reference, *ns = slash ? reference : metric_ns;
	size_t ns_length = slash ? (size_t)(slash - reference) : strlen(metric_ns);
	_cleanup_json_ json_t *secret = json_object();
	_cleanup_(cleanup_dir) DIR *dir = NULL;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!is_plain(ns, ns_length) || !is_plain(name, strlen(name))) {
		*ret_problem = text_printf("spec.secret \"%s\" is no secret's name; allowed: name or namespace/name", reference);
		return -EINVAL;
	}
	path = text_printf("%s/%.*s/%s", folder, (int)ns_length, ns, name);
	if (!path || !secret)
		return -ENOMEM;
	dir = opendir(path);
	if (!dir) {
		r = -errno;
		*ret_problem = text_printf("secret %s: no folder %s with a file for each key (%s)", reference, path, strerror(-r));
		return r;
	}
	r = read_keys(dir, path, secret, ret_problem);
	if (r < 0)
		return r;
	*ret_secret = TAKE_PTR(secret);
	return 0;
}
