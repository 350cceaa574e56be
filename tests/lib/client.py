#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A client that knows which version each of its users must see. Runs in a client's namespace; prints one JSON object.

    client.py [options] URL      options: --help

Every request has a new user (seeded, so a run can be repeated) or none, and is checked: status 200, and the version that --expect names for the
user's prefix, in the answer's `version` header and in its body. Whatever goes wrong is counted and the first few are described.

    {"requests": 2000, "connections": 20, "errors": 0, "wrong": 0, "versions": {"flowers-v1": 1012, "flowers-v2": 988}, "users": {...}, "problems": [], "seconds": 1.9}

`requests` counts answers and errors; `versions` only answers. With --rate the client runs until SIGTERM or --seconds, then prints.
"""

import argparse
import concurrent.futures
import http.client
import itertools
import json
import random
import signal
import sys
import threading
import time
import urllib.parse

PROBLEMS_SHOWN = 10


class Tally:
    """What the answers were; one lock, because requests run in threads."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = self.connections = self.errors = self.wrong = 0
        self.versions, self.users, self.problems = {}, {}, []
        self.longest = 0.0

    def answer(self, user, version, expected, seconds):
        with self.lock:
            self.requests += 1
            self.longest = max(self.longest, seconds)
            self.versions[version] = self.versions.get(version, 0) + 1
            group = user[:3] if user else "none"
            seen = self.users.setdefault(group, {})
            seen[version] = seen.get(version, 0) + 1
            if expected is not None and version != expected:
                self.wrong += 1
                self.problem(f"user {user!r} saw {version}, expected {expected}")

    def error(self, user, text):
        with self.lock:
            self.requests += 1
            self.errors += 1
            self.problem(f"user {user!r}: {text}")

    def problem(self, text):
        if len(self.problems) < PROBLEMS_SHOWN:
            self.problems.append(f"{time.strftime('%H:%M:%S')} {text}")

    def report(self, seconds):
        fields = ("requests", "connections", "errors", "wrong", "versions", "users", "problems")
        return {**{field: getattr(self, field) for field in fields}, "longest": round(self.longest, 6), "seconds": round(seconds, 3)}


class Connection(http.client.HTTPConnection):
    """Counts itself: http.client connects again without a word when the server closed."""

    def __init__(self, tally, *arguments, **options):
        super().__init__(*arguments, **options)
        self.tally = tally

    def connect(self):
        with self.tally.lock:
            self.tally.connections += 1
        super().connect()


class Client:
    def __init__(self, options):
        self.options = options
        self.url = urllib.parse.urlsplit(options.url)
        self.path = self.url.path or "/"
        self.expect = dict(rule.split("=", 1) for rule in options.expect)
        self.tally = Tally()
        self.stop = threading.Event()

    def connect(self):
        return Connection(self.tally, self.url.hostname, self.url.port or 80, timeout=self.options.timeout)

    def expected(self, user):
        """The version of the longest prefix that the user has; users without an id have the empty one."""
        fitting = [prefix for prefix in self.expect if (user or "").startswith(prefix)]
        return self.expect[max(fitting, key=len)] if fitting else None

    def user(self, rng):
        prefix = rng.choice(self.options.groups)
        return None if prefix == "none" else prefix + "".join(rng.choice("01") for _ in range(10 - len(prefix)))

    def request(self, connection, user, close):
        """One request; returns False when the connection cannot be used again."""
        headers = {"Host": self.options.host}
        if user is not None:
            headers["userhash"] = user
        if close:
            headers["Connection"] = "close"
        started = time.monotonic()
        try:
            connection.request(self.options.method, self.path, body=self.options.body, headers=headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self.tally.error(user, f"{type(error).__name__}: {error} after {time.monotonic() - started:.3f} s")
            return False
        version = response.getheader("version")
        if response.status != self.options.status or version is None or not (self.options.any_body or version.encode() in body):
            self.tally.error(user, f"status {response.status}, version {version}, {len(body)} bytes of body: {body[:60]!r}")
        else:
            self.tally.answer(user, version, self.expected(user), time.monotonic() - started)
        return not response.will_close

    def new_connection(self, user):
        connection = self.connect()
        try:
            self.request(connection, user, close=self.options.connection_close)
        finally:
            connection.close()

    def keep_alive(self, seed, count):
        """`count` (0: until SIGTERM) requests of changing users on one connection. A connection that breaks is an error; the rest goes on with a new one."""
        rng = random.Random(seed)
        connection = self.connect()
        for _ in range(count) if count else itertools.takewhile(lambda _: not self.stop.is_set(), itertools.count()):
            if not self.request(connection, self.user(rng), close=False):
                connection.close()
        connection.close()

    def run_each_new(self):
        rng = random.Random(self.options.seed)
        users = [self.user(rng) for _ in range(self.options.requests)]
        with concurrent.futures.ThreadPoolExecutor(self.options.concurrency) as pool:
            list(pool.map(self.new_connection, users))

    def run_keep_alive(self):
        each = self.options.requests // self.options.keep_alive
        with concurrent.futures.ThreadPoolExecutor(self.options.keep_alive) as pool:
            list(pool.map(lambda i: self.keep_alive(f"{self.options.seed}-{i}", each), range(self.options.keep_alive)))

    def run_rate(self):
        """Open loop: request i leaves at i / rate, whether the ones before it are answered or not."""
        rng = random.Random(self.options.seed)
        started = time.monotonic()
        sent = 0
        with concurrent.futures.ThreadPoolExecutor(self.options.concurrency) as pool:
            while not self.stop.wait(max(started + sent / self.options.rate - time.monotonic(), 0)):
                if self.options.seconds and time.monotonic() - started > self.options.seconds:
                    break
                pool.submit(self.new_connection, self.user(rng))
                sent += 1

    def run(self):
        started = time.monotonic()
        if self.options.rate:
            self.run_rate()
        elif self.options.keep_alive:
            self.run_keep_alive()
        else:
            self.run_each_new()
        return self.tally.report(time.monotonic() - started)


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--concurrency", type=int, default=8, help="requests at a time, each a new connection")
    parser.add_argument("--keep-alive", type=int, default=0, metavar="N", help="N connections share the requests and mix users on each; with --requests 0 until SIGTERM")
    parser.add_argument("--rate", type=float, default=0, help="requests a second, each a new connection, until SIGTERM or --seconds")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--groups", nargs="+", default=["111", "101", "none"], help="prefixes of the users' ids; none: no userhash header")
    parser.add_argument("--expect", nargs="+", default=[], metavar="PREFIX=VERSION", help="the longest fitting prefix counts; =VERSION for the others")
    parser.add_argument("--seed", default="shunt")
    parser.add_argument("--host", default="example.com")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--body", default=None)
    parser.add_argument("--status", type=int, default=200, help="the status that every answer must have")
    parser.add_argument("--any-body", action="store_true", help="the version need not stand in the body, too")
    parser.add_argument("--connection-close", action="store_true", help="the server closes first (Connection: close)")
    parser.add_argument("--timeout", type=float, default=10)
    return parser.parse_args(arguments)


def main(arguments):
    client = Client(parse(arguments))
    signal.signal(signal.SIGTERM, lambda *_: client.stop.set())
    signal.signal(signal.SIGINT, lambda *_: client.stop.set())
    json.dump(client.run(), sys.stdout)
    print()


if __name__ == "__main__":
    main(sys.argv[1:])
