"""Whether the operator may go."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from vmferry.__main__ import main
from vmferry.cli import uninstall_check
from vmferry.cli.ferry import kube_client
from vmferry.cli.ferry.kube import Kind
from vmferry.resources.hostmaintenance import FINALIZER as MAINTENANCE_FINALIZER
from vmferry.resources.vmmigration import FINALIZER
from vmferry.runtime.kube_api import Body, NoConnectionError, NotInstalledError


def maintenance(name: str, phase: str | None, *finalizers: str) -> Body:
    body: Body = {"kind": "HostMaintenance", "metadata": {"name": name, "finalizers": [*finalizers]}}
    return body | ({"status": {"phase": phase}} if phase else {})


def migration(name: str, phase: str, *finalizers: str, namespace: str = "shop") -> Body:
    metadata = {"name": name, "namespace": namespace, "finalizers": [*finalizers]}
    return {"kind": "VMMigration", "metadata": metadata, "status": {"phase": phase}}


class Cluster:
    """Lists what it was given."""

    def __init__(self, *bodies: Body, error: Exception | None = None) -> None:
        self._bodies, self._error = bodies, error

    def list(self, kind: Kind, namespace: str | None) -> list[Body]:
        if self._error is not None:
            raise self._error
        return [
            body
            for body in self._bodies
            if body["kind"] == kind.KIND and namespace in (None, body["metadata"].get("namespace"))
        ]


DRAINING = maintenance("cmp1", "Draining", MAINTENANCE_FINALIZER)
MOVING = migration("web-1", "Migrating", FINALIZER)
#: English sentence: what is there, and the names of what keeps the operator
OWED: dict[str, tuple[list[Body], list[str]]] = {
    "nothing at all": ([], []),
    "a host that is held": ([DRAINING], ["cmp1"]),
    "a host that was given back": ([maintenance("cmp1", "Released")], []),
    "a maintenance that only looks": ([maintenance("cmp1", "Checked")], []),
    "one that nobody has looked at": ([maintenance("cmp1", None)], []),
    "a move in flight": ([MOVING], ["web-1"]),
    "moves before and after": ([migration("a", "Queued"), migration("b", "Succeeded"), migration("c", "Blocked")], []),
    "what somebody else's finalizer keeps": ([migration("a", "Succeeded", "example.com/theirs")], []),
}


@pytest.mark.parametrize("sentence", OWED)
def test_what_keeps_the_operator(sentence: str) -> None:
    bodies, names = OWED[sentence]
    found = uninstall_check.unfinished(Cluster(*bodies), [])  # type: ignore[arg-type]
    assert [body["metadata"]["name"] for body in found] == names


def test_moves_elsewhere_are_another_operators() -> None:
    bodies = [MOVING, migration("other", "Migrating", FINALIZER, namespace="theirs"), DRAINING]
    found = uninstall_check.unfinished(Cluster(*bodies), ["shop", "more"])  # type: ignore[arg-type]
    assert [body["metadata"]["name"] for body in found] == ["cmp1", "web-1"]


def test_what_to_do_is_told() -> None:
    text = "\n".join(uninstall_check.report([DRAINING, MOVING]))
    assert "HostMaintenance cmp1: Draining" in text and "VMMigration shop/web-1: Migrating" in text
    assert """kubectl patch hm cmp1 --type=merge -p '{"spec":{"enabled":false}}'""" in text
    assert "helm uninstall --no-hooks" in text
    many = uninstall_check.report([migration(f"m{n}", "Migrating", FINALIZER) for n in range(30)])
    assert "  and 10 more" in many and len(many) < 30


#: English sentence: the cluster, exit status, words
ENDS: dict[str, tuple[Any, int, str]] = {
    "nothing is owed": (Cluster(), 0, "the operator may go"),
    "a host is held": (Cluster(DRAINING), 1, "HostMaintenance cmp1: Draining"),
    "the definitions are gone": (Cluster(error=NotInstalledError("unknown")), 0, "the operator may go"),
    "nobody answers": (Cluster(error=NoConnectionError("no connection to there")), 2, "cannot tell: no connection"),
}


@pytest.mark.parametrize("sentence", ENDS)
def test_how_the_command_ends_when(sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, status, words = ENDS[sentence]
    monkeypatch.setattr(kube_client, "connect", lambda kubeconfig, context: cluster)
    done = CliRunner().invoke(main, ["uninstall-check"])
    assert done.exit_code == status and words in done.output
