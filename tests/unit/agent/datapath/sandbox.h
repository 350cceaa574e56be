/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A place to load BPF programs in: namespaces for mounts and the network that end with the test's process, and a BPF file system of its own.
 * Include it after cmocka.h. Without root, or where BPF cannot be loaded, the tests fail: that is what they are there to tell.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "datapath/internal.h"
#include "util/cleanup.h"

#define SANDBOX_USERS 1024 /* the map is made sooner so */

static char sandbox_root[] = "/tmp/shunt-test-XXXXXX";
static char sandbox_pins[sizeof(sandbox_root) + sizeof("/bpf/shunt-999")];

static inline int sandbox_begin(void **state)
{
	char bpffs[sizeof(sandbox_pins)];

	(void)state;
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || !mkdtemp(sandbox_root)) {
		print_error("namespaces of its own: %s\n", strerror(errno));
		return -1;
	}
	snprintf(bpffs, sizeof(bpffs), "%s/bpf", sandbox_root);
	snprintf(sandbox_pins, sizeof(sandbox_pins), "%s/bpf/shunt", sandbox_root);
	if (mkdir(bpffs, 0700) || mount("bpf", bpffs, "bpf", 0, NULL)) {
		print_error("a BPF file system at %s: %s\n", bpffs, strerror(errno));
		return -1;
	}
	return 0;
}

static inline int sandbox_end(void **state)
{
	char bpffs[sizeof(sandbox_pins)];

	(void)state;
	snprintf(bpffs, sizeof(bpffs), "%s/bpf", sandbox_root);
	return umount2(bpffs, MNT_DETACH) || rmdir(bpffs) || rmdir(sandbox_root);
}

/* Teardown of a test. The next one has a directory of its own: a test that failed still holds this one. */
static inline int sandbox_unload(void **state)
{
	static unsigned int used;
	int r = datapath_unload(sandbox_pins);

	(void)state;
	snprintf(sandbox_pins, sizeof(sandbox_pins), "%s/bpf/shunt-%u", sandbox_root, ++used % 1000);
	return r && r != -ENOENT;
}

static inline struct datapath *sandbox_open(void)
{
	struct datapath *datapath = NULL;

	assert_int_equal(datapath_open(sandbox_pins, &(struct datapath_wishes){ .users = SANDBOX_USERS }, &datapath), 0);
	return datapath;
}

/* Runs a command line, as `ip link add ...`; the test fails when it fails. */
__attribute__((format(printf, 1, 2))) static inline void sandbox_run(const char *format, ...)
{
	char line[256];
	va_list args;
	int status;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	status = system(line);
	if (status)
		fail_msg("%s: status %d", line, status);
}

/* Runs f in a child process. Returns what f returned (0..255); ret_stderr gets what it wrote there. */
static inline int sandbox_child(int (*f)(void), char *ret_stderr, size_t size)
{
	int status, out[2];
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	assert_int_equal(pipe(out), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		dup2(out[1], STDERR_FILENO);
		close(out[0]);
		_exit(f());
	}
	close(out[1]);
	while (n < size - 1 && (r = read(out[0], ret_stderr + n, size - 1 - n)) > 0)
		n += r;
	ret_stderr[n] = '\0';
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#endif
