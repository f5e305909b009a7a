"""Starting a server again after it was shut down for its move."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.actions import StartServer
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.resources.vmmigration import GracefulStop
from vmferry.resources.words import Phase


def start_again(scope: MigrationScope) -> MigrationDecision | str | None:
    """Start a server that was shut down: a decision while it is starting, a text if that failed, None when done."""
    stop, server = scope.status.graceful_stop, scope.server
    if stop is None or server is None:
        return None
    asked = stop.start_requested_at
    scope.progressing(MigrationReason.STARTING_SERVER, "the server is being started again")
    if server.task_state is not None:
        note_waiting(scope, stop)
        if asked is not None and scope.now - asked >= scope.policy.stop_timeout + scope.policy.stuck_after:
            scope.report_no_progress(f"the server is to be started again: Nova is still {server.task_state}")
        return scope.decide(Phase.VERIFYING, requeue_after=POLL)
    since = scope.now - (stop.asked_at or asked) if asked is not None else None
    if server.vm_state == "stopped" and since is not None and since < scope.policy.record_grace:
        return scope.decide(Phase.VERIFYING, requeue_after=POLL)
    if not scope.has_fresh_detail():
        return scope.needs()
    if server.vm_state == "active":
        return None
    if server.vm_state != "stopped":
        return f"the server is {server.status} and was not started again"
    away = since is not None and operator_was_away(scope, since)
    if asked is not None and scope.now - asked >= scope.policy.stop_timeout and not away:
        return "the server could not be started again"
    stop.start_requested_at = scope.now if asked is None or away else asked
    stop.asked_at = scope.now
    scope.event(EventReason.STARTING_SERVER, "starting the server again after its cold migration")
    return scope.decide(Phase.VERIFYING, action=StartServer(server.id), requeue_after=POLL)


def operator_was_away(scope: MigrationScope, since_asked: timedelta) -> bool:
    """Whether the last request is so old that the operator must have been down since: that time must not count against
    the server."""
    return since_asked >= scope.policy.stop_timeout


def note_waiting(scope: MigrationScope, stop: GracefulStop) -> None:
    """Record that the operator still waits for the cloud: once every half `stop_timeout`, not at every reconcile."""
    since = scope.now - (stop.asked_at or scope.now)
    if since >= scope.policy.stop_timeout / 2 and not operator_was_away(scope, since):
        stop.asked_at = scope.now
