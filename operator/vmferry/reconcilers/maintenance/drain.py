"""The moves away from the host: which start now, and why the others wait."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.model import ResolvedType
from vmferry.planning.breaker import Hold
from vmferry.planning.drain.plan import DrainPlan, Planned, next_moves
from vmferry.planning.limits import describe, holders, limited
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.emptiness import verify_empty
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.refused_writes import refused_create, report
from vmferry.reconcilers.maintenance.report import write_moves
from vmferry.reconcilers.maintenance.scope import DRAINED, DRAINING, SOON, MaintenanceDecision, MaintenanceScope
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.maintenance.tries import next_number
from vmferry.reconcilers.owned import CreateObject
from vmferry.reconcilers.owned_migrations import Purpose
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import VMMigrationSpec
from vmferry.resources.words import HeldBy, MaintenancePhase, OnBlockers

#: maximum number of servers, and of migration records, that a message names
_NAMED = 3


def drain(scope: MaintenanceScope, survey: Survey) -> MaintenanceDecision:
    """Start the moves that may start now, and report the state of all others."""
    if survey.outstanding == 0:
        return verify_empty(scope, survey)
    if scope.status.drained_at is not None:
        names = ", ".join(_names(survey)[:3])
        scope.note_change()
        scope.event(EventReason.LATE_ARRIVAL, f"the host was empty and is not any more: {names}", warning=True)
    scope.status.drained_at = scope.status.empty_since = None
    scope.conditions.set(
        DRAINED, False, MaintenanceReason.SERVERS_REMAINING, f"{survey.outstanding} servers remain on the host"
    )
    held_back = holds_back(scope, survey)
    hold = None if held_back else _hold(scope, survey)
    admitted = [] if held_back else _admitted_by_breakers(scope, survey)
    started, why_not = _start(scope, survey, admitted) if admitted else (), ""
    if started:
        refused = refused_create(scope, scope.creates[0], before=False)
        if isinstance(refused, Decision):
            return refused
        if refused is not None:
            scope.creates.clear()
            started, why_not = (), f"; Kubernetes refuses to create more VMMigrations: {refused.message}"
            if not (survey.moving or survey.waiting):
                report(scope, "to create the VMMigrations of this maintenance", refused.message)
                return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    if hold is not None and _all_is_held(survey, admitted):
        scope.event_once(EventReason.BREAKER_OPEN, hold.message, warning=True)
        scope.stalled(MaintenanceReason.BREAKER_OPEN, hold.message)
        wait = scope.policy.recheck if hold.until is None else min(hold.until - scope.now, scope.policy.recheck)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=max(wait, timedelta(seconds=1)))
    going = len(survey.moving) + len(survey.waiting) + (0 if held_back else len(survey.planned))
    if going == 0 and (blocker := survey.first_blocker()) is not None:
        reason, message = blocker
        if held_back:
            message = f"nothing new is started: {message}"
        scope.event_once(reason, message, warning=True)
        scope.stalled(reason, message)
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    p = scope.status.progress
    assert p is not None
    if started:
        scope.note_change()
    elif not survey.moving and survey.next_try is None and scope.no_progress(_waits_for(scope, survey)):
        return scope.decide(MaintenancePhase.BLOCKED, requeue_after=scope.policy.recheck)
    message = f"{p.moved} of {p.total - p.staying} servers have left, {p.moving} are moving, {p.waiting} wait"
    if p.limited_by:
        message += f" ({p.limited_by})"
    if survey.blocked:
        first = survey.blocked[0]
        message += f", {p.blocked} cannot move: {first.server.name}: {first.hindrance.message}"
    if hold is not None:
        message += f"; nothing more is started: {hold.message}"
    scope.progressing(MaintenanceReason.DRAINING, message + why_not)
    wait = SOON if started else DRAINING
    if survey.next_try is not None:
        wait = min(wait, max(survey.next_try - scope.now, timedelta(seconds=1)))
    return scope.decide(MaintenancePhase.DRAINING, requeue_after=wait)


def _hold(scope: MaintenanceScope, survey: Survey) -> Hold | None:
    """The open breaker that prevents moves from this host (I37); None if there is none."""
    host = survey.host
    assert host is not None
    kinds = {one.departure.type for one in survey.planned}
    kinds |= {one.child.type for one in survey.waiting if one.child is not None and one.child.type is not None}
    holds = (scope.world.breakers.against(host.name, kind, scope.now, scope.world.moves) for kind in sorted(kinds))
    return next((hold for hold in holds if hold is not None and hold.open), None)


def _admitted_by_breakers(scope: MaintenanceScope, survey: Survey) -> list[Planned]:
    """The planned moves that the breakers allow: all, none, or a single trial move."""
    breakers, name, now = scope.world.breakers, survey.host.name, scope.now
    admitted: list[Planned] = []
    trial = any(
        child.purpose is Purpose.DRAIN
        and child.idle
        and breakers.concerning(name, child.type or ResolvedType.LIVE, now)
        for child in scope.open_children()
    )
    for one in survey.planned:
        kind = one.departure.type
        if breakers.against(name, kind, now, scope.world.moves) is not None:
            continue
        if breakers.concerning(name, kind, now):
            if trial:
                continue  # another move is the trial move
            trial = True
        admitted.append(one)
    return admitted


def _all_is_held(survey: Survey, admitted: list[Planned]) -> bool:
    """Whether no move is running or about to start. A further try of a failed server waits for the breaker, too."""
    waiting = [one.child for one in survey.waiting]
    others = [child for child in waiting if child is None or not (child.over or child.held_by is HeldBy.BREAKER)]
    return not (survey.moving or others or admitted)


def _start(scope: MaintenanceScope, survey: Survey, admitted: list[Planned]) -> tuple[Planned, ...]:
    """Create the VMMigrations that the limits admit now (I24). Their names prevent duplicates (R36)."""
    busy = sum(child.purpose is Purpose.DRAIN for child in scope.open_children())
    chosen = next_moves(
        DrainPlan(tuple(admitted), ()),
        scope.snapshot,
        moves=scope.moves(),
        earlier=scope.world.earlier,
        limits=scope.policy.limits,
        slots=max(0, scope.spec.max_parallel - busy),
    )
    survey.limited = dict(chosen.waits)
    if chosen.rest:
        parallel = limited("maxParallel", scope.spec.max_parallel, "spec.maxParallel")
        survey.limited |= {planned.departure.server.id: parallel for planned in chosen.rest}
    if scope.status.progress is not None:
        # only the part before ": ", because the counts after it change with every move and would cause status writes
        first = next(iter(survey.limited.values()), None)
        scope.status.progress.limited_by = clip(first.partition(": ")[0], 255) if first else None
    survey.limited = {server: why.partition(": ")[0] for server, why in survey.limited.items()}
    write_moves(scope, survey)
    for planned in chosen.moves:
        scope.creates.append(move_away(scope, planned))
    return chosen.moves


def _waits_for(scope: MaintenanceScope, survey: Survey) -> str:
    """Why the servers wait that are neither moving nor blocked; never empty."""
    waits = [(one.server.name, one.message) for one in survey.waiting]
    waits += [
        (one.departure.server.name, one.waits or survey.limited.get(one.departure.server.id) or "its turn")
        for one in survey.planned
    ]
    text = "; ".join(f"{name}: {why}" for name, why in waits[:_NAMED])
    text += f"; and {len(waits) - _NAMED} more" if len(waits) > _NAMED else ""
    records = holders(scope.snapshot, survey.host.name) or holders(scope.snapshot)
    if records:
        text += "; under way: " + ", ".join(describe(record, scope.snapshot) for record in records[:_NAMED])
    return text


def move_away(scope: MaintenanceScope, planned: Planned, round_: int | None = None) -> CreateObject[VMMigrationSpec]:
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


def holds_back(scope: MaintenanceScope, survey: Survey) -> bool:
    """Whether no new move may start."""
    return survey.too_full is not None or (scope.spec.on_blockers is OnBlockers.REFUSE and bool(survey.blocked))


def _names(survey: Survey) -> list[str]:
    moving = [server.name for _, server in survey.moving if server is not None]
    return (
        moving
        + [one.server.name for one in survey.waiting]
        + [one.server.name for one in survey.blocked]
        + [one.departure.server.name for one in survey.planned]
    )
