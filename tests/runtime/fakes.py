"""A Kubernetes and a cloud in memory, just enough of them for a pass, with a common record of their side effects."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from vmferry.cloud.actions import Accepted, Action, DisableService, LiveMigrate, NotSent, Outcome, Refused, Unanswered
from vmferry.cloud.model import Detail, HostLook, Part, Progress, ResolvedType, Snapshot
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.decision import Decision, Event
from vmferry.reconcilers.owned import CreateObject
from vmferry.reconcilers.owned_migrations import Purpose, labels
from vmferry.reconcilers.reads import ReadHost, ReadServer, TakeHostLease
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION
from vmferry.resources.catalog import ResourceType
from vmferry.resources.hostmaintenance import HostMaintenance, HostMaintenanceStatus
from vmferry.resources.vmmigration import (
    Attempt,
    ServerRef,
    ServerView,
    TargetRef,
    VMMigration,
    VMMigrationSpec,
    VMMigrationStatus,
)
from vmferry.resources.words import MaintenancePhase, MigrationType, Phase
from vmferry.runtime.key import Key
from vmferry.runtime.kube_api import AlreadyExistsError, ConflictError, KubeError, NotFoundError
from vmferry.runtime.store import Body

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SERVER = "11111111-1111-4111-8111-111111111111"
KEY = Key("VMMigration", "team", "web")


class CrashError(BaseException):
    """The process dies here; not an Exception, so that nothing handles it."""


class Record:
    """The side effects in their order. `crash_at` dies before the step of that number takes effect, `fail` raises."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.crash_at: int | None = None
        self.hook: Callable[[str], None] = lambda _: None

    def step(self, name: str) -> None:
        if self.crash_at == len(self.steps):
            raise CrashError
        self.hook(name)
        self.steps.append(name)


MARKS = "vmferry-resume"


class FakeKube:
    """Objects with resourceVersions, uids and optimistic locks."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.objects: dict[Key, Body] = {}
        self.events: list[Body] = []
        #: by name
        self.leases: dict[str, Body] = {}
        #: the data of the kill switch, or why it cannot be read
        #: data of the ConfigMap of the resume marks
        self.marks: dict[str, str] = {}
        self.switch: dict[str, str] | KubeError = NotFoundError("not found")
        self.version = 100
        #: namespaces that are being deleted
        self.terminating: set[str] = set()

    def add(self, key: Key = KEY, *, status: Body | None = None, spec: Body | None = None, **metadata: Any) -> Body:
        """Somebody creates an object."""
        self.version += 1
        body: Body = {
            "apiVersion": API_VERSION,
            "kind": key.kind,
            "metadata": {
                "namespace": key.namespace,
                "name": key.name,
                "uid": f"uid-{self.version}",
                "resourceVersion": str(self.version),
                "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z",
                **metadata,
            },
            "spec": spec or {"server": {"id": SERVER}},
        }
        if status is not None:
            body["status"] = status
        self.objects[key] = body
        return copy.deepcopy(body)

    def change(self, key: Key = KEY, **metadata: Any) -> None:
        """Somebody else writes to the object."""
        self.version += 1
        self.objects[key]["metadata"] |= {**metadata, "resourceVersion": str(self.version)}

    def _current(self, key: Key, version: str) -> Body:
        if key not in self.objects:
            raise NotFoundError(f"{key} not found")
        if self.objects[key]["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"{key} has changed")
        return self.objects[key]

    async def get(self, kind: ResourceType[Any], key: Key) -> Body:
        await asyncio.sleep(0)
        if key not in self.objects:
            raise NotFoundError(f"{key} not found")
        return copy.deepcopy(self.objects[key])

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body:
        await asyncio.sleep(0)
        attempts = status.get("attempts")
        self.record.step(f"status {attempts[-1]['state'] if attempts else status.get('phase')}")
        self._current(key, version)["status"] = copy.deepcopy(status)
        self.change(key)
        return copy.deepcopy(self.objects[key])

    async def put_finalizers(self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        await asyncio.sleep(0)
        self.record.step(f"finalizers {len(finalizers)}")
        self._current(key, version)["metadata"]["finalizers"] = list(finalizers)
        self.change(key)
        body = copy.deepcopy(self.objects[key])
        if not finalizers and "deletionTimestamp" in body["metadata"]:
            del self.objects[key]
        return body

    async def create(self, kind: ResourceType[Any], body: Body) -> Body:
        await asyncio.sleep(0)
        metadata = body["metadata"]
        key = Key(kind.name, metadata.get("namespace", ""), metadata["name"])
        self.record.step(f"create {key.name}")
        if key in self.objects:
            raise AlreadyExistsError(f"{key} already exists")
        return self.add(key, spec=body["spec"], **metadata)

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None:
        await asyncio.sleep(0)
        metadata = body["metadata"]
        key = Key(kind.name, metadata.get("namespace", ""), metadata["name"])
        self.record.hook(f"try {key.name}")
        if key in self.objects:
            raise AlreadyExistsError(f"{key} already exists")

    async def is_terminating(self, namespace: str) -> bool:
        await asyncio.sleep(0)
        return namespace in self.terminating

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        await asyncio.sleep(0)
        self.record.step("delete" if version else f"delete {key.name}")
        found = self._current(key, version or (await self.get(kind, key))["metadata"]["resourceVersion"])
        if found["metadata"]["uid"] != uid:
            raise ConflictError(f"{key} is another one")
        if found["metadata"].get("finalizers"):
            self.change(key, deletionTimestamp="2026-01-01T12:00:00Z")
            return copy.deepcopy(found)
        del self.objects[key]
        return None

    async def get_lease(self, namespace: str, name: str) -> Body:
        await asyncio.sleep(0)
        self.record.hook(f"get lease {name}")
        if name not in self.leases:
            raise NotFoundError(f"{namespace}/{name} not found")
        return copy.deepcopy(self.leases[name])

    async def put_lease(self, namespace: str, body: Body) -> Body:
        await asyncio.sleep(0)
        name = body["metadata"]["name"]
        self.record.step(f"lease {name}")
        known, version = self.leases.get(name), body["metadata"].get("resourceVersion")
        if (known["metadata"]["resourceVersion"] if known else None) != version:
            raise ConflictError(f"{name} has changed")
        self.version += 1
        metadata = {"uid": f"uid-{self.version}", **body["metadata"], "resourceVersion": str(self.version)}
        self.leases[name] = {**copy.deepcopy(body), "metadata": metadata}
        return copy.deepcopy(self.leases[name])

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        await asyncio.sleep(0)
        self.record.step(f"lease {name} given back")
        if name not in self.leases:
            raise NotFoundError(f"{name} not found")
        if self.leases[name]["metadata"]["resourceVersion"] != version:
            raise ConflictError(f"{name} has changed")
        del self.leases[name]

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        await asyncio.sleep(0)
        if name == MARKS:
            return dict(self.marks)
        if isinstance(self.switch, Exception):
            raise self.switch
        return dict(self.switch)

    async def create_event(self, namespace: str, body: Body) -> None:
        await asyncio.sleep(0)
        self.record.step(f"event {body['reason']}")
        if any(body["metadata"]["name"] == known["metadata"]["name"] for known in self.events):
            raise ConflictError("exists")
        self.events.append(body)

    async def pages(
        self, kind: ResourceType[Any], namespaces: Collection[str], selector: str = ""
    ) -> AsyncIterator[tuple[list[Body], int]]:
        found = [body for key, body in self.objects.items() if key.kind == kind.name]
        yield [copy.deepcopy(body) for body in found], self.version


class FakeCloud:
    """Answers every action with `outcome`."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.snapshot = Snapshot(read_at=dict.fromkeys(Part, NOW))
        self.outcome: Outcome = Accepted("req-1")
        self.acted: list[Action] = []
        self.reads = 0
        self.callbacks: list[Callable[[frozenset[str], bool], None]] = []

    def subscribe(self, callback: Callable[[frozenset[str], bool], None]) -> None:
        self.callbacks.append(callback)

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def detail(self, server_id: str, actions: str | None = None, *, with_actions: bool = False) -> Detail:
        await asyncio.sleep(0)
        self.reads += 1
        return Detail(NOW, None)

    async def progress(self, server_id: str, migration_id: int) -> Progress | None:
        self.reads += 1
        return None

    async def host_look(self, host: str) -> HostLook:
        await asyncio.sleep(0)
        self.reads += 1
        return HostLook(host, NOW, None, frozenset())

    async def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        self.record.hook("thread")
        if why := await asyncio.to_thread(forbidden):
            return NotSent(why)
        self.record.step(f"act {type(action).__name__}")
        self.acted.append(action)
        return self.outcome


MOVE = PlannedMove(SERVER, ResolvedType.LIVE, "host-a", "host-b", {}, NOW)


class SmallPlan:
    """Write the intent and migrate; then believe what the cloud's records say, which is `cloud.acted`."""

    def __init__(self, cloud: FakeCloud) -> None:
        self._cloud = cloud

    def __call__(self, obj: VMMigration, world: World, now: datetime, policy: Policy) -> Decision[VMMigrationStatus]:
        status = obj.status.model_copy(deep=True)
        if status.completed_at is not None:
            return Decision(status)
        if world.answer(ReadServer) is None:
            return Decision(status, needs=ReadServer(SERVER))
        attempt = status.open_attempt
        if attempt is None:
            status.server = ServerView(id=SERVER, name="web", state="ACTIVE")
            number = len(status.attempts) + 1
            status.attempts.append(
                Attempt(
                    number=number,
                    type=ResolvedType.LIVE,
                    source_host="host-a",
                    target_host="host-b",
                    state="Requested",
                    started_at=now,
                )
            )
            return Decision(
                status,
                action=LiveMigrate(SERVER, "host-b"),
                events=(Event("Started", "it begins"),),
                finalizer=True,
                move=MOVE,
                requeue_after=timedelta(seconds=2),
                watches=SERVER,
            )
        attempt.ended_at = now
        if not self._cloud.acted:
            attempt.state = "NotSent"
            return Decision(status, finalizer=True, requeue_after=timedelta(seconds=1))
        attempt.state, status.phase, status.completed_at = "Completed", Phase.SUCCEEDED, now
        return Decision(status, events=(Event("Done", "it is over"),))


def settle(
    obj: VMMigration, action: Action, outcome: Outcome, now: datetime
) -> tuple[VMMigrationStatus, tuple[Event, ...]]:
    status = obj.status.model_copy(deep=True)
    attempt = status.open_attempt
    assert attempt is not None
    attempt.request_id = outcome.request_id
    attempt.state = {Accepted: "Running", Refused: "Refused", Unanswered: "Requested", NotSent: "NotSent"}[
        type(outcome)
    ]
    attempt.ended_at = now if isinstance(outcome, NotSent) else None
    return status, (Event("Asked", f"the cloud was asked: {outcome.request_id}"),)


HOST = Key("HostMaintenance", "", "host-a")


def child(name: str, number: int = 1) -> CreateObject[VMMigrationSpec]:
    """A move off host-a."""
    return CreateObject(
        VMMigration.KIND,
        namespace="vmferry-system",
        name=name,
        labels=labels("host-a", Purpose.DRAIN, 1, number),
        spec=VMMigrationSpec(server=ServerRef(id=SERVER), type=MigrationType.LIVE, target=TargetRef(host="host-b")),
    )


class SmallMaintenance:
    """Take the Lease and disable the service; have the children that are `wanted`, and none of the `unwanted`."""

    def __init__(self) -> None:
        self.wanted: tuple[str, ...] = ("one", "two")
        self.unwanted: tuple[str, ...] = ()
        self.worlds: list[World] = []

    def __call__(
        self, obj: HostMaintenance, world: World, now: datetime, policy: Policy
    ) -> Decision[HostMaintenanceStatus]:
        status = obj.status.model_copy(deep=True)
        self.worlds.append(world)
        if status.admitted_at is None and not obj.spec.enabled:
            return Decision(status)
        if world.answer(ReadHost) is None:
            return Decision(status, needs=ReadHost("host-a"))
        lease = world.answer(TakeHostLease)
        if lease is None:
            return Decision(status, needs=TakeHostLease("host-a"))
        if lease.holder is not None:
            status.phase = MaintenancePhase.BLOCKED
            return Decision(status, requeue_after=timedelta(seconds=5))
        if not obj.spec.enabled:
            status.phase, status.admitted_at = MaintenancePhase.RELEASED, None
            return Decision(status, release_lease="host-a")
        action = None
        if status.admitted_at is None:
            status.admitted_at, status.phase = now, MaintenancePhase.CHECKING
            action = DisableService("7", "host-a", "maintenance")
        there = {one.name for one in world.owned}
        return Decision(
            status,
            action=action,
            events=(Event("Started", "it begins"),),
            finalizer=True,
            creates=tuple(child(name) for name in self.wanted if name not in there),
            deletes=tuple(one for one in world.owned if one.name in self.unwanted and not one.deleting),
            requeue_after=timedelta(seconds=5),
            watches_host="host-a",
        )

    def settle(
        self, obj: HostMaintenance, action: Action, outcome: Outcome, now: datetime
    ) -> tuple[HostMaintenanceStatus, tuple[Event, ...]]:
        status = obj.status.model_copy(deep=True)
        status.phase = MaintenancePhase.DRAINING
        return status, ()
