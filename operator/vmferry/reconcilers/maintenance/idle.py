"""A disabled maintenance: it has nothing to do, or it must release its host."""

from __future__ import annotations

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.maintenance.find import forget_survey
from vmferry.reconcilers.maintenance.host_ownership import lease
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.release import release
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, MaintenanceDecision, MaintenanceScope
from vmferry.resources.words import MaintenancePhase


def nothing_to_do(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Report a disabled maintenance that has nothing to undo."""
    if scope.wanted or scope.admitted or (scope.spec.preflight_only and scope.spec.enabled and not scope.deleting):
        return None
    # migrations that a release may have left behind when the operator was killed
    scope.cancel(scope.open_children())
    scope.conditions.drop(c.PREREQUISITES_MET)
    before = scope.status.released_at is not None
    phase = MaintenancePhase.RELEASED if before else MaintenancePhase.IN_SERVICE
    ready = scope.conditions.get(c.READY)
    if scope.status.phase is not phase or ready is None or ready.status != "True":
        reason = MaintenanceReason.RELEASED if before else MaintenanceReason.IN_SERVICE
        message = "the host is not in maintenance"
        forget_survey(scope)
        scope.conditions.set(CORDONED, False, reason, message)
        scope.conditions.set(DRAINED, False, reason, message)
        scope.ready(reason, message)
    for condition in scope.status.conditions:
        condition.observed_generation = scope.obj.metadata.generation
    return scope.decide(phase, requeue_after=None)


def released(scope: MaintenanceScope) -> MaintenanceDecision | None:
    if scope.wanted or not scope.admitted:
        return None
    return lease(scope) or release(scope)
