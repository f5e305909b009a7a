"""What a reconcile of an object leads to. `plan(object, world, now, policy) -> Decision` is all that a reconciler is.

The runtime goes:

    plan -> needs? read them and plan again -> finalizer on -> write status -> act -> record_outcome -> write status
         -> delete owned objects -> create owned objects -> release the Lease

so the status always says what will be done before it is done (I3), and the answer right after.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from vmferry.cloud.actions import Action
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.owned import CreateObject, Owned
from vmferry.reconcilers.reads import AnyRead

Status = TypeVar("Status")


class EventType(StrEnum):
    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event to be told (I33)."""

    reason: str
    message: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True, slots=True)
class Decision(Generic[Status]):
    """The whole answer of one pass."""

    #: the status to be written, if it differs from the stored one
    status: Status
    #: not None: nothing else of this decision counts, read this and plan again
    needs: AnyRead | None = None
    #: at most one change of the cloud, done after the status is written
    action: Action | None = None
    events: tuple[Event, ...] = ()
    #: whether the object must carry our finalizer from now on (I34)
    finalizer: bool = False
    #: objects to be created, owned by this one; one that is there already is left as it is
    creates: tuple[CreateObject[Any], ...] = ()
    #: owned objects to be deleted
    deletes: tuple[Owned, ...] = ()
    #: give the Lease of this host back
    release_lease: str | None = None
    #: the object has outlived its time
    delete: bool = False
    #: reconcile again after this long even if nothing changes; None: only when something does
    requeue_after: timedelta | None = None
    #: the move that this decision starts or follows, counted against the limits and the room of others
    move: PlannedMove | None = None
    #: the server that this resource is about: a change of it in the cloud wakes the resource
    watches: str | None = None
    #: the host that this resource is about: a change of the servers on it wakes the resource
    watches_host: str | None = None
