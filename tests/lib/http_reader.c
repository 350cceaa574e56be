/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "http_reader.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct reader {
	const char *at, *end;
	const struct http_name *id; /* NULL: a response */
	bool unframed, fragile; /* fragile: a fold here would change the framing */
	bool bodyless; /* GET or HEAD */
	int lengths, codings;
	bool seen_id, seen_host;
	struct {
		uint32_t head_len, framing, id_off, id_len, host_off, host_len, target_off, target_len, path_off, method_len, status;
		uint64_t length;
		bool head, http10, close, upgrade, expect;
	} out;
};

enum line_end { LINE, LINE_CUT, LINE_BAD };

/* One line without its end. */
static enum line_end read_line(struct reader *r, bool first, const char **ret_line, size_t *ret_len)
{
	const char *start = r->at;

	for (const char *p = start; p < r->end; p++) {
		if (*p == '\n' || (*p == '\r' && p + 1 < r->end && p[1] == '\n')) {
			r->unframed |= r->id && *p == '\n';
			*ret_line = start;
			*ret_len = p - start;
			r->at = p + (*p == '\n' ? 1 : 2);
			return LINE;
		}
		if (*p == '\r' && p + 1 == r->end)
			return LINE_CUT;
		if (*p == 0 || (first && (unsigned char)*p < 16))
			return LINE_BAD;
		if (*p == '\r' || (r->id && (unsigned char)*p < 16 && *p != '\t'))
			r->unframed = true;
	}
	return LINE_CUT;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* `name` and a colon begin the line: the value, trimmed. */
static bool field(const char *line, size_t len, const char *name, const char **ret_value, size_t *ret_len)
{
	size_t n = strlen(name);
	const char *from = line + n + 1, *to = line + len;

	if (!n || len <= n || strncasecmp(line, name, n) || line[n] != ':')
		return false;
	while (from < to && is_blank(*from))
		from++;
	while (from < to && is_blank(to[-1]))
		to--;
	*ret_value = from;
	*ret_len = to - from;
	return true;
}

/* Byte by byte: the list's pairs, each cut at its first '='. */
static void read_pairs(struct reader *r, const char *list, size_t len, char separator, const char *base)
{
	size_t name = strlen(r->id->s);

	for (const char *from = list, *end = list + len, *to; from <= end && !r->seen_id; from = to + 1) {
		const char *pair = from, *pair_end;

		for (to = from; to < end && *to != separator; to++)
			;
		pair_end = to;
		while (pair < pair_end && is_blank(*pair))
			pair++;
		while (pair < pair_end && is_blank(pair_end[-1]))
			pair_end--;
		if ((size_t)(pair_end - pair) <= name || memchr(pair, '=', pair_end - pair) != pair + name || memcmp(pair, r->id->s, name))
			continue;
		r->seen_id = true;
		pair += name + 1;
		if (separator == ';' && pair_end - pair >= 2 && *pair == '"' && pair_end[-1] == '"') {
			pair++;
			pair_end--;
		}
		r->out.id_off = pair - base;
		r->out.id_len = pair_end - pair;
	}
}

static void read_query(struct reader *r, const char *target, size_t len, const char *base)
{
	const char *query, *fragment = memchr(target, '#', len);

	if (fragment)
		len = fragment - target;
	query = memchr(target, '?', len);
	if (query)
		read_pairs(r, query + 1, target + len - query - 1, '&', base);
}

static bool has_close(const char *value, size_t len)
{
	char text[HTTP_HEAD_MAX + 1], *save = NULL;
	bool spaced = false;

	memcpy(text, value, len);
	text[len] = 0;
	for (char *token = strtok_r(text, ", \t", &save); token; token = strtok_r(NULL, ", \t", &save))
		spaced |= !strcasecmp(token, "close");
	return spaced;
}

static void read_length(struct reader *r, const char *value, size_t len)
{
	uint64_t number = 0;
	bool good = len >= 1 && len <= 16;

	for (size_t i = 0; i < len && good; i++) {
		good = value[i] >= '0' && value[i] <= '9';
		number = number * 10 + (value[i] - '0');
	}
	if (!good || (r->lengths && number != r->out.length))
		r->unframed = true;
	if (good)
		r->out.length = number;
	r->lengths++;
}

static void read_host(struct reader *r, const char *value, size_t len, const char *base)
{
	size_t digits = 0;

	if (r->seen_host)
		return;
	r->seen_host = true;
	while (digits < len && isdigit((unsigned char)value[len - 1 - digits]))
		digits++;
	if (digits <= 5 && digits < len && value[len - 1 - digits] == ':')
		len -= digits + 1;
	r->out.host_off = value - base;
	r->out.host_len = len;
}

/* A line that some reader may take for a field of that name: odd bytes before the colon, '_' for '-'. */
static bool nearly(const char *line, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len < n)
		return false;
	for (size_t i = 0; i < n; i++)
		if ((name[i] != '-' || line[i] != '_') && tolower((unsigned char)line[i]) != name[i])
			return false;
	if (memchr(line, '_', n))
		return true;
	return len == n || (line[n] != ':' && line[n] != '-' && line[n] != '_' && !isalnum((unsigned char)line[n]));
}

static void read_field(struct reader *r, const char *line, size_t len, const char *base)
{
	const char *value;
	size_t n;

	if (is_blank(*line)) {
		r->unframed |= r->fragile || r->id;
		return;
	}
	r->fragile = false;
	r->unframed |= r->id && (*line < '!' || *line > '~' || *line == ':');
	if (r->id && r->id->kind == SHUNT_ID_COOKIE && field(line, len, "cookie", &value, &n))
		read_pairs(r, value, n, ';', base);
	if (r->id && r->id->kind == SHUNT_ID_HEADER && field(line, len, r->id->s, &value, &n) && !r->seen_id) {
		r->seen_id = true;
		r->out.id_off = value - base;
		r->out.id_len = n;
	}
	if (field(line, len, "host", &value, &n))
		read_host(r, value, n, base);
	r->unframed |= nearly(line, len, "content-length") || nearly(line, len, "transfer-encoding");
	if (field(line, len, "content-length", &value, &n)) {
		r->fragile = true;
		read_length(r, value, n);
	}
	if (field(line, len, "transfer-encoding", &value, &n)) {
		r->fragile = true;
		r->unframed |= r->codings++ || n != 7 || strncasecmp(value, "chunked", 7);
	}
	if (field(line, len, "connection", &value, &n))
		r->out.close |= has_close(value, n);
	r->out.upgrade |= field(line, len, "upgrade", &value, &n);
	r->out.expect |= field(line, len, "expect", &value, &n);
}

/* Length of the method, 0 when there is no whole one yet, -1 when it is none. */
static int read_method(const char *line, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (line[i] == ' ' && i)
			return i == 3 && !memcmp(line, "PRI", 3) ? -1 : (int)i;
		if (i == 23 || !line[i] || !strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ-_", line[i]))
			return -1;
	}
	return 0;
}

static bool read_version(struct reader *r, const char *text)
{
	if (memcmp(text, "HTTP/1.", 7) || !isdigit((unsigned char)text[7]))
		return false;
	r->out.http10 = text[7] == '0';
	return true;
}

static bool read_request_line(struct reader *r, const char *line, size_t len, const char *base)
{
	int method = read_method(line, len);
	const char *target = line + method + 1, *last = line + len - 9;

	if (method <= 0 || last <= target || *last != ' ' || last[-1] == ' ' || *target == ' ' || !read_version(r, last + 1))
		return false;
	r->out.head = method == 4 && !memcmp(line, "HEAD", 4);
	r->bodyless = r->out.head || (method == 3 && !memcmp(line, "GET", 3));
	r->unframed |= method == 7 && !memcmp(line, "CONNECT", 7);
	r->out.target_off = target - base;
	r->out.target_len = last - target;
	r->out.path_off = r->out.target_off;
	r->out.method_len = method;
	if (r->id->kind == SHUNT_ID_QUERY)
		read_query(r, target, r->out.target_len, base);
	return true;
}

/* A target that begins with a scheme tells the host, whatever the header Host says. */
static void read_absolute(struct reader *r, const char *base)
{
	const char *target = base + r->out.target_off, *end = target + r->out.target_len, *host, *path, *at;

	if (end - target >= 7 && !strncasecmp(target, "http://", 7))
		host = target + 7;
	else if (end - target >= 8 && !strncasecmp(target, "https://", 8))
		host = target + 8;
	else
		return;
	for (path = host; path < end && !strchr("/?#", *path); path++)
		;
	for (at = host; at < path; at++)
		if (*at == '@')
			host = at + 1;
	r->seen_host = false;
	read_host(r, host, path - host, base);
	r->out.path_off = path - base;
}

static bool read_status_line(struct reader *r, const char *line, size_t len)
{
	if (len < 12 || !read_version(r, line) || line[8] != ' ' || (len > 12 && line[12] != ' ') || line[9] == '0')
		return false;
	for (int i = 9; i < 12; i++) {
		if (!isdigit((unsigned char)line[i]))
			return false;
		r->out.status = r->out.status * 10 + line[i] - '0';
	}
	return true;
}

/* The verdict on the beginning of a first line. */
static int read_cut_start(const struct reader *r)
{
	size_t len = r->end - r->at;

	if (!r->id)
		return memcmp(r->at, "HTTP/1.", len < 7 ? len : 7) ? HTTP_BAD : HTTP_PARTIAL;
	if (len == 1 && *r->at == '\r')
		return HTTP_PARTIAL;
	return read_method(r->at, len) < 0 ? HTTP_BAD : HTTP_PARTIAL;
}

static uint32_t framing_of(const struct reader *r)
{
	if (r->unframed || (r->codings && (r->lengths || r->out.http10)) || (r->bodyless && (r->codings || r->out.length)))
		return HTTP_UNKNOWN;
	if (r->codings)
		return HTTP_CHUNKED;
	if (r->lengths)
		return HTTP_LENGTH;
	return r->id ? HTTP_NO_BODY : HTTP_UNKNOWN;
}

static int read_head(struct reader *r, const char *base)
{
	const char *head = r->at, *line;
	enum line_end end;
	size_t len;

	do {
		end = read_line(r, true, &line, &len);
	} while (end == LINE && !len && r->id);
	if (end == LINE_CUT)
		return read_cut_start(r);
	if (end == LINE_BAD || !(r->id ? read_request_line(r, line, len, base) : read_status_line(r, line, len)))
		return HTTP_BAD;
	r->fragile = true;
	for (;;) {
		end = read_line(r, false, &line, &len);
		if (end != LINE)
			return end == LINE_BAD ? HTTP_BAD : HTTP_PARTIAL;
		if (!len)
			break;
		read_field(r, line, len, base);
	}
	if (r->id)
		read_absolute(r, base);
	r->out.head_len = r->at - head;
	r->out.framing = framing_of(r);
	return HTTP_COMPLETE;
}

/* ---- comparison ------------------------------------------------------------------------------------------------------------------------- */

/* Notes a number that should be the same; true: it is not. */
static bool differs(const char *what, uint64_t got, uint64_t want, char *why)
{
	if (got == want)
		return false;
	snprintf(why, HTTP_WHY_MAX, "%s: the scanner says %llu, the reader %llu", what, (unsigned long long)got, (unsigned long long)want);
	return true;
}

/* A place in the buffer; that of nothing does not matter. */
static bool place_differs(const char *what, uint32_t off, uint32_t len, uint32_t want_off, uint32_t want_len, char *why)
{
	return differs(what, len, want_len, why) || (len && differs(what, off, want_off, why));
}

static struct reader reader_of(const struct http_buf *buf, uint32_t off, uint32_t len, const struct http_name *id)
{
	const char *at = (const char *)buf->b + off;

	return (struct reader){ .at = at, .end = at + len, .id = id };
}

bool http_readings_differ_request(const struct http_buf *buf, uint32_t off, uint32_t len, const struct http_name *id,
				  char ret_why[HTTP_WHY_MAX])
{
	struct reader r = reader_of(buf, off, len, id);
	struct http_request got;
	int want = read_head(&r, (const char *)buf->b);

	if (differs("verdict", http_scan_request(buf, off, len, id, &got), want, ret_why))
		return true;
	if (want != HTTP_COMPLETE)
		return false;
	return differs("length of the head", got.head_len, r.out.head_len, ret_why) || differs("framing", got.framing, r.out.framing, ret_why) ||
	       (got.framing == HTTP_LENGTH && differs("length of the body", got.length, r.out.length, ret_why)) ||
	       place_differs("user id", got.id_off, got.id_len, r.out.id_off, r.out.id_len, ret_why) ||
	       place_differs("host", got.host_off, got.host_len, r.out.host_off, r.out.host_len, ret_why) ||
	       place_differs("target", got.target_off, got.target_len, r.out.target_off, r.out.target_len, ret_why) ||
	       differs("path", got.path_off, r.out.path_off, ret_why) || differs("method", got.method_len, r.out.method_len, ret_why) ||
	       differs("HEAD", got.head_method, r.out.head, ret_why) || differs("HTTP/1.0", got.http10, r.out.http10, ret_why) ||
	       differs("close", got.close, r.out.close, ret_why) || differs("upgrade", got.upgrade, r.out.upgrade, ret_why) ||
	       differs("expect", got.expect, r.out.expect, ret_why);
}

bool http_readings_differ_response(const struct http_buf *buf, uint32_t off, uint32_t len, char ret_why[HTTP_WHY_MAX])
{
	struct reader r = reader_of(buf, off, len, NULL);
	struct http_response got;
	int want = read_head(&r, (const char *)buf->b);

	if (differs("verdict", http_scan_response(buf, off, len, &got), want, ret_why))
		return true;
	if (want != HTTP_COMPLETE)
		return false;
	return differs("length of the head", got.head_len, r.out.head_len, ret_why) || differs("framing", got.framing, r.out.framing, ret_why) ||
	       (got.framing == HTTP_LENGTH && differs("length of the body", got.length, r.out.length, ret_why)) ||
	       differs("status", got.status, r.out.status, ret_why) || differs("HTTP/1.0", got.http10, r.out.http10, ret_why) ||
	       differs("close", got.close, r.out.close, ret_why);
}

/* ---- chunked bodies --------------------------------------------------------------------------------------------------------------------- */

enum { CHUNKS_CUT = -1, CHUNKS_BAD = -2 };

/* The line of [at, at + len) up to CR LF, without control bytes; CHUNKS_CUT when that is still to come. */
static long chunk_line(const char *at, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (at[i] == '\r')
			return i + 1 == len ? CHUNKS_CUT : at[i + 1] == '\n' ? (long)i : CHUNKS_BAD;
		if ((unsigned char)at[i] < ' ' && at[i] != '\t')
			return CHUNKS_BAD;
	}
	return CHUNKS_CUT;
}

/* The size that a line begins with; CHUNKS_BAD when it is no size line, or the beginning of one. */
static long chunk_size(const char *line, size_t len)
{
	size_t at = 0;
	long size = 0;

	for (; at < len && isxdigit((unsigned char)line[at]); at++) {
		size = size * 16 + (isdigit((unsigned char)line[at]) ? line[at] - '0' : (line[at] | 0x20) - 'a' + 10);
		if (size > (long)HTTP_CHUNK_MAX)
			return CHUNKS_BAD;
	}
	if (!at && len)
		return CHUNKS_BAD;
	while (at < len && is_blank(line[at]))
		at++;
	return at < len && line[at] != ';' ? CHUNKS_BAD : size;
}

/* Length of the chunked body that [body, body + len) begins with, or one of the above. */
static long read_chunks(const char *body, size_t len)
{
	size_t at = 0;
	long line, size = 1;

	while (size) {
		const char *end = memchr(body + at, '\r', len - at);
		size_t shown = end ? (size_t)(end - body) - at : len - at;

		line = chunk_line(body + at, len - at);
		size = chunk_size(body + at, shown);
		if (size < 0 || line == CHUNKS_BAD || (line == 0 && size == 0))
			return CHUNKS_BAD;
		if (line == CHUNKS_CUT)
			return !shown && at < len ? CHUNKS_BAD : CHUNKS_CUT;
		at += line + 2;
		if (!size)
			break;
		if (len - at <= (size_t)size)
			return CHUNKS_CUT;
		at += size;
		if (body[at] != '\r' || (len - at > 1 && body[at + 1] != '\n'))
			return CHUNKS_BAD;
		if (len - at < 2)
			return CHUNKS_CUT;
		at += 2;
	}
	for (;;) {
		line = chunk_line(body + at, len - at);
		if (at < len && is_blank(body[at]))
			return CHUNKS_BAD;
		if (line < 0)
			return line;
		at += line + 2;
		if (!line)
			return at;
	}
}

bool http_readings_differ_chunks(const char *body, size_t len, char ret_why[HTTP_WHY_MAX])
{
	struct http_chunks chunks = { .state = SHUNT_CHUNK_SIZE };
	long want = read_chunks(body, len), got = CHUNKS_CUT;

	while (got == CHUNKS_CUT && chunks.next < len) {
		if (!http_chunk_byte(&chunks, body[chunks.next]))
			got = CHUNKS_BAD;
		else if (chunks.state == SHUNT_CHUNK_END)
			got = chunks.next;
	}
	return differs("end of the chunked body", got, want, ret_why);
}
