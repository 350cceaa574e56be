# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""Providers by their exchanges (tests/net/exchanges, in the shapes that their manuals show), over real sockets, with `shunt metric test`."""

import http.server
import json
import ssl
import subprocess
import threading
import urllib.parse
from pathlib import Path

import pytest
import yaml

EXCHANGES = sorted((Path(__file__).parent / "exchanges").glob("*.yaml"))


class Replay(http.server.BaseHTTPRequestHandler):
    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.seen.append({"method": self.command, "target": self.path, "headers": self.headers, "body": self.rfile.read(length).decode()})
        status, text = self.server.failures.pop(0) if self.server.failures else self.server.reply
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Replay)
    made.seen, made.reply, made.failures = [], (200, "{}"), []  # failures: replies that come before that one
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def ask(shunt, server, tmp_path):
    """ask(exchange, ...): the metric's document and secret as files, and what `shunt metric test --json` makes of them."""

    def one(exchange, *arguments, json_output=True):
        metric = exchange["metric"]
        spec, namespace = metric["spec"], metric["metadata"]["namespace"]
        if "urlTemplate" in spec:
            spec["urlTemplate"] = spec["urlTemplate"].replace("SERVER", f"127.0.0.1:{server.server_port}")
        (tmp_path / "metric.yaml").write_text(yaml.safe_dump(metric))
        name = spec.get("secret", "x")
        where = tmp_path / ".secrets" / (name if "/" in name else f"{namespace}/{name}")
        where.mkdir(parents=True, exist_ok=True)
        for key, value in exchange.get("secret", {}).items():
            (where / key).write_text(value)
        words = [shunt, "metric", "test", tmp_path / "metric.yaml", "--version", "current", "--variable", "revision=sample-app-v1", "--elapsed", "600",
                 *arguments, *(["--json"] if json_output else [])]
        done = subprocess.run(words, text=True, capture_output=True, check=False)
        return done.returncode, json.loads(done.stdout) if json_output and done.stdout else done.stdout + done.stderr

    return one


def exchange_of(name):
    return yaml.safe_load((EXCHANGES[0].parent / f"{name}.yaml").read_text())


@pytest.mark.parametrize("name", [file.stem for file in EXCHANGES])
def test_a_providers_exchange_gives_its_value(server, ask, name):
    exchange = exchange_of(name)
    server.reply = 200, json.dumps(exchange["answer"])
    status, shown = ask(exchange)
    assert (status, shown["result"]["value"]) == (0, pytest.approx(exchange["value"])), shown
    assert json.loads(shown["result"]["output"]) == exchange["value"]
    assert shown["reply"]["status"] == 200

    (seen,), wanted = server.seen, exchange["request"]
    target = urllib.parse.urlsplit(seen["target"])
    assert (seen["method"], target.path) == (wanted["method"], wanted["path"])
    assert dict(urllib.parse.parse_qsl(target.query)) == wanted.get("query", {})
    for header, value in wanted["headers"].items():
        assert seen["headers"][header] == value
    assert wanted.get("body", "") in seen["body"]

    assert not any(hidden in json.dumps(shown) for hidden in exchange["secret"].values())
    text = ask(exchange, json_output=False)[1]
    assert "***" in text and not any(hidden in text for hidden in exchange["secret"].values())


REPLIES = [
    ((500, "no such account\ntrace"), "HTTP 500: no such account"),
    ((401, ""), "HTTP 401"),
    ((200, "<html>"), "the answer is not JSON"),
    ((200, '{"results": []}'), "spec.jqExpression"),
    ((200, '{"results": [{"count": "NaN"}]}'), ""),
    ((200, '{"results": [{"count": 1e999}]}'), "infinite"),
]


@pytest.mark.parametrize("reply, words", REPLIES, ids=[f"{status}-{n}" for n, ((status, _), _) in enumerate(REPLIES)])
def test_what_is_no_value_says_why(server, ask, reply, words):
    server.reply = reply
    status, shown = ask(exchange_of("newrelic"), "--timeout", "1.5")
    assert status == 1 and shown["result"]["value"] is None
    assert (shown["result"]["attempts"] > 1) == (reply[0] >= 500)
    assert len(server.seen) == shown["result"]["attempts"]
    assert shown["result"]["problem"] and words in shown["result"]["problem"]
    assert shown["reply"]["status"] == reply[0]


def test_a_provider_that_fails_twice_is_asked_a_third_time(server, ask):
    exchange = exchange_of("newrelic")
    server.failures, server.reply = [(503, "starting"), (429, "slowly")], (200, json.dumps(exchange["answer"]))
    status, shown = ask(exchange)
    assert (status, shown["result"]["value"], shown["result"]["attempts"]) == (0, exchange["value"], 3), shown
    assert len(server.seen) == 3
    assert shown["reply"]["status"] == 200


def test_a_secret_that_is_missing_stops_it_before_the_query(server, ask):
    exchange = exchange_of("newrelic")
    exchange["metric"]["spec"]["secret"] = "elsewhere/none"
    status, shown = ask(exchange, "--secrets", "/nonexistent")
    assert status == 1 and "no folder /nonexistent/elsewhere/none" in shown["result"]["problem"]
    assert server.seen == []


def test_t17_a_certificate_that_nobody_signed_is_refused_unless_the_metric_says_so(server, ask, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", tmp_path / "key",
                    "-out", tmp_path / "cert"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    exchange = exchange_of("newrelic")
    exchange["metric"]["spec"]["urlTemplate"] = exchange["metric"]["spec"]["urlTemplate"].replace("http:", "https:")
    server.reply = 200, json.dumps(exchange["answer"])
    status, shown = ask(exchange)
    assert status == 1 and "certificate" in shown["result"]["problem"]
    assert server.seen == []
    exchange["metric"]["metadata"]["annotations"] = {"shunt.dev/insecure-skip-tls-verify": "true"}
    status, shown = ask(exchange)
    assert (status, shown["result"]["value"]) == (0, exchange["value"]), shown


def test_a_mock_and_a_built_in_metric(ask):
    document = {"apiVersion": "iter8.tools/v2alpha2", "kind": "Metric", "metadata": {"name": "m", "namespace": "n"},
                "spec": {"type": "Counter", "mock": [{"name": "current", "level": "2"}]}}
    status, shown = ask({"metric": document})
    assert (status, shown["result"]["value"], shown["metric"]["provider"]) == (0, 1200, "mock")
    document["spec"] = {"provider": "shunt"}
    status, shown = ask({"metric": document})
    assert status == 1 and "built-in" in shown["result"]["problem"]
