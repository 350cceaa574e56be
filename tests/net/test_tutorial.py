# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""The tutorial's experiment from its first iteration to its promotion, faster: ../seed/session-affinity.txt with a second for its ten."""

import threading

import pytest

from agent import TUTORIAL, client, file_of, frontend_url, start_newrelic
from topology import wait_for

EXPERIMENT = "session-affinity-exp"
PATH = "/v1/models/flowers:predict"
PROMOTED = ("=flowers-v2",)


def prepare(folder, url, iterations=10, interval=1, marker=None):
    def experiment(manifest):
        manifest["spec"]["duration"].update(intervalSeconds=interval, iterationsPerLoop=iterations)
        if marker:  # the task of the tutorial needs a cluster; here it leaves a trace of what it would have applied
            manifest["spec"]["strategy"]["actions"]["finish"][0]["with"]["args"] = ["-c", f"echo kubectl apply -f {{{{ .promote }}}} >>{marker}"]

    folder.edit("Experiment", experiment)
    folder.edit("Metric", lambda m: m["spec"].update(urlTemplate=url), name="user-engagement")


@pytest.fixture
def users(topology):
    """The tutorial's two groups, and a third without an id, asking all the time; returns the results so far and starts anew."""

    class Users:
        def __init__(self):
            self.stop = threading.Event()
            self.lock = threading.Lock()
            self.rounds = []
            self.thread = threading.Thread(target=self.run)

        def run(self):
            while not self.stop.is_set():
                result = client(topology.client1, frontend_url(4, PATH), "--requests 20 --method POST --body {} --concurrency 4")
                with self.lock:
                    self.rounds.append(result)

        def take(self):
            with self.lock:
                rounds, self.rounds = self.rounds, []
            return rounds

    made = Users()
    made.thread.start()
    yield made
    made.stop.set()
    made.thread.join()


def stage(folder):
    return (folder.status(EXPERIMENT) or {}).get("stage")


def test_the_experiment_finds_its_winner_promotes_it_and_users_stay(topology, folder, make_agent, users, tmp_path):
    marker = topology.dir / "promoted"
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), marker=marker)
    agent = make_agent(arguments=("--task-user", "root")).start()

    wait_for(lambda: (folder.status(EXPERIMENT) or {}).get("completedIterations", 0) >= 8, lambda: f"eighth iteration in:\n{agent.log}", 30)
    before = users.take()
    assert stage(folder) == "Running"
    wait_for(lambda: stage(folder) == "Completed", lambda: f"completed experiment in:\n{agent.log}", 30)

    status = folder.status(EXPERIMENT)
    assert status["completedIterations"] == 10
    assert status["versionRecommendedForPromotion"] == "flowers-v2"
    winner = status["analysis"]["winnerAssessment"]["data"]
    assert (winner["winnerFound"], winner["winner"]) == (True, "flowers-v2")
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert conditions["Completed"] == "True" and conditions["Failed"] == "False"
    assert marker.read_text().splitlines() == [
        "kubectl apply -f https://raw.githubusercontent.com/iter8-tools/iter8/master/samples/kfserving/quickstart/promote-v2.yaml"]

    # until the promotion every user saw her own version; after it everybody sees the winner
    first = [r for r in before if r["users"]]
    assert first and all(r["errors"] == r["wrong"] == 0 for r in first[1:])
    assert all(set(r["users"].get("111", {"flowers-v1": 1})) == {"flowers-v1"} for r in first)
    assert all(set(r["users"].get("101", {"flowers-v2": 1})) == {"flowers-v2"} for r in before + first)
    users.take()
    result = client(topology.client2, frontend_url(6, PATH), "--requests 200 --method POST --body {}", expect=PROMOTED)
    assert result["problems"] == [] and result["wrong"] == 0

    described = agent.command("describe", EXPERIMENT).stdout
    assert "flowers-v2" in described and "Completed" in described


def test_no_winner_when_the_reward_does_not_improve(topology, folder, make_agent, users):
    marker = topology.dir / "promoted-baseline"
    prepare(folder, start_newrelic(topology.node, flowers_v1=15, flowers_v2=10), iterations=3, marker=marker)
    agent = make_agent(arguments=("--task-user", "root")).start()
    wait_for(lambda: stage(folder) == "Completed", lambda: f"completed experiment in:\n{agent.log}", 30)
    assert folder.status(EXPERIMENT)["versionRecommendedForPromotion"] == "flowers-v1"
    assert marker.read_text().strip().endswith("promote-v1.yaml")


def test_a_candidate_that_breaks_an_objective_does_not_win(topology, folder, make_agent, users):
    """The candidate's engagement is better, but its latency is over the limit."""
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), iterations=3, marker=topology.dir / "not-promoted")

    def tighten(manifest):
        manifest["spec"]["criteria"]["objectives"][0]["upperLimit"] = 1  # ms; the pods need 10 and 20

    folder.edit("Experiment", tighten)
    agent = make_agent(arguments=("--task-user", "root")).start()
    wait_for(lambda: stage(folder) == "Completed", lambda: f"completed experiment in:\n{agent.log}", 30)
    status = folder.status(EXPERIMENT)
    assert status["analysis"]["winnerAssessment"]["data"]["winnerFound"] is False
    assert status["versionRecommendedForPromotion"] == "flowers-v1"


def test_a_completed_experiment_stays_completed_over_a_restart(topology, folder, make_agent, users):
    marker = topology.dir / "promoted-once"
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), iterations=2, marker=marker)
    agent = make_agent(arguments=("--task-user", "root")).start()
    wait_for(lambda: stage(folder) == "Completed", lambda: f"completed experiment in:\n{agent.log}", 30)
    agent.kill()
    agent.start()
    result = client(topology.client2, frontend_url(4, PATH), "--requests 100", expect=PROMOTED)
    assert result["wrong"] == result["errors"] == 0
    assert stage(folder) == "Completed"
    assert len(marker.read_text().splitlines()) == 1, "the finish task ran once"


def test_the_tutorials_text_is_accepted_unchanged(topology, folder, make_agent):
    """VirtualService and Experiment of the sample are the seed's, word for word; the daemon takes them as they are."""
    agent = make_agent().start()
    assert file_of(folder, "VirtualService") and file_of(folder, "Experiment")
    experiment = agent.status()["experiments"][0]
    assert experiment["name"].endswith("session-affinity-exp")
    result = client(topology.client1, frontend_url(4, PATH), "--requests 50 --method POST --body {}", expect=TUTORIAL)
    assert result["wrong"] == result["errors"] == 0
