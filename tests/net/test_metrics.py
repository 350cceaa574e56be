# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What the agent serves: /metrics as a real Prometheus scrapes and queries it, /healthz, /readyz."""

import json
import subprocess

import pytest

from agent import client, frontend_url, quantity
from topology import wait_for

LISTEN, PROMETHEUS = "127.0.0.1:9642", "127.0.0.1:9090"
PATH = "/v1/models/flowers:predict"

# The tutorial's metrics (reference/iter8.md section 2.2) over shunt's counters.
METRICS = """
apiVersion: iter8.tools/v2alpha2
kind: Metric
metadata: {name: mean-latency, namespace: iter8-kfserving}
spec:
  description: Mean latency
  units: milliseconds
  provider: prometheus
  sampleSize: iter8-kfserving/request-count
  urlTemplate: http://127.0.0.1:9090/api/v1/query
  jqExpression: .data.result[0].value[1] | tonumber
  params:
  - name: query
    value: >-
      1000 * (sum(increase(shunt_request_duration_seconds_sum{version='$name'}[${elapsedTime}s])) or on() vector(0))
      / (sum(increase(shunt_request_duration_seconds_count{version='$name'}[${elapsedTime}s])) or on() vector(0))
---
apiVersion: iter8.tools/v2alpha2
kind: Metric
metadata: {name: request-count, namespace: iter8-kfserving}
spec:
  type: Counter
  provider: prometheus
  urlTemplate: http://127.0.0.1:9090/api/v1/query
  jqExpression: .data.result[0].value[1] | tonumber
  params: [{name: query, value: "sum(increase(shunt_requests_total{version='$name'}[${elapsedTime}s])) or on() vector(0)"}]
"""


def curl(topology, path, *arguments):
    return topology.node.run("curl", "-sS", *arguments, f"http://{LISTEN}{path}").stdout


@pytest.fixture
def serving(make_agent):
    return make_agent(arguments=("--listen", LISTEN)).start()


@pytest.fixture
def prometheus(topology, tmp_path):
    config = tmp_path / "prometheus.yml"
    config.write_text(f"global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: shunt\n  static_configs: [{{targets: ['{LISTEN}']}}]\n")
    process = topology.node.start("prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                                  f"--web.listen-address={PROMETHEUS}", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ready = ["curl", "-sSf", f"http://{PROMETHEUS}/-/ready"]
    wait_for(lambda: topology.node.run(*ready, check=False).returncode == 0, "Prometheus", 30)

    def query(text):
        out = topology.node.run("curl", "-sS", "-G", "--data-urlencode", f"query={text}", f"http://{PROMETHEUS}/api/v1/query").stdout
        return {r["metric"].get("version"): float(r["value"][1]) for r in json.loads(out)["data"]["result"]}

    yield query
    process.terminate()
    process.wait()


def test_prometheus_reads_what_the_kernel_counted(topology, serving, prometheus):
    client(topology.client1, frontend_url(4, "/"), "--requests 90 --groups 101")
    client(topology.client1, frontend_url(4, "/fail"), "--requests 10 --status 503 --groups 101")
    expected = serving.maps.counts()["flowers-v2"]
    wait_for(lambda: prometheus("shunt_requests_total").get("flowers-v2") == 100, lambda: f"100 requests: {prometheus('shunt_requests_total')}", 20)
    assert prometheus("shunt_errors_total")["flowers-v2"] == 10
    assert prometheus('shunt_responses_total{class="5xx"}')["flowers-v2"] == 10
    assert prometheus("shunt_request_duration_seconds_count")["flowers-v2"] == 100
    assert prometheus("shunt_request_duration_seconds_sum")["flowers-v2"] == pytest.approx(expected["latency_sum_ns"] / 1e9)
    assert prometheus("shunt_response_bytes_total")["flowers-v2"] == expected["tx_bytes"]


def test_the_tutorials_metrics_come_from_prometheus_that_scrapes_shunt(topology, folder, make_agent, prometheus):
    """Its pods answer in 20 and 10 ms; so says Prometheus, and so says the experiment that asks it."""
    folder.write("prometheus.yaml", METRICS)

    def experiment(manifest):
        manifest["spec"]["strategy"]["actions"] = {}
        manifest["spec"]["criteria"].update(rewards=[{"metric": "iter8-kfserving/mean-latency", "preferredDirection": "Low"}], objectives=[],
                                            indicators=["shunt/mean-latency"])
        manifest["spec"]["duration"].update(intervalSeconds=1, iterationsPerLoop=1000)

    folder.edit("Experiment", experiment)
    serving = make_agent(arguments=("--listen", LISTEN)).start()

    def read(metric):
        status = folder.status("session-affinity-exp") or {}
        data = status.get("analysis", {}).get("aggregatedMetrics", {}).get("data", {}).get(metric, {"data": {}})["data"]
        return [data.get(version, {}).get("value") for version in ("flowers-v1", "flowers-v2")]

    def both():
        client(topology.client1, frontend_url(4, PATH), "--requests 20 --method POST --body {}")
        return all(read("iter8-kfserving/mean-latency")) and all(read("iter8-kfserving/request-count"))

    wait_for(both, lambda: f"values from Prometheus: {folder.status('session-affinity-exp')}\n{serving.log}", 40)

    v1, v2 = map(quantity, read("iter8-kfserving/mean-latency"))
    assert 9 < v2 < v1 < 60, "20 and 10 ms, and what a busy machine adds"
    assert v1 > 18


def test_the_format_is_what_prometheus_own_checker_wants(topology, serving):
    client(topology.client1, frontend_url(6, "/"), "--requests 20")
    checked = subprocess.run(["promtool", "check", "metrics"], input=curl(topology, "/metrics"), text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_health_readiness_and_what_is_not_there(topology, serving, make_agent):
    code = ["-o", "/dev/null", "-w", "%{http_code}"]
    assert (curl(topology, "/healthz"), curl(topology, "/readyz")) == ("ok\n", "ok\n")
    assert curl(topology, "/else", *code) == "404"
    assert curl(topology, "/metrics", *code, "-X", "DELETE") == "405"
    assert curl(topology, "/metrics", *code, "-d", "x" * 100_000) == "405"
    assert "text/plain; version=0.0.4" in curl(topology, "/metrics", "-I")
    second = make_agent(interfaces="none*", arguments=("--listen", "[::1]:9643"))
    second.start_unready()
    get = ["curl", "-sS", "-w", "%{http_code}", "http://[::1]:9643/readyz"]
    wait_for(lambda: topology.node.run(*get, check=False).returncode == 0, lambda: f"a server in:\n{second.log}")
    assert topology.node.run(*get).stdout == "no interface is attached: nothing is steered\n503"


def test_an_address_that_cannot_be_listened_on_ends_the_start(topology, make_agent, serving):
    for address, words in (("nonsense", "found \"nonsense\""), (LISTEN, "cannot listen on")):
        agent = make_agent(arguments=("--listen", address))
        agent.start_unready()
        assert agent.process.wait(20) != 0
        assert words in agent.log
