"""A few of `make crash`'s points, the same ones each time; and that a harm is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

import pytest

from testbed.build import ident
from testbed.crash import kill
from testbed.crash.kill import Harm, Point, points, survive, undisturbed
from testbed.crash.paths import PATHS, VM
from testbed.lifecycle.drains import Drain
from vmferry.cloud.actions import LiveMigrate


@pytest.mark.slow
@pytest.mark.parametrize("name", PATHS)
def test_I2_I3_I34_killed_at_some_points_it_ends_as_if_nothing_had_been(name: str) -> None:
    path = PATHS[name]
    sound = undisturbed(path)
    for point in Random(name).sample(list(points(sound)), 8):
        harm = survive(path, sound, point)
        assert harm is None, f"killed {point}: {harm[0]}: {harm[1]}"


@pytest.mark.parametrize("what", ["stop", "start"])
def test_I34_a_stop_or_start_that_was_never_asked_for_is_asked_for_after_a_long_absence(what: str) -> None:
    path = PATHS["cold with stop and start"]
    sound = undisturbed(path)
    effect = {"stop": 2, "start": 10}[what]
    assert survive(path, sound, Point(effect, True, timedelta(minutes=10))) is None


# ---- that it would be seen


def spoilt(monkeypatch: pytest.MonkeyPatch, at_the_end: Any) -> Harm | None:
    path = PATHS["live"]
    sound = undisturbed(path)
    end_of = kill.end_of

    def end(d: Drain) -> Any:
        at_the_end(d)
        return end_of(d)

    monkeypatch.setattr(kill, "end_of", end)
    harm = survive(path, sound, Point(1, False, timedelta(0)))
    return harm[0] if harm else None


def change(d: Drain, **fields: Any) -> None:
    d.cloud.servers[ident(VM)] = replace(d.cloud.servers[ident(VM)], **fields)


@pytest.mark.parametrize(
    ("what", "do", "harm"),
    [
        ("nothing", lambda d: None, None),
        ("a second move", lambda d: d.cloud.moved.append(d.cloud.moved[0]), Harm.MOVED_TWICE),
        ("a server in ERROR", lambda d: change(d, vm_state="error"), Harm.LOST),
        ("a server on no host", lambda d: change(d, host=None), Harm.LOST),
        ("a server that was left powered off", lambda d: change(d, vm_state="stopped"), Harm.LOST),
        ("a finalizer", lambda d: d.migrations["m"]["metadata"].update(finalizers=["x"]), Harm.LOST),
        ("another phase", lambda d: d.migrations["m"]["status"].update(phase="Failed"), Harm.STUCK),
        ("a host left disabled", lambda d: d.cloud.set_service("cmp3", enabled=False), Harm.STUCK),
    ],
)
def test_each_harm_is_seen(monkeypatch: pytest.MonkeyPatch, what: str, do: Any, harm: Harm | None) -> None:
    assert spoilt(monkeypatch, do) == harm, what


def test_a_move_that_is_asked_for_while_one_is_open_is_seen() -> None:
    d = PATHS["live"].make()
    overlaps = kill.watch(d)
    for host in ("cmp2", "cmp3"):
        d.cloud.act(LiveMigrate(ident(VM), host))
    assert len(overlaps) == 1
