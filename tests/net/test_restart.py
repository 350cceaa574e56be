# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""No agent in the data path: killed and started again under load, nobody notices."""

import json
import subprocess

import pytest

from agent import client_words, frontend_url, start_newrelic
from topology import end_process, wait_for

RATE = 200


def fast_experiment(folder, url, interval=1, iterations=10):
    folder.edit("Experiment", lambda e: e["spec"]["duration"].update(intervalSeconds=interval, iterationsPerLoop=iterations))
    folder.edit("Metric", lambda m: m["spec"].update(urlTemplate=url), name="user-engagement")


def requests_served(agent):
    return sum(agent.maps.requests().values())


@pytest.fixture
def load(topology):
    """A client that makes RATE requests a second, each a new connection, until finish(), which returns its report."""
    process = topology.client1.start(*client_words(frontend_url(4), f"--rate {RATE} --concurrency 32"), stdout=subprocess.PIPE, text=True)

    def finish():
        process.terminate()
        return json.loads(process.communicate(timeout=30)[0])

    yield finish
    end_process(process)


def test_kill_9_and_restart_under_load_fail_no_request_and_move_no_user(topology, folder, make_agent, request):
    fast_experiment(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), iterations=1000)
    agent = make_agent(arguments=("--task-user", "root")).start()
    finish = request.getfixturevalue("load")

    wait_for(lambda: requests_served(agent) > RATE, "load", 20)
    wait_for(lambda: iterations(agent) >= 2, lambda: f"second iteration in:\n{agent.log}", 20)
    agent.kill()
    at_kill, iteration_at_kill = requests_served(agent), iterations(agent)
    wait_for(lambda: requests_served(agent) > at_kill + RATE, "requests served without an agent", 20)
    generation = agent.maps.meta()["generation"]

    agent.start()
    wait_for(lambda: requests_served(agent) > at_kill + 3 * RATE, "requests served after the restart", 20)
    wait_for(lambda: iterations(agent) > iteration_at_kill, lambda: f"next iteration in:\n{agent.log}", 20)
    assert iterations(agent) < iteration_at_kill + 60, "the experiment went on where it was; it did not invent iterations"
    assert agent.maps.meta()["generation"] >= generation, "the pinned tables were taken over"

    result = finish()
    assert result["problems"] == []
    assert (result["errors"], result["wrong"]) == (0, 0)
    assert result["requests"] == requests_served(agent), "the counters went on over the restart, and none was lost"


def iterations(agent):
    return (agent.folder.status("session-affinity-exp") or {}).get("completedIterations", 0)


def test_a_connection_made_before_the_kill_goes_on_after_the_restart(topology, agent):
    """One keep-alive connection, held by hand: same flow, same version, old counters."""
    with topology.client1.entered():
        import http.client
        connection = http.client.HTTPConnection("10.96.0.10", 80, timeout=5)

        def ask(user):
            connection.request("GET", "/", headers={"Host": "example.com", "userhash": user})
            response = connection.getresponse()
            response.read()
            return response.getheader("version")

        connection.connect()
        port = connection.sock.getsockname()[1]
        assert ask("1111100000") == "flowers-v1"
        before = agent.maps.requests()
        agent.kill()
        assert ask("1010101010") == "flowers-v2", "re-binding needs no agent"
        agent.start()
        assert ask("1111100000") == "flowers-v1"
        assert connection.sock.getsockname()[1] == port
        connection.close()
    after = agent.maps.requests()
    assert after["flowers-v1"] == before["flowers-v1"] + 1
    assert after["flowers-v2"] == before.get("flowers-v2", 0) + 1
