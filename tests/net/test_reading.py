# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Readings are true: counts equal the client's, latencies equal what a bystander at the client's interface saw."""

import socket
import struct

import pytest

from agent import client, frontend_url
from oracle import Capture, quantile
from topology import FRONTEND, FRONTEND_PORT, end_process, wait_for


def bucket(ns):
    """Index of the log-linear bucket, as include/shunt/histogram.h defines it: units of 1024 ns, 16 buckets in every power of two."""
    units = ns >> 10
    if units < 16:
        return units
    group = units.bit_length() - 4
    return group * 16 + (units >> (group - 1)) - 16


def hist_quantile(slots, share):
    """Index of the bucket that holds the quantile."""
    rank = max(-(-sum(slots) * share // 1), 1)
    for index, count in enumerate(slots):
        rank -= count
        if rank <= 0:
            return index
    raise ValueError("an empty histogram has no quantile")


def slots_of(agent, version):
    """The histogram of whole responses of a version, over all CPUs (index: series * 2 + SHUNT_LATENCY_TOTAL)."""
    series = next(index for index, (_, name) in agent.maps.series().items() if name == version)
    row = next(row for row in agent.maps.dump("shunt_hist") if row["key"] == series * 2)
    return [sum(column) for column in zip(*(cpu["value"]["slot"] for cpu in row["values"]))]


# The path, and what of the client's connections: new ones, or shared by all users.
LOADS = [
    ("/", "--requests 1000"),
    ("/sleep/0.004", "--requests 600 --keep-alive 6"),
    ("/sleep/0.020", "--requests 400 --concurrency 4"),
    ("/bytes/200000", "--requests 300 --keep-alive 3"),
]


# Between the bystander's stamp and the program's clock lies what the kernel does between them, on a busy machine also an interrupt: less than 2 %, and less
# than a bucket, of all latencies above half a millisecond.
STAMP_NS = 10_000
SHORT_NS = 1_000_000  # what takes longer is held to the 2 % alone


@pytest.mark.parametrize("path, load", LOADS, ids=[f"{path[1:].replace('/', '-') or 'root'}" for path, _ in LOADS])
@pytest.mark.parametrize("user, version", [("111", "flowers-v1"), ("101", "flowers-v2")])
def test_counts_and_latencies_equal_the_bystanders(topology, agent, family, path, load, user, version):
    arguments = [load, f"--groups {user}"]
    if path.startswith("/bytes/"):
        for pod in topology.pods:
            pod.file(200_000)
        arguments.append("--any-body")
    with Capture(topology.node, "client1") as capture:
        result = client(topology.client1, frontend_url(family, path), *arguments)
    assert result["problems"] == [] and result["errors"] == result["wrong"] == 0
    assert capture.dropped == 0, "the bystander missed packets: it proves nothing"
    seen = capture.latencies_ns(FRONTEND[family], FRONTEND_PORT)
    assert len(seen) == result["requests"], "the bystander saw every request"

    numbers = agent.maps.counts()[version]
    assert numbers["requests"] == result["requests"]
    assert numbers["latency_count"] == result["requests"]
    assert numbers["status"] == [0, 0, result["requests"], 0, 0, 0]
    assert numbers["errors"] == numbers["aborted"] == 0
    other = next(numbers for name, numbers in agent.maps.counts().items() if name != version)
    assert other["requests"] == 0

    mean, seen_mean = numbers["latency_sum_ns"] / numbers["latency_count"], sum(seen) / len(seen)
    assert abs(mean - seen_mean) <= 0.02 * seen_mean + (STAMP_NS if seen_mean < SHORT_NS else 0)
    for share in (0.5, 0.95):
        # A few requests between whose two clocks the machine did something else change places: the quantile is that of two in a hundred more or less.
        low, high = quantile(seen, share - 0.02), quantile(seen, share + 0.02)
        assert bucket(low - STAMP_NS) - 1 <= hist_quantile(slots_of(agent, version), share) <= bucket(high) + 1


def test_answers_are_counted_by_status_class_and_server_errors_as_errors(topology, agent):
    client(topology.client1, frontend_url(4, "/fail"), "--requests 30 --status 503 --groups 101")
    client(topology.client1, frontend_url(4, "/"), "--requests 70 --groups 101")
    numbers = agent.maps.counts()["flowers-v2"]
    assert numbers["status"] == [0, 0, 70, 0, 0, 30]
    assert (numbers["requests"], numbers["errors"]) == (100, 30)


def test_a_connection_that_the_client_resets_before_its_answer_is_an_error(topology, agent, family):
    for i in range(5):
        with topology.client1.entered():
            sock = socket.create_connection((FRONTEND[family], FRONTEND_PORT), timeout=5)
        sock.sendall(b"GET /sleep/30 HTTP/1.1\r\nHost: example.com\r\nuserhash: 1010101010\r\n\r\n")
        wait_for(lambda n=i: agent.maps.requests().get("flowers-v2", 0) == n + 1, "request at its pod")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset
        sock.close()
    numbers = wait_for(lambda: (n := agent.maps.counts()["flowers-v2"])["aborted"] == 5 and n, lambda: f"5 aborted requests: {agent.maps.counts()}")
    assert (numbers["requests"], numbers["errors"], numbers["latency_count"]) == (5, 5, 0)


def test_an_answer_that_its_pod_breaks_off_is_an_error(topology, agent):
    """The pod's server is killed in the middle of answers."""
    with topology.client1.entered():
        sock = socket.create_connection((FRONTEND[4], FRONTEND_PORT), timeout=5)
    sock.sendall(b"GET /sleep/30 HTTP/1.1\r\nHost: example.com\r\nuserhash: 1010101010\r\n\r\n")
    wait_for(lambda: agent.maps.requests().get("flowers-v2", 0) == 1, "request at its pod")
    end_process(topology.candidate.server, 0)
    try:
        assert sock.recv(1000) == b""
    except ConnectionResetError:
        pass
    finally:
        sock.close()
        topology.candidate.start_server()
    numbers = wait_for(lambda: (n := agent.maps.counts()["flowers-v2"])["aborted"] == 1 and n, lambda: f"1 aborted request: {agent.maps.counts()}")
    assert (numbers["requests"], numbers["errors"], numbers["latency_count"]) == (1, 1, 0)


def test_payload_bytes_are_counted_once_in_each_direction(topology, agent, tmp_path):
    topology.candidate.file(100_000)
    body = tmp_path / "body"
    body.write_bytes(bytes(50_000))
    curl = ["curl", "-sS", "--fail", "-o", "/dev/null", "-w", "%{size_request} %{size_header} %{size_download}", "-H", "Host: example.com",
            "-H", "userhash: 1010101010", "-H", "Expect:"]
    longer = len("flowers-predictor-default.ns-candidate") - len("example.com")  # the Host that pods of this version hear
    sums = [0, 0]
    for arguments in (["/bytes/100000"], ["/upload", "--data-binary", f"@{body}"]):
        request, header, download = map(int, topology.client1.run(*curl, *arguments[1:], frontend_url(4, arguments[0])).stdout.split())
        sums = [sums[0] + request + longer, sums[1] + header + download]
    numbers = agent.maps.counts()["flowers-v2"]
    assert [numbers["rx_bytes"], numbers["tx_bytes"]] == sums
