"""Finds the host of the maintenance, and handles a missing or doubtful host."""

from __future__ import annotations

from vmferry.cloud.model import DoubtfulHost
from vmferry.cloud.similar_names import did_you_mean
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.host_ownership import lease
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, MaintenanceDecision, MaintenanceScope
from vmferry.resources.words import MaintenancePhase


def find_host(scope: MaintenanceScope) -> MaintenanceDecision | None:
    if scope.host is not None:
        scope.status.host = scope.host.name
        if scope.admitted:
            scope.status.cloud = scope.snapshot.cloud_id or scope.status.cloud
        return None
    if scope.doubt is not None:
        return _in_doubt(scope, scope.doubt)
    if scope.admitted and (decision := lease(scope)) is not None:
        return decision  # a host that is not listed at the moment is still owned (I43)
    message = f"the cloud has no host {scope.spec.host}"
    forget_survey(scope)
    scope.event_once(EventReason.HOST_NOT_FOUND, message, warning=True)
    scope.conditions.set(c.PREREQUISITES_MET, False, Reason.HOST_NOT_FOUND, message)
    scope.stalled(
        Reason.HOST_NOT_FOUND,
        f"{message}: {did_you_mean(scope.spec.host, scope.snapshot.hosts)}name a compute service host (`openstack "
        "compute service list`) or a hypervisor's UUID",
    )
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _in_doubt(scope: MaintenanceScope, doubt: DoubtfulHost) -> MaintenanceDecision:
    """Block while the host's records contradict each other or cannot be read: it is neither cordoned nor empty (I36).

    The changes of an earlier round stay recorded and are undone once the records agree (I43).
    """
    if scope.admitted and (decision := lease(scope)) is not None:
        return decision  # an admitted maintenance keeps the Lease of its host
    status = scope.status
    forget_survey(scope)
    status.drained_at = status.empty_since = None
    scope.event_once(EventReason.FACT_UNKNOWN, doubt.problem, warning=True)
    for condition in (c.PREREQUISITES_MET, CORDONED, DRAINED):
        scope.conditions.set(condition, None, Reason.FACT_UNKNOWN, doubt.problem)
    scope.stalled(Reason.FACT_UNKNOWN, f"{doubt.problem}: {doubt.remedy}")
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def forget_survey(scope: MaintenanceScope) -> None:
    scope.status.blockers = []
    scope.status.leftover_records = []
    scope.status.moves = []
    scope.status.progress = None
