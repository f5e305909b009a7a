"""Lifecycles of HostMaintenances and VMMigrations in virtual time.

A tick is two seconds: the operator receives all changes and reconciles everything that its queue has ready. An operator
that was killed restarts with the next tick.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from datetime import timedelta
from typing import Any

from testbed.lifecycle.little_cloud import START, LittleCloud
from testbed.lifecycle.operator_in_memory import CrashError, OperatorInMemory
from testbed.storm.kubernetes import Api
from vmferry.cloud.leftovers import marked
from vmferry.policy import Limits, Policy
from vmferry.reconcilers.owned_migrations import OwnedMigration, owned_migration
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body, key_of

TICK = timedelta(seconds=2)
#: maximum number of reconciles within a tick; more indicate a hot loop
MOST = 5000
#: a Lease that was not renewed for so long counts as abandoned
RENEWED = timedelta(seconds=60)
POLICY = Policy(host_down_for=timedelta(seconds=30), limits=Limits(per_source=4, per_target=2, total=10))


class Named(MutableMapping[str, Body]):
    """The objects of one kind by name. A test may change a body, which counts as a write by somebody else."""

    def __init__(self, api: Api, kind: str) -> None:
        self._api, self._kind = api, kind

    def _key(self, name: object) -> Key:
        for key in self._api.objects:
            if key.kind == self._kind and key.name == name:
                return key
        raise KeyError(name)

    def __getitem__(self, name: str) -> Body:
        return self._api.objects[self._key(name)]

    def __setitem__(self, name: str, body: Body) -> None:
        self._api.objects[key_of(self._kind, body)] = body

    def __delitem__(self, name: str) -> None:
        del self._api.objects[self._key(name)]

    def __iter__(self) -> Iterator[str]:
        return iter([key.name for key in self._api.objects if key.kind == self._kind])

    def __len__(self) -> int:
        return sum(key.kind == self._kind for key in self._api.objects)


class ControlPlane(OperatorInMemory):
    """A Kubernetes API, a cloud, and an operator that can be killed and restarted."""

    def __init__(self, cloud: LittleCloud, policy: Policy = POLICY) -> None:
        super().__init__(cloud, policy)
        self.maintenances = Named(self.api, HostMaintenance.KIND)
        self.migrations = Named(self.api, VMMigration.KIND)
        #: how long the operator is down after it was killed
        self.down = timedelta()
        #: events that a test scheduled: seconds from the start, and the function to call
        self.happenings: list[tuple[float, Callable[[], None]]] = []
        #: the highest number of simultaneous moves from and to each host
        self.most_from: dict[str, int] = {}
        self.most_to: dict[str, int] = {}

    # -- actions of people

    def apply(self, name: str, **spec: Any) -> None:
        if name not in self.maintenances:
            self._create(HostMaintenance.KIND, {"metadata": {"name": name}, "spec": {"host": name, **spec}})
        else:
            key = Key(HostMaintenance.KIND, "", name)
            self.api.put_spec(key, self.maintenances[name]["spec"] | spec)

    def migrate(self, name: str, server_id: str, namespace: str = "default", **spec: Any) -> None:
        """Create a VMMigration that no HostMaintenance owns, as a person does."""
        metadata = {"name": name, "namespace": namespace}
        self._create(VMMigration.KIND, {"metadata": metadata, "spec": {"server": {"id": server_id}, **spec}})

    def _create(self, kind: str, body: Body) -> Body:
        return self.api.create(kind, body)

    def delete(self, name: str, propagation: str = "Background") -> None:
        """Delete a maintenance as `kubectl delete --cascade=` does: Background, Foreground or Orphan."""
        key, uid = Key(HostMaintenance.KIND, "", name), self.maintenances[name]["metadata"]["uid"]
        if propagation == "Foreground":
            self.api.prune(key)
            return
        if propagation == "Orphan":
            for child in self.migrations.values():
                owners = child["metadata"].get("ownerReferences", [])
                child["metadata"]["ownerReferences"] = [one for one in owners if one["uid"] != uid]
        self.api.delete(key)
        self.api.collect()

    def delete_migration(self, name: str) -> None:
        body = self.migrations.get(name)
        if body is not None:
            self.api.delete(key_of(VMMigration.KIND, body))

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        self.happenings.append((seconds, do))

    # -- current state

    def maintenance(self, name: str) -> HostMaintenance:
        return HostMaintenance.read(self.maintenances[name])

    def children(self, name: str) -> list[OwnedMigration]:
        uid = self.maintenances[name]["metadata"]["uid"]
        found = (VMMigration.read(body) for body in self.migrations.values())
        ours = (owned_migration(obj) for obj in found if any(o.uid == uid for o in obj.metadata.owner_references))
        return sorted(ours, key=lambda child: child.name)

    def condition(self, name: str, type_: str) -> tuple[str, str] | None:
        found = self.maintenance(name).status.condition(type_)
        return (found.status, found.reason) if found else None

    def renews(self, host: str) -> bool:
        """Whether the Lease of a host is still being renewed; an abandoned Lease expires."""
        return host in self.leases and self.cloud.now - self.renewed.get(host, self.cloud.now) < RENEWED

    # -- time

    def run(self, until: Callable[[], bool], seconds: float = 3600) -> None:
        """Tick until the condition holds. Raises AssertionError with the end of the log after `seconds`."""
        end = self.cloud.now + timedelta(seconds=seconds)
        while not until():
            assert self.cloud.now < end, "\n".join(["it never came to that:", *self.log[-30:]])
            self.tick()

    def rest(self, seconds: float) -> None:
        end = self.cloud.now + timedelta(seconds=seconds)
        while self.cloud.now < end:
            self.tick()

    def tick(self) -> None:
        passed = (self.cloud.now - START).total_seconds()
        for happening in [h for h in self.happenings if h[0] <= passed]:
            self.happenings.remove(happening)
            happening[1]()
        try:
            self.see()
            for _ in range(MOST):
                key = self.queue.poll()
                if key is None:
                    break
                self.reconcile(key)
            else:
                raise AssertionError("\n".join(["a hot loop:", *self.log[-30:]]))
        except CrashError:
            self.say("the operator is killed and started again")
            self.restart()
            self.cloud.pass_time(self.down)
        self._count()
        self.cloud.pass_time(TICK)

    def _count(self) -> None:
        known = marked(self.cloud.migrations, self.cloud.servers, self.cloud.now, self.policy.stuck_after)
        running = [m for m in known if m.open and m.status != "finished" and not m.leftover]
        for most, end in ((self.most_from, "source_host"), (self.most_to, "target_host")):
            for host in {getattr(m, end) for m in running}:
                most[host] = max(most.get(host, 0), sum(getattr(m, end) == host for m in running))
