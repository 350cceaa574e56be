# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What `shunt status`, `explain`, `unload` and `version` say. Their JSON field names are an interface: scripts read them."""

import json
import struct

from agent import client, frontend_url
from reasons import reasons
from topology import run

VERSION_FIELDS = {
    "series", "route", "version", "share", "rules", "pods", "request_lines", "response_lines", "requests", "responses_by_class", "errors", "aborted", "rx_bytes", "tx_bytes",
    "rate_per_s", "latency_count", "latency_mean_ms",
    *[f"{family}_{quantile}{band}_ms" for family in ("latency", "ttfb") for quantile in ("p50", "p95", "p99") for band in ("", "_low", "_high")],
}


def versions(status):
    return {v["version"]: v for v in status["versions"]}


def test_status_has_its_fields(agent):
    status = agent.json("status", "--interval", "0")
    assert set(status) == {"agent", "attachments", "frontends", "versions", "experiments", "problems", "unusual", "reasons"}
    assert set(status["agent"]) == {"running", "pid", "started", "since", "manifests"}
    assert all(set(a) == {"interface", "kind", "present", "purpose"} for a in status["attachments"])
    assert all(set(f) == {"address", "kind", "routes", "hosts", "identities"} for f in status["frontends"])
    assert all(set(v) == VERSION_FIELDS for v in status["versions"])
    assert all(set(r) == {"name", "sort", "count", "text"} for r in status["reasons"])


def test_status_tells_what_the_sample_steers(agent):
    status = agent.json("status", "--interval", "0")
    assert status["agent"]["running"] is True and status["agent"]["pid"] == agent.process.pid
    assert [f["address"] for f in status["frontends"]] == ["10.96.0.10:80", "[fd00:96::10]:80"]
    assert all(f["hosts"] == ["example.com"] and f["identities"] == ["header:userhash"] for f in status["frontends"])
    found = versions(status)
    assert (found["flowers-v1"]["share"], found["flowers-v1"]["rules"]) == (1.0, 0)
    assert (found["flowers-v2"]["share"], found["flowers-v2"]["rules"]) == (None, 1)
    assert len(found["flowers-v2"]["pods"]) == 2


def test_status_counts_what_the_client_did(topology, agent):
    before = versions(agent.json("status", "--interval", "0"))
    result = client(topology.client1, frontend_url(4), "--requests 200")
    assert result["problems"] == []
    after = versions(agent.json("status", "--interval", "0"))
    assert sum(after[v]["requests"] - before[v]["requests"] for v in after) == result["requests"]
    for version in after.values():
        assert version["latency_p50_low_ms"] <= version["latency_p50_ms"] <= version["latency_p50_high_ms"]
        assert version["latency_p50_ms"] <= version["latency_p95_ms"] <= version["latency_p99_ms"]
        assert 0 < version["ttfb_p50_ms"] <= version["latency_p99_high_ms"]


def test_rates_come_from_two_readings(agent):
    assert all(v["rate_per_s"] is None for v in agent.json("status", "--interval", "0")["versions"])
    assert all(v["rate_per_s"] == 0 for v in agent.json("status", "--interval", "0.05")["versions"])


def test_status_works_when_the_agent_is_gone(agent):
    agent.kill()
    status = agent.json("status", "--interval", "0")
    assert status["agent"] == {"running": False}
    assert set(versions(status)) == {"flowers-v1", "flowers-v2"}
    text = agent.command("status", "--interval", "0").stdout
    assert "running  no" in text and "flowers-v2" in text


def test_text_shows_all_counters_only_when_asked(agent):
    assert "All counters" not in agent.command("status", "--interval", "0").stdout
    text = agent.command("status", "--interval", "0", "--all").stdout
    assert "All counters" in text and "LEG_REFUSED" in text


def test_every_reason_that_was_counted_has_its_line(agent):
    cpus = len(agent.maps.dump("shunt_reason")[0]["values"])
    for i in range(len(reasons())):  # on every CPU
        run("bpftool", "map", "update", "pinned", agent.pins / "shunt_reason", "key", *struct.pack("<I", i), "value", *struct.pack("<Q", i + 1))
    expected = [{"name": name, "sort": sort, "count": (i + 1) * cpus, "text": text} for i, (name, (sort, text)) in enumerate(reasons().items())]
    status = agent.json("status", "--interval", "0")
    assert len(expected) > 50 and status["reasons"] == expected
    assert status["unusual"] == [row for row in expected if row["sort"] == "odd"]
    lines = [" ".join(line.split()) for line in agent.command("status", "--interval", "0", "--all").stdout.splitlines()]
    for row in expected:
        assert f"{row['count']} {row['text']} {row['name']}" in lines
    usual = agent.command("status", "--interval", "0").stdout
    assert all((row["text"] in usual) == (row["sort"] == "odd") for row in expected)


def test_nothing_pinned_is_said_with_the_next_step(make_agent):
    agent = make_agent()
    for verb in ("status", "explain"):
        done = agent.command(verb, check=False)
        assert done.returncode == 1 and done.stdout == ""
        assert f"nothing is pinned under {agent.pins}" in done.stderr and "shunt run" in done.stderr


def test_explain_has_its_fields_and_names_the_rule(agent):
    answer = agent.json("explain", "--header", "userhash=1010101010")
    assert answer["request_lines"] == ["Host: flowers-predictor-default.ns-candidate"] and answer["response_lines"] == ["version: flowers-v2"]
    assert set(answer) == {"version", "served_by", "pod", "route", "hash", "hash_fraction", "share_from", "share_to", "by", "rule", "why", "user",
                           "identity", "client", "user_from_client", "host", "host_text", "host_named", "frontend", "entry", "conditions", "request_lines", "response_lines"}
    assert (answer["version"], answer["by"], answer["rule"]) == ("flowers-v2", "rule", "101*")
    assert (answer["route"], answer["user"], answer["host"]) == ("default/routing-rule", "1010101010", "example.com")
    assert answer["pod"].endswith(":8081")


def test_explain_takes_the_client_for_a_user_without_an_id(agent):
    answer = agent.json("explain", "--client", "fd00::7")
    assert (answer["user"], answer["user_from_client"], answer["frontend"]) == ("fd00::7", True, "[fd00:96::10]:80")


def test_explain_says_that_no_route_names_the_host(agent):
    answer = agent.json("explain", "--host", "other.example")
    assert answer["host_named"] is False
    assert "no route of the frontend names it" in agent.command("explain", "--header", "Host=other.example").stdout


def test_explain_refuses_what_is_no_frontend(agent):
    done = agent.command("explain", "--frontend", "10.96.0.10:81", check=False)
    assert done.returncode == 1 and "10.96.0.10:81 is no frontend" in done.stderr


def test_unload_leaves_nothing_and_may_be_said_twice(agent):
    busy = agent.command("unload", check=False)
    assert busy.returncode == 1 and "stop it first" in busy.stderr
    agent.stop()
    assert agent.json("unload")["unloaded"] is True
    assert not agent.pins.exists()
    assert agent.json("unload")["unloaded"] is False


def test_version_names_the_schema_of_the_maps(agent):
    version = json.loads(agent.command("version", "--json").stdout)
    assert set(version) == {"version", "schema"} and version["schema"] == agent.maps.meta()["schema"]
