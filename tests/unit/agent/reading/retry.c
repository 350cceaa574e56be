/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/retry.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "util/cleanup.h"

static const struct {
	CURLcode code;
	long status;
	bool helps;
} failures[] = {
	{ CURLE_COULDNT_CONNECT, 0, true },
	{ CURLE_COULDNT_RESOLVE_HOST, 0, true },
	{ CURLE_OPERATION_TIMEDOUT, 0, true },
	{ CURLE_GOT_NOTHING, 0, true },
	{ CURLE_RECV_ERROR, 200, true }, /* it broke off in the body */
	{ CURLE_PARTIAL_FILE, 200, true },
	{ CURLE_OK, 408, true },
	{ CURLE_OK, 429, true },
	{ CURLE_OK, 500, true },
	{ CURLE_OK, 503, true },
	{ CURLE_OK, 599, true },
	{ CURLE_OK, 200, false }, /* whatever was wrong with it, jq or JSON, will be again */
	{ CURLE_OK, 302, false },
	{ CURLE_OK, 400, false },
	{ CURLE_OK, 401, false },
	{ CURLE_OK, 404, false },
	{ CURLE_OK, 422, false }, /* Prometheus: the query cannot be executed */
	{ CURLE_PEER_FAILED_VERIFICATION, 0, false },
	{ CURLE_URL_MALFORMAT, 0, false },
	{ CURLE_UNSUPPORTED_PROTOCOL, 0, false },
	{ CURLE_WRITE_ERROR, 200, false }, /* too large */
	{ CURLE_OUT_OF_MEMORY, 0, false },
};

static void only_failures_that_may_pass_are_asked_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++)
		assert_int_equal(retry_helps(failures[i].code, failures[i].status), failures[i].helps);
}

static const struct {
	unsigned int failed;
	double jitter;
	int64_t retry_after_ms, left_ms, pause;
} pauses[] = {
	{ 1, 1, 0, 5000, 200 },
	{ 1, 0, 0, 5000, 100 },
	{ 1, 0.5, 0, 5000, 150 },
	{ 2, 1, 0, 5000, 400 },
	{ 3, 1, 0, 5000, 800 },
	{ 5, 0, 0, 5000, 1600 },
	{ 1, 1, 0, 250, 200 },        /* room for it, just */
	{ 1, 1, 0, 249, -1 },
	{ 1, 0, 0, 249, 100 },
	{ 5, 1, 0, 3249, -1 },
	{ 1, 1, 3000, 5000, 3000 },   /* the provider wants more */
	{ 5, 1, 1000, 5000, 3200 },   /* the provider wants less than we give it */
	{ 1, 1, 5000, 5000, -1 },     /* it wants more than there is: the next iteration asks */
	{ 1, 0, 0, -3, -1 },
	{ 1000, 1, 0, 5000, -1 },
	{ 1000, 1, 0, INT64_MAX, 200LL << 16 },
};

static void pauses_double_and_end_with_the_deadline(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(pauses); i++)
		assert_int_equal(retry_pause(pauses[i].failed, pauses[i].jitter, pauses[i].retry_after_ms, pauses[i].left_ms), pauses[i].pause);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_failures_that_may_pass_are_asked_again),
		cmocka_unit_test(pauses_double_and_end_with_the_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
