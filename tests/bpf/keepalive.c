/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Later requests of the same user on one connection, what their bodies and answers look like, and how connections end. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define HEAD_OF(line, more) line " HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n" more "\r\n"
#define GET HEAD_OF("GET /", "")
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct shunt_flow flow_of(const struct dialog *d)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(d->run, &d->client, d->cport, &d->frontend, d->fport, &flow));
	return flow;
}

/* One more request in one packet, its answer, and the client's ACK. */
static void exchange(struct dialog *d, struct dialog_pod *pod, const char *request, const char *answer)
{
	dialog_says(d, request);
	dialog_expect_at_pod(d, pod, request, strlen(request));
	dialog_pod_says(d, pod, answer);
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

static void test_a_later_request_of_the_same_version_just_goes_on(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		for (int i = 0; i < 20; i++)
			exchange(&d, &pod, GET, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
	}
}

/* Answers after which the next request can be decided, and answers after which it cannot. */
static const struct {
	const char *sentence, *request, *answer;
	bool pinned;
} answers[] = {
	{ "a length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", false },
	{ "LF line ends", GET, "HTTP/1.1 200 OK\ncontent-length:3\n\nabc", false },
	{ "no content", GET, "HTTP/1.1 204 No Content\r\n\r\n", false },
	{ "not modified, with a length", GET, "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n", false },
	{ "HEAD", HEAD_OF("HEAD /", ""), "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false },
	{ "HEAD of a chunked answer", HEAD_OF("HEAD /", ""), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false },
	{ "an interim response", GET, "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", false },
	{ "a server's error", GET, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n", false },
	{ "until close", GET, "HTTP/1.1 200 OK\r\n\r\nabc", true },
	{ "two lengths", GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", true },
	{ "an upgrade that is not taken up", HEAD_OF("GET /", "Upgrade: h2c\r\nConnection: upgrade\r\n"), OK0, false },
	{ "no HTTP", GET, "hello\r\n", true },
	{ "more than the length", GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", true },
};

static void test_an_answer_frees_the_flow_for_another_version_only_when_its_end_is_known(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			d.sentence = answers[i].sentence;
			exchange(&d, &pod, answers[i].request, answers[i].answer);
			if (!!(flow_of(&d).flags & SHUNT_F_PINNED) != answers[i].pinned)
				fail_msg("%s: should %sbe pinned", answers[i].sentence, answers[i].pinned ? "" : "not ");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_ANSWER_UNFRAMED), answers[i].pinned);
			if (!answers[i].pinned)
				assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
		}
	}
}

static void test_an_answers_head_in_any_two_pieces_is_followed(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 3\r\n\r\nabc";

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		for (size_t cut = 1; cut < strlen(answer); cut++) {
			dialog_says(&d, GET);
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			dialog_pod_sends(&d, &pod, answer, cut);
			assert_int_not_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
			dialog_pod_says(&d, &pod, answer + cut);
			if (flow_of(&d).answer != SHUNT_ANSWER_IDLE || flow_of(&d).flags & SHUNT_F_PINNED)
				fail_msg("cut at %zu: the answer's end is lost", cut);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
		}
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

static void test_an_answer_byte_by_byte_is_followed(void **state)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 3\r\n\r\nabc";

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		for (size_t i = 0; i < strlen(answer); i++)
			dialog_pod_sends(&d, &pod, answer + i, 1);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
		assert_false(flow_of(&d).flags & SHUNT_F_PINNED);
	}
}

static void test_a_later_head_in_any_two_pieces_is_put_together(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		for (size_t cut = 1; cut < strlen(GET); cut++) {
			dialog_sends(&d, GET, cut);
			dialog_expect_ack(&d);
			dialog_says(&d, GET + cut);
			if (d.r.mark == SHUNT_MARK) /* sent round: the same packet for the pod */
				d.r.verdict = V_PASS;
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			dialog_pod_says(&d, &pod, OK0);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 1);
	}
}

static void test_a_body_goes_on_without_being_read(void **state)
{
	static char body[1000];

	memset(body, 'G', sizeof(body));
	memcpy(body, GET, strlen(GET)); /* a head within a body is none */
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		const char *post = HEAD_OF("POST /", "Content-Length: 5000\r\n");
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_says(&d, post);
		dialog_expect_at_pod(&d, &pod, post, strlen(post));
		for (int i = 0; i < 5; i++) {
			dialog_sends(&d, body, sizeof(body));
			dialog_expect_at_pod(&d, &pod, body, sizeof(body));
		}
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
		exchange(&d, &pod, GET, OK0);
		assert_int_equal(bpfrun_holds(*state), 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 1);
	}
}

static void test_requests_whose_end_cannot_be_known_pin_the_flow(void **state)
{
	static const char *const requests[] = {
		HEAD_OF("POST /", "Content-Length: 5\r\nContent-Length: 6\r\n"),
		HEAD_OF("POST /", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
		HEAD_OF("GET /", "Content-Length: 5\r\n") "hello",
		HEAD_OF("CONNECT /", ""),
		HEAD_OF("GET /", "A: b\n"),
		HEAD_OF("GET /", "A: b\r\n c\r\n"),
	};

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
			const char *other = "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n";
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			exchange(&d, &pod, requests[i], OK0);
			assert_true(flow_of(&d).flags & SHUNT_F_PINNED);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_UNFRAMED), 1);
			exchange(&d, &pod, other, OK0); /* stays, whoever asks */
		}
	}
}

static void test_another_protocol_pins_the_flow_when_the_server_agrees(void **state)
{
	static const char upgrade[] = HEAD_OF("GET /", "Upgrade: websocket\r\nConnection: upgrade\r\n");

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		exchange(&d, &pod, upgrade, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
		assert_true(flow_of(&d).flags & SHUNT_F_PINNED);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_UPGRADED), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_ANSWER_UNFRAMED), 0);
		dialog_says(&d, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n");
		assert_int_equal(d.r.verdict, V_PASS);
	}
}

/* Whether the body still comes after such an answer is a matter of opinion. */
static const struct {
	const char *sentence, *request, *answer;
	bool body, pinned;
} expectations[] = {
	{ "a 100, then the answer", HEAD_OF("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n"), OK0, true, false },
	{ "an answer at once", HEAD_OF("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n"), OK0, false, true },
	{ "a refusal", HEAD_OF("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n"), "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n", false, true },
	{ "another expectation", HEAD_OF("POST /", "Expect: y 100-continue\r\nContent-Length: 5\r\n"), OK0, false, true },
	{ "an answer at once, chunked", HEAD_OF("POST /", "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n"), OK0, false, true },
	{ "early hints are no 100", HEAD_OF("POST /", "Expect: 100-continue\r\nContent-Length: 5\r\n"), "HTTP/1.1 103 Hints\r\n\r\n" OK0, false, true },
	{ "no body to wait", HEAD_OF("POST /", "Expect: 100-continue\r\nContent-Length: 0\r\n"), OK0, false, false },
};

static void test_an_answer_without_the_100_that_a_body_waits_for_pins_the_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(expectations); i++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			d.sentence = expectations[i].sentence;
			if (expectations[i].body) {
				exchange(&d, &pod, expectations[i].request, "HTTP/1.1 100 Continue\r\n\r\n");
				exchange(&d, &pod, "hello", expectations[i].answer);
			} else {
				exchange(&d, &pod, expectations[i].request, expectations[i].answer);
			}
			if (!!(flow_of(&d).flags & SHUNT_F_PINNED) != expectations[i].pinned)
				fail_msg("%s: should %sbe pinned", expectations[i].sentence, expectations[i].pinned ? "" : "not ");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_EXPECT_REFUSED), expectations[i].pinned);
		}
	}
}

/* ---- pipelining ------------------------------------------------------------------------------------------------------------------------- */

static void test_a_request_behind_another_waits_for_its_answer(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);

		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		dialog_waits(&d, GET);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_PIPELINED), 1);
		dialog_pod_completes(&d, &pod, OK0);
		dialog_expect_released(&d, &pod, GET);
		dialog_flags(&d, ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
		dialog_pod_says(&d, &pod, OK0);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
	}
}

/* Of each, the answer is cut, too: only the packet with its last byte lets the next request go. */
static void test_many_requests_behind_another_go_one_by_one(void **state)
{
	static const char first[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na", rest[] = "bc";
	enum { MANY = 12 };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int in_one_packet = 0; in_one_packet < 2; in_one_packet++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);
			char many[MANY * sizeof(GET)] = "";

			dialog_says(&d, GET);
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			for (int i = 0; i < MANY; i++)
				strcat(many, GET);
			if (in_one_packet)
				dialog_waits(&d, many);
			for (int i = 0; i < MANY && !in_one_packet; i++)
				dialog_waits(&d, GET);
			for (int i = 0; i < MANY; i++) {
				dialog_pod_says(&d, &pod, first);
				assert_int_equal(d.r.copies, 0);
				dialog_pod_completes(&d, &pod, rest);
				dialog_expect_released(&d, &pod, GET);
			}
			dialog_pod_says(&d, &pod, OK0);
			assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
			exchange(&d, &pod, GET, OK0);
			assert_int_equal(bpfrun_holds(*state), 0);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 1);
		}
	}
}

/* The copy for the client comes by shunt_to_client itself, which looks closer at packets of no leg once a client's own connection was moved. */
static void test_requests_behind_others_go_on_beside_a_moved_connection_of_the_clients_own(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);
		struct pkt direct = { .saddr = d.client, .daddr = pod.addr, .sport = pod.lport, .dport = pod.port, .flags = SYN, .seq = 1 };
		struct bpfrun_result r;

		bpfrun_packet(*state, FROM_CLIENT, &direct, &r);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_DIRECT_MOVED), 1);
		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		for (int i = 0; i < 3; i++)
			dialog_waits(&d, GET);
		for (int i = 0; i < 3; i++) {
			dialog_pod_completes(&d, &pod, OK0);
			dialog_expect_released(&d, &pod, GET);
		}
		dialog_waits(&d, HEAD_OF("GET /other", ""));
		dialog_pod_completes(&d, &pod, OK0);
		dialog_expect_released(&d, &pod, HEAD_OF("GET /other", ""));
		dialog_pod_says(&d, &pod, OK0);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
	}
}

/* One packet with the end of a request and the start of the next. */
static void test_a_packet_across_two_requests_is_parted(void **state)
{
	const char *post = HEAD_OF("POST /", "Content-Length: 10\r\n");
	char both[512];

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t more = 1; more <= strlen(GET); more += 3) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);
			int len = snprintf(both, sizeof(both), "%s0123456789%.*s", post, (int)more, GET);

			dialog_sends(&d, both, len);
			d.waiting = more;
			if (d.r.mark == SHUNT_MARK)
				d.r.verdict = V_PASS;
			dialog_expect_at_pod(&d, &pod, both, len - more);
			if (more < strlen(GET))
				dialog_waits(&d, GET + more);
			dialog_pod_completes(&d, &pod, OK0);
			dialog_expect_released(&d, &pod, GET);
			dialog_pod_says(&d, &pod, OK0);
			assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
		}
	}
}

/* The rest of the head is still at the client, who sends it when it has room, that is, when its answer came. */
static void test_half_a_head_behind_another_request_waits_for_its_rest(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t cut = 1; cut < strlen(GET); cut += 7) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);
			char half[sizeof(GET)] = "";

			memcpy(half, GET, cut);
			dialog_says(&d, GET);
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			dialog_waits(&d, half);
			dialog_pod_completes(&d, &pod, OK0);
			dialog_expect_probe(&d);
			dialog_flags(&d, ACK);
			dialog_expect_ack(&d);
			dialog_says(&d, GET + cut);
			if (d.r.mark == SHUNT_MARK)
				d.r.verdict = V_PASS;
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			dialog_pod_says(&d, &pod, OK0);
			assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
		}
	}
}

static void test_what_does_not_fit_behind_a_request_is_dropped_and_comes_again(void **state)
{
	static char target[1200];

	memset(target, 'a', sizeof(target) - 1);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = dialog_opens(*state, family, &pod, GET);
		char get[1300];
		int fit = SHUNT_HOLD_SIZE / snprintf(get, sizeof(get), HEAD_OF("GET /%s", ""), target);

		assert_int_not_equal(SHUNT_HOLD_SIZE % strlen(get), 0);
		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
		for (int i = 0; i < fit; i++)
			dialog_waits(&d, get);
		dialog_says(&d, get); /* of this one a part fits */
		dialog_expect_parted(&d);
		d.next -= strlen(get);
		for (int i = 0; i < fit; i++) {
			dialog_pod_completes(&d, &pod, OK0);
			dialog_expect_released(&d, &pod, get);
		}
		dialog_says(&d, get); /* again */
		d.waiting = strlen(get);
		dialog_expect_parted(&d);
		dialog_pod_completes(&d, &pod, OK0);
		dialog_expect_released(&d, &pod, get);
		dialog_pod_says(&d, &pod, OK0);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
	}
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------------------- */

static void test_both_fins_end_the_flow_and_leave_nothing(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int client_first = 0; client_first < 2; client_first++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			if (client_first) {
				dialog_flags(&d, FIN | ACK);
				dialog_expect_at_pod(&d, &pod, NULL, 0);
				pod.received++;
				dialog_pod_flags(&d, &pod, FIN | ACK);
				assert_int_equal(d.r.verdict, V_PASS);
				d.received++;
				dialog_flags(&d, ACK);
			} else {
				dialog_pod_flags(&d, &pod, FIN | ACK);
				assert_int_equal(d.r.verdict, V_PASS);
				d.received++;
				dialog_flags(&d, FIN | ACK);
				dialog_expect_at_pod(&d, &pod, NULL, 0);
				pod.received++;
				dialog_pod_flags(&d, &pod, ACK);
			}
			assert_int_equal(d.r.verdict, V_PASS);
			assert_null(d.r.out.why);
			assert_int_equal(bpfrun_flows(*state), 0);
			assert_int_equal(bpfrun_legs(*state), 0);
			assert_int_equal(bpfrun_holds(*state), 0);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_FLOW_END), 1);
		}
	}
}

static void test_a_reset_of_either_end_reaches_the_other_and_leaves_nothing(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int of_client = 0; of_client < 2; of_client++) {
			struct dialog_pod pod;
			struct dialog d = dialog_opens(*state, family, &pod, GET);

			if (of_client)
				dialog_flags(&d, RST | ACK);
			else
				dialog_pod_flags(&d, &pod, RST | ACK);
			if (d.r.verdict != V_PASS || d.r.out.why || !(d.r.out.pkt.flags & RST) ||
			    d.r.out.pkt.seq != (of_client ? pod.received : d.received))
				dialog_fail(&d, "no reset");
			assert_int_equal(bpfrun_flows(*state), 0);
			assert_int_equal(bpfrun_legs(*state), 0);
		}
	}
}

static void test_a_client_that_leaves_before_its_request_leaves_nothing(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);

		dialog_connects(&d);
		dialog_says(&d, "GET / HT");
		dialog_expect_ack(&d);
		dialog_flags(&d, FIN | ACK);
		if (d.r.verdict != V_REDIRECT || d.r.out.why || d.r.out.pkt.flags != (FIN | ACK) || d.r.out.pkt.ack != d.next)
			dialog_fail(&d, "no FIN in answer");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

/* ---- numbers ---------------------------------------------------------------------------------------------------------------------------- */

static void test_requests_and_answers_are_counted_for_their_version(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct series_numbers before, after;
		struct bpfrun *run = *state;
		struct dialog_pod pod;
		struct dialog d;

		assert_int_equal(datapath_read_numbers(run->datapath, DIALOG_V2, &before), 0);
		d = dialog_opens(run, family, &pod, GET);
		exchange(&d, &pod, GET, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
		exchange(&d, &pod, GET, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
		assert_int_equal(datapath_read_numbers(run->datapath, DIALOG_V2, &after), 0);
		assert_int_equal(after.count.requests - before.count.requests, 3);
		assert_int_equal(after.count.status[2] - before.count.status[2], 1);
		assert_int_equal(after.count.status[4] - before.count.status[4], 1);
		assert_int_equal(after.count.status[5] - before.count.status[5], 1);
		assert_int_equal(after.count.errors - before.count.errors, 1);
		assert_int_equal(after.count.latency_count - before.count.latency_count, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_later_request_of_the_same_version_just_goes_on),
		cmocka_unit_test(test_an_answer_frees_the_flow_for_another_version_only_when_its_end_is_known),
		cmocka_unit_test(test_an_answers_head_in_any_two_pieces_is_followed),
		cmocka_unit_test(test_an_answer_byte_by_byte_is_followed),
		cmocka_unit_test(test_a_later_head_in_any_two_pieces_is_put_together),
		cmocka_unit_test(test_a_body_goes_on_without_being_read),
		cmocka_unit_test(test_requests_whose_end_cannot_be_known_pin_the_flow),
		cmocka_unit_test(test_another_protocol_pins_the_flow_when_the_server_agrees),
		cmocka_unit_test(test_an_answer_without_the_100_that_a_body_waits_for_pins_the_flow),
		cmocka_unit_test(test_a_request_behind_another_waits_for_its_answer),
		cmocka_unit_test(test_many_requests_behind_another_go_one_by_one),
		cmocka_unit_test(test_requests_behind_others_go_on_beside_a_moved_connection_of_the_clients_own),
		cmocka_unit_test(test_a_packet_across_two_requests_is_parted),
		cmocka_unit_test(test_half_a_head_behind_another_request_waits_for_its_rest),
		cmocka_unit_test(test_what_does_not_fit_behind_a_request_is_dropped_and_comes_again),
		cmocka_unit_test(test_both_fins_end_the_flow_and_leave_nothing),
		cmocka_unit_test(test_a_reset_of_either_end_reaches_the_other_and_leaves_nothing),
		cmocka_unit_test(test_a_client_that_leaves_before_its_request_leaves_nothing),
		cmocka_unit_test(test_requests_and_answers_are_counted_for_their_version),
	};

	return bpfrun_main("keepalive", dialog_tables(), tests, ARRAY_SIZE(tests));
}
