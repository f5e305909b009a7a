"""The table of custom resources that the operator serves: a row a kind. Beside it only `children` names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from vmferry.cloud.actions import Action, Outcome
from vmferry.cloud.model import Snapshot
from vmferry.planning.breaker import EndedAttempt
from vmferry.planning.targets import WISHES
from vmferry.policy import Policy
from vmferry.prerequisites.check import OSUpgradeMove, PlannedMove
from vmferry.prerequisites.moves import QueuePosition
from vmferry.reconcilers.conditions import READY
from vmferry.reconcilers.decision import Decision, Event, World
from vmferry.reconcilers.host_claims import Claim, claim_of
from vmferry.reconcilers.kill_switch import AWAITING_RESULT, BREAKER_OPEN, STOPPED
from vmferry.reconcilers.maintenance import outcome as maintenance_outcome
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.migration.ended_attempts import ended_attempts
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of
from vmferry.reconcilers.migration.outcome import settle
from vmferry.reconcilers.migration.plan import plan
from vmferry.reconcilers.migration.scope import planned_move
from vmferry.reconcilers.migration.status_writes import is_news
from vmferry.reconcilers.owned import OwnedMigration, owned_migration, owner_reference
from vmferry.resources import catalog
from vmferry.resources.base import Model, OwnerReference, Resource
from vmferry.resources.catalog import ResourceType
from vmferry.resources.hostmaintenance import HostMaintenance, HostMaintenanceStatus
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus
from vmferry.resources.words import MaintenancePhase, Phase, Priority
from vmferry.runtime.measures import Shares, count_maintenance, count_migration, maintenance_shares, migration_shares

Obj = TypeVar("Obj", bound=Resource)
Status = TypeVar("Status", bound=Model)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Obj, Status]):
    """How the objects of one kind are read and decided on."""

    type: ResourceType[Obj]
    plan: Callable[[Obj, World, datetime, Policy], Decision[Status]]
    settle: Callable[[Obj, Action, Outcome, datetime], tuple[Status, tuple[Event, ...]]]
    #: the id of the server that its moves are about, which is all of a view that these depend on
    server: Callable[[Obj], str | None]
    #: the move that the status says is decided or in flight
    move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: whether a change of the status, from the one to the other, is written at once
    is_news: Callable[[Status, Status], bool]
    #: the move that waits for its turn under the limits
    queued_move: Callable[[Obj, Snapshot], PlannedMove | None]
    #: queued objects start in this order; no two have the same
    turn: Callable[[Obj], QueuePosition]
    #: it was looked at as it is now, and waits for others
    waits: Callable[[Obj], bool]
    #: over: it moves nothing any more
    finished: Callable[[Obj], bool]
    #: the one-way move that it remembers (R22)
    crossing: Callable[[Obj], OSUpgradeMove | None]
    #: its attempts that have ended, by which breakers are judged (I37)
    ended_attempts: Callable[[Obj], tuple[EndedAttempt, ...]]
    #: the uid of the object that owns it, and what the owner reads of it
    child: Callable[[Obj], tuple[str, OwnedMigration] | None]
    #: the HostMaintenance that it says it belongs to
    owner: Callable[[Obj], OwnerReference | None]
    #: what it says about a host
    claim: Callable[[Obj], Claim | None]
    #: for the logs: ids that help to find the lines of one move in Nova's logs
    describe: Callable[[Obj], dict[str, str]]
    #: for the metrics: what has happened between two statuses, the object before and after it is written
    count: Callable[[Obj, Obj], None]
    #: for the metrics: what the object adds to the gauges
    shares: Callable[[Obj], Shares]

    @property
    def name(self) -> str:
        return self.type.name

    def with_status(self, obj: Obj, status: Status) -> Obj:
        """The object as it will be once that status is written."""
        return obj.model_copy(update={"status": status})


_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


def _queued_move(obj: VMMigration, snapshot: Snapshot) -> PlannedMove | None:
    status = obj.status
    if status.phase is not Phase.QUEUED or status.server is None or obj.spec.paused:
        return None
    ready = status.condition(READY)
    if ready is not None and ready.reason in (STOPPED, BREAKER_OPEN, AWAITING_RESULT):
        return None  # it has no turn, and keeps nobody from theirs
    if status.type is None or status.source_host is None or status.target_host is None:
        return None
    created = obj.metadata.creation_timestamp
    server = snapshot.servers.get(status.server.id)
    if server is None or created is None:
        return None
    move = PlannedMove(status.server.id, status.type, status.source_host, status.target_host, server.needs, created)
    if obj.spec.target is not None or _has_wish(snapshot, server.id):
        return move
    others = [one.host for one in status.eligible_targets if one.host != status.target_host]
    return replace(move, elsewhere=tuple(others))


def _has_wish(snapshot: Snapshot, server_id: str) -> bool:
    """It waits for the host that it likes best (`targets.choose`)."""
    group = snapshot.group_of(server_id)
    return group is not None and group.policy in WISHES


def _turn(obj: VMMigration) -> QueuePosition:
    created = obj.metadata.creation_timestamp
    return (
        _RANK[obj.spec.priority],
        created.timestamp() if created else 0.0,
        obj.metadata.namespace,
        obj.metadata.name,
    )


def _waits(obj: VMMigration) -> bool:
    status, metadata = obj.status, obj.metadata
    if metadata.deletion_timestamp is not None or status.observed_generation != metadata.generation:
        return False
    return status.phase in (Phase.QUEUED, Phase.BLOCKED) and status.open_attempt is None


def _describe(obj: VMMigration) -> dict[str, str]:
    status = obj.status
    words: dict[str, str | None] = {"server": status.server.id if status.server else obj.spec.server.id}
    if status.attempts:
        last = status.attempts[-1]
        words |= {"attempt": str(last.number), "requestId": last.request_id, "migration": last.migration_id}
    return {name: word for name, word in words.items() if word}


VM_MIGRATION: Kind[VMMigration, VMMigrationStatus] = Kind(
    type=catalog.VM_MIGRATION,
    plan=plan,
    settle=settle,
    is_news=is_news,
    server=lambda obj: obj.status.server.id if obj.status.server else None,
    move=lambda obj, snapshot: planned_move(obj.status, snapshot),
    queued_move=_queued_move,
    turn=_turn,
    waits=_waits,
    finished=lambda obj: obj.status.completed_at is not None,
    crossing=crossing_of,
    ended_attempts=ended_attempts,
    child=owned_migration,
    owner=owner_reference,
    claim=lambda obj: None,
    describe=_describe,
    count=count_migration,
    shares=migration_shares,
)


def _released(obj: HostMaintenance) -> bool:
    """Nothing is left to undo, and the status says so of the newest spec."""
    return (
        not obj.spec.enabled
        and obj.status.phase is MaintenancePhase.RELEASED
        and obj.status.observed_generation == obj.metadata.generation
        and obj.metadata.deletion_timestamp is None
    )


HOST_MAINTENANCE: Kind[HostMaintenance, HostMaintenanceStatus] = Kind(
    type=catalog.HOST_MAINTENANCE,
    plan=hostmaintenance.plan,
    settle=maintenance_outcome.settle,
    # its moves are VMMigrations of their own
    is_news=lambda before, after: True,
    server=lambda obj: None,
    move=lambda obj, snapshot: None,
    queued_move=lambda obj, snapshot: None,
    turn=lambda obj: (),
    # it may have to renew a Lease
    waits=lambda obj: False,
    finished=_released,
    crossing=lambda obj: None,
    ended_attempts=lambda obj: (),
    child=lambda obj: None,
    owner=lambda obj: None,
    claim=claim_of,
    describe=lambda obj: {"host": obj.status.host or obj.spec.host},
    count=count_maintenance,
    shares=maintenance_shares,
)

#: by kind
Kinds = Mapping[str, Kind[Any, Any]]
KINDS: Kinds = {kind.name: kind for kind in (VM_MIGRATION, HOST_MAINTENANCE)}
