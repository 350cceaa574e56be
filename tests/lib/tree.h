/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Folders that tests make. */
#ifndef SHUNT_TEST_TREE_H
#define SHUNT_TEST_TREE_H

/* Removes a folder and all that is in it. 0, or not: errno says why. */
int tree_remove(const char *path);

#endif
