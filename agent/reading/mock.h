/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Mock metrics, as Iter8 has them (reference/iter8.md section 2.1): a Metric object that makes its values up, to try an experiment without a backend.
 *
 *     Counter   level * elapsed seconds
 *     Gauge     level * 2 * Beta(elapsed, elapsed)    mean = level, and less and less variance
 */
#ifndef SHUNT_MOCK_H
#define SHUNT_MOCK_H

#include "reading/reading.h"

/* A source of numbers evenly spread over (0, 1); the caller's, so that a test knows them. */
struct mock_random {
	double (*next)(void *arg);
	void *arg;
};

/* The system's. */
extern const struct mock_random mock_random_system;

/* Reads a metric that has mocks. elapsed: seconds since the experiment's start, at least 1. A version that no mock names is a problem. */
void mock_read(const struct metric *metric, const char *version, double elapsed, const struct mock_random *random, struct reading *reading);

#endif
