# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Paths of every kind between clients and pods: other MTUs, a smaller one that only ICMP tells of, routers, packets of more than 64 KiB, a VLAN."""

import contextlib
import hashlib
import socket
import struct
import threading

import pytest

from agent import client, frontend_url
from oracle import ETH_P_ALL
from peers import USERS, curl
from topology import Namespace, run, wait_for

SIZE_DOWN, SIZE_UP = 10_000_000, 5_000_000

# IFLA_*: Debian's ip knows two of them.
BIG_TCP = {"gso_max_size": 41, "gro_max_size": 58, "gso_ipv4_max_size": 63, "gro_ipv4_max_size": 64}
BIG, USUAL = 180_000, 65_536


def pod_of(topology, user):
    return next(pod for pod in topology.pods if pod.version == USERS[user])


def bodies_arrive_whole(topology, family, directory, arguments=()):
    """A large answer and a large request of each user."""
    for user in USERS:
        pod = pod_of(topology, user)
        expected = pod.file(SIZE_DOWN)
        down, up = directory / "down", directory / "up"
        curl(topology.client1, family, user, f"/bytes/{SIZE_DOWN}", "-o", down, *arguments)
        assert hashlib.sha256(down.read_bytes()).hexdigest() == expected
        up.write_bytes(down.read_bytes()[:SIZE_UP])
        stored = curl(topology.client1, family, user, "/upload", "--data-binary", f"@{up}", *arguments)
        assert pod.uploaded(stored) == hashlib.sha256(up.read_bytes()).hexdigest()


def set_mtu(box, outer, inner):
    """Of a box's link: at the node's end, which decides what is sent to the box, and at the box's."""
    box.topology.node.run("ip", "link", "set", box.box, "mtu", outer)
    box.run("ip", "link", "set", "eth0", "mtu", inner)


def forget_paths(topology):
    """What the ends have learned of their paths; else one test would pass by what another found out."""
    for box in topology.boxes:
        for family in (4, 6):
            box.run("ip", f"-{family}", "route", "flush", "cache")
            box.run("ip", f"-{family}", "tcp_metrics", "flush", check=False)


@contextlib.contextmanager
def mtus(topology, clients, pods):
    """(node's end, box's end) of the clients' and the pods' links."""
    try:
        for boxes, (outer, inner) in ((topology.clients, clients), (topology.pods, pods)):
            for box in boxes:
                set_mtu(box, outer, inner)
        forget_paths(topology)
        yield
    finally:
        for box in topology.boxes:
            set_mtu(box, 1500, 1500)
        forget_paths(topology)


# The last two: an end offers segments that its path does not take; ICMP alone tells.
@pytest.mark.parametrize("clients, pods", [((9000, 9000), (9000, 9000)), ((9000, 9000), (1500, 1500)), ((1500, 1500), (9000, 9000)),
                                           ((1500, 1500), (1400, 1400)), ((1500, 1500), (1300, 1500)), ((1300, 1500), (1500, 1500))],
                         ids=["jumbo", "jumbo-clients", "jumbo-pods", "tunnelled-pods", "narrow-before-pods", "narrow-before-clients"])
def test_bodies_arrive_whole_whatever_the_mtus(topology, steered, family, clients, pods, tmp_path):
    with mtus(topology, clients, pods):
        bodies_arrive_whole(topology, family, tmp_path)


@contextlib.contextmanager
def routed(topology, box, mtu):
    """Inside the block a router is between the node and a box, and its link to the box takes packets of `mtu` bytes, of which the box knows nothing."""
    node, name, number = topology.node, box.box, box.gateway[4].split(".")[2]
    router = Namespace(f"{topology.prefix}-router")
    try:
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        node.run("ip", "link", "set", name, "netns", router.name)
        node.run("ip", "link", "add", name, "type", "veth", "peer", "name", "uplink", "netns", router.name)
        for namespace, device, last in ((node, name, 1), (router, "uplink", 2)):
            namespace.run("ip", "address", "add", f"10.78.{number}.{last}/24", "dev", device)
            namespace.run("ip", "address", "add", f"fd00:78:{number}::{last}/64", "dev", device)
            namespace.run("ip", "link", "set", device, "up")
        router.run("ip", "link", "set", name, "up", "mtu", mtu)
        for family, bits, net in ((4, 24, f"10.77.{number}.0"), (6, 64, f"fd00:77:{number}::")):
            router.run("ip", "address", "add", f"{box.gateway[family]}/{bits}", "dev", name)
            up = f"10.78.{number}." if family == 4 else f"fd00:78:{number}::"
            node.run("ip", f"-{family}", "route", "add", f"{net}/{bits}", "via", f"{up}2")
            router.run("ip", f"-{family}", "route", "add", "default", "via", f"{up}1")
        forget_paths(topology)
        yield
    finally:
        node.run("ip", "link", "del", name, check=False)
        router.run("ip", "link", "set", name, "netns", node.name, check=False)
        router.close()
        for family, bits in ((4, 24), (6, 64)):
            node.run("ip", "address", "add", f"{box.gateway[family]}/{bits}", "dev", name, check=False)
        node.run("ip", "link", "set", name, "up", "mtu", 1500)
        forget_paths(topology)


@pytest.mark.parametrize("mtu", [1500, 1300])
def test_a_pod_behind_a_router_gets_and_gives_whole_bodies(topology, steered, family, mtu, tmp_path):
    with routed(topology, topology.baseline, mtu):
        bodies_arrive_whole(topology, family, tmp_path)


@pytest.mark.parametrize("mtu", [1500, 1300])
def test_a_client_behind_a_router_gets_and_gives_whole_bodies(topology, steered, family, mtu, tmp_path):
    """The router's "too big" is about packets of the frontend; the pod must understand it."""
    attached = steered.log.count("attached client1")

    def again():
        return steered.log.count("attached client1") > attached

    with routed(topology, topology.client1, mtu):
        wait_for(again, "attachment to the router's link")
        bodies_arrive_whole(topology, family, tmp_path)
        attached += 1
    wait_for(again, "attachment to the client's own link")


def set_big(namespace, device, size):
    with namespace.entered(), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        body = struct.pack("BxHiII", 0, 0, socket.if_nametoindex(device), 0, 0)
        body += b"".join(struct.pack("HHI", 8, attribute, size) for attribute in BIG_TCP.values())
        netlink.send(struct.pack("IHHII", 16 + len(body), 16, 5, 1, 0) + body)  # RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK
        error = struct.unpack_from("i", netlink.recv(4096), 16)[0]
    assert error == 0, f"the kernel refuses packets of {size} bytes on {device}: {error}"


@contextlib.contextmanager
def big_tcp(topology):
    ends = [end for box in topology.boxes for end in ((box, "eth0"), (topology.node, box.box))]
    try:
        for namespace, device in ends:
            set_big(namespace, device, BIG)
        for box in topology.boxes:
            box.sysctl(net__ipv4__tcp_wmem="4096 4000000 16000000", net__ipv4__tcp_rmem="4096 4000000 16000000")
        yield
    finally:
        for namespace, device in ends:
            set_big(namespace, device, USUAL)


class Longest(threading.Thread):
    """The longest packet at an interface of the node."""

    def __init__(self, topology, interface):
        super().__init__(daemon=True)
        self.length = 0
        with topology.node.entered():
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.sock.bind((interface, ETH_P_ALL))
        self.buffer = bytearray(64)
        self.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                self.length = max(self.length, self.sock.recv_into(self.buffer, 64, socket.MSG_TRUNC))


def test_packets_of_more_than_64_kib_are_steered(topology, steered, family, tmp_path):
    with mtus(topology, (9000, 9000), (9000, 9000)), big_tcp(topology):
        longest = Longest(topology, topology.client1.box)
        bodies_arrive_whole(topology, family, tmp_path)
        assert longest.length > USUAL, "no such packet was sent: nothing is shown"


@contextlib.contextmanager
def tagged(topology, box, vlan_object):
    """Inside the block all packets on the box's link are in a VLAN; see vlan.bpf.c. shunt's programs in the node run before those that untag."""
    pins = topology.bpffs / "vlan"
    pins.mkdir()
    ends = ((box, "eth0", "vlan_untag"), (topology.node, box.box, "vlan_untag_node"))
    try:
        run("bpftool", "prog", "loadall", vlan_object, pins)
        for namespace, device, untag in ends:
            namespace.run("tc", "qdisc", "add", "dev", device, "clsact")
            for direction, program in (("ingress", untag), ("egress", "vlan_tag")):
                namespace.run("tc", "filter", "add", "dev", device, direction, "bpf", "direct-action", "object-pinned", pins / program)
        yield
    finally:
        for namespace, device, _ in ends:
            namespace.run("tc", "qdisc", "del", "dev", device, "clsact", check=False)
        for pin in pins.iterdir():
            pin.unlink()
        pins.rmdir()


def test_clients_in_a_vlan_are_steered_at_the_link_that_carries_it(topology, steered, build, family, tmp_path):
    with tagged(topology, topology.client1, build / "tests" / "lib" / "vlan.bpf.o"):
        bodies_arrive_whole(topology, family, tmp_path)
        result = client(topology.client1, frontend_url(family), "--requests 200 --keep-alive 10")
        assert (result["errors"], result["wrong"], result["problems"]) == (0, 0, [])
