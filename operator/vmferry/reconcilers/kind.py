"""The interface of a kind to the runtime: required functions, and optional facets that are None if not supported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

from vmferry.cloud.actions import Action, Outcome
from vmferry.cloud.model import Snapshot
from vmferry.planning.breaker import EndedAttempt
from vmferry.policy import Policy
from vmferry.prerequisites.check import OSUpgradeMove, PlannedMove
from vmferry.prerequisites.moves import QueuePosition
from vmferry.reconcilers.decision import Decision, Event
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.owned import Owned
from vmferry.reconcilers.telemetry import Telemetry
from vmferry.reconcilers.world import World
from vmferry.resources.base import Model, Resource
from vmferry.resources.catalog import ResourceType
from vmferry.resources.documented import ConditionReason

Obj = TypeVar("Obj", bound=Resource)
Status = TypeVar("Status", bound=Model)
Reasons = type[ConditionReason]


@dataclass(frozen=True, slots=True)
class MovesServers(Generic[Obj]):
    """Facet of a kind whose objects each move a server, sharing limits, queue and breakers with all such objects."""

    #: id of the server; the moves of the object depend on no other part of a view
    server: Callable[[Obj], str | None]
    #: the move that the status records as decided or in flight
    move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: the move that waits for the limits
    queued_move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: sort key of the queue, unique among all objects
    queue_position: Callable[[Obj], QueuePosition]
    #: whether the object was reconciled with its current spec and only waits for other objects
    waits: Callable[[Obj], bool]
    #: the one-way move to a newer operating system that the object records (R22)
    os_upgrade_move: Callable[[Obj], OSUpgradeMove | None]
    #: the ended attempts, from which breakers are computed (I37)
    ended_attempts: Callable[[Obj], tuple[EndedAttempt, ...]]
    #: the type of the running attempt, if it is past its deadline
    past_deadline: Callable[[Obj, Snapshot, Policy, datetime], str | None]


def _always(before: Any, after: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Kind(Generic[Obj, Status]):
    """How the objects of a kind are reconciled. All functions are pure."""

    type: ResourceType[Obj]
    #: the reasons of its conditions, and the meaning of True, False and Unknown of each condition
    reasons: Reasons
    conditions: Mapping[str, tuple[str, str, str]]
    #: the Events of its objects, with their meaning
    events: Mapping[EventReason, str]
    plan: Callable[[Obj, World, datetime, Policy], Decision[Status]]
    #: the status and Events after the outcome of an action
    record_outcome: Callable[[Obj, Action, Outcome, datetime], tuple[Status, tuple[Event, ...]]]
    #: whether nothing is left to do, so that only its telemetry and what the facets record of it still count
    finished: Callable[[Obj], bool]
    #: ids for the log that help to find the object in the cloud's logs
    describe: Callable[[Obj], dict[str, str]]
    #: the telemetry, from the object before its last status write (None: it was not changed) and the current object
    telemetry: Callable[[Obj | None, Obj], Telemetry]
    #: whether the new status must be written at once; otherwise it is written later
    must_write_now: Callable[[Status, Status], bool] = _always
    moves: MovesServers[Obj] | None = None
    #: facet: the object's claim on a host
    claim: Callable[[Obj], Claim] | None = None
    #: facet: what an owner reads of an object of this kind
    owned: Callable[[Obj], Owned] | None = None

    @property
    def name(self) -> str:
        return self.type.name

    def with_status(self, obj: Obj, status: Status) -> Obj:
        """The object with that status."""
        return obj.model_copy(update={"status": status})


#: the kinds by name
Kinds = Mapping[str, Kind[Any, Any]]
