"""A batch of requests without a target, compared with the ideal schedule, in virtual time."""

from __future__ import annotations

from testbed.bench.clock import note
from testbed.storm.batch import BATCHES, ideal, play


def to_ideal() -> float:
    """The highest ratio over the batches of `testbed.storm.batch`."""
    return max(_ratio(words) for words in BATCHES)


def _ratio(words: str) -> float:
    batch = BATCHES[words]
    played, best = play(batch), ideal(batch).took
    if played.wrongs or len(played.moves) != len(batch.requests):
        raise ValueError(f"{words}: {len(played.moves)} moves, {played.wrongs}")
    note(f"{words}: {played.took:.0f} s, ideally {best:.0f} s")
    return played.took / best
