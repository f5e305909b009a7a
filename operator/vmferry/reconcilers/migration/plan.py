"""The state machine of a VMMigration.

A reconcile runs the steps in `STEPS` in order until one returns a decision. The status is the only state kept between
two reconciles.

    Pending -> Checking -> Blocked | Queued -> Migrating -> Verifying -> Succeeded | Failed | Cancelled
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from vmferry.policy import Policy
from vmferry.reconcilers.migration.breakers import held_by_breaker
from vmferry.reconcilers.migration.check import check, preflight_only
from vmferry.reconcilers.migration.cloud_view import stale_view, unread
from vmferry.reconcilers.migration.ending import (
    cancelled,
    expired_request,
    explain_kept_object,
    finished,
    given_up,
    server_gone,
    succeeded_request,
)
from vmferry.reconcilers.migration.find import attested, finalizer_refused, find_server, without_owner
from vmferry.reconcilers.migration.follow import follow, note_late_error
from vmferry.reconcilers.migration.queueing import back_off, kill_switch, paused, queue
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.shutdown import giving_up, not_off_for_good, shutting_down, starting_again
from vmferry.reconcilers.migration.start import start
from vmferry.reconcilers.steps import run
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration

STEPS: tuple[Callable[[MigrationScope], MigrationDecision | None], ...] = (
    finished,
    expired_request,
    stale_view,
    unread,
    follow,
    succeeded_request,
    server_gone,
    cancelled,
    without_owner,
    finalizer_refused,
    find_server,
    attested,
    giving_up,
    given_up,
    starting_again,
    shutting_down,
    check,
    preflight_only,
    paused,
    kill_switch,
    held_by_breaker,
    back_off,
    queue,
    start,
)


def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> MigrationDecision:
    """Decide what to do about `obj` now. Pure: the same arguments give the same decision."""
    scope = MigrationScope(obj, world, now, policy)
    note_late_error(scope)
    if scope.status.completed_at is None:
        scope.conditions.report_unverified(scope.snapshot, MigrationReason.VERIFY_DISABLED)
    decision = run(STEPS, scope)
    assert decision is not None, "the last step always decides"
    decision = not_off_for_good(scope, decision)
    scope.summarise()
    explain_kept_object(scope)
    return decision
