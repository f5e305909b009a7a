"""The work queue: which object is looked at next, and when.

A key is never in the hands of two workers, waits at most once, and comes back after an error with a growing pause.
Nothing in here knows what a key means.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class QueueClosedError(Exception):
    """No more keys are given out."""


class WorkQueue(Generic[K]):
    """Keys to be looked at; belongs to one event loop. Times are seconds."""

    def __init__(
        self,
        *,
        backoff_base: float = 1.0,
        backoff_cap: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
        waited: Callable[[float], None] = lambda _: None,
    ) -> None:
        """`waited` is told how long each key that is given out was ready."""
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
        #: when a key is due; the heap may hold entries that are outdated
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0
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
        return len(self._due)

    @property
    def failing(self) -> int:
        """Keys whose last look failed."""
        return len(self._failures)

    def add(self, key: K) -> None:
        """Look at `key` as soon as a worker is free."""
        if key in self._waiting:
            return
        if key in self._processing:
            self._again.add(key)
            return
        self._waiting[key] = self._clock()
        self._ready.append(key)
        self._wake.set()

    def add_after(self, key: K, delay: float) -> None:
        """Look at `key` in `delay` seconds; of several such wishes the earliest wins. A look voids them all."""
        if delay <= 0:
            self.add(key)
            return
        due = self._clock() + delay
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._serial += 1
        heapq.heappush(self._heap, (due, self._serial, key))
        self._wake.set()

    def poll(self) -> K | None:
        """The next key, if there is one now. It belongs to the caller until `done`."""
        self._promote()
        if self._closed or not self._ready:
            return None
        key = self._ready.popleft()
        self._waited(self._clock() - self._waiting.pop(key))
        self._due.pop(key, None)
        self._processing.add(key)
        return key

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
            moments = [moment for moment in (deadline, self._next_due()) if moment is not None]
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, min(moments) - self._clock()) if moments else None):
                    await self._wake.wait()

    def done(self, key: K, *, failed: bool = False) -> None:
        """The look is over. After a failure the key comes back with a pause that doubles each time."""
        self._processing.remove(key)
        if failed:
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
        self._due.pop(key, None)

    def close(self) -> None:
        """Give out nothing any more; who waits in `get` is told."""
        self._closed = True
        self._wake.set()

    def _next_due(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _promote(self) -> None:
        now = self._clock()
        while (due := self._next_due()) is not None and due <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._due[key]
            self.add(key)
