"""The Lease of a host: who gets it, when it is written, and when it counts as expired."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.runtime.fakes import NOW, FakeKube, Record
from vmferry.runtime.host_lease import DURATION, HOST, HostLeases, lease_name
from vmferry.runtime.kube_api import KubeError
from vmferry.runtime.store import Body

NAME = "vmferry-host-a"
OURS = "HostMaintenance/a/uid-1"


class Place:
    """Leases in memory and a clock that only the test moves."""

    def __init__(self) -> None:
        self.time = 0.0
        self.record = Record()
        self.kube = FakeKube(self.record)
        self.restart()

    def restart(self) -> None:
        self.leases = HostLeases(
            self.kube, "vmferry-system", clock=lambda: self.time, now=lambda: NOW + timedelta(seconds=self.time)
        )

    async def take(self, holder: str = OURS) -> str | None:
        return (await self.leases.take("a", holder)).holder

    def somebody_writes(self, holder: str | None, **spec: Any) -> None:
        self.kube.version += 1
        metadata = {"name": NAME, "uid": "u", "resourceVersion": str(self.kube.version)}
        self.kube.leases[NAME] = {"metadata": metadata, "spec": {"holderIdentity": holder, **spec}}

    @property
    def spec(self) -> Body:
        found: Body = self.kube.leases[NAME]["spec"]
        return found

    @property
    def writes(self) -> int:
        return self.record.steps.count(f"lease {NAME}")


async def test_a_free_lease_is_taken() -> None:
    place = Place()
    assert await place.take() is None
    assert place.spec == {
        "holderIdentity": OURS,
        "leaseDurationSeconds": 120,
        "acquireTime": "2026-01-01T12:00:00.000000Z",
        "renewTime": "2026-01-01T12:00:00.000000Z",
        "leaseTransitions": 0,
    }
    assert place.kube.leases[NAME]["metadata"]["annotations"] == {HOST: "a"}


async def test_it_is_renewed_only_when_a_third_of_its_time_is_over() -> None:
    place = Place()
    for second in range(0, 100, 10):
        place.time = second
        assert await place.take() is None
    assert place.writes == 3  # at 0, 40 and 80
    assert place.spec["renewTime"] == "2026-01-01T12:01:20.000000Z"
    assert place.spec["acquireTime"] == "2026-01-01T12:00:00.000000Z"
    assert place.spec["leaseTransitions"] == 0


async def test_a_new_process_of_the_same_resource_renews_at_once() -> None:
    place = Place()
    await place.take()
    place.time = 1
    place.restart()
    assert await place.take() is None
    assert place.writes == 2


async def test_a_live_lease_of_another_is_never_taken() -> None:
    place = Place()
    for second in range(0, 1000, 10):
        place.time = second
        place.somebody_writes("other", renewTime=str(second), leaseDurationSeconds=15)
        assert await place.take() == "other"
    assert place.writes == 0


async def test_an_expired_one_is_taken_by_what_was_seen_here_not_by_its_times() -> None:
    place = Place()
    place.somebody_writes("other", renewTime="2000-01-01T00:00:00.000000Z", leaseDurationSeconds=60)
    assert await place.take() == "other", "its time may be that of a clock that is slow"
    place.time = 59
    assert await place.take() == "other"
    place.time = 60
    assert await place.take() is None
    assert place.spec["holderIdentity"] == OURS
    assert place.spec["leaseTransitions"] == 1


async def test_a_record_without_a_duration_holds_as_long_as_ours() -> None:
    place = Place()
    place.somebody_writes("other")
    assert await place.take() == "other"
    place.time = DURATION - 1
    assert await place.take() == "other"
    place.time = DURATION
    assert await place.take() is None


@pytest.mark.parametrize("holder", [None, ""])
async def test_one_that_was_given_back_by_client_go_is_free(holder: str | None) -> None:
    place = Place()
    place.somebody_writes(holder, leaseDurationSeconds=1, leaseTransitions=4)
    assert await place.take() is None
    assert place.spec["leaseTransitions"] == 5


@pytest.mark.parametrize("there", [False, True], ids=["it was created meanwhile", "it was changed meanwhile"])
async def test_who_was_faster_has_it(there: bool) -> None:
    place = Place()
    if there:
        place.somebody_writes(None)

    def overtake(step: str) -> None:
        if step == f"lease {NAME}":
            place.record.hook = lambda _: None
            place.somebody_writes("faster", leaseDurationSeconds=15)

    place.record.hook = overtake
    assert await place.take() == "faster"
    assert place.spec["holderIdentity"] == "faster"


async def test_two_resources_of_one_host_never_both_have_it() -> None:
    place = Place()
    assert await place.take() is None
    assert await place.take("HostMaintenance/b/uid-2") == OURS


async def test_it_is_given_back_and_free_at_once() -> None:
    place = Place()
    await place.take()
    await place.leases.give_back("a", OURS)
    assert place.kube.leases == {}
    assert await place.take("other") is None
    await place.leases.give_back("a", OURS)
    assert place.spec["holderIdentity"] == "other", "it is not ours to give"
    await place.leases.give_back("b", OURS)


async def test_one_that_changes_while_it_is_given_back_stays() -> None:
    place = Place()
    await place.take()
    place.record.hook = lambda step: place.somebody_writes("other") if step.endswith("back") else None
    await place.leases.give_back("a", OURS)
    assert place.spec["holderIdentity"] == "other"


@pytest.mark.parametrize("step", ["get lease", "lease"])
async def test_not_reaching_kubernetes_is_no_answer(step: str) -> None:
    place = Place()

    def fail(name: str) -> None:
        if name == f"{step} {NAME}":
            raise KubeError("no answer")

    place.record.hook = fail
    with pytest.raises(KubeError):
        await place.take()


NAMES: dict[str, str] = {
    "a": "vmferry-host-a",
    "cmp-1.example.org": "vmferry-host-cmp-1.example.org",
    "CMP_1": r"vmferry-host-cmp-1-[0-9a-f]{10}",
    "cmp-1-": r"vmferry-host-cmp-1-[0-9a-f]{10}",
    "a..b": r"vmferry-host-a-b-[0-9a-f]{10}",
    "_": r"vmferry-host-[0-9a-f]{10}",
    "x" * 255: r"vmferry-host-x{50}-[0-9a-f]{10}",
}


def test_names_are_valid_and_no_two_hosts_share_one() -> None:
    subdomain = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
    for host, pattern in NAMES.items():
        assert re.fullmatch(pattern, lease_name(host)), host
        assert subdomain.fullmatch(lease_name(host))
    assert len({lease_name(host) for host in ("cmp_1", "CMP-1", "cmp.1", "cmp-1", "x" * 254, "x" * 255)}) == 6
