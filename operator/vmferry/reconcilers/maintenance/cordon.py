"""Disabling the compute service of the host, so that Nova schedules no new servers to it (I8, I27)."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.actions import OUR_REASON, DisableService
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, MaintenanceDecision, MaintenanceScope, not_now
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.reads import ReadHost
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import Cordon, HostBefore, HostMaintenanceStatus
from vmferry.resources.words import CordonAnswer, CordonState, MaintenancePhase, ServiceStatus


def cordon(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """Disable the compute service, and disable it again if it was enabled during the maintenance (I8, I20, I27)."""
    service, status = scope.service, scope.status
    if service is not None and not service.enabled and status.host_before is not None:
        if status.cordon is not None:
            status.cordon.begin(CordonState.HELD)
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
    undone = service.enabled and _was_held(status)
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
            f"the compute service on {survey.host.name} was enabled during the maintenance: disabling it again",
            warning=True,
        )
        scope.note_change()
    # the service was enabled, so servers may have arrived that the view does not show yet
    status.drained_at = status.empty_since = None
    message = "the compute service is being disabled"
    scope.conditions.set(DRAINED, False, MaintenanceReason.CORDONING, message)
    cordon = status.cordon or Cordon(service_id=service.id, disabled_reason="", requested_at=scope.now)
    asked = cordon.state is CordonState.REQUESTED
    cordon.begin(CordonState.REQUESTED)
    status.cordon = cordon
    refused = cordon.answer is CordonAnswer.REFUSED
    if refused:
        phase = MaintenancePhase.BLOCKED
        scope.stalled(Reason.CLOUD_REFUSED, cordon.message or message)
    elif cordon.answer is None and scope.no_progress(
        f"{message}: Nova accepted it, or gave no answer, and {survey.host.name} is still enabled"
    ):
        phase = MaintenancePhase.BLOCKED
    else:
        phase = MaintenancePhase.DRAINING
        scope.progressing(*not_now(cordon, MaintenanceReason.CORDONING, message))
    if asked and (wait := scope.ask_again_in(cordon.requested_at, refused=refused)) is not None:
        return scope.decide(phase, requeue_after=wait)
    if not refused:
        scope.conditions.set(CORDONED, False, *not_now(cordon, MaintenanceReason.CORDONING, message))
    cordon.service_id, cordon.disabled_reason, cordon.requested_at = service.id, our_reason(scope), scope.now
    action = DisableService(service.id, survey.host.name, cordon.disabled_reason)
    return scope.decide(phase, action=action, requeue_after=timedelta(seconds=1))


def _was_held(status: HostMaintenanceStatus) -> bool:
    """Whether the service was disabled before in this maintenance, so that another user must have enabled it."""
    cordon, before = status.cordon, status.host_before
    if cordon is None:
        return before is not None and before.status is ServiceStatus.DISABLED
    undoing = cordon.state is CordonState.UNDOING
    # if Nova refused or postponed the operator's request to enable the service, the operator did not enable it
    return cordon.answer is not None if undoing else cordon.state is CordonState.HELD


def our_reason(scope: MaintenanceScope) -> str:
    """The disabled reason for Nova: the owner of the cordon, then the user's text (I8)."""
    words = f": {scope.spec.reason}" if scope.spec.reason.strip() else ""
    return clip(f"{OUR_REASON}{clip(scope.name, 60)} {scope.obj.metadata.uid}{words}", 255)
