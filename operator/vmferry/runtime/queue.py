"""The work queue: which object is looked at next, and when.

A key is never in the hands of two workers, waits at most once, and comes back after an error with a growing pause.
There are two lanes. What has changed is looked at as soon as a worker is free. What is only looked at again to be sure
has the lane of the patient: one at a time, with a rest after each, so that thousands of these keep nothing from being
seen to. Nothing in here knows what a key means.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: the rest after a patient key, as a part of the time that its look took
REST = 0.5
#: but no longer than that, in seconds
LONGEST_REST = 1.0
#: a patient look that takes longer, in seconds, waits for an answer: it keeps the lane no more
LONGEST_LOOK = 1.0
#: keys with a change after which a patient one has its turn all the same
IN_A_ROW = 20


class QueueClosedError(Exception):
    """No more keys are given out."""


class WorkQueue(Generic[K]):
    """Keys to be looked at; belongs to one event loop. Times are seconds."""

    def __init__(
        self,
        *,
        backoff_base: float = 1.0,
        backoff_cap: float = 60.0,
        in_a_row: int = IN_A_ROW,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`waited` is told how long each key that is given out was ready.

        The pause after failures ends soon after an outage does: a move in flight is not seen to its end meanwhile.
        """
        self._base = backoff_base
        self._cap = backoff_cap
        self._clock = clock
        self._jitter = jitter
        self._waited = waited
        self._ready: deque[K] = deque()
        #: the same keys, and since when each is ready
        self._waiting: dict[K, float] = {}
        self._processing: set[K] = set()
        #: added again while being processed: once more after
        self._again: set[K] = set()
        #: the patient lane; the deque may hold keys that are not in the set any more
        self._patient: deque[K] = deque()
        self._patience: set[K] = set()
        #: the patient key that was given out last and is being looked at, and since when
        self._slow: tuple[K, float] | None = None
        self._rested_at = float("-inf")
        self._in_a_row = 0
        self._most_in_a_row = in_a_row
        self._soon: _Timers[K] = _Timers()
        self._later: _Timers[K] = _Timers()
        self._failures: dict[K, int] = {}
        self._wake = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Keys that could be given out now."""
        return len(self._ready)

    @property
    def processing(self) -> int:
        return len(self._processing)

    @property
    def scheduled(self) -> int:
        """Keys that are due later, or when nothing else is to be done."""
        return len(self._soon.due.keys() | self._later.due.keys() | self._patience)

    @property
    def failing(self) -> int:
        """Keys whose last look failed."""
        return len(self._failures)

    def add(self, key: K, *, patient: bool = False) -> None:
        """Look at `key` as soon as a worker is free; a patient one when nothing else is to be done."""
        if key in self._waiting:
            return
        if patient:
            # also while it is being processed: the look that goes on may have seen less
            if key not in self._patience:
                self._patience.add(key)
                self._patient.append(key)
                self._wake.set()
            return
        if key in self._processing:
            self._again.add(key)
            return
        # in one lane only: who is in both is given out from either, to two workers at once
        self._patience.discard(key)
        self._waiting[key] = self._clock()
        self._ready.append(key)
        self._wake.set()

    def add_after(self, key: K, delay: float, *, patient: bool = False) -> None:
        """Look at `key` in `delay` seconds; of several such wishes the earliest wins. A look voids them all."""
        if delay <= 0:
            self.add(key, patient=patient)
        elif (self._later if patient else self._soon).set(key, self._clock() + delay):
            self._wake.set()

    def poll(self) -> K | None:
        """The next key, if there is one now. It belongs to the caller until `done`."""
        self._promote()
        if self._closed:
            return None
        key = None
        if not self._ready or self._in_a_row >= self._most_in_a_row:
            key = self._next_patient()
        if key is None:
            if not self._ready:
                return None
            key = self._ready.popleft()
            self._in_a_row += 1
        if (since := self._waiting.pop(key, None)) is not None:
            self._waited(self._clock() - since)
        self._patience.discard(key)
        self._soon.cancel(key)
        self._later.cancel(key)
        self._processing.add(key)
        return key

    def _next_patient(self) -> K | None:
        if self._clock() < self._patient_at():
            return None
        for _ in range(len(self._patient)):
            key = self._patient.popleft()
            if key in self._processing and key in self._patience:
                self._patient.append(key)  # once more after
            elif key in self._patience:
                self._in_a_row = 0
                self._slow = key, self._clock()
                return key
        return None

    def _patient_at(self) -> float:
        """When the patient lane may have its next turn."""
        held = self._slow[1] + LONGEST_LOOK if self._slow is not None else float("-inf")
        return max(self._rested_at, held)

    async def get(self, timeout: float | None = None) -> K | None:  # noqa: ASYNC109 - a pause, not a deadline
        """The next key, waiting for it; None after `timeout` seconds. Raises QueueClosedError once closed."""
        deadline = None if timeout is None else self._clock() + timeout
        while True:
            if self._closed:
                raise QueueClosedError
            key = self.poll()
            if key is not None:
                return key
            if deadline is not None and self._clock() >= deadline:
                return None
            self._wake.clear()
            rested = self._patient_at() if self._patience else None
            if rested is not None and rested <= self._clock():
                rested = None  # all of them are in the hands of others, who say when they are done
            due = self._soon.next(), self._later.next()
            moments = [moment for moment in (deadline, rested, *due) if moment is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(moments) - self._clock()) if moments else None):
                    await self._wake.wait()

    def done(self, key: K, *, failed: bool = False) -> None:
        """The look is over. After a failure the key comes back with a pause that doubles each time."""
        self._processing.remove(key)
        if self._slow is not None and self._slow[0] == key:
            now = self._clock()
            self._rested_at = now + min((now - self._slow[1]) * REST, LONGEST_REST)
            self._slow = None
        if self._patience:
            self._wake.set()
        if failed:
            self._patience.discard(key)  # the pause stands
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(self._cap, self._base * 2.0 ** min(count - 1, 60))
            # between a half and the whole, so that what failed together does not come back together
            self.add_after(key, pause * (0.5 + self._jitter() / 2))
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            if not failed:  # an event must not turn an error into a hot loop: the pause stands
                self.add(key)

    def failures(self, key: K) -> int:
        """How many looks in a row have failed."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """The object is gone: no timer, no failures are kept of it."""
        self._failures.pop(key, None)
        self._soon.cancel(key)
        self._later.cancel(key)

    def close(self) -> None:
        """Give out nothing any more; who waits in `get` is told."""
        self._closed = True
        self._wake.set()

    def _promote(self) -> None:
        now = self._clock()
        for key in self._soon.pop(now):
            self.add(key)
        for key in self._later.pop(now):
            self.add(key, patient=True)


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
