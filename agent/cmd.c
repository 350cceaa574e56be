/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "cmd.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "world/errors.h"
#include "world/source_file.h"

#define OPTIONS_MAX 32 /* of one command, common ones included */

static const struct cmd_option common_options[] = {
	{ "json", 'j', CMD_FLAG, NULL, "print JSON", offsetof(struct cmd_common, json) },
	{ "pin-dir", 0, CMD_STRING, "DIR", "where the kernel side is pinned", offsetof(struct cmd_common, pin_dir) },
	{ "run-dir", 0, CMD_STRING, "DIR", "where the running agent keeps its state", offsetof(struct cmd_common, run_dir) },
	{ "verbose", 'v', CMD_FLAG, NULL, "log more, on stderr", offsetof(struct cmd_common, verbose) },
	{ "help", 'h', CMD_FLAG, NULL, "print this", offsetof(struct cmd_common, help) },
};

/* ---- help ------------------------------------------------------------------------------------------------------------------------------- */

/* "-i, --interval S" of at most 63 characters; returns how many. */
static int option_text(const struct cmd_option *option, char left[64])
{
	return snprintf(left, 64, "%s%c%s--%s%s%s", option->short_name ? "-" : " ", option->short_name ? option->short_name : ' ',
			option->short_name ? ", " : "  ", option->name, option->argument ? " " : "", option->argument ? option->argument : "");
}

static int options_width(const struct cmd_option *options, size_t count, int width)
{
	char left[64];

	for (size_t i = 0; i < count; i++)
		width = option_text(&options[i], left) > width ? option_text(&options[i], left) : width;
	return width;
}

static void print_options(const struct cmd_option *options, size_t count, int width)
{
	char left[64];

	for (size_t i = 0; i < count; i++) {
		option_text(&options[i], left);
		printf("  %-*s %s%s\n", width, left, options[i].help, options[i].type == CMD_STRINGS ? " (may be given several times)" : "");
	}
}

static void print_command_help(const struct cmd *command)
{
	int width = options_width(command->options, command->option_count, options_width(common_options, ARRAY_SIZE(common_options), 24));

	printf("usage: shunt %s [options]%s%s\n\n%s.\n", command->name, command->arguments ? " " : "",
	       command->arguments ? command->arguments : "", command->summary);
	if (command->details)
		printf("\n%s\n", command->details);
	if (command->option_count)
		printf("\noptions:\n");
	print_options(command->options, command->option_count, width);
	printf("\noptions of every command:\n");
	print_options(common_options, ARRAY_SIZE(common_options), width);
}

static void print_commands(FILE *out, const struct cmd *const *commands, size_t count)
{
	fprintf(out,
		"usage: shunt [command] [options]\n\nSteers every user of a service to one version, inside the kernel.\n\ncommands:\n");
	for (size_t i = 0; i < count; i++)
		if (commands[i])
			fprintf(out, "  %-12s %s\n", commands[i]->name, commands[i]->summary);
	fprintf(out, "\n`shunt <command> --help` tells its options. Exit: 0 done, 1 failed, 2 not understood.\n");
}

/* ---- parsing ---------------------------------------------------------------------------------------------------------------------------- */

static int parse_seconds(const char *name, const char *text, double *ret_seconds)
{
	char *end;
	double seconds = strtod(text, &end);

	if (end == text || *end || !isfinite(seconds) || seconds < 0)
		return log_err(0, "--%s: found '%s', allowed are seconds, 0 or more, such as 1 or 0.5", name, text);
	*ret_seconds = seconds;
	return 0;
}

static int parse_real(const char *name, const char *text, double *ret_number)
{
	char *end;
	double number = strtod(text, &end);

	if (end == text || *end || !isfinite(number))
		return log_err(0, "--%s: found '%s', allowed are numbers such as 0.05 or -0.1", name, text);
	*ret_number = number;
	return 0;
}

static int parse_number(const char *name, const char *text, unsigned int *ret_number)
{
	char *end;
	unsigned long number;

	errno = 0;
	number = strtoul(text, &end, 10);
	if (end == text || *end || errno || *text == '-' || number > UINT_MAX)
		return log_err(0, "--%s: found '%s', allowed are whole numbers, 0 to %u", name, text, UINT_MAX);
	*ret_number = number;
	return 0;
}

/* Appends to a list. The list grows by one each time: a command line is short. */
static int add_string(struct cmd_strings *list, const char *text)
{
	const char **items = reallocarray(list->items, list->count + 1, sizeof(*items));

	if (!items)
		return log_err(-ENOMEM, "command line");
	list->items = items;
	list->items[list->count++] = text;
	return 0;
}

static int set_option(const struct cmd_option *option, void *options, const char *text)
{
	void *field = (char *)options + option->offset;

	switch (option->type) {
	case CMD_FLAG:
		*(bool *)field = true;
		return 0;
	case CMD_STRING:
		*(const char **)field = text;
		return 0;
	case CMD_STRINGS:
		return add_string(field, text);
	case CMD_SECONDS:
		return parse_seconds(option->name, text, field);
	case CMD_NUMBER:
		return parse_number(option->name, text, field);
	case CMD_REAL:
		return parse_real(option->name, text, field);
	}
	return -EINVAL;
}

/* getopt's view of a command's options and the common ones. A long option's val is LONG_BASE + its index, a short one's its letter. */
#define LONG_BASE 256

struct parser {
	const struct cmd_option *all[OPTIONS_MAX];
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 2];
	int count;
};

static void add_options(struct parser *parser, const struct cmd_option *options, size_t count)
{
	char *shorts = parser->shorts + strlen(parser->shorts);

	for (size_t i = 0; i < count && parser->count < OPTIONS_MAX; i++) {
		int argument = options[i].type == CMD_FLAG ? no_argument : required_argument;

		parser->longs[parser->count] = (struct option){ options[i].name, argument, NULL, LONG_BASE + parser->count };
		parser->all[parser->count++] = &options[i];
		if (!options[i].short_name)
			continue;
		*shorts++ = options[i].short_name;
		if (argument == required_argument)
			*shorts++ = ':';
	}
}

static const struct cmd_option *find_option(const struct parser *parser, int val)
{
	for (int i = 0; i < parser->count; i++)
		if (val == LONG_BASE + i || val == parser->all[i]->short_name)
			return parser->all[i];
	return NULL;
}

static int parse_options(const struct cmd *command, int argc, char **argv, void *options)
{
	struct parser parser = { .shorts = ":" };
	int val, r;

	add_options(&parser, command->options, command->option_count);
	add_options(&parser, common_options, ARRAY_SIZE(common_options));
	opterr = 0;
	optind = 0; /* makes getopt start anew */
	while ((val = getopt_long(argc, argv, parser.shorts, parser.longs, NULL)) != -1) {
		const struct cmd_option *option = find_option(&parser, val);

		if (val == ':')
			return log_err(0, "%s needs a value; `shunt %s --help` tells which", argv[optind - 1], command->name);
		if (!option)
			return log_err(0, "unknown option %s; `shunt %s --help` lists the options", argv[optind - 1], command->name);
		r = set_option(option, options, optarg);
		if (r < 0)
			return r;
	}
	return 0;
}

static void free_options(const struct cmd *command, void *options)
{
	for (size_t i = 0; i < command->option_count; i++)
		if (command->options[i].type == CMD_STRINGS)
			free(((struct cmd_strings *)((char *)options + command->options[i].offset))->items);
	free(options);
}

/* ---- running ---------------------------------------------------------------------------------------------------------------------------- */

static int run_parsed(const struct cmd *command, const void *options, int argc, char **argv)
{
	const struct cmd_common *common = options;

	if (common->help) {
		print_command_help(command);
		return CMD_OK;
	}
	if (common->verbose)
		log_set_level(LOG_DEBUG);
	if (argc < command->arguments_min || argc > command->arguments_max) {
		log_err(0, "usage: shunt %s [options] %s (found %d arguments)", command->name, command->arguments ? command->arguments : "",
			argc);
		return CMD_USAGE;
	}
	return command->run(options, argc, argv);
}

static int run_command(const struct cmd *command, int argc, char **argv)
{
	void *options = malloc(command->options_size);
	int r;

	if (!options) {
		log_err(-ENOMEM, "command line");
		return CMD_FAILED;
	}
	memcpy(options, command->defaults, command->options_size);
	r = parse_options(command, argc, argv, options);
	r = r < 0 ? CMD_USAGE : run_parsed(command, options, argc - optind, argv + optind);
	free_options(command, options);
	return r;
}

int cmd_main(const struct cmd *const *commands, size_t count, int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : NULL;

	if (verb && (strcmp(verb, "--help") == 0 || strcmp(verb, "-h") == 0 || strcmp(verb, "help") == 0)) {
		print_commands(stdout, commands, count);
		return CMD_OK;
	}
	if (verb && strcmp(verb, "--version") == 0)
		verb = "version";
	else if (!verb || *verb == '-')
		return run_command(commands[0], argc, argv);

	for (size_t i = 0; i < count; i++)
		if (commands[i] && strcmp(commands[i]->name, verb) == 0)
			return run_command(commands[i], argc - 1, argv + 1);
	log_err(0, "unknown command %s", verb);
	print_commands(stderr, commands, count);
	return CMD_USAGE;
}

/* ---- what commands share ---------------------------------------------------------------------------------------------------------------- */

int cmd_load_world(const char *path, struct world **ret_world)
{
	struct manifest_errors errors = {};
	int r = source_file_load(path, ret_world, &errors);

	if (r < 0)
		return log_err(r, "%s", path);
	for (size_t i = 0; i < errors.count; i++) {
		_cleanup_free_ char *text = manifest_error_text(&errors.items[i]);

		log_err(0, "%s", text ?: "out of memory");
	}
	manifest_errors_release(&errors);
	return 0;
}
