"""Disabling the compute service of the host, so that nothing new is placed on it (I8, I27)."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.actions import OUR_REASON, DisableService
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.reads import ReadHost
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import Cordon, HostBefore
from vmferry.resources.words import MaintenancePhase, ServiceStatus


def cordon(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """Nothing new lands on the host from now on (I8, I20, I27)."""
    service, status = scope.service, scope.status
    if service is not None and not service.enabled and status.host_before is not None:
        why = f": {service.disabled_reason}" if service.disabled_reason else ""
        reason = MaintenanceReason.CORDONED if status.cordon else MaintenanceReason.DISABLED_BEFORE
        scope.conditions.set(CORDONED, True, reason, f"the compute service is disabled{why}")
        return None
    if scope.look is None:
        return scope.needs(ReadHost(survey.host.name))
    if service is None:
        message = f"Nova lists no compute service on {survey.host.name}"
        scope.conditions.set(CORDONED, None, Reason.HOST_NOT_FOUND, message)
        scope.stalled(Reason.HOST_NOT_FOUND, message)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    was = scope.conditions.get(CORDONED)
    # "Uncordoning": we did it, in a release that is taken back
    undone = (
        was is not None and was.status == "True" and was.reason != MaintenanceReason.UNCORDONING and service.enabled
    )
    if status.host_before is None or undone:
        word = ServiceStatus.ENABLED if service.enabled else ServiceStatus.DISABLED
        before = clip(service.disabled_reason, 255) if service.disabled_reason and not service.enabled else None
        status.host_before = HostBefore(status=word, disabled_reason=before)
    if not service.enabled:
        words = f"the compute service was disabled before and stays so: {service.disabled_reason or 'no reason given'}"
        scope.event(EventReason.DISABLED_BEFORE, words)
        scope.conditions.set(CORDONED, True, MaintenanceReason.DISABLED_BEFORE, words)
        return None
    if undone:
        scope.event(
            EventReason.CORDON_REASSERTED,
            f"somebody has enabled {survey.host.name} meanwhile: disabling it again",
            warning=True,
        )
        scope.note_change()
    # it was open: something may have come to it that nobody sees yet
    status.drained_at = status.empty_since = None
    message = "the compute service is being disabled"
    scope.conditions.set(DRAINED, False, MaintenanceReason.CORDONING, message)
    refused = was is not None and was.status == "False" and was.reason == Reason.CLOUD_REFUSED
    busy = was is not None and was.reason == MaintenanceReason.NOT_NOW
    if refused and was is not None:
        phase = MaintenancePhase.BLOCKED
        scope.stalled(Reason.CLOUD_REFUSED, was.message)
    elif not busy and scope.no_progress(
        f"{message}: Nova accepted it, or gave no answer, and {survey.host.name} is still enabled"
    ):
        phase = MaintenancePhase.BLOCKED
    else:
        phase = MaintenancePhase.DRAINING
        scope.progressing(*scope.not_now(was, MaintenanceReason.CORDONING, message))
    if status.cordon is not None and (
        refused or (was is not None and was.reason in (MaintenanceReason.CORDONING, MaintenanceReason.NOT_NOW))
    ):
        wait = scope.ask_again_in(status.cordon.requested_at, refused=refused)
        if wait is not None:
            return scope.decide(phase, requeue_after=wait)
    if not refused:
        scope.conditions.set(CORDONED, False, *scope.not_now(was, MaintenanceReason.CORDONING, message))
    status.cordon = Cordon(service_id=service.id, disabled_reason=our_reason(scope), requested_at=scope.now)
    action = DisableService(service.id, survey.host.name, status.cordon.disabled_reason)
    return scope.decide(phase, action=action, requeue_after=timedelta(seconds=1))


def our_reason(scope: MaintenanceScope) -> str:
    """Nova's disabled reason: whose it is, then the user's words (I8)."""
    words = f": {scope.spec.reason}" if scope.spec.reason.strip() else ""
    return clip(f"{OUR_REASON}{clip(scope.name, 60)} {scope.obj.metadata.uid}{words}", 255)
