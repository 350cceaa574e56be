/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which entry of a route takes a request: every kind of condition, their order, and what becomes of the users behind them.
 *
 *     manifest ─▶ plan() ─▶ kernel ─▶ shunt_explain ─▶ item and match ─┐
 *        ▲                                                             ├─ the same
 *     a random route, and random requests ─▶ a reference of its own ───┘
 */
#include "../lib/dialog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../lib/plan_text.h"
#include "shunt/hash.h"
#include "util/cleanup.h"

#define SERVICE(name, pod4, pod6, port)                                                                                                    \
	"---\n{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {clusterIPs: [None], ports: [{port: 80}]}}\n"                 \
	"---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: " name                                \
	"-4, labels: {kubernetes.io/service-name: " name "}}, endpoints: [{addresses: [" pod4 "]}], ports: [{port: " port "}]}\n"              \
	"---\n{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv6, metadata: {name: " name                                \
	"-6, labels: {kubernetes.io/service-name: " name "}}, endpoints: [{addresses: ['" pod6 "']}], ports: [{port: " port "}]}\n"
/* The pods of dialog_pod(). */
#define PODS SERVICE("v1", "10.77.3.2", "fd00:77:3::2", "8080") SERVICE("v2", "10.77.4.2", "fd00:77:4::2", "8081")
#define ROUTE                                                                                                                                \
	"---\n{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: r, annotations: {shunt.dev/frontend: "              \
	"'10.96.0.10:80,[fd00:96::10]:80', shunt.dev/identity: 'header:user'}}, spec: {hosts: ['*'], http: ["
#define ENTRY(match, version) "{match: [" match "], route: [{destination: {host: " version "}}]}, "

static const char every_kind[] = PODS ROUTE
	ENTRY("{uri: {exact: /exact}}", "v2")                                                              /* 0 */
	ENTRY("{uri: {prefix: /pre}}, {uri: {exact: /or}}", "v2")                                          /* 1 */
	ENTRY("{method: {exact: POST}}, {method: {prefix: PA}}", "v2")                                     /* 2 */
	ENTRY("{headers: {x-exact: {exact: 'Yes'}}}", "v2")                                                /* 3 */
	ENTRY("{headers: {x-pre: {prefix: abcdefghij}}}", "v2")                                            /* 4 */
	ENTRY("{headers: {x-there: {}}}", "v2")                                                            /* 5 */
	ENTRY("{queryParams: {q: {exact: '1'}}}", "v2")                                                    /* 6 */
	ENTRY("{queryParams: {p: {prefix: z}}}", "v2")                                                     /* 7 */
	ENTRY("{authority: {exact: Shop.test}}, {authority: {prefix: pre.}}", "v2")                        /* 8 */
	ENTRY("{uri: {exact: /Any}, ignoreUriCase: true}", "v2")                                           /* 9 */
	ENTRY("{uri: {prefix: /without}, withoutHeaders: {keep: {}, mode: {exact: off}}}", "v2")           /* 10 */
	ENTRY("{headers: {x-a: {exact: '1'}, x-b: {exact: '2'}}, queryParams: {c: {exact: '3'}}}", "v2")   /* 11 */
	ENTRY("{headers: {user: {prefix: '101'}}}", "v2")                                                  /* 12, a rule */
	ENTRY("{uri: {prefix: /behind}}", "v2")                                                            /* 13 */
	ENTRY("{uri: {prefix: /users}, headers: {user: {prefix: b}}}", "v2")                               /* 14 */
	"{match: [{uri: {prefix: /split}}], route: [{destination: {host: v1}, weight: 50}, {destination: {host: v2}, weight: 50}]}, " /* 15 */
	"{route: [{destination: {host: v1}}]}]}}\n";                                                       /* 16 */

/* Indices of the versions: in the order in which the manifest names them. */
enum { V2, V1 };

static const struct tables *fixed_tables(void)
{
	static struct tables *tables;

	if (!tables) {
		struct world *world = world_of(every_kind);

		tables = plan_of(world, NULL, 0);
		world_free(&world);
		assert_int_equal(tables->note_count, 0);
	}
	return tables;
}

static struct shunt_answer ask(struct bpfrun *run, enum shunt_family family, const char *head)
{
	struct dialog d = dialog_of(run, family);
	struct explain_request request = { .client = d.client, .frontend = d.frontend, .client_port = d.cport, .frontend_port = d.fport, .head = head };
	struct shunt_answer answer;

	assert_int_equal(datapath_explain(run->datapath, &request, &answer), 0);
	assert_int_equal(answer.verdict, 0);
	return answer;
}

static void commit_route(struct bpfrun *run, const char *yaml)
{
	static const uint8_t key[16];
	struct shunt_series series[SHUNT_SERIES];
	struct world *world = world_of(yaml);
	struct tables *tables;

	assert_int_equal(datapath_read_series(run->datapath, series), 0);
	assert_int_equal(plan(world, NULL, NULL, 0, series, key, &tables), 0);
	bpfrun_commit(run, tables);
	tables_free(&tables);
	world_free(&world);
}

/* ---- every kind ------------------------------------------------------------------------------------------------------------------------- */

#define GET(target, headers) "GET " target " HTTP/1.1\r\nHost: h.test\r\nuser: 0\r\n" headers "\r\n"
#define ELSE 16
#define FILL "X-Fill: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n"

static const struct {
	const char *sentence, *head;
	uint16_t item;
} cases[] = {
	{ "nothing", GET("/", ""), ELSE },
	{ "a path", GET("/exact", ""), 0 },
	{ "a path and a query", GET("/exact?a=b", ""), 0 },
	{ "a path and a fragment", GET("/exact#a", ""), 0 },
	{ "a longer path", GET("/exact/", ""), ELSE },
	{ "a shorter path", GET("/exac", ""), ELSE },
	{ "a path in another case", GET("/Exact", ""), ELSE },
	{ "the path in a query", GET("/?/exact", ""), ELSE },
	{ "a path as of a prefix", GET("/pre", ""), 1 },
	{ "a path behind a prefix", GET("/prefix/of", ""), 1 },
	{ "a path that ends within a prefix", GET("/pr?e", ""), ELSE },
	{ "the second match of an item", GET("/or", ""), 1 },
	{ "a method", "POST / HTTP/1.1\r\nHost: h\r\n\r\n", 2 },
	{ "a method behind empty lines", "\r\n\r\nPOST / HTTP/1.1\r\nHost: h\r\n\r\n", 2 },
	{ "a longer method", "POSTS / HTTP/1.1\r\nHost: h\r\n\r\n", ELSE },
	{ "a method as of a prefix", "PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", 2 },
	{ "a method that is no such", "PUT / HTTP/1.1\r\nHost: h\r\n\r\n", ELSE },
	{ "a header", GET("/", "X-EXACT:  Yes \r\n"), 3 },
	{ "a header far down", GET("/", FILL FILL FILL FILL "x-exact: Yes\r\n"), 3 },
	{ "a header in another case", GET("/", "x-exact: yes\r\n"), ELSE },
	{ "a header with more", GET("/", "x-exact: Yes!\r\n"), ELSE },
	{ "the first of two headers decides", GET("/", "x-exact: no\r\nx-exact: Yes\r\n"), ELSE },
	{ "a header as of a prefix", GET("/", "x-pre: abcdefghij\r\n"), 4 },
	{ "a header with a prefix", GET("/", "x-pre: abcdefghijk\r\n"), 4 },
	{ "a header that is shorter than the prefix", GET("/", "x-pre: abcdefghi\r\n"), ELSE },
	{ "a header that is there", GET("/", "x-there: 1\r\n"), 5 },
	{ "a header that is there and empty", GET("/", "x-there:\r\n"), 5 },
	{ "a header with a longer name", GET("/", "x-there2: 1\r\n"), ELSE },
	{ "a parameter", GET("/?a=b&q=1", ""), 6 },
	{ "a parameter in absolute form", GET("http://x/?a=b&q=1", ""), 6 },
	{ "a parameter with more", GET("/?q=12", ""), ELSE },
	{ "a parameter without a value", GET("/?q", ""), ELSE },
	{ "a parameter as of a prefix", GET("/?p=zz", ""), 7 },
	{ "a parameter in a fragment", GET("/#?p=zz", ""), ELSE },
	{ "a host", "GET / HTTP/1.1\r\nHost: SHOP.test:8080\r\n\r\n", 8 },
	{ "a host as of a prefix", "GET / HTTP/1.1\r\nHost: pre.x\r\n\r\n", 8 },
	{ "a host in absolute form", GET("http://shop.test", ""), 8 },
	{ "the host in absolute form replaces Host", "GET http://x/ HTTP/1.1\r\nHost: shop.test\r\n\r\n", ELSE },
	{ "a path in absolute form", GET("http://x:80/exact?b", ""), 0 },
	{ "a path in any case", GET("/aNY", ""), 9 },
	{ "without two headers", GET("/without", ""), 10 },
	{ "with one of them", GET("/without", "keep: 1\r\n"), ELSE },
	{ "with the value that must not be", GET("/without", "mode: off\r\n"), ELSE },
	{ "with another value", GET("/without", "mode: on\r\n"), 10 },
	{ "three conditions", GET("/?c=3", "x-b: 2\r\nx-a: 1\r\n"), 11 },
	{ "two of three", GET("/?c=3", "x-b: 2\r\n"), ELSE },
	{ "a rule", "GET / HTTP/1.1\r\nHost: h\r\nuser: 1010\r\n\r\n", 12 },
	{ "an entry before the rule", "GET /exact HTTP/1.1\r\nHost: h\r\nuser: 1010\r\n\r\n", 0 },
	{ "an entry behind the rule", "GET /behind HTTP/1.1\r\nHost: h\r\nuser: 1010\r\n\r\n", 12 },
	{ "the same for another user", GET("/behind", ""), 13 },
	{ "a user on a path", "GET /users HTTP/1.1\r\nHost: h\r\nuser: bob\r\n\r\n", 14 },
	{ "another user on it", GET("/users", ""), ELSE },
	{ "nobody on it", "GET /users HTTP/1.1\r\nHost: h\r\n\r\n", ELSE },
	{ "the whole server", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", ELSE },
	{ "of two entries the first", "POST /exact HTTP/1.1\r\nHost: h\r\nx-there: 1\r\n\r\n", 0 },
};

static void test_each_condition_takes_what_it_says(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			uint16_t want = cases[i].item;
			uint8_t by = want == ELSE ? SHUNT_BY_HASH : want == 12 ? SHUNT_BY_RULE : SHUNT_BY_ENTRY;
			struct shunt_answer a = ask(*state, family, cases[i].head);

			if (a.item != want || a.by != by || a.version != (want == ELSE ? V1 : V2))
				fail_msg("%s: item %u match %u by %u version %u", cases[i].sentence, a.item, a.match, a.by, a.version);
		}
	}
}

static struct dialog_pod pod_of(const struct dialog *d, uint32_t version)
{
	return dialog_pod(d, version == V2 ? DIALOG_V2 : DIALOG_V1);
}

static void test_an_entry_with_weights_divides_its_users_as_their_hash_says(void **state)
{
	int second = 0;

	for (int user = 0; user < 128; user++) {
		struct dialog d = dialog_of(*state, user % 2);
		const struct shunt_split *split;
		struct dialog_pod pod;
		struct shunt_id id = {};
		struct shunt_answer a;
		char head[256];

		d.cport = 20000 + user;
		id.len = snprintf((char *)id.b, sizeof(id.b), "user-%d", user);
		snprintf(head, sizeof(head), "GET /split HTTP/1.1\r\nHost: h\r\nuser: %s\r\n\r\n", (char *)id.b);
		a = ask(*state, user % 2, head);
		assert_int_equal(a.item, 15);
		split = &fixed_tables()->splits[a.split];
		assert_int_equal(a.version, shunt_split_pick(split, shunt_split_hash(shunt_siphash(split->salt, &id))));
		pod = pod_of(&d, a.version);
		dialog_connects(&d);
		dialog_says(&d, head);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		second += a.version;
	}
	assert_in_range(second, 32, 96);
	bpfrun_forget(*state);
}

static void test_a_request_that_no_entry_takes_is_counted(void **state)
{
	_cleanup_free_ char *yaml = NULL;
	struct dialog d = dialog_of(*state, SHUNT_V6);
	struct dialog_pod v2 = dialog_pod(&d, DIALOG_V2);

	assert_true(asprintf(&yaml, PODS ROUTE ENTRY("{uri: {exact: /a}}", "v2") ENTRY("{uri: {exact: /b}}", "v1") "]}}\n") > 0);
	commit_route(*state, yaml);
	dialog_exchange(&d, &v2, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_ENTRY_UNMATCHED), 0);
	dialog_says(&d, "GET /c HTTP/1.1\r\nHost: h\r\n\r\n");
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_ENTRY_UNMATCHED), 1);
	assert_int_equal(ask(*state, SHUNT_V4, "GET /c HTTP/1.1\r\nHost: h\r\n\r\n").item, SHUNT_NONE);
}

static void test_a_head_in_pieces_is_matched_when_it_is_whole(void **state)
{
	static const char head[] = "GET /a HTTP/1.1\r\nHost: h\r\nx-there: 1\r\nuser: 7\r\n\r\n";

	for (size_t cut = 1; cut < sizeof(head) - 1; cut++) {
		struct dialog d = dialog_of(*state, cut % 2);
		struct dialog_pod pod = dialog_pod(&d, DIALOG_V2);

		d.cport = 20000 + cut;
		dialog_connects(&d);
		dialog_sends(&d, head, cut);
		dialog_sends(&d, head + cut, sizeof(head) - 1 - cut);
		dialog_expect_leg(&d, &pod, d.isn + 1);
	}
	bpfrun_forget(*state);
}

/* Each request of a connection is matched anew; here both sides know it from the leg that it opens. */
static void test_requests_of_one_connection_are_matched_one_by_one(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		struct dialog_pod v1 = dialog_pod(&d, DIALOG_V1), v2 = dialog_pod(&d, DIALOG_V2);
		static const char second[] = "GET /exact HTTP/1.1\r\nHost: h\r\nuser: 7\r\n\r\n", third[] = "GET /exac HTTP/1.1\r\nHost: h\r\nuser: 7\r\n\r\n";

		dialog_exchange(&d, &v1, "GET / HTTP/1.1\r\nHost: h\r\nuser: 7\r\n\r\n");
		dialog_says(&d, second);
		dialog_expect_leg(&d, &v2, d.next - (sizeof(second) - 1));
		dialog_pod_accepts(&d, &v2, second, sizeof(second) - 1);
		dialog_pod_says(&d, &v2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
		dialog_flags(&d, ACK);
		dialog_says(&d, third);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 2 * (family + 1));
	}
	bpfrun_forget(*state);
}

/* ---- against a reference ---------------------------------------------------------------------------------------------------------------- */

enum { ITEMS = 8, MATCHES = 3, CONDITIONS = 3, HEADERS = 6, ROUNDS = 60, REQUESTS = 80 };

enum { EXACT, PREFIX, THERE, ELEMENTS };

struct condition {
	enum shunt_subject subject;
	int how;
	bool without;
	const char *name, *value;
};

struct match {
	struct condition conditions[CONDITIONS];
	int count;
	bool any_case;
};

struct item {
	struct match matches[MATCHES];
	int count;
};

struct request {
	const char *method, *host, *authority, *path; /* authority NULL: no absolute form */
	const char *query[2][2]; /* name and value; value NULL: without '=' */
	int queries;
	const char *headers[HEADERS][2];
	int header_count;
};

static uint64_t seed;

static unsigned int draw(unsigned int below)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (seed >> 33) % below;
}

#define PICK(array) array[draw(ARRAY_SIZE(array))]

static const char *const methods[] = { "GET", "POST", "PUT", "PATCH", "OPTIONS", "G" };
static const char *const paths[] = { "/", "/a", "/a/", "/ab", "/a/b", "/A", "/abcdefgh", "/abcdefghi", "/abcdefghijklmnop" };
static const char *const hosts[] = { "h", "h.test", "x.h.test", "a", "[::1]" };
static const char *const header_names[] = { "user", "x-a", "x-ab", "x-a-header-with-a-long-name", "host2" };
static const char *const param_names[] = { "a", "ab", "user", "A" };
static const char *const values[] = { "", "1", "12", "1234567", "12345678", "123456789", "x", "10", "1=2" };

/* ---- a random route ---- */

static bool names_already(const struct match *match, const struct condition *condition)
{
	for (int i = 0; i < match->count; i++)
		if (match->conditions[i].subject == condition->subject && (!condition->name || strcmp(match->conditions[i].name, condition->name) == 0))
			return true;
	return false;
}

static struct condition random_condition(void)
{
	struct condition c = { .subject = draw(5), .how = draw(2) };

	switch (c.subject) {
	case SHUNT_ON_METHOD:
		c.value = PICK(methods);
		break;
	case SHUNT_ON_PATH:
		c.value = PICK(paths);
		break;
	case SHUNT_ON_HOST:
		c.value = PICK(hosts);
		break;
	case SHUNT_ON_HEADER:
	case SHUNT_ON_QUERY:
		c.name = c.subject == SHUNT_ON_HEADER ? PICK(header_names) : PICK(param_names);
		c.value = PICK(values);
		c.how = draw(4) ? c.how : THERE;
		c.without = c.subject == SHUNT_ON_HEADER && draw(4) == 0;
		break;
	}
	return c;
}

static int random_route(struct item items[ITEMS])
{
	int count = 2 + draw(ITEMS - 2);

	memset(items, 0, ITEMS * sizeof(*items));
	for (int i = 0; i < count; i++) {
		items[i].count = 1 + draw(MATCHES);
		for (int m = 0; m < items[i].count; m++) {
			struct match *match = &items[i].matches[m];

			match->any_case = draw(4) == 0;
			for (int n = 1 + draw(CONDITIONS); n; n--) {
				struct condition c = random_condition();

				if (!names_already(match, &c))
					match->conditions[match->count++] = c;
			}
		}
	}
	return count;
}

static void print_text(FILE *out, const struct condition *c)
{
	if (c->how == THERE)
		fputs("{}", out);
	else
		fprintf(out, "{%s: '%s'}", c->how == EXACT ? "exact" : "prefix", c->value);
}

static void print_named(FILE *out, const struct match *match, const char *field, enum shunt_subject subject, bool without)
{
	fprintf(out, "%s: {", field);
	for (int i = 0; i < match->count; i++) {
		const struct condition *c = &match->conditions[i];

		if (c->subject != subject || c->without != without)
			continue;
		fprintf(out, "%s: ", c->name);
		print_text(out, c);
		fputs(", ", out);
	}
	fputs("}, ", out);
}

static void print_match(FILE *out, const struct match *match)
{
	static const char *const fields[] = { [SHUNT_ON_METHOD] = "method", [SHUNT_ON_PATH] = "uri", [SHUNT_ON_HOST] = "authority" };

	fputs("{", out);
	for (int i = 0; i < match->count; i++) {
		const struct condition *c = &match->conditions[i];

		if (c->subject > SHUNT_ON_HOST)
			continue;
		fprintf(out, "%s: ", fields[c->subject]);
		print_text(out, c);
		fputs(", ", out);
	}
	print_named(out, match, "headers", SHUNT_ON_HEADER, false);
	print_named(out, match, "withoutHeaders", SHUNT_ON_HEADER, true);
	print_named(out, match, "queryParams", SHUNT_ON_QUERY, false);
	fprintf(out, "ignoreUriCase: %s}, ", match->any_case ? "true" : "false");
}

static char *route_text(const struct item *items, int count)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(PODS ROUTE, out);
	for (int i = 0; i < count; i++) {
		fputs("{match: [", out);
		for (int m = 0; m < items[i].count; m++)
			print_match(out, &items[i].matches[m]);
		fprintf(out, "], route: [{destination: {host: v2}}]}, ");
	}
	fputs("{route: [{destination: {host: v1}}]}]}}\n", out);
	fclose(out);
	return text;
}

/* ---- a random request ---- */

static struct request random_request(void)
{
	struct request r = { .method = PICK(methods), .host = PICK(hosts), .path = PICK(paths) };

	if (draw(4) == 0)
		r.authority = PICK(hosts);
	if (r.authority && draw(3) == 0)
		r.path = "";
	r.queries = draw(3);
	for (int i = 0; i < r.queries; i++) {
		r.query[i][0] = PICK(param_names);
		r.query[i][1] = draw(5) ? PICK(values) : NULL;
	}
	r.header_count = draw(HEADERS + 1);
	for (int i = 0; i < r.header_count; i++) {
		r.headers[i][0] = PICK(header_names);
		r.headers[i][1] = PICK(values);
	}
	return r;
}

static char *request_text(const struct request *r)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fprintf(out, "%s %s%s%s%s", r->method, r->authority ? "http://" : "", r->authority ? r->authority : "", r->authority && draw(2) ? ":80" : "", r->path);
	for (int i = 0; i < r->queries; i++)
		fprintf(out, "%s%s%s%s", i ? "&" : "?", r->query[i][0], r->query[i][1] ? "=" : "", r->query[i][1] ? r->query[i][1] : "");
	fprintf(out, " HTTP/1.1\r\nHost:%s%s%s\r\n", draw(2) ? " " : "", r->host, draw(2) ? ":8080" : "");
	for (int i = 0; i < r->header_count; i++) {
		for (const char *c = r->headers[i][0]; *c; c++)
			fputc(draw(4) == 0 && *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, out);
		fprintf(out, ":%s%s%s\r\n", draw(2) ? " " : "", r->headers[i][1], draw(4) ? "" : "\t ");
	}
	fputs("\r\n", out);
	fclose(out);
	return text;
}

/* ---- what should become of it ---- */

static bool text_fits(const struct condition *c, const char *text, bool any_case)
{
	size_t len = strlen(c->value);

	if (!text)
		return false;
	if (c->how == THERE)
		return true;
	while (c->how == ELEMENTS && len && c->value[len - 1] == '/')
		len--;
	if (c->how == ELEMENTS)
		return len == 0 || (strncmp(text, c->value, len) == 0 && strchr("/", text[len]));
	if (c->how == EXACT)
		return any_case ? strcasecmp(text, c->value) == 0 : strcmp(text, c->value) == 0;
	return any_case ? strncasecmp(text, c->value, len) == 0 : strncmp(text, c->value, len) == 0;
}

static const char *header_of(const struct request *r, const char *name)
{
	for (int i = 0; i < r->header_count; i++)
		if (strcmp(r->headers[i][0], name) == 0)
			return r->headers[i][1];
	return NULL;
}

static const char *param_of(const struct request *r, const char *name)
{
	for (int i = 0; i < r->queries; i++)
		if (strcmp(r->query[i][0], name) == 0 && r->query[i][1])
			return r->query[i][1];
	return NULL;
}

static bool condition_fits(const struct condition *c, const struct request *r, bool any_case)
{
	switch (c->subject) {
	case SHUNT_ON_METHOD:
		return text_fits(c, r->method, false);
	case SHUNT_ON_PATH:
		return text_fits(c, *r->path ? r->path : "/", any_case);
	case SHUNT_ON_HOST:
		return text_fits(c, r->authority ? r->authority : r->host, true);
	case SHUNT_ON_HEADER:
		return text_fits(c, header_of(r, c->name), false) != c->without;
	case SHUNT_ON_QUERY:
		break;
	}
	return text_fits(c, param_of(r, c->name), false);
}

static bool match_fits(const struct match *match, const struct request *r)
{
	for (int i = 0; i < match->count; i++)
		if (!condition_fits(&match->conditions[i], r, match->any_case))
			return false;
	return true;
}

static int item_for(const struct item *items, int count, const struct request *r, int *ret_match)
{
	for (int i = 0; i < count; i++)
		for (int m = 0; m < items[i].count; m++)
			if (match_fits(&items[i].matches[m], r))
				return *ret_match = m, i;
	*ret_match = SHUNT_NONE;
	return count;
}

static void test_random_routes_and_requests_go_where_a_reference_says(void **state)
{
	unsigned int by[4] = {};

	seed = 0x73686e74;
	for (int round = 0; round < ROUNDS; round++) {
		struct item items[ITEMS];
		int count = random_route(items);
		_cleanup_free_ char *yaml = route_text(items, count);

		commit_route(*state, yaml);
		for (int i = 0; i < REQUESTS; i++) {
			struct request r = random_request();
			_cleanup_free_ char *head = request_text(&r);
			struct shunt_answer a = ask(*state, i % 2, head);
			int match, item = item_for(items, count, &r, &match);

			if (a.item != item || (a.by != SHUNT_BY_HASH && a.match != match))
				fail_msg("round %d: item %u match %u by %u, the reference says item %d match %d\n%s\n%s", round, a.item, a.match, a.by, item, match,
					 yaml, head);
			by[a.by & 3]++;
		}
	}
	/* each way was gone often */
	assert_true(by[SHUNT_BY_RULE] > 50 && by[SHUNT_BY_ENTRY] > 1000 && by[SHUNT_BY_HASH] > 500);
}

/* ---- HTTPRoute against a reference ------------------------------------------------------------------------------------------------------ */

/* Matches as the Gateway API has them: paths by elements or exact, the rest exact. */
static int random_rules(struct item items[ITEMS])
{
	int count = random_route(items);

	for (int i = 0; i < count; i++) {
		for (int m = 0; m < items[i].count; m++) {
			struct match *match = &items[i].matches[m];
			int kept = 0;

			match->any_case = false;
			for (int n = 0; n < match->count; n++) {
				struct condition c = match->conditions[n];

				if (c.subject == SHUNT_ON_HOST || (c.value[0] == '\0' && c.subject > SHUNT_ON_HOST) || !strcmp(c.value, "G"))
					continue;
				c.without = false;
				c.how = c.subject == SHUNT_ON_PATH && c.how == PREFIX ? ELEMENTS : EXACT;
				match->conditions[kept++] = c;
			}
			match->count = kept;
		}
	}
	return count;
}

static void print_list(FILE *out, const struct match *match, const char *field, enum shunt_subject subject)
{
	fprintf(out, "%s: [", field);
	for (int i = 0; i < match->count; i++)
		if (match->conditions[i].subject == subject)
			fprintf(out, "{name: %s, value: '%s'}, ", match->conditions[i].name, match->conditions[i].value);
	fputs("], ", out);
}

static void print_rule_match(FILE *out, const struct match *match)
{
	fputs("{", out);
	for (int i = 0; i < match->count; i++) {
		const struct condition *c = &match->conditions[i];

		if (c->subject == SHUNT_ON_METHOD)
			fprintf(out, "method: %s, ", c->value);
		else if (c->subject == SHUNT_ON_PATH)
			fprintf(out, "path: {type: %s, value: %s}, ", c->how == EXACT ? "Exact" : "PathPrefix", c->value);
	}
	print_list(out, match, "headers", SHUNT_ON_HEADER);
	print_list(out, match, "queryParams", SHUNT_ON_QUERY);
	fputs("}, ", out);
}

static char *rules_text(const struct item *items, int count)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	fputs(PODS
	      "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gw}, spec: {gatewayClassName: shunt, listeners: [{name: a, port: 80, protocol: HTTP}], "
	      "addresses: [{value: 10.96.0.10}, {value: 'fd00:96::10'}]}}\n"
	      "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r, annotations: {shunt.dev/identity: 'header:user'}}, spec: {parentRefs: [{name: gw}], rules: [",
	      out);
	for (int i = 0; i < count; i++) {
		fputs("{matches: [", out);
		for (int m = 0; m < items[i].count; m++)
			print_rule_match(out, &items[i].matches[m]);
		fputs("], backendRefs: [{name: v2, port: 80}]}, ", out);
	}
	fputs("{backendRefs: [{name: v1, port: 80}]}]}}\n", out);
	fclose(out);
	return text;
}

/* The Gateway API's order as one number: exact path, length of the prefix, method, headers, parameters. */
static long weight_of(const struct match *match)
{
	long exact = 0, length = 0, method = 0, headers = 0, params = 0;

	for (int i = 0; i < match->count; i++) {
		const struct condition *c = &match->conditions[i];

		exact += c->subject == SHUNT_ON_PATH && c->how == EXACT;
		method += c->subject == SHUNT_ON_METHOD;
		headers += c->subject == SHUNT_ON_HEADER;
		params += c->subject == SHUNT_ON_QUERY;
		if (c->subject == SHUNT_ON_PATH && c->how == ELEMENTS)
			for (length = strlen(c->value); length && c->value[length - 1] == '/';)
				length--;
	}
	return ((((exact * 1000 + length) * 10 + method) * 10 + headers) * 10) + params;
}

/* The heaviest match that fits, the first of those; the last rule takes everything and weighs nothing. */
static int rule_for(const struct item *items, int count, const struct request *r, long *ret_weight)
{
	int found = count;

	*ret_weight = -1;
	for (int i = 0; i < count; i++) {
		for (int m = 0; m < items[i].count; m++) {
			long weight = weight_of(&items[i].matches[m]);

			if (weight <= *ret_weight || !match_fits(&items[i].matches[m], r))
				continue;
			*ret_weight = weight;
			found = i;
		}
	}
	return found;
}

static void test_random_http_routes_and_requests_go_where_a_reference_says(void **state)
{
	unsigned int by[4] = {};

	seed = 0x67617465;
	for (int round = 0; round < ROUNDS; round++) {
		struct item items[ITEMS];
		int count = random_rules(items);
		_cleanup_free_ char *yaml = rules_text(items, count);

		commit_route(*state, yaml);
		for (int i = 0; i < REQUESTS; i++) {
			struct request r = random_request();
			_cleanup_free_ char *head = request_text(&r);
			struct shunt_answer a = ask(*state, i % 2, head);
			long weight;
			int item = rule_for(items, count, &r, &weight);

			if (a.item != item)
				fail_msg("round %d: rule %u match %u by %u, the reference says rule %d\n%s\n%s", round, a.item, a.match, a.by, item, yaml, head);
			by[a.by & 3]++;
		}
	}
	assert_true(by[SHUNT_BY_RULE] > 20 && by[SHUNT_BY_ENTRY] > 500 && by[SHUNT_BY_HASH] > 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_condition_takes_what_it_says),
		cmocka_unit_test(test_an_entry_with_weights_divides_its_users_as_their_hash_says),
		cmocka_unit_test(test_a_request_that_no_entry_takes_is_counted),
		cmocka_unit_test(test_a_head_in_pieces_is_matched_when_it_is_whole),
		cmocka_unit_test(test_requests_of_one_connection_are_matched_one_by_one),
		cmocka_unit_test(test_random_http_routes_and_requests_go_where_a_reference_says),
		cmocka_unit_test(test_random_routes_and_requests_go_where_a_reference_says),
	};

	return bpfrun_main("matches", fixed_tables(), tests, ARRAY_SIZE(tests));
}
