# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""pytest plugin of tests/run: one line a test as it ends, written for a log file, and the whole story of what failed."""

import re
import sys

import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    """We report instead of pytest's own reporter (its options stay: assertions ask for them)."""
    config.pluginmanager.unregister(name="terminalreporter")


def sentence(nodeid):
    """tests/net/test_steer.py::test_every_user_stays[ipv6] -> steer: every user stays [ipv6]"""
    path, _, name = nodeid.partition("::")
    module = re.sub(r".*/test_(.*)\.py$", r"\1", path)
    name, bracket, parameters = name.partition("[")
    text = name.removeprefix("test_").replace("_", " ")
    return f"{module}: {text}" + (f" {bracket}{parameters}" if bracket else "")


def say(text):
    print(text, file=sys.stdout, flush=True)


def story(report):
    say(f"       {'-' * 100}")
    for line in report.longreprtext.splitlines():
        say(f"       {line}")
    for title, content in report.sections:
        say(f"       -- {title}")
        for line in content.splitlines():
            say(f"       {line}")
    say(f"       {'-' * 100}")


def pytest_runtest_logreport(report):
    if report.when == "call" or report.outcome != "passed":
        word = {"passed": "ok", "failed": "FAIL", "skipped": "skip"}[report.outcome]
        when = "" if report.when == "call" else f" ({report.when})"
        reason = f": {report.longrepr[2]}" if report.skipped and isinstance(report.longrepr, tuple) else ""
        say(f"  {word:4} {sentence(report.nodeid)}{when}{reason}, {report.duration:.1f} s")
    if report.failed:
        story(report)


def pytest_collectreport(report):
    if report.failed:
        say(f"  FAIL {report.nodeid} cannot be loaded")
        story(report)


def pytest_internalerror(excrepr):
    say(f"  FAIL pytest itself: {excrepr}")
