# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A bad network between clients, shunt and pods: every transfer ends with the right bytes, and no user sees a wrong version."""

import hashlib

import pytest

from agent import client, frontend_url
from mangle import mangled
from peers import USERS, curl

SIZE_DOWN, SIZE_UP = 10_000_000, 5_000_000
PATIENCE = 180  # seconds: with one packet in five lost somewhere, one connection in a million loses its request eight times and waits for a minute

# Shares of the packets of every link, in each direction: a steered connection crosses two links.
NETWORKS = {
    "1-percent-lost": {"lose": 0.01},
    "5-percent-lost": {"lose": 0.05},
    "out-of-order": {"delay": 0.05},
    "repeated": {"repeat": 0.05},
    "damaged": {"damage": 0.02},
    "all-at-once": {"lose": 0.01, "delay": 0.02, "repeat": 0.02, "damage": 0.01},
}


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def network(request, topology, build, steered):
    topology.offloads("damage" not in request.param)  # see mangle.bpf.c
    try:
        with mangled(topology, build / "tests" / "lib" / "mangle.bpf.o", **request.param) as mangle:
            yield mangle
            done = mangle.done()
            assert all(done[fault] for fault in request.param), f"a fault that never happened proves nothing: {done}"
    finally:
        topology.offloads(True)


def pod_of(topology, version):
    return next(pod for pod in topology.pods if pod.version == version)


@pytest.mark.parametrize("user", USERS)
def test_large_bodies_arrive_whole(topology, network, family, user, tmp_path):
    pod = pod_of(topology, USERS[user])
    expected = pod.file(SIZE_DOWN)
    down, up = tmp_path / "down", tmp_path / "up"
    curl(topology.client1, family, user, f"/bytes/{SIZE_DOWN}", "-o", down)
    assert hashlib.sha256(down.read_bytes()).hexdigest() == expected
    up.write_bytes(down.read_bytes()[:SIZE_UP])
    stored = curl(topology.client1, family, user, "/upload", "--data-binary", f"@{up}")
    assert pod.uploaded(stored) == hashlib.sha256(up.read_bytes()).hexdigest()


@pytest.mark.parametrize("load", ["--requests 500 --concurrency 50", "--requests 400 --keep-alive 20"], ids=["new-connections", "keep-alive"])
def test_every_request_is_answered_by_its_users_version(topology, network, family, load):
    result = client(topology.client2, frontend_url(family), load, f"--timeout {PATIENCE}")
    assert result["problems"] == []
    assert (result["errors"], result["wrong"]) == (0, 0)
