/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "bpfrun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "util/cleanup.h"

#define PIN_DIR "/sys/fs/bpf/shunt" /* in a mount namespace and bpffs of our own */
#define DEVICE "client0"
#define FEW_FLOWS 4096              /* and legs: the programs do not know the size of their maps, and the test starts sooner */
#define FEW_USERS 1024
#define FEW_WAITS 1024 /* shunt_tick looks into each bucket, a model run at each step */

static const char *object_path; /* of the running group, below the build directory */
static char group_name[128];
static bool can_sum; /* the kernel knows the flag (6.17 does) */
#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1u << 2)
#endif
static const struct tables *group_tables;

/* ---- the stage ------------------------------------------------------------------------------------------------------------------------ */

static void enter_namespaces(void)
{
	static bool entered;

	if (entered)
		return;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		fail_msg("unshare: %s (these tests need root)", strerror(errno));
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	if (system("ip link set lo up && ip link add " DEVICE " type veth peer name client1 && ip link set " DEVICE " up && ip link set client1 up"))
		fail_msg("cannot make the device %s", DEVICE);
	entered = true;
}

/* The build directory, from this binary's place in it: <build>/tests/bpf/<name>. */
static void build_path(const char *below, char path[PATH_MAX])
{
	char self[PATH_MAX] = {}, *cut;

	assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	cut = strstr(self, "/tests/bpf/");
	assert_non_null(cut);
	*cut = 0;
	assert_true(snprintf(path, PATH_MAX, "%.3000s/%s", self, below) < PATH_MAX);
}

static void shrink(struct bpf_object *object, const char *name, uint32_t entries)
{
	assert_int_equal(bpf_map__set_max_entries(bpf_object__find_map_by_name(object, name), entries), 0);
}

/* Loads the object and pins it as the agent would, so that the agent's code can read and write it. */
static void load_and_pin(const char *file)
{
	struct bpf_object *object;
	struct bpf_program *program;
	struct bpf_map *map;
	char path[PATH_MAX];

	assert_int_equal(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0);
	assert_int_equal(mkdir(PIN_DIR, 0700) || mkdir(PIN_DIR "/prog", 0700) || mkdir(PIN_DIR "/link", 0700), 0);
	object = bpf_object__open_file(file, NULL);
	if (!object)
		fail_msg("cannot open %s: %s", file, strerror(errno));
	shrink(object, "shunt_flow", FEW_FLOWS);
	shrink(object, "shunt_leg", FEW_FLOWS);
	shrink(object, "shunt_user", FEW_USERS);
	shrink(object, "shunt_wait", FEW_WAITS);
	if (bpf_object__load(object))
		fail_msg("the kernel refuses %s: %s", file, strerror(errno));
	bpf_object__for_each_program(program, object) {
		snprintf(path, sizeof(path), PIN_DIR "/prog/%s", bpf_program__name(program));
		assert_int_equal(bpf_program__pin(program, path), 0);
	}
	bpf_object__for_each_map(map, object) {
		if (strncmp(bpf_map__name(map), "shunt_", 6) || strchr(bpf_map__name(map), '.'))
			continue;
		snprintf(path, sizeof(path), PIN_DIR "/%s", bpf_map__name(map));
		assert_int_equal(bpf_map__pin(map, path), 0);
	}
	bpf_object__close(object);
}

static int map_fd(const char *name)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), PIN_DIR "/%s", name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		fail_msg("%s: %s", path, strerror(errno));
	return fd;
}

static void write_meta(void)
{
	struct shunt_meta meta = { .magic = SHUNT_MAGIC, .schema = SHUNT_SCHEMA };
	_cleanup_close_ int fd = map_fd("shunt_meta");
	uint32_t zero = 0;

	assert_int_equal(bpf_map_update_elem(fd, &zero, &meta, BPF_ANY), 0);
}

/* Sees what arrives at the device and what leaves it; what was there before the socket does not matter. */
static int open_capture(unsigned int ifindex)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = (int)ifindex };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static const char *const pin[BPFRUN_HOOKS] = {
	[FROM_CLIENT] = PIN_DIR "/prog/" SHUNT_PROG_FROM_CLIENT,
	[TO_CLIENT] = PIN_DIR "/prog/" SHUNT_PROG_TO_CLIENT,
	[FROM_POD] = PIN_DIR "/prog/" SHUNT_PROG_FROM_POD,
};

static bool kernel_can_sum(int prog)
{
	uint8_t frame[64] = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame), .flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE);

	return !bpf_prog_test_run_opts(prog, &opts);
}

static int group_setup(void **state)
{
	struct bpfrun *run = calloc(1, sizeof(*run));
	char path[PATH_MAX];

	assert_non_null(run);
	enter_namespaces();
	build_path(object_path, path);
	load_and_pin(path);
	write_meta();
	assert_int_equal(datapath_open_pinned(PIN_DIR, &run->datapath), 0);
	for (int hook = 0; hook < BPFRUN_HOOKS; hook++) {
		run->prog[hook] = bpf_obj_get(pin[hook]);
		assert_true(run->prog[hook] >= 0);
	}
	can_sum = kernel_can_sum(run->prog[FROM_CLIENT]);
	/* A packet that a program sends with bpf_clone_redirect() goes through the device's hooks while that program still works, as it really does. */
	assert_int_equal(datapath_attach(run->datapath, DEVICE, false), 0);
	run->ifindex = if_nametoindex(DEVICE);
	run->capture = open_capture(run->ifindex);
	*state = run;
	return 0;
}

static int group_teardown(void **state)
{
	struct bpfrun *run = *state;

	if (!run)
		return 0;
	datapath_close(&run->datapath);
	for (int hook = 0; hook < BPFRUN_HOOKS; hook++)
		close(run->prog[hook]);
	close(run->capture);
	free(run);
	return umount("/sys/fs/bpf");
}

static int test_setup(void **state)
{
	struct bpfrun *run = *state;

	run->summed = false;
	bpfrun_commit(run, group_tables);
	bpfrun_forget(*state);
	return 0;
}

/* What was not read by the test itself. */
static int test_teardown(void **state)
{
	bpfrun_events(*state, NULL, NULL);
	return 0;
}

static void note_provoked(const uint64_t reasons[SHUNT_R_MAX])
{
	static const char *const names[SHUNT_R_MAX] = {
#define X(name, sort, text) #name,
		SHUNT_REASONS(X)
#undef X
	};
	const char *directory = getenv("SHUNT_PROVOKED");
	char path[PATH_MAX];
	FILE *file;

	if (!directory || !*directory)
		return;
	assert_true(snprintf(path, sizeof(path), "%s/%s", directory, group_name) < (int)sizeof(path));
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < SHUNT_R_MAX; i++)
		if (reasons[i])
			fprintf(file, "%s\n", names[i]);
	assert_int_equal(fclose(file), 0);
}

/* Each at least once: at one time no more than one of a reason is told. */
static void test_what_happened_and_wants_a_look_was_told(void **state)
{
	struct bpfrun *run = *state;
	uint64_t reasons[SHUNT_R_MAX];

	assert_int_equal(datapath_read_reasons(run->datapath, reasons), 0);
	for (int i = 0; i < SHUNT_R_MAX; i++)
		if (reasons[i] && shunt_is_event(i) && !run->told[i])
			fail_msg("reason %d of SHUNT_REASONS was counted %llu times and no event came", i, (unsigned long long)reasons[i]);
	note_provoked(reasons);
}

int bpfrun_main(const char *name, const struct tables *tables, const struct CMUnitTest *tests, size_t count)
{
	static const char *const objects[][2] = { { "bpf/shunt.bpf.o", "clang-14" }, { "clang-19/shunt.bpf.o", "clang-19" } };
	_cleanup_free_ struct CMUnitTest *prepared = calloc(count + 1, sizeof(*prepared));
	int failed = 0;

	if (!prepared)
		return 1;
	memcpy(prepared, tests, count * sizeof(*tests));
	for (size_t i = 0; i < count; i++) {
		prepared[i].setup_func = test_setup;
		prepared[i].teardown_func = test_teardown;
	}
	prepared[count] = (struct CMUnitTest)cmocka_unit_test(test_what_happened_and_wants_a_look_was_told);
	group_tables = tables;
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		char group[128];

		snprintf(group, sizeof(group), "%s, %s", name, objects[i][1]);
		snprintf(group_name, sizeof(group_name), "%s-%s", name, objects[i][1]);
		object_path = objects[i][0];
		failed += _cmocka_run_group_tests(group, prepared, count + 1, group_setup, group_teardown);
	}
	return failed;
}

/* ---- packets -------------------------------------------------------------------------------------------------------------------------- */

static void read_frame(struct bpfrun_frame *frame)
{
	frame->why = NULL;
	memset(&frame->pkt, 0, sizeof(frame->pkt));
	if (pkt_parse(frame->bytes, frame->len, &frame->pkt, &frame->why) == 0)
		frame->why = NULL;
}

/* The next frame at the device that is TCP; others are the kernel's own (IPv6 neighbours and groups). *ret_leaves: it went out, not in. */
static bool capture_one(struct bpfrun *run, struct bpfrun_frame *frame, bool *ret_leaves)
{
	for (;;) {
		struct sockaddr_ll at;
		socklen_t size = sizeof(at);
		ssize_t n = recvfrom(run->capture, frame->bytes, sizeof(frame->bytes), 0, (struct sockaddr *)&at, &size);

		if (n < 0)
			return false;
		frame->len = n;
		*ret_leaves = at.sll_pkttype == PACKET_OUTGOING;
		if (n > 23 && (frame->bytes[12] == 0x08 ? frame->bytes[23] : frame->bytes[20]) == IPPROTO_TCP)
			return true;
	}
}

/* Sorts what the program sent. */
static void read_captured(struct bpfrun *run, struct bpfrun_result *r)
{
	struct bpfrun_frame frame;
	bool leaves;

	r->clones = r->copies = 0;
	while (capture_one(run, &frame, &leaves)) {
		struct bpfrun_frame *kept = leaves ? &r->copy[r->copies++] : &r->clone[r->clones++];

		assert_true(r->copies <= BPFRUN_COPIES && r->clones <= BPFRUN_CLONES);
		*kept = frame;
		read_frame(kept);
	}
}

void bpfrun_bytes(struct bpfrun *run, enum bpfrun_hook hook, const uint8_t *frame, size_t len, struct bpfrun_result *ret_result)
{
	struct bpfrun_result *r = ret_result;
	struct __sk_buff in = { .ifindex = run->ifindex }, out = {};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = len, .data_out = r->out.bytes, .data_size_out = sizeof(r->out.bytes),
		    .ctx_in = &in, .ctx_size_in = sizeof(in), .ctx_out = &out, .ctx_size_out = sizeof(out));

	if (run->summed && can_sum)
		opts.flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE;
	if (bpf_prog_test_run_opts(run->prog[hook], &opts))
		fail_msg("BPF_PROG_TEST_RUN: %s%s", strerror(errno), errno == EBADMSG ? ": the skb's sum is not that of its bytes (CHECKSUM_COMPLETE)" : "");
	r->hook = hook;
	r->verdict = (int)opts.retval;
	r->mark = out.mark;
	r->out.len = opts.data_size_out;
	read_frame(&r->out);
	read_captured(run, r);
}

void bpfrun_packet(struct bpfrun *run, enum bpfrun_hook hook, const struct pkt *pkt, struct bpfrun_result *ret_result)
{
	struct pkt turned = *pkt;
	uint8_t frame[PKT_MAX];
	size_t len;

	turned.to_client = hook == TO_CLIENT;
	len = pkt_build(&turned, frame);
	bpfrun_bytes(run, hook, frame, len, ret_result);
}

/* ---- maps ----------------------------------------------------------------------------------------------------------------------------- */

void bpfrun_commit(struct bpfrun *run, const struct tables *tables)
{
	assert_int_equal(datapath_commit(run->datapath, tables), 0);
}

static void empty(const char *name, size_t key_size)
{
	_cleanup_close_ int fd = map_fd(name);
	char key[64];

	assert_true(key_size <= sizeof(key));
	while (!bpf_map_get_next_key(fd, NULL, key))
		assert_int_equal(bpf_map_delete_elem(fd, key), 0);
}

static size_t entries(const char *name)
{
	_cleanup_close_ int fd = map_fd(name);
	char key[64], *last = NULL;
	size_t n = 0;

	for (; !bpf_map_get_next_key(fd, last, key); last = key)
		n++;
	return n;
}

static size_t holds(bool release)
{
	_cleanup_close_ int fd = map_fd("shunt_hold");
	struct shunt_hold hold;
	size_t used = 0;

	for (uint32_t i = 0; i < SHUNT_HOLDS; i++) {
		assert_int_equal(bpf_map_lookup_elem(fd, &i, &hold), 0);
		if (!hold.owner)
			continue;
		used++;
		memset(&hold, 0, sizeof(hold));
		if (release)
			assert_int_equal(bpf_map_update_elem(fd, &i, &hold, BPF_ANY), 0);
	}
	return used;
}

void bpfrun_forget(struct bpfrun *run)
{
	struct bpfrun_frame frame;
	bool leaves;

	empty("shunt_flow", sizeof(struct shunt_flow_key));
	empty("shunt_leg", sizeof(struct shunt_leg_key));
	empty("shunt_direct", sizeof(struct shunt_leg_key));
	empty("shunt_closed", sizeof(struct shunt_flow_key));
	empty("shunt_wait", sizeof(struct shunt_flow_key));
	empty("shunt_user", sizeof(struct shunt_user_key));
	empty("shunt_promise", sizeof(struct shunt_frontend_key));
	holds(true);
	while (capture_one(run, &frame, &leaves))
		;
	assert_int_equal(datapath_read_reasons(run->datapath, run->reasons), 0);
}

uint64_t bpfrun_reason(struct bpfrun *run, enum shunt_reason reason)
{
	uint64_t now[SHUNT_R_MAX];

	assert_int_equal(datapath_read_reasons(run->datapath, now), 0);
	return now[reason] - run->reasons[reason];
}

struct reading {
	struct bpfrun *run;
	void (*on_event)(void *arg, const struct shunt_event *event);
	void *arg;
};

static void note_event(void *arg, const struct shunt_event *event)
{
	struct reading *reading = arg;

	assert_true(event->reason < SHUNT_R_MAX);
	reading->run->told[event->reason] = true;
	if (reading->on_event)
		reading->on_event(reading->arg, event);
}

void bpfrun_events(struct bpfrun *run, void (*on_event)(void *arg, const struct shunt_event *event), void *arg)
{
	struct reading reading = { .run = run, .on_event = on_event, .arg = arg };

	assert_int_equal(datapath_read_events(run->datapath, note_event, &reading), 0);
}

size_t bpfrun_flows(struct bpfrun *run)
{
	(void)run;
	return entries("shunt_flow");
}

size_t bpfrun_legs(struct bpfrun *run)
{
	(void)run;
	return entries("shunt_leg");
}

size_t bpfrun_waits(struct bpfrun *run)
{
	(void)run;
	return entries("shunt_wait");
}

size_t bpfrun_holds(struct bpfrun *run)
{
	(void)run;
	return holds(false);
}

/* The clock of the programs. */
static uint64_t ago(int seconds)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC_COARSE, &now), 0);
	return (now.tv_sec - (uint64_t)seconds) * 1000000000 + now.tv_nsec;
}

void bpfrun_take_holds(struct bpfrun *run, unsigned int seconds)
{
	_cleanup_close_ int fd = map_fd("shunt_hold");
	struct shunt_hold hold = { .owner = ~0ull, .since = ago(seconds) };

	(void)run;
	for (uint32_t i = 0; i < SHUNT_HOLDS; i++)
		assert_int_equal(bpf_map_update_elem(fd, &i, &hold, BPF_ANY), 0);
}

void bpfrun_free_holds(struct bpfrun *run)
{
	(void)run;
	holds(true);
}

static void write_flow(const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
		       const struct shunt_flow *flow)
{
	struct shunt_flow_key key = { .client = *client, .frontend = *frontend, .cport = htons(cport), .fport = htons(fport) };
	_cleanup_close_ int fd = map_fd("shunt_flow");

	assert_int_equal(bpf_map_update_elem(fd, &key, flow, BPF_EXIST), 0);
}

void bpfrun_silence(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
		    int seconds)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(run, client, cport, frontend, fport, &flow));
	flow.seen = ago(seconds);
	write_flow(client, cport, frontend, fport, &flow);
}

void bpfrun_silence_pod(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
			unsigned int ms)
{
	struct shunt_flow flow;

	assert_true(bpfrun_flow(run, client, cport, frontend, fport, &flow));
	flow.opened -= ms * 1000000ull;
	write_flow(client, cport, frontend, fport, &flow);
}

void bpfrun_age_promises(struct bpfrun *run, unsigned int seconds)
{
	_cleanup_close_ int fd = map_fd("shunt_promise");
	struct shunt_frontend_key key, *before = NULL;
	struct shunt_promise promise;

	(void)run;
	for (; bpf_map_get_next_key(fd, before, &key) == 0; before = &key) {
		assert_int_equal(bpf_map_lookup_elem(fd, &key, &promise), 0);
		promise.since -= seconds * 1000000000ull;
		assert_int_equal(bpf_map_update_elem(fd, &key, &promise, BPF_EXIST), 0);
	}
}

bool bpfrun_flow(struct bpfrun *run, const struct shunt_addr *client, uint16_t cport, const struct shunt_addr *frontend, uint16_t fport,
		 struct shunt_flow *ret_flow)
{
	struct shunt_flow_key key = { .client = *client, .frontend = *frontend, .cport = htons(cport), .fport = htons(fport) };
	_cleanup_close_ int fd = map_fd("shunt_flow");

	(void)run;
	return bpf_map_lookup_elem(fd, &key, ret_flow) == 0;
}

/* The flows that wait; the caller frees. All at once: an update moves its entry, so that whoever goes on from there may never come to an end. */
static struct shunt_flow_key *waiting(int fd, size_t *ret_count)
{
	struct shunt_flow_key key, *before = NULL, *keys = NULL;
	size_t n = 0;

	for (; bpf_map_get_next_key(fd, before, &key) == 0; before = &keys[n++]) {
		keys = reallocarray(keys, n + 1, sizeof(*keys));
		assert_non_null(keys);
		keys[n] = key;
	}
	*ret_count = n;
	return keys;
}

/* Every flow that waits has waited so much longer. */
static void let_pass(int ms)
{
	_cleanup_close_ int waits = map_fd("shunt_wait"), flows = map_fd("shunt_flow");
	_cleanup_free_ struct shunt_flow_key *keys = NULL;
	size_t count;

	keys = waiting(waits, &count);
	for (size_t i = 0; i < count; i++) {
		struct shunt_flow flow;
		uint64_t since;

		assert_int_equal(bpf_map_lookup_elem(waits, &keys[i], &since), 0);
		since -= ms * 1000000ull;
		assert_int_equal(bpf_map_update_elem(waits, &keys[i], &since, BPF_EXIST), 0);
		if (!bpf_map_lookup_elem(flows, &keys[i], &flow)) {
			flow.opened -= ms * 1000000ull;
			assert_int_equal(bpf_map_update_elem(flows, &keys[i], &flow, BPF_EXIST), 0);
		}
	}
}

void bpfrun_tick(struct bpfrun *run, int ms, struct bpfrun_result *ret_result)
{
	let_pass(ms);
	assert_int_equal(datapath_tick(run->datapath), 0);
	memset(ret_result, 0, sizeof(*ret_result));
	read_captured(run, ret_result);
}
