/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Users known by a cookie, by a parameter, by a header or by their address, also when the routes of one frontend differ in that. */
#include "../lib/dialog.h"

#include <string.h>

#include "shunt/hash.h"
#include "util/cleanup.h"

/*
 *     frontend  .10:80   cookie:uid first     route 0: Host cookie.test, cookie uid: "101..." v2, "1010" v1, others v1
 *               .12:80   query:uid first      route 1: Host query.test, parameter uid: the same
 *               .13:80   client first         route 2: Host header.test, header uid: the same
 *                                             route 3: Host client.test, client address: v1
 *                                             route 4: Host half.test, cookie Sid: half v1, half v2
 *                                             route 5: Host twin.test, header uid: a version of its own, on v2's pod
 *
 * Each frontend has all routes, in another order; so each takes requests that its first route's name does not find.
 */
enum { KINDS = 6, ORDERS = 3, ROUTES = KINDS * ORDERS, RULES = 2 * 3 * ORDERS, FRONTENDS = 2 * ORDERS };
enum { TWIN_SPLIT = 5, TWIN_VERSION = 4, TWIN_SERIES = 4 };

static const int frontends[ORDERS] = { 10, 12, 13 };
static const int orders[ORDERS][KINDS] = { { 0, 1, 2, 3, 4, 5 }, { 1, 2, 3, 4, 5, 0 }, { 3, 4, 5, 0, 1, 2 } };

static const struct {
	enum shunt_identity identity;
	const char *name, *host;
	uint16_t split;
	bool ruled;
} kinds[KINDS] = {
	{ SHUNT_ID_COOKIE, "uid", "cookie.test", 0, true },
	{ SHUNT_ID_QUERY, "uid", "query.test", 0, true },
	{ SHUNT_ID_HEADER, "uid", "header.test", 0, true },
	{ SHUNT_ID_CLIENT, "", "client.test", 0, false },
	{ SHUNT_ID_COOKIE, "Sid", "half.test", 2, false },
	{ SHUNT_ID_HEADER, "uid", "twin.test", TWIN_SPLIT, false },
};

static void set_route(struct shunt_route *route, int kind)
{
	*route = (struct shunt_route){
		.identity = kinds[kind].identity, .name_len = strlen(kinds[kind].name), .host_match = SHUNT_HOST_EXACT,
		.host_len = strlen(kinds[kind].host), .split = kinds[kind].split, .rules = kinds[kind].ruled ? 2 : 0,
	};
	memcpy(route->name, kinds[kind].name, route->name_len);
	memcpy(route->host, kinds[kind].host, route->host_len);
}

static void set_twin(struct tables *t)
{
	static struct tables_version versions[TWIN_VERSION + 1];
	static struct shunt_split splits[TWIN_SPLIT + 1];

	memcpy(versions, t->versions, TWIN_VERSION * sizeof(*versions));
	versions[TWIN_VERSION] = t->versions[DIALOG_V2];
	versions[TWIN_VERSION].value.series = TWIN_SERIES;
	memcpy(splits, t->splits, TWIN_SPLIT * sizeof(*splits));
	splits[TWIN_SPLIT] = (struct shunt_split){ .shares = 1, .share = { { .end = 1ull << 32, .version = TWIN_VERSION } } };
	memcpy(&t->series[TWIN_SERIES], &t->series[DIALOG_V2], sizeof(t->series[0]));
	strcpy(t->series[TWIN_SERIES].route, "default/twin");
	t->versions = versions;
	t->version_count = TWIN_VERSION + 1;
	t->splits = splits;
	t->split_count = TWIN_SPLIT + 1;
}

static const struct tables *tables(void)
{
	static struct tables_frontend fronts[FRONTENDS];
	static struct shunt_route routes[ROUTES];
	static struct tables_rule rules[RULES];
	static struct tables t;

	if (t.frontend_count)
		return &t;
	t = *dialog_tables();
	t.rule_count = 0;
	set_twin(&t);
	for (int i = 0; i < ROUTES; i++) {
		int kind = orders[i / KINDS][i % KINDS];

		set_route(&routes[i], kind);
		if (!kinds[kind].ruled)
			continue;
		rules[t.rule_count++] = (struct tables_rule){ .route = i, .length = 3, .id = "101", .value.split = 1 };
		rules[t.rule_count++] = (struct tables_rule){ .route = i, .length = 5, .id = "1010", .value.split = 0 }; /* exact */
	}
	for (int i = 0; i < FRONTENDS; i++) {
		struct dialog d = { .client.ip[10] = i % 2 ? 0 : 0xff, .client.ip[11] = i % 2 ? 0 : 0xff };

		dialog_towards(&d, frontends[i / 2], 80);
		fronts[i].key.addr = d.frontend;
		fronts[i].key.port = 80 << 8;
		fronts[i].value = (struct shunt_frontend){ .kind = SHUNT_KIND_REQUEST, .routes = KINDS, .route = i / 2 * KINDS };
	}
	t.frontends = fronts;
	t.frontend_count = FRONTENDS;
	t.routes = routes;
	t.route_count = ROUTES;
	t.rules = rules;
	return &t;
}

/* Every request tells each kind of route another user, so that taking the wrong place gives the wrong one. */
#define GET(target, host, cookie, header) \
	"GET " target " HTTP/1.1\r\nHost: " host "\r\nUser-Agent: t\r\n" cookie "uid: " header "\r\nCookie: uid=last; Sid=last\r\n\r\n"

static const struct {
	const char *sentence;
	const char *head;
	const char *id; /* NULL: the client address */
	int kind;
	enum dialog_version version;
} cases[] = {
	{ "a cookie of a rule", GET("/?uid=0", "cookie.test", "Cookie: a=b; uid=1011; c=d\r\n", "0"), "1011", 0, DIALOG_V2 },
	{ "a cookie of an exact rule", GET("/?uid=1011", "cookie.test", "Cookie: uid=1010\r\n", "1011"), "1010", 0, DIALOG_V1 },
	{ "a quoted cookie", GET("/?uid=0", "cookie.test", "Cookie: xuid=0; uid=\"1011\"\r\n", "0"), "1011", 0, DIALOG_V2 },
	{ "a cookie of no rule", GET("/?uid=1011", "cookie.test", "Cookie: uid=7\r\n", "1011"), "7", 0, DIALOG_V1 },
	{ "a cookie in the second line", GET("/?uid=0", "cookie.test", "Cookie: xuid=0\r\nCookie: b=c; uid=1011\r\n", "0"), "1011", 0, DIALOG_V2 },
	{ "an empty cookie", GET("/?uid=1011", "cookie.test", "Cookie: uid=\r\n", "1011"), NULL, 0, DIALOG_V1 },
	{ "a parameter of a rule", GET("/a?b=c&uid=1011&uid=0", "query.test", "", "0"), "1011", 1, DIALOG_V2 },
	{ "a parameter of an exact rule", GET("/?uid=1010#&", "query.test", "Cookie: uid=1011\r\n", "1011"), "1010", 1, DIALOG_V1 },
	{ "a parameter in absolute form", GET("http://query.test/?uid=1011", "query.test", "Cookie: uid=0\r\n", "0"), "1011", 1, DIALOG_V2 },
	{ "no parameter", GET("/uid=1011?xuid=1011", "query.test", "Cookie: uid=1011\r\n", "1011"), NULL, 1, DIALOG_V1 },
	{ "a header of a rule", GET("/?uid=0", "header.test", "Cookie: uid=0\r\n", "1011"), "1011", 2, DIALOG_V2 },
	{ "a header of an exact rule", GET("/?uid=1011", "header.test", "Cookie: uid=1011\r\n", "1010"), "1010", 2, DIALOG_V1 },
	{ "the address", GET("/?uid=1011", "client.test", "Cookie: uid=1011\r\n", "1011"), NULL, 3, DIALOG_V1 },
};

static struct shunt_answer ask(struct bpfrun *run, const struct dialog *d, const char *head)
{
	struct explain_request request = { .client = d->client, .frontend = d->frontend, .client_port = d->cport, .frontend_port = d->fport, .head = head };
	struct shunt_answer answer;

	assert_int_equal(datapath_explain(run->datapath, &request, &answer), 0);
	assert_int_equal(answer.verdict, 0);
	return answer;
}

/* The frontend whose routes have the i-th order, and the place of the case's route there. */
static struct dialog towards(struct bpfrun *run, int family, int order, const char *sentence)
{
	struct dialog d = dialog_of(run, family);

	d.sentence = sentence;
	dialog_towards(&d, frontends[order], 80);
	return d;
}

static uint32_t route_of(int order, int kind)
{
	int place = 0;

	while (orders[order][place] != kind)
		place++;
	return order * KINDS + place;
}

static void test_each_route_finds_its_user_in_its_place_whichever_route_comes_first(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases) * ORDERS; i++) {
			int c = i / ORDERS, order = i % ORDERS;
			struct dialog d = towards(*state, family, order, cases[c].sentence);
			struct shunt_answer a = ask(*state, &d, cases[c].head);
			const char *id = cases[c].id ? cases[c].id : (char *)d.client.ip;
			size_t len = cases[c].id ? strlen(id) : sizeof(d.client.ip);

			if (a.route != route_of(order, cases[c].kind) || a.version != (uint32_t)cases[c].version || a.id_from_client != !cases[c].id ||
			    a.id_len != len || memcmp(a.id, id, len))
				fail_msg("%s, order %d: route %u version %u client %u id '%.*s'", cases[c].sentence, order, a.route, a.version, a.id_from_client,
					 (int)a.id_len, a.id);
		}
	}
}

static void test_packets_go_where_the_user_belongs(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases) * ORDERS; i++) {
			int c = i / ORDERS;
			struct dialog d = towards(*state, family, i % ORDERS, cases[c].sentence);
			struct dialog_pod pod = dialog_pod(&d, cases[c].version);
			bool missing = !cases[c].id && kinds[cases[c].kind].identity != SHUNT_ID_CLIENT;

			dialog_connects(&d);
			dialog_says(&d, cases[c].head);
			dialog_expect_leg(&d, &pod, d.isn + 1);
			dialog_pod_accepts(&d, &pod, cases[c].head, strlen(cases[c].head));
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_ID_MISSING), missing);
			bpfrun_forget(*state);
		}
	}
}

static void test_a_head_cut_anywhere_gives_the_same_user(void **state)
{
	const char *head = GET("/?uid=0", "cookie.test", "Cookie: xuid=0; uid=\"1011\"; b=c\r\n", "0");

	for (size_t cut = 1; cut < strlen(head); cut++) {
		struct dialog d = towards(*state, cut % 2, cut % ORDERS, "a head in two pieces");
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		dialog_connects(&d);
		dialog_sends(&d, head, cut);
		dialog_says(&d, head + cut);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		dialog_pod_accepts(&d, &pod, head, strlen(head));
		bpfrun_forget(*state);
	}
}

/* The next request on a new leg, with its answer. */
static void goes_to_new_leg(struct dialog *d, struct dialog_pod *pod, const char *request)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
	uint32_t start = d->next;

	dialog_says(d, request);
	dialog_expect_leg(d, pod, start);
	dialog_pod_accepts(d, pod, request, strlen(request));
	dialog_pod_says(d, pod, ok);
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

/* One connection, a user of each kind in turn: v1 by cookie, v2 by parameter, v1 by header. */
static void test_one_connection_may_mix_what_its_users_are_known_by(void **state)
{
	const char *first = GET("/?uid=1011", "cookie.test", "Cookie: uid=000\r\n", "1011"), *second = GET("/?uid=1011", "query.test", "", "000"),
		   *third = GET("/?uid=1011", "header.test", "Cookie: uid=1011\r\n", "000");

	for (int i = 0; i < SHUNT_FAMILIES * ORDERS; i++) {
		struct dialog d = towards(*state, i % SHUNT_FAMILIES, i / SHUNT_FAMILIES, "three users on one connection");
		struct dialog_pod one = dialog_pod(&d, DIALOG_V1), two = dialog_pod(&d, DIALOG_V2);

		dialog_exchange(&d, &one, first);
		goes_to_new_leg(&d, &two, second);
		dialog_says(&d, third);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 2);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_OPEN), 2);
		bpfrun_forget(*state);
	}
}

static void test_two_versions_on_one_pod_have_a_leg_each(void **state)
{
	const char *first = GET("/", "twin.test", "", "7"), *second = GET("/?uid=1011", "query.test", "", "0");

	for (int i = 0; i < SHUNT_FAMILIES * ORDERS; i++) {
		struct dialog d = towards(*state, i % SHUNT_FAMILIES, i / SHUNT_FAMILIES, "two versions on one pod");
		struct dialog_pod twin = dialog_pod(&d, DIALOG_V2), two = dialog_pod(&d, DIALOG_V2);

		dialog_exchange(&d, &twin, first);
		goes_to_new_leg(&d, &two, second);
		assert_int_equal(twin.lport, d.cport);
		assert_int_not_equal(two.lport, d.cport);
		dialog_says(&d, first); /* back to the first leg, which must still be known */
		if (d.r.verdict == V_REDIRECT && d.r.mark == SHUNT_MARK)
			d.r.verdict = V_PASS;
		dialog_expect_at_pod(&d, &twin, first, strlen(first));
		dialog_pod_says(&d, &twin, "HTTP/1.1 204 No Content\r\n\r\n");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_PORT), 1);
		assert_int_equal(bpfrun_legs(*state), 2);
		bpfrun_forget(*state);
	}
}

static void test_a_split_by_cookie_is_the_one_that_the_agent_computes(void **state)
{
	const struct shunt_split *split = &tables()->splits[2];
	int second = 0;

	for (int user = 0; user < 400; user++) {
		struct dialog d = towards(*state, user % 2, user % ORDERS, NULL);
		struct shunt_id id = {};
		struct shunt_answer a;
		char head[512];

		id.len = snprintf((char *)id.b, sizeof(id.b), "%0*d", user % SHUNT_ID_MAX + 1, user); /* of every length */
		snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: half.test\r\nCookie: sid=%d; Sid=%s%s%s; x=y\r\n\r\n", user, user % 3 ? "" : "\"",
			 (char *)id.b, user % 3 ? "" : "\"");
		a = ask(*state, &d, head);
		assert_int_equal(a.id_len, id.len);
		assert_int_equal(a.hash, shunt_split_hash(shunt_siphash(split->salt, &id)));
		assert_int_equal(a.version, shunt_split_pick(split, a.hash));
		second += a.version;
	}
	assert_in_range(second, 160, 240);
}

static void test_a_cookie_too_long_is_decided_by_its_first_bytes_and_counted(void **state)
{
	struct dialog d = towards(*state, SHUNT_V6, 1, "a long cookie");
	struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);
	char head[512];

	snprintf(head, sizeof(head), "GET / HTTP/1.1\r\nHost: cookie.test\r\nCookie: uid=101%0200d\r\n\r\n", 0);
	assert_int_equal(ask(*state, &d, head).id_len, SHUNT_ID_MAX);
	dialog_connects(&d);
	dialog_says(&d, head);
	dialog_expect_leg(&d, &pod, d.isn + 1);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_ID_CUT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_route_finds_its_user_in_its_place_whichever_route_comes_first),
		cmocka_unit_test(test_packets_go_where_the_user_belongs),
		cmocka_unit_test(test_a_head_cut_anywhere_gives_the_same_user),
		cmocka_unit_test(test_one_connection_may_mix_what_its_users_are_known_by),
		cmocka_unit_test(test_two_versions_on_one_pod_have_a_leg_each),
		cmocka_unit_test(test_a_split_by_cookie_is_the_one_that_the_agent_computes),
		cmocka_unit_test(test_a_cookie_too_long_is_decided_by_its_first_bytes_and_counted),
	};

	return bpfrun_main("identity", tables(), tests, ARRAY_SIZE(tests));
}
