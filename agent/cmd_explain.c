/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * shunt explain: where a request would go and why. The kernel's own program decides it, on the live tables; this file only puts the request together
 * and the answer into words.
 */
#include "cmd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "datapath/datapath.h"
#include "util/addr.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"
#include "view.h"

/* Documentation addresses (RFC 5737, RFC 3849): clients that nobody is. */
#define CLIENT_V4 "192.0.2.1"
#define CLIENT_V6 "2001:db8::1"
#define CLIENT_PORT 40000

struct explain_options {
	struct cmd_common common;
	const char *frontend, *host, *client, *method, *path, *query;
	struct cmd_strings headers, cookies;
};

static const struct explain_options defaults = { .common = CMD_COMMON_DEFAULTS, .method = "GET", .path = "/" };

static const struct cmd_option options_table[] = {
	{ "header", 'H', CMD_STRINGS, "NAME=VALUE", "a header of the request", offsetof(struct explain_options, headers) },
	{ "cookie", 0, CMD_STRINGS, "NAME=VALUE", "a cookie of its Cookie header", offsetof(struct explain_options, cookies) },
	{ "query", 0, CMD_STRING, "QUERY", "its query, such as 'a=1&b=2'; as a client sends it", offsetof(struct explain_options, query) },
	{ "host", 0, CMD_STRING, "HOST", "its Host (one that the frontend's first route takes)", offsetof(struct explain_options, host) },
	{ "method", 0, CMD_STRING, "METHOD", "its method (GET)", offsetof(struct explain_options, method) },
	{ "path", 0, CMD_STRING, "TARGET", "its path (/), with or without a query; or an absolute form such as http://host/path", offsetof(struct explain_options, path) },
	{ "client", 0, CMD_STRING, "IP", "the client's address (one that nobody has)", offsetof(struct explain_options, client) },
	{ "frontend", 0, CMD_STRING, "IP:PORT", "where it is sent (the first request frontend)",
	  offsetof(struct explain_options, frontend) },
};

static const struct emit_column columns[] = {
	{ "version", "version", EMIT_TEXT },
	{ "served_by", "served by", EMIT_TEXT },
	{ "pod", "pod", EMIT_TEXT },
	{ "why", "why", EMIT_TEXT },
	{ "entry", "entry", EMIT_TEXT },
	{ "user", "user", EMIT_TEXT },
	{ "identity", "known by", EMIT_TEXT },
	{ "request_lines", "request gets", EMIT_TEXT },
	{ "response_lines", "response gets", EMIT_TEXT },
	{ "route", "route", EMIT_TEXT },
	{ "host_text", "host", EMIT_TEXT },
	{ "frontend", "frontend", EMIT_TEXT },
	{ "client", "client", EMIT_TEXT },
};

static const struct emit_section section = { .columns = columns, .column_count = ARRAY_SIZE(columns) };

/* ---- the request ------------------------------------------------------------------------------------------------------------------------ */

/* A request as asked for, with the gaps filled. */
struct question {
	struct explain_request request;
	const struct tables_frontend *frontend;
	char host[VIEW_TEXT_MAX];
};

/* The parts that go into the head as they are must leave it one head of one request. */
static int check_head(const struct explain_options *o)
{
	for (size_t i = 0; i < o->headers.count; i++) {
		const char *header = o->headers.items[i], *equals = strchr(header, '=');

		if (!equals || equals == header || strpbrk(header, "\r\n"))
			return log_err(0, "shunt explain: --header: found '%s', allowed is NAME=VALUE on one line, such as userhash=1010101010",
				       header);
	}
	for (size_t i = 0; i < o->cookies.count; i++) {
		const char *cookie = o->cookies.items[i], *equals = strchr(cookie, '=');

		if (!equals || equals == cookie || strpbrk(cookie, "\r\n;"))
			return log_err(0, "shunt explain: --cookie: found '%s', allowed is NAME=VALUE on one line, without ';', such as uid=42", cookie);
	}
	if (!*o->method || o->method[strspn(o->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_")])
		return log_err(0, "shunt explain: --method: found '%s', allowed are capital letters, such as POST", o->method);
	if ((o->host && strpbrk(o->host, "\r\n ")) || strpbrk(o->path, "\r\n ") || !*o->path)
		return log_err(0, "shunt explain: neither --path nor --host has blanks, and a path is not empty");
	if (*o->path != '/' && strcmp(o->path, "*") != 0 && !strstr(o->path, "://"))
		return log_err(0, "shunt explain: --path: found '%s', allowed is what begins with /, an absolute form such as http://host/path, or *", o->path);
	if (o->query && (strpbrk(o->query, "\r\n #") || strchr(o->path, '#')))
		return log_err(0, "shunt explain: --query: found '%s' for the path '%s', allowed is NAME=VALUE&NAME=VALUE without blanks and '#'", o->query,
			       o->path);
	return 0;
}

/* Finds what cannot be right without looking at any table: a usage error. */
static int check_options(const struct explain_options *o, struct question *question)
{
	uint16_t port;

	if (check_head(o) < 0)
		return -EINVAL;
	if (o->client && addr_parse(o->client, &question->request.client) < 0)
		return log_err(0, "shunt explain: --client: found '%s', allowed are IPv4 and IPv6 addresses", o->client);
	if (o->frontend && addr_port_parse(o->frontend, &question->request.frontend, &port) < 0)
		return log_err(0, "shunt explain: --frontend: found '%s', allowed is address:port, such as 10.0.0.1:80 or [fd00::1]:80",
			       o->frontend);
	return 0;
}

static const struct tables_frontend *named_frontend(const struct tables *tables, const char *name)
{
	struct shunt_addr addr;
	uint16_t port;

	if (addr_port_parse(name, &addr, &port) < 0)
		return NULL;
	for (size_t i = 0; i < tables->frontend_count; i++)
		if (memcmp(&tables->frontends[i].key.addr, &addr, sizeof(addr)) == 0 && tables->frontends[i].key.port == htons(port))
			return &tables->frontends[i];
	return NULL;
}

/* The first request frontend of the client's family; of IPv4, then IPv6, when no client is given. */
static const struct tables_frontend *usual_frontend(const struct tables *tables, const struct shunt_addr *client)
{
	const struct tables_frontend *v6 = NULL;

	for (size_t i = 0; i < tables->frontend_count; i++) {
		const struct tables_frontend *frontend = &tables->frontends[i];
		bool v4 = addr_is_v4(&frontend->key.addr);

		if (frontend->value.kind != SHUNT_KIND_REQUEST || (client && addr_is_v4(client) != v4))
			continue;
		if (v4 || client)
			return frontend;
		v6 = v6 ? v6 : frontend;
	}
	return v6;
}

static int choose_frontend(const struct explain_options *o, const struct tables *tables, struct question *question)
{
	char text[ADDR_PORT_TEXT_MAX];

	question->frontend =
		o->frontend ? named_frontend(tables, o->frontend) : usual_frontend(tables, o->client ? &question->request.client : NULL);
	if (!question->frontend && o->frontend)
		return log_err(0, "%s is no frontend, so it is not steered; `shunt status` lists the frontends", o->frontend);
	if (!question->frontend)
		return log_err(0, "there is no request frontend%s; `shunt status` lists the frontends, --frontend chooses one",
			       o->client ? " of the client's address family" : "");
	question->request.frontend = question->frontend->key.addr;
	question->request.frontend_port = ntohs(question->frontend->key.port);
	question->request.client_port = CLIENT_PORT;
	if (!o->client)
		return addr_parse(addr_is_v4(&question->request.frontend) ? CLIENT_V4 : CLIENT_V6, &question->request.client);
	if (addr_is_v4(&question->request.client) != addr_is_v4(&question->request.frontend))
		return log_err(0, "client %s and frontend %s are of different address families", o->client,
			       addr_port_text(&question->request.frontend, question->request.frontend_port, text));
	return 0;
}

/* --host, else a header Host, else what the frontend's first route takes. */
static void choose_host(const struct explain_options *o, const struct tables *tables, struct question *question)
{
	const struct shunt_route *route =
		question->frontend->value.route < tables->route_count ? &tables->routes[question->frontend->value.route] : NULL;
	const char *host = o->host;

	if (strstr(o->path, "://") && *o->path != '/') { /* the target tells it, whatever Host says */
		const char *authority = strstr(o->path, "://") + strlen("://");

		snprintf(question->host, sizeof(question->host), "%.*s", (int)strcspn(authority, "/?#"), authority);
		return;
	}
	for (size_t i = 0; i < o->headers.count && !host; i++)
		if (strncasecmp(o->headers.items[i], "host=", strlen("host=")) == 0)
			host = o->headers.items[i] + strlen("host=");
	if (host)
		snprintf(question->host, sizeof(question->host), "%s", host);
	else if (route && route->host_match == SHUNT_HOST_ANY)
		addr_port_text(&question->request.frontend, question->request.frontend_port, question->host);
	else if (route)
		snprintf(question->host, sizeof(question->host), "%s%.*s", route->host_match == SHUNT_HOST_SUFFIX ? "any" : "",
			 route->host_len, route->host);
}

/* The head of the request; NULL: no memory. */
static char *build_head(const struct explain_options *o, const struct question *question)
{
	char *head = NULL;
	size_t size;
	FILE *out;

	if (question->frontend->value.kind != SHUNT_KIND_REQUEST)
		return strdup("");
	out = open_memstream(&head, &size);
	if (!out)
		return NULL;
	fprintf(out, "%s %s%s%s HTTP/1.1\r\nHost: %s\r\n", o->method, o->path, !o->query ? "" : strchr(o->path, '?') ? "&" : "?", o->query ? o->query : "",
		question->host);
	for (size_t i = 0; i < o->headers.count; i++) {
		const char *header = o->headers.items[i], *equals = strchr(header, '=');

		if (strncasecmp(header, "host=", strlen("host=")) != 0)
			fprintf(out, "%.*s: %s\r\n", (int)(equals - header), header, equals + 1);
	}
	for (size_t i = 0; i < o->cookies.count; i++)
		fprintf(out, "%s%s", i ? "; " : "Cookie: ", o->cookies.items[i]);
	fputs(o->cookies.count ? "\r\n\r\n" : "\r\n", out);
	if (fclose(out)) {
		free(head);
		return NULL;
	}
	return head;
}

/* ---- the answer ------------------------------------------------------------------------------------------------------------------------- */

static const char *const reason_text[SHUNT_R_MAX] = {
#define X(name, sort, text) [SHUNT_R_##name] = text,
	SHUNT_REASONS(X)
#undef X
};

/* The longest rule of the route that covers the id, as the kernel's trie finds it. */
static const struct tables_rule *find_rule(const struct tables *tables, const struct shunt_answer *answer)
{
	const struct tables_rule *found = NULL;
	uint8_t id[SHUNT_ID_MAX + 1] = {};

	memcpy(id, answer->id, answer->id_len < SHUNT_ID_MAX ? answer->id_len : SHUNT_ID_MAX);
	for (size_t i = 0; i < tables->rule_count; i++) {
		const struct tables_rule *rule = &tables->rules[i];

		if (rule->route != answer->route || rule->length > answer->id_len + 1 || memcmp(rule->id, id, rule->length) != 0)
			continue;
		if (!found || rule->length > found->length)
			found = rule;
	}
	return found;
}

/* The range of the share that the hash fell into, as fractions of all hashes. */
static int set_share(json_t *explain, const struct tables *tables, const struct shunt_answer *answer)
{
	const struct shunt_split *split = &tables->splits[answer->split];
	uint64_t low = 0, high = 0;
	char hash[16];

	if (answer->split >= tables->split_count)
		return 0;
	for (uint32_t i = 0; i < split->shares && i < SHUNT_SHARES && high <= answer->hash; i++) {
		low = high;
		high = split->share[i].end;
	}
	snprintf(hash, sizeof(hash), "0x%08x", answer->hash);
	return json_object_set_new(explain, "hash", json_string(hash)) |
	       json_object_set_new(explain, "hash_fraction", json_real(answer->hash / 4294967296.0)) |
	       json_object_set_new(explain, "share_from", json_real(low / 4294967296.0)) |
	       json_object_set_new(explain, "share_to", json_real(high / 4294967296.0));
}

/* Where the manifest says what decided: "spec.http[1].match[0]"; NULL: nowhere, the route's first version stands in or was promoted. */
static const char *place_text(const struct tables *tables, const struct question *question, const struct shunt_answer *answer, char buf[VIEW_TEXT_MAX])
{
	const struct shunt_route *route = answer->route < tables->route_count ? &tables->routes[answer->route] : NULL;
	bool gateway_api = route && route->manifest == SHUNT_HTTP_ROUTE;
	const char *items = gateway_api ? "rules" : question->frontend->value.kind == SHUNT_KIND_REQUEST ? "http" : "tcp";

	if (!route || answer->item == SHUNT_NONE)
		return NULL;
	if (answer->match == SHUNT_NONE)
		snprintf(buf, VIEW_TEXT_MAX, "spec.%s[%u]", items, answer->item);
	else
		snprintf(buf, VIEW_TEXT_MAX, "spec.%s[%u].%s[%u]", items, answer->item, gateway_api ? "matches" : "match", answer->match);
	return buf;
}

/* The conditions of the entry that took the request; "?" when the tables were replaced between question and look-up. */
static const char *entry_text(const struct tables *tables, const struct shunt_answer *answer, char buf[VIEW_TEXT_MAX])
{
	const struct shunt_route *route = answer->route < tables->route_count ? &tables->routes[answer->route] : NULL;

	snprintf(buf, VIEW_TEXT_MAX, "?");
	for (size_t i = 0; route && i < route->entries && (size_t)route->entry + i < tables->entry_count; i++) {
		const struct shunt_entry *entry = &tables->entries[route->entry + i];

		if (entry->item == answer->item && entry->match == answer->match && entry->split == answer->split)
			return view_entry(tables, entry, buf);
	}
	return buf;
}

/* What named the split: a rule, an entry, or nothing. */
static const char *named_text(const struct tables *tables, const struct shunt_answer *answer, char buf[2 * VIEW_TEXT_MAX])
{
	const struct tables_rule *rule = answer->by == SHUNT_BY_RULE ? find_rule(tables, answer) : NULL;
	char text[VIEW_TEXT_MAX];

	if (answer->by == SHUNT_BY_ENTRY)
		snprintf(buf, 2 * VIEW_TEXT_MAX, "%s", entry_text(tables, answer, text));
	else if (rule)
		snprintf(buf, 2 * VIEW_TEXT_MAX, "rule %s", view_rule(rule, text));
	else if (answer->by == SHUNT_BY_RULE)
		snprintf(buf, 2 * VIEW_TEXT_MAX, "rule ?"); /* the tables were replaced between question and look-up */
	else
		return NULL;
	return buf;
}

static const char *by_text(uint8_t by)
{
	return by == SHUNT_BY_RULE ? "rule" : by == SHUNT_BY_ENTRY ? "entry" : "hash";
}

/* by, rule, entry, hash, share and the sentence that says it. */
static int set_why(json_t *explain, const struct question *question, const struct tables *tables, const struct shunt_answer *answer)
{
	bool divided = answer->split < tables->split_count && tables->splits[answer->split].shares > 1;
	char text[VIEW_TEXT_MAX], share[VIEW_TEXT_MAX] = "", named_by[2 * VIEW_TEXT_MAX], why[4 * VIEW_TEXT_MAX];
	const char *place = place_text(tables, question, answer, text), *named = named_text(tables, answer, named_by);
	int r = set_share(explain, tables, answer);

	if (divided)
		snprintf(share, sizeof(share), "hash %.2f %% lies in the share from %.2f %% to %.2f %%",
			 100 * json_real_value(json_object_get(explain, "hash_fraction")),
			 100 * json_real_value(json_object_get(explain, "share_from")),
			 100 * json_real_value(json_object_get(explain, "share_to")));
	if (named)
		snprintf(why, sizeof(why), "%s%s%s", named, divided ? "; " : "", share);
	else
		snprintf(why, sizeof(why), "%s", divided ? share : "no rule names the user, and one version has all others");
	r |= json_object_set_new(explain, "by", json_string(by_text(answer->by)));
	r |= json_object_set_new(explain, "rule", answer->by == SHUNT_BY_RULE ? json_string(named + strlen("rule ")) : json_null());
	r |= json_object_set_new(explain, "conditions", answer->by == SHUNT_BY_ENTRY ? json_string(named) : json_null());
	r |= json_object_set_new(explain, "entry", place ? json_string(place) : json_null());
	return r | json_object_set_new(explain, "why", json_string(why));
}

static int set_user(json_t *explain, const struct question *question, const struct tables *tables, const struct shunt_answer *answer)
{
	char user[SHUNT_ID_MAX + 32], client[ADDR_TEXT_MAX], identity[VIEW_TEXT_MAX] = "?", known[2 * VIEW_TEXT_MAX];

	addr_text(&question->request.client, client);
	if (answer->route < tables->route_count)
		view_identity(&tables->routes[answer->route], identity);
	if (answer->id_from_client)
		snprintf(user, sizeof(user), "%s", client);
	else
		snprintf(user, sizeof(user), "%.*s", (int)answer->id_len, (const char *)answer->id);
	snprintf(known, sizeof(known), "%s%s", identity,
		 answer->id_from_client && strcmp(identity, "client") != 0 ? " (not in the request; the client address stands in)" : "");
	return json_object_set_new(explain, "user", json_string(user)) | json_object_set_new(explain, "identity", json_string(known)) |
	       json_object_set_new(explain, "client", json_string(client)) |
	       json_object_set_new(explain, "user_from_client", json_boolean(answer->id_from_client));
}

static int set_place(json_t *explain, const struct tables *tables, const struct shunt_answer *answer)
{
	const struct shunt_series *version = view_series(tables, answer->version), *served = view_series(tables, answer->served);
	char pod[ADDR_PORT_TEXT_MAX] = "?", instead[2 * VIEW_TEXT_MAX];

	if (answer->pod < tables->pod_count)
		addr_port_text(&tables->pods[answer->pod].addr, ntohs(tables->pods[answer->pod].port), pod);
	snprintf(instead, sizeof(instead), "%s, because %s has no ready pod", served ? served->version : "?",
		 version ? version->version : "?");
	return json_object_set_new(explain, "version", json_string(version ? version->version : "?")) |
	       json_object_set_new(explain, "served_by", answer->served != answer->version ? json_string(instead) : json_null()) |
	       json_object_set_new(explain, "pod", json_string(pod)) |
	       json_object_set_new(explain, "request_lines", view_edits(tables, answer->served, true)) |
	       json_object_set_new(explain, "response_lines", view_edits(tables, answer->served, false)) |
	       json_object_set_new(explain, "route", json_string(version ? version->route : "?"));
}

/* Does the route name this Host? For the words only: the kernel has decided already. */
static bool names_host(const struct shunt_route *route, const char *host)
{
	size_t len = strcspn(host, ":");

	if (route->host_match == SHUNT_HOST_ANY)
		return true;
	if (route->host_match == SHUNT_HOST_EXACT ? len != route->host_len : len <= route->host_len)
		return false;
	return strncasecmp(host + len - route->host_len, route->host, route->host_len) == 0;
}

static int set_host(json_t *explain, const struct question *question, const struct tables *tables, const struct shunt_answer *answer)
{
	bool named = answer->route < tables->route_count && names_host(&tables->routes[answer->route], question->host);
	char text[2 * VIEW_TEXT_MAX];

	if (question->frontend->value.kind != SHUNT_KIND_REQUEST)
		return 0;
	snprintf(text, sizeof(text), "%s%s", question->host, named ? "" : " (no route of the frontend names it; the first one took it)");
	return json_object_set_new(explain, "host", json_string(question->host)) |
	       json_object_set_new(explain, "host_text", json_string(text)) |
	       json_object_set_new(explain, "host_named", json_boolean(named));
}

static json_t *describe(const struct question *question, const struct tables *tables, const struct shunt_answer *answer)
{
	_cleanup_json_ json_t *explain = json_object();
	char frontend[ADDR_PORT_TEXT_MAX];
	int r = set_place(explain, tables, answer);

	r |= set_why(explain, question, tables, answer);
	r |= set_user(explain, question, tables, answer);
	r |= set_host(explain, question, tables, answer);
	r |= json_object_set_new(explain, "frontend",
				 json_string(addr_port_text(&question->request.frontend, question->request.frontend_port, frontend)));
	return r ? NULL : json_incref(explain);
}

/* ---- the command ------------------------------------------------------------------------------------------------------------------------ */

static int ask(struct datapath *datapath, const struct explain_options *o, struct question *question, json_t **ret_explain)
{
	_cleanup_(tables_free) struct tables *tables = NULL;
	_cleanup_free_ char *head = NULL;
	struct shunt_answer answer;
	int r = datapath_read_tables(datapath, &tables);

	if (r == 0)
		r = choose_frontend(o, tables, question);
	if (r < 0)
		return r;
	choose_host(o, tables, question);
	head = build_head(o, question);
	if (!head)
		return log_err(-ENOMEM, "explain");
	question->request.head = head;
	r = datapath_explain(datapath, &question->request, &answer);
	if (r < 0)
		return r;
	if (answer.verdict)
		return log_err(0, "the kernel does not decide this request: %s",
			       answer.verdict <= SHUNT_R_MAX ? reason_text[answer.verdict - 1] : "a reason that this shunt does not know");
	*ret_explain = describe(question, tables, &answer);
	return *ret_explain ? 0 : log_err(-ENOMEM, "explain");
}

static int run(const void *data, int argc, char **argv)
{
	const struct explain_options *o = data;
	_cleanup_(datapath_close) struct datapath *datapath = NULL;
	_cleanup_json_ json_t *explain = NULL;
	struct question question = {};
	int r;

	(void)argc, (void)argv;
	if (check_options(o, &question) < 0)
		return CMD_USAGE;
	r = datapath_open_pinned(o->common.pin_dir, &datapath);
	if (r == -ENOENT)
		log_err(0,
			"nothing is pinned under %s: no request is steered here. Start shunt with `shunt run DIR`, or say where its pins are with --pin-dir",
			o->common.pin_dir);
	if (r < 0 || ask(datapath, o, &question, &explain) < 0)
		return CMD_FAILED;
	if (emit(stdout, explain, &section, 1, o->common.json) < 0)
		return log_err(0, "explain: cannot write the output"), CMD_FAILED;
	return CMD_OK;
}

const struct cmd cmd_explain = {
	.name = "explain",
	.summary = "Tell which version and pod a user gets, and why, by the kernel's own code",
	.details = "shunt explain --header userhash=1010101010\nshunt explain --cookie uid=42\nshunt explain --path /cart --query 'uid=42&lang=de'\n"
		   "shunt explain --method POST --path /cart/items --host shop.example.com --header x-beta=1 --header userhash=101",
	.options = options_table,
	.option_count = ARRAY_SIZE(options_table),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
