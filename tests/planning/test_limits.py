"""Who may start now (I24, R17): limits counted over everybody's migrations."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from testbed.build import NOW, migration, move, server, snapshot
from vmferry.cloud.model import Migration, ResolvedType
from vmferry.planning.limits import first_free, full, next_up, traffic
from vmferry.policy import Limits
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import EarlierMoves

LIMITS = Limits(per_source=2, per_target=2, total=4)


def record(number: int, source: str, target: str | None, **over: object) -> Migration:
    of = server(name=f"s{number}", host=source)
    return migration(of, number, **{"target_host": target, "user_id": "a stranger", **over})


def planned(number: int, source: str, target: str) -> PlannedMove:
    return move(server(name=f"s{number}", host=source), target)


def anywhere(number: int, source: str, *targets: str) -> PlannedMove:
    """One that names no target: it goes to the first of these that has room."""
    return replace(planned(number, source, targets[0]), elsewhere=targets[1:])


def ask(
    records: list[Migration] | None = None,
    moves: list[PlannedMove] | None = None,
    earlier: list[PlannedMove] | None = None,
    limits: Limits = LIMITS,
) -> str | None:
    """Why one more from a to b has to wait."""
    view = snapshot(migrations=records or [])
    return full("a", "b", view, tuple(moves or ()), tuple(earlier or ()), limits)


FREE: dict[str, str | None] = {
    "nothing is in flight": ask(),
    "one of two leaves the source": ask([record(1, "a", "x")]),
    "one of two goes to the target": ask([record(1, "x", "b")]),
    "what has ended does not count": ask(
        [record(n, "a", "b", status=s) for n, s in enumerate(["completed", "confirmed", "error", "cancelled", "done"])]
    ),
    "a cold migration that waits for its confirmation copies nothing": ask(
        [record(n, "a", "b", type="migration", status="finished") for n in range(5)]
    ),
    "Nova queues at another host": ask([record(1, "x", "y"), record(2, "x", "z", status="queued")]),
    "those in front at a host where Nova queues keep nothing of the total from us": ask(
        [record(1, "x", "y", status="queued")],
        earlier=[planned(n, "x", f"t{n}") for n in range(9)],
        limits=Limits(9, 2, 3),
    ),
    "a decided move that Nova shows already counts once": ask([record(1, "a", "b")], [planned(1, "a", "b")]),
    "those in front from other hosts leave us our place": ask(earlier=[planned(1, "x", "y"), planned(2, "x", "y")]),
    "those in front that a host holds back do not keep the total from us": ask(
        [record(1, "x", "y"), record(2, "x", "z")],
        earlier=[planned(n, "x", "w") for n in range(10, 20)],
    ),
    "a queue for one host takes of the total only what that host lets go": ask(
        earlier=[planned(n, "x", f"t{n}") for n in range(10)]
    ),
    "those in front that may go elsewhere and cannot leave yet keep no place at the target": ask(
        [record(1, "x", "y"), record(2, "x", "z")], earlier=[anywhere(n, "x", "b", "c") for n in range(10, 20)]
    ),
    "nor do those of them that other ones at their own host go before": ask(
        earlier=[*(planned(n, "x", "y") for n in range(10, 12)), *(anywhere(n, "x", "b") for n in range(20, 30))]
    ),
}

WAITS: dict[str, tuple[str | None, str]] = {
    "two leave the source, whoever asked for them (I24)": (
        ask([record(1, "a", "x"), record(2, "a", "y")]),
        "limited by perSource 2 (policy.limits): 2 migrations leave a or go first",
    ),
    "two go to the target, whoever asked for them (I24)": (
        ask([record(1, "x", "b"), record(2, "y", "b")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "four are in flight in all (I24)": (
        ask([record(n, f"s{n}", f"t{n}") for n in range(4)]),
        "limited by total 4 (policy.limits): 4 migrations are in flight and 0 go first",
    ),
    "a decided move without a record counts": (
        ask([record(1, "a", "x")], [planned(2, "a", "y")]),
        "limited by perSource 2 (policy.limits): 2 migrations leave a or go first",
    ),
    "a record without a target yet counts where its move was decided to go": (
        ask([record(1, "x", None, status="accepted"), record(2, "y", "b")], [planned(1, "x", "b")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "a stranger's record without a target counts at its source": (
        ask([record(1, "a", None, status="accepted"), record(2, "a", None, status="accepted")]),
        "2 migrations leave a",
    ),
    "a status word that nobody knows counts as in flight (I35)": (
        ask([record(1, "a", "x", status="teleporting"), record(2, "a", "y", status="teleporting")]),
        "2 migrations leave a",
    ),
    "those in front keep their place at the source": (
        ask([record(1, "a", "x")], earlier=[planned(2, "a", "y")]),
        "limited by perSource 2 (policy.limits): 2 migrations leave a or go first",
    ),
    "those in front keep their place at the target": (
        ask(earlier=[planned(1, "x", "b"), planned(2, "y", "b")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "those in front that may start keep their place in the total": (
        ask([record(1, "s", "t"), record(2, "s2", "t2")], earlier=[planned(3, "x", "y"), planned(4, "v", "w")]),
        "limited by total 4 (policy.limits): 2 migrations are in flight and 2 go first",
    ),
    "those in front that may go there now keep their place, though they could go elsewhere": (
        ask(earlier=[anywhere(1, "x", "b", "c"), anywhere(2, "y", "b", "c")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "one in front whose first host is full keeps its place at its second": (
        ask([record(1, "x", "c"), record(2, "y", "c"), record(3, "z", "b")], earlier=[anywhere(4, "w", "c", "b")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "one that names the target keeps its place there, though it cannot leave yet": (
        ask([record(1, "x", "b"), record(2, "x", "c")], earlier=[planned(3, "x", "b")]),
        "limited by perTarget 2 (policy.limits): 2 migrations go to b or go first",
    ),
    "Nova keeps one that leaves the source in its own queue, whosever it is, though our limit is higher": (
        ask([record(1, "a", "x"), record(2, "a", "y", status="queued")], limits=Limits(9, 9, 9)),
        "limited by Nova's max_concurrent_live_migrations: 1 live migrations from a are queued",
    ),
}


@pytest.mark.parametrize("sentence", FREE)
def test_I24_it_may_start(sentence: str) -> None:
    assert FREE[sentence] is None


@pytest.mark.parametrize("sentence", WAITS)
def test_I24_it_waits_and_says_why(sentence: str) -> None:
    why, words = WAITS[sentence]
    assert why is not None and words in why


def choose(
    targets: str,
    records: list[Migration] | None = None,
    earlier: list[PlannedMove] | None = None,
    limits: Limits = LIMITS,
) -> str | None:
    """Which of these hosts one more from a goes to."""
    return first_free("a", targets, snapshot(migrations=records or []), (), tuple(earlier or ()), limits)


TO_B = [record(1, "x", "b"), record(2, "y", "b")]
CHOICES: dict[str, tuple[str | None, str | None]] = {
    "the best one that has room": (choose("bcd"), "b"),
    "the next one if the best one is full": (choose("bcd", TO_B), "c"),
    "not the places that those in front could take now": (
        choose("bcd", earlier=[anywhere(n, f"s{n}", "b") for n in (1, 2)]),
        "c",
    ),
    "the place that one in front would take if it could leave": (
        choose("bcd", [record(1, "x", "e"), record(2, "x", "f")], [anywhere(n, "x", "b") for n in range(10, 20)]),
        "b",
    ),
    "not the place of one in front that can go nowhere else": (
        choose("bcd", [record(1, "x", "e"), record(2, "x", "f")], [planned(n, "x", "b") for n in range(10, 20)]),
        "c",
    ),
    "none if all are full": (choose("b", TO_B), None),
    "none while the source is full": (choose("bcd", [record(1, "a", "x"), record(2, "a", "y")]), None),
    "none while those in front leave the source": (
        choose("bcd", earlier=[anywhere(n, "a", "e") for n in range(2)]),
        None,
    ),
    "none while the total is used up": (choose("bcd", [record(n, f"s{n}", f"t{n}") for n in range(4)]), None),
    "none while those in front use up the total": (
        choose("bcd", [record(1, "s", "t"), record(2, "u", "v")], [anywhere(3, "x", "e"), planned(4, "y", "f")]),
        None,
    ),
}


@pytest.mark.parametrize("sentence", CHOICES)
def test_I24_of_hosts_to_choose_from_it_takes(sentence: str) -> None:
    found, expected = CHOICES[sentence]
    assert found == expected


class Counting(dict[str, Migration]):
    """Migrations that count how often they are gone through."""

    scans = 0

    def values(self) -> Any:
        self.scans += 1
        return super().values()


def test_the_migrations_of_one_view_are_gone_through_once_whoever_asks() -> None:
    view = replace(snapshot(), migrations=Counting({"m": record(1, "a", "x"), "n": record(2, "a", "y")}))
    for number in range(50):
        moves = (planned(number + 10, "c", "d"),)
        assert (
            full("a", "b", view, moves, (), LIMITS)
            == "limited by perSource 2 (policy.limits): 2 migrations leave a or go first"
        )
        assert full("e", "f", view, moves, (), LIMITS) is None
        assert full("e", "f", view, moves, (), LIMITS, traffic(view, moves)) is None
    assert isinstance(view.migrations, Counting) and view.migrations.scans == 1
    assert full("a", "b", replace(view, migrations={}), (), (), LIMITS) is None, "another view is counted anew"


def test_a_queue_behind_a_full_cloud_is_gone_through_no_further_than_need_be() -> None:
    looked_at = 0

    class Queued(PlannedMove):
        def __getattribute__(self, name: str) -> Any:
            nonlocal looked_at
            looked_at += 1
            return object.__getattribute__(self, name)

    waiting = [Queued(f"q{n}", ResolvedType.LIVE, f"s{n}", f"t{n}", {}, NOW) for n in range(1000)]
    looked_at = 0
    assert (
        full("a", "b", snapshot(), (), waiting, LIMITS)
        == "limited by total 4 (policy.limits): 0 migrations are in flight and 4 go first"
    )
    assert looked_at <= 3100, "a look at each, and not at each pair"


@pytest.mark.parametrize("seed", range(40))
def test_who_may_start_is_what_going_through_the_whole_line_tells(seed: int) -> None:
    dice = random.Random(seed)
    hosts = "abcdef"
    limits = Limits(dice.randint(1, 3), dice.randint(1, 3), dice.randint(1, 12))
    earlier = [
        (planned if dice.random() < 0.5 else anywhere)(n, *dice.sample(hosts, 2)) for n in range(dice.randrange(25))
    ]
    earlier = [
        one if one.elsewhere is None else replace(one, elsewhere=tuple(dice.sample(hosts, 2))) for one in earlier
    ]
    flying = [planned(100 + n, *dice.sample(hosts, 2)) for n in range(dice.randrange(8))]
    now = traffic(snapshot(), tuple(flying))

    out = [one.source_host for one in flying]
    into = [one.target_host for one in flying]
    expected: list[PlannedMove] = []
    for one in earlier:
        targets = (one.target_host, *(one.elsewhere or ()))
        free = [host for host in targets if into.count(host) < limits.per_target]
        may = out.count(one.source_host) < limits.per_source and free
        if may and len(flying) + len(expected) < limits.total:
            expected.append(one)
        # whoever waits keeps its place at its source, and at its target if no other one will do
        out.append(one.source_host)
        into += [one.target_host] if one.elsewhere is None else free[:1] if one in expected else []
    assert next_up(EarlierMoves.of(earlier), now, limits).moves == tuple(expected)
    for number, one in enumerate(earlier):
        targets = (one.target_host, *(one.elsewhere or ()))
        target = first_free(one.source_host, targets, snapshot(), tuple(flying), earlier[:number], limits)
        assert (target is not None) == (one in expected), "who is not held back is woken, and nobody else"
        for host in targets:
            why = full(one.source_host, host, snapshot(), tuple(flying), earlier[:number], limits)
            assert why is not None or target is not None
            assert host != target or why is None
    assert (now.leaving, now.coming) == (traffic(snapshot(), tuple(flying)).leaving, now.coming), "nothing is used up"
