"""The `Kind` of VMMigration, the only kind whose objects move servers."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from vmferry.cloud.model import Snapshot
from vmferry.planning.targets import WISHES
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import QueuePosition
from vmferry.reconcilers.event_reasons import OF_MIGRATIONS
from vmferry.reconcilers.kind import Kind, MovesServers
from vmferry.reconcilers.migration.deadline import is_past_deadline
from vmferry.reconcilers.migration.ended_attempts import ended_attempts
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of
from vmferry.reconcilers.migration.outcome import record_outcome
from vmferry.reconcilers.migration.plan import plan
from vmferry.reconcilers.migration.reasons import CONDITIONS, MigrationReason
from vmferry.reconcilers.migration.scope import planned_move
from vmferry.reconcilers.migration.status_writes import is_news
from vmferry.reconcilers.migration.telemetry import telemetry
from vmferry.reconcilers.owned_migrations import owned_migration
from vmferry.resources import catalog
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus
from vmferry.resources.words import Phase, Priority

_RANK = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


def _queued_move(obj: VMMigration, snapshot: Snapshot) -> PlannedMove | None:
    status = obj.status
    if status.phase is not Phase.QUEUED or status.server is None or obj.spec.paused:
        return None
    if status.held_by is not None:
        return None  # a held migration has no queue position and delays no other move
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
    """Whether the policy of the server's group makes the move wait for its preferred host (`targets.choose`)."""
    group = snapshot.group_of(server_id)
    return group is not None and group.policy in WISHES


def _queue_position(obj: VMMigration) -> QueuePosition:
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
    server = status.server or obj.spec.server
    words: dict[str, str | None] = {"server": server.id, "serverName": server.name}
    if status.attempts:
        last = status.attempts[-1]
        words |= {"attempt": str(last.number), "requestId": last.request_id, "migration": last.migration_id}
    return {name: word for name, word in words.items() if word}


def _past_deadline(obj: VMMigration, snapshot: Snapshot, policy: Policy, now: datetime) -> str | None:
    return obj.status.attempts[-1].type.value if is_past_deadline(obj, snapshot, policy, now) else None


VM_MIGRATION: Kind[VMMigration, VMMigrationStatus] = Kind(
    type=catalog.VM_MIGRATION,
    reasons=MigrationReason,
    conditions=CONDITIONS,
    events=OF_MIGRATIONS,
    plan=plan,
    record_outcome=record_outcome,
    finished=lambda obj: obj.status.completed_at is not None,
    describe=_describe,
    telemetry=telemetry,
    must_write_now=is_news,
    moves=MovesServers(
        server=lambda obj: obj.status.server.id if obj.status.server else None,
        move=lambda obj, snapshot: planned_move(obj.status, snapshot),
        queued_move=_queued_move,
        queue_position=_queue_position,
        waits=_waits,
        os_upgrade_move=crossing_of,
        ended_attempts=ended_attempts,
        past_deadline=_past_deadline,
    ),
    owned=owned_migration,
)
