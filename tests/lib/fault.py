# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Packet loss on the links of a topology, by fault.bpf.c: both directions of every box's link, at the box's end, so behind shunt on either side."""

import contextlib
import json
import struct

from topology import run

SLOT_PER_MILLION, SLOT_SEEN, SLOT_DROPPED = range(3)  # enum fault_slot of fault.bpf.c


class Loss:
    def __init__(self, pins):
        self.map = pins / "fault_slots"

    def read(self, slot):
        words = json.loads(run("bpftool", "-j", "map", "lookup", "pinned", self.map, "key", *struct.pack("<I", slot)).stdout)["value"]
        return int.from_bytes(bytes(int(word, 16) for word in words), "little") if isinstance(words, list) else words

    def write(self, slot, value):
        run("bpftool", "map", "update", "pinned", self.map, "key", *struct.pack("<I", slot), "value", *struct.pack("<Q", value))

    @property
    def seen(self):
        return self.read(SLOT_SEEN)

    @property
    def dropped(self):
        return self.read(SLOT_DROPPED)


@contextlib.contextmanager
def lossy(topology, fault_object, share):
    """Inside the block, `share` (0.01: one in a hundred) of the packets of every link is dropped, in both directions. Yields the Loss."""
    pins = topology.bpffs / "fault"
    pins.mkdir()
    try:
        run("bpftool", "prog", "load", fault_object, pins / "fault_drop", "pinmaps", pins)
        loss = Loss(pins)
        loss.write(SLOT_PER_MILLION, round(share * 1_000_000))
        for box in topology.boxes:
            box.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
            for direction in ("ingress", "egress"):
                box.run("tc", "filter", "add", "dev", "eth0", direction, "bpf", "direct-action", "object-pinned", pins / "fault_drop")
        yield loss
    finally:
        for box in topology.boxes:
            box.run("tc", "qdisc", "del", "dev", "eth0", "clsact", check=False)
        for pin in pins.iterdir():
            pin.unlink()
        pins.rmdir()
