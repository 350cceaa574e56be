/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A second reader of HTTP/1.x heads, for tests: byte by byte and line by line, with the C library's means. It knows the decisions that shunt/http.h
 * documents and nothing of how that one takes them, so where the two differ one is wrong. The unit test compares them on mutated heads, the fuzzer
 * (tests/fuzz/http.c) on anything.
 */
#ifndef SHUNT_TEST_HTTP_READER_H
#define SHUNT_TEST_HTTP_READER_H

#include <stdbool.h>
#include <stdint.h>

#include "shunt/http.h"

#define HTTP_WHY_MAX 256

/*
 * Whether scanner and reader say different things of buf->b[off, off + len); off + len <= HTTP_HEAD_MAX. `id` is what holds the user id; its name is
 * shorter than SHUNT_NAME_MAX. ret_why then says what they differ in.
 */
bool http_readings_differ_request(const struct http_buf *buf, uint32_t off, uint32_t len, const struct http_name *id,
				  char ret_why[HTTP_WHY_MAX]);
bool http_readings_differ_response(const struct http_buf *buf, uint32_t off, uint32_t len, char ret_why[HTTP_WHY_MAX]);

/* The same of a chunked body: where it ends, that it goes on, or that it is none. */
bool http_readings_differ_chunks(const char *body, size_t len, char ret_why[HTTP_WHY_MAX]);

#endif
