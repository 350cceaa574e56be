/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt unload */
#include "cmd.h"

#include <errno.h>

#include "datapath/datapath.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"

struct unload_options {
	struct cmd_common common;
};

static const struct unload_options defaults = { .common = CMD_COMMON_DEFAULTS };

static int run(const void *options, int argc, char **argv)
{
	static const struct emit_section sections[] = { { .key = "message" } };
	const struct unload_options *o = options;
	_cleanup_json_ json_t *document = NULL;
	bool found;
	int r;

	(void)argc, (void)argv;
	r = datapath_unload(o->common.pin_dir);
	found = r == 0;
	if (r < 0 && r != -ENOENT) /* nothing there is what was asked for; everything else is in the log */
		return CMD_FAILED;
	document = json_pack("{s:s,s:b,s:s}", "pin_dir", o->common.pin_dir, "unloaded", found, "message",
			     found ? "detached from all interfaces, pins removed; connections through request frontends have ended"
				   : "nothing was pinned there; nothing to do");
	if (!document || emit(stdout, document, sections, ARRAY_SIZE(sections), o->common.json) < 0)
		return log_err(0, "unload: cannot write the output"), CMD_FAILED;
	return CMD_OK;
}

const struct cmd cmd_unload = {
	.name = "unload",
	.summary = "Detach from all interfaces and remove what is pinned",
	.details =
		"Connections through request frontends end; those of connection frontends lose their pod. Stopping the agent does none of this: packets go on without it.",
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
