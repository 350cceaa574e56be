# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What the kernel keeps of single users while an experiment divides them: users, conversions, errors; and that each experiment begins with nobody."""

import http.client

import pytest

from agent import quantity
from topology import FRONTEND, FRONTEND_PORT, wait_for

EXPERIMENT = "session-affinity-exp"
METRICS = ["shunt/user-count", "shunt/conversion-count", "shunt/conversion-rate", "shunt/error-count", "shunt/request-count", "shunt/latency-95th-percentile"]


def prepare(folder, name=EXPERIMENT, **annotations):
    def experiment(manifest):
        if "spec" not in manifest:  # a status file
            return
        manifest["metadata"].update(name=name, annotations=annotations)
        manifest["spec"]["strategy"]["actions"] = {}
        manifest["spec"]["criteria"] = {"indicators": METRICS, "rewards": [{"metric": "shunt/conversion-rate", "preferredDirection": "High"}]}
        manifest["spec"]["duration"].update(intervalSeconds=1, iterationsPerLoop=1000)

    folder.edit("Experiment", experiment)


def metrics(folder, version, name=EXPERIMENT):
    """{metric: value} of the last iteration; what has no value is left out."""
    status = folder.status(name) or {}
    data = status.get("analysis", {}).get("aggregatedMetrics", {}).get("data", {})
    cells = {metric.removeprefix("shunt/"): rows["data"][version] for metric, rows in data.items()}
    return {metric: quantity(cell["value"]) for metric, cell in cells.items() if "value" in cell}


def wait_iterations(folder, agent, name=EXPERIMENT, more=1):
    """The experiment divides the users, and so many iterations were completed from now on."""
    def done():
        return (folder.status(name) or {}).get("completedIterations", 0)
    due = done() + more
    wait_for(lambda: done() >= due, lambda: f"{more} more iterations of {name} in:\n{agent.log}", 20)


@pytest.fixture
def ask(topology):
    """ask(user, "POST /checkout"): one request each, over one connection for all."""
    connection = http.client.HTTPConnection(FRONTEND[4], FRONTEND_PORT, timeout=5)
    connection.auto_open = 0  # it would be outside of the client's namespace

    def one(user, request):
        method, target = request.split()
        if not connection.sock:
            with topology.client1.entered():
                connection.connect()
        connection.request(method, target, headers={"Host": "example.com", "userhash": user})
        response = connection.getresponse()
        response.read()
        return response.status

    yield one
    connection.close()


def drive(ask):
    """v1 gets 40 users with one request each. v2 gets 20 users with three each, of whom 5 convert, one of them twice; two requests fail."""
    for n in range(40):
        assert ask(f"0u{n}", "GET /checkout") == 200
    for n in range(20):
        for _ in range(2):
            assert ask(f"101u{n}", "GET /") == 200
        assert ask(f"101u{n}", "POST /checkout/pay" if n < 5 else "POST /elsewhere") == 200
    assert ask("101u0", "POST /checkout?again") == 200
    for _ in range(2):
        assert ask("101u19", "GET /fail") == 503


def expect_driven(folder, agent, name=EXPERIMENT):
    def seen():
        one, two = metrics(folder, "flowers-v1", name), metrics(folder, "flowers-v2", name)
        return two.get("request-count") == 63 and one.get("request-count") == 40
    wait_for(seen, lambda: f"63 requests of v2: {metrics(folder, 'flowers-v2', name)}\n{agent.log}", 20)
    one, two = metrics(folder, "flowers-v1", name), metrics(folder, "flowers-v2", name)
    assert (one["user-count"], one["conversion-count"], one["conversion-rate"], one["error-count"]) == (40, 0, 0, 0)
    assert (two["user-count"], two["conversion-count"], two["conversion-rate"], two["error-count"]) == (20, 6, 0.25, 2)
    assert two["latency-95th-percentile"] > 0


def test_users_and_conversions_are_those_that_were_sent(topology, folder, make_agent, ask):
    prepare(folder, **{"shunt.dev/conversion": "POST /checkout 2xx"})
    agent = make_agent().start()
    wait_iterations(folder, agent)
    drive(ask)
    expect_driven(folder, agent)

    agent.kill()  # the kernel goes on counting, and the next agent finds everybody
    assert ask("101new", "POST /checkout") == 200
    agent.start()
    wait_for(lambda: metrics(folder, "flowers-v2").get("user-count") == 21, lambda: f"the new user in:\n{folder.status(EXPERIMENT)}\n{agent.log}", 20)
    assert metrics(folder, "flowers-v2")["conversion-rate"] == pytest.approx(6 / 21, abs=0.001)


def test_another_experiment_on_the_route_begins_with_nobody(topology, folder, make_agent, ask):
    prepare(folder, name="first", **{"shunt.dev/conversion": "POST /checkout"})
    agent = make_agent().start()
    wait_iterations(folder, agent, "first")
    drive(ask)
    expect_driven(folder, agent, "first")
    prepare(folder, name="second", **{"shunt.dev/conversion": "POST /checkout"})
    wait_iterations(folder, agent, "second")
    assert metrics(folder, "flowers-v2", "second")["user-count"] == 0
    drive(ask)
    expect_driven(folder, agent, "second")


def test_an_experiment_without_a_conversion_says_what_is_missing(topology, folder, make_agent, ask):
    prepare(folder)
    agent = make_agent().start()
    wait_iterations(folder, agent)
    problem = folder.status(EXPERIMENT)["shunt"]["missing"]["shunt/conversion-rate flowers-v2"]["problem"]
    assert "annotation shunt.dev/conversion" in problem


def test_refusals_count_as_errors_where_the_experiment_says_so(topology, folder, make_agent, ask):
    prepare(folder, **{"shunt.dev/errors-from": "400"})
    agent = make_agent().start()
    wait_iterations(folder, agent)
    assert ask("101u1", "GET /bytes/none") == 404
    assert ask("101u1", "GET /fail") == 503
    wait_for(lambda: metrics(folder, "flowers-v2").get("error-count") == 2, lambda: f"two errors: {metrics(folder, 'flowers-v2')}", 20)


def test_users_that_the_table_forgot_are_said_to_be_missing_in_the_evidence(topology, folder, make_agent, ask):
    prepare(folder)
    agent = make_agent(arguments=("--users", "128")).start()
    wait_iterations(folder, agent)
    for n in range(1000):
        assert ask(f"101u{n}", "GET /") == 200

    def evidence():
        return folder.status(EXPERIMENT)["shunt"].get("evidence", {})
    wait_for(lambda: evidence().get("lostUsers", 0) > 100 and metrics(folder, "flowers-v2").get("request-count") == 1000,
             lambda: f"lost users: {evidence()}", 20)
    assert evidence()["lostUsers"] + sum(evidence()["sample"].values()) == 1000
    words = "the evidence is reduced"
    wait_for(lambda: any(words in problem["message"] for problem in agent.status()["problems"]), "the problem in shunt status", 20)
    assert words in agent.command("describe", EXPERIMENT).stdout
    assert words in agent.command("status", "--interval", "0").stdout
