#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A flood of TCP packets from addresses and ports that nobody has, out of eth0 of the namespace it runs in; ends after COUNT of them.

    flood.py syn|ack COUNT ADDRESS PORT MAC

Sources are drawn from 198.18.0.0/15 (RFC 2544) or 2001:db8::/32 (RFC 3849), numbers from all there are. Each packet is one that a receiver would take:
lengths and checksums are right. MAC is the next hop's.
"""

import random
import socket
import struct
import sys

ETH_TYPE = {4: 0x0800, 6: 0x86DD}
FLAGS = {"syn": 0x02, "ack": 0x10}
NETWORK = {4: (0xC6120000, 17), 6: (0x20010DB8 << 96, 96)}  # prefix, bits to draw


def words_sum(data):
    return sum(struct.unpack(f"!{len(data) // 2}H", data))


def folded(total):
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def frames(family, flags, address, port, mac, own_mac, rng):
    """An endless flood."""
    prefix, bits = NETWORK[family]
    size = 4 if family == 4 else 16
    daddr = socket.inet_pton(socket.AF_INET if family == 4 else socket.AF_INET6, address)
    ethernet = mac + own_mac + struct.pack("!H", ETH_TYPE[family])
    before = struct.pack("!BBHHHBB", 0x45, 0, 40, 0, 0x4000, 64, 6) if family == 4 else struct.pack("!IHBB", 6 << 28, 20, 6, 64)
    ports_and_pseudo = words_sum(daddr) + 6 + 20 + port + (0x5000 | flags) + 0xFFFF
    tcp = struct.Struct("!HHIIBBHHH")
    while True:
        saddr = (prefix | rng.getrandbits(bits)).to_bytes(size, "big")
        sport, seq, ack = rng.randrange(1024, 65536), rng.getrandbits(32), rng.getrandbits(32) if flags == FLAGS["ack"] else 0
        numbers = sport + (seq >> 16) + (seq & 0xFFFF) + (ack >> 16) + (ack & 0xFFFF)
        segment = tcp.pack(sport, port, seq, ack, 0x50, flags, 0xFFFF, folded(ports_and_pseudo + words_sum(saddr) + numbers), 0)
        check = struct.pack("!H", folded(words_sum(before) + words_sum(saddr) + words_sum(daddr))) if family == 4 else b""
        yield ethernet + before + check + saddr + daddr + segment


def main(kind, count, address, port, mac):
    family = 6 if ":" in address else 4
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("eth0", 0))
        flood = frames(family, FLAGS[kind], address, int(port), bytes.fromhex(mac.replace(":", "")), out.getsockname()[4], random.Random(f"{kind}{family}"))
        for _, frame in zip(range(int(count)), flood):
            out.send(frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
