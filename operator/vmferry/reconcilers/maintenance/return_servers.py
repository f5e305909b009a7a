"""Returning servers to the host on release, with one try each (I28)."""

from __future__ import annotations

from dataclasses import dataclass

from vmferry.cloud.model import Host, Server
from vmferry.planning.limits import full
from vmferry.planning.request import Request
from vmferry.planning.targets import assess, blocked
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import Moves
from vmferry.reconcilers.maintenance.refused_writes import taken_name
from vmferry.reconcilers.maintenance.report import move_of
from vmferry.reconcilers.maintenance.scope import (
    MaintenanceScope,
)
from vmferry.reconcilers.owned import CreateObject
from vmferry.reconcilers.owned_migrations import OwnedMigration, Purpose
from vmferry.resources.hostmaintenance import MAX_MOVES, Move
from vmferry.resources.vmmigration import VMMigrationSpec
from vmferry.resources.words import HeldBy, MigrationType, MoveState, Phase


@dataclass(frozen=True, slots=True)
class Returning:
    """The state of the return moves."""

    #: progress for the condition; None: no return move is running or waiting
    message: str | None = None
    #: number of servers that do not return
    lost: int = 0
    #: message of the breaker that holds all remaining return moves
    hold: str | None = None
    #: whether a return move is running
    alive: bool = False
    #: whether the state of any return move changed since the last reconcile
    changed: bool = False


def return_servers(scope: MaintenanceScope) -> Returning:
    """Return each server that is still where this maintenance moved it and may come back (I28). One try each."""
    host = scope.host
    returns = {back.server_id: back for back in scope.this_round() if back.purpose is Purpose.RETURN}
    moves: list[Move] = []
    lost = 0
    busy = sum(not child.over for child in returns.values())
    under_way = moving = 0
    #: messages of the return moves that a breaker holds
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
                held += [back.message] if back.held_by is HeldBy.BREAKER else []
                moves.append(move_of(scope, back, MoveState.RETURNING))
            continue
        server = scope.snapshot.servers.get(child.server_id)
        if host is None or server is None or server.host is None or server.host != child.target_host:
            continue  # the server was deleted or has moved since, so it does not return
        if (against := _blocked_by(scope, server, host, planned)) is not None:
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


def first_wait(moves: list[Move]) -> str:
    waiting = next((move for move in moves if move.state in (MoveState.WAITING, MoveState.RETURNING)), None)
    return f"{waiting.name}: {waiting.message or waiting.migration}" if waiting else "its servers to return"


def _moved_away(scope: MaintenanceScope) -> list[OwnedMigration]:
    """The last successful move of each server away from the host, in a stable order."""
    last = {child.server_id: child for child in scope.taken_away()}
    return sorted(last.values(), key=lambda child: child.name)


def _request(host: Host) -> Request:
    return Request(MigrationType.AUTO, host.name, attested=None)


def _blocked_by(scope: MaintenanceScope, server: Server, host: Host, planned: list[PlannedMove]) -> str | None:
    """Why the server may not return now; None if it may, or only has to wait for other moves."""
    request = _request(host)
    kind = request.resolved_type(server, scope.snapshot.hosts.get(server.host or "")).type
    question = request.question(
        server,
        kind,
        scope.snapshot,
        scope.policy,
        scope.now,
        scope.world.others(Moves([move for move in planned if move.server_id != server.id]), ()),
    )
    found = assess(question, host.name)
    return None if not found.against or found.waits_for is not None else blocked(found.against)


def _way_back(scope: MaintenanceScope, server: Server, host: Host) -> CreateObject[VMMigrationSpec]:
    return scope.new_child(Purpose.RETURN, server.id, 1, MigrationType.AUTO, host.name)
