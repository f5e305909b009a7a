"""Who leads: tables on Leases in memory and a clock that only the test moves."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.runtime.fakes import NOW, FakeKube, Record
from vmferry.runtime.elector import Elector, clock, identity
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.store import Body

DURATION, DEADLINE, RETRY = 15, 10, 2


class Place:
    """A Lease, and two candidates: `a` and `b`."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.record = Record()
        self.kube = FakeKube(self.record)
        self.begun: list[str] = []
        self.a, self.b = self.candidate("a"), self.candidate("b")

    def candidate(self, name: str) -> Elector:
        return Elector(
            self.kube,
            "vmferry-system",
            "vmferry",
            name,
            duration=DURATION,
            renew_deadline=DEADLINE,
            retry_period=RETRY,
            began=lambda: self.begun.append(name),
            clock=lambda: self.time,
            now=lambda: NOW + timedelta(seconds=self.time),
        )

    @property
    def leaders(self) -> str:
        return "".join(name for name, one in (("a", self.a), ("b", self.b)) if one.term() is not None)

    @property
    def spec(self) -> Body:
        found: Body = self.kube.leases["vmferry"]["spec"]
        return found

    def somebody_writes(self, **spec: Any) -> None:
        self.kube.version += 1
        metadata = {"name": "vmferry", "uid": "u", "resourceVersion": str(self.kube.version)}
        self.kube.leases["vmferry"] = {"metadata": metadata, "spec": {**self.spec, **spec}}

    async def both_step(self) -> None:
        await self.a.step()
        await self.b.step()

    def kubernetes_is_away(self) -> None:
        def away(_: str) -> None:
            raise KubeError("no answer")

        self.record.hook = away


async def a_leads(place: Place) -> None:
    await place.both_step()


async def renewed(place: Place) -> None:
    for _ in range(60):
        await place.both_step()
        place.time += RETRY


async def not_renewed_for_less_than_the_deadline(place: Place) -> None:
    await place.both_step()
    place.time += DEADLINE - 0.001


async def not_renewed_until_the_deadline(place: Place) -> None:
    await place.both_step()
    place.time += DEADLINE


async def frozen_and_woken_before_anybody_took_over(place: Place) -> None:
    await place.both_step()
    place.time += 3600


async def frozen_and_taken_over(place: Place) -> None:
    await place.both_step()
    place.time += DURATION
    await place.b.step()


async def silent_for_less_than_the_duration(place: Place) -> None:
    await place.both_step()
    place.time += DURATION - 0.001
    await place.b.step()


async def woken_finds_the_other(place: Place) -> None:
    await frozen_and_taken_over(place)
    await place.a.step()


async def a_renewal_that_began_before_the_freeze_comes_through_after_it(place: Place) -> None:
    """The record is ours again, but our time began when the request did."""
    await place.both_step()

    def freeze(step: str) -> None:
        if step == "lease vmferry":
            place.record.hook = lambda _: None
            place.time += DEADLINE

    place.record.hook = freeze
    await place.a.step()


async def somebody_else_writes_the_lease(place: Place) -> None:
    await place.both_step()
    place.somebody_writes(holderIdentity="c")
    await place.a.step()


async def kubernetes_is_away_for_a_while(place: Place) -> None:
    await place.both_step()
    place.kubernetes_is_away()
    for _ in range(4):
        place.time += RETRY
        with pytest.raises(KubeError):
            await place.a.step()


async def kubernetes_is_away_too_long(place: Place) -> None:
    await kubernetes_is_away_for_a_while(place)
    place.time += RETRY


async def released(place: Place) -> None:
    await place.both_step()
    await place.a.release()


async def released_and_taken(place: Place) -> None:
    await released(place)
    await place.b.step()


async def released_while_a_renewal_that_was_given_up_comes_through(place: Place) -> None:
    await place.both_step()

    def renew(step: str) -> None:
        if step == "lease vmferry":
            place.record.hook = lambda _: None
            place.somebody_writes(renewTime="2026-01-01T12:30:00.000000Z")

    place.record.hook = renew
    await place.a.release()
    await place.b.step()


async def released_by_the_standby(place: Place) -> None:
    await place.both_step()
    await place.b.release()


async def the_wall_clock_of_the_holder_is_wrong(place: Place) -> None:
    await place.b.step()
    place.somebody_writes(holderIdentity="b", renewTime="2000-01-01T00:00:00.000000Z")
    await place.a.step()


TABLE: dict[str, tuple[Callable[[Place], Awaitable[None]], str]] = {
    "the first one leads, the second one waits": (a_leads, "a"),
    "who renews leads on": (renewed, "a"),
    "it leads for all of its deadline": (not_renewed_for_less_than_the_deadline, "a"),
    "not renewed it leads no more, before it has asked anybody": (not_renewed_until_the_deadline, ""),
    "frozen or suspended and woken it leads no more": (frozen_and_woken_before_anybody_took_over, ""),
    "a leader who may be alive is not replaced": (silent_for_less_than_the_duration, ""),
    "the standby takes over after the duration": (frozen_and_taken_over, "b"),
    "the woken one becomes the standby": (woken_finds_the_other, "b"),
    "a late answer renews nothing": (a_renewal_that_began_before_the_freeze_comes_through_after_it, ""),
    "who finds that somebody else has written the Lease stops at once": (somebody_else_writes_the_lease, ""),
    "a Kubernetes that is away for a while is waited for": (kubernetes_is_away_for_a_while, "a"),
    "a Kubernetes that is away too long ends it": (kubernetes_is_away_too_long, ""),
    "released it leads no more": (released, ""),
    "released it is taken at once": (released_and_taken, "b"),
    "released it is taken at once, though a renewal was under way": (
        released_while_a_renewal_that_was_given_up_comes_through,
        "b",
    ),
    "a standby has nothing to release": (released_by_the_standby, "a"),
    "times that others write are not compared": (the_wall_clock_of_the_holder_is_wrong, "b"),
}


@pytest.mark.parametrize("sentence", TABLE)
async def test_I32_who_leads(sentence: str) -> None:
    story, leaders = TABLE[sentence]
    place = Place()
    await story(place)
    if sentence == "times that others write are not compared":
        assert place.a.term() is None
        assert place.a.holder == "b"
    else:
        assert place.leaders == leaders


class Freezing:
    """A client whose user is frozen in the middle of its n-th call, before it takes effect; the other one goes on."""

    def __init__(self, place: Place, other: Elector, call: int, seconds: int) -> None:
        self._place, self._other, self._call, self._seconds = place, other, call, seconds

    def __getattr__(self, name: str) -> Any:
        async def pass_on(*args: Any) -> Any:
            self._call -= 1
            for _ in range(self._seconds if self._call == 0 else 0):
                self._place.time += 1
                await self._other.step()
                assert len(self._place.leaders) < 2
            return await getattr(self._place.kube, name)(*args)

        return pass_on


@pytest.mark.parametrize("frozen", ["a", "b"])
@pytest.mark.parametrize("call", range(1, 8))
@pytest.mark.parametrize("seconds", [1, DEADLINE, DURATION, DURATION + RETRY, 100])
async def test_I32_never_two_wherever_one_freezes(frozen: str, call: int, seconds: int) -> None:
    place = Place()
    await place.both_step()
    one, other = (place.a, place.b) if frozen == "a" else (place.b, place.a)
    one._client = Freezing(place, other, call, seconds)
    for _ in range(10):
        await one.step()
        assert len(place.leaders) < 2
        place.time += RETRY
        await other.step()
        assert len(place.leaders) < 2


async def test_each_beginning_has_a_number_of_its_own_and_is_told() -> None:
    place = Place()
    await place.both_step()
    first = place.a.term()
    place.time += 2
    await place.a.step()
    assert place.a.term() == first, "renewed in time it is the same term"
    place.time += DEADLINE
    await place.a.step()
    assert place.a.term() not in (None, first), "meanwhile another one may have led"
    assert place.begun == ["a", "a"]


async def test_the_record_is_that_of_client_go() -> None:
    place = Place()
    await place.a.step()
    assert place.spec == {
        "holderIdentity": "a",
        "leaseDurationSeconds": DURATION,
        "acquireTime": "2026-01-01T12:16:40.000000Z",
        "renewTime": "2026-01-01T12:16:40.000000Z",
        "leaseTransitions": 0,
    }
    place.time += 2
    await place.a.step()
    assert (place.spec["acquireTime"], place.spec["renewTime"]) == (
        "2026-01-01T12:16:40.000000Z",
        "2026-01-01T12:16:42.000000Z",
    )
    await place.a.release()
    assert (place.spec["holderIdentity"], place.spec["leaseTransitions"]) == ("", 0)
    await place.b.step()
    assert (place.spec["holderIdentity"], place.spec["leaseTransitions"]) == ("b", 1)


async def test_a_renewal_is_one_request() -> None:
    place = Place()
    read: list[str] = []
    place.record.hook = lambda step: read.append(step) if step.startswith("get") else None
    for _ in range(5):
        await place.a.step()
        place.time += RETRY
    assert len(read) == 1


async def test_a_try_that_hangs_is_given_up_and_the_next_one_reads_first(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place()
    place.a = Elector(
        place.kube,
        "vmferry-system",
        "vmferry",
        "a",
        duration=3,
        renew_deadline=0.2,
        retry_period=0.01,
        began=lambda: None,
    )
    await place.a.step()
    enough, tries = asyncio.Event(), 0
    put = place.kube.put_lease

    async def hang_once(namespace: str, body: Body) -> Body:
        nonlocal tries
        tries += 1
        written = await put(namespace, body)
        if tries == 1:
            await asyncio.Event().wait()
        if tries == 3:
            enough.set()
        return written

    monkeypatch.setattr(place.kube, "put_lease", hang_once)
    running = asyncio.create_task(place.a.run())
    try:
        async with asyncio.timeout(240):
            await enough.wait()
            assert place.a.term() is not None, "its own write is no conflict"
    finally:
        running.cancel()


def test_the_term_may_be_asked_from_any_thread() -> None:
    place = Place()
    asyncio.run(place.a.step())
    found: list[int | None] = []
    asked = threading.Thread(target=lambda: found.append(place.a.term()))
    asked.start()
    asked.join()
    assert found == [1]


def test_the_clock_counts_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def told(which: int) -> float:
        asked.append(which)
        return 5.0

    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "clock_gettime", told)
    assert (clock(), asked) == (5.0, [7])
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert clock() > 0
    assert asked == [7]


def test_no_two_candidates_have_the_same_name() -> None:
    assert identity() != identity()
