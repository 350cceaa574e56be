/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/mock.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>

static double system_random(void *arg)
{
	uint32_t bits = 0;

	(void)arg;
	if (getrandom(&bits, sizeof(bits), 0) != (ssize_t)sizeof(bits))
		bits = 1u << 31;
	return ((double)bits + 0.5) / 4294967296.0;
}

const struct mock_random mock_random_system = { system_random, NULL };

/* Beta(a, a) for a > 1/2 from two uniform numbers (Ulrich 1984; Devroye, Non-Uniform Random Variate Generation, 1986, section IX.4.4). */
static double symmetric_beta(double a, const struct mock_random *random)
{
	double u = random->next(random->arg), v = random->next(random->arg);

	return 0.5 + 0.5 * sqrt(1 - pow(u, 2 / (2 * a - 1))) * cos(2 * M_PI * v);
}

void mock_read(const struct metric *metric, const char *version, double elapsed, const struct mock_random *random, struct reading *reading)
{
	for (size_t i = 0; i < metric->mock_count; i++) {
		const struct metric_mock *mock = &metric->mocks[i];

		if (strcmp(mock->name, version) != 0)
			continue;
		reading_set(reading, mock->level * (metric->type == METRIC_COUNTER ? elapsed : 2 * symmetric_beta(elapsed, random)));
		return;
	}
	reading_fail(reading, "Metric %s/%s mocks no version %s; spec.mock has to name it", metric->meta.ns, metric->meta.name, version);
}
