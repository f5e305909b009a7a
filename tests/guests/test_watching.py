"""What a guest's counts tell: whether it ran all the time, and only once."""

from __future__ import annotations

import pytest

from testbed.guests.guest import Count, check_ran_once, longest_gap

GOOD = [Count(0.0, "n1", 1, 5.0), Count(0.1, "n1", 2, 5.1), Count(0.5, "n2", 3, 5.2), Count(0.6, "n2", 4, 5.3)]
#: lines that a guest added to those, and what is wrong with them
WRONG = {
    "it runs on at the source": (Count(0.5, "n1", 3, 5.2), "counted twice"),
    "it was started again": (Count(0.9, "n2", 1, 0.1), "counted twice"),
    "some of its work was lost": (Count(0.9, "n2", 6, 5.4), "nothing between"),
    "its clock went back": (Count(0.9, "n2", 5, 4.0), "clock went back"),
    "an old console came late": (Count(-3.0, "n1", 5, 5.4), "too late"),
}


def test_a_move_is_fine() -> None:
    check_ran_once(GOOD)
    assert longest_gap(GOOD) == pytest.approx(0.4)


@pytest.mark.parametrize(("line", "message"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong(line: Count, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_ran_once([*GOOD, line])
