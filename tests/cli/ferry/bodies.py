"""Objects as the API server hands them out, and a cluster in memory that hands them out."""

from __future__ import annotations

import argparse
import copy
import io
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from testbed.build import NOW, ident
from vmferry.cli.ferry.arguments import parser
from vmferry.cli.ferry.commands import Ferry, Surroundings
from vmferry.cli.ferry.kube import FIELD_MANAGER, FerryError, Kind, Kube, exit_status
from vmferry.cli.verdict import ExitStatus
from vmferry.resources.base import API_VERSION
from vmferry.runtime.kube_api import Body, ChangedError, KubeError, NotFoundError

WEB = ident("web-1")
NAMESPACE = "migrations"


def conditions(**said: tuple[bool | None, str, str]) -> list[Body]:
    """By type: status (None is Unknown), reason, message."""
    return [
        {
            "type": type_,
            "status": "Unknown" if status is None else str(status),
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-03-02T12:00:00Z",
            "observedGeneration": 1,
        }
        for type_, (status, reason, message) in said.items()
    ]


def ready(reason: str, message: str = "it is done") -> list[Body]:
    return conditions(Ready=(True, reason, message), Succeeded=(True, reason, message))


def under_way(reason: str, message: str = "it goes on") -> list[Body]:
    return conditions(Ready=(False, reason, message), Reconciling=(True, reason, message))


def stalled(reason: str, message: str = "it cannot go on") -> list[Body]:
    return conditions(
        Ready=(False, reason, message), Stalled=(True, reason, message), PrerequisitesMet=(False, reason, message)
    )


def failed(reason: str, message: str = "it failed") -> list[Body]:
    return conditions(
        Ready=(False, reason, message), Succeeded=(False, reason, message), Stalled=(True, reason, message)
    )


def _object(kind: str, metadata: Body, spec: Body, status: Body | None) -> Body:
    whole = {
        "uid": f"uid-{metadata['name']}",
        "generation": 1,
        "resourceVersion": "7",
        "creationTimestamp": "2026-03-02T11:59:53Z",
        **metadata,
    }
    body: Body = {"apiVersion": API_VERSION, "kind": kind, "metadata": whole, "spec": spec}
    if status is not None:
        body["status"] = {"observedGeneration": whole["generation"], **status}
    return body


def vmm(status: Body | None = None, *, name: str = "web-1", spec: Body | None = None, **metadata: Any) -> Body:
    return _object(
        "VMMigration",
        {"name": name, "namespace": NAMESPACE, **metadata},
        {"server": {"id": WEB}, "type": "Live", **(spec or {})},
        status,
    )


def hm(status: Body | None = None, *, name: str = "cmp1", spec: Body | None = None, **metadata: Any) -> Body:
    return _object(
        "HostMaintenance", {"name": name, **metadata}, {"host": "cmp1", "enabled": True, **(spec or {})}, status
    )


def prerequisite(name: str, result: str = "Failed", **more: str) -> Body:
    return {"name": name, "result": result, "message": f"what was found of {name}", **more}


def attempt(state: str = "running", **more: Any) -> Body:
    return {
        "number": 1,
        "type": "Live",
        "sourceHost": "cmp1",
        "targetHost": "cmp2",
        "state": state,
        "startedAt": "2026-03-02T12:00:00Z",
        **more,
    }


class FakeKube:
    """`Kube` in memory. Each look by `get` first lets the operator do its next thing, if one is scripted."""

    namespace = NAMESPACE

    def __init__(self, *bodies: Body) -> None:
        self.bodies = {self._key(body["kind"], body["metadata"]): body for body in bodies}
        #: what was written: (verb, body or name, dry_run)
        self.written: list[tuple[str, Any, bool]] = []
        #: what happens at the next looks: a status, an error, or None for nothing
        self.script: list[Body | KubeError | None] = []
        #: what the operator writes right before a deletion that names a resourceVersion
        self.changes: list[Body] = []
        self.error: KubeError | None = None

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        self._fail()
        key = (kind.KIND, namespace if kind.KIND == "VMMigration" else "", name)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, KubeError):
            raise step
        if key not in self.bodies:
            raise NotFoundError(f"cannot get {name}: there is none")
        if step is not None:
            generation = self.bodies[key]["metadata"]["generation"]
            self.bodies[key]["status"] = {"observedGeneration": generation, **step}
        return copy.deepcopy(self.bodies[key])

    def list(self, kind: Kind, namespace: str | None) -> list[Body]:
        self._fail()
        return [
            copy.deepcopy(body)
            for (known, where, _), body in self.bodies.items()
            if known == kind.KIND and namespace in (None, where)
        ]

    def create(self, body: Body, *, dry_run: bool = False) -> Body:
        self._fail()
        self.written.append(("create", body, dry_run))
        made = _object(body["kind"], body["metadata"], body["spec"], None)
        if not dry_run:
            self.bodies[self._key(body["kind"], body["metadata"])] = made
        return copy.deepcopy(made)

    def apply(self, body: Body, *, dry_run: bool = False, force: bool = False) -> Body:
        self._fail()
        self.written.append(("force" if force else "apply", body, dry_run))
        key = self._key(body["kind"], body["metadata"])
        old = self.bodies.get(key)
        generation = old["metadata"]["generation"] + 1 if old else 1
        made = {**_object(body["kind"], {**body["metadata"], "generation": generation}, body["spec"], None)}
        if old and "status" in old:
            made["status"] = old["status"]
        if not dry_run:
            self.bodies[key] = made
        return copy.deepcopy(made)

    def mark(self, body: Body, *, dry_run: bool = False) -> None:
        self._fail()
        self.written.append(("mark", body, dry_run))

    def delete(self, kind: Kind, namespace: str, name: str, uid: str, version: str | None = None) -> None:
        self._fail()
        key = (kind.KIND, namespace if kind.KIND == "VMMigration" else "", name)
        if version is not None and self.changes:
            self.bodies[key]["status"] = {**self.bodies[key]["status"], **self.changes.pop(0)}
            raise ChangedError(f"cannot delete {name}: the ResourceVersion in the precondition does not match")
        self.written.append(("delete", name, False))
        del self.bodies[key]

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error

    @staticmethod
    def _key(kind: str, metadata: Body) -> tuple[str, str, str]:
        return kind, metadata.get("namespace", ""), metadata["name"]


class Clock:
    """Time passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.naps = 0
        #: done in the nap of that number
        self.interrupt_at: int | None = None

    def read(self) -> datetime:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps += 1
        assert self.naps < 1000, "waits for ever"
        if self.naps == self.interrupt_at:
            raise KeyboardInterrupt
        self.now += timedelta(seconds=seconds)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Run:
    """One command line against a fake cluster."""

    def __init__(
        self,
        line: str | list[str],
        kube: FakeKube | None = None,
        *,
        ask: Callable[[str], bool] | None = None,
        clock: Clock | None = None,
        terminal: bool = False,
    ) -> None:
        self.kube = kube or FakeKube()
        self.out: io.StringIO = Terminal() if terminal else io.StringIO()
        self.err = io.StringIO()
        self.connected: tuple[str | None, str | None] | None = None
        clock = clock or Clock()

        def connect(kubeconfig: str | None, context: str | None) -> Kube:
            self.connected = (kubeconfig, context)
            return self.kube

        args: argparse.Namespace = parser().parse_args(line.split() if isinstance(line, str) else line)
        around = Surroundings(
            connect=connect,
            out=self.out,
            err=self.err,
            environment={"TERM": "xterm"} if terminal else {},
            now=clock.read,
            sleep=clock.sleep,
            suffix=lambda: "x7k2p",
            ask=ask,
        )
        self.ferry = Ferry(args, around)
        self.error = ""
        try:
            self.status = int(self.ferry.run())
        except (FerryError, KubeError) as error:
            self.error, self.status = str(error), int(exit_status(error))
        except KeyboardInterrupt:
            self.error, self.status = self.ferry.left_behind, int(ExitStatus.INTERRUPTED)
        self.said = self.out.getvalue()


def applied(*fields: str) -> list[Body]:
    """managedFields of an object of which we applied these fields of the spec, as `a` or `a.b`."""
    tree: Body = {}
    for field in fields:
        node = tree
        for part in field.split("."):
            node = node.setdefault(f"f:{part}", {})
    return [
        {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:spec": {"f:ignoreHeadroom": {}}}},
        {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": tree}},
    ]
