#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""The server of peers.py on Python's http.server: peer_server.py PORT VERSION ROOT length|chunked"""

import http.server
import socket
import sys
from pathlib import Path

CHUNK = 7_001


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # http.server writes head and body by themselves
    timeout = 60

    def do_GET(self):
        path = self.server.root / self.path.lstrip("/")
        if path.is_file():
            self.answer(200, path.read_bytes())
        else:
            self.answer(404, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if self.path == f"/{self.server.version}/echo" else 404, body)

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("version", self.server.version)
        if not self.server.chunked:
            self.send_header("Content-Length", str(len(body)))
        elif self.request_version == "HTTP/1.1":
            self.send_header("Transfer-Encoding", "chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces(body)) + b"0\r\n\r\n"
        else:
            self.close_connection = True
        self.send_header("Connection", "close" if self.close_connection else "keep-alive")  # wrk and ab go by it
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def pieces(body):
    return [body[at:at + CHUNK] for at in range(0, len(body), CHUNK)]


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6  # and IPv4, as Linux has it
    request_queue_size = 256


def main(port, version, root, framing):
    server = Server(("::", int(port)), Handler)
    server.version, server.root, server.chunked = version, Path(root), framing == "chunked"
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
