# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What a bystander at the client's interface sees: every packet with the kernel's time stamp, taken outside of shunt's programs.

A packet socket sees a packet that comes in before tc does, and one that goes out after it: exactly the client's view. From the packets of the frontend
come the latencies of its requests: first byte of the request to last byte of the response.
"""

import socket
import struct
import threading
from pathlib import Path

SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
ETH_P_ALL, PACKET_OUTGOING = 3, 4
PREQUEUE = Path("/proc/sys/net/core/netdev_tstamp_prequeue")
SNAP = 160  # Ethernet, IPv6 and TCP headers with room for options


class Packet:
    """The TCP/IP headers of one captured frame."""

    def __init__(self, time_ns, outgoing, frame):
        self.time_ns, self.outgoing = time_ns, outgoing
        kind, = struct.unpack_from("!H", frame, 12)
        if kind == 0x0800:
            length, = struct.unpack_from("!H", frame, 16)
            self.protocol, tcp = frame[23], 14 + (frame[14] & 15) * 4
            self.source, self.target = socket.inet_ntop(socket.AF_INET, frame[26:30]), socket.inet_ntop(socket.AF_INET, frame[30:34])
            end = 14 + length
        elif kind == 0x86DD:
            length, = struct.unpack_from("!H", frame, 18)
            self.protocol, tcp = frame[20], 54
            self.source, self.target = socket.inet_ntop(socket.AF_INET6, frame[22:38]), socket.inet_ntop(socket.AF_INET6, frame[38:54])
            end = 54 + length
        else:
            self.protocol = None
            return
        if self.protocol == socket.IPPROTO_TCP:
            self.sport, self.dport, self.seq, self.ack = struct.unpack_from("!HHII", frame, tcp)
            self.payload = end - tcp - (frame[tcp + 12] >> 4) * 4


class Coverage:
    """Which bytes of one direction of a connection have gone by."""

    def __init__(self, first):
        self.first, self.high, self.holes = first, 0, []

    def add(self, seq, length):
        """True: some of these bytes are new."""
        start = (seq - self.first) & 0xFFFFFFFF
        if start > 1 << 31:
            return False  # before the first byte that was seen
        end, new = start + length, start + length > self.high
        if start > self.high:
            self.holes.append((self.high, start))
        self.high = max(self.high, end)
        left = []
        for low, high in self.holes:
            if start < high and end > low:
                new = True
                left += [(a, b) for a, b in ((low, min(start, high)), (max(end, low), high)) if a < b]
            else:
                left.append((low, high))
        self.holes = left
        return new


class Capture:
    """Captures on one interface of a namespace inside a with block; `packets` is complete afterwards."""

    def __init__(self, namespace, interface):
        with namespace.entered():
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # no protocol: nothing arrives before bind
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self.socket.settimeout(0.2)
            self.socket.bind((interface, ETH_P_ALL))
        self.packets = []
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._receive, daemon=True)

    def _receive(self):
        while True:
            try:
                frame, ancillary, _, address = self.socket.recvmsg(SNAP, socket.CMSG_SPACE(16))
            except TimeoutError:
                if self.done.is_set():
                    return
                continue
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            self.packets.append(Packet(seconds * 1_000_000_000 + nanoseconds, address[2] == PACKET_OUTGOING, frame))

    def __enter__(self):
        # Stamp packets when the interface hands them to the stack, not when they enter the queue before it: on a busy CPU that is tens of microseconds
        # earlier, and no program can know. The setting is the machine's; it is put back.
        self.prequeue = PREQUEUE.read_text()
        PREQUEUE.write_text("0")
        self.thread.start()
        return self

    def __exit__(self, *_):
        PREQUEUE.write_text(self.prequeue)
        self.done.set()  # the thread ends after a silent moment, so what is queued is still read
        self.thread.join()
        _, self.dropped = struct.unpack("II", self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        self.socket.close()

    def tcp(self, address, port):
        """Packets of connections to address:port, both directions, in the order of their time stamps."""
        return sorted((p for p in self.packets if p.protocol == socket.IPPROTO_TCP
                       and ((p.target, p.dport) == (address, port) or (p.source, p.sport) == (address, port))), key=lambda p: p.time_ns)

    def latencies_ns(self, address, port):
        """One latency for each request to address:port. For connections whose client waits for an answer before it asks again.

        An answer ends when the last of its bytes goes by for the first time: a packet that a pod on a busy machine sends again, because the ACK is late,
        brings nothing new.
        """
        started, ended, latencies, seen = {}, {}, [], {}
        for packet in self.tcp(address, port):
            asks = packet.dport == port and packet.target == address
            client = packet.sport if asks else packet.dport
            if packet.payload == 0:
                continue
            if not asks:
                if seen.setdefault(client, Coverage(packet.seq)).add(packet.seq, packet.payload):
                    ended[client] = packet.time_ns
            elif client not in started or client in ended:
                if client in ended:
                    latencies.append(ended.pop(client) - started[client])
                started[client] = packet.time_ns
        return latencies + [end - started[client] for client, end in ended.items()]


def quantile(values, share):
    """The smallest value that at least `share` of the values do not exceed."""
    ordered = sorted(values)
    rank = max(-(-len(ordered) * share // 1), 1)
    return ordered[int(rank) - 1]
