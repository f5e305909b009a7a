"""Simulated time (real, accelerated, or moved by hand) and the events that become due.

Nothing runs in the background. Each request first runs all events that are due, each at its own instant, so that a
response never depends on which timer fired first.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Event:
    """Something that happens at the time `due`, unless `cancel()` was called."""

    __slots__ = ("action", "cancelled", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Simulated time, in seconds since the epoch.

    `speed` is simulated seconds per real second. With 0 the clock stands still, and only `step` moves it.
    """

    def __init__(self, *, speed: float = 1.0, start: float | None = None) -> None:
        self._base = time.time() if start is None else start
        self._anchor = time.monotonic()
        self._speed = speed
        self._instant: float | None = None
        self._events: list[tuple[float, int, Event]] = []
        self._order = itertools.count()

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        self._base, self._anchor = self._flowing(), time.monotonic()
        self._speed = speed

    def now(self) -> float:
        """The current time. While an event runs, this is the instant at which it was due."""
        return self._flowing() if self._instant is None else self._instant

    def after(self, seconds: float, action: Callable[[], None]) -> Event:
        event = Event(self.now() + max(seconds, 0.0), action)
        heapq.heappush(self._events, (event.due, next(self._order), event))
        return event

    def run_due(self) -> None:
        """Run all events that are due."""
        until = self._flowing()
        try:
            while self._events and self._events[0][0] <= until:
                due, _, event = heapq.heappop(self._events)
                if not event.cancelled:
                    self._instant = due
                    event.action()
        finally:
            self._instant = None

    def step(self, seconds: float) -> None:
        """Move the clock forward by simulated seconds and run all events that become due on the way."""
        self._base += seconds
        self.run_due()

    def _flowing(self) -> float:
        return self._base + (time.monotonic() - self._anchor) * self._speed


def second(instant: float) -> str:
    """Format an instant as Nova formats a server's times: `2026-11-23T13:16:22Z`."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def database(instant: float | None) -> str | None:
    """Format an instant as Nova formats times from its database: `2026-11-23T13:16:22.000000`, without a time zone."""
    if instant is None:
        return None
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%S.000000")


def parse(text: str) -> float:
    """Parse an ISO 8601 instant; without a time zone it is UTC. Raises ValueError when the text is not a valid
    instant."""
    moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
