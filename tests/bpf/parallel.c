/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One flow on several CPUs at once, both ways: every packet comes out as it does alone, or is dropped and counted. */
#include "../lib/dialog.h"

#include <pthread.h>
#include <string.h>

#include <bpf/bpf.h>

#include "util/cleanup.h"

enum { THREADS = 4, FRAMES = 4, ROUNDS = 5000 };

#define HEAD "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 100000\r\n\r\n"
#define OK_LONG "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"

struct sample {
	enum bpfrun_hook hook;
	uint8_t in[PKT_MAX];
	size_t len;
	struct bpfrun_frame out; /* of a run alone */
};

struct worker {
	pthread_t thread;
	struct bpfrun *run;
	const struct sample *samples;
	unsigned int first;
	uint64_t passed, dropped, wrong;
};

static void *work(void *arg)
{
	struct worker *me = arg;

	for (unsigned int i = 0; i < ROUNDS; i++) {
		const struct sample *s = &me->samples[(me->first + i) % FRAMES];
		struct __sk_buff in = { .ifindex = me->run->ifindex };
		uint8_t out[PKT_MAX];
		LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = s->in, .data_size_in = s->len, .data_out = out, .data_size_out = sizeof(out),
			    .ctx_in = &in, .ctx_size_in = sizeof(in));

		if (bpf_prog_test_run_opts(me->run->prog[s->hook], &opts))
			me->wrong++;
		else if ((int)opts.retval == V_DROP)
			me->dropped++;
		else if ((int)opts.retval != V_PASS || opts.data_size_out != s->out.len || memcmp(out, s->out.bytes, s->out.len))
			me->wrong++;
		else
			me->passed++;
	}
	return NULL;
}

/* Segments in the middle of a request's body and of its answer, which may come again at any time. */
static void make_samples(struct dialog *d, struct dialog_pod *pod, struct sample samples[FRAMES])
{
	static char bytes[1200];

	for (int i = 0; i < FRAMES; i++) {
		struct sample *s = &samples[i];
		struct pkt to = { .saddr = d->client, .daddr = d->frontend, .sport = d->cport, .dport = d->fport, .flags = ACK, .seq = d->next + 1000 * (i / 2),
				  .ack = d->received, .window = 512, .tstamp = true, .tsval = d->tsval, .tsecr = d->tsecr, .payload = bytes,
				  .len = 1000 };
		struct pkt back = { .saddr = pod->addr, .daddr = d->client, .sport = pod->port, .dport = pod->lport, .flags = ACK,
				    .seq = pod->sent + 1000 * (i / 2), .ack = pod->received, .window = 512, .tstamp = true, .tsval = pod->tsval,
				    .tsecr = pod->tsecr, .payload = bytes, .len = 1000, .to_client = true };

		memset(bytes, 'a' + i, sizeof(bytes));
		s->hook = i % 2 ? TO_CLIENT : FROM_CLIENT;
		s->len = pkt_build(i % 2 ? &back : &to, s->in);
		bpfrun_bytes(d->run, s->hook, s->in, s->len, &d->r);
		if (d->r.verdict != V_PASS || d->r.out.why)
			dialog_fail(d, "a segment alone does not pass");
		s->out = d->r.out;
	}
}

static void test_packets_of_a_flow_on_several_cpus_come_out_as_alone(void **state)
{
	for (int family = 0; family < SHUNT_FAMILIES; family++) {
		static struct sample samples[FRAMES];
		struct worker workers[THREADS] = {};
		struct dialog_pod pod;
		struct dialog d = dialog_returns(*state, family, &pod);
		uint64_t passed = 0, dropped = 0;
		struct shunt_flow flow;

		dialog_says(&d, HEAD);
		dialog_expect_at_pod(&d, &pod, HEAD, strlen(HEAD));
		dialog_pod_says(&d, &pod, OK_LONG);
		make_samples(&d, &pod, samples);
		for (int i = 0; i < THREADS; i++) {
			workers[i] = (struct worker){ .run = *state, .samples = samples, .first = i };
			assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
		}
		for (int i = 0; i < THREADS; i++) {
			assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
			assert_int_equal(workers[i].wrong, 0);
			passed += workers[i].passed;
			dropped += workers[i].dropped;
		}
		assert_int_equal(passed + dropped, THREADS * ROUNDS);
		assert_true(passed > dropped);
		assert_int_equal(bpfrun_reason(*state, SHUNT_R_LOCK_TIMEOUT), dropped);
		assert_true(bpfrun_flow(*state, &d.client, d.cport, &d.frontend, 80, &flow));
		assert_int_equal(flow.snext, d.received + 2000);
		assert_int_equal(flow.flags & SHUNT_F_PINNED, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets_of_a_flow_on_several_cpus_come_out_as_alone),
	};

	return bpfrun_main("parallel", dialog_tables(), tests, ARRAY_SIZE(tests));
}
