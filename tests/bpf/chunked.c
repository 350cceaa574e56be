/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Requests with chunked bodies: where they end, in whatever packets they come, and what happens to the requests behind them. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define POST "POST / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\nTransfer-Encoding: chunked\r\n\r\n"
#define GET(user) "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define TWO GET("1011")
#define ONE GET("000")
#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct dialog open_dialog(struct bpfrun *run, int family, struct dialog_pod *pod, const char *sentence)
{
	struct dialog d = dialog_opens(run, family, pod, TWO);

	d.sentence = sentence;
	return d;
}

static struct shunt_flow flow_of(const struct dialog *d)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(d->run, &d->client, d->cport, &d->frontend, d->fport, &flow));
	return flow;
}

/* The request is followed, and `over`: to its end, which is where the client is now. */
static void expect_followed(const struct dialog *d, bool over, const char *how)
{
	struct shunt_flow flow = flow_of(d);

	if (flow.flags & SHUNT_F_PINNED || (flow.request_walk == SHUNT_CHUNK_END) != over || (over && flow.request_end != d->next))
		fail_msg("%s, %s: the request is %s, its end %d bytes from where it is", d->sentence, how,
			 flow.flags & SHUNT_F_PINNED ? "lost" : flow.request_walk == SHUNT_CHUNK_END ? "over" : "open", (int)(flow.request_end - d->next));
}

/* A segment of the client reaches the pod as it is, also when it was made anew. */
static void passes(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	dialog_sends(d, bytes, len);
	if (d->r.mark == SHUNT_MARK)
		d->r.verdict = V_PASS;
	dialog_expect_at_pod(d, pod, bytes, len);
}

static void answered(struct dialog *d, struct dialog_pod *pod)
{
	dialog_pod_says(d, pod, OK0);
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
	if (flow_of(d).answer != SHUNT_ANSWER_IDLE)
		fail_msg("%s: the answer is not complete", d->sentence);
}

/* Another user's request moves to the other version: nothing of the one before is in doubt. */
static void moves(struct dialog *d)
{
	struct dialog_pod one = dialog_pod(d, DIALOG_V1);
	uint32_t start = d->next;

	dialog_says(d, ONE);
	dialog_expect_leg(d, &one, start);
	dialog_pod_accepts(d, &one, ONE, strlen(ONE));
}

static const struct {
	const char *sentence, *body;
} bodies[] = {
	{ "no chunk but the last", "0\r\n\r\n" },
	{ "a chunk", "5\r\nhello\r\n0\r\n\r\n" },
	{ "several chunks and an extension", "1\r\na\r\nC;x=\"y\"\r\n012345678901\r\n0\r\n\r\n" },
	{ "a trailer", "3\r\nabc\r\n0\r\nExpires: 0\r\nX: 5\r\n\r\n" },
	{ "data that look like the end and a request", "4e\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\nContent-Length: 5\r\n\r\n\r\n0\r\n\r\n" },
};

static void test_a_chunked_request_in_one_packet_is_followed_to_its_end(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
			struct dialog_pod pod;
			struct dialog d = open_dialog(*state, family, &pod, bodies[i].sentence);
			char request[512];

			passes(&d, &pod, request, snprintf(request, sizeof(request), POST "%s", bodies[i].body));
			expect_followed(&d, true, "in one packet");
			answered(&d, &pod);
			moves(&d);
		}
	}
}

static void test_a_chunked_body_in_any_two_pieces_is_followed_to_its_end(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
			struct dialog_pod pod;
			struct dialog d = open_dialog(*state, family, &pod, bodies[i].sentence);
			size_t len = strlen(bodies[i].body);

			for (size_t cut = 0; cut < len; cut++) {
				char head[512], how[32];

				snprintf(how, sizeof(how), "cut at %zu", cut);
				passes(&d, &pod, head, snprintf(head, sizeof(head), POST "%.*s", (int)cut, bodies[i].body));
				expect_followed(&d, false, how);
				passes(&d, &pod, bodies[i].body + cut, len - cut);
				expect_followed(&d, true, how);
				answered(&d, &pod);
			}
			assert_int_equal(bpfrun_holds(*state), 0);
			moves(&d);
		}
	}
}

static void test_a_first_request_is_followed_in_whatever_pieces_it_waits_for_its_pod(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
			size_t len = strlen(bodies[i].body);

			for (size_t cut = 0; cut < len; cut++) {
				struct dialog d = dialog_of(*state, family);
				struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
				char request[512];
				int all = snprintf(request, sizeof(request), POST "%s", bodies[i].body);

				bpfrun_forget(*state);
				d.sentence = bodies[i].sentence;
				dialog_connects(&d);
				dialog_sends(&d, request, all - (len - cut));
				dialog_expect_leg(&d, &pod, d.isn + 1);
				expect_followed(&d, false, "while it waits");
				dialog_sends(&d, request + all - (len - cut), len - cut);
				assert_int_equal(d.r.verdict, V_DROP); /* held */
				expect_followed(&d, true, "while it waits");
				dialog_pod_accepts(&d, &pod, request, all);
				answered(&d, &pod);
				moves(&d);
			}
		}
	}
}

static void test_a_long_chunked_body_passes_without_being_held(void **state)
{
	static char data[4 * 1400];

	memset(data, '0', sizeof(data));
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = open_dialog(*state, family, &pod, "1 MB");

		passes(&d, &pod, POST, strlen(POST));
		for (int chunk = 0; chunk < 40; chunk++) {
			passes(&d, &pod, "1999;x\r\n", 8); /* 0x1999 = 6553: data, and a rest of 953 */
			for (size_t at = 0; at < sizeof(data); at += 1400)
				passes(&d, &pod, data + at, 1400);
			passes(&d, &pod, data, 953);
			passes(&d, &pod, "\r", 1);
			passes(&d, &pod, "\n", 1);
			expect_followed(&d, false, "between chunks");
		}
		passes(&d, &pod, "0\r\n\r\n", 5);
		expect_followed(&d, true, "at last");
		answered(&d, &pod);
		moves(&d);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_UNFRAMED), 0);
	}
}

static void test_a_request_behind_a_chunked_one_waits_for_its_answer(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t cut = 0; cut <= strlen("5\r\nhello\r\n0\r\n\r\n"); cut++) { /* where the last packet begins */
			static const char body[] = "5\r\nhello\r\n0\r\n\r\n";
			struct dialog_pod pod, one;
			struct dialog d = open_dialog(*state, family, &pod, "a crossing packet");
			char both[512];
			int len = snprintf(both, sizeof(both), "%s" ONE, body + cut);

			if (cut)
				passes(&d, &pod, both, snprintf(both, sizeof(both), POST "%.*s", (int)cut, body));
			else
				passes(&d, &pod, POST, strlen(POST));
			snprintf(both, sizeof(both), "%s" ONE, body + cut);
			dialog_sends(&d, both, len);
			d.waiting = strlen(ONE);
			if (d.r.mark == SHUNT_MARK)
				d.r.verdict = V_PASS;
			if (cut < strlen(body))
				dialog_expect_at_pod(&d, &pod, both, strlen(body) - cut);
			else
				dialog_expect_parted(&d);
			dialog_pod_completes(&d, &pod, OK0);
			dialog_expect_probe(&d);
			dialog_flags(&d, ACK);
			one = dialog_pod(&d, DIALOG_V1);
			d.waiting = 0;
			dialog_expect_leg(&d, &one, d.next - strlen(ONE));
		}
	}
}

/* The packet that comes alone says nothing of what the lost one says of its end. */
static void test_a_packet_ahead_of_a_chunks_size_waits_for_it(void **state)
{
	static const char *const part[] = { POST "5\r\nhel", "lo\r\n6\r\nabc", "def\r\n0\r\n\r\n" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = open_dialog(*state, family, &pod, "a lost size");

		passes(&d, &pod, part[0], strlen(part[0]));
		d.next += strlen(part[1]);
		dialog_says(&d, part[2]);
		assert_int_equal(d.r.verdict, V_DROP);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REQUEST_AHEAD), 1);
		d.next -= strlen(part[1]) + strlen(part[2]);
		passes(&d, &pod, part[1], strlen(part[1]));
		d.next -= strlen(part[1]); /* again */
		pod.received -= strlen(part[1]);
		passes(&d, &pod, part[1], strlen(part[1]));
		expect_followed(&d, false, "before its end");
		passes(&d, &pod, part[2], strlen(part[2]));
		expect_followed(&d, true, "at last");
		answered(&d, &pod);
		moves(&d);
	}
}

static void test_a_packet_ahead_within_a_chunks_data_passes(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = open_dialog(*state, family, &pod, "lost data");

		passes(&d, &pod, POST "14\r\n01234", strlen(POST "14\r\n01234"));
		d.next += 5;
		pod.received += 5;
		passes(&d, &pod, "abcde", 5);
		d.next -= 10;
		pod.received -= 10;
		passes(&d, &pod, "56789", 5);
		d.next += 5;
		pod.received += 5;
		passes(&d, &pod, "fghij\r\n0\r\n\r\n", 12);
		expect_followed(&d, true, "at last");
	}
}

static const struct {
	const char *sentence, *body;
} lost[] = {
	{ "a size that is none", "x\r\nhello\r\n" },
	{ "a size with a sign", "+5\r\nhello\r\n0\r\n\r\n" },
	{ "a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n" },
	{ "a size that wraps", "100000005\r\nhello\r\n0\r\n\r\n" },
	{ "a size of 1 GiB", "40000000\r\n" },
	{ "LF alone behind a size", "5\nhello\r\n0\r\n\r\n" },
	{ "LF alone in an extension", "5;\nhello\r\n0\r\n\r\n" },
	{ "CR alone in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n" },
	{ "a chunk longer than its size", "5\r\nhelloXX0\r\n\r\n" },
	{ "LF alone at the end", "0\n\n" },
	{ "a blank line with a blank", "0\r\n \r\n\r\n" },
};

static void test_a_chunked_request_whose_end_is_lost_pins_the_flow(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(lost); i++) {
			for (int with_head = 0; with_head < 2; with_head++) {
				struct dialog_pod pod;
				struct dialog d = open_dialog(*state, family, &pod, lost[i].sentence);
				char request[512];

				if (with_head) {
					passes(&d, &pod, request, snprintf(request, sizeof(request), POST "%s", lost[i].body));
				} else {
					passes(&d, &pod, POST, strlen(POST));
					passes(&d, &pod, lost[i].body, strlen(lost[i].body));
				}
				if (!(flow_of(&d).flags & SHUNT_F_PINNED) || bpfrun_reason(*state, SHUNT_R_REQUEST_UNFRAMED) != 1)
					fail_msg("%s: not pinned", lost[i].sentence);
				passes(&d, &pod, ONE, strlen(ONE)); /* stays, whoever asks */
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_chunked_request_in_one_packet_is_followed_to_its_end),
		cmocka_unit_test(test_a_chunked_body_in_any_two_pieces_is_followed_to_its_end),
		cmocka_unit_test(test_a_first_request_is_followed_in_whatever_pieces_it_waits_for_its_pod),
		cmocka_unit_test(test_a_long_chunked_body_passes_without_being_held),
		cmocka_unit_test(test_a_request_behind_a_chunked_one_waits_for_its_answer),
		cmocka_unit_test(test_a_packet_ahead_of_a_chunks_size_waits_for_it),
		cmocka_unit_test(test_a_packet_ahead_within_a_chunks_data_passes),
		cmocka_unit_test(test_a_chunked_request_whose_end_is_lost_pins_the_flow),
	};

	return bpfrun_main("chunked", dialog_tables(), tests, ARRAY_SIZE(tests));
}
