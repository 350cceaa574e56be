/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The node's own connections to frontends, and those of its hostNetwork pods: a pair of interfaces that leads them past the programs. See host.c. */
#ifndef SHUNT_HOST_H
#define SHUNT_HOST_H

#include <stddef.h>
#include <stdint.h>

#include "shunt/abi.h"

#define HOST_OUT "shunt0" /* the frontends' addresses are routed to it */
#define HOST_IN "shunt1"  /* the other end: where the programs are attached */

/* Makes the pair, or takes over one that is there. Logged; -EEXIST: the names belong to somebody else's interfaces. */
int host_make(void);

/* Routes these addresses to HOST_OUT, and no others. Addresses that another route has already are left to it and logged. */
int host_route(const struct shunt_addr *addresses, size_t count);

/* Removes the pair, and with it the routes. 0 when there is none, or none of ours. */
int host_remove(void);

#endif
