# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Pods that fail before they have had a byte: another takes the request, and its client does not notice. Pods that end in peace keep what they have."""

import json
import socket
import struct

import pytest

import peers
from agent import client, frontend_url
from peers import connect
from topology import FRONTEND, FRONTEND_PORT, Box, Pod, Topology, wait_for

USERS = {"flowers-v1": "1111100000", "flowers-v2": "1010101010"}
NAMESPACE = {"flowers-v1": "ns-baseline", "flowers-v2": "ns-candidate"}
LOGGED = peers.NGINX.replace("access_log off;", "log_format line '$request'; access_log {dir}/access.log line;").replace(
    "location / {{ return 404; }}", "location / {{ return 200 \"{version}\\n\"; }}")

REFUSES, UNREACHABLE, SILENT = 20, 21, 22  # subnets of pods that are down, and how


def down(subnet, count=3):
    return [{4: f"10.77.{subnet}.{host}", 6: f"fd00:77:{subnet}::{host}"} for host in range(2, 2 + count)]


@pytest.fixture
def folder(folder):
    """Nothing changes but what the test changes."""
    (folder.path / "experiment.yaml").unlink()
    return folder


@pytest.fixture(scope="module")
def topology():
    with Topology() as made:
        made.other = made.add(Pod, "other", 23, "flowers-v1", 8080)
        for pod in (*made.pods, made.other):
            peers.serve(pod, "logged", logged)
        nobody = made.add(Box, "nobody", REFUSES)
        for address in down(REFUSES)[1:]:
            nobody.run("ip", "address", "add", f"{address[4]}/24", "dev", "eth0")
            nobody.run("ip", "address", "add", f"{address[6]}/64", "dev", "eth0")
        for subnet, kind in ((UNREACHABLE, "unreachable"), (SILENT, "blackhole")):
            made.node.run("ip", "-4", "route", "add", kind, f"10.77.{subnet}.0/24")
            made.node.run("ip", "-6", "route", "add", kind, f"fd00:77:{subnet}::/64")
        made.node.sysctl(net__ipv6__icmp__ratelimit=0)
        yield made


def logged(pod, directory, **words):
    (directory / "nginx.conf").write_text(LOGGED.format(**words))
    return ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "error.log"]


def received(pod):
    """Requests that a pod has had."""
    return (pod.dir / "logged" / "access.log").read_text().count("\n")


def set_pods(folder, version, *pods, **conditions):
    """The EndpointSlices of a version say these pods, by their addresses of both families."""

    def change(document):
        if document["metadata"]["namespace"] == NAMESPACE[version]:
            document["endpoints"] = [{"addresses": [pod[int(document["addressType"][-1])]], **({"conditions": dict(conditions)} if conditions else {})}
                                     for pod in pods]

    folder.edit("EndpointSlice", change)


def ask(connection, version):
    connection.request("GET", "/", headers={"Host": "example.com", "userhash": USERS[version]})


def answer(connection):
    return connection.getresponse().read().decode().strip()


def told(agent):
    """Reasons of the events since the last time."""
    return {json.loads(line)["reason"] for line in agent.command("events", "--json").stdout.splitlines()}


@pytest.mark.parametrize("subnet, reason", [(REFUSES, "LEG_REFUSED"), (UNREACHABLE, "LEG_REFUSED"), (SILENT, "LEG_SILENT")],
                         ids=["refuse", "are-unreachable", "are-silent"])
def test_of_four_pods_three_are_down_and_the_fourth_gets_each_request_once(topology, folder, make_agent, family, subnet, reason):
    set_pods(folder, "flowers-v1", topology.baseline.address, *down(subnet))
    set_pods(folder, "flowers-v2", *down(subnet), topology.candidate.address)
    agent = make_agent(arguments=["--pod-deadline", 50]).start()
    before = {pod: received(pod) for pod in topology.pods}
    result = client(topology.client1, frontend_url(family), "--requests 150")
    kept = client(topology.client1, frontend_url(family), "--requests 150 --keep-alive 5")
    assert result["problems"] == kept["problems"] == []
    for pod in topology.pods:
        answered = result["versions"][pod.version] + kept["versions"][pod.version]
        wait_for(lambda: received(pod) - before[pod] == answered, lambda: f"{answered} requests in the log of {pod.name}, which has {received(pod) - before[pod]}")
    assert agent.reason(reason) > 0 and agent.reason("POD_NEXT") >= agent.reason(reason)
    assert {reason, "POD_NEXT"} <= told(agent)
    assert (agent.reason("FALLBACK"), agent.reason("POD_NONE"), agent.reason("NO_POD")) == (0, 0, 0)
    assert sum(agent.maps.requests().values()) == 300


@pytest.mark.parametrize("subnet, reason", [(REFUSES, "LEG_REFUSED"), (SILENT, "LEG_SILENT")], ids=["refuse", "are-silent"])
def test_when_all_pods_of_a_version_are_down_the_default_version_serves(topology, folder, make_agent, family, subnet, reason):
    set_pods(folder, "flowers-v2", *down(subnet))
    agent = make_agent(arguments=["--pod-deadline", 50]).start()
    before = received(topology.baseline)
    with connect(topology.client1, family) as connection:
        ask(connection, "flowers-v2")
        assert answer(connection) == "flowers-v1"
        assert agent.reason("FALLBACK") == 1 and agent.reason(reason) >= 3
        assert {reason, "POD_NEXT", "FALLBACK"} <= told(agent)
    wait_for(lambda: received(topology.baseline) == before + 1, "the request in the log of the default version's pod")
    assert agent.maps.counts()["flowers-v2"]["errors"] == 1  # it is the version's fault


@pytest.mark.parametrize("pods, reason", [(down(REFUSES, 1), "POD_NONE"), (down(SILENT, 1), "POD_NONE"), ([], "NO_POD")],
                         ids=["refuse", "are-silent", "are-not-there"])
def test_when_no_version_has_a_pod_that_serves_the_client_is_reset(topology, folder, make_agent, family, pods, reason):
    for version in USERS:
        set_pods(folder, version, *pods)
    agent = make_agent(arguments=["--pod-deadline", 50]).start()
    with connect(topology.client1, family) as connection:
        ask(connection, "flowers-v2")
        with pytest.raises(ConnectionResetError):
            answer(connection)
    assert agent.reason(reason) == 1 and reason in told(agent)
    assert agent.maps.flows() == 0


def retransmissions(connection):
    return struct.unpack_from("I", connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]  # tcpi_total_retrans


def test_the_deadline_of_a_silent_pod_is_the_options(topology, folder, make_agent, family):
    set_pods(folder, "flowers-v1", *down(SILENT))
    agent = make_agent(arguments=["--pod-deadline", 60_000]).start()
    assert agent.maps.meta()["pod_deadline_ms"] == 60_000
    with connect(topology.client1, family) as connection:
        ask(connection, "flowers-v1")
        wait_for(lambda: retransmissions(connection) >= 2, "client that sends again")  # 0.6 s after the first: three of the default's deadlines
        assert (agent.reason("LEG_OPEN"), agent.reason("LEG_SILENT")) == (1, 0)
        agent.stop()
        set_pods(folder, "flowers-v1", *down(SILENT), topology.baseline.address)
        agent.arguments = ["--pod-deadline", 50]
        agent.start()
        assert answer(connection) == "flowers-v1"
        assert agent.maps.meta()["pod_deadline_ms"] == 50
        assert agent.reason("LEG_SILENT") > 0


def test_the_default_deadline_is_200_ms(agent):
    assert agent.maps.meta()["pod_deadline_ms"] == 0  # SHUNT_POD_DEADLINE_MS
    assert "200 when absent" in agent.topology.node.run(agent.binary, "run", "--help").stdout


def pod_of(agent, version, family):
    explained = agent.json("explain", "--frontend", f"{FRONTEND[family] if family == 4 else FRONTEND[family].join('[]')}:{FRONTEND_PORT}",
                           "--header", f"userhash={USERS[version]}")
    return (explained["served_by"] or explained["version"]).partition(",")[0], explained["pod"].rpartition(":")[0].strip("[]")


def test_a_pod_that_terminates_keeps_its_connections_and_gets_no_new_ones(topology, folder, make_agent, family):
    old, new = topology.baseline, topology.other
    before = received(old), received(new)
    set_pods(folder, "flowers-v1", old.address)
    agent = make_agent().start()
    with connect(topology.client1, family) as kept:
        ask(kept, "flowers-v1")
        assert answer(kept) == "flowers-v1"

        def terminate(document):
            if document["metadata"]["namespace"] == "ns-baseline":
                document["endpoints"][0]["conditions"] = {"ready": False, "serving": True, "terminating": True}
                document["endpoints"].append({"addresses": [new.address[int(document["addressType"][-1])]]})

        folder.edit("EndpointSlice", terminate)
        wait_for(lambda: pod_of(agent, "flowers-v1", family) == ("flowers-v1", new.address[family]), "plan with the other pod")
        for _ in range(5):
            ask(kept, "flowers-v1")
            assert answer(kept) == "flowers-v1"
        result = client(topology.client2, frontend_url(family), "--requests 20 --groups 111")
        assert result["problems"] == []
        wait_for(lambda: (received(old), received(new)) == (before[0] + 6, before[1] + 20), "six requests at the old pod, twenty at the new")

        # The last pod goes, too: whoever comes now is served by nobody, who is there is served on.
        set_pods(folder, "flowers-v1", old.address, new.address, ready=False, serving=True, terminating=True)
        wait_for(lambda: not next(v for v in agent.status()["versions"] if v["version"] == "flowers-v1")["pods"], "plan without a pod of the version")
        for _ in range(2):
            ask(kept, "flowers-v1")
            assert answer(kept) == "flowers-v1"
        with connect(topology.client1, family) as newcomer, pytest.raises(ConnectionResetError):
            ask(newcomer, "flowers-v1")
            answer(newcomer)


def test_when_all_pods_of_a_version_terminate_new_connections_get_the_default_version(topology, folder, make_agent, family):
    agent = make_agent().start()
    with connect(topology.client1, family) as kept:
        ask(kept, "flowers-v2")
        assert answer(kept) == "flowers-v2"
        set_pods(folder, "flowers-v2", topology.candidate.address, ready=False, serving=True, terminating=True)
        wait_for(lambda: pod_of(agent, "flowers-v2", family)[0] == "flowers-v1", "plan without a pod of the version")
        ask(kept, "flowers-v2")
        assert answer(kept) == "flowers-v1"
    assert agent.reason("FALLBACK") > 0
