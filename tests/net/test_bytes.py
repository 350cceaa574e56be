# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Every byte arrives: large answers and large requests through the frontend, with packets lost on all links, with and without offloads."""

import hashlib

import pytest

from agent import frontend_url

SIZE_DOWN, SIZE_UP = 10_000_000, 5_000_000
SECONDS = 60  # curl's own limit: a stalled transfer fails instead of hanging


def curl(topology, family, user, path, *arguments):
    return topology.client1.run("curl", "-sS", "--fail", "--max-time", SECONDS, "-H", "Host: example.com", "-H", f"userhash: {user}", *arguments,
                                frontend_url(family, path))


@pytest.mark.parametrize("user, pod", [("1111100000", "baseline"), ("1010101010", "candidate")])
def test_large_bodies_arrive_whole(topology, agent, tmp_path, offloads, loss, family, user, pod):
    pod = getattr(topology, pod)
    expected = pod.file(SIZE_DOWN)
    down = tmp_path / "down"
    curl(topology, family, user, f"/bytes/{SIZE_DOWN}", "-o", down)
    assert hashlib.sha256(down.read_bytes()).hexdigest() == expected

    up = tmp_path / "up"
    up.write_bytes(down.read_bytes()[:SIZE_UP])
    stored = curl(topology, family, user, "/upload", "--data-binary", f"@{up}").stdout
    assert pod.uploaded(stored) == hashlib.sha256(up.read_bytes()).hexdigest()


def test_small_and_large_requests_follow_each_other_on_one_connection(topology, agent, tmp_path):
    """curl keeps the connection for all of its URLs; users change on it between bodies of very different sizes."""
    expected = topology.candidate.file(1_000_000)
    assert topology.baseline.file(1_000_000) == expected
    config = []
    for i in range(20):
        config += [f'url = "{frontend_url(4, "/bytes/1000000" if i % 2 else "/")}"', f'output = "{tmp_path}/{i}"', 'header = "Host: example.com"',
                   f'header = "userhash: {"101" if i % 3 else "111"}0000000"', "fail", "silent", "show-error",
                   f'write-out = "%{{num_connects}} %header{{version}}\\n"', f"max-time = {SECONDS}", "next"]
    (tmp_path / "curlrc").write_text("\n".join(config[:-1]))
    lines = topology.client1.run("curl", "-q", "-K", tmp_path / "curlrc").stdout.split("\n")
    assert [line.split() for line in lines if line] == [[str(int(i == 0)), "flowers-v2" if i % 3 else "flowers-v1"] for i in range(20)]
    for i in range(1, 20, 2):
        assert hashlib.sha256((tmp_path / str(i)).read_bytes()).hexdigest() == expected
