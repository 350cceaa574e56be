# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""HTTP servers and clients of the field, as peers of each other through a frontend.

All servers are alike: version V answers only paths that begin with /V/, and everything else with 404, so that every client, also one that shows
nothing but status codes, notices an answer of the wrong version.

    GET  /flowers-v1/bytes/SIZE   the bytes of content(SIZE)
    POST /flowers-v1/echo         the body of the request

All clients are alike, too: a client is a function (box, family, requests, directory) that makes the requests and fails when one is not answered by
its user's version with the right body. Load generators ask for one thing again and again: they are run once for every kind of request.
"""

import contextlib
import http.client
import json
import os
import random
import re
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from agent import Agent, Folder, frontend_url
from topology import FRONTEND, FRONTEND_PORT, TopologyError, end_process, wait_for

HERE = Path(__file__).resolve().parent
USERS = {"1111100000": "flowers-v1", "1010101010": "flowers-v2"}  # whom the sample's rules send where
SIZES = (0, 1, 100, 1_460, 5_000, 20_000, 65_536, 300_000, 1_000_000)
SECONDS = 60  # what a client waits at most: a stalled transfer fails instead of hanging


@contextlib.contextmanager
def steering(topology, shunt, directory):
    """An agent for many tests: inside the block it steers by the sample's rules. No experiment ends them meanwhile."""
    folder = Folder(directory / "manifests")
    (folder.path / "experiment.yaml").unlink()
    agent = Agent(topology, shunt, folder, name="shunt")
    try:
        yield agent.start()
    finally:
        agent.close()


def curl(box, family, user, path, *arguments):
    """What curl prints for one request of a user."""
    return box.run("curl", "-q", "-sS", "--fail", "--max-time", SECONDS, "-H", "Host: example.com", "-H", f"userhash: {user}", *arguments,
                   frontend_url(family, path)).stdout


def connect(box, family, timeout=SECONDS):
    """An HTTP connection from a box to the frontend, as a context that closes it."""
    with box.entered():
        connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=timeout)
        connection.connect()
    return contextlib.closing(connection)


def ask(made, user, path, method="GET", **headers):
    """One exchange on a connection that stays; the answer, whose one version is its user's."""
    made.request(method, path, headers={"Host": "example.com", "userhash": user, **headers})
    response = made.getresponse()
    response.content = response.read()
    assert response.headers.get_all("version") == [USERS[user]], f"{method} {path} of {user}: {response.headers}"
    return response


def content(size):
    return random.Random(size).randbytes(size)


# ---- servers: each writes its configuration to a directory and returns its command line; version, port and root are the pod's

NGINX = """\
daemon off;
user root;
worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
pid {dir}/pid;
error_log {dir}/error.log notice;
events {{ worker_connections 1024; }}
http {{
	access_log off;
	client_max_body_size 2m;
	client_body_buffer_size 2m;  # the echo module sends what is in memory
	client_body_temp_path {dir}/bodies;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	scgi_temp_path {dir}/scgi;
	uwsgi_temp_path {dir}/uwsgi;
	default_type application/octet-stream;
	server {{
		listen [::]:{port} ipv6only=off;
		add_header version {version} always;
		location /{version}/ {{ root {root}; }}
		location = /{version}/echo {{ echo_read_request_body; echo_request_body; }}
		location / {{ return 404; }}
	}}
}}
"""

APACHE2 = """\
ServerName example.com
ServerRoot {dir}
DefaultRuntimeDir {dir}
PidFile {dir}/pid
ErrorLog {dir}/error.log
{modules}
User nobody
Group nogroup
Listen {port}
{more}
MaxKeepAliveRequests 0
DocumentRoot {root}
Header always set version {version}
<Location /{version}/echo>
	SetHandler reflector
</Location>
"""
APACHE2_MODULES = ("mpm_event", "authz_core", "headers", "reflector")

CADDYFILE = """\
{{
	admin off
	auto_https off
}}
http://:{port} {{
	header version {version}
	root * {root}
	handle /{version}/echo {{
		respond "{{http.request.body}}"
	}}
	handle {{
		file_server
	}}
}}
"""


def nginx(pod, directory, **words):
    (directory / "nginx.conf").write_text(NGINX.format(**words))
    return ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "error.log"]


def apache2(pod, directory, modules=(), more="", **words):
    os.chmod(pod.topology.dir, 0o711)  # it does not serve as root
    load = "\n".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in (*APACHE2_MODULES, *modules))
    (directory / "apache2.conf").write_text(APACHE2.format(modules=load, more=more, **words))
    return ["apache2", "-f", directory / "apache2.conf", "-DFOREGROUND"]


def caddy(pod, directory, **words):
    (directory / "Caddyfile").write_text(CADDYFILE.format(**words))
    return ["env", f"HOME={directory}", "caddy", "run", "--adapter", "caddyfile", "--config", directory / "Caddyfile"]


def node(pod, directory, **words):
    return ["node", HERE / "peer.js", "serve", words["port"], words["version"], words["root"]]


def python(framing):
    return lambda pod, directory, **words: ["/usr/bin/python3", HERE / "peer_server.py", words["port"], words["version"], words["root"], framing]


SERVERS = {"nginx": nginx, "apache2": apache2, "caddy": caddy, "node": node, "python-length": python("length"), "python-chunked": python("chunked")}


def serve(pod, name, command=None):
    """Replaces the pod's server by that of a name, or of a function like those above."""
    directory = pod.dir / name
    files = directory / "root" / pod.version / "bytes"
    files.mkdir(parents=True)
    for size in SIZES:
        (files / str(size)).write_bytes(content(size))
    words = (command or SERVERS[name])(pod, directory, dir=directory, root=directory / "root", port=pod.port, version=pod.version)
    end_process(pod.server)
    with open(directory / "log", "ab") as log:
        pod.server = pod.start(*words, stdout=log, stderr=log)

    def answers():
        if pod.server.poll() is not None:
            raise TopologyError(f"{name} in {pod.name} ended with {pod.server.returncode}: {(directory / 'log').read_text()}")
        with pod.entered(), contextlib.suppress(OSError), socket.create_connection(("::1", pod.port), 2):
            return True
        return False

    wait_for(answers, lambda: f"{name} in {pod.name}: {(directory / 'log').read_text()}", 20)


# ---- clients

@dataclass
class Request:
    user: str
    upload: bool
    size: int
    close: bool  # the client asks the server to close

    @property
    def path(self):
        return f"/{USERS[self.user]}/" + ("echo" if self.upload else f"bytes/{self.size}")

    @property
    def headers(self):
        return {"Host": "example.com", "userhash": self.user, **({"Connection": "close"} if self.close else {})}


def requests(seed, count):
    """Requests of mixed users and sizes, every tenth closes its connection."""
    rng = random.Random(seed)
    return [Request(rng.choice(list(USERS)), rng.random() < 0.5, rng.choice(SIZES), i % 10 == 9) for i in range(count)]


def body_file(directory, size):
    path = directory / f"body-{size}"
    if not path.exists():
        path.write_bytes(content(size))
    return path


def with_curl(box, family, requests, directory):
    config = []
    for i, request in enumerate(requests):
        config += ["next"] if i else []
        config += [f'url = "{frontend_url(family, request.path)}"', f'output = "{directory}/{i}"', f"max-time = {SECONDS}", "silent", "show-error",
                   'write-out = "%{http_code} %header{version}\\n"', *[f'header = "{name}: {value}"' for name, value in request.headers.items()]]
        if request.upload:
            config.append(f'data-binary = "@{body_file(directory, request.size)}"')
    (directory / "curlrc").write_text("\n".join(config))
    lines = box.run("curl", "-q", "-K", directory / "curlrc").stdout.splitlines()
    assert lines == [f"200 {USERS[request.user]}" for request in requests]
    for i, request in enumerate(requests):
        output = directory / str(i)  # curl makes no file for no bytes
        assert (output.read_bytes() if output.exists() else b"") == content(request.size), f"request {i}: {request}"
        output.unlink(missing_ok=True)


def with_http_client(box, family, requests, directory):
    connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=SECONDS)
    with box.entered(), contextlib.closing(connection):
        for i, request in enumerate(requests):
            connection.request("POST" if request.upload else "GET", request.path, content(request.size) if request.upload else None, request.headers)
            response = connection.getresponse()
            body = response.read()
            assert (response.status, response.getheader("version")) == (200, USERS[request.user]), f"request {i}: {request}"
            assert body == content(request.size), f"request {i}: {request}"


def described(family, requests, directory):
    """The requests for clients of other languages."""
    rows = [asdict(r) | {"url": frontend_url(family, r.path), "path": r.path, "headers": r.headers, "file": str(body_file(directory, r.size))}
            for r in requests]
    path = directory / "requests.json"
    path.write_text(json.dumps(rows))
    return path


def with_node(api):
    def client(box, family, requests, directory):
        out = box.run("node", HERE / "peer.js", api, described(family, requests, directory)).stdout
        assert json.loads(out) == {"answered": len(requests), "problems": []}
    return client


def with_wrk(box, family, requests, directory):
    rows = [f'{{ "{r.user}", "{r.path}", {str(r.upload).lower()}, {str(r.close).lower()}, "{body_file(directory, r.size)}" }},' for r in requests]
    (directory / "requests.lua").write_text("return {\n" + "\n".join(rows) + "\n}\n")
    done = box.run("wrk", "-t1", "-c1", f"-d{SECONDS}", "-s", HERE / "peer.lua", frontend_url(family), "--", directory / "requests.lua")
    assert done.stdout.splitlines()[-1] == f"{len(requests)} answered, 0 errors", done.stdout


def kinds(requests):
    """What load generators ask for: every user, some bytes, down and up."""
    bodies = ((False, 1_000_000), (False, 0), (True, 20_000), (True, 300_000))
    return [Request(user, upload, size, False) for user in USERS for upload, size in bodies]


def words_of(request, directory, flag):
    return ["-H", f"userhash: {request.user}", *([flag, body_file(directory, request.size)] if request.upload else [])]


def with_ab(box, family, requests, directory):
    each = len(requests) // len(kinds(requests))
    for i, request in enumerate(kinds(requests)):
        words = ["-k"] if i % 2 else []
        words += ["-T", "application/octet-stream"] if request.upload else []
        out = box.run("ab", "-q", "-s", SECONDS, "-n", each, "-c", 4, *words, "-H", "Host: example.com", *words_of(request, directory, "-p"),
                      frontend_url(family, request.path)).stdout
        found = re.findall(r"^(Document Length|Complete requests|Failed requests|Non-2xx responses): +(\d+)", out, re.M)
        assert {name: int(value) for name, value in found} == {"Document Length": request.size, "Complete requests": each, "Failed requests": 0}, f"{request}\n{out}"


def with_hey(box, family, requests, directory):
    each = len(requests) // len(kinds(requests))
    for i, request in enumerate(kinds(requests)):
        words = ["-m", "POST"] if request.upload else []
        words += ["-disable-keepalive"] if i % 2 else []
        out = box.run("hey", "-n", each, "-c", 4, "-t", SECONDS, "-host", "example.com", *words, *words_of(request, directory, "-D"),
                      frontend_url(family, request.path)).stdout
        count = each // 4 * 4  # it gives every worker the same number
        assert re.findall(r"\[(\d+)\]\s+(\d+) responses", out) == [("200", str(count))] and "Error distribution" not in out, f"{request}\n{out}"
        for total in re.findall(r"Total data:\s+(\d+) bytes", out):  # it adds up Content-Lengths; chunked answers have none
            assert int(total) == count * request.size, f"{request}\n{out}"


def with_h2load(box, family, requests, directory):
    each = len(requests) // len(kinds(requests))
    host = FRONTEND[family] if family == 4 else f"[{FRONTEND[family]}]"
    for request in kinds(requests):
        out = box.run("h2load", "--h1", "-n", each, "-c", 4, "-t", 1, "-T", SECONDS, f"--connect-to={host}:{FRONTEND_PORT}",
                      *words_of(request, directory, "-d"), f"http://example.com{request.path}").stdout
        assert f"requests: {each} total, {each} started, {each} done, {each} succeeded, 0 failed, 0 errored, 0 timeout" in out, f"{request}\n{out}"
        assert f"status codes: {each} 2xx, 0 3xx, 0 4xx, 0 5xx" in out and f"({each * request.size}) data" in out, f"{request}\n{out}"


CLIENTS = {"curl": with_curl, "wrk": with_wrk, "ab": with_ab, "hey": with_hey, "h2load": with_h2load, "http.client": with_http_client,
           "node-fetch": with_node("fetch"), "node-agent": with_node("agent")}
