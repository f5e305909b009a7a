"""Heartbeats of the operator's loops, and readiness checks; `probe_server` serves them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

#: seconds without a heartbeat after which a loop is stuck; longer than the slowest reconcile with all its timeouts
STUCK_SECONDS = 600.0

#: returns why something is not ready, or None if it is ready
Check = Callable[[], str | None]


class Health:
    """Heartbeats of the loops, and checks of liveness and readiness."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: the last heartbeat of each loop, and the seconds without one after which it is stuck
        self._beats: dict[str, tuple[float, float]] = {}
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._notes: list[Check] = []

    def beat(self, name: str, stuck_after: float = STUCK_SECONDS) -> None:
        """Record a heartbeat of the loop."""
        self._beats[name] = self._clock(), stuck_after

    def forget(self, name: str) -> None:
        """Stop monitoring a loop that has ended normally."""
        self._beats.pop(name, None)

    def alive_if(self, name: str, check: Check) -> None:
        """Add a liveness check. `check` may be called from any thread."""
        self._alive[name] = check

    def ready_if(self, name: str, check: Check) -> None:
        self._ready[name] = check

    def say(self, note: Check) -> None:
        """Add a function that returns a note for the output of `/readyz`, or None."""
        self._notes.append(note)

    def notes(self) -> list[str]:
        return [text for note in self._notes if (text := note()) is not None]

    def sick(self) -> list[str]:
        """The failed liveness checks, which a restart may cure. Thread-safe."""
        now = self._clock()
        beats = list(self._beats.items())  # one atomic step, because another thread may add an entry meanwhile
        silent = [(name, now - at) for name, (at, stuck_after) in beats if now - at > stuck_after]
        return [f"{name}: no sign of life for {int(span)} s" for name, span in silent] + _failing(self._alive)

    def readiness(self) -> Iterator[tuple[str, bool]]:
        """The name of each readiness check, and whether it passes."""
        return ((name, check() is None) for name, check in self._ready.items())

    def unready(self) -> list[str]:
        """The failed liveness and readiness checks; empty if the operator is ready."""
        return self.sick() + _failing(self._ready)


def _failing(checks: dict[str, Check]) -> list[str]:
    answers = [(name, check()) for name, check in checks.items()]
    return [f"{name}: {why}" for name, why in answers if why is not None]
