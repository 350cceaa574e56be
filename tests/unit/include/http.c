/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The head scanner, from three sides: tables of heads and what they say; every head cut at every byte, at several places of the buffer and with
 * hostile bytes behind it; and a byte-wise reader, written from the RFC alone, that must agree on many thousand mutated heads.
 */
#include "shunt/http.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../lib/http_reader.h"
#include "util/cleanup.h"

static struct http_buf buf;

static struct http_name known_by(enum shunt_identity kind, const char *text)
{
	struct http_name name = { .kind = kind };

	memcpy(name.s, text, strlen(text));
	return name;
}

static struct http_name name_of(const char *text)
{
	return known_by(SHUNT_ID_HEADER, text);
}

/* Puts a head at `off`; all other bytes become `fill`. */
static void place(const char *head, size_t len, uint32_t off, int fill)
{
	assert_true(off + len <= HTTP_HEAD_MAX);
	memset(buf.b, fill, sizeof(buf.b));
	memcpy(buf.b + off, head, len);
}

static bool text_is(uint32_t off, uint32_t len, const char *want)
{
	return len == strlen(want) && !memcmp(buf.b + off, want, len);
}

/* ---- requests ------------------------------------------------------------------------------------------------------------------------- */

struct request_case {
	const char *sentence;
	const char *head;
	int framing;
	uint64_t length;
	const char *id, *host;
	const char *flags; /* h HEAD, 0 HTTP/1.0, c close, u upgrade, e expect */
	const char *target;
};

#define GET "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n"
#define NAME_64 "x-a-name-of-sixty-four-bytes-so-that-every-word-of-it-is-in-use-"

static const struct request_case requests[] = {
	{ "no field at all", GET "\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "curl's head", "GET /v1/m:predict HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nuserhash: 1010101010\r\n\r\n",
	  HTTP_NO_BODY, 0, "1010101010", "example.com", "", "/v1/m:predict" },
	{ "the method does not matter", "M-SEARCH * HTTP/1.1\r\nuserhash: 1\r\n\r\n", HTTP_NO_BODY, 0, "1", "", "", "*" },
	{ "the longest registered method", "UPDATEREDIRECTREF /x HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/x" },
	{ "a one-letter method", "A /x HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/x" },
	{ "HEAD is told", "HEAD / HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "h", "/" },
	{ "a method that begins with HEAD is not HEAD", "HEADER / HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "HTTP/1.0 is told", "GET / HTTP/1.0\r\n\r\n", HTTP_NO_BODY, 0, "", "", "0", "/" },
	{ "HTTP/1.9 is a later 1.1", "GET / HTTP/1.9\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "absolute form", "GET http://a/b?c=d HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "http://a/b?c=d" },
	{ "a user before the host", "GET http://u@v:w@a:1/b@c HTTP/1.1\r\nHost: d\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "http://u@v:w@a:1/b@c" },
	{ "empty lines before the request are skipped", "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "/" },
	{ "LF alone before the request", "\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_UNKNOWN, 0, "", "a", "", "/" },
	{ "LF alone ends lines, in doubt", "GET / HTTP/1.1\nHost: a\nuserhash: b\n\n", HTTP_UNKNOWN, 0, "b", "a", "", "/" },
	{ "line ends of both kinds", "GET / HTTP/1.1\nHost: a\r\nuserhash: b\n\r\n", HTTP_UNKNOWN, 0, "b", "a", "", "/" },

	{ "the name's case does not matter", GET "UserHash: aB\r\nHOST: A.b\r\n\r\n", HTTP_NO_BODY, 0, "aB", "A.b", "", "/" },
	{ "white space around the value goes", GET "userhash: \t  a b \t \r\nhost:\tx\t\r\n\r\n", HTTP_NO_BODY, 0, "a b", "x", "", "/" },
	{ "no white space is fine", GET "userhash:ab\r\nhost:x\r\n\r\n", HTTP_NO_BODY, 0, "ab", "x", "", "/" },
	{ "a blank value is empty", GET "userhash:  \t \r\nhost:\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "the first user id counts", GET "userhash: a\r\nuserhash: b\r\n\r\n", HTTP_NO_BODY, 0, "a", "", "", "/" },
	{ "also when the first is empty", GET "userhash:\r\nuserhash: b\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "a longer name is another", GET "userhash2: a\r\nuserhas: b\r\nx-userhash: c\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "white space before the colon is no name", GET "userhash : a\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "the id may hold any byte but control", GET "userhash: \xc3\xa9:,;=\"\xff\r\n\r\n", HTTP_NO_BODY, 0, "\xc3\xa9:,;=\"\xff", "", "", "/" },
	{ "a tab within the id stays", GET "userhash: a\tb\r\n\r\n", HTTP_NO_BODY, 0, "a\tb", "", "", "/" },
	{ "a folded id is its first line", GET "userhash: a\r\n b\r\n\r\n", HTTP_UNKNOWN, 0, "a", "", "", "/" },
	{ "a folded line is no field", GET "accept: a\r\n userhash: b\r\n\tcontent-length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "the id is in the target only", "GET /userhash: HTTP/1.1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/userhash:" },

	{ "the port is not of the host", GET "Host: example.com:8080\r\n\r\n", HTTP_NO_BODY, 0, "", "example.com", "", "/" },
	{ "the largest port", GET "Host: a:65535\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "/" },
	{ "six digits are no port", GET "Host: a:655350\r\n\r\n", HTTP_NO_BODY, 0, "", "a:655350", "", "/" },
	{ "an empty port goes", GET "Host: a:\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "/" },
	{ "an IPv6 literal keeps its brackets", GET "Host: [fd00::1]:80\r\n\r\n", HTTP_NO_BODY, 0, "", "[fd00::1]", "", "/" },
	{ "an IPv6 literal without port", GET "Host: [fd00::1]\r\n\r\n", HTTP_NO_BODY, 0, "", "[fd00::1]", "", "/" },
	{ "an IPv4 host", GET "Host: 10.0.0.1:8080\r\n\r\n", HTTP_NO_BODY, 0, "", "10.0.0.1", "", "/" },
	{ "the first host counts", GET "Host: a\r\nHost: b\r\n\r\n", HTTP_NO_BODY, 0, "", "a", "", "/" },

	{ "a length", POST "Content-Length: 5\r\n\r\n", HTTP_LENGTH, 5, "", "", "", "/" },
	{ "a length of 0", POST "Content-Length: 0\r\n\r\n", HTTP_LENGTH, 0, "", "", "", "/" },
	{ "the name of the length in any case", POST "cOnTeNt-LeNgTh:\t 17 \r\n\r\n", HTTP_LENGTH, 17, "", "", "", "/" },
	{ "eight digits", POST "Content-Length: 12345678\r\n\r\n", HTTP_LENGTH, 12345678, "", "", "", "/" },
	{ "nine digits", POST "Content-Length: 123456789\r\n\r\n", HTTP_LENGTH, 123456789, "", "", "", "/" },
	{ "sixteen digits", POST "Content-Length: 1234567890123456\r\n\r\n", HTTP_LENGTH, 1234567890123456, "", "", "", "/" },
	{ "leading zeros", POST "Content-Length: 0000000000000042\r\n\r\n", HTTP_LENGTH, 42, "", "", "", "/" },
	{ "equal lengths are one", POST "Content-Length: 5\r\nContent-Length: 05\r\n\r\n", HTTP_LENGTH, 5, "", "", "", "/" },
	{ "a length with GET", GET "Content-Length: 5\r\n\r\n", HTTP_UNKNOWN, 5, "", "", "", "/" },
	{ "a length with HEAD", "HEAD / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", HTTP_UNKNOWN, 5, "", "", "h", "/" },
	{ "a length of 0 with GET", GET "Content-Length: 0\r\n\r\n", HTTP_LENGTH, 0, "", "", "", "/" },
	{ "a length with DELETE", "DELETE / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", HTTP_LENGTH, 5, "", "", "", "/" },
	{ "chunked with GET", GET "Transfer-Encoding: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a method that begins with GET", "GETS / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", HTTP_LENGTH, 5, "", "", "", "/" },
	{ "other fields of content are not it", POST "Content-Lengths: 5\r\nContent-Type: 7\r\nContent-Lengt: 5\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "different lengths", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a list of lengths", POST "Content-Length: 5, 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "an empty length", POST "Content-Length:\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a signed length", POST "Content-Length: +5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a negative length", POST "Content-Length: -5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a hexadecimal length", POST "Content-Length: 0x5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a length of seventeen digits", POST "Content-Length: 12345678901234567\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a byte after the digits of nine", POST "Content-Length: 12345678:\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a high byte among digits", POST "Content-Length: 1\xb1" "2\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a blank before the colon of the length", POST "Content-Length : 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a tab before the colon of the length", POST "Content-Length\t: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a folded length", POST "Content-Length: 5\r\n 6\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a fold before the first field", POST " Content-Length: 5\r\nHost: a\r\n\r\n", HTTP_UNKNOWN, 0, "", "a", "", "/" },
	{ "a control byte before the colon of the length", POST "Content-Length\x0b: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a high byte before the colon of the length", POST "Content-Length\xa0: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a length without a colon", POST "Content-Length\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a length with _", POST "Content_Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a control byte before a name", POST "\x0b" "Content-Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a high byte before a name", POST "\xa0" "Content-Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a colon before a name", POST ":Content-Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a control byte in a value", POST "X: a\x0c" "b\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a lone CR in the head", POST "X: a\rContent-Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a lone CR before a line end", POST "X: a\r\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },

	{ "chunked", POST "Transfer-Encoding: chunked\r\n\r\n", HTTP_CHUNKED, 0, "", "", "", "/" },
	{ "chunked in any case", POST "TRANSFER-ENCODING:\t CHUNKED \r\n\r\n", HTTP_CHUNKED, 0, "", "", "", "/" },
	{ "chunked and a length", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a length and chunked", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "chunked twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "another coding", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "identity", POST "Transfer-Encoding: identity\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a coding like chunked", POST "Transfer-Encoding: chunkee\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a parameter of chunked", POST "Transfer-Encoding: chunked;a\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "an empty coding", POST "Transfer-Encoding:\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a blank before the colon of the coding", POST "Transfer-Encoding : chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a coding with _", POST "Transfer_Encoding: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a NEL before the colon of the coding", POST "Transfer-Encoding\x85: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a coding with a blank byte in front", POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a coding behind another", POST "Transfer-Encoding: chunked, identity\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a coding in quotes", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "a folded coding", POST "Transfer-Encoding:\r\n chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "/" },
	{ "chunked in HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "0", "/" },
	{ "TE is another field", POST "TE: chunked\r\nTransfer-Encodings: chunked\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },

	{ "close", GET "Connection: close\r\n\r\n", HTTP_NO_BODY, 0, "", "", "c", "/" },
	{ "close in a list", GET "Connection: keep-alive ,\tClose\t, x\r\n\r\n", HTTP_NO_BODY, 0, "", "", "c", "/" },
	{ "close without white space", GET "connection:CLOSE\r\n\r\n", HTTP_NO_BODY, 0, "", "", "c", "/" },
	{ "tokens like close", GET "Connection: closed, xclose, close-x, keep-alive\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "keep-alive", GET "Connection: Keep-Alive\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "close in a list as long as keep-alive", GET "Connection: key, close\r\n\r\n", HTTP_NO_BODY, 0, "", "", "c", "/" },
	{ "close in a second field", GET "Connection: te\r\nConnection: close\r\n\r\n", HTTP_NO_BODY, 0, "", "", "c", "/" },
	{ "an upgrade", GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", HTTP_NO_BODY, 0, "", "", "u", "/" },
	{ "an upgrade and a length", POST "Upgrade: h2c\r\nContent-Length: 5\r\n\r\n", HTTP_LENGTH, 5, "", "", "u", "/" },
	{ "Upgrade-Insecure-Requests is none", GET "Upgrade-Insecure-Requests: 1\r\n\r\n", HTTP_NO_BODY, 0, "", "", "", "/" },
	{ "an expectation", POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", HTTP_LENGTH, 5, "", "", "e", "/" },
	{ "CONNECT", "CONNECT a:443 HTTP/1.1\r\n\r\n", HTTP_UNKNOWN, 0, "", "", "", "a:443" },
};

static void check_request(const struct request_case *c, const struct http_request *r, uint32_t len, uint32_t off)
{
	char flags[8];

	snprintf(flags, sizeof(flags), "%s%s%s%s%s", r->head_method ? "h" : "", r->http10 ? "0" : "", r->close ? "c" : "", r->upgrade ? "u" : "",
		 r->expect ? "e" : "");
	if (r->head_len != len || r->framing != (uint32_t)c->framing || (c->framing == HTTP_LENGTH && r->length != c->length) ||
	    !text_is(r->id_off, r->id_len, c->id) || !text_is(r->host_off, r->host_len, c->host) ||
	    !text_is(r->target_off, r->target_len, c->target) || strcmp(flags, c->flags))
		fail_msg("%s (at %u): head %u of %u, framing %u, length %llu, id '%.*s', host '%.*s', target '%.*s', flags '%s'", c->sentence, off,
			 r->head_len, len, r->framing, (unsigned long long)r->length, (int)r->id_len, buf.b + r->id_off, (int)r->host_len,
			 buf.b + r->host_off, (int)r->target_len, buf.b + r->target_off, flags);
}

static const struct {
	const char *sentence, *method, *target, *host, *path;
} targets[] = {
	{ "a path", "GET", "/a?b", "h", "/a?b" },
	{ "the server itself", "OPTIONS", "*", "h", "*" },
	{ "absolute form: its host replaces Host", "GET", "http://a.b:80/", "a.b", "/" },
	{ "its scheme in any case", "POST", "HTTPS://[::1]:443/x", "[::1]", "/x" },
	{ "it may have no path", "GET", "http://a", "a", "" },
	{ "and a query all the same", "GET", "http://a?b@/c", "a", "?b@/c" },
	{ "or a fragment", "GET", "http://a#b@/c", "a", "#b@/c" },
	{ "a user is not of the host", "GET", "http://u@v:w@a:1/b@c", "a", "/b@c" },
	{ "an authority longer than a step", "GET", "http://0123456789012345678901234567890123456789012345678901234567890123456789/x",
	  "0123456789012345678901234567890123456789012345678901234567890123456789", "/x" },
	{ "another scheme names no host", "GET", "ftp://a/b", "h", "ftp://a/b" },
	{ "a URL in the path is no absolute form", "GET", "/http://a/b", "h", "/http://a/b" },
	{ "what CONNECT is for", "CONNECT", "a:443", "h", "a:443" },
};

static void test_targets_of_every_form_say_method_host_and_path(void **state)
{
	const struct http_name name = name_of("userhash");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++) {
		for (uint32_t off = 0; off < 70; off++) {
			struct http_request r;
			char head[256];
			int len = snprintf(head, sizeof(head), "%s %s HTTP/1.1\r\nHost: h:1\r\n\r\n", targets[i].method, targets[i].target);

			place(head, len, off, '@');
			assert_int_equal(http_scan_request(&buf, off, len, &name, &r), HTTP_COMPLETE);
			if (!text_is(r.target_off - 1 - r.method_len, r.method_len, targets[i].method) || !text_is(r.host_off, r.host_len, targets[i].host) ||
			    !text_is(r.path_off, r.target_off + r.target_len - r.path_off, targets[i].path))
				fail_msg("%s (at %u): method of %u, host '%.*s', path '%.*s'", targets[i].sentence, off, r.method_len, (int)r.host_len,
					 buf.b + r.host_off, (int)(r.target_off + r.target_len - r.path_off), buf.b + r.path_off);
		}
	}
}

static void test_each_request_head_is_read_wherever_it_lies(void **state)
{
	static const int fills[] = { 0, '\n', '\r', ' ', 'a', '0', ':', 0xff };
	const struct http_name name = name_of("userhash");
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const struct request_case *c = &requests[i];
		uint32_t len = strlen(c->head), offs[] = { 0, 1, 2, 3, 7, 8, 1000, HTTP_HEAD_MAX - len };

		for (size_t k = 0; k < ARRAY_SIZE(offs); k++) {
			place(c->head, len, offs[k], fills[k]);
			if (http_scan_request(&buf, offs[k], len, &name, &r) != HTTP_COMPLETE)
				fail_msg("%s: not complete", c->sentence);
			check_request(c, &r, len, offs[k]);
		}
	}
}

static void test_a_head_with_a_body_behind_it_ends_at_the_blank_line(void **state)
{
	const struct http_name name = name_of("userhash");
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		char text[1024];
		int len = snprintf(text, sizeof(text), "%sGET /second HTTP/1.1\r\nuserhash: second\r\n\r\n", requests[i].head);

		place(text, len, 5, 'x');
		assert_int_equal(http_scan_request(&buf, 5, len, &name, &r), HTTP_COMPLETE);
		check_request(&requests[i], &r, strlen(requests[i].head), 5);
	}
}

static void test_every_cut_of_a_request_head_is_partial(void **state)
{
	const struct http_name name = name_of("userhash");
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		const char *head = requests[i].head;

		for (uint32_t cut = 0; cut < strlen(head); cut++) {
			place(head, strlen(head), 3, '\n'); /* the rest lies behind the cut, and is not looked at */
			if (http_scan_request(&buf, 3, cut, &name, &r) != HTTP_PARTIAL)
				fail_msg("%s: cut at %u is not partial", requests[i].sentence, cut);
		}
	}
}

static void test_names_of_every_length_are_found(void **state)
{
	struct http_request r;

	(void)state;
	for (uint32_t len = 1; len <= SHUNT_NAME_MAX; len++) {
		struct http_name name = { .kind = SHUNT_ID_HEADER };
		char head[256];

		memcpy(name.s, NAME_64, len);
		snprintf(head, sizeof(head), GET "%.*s: short\r\n%.*s: it\r\n%.*sx: long\r\n\r\n", (int)len - 1, NAME_64, (int)len, NAME_64, (int)len,
			 NAME_64);
		place(head, strlen(head), 0, ':');
		assert_int_equal(http_scan_request(&buf, 0, strlen(head), &name, &r), HTTP_COMPLETE);
		assert_true(text_is(r.id_off, r.id_len, "it"));
	}
}

static void test_a_name_at_the_very_end_of_the_buffer_stays_in_bounds(void **state)
{
	const struct http_name name = name_of(NAME_64);
	struct http_request r;

	(void)state;
	for (uint32_t ahead = 1; ahead < 80; ahead++) {
		char head[256];
		int len = snprintf(head, sizeof(head), GET "%.*s", (int)ahead, NAME_64 ": value of it\r\n\r\n");

		place(head, len, HTTP_HEAD_MAX - len, 'x');
		assert_int_equal(http_scan_request(&buf, HTTP_HEAD_MAX - len, len, &name, &r), HTTP_PARTIAL);
	}
}

static void test_the_identity_may_be_a_header_that_the_scanner_knows(void **state)
{
	static const struct {
		const char *name, *want;
	} cases[] = { { "host", "a:80" }, { "content-length", "5" }, { "connection", "close" }, { "expect", "e" } };
	const char *head = POST "Host: a:80\r\nContent-Length: 5\r\nConnection: close\r\nExpect: e\r\n\r\n";
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct http_name name = name_of(cases[i].name);

		place(head, strlen(head), 0, 0);
		assert_int_equal(http_scan_request(&buf, 0, strlen(head), &name, &r), HTTP_COMPLETE);
		assert_true(text_is(r.id_off, r.id_len, cases[i].want));
		assert_true(text_is(r.host_off, r.host_len, "a"));
		assert_int_equal(r.framing, HTTP_LENGTH);
		assert_true(r.close && r.expect);
	}
}

static void test_without_a_name_there_is_no_id(void **state)
{
	const struct http_name none = name_of("");
	const char *head = GET ": a\r\nuserhash: b\r\n\r\n";
	struct http_request r;

	(void)state;
	place(head, strlen(head), 0, 0);
	assert_int_equal(http_scan_request(&buf, 0, strlen(head), &none, &r), HTTP_COMPLETE);
	assert_int_equal(r.id_len, 0);
}

static void test_a_head_as_long_as_the_buffer_is_read_and_a_longer_one_is_partial(void **state)
{
	const struct http_name name = name_of("userhash");
	static char head[HTTP_HEAD_MAX + 1];
	struct http_request r;
	uint32_t len = snprintf(head, sizeof(head), GET "X: ");

	(void)state;
	memset(head + len, 'v', HTTP_HEAD_MAX - len);
	memcpy(head + HTTP_HEAD_MAX - 18, "\r\nuserhash: z\r\n\r\n", 18);
	place(head, HTTP_HEAD_MAX - 1, 0, 0);
	assert_int_equal(http_scan_request(&buf, 0, HTTP_HEAD_MAX - 1, &name, &r), HTTP_COMPLETE);
	assert_int_equal(r.head_len, HTTP_HEAD_MAX - 1);
	assert_true(text_is(r.id_off, r.id_len, "z"));

	memset(head + len, 'v', HTTP_HEAD_MAX - len);
	place(head, HTTP_HEAD_MAX, 0, '\n');
	assert_int_equal(http_scan_request(&buf, 0, HTTP_HEAD_MAX, &name, &r), HTTP_PARTIAL);
	assert_int_equal(http_scan_request(&buf, 1, HTTP_HEAD_MAX, &name, &r), HTTP_BAD); /* beyond the buffer */
	assert_int_equal(http_scan_request(&buf, UINT32_MAX, 2, &name, &r), HTTP_BAD);
}

/* ---- cookies and parameters ------------------------------------------------------------------------------------------------------------- */

#define COOKIES(lines) GET "Host: a\r\n" lines "Accept: uid=no\r\n\r\n"
#define TARGET(target) "GET " target " HTTP/1.1\r\nCookie: uid=no\r\nuid: no\r\n\r\n"

static const struct {
	const char *sentence;
	enum shunt_identity kind;
	const char *head;
	const char *id; /* "": none, or empty */
} identities[] = {
	{ "the only cookie", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=u42\r\n"), "u42" },
	{ "the first of several", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=u42; theme=dark; lang=de\r\n"), "u42" },
	{ "one between others", SHUNT_ID_COOKIE, COOKIES("Cookie: theme=dark; uid=u42; lang=de\r\n"), "u42" },
	{ "the last of several", SHUNT_ID_COOKIE, COOKIES("Cookie: theme=dark; lang=de; uid=u42\r\n"), "u42" },
	{ "the header's name knows no case", SHUNT_ID_COOKIE, COOKIES("cOOKIE:uid=u42\r\n"), "u42" },
	{ "the cookie's name does", SHUNT_ID_COOKIE, COOKIES("Cookie: UID=1; Uid=2; uid=u42\r\n"), "u42" },
	{ "longer names are others", SHUNT_ID_COOKIE, COOKIES("Cookie: xuid=1; uidx=2; ui=3; uid.x=4; uid=u42\r\n"), "u42" },
	{ "the name in a value is no cookie", SHUNT_ID_COOKIE, COOKIES("Cookie: a=uid=1; b=\"uid=2\"; uid=u42\r\n"), "u42" },
	{ "a quoted value is without its quotes", SHUNT_ID_COOKIE, COOKIES("Cookie: a=1; uid=\"u42\"; b=2\r\n"), "u42" },
	{ "one quote is of the value", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=\"\r\n"), "\"" },
	{ "a quote at one end is of the value", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=\"u42; b=\"\r\n"), "\"u42" },
	{ "quotes within are of the value", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=\"\"u\"42\"\"\r\n"), "\"u\"42\"" },
	{ "quoted nothing is empty", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=\"\"; uid=u42\r\n"), "" },
	{ "an = is of the value", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=dTQy==; b=2\r\n"), "dTQy==" },
	{ "no blank after ;", SHUNT_ID_COOKIE, COOKIES("Cookie:a=1;uid=u42;b=2\r\n"), "u42" },
	{ "many blanks around", SHUNT_ID_COOKIE, COOKIES("Cookie:  a=1 ; \t uid=u42 \t ;b=2\r\n"), "u42" },
	{ "empty pairs", SHUNT_ID_COOKIE, COOKIES("Cookie: ;; ; =; =1;uid=u42;\r\n"), "u42" },
	{ "the first of two decides", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=u42; uid=u43\r\n"), "u42" },
	{ "also when it is empty", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=; uid=u43\r\nCookie: uid=u44\r\n"), "" },
	{ "a name without = is none", SHUNT_ID_COOKIE, COOKIES("Cookie: uid; uid ; uid=u42\r\n"), "u42" },
	{ "a blank before = is of the name", SHUNT_ID_COOKIE, COOKIES("Cookie: uid =1; uid=u42\r\n"), "u42" },
	{ "in the second Cookie header", SHUNT_ID_COOKIE, COOKIES("Cookie: a=1; b=2\r\nX: uid=1\r\ncookie: c=3; uid=u42\r\n"), "u42" },
	{ "in the third, the second is empty", SHUNT_ID_COOKIE, COOKIES("Cookie: a=1\r\nCookie:\r\nCookie:uid=u42\r\n"), "u42" },
	{ "in the first of two", SHUNT_ID_COOKIE, COOKIES("Cookie: uid=u42\r\nCookie: uid=u43\r\n"), "u42" },
	{ "headers like Cookie are others", SHUNT_ID_COOKIE, COOKIES("Cookies: uid=1\r\nCookie2: uid=2\r\nX-Cookie: uid=3\r\nCookie : uid=4\r\n"), "" },
	{ "lines between Cookie headers are no cookies", SHUNT_ID_COOKIE, COOKIES("Cookie: a\r\nuid=1\r\n;uid=2\r\n uid=3\r\n;\r\n"), "" },
	{ "LF alone ends the line", SHUNT_ID_COOKIE, "GET / HTTP/1.1\nCookie: a=1\nCookie: uid=u42\n\n", "u42" },
	{ "a folded Cookie is its first line", SHUNT_ID_COOKIE, COOKIES("Cookie: a=1;\r\n uid=1\r\n"), "" },
	{ "no Cookie header", SHUNT_ID_COOKIE, GET "uid: 1\r\nX: uid=2\r\n\r\n", "" },
	{ "nothing in the Cookie header", SHUNT_ID_COOKIE, GET "Cookie:   \r\n\r\n", "" },
	{ "cookies in the target are none", SHUNT_ID_COOKIE, "GET /?Cookie:%20uid=1;uid=2 HTTP/1.1\r\n\r\n", "" },

	{ "the only parameter", SHUNT_ID_QUERY, TARGET("/?uid=u42"), "u42" },
	{ "the first of several", SHUNT_ID_QUERY, TARGET("/a/b?uid=u42&a=1&b=2"), "u42" },
	{ "one between others", SHUNT_ID_QUERY, TARGET("/?a=1&uid=u42&b=2"), "u42" },
	{ "the last of several", SHUNT_ID_QUERY, TARGET("/?a=1&b=2&uid=u42"), "u42" },
	{ "absolute form", SHUNT_ID_QUERY, TARGET("http://uid=1:80/uid=2?a=1&uid=u42"), "u42" },
	{ "absolute form without a path", SHUNT_ID_QUERY, TARGET("http://a?uid=u42"), "u42" },
	{ "case matters", SHUNT_ID_QUERY, TARGET("/?UID=1&uid=u42"), "u42" },
	{ "longer names are others", SHUNT_ID_QUERY, TARGET("/?xuid=1&uidx=2&ui=3&x?uid=4&uid=u42"), "u42" },
	{ "the name in the path is none", SHUNT_ID_QUERY, TARGET("/uid=1&uid=2"), "" },
	{ "the name in a value is none", SHUNT_ID_QUERY, TARGET("/?a=uid=1&uid=u42"), "u42" },
	{ "ends at #", SHUNT_ID_QUERY, TARGET("/?uid=u42#x&uid=1"), "u42" },
	{ "nothing counts behind #", SHUNT_ID_QUERY, TARGET("/?a=1#&uid=1?uid=2"), "" },
	{ "a # before ? leaves no query", SHUNT_ID_QUERY, TARGET("/#?uid=1&uid=2"), "" },
	{ "nothing is decoded", SHUNT_ID_QUERY, TARGET("/?%75id=1&uid=u%34+2;x=\"y\""), "u%34+2;x=\"y\"" },
	{ "quotes stay", SHUNT_ID_QUERY, TARGET("/?uid=\"u42\""), "\"u42\"" },
	{ "an = is of the value", SHUNT_ID_QUERY, TARGET("/?uid=dTQy==&b"), "dTQy==" },
	{ "a ? is of the value", SHUNT_ID_QUERY, TARGET("/?uid=a?uid=b"), "a?uid=b" },
	{ "the first of two decides", SHUNT_ID_QUERY, TARGET("/?uid=u42&uid=u43"), "u42" },
	{ "also when it is empty", SHUNT_ID_QUERY, TARGET("/?uid=&uid=u43"), "" },
	{ "a name without = is none", SHUNT_ID_QUERY, TARGET("/?uid&uid=u42"), "u42" },
	{ "empty pairs", SHUNT_ID_QUERY, TARGET("/?&&=&=1&uid=u42&"), "u42" },
	{ "an empty query", SHUNT_ID_QUERY, TARGET("/?"), "" },
	{ "no query", SHUNT_ID_QUERY, TARGET("/"), "" },
	{ "OPTIONS *", SHUNT_ID_QUERY, "OPTIONS * HTTP/1.1\r\nCookie: uid=1\r\n\r\n", "" },

	{ "the client address needs nothing", SHUNT_ID_CLIENT, TARGET("/?uid=1"), "" },
};

static void test_the_right_cookie_or_parameter_is_found_wherever_the_head_lies(void **state)
{
	static const int fills[] = { 0, '\n', ';', '&', '#', 'u', '"', 0xff };
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(identities); i++) {
		const struct http_name name = known_by(identities[i].kind, "uid");
		const char *head = identities[i].head;
		uint32_t len = strlen(head), offs[] = { 0, 1, 2, 3, 7, 8, 1000, HTTP_HEAD_MAX - len };

		for (size_t k = 0; k < ARRAY_SIZE(offs); k++) {
			place(head, len, offs[k], fills[k]);
			if (http_scan_request(&buf, offs[k], len, &name, &r) != HTTP_COMPLETE || r.head_len != len ||
			    !text_is(r.id_off, r.id_len, identities[i].id))
				fail_msg("%s (at %u): head %u of %u, id '%.*s'", identities[i].sentence, offs[k], r.head_len, len, (int)r.id_len,
					 buf.b + r.id_off);
		}
	}
}

static void test_pairs_are_found_at_every_place_and_of_every_length(void **state)
{
	struct http_request r;

	(void)state;
	for (uint32_t len = 1; len <= SHUNT_NAME_MAX; len++) {
		for (uint32_t before = 0; before < 140; before += len % 4 + 1) {
			char head[1024], filler[141] = {}, value[141] = {};
			struct http_name name = { .kind = before % 2 ? SHUNT_ID_COOKIE : SHUNT_ID_QUERY };
			bool cookie = name.kind == SHUNT_ID_COOKIE;

			memcpy(name.s, NAME_64, len);
			memset(filler, 'f', before);
			memset(value, 'v', 140 - before);
			snprintf(head, sizeof(head), "GET %s%s&%.*sx=1&%.*s=%s&z HTTP/1.1\r\n%s%s; %.*sx=1; %.*s=%s; z\r\n\r\n", cookie ? "/" : "/?", filler,
				 (int)len, NAME_64, (int)len, NAME_64, value, cookie ? "Cookie: " : "X: ", filler, (int)len, NAME_64, (int)len, NAME_64, value);
			place(head, strlen(head), len, '=');
			assert_int_equal(http_scan_request(&buf, len, strlen(head), &name, &r), HTTP_COMPLETE);
			assert_true(text_is(r.id_off, r.id_len, value));
		}
	}
}

static void test_a_cookie_at_the_very_end_of_the_buffer_is_found(void **state)
{
	const struct http_name name = known_by(SHUNT_ID_COOKIE, "uid");
	static char head[HTTP_HEAD_MAX + 1];
	const char *last = "\r\nCookie: uid=z\r\n\r\n";
	uint32_t len = snprintf(head, sizeof(head), GET "Cookie: ");
	struct http_request r;

	(void)state;
	memset(head + len, ';', HTTP_HEAD_MAX - len); /* as many pairs as there can be */
	memcpy(head + HTTP_HEAD_MAX - strlen(last), last, strlen(last));
	place(head, HTTP_HEAD_MAX, 0, 0);
	assert_int_equal(http_scan_request(&buf, 0, HTTP_HEAD_MAX, &name, &r), HTTP_COMPLETE);
	assert_true(text_is(r.id_off, r.id_len, "z"));
}

/* What is no request: `known` bytes are enough to see it, and it stays so however it goes on. */
static const struct {
	const char *sentence;
	const char *bytes;
	size_t len, known;
} bad_requests[] = {
#define BAD(sentence, text, known) { sentence, text, sizeof(text) - 1, known }
	BAD("a TLS hello", "\x16\x03\x01\x02\x00\x01", 1),
	BAD("the HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 4),
	BAD("SSH", "SSH-2.0-OpenSSH_9.2\r\n", 5),
	BAD("Redis", "*1\r\n$4\r\nPING\r\n", 1),
	BAD("a response", "HTTP/1.1 200 OK\r\n\r\n", 5),
	BAD("HTTP/0.9", "GET /\r\n", 7),
	BAD("HTTP/2 in text", "GET / HTTP/2.0\r\n", 16),
	BAD("HTTP/1.x without its digit", "GET / HTTP/1.\r\n", 15),
	BAD("a lower-case method", "get / HTTP/1.1\r\n", 1),
	BAD("no method", " / HTTP/1.1\r\n", 1),
	BAD("a method of 24 letters", "ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\n", 24),
	BAD("no target", "GET HTTP/1.1\r\n", 14),
	BAD("an empty target", "GET  HTTP/1.1\r\n", 15),
	BAD("two blanks before the target", "GET  / HTTP/1.1\r\n", 17),
	BAD("two blanks after the target", "GET /  HTTP/1.1\r\n", 17),
	BAD("a blank after the version", "GET / HTTP/1.1 \r\n", 17),
	BAD("a tab in the request line", "GET /\tHTTP/1.1\r\n", 6),
	BAD("a lone CR in the request line", "GET /\r HTTP/1.1\r\n", 7),
	BAD("a lone CR before the request", "\rGET / HTTP/1.1\r\n", 2),
	BAD("NUL in the request line", "GET /\0 HTTP/1.1\r\n", 6),
	BAD("NUL in a name", GET "a\0: b\r\n\r\n", 18),
	BAD("NUL in a value", GET "a: b\0\r\n\r\n", 21),
	BAD("NUL before the blank line", GET "a: b\r\n\0\r\n", 23),
#undef BAD
};

static void test_what_is_no_request_is_seen_as_early_as_it_can_be(void **state)
{
	const struct http_name name = name_of("userhash");
	struct http_request r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_requests); i++) {
		for (uint32_t cut = 0; cut <= bad_requests[i].len; cut++) {
			int want = cut < bad_requests[i].known ? HTTP_PARTIAL : HTTP_BAD;

			place(bad_requests[i].bytes, cut, 9, 'A');
			if (http_scan_request(&buf, 9, cut, &name, &r) != want)
				fail_msg("%s: cut at %u should give %d", bad_requests[i].sentence, cut, want);
		}
	}
}

/* ---- responses ------------------------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *sentence;
	const char *head;
	int status, framing;
	uint64_t length;
	const char *flags; /* 0 HTTP/1.0, c close */
} responses[] = {
	{ "nginx's head", "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html\r\nContent-Length: 615\r\nConnection: keep-alive\r\n\r\n",
	  200, HTTP_LENGTH, 615, "" },
	{ "chunked", "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n", 404, HTTP_CHUNKED, 0, "" },
	{ "an interim response", "HTTP/1.1 100 Continue\r\n\r\n", 100, HTTP_UNKNOWN, 0, "" },
	{ "no content", "HTTP/1.1 204 No Content\r\n\r\n", 204, HTTP_UNKNOWN, 0, "" },
	{ "not modified, with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304, HTTP_LENGTH, 9, "" },
	{ "until close", "HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n", 200, HTTP_UNKNOWN, 0, "0c" },
	{ "no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, HTTP_LENGTH, 0, "" },
	{ "no blank before no reason", "HTTP/1.1 503\r\nContent-Length: 1\r\n\r\n", 503, HTTP_LENGTH, 1, "" },
	{ "LF alone ends lines", "HTTP/1.1 200 OK\nContent-Length: 3\n\n", 200, HTTP_LENGTH, 3, "" },
	{ "the highest status", "HTTP/1.1 999 x\r\n\r\n", 999, HTTP_UNKNOWN, 0, "" },
	{ "different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 200, HTTP_UNKNOWN, 0, "" },
	{ "chunked and a length", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 200, HTTP_UNKNOWN, 0, "" },
	{ "an upgrade offered is no upgrade", "HTTP/1.1 426 x\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n", 426, HTTP_LENGTH, 3, "" },
};

static const struct {
	const char *sentence;
	const char *head;
	int verdict;
} bad_responses[] = {
	{ "a status of two digits", "HTTP/1.1 20 OK\r\n\r\n", HTTP_BAD },
	{ "a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", HTTP_BAD },
	{ "a status below 100", "HTTP/1.1 099 OK\r\n\r\n", HTTP_BAD },
	{ "a status that is no number", "HTTP/1.1 2x0 OK\r\n\r\n", HTTP_BAD },
	{ "HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", HTTP_BAD },
	{ "HTTP/0.9", "<html>", HTTP_BAD },
	{ "an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", HTTP_BAD },
	{ "a status line alone", "HTTP/1.1 200 OK\r\n", HTTP_PARTIAL },
	{ "nothing", "", HTTP_PARTIAL },
};

static void test_each_response_head_is_read(void **state)
{
	static const uint32_t offs[] = { 0, 1, 6, 2000 };
	struct http_response r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(offs); k++) {
			uint32_t len = strlen(responses[i].head);
			char flags[4];

			place(responses[i].head, len, offs[k], '7');
			if (http_scan_response(&buf, offs[k], len, &r) != HTTP_COMPLETE)
				fail_msg("%s: not complete", responses[i].sentence);
			snprintf(flags, sizeof(flags), "%s%s", r.http10 ? "0" : "", r.close ? "c" : "");
			if (r.head_len != len || r.status != responses[i].status || r.framing != (uint32_t)responses[i].framing ||
			    (r.framing == HTTP_LENGTH && r.length != responses[i].length) || strcmp(flags, responses[i].flags))
				fail_msg("%s: head %u, status %u, framing %u, length %llu, flags '%s'", responses[i].sentence, r.head_len, r.status,
					 r.framing, (unsigned long long)r.length, flags);
		}
	}
}

static void test_what_is_no_response_is_told(void **state)
{
	struct http_response r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_responses); i++) {
		place(bad_responses[i].head, strlen(bad_responses[i].head), 4, 'H');
		if (http_scan_response(&buf, 4, strlen(bad_responses[i].head), &r) != bad_responses[i].verdict)
			fail_msg("%s: not %d", bad_responses[i].sentence, bad_responses[i].verdict);
	}
}

static void test_every_cut_of_a_response_head_is_partial(void **state)
{
	struct http_response r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(responses); i++) {
		for (uint32_t cut = 0; cut < strlen(responses[i].head); cut++) {
			place(responses[i].head, strlen(responses[i].head), 0, '\n');
			if (http_scan_response(&buf, 0, cut, &r) != HTTP_PARTIAL)
				fail_msg("%s: cut at %u is not partial", responses[i].sentence, cut);
		}
	}
}

/* ---- mutation --------------------------------------------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint32_t draw(uint32_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 11) % below;
}

/* Replaces `gone` bytes at `at` by n others. */
static size_t edit(char *text, size_t len, size_t at, size_t gone, const char *with, size_t n)
{
	if (len - gone + n > 1500)
		return len;
	memmove(text + at + n, text + at + gone, len - at - gone);
	memcpy(text + at, with, n);
	return len - gone + n;
}

static size_t mutate(char *text, size_t len)
{
	static const char bytes[] = "\r\n\t :,;059aAzZ_-\0\x01\x1f\x80\xff[]/H?&#=\"";
	static const char *const pieces[] = { "\r\n", "\n", " ", "Content-Length: 5\r\n", "content-length:6\r\n", "Content-Length : 5\r\n",
					      "Transfer-Encoding: chunked\r\n", "transfer-encoding:\tgzip\r\n", "Transfer-Encoding\t:x\r\n", "content_length: 1\r\n", "transfer_encoding:", "POST / HTTP/1.1\r\n", "userhash: u\r\n",
					      "userhash:v\n", " folded\r\n", "\tfolded\n", "Connection: a, close\r\n", "Connection: close,close\r\n", "Host: h:1\r\n",
					      "Upgrade: u\r\n", "Expect: e\r\n", ": \r\n", "HEAD ", " HTTP/1.0\r\n", "Cookie: a=1; uid=u42\r\n", "cookie:uid=\"u\"\n",
					      "; uid=x", "uid=", "Cookie:", "?uid=u", "&uid=v", "?a=1&uid=", "#", "\"\"", "       ", "\t\t\t\t\t\t\t\t\t", "123456789" };
	size_t at = draw(len + 1), gone = draw(8) < len - at ? draw(8) : 0;
	const char *piece = pieces[draw(ARRAY_SIZE(pieces))];

	if (gone > len - at)
		gone = 0;
	switch (draw(5)) {
	case 0:
		return edit(text, len, at, at < len, &bytes[draw(sizeof(bytes) - 1)], 1);
	case 1:
		return edit(text, len, at, gone, piece, strlen(piece));
	case 2: /* at a line's start */
		while (at > 0 && text[at - 1] != '\n')
			at--;
		return edit(text, len, at, 0, piece, strlen(piece));
	case 3:
		if (at < len && isalpha((unsigned char)text[at]))
			text[at] ^= 0x20;
		return len;
	default:
		return edit(text, len, at, gone, "", 0);
	}
}

static void compare(const char *text, size_t len, uint32_t off, bool response)
{
	static const char *const names[] = { [SHUNT_ID_CLIENT] = "", [SHUNT_ID_HEADER] = "userhash", [SHUNT_ID_COOKIE] = "uid", [SHUNT_ID_QUERY] = "uid" };
	const enum shunt_identity kind = draw(ARRAY_SIZE(names));
	const struct http_name id = known_by(kind, names[kind]);
	char why[HTTP_WHY_MAX];

	place(text, len, off, draw(256));
	if (response ? http_readings_differ_response(&buf, off, len, why) : http_readings_differ_request(&buf, off, len, &id, why))
		fail_msg("%s, known by %u: <%.*s>", why, kind, (int)len, text);
}

static const char *a_request(void)
{
	return draw(2) ? requests[draw(ARRAY_SIZE(requests))].head : identities[draw(ARRAY_SIZE(identities))].head;
}

static void test_a_byte_wise_reader_agrees_on_mutated_heads(void **state)
{
	enum { ROUNDS = 150000 };
	unsigned int complete = 0;

	(void)state;
	seed = 0x5368756e74u;
	for (int round = 0; round < ROUNDS; round++) {
		bool response = draw(4) == 0;
		const char *head = response ? responses[draw(ARRAY_SIZE(responses))].head : a_request();
		char text[1600];
		size_t len = strlen(head);

		memcpy(text, head, len);
		for (uint32_t n = draw(6); n; n--)
			len = mutate(text, len);
		compare(text, len, draw(2) ? 0 : draw(HTTP_HEAD_MAX - 1600), response);
		complete += memmem(text, len, "\n\n", 2) || memmem(text, len, "\n\r\n", 3);
	}
	assert_true(complete > ROUNDS / 3); /* the mutations leave enough whole heads to compare */
}

/* ---- chunked bodies ----------------------------------------------------------------------------------------------------------------------- */

#define END -1 /* the body ends with its last byte */

static const struct {
	const char *sentence, *body;
	int bad; /* END, or the place of the first byte that cannot be */
} bodies[] = {
	{ "nothing but the last chunk", "0\r\n\r\n", END },
	{ "a chunk", "5\r\nhello\r\n0\r\n\r\n", END },
	{ "two digits in both cases", "1f\r\n0123456789012345678901234567890\r\n1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n", END },
	{ "leading zeros", "0000000000000000000005\r\nhello\r\n000\r\n\r\n", END },
	{ "extensions", "5;a=b;c=\"0;\"\r\nhello\r\n5 \t; 9\r\nhello\r\n0;\r\n\r\n", END },
	{ "blanks behind a size", "5 \t\r\nhello\r\n0\r\n\r\n", END },
	{ "trailers", "0\r\nExpires: 0\r\nX:\t5\r\n\r\n", END },
	{ "data that look like the end", "A\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n", END },
	{ "no size", "\r\n", 0 },
	{ "an extension without a size", ";a\r\n", 0 },
	{ "a letter that is no digit", "g\r\n", 0 },
	{ "a sign", "+5\r\n", 0 },
	{ "a minus", "-1\r\n", 0 },
	{ "a blank before the size", " 5\r\n", 0 },
	{ "0x", "0x5\r\n", 1 },
	{ "an underscore between digits", "1_0\r\n", 1 },
	{ "a size of nine digits", "100000000\r\n", 8 },
	{ "a size of 1 GiB", "40000000\r\n", 7 },
	{ "a digit behind a blank", "5 6\r\n", 2 },
	{ "LF alone behind a size", "5\nhello", 1 },
	{ "CR alone behind a size", "5\rhello", 2 },
	{ "LF alone in an extension", "5;a\nhello", 3 },
	{ "CR alone in an extension", "5;a\rb\r\n", 4 },
	{ "NUL in an extension", "5;\0\r\n", 2 },
	{ "no line end behind data", "1\r\naX", 4 },
	{ "LF alone behind data", "1\r\na\n0\r\n\r\n", 4 },
	{ "CR alone behind data", "1\r\na\r0\r\n", 5 },
	{ "a blank before a trailer", "0\r\n X: y\r\n\r\n", 3 },
	{ "LF alone behind a trailer", "0\r\nX: y\n\r\n", 7 },
	{ "LF alone at the end", "0\r\n\n", 3 },
	{ "CR alone at the end", "0\r\n\rG", 4 },
};

static void test_a_chunked_body_is_walked_to_its_end_or_to_the_first_byte_that_cannot_be(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct http_chunks c = { .state = SHUNT_CHUNK_SIZE };
		int len = bodies[i].bad == END ? (int)strlen(bodies[i].body) : bodies[i].bad + 1, at = 0, good = 1;

		while (good && c.state != SHUNT_CHUNK_END && (int)c.next < len) {
			at = c.next;
			good = http_chunk_byte(&c, bodies[i].body[at]);
		}
		if (bodies[i].bad == END ? !good || c.state != SHUNT_CHUNK_END || (int)c.next != len : good || at != bodies[i].bad)
			fail_msg("%s: %s at %d, state %u", bodies[i].sentence, good ? "good" : "bad", at, c.state);
	}
}

static void test_walk_and_reader_agree_on_mutated_chunked_bodies(void **state)
{
	(void)state;
	for (int i = 0; i < 200000; i++) {
		char text[2048], why[HTTP_WHY_MAX];
		const char *body = bodies[i % ARRAY_SIZE(bodies)].body;
		size_t len = strlen(body);

		seed = i + 1;
		memcpy(text, body, len);
		for (int n = draw(4); n > 0; n--)
			len = mutate(text, len);
		if (http_readings_differ_chunks(text, len, why))
			fail_msg("round %d: %s in '%.*s'", i, why, (int)len, text);
	}
}

/* ---- lines by name ------------------------------------------------------------------------------------------------------------------------ */

static void test_lines_are_found_by_name_one_after_the_other(void **state)
{
	static const char *const lines[] = { "HTTP/1.1 200 OK\r\n", "version: 1\r\n", "Version:\t 2 \r\n", "versio: x\n", "versions: x\r\n", "x-version: x\r\n",
					     "VERSION:3\n", "version : x\r\n", "a: version: x\r\n", " version: x\r\n", "version:\r\n", "a-very-long-name-that-is-not-it: x\r\n" };
	static const char *const values[] = { [1] = "1", [2] = "2", [6] = "3", [10] = "" };
	struct http_name name = known_by(SHUNT_ID_HEADER, "version");
	struct http_scan s = {};

	(void)state;
	for (int round = 0; round < 20000; round++) {
		uint32_t chosen[12], at[13], count = draw(12), off = draw(2) ? draw(40) : HTTP_HEAD_MAX - 400 - draw(40), from;
		char text[512] = "";

		for (uint32_t i = 0; i < count; i++) {
			chosen[i] = draw(ARRAY_SIZE(lines));
			at[i] = off + strlen(text);
			strcat(text, lines[chosen[i]]);
		}
		at[count] = off + strlen(text);
		place(text, strlen(text), off, draw(2) ? '\n' : 'v');
		from = off;
		for (uint32_t i = 0; i < count; i++) {
			if (chosen[i] >= ARRAY_SIZE(values) || !values[chosen[i]])
				continue;
			if (!http_find_line(&buf, from, at[count], &name, &s) || s.start_off != at[i] || s.line != at[i + 1] ||
			    !text_is(s.id_off, s.id_len, values[chosen[i]]))
				fail_msg("line %u of '%s' is not found", i, text);
			from = s.line;
		}
		if (http_find_line(&buf, from, at[count], &name, &s))
			fail_msg("'%s' has one line too many, at %u", text, s.start_off - off);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_request_head_is_read_wherever_it_lies),
		cmocka_unit_test(test_targets_of_every_form_say_method_host_and_path),
		cmocka_unit_test(test_a_head_with_a_body_behind_it_ends_at_the_blank_line),
		cmocka_unit_test(test_every_cut_of_a_request_head_is_partial),
		cmocka_unit_test(test_names_of_every_length_are_found),
		cmocka_unit_test(test_a_name_at_the_very_end_of_the_buffer_stays_in_bounds),
		cmocka_unit_test(test_the_identity_may_be_a_header_that_the_scanner_knows),
		cmocka_unit_test(test_without_a_name_there_is_no_id),
		cmocka_unit_test(test_a_head_as_long_as_the_buffer_is_read_and_a_longer_one_is_partial),
		cmocka_unit_test(test_the_right_cookie_or_parameter_is_found_wherever_the_head_lies),
		cmocka_unit_test(test_pairs_are_found_at_every_place_and_of_every_length),
		cmocka_unit_test(test_a_cookie_at_the_very_end_of_the_buffer_is_found),
		cmocka_unit_test(test_what_is_no_request_is_seen_as_early_as_it_can_be),
		cmocka_unit_test(test_each_response_head_is_read),
		cmocka_unit_test(test_what_is_no_response_is_told),
		cmocka_unit_test(test_every_cut_of_a_response_head_is_partial),
		cmocka_unit_test(test_lines_are_found_by_name_one_after_the_other),
		cmocka_unit_test(test_a_byte_wise_reader_agrees_on_mutated_heads),
		cmocka_unit_test(test_a_chunked_body_is_walked_to_its_end_or_to_the_first_byte_that_cannot_be),
		cmocka_unit_test(test_walk_and_reader_agree_on_mutated_chunked_bodies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
