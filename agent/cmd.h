/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The command line. A command is data: a name, a table of options with offsets into a struct of its own, defaults in one constant of that struct, and
 * a function. Parsing, --help and usage errors follow from the table:
 *
 *     struct frob_options { struct cmd_common common; const char *colour; };     the common options come first
 *     static const struct frob_options defaults = { .common = CMD_COMMON_DEFAULTS, .colour = "red" };
 *     static const struct cmd_option options[] = {
 *             { "colour", 'c', CMD_STRING, "NAME", "paint it so", offsetof(struct frob_options, colour) },
 *     };
 *     static int run(const void *options, int argc, char **argv) { ... return CMD_OK; }
 *     const struct cmd cmd_frob = { .name = "frob", .summary = "...", .options = options, ..., .run = run };      listed in main.c
 *
 * stdout is data, stderr is the log.
 */
#ifndef SHUNT_CMD_H
#define SHUNT_CMD_H

#include <stdbool.h>
#include <stddef.h>

#define CMD_RUN_DIR "/run/shunt" /* state.json of the daemon */

/* Exit codes. */
enum cmd_exit {
	CMD_OK = 0,
	CMD_FAILED = 1,
	CMD_USAGE = 2, /* the command line, or for `run` the manifests, cannot be understood */
};

/* Options that every command has; the first member of every command's options. */
struct cmd_common {
	bool json;
	bool verbose; /* already applied to the log */
	bool help;    /* handled before the command runs */
	const char *pin_dir;
	const char *run_dir;
};

#define CMD_COMMON_DEFAULTS { .pin_dir = DATAPATH_PIN_DIR, .run_dir = CMD_RUN_DIR } /* include datapath/datapath.h */

enum cmd_option_type {
	CMD_FLAG,    /* bool */
	CMD_STRING,  /* const char * */
	CMD_STRINGS, /* struct cmd_strings; may be given several times */
	CMD_SECONDS, /* double, 0 or more */
	CMD_NUMBER,  /* unsigned int */
	CMD_REAL,    /* double, of either sign */
};

struct cmd_strings {
	const char **items;
	size_t count;
};

struct cmd_option {
	const char *name;     /* without dashes */
	char short_name;      /* 0: none */
	enum cmd_option_type type;
	const char *argument; /* what --help calls it; NULL for a flag */
	const char *help;
	size_t offset;        /* in the command's options */
};

struct cmd {
	const char *name;
	const char *arguments; /* "DIR"; NULL: takes none */
	int arguments_min, arguments_max;
	const char *summary;   /* one line, for the list of commands */
	const char *details;   /* paragraphs for --help; may be NULL */
	const struct cmd_option *options;
	size_t option_count;
	const void *defaults;  /* the command's options; starts with a struct cmd_common */
	size_t options_size;
	/* `options` is a copy of defaults with the command line applied; argv[0..argc) are the arguments. Returns enum cmd_exit. */
	int (*run)(const void *options, int argc, char **argv);
};

/*
 * Finds the command that argv names and runs it; the first of the table when argv names none (so `shunt --json` is `shunt status --json`). Returns
 * enum cmd_exit, for main() to return. NULL entries in the table are skipped.
 */
int cmd_main(const struct cmd *const *commands, size_t count, int argc, char **argv);

/*
 * The objects of a file or folder of manifests, for a command that works without the agent. What is wrong in them is logged and left out. 0 with a
 * world (world_free), or a negative errno, logged.
 */
struct world;
int cmd_load_world(const char *path, struct world **ret_world);

extern const struct cmd cmd_status, cmd_run, cmd_describe, cmd_explain, cmd_events, cmd_metric, cmd_simulate, cmd_power, cmd_unload, cmd_version;

#endif
