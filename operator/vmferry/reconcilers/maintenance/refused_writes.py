"""What a HostMaintenance does about writes that Kubernetes refuses: it finds out before the host is touched, starts
nothing that cannot be created, asks again now and then, and reports the API server's own words."""

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
    """Why no VMMigration like `sample` can be created now; None: nothing is known to keep it from that.

    A decision asks for a trial: `before` anything was created, when the last refusal is old, and after a restart of the
    operator, which has forgotten what the status reports.
    """
    # the latest: a trial asks for one of several that were refused
    known = max((one for one in scope.world.refusals if one.creates), key=lambda one: one.at, default=None)
    if known is not None and _is_fresh(scope, known):
        return known
    ready = scope.obj.status.condition(c.READY)
    reported = ready is not None and ready.reason == MaintenanceReason.WRITE_REFUSED
    if scope.world.answer(TryCreate) is None and (before or known is not None or reported):
        return scope.needs(TryCreate(sample))
    return None


def report(scope: MaintenanceScope, what: str, refusal: str) -> None:
    """Stalled with the server's words, and an Event the first time."""
    message = f"Kubernetes refuses {what}: {refusal}"
    scope.event_once(EventReason.WRITE_REFUSED, message, warning=True)
    scope.stalled(MaintenanceReason.WRITE_REFUSED, message)


def finalizer_refused(scope: MaintenanceScope) -> str | None:
    """Why our finalizer cannot be put on the object, without which the host is not touched."""
    found = next((one for one in scope.world.refusals if one.subject == FINALIZER), None)
    return found.message if found is not None and _is_fresh(scope, found) else None


def _is_fresh(scope: MaintenanceScope, refusal: Refusal) -> bool:
    """Whether it need not be tried again yet."""
    return scope.now - refusal.at < scope.policy.recheck


def taken_name(scope: MaintenanceScope, name: str) -> Refusal | None:
    """That an object which is not ours has this name."""
    return next((one for one in scope.world.refusals if one.taken and one.subject == name), None)
