"""Enabling the compute service again, if exactly this maintenance disabled it (I8)."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.actions import EnableService
from vmferry.cloud.model import Host, HostLook
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import CORDONED, MaintenanceDecision, MaintenanceScope, not_now
from vmferry.reconcilers.reads import ReadHost
from vmferry.resources.words import CordonAnswer, CordonState, MaintenancePhase, ServiceStatus


def undo_cordon(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Enable the service if its disabled reason is still exactly this maintenance's (I8)."""
    cordon = scope.status.cordon
    if cordon is None:
        return None
    if scope.doubt is not None:
        # it is unknown which record has the cordon, so undoing it remains due (I43)
        scope.event_once(EventReason.FACT_UNKNOWN, scope.doubt.problem, warning=True)
        scope.conditions.set(CORDONED, None, Reason.FACT_UNKNOWN, scope.doubt.problem)
        scope.stalled(Reason.FACT_UNKNOWN, f"{scope.doubt.problem}: {scope.doubt.remedy}")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    name = scope.host.name if scope.host is not None else scope.status.host or scope.spec.host
    if scope.look is None:
        return scope.needs(ReadHost(name))
    service = scope.look.service
    if service is None and (elsewhere := _in_another_cloud(scope)) is not None:
        message = (
            f"this cloud ({scope.snapshot.cloud_id}) has no host {name}, which was let into maintenance in "
            f"{elsewhere}: what is to be undone there stays written, for the operator of that cloud"
        )
        scope.event_once(EventReason.HOST_NOT_FOUND, message, warning=True)
        scope.stalled(Reason.HOST_NOT_FOUND, message)
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    if service is not None and service.enabled and scope.host is not None and not scope.host.service.enabled:
        # the next decisions use the shared view, so wait until it shows the host as enabled
        scope.progressing(
            MaintenanceReason.RELEASING, "the compute service is enabled; the view of the cloud will show it soon"
        )
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=timedelta(seconds=1))
    if service is None or service.enabled:
        scope.status.cordon = None
        gone = f"Nova has no compute service on {name} any more"
        scope.conditions.set(
            CORDONED, False, MaintenanceReason.RELEASED, "the compute service is enabled" if service else gone
        )
        return None
    if service.disabled_reason != cordon.disabled_reason:
        reason = service.disabled_reason or "no reason given"
        message = f"somebody else has disabled the compute service, so it stays disabled: {reason}"
        scope.event(EventReason.CORDON_LEFT, message, warning=True)
        scope.status.cordon = None
        scope.conditions.set(CORDONED, False, MaintenanceReason.LEFT_DISABLED, message)
        return None
    if scope.host is not None and _waits_for_its_compute(scope, scope.host, scope.look):
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    message = "the compute service is being enabled"
    asked = cordon.state is CordonState.UNDOING
    cordon.begin(CordonState.UNDOING)
    refused = cordon.answer is CordonAnswer.REFUSED
    if refused:
        scope.stalled(Reason.CLOUD_REFUSED, cordon.message or message)
    elif cordon.answer is None and scope.no_progress(
        "Nova accepted to enable the compute service, or gave no answer, and it is still disabled"
    ):
        pass
    else:
        scope.progressing(*not_now(cordon, MaintenanceReason.RELEASING, message))
    if asked and (wait := scope.ask_again_in(cordon.requested_at, refused=refused)) is not None:
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=wait)
    if not refused:
        scope.conditions.set(CORDONED, True, *not_now(cordon, MaintenanceReason.UNCORDONING, message))
    cordon.requested_at = scope.now
    action = EnableService(service.id, name)
    return scope.decide(MaintenancePhase.RELEASING, action=action, requeue_after=timedelta(seconds=1))


def report_without_cordon(scope: MaintenanceScope) -> None:
    """Set the condition Cordoned in a release that has no cordon to undo."""
    before = scope.status.host_before
    left = before is not None and before.status is ServiceStatus.DISABLED
    message = "the compute service was disabled before and stays disabled" if left else "the compute service is enabled"
    if not left and scope.service is not None and not scope.service.enabled:
        left, message = True, "somebody else has disabled the compute service, so it stays disabled"
    reason = MaintenanceReason.LEFT_DISABLED if left else MaintenanceReason.RELEASED
    scope.conditions.set(CORDONED, False, reason, message)


def _waits_for_its_compute(scope: MaintenanceScope, host: Host, look: HostLook) -> bool:
    """Whether nova-compute has not yet removed the remains of evacuated servers (I17). Until it has, a guest may exist
    twice, and Nova does not allow the host to be marked up."""
    if not look.evacuated:
        return False
    names = sorted(scope.snapshot.servers[one].name for one in look.evacuated if one in scope.snapshot.servers)
    down = "its compute service is down, and " if not host.service.up else ""
    scope.stalled(
        Reason.HOST_DOWN if not host.service.up else Reason.NO_PROGRESS,
        f"{host.name} stays disabled: {down}{len(look.evacuated)} evacuated servers ({', '.join(names[:3]) or 'gone'}) "
        "have not been removed from it yet: start nova-compute there, which removes them and closes their evacuation "
        f"records; then, if it was marked down, `openstack compute service set --up {host.name} nova-compute`. If "
        "the host never comes back, delete its compute service",
    )
    return True


def _in_another_cloud(scope: MaintenanceScope) -> str | None:
    """The host's cloud, if it is not this operator's: that this cloud does not list the host is then no evidence that
    the host is gone (I43)."""
    there, here = scope.status.cloud, scope.snapshot.cloud_id
    return there if there is not None and here is not None and there != here else None
