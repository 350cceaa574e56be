# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Users known by a cookie, by a query parameter or by a header: each way on a route of its own, all routes on one frontend."""

import contextlib
import http.client
import random

import pytest
import yaml

from agent import frontend_url
from topology import FRONTEND, FRONTEND_PORT

V1, V2 = "flowers-v1", "flowers-v2"
NAMESPACE = {V1: "ns-baseline", V2: "ns-candidate"}
V2_PERCENT = 30


def destination(version, weight=100):
    return {"destination": {"host": f"flowers-predictor-default.{NAMESPACE[version]}.svc.cluster.local"}, "weight": weight,
            "headers": {"response": {"set": {"version": version}}}}


def routing(host, identity=None, match=None):
    """A VirtualService for one host: with a match, its users get v2 and all others v1; without one, V2_PERCENT of all get v2."""
    split = [destination(V1, 100 - V2_PERCENT), destination(V2, V2_PERCENT)]
    entries = [{"match": match, "route": [destination(V2)]}, {"route": [destination(V1)]}] if match else [{"route": split}]
    return {"apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService",
            "metadata": {"name": host.replace(".", "-"), "namespace": "default", "annotations": {"shunt.dev/identity": identity} if identity else {}},
            "spec": {"gateways": ["knative-serving/knative-ingress-gateway"], "hosts": [host], "http": entries}}


ROUTES = [
    routing("cookie.test", "cookie:uid"),
    routing("split.test", "query:uid"),
    routing("query.test", match=[{"queryParams": {"uid": {"prefix": "101"}}}]),
    routing("header.test", match=[{"headers": {"userhash": {"prefix": "101"}}}]),
]


@pytest.fixture
def agent(make_agent, folder):
    """An agent with the four routes of this file in place of the sample's one."""
    (folder.path / "routing-rule.yaml").unlink()
    (folder.path / "experiment.yaml").unlink()
    folder.write("routes.yaml", yaml.safe_dump_all(ROUTES))
    agent = make_agent().start()
    assert "warning" not in agent.log and "error" not in agent.log, agent.log
    return agent


@contextlib.contextmanager
def connected(box, family):
    """A keep-alive connection from a box to the frontend. It must hold: http.client would connect again without a word."""
    with box.entered():
        connection = http.client.HTTPConnection(FRONTEND[family], FRONTEND_PORT, timeout=10)
        connection.connect()
    connection.auto_open = 0
    yield connection
    connection.close()


def ask(connection, host, target="/", headers=()):
    """The version that answers; `headers` are (name, value) pairs, so that a name may come twice."""
    connection.putrequest("GET", target, skip_host=True, skip_accept_encoding=True)
    for name, value in (("Host", host), ("User-Agent", "test"), *headers):
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    body = response.read().decode()
    assert response.status == 200 and response.getheader("version") == body.strip()
    return body.strip()


def by_cookie(user, rng):
    """Cookies as browsers send them, hers among others; her name also ends another's, and stands where this route does not look."""
    cookies = [f"uid={user}", "xuid=1010000000", "theme=dark; lang=de", "uidx=1"][: rng.randrange(1, 5)]
    rng.shuffle(cookies)
    return "/?uid=1010000000", [("Accept", "*/*"), ("Cookie", "; ".join(cookies)), ("userhash", "1010000000")]


def by_query(user, rng):
    parameters = [f"uid={user}", "xuid=0000000000", "lang=de", "uidx=1"][: rng.randrange(1, 5)]
    rng.shuffle(parameters)
    return f"/a/b?{'&'.join(parameters)}", [("Cookie", "uid=0000000000"), ("userhash", "0000000000")]


def by_header(user, _):
    return "/?uid=0000000000", [("Cookie", "uid=0000000000"), ("userhash", user)]


WAYS = {"cookie.test": by_cookie, "split.test": by_query, "query.test": by_query, "header.test": by_header}


# With a salt of each run's own, all of so many users fall on one version once in 5 billion runs.
ENOUGH_USERS = 64


def some_users(rng, number):
    return [f"{rng.getrandbits(10):010b}" for _ in range(number)]


def explained(agent, host, user):
    """What `shunt explain` says that the user gets; it must know her by the right name."""
    option = {"cookie.test": ("--cookie", "a=b", "--cookie", f"uid={user}"), "split.test": ("--query", f"uid={user}"),
              "query.test": ("--path", f"/?uid={user}"), "header.test": ("--header", f"userhash={user}")}[host]
    answer = agent.json("explain", "--host", host, *option)
    assert (answer["user"], answer["user_from_client"], answer["route"]) == (user, False, f"default/{host.replace('.', '-')}")
    return answer["version"]


def test_users_share_connections_and_each_sees_the_version_that_explain_tells(topology, agent, family):
    """Each connection carries users of one route, the routes take turns."""
    rng = random.Random(f"identity-{family}")
    users = [f"101{i:07b}" for i in range(4)] + some_users(rng, ENOUGH_USERS)
    expected = {(host, user): explained(agent, host, user) for host in WAYS for user in users}
    for host in WAYS:
        assert {expected[host, user] for user in users} == {V1, V2}, f"{host}: users of both versions"
    for host in ("query.test", "header.test"):
        assert all(expected[host, user] == (V2 if user.startswith("101") else V1) for user in users)
    wrong = []
    for host in list(WAYS) * 3:
        with connected(topology.client1, family) as connection:
            for user in rng.choices(users, k=100):
                seen = ask(connection, host, *WAYS[host](user, rng))
                if seen != expected[host, user]:
                    wrong.append((host, user, expected[host, user], seen))
    assert wrong == []


@pytest.mark.parametrize("host", ["cookie.test", "split.test"])
def test_2000_random_users_are_split_by_weight_and_each_stays_with_her_version(topology, agent, host):
    rng = random.Random(f"split-{host}")
    users = sorted({f"user-{rng.getrandbits(64):x}" for _ in range(2000)})
    with connected(topology.client1, 4) as first, connected(topology.client2, 6) as second:
        versions = {user: ask(first, host, *WAYS[host](user, rng)) for user in users}
        moved = [user for user in users if ask(second, host, *WAYS[host](user, rng)) != versions[user]]
    assert moved == [], "the same user from another client, in the other family"
    share = V2_PERCENT / 100
    sigma = (share * (1 - share) * len(users)) ** 0.5
    assert abs(sum(version == V2 for version in versions.values()) - share * len(users)) < 4 * sigma
    for user in users[:20]:
        assert explained(agent, host, user) == versions[user]


@pytest.mark.parametrize("host", ["cookie.test", "query.test"])
def test_curl_mixes_users_on_one_connection(topology, agent, family, host):
    rng = random.Random(f"curl-{family}")
    users = [f"101{i:07b}" for i in range(3)] + some_users(rng, ENOUGH_USERS)
    expected = {user: explained(agent, host, user) for user in users}
    assert set(expected.values()) == {V1, V2}
    asked, words = rng.choices(users, k=100), []
    for user in asked:
        own = ["--cookie", f"theme=dark; uid={user}"] if host == "cookie.test" else ["--get", "--data-urlencode", "lang=de", "--data", f"uid={user}"]
        words += ["--next", "-sS", "--max-time", "10", "-H", f"Host: {host}", "-w", "%{num_connects} %{http_code}\n", *own, frontend_url(family)]
    lines = topology.client1.run("curl", *words[1:]).stdout.split("\n")
    answers = list(zip(lines[0::2], lines[1::2]))
    assert [version for version, _ in answers] == [expected[each] for each in asked]
    assert [said for _, said in answers] == ["1 200"] + ["0 200"] * 99, "one connection for all"


def test_cookies_are_read_as_rfc_6265_writes_them(topology, agent):
    user, other = some_users(random.Random("spelling"), 2)
    while explained(agent, "cookie.test", other) == explained(agent, "cookie.test", user):
        other += "0"
    spellings = [
        [("Cookie", f'a=1; uid="{user}"; b=2')],
        [("Cookie", f"a=1;uid={user};b=2")],
        [("cookie", f"UID={other}; uid={user}; uid={other}")],
        [("Cookie", "a=1"), ("X", f"uid={other}"), ("Cookie", f"b=2; uid={user}")],
        [("Cookie", f"xuid={other}; uidx={other}; uid; uid={user}")],
    ]
    with connected(topology.client1, 4) as connection:
        for spelling in spellings * 2:
            assert ask(connection, "cookie.test", f"/?uid={other}", spelling) == explained(agent, "cookie.test", user), spelling
            assert ask(connection, "cookie.test", "/", [("Cookie", f"uid={other}")]) == explained(agent, "cookie.test", other)


def test_a_request_without_the_cookie_or_parameter_goes_by_client_address_and_is_counted(topology, agent):
    missing = agent.reason("ID_MISSING")
    asks = [("cookie.test", "/?uid=1", [("Cookie", "xuid=1; uid=")]), ("split.test", "/uid=1?xuid=1", [("Cookie", "uid=1")]), ("split.test", "/", [])]
    with connected(topology.client1, 6) as connection:
        for host, target, headers in asks:
            answer = agent.json("explain", "--host", host, "--client", topology.client1.address[6])
            assert answer["user_from_client"] and "not in the request" in answer["identity"]
            assert ask(connection, host, target, headers) == answer["version"]
    assert agent.reason("ID_MISSING") == missing + len(asks)


def test_users_of_all_routes_share_connections(topology, agent, family):
    """Four routes with two versions each, on two pods: more versions than a flow has legs."""
    rng = random.Random(f"mixed-{family}")
    expected = {(host, user): explained(agent, host, user) for host in WAYS for user in [f"101{i:07b}" for i in range(4)] + some_users(rng, ENOUGH_USERS)}
    wrong = []
    for _ in range(10):
        with connected(topology.client1, family) as connection:
            for (host, user), version in rng.choices(list(expected.items()), k=100):
                seen = ask(connection, host, *WAYS[host](user, rng))
                if seen != version:
                    wrong.append((host, user, version, seen))
    assert wrong == []


@pytest.mark.parametrize("arguments", [["--cookie", "uid"], ["--cookie", "uid=1;b=2"], ["--query", "a=1#b"], ["--query", "a=1 b"]])
def test_explain_refuses_what_would_not_be_one_cookie_or_one_query(topology, shunt, arguments):
    done = topology.node.run(shunt, "explain", *arguments, check=False)
    assert done.returncode == 2
    assert arguments[0] in done.stderr and "allowed is NAME=VALUE" in done.stderr


def test_explain_tells_what_the_user_is_known_by(agent):
    answer = agent.json("explain", "--host", "cookie.test", "--path", "/?uid=no", "--cookie", "a=b", "--cookie", "uid=\"u 42\"")
    assert (answer["identity"], answer["user"]) == ("cookie:uid", "u 42")
    answer = agent.json("explain", "--host", "query.test", "--path", "/a?b=c", "--query", "uid=1011&uid=no", "--cookie", "uid=no")
    assert (answer["identity"], answer["user"], answer["by"], answer["rule"]) == ("query:uid", "1011", "rule", "101*")
