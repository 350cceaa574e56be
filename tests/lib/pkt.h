/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Packets as values: a test says what a packet holds, pkt_build() makes its bytes with right lengths and checksums, pkt_parse() reads bytes back and
 * refuses any that a receiver would drop. Both families have one type; the addresses say which.
 *
 *     Ethernet │ IPv4 or IPv6 │ TCP, its options in Linux's order (or UDP, or an ICMP echo) │ payload
 */
#ifndef SHUNT_TEST_PKT_H
#define SHUNT_TEST_PKT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

#define PKT_MAX 2048 /* bytes of a frame */
#define PKT_SACK_MAX 4u /* three beside a timestamp */

enum pkt_flags { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32, ECE = 64, CWR = 128 };
/* What is wrong with a TCP packet. PKT_UNSUMMED: only the pseudo header is summed, as on its way to a device that does the rest. */
enum pkt_damage { PKT_SOUND = 0, PKT_CORRUPT, PKT_UNSUMMED };
enum pkt_kind { PKT_TCP = 0, PKT_UDP, PKT_PING };

struct pkt {
	struct shunt_addr saddr, daddr;
	uint16_t sport, dport; /* host order, as all numbers here */
	enum pkt_kind kind;
	enum pkt_damage damage;
	bool to_client;        /* which way the MACs point: from the client's to the host's, or back */
	uint8_t flags;         /* enum pkt_flags */
	uint32_t seq, ack;
	uint16_t window;
	uint16_t urgent;       /* pointer */
	uint8_t ecn;           /* of the IP header: 0 none, 1 and 2 ECT, 3 CE */
	uint16_t mss;          /* 0: no such option */
	uint8_t wscale;        /* shift + 1; 0: no such option */
	bool sack_ok;
	bool tstamp;
	uint32_t tsval, tsecr;
	size_t sacks;          /* blocks */
	uint32_t sack[PKT_SACK_MAX][2];
	/*
	 * Other options than Linux's order: a letter each. n: NOP, m: MSS, w: window scale, p: SACK permitted, t: timestamp, s: the blocks, u: one that
	 * nobody knows, e: the end of options. NULL: Linux's order. Not read back.
	 */
	const char *layout;
	size_t unknown;        /* options found that nobody knows, whole */
	const void *payload;   /* after pkt_parse(): within the frame */
	size_t len;            /* of the payload */
};

/* Writes the frame; returns its length. `frame` has PKT_MAX bytes, and the payload fits (else abort: the test is wrong). */
size_t pkt_build(const struct pkt *pkt, uint8_t frame[PKT_MAX]);

/*
 * Reads a frame. 0; -EPROTO: not one that pkt_build() could have made (a bad length, an unknown option, ...); -EBADMSG: a wrong IP, TCP, UDP or ICMP
 * checksum. *ret_why then says which.
 */
int pkt_parse(const uint8_t *frame, size_t len, struct pkt *ret_pkt, const char **ret_why);

/* An ICMP error, of the family of its addresses. */
struct pkt_icmp {
	struct shunt_addr saddr, daddr;
	bool to_client;
	uint8_t type, code;
	uint16_t mtu;
	const uint8_t *quoted; /* from the IP header on; after pkt_icmp_parse(): within the frame */
	size_t quoted_len;
};

size_t pkt_icmp_build(const struct pkt_icmp *icmp, uint8_t frame[PKT_MAX]);

/* As pkt_parse(). What is quoted is not looked at. */
int pkt_icmp_parse(const uint8_t *frame, size_t len, struct pkt_icmp *ret_icmp, const char **ret_why);

/* The Internet checksum (RFC 1071) of bytes, not inverted, on top of `sum`. */
uint32_t pkt_sum(const void *bytes, size_t len, uint32_t sum);

#endif
