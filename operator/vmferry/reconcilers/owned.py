"""Owned objects of any kind: how they are requested, what their owner reads of them, and which object owns them.

The owner's reconciler requests a `CreateObject`; the runtime creates it with an ownerReference. Later the owner reads
an `Owned`, which each kind that may be owned extends. Labels and ownerReferences prove nothing, because any user with
the right to create an object can write them: an owner must check that it created the objects that refer to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from vmferry.resources.base import GROUP, Metadata, Model, OwnerReference

#: the operator that reconciles the object, if a cluster runs several; an owned object has its owner's class
CLASS = f"{GROUP}/class"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """The data that the runtime needs of an owned object; each kind adds what its owners need."""

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
        """A change of these values triggers a reconcile of the owner; the progress of a copy is not among them."""
        return self.uid, self.phase, self.completed_at, self.deleting


Spec = TypeVar("Spec", bound=Model)


@dataclass(frozen=True, slots=True)
class CreateObject(Generic[Spec]):
    """An object to be created and owned by the object of the decision."""

    kind: str
    #: empty for an object of the cluster's scope
    namespace: str
    name: str
    spec: Spec
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Owner:
    """The data of an owner that its owned objects need."""

    name: str
    uid: str
    deleting: bool


@dataclass(frozen=True, slots=True)
class Deletion:
    """The facts read about an object that is being deleted."""

    #: None: no object has the name and uid in the ownerReference
    owner: Owner | None = None
    #: also True if that is unknown: letting a migration run to completion does no harm
    namespace_terminating: bool = False


def owner_of(metadata: Metadata) -> Owner:
    return Owner(metadata.name, metadata.uid, metadata.deletion_timestamp is not None)


def owner_reference(metadata: Metadata) -> OwnerReference | None:
    """The reference to the vmferry object that this object names as its controller."""
    ours = (o for o in metadata.owner_references if o.controller and o.api_version.startswith(f"{GROUP}/"))
    return next(ours, None)
