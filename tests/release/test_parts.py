"""What a release is put together with: pins, licences, imports, archives, the version."""

from __future__ import annotations

import subprocess
from email.message import EmailMessage
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from release import archive, audit, imports, licences, pins, version, vulnerabilities
from release.archive import Entry
from release.closure import ClosureError, closure
from vmferry import __version__

ROOT = Path(__file__).resolve().parents[2]
ONE, TWO = "1" * 64, "2" * 64

#: English sentence: text of a constraints file, and the pins or the words of the refusal
PINS: dict[str, tuple[str, dict[str, pins.Pin] | str]] = {
    "a version with two hashes": (
        f"# made by a tool\nPyYAML==6.0 \\\n    --hash=sha256:{TWO} \\\n    --hash=sha256:{ONE}\n    # via kopf\n",
        {"pyyaml": pins.Pin("pyyaml", "6.0", (ONE, TWO))},
    ),
    "no hash": ("click==8.1\n", "not a version with hashes: click==8.1"),
    "no version": (f"click>=8.1 --hash=sha256:{ONE}\n", "not a version with hashes"),
    "an address": (f"click @ https://example.com/click.whl --hash=sha256:{ONE}\n", "not a version with hashes"),
    "another index": ("--index-url https://example.com/simple\n", "not a version with hashes"),
    "a weak hash": (f"click==8.1 --hash=md5:{'0' * 32}\n", "not a version with hashes"),
    "a weak hash beside a good one": (f"click==8.1 --hash=sha256:{ONE} --hash=md5:{'0' * 32}\n", "not a version with"),
    "the same package twice": (
        f"zope.event==1 --hash=sha256:{ONE}\nzope-event==2 --hash=sha256:{ONE}\n",
        "pinned twice: zope-event",
    ),
}


@pytest.mark.parametrize("sentence", PINS)
def test_a_pin_is_a_version_with_hashes(sentence: str) -> None:
    text, wanted = PINS[sentence]
    if isinstance(wanted, dict):
        assert pins.read(text) == wanted
    else:
        with pytest.raises(pins.PinError, match=wanted):
            pins.read(text)


#: SPDX expression: whether its package may be shipped
EXPRESSIONS = {
    "MIT": True,
    "Apache-2.0 AND MIT": True,
    "GPL-3.0-only OR BSD-3-Clause": True,
    "GPL-3.0-only": False,
    "MIT AND GPL-3.0-only": False,
    "(MIT OR Apache-2.0) AND PSF-2.0": False,  # allowed, but more than is read here: somebody has to look
    "Apache-2.0 WITH LLVM-exception": False,
    "Proprietary": False,
    "": False,
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_which_licences_are_allowed(expression: str) -> None:
    assert licences.allowed(expression) is EXPRESSIONS[expression]


class Installed(Distribution):
    """A package that only has headers."""

    def __init__(self, **headers: str) -> None:
        message = EmailMessage()
        for name, value in headers.items():
            message[name.replace("_", "-")] = value
        self._text = message.as_string()

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise NotImplementedError


#: English sentence: headers, and the licence that is read from them
TOLD: dict[str, tuple[dict[str, str], str]] = {
    "the expression": ({"License_Expression": "MIT", "License": "see LICENSE"}, "MIT"),
    "the old field, where it holds an identifier": ({"License": "ISC"}, "ISC"),
    "the old field, in words": ({"License": "Apache 2.0"}, "Apache-2.0"),
    "a whole text is no identifier": ({"License": "Permission is hereby granted, " * 5}, ""),
    "nothing": ({}, ""),
}


@pytest.mark.parametrize("sentence", TOLD)
def test_the_licence_is_told_by(sentence: str) -> None:
    headers, wanted = TOLD[sentence]
    assert licences.of(Installed(Name="some", **headers)) == wanted


def test_imports_are_compared_with_what_is_declared(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "one.py").write_text("import os, yaml.nodes\nfrom . import two\n")
    (tmp_path / "inner" / "two.py").write_text("def f():\n    from google.auth import x\n    import lone\n")
    modules = imports.imported(tmp_path)
    assert modules == {"yaml", "google", "lone"}
    providers = {"yaml": ["PyYAML"], "google": ["google-auth", "protobuf"], "unused": ["unused"]}
    assert imports.differences(modules, ["pyyaml", "Google.Auth", "unused"], providers, ["lone"]) == [
        "unused is declared, and nothing imports it"
    ]
    assert imports.differences(modules, ["pyyaml"], providers, []) == [
        "google is imported, and no package is declared that brings it: ['google-auth', 'protobuf']",
        "lone is imported, and no package is declared that brings it: none does",
    ]


def test_a_closure_names_all_that_does_not_fit() -> None:
    texts = ("no-such-package", "click>=1", "pyyaml<1", "nothing; python_version<'3'")
    asked = [Requirement(text) for text in texts]
    with pytest.raises(ClosureError) as refused:
        closure("us", asked)
    lines = str(refused.value).splitlines()
    assert lines[0] == "us needs no-such-package, which is not installed"
    assert lines[1].startswith("us needs pyyaml<1, and ") and len(lines) == 2


@pytest.mark.parametrize("check", audit.CHECKS, ids=lambda check: check.__name__)
def test_of_what_the_project_depends_on(check: Any) -> None:
    assert check() == []


class Tool:
    """Answers as a program would."""

    def __init__(self, *answers: tuple[int, str, str]) -> None:
        self._answers = list(answers)
        self.asked: list[list[str]] = []

    def __call__(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        self.asked.append(command)
        return subprocess.CompletedProcess(command, *self._answers.pop(0))


FOUND = '{"dependencies": [{"name": "a", "version": "1", "vulns": [%s]}, {"name": "b", "version": "2", "vulns": []}]}'
VULNERABLE = FOUND % '{"id": "PYSEC-1", "fix_versions": ["1.1"]}, {"id": "PYSEC-2", "fix_versions": []}'


def test_vulnerabilities_are_told() -> None:
    tool = Tool((1, VULNERABLE, "Found 2 known vulnerabilities"))
    assert vulnerabilities.known(Path("tool"), Path("c.txt"), tool) == [
        "a 1: PYSEC-1, mended in 1.1",
        "a 1: PYSEC-2, mended in none yet",
    ]
    assert tool.asked[0][-2:] == ["--requirement", "c.txt"]
    assert vulnerabilities.known(Path("tool"), Path("c.txt"), Tool((0, FOUND % "", ""))) == []


#: English sentence: what the tool answers, and what is said of it
SILENT = {
    "no connection": ((1, "", "Traceback\n  File\nConnectionError: no route to host\n"), "ConnectionError: no route"),
    "a registry that knows some": (
        (0, '{"dependencies": [{"name": "a", "skip_reason": "?"}]}', ""),
        "1 of 1 .* a: ",
    ),
    "no package at all": ((0, '{"dependencies": []}', ""), "0 of 0"),
    "an end without a word": ((3, "", ""), "it ended with 3"),
}


@pytest.mark.parametrize("sentence", SILENT)
def test_what_was_not_looked_up_is_not_said_to_be_safe(sentence: str) -> None:
    answer, words = SILENT[sentence]
    with pytest.raises(vulnerabilities.NotLookedUpError, match=words):
        vulnerabilities.known(Path("tool"), Path("c.txt"), Tool(answer))


def test_a_tool_that_cannot_be_installed_is_said() -> None:
    with pytest.raises(vulnerabilities.NotLookedUpError, match="could not be installed: ERROR: no network"):
        vulnerabilities.install(Path("folder"), Tool((0, "", ""), (1, "", "ERROR: no network")))


def test_the_tools_of_a_release_are_pinned_with_their_hashes() -> None:
    tool = Tool((0, "", ""), (0, "", ""))
    vulnerabilities.install(Path("folder"), tool)
    installed = tool.asked[-1]
    assert {"--require-hashes", "--no-deps", str(vulnerabilities.TOOLS)} <= set(installed)
    assert {"pip-audit", "uv"} <= pins.read(vulnerabilities.TOOLS.read_text()).keys()


def test_an_archive_is_the_same_whenever_and_in_whatever_order_it_is_made(tmp_path: Path) -> None:
    entries = {"b/run": Entry(b"#!/bin/sh\n", executable=True), "a": Entry(b"text")}
    for name, chosen in (("1.tgz", entries), ("2.tgz", dict(reversed(entries.items())))):
        archive.write(tmp_path / name, chosen, 1_700_000_000)
    first, second = (tmp_path / name for name in ("1.tgz", "2.tgz"))
    assert first.read_bytes() == second.read_bytes() and archive.read(first) == entries
    listed = subprocess.run(["tar", "tvzf", str(first)], capture_output=True, text=True, env={"TZ": "UTC"}).stdout
    assert [line.split()[0] for line in listed.splitlines()] == ["-rw-r--r--", "-rwxr-xr-x"]
    assert "2023-11-14" in listed and " 0/0 " in listed


def test_each_name_of_the_version_follows_from_its_one_place() -> None:
    assert version.read() == __version__
    named = 0
    for path in version.followers():
        text = path.read_text()
        named += text.count(f"vmferry:{__version__}")
        assert version.followed(text, __version__) == text, f"run `make version` and commit {path.relative_to(ROOT)}"
    assert named >= 4


#: before: after, when the version becomes 1.2.3
RENAMED = {
    "docker build -t vmferry:0.1.0 .": "docker build -t vmferry:1.2.3 .",
    "image: registry.example.com/vmferry:0.1.0": "image: registry.example.com/vmferry:1.2.3",
    "helm install vmferry dist/vmferry-0.1.0.tgz -n x": "helm install vmferry dist/vmferry-1.2.3.tgz -n x",
    "pip install vmferry-0.1.0-py3-none-any.whl": "pip install vmferry-1.2.3-py3-none-any.whl",
    "kubectl-ferry-0.1.0-linux-amd64.tar.gz": "kubectl-ferry-1.2.3-linux-amd64.tar.gz",
    "since vmferry 0.1.0 there is": "since vmferry 0.1.0 there is",
    "xvmferry:0.1.0 vmferry:0.1.0.5": "xvmferry:0.1.0 vmferry:0.1.0.5",
}


@pytest.mark.parametrize("before", RENAMED)
def test_a_version_is_put_where_it_names_one_of_ours(before: str) -> None:
    assert version.followed(before, "1.2.3") == RENAMED[before]


def test_a_new_version_is_set_everywhere(tmp_path: Path) -> None:
    for path in ("operator/vmferry/__init__.py", "Dockerfile", "README.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((ROOT / path).read_text())
    assert {path.name for path in version.write(tmp_path, "7.8.9")} >= {"__init__.py", "Dockerfile"}
    assert version.read(tmp_path) == "7.8.9"
    assert "vmferry:7.8.9 ." in (tmp_path / "Dockerfile").read_text()
    for wrong in ("1.2", "1.2.3rc1", "v1.2.3", "01.2.3"):
        with pytest.raises(version.VersionError):
            version.write(tmp_path, wrong)


def test_the_changelog_tells_of_this_version() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    versions = [line[4:].partition("]")[0] for line in lines if line.startswith("## [")]
    assert versions[0] == "Unreleased" and __version__ in versions
    released = [tuple(map(int, one.split("."))) for one in versions[1:]]
    assert released == sorted(set(released), reverse=True), "the newest comes first"
    kinds = {line[4:] for line in lines if line.startswith("### ")}
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
