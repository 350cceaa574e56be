# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""A package repository behind a frontend: apt pipelines its requests, as it does by default, and each user installs what her version has."""

import hashlib
import os
import random
import shutil

import pytest

import peers
from topology import FRONTEND, run

USERS = {"flowers-v1": "1111100000", "flowers-v2": "1010101010"}
PACKAGES = 40
SERVES_FILES = peers.NGINX.replace("location / {{ return 404; }}", "location / {{ root {root}; }}")


def content(version, number):
    """The one file of a package: from no bytes to half a megabyte, and packages do not compress it away."""
    rng = random.Random(f"{version} {number}")
    return rng.randbytes(int(2 ** rng.uniform(0, 19)) - 1)


def make_package(version, number, directory, scratch):
    """Makes tulip-<number>.deb and returns its stanza of Packages."""
    name = f"tulip-{number}"
    tree = scratch / f"{version}-{name}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr" / "share" / name).mkdir(parents=True)
    (tree / "usr" / "share" / name / "bulb").write_bytes(content(version, number))
    control = f"Package: {name}\nVersion: {version.removeprefix('flowers-v')}\nArchitecture: all\nMaintainer: nobody <nobody@example.com>\nDescription: a flower\n"
    (tree / "DEBIAN" / "control").write_text(control)
    file = directory / f"{name}.deb"
    run("dpkg-deb", "--build", "--root-owner-group", "-Znone", tree, file)
    data = file.read_bytes()
    return control + f"Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"


def make_repository(version, directory, scratch):
    """A flat repository of packages of a version."""
    directory.mkdir(parents=True)
    index = "\n".join(make_package(version, number, directory, scratch) for number in range(PACKAGES)).encode()
    (directory / "Packages").write_bytes(index)
    (directory / "Release").write_text(f"Suite: {version}\nSHA256:\n {hashlib.sha256(index).hexdigest()} {len(index)} Packages\n")


def repository(scratch):
    def command(pod, directory, **words):
        make_repository(pod.version, directory / "root" / "flowers", scratch)
        (directory / "nginx.conf").write_text(SERVES_FILES.format(**words))
        return ["nginx", "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "error.log"]
    return command


class System:
    """A system of its own for apt and dpkg, of which the machine's own knows nothing."""

    def __init__(self, box, root, source, user):
        self.box, self.root = box, root
        for directory in ("etc/apt/preferences.d", "etc/apt/trusted.gpg.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/log/apt",
                          "var/lib/dpkg/info", "var/lib/dpkg/updates"):
            (root / directory).mkdir(parents=True)
        (root / "var/lib/dpkg/status").touch()
        (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] {source} ./\n")
        (root / "apt.conf").write_text(f"""\
Dir "{root}/";
Dir::Bin::dpkg "{shutil.which('dpkg')}";
DPkg::Options {{ "--root={root}"; "--log={root}/var/log/dpkg.log"; }};
DPkg::Path "{os.environ['PATH']}";
APT::Architecture "all";
APT::Architectures {{ "all"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "0";
Acquire::http::Proxy "DIRECT";
Acquire::http::User-Agent "{user}";
""")

    def apt(self, *words):
        environment = [f"APT_CONFIG={self.root / 'apt.conf'}", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]  # read before all others, whose place it moves
        return self.box.run("env", *environment, "apt-get", "-q", "-y", *words, timeout=120).stdout

    def installed(self):
        """{name: version}"""
        lines = run("dpkg-query", f"--root={self.root}", "-W", "-f", "${db:Status-Abbrev}|${Package}|${Version}\n").stdout.splitlines()
        return {name: version for status, name, version in (line.split("|") for line in lines) if status.strip() == "ii"}

    def file(self, number):
        return (self.root / "usr" / "share" / f"tulip-{number}" / "bulb").read_bytes()


@pytest.fixture
def folder(folder):
    """Users are told apart by what apt says of itself, whatever host it names."""

    def change(document):
        document["spec"]["hosts"] = ["*"]
        document["metadata"].setdefault("annotations", {})["shunt.dev/identity"] = "header:user-agent"
        for item in document["spec"]["http"]:
            for match in item.get("match", []):
                match["headers"] = {"user-agent": match["headers"].pop("userhash")}

    (folder.path / "experiment.yaml").unlink()
    folder.edit("VirtualService", change)
    return folder


@pytest.fixture(scope="module")
def repositories(topology, tmp_path_factory):
    for pod in topology.pods:
        peers.serve(pod, "repository", repository(tmp_path_factory.mktemp(pod.version)))


def test_each_user_installs_the_packages_of_her_version(topology, repositories, agent, family, tmp_path):
    host = FRONTEND[family] if family == 4 else f"[{FRONTEND[family]}]"
    for version, user in USERS.items():
        system = System(topology.client1, tmp_path / version, f"http://{host}/flowers", user)
        system.apt("update")
        system.apt("install", *[f"tulip-{number}" for number in range(PACKAGES)])
        assert system.installed() == {f"tulip-{number}": version.removeprefix("flowers-v") for number in range(PACKAGES)}
        for number in range(PACKAGES):
            assert system.file(number) == content(version, number)
    assert min(agent.maps.requests().values()) > PACKAGES
    assert agent.reason("PIPELINED") > 0
    assert {row["name"] for row in agent.status()["unusual"]} == set()
