# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A small cluster node in network namespaces: what tests, demo and benchmark send their traffic through.

    client1 10.77.1.2 fd00:77:1::2 ─┐                                       ┌─ baseline  10.77.3.2:8080 fd00:77:3::2  nginx, flowers-v1
                                    ├─ node: forwards; shunt attaches here ─┤
    client2 10.77.2.2 fd00:77:2::2 ─┘   to client1 and client2              └─ candidate 10.77.4.2:8081 fd00:77:4::2  nginx, flowers-v2

Each box is a network namespace of its own, `shunt-<tag>-<box>`, so nothing of the machine's own network is touched, and two topologies live side by
side. The links in `node` are named after the box behind them; at the box's end every link is `eth0`. The frontend 10.96.0.10:80 / [fd00:96::10]:80
exists nowhere: without shunt a connection to it fails, so a request that is answered was steered.

Programs are run with nsenter, which changes the network alone: `ip netns exec` would also hide the bpffs in which shunt pins its maps.

Everything is undone by close(), whatever went wrong before: processes first, then namespaces (links die with them), then mounts and files.
"""

import contextlib
import ctypes
import hashlib
import http.client
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

FRONTEND = {4: "10.96.0.10", 6: "fd00:96::10"}
FRONTEND_PORT = 80


class TopologyError(Exception):
    pass


def run(*command, check=True, **options):
    """subprocess.run with captured text; a failure says the command and what it printed."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        raise TopologyError(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


def wait_for(condition, what, seconds=10.0):
    """Polls until condition() is true and returns its value. `what` completes "no ... within 10 s" and may be a function of no arguments."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TopologyError(f"no {what() if callable(what) else what} within {seconds:g} s")
        time.sleep(0.01)


def die_with_parent():
    """In a child: SIGKILL when the parent dies, so that not even a killed test run leaves servers behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def end_process(process, seconds=5.0):
    """Ends a process of Namespace.start() and all that it started."""

    def send(number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)

    if process.poll() is None:
        send(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    send(signal.SIGKILL)
    process.wait()


class Namespace:
    """A network namespace and the processes that were started in it."""

    def __init__(self, name):
        self.name = name
        self.processes = []
        run("ip", "netns", "add", name)
        self.sysctl(net__ipv6__conf__default__accept_dad=0)  # no second of duplicate address detection on every new link
        self.run("ip", "link", "set", "lo", "up")

    def command(self, *words):
        return ["nsenter", f"--net=/run/netns/{self.name}", "--", *[str(word) for word in words]]

    def run(self, *words, **options):
        return run(*self.command(*words), **options)

    def start(self, *words, **options):
        """Popen in a session of its own, so that a Ctrl-C reaches us alone and we end things in their order; close() ends the process."""
        process = subprocess.Popen(self.command(*words), stdin=options.pop("stdin", subprocess.DEVNULL), preexec_fn=die_with_parent,
                                   start_new_session=True, **options)
        self.processes.append(process)
        return process

    def sysctl(self, **settings):
        for key, value in settings.items():
            self.run("sysctl", "-q", "-w", f"{key.replace('__', '.')}={value}")

    def close(self):
        for process in self.processes:
            end_process(process)
        run("ip", "netns", "del", self.name, check=False)

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is in this namespace inside the block: sockets made there stay there."""
        libc = ctypes.CDLL(None, use_errno=True)

        def enter(path):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(fd, 0x40000000) != 0:  # CLONE_NEWNET
                    raise OSError(ctypes.get_errno(), f"setns {path}")
            finally:
                os.close(fd)

        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            enter(f"/run/netns/{self.name}")
            yield
        finally:
            enter(f"/proc/self/fd/{home}")
            os.close(home)


class Subnet:
    """10.77.<number>.0/24 and fd00:77:<number>::/64 at an interface of a namespace, which has .1 there."""

    BITS = {4: 24, 6: 64}

    def __init__(self, hub, number):
        self.hub, self.number = hub, number
        self.gateway = {4: self.address(4, 1), 6: self.address(6, 1)}

    def address(self, family, host):
        return f"10.77.{self.number}.{host}" if family == 4 else f"fd00:77:{self.number}::{host}"

    def prefix(self, family):
        return f"{self.address(family, 0)}/{self.BITS[family]}"

    def give(self, namespace, interface, host):
        for family, bits in self.BITS.items():
            namespace.run("ip", "address", "add", f"{self.address(family, host)}/{bits}", "dev", interface)


class Link(Subnet):
    """The subnet of one box, at its link's end in the hub."""

    def join(self, box):
        self.give(self.hub, box.box, 1)
        return 2


class Bridge(Subnet):
    """A subnet of several boxes, whose links' ends in the hub are ports of a bridge."""

    def __init__(self, hub, number, name="lan"):
        super().__init__(hub, number)
        self.name, self.boxes = name, 0
        hub.run("ip", "link", "add", name, "type", "bridge")
        hub.run("ip", "link", "set", name, "up")
        self.give(hub, name, 1)

    def join(self, box):
        self.hub.run("ip", "link", "set", box.box, "master", self.name)
        self.boxes += 1
        return 1 + self.boxes


class Box(Namespace):
    """A namespace with one link to a hub, the node if nothing else is said, in a subnet of its own (given by its number) or in one of several boxes."""

    def __init__(self, topology, name, subnet, hub=None):
        super().__init__(f"{topology.prefix}-{name}")
        self.topology = topology
        self.box = name  # also the name of the link in the hub
        self.subnet = subnet if isinstance(subnet, Subnet) else Link(hub or topology.node, subnet)
        self.hub = self.subnet.hub
        self.gateway = self.subnet.gateway
        self.hub.run("ip", "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        host = self.subnet.join(self)
        self.address = {family: self.subnet.address(family, host) for family in Subnet.BITS}
        self.subnet.give(self, "eth0", host)
        self.hub.run("ip", "link", "set", name, "up")
        self.run("ip", "link", "set", "eth0", "up")
        for family in (4, 6):
            self.run("ip", f"-{family}", "route", "add", "default", "via", self.gateway[family])

    def offloads(self, on):
        """Checksum and segmentation offloads at both ends of the link."""
        words = [word for name in ("tx", "rx", "tso", "gso", "gro") for word in (name, "on" if on else "off")]
        self.run("ethtool", "-K", "eth0", *words)
        self.hub.run("ethtool", "-K", self.box, *words)


NGINX_CONF = """\
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
daemon off;
user root;                # all its files are in our own temporary directory
worker_processes {workers};
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
events {{ worker_connections 4096; }}
http {{
	access_log off;
	default_type application/octet-stream;
	client_max_body_size 64m;
	client_body_temp_path {dir}/bodies;
	proxy_temp_path {dir}/proxy;
	fastcgi_temp_path {dir}/fastcgi;
	scgi_temp_path {dir}/scgi;
	uwsgi_temp_path {dir}/uwsgi;
	keepalive_requests 1000000;
	sendfile on;
	tcp_nopush on;

	server {{
		listen {port} backlog=4096;
		listen [::]:{port} backlog=4096;
		{says}

		# The model of the tutorial: answers after its version's latency. The echo module sleeps; the second location gives a Content-Length.
		location /v1/models/ {{ echo_read_request_body; echo_sleep {seconds:.3f}; echo_exec @predictions; }}
		location @predictions {{ return 200 '{{"version":"{version}","predictions":[1]}}\\n'; }}
		# /sleep/0.020: answers after that many seconds
		location ~ ^/sleep/(?<nap>[0-9.]+)$ {{ echo_sleep $nap; echo_exec @here; }}
		location @here {{ return 200 "{version}\\n"; }}
		# what the pod was asked; in the order of the lines with one name
		location = /heard {{ return 200 "$request\n$http_host\n$http_x_heard\n$http_x_gone\n"; }}
		location = /whoami {{ return 200 "$remote_addr $remote_port $server_addr $server_port\\n"; }}
		location = /empty {{ return 204; }}
		location = /chunked {{ echo_duplicate 3000 "{version}\n"; }}
		location = /fail {{ return 503 "{version}\\n"; }}
		location /bytes/ {{ root {dir}; }}
		# The body goes to a file and the answer is the file's name: what arrived can be compared byte by byte.
		location /upload {{
			client_body_in_file_only on;
			proxy_pass_request_body off;
			proxy_set_header Content-Length "";
			proxy_set_header X-File $request_body_file;
			proxy_pass http://unix:{dir}/inner.sock:/;
		}}
		location / {{ return 200 "{version}\\n"; }}
	}}
	server {{
		listen unix:{dir}/inner.sock;
		location / {{ return 200 "$http_x_file"; }}
	}}
}}
"""

class Nginx:
    """A real nginx that says its version in the body and, unless the topology's pods are silent, in a header. Mixed into what it runs in."""

    def serve(self, name, version, port, latency_ms=0):
        self.version, self.port = version, port
        self.dir = self.topology.dir / name
        (self.dir / "bytes").mkdir(parents=True)
        (self.dir / "nginx.conf").write_text(NGINX_CONF.format(dir=self.dir, version=version, port=port, seconds=latency_ms / 1000,
                                                               workers=self.topology.nginx_workers,
                                                               says="" if self.topology.silent_pods else f"add_header version {version} always;"))
        self.server = None
        self.start_server()

    def start_server(self):
        (self.dir / "inner.sock").unlink(missing_ok=True)  # a killed nginx leaves it
        with open(self.dir / "stderr.log", "ab") as log:
            self.server = self.start("nginx", "-p", self.dir, "-c", self.dir / "nginx.conf", "-e", self.dir / "error.log", stderr=log, stdout=log)
        wait_for(self.answers, lambda: f"nginx in {self.name}: {(self.dir / 'stderr.log').read_text()}")

    def answers(self):
        if self.server.poll() is not None:
            raise TopologyError(f"nginx in {self.name} ended with {self.server.returncode}: {(self.dir / 'stderr.log').read_text()}")
        with self.entered():
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
                connection.request("GET", "/")
                return connection.getresponse().read().decode().strip() == self.version
            except OSError:
                return False

    def file(self, size):
        """Makes /bytes/<size> of pseudo-random bytes; returns its SHA-256 in hex."""
        data = random.Random(size).randbytes(size)
        (self.dir / "bytes" / str(size)).write_bytes(data)
        return hashlib.sha256(data).hexdigest()

    def uploaded(self, name):
        """SHA-256 in hex of an uploaded body, by the file name that the upload answered."""
        path = Path(name)
        if path.parent != self.dir / "bodies":
            raise TopologyError(f"upload answered {name!r}, which is not a file of {self.name}")
        return hashlib.sha256(path.read_bytes()).hexdigest()


class Pod(Box, Nginx):
    """A box that serves."""

    def __init__(self, topology, name, subnet, version, port, latency_ms=0, hub=None):
        super().__init__(topology, name, subnet, hub)
        self.serve(name, version, port, latency_ms)


class HostNetworkPod(Nginx):
    """A server in the node's own namespace, with one of the node's addresses. close() ends it."""

    def __init__(self, topology, version, port):
        self.topology, self.name = topology, topology.node.name
        self.start, self.entered = topology.node.start, topology.node.entered
        self.address = topology.client1.gateway
        self.serve("hostnetwork", version, port)

    def close(self):
        end_process(self.server)
        self.topology.node.processes.remove(self.server)
        shutil.rmtree(self.dir)


class Outside:
    """
    What is beyond the node's uplink:

        node 10.77.8.1 ── uplink ── router 10.77.8.2 ─┬─ outside 10.77.9.2, a client
                                                      └─ other boxes, on the router: pods on another node

    The node routes their subnets to the router, and the router everything else to the node.
    """

    UPLINK = "uplink"

    def __init__(self, topology):
        self.topology = topology
        self.router = topology.add(Box, self.UPLINK, 8)
        self.router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.client = self.add(Box, "outside", 9)

    def add(self, kind, name, subnet, *arguments, **options):
        box = self.topology.add(kind, name, subnet, *arguments, hub=self.router, **options)
        for family in Subnet.BITS:
            self.topology.node.run("ip", f"-{family}", "route", "add", box.subnet.prefix(family), "via", self.router.address[family])
        return box


class Topology:
    """The whole drawing of the module's head. A context manager; close() may be called at any time, also twice."""

    def __init__(self, tag=None, latency_ms=(20, 10), nginx_workers=1, silent_pods=False):
        if os.geteuid() != 0:
            raise TopologyError("network namespaces need root; run the same command as root")
        self.prefix = f"shunt-{tag or os.getpid()}"
        self.nginx_workers, self.silent_pods = nginx_workers, silent_pods
        self.boxes, self.node = [], None
        self.dir = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.bpffs = self.dir / "bpf"
        self.mounted = False
        try:
            self._build(latency_ms)
        except BaseException:
            self.close()
            raise

    def _build(self, latency_ms):
        self.bpffs.mkdir()
        run("mount", "-t", "bpf", "shunt", self.bpffs)
        self.mounted = True
        self.node = Namespace(f"{self.prefix}-node")
        self.node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.client1 = self.add(Box, "client1", 1)
        self.client2 = self.add(Box, "client2", 2)
        self.baseline = self.add(Pod, "baseline", 3, "flowers-v1", 8080, latency_ms[0])
        self.candidate = self.add(Pod, "candidate", 4, "flowers-v2", 8081, latency_ms[1])
        self.clients = (self.client1, self.client2)
        self.pods = (self.baseline, self.candidate)

    def add(self, kind, name, *arguments, **options):
        box = kind(self, name, *arguments, **options)
        self.boxes.append(box)
        return box

    def offloads(self, on):
        for box in self.boxes:
            box.offloads(on)

    def close(self):
        """Undoes everything; goes on over errors, so that one leftover does not make others."""
        for namespace in [*self.boxes, self.node]:
            if namespace:
                namespace.close()
        self.boxes, self.node = [], None
        # a namespace whose box was never finished
        for name in os.listdir("/run/netns") if os.path.isdir("/run/netns") else []:
            if name.startswith(f"{self.prefix}-"):
                run("ip", "netns", "del", name, check=False)
        if self.mounted:
            run("umount", "-l", self.bpffs, check=False)
            self.mounted = False
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def free_port():
    """A TCP port that nobody on the loopback of the calling namespace listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
