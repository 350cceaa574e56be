# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Every place a client can be: behind a bridge, past a CNI's short cut, outside, on the node itself, in a pod of the Service; pods here and elsewhere."""

import contextlib
import hashlib
import http.client
import json
import socket
import threading

import pytest

from agent import Agent, client, frontend_url
from mangle import mangled
from redirect_peer import redirecting
from topology import Box, Bridge, HostNetworkPod, Outside, Pod, Topology, wait_for

USERS = {"1111100000": "flowers-v1", "1010101010": "flowers-v2"}
OWN = {4: "169.254.115.104", 6: "fd73:6875:6e74::1"}  # SHUNT_OWN_V4, SHUNT_OWN_V6 of abi.h
CONNECTION = {4: "10.96.0.20", 6: "fd00:96::20"}
SIZE = 3_000_000

CONNECTION_ROUTE = """\
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata:
  name: connections
  annotations:
    shunt.dev/frontend: 10.96.0.20:80,[fd00:96::20]:80
spec:
  hosts: ["*"]
  tcp:
  - route:
    - destination: {host: flowers-predictor-default.ns-baseline.svc.cluster.local}
      weight: 50
    - destination: {host: flowers-predictor-default.ns-candidate.svc.cluster.local}
      weight: 50
"""


def set_pods(folder, **versions):
    """The EndpointSlices say these: baseline=[(pod, name of its node or None), ...]."""

    def change(document):
        pods = versions[document["metadata"]["namespace"].removeprefix("ns-")]
        family = int(document["addressType"][-1])
        document["endpoints"] = [{"addresses": [pod.address[family]], **({"nodeName": node} if node else {})} for pod, node in pods]

    folder.edit("EndpointSlice", change)


def assert_flawless(result, versions=("flowers-v1", "flowers-v2")):
    assert result["problems"] == []
    assert (result["errors"], result["wrong"]) == (0, 0)
    assert set(result["versions"]) == set(versions)


def assert_steered(box, family):
    """Requests of mixed users, on connections of their own and on shared ones."""
    assert_flawless(client(box, frontend_url(family), "--requests 200 --timeout 3"))
    assert_flawless(client(box, frontend_url(family), "--requests 200 --keep-alive 10 --timeout 3"))


def url(family, path, frontends=None):
    address = (frontends or {4: "10.96.0.10", 6: "fd00:96::10"})[family]
    return f"http://{address if family == 4 else f'[{address}]'}:80{path}"


def curl(box, address, *words, user=None):
    users = ["-H", f"userhash: {user}"] if user else []
    return box.run("curl", "-sS", "--fail", "--max-time", 30, "-H", "Host: example.com", *users, *words, address).stdout


def seen_address(box, family, user, frontends=None):
    """The client's address as the pod sees it."""
    return curl(box, url(family, "/whoami", frontends), user=user).split()[0]


def assert_bytes_arrive(box, family, user, pod, tmp_path, frontends=None):
    """Much in both directions."""
    down, up = tmp_path / "down", tmp_path / "up"
    expected = pod.file(SIZE)
    curl(box, url(family, f"/bytes/{SIZE}", frontends), "-o", down, user=user)
    assert hashlib.sha256(down.read_bytes()).hexdigest() == expected
    up.write_bytes(down.read_bytes())
    stored = curl(box, url(family, "/upload", frontends), "--data-binary", f"@{up}", user=user)
    assert pod.uploaded(stored) == expected


def purposes(agent):
    return {row["interface"]: row["purpose"] for row in agent.status()["attachments"]}


# ---- pods and clients on one bridge

@pytest.fixture(scope="module")
def bridged():
    with Topology(tag="bridge") as made:
        made.node.run("sh", "-c", "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do [ ! -e $f ] || echo 0 >$f; done")
        bridge = Bridge(made.node, 20)
        made.bridged_client = made.add(Box, "bclient", bridge)
        made.bridged_baseline = made.add(Pod, "bbaseline", bridge, "flowers-v1", 8080)
        made.bridged_candidate = made.add(Pod, "bcandidate", bridge, "flowers-v2", 8081)
        yield made


BRIDGED = {
    "pods-on-the-same-bridge": ("bridged_client", "bridged_baseline", "bridged_candidate"),
    "pods-elsewhere-on-the-node": ("bridged_client", "baseline", "candidate"),
    "one-pod-on-the-bridge": ("bridged_client", "bridged_baseline", "candidate"),
    "clients-elsewhere-on-the-node": ("client1", "bridged_baseline", "bridged_candidate"),
}


class TestBridge:
    @pytest.fixture
    def topology(self, bridged):
        return bridged

    @pytest.mark.parametrize("names", BRIDGED.values(), ids=BRIDGED)
    def test_a_reply_that_is_switched_still_comes_by_the_clients_port(self, topology, folder, make_agent, names, tmp_path):
        box, baseline, candidate = (getattr(topology, name) for name in names)
        set_pods(folder, baseline=[(baseline, None)], candidate=[(candidate, None)])
        make_agent(interfaces="client*,b*").start()
        for family in (4, 6):
            assert_steered(box, family)
            for user, pod in zip(USERS, (baseline, candidate)):
                assert seen_address(box, family, user) == box.address[family]
                assert_bytes_arrive(box, family, user, pod, tmp_path)

    def test_of_a_bridge_and_its_ports_the_ports_are_attached(self, topology, folder, make_agent, family):
        set_pods(folder, baseline=[(topology.bridged_baseline, None)], candidate=[(topology.candidate, None)])
        agent = make_agent(interfaces="lan,client*,b*").start()
        assert set(purposes(agent)) == {"client1", "client2", "bclient", "bbaseline", "bcandidate", "baseline"}
        (note,) = (row for row in agent.status()["problems"] if row["where"] == "lan")
        assert note["message"].startswith("not attached: the same packets pass its port b")
        assert agent.log.count("lan: not attached") == 1
        assert_steered(topology.bridged_client, family)
        assert agent.reason("MET_AGAIN") == agent.reason("DIRECT_MOVED") == 0

    def test_a_bridge_is_let_go_when_its_ports_are_to_be_attached(self, topology, folder, make_agent):
        """By a new start with other patterns; and when its first port comes, and again when that is gone."""
        node = topology.node
        set_pods(folder, baseline=[(topology.baseline, None)], candidate=[(topology.candidate, None)])
        agent = make_agent(interfaces="lan").start()
        assert set(purposes(agent)) == {"lan"}
        assert_steered(topology.bridged_client, 4)
        agent.stop()
        agent.interfaces = "lan,late*"
        agent.start()
        node.run("ip", "link", "add", "late0", "type", "veth", "peer", "name", "elsewhere")
        node.run("ip", "link", "set", "late0", "master", "lan")
        try:
            wait_for(lambda: set(purposes(agent)) == {"late0"}, lambda: f"late0 alone: {purposes(agent)}\n{agent.log}")
        finally:
            node.run("ip", "link", "del", "late0")
        wait_for(lambda: set(purposes(agent)) == {"lan"}, lambda: f"lan again: {purposes(agent)}\n{agent.log}")
        assert not any(row["where"] == "lan" for row in agent.status()["problems"])

    def test_an_uplink_over_attached_ports_still_steers(self, topology, folder, make_agent, family):
        """A person asked for it by name: it stays, and the packets that are met twice are known."""
        set_pods(folder, baseline=[(topology.bridged_baseline, None)], candidate=[(topology.candidate, None)])
        agent = make_agent(interfaces="client*,b*", arguments=["--uplink", "lan"]).start()
        assert "lan" in purposes(agent)
        assert_steered(topology.bridged_client, family)
        assert agent.reason("MET_AGAIN") > 0 and agent.reason("DIRECT_MOVED") == 0

    def test_a_refused_request_finds_another_pod_on_the_bridge(self, topology, folder, make_agent, family):
        """The next pod's SYN is sent from the egress side, into a bridge."""
        nobody = topology.client2  # an address at which nobody listens
        set_pods(folder, baseline=[(topology.bridged_baseline, None), (nobody, None)], candidate=[(topology.bridged_candidate, None)])
        agent = make_agent(interfaces="client*,b*").start()
        assert_flawless(client(topology.bridged_client, frontend_url(family), "--requests 200 --timeout 3"))
        assert agent.reason("LEG_REFUSED") > 0


# ---- clients outside, pods here and on another node

@pytest.fixture(scope="module")
def wide():
    """A topology with an outside: a client there, and a pod of each version on another node."""
    with Topology(tag="wide") as made:
        made.outside = Outside(made)
        made.far_baseline = made.outside.add(Pod, "farbaseline", 10, "flowers-v1", 8080)
        made.far_candidate = made.outside.add(Pod, "farcandidate", 11, "flowers-v2", 8081)
        yield made


NODE = {4: "10.77.8.1", 6: "fd00:77:8::1"}  # the node's addresses at its uplink
ARGUMENTS = ("--uplink", Outside.UPLINK, "--node-name", "here")


class TestOutside:
    @pytest.fixture
    def topology(self, wide):
        return wide

    @pytest.fixture
    def pods_elsewhere(self, topology, folder):
        set_pods(folder, baseline=[(topology.far_baseline, "there")], candidate=[(topology.far_candidate, "there")])

    def test_a_client_outside_reaches_pods_here_with_its_own_address(self, topology, folder, make_agent, family, tmp_path):
        set_pods(folder, baseline=[(topology.baseline, "here")], candidate=[(topology.candidate, None)])
        agent = make_agent(arguments=ARGUMENTS).start()
        assert_steered(topology.outside.client, family)
        for user, pod in zip(USERS, topology.pods):
            assert seen_address(topology.outside.client, family, user) == topology.outside.client.address[family]
            assert_bytes_arrive(topology.outside.client, family, user, pod, tmp_path)
        assert agent.reason("LEG_NODE") == 0, "only what needs it pays"

    def test_pods_on_another_node_answer_a_client_outside_through_this_node(self, topology, pods_elsewhere, make_agent, family, tmp_path):
        agent = make_agent(arguments=ARGUMENTS).start()
        assert_steered(topology.outside.client, family)
        for user, pod in zip(USERS, (topology.far_baseline, topology.far_candidate)):
            assert seen_address(topology.outside.client, family, user) == NODE[family]
            assert_bytes_arrive(topology.outside.client, family, user, pod, tmp_path)
        assert agent.reason("LEG_NODE") > 0

    def test_pods_on_another_node_see_the_address_of_a_client_in_a_pod_here(self, topology, pods_elsewhere, make_agent, family, tmp_path):
        agent = make_agent(arguments=ARGUMENTS).start()
        assert_steered(topology.client1, family)
        for user, pod in zip(USERS, (topology.far_baseline, topology.far_candidate)):
            assert seen_address(topology.client1, family, user) == topology.client1.address[family]
            assert_bytes_arrive(topology.client1, family, user, pod, tmp_path)
        assert agent.reason("LEG_NODE") == 0

    def test_one_connection_has_legs_to_pods_here_and_on_another_node(self, topology, folder, make_agent, family):
        set_pods(folder, baseline=[(topology.baseline, "here")], candidate=[(topology.far_candidate, "there")])
        make_agent(arguments=ARGUMENTS).start()
        result = client(topology.outside.client, frontend_url(family), "--requests 300 --keep-alive 3 --timeout 3")
        assert_flawless(result)
        assert result["connections"] == 3

    def test_a_pod_here_that_refuses_is_replaced_by_one_on_another_node_and_the_other_way_round(self, topology, folder, make_agent, family):
        nobody_here, nobody_there = topology.client2, topology.outside.client
        set_pods(folder, baseline=[(topology.far_baseline, "there"), (nobody_here, "here")],
                 candidate=[(topology.candidate, "here"), (nobody_there, "there")])
        agent = make_agent(arguments=ARGUMENTS).start()
        for box in (topology.outside.client, topology.client1):
            refused = agent.reason("LEG_REFUSED")
            assert_flawless(client(box, frontend_url(family), "--requests 300 --timeout 3"))
            assert agent.reason("LEG_REFUSED") > refused

    def test_with_the_local_policy_a_client_outside_gets_pods_of_this_node_only(self, topology, folder, make_agent, family):
        set_pods(folder, baseline=[(topology.baseline, "here"), (topology.far_baseline, "there")],
                 candidate=[(topology.candidate, "here"), (topology.far_candidate, "there")])
        folder.edit("Service", lambda s: s["spec"].update(externalTrafficPolicy="Local"), name="istio-ingressgateway")
        agent = make_agent(arguments=ARGUMENTS).start()
        assert_flawless(client(topology.outside.client, frontend_url(family), "--requests 200 --timeout 3"))
        for user in USERS:
            assert seen_address(topology.outside.client, family, user) == topology.outside.client.address[family]
        assert agent.reason("LEG_NODE") == 0
        pods = {curl(topology.client1, url(family, "/whoami"), user=f"111{i:07b}").split()[2] for i in range(30)}
        assert pods == {topology.baseline.address[family], topology.far_baseline.address[family]}, "clients inside have all pods"

    def test_with_the_local_policy_and_no_pod_here_a_client_outside_is_reset(self, topology, pods_elsewhere, folder, make_agent):
        folder.edit("Service", lambda s: s["spec"].update(externalTrafficPolicy="Local"), name="istio-ingressgateway")
        agent = make_agent(arguments=ARGUMENTS).start()
        with topology.outside.client.entered():
            connection = http.client.HTTPConnection("10.96.0.10", 80, timeout=3)
            with pytest.raises(ConnectionError):
                connection.request("GET", "/", headers={"Host": "example.com"})
                connection.getresponse()
        assert agent.reason("NO_POD") == 1
        assert_flawless(client(topology.client1, frontend_url(4), "--requests 50 --timeout 3"))

    def test_without_an_address_of_the_node_the_plan_says_so_and_pods_here_serve(self, topology, folder, make_agent):
        set_pods(folder, baseline=[(topology.baseline, "here"), (topology.far_baseline, "there")], candidate=[(topology.far_candidate, "there")])
        topology.node.run("ip", "address", "del", f"{NODE[6]}/64", "dev", Outside.UPLINK)
        try:
            agent = make_agent(arguments=ARGUMENTS).start()
            warnings = [p["message"] for p in agent.status()["problems"] if p["level"] == "warning" and "on other nodes" in p["message"]]
            assert len(warnings) == 2 and all("no IPv6 address" in message for message in warnings)
            assert sum("there is none" in message for message in warnings) == 1
            assert_flawless(client(topology.outside.client, frontend_url(4), "--requests 100 --timeout 3"))
        finally:
            topology.node.run("ip", "address", "add", f"{NODE[6]}/64", "dev", Outside.UPLINK)
            for box in (topology.outside.client, topology.far_baseline, topology.far_candidate):
                topology.node.run("ip", "-6", "route", "replace", box.subnet.prefix(6), "via", topology.outside.router.address[6])
        assert_flawless(client(topology.outside.client, frontend_url(6), "--requests 100 --timeout 3"))

    def test_a_legs_port_is_none_of_the_nodes_own(self, topology, pods_elsewhere, make_agent):
        """All of the node's own ports but its ephemeral ones are taken by a connection of its own to the pod, save a few."""
        agent = make_agent(arguments=ARGUMENTS).start()
        pod = topology.far_baseline
        with topology.node.entered():
            low, high = map(int, open("/proc/sys/net/ipv4/ip_local_port_range").read().split())
            own = http.client.HTTPConnection(pod.address[4], pod.port, timeout=5, source_address=(NODE[4], 20000))
            own.request("GET", "/whoami", headers={"Connection": "keep-alive"})
            assert own.getresponse().read().split()[1] == b"20000"
            ports = {int(curl(topology.outside.client, url(4, "/whoami"), user="1111100000").split()[1]) for _ in range(60)}
            assert not any(low <= port <= high or port == 20000 for port in ports) and len(ports) > 50
            own.request("GET", "/whoami")
            assert own.getresponse().read().split()[1] == b"20000"
            own.close()

    def test_it_goes_on_without_the_agent(self, topology, pods_elsewhere, make_agent):
        agent = make_agent(arguments=ARGUMENTS).start()
        agent.kill()
        assert_steered(topology.outside.client, 4)
        agent.start()
        assert_steered(topology.outside.client, 6)

    def test_status_says_what_each_interface_is_for(self, topology, make_agent):
        found = purposes(make_agent(arguments=ARGUMENTS).start())
        assert found["client1"] == "clients"
        assert found[Outside.UPLINK] == f"uplink: clients outside; pods on other nodes answer to {NODE[4]}, {NODE[6]}"


# ---- a pod that is its own client

class TestHairpin:
    def test_a_pod_reaches_its_own_frontend_and_gets_its_version(self, topology, make_agent, family, tmp_path):
        agent = make_agent(interfaces="client*,baseline,candidate").start()
        for user, pod in zip(USERS, topology.pods):
            assert_steered(pod, family)
            assert seen_address(pod, family, user) == OWN[family]
            assert_bytes_arrive(pod, family, user, pod, tmp_path)
            other = next(p for p in topology.pods if p is not pod)
            assert seen_address(other, family, user) == other.address[family], "another pod sees its client's address"
        assert agent.reason("LEG_HAIRPIN") > 0

    def test_a_pod_that_is_not_its_versions_only_one_gets_another(self, topology, folder, make_agent, family):
        third = third_pod(topology)
        set_pods(folder, baseline=[(topology.baseline, None), (third, None)], candidate=[(topology.candidate, None)])
        agent = make_agent(interfaces="client*,baseline,candidate,third").start()
        for pod, other in ((topology.baseline, third), (third, topology.baseline)):
            assert {curl(pod, url(family, "/whoami"), user=f"111{i:07b}").split()[2] for i in range(20)} == {other.address[family]}
        assert agent.reason("LEG_HAIRPIN") == 0

    def test_a_connection_frontend_of_ones_own(self, topology, folder, make_agent, family, tmp_path):
        folder.write("connections.yaml", CONNECTION_ROUTE.replace("weight: 50", "weight: 100", 1).replace("weight: 50", "weight: 0"))
        make_agent(interfaces="client*,baseline,candidate").start()
        assert seen_address(topology.baseline, family, None, CONNECTION) == OWN[family]
        assert_bytes_arrive(topology.baseline, family, None, topology.baseline, tmp_path, CONNECTION)

    def test_a_pod_on_a_bridge(self, bridged, shunt, folder, tmp_path):
        set_pods(folder, baseline=[(bridged.bridged_baseline, None)], candidate=[(bridged.bridged_candidate, None)])
        agent = Agent(bridged, shunt, folder, interfaces="client*,b*").start()
        try:
            for family in (4, 6):
                assert_steered(bridged.bridged_baseline, family)
                assert_bytes_arrive(bridged.bridged_baseline, family, "1111100000", bridged.bridged_baseline, tmp_path)
        finally:
            agent.close()


def third_pod(topology):
    """A second pod of the baseline, made when it is first asked for."""
    return next((box for box in topology.boxes if box.box == "third"), None) or topology.add(Pod, "third", 5, "flowers-v1", 8080)


# ---- the node itself

def keep_alive(box, family, users, frontends=None):
    """The versions that one connection of a process in the namespace gets for these users."""
    with box.entered():
        connection = http.client.HTTPConnection((frontends or {4: "10.96.0.10", 6: "fd00:96::10"})[family], 80, timeout=5)
        versions = []
        for user in users:
            connection.request("GET", "/", headers={"Host": "example.com", "userhash": user})
            response = connection.getresponse()
            response.read()
            versions.append(response.getheader("version"))
        connection.close()
    return versions


class TestHost:
    @pytest.fixture
    def agent(self, make_agent):
        return make_agent(arguments=("--host",)).start()

    def test_processes_of_the_node_are_steered(self, topology, agent, family, tmp_path):
        assert_steered(topology.node, family)
        for user, pod in zip(USERS, topology.pods):
            assert seen_address(topology.node, family, user) == OWN[family]
            assert_bytes_arrive(topology.node, family, user, pod, tmp_path)
        assert agent.reason("LEG_HOST") > 0

    def test_a_process_may_have_any_address_of_the_node(self, topology, agent, family):
        for address in (topology.client1.gateway[family], topology.baseline.gateway[family]):
            answer = curl(topology.node, url(family, "/"), "--interface", address, "-w", "%{local_ip}", user="1010101010")
            assert answer.split() == ["flowers-v2", address]

    def test_clients_in_pods_are_steered_as_before(self, topology, agent, family):
        assert_steered(topology.client1, family)
        assert seen_address(topology.client1, family, "1010101010") == topology.client1.address[family]

    def test_a_hostnetwork_pod_serves_clients_in_pods_and_the_node(self, topology, folder, make_agent, family):
        """Its address is the node's."""
        with contextlib.closing(HostNetworkPod(topology, "flowers-v1", 8080)) as pod:
            set_pods(folder, baseline=[(pod, None)], candidate=[(topology.candidate, None)])
            agent = make_agent(arguments=("--host",)).start()
            assert_steered(topology.client2, family)
            assert_steered(topology.node, family)
        assert agent.reason("LEG_HOST") > 0

    def test_new_frontends_are_routed_and_old_ones_no_more(self, topology, folder, agent):
        def routes():
            return {route["dst"] for family in ("-4", "-6") for route in json.loads(topology.node.run("ip", "-j", family, "route", "show", "dev", "shunt0", "proto", "115").stdout)}

        assert routes() == {"10.96.0.10", "fd00:96::10"}
        folder.write("connections.yaml", CONNECTION_ROUTE)
        wait_for(lambda: "10.96.0.20:80" in [frontend["address"] for frontend in agent.status()["frontends"]], "new frontend")
        wait_for(lambda: routes() == {"10.96.0.10", "fd00:96::10", "10.96.0.20", "fd00:96::20"}, lambda: f"four routes, but {routes()}")
        assert len(set(keep_alive(topology.node, 4, ["1"] * 20, CONNECTION))) == 1
        (folder.path / "connections.yaml").unlink()
        wait_for(lambda: routes() == {"10.96.0.10", "fd00:96::10"}, lambda: f"two routes, but {routes()}")

    def test_it_goes_on_without_the_agent_and_with_the_next(self, topology, agent):
        with topology.node.entered():
            connection = http.client.HTTPConnection("10.96.0.10", 80, timeout=5)

            def ask(user):
                connection.request("GET", "/", headers={"Host": "example.com", "userhash": user})
                response = connection.getresponse()
                response.read()
                return response.getheader("version")

            assert ask("1111100000") == "flowers-v1"
            agent.kill()
            assert ask("1010101010") == "flowers-v2"
            assert_steered(topology.node, 6)
            agent.start()
            assert ask("1111100000") == "flowers-v1"
            connection.close()
        assert_steered(topology.node, 4)

    def test_a_pair_that_a_killed_start_left_half_made_is_finished(self, topology, make_agent, family):
        """Made, and neither up nor named ours."""
        mac = ("address", "02:73:68:75:6e:74")
        topology.node.run("ip", "link", "add", "shunt0", *mac, "type", "veth", "peer", "name", "shunt1", *mac)
        agent = make_agent(arguments=("--host",)).start()
        assert_steered(topology.node, family)
        agent.stop()
        agent.command("unload")
        assert topology.node.run("ip", "link", "show", "shunt0", check=False).returncode != 0

    def test_unload_and_a_start_without_the_option_remove_the_interfaces(self, topology, make_agent):
        def there():
            return [name for name in ("shunt0", "shunt1") if topology.node.run("ip", "link", "show", name, check=False).returncode == 0]

        agent = make_agent(arguments=("--host",)).start()
        assert purposes(agent)["shunt1"] == "this node's own connections"
        assert there() == ["shunt0", "shunt1"]
        agent.stop()
        agent.command("unload")
        assert there() == []
        agent.start()
        agent.stop()
        agent.arguments = ()
        agent.start()
        assert there() == [] and "shunt1" not in purposes(agent)

    def test_interfaces_of_that_name_that_are_somebody_elses_are_left_alone(self, topology, make_agent):
        topology.node.run("ip", "link", "add", "shunt0", "type", "bridge")
        try:
            agent = make_agent(arguments=("--host",))
            agent.start_unready()
            assert agent.process.wait(20) == 1
            assert "which shunt did not make" in agent.log
            agent.command("unload")
            assert topology.node.run("ip", "link", "show", "shunt0").returncode == 0
        finally:
            topology.node.run("ip", "link", "del", "shunt0")

    def test_the_node_reaches_pods_on_another_node(self, wide, shunt, folder, family, tmp_path):
        set_pods(folder, baseline=[(wide.far_baseline, "there")], candidate=[(wide.candidate, "here")])
        agent = Agent(wide, shunt, folder, name="host", arguments=(*ARGUMENTS, "--host")).start()
        try:
            assert_steered(wide.node, family)
            assert seen_address(wide.node, family, "1111100000") == NODE[family]
            assert_bytes_arrive(wide.node, family, "1111100000", wide.far_baseline, tmp_path)
        finally:
            agent.close()


# ---- a CNI that delivers past the client's egress

class TestRedirectPeer:
    @pytest.fixture
    def cni(self, topology, build):
        with redirecting(topology, build, [topology.client1, topology.client2, *topology.pods]) as made:
            yield made

    INTERFACES = "client*,baseline,candidate"

    def test_answers_are_met_where_they_come_in(self, topology, make_agent, cni, family, tmp_path):
        agent = make_agent(interfaces=self.INTERFACES, arguments=("--return-at", "pods")).start()
        assert_steered(topology.client1, family)
        for user, pod in zip(USERS, topology.pods):
            assert seen_address(topology.client1, family, user) == topology.client1.address[family]
            assert_bytes_arrive(topology.client1, family, user, pod, tmp_path)
        assert cni.packets > 0
        assert purposes(agent)["client1"] == "clients, and answers of pods"

    def test_without_the_option_answers_pass_by(self, topology, make_agent, cni):
        """What the option is for; and the imitation is one."""
        make_agent(interfaces=self.INTERFACES).start()
        assert client(topology.client1, frontend_url(4), "--requests 3 --timeout 1")["errors"] == 3

    def test_pods_that_refuse_are_replaced_and_a_pod_is_its_own_client(self, topology, folder, make_agent, cni, family):
        set_pods(folder, baseline=[(topology.baseline, None), (topology.client2, None)], candidate=[(topology.candidate, None)])
        agent = make_agent(interfaces=self.INTERFACES, arguments=("--return-at", "pods")).start()
        assert_flawless(client(topology.client1, frontend_url(family), "--requests 200 --timeout 3"))
        assert agent.reason("LEG_REFUSED") > 0
        assert_steered(topology.candidate, family)
        assert agent.reason("LEG_HAIRPIN") > 0

    def test_a_restart_may_change_the_option_both_ways(self, topology, make_agent, cni):
        agent = make_agent(interfaces=self.INTERFACES, arguments=("--return-at", "pods")).start()
        agent.stop()
        agent.arguments = ()
        agent.start()
        assert client(topology.client1, frontend_url(4), "--requests 2 --timeout 1")["errors"] == 2
        agent.stop()
        agent.arguments = ("--return-at", "pods", "--attach", "clsact")
        agent.start()
        assert_steered(topology.client1, 4)

    def test_clients_outside_and_pods_on_another_node(self, wide, build, shunt, folder):
        set_pods(folder, baseline=[(wide.baseline, "here")], candidate=[(wide.far_candidate, "there")])
        agent = Agent(wide, shunt, folder, name="peer", interfaces=self.INTERFACES, arguments=(*ARGUMENTS, "--return-at", "pods")).start()
        try:
            with redirecting(wide, build, [wide.client1, wide.client2, *wide.pods]):
                for box in (wide.client1, wide.outside.client):
                    for family in (4, 6):
                        assert_steered(box, family)
        finally:
            agent.close()


# ---- connection frontends

@contextlib.contextmanager
def listening(pods, serve):
    """Inside the block serve(connection) answers what connects to any of the pods; yields the port, the same for all."""
    port, servers = 9000, []
    for pod in pods:
        with pod.entered():
            server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        servers.append(server)

        def accept(server=server):
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.settimeout(10)
                        serve(connection)

        threading.Thread(target=accept, daemon=True).start()
    try:
        yield port
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)
            server.close()


def set_port(folder, port):
    folder.edit("EndpointSlice", lambda s: s["ports"][0].update(port=port))


def connect(box, family, port=0):
    """A socket of the box to the connection frontend."""
    with box.entered():
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(10)
        sock.bind((box.address[family], port))
        sock.connect((CONNECTION[family], 80))
    return sock


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def refused(box, family):
    try:
        connect(box, family).close()
    except ConnectionRefusedError:
        return True
    return False


FAILURES = {"refuses": "LEG_REFUSED", "is-silent": "LEG_SILENT", "is-unreachable": "LEG_REFUSED"}


@contextlib.contextmanager
def failing(topology, pod, family, way):
    """Inside the block the pod does not take connections of client1."""
    box, kind, address = {"refuses": (None, None, None), "is-silent": (pod, "blackhole", topology.client1.address[family]),
                          "is-unreachable": (topology.node, "unreachable", pod.address[family])}[way]
    if box:
        box.run("ip", f"-{family}", "route", "add", kind, address)
    try:
        yield
    finally:
        if box:
            box.run("ip", f"-{family}", "route", "del", kind, address)


class TestConnections:
    @pytest.fixture
    def agent(self, folder, make_agent):
        folder.write("connections.yaml", CONNECTION_ROUTE)
        return make_agent().start()

    def test_the_pod_sees_its_client_and_every_byte_arrives(self, topology, agent, offloads, family, tmp_path):
        for box in topology.clients:
            pods = {curl(box, url(family, "/", CONNECTION)).strip() for _ in range(10)}
            assert len(pods) == 1, "a client address belongs to one version"
            pod = next(pod for pod in topology.pods if {pod.version} == pods)
            assert seen_address(box, family, None, CONNECTION) == box.address[family]
            assert_bytes_arrive(box, family, None, pod, tmp_path, CONNECTION)

    def test_every_byte_arrives_over_a_bad_network(self, topology, build, agent, family, tmp_path):
        version = curl(topology.client1, url(family, "/", CONNECTION)).strip()
        pod = next(pod for pod in topology.pods if pod.version == version)
        with mangled(topology, build / "tests" / "lib" / "mangle.bpf.o", lose=0.01, delay=0.02, repeat=0.02) as mangle:
            assert_bytes_arrive(topology.client1, family, None, pod, tmp_path, CONNECTION)
            assert mangle.done()["lose"]

    def test_a_connection_stays_and_carries_many_requests(self, topology, agent, family):
        versions = keep_alive(topology.client1, family, ["1111100000", "1010101010"] * 100, CONNECTION)
        assert len(versions) == 200 and len(set(versions)) == 1, "who the user is does not matter here"

    def test_either_side_may_close_its_half_first(self, topology, folder, make_agent, family):
        def answer_at_the_end(connection):
            connection.sendall(b"got %d bytes\n" % len(read_all(connection)) * 10_000)

        def speak_first_and_listen(connection):
            connection.sendall(b"hello\n")
            connection.shutdown(socket.SHUT_WR)
            heard.append(read_all(connection))

        heard = []
        folder.write("connections.yaml", CONNECTION_ROUTE)
        set_port(folder, 9000)
        agent = make_agent().start()
        with listening(topology.pods, answer_at_the_end), contextlib.closing(connect(topology.client1, family)) as sock:
            sock.sendall(b"x" * 1_000_000)
            sock.shutdown(socket.SHUT_WR)
            assert read_all(sock) == b"got 1000000 bytes\n" * 10_000
        with listening(topology.pods, speak_first_and_listen), contextlib.closing(connect(topology.client1, family)) as sock:
            assert read_all(sock) == b"hello\n"
            sock.sendall(b"y" * 1_000_000)
            sock.shutdown(socket.SHUT_WR)
            wait_for(lambda: heard == [b"y" * 1_000_000], lambda: f"a million bytes heard, but {[len(h) for h in heard]}")
        wait_for(lambda: agent.maps.flows() == 0, lambda: f"flows ended, but {agent.maps.flows()}")

    @pytest.mark.parametrize("way, reason", FAILURES.items(), ids=FAILURES)
    def test_another_pod_takes_the_connection_that_one_does_not(self, topology, folder, make_agent, family, way, reason):
        """Each of two pods fails in its turn, so one of the two is the client's."""
        folder.write("connections.yaml", CONNECTION_ROUTE.replace("weight: 50", "weight: 100", 1).replace("weight: 50", "weight: 0"))
        set_port(folder, 9000)
        set_pods(folder, baseline=[(pod, None) for pod in topology.pods], candidate=[(topology.candidate, None)])
        agent = make_agent().start()
        for bad, good in (topology.pods, topology.pods[::-1]):
            listens = [good] if way == "refuses" else topology.pods
            with failing(topology, bad, family, way), listening(listens, lambda connection: connection.sendall(b"here\n")):
                for _ in range(3):
                    with contextlib.closing(connect(topology.client1, family)) as sock:
                        assert sock.getpeername()[0] == CONNECTION[family] and read_all(sock) == b"here\n"
        assert agent.reason(reason) > 0 and agent.reason("POD_NEXT") >= 3 and agent.reason("POD_NONE") == 0
        wait_for(lambda: agent.maps.flows() == 0, lambda: f"flows ended, but {agent.maps.flows()}")

    def test_when_no_pod_is_left_the_client_is_reset_at_once(self, topology, folder, make_agent, family):
        folder.write("connections.yaml", CONNECTION_ROUTE)
        agent = make_agent().start()
        for pod in ("ns-baseline", "ns-candidate"):
            folder.edit("EndpointSlice", lambda slice_: slice_.update(endpoints=[]) if slice_["metadata"]["namespace"] == pod else None)
        wait_for(lambda: refused(topology.client1, family), lambda: f"a refused connection:\n{agent.log}")
        assert agent.reason("NO_POD") > 0 and agent.maps.flows() == 0

    def test_a_connection_outlives_its_pods_place_in_the_ring(self, topology, folder, make_agent, family):
        """A pod that terminates keeps its connections and gets no new ones."""
        folder.write("connections.yaml", CONNECTION_ROUTE.replace("weight: 50", "weight: 100", 1).replace("weight: 50", "weight: 0"))
        set_pods(folder, baseline=[(topology.baseline, None)], candidate=[(topology.candidate, None)])
        make_agent().start()
        kept = http.client.HTTPConnection(CONNECTION[family], 80, timeout=5)
        kept.sock = connect(topology.client1, family)

        def asks():
            kept.request("GET", "/", headers={"Host": "example.com"})
            return kept.getresponse().read().decode().strip()

        assert asks() == "flowers-v1"
        terminates = {"ready": False, "serving": True, "terminating": True}

        def leave(slice_):
            if slice_["metadata"]["namespace"] == "ns-baseline":
                slice_["endpoints"] = [dict(endpoint, conditions=terminates) for endpoint in slice_["endpoints"]]

        folder.edit("EndpointSlice", leave)
        wait_for(lambda: refused(topology.client1, family), "refusal of a new connection: the only version with weight has no ready pod")
        assert asks() == "flowers-v1"
        kept.close()

    def test_pods_that_all_refuse_refuse_their_client(self, topology, folder, make_agent, family):
        folder.write("connections.yaml", CONNECTION_ROUTE)
        set_port(folder, 9000)
        agent = make_agent().start()
        with pytest.raises(ConnectionRefusedError):
            connect(topology.client1, family)
        with listening(topology.pods, lambda connection: connection.sendall(b"here\n")), contextlib.closing(connect(topology.client1, family)) as sock:
            assert read_all(sock) == b"here\n", "the next connection is another one"
        wait_for(lambda: agent.maps.flows() == 0, lambda: f"flows ended, but {agent.maps.flows()}")

    def test_the_clients_own_connection_to_the_pod_may_have_the_same_port(self, topology, folder, make_agent, family):
        folder.write("connections.yaml", CONNECTION_ROUTE)
        agent = make_agent().start()
        version = curl(topology.client1, url(family, "/", CONNECTION)).strip()
        pod = next(pod for pod in topology.pods if pod.version == version)
        for port in range(21001, 21011):  # below those that sockets of other tests get
            with topology.client1.entered():
                direct = http.client.HTTPConnection(pod.address[family], pod.port, timeout=5)
                direct.sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6)
                direct.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                direct.sock.settimeout(5)
                direct.sock.bind((topology.client1.address[family], port))
                direct.sock.connect((pod.address[family], pod.port))
            steered = http.client.HTTPConnection(CONNECTION[family], 80, timeout=5)
            steered.sock = connect(topology.client1, family, port)
            ports = []
            for connection in (steered, direct, steered, direct):
                connection.request("GET", "/whoami", headers={"Host": "example.com"})
                ports.append(connection.getresponse().read().split()[1])
            assert ports[:2] == ports[2:] and ports[0] != ports[1]
            steered.close()
            direct.close()
        assert agent.reason("LEG_PORT") >= 10
