"""A pass that creates and deletes VMMigrations and keeps a Lease: its order, and what survives a crash or a failure."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from testbed.build import host
from tests.runtime.fakes import HOST, KEY, NOW, CrashError, child
from tests.runtime.workbench import Bench
from vmferry.cloud.actions import DisableService
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.reads import ReadHost, TakeHostLease
from vmferry.reconcilers.world import World
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime import reconcile
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import InvalidError, KubeError
from vmferry.runtime.store import Body

LEASE = "lease vmferry-host-host-a"
#: the side effects of the first pass, when nothing disturbs it
UNDISTURBED = [
    LEASE,
    "finalizers 1",
    "status Checking",
    "act DisableService",
    "status Draining",
    "event Started",
    "create one",
    "create two",
]


def key(name: str) -> Key:
    return Key("VMMigration", "vmferry-system", name)


def begun(enabled: bool = True) -> Bench:
    bench = Bench()
    bench.kube.add(HOST, spec={"host": "host-a", "enabled": enabled})
    bench.see()
    return bench


async def looks(bench: Bench, number: int = 4) -> None:
    for _ in range(number):
        bench.see()
        await bench.look(HOST)


def children(bench: Bench) -> list[str]:
    return sorted(one.name for one in bench.kube.objects if one.kind == "VMMigration")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "OUTCOME_PAUSE", 0.0)


async def test_the_order_of_a_pass() -> None:
    bench = begun()
    await looks(bench)
    assert bench.record.steps == UNDISTURBED


@pytest.mark.parametrize("at", range(len(UNDISTURBED)), ids=[f"before {step}" for step in UNDISTURBED])
async def test_R36_a_crash_between_any_two_steps_neither_repeats_nor_loses_a_child(at: int) -> None:
    bench = begun()
    bench.record.crash_at = at
    with pytest.raises(CrashError):
        await looks(bench)
    assert bench.record.steps == UNDISTURBED[:at]
    bench.record.crash_at = None
    bench.restart()
    await looks(bench)
    assert children(bench) == ["one", "two"]
    assert [bench.record.steps.count(f"create {name}") for name in ("one", "two")] == [1, 1]
    written = [step for step in bench.record.steps if step.startswith(("status", "create"))]
    assert written.index("create one") > written.index("status Checking"), "created without a written intent"


async def test_what_is_created_is_known_at_once_and_looked_at() -> None:
    bench = begun()
    await bench.look(HOST)  # without the watch's news
    (uid,) = {bench.metadata(HOST)["uid"]}
    assert [one.name for one in bench.store.owned_by(uid)] == ["one", "two"]
    assert {bench.queue.poll(), bench.queue.poll()} == {key("one"), key("two")}
    await bench.look(HOST)
    assert bench.record.steps == UNDISTURBED


async def test_a_child_goes_with_its_owner_and_carries_what_it_is_for() -> None:
    bench = begun()
    await looks(bench)
    body = bench.kube.objects[key("one")]
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "vmferry.dev/v1alpha1",
            "kind": "HostMaintenance",
            "name": "host-a",
            "uid": bench.metadata(HOST)["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert body["metadata"]["labels"] == dict(child("one").labels)
    assert body["spec"] == {
        "server": {"id": child("one").spec.server.id},
        "type": "Live",
        "target": {"host": "host-b"},
    }


async def test_an_answer_that_was_lost_is_found_and_no_second_child_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = begun()
    create = bench.kube.create

    async def lose_the_answer(*arguments: Any) -> Body:
        await create(*arguments)
        raise KubeError("no answer")

    monkeypatch.setattr(bench.kube, "create", lose_the_answer)
    with pytest.raises(KubeError):
        await bench.look(HOST)
    assert children(bench) == ["one"]
    monkeypatch.setattr(bench.kube, "create", create)
    await bench.look(HOST)  # the watch is late: the store does not know it yet
    assert bench.record.steps[-2:] == ["create one", "create two"]
    assert len(bench.store.owned_by(bench.metadata(HOST)["uid"])) == 2


async def test_somebody_elses_object_of_that_name_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    bench = begun()
    body = bench.kube.add(key("one"))
    await looks(bench, 2)
    assert bench.kube.objects[key("one")] == body
    assert "the name vmferry-system/one belongs to a VMMigration that this HostMaintenance has not" in caplog.text
    assert key("two") in bench.kube.objects
    assert bench.queue.scheduled


def forbidden(words: str) -> KubeError:
    error = KubeError(words)
    error.code = 403
    return error


FAILURES: dict[str, tuple[KubeError, list[str]]] = {
    "no answer: the rest is tried again later": (KubeError("no answer"), []),
    "an invalid one does not hold up the others": (InvalidError("the schema says no"), ["two"]),
    "nor does one that is forbidden": (forbidden("exceeded quota"), ["two"]),
}


@pytest.mark.parametrize(("error", "created"), FAILURES.values(), ids=FAILURES.keys())
async def test_a_failed_creation_loses_no_other_and_a_refusal_is_known_to_the_next_look(
    error: KubeError, created: list[str]
) -> None:
    bench = begun()

    def refuse(step: str) -> None:
        if step == "create one":
            raise error

    bench.record.hook = refuse
    with nullcontext() if error.refused else pytest.raises(KubeError):
        await bench.look(HOST)
    assert [one.name for one in bench.store.owned_by(bench.metadata(HOST)["uid"])] == created
    bench.record.hook = lambda _: None
    await bench.look(HOST)
    known = [(one.subject, one.message, one.taken) for one in bench.maintenance.worlds[-1].refusals]
    assert known == ([("one", str(error), False)] if error.refused else [])
    assert children(bench) == ["one", "two"]
    await bench.look(HOST)
    assert bench.maintenance.worlds[-1].refusals == (), "what was created is not refused any more"
    assert bench.record.steps.count("act DisableService") == 1


async def test_children_are_deleted_before_others_are_created() -> None:
    bench = begun()
    await looks(bench)
    bench.maintenance.unwanted, bench.maintenance.wanted = ("one",), ("two", "three")
    await bench.look(HOST)
    assert bench.record.steps[len(UNDISTURBED) :] == ["delete one", "create three"]
    assert [one.name for one in bench.store.owned_by(bench.metadata(HOST)["uid"])] == ["three", "two"]


async def test_a_child_that_moves_is_deleted_once_and_seen_to_its_end() -> None:
    bench = begun()
    await looks(bench)
    bench.kube.change(key("one"), finalizers=["vmferry.dev/migration"])
    bench.maintenance.unwanted = ("one",)
    await looks(bench)
    assert bench.record.steps.count("delete one") == 1
    assert bench.metadata(key("one"))["deletionTimestamp"]


async def test_a_child_that_is_gone_already_is_deleted_all_the_same() -> None:
    bench = begun()
    await looks(bench)
    bench.maintenance.unwanted = bench.maintenance.wanted
    bench.maintenance.wanted = ()
    del bench.kube.objects[key("one")]
    await bench.look(HOST)
    assert children(bench) == []
    assert bench.store.owned_by(bench.metadata(HOST)["uid"]) == ()


async def test_a_successor_of_a_child_is_not_deleted_in_its_place() -> None:
    bench = begun()
    await looks(bench)
    bench.maintenance.unwanted = ("one",)
    bench.kube.change(key("one"), uid="another", ownerReferences=[])
    await bench.look(HOST)
    assert bench.metadata(key("one"))["uid"] == "another"
    assert [one.name for one in bench.store.owned_by(bench.metadata(HOST)["uid"])] == ["two"]


async def test_I32_nothing_is_taken_created_or_deleted_while_another_operator_leads() -> None:
    bench = begun()
    bench.term = None
    await looks(bench)
    assert bench.record.steps == []
    bench.term = 2
    bench.record.hook = lambda step: setattr(bench, "term", None if step.startswith("event") else 2)
    await bench.look(HOST)
    assert bench.record.steps == UNDISTURBED[:-2], "another one leads since before the children"


async def test_the_lease_is_given_back_after_the_status_and_before_the_finalizer() -> None:
    bench = begun()
    await looks(bench)
    bench.kube.objects[HOST]["spec"]["enabled"] = False
    bench.kube.change(HOST, generation=2)
    await looks(bench)
    assert bench.record.steps[len(UNDISTURBED) :] == ["status Released", f"{LEASE} given back", "finalizers 0"]
    assert bench.kube.leases == {}


async def test_I32_without_the_lease_nothing_is_touched() -> None:
    bench = begun()
    record = {"holderIdentity": "somebody", "leaseDurationSeconds": 60}
    bench.kube.leases["vmferry-host-host-a"] = {
        "metadata": {"name": "vmferry-host-host-a", "uid": "u", "resourceVersion": "1"},
        "spec": record,
    }
    await looks(bench)
    assert bench.record.steps == ["status Blocked"]
    lease = bench.maintenance.worlds[-1].answer(TakeHostLease)
    assert lease is not None and lease.holder == "somebody"
    assert bench.maintenance.worlds[-1].answer(ReadHost) is not None


async def test_I18_what_any_maintenance_claims_reaches_every_plan() -> None:
    worlds: list[World] = []

    def plan(obj: VMMigration, world: World, *_: Any) -> Decision[Any]:
        worlds.append(world)
        return Decision(obj.status)

    bench = Bench(plan)
    bench.kube.add()
    bench.kube.add(HOST, spec={"host": "host-a"})
    other = Key("HostMaintenance", "", "b")
    bench.kube.add(other, spec={"host": "host-b", "preflightOnly": True})
    hosts = {name: host(name) for name in ("host-a", "host-b")}
    bench.cloud.snapshot = replace(bench.cloud.snapshot, hosts=hosts)
    bench.see()
    await bench.look(KEY)
    assert worlds[-1].in_maintenance == {"host-a"}
    assert {claim.name for claim in worlds[-1].claims} == {"host-a", "b"}
    assert worlds[-1].owned == ()
    await bench.look(HOST)
    assert bench.maintenance.worlds[-1].in_maintenance == {"host-a"}, "its own counts too"
    assert [claim.name for claim in bench.maintenance.worlds[-1].claims] == ["b"]
    bench.kube.objects[HOST]["spec"]["enabled"] = False
    bench.kube.change(HOST)
    bench.see()
    await bench.look(KEY)
    assert worlds[-1].in_maintenance == frozenset(), "the toggle is known at once"


async def test_an_action_of_a_maintenance_is_one_of_its_host() -> None:
    bench = begun()
    await looks(bench)
    assert bench.cloud.acted == [DisableService("7", "host-a", "maintenance")]
    assert bench.status(HOST)["admittedAt"] == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_I26_a_pass_under_way_has_its_place_before_its_status_says_so() -> None:
    bench = begun()
    other = Key("HostMaintenance", "", "host-b")
    bench.kube.add(other, spec={"host": "host-b"})
    bench.see()
    seen: list[bool] = []

    def look_in_between(step: str) -> None:
        if step.startswith("finalizers"):
            (claim,) = bench.store.claims_except(other)
            seen.append(claim.holds)

    bench.record.hook = look_in_between
    await bench.look(HOST)
    assert seen == [True]
    bench.record.hook = lambda _: None
    await bench.look(HOST)
    assert [claim.holds for claim in bench.store.claims_except(other)] == [True]
