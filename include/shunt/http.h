/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The head of an HTTP/1.x message: where it ends, how long its body is, who asks. One source for the kernel programs and for user space.
 *
 * Time goes to finding line ends, so that is done eight bytes at a time: of all bytes below 0x10 a head holds little but CR and LF, and one mask
 * finds them together with NUL, which no head may hold:
 *
 *     word & 0xf0f0...   a byte that becomes 0 is below 0x10; subtracting 1 from every byte then borrows into its top bit, and into no other's
 *
 *     GET /a HTTP/1.1\r\nHost: x\r\nuserhash: 101\r\n\r\n
 *     ╰ words skipped ╯╰ stop: the line is known, its first word tells whether its name matters
 *
 * A name is compared only at the start of a line and a value is read only when its name matters, so the cost follows lines and words, not bytes.
 * A user is known by a header, by a cookie or by a parameter of the request target. The last two are lists of NAME=value, walked the same way:
 *
 *     Cookie: theme=dark; uid="u42"; lang=de            GET /a?lang=de&uid=u42#top HTTP/1.1
 *             ╰ pair ──╯╰ stop   ╰─╯ the value                ╰ pair ╯╰ stop ╰─╯ the value
 *
 * A cookie's name is exact and its value goes to the next ';', also within quotes (RFC 6265 section 4.2.1); blanks around the pair and then quotes around
 * the value are not of it. A parameter goes from '?' or '&' to '&', '#' or the end of the target, and nothing is percent-decoded: u%34 is not u4. The
 * first pair of the name decides, also when it is empty, as the first header does; a name without '=' is none.
 *
 * The verifier walks this cheaply because all progress lives in the result, behind a pointer: what it loads from there is any number, so that no path
 * differs from another, and offsets are masked right where they are used. As global functions they are verified once, not at each call; the price is
 * CAP_PERFMON, without which the kernel forbids a variable offset into a global function's argument. There is no __builtin_ctz here: clang has none
 * for BPF. Both sides are little-endian.
 *
 * Wrong heads are no attack surface of ours as long as we never believe a length that the pod may read differently: where two readings exist the
 * framing is HTTP_UNKNOWN, and the flow stays with one pod from there on (RFC 9112 sections 6.1, 6.3 and 11.2). docs/smuggling.md lists the cases; of
 * requests we are stricter than of answers, since there a client may want to be misread.
 */
#ifndef SHUNT_HTTP_H
#define SHUNT_HTTP_H

#ifdef __bpf__
#include <bpf/bpf_helpers.h>
#else
#include <string.h>
#endif

#include "shunt/abi.h"

#define HTTP_HEAD_MAX SHUNT_HOLD_SIZE
#define HTTP_LENGTH_DIGITS 16 /* of a Content-Length: below 10 PB, and two words */
#define HTTP_METHOD_MAX 23    /* the registry's longest is UPDATEREDIRECTREF */

_Static_assert((HTTP_HEAD_MAX & (HTTP_HEAD_MAX - 1)) == 0, "offsets are masked");
_Static_assert(SHUNT_ANSWER_HEAD_SIZE == SHUNT_HOLD_SIZE, "both are scanned");
_Static_assert(SHUNT_HOLD_SLACK >= SHUNT_NAME_MAX, "a name is compared from any offset");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte of a word is its lowest");

/* Bytes to scan. As shunt_hold.data and shunt_hold.answer; bytes past the scanned length may hold anything. */
struct http_buf {
	__u8 b[HTTP_HEAD_MAX + SHUNT_HOLD_SLACK];
};

/* What holds the user id. */
struct http_name {
	char s[SHUNT_NAME_MAX]; /* zero padded, as shunt_route.name: a header's in lower case, others as they are; ASCII. All zero: none */
	__u32 kind;             /* enum shunt_identity */
	__u32 pad;
} __attribute__((aligned(8)));

enum http_verdict {
	HTTP_PARTIAL = 0,  /* all well so far; the head goes on */
	HTTP_COMPLETE = 1,
	HTTP_BAD = 2,      /* no HTTP/1.x message begins like this (TLS, HTTP/2, any other protocol), or a NUL in the head */
};

enum http_framing {
	HTTP_NO_BODY = 0,
	HTTP_LENGTH = 1,
	HTTP_CHUNKED = 2,
	HTTP_UNKNOWN = 3, /* until the connection ends, or two readers may disagree, or the protocol changes (CONNECT) */
};

/* What a line said, as bits of http_scan.facts. */
enum http_fact {
	HTTP_F_STARTED = 1 << 0,    /* the first line is over */
	HTTP_F_LENGTH = 1 << 1,
	HTTP_F_CODING = 1 << 2,     /* Transfer-Encoding */
	HTTP_F_UNFRAMED = 1 << 3,   /* the body's length is not to be trusted */
	HTTP_F_FRAMING_LINE = 1 << 4, /* the line before was one of Content-Length, Transfer-Encoding, or the first */
	HTTP_F_HOST = 1 << 5,
	HTTP_F_ID = 1 << 6,
	HTTP_F_CLOSE = 1 << 7,
	HTTP_F_UPGRADE = 1 << 8,
	HTTP_F_EXPECT = 1 << 9,
	HTTP_F_HTTP10 = 1 << 10,
	HTTP_F_HEAD = 1 << 11,
	HTTP_F_RESPONSE = 1 << 12,  /* a status line is expected */
	HTTP_F_GET = 1 << 13,
};

/* Where a walk over pairs is. */
enum http_walk {
	HTTP_SKIP_PATH = 0,  /* to the '?' of a target */
	HTTP_IN_QUERY = 1,
	HTTP_IN_COOKIES = 2, /* in a Cookie header */
	HTTP_SKIP_LINE = 3,  /* behind it, looking for another */
};

/* A scan's progress. Callers read http_request and http_response instead. */
struct http_scan {
	__u64 length;
	__u64 id_first, id_mask; /* first word of the wanted header's name, and 0xff where it has bytes */
	__u32 pos;               /* searched up to here */
	__u32 line;              /* the line begins here */
	__u32 end;
	__u32 facts;             /* enum http_fact */
	__u32 verdict;           /* enum http_verdict */
	__u32 id_off, id_len;
	__u32 host_off, host_len;
	__u32 start_off, start_len; /* request target */
	__u32 status;
	__u32 method_len;
	__u32 walk;              /* enum http_walk; then `line` is where the pair begins, `pos` and `end` are those of the walk */
};

struct http_request {
	__u32 head_len;             /* from `off` to the end of the blank line */
	__u32 framing;              /* enum http_framing */
	__u64 length;               /* HTTP_LENGTH: bytes of body */
	__u32 id_off, id_len;       /* value of the first such header, cookie or parameter, without white space around; id_len 0: absent or empty */
	__u32 host_off, host_len;   /* whom it is for, without port: of a target in absolute form, else of the first Host; [v6] keeps its brackets */
	__u32 target_off, target_len;
	__u32 path_off;             /* the target from its path on: behind the authority of one in absolute form (there may be none) */
	__u32 method_len;           /* it ends one blank before the target */
	__u8 head_method;
	__u8 http10;
	__u8 close;                 /* Connection: close */
	__u8 upgrade;
	__u8 expect;                /* Expect is there: the client may wait for a 100 before the body */
	__u8 pad[3];
	struct http_scan scan;
};

struct http_response {
	__u32 head_len;
	__u32 framing;  /* as the header fields say. HEAD, 1xx, 204 and 304 have no body whatever they say (RFC 9112 section 6.3): the caller knows */
	__u64 length;
	__u16 status;   /* 100..999 */
	__u8 http10;
	__u8 close;
	__u8 pad[4];
	struct http_scan scan;
};

#ifdef __bpf__
#define HTTP_INLINE static __always_inline
#define HTTP_STEP static __noinline
#define HTTP_API __noinline /* a global function: verified once, not at each call */
#define http_loop(count, step, ctx) bpf_loop(count, step, ctx, 0)
#define http_opaque(x) asm volatile("" : "+r"(x)) /* clang must not drop the bound check that follows */
#else
#define HTTP_INLINE static inline
#define HTTP_STEP static inline
#define HTTP_API static inline
#define http_loop(count, step, ctx)                                        \
	do {                                                               \
		for (__u32 i_ = 0; i_ < (count) && !step(i_, ctx); i_++) \
			;                                                  \
	} while (0)
#define http_opaque(x) (void)(x)
#endif

/* ---- words ------------------------------------------------------------------------------------------------------------------------------- */

#define HTTP_EACH(c) ((c) * 0x0101010101010101ull) /* the byte c in every place */
#define HTTP_TOP HTTP_EACH(0x80)
#define HTTP_LOW7 HTTP_EACH(0x7f)
#define HTTP_BYTES(n) (~0ull >> (64 - 8 * (n))) /* mask of the first n bytes, 1..8 */
#define HTTP_WORD(a, b, c, d, e, f, g, h)                                                                                       \
	((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24 | (__u64)(e) << 32 | (__u64)(f) << 40 | (__u64)(g) << 48 | (__u64)(h) << 56)

/* The masks below have the top bit of each byte that fits, and no other bit. */

HTTP_INLINE __u64 http_below_16(__u64 w)
{
	w &= HTTP_EACH(0xf0);
	return (w - HTTP_EACH(1)) & ~w & HTTP_TOP;
}

HTTP_INLINE __u64 http_equal(__u64 w, __u8 c)
{
	w ^= HTTP_EACH(c);
	return ~(((w & HTTP_LOW7) + HTTP_LOW7) | w) & HTTP_TOP;
}

HTTP_INLINE __u64 http_upper(__u64 w)
{
	__u64 low = w & HTTP_LOW7;

	return (low + HTTP_EACH(0x80 - 'A')) & ~(low + HTTP_EACH(0x7f - 'Z')) & ~w & HTTP_TOP;
}

HTTP_INLINE __u64 http_lower_case(__u64 w)
{
	return w | http_upper(w) >> 2;
}

/* Place of the first byte in a mask that is not 0. */
HTTP_INLINE __u32 http_first(__u64 mask)
{
	return (((mask & -mask) >> 7) * HTTP_WORD(7, 6, 5, 4, 3, 2, 1, 0)) >> 56;
}

/* at < HTTP_HEAD_MAX, ahead <= SHUNT_HOLD_SLACK - 8 and constant. */
HTTP_INLINE __u64 http_word(const struct http_buf *buf, __u32 at, __u32 ahead)
{
	http_opaque(at);
	at &= HTTP_HEAD_MAX - 1;
#ifdef __bpf__
	return *(const __u64 *)(buf->b + at + ahead); /* the BPF back end would make eight loads of a memcpy */
#else
	__u64 w;

	memcpy(&w, buf->b + at + ahead, sizeof(w));
	return w;
#endif
}

HTTP_INLINE __u8 http_byte(const struct http_buf *buf, __u32 at)
{
	http_opaque(at);
	return buf->b[at & (HTTP_HEAD_MAX - 1)];
}

HTTP_INLINE int http_is_blank(__u8 c)
{
	return c == ' ' || c == '\t';
}

/* ---- values ------------------------------------------------------------------------------------------------------------------------------ */

struct http_value {
	const struct http_buf *buf;
	__u32 from, to;
	__u32 next, found; /* http_close_step() */
};

HTTP_STEP long http_trim_step(__u32 i, struct http_value *v)
{
	(void)i;
	if (v->from >= v->to)
		return 1;
	if (http_is_blank(http_byte(v->buf, v->from)))
		v->from++;
	else if (http_is_blank(http_byte(v->buf, v->to - 1)))
		v->to--;
	else
		return 1;
	return 0;
}

/* The value after the colon, without the white space around it (RFC 9112 section 5.1). Most have one blank, in front. */
HTTP_INLINE void http_value_of(const struct http_buf *buf, __u32 from, __u32 to, struct http_value *ret_value)
{
	ret_value->buf = buf;
	ret_value->from = from + (from < to && http_byte(buf, from) == ' ');
	ret_value->to = to;
	if (ret_value->from < to && (http_is_blank(http_byte(buf, ret_value->from)) || http_is_blank(http_byte(buf, to - 1))))
		http_loop(HTTP_HEAD_MAX, http_trim_step, ret_value);
}

/* The number in 1..8 digits; sets *ret_bad when one is none. Pairs, fours and all eight are added up at once. */
HTTP_INLINE __u64 http_digits(__u64 w, __u32 count, __u32 *ret_bad)
{
	__u32 shift = (64 - 8 * count) & 63;

	w <<= shift;
	w ^= HTTP_EACH('0') << shift;
	*ret_bad |= (((w & HTTP_LOW7) + HTTP_EACH(0x7f - 9)) | w) & HTTP_TOP ? 1 : 0;
	w = (w * 10 + (w >> 8)) & 0x00ff00ff00ff00ffull;
	w = (w * 100 + (w >> 16)) & 0x0000ffff0000ffffull;
	return (w * 10000 + (w >> 32)) & 0xffffffffull;
}

/* RFC 9110 section 8.6. Equal repetitions are one (RFC 9112 section 6.3, 5); a list, a sign, no or too many digits are not believed. */
HTTP_INLINE void http_length_line(struct http_scan *s, const struct http_value *v)
{
	__u32 digits = v->to - v->from, bad = 0;
	__u64 length;

	if (!digits || digits > HTTP_LENGTH_DIGITS) {
		s->facts |= HTTP_F_UNFRAMED;
		return;
	}
	if (digits <= 8) {
		length = http_digits(http_word(v->buf, v->from, 0), digits, &bad);
	} else {
		length = http_digits(http_word(v->buf, v->from, 0), digits - 8, &bad) * 100000000;
		length += http_digits(http_word(v->buf, v->from + digits - 8, 0), 8, &bad);
	}
	if (bad || (s->facts & HTTP_F_LENGTH && length != s->length))
		s->facts |= HTTP_F_UNFRAMED;
	s->length = length;
	s->facts |= HTTP_F_LENGTH;
}

/* RFC 9112 section 6.1. Only "chunked" alone is followed: a coding below it is decoded by few, and its support is where readings differ. */
HTTP_INLINE void http_coding_line(struct http_scan *s, const struct http_value *v)
{
	__u64 w = http_lower_case(http_word(v->buf, v->from, 0)) & HTTP_BYTES(7);

	if (s->facts & HTTP_F_CODING || v->to - v->from != 7 || w != HTTP_WORD('c', 'h', 'u', 'n', 'k', 'e', 'd', 0))
		s->facts |= HTTP_F_UNFRAMED;
	s->facts |= HTTP_F_CODING;
}

/* Looks for the token "close" at v->next, then one byte on. */
HTTP_STEP long http_close_step(__u32 i, struct http_value *v)
{
	__u32 at = v->next;
	__u8 before, after;

	(void)i;
	if (at + 5 > v->to)
		return 1;
	v->next++;
	if ((http_lower_case(http_word(v->buf, at, 0)) & HTTP_BYTES(5)) != HTTP_WORD('c', 'l', 'o', 's', 'e', 0, 0, 0))
		return 0;
	before = http_byte(v->buf, at - 1);
	after = http_byte(v->buf, at + 5);
	if (at != v->from && before != ',' && !http_is_blank(before))
		return 0;
	if (at + 5 != v->to && after != ',' && !http_is_blank(after))
		return 0;
	v->found = 1;
	return 1;
}

/* RFC 9110 section 7.6.1: a list of tokens. Nearly always "keep-alive", which is told by its first word and its length. */
HTTP_INLINE void http_connection_line(struct http_scan *s, struct http_value *v)
{
	if (v->to - v->from == 10 && http_lower_case(http_word(v->buf, v->from, 0)) == HTTP_WORD('k', 'e', 'e', 'p', '-', 'a', 'l', 'i'))
		return;
	v->next = v->from;
	v->found = 0;
	http_loop(HTTP_HEAD_MAX, http_close_step, v);
	if (v->found)
		s->facts |= HTTP_F_CLOSE;
}

/* Length of [from, to) without its port: what follows the last colon is one when it is up to five digits; in [::1] the bracket stops the search. */
HTTP_INLINE __u32 http_host_len(const struct http_buf *buf, __u32 from, __u32 to)
{
	__u32 len = to - from;

	for (__u32 i = 1; i <= 6 && i <= len; i++) {
		__u8 c = http_byte(buf, to - i);

		if (c == ':')
			return len - i;
		if (c < '0' || c > '9')
			break;
	}
	return len;
}

/* RFC 9110 section 7.2. */
HTTP_INLINE void http_host_line(struct http_scan *s, const struct http_value *v)
{
	if (s->facts & HTTP_F_HOST)
		return;
	s->facts |= HTTP_F_HOST;
	s->host_off = v->from;
	s->host_len = http_host_len(v->buf, v->from, v->to);
}

#define HTTP_STEP_BYTES 64 /* looked at in one turn of a loop */

#define HTTP_COOKIE HTTP_WORD('c', 'o', 'o', 'k', 'i', 'e', ':', 0)
#define HTTP_COOKIE_LEN 6 /* without its colon */

/* ---- lines ------------------------------------------------------------------------------------------------------------------------------- */

struct http_ctx {
	const struct http_buf *buf;
	const struct http_name *name;
	struct http_scan *scan;
};

HTTP_INLINE __u64 http_name_word(const struct http_name *name, __u32 ahead)
{
#ifdef __bpf__
	return *(const __u64 *)(name->s + ahead);
#else
	__u64 w;

	memcpy(&w, name->s + ahead, sizeof(w));
	return w;
#endif
}

/* 0xff where a word of a name has a byte. */
HTTP_INLINE __u64 http_name_mask(__u64 word)
{
	return (((word + HTTP_LOW7) & HTTP_TOP) >> 7) * 0xff;
}

/* Length of the wanted name when it is at `at` with the byte `after` behind it, else 0. */
HTTP_INLINE __u32 http_match_name(const struct http_buf *buf, __u32 at, const struct http_name *name, int any_case, __u8 after)
{
	__u32 len = 0;

	for (__u32 ahead = 0; ahead < SHUNT_NAME_MAX; ahead += 8) {
		__u64 want = http_name_word(name, ahead), mask = http_name_mask(want), have = http_word(buf, at, ahead);

		if (((any_case ? http_lower_case(have) : have) & mask) != want)
			return 0;
		len += ((mask & HTTP_EACH(1)) * HTTP_EACH(1)) >> 56;
		if (~mask)
			break;
	}
	http_opaque(at);
	http_opaque(len);
	if (len > SHUNT_NAME_MAX || buf->b[(at & (HTTP_HEAD_MAX - 1)) + len] != after)
		return 0;
	return len;
}

HTTP_INLINE void http_id_line(struct http_ctx *c, __u32 line, __u32 eol)
{
	struct http_scan *s = c->scan;
	struct http_value v;
	__u32 len;

	if (s->facts & HTTP_F_ID)
		return;
	len = c->name->kind == SHUNT_ID_COOKIE ? HTTP_COOKIE_LEN : http_match_name(c->buf, line, c->name, 1, ':');
	if (!len)
		return;
	http_value_of(c->buf, line + len + 1, eol, &v);
	s->facts |= HTTP_F_ID;
	s->id_off = v.from;
	s->id_len = v.to - v.from;
}

/* Whether a byte behind a name makes it another name, and not one that some reader may take for the same. */
HTTP_INLINE int http_goes_on(__u8 c)
{
	__u8 letter = c | 0x20;

	return (letter >= 'a' && letter <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/*
 * Content-Length and Transfer-Encoding, by their first word. What nearly is one of them is refused by some servers and taken for it by others: a blank
 * or another odd byte before the colon (RFC 9112 section 5.1), '_' for '-' (CGI makes both the same). Its value is not believed.
 */
HTTP_INLINE void http_framing_line(struct http_ctx *c, __u32 line, __u32 eol, __u64 first)
{
	__u64 second = http_lower_case(http_word(c->buf, line, 8));
	struct http_scan *s = c->scan;
	struct http_value v;
	__u32 len;
	__u8 after;

	if ((__u8)first == 'c') {
		if ((second & HTTP_BYTES(6)) != HTTP_WORD('l', 'e', 'n', 'g', 't', 'h', 0, 0))
			return;
		len = 14;
		after = second >> 48;
	} else {
		if (second >> 8 != HTTP_WORD('-', 'e', 'n', 'c', 'o', 'd', 'i', 'n') >> 8 || (http_byte(c->buf, line + 16) | 0x20) != 'g')
			return;
		if ((__u8)second == '_')
			s->facts |= HTTP_F_UNFRAMED;
		else if ((__u8)second != '-')
			return;
		len = 17;
		after = http_byte(c->buf, line + 17);
	}
	if (first >> 56 == '_' || (after != ':' && !http_goes_on(after)))
		s->facts |= HTTP_F_UNFRAMED;
	if (after != ':')
		return;
	s->facts |= HTTP_F_FRAMING_LINE;
	http_value_of(c->buf, line + len + 1, eol, &v);
	if (len == 14)
		http_length_line(s, &v);
	else
		http_coding_line(s, &v);
}

/* A line after the first: line < eol. */
HTTP_INLINE void http_field_line(struct http_ctx *c, __u32 line, __u32 eol)
{
	__u64 first = http_lower_case(http_word(c->buf, line, 0));
	struct http_scan *s = c->scan;
	__u32 facts = s->facts;
	struct http_value v;

	if (http_is_blank((__u8)first)) { /* obs-fold: goes on with the line before (RFC 9112 section 5.2) */
		if (facts & HTTP_F_FRAMING_LINE || !(facts & HTTP_F_RESPONSE))
			s->facts = facts | HTTP_F_UNFRAMED;
		return;
	}
	if ((__u8)first < '!' || (__u8)first > '~' || (__u8)first == ':') /* no name begins so; some servers skip such bytes */
		facts |= facts & HTTP_F_RESPONSE ? 0 : HTTP_F_UNFRAMED;
	s->facts = facts & ~HTTP_F_FRAMING_LINE;

	if ((first & s->id_mask) == s->id_first && s->id_mask)
		http_id_line(c, line, eol);

	if ((first & HTTP_BYTES(5)) == HTTP_WORD('h', 'o', 's', 't', ':', 0, 0, 0)) {
		http_value_of(c->buf, line + 5, eol, &v);
		http_host_line(s, &v);
	} else if (first == HTTP_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '-') || first == HTTP_WORD('t', 'r', 'a', 'n', 's', 'f', 'e', 'r') ||
		   first == HTTP_WORD('c', 'o', 'n', 't', 'e', 'n', 't', '_')) {
		http_framing_line(c, line, eol, first);
	} else if (first == HTTP_WORD('c', 'o', 'n', 'n', 'e', 'c', 't', 'i')) {
		if ((http_lower_case(http_word(c->buf, line, 8)) & HTTP_BYTES(3)) != HTTP_WORD('o', 'n', ':', 0, 0, 0, 0, 0))
			return;
		http_value_of(c->buf, line + 11, eol, &v);
		http_connection_line(s, &v);
	} else if (first == HTTP_WORD('u', 'p', 'g', 'r', 'a', 'd', 'e', ':')) {
		s->facts |= HTTP_F_UPGRADE;
	} else if ((first & HTTP_BYTES(7)) == HTTP_WORD('e', 'x', 'p', 'e', 'c', 't', ':', 0)) {
		s->facts |= HTTP_F_EXPECT;
	}
}

/*
 * Length of the method at `at`, 0 when `end` comes before its blank, -1 when it is none. Methods are upper case with '-' and '_', as nginx takes them;
 * the registry has no other (RFC 9110 section 16.1). PRI is not a method but the start of HTTP/2 (RFC 9113 section 3.4).
 */
HTTP_INLINE __s32 http_method(const struct http_buf *buf, __u32 at, __u32 end)
{
	if ((http_word(buf, at, 0) & HTTP_BYTES(4)) == HTTP_WORD('P', 'R', 'I', ' ', 0, 0, 0, 0) && end - at >= 4)
		return -1;
	for (__u32 ahead = 0; ahead < HTTP_METHOD_MAX; ahead += 8) {
		__u64 w = http_word(buf, at, ahead);
		__u64 stop = ~(http_upper(w) | http_equal(w, '-') | http_equal(w, '_')) & HTTP_TOP;
		__u32 len;

		if (!stop)
			continue;
		len = ahead + http_first(stop);
		if (len >= end - at)
			return 0;
		return len && http_byte(buf, at + len) == ' ' ? (__s32)len : -1;
	}
	return end - at > HTTP_METHOD_MAX ? -1 : 0;
}

/* "HTTP/1." and a digit (RFC 9112 section 2.3). */
HTTP_INLINE int http_is_version(__u64 w)
{
	__u8 minor = w >> 56;

	return (w & HTTP_BYTES(7)) == HTTP_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0) && minor >= '0' && minor <= '9';
}

/* RFC 9112 section 3: one blank before the target and one after it. Blanks within are the pod's to refuse. */
HTTP_INLINE int http_request_line(const struct http_buf *buf, struct http_scan *s, __u32 line, __u32 eol)
{
	__s32 method = http_method(buf, line, eol);
	__u32 target, target_end = eol - 9;
	__u64 first = http_word(buf, line, 0), version;

	if (method <= 0 || eol - line < (__u32)method + 11)
		return 0;
	target = line + method + 1;
	version = http_word(buf, eol - 8, 0);
	if (!http_is_version(version) || http_byte(buf, target_end) != ' ' || http_byte(buf, target) == ' ' || http_byte(buf, target_end - 1) == ' ')
		return 0;
	if (version >> 56 == '0')
		s->facts |= HTTP_F_HTTP10;
	if ((first & HTTP_BYTES(5)) == HTTP_WORD('H', 'E', 'A', 'D', ' ', 0, 0, 0))
		s->facts |= HTTP_F_HEAD;
	if ((first & HTTP_BYTES(4)) == HTTP_WORD('G', 'E', 'T', ' ', 0, 0, 0, 0))
		s->facts |= HTTP_F_GET;
	if (first == HTTP_WORD('C', 'O', 'N', 'N', 'E', 'C', 'T', ' '))
		s->facts |= HTTP_F_UNFRAMED;
	s->start_off = target;
	s->start_len = target_end - target;
	s->method_len = method;
	return 1;
}

/* RFC 9112 section 4: "HTTP/1.1 200 OK"; the blank and the reason after the code may be missing. */
HTTP_INLINE int http_status_line(const struct http_buf *buf, struct http_scan *s, __u32 line, __u32 eol)
{
	__u64 version = http_word(buf, line, 0), code = http_word(buf, line, 8) >> 8;
	__u32 bad = 0, status;

	if (eol - line < 12 || !http_is_version(version) || http_byte(buf, line + 8) != ' ')
		return 0;
	status = http_digits(code, 3, &bad);
	if (bad || status < 100 || (eol - line > 12 && http_byte(buf, line + 12) != ' '))
		return 0;
	if (version >> 56 == '0')
		s->facts |= HTTP_F_HTTP10;
	s->status = status;
	return 1;
}

/* The first line: line < eol. Returns whether it is one. */
HTTP_INLINE int http_start_line(const struct http_buf *buf, struct http_scan *s, __u32 line, __u32 eol)
{
	int good = s->facts & HTTP_F_RESPONSE ? http_status_line(buf, s, line, eol) : http_request_line(buf, s, line, eol);

	s->facts |= HTTP_F_STARTED | HTTP_F_FRAMING_LINE;
	return good;
}

/* A line is known; `next` begins the one after it. Returns 1 when the scan is over. */
HTTP_INLINE long http_line(struct http_ctx *c, __u32 eol, __u32 next)
{
	struct http_scan *s = c->scan;
	__u32 line = s->line;

	s->line = s->pos = next;
	if (line == eol) {
		if (s->facts & HTTP_F_STARTED)
			s->verdict = HTTP_COMPLETE;
		else if (s->facts & HTTP_F_RESPONSE)
			s->verdict = HTTP_BAD;
		return s->verdict != HTTP_PARTIAL; /* empty lines before a request are skipped (RFC 9112 section 2.2) */
	}
	if (s->facts & HTTP_F_STARTED) {
		http_field_line(c, line, eol);
		return 0;
	}
	if (http_start_line(c->buf, s, line, eol))
		return 0;
	s->verdict = HTTP_BAD;
	return 1;
}

/*
 * Stopped at a byte below 0x10. LF alone ends a line, as most servers have it (RFC 9112 section 2.2), but not all: in a request it leaves the framing
 * in doubt. So does any control byte but the tab; of an answer only CR alone does.
 */
HTTP_INLINE long http_stop(struct http_ctx *c, __u32 pos)
{
	__u16 two = http_word(c->buf, pos, 0);
	struct http_scan *s = c->scan;
	__u8 byte = two;

	if (byte != '\t' && !(s->facts & HTTP_F_RESPONSE) && two != ('\r' | '\n' << 8) && (byte != '\r' || pos + 1 != s->end))
		s->facts |= HTTP_F_UNFRAMED;
	if (byte == '\n')
		return http_line(c, pos, pos + 1);
	if (byte == '\r' && pos + 1 == s->end) {
		s->pos = pos;
		return 1;
	}
	if (two == ('\r' | '\n' << 8))
		return http_line(c, pos, pos + 2);
	if (!byte || !(s->facts & HTTP_F_STARTED)) {
		s->verdict = HTTP_BAD;
		return 1;
	}
	if (byte == '\r')
		s->facts |= HTTP_F_UNFRAMED;
	s->pos = pos + 1;
	return 0;
}

/* The line that began at s->line ends before the LF at `at`. Returns 1 when it is the wanted one. */
HTTP_INLINE long http_wanted_line(struct http_ctx *c, __u32 at)
{
	struct http_scan *s = c->scan;
	__u32 line = s->line, len;
	struct http_value v;

	s->line = s->pos = at + 1;
	if ((http_lower_case(http_word(c->buf, line, 0)) & s->id_mask) != s->id_first)
		return 0;
	len = http_match_name(c->buf, line, c->name, 1, ':');
	if (!len)
		return 0;
	http_value_of(c->buf, line + len + 1, http_byte(c->buf, at - 1) == '\r' ? at - 1 : at, &v);
	s->start_off = line;
	s->id_off = v.from;
	s->id_len = v.to - v.from;
	s->verdict = HTTP_COMPLETE;
	return 1;
}

/* A step of a walk over lines, to the next byte that ends one; when all of the head is read, also to those that it must not have. */
HTTP_INLINE long http_lines(struct http_ctx *c, int by_name)
{
	struct http_scan *s = c->scan;
	__u32 pos = s->pos;

	for (__u32 ahead = 0; ahead < HTTP_STEP_BYTES; ahead += 8) {
		__u64 w = http_word(c->buf, pos, ahead), stop = by_name ? http_equal(w, '\n') : http_below_16(w);

		if (!stop)
			continue;
		pos += ahead + http_first(stop);
		if (pos >= s->end)
			return 1;
		return by_name ? http_wanted_line(c, pos) : http_stop(c, pos);
	}
	s->pos = pos + HTTP_STEP_BYTES;
	return s->pos >= s->end;
}

HTTP_STEP long http_step(__u32 i, struct http_ctx *c)
{
	(void)i;
	return http_lines(c, 0);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------------------------------- */

/* Is [from, to) the wanted pair? Then its value is the id. No name has a byte that ends a pair, so it cannot match beyond. */
HTTP_INLINE int http_take_pair(struct http_ctx *c, __u32 from, __u32 to)
{
	struct http_scan *s = c->scan;
	struct http_value v;
	__u32 len;

	http_value_of(c->buf, from, to, &v);
	len = http_match_name(c->buf, v.from, c->name, 0, '=');
	if (!len)
		return 0;
	v.from += len + 1;
	if (s->walk == HTTP_IN_COOKIES && v.to - v.from >= 2 && http_byte(c->buf, v.from) == '"' && http_byte(c->buf, v.to - 1) == '"') {
		v.from++;
		v.to--;
	}
	s->id_off = v.from;
	s->id_len = v.to - v.from;
	return 1;
}

/* A line of the head begins at `next`. */
HTTP_INLINE void http_next_line(struct http_ctx *c, __u32 next)
{
	struct http_scan *s = c->scan;

	s->walk = HTTP_SKIP_LINE;
	if ((http_lower_case(http_word(c->buf, next, 0)) & HTTP_BYTES(7)) == HTTP_COOKIE) {
		s->walk = HTTP_IN_COOKIES;
		s->line = s->pos = next + HTTP_COOKIE_LEN + 1;
	}
}

/* What began at s->line ends at `at`. Returns 1 when the walk is over. */
HTTP_INLINE long http_pair(struct http_ctx *c, __u32 at)
{
	struct http_scan *s = c->scan;
	__u8 stop = http_byte(c->buf, at);
	__u32 from = s->line, to = at;

	if (stop == '\n' && to > from && http_byte(c->buf, to - 1) == '\r')
		to--;
	if ((s->walk == HTTP_IN_QUERY || s->walk == HTTP_IN_COOKIES) && http_take_pair(c, from, to))
		return 1;
	if (at + 1 >= s->end || stop == '#')
		return 1;
	s->line = s->pos = at + 1;
	if (s->walk == HTTP_SKIP_PATH)
		s->walk = HTTP_IN_QUERY;
	else if (stop == '\n')
		http_next_line(c, at + 1);
	return 0;
}

/* The bytes that end a pair in each part of a walk, and the bytes that end that part. */
HTTP_INLINE __u64 http_pair_stops(__u64 w, __u32 walk)
{
	if (walk <= HTTP_IN_QUERY)
		return http_equal(w, walk == HTTP_IN_QUERY ? '&' : '?') | http_equal(w, '#');
	return http_equal(w, walk == HTTP_IN_COOKIES ? ';' : '\n') | http_equal(w, '\n');
}

HTTP_STEP long http_pair_step(__u32 i, struct http_ctx *c)
{
	struct http_scan *s = c->scan;
	__u32 pos = s->pos;

	(void)i;
	for (__u32 ahead = 0; ahead < HTTP_STEP_BYTES; ahead += 8) {
		__u64 stop = http_pair_stops(http_word(c->buf, pos, ahead), s->walk);

		if (!stop)
			continue;
		pos += ahead + http_first(stop);
		return http_pair(c, pos < s->end ? pos : s->end);
	}
	s->pos = pos + HTTP_STEP_BYTES;
	return s->pos >= s->end ? http_pair(c, s->end) : 0;
}

/* The value of the wanted pair in [from, to) becomes the id; without one there is none. */
HTTP_INLINE void http_find_pair(struct http_ctx *c, __u32 from, __u32 to, enum http_walk walk)
{
	struct http_scan *s = c->scan;

	s->line = s->pos = from;
	s->end = to;
	s->walk = walk;
	s->id_off = s->id_len = 0;
	http_loop(HTTP_HEAD_MAX, http_pair_step, c);
}

/* ---- chunked bodies ---------------------------------------------------------------------------------------------------------------------- */

#define HTTP_CHUNK_DIGIT 0x80000000u /* of http_chunks.size: it has a digit */
#define HTTP_CHUNK_MAX 0x3fffffffu   /* bytes of one chunk: what sequence numbers compare, with room */

/*
 * A walk over a chunked body, kept between packets: only size lines, line ends and trailers are read, data is stepped over.
 *
 *     1a;x=y CR LF  data ......... CR LF  0 CR LF  Trailer: z CR LF  CR LF
 *     ╰ SIZE ... ╯  ╰ stepped over ╯╰──╯  ╰ SIZE ╯ ╰ TRAILER ──────╯╰────╯ END
 */
struct http_chunks {
	__u32 state; /* enum shunt_chunk; SHUNT_CHUNK_SIZE at the start */
	__u32 next;  /* place of the next byte that must be read, in the caller's numbers */
	__u32 size;  /* of the chunk so far, with HTTP_CHUNK_DIGIT; 0 at the start */
};

HTTP_INLINE int http_chunk_digit(struct http_chunks *c, __u8 byte)
{
	__u32 size = c->size & ~HTTP_CHUNK_DIGIT;
	__u8 digit = byte - '0';

	if (digit > 9) {
		digit = (byte | 0x20) - 'a';
		if (digit > 5)
			return 0;
		digit += 10;
	}
	if (size > HTTP_CHUNK_MAX >> 4)
		return 0;
	c->size = HTTP_CHUNK_DIGIT | size << 4 | digit;
	return 1;
}

/* The line end of a size line: what is to be read next lies behind the data. */
HTTP_INLINE void http_chunk_begins(struct http_chunks *c)
{
	__u32 size = c->size & ~HTTP_CHUNK_DIGIT;

	c->next += size;
	c->size = 0;
	c->state = size ? SHUNT_CHUNK_DATA_CR : SHUNT_CHUNK_LINE;
}

/* Of a byte behind a size. */
HTTP_INLINE int http_chunk_line(struct http_chunks *c, __u8 byte)
{
	if (byte == '\r') {
		c->state = SHUNT_CHUNK_SIZE_LF;
		return 1;
	}
	if (c->state == SHUNT_CHUNK_EXTENSION)
		return byte >= ' ' || byte == '\t';
	c->state = byte == ';' ? SHUNT_CHUNK_EXTENSION : SHUNT_CHUNK_BLANK;
	return byte == ';' || http_is_blank(byte);
}

/*
 * Reads the byte at c->next and moves next on. 0: no byte that belongs there, and *c is of no use any more. Stricter than servers are: where one takes
 * a lone LF for a line end and another does not, neither is believed.
 */
HTTP_INLINE int http_chunk_byte(struct http_chunks *c, __u8 byte)
{
	c->next++;
	switch (c->state) {
	case SHUNT_CHUNK_SIZE:
		if (http_chunk_digit(c, byte))
			return 1;
		return c->size & HTTP_CHUNK_DIGIT ? http_chunk_line(c, byte) : 0;
	case SHUNT_CHUNK_BLANK:
	case SHUNT_CHUNK_EXTENSION:
		return http_chunk_line(c, byte);
	case SHUNT_CHUNK_SIZE_LF:
		http_chunk_begins(c);
		return byte == '\n';
	case SHUNT_CHUNK_DATA_CR:
		c->state = SHUNT_CHUNK_DATA_LF;
		return byte == '\r';
	case SHUNT_CHUNK_DATA_LF:
		c->state = SHUNT_CHUNK_SIZE;
		return byte == '\n';
	case SHUNT_CHUNK_LINE:
		c->state = byte == '\r' ? SHUNT_CHUNK_LAST_LF : SHUNT_CHUNK_TRAILER;
		return byte == '\r' || byte > ' ';
	case SHUNT_CHUNK_TRAILER:
		if (byte == '\r')
			c->state = SHUNT_CHUNK_TRAILER_LF;
		return byte == '\r' || byte >= ' ' || byte == '\t';
	case SHUNT_CHUNK_TRAILER_LF:
		c->state = SHUNT_CHUNK_LINE;
		return byte == '\n';
	default:
		c->state = SHUNT_CHUNK_END;
		return byte == '\n';
	}
}

/* ---- targets ----------------------------------------------------------------------------------------------------------------------------- */

/* Looks for an authority's end. Its host begins at s->line: user information before an '@' is not of it (RFC 9110 section 4.2.4). */
HTTP_STEP long http_authority_step(__u32 i, struct http_ctx *c)
{
	struct http_scan *s = c->scan;
	__u32 pos = s->pos;

	(void)i;
	for (__u32 ahead = 0; ahead < HTTP_STEP_BYTES; ahead += 8) {
		__u64 w = http_word(c->buf, pos, ahead);
		__u64 stop = http_equal(w, '/') | http_equal(w, '?') | http_equal(w, '#') | http_equal(w, '@');

		if (!stop)
			continue;
		pos += ahead + http_first(stop);
		if (pos >= s->end)
			return 1;
		if (http_byte(c->buf, pos) != '@') {
			s->end = pos;
			return 1;
		}
		s->line = s->pos = pos + 1;
		return 0;
	}
	s->pos = pos + HTTP_STEP_BYTES;
	return s->pos >= s->end;
}

/* RFC 9112 section 3.2.2: of "http://host:port/path" the host replaces the header Host, and the path follows the authority. */
HTTP_INLINE void http_absolute_form(struct http_ctx *c, struct http_request *r)
{
	__u64 first = http_lower_case(http_word(c->buf, r->target_off, 0));
	struct http_scan *s = c->scan;
	__u32 scheme = 0;

	if ((first & HTTP_BYTES(7)) == HTTP_WORD('h', 't', 't', 'p', ':', '/', '/', 0))
		scheme = 7;
	else if (first == HTTP_WORD('h', 't', 't', 'p', 's', ':', '/', '/'))
		scheme = 8;
	if (!scheme || r->target_len < scheme)
		return;
	s->line = s->pos = r->target_off + scheme;
	s->end = r->target_off + r->target_len;
	http_loop(HTTP_HEAD_MAX, http_authority_step, c);
	r->host_off = s->line;
	r->host_len = http_host_len(c->buf, s->line, s->end);
	r->path_off = s->end;
}

HTTP_INLINE void http_scan_begin(struct http_scan *s, __u32 off, __u32 len, __u32 facts)
{
	s->length = 0;
	s->id_first = s->id_mask = 0;
	s->pos = s->line = off;
	s->end = off + len;
	s->facts = facts;
	s->verdict = HTTP_PARTIAL;
	s->id_off = s->id_len = 0;
	s->host_off = s->host_len = 0;
	s->start_off = s->start_len = 0;
	s->status = 0;
	s->method_len = 0;
}

/* ---- lines by name ----------------------------------------------------------------------------------------------------------------------- */

HTTP_STEP long http_find_step(__u32 i, struct http_ctx *c)
{
	(void)i;
	return http_lines(c, 1);
}

/*
 * The first line of buf[from, to), whole lines of a head, whose name is `name` (lower case; the colon right behind it). 1: ret_scan->start_off is where
 * it begins, line where the next one does, id_off and id_len are its value without white space around; 0: there is none.
 */
HTTP_API int http_find_line(const struct http_buf *buf, __u32 from, __u32 to, const struct http_name *name, struct http_scan *ret_scan)
{
	struct http_scan *s = ret_scan;
	struct http_ctx c;

	if (!buf || !name || !s || from > HTTP_HEAD_MAX || to > HTTP_HEAD_MAX || to < from)
		return 0;
	http_scan_begin(s, from, to - from, 0);
	s->id_first = http_name_word(name, 0);
	s->id_mask = http_name_mask(s->id_first);
	c.buf = buf;
	c.name = name;
	c.scan = s;
	http_loop(HTTP_HEAD_MAX, http_find_step, &c);
	return s->verdict == HTTP_COMPLETE;
}

/* Looks for the line end from s->pos on; s->line is where the line behind it begins. Returns 1 when that does not go on this one. */
HTTP_STEP long http_fold_step(__u32 i, struct http_ctx *c)
{
	struct http_scan *s = c->scan;
	__u32 pos = s->pos;

	(void)i;
	for (__u32 ahead = 0; ahead < HTTP_STEP_BYTES; ahead += 8) {
		__u64 stop = http_equal(http_word(c->buf, pos, ahead), '\n');

		if (!stop)
			continue;
		s->line = s->pos = pos + ahead + http_first(stop) + 1;
		return s->line >= s->end || !http_is_blank(http_byte(c->buf, s->line));
	}
	s->pos = pos + HTTP_STEP_BYTES;
	return s->pos >= s->end;
}

/*
 * Where the next line begins that is none of the one before `at`: lines that begin with a blank go on that one (obs-fold, RFC 9112 section 5.2). `at`
 * begins a line, and buf[..to) ends with a line end. ret_scan is for the search's use.
 */
HTTP_API int http_skip_folds(const struct http_buf *buf, __u32 at, __u32 to, struct http_scan *ret_scan)
{
	struct http_ctx c = { .buf = buf, .scan = ret_scan };

	if (!buf || !ret_scan || at > HTTP_HEAD_MAX || to > HTTP_HEAD_MAX || at >= to || !http_is_blank(http_byte(buf, at)))
		return at;
	ret_scan->pos = ret_scan->line = at;
	ret_scan->end = to;
	http_loop(HTTP_HEAD_MAX, http_fold_step, &c);
	return ret_scan->line < to ? ret_scan->line : to;
}

/* ---- heads ------------------------------------------------------------------------------------------------------------------------------- */

/* RFC 9112 section 6.3, without what depends on the method and the status. */
HTTP_INLINE __u32 http_framing_of(__u32 facts, __u32 otherwise)
{
	if (facts & HTTP_F_UNFRAMED)
		return HTTP_UNKNOWN;
	if (facts & HTTP_F_CODING)
		return facts & (HTTP_F_LENGTH | HTTP_F_HTTP10) ? HTTP_UNKNOWN : HTTP_CHUNKED;
	return facts & HTTP_F_LENGTH ? HTTP_LENGTH : otherwise;
}

/*
 * How the body of a request is framed. A GET or HEAD has none; should it say it has one, some servers read it and others take it for the next request
 * (RFC 9110 section 9.3.1).
 */
HTTP_INLINE __u32 http_request_framing(const struct http_scan *s)
{
	__u32 framing = http_framing_of(s->facts, HTTP_NO_BODY);

	if (s->facts & (HTTP_F_GET | HTTP_F_HEAD) && (framing == HTTP_CHUNKED || s->length))
		return HTTP_UNKNOWN;
	return framing;
}

/*
 * Scans buf->b[off, off + len) for the head of a request; off + len <= HTTP_HEAD_MAX (more gives HTTP_BAD). `name` is what holds the user id.
 * Returns enum http_verdict; *ret_request is meaningful when that is HTTP_COMPLETE. All offsets count from buf->b.
 */
HTTP_API int http_scan_request(const struct http_buf *buf, __u32 off, __u32 len, const struct http_name *name, struct http_request *ret_request)
{
	struct http_request *r = ret_request;
	struct http_ctx c;
	struct http_scan *s;

	if (!buf || !name || !r || off > HTTP_HEAD_MAX || len > HTTP_HEAD_MAX - off)
		return HTTP_BAD;
	s = &r->scan;
	http_scan_begin(s, off, len, 0);
	if (name->kind == SHUNT_ID_HEADER) {
		s->id_first = http_name_word(name, 0);
		s->id_mask = http_name_mask(s->id_first);
	} else if (name->kind == SHUNT_ID_COOKIE) {
		s->id_first = HTTP_COOKIE;
		s->id_mask = HTTP_BYTES(7);
	}
	c.buf = buf;
	c.name = name;
	c.scan = s;
	http_loop(HTTP_HEAD_MAX, http_step, &c);

	if (s->verdict == HTTP_PARTIAL && !(s->facts & HTTP_F_STARTED) && s->line < s->end && http_byte(buf, s->line) != '\r' &&
	    http_method(buf, s->line, s->end) < 0)
		return HTTP_BAD;
	if (s->verdict != HTTP_COMPLETE)
		return s->verdict;
	r->head_len = s->pos - off;
	if (name->kind == SHUNT_ID_QUERY)
		http_find_pair(&c, s->start_off, s->start_off + s->start_len, HTTP_SKIP_PATH);
	else if (name->kind == SHUNT_ID_COOKIE && s->facts & HTTP_F_ID)
		http_find_pair(&c, s->id_off, s->pos, HTTP_IN_COOKIES);
	r->framing = http_request_framing(s);
	r->length = s->length;
	r->id_off = s->id_off;
	r->id_len = s->id_len;
	r->host_off = s->host_off;
	r->host_len = s->host_len;
	r->target_off = s->start_off;
	r->target_len = s->start_len;
	r->path_off = s->start_off;
	r->method_len = s->method_len;
	if (http_byte(buf, s->start_off) != '/')
		http_absolute_form(&c, r);
	r->head_method = s->facts & HTTP_F_HEAD ? 1 : 0;
	r->http10 = s->facts & HTTP_F_HTTP10 ? 1 : 0;
	r->close = s->facts & HTTP_F_CLOSE ? 1 : 0;
	r->upgrade = s->facts & HTTP_F_UPGRADE ? 1 : 0;
	r->expect = s->facts & HTTP_F_EXPECT ? 1 : 0;
	return HTTP_COMPLETE;
}

/* Whether a status line may begin with the bytes of [at, end), which hold no line end. */
HTTP_INLINE int http_is_response(const struct http_buf *buf, __u32 at, __u32 end)
{
	__u32 len = end - at < 7 ? end - at : 7;
	__u64 differ = http_word(buf, at, 0) ^ HTTP_WORD('H', 'T', 'T', 'P', '/', '1', '.', 0);

	return !len || !(differ & HTTP_BYTES(len));
}

/* The same for a response. A head that is framed by nothing ends with the connection: HTTP_UNKNOWN. */
HTTP_API int http_scan_response(const struct http_buf *buf, __u32 off, __u32 len, struct http_response *ret_response)
{
	struct http_response *r = ret_response;
	struct http_ctx c;
	struct http_scan *s;

	if (!buf || !r || off > HTTP_HEAD_MAX || len > HTTP_HEAD_MAX - off)
		return HTTP_BAD;
	s = &r->scan;
	http_scan_begin(s, off, len, HTTP_F_RESPONSE);
	c.buf = buf;
	c.name = (const struct http_name *)buf; /* never compared: id_mask is 0 */
	c.scan = s;
	http_loop(HTTP_HEAD_MAX, http_step, &c);

	if (s->verdict == HTTP_PARTIAL && !(s->facts & HTTP_F_STARTED) && !http_is_response(buf, s->line, s->end))
		return HTTP_BAD;
	if (s->verdict != HTTP_COMPLETE)
		return s->verdict;

	r->head_len = s->pos - off;
	r->framing = http_framing_of(s->facts, HTTP_UNKNOWN);
	r->length = s->length;
	r->status = s->status;
	r->http10 = s->facts & HTTP_F_HTTP10 ? 1 : 0;
	r->close = s->facts & HTTP_F_CLOSE ? 1 : 0;
	return HTTP_COMPLETE;
}

#endif
