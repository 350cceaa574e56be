/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets with a wrong checksum. What we read, hold and send again would get a good one from us, so nothing may be learned from them: their receiver
 * drops them, their sender sends them again.
 */
#include "../lib/dialog.h"

#include <string.h>

#include "util/cleanup.h"

#define OF(user) "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define GET OF("1011")
#define OTHER OF("000")
#define OK5 "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static struct shunt_flow flow_of(const struct dialog *d)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(d->run, &d->client, d->cport, &d->frontend, d->fport, &flow));
	return flow;
}

/* The client's bytes as the network spoils them, then whatever comes of it. */
static void says_corrupt(struct dialog *d, const char *text)
{
	d->damage = PKT_CORRUPT;
	dialog_says(d, text);
	d->damage = PKT_SOUND;
	d->next -= strlen(text);
}

/* The same for the pod. */
static void pod_says_corrupt(struct dialog *d, const struct dialog_pod *pod, const char *text)
{
	struct pkt pkt = { .saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = ACK | PSH, .seq = pod->sent,
			   .ack = pod->received, .window = 1000, .tstamp = true, .tsval = pod->tsval, .tsecr = pod->tsecr,
			   .damage = PKT_CORRUPT, .payload = text, .len = strlen(text) };

	bpfrun_packet(d->run, TO_CLIENT, &pkt, &d->r);
}

static void test_a_corrupt_request_is_not_held(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t cut = 0; cut < strlen(GET); cut += 9) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

			bpfrun_forget(*state);
			dialog_connects(&d);
			if (cut) {
				dialog_sends(&d, GET, cut);
				dialog_expect_ack(&d);
			}
			says_corrupt(&d, GET + cut);
			if (d.r.verdict == V_PASS || d.r.clones)
				dialog_fail(&d, "corrupt bytes went on");
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_CHECKSUM_BAD), 1);
			dialog_says(&d, GET + cut);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		}
	}
}

static void test_a_corrupt_later_request_decides_nothing(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod one = dialog_pod(&d, DIALOG_V1), two = dialog_pod(&d, DIALOG_V2);

		bpfrun_forget(*state);
		dialog_exchange(&d, &two, GET);
		says_corrupt(&d, OTHER);
		assert_int_equal(d.r.verdict, V_DROP);
		says_corrupt(&d, GET);
		assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_CHECKSUM_BAD), 2);
		dialog_says(&d, GET);
		dialog_expect_at_pod(&d, &two, GET, strlen(GET));
		says_corrupt(&d, OTHER); /* not even waiting */
		dialog_pod_says(&d, &two, OK5);
		assert_int_equal(d.r.copies, 0);
		dialog_says(&d, OTHER);
		dialog_expect_leg(&d, &one, d.next - strlen(OTHER));
	}
}

/* It passes, the client drops it; it is read when it comes again. */
static void test_a_corrupt_answer_is_not_followed(void **state)
{
	static const char *const answers[] = { OK5, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

			bpfrun_forget(*state);
			dialog_exchange(&d, &pod, GET);
			dialog_says(&d, GET);
			dialog_expect_at_pod(&d, &pod, GET, strlen(GET));
			pod_says_corrupt(&d, &pod, answers[i]);
			if (d.r.verdict == V_PASS && !d.r.out.why)
				dialog_fail(&d, "a corrupt packet has a good checksum now");
			assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_HEAD);
			dialog_pod_says(&d, &pod, answers[i]);
			assert_int_equal(flow_of(&d).answer, SHUNT_ANSWER_IDLE);
			assert_false(flow_of(&d).flags & SHUNT_F_PINNED);
		}
	}
}

/* On a machine's own way checksums are left to the last device. */
static void test_a_packet_whose_checksum_is_left_to_the_device_is_sound(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		bpfrun_forget(*state);
		dialog_connects(&d);
		d.damage = PKT_UNSUMMED;
		dialog_says(&d, GET);
		d.damage = PKT_SOUND;
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, GET, strlen(GET));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_CHECKSUM_BAD), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_corrupt_request_is_not_held),
		cmocka_unit_test(test_a_corrupt_later_request_decides_nothing),
		cmocka_unit_test(test_a_corrupt_answer_is_not_followed),
		cmocka_unit_test(test_a_packet_whose_checksum_is_left_to_the_device_is_sound),
	};

	return bpfrun_main("corrupt", dialog_tables(), tests, ARRAY_SIZE(tests));
}
