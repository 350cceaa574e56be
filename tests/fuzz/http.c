/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Any bytes as a head: the scanner that the kernel programs use and the byte-wise reader must say the same (libFuzzer).
 *
 * An input is a byte that says where the head lies and of which kind it is, a byte that fills the buffer around it, and the head:
 *     bit 0 of the first: a response, else a request     bits 1, 2: at 0; at 7; at 1000; at the buffer's very end
 *     bits 3, 6: the user is known by the header userhash; by the cookie uid; by the parameter uid; by the client address
 *     bit 7: no head but a chunked body
 * so "0" begins a request at 0, "7" a response at the end, "8" a request with a cookie and "p" one with a parameter, both at 0.
 */
#include "shunt/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/http_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static uint32_t place_of(uint8_t how, size_t len)
{
	static const uint32_t places[] = { 0, 7, 1000 };
	uint32_t room = HTTP_HEAD_MAX - len, at = how >> 1 & 3;

	return at == 3 || places[at] > room ? room : places[at];
}

static const struct http_name *known_by(uint8_t how)
{
	static const struct http_name names[] = {
		{ .kind = SHUNT_ID_HEADER, .s = "userhash" },
		{ .kind = SHUNT_ID_COOKIE, .s = "uid" },
		{ .kind = SHUNT_ID_QUERY, .s = "uid" },
		{ .kind = SHUNT_ID_CLIENT },
	};

	return &names[(how >> 3 & 1) | (how >> 5 & 2)];
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	static struct http_buf buf;
	char why[HTTP_WHY_MAX];
	uint32_t off, len;
	bool differ;

	if (size < 2 || size - 2 > HTTP_HEAD_MAX)
		return -1;
	len = size - 2;
	off = place_of(input[0], len);
	memset(buf.b, input[1], sizeof(buf.b));
	memcpy(buf.b + off, input + 2, len);
	if (input[0] & 0x80)
		differ = http_readings_differ_chunks((const char *)input + 2, len, why);
	else
		differ = input[0] & 1 ? http_readings_differ_response(&buf, off, len, why) :
				http_readings_differ_request(&buf, off, len, known_by(input[0]), why);
	if (differ) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	return 0;
}
