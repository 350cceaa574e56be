# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What HTTP/1.x can be besides one request and one answer, and what is not HTTP/1.x at all, through a request frontend."""

import asyncio
import contextlib
import hashlib
import http.client
import os
import random
import shutil
import socket

import pytest
import websockets

from agent import frontend_url
from peers import HERE, SECONDS, USERS, apache2, body_file, content, curl, serve
from topology import FRONTEND, FRONTEND_PORT, run, wait_for

SSE_SECONDS = int(os.environ.get("SHUNT_SSE_SECONDS", "60"))


def odd(kind):
    return lambda pod, directory, **words: ["/usr/bin/python3", HERE / "odd_server.py", words["port"], words["version"], kind]


@pytest.fixture
def servers(topology, steered):
    """servers(name, command) starts the same server in both pods."""

    def start(name, command):
        for pod in topology.pods:
            shutil.rmtree(pod.dir / name, ignore_errors=True)
            serve(pod, name, command)

    return start


def connect(box, family):
    with box.entered():
        return socket.create_connection((FRONTEND[family], FRONTEND_PORT), timeout=SECONDS)


def head(user, target, *lines, method="GET", version="1.1"):
    return "\r\n".join([f"{method} {target} HTTP/{version}", "Host: example.com", f"userhash: {user}", *lines, "", ""]).encode()


def read_answer(stream):
    """Status, headers in lower case and body of an answer with a Content-Length."""
    status = int(stream.readline().split()[1])
    headers = {}
    while (line := stream.readline()) != b"\r\n":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, stream.read(int(headers.get("content-length", 0)))


def mixed_users(seed, count):
    rng = random.Random(seed)
    return [rng.choice(list(USERS)) for _ in range(count)]


# ---- HTTP/1.x

ANSWERS = {
    "head": [("HEAD", "/bytes/5000", b"")],
    "204": [("GET", "/status/204", b"")],
    "304": [("GET", "/status/304", b"")],
    "chunked": [("GET", "/chunked/100", content(100)), ("GET", "/chunked/100000", content(100_000)), ("GET", "/chunked/0", b"")],
    "in-turn": [("HEAD", "/bytes/5000", b""), ("GET", "/chunked/20000", content(20_000)), ("GET", "/status/204", b""),
                ("GET", "/bytes/1460", content(1_460)), ("GET", "/status/304", b"")],
}


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
def test_users_take_turns_on_a_connection_whatever_ends_the_answers(topology, servers, family, answers):
    servers("http", odd("http"))
    connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=SECONDS)
    with topology.client1.entered(), contextlib.closing(connection):
        connection.connect()
        first = connection.sock
        for i, user in enumerate(mixed_users(f"answers-{family}", 40)):
            method, path, body = answers[i % len(answers)]
            connection.request(method, path, headers={"Host": "example.com", "userhash": user})
            response = connection.getresponse()
            assert (response.read(), response.getheader("version")) == (body, USERS[user]), f"{method} {path} of {user}"
        assert connection.sock is first, "it is one connection"


def test_users_take_turns_on_a_connection_with_chunked_uploads(topology, servers, family):
    servers("http", odd("http"))
    connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=SECONDS)
    with topology.client1.entered(), contextlib.closing(connection):
        for i, user in enumerate(mixed_users("chunked uploads", 40)):
            body = content((0, 1, 3_000, 70_000)[i % 4])
            chunks = [body[at:at + 1_000] for at in range(0, len(body), 1_000)]
            connection.request("POST", "/echo", iter(chunks), {"Host": "example.com", "userhash": user}, encode_chunked=True)
            response = connection.getresponse()
            assert (response.read() == body, response.getheader("version")) == (True, USERS[user]), f"request {i}: {len(body)} bytes of {user}"


@pytest.mark.parametrize("user", USERS)
def test_curl_uploads_in_chunks(topology, servers, family, user, tmp_path):
    servers("http", odd("http"))
    curl(topology.client1, family, user, "/echo", "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body_file(tmp_path, 1_000_000)}", "-o",
         tmp_path / "out")
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(content(1_000_000)).digest()


@pytest.mark.parametrize("user", USERS)
def test_a_client_that_expects_100_gets_it_before_it_sends_its_body(topology, servers, family, user, tmp_path):
    servers("http", odd("http"))
    # curl would send the body after its timeout, which is longer than it may run
    curl(topology.client1, family, user, "/echo", "-H", "Expect: 100-continue", "--expect100-timeout", 2 * SECONDS, "--data-binary",
         f"@{body_file(tmp_path, 300_000)}", "-o", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == content(300_000)


def test_users_take_turns_on_a_connection_with_100_continue(topology, servers, family):
    servers("http", odd("http"))
    with connect(topology.client1, family) as sock, sock.makefile("rb") as stream:
        for user in mixed_users("continue", 20):
            sock.sendall(head(user, "/echo", "Content-Length: 3000", "Expect: 100-continue", method="POST"))
            assert read_answer(stream)[0] == 100
            sock.sendall(content(3_000))
            status, headers, body = read_answer(stream)
            assert (status, headers["version"], body) == (200, USERS[user], content(3_000))


@pytest.mark.parametrize("arguments", [["--http1.0"], ["--http1.0", "-H", "Connection: keep-alive"], ["-H", "Connection: close"]],
                         ids=["1.0", "1.0-keep-alive", "close"])
@pytest.mark.parametrize("user", USERS)
def test_old_clients_and_those_that_close(topology, servers, family, user, arguments):
    servers("http", odd("http"))
    for path, length in (("/bytes/100000", 100_000), ("/chunked/100000", 100_000), ("/bytes/0", 0)):
        out = curl(topology.client1, family, user, path, *arguments, "-o", "/dev/null", "-w", "%{http_code} %header{version} %{size_download}")
        assert out == f"200 {USERS[user]} {length}"


@pytest.mark.parametrize("size, count", [(100, 2), (100, 20), (20_000, 2), (20_000, 20)])
def test_pipelined_requests_of_mixed_users_are_answered_in_order_by_their_versions(topology, servers, family, size, count):
    servers("http", odd("http"))
    users = mixed_users(f"pipeline {count}", count)
    with connect(topology.client1, family) as sock, sock.makefile("rb") as stream:
        sock.settimeout(10)
        sock.sendall(b"".join(head(user, f"/bytes/{size}") for user in users))
        for i, user in enumerate(users):
            status, headers, body = read_answer(stream)
            assert (status, headers["version"], body == content(size)) == (200, USERS[user], True), f"request {i} of {count}"


def test_a_request_may_come_byte_by_byte(topology, servers, family):
    servers("http", odd("http"))
    with connect(topology.client1, family) as sock, sock.makefile("rb") as stream:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for user in USERS:
            for byte in head(user, "/bytes/100"):
                sock.sendall(bytes([byte]))
            status, headers, body = read_answer(stream)
            assert (status, headers["version"], body) == (200, USERS[user], content(100))


# ---- streams

def test_server_sent_events_come_one_by_one_to_the_last(topology, servers):
    """All users in both families at once: a stream of a minute outlives every deadline that shunt and the tests have for less."""
    servers("http", odd("http"))
    with contextlib.ExitStack() as stack:
        streams = []
        for family in (4, 6):
            for user in USERS:
                sock = stack.enter_context(connect(topology.client1, family))
                sock.sendall(head(user, f"/events/{SSE_SECONDS}", "Accept: text/event-stream"))
                streams.append((user, stack.enter_context(sock.makefile("rb"))))
        for user, stream in streams:
            answer = stream.read().decode()
            assert answer.startswith("HTTP/1.1 200") and answer.count(f"data: {USERS[user]}\n\n") == SSE_SECONDS * 10
            assert f"id: {SSE_SECONDS * 10 - 1}\n" in answer


@pytest.mark.parametrize("user", USERS)
def test_ten_thousand_websocket_messages_are_echoed(topology, servers, family, user):
    servers("websocket", odd("websocket"))
    rng = random.Random("websocket")
    messages = [rng.randbytes(rng.choice((0, 1, 50, 125, 126, 1_400))) for _ in range(10_000)]

    async def talk():
        async with websockets.connect("ws://example.com/", sock=sock, extra_headers={"userhash": user}, compression=None) as connection:
            assert connection.response_headers["version"] == USERS[user]

            async def speak():
                for message in messages:
                    await connection.send(message)

            speaking = asyncio.create_task(speak())
            for i, message in enumerate(messages):
                assert await connection.recv() == message, f"message {i}"
            await speaking

    sock = connect(topology.client1, family)
    asyncio.run(asyncio.wait_for(talk(), SECONDS))


def git_backend(pod, directory, **words):
    repository = words["root"] / "shunt.git"
    git = ["git", "-C", repository]
    run("git", "init", "-q", "--bare", repository)
    blob = [f"blob\nmark :{i}\ndata 20000\n{content(10_000 + i).hex()[:20_000]}\n" for i in range(1, 101)]
    tree = "".join(f"M 644 :{i} file-{i}\n" for i in range(1, 101))
    stream = "".join(blob) + f"commit refs/heads/main\ncommitter shunt <shunt@example.com> 0 +0000\ndata {len(pod.version)}\n{pod.version}\n{tree}\n"
    (directory / "stream").write_text(stream)
    run("sh", "-c", f"git -C {repository} fast-import --quiet <{directory}/stream")
    run(*git, "symbolic-ref", "HEAD", "refs/heads/main")
    run("chown", "-R", "nobody:nogroup", repository, directory)
    more = [f'SetEnv GIT_PROJECT_ROOT {words["root"]}', "SetEnv GIT_HTTP_EXPORT_ALL 1", f"ScriptSock {directory}/cgi",
            "ScriptAlias /git/ /usr/lib/git-core/git-http-backend/"]
    return apache2(pod, directory, modules=("env", "alias", "cgid"), more="\n".join(more), **words)


@pytest.mark.parametrize("user", USERS)
def test_git_clones_over_smart_http(topology, servers, family, user, tmp_path):
    servers("git", git_backend)
    topology.client1.run("env", f"HOME={tmp_path}", "GIT_CONFIG_NOSYSTEM=1", "git", "-c", f"http.extraHeader=userhash: {user}", "-c",
                         "http.extraHeader=Host: example.com", "clone", "-q", frontend_url(family, "/git/shunt.git"), tmp_path / "clone")
    run("git", "-C", tmp_path / "clone", "fsck", "--strict")
    assert run("git", "-C", tmp_path / "clone", "log", "--format=%s").stdout.strip() == USERS[user]
    assert len(list((tmp_path / "clone").glob("file-*"))) == 100


# ---- not HTTP/1.x: bound once, by the client's address, and counted

CADDY = """\
{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	servers {{
		protocols h1 h2c h2
	}}
}}
{site} {{
	{tls}
	header version {version}
	respond {version}
}}
"""


def caddy_as(site, tls=""):
    def command(pod, directory, **words):
        (directory / "Caddyfile").write_text(CADDY.format(site=site.format(**words), tls=tls, **words))
        return ["env", f"HOME={directory}", "caddy", "run", "--adapter", "caddyfile", "--config", directory / "Caddyfile"]
    return command


@pytest.fixture
def not_http(steered):
    """Inside the test the reason is counted."""

    before = steered.reason("NOT_HTTP")
    yield
    assert steered.reason("NOT_HTTP") > before


def curl_to(box, family, url, *arguments):
    host = FRONTEND[family] if family == 4 else f"[{FRONTEND[family]}]"
    return box.run("curl", "-q", "-sSk", "--max-time", SECONDS, "--connect-to", f"::{host}:{FRONTEND_PORT}", *arguments, url).stdout


def test_http2_with_prior_knowledge_passes(topology, servers, not_http, family):
    servers("h2c", caddy_as("http://:{port}"))
    for _ in range(5):
        out = curl_to(topology.client1, family, "http://example.com/", "--http2-prior-knowledge", "-w", " %{http_version}")
        assert out == "flowers-v1 2", "one version for one address"


def test_tls_passes(topology, servers, not_http, family):
    servers("tls", caddy_as("https://example.com:{port}", "tls internal"))
    for _ in range(5):
        assert curl_to(topology.client1, family, "https://example.com/") == "flowers-v1"


def test_random_bytes_pass_both_ways(topology, servers, not_http, family):
    servers("echo", odd("echo"))
    rng = random.Random("bytes")
    for size in (1, 20, 5_000, 1_000_000):
        data = b"\0" + rng.randbytes(size)
        with connect(topology.client1, family) as sock:
            received = bytearray()
            for at in range(0, len(data), 10_000):
                sock.sendall(data[at:at + 10_000])
                while len(received) < min(at + 10_000, len(data)):
                    received += sock.recv(65_536) or pytest.fail(f"ended after {len(received)} of {len(data)} bytes")
            assert received == data


def test_a_server_that_speaks_first_is_heard_and_answered(topology, servers, steered, family):
    servers("greeter", odd("greeter"))
    before = steered.reason("SERVER_FIRST")
    for _ in range(3):
        with connect(topology.client1, family) as sock, sock.makefile("rb") as stream:
            greeting = stream.readline()
            sock.sendall(b"HELO\r\n")
            assert (greeting, stream.readline()) == (b"220 flowers-v1\r\n", b"HELO\r\n"), "one version for one address"
    assert steered.reason("SERVER_FIRST") == before + 3


@pytest.mark.parametrize("user", USERS)
def test_a_connection_opened_long_before_its_request_is_steered_all_the_same(topology, servers, steered, family, user):
    servers("http", odd("http"))
    before = steered.reason("CLIENT_QUIET")
    with connect(topology.client1, family) as sock, sock.makefile("rb") as stream:
        wait_for(lambda: steered.reason("CLIENT_QUIET") > before, "a pod is connected for the quiet client")
        for each in (user, *USERS):
            sock.sendall(head(each, "/bytes/100"))
            status, headers, body = read_answer(stream)
            assert (status, headers["version"], body) == (200, USERS[each], content(100))
