"""The custom resources: one row for each type. CRDs, runtime, CLI, tests of rights and docs all read this table.

How the objects of a type are decided on is a row of its own: `reconcilers/rows.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vmferry.resources import hostmaintenance, vmmigration
from vmferry.resources.base import Resource
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import FIXED_ONCE_STARTED, VMMigration

Obj = TypeVar("Obj", bound=Resource)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that `kubectl get` prints; with a priority above 0 only in wide output."""

    name: str
    path: str
    description: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class ResourceType(Generic[Obj]):
    """How a model is named and served."""

    model: type[Obj]
    plural: str
    short_name: str
    namespaced: bool
    #: on an object while the operator still owes it something
    finalizer: str
    description: str
    columns: tuple[Column, ...]
    #: fields of the spec that may not change, or not always; the value says when
    immutable: Mapping[str, str]

    @property
    def name(self) -> str:
        """The kind, like `VMMigration`."""
        return self.model.KIND

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def scope(self) -> str:
        return "Namespaced" if self.namespaced else "Cluster"


VM_MIGRATION = ResourceType(
    model=VMMigration,
    plural="vmmigrations",
    short_name="vmm",
    namespaced=True,
    finalizer=vmmigration.FINALIZER,
    description="VMMigration moves one server of an OpenStack cloud to another host, or reports why it is blocked.",
    columns=(
        Column("Server", ".status.server.name", "The server"),
        Column("Type", ".status.type", "Live, Cold or Evacuate"),
        Column("Source", ".status.sourceHost", "The present or former host of the server"),
        Column("Target", ".status.targetHost", "The host it moves to, or moved to"),
        Column("Phase", ".status.phase", "Summary of the state"),
        Column("Progress", ".status.progress.percent", "Percentage copied", "integer"),
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", "Reason of the condition Ready", priority=1),
        Column("Age", ".metadata.creationTimestamp", "Age of the resource", "date"),
    ),
    immutable=dict.fromkeys(FIXED_ONCE_STARTED, "Fixed once status.startedAt is set."),
)

HOST_MAINTENANCE = ResourceType(
    model=HostMaintenance,
    plural="hostmaintenances",
    short_name="hm",
    namespaced=False,
    finalizer=hostmaintenance.FINALIZER,
    description="HostMaintenance drains a host of an OpenStack cloud and returns it to service.",
    columns=(
        Column("Host", ".spec.host", "The host"),
        Column("Enabled", ".spec.enabled", "Whether maintenance is wanted", "boolean"),
        Column("Phase", ".status.phase", "Summary of the state"),
        Column("Moved", ".status.progress.moved", "Servers that have left", "integer"),
        Column("Total", ".status.progress.total", "All servers", "integer", priority=1),
        Column("Blocked", ".status.progress.blocked", "Servers that cannot move", "integer"),
        Column("Reason", ".status.conditions[?(@.type=='Ready')].reason", "Reason of the condition Ready", priority=1),
        Column("Message", ".status.conditions[?(@.type=='Ready')].message", "Explanation for people", priority=1),
        Column("Age", ".metadata.creationTimestamp", "Age of the resource", "date"),
    ),
    immutable={"host": "It cannot be changed."},
)

#: by kind
CATALOG: Mapping[str, ResourceType[Any]] = {row.name: row for row in (VM_MIGRATION, HOST_MAINTENANCE)}
