# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""shunt events. That each reason which is one comes as one when it happens is a test of every binary in tests/bpf."""

import json
import re

from peers import USERS, curl, serve
from topology import FRONTEND, FRONTEND_PORT


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
