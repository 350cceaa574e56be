/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * When a failed query is asked again within the deadline of its iteration, and how long after. Pure: provider.c does the asking.
 *
 *     asked ──▶ failed ── passing? ──▶ 100..200 ms ──▶ asked ──▶ failed ──▶ 200..400 ms ──▶ asked ──▶ ...      until the deadline leaves no room
 *
 * The pauses double, and each is spread over its upper half, so that the queries of an iteration, and the agents of other nodes, do not come back in
 * step (exponential backoff with jitter). A query is a question, POST or not: asking twice changes nothing at the provider.
 */
#ifndef SHUNT_RETRY_H
#define SHUNT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#define RETRY_FIRST_MS 200 /* the longest first pause */
#define RETRY_ROOM_MS 50   /* with less time than this left, nobody would answer */

/*
 * Whether a failure may have passed by the time of a second question: nobody listens yet, no answer, a broken connection, status 408, 429 and 5xx. Not
 * what would fail again: other statuses, certificates, addresses that are none. status: 0 when there was no answer; code is libcurl's.
 */
bool retry_helps(CURLcode code, long status);

/*
 * Milliseconds from the failure to the next attempt; -1: there is no room for one. failed: attempts so far, from 1 on. jitter: 0..1, spreads the pause over
 * the upper half of it. retry_after_ms: what the provider asks for (RFC 9110 section 10.2.3), 0: nothing. left_ms: until the deadline.
 */
int64_t retry_pause(unsigned int failed, double jitter, int64_t retry_after_ms, int64_t left_ms);

#endif
