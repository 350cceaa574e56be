/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt events: what happened to which connection. */
#include "cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <arpa/inet.h>
#include <jansson.h>

#include "datapath/datapath.h"
#include "util/addr.h"
#include "util/cleanup.h"
#include "util/log.h"

#define FOLLOW_MS 200

struct events_options {
	struct cmd_common common;
	bool follow;
};

static const struct events_options defaults = { .common = CMD_COMMON_DEFAULTS };

static const struct cmd_option options_table[] = {
	{ "follow", 'f', CMD_FLAG, NULL, "go on with what happens from now on, until Ctrl-C", offsetof(struct events_options, follow) },
};

static const struct {
	const char *name, *text;
} reasons[SHUNT_R_MAX] = {
#define X(name, sort, text) [SHUNT_R_##name] = { #name, text },
	SHUNT_REASONS(X)
#undef X
};

struct teller {
	bool json;
	int64_t offset; /* CLOCK_REALTIME minus CLOCK_MONOTONIC, ns */
	struct shunt_series series[SHUNT_SERIES];
};

static int64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void time_text(int64_t ns, char text[40])
{
	time_t seconds = ns / 1000000000;
	struct tm tm;
	size_t len = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", gmtime_r(&seconds, &tm));

	snprintf(text + len, 8, ".%03dZ", (int)(ns / 1000000 % 1000));
}

static void tell(void *arg, const struct shunt_event *event)
{
	const struct teller *teller = arg;
	const struct shunt_series *series = event->series < SHUNT_SERIES ? &teller->series[event->series] : &(struct shunt_series){};
	char when[40], client[ADDR_PORT_TEXT_MAX], frontend[ADDR_PORT_TEXT_MAX];
	_cleanup_json_ json_t *line = NULL;

	if (event->reason >= SHUNT_R_MAX)
		return;
	time_text((int64_t)event->time + teller->offset, when);
	addr_port_text(&event->flow.client, ntohs(event->flow.cport), client);
	addr_port_text(&event->flow.frontend, ntohs(event->flow.fport), frontend);
	if (!teller->json) {
		printf("%s  %-17s %s -> %s%s%s%s%s\n", when, reasons[event->reason].name, client, frontend, series->version[0] ? "  " : "", series->version,
		       series->version[0] ? " of " : "", series->route);
		return;
	}
	line = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s}", "time", when, "reason", reasons[event->reason].name, "text", reasons[event->reason].text, "client", client,
			 "frontend", frontend, "route", series->route, "version", series->version);
	if (line)
		json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
}

static volatile sig_atomic_t ended;

static void on_signal(int number)
{
	ended = number;
}

/* The names may change while we follow: they are read anew each time. */
static int read_once(struct datapath *datapath, struct teller *teller)
{
	int r = datapath_read_series(datapath, teller->series);

	teller->offset = clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC);
	if (!r)
		r = datapath_read_events(datapath, tell, teller);
	return r ? r : fflush(stdout) ? log_err(-errno, "events: cannot write the output") : 0;
}

static int run(const void *data, int argc, char **argv)
{
	const struct events_options *options = data;
	_cleanup_(datapath_close) struct datapath *datapath = NULL;
	struct teller teller = { .json = options->common.json };
	const struct timespec pause = { .tv_nsec = FOLLOW_MS * 1000000 };
	int r;

	(void)argc, (void)argv;
	r = datapath_open_pinned(options->common.pin_dir, &datapath);
	if (r == -ENOENT)
		log_err(0, "nothing is pinned under %s: shunt steers nothing here, and nothing happens", options->common.pin_dir);
	if (r)
		return CMD_FAILED;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	do
		r = read_once(datapath, &teller);
	while (!r && options->follow && !nanosleep(&pause, NULL) && !ended);
	return r ? CMD_FAILED : CMD_OK;
}

const struct cmd cmd_events = {
	.name = "events",
	.summary = "Show what happened to which connection: bound, moved, pinned, failed over, refused",
	.details =
		"Prints the events that are in the kernel's ring, oldest first; each is read once, by whoever comes first. Of one sort at most one in 4 ms (a clock tick)\nand CPU is told, and none when the ring is full; the counter EVENT_LOST of `shunt status --all` says how many were not. Every event is counted in any case.",
	.options = options_table,
	.option_count = ARRAY_SIZE(options_table),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run,
};
