/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/scratch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "util/cleanup.h"
#include "util/text.h"

static void the_folder_is_the_task_users_alone_and_found_again(void **state)
{
	char *path = NULL;
	_cleanup_free_ char *first = NULL;
	struct stat st;

	(void)state;
	assert_int_equal(scratch_open("nobody", &path), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_not_equal(st.st_uid, 0);
	first = strdup(path);
	assert_int_equal(scratch_open("nobody", &path), 0);
	assert_string_equal(path, first);
	assert_int_equal(chmod(path, 0777), 0); /* it is not ours alone any more: another one */
	assert_int_equal(scratch_open("nobody", &path), 0);
	assert_string_not_equal(path, first);
	scratch_remove("nobody", &path);
	assert_null(path);
	rmdir(first);
}

static void a_folder_goes_with_all_that_is_in_it_but_not_what_its_links_lead_to(void **state)
{
	char outside[] = "/tmp/shunt-outside-XXXXXX", *path = NULL;
	_cleanup_free_ char *kept = NULL, *link = NULL, *deep = NULL, *script = NULL, *gone = NULL;

	(void)state;
	assert_non_null(mkdtemp(outside));
	kept = text_printf("%s/kept", outside);
	fclose(fopen(kept, "we"));
	assert_int_equal(scratch_open("nobody", &path), 0);
	gone = strdup(path);
	link = text_printf("%s/link", path);
	assert_int_equal(symlink(outside, link), 0);
	script = text_printf("mkdir -p '%s/a/b/c' && touch '%s/a/b/c/file' && mkfifo '%s/a/fifo' && chown -R nobody '%s'", path, path, path, path);
	assert_int_equal(system(script), 0);
	scratch_remove("nobody", &path);
	assert_int_equal(access(gone, F_OK), -1);
	assert_int_equal(access(kept, F_OK), 0);
	unlink(kept);
	rmdir(outside);
}

static void a_link_in_the_place_of_the_folder_is_not_followed(void **state)
{
	char outside[] = "/tmp/shunt-outside-XXXXXX", *path = NULL;
	_cleanup_free_ char *kept = NULL, *was = NULL;

	(void)state;
	assert_non_null(mkdtemp(outside));
	kept = text_printf("%s/kept", outside);
	fclose(fopen(kept, "we"));
	assert_int_equal(scratch_open("nobody", &path), 0);
	was = strdup(path);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink(outside, path), 0);
	scratch_remove("nobody", &path);
	assert_int_equal(access(kept, F_OK), 0);
	unlink(was);
	unlink(kept);
	rmdir(outside);
}

static void a_user_that_is_none_has_none(void **state)
{
	char *path = NULL;

	(void)state;
	assert_int_equal(scratch_open("nobody-of-this-name", &path), -ENOENT);
	assert_null(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_folder_is_the_task_users_alone_and_found_again),
		cmocka_unit_test(a_folder_goes_with_all_that_is_in_it_but_not_what_its_links_lead_to),
		cmocka_unit_test(a_link_in_the_place_of_the_folder_is_not_followed),
		cmocka_unit_test(a_user_that_is_none_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
