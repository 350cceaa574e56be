# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A bad network on the links of a topology, by mangle.bpf.c: what a link does to packets is given in shares of them."""

import contextlib

from fault import Loss
from topology import run

FAULTS = ("lose", "delay", "repeat", "damage")  # enum mangle_slot of mangle.bpf.c
DONE, PARK = 4, 8
PARK_INDEX = 1000
PARK_RATE = ("rate", "50mbit", "burst", "3000", "limit", "16m")  # a packet of 1,500 bytes waits 0.2 ms, one of 64 KiB 10 ms, and queues add up


class Mangle(Loss):
    def __init__(self, pins):
        super().__init__(pins)
        self.map = pins / "mangle_slots"

    def done(self):
        """{fault: packets that met it}"""
        return {fault: self.read(DONE + i) for i, fault in enumerate(FAULTS)}


@contextlib.contextmanager
def mangled(topology, mangle_object, **shares):
    """Inside the block, these shares (lose=0.01: one in a hundred) of the packets of every link meet that fault, both ways. Yields the Mangle."""
    pins = topology.bpffs / "mangle"
    pins.mkdir()
    try:
        run("bpftool", "prog", "loadall", mangle_object, pins, "pinmaps", pins)
        mangle = Mangle(pins)
        mangle.write(PARK, PARK_INDEX)
        for fault, share in shares.items():
            mangle.write(FAULTS.index(fault), round(share * 1_000_000))
        for box in topology.boxes:
            attach(box, pins)
        yield mangle
    finally:
        for box in topology.boxes:
            detach(box)
        for pin in pins.iterdir():
            pin.unlink()
        pins.rmdir()


def attach(box, pins):
    box.run("ip", "link", "add", "park0", "index", PARK_INDEX, "type", "veth", "peer", "name", "park1")
    box.run("tc", "qdisc", "add", "dev", "park0", "root", "tbf", *PARK_RATE)
    for device, direction, program in (("eth0", "egress", "out"), ("eth0", "ingress", "in"), ("park1", "ingress", "again")):
        box.run("tc", "qdisc", "replace", "dev", device, "clsact")
        box.run("tc", "filter", "add", "dev", device, direction, "bpf", "direct-action", "object-pinned", pins / f"mangle_{program}")
    for device in ("park0", "park1"):
        box.run("ip", "link", "set", device, "up")
    for namespace, device in ((box, "eth0"), (box.topology.node, box.box)):
        namespace.run("ip", "link", "set", device, "xdpgeneric", "pinned", pins / "mangle_damage")


def detach(box):
    for namespace, device in ((box, "eth0"), (box.topology.node, box.box)):
        namespace.run("ip", "link", "set", device, "xdpgeneric", "off", check=False)
    box.run("tc", "qdisc", "del", "dev", "eth0", "clsact", check=False)
    box.run("ip", "link", "del", "park0", check=False)
