"""The graceful shutdown before a cold migration, and starting the server again when the move cannot start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum

from vmferry.cloud.actions import StopServer
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.migration.ending import conclude
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.restart import note_waiting, operator_was_away, start_again
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.tries import attempts_used
from vmferry.resources.base import clip, format_duration, format_time
from vmferry.resources.documented import PassedOn, ReasonWord
from vmferry.resources.words import Phase


def restart_server(scope: MigrationScope) -> MigrationDecision | None:
    """Complete the start of a server whose move is held before deciding anything else."""
    stop = scope.status.graceful_stop
    if stop is None or stop.start_requested_at is None:
        return None
    return release_server(scope)


def release_server(scope: MigrationScope) -> MigrationDecision | None:
    """Start a server that was shut down for a move that may not start now. None: it runs, as before the shutdown."""
    owed = start_again(scope)
    if isinstance(owed, Decision):
        return owed
    scope.status.graceful_stop = None
    if owed is not None:
        return conclude(scope, Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, owed)
    return None


def fail_late_shutdown(scope: MigrationScope) -> MigrationDecision | None:
    """Fail the request if its move could not start in time after the shutdown; the server is started again."""
    stop = scope.status.graceful_stop
    if stop is None or stop.reason is None:
        return None
    return conclude(scope, Phase.FAILED, PassedOn(stop.reason), stop.message or stop.reason)


def await_shutdown(scope: MigrationScope) -> MigrationDecision | None:
    """Wait for the requested graceful shutdown, and repeat the request if it was lost."""
    stop, server = scope.status.graceful_stop, scope.server
    assert server is not None
    if stop is not None and server.vm_state == "stopped":
        stop.stopped_at = stop.stopped_at or scope.now
    if stop is None or server.vm_state != "active" or attempts_used(scope):
        return None
    waited = scope.now - stop.requested_at
    since = scope.now - (stop.asked_at or stop.requested_at)
    away = operator_was_away(scope, since)
    pause = scope.policy.record_grace
    if waited >= scope.policy.stop_timeout and not away and since >= pause and server.task_state is None:
        scope.status.graceful_stop = None
        return conclude(scope, Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, "the server did not stop in time")
    scope.progressing(MigrationReason.STOPPING_SERVER, "the server is being stopped gracefully")
    if server.task_state is None and since >= pause:
        if not scope.has_fresh_detail():
            return scope.needs()
        if (
            scope.world.kill_switch.against(scope.snapshot, server.host) is not None
            or scope.breaker_hold(server) is not None
        ):
            # the server runs and no shutdown is in progress, so nothing has begun
            scope.status.graceful_stop = None
            return None
        # a second shutdown request is harmless; waiting for a request that was never sent is not
        stop.requested_at = scope.now if away else stop.requested_at
        stop.asked_at = scope.now
        return scope.decide(Phase.MIGRATING, action=StopServer(server.id), requeue_after=POLL * 5)
    note_waiting(scope, stop)
    if waited >= scope.policy.stop_timeout + scope.policy.stuck_after:
        scope.report_no_progress(f"the server was to be stopped gracefully: Nova is still {server.task_state}")
    return scope.decide(Phase.MIGRATING, requeue_after=POLL)


#: the reason why a move waits -> the reason with which it fails if it waits too long while its server is off
_WAITS: Mapping[ReasonWord, StrEnum] = {
    MigrationReason.PAUSED: Reason.CONFLICT,
    MigrationReason.QUEUED: MigrationReason.TIMED_OUT,
    MigrationReason.RETRYING: Reason.CLOUD_REFUSED,
}


def limit_downtime(scope: MigrationScope, decision: MigrationDecision) -> MigrationDecision:
    """Limit how long a server stays off for a move that does not start: after `stopTimeout` the server is started again
    and the request fails."""
    stop, server, summary = scope.status.graceful_stop, scope.server, scope.summary
    waits = decision.status is scope.status and scope.status.phase in (Phase.PENDING, Phase.BLOCKED, Phase.QUEUED)
    if (
        not waits
        or stop is None
        or stop.stopped_at is None
        or summary is None
        or summary.reason == MigrationReason.CLOUD_VIEW_STALE
    ):
        return decision
    if server is None or server.vm_state != "stopped" or scope.status.open_attempt is not None:
        return decision
    ends = [a.ended_at for a in scope.status.attempts if a.ended_at is not None]
    since = max([stop.stopped_at, *ends])
    due = since + scope.policy.stop_timeout
    if scope.now < due:
        more = (
            f"the server is off for this move since {format_time(since)}; unless it starts before {format_time(due)}, "
            "the server is started again and this request fails"
        )
        scope.summary = replace(summary, message=f"{summary.message}; {more}")
        wait = min(decision.requeue_after or POLL, max(due - scope.now, timedelta(seconds=1)))
        return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=wait)
    stop.reason = _WAITS.get(summary.reason, summary.reason)
    stop.message = clip(
        f"the move did not start within {format_duration(scope.policy.stop_timeout)} after the server was stopped for "
        f"it: {summary.message}",
        2048,
    )
    return conclude(scope, Phase.FAILED, PassedOn(stop.reason), stop.message)
