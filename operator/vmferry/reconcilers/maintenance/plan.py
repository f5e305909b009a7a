"""The state machine of a HostMaintenance (R25-R30).

    Checking -> Queued | Blocked -> Draining -> InMaintenance -> Releasing -> Released

A reconcile runs the steps below in order until one returns a decision. Steps that need the servers of the host take
the survey as an argument, so they cannot run before it is made. The moves are separate VMMigrations: the
HostMaintenance decides which to create and when, and counts their results. The status is the only state kept between
two reconciles.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.maintenance.admission import admit, blocked, budget, kill_switch, writable
from vmferry.reconcilers.maintenance.check import check, preflight_only
from vmferry.reconcilers.maintenance.cloud_view import stale_view, unread
from vmferry.reconcilers.maintenance.cordon import cordon
from vmferry.reconcilers.maintenance.drain import drain
from vmferry.reconcilers.maintenance.find import find_host
from vmferry.reconcilers.maintenance.host_ownership import conflict
from vmferry.reconcilers.maintenance.idle import nothing_to_do, released
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.steps import run
from vmferry.reconcilers.world import World
from vmferry.resources.hostmaintenance import HostMaintenance

#: steps that run before the survey of the host's servers
STEPS: tuple[Callable[[MaintenanceScope], MaintenanceDecision | None], ...] = (
    nothing_to_do,
    stale_view,
    unread,
    released,
    find_host,
    conflict,
)
#: steps that decide whether the host may be changed
ADMISSION: tuple[Callable[[MaintenanceScope, Survey], MaintenanceDecision | None], ...] = (
    preflight_only,
    blocked,
    budget,
    kill_switch,
    writable,
)
#: steps for an admitted host
MAINTENANCE: tuple[Callable[[MaintenanceScope, Survey], MaintenanceDecision | None], ...] = (
    cordon,
    drain,
)


def plan(obj: HostMaintenance, world: World, now: datetime, policy: Policy) -> MaintenanceDecision:
    """Decide what to do about `obj` now. Pure: the same arguments give the same decision."""
    scope = MaintenanceScope(obj, world, now, policy)
    scope.conditions.report_unverified(scope.snapshot, MaintenanceReason.VERIFY_DISABLED)
    decision = run(STEPS, scope) or _maintain(scope)
    scope.summarise()
    return decision


def _maintain(scope: MaintenanceScope) -> MaintenanceDecision:
    survey = check(scope)
    if isinstance(survey, Decision):
        return survey
    if (decision := run(ADMISSION, scope, survey)) is not None:
        return decision
    survey = admit(scope, survey)
    if isinstance(survey, Decision):
        return survey
    decision = run(MAINTENANCE, scope, survey)
    assert decision is not None, "the last step always decides"
    return decision
