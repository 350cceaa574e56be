# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Nothing on the interface but our frontends is touched."""

import http.client
import os
import socket
import threading

import pytest

from agent import client, frontend_url



@pytest.fixture
def untouched(agent):
    """After the test no counter of ours may have moved."""
    before = agent.maps.dump("shunt_reason"), agent.maps.counts()
    yield agent
    assert (agent.maps.dump("shunt_reason"), agent.maps.counts()) == before


def test_a_ping_passes(topology, untouched, family):
    for target in (topology.baseline.address[family], topology.client1.gateway[family], topology.client2.address[family]):
        topology.client1.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", target)


@pytest.mark.parametrize("size", [8, 1400, 20_000], ids=["small", "full", "fragmented"])
def test_a_ping_of_every_size_passes(topology, untouched, family, size):
    topology.client1.run("ping", "-n", "-c", "2", "-i", "0.05", "-W", "2", "-s", size, topology.candidate.address[family])


def test_a_direct_connection_to_a_pod_keeps_its_addresses_and_ports(topology, untouched, family):
    pod = topology.candidate
    for _ in range(20):
        with topology.client1.entered():
            connection = http.client.HTTPConnection(pod.address[family], pod.port, timeout=5)
            connection.connect()
            port = connection.sock.getsockname()[1]
        connection.request("GET", "/whoami", headers={"userhash": "1111100000", "Host": "example.com"})
        response = connection.getresponse()
        seen = response.read().decode().split()
        connection.close()
        assert seen == [topology.client1.address[family], str(port), pod.address[family], str(pod.port)]
        assert response.getheader("version") == "flowers-v2", "no header of a user moves a direct connection"


@pytest.mark.parametrize("port", [80, 5353])
def test_a_udp_flow_passes_byte_for_byte(topology, untouched, family, port):
    """UDP also on the frontend's port number, towards an address that is not the frontend's."""
    kind = socket.AF_INET if family == 4 else socket.AF_INET6
    with topology.candidate.entered():
        server = socket.socket(kind, socket.SOCK_DGRAM)
    with topology.client1.entered():
        sender = socket.socket(kind, socket.SOCK_DGRAM)
    with server, sender:
        server.bind((topology.candidate.address[family], port))
        server.settimeout(5)
        sender.settimeout(5)
        sender.connect((topology.candidate.address[family], port))

        def echo():
            for _ in range(50):
                data, source = server.recvfrom(65535)
                server.sendto(data, source)

        thread = threading.Thread(target=echo, daemon=True)
        thread.start()
        for i in range(50):
            data = os.urandom(1 + i * 28)
            sender.send(data)
            assert sender.recv(65535) == data
        thread.join(5)


def test_other_ports_of_the_frontends_address_are_not_ours(topology, untouched):
    with topology.client1.entered(), socket.socket() as probe:
        probe.settimeout(2)
        with pytest.raises(OSError):
            probe.connect(("10.96.0.10", 81))


def test_a_direct_connection_and_a_steered_one_may_share_their_client_port(topology, agent):
    """One tuple, two connections: both must work, whichever comes first."""
    pod = topology.candidate

    def ask(connection):
        connection.request("GET", "/", headers={"Host": "example.com", "userhash": "1010101010"})
        response = connection.getresponse()
        response.read()
        return response.getheader("version")

    def connect(address, port, source):
        with topology.client1.entered():
            return http.client.HTTPConnection(address, port, timeout=5, source_address=("10.77.1.2", source))

    for source in range(40001, 40021):
        steered, direct = connect("10.96.0.10", 80, source), connect(pod.address[4], pod.port, source)
        first, second = (steered, direct) if source % 2 else (direct, steered)
        with topology.client1.entered():
            first.sock = reusable(first)
            second.sock = reusable(second)
        for _ in range(3):
            assert [ask(first), ask(second)] == ["flowers-v2", "flowers-v2"]
        first.close()
        second.close()
    assert client(topology.client1, frontend_url(4), "--requests 100")["errors"] == 0


def reusable(connection):
    """A connected socket whose local port another one may use, too, to another address."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(5)
    sock.bind(connection.source_address)
    sock.connect((connection.host, connection.port))
    return sock
