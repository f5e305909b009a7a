"""How figures are measured and told."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable


def best(times: int, *works: Callable[[], object]) -> list[float]:
    """CPU seconds of each one's quickest run, of `times` in turn: the others were disturbed.

    The garbage of one is not the next one's to collect.
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
    """What is behind a figure, for people."""
    print(f"   {text}", file=sys.stderr, flush=True)
