/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "reading/retry.h"

#define DOUBLINGS_MAX 16 /* beyond any deadline */

bool retry_helps(CURLcode code, long status)
{
	switch (code) {
	case CURLE_OK:
		return status == 408 || status == 429 || (status >= 500 && status <= 599);
	case CURLE_COULDNT_RESOLVE_HOST: /* of a name server that does not answer, too */
	case CURLE_COULDNT_CONNECT:
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return true;
	default:
		return false;
	}
}

int64_t retry_pause(unsigned int failed, double jitter, int64_t retry_after_ms, int64_t left_ms)
{
	unsigned int doublings = failed - 1 < DOUBLINGS_MAX ? failed - 1 : DOUBLINGS_MAX;
	int64_t half = ((int64_t)RETRY_FIRST_MS << doublings) / 2, pause = half + (int64_t)(jitter * (double)half);

	if (pause < retry_after_ms)
		pause = retry_after_ms;
	return pause + RETRY_ROOM_MS <= left_ms ? pause : -1;
}
