"""`vmferry uninstall-check`: whether the operator has unfinished work. A hook of the chart runs it before an uninstall.

An object with our finalizer may hold a disabled host, a move in flight, or a server that was shut down for its move.
Without an operator this work remains unfinished, and the object cannot be deleted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from vmferry.cli.ferry.kube import Kube, full_name
from vmferry.cli.terminal import plain
from vmferry.reconcilers.owned import CLASS
from vmferry.resources.catalog import CATALOG, ResourceType
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.kube_api import Body, NotInstalledError

#: how many objects of a long list are named
_NAMED = 20


def unfinished(kube: Kube, namespaces: Sequence[str], class_: str | None = None) -> list[Body]:
    """Return the objects of the class that carry our finalizer; VMMigrations of these namespaces, or of all without
    any.

    Raises FerryError. A Kubernetes cluster without our CRDs has no such objects.
    """
    # HostMaintenances first, because each holds a whole host
    rows = sorted(CATALOG.values(), key=lambda row: row.namespaced)
    return [body for row in rows for body in _owed(kube, row, namespaces, class_)]


def _owed(kube: Kube, row: ResourceType[Any], namespaces: Sequence[str], class_: str | None) -> Iterator[Body]:
    where: Sequence[str | None] = (namespaces or [None]) if row.namespaced else [None]
    try:
        bodies = [body for namespace in where for body in kube.list(row.model, namespace)]
    except NotInstalledError:
        return
    for body in bodies:
        metadata = body["metadata"]
        if row.finalizer in metadata.get("finalizers", ()) and (metadata.get("labels") or {}).get(CLASS) == class_:
            yield body


def report(bodies: Sequence[Body]) -> list[str]:
    """Describe the unfinished work, and what to do about it."""
    if not bodies:
        return ["nothing is in flight and no host is held: the operator may go"]
    lines = ["the operator has to see to the end of this first; without it nobody would:"]
    lines += [f"  {_described(body)}" for body in bodies[:_NAMED]]
    if len(bodies) > _NAMED:
        lines.append(f"  and {len(bodies) - _NAMED} more")
    lines.append("what to do:")
    for body in bodies[:_NAMED]:
        if body["kind"] == HostMaintenance.KIND:
            name = body["metadata"]["name"]
            patch = '\'{"spec":{"enabled":false}}\''
            lines.append(f"  give the host back: kubectl patch hm {name} --type=merge -p {patch}")
            lines.append(f"    kubectl wait --for=jsonpath={{.status.phase}}=Released hm/{name} --timeout=1h")
    if any(body["kind"] == VMMigration.KIND for body in bodies):
        lines.append("  let the moves end: kubectl get vmm -A")
    return [*lines, "or leave all this as it is, for an operator that comes later: helm uninstall --no-hooks"]


def _described(body: Body) -> str:
    status = body.get("status")
    phase = status.get("phase") if isinstance(status, dict) else None
    return plain(f"{full_name(body['kind'], body['metadata'])}: {phase or 'Pending'}")
