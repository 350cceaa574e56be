/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What every part of the programs stands on: the types, the verdicts, and `struct work`.
 *
 * A BPF stack has 512 bytes, a flow and its keys have more; so all that one run of a program needs lies in one per-CPU map entry, which the parts hand
 * on as `w`. Programs of ours do not nest on one CPU where they use it: a packet that a run sends on with bpf_clone_redirect() enters the other
 * program with a tuple that is in no map, and that one leaves before it writes (see packet_parse and shunt_to_client).
 */
#ifndef SHUNT_BASE_BPF_H
#define SHUNT_BASE_BPF_H

#include "vmlinux.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "shunt/abi.h"
#include "shunt/hash.h"
#include "shunt/http.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Before a bounds check on a value that clang would otherwise check under another name than it uses (clang-14). */
#define keep(x) asm volatile("" : "+r"(x))

/* ns from `then` to `now`. Another CPU may have noted `then` after this one has read `now`: that is no time, and not 584 years. */
static __always_inline __u64 elapsed(__u64 now, __u64 then)
{
	return now > then ? now - then : 0;
}

/* What becomes of the packet. PASS lets the programs of a CNI behind us run (TCX_NEXT, TC_ACT_UNSPEC for clsact). */
enum verdict {
	PASS = -1,
	DROP = 2,      /* TC_ACT_SHOT */
	REDIRECT = 7,  /* TC_ACT_REDIRECT */
	GO_ON = -1000,   /* between functions only: this part has nothing to say, take the next step */
	NOT_YET = -1001, /* likewise: the client must acknowledge the answer first */
	SILENT = -1003,  /* likewise: the pod has not answered in time, another shall be tried */
	HELD = -1002,    /* likewise: a request, or a part of one, is in the hold; see to it (request_held). Returned, not called: stack is scarce */
};

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define IPPROTO_ICMPV6 58
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_HLEN 14
#define AF_INET 2
#define AF_INET6 10
#define IPV4_LEN 20
#define IPV6_LEN 40
#define IPV4_TOT_LEN_OFFSET 2
#define IPV4_CHECK_OFFSET 10
#define IPV6_PAYLOAD_LEN_OFFSET 4
#define TCP_LEN 20
#define TCP_OPTIONS_MAX 40
#define TCP_SEQ_OFFSET 4
#define TCP_CHECK_OFFSET 16

enum tcp_flag {
	TCP_FIN = 1,
	TCP_SYN = 2,
	TCP_RST = 4,
	TCP_PSH = 8,
	TCP_ACK = 16,
	TCP_URG = 32,
	TCP_ECE = 64,
	TCP_CWR = 128,
};

/* Our window scale towards clients: the scale of most pods, and 2^16 * 2^7 = 8 MiB of window. */
#define OUR_WSCALE 7
#define NO_WSCALE 15 /* in a cookie's option bits */

#define CUTS_MAX 16 /* parts that one request's head may lose */

/* Longest wait of held bytes for a pod before the buffer may be taken by another flow. */
#define HOLD_STALE_NS (60ull * 1000000000)

/* Sequence numbers, modulo 2^32 (RFC 9293 section 3.4). */
static __always_inline bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline bool seq_after(__u32 a, __u32 b)
{
	return (__s32)(a - b) > 0;
}

/* A TCP packet as it came. */
struct packet {
	struct shunt_addr saddr, daddr;
	__be16 sport, dport;
	__u32 seq, ack;
	__u32 len;    /* of the payload */
	__u16 window;
	__u8 flags;   /* enum tcp_flag */
	__u8 family;  /* enum shunt_family */
	__u8 l4;      /* offset of the TCP header */
	__u8 payload; /* offset of the payload */
};

/* A packet's TCP options. */
struct tcp_options {
	__u8 raw[TCP_OPTIONS_MAX + 8]; /* zero padded */
	__u32 len;
	__u32 at; /* of the parser */
	__u32 tsval, tsecr;
	__u16 mss;    /* 0: none */
	__u8 wscale;  /* NO_WSCALE: none */
	__u8 sack;    /* permitted */
	__u8 tstamp;  /* where in raw its value is; 0: none, as below */
	__u8 blocks;  /* where the SACK blocks are */
	__u8 blocks_len;
	__wsum change; /* what the checksum gains by their translation */
};

/* An ICMP error about a TCP packet; see icmp.bpf.h. */
struct icmp_error {
	struct shunt_addr sender, receiver; /* of the error */
	struct shunt_addr saddr, daddr;     /* of the packet that it quotes, as all below */
	__be16 sport, dport;
	__be16 new_sport, new_dport;
	__u32 seq;
	__u32 seq_shift, ack_shift;
	__u32 mtu;
	__u32 l4;          /* offset of the quoted TCP header */
	__wsum change;     /* what the error's checksum gains */
	__wsum tcp_change; /* what the quoted TCP checksum gains */
	__u8 family;       /* enum shunt_family */
	__u8 too_big;
};

/* A packet that we make: headers are written from here over any skb. */
struct forge {
	struct shunt_addr saddr, daddr;
	__be16 sport, dport;
	__u32 seq, ack;
	__u32 len;         /* payload bytes behind the headers, which are already in the skb */
	__wsum sum;        /* of the payload */
	__u16 window;
	__u8 flags;
	__u8 options_len;  /* bytes, a multiple of 4 */
	__u8 family;
	__u8 pad[3];
	__u8 ip[IPV6_LEN]; /* an IPv4 header lies at the end, so that TCP follows it */
	struct tcphdr tcp;
	__u8 options[TCP_OPTIONS_MAX];
};

/* What the tables say about a request or connection. */
struct choice {
	__u64 noted[SHUNT_REASON_WORDS]; /* bits of enum shunt_reason */
	__u64 user;  /* hash of the id */
	__u32 trial; /* id; 0: none */
	__u32 convert; /* status class that makes the answer a conversion; 0: none does */
	__u32 side;
	__u32 route, split, version, served, pod;
	__u32 by; /* enum shunt_by */
	__u16 item, match;
	__u32 hash;
	__u32 id_from_client;
	__u32 elsewhere; /* the pod is on another node */
	__u32 refused; /* enum shunt_reason + 1; 0: chosen */
	__u16 series;
	__u16 edit; /* of the answer: as shunt_version.edit */
	__u16 request_edit;
	__be16 port;
	struct shunt_addr addr;
};

/* Where a program runs; forge.bpf.h says what that means for packets that we send. */
enum place {
	AT_CLIENT_IN,  /* ingress of the client's interface */
	AT_CLIENT_OUT, /* its egress */
	AT_POD_IN,     /* ingress of the interface behind which the pod is */
};

/* Which way a packet's Ethernet addresses point. */
enum aim {
	AIM_CLIENT, /* from the client's interface to the client */
	AIM_POD,    /* from the client to its interface */
	AIM_OTHER,  /* between others */
};

/* Headers for bpf_tcp_raw_gen_syncookie_*(): IP and TCP with room for all options. */
struct cookie_headers {
	union {
		struct iphdr v4;
		struct ipv6hdr v6;
	};
	struct tcphdr tcp;
	__u8 options[TCP_OPTIONS_MAX];
};

struct work {
	struct {
		struct packet p;
		struct shunt_leg_key key;
	} peek; /* a packet at egress, until it is known to be ours */
	struct packet p;
	struct shunt_flow_key key;
	struct shunt_leg_key leg_key;
	struct shunt_leg_owner owner;
	struct shunt_frontend_key frontend_key; /* its pad is never written: 0 */
	struct shunt_frontend frontend;
	__u32 side;
	__u32 leg;     /* of a packet from a pod */
	__u32 place;   /* enum place: where this run is */
	__u32 aim;     /* enum aim of the packet at hand */
	__u32 mask;    /* enum shunt_mask of the leg that the packet in `forge` is for */
	__u32 ifindex; /* the client's interface */
	__u8 mac[12];  /* as shunt_flow.mac; set where `aim` can be AIM_OTHER */
	__u32 attempt;      /* pods of the chosen version that were tried already */
	__u32 same_version; /* attempt > 0: only its own pods will do */
	__u32 ring;         /* index of shunt_ring that pods are taken from */
	struct bpf_fib_lookup fib;
	struct bpf_sock_tuple tuple;
	struct choice choice;
	struct forge forge;
	struct {
		__u32 at, end; /* offsets in the hold */
		__u32 mss;
		__u32 segments;
	} emit;
	struct {
		__u32 seq;   /* S: of a blank line, before which lines may go */
		__u32 at;    /* lines go so many bytes into the payload of the packet at hand */
		__u32 len;   /* bytes of them; 0: none */
		__u32 fresh; /* 1: it was decided with this packet */
	} insert;
	struct {
		__u32 count;
		__u32 same;             /* headers that are there once, with the value that they are to have */
		__u32 of_name, is_same; /* lines of the header at hand; whether the last of them has the value */
		__u32 removed;          /* lines of headers that are removed */
		struct shunt_rename line[SHUNT_RENAMES];
	} found; /* of the pod's lines whose headers are set or removed */
	struct http_scan line;
	struct {
		__u32 count;
		__u32 bytes; /* of them all */
		struct {
			__u32 at, len;
		} cut[CUTS_MAX];
	} cuts; /* parts of a request's head that go, in the hold */
	__u32 parting; /* 1: a copy is on its way to the other run of this program */
	struct tcp_options options;
	struct icmp_error icmp;
	struct cookie_headers cookie;
	struct http_request request;
	struct {
		__u32 entry, end; /* the one being tried, and behind the last */
		__u32 condition;  /* of the entry: how many hold already */
		__u32 order;      /* the place of the rule that names the user: no entry behind it counts */
		__u32 known;      /* bits 1 << slot */
		__u32 wanted;     /* slot that the scan of w->name is for; 0: none */
		struct {
			__u32 off, len; /* off 0: the head does not have it */
		} value[SHUNT_NAMES_PER_ROUTE];
	} match;
	struct http_response response;
	struct shunt_route route; /* of the choice */
	struct http_name name;
	struct shunt_id id;
	struct shunt_id host; /* lower case */
	struct shunt_rule_key rule_key;
	struct shunt_flow fresh;
	struct http_buf buf;
};

#endif
