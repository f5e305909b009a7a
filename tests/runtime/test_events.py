"""How often something is told."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.runtime.fakes import KEY, FakeKube, Record
from vmferry.reconcilers.decision import Event
from vmferry.runtime.events import MOST, SPAN, Recent, post


def test_the_same_words_are_told_of_an_object_once_in_a_while() -> None:
    now = [0.0]
    recent = Recent(clock=lambda: now[0])
    event = Event("Stopped", "the storage is on fire")
    assert recent.judge("u", event) == "Told"
    now[0] = SPAN - 1
    assert recent.judge("u", event) == "Repeated"
    assert recent.judge("u", Event("Stopped", "another reason")) == "Told"
    assert recent.judge("another", event) == "Told"
    now[0] = SPAN
    assert recent.judge("u", event) == "Told", "it was silent long enough"


def test_a_storm_of_different_words_is_held_back_and_ends() -> None:
    now = [0.0]
    recent = Recent(clock=lambda: now[0])
    told = [recent.judge("u", Event("Conflict", f"{number} is wrong")) for number in range(MOST + 20)]
    assert told == ["Told"] * MOST + ["Dropped"] * 20
    assert recent.judge("another", Event("Conflict", "x")) == "Told", "nobody else is held back"
    now[0] = SPAN
    assert recent.judge("u", Event("Conflict", "later")) == "Told"
    assert len(recent._told) == len(recent._numbers) == 1, "what is past is forgotten"


async def test_what_is_repeated_asks_nothing_of_kubernetes() -> None:
    kube, recent = FakeKube(Record()), Recent()
    reference = {"apiVersion": "v1", "kind": KEY.kind, "name": KEY.name, "uid": "u"}
    for version in ("1", "2", "3"):
        await post(kube, recent, KEY, reference, version, Event("Queued", "waits"), datetime(2026, 1, 1, tzinfo=UTC))
    assert [event["reason"] for event in kube.events] == ["Queued"]
