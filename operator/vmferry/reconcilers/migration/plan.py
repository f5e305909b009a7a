"""The state machine of a VMMigration.

A reconcile runs the steps in `STEPS` in order; the first step that returns a decision ends it. The status is the only
state kept between two reconciles. Its phase normally goes

    Pending -> Queued -> Migrating -> Verifying -> Succeeded

A request is Blocked while a prerequisite fails and Checked while only a check is wanted. It can end as Failed or
Cancelled from any phase.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from vmferry.policy import Policy
from vmferry.reconcilers.migration.breakers import held_by_breaker
from vmferry.reconcilers.migration.check import check, preflight_only
from vmferry.reconcilers.migration.cloud_view import report_failed_read, stale_view
from vmferry.reconcilers.migration.ending import (
    cancelled,
    conclude_success,
    explain_kept_object,
    fail_exhausted,
    fail_expired,
    finished,
    server_gone,
)
from vmferry.reconcilers.migration.find import check_attestation, check_owner, find_server, report_refused_finalizer
from vmferry.reconcilers.migration.follow import follow, note_late_error
from vmferry.reconcilers.migration.queueing import back_off, kill_switch, paused, queue
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.shutdown import await_shutdown, fail_late_shutdown, limit_downtime, restart_server
from vmferry.reconcilers.migration.start import start
from vmferry.reconcilers.steps import run
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration

STEPS: tuple[Callable[[MigrationScope], MigrationDecision | None], ...] = (
    # A request that has ended, or waited too long, needs nothing of the cloud.
    finished,
    fail_expired,
    # Without a fresh view of the cloud, nothing else is decided.
    stale_view,
    report_failed_read,
    # An attempt under way is followed to its end before anything new is considered.
    follow,
    conclude_success,
    server_gone,
    cancelled,
    # Whether the request may act at all, and on which server.
    check_owner,
    report_refused_finalizer,
    find_server,
    check_attestation,
    # A server that was shut down for this move is started again if the move does not begin in time.
    fail_late_shutdown,
    fail_exhausted,
    restart_server,
    await_shutdown,
    # The prerequisites.
    check,
    preflight_only,
    # What can hold back a request that passes all of them.
    paused,
    kill_switch,
    held_by_breaker,
    back_off,
    queue,
    # The last check on a fresh read of the server, and the request to Nova.
    start,
)


def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> MigrationDecision:
    """Decide what to do about `obj` now.

    Pure: the decision, and the new status in it, depend on the arguments only. `obj` itself is not changed.
    """
    scope = MigrationScope(obj, world, now, policy)
    note_late_error(scope)
    if scope.status.completed_at is None:
        scope.conditions.report_unverified(scope.snapshot, MigrationReason.VERIFY_DISABLED)
    decision = run(STEPS, scope)
    assert decision is not None, "the last step always decides"
    # Whatever was decided, a server that was shut down for its move must not stay off for good.
    decision = limit_downtime(scope, decision)
    scope.summarise()
    explain_kept_object(scope)
    return decision
