/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt describe EXPERIMENT: how an experiment stands, from its manifest and the status file beside it. Needs no agent and no root. */
#include "cmd.h"

#include <errno.h>
#include <string.h>

#include "datapath/datapath.h"
#include "experiment/describe.h"
#include "experiment/status.h"
#include "util/cleanup.h"
#include "util/emit.h"
#include "util/log.h"
#include "util/text.h"

struct describe_options {
	struct cmd_common common;
	const char *ns, *dir;
};

static const struct describe_options defaults = { .common = CMD_COMMON_DEFAULTS, .ns = "default" };

static const struct cmd_option cmd_options[] = {
	{ "namespace", 'n', CMD_STRING, "NAMESPACE", "of the experiment; default when absent", offsetof(struct describe_options, ns) },
	{ "dir", 0, CMD_STRING, "DIR", "folder of the manifests; that of the running agent when absent", offsetof(struct describe_options, dir) },
};

/* The folder that the agent on this machine reads. */
static char *agent_folder(const char *run_dir)
{
	_cleanup_free_ char *path = text_printf("%s/state.json", run_dir);
	_cleanup_json_ json_t *state = path ? json_load_file(path, 0, NULL) : NULL;
	const char *folder = json_string_value(json_object_get(state, "manifests"));

	if (folder)
		return strdup(folder);
	log_err(0, "shunt describe: no agent has left %s, so the folder of the manifests is not known; name it with --dir DIR", path ?: run_dir);
	return NULL;
}

/* The status object; NULL in *ret_status: the experiment has none yet. */
static int read_status(const char *folder, const struct object_meta *meta, json_t **ret_status)
{
	_cleanup_free_ char *path = status_path(folder, meta->ns, meta->name), *problem = NULL;
	_cleanup_json_ json_t *document = NULL;
	int r = path ? status_read(path, &document, &problem) : -ENOMEM;

	if (r < 0 && r != -ENOENT)
		return log_err(0, "%s cannot be read: %s", path ?: folder, problem ?: strerror(-r));
	*ret_status = json_incref(json_object_get(document, "status"));
	return 0;
}

static int print(const struct describe_options *o, const char *folder, const struct experiment *experiment)
{
	_cleanup_json_ json_t *status = NULL, *document = NULL;
	int r = read_status(folder, &experiment->meta, &status);

	if (r < 0)
		return r;
	document = describe(experiment, status);
	if (!document)
		return log_err(-ENOMEM, "shunt describe");
	r = o->common.json ? emit(stdout, document, NULL, 0, true) : describe_print(stdout, document);
	return r < 0 ? log_err(r, "shunt describe: output") : 0;
}

static int run(const void *options, int argc, char **argv)
{
	const struct describe_options *o = options;
	_cleanup_free_ char *folder = o->dir ? strdup(o->dir) : agent_folder(o->common.run_dir);
	_cleanup_(world_free) struct world *world = NULL;
	const struct experiment *experiment;

	(void)argc;
	if (!folder || cmd_load_world(folder, &world) < 0)
		return CMD_FAILED;
	experiment = world_experiment(world, o->ns, argv[0]);
	if (!experiment) {
		log_err(0, "shunt describe: %s has no Experiment %s in namespace %s (it has %zu in all; --namespace names another namespace)", folder, argv[0],
			o->ns, world->experiment_count);
		return CMD_FAILED;
	}
	return print(o, folder, experiment) < 0 ? CMD_FAILED : CMD_OK;
}

const struct cmd cmd_describe = {
	.name = "describe",
	.arguments = "EXPERIMENT",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Show how an experiment stands: winner, rewards, objectives, metrics",
	.details = "Reads the experiment's manifest and the status file beside it, in the layout of `iter8ctl describe`.",
	.options = cmd_options,
	.option_count = ARRAY_SIZE(cmd_options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
