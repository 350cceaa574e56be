/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Asking the kernel: the request becomes the packet it would arrive in, the pinned program shunt_explain decides it with the code and the tables that
 * packets meet, and leaves its answer in the packet's place.
 *
 *     Ethernet │ IPv4 or IPv6 │ TCP │ head        ─▶ BPF_PROG_TEST_RUN ─▶      struct shunt_answer │ ...
 */
#include "datapath/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <string.h>

#include <bpf/bpf.h>

#include "util/addr.h"
#include "util/cleanup.h"
#include "util/log.h"

#define HEAD_MAX 3500 /* a test packet has one page with all that the kernel keeps around it */
#define FRAME_MAX (sizeof(struct ethhdr) + sizeof(struct ip6_hdr) + sizeof(struct tcphdr) + HEAD_MAX)

static size_t put_ethernet(uint8_t *frame, uint16_t protocol)
{
	struct ethhdr eth = { .h_proto = htons(protocol) };

	memcpy(frame, &eth, sizeof(eth));
	return sizeof(eth);
}

/* No checksums: the program reads, it sends nothing on. */
static size_t put_ipv4(uint8_t *frame, const struct explain_request *request, size_t length)
{
	struct iphdr ip = { .version = 4, .ihl = sizeof(ip) / 4, .ttl = 64, .protocol = IPPROTO_TCP, .tot_len = htons(sizeof(ip) + length) };

	memcpy(&ip.saddr, &request->client.ip[12], sizeof(ip.saddr));
	memcpy(&ip.daddr, &request->frontend.ip[12], sizeof(ip.daddr));
	memcpy(frame, &ip, sizeof(ip));
	return sizeof(ip);
}

static size_t put_ipv6(uint8_t *frame, const struct explain_request *request, size_t length)
{
	struct ip6_hdr ip = { .ip6_flow = htonl(6u << 28), .ip6_plen = htons(length), .ip6_nxt = IPPROTO_TCP, .ip6_hlim = 64 };

	memcpy(&ip.ip6_src, &request->client, sizeof(ip.ip6_src));
	memcpy(&ip.ip6_dst, &request->frontend, sizeof(ip.ip6_dst));
	memcpy(frame, &ip, sizeof(ip));
	return sizeof(ip);
}

static size_t put_tcp(uint8_t *frame, const struct explain_request *request)
{
	struct tcphdr tcp = {
		.source = htons(request->client_port),
		.dest = htons(request->frontend_port),
		.seq = htonl(1),
		.ack_seq = htonl(1),
		.doff = sizeof(tcp) / 4,
		.ack = 1,
		.psh = 1,
		.window = htons(65535),
	};

	memcpy(frame, &tcp, sizeof(tcp));
	return sizeof(tcp);
}

/* Returns the frame's length. */
static size_t build(uint8_t frame[FRAME_MAX], const struct explain_request *request)
{
	size_t head = strlen(request->head), n;
	bool v4 = addr_is_v4(&request->frontend);

	n = put_ethernet(frame, v4 ? ETH_P_IP : ETH_P_IPV6);
	if (v4)
		n += put_ipv4(frame + n, request, sizeof(struct tcphdr) + head);
	else
		n += put_ipv6(frame + n, request, sizeof(struct tcphdr) + head);
	n += put_tcp(frame + n, request);
	memcpy(frame + n, request->head, head);
	return n + head;
}

int datapath_explain(struct datapath *datapath, const struct explain_request *request, struct shunt_answer *ret_answer)
{
	uint8_t frame[FRAME_MAX], out[FRAME_MAX + sizeof(struct shunt_answer)];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_out = out, .data_size_out = sizeof(out));

	if (strlen(request->head) > HEAD_MAX)
		return log_refuse(-E2BIG, "the request head has %zu bytes, explain takes %d", strlen(request->head), HEAD_MAX);
	if (addr_is_v4(&request->client) != addr_is_v4(&request->frontend))
		return log_err(0, "client and frontend must both be IPv4 or both be IPv6 addresses");
	opts.data_size_in = build(frame, request);
	if (bpf_prog_test_run_opts(datapath->prog[DATAPATH_PROG_EXPLAIN], &opts))
		return log_err(-errno, "cannot run %s", SHUNT_PROG_EXPLAIN);
	if (opts.data_size_out < sizeof(*ret_answer))
		return log_refuse(-EPROTO, "%s gave %u bytes for an answer of %zu: it is of another shunt", SHUNT_PROG_EXPLAIN, opts.data_size_out,
			       sizeof(*ret_answer));
	memcpy(ret_answer, out, sizeof(*ret_answer));
	return 0;
}
