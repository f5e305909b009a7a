"""The breaker (I37): from the attempts that have ended to what may start."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.build import NOW, ident, move, server
from vmferry.cloud.model import ResolvedType
from vmferry.planning.breaker import Breakers, EndedAttempt, OpenBreaker, judge
from vmferry.policy import Breaker as Rules
from vmferry.prerequisites.check import PlannedMove

RULES = Rules(attempts=2, hosts=2, window=timedelta(hours=1), pause=timedelta(minutes=5))
LIVE, COLD, EVACUATE = ResolvedType.LIVE, ResolvedType.COLD, ResolvedType.EVACUATE


def history(*words: str) -> list[EndedAttempt]:
    """`12 error live cmp1>cmp3 web-1`: what ended after 12 s; it began at `started=`, by default one second before."""
    found = []
    for number, line in enumerate(words, 1):
        at, result, *rest = line.split()
        kind, path, name, began = LIVE, "cmp1>cmp3", f"s{number}", None
        for word in rest:
            if word in ("live", "cold"):
                kind = LIVE if word == "live" else COLD
            elif ">" in word:
                path = word
            elif word.startswith("started="):
                began = float(word.removeprefix("started="))
            else:
                name = word
        source, target = path.split(">")
        seconds = float(at)
        result, _, cause = result.partition(":")
        found.append(
            EndedAttempt(
                migration=f"default/m-{number}",
                number=1,
                server_id=ident(name),
                server_name=name,
                type=kind,
                source=source,
                target=target,
                started_at=NOW + timedelta(seconds=seconds - 1 if began is None else began),
                ended_at=NOW + timedelta(seconds=seconds),
                succeeded=result == "ok",
                left_in_error=result in ("error", "theirs"),
                begun=result != "refused",
                by_people=result == "theirs",
                cause=(cause or "it broke") if result in ("error", "failed", "refused") else None,
                message=cause or "it broke",
            )
        )
    return found


def breakers(attempts: Sequence[EndedAttempt], rules: Rules = RULES) -> Breakers:
    hosts = {one.source for one in attempts}
    judged = {host: judge([one for one in attempts if one.source == host], host, rules) for host in hosts}
    cloud = judge(attempts, None, rules)
    return Breakers(
        cloud if isinstance(cloud, OpenBreaker) else None,
        {host: one for host, one in judged.items() if isinstance(one, OpenBreaker)},
        {host: one for host, one in judged.items() if not isinstance(one, OpenBreaker)},
        rules.attempts,
    )


def start(
    *words: str,
    at: float = 60,
    source: str = "cmp1",
    kind: ResolvedType = LIVE,
    moves: Sequence[PlannedMove] = (),
    rules: Rules = RULES,
) -> str:
    """What becomes of a move that would start at that second."""
    found = breakers(history(*words), rules)
    now = NOW + timedelta(seconds=at)
    hold = found.against(source, kind, now, moves)
    if hold is None:
        return "trial" if found.concerning(source, kind, now) else "starts"
    return "held" if hold.open else "waits"


def in_flight(name: str, source: str, at: float, kind: ResolvedType = LIVE) -> PlannedMove:
    made = move(server(name=name, host=source), "cmp9")
    return replace(made, type=kind, decided_at=NOW + timedelta(seconds=at))


PAIR = ("1 error web-1 cmp1>cmp3", "2 error web-2 cmp1>cmp4")

CASES: dict[str, tuple[str, str]] = {
    "nothing has ended": (start(), "starts"),
    "one server in ERROR opens nothing": (start("1 error"), "starts"),
    "two servers in ERROR in a row": (start(*PAIR), "held"),
    "two of one target, too: both are broken": (start("1 error cmp1>cmp3", "2 error cmp1>cmp3"), "held"),
    "two for different reasons": (start("1 error:this", "2 error:that"), "held"),
    "a success between them ends the row": (start("1 error", "2 ok", "3 error"), "starts"),
    "a success of another type does not": (start("1 error live", "2 ok cold", "3 error live"), "held"),
    "an abort of a person between them does not": (start("1 error", "2 aborted", "3 error"), "held"),
    "from two hosts, one each": (start("1 error cmp1>cmp3", "2 error cmp2>cmp3"), "starts"),
    "another host's breaker": (start(*PAIR, source="cmp2"), "starts"),
    "a cold migration, too, though only live ones failed": (start(*PAIR, kind=COLD), "held"),
    "an evacuation never": (start(*PAIR, "3 error cmp2>cmp3", "4 error cmp2>cmp3", kind=EVACUATE), "starts"),
    "the same failure of two servers on two targets": (start("1 failed a cmp1>cmp3", "2 failed b cmp1>cmp4"), "held"),
    "the same failure of one server is its own": (start("1 failed a cmp1>cmp3", "2 failed a cmp1>cmp4"), "starts"),
    "the same failure on one target is the target's": (start("1 failed a cmp1>cmp3", "2 failed b cmp1>cmp3"), "starts"),
    "two failures that differ": (start("1 failed:this a cmp1>cmp3", "2 failed:that b cmp1>cmp4"), "starts"),
    "a failure, then one like the one before it": (
        start("1 failed:x a cmp1>cmp3", "2 failed:y b cmp1>cmp4", "3 failed:x c cmp1>cmp5"),
        "held",
    ),
    "aborts at the deadline open nothing": (start("1 aborted a cmp1>cmp3", "2 aborted b cmp1>cmp4"), "starts"),
    "an hour and a half between the two": (start("1 error", "5400 error", at=5401), "held"),
    "failures that are more than two days old": (start(*PAIR, at=3 * 86400), "starts"),
    "a failure two days after the other one": (start("1 error", "200000 error", at=200001), "starts"),
    "before its pause is over": (start(*PAIR, at=301), "held"),
    "after it one may try": (start(*PAIR, at=302), "trial"),
    "not while another one tries": (start(*PAIR, at=310, moves=[in_flight("x", "cmp1", 305)]), "held"),
    "what was in flight before is no trial": (start(*PAIR, at=310, moves=[in_flight("x", "cmp1", 1)]), "trial"),
    "nor what another host does": (start(*PAIR, at=310, moves=[in_flight("x", "cmp2", 305)]), "trial"),
    "nor an evacuation": (start(*PAIR, at=310, moves=[in_flight("x", "cmp1", 305, EVACUATE)]), "trial"),
    "a trial that succeeds closes it": (start(*PAIR, "320 ok", at=321), "starts"),
    "a success that had begun before does not": (start(*PAIR, "3 ok started=1", at=4), "held"),
    "a trial that fails doubles the pause": (start(*PAIR, "320 error", at=919), "held"),
    "and is followed by another one": (start(*PAIR, "320 error", at=920), "trial"),
    "the next one doubles it again": (start(*PAIR, "320 error", "921 failed:other", at=2120), "held"),
    "and then": (start(*PAIR, "320 error", "921 failed:other", at=2121), "trial"),
    "the pause ends at a day": (
        start(*PAIR, *(f"{n * 100000 + 320} error" for n in range(20)), at=19 * 100000 + 320 + 86400),
        "trial",
    ),
    "a failure of one in flight does not prolong the pause": (start(*PAIR, "100 error started=1", at=302), "trial"),
    "a cold trial lets the cold ones go": (start(*PAIR, "320 ok cold", at=321, kind=COLD), "starts"),
    "and not the live ones, of which one may try": (start(*PAIR, "320 ok cold", at=321), "trial"),
    "while cold ones move a live one may try": (
        start(*PAIR, "320 ok cold", at=321, moves=[in_flight("x", "cmp1", 320.5, COLD)]),
        "trial",
    ),
    "a cold one that fails after that holds them again": (
        start(*PAIR, "320 ok cold", "330 error cold", at=331, kind=COLD),
        "held",
    ),
    "after one ERROR nobody starts while one more is in flight": (
        start("1 error", moves=[in_flight("x", "cmp1", 0)]),
        "waits",
    ),
    "but for a host whose last one went well": (
        start("1 error", "2 ok", moves=[in_flight("x", "cmp1", 0), in_flight("y", "cmp1", 0)]),
        "starts",
    ),
    "after a failure that broke nothing all start, once it is known to have broken nothing": (
        start("1 failed", at=31, moves=[in_flight("x", "cmp1", 0)]),
        "starts",
    ),
    "before that its server may turn to ERROR": (start("1 failed", at=30, moves=[in_flight("x", "cmp1", 0)]), "waits"),
    "also after an abort at the deadline": (start("1 aborted", at=30, moves=[in_flight("x", "cmp1", 0)]), "waits"),
    "with nothing in flight the next one need not wait": (start("1 failed", at=30), "starts"),
    "after a refusal nothing can turn": (start("1 refused", at=2, moves=[in_flight("x", "cmp1", 0)]), "starts"),
    "that a person aborted two, which are in ERROR": (start("1 theirs", "2 theirs"), "starts"),
    "three failures over two hosts open the cloud's": (
        start("1 error cmp1>cmp3", "2 error cmp2>cmp3", "3 error cmp1>cmp3", source="cmp7"),
        "held",
    ),
    "three of one host do not": (start("1 error", "2 error", "3 error started=0", source="cmp7"), "starts"),
    "two of three do not": (start("1 error cmp1>cmp3", "2 error cmp2>cmp3", source="cmp7"), "starts"),
    "nor three that do not lie in the window": (
        start("1 error cmp1>cmp3", "2 error cmp2>cmp3", "3700 error cmp5>cmp3", at=3701, source="cmp7"),
        "starts",
    ),
    "nor with a success of any host between them": (
        start("1 error cmp1>cmp3", "2 error cmp2>cmp3", "3 ok cmp8>cmp3", "4 error cmp5>cmp3", source="cmp7"),
        "starts",
    ),
    "the cloud's lets one try, wherever from": (
        start("1 error cmp1>cmp3", "2 error cmp2>cmp3", "3 error cmp5>cmp3", at=400, source="cmp7"),
        "trial",
    ),
    "one in all": (
        start(
            "1 error cmp1>cmp3",
            "2 error cmp2>cmp3",
            "3 error cmp5>cmp3",
            at=400,
            source="cmp7",
            moves=[in_flight("x", "cmp8", 399)],
        ),
        "held",
    ),
    "one that succeeds closes it": (
        start("1 error cmp1>cmp3", "2 error cmp2>cmp3", "3 error cmp5>cmp3", "400 ok cmp8>cmp3", at=401, source="cmp7"),
        "starts",
    ),
    "but not those of hosts": (
        start(*PAIR, "3 error cmp2>cmp3", "400 ok cmp8>cmp3", at=401, moves=[in_flight("x", "cmp1", 400)]),
        "held",
    ),
    "a policy of one attempt": (start("1 failed", rules=replace(RULES, attempts=1)), "held"),
    "a policy of five": (start(*PAIR, "3 error", "4 error", rules=replace(RULES, attempts=5)), "starts"),
}


@pytest.mark.parametrize("case", CASES)
def test_I37_what_may_start(case: str) -> None:
    found, expected = CASES[case]
    assert found == expected


def test_its_message_names_the_cause_the_servers_and_the_way_out() -> None:
    found = breakers(history("1 error web-1 cmp1>cmp3", "2 error:timed_out web-2 cmp1>cmp4"))
    assert found.hosts["cmp1"].message() == (
        "the breaker of cmp1 is open: 2 attempts in a row from cmp1 failed, 2 of them left the server in ERROR; the "
        "last one, web-2 to cmp4: timed_out. One trial move may start at 2026-03-02T12:05:02Z; "
        "`kubectl ferry resume cmp1` lets all of them start at once"
    )


@pytest.mark.parametrize("seed", range(200))
def test_whatever_order_it_is_learnt_in_the_answer_is_the_same(seed: int) -> None:
    """A restart lists the objects in another order than the attempts ended."""
    dice = random.Random(seed)
    words = [
        f"{n} {dice.choice(['ok', 'error', 'failed', 'aborted'])} {dice.choice(['live', 'cold'])} "
        f"{dice.choice(['cmp1', 'cmp2'])}>{dice.choice(['cmp3', 'cmp4'])}"
        for n in sorted(dice.sample(range(2000), 12))
    ]
    attempts = history(*words)
    before = breakers(attempts)
    dice.shuffle(attempts)
    assert breakers(attempts) == before


@pytest.mark.parametrize("seed", range(200))
def test_I37_however_many_move_at_once_a_common_cause_breaks_few(seed: int) -> None:
    """Every move ends in ERROR: before anybody repairs it no more than those begin that may, and one each pause."""
    dice = random.Random(seed)
    parallel, attempts = dice.randint(1, 5), dice.randint(1, 4)
    rules = replace(RULES, attempts=attempts)
    ended: list[EndedAttempt] = []
    flying: list[tuple[float, PlannedMove]] = []
    waiting = [f"s{n}" for n in range(40)]
    for second in range(300):
        for due, one in [pair for pair in flying if pair[0] <= second]:
            flying.remove((due, one))
            began = (one.decided_at - NOW).total_seconds()
            ended += history(f"{second} error {one.source_host}>cmp9 {one.server_id} started={began}")
        now = NOW + timedelta(seconds=second)
        moves = [one for _, one in flying]
        if waiting and len(flying) < parallel and breakers(ended, rules).against("cmp1", LIVE, now, moves) is None:
            flying.append((second + dice.randint(1, 20), in_flight(waiting.pop(), "cmp1", second)))
    assert len(ended) <= max(attempts, parallel)
