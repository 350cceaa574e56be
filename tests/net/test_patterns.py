# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Deployment patterns for real: the weights of an experiment are the kernel's split, and users move only as they must."""

import random
import subprocess

from agent import SAMPLE, client, client_words, frontend_url, start_newrelic
from topology import wait_for

EXPERIMENT = "session-affinity-exp"
PATH = "/v1/models/flowers:predict"
USERS = [f"{random.Random(n).getrandbits(40):x}" for n in range(120)]


def prepare(folder, url, deployment, iterations, **strategy):
    """The tutorial with other patterns, on a route without a rule: v1 has 100, v2 has 0."""

    def experiment(manifest):
        spec = manifest["spec"]
        spec["strategy"].update(deploymentPattern=deployment, **strategy)
        spec["strategy"]["actions"] = {}
        spec["criteria"]["objectives"] = []
        spec["duration"].update(intervalSeconds=1, iterationsPerLoop=iterations)

    folder.edit("Experiment", experiment)
    folder.divide(baseline=100, candidate=0)
    folder.edit("Metric", lambda m: m["spec"].update(urlTemplate=url), name="user-engagement")


def versions(agent):
    """Who has which version now, as the kernel's own code says it."""
    return {user: agent.json("explain", "--path", PATH, "--header", f"userhash={user}")["version"] for user in USERS}


def status(folder):
    return folder.status(EXPERIMENT) or {}


def weight(folder, version):
    return {w["name"]: w["value"] for w in status(folder).get("currentWeightDistribution", [])}.get(version)


def test_progressive_weights_are_the_kernels_split_and_nobody_moves_back(topology, folder, make_agent):
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), "Progressive", 1000,
            weights={"maxCandidateWeight": 40, "maxCandidateWeightIncrement": 20})
    agent = make_agent().start()
    wait_for(lambda: weight(folder, "flowers-v2") == 20, lambda: f"20 % for flowers-v2 in:\n{agent.log}", 20)
    few = {user for user, version in versions(agent).items() if version == "flowers-v2"}
    wait_for(lambda: weight(folder, "flowers-v2") == 40, lambda: f"40 % for flowers-v2 in:\n{agent.log}", 20)
    agent.kill()  # in the middle of it: iteration and weights go on
    iterations = status(folder)["completedIterations"]
    agent.start()
    wait_for(lambda: status(folder)["completedIterations"] > iterations, lambda: f"iterations after the restart in:\n{agent.log}", 20)
    split = {user: version for user, version in versions(agent).items()}
    many = {user for user, version in split.items() if version == "flowers-v2"}
    assert 0 < len(few) < len(many) < len(USERS)
    assert few <= many, "a user of the candidate was moved back"
    moved = status(folder)["shunt"]["split"]["movedUsersPercent"]
    assert moved == {"last": 20, "all": 40}

    user = {"flowers-v2": sorted(many)[0], "flowers-v1": sorted(set(USERS) - many)[0]}
    for version in user:  # what explain says is what packets get
        answer = topology.client1.run("curl", "-s", "-H", "Host: example.com", "-H", f"userhash: {user[version]}", frontend_url(4, PATH))
        assert version in answer.stdout

    folder.write("experiment.yaml", "")  # deleted: the route's own rules hold
    wait_for(lambda: set(versions(agent).values()) == {"flowers-v1"}, lambda: f"100/0 as written in:\n{agent.log}", 10)


def test_blue_green_gives_the_candidate_everything_and_goes_back_when_it_fails(topology, folder, make_agent):
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), "BlueGreen", 3, testingPattern="Canary")

    def criteria(manifest):
        manifest["spec"]["criteria"] = {"objectives": [{"metric": "shunt/mean-latency", "upperLimit": 1}]}  # ms; the pods need 10 and 20

    folder.edit("Experiment", criteria)
    agent = make_agent().start()
    wait_for(lambda: weight(folder, "flowers-v2") == 100, lambda: f"100 % for flowers-v2 in:\n{agent.log}", 20)
    result = client(topology.client1, frontend_url(4, PATH), "--requests 50", expect=("=flowers-v2",))
    assert result["wrong"] == result["errors"] == 0
    wait_for(lambda: status(folder).get("stage") == "Completed", lambda: f"completed experiment in:\n{agent.log}", 20)
    assert status(folder)["versionRecommendedForPromotion"] == "flowers-v1"
    assert status(folder)["message"] == "ExperimentCompleted: Experiment rolled back"
    assert set(versions(agent).values()) == {"flowers-v1"}
    assert weight(folder, "flowers-v1") == 100


def test_a_failed_experiment_leaves_the_routes_own_rules(topology, folder, make_agent):
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15), "Progressive", 2)
    folder.edit("Experiment", lambda m: m["spec"]["strategy"].update(actions={"loop": [{"task": "common/exec", "with": {"cmd": "false"}}]}))
    agent = make_agent().start()
    wait_for(lambda: (weight(folder, "flowers-v2") or 0) > 0, lambda: f"users of flowers-v2 in:\n{agent.log}", 20)
    wait_for(lambda: status(folder).get("stage") == "Completed", lambda: f"completed experiment in:\n{agent.log}", 20)
    assert any(c["type"] == "Failed" and c["status"] == "True" for c in status(folder)["conditions"])
    wait_for(lambda: set(versions(agent).values()) == {"flowers-v1"}, "the weights as the manifest has them", 20)


def test_the_samples_of_other_patterns_run_as_they_are(topology, folder, make_agent):
    """canary-progressive and conformance, with the Services of session-affinity and a second for their ten."""
    (folder.path / "routing-rule.yaml").unlink()
    for sample in ("canary-progressive", "conformance"):
        text = (SAMPLE.parent / sample / "experiment.yaml").read_text()
        folder.write(f"{sample}.yaml" if sample == "conformance" else "experiment.yaml",
                     text.replace("intervalSeconds: 10", "intervalSeconds: 1").replace("iterationsPerLoop: 10", "iterationsPerLoop: 4"))
    agent = make_agent().start()
    users = topology.client1.start(*client_words(frontend_url(4, PATH), "--rate 100"), stdout=subprocess.DEVNULL)
    for name in ("canary-progressive-exp", "conformance-exp"):
        wait_for(lambda n=name: (folder.status(n) or {}).get("stage") == "Completed", lambda n=name: f"completed {n} in:\n{agent.log}", 40)
    users.terminate()
    canary, conformance = folder.status("canary-progressive-exp"), folder.status("conformance-exp")
    assert canary["versionRecommendedForPromotion"] == "flowers-v2", agent.log
    assert [task["ok"] for task in canary["shunt"]["tasks"]] == [True]
    assert "flowers goes on with flowers-v2" in agent.log
    assert conformance["analysis"]["winnerAssessment"]["data"] == {"winnerFound": True, "winner": "flowers-v1"}
    described = agent.command("describe", "canary-progressive-exp").stdout
    assert "****** Users ******\nRoute: default/routing-rule\nWeights: flowers-v1 0 %, flowers-v2 100 %\n" in described
    assert "****** Tasks ******\ndone  " in described
