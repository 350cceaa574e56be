# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""`shunt power` and `shunt simulate`: no agent, no root. Their JSON field names are an interface: scripts read them."""

import json
import subprocess

EXPERIMENT = """\
apiVersion: iter8.tools/v2alpha2
kind: Experiment
metadata: {name: try}
spec:
  target: shop
  strategy: {testingPattern: A/B, deploymentPattern: FixedSplit}
  criteria:
    rewards: [{metric: shunt/error-rate, preferredDirection: Low}]
    objectives: [{metric: shunt/mean-latency, upperLimit: 150}]
    strength: {maximumSample: 50000}
  duration: {iterationsPerLoop: 100}
  versionInfo: {baseline: {name: v1}, candidates: [{name: v2}]}
"""
OUTCOME = {"decision", "version", "runs", "share", "iteration_p10", "iteration_median", "iteration_p90", "users_median"}


def command(shunt, *arguments):
    return subprocess.run([shunt, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_power_says_users_and_days(shunt):
    result = command(shunt, "power", "--baseline", "0.02", "--effect", "0.1", "--users-per-day", "5000", "--json")
    assert result.returncode == 0, result.stderr
    plan = json.loads(result.stdout)
    assert 161000 < plan["users_fixed_sample"] < 162000  # two samples of 7.849 * variance / effect^2
    assert plan["users_fixed_sample"] < plan["users"] < 2 * plan["users_fixed_sample"]
    assert plan["users_median_double_effect"] < plan["users_median"] < plan["users"]
    assert abs(plan["days"] - plan["users"] / 5000) <= 0.1
    text = command(shunt, "power", "--mean", "120", "--sd", "300", "--effect", "-0.05").stdout
    assert "strength.maximumSample" in text and "Days" not in text


def test_power_names_what_is_wrong(shunt):
    for arguments, message in [
        (["--effect", "0.1"], "neither a rate nor a mean"),
        (["--baseline", "0.02"], "--effect is missing"),
        (["--baseline", "1.2", "--effect", "0.1"], "--baseline: found 1.2"),
        (["--baseline", "0.6", "--effect", "1"], "--baseline with its effect: found 1.2"),
        (["--baseline", "0.02", "--effect", "ten"], "--effect: found 'ten'"),
    ]:
        result = command(shunt, "power", *arguments)
        assert result.returncode == 2 and message in result.stderr, (arguments, result.stderr)


def test_simulate_says_how_often_it_decides_what_and_when(shunt, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    arguments = ["simulate", path, "--runs", "200", "--error-effect", "-0.3", "--json"]
    result = command(shunt, *arguments)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["rule"] == "criteria.strength" and found["iterations"] == 100
    assert all(set(outcome) == OUTCOME for outcome in found["decisions"])
    first = found["decisions"][0]
    assert (first["decision"], first["version"]) == ("Winner", "v2") and first["share"] > 0.9
    assert 1 <= first["iteration_p10"] <= first["iteration_median"] <= first["iteration_p90"] <= 100
    assert sum(outcome["runs"] for outcome in found["decisions"]) == 200
    assert command(shunt, *arguments).stdout == result.stdout  # the same seed, the same result
    slow = command(shunt, "simulate", path, "--runs", "50", "--latency-effect", "1").stdout
    assert "Winner" in slow and "v1" in slow


def test_simulate_takes_a_folder_for_the_metrics_beside_the_experiment(shunt, tmp_path):
    (tmp_path / "experiment.yaml").write_text(EXPERIMENT.replace("shunt/error-rate", "happiness"))
    (tmp_path / "metric.yaml").write_text("""\
apiVersion: iter8.tools/v2alpha2
kind: Metric
metadata: {name: happiness, namespace: default}
spec: {provider: prometheus, jqExpression: ., urlTemplate: "http://127.0.0.1:1"}
""")
    result = command(shunt, "simulate", tmp_path, "--runs", "50", "--json")
    assert result.returncode == 0, result.stderr
    assert sum(outcome["runs"] for outcome in json.loads(result.stdout)["decisions"]) == 50


def test_simulate_names_what_is_wrong(shunt, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT.replace("shunt/error-rate", "happiness"))
    result = command(shunt, "simulate", path)
    assert result.returncode == 1 and "Unable to find metric happiness" in result.stderr
    path.write_text(EXPERIMENT.replace("maximumSample", "maximumSamples"))
    result = command(shunt, "simulate", path)
    assert result.returncode == 2 and "spec.criteria.strength.maximumSamples" in result.stderr
    result = command(shunt, "simulate", tmp_path / "none.yaml")
    assert result.returncode == 2 and "none.yaml" in result.stderr
    path.write_text(EXPERIMENT)
    assert "loss: found 2" in command(shunt, "simulate", path, "--loss", "2").stderr
