"""The result of a reconcile. A reconciler is a function `plan(object, world, now, policy) -> Decision`.

The runtime carries out a decision in this order:

    plan -> needs? read them and plan again -> finalizer on -> write status -> act -> record_outcome -> write status
         -> delete owned objects -> create owned objects -> release the Lease

The status therefore always records an action before it is carried out (I3), and its outcome immediately afterwards.
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
    """A Kubernetes Event to be created (I33)."""

    reason: str
    message: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True, slots=True)
class Decision(Generic[Status]):
    """The complete result of a reconcile."""

    #: the status to be written, if it differs from the stored one
    status: Status
    #: not None: ignore the rest of this decision, carry out this read and plan again
    needs: AnyRead | None = None
    #: at most one request that changes the cloud, sent after the status is written
    action: Action | None = None
    events: tuple[Event, ...] = ()
    #: whether the object must carry our finalizer from now on (I34)
    finalizer: bool = False
    #: objects to be created, owned by this object; an existing object is left unchanged
    creates: tuple[CreateObject[Any], ...] = ()
    #: owned objects to be deleted
    deletes: tuple[Owned, ...] = ()
    #: the host whose Lease is to be released
    release_lease: str | None = None
    #: whether to delete the object because its `ttlAfterFinished` has passed
    delete: bool = False
    #: reconcile again after this time even if nothing changes; None: only after a change
    requeue_after: timedelta | None = None
    #: the move that this decision starts or follows; it counts against the limits and the capacity for other moves
    move: PlannedMove | None = None
    #: id of the server whose changes in the cloud trigger a reconcile of this object
    watches: str | None = None
    #: the host whose changes of servers trigger a reconcile of this object
    watches_host: str | None = None
