# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""shunt events, and that every reason it can give has a test that provokes it."""

import json
import re
from pathlib import Path

from peers import USERS, curl, serve
from topology import FRONTEND, FRONTEND_PORT

ROOT = Path(__file__).resolve().parents[2]
UNPROVOKED = {"LEG_NO_WAY"}  # a pod on another node that this node has no route to


def test_events_tell_flow_route_version_and_reason_and_are_read_once(topology, steered):
    for pod in topology.pods:
        serve(pod, "nginx")
    steered.command("events")
    user = "1010101010"
    curl(topology.client1, 4, user, f"/{USERS[user]}/bytes/1")
    lines = [json.loads(line) for line in steered.command("events", "--json").stdout.splitlines()]
    (bound,) = (line for line in lines if line["reason"] == "BIND")
    assert bound["frontend"] == f"{FRONTEND[4]}:{FRONTEND_PORT}" and bound["client"].rpartition(":")[0] == topology.client1.address[4]
    assert (bound["route"], bound["version"]) == ("default/routing-rule", USERS[user])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", bound["time"])
    assert steered.command("events").stdout == ""


def test_every_reason_has_a_test_that_provokes_it():
    names = re.findall(r"^\tX\(([A-Z_]+), (?:note|told|odd),", (ROOT / "include/shunt/abi.h").read_text(), re.M)
    tests = "".join(path.read_text() for folder in ("bpf", "net", "unit") for path in (ROOT / "tests" / folder).rglob("*") if path.suffix in (".c", ".py"))
    unprovoked = {name for name in names if not re.search(rf"SHUNT_R_{name}\b|reason\(\"{name}\"|\"{name}\"", tests.replace('UNPROVOKED = {"LEG_NO_WAY"}', ""))}
    assert len(names) > 50 and unprovoked == UNPROVOKED
