# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Every user gets her version: on new connections, on connections that users share, in both families, attached either way."""

import pytest

from agent import client, frontend_url



def assert_flawless(result, requests):
    assert result["problems"] == []
    assert (result["errors"], result["wrong"]) == (0, 0)
    assert sum(result["versions"].values()) == result["requests"] == requests
    assert set(result["versions"]) == {"flowers-v1", "flowers-v2"}, "the run must have had users of both versions"


def test_2000_requests_on_new_connections_all_see_the_version_of_their_user(topology, agent, family):
    result = client(topology.client1, frontend_url(family), "--requests 2000")
    assert_flawless(result, 2000)
    assert result["connections"] == 2000
    assert result["users"].keys() == {"111", "101", "none"}


def test_the_server_may_close_first(topology, agent, family):
    assert_flawless(client(topology.client1, frontend_url(family), "--requests 500 --connection-close"), 500)


def test_20_keep_alive_connections_that_mix_users_see_the_right_version_each_request(topology, agent, family):
    result = client(topology.client1, frontend_url(family), "--requests 2000 --keep-alive 20")
    assert_flawless(result, 2000)
    assert result["connections"] == 20, "no connection was closed in between"


def test_requests_with_a_body_on_mixed_keep_alive_connections(topology, agent):
    body = "x" * 3000
    result = client(topology.client1, frontend_url(4, "/v1/models/flowers:predict"), "--requests 200 --keep-alive 10 --method POST --body", body)
    assert_flawless(result, 200)
    assert result["connections"] == 10


def test_clients_behind_every_attached_interface_are_steered(topology, agent):
    for box in topology.clients:
        assert_flawless(client(box, frontend_url(4), "--requests 200"), 200)


@pytest.mark.parametrize("attach", ["auto", "tcx", "clsact"])
def test_steering_works_attached_each_way(topology, make_agent, attach):
    agent = make_agent(arguments=("--attach", attach)).start()
    kinds = {a["interface"]: a["kind"] for a in agent.status()["attachments"]}
    assert kinds == dict.fromkeys(["client1", "client2"], "clsact" if attach == "clsact" else "tcx")
    for family in (4, 6):
        assert_flawless(client(topology.client1, frontend_url(family), "--requests 200"), 200)


def test_without_shunt_the_frontend_is_not_there(topology):
    """The other tests prove steering only because of this."""
    result = client(topology.client1, frontend_url(4), "--requests 3 --timeout 1")
    assert result["errors"] == 3


def test_unload_leaves_no_pin_and_no_program(topology, agent):
    agent.stop()
    assert client(topology.client1, frontend_url(4), "--requests 20")["errors"] == 0, "the packets need no agent"
    agent.command("unload")
    assert not agent.pins.exists() or not any(agent.pins.iterdir())
    for box in topology.clients:
        assert topology.node.run("tc", "filter", "show", "dev", box.box, "ingress").stdout == ""
        assert '"prog' not in topology.node.run("bpftool", "-j", "net", "show", "dev", box.box).stdout
    assert client(topology.client1, frontend_url(4), "--requests 1 --timeout 1")["errors"] == 1
