"""Handles writes that Kubernetes refuses: a HostMaintenance detects them before it changes the host, starts no move
whose VMMigration cannot be created, tries again periodically, and reports the API server's error."""

from __future__ import annotations

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.owned import CreateObject
from vmferry.reconcilers.reads import TryCreate
from vmferry.reconcilers.refused_writes import FINALIZER, Refusal
from vmferry.resources.vmmigration import VMMigrationSpec


def refused_create(
    scope: MaintenanceScope, sample: CreateObject[VMMigrationSpec], *, before: bool
) -> MaintenanceDecision | Refusal | None:
    """Why no VMMigration like `sample` can be created now; None: no refusal is known.

    A decision requests a trial: with `before`, that is before the first VMMigration is created; when the last refusal
    is old; or after a restart of the operator, which has forgotten the refusal that the status reports.
    """
    # use the latest refusal, because a trial repeats only one of several refused writes
    known = max((one for one in scope.world.refusals if one.creates), key=lambda one: one.at, default=None)
    if known is not None and _is_fresh(scope, known):
        return known
    ready = scope.obj.status.condition(c.READY)
    reported = ready is not None and ready.reason == MaintenanceReason.WRITE_REFUSED
    if scope.world.answer(TryCreate) is None and (before or known is not None or reported):
        return scope.needs(TryCreate(sample))
    return None


def report(scope: MaintenanceScope, what: str, refusal: str) -> None:
    """Set Stalled with the API server's error, and add an Event the first time."""
    message = f"Kubernetes refuses {what}: {refusal}"
    scope.event_once(EventReason.WRITE_REFUSED, message, warning=True)
    scope.stalled(MaintenanceReason.WRITE_REFUSED, message)


def finalizer_refused(scope: MaintenanceScope) -> str | None:
    """Why the finalizer cannot be added to the object; without it the host is not changed."""
    found = next((one for one in scope.world.refusals if one.subject == FINALIZER), None)
    return found.message if found is not None and _is_fresh(scope, found) else None


def _is_fresh(scope: MaintenanceScope, refusal: Refusal) -> bool:
    """Whether the refusal is too recent to try again."""
    return scope.now - refusal.at < scope.policy.recheck


def taken_name(scope: MaintenanceScope, name: str) -> Refusal | None:
    """The refusal that reports that another owner's object has this name; None if there is none."""
    return next((one for one in scope.world.refusals if one.taken and one.subject == name), None)
