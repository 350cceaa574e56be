/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maglev consistent hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section 3.4): every pod fills
 * the ring in its own permutation's order, one slot a turn, so that shares are equal within one slot and a pod's coming or going moves little else.
 */
#ifndef SHUNT_MAGLEV_H
#define SHUNT_MAGLEV_H

#include <stddef.h>
#include <stdint.h>

/*
 * Fills ring[0..size) with indices into `names` (count >= 1, count <= size; size is prime). A pod's permutation depends on its name alone, so the
 * result does not depend on the order of the pods (they are sorted by name inside). Names are distinct and at most SHUNT_ID_MAX bytes long.
 * Returns 0; -EINVAL when any of that does not hold; -ENOMEM. The ring is untouched then.
 */
int maglev_fill(const char *const *names, size_t count, uint16_t *ring, size_t size);

#endif
