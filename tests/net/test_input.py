# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Bad input: a clear message, and nothing that works stops working."""

import copy
import json
import os
import shutil
import tempfile

import pytest
import yaml

from agent import SAMPLE, client, file_of, frontend_url
from topology import wait_for

# A manifest of each kind of mistake; `what` must all stand in the message: the line, the path, what was found, what is allowed.
BAD = {
    "unknown field": ("""\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata:
  name: bad
spec:
  hosts: [example.com]
  htpp: []
""", ["bad.yaml:7", "spec.htpp"]),
    "unknown kind": ("""\
apiVersion: iter8.tools/v2alpha2
kind: Experimant
metadata:
  name: bad
""", ["bad.yaml", "Experimant"]),
    "wrong type": ("""\
---
# a comment, so that lines count from the file's start
apiVersion: iter8.tools/v2alpha2
kind: Experiment
metadata:
  name: bad
spec:
  target: flowers
  strategy: {testingPattern: Conformance}
  duration:
    intervalSeconds: soon
  versionInfo:
    baseline: {name: flowers-v1}
""", ["bad.yaml:11", "spec.duration.intervalSeconds", "soon"]),
    "unknown value": ("""\
apiVersion: iter8.tools/v2alpha2
kind: Experiment
metadata:
  name: bad
spec:
  target: flowers
  strategy:
    testingPattern: A/Z
  versionInfo:
    baseline: {name: flowers-v1}
""", ["bad.yaml:8", "spec.strategy.testingPattern", "A/Z", "Canary"]),
    "port out of range": ("""\
apiVersion: v1
kind: Service
metadata: {name: bad}
spec:
  clusterIP: 10.96.0.11
  ports:
  - port: 70000
""", ["bad.yaml:7", "spec.ports[0].port", "70000", "65535"]),
    "not an address": ("""\
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: bad, labels: {kubernetes.io/service-name: bad}}
addressType: IPv4
endpoints:
- addresses: [10.77.3.256]
ports:
- port: 80
""", ["bad.yaml:6", "endpoints[0].addresses[0]", "10.77.3.256"]),
    "no YAML": ("""\
apiVersion: v1
kind: Service
metadata: {name: bad
spec: ]
""", ["bad.yaml:4"]),
    "missing field": ("""\
apiVersion: v1
kind: Service
spec:
  ports: [{port: 80}]
""", ["bad.yaml", "metadata"]),
}


@pytest.mark.parametrize("name", BAD, ids=[name.replace(" ", "-") for name in BAD])
def test_a_folder_that_cannot_be_understood_exits_2_and_says_where(make_agent, folder, name):
    manifest, what = BAD[name]
    folder.write("bad.yaml", manifest)
    agent = make_agent()
    agent.start_unready()
    assert agent.process.wait(10) == 2
    for words in what:
        assert words in agent.log
    assert not agent.pins.exists() or not any(agent.pins.iterdir()), "nothing was loaded"


def test_every_mistake_of_a_folder_is_named_at_once(make_agent, folder):
    for name, (manifest, _) in BAD.items():
        folder.write(f"{name.replace(' ', '-')}-bad.yaml", manifest)
    agent = make_agent()
    agent.start_unready()
    assert agent.process.wait(10) == 2
    for name in BAD:
        assert f"{name.replace(' ', '-')}-bad.yaml" in agent.log


def test_a_folder_that_is_not_there_is_named(make_agent, folder):
    folder.path = folder.path / "nowhere"
    agent = make_agent()
    agent.start_unready()
    assert agent.process.wait(10) == 2
    assert str(folder.path) in agent.log


def test_a_running_agent_keeps_the_last_good_plan_and_says_so(topology, agent, folder):
    folder.write("bad.yaml", BAD["unknown field"][0])
    agent.wait_log("spec.htpp")
    assert "spec.htpp" in json.dumps(agent.status()), "the status tells that the newest manifests are not in force"
    assert "  bad.yaml:7 " in agent.command("status", "--interval", "0").stdout, "a person reads places within the folder"
    assert f"{folder.path}/bad.yaml:7" in json.dumps(agent.status())
    result = client(topology.client1, frontend_url(4), "--requests 200")
    assert result["problems"] == []

    (folder.path / "bad.yaml").unlink()
    wait_for(lambda: "spec.htpp" not in json.dumps(agent.status()), "status without the mistake")
    assert client(topology.client1, frontend_url(4), "--requests 200")["problems"] == []


def test_a_changed_manifest_is_steered_by_at_once(topology, agent, folder):
    def swap(manifest):
        manifest["spec"]["http"][0]["match"][0]["headers"]["userhash"]["prefix"] = "111"

    folder.edit("VirtualService", swap)
    agent.wait_served("1111100000", "flowers-v2")
    result = client(topology.client1, frontend_url(4), "--requests 200", expect=("111=flowers-v2", "=flowers-v1"))
    assert result["problems"] == []


@pytest.mark.parametrize("drop, missing", [("-bpf,-sys_admin", "CAP_BPF"), ("-net_admin,-sys_admin", "CAP_NET_ADMIN")])
def test_a_missing_capability_is_named(topology, make_agent, shunt, drop, missing):
    agent = make_agent()
    done = topology.node.run("setpriv", f"--bounding-set={drop}", "--inh-caps=-all", shunt, "run", SAMPLE, *agent.common, check=False)
    assert done.returncode == 1
    assert missing in done.stderr


def test_without_root_the_missing_capabilities_are_named(topology, make_agent, shunt):
    agent = make_agent()
    with tempfile.TemporaryDirectory() as place:  # the tree may lie where only root can read, such as its home
        os.chmod(place, 0o755)
        shutil.copy(shunt, f"{place}/shunt")
        shutil.copytree(SAMPLE, f"{place}/manifests")
        done = topology.node.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "--inh-caps=-all",
                                 f"{place}/shunt", "run", f"{place}/manifests", *agent.common, check=False)
    assert done.returncode == 1
    assert "CAP_BPF" in done.stderr and "CAP_NET_ADMIN" in done.stderr


def remove(folder, kind, wanted):
    """Takes the objects out of the folder for which wanted(document) is true."""
    for file, documents in folder.documents():
        kept = [d for d in documents if not (d and d.get("kind") == kind and wanted(d))]
        if len(kept) != len(documents):
            folder.write(file.name, yaml.safe_dump_all(kept, sort_keys=False))


def in_namespace(name):
    return lambda document: document["metadata"].get("namespace") == name


EVERYBODY_V1 = ("=flowers-v1",)


def test_a_route_whose_service_does_not_exist_is_named_and_the_others_serve(topology, make_agent, folder):
    remove(folder, "Service", in_namespace("ns-candidate"))
    agent = make_agent().start()
    assert "flowers-predictor-default.ns-candidate" in agent.command("status", "--interval", "0").stdout
    result = client(topology.client1, frontend_url(4), "--requests 200", expect=EVERYBODY_V1)
    assert result["problems"] == []
    assert agent.reason("FALLBACK") > 0


def test_a_version_without_ready_pods_is_served_by_the_default_version_and_counted(topology, agent, folder):
    def candidates(ready):
        def change(manifest):
            if in_namespace("ns-candidate")(manifest):
                for endpoint in manifest["endpoints"]:
                    endpoint["conditions"] = {"ready": ready}
        return change

    folder.edit("EndpointSlice", candidates(False))
    agent.wait_served("1010101010", "flowers-v1")
    before = agent.reason("FALLBACK")
    result = client(topology.client1, frontend_url(4), "--requests 300", expect=EVERYBODY_V1)
    assert result["problems"] == []
    group = sum(result["users"]["101"].values())
    assert agent.reason("FALLBACK") - before == group > 0

    folder.edit("EndpointSlice", candidates(True))
    agent.wait_served("1010101010", "flowers-v2")
    assert client(topology.client1, frontend_url(4), "--requests 300")["problems"] == []


def test_two_routes_on_one_frontend_are_told_apart_by_host(topology, make_agent, folder):
    other = copy.deepcopy(folder.get("VirtualService"))
    other["metadata"]["name"] = "other-rule"
    other["spec"]["hosts"] = ["other.example.com"]
    other["spec"]["http"] = other["spec"]["http"][:1]  # everybody goes to the candidate
    del other["spec"]["http"][0]["match"]
    folder.write("other.yaml", yaml.safe_dump(other))
    make_agent().start()
    assert client(topology.client1, frontend_url(4), "--requests 100")["problems"] == []
    result = client(topology.client1, frontend_url(4), "--requests 100 --host other.example.com", expect=("=flowers-v2",))
    assert result["problems"] == []


def test_two_routes_for_one_host_are_reported_and_the_first_stays(topology, make_agent, folder):
    other = copy.deepcopy(folder.get("VirtualService"))
    other["metadata"]["name"] = "zz-the-same-again"
    other["spec"]["http"] = other["spec"]["http"][1:]
    folder.write("zz-other.yaml", yaml.safe_dump(other))
    agent = make_agent().start()
    assert "zz-the-same-again" in agent.command("status", "--interval", "0").stdout
    assert client(topology.client1, frontend_url(4), "--requests 100")["problems"] == []


def test_an_experiment_that_names_unknown_metrics_says_which_and_steering_goes_on(topology, make_agent, folder):
    def change(manifest):
        manifest["spec"]["criteria"]["rewards"][0]["metric"] = "iter8-kfserving/happiness"
        manifest["spec"]["duration"].update(intervalSeconds=1, iterationsPerLoop=2)

    folder.edit("Experiment", change)
    agent = make_agent().start()
    wait_for(lambda: "iter8-kfserving/happiness" in agent.command("describe", "session-affinity-exp").stdout,
             lambda: f"unknown metric in describe; log:\n{agent.log}")
    assert client(topology.client1, frontend_url(4), "--requests 200")["problems"] == []


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run"], ["run", "--colour", "red", "/"], ["explain", "--header", "no-equals-sign"]])
def test_a_command_line_that_cannot_be_understood_exits_2_with_the_way_out(topology, shunt, arguments):
    done = topology.node.run(shunt, *arguments, check=False)
    assert done.returncode == 2
    assert "shunt" in done.stderr


def test_explain_tells_what_the_kernel_does(topology, agent):
    """For 40 users: explain, which runs the kernel's code, names the version that the kernel then sends them to."""
    for i in range(40):
        user = f"{i:03b}"[-3:].rjust(3, "0") + "0" * 7
        answer = agent.json("explain", "--header", f"userhash={user}")
        expected = "flowers-v2" if user.startswith("101") else "flowers-v1"
        assert answer["version"] == expected
        result = client(topology.client1, frontend_url(4), f"--requests 1 --groups {user}", expect=(f"={answer['version']}",))
        assert result["problems"] == []


def test_the_sample_is_one_that_a_person_can_read(folder):
    """The tutorial's two objects lie in the sample, each in a file of its own."""
    assert file_of(folder, "VirtualService") != file_of(folder, "Experiment")
