"""Keeps the pauses of Python's garbage collector short.

A full collection goes through all that lives, and nothing else happens meanwhile: with 10,000 servers and 5,000 objects
in memory it took most of a second, every few seconds. What lives that long is no garbage, so what a long collection has
left is kept out of the next ones. Every ten minutes all objects are examined again, for what has become garbage since.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

#: seconds of CPU time; a full collection that takes longer is too long. Elapsed time would make a busy machine's
#: collections long, however little there is to go through.
LONG = 0.05
#: seconds between two collections that examine everything
EVERYTHING = 600.0


class CollectorTuning:
    """One of `gc.callbacks`."""

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
        """Called by the collector at both ends of a collection, in the thread that runs it."""
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
