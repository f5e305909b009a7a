"""How figures are measured and printed."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable


def best(times: int, *works: Callable[[], object]) -> list[float]:
    """Return the CPU seconds of each function's fastest run, of `times` alternating runs; slower runs were disturbed.

    Garbage is collected before each run, so that no function pays for another.
    """
    quickest = [float("inf")] * len(works)
    for _ in range(times):
        for number, work in enumerate(works):
            gc.collect()
            begun = time.process_time()
            work()
            quickest[number] = min(quickest[number], time.process_time() - begun)
    return quickest


def note(text: str) -> None:
    """Print details of a figure to stderr, for people."""
    print(f"   {text}", file=sys.stderr, flush=True)
