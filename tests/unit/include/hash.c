/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "shunt/hash.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <gsl/gsl_cdf.h>

#include "util/cleanup.h"

static struct shunt_id id_of(const void *bytes, size_t len)
{
	struct shunt_id id = { .len = len };

	assert_true(len <= SHUNT_ID_MAX);
	memcpy(id.b, bytes, len);
	return id;
}

static struct shunt_id numbered_id(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "user-%u", n);

	return id_of(text, len);
}

/*
 * Key 00 01 .. 0f, message 00 01 .. len-1. Length 15 is in the paper's appendix A, the others up to 63 are in the authors' vectors.h, the ones above
 * are what `openssl mac SIPHASH` says (independent code; the authors' list ends at 63).
 */
static void siphash_gives_the_reference_vectors(void **state)
{
	static const struct {
		unsigned int len;
		uint64_t hash;
	} vectors[] = {
		{ 0, 0x726fdb47dd0e0e31 },  { 1, 0x74f839c593dc67fd },  { 2, 0x0d6c8009d9a94f5a },   { 3, 0x85676696d7fb7e2d },
		{ 4, 0xcf2794e0277187b7 },  { 5, 0x18765564cd99a68d },  { 6, 0xcbc9466e58fee3ce },   { 7, 0xab0200f58b01d137 },
		{ 8, 0x93f5f5799a932462 },  { 9, 0x9e0082df0ba9e4b0 },  { 10, 0x7a5dbbc594ddb9f3 },  { 11, 0xf4b32f46226bada7 },
		{ 12, 0x751e8fbc860ee5fb }, { 13, 0x14ea5627c0843d90 }, { 14, 0xf723ca908e7af2ee },  { 15, 0xa129ca6149be45e5 },
		{ 16, 0x3f2acc7f57c29bdb }, { 63, 0x958a324ceb064572 }, { 64, 0xacd2c40b8502cad8 }, { 119, 0x2333480c958d45b1 },
		{ 120, 0x9fee744ff1c22fcc },
	};
	const __u64 key[2] = { 0x0706050403020100, 0x0f0e0d0c0b0a0908 };
	uint8_t message[SHUNT_ID_MAX];

	(void)state;
	for (unsigned int i = 0; i < sizeof(message); i++)
		message[i] = i;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		struct shunt_id id = id_of(message, vectors[i].len);

		assert_int_equal(shunt_siphash(key, &id), vectors[i].hash);
	}
}

static void t15_a_share_takes_exactly_the_hashes_below_its_end(void **state)
{
	static const struct shunt_split split = {
		.shares = 3,
		.share = { { .end = 0x40000000, .version = 7 }, { .end = 0x40000001, .version = 8 }, { .end = 1ull << 32, .version = 9 } },
	};
	static const struct {
		uint32_t hash, version;
	} cases[] = { { 0, 7 }, { 0x3fffffff, 7 }, { 0x40000000, 8 }, { 0x40000001, 9 }, { 0xffffffff, 9 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(shunt_split_pick(&split, cases[i].hash), cases[i].version);
}

static void a_split_of_all_its_shares_reaches_the_last_one(void **state)
{
	struct shunt_split split = { .shares = SHUNT_SHARES };

	(void)state;
	for (unsigned int i = 0; i < SHUNT_SHARES; i++)
		split.share[i] = (struct shunt_share){ .end = (i + 1ull) << 29, .version = i };
	for (unsigned int i = 0; i < SHUNT_SHARES; i++)
		assert_int_equal(shunt_split_pick(&split, (i << 29) + 1), i);
}

static void an_empty_split_gives_none(void **state)
{
	static const struct shunt_split split;

	(void)state;
	assert_int_equal(shunt_split_pick(&split, 0), SHUNT_NONE);
	assert_int_equal(shunt_split_pick(&split, 0xffffffff), SHUNT_NONE);
}

/* 100,000 users of one share of 10 %: the slots they use have the mean of all users' slots, so the share does not crowd some pods. */
static void the_slot_does_not_depend_on_the_share(void **state)
{
	const __u64 salt[2] = { 1, 2 };
	double sum = 0, users = 0;

	(void)state;
	for (unsigned int n = 0; n < 100000; n++) {
		struct shunt_id id = numbered_id(n);
		__u64 hash = shunt_siphash(salt, &id);

		assert_true(shunt_ring_slot(hash) < SHUNT_RING_SIZE);
		if (shunt_split_hash(hash) >= UINT32_MAX / 10)
			continue;
		sum += shunt_ring_slot(hash);
		users++;
	}
	/* standard error of either: 4093 / sqrt(12 * 10000) = 12 slots, sqrt(100000 * 0.1 * 0.9) = 95 users; five of them */
	assert_true(users > 10000 - 475 && users < 10000 + 475);
	assert_true(sum / users > 2046 - 60 && sum / users < 2046 + 60);
}

static void two_salts_place_users_independently(void **state)
{
	const __u64 one[2] = { 1, 2 }, two[2] = { 1, 3 };
	unsigned int both = 0;

	(void)state;
	for (unsigned int n = 0; n < 100000; n++) {
		struct shunt_id id = numbered_id(n);

		both += shunt_split_hash(shunt_siphash(one, &id)) < 1u << 31 && shunt_split_hash(shunt_siphash(two, &id)) < 1u << 31;
	}
	assert_true(both > 25000 - 700 && both < 25000 + 700); /* five standard errors of 137 */
}

/* ---- quality: ids as people have them ---- */

#define IDS 1000000

static struct shunt_id sequential_id(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", 1000000 + n);

	return id_of(text, len);
}

/* Version 4 (RFC 9562 section 5.4) from a mixed counter (splitmix64's finalizer). */
static uint64_t mixed(uint64_t n)
{
	n = (n ^ (n >> 30)) * 0xbf58476d1ce4e5b9ull;
	n = (n ^ (n >> 27)) * 0x94d049bb133111ebull;
	return n ^ (n >> 31);
}

static struct shunt_id uuid_id(unsigned int n)
{
	uint64_t a = mixed(2 * n + 1), b = mixed(2 * n + 2);
	char text[40];
	int len = snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", (unsigned int)(a >> 32), (unsigned int)(a >> 16) & 0xffff,
			   (unsigned int)a & 0xfff, 0x8000 | ((unsigned int)(b >> 48) & 0x3fff), (unsigned long long)b & 0xffffffffffffull);

	return id_of(text, len);
}

static struct shunt_id email_id(unsigned int n)
{
	static const char *const names[] = { "anna", "ben", "carla", "dmitri", "eva", "farid", "grace", "hiro" };
	char text[64];
	int len = snprintf(text, sizeof(text), "%s.%s%u@example.com", names[n % 8], names[n / 8 % 8], n / 64);

	return id_of(text, len);
}

/* There are only 256 of them: each 3,906 times, under another salt each time (salt_of). */
static struct shunt_id address_id(unsigned int n)
{
	uint8_t address[16] = { [10] = 0xff, 0xff, 192, 0, 2, n % 256 };

	return id_of(address, sizeof(address));
}

static const struct id_kind {
	const char *name;
	struct shunt_id (*make)(unsigned int n);
	unsigned int ids_of_a_salt;
} id_kinds[] = {
	{ "sequential", sequential_id, IDS },
	{ "UUID", uuid_id, IDS },
	{ "e-mail", email_id, IDS },
	{ "addresses of one /24", address_id, 256 },
};

static __u32 placed(const struct id_kind *kind, unsigned int n, __u64 salt)
{
	const __u64 key[2] = { salt, n / kind->ids_of_a_salt };
	struct shunt_id id = kind->make(n);

	return shunt_split_hash(shunt_siphash(key, &id));
}

static void shares_get_their_users_within_three_sigma(void **state)
{
	static const double shares[] = { 0.01, 0.1, 1.0 / 3 };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(id_kinds); k++) {
		unsigned int count[ARRAY_SIZE(shares)] = {};

		for (unsigned int n = 0; n < IDS; n++) {
			__u32 hash = placed(&id_kinds[k], n, 20);

			for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
				const struct shunt_split split = { .shares = 2, .share = { { .end = (__u64)(shares[i] * 0x1p32), .version = 1 },
											   { .end = 1ull << 32, .version = 0 } } };

				count[i] += shunt_split_pick(&split, hash);
			}
		}
		for (size_t i = 0; i < ARRAY_SIZE(shares); i++) {
			double off = (count[i] - IDS * shares[i]) / sqrt(IDS * shares[i] * (1 - shares[i]));

			if (fabs(off) > 3)
				fail_msg("%s: %u of 1,000,000 on %g %%, %.2f sigma off", id_kinds[k].name, count[i], 100 * shares[i], off);
		}
	}
}

/* Each id falls into one of 10 ranges under each salt: 100 cells, all of the same size when the salts have nothing to do with each other. */
static void two_salts_are_independent_by_chi_square(void **state)
{
	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(id_kinds); k++) {
		unsigned int cells[10][10] = {};
		double chi2 = 0, p;

		for (unsigned int n = 0; n < IDS; n++)
			cells[(__u64)placed(&id_kinds[k], n, 20) * 10 >> 32][(__u64)placed(&id_kinds[k], n, 21) * 10 >> 32]++;
		for (int i = 0; i < 100; i++) {
			double expected = IDS / 100.0, off = cells[i / 10][i % 10] - expected;

			chi2 += off * off / expected;
		}
		p = gsl_cdf_chisq_Q(chi2, 99);
		if (p <= 0.001)
			fail_msg("%s: two salts are related, p = %g", id_kinds[k].name, p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(siphash_gives_the_reference_vectors),
		cmocka_unit_test(t15_a_share_takes_exactly_the_hashes_below_its_end),
		cmocka_unit_test(a_split_of_all_its_shares_reaches_the_last_one),
		cmocka_unit_test(an_empty_split_gives_none),
		cmocka_unit_test(the_slot_does_not_depend_on_the_share),
		cmocka_unit_test(two_salts_place_users_independently),
		cmocka_unit_test(shares_get_their_users_within_three_sigma),
		cmocka_unit_test(two_salts_are_independent_by_chi_square),
	};

	return cmocka_run_group_tests_name("include/shunt/hash.h", tests, NULL, NULL);
}
