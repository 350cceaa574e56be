/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The tutorial's tables, by hand, in the kernel; and what it says about requests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>

#include "sandbox.h"
#include "util/addr.h"

enum { V1, V2, VERSIONS };

#define ALL (1ull << 32)

static struct shunt_addr addr(const char *text)
{
	struct shunt_addr parsed;

	assert_int_equal(addr_parse(text, &parsed), 0);
	return parsed;
}

static const char *const frontend_of[SHUNT_FAMILIES] = { "10.96.0.10", "fd00:96::10" };
static const char *const client_of[SHUNT_FAMILIES] = { "10.1.0.2", "fd00:1::2" };

/*
 * Port 80: header userhash, prefix 101 to v2, others to v1. Port 443: by client address, half and half. Port 81: v2 for all, and v2 has no pod.
 * Ring and pod of version v and family f have index 2 * v + f.
 */
static void commit_tutorial(struct datapath *datapath)
{
	struct tables_frontend frontends[6] = {};
	struct shunt_route routes[3] = {
		{ .identity = SHUNT_ID_HEADER, .name_len = 8, .host_match = SHUNT_HOST_EXACT, .host_len = 11, .split = 0, .rules = 1, .name = "userhash",
		  .host = "example.com" },
		{ .identity = SHUNT_ID_CLIENT, .split = 2 },
		{ .identity = SHUNT_ID_HEADER, .name_len = 8, .split = 3, .name = "userhash" },
	};
	struct tables_rule rules[1] = { { .route = 0, .length = 3, .id = "101", .value.split = 1 } };
	struct shunt_split splits[4] = {
		{ .shares = 1, .share = { { ALL, V1, 0 } } },
		{ .shares = 1, .share = { { ALL, V2, 0 } } },
		{ .salt = { 1, 2 }, .shares = 2, .share = { { ALL / 2, V1, 0 }, { ALL, V2, 0 } } },
		{ .shares = 1, .share = { { ALL, VERSIONS, 0 } } },
	};
	struct tables_version versions[VERSIONS + 1] = {
		{ .value = { .series = 0, .fallback = SHUNT_NONE, .ring = { 0, 1 } } },
		{ .value = { .series = 1, .fallback = V1, .ring = { 2, 3 } } },
		{ .value = { .series = 2, .fallback = V1, .ring = { SHUNT_NONE, SHUNT_NONE } } },
	};
	struct shunt_ring *rings = calloc(4, sizeof(*rings));
	struct shunt_pod pods[4] = {};
	struct tables *tables = calloc(1, sizeof(*tables));

	for (int i = 0; i < 6; i++) {
		static const uint16_t ports[] = { 80, 443, 81 };

		frontends[i].key.addr = addr(frontend_of[i % 2]);
		frontends[i].key.port = htons(ports[i / 2]);
		frontends[i].value = (struct shunt_frontend){ .kind = i / 2 == 1 ? SHUNT_KIND_CONNECTION : SHUNT_KIND_REQUEST, .routes = 1, .route = i / 2 };
	}
	for (int i = 0; i < 4; i++) {
		pods[i].addr = addr(i % 2 ? "fd00:2::3" : "10.2.0.3");
		pods[i].port = htons(8080);
		for (int slot = 0; slot < SHUNT_RING_SIZE; slot++)
			rings[i].pod[slot] = i;
	}
	*tables = (struct tables){
		.frontends = frontends, .frontend_count = 6, .routes = routes, .route_count = 3, .rules = rules, .rule_count = 1, .splits = splits,
		.split_count = 4, .versions = versions, .version_count = VERSIONS + 1, .rings = rings, .ring_count = 4, .pods = pods, .pod_count = 4,
	};
	assert_int_equal(datapath_commit(datapath, tables), 0);
	free(tables);
	free(rings);
}

#define GET(headers) "GET /v1/models HTTP/1.1\r\nHost: example.com\r\n" headers "\r\n"
#define REFUSED(reason) (SHUNT_R_##reason + 1)

static const struct {
	uint16_t port;
	const char *head;
	uint32_t verdict;
	uint16_t version, served;
	uint8_t by, id_from_client;
	const char *id;
} cases[] = {
	{ 80, GET("userhash: 1010101010\r\n"), 0, V2, V2, SHUNT_BY_RULE, 0, "1010101010" },
	{ 80, GET("userhash: 1111100000\r\n"), 0, V1, V1, SHUNT_BY_HASH, 0, "1111100000" },
	{ 80, GET("USERHASH:1010101010  \r\n"), 0, V2, V2, SHUNT_BY_RULE, 0, "1010101010" },
	{ 80, GET("userhash: 101\r\n"), 0, V2, V2, SHUNT_BY_RULE, 0, "101" },
	{ 80, GET("userhash: 10\r\n"), 0, V1, V1, SHUNT_BY_HASH, 0, "10" },
	{ 80, GET(""), 0, V1, V1, SHUNT_BY_HASH, 1, NULL },
	{ 81, GET("userhash: 1010101010\r\n"), 0, VERSIONS, V1, SHUNT_BY_HASH, 0, "1010101010" },
	{ 80, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no request at all, but TLS\r\n\r\n", REFUSED(NOT_HTTP), 0, 0, 0, 0, NULL },
	{ 8443, GET(""), REFUSED(NO_TABLE), 0, 0, 0, 0, NULL },
};

static void check(struct datapath *datapath, size_t i, int family)
{
	const struct explain_request request = {
		.client = addr(client_of[family]),
		.frontend = addr(frontend_of[family]),
		.client_port = 40000,
		.frontend_port = cases[i].port,
		.head = cases[i].head,
	};
	struct shunt_answer answer;

	assert_int_equal(datapath_explain(datapath, &request, &answer), 0);
	if (answer.verdict != cases[i].verdict)
		fail_msg("case %zu, family %d: verdict %u", i, family, answer.verdict);
	if (answer.verdict)
		return;
	if (answer.version != cases[i].version || answer.served != cases[i].served || answer.by != cases[i].by ||
	    answer.id_from_client != cases[i].id_from_client)
		fail_msg("case %zu, family %d: version %u, served by %u, by %u, from client %u", i, family, answer.version, answer.served, answer.by,
			 answer.id_from_client);
	assert_int_equal(answer.pod, 2 * answer.served + family);
	if (!cases[i].id)
		return;
	assert_int_equal(answer.id_len, strlen(cases[i].id));
	assert_memory_equal(answer.id, cases[i].id, answer.id_len);
}

static void test_requests(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	uint64_t reasons[SHUNT_R_MAX];
	struct series_numbers numbers;

	(void)state;
	commit_tutorial(datapath);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (int family = 0; family < SHUNT_FAMILIES; family++)
			check(datapath, i, family);

	/* and nobody counted that */
	assert_int_equal(datapath_read_reasons(datapath, reasons), 0);
	for (int i = 0; i < SHUNT_R_MAX; i++)
		assert_int_equal(reasons[i], 0);
	for (int i = 0; i <= VERSIONS; i++) {
		assert_int_equal(datapath_read_numbers(datapath, i, &numbers), 0);
		assert_int_equal(numbers.count.requests, 0);
	}
}

/* Clients of one address are one user; of many, about half are in each half. */
static void test_connections(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	struct explain_request request = { .frontend = addr(frontend_of[SHUNT_V4]), .frontend_port = 443, .head = "" };
	struct shunt_answer answer, again;
	unsigned int v2 = 0;

	(void)state;
	commit_tutorial(datapath);
	for (int i = 0; i < 400; i++) {
		char text[ADDR_TEXT_MAX];

		snprintf(text, sizeof(text), "10.1.%d.%d", i / 200, 1 + i % 200);
		request.client = addr(text);
		request.client_port = 1000;
		assert_int_equal(datapath_explain(datapath, &request, &answer), 0);
		request.client_port = 2000;
		assert_int_equal(datapath_explain(datapath, &request, &again), 0);
		assert_int_equal(answer.verdict, 0);
		assert_int_equal(answer.by, SHUNT_BY_HASH);
		assert_int_equal(answer.version, answer.hash < ALL / 2 ? V1 : V2);
		assert_int_equal(answer.version, again.version);
		v2 += answer.version == V2;
	}
	assert_in_range(v2, 150, 250); /* 5 standard deviations; the salt is fixed, so this is the same in every run */
}

static void test_reader(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open(), *reader = NULL;

	(void)state;
	commit_tutorial(datapath);
	datapath_close(&datapath);
	assert_int_equal(datapath_open_pinned(sandbox_pins, &reader), 0);
	check(reader, 0, SHUNT_V4);
	check(reader, 1, SHUNT_V6);
}

static void test_refused(void **state)
{
	_cleanup_(datapath_close) struct datapath *datapath = sandbox_open();
	_cleanup_free_ char *head = calloc(1, 100001);
	struct explain_request request = { .client = addr(client_of[0]), .frontend = addr(frontend_of[1]), .frontend_port = 80, .head = GET("") };
	struct shunt_answer answer;

	(void)state;
	assert_int_equal(datapath_explain(datapath, &request, &answer), -EINVAL);
	request.frontend = addr(frontend_of[0]);
	request.head = memset(head, 'x', 100000);
	assert_int_equal(datapath_explain(datapath, &request, &answer), -E2BIG);
	head[3500] = '\0'; /* the largest that is taken */
	assert_int_equal(datapath_explain(datapath, &request, &answer), 0);
}

#define TEST(f, name) { name, f, NULL, sandbox_unload, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_requests, "the kernel tells every request's version in both families and counts nothing"),
		TEST(test_connections, "clients of a connection frontend are split by address"),
		TEST(test_reader, "a reader asks the pinned program without an agent"),
		TEST(test_refused, "two families in one question and a head that is too long are refused"),
	};

	return cmocka_run_group_tests(tests, sandbox_begin, sandbox_end);
}
