"""The whole-host check: all prerequisites of all servers are checked before the first server moves (R27, I21)."""

from __future__ import annotations

from vmferry.cloud.model import Host
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.host_ownership import lease
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.report import write_survey
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.maintenance.take_survey import take_survey
from vmferry.reconcilers.reads import TakeHostLease, TryCreate
from vmferry.resources.words import MaintenancePhase


def check(scope: MaintenanceScope) -> Survey | MaintenanceDecision:
    """Check all prerequisites of all servers of the host before the first server moves (R27, I21)."""
    assert scope.host is not None
    if (
        scope.wanted
        and scope.admitted
        and scope.world.answer(TakeHostLease) is None
        and (decision := lease(scope)) is not None
    ):
        # every later step needs the Lease; reading it first avoids computing the costly plan twice
        return decision
    survey = take_survey(scope, scope.host)
    if survey.retry is not None and scope.world.answer(TryCreate) is None:
        return scope.needs(TryCreate(survey.retry))
    write_survey(scope, survey)
    _report_service_state(scope, scope.host)
    return survey


def preflight_only(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    if scope.wanted:
        return None
    scope.conditions.set(
        CORDONED, False, MaintenanceReason.PREFLIGHT_ONLY, "spec.preflightOnly is true: the host is left as it is"
    )
    scope.conditions.set(
        DRAINED, False, MaintenanceReason.PREFLIGHT_ONLY, "spec.preflightOnly is true: nothing is moved"
    )
    if (blocker := survey.first_blocker()) is not None:
        scope.stalled(*blocker)
    else:
        scope.ready(
            MaintenanceReason.PREFLIGHT_PASSED, f"all {survey.to_leave} servers that have to leave can; see moves"
        )
    return scope.decide(MaintenancePhase.CHECKED, requeue_after=scope.policy.recheck)


def _report_service_state(scope: MaintenanceScope, host: Host) -> None:
    """Report at once that the host went down or came up. The prerequisites decide what may be evacuated (I12)."""
    if host.service.up:
        if scope.status.down_since is not None:
            scope.event(EventReason.HOST_UP, f"the compute service of {host.name} is up again")
        scope.status.down_since = None
    elif scope.status.down_since is None:
        scope.status.down_since = scope.now
        scope.event(
            EventReason.HOST_DOWN,
            f"the compute service of {host.name} is down: its servers are evacuated only once the host is proven "
            "dead and marked down by force",
            warning=True,
        )
