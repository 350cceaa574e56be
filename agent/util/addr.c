/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

static const unsigned char v4_prefix[12] = { [10] = 0xff, [11] = 0xff };

int addr_parse(const char *text, struct shunt_addr *ret_addr)
{
	struct shunt_addr addr = {};

	if (inet_pton(AF_INET, text, addr.ip + 12) == 1)
		memcpy(addr.ip, v4_prefix, sizeof(v4_prefix));
	else if (inet_pton(AF_INET6, text, addr.ip) != 1)
		return -EINVAL;
	*ret_addr = addr;
	return 0;
}

bool addr_is_v4(const struct shunt_addr *addr)
{
	return memcmp(addr->ip, v4_prefix, sizeof(v4_prefix)) == 0;
}

const char *addr_text(const struct shunt_addr *addr, char buf[ADDR_TEXT_MAX])
{
	if (addr_is_v4(addr))
		inet_ntop(AF_INET, addr->ip + 12, buf, ADDR_TEXT_MAX);
	else
		inet_ntop(AF_INET6, addr->ip, buf, ADDR_TEXT_MAX);
	return buf;
}
