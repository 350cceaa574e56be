/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Versions with several pods each, and more versions than a flow has legs: the tables of dialog.c are too small for that.
 *
 *     frontend .10:80, header userhash: user "to-1" v1, ... "to-5" v5; all others a fifth each
 *     frontend .11:443, connections: v3
 *     v<n> has six pods: 10.77.<10 + n>.<2...7>, fd00:77:<10 + n>::<2...7>, port 8080 + n
 */
#include "../lib/dialog.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "plan/maglev.h"
#include "util/addr.h"
#include "util/cleanup.h"

enum { VERSIONS = 5, EACH = 6, PODS = VERSIONS * EACH * SHUNT_FAMILIES, LISTS = VERSIONS * SHUNT_FAMILIES };

#define OK0 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct shunt_addr addr_of(const char *text)
{
	struct shunt_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

/* The pods and the ring of one version and family. */
static void set_ring(struct tables *t, int version, int family)
{
	char text[EACH][32], *names[EACH];
	size_t list = version * SHUNT_FAMILIES + family;
	uint16_t *ring = t->rings[list].pod;

	for (int i = 0; i < EACH; i++) {
		snprintf(text[i], sizeof(text[i]), family == SHUNT_V6 ? "fd00:77:%d::%d" : "10.77.%d.%d", 11 + version, 2 + i);
		names[i] = text[i];
		t->pods[list * EACH + i] = (struct shunt_pod){ .addr = addr_of(text[i]), .port = htons(8081 + version) };
	}
	assert_int_equal(maglev_fill((const char *const *)names, EACH, ring, SHUNT_RING_SIZE), 0);
	for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
		ring[slot] += list * EACH;
}

static void set_version(struct tables *t, int version)
{
	struct tables_rule *rule = &t->rules[version];

	set_ring(t, version, SHUNT_V4);
	set_ring(t, version, SHUNT_V6);
	t->versions[version] = (struct tables_version){
		.value = { .series = version, .fallback = SHUNT_NONE, .ring = { version * SHUNT_FAMILIES, version * SHUNT_FAMILIES + 1 } },
		.pods = { EACH, EACH },
	};
	snprintf(t->series[version].route, sizeof(t->series[version].route), "default/many");
	snprintf(t->series[version].version, sizeof(t->series[version].version), "v%d", version + 1);
	t->splits[1 + version] = (struct shunt_split){ .salt = { 7, version }, .shares = 1, .share = { { .end = 1ull << 32, .version = version } } };
	*rule = (struct tables_rule){ .length = 5, .value.split = 1 + version };
	snprintf((char *)rule->id, sizeof(rule->id), "to-%d", version + 1);
	t->splits[0].share[version] = (struct shunt_share){ .end = ((version + 1ull) << 32) / VERSIONS, .version = version };
}

static const struct tables *tables(void)
{
	static struct tables_frontend frontends[2 * SHUNT_FAMILIES];
	static struct shunt_route routes[] = { { .identity = SHUNT_ID_HEADER, .name_len = 8, .name = "userhash", .split = 0, .rules = VERSIONS }, { .split = 3 } };
	static struct shunt_split splits[1 + VERSIONS] = { { .salt = { 1, 2 }, .shares = VERSIONS } };
	static struct tables_version versions[VERSIONS];
	static struct tables_rule rules[VERSIONS];
	static struct shunt_ring rings[LISTS];
	static struct shunt_pod pods[PODS];
	static struct tables t = {
		.frontends = frontends, .frontend_count = 2 * SHUNT_FAMILIES, .routes = routes, .route_count = 2, .rules = rules, .rule_count = VERSIONS,
		.splits = splits, .split_count = 1 + VERSIONS, .versions = versions, .version_count = VERSIONS, .rings = rings, .ring_count = LISTS,
		.pods = pods, .pod_count = PODS,
	};

	for (int version = 0; version < VERSIONS; version++)
		set_version(&t, version);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		frontends[family].key.addr = addr_of(family == SHUNT_V6 ? "fd00:96::10" : "10.96.0.10");
		frontends[family].key.port = htons(80);
		frontends[family].value = (struct shunt_frontend){ .kind = SHUNT_KIND_REQUEST, .routes = 1 };
		frontends[SHUNT_FAMILIES + family].key.addr = addr_of(family == SHUNT_V6 ? "fd00:96::11" : "10.96.0.11");
		frontends[SHUNT_FAMILIES + family].key.port = htons(443);
		frontends[SHUNT_FAMILIES + family].value = (struct shunt_frontend){ .kind = SHUNT_KIND_CONNECTION, .routes = 1, .route = 1 };
	}
	return &t;
}

static void head_of(const char *user, char head[256])
{
	snprintf(head, 256, "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: %s\r\n\r\n", user);
}

static struct shunt_answer ask(const struct dialog *d, const char *head)
{
	struct explain_request request = {
		.client = d->client, .frontend = d->frontend, .client_port = d->cport, .frontend_port = d->fport, .head = head,
	};
	struct shunt_answer answer;

	assert_int_equal(datapath_explain(d->run->datapath, &request, &answer), 0);
	assert_int_equal(answer.verdict, 0);
	return answer;
}

/* The pod that explain names for a head. */
static struct dialog_pod explained(const struct dialog *d, const char *head)
{
	struct shunt_answer answer = ask(d, head);
	const struct shunt_pod *pod = &tables()->pods[answer.pod];

	assert_in_range(answer.pod, 0, PODS - 1);
	assert_int_equal(answer.pod / (EACH * SHUNT_FAMILIES), answer.served);
	return (struct dialog_pod){ .addr = pod->addr, .port = ntohs(pod->port), .iss = 1000u * answer.pod, .tsval = 77u * answer.pod, .wscale = 7 };
}

/* ---- who goes where ------------------------------------------------------------------------------------------------------------------------ */

/* Invariant: explain, run by the same code on the same tables, tells the truth. The packets go through the path that real ones take. */
static void test_every_user_gets_the_version_and_pod_that_explain_names(void **state)
{
	uint64_t seed = 42;

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int user = 0; user < 200; user++) {
			struct dialog d = dialog_of(*state, family);
			struct dialog_pod pod;
			char id[32], head[256];

			seed = seed * 6364136223846793005u + 1442695040888963407u;
			snprintf(id, sizeof(id), "%0*llx", (int)(seed >> 60) + 1, (unsigned long long)(seed >> 13));
			head_of(id, head);
			d.cport = 20000 + user;
			pod = explained(&d, head);
			dialog_connects(&d);
			dialog_says(&d, head);
			dialog_expect_leg(&d, &pod, d.isn + 1);
		}
		bpfrun_forget(*state);
	}
}

static void test_a_user_keeps_its_pod_whatever_its_connection(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int user = 0; user < 10; user++) {
			struct dialog_pod pod = {};
			char id[32], head[256];

			snprintf(id, sizeof(id), "user-%d", user);
			head_of(id, head);
			for (int i = 0; i < 10; i++) {
				struct dialog d = dialog_of(*state, family);

				d.cport = 20000 + 37 * i;
				d.client.ip[15] = 2 + i;
				d.isn = 99999u * i;
				if (!i)
					pod = explained(&d, head);
				dialog_connects(&d);
				dialog_says(&d, head);
				dialog_expect_leg(&d, &pod, d.isn + 1);
			}
			bpfrun_forget(*state);
		}
	}
}

/* Chi-squared with 29 degrees of freedom: above 58.3 once in a thousand; the users are fixed, so it holds always or never. */
static void test_users_spread_over_the_pods_evenly(void **state)
{
	enum { USERS = 3000, ALL = VERSIONS * EACH };

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog d = dialog_of(*state, family);
		int users[PODS] = {};
		double off = 0;

		for (int user = 0; user < USERS; user++) {
			char id[32], head[256];

			snprintf(id, sizeof(id), "user-%d", user);
			head_of(id, head);
			users[ask(&d, head).pod]++;
		}
		for (int pod = 0; pod < PODS; pod++) {
			double due = pod / EACH % SHUNT_FAMILIES == family ? (double)USERS / ALL : 0;

			if (due == 0)
				assert_int_equal(users[pod], 0);
			else
				off += (users[pod] - due) * (users[pod] - due) / due;
		}
		assert_true(off < 58.3);
	}
}

/* ---- more versions than legs ---------------------------------------------------------------------------------------------------------------- */

struct travel {
	struct dialog d;
	struct dialog_pod pod[VERSIONS];
	bool open[VERSIONS];
	int at; /* the version of the current leg; -1: none yet */
};

static void answers(struct travel *t)
{
	dialog_pod_says(&t->d, &t->pod[t->at], OK0);
	dialog_flags(&t->d, ACK);
	dialog_expect_at_pod(&t->d, &t->pod[t->at], NULL, 0);
}

/* What was told on the way: the leg that is left, that the client has its answer; a leg that must go, a reset. */
static void expect_told(struct travel *t, int to)
{
	for (size_t i = 0; i < t->d.r.clones; i++) {
		const struct bpfrun_frame *told = &t->d.r.clone[i];
		int version = told->pkt.dport - 8081;

		assert_in_range(version, 0, VERSIONS - 1);
		if (version == t->at) {
			dialog_expect_told(&t->d, told, &t->pod[version], ACK);
			continue;
		}
		assert_int_not_equal(version, to);
		assert_true(t->open[version]);
		dialog_expect_told(&t->d, told, &t->pod[version], RST | ACK);
		t->open[version] = false;
	}
	t->d.r.clones = 0;
}

/* The next request is of a version's user. */
static void goes_to(struct travel *t, int version)
{
	uint32_t start = t->d.next;
	char id[32], head[256];

	snprintf(id, sizeof(id), "to-%d", version + 1);
	head_of(id, head);
	if (!t->open[version])
		t->pod[version] = explained(&t->d, head);
	dialog_says(&t->d, head);
	if (version == t->at) {
		dialog_expect_at_pod(&t->d, &t->pod[version], head, strlen(head));
		answers(t);
		return;
	}
	expect_told(t, version);
	if (t->open[version]) {
		t->d.r.verdict = V_PASS;
		dialog_expect_at_pod(&t->d, &t->pod[version], head, strlen(head));
	} else {
		dialog_expect_leg(&t->d, &t->pod[version], start);
		dialog_pod_accepts(&t->d, &t->pod[version], head, strlen(head));
	}
	t->open[version] = true;
	t->at = version;
	answers(t);
}

static struct travel travel_of(struct bpfrun *run, int family)
{
	struct travel t = { .d = dialog_of(run, family), .at = -1 };

	bpfrun_forget(run);
	dialog_connects(&t.d);
	return t;
}

static int open_legs(const struct travel *t)
{
	int n = 0;

	for (int i = 0; i < VERSIONS; i++)
		n += t->open[i];
	return n;
}

static void test_a_fifth_version_takes_the_place_of_an_idle_leg(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct travel t = travel_of(*state, family);

		for (int version = 0; version < SHUNT_LEGS; version++)
			goes_to(&t, version);
		assert_int_equal(open_legs(&t), SHUNT_LEGS);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_EVICTED), 0);
		goes_to(&t, SHUNT_LEGS);
		assert_int_equal(open_legs(&t), SHUNT_LEGS);
		assert_int_equal(bpfrun_legs(*state), SHUNT_LEGS);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_EVICTED), 1);
	}
}

static void test_requests_to_five_versions_in_any_order_stay_right_for_long(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct travel t = travel_of(*state, family);
		uint64_t seed = family;

		for (int i = 0; i < 300; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			goes_to(&t, (seed >> 33) % VERSIONS);
			assert_in_range(bpfrun_legs(*state), open_legs(&t), SHUNT_LEGS);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_INTERNAL), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		dialog_flags(&t.d, RST | ACK);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* ---- pods that do not take a request --------------------------------------------------------------------------------------------------------- */

/* A client whose request waits for the pod that explain names. */
static struct dialog opening(struct bpfrun *run, int family, const char *head, struct dialog_pod *pod)
{
	struct dialog d = dialog_of(run, family);

	bpfrun_forget(run);
	*pod = explained(&d, head);
	dialog_connects(&d);
	dialog_says(&d, head);
	dialog_expect_leg(&d, pod, d.isn + 1);
	return d;
}

/* The packet at hand is the SYN to another pod of the same version; `round`: it goes round to it. */
static void expect_next_pod(struct dialog *d, struct dialog_pod *pod, bool round)
{
	const struct pkt *p = &d->r.out.pkt;

	if (!memcmp(&p->daddr, &pod->addr, sizeof(pod->addr)))
		dialog_fail(d, "the same pod again");
	assert_int_equal(p->dport, pod->port);
	pod->addr = p->daddr;
	pod->iss += 7777;
	if (round) {
		assert_int_equal(d->r.verdict, V_REDIRECT);
		assert_int_equal(d->r.mark, SHUNT_MARK);
		d->r.verdict = V_PASS;
	}
	dialog_expect_leg(d, pod, d->isn + 1);
}

static void refuses(struct dialog *d, struct dialog_pod *pod)
{
	pod->sent = 0;
	dialog_pod_flags(d, pod, RST | ACK);
}

static struct shunt_count count_of(struct bpfrun *run, int version)
{
	struct series_numbers numbers;

	assert_int_equal(datapath_read_numbers(run->datapath, version, &numbers), 0);
	return numbers.count;
}

static void test_another_pod_takes_the_request_that_one_refused(void **state)
{
	char head[256];

	head_of("to-1", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct shunt_count before = count_of(*state, 0), after;
		struct dialog_pod pod;
		struct dialog d = opening(*state, family, head, &pod);

		refuses(&d, &pod);
		expect_next_pod(&d, &pod, true);
		dialog_pod_accepts(&d, &pod, head, strlen(head));
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_REFUSED), 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_POD_NEXT), 1);
		after = count_of(*state, 0);
		assert_int_equal(after.requests - before.requests, 1);
		assert_int_equal(after.errors - before.errors, 0);
		dialog_flags(&d, RST | ACK);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* Were there one that serves, it would get the request however many others do not. */
static void test_each_pod_of_a_version_is_tried_once_before_one_is_tried_again(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int user = 0; user < 30; user++) {
			struct shunt_addr tried[EACH];
			struct dialog_pod pod;
			struct dialog d;
			char name[32], head[256];

			snprintf(name, sizeof(name), "anybody-%d", user);
			head_of(name, head);
			d = opening(*state, family, head, &pod);
			for (int i = 0; i < EACH; i++) {
				tried[i] = pod.addr;
				for (int j = 0; j < i; j++)
					assert_memory_not_equal(&tried[j], &tried[i], sizeof(tried[i]));
				refuses(&d, &pod);
				expect_next_pod(&d, &pod, true);
			}
			assert_memory_equal(&pod.addr, &tried[0], sizeof(tried[0]));
		}
	}
}

static void test_a_version_whose_pods_all_refuse_resets_the_client_in_the_end(void **state)
{
	char head[256];

	head_of("to-2", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct shunt_count before = count_of(*state, 1), after;
		struct dialog_pod pod;
		struct dialog d = opening(*state, family, head, &pod);

		for (int i = 0; i < SHUNT_POD_ATTEMPTS; i++) {
			refuses(&d, &pod);
			expect_next_pod(&d, &pod, true);
		}
		refuses(&d, &pod);
		if (d.r.verdict != V_PASS || d.r.out.why || !d.r.out.pkt.to_client || !(d.r.out.pkt.flags & RST) || d.r.out.pkt.seq != d.received)
			dialog_fail(&d, "no reset for the client");
		after = count_of(*state, 1);
		assert_int_equal(after.requests - before.requests, 1);
		assert_int_equal(after.aborted - before.aborted, 1);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
	}
}

/* The client's retransmission is the clock: early ones are for the same pod, one after the deadline is for the next. */
static void test_another_pod_takes_the_request_that_one_left_unanswered(void **state)
{
	char head[256];

	head_of("to-3", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod, silent;
		struct dialog d = opening(*state, family, head, &pod);

		d.next -= strlen(head);
		dialog_says(&d, head);
		dialog_expect_leg(&d, &pod, d.isn + 1);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_SILENT), 0);
		bpfrun_silence_pod(*state, &d.client, d.cport, &d.frontend, d.fport, SHUNT_POD_DEADLINE_MS);
		silent = pod;
		d.next -= strlen(head);
		dialog_says(&d, head);
		expect_next_pod(&d, &pod, false);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_SILENT), 1);
		dialog_pod_flags(&d, &silent, SYN | ACK); /* too late: at most the client's reset for it comes back */
		if (d.r.verdict == V_REDIRECT || !memcmp(&d.r.out.pkt.saddr, &d.frontend, sizeof(d.frontend)))
			dialog_fail(&d, "the silent pod is taken for the one that serves");
		dialog_pod_accepts(&d, &pod, head, strlen(head));
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
	}
}

/* ---- by time, without a packet ------------------------------------------------------------------------------------------------------------ */

/* The one frame that the tick sent goes round to a pod; it is the packet at hand from here on. */
static void tick_to_pod(struct dialog *d, unsigned int ms)
{
	bpfrun_tick(d->run, ms, &d->r);
	if (d->r.clones != 1 || d->r.copies)
		dialog_fail(d, "the tick sent something else than one packet to a pod");
	d->r.out = d->r.clone[0];
	d->r.verdict = V_PASS;
}

static void tick_sends_nothing(struct dialog *d, int ms)
{
	bpfrun_tick(d->run, ms, &d->r);
	if (d->r.clones || d->r.copies)
		dialog_fail(d, "the tick sent something");
}

/* No client packet comes, and still the request goes to the next pod when one is silent. */
static void test_a_silent_pod_is_given_up_at_its_deadline_without_the_clients_help(void **state)
{
	char head[256];

	head_of("to-3", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = opening(*state, family, head, &pod);

		tick_sends_nothing(&d, -1000); /* the leg was opened after the tick had read the clock, by another CPU */
		tick_sends_nothing(&d, 1000);
		tick_sends_nothing(&d, SHUNT_POD_DEADLINE_MS / 2);
		for (int i = 0; i < 2; i++) {
			tick_to_pod(&d, SHUNT_POD_DEADLINE_MS);
			if (!memcmp(&d.r.out.pkt.daddr, &pod.addr, sizeof(pod.addr)))
				dialog_fail(&d, "the silent pod is asked again");
			pod.addr = d.r.out.pkt.daddr;
			dialog_expect_leg(&d, &pod, d.isn + 1);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_SILENT), 2);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_POD_NEXT), 2);
		dialog_pod_accepts(&d, &pod, head, strlen(head));
		tick_sends_nothing(&d, 10 * SHUNT_POD_DEADLINE_MS); /* never again once a pod may have had a byte */
		assert_int_equal(bpfrun_waits(*state), 0);
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		dialog_expect_at_pod(&d, &pod, NULL, 0);
	}
}

static void test_when_all_pods_stay_silent_the_client_is_reset(void **state)
{
	char head[256];

	head_of("to-3", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = opening(*state, family, head, &pod);
		int syns = 0;

		for (bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &d.r); d.r.clones == 1 && d.r.clone[0].pkt.flags == SYN && !d.r.copies; syns++)
			bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &d.r);
		assert_int_equal(syns, 2 * SHUNT_POD_ATTEMPTS);
		if (d.r.copies != 1 || d.r.copy[0].why || !d.r.copy[0].pkt.to_client || !(d.r.copy[0].pkt.flags & RST) || d.r.copy[0].pkt.seq != d.received)
			dialog_fail(&d, "no reset for the client");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_POD_NONE), 1);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
		assert_int_equal(bpfrun_holds(*state), 0);
		tick_sends_nothing(&d, SHUNT_POD_DEADLINE_MS);
		assert_int_equal(bpfrun_waits(*state), 0);
	}
}

/* A client that has said nothing, connected to a pod by the tick. */
static struct dialog quiet_client(struct bpfrun *run, int family, struct dialog_pod *pod)
{
	struct dialog d = dialog_of(run, family);

	bpfrun_forget(run);
	dialog_connects(&d);
	tick_sends_nothing(&d, SHUNT_QUIET_MS / 2);
	tick_to_pod(&d, SHUNT_QUIET_MS);
	*pod = dialog_pod(&d, DIALOG_V1);
	pod->addr = d.r.out.pkt.daddr;
	pod->port = d.r.out.pkt.dport;
	dialog_expect_leg(&d, pod, d.isn + 1);
	assert_int_equal(bpfrun_reason(run, SHUNT_R_CLIENT_QUIET), 1);
	return d;
}

/* The pod's SYN-ACK gets a bare ACK. */
static void accepts_early(struct dialog *d, struct dialog_pod *pod)
{
	dialog_pod_flags(d, pod, SYN | ACK);
	if (d->r.verdict != V_REDIRECT || d->r.mark != SHUNT_MARK || d->r.out.pkt.flags != ACK || d->r.out.pkt.len || d->r.out.pkt.seq != pod->received ||
	    d->r.out.pkt.ack != pod->sent)
		dialog_fail(d, "no bare ACK for the pod");
}

static void test_a_server_that_speaks_first_is_heard(void **state)
{
	static const char hello[] = "220 mail ESMTP\r\n", word[] = "EHLO x\r\n";

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod;
		struct dialog d = quiet_client(*state, family, &pod);

		accepts_early(&d, &pod);
		tick_sends_nothing(&d, 10 * SHUNT_QUIET_MS);
		dialog_pod_says(&d, &pod, hello);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_SERVER_FIRST), 1);
		dialog_says(&d, word);
		dialog_expect_at_pod(&d, &pod, word, strlen(word));
		dialog_pod_says(&d, &pod, hello);
		assert_int_equal(bpfrun_waits(*state), 0);
	}
}

/* A browser's spare connection: the request on it goes to its own version, whatever pod was connected meanwhile, and in whatever state that is. */
static void test_a_quiet_clients_request_still_goes_to_its_version(void **state)
{
	char head[256];

	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (int open = 0; open < 2; open++) {
			for (int version = 1; version <= 3; version++) {
				struct dialog_pod early, pod;
				struct dialog d = quiet_client(*state, family, &early);
				char user[8];

				snprintf(user, sizeof(user), "to-%d", version);
				head_of(user, head);
				if (open)
					accepts_early(&d, &early);
				pod = explained(&d, head);
				dialog_says(&d, head);
				if (pod.port != early.port) { /* another version's port: a leg of its own, and the early one is reset */
					assert_int_equal(d.r.clones, 1);
					assert_true(d.r.clone[0].pkt.flags & RST);
					dialog_expect_leg(&d, &pod, d.isn + 1);
					dialog_pod_accepts(&d, &pod, head, strlen(head));
				} else if (open) {
					if (d.r.mark == SHUNT_MARK)
						d.r.verdict = V_PASS;
					dialog_expect_at_pod(&d, &early, head, strlen(head));
					pod = early;
				} else {
					assert_int_equal(d.r.verdict, V_DROP);
					dialog_pod_accepts(&d, &early, head, strlen(head));
					pod = early;
				}
				dialog_pod_says(&d, &pod, OK0);
				dialog_flags(&d, ACK);
				dialog_expect_at_pod(&d, &pod, NULL, 0);
				assert_int_equal(bpfrun_reason(*state, SHUNT_R_BIND), 1);
				assert_int_equal(bpfrun_reason(*state, SHUNT_R_REBIND), 0);
				assert_int_equal(bpfrun_reason(*state, SHUNT_R_SERVER_FIRST), 0);
				assert_int_equal(bpfrun_legs(*state), 1);
			}
		}
	}
}

/* As when it is terminating: the plan has no place for it any more, its connections have. */
static const struct tables *tables_without(uint32_t pod)
{
	static struct shunt_ring rings[LISTS];
	static struct tables t;
	uint32_t list = pod / EACH, other = list * EACH + (pod + 1) % EACH;

	t = *tables();
	memcpy(rings, t.rings, sizeof(rings));
	t.rings = rings;
	for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
		if (rings[list].pod[slot] == pod)
			rings[list].pod[slot] = other;
	return &t;
}

static void test_a_pod_that_leaves_the_plan_keeps_its_connections_and_gets_no_new_ones(void **state)
{
	char head[256];

	head_of("to-2", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct dialog_pod pod, next;
		struct dialog d = opening(*state, family, head, &pod), later;

		dialog_pod_accepts(&d, &pod, head, strlen(head));
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		bpfrun_commit(*state, tables_without(ask(&d, head).pod));
		for (int i = 0; i < 3; i++) {
			dialog_says(&d, head);
			dialog_expect_at_pod(&d, &pod, head, strlen(head));
			dialog_pod_says(&d, &pod, OK0);
		}
		later = dialog_of(*state, family);
		later.cport++;
		next = explained(&later, head);
		assert_memory_not_equal(&next.addr, &pod.addr, sizeof(pod.addr));
		dialog_connects(&later);
		dialog_says(&later, head);
		dialog_expect_leg(&later, &next, later.isn + 1);
		bpfrun_commit(*state, tables());
	}
}

/* Its last pod terminates, and no other version stands in: who is connected is served on, who comes now is not. */
static void test_a_version_without_a_pod_in_the_plan_serves_whom_it_has(void **state)
{
	char head[256];

	head_of("to-2", head);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		static struct tables_version versions[VERSIONS];
		struct dialog_pod pod;
		struct dialog d = opening(*state, family, head, &pod), later;
		struct tables t = *tables();

		dialog_pod_accepts(&d, &pod, head, strlen(head));
		dialog_pod_says(&d, &pod, OK0);
		dialog_flags(&d, ACK);
		memcpy(versions, t.versions, sizeof(versions));
		versions[1].value.ring[family] = versions[1].value.near[family] = SHUNT_NONE;
		t.versions = versions;
		bpfrun_commit(*state, &t);
		for (int i = 0; i < 3; i++) {
			dialog_says(&d, head);
			dialog_expect_at_pod(&d, &pod, head, strlen(head));
			dialog_pod_says(&d, &pod, OK0);
			dialog_flags(&d, ACK);
			dialog_expect_at_pod(&d, &pod, NULL, 0);
		}
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_NO_POD), 0);
		later = dialog_of(*state, family);
		later.cport++;
		dialog_connects(&later);
		dialog_says(&later, head);
		if (later.r.verdict != V_REDIRECT || !(later.r.out.pkt.flags & RST))
			dialog_fail(&later, "no reset for the newcomer");
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_NO_POD), 1);
		bpfrun_commit(*state, tables());
	}
}

/* In mid-connection, too: the leg that is left stays as it is, and serves again. */
static void test_a_refusal_in_mid_connection_means_another_pod(void **state)
{
	char one[256], two[256];

	head_of("to-1", one);
	head_of("to-2", two);
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct travel t = travel_of(*state, family);
		uint32_t start;

		goes_to(&t, 0);
		start = t.d.next;
		t.pod[1] = explained(&t.d, two);
		dialog_says(&t.d, two);
		expect_told(&t, 1);
		dialog_expect_leg(&t.d, &t.pod[1], start);
		refuses(&t.d, &t.pod[1]);
		assert_int_equal(t.d.r.verdict, V_REDIRECT);
		assert_memory_not_equal(&t.d.r.out.pkt.daddr, &t.pod[1].addr, sizeof(struct shunt_addr));
		t.pod[1].addr = t.d.r.out.pkt.daddr;
		t.d.r.verdict = V_PASS;
		dialog_expect_leg(&t.d, &t.pod[1], start);
		dialog_pod_accepts(&t.d, &t.pod[1], two, strlen(two));
		t.at = 1;
		t.open[1] = true;
		answers(&t);
		goes_to(&t, 0);
		goes_to(&t, 1);
	}
}

/* ---- pods that do not take a connection ------------------------------------------------------------------------------------------------------ */

/* A client that opens a connection to the connection frontend; `pod` is where its SYN, the packet at hand, goes to. */
struct caller {
	struct bpfrun *run;
	struct pkt syn; /* as the client sent it */
	struct shunt_addr pod;
	struct bpfrun_result r;
};

static void fail_caller(const struct caller *c, const char *what)
{
	const struct pkt *p = &c->r.out.pkt;

	fail_msg("%s: verdict %d, %zu clones, %zu copies; flags %x seq %u ack %u %s", what, c->r.verdict, c->r.clones, c->r.copies, p->flags, p->seq, p->ack,
		 c->r.out.why ?: "");
}

static struct caller calling(struct bpfrun *run, int family, const struct pkt *syn)
{
	struct dialog d = dialog_of(run, family);
	struct caller c = { .run = run, .syn = *syn };

	bpfrun_forget(run);
	c.syn.saddr = d.client;
	c.syn.daddr = addr_of(family == SHUNT_V6 ? "fd00:96::11" : "10.96.0.11");
	c.syn.sport = 50000;
	c.syn.dport = 443;
	bpfrun_packet(run, FROM_CLIENT, &c.syn, &c.r);
	if (c.r.verdict != V_PASS || c.r.out.why || c.r.out.pkt.flags != syn->flags)
		fail_caller(&c, "no SYN for a pod");
	c.pod = c.r.out.pkt.daddr;
	return c;
}

/* A frame is the client's SYN, but for its data, to a pod that is not the one before. */
static void expect_other_pod(struct caller *c, const struct bpfrun_frame *frame)
{
	const struct pkt *p = &frame->pkt;

	if (frame->why || p->flags != c->syn.flags || !memcmp(&p->daddr, &c->pod, sizeof(c->pod)))
		fail_caller(c, "no SYN for another pod");
	assert_memory_equal(&p->saddr, &c->syn.saddr, sizeof(p->saddr));
	assert_int_equal(p->sport, c->syn.sport);
	assert_int_equal(p->seq, c->syn.seq);
	assert_int_equal(p->window, c->syn.window);
	assert_int_equal(p->mss, c->syn.mss);
	assert_int_equal(p->wscale, c->syn.wscale);
	assert_int_equal(p->sack_ok, c->syn.sack_ok);
	assert_int_equal(p->tstamp, c->syn.tstamp);
	assert_int_equal(p->tsval, c->syn.tsval);
	assert_int_equal(p->len, 0);
	c->pod = p->daddr;
}

static void pod_answers(struct caller *c, const struct shunt_addr *pod, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct pkt pkt = { .saddr = *pod, .daddr = c->syn.saddr, .sport = 8081, .dport = c->syn.sport, .flags = flags, .seq = seq, .ack = ack, .mss = 1460 };

	for (size_t i = 0; i < PODS; i++)
		if (!memcmp(&tables()->pods[i].addr, pod, sizeof(*pod)))
			pkt.sport = ntohs(tables()->pods[i].port);
	bpfrun_packet(c->run, TO_CLIENT, &pkt, &c->r);
}

static void pod_refuses(struct caller *c)
{
	pod_answers(c, &c->pod, RST | ACK, 0, c->syn.seq + 1 + c->syn.len);
}

/* The pod takes the connection: its SYN-ACK goes to the client as it is, and data from there to this pod. */
static void expect_connects(struct caller *c)
{
	struct pkt data = { .saddr = c->syn.saddr, .daddr = c->syn.daddr, .sport = c->syn.sport, .dport = c->syn.dport, .flags = ACK | PSH,
			    .seq = c->syn.seq + 1, .ack = 6001, .window = 500, .payload = "hello", .len = 5 };

	pod_answers(c, &c->pod, SYN | ACK, 6000, c->syn.seq + 1);
	if (c->r.verdict != V_PASS || c->r.out.why || c->r.out.pkt.flags != (SYN | ACK) || c->r.out.pkt.seq != 6000 || c->r.out.pkt.ack != c->syn.seq + 1)
		fail_caller(c, "no SYN-ACK for the client");
	assert_memory_equal(&c->r.out.pkt.saddr, &c->syn.daddr, sizeof(c->syn.daddr));
	bpfrun_packet(c->run, FROM_CLIENT, &data, &c->r);
	if (c->r.verdict != V_PASS || c->r.out.why || c->r.out.pkt.seq != data.seq || c->r.out.pkt.ack != 6001 || c->r.out.pkt.len != 5)
		fail_caller(c, "no data for the pod");
	assert_memory_equal(&c->r.out.pkt.daddr, &c->pod, sizeof(c->pod));
}

static const struct pkt syns[] = {
	{ .flags = SYN, .seq = 0xffffffffu, .window = 64240, .mss = 8960, .wscale = 1 + 14, .sack_ok = true, .tstamp = true, .tsval = 7 },
	{ .flags = SYN | ECE | CWR, .seq = 77, .window = 1000, .mss = 536 },
	{ .flags = SYN, .seq = 5, .window = 64240, .mss = 1400, .sack_ok = true, .payload = "TLS", .len = 3 }, /* TCP Fast Open */
};

static void test_another_pod_takes_the_connection_that_one_refused(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		for (size_t i = 0; i < ARRAY_SIZE(syns); i++) {
			struct caller c = calling(*state, family, &syns[i]);
			struct shunt_addr first = c.pod;

			pod_answers(&c, &c.pod, RST | ACK, 0, c.syn.seq + 100000); /* of no SYN of ours */
			assert_int_equal(c.r.verdict, V_DROP);
			pod_refuses(&c);
			if (c.r.verdict != V_REDIRECT || c.r.mark != SHUNT_MARK)
				fail_caller(&c, "the SYN does not go round");
			expect_other_pod(&c, &c.r.out);
			pod_answers(&c, &first, SYN | ACK, 1, c.syn.seq + 1); /* what it says now is too late */
			assert_int_equal(c.r.verdict, V_DROP);
			expect_connects(&c);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_REFUSED), 1);
			assert_int_equal(bpfrun_reason(*state, SHUNT_R_POD_NEXT), 1);
			pod_answers(&c, &c.pod, RST, 6001, 0); /* from here on it is the client's own */
			assert_int_equal(c.r.verdict, V_PASS);
			assert_int_equal(bpfrun_flows(*state), 0);
			assert_int_equal(bpfrun_legs(*state), 0);
		}
	}
}

static void test_a_connection_that_all_pods_refuse_is_reset(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct caller c = calling(*state, family, &syns[0]);

		for (int i = 0; i < SHUNT_POD_ATTEMPTS; i++) {
			pod_refuses(&c);
			expect_other_pod(&c, &c.r.out);
		}
		pod_refuses(&c);
		if (c.r.verdict != V_PASS || c.r.out.why || c.r.out.pkt.flags != (RST | ACK) || c.r.out.pkt.ack != c.syn.seq + 1)
			fail_caller(&c, "no reset for the client");
		assert_memory_equal(&c.r.out.pkt.saddr, &c.syn.daddr, sizeof(c.syn.daddr));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_POD_NONE), 1);
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* By the tick; and without one, by the client's own SYN when it comes again. */
static void test_another_pod_takes_the_connection_that_one_left_unanswered(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct caller c = calling(*state, family, &syns[0]);

		bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS / 2, &c.r);
		assert_int_equal(c.r.clones, 0);
		bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &c.r);
		assert_int_equal(c.r.clones, 1);
		expect_other_pod(&c, &c.r.clone[0]);

		c.syn.tsval += 100;
		bpfrun_packet(*state, FROM_CLIENT, &c.syn, &c.r);
		assert_int_equal(c.r.verdict, V_PASS);
		assert_memory_equal(&c.r.out.pkt.daddr, &c.pod, sizeof(c.pod)); /* not yet */
		bpfrun_silence_pod(*state, &c.syn.saddr, c.syn.sport, &c.syn.daddr, c.syn.dport, SHUNT_POD_DEADLINE_MS);
		bpfrun_packet(*state, FROM_CLIENT, &c.syn, &c.r);
		assert_int_equal(c.r.verdict, V_PASS);
		expect_other_pod(&c, &c.r.out);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_SILENT), 2);
		expect_connects(&c);
		bpfrun_tick(*state, 10 * SHUNT_POD_DEADLINE_MS, &c.r);
		assert_int_equal(c.r.clones + c.r.copies, 0);
		assert_int_equal(bpfrun_waits(*state), 0);
	}
}

static void test_a_connection_that_all_pods_leave_unanswered_is_reset(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct caller c = calling(*state, family, &syns[0]);
		int sent = 0;

		for (bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &c.r); c.r.clones == 1 && c.r.clone[0].pkt.flags == SYN; sent++)
			bpfrun_tick(*state, SHUNT_POD_DEADLINE_MS, &c.r);
		assert_int_equal(sent, 2 * SHUNT_POD_ATTEMPTS);
		if (c.r.copies != 1 || c.r.copy[0].why || c.r.copy[0].pkt.flags != (RST | ACK) || c.r.copy[0].pkt.ack != c.syn.seq + 1)
			fail_caller(&c, "no reset for the client");
		assert_int_equal(bpfrun_flows(*state), 0);
		assert_int_equal(bpfrun_legs(*state), 0);
	}
}

/* The host, or a router, says that there is no way to the pod. */
static void test_another_pod_takes_the_connection_to_one_that_cannot_be_reached(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct caller c = calling(*state, family, &syns[0]);
		struct pkt_icmp icmp = { .saddr = addr_of(family == SHUNT_V6 ? "fd00:77::99" : "10.77.0.99"), .daddr = c.syn.saddr, .to_client = true,
					 .type = family == SHUNT_V6 ? 1 : 3, .code = family == SHUNT_V6 ? 0 : 1, .quoted = c.r.out.bytes + 14,
					 .quoted_len = c.r.out.len - 14 };
		uint8_t frame[PKT_MAX];
		size_t len = pkt_icmp_build(&icmp, frame);

		bpfrun_bytes(*state, TO_CLIENT, frame, len, &c.r);
		expect_other_pod(&c, &c.r.out);
		expect_connects(&c);
	}
}

/* A pod that still knows the tuple from an earlier connection says so with an ACK, which must not reach the client: it would reset what it does not know. */
static void test_a_connection_whose_tuple_the_pod_still_knows_takes_another_port(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		struct caller c = calling(*state, family, &syns[0]);

		pod_answers(&c, &c.pod, ACK, 99, 12345);
		if (c.r.verdict != V_REDIRECT || c.r.out.pkt.flags != SYN || c.r.out.pkt.sport == c.syn.sport || c.r.out.pkt.seq != c.syn.seq)
			fail_caller(&c, "no SYN from another port");
		assert_memory_equal(&c.r.out.pkt.daddr, &c.pod, sizeof(c.pod));
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LEG_CHALLENGED), 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_user_gets_the_version_and_pod_that_explain_names),
		cmocka_unit_test(test_a_user_keeps_its_pod_whatever_its_connection),
		cmocka_unit_test(test_users_spread_over_the_pods_evenly),
		cmocka_unit_test(test_a_fifth_version_takes_the_place_of_an_idle_leg),
		cmocka_unit_test(test_requests_to_five_versions_in_any_order_stay_right_for_long),
		cmocka_unit_test(test_another_pod_takes_the_request_that_one_refused),
		cmocka_unit_test(test_each_pod_of_a_version_is_tried_once_before_one_is_tried_again),
		cmocka_unit_test(test_a_version_whose_pods_all_refuse_resets_the_client_in_the_end),
		cmocka_unit_test(test_another_pod_takes_the_request_that_one_left_unanswered),
		cmocka_unit_test(test_a_silent_pod_is_given_up_at_its_deadline_without_the_clients_help),
		cmocka_unit_test(test_when_all_pods_stay_silent_the_client_is_reset),
		cmocka_unit_test(test_a_server_that_speaks_first_is_heard),
		cmocka_unit_test(test_a_quiet_clients_request_still_goes_to_its_version),
		cmocka_unit_test(test_a_pod_that_leaves_the_plan_keeps_its_connections_and_gets_no_new_ones),
		cmocka_unit_test(test_a_version_without_a_pod_in_the_plan_serves_whom_it_has),
		cmocka_unit_test(test_a_refusal_in_mid_connection_means_another_pod),
		cmocka_unit_test(test_another_pod_takes_the_connection_that_one_refused),
		cmocka_unit_test(test_a_connection_that_all_pods_refuse_is_reset),
		cmocka_unit_test(test_another_pod_takes_the_connection_that_one_left_unanswered),
		cmocka_unit_test(test_a_connection_that_all_pods_leave_unanswered_is_reset),
		cmocka_unit_test(test_another_pod_takes_the_connection_to_one_that_cannot_be_reached),
		cmocka_unit_test(test_a_connection_whose_tuple_the_pod_still_knows_takes_another_port),
	};

	return bpfrun_main("pods", tables(), tests, ARRAY_SIZE(tests));
}
