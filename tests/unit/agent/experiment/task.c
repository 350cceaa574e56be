/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Real children: what a task may do is what the kernel lets its process do. */
#include "experiment/task.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "reading/collected.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

struct outcome {
	bool done, ok;
	char *message;
	json_t *collected, *variables;
};

static void keep_outcome(void *arg, const struct task_outcome *from)
{
	struct outcome *outcome = arg;

	outcome->done = true;
	outcome->ok = from->ok;
	outcome->message = strdup(from->message);
	outcome->collected = json_incref(from->collected);
	outcome->variables = json_incref(from->variables);
}

static struct version_detail versions[] = { { .name = (char *)"flowers-v1" }, { .name = (char *)"flowers-v2" } };
static struct experiment experiment = { .meta = { .ns = (char *)"default", .name = (char *)"exp" }, .target = (char *)"flowers", .testing = TESTING_AB,
					.versions = versions, .version_count = 2 };

/* values are the document, too: most tasks look at one of them only. */
static struct task_context context_of(const json_t *values)
{
	return (struct task_context){ .experiment = &experiment, .document = values, .values = values };
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
static struct outcome run_in(const struct task *task, const struct task_context *context, const struct task_options *options)
{
	struct outcome outcome = {};
	struct task_run *run;
	char *problem = NULL;
	uv_loop_t loop;
	int r;

	assert_int_equal(uv_loop_init(&loop), 0);
	r = task_start(&loop, task, context, options, keep_outcome, &outcome, &run, &problem);
	if (r != 0)
		outcome = (struct outcome){ .ok = r > 0, .message = problem };
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0); /* nothing of the task is left */
	return outcome;
}

static struct outcome run_task(json_t *with, const json_t *values, const struct task_options *options)
{
	struct task task = exec_task(with);
	struct task_context context = context_of(values);
	struct outcome outcome = run_in(&task, &context, options);

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
	assert_string_equal(outcome.message, "spec.strategy.actions.finish[0] common/exec: there is no user no-such-user on this machine to run it as");
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
	struct task_context given = context_of(context);
	struct outcome outcome = {};
	struct task_run *run;
	char *problem = NULL;
	uv_loop_t loop;

	(void)state;
	uv_loop_init(&loop);
	assert_int_equal(task_start(&loop, &task, &given, &(struct task_options){}, keep_outcome, &outcome, &run, &problem), 0);
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
	{ "common/bash", "{\"script\": \"true\"}", "WinnerFound() and not CandidateWon()", NULL },
	{ "common/bash", "{}", NULL, "p.with.script: common/bash needs the script to run, a string" },
	{ "common/promote-kubectl", "{\"manifest\": \"{{ .promote }}\", \"recursive\": true, \"namespace\": \"x\"}", NULL, NULL },
	{ "common/promote-kubectl", "{\"recursive\": true}", NULL, "p.with.manifest: common/promote-kubectl needs the manifest to apply, a file name or URL" },
	{ "knative/init-experiment", "{}", NULL, NULL },
	{ "knative/init-experiment", "{\"x\": 1}", NULL, "p.with.x: knative/init-experiment has no such input; it has none" },
	{ "gitops/helmex-update", "{}", NULL,
	  "p: task \"gitops/helmex-update\" is not known to this version of shunt; known: common/exec, common/bash, common/promote-kubectl, common/readiness, "
	  "metrics/collect, notification/http, notification/slack, run and knative/init-experiment" },
	{ "common/exec", "{\"cmd\": \"x\"}", "Candidate()",
	  "p.if: an unknown function at \"Candidate()\" of \"Candidate()\"; allowed: WinnerFound(), CandidateWon(), fields such as Status.Stage, text, numbers, "
	  "and, or, not, comparisons, parentheses" },
	{ "common/readiness", "{\"objRefs\": [{\"kind\": \"svc\", \"name\": \"a\", \"namespace\": \"b\", \"waitFor\": \"condition=Ready\"}], \"numRetries\": 0}", NULL, NULL },
	{ "common/readiness", "{\"objRefs\": [{\"kind\": \"svc\", \"name\": \"-A\"}]}", NULL, "p.with.objRefs[0].name: allowed: a DNS label (RFC 1123)" },
	{ "common/readiness", "{\"numRetries\": -1}", NULL, "p.with.numRetries: allowed: a whole number from 0 on" },
	{ "metrics/collect", "{\"versions\": []}", NULL, "p.with.versions: metrics/collect needs the versions to ask, a list of {name, url, headers}" },
	{ "metrics/collect", "{\"versions\": [{\"name\": \"a\"}]}", NULL,
	  "p.with.versions[0]: needs name and url, strings; headers, an object of strings, may be there" },
	{ "metrics/collect", "{\"versions\": [{\"name\": \"a\", \"url\": \"u\"}], \"time\": \"1x\"}", NULL,
	  "p.with.time: found \"1x\"; allowed: a duration such as 10s or 1m30s" },
	{ "metrics/collect", "{\"versions\": [{\"name\": \"a\", \"url\": \"u\"}], \"qps\": 0}", NULL, "p.with.qps: allowed: a number above 0" },
	{ "notification/http", "{\"URL\": \"u\", \"method\": \"PUT\"}", NULL, "p.with.method: found \"PUT\"; allowed: GET, POST" },
	{ "notification/http", "{\"URL\": \"u\", \"authType\": \"Bearer\"}", NULL, "p.with.secret: authType Bearer needs the secret that it is made of" },
	{ "notification/slack", "{\"channel\": \"C1\"}", NULL, "p.with.secret: notification/slack needs the secret whose key `token` is Slack's token" },
	{ "common/exec", "{}", NULL, "p.with.cmd: common/exec needs the command to run, a string" },
	{ "common/exec", "{\"cmd\": 1}", NULL, "p.with.cmd: common/exec needs the command to run, a string" },
	{ "common/exec", "{\"cmd\": \"x\", \"arg\": []}", NULL, "p.with.arg: common/exec has no such input; it has cmd, args and disableInterpolation" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": \"y\"}", NULL, "p.with.args: allowed: a list" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": [[]]}", NULL, "p.with.args[0]: allowed: a string, number or boolean" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": [\"a\", \"{{ range .x }}\"]}", NULL,
	  "p.with.args[1]: template \"{{ range .x }}\" is not understood: only a field that holds text, such as {{ .promote }} or {{ .this.metadata.name }}, can stand "
	  "between the braces" },
	{ "common/exec", "{\"cmd\": \"x\", \"args\": [\"{{ range .x }}\"], \"disableInterpolation\": true}", NULL, NULL },
	{ "common/bash", "{\"script\": \"echo {{ .name\"}", NULL, "p.with.script: template \"{{ .name\" has no closing }}" },
	{ "common/promote-kubectl", "{\"manifest\": \"{{ promote }}\"}", NULL,
	  "p.with.manifest: template \"{{ promote }}\" is not understood: only a field that holds text, such as {{ .promote }} or {{ .this.metadata.name }}, can stand "
	  "between the braces" },
	{ "notification/http", "{\"URL\": \"http://h/{{ .this.metadata.name }}\", \"body\": \"{{\"}", NULL, "p.with.body: template \"{{\" has no closing }}" },
	{ "notification/http", "{\"URL\": \"u\", \"headers\": [{\"name\": \"a\", \"value\": \"{{ .secret.x\"}]}", NULL,
	  "p.with.headers[0]: template \"{{ .secret.x\" has no closing }}" },
	{ "notification/http", "{\"URL\": \"u\", \"headers\": [{\"name\": \"a\", \"val\": \"x\"}]}", NULL,
	  "p.with.headers[0].val: there is no such field; it has name and value" },
	{ "common/readiness", "{\"objRefs\": [{\"kind\": \"svc\", \"name\": \"a\", \"waitfor\": \"x\"}]}", NULL,
	  "p.with.objRefs[0].waitfor: there is no such field; it has kind, namespace, name and waitFor" },
	{ "metrics/collect", "{\"versions\": [{\"name\": \"a\", \"url\": \"u\", \"header\": {}}]}", NULL,
	  "p.with.versions[0].header: there is no such field; it has name, url and headers" },
	{ "common/exec", "{\"cmd\": \"x\"}", "Status.Stge == 'Finishing'",
	  "p.if: an Experiment has no field Status.Stge; status has conditions, initTime, startTime, lastUpdateTime, stage, completedIterations, "
	  "currentWeightDistribution, analysis, versionRecommendedForPromotion, message, metrics, shunt" },
	{ "common/exec", "{\"cmd\": \"x\"}", "Status.Stage",
	  "p.if: a value that is neither true nor false at \"\" of \"Status.Stage\"; allowed: WinnerFound(), CandidateWon(), fields such as Status.Stage, text, numbers, "
	  "and, or, not, comparisons, parentheses" },
	{ "run", "echo @< .Spec.Target >@ @< .Status.VersionRecommendedForPromotion >@ @< .Labels.app >@", NULL, NULL },
	{ "run", "echo @< .Spec.Taget >@", NULL, "p.run: an Experiment has no field Spec.Taget; spec has target, versionInfo, strategy, criteria, duration" },
	{ "run", "echo @< .Secret \"key\" >@", NULL, "p.with.secret: the script uses .Secret, and no secret is named" },
	{ "run", "echo @< .Secret key >@", NULL,
	  "p.run: template \"@< .Secret key >@\" is not understood: only a field that holds text, such as @< .Spec.Target >@ or @< .Secret \"key\" >@ of a secret that has "
	  "the key, can stand between the braces" },
	{ "common/exec", "{\"cmd\": \"x\", \"disableInterpolation\": \"yes\"}", NULL, "p.with.disableInterpolation: allowed: true or false" },
};

static void a_task_is_checked_before_anything_runs(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
		_cleanup_json_ json_t *with = json_loads(checks[i].with, 0, NULL);
		bool script = strcmp(checks[i].name, "run") == 0; /* and not JSON */
		struct task task = { .name = (char *)checks[i].name, .condition = (char *)checks[i].condition, .with = with, .path = (char *)"p",
				     .run = script ? (char *)checks[i].with : NULL };
		_cleanup_free_ char *problem = NULL;
		int r = task_check(&task, &problem);

		assert_int_equal(r, checks[i].problem ? -EINVAL : 0);
		if (checks[i].problem)
			assert_string_equal(problem, checks[i].problem);
	}
}

static void a_variable_that_a_version_has_not_is_noted(void **state)
{
	static struct variable promote = { (char *)"promote", (char *)"v2.yaml" };
	struct version_detail two[] = { { .name = (char *)"v1" }, { .name = (char *)"v2", .variables = &promote, .variable_count = 1 } };
	struct experiment e = { .versions = two, .version_count = 2 };
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s, s]}", "cmd", "x", "args", "{{ .name }}{{ .this.metadata.name }}", "{{ .promote }}");
	_cleanup_json_ json_t *notice = json_pack("{s:s, s:s}", "URL", "http://h/{{ .secret.x }}", "body", "{{ .winner }}{{ .this.status.stage }}");
	_cleanup_json_ json_t *notes = json_array();
	struct task task = exec_task(with), web = { .name = (char *)"notification/http", .with = notice, .path = (char *)"p" };

	(void)state;
	task_note(&task, &e, notes);
	task_note(&web, &e, notes);
	assert_int_equal(json_array_size(notes), 2);
	assert_string_equal(json_string_value(json_array_get(notes, 0)),
			    "spec.strategy.actions.finish[0].with.args[1]: .promote will be empty when v1 is recommended: it has no such variable");
	assert_string_equal(json_string_value(json_array_get(notes, 1)), "p.with.body: .winner will be empty: a notification knows .this and .secret");
}

static void without_a_recommendation_only_a_raw_task_runs(void **state)
{
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s]}", "cmd", "x", "args", "{{ .name }}");
	struct task task = exec_task(with);
	struct task_context given = context_of(NULL);
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_free_ char *problem = NULL;

	(void)state;
	assert_int_equal(task_args(&task, &given, NULL, &args, &problem), -EINVAL);
	assert_non_null(strstr(problem, "no version is recommended yet"));
	json_object_set_new(with, "disableInterpolation", json_true());
	assert_int_equal(task_args(&task, &given, NULL, &args, &problem), 0);
	assert_string_equal(args[1], "{{ .name }}");
	assert_null(args[2]);
}

static void a_bad_template_names_the_argument(void **state)
{
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s, s]}", "cmd", "x", "args", "a", "{{ range .x }}"), *context = json_object();
	struct task task = exec_task(with);
	struct task_context given = context_of(context);
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_free_ char *problem = NULL;

	(void)state;
	assert_int_equal(task_args(&task, &given, NULL, &args, &problem), -EINVAL);
	assert_memory_equal(problem, "spec.strategy.actions.finish[0].with.args[1]: template", 53);
}

/* ---- commands ---- */

static void assert_args(const struct task *task, const json_t *values, const json_t *secret, const char *const *expected)
{
	struct task_context given = context_of(values);
	_cleanup_(task_free_args) char **args = NULL;
	_cleanup_free_ char *problem = NULL;
	size_t n = 0;

	assert_int_equal(task_args(task, &given, secret, &args, &problem), 0);
	for (; expected[n]; n++)
		assert_string_equal(args[n], expected[n]);
	assert_null(args[n]);
}

static void commands_are_what_iter8_runs_but_without_a_shell_unless_asked(void **state)
{
	_cleanup_json_ json_t *values = json_pack("{s:s, s:s, s:{s:{s:s, s:s}, s:{s:s}}}", "name", "v2", "promote", "https://x/?a=1&b='2+3'", "this", "metadata",
						  "name", "exp", "namespace", "prod", "spec", "target", "flowers");
	_cleanup_json_ json_t *bash = json_pack("{s:s}", "script", "echo {{ .promote }} {{ .this.metadata.namespace }}"), *secret = json_pack("{s:s}", "key", "s3");
	_cleanup_json_ json_t *promote = json_pack("{s:s, s:b}", "manifest", "{{ .promote }}", "recursive", true);
	const struct task tasks[] = {
		{ .name = (char *)"common/bash", .with = bash, .path = (char *)"p" },
		{ .name = (char *)"common/promote-kubectl", .with = promote, .path = (char *)"p" },
		{ .name = (char *)"run", .run = (char *)"echo @< .Spec.Target >@ @<.Name>@ @< .Secret \"key\" >@ {{ .x }}", .path = (char *)"p" },
	};

	(void)state;
	assert_args(&tasks[0], values, NULL, (const char *const[]){ "/bin/bash", "-c", "echo https://x/?a=1&b='2+3' prod", NULL });
	assert_args(&tasks[1], values, NULL, (const char *const[]){ "kubectl", "apply", "--namespace", "default", "--recursive", "--filename", "https://x/?a=1&b='2+3'", NULL });
	assert_args(&tasks[2], json_object_get(values, "this"), secret, (const char *const[]){ "/bin/bash", "-c", "echo flowers exp s3 {{ .x }}", NULL });
}

static void t10_arguments_are_plain_text(void **state)
{
	_cleanup_json_ json_t *values = json_pack("{s:s}", "promote", "https://x/?a=1&b='2+3'<>\"");
	_cleanup_json_ json_t *with = json_pack("{s:s, s:[s]}", "cmd", "kubectl", "args", "-f={{ .promote }}");
	const struct task task = exec_task(with);

	(void)state;
	assert_args(&task, values, NULL, (const char *const[]){ "kubectl", "-f=https://x/?a=1&b='2+3'<>\"", NULL });
}

static void a_run_script_is_run_by_bash_with_its_scratch_folder(void **state)
{
	_cleanup_json_ json_t *document = json_pack("{s:{s:s}}", "spec", "target", "flowers");
	const struct task task = { .name = (char *)"run", .run = (char *)"[[ $SCRATCH_DIR == /some/where ]] && echo @< .spec.target >@", .path = (char *)"p" };
	struct task_context context = context_of(document);
	struct outcome outcome;

	context.scratch = "/some/where";
	outcome = run_in(&task, &context, &(struct task_options){});

	(void)state;
	assert_string_equal(outcome.message, "p run ended with status 0: flowers");
	free(outcome.message);
}

static void a_task_whose_condition_does_not_hold_is_left_out(void **state)
{
	_cleanup_json_ json_t *document = json_loads("{\"status\": {\"analysis\": {\"winnerAssessment\": {\"data\": {\"winnerFound\": false}}}}}", 0, NULL);
	const struct task task = { .name = (char *)"run", .run = (char *)"exit 1", .condition = (char *)"WinnerFound()", .path = (char *)"p" };
	struct task_context context = context_of(document);
	struct outcome outcome = run_in(&task, &context, &(struct task_options){});

	(void)state;
	assert_true(outcome.ok && !outcome.done);
	assert_string_equal(outcome.message, "p run was left out: \"WinnerFound()\" does not hold");
	free(outcome.message);
}

/* ---- knative ---- */

static void remove_folder(const char *folder)
{
	_cleanup_free_ char *command = text_printf("rm -r '%s'", folder);

	assert_int_equal(system(command), 0);
}

/* A kubectl that says what the test wants, and is found before any other. */
static void make_kubectl(char folder[64], const char *script)
{
	_cleanup_free_ char *path = NULL, *search = NULL;
	FILE *file;

	strcpy(folder, "/tmp/shunt-kubectl-XXXXXX");
	assert_non_null(mkdtemp(folder));
	chmod(folder, 0755);
	path = text_printf("%s/kubectl", folder);
	search = text_printf("%s:/usr/bin:/bin", folder);
	file = fopen(path, "we");
	fprintf(file, "#!/bin/sh\n%s\n", script);
	fclose(file);
	chmod(path, 0755);
	setenv("PATH", search, 1);
}

#define KNATIVE_READY "ConfigurationsReady=True Ready=True RoutesReady=True revision=app-v1 revision=app-v2 "

static const struct {
	const char *target, *says;
	enum testing_pattern testing;
	const char *message;
	bool ok;
} knatives[] = {
	{ "prod/app", "[ \"$2 $3 $5\" = 'services.serving.knative.dev app prod' ] && echo '" KNATIVE_READY "'", TESTING_CANARY,
	  "p knative/init-experiment: Knative service prod/app is ready and has the revisions of all versions", true },
	{ "prod/app", "echo 'ConfigurationsReady=True Ready=True RoutesReady=True revision=app-v1 revision=app-v22'", TESTING_CANARY,
	  "p knative/init-experiment: Knative service prod/app has no revision app-v2 in its traffic: ConfigurationsReady=True Ready=True RoutesReady=True revision=app-v1 "
	  "revision=app-v22", false },
	{ "prod/app", "echo 'Ready=False ConfigurationsReady=True RoutesReady=True revision=app-v1'", TESTING_CANARY,
	  "p knative/init-experiment: Knative service prod/app is not ready: condition Ready is not True", false },
	{ "prod/app", "echo no such thing >&2; exit 1", TESTING_CANARY,
	  "p knative/init-experiment: Knative service prod/app cannot be read: kubectl get ended with status 1: no such thing", false },
	{ "app", "true", TESTING_CANARY, "p: found target \"app\"; allowed: namespace/name of the Knative service", false },
	{ "prod/app", "true", TESTING_AB, "p: allowed: testingPattern Conformance or Canary", false },
};

static void init_experiment_waits_for_the_knative_service_and_gives_its_namespace(void **state)
{
	static struct variable one = { (char *)"revision", (char *)"app-v1" }, two = { (char *)"revision", (char *)"app-v2" };
	struct version_detail both[] = { { .name = (char *)"v1", .variables = &one, .variable_count = 1 }, { .name = (char *)"v2", .variables = &two, .variable_count = 1 } };
	_cleanup_free_ char *search = strdup(getenv("PATH"));

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(knatives); i++) {
		struct experiment of = { .meta = experiment.meta, .target = (char *)knatives[i].target, .testing = knatives[i].testing, .versions = both, .version_count = 2 };
		const struct task task = { .name = (char *)"knative/init-experiment", .path = (char *)"p" };
		struct task_context context = { .experiment = &of };
		struct outcome outcome;
		char folder[64];

		make_kubectl(folder, knatives[i].says);
		outcome = run_in(&task, &context, &(struct task_options){ .deadline_ms = 3000 });
		assert_int_equal(outcome.ok, knatives[i].ok);
		assert_string_equal(outcome.message, knatives[i].message);
		if (knatives[i].ok)
			assert_string_equal(json_string_value(json_object_get(outcome.variables, "namespace")), "prod");
		else
			assert_null(outcome.variables);
		json_decref(outcome.variables);
		free(outcome.message);
		remove_folder(folder);
	}
	setenv("PATH", search, 1);
}

/* ---- readiness ---- */

/* Looks ready (true) as soon as the folder has Service a with a ready endpoint and VirtualService route; the world changes while the task waits. */
struct readiness_scene {
	struct world first, second;
	const struct world *now;
	uv_timer_t timer;
};

static void change_world(uv_timer_t *timer)
{
	struct readiness_scene *scene = timer->data;

	scene->now = &scene->second;
	uv_close((uv_handle_t *)timer, NULL);
}

static struct outcome run_readiness(struct readiness_scene *scene, json_t *with, struct experiment *of)
{
	struct task task = { .name = (char *)"common/readiness", .with = with, .path = (char *)"p" };
	struct task_context context = { .experiment = of, .world = &scene->now };
	struct outcome outcome = {};
	struct task_run *run;
	char *problem = NULL;
	uv_loop_t loop;

	scene->now = &scene->first;
	assert_int_equal(uv_loop_init(&loop), 0);
	uv_timer_init(&loop, &scene->timer);
	scene->timer.data = scene;
	uv_timer_start(&scene->timer, change_world, 300, 0);
	assert_int_equal(task_start(&loop, &task, &context, &(struct task_options){ .deadline_ms = 60000 }, keep_outcome, &outcome, &run, &problem), 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
	json_decref(with);
	return outcome;
}

static void t9_readiness_looks_at_all_objects_and_tries_again(void **state)
{
	struct service services[] = { { .meta = { .ns = (char *)"default", .name = (char *)"a" } } };
	struct virtual_service routes[] = { { .meta = { .ns = (char *)"default", .name = (char *)"route" } } };
	struct endpoint endpoints[] = { { .ready = true } };
	struct endpoint_slice slices[] = { { .meta = { .ns = (char *)"default", .name = (char *)"a-1" }, .service = (char *)"a", .endpoints = endpoints, .endpoint_count = 1 } };
	struct readiness_scene scene = {
		.first = { .services = services, .service_count = 1, .virtual_services = routes, .virtual_service_count = 1 },
		.second = { .services = services, .service_count = 1, .virtual_services = routes, .virtual_service_count = 1, .slices = slices, .slice_count = 1 },
	};
	const char *objects = "{\"initialDelaySeconds\": 0, \"intervalSeconds\": 1, \"numRetries\": %d, \"objRefs\": [{\"kind\": \"virtualservices.networking.istio.io\", "
			      "\"name\": \"route\"}, {\"kind\": \"Service\", \"name\": \"a\", \"waitFor\": \"condition=Ready\"}]}";
	_cleanup_free_ char *patient = text_printf(objects, 12), *impatient = text_printf(objects, 0);
	struct outcome outcome = run_readiness(&scene, json_loads(patient, 0, NULL), &experiment);

	(void)state;
	assert_true(outcome.ok);
	assert_string_equal(outcome.message, "p common/readiness found 2 objects ready");
	free(outcome.message);
	outcome = run_readiness(&scene, json_loads(impatient, 0, NULL), &experiment);
	assert_false(outcome.ok);
	assert_string_equal(outcome.message, "p common/readiness gave up on Service default/a: it has no ready endpoint");
	free(outcome.message);
}

static void readiness_looks_at_the_objects_of_weights_too(void **state)
{
	_cleanup_json_ json_t *ref = json_pack("{s:s, s:s}", "kind", "VirtualService", "name", "gone");
	struct version_detail weighted[] = { { .name = (char *)"v1" }, { .name = (char *)"v2", .weight_obj_ref = ref } };
	struct experiment e = { .meta = { .ns = (char *)"default", .name = (char *)"exp" }, .versions = weighted, .version_count = 2 };
	struct readiness_scene scene = {};
	struct outcome outcome = run_readiness(&scene, json_loads("{\"initialDelaySeconds\": 0, \"numRetries\": 0}", 0, NULL), &e);

	(void)state;
	assert_false(outcome.ok); /* with or without a kubectl on this machine */
	assert_memory_equal(outcome.message, "p common/readiness gave up on VirtualService default/gone: it is not in the folder, and ", 87);
	free(outcome.message);
}

/* ---- HTTP ---- */

/* A real server for a few requests: answers each with `status` and `body`, and keeps what it was sent. */
struct server {
	uv_thread_t thread;
	int fd, port, requests;
	int status;
	const char *body;
	char got[16384]; /* all requests, one after the other */
	size_t size;
};

static void serve_one(struct server *server, int fd)
{
	char *end, *length;
	size_t begin = server->size, need = 0;
	ssize_t n;

	while (server->size < sizeof(server->got) - 1 && (n = read(fd, server->got + server->size, sizeof(server->got) - 1 - server->size)) > 0) {
		server->size += (size_t)n;
		server->got[server->size] = '\0';
		end = strstr(server->got + begin, "\r\n\r\n");
		length = strcasestr(server->got + begin, "content-length:");
		need = length && end && length < end ? strtoul(length + 15, NULL, 10) : 0;
		if (end && server->size - (size_t)(end + 4 - server->got) >= need)
			break;
	}
	dprintf(fd, "HTTP/1.1 %d Status\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s", server->status, strlen(server->body), server->body);
}

static void serve(void *arg)
{
	struct server *server = arg;

	for (int i = 0; i < server->requests; i++) {
		int fd = accept(server->fd, NULL, NULL);

		if (fd < 0)
			return;
		serve_one(server, fd);
		close(fd);
	}
}

static char *server_start(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);

	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(server->fd, 64), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &size), 0);
	assert_int_equal(uv_thread_create(&server->thread, serve, server), 0);
	return text_printf("http://127.0.0.1:%d/x", ntohs(address.sin_port));
}

static void server_stop(struct server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	uv_thread_join(&server->thread);
	close(server->fd);
}

static void make_secret(char folder[64], const char *key, const char *value)
{
	_cleanup_free_ char *ns = NULL, *name = NULL, *path = NULL;
	FILE *file;

	strcpy(folder, "/tmp/shunt-task-XXXXXX");
	assert_non_null(mkdtemp(folder));
	ns = text_printf("%s/default", folder);
	name = text_printf("%s/default/hook", folder);
	path = text_printf("%s/default/hook/%s", folder, key);
	mkdir(ns, 0700);
	mkdir(name, 0700);
	file = fopen(path, "we");
	fputs(value, file);
	fclose(file);
}

static json_t *finished_experiment(void)
{
	return json_loads("{\"metadata\": {\"name\": \"exp\"}, \"status\": {\"stage\": \"Completed\", \"versionRecommendedForPromotion\": \"flowers-v2\", "
			  "\"conditions\": [{\"type\": \"Failed\", \"status\": \"True\"}], \"analysis\": {\"winnerAssessment\": {\"data\": {\"winnerFound\": true, "
			  "\"winner\": \"flowers-v2\"}}}}}", 0, NULL);
}

static void an_http_notification_fills_in_headers_and_body_and_says_who_it_is(void **state)
{
	struct server server = { .requests = 1, .status = 204, .body = "" };
	_cleanup_free_ char *url = server_start(&server);
	_cleanup_json_ json_t *document = finished_experiment();
	_cleanup_json_ json_t *with = json_pack("{s:s, s:s, s:s, s:[{s:s, s:s}], s:s}", "URL", url, "authType", "Bearer", "secret", "hook", "headers", "name", "X-Name",
						"value", "{{ .this.metadata.name }}/{{ .secret.token }}", "body", "{{ .this.status.stage }} & done");
	const struct task task = { .name = (char *)"notification/http", .with = with, .path = (char *)"p" };
	struct task_context context = context_of(document);
	char folder[64];
	struct outcome outcome;

	(void)state;
	make_secret(folder, "token", "s3cret");
	outcome = run_in(&task, &context, &(struct task_options){ .secrets = folder });
	server_stop(&server);
	remove_folder(folder);
	assert_true(outcome.ok);
	assert_string_equal(outcome.message, "p notification/http was sent: HTTP 204");
	assert_memory_equal(server.got, "POST /x HTTP/1.1\r\n", 18);
	assert_non_null(strstr(server.got, "\r\nContent-Type: application/json\r\n"));
	assert_non_null(strstr(server.got, "\r\nAuthorization: Bearer s3cret\r\n"));
	assert_non_null(strstr(server.got, "\r\nX-Name: exp/s3cret\r\n"));
	assert_non_null(strstr(server.got, "\r\n\r\nCompleted & done"));
	free(outcome.message);
}

/* Its script, what it prints, the log and what the process list shows. */
static void a_script_can_use_a_secret_and_nobody_sees_it(void **state)
{
	static const char script[] = "echo @< .Secret \"token\" >@ ${#0}; tr '\\0' ' ' </proc/$$/cmdline | grep -c s3cret; tr '\\0' ' ' </proc/$$/environ | grep -c s3cret; exit 3";
	_cleanup_json_ json_t *document = finished_experiment(), *with = json_pack("{s:s}", "secret", "hook");
	const struct task task = { .name = (char *)"run", .run = (char *)script, .with = with, .path = (char *)"p" };
	struct task_context context = context_of(document);
	char folder[64], log[] = "/tmp/shunt-task-log-XXXXXX";
	_cleanup_free_ char *logged = NULL;
	struct outcome outcome;
	int kept, fd = mkstemp(log);
	size_t size = 0;
	FILE *file;

	(void)state;
	make_secret(folder, "token", "s3cret");
	kept = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	log_set_level(LOG_DEBUG);
	outcome = run_in(&task, &context, &(struct task_options){ .secrets = folder });
	log_set_level(LOG_ERR);
	dup2(kept, STDERR_FILENO);
	close(kept);
	remove_folder(folder);
	assert_string_equal(outcome.message, "p run ended with status 3: *** 9 | 0 | 0");
	file = fdopen(fd, "r");
	rewind(file);
	assert_true(getdelim(&logged, &size, '\0', file) > 0);
	assert_non_null(strstr(logged, "p run: *** 9"));
	assert_null(strstr(logged, "s3cret"));
	fclose(file);
	unlink(log);
	free(outcome.message);
}

static void an_answer_that_repeats_the_secret_is_told_without_it(void **state)
{
	struct server server = { .requests = 1, .status = 401, .body = "no such token: s3cret" };
	_cleanup_free_ char *url = server_start(&server);
	_cleanup_json_ json_t *document = finished_experiment();
	_cleanup_json_ json_t *with = json_pack("{s:s, s:s, s:s, s:b}", "URL", url, "authType", "Bearer", "secret", "hook", "ignoreFailure", false);
	const struct task task = { .name = (char *)"notification/http", .with = with, .path = (char *)"p" };
	struct task_context context = context_of(document);
	char folder[64];
	struct outcome outcome;

	(void)state;
	make_secret(folder, "token", "s3cret");
	outcome = run_in(&task, &context, &(struct task_options){ .secrets = folder });
	server_stop(&server);
	remove_folder(folder);
	assert_string_equal(outcome.message, "p notification/http failed: HTTP 401: no such token: ***");
	free(outcome.message);
}

static void without_a_body_a_notification_has_the_summary_and_the_experiment(void **state)
{
	struct server server = { .requests = 1, .status = 200, .body = "ok" };
	_cleanup_free_ char *url = server_start(&server);
	_cleanup_json_ json_t *document = finished_experiment(), *with = json_pack("{s:s}", "URL", url), *sent = NULL;
	const struct task task = { .name = (char *)"notification/http", .with = with, .path = (char *)"p" };
	struct task_context context = context_of(document);
	struct outcome outcome = run_in(&task, &context, &(struct task_options){});

	(void)state;
	server_stop(&server);
	assert_true(outcome.ok);
	sent = json_loads(strstr(server.got, "\r\n\r\n") + 4, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(json_object_get(sent, "summary"), "winner")), "flowers-v2");
	assert_true(json_is_true(json_object_get(json_object_get(sent, "summary"), "winnerFound")));
	assert_true(json_equal(json_object_get(sent, "experiment"), document));
	free(outcome.message);
}

static void a_failed_notification_fails_its_action_only_when_asked(void **state)
{
	_cleanup_json_ json_t *document = finished_experiment();

	(void)state;
	for (int strict = 0; strict <= 1; strict++) {
		struct server server = { .requests = 1, .status = 500, .body = "no such hook\nmore" };
		_cleanup_free_ char *url = server_start(&server);
		_cleanup_json_ json_t *with = json_pack("{s:s, s:b}", "URL", url, "ignoreFailure", !strict);
		const struct task task = { .name = (char *)"notification/http", .with = with, .path = (char *)"p" };
		struct task_context context = context_of(document);
		struct outcome outcome = run_in(&task, &context, &(struct task_options){});

		server_stop(&server);
		assert_int_equal(outcome.ok, !strict);
		assert_string_equal(outcome.message, strict ? "p notification/http failed: HTTP 500: no such hook" : "p notification/http failed: HTTP 500: no such hook (ignored)");
		free(outcome.message);
	}
}

static void slack_is_told_in_iter8s_words_and_its_refusal_is_seen(void **state)
{
	static const char *const answers[] = { "{\"ok\": true}", "{\"ok\": false, \"error\": \"channel_not_found\"}" };
	_cleanup_json_ json_t *document = finished_experiment();
	_cleanup_json_ json_t *with = json_pack("{s:s, s:s, s:b}", "channel", "C0", "secret", "hook", "ignoreFailure", 0);
	const struct task task = { .name = (char *)"notification/slack", .with = with, .path = (char *)"p" };
	struct task_context context = context_of(document);
	char folder[64];

	(void)state;
	make_secret(folder, "token", "xoxb");
	for (int i = 0; i < 2; i++) {
		struct server server = { .requests = 1, .status = 200, .body = answers[i] };
		_cleanup_free_ char *url = server_start(&server);
		struct outcome outcome = run_in(&task, &context, &(struct task_options){ .secrets = folder, .slack_url = url });

		server_stop(&server);
		assert_int_equal(outcome.ok, i == 0);
		assert_string_equal(outcome.message, i == 0 ? "p notification/slack was sent: HTTP 200" : "p notification/slack failed: Slack says channel_not_found");
		assert_non_null(strstr(server.got, "\r\nAuthorization: Bearer xoxb\r\n"));
		assert_non_null(strstr(server.got, "\"channel\":\"C0\""));
		assert_non_null(strstr(server.got, "*A/B experiment on flowers*"));
		assert_non_null(strstr(server.got, "*Name:* _default/exp_\\n*Versions:* _flowers-v1, flowers-v2_\\n*Stage:* _Completed_\\n*Winner:* _flowers-v2_\\n*Failed:* _true_"));
		free(outcome.message);
	}
	remove_folder(folder);
}

static void collect_drives_the_load_itself_and_adds_to_what_is_there(void **state)
{
	struct server server = { .requests = 30, .status = 404, .body = "no" };
	_cleanup_free_ char *url = server_start(&server);
	_cleanup_json_ json_t *earlier = json_loads("{\"flowers-v1\": {\"DurationHistogram\": {\"Count\": 2, \"Sum\": 0.5, \"Max\": 0.3, \"Data\": [{\"Start\": 0.2, "
						    "\"End\": 0.3, \"Count\": 2}]}, \"RetCodes\": {\"200\": 2}}}", 0, NULL);
	_cleanup_json_ json_t *with = json_pack("{s:i, s:i, s:i, s:s, s:[{s:s, s:s, s:{s:s}}, {s:s, s:s}]}", "numQueries", 15, "qps", 1000, "connections", 3, "payloadStr",
						"hello", "versions", "name", "flowers-v1", "url", url, "headers", "X-User", "u1", "name", "flowers-v2", "url", url);
	const struct task task = { .name = (char *)"metrics/collect", .with = with, .path = (char *)"p" };
	struct task_context context = { .experiment = &experiment, .collected = earlier };
	struct outcome outcome = run_in(&task, &context, &(struct task_options){});
	struct series_numbers numbers;
	json_t *first;

	(void)state;
	server_stop(&server);
	assert_true(outcome.ok);
	assert_string_equal(outcome.message, "p metrics/collect asked 2 versions");
	first = json_object_get(outcome.collected, "flowers-v1");
	assert_int_equal(json_integer_value(json_object_get(json_object_get(first, "DurationHistogram"), "Count")), 17);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(first, "RetCodes"), "404")), 15);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(first, "RetCodes"), "200")), 2);
	assert_true(collected_numbers(outcome.collected, "flowers-v2", &numbers));
	assert_int_equal(numbers.count.requests, 15);
	assert_int_equal(numbers.count.errors, 15); /* 400 and above */
	assert_memory_equal(server.got, "POST /x HTTP/1.1\r\n", 18);
	assert_non_null(strstr(server.got, "\r\nX-User: u1\r\n"));
	assert_non_null(strstr(server.got, "\r\n\r\nhello"));
	json_decref(outcome.collected);
	free(outcome.message);
}

static void collect_fails_when_nobody_answers_and_ends_at_its_deadline(void **state)
{
	_cleanup_json_ json_t *with = json_pack("{s:i, s:[{s:s, s:s}]}", "numQueries", 2, "versions", "name", "flowers-v1", "url", "http://127.0.0.1:1/");
	_cleanup_json_ json_t *endless = json_pack("{s:s, s:[{s:s, s:s}]}", "time", "1h", "versions", "name", "flowers-v1", "url", "http://127.0.0.1:1/");
	_cleanup_json_ json_t *wrong = json_pack("{s:[{s:s, s:s}]}", "versions", "name", "v9", "url", "http://127.0.0.1:1/");
	struct task task = { .name = (char *)"metrics/collect", .with = with, .path = (char *)"p" };
	struct task_context context = { .experiment = &experiment };
	struct outcome outcome = run_in(&task, &context, &(struct task_options){});

	(void)state;
	assert_false(outcome.ok);
	assert_string_equal(outcome.message, "p metrics/collect failed: none of 2 requests to http://127.0.0.1:1/ was answered");
	free(outcome.message);
	task.with = endless;
	outcome = run_in(&task, &context, &(struct task_options){ .deadline_ms = 100 });
	assert_string_equal(outcome.message, "p metrics/collect was ended after 0.1 s, its deadline");
	free(outcome.message);
	task.with = wrong;
	outcome = run_in(&task, &context, &(struct task_options){});
	assert_string_equal(outcome.message, "p.with.versions[0].name: found \"v9\", which is no version of the experiment (spec.versionInfo)");
	free(outcome.message);
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
		cmocka_unit_test(a_variable_that_a_version_has_not_is_noted),
		cmocka_unit_test(without_a_recommendation_only_a_raw_task_runs),
		cmocka_unit_test(a_bad_template_names_the_argument),
		cmocka_unit_test(commands_are_what_iter8_runs_but_without_a_shell_unless_asked),
		cmocka_unit_test(t10_arguments_are_plain_text),
		cmocka_unit_test(a_run_script_is_run_by_bash_with_its_scratch_folder),
		cmocka_unit_test(a_task_whose_condition_does_not_hold_is_left_out),
		cmocka_unit_test(init_experiment_waits_for_the_knative_service_and_gives_its_namespace),
		cmocka_unit_test(t9_readiness_looks_at_all_objects_and_tries_again),
		cmocka_unit_test(readiness_looks_at_the_objects_of_weights_too),
		cmocka_unit_test(an_http_notification_fills_in_headers_and_body_and_says_who_it_is),
		cmocka_unit_test(a_script_can_use_a_secret_and_nobody_sees_it),
		cmocka_unit_test(an_answer_that_repeats_the_secret_is_told_without_it),
		cmocka_unit_test(without_a_body_a_notification_has_the_summary_and_the_experiment),
		cmocka_unit_test(a_failed_notification_fails_its_action_only_when_asked),
		cmocka_unit_test(slack_is_told_in_iter8s_words_and_its_refusal_is_seen),
		cmocka_unit_test(collect_drives_the_load_itself_and_adds_to_what_is_there),
		cmocka_unit_test(collect_fails_when_nobody_answers_and_ends_at_its_deadline),
	};

	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
