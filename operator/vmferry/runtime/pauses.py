"""Keeps the pauses of Python's garbage collector short.

A full collection goes through all that lives, and nothing else happens meanwhile: with 10,000 servers and 5,000 objects
in memory it took most of a second, every few seconds. What lives that long is no garbage, so what a long collection has
left is kept out of the next ones. Now and then all is looked through again, for what has become garbage since.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

#: seconds; a full collection that takes longer is too long
LONG = 0.05
#: seconds between two collections that look through everything
EVERYTHING = 3600.0


class Pauses:
    """One of `gc.callbacks`."""

    def __init__(self, long: float = LONG, clock: Callable[[], float] = time.monotonic) -> None:
        self._long = long
        self._clock = clock
        self._begun = clock()
        self._everything_at = clock() + EVERYTHING

    def __call__(self, phase: str, info: Mapping[str, Any]) -> None:
        if info["generation"] != 2:
            return
        now = self._clock()
        if phase == "start":
            self._begun = now
            if now >= self._everything_at:
                self._everything_at = now + EVERYTHING
                gc.unfreeze()
        elif now - self._begun > self._long:
            gc.freeze()
