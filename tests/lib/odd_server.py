#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Servers for test_protocols.py and test_edits.py: odd_server.py PORT VERSION http|websocket|echo|greeter|bytewise

    http       GET, HEAD /bytes/SIZE, GET /chunked/SIZE, /status/CODE (no body), /events/SECONDS (server-sent, ten a second); POST /echo, also chunked
    websocket  echoes messages
    echo       echoes bytes, whatever they are
    greeter    says "220 VERSION" before the client says anything, then echoes
    bytewise   GET: a head in segments of one byte, which does not say the version, and a body of 100 bytes in one piece
"""

import asyncio
import socket
import sys
import time

import websockets

from peer_server import Handler, Server
from peers import content


class OddHandler(Handler):
    def do_GET(self):
        what, _, value = self.path[1:].partition("/")
        if what == "status":
            self.send_response(int(value))
            self.send_header("version", self.server.version)
            self.end_headers()
        elif what == "events":
            self.events(float(value))
        else:
            self.server.chunked = what == "chunked"
            self.answer(200, content(int(value)))

    def do_HEAD(self):
        self.send_response(200)
        self.send_header("version", self.server.version)
        self.send_header("Content-Length", self.path.rpartition("/")[2])
        self.end_headers()

    def do_POST(self):
        if self.headers["Transfer-Encoding"] == "chunked":
            body = b"".join(self.chunks())
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.chunked = False
        self.answer(200, body)

    def chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):
            pass

    def events(self, seconds):
        self.send_response(200)
        self.send_header("version", self.server.version)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.close_connection = True
        for i in range(int(seconds * 10)):
            self.wfile.write(f"id: {i}\ndata: {self.server.version}\n\n".encode())
            time.sleep(0.1)


def serve_http(port, version):
    server = Server(("::", port), OddHandler)
    server.version = version
    server.serve_forever()


async def serve_websocket(port, version):
    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async with websockets.serve(echo, None, port, extra_headers={"version": version}, compression=None):
        await asyncio.Future()


async def serve_echo(port, _, first=b""):
    async def echo(reader, writer):
        writer.write(first)
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, None, port) as server:
        await server.serve_forever()


async def serve_greeter(port, version):
    await serve_echo(port, version, f"220 {version}\r\n".encode())


async def serve_bytewise(port, version):
    async def answer(reader, writer):
        writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while await reader.readuntil(b"\r\n\r\n"):
            for byte in f"HTTP/1.1 200 OK\r\nServer: {version}\r\nContent-Length: 100\r\n\r\n".encode():
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
            writer.write(version.encode().ljust(100))

    async with await asyncio.start_server(answer, None, port) as server:
        await server.serve_forever()


def main(port, version, kind):
    if kind == "http":
        serve_http(int(port), version)
    else:
        serve = {"websocket": serve_websocket, "echo": serve_echo, "greeter": serve_greeter, "bytewise": serve_bytewise}[kind]
        asyncio.run(serve(int(port), version))


if __name__ == "__main__":
    main(*sys.argv[1:])
