/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Header edits of requests: what the pod reads, however the client's bytes are cut and sent again, and what the client is told of the pod's numbers. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define USER "userhash: 1011\r\n" /* v2, whose requests get more bytes than they lose */
#define OTHER "userhash: 000\r\n" /* v1, whose requests get fewer */
#define LINES "Host: flowers-predictor-default.ns-candidate\r\nx-set: 1\r\nX-Add: 2\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define MAX 20000
#define OUR_WSCALE 7 /* bpf/lib/base.bpf.h */

/* ---- tables: those of dialogs, and edits ---------------------------------------------------------------------------------------------------- */

static void name_edit(struct shunt_edit *edit, const char *text, const char *const *names, size_t sets, size_t removes)
{
	*edit = (struct shunt_edit){ .len = strlen(text), .sets = sets, .removes = removes, .host = 1 };
	memcpy(edit->text, text, edit->len);
	for (size_t i = 0; i < sets + removes; i++)
		memcpy(edit->names[i].name, names[i], strlen(names[i]));
}

static const struct tables *edited_tables(void)
{
	static struct tables_version versions[8];
	static struct shunt_edit edits[2];
	static struct tables t;

	t = *dialog_tables();
	assert_true(t.version_count <= ARRAY_SIZE(versions));
	memcpy(versions, t.versions, t.version_count * sizeof(*versions));
	name_edit(&edits[0], LINES, (const char *[]){ "host", "x-set", "x-gone" }, 2, 1);
	name_edit(&edits[1], "Host: h\r\n", (const char *[]){ "host" }, 1, 0);
	versions[DIALOG_V2].value.request_edit = 1;
	versions[DIALOG_V1].value.request_edit = 2;
	t.versions = versions;
	t.edits = edits;
	t.edit_count = ARRAY_SIZE(edits);
	return &t;
}

/* ---- what the pod reads ----------------------------------------------------------------------------------------------------------------------- */

#define GET "GET / HTTP/1.1\r\n"
#define HOST "Host: example.com\r\n"

static const struct {
	const char *sentence, *request, *read;
} cases[] = {
	{ "Host is another", GET HOST USER "\r\n", GET USER LINES "\r\n" },
	{ "whatever its case and blanks", GET "hOsT:\texample.com  \r\n" USER "\r\n", GET USER LINES "\r\n" },
	{ "with a port", GET "Host: example.com:80\r\n" USER "\r\n", GET USER LINES "\r\n" },
	{ "the last of all", GET USER HOST "\r\n", GET USER LINES "\r\n" },
	{ "twice", GET HOST USER "Host: b\r\n\r\n", GET USER LINES "\r\n" },
	{ "what is removed and set goes, wherever it is", GET "X-Gone: a\r\n" HOST "x-set: b\r\nX-GONE:\r\n" USER "x-gone: c\r\n\r\n", GET USER LINES "\r\n" },
	{ "what is added stays beside what is there", GET HOST USER "X-Add: 1\r\n\r\n", GET USER "X-Add: 1\r\n" LINES "\r\n" },
	{ "names that only look like it", GET HOST USER "x-gon: a\r\nx-gonee: b\r\nx-set-: c\r\na: x-gone: d\r\n\r\n",
	  GET USER "x-gon: a\r\nx-gonee: b\r\nx-set-: c\r\na: x-gone: d\r\n" LINES "\r\n" },
	{ "a line that goes on goes with what it goes on", GET HOST "x-gone: a\r\n b\r\n\t c\r\n" USER "\r\n", GET USER LINES "\r\n" },
	{ "but not what goes on another", GET HOST USER "x: a\r\n x-gone: b\r\nx-gone: c\r\n\r\n", GET USER "x: a\r\n x-gone: b\r\n" LINES "\r\n" },
	{ "the last line goes on", GET HOST USER "x-gone: a\r\n b\r\n\r\n", GET USER LINES "\r\n" },
	{ "empty lines before", "\r\n\r\n" GET HOST USER "\r\n", "\r\n\r\n" GET USER LINES "\r\n" },
	{ "lone line feeds", "GET / HTTP/1.1\nHost: example.com\nuserhash: 1011\nx-gone: b\n\n", "GET / HTTP/1.1\nuserhash: 1011\n" LINES "\n" },
	{ "HTTP/1.0", "GET / HTTP/1.0\r\n" HOST USER "\r\n", "GET / HTTP/1.0\r\n" USER LINES "\r\n" },
	{ "absolute form", "GET http://example.com/a?b=c HTTP/1.1\r\n" HOST USER "\r\n", "GET /a?b=c HTTP/1.1\r\n" USER LINES "\r\n" },
	{ "absolute form of another port and a user", "GET HTTP://me@example.com:80/ HTTP/1.1\r\nHost: x\r\n" USER "\r\n", GET USER LINES "\r\n" },
	{ "absolute form without a path", "GET http://example.com HTTP/1.1\r\n" HOST USER "\r\n", GET USER LINES "\r\n" },
	{ "absolute form with a query alone", "GET http://example.com?b HTTP/1.1\r\n" HOST USER "\r\n", "GET /?b HTTP/1.1\r\n" USER LINES "\r\n" },
	{ "OPTIONS of the whole server", "OPTIONS http://example.com HTTP/1.1\r\n" HOST USER "\r\n", "OPTIONS * HTTP/1.1\r\n" USER LINES "\r\n" },
	{ "an asterisk", "OPTIONS * HTTP/1.1\r\n" HOST USER "\r\n", "OPTIONS * HTTP/1.1\r\n" USER LINES "\r\n" },
	{ "a body", "POST / HTTP/1.1\r\n" HOST USER "Content-Length: 24\r\n\r\nHost: a\r\nx-gone: b\r\n\r\nhi", "POST / HTTP/1.1\r\n" USER "Content-Length: 24\r\n" LINES
	  "\r\nHost: a\r\nx-gone: b\r\n\r\nhi" },
	{ "chunks", "POST / HTTP/1.1\r\n" HOST USER "Transfer-Encoding: chunked\r\n\r\n9\r\nHost: a\r\n\r\n0\r\nx-gone: b\r\n\r\n",
	  "POST / HTTP/1.1\r\n" USER "Transfer-Encoding: chunked\r\n" LINES "\r\n9\r\nHost: a\r\n\r\n0\r\nx-gone: b\r\n\r\n" },
	{ "fewer bytes", GET HOST OTHER "\r\n", GET OTHER "Host: h\r\n\r\n" },
};

struct asker {
	struct dialog d;
	struct dialog_pod pod;
};

static struct asker *asker_of(struct bpfrun *run, int family, const char *request, const char *sentence)
{
	static struct asker a;

	bpfrun_forget(run);
	a = (struct asker){ .d = dialog_of(run, family) };
	a.d.sentence = sentence;
	a.pod = dialog_pod(&a.d, strstr(request, "1011") ? DIALOG_V2 : DIALOG_V1);
	dialog_connects(&a.d);
	return &a;
}

/* The request, which the client has sent whole, on a new leg. */
static void expect_on_new_leg(struct asker *a, const char *read)
{
	dialog_expect_leg(&a->d, &a->pod, a->d.isn + 1);
	dialog_pod_accepts(&a->d, &a->pod, read, strlen(read));
}

static void pod_answers(struct asker *a)
{
	dialog_pod_says(&a->d, &a->pod, OK);
	dialog_flags(&a->d, ACK);
	dialog_expect_at_pod(&a->d, &a->pod, NULL, 0);
}

static void test_the_pod_reads_the_edited_head(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct asker *a = asker_of(*state, family, cases[i].request, cases[i].sentence);

			dialog_says(&a->d, cases[i].request);
			expect_on_new_leg(a, cases[i].read);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 1);
			pod_answers(a);
			assert_int_equal(bpfrun_holds(*state), 0);
		}
	}
}

static void test_so_it_does_on_a_leg_that_is_there_time_and_again(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct asker *a = asker_of(*state, i % 2, cases[i].request, cases[i].sentence);
		bool pins = strchr(cases[i].request, '\n')[-1] != '\r' || strstr(cases[i].request, "\r\n b\r\n") || strstr(cases[i].request, "\r\n x-");

		dialog_says(&a->d, cases[i].request);
		expect_on_new_leg(a, cases[i].read);
		pod_answers(a);
		if (pins || strstr(cases[i].request, "HTTP/1.0")) /* their framing is in doubt, so this connection is not read any more */
			continue;
		for (int n = 0; n < 3; n++) {
			dialog_says(&a->d, cases[i].request);
			dialog_expect_released(&a->d, &a->pod, cases[i].read);
			pod_answers(a);
			assert_int_equal(bpfrun_holds(*state), 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 4);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 1);
	}
}

/* The client's bytes up to the last piece are acknowledged, which the head's end is in. */
static void says_in_pieces(struct dialog *d, const char *text, const size_t *cuts, size_t count)
{
	size_t at = 0;

	for (size_t i = 0; i < count; i++) {
		dialog_sends(d, text + at, cuts[i] - at);
		dialog_expect_ack(d);
		at = cuts[i];
	}
	dialog_says(d, text + at);
}

static void test_whatever_the_pieces(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *end = strstr(cases[i].request, "\r\n\r\n");
		size_t head = end && end > cases[i].request ? (size_t)(end + 4 - cases[i].request) : strlen(cases[i].request);

		if (cases[i].request[0] == '\r')
			continue; /* a head of empty lines is not answered */
		for (size_t cut = 1; cut < head; cut++) {
			struct asker *a = asker_of(*state, cut % 2, cases[i].request, cases[i].sentence);

			says_in_pieces(&a->d, cases[i].request, &cut, 1);
			expect_on_new_leg(a, cases[i].read);
			pod_answers(a);
		}
	}
}

#define REQUEST GET HOST USER "\r\n"
#define READ GET USER LINES "\r\n"

static void test_byte_by_byte_on_both_kinds_of_legs(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asker *a = asker_of(*state, family, REQUEST, "byte by byte");
		size_t cuts[sizeof(REQUEST)];

		for (size_t i = 0; i < strlen(REQUEST) - 1; i++)
			cuts[i] = i + 1;
		says_in_pieces(&a->d, REQUEST, cuts, strlen(REQUEST) - 1);
		expect_on_new_leg(a, READ);
		pod_answers(a);
		says_in_pieces(&a->d, REQUEST, cuts, strlen(REQUEST) - 1);
		dialog_expect_released(&a->d, &a->pod, READ);
		pod_answers(a);
	}
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------------------------------- */

/* A bare packet of the pod. */
static void pod_acknowledges(struct asker *a, uint32_t ack, uint32_t left, uint32_t right)
{
	struct pkt p = { .saddr = a->pod.addr, .daddr = a->d.client, .sport = a->pod.port, .dport = a->pod.lport, .flags = ACK, .seq = a->pod.sent,
			 .ack = ack, .window = 1000, .tstamp = true, .tsval = ++a->pod.tsval, .tsecr = a->pod.tsecr, .sacks = left != right };

	p.sack[0][0] = left;
	p.sack[0][1] = right;
	bpfrun_packet(a->d.run, TO_CLIENT, &p, &a->d.r);
	assert_int_equal(a->d.r.verdict, V_PASS);
	assert_null(a->d.r.out.why);
}

static const struct {
	const char *request, *read;
} lengths[] = {
	{ GET HOST USER "\r\n", GET USER LINES "\r\n" },
	{ GET HOST OTHER "\r\n", GET OTHER "Host: h\r\n\r\n" },
};

/* An edited request on its way to a leg that has served another; *ret_start: C of its first byte. */
static struct asker *asks_again(struct bpfrun *run, size_t i, uint32_t *ret_start)
{
	struct asker *a = asker_of(run, i % 2, lengths[i].request, lengths[i].request);

	dialog_says(&a->d, lengths[i].request);
	expect_on_new_leg(a, lengths[i].read);
	pod_answers(a);
	*ret_start = a->d.next;
	dialog_says(&a->d, lengths[i].request);
	dialog_expect_released(&a->d, &a->pod, lengths[i].read);
	return a;
}

static void test_the_client_hears_of_its_head_when_the_pod_has_all_of_it(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (uint32_t at = 0; at <= strlen(lengths[i].read) + 20; at++) {
			uint32_t start, head = strlen(lengths[i].read);
			struct asker *a = asks_again(*state, i, &start);
			uint32_t first = a->pod.received - head, window;

			/* from 20 bytes before the head on */
			pod_acknowledges(a, first - 20 + at, 0, 0);
			assert_int_equal(a->d.r.out.pkt.ack, at <= 20 ? start - 20 + at : at < head + 20 ? start : a->d.next);
			/* The right edge is the pod's, or where the hold behind this request ends. */
			window = a->d.r.out.pkt.window << OUR_WSCALE;
			assert_true(window <= SHUNT_HOLD_SIZE + strlen(lengths[i].request) + 20);
			pod_acknowledges(a, a->pod.received, 0, 0);
			assert_int_equal(a->d.r.out.pkt.ack, a->d.next);
			assert_int_equal(bpfrun_holds(*state), 0);
		}
	}
}

static void test_a_small_window_of_the_pod_ends_where_it_says(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (uint32_t at = 0; at < strlen(lengths[i].read); at++) {
			uint32_t start, head = strlen(lengths[i].read);
			struct asker *a = asks_again(*state, i, &start);
			struct pkt p = { .saddr = a->pod.addr, .daddr = a->d.client, .sport = a->pod.port, .dport = a->pod.lport, .flags = ACK, .seq = a->pod.sent,
					 .ack = a->pod.received - head + at, .window = 4096 >> a->pod.wscale, .tstamp = true, .tsval = ++a->pod.tsval, .tsecr = a->pod.tsecr };
			uint32_t edge = a->d.next + 4096 - head + at;

			bpfrun_packet(*state, TO_CLIENT, &p, &a->d.r);
			assert_int_equal(a->d.r.out.pkt.ack, start);
			/* up to what two scales leave off */
			assert_true(edge - (start + (a->d.r.out.pkt.window << OUR_WSCALE)) < (1u << a->pod.wscale) + (1u << OUR_WSCALE));
		}
	}
}

static void test_a_block_within_the_head_is_none_of_the_client(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (uint32_t left = 1; left < strlen(lengths[i].read); left++) {
			uint32_t start, head = strlen(lengths[i].read);
			struct asker *a = asks_again(*state, i, &start);
			uint32_t first = a->pod.received - head;

			pod_acknowledges(a, first, first + left, first + head);
			assert_true((int32_t)(a->d.r.out.pkt.sack[0][1] - a->d.r.out.pkt.sack[0][0]) <= 0);
			pod_acknowledges(a, first, first + left, first + head + 100);
			assert_int_equal(a->d.r.out.pkt.sack[0][0], start + strlen(lengths[i].request));
			assert_int_equal(a->d.r.out.pkt.sack[0][1], start + strlen(lengths[i].request) + 100);
			pod_acknowledges(a, first, first - 10, first);
			assert_int_equal(a->d.r.out.pkt.sack[0][0], start - 10);
			assert_int_equal(a->d.r.out.pkt.sack[0][1], start);
		}
	}
}

/* ---- what is sent again -------------------------------------------------------------------------------------------------------------------------- */

/* One segment of the client, again. */
static void says_again(struct asker *a, uint32_t seq, const char *bytes, size_t len)
{
	uint32_t next = a->d.next;

	a->d.next = seq;
	dialog_sends(&a->d, bytes, len);
	a->d.next = next;
}

static void test_what_the_client_sends_again_of_the_head_is_answered_from_the_hold(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (size_t from = 0; from < strlen(lengths[i].request); from++) {
			uint32_t start;
			struct asker *a = asks_again(*state, i, &start);

			/* The pod has none of it, then a part. */
			a->pod.received -= strlen(lengths[i].read);
			says_again(a, start + from, lengths[i].request + from, strlen(lengths[i].request) - from);
			dialog_expect_released(&a->d, &a->pod, lengths[i].read);
			pod_acknowledges(a, a->pod.received - 10, 0, 0);
			a->pod.received -= 10;
			says_again(a, start + from, lengths[i].request + from, 1);
			dialog_expect_released(&a->d, &a->pod, lengths[i].read + strlen(lengths[i].read) - 10);
			pod_answers(a);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 2);
			/* The pod has it all, so this is old to it. */
			says_again(a, start, lengths[i].request, strlen(lengths[i].request));
			assert_int_equal(a->d.r.verdict, V_PASS);
			assert_int_equal(a->d.r.out.pkt.seq + a->d.r.out.pkt.len, a->pod.received);
		}
	}
}

#define POST "POST / HTTP/1.1\r\n"
#define BODY "0123456789"

static void test_bytes_before_the_head_that_were_lost_go_on_alone(void **state)
{
	struct asker *a = asker_of(*state, SHUNT_V4, REQUEST, "an early answer");
	uint32_t before, start;

	dialog_says(&a->d, POST HOST USER "Content-Length: 20\r\n\r\n");
	expect_on_new_leg(a, POST USER "Content-Length: 20\r\n" LINES "\r\n");
	pod_answers(a);
	/* The body comes behind its answer, and a part of it is lost behind us; then the next request. */
	dialog_says(&a->d, BODY);
	dialog_expect_at_pod(&a->d, &a->pod, BODY, 10);
	before = a->d.next;
	dialog_says(&a->d, BODY);
	start = a->d.next;
	dialog_says(&a->d, REQUEST);
	assert_int_equal(a->d.r.out.pkt.seq, a->pod.received + 10);
	assert_int_equal(a->d.r.out.pkt.len, strlen(READ));
	assert_memory_equal(a->d.r.out.pkt.payload, READ, strlen(READ));
	/* again by itself, then merged with the head, and the head without it */
	says_again(a, before, BODY, 10);
	dialog_expect_at_pod(&a->d, &a->pod, BODY, 10);
	a->pod.received -= 10;
	says_again(a, before, BODY REQUEST, strlen(BODY REQUEST));
	dialog_expect_released(&a->d, &a->pod, BODY);
	says_again(a, start, REQUEST, strlen(REQUEST));
	dialog_expect_released(&a->d, &a->pod, READ);
	pod_answers(a);
}

static void test_a_request_waits_while_the_pod_has_answered_and_not_all_of_the_head_before(void **state)
{
	uint32_t start;
	struct asker *a = asks_again(*state, 0, &start);

	/* It has answered, and has not all that it answered. */
	a->pod.received -= 5;
	a->d.waiting = strlen(REQUEST);
	dialog_pod_says(&a->d, &a->pod, OK);
	dialog_says(&a->d, REQUEST);
	assert_int_equal(a->d.r.verdict, V_DROP);
	a->d.next -= strlen(REQUEST);
	says_again(a, start, REQUEST, strlen(REQUEST));
	a->d.waiting = 0;
	dialog_expect_released(&a->d, &a->pod, READ + strlen(READ) - 5);
	pod_acknowledges(a, a->pod.received, 0, 0);
	dialog_says(&a->d, REQUEST);
	dialog_expect_released(&a->d, &a->pod, READ);
	pod_answers(a);
}

/* ---- bodies ---------------------------------------------------------------------------------------------------------------------------------------- */

/* A request with a body of some length, and as the pod reads it. */
static void with_body(char *request, char *read, size_t head_pad, size_t body)
{
	int at = sprintf(request, POST HOST USER "Pad: %0*d\r\nContent-Length: %zu\r\n\r\n", (int)head_pad, 0, body);
	int at_read = sprintf(read, POST USER "Pad: %0*d\r\nContent-Length: %zu\r\n" LINES "\r\n", (int)head_pad, 0, body);

	for (size_t i = 0; i < body; i++)
		request[at + i] = read[at_read + i] = 'a' + i % 26;
	request[at + body] = read[at_read + body] = 0;
}

static void test_a_body_goes_on_behind_its_head(void **state)
{
	static const size_t pads[] = { 1, 1300, 1400, 3000, 9000 }, bodies[] = { 1, 1000, 5000, 12000 };
	static char request[MAX * 2], read[MAX * 2];

	for (size_t p = 0; p < ARRAY_SIZE(pads); p++) {
		for (size_t b = 0; b < ARRAY_SIZE(bodies); b++) {
			struct asker *a = asker_of(*state, (p + b) % 2, USER "1011", "a body");
			size_t first, rest;

			with_body(request, read, pads[p], bodies[b]);
			first = strlen(request) < 8000 ? strlen(request) : 8000;
			rest = strlen(request) - first;
			for (size_t at = 0; at < first; at += 1400) {
				dialog_sends(&a->d, request + at, first - at < 1400 ? first - at : 1400);
				if (a->d.r.verdict == V_REDIRECT)
					dialog_expect_ack(&a->d);
				else if (a->d.r.out.pkt.flags == SYN)
					dialog_expect_leg(&a->d, &a->pod, a->d.isn + 1);
			}
			if (strlen(request) - bodies[b] > first)
				continue; /* the head is not whole */
			dialog_pod_accepts(&a->d, &a->pod, read, strlen(read) - rest);
			for (size_t at = 0; at < rest; at += 1400) {
				size_t len = rest - at < 1400 ? rest - at : 1400;

				dialog_sends(&a->d, request + first + at, len);
				dialog_expect_at_pod(&a->d, &a->pod, read + strlen(read) - rest + at, len);
			}
			pod_answers(a);
		}
	}
}

static void test_what_has_no_room_behind_a_longer_head_comes_again(void **state)
{
	static char request[MAX * 2], read[MAX * 2];
	struct asker *a = asker_of(*state, SHUNT_V6, USER "1011", "a full hold");
	size_t more = strlen(LINES) - strlen(HOST), fits;

	with_body(request, read, 100, 18000);
	for (size_t at = 0; at < SHUNT_HOLD_SIZE; at += 1024) {
		dialog_sends(&a->d, request + at, 1024);
		if (!at)
			dialog_expect_leg(&a->d, &a->pod, a->d.isn + 1);
	}
	dialog_pod_accepts(&a->d, &a->pod, read, SHUNT_HOLD_SIZE);
	fits = SHUNT_HOLD_SIZE - more;
	/* The pod acknowledges what it has, and the client goes on from there. */
	pod_acknowledges(a, a->pod.received, 0, 0);
	assert_int_equal(a->d.r.out.pkt.ack, (uint32_t)(a->d.isn + 1 + fits));
	says_again(a, a->d.isn + 1 + fits, request + fits, 1000);
	dialog_expect_at_pod(&a->d, &a->pod, read + SHUNT_HOLD_SIZE, 1000);
}

/* ---- what cannot be edited ------------------------------------------------------------------------------------------------------------------------- */

static void test_what_cannot_be_edited_goes_as_it_is_and_is_counted(void **state)
{
	static char head[MAX];
	struct asker *a;
	int at;

	/* too many lines to cut */
	at = sprintf(head, GET HOST USER);
	for (int i = 0; i < 16; i++)
		at += sprintf(head + at, "x-gone: %d\r\n", i);
	sprintf(head + at, "\r\n");
	a = asker_of(*state, SHUNT_V4, head, "too many lines");
	dialog_says(&a->d, head);
	expect_on_new_leg(a, head);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDIT_PASSED), 1);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 0);
	pod_answers(a);
	/* the next one can be */
	dialog_says(&a->d, REQUEST);
	dialog_expect_released(&a->d, &a->pod, READ);
	pod_answers(a);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDIT_PASSED), 1);

	/* no HTTP: v1's or v2's pod, by the client's address */
	a = asker_of(*state, SHUNT_V4, "SSH", "no HTTP");
	dialog_says(&a->d, "SSH-2.0-x\r\n");
	expect_on_new_leg(a, "SSH-2.0-x\r\n");
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDIT_PASSED), 1);
}

static void test_a_head_that_would_be_too_long_goes_as_it_is(void **state)
{
	static char head[MAX];
	struct asker *a = asker_of(*state, SHUNT_V6, USER "1011", "a long head");
	int at = sprintf(head, GET HOST USER "Pad: ");
	size_t len = SHUNT_HOLD_SIZE - 20;

	memset(head + at, 'x', len - at - 4);
	strcpy(head + len - 4, "\r\n\r\n");
	for (size_t sent = 0; sent < len; sent += 1400) {
		dialog_sends(&a->d, head + sent, len - sent < 1400 ? len - sent : 1400);
		if (len - sent > 1400)
			dialog_expect_ack(&a->d);
	}
	expect_on_new_leg(a, head);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDIT_PASSED), 1);
	pod_answers(a);
}

/* ---- connections ---------------------------------------------------------------------------------------------------------------------------------- */

static void test_users_of_versions_with_other_edits_mix_on_a_connection(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asker *a = asker_of(*state, family, lengths[0].request, "mixed users");
		struct dialog_pod other = dialog_pod(&a->d, DIALOG_V1);

		dialog_says(&a->d, lengths[0].request);
		expect_on_new_leg(a, lengths[0].read);
		pod_answers(a);
		for (int i = 0; i < 5; i++) {
			struct dialog_pod first = a->pod;
			uint32_t start = a->d.next;

			dialog_says(&a->d, lengths[1].request);
			a->pod = other;
			if (i == 0) {
				dialog_expect_leg(&a->d, &a->pod, start);
				dialog_pod_accepts(&a->d, &a->pod, lengths[1].read, strlen(lengths[1].read));
			} else {
				dialog_expect_told(&a->d, &a->d.r.clone[0], &first, ACK);
				a->d.r.clones = 0;
				dialog_expect_released(&a->d, &a->pod, lengths[1].read);
			}
			pod_answers(a);
			other = a->pod;
			a->pod = first;
			dialog_says(&a->d, lengths[0].request);
			dialog_expect_told(&a->d, &a->d.r.clone[0], &other, ACK);
			a->d.r.clones = 0;
			dialog_expect_released(&a->d, &a->pod, lengths[0].read);
			pod_answers(a);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 11);
	}
}

static void test_pipelined_requests_are_edited_each_in_its_turn(void **state)
{
	struct asker *a = asker_of(*state, SHUNT_V4, REQUEST, "pipelined");
	const char *ok = OK;

	dialog_says(&a->d, REQUEST REQUEST);
	a->d.waiting = strlen(REQUEST);
	expect_on_new_leg(a, READ);
	a->d.waiting = strlen(REQUEST);
	dialog_pod_completes(&a->d, &a->pod, ok);
	/* The client's ACK of the answer is not needed: it is the same leg. */
	dialog_expect_released(&a->d, &a->pod, READ);
	pod_answers(a);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_EDITED), 2);
}

static void test_a_plan_may_change_while_a_head_is_on_its_way(void **state)
{
	uint32_t start;
	struct asker *a = asks_again(*state, 0, &start);

	bpfrun_commit(*state, dialog_tables());
	bpfrun_commit(*state, dialog_tables()); /* on both sides */
	a->pod.received -= strlen(READ);
	says_again(a, start, REQUEST, strlen(REQUEST));
	dialog_expect_released(&a->d, &a->pod, READ);
	pod_answers(a);
	dialog_says(&a->d, REQUEST);
	dialog_expect_released(&a->d, &a->pod, REQUEST);
	pod_answers(a);
	dialog_says(&a->d, REQUEST);
	dialog_expect_at_pod(&a->d, &a->pod, REQUEST, strlen(REQUEST));
	pod_answers(a);
	bpfrun_commit(*state, edited_tables());
	bpfrun_commit(*state, edited_tables());
	dialog_says(&a->d, REQUEST);
	dialog_expect_released(&a->d, &a->pod, READ);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_pod_reads_the_edited_head),
		cmocka_unit_test(test_so_it_does_on_a_leg_that_is_there_time_and_again),
		cmocka_unit_test(test_whatever_the_pieces),
		cmocka_unit_test(test_byte_by_byte_on_both_kinds_of_legs),
		cmocka_unit_test(test_the_client_hears_of_its_head_when_the_pod_has_all_of_it),
		cmocka_unit_test(test_a_small_window_of_the_pod_ends_where_it_says),
		cmocka_unit_test(test_a_block_within_the_head_is_none_of_the_client),
		cmocka_unit_test(test_what_the_client_sends_again_of_the_head_is_answered_from_the_hold),
		cmocka_unit_test(test_bytes_before_the_head_that_were_lost_go_on_alone),
		cmocka_unit_test(test_a_request_waits_while_the_pod_has_answered_and_not_all_of_the_head_before),
		cmocka_unit_test(test_a_body_goes_on_behind_its_head),
		cmocka_unit_test(test_what_has_no_room_behind_a_longer_head_comes_again),
		cmocka_unit_test(test_what_cannot_be_edited_goes_as_it_is_and_is_counted),
		cmocka_unit_test(test_a_head_that_would_be_too_long_goes_as_it_is),
		cmocka_unit_test(test_users_of_versions_with_other_edits_mix_on_a_connection),
		cmocka_unit_test(test_pipelined_requests_are_edited_each_in_its_turn),
		cmocka_unit_test(test_a_plan_may_change_while_a_head_is_on_its_way),
	};

	return bpfrun_main("request_edit", edited_tables(), tests, ARRAY_SIZE(tests));
}
