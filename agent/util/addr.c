/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "util/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Digits only: strtoul() would take a sign and blanks, too. */
static int port_parse(const char *text, uint16_t *ret_port)
{
	unsigned long port;

	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return -EINVAL;
	port = strtoul(text, NULL, 10); /* ULONG_MAX when it is too long */
	if (port < 1 || port > UINT16_MAX)
		return -EINVAL;
	*ret_port = port;
	return 0;
}

int addr_port_parse(const char *text, struct shunt_addr *ret_addr, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':'), *begin = text;
	char address[ADDR_TEXT_MAX];
	bool bracketed = *text == '[';
	struct shunt_addr addr;
	uint16_t port;
	size_t len;

	if (!colon || (bracketed && (colon == text || colon[-1] != ']')))
		return -EINVAL;
	begin += bracketed;
	len = colon - bracketed - begin;
	if (len >= sizeof(address) || port_parse(colon + 1, &port) < 0)
		return -EINVAL;
	memcpy(address, begin, len);
	address[len] = '\0';
	/* An IPv6 address without brackets: where it ends is a guess. */
	if (addr_parse(address, &addr) < 0 || bracketed != (strchr(address, ':') != NULL))
		return -EINVAL;
	*ret_addr = addr;
	*ret_port = port;
	return 0;
}

const char *addr_port_text(const struct shunt_addr *addr, uint16_t port, char buf[ADDR_PORT_TEXT_MAX])
{
	char address[ADDR_TEXT_MAX];

	snprintf(buf, ADDR_PORT_TEXT_MAX, addr_is_v4(addr) ? "%s:%u" : "[%s]:%u", addr_text(addr, address), port);
	return buf;
}

bool addr_is_none(const struct shunt_addr *addr)
{
	static const struct shunt_addr none;

	return memcmp(addr, &none, sizeof(none)) == 0;
}
