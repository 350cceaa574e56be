#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""An endpoint shaped like New Relic's query API: what the tutorial's Metric `user-engagement` asks for the average session of a version.

    newrelic.py PORT VERSION=SECONDS...       PORT 0: any; prints "listening on http://127.0.0.1:PORT/newrelic" when it does

    GET /newrelic?nrql=SELECT average(duration) FROM Sessions WHERE version='flowers-v2' SINCE 10 sec ago        X-Query-Key: t0p-secret-api-key
    {"results": [{"sum": 15.0}]}

As the original: 401 without the key, 500 with plain text for a version that it does not know.
"""

import http.server
import json
import re
import sys
import urllib.parse

API_KEY = "t0p-secret-api-key"


class Handler(http.server.BaseHTTPRequestHandler):
    sessions = {}  # version: average session in seconds
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, kind="text/plain"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def do_GET(self):
        nrql = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query).get("nrql", [""])[0]
        version = re.search(r"version='([^']*)'", nrql)
        if self.headers.get("X-Query-Key") != API_KEY:
            self.answer(401, "no such key\n")
        elif not version or version[1] not in self.sessions:
            self.answer(500, f"no sessions in {nrql!r}\n")
        else:
            self.answer(200, json.dumps({"results": [{"sum": self.sessions[version[1]]}]}), "application/json")

    def log_message(self, *_):
        pass


def main(arguments):
    Handler.sessions = {version: float(seconds) for version, seconds in (argument.split("=") for argument in arguments[1:])}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Handler)
    print(f"listening on http://127.0.0.1:{server.server_port}/newrelic", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
