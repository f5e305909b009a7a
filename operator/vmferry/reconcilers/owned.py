"""Objects that another object owns, of any kind: how they are asked for, what is read of them, and who owns them.

The owner's reconciler asks for a `CreateObject`; the runtime creates it with an ownerReference. What the owner reads of
it later is an `Owned`, which each kind that may be owned extends. Labels and ownerReferences prove nothing, because
whoever may create an object can write them: an owner has to check that it has created what says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from vmferry.resources.base import GROUP, Metadata, Model, OwnerReference

#: which operator an object is for, where several run in one cluster; owned objects have that of their owner
CLASS = f"{GROUP}/class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """What the runtime needs of an owned object; each kind adds what its owners need."""

    kind: str
    #: empty for an object of the cluster's scope
    namespace: str
    name: str
    uid: str
    resource_version: str
    phase: str | None
    completed_at: datetime | None
    deleting: bool

    @property
    def for_owner(self) -> tuple[object, ...]:
        """The owner is reconciled when one of these changes: not for each percent of a copy."""
        return self.uid, self.phase, self.completed_at, self.deleting


Spec = TypeVar("Spec", bound=Model)


@dataclass(frozen=True, slots=True)
class CreateObject(Generic[Spec]):
    """An object to be created, which the object of the decision owns."""

    kind: str
    #: empty for an object of the cluster's scope
    namespace: str
    name: str
    spec: Spec
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """An owner, as far as the objects that it owns need it."""

    name: str
    uid: str
    deleting: bool


@dataclass(frozen=True, slots=True)
class Deletion:
    """What was read just now of an object that is being deleted."""

    #: None: there is no owner of the name and uid that the ownerReference names
    owner: Owner | None = None
    #: also when that could not be found out: a migration that runs to completion does no harm
    namespace_terminating: bool = False


def owner_of(metadata: Metadata) -> Owner:
    return Owner(metadata.name, metadata.uid, metadata.deletion_timestamp is not None)


def owner_reference(metadata: Metadata) -> OwnerReference | None:
    """The object of ours that the object says it belongs to."""
    ours = (o for o in metadata.owner_references if o.controller and o.api_version.startswith(f"{GROUP}/"))
    return next(ours, None)
