/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "dialog.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define OUR_WSCALE 7 /* what the programs offer */

/* Clocks here tick with packets. The client's is kept from going back when a slower pod's leg takes over; what is echoed to that pod is then ahead. */
#define ECHO_AHEAD 100

/* ---- tables ---------------------------------------------------------------------------------------------------------------------------
 *
 *     frontend  .10:80   request     route 0: Host example.com, header userhash: "101..." v2, "1010" v1, others v1
 *                                    route 1: Host *.example.org, header user: half v1, half v2
 *               .11:443  connection  route 2: half v1, half v2, by client address
 *               .12:80   request     route 3: v4, which has no pod and no fallback
 *               .13:80   request     route 4: v3, which has no pod; v1 stands in
 *
 *     v1 is 10.77.3.2:8080, v2 is 10.77.4.2:8081; the same with fd00:77:
 */

enum { FRONTENDS = 8, ROUTES = 5, SPLITS = 5, VERSIONS = 4, RINGS = 4, PODS = 4, RULES = 2 };

static struct shunt_addr addr_of(const char *text)
{
	struct shunt_addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static struct shunt_addr frontend_addr(enum shunt_family family, int number)
{
	char text[32];

	snprintf(text, sizeof(text), family == SHUNT_V6 ? "fd00:96::%d" : "10.96.0.%d", number);
	return addr_of(text);
}

static void set_route(struct shunt_route *route, enum shunt_identity identity, const char *name, enum shunt_host_match match, const char *host,
		      uint16_t split, uint16_t rules)
{
	*route = (struct shunt_route){ .identity = identity, .name_len = strlen(name), .host_match = match, .host_len = strlen(host),
				       .split = split, .rules = rules, .trial = SHUNT_NONE };
	memcpy(route->name, name, strlen(name));
	memcpy(route->host, host, strlen(host));
}

static void set_split(struct shunt_split *split, uint32_t salt, uint64_t first_end, uint32_t first, uint32_t second)
{
	bool one = first_end == 1ull << 32;

	*split = (struct shunt_split){ .salt = { salt, ~(uint64_t)salt }, .shares = one ? 1 : 2,
				       .share = { { .end = first_end, .version = first }, { .end = one ? 0 : 1ull << 32, .version = second } } };
}

static void set_rule(struct tables_rule *rule, const char *id, size_t length, uint32_t split)
{
	*rule = (struct tables_rule){ .route = 0, .length = length, .value.split = split };
	memcpy(rule->id, id, length);
}

static void set_frontends(struct tables *t)
{
	static struct tables_frontend frontends[FRONTENDS];
	static const struct {
		int number;
		uint16_t port;
		struct shunt_frontend value;
	} each[] = {
		{ 10, 80, { .kind = SHUNT_KIND_REQUEST, .routes = 2, .route = 0 } },
		{ 11, 443, { .kind = SHUNT_KIND_CONNECTION, .routes = 1, .route = 2 } },
		{ 12, 80, { .kind = SHUNT_KIND_REQUEST, .routes = 1, .route = 3 } },
		{ 13, 80, { .kind = SHUNT_KIND_REQUEST, .routes = 1, .route = 4 } },
	};

	for (size_t i = 0; i < FRONTENDS; i++) {
		frontends[i].key.addr = frontend_addr(i % 2, each[i / 2].number);
		frontends[i].key.port = htons(each[i / 2].port);
		frontends[i].value = each[i / 2].value;
	}
	t->frontends = frontends;
	t->frontend_count = FRONTENDS;
}

static void set_pods(struct tables *t)
{
	static const char *const addr[PODS] = { "10.77.3.2", "fd00:77:3::2", "10.77.4.2", "fd00:77:4::2" };
	static struct shunt_pod pods[PODS];
	static struct shunt_ring rings[RINGS];
	static struct tables_version versions[VERSIONS] = {
		{ .value = { .series = 0, .fallback = SHUNT_NONE, .ring = { 0, 1 } }, .pods = { 1, 1 } },
		{ .value = { .series = 1, .fallback = SHUNT_NONE, .ring = { 2, 3 } }, .pods = { 1, 1 } },
		{ .value = { .series = 2, .fallback = 0, .ring = { SHUNT_NONE, SHUNT_NONE } } },
		{ .value = { .series = 3, .fallback = SHUNT_NONE, .ring = { SHUNT_NONE, SHUNT_NONE } } },
	};

	for (size_t i = 0; i < PODS; i++) {
		pods[i] = (struct shunt_pod){ .addr = addr_of(addr[i]), .port = htons(i < 2 ? 8080 : 8081) };
		for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
			rings[i].pod[slot] = i;
	}
	for (size_t i = 0; i < VERSIONS; i++) {
		snprintf(t->series[i].route, sizeof(t->series[i].route), "default/test");
		snprintf(t->series[i].version, sizeof(t->series[i].version), "v%zu", i + 1);
	}
	t->pods = pods;
	t->pod_count = PODS;
	t->rings = rings;
	t->ring_count = RINGS;
	t->versions = versions;
	t->version_count = VERSIONS;
}

const struct tables *dialog_tables(void)
{
	static struct shunt_route routes[ROUTES];
	static struct shunt_split splits[SPLITS];
	static struct tables_rule rules[RULES];
	static struct tables t;

	if (t.frontend_count)
		return &t;
	set_route(&routes[0], SHUNT_ID_HEADER, "userhash", SHUNT_HOST_EXACT, "example.com", 0, RULES);
	set_route(&routes[1], SHUNT_ID_HEADER, "user", SHUNT_HOST_SUFFIX, ".example.org", 2, 0);
	set_route(&routes[2], SHUNT_ID_CLIENT, "", SHUNT_HOST_ANY, "", 2, 0);
	set_route(&routes[3], SHUNT_ID_HEADER, "userhash", SHUNT_HOST_ANY, "", 3, 0);
	set_route(&routes[4], SHUNT_ID_HEADER, "userhash", SHUNT_HOST_ANY, "", 4, 0);
	set_split(&splits[0], 1, 1ull << 32, 0, 0);
	set_split(&splits[1], 2, 1ull << 32, 1, 0);
	set_split(&splits[2], 3, 1ull << 31, 0, 1);
	set_split(&splits[3], 4, 1ull << 32, 3, 0);
	set_split(&splits[4], 5, 1ull << 32, 2, 0);
	set_rule(&rules[0], "101", 3, 1);
	set_rule(&rules[1], "1010", 5, 0); /* with its terminating 0: this user alone */
	t.routes = routes;
	t.route_count = ROUTES;
	t.splits = splits;
	t.split_count = SPLITS;
	t.rules = rules;
	t.rule_count = RULES;
	set_pods(&t);
	set_frontends(&t);
	return &t;
}

/* ---- ends ----------------------------------------------------------------------------------------------------------------------------- */

struct dialog dialog_of(struct bpfrun *run, enum shunt_family family)
{
	return (struct dialog){
		.run = run,
		.client = addr_of(family == SHUNT_V6 ? "fd00:77:1::2" : "10.77.1.2"),
		.frontend = frontend_addr(family, 10),
		.cport = 40000,
		.fport = 80,
		.tstamp = true,
		.sack = true,
		.wscale = true,
		.mss = family == SHUNT_V6 ? 1440 : 1460,
		.isn = 0xfffffff0u, /* wraps within the first request */
		.tsval = 0x7ffffff0u,
	};
}

struct dialog_pod dialog_pod(const struct dialog *d, enum dialog_version version)
{
	static const char *const addr[2][2] = { { "10.77.3.2", "10.77.4.2" }, { "fd00:77:3::2", "fd00:77:4::2" } };

	return (struct dialog_pod){
		.addr = addr_of(addr[addr_is_v4(&d->client) ? 0 : 1][version]),
		.port = version == DIALOG_V1 ? 8080 : 8081,
		.iss = version == DIALOG_V1 ? 0x12345678u : 0xfffffffeu,
		.tsval = version == DIALOG_V1 ? 0xffffff00u : 5000,
		.wscale = version == DIALOG_V1 ? 10 : 4,
	};
}

void dialog_towards(struct dialog *d, int number, uint16_t port)
{
	d->frontend = frontend_addr(addr_is_v4(&d->client) ? SHUNT_V4 : SHUNT_V6, number);
	d->fport = port;
}

static struct pkt client_packet(struct dialog *d, uint8_t flags)
{
	if (flags & ACK)
		d->acked = d->received;
	return (struct pkt){
		.saddr = d->client, .daddr = d->frontend, .sport = d->cport, .dport = d->fport, .flags = flags, .seq = d->next, .ack = d->received,
		.window = 512, .tstamp = d->tstamp, .tsval = ++d->tsval, .tsecr = d->tsecr, .damage = d->damage,
	};
}

void dialog_fail(const struct dialog *d, const char *what)
{
	const struct pkt *p = &d->r.out.pkt;
	char from[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

	print_error("%s%s%s: verdict %d, mark %x, %zu clones, %zu copies\n", d->sentence ? d->sentence : "", d->sentence ? ": " : "", what,
		    d->r.verdict, d->r.mark, d->r.clones, d->r.copies);
	print_error("%s %u > %s %u, MACs %s client, flags %x seq %x ack %x window %u len %zu tsval %x tsecr %x%s%s\n",
		    addr_text(&p->saddr, from), p->sport, addr_text(&p->daddr, to), p->dport, p->to_client ? "to" : "from", p->flags, p->seq, p->ack, p->window, p->len, p->tsval, p->tsecr,
		    d->r.out.why ? "; " : "", d->r.out.why ? d->r.out.why : "");
	fail_msg("due: C %x, of it waiting %zu, S %x, client's clock %x", d->next, d->waiting, d->received, d->tsval);
}

static bool goes(const struct pkt *p, const struct shunt_addr *from, uint16_t sport, const struct shunt_addr *to, uint16_t dport)
{
	return !memcmp(&p->saddr, from, sizeof(*from)) && !memcmp(&p->daddr, to, sizeof(*to)) && p->sport == sport && p->dport == dport;
}

/* The frame is right and for the client. */
static void expect_frame_for_client(struct dialog *d, const struct bpfrun_frame *frame, const char *what)
{
	const struct pkt *p = &frame->pkt;

	if (frame->why || !p->to_client || !goes(p, &d->frontend, d->fport, &d->client, d->cport) || p->tstamp != d->tstamp ||
	    (d->tstamp && (int32_t)(p->tsval - d->tsecr) < 0))
		dialog_fail(d, what);
	if (d->tstamp)
		d->tsecr = p->tsval;
}

/* The same for the packet at hand, with its verdict. */
static void expect_for_client(struct dialog *d, int verdict, const char *what)
{
	if (d->r.verdict != verdict || d->r.mark || d->r.copies)
		dialog_fail(d, what);
	expect_frame_for_client(d, &d->r.out, what);
}

void dialog_syn(struct dialog *d)
{
	const struct pkt *p = &d->r.out.pkt;
	struct pkt syn;

	d->next = d->isn;
	syn = client_packet(d, SYN);
	syn.ack = 0;
	syn.window = 64240;
	syn.mss = d->mss;
	syn.sack_ok = d->sack;
	syn.wscale = d->wscale ? 8 : 0;
	bpfrun_packet(d->run, FROM_CLIENT, &syn, &d->r);
	d->next = d->isn + 1;
	expect_for_client(d, V_REDIRECT, "no SYN-ACK");
	if (p->flags != (SYN | ACK) || p->ack != d->next || p->len || p->window != SHUNT_HOLD_SIZE ||
	    p->mss != (addr_is_v4(&d->client) ? 1460 : 1440) || (d->tstamp && p->tsecr != d->tsval) || p->sack_ok != (d->sack && d->tstamp) ||
	    p->wscale != (d->wscale && d->tstamp ? OUR_WSCALE + 1 : 0))
		dialog_fail(d, "not the SYN-ACK for this SYN");
	d->cookie = p->seq;
	d->received = p->seq + 1;
}

void dialog_flags(struct dialog *d, uint8_t flags)
{
	struct pkt pkt = client_packet(d, flags);

	bpfrun_packet(d->run, FROM_CLIENT, &pkt, &d->r);
	if (flags & (SYN | FIN)) /* each is a number of its own */
		d->next++;
}

void dialog_connects(struct dialog *d)
{
	dialog_syn(d);
	dialog_flags(d, ACK);
	if (d->r.verdict != V_DROP || d->r.clones)
		dialog_fail(d, "the handshake's ACK went somewhere");
}

void dialog_sends(struct dialog *d, const char *bytes, size_t len)
{
	struct pkt pkt = client_packet(d, ACK | PSH);

	pkt.payload = bytes;
	pkt.len = len;
	bpfrun_packet(d->run, FROM_CLIENT, &pkt, &d->r);
	d->next += len;
}

void dialog_says(struct dialog *d, const char *text)
{
	dialog_sends(d, text, strlen(text));
}

void dialog_expect_ack(struct dialog *d)
{
	const struct pkt *p = &d->r.out.pkt;

	d->waiting = 0;
	expect_for_client(d, V_REDIRECT, "no ACK");
	if (p->flags != ACK || p->seq != d->received || p->ack != d->next || p->len || (d->tstamp && p->tsecr != d->tsval))
		dialog_fail(d, "not the ACK of what the client sent");
}

void dialog_expect_leg(struct dialog *d, struct dialog_pod *pod, uint32_t start)
{
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != V_PASS || d->r.out.why || p->to_client || !goes(p, &d->client, p->sport, &pod->addr, pod->port))
		dialog_fail(d, "no SYN to the pod");
	if (p->flags != SYN || p->seq != start - 1 || p->len || p->tstamp != d->tstamp ||
	    (d->tstamp && p->tsval != d->tsval) || p->sack_ok != (d->sack && d->tstamp) ||
	    p->wscale != (d->wscale && d->tstamp ? 8 : 0) || p->mss > d->mss || p->mss < 536)
		dialog_fail(d, "not the SYN for this request");
	pod->lport = p->sport;
	pod->sent = pod->iss;
	pod->received = start;
	pod->tsecr = p->tsval;
}

static struct pkt pod_packet(struct dialog *d, struct dialog_pod *pod, uint8_t flags)
{
	return (struct pkt){
		.saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = flags, .seq = pod->sent, .ack = pod->received,
		.window = 1000, .tstamp = d->tstamp, .tsval = ++pod->tsval, .tsecr = pod->tsecr, .damage = d->damage,
	};
}

void dialog_pod_flags(struct dialog *d, struct dialog_pod *pod, uint8_t flags)
{
	struct pkt pkt = pod_packet(d, pod, flags);

	bpfrun_packet(d->run, TO_CLIENT, &pkt, &d->r);
	if (flags & (SYN | FIN))
		pod->sent++;
}

/* A frame with request bytes for the pod, in turn. */
static void expect_held(struct dialog *d, struct dialog_pod *pod, const struct bpfrun_frame *frame, const char *bytes, size_t left)
{
	const struct pkt *p = &frame->pkt;
	uint32_t ack = pod->sent - (d->received - d->acked); /* what the client has said to have, no more */

	if (frame->why || p->to_client || !goes(p, &d->client, pod->lport, &pod->addr, pod->port) || p->seq != pod->received ||
	    p->ack != ack || !p->len || p->len > left || memcmp(p->payload, bytes, p->len) || !(p->flags & ACK) || p->flags & (SYN | FIN | RST) ||
	    (d->tstamp && (p->tsval != d->tsval || p->tsecr != pod->tsval)))
		fail_msg("not the held bytes: %s seq %x (due %x) ack %x (due %x) len %zu of %zu", frame->why ? frame->why : "", p->seq, pod->received,
			 p->ack, ack, p->len, left);
	pod->received += p->len;
	pod->tsecr = p->tsval;
	d->waiting -= d->waiting < p->len ? d->waiting : p->len;
}

/* Held bytes for the pod, all of them: clones and the packet at hand. */
static void expect_all_held(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	uint32_t first = pod->received;

	for (size_t i = 0; i < d->r.clones; i++)
		expect_held(d, pod, &d->r.clone[i], bytes + (pod->received - first), len - (pod->received - first));
	if (d->r.hook == FROM_CLIENT && d->r.verdict == V_PASS ? d->r.mark : d->r.verdict != V_REDIRECT || d->r.mark != SHUNT_MARK)
		dialog_fail(d, "the held bytes do not go to the pod");
	expect_held(d, pod, &d->r.out, bytes + (pod->received - first), len - (pod->received - first));
	if (pod->received - first != len)
		fail_msg("the pod got %u of %zu held bytes", pod->received - first, len);
}

void dialog_pod_accepts(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	struct pkt pkt = pod_packet(d, pod, SYN | ACK);

	pkt.mss = 1460;
	pkt.sack_ok = d->sack && d->tstamp;
	pkt.wscale = d->wscale && d->tstamp ? pod->wscale + 1 : 0;
	pkt.window = 65160;
	bpfrun_packet(d->run, TO_CLIENT, &pkt, &d->r);
	pod->sent = pod->iss + 1;
	if (d->r.copies)
		dialog_fail(d, "something went to the client");
	expect_all_held(d, pod, bytes, len);
}

/* Runs a segment of the pod. */
static struct pkt pod_segment(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	struct pkt pkt = pod_packet(d, pod, ACK | (len ? PSH : 0));

	pkt.payload = bytes;
	pkt.len = len;
	bpfrun_packet(d->run, TO_CLIENT, &pkt, &d->r);
	pod->sent += len;
	return pkt;
}

/* The frame has that segment in the client's numbers. */
static void expect_segment(struct dialog *d, const struct bpfrun_frame *frame, const struct pkt *of_pod)
{
	const struct pkt *p = &frame->pkt;

	if (p->flags != of_pod->flags || p->seq != d->received || p->ack != d->next - d->waiting || p->len != of_pod->len ||
	    (p->len && memcmp(p->payload, of_pod->payload, p->len)) || (d->tstamp && p->tsecr != of_pod->tsecr))
		dialog_fail(d, "not the pod's segment in the client's numbers");
	d->received += p->len;
}

void dialog_pod_sends(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	struct pkt pkt = pod_segment(d, pod, bytes, len);

	expect_for_client(d, V_PASS, "the pod's segment does not reach the client");
	expect_segment(d, &d->r.out, &pkt);
}

void dialog_pod_completes(struct dialog *d, struct dialog_pod *pod, const char *text)
{
	struct pkt pkt = pod_segment(d, pod, text, strlen(text));

	if (d->r.copies != 1)
		dialog_fail(d, "no copy of the answer for the client");
	expect_frame_for_client(d, &d->r.copy[0], "the copy is not for the client");
	expect_segment(d, &d->r.copy[0], &pkt);
}

void dialog_expect_parted(struct dialog *d)
{
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != V_PASS || d->r.clones || d->r.copies || d->r.out.why || p->to_client || p->len || p->flags != ACK)
		dialog_fail(d, "bytes that must wait went somewhere, or what their packet acknowledges did not");
}

void dialog_waits(struct dialog *d, const char *text)
{
	dialog_says(d, text);
	d->waiting += strlen(text);
	dialog_expect_parted(d);
}

void dialog_expect_released(struct dialog *d, struct dialog_pod *pod, const char *text)
{
	expect_all_held(d, pod, text, strlen(text));
}

void dialog_expect_told(const struct dialog *d, const struct bpfrun_frame *frame, const struct dialog_pod *pod, uint8_t flags)
{
	const struct pkt *p = &frame->pkt;

	if (frame->why || p->to_client || !goes(p, &d->client, pod->lport, &pod->addr, pod->port) || p->flags != flags || p->seq != pod->received ||
	    p->ack != pod->sent || p->len)
		fail_msg("not told: %s flags %x seq %x (due %x) ack %x (due %x)", frame->why ? frame->why : "", p->flags, p->seq, pod->received, p->ack,
			 pod->sent);
}

void dialog_expect_probe(struct dialog *d)
{
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != V_PASS || d->r.mark || d->r.clones)
		dialog_fail(d, "no probe");
	expect_frame_for_client(d, &d->r.out, "the probe is not for the client");
	if (p->flags != ACK || p->len != 1 || p->seq != d->acked - 1 || p->ack != d->next - d->waiting || (d->tstamp && p->tsecr != d->tsval))
		dialog_fail(d, "not a byte that the client has acknowledged");
}

void dialog_pod_says(struct dialog *d, struct dialog_pod *pod, const char *text)
{
	dialog_pod_sends(d, pod, text, strlen(text));
}

void dialog_expect_at_pod(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len)
{
	const struct pkt *p = &d->r.out.pkt;

	if (d->r.verdict != V_PASS || d->r.out.why || p->to_client || !goes(p, &d->client, pod->lport, &pod->addr, pod->port))
		dialog_fail(d, "the client's segment does not reach the pod");
	if (p->seq != pod->received || p->ack != pod->sent || p->len != len || (len && memcmp(p->payload, bytes, len)) || p->tstamp != d->tstamp ||
	    (d->tstamp && (p->tsval != d->tsval || (int32_t)(p->tsecr - pod->tsval) > ECHO_AHEAD)))
		dialog_fail(d, "not the client's segment in the pod's numbers");
	pod->received += len;
	pod->tsecr = p->tsval;
}

void dialog_exchange(struct dialog *d, struct dialog_pod *pod, const char *request)
{
	dialog_connects(d);
	dialog_says(d, request);
	dialog_expect_leg(d, pod, d->isn + 1);
	dialog_pod_accepts(d, pod, request, strlen(request));
	dialog_pod_says(d, pod, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

struct dialog dialog_opens(struct bpfrun *run, enum shunt_family family, struct dialog_pod *ret_pod, const char *request)
{
	struct dialog d = dialog_of(run, family);

	*ret_pod = dialog_pod(&d, DIALOG_V2);
	bpfrun_forget(run);
	dialog_exchange(&d, ret_pod, request);
	return d;
}

static void exchange_on_leg(struct dialog *d, struct dialog_pod *pod)
{
	dialog_pod_says(d, pod, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	dialog_flags(d, ACK);
	dialog_expect_at_pod(d, pod, NULL, 0);
}

struct dialog dialog_returns(struct bpfrun *run, enum shunt_family family, struct dialog_pod *ret_one)
{
	static const char one[] = "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 000\r\n\r\n";
	static const char two[] = "GET / HTTP/1.1\r\nHost: example.com\r\nuserhash: 1011\r\n\r\n";
	struct dialog d = dialog_of(run, family);
	struct dialog_pod other = dialog_pod(&d, DIALOG_V2);
	uint32_t start;

	bpfrun_forget(run);
	*ret_one = dialog_pod(&d, DIALOG_V1);
	dialog_exchange(&d, ret_one, one);
	start = d.next;
	dialog_says(&d, two);
	dialog_expect_leg(&d, &other, start);
	dialog_pod_accepts(&d, &other, two, strlen(two));
	exchange_on_leg(&d, &other);
	dialog_says(&d, one);
	dialog_expect_at_pod(&d, ret_one, one, strlen(one));
	exchange_on_leg(&d, ret_one);
	assert_int_not_equal(ret_one->received, d.next);
	return d;
}
