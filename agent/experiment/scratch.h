/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * SCRATCH_DIR: a folder of one experiment, in which its tasks leave files for each other. It is the task user's alone (0700), and goes when the experiment
 * is over. Iter8's task image has one as /scratch.
 */
#ifndef SHUNT_SCRATCH_H
#define SHUNT_SCRATCH_H

/*
 * Makes the folder, under $TMPDIR or /tmp, unless *path is one already that this user owns and nobody else can enter; *path is a string of the caller's, or
 * NULL. 0 or -errno, logged.
 */
int scratch_open(const char *user, char **path);

/* Removes it with all that is in it; links in it are removed and not followed. *path becomes NULL; NULL is fine. A failure is logged. */
void scratch_remove(const char *user, char **path);

#endif
