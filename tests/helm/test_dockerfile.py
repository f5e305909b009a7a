"""The image, as far as its Dockerfile tells without a container engine."""

from __future__ import annotations

import fnmatch
import re
from importlib.util import find_spec

import pytest
import yaml

from helm.generate import CHART, ROOT

TEXT = (ROOT / "Dockerfile").read_text()
#: (instruction, the rest of it), with continued lines joined
STEPS = [
    (word, rest.strip())
    for line in re.sub(r"\\\n", " ", TEXT).splitlines()
    if line.strip() and not line.startswith("#")
    for word, _, rest in [line.partition(" ")]
]
STAGES = [n for n, (word, _) in enumerate(STEPS) if word == "FROM"]
LAST = STEPS[STAGES[-1] :]


def of(word: str) -> list[str]:
    return [rest for name, rest in STEPS if name == word]


def test_what_builds_stays_out_of_the_image() -> None:
    assert len(STAGES) == 2
    assert [rest for word, rest in LAST if word == "COPY"] == ["--from=build /opt/vmferry /opt/vmferry"]
    assert not [rest for word, rest in LAST if word == "RUN"]


def test_both_stages_have_the_same_pinned_python() -> None:
    """Both are arguments, so that a base can be named by its digest; left alone they are one and the same."""
    assert [rest.split()[0] for rest in of("FROM")] == ["${BUILDER}", "${BASE}"]
    arguments = dict(rest.split("=", 1) for rest in of("ARG"))
    assert arguments.keys() == {"BASE", "BUILDER"} and arguments["BUILDER"] == "${BASE}"
    assert re.fullmatch(r"python:3\.11[\w.-]*(@sha256:[0-9a-f]{64})?", arguments["BASE"])


def test_what_production_does_not_need_is_left_out() -> None:
    (stripping,) = [run for run in of("RUN") if "rm -r" in run]
    assert "vmferry/simulator" in stripping and "--without-pip" in stripping
    assert "MALLOC_ARENA_MAX=2" in " ".join(rest for word, rest in LAST if word == "ENV")


def test_the_modules_that_it_imports_exist() -> None:
    """A build fails otherwise, and no other test builds."""
    (imported,) = re.findall(r"-c 'import ([\w., ]+)'", TEXT)
    for module in imported.split(", "):
        assert find_spec(module) is not None, module


def test_it_runs_as_the_user_of_the_chart_and_not_as_root() -> None:
    context = yaml.safe_load((CHART / "values.yaml").read_text())["podSecurityContext"]
    users = [rest for word, rest in LAST if word == "USER"]
    assert users == [f"{context['runAsUser']}:{context['runAsGroup']}"] and context["runAsUser"] > 0


def test_everything_is_pinned_by_hashes_and_nothing_else_is_fetched() -> None:
    fetching = [
        step for run in of("RUN") for step in run.split("&&") if re.search(r"\bpip\b.* (wheel|install)\b", step)
    ]
    assert len(fetching) == 3
    for step in fetching:
        assert "--no-index" in step or ("--require-hashes" in step and "constraints.txt" in step), step
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line and line[0] != " "]
    assert pins and all(line.endswith("\\") for line in pins), "a hash follows"


def test_no_secret_gets_in() -> None:
    assert not of("ADD") and {rest.partition("=")[0] for rest in of("ARG")} == {"BASE", "BUILDER"}
    assert not re.search(r"(?i)password|secret|token|clouds\.yaml", "\n".join(of("ENV") + of("RUN") + of("COPY")))
    copied = {name for rest in of("COPY") if "--from" not in rest for name in rest.split()[:-1]}
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert ignore[0] == "*", "nothing is sent but what is named"
    assert {line.removeprefix("!") for line in ignore if line[0] == "!"} == copied


@pytest.mark.parametrize("path", ["operator", "pyproject.toml", "constraints.txt", "README.md", "LICENSE"])
def test_what_is_copied_is_there(path: str) -> None:
    assert (ROOT / path).exists()
    assert any(fnmatch.fnmatch(path, name) for rest in of("COPY") for name in rest.split())


def test_it_starts_the_operator_as_the_chart_does() -> None:
    template = (CHART / "templates" / "deployment.yaml").read_text()
    (entry,) = (yaml.safe_load(rest) for word, rest in LAST if word == "ENTRYPOINT")
    (arguments,) = (yaml.safe_load(rest) for word, rest in LAST if word == "CMD")
    assert entry == ["vmferry"]
    assert f"args: [{', '.join(arguments)}]" in template
