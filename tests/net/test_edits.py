# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Header edits of the tutorial's VirtualService: the pods here say nothing of their version, and every response has it all the same."""

import hashlib

import pytest

from agent import client, frontend_url
from peers import HERE, SECONDS, USERS, ask, connect, content, curl, serve
from topology import FRONTEND, FRONTEND_PORT, Outside, Topology

SIZES = (1_000_000, 10_000_000)


@pytest.fixture(scope="module")
def topology():
    with Topology(silent_pods=True) as made:
        yield made


def test_bodies_arrive_whole_behind_edited_heads(topology, steered, tmp_path, offloads, loss, family):
    before = steered.reason("EDITED")
    config = []
    for i in range(8):
        size = SIZES[i // 2 % 2]
        config += [f'url = "{frontend_url(family, f"/bytes/{size}")}"', f'output = "{tmp_path}/{i}"', 'header = "Host: example.com"',
                   f'header = "userhash: {list(USERS)[i % 2]}"', "fail", "silent", "show-error", f"max-time = {SECONDS}",
                   'write-out = "%{num_connects} %header{version} %{size_download}\\n"', "next"]
    expected = {size: {pod.file(size) for pod in topology.pods} for size in SIZES}
    (tmp_path / "curlrc").write_text("\n".join(config[:-1]))
    lines = topology.client1.run("curl", "-q", "-K", tmp_path / "curlrc").stdout.split("\n")
    assert [line.split() for line in lines if line] == [
        [str(int(i == 0)), list(USERS.values())[i % 2], str(SIZES[i // 2 % 2])] for i in range(8)]
    for i in range(8):
        assert {hashlib.sha256((tmp_path / str(i)).read_bytes()).hexdigest()} == expected[SIZES[i // 2 % 2]]
    assert steered.reason("EDITED") == before + 8


def test_users_mix_on_kept_connections(topology, steered, offloads, loss, family):
    result = client(topology.client1, frontend_url(family), "--requests 1000 --keep-alive 50 --concurrency 10")
    assert result["problems"] == [] and result["errors"] == result["wrong"] == 0


def test_every_kind_of_response_is_edited_on_one_connection(topology, steered, offloads, loss, family):
    for pod in topology.pods:
        pod.file(100_000)
    passed = steered.reason("EDIT_PASSED")
    with connect(topology.client1, family) as made:
        for user, version in [*USERS.items()] * (20 if loss else 1):
            modified = ask(made, user, "/bytes/100000").headers["Last-Modified"]
            assert ask(made, user, "/bytes/100000", **{"If-Modified-Since": modified}).status == 304
            assert ask(made, user, "/bytes/100000", method="HEAD").headers["Content-Length"] == "100000"
            assert ask(made, user, "/empty").status == 204
            assert ask(made, user, "/fail").status == 503
            chunked = ask(made, user, "/chunked")
            assert chunked.headers["Transfer-Encoding"] == "chunked" and chunked.content == f"{version}\n".encode() * 3000
            assert ask(made, user, "/bytes/100000").content == (topology.baseline.dir / "bytes" / "100000").read_bytes()
    assert steered.reason("EDIT_PASSED") == passed


def test_interim_responses_stay_as_they_are(topology, steered, tmp_path, family):
    (tmp_path / "body").write_bytes(content(300_000))
    for user, version in USERS.items():
        out = topology.client1.run("curl", "-q", "-sSv", "--fail", "--max-time", SECONDS, "-H", "Host: example.com", "-H", f"userhash: {user}",
                                   "-H", "Expect: 100-continue", "--expect100-timeout", SECONDS, "--data-binary", f"@{tmp_path / 'body'}",
                                   frontend_url(family, "/upload"))
        heads = [line[2:].strip() for line in out.stderr.splitlines() if line.startswith("< ")]
        assert heads[0] == "HTTP/1.1 100 Continue" and heads.index(f"version: {version}") > heads.index("HTTP/1.1 200 OK")
        pod = next(pod for pod in topology.pods if pod.version == version)
        assert pod.uploaded(out.stdout) == hashlib.sha256(content(300_000)).hexdigest()


def test_http_1_0_and_close(topology, steered, family):
    for user, version in USERS.items():
        out = topology.client1.run("curl", "-q", "-sSi", "--http1.0", "--max-time", SECONDS, "-H", "Host: example.com", "-H", f"userhash: {user}",
                                   frontend_url(family)).stdout
        assert out.splitlines().count(f"version: {version}") == 1 and out.endswith(f"{version}\n")


@pytest.fixture(scope="module")
def bytewise(topology):
    """Last: it takes the place of nginx."""
    for pod in topology.pods:
        serve(pod, "bytewise", lambda pod, directory, **words: ["/usr/bin/python3", HERE / "odd_server.py", words["port"], words["version"], "bytewise"])


def test_heads_in_segments_of_one_byte(topology, steered, bytewise, loss, family):
    before, passed = steered.reason("EDITED"), steered.reason("EDIT_PASSED")
    with connect(topology.client1, family) as made:
        for i in range(40):
            user = list(USERS)[i % 3 % 2]
            assert ask(made, user, "/").content.strip().decode() == USERS[user]
    assert steered.reason("EDITED") == before + 40 and steered.reason("EDIT_PASSED") == passed


# ---- where answers are met

PLACES = {
    "at-the-pods": ("client1", "client*,baseline,candidate", ["--return-at", "pods"]),
    "on-the-node": ("node", "client*", ["--host"]),
    "through-an-uplink": ("outside", "client*", ["--uplink", Outside.UPLINK]),
}


class TestPlaces:
    @pytest.fixture(scope="class")
    def topology(self):
        with Topology(tag="edits", silent_pods=True) as made:
            made.outside = Outside(made).client
            yield made

    @pytest.mark.parametrize("name, interfaces, arguments", PLACES.values(), ids=PLACES)
    def test_responses_are_edited_wherever_they_are_met(self, topology, make_agent, family, name, interfaces, arguments):
        agent = make_agent(interfaces=interfaces, arguments=arguments).start()
        for user, version in USERS.items():
            for path in ("/", "/chunked", "/whoami"):
                out = curl(getattr(topology, name), family, user, path, "-i").replace("\r", "")
                assert out.splitlines().count(f"version: {version}") == 1
        assert agent.reason("EDITED") == 6 and agent.reason("EDIT_PASSED") == 0
