"""The checks that must pass before a maintenance changes its host, and the start of a round."""

from __future__ import annotations

from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.maintenance.drain import holds_back, move_away
from vmferry.reconcilers.maintenance.host_ownership import lease
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.refused_writes import finalizer_refused, refused_create, report
from vmferry.reconcilers.maintenance.report import write_survey
from vmferry.reconcilers.maintenance.scope import CORDONED, DRAINED, DRAINING, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.maintenance.take_survey import take_survey
from vmferry.reconcilers.owned_migrations import Purpose
from vmferry.reconcilers.reads import ReadHost
from vmferry.resources.words import MaintenancePhase


def budget(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """Limit the number of hosts of an availability zone in maintenance (I26); the others wait in queue order."""
    if scope.admitted:
        return None
    limit = scope.policy.maintenance.max_hosts_per_cluster
    zone = survey.host.zone
    neighbours = [one for one in scope.world.claims if _may_be_in(scope, one, zone)]
    holding = [one for one in neighbours if one.holds]
    first = [one for one in neighbours if one.queued and one.wanted and not one.holds and one.turn < scope.claim.turn]
    if len(holding) + len(first) < limit:
        return None
    names = ", ".join(sorted(one.name for one in (holding or first))[:3])
    message = f"{len(holding)} hosts of {zone} are in maintenance ({names}), the limit is {limit}"
    if not holding:
        message = f"{len(first)} maintenances of {zone} go first ({names}), the limit is {limit}"
    scope.event_once(EventReason.QUEUED, message)
    scope.progressing(MaintenanceReason.QUEUED, f"waits for its turn: {message}")
    scope.conditions.set(CORDONED, False, MaintenanceReason.QUEUED, "the host is not touched yet")
    scope.conditions.set(DRAINED, False, MaintenanceReason.QUEUED, "the host is not touched yet")
    return scope.decide(MaintenancePhase.QUEUED, requeue_after=scope.policy.recheck)


def _may_be_in(scope: MaintenanceScope, claim: Claim, zone: str) -> bool:
    """Whether the claim's host is in the zone, or its zone is unknown."""
    host = scope.snapshot.find_host(claim.host)
    return host.zone == zone if host else scope.snapshot.find_doubt(claim.host) is not None


def blocked(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """Leave the host unchanged while servers are blocked and the spec refuses that (R27), or capacity is short."""
    blocker = survey.first_blocker()
    if scope.admitted or blocker is None or not holds_back(scope, survey):
        return None
    reason, message = blocker
    scope.event_once(reason, message, warning=True)
    scope.conditions.set(CORDONED, False, reason, "the host is left as it is")
    scope.conditions.set(DRAINED, False, reason, "nothing was moved")
    scope.stalled(reason, message)
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def kill_switch(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """The kill switch (I31): the host is not changed and no move starts; running moves run to completion."""
    why = scope.world.kill_switch.against(scope.snapshot, survey.host.name)
    under_way = scope.admitted and scope.status.release_started_at is None and not survey.host.service.enabled
    if why is None or (under_way and not survey.planned):
        return None
    if scope.admitted and (decision := lease(scope)) is not None:
        return decision  # an admitted maintenance keeps the Lease of its host
    scope.event_once(EventReason.STOPPED, why)
    scope.forget_change()
    scope.progressing(MaintenanceReason.STOPPED, why)
    if not scope.admitted:
        scope.conditions.set(CORDONED, False, MaintenanceReason.STOPPED, "the host is not touched yet")
    scope.conditions.set(DRAINED, False, MaintenanceReason.STOPPED, why)
    phase = MaintenancePhase.DRAINING if scope.admitted else MaintenancePhase.QUEUED
    return scope.decide(phase, requeue_after=DRAINING)


def writable(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision | None:
    """Leave the host unchanged if Kubernetes would refuse the next writes: the finalizer or the VMMigrations."""
    if scope.admitted:
        return None
    refused = finalizer_refused(scope)
    what = "our finalizer on this object"
    if refused is None and survey.planned:
        sample = move_away(scope, survey.planned[0], scope.status.round + 1)
        found = refused_create(scope, sample, before=True)
        if isinstance(found, Decision):
            return found
        refused, what = (found.message if found else None), "to create the VMMigrations of this maintenance"
    if refused is None:
        return None
    report(scope, what, refused)
    scope.conditions.set(CORDONED, False, MaintenanceReason.WRITE_REFUSED, "the host is left as it is")
    scope.conditions.set(DRAINED, False, MaintenanceReason.WRITE_REFUSED, "nothing was moved")
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def admit(scope: MaintenanceScope, survey: Survey) -> Survey | MaintenanceDecision:
    """Begin a new round, also if the maintenance is enabled again during its release. Returns the round's survey."""
    if (decision := lease(scope)) is not None:
        return decision
    status = scope.status
    if scope.admitted and status.release_started_at is None:
        return survey
    if scope.look is None:
        return scope.needs(ReadHost(survey.host.name))
    again = scope.admitted
    status.admitted_at = status.admitted_at or scope.now
    status.cloud = scope.snapshot.cloud_id or status.cloud
    status.round += 1
    status.release_started_at = status.released_at = status.drained_at = status.empty_since = None
    if not again:
        status.host_before = status.cordon = None
        # keep the VMMigrations of the previous maintenance for users to read; delete older ones, so they do not pile up
        scope.deletes += [child for child in scope.children if child.over and child.round < status.round - 1]
    scope.cancel(child for child in scope.open_children() if child.purpose is Purpose.RETURN)
    if scope.children:
        # tries of the previous round do not count in this round
        survey = take_survey(scope, survey.host)
        write_survey(scope, survey)
    scope.note_change()
    scope.event(
        EventReason.MAINTENANCE_STARTED, f"the maintenance of {status.host} has started; servers on it: {survey.total}"
    )
    return survey
