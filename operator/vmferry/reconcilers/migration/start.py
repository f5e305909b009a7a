"""Starting an attempt: the intent is written to the status before Nova receives the request (I2, I3)."""

from __future__ import annotations

from vmferry.cloud.actions import Action, ColdMigrate, Evacuate, LiveMigrate, StopServer
from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites import host_facts
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attempts import NOT_NOW, REQUESTED
from vmferry.reconcilers.migration.os_upgrade_moves import between
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.resources.vmmigration import Attempt, GracefulStop, OSCrossing
from vmferry.resources.words import Phase


def start(scope: MigrationScope) -> MigrationDecision:
    """Re-check against a fresh read of the server, write the intent, and send the request to Nova (I2, I3)."""
    server, target, kind = scope.server, scope.status.target_host, scope.status.type
    assert server is not None and server.host is not None and target is not None and kind is not None
    if not scope.has_fresh_detail():
        return scope.needs()
    scope.status.started_at = scope.status.started_at or scope.now
    scope.status.progress = None
    for breaker in scope.world.breakers.concerning(server.host, kind, scope.now):
        if scope.status.graceful_stop is None:
            scope.event(EventReason.TRIAL_MOVE, f"trial move: {breaker.message()}")
    if kind is ResolvedType.COLD and server.vm_state == "active":
        scope.status.graceful_stop = GracefulStop(requested_at=scope.now, asked_at=scope.now)
        scope.event(EventReason.STOPPING_SERVER, "stopping the server gracefully before its cold migration")
        scope.progressing(MigrationReason.STOPPING_SERVER, "the server is being stopped gracefully")
        return scope.decide(Phase.MIGRATING, action=StopServer(server.id), requeue_after=POLL)
    records = scope.snapshot.migrations_by_server.get(server.id, ())
    if scope.status.attempts and scope.status.attempts[-1].state == NOT_NOW:
        # repeat the same attempt instead of adding entries: a rate limit may last for hours
        scope.status.attempts.pop()
    attempt = Attempt(
        number=len(scope.status.attempts) + 1,
        type=kind,
        source_host=server.host,
        target_host=target,
        state=REQUESTED,
        previous_migration_id=max((m.id for m in records), default=0),
        started_at=scope.now,
        crossing=_crossing(scope, target),
    )
    scope.status.attempts.append(attempt)
    message = f"attempt {attempt.number}: {kind} from {server.host} to {target}"
    scope.event(EventReason.MIGRATING, message)
    scope.progressing(MigrationReason.MIGRATING, message)
    action: Action
    if kind is ResolvedType.LIVE:
        action = LiveMigrate(server.id, target)
    elif kind is ResolvedType.COLD:
        action = ColdMigrate(server.id, target)
    else:
        action = Evacuate(server.id, target, start=server.vm_state == "active")
    return scope.decide(Phase.MIGRATING, action=action, requeue_after=POLL)


def _crossing(scope: MigrationScope, target: str) -> OSCrossing | None:
    there = scope.snapshot.find_host(target)
    if scope.source is None or there is None:
        return None
    here = host_facts.operating_system(scope.source, scope.policy)
    return between(here.value, host_facts.operating_system(there, scope.policy).value)
