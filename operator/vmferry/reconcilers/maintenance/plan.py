"""HostMaintenance: the state machine of one host's maintenance (R25-R30).

    Checking -> Queued | Blocked -> Draining -> InMaintenance -> Releasing -> Released

A pass is the list of steps in `STEPS`, each of which may end it. The moves are VMMigrations of their own: this one
says which and when, and counts what becomes of them. Nothing is remembered between passes but the status.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from vmferry.policy import Policy
from vmferry.reconcilers.decision import World
from vmferry.reconcilers.maintenance.admission import admit, blocked, budget, kill_switch, writable
from vmferry.reconcilers.maintenance.check import check, preflight_only
from vmferry.reconcilers.maintenance.cloud_view import stale_view, unread
from vmferry.reconcilers.maintenance.cordon import cordon
from vmferry.reconcilers.maintenance.drain import drain
from vmferry.reconcilers.maintenance.find import find_host
from vmferry.reconcilers.maintenance.host_ownership import conflict, lease
from vmferry.reconcilers.maintenance.idle import nothing_to_do, released
from vmferry.reconcilers.maintenance.scope import (
    MaintenanceDecision,
    MaintenanceScope,
)
from vmferry.resources.hostmaintenance import HostMaintenance


def plan(obj: HostMaintenance, world: World, now: datetime, policy: Policy) -> MaintenanceDecision:
    """What to do about `obj` now. Pure: the same arguments give the same decision."""
    scope = MaintenanceScope(obj, world, now, policy)
    scope.conditions.report_unverified(scope.snapshot)
    for step in STEPS:
        decision = step(scope)
        if decision is not None:
            return decision
    return drain(scope)


STEPS: tuple[Callable[[MaintenanceScope], MaintenanceDecision | None], ...] = (
    nothing_to_do,
    stale_view,
    unread,
    released,
    find_host,
    conflict,
    check,
    preflight_only,
    blocked,
    budget,
    kill_switch,
    writable,
    lease,
    admit,
    cordon,
)
