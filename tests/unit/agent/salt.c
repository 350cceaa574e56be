/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "salt.h"
#include "util/cleanup.h"
#include "util/text.h"

static char dir[] = "/tmp/shunt-salt-XXXXXX";
static char *path;

static int begin(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/shunt-salt-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	path = text_printf("%s/%s", dir, SALT_FILE);
	return path ? 0 : -1;
}

static int end(void **state)
{
	(void)state;
	unlink(path);
	free(path);
	return rmdir(dir); /* nothing else is left in it */
}

static void write_file(const char *text)
{
	_cleanup_file_ FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
}

static void test_kept(void **state)
{
	static const uint8_t zero[SALT_BYTES];
	uint8_t first[SALT_BYTES] = {}, second[SALT_BYTES] = {};
	struct stat st;

	(void)state;
	assert_int_equal(salt_load(dir, first), 0);
	assert_memory_not_equal(first, zero, SALT_BYTES);
	assert_int_equal(salt_load(dir, second), 0);
	assert_memory_equal(first, second, SALT_BYTES);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	unlink(path);
	assert_int_equal(salt_load(dir, second), 0);
	assert_memory_not_equal(first, second, SALT_BYTES);
}

static void test_known(void **state)
{
	static const uint8_t want[SALT_BYTES] = { 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0xee, 0xff };
	uint8_t key[SALT_BYTES];

	(void)state;
	write_file("000102030405060708090a0b0c0deeff\n");
	assert_int_equal(salt_load(dir, key), 0);
	assert_memory_equal(key, want, SALT_BYTES);
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
		"", "\n", "000102030405060708090a0b0c0deeff", "000102030405060708090a0b0c0deef\n", "000102030405060708090a0b0c0deefff\n",
		"000102030405060708090A0B0C0DEEFF\n", "000102030405060708090a0b0c0deexx\n", "000102030405060708090a0b0c0deeff\nmore",
	};
	uint8_t key[SALT_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		_cleanup_file_ FILE *file = NULL;
		char now[64] = "";

		write_file(texts[i]);
		assert_int_equal(salt_load(dir, key), -EBADMSG);
		file = fopen(path, "r");
		assert_int_equal(fread(now, 1, sizeof(now) - 1, file), strlen(texts[i]));
		assert_string_equal(now, texts[i]);
	}
}

static void test_no_folder(void **state)
{
	uint8_t key[SALT_BYTES];

	(void)state;
	assert_int_equal(salt_load("/nonexistent", key), -ENOENT);
}

#define TEST(f, name) { name, f, begin, end, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(test_kept, "a folder gets a key of its own and keeps it"),
		TEST(test_known, "a key that was written before is read"),
		TEST(test_refused, "what is no key is refused and left as it is"),
		TEST(test_no_folder, "a folder that is not there is told"),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
