/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "cmd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "datapath/datapath.h"
#include "util/cleanup.h"
#include "util/log.h"

struct frob_options {
	struct cmd_common common;
	const char *colour;
	struct cmd_strings words;
	double seconds;
	unsigned int number;
	bool flag;
};

static const struct frob_options defaults = { .common = CMD_COMMON_DEFAULTS, .colour = "red", .seconds = 1, .number = 7 };

static const struct cmd_option options[] = {
	{ "colour", 'c', CMD_STRING, "NAME", "paint it so", offsetof(struct frob_options, colour) },
	{ "word", 'w', CMD_STRINGS, "TEXT", "say it", offsetof(struct frob_options, words) },
	{ "seconds", 0, CMD_SECONDS, "S", "wait", offsetof(struct frob_options, seconds) },
	{ "number", 'n', CMD_NUMBER, "N", "that often", offsetof(struct frob_options, number) },
	{ "flag", 'f', CMD_FLAG, NULL, "wave it", offsetof(struct frob_options, flag) },
};

/* What the last run saw, as text: options and arguments. */
static char seen[512];

static int run_frob(const void *data, int argc, char **argv)
{
	const struct frob_options *o = data;
	int used = snprintf(seen, sizeof(seen), "%s %g %u %d %s |", o->colour, o->seconds, o->number, o->flag,
			    o->common.json ? "json" : "text");

	for (size_t i = 0; i < o->words.count; i++)
		used += snprintf(seen + used, sizeof(seen) - used, " %s", o->words.items[i]);
	used += snprintf(seen + used, sizeof(seen) - used, " |");
	for (int i = 0; i < argc; i++)
		used += snprintf(seen + used, sizeof(seen) - used, " %s", argv[i]);
	return CMD_OK;
}

static int run_status(const void *data, int argc, char **argv)
{
	(void)data, (void)argc, (void)argv;
	strcpy(seen, "status");
	return CMD_FAILED;
}

static const struct cmd frob = {
	.name = "frob",
	.arguments = "[DIR [DIR]]",
	.arguments_max = 2,
	.summary = "Frob it",
	.details = "As one does.",
	.options = options,
	.option_count = ARRAY_SIZE(options),
	.defaults = &defaults,
	.options_size = sizeof(defaults),
	.run = run_frob,
};

static const struct cmd status = {
	.name = "status", .summary = "Show it", .defaults = &defaults, .options_size = sizeof(defaults), .run = run_status
};

static const struct cmd *const commands[] = { &status, NULL, &frob };

/* Runs a command line with stdout (or stderr) going to *ret_output, which the caller frees. */
static int captured(FILE **stream, const char *line, char **ret_output)
{
	_cleanup_free_ char *copy = strdup(line);
	char *argv[16] = {}, *rest;
	FILE *kept = *stream;
	int argc = 0, r;
	size_t size;

	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	strcpy(seen, "nothing ran");
	*stream = open_memstream(ret_output, &size);
	r = cmd_main(commands, ARRAY_SIZE(commands), argc, argv);
	fclose(*stream);
	*stream = kept;
	return r;
}

static void options_reach_the_command(void **state)
{
	static const struct {
		const char *line, *seen;
	} cases[] = {
		{ "shunt frob", "red 1 7 0 text | |" },
		{ "shunt frob -c blue --seconds 0.25 -n 12 -f -j", "blue 0.25 12 1 json | |" },
		{ "shunt frob --colour=blue --number=0 --json --seconds=0", "blue 0 0 0 json | |" },
		{ "shunt frob a -w x b --word y", "red 1 7 0 text | x y | a b" },
		{ "shunt frob -- -w", "red 1 7 0 text | | -w" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *output = NULL;

		assert_int_equal(captured(&stdout, cases[i].line, &output), CMD_OK);
		assert_string_equal(seen, cases[i].seen);
		assert_string_equal(output, "");
	}
}

static void what_is_not_understood_exits_2_and_says_why(void **state)
{
	static const struct {
		const char *line, *message;
	} cases[] = {
		{ "shunt frobnicate", "unknown command frobnicate" },
		{ "shunt frob --shade red", "unknown option --shade" },
		{ "shunt frob -x", "unknown option -x" },
		{ "shunt frob --colour", "--colour needs a value" },
		{ "shunt frob --flag=yes", "--flag=yes" },
		{ "shunt frob --seconds soon", "--seconds: found 'soon', allowed are seconds" },
		{ "shunt frob --seconds -1", "--seconds: found '-1'" },
		{ "shunt frob --seconds nan", "--seconds: found 'nan'" },
		{ "shunt frob -n 1.5", "--number: found '1.5', allowed are whole numbers" },
		{ "shunt frob -n 4294967296", "--number: found '4294967296'" },
		{ "shunt frob a b c", "usage: shunt frob [options] [DIR [DIR]] (found 3 arguments)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *output = NULL;

		assert_int_equal(captured(&stderr, cases[i].line, &output), CMD_USAGE);
		assert_string_equal(seen, "nothing ran");
		if (!strstr(output, cases[i].message))
			print_error("%s: %s", cases[i].line, output);
		assert_non_null(strstr(output, cases[i].message));
	}
}

static void the_first_command_runs_when_none_is_named(void **state)
{
	static const char *const lines[] = { "shunt", "shunt --json", "shunt status" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		_cleanup_free_ char *output = NULL;

		assert_int_equal(captured(&stdout, lines[i], &output), CMD_FAILED);
		assert_string_equal(seen, "status");
	}
}

static void help_follows_from_the_tables(void **state)
{
	_cleanup_free_ char *all = NULL, *one = NULL;

	(void)state;
	assert_int_equal(captured(&stdout, "shunt --help", &all), CMD_OK);
	assert_non_null(strstr(all, "  frob         Frob it\n"));
	assert_int_equal(captured(&stdout, "shunt frob --help", &one), CMD_OK);
	assert_string_equal(seen, "nothing ran");
	assert_string_equal(one, "usage: shunt frob [options] [DIR [DIR]]\n\nFrob it.\n\nAs one does.\n\noptions:\n"
				 "  -c, --colour NAME        paint it so\n"
				 "  -w, --word TEXT          say it (may be given several times)\n"
				 "      --seconds S          wait\n"
				 "  -n, --number N           that often\n"
				 "  -f, --flag               wave it\n"
				 "\noptions of every command:\n"
				 "  -j, --json               print JSON\n"
				 "      --pin-dir DIR        where the kernel side is pinned\n"
				 "      --run-dir DIR        where the running agent keeps its state\n"
				 "  -v, --verbose            log more, on stderr\n"
				 "  -h, --help               print this\n");
}

static void verbose_reaches_the_log(void **state)
{
	_cleanup_free_ char *output = NULL;

	(void)state;
	assert_int_equal(log_get_level(), LOG_INFO);
	captured(&stdout, "shunt frob -v", &output);
	assert_int_equal(log_get_level(), LOG_DEBUG);
	log_set_level(LOG_INFO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_reach_the_command),
		cmocka_unit_test(what_is_not_understood_exits_2_and_says_why),
		cmocka_unit_test(the_first_command_runs_when_none_is_named),
		cmocka_unit_test(help_follows_from_the_tables),
		cmocka_unit_test(verbose_reaches_the_log),
	};

	return cmocka_run_group_tests_name("agent/cmd", tests, NULL, NULL);
}
