/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "salt.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define HEX (2 * SALT_BYTES)

/* 32 hexadecimal digits and a newline. */
static int parse(const char *text, size_t length, uint8_t ret_key[SALT_BYTES])
{
	if (length != HEX + 1 || text[HEX] != '\n' || strspn(text, "0123456789abcdef") != HEX)
		return -EBADMSG;
	for (int i = 0; i < SALT_BYTES; i++)
		sscanf(text + 2 * i, "%2hhx", &ret_key[i]);
	return 0;
}

static int write_key(const char *path, const uint8_t key[SALT_BYTES])
{
	_cleanup_free_ char *fresh = text_printf("%s.%d", path, getpid());
	_cleanup_close_ int fd = -1;
	char text[HEX + 2];
	int r = 0;

	if (!fresh)
		return -ENOMEM;
	for (int i = 0; i < SALT_BYTES; i++)
		sprintf(text + 2 * i, "%02x", key[i]);
	text[HEX] = '\n';
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	/* On disk before it has its name: after a power cut there is this key or none, and with none nobody was steered by it for long. */
	if (write(fd, text, HEX + 1) != HEX + 1 || fsync(fd) || rename(fresh, path)) {
		r = errno ? -errno : -EIO;
		unlink(fresh);
	}
	return r;
}

int salt_load(const char *dir, uint8_t ret_key[SALT_BYTES])
{
	_cleanup_free_ char *path = text_printf("%s/%s", dir, SALT_FILE);
	_cleanup_close_ int fd = -1;
	uint8_t key[SALT_BYTES];
	char text[HEX + 2];
	ssize_t n;
	int r;

	if (!path)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return log_err(-errno, "cannot open %s", path);
	if (fd >= 0) {
		n = read(fd, text, sizeof(text));
		if (n < 0)
			return log_err(-errno, "cannot read %s", path);
		if (!parse(text, n, ret_key))
			return 0;
		log_err(0, "%s is no salt (%d hexadecimal digits and a newline): put the right one back; without it users change their version", path, HEX);
		return -EBADMSG;
	}
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return log_err(-errno, "no random bytes for %s", path);
	r = write_key(path, key);
	if (r)
		return log_err(r, "cannot write %s, which keeps users at their version over restarts; the folder must be writable", path);
	memcpy(ret_key, key, sizeof(key));
	return 0;
}
