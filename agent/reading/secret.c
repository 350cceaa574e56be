/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

/* The keys of a Secret object that are text. */
static int read_object(const struct secret *object, json_t *secret)
{
	const char *key;
	json_t *value;

	json_object_foreach(object->data, key, value) {
		if (json_is_string(value) && json_object_set(secret, key, value) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* From the folder, else from the manifests. */
static int find(const struct secret_source *source, const char *ns, const char *name, json_t *secret, char **ret_problem)
{
	_cleanup_free_ char *path = text_printf("%s/%s/%s", source->folder, ns, name);
	_cleanup_(cleanup_dir) DIR *dir = path ? opendir(path) : NULL;
	const struct secret *object;
	int r = path ? -errno : -ENOMEM;

	if (dir)
		return read_keys(dir, path, secret, ret_problem);
	object = r == -ENOENT && source->world && *source->world ? world_secret(*source->world, ns, name) : NULL;
	if (object)
		return read_object(object, secret);
	*ret_problem = text_printf("secret %s/%s: no folder %s with a file for each key (%s), and no Secret object of that name", ns, name, path ?: "", strerror(-r));
	return r;
}

int secret_read(const struct secret_source *source, const char *ns, const char *reference, json_t **ret_secret, char **ret_problem)
{
	const char *slash = strchr(reference, '/'), *name = slash ? slash + 1 : reference;
	_cleanup_free_ char *own_ns = slash ? strndup(reference, (size_t)(slash - reference)) : strdup(ns);
	_cleanup_json_ json_t *secret = json_object();
	int r;

	if (!secret || !own_ns)
		return -ENOMEM;
	if (!is_plain(own_ns, strlen(own_ns)) || !is_plain(name, strlen(name))) {
		*ret_problem = text_printf("spec.secret \"%s\" is no secret's name; allowed: name or namespace/name", reference);
		return -EINVAL;
	}
	r = find(source, own_ns, name, secret, ret_problem);
	if (r < 0)
		return r;
	*ret_secret = TAKE_PTR(secret);
	return 0;
}

#define LINE_HIDDEN 4 /* a line of a value of several has to have so many characters to be hidden by itself */

/* How much of the text is the value, or a line of it: what a program prints comes line by line. */
static size_t value_length(const char *text, const char *value)
{
	size_t n = strlen(value), line;

	if (strncmp(text, value, n) == 0)
		return n;
	if (!strchr(value, '\n'))
		return 0;
	for (; *value; value += line + (value[line] == '\n')) {
		line = strcspn(value, "\n");
		if (line >= LINE_HIDDEN && strncmp(text, value, line) == 0)
			return line;
	}
	return 0;
}

/* The longest value of the secret that the text begins with; 0: none. One value may be the beginning of another. */
static size_t hidden_length(const char *text, const json_t *secret)
{
	size_t longest = 0;
	const char *key;
	json_t *value;

	json_object_foreach((json_t *)secret, key, value) {
		size_t n = json_string_length(value) ? value_length(text, json_string_value(value)) : 0;

		longest = n > longest ? n : longest;
	}
	return longest;
}

char *secret_hide(const char *text, const json_t *secret)
{
	_cleanup_free_ char *hidden = NULL;
	size_t size, n;
	FILE *out = open_memstream(&hidden, &size);

	if (!out)
		return NULL;
	while (*text) {
		n = hidden_length(text, secret);
		if (n)
			fputs(SECRET_HIDDEN, out);
		else
			fputc(*text, out);
		text += n ? n : 1;
	}
	return fclose(out) == 0 ? TAKE_PTR(hidden) : NULL;
}
