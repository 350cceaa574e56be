/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt run DIR: the daemon on a folder of manifests. */
#include "cmd.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "loop.h"
#include "util/cleanup.h"
#include "util/log.h"

#define USERS_MAX (1u << 26) /* 9 GB */
#define FLOWS_MAX (1u << 24) /* 15 GB */
#define HOLDS_MAX (1u << 16) /* 2 GB */
#define MS_MAX 60000

struct run_options {
	struct cmd_common common;
	const char *interfaces, *uplinks, *return_at, *node_name, *attach, *task_user;
	unsigned int users, flows, holds, pod_deadline, quiet;
	const char *listen;
	bool host, once;
};

static const struct run_options defaults = { .common = CMD_COMMON_DEFAULTS, .attach = "auto", .return_at = "clients" };

static const struct cmd_option cmd_options[] = {
	{ "interface", 'i', CMD_STRING, "PATTERNS", "interfaces with clients behind them, as \"veth*,eth0\"; every veth that is up when absent",
	  offsetof(struct run_options, interfaces) },
	{ "uplink", 0, CMD_STRING, "PATTERNS", "interfaces that lead to clients outside and to other nodes, as \"eth0\"; none when absent",
	  offsetof(struct run_options, uplinks) },
	{ "host", 0, CMD_FLAG, NULL, "steer this node's own connections, too: makes interfaces shunt0 and shunt1", offsetof(struct run_options, host) },
	{ "return-at", 0, CMD_STRING, "WHERE", "clients, or pods: also where pods' answers come in, for a CNI that delivers past the client's interface",
	  offsetof(struct run_options, return_at) },
	{ "node-name", 0, CMD_STRING, "NAME", "this node, as nodeName in EndpointSlices; the host's name when absent", offsetof(struct run_options, node_name) },
	{ "attach", 0, CMD_STRING, "HOW", "tcx, clsact, or auto: tcx where the kernel has it", offsetof(struct run_options, attach) },
	{ "task-user", 0, CMD_STRING, "USER", "whom tasks of experiments run as; nobody when absent", offsetof(struct run_options, task_user) },
	{ "listen", 0, CMD_STRING, "ADDRESS:PORT", "serve /metrics, /healthz and /readyz there, as 127.0.0.1:9642; nothing is served when absent",
	  offsetof(struct run_options, listen) },
	{ "users", 0, CMD_NUMBER, "N", "how many users of experiments are told apart, 1048576 when absent; 128 bytes each", offsetof(struct run_options, users) },
	{ "flows", 0, CMD_NUMBER, "N", "how many connections are steered at one time, 262144 when absent; 880 bytes each",
	  offsetof(struct run_options, flows) },
	{ "holds", 0, CMD_NUMBER, "N", "how many requests may wait for their pod at one time, 2048 when absent; 33 KB each", offsetof(struct run_options, holds) },
	{ "pod-deadline", 0, CMD_NUMBER, "MS", "a pod that does not take a connection for so long is given up for the next, 200 when absent",
	  offsetof(struct run_options, pod_deadline) },
	{ "quiet-client", 0, CMD_NUMBER, "MS", "a client that says nothing for so long is connected to a pod, which may speak first, 300 when absent",
	  offsetof(struct run_options, quiet) },
	{ "once", 0, CMD_FLAG, NULL, "steer by what the folder says now, and leave", offsetof(struct run_options, once) },
};

/* As the kubelet names its node: the host's name in small letters. */
static const char *host_name(char name[HOST_NAME_MAX + 1])
{
	if (gethostname(name, HOST_NAME_MAX + 1))
		name[0] = '\0';
	name[HOST_NAME_MAX] = '\0';
	for (char *c = name; *c; c++)
		*c = tolower((unsigned char)*c);
	return name;
}

static bool within(const char *option, unsigned int value, unsigned int most)
{
	if (value > most)
		log_err(0, "shunt run: %s takes up to %u; found %u", option, most, value);
	return value <= most;
}

static int run(const void *options, int argc, char **argv)
{
	const struct run_options *o = options;
	char name[HOST_NAME_MAX + 1];
	struct loop_options loop = {
		.dir = argv[0],
		.interfaces = o->interfaces,
		.uplinks = o->uplinks,
		.node_name = o->node_name ? o->node_name : host_name(name),
		.return_at_pods = strcmp(o->return_at, "pods") == 0,
		.host = o->host,
		.pin_dir = o->common.pin_dir,
		.run_dir = o->common.run_dir,
		.task_user = o->task_user,
		.wishes = { .users = o->users, .flows = o->flows, .holds = o->holds, .pod_deadline_ms = o->pod_deadline, .quiet_ms = o->quiet },
		.listen = o->listen,
		.once = o->once,
	};
	int r;

	(void)argc;
	if (attach_mode_parse(o->attach, &loop.attach)) {
		log_err(0, "shunt run: --attach takes auto, tcx or clsact; found \"%s\"", o->attach);
		return CMD_USAGE;
	}
	if (!within("--users", o->users, USERS_MAX) || !within("--flows", o->flows, FLOWS_MAX) || !within("--holds", o->holds, HOLDS_MAX) ||
	    !within("--pod-deadline", o->pod_deadline, MS_MAX) || !within("--quiet-client", o->quiet, MS_MAX))
		return CMD_USAGE;
	if (!loop.return_at_pods && strcmp(o->return_at, "clients")) {
		log_err(0, "shunt run: --return-at takes clients or pods; found \"%s\"", o->return_at);
		return CMD_USAGE;
	}
	r = loop_run(&loop);
	if (!r)
		return CMD_OK;
	return r == -EBADMSG ? CMD_USAGE : CMD_FAILED;
}

const struct cmd cmd_run = {
	.name = "run",
	.arguments = "DIR",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Steer by a folder of manifests, and run its experiments",
	.details = "Reads every *.yaml, *.yml and *.json of DIR and reads again what changes there. A mistake in the folder ends the start with exit code 2; later it\nleaves in force what was good before. Ctrl-C or SIGTERM ends the agent and not the steering: packets need no agent. `shunt unload` ends that.",
	.options = cmd_options,
	.option_count = ARRAY_SIZE(cmd_options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
