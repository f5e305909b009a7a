"""Batches that name no target use what the limits admit, in virtual time, by the whole operator."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.storm.batch import SECONDS, Batch, ideal, play
from vmferry.policy import Limits

#: seconds within which two places are free at the same time
AT_ONCE = 5.0
BATCHES = {
    "host by host": Batch(others=2, servers=4),
    "host by host, one at a time to each": Batch(servers=6, limits=Limits(2, 1, 10)),
}


@pytest.mark.slow
@pytest.mark.parametrize("sentence", BATCHES)
def test_I24_a_batch_takes_as_long_as_the_limits_make_it_and_keeps_its_order(sentence: str) -> None:
    batch = BATCHES[sentence]
    played = play(batch)
    assert not played.wrongs
    assert len(played.moves) == len({move.place for move in played.moves}) == len(batch.requests)
    took, best = played.took, ideal(batch).took
    assert took <= 1.1 * best
    # the first ones begin before all of the batch were looked at; from then on who waits longest goes first
    later = [move for move in played.moves if move.began > SECONDS / 2]
    overtaken = [
        (one, other)
        for one in later
        for other in later
        if one.source == other.source and one.place < other.place and one.began > other.began + AT_ONCE
    ]
    assert later and not overtaken


def test_the_ideal_schedule_is_what_one_expects() -> None:
    two = Batch(sources=2, others=2, servers=2, limits=Limits(1, 1, 10))
    assert (ideal(two).took, [move.place for move in ideal(two).moves]) == (2 * SECONDS, [0, 2, 1, 3])
    assert ideal(replace(two, limits=Limits(1, 1, 1))).took == 4 * SECONDS
    assert ideal(replace(two, limits=Limits(2, 2, 10))).took == SECONDS
    assert ideal(replace(two, limits=Limits(2, 1, 10), named=1)).took == 4 * SECONDS, "all to one host"
