/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "world/source_file.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../../lib/tree.h"
#include "util/cleanup.h"

#define SERVICE(name, address) "---\n{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {clusterIP: " address "}}\n"
#define BAD_SERVICE(name) "---\n{apiVersion: v1, kind: Service, metadata: {name: " name "}, spec: {clusterIp: 10.0.0.1}}\n"
#define NO_YAML "---\n{apiVersion: v1\n"
#define WAIT_MS 20000 /* a test that waits longer has failed */

/* ---- a folder of a test's own */

struct folder {
	char dir[64];
	struct source_file *source;
	struct world *world;
	struct manifest_errors errors;
};

static void write_file(const struct folder *f, const char *name, const char *text)
{
	char path[256], new_path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	snprintf(new_path, sizeof(new_path), "%s/.new", f->dir);
	file = fopen(new_path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(rename(new_path, path), 0);
}

static void remove_file(const struct folder *f, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(unlink(path), 0);
}

static int setup(void **state)
{
	struct folder *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/shunt-source-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(source_file_new(f->dir, &f->source), 0);
	*state = f;
	return 0;
}

static void forget(struct folder *f)
{
	world_free(&f->world);
	manifest_errors_release(&f->errors);
}

static int teardown(void **state)
{
	struct folder *f = *state;

	forget(f);
	source_file_free(&f->source);
	assert_int_equal(tree_remove(f->dir), 0);
	free(f);
	return 0;
}

static void read_folder(struct folder *f)
{
	forget(f);
	assert_int_equal(source_file_read(f->source, &f->world, &f->errors), 0);
}

/* "a=10.0.0.1 b=10.0.0.2", in the order of the world. */
static const char *services(const struct folder *f)
{
	static char text[512];
	size_t length = 0;

	text[0] = '\0';
	for (size_t i = 0; i < f->world->service_count; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%s=%s", i ? " " : "", f->world->services[i].meta.name,
					   f->world->services[i].address_count ? f->world->services[i].addresses[0] : "");
	return text;
}

static void assert_error(const struct folder *f, size_t i, const char *file, const char *part)
{
	char path[256];

	assert_true(i < f->errors.count);
	snprintf(path, sizeof(path), "%s%s%s", f->dir, *file ? "/" : "", file);
	assert_string_equal(f->errors.items[i].file, path);
	if (!strstr(f->errors.items[i].message, part))
		fail_msg("%s: \"%s\" does not say \"%s\"", path, f->errors.items[i].message, part);
}

/* ---- reading */

static void test_manifests_are_read_in_the_order_of_their_names(void **state)
{
	struct folder *f = *state;
	char path[256];

	write_file(f, "b.yml", SERVICE("b", "10.0.0.2"));
	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1") SERVICE("z", "10.0.0.9"));
	write_file(f, "c.json", "{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {\"name\": \"c\"}, \"spec\": {\"clusterIP\": \"10.0.0.3\"}}");
	read_folder(f);
	assert_string_equal(services(f), "a=10.0.0.1 z=10.0.0.9 b=10.0.0.2 c=10.0.0.3");
	assert_int_equal(f->errors.count, 0);
	snprintf(path, sizeof(path), "%s/a.yaml", f->dir);
	assert_string_equal(f->world->services[0].meta.file, path);
}

static void test_what_is_no_manifest_is_left_alone(void **state)
{
	struct folder *f = *state;
	char path[256];

	write_file(f, "default.exp.status.yaml", NO_YAML);
	write_file(f, ".hidden.yaml", NO_YAML);
	write_file(f, "README.md", NO_YAML);
	write_file(f, "x.yaml~", NO_YAML);
	write_file(f, "empty.yaml", "# nothing yet\n");
	snprintf(path, sizeof(path), "%s/folder.yaml", f->dir);
	assert_int_equal(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/fifo.yaml", f->dir);
	assert_int_equal(mkfifo(path, 0644), 0);
	snprintf(path, sizeof(path), "%s/dangling.yaml", f->dir);
	assert_int_equal(symlink("nowhere", path), 0);
	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	read_folder(f);
	assert_string_equal(services(f), "a=10.0.0.1");
	assert_int_equal(f->errors.count, 0);
}

static void test_errors_of_all_files_are_told_and_the_good_rest_is_there(void **state)
{
	struct folder *f = *state;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1") BAD_SERVICE("x") SERVICE("b", "10.0.0.2"));
	write_file(f, "b.yaml", NO_YAML);
	write_file(f, "c.yaml", SERVICE("a", "10.0.0.9") SERVICE("c", "10.0.0.3"));
	read_folder(f);
	assert_string_equal(services(f), "a=10.0.0.1 b=10.0.0.2 c=10.0.0.3");
	assert_int_equal(f->errors.count, 3);
	assert_error(f, 0, "a.yaml", "did you mean \"clusterIP\"?");
	assert_int_equal(f->errors.items[0].line, 4);
	assert_error(f, 1, "b.yaml", "not YAML");
	assert_error(f, 2, "c.yaml", "/a.yaml:2 holds");
}

static void test_a_folder_that_is_not_there_is_an_error(void **state)
{
	struct folder *f = *state;

	assert_int_equal(rmdir(f->dir), 0);
	read_folder(f);
	assert_int_equal(f->errors.count, 1);
	assert_error(f, 0, "", "No such file or directory");
	assert_int_equal(f->world->service_count, 0);
	assert_int_equal(mkdir(f->dir, 0755), 0);
}

static void load(struct folder *f, const char *name)
{
	char path[256];

	forget(f);
	snprintf(path, sizeof(path), "%s/%s", f->dir, name);
	assert_int_equal(source_file_load(path, &f->world, &f->errors), 0);
}

static void test_a_file_or_a_folder_is_read_once(void **state)
{
	struct folder *f = *state;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	write_file(f, "b.txt", SERVICE("b", "10.0.0.2"));
	load(f, "");
	assert_string_equal(services(f), "a=10.0.0.1");
	load(f, "b.txt"); /* named: whatever its name is */
	assert_string_equal(services(f), "b=10.0.0.2");
	load(f, "c.yaml");
	assert_string_equal(services(f), "");
	assert_error(f, 0, "c.yaml", "No such file or directory");
}

static void test_a_file_beyond_the_limit_is_an_error(void **state)
{
	struct folder *f = *state;
	char path[256];

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	write_file(f, "big.yaml", "");
	snprintf(path, sizeof(path), "%s/big.yaml", f->dir);
	assert_int_equal(truncate(path, 1LL << 33), 0);
	read_folder(f);
	assert_string_equal(services(f), "a=10.0.0.1");
	assert_int_equal(f->errors.count, 1);
	assert_error(f, 0, "big.yaml", "allowed: at most 4194304");
}

/* ---- keep the last good: steps of one file beside another that stays */

static const struct {
	const char *a_yaml; /* NULL: removed */
	const char *want;
	size_t errors;
} steps[] = {
	{ SERVICE("a", "10.0.0.1") SERVICE("b", "10.0.0.2"), "a=10.0.0.1 b=10.0.0.2 other=10.0.0.8", 0 },
	/* b turns bad: its last good stays, a's change is taken */
	{ SERVICE("a", "10.0.0.3") BAD_SERVICE("b"), "a=10.0.0.3 b=10.0.0.2 other=10.0.0.8", 1 },
	/* still bad: the last good is not forgotten */
	{ BAD_SERVICE("b"), "a=10.0.0.3 b=10.0.0.2 other=10.0.0.8", 1 },
	/* all of it is no YAML */
	{ NO_YAML, "a=10.0.0.3 b=10.0.0.2 other=10.0.0.8", 1 },
	/* a new object in a bad file is taken at once, an old one stays */
	{ SERVICE("c", "10.0.0.4") NO_YAML SERVICE("a", "10.0.0.5"), "c=10.0.0.4 a=10.0.0.5 b=10.0.0.2 other=10.0.0.8", 1 },
	/* good again: just what it says */
	{ SERVICE("b", "10.0.0.6"), "b=10.0.0.6 other=10.0.0.8", 0 },
	/* an object of a name that another file has: the first by file name */
	{ SERVICE("other", "10.0.0.7"), "other=10.0.0.7", 1 },
	{ SERVICE("b", "10.0.0.6"), "b=10.0.0.6 other=10.0.0.8", 0 },
	{ NO_YAML, "b=10.0.0.6 other=10.0.0.8", 1 },
	{ NULL, "other=10.0.0.8", 0 },
	/* nothing of it is left when it comes back bad */
	{ NO_YAML, "other=10.0.0.8", 1 },
};

static void test_a_file_that_turns_bad_keeps_what_it_gave_last(void **state)
{
	struct folder *f = *state;

	write_file(f, "z.yaml", SERVICE("other", "10.0.0.8"));
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		if (steps[i].a_yaml)
			write_file(f, "a.yaml", steps[i].a_yaml);
		else
			remove_file(f, "a.yaml");
		read_folder(f);
		if (strcmp(services(f), steps[i].want) != 0 || f->errors.count != steps[i].errors)
			fail_msg("step %zu: %s and %zu errors, expected %s and %zu", i, services(f), f->errors.count, steps[i].want, steps[i].errors);
	}
}

static void test_a_folder_that_goes_away_keeps_all_it_gave(void **state)
{
	struct folder *f = *state;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	read_folder(f);
	remove_file(f, "a.yaml");
	assert_int_equal(rmdir(f->dir), 0);
	read_folder(f);
	assert_string_equal(services(f), "a=10.0.0.1");
	assert_int_equal(f->errors.count, 1);
	assert_int_equal(mkdir(f->dir, 0755), 0);
	read_folder(f);
	assert_string_equal(services(f), "");
	assert_int_equal(f->errors.count, 0);
}

/* ---- watching, in a real loop */

struct watch {
	struct folder *folder;
	uv_loop_t loop;
	uv_timer_t deadline;
	unsigned int calls;
	bool late;
};

static void on_changed(void *userdata, struct world *world, struct manifest_errors *errors)
{
	struct watch *w = userdata;

	forget(w->folder);
	w->folder->world = world;
	w->folder->errors = *errors;
	w->calls++;
	uv_stop(&w->loop);
}

static void on_deadline(uv_timer_t *timer)
{
	struct watch *w = timer->data;

	w->late = true;
	uv_stop(&w->loop);
}

static void watch_begin(struct watch *w, struct folder *f, unsigned int poll_ms)
{
	*w = (struct watch){ .folder = f };
	assert_int_equal(uv_loop_init(&w->loop), 0);
	uv_timer_init(&w->loop, &w->deadline);
	w->deadline.data = w;
	assert_int_equal(source_file_watch(f->source, &w->loop, poll_ms, on_changed, w), 0);
}

/* Runs the loop until the world is this one; changes may come in more than one call. */
static void watch_until(struct watch *w, const char *want, size_t errors)
{
	uv_timer_start(&w->deadline, on_deadline, WAIT_MS, 0);
	while (!w->late && (strcmp(services(w->folder), want) != 0 || w->folder->errors.count != errors))
		uv_run(&w->loop, UV_RUN_DEFAULT);
	if (w->late)
		fail_msg("after %d ms: %s and %zu errors, expected %s and %zu", WAIT_MS, services(w->folder), w->folder->errors.count, want, errors);
	uv_timer_stop(&w->deadline);
}

static void watch_end(struct watch *w)
{
	source_file_free(&w->folder->source);
	uv_close((uv_handle_t *)&w->deadline, NULL);
	uv_run(&w->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w->loop), 0); /* no handle is left */
}

#define NO_POLL 3600000 /* inotify alone */

static void test_changes_are_noticed_as_they_happen(void **state)
{
	struct folder *f = *state;
	struct watch w;
	char path[256];
	FILE *file;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	read_folder(f);
	watch_begin(&w, f, NO_POLL);

	write_file(f, "b.yaml", SERVICE("b", "10.0.0.2"));
	watch_until(&w, "a=10.0.0.1 b=10.0.0.2", 0);
	write_file(f, "a.yaml", SERVICE("a", "10.0.0.3"));
	watch_until(&w, "a=10.0.0.3 b=10.0.0.2", 0);
	write_file(f, "a.yaml", NO_YAML);
	watch_until(&w, "a=10.0.0.3 b=10.0.0.2", 1);
	remove_file(f, "a.yaml");
	watch_until(&w, "b=10.0.0.2", 0);

	snprintf(path, sizeof(path), "%s/b.yaml", f->dir); /* in place, as cat >>file does */
	file = fopen(path, "a");
	assert_non_null(file);
	assert_true(fputs(SERVICE("c", "10.0.0.4"), file) >= 0);
	assert_int_equal(fclose(file), 0);
	watch_until(&w, "b=10.0.0.2 c=10.0.0.4", 0);
	watch_end(&w);
}

static void test_a_change_between_the_read_and_the_watch_is_not_missed(void **state)
{
	struct folder *f = *state;
	struct watch w;

	read_folder(f);
	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	watch_begin(&w, f, NO_POLL);
	watch_until(&w, "a=10.0.0.1", 0);
	watch_end(&w);
}

/* The marker file's change is seen after the others', so that a call for them would have come before it. */
static void test_the_same_content_and_status_files_call_nobody(void **state)
{
	struct folder *f = *state;
	struct watch w;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	read_folder(f);
	watch_begin(&w, f, 20);
	for (int i = 0; i < 20; i++) {
		write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
		write_file(f, "default.exp.status.yaml", i % 2 ? "x: 1\n" : "x: 2\n");
		uv_run(&w.loop, UV_RUN_ONCE); /* an event, a debounced look or a poll */
	}
	write_file(f, "marker.yaml", SERVICE("marker", "10.0.0.9"));
	watch_until(&w, "a=10.0.0.1 marker=10.0.0.9", 0);
	assert_int_equal(w.calls, 1);
	watch_end(&w);
}

/* Whether inotify watches this very folder: proc(5), fdinfo. */
static bool is_watched(const char *dir)
{
	char command[256];
	struct stat st;

	assert_int_equal(stat(dir, &st), 0);
	snprintf(command, sizeof(command), "grep -qs '^inotify .* ino:%lx ' /proc/%d/fdinfo/*", (unsigned long)st.st_ino, getpid());
	return system(command) == 0;
}

static void test_a_folder_put_in_its_place_is_watched_in_its_turn(void **state)
{
	struct folder *f = *state;
	struct watch w;

	write_file(f, "a.yaml", SERVICE("a", "10.0.0.1"));
	read_folder(f);
	watch_begin(&w, f, 20);
	assert_true(is_watched(f->dir));
	remove_file(f, "a.yaml");
	assert_int_equal(rmdir(f->dir), 0);
	watch_until(&w, "a=10.0.0.1", 1); /* gone: the last good, and an error */
	assert_int_equal(mkdir(f->dir, 0755), 0);
	watch_until(&w, "", 0);
	assert_true(is_watched(f->dir));
	write_file(f, "b.yaml", SERVICE("b", "10.0.0.2"));
	watch_until(&w, "b=10.0.0.2", 0);
	watch_end(&w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_manifests_are_read_in_the_order_of_their_names),
		TEST(test_what_is_no_manifest_is_left_alone),
		TEST(test_errors_of_all_files_are_told_and_the_good_rest_is_there),
		TEST(test_a_folder_that_is_not_there_is_an_error),
		TEST(test_a_file_or_a_folder_is_read_once),
		TEST(test_a_file_beyond_the_limit_is_an_error),
		TEST(test_a_file_that_turns_bad_keeps_what_it_gave_last),
		TEST(test_a_folder_that_goes_away_keeps_all_it_gave),
		TEST(test_changes_are_noticed_as_they_happen),
		TEST(test_a_change_between_the_read_and_the_watch_is_not_missed),
		TEST(test_the_same_content_and_status_files_call_nobody),
		TEST(test_a_folder_put_in_its_place_is_watched_in_its_turn),
	};

	return cmocka_run_group_tests_name("source_file", tests, NULL, NULL);
}
