/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The choice: from a request to a pod.
 *
 *     frontend ─▶ route (by Host) ─▶ user id ─▶ rule (longest prefix), an entry before it, or the route's own ─▶ split
 *              split ─▶ hash ─▶ version ─▶ ring ─▶ pod
 *
 * Reads tables and nothing else, so that shunt_explain gives the answer that a packet would get.
 */
#ifndef SHUNT_CHOOSE_BPF_H
#define SHUNT_CHOOSE_BPF_H

#include "lib/count.bpf.h"
#include "lib/match.bpf.h"
#include "lib/packet.bpf.h"

#define POD_PROBES 64 /* slots looked at for another pod: of eight pods one is missed in 5,000 walks, of four in 100 million */
#define POD_STEP 1009 /* slots between them; prime, as the ring's size is, so that they differ */

/* What was unusual about a choice is noted with it and counted once, when the choice is acted on. */
static __always_inline void choice_note(struct work *w, enum shunt_reason reason)
{
	w->choice.noted[reason / 64] |= 1ull << reason % 64;
}

__noinline int choice_count(const struct work *w)
{
	if (!w)
		return 0;
	for (int reason = 0; reason < SHUNT_R_MAX; reason++)
		if (w->choice.noted[reason / 64] & 1ull << reason % 64)
			reason_count(reason);
	return 0;
}

static __always_inline void choice_report(const struct work *w)
{
	if (unlikely(w->choice.noted[0] | w->choice.noted[1]))
		choice_count(w);
}

static __always_inline const struct shunt_meta *meta_live(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&shunt_meta, &zero);
}

/* How long a pod may leave a SYN unanswered. */
static __always_inline __u64 pod_deadline_ns(const struct shunt_meta *meta)
{
	return (meta && meta->pod_deadline_ms ? meta->pod_deadline_ms : SHUNT_POD_DEADLINE_MS) * 1000000ull;
}

/* The live frontend that a packet of this flow key is for, into w->frontend and w->side. */
static __always_inline bool frontend_find(struct work *w)
{
	struct shunt_frontend_key *key = &w->frontend_key; /* not on the stack: this is in every deep chain of calls */
	const struct shunt_meta *meta = meta_live();
	struct shunt_frontend *frontend;

	if (!meta)
		return false;
	key->addr = w->key.frontend;
	key->port = w->key.fport;
	key->side = meta->side & 1;
	frontend = bpf_map_lookup_elem(&shunt_frontend, key);
	if (!frontend)
		return false;
	w->side = key->side;
	w->frontend = *frontend;
	return true;
}

static __always_inline struct shunt_route *route_at(__u32 side, __u32 index)
{
	__u32 key = side * SHUNT_ROUTES + index;

	return bpf_map_lookup_elem(&shunt_route, &key);
}

/* Copies bytes of a head into an id, zero padded; at most SHUNT_ID_MAX of them. */
__noinline int token_copy(struct shunt_id *to, const struct http_buf *buf, __u32 at, __u32 len, __u32 lower)
{
	if (!to || !buf)
		return 0;
	__builtin_memset(to, 0, sizeof(*to));
	if (len > SHUNT_ID_MAX)
		len = SHUNT_ID_MAX;
	to->len = len;
	for (__u32 i = 0; i < SHUNT_ID_MAX / 8; i++) {
		__u64 word;

		if (i * 8 >= len)
			break;
		keep(at);
		if (at > HTTP_HEAD_MAX)
			break;
		word = *(const __u64 *)(buf->b + at);
		if (len - i * 8 < 8)
			word &= (1ull << ((len - i * 8) * 8)) - 1;
		to->w[i] = lower ? lower8(word) : word;
		at += 8;
	}
	return 0;
}

/* Does the route take this Host? Both sides are zero padded, so whole words compare. */
__noinline int route_takes(const struct shunt_route *route, const struct shunt_id *host)
{
	__u32 at;

	if (!route || !host)
		return 0;
	if (route->host_match == SHUNT_HOST_ANY)
		return 1;
	at = host->len - route->host_len;
	if (route->host_match == SHUNT_HOST_EXACT ? at != 0 : host->len <= route->host_len)
		return 0;
	for (__u32 i = 0; i < SHUNT_HOST_MAX / 8; i++) {
		__u32 from = at + i * 8;

		if (i * 8 >= route->host_len)
			break;
		keep(from);
		if (from > sizeof(host->b) - 8)
			return 0;
		if (*(const __u64 *)(host->b + from) != *(const __u64 *)(route->host + i * 8))
			return 0;
	}
	return 1;
}

/* Loads the first of the frontend's routes that takes the Host into w->route; index into w->choice.route. */
static __always_inline bool route_load(struct work *w, __u32 index)
{
	struct shunt_route *route = route_at(w->side, index);

	if (!route)
		return false;
	w->choice.route = index;
	w->route = *route;
	return true;
}

__noinline int route_find(struct work *w)
{
	if (!w)
		return 0;
	for (__u32 i = 0; i < SHUNT_ROUTES_PER_FRONTEND; i++) {
		struct shunt_route *route;

		if (i >= w->frontend.routes)
			break;
		route = route_at(w->side, w->frontend.route + i);
		if (route && route_takes(route, &w->host))
			return route_load(w, w->frontend.route + i);
	}
	choice_note(w, SHUNT_R_HOST_UNMATCHED);
	return route_load(w, w->frontend.route);
}

static __always_inline void id_from_client(struct work *w)
{
	__builtin_memset(&w->id, 0, sizeof(w->id));
	w->id.len = sizeof(w->key.client.ip);
	__builtin_memcpy(w->id.b, w->key.client.ip, sizeof(w->key.client.ip));
	w->choice.id_from_client = 1;
}

/* The route's own split, for requests that nothing names. */
static __always_inline void split_default(struct work *w)
{
	w->choice.by = SHUNT_BY_HASH;
	w->choice.split = w->route.split;
	w->choice.item = w->route.item;
	w->choice.match = SHUNT_NONE;
}

/* The split that a rule names for w->id. Returns its place among the route's matches, SHUNT_NONE when there is no rule. */
static __always_inline __u32 split_of_rule(struct work *w)
{
	struct shunt_rule_key *key = &w->rule_key;
	struct shunt_rule *rule;

	if (!w->route.rules || w->choice.id_from_client)
		return SHUNT_NONE;
	key->prefixlen = 32 + 8 * (w->id.len + 1);
	key->side = bpf_htons(w->side);
	key->route = bpf_htons(w->choice.route);
	__builtin_memcpy(key->id, w->id.b, sizeof(key->id));
	rule = bpf_map_lookup_elem(&shunt_rule, key);
	if (!rule)
		return SHUNT_NONE;
	w->choice.by = SHUNT_BY_RULE;
	w->choice.split = rule->split;
	w->choice.item = rule->item;
	w->choice.match = rule->match;
	return rule->order;
}

static __always_inline struct shunt_version *version_at(__u32 side, __u32 index)
{
	__u32 key = side * SHUNT_VERSIONS + index;

	return index < SHUNT_VERSIONS ? bpf_map_lookup_elem(&shunt_version, &key) : NULL;
}

/*
 * Must the pod be on this node? By the Service's traffic policy; and for a client outside when the node has no address of its family, to which a pod on
 * another node could answer.
 */
__noinline int near_only(const struct work *w)
{
	const struct shunt_place *place;

	if (!w)
		return 0;
	place = bpf_map_lookup_elem(&shunt_place, &w->ifindex);
	if (place && addr_none(&place->node[w->p.family & 1]))
		return 1;
	return w->frontend.near & (place && place->kind == SHUNT_PLACE_UPLINK ? SHUNT_NEAR_OUTSIDE : SHUNT_NEAR_INSIDE);
}

/* The version's ring for this client; SHUNT_NONE: it has no pod for it. */
static __always_inline __u32 ring_of(const struct work *w, const struct shunt_version *version)
{
	__u32 family = w->p.family & 1, ring = version->ring[family];

	if (likely(ring == version->near[family]) || !near_only(w))
		return ring;
	return version->near[family];
}

/* The version that serves for `index`: itself, or its fallback while it has no pod of the client's family. NULL: nobody. */
static __always_inline struct shunt_version *version_serving(struct work *w, __u32 index)
{
	struct shunt_version *version = version_at(w->side, index);
	w->choice.version = index;
	w->choice.served = index;
	if (!version || ring_of(w, version) != SHUNT_NONE)
		return version;
	index = version->fallback;
	version = version_at(w->side, index);
	if (!version || ring_of(w, version) == SHUNT_NONE)
		return NULL;
	choice_note(w, SHUNT_R_FALLBACK);
	w->choice.served = index;
	return version;
}

static __always_inline struct shunt_pod *pod_at(struct work *w, const struct shunt_ring *ring, __u32 slot)
{
	__u32 key;

	keep(slot);
	if (slot >= SHUNT_RING_SIZE)
		return NULL;
	w->choice.pod = ring->pod[slot];
	key = w->side * SHUNT_PODS + w->choice.pod;
	return bpf_map_lookup_elem(&shunt_pod, &key);
}

/*
 * The pods of a ring in the order in which one user's request tries them: as they come on the walk from the user's slot, each once. The client itself is
 * the last.
 */
struct pod_walk {
	struct work *w;
	const struct shunt_ring *ring;
	__u64 seen;  /* bits of pods; those of one version lie together, so that up to 64 have a bit each */
	__u32 slot;
	__u32 nth;   /* the pod that is wanted */
	__u32 count; /* found before it */
	__u32 self;  /* index + 1 of the pod that is the client */
};

static long pod_step(__u32 i, struct pod_walk *walk)
{
	struct work *w = walk->w;
	struct shunt_pod *pod = pod_at(w, walk->ring, walk->slot);
	__u64 bit = 1ull << (w->choice.pod & 63);

	walk->slot = (walk->slot + POD_STEP) % SHUNT_RING_SIZE;
	if (!pod || walk->seen & bit)
		return 0;
	walk->seen |= bit;
	if (addr_equal(&pod->addr, &w->key.client)) {
		walk->self = w->choice.pod + 1;
		return 0;
	}
	return walk->count++ == walk->nth;
}

/* Index of the nth pod, or how many there are, negative and less one. */
__noinline int pod_nth(struct work *w, __u32 slot, __u32 nth)
{
	struct pod_walk walk = { .w = w, .slot = slot, .nth = nth };

	if (!w)
		return -1;
	walk.ring = bpf_map_lookup_elem(&shunt_ring, &w->ring);
	if (!walk.ring)
		return -1;
	bpf_loop(POD_PROBES, pod_step, &walk, 0);
	if (walk.count > nth)
		return w->choice.pod;
	if (walk.self && walk.count == nth)
		return walk.self - 1;
	return -1 - (int)(walk.count + !!walk.self);
}

/*
 * The pod of a slot, or, after `attempt` others or when that is the client itself, the one whose turn it is. When all have had theirs it begins anew: their
 * SYNs may have been lost. NULL: there is no other, or enough were tried.
 */
static __always_inline struct shunt_pod *pod_pick(struct work *w, const struct shunt_ring *ring, __u32 slot)
{
	struct shunt_pod *pod;
	__u32 key;
	int nth;

	if (likely(!w->attempt)) {
		pod = pod_at(w, ring, slot);
		if (likely(!pod || !addr_equal(&pod->addr, &w->key.client)))
			return pod;
	}
	nth = w->attempt > SHUNT_POD_ATTEMPTS ? -1 : pod_nth(w, slot, w->attempt);
	if (nth < -2)
		nth = pod_nth(w, slot, w->attempt % (__u32)(-1 - nth));
	if (nth < 0)
		return NULL;
	w->choice.pod = nth;
	key = w->side * SHUNT_PODS + w->choice.pod;
	return bpf_map_lookup_elem(&shunt_pod, &key);
}

static __always_inline bool pod_find(struct work *w, const struct shunt_version *version, __u64 hash)
{
	struct shunt_ring *ring;
	struct shunt_pod *pod;

	w->ring = w->side * SHUNT_RINGS + ring_of(w, version);
	ring = bpf_map_lookup_elem(&shunt_ring, &w->ring);
	pod = ring ? pod_pick(w, ring, shunt_ring_slot(hash)) : NULL;

	if (!pod)
		return false;
	w->choice.addr = pod->addr;
	w->choice.port = pod->port;
	w->choice.elsewhere = pod->elsewhere;
	w->choice.series = version->series;
	w->choice.edit = version->edit;
	w->choice.request_edit = version->request_edit;
	return true;
}

static __always_inline int choice_refuse(struct work *w, enum shunt_reason reason)
{
	choice_note(w, reason);
	w->choice.refused = reason + 1;
	return 0;
}

/* None of the version's pods takes the request: its fallback serves, as if it had none. */
static __always_inline int choose_fallback(struct work *w, const struct shunt_version *version, __u64 hash)
{
	__u32 index = version->fallback;

	version = version_at(w->side, index);
	w->attempt = 0;
	if (!version || ring_of(w, version) == SHUNT_NONE || !pod_find(w, version, hash))
		return choice_refuse(w, SHUNT_R_NO_POD);
	w->choice.served = index;
	choice_note(w, SHUNT_R_FALLBACK);
	return 1;
}

/* From w->choice.split and w->id to the rest of w->choice. 1: chosen; 0: w->choice.refused says why not. */
__noinline int choose_pod(struct work *w)
{
	struct shunt_version *version;
	struct shunt_split *split;
	__u64 hash;
	__u32 key;

	if (!w)
		return 0;
	key = w->side * SHUNT_SPLITS + w->choice.split;
	split = bpf_map_lookup_elem(&shunt_split, &key);
	if (!split)
		return choice_refuse(w, SHUNT_R_NO_TABLE);
	hash = shunt_siphash(split->salt, &w->id);
	w->choice.user = hash;
	w->choice.hash = shunt_split_hash(hash);
	version = version_serving(w, shunt_split_pick(split, w->choice.hash));
	if (!version)
		return choice_refuse(w, SHUNT_R_NO_POD);
	if (pod_find(w, version, hash))
		return 1;
	if (!w->attempt)
		return choice_refuse(w, SHUNT_R_NO_TABLE);
	return w->same_version ? choice_refuse(w, SHUNT_R_NO_POD) : choose_fallback(w, version, hash);
}

static __always_inline void choice_clear(struct work *w)
{
	__builtin_memset(&w->choice, 0, sizeof(w->choice));
	w->choice.side = w->side;
}

/* ---- trials ----------------------------------------------------------------------------------------------------------------------------- */

/* Is this the request that the trial waits for? */
__noinline int trial_asks(const struct work *w, const struct shunt_trial *trial, const struct http_buf *buf)
{
	const struct http_request *r;

	if (!w || !trial || !buf)
		return 0;
	r = &w->request;
	if (r->target_off + r->target_len - r->path_off < trial->path_len ||
	    !text_begins(buf, r->path_off, trial->path, trial->path_len, SHUNT_PATH_MAX, 0))
		return 0;
	if (!trial->method_len)
		return 1;
	return r->method_len == trial->method_len &&
	       text_begins(buf, r->target_off - 1 - r->method_len, trial->method, trial->method_len, SHUNT_METHOD_MAX, 0);
}

/* The trial that w->route is in; NULL: none. */
static __always_inline struct shunt_trial *trial_find(struct work *w)
{
	__u32 key = w->side * SHUNT_TRIALS + w->route.trial;
	struct shunt_trial *trial;

	if (likely(w->route.trial >= SHUNT_TRIALS))
		return NULL;
	trial = bpf_map_lookup_elem(&shunt_trial, &key);
	if (trial)
		w->choice.trial = trial->id;
	return trial;
}

/* A connection, or a request flow that cannot be read: by the client address, on the frontend's first route. w->frontend is set. */
__noinline int choose_by_client(struct work *w)
{
	if (!w)
		return 0;
	choice_clear(w);
	if (!route_load(w, w->frontend.route))
		return choice_refuse(w, SHUNT_R_NO_TABLE);
	id_from_client(w);
	split_default(w);
	trial_find(w);
	return choose_pod(w);
}

/* Does the route know its users by what w->name is? */
static __always_inline bool name_is_of(const struct work *w, const struct shunt_route *route)
{
	__u64 differ = w->name.kind ^ route->identity;

	for (__u32 i = 0; i < SHUNT_NAME_MAX / 8; i++)
		differ |= ((const __u64 *)w->name.s)[i] ^ ((const __u64 *)route->name)[i];
	return !differ;
}

static __always_inline void name_set(struct work *w, const struct shunt_route *route)
{
	__builtin_memcpy(w->name.s, route->name, sizeof(w->name.s));
	w->name.kind = route->identity;
}

/*
 * Scans buf[at, at + len) for a head with the identity of the frontend's first route. Returns enum http_verdict; the head is in w->request.
 * Routes of one frontend nearly always know users by the same name, so this is the only scan.
 */
__noinline int request_scan(struct work *w, const struct http_buf *buf, __u32 at, __u32 len)
{
	struct shunt_route *route;

	if (!w || !buf)
		return HTTP_BAD;
	route = route_at(w->side, w->frontend.route);
	if (!route)
		return HTTP_BAD;
	name_set(w, route);
	return http_scan_request(buf, at, len, &w->name, &w->request);
}

/* Chooses for the head that request_scan() found in buf[at, at + len). */
__noinline int choose_by_request(struct work *w, const struct http_buf *buf, __u32 at, __u32 len)
{
	struct shunt_trial *trial;
	__u32 order;

	if (!w || !buf)
		return 0;
	choice_clear(w);
	token_copy(&w->host, buf, w->request.host_off, w->request.host_len, 1);
	if (!route_find(w))
		return choice_refuse(w, SHUNT_R_NO_TABLE);
	if (w->route.identity != SHUNT_ID_CLIENT && !name_is_of(w, &w->route)) {
		name_set(w, &w->route);
		http_scan_request(buf, at, len, &w->name, &w->request);
	}
	if (w->route.identity != SHUNT_ID_CLIENT && w->request.id_len) {
		if (w->request.id_len > SHUNT_ID_MAX)
			choice_note(w, SHUNT_R_ID_CUT);
		token_copy(&w->id, buf, w->request.id_off, w->request.id_len, 0);
	} else {
		if (w->route.identity != SHUNT_ID_CLIENT)
			choice_note(w, SHUNT_R_ID_MISSING);
		id_from_client(w);
	}
	split_default(w);
	order = split_of_rule(w);
	if (unlikely(w->route.entries))
		entry_find(w, buf, at, len, order);
	if (unlikely(w->choice.item == SHUNT_NONE))
		choice_note(w, SHUNT_R_ENTRY_UNMATCHED);
	trial = trial_find(w);
	if (unlikely(trial && trial->class) && trial_asks(w, trial, buf))
		w->choice.convert = trial->class;
	return choose_pod(w);
}

#endif
