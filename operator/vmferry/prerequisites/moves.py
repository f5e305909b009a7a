"""Moves of other requests, indexed so that a reconcile finds those of one server or host without searching all.

Instances are never changed, so a reader may keep one while the owner continues with a new one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from heapq import merge
from operator import attrgetter
from typing import Any, overload

from vmferry.prerequisites.check import PlannedMove

#: sort key of a request in the queue, unique for each request
QueuePosition = tuple[Any, ...]
_Entry = tuple[QueuePosition, PlannedMove]
#: queue entries by host name
_Entries = Mapping[str, tuple[_Entry, ...]]


class Moves(tuple[PlannedMove, ...]):
    """Moves that are decided or in flight."""

    @staticmethod
    def of(moves: Iterable[PlannedMove]) -> Moves:
        return moves if isinstance(moves, Moves) else Moves(moves)

    @cached_property
    def servers(self) -> frozenset[str]:
        """Ids of the servers that the moves concern."""
        return frozenset([move.server_id for move in self])

    @cached_property
    def by_target(self) -> Mapping[str, tuple[PlannedMove, ...]]:
        """The moves by the name of their target host."""
        found: dict[str, list[PlannedMove]] = {}
        for move in self:
            found.setdefault(move.target_host, []).append(move)
        return {target: tuple(moves) for target, moves in found.items()}


class MoveQueue:
    """Queued moves in their order; immutable: `put` and `remove` return a new queue."""

    def __init__(self) -> None:
        self.entries: tuple[_Entry, ...] = ()
        self.leaving: _Entries = {}
        #: only moves with a fixed target: only these reserve a place there while they wait
        self.coming: _Entries = {}

    @staticmethod
    def of(moves: Iterable[PlannedMove]) -> MoveQueue:
        """A queue of the moves in the given order."""
        queue = MoveQueue()
        queue.entries = tuple([((number,), move) for number, move in enumerate(moves)])
        queue.leaving = _by_host(queue.entries, attrgetter("source_host"))
        bound = [entry for entry in queue.entries if entry[1].elsewhere is None]
        queue.coming = _by_host(bound, attrgetter("target_host"))
        return queue

    def put(self, position: QueuePosition, move: PlannedMove) -> MoveQueue:
        """The queue with one more move, whose position must be unique."""
        entry = position, move
        queue = MoveQueue()
        queue.entries = _with(self.entries, entry)
        queue.leaving = {**self.leaving, move.source_host: _with(self.leaving.get(move.source_host, ()), entry)}
        queue.coming = self.coming
        if move.elsewhere is None:
            queue.coming = {**self.coming, move.target_host: _with(self.coming.get(move.target_host, ()), entry)}
        return queue

    def remove(self, position: QueuePosition, move: PlannedMove) -> MoveQueue:
        """The queue without a move that it contains."""
        queue = MoveQueue()
        queue.entries = _without(self.entries, position)
        queue.leaving = _less(self.leaving, move.source_host, position)
        queue.coming = self.coming if move.elsewhere is not None else _less(self.coming, move.target_host, position)
        return queue

    def before(self, position: QueuePosition) -> EarlierMoves:
        return EarlierMoves(self, position)

    def whole(self) -> EarlierMoves:
        return EarlierMoves(self, None)


class EarlierMoves(Sequence[PlannedMove]):
    """The beginning of a queue: the moves before a given position."""

    def __init__(self, queue: MoveQueue, position: QueuePosition | None) -> None:
        """`position`: the end, exclusive; None: the whole queue."""
        self._queue = queue
        self._position = position
        self._end = self._count(queue.entries)

    @staticmethod
    def of(moves: Iterable[PlannedMove]) -> EarlierMoves:
        """The given moves, which must already be in queue order."""
        return moves if isinstance(moves, EarlierMoves) else MoveQueue.of(moves).whole()

    def _count(self, entries: tuple[_Entry, ...]) -> int:
        return len(entries) if self._position is None else bisect_left(entries, (self._position,))

    def __len__(self) -> int:
        return self._end

    def __iter__(self) -> Iterator[PlannedMove]:
        return (move for _, move in self._queue.entries[: self._end])

    @overload
    def __getitem__(self, at: int) -> PlannedMove: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[PlannedMove]: ...
    def __getitem__(self, at: int | slice) -> PlannedMove | Sequence[PlannedMove]:
        entries = self._queue.entries[: self._end]
        return [move for _, move in entries[at]] if isinstance(at, slice) else entries[at][1]

    def leaving(self, host: str) -> int:
        """Number of these moves that leave the host."""
        return self._count(self._queue.leaving.get(host, ()))

    def coming(self, host: str, before: QueuePosition | None = None) -> int:
        """Number of these moves with the host as fixed target; `before`: only those before that position."""
        entries = self._queue.coming.get(host)
        if entries is None:
            return 0
        return self._count(entries) if before is None else bisect_left(entries, (before,))

    @property
    def sources(self) -> Iterable[str]:
        """A superset of the hosts that these moves leave."""
        return self._queue.leaving

    def first_of(self, hosts: Mapping[str, int]) -> Iterator[tuple[QueuePosition, PlannedMove]]:
        """The first moves that leave each host, up to its number, merged in queue order with their positions."""
        queues = [(self._queue.leaving.get(host, ()), most) for host, most in hosts.items()]
        return merge(*[entries[: min(self._count(entries), most)] for entries, most in queues])


def _by_host(entries: Iterable[_Entry], host_of: attrgetter[str]) -> _Entries:
    found: dict[str, list[_Entry]] = {}
    for entry in entries:
        found.setdefault(host_of(entry[1]), []).append(entry)
    return {host: tuple(some) for host, some in found.items()}


def _with(entries: tuple[_Entry, ...], entry: _Entry) -> tuple[_Entry, ...]:
    at = bisect_left(entries, entry[:1])
    return (*entries[:at], entry, *entries[at:])


def _without(entries: tuple[_Entry, ...], position: QueuePosition) -> tuple[_Entry, ...]:
    at = bisect_left(entries, (position,))
    return entries[:at] + entries[at + 1 :]


def _less(by_host: _Entries, host: str, position: QueuePosition) -> _Entries:
    left = {**by_host, host: _without(by_host[host], position)}
    if not left[host]:
        del left[host]
    return left
