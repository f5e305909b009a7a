"""HostMaintenance: the state machine of one host's maintenance (R25-R30).

    Checking -> Queued | Blocked -> Draining -> InMaintenance -> Releasing -> Released

A pass is the list of steps in `STEPS`, each of which may end it. The moves are VMMigrations of their own: this one
says which and when, and counts what becomes of them. Nothing is remembered between passes but the status.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from vmferry.cloud.actions import OUR_REASON, Accepted, Action, DisableService, NotNow, Outcome, Refused
from vmferry.cloud.model import DoubtfulHost, HostLook, Migration, MigrationStage, ResolvedType
from vmferry.cloud.similar_names import did_you_mean
from vmferry.planning.breaker import Hold
from vmferry.planning.drain.plan import DrainPlan, Planned, next_moves
from vmferry.planning.limits import describe, holders, limited
from vmferry.policy import Policy
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.conditions import NOT_NOW, Conditions
from vmferry.reconcilers.decision import Decision, Event, EventType, World
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.host_claims import Claim
from vmferry.reconcilers.kill_switch import BREAKER_OPEN, STOPPED
from vmferry.reconcilers.maintenance.refused_writes import finalizer_refused, refused_create, report
from vmferry.reconcilers.maintenance.release import release
from vmferry.reconcilers.maintenance.report import write_moves, write_survey
from vmferry.reconcilers.maintenance.scope import (
    CORDONED,
    DRAINED,
    DRAINING,
    SOON,
    MaintenanceDecision,
    MaintenanceScope,
)
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.maintenance.surveying import next_number, survey
from vmferry.reconcilers.nova_explanation import asked_as
from vmferry.reconcilers.owned import NewChild, Purpose
from vmferry.reconcilers.refused_writes import WRITE_REFUSED
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import Cordon, HostBefore, HostMaintenance, HostMaintenanceStatus
from vmferry.resources.words import MaintenancePhase, OnBlockers, ServiceStatus

__all__ = ["plan", "settle"]

#: how many servers, and how many records, a message names
_NAMED = 3


def plan(obj: HostMaintenance, world: World, now: datetime, policy: Policy) -> MaintenanceDecision:
    """What to do about `obj` now. Pure: the same arguments give the same decision."""
    scope = MaintenanceScope(obj, world, now, policy)
    scope.conditions.report_unverified(scope.snapshot)
    for step in STEPS:
        decision = step(scope)
        if decision is not None:
            return decision
    return _drain(scope)


# ---- the steps, in their order


def _nothing_to_do(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Switched off, and nothing to undo."""
    if scope.wanted or scope.admitted or (scope.spec.preflight_only and scope.spec.enabled and not scope.deleting):
        return None
    # what a release may have left behind when the operator was killed
    scope.cancel(scope.open_children())
    scope.conditions.drop(c.PREREQUISITES_MET)
    ready = scope.conditions.get(c.READY)
    if ready is None or ready.reason != "Released":
        message = "the host is not in maintenance"
        _forget_survey(scope)
        scope.conditions.set(CORDONED, False, "Released", message)
        scope.conditions.set(DRAINED, False, "Released", message)
        scope.ready("Released", message)
    for condition in scope.status.conditions:
        condition.observed_generation = scope.obj.metadata.generation
    return scope.decide(MaintenancePhase.RELEASED, requeue_after=None)


def _stale_view(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """No decision on stale data: it is said, and the next fresh view goes on by itself."""
    age = scope.snapshot.age(scope.now)
    if age is not None and age <= scope.policy.max_view_age:
        return None
    if age is None and scope.snapshot.trouble is None and scope.reported:
        return Decision(scope.obj.status, finalizer=scope.admitted, requeue_after=SOON)
    scope.forget_change()
    scope.progressing("CloudViewStale", c.stale_view(scope.snapshot))
    return scope.decide(scope.status.phase or MaintenancePhase.CHECKING, requeue_after=SOON)


def _unread(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """The cloud fails while its last view still counts as fresh: a new resource says so at once."""
    if scope.world.unread is None or scope.reported:
        return None
    scope.progressing("CloudViewStale", c.unread(scope.world.unread))
    return scope.decide(scope.status.phase or MaintenancePhase.CHECKING, requeue_after=SOON)


def _release(scope: MaintenanceScope) -> MaintenanceDecision | None:
    if scope.wanted or not scope.admitted:
        return None
    return _lease(scope) or release(scope)


def _find_host(scope: MaintenanceScope) -> MaintenanceDecision | None:
    if scope.host is not None:
        scope.status.host = scope.host.name
        if scope.admitted:
            scope.status.cloud = scope.snapshot.cloud_id or scope.status.cloud
        return None
    if scope.doubt is not None:
        return _in_doubt(scope, scope.doubt)
    if scope.admitted and (decision := _lease(scope)) is not None:
        return decision  # what is not listed at the moment is still ours (I43)
    message = f"the cloud has no host {scope.spec.host}"
    _forget_survey(scope)
    scope.tell_news(c.READY, EventReason.HOST_NOT_FOUND, message, warning=True)
    scope.conditions.set(c.PREREQUISITES_MET, False, Reason.HOST_NOT_FOUND, message)
    scope.stalled(
        Reason.HOST_NOT_FOUND,
        f"{message}: {did_you_mean(scope.spec.host, scope.snapshot.hosts)}name a compute service host (`openstack "
        "compute service list`) or a hypervisor's UUID",
    )
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _in_doubt(scope: MaintenanceScope, doubt: DoubtfulHost) -> MaintenanceDecision:
    """Its records contradict each other or cannot be read: it counts as neither cordoned nor empty (I36).

    What a round before has changed stays written down, and is undone once the records agree (I43).
    """
    if scope.admitted and (decision := _lease(scope)) is not None:
        return decision  # it is kept
    status = scope.status
    _forget_survey(scope)
    status.drained_at = status.empty_since = None
    scope.tell_news(c.READY, EventReason.FACT_UNKNOWN, doubt.problem, warning=True)
    for condition in (c.PREREQUISITES_MET, CORDONED, DRAINED):
        scope.conditions.set(condition, None, Reason.FACT_UNKNOWN, doubt.problem)
    scope.stalled(Reason.FACT_UNKNOWN, f"{doubt.problem}: {doubt.remedy}")
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _conflict(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Two resources for one host: who has it already, then the older one, wins (I26)."""
    if not scope.wanted:
        return None
    winner = min(_rivals(scope), key=lambda claim: claim.turn, default=None)
    if winner is None or scope.claim.turn <= winner.turn:
        return None
    message = f"HostMaintenance {winner.name} has the host {scope.status.host} already: delete one of the two"
    return _in_conflict(scope, message)


def _in_conflict(scope: MaintenanceScope, message: str) -> MaintenanceDecision:
    scope.tell_news(c.READY, EventReason.CONFLICT, message, warning=True)
    scope.stalled(Reason.CONFLICT, message)
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _rivals(scope: MaintenanceScope) -> list[Claim]:
    assert scope.host is not None
    return [one for one in scope.world.claims if (one.wanted or one.holds) and scope.host.answers_to(one.host)]


def _check(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Every server of the host, every prerequisite, before the first one moves (R27, I21)."""
    assert scope.host is not None
    if scope.wanted and scope.admitted and scope.world.lease is None:
        # every way from here asks for it: sooner, for the plan, which is costly, is then made once
        return _lease(scope)
    scope.survey = survey(scope, scope.host)
    if scope.survey.retry is not None and scope.world.tried is None:
        return scope.needs(trial=scope.survey.retry)
    write_survey(scope, scope.survey)
    _see_whether_it_lives(scope)
    return None


def _preflight_only(scope: MaintenanceScope) -> MaintenanceDecision | None:
    if scope.wanted:
        return None
    seen = scope.survey
    scope.conditions.set(CORDONED, False, "PreflightOnly", "spec.preflightOnly is true: the host is left as it is")
    scope.conditions.set(DRAINED, False, "PreflightOnly", "spec.preflightOnly is true: nothing is moved")
    if (blocker := seen.first_blocker()) is not None:
        scope.stalled(*blocker)
    else:
        scope.ready("PreflightPassed", f"all {seen.to_leave} servers that have to leave can; see moves")
    return scope.decide(MaintenancePhase.CHECKED, requeue_after=scope.policy.recheck)


def _budget(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """At most so many hosts of one cluster at once (I26); the others wait, in their order."""
    if scope.admitted:
        return None
    assert scope.host is not None
    limit = scope.policy.maintenance.max_hosts_per_cluster
    zone = scope.host.zone
    neighbours = [one for one in scope.world.claims if _may_be_in(scope, one, zone)]
    holding = [one for one in neighbours if one.holds]
    first = [one for one in neighbours if one.queued and one.wanted and not one.holds and one.turn < scope.claim.turn]
    if len(holding) + len(first) < limit:
        return None
    names = ", ".join(sorted(one.name for one in (holding or first))[:3])
    message = f"{len(holding)} hosts of {zone} are in maintenance ({names}), the limit is {limit}"
    if not holding:
        message = f"{len(first)} maintenances of {zone} go first ({names}), the limit is {limit}"
    scope.tell_news(c.READY, EventReason.QUEUED, message)
    scope.progressing("Queued", f"waits for its turn: {message}")
    scope.conditions.set(CORDONED, False, "Queued", "the host is not touched yet")
    scope.conditions.set(DRAINED, False, "Queued", "the host is not touched yet")
    return scope.decide(MaintenancePhase.QUEUED, requeue_after=scope.policy.recheck)


def _may_be_in(scope: MaintenanceScope, claim: Claim, zone: str) -> bool:
    """Whether it is about a host of the zone, or of one whose zone is unknown."""
    host = scope.snapshot.find_host(claim.host)
    return host.zone == zone if host else scope.snapshot.find_doubt(claim.host) is not None


def _refused(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """The host is left as it is while something is blocked, if that is the wish (R27), or too little room is left."""
    blocker = scope.survey.first_blocker()
    if scope.admitted or blocker is None or not _holds_back(scope):
        return None
    reason, message = blocker
    scope.tell_news(c.READY, reason, message, warning=True)
    scope.conditions.set(CORDONED, False, reason, "the host is left as it is")
    scope.conditions.set(DRAINED, False, reason, "nothing was moved")
    scope.stalled(reason, message)
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _stopped(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """The kill switch (I31): the host is not touched and no move is begun; those that run are seen to their end."""
    assert scope.host is not None
    why = scope.world.stopped.against(scope.snapshot, scope.host.name)
    under_way = scope.admitted and scope.status.release_started_at is None and not scope.host.service.enabled
    if why is None or (under_way and not scope.survey.planned):
        return None
    if scope.admitted and (decision := _lease(scope)) is not None:
        return decision  # it is kept
    scope.tell_news(c.READY, EventReason.STOPPED, why)
    scope.forget_change()
    scope.progressing(STOPPED, why)
    if not scope.admitted:
        scope.conditions.set(CORDONED, False, STOPPED, "the host is not touched yet")
    scope.conditions.set(DRAINED, False, STOPPED, why)
    phase = MaintenancePhase.DRAINING if scope.admitted else MaintenancePhase.QUEUED
    return scope.decide(phase, requeue_after=DRAINING)


def _lease(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """One actor a host (I32): without its Lease nothing is touched, neither for the drain nor for the release."""
    host = scope.status.host or scope.spec.host
    if scope.world.lease is None:
        return scope.needs(lease=host)
    if scope.world.lease.refused is not None:
        report(scope, f"the Lease of {host}", scope.world.lease.refused)
        phase = scope.status.phase if scope.admitted else None
        return scope.decide(phase or MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    holder = scope.world.lease.holder
    if holder is None:
        return None
    return _in_conflict(scope, f"{holder} has the Lease of {host}: nothing is done until it gives it back")


def _writable(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """The host is not touched where Kubernetes would refuse what comes next: the finalizer, the VMMigrations."""
    if scope.admitted:
        return None
    refused = finalizer_refused(scope)
    what = "our finalizer on this object"
    if refused is None and scope.survey.planned:
        sample = _move_away(scope, scope.survey.planned[0], scope.status.round + 1)
        found = refused_create(scope, sample, before=True)
        if isinstance(found, Decision):
            return found
        refused, what = (found.message if found else None), "to create the VMMigrations of this maintenance"
    if refused is None:
        return None
    report(scope, what, refused)
    scope.conditions.set(CORDONED, False, WRITE_REFUSED, "the host is left as it is")
    scope.conditions.set(DRAINED, False, WRITE_REFUSED, "nothing was moved")
    return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)


def _admit(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """A new round begins, also when it is switched on again in the middle of its release."""
    status = scope.status
    if scope.admitted and status.release_started_at is None:
        return None
    assert scope.host is not None
    if scope.look is None:
        return scope.needs(host=scope.host.name)
    again = scope.admitted
    status.admitted_at = status.admitted_at or scope.now
    status.cloud = scope.snapshot.cloud_id or status.cloud
    status.round += 1
    status.release_started_at = status.released_at = status.drained_at = status.empty_since = None
    if not again:
        status.host_before = status.cordon = None
        # the records of the maintenance before this one stay to be read, older ones would pile up for ever
        scope.deletes += [child for child in scope.children if child.over and child.round < status.round - 1]
    scope.cancel(child for child in scope.open_children() if child.purpose is Purpose.RETURN)
    if scope.children:
        # what was tried in the round before does not count in this one
        scope.survey = survey(scope, scope.host)
        write_survey(scope, scope.survey)
    scope.note_change()
    scope.tell(EventReason.MAINTENANCE_STARTED, f"{scope.survey.total} servers are on {status.host}")
    return None


def _cordon(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Nothing new lands on the host from now on (I8, I20, I27)."""
    service, status = scope.service, scope.status
    assert scope.host is not None
    if service is not None and not service.enabled and status.host_before is not None:
        why = f": {service.disabled_reason}" if service.disabled_reason else ""
        reason = "Cordoned" if status.cordon else "DisabledBefore"
        scope.conditions.set(CORDONED, True, reason, f"the compute service is disabled{why}")
        return None
    if scope.look is None:
        return scope.needs(host=scope.host.name)
    if service is None:
        message = f"Nova lists no compute service on {scope.host.name}"
        scope.conditions.set(CORDONED, None, Reason.HOST_NOT_FOUND, message)
        scope.stalled(Reason.HOST_NOT_FOUND, message)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    was = scope.conditions.get(CORDONED)
    # "Uncordoning": we did it, in a release that is taken back
    undone = was is not None and was.status == "True" and was.reason != "Uncordoning" and service.enabled
    if status.host_before is None or undone:
        word = ServiceStatus.ENABLED if service.enabled else ServiceStatus.DISABLED
        before = clip(service.disabled_reason, 255) if service.disabled_reason and not service.enabled else None
        status.host_before = HostBefore(status=word, disabled_reason=before)
    if not service.enabled:
        words = f"the compute service was disabled before and stays so: {service.disabled_reason or 'no reason given'}"
        scope.tell(EventReason.DISABLED_BEFORE, words)
        scope.conditions.set(CORDONED, True, "DisabledBefore", words)
        return None
    if undone:
        scope.tell(
            EventReason.CORDON_REASSERTED,
            f"somebody has enabled {scope.host.name} meanwhile: disabling it again",
            warning=True,
        )
        scope.note_change()
    # it was open: something may have come to it that nobody sees yet
    status.drained_at = status.empty_since = None
    message = "the compute service is being disabled"
    scope.conditions.set(DRAINED, False, "Cordoning", message)
    refused = was is not None and was.status == "False" and was.reason == Reason.CLOUD_REFUSED
    busy = was is not None and was.reason == NOT_NOW
    if refused and was is not None:
        phase = MaintenancePhase.BLOCKED
        scope.stalled(Reason.CLOUD_REFUSED, was.message)
    elif not busy and scope.no_progress(
        f"{message}: Nova accepted it, or gave no answer, and {scope.host.name} is still enabled"
    ):
        phase = MaintenancePhase.BLOCKED
    else:
        phase = MaintenancePhase.DRAINING
        scope.progressing(*scope.not_now(was, "Cordoning", message))
    if status.cordon is not None and (refused or (was is not None and was.reason in ("Cordoning", NOT_NOW))):
        wait = scope.ask_again_in(status.cordon.requested_at, refused=refused)
        if wait is not None:
            return scope.decide(phase, requeue_after=wait)
    if not refused:
        scope.conditions.set(CORDONED, False, *scope.not_now(was, "Cordoning", message))
    status.cordon = Cordon(service_id=service.id, disabled_reason=our_reason(scope), requested_at=scope.now)
    action = DisableService(service.id, scope.host.name, status.cordon.disabled_reason)
    return scope.decide(phase, action=action, requeue_after=timedelta(seconds=1))


def our_reason(scope: MaintenanceScope) -> str:
    """Nova's disabled reason: whose it is, then the user's words (I8)."""
    words = f": {scope.spec.reason}" if scope.spec.reason.strip() else ""
    return clip(f"{OUR_REASON}{clip(scope.name, 60)} {scope.obj.metadata.uid}{words}", 255)


def _drain(scope: MaintenanceScope) -> MaintenanceDecision:
    """Start what may start; say where all others stand."""
    seen = scope.survey
    if seen.outstanding == 0:
        return _verify_empty(scope)
    if scope.status.drained_at is not None:
        names = ", ".join(_names(seen)[:3])
        scope.note_change()
        scope.tell(EventReason.LATE_ARRIVAL, f"the host was empty and is not any more: {names}", warning=True)
    scope.status.drained_at = scope.status.empty_since = None
    scope.conditions.set(DRAINED, False, "ServersLeft", f"{seen.outstanding} servers have not left yet")
    held_back = _holds_back(scope)
    hold = None if held_back else _hold(scope)
    admitted = [] if held_back else _admitted_by_breakers(scope)
    started, why_not = _start(scope, admitted) if admitted else (), ""
    if started:
        refused = refused_create(scope, scope.creates[0], before=False)
        if isinstance(refused, Decision):
            return refused
        if refused is not None:
            scope.creates.clear()
            started, why_not = (), f"; Kubernetes refuses to create more VMMigrations: {refused.message}"
            if not (seen.moving or seen.waiting):
                report(scope, "to create the VMMigrations of this maintenance", refused.message)
                return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    if hold is not None and _all_is_held(scope, admitted):
        scope.tell_news(c.READY, EventReason.BREAKER_OPEN, hold.message, warning=True)
        scope.stalled(BREAKER_OPEN, hold.message)
        wait = scope.policy.recheck if hold.until is None else min(hold.until - scope.now, scope.policy.recheck)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=max(wait, timedelta(seconds=1)))
    going = len(seen.moving) + len(seen.waiting) + (0 if held_back else len(seen.planned))
    if going == 0 and (blocker := seen.first_blocker()) is not None:
        reason, message = blocker
        if held_back:
            message = f"nothing new is started: {message}"
        scope.tell_news(c.READY, reason, message, warning=True)
        scope.stalled(reason, message)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    p = scope.status.progress
    assert p is not None
    if started:
        scope.note_change()
    elif not seen.moving and seen.next_try is None and scope.no_progress(_waits_for(scope, seen)):
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    message = f"{p.moved} of {p.total - p.left} servers have left, {p.moving} are moving, {p.waiting} wait"
    if p.limited_by:
        message += f" ({p.limited_by})"
    if seen.blocked:
        first = seen.blocked[0]
        message += f", {p.blocked} cannot move: {first.server.name}: {first.hindrance.message}"
    if hold is not None:
        message += f"; nothing more is started: {hold.message}"
    scope.progressing("Draining", message + why_not)
    wait = SOON if started else DRAINING
    if seen.next_try is not None:
        wait = min(wait, max(seen.next_try - scope.now, timedelta(seconds=1)))
    return scope.decide(MaintenancePhase.DRAINING, requeue_after=wait)


def _hold(scope: MaintenanceScope) -> Hold | None:
    """The open breaker that keeps servers of this host from leaving it (I37), None: there is none."""
    seen, host = scope.survey, scope.host
    assert host is not None
    kinds = {one.departure.type for one in seen.planned}
    kinds |= {one.child.type for one in seen.waiting if one.child is not None and one.child.type is not None}
    holds = (scope.world.breakers.against(host.name, kind, scope.now, scope.world.moves) for kind in sorted(kinds))
    return next((hold for hold in holds if hold is not None and hold.open), None)


def _admitted_by_breakers(scope: MaintenanceScope) -> list[Planned]:
    """What the breakers let start: everything, nothing, or one trial move."""
    assert scope.host is not None
    breakers, name, now = scope.world.breakers, scope.host.name, scope.now
    admitted: list[Planned] = []
    trial = any(
        child.purpose is Purpose.DRAIN
        and child.idle
        and breakers.concerning(name, child.type or ResolvedType.LIVE, now)
        for child in scope.open_children()
    )
    for one in scope.survey.planned:
        kind = one.departure.type
        if breakers.against(name, kind, now, scope.world.moves) is not None:
            continue
        if breakers.concerning(name, kind, now):
            if trial:
                continue  # another one is to be it
            trial = True
        admitted.append(one)
    return admitted


def _all_is_held(scope: MaintenanceScope, admitted: list[Planned]) -> bool:
    """Nothing is on its way or about to be: a further try of a server that has failed waits for the breaker, too."""
    waiting = [one.child for one in scope.survey.waiting]
    others = [child for child in waiting if child is None or not (child.over or child.reason == BREAKER_OPEN)]
    return not (scope.survey.moving or others or admitted)


def _start(scope: MaintenanceScope, admitted: list[Planned]) -> tuple[Planned, ...]:
    """Create the VMMigrations that the limits admit now (I24); their names make each the only one (R36)."""
    seen = scope.survey
    busy = sum(child.purpose is Purpose.DRAIN for child in scope.open_children())
    chosen = next_moves(
        DrainPlan(tuple(admitted), ()),
        scope.snapshot,
        moves=scope.moves(),
        earlier=scope.world.earlier,
        limits=scope.policy.limits,
        slots=max(0, scope.spec.max_parallel - busy),
    )
    seen.limited = dict(chosen.waits)
    if chosen.rest:
        parallel = limited("maxParallel", scope.spec.max_parallel, "spec.maxParallel")
        seen.limited |= {planned.departure.server.id: parallel for planned in chosen.rest}
    if scope.status.progress is not None:
        # the heads of the reasons only: counts of others' moves would be written again and again
        first = next(iter(seen.limited.values()), None)
        scope.status.progress.limited_by = clip(first.partition(": ")[0], 255) if first else None
    seen.limited = {server: why.partition(": ")[0] for server, why in seen.limited.items()}
    write_moves(scope, seen)
    for planned in chosen.moves:
        scope.creates.append(_move_away(scope, planned))
    return chosen.moves


def _waits_for(scope: MaintenanceScope, seen: Survey) -> str:
    """What those wait for that neither move nor are blocked; never empty."""
    assert scope.host is not None
    waits = [(one.server.name, one.message) for one in seen.waiting]
    waits += [
        (one.departure.server.name, one.waits or seen.limited.get(one.departure.server.id) or "its turn")
        for one in seen.planned
    ]
    text = "; ".join(f"{name}: {why}" for name, why in waits[:_NAMED])
    text += f"; and {len(waits) - _NAMED} more" if len(waits) > _NAMED else ""
    records = holders(scope.snapshot, scope.host.name) or holders(scope.snapshot)
    if records:
        text += "; under way: " + ", ".join(describe(record, scope.snapshot) for record in records[:_NAMED])
    return text


def _move_away(scope: MaintenanceScope, planned: Planned, round_: int | None = None) -> NewChild:
    server, request = planned.departure.server, planned.departure.request
    return scope.new_child(
        Purpose.DRAIN,
        server.id,
        next_number(scope, server.id),
        request.type,
        planned.target,
        stop_if_running=request.stop_if_running,
        round_=round_,
    )


def _holds_back(scope: MaintenanceScope) -> bool:
    """Whether nothing new may be started."""
    return scope.survey.too_full is not None or (
        scope.spec.on_blockers is OnBlockers.REFUSE and bool(scope.survey.blocked)
    )


def _verify_empty(scope: MaintenanceScope) -> MaintenanceDecision:
    """Empty is what two clean looks some time apart have seen, and what is looked at again as long as it lasts."""
    status, seen = scope.status, scope.survey
    assert scope.host is not None
    if scope.look is None:
        return scope.needs(host=scope.host.name)
    rest = _still_there(scope, scope.look)
    if rest is not None:
        if status.drained_at is not None:
            scope.note_change()
            scope.tell(EventReason.LATE_ARRIVAL, f"the host was empty and is not any more: {rest}", warning=True)
        status.drained_at = status.empty_since = None
        scope.conditions.set(DRAINED, False, "NotEmptyYet", rest)
        if scope.no_progress(rest):
            return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
        scope.progressing("NotEmptyYet", rest)
        return scope.decide(MaintenancePhase.DRAINING, requeue_after=SOON)
    rules = scope.policy.maintenance
    status.empty_since = status.empty_since or scope.now
    due = status.empty_since + rules.settle
    if status.drained_at is None and scope.now < due:
        message = f"the host looks empty; it is looked at again at {due:%H:%M:%SZ}"
        scope.conditions.set(DRAINED, False, "Verifying", message)
        scope.progressing("Verifying", message)
        return scope.decide(MaintenancePhase.DRAINING, requeue_after=due - scope.now)
    message = "the host was found empty twice"
    reason = "Empty"
    if seen.left:
        reason = "ServersStay"
        message = f"all servers that have to leave have left; {len(seen.left)} stay because the spec says so"
    if (astray := seen.first_astray()) is not None:
        message += f"; {astray[1]}"
    if seen.leftovers:
        message += f"; leftover migration records name it, see leftoverRecords: {seen.leftovers[0].uuid}"
    if status.drained_at is None:
        status.drained_at = scope.now
        scope.tell(EventReason.DRAINED, message)
    scope.conditions.set(DRAINED, True, reason, message)
    scope.ready("InMaintenance", message)
    return scope.decide(MaintenancePhase.IN_MAINTENANCE, requeue_after=rules.verify_every)


def _still_there(scope: MaintenanceScope, look: HostLook) -> str | None:
    """What is on the host, or on its way to it, or still tied to it; None: nothing (I20)."""
    stay = {server.id for server in scope.survey.left}
    here = look.servers - stay
    if here:
        return f"Nova lists {len(here)} servers on it, {_title(scope, min(here))} is one"
    migrations = [m for m in look.migrations if not _is_over(scope, m, look.host)]
    if migrations:
        one = min(migrations, key=lambda m: m.id)
        return f"{one.type} {one.uuid} from {one.source_host} to {one.target_host} is {one.status}"
    hidden = (look.on_hypervisor or frozenset()) - stay
    if hidden:
        return (
            f"the hypervisor still has {len(hidden)} servers that Nova's list does not show, "
            f"{_title(scope, min(hidden))} is one: deleted softly, they stay there until they "
            "are restored, or deleted for good"
        )
    for consumer in sorted(look.allocated or ()):
        # a build or an unshelving in flight holds room before it has a host; room that a server elsewhere left behind
        # does not count
        server = scope.snapshot.servers.get(consumer)
        if server is None or server.id in stay or server.host is not None:
            continue
        if server.vm_state == "building" or server.task_state is not None:
            return f"{server.name} is on its way to a host and has room of this one already"
    return None


def _is_over(scope: MaintenanceScope, record: Migration, host: str) -> bool:
    """An open record that ties nothing to the host any more: a leftover, or a move that its server's state says was
    confirmed."""
    server = scope.snapshot.servers.get(record.server_id)
    if record.stage is MigrationStage.FINISHED:
        elsewhere = server is not None and server.host != host and server.task_state is None
        return elsewhere and server is not None and server.vm_state != "resized"
    return record.stage is MigrationStage.LEFTOVER and (server is None or server.host != host)


def _title(scope: MaintenanceScope, server_id: str) -> str:
    server = scope.snapshot.servers.get(server_id)
    return server.name if server else server_id


def _names(seen: Survey) -> list[str]:
    moving = [server.name for _, server in seen.moving if server is not None]
    return (
        moving
        + [one.server.name for one in seen.waiting]
        + [one.server.name for one in seen.blocked]
        + [one.departure.server.name for one in seen.planned]
    )


def _see_whether_it_lives(scope: MaintenanceScope) -> None:
    """A host that dies while it is drained is said at once; what may be evacuated, the prerequisites decide (I12)."""
    assert scope.host is not None
    if scope.host.service.up:
        if scope.status.down_since is not None:
            scope.tell(EventReason.HOST_UP, f"the compute service of {scope.host.name} is up again")
        scope.status.down_since = None
    elif scope.status.down_since is None:
        scope.status.down_since = scope.now
        scope.tell(
            EventReason.HOST_DOWN,
            f"the compute service of {scope.host.name} is down: its servers are evacuated only once the host is proven "
            "dead and marked down by force",
            warning=True,
        )


def _forget_survey(scope: MaintenanceScope) -> None:
    scope.status.blockers = []
    scope.status.leftover_records = []
    scope.status.moves = []
    scope.status.progress = None


STEPS: tuple[Callable[[MaintenanceScope], MaintenanceDecision | None], ...] = (
    _nothing_to_do,
    _stale_view,
    _unread,
    _release,
    _find_host,
    _conflict,
    _check,
    _preflight_only,
    _refused,
    _budget,
    _stopped,
    _writable,
    _lease,
    _admit,
    _cordon,
)


# ---- what came of an action


def settle(
    obj: HostMaintenance, action: Action, outcome: Outcome, now: datetime
) -> tuple[HostMaintenanceStatus, tuple[Event, ...]]:
    """The status after an action was tried: what it did shows in the next look at the host, not in its answer."""
    status = obj.status.model_copy(deep=True)
    cordon = isinstance(action, DisableService)
    request = asked_as(outcome.request_id)
    conditions = Conditions(status.conditions, obj.metadata.generation, now)
    was = conditions.get(CORDONED)
    if isinstance(outcome, NotNow):
        message = f"the cloud asks to wait, {type(action).__name__} is sent again: {outcome.message}"
        conditions.set(CORDONED, not cordon, NOT_NOW, clip(message))
    elif was is not None and was.reason == NOT_NOW:
        # it is past that
        conditions.set(
            CORDONED, not cordon, "Cordoning" if cordon else "Uncordoning", f"{type(action).__name__} was sent"
        )
    if isinstance(outcome, Accepted):
        done = EventReason.CORDONED if cordon else EventReason.UNCORDONED
        return status, (Event(done, f"Nova took it{request}"),)
    if isinstance(outcome, Refused):
        # what the cloud refuses once it will refuse again: a person has to know
        message = f"the cloud refuses {type(action).__name__}: {outcome.code} {outcome.message}"
        enabled = isinstance(action, DisableService)
        conditions.set(CORDONED, not enabled, Reason.CLOUD_REFUSED, message)
    not_done = EventReason.NOT_CORDONED if cordon else EventReason.NOT_UNCORDONED
    words = f"{type(action).__name__}: {clip(outcome.message)}{request}"
    return status, (Event(not_done, words, EventType.WARNING),)
