/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Running the kernel programs on single packets (BPF_PROG_TEST_RUN), in a network and mount namespace of the test's own:
 *
 *     struct tables ─▶ datapath_commit() ─▶ maps
 *     struct pkt ─▶ bytes ─▶ shunt_from_client, ... ─▶ verdict, bytes, mark
 *                                 │                 └──────────────▶ clones, copies: what it sent with bpf_clone_redirect(), caught at the device
 *                                 └▶ flows, reasons, counters ─▶ read back with the agent's own code
 *
 * The object files of both compilers are loaded as they lie in the build, so one test runs over both. A program's redirect is its verdict and is not
 * carried out; the test plays client and pod.
 */
#ifndef SHUNT_TEST_BPFRUN_H
#define SHUNT_TEST_BPFRUN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "datapath/datapath.h"
#include "pkt.h"
#include "plan/plan.h"

/* What the programs return. */
enum bpfrun_verdict {
	V_PASS = -1,    /* TCX_NEXT */
	V_DROP = 2,     /* TC_ACT_SHOT */
	V_REDIRECT = 7, /* TC_ACT_REDIRECT; the mark tells where to */
};

enum bpfrun_hook { FROM_CLIENT, TO_CLIENT, FROM_POD, BPFRUN_HOOKS };

#define BPFRUN_CLONES 40
#define BPFRUN_COPIES 2

struct bpfrun_frame {
	uint8_t bytes[PKT_MAX];
	size_t len;
	struct pkt pkt;  /* payload points into bytes */
	const char *why; /* NULL: pkt is right; else what is wrong with the frame */
};

struct bpfrun_result {
	enum bpfrun_hook hook;
	int verdict;   /* enum bpfrun_verdict */
	uint32_t mark; /* of the skb: SHUNT_MARK on packets that go round to a pod */
	struct bpfrun_frame out;
	struct bpfrun_frame clone[BPFRUN_CLONES]; /* into the device's ingress: to a pod, in order */
	size_t clones;
	struct bpfrun_frame copy[BPFRUN_COPIES]; /* out of the device: to the client */
	size_t copies;
};

struct bpfrun {
	struct datapath *datapath;
	int prog[BPFRUN_HOOKS]; /* enum bpfrun_hook */
	int capture;
	unsigned int ifindex;
	/*
	 * Packets are as from a NIC that sums up what it receives (CHECKSUM_COMPLETE); the run fails when its sum is not that of the bytes any more. Only for
	 * packets that keep their length: of others the kernel forgets the sum. Off before each test.
	 */
	bool summed;
	uint64_t reasons[SHUNT_R_MAX]; /* at the last bpfrun_forget() */
	bool told[SHUNT_R_MAX];        /* reasons that came as an event since the programs were loaded */
};

/*
 * cmocka's main for a file of tests: runs them all with the programs of clang-14, then with those of clang-19. *state is a struct bpfrun; before each
 * test its flows are forgotten and `tables` are live. A last test, in each group, sees that what the others provoked was told, and writes the reasons'
 * names to the file <name>-<compiler> of the directory that SHUNT_PROVOKED names, where tests/run looks for those that nobody has provoked.
 */
int bpfrun_main(const char *name, const struct tables *tables, const struct CMUnitTest *tests, size_t count);

/* Runs one packet. Fails the test when the run itself fails. */
void bpfrun_packet(struct bpfrun *run, enum bpfrun_hook hook, const struct pkt *pkt, struct bpfrun_result *ret_result);
void bpfrun_bytes(struct bpfrun *run, enum bpfrun_hook hook, const uint8_t *frame, size_t len, struct bpfrun_result *ret_result);

/* What the programs do by time, when so much of it has passed for every flow that waits; clones and copies of *ret_result are what they sent. */
void bpfrun_tick(struct bpfrun *run, int ms, struct bpfrun_result *ret_result);

/* Hands on the events since the last time; on_event may be NULL. */
void bpfrun_events(struct bpfrun *run, void (*on_event)(void *arg, const struct shunt_event *event), void *arg);

/* Makes other tables live. */
void bpfrun_commit(struct bpfrun *run, const struct tables *tables);

/* Empties the maps of flows, legs and holds; reasons count from here. */
void bpfrun_forget(struct bpfrun *run);

/* How often a reason was counted since. */
uint64_t bpfrun_reason(struct bpfrun *run, enum shunt_reason reason);

/* How many flows and leg tuples there are. */
size_t bpfrun_flows(struct bpfrun *run);
size_t bpfrun_legs(struct bpfrun *run);

/* The flow of a client and a frontend, ports in host order; false: none. */
bool bpfrun_flow(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
		 struct shunt_flow *ret_flow);

/* Makes a flow, which is there, have been silent for so long; or the pod of its opening leg. */
void bpfrun_silence(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
		    int seconds);
void bpfrun_silence_pod(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
			unsigned int ms);

/* Makes what is remembered of all frontends' pods so much older. */
void bpfrun_age_promises(struct bpfrun *run, unsigned int seconds);

/* Flows that wait. */
size_t bpfrun_waits(struct bpfrun *run);

/* Hold buffers in use. */
size_t bpfrun_holds(struct bpfrun *run);

/* Lets others have all hold buffers, since so many seconds; or gives all back. */
void bpfrun_take_holds(struct bpfrun *run, unsigned int seconds);
void bpfrun_free_holds(struct bpfrun *run);

#endif
