"""The work queue: which object is reconciled next, and when.

A key is never in the hands of two workers, waits at most once, and comes back after an error with a growing pause.

A key waits in one of three lanes. The urgent lane is for a new object, a change, or capacity that has become free: it
is served as soon as a worker is free. The routine lane holds periodic re-checks, such as those of running copies; it
yields to urgent keys. The patient lane is for objects that are only checked again to be sure: one at a time, with a
rest after each. So neither hundreds of copies nor thousands of queued objects delay urgent keys. Nothing in here knows
what a key means.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from enum import IntEnum
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: the rest after a patient key, as a multiple of the time that its reconcile took
REST = 4.0
#: but no longer than that, in seconds
LONGEST_REST = 1.0
#: a patient reconcile that takes longer, in seconds, waits for an answer: it keeps the lane no more
LONGEST_RECONCILE = 1.0
#: while an urgent key is being reconciled nothing else begins, but for no longer than this many seconds
HOLD = 0.25


class Lane(IntEnum):
    """The first goes first."""

    URGENT = 0
    ROUTINE = 1
    PATIENT = 2


#: keys from the lanes before it after which a lane has its turn all the same
IN_A_ROW = {Lane.PATIENT: 20, Lane.ROUTINE: 4}


class QueueClosedError(Exception):
    """No more keys are given out."""


class WorkQueue(Generic[K]):
    """Keys to be reconciled; belongs to one event loop. Times are seconds."""

    def __init__(
        self,
        *,
        backoff_base: float = 1.0,
        backoff_cap: float = 60.0,
        most_routine: int = sys.maxsize,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`waited` gets for how long each key that is given out was ready.

        The pause after failures ends soon after an outage does: a move in flight is not seen to its end meanwhile.
        At most `most_routine` keys of that lane are in workers' hands at once; the other workers are kept for news.
        """
        self._base = backoff_base
        self._cap = backoff_cap
        self._clock = clock
        self._jitter = jitter
        self._waited = waited
        self._most_routine = most_routine
        #: keys in their order, and since when each is ready; a key is in one lane only
        self._lanes: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        #: what was given out, from which lane; a key may wait for its next reconcile while one of it runs
        self._processing: dict[K, Lane] = {}
        #: when each urgent key that is being reconciled was given out, the latest last
        self._news: dict[K, float] = {}
        #: keys given out since a lane's last turn
        self._passed = dict.fromkeys(Lane, 0)
        #: the patient key that was given out last and is being reconciled, and since when
        self._slow: tuple[K, float] | None = None
        self._rested_at = float("-inf")
        self._timers: dict[Lane, _Timers[K]] = {lane: _Timers() for lane in Lane}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Keys that could be given out now, of news and routine."""
        ready = self._lanes[Lane.URGENT].keys() | self._lanes[Lane.ROUTINE].keys()
        return len(ready - self._processing.keys())

    @property
    def processing(self) -> int:
        return len(self._processing)

    @property
    def scheduled(self) -> int:
        """Keys that are due later, or when nothing else is to be done."""
        later = set(self._lanes[Lane.PATIENT])
        return len(later.union(*(timers.due for timers in self._timers.values())))

    @property
    def failing(self) -> int:
        """Keys whose last reconcile failed."""
        return len(self._failures)

    def add(self, key: K, lane: Lane = Lane.URGENT) -> None:
        """Reconcile `key` as soon as its lane allows; once more afterwards, if it is being reconciled."""
        for known, waiting in self._lanes.items():
            if key in waiting:
                if known <= lane:
                    return
                # a key in two lanes would be reconciled twice for one request
                del waiting[key]
        self._lanes[lane][key] = self._clock()
        self._wake.set()

    def add_after(self, key: K, delay: float, lane: Lane = Lane.URGENT) -> None:
        """Reconcile `key` in `delay` seconds; the earliest of several requests wins. A reconcile voids them all."""
        if delay <= 0:
            self.add(key, lane)
        elif self._timers[lane].set(key, self._clock() + delay):
            self._wake.set()

    def poll(self) -> K | None:
        """The next key, if there is one now. It belongs to the caller until `done`."""
        for lane, timers in self._timers.items():
            for key in timers.pop(self._clock()):
                self.add(key, lane)
        if self._closed:
            return None
        for lane in self._order():
            found = self._next(lane)
            if found is not None:
                self._give(found, lane)
                return found
        return None

    def _order(self) -> list[Lane]:
        """Who was passed over for long has its turn first."""
        return [*(lane for lane, most in IN_A_ROW.items() if self._passed[lane] >= most), *Lane]

    def _next(self, lane: Lane) -> K | None:
        if lane is not Lane.URGENT and self._passed[lane] < IN_A_ROW[lane] and self._clock() < self._held_until():
            return None
        if lane is Lane.PATIENT and self._clock() < self._patient_at():
            return None
        if lane is Lane.ROUTINE and self._routine_in_hand() >= self._most_routine:
            return None
        return next((key for key in self._lanes[lane] if key not in self._processing), None)

    def _routine_in_hand(self) -> int:
        return sum(lane is Lane.ROUTINE for lane in self._processing.values())

    def _give(self, key: K, lane: Lane) -> None:
        since = self._lanes[lane].pop(key)
        now = self._clock()
        if lane is Lane.URGENT:
            self._news[key] = now
        if lane is Lane.PATIENT:
            self._slow = key, now
        else:
            self._waited(now - since)
        for other in Lane:
            self._passed[other] = 0 if other is lane else self._passed[other] + (other > lane)
        for timers in self._timers.values():
            timers.cancel(key)
        self._processing[key] = lane

    def _held_until(self) -> float:
        """When routine and the patient may begin, whatever urgent key is being reconciled."""
        return max(self._news.values(), default=float("-inf")) + HOLD

    def _patient_at(self) -> float:
        """When the patient lane may have its next turn."""
        held = self._slow[1] + LONGEST_RECONCILE if self._slow is not None else float("-inf")
        return max(self._rested_at, held)

    async def get(self, timeout: float | None = None) -> K | None:  # noqa: ASYNC109 - a pause, not a deadline
        """The next key, waiting for it; None after `timeout` seconds. Raises QueueClosedError once closed."""
        deadline = None if timeout is None else self._clock() + timeout
        while True:
            if self._closed:
                raise QueueClosedError
            now = self._clock()
            key = self.poll()
            if key is not None:
                return key
            if deadline is not None and self._clock() >= deadline:
                return None
            self._wake.clear()
            rested = self._patient_at() if self._lanes[Lane.PATIENT] else None
            held = self._held_until() if self._lanes[Lane.PATIENT] or self._lanes[Lane.ROUTINE] else None
            due = (timers.next() for timers in self._timers.values())
            # a lane that gives out nothing although its moment has come waits for others, who say when they are done
            lanes = (moment for moment in (rested, held) if moment is not None and moment > now)
            moments = [*lanes, *(moment for moment in (deadline, *due) if moment is not None)]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(moments) - self._clock()) if moments else None):
                    await self._wake.wait()

    def done(self, key: K, *, failed: bool = False) -> None:
        """The reconcile is over. After a failure the key comes back with a pause that doubles each time."""
        del self._processing[key]
        self._news.pop(key, None)
        if self._slow is not None and self._slow[0] == key:
            now = self._clock()
            self._rested_at = now + min((now - self._slow[1]) * REST, LONGEST_REST)
            self._slow = None
        if failed:
            # an event must not turn an error into a hot loop: the pause stands
            for waiting in self._lanes.values():
                waiting.pop(key, None)
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(self._cap, self._base * 2.0 ** min(count - 1, 60))
            # between a half and the whole, so that what failed together does not come back together
            self.add_after(key, pause * (0.5 + self._jitter() / 2), Lane.ROUTINE)
        else:
            self._failures.pop(key, None)
        if any(self._lanes.values()):
            self._wake.set()

    def failures(self, key: K) -> int:
        """How many reconciles in a row have failed."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The object is gone: no timer, no failures are kept of it."""
        self._failures.pop(key, None)
        for timers in self._timers.values():
            timers.cancel(key)

    def close(self) -> None:
        """Give out nothing any more; `get` raises."""
        self._closed = True
        self._wake.set()


class _Timers(Generic[K]):
    """When a key is due; the heap may hold entries that are outdated."""

    def __init__(self) -> None:
        self.due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def set(self, key: K, due: float) -> bool:
        """False: it is due as early already."""
        if due >= self.due.get(key, float("inf")):
            return False
        self.due[key] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, key))
        return True

    def cancel(self, key: K) -> None:
        self.due.pop(key, None)

    def next(self) -> float | None:
        while self._heap and self.due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> Iterator[K]:
        """Those that are due."""
        while (due := self.next()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self.due[key]
            yield key
