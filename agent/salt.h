/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The salt key: 16 random bytes from which the salts of all splits come. Who knows them can choose user ids of one version; who loses them moves
 * users. So they are made once and kept in the folder of manifests, as `.shunt-salt` (mode 0600): they survive restarts and reboots, and a folder that
 * is copied to another node steers users there as here.
 */
#ifndef SHUNT_SALT_H
#define SHUNT_SALT_H

#include <stdint.h>

#define SALT_FILE ".shunt-salt"
#define SALT_BYTES 16

/* Reads the key of a folder, or makes it. Errors are logged; -EBADMSG: the file holds something else. */
int salt_load(const char *dir, uint8_t ret_key[SALT_BYTES]);

#endif
