# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""What a thousand experiments cost the agent: CPU of its process, in per cent of a core.   experiments.py BUILD   replaces these rows of docs/benchmarks.json

100 routes with two versions each, over the topology's pods; on each one Progressive experiment and nine that only watch its baseline (Conformance),
which is as many as the tables have routes for. Measured once they all run: while every one waits for its next iteration (intervalSeconds 3600), and while
they take their iterations every 20 s, Iter8's default.
"""

import json
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "lib"))
sys.dont_write_bytecode = True

from agent import Agent, Folder  # noqa: E402
from topology import Topology, wait_for  # noqa: E402

ROUTES, EACH = 100, 10
METRIC = "cpu_percent_of_a_core"
WORKS = [("1000 experiments, waiting", 3600), ("1000 experiments, an iteration every 20 s", 20)]
QUICK = os.environ.get("QUICK", "") not in ("", "0")
ROUNDS, SECONDS = (1, 20) if QUICK else (3, 40)  # whole rounds of iterations: the experiments begin together and stay so

ROUTE = """\
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {{name: route-{n}, annotations: {{shunt.dev/frontend: "10.97.0.{n}:80", shunt.dev/identity: "header:userhash"}}}}
spec:
  hosts: ["*"]
  http:
  - route:
    - {{destination: {{host: flowers-predictor-default.ns-baseline.svc.cluster.local}}, weight: 100, headers: {{response: {{set: {{version: v1-{n}}}}}}}}}
    - {{destination: {{host: flowers-predictor-default.ns-candidate.svc.cluster.local}}, weight: 0, headers: {{response: {{set: {{version: v2-{n}}}}}}}}}
"""

EXPERIMENT = """\
---
apiVersion: iter8.tools/v2alpha2
kind: Experiment
metadata: {{name: exp-{n}-{m}}}
spec:
  target: app-{n}-{m}
  strategy: {{testingPattern: {testing}, deploymentPattern: Progressive}}
  criteria:
    requestCount: shunt/request-count
    indicators: [shunt/error-count]
    objectives: [{{metric: shunt/mean-latency, upperLimit: 100}}, {{metric: shunt/error-rate, upperLimit: "0.01"}}]
  duration: {{intervalSeconds: {interval}, iterationsPerLoop: 100000}}
  versionInfo: {{baseline: {{name: v1-{n}}}{candidates}}}
"""


def manifests(interval):
    text = ""
    for n in range(1, ROUTES + 1):
        text += ROUTE.format(n=n)
        for m in range(EACH):
            candidates = "" if m else f", candidates: [{{name: v2-{n}}}]"
            text += EXPERIMENT.format(n=n, m=m, interval=interval, testing="Conformance" if m else "Canary", candidates=candidates)
    return text


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_one(topology, build, number, interval):
    """[per cent of a core in each round]"""
    folder = Folder(topology.dir / f"experiments-{number}")
    for name in ("experiment.yaml", "routing-rule.yaml"):
        (folder.path / name).unlink()
    folder.write("many.yaml", manifests(interval))
    agent = Agent(topology, build / "shunt", folder, name=f"experiments-{number}")

    def iterated():
        return sum("completedIterations: 0\n" not in file.read_text() for file in folder.path.glob("*.status.yaml"))

    try:
        agent.start()
        wait_for(lambda: iterated() == ROUTES * EACH, lambda: f"{ROUTES * EACH} experiments with an iteration, {iterated()} have one", 120)
        rounds = []
        for _ in range(ROUNDS):
            before, start = cpu_seconds(agent.process.pid), time.monotonic()
            time.sleep(SECONDS)  # the measurement itself
            rounds.append(100 * (cpu_seconds(agent.process.pid) - before) / (time.monotonic() - start))
        return rounds
    finally:
        agent.close()


def measure(topology, build):
    """(work, [per cent of a core in each round]) for each work."""
    return [(work, measure_one(topology, build, number, interval)) for number, (work, interval) in enumerate(WORKS)]


def rows_of(measured):
    """Rows as the bench's: what is compared with is a whole core."""
    return [{"work": work, "path": "agent", "metric": METRIC, "ratio_median": round(sorted(rounds)[len(rounds) // 2] / 100, 4),
             "ratio_low": round(min(rounds) / 100, 4), "ratio_high": round(max(rounds) / 100, 4), "value_median": round(sorted(rounds)[len(rounds) // 2], 2),
             "rounds": len(rounds)} for work, rounds in measured]


def print_rows(rows):
    print("\nCPU of the agent, per cent of a core, median low..high")
    for row in rows:
        if row["metric"] == METRIC:
            print(f"  {row['work']:45} {row['value_median']:5.2f} {100 * row['ratio_low']:5.2f}..{100 * row['ratio_high']:.2f}")


def main(arguments):
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    with Topology(f"bench-{os.getpid()}") as topology:
        fresh = rows_of(measure(topology, Path(arguments[0]).resolve()))
    target = ROOT / "docs" / "benchmarks.json"
    names = {work for work, _ in WORKS}
    rows = [row for row in json.loads(target.read_text()) if row["work"] not in names] + fresh
    target.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    print_rows(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
