# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""
The packets of a flow on several CPUs: receive packet steering (rps_cpus) moves each link's packets to a CPU, and the CPUs change all the time. So both
directions of a flow run at once, packets of one direction do, and overtake each other. Every transfer ends with the right bytes and is counted once.
"""

import contextlib
import hashlib
import os
import sys

import pytest

from agent import client, frontend_url
from peers import USERS, curl, steering
from topology import end_process

SIZE = 10_000_000
CPUS = sorted(os.sched_getaffinity(0))[:2]

pytestmark = pytest.mark.skipif(len(CPUS) < 2, reason="one CPU is one at a time")

# Deals the CPUs out anew every few milliseconds, so that no link keeps to one for long and links differ.
DEALER = """
import glob, itertools, sys, time
masks = [f"{1 << int(cpu):x}" for cpu in sys.argv[1:]]
queues = [open(name, "w") for name in sorted(glob.glob("/sys/class/net/*/queues/rx-0/rps_cpus")) if "/lo/" not in name]
for turn in itertools.count():
    for i, queue in enumerate(queues):
        queue.write(masks[(turn >> i % 3) % len(masks)])
        queue.flush()
    if not turn:
        print(len(queues), flush=True)
    time.sleep(0.002)
"""


@contextlib.contextmanager
def dealt(topology):
    """Inside the block, the links' packets are dealt out. (ip netns exec shows a namespace its own /sys.)"""
    with open(topology.dir / "dealer.log", "w+", encoding="utf-8") as log:
        dealer = topology.node.start("ip", "netns", "exec", topology.node.name, sys.executable, "-c", DEALER, *CPUS, stdout=log, stderr=log)
        try:
            yield
            assert dealer.poll() is None, (topology.dir / "dealer.log").read_text()
        finally:
            end_process(dealer)


@pytest.fixture(scope="module")
def agent(topology, shunt, tmp_path_factory):
    with steering(topology, shunt, tmp_path_factory.mktemp("cpus")) as agent, dealt(topology):
        yield agent


def counted(agent, field):
    """What each CPU has counted of a field, of all versions."""
    rows = [row["values"] for row in agent.maps.dump("shunt_count")]
    return [sum(values[cpu]["value"][field] for values in rows) for cpu in CPUS]


@pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])
@pytest.mark.parametrize("user", USERS)
def test_a_large_body_on_two_cpus_arrives_whole(topology, agent, family, user, tmp_path):
    pod = next(pod for pod in topology.pods if pod.version == USERS[user])
    expected = pod.file(SIZE)
    body = tmp_path / "body"
    before = counted(agent, "tx_bytes")
    curl(topology.client1, family, user, f"/bytes/{SIZE}", "-o", body)
    assert hashlib.sha256(body.read_bytes()).hexdigest() == expected
    assert min(after - last for after, last in zip(counted(agent, "tx_bytes"), before)) > 0, "one CPU took all of it"

    before = counted(agent, "rx_bytes")
    stored = curl(topology.client1, family, user, "/upload", "--data-binary", f"@{body}")
    assert pod.uploaded(stored) == expected
    moved = [after - last for after, last in zip(counted(agent, "rx_bytes"), before)]
    assert min(moved) > 0, "one CPU took all of it"
    assert SIZE < sum(moved) < SIZE + 1000, "the body and its head, each byte once"


@pytest.mark.parametrize("load", ["--concurrency 50", "--keep-alive 20"], ids=["new-connections", "keep-alive"])
def test_2000_requests_on_two_cpus(topology, agent, load):
    before = agent.maps.counts()
    result = client(topology.client2, frontend_url(4), "--requests 2000", load)
    assert result["problems"] == []
    assert (result["errors"], result["wrong"]) == (0, 0)
    after = agent.maps.counts()
    for version, answers in result["versions"].items():
        assert after[version]["requests"] - before[version]["requests"] == answers
        assert after[version]["status"][2] - before[version]["status"][2] == answers
        assert after[version]["aborted"] == before[version]["aborted"]
