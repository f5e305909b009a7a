"""Kinds that are not the operator's own: an Upgrade that owns Steps, which move no servers. The runtime serves them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.runtime.workbench import Bench
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision, Event
from vmferry.reconcilers.kind import Kind
from vmferry.reconcilers.owned import CreateObject, Owned
from vmferry.reconcilers.reads import ReadDeletion
from vmferry.reconcilers.telemetry import Telemetry
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION, Model, Resource
from vmferry.resources.catalog import ResourceType
from vmferry.resources.documented import ConditionReason
from vmferry.runtime.key import Key


class UpgradeSpec(Model):
    hosts: list[str] = []


class StepSpec(Model):
    host: str


class Status(Model):
    phase: str | None = None


class Upgrade(Resource):
    KIND = "Upgrade"

    spec: UpgradeSpec
    status: Status = Status()


class Step(Resource):
    KIND = "Step"

    spec: StepSpec
    status: Status = Status()


def resource_type(model: type[Resource], plural: str, *, namespaced: bool) -> ResourceType[Any]:
    return ResourceType(
        model=model,
        plural=plural,
        short_name=plural[:2],
        namespaced=namespaced,
        finalizer=f"vmferry.dev/{plural}",
        description="Made up.",
        columns=(),
        immutable={},
    )


def step_of(obj: Step) -> Owned:
    metadata = obj.metadata
    return Owned(
        kind=obj.KIND,
        namespace=metadata.namespace,
        name=metadata.name,
        uid=metadata.uid,
        resource_version=metadata.resource_version,
        phase=obj.status.phase,
        completed_at=None,
        deleting=metadata.deletion_timestamp is not None,
    )


class Planning:
    """Upgrades own a step for each host of their spec, and no others."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.worlds: list[World] = []

    def upgrade(self, obj: Upgrade, world: World, now: datetime, policy: Policy) -> Decision[Status]:
        self.worlds.append(world)
        there = {owned.name: owned for owned in world.owned}
        wanted = {f"{obj.metadata.name}-{host}": host for host in obj.spec.hosts}
        return Decision(
            Status(phase="Refused" if world.refusals else "Running"),
            creates=tuple(
                CreateObject(Step.KIND, self.namespace, name, StepSpec(host=host))
                for name, host in wanted.items()
                if name not in there
            ),
            deletes=tuple(owned for name, owned in there.items() if name not in wanted),
            requeue_after=timedelta(seconds=5),
        )

    def step(self, obj: Step, world: World, now: datetime, policy: Policy) -> Decision[Status]:
        self.worlds.append(world)
        if obj.metadata.deletion_timestamp is not None and world.answer(ReadDeletion) is None:
            return Decision(obj.status, needs=ReadDeletion())
        return Decision(Status(phase="Done"), finalizer=obj.metadata.deletion_timestamp is None)


def row(type_: ResourceType[Any], plan: Any, **facets: Any) -> Kind[Any, Status]:
    def record_outcome(obj: Any, *_: Any) -> tuple[Status, tuple[Event, ...]]:
        return obj.status, ()

    return Kind(
        type=type_,
        reasons=ConditionReason,
        conditions={},
        events={},
        plan=plan,
        record_outcome=record_outcome,
        finished=lambda obj: False,
        describe=lambda obj: {},
        telemetry=lambda before, after: Telemetry(()),
        **facets,
    )


#: whether upgrades and steps are namespaced
SCOPES = {"both of the cluster's scope": "", "both in a namespace": "team"}


@pytest.fixture(params=list(SCOPES.values()), ids=list(SCOPES))
def site(request: pytest.FixtureRequest) -> Site:
    return Site(request.param)


class Site:
    """A cluster with one Upgrade of two hosts."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.planning = Planning(namespace)
        upgrades = resource_type(Upgrade, "upgrades", namespaced=bool(namespace))
        steps = resource_type(Step, "steps", namespaced=bool(namespace))
        rows = row(upgrades, self.planning.upgrade), row(steps, self.planning.step, owned=step_of)
        self.bench = Bench(kinds={each.name: each for each in rows})
        self.upgrade = Key(Upgrade.KIND, namespace, "noble")
        self.bench.kube.add(self.upgrade, spec={"hosts": ["a", "b"]})
        self.bench.see()

    def key(self, step: str) -> Key:
        return Key(Step.KIND, self.namespace, step)

    async def reconcile(self, key: Key | None = None) -> World:
        self.bench.see()
        await self.bench.look(key or self.upgrade)
        return self.planning.worlds[-1]

    def steps(self) -> list[str]:
        return sorted(key.name for key in self.bench.kube.objects if key.kind == Step.KIND)


async def test_owned_objects_are_created_and_found(site: Site) -> None:
    await site.reconcile()
    assert site.steps() == ["noble-a", "noble-b"]
    body = site.bench.kube.objects[site.key("noble-a")]
    owner = site.bench.metadata(site.upgrade)
    assert (body["kind"], body["spec"]) == ("Step", {"host": "a"})
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": API_VERSION,
            "kind": "Upgrade",
            "name": "noble",
            "uid": owner["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]
    assert [owned.name for owned in (await site.reconcile()).owned] == ["noble-a", "noble-b"]
    assert site.steps() == ["noble-a", "noble-b"], "created once"
    world = await site.reconcile(site.key("noble-a"))
    assert world.owner is not None and (world.owner.name, world.owner.uid) == ("noble", owner["uid"])


async def test_a_change_of_an_owned_object_wakes_its_owner(site: Site) -> None:
    await site.reconcile()
    site.bench.see()
    site.bench.queue.forget(site.upgrade)
    assert site.bench.queue.scheduled == 0
    await site.reconcile(site.key("noble-a"))
    assert site.bench.queue.scheduled == 1, "its phase is Done now, for which its owner may wait"


async def test_a_name_that_another_object_has_is_refused(site: Site) -> None:
    site.bench.kube.add(site.key("noble-a"), spec={"host": "a"})
    await site.reconcile()
    world = await site.reconcile()
    assert [owned.name for owned in world.owned] == ["noble-b"]
    (refusal,) = world.refusals
    assert refusal.subject == "noble-a"
    assert "belongs to a Step that this Upgrade has not created" in refusal.message


async def test_owned_objects_are_deleted(site: Site) -> None:
    await site.reconcile()
    site.bench.kube.objects[site.upgrade]["spec"] = {"hosts": ["b"]}
    site.bench.kube.change(site.upgrade)
    await site.reconcile()
    assert site.steps() == ["noble-b"]
    assert [owned.name for owned in (await site.reconcile()).owned] == ["noble-b"]


async def test_who_deletes_an_owned_object_is_read(site: Site) -> None:
    await site.reconcile()
    await site.reconcile(site.key("noble-a"))
    site.bench.kube.change(site.key("noble-a"), deletionTimestamp="2026-01-01T12:00:00Z")
    world = await site.reconcile(site.key("noble-a"))
    deletion = world.answer(ReadDeletion)
    assert deletion is not None and deletion.owner is not None
    assert (deletion.owner.name, deletion.owner.deleting) == ("noble", False)
