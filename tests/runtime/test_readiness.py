"""Readiness means that work gets done: what fails again and again, and what the installed definitions lack."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import aiohttp
import pytest

from vmferry.resources.base import GROUP, VERSION
from vmferry.resources.catalog import CATALOG
from vmferry.resources.crd import object_schema
from vmferry.runtime import definitions, trouble
from vmferry.runtime.definitions import Definitions, lacking
from vmferry.runtime.kube_api import ConflictError, KubeError
from vmferry.runtime.streaks import Streaks


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


#: how many seconds pass between what: (- fails, + works), and whether it counts in the end
STREAKS: dict[str, tuple[str, float, bool]] = {
    "nothing was tried": ("", 1, False),
    "it works": ("+++", 100, False),
    "it failed once": ("-", 100, False),
    "it fails for long": ("-----", 20, True),
    "it fails often, but not for long": ("-----", 1, False),
    "it worked once in between": ("---+--", 20, False),
    "it works again": ("-----+", 20, False),
    "nobody tries any more": ("---.......................", 30, False),
}


@pytest.mark.parametrize(("tries", "seconds", "counts"), STREAKS.values(), ids=STREAKS.keys())
def test_what_fails_again_and_again(tries: str, seconds: float, counts: bool) -> None:
    clock = Clock()
    streaks = Streaks(60, failures=3, silence=600, clock=clock)
    for one in tries:
        if one == "-":
            streaks.bad("write", "HTTP 403")
        elif one == "+":
            streaks.good("write")
        clock.now += seconds
    assert (streaks.trouble() is not None) == counts


def test_the_longest_is_named() -> None:
    clock = Clock()
    streaks = Streaks(10, clock=clock)
    streaks.bad("one", "no answer in time")
    clock.now += 5
    streaks.bad("two", "HTTP 401")
    clock.now += 5
    assert streaks.trouble() == "one: no answer in time (for 10 s)"


def published(change: Any = lambda schemas: None) -> dict[str, Any]:
    """The API server's OpenAPI document of our definitions, after `change`."""
    schemas = {}
    for kind in CATALOG.values():
        schema = deepcopy(object_schema(kind))
        schema["x-kubernetes-group-version-kind"] = [{"group": GROUP, "version": VERSION, "kind": kind.name}]
        schemas[f"dev.vmferry.{VERSION}.{kind.name}"] = schema
    change({name.rpartition(".")[2]: schema["properties"] for name, schema in schemas.items()})
    return {"components": {"schemas": schemas}}


DEFINITIONS: dict[str, tuple[Any, list[str]]] = {
    "the same": (lambda of: None, []),
    "newer: one more field": (lambda of: of["VMMigration"]["status"]["properties"].update(more={}), []),
    "older: a field of the status": (
        lambda of: of["VMMigration"]["status"]["properties"].pop("ineligibleTargets"),
        ["VMMigration.status.ineligibleTargets"],
    ),
    "older: a field of an entry": (
        lambda of: of["HostMaintenance"]["status"]["properties"]["moves"]["items"]["properties"].pop("targetHost"),
        ["HostMaintenance.status.moves[].targetHost"],
    ),
    "older: a phase": (
        lambda of: of["VMMigration"]["status"]["properties"]["phase"]["enum"].remove("Queued"),
        ["VMMigration.status.phase: Queued"],
    ),
}


@pytest.mark.parametrize(("change", "missing"), DEFINITIONS.values(), ids=DEFINITIONS.keys())
def test_definitions_that_are_installed(change: Any, missing: list[str]) -> None:
    assert lacking(published(change)) == missing


@pytest.mark.parametrize("document", [{}, {"components": {}}, {"components": {"schemas": {"other": {}}}}])
def test_a_document_without_our_kinds_says_nothing(document: dict[str, Any]) -> None:
    assert lacking(document) == []


def said(looker: Definitions) -> str | None:
    return looker.trouble


async def test_older_definitions_are_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(definitions, "CONFIRM", 0.0)
    answers: list[Mapping[str, Any] | KubeError] = []

    async def read(path: str) -> Mapping[str, Any]:
        assert path == "/openapi/v3/apis/vmferry.dev/v1alpha1"
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        if isinstance(answer, KubeError):
            raise answer
        return answer

    looker = Definitions(read, lambda: False)
    old = published(DEFINITIONS["older: a field of the status"][0])
    answers[:] = [old, published()]
    await looker.refresh()
    assert not said(looker), "one that was just applied is published a moment later"
    answers[:] = [old]
    await looker.refresh()
    assert said(looker) == (
        "the installed definitions are older than this operator: VMMigration.status.ineligibleTargets is unknown: "
        "kubectl apply --server-side -f crds/"
    )
    answers[:] = [KubeError("no answer")]
    await looker.refresh()
    assert said(looker) is not None, "no answer says nothing"
    answers[:] = [published()]
    await looker.refresh()
    assert said(looker) is None


def of_request(kind: type[aiohttp.ClientConnectorError], error: Exception) -> Exception:
    return kind(None, error)  # type: ignore[arg-type]


TROUBLES: dict[str, tuple[BaseException | int, str]] = {
    "the proxy refuses": (
        aiohttp.ClientHttpProxyError(None, (), status=403, message="hunter2"),  # type: ignore[arg-type]
        "the proxy refuses with HTTP 403",
    ),
    "a certificate": (ssl.SSLCertVerificationError("hunter2"), "the server's certificate is not trusted"),
    "a name": (of_request(aiohttp.ClientConnectorDNSError, OSError("hunter2")), "the server's name cannot be resolved"),
    "nobody listens": (of_request(aiohttp.ClientConnectorError, OSError("hunter2")), "the server cannot be reached"),
    "silence": (TimeoutError(), "no answer in time"),
    "a failure of another kind": (ValueError("hunter2"), "no connection"),
    "the credentials": (401, "HTTP 401: the credentials are not accepted"),
    "the rights": (403, "HTTP 403: not allowed"),
    "a broken server": (503, "HTTP 503: the server has failed"),
    "a strange answer": (299, "HTTP 299"),
}


@pytest.mark.parametrize(("outcome", "words"), TROUBLES.values(), ids=TROUBLES.keys())
def test_trouble_is_told_in_words_of_ours(outcome: BaseException | int, words: str) -> None:
    said = trouble.describe(outcome)
    assert said.startswith(words)
    assert "hunter2" not in said


def test_an_error_that_was_raised_from_another_one_says_its_trouble() -> None:
    error = KubeError("it was there a moment ago")
    error.__cause__ = ConflictError("409 hunter2", "HTTP 409")
    assert error.trouble == "HTTP 409"
