/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ownership by declaration: a variable marked _cleanup_x_ is released when it goes out of scope, TAKE_PTR/TAKE_FD hand it on. With these a reader
 * can see that one function neither leaks nor frees twice without reading its callees.
 */
#ifndef SHUNT_CLEANUP_H
#define SHUNT_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <jansson.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define _cleanup_(f) __attribute__((cleanup(f)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(const int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

static inline void cleanup_json(json_t **json)
{
	json_decref(*json);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close) /* the variable starts as -1 */
#define _cleanup_file_ _cleanup_(cleanup_file)
#define _cleanup_json_ _cleanup_(cleanup_json)

#define TAKE_PTR(p)                  \
	({                           \
		__typeof__(p) t_ = (p); \
		(p) = NULL;          \
		t_;                  \
	})

#define TAKE_FD(fd)            \
	({                     \
		int t_ = (fd); \
		(fd) = -1;     \
		t_;            \
	})

#endif
