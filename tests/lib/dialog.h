/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A client and its pods, as the programs see them: both ends keep real TCP numbers, so that every packet they send is one that a real end would send,
 * and every packet that the programs make is checked against what that end must get.
 *
 *     client: seq space C, from `isn`         pod: seq space P, from `iss`
 *     dialog_syn ─▶ SYN-ACK                    dialog_pod_accepts ─▶ ACK and held bytes, for the pod
 *     dialog_sends ─▶ d->r                     dialog_pod_sends ─▶ the same bytes, for the client
 *
 * Each function runs one packet and leaves what became of it in d->r.
 */
#ifndef SHUNT_TEST_DIALOG_H
#define SHUNT_TEST_DIALOG_H

#include "bpfrun.h"

struct dialog_pod {
	struct shunt_addr addr;
	uint16_t port;
	uint16_t lport;    /* the leg's port, from its SYN */
	uint32_t iss;      /* of the pod */
	uint32_t sent;     /* P: next byte the pod sends */
	uint32_t received; /* C as this leg has it: next byte the pod expects */
	uint32_t tsval;    /* the pod's clock, far from ours */
	uint32_t tsecr;
	uint8_t wscale;    /* shift */
};

struct dialog {
	struct bpfrun *run;
	const char *sentence; /* of a case in a table, for failures; NULL: none */
	struct shunt_addr client, frontend;
	uint16_t cport, fport;
	bool tstamp, sack, wscale; /* offered by the client */
	uint16_t mss;
	uint32_t isn;      /* of the client */
	uint32_t next;     /* C: next byte the client sends */
	uint32_t cookie;   /* our ISN */
	size_t waiting;    /* bytes of it that are held and not acknowledged: pipelined requests */
	uint32_t received; /* S: next byte the client expects */
	uint32_t acked;    /* S: what it has acknowledged */
	uint32_t tsval, tsecr;
	enum pkt_damage damage; /* of the packets of both ends */
	struct bpfrun_result r;
};

/* The tables that dialogs use; see dialog.c for what is in them. */
const struct tables *dialog_tables(void);

enum dialog_version { DIALOG_V1, DIALOG_V2 };

/* A client of a family, before its SYN, towards the request frontend; fields may be changed before dialog_syn(). */
struct dialog dialog_of(struct bpfrun *run, enum shunt_family family);

/* The pod of a version of dialog_tables(), in the dialog's family. */
struct dialog_pod dialog_pod(const struct dialog *d, enum dialog_version version);

/* A frontend by number: 10.96.0.<number> or fd00:96::<number>. */
void dialog_towards(struct dialog *d, int number, uint16_t port);

/* SYN; checks the SYN-ACK. */
void dialog_syn(struct dialog *d);

/* The handshake: SYN, SYN-ACK, ACK. */
void dialog_connects(struct dialog *d);

/* One segment of the client, with what it has received acknowledged. */
void dialog_sends(struct dialog *d, const char *bytes, size_t len);
void dialog_says(struct dialog *d, const char *text);

/* A bare segment of the client. */
void dialog_flags(struct dialog *d, uint8_t flags);

/* The packet at hand is a leg's SYN towards the pod, for the request that begins at `start` (C). */
void dialog_expect_leg(struct dialog *d, struct dialog_pod *pod, uint32_t start);

/* The pod's SYN-ACK; checks that `len` held bytes go to it. */
void dialog_pod_accepts(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len);

/* One segment of the pod; checks that the client gets it. */
void dialog_pod_sends(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len);
void dialog_pod_says(struct dialog *d, struct dialog_pod *pod, const char *text);

/* A segment of the pod as it is; nothing is checked. */
void dialog_pod_flags(struct dialog *d, struct dialog_pod *pod, uint8_t flags);

/* The packet at hand is the client's segment, translated, with these bytes. */
void dialog_expect_at_pod(struct dialog *d, struct dialog_pod *pod, const char *bytes, size_t len);

/* The packet at hand went to the pod as the bare ACK that it is, without its bytes. */
void dialog_expect_parted(struct dialog *d);

/* Pipelined bytes of the client: they are held; the pod hears only what their packet acknowledges. */
void dialog_waits(struct dialog *d, const char *text);

/*
 * The pod's segment that completes an answer for which a request waits: checks that a copy of it reaches the client. The packet at hand is then either
 * the next request (dialog_expect_released) or a probe (dialog_expect_probe).
 */
void dialog_pod_completes(struct dialog *d, struct dialog_pod *pod, const char *text);

/* The packet at hand goes round to the pod with these bytes, which waited. */
void dialog_expect_released(struct dialog *d, struct dialog_pod *pod, const char *text);

/* The frame tells a pod with a bare packet that the client has all of its answer. */
void dialog_expect_told(const struct dialog *d, const struct bpfrun_frame *frame, const struct dialog_pod *pod, uint8_t flags);

/* The packet at hand makes the client acknowledge: a byte that it has acknowledged before. */
void dialog_expect_probe(struct dialog *d);

/* The packet at hand is a bare ACK of all that the client sent, for the client. */
void dialog_expect_ack(struct dialog *d);

/* A whole exchange on a new connection: handshake, request, leg, response "200 OK" without a body, its ACK. */
void dialog_exchange(struct dialog *d, struct dialog_pod *pod, const char *request);

/* A connection to v2 on which that has been done. Flows of before are forgotten. */
struct dialog dialog_opens(struct bpfrun *run, enum shunt_family family, struct dialog_pod *ret_pod, const char *request);

/*
 * A connection that has come back to its first leg, of v1, after a request that went to v2: that leg's numbers differ from the client's in both directions.
 * All is answered and acknowledged. Flows of before are forgotten.
 */
struct dialog dialog_returns(struct bpfrun *run, enum shunt_family family, struct dialog_pod *ret_one);

/* Fails with what the packet at hand is. */
void dialog_fail(const struct dialog *d, const char *what);

#endif
