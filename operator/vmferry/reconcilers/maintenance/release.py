"""Releasing a host (R29, I8, I28): moves that have not begun are cancelled, running moves run to completion, the cordon
is undone if it is still exactly the operator's, and servers return only if the spec requests it."""

from __future__ import annotations

from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.refused_writes import refused_create, report
from vmferry.reconcilers.maintenance.report import move_of
from vmferry.reconcilers.maintenance.return_servers import Returning, first_wait, return_servers
from vmferry.reconcilers.maintenance.scope import DRAINED, DRAINING, SOON, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.uncordon import report_without_cordon, undo_cordon
from vmferry.reconcilers.owned_migrations import Purpose
from vmferry.reconcilers.refused_writes import Refusal
from vmferry.resources.base import clip
from vmferry.resources.documented import PassedOn
from vmferry.resources.hostmaintenance import MAX_MOVES
from vmferry.resources.words import MaintenancePhase, MoveState, ServiceStatus


def release(scope: MaintenanceScope) -> MaintenanceDecision:
    """Reconcile a host that is being released. Every step is safe to repeat."""
    status = scope.status
    if status.release_started_at is None:
        status.release_started_at = scope.now
        scope.event(EventReason.RELEASING, f"{status.host} is being returned to service")
        why = "the host is being returned to service"
        scope.note_change()
        scope.conditions.set(DRAINED, False, MaintenanceReason.RELEASING, why)
        if status.cordon is None:
            report_without_cordon(scope)
    status.drained_at = status.empty_since = None
    scope.conditions.drop("PrerequisitesMet")
    status.blockers = []
    scope.cancel(child for child in scope.open_children() if child.purpose is Purpose.DRAIN)
    undone = undo_cordon(scope)
    if undone is not None:
        return undone
    running = [child for child in scope.open_children() if child.purpose is Purpose.DRAIN]
    if running and (stuck := next((child for child in running if child.stalled), None)) is not None:
        status.moves = [move_of(scope, child, MoveState.MOVING) for child in running][:MAX_MOVES]
        scope.stalled(
            PassedOn(stuck.reason), f"VMMigration {stuck.namespace}/{stuck.name} needs a person: {stuck.message}"
        )
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    if running:
        status.moves = [move_of(scope, child, MoveState.MOVING) for child in running][:MAX_MOVES]
        scope.progressing(MaintenanceReason.RELEASING, f"{len(running)} running migrations are completing")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    back = return_servers(scope) if scope.spec.return_vms else Returning()
    if scope.creates:
        refused = refused_create(scope, scope.creates[0], before=False)
        if isinstance(refused, Decision):
            return refused
        if refused is not None:
            return _returns_are_refused(scope, refused)
    if back.changed:
        scope.note_change()
    if back.message is not None:
        if back.hold is not None:
            scope.event_once(EventReason.BREAKER_OPEN, back.hold, warning=True)
            scope.stalled(MaintenanceReason.BREAKER_OPEN, back.hold)
        elif back.alive or not scope.no_progress(first_wait(scope.status.moves)):
            scope.progressing(MaintenanceReason.RETURNING, back.message)
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    return _released(scope, back.lost)


def _returns_are_refused(scope: MaintenanceScope, refused: Refusal) -> MaintenanceDecision:
    """The host is in service again; the servers that should return wait until Kubernetes accepts their VMMigrations."""
    stopped = {new.spec.server.id for new in scope.creates}
    scope.creates.clear()
    for move in scope.status.moves:
        if move.server in stopped and move.state is MoveState.RETURNING:
            move.state, move.message = MoveState.WAITING, clip(refused.message, 512)
    report(scope, "to create the VMMigrations back to the host (set returnVMs to false to do without)", refused.message)
    return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)


def _released(scope: MaintenanceScope, not_returned: int) -> MaintenanceDecision:
    status = scope.status
    host = status.host or scope.spec.host
    # return moves that are still blocked or waiting
    scope.cancel(scope.open_children())
    status.released_at = scope.now
    status.admitted_at = status.release_started_at = status.down_since = None
    message = "the host is back in service"
    if status.host_before is not None and status.host_before.status is ServiceStatus.DISABLED:
        message += "; its compute service was disabled before and stays disabled"
    if not_returned:
        message += f"; {not_returned} servers were not brought back, see moves"
    scope.conditions.set(DRAINED, False, MaintenanceReason.RELEASED, message)
    if not scope.spec.return_vms:
        status.moves = []
    status.progress = None
    scope.event(EventReason.RELEASED, message)
    scope.ready(MaintenanceReason.RELEASED, message)
    return scope.decide(MaintenancePhase.RELEASED, requeue_after=SOON, release_lease=host)
