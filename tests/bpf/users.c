/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What single users got: whose request it was, what counts of it, and which requests convert. */
#include "../lib/dialog.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include <bpf/bpf.h>

#include "datapath/internal.h"
#include "util/cleanup.h"

#define OF(line, user) line " HTTP/1.1\r\nHost: example.com\r\nuserhash: " user "\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define TRIAL 77

static struct shunt_trial trial_of(uint32_t id, int class, const char *method, const char *path)
{
	struct shunt_trial trial = { .id = id, .class = class, .method_len = strlen(method), .path_len = strlen(path) };

	memcpy(trial.method, method, strlen(method));
	memcpy(trial.path, path, strlen(path));
	return trial;
}

/* The dialogs' tables with a trial on the route of example.com and on the connection frontend's. */
static void commit_trial(struct bpfrun *run, struct shunt_trial trial)
{
	struct shunt_route routes[5];
	struct tables tables = *dialog_tables();

	assert_int_equal(tables.route_count, ARRAY_SIZE(routes));
	memcpy(routes, tables.routes, sizeof(routes));
	routes[0].trial = routes[2].trial = 0;
	tables.routes = routes;
	tables.trials = &trial;
	tables.trial_count = 1;
	bpfrun_commit(run, &tables);
}

static struct user_sums sums_of(struct bpfrun *run, uint32_t trial, enum dialog_version version)
{
	_cleanup_(user_fold_free) struct user_fold *fold = NULL;

	assert_int_equal(datapath_fold_users(run->datapath, &fold), 0);
	return *user_fold_find(fold, trial, version);
}

static void expect(const struct user_sums *sums, enum user_quantity quantity, double due)
{
	if (sums->sum[quantity] != due)
		fail_msg("quantity %d adds up to %g, due is %g", quantity, sums->sum[quantity], due);
}

static struct shunt_count count_of(struct bpfrun *run, enum dialog_version version)
{
	struct series_numbers numbers;

	assert_int_equal(datapath_read_numbers(run->datapath, version, &numbers), 0);
	return numbers.count;
}

/* Request and answer on the open connection, which is on a leg to v2. */
static void ask(struct dialog *d, struct dialog_pod *pod, const char *request, const char *answer)
{
	dialog_says(d, request);
	dialog_expect_at_pod(d, pod, request, strlen(request));
	dialog_pod_says(d, pod, answer);
	dialog_flags(d, ACK);
}

static struct dialog connected(struct bpfrun *run, struct dialog_pod *ret_pod)
{
	struct dialog d = dialog_of(run, SHUNT_V4);

	*ret_pod = dialog_pod(&d, DIALOG_V2);
	return d;
}

static void a_route_without_a_trial_remembers_nobody(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	struct shunt_count before = count_of(*state, DIALOG_V2), after;
	_cleanup_(user_fold_free) struct user_fold *fold = NULL;

	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	after = count_of(*state, DIALOG_V2);
	assert_int_equal(after.requests - before.requests, 1);
	assert_int_equal(after.users, before.users);
	assert_int_equal(datapath_fold_users(d.run->datapath, &fold), 0);
	for (uint32_t series = 0; series < SHUNT_SERIES; series++)
		assert_int_equal(user_fold_find(fold, TRIAL, series)->users + user_fold_find(fold, 0, series)->users, 0);
}

static void requests_of_one_connection_go_to_their_users(void **state)
{
	struct shunt_count before = count_of(*state, DIALOG_V2), after;
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	struct user_sums sums;

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	ask(&d, &pod, OF("GET /", "1012"), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
	ask(&d, &pod, OF("GET /", "1012"), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
	ask(&d, &pod, OF("GET /", "1012"), OK);
	sums = sums_of(*state, TRIAL, DIALOG_V2);
	assert_int_equal(sums.users, 2);
	expect(&sums, USER_REQUESTS, 4);
	expect(&sums, USER_TIMED, 4);
	expect(&sums, USER_ERRORS, 1);
	expect(&sums, USER_REFUSALS, 1);
	expect(&sums, USER_CONVERSIONS, 0);
	assert_true(sums.sum[USER_LATENCY] > 0 && sums.latency_sumsq > 0);
	assert_true(sums.product[USER_REQUESTS][USER_REQUESTS] == 1 + 9);
	assert_true(sums.product[USER_REQUESTS][USER_ERRORS] == 3);
	assert_true(sums.product[USER_ERRORS][USER_REQUESTS] == 3);
	after = count_of(*state, DIALOG_V2);
	assert_int_equal(after.users - before.users, 2);
	assert_int_equal(after.conversions, before.conversions);
}

/* The only one there is. */
static struct shunt_user only_user(void)
{
	_cleanup_close_ int fd = bpf_obj_get("/sys/fs/bpf/shunt/shunt_user");
	struct shunt_user_key key, next;
	struct shunt_user user;

	assert_int_equal(bpf_map_get_next_key(fd, NULL, &key), 0);
	assert_true(bpf_map_get_next_key(fd, &key, &next) != 0);
	assert_int_equal(bpf_map_lookup_elem(fd, &key, &user), 0);
	return user;
}

static uint64_t programs_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static void latencies_are_microseconds_and_their_squares_from_the_first_request_on(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	uint64_t begin = programs_now(), end;
	struct shunt_user one, two;
	uint64_t second;

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	end = programs_now();
	one = only_user();
	assert_int_equal(one.timed, 1);
	assert_int_equal(one.latency_us2, one.latency_us * one.latency_us);
	assert_true(one.first >= begin && one.first <= end);
	begin = programs_now();
	ask(&d, &pod, OF("GET /", "1011"), OK);
	end = programs_now();
	two = only_user();
	second = two.latency_us - one.latency_us;
	assert_int_equal(two.latency_us2 - one.latency_us2, second * second);
	assert_int_equal(two.first, one.first);
	assert_true(second <= (end - begin) / 1000);
}

/* Behind a 101 nobody knows where the answer ends, and behind bytes that are no answer neither; those are of no class, whatever the last one was. */
static void an_answer_without_an_end_has_no_latency(void **state)
{
	static const struct {
		const char *answer;
		int class;
	} cases[] = { { "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 1 }, { "220 this is something else, which goes on\r\n", 0 } };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shunt_count before, after;
		struct dialog_pod pod;
		struct dialog d = connected(*state, &pod);
		struct shunt_user user;

		bpfrun_forget(*state);
		commit_trial(*state, trial_of(TRIAL, 5, "", ""));
		dialog_exchange(&d, &pod, OF("GET /", "1011"));
		ask(&d, &pod, OF("GET /", "1011"), "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
		before = count_of(*state, DIALOG_V2);
		ask(&d, &pod, OF("GET /", "1011"), cases[i].answer);
		dialog_flags(&d, RST | ACK);
		after = count_of(*state, DIALOG_V2);
		user = only_user();
		assert_int_equal(user.requests, 3);
		assert_int_equal(user.timed, 2);
		assert_int_equal(user.errors, 1);
		assert_int_equal(user.conversions, 1);
		assert_int_equal(after.latency_count, before.latency_count);
		assert_int_equal(after.status[cases[i].class] - before.status[cases[i].class], 1);
		assert_int_equal(after.errors, before.errors);
		assert_int_equal(after.aborted, before.aborted);
	}
}

/* Its first byte is one, and what comes behind its last belongs to nothing. */
static void an_answer_begins_and_ends_once(void **state)
{
	struct shunt_count before = count_of(*state, DIALOG_V2), after;
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	struct shunt_user user;

	commit_trial(*state, trial_of(TRIAL, 2, "", ""));
	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	dialog_says(&d, OF("GET /", "1011"));
	dialog_expect_at_pod(&d, &pod, OF("GET /", "1011"), strlen(OF("GET /", "1011")));
	dialog_pod_says(&d, &pod, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n");
	dialog_pod_says(&d, &pod, "1234");
	dialog_flags(&d, ACK);
	dialog_expect_at_pod(&d, &pod, NULL, 0);
	dialog_flags(&d, RST | ACK);
	assert_int_equal(bpfrun_flows(*state), 0);
	after = count_of(*state, DIALOG_V2);
	user = only_user();
	assert_int_equal(user.requests, 2);
	assert_int_equal(user.timed, 2);
	assert_int_equal(user.conversions, 2);
	assert_int_equal(user.errors, 0);
	assert_int_equal(after.requests - before.requests, 2);
	assert_int_equal(after.status[2] - before.status[2], 2);
	assert_int_equal(after.ttfb_count - before.ttfb_count, 2);
	assert_int_equal(after.latency_count - before.latency_count, 2);
	assert_int_equal(after.aborted, before.aborted);
	assert_int_equal(after.errors, before.errors);
}

static void another_trial_begins_with_no_users(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	commit_trial(*state, trial_of(TRIAL + 1, 0, "", ""));
	assert_int_equal(sums_of(*state, TRIAL + 1, DIALOG_V2).users, 0);
	ask(&d, &pod, OF("GET /", "1011"), OK);
	assert_int_equal(sums_of(*state, TRIAL, DIALOG_V2).sum[USER_REQUESTS], 1);
	assert_int_equal(sums_of(*state, TRIAL + 1, DIALOG_V2).sum[USER_REQUESTS], 1);
}

/* Between request and answer the trial ends: the answer is still that trial's. */
static void an_answer_belongs_to_the_trial_of_its_request(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	static const char request[] = OF("GET /", "1011");

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_exchange(&d, &pod, request);
	dialog_says(&d, request);
	dialog_expect_at_pod(&d, &pod, request, strlen(request));
	bpfrun_commit(*state, dialog_tables());
	dialog_pod_says(&d, &pod, OK);
	assert_int_equal(sums_of(*state, TRIAL, DIALOG_V2).sum[USER_REQUESTS], 2);
}

static void what_breaks_off_is_an_error_and_has_no_latency(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	static const char request[] = OF("GET /", "1011");
	struct user_sums sums;

	commit_trial(*state, trial_of(TRIAL, 2, "", ""));
	dialog_exchange(&d, &pod, request);
	dialog_says(&d, request);
	dialog_expect_at_pod(&d, &pod, request, strlen(request));
	dialog_pod_says(&d, &pod, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345");
	dialog_pod_flags(&d, &pod, RST);
	sums = sums_of(*state, TRIAL, DIALOG_V2);
	assert_int_equal(sums.users, 1);
	expect(&sums, USER_REQUESTS, 2);
	expect(&sums, USER_TIMED, 1);
	expect(&sums, USER_ERRORS, 1);
	expect(&sums, USER_CONVERSIONS, 1); /* the first alone: what breaks off converts nobody */
	expect(&sums, USER_CONVERTED, 1);
}

static void a_user_without_id_is_her_address(void **state)
{
	struct dialog_pod pod;
	struct dialog d = dialog_of(*state, SHUNT_V6);

	pod = dialog_pod(&d, DIALOG_V1);
	commit_trial(*state, trial_of(TRIAL, 2, "GET", "/"));
	dialog_exchange(&d, &pod, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n");
	ask(&d, &pod, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n", OK);
	assert_int_equal(sums_of(*state, TRIAL, DIALOG_V1).users, 1);
	assert_int_equal(sums_of(*state, TRIAL, DIALOG_V1).sum[USER_CONVERSIONS], 2);
}

#define LONG_PATH "/a234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234" /* SHUNT_PATH_MAX */
_Static_assert(sizeof(LONG_PATH) - 1 == SHUNT_PATH_MAX - 1, "the longest but one");

static void conversions(void **state)
{
	static const struct {
		const char *sentence;
		int class;
		const char *method, *path, *request, *answer;
		int due;
	} cases[] = {
		{ "method, path and class", 2, "POST", "/checkout", OF("POST /checkout", "1011"), OK, 1 },
		{ "what follows the path", 2, "POST", "/checkout", OF("POST /checkout/7?a=b", "1011"), OK, 1 },
		{ "another path", 2, "POST", "/checkout", OF("POST /checkou", "1011"), OK, 0 },
		{ "another path of the same first word", 2, "POST", "/checkout", OF("POST /checkoux/1", "1011"), OK, 0 },
		{ "a target in absolute form", 2, "POST", "/checkout", OF("POST http://example.com:80/checkout/7", "1011"), OK, 1 },
		{ "another method", 2, "POST", "/checkout", OF("PUT /checkout", "1011"), OK, 0 },
		{ "a longer method", 2, "POST", "/checkout", OF("XPOST /checkout", "1011"), OK, 0 },
		{ "another class", 2, "POST", "/checkout", OF("POST /checkout", "1011"), "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 0 },
		{ "a class that is wanted", 3, "POST", "/checkout", OF("POST /checkout", "1011"), "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", 1 },
		{ "behind an interim response", 2, "POST", "/", OF("POST /", "1011"), "HTTP/1.1 100 Continue\r\n\r\n" OK, 1 },
		{ "any method", 2, "", "/buy", OF("DELETE /buy", "1011"), OK, 1 },
		{ "any path", 2, "PURCHASE", "", OF("PURCHASE /x", "1011"), OK, 1 },
		{ "a path of whole words", 2, "", "/a234567", OF("GET /a234567", "1011"), OK, 1 },
		{ "a path of whole words, cut", 2, "", "/a234567", OF("GET /a23456", "1011"), OK, 0 },
		{ "a long path", 2, "GET", LONG_PATH, OF("GET " LONG_PATH, "1011"), OK, 1 },
		{ "a long path, its last byte another", 2, "GET", LONG_PATH, OF("GET /a23456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123x", "1011"), OK, 0 },
		{ "a target in absolute form", 2, "POST", "/checkout", OF("POST http://example.com:80/checkout/1", "1011"), OK, 1 },
		{ "nothing is one", 0, "POST", "/checkout", OF("POST /checkout", "1011"), OK, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shunt_count before = count_of(*state, DIALOG_V2), after;
		struct dialog_pod pod;
		struct dialog d = connected(*state, &pod);
		struct user_sums sums;

		bpfrun_forget(*state);
		commit_trial(*state, trial_of(TRIAL, cases[i].class, cases[i].method, cases[i].path));
		d.sentence = cases[i].sentence;
		dialog_exchange(&d, &pod, OF("BREW /coffee", "1011")); /* converts in no case but "any" ones */
		before = count_of(*state, DIALOG_V2);
		ask(&d, &pod, cases[i].request, cases[i].answer);
		sums = sums_of(*state, TRIAL, DIALOG_V2);
		after = count_of(*state, DIALOG_V2);
		if (sums.sum[USER_CONVERSIONS] != cases[i].due || sums.sum[USER_CONVERTED] != cases[i].due ||
		    after.conversions - before.conversions != (uint64_t)cases[i].due)
			fail_msg("%s: %g conversions of %g users, the version counted %llu", cases[i].sentence, sums.sum[USER_CONVERSIONS],
				 sums.sum[USER_CONVERTED], after.conversions - before.conversions);
	}
}

/* The first request of a connection goes through the hold, and empty lines may come before it (RFC 9112 section 2.2). */
static void conversions_of_held_requests(void **state)
{
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	struct user_sums sums;

	commit_trial(*state, trial_of(TRIAL, 2, "POST", "/checkout"));
	dialog_exchange(&d, &pod, OF("POST /checkout", "1011"));
	bpfrun_forget(*state);
	d = connected(*state, &pod);
	dialog_exchange(&d, &pod, "\r\n" OF("POST /checkout", "1011"));
	sums = sums_of(*state, TRIAL, DIALOG_V2);
	expect(&sums, USER_CONVERSIONS, 1);
}

static void a_connection_is_its_client_s(void **state)
{
	struct dialog d = dialog_of(*state, SHUNT_V4);
	uint64_t users;

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_towards(&d, 11, 443);
	dialog_flags(&d, SYN);
	dialog_flags(&d, RST);
	users = sums_of(*state, TRIAL, DIALOG_V1).users + sums_of(*state, TRIAL, DIALOG_V2).users;
	assert_int_equal(users, 1);
}

/* More users than the table holds: all are counted in, those that are not there any more are the difference. */
static void evictions_can_be_told(void **state)
{
	struct shunt_count before = count_of(*state, DIALOG_V2), after;
	struct dialog_pod pod;
	struct dialog d = connected(*state, &pod);
	struct user_sums sums;
	char request[128];

	commit_trial(*state, trial_of(TRIAL, 0, "", ""));
	dialog_exchange(&d, &pod, OF("GET /", "1011"));
	for (int i = 1; i < 3000; i++) {
		snprintf(request, sizeof(request), OF("GET /", "101u%d"), i);
		ask(&d, &pod, request, OK);
	}
	sums = sums_of(*state, TRIAL, DIALOG_V2);
	after = count_of(*state, DIALOG_V2);
	assert_int_equal(after.users - before.users, 3000);
	assert_true(sums.users > 0 && sums.users <= 1024);
	assert_true(sums.sum[USER_REQUESTS] == (double)sums.users);
	assert_int_equal(bpfrun_reason(*state, SHUNT_R_USER_FULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_route_without_a_trial_remembers_nobody),
		cmocka_unit_test(requests_of_one_connection_go_to_their_users),
		cmocka_unit_test(latencies_are_microseconds_and_their_squares_from_the_first_request_on),
		cmocka_unit_test(an_answer_without_an_end_has_no_latency),
		cmocka_unit_test(an_answer_begins_and_ends_once),
		cmocka_unit_test(another_trial_begins_with_no_users),
		cmocka_unit_test(an_answer_belongs_to_the_trial_of_its_request),
		cmocka_unit_test(what_breaks_off_is_an_error_and_has_no_latency),
		cmocka_unit_test(a_user_without_id_is_her_address),
		cmocka_unit_test(conversions),
		cmocka_unit_test(conversions_of_held_requests),
		cmocka_unit_test(a_connection_is_its_client_s),
		cmocka_unit_test(evictions_can_be_told),
	};

	return bpfrun_main("users", dialog_tables(), tests, ARRAY_SIZE(tests));
}
