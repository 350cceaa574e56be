# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A CNI that delivers with bpf_redirect_peer, by redirect_peer.bpf.c, between boxes of a topology's node."""

import contextlib
import ipaddress
import json
import struct

from topology import run


def link(namespace, name):
    return json.loads(namespace.run("ip", "-j", "link", "show", "dev", name).stdout)[0]


def mac(info):
    return bytes.fromhex(info["address"].replace(":", ""))


class RedirectPeer:
    def __init__(self, pins):
        self.pins = pins

    def know(self, box):
        host, own = link(box.hub, box.box), link(box, "eth0")
        value = struct.pack("<I", host["ifindex"]) + mac(own) + mac(host)
        for address in box.address.values():
            ip = ipaddress.ip_address(address)
            key = ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed
            run("bpftool", "map", "update", "pinned", self.pins / "peers", "key", *key, "value", *value)

    @property
    def packets(self):
        """How many took the short way."""
        value = json.loads(run("bpftool", "-j", "map", "lookup", "pinned", self.pins / "peered", "key", 0, 0, 0, 0).stdout)
        return value["formatted"]["value"]


@contextlib.contextmanager
def redirecting(topology, build, boxes):
    """Inside the block packets between these boxes bypass the node's stack. Yields the RedirectPeer."""
    pins = topology.bpffs / "redirect_peer"
    pins.mkdir()
    try:
        run("bpftool", "prog", "load", build / "tests" / "lib" / "redirect_peer.bpf.o", pins / "redirect_peer", "pinmaps", pins)
        cni = RedirectPeer(pins)
        for box in boxes:
            cni.know(box)
            box.hub.run("tc", "qdisc", "replace", "dev", box.box, "clsact")
            box.hub.run("tc", "filter", "add", "dev", box.box, "ingress", "bpf", "direct-action", "object-pinned", pins / "redirect_peer")
        yield cni
    finally:
        for box in boxes:
            box.hub.run("tc", "qdisc", "del", "dev", box.box, "clsact", check=False)
        for pin in pins.iterdir():
            pin.unlink()
        pins.rmdir()
