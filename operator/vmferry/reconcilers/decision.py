"""What a look at a resource leads to. `plan(object, world, now, policy) -> Decision` is all that a reconciler is.

A pass of the runtime goes:

    plan -> needs? read them and plan again -> finalizer on -> write status -> act -> settle(outcome) -> write status
         -> delete owned objects -> create owned objects -> give the Lease back

so the status always says what will be done before it is done (I3), and the answer right after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from vmferry.cloud.actions import Action
from vmferry.cloud.model import Detail, HostLook, Progress, Snapshot
from vmferry.planning.breaker import Breakers
from vmferry.planning.targets import AssessHosts, assess_hosts
from vmferry.prerequisites.check import BrokenServer, OSUpgradeMove, PlannedMove
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.kill_switch import Stop
from vmferry.reconcilers.owned import CreateObject, Deletion, Owned, Owner
from vmferry.reconcilers.refused_writes import Refusal

Status = TypeVar("Status")


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be read before a decision can be made; the runtime reads it and plans again."""

    #: of this server
    server_id: str | None = None
    #: read the server and all its migrations (`World.detail`)
    detail: bool = True
    #: with the detail: the instance actions too
    actions: bool = False
    #: the steps and their details of the action with this request id; None: of the newest one
    events_of: str | None = None
    #: the progress of the live migration with this id (`World.progress`)
    progress_of: int | None = None
    #: look at this host (`World.look`)
    host: str | None = None
    #: take or renew the Lease of this host for this resource (`World.lease`)
    lease: str | None = None
    #: read who deletes the resource (`World.deletion`)
    deletion: bool = False
    #: find out whether this could be created, without creating it (`World.tried`, `World.refusals`)
    trial: CreateObject[Any] | None = None


@dataclass(frozen=True, slots=True)
class HostLease:
    """Who may change a host (I32)."""

    host: str
    #: None: it is this resource
    holder: str | None
    #: why Kubernetes refuses to write the Lease: nobody can have it
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class World:
    """What is true now, as far as it is known."""

    snapshot: Snapshot
    #: fresh facts of the resource's server, if they were read in this pass
    detail: Detail | None = None
    #: how far its live migration is, if that was read in this pass
    progress: Progress | None = None
    #: whether it was; None is an answer too, Nova tells no progress before and after the copy
    progress_read: bool = False
    #: decided moves of the other resources
    moves: tuple[PlannedMove, ...] = ()
    #: moves of queued resources that go before this one: higher priority, or the same and older
    earlier: Sequence[PlannedMove] = ()
    in_maintenance: frozenset[str] = frozenset()
    #: by server id: the furthest one-way move to a newer operating system that any resource remembers (R22)
    os_upgrades: Mapping[str, OSUpgradeMove] = field(default_factory=dict)
    #: what keeps moves from being started after common failures (I37)
    breakers: Breakers = field(default_factory=Breakers)
    #: by server id: servers that our own attempts left in ERROR
    broken: Mapping[str, BrokenServer] = field(default_factory=dict)
    #: the resource's host, if it was looked at in this pass
    look: HostLook | None = None
    #: the Lease of its host, if it was asked for in this pass
    lease: HostLease | None = None
    #: the objects that the resource owns, of any kind
    owned: tuple[Owned, ...] = ()
    #: the object that the resource's ownerReference names, if it is there
    owner: Owner | None = None
    #: who deletes the resource, if that was read in this pass
    deletion: Deletion | None = None
    #: writes for this resource that Kubernetes has refused when they were last tried
    refusals: tuple[Refusal, ...] = ()
    #: the name of the object whose trial was asked for in this pass
    tried: str | None = None
    #: what the other HostMaintenances claim
    claims: tuple[Claim, ...] = ()
    #: the kill switch (I31)
    stopped: Stop = field(default_factory=Stop)
    #: how targets are judged: `assess_hosts`, or what remembers its answers
    assess_hosts: AssessHosts = assess_hosts
    #: why a read that this pass asked for failed, None: none did; see `reported` of the scopes
    unread: str | None = None


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
    needs: Needs | None = None
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
    #: look again after this long even if nothing wakes us; None: only when something changes
    requeue_after: timedelta | None = None
    #: the move that this decision starts or follows, counted against the limits and the room of others
    move: PlannedMove | None = None
    #: the server that this resource is about: a change of it in the cloud wakes the resource
    watches: str | None = None
    #: the host that this resource is about: a change of the servers on it wakes the resource
    watches_host: str | None = None
