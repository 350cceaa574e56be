/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Real children: what a task may do is what the kernel lets its process do. */
#include "experiment/task.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/cleanup.h"

struct outcome {
	bool done, ok;
	char *message;
};

static void keep_outcome(void *arg, bool ok, const char *message)
{
	struct outcome *outcome = arg;

	outcome->done = true;
	outcome->ok = ok;
	outcome->message = strdup(message);
}

static struct task exec_task(json_t *with)
{
	return (struct task){ .name = (char *)"common/exec", .with = with, .path = (char *)"spec.strategy.actions.finish[0]" };
}

static json_t *shell(const char *script)
{
	return json_pack("{s:s, s:[s, s]}", "cmd", "/bin/sh", "args", "-c", script);
}

/* Runs a task to its end. */
static struct outcome run_task(json_t *with, const json_t *context, const struct task_options *options)
{
	struct task task = exec_task(with);
	struct outcome outcome = {};
	struct task_run *run;
	char *problem = NULL;
	uv_loop_t loop;
	int r;

	assert_int_equal(uv_loop_init(&loop), 0);
	r = task_start(&loop, &task, context, options, keep_outcome, &outcome, &run, &problem);
	if (r < 0)
		outcome = (struct outcome){ .message = problem };
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0); /* nothing of the task is left */
	json_decref(with);
	return outcome;
}

static struct outcome run_shell(const char *script, const struct task_options *options)
{
	_cleanup_json_ json_t *context = json_pack("{s:s, s:s}", "name", "flowers-v2", "promote", "a b;rm -rf /&'$(id)");

	return run_task(shell(script), context, options);
}

static const struct {
	const char *script;
	bool ok;
	const char *message;
} rows[] = {
	{ "true", true, "spec.strategy.actions.finish[0] common/exec ended with status 0" },
	{ "echo out; echo err >&2", true, "spec.strategy.actions.finish[0] common/exec ended with status 0: out | err" },
	{ "echo no cluster >&2; exit 3", false, "spec.strategy.actions.finish[0] common/exec ended with status 3: no cluster" },
	{ "kill -9 $$", false, "spec.strategy.actions.finish[0] common/exec was killed by signal 9 (Killed)" },
	{ "echo {{ .name }}", true, "spec.strategy.actions.finish[0] common/exec ended with status 0: flowers-v2" },
	{ "printf 'a\\033[1mb'", true, "spec.strategy.actions.finish[0] common/exec ended with status 0: a[1mb" },
};

static void the_end_of_a_command_is_told_with_what_it_printed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct outcome outcome = run_shell(rows[i].script, &(struct task_options){});

		assert_true(outcome.done);
		assert_int_equal(outcome.ok, rows[i].ok);
		assert_string_equal(outcome.message, rows[i].message);
		free(outcome.message);
	}
}

static void a_value_stays_one_argument_whatever_it_holds(void **state)
{
	_cleanup_json_ json_t *context = json_pack("{s:s}", "promote", "a b;rm -rf /&'$(id)");
	struct outcome outcome;

	(void)state;
	outcome = run_task(json_pack("{s:s, s:[s, s, i, b]}", "cmd", "/usr/bin/printf", "args", "[%s]", "{{ .promote }}", 7, true), context,
			   &(struct task_options){});
	assert_true(outcome.ok);
	assert_non_null(strstr(outcome.message, ": [a b;rm -rf /&'$(id)][7][true]"));
	free(outcome.message);
}

static void a_child_has_no_capabilities_and_cannot_get_any(void **state)
{
	static const char *const users[] = { NULL, "root" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		struct outcome outcome = run_shell("grep -E '^(Cap|NoNewPrivs)' /proc/self/status", &(struct task_options){ .user = users[i] });

		assert_true(outcome.ok);
		assert_non_null(strstr(outcome.message, "CapInh:0000000000000000 | CapPrm:0000000000000000 | CapEff:0000000000000000 | CapBnd:0000000000000000 | CapAmb:0000000000000000 | NoNewPrivs:1"));
		free(outcome.message);
	}
}

static void a_child_is_nobody_unless_configured(void **state)
{
	struct outcome outcome = run_shell("id -un; id -G", &(struct task_options){});

	(void)state;
	assert_non_null(strstr(outcome.message, ": nobody | 65534"));
	free(outcome.message);
	outcome = run_shell("id -un", &(struct task_options){ .user = "daemon" });
	assert_non_null(strstr(outcome.message, ": daemon"));
	free(outcome.message);
	outcome = run_shell("id -un", &(struct task_options){ .user = "no-such-user" });
	assert_false(outcome.done);
	assert_string_equal(outcome.message, "spec.strategy.actions.finish[0]: there is no user no-such-user on this machine to run it as");
	free(outcome.message);
}

static void read_capabilities(char text[256])
{
	_cleanup_file_ FILE *file = fopen("/proc/thread-self/status", "re");
	char line[256];

	text[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNewPrivs", 10) == 0)
			strncat(text, line, 255 - strlen(text));
	}
}

static void the_agent_keeps_its_own_capabilities(void **state)
{
	char before[256], after[256];
	struct outcome outcome;

	(void)state;
	read_capabilities(before);
	outcome = run_shell("true", &(struct task_options){});
	read_capabilities(after);
	free(outcome.message);
	assert_string_equal(after, before);
	assert_null(strstr(after, "CapEff:\t0000000000000000"));
}

static void the_environment_is_small_and_has_no_secret_of_the_agent(void **state)
{
	struct outcome outcome;

	(void)state;
	setenv("SHUNT_TEST_SECRET", "hush", 1);
	setenv("KUBECONFIG", "/etc/kube", 1);
	outcome = run_shell("env", &(struct task_options){});
	assert_null(strstr(outcome.message, "hush"));
	assert_non_null(strstr(outcome.message, "KUBECONFIG=/etc/kube"));
	assert_non_null(strstr(outcome.message, "PATH="));
	free(outcome.message);
	unsetenv("SHUNT_TEST_SECRET");
	unsetenv("KUBECONFIG");
}

/* The grandchild ignores SIGTERM and would print for ever. */
static void at_its_deadline_the_whole_group_is_killed(void **state)
{
	struct outcome outcome = run_shell("echo begun; (trap '' TERM; exec sleep 1000) & wait", &(struct task_options){ .deadline_ms = 300 });

	(void)state;
	assert_true(outcome.done);
	assert_false(outcome.ok);
	assert_string_equal(outcome.message, "spec.strategy.actions.finish[0] common/exec was killed after 0.3 s, its deadline: begun");
	free(outcome.message);
}

static void a_child_left_in_the_background_does_not_keep_the_task_open(void **state)
{
	struct outcome outcome = run_shell("echo $$; sleep 1000 & exit 0", &(struct task_options){});
	pid_t group;

	(void)state;
	assert_true(outcome.ok);
	group = atoi(strrchr(outcome.message, ':') + 1);
	assert_true(group > 0);
	free(outcome.message);
	while (kill(-group, 0) == 0) /* a killed process is in its group until it is reaped */
		sched_yield();
	assert_int_equal(errno, ESRCH);
}

static void long_output_keeps_its_beginning_and_its_end(void **state)
{
	struct outcome outcome = run_shell("echo first; yes | head -c 1000000; echo; echo last", &(struct task_options){});

	(void)state;
	assert_non_null(strstr(outcome.message, ": first | y | y"));
	assert_non_null(strstr(outcome.message, " bytes left out) ... "));
	assert_string_equal(outcome.message + strlen(outcome.message) - strlen(" | last"), " | last");
	assert_true(strlen(outcome.message) < 8192);
	free(outcome.message);
}

static void a_cancelled_task_is_killed_and_not_reported(void **state)
{
	_cleanup_json_ json_t *with = shell("sleep 1000");
	_cleanup_json_ json_t *context = json_object();
	struct task task = exec_task(with);
	struct outcome outcome = {};
	struct task_run *run;
	char *problem = NULL;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	assert_int_equal(task_start(&loop, &task, context, &(struct task_options){}, keep_outcome, &outcome, &run, &problem), 0);
	task_cancel(&run);
	assert_null(run);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	assert_false(outcome.done);
}

static void a_command_that_does_not_exist_is_named(void **state)
{
	_cleanup_json_ json_t *context = json_object();
	struct outcome outcome = run_task(json_pack("{s:s}", "cmd", "/no/such/command"), context, &(struct task_options){});

	(void)state;
	assert_false(outcome.done);
	assert_string_equal(outcome.message, "spec.strategy.actions.finish[0] common/exec: /no/such/command could not be started as user nobody: no such file or directory");
	free(outcome.message);
}

static const struct {
	const char *name, *with, *condition, *problem;
} checks[] = {
	{ "common/exec", "{\"cmd\": \"x\"}", NULL, NULL },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": [\"a\", 1, 1.5, true], \"disableInterpolation\": true}", NULL, NULL },
	{ "common/bash", "{}", NULL, "p: task \"common/bash\" is not known to this version of shunt; known: common/exec" },
	{ "run", "{}", NULL, "p: task \"run\" is not known to this version of shunt; known: common/exec" },
	{ "common/exec", "{\"cmd\": \"x\"}", "CandidateWon()", "p.if: conditions are not known to this version of shunt; leave `if` out to run the task always" },
	{ "common/exec", "{}", NULL, "p.with.cmd: common/exec needs the command to run, a string" },
	{ "common/exec", "{\"cmd\": 1}", NULL, "p.with.cmd: common/exec needs the command to run, a string" },
	{ "common/exec", "{\"cmd\": \"x\", \"arg\": []}", NULL, "p.with.arg: common/exec has no such input; it has cmd, args and disableInterpolation" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": \"y\"}", NULL, "p.with.args: allowed: a list" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": [[]]}", NULL, "p.with.args[0]: allowed: a string, number or boolean" },
	{ "common/exec", "{\"cmd\": \"x\", \"disableInterpolation\": \"yes\"}", NULL, "p.with.disableInterpolation: allowed: true or false" },
};

static void a_task_is_checked_before_anything_runs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		_cleanup_json_ json_t *with = json_loads(checks[i].with, 0, NULL);
		struct task task = { .name = (char *)checks[i].name, .condition = (char *)checks[i].condition, .with = with, .path = (char *)"p" };
		_cleanup_free_ char *problem = NULL;
		int r = task_check(&task, &problem);

		assert_int_equal(r, checks[i].problem ? -EINVAL : 0);
		if (checks[i].problem)
			assert_string_equal(problem, checks[i].problem);
	}
}

static void without_a_recommendation_only_a_raw_task_runs(void **state)
{
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s]}", "cmd", "x", "args", "{{ .name }}");
	struct task task = exec_task(with);
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_free_ char *problem = NULL;

	(void)state;
	assert_int_equal(task_args(&task, NULL, &args, &problem), -EINVAL);
	assert_non_null(strstr(problem, "no version is recommended yet"));
	json_object_set_new(with, "disableInterpolation", json_true());
	assert_int_equal(task_args(&task, NULL, &args, &problem), 0);
	assert_string_equal(args[1], "{{ .name }}");
	assert_null(args[2]);
}

static void a_bad_template_names_the_argument(void **state)
{
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s, s]}", "cmd", "x", "args", "a", "{{ range .x }}"), *context = json_object();
	struct task task = exec_task(with);
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_free_ char *problem = NULL;

	(void)state;
	assert_int_equal(task_args(&task, context, &args, &problem), -EINVAL);
	assert_memory_equal(problem, "spec.strategy.actions.finish[0].with.args[1]: template", 53);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_end_of_a_command_is_told_with_what_it_printed),
		cmocka_unit_test(a_value_stays_one_argument_whatever_it_holds),
		cmocka_unit_test(a_child_has_no_capabilities_and_cannot_get_any),
		cmocka_unit_test(a_child_is_nobody_unless_configured),
		cmocka_unit_test(the_agent_keeps_its_own_capabilities),
		cmocka_unit_test(the_environment_is_small_and_has_no_secret_of_the_agent),
		cmocka_unit_test(at_its_deadline_the_whole_group_is_killed),
		cmocka_unit_test(a_child_left_in_the_background_does_not_keep_the_task_open),
		cmocka_unit_test(long_output_keeps_its_beginning_and_its_end),
		cmocka_unit_test(a_cancelled_task_is_killed_and_not_reported),
		cmocka_unit_test(a_command_that_does_not_exist_is_named),
		cmocka_unit_test(a_task_is_checked_before_anything_runs),
		cmocka_unit_test(without_a_recommendation_only_a_raw_task_runs),
		cmocka_unit_test(a_bad_template_names_the_argument),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
