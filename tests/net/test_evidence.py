# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""criteria.strength for real: an experiment that ends as soon as the kernel's numbers are sure, and not before."""

from agent import frontend_url
from topology import wait_for

EXPERIMENT = "session-affinity-exp"
PATH = "/v1/models/flowers:predict"


def prepare(folder, strength):
    """A split of 50/50 without rules; the lower latency wins. The pods of v1 need 20 ms, those of v2 10."""

    def experiment(manifest):
        spec = manifest["spec"]
        spec["strategy"]["actions"] = {}
        spec["criteria"] = {"rewards": [{"metric": "shunt/mean-latency", "preferredDirection": "Low"}],
                            "objectives": [{"metric": "shunt/error-rate", "upperLimit": "0.2"}], "strength": strength}
        spec["duration"].update(intervalSeconds=1, iterationsPerLoop=1000)

    folder.edit("Experiment", experiment)
    folder.divide(baseline=50, candidate=50)


def visit(box, users):
    """One request of each user, over one connection."""
    words = []
    for user in users:
        words += ["--next"] if words else []
        words += ["-s", "-o", "/dev/null", "-H", "Host: example.com", "-H", f"userhash: {user}", frontend_url(4, PATH)]
    box.run("curl", *words)


def evidence(folder):
    return (folder.status(EXPERIMENT) or {}).get("shunt", {}).get("evidence", {})


def test_an_experiment_ends_when_it_is_sure(topology, folder, make_agent):
    prepare(folder, {"minimumSample": 40, "maximumSample": 200})
    agent = make_agent().start()
    wait_for(lambda: evidence(folder).get("verdict") == "InsufficientData", lambda: f"a verdict on nothing in:\n{agent.log}", 20)
    visit(topology.client1, [f"user-{n}" for n in range(300)])
    wait_for(lambda: folder.status(EXPERIMENT)["stage"] == "Completed", lambda: f"completed experiment; {evidence(folder)}; log:\n{agent.log}", 30)
    status = folder.status(EXPERIMENT)
    assert status["completedIterations"] < 100
    assert status["versionRecommendedForPromotion"] == "flowers-v2"
    found = evidence(folder)
    assert (found["verdict"], found["winner"], found["unit"], found["rule"]) == ("Winner", "flowers-v2", "user", True)
    assert 80 <= sum(found["sample"].values()) <= 300  # it may end before all of them have come
    assert "splitPValue" in found
    assert found["differences"][0]["better"] == "flowers-v2"
    assert all(objective["claim"] == "holds" for objective in found["objectives"])
    text = agent.command("describe", EXPERIMENT).stdout
    assert "Verdict: Winner (it decides: criteria.strength)" in text and "Split of the users: as configured" in text


def test_two_users_are_no_sample_however_much_they_ask(topology, folder, make_agent):
    prepare(folder, {})
    agent = make_agent().start()
    wait_for(lambda: evidence(folder).get("verdict") == "InsufficientData", lambda: f"a verdict on nothing in:\n{agent.log}", 20)
    visit(topology.client1, ["anna", "ben"] * 200)
    wait_for(lambda: sum(evidence(folder)["sample"].values()) == 2, lambda: f"two users; {evidence(folder)}; log:\n{agent.log}", 20)
    assert evidence(folder)["verdict"] == "InsufficientData"
    assert folder.status(EXPERIMENT)["versionRecommendedForPromotion"] == "flowers-v1"
