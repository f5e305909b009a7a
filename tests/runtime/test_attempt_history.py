"""The history of attempts (I37): kept up with each object, it answers as one that is built anew."""

from __future__ import annotations

import logging
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from testbed.build import NOW
from tests.planning.test_breaker import RULES, history
from vmferry.planning.breaker import EndedAttempt
from vmferry.reconcilers.breaker_resume import Marks
from vmferry.runtime.attempt_history import AttemptHistory
from vmferry.runtime.key import Key


def key(name: str) -> Key:
    return Key("VMMigration", "default", name)


def of(*words: str) -> AttemptHistory:
    made = AttemptHistory(RULES)
    for one in history(*words):
        made.put(key(one.migration), (one,))
    return made


@pytest.mark.parametrize("seed", range(100))
def test_I37_whatever_came_and_went_the_answer_is_that_of_a_new_leader(seed: int) -> None:
    dice = random.Random(seed)
    kept, marks = AttemptHistory(RULES), Marks()
    objects: dict[Key, tuple[EndedAttempt, ...]] = {}
    for step in range(40):
        name = key(f"m-{dice.randint(1, 8)}")
        attempts: tuple[EndedAttempt, ...] = ()
        if dice.random() < 0.8:
            result = dice.choice(["ok", "error", "error", "failed", "aborted"])
            path = f"{dice.choice(['cmp1', 'cmp2', 'cmp3'])}>{dice.choice(['cmp7', 'cmp8'])}"
            kind = dice.choice(["live", "cold"])
            (newest,) = history(f"{step * 40} {result} {kind} {path} {name.name}")
            attempts = (*objects.get(name, ())[-3:], replace(newest, migration=name.name, number=step + 1))
        objects[name] = attempts
        kept.put(name, attempts)
        if dice.random() < 0.1:
            marks = Marks({dice.choice(["cmp1", "cloud"]): NOW + timedelta(seconds=step * 40 - 20)})
            kept.set_marks(marks)
        if dice.random() < 0.5:
            kept.breakers()
        fresh = AttemptHistory(RULES)
        fresh.set_marks(marks)
        for other, found in dice.sample(sorted(objects.items()), len(objects)):
            fresh.put(other, found)
        assert kept.breakers() == fresh.breakers()
        assert kept.broken == fresh.broken


def test_a_server_that_left_again_is_broken_no_more() -> None:
    made = of("1 error web-1")
    (broken,) = made.broken.values()
    assert broken.by == "VMMigration default/m-1" and broken.message == "it broke"
    made.put(key("later"), tuple(history("9 ok web-1")))
    assert not made.broken


def test_opening_and_closing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = of("1 error", "2 error")
    made.breakers()
    made.breakers()
    made.set_marks(Marks({"cmp1": NOW + timedelta(seconds=3)}))
    made.breakers()
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2 and lines[0].startswith("the breaker of cmp1 is open: 2 attempts")
    assert lines[1] == "the breaker of cmp1 is closed"


def test_nothing_is_judged_anew_until_something_changes() -> None:
    made = of("1 error", "2 error", "3 ok cmp2>cmp3")
    assert made.breakers() is made.breakers()
