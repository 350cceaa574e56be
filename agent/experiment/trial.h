/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What an experiment lets the kernel keep of single users. Pure. */
#ifndef SHUNT_TRIAL_H
#define SHUNT_TRIAL_H

#include "shunt/abi.h"
#include "world/world.h"

/* The number that keeps an experiment's users apart from those of others, from its uid: the same on every node and after a restart. Never 0. */
uint32_t trial_id(const char *uid);

/* Its entry of the tables. */
struct shunt_trial trial_of(const struct experiment *experiment, const char *uid);

#endif
