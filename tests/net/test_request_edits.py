# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Header edits of requests: clients ask for example.com, and every request asks its pod for what the manifest says. And headers that are removed, both ways."""

import hashlib
import http.client
import socket

import pytest
import yaml

from agent import ROOT, frontend_url
from peers import SECONDS, USERS, ask, connect, content
from topology import Topology

HOSTS = {"flowers-v1": "flowers-predictor-default.ns-baseline", "flowers-v2": "flowers-predictor-default.ns-candidate"}
BASELINE, CANDIDATE = USERS


@pytest.fixture(scope="module")
def topology():
    with Topology(silent_pods=True) as made:
        yield made


@pytest.fixture
def folder(folder):
    """No experiment ends meanwhile."""
    (folder.path / "experiment.yaml").unlink()
    return folder


def heard(made, user, target="/heard", **headers):
    """What the pod was asked: request line, Host, and two headers."""
    return ask(made, user, target, **headers).content.decode().split("\n")[:4]


def test_every_request_of_a_connection_asks_for_its_versions_host(topology, agent, offloads, loss, family):
    with connect(topology.client1, family) as made:
        for i in range(60):
            user = list(USERS)[i % 3 % 2]
            assert heard(made, user)[:2] == ["GET /heard HTTP/1.1", HOSTS[USERS[user]]]
    assert (agent.reason("REQUEST_EDITED"), agent.reason("REQUEST_EDIT_PASSED")) == (60, 0)


def test_a_target_in_absolute_form_asks_for_that_host_too(topology, agent, family):
    with connect(topology.client1, family) as made:
        for user, version in USERS.items():
            for target in ("http://example.com/heard", "http://example.com:80/heard"):
                assert heard(made, user, target)[:2] == ["GET /heard HTTP/1.1", HOSTS[version]]


def test_uploads_arrive_whole_behind_edited_heads(topology, agent, tmp_path, offloads, loss, family):
    body = content(1_000_000)
    (tmp_path / "body").write_bytes(body)
    users = [(BASELINE, CANDIDATE)[i // 2 % 2] for i in range(8)]
    config = []
    for i, user in enumerate(users):
        config += [f'url = "{frontend_url(family, "/upload")}"', 'header = "Host: example.com"', f'header = "userhash: {user}"',
                   f'header = "Expect:{" 100-continue" if i % 3 else ""}"', *(['header = "Transfer-Encoding: chunked"'] if i % 2 else []),
                   f'data-binary = "@{tmp_path / "body"}"', "fail", "silent", "show-error", f"max-time = {SECONDS}",
                   'write-out = " %{num_connects} %header{version}\\n"', "next"]
    (tmp_path / "curlrc").write_text("\n".join(config[:-1]))
    lines = topology.client1.run("curl", "-q", "-K", tmp_path / "curlrc").stdout.splitlines()
    assert [line.split()[1:] for line in lines] == [[str(int(i == 0)), USERS[user]] for i, user in enumerate(users)]
    for user, line in zip(users, lines):
        pod = next(pod for pod in topology.pods if pod.version == USERS[user])
        assert pod.uploaded(line.split()[0]) == hashlib.sha256(body).hexdigest()
    assert (agent.reason("REQUEST_EDITED"), agent.reason("REQUEST_EDIT_PASSED")) == (8, 0)


def test_heads_in_segments_of_one_byte(topology, agent, loss, family):
    with connect(topology.client1, family) as made:
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for user in [*USERS] * 3:
            for byte in f"GET /heard HTTP/1.1\r\nHost: example.com\r\nuserhash: {user}\r\n\r\n".encode():
                made.sock.sendall(bytes([byte]))
            response = http.client.HTTPResponse(made.sock)
            response.begin()
            assert response.read().decode().split("\n")[1] == HOSTS[USERS[user]]
    assert (agent.reason("REQUEST_EDITED"), agent.reason("REQUEST_EDIT_PASSED")) == (6, 0)


# ---- what else the manifests say


def destination(version, **headers):
    return {"destination": {"host": f"{HOSTS[version]}.svc.cluster.local"}, "headers": {"response": {"set": {"version": version}}, **headers}}


def of_virtual_service(folder):
    """v2's requests get a header and lose one, v1's stay as they are."""
    def change(vs):
        first, second = vs["spec"]["http"]
        first["route"] = [destination("flowers-v2", request={"add": {"X-Heard": "shunt"}})]
        first["headers"] = {"request": {"remove": ["x-gone"]}}
        second["route"] = [destination("flowers-v1")]

    folder.edit("VirtualService", change)


def of_http_route(folder):
    """The same."""
    documents = [*yaml.safe_load_all((ROOT / "deploy" / "samples" / "gateway-api" / "route.yaml").read_text())]
    rule = next(rule for rule in documents[1]["spec"]["rules"] if "headers" in rule.get("matches", [{}])[0])
    rule["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x-gone"]}}]
    for each in documents[1]["spec"]["rules"]:
        for backend in each["backendRefs"]:
            backend["filters"] = [f for f in backend["filters"] if f["type"] == "ResponseHeaderModifier"]
    rule["backendRefs"][0]["filters"].append(
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"add": [{"name": "X-Heard", "value": "shunt"}]}})
    (folder.path / "routing-rule.yaml").unlink()
    folder.write("route.yaml", yaml.safe_dump_all(documents))


@pytest.mark.parametrize("write", [of_virtual_service, of_http_route])
def test_headers_are_added_and_removed_for_one_version_alone(topology, make_agent, folder, write, family):
    write(folder)
    agent = make_agent().start()
    assert "warning" not in agent.log and "error" not in agent.log, agent.log
    with connect(topology.client1, family) as made:
        for _ in range(4):
            assert heard(made, CANDIDATE, **{"X-Gone": "a"})[1:] == ["example.com", "shunt", ""]
            assert heard(made, BASELINE, **{"X-Gone": "a"})[1:] == ["example.com", "", "a"]
        assert heard(made, CANDIDATE, **{"X-Heard": "first"})[2] == "first"  # nginx tells the first of two
    assert (agent.reason("REQUEST_EDITED"), agent.reason("REQUEST_EDIT_PASSED")) == (5, 0)
    assert agent.json("explain", "--header", f"userhash={CANDIDATE}")["request_lines"] == ["X-Heard: shunt", "-x-gone"]
    assert agent.json("explain", "--header", f"userhash={BASELINE}")["request_lines"] == []


def test_a_header_of_responses_is_removed(topology, make_agent, folder, offloads, loss, family):
    def change(vs):
        for entry, version in zip(vs["spec"]["http"], ("flowers-v2", "flowers-v1")):
            entry["route"] = [destination(version)]
        vs["spec"]["http"][0]["route"][0]["headers"]["response"]["remove"] = ["server"]

    folder.edit("VirtualService", change)
    topology.candidate.file(100_000)
    agent = make_agent().start()
    with connect(topology.client1, family) as made:
        for rounds in range(1, 401):
            answer = ask(made, CANDIDATE, "/bytes/100000")
            assert answer.headers["Server"] is None and answer.headers["~erver"] == "" and len(answer.content) == 100_000
            assert ask(made, BASELINE, "/").headers["Server"].startswith("nginx")
            if rounds >= 10 and (not loss or loss.dropped):
                break
    assert (agent.reason("EDITED"), agent.reason("EDIT_RENAMED"), agent.reason("EDIT_PASSED")) == (2 * rounds, rounds, 0)
    assert agent.json("explain", "--header", f"userhash={CANDIDATE}")["response_lines"] == ["version: flowers-v2", "-server"]


def test_what_cannot_be_read_passes_unedited_and_is_counted(topology, agent):
    with topology.client1.entered():
        raw = socket.create_connection(("10.96.0.10", 80), timeout=SECONDS)
    with raw:
        raw.sendall(b"THIS IS NO HTTP\r\n\r\n")
        assert b"400" in raw.recv(4096)
    assert agent.reason("REQUEST_EDIT_PASSED") == 1
