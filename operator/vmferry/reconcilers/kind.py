"""What the runtime knows of a kind: five required functions, and facets that are None where a kind has none."""

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
    """Facet: the objects move servers themselves, one each, and share limits, queue and breakers with all others."""

    #: the id of the server, which is all of a view that the moves of the object depend on
    server: Callable[[Obj], str | None]
    #: the move that the status says is decided or in flight
    move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: the move that is queued because of the limits
    queued_move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: queued moves start in this order; no two have the same
    queue_position: Callable[[Obj], QueuePosition]
    #: the object was reconciled as it is now, and only waits for others
    waits: Callable[[Obj], bool]
    #: the one-way move to a newer operating system that the object remembers (R22)
    os_upgrade_move: Callable[[Obj], OSUpgradeMove | None]
    #: the attempts that have ended, by which breakers are judged (I37)
    ended_attempts: Callable[[Obj], tuple[EndedAttempt, ...]]
    #: the type of the running attempt, if it is past its deadline
    past_deadline: Callable[[Obj, Snapshot, Policy, datetime], str | None]


def _always(before: Any, after: Any) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Kind(Generic[Obj, Status]):
    """How the objects of one type are decided on. All functions are pure."""

    type: ResourceType[Obj]
    #: why its conditions are as they are, and what True, False and Unknown mean of each
    reasons: Reasons
    conditions: Mapping[str, tuple[str, str, str]]
    #: the Events of its objects, and what each means
    events: Mapping[EventReason, str]
    plan: Callable[[Obj, World, datetime, Policy], Decision[Status]]
    #: the status that says what came of an action
    record_outcome: Callable[[Obj, Action, Outcome, datetime], tuple[Status, tuple[Event, ...]]]
    #: nothing is left to do, and nothing counts of it but its telemetry and what the facets remember
    finished: Callable[[Obj], bool]
    #: ids for the log that help to find the lines of the object in the cloud's logs
    describe: Callable[[Obj], dict[str, str]]
    #: of the object as it was before its last status write, None: it was not changed, and as it is
    telemetry: Callable[[Obj | None, Obj], Telemetry]
    #: whether a status is written over another one at once; what is not is written once a while
    must_write_now: Callable[[Status, Status], bool] = _always
    moves: MovesServers[Obj] | None = None
    #: facet: what the object claims of a host
    claim: Callable[[Obj], Claim] | None = None
    #: facet: what an object reads of those of this kind that it owns
    owned: Callable[[Obj], Owned] | None = None

    @property
    def name(self) -> str:
        return self.type.name

    def with_status(self, obj: Obj, status: Status) -> Obj:
        """The object as it will be once that status is written."""
        return obj.model_copy(update={"status": status})


#: by name
Kinds = Mapping[str, Kind[Any, Any]]
