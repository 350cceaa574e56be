/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt version */
#include "cmd.h"

#include "datapath/datapath.h"
#include "shunt/abi.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"

struct version_options {
	struct cmd_common common;
};

static const struct version_options defaults = { .common = CMD_COMMON_DEFAULTS };

static int run(const void *options, int argc, char **argv)
{
	static const struct emit_column columns[] = { { "version", "shunt", EMIT_TEXT }, { "schema", "map schema", EMIT_TEXT } };
	static const struct emit_section section = { .columns = columns, .column_count = ARRAY_SIZE(columns) };
	const struct version_options *o = options;
	_cleanup_json_ json_t *document = json_pack("{s:s,s:i}", "version", SHUNT_VERSION, "schema", SHUNT_SCHEMA);

	(void)argc, (void)argv;
	if (!document || emit(stdout, document, &section, 1, o->common.json) < 0)
		return log_err(0, "version: cannot write the output"), CMD_FAILED;
	return CMD_OK;
}

const struct cmd cmd_version = {
	.name = "version",
	.summary = "Print the version of shunt and of its maps",
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
