/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Addresses as text and as the maps hold them. */
#ifndef SHUNT_ADDR_H
#define SHUNT_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "shunt/abi.h"

#define ADDR_TEXT_MAX 46      /* INET6_ADDRSTRLEN */
#define ADDR_PORT_TEXT_MAX 54 /* "[", address, "]:65535", NUL */

/* "10.0.0.1" or "fd00::1". 0, or -EINVAL and *ret_addr untouched. */
int addr_parse(const char *text, struct shunt_addr *ret_addr);

/* Text of an address; IPv4 in dotted form. Returns buf. */
const char *addr_text(const struct shunt_addr *addr, char buf[ADDR_TEXT_MAX]);

/* "10.0.0.1:80" or "[fd00::1]:80", port 1..65535 in host order. 0, or -EINVAL and the outputs untouched. */
int addr_port_parse(const char *text, struct shunt_addr *ret_addr, uint16_t *ret_port);

/* Text of an address and a port in host order. Returns buf. */
const char *addr_port_text(const struct shunt_addr *addr, uint16_t port, char buf[ADDR_PORT_TEXT_MAX]);

bool addr_is_v4(const struct shunt_addr *addr);

/* All zero: no address. */
bool addr_is_none(const struct shunt_addr *addr);

#endif
