-- SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
-- wrk's result as one line of JSON, its last line. Times in microseconds, but for seconds.
function done(summary, latency, requests)
	local e = summary.errors
	io.write(string.format('{"requests": %d, "seconds": %.6f, "errors": %d, "p50": %.1f, "p99": %.1f}\n', summary.requests, summary.duration / 1e6,
		e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
