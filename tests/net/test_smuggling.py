# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Requests that shunt and a server may read differently: each row of docs/smuggling.md with real servers."""

import contextlib
import re
import selectors
import shutil
import socket
from pathlib import Path

import pytest

from peers import HERE, SECONDS, SERVERS, USERS, serve
from topology import FRONTEND, FRONTEND_PORT

DOC = Path(__file__).resolve().parents[2] / "docs" / "smuggling.md"
QUIET = 1.0  # seconds without a byte on any connection: all is said
MINE, OTHER = "1010101010", "1111100000"


def request(user, *lines, method="GET", target="/", version="1.1", body="", end="\r\n"):
    head = end.join([f"{method} {target} HTTP/{version}", "Host: example.com", f"userhash: {user}", *lines, "", ""])
    return (head + body).encode("latin-1")


SMUGGLED = request(OTHER, target="/smuggled").decode()


def post(*lines, **words):
    return request(MINE, *lines, method="POST", target=f"/{USERS[MINE]}/echo", **words)


def chunked(body):
    return post("Transfer-Encoding: chunked", body=body)


NO_CHUNKS = "0\r\n\r\n"
# For each row what a client sends on a connection of MINE, in one piece, before SMUGGLED; several where several things are meant.
CASES = {
    "length-and-chunked": [post("Content-Length: 5", "Transfer-Encoding: chunked", body=NO_CHUNKS),
                           post("Transfer-Encoding: chunked", f"Content-Length: {len(NO_CHUNKS + SMUGGLED)}", body=NO_CHUNKS)],
    "two-lengths": [post("Content-Length: 0", f"Content-Length: {len(SMUGGLED)}"), post(f"Content-Length: {len(SMUGGLED)}", "Content-Length: 0")],
    "length-list": [post("Content-Length: 5, 5", body="hello")],
    "length-sign": [post(f"Content-Length: +{len(SMUGGLED)}"), post("Content-Length: -5", body="hello")],
    "length-space": [post(f"Content-Length : {len(SMUGGLED)}")],
    "length-hex": [post("Content-Length: 0x5", body="hello")],
    "length-fold": [post("Content-Length: 5\r\n 0", body="hello"), post("X: y\r\n Content-Length: 5", body="hello")],
    "length-underscore": [post(f"Content_Length: {len(SMUGGLED)}")],
    "length-control": [post(f"Content-Length\x0b: {len(SMUGGLED)}"), post(f"\x0cContent-Length: {len(SMUGGLED)}"),
                       post(f"\xa0Content-Length: {len(SMUGGLED)}"), post(f"Content-Length: {len(SMUGGLED)}\x0b")],
    "coding-unknown": [post(f"Transfer-Encoding: {coding}", body=NO_CHUNKS) for coding in ("xchunked", "identity", '"chunked"', "\x0bchunked")],
    "coding-list": [post("Transfer-Encoding: chunked, identity", body=NO_CHUNKS),
                    post("Transfer-Encoding: chunked", "Transfer-Encoding: identity", body=NO_CHUNKS)],
    "coding-tab": [post("Transfer-Encoding\t: chunked", body=NO_CHUNKS)],
    "coding-fold": [post("Transfer-Encoding:\r\n chunked", body=NO_CHUNKS)],
    "coding-old": [post("Transfer-Encoding: chunked", "Connection: keep-alive", version="1.0", body=NO_CHUNKS)],
    "chunk-size-bad": [chunked(f"{size}\r\nhello\r\n0\r\n\r\n") for size in ("+5", "-5", " 5", "0x5", "0_5", "", "g")],
    "chunk-size-huge": [chunked(f"{size}\r\nhello\r\n0\r\n\r\n") for size in ("100000005", "10000000000000005", "FFFFFFFFFFFFFFFF", "40000000")],
    "chunk-extension-lf": [chunked("5;\nhello\r\n0\r\n\r\n"), chunked("5\nhello\r\n0\r\n\r\n")],
    "chunk-cr": [chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"), chunked("5\r\nhelloXX0\r\n\r\n"), chunked("5\rXhello\r\n0\r\n\r\n")],
    "chunk-trailer-lf": [chunked("0\r\n\n"), chunked("0\r\nX: y\n\r\n")],
    "lone-cr": [post(f"X: y\rContent-Length: {len(SMUGGLED)}"), post(f"Content-Length: {len(SMUGGLED)}\r")],
    "lone-lf": [post(f"X: y\nContent-Length: {len(SMUGGLED)}"), request(MINE, end="\n"), post("Content-Length: 5", end="\n", body="hello")],
    "nul": [post(f"X: y\0Content-Length: {len(SMUGGLED)}"), post(f"Content-Length: {len(SMUGGLED)}\0")],
    "get-length": [request(MINE, f"Content-Length: {len(SMUGGLED)}"), request(MINE, "Transfer-Encoding: chunked", body=NO_CHUNKS),
                   request(MINE, f"Content-Length: {len(SMUGGLED)}", method="HEAD")],
    "upgrade": [request(MINE, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")],
    "connect": [request(MINE, method="CONNECT", target="example.com:443")],
    "expect": [post(f"Content-Length: {len(SMUGGLED)}", "Expect: nonsense")],
}
DECIDED_BY_THE_SERVER = ("upgrade", "expect")
REASONS = ("REQUEST_UNFRAMED", "NOT_HTTP", "UPGRADED", "EXPECT_REFUSED")


def python_odd(pod, directory, **words):
    """Takes for a chunk's size whatever Python's int() does, and skips what is behind data: as lenient as a server gets."""
    return ["/usr/bin/python3", HERE / "odd_server.py", words["port"], words["version"], "http"]


def websocket(pod, directory, **words):
    return ["/usr/bin/python3", HERE / "odd_server.py", words["port"], words["version"], "websocket"]


ALL = {name: command for name, command in SERVERS.items() if name != "python-chunked"} | {"python-odd": python_odd}


def test_every_row_of_the_document_is_tested():
    rows = re.findall(r"^\| `([a-z-]+)` \|", DOC.read_text(), re.M)
    assert rows == list(CASES)


def pins(steered):
    return sum(reason["count"] for reason in steered.status()["reasons"] if reason["name"] in REASONS)


def talk(box, dialogs):
    """What comes back on each of many connections: dialogs are (family, pieces). A next piece is sent when nothing more comes anywhere for the last."""
    received = [bytearray() for _ in dialogs]
    with box.entered():
        socks = [socket.create_connection((FRONTEND[family], FRONTEND_PORT), timeout=SECONDS) for family, _ in dialogs]
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for i, sock in enumerate(socks):
            stack.enter_context(sock)
            selector.register(sock, selectors.EVENT_READ, i)
        for turn in range(max(len(pieces) for _, pieces in dialogs)):
            for key in list(selector.get_map().values()):
                pieces = dialogs[key.data][1]
                with contextlib.suppress(ConnectionError):
                    key.fileobj.sendall(pieces[turn] if turn < len(pieces) else b"")
            while ready := selector.select(QUIET):
                for key, _ in ready:
                    try:
                        data = key.fileobj.recv(65_536)
                    except ConnectionError:
                        data = b""
                    received[key.data] += data
                    if not data:
                        selector.unregister(key.fileobj)
    return [bytes(answer) for answer in received]


def versions(answer):
    return {version.decode() for version in re.findall(rb"flowers-v[12]", answer)}


@pytest.fixture
def servers(topology, steered):
    def start(name, command=None):
        for pod in topology.pods:
            shutil.rmtree(pod.dir / name, ignore_errors=True)
            serve(pod, name, command)

    return start


@pytest.mark.parametrize("server", ALL)
def test_what_may_be_read_in_two_ways_never_brings_an_answer_of_another_version(topology, steered, servers, server):
    """Each as the first request on its connection, and as the second. A flow is pinned once at most, so as many pins as connections are one for each."""
    servers(server, ALL[server])
    first = request(MINE, target="/bytes/1")
    for ahead in (b"", first):
        all_cases = [(name, case) for name, cases in CASES.items() if name not in DECIDED_BY_THE_SERVER for case in cases]
        dialogs = [(4 if i % 2 else 6, [*([ahead] if ahead else []), case + SMUGGLED.encode(), SMUGGLED.encode()]) for i, (_, case) in enumerate(all_cases)]
        before = pins(steered)
        answers = talk(topology.client1, dialogs)
        for (name, case), answer in zip(all_cases, answers):
            if name != "nul" or ahead:  # as the first on its connection it is bound by the client's address, whoever asks
                assert versions(answer) <= {USERS[MINE]}, f"{name}: {case}\n{answer}"
        assert pins(steered) == before + len(all_cases)


@pytest.mark.parametrize("server", ALL)
def test_a_body_that_the_server_did_not_wait_for_is_in_doubt(topology, steered, servers, server):
    servers(server, ALL[server])
    for case in CASES["expect"]:
        before = pins(steered)
        (answer,) = talk(topology.client1, [(4, [case, SMUGGLED.encode(), SMUGGLED.encode()])])
        if b"100 Continue" not in answer and answer.count(b"HTTP/1.1 ") > 1:
            assert versions(answer) == {USERS[MINE]} and pins(steered) == before + 1, f"{case}\n{answer}"


def test_an_upgrade_is_another_protocol(topology, steered, servers):
    servers("websocket", websocket)
    before = pins(steered)
    (answer,) = talk(topology.client1, [(4, [CASES["upgrade"][0], SMUGGLED.encode()])])
    assert answer.startswith(b"HTTP/1.1 101") and versions(answer) == {USERS[MINE]}
    assert pins(steered) == before + 1


def test_what_can_be_read_in_one_way_is_followed(topology, steered, servers):
    servers("node")
    before = pins(steered)
    cases = [post("Content-Length: 5", body="hello"), chunked("5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"), request(MINE, "Upgrade: h2c", "Connection: Upgrade"),
             request(MINE, "Content-Length: 0"), post("Content-Length: 5", "Expect: 100-continue", body="hello")]
    for case, answer in zip(cases, talk(topology.client1, [(4, [case + SMUGGLED.encode()]) for case in cases])):
        assert versions(answer) == set(USERS.values()), f"{case}\n{answer}"
    assert pins(steered) == before
