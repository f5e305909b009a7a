"""Waiting while the view of the cloud is stale or unreadable (I13)."""

from __future__ import annotations

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import SOON, MaintenanceDecision, MaintenanceScope
from vmferry.resources.words import MaintenancePhase


def stale_view(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Decide nothing on stale data: report it, and continue with the next fresh view."""
    age = scope.snapshot.age(scope.now)
    if age is not None and age <= scope.policy.max_view_age:
        return None
    if age is None and scope.snapshot.trouble is None and scope.reported:
        return Decision(scope.obj.status, finalizer=scope.admitted, requeue_after=SOON)
    scope.forget_change()
    scope.progressing(MaintenanceReason.CLOUD_VIEW_STALE, c.stale_view(scope.snapshot))
    return scope.decide(scope.status.phase or MaintenancePhase.CHECKING, requeue_after=SOON)


def unread(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Report on a new resource that a read failed, although the last view of the cloud still counts as fresh."""
    if scope.world.unread is None or scope.reported:
        return None
    scope.progressing(MaintenanceReason.CLOUD_VIEW_STALE, c.unread(scope.world.unread))
    return scope.decide(scope.status.phase or MaintenancePhase.CHECKING, requeue_after=SOON)
