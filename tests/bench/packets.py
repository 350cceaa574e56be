# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Nanoseconds that one packet of an established connection costs in shunt's programs, each direction, against a program that does nothing.

A real keep-alive connection is opened through the frontend; one of its packets is caught on its way in and one on its way out, and the pinned programs
are run on them with BPF_PROG_TEST_RUN. Each run is a call of its own: a program translates the packet in place, so in a repetition inside the kernel
the second run would see another packet than the first. That makes caches colder than in a stream of packets: an upper bound.
"""

import ctypes
import http.client
import socket
import statistics

from oracle import ETH_P_ALL
from topology import FRONTEND, FRONTEND_PORT, run

CALLS, REPEATS = 2000, 5
SKB_IFINDEX = 40  # offset of ifindex in struct __sk_buff (uapi, fixed)
SKB_SIZE = 192


class TestRunOptions(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf 1.x"""

    _fields_ = [("sz", ctypes.c_size_t), ("data_in", ctypes.c_void_p), ("data_out", ctypes.c_void_p), ("data_size_in", ctypes.c_uint32),
                ("data_size_out", ctypes.c_uint32), ("ctx_in", ctypes.c_void_p), ("ctx_out", ctypes.c_void_p), ("ctx_size_in", ctypes.c_uint32),
                ("ctx_size_out", ctypes.c_uint32), ("retval", ctypes.c_uint32), ("repeat", ctypes.c_int), ("duration", ctypes.c_uint32),
                ("flags", ctypes.c_uint32), ("cpu", ctypes.c_uint32), ("batch_size", ctypes.c_uint32)]


class Program:
    def __init__(self, pin):
        self.libbpf = ctypes.CDLL("libbpf.so.1", use_errno=True)
        self.fd = self.libbpf.bpf_obj_get(str(pin).encode())
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), f"{pin}: cannot be opened")

    def run(self, frame, ifindex):
        """One run on a frame. Returns (the frame afterwards, nanoseconds)."""
        skb, after = bytearray(SKB_SIZE), ctypes.create_string_buffer(len(frame) + 256)
        skb[SKB_IFINDEX:SKB_IFINDEX + 4] = ifindex.to_bytes(4, "little")
        context = (ctypes.c_char * SKB_SIZE).from_buffer(skb)
        options = TestRunOptions(sz=ctypes.sizeof(TestRunOptions), data_in=ctypes.cast(frame, ctypes.c_void_p).value, data_size_in=len(frame),
                                 data_out=ctypes.addressof(after), data_size_out=len(after), ctx_in=ctypes.addressof(context), ctx_size_in=SKB_SIZE,
                                 repeat=1)
        if self.libbpf.bpf_prog_test_run_opts(self.fd, ctypes.byref(options)) != 0:
            raise OSError(ctypes.get_errno(), "BPF_PROG_TEST_RUN")
        return after.raw[:options.data_size_out], options.duration

    def medians(self, frame, ifindex):
        """Median nanoseconds of CALLS runs, REPEATS times."""
        return [statistics.median(self.run(frame, ifindex)[1] for _ in range(CALLS)) for _ in range(REPEATS)]


def catch(namespace, interface):
    """A packet socket at an interface of a namespace, for whole frames."""
    with namespace.entered():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind((interface, ETH_P_ALL))
        sock.settimeout(2)
    return sock


def frame_with(sock, needle):
    """The next captured frame that holds the bytes."""
    while True:
        frame = sock.recv(65535)
        if needle in frame:
            return frame


def measure(topology, agent, build):
    """Yields (direction, ns of shunt, ns of the empty program), five medians each."""
    empty_pin = topology.bpffs / "empty"
    run("bpftool", "prog", "load", build / "tests" / "lib" / "empty.bpf.o", empty_pin)
    empty = Program(empty_pin)
    with topology.node.entered():
        ifindex = socket.if_nametoindex(topology.client1.box)
    with topology.client1.entered():
        connection = http.client.HTTPConnection(FRONTEND[4], FRONTEND_PORT, timeout=5)
        connection.connect()

    def ask():
        connection.request("GET", "/", headers={"Host": "example.com", "userhash": "1111100000"})
        connection.getresponse().read()

    ask()  # the flow is established; what comes now is the ordinary case
    with catch(topology.node, topology.client1.box) as at_client, catch(topology.node, topology.baseline.box) as at_pod:
        ask()
        frames = {"client to pod": ("shunt_from_client", frame_with(at_client, b"userhash")),
                  "pod to client": ("shunt_to_client", frame_with(at_pod, b"flowers-v1\n"))}
    for direction, (name, frame) in frames.items():
        with topology.node.entered():
            program = Program(agent.pins / "prog" / name)
            if program.run(frame, ifindex)[0] == frame:
                raise RuntimeError(f"{name} left a packet of an established flow as it was: nothing to measure")
            ours = program.medians(frame, ifindex)
            nothing = empty.medians(frame, ifindex)
        yield direction, ours, nothing
    connection.close()
    empty_pin.unlink()
