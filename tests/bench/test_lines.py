"""A figure is one line, and none can take the others with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from testbed.bench import planning, refresh
from testbed.bench.__main__ import FIGURES, Figure, line
from testbed.bench.fleet import big_fleet


def broken() -> float:
    raise OSError("no such cloud")


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        pytest.param(Figure("x", 2.2, lambda: 2.2), "bench x 2.2 2.2 ok", id="the goal itself is reached"),
        pytest.param(Figure("x", 300, lambda: 412.345), "bench x 412 300 short", id="more is short of it"),
        pytest.param(Figure("x", 2, broken), "bench x - 2 short", id="what cannot be had is short"),
    ],
)
def test_a_line_a_figure(figure: Figure, said: str) -> None:
    assert line(figure) == said


def test_names_are_words_and_each_is_told_in_the_readme() -> None:
    names = [figure.name for figure in FIGURES]
    readme = (Path(__file__).parents[2] / "testbed" / "bench" / "README.md").read_text()
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[A-Za-z0-9-]+", name) and f"`{name}`" in readme


def test_a_fleet_is_the_same_for_the_same_numbers() -> None:
    one, other = big_fleet(20, 60), big_fleet(20, 60)
    assert (one.servers, one.hosts, one.server_groups) == (other.servers, other.hosts, other.server_groups)
    assert (len(one.servers), len(one.hosts)) == (60, 20)


#: each checks for itself that the work was done
SMALL: dict[str, Callable[[], float]] = {
    "a full refresh and json.loads": lambda: refresh.full_to_json_loads(servers=1100, times=1),
    "a full refresh and openstacksdk": lambda: refresh.full_to_openstacksdk(servers=30),
    "ten changes in two fleets": lambda: refresh.changes_by_fleet(servers=200, times=2),
    "plans of a drain over two fleets": lambda: planning.plan_doubling(hosts=20, leaving=30, times=1),
    "a look at a drain": lambda: planning.look_to_plan(hosts=20, leaving=30, times=1),
}


@pytest.mark.parametrize("figure", SMALL.values(), ids=SMALL.keys())
def test_it_can_be_measured(figure: Callable[[], float]) -> None:
    assert figure() > 0
