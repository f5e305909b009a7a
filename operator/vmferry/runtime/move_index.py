"""An index of the moves of all active objects, for thousands of reconciles; a part of the `Store`.

A move is derived from an object's status and from its server in the shared view. It is derived again only when one of
the two has changed, so no reconcile has to iterate over all objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vmferry.cloud.model import Server, Snapshot
from vmferry.planning.limits import next_up, traffic
from vmferry.policy import Limits
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import MoveQueue, Moves, QueuePosition
from vmferry.reconcilers.kind import Kinds, MovesServers
from vmferry.resources.base import Resource
from vmferry.runtime.key import Key


@dataclass(slots=True)
class _Known:
    """The moves of one object, with the server from which they were derived."""

    obj: Resource
    position: QueuePosition
    server_id: str | None
    server: Server | None = None
    move: PlannedMove | None = None
    queued: PlannedMove | None = None


class MoveIndex:
    """The moves and queue positions by key. A held move replaces the object's own move and queue position."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._known: dict[Key, _Known] = {}
        #: objects that changed since the last query, whose moves must be derived again
        self._new: set[Key] = set()
        self._held: dict[Key, PlannedMove] = {}
        self._servers: object = None
        #: the move of each object that counts now
        self._moves: dict[Key, PlannedMove] = {}
        self._queues: dict[str, MoveQueue] = {}
        #: the objects behind the queue positions, by kind
        self._movers: dict[str, dict[QueuePosition, Key]] = {}
        self._queued: dict[Key, tuple[QueuePosition, PlannedMove]] = {}
        #: all values of `_moves`, and the index of each key in them
        self._all: tuple[Moves, dict[Key, int]] | None = None
        #: whether a move or a queue position has gone since the last call of `freed`
        self._freed = False

    def put(self, key: Key, obj: Resource | None) -> None:
        """Store the object's current state; None if it moves nothing any more."""
        if obj is None:
            self._known.pop(key, None)
            self._new.discard(key)
            self._count(key)
            return
        moves = self._facet(key)
        self._known[key] = _Known(obj, moves.queue_position(obj), moves.server(obj))
        self._new.add(key)

    def _facet(self, key: Key) -> MovesServers[Any]:
        moves = self._kinds[key.kind].moves
        assert moves is not None, f"{key.kind} moves no servers"
        return moves

    def hold(self, key: Key, move: PlannedMove) -> None:
        self._held[key] = move
        self._count(key)

    def release(self, key: Key) -> None:
        if self._held.pop(key, None) is not None:
            self._count(key)

    def moves(self, snapshot: Snapshot) -> Moves:
        """The moves of all objects. Returns the same `Moves` object as before if nothing has changed."""
        self._see(snapshot)
        if self._all is None:
            places = {key: at for at, key in enumerate(self._moves)}
            self._all = Moves(self._moves.values()), places
        return self._all[0]

    def moves_except(self, key: Key, snapshot: Snapshot) -> Moves:
        moves = self.moves(snapshot)
        assert self._all is not None
        at = self._all[1].get(key)
        return moves if at is None else Moves(moves[:at] + moves[at + 1 :])

    def earlier_than(self, key: Key, snapshot: Snapshot) -> Sequence[PlannedMove]:
        """Moves of queued objects of the same kind that are earlier in the queue, in queue order."""
        self._see(snapshot)
        known = self._known.get(key)
        queue = self._queues.get(key.kind)
        return () if known is None or queue is None else queue.before(known.position)

    def freed(self, snapshot: Snapshot) -> bool:
        """Whether a move or a queue position has gone since the last call."""
        self._see(snapshot)
        freed, self._freed = self._freed, False
        return freed

    def next_up(self, snapshot: Snapshot, limits: Limits) -> list[Key]:
        """Queued objects that could all start together now within the limits, in queue order."""
        now = traffic(snapshot, self.moves(snapshot))
        return [
            self._movers[kind][position]
            for kind, queue in self._queues.items()
            for position in next_up(queue.whole(), now, limits).positions
        ]

    def _see(self, snapshot: Snapshot) -> None:
        """Derive the moves of all objects again that have changed or whose server has changed."""
        if self._servers is not snapshot.servers:
            self._servers = servers = snapshot.servers
            stale = [
                key
                for key, known in self._known.items()
                if known.server_id is not None and servers.get(known.server_id) is not known.server
            ]
            self._new.update(stale)
        for key in self._new:
            known = self._known[key]
            moves = self._facet(key)
            known.server = snapshot.servers.get(known.server_id) if known.server_id is not None else None
            known.move = moves.move(known.obj, snapshot)
            known.queued = moves.queued_move(known.obj, snapshot)
            self._count(key)
        self._new.clear()

    def _count(self, key: Key) -> None:
        """Update the object's move and queue position from its known and held moves."""
        known, held = self._known.get(key), self._held.get(key)
        move = held or (known.move if known else None)
        if self._moves.get(key) != move:
            self._all = None
            self._freed |= key in self._moves
            if move is None:
                del self._moves[key]
            else:
                self._moves[key] = move
        queued = (known.position, known.queued) if known and known.queued and held is None else None
        before = self._queued.get(key)
        if before == queued:
            return
        queue = self._queues.get(key.kind) or MoveQueue()
        movers = self._movers.setdefault(key.kind, {})
        if before is not None:
            queue = queue.remove(*before)
            del movers[before[0]], self._queued[key]
            # a queued move whose alternative hosts change frees no slot
            self._freed |= queued is None or _place(queued) != _place(before)
        if queued is not None:
            queue = queue.put(*queued)
            movers[queued[0]] = key
            self._queued[key] = queued
        self._queues[key.kind] = queue


def _place(queued: tuple[QueuePosition, PlannedMove]) -> tuple[QueuePosition, str, str]:
    position, move = queued
    return position, move.source_host, move.target_host
