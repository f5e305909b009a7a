"""Simulated time: real, faster than real, or moved by hand; and the list of what becomes due.

Nothing runs in the background.  Each request first lets everything happen that is due by now, each event at its own
instant, so that an answer never depends on which timer woke up first.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Event:
    """Something that will happen; `cancel()` takes it off."""

    __slots__ = ("action", "cancelled", "due")

    def __init__(self, due: float, action: Callable[[], None]) -> None:
        self.due = due
        self.action = action
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Seconds since the epoch.

    `speed` is simulated seconds per real second; 0 stops the clock, which then moves by `step` alone.
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
        """Inside an event: the instant at which it is due."""
        return self._flowing() if self._instant is None else self._instant

    def after(self, seconds: float, action: Callable[[], None]) -> Event:
        event = Event(self.now() + max(seconds, 0.0), action)
        heapq.heappush(self._events, (event.due, next(self._order), event))
        return event

    def run_due(self) -> None:
        """Let everything happen whose time has come."""
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
        """Move the clock on by simulated seconds, through all that becomes due on the way."""
        self._base += seconds
        self.run_due()

    def _flowing(self) -> float:
        return self._base + (time.monotonic() - self._anchor) * self._speed


def second(instant: float) -> str:
    """`2026-11-23T13:16:22Z`, as Nova writes a server's times."""
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def database(instant: float | None) -> str | None:
    """`2026-11-23T13:16:22.000000`, as Nova writes times that come from its database: whole seconds, no zone."""
    if instant is None:
        return None
    return datetime.fromtimestamp(int(instant), UTC).strftime("%Y-%m-%dT%H:%M:%S.000000")


def parse(text: str) -> float:
    """An ISO 8601 instant; without a zone it is UTC.  ValueError when it is none."""
    moment = datetime.fromisoformat(text.strip().replace(" ", "+"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
