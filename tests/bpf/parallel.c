/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * One flow on two CPUs at once. A packet's run under the flow's lock is as if it were alone, so two packets at once must do what they do one behind the
 * other, in one of both orders: the same numbers, the same flow, the same bytes at both ends.
 *
 *     a connection, step by step, two packets a step ─┬─ the first before the second ─▶ seen[0][step]
 *                                                    ├─ the second before the first ─▶ seen[1][step]
 *                                                    └─ both at once, many times ─────▶ either of these
 *
 * Without the lock the same connection is begun twice, opens two legs, counts a request or a byte twice, or ends twice, within the first rounds.
 */
#include "../lib/dialog.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

#define BODY 3000
#define LONG_BODY 64000
#define HEAD_1 "POST /1 HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\nContent-Length: 3000\r\n\r\n"
#define REQUEST_2 "GET /2 HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define REQUEST_3 "GET /3 HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n"
#define ANSWER_1 "HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n"
#define ANSWER_2 "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
#define ANSWER_3 "HTTP/1.1 204 No Content\r\n\r\n"

#define HEAD_LONG "POST /long HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\nContent-Length: 64000\r\n\r\n"
#define ANSWER_LONG "HTTP/1.1 200 OK\r\nContent-Length: 64000\r\n\r\n"

enum { STEPS = 32, STREAM = 66000, SEGMENT = 1000, BURST = LONG_BODY / SEGMENT / 2, DUE = 150, LONG_DUE = 40, TRIES = 10 * DUE };

/* What the programs are asked by, and what they did in one step. */
struct seen {
	const char *what;
	uint64_t reasons[SHUNT_R_MAX];
	uint64_t requests, answers, timed, begun, aborted, rx, tx; /* of both versions */
	bool flow;
	uint8_t state, current, answer;
	uint32_t flags, request_end, snext, sacked, hold, hold_len, hold_answer, missing;
	struct {
		uint8_t state;
		uint32_t cnext, acked, pnext;
	} leg[SHUNT_LEGS];
	size_t legs;
};

struct packet {
	enum bpfrun_hook hook;
	struct pkt pkt;
};

enum order { FIRST, SECOND, AT_ONCE, ORDERS };

/* The other CPU: runs packets when `go` counts up, and counts `done` up behind them. */
struct helper {
	pthread_t thread;
	struct bpfrun *run;
	atomic_uint go, done;
	const struct packet *packets;
	size_t count;
	unsigned int delay;
	bool stop;
	struct bpfrun_result result[BURST];
};

struct stage {
	struct bpfrun *run;
	struct helper *helper;
	enum order order;
	unsigned int round, step;
	char failure[256];
	bool lost; /* a lock was not free in time, and a packet was dropped: the round says nothing */
	struct dialog d;
	struct dialog_pod pod[2];
	char c[STREAM], s[STREAM]; /* what client and pods say in all */
	size_t c_len, s_len;
	bool c_came[STREAM], s_came[STREAM];
	uint32_t leg_2; /* where the second version's requests begin */
	uint64_t reasons[SHUNT_R_MAX];
	struct shunt_count count[2];
	struct seen seen[2][STEPS];
};

/* ---- the other CPU ------------------------------------------------------------------------------------------------------------------------ */

static void spin(unsigned int n)
{
	for (volatile unsigned int i = 0; i < n; i++)
		;
}

static void wait_until(atomic_uint *what, unsigned int is)
{
	for (unsigned int i = 1; atomic_load(what) != is; i++)
		if (i % 20000 == 0)
			sched_yield();
}

static void run_all(struct bpfrun *run, const struct packet *packets, size_t count, struct bpfrun_result *ret)
{
	for (size_t i = 0; i < count; i++)
		bpfrun_packet(run, packets[i].hook, &packets[i].pkt, &ret[i]);
}

static void *help(void *arg)
{
	struct helper *h = arg;

	for (unsigned int turn = 1;; turn++) {
		wait_until(&h->go, turn);
		if (h->stop)
			return NULL;
		spin(h->delay);
		run_all(h->run, h->packets, h->count, h->result);
		atomic_store(&h->done, turn);
	}
}

/*
 * A thread on one of the CPUs that this process may use, before all that others have to do there: two threads that wait for each other step by step would
 * wait for two time slices in each, on a busy machine.
 */
static void pin(pthread_t thread, int nth)
{
	const struct sched_param first = { .sched_priority = 1 };
	cpu_set_t may, one;

	assert_int_equal(sched_getaffinity(0, sizeof(may), &may), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &may) || nth--)
			continue;
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		assert_int_equal(pthread_setaffinity_np(thread, sizeof(one), &one), 0);
		pthread_setschedparam(thread, SCHED_RR, &first);
		return;
	}
}

/* Returns the CPUs of before. On a machine with one CPU these tests mean nothing. */
static cpu_set_t helper_begin(struct helper *h, struct bpfrun *run)
{
	cpu_set_t before;

	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	if (CPU_COUNT(&before) < 2)
		skip();
	memset(h, 0, sizeof(*h));
	h->run = run;
	assert_int_equal(pthread_create(&h->thread, NULL, help, h), 0);
	pin(h->thread, 1);
	pin(pthread_self(), 0);
	return before;
}

static void helper_end(struct helper *h, const cpu_set_t *before)
{
	const struct sched_param as_others = {};

	h->stop = true;
	atomic_fetch_add(&h->go, 1);
	assert_int_equal(pthread_join(h->thread, NULL), 0);
	pthread_setschedparam(pthread_self(), SCHED_OTHER, &as_others);
	assert_int_equal(pthread_setaffinity_np(pthread_self(), sizeof(*before), before), 0);
}

/* ---- what came of it ---------------------------------------------------------------------------------------------------------------------- */

/* The first failure counts; the test fails when the other CPU is at rest again. */
static void fail_at(struct stage *s, const char *what, const char *why)
{
	if (!*s->failure)
		snprintf(s->failure, sizeof(s->failure), "round %u, %s: %s", s->round, what, why);
}

/* Every byte that an end gets is the one that the other end said at that place, and comes from the right version's leg. */
static void check_frame(struct stage *s, const char *what, const struct bpfrun_frame *frame)
{
	const struct pkt *p = &frame->pkt;
	bool at_v2 = p->dport == s->pod[1].port, to_client = p->to_client;
	uint32_t at = p->seq - (to_client ? s->d.cookie : s->d.isn) - 1, len = to_client ? s->s_len : s->c_len;
	const char *stream = to_client ? s->s : s->c;

	if (frame->why)
		fail_at(s, what, frame->why);
	if (!p->len || (to_client && p->len == 1 && at + 1 == p->seq - s->d.cookie && s->s_came[at])) /* a probe is of what came before */
		return;
	if (at + p->len > len || memcmp(p->payload, stream + at, p->len))
		return fail_at(s, what, to_client ? "the client gets bytes that no pod said" : "a pod gets bytes that the client did not say");
	if (!to_client && at_v2 != (at >= s->leg_2))
		fail_at(s, what, "a version gets another version's request");
	memset((to_client ? s->s_came : s->c_came) + at, true, p->len);
}

static void check_result(struct stage *s, const char *what, const struct bpfrun_result *r)
{
	if (r->verdict != V_DROP)
		check_frame(s, what, &r->out);
	for (size_t i = 0; i < r->clones; i++)
		check_frame(s, what, &r->clone[i]);
	for (size_t i = 0; i < r->copies; i++)
		check_frame(s, what, &r->copy[i]);
}

/* How the numbers moved, and where the flow is; places in a stream count from its beginning. */
static struct seen look(struct stage *s, const char *what)
{
	struct seen seen = { .what = what, .legs = bpfrun_legs(s->run) };
	static struct series_numbers numbers;
	uint64_t reasons[SHUNT_R_MAX];
	struct shunt_flow flow;

	assert_int_equal(datapath_read_reasons(s->run->datapath, reasons), 0);
	for (int i = 0; i < SHUNT_R_MAX; i++)
		seen.reasons[i] = reasons[i] - s->reasons[i];
	memcpy(s->reasons, reasons, sizeof(reasons));
	seen.reasons[SHUNT_R_EVENT_LOST] = 0; /* depends on the clock */
	s->lost |= seen.reasons[SHUNT_R_LOCK_TIMEOUT];
	for (int v = 0; v < 2; v++) {
		const struct shunt_count *now = &numbers.count, *last = &s->count[v];

		assert_int_equal(datapath_read_numbers(s->run->datapath, v, &numbers), 0);
		seen.requests += now->requests - last->requests;
		seen.answers += now->status[2] - last->status[2];
		seen.timed += now->latency_count - last->latency_count;
		seen.begun += now->ttfb_count - last->ttfb_count;
		seen.aborted += now->aborted - last->aborted;
		seen.rx += now->rx_bytes - last->rx_bytes;
		seen.tx += now->tx_bytes - last->tx_bytes;
		s->count[v] = *now;
	}
	seen.flow = bpfrun_flow(s->run, &s->d.client, s->d.cport, &s->d.frontend, s->d.fport, &flow);
	if (!seen.flow)
		return seen;
	seen.state = flow.state;
	seen.current = flow.current;
	seen.answer = flow.answer;
	seen.flags = flow.flags;
	seen.request_end = flow.request_end - s->d.isn;
	seen.snext = flow.snext - s->d.cookie;
	seen.sacked = flow.sacked - s->d.cookie;
	seen.hold = flow.hold ? 1 + flow.hold_seq - s->d.isn : 0;
	seen.hold_len = flow.hold_len;
	seen.hold_answer = flow.hold_answer;
	seen.missing = flow.missing;
	for (int i = 0; i < SHUNT_LEGS; i++) {
		const struct shunt_leg *leg = &flow.leg[i];

		seen.leg[i].state = leg->state;
		if (leg->state == SHUNT_LEG_NONE)
			continue;
		seen.leg[i].cnext = leg->cnext - s->d.isn;
		seen.leg[i].acked = leg->acked - s->d.isn;
		seen.leg[i].pnext = leg->pnext;
	}
	return seen;
}

/* Where two of them differ; NULL: nowhere. */
static const char *difference(const struct seen *a, const struct seen *b)
{
	static const char *const names[] = {
#define X(name, sort, text) #name,
		SHUNT_REASONS(X)
#undef X
	};
	static char text[200];

#define SAME(field)                                                                                                                       \
	if (a->field != b->field)                                                                                                           \
		return snprintf(text, sizeof(text), #field " is %lld, due is %lld", (long long)a->field, (long long)b->field), text
	for (int i = 0; i < SHUNT_R_MAX; i++)
		if (a->reasons[i] != b->reasons[i])
			return snprintf(text, sizeof(text), "%s moved by %lld, due is %lld", names[i], (long long)a->reasons[i], (long long)b->reasons[i]), text;
	SAME(requests);
	SAME(answers);
	SAME(timed);
	SAME(begun);
	SAME(aborted);
	SAME(rx);
	SAME(tx);
	SAME(flow);
	SAME(state);
	SAME(current);
	SAME(answer);
	SAME(flags);
	SAME(request_end);
	SAME(snext);
	SAME(sacked);
	SAME(hold);
	SAME(hold_len);
	SAME(hold_answer);
	SAME(missing);
	SAME(legs);
	for (int i = 0; i < SHUNT_LEGS; i++) {
		SAME(leg[i].state);
		SAME(leg[i].cnext);
		SAME(leg[i].acked);
		SAME(leg[i].pnext);
	}
#undef SAME
	return NULL;
}

/* ---- steps -------------------------------------------------------------------------------------------------------------------------------- */

static void run_at_once(struct stage *s, const struct packet *mine, size_t mine_count, const struct packet *its, size_t its_count,
			struct bpfrun_result *ret)
{
	struct helper *h = s->helper;
	unsigned int turn = atomic_load(&h->go) + 1;

	h->packets = its;
	h->count = its_count;
	/* Now one begins earlier, now the other, by up to what a run takes. */
	h->delay = s->round % 2 ? s->round * 7 % 1500 : 0;
	atomic_store(&h->go, turn);
	spin(s->round % 2 ? 0 : s->round * 11 % 1500);
	run_all(s->run, mine, mine_count, ret);
	wait_until(&h->done, turn);
}

/* A step of the connection: two packets, by the order of this round. */
static void step(struct stage *s, const char *what, struct packet a, struct packet b)
{
	static struct bpfrun_result r[2];
	const struct packet both[2] = { s->order == SECOND ? b : a, s->order == SECOND ? a : b };
	const char *first, *second;
	struct seen seen;

	if (s->lost || *s->failure)
		return;
	assert_true(s->step < STEPS);
	if (s->order == AT_ONCE)
		run_at_once(s, &a, 1, &b, 1, r);
	else
		run_all(s->run, both, 2, r);
	seen = look(s, what);
	if (s->lost)
		return;
	check_result(s, what, &r[0]);
	check_result(s, what, s->order == AT_ONCE ? &s->helper->result[0] : &r[1]);
	if (s->order != AT_ONCE) {
		s->seen[s->order][s->step++] = seen;
		return;
	}
	first = difference(&seen, &s->seen[FIRST][s->step]);
	second = first ? difference(&seen, &s->seen[SECOND][s->step]) : NULL;
	if (first && second)
		fail_at(s, what, second);
	s->step++;
}

static struct packet client(const struct stage *s, uint8_t flags, size_t at, size_t len, size_t acks)
{
	return (struct packet){ FROM_CLIENT,
				{ .saddr = s->d.client, .daddr = s->d.frontend, .sport = s->d.cport, .dport = s->d.fport, .flags = flags,
				  .seq = s->d.isn + 1 + at, .ack = s->d.cookie + 1 + acks, .window = 512, .tstamp = true, .tsval = s->d.tsval,
				  .tsecr = s->d.tsecr, .payload = s->c + at, .len = len } };
}

/* A pod's stream begins where the client's then is; its `at` and what it acknowledges count in the whole streams. */
static struct packet pod(const struct stage *s, enum dialog_version v, uint8_t flags, size_t at, size_t len, size_t acks)
{
	const struct dialog_pod *p = &s->pod[v];
	size_t before = v == DIALOG_V2 ? strlen(ANSWER_1) + BODY : 0;

	return (struct packet){ TO_CLIENT,
				{ .saddr = p->addr, .daddr = s->d.client, .sport = p->port, .dport = s->d.cport, .flags = flags,
				  .seq = p->iss + !(flags & SYN) + at - before, .ack = s->d.isn + 1 + acks, .window = 1000, .tstamp = true, .tsval = p->tsval,
				  .tsecr = s->d.tsval, .payload = s->s + at, .len = len, .mss = flags & SYN ? 1460 : 0, .sack_ok = flags & SYN,
				  .wscale = flags & SYN ? 8 : 0, .to_client = true } };
}

/* Of the connection that its client begins next, on the same port. */
static struct packet next_syn(const struct stage *s)
{
	struct packet p = client(s, SYN, 0, 0, 0);

	p.pkt.seq += 1 << 20;
	p.pkt.ack = 0;
	p.pkt.mss = 1460;
	return p;
}

static void say(char *stream, size_t *len, const char *text, size_t body)
{
	*len += sprintf(stream + *len, "%s", text);
	for (size_t i = 0; i < body; i++)
		stream[(*len)++] = 'a' + i * 7 % 26;
}

/* Before the SYN, on a port of the round's own. */
static void begin(struct stage *s, int family)
{
	s->d = dialog_of(s->run, family);
	s->d.cport = 20000 + s->round;
	s->pod[0] = dialog_pod(&s->d, DIALOG_V1);
	s->pod[1] = dialog_pod(&s->d, DIALOG_V2);
	s->step = s->c_len = s->s_len = 0;
	s->lost = false;
	memset(s->c_came, 0, sizeof(s->c_came));
	memset(s->s_came, 0, sizeof(s->s_came));
	dialog_syn(&s->d);
	s->d.tsval++;
	look(s, "");
}

static void expect_all_came(struct stage *s)
{
	if (memchr(s->c_came, false, s->c_len))
		fail_at(s, "the end", "a byte of the client is missing at its pod");
	if (memchr(s->s_came, false, s->s_len))
		fail_at(s, "the end", "a byte of a pod is missing at the client");
}

/* A connection with three requests of two users, the last of them pipelined; false: it says nothing. */
static bool play(struct stage *s, int family)
{
	const size_t head = strlen(HEAD_1), c2 = head + BODY, c3 = c2 + strlen(REQUEST_2), c4 = c3 + strlen(REQUEST_3);
	const size_t answer = strlen(ANSWER_1), s2 = answer + BODY, s3 = s2 + strlen(ANSWER_2) + 100, s4 = s3 + strlen(ANSWER_3);
	const enum dialog_version v1 = DIALOG_V1, v2 = DIALOG_V2;

	begin(s, family);
	say(s->c, &s->c_len, HEAD_1, BODY);
	say(s->c, &s->c_len, REQUEST_2 REQUEST_3, 0);
	say(s->s, &s->s_len, ANSWER_1, BODY);
	say(s->s, &s->s_len, ANSWER_2, 100);
	say(s->s, &s->s_len, ANSWER_3, 0);
	s->leg_2 = c2;

	step(s, "the ACK of the handshake, doubled", client(s, ACK, 0, 0, 0), client(s, ACK, 0, 0, 0));
	step(s, "a piece of a head, doubled", client(s, ACK, 0, 10, 0), client(s, ACK, 0, 10, 0));
	step(s, "two pieces of a head", client(s, ACK, 10, 20, 0), client(s, ACK, 0, 40, 0));
	step(s, "the same again", client(s, ACK, 10, 30, 0), client(s, ACK, 10, 30, 0));
	step(s, "the rest of a head, doubled", client(s, ACK, 40, head - 40, 0), client(s, ACK, 40, head - 40, 0));
	step(s, "a pod's SYN-ACK, doubled", pod(s, v1, SYN | ACK, 0, 0, 0), pod(s, v1, SYN | ACK, 0, 0, 0));
	step(s, "segments of a body", client(s, ACK, head, 1000, 0), client(s, ACK, head + 1000, 1000, 0));
	step(s, "a segment of a body, and the pod's ACK", client(s, ACK, head + 2000, 1000, 0), pod(s, v1, ACK, 0, 0, head + 2000));
	step(s, "a piece of an answer's head, doubled", pod(s, v1, ACK, 0, 20, c2), pod(s, v1, ACK, 0, 20, c2));
	step(s, "the rest of an answer's head, doubled", pod(s, v1, ACK, 20, answer - 20, c2), pod(s, v1, ACK, 20, answer - 20, c2));
	step(s, "segments of an answer", pod(s, v1, ACK, answer, 1000, c2), pod(s, v1, ACK, answer + 1000, 1000, c2));
	step(s, "an answer's end, and the client's ACK", pod(s, v1, ACK, answer + 2000, 1000, c2), client(s, ACK, c2, 0, answer + 2000));
	step(s, "a piece of the next head, and the ACK before it", client(s, ACK, c2, 5, s2), client(s, ACK, c2, 0, s2));
	step(s, "the rest of it, doubled: the other version's", client(s, ACK, c2 + 5, c3 - c2 - 5, s2), client(s, ACK, c2 + 5, c3 - c2 - 5, s2));
	step(s, "the other pod's SYN-ACK, and the first one's answer again", pod(s, v2, SYN | ACK, s2, 0, c2), pod(s, v1, ACK, answer + 2000, 1000, c2));
	step(s, "half an answer, and a pipelined request", pod(s, v2, ACK, s2, 60, c3), client(s, ACK, c3, c4 - c3, s2));
	step(s, "the other half, doubled", pod(s, v2, ACK, s2 + 60, s3 - s2 - 60, c3), pod(s, v2, ACK, s2 + 60, s3 - s2 - 60, c3));
	step(s, "the pipelined request's answer, and the ACK of that before", pod(s, v2, ACK, s3, s4 - s3, c4), client(s, ACK, c4, 0, s3));
	step(s, "both FINs", client(s, ACK | FIN, c4, 0, s4), pod(s, v2, ACK | FIN, s4, 0, c4));
	step(s, "the client's last ACK, and its port's next SYN", client(s, ACK, c4 + 1, 0, s4 + 1), next_syn(s));
	step(s, "the pod's last ACK, doubled", pod(s, v2, ACK, s4 + 1, 0, c4 + 1), pod(s, v2, ACK, s4 + 1, 0, c4 + 1));
	if (!s->lost)
		expect_all_came(s);
	return !s->lost;
}

/* Segments of a body, every other one on the other CPU, all in one go. */
static void burst(struct stage *s, const char *what, struct packet (*segment)(const struct stage *s, size_t at), size_t from)
{
	static struct bpfrun_result r[BURST];
	static struct packet mine[BURST], its[BURST];

	for (size_t i = 0; i < BURST; i++) {
		mine[i] = segment(s, from + 2 * i * SEGMENT);
		its[i] = segment(s, from + (2 * i + 1) * SEGMENT);
	}
	run_at_once(s, mine, BURST, its, BURST, r);
	for (size_t i = 0; i < BURST; i++) {
		check_result(s, what, &r[i]);
		check_result(s, what, &s->helper->result[i]);
	}
}

static struct packet client_segment(const struct stage *s, size_t at)
{
	return client(s, ACK, at, SEGMENT, 0);
}

static struct packet pod_segment(const struct stage *s, size_t at)
{
	return pod(s, DIALOG_V1, ACK, at, SEGMENT, s->c_len);
}

static void alone(struct stage *s, const char *what, struct packet p)
{
	static struct bpfrun_result r;

	bpfrun_packet(s->run, p.hook, &p.pkt, &r);
	check_result(s, what, &r);
}

/* A long body there and a long one back: no byte is counted twice or not at all, and the answer is complete with its last byte, whichever that is. */
static bool play_long(struct stage *s, int family)
{
	struct seen seen;

	begin(s, family);
	say(s->c, &s->c_len, HEAD_LONG, LONG_BODY);
	say(s->s, &s->s_len, ANSWER_LONG, LONG_BODY);
	s->leg_2 = s->c_len;
	alone(s, "the ACK", client(s, ACK, 0, 0, 0));
	alone(s, "the head", client(s, ACK, 0, strlen(HEAD_LONG), 0));
	alone(s, "the SYN-ACK", pod(s, DIALOG_V1, SYN | ACK, 0, 0, 0));
	burst(s, "the body", client_segment, strlen(HEAD_LONG));
	alone(s, "the answer's head", pod(s, DIALOG_V1, ACK, 0, strlen(ANSWER_LONG), s->c_len));
	burst(s, "the answer", pod_segment, strlen(ANSWER_LONG));
	seen = look(s, "");
	alone(s, "a reset", client(s, RST | ACK, s->c_len, 0, s->s_len));
	if (s->lost)
		return false;
	expect_all_came(s);
	if (seen.requests != 1 || seen.answers != 1 || seen.timed != 1 || seen.begun != 1 || seen.rx != s->c_len)
		fail_at(s, "a long body both ways", "wrong numbers");
	if (!seen.flow || seen.answer != SHUNT_ANSWER_IDLE || seen.missing || seen.snext != s->s_len + 1 || seen.leg[SHUNT_LEGS - 1].cnext != s->c_len + 1)
		fail_at(s, "a long body both ways", "the flow is not where both ends are");
	return true;
}

static struct stage stage;
static struct helper helper;

static void expect_nothing_left(struct bpfrun *run)
{
	assert_int_equal(bpfrun_flows(run), 0);
	assert_int_equal(bpfrun_legs(run), 0);
	assert_int_equal(bpfrun_holds(run), 0);
}

/* As many rounds as are due, of those that say something. The other CPU is done then, and `before` are this process's CPUs again. */
static void play_rounds(struct stage *s, int family, bool (*play_one)(struct stage *s, int family), unsigned int due, const cpu_set_t *before)
{
	unsigned int good = 0;

	for (; good < due && s->round < TRIES && !*s->failure; s->round++) {
		if (play_one(s, family))
			good++;
		else
			bpfrun_forget(s->run);
	}
	helper_end(&helper, before);
	if (*s->failure)
		fail_msg("%s", s->failure);
	assert_int_equal(good, due);
	expect_nothing_left(s->run);
}

static cpu_set_t begin_rounds(struct stage *s, struct bpfrun *run)
{
	memset(s, 0, sizeof(*s));
	s->run = run;
	s->helper = &helper;
	bpfrun_forget(run);
	return helper_begin(&helper, run);
}

static void test_two_packets_at_once_do_what_they_do_one_behind_the_other(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		cpu_set_t before = begin_rounds(&stage, *state);

		for (stage.order = FIRST; stage.order < AT_ONCE; stage.order++, stage.round++)
			assert_true(play(&stage, family));
		play_rounds(&stage, family, play, DUE, &before);
	}
}

static void test_segments_of_one_body_on_two_cpus_are_counted_once(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		cpu_set_t before = begin_rounds(&stage, *state);

		stage.order = AT_ONCE;
		play_rounds(&stage, family, play_long, LONG_DUE, &before);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_packets_at_once_do_what_they_do_one_behind_the_other),
		cmocka_unit_test(test_segments_of_one_body_on_two_cpus_are_counted_once),
	};

	return bpfrun_main("parallel", dialog_tables(), tests, ARRAY_SIZE(tests));
}
