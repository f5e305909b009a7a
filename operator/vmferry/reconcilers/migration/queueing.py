"""What a move still waits for after all prerequisites pass: spec.paused, the kill switch, a back-off, the limits."""

from __future__ import annotations

from datetime import datetime, timedelta

from vmferry.planning.limits import describe, full, holders, limited
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.stuck import unchanged_since
from vmferry.reconcilers.backoff import pause_after
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attempts import NOT_NOW
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.tries import describe_last_attempt
from vmferry.resources.vmmigration import Attempt
from vmferry.resources.words import HeldBy, Phase

#: longer than any delay that the client accepts from a cloud's "not now" answer
_LONGEST_PAUSE = timedelta(minutes=6)


def paused(scope: MigrationScope) -> MigrationDecision | None:
    if not scope.spec.paused:
        return None
    message = "spec.paused is true: nothing new is started"
    scope.status.held_by = HeldBy.PAUSE
    if scope.status.graceful_stop is not None:
        scope.stalled(MigrationReason.PAUSED, message)
    else:
        scope.progressing(MigrationReason.PAUSED, message)
    return scope.decide(Phase.PENDING, requeue_after=scope.policy.recheck)


def kill_switch(scope: MigrationScope) -> MigrationDecision | None:
    """Report the kill switch (I31). Once it is turned off, the migration continues by itself.

    The switch is checked again immediately before each request.
    """
    server, target = scope.server, scope.status.target_host
    why = scope.world.kill_switch.against(scope.snapshot, server.host if server else None, target)
    if why is None:
        return None
    scope.event_once(EventReason.STOPPED, why)
    scope.status.held_by = HeldBy.KILL_SWITCH
    scope.progressing(MigrationReason.STOPPED, why)
    return scope.decide(Phase.QUEUED, requeue_after=scope.policy.recheck)


def back_off(scope: MigrationScope) -> MigrationDecision | None:
    """Wait before the next attempt, longer after each failed attempt."""
    attempts = scope.status.attempts
    if not attempts or attempts[-1].ended_at is None:
        return None
    if attempts[-1].state == NOT_NOW:
        return _not_now(scope, attempts[-1])
    due = attempts[-1].ended_at + pause_after(len(attempts), scope.policy)
    if scope.now >= due:
        return None
    last = describe_last_attempt(scope)
    scope.progressing(MigrationReason.RETRYING, f"{last}; next attempt to {scope.status.target_host}")
    return scope.decide(Phase.PENDING, requeue_after=due - scope.now)


def _not_now(scope: MigrationScope, attempt: Attempt) -> MigrationDecision | None:
    """Wait as long as the cloud requested. A delay above `_LONGEST_PAUSE` comes from a wrong clock and is ignored."""
    assert attempt.ended_at is not None
    due = attempt.retry_at or attempt.ended_at
    if scope.now >= due or due - attempt.ended_at > _LONGEST_PAUSE:
        return None
    scope.progressing(
        MigrationReason.NOT_NOW, f"{attempt.message}; the request is sent again at {due:%Y-%m-%dT%H:%M:%SZ}"
    )
    return scope.decide(Phase.PENDING, requeue_after=due - scope.now)


def queue(scope: MigrationScope) -> MigrationDecision | None:
    """Wait until the limits admit the move. They count all migrations in the cloud, not only the operator's (I24)."""
    server, target = scope.server, scope.status.target_host
    assert server is not None and server.host is not None and target is not None
    why = full(server.host, target, scope.snapshot, scope.others_moves, scope.earlier_moves, scope.policy.limits)
    if why is None:
        return None
    if not waits_in_vain(scope, why, server.host, target):
        scope.progressing(MigrationReason.QUEUED, f"waits for its turn: {why}")
    return scope.decide(Phase.QUEUED, requeue_after=POLL * 5)


def waits_in_vain(scope: MigrationScope, why: str, source: str, target: str) -> bool:
    """Whether all moves that delay this move are overdue or unchanged for too long; if so, report it as stalled."""
    snapshot, policy = scope.snapshot, scope.policy
    ends = () if why.startswith(limited("total", policy.limits.total)) else (source, target)
    ours = {
        move.server_id: move
        for move in scope.world.moves
        if not ends or not {move.source_host, move.target_host}.isdisjoint(ends)
    }
    theirs = [record for record in holders(snapshot, *ends) if record.server_id not in ours]
    now, servers, after = snapshot.cloud_time(scope.now), snapshot.servers, policy.stuck_after
    alive = any(scope.now < _overdue(move, policy) for move in ours.values()) or any(
        unchanged_since(servers.get(record.server_id), record, now, after) is None for record in theirs
    )
    if alive or not (ours or theirs):
        return False
    names = [describe(record, snapshot) for record in holders(snapshot, *ends)]
    scope.report_no_progress(f"queued: {why}: {', '.join(names[:3]) or 'migrations without progress'}")
    return True


def _overdue(move: PlannedMove, policy: Policy) -> datetime:
    """When one of the operator's moves counts as stuck: the default deadline of its server plus `stuck_after`."""
    gib = move.needs.get("MEMORY_MB", 0) / 1024 + move.needs.get("DISK_GB", 0)
    return move.decided_at + policy.timeout_base + policy.timeout_per_gib * gib + policy.stuck_after
