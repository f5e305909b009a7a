"""The product's own reconciler between a Kubernetes API and a cloud in memory.

Kubernetes is the `Api` of the storm tests, the cloud is a `LittleCloud`, and nothing waits for real time. Every effect
(a write to Kubernetes, a change of the cloud) is counted; `crash_at` ends the process right before or right after the
effect of that number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from random import Random
from typing import Any, TypeVar

from testbed.lifecycle.little_cloud import START, LittleCloud
from testbed.storm.kubernetes import Api, Change
from vmferry.cloud.actions import Action, NotSent, Outcome
from vmferry.cloud.model import Detail, HostLook, Progress, Snapshot
from vmferry.policy import Policy
from vmferry.reconcilers.breaker_resume import Marks
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.kill_switch import STARTS, KillSwitchState
from vmferry.reconcilers.reads import HostLease
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.base import format_time
from vmferry.resources.catalog import ResourceType
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import Phase
from vmferry.runtime.events import Recent
from vmferry.runtime.key import Key
from vmferry.runtime.kill_switch import KillSwitch
from vmferry.runtime.kube_api import AlreadyExistsError, InvalidError, KubeError
from vmferry.runtime.leader_fence import LeaderFence
from vmferry.runtime.queue import WorkQueue
from vmferry.runtime.reconcile import Reconciler
from vmferry.runtime.store import Body, Store, key_of, version_of
from vmferry.runtime.triggers import Triggers

#: a Lease expires if it is not renewed for so long
LEASE = timedelta(seconds=120)
NAMESPACE = "vmferry-system"

T = TypeVar("T")


class CrashError(BaseException):
    """The process is killed here. Not an Exception, so that no handler catches it."""


class Mortal:
    """Counts effects, and ends the process before or after the effect with the number `crash_at`."""

    def __init__(self) -> None:
        self.effects = 0
        self.crash_at: int | None = None
        self.crash_after = False

    def effect(self, do: Callable[[], T]) -> T:
        self.effects += 1
        if self.effects == self.crash_at and not self.crash_after:
            raise CrashError
        done = do()
        if self.effects == self.crash_at:
            raise CrashError
        return done


class OperatorInMemory(Mortal):
    """The operator, which can be killed and which `restart` starts again."""

    def __init__(self, cloud: LittleCloud, policy: Policy) -> None:
        super().__init__()
        self.cloud = cloud
        self.policy = policy
        self.api = Api(lambda: format_time(self.cloud.now))
        #: the bodies that the API last reported; a test has changed a body that differs
        self._stored: dict[Key, Body] = {}
        self.api.watchers.append(self._store)
        #: the holder by host
        self.leases: dict[str, str] = {}
        self.renewed: dict[str, datetime] = {}
        self.log: list[str] = []
        self.writes = 0
        #: changes new objects, as a mutating webhook does
        self.admission: Callable[[Body], object] = lambda body: None
        #: why Kubernetes refuses to create a VMMigration; None if it does not
        self.refuses_creates: Callable[[Body], str | None] = lambda new: None
        #: why Kubernetes refuses to write Leases
        self.lease_refused: str | None = None
        self.namespace_terminating = False
        #: the kill switch
        self.stop = KillSwitchState()
        self.marks = Marks()
        #: randomizes the order in which the operator receives objects; None means by name
        self.shuffle: Random | None = None
        #: the key that is being reconciled
        self.acting = Key("", "", "")
        self.restart()

    def restart(self) -> None:
        """Start a new process, which has no memory of the old one."""
        kinds = {name: replace(kind, plan=self._watched(name)) for name, kind in KINDS.items()}
        self.queue: WorkQueue[Key] = WorkQueue(clock=self._seconds, jitter=lambda: 1.0)
        self.view = View(self)
        limits = self.policy.limits
        triggers = _Triggers(
            self.queue,
            lambda: self.view.snapshot.servers_by_host,
            clock=self._seconds,
            next_up=lambda: self.store.next_up(self.view.snapshot, limits),
        )
        self.triggers = triggers
        self.store = Store(kinds, triggers, self.policy.breaker)
        self.store.history.set_marks(self.marks)
        kube = _Kube(self)
        self.kill_switch = _Switch(kube, NAMESPACE, "vmferry-stop")
        self.kill_switch.seen = self.stop
        self.reconciler = _Reconciler(
            kinds=kinds,
            store=self.store,
            queue=self.queue,
            kube=LeaderFence(kube, lambda: 1),
            cloud=self.view,
            leases=_Leases(self),
            triggers=triggers,
            policy=self.policy,
            switch=self.kill_switch,
            now=lambda: self.cloud.now,
            _recent=Recent(clock=self._seconds),
        )

    def _watched(self, name: str) -> Callable[..., Decision[Any]]:
        """Return the plan function of the type, which reports each decision to `decided`."""

        def plan(obj: Any, *rest: Any) -> Decision[Any]:
            decision: Decision[Any] = KINDS[name].plan(obj, *rest)
            if decision.needs is None:
                self.decided(Key(name, obj.metadata.namespace, obj.metadata.name), decision)
            return decision

        return plan

    def decided(self, key: Key, decision: Decision[Any]) -> None:
        """Called with each decision, for tests."""

    def resume(self, marks: Marks) -> None:
        """Close a breaker as a person does."""
        self.marks = marks
        self.store.history.set_marks(marks)
        self._look_at_all()

    def reconcile(self, key: Key) -> None:
        """Reconcile once. Raises CrashError."""
        self.acting, failed = key, True
        try:
            _loop().run_until_complete(self.reconciler.reconcile(key))
            failed = False
        except KubeError as error:
            self.say(f"{key.name}: not done: {error}")
        finally:
            if key in self.queue._processing:
                self.queue.done(key, failed=failed)

    def see(self) -> None:
        """Deliver all changes from the watch, and refresh the shared view."""
        self.api.collect()
        for key in [key for kind in KINDS for key in self.store.keys(kind) if key not in self.api.objects]:
            self.store.remove(key)
            self.queue.add(key)
        for key, body in self.api.objects.items():
            if body != self._stored.get(key):
                self.api.edited(key)
        keys = sorted(key for key, body in self.api.objects.items() if version_of(body) > self.store.version(key))
        if self.shuffle is not None:
            self.shuffle.shuffle(keys)
        for key in keys:
            if self.store.put(key.kind, self.api.get(key)):
                self.queue.add(key)
        self.view.poll()
        if self.kill_switch.seen != self.stop:
            self.kill_switch.seen = self.stop
            self._look_at_all()

    def _store(self, change: Change) -> None:
        self._stored[key_of(change.body["kind"], change.body)] = change.body

    def _look_at_all(self) -> None:
        for key in self.api.objects:
            self.queue.add(key)

    def _seconds(self) -> float:
        return (self.cloud.now - START).total_seconds() + 1000

    # -- the log

    def say(self, line: str) -> None:
        passed = int((self.cloud.now - START).total_seconds())
        self.log.append(f"{passed:4d}s {line}")

    def on_status(self, key: Key, before: Body, status: Body) -> None:
        """Called after a status was written."""
        if status.get("phase") != before.get("phase"):
            ready: Body = next((c for c in status["conditions"] if c["type"] == "Ready"), {})
            if key.kind == HostMaintenance.KIND:
                self.say(f"{key.name}: {before.get('phase')} -> {status.get('phase')}: {ready.get('message')}")
            elif status.get("phase") in (Phase.SUCCEEDED, Phase.FAILED, Phase.BLOCKED, Phase.CANCELLED):
                self.say(f"{key.name}: {status.get('phase')}: {ready.get('message')}")

    def on_event(self, event: Body) -> None:
        """Called after an Event was written."""
        self.say(f"{event['regarding']['name']}: {event['type']} {event['reason']}: {event['note']}")

    def on_action(self, action: Action) -> None:
        """Called before a request is sent to the cloud."""
        server = self.cloud.servers.get(getattr(action, "server_id", ""))
        of = f" {server.name}" if server else ""
        to = f" -> {target}" if (target := getattr(action, "target_host", "")) else ""
        self.say(f"{self.acting.name}: asks the cloud: {type(action).__name__}{of}{to}")

    def on_created(self, body: Body) -> None:
        """Called after the operator created a VMMigration."""
        metadata, spec = body["metadata"], body["spec"]
        server = self.cloud.servers.get(spec["server"]["id"])
        name = server.name if server else spec["server"]["id"]
        owner = metadata["ownerReferences"][0]["name"]
        self.say(f"{owner}: creates {metadata['name']}: {spec.get('type', 'Auto')} {name} -> {spec['target']['host']}")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all reconciles; no coroutine in it waits."""
    return asyncio.new_event_loop()


class _Reconciler(Reconciler):
    def _held(self, key: Key, action: Action) -> Callable[[], str | None]:
        """Check in the calling thread instead of the thread that sends the request."""
        return lambda: self._held_now(key, action)


class _Triggers(Triggers):
    def _wake(self, keys: Collection[Key], *rest: Any) -> float:
        """Wake keys in an order that is the same in every run."""
        return super()._wake(sorted(keys), *rest)


class _Switch(KillSwitch):
    def against(self, action: Action, snapshot: Callable[[], Snapshot]) -> Callable[[], str | None]:
        return lambda: self.seen.against_action(action, snapshot()) if isinstance(action, STARTS) else None


class View:
    """Stands for `cloud.observer.Observer`: a shared view that is as old as the tick, fresh readings, and actions."""

    def __init__(self, operator: OperatorInMemory) -> None:
        self._operator = operator
        self.snapshot = operator.cloud.snapshot()

    def poll(self) -> None:
        before, now = self.snapshot, self._operator.cloud.snapshot()
        self.snapshot = now
        changed = {
            server
            for server in before.servers.keys() | now.servers.keys()
            if before.servers.get(server) != now.servers.get(server)
        }
        changed |= {
            server
            for server in before.migrations_by_server.keys() | now.migrations_by_server.keys()
            if before.migrations_by_server.get(server) != now.migrations_by_server.get(server)
        }
        hosts = before.hosts != now.hosts or before.doubtful_hosts != now.doubtful_hosts
        if changed or hosts:
            self._operator.triggers.changed(sorted(changed), hosts)

    async def detail(self, server_id: str, actions: str | None = None, *, with_actions: bool = False) -> Detail:
        return self._operator.cloud.detail(server_id, actions=with_actions)

    async def progress(self, server_id: str, migration_id: int) -> Progress | None:
        return self._operator.cloud.progress()

    async def host_look(self, host: str) -> HostLook:
        return self._operator.cloud.look(host)

    async def act(self, action: Action, forbidden: Callable[[], str | None] = lambda: None) -> Outcome:
        operator = self._operator
        if why := forbidden():
            return NotSent(why)
        operator.on_action(action)
        return operator.effect(lambda: operator.cloud.act(action))

    def subscribe(self, callback: object) -> None: ...

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class _Kube:
    """Stands for `runtime.kube.Kube`: the operator's calls to Kubernetes, counted and logged."""

    def __init__(self, operator: OperatorInMemory) -> None:
        self._operator = operator
        self._api = operator.api

    async def get(self, kind: ResourceType[Any], key: Key) -> Body:
        return self._api.get(key)

    async def put_status(self, kind: ResourceType[Any], key: Key, version: str, status: Body) -> Body:
        operator = self._operator
        before = self._api.get(key).get("status", {})
        operator.writes += 1

        def write() -> Body:
            body = self._api.put_status(key, version, status)
            operator.on_status(key, before, status)
            return body

        return operator.effect(write)

    async def put_finalizers(self, kind: ResourceType[Any], key: Key, version: str, finalizers: Sequence[str]) -> Body:
        body = self._operator.effect(lambda: self._api.put_finalizers(key, version, finalizers))
        if key not in self._api.objects:
            self._operator.say(f"{key.name}: gone")
        return body

    async def create(self, kind: ResourceType[Any], body: Body) -> Body:
        self._refuse(body)
        self._operator.admission(body)
        made = self._operator.effect(lambda: self._api.create(kind.name, body))
        self._operator.on_created(made)
        return made

    async def create_dry_run(self, kind: ResourceType[Any], body: Body) -> None:
        self._refuse(body)
        if key_of(kind.name, body) in self._api.objects:
            raise AlreadyExistsError("already exists")

    def _refuse(self, body: Body) -> None:
        if words := self._operator.refuses_creates(body):
            raise InvalidError(words)

    async def delete(self, kind: ResourceType[Any], key: Key, uid: str, version: str | None = None) -> Body | None:
        left = self._operator.effect(lambda: self._api.delete(key, uid, version))
        self._operator.say(
            f"{key.name}: has outlived its time" if version else f"{self._operator.acting.name}: cancels {key.name}"
        )
        return left

    async def is_terminating(self, namespace: str) -> bool:
        return self._operator.namespace_terminating

    async def create_event(self, namespace: str, body: Body) -> None:
        self._operator.on_event(body)

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        return self._api.get_config_map(name)

    async def get_lease(self, namespace: str, name: str) -> Body:
        return self._api.get_lease(namespace, name)

    async def put_lease(self, namespace: str, body: Body) -> Body:
        return self._api.put_lease(namespace, body)

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None:
        self._api.delete_lease(namespace, name, uid, version)


class _Leases:
    """Stands for `runtime.host_lease.HostLeases`, without Lease objects."""

    def __init__(self, operator: OperatorInMemory) -> None:
        self._operator = operator

    async def take(self, host: str, holder: str) -> HostLease:
        operator, now = self._operator, self._operator.cloud.now
        if operator.lease_refused is not None:
            return HostLease(host, None, refused=operator.lease_refused)
        if now - operator.renewed.get(host, now) > LEASE:
            operator.leases.pop(host, None)
        if host not in operator.leases:
            operator.effect(lambda: operator.leases.update({host: holder}))
        if operator.leases[host] == holder:
            operator.renewed[host] = now
            return HostLease(host, None)
        return HostLease(host, operator.leases[host])

    async def give_back(self, host: str, holder: str) -> None:
        if self._operator.leases.get(host) == holder:
            self._operator.effect(lambda: self._operator.leases.pop(host))
