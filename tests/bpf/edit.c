/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Header edits of answers: what the client reads, however the pod's bytes are cut and sent again, and what the pod is told of the client's numbers. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define OF(line, user) line " HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define GET OF("GET /", "1011")
#define HEAD OF("HEAD /", "1011")
#define OTHER OF("GET /", "000")
#define OK "HTTP/1.1 200 OK\r\n"
#define LINE "version: flowers-v2\r\n"
#define STREAM 8192
#define MTU_FRAME 1514

/* ---- tables: those of dialogs, and an edit of v2's answers -------------------------------------------------------------------------------- */

static void put_set(struct shunt_edit *edit, const char *name, const char *value, const char *line)
{
	struct shunt_edit_name *set = &edit->names[edit->sets++];

	memcpy(set->name, name, strlen(name));
	memcpy(set->value, value, strlen(value));
	memcpy(edit->text + edit->len, line, strlen(line));
	edit->len += strlen(line);
}

static struct shunt_edit edit_of_version(void)
{
	struct shunt_edit edit = {};

	put_set(&edit, "version", "flowers-v2", LINE);
	return edit;
}

struct edited_tables {
	struct tables t;
	struct tables_version versions[8];
	struct shunt_edit edit;
};

static const struct tables *tables_with(struct edited_tables *e, const struct shunt_edit *edit)
{
	e->t = *dialog_tables();
	assert_true(e->t.version_count <= ARRAY_SIZE(e->versions));
	memcpy(e->versions, e->t.versions, e->t.version_count * sizeof(*e->versions));
	e->edit = *edit;
	e->versions[DIALOG_V2].value.edit = 1;
	e->t.versions = e->versions;
	e->t.edits = &e->edit;
	e->t.edit_count = 1;
	return &e->t;
}

/* ---- a client that reads ------------------------------------------------------------------------------------------------------------------ */

struct reader {
	struct dialog d;
	struct dialog_pod pod;
	const char *sentence;
	uint32_t base_s, base_p; /* of the answer's first byte */
	char got[STREAM];
	bool there[STREAM];
};

/* A connection to v2 that has just sent a request on an open leg; the answer is the next thing. */
static void reader_asks(struct reader *r, const char *request)
{
	dialog_says(&r->d, request);
	dialog_expect_at_pod(&r->d, &r->pod, request, strlen(request));
	r->base_s = r->d.received;
	r->base_p = r->pod.sent;
	memset(r->there, 0, sizeof(r->there));
}

static struct reader *reader_of(struct bpfrun *run, int family, const char *request, const char *sentence)
{
	static struct reader r;

	bpfrun_forget(run);
	r = (struct reader){ .d = dialog_of(run, family), .sentence = sentence };
	r.d.sentence = sentence;
	r.pod = dialog_pod(&r.d, DIALOG_V2);
	dialog_connects(&r.d);
	dialog_says(&r.d, request);
	dialog_expect_leg(&r.d, &r.pod, r.d.isn + 1);
	dialog_pod_accepts(&r.d, &r.pod, request, strlen(request));
	r.base_s = r.d.received;
	r.base_p = r.pod.sent;
	return &r;
}

static void reader_gets(struct reader *r, const struct bpfrun_frame *frame)
{
	const struct pkt *p = &frame->pkt;
	uint32_t at = p->seq - r->base_s;

	if (p->len == 1 && p->seq == r->d.acked - 1) /* a probe */
		return;
	if (frame->why)
		fail_msg("%s: a frame that the client drops: %s", r->sentence, frame->why);
	if (frame->len > MTU_FRAME || at + p->len > STREAM || p->dport != r->d.cport || p->sport != r->d.fport || !p->to_client)
		fail_msg("%s: not a packet for the client: %zu bytes, at %d", r->sentence, frame->len, (int)at);
	for (size_t i = 0; i < p->len; i++) {
		char byte = ((const char *)p->payload)[i];

		if (r->there[at + i] && r->got[at + i] != byte)
			fail_msg("%s: byte %zu is 0x%02x and comes again as 0x%02x", r->sentence, at + i, r->got[at + i], byte);
		r->got[at + i] = byte;
		r->there[at + i] = true;
	}
}

/* One segment of the pod: bytes [from, to) of its answer. */
static void pod_sends(struct reader *r, const char *answer, size_t from, size_t to, uint8_t flags)
{
	struct pkt p = { .saddr = r->pod.addr, .daddr = r->d.client, .sport = r->pod.port, .dport = r->pod.lport, .flags = ACK | flags,
			 .seq = r->base_p + from, .ack = r->pod.received, .window = 1000, .tstamp = r->d.tstamp, .tsval = ++r->pod.tsval,
			 .tsecr = r->pod.tsecr, .payload = answer + from, .len = to - from, .damage = r->d.damage };

	bpfrun_packet(r->d.run, TO_CLIENT, &p, &r->d.r);
	if (p.seq + p.len - r->pod.sent < 1u << 31)
		r->pod.sent = p.seq + p.len;
	for (size_t i = 0; i < r->d.r.copies; i++)
		reader_gets(r, &r->d.r.copy[i]);
	if (r->d.r.verdict == V_PASS)
		reader_gets(r, &r->d.r.out);
}

static void expect_read(const struct reader *r, const char *text, const char *how)
{
	size_t len = strlen(text), n = 0;

	while (n < STREAM && r->there[n])
		n++;
	if (n != len || memcmp(r->got, text, len))
		fail_msg("%s, %s: the client reads '%.*s', due is '%s'", r->sentence, how, (int)n, r->got, text);
}

/* The client acknowledges up to byte `at` of what it reads; returns what the pod is told, as a place in its answer. */
static uint32_t client_acknowledges(struct reader *r, uint32_t at)
{
	r->d.received = r->base_s + at;
	dialog_flags(&r->d, ACK);
	assert_int_equal(r->d.r.verdict, V_PASS);
	assert_null(r->d.r.out.why);
	return r->d.r.out.pkt.ack - r->base_p;
}

/* ---- what is read ------------------------------------------------------------------------------------------------------------------------- */

#define LENGTH5 "Content-Length: 5\r\n"
static const struct {
	const char *sentence, *request, *answer, *read;
	enum shunt_reason reason; /* counted once */
	const char *late; /* what may be read when the head comes in pieces; NULL: the same */
} cases[] = {
	{ "a length", GET, OK LENGTH5 "\r\nhello", OK LENGTH5 LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "an odd head", GET, OK "a: b\r\n" LENGTH5 "\r\nhello", OK "a: b\r\n" LENGTH5 LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "no header at all", GET, "HTTP/1.0 200\r\n\r\nhello", "HTTP/1.0 200\r\n" LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "lone line feeds", GET, "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "HTTP/1.1 200 OK\nContent-Length: 2\n" LINE "\nhi", SHUNT_R_EDITED, NULL },
	{ "a folded line before the blank one", GET, OK LENGTH5 "a: b\r\n c\r\n\r\nhello", OK LENGTH5 "a: b\r\n c\r\n" LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "HEAD", HEAD, OK LENGTH5 "\r\n", OK LENGTH5 LINE "\r\n", SHUNT_R_EDITED, NULL },
	{ "no content", GET, "HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No\r\n" LINE "\r\n", SHUNT_R_EDITED, NULL },
	{ "not modified", GET, "HTTP/1.1 304 Not\r\n" LENGTH5 "\r\n", "HTTP/1.1 304 Not\r\n" LENGTH5 LINE "\r\n", SHUNT_R_EDITED, NULL },
	{ "an error", GET, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n" LINE "\r\n", SHUNT_R_EDITED, NULL },
	{ "an interim response before", GET, "HTTP/1.1 100 Continue\r\n\r\n" OK LENGTH5 "\r\nhello", "HTTP/1.1 100 Continue\r\n\r\n" OK LENGTH5 LINE "\r\nhello",
	  SHUNT_R_EDITED, NULL },
	{ "two with lines of their own", GET, "HTTP/1.1 103 Early\r\nversion: a\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK LENGTH5 "\r\nhello",
	  "HTTP/1.1 103 Early\r\nversion: a\r\n\r\nHTTP/1.1 102 P\r\n\r\n" OK LENGTH5 LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "chunks", GET, OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nversion: trailer\r\n\r\n",
	  OK "Transfer-Encoding: chunked\r\n" LINE "\r\n5\r\nhello\r\n0\r\nversion: trailer\r\n\r\n", SHUNT_R_EDITED, NULL },
	{ "another protocol", GET, "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc", "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc", SHUNT_R_EDIT_PASSED,
	  NULL },
	{ "no HTTP", GET, "SSH-2.0-x\r\n\r\n", "SSH-2.0-x\r\n\r\n", SHUNT_R_EDIT_PASSED, NULL },
	{ "the pod says the same", GET, OK "Version:  flowers-v2 \r\n" LENGTH5 "\r\nhello", OK "Version:  flowers-v2 \r\n" LENGTH5 "\r\nhello",
	  SHUNT_R_EDIT_SAME, NULL },
	{ "the pod says something longer", GET, OK "version: flowers-v22\r\n" LENGTH5 "\r\nhello", OK "~ersion: flowers-v22\r\n" LENGTH5 LINE "\r\nhello",
	  SHUNT_R_EDIT_RENAMED, OK "version: flowers-v22\r\n" LENGTH5 "\r\nhello" },
	{ "the pod says nothing of it", GET, OK "VERSION:\r\n" LENGTH5 "\r\nhello", OK "~ERSION:\r\n" LENGTH5 LINE "\r\nhello", SHUNT_R_EDIT_RENAMED,
	  OK "VERSION:\r\n" LENGTH5 "\r\nhello" },
	{ "names and values that only look like it", GET, OK "versio: a\r\nversions: b\r\nx-version: c\r\n" LENGTH5 "a: version: d\r\n\r\nhello",
	  OK "versio: a\r\nversions: b\r\nx-version: c\r\n" LENGTH5 "a: version: d\r\n" LINE "\r\nhello", SHUNT_R_EDITED, NULL },
	{ "five others", GET, OK "version: a\r\nversion: b\r\nversion: c\r\nversion: d\r\nversion: e\r\n" LENGTH5 "\r\nhello",
	  OK "version: a\r\nversion: b\r\nversion: c\r\nversion: d\r\nversion: e\r\n" LENGTH5 "\r\nhello", SHUNT_R_EDIT_PASSED, NULL },
	{ "a body that looks like a head", GET, OK "Content-Length: 29\r\n\r\n" OK "version: b\r\n", OK "Content-Length: 29\r\n" LINE "\r\n" OK "version: b\r\n",
	  SHUNT_R_EDITED, NULL },
};

static void test_the_lines_go_before_the_blank_line_of_the_final_head(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct reader *r = reader_of(*state, family, cases[i].request, cases[i].sentence);

			pod_sends(r, cases[i].answer, 0, strlen(cases[i].answer), PSH);
			expect_read(r, cases[i].read, "in one packet");
			assert_int_equal(bpfrun_reason(*state, cases[i].reason), 1);
			assert_int_equal(r->d.r.copies, 0); /* there was room */
		}
	}
}

static void test_the_same_is_read_whatever_the_pieces(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = strlen(cases[i].answer);

		for (size_t cut = 1; cut < len; cut++) {
			struct reader *r = reader_of(*state, cut % 2, cases[i].request, cases[i].sentence);

			pod_sends(r, cases[i].answer, 0, cut, PSH);
			pod_sends(r, cases[i].answer, cut, len, PSH);
			if (cases[i].late && !memcmp(r->got, cases[i].late, strlen(cases[i].late))) {
				expect_read(r, cases[i].late, "in two pieces, too late");
				assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_PASSED), 1);
			} else {
				expect_read(r, cases[i].read, "in two pieces");
			}
		}
	}
}

static void test_byte_by_byte_the_lines_are_there_and_names_have_gone_by(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct reader *r = reader_of(*state, i % 2, cases[i].request, cases[i].sentence);

		for (size_t at = 0; at < strlen(cases[i].answer); at++)
			pod_sends(r, cases[i].answer, at, at + 1, PSH);
		expect_read(r, cases[i].late ? cases[i].late : cases[i].read, "byte by byte");
	}
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------------------------ */

#define ANSWER OK "version: old\r\n" LENGTH5 "\r\nhello"
#define READ OK "~ersion: old\r\n" LENGTH5 LINE "\r\nhello"
#define BLANK (strlen(OK "version: old\r\n" LENGTH5)) /* where the lines go */

static void test_what_is_sent_again_is_edited_again_however_it_is_cut(void **state)
{
	for (size_t from = 0; from < strlen(ANSWER); from++) {
		for (size_t to = from + 1; to <= strlen(ANSWER); to++) {
			struct reader *r = reader_of(*state, to % 2, GET, "sent again");

			pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
			memset(r->there, 0, sizeof(r->there));
			pod_sends(r, ANSWER, from, to, 0);
			for (size_t at = 0; at < strlen(READ); at++) {
				size_t first = from > BLANK ? from + strlen(LINE) : from, last = to > BLANK ? to + strlen(LINE) : to;

				if (r->there[at] != (at >= first && at < last) || (r->there[at] && r->got[at] != READ[at]))
					fail_msg("[%zu, %zu) again: byte %zu is %s", from, to, at, r->there[at] ? "wrong" : "missing");
			}
		}
	}
}

static void test_the_pod_is_told_what_the_client_has_of_its_bytes(void **state)
{
	for (uint32_t at = 0; at <= strlen(READ); at++) {
		struct reader *r = reader_of(*state, at % 2, GET, "acknowledged");
		uint32_t due = at <= BLANK ? at : at < BLANK + strlen(LINE) ? BLANK : at - strlen(LINE);

		pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
		if (client_acknowledges(r, at) != due)
			fail_msg("byte %u of the client becomes %u, due is %u", at, r->d.r.out.pkt.ack - r->base_p, due);
		/* While lines are to come, the pod's right edge leaves room for them. */
		if (r->d.r.out.pkt.window != (at < BLANK + strlen(LINE) ? 511 : 512))
			fail_msg("at byte %u the window is %u", at, r->d.r.out.pkt.window);
		/* and once the client has them, nothing of them is left */
		assert_int_equal(client_acknowledges(r, strlen(READ)), strlen(ANSWER));
		assert_int_equal(r->d.r.out.pkt.window, 512);
	}
}

static void test_a_block_without_all_of_the_lines_is_without_the_byte_behind_them(void **state)
{
	for (uint32_t left = 1; left < strlen(READ); left++) {
		struct reader *r = reader_of(*state, left % 2, GET, "selectively acknowledged");
		struct pkt p = { .saddr = r->d.client, .daddr = r->d.frontend, .sport = r->d.cport, .dport = r->d.fport, .flags = ACK, .seq = r->d.next,
				 .ack = r->base_s, .window = 512, .tstamp = true, .tsval = r->d.tsval + 1, .tsecr = r->d.tsecr, .sacks = 1 };
		uint32_t due = left <= BLANK ? left : left <= BLANK + strlen(LINE) ? BLANK + 1 : left - strlen(LINE);

		pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
		p.sack[0][0] = r->base_s + left;
		p.sack[0][1] = r->base_s + strlen(READ);
		bpfrun_packet(*state, FROM_CLIENT, &p, &r->d.r);
		assert_int_equal(r->d.r.verdict, V_PASS);
		if (r->d.r.out.pkt.sack[0][0] - r->base_p != due || r->d.r.out.pkt.sack[0][1] - r->base_p != strlen(ANSWER))
			fail_msg("left edge %u becomes %u, due is %u", left, r->d.r.out.pkt.sack[0][0] - r->base_p, due);
		p.sack[0][0] = r->base_s;
		p.sack[0][1] = r->base_s + left;
		due = left <= BLANK ? left : left < BLANK + strlen(LINE) ? BLANK : left - strlen(LINE);
		bpfrun_packet(*state, FROM_CLIENT, &p, &r->d.r);
		if (r->d.r.out.pkt.sack[0][1] - r->base_p != due)
			fail_msg("right edge %u becomes %u, due is %u", left, r->d.r.out.pkt.sack[0][1] - r->base_p, due);
	}
}

/* ---- packets ------------------------------------------------------------------------------------------------------------------------------ */

/* A head, its lines and 1448 bytes altogether as the pod sends it. */
static const char *full_answer(const char *line, size_t body, size_t head_pad)
{
	static char text[4096];
	int n = sprintf(text, OK "Pad: %0*d\r\nContent-Length: %04zu\r\n%s\r\n", (int)head_pad, 0, body, line);

	for (size_t i = 0; i < body; i++)
		text[n + i] = 'a' + i % 26;
	text[n + body] = 0;
	return text;
}

static void test_a_full_packet_keeps_its_size_and_the_rest_goes_ahead(void **state)
{
	static const size_t pads[] = { 1, 2, 10, 700, 1300, 1301, 1350 };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(pads); i++) {
			size_t mss = (family == SHUNT_V6 ? 1440 : 1460) - 12, body = mss - strlen(full_answer("", 0, pads[i]));
			struct reader *r = reader_of(*state, family, GET, "a full packet");
			char due[4096];

			strcpy(due, full_answer(LINE, body, pads[i]));
			pod_sends(r, full_answer("", body, pads[i]), 0, mss, PSH);
			assert_int_equal(r->d.r.copies, 1);
			assert_int_equal(r->d.r.copy[0].pkt.len, strlen(LINE));
			assert_int_equal(r->d.r.copy[0].pkt.flags, ACK);
			assert_int_equal(r->d.r.copy[0].pkt.ack, r->d.next);
			assert_int_equal(r->d.r.out.pkt.len, mss);
			expect_read(r, due, "in one packet");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_PARTED), 1);
			pod_sends(r, full_answer("", body, pads[i]), 0, mss, PSH);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_PARTED), 2);
		}
	}
}

#define PLAIN OK LENGTH5 "\r\nhello"
#define PLAIN_READ OK LENGTH5 LINE "\r\nhello"

static void test_a_corrupt_head_gets_no_good_sum(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "corrupt");
	struct pkt p = { .saddr = r->pod.addr, .daddr = r->d.client, .sport = r->pod.port, .dport = r->pod.lport, .flags = ACK, .seq = r->base_p,
			 .ack = r->pod.received, .window = 1000, .tstamp = true, .tsval = ++r->pod.tsval, .tsecr = r->pod.tsecr, .payload = PLAIN,
			 .len = strlen(PLAIN), .damage = PKT_CORRUPT };

	/* Before it was read: it goes on, and the client sees what is wrong with it. */
	bpfrun_packet(*state, TO_CLIENT, &p, &r->d.r);
	assert_int_equal(r->d.r.verdict, V_PASS);
	assert_string_equal(r->d.r.out.why, "TCP checksum");
	pod_sends(r, PLAIN, 0, strlen(PLAIN), PSH);
	expect_read(r, PLAIN_READ, "after all");
	r->d.received = r->base_s + strlen(PLAIN_READ);
	reader_asks(r, GET);
	p.seq = r->base_p;
	p.ack = r->pod.received;
	pod_sends(r, PLAIN, 0, strlen(PLAIN), PSH);
	expect_read(r, PLAIN_READ, "on and on");
	/* Again: a part of it would get a sum of ours. */
	p.tsval = ++r->pod.tsval;
	bpfrun_packet(*state, TO_CLIENT, &p, &r->d.r);
	assert_int_equal(r->d.r.verdict, V_DROP);
	assert_int_equal(r->d.r.copies, 0);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_CHECKSUM_BAD), 2);
}

static void test_a_name_that_has_gone_by_is_not_changed_when_it_comes_again(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "merged when it is sent again");
	size_t cut = strlen(OK "ve");

	pod_sends(r, ANSWER, 0, cut, PSH);
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, ANSWER, "with the rest");
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_PASSED), 1);
}

static void test_a_fin_waits_for_a_head_that_was_lost(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "a FIN ahead");

	pod_sends(r, ANSWER, strlen(ANSWER), strlen(ANSWER), FIN);
	assert_int_equal(r->d.r.verdict, V_DROP);
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "then its answer");
	pod_sends(r, ANSWER, strlen(ANSWER), strlen(ANSWER), FIN);
	assert_int_equal(r->d.r.verdict, V_PASS);
	assert_int_equal(r->d.r.out.pkt.seq - r->base_s, strlen(READ));
}

/* ---- connections -------------------------------------------------------------------------------------------------------------------------- */

static void test_every_answer_of_a_connection_is_edited(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V6, GET, "keep-alive");

	for (int i = 0; i < 20; i++) {
		pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
		expect_read(r, READ, "again");
		r->d.received = r->base_s + strlen(READ);
		reader_asks(r, i % 2 ? GET : HEAD); /* acknowledges the answer */
		if (i % 2 == 0) {
			pod_sends(r, OK LENGTH5 "\r\n", 0, strlen(OK LENGTH5 "\r\n"), PSH);
			expect_read(r, OK LENGTH5 LINE "\r\n", "HEAD");
			r->d.received = r->base_s + strlen(OK LENGTH5 LINE "\r\n");
			reader_asks(r, GET);
		}
	}
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDITED), 30);
}

static void test_a_request_waits_until_the_client_has_the_lines_of_the_answer_before(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "pipelined");
	const char *request = GET;

	dialog_waits(&r->d, request);
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "the first");
	/* The answer went as a copy, and the packet at hand asks the client for its ACK. */
	assert_int_equal(r->d.r.copies, 1);
	assert_int_equal(r->d.r.out.pkt.len, 1);
	r->d.received = r->base_s + strlen(READ);
	dialog_flags(&r->d, ACK);
	dialog_expect_released(&r->d, &r->pod, request);
	r->base_s = r->d.received;
	r->base_p = r->pod.sent;
	memset(r->there, 0, sizeof(r->there));
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "the second");
}

static void test_versions_without_lines_have_none(void **state)
{
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "mixed users");
	struct dialog_pod other = dialog_pod(&r->d, DIALOG_V1);

	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "v2");
	r->d.received = r->base_s + strlen(READ);
	dialog_says(&r->d, OTHER);
	dialog_expect_leg(&r->d, &other, r->d.next - strlen(OTHER));
	dialog_pod_accepts(&r->d, &other, OTHER, strlen(OTHER));
	dialog_pod_says(&r->d, &other, ANSWER);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDITED), 1);
	/* and back */
	r->base_p = r->pod.sent;
	r->pod.received = r->d.next;
	dialog_says(&r->d, GET);
	r->base_s = r->d.received;
	memset(r->there, 0, sizeof(r->there));
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "v2 again");
}

/* ---- edits -------------------------------------------------------------------------------------------------------------------------------- */

static void test_a_plan_may_change_while_a_head_is_on_its_way(void **state)
{
	static struct edited_tables tables;
	struct shunt_edit other = {};
	struct reader *r = reader_of(*state, SHUNT_V4, GET, "another plan");

	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	put_set(&other, "server", "shunt", "Server: shunt\r\n");
	bpfrun_commit(*state, tables_with(&tables, &other));
	bpfrun_commit(*state, tables_with(&tables, &other)); /* on both sides */
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, READ, "twice");
	r->d.received = r->base_s + strlen(READ);
	reader_asks(r, GET);
	pod_sends(r, ANSWER, 0, strlen(ANSWER), PSH);
	expect_read(r, OK "version: old\r\n" LENGTH5 "Server: shunt\r\n\r\nhello", "of the new plan");
}

static void test_several_lines_are_set_and_added(void **state)
{
	static struct edited_tables tables;
	struct shunt_edit edit = edit_of_version();
	struct reader *r;

	put_set(&edit, "server", "shunt", "Server: shunt\r\n");
	edit.adds = 1;
	memcpy(edit.text + edit.len, "Set-Cookie: a=b\r\n", 17);
	edit.len += 17;
	bpfrun_commit(*state, tables_with(&tables, &edit));
	r = reader_of(*state, SHUNT_V4, GET, "several lines");
	pod_sends(r, OK "Server: nginx\r\nSet-Cookie: c=d\r\n" LENGTH5 "version: flowers-v2\r\n\r\nhello", 0,
		  strlen(OK "Server: nginx\r\nSet-Cookie: c=d\r\n" LENGTH5 "version: flowers-v2\r\n\r\nhello"), PSH);
	expect_read(r, OK "~erver: nginx\r\nSet-Cookie: c=d\r\n" LENGTH5 "~ersion: flowers-v2\r\n" LINE "Server: shunt\r\nSet-Cookie: a=b\r\n\r\nhello", "all of them");
}

/* ---- headers that are removed ------------------------------------------------------------------------------------------------------------- */

static struct shunt_edit edit_that_removes(bool sets)
{
	struct shunt_edit edit = {};

	if (sets)
		put_set(&edit, "version", "flowers-v2", LINE);
	memcpy(edit.names[edit.sets].name, "server", 6);
	memcpy(edit.names[edit.sets + 1].name, "x-by", 4);
	edit.removes = 2;
	return edit;
}

static const struct {
	const char *sentence, *answer, *read; /* where lines are set, too, LINE goes before the blank line */
	enum shunt_reason reason;
} removals[] = {
	{ "one", OK "Server: pod/1.2\r\n" LENGTH5 "\r\nhello", OK "~erver:        \r\n" LENGTH5 "\r\nhello", SHUNT_R_EDIT_RENAMED },
	{ "at an odd place", OK "a: bc\r\nserver:x\r\n" LENGTH5 "\r\nhello", OK "a: bc\r\n~erver: \r\n" LENGTH5 "\r\nhello", SHUNT_R_EDIT_RENAMED },
	{ "without a value", OK "Server:\r\n" LENGTH5 "\r\nhello", OK "~erver:\r\n" LENGTH5 "\r\nhello", SHUNT_R_EDIT_RENAMED },
	{ "one that goes on", OK "Server: ab\r\n cdefghij\r\n\tk\r\n" LENGTH5 "\r\nhello", OK "~erver:   \r\n         \r\n  \r\n" LENGTH5 "\r\nhello",
	  SHUNT_R_EDIT_RENAMED },
	{ "the last line", OK LENGTH5 "Server: 12345678901234567\r\n\r\nhello", OK LENGTH5 "~erver:                  \r\n\r\nhello", SHUNT_R_EDIT_RENAMED },
	{ "lone line feeds", "HTTP/1.1 200 OK\nServer: abc\nContent-Length: 5\n\nhello", "HTTP/1.1 200 OK\n~erver:    \nContent-Length: 5\n\nhello",
	  SHUNT_R_EDIT_RENAMED },
	{ "names and values that only look like it", OK "servers: a\r\nx-server: b\r\na: server: c\r\n" LENGTH5 "\r\nhello",
	  OK "servers: a\r\nx-server: b\r\na: server: c\r\n" LENGTH5 "\r\nhello", SHUNT_R_MAX },
};

/* `read` with LINE before its blank line. */
static const char *with_line(const char *read)
{
	static char text[512];
	const char *blank = strstr(read, "\r\n\r\n"), *lone = strstr(read, "\n\n");
	size_t at = blank ? blank + 2 - read : lone + 1 - read;

	snprintf(text, sizeof(text), "%.*s%s%s", (int)at, read, LINE, read + at);
	return text;
}

static void test_what_is_removed_has_another_name_and_no_value(void **state)
{
	static struct edited_tables tables;

	for (int sets = 0; sets < 2; sets++) {
		struct shunt_edit edit = edit_that_removes(sets);

		bpfrun_commit(*state, tables_with(&tables, &edit));
		for (size_t i = 0; i < ARRAY_SIZE(removals); i++) {
			const char *read = sets ? with_line(removals[i].read) : removals[i].read;
			size_t len = strlen(removals[i].answer), blank = strlen(removals[i].answer) - strlen("\nhello");

			for (size_t cut = 0; cut < len; cut++) {
				struct reader *r = reader_of(*state, cut % 2, GET, removals[i].sentence);

				if (cut) /* it comes again, and is read as before, whether it was edited or had gone by */
					pod_sends(r, removals[i].answer, 0, cut, PSH);
				pod_sends(r, removals[i].answer, 0, len, PSH);
				pod_sends(r, removals[i].answer, cut, len, PSH);
				if (cut == 0 || cut > blank || r->got[strlen("HTTP/1.1 200 OK\r\n")] == '~')
					expect_read(r, read, "in one packet");
				else if (!bpfrun_reason(*state, SHUNT_R_EDITED))
					expect_read(r, removals[i].answer, "the name had gone by");
				if (!cut && removals[i].reason != SHUNT_R_MAX)
					assert_int_equal(bpfrun_reason(*state, removals[i].reason), 1);
				if (!cut && removals[i].reason == SHUNT_R_MAX && !sets)
					assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_SAME), 1);
			}
		}
	}
}

static void test_five_lines_are_too_many_to_remove(void **state)
{
	static struct edited_tables tables;
	struct shunt_edit edit = edit_that_removes(false);
	const char *answer = OK "Server: a\r\nX-By: b\r\nx-by: c\r\nserver: d\r\nX-BY: e\r\n" LENGTH5 "\r\nhello";
	struct reader *r;

	bpfrun_commit(*state, tables_with(&tables, &edit));
	r = reader_of(*state, SHUNT_V4, GET, "five lines");
	pod_sends(r, answer, 0, strlen(answer), PSH);
	expect_read(r, answer, "as it is");
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_PASSED), 1);
}

static void test_a_removal_is_over_when_the_client_has_the_head(void **state)
{
	static struct edited_tables tables;
	struct shunt_edit edit = edit_that_removes(false);
	struct reader *r;

	bpfrun_commit(*state, tables_with(&tables, &edit));
	r = reader_of(*state, SHUNT_V6, GET, "keep-alive");
	for (int i = 0; i < 5; i++) {
		pod_sends(r, removals[0].answer, 0, strlen(removals[0].answer), PSH);
		expect_read(r, removals[0].read, "again and again");
		r->d.received = r->base_s + strlen(removals[0].read);
		reader_asks(r, GET);
	}
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_EDIT_RENAMED), 5);
}

int main(void)
{
	static struct edited_tables tables;
	struct shunt_edit edit = edit_of_version();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_lines_go_before_the_blank_line_of_the_final_head),
		cmocka_unit_test(test_the_same_is_read_whatever_the_pieces),
		cmocka_unit_test(test_byte_by_byte_the_lines_are_there_and_names_have_gone_by),
		cmocka_unit_test(test_what_is_sent_again_is_edited_again_however_it_is_cut),
		cmocka_unit_test(test_the_pod_is_told_what_the_client_has_of_its_bytes),
		cmocka_unit_test(test_a_block_without_all_of_the_lines_is_without_the_byte_behind_them),
		cmocka_unit_test(test_a_full_packet_keeps_its_size_and_the_rest_goes_ahead),
		cmocka_unit_test(test_a_corrupt_head_gets_no_good_sum),
		cmocka_unit_test(test_a_name_that_has_gone_by_is_not_changed_when_it_comes_again),
		cmocka_unit_test(test_a_fin_waits_for_a_head_that_was_lost),
		cmocka_unit_test(test_every_answer_of_a_connection_is_edited),
		cmocka_unit_test(test_a_request_waits_until_the_client_has_the_lines_of_the_answer_before),
		cmocka_unit_test(test_versions_without_lines_have_none),
		cmocka_unit_test(test_a_plan_may_change_while_a_head_is_on_its_way),
		cmocka_unit_test(test_several_lines_are_set_and_added),
		cmocka_unit_test(test_what_is_removed_has_another_name_and_no_value),
		cmocka_unit_test(test_five_lines_are_too_many_to_remove),
		cmocka_unit_test(test_a_removal_is_over_when_the_client_has_the_head),
	};

	return bpfrun_main("edit", tables_with(&tables, &edit), tests, ARRAY_SIZE(tests));
}
