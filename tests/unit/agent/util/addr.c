/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/addr.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "util/cleanup.h"

static void an_address_and_port_go_to_text_and_back(void **state)
{
	static const struct {
		const char *in, *out;
	} cases[] = {
		{ "10.0.0.1:80", "10.0.0.1:80" },
		{ "[fd00::1]:65535", "[fd00::1]:65535" },
		{ "[FD00:0:0::0001]:1", "[fd00::1]:1" },
		{ "[::ffff:10.0.0.1]:80", "10.0.0.1:80" },
		{ "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shunt_addr addr;
		char text[ADDR_PORT_TEXT_MAX];
		uint16_t port;

		assert_int_equal(addr_port_parse(cases[i].in, &addr, &port), 0);
		assert_string_equal(addr_port_text(&addr, port, text), cases[i].out);
	}
}

static void what_is_no_address_and_port_is_refused(void **state)
{
	static const char *const cases[] = {
		"",
		":",
		":80",
		"10.0.0.1",
		"10.0.0.1:",
		"10.0.0.1:0",
		"10.0.0.1:65536",
		"10.0.0.1:99999999999999999999",
		"10.0.0.1:+80",
		"10.0.0.1: 80",
		"10.0.0.1:8x",
		"10.0.0:80",
		"fd00::1:80",
		"[fd00::1]",
		"[fd00::1]80",
		"[fd00::1:80",
		"[10.0.0.1]:80",
		"[]:80",
		"[:80",
		"]:80",
		"example.com:80",
		"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:80",
	};
	struct shunt_addr addr = { .ip = { 42 } };
	uint16_t port = 42;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(addr_port_parse(cases[i], &addr, &port), -EINVAL);
	assert_true(addr.ip[0] == 42 && port == 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_address_and_port_go_to_text_and_back),
		cmocka_unit_test(what_is_no_address_and_port_is_refused),
	};

	return cmocka_run_group_tests_name("agent/util/addr", tests, NULL, NULL);
}
