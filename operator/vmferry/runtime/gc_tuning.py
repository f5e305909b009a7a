"""Keeps the pauses of Python's garbage collector short.

A full collection examines all live objects and blocks the process: with 10,000 servers and 5,000 objects in memory it
took most of a second, every few seconds. Objects that survive a long collection are probably long-lived, so they are
excluded from the next collections. Every ten minutes all objects are examined again.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

#: seconds of CPU time above which a full collection is too long. Elapsed time would not do: on a busy machine even a
#: small collection may take long.
LONG = 0.05
#: seconds between two collections that examine everything
EVERYTHING = 600.0


class CollectorTuning:
    """A callback for `gc.callbacks`."""

    def __init__(
        self,
        long: float = LONG,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._long = long
        self._clock = clock
        self._cpu = cpu
        self._begun = cpu()
        self._everything_at = clock() + EVERYTHING

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        """The collector calls it at the start and at the end of a collection, in the thread that runs it."""
        if info["generation"] != 2:
            return
        if phase == "start":
            self._begun = self._cpu()
            now = self._clock()
            if now >= self._everything_at:
                self._everything_at = now + EVERYTHING
                gc.unfreeze()
        elif self._cpu() - self._begun > self._long:
            gc.freeze()
