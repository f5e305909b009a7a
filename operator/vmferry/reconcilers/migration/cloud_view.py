"""Waiting while the view of the cloud is stale or unreadable (I13)."""

from __future__ import annotations

from datetime import timedelta

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope, planned_move
from vmferry.resources.words import Phase


def stale_view(scope: MigrationScope) -> MigrationDecision | None:
    """Decide nothing on stale data: report it, and continue with the next fresh view."""
    age = scope.world.snapshot.age(scope.now)
    if age is not None and age <= scope.policy.max_view_age:
        return None
    if scope.deleting and not scope.owes:
        return None
    if age is None and scope.world.snapshot.trouble is None and scope.reported:
        # the operator is reading the cloud for the first time: there is nothing new to report
        return Decision(
            scope.obj.status,
            finalizer=scope.owes,
            requeue_after=POLL,
            move=planned_move(scope.obj.status, scope.world.snapshot),
        )
    message = c.stale_view(scope.world.snapshot)
    if scope.conditions.get(c.PREREQUISITES_MET) is None:
        scope.conditions.set(c.PREREQUISITES_MET, None, MigrationReason.CLOUD_VIEW_STALE, message)
    scope.progressing(MigrationReason.CLOUD_VIEW_STALE, message)
    return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=timedelta(seconds=5))


def report_failed_read(scope: MigrationScope) -> MigrationDecision | None:
    """Report on a new resource that a read failed, although the last view of the cloud still counts as fresh."""
    if scope.world.unread is None or scope.reported or scope.owes:
        return None
    scope.progressing(MigrationReason.CLOUD_VIEW_STALE, c.unread(scope.world.unread))
    return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=timedelta(seconds=5))
