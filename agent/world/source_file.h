/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The folder as a source of objects: every *.yaml, *.yml and *.json in it, in the order of their names. Hidden files, subfolders, and status files
 * (*.status.yaml, which the agent writes beside the manifests) are no manifests.
 *
 *     inotify ──┐
 *               ├─▶ debounce ─▶ read all files ─▶ same bytes as before? nothing : decode ─▶ {world, errors} to the callback
 *     slow poll ┘
 *
 * Keep the last good: a file with an error still gives what it gave before it had one, object by object, together with its documents that are good
 * now. A file without errors gives just what is in it; a file that is removed takes its objects away; a folder that cannot be read changes nothing.
 */
#ifndef SHUNT_SOURCE_FILE_H
#define SHUNT_SOURCE_FILE_H

#include <uv.h>

#include "world/errors.h"
#include "world/world.h"

#define SOURCE_FILE_DEBOUNCE_MS 100 /* editors write a file in several steps */
#define SOURCE_FILE_POLL_MS 5000    /* for what inotify misses: network file systems, a replaced folder */

struct source_file;

/* A source that has read nothing yet. 0 or -ENOMEM. */
int source_file_new(const char *dir, struct source_file **ret_source);

/*
 * Reads the folder. Returns 0 with a world (world_free) and what is wrong in the folder (manifest_errors_release): a folder that does not parse gives
 * errors and the good rest; -ENOMEM. A folder that cannot be read is one of the errors, its line 0.
 */
int source_file_read(struct source_file *source, struct world **ret_world, struct manifest_errors *ret_errors);

/* The same once, of a folder or of one file whatever its name is. What cannot be read is one of the errors. */
int source_file_load(const char *path, struct world **ret_world, struct manifest_errors *ret_errors);

/* The content of the folder has changed. The callback takes over the world and what errors holds. */
typedef void source_file_changed(void *userdata, struct world *world, struct manifest_errors *errors);

/*
 * Calls `changed` from the loop whenever the content is another one than at the last read. poll_ms: SOURCE_FILE_POLL_MS, or less in tests. Without
 * inotify (its limits are the machine's) a warning is logged and the poll alone remains. 0, or a negative errno when not even that can be.
 */
int source_file_watch(struct source_file *source, uv_loop_t *loop, unsigned int poll_ms, source_file_changed *changed, void *userdata);

/*
 * Ends the watch and frees the source; *source becomes NULL. libuv closes its handles in the loop's next turn, so after a watch the loop must run
 * once more before it is closed.
 */
void source_file_free(struct source_file **source);

#endif
