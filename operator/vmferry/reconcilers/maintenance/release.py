"""Giving a host back (R29, I8, I28): what has not begun is cancelled, what runs is seen to its end, our cordon is
undone if it is still exactly ours, and servers return only if that was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from vmferry.cloud.actions import EnableService
from vmferry.cloud.model import Host, HostLook, Server
from vmferry.planning.limits import full
from vmferry.planning.request import Request
from vmferry.planning.targets import assess, blocked
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.conditions import NOT_NOW, READY
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.kill_switch import BREAKER_OPEN
from vmferry.reconcilers.maintenance.refused_writes import refused_create, report, taken_name
from vmferry.reconcilers.maintenance.report import move_of
from vmferry.reconcilers.maintenance.scope import (
    CORDONED,
    DRAINED,
    DRAINING,
    SOON,
    MaintenanceDecision,
    MaintenanceScope,
)
from vmferry.reconcilers.owned import NewChild, OwnedMigration, Purpose
from vmferry.reconcilers.refused_writes import Refusal
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import MAX_MOVES, Move
from vmferry.resources.words import MaintenancePhase, MigrationType, MoveState, Phase, ServiceStatus


@dataclass(frozen=True, slots=True)
class Returning:
    """How far the way back is."""

    #: None: no server is on its way any more
    message: str | None = None
    #: servers that stay where they are
    lost: int = 0
    #: what keeps all the others from starting
    hold: str | None = None
    #: some of them move
    alive: bool = False
    #: a step of it begins or has ended
    changed: bool = False


def release(scope: MaintenanceScope) -> MaintenanceDecision:
    """One look at a host that is being given back. Every step may be repeated without harm."""
    status = scope.status
    if status.release_started_at is None:
        status.release_started_at = scope.now
        scope.tell(EventReason.RELEASING, f"{status.host} is given back")
        why = "the host is being given back"
        scope.note_change()
        scope.conditions.set(DRAINED, False, "Releasing", why)
    status.drained_at = status.empty_since = None
    scope.conditions.drop("PrerequisitesMet")
    status.blockers = []
    scope.cancel(child for child in scope.open_children() if child.purpose is Purpose.DRAIN)
    undone = _undo_cordon(scope)
    if undone is not None:
        return undone
    running = [child for child in scope.open_children() if child.purpose is Purpose.DRAIN]
    if running and (stuck := next((child for child in running if child.stalled), None)) is not None:
        status.moves = [move_of(scope, child, MoveState.MOVING) for child in running][:MAX_MOVES]
        scope.stalled(stuck.reason, f"VMMigration {stuck.namespace}/{stuck.name} needs a person: {stuck.message}")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    if running:
        status.moves = [move_of(scope, child, MoveState.MOVING) for child in running][:MAX_MOVES]
        scope.progressing("Releasing", f"{len(running)} moves that had begun are seen to their end")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    back = _return_servers(scope) if scope.spec.return_vms else Returning()
    if scope.creates:
        refused = refused_create(scope, scope.creates[0], before=False)
        if isinstance(refused, Decision):
            return refused
        if refused is not None:
            return _returns_are_refused(scope, refused)
    if back.changed:
        scope.note_change()
    if back.message is not None:
        if back.hold is not None:
            scope.tell_news(c.READY, EventReason.BREAKER_OPEN, back.hold, warning=True)
            scope.stalled(BREAKER_OPEN, back.hold)
        elif back.alive or not scope.no_progress(_first_wait(scope.status.moves)):
            scope.progressing("Returning", back.message)
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=DRAINING)
    return _released(scope, back.lost)


def _returns_are_refused(scope: MaintenanceScope, refused: Refusal) -> MaintenanceDecision:
    """The host is in service again; those that would return stay where they are until they may."""
    stopped = {child.server_id for child in scope.creates}
    scope.creates.clear()
    for move in scope.status.moves:
        if move.server in stopped and move.state is MoveState.RETURNING:
            move.state, move.message = MoveState.WAITING, clip(refused.message, 512)
    report(scope, "to create the VMMigrations back to the host (set returnVMs to false to do without)", refused.message)
    return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)


def _undo_cordon(scope: MaintenanceScope) -> MaintenanceDecision | None:
    """Enable the service if its reason is still exactly ours and it was enabled before (I8)."""
    cordon, before = scope.status.cordon, scope.status.host_before
    was = scope.conditions.get(CORDONED)
    if cordon is None:
        if was is None or was.reason not in ("LeftDisabled", "Released"):
            left = before is not None and before.status is ServiceStatus.DISABLED
            message = "the compute service was disabled before and is left so" if left else "the cordon is undone"
            if not left and scope.service is not None and not scope.service.enabled:
                left, message = True, "somebody else has disabled the compute service since, it is left so"
            scope.conditions.set(CORDONED, False, "LeftDisabled" if left else "Released", message)
        return None
    if scope.doubt is not None:
        # which of the records carries our cordon is unknown, so it stays owed (I43)
        scope.tell_news(READY, EventReason.FACT_UNKNOWN, scope.doubt.problem, warning=True)
        scope.conditions.set(CORDONED, None, Reason.FACT_UNKNOWN, scope.doubt.problem)
        scope.stalled(Reason.FACT_UNKNOWN, f"{scope.doubt.problem}: {scope.doubt.remedy}")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    name = scope.host.name if scope.host is not None else scope.status.host or scope.spec.host
    if scope.look is None:
        return scope.needs(host=name)
    service = scope.look.service
    if service is None and (elsewhere := _in_another_cloud(scope)) is not None:
        message = (
            f"this cloud ({scope.snapshot.cloud_id}) has no host {name}, which was let into maintenance in "
            f"{elsewhere}: what is to be undone there stays written, for the operator of that cloud"
        )
        scope.tell_news(c.READY, EventReason.HOST_NOT_FOUND, message, warning=True)
        scope.stalled(Reason.HOST_NOT_FOUND, message)
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    if service is not None and service.enabled and scope.host is not None and not scope.host.service.enabled:
        # what is judged next is judged by the shared view: it must know that the host is enabled
        scope.progressing("Releasing", "the compute service is enabled; the view of the cloud will show it soon")
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=timedelta(seconds=1))
    if service is None or service.enabled:
        scope.status.cordon = None
        gone = f"Nova has no compute service on {name} any more"
        scope.conditions.set(CORDONED, False, "Released", "the compute service is enabled" if service else gone)
        return None
    if service.disabled_reason != cordon.disabled_reason:
        reason = service.disabled_reason or "no reason given"
        message = f"somebody else has disabled the compute service since, it is left so: {reason}"
        scope.tell(EventReason.CORDON_LEFT, message, warning=True)
        scope.status.cordon = None
        scope.conditions.set(CORDONED, False, "LeftDisabled", message)
        return None
    if scope.host is not None and _waits_for_its_compute(scope, scope.host, scope.look):
        return scope.decide(MaintenancePhase.RELEASING, requeue_after=scope.policy.recheck)
    message = "the compute service is being enabled"
    refused = was is not None and was.status == "True" and was.reason == Reason.CLOUD_REFUSED
    busy = was is not None and was.reason == NOT_NOW
    if refused and was is not None:
        scope.stalled(Reason.CLOUD_REFUSED, was.message)
    elif not busy and scope.no_progress(
        "Nova accepted to enable the compute service, or gave no answer, and it is still disabled"
    ):
        pass
    else:
        scope.progressing(*scope.not_now(was, "Releasing", message))
    if refused or (was is not None and was.reason in ("Uncordoning", NOT_NOW)):
        wait = scope.ask_again_in(cordon.requested_at, refused=refused)
        if wait is not None:
            return scope.decide(MaintenancePhase.RELEASING, requeue_after=wait)
    if not refused:
        scope.conditions.set(CORDONED, True, *scope.not_now(was, "Uncordoning", message))
    cordon.requested_at = scope.now
    action = EnableService(service.id, name)
    return scope.decide(MaintenancePhase.RELEASING, action=action, requeue_after=timedelta(seconds=1))


def _waits_for_its_compute(scope: MaintenanceScope, host: Host, look: HostLook) -> bool:
    """Whether servers were evacuated and nova-compute has not removed what is left of them yet (I17). Until it has, a
    guest may still be there twice, and Nova does not let anybody mark the host up."""
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
    """The cloud that the host is in, if it is another one than this operator's: that this one does not know the host
    says nothing about it (I43)."""
    there, here = scope.status.cloud, scope.snapshot.cloud_id
    return there if there is not None and here is not None and there != here else None


def _return_servers(scope: MaintenanceScope) -> Returning:
    """Bring back what is still where we put it and may come back (I28). One try each."""
    host = scope.host
    returns = {back.server_id: back for back in scope.this_round() if back.purpose is Purpose.RETURN}
    moves: list[Move] = []
    lost = 0
    busy = sum(not child.over for child in returns.values())
    under_way = moving = 0
    #: why those do not start that a breaker holds
    held: list[str] = []
    planned = list(scope.moves())
    for child in _moved_away(scope):
        back = returns.get(child.server_id)
        if back is not None:
            if back.over:
                lost += not back.succeeded
                moves.append(move_of(scope, back, MoveState.RETURNED if back.succeeded else MoveState.FAILED))
            elif (back.phase is Phase.BLOCKED or back.paused) and scope.now - (
                back.created_at or scope.now
            ) >= scope.policy.recheck:
                lost += 1
                busy -= 1
                moves.append(move_of(scope, back, MoveState.FAILED, back.message))
            else:
                under_way += 1
                held += [back.message] if back.reason == BREAKER_OPEN else []
                moves.append(move_of(scope, back, MoveState.RETURNING))
            continue
        server = scope.snapshot.servers.get(child.server_id)
        if host is None or server is None or server.host is None or server.host != child.target_host:
            continue  # it was moved since, or is gone: not ours to bring back
        if (against := _against(scope, server, host, planned)) is not None:
            lost += 1
            moves.append(move_of(scope, child, MoveState.FAILED, f"not returned: {against}"))
            continue
        why = full(server.host, host.name, scope.snapshot, tuple(planned), scope.world.earlier, scope.policy.limits)
        if (taken := taken_name(scope, _way_back(scope, server, host).name)) is not None:
            lost += 1
            moves.append(move_of(scope, child, MoveState.FAILED, f"not returned: {taken.message}"))
            continue
        moving += 1
        kind = _request(host).resolved_type(server, scope.snapshot.hosts.get(server.host)).type
        hold = scope.world.breakers.against(server.host, kind, scope.now, scope.world.moves)
        if hold is not None:
            why = hold.message
            held += [why] if hold.open else []
        if why is None and busy < scope.spec.max_parallel:
            busy += 1
            scope.creates.append(_way_back(scope, server, host))
            planned.append(PlannedMove(server.id, kind, server.host, host.name, server.needs, scope.now))
            moves.append(move_of(scope, child, MoveState.RETURNING))
        else:
            moves.append(move_of(scope, child, MoveState.WAITING, why or "waits for its turn"))
    before = [(move.server, move.state) for move in scope.status.moves]
    scope.status.moves = moves[:MAX_MOVES]
    changed = before != [(move.server, move.state) for move in scope.status.moves]
    alive = any(not back.over and not back.idle and not back.stalled for back in returns.values())
    message = f"{under_way} servers are on their way back, {moving} wait, {lost} do not return"
    every = held[0] if held and len(held) == under_way + moving else None
    return Returning(message if under_way or moving else None, lost, every, alive, changed)


def _first_wait(moves: list[Move]) -> str:
    waiting = next((move for move in moves if move.state in (MoveState.WAITING, MoveState.RETURNING)), None)
    return f"{waiting.name}: {waiting.message or waiting.migration}" if waiting else "its servers to return"


def _moved_away(scope: MaintenanceScope) -> list[OwnedMigration]:
    """The last move of each server that this round moved, in a stable order."""
    last = {child.server_id: child for child in scope.taken_away()}
    return sorted(last.values(), key=lambda child: child.name)


def _request(host: Host) -> Request:
    return Request(MigrationType.AUTO, host.name)


def _against(scope: MaintenanceScope, server: Server, host: Host, planned: list[PlannedMove]) -> str | None:
    """Why it may not come back now, None if it may, or only has to wait for others."""
    request = _request(host)
    kind = request.resolved_type(server, scope.snapshot.hosts.get(server.host or "")).type
    question = request.question(
        server,
        kind,
        scope.snapshot,
        scope.policy,
        scope.now,
        moves=Moves([move for move in planned if move.server_id != server.id]),
        in_maintenance=scope.world.in_maintenance,
        os_upgrades=scope.world.os_upgrades,
        broken=scope.world.broken,
    )
    found = assess(question, host.name)
    return None if not found.against or found.waits_for is not None else blocked(found.against)


def _way_back(scope: MaintenanceScope, server: Server, host: Host) -> NewChild:
    return scope.new_child(Purpose.RETURN, server.id, 1, MigrationType.AUTO, host.name)


def _released(scope: MaintenanceScope, not_returned: int) -> MaintenanceDecision:
    status = scope.status
    host = status.host or scope.spec.host
    # what waits for a way back that does not open
    scope.cancel(scope.open_children())
    status.released_at = scope.now
    status.admitted_at = status.release_started_at = status.down_since = None
    message = "the host is given back"
    if status.host_before is not None and status.host_before.status is ServiceStatus.DISABLED:
        message += "; it was disabled before and is left so"
    if not_returned:
        message += f"; {not_returned} servers were not brought back, see moves"
    scope.conditions.set(DRAINED, False, "Released", message)
    if not scope.spec.return_vms:
        status.moves = []
    status.progress = None
    scope.tell(EventReason.RELEASED, message)
    scope.ready("Released", message)
    return scope.decide(MaintenancePhase.RELEASED, requeue_after=SOON, release_lease=host)
