"""The pauses of the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from vmferry.runtime.gc_tuning import EVERYTHING, LONG, CollectorTuning


class Node:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.itself = self


class Clock:
    """Each collection takes `step` of CPU time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.step = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    pauses = CollectorTuning(clock=lambda: clock.now, cpu=clock)
    gc.callbacks.append(pauses)
    yield clock
    gc.callbacks.remove(pauses)
    gc.unfreeze()


def test_what_a_long_collection_has_left_is_kept_out_of_the_next_ones(clock: Clock) -> None:
    gc.collect()
    assert gc.get_freeze_count() == 0, "it was short"
    clock.step = 2 * LONG
    gc.collect()
    frozen = gc.get_freeze_count()
    assert frozen > 1000
    gc.collect(1)
    assert gc.get_freeze_count() == frozen, "the young ones are none of its business"


def test_garbage_that_was_kept_out_is_found_in_the_end(clock: Clock) -> None:
    node: Node | None = Node()
    gone = weakref.ref(node)
    clock.step = 2 * LONG
    gc.collect()
    node = None
    gc.collect()
    assert gone() is not None
    clock.now += EVERYTHING
    gc.collect()
    assert gone() is None
