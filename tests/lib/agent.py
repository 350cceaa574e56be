# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""shunt itself, as a person would use it: `shunt run` on a folder in a topology's node, the other commands, and the pinned maps through bpftool."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from topology import FRONTEND, FRONTEND_PORT, TopologyError, run, wait_for

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "deploy" / "samples" / "session-affinity"
CLIENT = ROOT / "tests" / "lib" / "client.py"
NEWRELIC = ROOT / "tests" / "lib" / "newrelic.py"

# What the tutorial's VirtualService promises: users of group 101 see flowers-v2, everybody else flowers-v1.
TUTORIAL = ("101=flowers-v2", "=flowers-v1")


# The daemon's line when it has attached and committed.
STEERING = re.compile(r"info: steering \d+ frontends on [1-9]\d* interfaces")


def frontend_url(family, path="/"):
    host = FRONTEND[family] if family == 4 else f"[{FRONTEND[family]}]"
    return f"http://{host}:{FRONTEND_PORT}{path}"


def quantity(text):
    """A Kubernetes quantity as shunt writes it."""
    factor = {"m": 1e-3, "u": 1e-6, "n": 1e-9, "k": 1e3}.get(text[-1])
    return float(text[:-1]) * factor if factor else float(text)


class Folder:
    """A folder of manifests: a copy of the sample, changed by the test."""

    def __init__(self, path, sample=SAMPLE):
        self.path = Path(path)
        self.path.mkdir(parents=True)
        for file in sample.glob("*.yaml"):
            shutil.copy(file, self.path)

    def write(self, name, text):
        """Replaces a file at once, as an editor or kubectl would."""
        new = self.path / f".{name}.new"
        new.write_text(text)
        new.replace(self.path / name)

    def documents(self):
        """(file, documents) of every manifest."""
        return [(file, list(yaml.safe_load_all(file.read_text()))) for file in sorted(self.path.glob("*.yaml"))]

    def edit(self, kind, change, name=None):
        """Calls change(document) on every object of a kind (and name) and writes the files that held one. Returns how many there were."""
        found = 0
        for file, documents in self.documents():
            chosen = [d for d in documents if d and d.get("kind") == kind and name in (None, d["metadata"]["name"])]
            for document in chosen:
                change(document)
            if chosen:
                self.write(file.name, yaml.safe_dump_all(documents, sort_keys=False))
            found += len(chosen)
        if not found:
            raise KeyError(f"no {kind} {name or ''} in {self.path}")
        return found

    def divide(self, baseline, candidate):
        """The tutorial's route by weights alone, without a rule; the header still says who a user is."""
        def change(manifest):
            entries = manifest["spec"]["http"]
            of_candidate, of_baseline = entries[0]["route"][0], entries[1]["route"][0]
            manifest["spec"]["http"] = [{"route": [dict(of_baseline, weight=baseline), dict(of_candidate, weight=candidate)]}]
            manifest["metadata"].setdefault("annotations", {})["shunt.dev/identity"] = "header:userhash"

        self.edit("VirtualService", change)

    def status(self, name):
        """The status that shunt writes beside an experiment's manifest; None before the first."""
        for file in self.path.glob(f"*{name}*status*.yaml"):
            return yaml.safe_load(file.read_text())["status"]
        return None

    def get(self, kind, name=None):
        for _, documents in self.documents():
            for document in documents:
                if document and document.get("kind") == kind and name in (None, document["metadata"]["name"]):
                    return document
        return None


def file_of(folder, kind):
    """The manifest that holds the object of a kind."""
    return next(file for file, documents in folder.documents() if any(d and d.get("kind") == kind for d in documents))


class Maps:
    """The pinned maps, by plain bpftool."""

    def __init__(self, pins):
        self.pins = Path(pins)

    def dump(self, name):
        rows = json.loads(run("bpftool", "-j", "map", "dump", "pinned", self.pins / name).stdout)
        return [row.get("formatted", row) for row in rows]

    def meta(self):
        return self.dump("shunt_meta")[0]["value"]

    def series(self):
        """{index: (route, version)} of the names in use."""
        names = {row["key"]: (text(row["value"]["route"]), text(row["value"]["version"])) for row in self.dump("shunt_series")}
        return {index: name for index, name in names.items() if name[1]}

    def counts(self):
        """{version: {field: sum over CPUs}}"""
        rows = {row["key"]: row["values"] for row in self.dump("shunt_count")}
        return {version: add_up([cpu["value"] for cpu in rows[index]]) for index, (_, version) in self.series().items()}

    def requests(self):
        return {version: numbers["requests"] for version, numbers in self.counts().items()}

    def flows(self):
        return len(self.dump("shunt_flow"))


def text(value):
    """A char array as bpftool prints it: a string, or a list of characters."""
    if isinstance(value, str):
        return value.split("\0")[0]
    return "".join(chr(c) if isinstance(c, int) else c for c in value).split("\0")[0]


def add_up(values):
    if isinstance(values[0], list):
        return [sum(column) for column in zip(*values)]
    return {field: add_up([v[field] for v in values]) if isinstance(values[0][field], list) else sum(v[field] for v in values) for field in values[0]}


class Agent:
    """`shunt run` in the node of a topology. stop() leaves the pins, as a person's Ctrl-C would; close() leaves nothing."""

    def __init__(self, topology, binary, folder, name="shunt", interfaces="client*", arguments=()):
        self.topology, self.binary, self.folder = topology, Path(binary), folder
        self.pins = topology.bpffs / name
        self.run_dir = topology.dir / f"{name}-run"
        self.log_path = topology.dir / f"{name}.log"
        self.interfaces, self.arguments = interfaces, arguments
        self.process = None
        self.maps = Maps(self.pins)

    @property
    def common(self):
        return ["--pin-dir", self.pins, "--run-dir", self.run_dir]

    @property
    def log(self):
        return self.log_path.read_text() if self.log_path.exists() else ""

    def command(self, verb, *arguments, **options):
        """Any other command of the binary, in the node."""
        return self.topology.node.run(self.binary, verb, *self.common, *arguments, **options)

    def json(self, verb, *arguments):
        return json.loads(self.command(verb, "--json", *arguments).stdout)

    def status(self):
        """`shunt status` without rates, which take a second."""
        return self.json("status", "--interval", "0")

    def reason(self, name):
        """How often a counter of `shunt status` has counted."""
        return next(reason["count"] for reason in self.status()["reasons"] if reason["name"] == name)

    def start(self, **options):
        """Starts the daemon and waits until it says that it steers."""
        lines_before = self.log.count("\n")
        self.start_unready(**options)

        def steers():
            if self.process.poll() is not None:
                raise RuntimeError(f"shunt run ended with {self.process.returncode}:\n{self.log}")
            return any(STEERING.search(line) for line in self.log.splitlines()[lines_before:])

        wait_for(steers, lambda: f"line 'steering N frontends' in the log of shunt run:\n{self.log}", 20)
        return self

    def start_unready(self, **options):
        self.run_dir.mkdir(exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = self.topology.node.start(self.binary, "run", self.folder.path, "--interface", self.interfaces, *self.common,
                                                    *self.arguments, stdout=log, stderr=log, **options)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends the daemon as a person would; it must go in peace, also by the word of the sanitizers it may be built with."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            if self.process.wait(20) != 0:
                raise RuntimeError(f"shunt run ended with {self.process.returncode} on SIGTERM:\n{self.log}")

    def close(self):
        try:
            self.stop()
        finally:
            if self.pins.exists():
                self.command("unload", check=False)
            for box in self.topology.clients:  # what an unload that went wrong leaves
                self.topology.node.run("tc", "qdisc", "del", "dev", box.box, "clsact", check=False)
            shutil.rmtree(self.pins, ignore_errors=True)

    def wait_log(self, needle, seconds=10):
        wait_for(lambda: needle in self.log, lambda: f"{needle!r} in the log of shunt run:\n{self.log}", seconds)

    def wait_served(self, user, version, seconds=10):
        """Waits until the live tables send a user to a pod of a version. (A generation would not do: an experiment that begins makes one, too.)"""
        port = next(pod.port for pod in self.topology.pods if pod.version == version)
        wait_for(lambda: self.json("explain", "--header", f"userhash={user}")["pod"].endswith(f":{port}"),
                 lambda: f"{version} for {user} in:\n{self.log}", seconds)


def client(box, url, *arguments, expect=TUTORIAL, **options):
    """Runs client.py in a box and returns what it printed."""
    words = client_words(url, *arguments, expect=expect)
    return json.loads(box.run(*words, **options).stdout)


def client_words(url, *arguments, expect=TUTORIAL):
    return [sys.executable, CLIENT, url, "--expect", *expect, *[word for argument in arguments for word in str(argument).split()]]


def start_newrelic(node, port=0, **sessions):
    """Starts the endpoint of Metric user-engagement in a namespace, with flowers_v1=10 for a session of 10 s; returns its URL."""
    words = [f"{version.replace('_', '-')}={seconds}" for version, seconds in sessions.items()]
    process = node.start(sys.executable, NEWRELIC, port, *words, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    if not line.startswith("listening on "):
        raise TopologyError(f"{NEWRELIC.name} did not start; it said {line!r}")
    return line.removeprefix("listening on ").strip()
