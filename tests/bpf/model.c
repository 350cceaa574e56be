/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The flow's state machine against a model: clients and pods with TCP of their own (tests/lib/tcp_end.h), a network that loses, doubles, delays and
 * reorders between them and the programs, and what each end must see.
 *
 *     client ──▶ network ──▶ shunt_from_client ──▶ network ──▶ pod           a run: one or two connections of one client port,
 *     client ◀── network ◀── shunt_to_client   ◀── network ◀── pod                  a list of requests of several users on each
 *
 * Held all the time: a pod of the user's version reads every request, edited as that version's are, whole, once and in order; the client reads these pods' answers in order; no
 * packet breaks TCP at the end it comes to (tcp_end.c says what does) or is for nobody; no flow is pinned that need not be. And at the end: all is
 * answered, both ends are closed, no flow, leg or hold is left, and the table of users adds up to what each was asked and answered. A run that stands
 * still is a failure, too.
 *
 * In some runs time is looked after (shunt_tick: silent pods, quiet clients), in some the client is the host, whose legs have another address, and
 * clients and pods abort.
 *
 * Every choice of a run (what is asked, how it is cut, what becomes of the n-th packet on a link) is a number drawn from the seed, its kind and its
 * index, and 0 is the dull one. So a failing run is a sparse list of choices, and shrinking it is leaving out some: what fails still is kept as a row
 * of `found` below, as it is printed.
 *
 * MODEL_PACKETS: how many packets to run through the programs (1,000,000); MODEL_SEED: the first run's seed (1).
 */
#include "../lib/bpfrun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "../lib/tcp_end.h"
#include "util/addr.h"
#include "util/cleanup.h"

#define PACKETS 1000000
#define PACKETS_SECOND_COMPILER 50000
#define CLIENT_PORTS 65024 /* what the programs move to another port goes below: a later connection from there would be translated (known) */
#define FORGET_EVERY 256 /* runs on the same tables; their ports differ */
#define HOLDS_EVERY 64 /* runs between looks at all hold buffers, which take their time */

enum { VERSIONS = 5, TWINS = 2, PODS = VERSIONS * TWINS, REQUESTS = 8, TALKS = 2, CONNS = 48, FLIGHTS = 1024, CHOICES = 4096 };

#define HEAD_MAX 4600
#define REQUEST_MAX 14000
#define ANSWER_MAX 16000
#define FAULTS_MAX 60     /* of the network in one run; then it is perfect, so that every run must end */
#define STANDS_STILL 14   /* timeouts without progress */
#define SYN_ACK_RETRIES 5 /* Linux's tcp_synack_retries: then a pod forgets a connection that was never complete */
#define RUN_MAX_MS 600000
#define STEPS_MAX 20000
#define STALL_NS 10000000
#define TRIAL 7 /* the experiment whose users are counted; a conversion is a POST of client 0 that is answered well */

/* ---- choices ------------------------------------------------------------------------------------------------------------------------------ */

enum choice_kind { OF_RUN, OF_TALK, OF_REQUEST, OF_ANSWER, OF_CUT, OF_POD, ON_LINK, CHOICE_KINDS = ON_LINK + 4 };

struct choice {
	uint8_t kind;
	uint32_t index;
	uint32_t value;
};

struct choices {
	struct choice list[CHOICES];
	size_t count;
};

enum link_name { CLIENT_TO_US, US_TO_CLIENT, US_TO_POD, POD_TO_US };

struct request {
	char text[REQUEST_MAX];
	size_t len;
	char recast[REQUEST_MAX + SHUNT_EDIT_MAX]; /* as its pod must read it */
	size_t recast_len;
	uint32_t version, user, status;
	bool head, post;
	char answer[ANSWER_MAX];
	size_t answer_len;
	char edited[ANSWER_MAX + SHUNT_EDIT_MAX]; /* as the client may read it when its version's answers are edited */
	size_t edited_len;
	bool may_pass; /* as the pod says it, because a name went by before all of the head was known */
	bool last; /* the pod closes behind its answer */
};

/* A client's connection and what is asked on it. */
struct talk {
	uint32_t number;
	bool started, direct, half_close, wants_pin, pinned;
	bool aborts, pod_aborts; /* aborts: somebody does, the client if it is not a pod */
	struct tcp_end client;
	struct request request[REQUESTS];
	uint32_t requests;
	uint32_t depth;               /* requests on their way at once */
	uint32_t writing;             /* the request being written, and how much of it is */
	size_t written;
	uint64_t write_at, read_at, abort_at, start_at;
	uint32_t begun;               /* requests whose first byte a pod has read */
	uint32_t served;              /* requests read whole */
	uint32_t answered;            /* answers that the client has read */
	size_t answer_read;
	bool read_edited, read_as_is; /* what was read of it fits so far */
	uint64_t opened, opened_at;   /* of the flow's opening leg: in the programs' clock and in ours */
	uint64_t waits, waits_at;     /* since when it is looked after, likewise */
};

/* A pod's end of a connection. */
struct conn {
	struct talk *talk;
	uint32_t pod;
	struct tcp_end end;
	bool busy;                    /* with talk->request[request] */
	uint32_t request;
	size_t read, written;
	uint64_t write_at;
};

struct flight {
	bool used;
	enum link_name link;
	uint64_t at, order;
	struct talk *talk; /* that caused it */
	struct conn *conn; /* that a pod had on its tuple when it left */
	struct pkt pkt;
	uint8_t payload[PKT_MAX];
};

struct model {
	struct bpfrun *run;
	uint64_t seed;
	const struct choices *replayed; /* NULL: drawn from the seed */
	struct choices taken;
	bool trace;

	enum shunt_family family;
	uint32_t faults_permille, faults;
	uint32_t bad_twin, bad_how;   /* which pod of each version does not work */
	bool on_host;                 /* the client is */
	struct shunt_addr from;       /* what legs have for a client's address */
	uint64_t tick_at;             /* UINT64_MAX: nobody looks after what waits */
	bool stalled;                 /* this process stood still, and the programs' clock went on */
	struct talk talk[TALKS];
	struct conn *conn[CONNS];
	size_t conns;
	struct flight *flight;
	uint64_t now, order, packets;
	uint32_t cuts, link_count[4];
	uint64_t strays;              /* packets of connections that have ended */
	const char *breach;           /* NULL: all is well so far */
	char where[256];
};

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static uint64_t drawn(const struct model *m, uint32_t kind, uint32_t index)
{
	return mix(mix(m->seed ^ (uint64_t)kind << 56) ^ index);
}

/* Takes `value`, which was drawn, or what is replayed in its place. */
static uint32_t take(struct model *m, uint32_t kind, uint32_t index, uint32_t value)
{
	if (m->replayed) {
		value = 0;
		for (size_t i = 0; i < m->replayed->count; i++)
			if (m->replayed->list[i].kind == kind && m->replayed->list[i].index == index)
				value = m->replayed->list[i].value;
	}
	if (value && m->taken.count < CHOICES)
		m->taken.list[m->taken.count++] = (struct choice){ kind, index, value };
	return value;
}

/* One of n, the first as likely as the others. */
static uint32_t one_of(struct model *m, uint32_t kind, uint32_t index, uint32_t n)
{
	return take(m, kind, index, drawn(m, kind, index) % n) % n;
}

/* Mostly 0; else one of 1..n. */
static uint32_t rarely(struct model *m, uint32_t kind, uint32_t index, uint32_t permille, uint32_t n)
{
	uint64_t r = drawn(m, kind, index);

	return take(m, kind, index, r % 1000 < permille ? 1 + (r >> 32) % n : 0) % (n + 1);
}

/* ---- failing ------------------------------------------------------------------------------------------------------------------------------ */

/* Packets as text, for failures. */
static const char *flags_text(uint8_t flags)
{
	static char text[8];

	snprintf(text, sizeof(text), "%s%s%s%s%s", flags & SYN ? "S" : "", flags & FIN ? "F" : "", flags & RST ? "R" : "", flags & PSH ? "P" : "",
		 flags & ACK ? "." : "");
	return text;
}

static const char *packet_text(const struct pkt *p)
{
	static char text[160];
	char from[ADDR_PORT_TEXT_MAX], to[ADDR_PORT_TEXT_MAX];

	snprintf(text, sizeof(text), "%s > %s %s seq %x ack %x len %zu", addr_port_text(&p->saddr, p->sport, from), addr_port_text(&p->daddr, p->dport, to),
		 flags_text(p->flags), p->seq, p->ack, p->len);
	return text;
}

static void breach(struct model *m, const char *what, const char *where)
{
	if (m->breach)
		return;
	m->breach = what;
	snprintf(m->where, sizeof(m->where), "%s", where);
	if (m->trace)
		print_error("%6" PRIu64 "  BREACH: %s; %s\n", m->now, what, where);
}

/* For traces: version and which of its pods. */
static const char *const pod_name[PODS] = {
	"pod 1/0", "pod 1/1", "pod 2/0", "pod 2/1", "pod 3/0", "pod 3/1", "pod 4/0", "pod 4/1", "pod 5/0", "pod 5/1",
};

/* One packet as seen by the end whose numbers it has; `from`: that end sent it. */
static void trace(const struct model *m, const char *who, const struct tcp_end *end, bool from, const struct pkt *p, const char *fate)
{
	uint32_t seq = p->seq - (from ? end->iss : end->peer_iss), ack = p->ack - (from ? end->peer_iss : end->iss);

	if (!m->trace)
		return;
	print_error("%6" PRIu64 "  %s %s us  %-4s seq %-5d ack %-5d len %-4zu win %-5u ts %x/%x", m->now, who, from ? "->" : "<-", flags_text(p->flags), (int)seq,
		    (int)ack, p->len, p->window, p->tsval, p->tsecr);
	for (size_t i = 0; i < p->sacks; i++)
		print_error(" sack %d-%d", (int)(p->sack[i][0] - (from ? end->peer_iss : end->iss)), (int)(p->sack[i][1] - (from ? end->peer_iss : end->iss)));
	print_error("%s%s\n", *fate ? "  " : "", fate);
}

/* ---- tables --------------------------------------------------------------------------------------------------------------------------------
 *
 *     frontends .10:80 and .20:80, one route: header userhash, whose first character is the number of the version; each version has two pods
 */

static struct shunt_addr addr_of(enum shunt_family family, const char *v4, const char *v6, uint32_t a, uint32_t b)
{
	struct shunt_addr addr;
	char text[64];

	snprintf(text, sizeof(text), family == SHUNT_V6 ? v6 : v4, a, b);
	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct shunt_addr frontend_of(enum shunt_family family, uint32_t talk)
{
	return addr_of(family, "10.96.%u.%u", "fd00:96:%u::%u", 0, talk ? 20 : 10);
}

static struct shunt_addr pod_addr(enum shunt_family family, uint32_t pod)
{
	return addr_of(family, "10.77.%u.%u", "fd00:77:%u::%u", 10 + pod / TWINS, 2 + pod % TWINS);
}

static uint16_t pod_port(uint32_t pod)
{
	return 8080 + pod / TWINS;
}

/* What the answers of a version get; the pods of the last two say something of it themselves. */
static const struct {
	const char *lines, *name, *value; /* set; then lines are added */
	const char *pod;                  /* the pod's own line */
	const char *renamed;              /* as the client reads it; NULL: the answer stays as it is */
} edit_of[VERSIONS] = {
	{},
	{ "version: v2\r\n", "version", "v2", "", "" },
	{ "version: v3\r\nNote: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
	  "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234\r\nA: b\r\n",
	  "version", "v3", "", "" },
	{ "version: v4\r\n", "version", "v4", "Version: old\r\n", "~ersion: old\r\n" },
	{ "version: v5\r\n", "version", "v5", "version:\tv5 \r\n", NULL },
};

/* What the requests of a version get and lose. Between them heads become longer, shorter, much shorter, and other ones of the same length. */
static const struct {
	const char *lines; /* `sets` of them are set, the others added */
	uint32_t sets;
	const char *names[3]; /* that are set, then that are removed; lower case */
} recast_of[VERSIONS] = {
	{},
	{ "Host: flowers-predictor-default.ns-candidate\r\n", 1, { "host" } },
	{ "Host: h\r\n", 1, { "host", "pad", "absent" } },
	{ "Host: 123456789 b\r\nHost-Of: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\nA: b\r\n", 1, { "host" } },
	{ "Host: flowers.ns\r\n", 1, { "host", "userhash" } },
};

static void set_request_edit(struct tables *t, uint32_t v)
{
	struct shunt_edit *edit;

	if (!recast_of[v].sets)
		return;
	edit = &t->edits[t->edit_count++];
	*edit = (struct shunt_edit){ .len = strlen(recast_of[v].lines), .sets = recast_of[v].sets, .host = 1 };
	memcpy(edit->text, recast_of[v].lines, edit->len);
	for (size_t i = 0; i < ARRAY_SIZE(recast_of[v].names) && recast_of[v].names[i]; i++) {
		memcpy(edit->names[i].name, recast_of[v].names[i], strlen(recast_of[v].names[i]));
		edit->removes = i + 1 - edit->sets;
	}
	t->versions[v].value.request_edit = t->edit_count;
}

static void set_edit(struct tables *t, uint32_t v)
{
	struct shunt_edit *edit;

	if (v && !edit_of[v].lines)
		return;
	edit = &t->edits[t->edit_count++];
	t->versions[v].value.edit = t->edit_count;
	if (!v) { /* the first one's answers lose a header, and get none */
		edit->removes = 1;
		memcpy(edit->names[0].name, "server", 6);
		return;
	}
	*edit = (struct shunt_edit){ .len = strlen(edit_of[v].lines), .sets = 1, .adds = v == 2 ? 2 : 0 };
	assert_true(edit->len <= SHUNT_EDIT_MAX);
	memcpy(edit->text, edit_of[v].lines, edit->len);
	memcpy(edit->names[0].name, edit_of[v].name, strlen(edit_of[v].name));
	memcpy(edit->names[0].value, edit_of[v].value, strlen(edit_of[v].value));
}

static const struct tables *model_tables(void)
{
	static struct shunt_edit edits[2 * VERSIONS];
	static struct tables_frontend frontends[2 * SHUNT_FAMILIES];
	static struct shunt_trial trial = { .id = TRIAL, .class = 2, .method_len = 4, .path_len = 2, .method = "POST", .path = "/0" };
	static struct shunt_route route = { .identity = SHUNT_ID_HEADER, .name = "userhash", .name_len = 8, .host_match = SHUNT_HOST_ANY, .rules = VERSIONS };
	static struct shunt_split splits[VERSIONS];
	static struct tables_rule rules[VERSIONS];
	static struct tables_version versions[VERSIONS];
	static struct shunt_ring rings[VERSIONS * SHUNT_FAMILIES];
	static struct shunt_pod pods[PODS * SHUNT_FAMILIES];
	static struct tables t = {
		.frontends = frontends, .frontend_count = ARRAY_SIZE(frontends), .routes = &route, .route_count = 1, .splits = splits,
		.split_count = VERSIONS, .rules = rules, .rule_count = VERSIONS, .versions = versions, .version_count = VERSIONS, .rings = rings,
		.ring_count = ARRAY_SIZE(rings), .pods = pods, .pod_count = ARRAY_SIZE(pods), .edits = edits, .trials = &trial, .trial_count = 1,
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(frontends); i++)
		frontends[i] = (struct tables_frontend){ .key = { .addr = frontend_of(i % 2, i / 2), .port = htons(80) },
							 .value = { .kind = SHUNT_KIND_REQUEST, .routes = 1 } };
	for (uint32_t i = 0; i < ARRAY_SIZE(pods); i++)
		pods[i] = (struct shunt_pod){ .addr = pod_addr(i % 2, i / 2), .port = htons(pod_port(i / 2)) };
	for (uint32_t v = 0; v < VERSIONS; v++) {
		splits[v] = (struct shunt_split){ .shares = 1, .share = { { .end = 1ull << 32, .version = v } } };
		rules[v] = (struct tables_rule){ .length = 1, .value.split = v, .id = { '1' + v } };
		versions[v] = (struct tables_version){ .value = { .series = v, .fallback = SHUNT_NONE, .ring = { 2 * v, 2 * v + 1 }, .near = { 2 * v, 2 * v + 1 } },
						       .pods = { TWINS, TWINS } };
		set_edit(&t, v);
		set_request_edit(&t, v);
		for (uint32_t family = 0; family < SHUNT_FAMILIES; family++)
			for (uint32_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
				rings[2 * v + family].pod[slot] = 2 * (v * TWINS + slot % TWINS) + family;
		snprintf(t.series[v].route, sizeof(t.series[v].route), "default/model");
		snprintf(t.series[v].version, sizeof(t.series[v].version), "v%u", v + 1);
	}
	return &t;
}

/* ---- what is asked and answered ------------------------------------------------------------------------------------------------------------- */

/* Bytes of a body: they look like what a careless reader would take for heads and chunks, and no two places are alike. */
static void fill(char *to, size_t len, uint32_t talk, uint32_t request, const char *side)
{
	static const char lure[] = "\r\n0\r\n\r\nHTTP/1.1 204 No\r\n\r\nGET / HTTP/1.1\r\nuserhash: 1a\r\nContent-Length: 7\r\n\r\n";
	uint64_t salt = mix(talk << 16 | request << 8 | (uint8_t)side[0]);

	for (size_t i = 0; i < len; i++)
		to[i] = i % 5 == 4 ? "abcdefghijklmnop"[mix(salt ^ i) & 15] : lure[(i + salt) % (sizeof(lure) - 1)];
}

/* A body in chunks; choices index and index + 1 of `kind` say how. */
static size_t put_chunks(struct model *m, char *to, uint32_t body, const struct talk *t, uint32_t n, enum choice_kind kind, uint32_t index)
{
	static const uint16_t sizes[] = { 5000, 1, 17, 255, 1000, 1460 };
	uint32_t size = sizes[one_of(m, kind, index, ARRAY_SIZE(sizes))];
	size_t len = 0;

	if (body > 200 * size)
		body = 200 * size;
	while (body) {
		uint32_t part = body < size ? body : size;

		len += sprintf(to + len, "%x\r\n", part);
		fill(to + len, part, t->number, n, kind == OF_REQUEST ? "client" : "pod");
		len += part;
		len += sprintf(to + len, "\r\n");
		body -= part;
	}
	return len + sprintf(to + len, "0\r\n%s\r\n", one_of(m, kind, index + 1, 2) ? "Trailer: of it\r\n" : "");
}

static void make_request(struct model *m, struct talk *t, uint32_t n)
{
	static const uint16_t pads[] = { 0, 0, 0, 300, 1200, 1500, 2500, 3900 };
	static const uint16_t bodies[] = { 0, 1, 400, 1448, 3000, 5000, 9000 };
	struct request *r = &t->request[n];
	uint32_t index = (t->number * REQUESTS + n) * 8;
	uint32_t method = one_of(m, OF_REQUEST, index, 4); /* GET GET POST HEAD */
	uint32_t pad = pads[one_of(m, OF_REQUEST, index + 1, ARRAY_SIZE(pads))];
	uint32_t body = method == 2 ? bodies[one_of(m, OF_REQUEST, index + 2, ARRAY_SIZE(bodies))] : 0;
	uint32_t user = one_of(m, OF_REQUEST, index + 3, 6);
	bool chunked = one_of(m, OF_REQUEST, index + 5, 2);

	r->version = one_of(m, OF_REQUEST, index + 4, t->direct ? 1 : VERSIONS);
	r->user = user;
	r->head = method == 3;
	r->post = method == 2;
	r->len = snprintf(r->text, sizeof(r->text), "%s /%u/%u HTTP/1.1\r\nHost: example.com\r\nPad: %0*u\r\nuserhash: %u%c\r\n",
			  method == 2 ? "POST" : method == 3 ? "HEAD" : "GET", t->number, n, (int)pad, n, r->version + 1, 'a' + user);
	if (method == 2 && chunked)
		r->len += snprintf(r->text + r->len, sizeof(r->text) - r->len, "Transfer-Encoding: chunked\r\n");
	else if (method == 2)
		r->len += snprintf(r->text + r->len, sizeof(r->text) - r->len, "Content-Length: %u\r\n", body);
	r->len += snprintf(r->text + r->len, sizeof(r->text) - r->len, "\r\n");
	if (method == 2 && chunked) {
		r->len += put_chunks(m, r->text + r->len, body, t, n, OF_REQUEST, index + 6);
		return;
	}
	fill(r->text + r->len, body, t->number, n, "client");
	r->len += body;
}

/* Is the line of this text one of a header that the version's requests lose? */
static bool loses(const struct request *r, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(recast_of[0].names) && recast_of[r->version].names[i]; i++) {
		size_t len = strlen(recast_of[r->version].names[i]);

		if (!strncasecmp(line, recast_of[r->version].names[i], len) && line[len] == ':')
			return true;
	}
	return false;
}

/* Line by line: what is lost is left out, what is new goes before the blank line, and behind that all is as it was. */
static void recast_request(struct request *r)
{
	const char *lines = recast_of[r->version].lines, *line = r->text;

	r->recast_len = 0;
	while (line[0] != '\r') {
		size_t len = strstr(line, "\r\n") + 2 - line;

		if (!loses(r, line)) {
			memcpy(r->recast + r->recast_len, line, len);
			r->recast_len += len;
		}
		line += len;
	}
	if (lines)
		r->recast_len += sprintf(r->recast + r->recast_len, "%s", lines);
	memcpy(r->recast + r->recast_len, line, r->text + r->len - line);
	r->recast_len += r->text + r->len - line;
}

static void make_answer(struct model *m, struct talk *t, uint32_t n)
{
	static const uint16_t bodies[] = { 0, 5, 700, 1448, 4000, 9000 };
	struct request *r = &t->request[n];
	uint32_t index = (t->number * REQUESTS + n) * 8;
	uint32_t how = one_of(m, OF_ANSWER, index, 5); /* length, length, chunked, 204, length behind 100 Continue */
	uint32_t body = bodies[one_of(m, OF_ANSWER, index + 1, ARRAY_SIZE(bodies))];
	uint32_t pad = one_of(m, OF_ANSWER, index + 2, 8) == 7 ? 2000 : 0;
	uint32_t status = one_of(m, OF_ANSWER, index + 3, 8);

	r->status = how == 3 ? 204 : status == 1 ? 404 : status == 2 ? 503 : 200;
	r->answer_len = 0;
	if (how == 4)
		r->answer_len = sprintf(r->answer, "HTTP/1.1 100 Continue\r\n\r\n");
	r->answer_len += sprintf(r->answer + r->answer_len, "HTTP/1.1 %u So\r\nServer: pod\r\n%sAnswer-To: %u/%u\r\nPad: %0*u\r\n%s",
				 r->status, edit_of[r->version].pod ? edit_of[r->version].pod : "", t->number, n, (int)pad, n,
				 r->last ? "Connection: close\r\n" : "");
	if (how == 2)
		r->answer_len += sprintf(r->answer + r->answer_len, "Transfer-Encoding: chunked\r\n\r\n");
	else if (how == 3)
		r->answer_len += sprintf(r->answer + r->answer_len, "\r\n");
	else
		r->answer_len += sprintf(r->answer + r->answer_len, "Content-Length: %u\r\n\r\n", body);
	if (r->head || how == 3)
		return;
	if (how == 2) {
		r->answer_len += put_chunks(m, r->answer + r->answer_len, body, t, n, OF_ANSWER, index + 4);
	} else {
		fill(r->answer + r->answer_len, body, t->number, n, "pod");
		r->answer_len += body;
	}
}

/* The server's name is no more in the final head. */
static void remove_server(struct request *r)
{
	char *line;

	memcpy(r->edited, r->answer, r->answer_len);
	r->edited_len = r->answer_len;
	line = memmem(r->edited, r->edited_len, "Server: pod", 11);
	memcpy(line, "~erver:    ", 11);
	r->may_pass = true;
}

/* The final head's blank line: lines go before it. */
static void edit_answer(const struct talk *t, struct request *r)
{
	const char *own = edit_of[r->version].pod, *renamed = edit_of[r->version].renamed;
	size_t len = edit_of[r->version].lines ? strlen(edit_of[r->version].lines) : 0, at;
	char *head, *line;

	r->edited_len = 0;
	r->may_pass = false;
	if (!r->version && !t->direct)
		remove_server(r);
	if (!len || !renamed)
		return;
	head = memmem(r->answer, r->answer_len, "Server: pod", 11);
	at = (char *)memmem(head, r->answer + r->answer_len - head, "\r\n\r\n", 4) + 2 - r->answer;
	memcpy(r->edited, r->answer, at);
	memcpy(r->edited + at, edit_of[r->version].lines, len);
	memcpy(r->edited + at + len, r->answer + at, r->answer_len - at);
	r->edited_len = r->answer_len + len;
	if (!*own)
		return;
	line = memmem(r->edited, at, own, strlen(own));
	memcpy(line, renamed, strlen(renamed));
	r->may_pass = true;
}

/* ---- the ends ------------------------------------------------------------------------------------------------------------------------------- */

static void make_client(struct model *m, struct talk *t)
{
	static const uint32_t buffers[] = { 65536, 3000, 8000, 20000 };
	static const uint32_t isns[] = { 1000, 0xfffffff0, 0x7fffffff, 0xffff8000 };
	static const uint16_t mss[2][4] = { { 1460, 536, 1300, 1440 }, { 1440, 1220, 1420, 1440 } };
	uint32_t index = t->number * 32;
	struct tcp_end *c = &t->client;

	*c = (struct tcp_end){
		.addr = addr_of(m->family, "10.77.%u.%u", "fd00:77:%u::%u", 1, 2),
		.peer = t->direct ? pod_addr(m->family, 0) : frontend_of(m->family, t->number),
		.port = CLIENT_PORTS + m->seed % 512,
		.peer_port = t->direct ? pod_port(0) : 80,
		/* Never the same twice on one port: the programs remember those that have ended, and a pod may have the other connection's tuple. */
		.iss = isns[one_of(m, OF_TALK, index, 4)] + m->seed % 1024 + (t->number << 20),
		.clock = one_of(m, OF_TALK, index + 1, 2) ? 0x7fffff00 : 5000,
		.buffer = buffers[one_of(m, OF_TALK, index + 2, 4)],
		.mss = mss[m->family == SHUNT_V6][one_of(m, OF_TALK, index + 3, 4)],
		.wscale = one_of(m, OF_TALK, index + 4, 3) == 1 ? 0 : 8,
		.tstamp = one_of(m, OF_TALK, index + 5, 4) != 1,
		.sack = one_of(m, OF_TALK, index + 6, 4) != 1,
		.quick = one_of(m, OF_TALK, index + 7, 2),
		.merges = one_of(m, OF_TALK, index + 8, 2),
	};
	tcp_end_init(c);
}

static void make_talk(struct model *m, uint32_t number)
{
	struct talk *t = &m->talk[number];
	uint32_t index = number * 32;

	t->number = number;
	t->started = true;
	t->direct = number && one_of(m, OF_TALK, index + 10, 2);
	make_client(m, t);
	t->requests = 1 + one_of(m, OF_TALK, index + 11, REQUESTS);
	t->depth = one_of(m, OF_TALK, index + 12, 3) == 1 ? 1 + one_of(m, OF_TALK, index + 13, 4) : 1;
	t->half_close = one_of(m, OF_TALK, index + 14, 6) == 1;
	t->pod_aborts = !t->direct && rarely(m, OF_TALK, index + 21, 30, 1);
	t->aborts = rarely(m, OF_TALK, index + 15, 50, 1) || t->pod_aborts;
	t->abort_at = 1 + one_of(m, OF_TALK, index + 16, 300);
	t->read_at = rarely(m, OF_TALK, index + 17, 100, 2000); /* stops reading until then */
	t->start_at = number ? one_of(m, OF_TALK, index + 18, 50) : 0;
	t->write_at = t->direct ? 0 : rarely(m, OF_TALK, index + 20, 100, 1500); /* says nothing until then */
	t->request[t->requests - 1].last = one_of(m, OF_TALK, index + 19, 4) == 1;
	for (uint32_t n = 0; n < t->requests; n++) {
		make_request(m, t, n);
		recast_request(&t->request[n]);
		make_answer(m, t, n);
		edit_answer(t, &t->request[n]);
	}
}

static struct conn *make_conn(struct model *m, struct talk *t, uint32_t pod, const struct pkt *syn)
{
	static const uint32_t isns[] = { 5000, 0xfffffffe, 0x7ffffffe, 0xffffe000 };
	uint32_t index = m->conns * 16;
	struct conn *c = calloc(1, sizeof(*c));

	if (!c || m->conns == CONNS)
		abort();
	m->conn[m->conns++] = c;
	*c = (struct conn){
		.talk = t,
		.pod = pod,
		.end = {
			.addr = syn->daddr, .peer = syn->saddr, .port = syn->dport, .peer_port = syn->sport,
			.iss = isns[one_of(m, OF_POD, index, 4)],
			.clock = one_of(m, OF_POD, index + 1, 2) ? 0xffffff00 : 77,
			.buffer = 65536,
			.mss = m->family == SHUNT_V6 ? 1440 : 1460,
			/* Some pods do less than their clients were promised. */
			.wscale = (uint8_t[]){ 8, 1, 11, 5, 0 }[one_of(m, OF_POD, index + 2, 5)],
			.tstamp = true, /* without them its segments are what a strict client refuses; we cannot make room for any */
			.sack = one_of(m, OF_POD, index + 5, 5) != 1,
			.quick = one_of(m, OF_POD, index + 3, 2),
			.merges = one_of(m, OF_POD, index + 4, 2),
		},
	};
	tcp_end_init(&c->end);
	return c;
}

/* ---- the network ---------------------------------------------------------------------------------------------------------------------------- */

/* The last connection of a tuple. */
static struct conn *find_conn(struct model *m, const struct shunt_addr *pod, uint16_t port, const struct shunt_addr *client, uint16_t client_port)
{
	for (size_t i = m->conns; i-- > 0;) {
		const struct tcp_end *end = &m->conn[i]->end;

		if (end->port == port && end->peer_port == client_port && !memcmp(&end->addr, pod, sizeof(*pod)) &&
		    !memcmp(&end->peer, client, sizeof(*client)))
			return m->conn[i];
	}
	return NULL;
}

/* The connection that a pod has on the packet's tuple now; on a client's side its port may be another's than on the pod's, so there only of its talk. */
static struct conn *conn_of(struct model *m, enum link_name link, const struct talk *t, const struct pkt *p)
{
	bool to_pod = link == US_TO_POD || link == CLIENT_TO_US;
	struct conn *c = to_pod ? find_conn(m, &p->daddr, p->dport, &p->saddr, p->sport) : find_conn(m, &p->saddr, p->sport, &p->daddr, p->dport);

	return c && (link == US_TO_POD || link == POD_TO_US || c->talk == t) ? c : NULL;
}

static void fly(struct model *m, enum link_name link, struct talk *t, const struct pkt *p, uint64_t delay)
{
	struct flight *f = m->flight;

	while (f->used)
		if (++f == m->flight + FLIGHTS)
			abort();
	*f = (struct flight){ .used = true, .link = link, .at = m->now + delay, .order = m->order++, .talk = t, .conn = conn_of(m, link, t, p),
			      .pkt = *p };
	if (p->len)
		memcpy(f->payload, p->payload, p->len);
	f->pkt.payload = f->payload;
}

/* Sends a packet over a link, which may lose, double or delay it. Returns what became of it. */
static const char *send_over(struct model *m, enum link_name link, struct talk *t, const struct pkt *p)
{
	static const uint16_t delays[] = { 2, 5, 30, 90, 250 };
	static const char *const fates[] = { "", "LOST", "DOUBLED", "LATE by 2 ms", "LATE by 5 ms", "LATE by 30 ms", "LATE by 90 ms", "LATE by 250 ms" };
	uint32_t fate = 0;

	if (m->faults < FAULTS_MAX)
		fate = rarely(m, ON_LINK + link, m->link_count[link]++, m->faults_permille, 4 + ARRAY_SIZE(delays));
	/* Half of the faults are losses. */
	fate = fate > 2 + ARRAY_SIZE(delays) ? 1 : fate;
	m->faults += fate != 0;
	if (fate != 1)
		fly(m, link, t, p, fate > 2 ? 1 + delays[fate - 3] : 1);
	if (fate == 2)
		fly(m, link, t, p, 4);
	return fates[fate];
}

/* ---- the programs --------------------------------------------------------------------------------------------------------------------------- */

static int flow_fd, leg_fd, wait_fd, user_fd, place_fd, sweep_fd;

static struct shunt_flow_key flow_key(const struct talk *t)
{
	return (struct shunt_flow_key){ .client = t->client.addr, .frontend = t->client.peer, .cport = htons(t->client.port), .fport = htons(t->client.peer_port) };
}

static uint64_t programs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

/* Our clock is faster than the programs': a leg that opens for long must look so to them. */
static void age_leg(struct model *m, struct talk *t)
{
	struct shunt_flow_key key = flow_key(t);
	struct shunt_flow flow;

	if (bpf_map_lookup_elem(flow_fd, &key, &flow) || flow.state != SHUNT_FLOW_OPENING || flow.opened != t->opened)
		return;
	t->opened = flow.opened = programs_now() - (m->now - t->opened_at) * 1000000;
	assert_int_equal(bpf_map_update_elem(flow_fd, &key, &flow, BPF_EXIST), 0);
}

static bool talk_waits(const struct talk *t, uint64_t *ret_since)
{
	struct shunt_flow_key key = flow_key(t);

	return t->started && !t->direct && !bpf_map_lookup_elem(wait_fd, &key, ret_since);
}

/* The same for what is looked after. */
static void age_wait(struct model *m, struct talk *t)
{
	struct shunt_flow_key key = flow_key(t);
	uint64_t since;

	if (!talk_waits(t, &since))
		return;
	if (since != t->waits)
		t->waits_at = m->now;
	t->waits = programs_now() - (m->now - t->waits_at) * 1000000;
	assert_int_equal(bpf_map_update_elem(wait_fd, &key, &t->waits, BPF_EXIST), 0);
}

static void look_at_flow(struct model *m, struct talk *t)
{
	struct shunt_flow_key key = flow_key(t);
	struct shunt_flow flow;

	if (t->direct || bpf_map_lookup_elem(flow_fd, &key, &flow))
		return;
	if (m->tick_at != UINT64_MAX)
		age_wait(m, t);
	if (flow.opened != t->opened) {
		t->opened = flow.opened;
		t->opened_at = m->now;
	}
	if (m->trace)
		print_error("          flow: state %u leg %u answer %u flags %x sacked %d of %d, request_end %d, hold %d+%u\n", flow.state, flow.current, flow.answer,
			    flow.flags, (int)(flow.sacked - t->client.peer_iss), (int)(flow.snext - t->client.peer_iss),
			    (int)(flow.request_end - t->client.iss), flow.hold ? (int)(flow.hold_seq - t->client.iss) : 0, flow.hold ? flow.hold_len : 0);
	if (flow.flags & SHUNT_F_PINNED && !t->wants_pin)
		breach(m, "the flow is pinned though all of it can be followed", "");
	t->pinned = flow.flags & SHUNT_F_PINNED;
}

/* Whose a tuple is: that of the flow whose leg has it, or (t) of a connection of the client's own. p: a packet to the pod. */
static struct talk *talk_of(struct model *m, struct talk *t, const struct pkt *p)
{
	struct shunt_leg_key key = { .client = p->saddr, .pod = p->daddr, .lport = htons(p->sport), .pport = htons(p->dport) };
	struct shunt_leg_owner owner;

	if (bpf_map_lookup_elem(leg_fd, &key, &owner))
		return t;
	return &m->talk[memcmp(&owner.frontend, &m->talk[0].client.peer, sizeof(owner.frontend)) ? 1 : 0];
}

/* What a program made goes on its way, if it is right and for somebody. */
static void pass_on(struct model *m, struct talk *t, const struct bpfrun_frame *frame, bool to_client)
{
	if (frame->why)
		return breach(m, "a frame that a receiver would drop", frame->why);
	if (frame->pkt.to_client != to_client)
		return breach(m, "a packet whose MACs point the other way", to_client ? "to the client" : "to a pod");
	if (!to_client && frame->pkt.flags == SYN)
		t = talk_of(m, t, &frame->pkt);
	send_over(m, to_client ? US_TO_CLIENT : US_TO_POD, t, &frame->pkt);
}

/* A packet reaches the programs. */
static void run_program(struct model *m, enum bpfrun_hook hook, struct talk *t, const struct pkt *p)
{
	static struct bpfrun_result r;
	uint64_t before = programs_now();

	m->packets++;
	if (hook == FROM_CLIENT && !t->direct)
		age_leg(m, t);
	bpfrun_packet(m->run, hook, p, &r);
	m->stalled |= programs_now() - before > STALL_NS;
	if (m->trace)
		print_error("%6" PRIu64 "    %s %s len %zu: verdict %d%s, %zu clones, %zu copies\n", m->now, hook == FROM_CLIENT ? "from_client" : "to_client",
			    flags_text(p->flags), p->len, r.verdict, r.mark ? " marked" : "", r.clones, r.copies);
	look_at_flow(m, t);
	for (size_t i = 0; i < r.copies; i++)
		pass_on(m, t, &r.copy[i], true);
	for (size_t i = 0; i < r.clones; i++)
		pass_on(m, t, &r.clone[i], false);
	if (r.verdict == V_REDIRECT)
		pass_on(m, t, &r.out, r.mark != SHUNT_MARK);
	else if (r.verdict == V_PASS)
		pass_on(m, t, &r.out, hook == TO_CLIENT);
	else if (r.verdict != V_DROP)
		breach(m, "a verdict that is none", "");
}

/* The agent looks after what waits. */
static void tick(struct model *m)
{
	static struct bpfrun_result r;
	uint64_t before = programs_now();

	m->tick_at = m->now + SHUNT_TICK_MS;
	for (size_t i = 0; i < TALKS; i++) {
		if (!m->talk[i].started || m->talk[i].direct)
			continue;
		age_leg(m, &m->talk[i]);
		age_wait(m, &m->talk[i]);
	}
	bpfrun_tick(m->run, 0, &r);
	m->stalled |= programs_now() - before > STALL_NS;
	for (size_t i = 0; i < TALKS; i++)
		if (m->talk[i].started)
			look_at_flow(m, &m->talk[i]);
	for (size_t i = 0; i < r.copies; i++)
		pass_on(m, &m->talk[memcmp(&r.copy[i].pkt.saddr, &m->talk[0].client.peer, sizeof(r.copy[i].pkt.saddr)) ? 1 : 0], &r.copy[i], true);
	for (size_t i = 0; i < r.clones; i++) {
		const struct pkt *p = &r.clone[i].pkt;
		struct conn *c = find_conn(m, &p->daddr, p->dport, &p->saddr, p->sport);

		pass_on(m, talk_of(m, c ? c->talk : &m->talk[0], p), &r.clone[i], false);
	}
	m->packets += r.copies + r.clones;
}

/* ---- packets at their ends -------------------------------------------------------------------------------------------------------------------- */

/* A closed port answers with a reset (RFC 9293 section 3.10.7.1). */
static void closed_port(struct model *m, enum link_name link, struct talk *t, const struct pkt *p)
{
	struct pkt reset = { .saddr = p->daddr, .daddr = p->saddr, .sport = p->dport, .dport = p->sport, .flags = RST };

	if (p->flags & RST)
		return;
	if (p->flags & ACK) {
		reset.seq = p->ack;
	} else {
		reset.flags |= ACK;
		reset.ack = p->seq + p->len + (p->flags & SYN ? 1 : 0) + (p->flags & FIN ? 1 : 0);
	}
	send_over(m, link, t, &reset);
}

/* The client has read all and written all: what comes now no application sees. */
static bool client_done(const struct talk *t)
{
	return tcp_end_over(&t->client) || (t->client.closed && tcp_end_peer_closed(&t->client));
}

/*
 * The client has no such connection. It may only be of a leg that nobody knows any more: its flow has ended, its place went to another version's leg, or
 * it was given up for another pod because this one was silent. The client's kernel answers that.
 */
static void stray_at_client(struct model *m, const struct pkt *p)
{
	struct conn *c = find_conn(m, &p->saddr, p->sport, &p->daddr, p->dport);

	m->strays++;
	/* A reset of a pod that refused, doubled; or a late SYN-ACK: a reset in answer could hit the leg's next try on that tuple (known, and rare). */
	if (p->flags & (RST | SYN))
		return;
	if (!c)
		return breach(m, "a packet for no connection of the client", packet_text(p));
	closed_port(m, CLIENT_TO_US, c->talk, p);
}

static void at_client(struct model *m, const struct talk *cause, const struct pkt *p)
{
	for (uint32_t i = 0; i < TALKS; i++) {
		struct talk *t = &m->talk[i];
		bool done = client_done(t);
		const char *what;

		if (!t->started || memcmp(&p->saddr, &t->client.peer, sizeof(p->saddr)) || memcmp(&p->daddr, &t->client.addr, sizeof(p->daddr)) ||
		    p->sport != t->client.peer_port || p->dport != t->client.port)
			continue;
		trace(m, t->number ? "client 1" : "client 0", &t->client, false, p, "");
		if (t != cause && t->direct) { /* of an ended leg, whose tuple is that of the client's own connection */
			m->strays++;
			return;
		}
		if (t != cause)
			return breach(m, "a packet for another connection of the client", packet_text(p));
		/* The pod's end of a leg that ended before challenges the client's own SYN, and learns that it is over (RFC 9293 section 3.10.7.3). */
		if (t->direct && t->client.state == TCP_END_SYN_SENT && p->flags & ACK && p->ack != t->client.iss + 1)
			return closed_port(m, CLIENT_TO_US, t, p);
		what = tcp_end_receive(&t->client, p, m->now);
		if (what)
			breach(m, what, "at the client");
		else if (t->client.state == TCP_END_RESET && !t->aborts && !done)
			breach(m, "the client is reset", "");
		return;
	}
	stray_at_client(m, p);
}

static bool pod_is(struct model *m, const struct pkt *p, uint32_t *ret_pod)
{
	for (uint32_t pod = 0; pod < PODS; pod++) {
		struct shunt_addr addr = pod_addr(m->family, pod);

		if (memcmp(&addr, &p->daddr, sizeof(addr)) || p->dport != pod_port(pod))
			continue;
		*ret_pod = pod;
		return true;
	}
	return false;
}

/* A SYN for a connection that the pod still has (RFC 5961 section 4). */
static void challenge(struct model *m, struct talk *t, const struct conn *c)
{
	struct pkt p = { .saddr = c->end.addr, .daddr = c->end.peer, .sport = c->end.port, .dport = c->end.peer_port, .flags = ACK,
			 .seq = c->end.iss + c->end.max, .ack = c->end.peer_iss + c->end.due, .window = 500, .tstamp = c->end.tstamp,
			 .tsval = c->end.clock + (uint32_t)m->now, .tsecr = c->end.ts_recent };

	send_over(m, POD_TO_US, t, &p);
}

static void at_pod(struct model *m, struct talk *t, const struct pkt *p)
{
	struct conn *c = find_conn(m, &p->daddr, p->dport, &p->saddr, p->sport);
	const char *what;
	uint32_t pod;

	if (memcmp(&p->saddr, t->direct ? &t->client.addr : &m->from, sizeof(p->saddr)))
		return breach(m, "a packet to a pod that is not from the client", packet_text(p));
	if (!c || c->end.state == TCP_END_RESET || (p->flags == SYN && tcp_end_over(&c->end))) {
		if (!pod_is(m, p, &pod))
			return breach(m, "a packet to what is no pod", packet_text(p));
		if (p->flags == SYN && m->bad_how == 2 && pod % TWINS == m->bad_twin && !t->direct)
			return;
		if (p->flags != SYN || (m->bad_how == 1 && pod % TWINS == m->bad_twin && !t->direct))
			return closed_port(m, POD_TO_US, t, p);
		c = make_conn(m, t, pod, p);
	}
	trace(m, pod_name[c->pod], &c->end, false, p, "");
	if (c->talk != t && p->flags == SYN) /* of a leg that its flow left open; or the SYN is late, and of one */
		return challenge(m, talk_of(m, t, p), c);
	if (c->talk != t && t->direct && t->client.closed) {
		m->strays++; /* of a connection that is closing, whose port a leg has by now; its numbers are not this one's */
		return;
	}
	if (c->talk != t && p->flags & RST && tcp_end_over(&c->end)) {
		m->strays++; /* of a leg whose SYN was lost, or comes later, on the tuple of one that is over */
		return;
	}
	if (c->talk != t && !(t->direct && p->flags & RST)) /* that is what the client's SYN was challenged with: see at_client */
		return breach(m, "a packet on another connection's way to a pod", packet_text(p));
	what = tcp_end_receive(&c->end, p, m->now);
	if (what)
		breach(m, what, "at a pod");
	else if (c->end.state == TCP_END_RESET && c->busy && !t->aborts)
		breach(m, "a pod is reset while it serves a request", "");
}

static void arrive(struct model *m, struct flight *f)
{
	if (f->conn && f->conn != conn_of(m, f->link, f->talk, &f->pkt))
		m->strays++; /* of an earlier connection of its tuple: TCP leaves it to the maximum segment lifetime to keep such packets out */
	else if (f->link == CLIENT_TO_US)
		run_program(m, FROM_CLIENT, f->talk, &f->pkt);
	else if (f->link == POD_TO_US)
		run_program(m, TO_CLIENT, f->talk, &f->pkt);
	else if (f->link == US_TO_CLIENT)
		at_client(m, f->talk, &f->pkt);
	else
		at_pod(m, f->talk, &f->pkt);
	f->used = false;
}

/* ---- applications ----------------------------------------------------------------------------------------------------------------------------- */

/* How much to write now of what is left, and when to go on. */
static size_t cut(struct model *m, size_t left, uint64_t *ret_next)
{
	static const uint16_t pauses[] = { 0, 0, 1, 3, 60 };
	static const uint16_t sizes[] = { 1, 2, 3, 40, 90, 500, 1400, 3000 };
	uint32_t index = m->cuts++ * 2, how = rarely(m, OF_CUT, index, 300, ARRAY_SIZE(sizes)), pause = one_of(m, OF_CUT, index + 1, ARRAY_SIZE(pauses));
	size_t size = how ? sizes[how - 1] : left;

	*ret_next = m->now + pauses[pause];
	return size < left ? size : left;
}

static void client_writes(struct model *m, struct talk *t)
{
	struct request *r = &t->request[t->writing];
	size_t n;

	if (t->client.state != TCP_END_OPEN || t->client.closed || t->write_at > m->now)
		return;
	if (t->writing == t->requests || t->writing - t->answered >= t->depth)
		return;
	n = cut(m, r->len - t->written, &t->write_at);
	/* Without timestamps a SYN cookie is good for ISNs up to 3 away, so such a segment must not be the first that comes. */
	if (!t->writing && !t->written && !t->client.tstamp && n < 4)
		n = 4;
	tcp_end_write(&t->client, r->text + t->written, n);
	t->written += n;
	if (t->written == r->len) {
		t->writing++;
		t->written = 0;
	}
	if (t->writing == t->requests && t->half_close)
		tcp_end_close(&t->client);
}

/* One byte of an answer; false: no pod answered it. */
static bool client_reads_byte(struct talk *t, uint8_t byte)
{
	struct request *r = &t->request[t->answered];
	size_t at = t->answer_read++;

	if (!at) {
		t->read_edited = r->edited_len;
		t->read_as_is = !r->edited_len || r->may_pass;
	}
	t->read_edited = t->read_edited && at < r->edited_len && byte == (uint8_t)r->edited[at];
	t->read_as_is = t->read_as_is && at < r->answer_len && byte == (uint8_t)r->answer[at];
	if (t->answer_read == (t->read_edited ? r->edited_len : r->answer_len)) {
		t->answered++;
		t->answer_read = 0;
	}
	return t->read_edited || t->read_as_is;
}

static void client_reads(struct model *m, struct talk *t)
{
	uint32_t n = tcp_end_readable(&t->client);
	const uint8_t *bytes = t->client.in + t->client.read;

	if (t->read_at > m->now)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (t->answered == t->served)
			return breach(m, "the client reads more than was answered", "");
		if (!client_reads_byte(t, bytes[i]))
			return breach(m, "the client reads a byte that no pod answered", "");
	}
	if (n)
		tcp_end_take(&t->client, n);
	if (tcp_end_peer_closed(&t->client) && t->answered < t->requests)
		breach(m, "the client's connection ends before all is answered", "");
	if ((t->answered == t->requests || tcp_end_peer_closed(&t->client)) && !t->request[t->requests - 1].last && !t->client.closed)
		tcp_end_close(&t->client);
	if (tcp_end_peer_closed(&t->client) && !t->client.closed)
		tcp_end_close(&t->client);
}

static void pod_reads(struct model *m, struct conn *c)
{
	struct talk *t = c->talk;

	while (tcp_end_readable(&c->end) && !(c->busy && c->read == t->request[c->request].recast_len)) {
		const struct request *r;

		if (!c->busy) {
			if (t->begun == t->requests || t->served < t->begun)
				return breach(m, "a pod reads what is no request", "");
			c->busy = true;
			c->request = t->begun++;
			c->read = c->written = 0;
			if (c->pod / TWINS != t->request[c->request].version)
				return breach(m, "a request reaches another version", "");
		}
		r = &t->request[c->request];
		if (c->end.in[c->end.read] != (uint8_t)r->recast[c->read])
			return breach(m, "a pod reads a byte that it must not read", "");
		c->read++;
		tcp_end_take(&c->end, 1);
		if (c->read == r->recast_len) {
			t->served++;
			c->write_at = m->now + one_of(m, OF_ANSWER, (t->number * REQUESTS + c->request) * 8 + 6, 8);
		}
	}
	if (tcp_end_peer_closed(&c->end) && !c->busy && !c->end.closed)
		tcp_end_close(&c->end);
}

static void pod_writes(struct model *m, struct conn *c)
{
	const struct request *r = &c->talk->request[c->request];
	size_t n;

	if (c->end.state != TCP_END_OPEN || !c->busy || c->read < r->recast_len || c->write_at > m->now)
		return;
	n = cut(m, r->answer_len - c->written, &c->write_at);
	tcp_end_write(&c->end, r->answer + c->written, n);
	c->written += n;
	if (c->written < r->answer_len)
		return;
	c->busy = false;
	if (r->last)
		tcp_end_close(&c->end);
}

static void client_acts(struct model *m, struct talk *t)
{
	struct pkt p;

	if (!t->started || t->start_at > m->now)
		return;
	if (t->client.state == TCP_END_LISTEN)
		tcp_end_connect(&t->client, m->now);
	if (t->aborts && !t->pod_aborts && t->abort_at <= m->now && t->client.state == TCP_END_OPEN) {
		p = tcp_end_abort(&t->client, m->now);
		trace(m, "client", &t->client, true, &p, "");
		fly(m, CLIENT_TO_US, t, &p, 1);
	}
	tcp_end_tick(&t->client, m->now);
	client_reads(m, t);
	client_writes(m, t);
	while (tcp_end_next(&t->client, m->now, &p))
		trace(m, t->number ? "client 1" : "client 0", &t->client, true, &p, send_over(m, CLIENT_TO_US, t, &p));
	if (t->client.timeouts < STANDS_STILL)
		return;
	if (!t->direct || !t->client.closed || t->answered < t->requests)
		breach(m, "the run stands still: nothing helps the client", "");
	tcp_end_abort(&t->client, m->now); /* its port is a leg's: Linux forgets such a FIN, too */
}

static void pod_acts(struct model *m, struct conn *c)
{
	struct pkt p;

	if (c->talk->pod_aborts && c->talk->abort_at <= m->now && c->end.state == TCP_END_OPEN && !tcp_end_over(&c->end)) {
		c->talk->abort_at = UINT64_MAX; /* one is enough */
		p = tcp_end_abort(&c->end, m->now);
		trace(m, pod_name[c->pod], &c->end, true, &p, "");
		fly(m, POD_TO_US, c->talk, &p, 1);
	}
	tcp_end_tick(&c->end, m->now);
	pod_reads(m, c);
	pod_writes(m, c);
	pod_reads(m, c);
	while (tcp_end_next(&c->end, m->now, &p))
		trace(m, pod_name[c->pod], &c->end, true, &p, send_over(m, POD_TO_US, c->talk, &p));
	if (c->end.state == TCP_END_SYN_RECEIVED && c->end.timeouts > SYN_ACK_RETRIES) {
		tcp_end_abort(&c->end, m->now);
	} else if (c->end.timeouts >= STANDS_STILL && c->end.state != TCP_END_RESET) {
		if (!c->talk->aborts && !client_done(c->talk)) /* Linux forgets the end of a connection, too (tcp_orphan_retries) */
			breach(m, "the run stands still: nothing helps a pod", "");
		tcp_end_abort(&c->end, m->now);
	}
}

/* ---- a run -------------------------------------------------------------------------------------------------------------------------------------- */

static uint64_t sooner(uint64_t at, uint64_t other, uint64_t now)
{
	return other > now && other < at ? other : at;
}

/* When something happens next, behind now; UINT64_MAX: never. */
static uint64_t next_time(const struct model *m)
{
	uint64_t at = UINT64_MAX;

	uint64_t since;

	for (size_t i = 0; i < FLIGHTS; i++)
		if (m->flight[i].used)
			at = sooner(at, m->flight[i].at, m->now);
	if (m->tick_at != UINT64_MAX && (talk_waits(&m->talk[0], &since) || talk_waits(&m->talk[1], &since)))
		at = sooner(at, m->tick_at > m->now ? m->tick_at : m->now + 1, m->now);
	for (size_t i = 0; i < TALKS; i++) {
		const struct talk *t = &m->talk[i];

		if (!t->started)
			continue;
		at = sooner(at, t->read_at, m->now); /* what came before a reset can be read behind it */
		if (t->client.state == TCP_END_RESET)
			continue;
		at = sooner(at, tcp_end_timer(&t->client), m->now);
		at = sooner(at, t->start_at, m->now);
		at = sooner(at, t->write_at, m->now);
		at = sooner(at, t->aborts ? t->abort_at : UINT64_MAX, m->now);
	}
	for (size_t i = 0; i < m->conns; i++) {
		at = sooner(at, tcp_end_timer(&m->conn[i]->end), m->now);
		if (m->conn[i]->busy)
			at = sooner(at, m->conn[i]->write_at, m->now);
	}
	return at;
}

/* The next packet that arrives now, in the order in which they were sent. */
static struct flight *next_flight(const struct model *m)
{
	struct flight *next = NULL;

	for (struct flight *f = m->flight; f < m->flight + FLIGHTS; f++)
		if (f->used && f->at <= m->now && (!next || f->at < next->at || (f->at == next->at && f->order < next->order)))
			next = f;
	return next;
}

static void act(struct model *m)
{
	for (size_t i = 0; i < TALKS; i++)
		client_acts(m, &m->talk[i]);
	for (size_t i = 0; i < m->conns; i++)
		pod_acts(m, m->conn[i]);
}

/* Runs until nothing is left to happen. */
static void play(struct model *m)
{
	for (uint32_t step = 0; !m->breach; step++) {
		struct flight *f = next_flight(m);

		if (f) {
			arrive(m, f);
			act(m);
			continue;
		}
		act(m);
		f = next_flight(m);
		if (f)
			continue;
		if (m->tick_at <= m->now)
			tick(m);
		m->now = next_time(m);
		if (m->now == UINT64_MAX)
			return;
		if (m->now > RUN_MAX_MS || step > STEPS_MAX)
			breach(m, "the run stands still: it does not end", "");
	}
}

/* Lets the sweep have the flows of talks whose client left without a word. */
static void sweep(struct model *m)
{
	uint8_t frame[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame));

	for (size_t i = 0; i < TALKS; i++) {
		struct shunt_flow_key key = flow_key(&m->talk[i]);
		const struct tcp_end *c = &m->talk[i].client;
		struct shunt_flow flow;

		if (m->talk[i].started && m->talk[i].aborts && !bpf_map_lookup_elem(flow_fd, &key, &flow))
			bpfrun_silence(m->run, &c->addr, c->port, &c->peer, c->peer_port, SHUNT_IDLE_BOUND_S + 1);
	}
	assert_int_equal(bpf_prog_test_run_opts(sweep_fd, &opts), 0);
}

/* What the table of users must add up to, of one version. */
struct sums {
	uint64_t requests, timed, errors, refusals, conversions;
	uint32_t users; /* a bit each */
};

static void forget_users(void)
{
	struct shunt_user_key key;

	while (!bpf_map_get_next_key(user_fd, NULL, &key))
		assert_int_equal(bpf_map_delete_elem(user_fd, &key), 0);
}

static struct sums due_sums(const struct model *m, uint32_t version)
{
	struct sums due = {};

	for (const struct talk *t = m->talk; t < m->talk + TALKS; t++) {
		for (uint32_t n = 0; t->started && !t->direct && n < t->requests; n++) {
			const struct request *r = &t->request[n];

			if (r->version != version)
				continue;
			due.requests++;
			due.timed++;
			due.errors += r->status / 100 == 5;
			due.refusals += r->status / 100 == 4;
			due.conversions += r->post && !t->number && r->status / 100 == 2;
			due.users |= 1u << r->user;
		}
	}
	return due;
}

static struct sums read_sums(uint32_t version, uint32_t *ret_users)
{
	struct shunt_user_key key, *last = NULL;
	struct sums sums = {};
	struct shunt_user user;

	*ret_users = 0;
	for (; !bpf_map_get_next_key(user_fd, last, &key); last = &key) {
		if (key.trial != TRIAL || key.series != version || bpf_map_lookup_elem(user_fd, &key, &user))
			continue;
		++*ret_users;
		sums.requests += user.requests;
		sums.timed += user.timed;
		sums.errors += user.errors;
		sums.refusals += user.refusals;
		sums.conversions += user.conversions;
	}
	return sums;
}

/* Of talks that nobody aborted: what they were asked is known, and all of it was answered. */
static void check_users(struct model *m)
{
	for (uint32_t version = 0; version < VERSIONS; version++) {
		struct sums due = due_sums(m, version), sums;
		uint32_t users;
		char text[128];

		sums = read_sums(version, &users);
		if (sums.requests == due.requests && sums.timed == due.timed && sums.errors == due.errors && sums.refusals == due.refusals &&
		    sums.conversions == due.conversions && users == (uint32_t)__builtin_popcount(due.users))
			continue;
		snprintf(text, sizeof(text), "v%u: %" PRIu64 " requests of %u users, due %" PRIu64 " of %u; %" PRIu64 " timed", version + 1, sums.requests, users,
			 due.requests, (unsigned int)__builtin_popcount(due.users), sums.timed);
		breach(m, "the users' sums are wrong", text);
	}
}

static void check_end(struct model *m, bool holds)
{
	for (size_t i = 0; i < TALKS && !m->breach; i++) {
		const struct talk *t = &m->talk[i];

		if (!t->started)
			continue;
		if (!t->aborts && t->answered < t->requests)
			breach(m, "the run stands still: all are silent and not all is answered", t->number ? "client 1" : "client 0");
		else if (!t->aborts && !tcp_end_over(&t->client))
			breach(m, "the run stands still: the client's connection does not end", t->number ? "client 1" : "client 0");
	}
	if (!m->breach && !m->talk[0].aborts && !m->talk[1].aborts)
		check_users(m);
	if (!m->breach)
		sweep(m);
	if (!m->breach && bpfrun_flows(m->run))
		breach(m, "a flow is left", "");
	if (!m->breach && bpfrun_legs(m->run))
		breach(m, "a leg's entry is left", "");
	if (!m->breach && holds && bpfrun_holds(m->run))
		breach(m, "a hold is left", "");
}

static void release(struct model *m)
{
	for (size_t i = 0; i < TALKS; i++)
		if (m->talk[i].started)
			tcp_end_release(&m->talk[i].client);
	for (size_t i = 0; i < m->conns; i++) {
		tcp_end_release(&m->conn[i]->end);
		free(m->conn[i]);
	}
	memset(m->flight, 0, FLIGHTS * sizeof(*m->flight));
}

/* Where the client is, as the agent would tell the programs. */
static void set_place(struct model *m)
{
	const struct shunt_place host = { .kind = SHUNT_PLACE_HOST };
	static const uint32_t own[SHUNT_FAMILIES][4] = { SHUNT_OWN_V4, SHUNT_OWN_V6 };

	m->from = m->talk[0].client.addr;
	if (!m->on_host) {
		bpf_map_delete_elem(place_fd, &m->run->ifindex);
		return;
	}
	assert_int_equal(bpf_map_update_elem(place_fd, &m->run->ifindex, &host, BPF_ANY), 0);
	for (int i = 0; i < 4; i++)
		((uint32_t *)m->from.ip)[i] = htonl(own[m->family][i]);
}

/* One run, from a seed or from a list of choices; m->breach says how it ended. */
static void run_once(struct model *m, struct bpfrun *run, uint64_t seed, const struct choices *replayed, bool holds)
{
	static const uint16_t permille[] = { 0, 10, 50, 150 };
	static struct flight flights[FLIGHTS];
	bool traced = m->trace;

	memset(m, 0, sizeof(*m));
	m->run = run;
	m->seed = seed;
	m->replayed = replayed;
	m->trace = traced;
	m->flight = flights;
	m->now = 1;
	m->family = one_of(m, OF_RUN, 0, 2) ? SHUNT_V6 : SHUNT_V4;
	m->faults_permille = permille[one_of(m, OF_RUN, 1, 4)];
	m->bad_how = rarely(m, OF_RUN, 2, 100, 2);
	m->bad_twin = one_of(m, OF_RUN, 3, TWINS);
	m->tick_at = one_of(m, OF_RUN, 5, 2) ? SHUNT_TICK_MS : UINT64_MAX;
	m->on_host = one_of(m, OF_RUN, 6, 8) == 1;
	make_talk(m, 0);
	if (one_of(m, OF_RUN, 4, 4) == 1)
		make_talk(m, 1);
	/* What a pod says to a reset that it does not believe would reach the client's own connection on that tuple. */
	if (m->talk[1].direct)
		m->talk[0].aborts = m->talk[0].pod_aborts = false;
	set_place(m);
	forget_users();
	play(m);
	check_end(m, holds);
	release(m);
}

/* ---- shrinking ------------------------------------------------------------------------------------------------------------------------------ */

/* Still the same failure, from clean tables? */
static bool fails_still(struct model *m, struct bpfrun *run, uint64_t seed, const struct choices *choices, const char *breach_known)
{
	bpfrun_forget(run);
	run_once(m, run, seed, choices, true);
	return m->breach && !strcmp(m->breach, breach_known);
}

/* Delta debugging: leaves out ever smaller parts of the list while the run still fails, then makes values smaller. */
static void shrink(struct model *m, struct bpfrun *run, uint64_t seed, struct choices *c, const char *breach_known)
{
	static struct choices less;

	for (size_t part = (c->count + 1) / 2; part;) {
		bool shrunk = false;

		for (size_t at = 0; at < c->count;) {
			size_t n = part < c->count - at ? part : c->count - at;

			less = *c;
			memmove(less.list + at, less.list + at + n, (less.count - at - n) * sizeof(*less.list));
			less.count -= n;
			if (fails_still(m, run, seed, &less, breach_known)) {
				*c = less;
				shrunk = true;
			} else {
				at += n;
			}
		}
		if (!shrunk || part > 1)
			part = part == 1 ? 0 : (part + 1) / 2;
	}
	for (size_t i = 0; i < c->count; i++) {
		less = *c;
		for (less.list[i].value = 1; less.list[i].value < c->list[i].value; less.list[i].value++)
			if (fails_still(m, run, seed, &less, breach_known))
				c->list[i] = less.list[i];
	}
}

static void print_choices(const struct choices *c)
{
	print_error("\t{ \"sentence\", \"");
	for (size_t i = 0; i < c->count; i++)
		print_error("%s%u.%u=%u", i ? " " : "", c->list[i].kind, c->list[i].index, c->list[i].value);
	print_error("\" },\n");
}

static void read_choices(const char *text, struct choices *ret)
{
	int used;

	ret->count = 0;
	for (; *text; text += used) {
		unsigned int kind, index, value;

		assert_int_equal(sscanf(text, "%u.%u=%u%n", &kind, &index, &value, &used), 3);
		ret->list[ret->count++] = (struct choice){ kind, index, value };
		used += strspn(text + used, " ");
	}
}

/* Says all there is to know about a failing run, and fails. */
static void report(struct model *m, struct bpfrun *run, uint64_t seed)
{
	static struct choices c;
	const char *known = m->breach;
	char where[sizeof(m->where)];

	c = m->taken;
	snprintf(where, sizeof(where), "%s", m->where);
	print_error("MODEL_SEED=%" PRIu64 " fails: %s; %s\n", seed, known, where);
	if (fails_still(m, run, seed, &c, known)) {
		shrink(m, run, seed, &c, known);
		m->trace = true;
		fails_still(m, run, seed, &c, known);
		for (uint32_t i = 0; i < SHUNT_R_MAX; i++)
			if (bpfrun_reason(run, i))
				print_error("%" PRIu64 " %s\n", bpfrun_reason(run, i), (const char *[]){
#define X(name, sort, text) #name,
					SHUNT_REASONS(X)
#undef X
				}[i]);
		print_choices(&c);
	} else {
		print_error("it does not fail again from clean tables\n");
	}
	fail_msg("%s", known);
}

/* ---- tests -------------------------------------------------------------------------------------------------------------------------------------- */

static struct model model;

static void open_maps(void)
{
	flow_fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_flow");
	leg_fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_leg");
	sweep_fd = bpf_obj_get("/sys/fs/bpf/shunt/prog/" SHUNT_PROG_SWEEP);
	wait_fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_wait");
	user_fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_user");
	place_fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_place");
	assert_true(flow_fd >= 0 && leg_fd >= 0 && wait_fd >= 0 && user_fd >= 0 && place_fd >= 0 && sweep_fd >= 0);
}

static void close_maps(void)
{
	close(flow_fd);
	close(leg_fd);
	close(wait_fd);
	close(user_fd);
	close(place_fd);
	close(sweep_fd);
}

static uint64_t number_from_environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/*
 * A SYN cookie of always the same connection: it tells the minute that cookies are made of. A client whose handshake's ACK and first segment are lost while it
 * changes is reset: what comes from beyond can be told from a stranger's packet by cookies of the same minute only (known, and rare).
 */
static uint32_t cookie_of_now(struct bpfrun *run)
{
	static struct bpfrun_result r;
	const struct pkt syn = { .saddr = addr_of(SHUNT_V4, "10.77.%u.%u", "", 1, 3), .daddr = frontend_of(SHUNT_V4, 0), .sport = 1, .dport = 80,
				 .flags = SYN, .seq = 1, .mss = 1460 };

	bpfrun_packet(run, FROM_CLIENT, &syn, &r);
	return r.out.pkt.seq;
}

static void test_every_end_sees_what_it_must_whatever_the_network_does(void **state)
{
	static unsigned int group;
	uint64_t packets = number_from_environment("MODEL_PACKETS", PACKETS), seed = number_from_environment("MODEL_SEED", 1);
	uint64_t first = seed, done = 0, started = programs_now();
	uint32_t cookie = cookie_of_now(*state), last;

	open_maps();
	model.trace = false;
	if (group++ && packets > PACKETS_SECOND_COMPILER)
		packets = PACKETS_SECOND_COMPILER;
	for (; done < packets; seed++) {
		if (seed % FORGET_EVERY == 0)
			bpfrun_forget(*state);
		run_once(&model, *state, seed, NULL, seed % HOLDS_EVERY == 0);
		last = cookie;
		cookie = cookie_of_now(*state);
		if (model.breach && (cookie != last || model.stalled)) {
			bpfrun_forget(*state); /* it remembers the ended flows' numbers */
			run_once(&model, *state, seed, NULL, false);
		}
		done += model.packets;
		if (model.breach)
			report(&model, *state, seed);
	}
	print_message("%" PRIu64 " packets in %" PRIu64 " runs, %.1f s\n", done, seed - first, (double)(programs_now() - started) / 1e9);
	close_maps();
}

/* Runs that failed once, shrunk. */
static const struct {
	const char *sentence, *choices;
} found[] = {
	{ "nothing happens to one request", "" },
	{ "a retransmission merges a lost request with the pipelined one behind it, which is held",
	  "1.7=1 1.8=1 1.11=5 1.12=1 1.13=2 2.1=7 3.2=7 4.1=4 7.2=4 9.2=2 4.7=3 4.11=4 8.13=1" },
	{ "packets of an answer are lost behind us, and the next request is sent when the answer is complete here",
	  "1.11=3 2.4=2 2.8=2 2.10=4 2.12=1 2.17=5 0.4=1 1.43=3 1.44=1 1.45=1 1.50=14 2.68=2 3.73=4 2.80=2 2.81=4 2.82=1 2.84=2 3.81=4 2.92=2 8.9=1 9.20=3 7.20=1" },
	{ "a segment crosses into the next request while a piece of an answer's head lies in the hold",
	  "1.3=1 1.7=1 1.8=1 1.11=5 1.12=1 1.13=2 2.0=2 2.2=3 2.4=3 3.0=2 3.1=4 3.4=3 2.9=7 2.12=2 3.9=5 3.10=7 2.17=4 2.20=2 3.16=4 3.18=7 2.28=3 0.4=1 1.42=1 1.43=1 "
	  "1.50=3 2.73=5 4.1=4 9.0=2 8.1=5 6.3=6 3.6=1 4.2=1 9.9=1 7.5=1 7.11=1 6.8=6 4.7=4 8.19=5 7.23=1 8.26=2 7.30=1 6.28=3 9.42=5 9.47=2 9.51=2 6.42=1 9.55=1 "
	  "9.57=1 7.53=2 7.56=1 8.53=1 8.55=1 8.58=1 8.62=2 3.22=1 6.55=1 7.65=1 4.28=1 9.72=5 7.72=1" },
	{ "the first segment of a connection is lost, and the second comes alone", "0.4=1 1.50=3 2.64=2 2.65=4 2.66=2 6.1=1 6.3=1" },
	{ "the same, and the second has the client's FIN", "1.7=1 1.11=2 2.17=5 0.4=1 1.46=1 1.50=16 2.65=5 4.10=1 4.11=2 6.7=1" },
	{ "the first segment of a connection is one byte, and is lost", "2.0=2 2.1=5 2.2=4 0.4=1 4.2=1 6.6=1" },
	{ "an ACK behind the pod's FIN overtakes it",
	  "1.11=2 1.14=1 2.4=1 2.9=7 3.9=3 3.17=4 3.18=7 0.4=1 1.43=1 1.44=1 1.45=1 3.74=7 6.0=1 6.11=2 8.11=5 5.19=1 3.6=1 9.19=1 3.22=1" },
	{ "the pod's FIN overtakes the end of its answer", "0.4=1 1.51=1 3.65=5 9.8=1" },
	{ "an ACK rides on a pipelined packet only, which is held", "1.11=3 1.12=1 1.13=3 3.2=7 9.0=1 9.6=1" },
	{ "the client resets while requests of it are held",
	  "1.11=2 1.12=1 1.13=1 1.15=1 1.16=54 3.1=2 2.12=1 1.32=2 2.81=4 4.0=1 5.0=2 4.8=1 5.16=2" },
	{ "request and FIN come in one segment, and again", "1.14=1 7.1=1" },
	{ "the client's FIN comes again when its flow has ended",
	  "1.11=1 1.19=1 2.1=5 2.8=2 2.9=5 2.10=6 2.12=1 5.3=1 3.6=1 4.4=1 6.5=7 6.16=2 5.19=1 8.17=1 7.19=1" },
	{ "a late ACK of a flow that has ended, without timestamps", "1.3=1 1.5=1 3.0=3 7.2=2" },
	{ "a leg is challenged by a connection that the client closes", "1.11=6 2.52=4 0.4=1 1.43=2 1.46=1 2.76=4 2.80=2 2.82=3" },
	{ "a pod given up as silent answers late", "1.11=2 2.20=1 4.2=1 9.4=1" },
	{ "the client resets its own connection, a leg takes the port, and an ACK of the former comes late",
	  "1.11=2 2.4=1 2.9=5 2.12=2 0.4=1 1.42=1 1.35=1 1.39=1 1.43=6 1.47=1 1.48=23 1.50=6 2.64=2 2.66=5 3.65=4 8.4=1 4.7=4 9.19=1 6.16=7" },
	{ "a leg's SYN comes late to its pod, whose connection is another flow's by now",
	  "1.14=1 2.1=7 2.3=1 2.4=1 0.4=1 2.67=1 2.68=1 8.0=7 6.3=1" },
	{ "the client's FIN comes again when its flow has ended, and its numbers are those of a SYN cookie by chance",
	  "1.3=1 1.5=1 1.19=1 2.0=2 3.0=3 5.3=1 3.6=1 8.2=1 7.4=1" },
	{ "the client's kernel resets what a pod sends to an ended leg, whose tuple is another flow's by then",
	  "1.3=1 2.0=2 2.1=3 2.2=6 2.4=2 0.4=1 1.50=39 2.68=2 4.0=1 5.3=1 8.12=1 8.39=5" },
	{ "the client's own SYN goes to a pod that waits for the last ACK of a leg", "0.4=1 1.42=1 1.50=3 6.2=1 8.3=1" },
	{ "a request comes again when its flow has ended, and its numbers are those of a SYN cookie by chance",
	  "0.0=1 1.3=1 1.5=1 1.11=4 2.0=3 2.4=2 3.0=2 2.8=3 2.9=6 2.12=3 3.8=2 3.10=7 2.17=3 2.20=3 3.16=3 3.18=7 2.25=3 2.28=2 3.24=3 2.33=5 5.3=1 3.6=1 4.4=1 9.7=3 "
	  "6.9=7" },
	{ "a pod's reset is lost, and its client goes on", "1.21=1 7.1=1" },
	{ "the client's own SYN goes to a pod that waits for the first ACK of a leg", "2.1=5 0.4=1 1.42=1 1.50=5 9.0=1 6.3=1" },
};

static void test_what_failed_once_does_not_fail_again(void **state)
{
	static struct choices c;

	open_maps();
	model.trace = false;
	for (size_t i = 0; i < ARRAY_SIZE(found); i++) {
		read_choices(found[i].choices, &c);
		bpfrun_forget(*state);
		run_once(&model, *state, i, &c, true);
		if (!model.breach)
			continue;
		print_error("%s\n", found[i].sentence);
		report(&model, *state, i);
	}
	close_maps();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_failed_once_does_not_fail_again),
		cmocka_unit_test(test_every_end_sees_what_it_must_whatever_the_network_does),
	};

	return bpfrun_main("model", model_tables(), tests, ARRAY_SIZE(tests));
}
