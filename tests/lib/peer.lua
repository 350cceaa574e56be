-- SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
-- wrk as a client of peers.py: asks for what requests.lua lists, once, one after the other on one connection.

local ffi = require("ffi")
ffi.cdef("int kill(int pid, int signal); int getpid(void);")

local requests, sent, threads = {}, -1, {} -- wrk makes a request before the first one to look at it
answered, wrong = 0, 0 -- global: done() asks for them

function setup(thread)
	table.insert(threads, thread)
end

function init(args)
	requests = dofile(args[1])
	for _, request in ipairs(requests) do
		local file = assert(io.open(request[5], "rb"))
		request.body = file:read("*a")
		file:close()
	end
end

function request()
	sent = sent + 1
	local next = requests[(sent - 1) % #requests + 1]
	local user, path, upload, close = unpack(next, 1, 4)
	local headers = { Host = "example.com", userhash = user }
	if close then
		headers["Connection"] = "close"
	end
	return wrk.format(upload and "POST" or "GET", path, headers, upload and next.body or nil)
end

function response(status, headers, body)
	answered = answered + 1
	if status ~= 200 or body ~= requests[answered].body then
		wrong = wrong + 1
	end
	if answered == #requests then
		wrk.thread:stop()
		ffi.C.kill(ffi.C.getpid(), 2) -- SIGINT: wrk would wait for the end of its duration
	end
end

function done(summary)
	local errors = summary.errors
	local count = threads[1]:get("wrong") + errors.connect + errors.read + errors.write + errors.status + errors.timeout
	print(string.format("%d answered, %d errors", threads[1]:get("answered"), count))
end
