/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where answers end, and what is counted of them: lengths, chunks, interim responses, connections that break off. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define OF(line, user) line " HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define GET OF("GET /", "1011")
#define HEAD OF("HEAD /", "1011")
#define OTHER OF("GET /", "000")
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LENGTH(n) "HTTP/1.1 200 OK\r\nContent-Length: " #n "\r\n\r\n"

/* A flow to v2 that has just sent a request on an old connection, and what v2 had counted before. */
struct asked {
	struct dialog d;
	struct dialog_pod pod;
	struct shunt_count before;
};

static struct shunt_count count_of(struct bpfrun *run)
{
	struct series_numbers numbers;

	assert_int_equal(datapath_read_numbers(run->datapath, DIALOG_V2, &numbers), 0);
	return numbers.count;
}

static void ask(struct asked *a, const char *request)
{
	a->before = count_of(a->d.run);
	dialog_says(&a->d, request);
	dialog_expect_at_pod(&a->d, &a->pod, request, strlen(request));
}

static struct asked asked(struct bpfrun *run, int family, const char *request, const char *sentence)
{
	struct asked a = { .d = dialog_of(run, family) };

	bpfrun_forget(run);
	a.d.sentence = sentence;
	a.pod = dialog_pod(&a.d, DIALOG_V2);
	dialog_exchange(&a.d, &a.pod, GET);
	ask(&a, request);
	return a;
}

static struct shunt_flow flow_of(const struct asked *a)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(a->d.run, &a->d.client, a->d.cport, &a->d.frontend, a->d.fport, &flow));
	return flow;
}

/* What came to v2's counters since the request: of one answer. */
static void expect_counted(const struct asked *a, int class, int timed, int errors, int aborted)
{
	struct shunt_count now = count_of(a->d.run), *b = &(struct shunt_count){};
	const char *sentence = a->d.sentence ? a->d.sentence : "";
	int statuses = 0;

	*b = a->before;
	for (int i = 0; i < 6; i++)
		statuses += now.status[i] - b->status[i];
	if (now.requests - b->requests != 1 || statuses != (class >= 0) || (class >= 0 && now.status[class] - b->status[class] != 1) ||
	    now.latency_count - b->latency_count != (uint64_t)timed || now.errors - b->errors != (uint64_t)errors ||
	    now.aborted - b->aborted != (uint64_t)aborted)
		fail_msg("%s: counted %llu requests, %d answers, %llu latencies, %llu errors, %llu aborted; due: class %d, %d timed, %d errors, %d aborted",
			 sentence, now.requests - b->requests, statuses, now.latency_count - b->latency_count, now.errors - b->errors,
			 now.aborted - b->aborted, class, timed, errors, aborted);
}

/* The answer is not at its end. */
static void expect_open(const struct asked *a, size_t at)
{
	struct shunt_flow flow = flow_of(a);

	if (flow.answer == SHUNT_ANSWER_IDLE || flow.flags & SHUNT_F_PINNED)
		fail_msg("%s: after byte %zu the answer is %s", a->d.sentence, at, flow.flags & SHUNT_F_PINNED ? "lost" : "complete");
}

/* It is, and was read to there. */
static void expect_complete(const struct asked *a, const char *how)
{
	struct shunt_flow flow = flow_of(a);

	if (flow.answer != SHUNT_ANSWER_IDLE || flow.flags & SHUNT_F_PINNED)
		fail_msg("%s, %s: the answer is %s (state %u)", a->d.sentence, how, flow.flags & SHUNT_F_PINNED ? "lost" : "not complete", flow.answer);
}

static void acknowledges(struct asked *a)
{
	dialog_flags(&a->d, ACK);
	dialog_expect_at_pod(&a->d, &a->pod, NULL, 0);
}

/* ---- answers whose end is known --------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *sentence, *request, *answer;
	int class;
} complete[] = {
	{ "a length", GET, LENGTH(5) "hello", 2 },
	{ "a length of 0", GET, LENGTH(0), 2 },
	{ "HEAD with a length", HEAD, LENGTH(5), 2 },
	{ "HEAD of a chunked answer", HEAD, CHUNKED, 2 },
	{ "HEAD of an answer without framing", HEAD, "HTTP/1.1 200 OK\r\n\r\n", 2 },
	{ "no content", GET, "HTTP/1.1 204 No Content\r\n\r\n", 2 },
	{ "not modified, with a length", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 3 },
	{ "not modified, chunked", GET, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 3 },
	{ "an error with a body", GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno", 4 },
	{ "one interim response", GET, "HTTP/1.1 100 Continue\r\n\r\n" LENGTH(1) "x", 2 },
	{ "two interim responses", GET, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" LENGTH(1) "x", 2 },
	{ "an interim response before no content", GET, "HTTP/1.1 103 Early Hints\r\nContent-Length: 7\r\n\r\nHTTP/1.1 204 x\r\n\r\n", 2 },
	{ "no chunk but the last", GET, CHUNKED "0\r\n\r\n", 2 },
	{ "a chunk", GET, CHUNKED "5\r\nhello\r\n0\r\n\r\n", 2 },
	{ "several chunks", GET, CHUNKED "1\r\na\r\n2\r\nbc\r\nC\r\n012345678901\r\nc\r\n012345678901\r\n0\r\n\r\n", 2 },
	{ "a size of two digits", GET, CHUNKED "1F\r\n0123456789012345678901234567890\r\n0\r\n\r\n", 2 },
	{ "zeros before a size", GET, CHUNKED "00000000000005\r\nhello\r\n000\r\n\r\n", 2 },
	{ "extensions", GET, CHUNKED "5;a=b;c=\"0;\"\r\nhello\r\n5 ; 9\r\nhello\r\n0;ff\r\n\r\n", 2 },
	{ "a trailer", GET, CHUNKED "5\r\nhello\r\n0\r\nExpires: 0\r\nX: 5\r\n\r\n", 2 },
	{ "data that look like the end", GET, CHUNKED "A\r\n\r\n0\r\n\r\n0\r\n\r\n0\r\n\r\n", 2 },
	{ "chunks behind an interim response", GET, "HTTP/1.1 100 Continue\r\n\r\n" CHUNKED "3\r\nabc\r\n0\r\n\r\n", 2 },
};

static void test_an_answer_is_complete_at_its_last_byte(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(complete); i++) {
			struct asked a = asked(*state, family, complete[i].request, complete[i].sentence);

			dialog_pod_says(&a.d, &a.pod, complete[i].answer);
			expect_complete(&a, "in one packet");
			expect_counted(&a, complete[i].class, 1, 0, 0);
			acknowledges(&a);
			assert_int_equal(bpfrun_holds(*state), 0);
		}
	}
}

static void test_an_answer_in_any_two_pieces_is_complete_with_the_second(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(complete); i++) {
			struct asked a = asked(*state, family, complete[i].request, complete[i].sentence);
			const char *answer = complete[i].answer;

			for (size_t cut = 1; cut < strlen(answer); cut++) {
				char how[32];

				snprintf(how, sizeof(how), "cut at %zu", cut);
				dialog_pod_sends(&a.d, &a.pod, answer, cut);
				expect_open(&a, cut);
				expect_counted(&a, -1, 0, 0, 0);
				dialog_pod_says(&a.d, &a.pod, answer + cut);
				expect_complete(&a, how);
				expect_counted(&a, complete[i].class, 1, 0, 0);
				acknowledges(&a);
				ask(&a, complete[i].request);
			}
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_INTERNAL), 0);
		}
	}
}

static void test_an_answer_byte_by_byte_is_complete_with_the_last(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(complete); i++) {
			struct asked a = asked(*state, family, complete[i].request, complete[i].sentence);
			const char *answer = complete[i].answer;

			for (size_t at = 0; at < strlen(answer); at++) {
				expect_open(&a, at);
				dialog_pod_sends(&a.d, &a.pod, answer + at, 1);
			}
			expect_complete(&a, "byte by byte");
			expect_counted(&a, complete[i].class, 1, 0, 0);
			acknowledges(&a);
			assert_int_equal(bpfrun_holds(*state), 0);
		}
	}
}

/* A small generator of our own, so that a failure comes again. */
static uint32_t draw(uint64_t *seed, uint32_t below)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33) % below;
}

/* A chunked answer with chunks of many sizes, into `text`; its length. */
static size_t chunks(uint64_t *seed, char *text, size_t size)
{
	size_t len = snprintf(text, size, CHUNKED);

	for (int n = draw(seed, 12); n > 0; n--) {
		uint32_t chunk = 1 + draw(seed, draw(seed, 3) ? 20 : 3000);

		len += snprintf(text + len, size - len, draw(seed, 2) ? "%x\r\n" : "%04X;x\r\n", chunk);
		for (uint32_t i = 0; i < chunk; i++)
			text[len++] = "0\r\n;a"[draw(seed, 5)];
		len += snprintf(text + len, size - len, "\r\n");
	}
	return len + snprintf(text + len, size - len, draw(seed, 2) ? "0\r\n\r\n" : "0\r\nA: b\r\n\r\n");
}

static void test_long_chunked_answers_in_packets_of_any_size_are_complete_with_the_last(void **state)
{
	static char text[64000];

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "chunks");
		uint64_t seed = family;

		for (int round = 0; round < 60; round++) {
			size_t len = chunks(&seed, text, sizeof(text)), most = draw(&seed, 3) ? 1400 : 40;
			char how[32];

			for (size_t at = 0; at < len;) {
				size_t n = 1 + draw(&seed, most);

				if (n > len - at)
					n = len - at;
				expect_open(&a, at);
				dialog_pod_sends(&a.d, &a.pod, text + at, n);
				at += n;
			}
			snprintf(how, sizeof(how), "round %d", round);
			expect_complete(&a, how);
			expect_counted(&a, 2, 1, 0, 0);
			acknowledges(&a);
			ask(&a, GET);
		}
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

static void test_a_request_that_waits_goes_with_the_last_chunk(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "a waiting request");

		dialog_waits(&a.d, GET);
		dialog_waits(&a.d, OTHER);
		dialog_pod_says(&a.d, &a.pod, CHUNKED "5\r\nhello\r\n");
		dialog_pod_completes(&a.d, &a.pod, "0\r\n\r\n");
		dialog_expect_released(&a.d, &a.pod, GET);
		dialog_pod_completes(&a.d, &a.pod, CHUNKED "0\r\n\r\n");
		dialog_expect_probe(&a.d);
	}
}

/* ---- answers whose end is not ------------------------------------------------------------------------------------------------------------ */

static const struct {
	const char *sentence, *answer;
	int timed, class;
} lost[] = {
	{ "a size that is none", CHUNKED "x\r\nhello\r\n", 0, 2 },
	{ "a size with a sign", CHUNKED "+5\r\nhello\r\n", 0, 2 },
	{ "a size with 0x", CHUNKED "0x5\r\nhello\r\n", 0, 2 },
	{ "a size that wraps", CHUNKED "100000000\r\nhello\r\n", 0, 2 },
	{ "a size of 2 GiB", CHUNKED "80000000\r\nhello\r\n", 0, 2 },
	{ "a size that is none, behind a chunk", CHUNKED "5\r\nhello\r\ng\r\n", 0, 2 },
	{ "a size line without a size", CHUNKED "5\r\nhello\r\n\r\n", 0, 2 },
	{ "a chunk without its line end", CHUNKED "5\r\nhelloxx0\r\n\r\n", 0, 2 },
	{ "two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 0, 2 },
	{ "a length and chunks", "HTTP/1.1 500 x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc", 0, 5 },
	{ "another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nabc", 0, 2 },
	{ "another protocol", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 0, 1 },
	{ "no HTTP", "hello\r\n", 0, 0 },
	{ "more than the length", LENGTH(3) "abcd", 1, 2 },
	{ "more than the last chunk", CHUNKED "0\r\n\r\nx", 1, 2 },
	{ "a body with HEAD's answer to GET's", "HTTP/1.1 204 x\r\n\r\nbody", 1, 2 },
};

static void test_an_answer_whose_end_is_lost_pins_the_flow_and_takes_no_time(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
			struct asked a = asked(*state, family, GET, lost[i].sentence);

			dialog_pod_says(&a.d, &a.pod, lost[i].answer);
			if (!(flow_of(&a).flags & SHUNT_F_PINNED))
				fail_msg("%s: not pinned", lost[i].sentence);
			assert_int_equal(bpfrun_reason(*state, lost[i].class == 1 ? SHUNT_R_UPGRADED : SHUNT_R_ANSWER_UNFRAMED), 1);
			expect_counted(&a, lost[i].class, lost[i].timed, lost[i].class == 5, 0);
			acknowledges(&a);
			dialog_says(&a.d, OTHER); /* stays where it is */
			dialog_expect_at_pod(&a.d, &a.pod, OTHER, strlen(OTHER));
			dialog_flags(&a.d, RST | ACK);
			assert_int_equal(bpfrun_flows(*state), 0);
			expect_counted(&a, lost[i].class, lost[i].timed, lost[i].class == 5, 0);
		}
	}
}

static void test_an_answer_until_the_end_of_the_connection_takes_until_then(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int broken = 0; broken < 2; broken++) {
			struct asked a = asked(*state, family, GET, broken ? "until a reset" : "until close");

			dialog_pod_says(&a.d, &a.pod, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
			assert_true(flow_of(&a).flags & SHUNT_F_PINNED);
			dialog_pod_says(&a.d, &a.pod, "def");
			expect_counted(&a, -1, 0, 0, 0);
			dialog_pod_flags(&a.d, &a.pod, broken ? RST | ACK : FIN | ACK);
			assert_int_equal(a.d.r.verdict, V_PASS);
			expect_counted(&a, broken ? -1 : 2, !broken, broken, broken);
		}
	}
}

static void test_a_connection_that_ends_before_its_answer_is_an_error(void **state)
{
	static const char *const parts[] = { "", "HTTP/1.1 20", LENGTH(5), LENGTH(5) "hell", CHUNKED "5\r\nhello\r\n", "HTTP/1.1 100 Continue\r\n\r\n" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
			for (int of_client = 0; of_client < 2; of_client++) {
				struct asked a = asked(*state, family, GET, parts[i]);

				if (*parts[i])
					dialog_pod_says(&a.d, &a.pod, parts[i]);
				if (of_client)
					dialog_flags(&a.d, RST | ACK);
				else
					dialog_pod_flags(&a.d, &a.pod, RST | ACK);
				assert_int_equal(bpfrun_flows(*state), 0);
				assert_int_equal(bpfrun_holds(*state), 0);
				expect_counted(&a, -1, 0, 1, 1);
			}
		}
	}
}

static void test_a_close_in_the_middle_of_an_answer_is_an_error(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "FIN after half a body");

		dialog_pod_says(&a.d, &a.pod, LENGTH(10) "hello");
		dialog_pod_flags(&a.d, &a.pod, FIN | ACK);
		a.d.received++;
		dialog_flags(&a.d, FIN | ACK);
		a.pod.received++;
		dialog_pod_flags(&a.d, &a.pod, ACK);
		assert_int_equal(bpfrun_flows(*state), 0);
		expect_counted(&a, -1, 0, 1, 1);
	}
}

/* More of them than are read in a packet: the flow goes on, pinned from the next request on. */
static void test_many_interim_responses_in_a_packet_cost_the_flow_its_freedom_only(void **state)
{
	static const char interim[] = "HTTP/1.1 102 x\r\n\r\n";
	char many[512] = "";

	for (int i = 0; i < 10; i++)
		strcat(many, interim);
	strcat(many, LENGTH(0));
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "ten interim responses");

		dialog_pod_says(&a.d, &a.pod, many);
		acknowledges(&a);
		dialog_says(&a.d, OTHER);
		dialog_expect_at_pod(&a.d, &a.pod, OTHER, strlen(OTHER));
		assert_true(flow_of(&a).flags & SHUNT_F_PINNED);
	}
}

/* ---- loss on the way from the pod --------------------------------------------------------------------------------------------------------- */

/* The pod's segment, `ahead` bytes further on than what came by. */
static void comes_ahead(struct asked *a, size_t ahead, const char *text)
{
	struct pkt pkt = { .saddr = a->pod.addr, .daddr = a->d.client, .sport = a->pod.port, .dport = a->pod.lport, .flags = ACK | PSH,
			   .seq = a->pod.sent + ahead, .ack = a->pod.received, .window = 1000, .tstamp = true, .tsval = ++a->pod.tsval,
			   .tsecr = a->pod.tsecr, .payload = text, .len = strlen(text) };

	bpfrun_packet(a->d.run, TO_CLIENT, &pkt, &a->d.r);
}

/* The last segment of the pod, sent again. */
static void comes_again(struct asked *a, const char *text)
{
	a->pod.sent -= strlen(text);
	a->d.received -= strlen(text);
	dialog_pod_says(&a->d, &a->pod, text);
}

static void test_a_packet_ahead_of_a_chunks_size_waits_for_it(void **state)
{
	static const char *const part[] = { CHUNKED "5\r\nhel", "lo\r\n6\r\nabc", "def\r\n0\r\n\r\n" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "a lost size");

		dialog_pod_says(&a.d, &a.pod, part[0]);
		comes_ahead(&a, strlen(part[1]), part[2]);
		assert_int_equal(a.d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ANSWER_AHEAD), 1);
		expect_open(&a, 0);
		dialog_pod_says(&a.d, &a.pod, part[1]);
		comes_again(&a, part[1]);
		expect_open(&a, 1);
		dialog_pod_says(&a.d, &a.pod, part[2]);
		expect_complete(&a, "at last");
		comes_again(&a, part[2]);
		expect_counted(&a, 2, 1, 0, 0);
		acknowledges(&a);
		ask(&a, GET);
		dialog_pod_says(&a.d, &a.pod, LENGTH(0));
		expect_complete(&a, "the next answer");
	}
}

/* Sizes are not in it: nothing keeps it from passing. */
static void test_a_packet_ahead_within_a_chunks_data_passes(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct asked a = asked(*state, family, GET, "lost data");

		dialog_pod_says(&a.d, &a.pod, CHUNKED "14\r\n01234");
		comes_ahead(&a, 5, "56789");
		assert_int_equal(a.d.r.verdict, V_PASS);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ANSWER_AHEAD), 0);
		dialog_pod_says(&a.d, &a.pod, "01234");
		dialog_pod_says(&a.d, &a.pod, "56789");
		dialog_pod_says(&a.d, &a.pod, "01234\r\n0\r\n\r\n");
		expect_complete(&a, "with the last chunk");
	}
}

/* Whatever comes first: the flow is either followed or pinned, and the client's next request never hangs. */
static void test_a_lost_head_never_stops_the_flow(void **state)
{
	static const struct {
		const char *sentence, *head, *rest;
	} each[] = {
		{ "of a length", LENGTH(10) "01234", "56789" },
		{ "of chunks, the rest in data", CHUNKED "A\r\n01234", "56789\r\n0\r\n\r\n" },
		{ "of chunks, the rest a size", CHUNKED, "5\r\nhello\r\n0\r\n\r\n" },
		{ "a piece", "HTTP/1.1 200 OK\r\nCont", "ent-Length: 0\r\n\r\n" },
		{ "an interim response", "HTTP/1.1 100 Continue\r\n\r\n", LENGTH(0) },
	};

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
			struct asked a = asked(*state, family, GET, each[i].sentence);
			bool passed;

			comes_ahead(&a, strlen(each[i].head), each[i].rest);
			passed = a.d.r.verdict == V_PASS;
			dialog_pod_says(&a.d, &a.pod, each[i].head);
			if (passed) {
				a.pod.sent += strlen(each[i].rest);
				a.d.received += strlen(each[i].rest);
			} else {
				dialog_pod_says(&a.d, &a.pod, each[i].rest);
			}
			acknowledges(&a);
			dialog_says(&a.d, GET);
			if (a.d.r.verdict == V_DROP)
				fail_msg("%s: the next request is held for ever", each[i].sentence);
			dialog_expect_at_pod(&a.d, &a.pod, GET, strlen(GET));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_answer_is_complete_at_its_last_byte),
		cmocka_unit_test(test_an_answer_in_any_two_pieces_is_complete_with_the_second),
		cmocka_unit_test(test_an_answer_byte_by_byte_is_complete_with_the_last),
		cmocka_unit_test(test_long_chunked_answers_in_packets_of_any_size_are_complete_with_the_last),
		cmocka_unit_test(test_a_request_that_waits_goes_with_the_last_chunk),
		cmocka_unit_test(test_an_answer_whose_end_is_lost_pins_the_flow_and_takes_no_time),
		cmocka_unit_test(test_an_answer_until_the_end_of_the_connection_takes_until_then),
		cmocka_unit_test(test_a_connection_that_ends_before_its_answer_is_an_error),
		cmocka_unit_test(test_a_close_in_the_middle_of_an_answer_is_an_error),
		cmocka_unit_test(test_many_interim_responses_in_a_packet_cost_the_flow_its_freedom_only),
		cmocka_unit_test(test_a_packet_ahead_of_a_chunks_size_waits_for_it),
		cmocka_unit_test(test_a_packet_ahead_within_a_chunks_data_passes),
		cmocka_unit_test(test_a_lost_head_never_stops_the_flow),
	};

	return bpfrun_main("answer", dialog_tables(), tests, ARRAY_SIZE(tests));
}
