# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A Secret among the manifests serves metrics and tasks, and its values are nowhere else."""

import base64
import os

import pytest
import yaml

from agent import start_newrelic
from topology import wait_for

EXPERIMENT = "session-affinity-exp"
KEY = "t0p-secret-api-key"  # newrelic.py asks for it
NAMESPACE = "iter8-kfserving"  # of the Metric
SCRIPT = """
test -n "$SCRATCH_DIR" && stat -c 'folder %a' "$SCRATCH_DIR"
pwd > "$SCRATCH_DIR/left"
echo 'the key is @< .Secret "key" >@'
nonexistent-@< .Secret "key" >@ || true
"""


def prepare(folder, url):
    def experiment(manifest):
        spec = manifest["spec"]
        spec["strategy"]["actions"] = {"finish": [{"run": SCRIPT, "with": {"secret": f"{NAMESPACE}/nr"}}]}
        spec["criteria"]["objectives"] = []
        spec["duration"].update(intervalSeconds=1, iterationsPerLoop=2)

    def metric(manifest):
        manifest["spec"].update(urlTemplate=url, authType="APIKey", secret="nr", headerTemplates=[{"name": "X-Query-Key", "value": "${key}"}])

    folder.edit("Experiment", experiment)
    folder.edit("Metric", metric, name="user-engagement")


@pytest.mark.parametrize("form", ["data", "stringData"])
def test_a_secret_among_the_manifests_serves_metric_and_task_and_is_shown_nowhere(topology, folder, make_agent, form):
    prepare(folder, start_newrelic(topology.node, flowers_v1=10, flowers_v2=15))
    encoded = base64.b64encode(KEY.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "nr", "namespace": NAMESPACE}, form: {"key": encoded if form == "data" else KEY}}
    folder.write("secret.yaml", yaml.safe_dump(secret))
    os.chmod(folder.path / "secret.yaml", 0o644)
    agent = make_agent().start()
    wait_for(lambda: (folder.status(EXPERIMENT) or {}).get("stage") == "Completed", lambda: f"completed experiment in:\n{agent.log}", 30)
    status = folder.status(EXPERIMENT)
    assert status["versionRecommendedForPromotion"] == "flowers-v2", status  # the metric was read with the key
    (task,) = status["shunt"]["tasks"]
    assert task["ok"] and "folder 700" in task["message"] and "the key is ***" in task["message"], task
    assert "scratch" not in status["shunt"]

    exposed = "everybody on this machine can read the file"
    assert any(exposed in problem["message"] and "secret.yaml" in problem["where"] for problem in agent.status()["problems"])
    shown = [agent.log, agent.command("describe", EXPERIMENT).stdout, agent.command("status", "--interval", "0").stdout, str(agent.status())]
    shown += [file.read_text() for file in folder.path.glob("*") if file.is_file() and file.name != "secret.yaml"]
    shown += [file.read_text() for file in agent.run_dir.glob("*.json")]
    assert any("the key is ***" in text for text in shown), "the task has printed it"
    for text in shown:
        assert KEY not in text and encoded not in text

    os.chmod(folder.path / "secret.yaml", 0o640)
    wait_for(lambda: not any(exposed in problem["message"] for problem in agent.status()["problems"]), "the note to go", 20)
