"""Host ownership: one HostMaintenance per host at a time (I26), and only with the host's Lease (I32)."""

from __future__ import annotations

from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.maintenance.refused_writes import report
from vmferry.reconcilers.maintenance.scope import MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.reads import TakeHostLease
from vmferry.resources.words import MaintenancePhase


def conflict(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Block if another HostMaintenance has precedence for the host: the current owner, then the older one (I26)."""
    if not scope.wanted:
        return None
    winner = min(_competitors(scope), key=lambda claim: claim.turn, default=None)
    if winner is None or scope.claim.turn <= winner.turn:
        return None
    message = f"HostMaintenance {winner.name} has the host {scope.status.host} already: delete one of the two"
    return _in_conflict(scope, message)


def _in_conflict(scope: MaintenanceScope, message: str) -> MaintenanceDecision:
    scope.event_once(EventReason.CONFLICT, message, warning=True)
    scope.stalled(Reason.CONFLICT, message)
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _competitors(scope: MaintenanceScope) -> list[Claim]:
    assert scope.host is not None
    return [one for one in scope.world.claims if (one.wanted or one.holds) and scope.host.answers_to(one.host)]


def lease(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Take or renew the host's Lease (I32). Without it the host is changed neither for a drain nor for a release."""
    host = scope.status.host or scope.spec.host
    lease = scope.world.answer(TakeHostLease)
    if lease is None:
        return scope.needs(TakeHostLease(host))
    if lease.refused is not None:
        report(scope, f"the Lease of {host}", lease.refused)
        phase = scope.status.phase if scope.admitted else None
        return scope.decide(phase or MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    holder = lease.holder
    if holder is None:
        return None
    return _in_conflict(scope, f"{holder} has the Lease of {host}: nothing is done until it gives it back")
