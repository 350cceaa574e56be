/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt_explain says what a packet would get, and leaves no trace of having been asked. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>

#include "shunt/hash.h"
#include "util/cleanup.h"

#define TO(host, id) "GET / HTTP/1.1\r\nHost: " host "\r\n" id "\r\n"

static struct shunt_answer ask(struct bpfrun *run, const struct dialog *d, const char *head)
{
	struct explain_request request = { .client = d->client, .frontend = d->frontend, .client_port = d->cport, .frontend_port = d->fport, .head = head };
	struct shunt_answer answer;

	assert_int_equal(datapath_explain(run->datapath, &request, &answer), 0);
	return answer;
}

static const struct {
	const char *sentence;
	int frontend;
	uint16_t port;
	const char *head;
	struct shunt_answer want; /* of it: route, split, version, served, by, id_from_client, id */
} cases[] = {
	{ "a rule", 10, 80, TO("example.com", "userhash: 1011\r\n"),
	  { .route = 0, .split = 1, .version = 1, .served = 1, .by = SHUNT_BY_RULE, .id_len = 4, .id = "1011" } },
	{ "an exact rule", 10, 80, TO("example.com", "userhash: 1010\r\n"),
	  { .route = 0, .split = 0, .version = 0, .served = 0, .by = SHUNT_BY_RULE, .id_len = 4, .id = "1010" } },
	{ "no rule", 10, 80, TO("example.com:80", "userhash: 0\r\n"),
	  { .route = 0, .split = 0, .version = 0, .served = 0, .by = SHUNT_BY_HASH, .id_len = 1, .id = "0" } },
	{ "no id", 10, 80, TO("example.com", ""), { .route = 0, .split = 0, .by = SHUNT_BY_HASH, .id_from_client = 1, .id_len = 16 } },
	{ "a Host of no route", 10, 80, TO("x", "userhash: 101\r\n"),
	  { .route = 0, .split = 1, .version = 1, .served = 1, .by = SHUNT_BY_RULE, .id_len = 3, .id = "101" } },
	{ "a fallback", 13, 80, TO("x", "userhash: 1\r\n"), { .route = 4, .split = 4, .version = 2, .served = 0, .by = SHUNT_BY_HASH, .id_len = 1, .id = "1" } },
};

static void test_each_answer_says_what_decided(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			const struct shunt_answer *want = &cases[i].want;
			struct dialog d = dialog_of(*state, family);
			struct shunt_answer a;

			dialog_towards(&d, cases[i].frontend, cases[i].port);
			a = ask(*state, &d, cases[i].head);
			if (a.verdict || a.route != want->route || a.split != want->split || a.version != want->version || a.served != want->served ||
			    a.by != want->by || a.id_from_client != want->id_from_client || a.id_len != want->id_len ||
			    (!want->id_from_client && memcmp(a.id, want->id, a.id_len)))
				fail_msg("%s: verdict %u route %u split %u version %u served %u by %u client %u id %u '%.*s'", cases[i].sentence, a.verdict, a.route,
					 a.split, a.version, a.served, a.by, a.id_from_client, a.id_len, (int)a.id_len, a.id);
			if (want->id_from_client)
				assert_memory_equal(a.id, d.client.ip, sizeof(d.client.ip));
			assert_int_equal(a.pod, (want->served ? 2 : 0) + family);
		}
	}
}

static void test_each_refusal_says_why(void **state)
{
	static const struct {
		const char *sentence;
		int frontend;
		uint16_t port;
		const char *head;
		enum shunt_reason why;
	} each[] = {
		{ "no frontend", 10, 81, TO("x", "userhash: 1\r\n"), SHUNT_R_NO_TABLE },
		{ "no pod", 12, 80, TO("x", "userhash: 1\r\n"), SHUNT_R_NO_POD },
		{ "no HTTP", 10, 80, "hello\r\n\r\n", SHUNT_R_NOT_HTTP },
		{ "half a head", 10, 80, "GET / HTTP/1.1\r\n", SHUNT_R_NOT_HTTP },
	};

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
			struct dialog d = dialog_of(*state, family);
			struct shunt_answer a;

			dialog_towards(&d, each[i].frontend, each[i].port);
			a = ask(*state, &d, each[i].head);
			if (a.verdict != each[i].why + 1u)
				fail_msg("%s: verdict %u, not %u", each[i].sentence, a.verdict, each[i].why + 1);
		}
	}
}

static void test_packets_go_where_explain_says(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		int second = 0;

		for (int user = 0; user < 64; user++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod;
			struct shunt_answer a;
			char head[128];

			d.cport = 20000 + user;
			snprintf(head, sizeof(head), TO("a.example.org", "user: user-%d\r\n"), user);
			a = ask(*state, &d, head);
			assert_int_equal(a.verdict, 0);
			assert_int_equal(a.route, 1);
			pod = dialog_pod(&d, a.version);
			dialog_connects(&d);
			dialog_says(&d, head);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			second += a.version;
		}
		assert_in_range(second, 16, 48);
		bpfrun_forget(*state);
	}
}

static void test_the_hash_is_the_one_that_the_agent_computes(void **state)
{
	const struct shunt_split *split = &dialog_tables()->splits[2];

	for (int user = 0; user < 200; user++) {
		struct dialog d = dialog_of(*state, user % 2);
		struct shunt_id id = {};
		struct shunt_answer a;
		char head[512];

		id.len = snprintf((char *)id.b, sizeof(id.b), "%0*d", user % SHUNT_ID_MAX + 1, user); /* of every length */
		snprintf(head, sizeof(head), TO("a.example.org", "user: %s\r\n"), (char *)id.b);
		a = ask(*state, &d, head);
		assert_int_equal(a.verdict, 0);
		assert_int_equal(a.id_len, id.len);
		assert_int_equal(a.hash, shunt_split_hash(shunt_siphash(split->salt, &id)));
		assert_int_equal(a.version, shunt_split_pick(split, a.hash));
	}
}

static void test_an_id_too_long_is_decided_by_its_first_bytes(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);
	char id[201] = {}, head[512];
	struct shunt_answer a, b;

	memset(id, 'x', 200);
	snprintf(head, sizeof(head), TO("a.example.org", "user: %s\r\n"), id);
	a = ask(*state, &d, head);
	id[150] = 'y';
	snprintf(head, sizeof(head), TO("a.example.org", "user: %s\r\n"), id);
	b = ask(*state, &d, head);
	assert_int_equal(a.id_len, SHUNT_ID_MAX);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void test_a_connection_frontend_is_decided_by_client_address(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int host = 1; host <= 16; host++) {
			struct dialog d = dialog_of(*state, family);
			struct bpfrun_result r;
			struct shunt_answer a;
			struct pkt syn;

			d.client.ip[15] = host;
			dialog_towards(&d, 11, 443);
			a = ask(*state, &d, "");
			assert_int_equal(a.verdict, 0);
			assert_int_equal(a.id_from_client, 1);
			syn = (struct pkt){ .saddr = d.client, .daddr = d.frontend, .sport = 4000, .dport = 443, .flags = SYN };
			bpfrun_packet(*state, FROM_CLIENT, &syn, &r);
			assert_int_equal(r.out.pkt.dport, a.version ? 8081 : 8080);
		}
	}
}

static void test_asking_leaves_no_trace(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct dialog d = dialog_of(*state, family);

			dialog_towards(&d, cases[i].frontend, cases[i].port);
			ask(*state, &d, cases[i].head);
			dialog_towards(&d, 12, 80);
			ask(*state, &d, cases[i].head);
		}
	}
	assert_int_equal(bpfrun_flows(*state), 0);
	assert_int_equal(bpfrun_legs(*state), 0);
	assert_int_equal(bpfrun_holds(*state), 0);
	for (int reason = 0; reason < SHUNT_R_MAX; reason++)
		assert_int_equal(bpfrun_reason(*state, reason), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_answer_says_what_decided),
		cmocka_unit_test(test_each_refusal_says_why),
		cmocka_unit_test(test_packets_go_where_explain_says),
		cmocka_unit_test(test_the_hash_is_the_one_that_the_agent_computes),
		cmocka_unit_test(test_an_id_too_long_is_decided_by_its_first_bytes),
		cmocka_unit_test(test_a_connection_frontend_is_decided_by_client_address),
		cmocka_unit_test(test_asking_leaves_no_trace),
	};

	return bpfrun_main("explain", dialog_tables(), tests, ARRAY_SIZE(tests));
}
