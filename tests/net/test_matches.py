# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Routes that look at more than the user: a VirtualService and an HTTPRoute on one frontend, real clients, connections that mix what both can tell apart."""

import http.client
import random

import pytest
import yaml

from agent import ROOT, client, frontend_url
from topology import FRONTEND, FRONTEND_PORT

V1, V2 = "flowers-v1", "flowers-v2"
NAMESPACE = {V1: "ns-baseline", V2: "ns-candidate"}
GROUP, OTHER = "1011111111", "0000000000"


def destination(version, weight=100):
    return {"destination": {"host": f"flowers-predictor-default.{NAMESPACE[version]}.svc.cluster.local"}, "weight": weight,
            "headers": {"response": {"set": {"version": version}}}}


def entry(version, *match):
    return {"match": list(match), "route": [destination(version)]}


VIRTUAL_SERVICE = {
    "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
    "metadata": {"name": "istio", "namespace": "default", "annotations": {"shunt.dev/identity": "header:userhash"}},
    "spec": {"gateways": ["knative-serving/knative-ingress-gateway"], "hosts": ["istio.test"], "http": [
        entry(V2, {"uri": {"exact": "/exact"}}, {"uri": {"prefix": "/api"}, "method": {"exact": "POST"}}),
        entry(V2, {"headers": {"x-beta": {}}, "withoutHeaders": {"x-stable": {"exact": "yes"}}}),
        entry(V2, {"queryParams": {"lang": {"prefix": "de"}}}),
        entry(V2, {"headers": {"userhash": {"prefix": "101"}}}),
        {"match": [{"uri": {"prefix": "/split"}}], "route": [destination(V1, 50), destination(V2, 50)]},
        {"route": [destination(V1)]},
    ]},
}


def backend(version, weight=1):
    return {"name": "flowers-predictor-default", "namespace": NAMESPACE[version], "port": 80, "weight": weight,
            "filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "version", "value": version}]}}]}


def rule(version, **match):
    path = match.pop("path", "/")
    if isinstance(path, str):
        path = {"type": "PathPrefix", "value": path}
    return {"matches": [{"path": path, **match}], "backendRefs": [backend(version)], "sessionPersistence": {"sessionName": "userhash", "type": "Header"}}


GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "edge", "namespace": "default"},
    "spec": {"gatewayClassName": "shunt", "listeners": [{"name": "http", "port": FRONTEND_PORT, "protocol": "HTTP", "hostname": "*.test"}],
             "addresses": [{"value": FRONTEND[4]}, {"type": "IPAddress", "value": FRONTEND[6]}]},
}

# In an order that none of them would win by.
HTTP_ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "gateway", "namespace": "default"},
    "spec": {"parentRefs": [{"name": "edge"}], "hostnames": ["gateway.test"], "rules": [
        rule(V1),
        rule(V2, path="/api"),
        rule(V1, path="/api", headers=[{"name": "X-Stable", "value": "yes"}]),
        rule(V2, path="/api", headers=[{"name": "X-Stable", "value": "yes"}, {"name": "x-beta", "value": "1"}]),
        rule(V1, path="/api", queryParams=[{"name": "lang", "value": "de"}]),
        rule(V1, path="/api", method="DELETE"),
        rule(V1, path={"type": "Exact", "value": "/api/old"}),
        {"matches": [{"path": {"value": "/split/"}}], "backendRefs": [backend(V1), backend(V2)],
         "sessionPersistence": {"sessionName": "userhash", "type": "Header"}},
    ]},
}

# host, method, target, headers; the version, or None where the user's hash says; the place that explain names
CASES = [
    ("istio.test", "GET", "/", {}, V1, "spec.http[5]"),
    ("istio.test", "GET", "/exact?x=/api", {}, V2, "spec.http[0].match[0]"),
    ("istio.test", "GET", "/exact/", {}, V1, "spec.http[5]"),
    ("istio.test", "POST", "/api/a", {}, V2, "spec.http[0].match[1]"),
    ("istio.test", "GET", "/api/a", {}, V1, "spec.http[5]"),
    ("istio.test", "GET", "/", {"X-Beta": "0"}, V2, "spec.http[1].match[0]"),
    ("istio.test", "GET", "/", {"X-Beta": "0", "x-stable": "yes"}, V1, "spec.http[5]"),
    ("istio.test", "GET", "/?a=b&lang=de-AT", {}, V2, "spec.http[2].match[0]"),
    ("istio.test", "GET", "/?lang=en", {}, V1, "spec.http[5]"),
    ("istio.test", "GET", "/split", {"userhash": GROUP}, V2, "spec.http[3].match[0]"),
    ("istio.test", "GET", "/split/x", {"userhash": OTHER}, None, "spec.http[4].match[0]"),
    ("gateway.test", "GET", "/", {}, V1, "spec.rules[0]"),
    ("gateway.test", "GET", "/api", {}, V2, "spec.rules[1].matches[0]"),
    ("gateway.test", "GET", "/api/x?y", {}, V2, "spec.rules[1].matches[0]"),
    ("gateway.test", "GET", "/apix", {}, V1, "spec.rules[0]"),
    ("gateway.test", "GET", "/api/old", {}, V1, "spec.rules[6].matches[0]"),
    ("gateway.test", "DELETE", "/api/x", {"x-stable": "yes", "x-beta": "1"}, V1, "spec.rules[5].matches[0]"),
    ("gateway.test", "GET", "/api/x?lang=de", {}, V1, "spec.rules[4].matches[0]"),
    ("gateway.test", "GET", "/api/x?lang=de", {"x-stable": "yes", "x-beta": "1"}, V2, "spec.rules[3].matches[0]"),
    ("gateway.test", "GET", "/api/x", {"x-stable": "yes"}, V1, "spec.rules[2].matches[0]"),
    ("gateway.test", "GET", "/split", {"userhash": OTHER}, None, "spec.rules[7].matches[0]"),
]


@pytest.fixture
def agent(make_agent, folder):
    """An agent with the routes of this file in place of the sample's one."""
    (folder.path / "routing-rule.yaml").unlink()
    (folder.path / "experiment.yaml").unlink()
    folder.write("routes.yaml", yaml.safe_dump_all([VIRTUAL_SERVICE, GATEWAY, HTTP_ROUTE]))
    agent = make_agent().start()
    assert "warning" not in agent.log and "error" not in agent.log, agent.log
    return agent


def explained(agent, family, host, method, target, headers):
    options = [option for name, value in headers.items() for option in ("--header", f"{name}={value}")]
    return agent.json("explain", "--frontend", frontend_url(family).split("/")[2], "--host", host, "--method", method, "--path", target, *options)


def ask(connection, host, method, target, headers):
    """The version that answers."""
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": host, "User-Agent": "test", **headers}.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode().strip()
    assert response.status == 200
    return body


def test_requests_of_one_connection_go_where_their_route_says_and_explain_agrees(topology, agent, family):
    rng = random.Random(f"matches-{family}")
    expected = []
    for host, method, target, headers, version, place in CASES:
        answer = explained(agent, family, host, method, target, headers)
        assert (answer["entry"], answer["route"]) == (place, f"default/{host.removesuffix('.test')}"), (host, method, target, headers)
        assert version in (answer["version"], None)
        expected.append(answer["version"])
    with topology.client1.entered():
        connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=10)
        connection.connect()
    connection.auto_open = 0
    for _ in range(10):
        for case in rng.sample(range(len(CASES)), len(CASES)):
            host, method, target, headers, *_ = CASES[case]
            assert ask(connection, host, method, target, headers) == expected[case], CASES[case]
    connection.close()


@pytest.mark.parametrize("host", ["istio.test", "gateway.test"])
def test_users_behind_a_match_with_weights_are_divided_and_stay(topology, agent, host):
    """With a salt of each run's own, all of 64 users fall on one version once in 9 * 10^18 runs."""
    rng = random.Random(host)
    users = [f"0{rng.getrandbits(20):020b}" for _ in range(64)]
    seen = {}
    with topology.client1.entered():
        connection = http.client.HTTPConnection(FRONTEND[4], FRONTEND_PORT, timeout=10)
        connection.connect()
    for user in users * 3:
        version = ask(connection, host, "GET", f"/split/{user}", {"userhash": user})
        assert seen.setdefault(user, version) == version
    connection.close()
    assert set(seen.values()) == {V1, V2}


def test_a_proxy_style_target_names_host_and_path(topology, agent, family):
    """curl --request-target sends the absolute form; its host counts and Host does not (RFC 9112 section 3.2.2)."""
    for target, version in (("http://istio.test/exact", V2), ("http://gateway.test/exact", V1), ("http://gateway.test:80/api", V2), ("http://istio.test", V1)):
        answer = topology.client1.run("curl", "-sS", "--max-time", "10", "--request-target", target, "-H", "Host: elsewhere.test", frontend_url(family)).stdout
        assert answer.strip() == version
        told = agent.json("explain", "--frontend", frontend_url(family).split("/")[2], "--path", target)
        assert told["version"] == version and told["host_named"]


def test_the_sample_of_the_gateway_api_steers_as_the_tutorial_does(topology, make_agent, folder, family):
    (folder.path / "routing-rule.yaml").unlink()
    folder.write("route.yaml", (ROOT / "deploy" / "samples" / "gateway-api" / "route.yaml").read_text())
    agent = make_agent().start()
    assert "warning" not in agent.log and "error" not in agent.log, agent.log
    client(topology.client1, frontend_url(family), "--requests", "200")
    for method, user, version in (("GET", GROUP, V2), ("GET", OTHER, V1), ("POST", GROUP, V1)):
        assert explained(agent, family, "example.com", method, "/feedback/1", {"userhash": user})["version"] == version


@pytest.mark.parametrize("arguments", [["--method", "get"], ["--method", ""], ["--path", ""], ["--path", "a"], ["--path", "/a b"], ["--header", "a"]])
def test_explain_refuses_what_would_not_be_one_request(topology, shunt, arguments):
    done = topology.node.run(shunt, "explain", *arguments, check=False)
    assert done.returncode == 2
    assert arguments[0] in done.stderr


def test_requests_that_no_entry_takes_are_counted_and_explained(topology, make_agent, folder):
    folder.edit("VirtualService", lambda vs: vs["spec"]["http"].pop())
    agent = make_agent().start()
    assert "no entry without match" in agent.log
    assert client(topology.client1, frontend_url(4), "--requests", "20", expect=("=flowers-v2",))
    assert agent.reason("ENTRY_UNMATCHED") > 0
    assert agent.json("explain", "--header", f"userhash={OTHER}")["entry"] is None
