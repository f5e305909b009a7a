"""Signs of life of the operator's loops, and what it needs in order to work; `probe_server` serves them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

#: a loop that gave no sign for this long is stuck: longer than the slowest reconcile may take, with all its time-outs
STUCK_SECONDS = 600.0

#: why something is not ready, None when it is
Check = Callable[[], str | None]


class Health:
    """Signs of life of the loops, and the checks of readiness."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: when each loop gave its last sign, and after how many seconds without one it is stuck
        self._beats: dict[str, tuple[float, float]] = {}
        self._alive: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._notes: list[Check] = []

    def beat(self, name: str, stuck_after: float = STUCK_SECONDS) -> None:
        """The loop lives."""
        self._beats[name] = self._clock(), stuck_after

    def forget(self, name: str) -> None:
        """The loop has ended as it should."""
        self._beats.pop(name, None)

    def alive_if(self, name: str, check: Check) -> None:
        """`check` may be called from any thread."""
        self._alive[name] = check

    def ready_if(self, name: str, check: Check) -> None:
        self._ready[name] = check

    def say(self, note: Check) -> None:
        """What a person who asks whether it is ready may want to know, None: nothing."""
        self._notes.append(note)

    def notes(self) -> list[str]:
        return [text for note in self._notes if (text := note()) is not None]

    def sick(self) -> list[str]:
        """Why a restart would help; empty when it would not. May be called from any thread."""
        now = self._clock()
        beats = list(self._beats.items())  # in one step: its own thread may add one meanwhile
        silent = [(name, now - at) for name, (at, stuck_after) in beats if now - at > stuck_after]
        return [f"{name}: no sign of life for {int(span)} s" for name, span in silent] + _failing(self._alive)

    def readiness(self) -> Iterator[tuple[str, bool]]:
        """What `/readyz` asks, and whether it is satisfied."""
        return ((name, check() is None) for name, check in self._ready.items())

    def unready(self) -> list[str]:
        """What is still missing; empty when the operator works."""
        return self.sick() + _failing(self._ready)


def _failing(checks: dict[str, Check]) -> list[str]:
    answers = [(name, check()) for name, check in checks.items()]
    return [f"{name}: {why}" for name, why in answers if why is not None]
