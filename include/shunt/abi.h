/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The contract between the kernel programs and everything that reads or writes their maps.
 *
 * Every map key and value has its layout here and nowhere else. The agent, the tests and the BPF programs compile this file; `bpftool map dump`
 * prints these names. A change of any layout needs a new SHUNT_SCHEMA (tests/unit/include/abi.c holds the sizes and offsets).
 *
 * How the maps hang together:
 *
 *   shunt_meta.side ─ says which half of every table is live; the plan is written to the other half, then this one word flips
 *
 *   TABLES (written by the agent, read by the programs; the side is part of the key or of the index)
 *     shunt_frontend {side, address, port} ─▶ kind, first route, routes
 *     shunt_route    [side][i]             ─▶ Host match, identity, default split
 *     shunt_rule     {side, route, prefix} ─▶ split            (LPM trie: the longest prefix of the user id wins)
 *     shunt_entry    [side][i]             ─▶ split, conditions; those of a route lie together, in the order in which they are tried
 *     shunt_cond     [side][i]             ─▶ one condition on a request; those of an entry lie together
 *     shunt_split    [side][i]             ─▶ salt, ranges of a 2^32 hash ─▶ version
 *     shunt_version  [side][i]             ─▶ series, rings (IPv4, IPv6), fallback version, edit
 *     shunt_ring     [side][i]             ─▶ Maglev table of pods
 *     shunt_pod      [side][i]             ─▶ address, port
 *     shunt_trial    [side][i]             ─▶ an experiment that measures the users of a route, and what it calls a conversion
 *     shunt_place    {interface}           ─▶ that it leads out of the node, or to the node itself   (no sides)
 *   NAMES (never reused for something else while the pins live)
 *     shunt_series   [i]                   ─▶ "route" and "version" as the manifests call them
 *     shunt_edit     [i]                   ─▶ lines that heads get; flows refer to them while a head may have to be sent again
 *   STATE (written by the programs)
 *     shunt_flow     {client, frontend}    ─▶ one client connection and its legs
 *     shunt_leg      {client, pod}         ─▶ back to the flow
 *     shunt_direct   {client, pod}         ─▶ the client's own connection to a pod, so that no leg takes its tuple
 *     shunt_wait     {client, frontend}    ─▶ since when the flow waits: for its client's first byte, or for a pod
 *     shunt_closed   {client, frontend}    ─▶ numbers of an ended flow: its late packets must not begin another
 *     shunt_hold     [i]                   ─▶ bytes of a request that is not at its pod yet
 *     shunt_promise  {frontend}            ─▶ what its pods do not do, so that no client is promised it
 *   NUMBERS (per CPU, only ever grow)
 *     shunt_count    [series]              ─▶ requests, responses, errors, bytes, latency sums
 *     shunt_hist     [series * 2 + kind]   ─▶ log-linear latency histogram
 *     shunt_events   ring                  ─▶ struct shunt_event: what happened to which flow, for `shunt events`
 *     shunt_reason   [enum shunt_reason]   ─▶ why a packet or flow left the ordinary path
 *   USERS (of routes with a trial only; the least recently seen go when the table is full)
 *     shunt_user     {user, trial, series} ─▶ what one user got from one version: requests, errors, latency, conversions
 */
#ifndef SHUNT_ABI_H
#define SHUNT_ABI_H

#ifndef __bpf__
#include <linux/types.h>
#endif

#define SHUNT_MAGIC 0x73687574u /* "shut" */
#define SHUNT_SCHEMA 3

/* Table sizes, per side. */
#define SHUNT_FRONTENDS 1024
#define SHUNT_ROUTES 256
#define SHUNT_RULES 4096
#define SHUNT_ENTRIES 1024
#define SHUNT_CONDITIONS 4096
#define SHUNT_SPLITS 512
#define SHUNT_VERSIONS 256
#define SHUNT_RINGS 1024 /* for each version an IPv4 and an IPv6 ring, and those of its pods on this node */
#define SHUNT_PODS 4096
#define SHUNT_RING_SIZE 4093 /* prime; Maglev wants about 100 slots a pod */
#define SHUNT_SERIES 256     /* (route, version) pairs, over both sides */
#define SHUNT_TRIALS 256
#define SHUNT_EDITS 256      /* different header edits, over both sides */

#define SHUNT_SHARES 8          /* versions in one split */
#define SHUNT_ROUTES_PER_FRONTEND 16
#define SHUNT_ENTRIES_PER_ROUTE 64
#define SHUNT_CONDITIONS_PER_ENTRY 16
#define SHUNT_NAMES_PER_ROUTE 16 /* headers and parameters that its conditions look at, with the identity's */
#define SHUNT_NAME_MAX 64       /* identity (header, cookie) name and series names, bytes, NUL-terminated when shorter */
#define SHUNT_HOST_MAX 128      /* Host pattern, bytes */
#define SHUNT_VALUE_MAX 128     /* bytes that a condition compares with */
#define SHUNT_ID_MAX 120        /* user id bytes that rules and hash look at; a longer id is cut and counted (SHUNT_R_ID_CUT) */

#define SHUNT_EDIT_MAX 256      /* bytes of the lines that one head gets */
#define SHUNT_EDIT_NAMES 8      /* headers that one edit sets or removes; it may add as many as fit */

#define SHUNT_METHOD_MAX 24     /* of a conversion, bytes */
#define SHUNT_PATH_MAX 96

#define SHUNT_USERS 1048576     /* (user, version) pairs that are remembered, unless `shunt run --users` says otherwise: 128 bytes each */
#define SHUNT_FLOWS 262144      /* unless `shunt run --flows` says otherwise */
#define SHUNT_DIRECTS 131072    /* clients' own connections to pods that are remembered */
#define SHUNT_CLOSED 65536      /* ended flows that are remembered against late packets */
#define SHUNT_LEGS 4            /* versions one flow can have a live leg to */
#define SHUNT_HOLDS 2048        /* flows whose request may wait at one time, unless `shunt run --holds` says otherwise */
#define SHUNT_HOLD_SIZE 16384   /* request bytes one flow may have waiting: heads up to this size, the first flight of a connection (RFC 6928) */
#define SHUNT_LOCKS 16384
#define SHUNT_PROMISES 4096     /* frontends whose pods do less than usual */
#define SHUNT_PROMISE_S 600     /* how long that is believed */
#define SHUNT_WAITS 16384       /* flows that wait at one time and that shunt_tick looks after; further ones live by retransmissions */
#define SHUNT_TICK_MS 50        /* between two looks */
#define SHUNT_POD_DEADLINE_MS 200 /* default: a pod that has not answered a SYN for so long is silent, the next one is tried */
#define SHUNT_QUIET_MS 300      /* default: a client that says nothing for so long may wait for its server's first word */
#define SHUNT_POD_ATTEMPTS 8      /* pods tried for one request, besides the first: of two, one down, the other must lose four SYNs in a row */
/* Seconds without a packet after which a flow is forgotten. */
#define SHUNT_IDLE_UNBOUND_S 300 /* no request yet */
#define SHUNT_IDLE_CLOSING_S 120 /* one side has said FIN */
#define SHUNT_IDLE_BOUND_S 9000  /* two and a half hours */
#define SHUNT_PLACES 64         /* interfaces with an entry of their own */
#define SHUNT_HIST_SLOTS 384    /* see histogram.h */

/* An address of either family; IPv4 is ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that both families have one key and one code path. */
struct shunt_addr {
	__u8 ip[16];
} __attribute__((aligned(4)));

/* How many entries of each indexed table a plan uses; what lies behind them is left over from earlier plans. Programs do not look at it. */
struct shunt_used {
	__u32 routes;
	__u32 splits;
	__u32 versions;
	__u32 rings;
	__u32 pods;
	__u32 trials;
	__u32 entries;
	__u32 conditions;
};

/* One word flips the tables; the rest tells a reader whether it understands these maps. Index 0 of shunt_meta. */
struct shunt_meta {
	__u32 magic;
	__u32 schema;
	__u32 side;       /* 0 or 1: the live half of the tables */
	__u32 generation; /* counts commits */
	__u32 pod_deadline_ms; /* 0: SHUNT_POD_DEADLINE_MS */
	__u32 quiet_ms;        /* 0: SHUNT_QUIET_MS */
	struct shunt_used used[2]; /* of each side */
};

/* ---- tables ---------------------------------------------------------------------------------------------------------------------------- */

enum shunt_kind {
	SHUNT_KIND_REQUEST = 1,    /* HTTP/1.x: bind late, decide every request */
	SHUNT_KIND_CONNECTION = 2, /* any TCP: bind at the SYN by client address */
};

struct shunt_frontend_key {
	struct shunt_addr addr;
	__be16 port;
	__u8 side;
	__u8 pad;
};

/* Whose connections go to pods of this node alone. */
enum shunt_near {
	SHUNT_NEAR_OUTSIDE = 1 << 0, /* externalTrafficPolicy: Local */
	SHUNT_NEAR_INSIDE = 1 << 1,  /* internalTrafficPolicy: Local */
};

struct shunt_frontend {
	__u8 kind;       /* enum shunt_kind */
	__u8 routes;     /* how many, 1..SHUNT_ROUTES_PER_FRONTEND */
	__u16 route;     /* index of the first, within the side; they are evaluated in order, the first whose Host matches is taken */
	__u8 near;       /* enum shunt_near, bits */
	__u8 pad[3];
};

enum shunt_identity {
	SHUNT_ID_CLIENT = 0, /* the client address */
	SHUNT_ID_HEADER = 1,
	SHUNT_ID_COOKIE = 2,
	SHUNT_ID_QUERY = 3,
};

enum shunt_host_match {
	SHUNT_HOST_ANY = 0,
	SHUNT_HOST_EXACT = 1,  /* "example.com"; the request's port is not compared */
	SHUNT_HOST_SUFFIX = 2, /* host holds ".example.com" for "*.example.com" */
};

/* The kind of manifest that a route was written in. For people: it says how the places of its entries are called. */
enum shunt_manifest {
	SHUNT_VIRTUAL_SERVICE = 0, /* spec.http[item].match[match] */
	SHUNT_HTTP_ROUTE = 1,      /* spec.rules[item].matches[match] */
};

#define SHUNT_NONE 0xffffu

/*
 * A request takes the first of a route's matches that it fulfils, in `order`. Those that look at nothing but the user id are rules in the trie: of all
 * that name a user the longest comes first, so one look-up finds it. The others are entries, and are tried up to that rule's place.
 */
struct shunt_route {
	__u8 identity;  /* enum shunt_identity */
	__u8 name_len;
	__u8 host_match; /* enum shunt_host_match */
	__u8 host_len;
	__u16 split;     /* for requests that neither rule nor entry takes */
	__u16 rules;     /* how many; 0 spares the trie look-up */
	__u16 trial;     /* index within the side; SHUNT_NONE: nobody wants to know about single users */
	__u16 entry;     /* index of the first, within the side */
	__u16 entries;   /* how many, 0..SHUNT_ENTRIES_PER_ROUTE */
	__u16 item;      /* where `split` was written; SHUNT_NONE: nowhere, no item takes everything and the route's first version stands in */
	__u8 manifest;   /* enum shunt_manifest */
	__u8 pad[7];
	char name[SHUNT_NAME_MAX]; /* of the header, cookie or parameter; header names in lower case */
	char host[SHUNT_HOST_MAX]; /* lower case */
};

/*
 * Key of the rule trie. prefixlen counts bits from `scope` on: 32 + 8 * bytes. A prefix rule holds the prefix; an exact rule holds the id and a
 * terminating 0 byte. A look-up is the whole id and its 0 byte, so an exact rule is just the longest prefix. Ids never contain 0.
 */
struct shunt_rule_key {
	__u32 prefixlen;
	__be16 side;
	__be16 route;
	__u8 id[SHUNT_ID_MAX + 8]; /* zero padded */
};

struct shunt_rule {
	__u16 split;
	__u16 order; /* its place among the matches of its route, rules and entries alike */
	__u16 item, match; /* where it was written; see enum shunt_manifest */
};

/* A request takes the entry when all of its conditions hold. */
struct shunt_entry {
	__u16 split;
	__u16 order;
	__u16 item, match;
	__u16 condition;  /* index of the first, within the side */
	__u16 conditions; /* how many, 1..SHUNT_CONDITIONS_PER_ENTRY */
};

/* What a condition looks at. */
enum shunt_subject {
	SHUNT_ON_METHOD = 0,
	SHUNT_ON_PATH = 1,   /* of the target, without query; "/" where a target in absolute form has none (RFC 9110 section 4.2.3) */
	SHUNT_ON_HOST = 2,   /* without port, of the target in absolute form, else of Host */
	SHUNT_ON_HEADER = 3, /* value of the first header of the name, without blanks around */
	SHUNT_ON_QUERY = 4,  /* value of the first NAME=value in the query, as it was sent */
};

enum shunt_how {
	SHUNT_IS_THERE = 0,     /* with any value, also an empty one */
	SHUNT_IS_EQUAL = 1,
	SHUNT_BEGINS_WITH = 2,
	SHUNT_BEGINS_PATH = 3,  /* by whole path elements: "/a" takes /a, /a/ and /a/b, not /ab (Gateway API, PathPrefix); the value does not end with '/' */
};

enum shunt_condition_flags {
	SHUNT_C_NOT = 1 << 0,      /* holds when the rest does not */
	SHUNT_C_ANY_CASE = 1 << 1, /* the value is in lower case, and what is compared is made so (ASCII) */
};

#define SHUNT_SLOT_ID 0 /* of the name that holds the user id; others count from 1 to SHUNT_NAMES_PER_ROUTE - 1 */

struct shunt_condition {
	__u8 subject; /* enum shunt_subject */
	__u8 how;     /* enum shunt_how */
	__u8 flags;   /* enum shunt_condition_flags */
	__u8 name_len;
	__u8 len;     /* of the value */
	__u8 slot;    /* of the name, in SHUNT_ON_HEADER and SHUNT_ON_QUERY: the same for all conditions of the route on it */
	__u8 pad[2];
	char name[SHUNT_NAME_MAX]; /* zero padded; of a header in lower case */
	char value[SHUNT_VALUE_MAX]; /* zero padded */
};

/* Users whose hash is below `end` (and not below the share before) get `version`. The last end is 2^32, which needs the 64 bits. */
struct shunt_share {
	__u64 end;
	__u32 version;
	__u32 pad;
};

struct shunt_split {
	__u64 salt[2]; /* SipHash-2-4 key */
	__u32 shares;  /* 1..SHUNT_SHARES */
	__u32 pad;
	struct shunt_share share[SHUNT_SHARES];
};

enum shunt_family {
	SHUNT_V4 = 0,
	SHUNT_V6 = 1,
	SHUNT_FAMILIES = 2,
};

struct shunt_version {
	__u16 series;                /* index of shunt_series, shunt_count */
	__u16 fallback;              /* version that serves while this one has no ready pod of the client's family; SHUNT_NONE: nobody */
	__u16 ring[SHUNT_FAMILIES];  /* SHUNT_NONE: no ready pod of that family */
	__u16 near[SHUNT_FAMILIES];  /* the ring of its pods on this node; the same as `ring` when they all are */
	__u16 edit;                  /* of its responses: index of shunt_edit + 1; 0: none */
	__u16 request_edit;          /* of its requests: likewise */
};

struct shunt_ring {
	__u16 pod[SHUNT_RING_SIZE]; /* index of shunt_pod, within the side */
};

struct shunt_pod {
	struct shunt_addr addr;
	__be16 port;
	__u16 elsewhere; /* 1: on another node */
};

enum shunt_place_kind {
	SHUNT_PLACE_UPLINK = 1, /* clients outside, pods on other nodes */
	SHUNT_PLACE_HOST = 2,   /* the node's own connections: shunt1 */
};

/*
 * An interface, by its index, behind which there are not just pods of this node. Written by the agent; one without an entry leads to pods here.
 */
struct shunt_place {
	struct shunt_addr node[SHUNT_FAMILIES]; /* the node's address, to which pods on other nodes answer; zero: none of that family */
	__u8 kind;                              /* enum shunt_place_kind */
	__u8 returns;                           /* 1: answers of all pods come back here (`--return-at pods`); 0: of pods on other nodes, to node[] */
	__u16 port_low, port_high;              /* ports that the node's own connections take (net.ipv4.ip_local_port_range) */
	__u16 pad;
};

/*
 * shunt's own addresses: what a pod sees where it must not see its client's. Packets to them are answers; no interface has them.
 * (RFC 3927 link-local; RFC 4193 unique local with the global id "shunt".)
 */
#define SHUNT_OWN_V4 { 0, 0, 0xffff, 0xa9fe7368 }            /* as words: 169.254.115.104 */
#define SHUNT_OWN_V6 { 0xfd736875, 0x6e740000, 0, 0x00000001 } /* fd73:6875:6e74::1 */

/*
 * An experiment on a route. Its id keeps the sums of its users apart from those of every other experiment, so that each begins with none. A conversion
 * is a response of a status class to a request of a method whose target begins with a path.
 */
struct shunt_trial {
	__u32 id;         /* not 0 */
	__u8 class;       /* of the status, 1..5; 0: nothing is a conversion */
	__u8 method_len;  /* 0: any */
	__u8 path_len;    /* 0: any */
	__u8 pad;
	char method[SHUNT_METHOD_MAX]; /* zero padded */
	char path[SHUNT_PATH_MAX];     /* zero padded */
};

/* ---- names ----------------------------------------------------------------------------------------------------------------------------- */

/* Index 0..SHUNT_SERIES-1; an empty version name means free. */
struct shunt_series {
	char route[SHUNT_NAME_MAX * 2]; /* "namespace/name" of the VirtualService */
	char version[SHUNT_NAME_MAX * 2];
};

/* A header that is set or removed: the sender's own lines of that name must not count any more. */
struct shunt_edit_name {
	char name[SHUNT_NAME_MAX];  /* lower case, zero padded */
	char value[SHUNT_ID_MAX];   /* of one that is set, zero padded: a pod that says the same may go on saying it */
};

/* Of requests or of responses. Index 0..SHUNT_EDITS-1; one without text and names is free. */
struct shunt_edit {
	__u16 len;    /* of text; the lines of the headers that are set, then those that are added */
	__u8 sets;    /* how many of `names` are set */
	__u8 removes; /* how many behind those are removed */
	__u8 adds;    /* lines that are added */
	__u8 host;    /* 1: Host is set */
	__u16 pad;
	__u8 text[SHUNT_EDIT_MAX]; /* "Name: value\r\n", zero padded */
	struct shunt_edit_name names[SHUNT_EDIT_NAMES];
};

/* ---- flows ----------------------------------------------------------------------------------------------------------------------------- */

struct shunt_flow_key {
	struct shunt_addr client;
	struct shunt_addr frontend;
	__be16 cport;
	__be16 fport;
};

/* A tuple as the pod and the host's stack see it. */
struct shunt_leg_key {
	struct shunt_addr client;
	struct shunt_addr pod;
	__be16 lport; /* the leg's port on the client's side */
	__be16 pport;
};

enum shunt_owner {
	SHUNT_OWNER_FLOW = 1,       /* a leg of ours */
	SHUNT_OWNER_DIRECT = 2,     /* the client's own connection to the pod */
	SHUNT_OWNER_TRANSLATED = 3, /* the client's own connection, moved to this port because a leg has its tuple */
};

struct shunt_leg_owner {
	struct shunt_addr frontend; /* FLOW */
	__be16 fport;               /* FLOW */
	__be16 cport;               /* the client's port */
	__u8 owner;                 /* enum shunt_owner */
	__u8 leg;                   /* FLOW: index in shunt_flow.leg */
	__u8 mask;                  /* FLOW: enum shunt_mask */
	__u8 pad;
	struct shunt_addr client;   /* FLOW: the client's own address */
};

/* Whose address the pod sees as its client's. Its real one wherever the answer finds its way back by that. */
enum shunt_mask {
	SHUNT_MASK_NONE = 0,
	SHUNT_MASK_HOST = 1,    /* shunt's own: the client is the node itself, whose address would take the answer past us */
	SHUNT_MASK_HAIRPIN = 2, /* shunt's own: the client is the pod */
	SHUNT_MASK_NODE = 3,    /* the node's: the pod is on another node and the client outside of this one */
};

enum shunt_leg_state {
	SHUNT_LEG_NONE = 0,
	SHUNT_LEG_OPENING = 1, /* our SYN is on its way */
	SHUNT_LEG_OPEN = 2,
	SHUNT_LEG_DEAD = 3,    /* reset or closed by the pod while idle */
};

/*
 * One connection to a pod, in the pod's sequence space. With C the client's own space and S the space of the answers that the client sees:
 *   S = pod's seq + sdelta        C = pod's ack + cdelta
 */
struct shunt_leg {
	struct shunt_addr pod;
	__be16 pport;
	__be16 lport;
	__u32 sdelta;
	__u32 cdelta;
	__u32 pnext;   /* pod's space: one past the highest byte the pod has sent */
	__u32 cnext;   /* pod's space: one past the highest client byte sent to the pod */
	__u32 acked;   /* C: what the pod has acknowledged */
	__u32 tsdelta; /* timestamp for the client = pod's + tsdelta */
	__u32 tslast;  /* the pod's last timestamp */
	__u32 tsfirst; /* that of its SYN-ACK: no echo may be older (Linux 6.15 drops those in SYN_RECV) */
	__u16 version; /* index of shunt_version when it was opened: the name, not the place; see series */
	__u16 series;
	__u8 state;    /* enum shunt_leg_state */
	__u8 wscale;   /* pod's; 0 when none */
	__u16 mss;     /* pod's */
	__u8 lacks;    /* enum shunt_lack: what the client was promised and this pod does not do */
	__u8 mask;     /* enum shunt_mask */
	__u8 pad[2];
	struct shunt_addr from; /* the client's address, or what stands in for it */
};

/* What a pod may not know, though nearly all do. */
enum shunt_lack {
	SHUNT_LACK_TSTAMP = 1 << 0,
	SHUNT_LACK_SACK = 1 << 1,
	SHUNT_LACK_WSCALE = 1 << 2,
	SHUNT_LACK_ECN = 1 << 3,
};

/*
 * A client's options are agreed on before its pod is chosen. So the least that a frontend's pods have offered of late is remembered, once one of them
 * offered less than what we promise otherwise. No entry: they all do everything, and take Ethernet's 1500 bytes.
 */
struct shunt_promise {
	__u64 since; /* ns, bpf_ktime_get_ns(): when a pod offered as little; an old entry does not hold */
	__u16 mss;
	__u8 lacks;  /* enum shunt_lack */
	__u8 pad[5];
};

/*
 * A client's numbers in a flow that has ended. A SYN cookie is the ISN plus a hash, so any later packet proves one, too, when as much was answered as was
 * sent; but only a SYN can begin a flow in these numbers.
 */
struct shunt_closed {
	__u32 isn;
	__u32 end; /* one past the FIN, or where it would have been */
	__u32 syn; /* ISN of the last SYN since; `isn`: none came */
};

/* Whose sums a request goes to. */
struct shunt_user_key {
	__u64 user;   /* SipHash of the id under the split's salt: nobody learns an id from it */
	__u32 trial;  /* shunt_trial.id; 0: nobody's */
	__u32 series;
};

#define SHUNT_RENAMES 4 /* of the pod's lines in one head */

/* A line of a head whose name is another for the client, and whose value may be blank for it. In bytes before the place where lines are inserted. */
struct shunt_rename {
	__u16 name;  /* its first byte; 0: there is none */
	__u16 value; /* first byte that becomes a blank, */
	__u16 len;   /* and how many do; line ends stay. 0: the value stays */
};

/*
 * Lines that a head got on its way, until the receiver has acknowledged them. Everything behind them has a greater number for the receiver than for the
 * sender; and a part of the head that is sent again must get them again, and the names in it be changed again.
 *
 *     pod's bytes       HTTP/1.1 200 OK⏎ Server: x⏎ version: old⏎ Content-Length: 5⏎                        ⏎ hello
 *     client's bytes    HTTP/1.1 200 OK⏎ ~erver:  ⏎ ~ersion: old⏎ Content-Length: 5⏎ version: flowers-v2⏎ ⏎ hello
 *                                        ╰── rename[0] ──────────────────────────────╯╰ at      len ──────╯
 */
struct shunt_insert {
	__u32 at;   /* S: of their first byte, or where it would be */
	__u16 len;  /* bytes; 0: there are none */
	__u16 edit; /* index of shunt_edit + 1; 0: nothing was done to the head, or all is acknowledged */
	struct shunt_rename rename[SHUNT_RENAMES];
};

/*
 * A request's head that is another for the pod, until the pod has acknowledged it. It lies edited in the hold, and whatever the client sends again of it is
 * answered from there. leg->cdelta counts `less`, so it is right for what is behind the head; and hold_seq and leg->acked are numbers by that cdelta.
 *
 *     client's bytes    ... body │ GET / HTTP/1.1⏎ Host: example.com⏎ ⏎                      │ body ...
 *                                at                                             at + len
 *     pod's bytes       ... body │ GET / HTTP/1.1⏎ Host: flowers.ns-candidate⏎ ⏎   │ body ...
 *                                ╰── len - less ───────────────────────────────────╯
 */
struct shunt_recast {
	__u32 at;   /* C: of its first byte */
	__u16 len;  /* bytes, as the client sent it; 0: there is none, or all is acknowledged */
	__s16 less; /* how many fewer the pod gets */
};

enum shunt_flow_state {
	SHUNT_FLOW_HEAD = 1, /* collecting a request head */
	SHUNT_FLOW_OPENING = 2, /* decided; the leg's handshake runs */
	SHUNT_FLOW_BOUND = 3,   /* packets are translated */
};

/* Where we are in the pod's answer. */
enum shunt_answer_state {
	SHUNT_ANSWER_IDLE = 0,  /* complete: the next request may go anywhere */
	SHUNT_ANSWER_HEAD = 1,
	SHUNT_ANSWER_BODY = 2,  /* until answer_end */
	SHUNT_ANSWER_CLOSE = 3, /* until the connection ends */
	SHUNT_ANSWER_CHUNKED = 4, /* until the last chunk's trailer; answer_walk says where in it */
};

/* Where a walk over a chunked body is: what the next byte that must be read has to be (RFC 9112 section 7.1; http_chunk_byte() in http.h). */
enum shunt_chunk {
	SHUNT_CHUNK_END = 0,       /* the body is over, or it is not chunked */
	SHUNT_CHUNK_SIZE = 1,      /* of a size line, or what ends its size */
	SHUNT_CHUNK_BLANK = 2,     /* behind the size */
	SHUNT_CHUNK_EXTENSION = 3,
	SHUNT_CHUNK_SIZE_LF = 4,   /* of a size line whose CR was read */
	SHUNT_CHUNK_DATA_CR = 5,   /* behind a chunk's data */
	SHUNT_CHUNK_DATA_LF = 6,
	SHUNT_CHUNK_LINE = 7,      /* behind the last chunk: a trailer line begins, or the empty line that ends the body */
	SHUNT_CHUNK_TRAILER = 8,
	SHUNT_CHUNK_TRAILER_LF = 9,
	SHUNT_CHUNK_LAST_LF = 10,  /* of the empty line */
};

enum shunt_flow_flags {
	SHUNT_F_TSTAMP = 1 << 0,   /* timestamps negotiated with the client */
	SHUNT_F_SACK = 1 << 1,
	SHUNT_F_WSCALE = 1 << 2,
	SHUNT_F_PINNED = 1 << 3,   /* stays on its leg: framing is not followed (any more) */
	SHUNT_F_HEAD = 1 << 4,     /* the current request is a HEAD: its answer has no body */
	SHUNT_F_WAITING = 1 << 5,  /* no byte of the answer yet */
	SHUNT_F_ACKED = 1 << 6,    /* we acknowledged held bytes that the pod may not have */
	SHUNT_F_PENDING = 1 << 7,  /* a SYN reused the tuple; its cookie is not proved yet */
	SHUNT_F_CLIENT_FIN = 1 << 8,
	SHUNT_F_POD_FIN = 1 << 9,
	SHUNT_F_CLIENT_FIN_ACKED = 1 << 10,
	SHUNT_F_POD_FIN_ACKED = 1 << 11,
	SHUNT_F_MEASURED = 1 << 12, /* the current request is counted and its time runs */
	SHUNT_F_ECN = 1 << 13,     /* negotiated with the client, as the three above */
	SHUNT_F_EARLY = 1 << 15,   /* no byte of the client yet, but a leg: the server may speak first (tick.bpf.h) */
	SHUNT_F_EXPECT = 1 << 14,  /* the current request has a body that may wait for a 100, which has not come */
	SHUNT_F_EDIT = 1 << 16,    /* the head of the answer shall get the lines of shunt_flow.edit */
	SHUNT_F_RECAST = 1 << 17,  /* the head in the hold is to be edited by shunt_flow.request_edit before it goes to its pod */
};

struct shunt_flow {
	__u8 state;   /* enum shunt_flow_state */
	__u8 kind;    /* enum shunt_kind */
	__u8 current; /* the leg that packets go to */
	__u8 answer;  /* enum shunt_answer_state */
	__u32 flags;  /* enum shunt_flow_flags */
	__u16 mss;    /* the client's, one of the cookie's classes */
	__u8 wscale;  /* the client's */
	__u8 tries;   /* other ports tried for the opening leg */
	__u32 isn;    /* the client's; tells a reused tuple from a replay */
	__u32 pending_isn;
	__u32 snext;  /* S: next byte the client will see */
	__u32 sacked; /* S: what the client has acknowledged */
	__u32 request_end; /* C: where the next request begins; in a chunked request the next byte of its framing that must be read */
	__u32 answer_end;  /* S: where the answer ends (BODY) */
	__u32 answer_next; /* S: next byte of the answer that must be read: of its head, of a chunk's size, of the trailer */
	__u32 answer_chunk; /* http_chunks.size of the answer */
	__u32 request_chunk; /* http_chunks.size of the request */
	__u8 request_walk; /* enum shunt_chunk: in the request's body */
	__u8 answer_walk;  /* enum shunt_chunk: SHUNT_ANSWER_CHUNKED */
	__u8 convert;      /* status class that makes the current answer a conversion; 0: none does */
	__u8 pad;
	__u32 client_fin;  /* C: one past the client's FIN */
	__u32 window;      /* the client's last, unscaled field */
	__u32 ts_client;   /* the client's last timestamp */
	__u32 ts_sent;     /* greatest timestamp the client was sent */
	__u32 hold;        /* index of shunt_hold + 1; 0: none */
	__u32 hold_seq;    /* C: of hold.data[0] */
	__u32 hold_len;
	__u32 hold_answer; /* bytes of the answer's head collected */
	__u16 series;      /* of the current request */
	__u16 status;      /* of the current answer */
	__u64 started;     /* ns, bpf_ktime_get_ns(): first byte of the current request */
	__u64 opened;      /* ns: SYN to the pod of the opening leg */
	__u32 attempt;     /* pods tried before that one */
	__u32 missing;     /* bytes before snext that have not gone by yet: they were lost on the way to us, or overtaken */
	__u64 seen;        /* ns: last packet */
	struct shunt_user_key who; /* of the current request */
	struct shunt_insert insert; /* into the answer */
	struct shunt_recast recast; /* of the current request */
	__u16 edit;        /* of the current request's answer: index of shunt_edit + 1 */
	__u16 request_edit; /* of the current request itself */
	__u32 ifindex;     /* the client's interface */
	__u8 mac[12];      /* Ethernet addresses as the client's packets bear them: destination, source */
	struct shunt_leg leg[SHUNT_LEGS];
};

#define SHUNT_ANSWER_HEAD_SIZE 16384 /* of a response head that comes in pieces */
#define SHUNT_HOLD_SLACK 512        /* scans and sums work in pieces and may read past the end */

/* Bytes of a flow that wait: of requests on their way to a pod, and of a response head that came in pieces. */
struct shunt_hold {
	__u64 owner; /* the flow's lock word and isn; 0: free. Taken with compare-and-swap */
	__u64 since; /* ns; a holder that has not come back for a minute is gone */
	__u8 data[SHUNT_HOLD_SIZE + SHUNT_HOLD_SLACK];
	__u8 answer[SHUNT_ANSWER_HEAD_SIZE + SHUNT_HOLD_SLACK];
};

struct shunt_lock {
	__u32 held;
	__u32 pad[15]; /* a cache line each */
};

/* ---- numbers --------------------------------------------------------------------------------------------------------------------------- */

/* Per (route, version), per CPU. Every field only grows. */
struct shunt_count {
	__u64 requests;          /* requests (or connections of a connection frontend) bound to the version */
	__u64 status[6];         /* responses by class; [0]: no readable status */
	__u64 aborted;           /* connections that ended before their response did; an error */
	__u64 errors;            /* status >= 500, and aborted */
	__u64 rx_bytes;          /* client to pod, TCP payload as the pod gets it */
	__u64 tx_bytes;          /* pod to client, TCP payload as the pod sends it */
	__u64 latency_count;     /* whole responses: first byte of the request to last byte of the response, at the client's interface */
	__u64 latency_sum_ns;
	__u64 latency_sumsq_us2; /* sum of squares, in us^2 */
	__u64 ttfb_count;        /* first bytes of responses: first byte of the request to there */
	__u64 ttfb_sum_ns;
	__u64 conversions;       /* of whatever trial was on when the response came */
	__u64 users;             /* entries made in shunt_user; those that are not there any more were evicted */
};

enum shunt_latency {
	SHUNT_LATENCY_TOTAL = 0, /* to the response's last byte */
	SHUNT_LATENCY_TTFB = 1,  /* to its first byte */
	SHUNT_LATENCIES = 2,
};

struct shunt_hist {
	__u64 slot[SHUNT_HIST_SLOTS];
};

/* What a user got from a version in a trial. Written when a request is over, by any CPU. */
struct shunt_user {
	__u64 first;       /* ns, bpf_ktime_get_ns(): first byte of her first request */
	__u64 latency_us;  /* sum over the timed */
	__u64 latency_us2; /* sum of squares */
	__u32 requests;    /* that are over */
	__u32 timed;       /* whole responses */
	__u32 errors;      /* status >= 500, and aborted */
	__u32 refusals;    /* status 400..499 */
	__u32 conversions;
	__u32 pad;
};

/*
 * Why a packet, request or flow left the ordinary path. X(name, sort, what a person reads). A reason is normal life ("note"), or a turn in a flow's life
 * that is worth an event ("told"), or wants a look and is one, too ("odd").
 */
#define SHUNT_REASONS(X)                                                                                     \
	X(SYN, note, "SYNs answered with a cookie")                                                          \
	X(SYN_BAD, odd, "SYNs that are also FIN or RST, dropped as every stack does")                        \
	X(COOKIE_BAD, odd, "ACKs of no flow whose cookie is not ours or too old")                            \
	X(COOKIE_REPLAYED, note, "late ACKs of a flow that has ended")                                       \
	X(FLOW_NEW, note, "flows begun")                                                                     \
	X(FLOW_END, note, "flows ended by both FINs or a reset")                                             \
	X(FLOW_IDLE, told, "flows ended because nothing was heard of them for too long")                     \
	X(FLOW_REUSED, told, "flows replaced because the client used the port again")                        \
	X(FLOW_UNKNOWN, odd, "packets of no flow, answered with a reset")                                    \
	X(FLOW_FULL, odd, "packets dropped: no room for their flow (--flows), or no port for its connection to a pod") \
	X(LOCK_TIMEOUT, odd, "packets dropped: the flow was busy on another CPU for too long")               \
	X(BIND, told, "flows bound to a version")                                                            \
	X(REBIND, told, "requests that moved their flow to another version's leg")                           \
	X(LEG_OPEN, note, "connections to pods opened")                                                      \
	X(LEG_PORT, note, "connections to pods that needed another client port")                             \
	X(LEG_LESS, odd, "connections to pods that do less (timestamps, SACK, window scale, ECN) than their client was promised") \
	X(LEG_CHALLENGED, told, "challenge ACKs from pods that still knew the port")                         \
	X(LEG_REFUSED, odd, "connections that a pod refused")                                                \
	X(LEG_SILENT, odd, "connections that a pod left unanswered until its deadline")                      \
	X(POD_NONE, odd, "flows reset: no pod took their connection")                                        \
	X(CLIENT_QUIET, told, "pods connected for a client that says nothing yet: the server may speak first") \
	X(SERVER_FIRST, odd, "flows pinned by client address: the server spoke first")                       \
	X(POD_NEXT, odd, "requests that another pod took because theirs refused or was silent")              \
	X(LEG_HOST, note, "connections of this node itself: pods see shunt's own address")                   \
	X(LEG_HAIRPIN, note, "connections of a pod to itself: it sees shunt's own address")                  \
	X(LEG_NODE, note, "connections from outside to pods on other nodes: they see this node's address")   \
	X(LEG_NO_WAY, odd, "packets to pods on other nodes dropped: the node has no route to them")          \
	X(LEG_EVICTED, told, "idle connections to pods closed to make room for another version's")           \
	X(IDLE_ANSWERED, note, "packets of an idle leg, answered and not forwarded")                         \
	X(DIRECT_MOVED, told, "clients' own connections to pods moved off a leg's port")                     \
	X(MET_AGAIN, odd, "connections to pods that came by two attached interfaces; name one of them in --interface and --uplink") \
	X(HEAD_PARTIAL, note, "request heads that came in pieces")                                           \
	X(HEAD_TOO_LONG, odd, "flows pinned by client address: the request head is too long")                \
	X(NOT_HTTP, odd, "flows pinned by client address: the first bytes are no HTTP/1.x request")          \
	X(REQUEST_UNFRAMED, told, "flows pinned: the end of a request cannot be known")                      \
	X(EXPECT_REFUSED, told, "flows pinned: the answer came without the 100 that a body may have waited for") \
	X(UPGRADED, told, "flows pinned: the server changed the protocol (101)")                             \
	X(ANSWER_UNFRAMED, told, "flows pinned: the end of a response cannot be known")                      \
	X(ANSWER_AHEAD, note, "packets of responses dropped until a lost one before them came again")          \
	X(REQUEST_AHEAD, note, "packets of chunked requests dropped until a lost one before them came again")  \
	X(PIPELINED, note, "requests held until the answer before them was complete")                        \
	X(HOLD_FULL, odd, "request bytes dropped because no hold buffer was free (the client sends again)")  \
	X(HOLD_DROP, note, "request bytes dropped out of turn (the client sends again)")                     \
	X(HOLD_SENT, note, "held requests sent to a pod")                                                    \
	X(HOST_UNMATCHED, odd, "requests whose Host no route names; the frontend's first route took them")   \
	X(ENTRY_UNMATCHED, odd, "requests that no entry of their route takes; the route's first version took them")  \
	X(ID_MISSING, note, "requests without a user id; the client address stood in")                       \
	X(ID_CUT, odd, "user ids longer than 120 bytes; the first 120 decided")                              \
	X(EDITED, note, "responses whose head got the route's header lines")                                 \
	X(EDIT_PARTED, note, "packets whose header lines went ahead in one of their own")                    \
	X(EDIT_RENAMED, note, "headers of pods renamed (~) because the route sets or removes them")                     \
	X(EDIT_SAME, note, "responses left as they were: the pod itself says what the route sets, and nothing that it removes")           \
	X(EDIT_PASSED, odd, "responses that passed without the route's header lines: their head could not be edited") \
	X(REQUEST_EDITED, note, "requests whose head was edited as their route says")                         \
	X(REQUEST_EDIT_PASSED, odd, "requests that passed without their route's header edits: their head could not be edited") \
	X(FALLBACK, odd, "requests served by another version because theirs had no ready pod")               \
	X(NO_POD, odd, "flows reset: no version of the route has a ready pod")                               \
	X(FRAGMENT, odd, "IP fragments to a frontend, passed untouched")                                     \
	X(IP_OPTIONS, odd, "packets to a frontend with IP options or extension headers, passed untouched")   \
	X(VLAN_TWICE, odd, "packets to a frontend in two VLANs, passed untouched")                           \
	X(ICMP, note, "ICMP errors translated for the other end")                                            \
	X(ICMP_UNBOUND, note, "ICMP errors about packets to clients that no pod has sent, passed untouched")                                     \
	X(STRAY, note, "packets dropped that fit nothing their flow waits for: late, guessed or malformed ones") \
	X(NO_TABLE, odd, "decisions without a usable table entry")                                           \
	X(CHECKSUM_BAD, odd, "corrupt packets that were not read (the sender sends them again)")             \
	X(USER_FULL, odd, "requests that are in no user's sums: the table of users could free no entry")    \
	X(EVENT_LOST, note, "events left out: more of one sort at one time than are told, or nobody read the others") \
	X(INTERNAL, odd, "packets dropped because a kernel helper failed")

enum shunt_reason {
#define X(name, sort, text) SHUNT_R_##name,
	SHUNT_REASONS(X)
#undef X
	SHUNT_R_MAX
};

#define SHUNT_SORT_note 0ull
#define SHUNT_SORT_told 1ull
#define SHUNT_SORT_odd 1ull
#define SHUNT_REASON_WORDS 2 /* of bits, one for each reason */
#define SHUNT_EVENT_BIT(sort, reason, word) ((reason) / 64 == (word) ? (sort) << (reason) % 64 : 0)
#define SHUNT_EVENT_LOW(name, sort, text) | SHUNT_EVENT_BIT(SHUNT_SORT_##sort, SHUNT_R_##name, 0)
#define SHUNT_EVENT_HIGH(name, sort, text) | SHUNT_EVENT_BIT(SHUNT_SORT_##sort, SHUNT_R_##name, 1)
_Static_assert(SHUNT_R_MAX <= 64 * SHUNT_REASON_WORDS, "reasons have a bit each");

/* Is the reason told as an event? */
static inline int shunt_is_event(__u32 reason)
{
	__u64 word = reason < 64 ? 0 SHUNT_REASONS(SHUNT_EVENT_LOW) : 0 SHUNT_REASONS(SHUNT_EVENT_HIGH);

	return word >> (reason & 63) & 1;
}

#define SHUNT_EVENTS_SIZE (1u << 20) /* bytes of the ring of events */

/* An event, in the ring shunt_events: something that is not of every day happened to a flow. At most one of each reason, CPU and clock tick. */
struct shunt_event {
	__u64 time; /* ns, CLOCK_MONOTONIC */
	struct shunt_flow_key flow; /* all zero: of none */
	__u16 reason; /* enum shunt_reason */
	__u16 series; /* of the flow's request, or of the leg that it is at; SHUNT_NONE: it has neither */
};

/* ---- explain --------------------------------------------------------------------------------------------------------------------------- */

enum shunt_by {
	SHUNT_BY_RULE = 1,     /* a rule named the user's split */
	SHUNT_BY_HASH = 2,     /* the route's own split */
	SHUNT_BY_ENTRY = 3,    /* an entry took the request */
};

/* What the program `shunt_explain` writes in place of the packet it was given: how the live tables decide that packet. */
struct shunt_answer {
	__u32 verdict;       /* 0: decided; else enum shunt_reason + 1 that kept it from deciding */
	__u16 route;         /* index within the side */
	__u16 split;
	__u16 version;       /* the version the user belongs to */
	__u16 served;        /* the version that serves: differs when it has no ready pod */
	__u16 pod;           /* index of shunt_pod */
	__u8 by;             /* enum shunt_by */
	__u8 id_from_client; /* 1: no id in the request, the client address stood in */
	__u32 hash;          /* of the user id under the split's salt; decides the share */
	__u32 side;
	__u16 item, match;   /* where what decided was written, see enum shunt_manifest; SHUNT_NONE: nowhere, a stand-in */
	__u32 id_len;
	__u8 id[SHUNT_ID_MAX];
};

/* ---- names that both sides use ------------------------------------------------------------------------------------------------------------ */

#define SHUNT_PROG_FROM_CLIENT "shunt_from_client" /* ingress of an interface with clients behind it */
#define SHUNT_PROG_TO_CLIENT "shunt_to_client"     /* its egress */
#define SHUNT_PROG_FROM_POD "shunt_from_pod"       /* ingress of an interface whose answers do not come by the client's */
#define SHUNT_PROG_EXPLAIN "shunt_explain"         /* for BPF_PROG_TEST_RUN only */
#define SHUNT_PROG_SWEEP "shunt_sweep"             /* for BPF_PROG_TEST_RUN only */
#define SHUNT_PROG_TICK "shunt_tick"               /* for BPF_PROG_TEST_RUN only */

/* skb->mark of packets that we send round through the host's stack; cleared when they come by again. */
#define SHUNT_MARK 0x73687574u
/* Of a copy that a program sends of a packet at egress, so that its other run makes something else of it. */
#define SHUNT_MARK_COPY 0x73687563u

#define SHUNT_ASSERT(type, size) _Static_assert(sizeof(type) == (size), "ABI: bump SHUNT_SCHEMA")
SHUNT_ASSERT(struct shunt_addr, 16);
SHUNT_ASSERT(struct shunt_meta, 88);
SHUNT_ASSERT(struct shunt_frontend_key, 20);
SHUNT_ASSERT(struct shunt_frontend, 8);
SHUNT_ASSERT(struct shunt_route, 24 + SHUNT_NAME_MAX + SHUNT_HOST_MAX);
SHUNT_ASSERT(struct shunt_rule_key, 8 + SHUNT_ID_MAX + 8);
SHUNT_ASSERT(struct shunt_rule, 8);
SHUNT_ASSERT(struct shunt_entry, 12);
SHUNT_ASSERT(struct shunt_condition, 8 + SHUNT_NAME_MAX + SHUNT_VALUE_MAX);
SHUNT_ASSERT(struct shunt_share, 16);
SHUNT_ASSERT(struct shunt_split, 24 + 16 * SHUNT_SHARES);
SHUNT_ASSERT(struct shunt_version, 16);
SHUNT_ASSERT(struct shunt_pod, 20);
SHUNT_ASSERT(struct shunt_place, 40);
SHUNT_ASSERT(struct shunt_trial, 8 + SHUNT_METHOD_MAX + SHUNT_PATH_MAX);
SHUNT_ASSERT(struct shunt_user_key, 16);
SHUNT_ASSERT(struct shunt_user, 48);
SHUNT_ASSERT(struct shunt_flow_key, 36);
SHUNT_ASSERT(struct shunt_event, 48);
SHUNT_ASSERT(struct shunt_leg_key, 36);
SHUNT_ASSERT(struct shunt_leg_owner, 40);
SHUNT_ASSERT(struct shunt_leg, 80);
SHUNT_ASSERT(struct shunt_promise, 16);
SHUNT_ASSERT(struct shunt_closed, 12);
SHUNT_ASSERT(struct shunt_edit, 8 + SHUNT_EDIT_MAX + SHUNT_EDIT_NAMES * (SHUNT_NAME_MAX + SHUNT_ID_MAX));
SHUNT_ASSERT(struct shunt_insert, 8 + 6 * SHUNT_RENAMES);
SHUNT_ASSERT(struct shunt_recast, 8);
SHUNT_ASSERT(struct shunt_flow, 196 + 4 + 80 * SHUNT_LEGS);

#endif
