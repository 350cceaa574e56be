# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""`make demo` holds what it promises: the proof, under a minute, and nothing left behind, also when it is interrupted."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agent import SAMPLE
from topology import wait_for

SECONDS = 60


def leftovers(pid):
    """What of the demo with this process id is still on the machine."""
    name = f"shunt-demo-{pid}"
    namespaces = [n for n in os.listdir("/run/netns") if n.startswith(name)] if Path("/run/netns").is_dir() else []
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if name in line]
    files = [str(path) for path in Path("/tmp").glob(f"{name}*")]
    processes = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if name in (process / "cmdline").read_text() or int((process / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                processes.append((process / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return namespaces + mounts + files + processes


def start(shunt, output):
    return subprocess.Popen([SAMPLE / "demo", shunt], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def test_the_demo_proves_itself_in_under_a_minute_and_leaves_nothing(shunt, tmp_path):
    with open(tmp_path / "output", "wb") as output:
        began = time.monotonic()
        demo = start(shunt, output)
        status = demo.wait(SECONDS + 20)
    text = (tmp_path / "output").read_text()
    assert status == 0, text
    assert time.monotonic() - began < SECONDS
    assert text.count("✓") == 5, text
    assert leftovers(demo.pid) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
@pytest.mark.parametrize("moment", ["example.com (shunt)", "iteration 2 of 10"], ids=["at-start", "in-the-middle"])
def test_an_interrupted_demo_leaves_nothing(shunt, tmp_path, number, moment):
    output = tmp_path / "output"
    with open(output, "wb") as file:
        demo = start(shunt, file)
        wait_for(lambda: moment in output.read_text() or demo.poll() is not None, lambda: f"{moment!r} in:\n{output.read_text()}", 30)
        os.killpg(demo.pid, number)  # as a terminal does
        status = demo.wait(20)
    assert status == 128 + number
    assert leftovers(demo.pid) == []
