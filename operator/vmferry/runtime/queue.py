"""The work queue: which object is reconciled next, and when.

No two workers process the same key at the same time, a key is queued at most once, and after an error it is retried
with a growing pause.

A key waits in one of three lanes. The urgent lane is for a new object, a change, or capacity that has become free: it
is served as soon as a worker is free. The routine lane holds periodic re-checks, such as those of running copies; it
yields to urgent keys. The patient lane holds re-checks that nothing depends on; they run one at a time, with a rest
after each. So neither hundreds of copies nor thousands of queued objects delay urgent keys. The queue does not
interpret keys.
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
#: upper limit of that rest, in seconds
LONGEST_REST = 1.0
#: seconds after which a patient reconcile no longer blocks its lane: it probably waits for a response
LONGEST_RECONCILE = 1.0
#: maximum number of seconds for which a running urgent reconcile keeps keys of other lanes from starting
HOLD = 0.25


class Lane(IntEnum):
    """Lower values have priority."""

    URGENT = 0
    ROUTINE = 1
    PATIENT = 2


#: number of keys from lanes of higher priority after which a lane is served nevertheless
IN_A_ROW = {Lane.PATIENT: 20, Lane.ROUTINE: 4}


class QueueClosedError(Exception):
    """The queue is closed and hands out no more keys."""


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
        """`waited` is called with the seconds that each key was ready before it was handed out; not for patient keys.

        `backoff_cap` is short, so that retries resume soon after an outage: until then no migration in flight is
        followed. Workers process at most `most_routine` routine keys at once; the other workers are kept for urgent
        keys.
        """
        self._base = backoff_base
        self._cap = backoff_cap
        self._clock = clock
        self._jitter = jitter
        self._waited = waited
        self._most_routine = most_routine
        #: ready keys in order, and since when each is ready; a key is in one lane only
        self._lanes: dict[Lane, OrderedDict[K, float]] = {lane: OrderedDict() for lane in Lane}
        #: keys being reconciled, and their lanes; such a key may be queued again at the same time
        self._processing: dict[K, Lane] = {}
        #: when each urgent key that is being reconciled was handed out, the latest last
        self._news: dict[K, float] = {}
        #: keys of higher priority handed out since a lane was last served
        self._passed = dict.fromkeys(Lane, 0)
        #: the patient key that was handed out last and is still being reconciled, and since when
        self._slow: tuple[K, float] | None = None
        self._rested_at = float("-inf")
        self._timers: dict[Lane, _Timers[K]] = {lane: _Timers() for lane in Lane}
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Number of urgent and routine keys that are ready now."""
        ready = self._lanes[Lane.URGENT].keys() | self._lanes[Lane.ROUTINE].keys()
        return len(ready - self._processing.keys())

    @property
    def processing(self) -> int:
        return len(self._processing)

    @property
    def scheduled(self) -> int:
        """Number of keys with a timer or in the patient lane."""
        later = set(self._lanes[Lane.PATIENT])
        return len(later.union(*(timers.due for timers in self._timers.values())))

    @property
    def failing(self) -> int:
        """Number of keys whose last reconcile failed."""
        return len(self._failures)

    def add(self, key: K, lane: Lane = Lane.URGENT) -> None:
        """Reconcile `key` as soon as its lane allows. If it is being reconciled, reconcile it once more afterwards."""
        for known, waiting in self._lanes.items():
            if key in waiting:
                if known <= lane:
                    return
                # a key in two lanes would be reconciled twice for one request
                del waiting[key]
        self._lanes[lane][key] = self._clock()
        self._wake.set()

    def add_after(self, key: K, delay: float, lane: Lane = Lane.URGENT) -> None:
        """Reconcile `key` in `delay` seconds. The earliest of several requests wins; a reconcile cancels them all."""
        if delay <= 0:
            self.add(key, lane)
        elif self._timers[lane].set(key, self._clock() + delay):
            self._wake.set()

    def poll(self) -> K | None:
        """The next key, or None if none is ready. The caller must call `done` after the reconcile."""
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
        """Lanes in the order of service; a lane that was passed over for too long comes first."""
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
        """When routine and patient keys may start, even if an urgent key is still being reconciled."""
        return max(self._news.values(), default=float("-inf")) + HOLD

    def _patient_at(self) -> float:
        """When the next patient key may start."""
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
            # a lane whose moment has passed waits for running reconciles instead, and `done` sets the wake event
            lanes = (moment for moment in (rested, held) if moment is not None and moment > now)
            moments = [*lanes, *(moment for moment in (deadline, *due) if moment is not None)]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(moments) - self._clock()) if moments else None):
                    await self._wake.wait()

    def done(self, key: K, *, failed: bool = False) -> None:
        """Record the end of the reconcile. After a failure the key is retried after a pause that doubles each time."""
        del self._processing[key]
        self._news.pop(key, None)
        if self._slow is not None and self._slow[0] == key:
            now = self._clock()
            self._rested_at = now + min((now - self._slow[1]) * REST, LONGEST_REST)
            self._slow = None
        if failed:
            # drop queued requests, so that events do not turn an error into a hot loop
            for waiting in self._lanes.values():
                waiting.pop(key, None)
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(self._cap, self._base * 2.0 ** min(count - 1, 60))
            # 50 % to 100 % of the pause, so that keys that failed together are not retried together
            self.add_after(key, pause * (0.5 + self._jitter() / 2), Lane.ROUTINE)
        else:
            self._failures.pop(key, None)
        if any(self._lanes.values()):
            self._wake.set()

    def failures(self, key: K) -> int:
        """Number of failed reconciles in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """Drop the timers and failures of a deleted object."""
        self._failures.pop(key, None)
        for timers in self._timers.values():
            timers.cancel(key)

    def close(self) -> None:
        """Hand out no more keys; `get` raises QueueClosedError."""
        self._closed = True
        self._wake.set()


class _Timers(Generic[K]):
    """When each key is due. The heap may contain outdated entries."""

    def __init__(self) -> None:
        self.due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def set(self, key: K, due: float) -> bool:
        """Make the key due at `due`. False if it is already due then or earlier."""
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
        """Remove and yield the keys that are due."""
        while (due := self.next()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self.due[key]
            yield key
