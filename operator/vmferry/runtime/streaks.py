"""Streaks of failures without a success in between; readiness checks use them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Streak:
    since: float
    last: float
    failures: int
    why: str


class Streaks:
    """Streaks by the name of the operation. Thread-safe. A success ends a streak.

    A streak counts after `patience` seconds and `failures` failures. It is forgotten after `silence` seconds without
    another attempt, because the object that caused the attempts may be gone.
    """

    def __init__(
        self,
        patience: float,
        failures: int = 1,
        silence: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._patience = patience
        self._failures = failures
        self._silence = silence
        self._clock = clock
        self._lock = threading.Lock()
        self._streaks: dict[str, _Streak] = {}

    def good(self, what: str) -> None:
        with self._lock:
            self._streaks.pop(what, None)

    def bad(self, what: str, why: str) -> None:
        with self._lock:
            now = self._clock()
            streak = self._streaks.get(what)
            if streak is None or now - streak.last > self._silence:
                self._streaks[what] = _Streak(now, now, 1, why)
            else:
                streak.last, streak.failures, streak.why = now, streak.failures + 1, why

    @property
    def failing(self) -> bool:
        """Whether there is any streak, however short."""
        with self._lock:
            return any(self._clock() - streak.last <= self._silence for streak in self._streaks.values())

    def trouble(self) -> str | None:
        """The operation, reason and duration of the longest streak that counts; None if no streak counts."""
        with self._lock:
            now = self._clock()
            counting = [
                (streak.since, what, streak.why)
                for what, streak in self._streaks.items()
                if now - streak.since >= self._patience
                and streak.failures >= self._failures
                and now - streak.last <= self._silence
            ]
        if not counting:
            return None
        since, what, why = min(counting)
        return f"{what}: {why} (for {int(now - since)} s)"
