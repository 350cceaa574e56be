# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What every end-to-end test stands on: a topology for each module, a folder of manifests and a running agent for each test."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

from agent import ROOT, Agent, Folder  # noqa: E402
from fault import lossy  # noqa: E402
from peers import steering  # noqa: E402
from topology import Topology  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--build", default=os.environ.get("SHUNT_BUILD", str(ROOT / "build")), help="the build to test")


def pytest_configure():
    """SIGTERM ends a run as Ctrl-C does: fixtures clean up. (A runner of ours that dies sends it, too.)"""

    def stop(*_):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would end the clean-up of the first
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)


@pytest.fixture(scope="session")
def build(request):
    return Path(request.config.getoption("--build")).resolve()


@pytest.fixture(scope="session")
def shunt(build):
    return build / "shunt"


@pytest.fixture(scope="module")
def topology():
    with Topology() as made:
        yield made


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "manifests")


@pytest.fixture
def make_agent(topology, shunt, folder):
    """Makes agents that are gone, with their pins, after the test."""
    made = []

    def make(**options):
        agent = Agent(topology, shunt, options.pop("folder", folder), name=f"shunt{len(made)}", **options)
        agent.log_path.unlink(missing_ok=True)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        agent.close()


@pytest.fixture
def agent(make_agent):
    """An agent that steers by the sample's manifests."""
    return make_agent().start()


@pytest.fixture(scope="module")
def steered(topology, shunt, tmp_path_factory):
    """One agent for all tests of the module."""
    with steering(topology, shunt, tmp_path_factory.mktemp("steered")) as agent:
        yield agent


@pytest.fixture(params=[4, 6], ids=["ipv4", "ipv6"])
def family(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["offloads-on", "offloads-off"])
def offloads(request, topology):
    topology.offloads(request.param)
    yield request.param
    topology.offloads(True)


@pytest.fixture(params=[0, 0.01], ids=["no-loss", "1-percent-lost"])
def loss(request, topology, build):
    if not request.param:
        yield None
        return
    with lossy(topology, build / "tests" / "lib" / "fault.bpf.o", request.param) as losing:
        yield losing
        assert losing.dropped > 0, "the test lost no packet, so it has shown nothing"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test tells what shunt logged; with DEBUG set it also waits in a shell, before anything is torn down."""
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    topology = getattr(item, "funcargs", {}).get("topology")
    for log in sorted(topology.dir.glob("shunt*.log")) if topology and topology.dir.exists() else []:
        report.sections.append((f"log of shunt run ({log.name})", log.read_text()))
    if topology and os.environ.get("DEBUG"):
        with open("/dev/tty", "r+b", buffering=0) as terminal:
            terminal.write(f"\n{report.longreprtext}\n\nshell in {topology.node.name}; others: ip netns; files: {topology.dir}\n".encode())
            subprocess.run(topology.node.command(os.environ.get("SHELL", "/bin/bash")), stdin=terminal, stdout=terminal, stderr=terminal, check=False)
