"""Lives HostMaintenances and their VMMigrations through together, pass by pass, as the runtime does it.

Time is compressed: a tick of two seconds lets every object that is due have its look. Every effect (a write to
Kubernetes, a change of the cloud) is counted; `crash_at` ends the "process" right before or right after the n-th of
them, and the next tick starts from what was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

from testbed.lifecycle.life import CrashError, Mortal
from testbed.lifecycle.little_cloud import START, LittleCloud
from vmferry.cloud.actions import Action
from vmferry.cloud.leftovers import marked
from vmferry.policy import Limits, Policy
from vmferry.prerequisites.check import PlannedMove
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.host_claims import claim_of, in_maintenance
from vmferry.reconcilers.maintenance import outcome as maintenance_outcome
from vmferry.reconcilers.maintenance import plan as hostmaintenance
from vmferry.reconcilers.migration import outcome as migration_outcome
from vmferry.reconcilers.migration import plan as vmmigration
from vmferry.reconcilers.migration.ended_attempts import ended_attempts
from vmferry.reconcilers.migration.scope import planned_move
from vmferry.reconcilers.owned import CreateObject, Deletion, Owner, owner_of
from vmferry.reconcilers.owned_migrations import OwnedMigration, owned_migration
from vmferry.reconcilers.reads import (
    AnyRead,
    CopyProgress,
    HostLease,
    ReadCopyProgress,
    ReadDeletion,
    ReadHost,
    ReadServer,
    TakeHostLease,
    TryCreate,
)
from vmferry.reconcilers.refused_writes import Refusal
from vmferry.reconcilers.world import World
from vmferry.resources.base import API_VERSION, format_time
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration
from vmferry.resources.words import Phase
from vmferry.runtime.attempt_history import AttemptHistory
from vmferry.runtime.key import Key

TICK = timedelta(seconds=2)
#: a Lease that nobody renews for so long is free
LEASE = timedelta(seconds=120)
#: one that was not renewed for so long is not wanted any more: everybody looks every ten seconds
RENEWED = timedelta(seconds=30)
POLICY = Policy(host_down_for=timedelta(seconds=30), limits=Limits(per_source=4, per_target=2, total=10))

Body = dict[str, Any]


def _key(name: str) -> Key:
    return Key(VMMigration.KIND, "", name)


class ControlPlane(Mortal):
    """A Kubernetes of plain dictionaries, and the operator's loop over it."""

    def __init__(self, cloud: LittleCloud, policy: Policy = POLICY) -> None:
        super().__init__()
        self.cloud = cloud
        self.policy = policy
        self.maintenances: dict[str, Body] = {}
        self.migrations: dict[str, Body] = {}
        #: by host: the uid of the holder
        self.leases: dict[str, str] = {}
        self._renewed: dict[str, datetime] = {}
        self.history = AttemptHistory(policy.breaker)
        self.log: list[str] = []
        self.writes = 0
        #: how long it takes until the operator runs again
        self.down = timedelta()
        #: by the uid of the owner and the name: what was refused
        self.refusals: dict[str, dict[str, Refusal]] = {}
        #: why Kubernetes refuses to create a VMMigration; None: it does not
        self.refuses_creates: Callable[[CreateObject[Any]], str | None] = lambda new: None
        #: why Kubernetes refuses to write Leases
        self.lease_refused: str | None = None
        self.namespace_terminating = False
        self._due: dict[tuple[str, str], datetime] = {}
        self._version = 0
        self._uid = 0
        #: objects have their looks in the order of their names, or by these dice
        self.shuffle: Random | None = None
        #: what another person or the cloud does, and when, in seconds from the start
        self.happenings: list[tuple[float, Callable[[], None]]] = []
        #: the highest number of moves that were in flight at once, from and to each host
        self.most_from: dict[str, int] = {}
        self.most_to: dict[str, int] = {}

    # -- what people do

    def apply(self, name: str, **spec: Any) -> None:
        body = self.maintenances.get(name)
        if body is None:
            body = self.maintenances[name] = self._new(name)
            body["spec"] = {"host": name}
        before = dict(body["spec"])
        body["spec"] |= spec
        if before != body["spec"]:
            body["metadata"]["generation"] += 1
        self._due.pop(("hm", name), None)

    def migrate(self, name: str, server_id: str, **spec: Any) -> None:
        """A VMMigration of its own, as a person creates it."""
        body = self.migrations[name] = self._new(name)
        body["metadata"]["namespace"] = "default"
        body["spec"] = {"server": {"id": server_id}, **spec}

    def delete(self, name: str, propagation: str = "Background") -> None:
        """As `kubectl delete --cascade=` does: Background, Foreground or Orphan."""
        body = self.maintenances[name]
        uid = body["metadata"]["uid"]
        for child in list(self.migrations.values()):
            owners = child["metadata"].get("ownerReferences", [])
            if propagation == "Orphan":
                child["metadata"]["ownerReferences"] = [one for one in owners if one["uid"] != uid]
            elif propagation == "Foreground" and any(one["uid"] == uid for one in owners):
                self.delete_migration(child["metadata"]["name"])
        self._due.pop(("hm", name), None)
        if body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = format_time(self.cloud.now)
        else:
            self._collect(name)

    def delete_migration(self, name: str) -> None:
        body = self.migrations.get(name)
        if body is None:
            return
        if body["metadata"].get("finalizers"):
            body["metadata"]["deletionTimestamp"] = format_time(self.cloud.now)
        else:
            del self.migrations[name]
        self._due.pop(("vmm", name), None)

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        self.happenings.append((seconds, do))

    # -- what is there

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
        """Whether the Lease of a host is still held on purpose; one that nobody renews ends by itself."""
        return host in self.leases and self.cloud.now - self._renewed.get(host, self.cloud.now) < RENEWED

    # -- the loop

    def run(self, until: Callable[[], bool], seconds: float = 3600) -> None:
        """Tick until the condition holds; an assertion says what was last seen when it does not in time."""
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
            for key in self._in_turn("hm") + self._in_turn("vmm"):
                self._look(key)
        except CrashError:
            self.say("the operator is killed and started again")
            self._due.clear()
            self.refusals.clear()
            marks, self.history = self.history.marks, AttemptHistory(self.policy.breaker)
            self.history.set_marks(marks)
            self.cloud.pass_time(self.down)
        self._count()
        self.cloud.pass_time(TICK)

    def _in_turn(self, kind: str) -> list[tuple[str, str]]:
        names = sorted(self._objects(kind))
        if self.shuffle is not None:
            self.shuffle.shuffle(names)
        return [(kind, name) for name in names]

    def _count(self) -> None:
        known = marked(self.cloud.migrations, self.cloud.servers, self.cloud.now, self.policy.stuck_after)
        running = [m for m in known if m.open and m.status != "finished" and not m.leftover]
        for most, end in ((self.most_from, "source_host"), (self.most_to, "target_host")):
            for host in {getattr(m, end) for m in running}:
                most[host] = max(most.get(host, 0), sum(getattr(m, end) == host for m in running))

    def _look(self, key: tuple[str, str]) -> None:
        due = self._due.get(key)
        if due is not None and due > self.cloud.now:
            return
        body = self._objects(key[0]).get(key[1])
        if body is None:
            return
        before = self._children_state()
        decision = self._plan(key, body)
        self._carry_out(key, body, decision)
        wait = decision.requeue_after
        # the runtime wakes objects when something changes; here everybody looks at least every ten seconds
        self._due[key] = self.cloud.now + min(wait or timedelta(seconds=10), timedelta(seconds=10))
        if self._children_state() != before:
            for name in self.maintenances:
                self._due.pop(("hm", name), None)

    def _children_state(self) -> list[tuple[str, Any]]:
        return [(name, body.get("status", {}).get("phase")) for name, body in sorted(self.migrations.items())]

    def _plan(self, key: tuple[str, str], body: Body) -> Decision[Any]:
        world = self._world(key, body)
        for _ in range(4):
            if key[0] == "hm":
                decision: Decision[Any] = hostmaintenance.plan(
                    HostMaintenance.read(body), world, self.cloud.now, self.policy
                )
            else:
                decision = vmmigration.plan(VMMigration.read(body), world, self.cloud.now, self.policy)
            if decision.needs is None:
                return decision
            world = self._read(key, body, world, decision.needs)
        raise AssertionError(f"the reconciler never has enough: {decision.needs}")

    def _world(self, key: tuple[str, str], body: Body) -> World:
        snapshot = self.cloud.snapshot()
        moves: list[PlannedMove] = []
        self._learn()
        for name, other in self.migrations.items():
            move = planned_move(VMMigration.read(other).status, snapshot) if ("vmm", name) != key else None
            if move is not None:
                moves.append(move)
        claims = [claim_of(HostMaintenance.read(one)) for one in self.maintenances.values()]
        return World(
            snapshot,
            moves=tuple(moves),
            breakers=self.history.breakers(),
            broken=self.history.broken,
            in_maintenance=in_maintenance(claims, snapshot),
            owned=tuple(self.children(key[1])) if key[0] == "hm" else (),
            claims=tuple(claim for claim in claims if claim.uid != body["metadata"]["uid"]),
            owner=self._owner(body),
            refusals=tuple(self.refusals.get(body["metadata"]["uid"], {}).values()),
        )

    def _learn(self) -> None:
        for key in self.history.keys() - {_key(name) for name in self.migrations}:
            self.history.put(key, ())
        for name, body in self.migrations.items():
            self.history.put(_key(name), ended_attempts(VMMigration.read(body)))

    def _owner(self, body: Body) -> Owner | None:
        for reference in body["metadata"].get("ownerReferences", []):
            owner = self.maintenances.get(reference["name"])
            if owner is not None and owner["metadata"]["uid"] == reference["uid"]:
                return owner_of(HostMaintenance.read(owner).metadata)
        return None

    def _read(self, key: tuple[str, str], body: Body, world: World, read: AnyRead) -> World:
        match read:
            case ReadServer():
                return world.with_answer(read, self.cloud.detail(read.server_id, actions=read.actions))
            case ReadCopyProgress():
                return world.with_answer(read, CopyProgress(self.cloud.progress()))
            case ReadHost():
                return world.with_answer(read, self.cloud.look(read.host))
            case ReadDeletion():
                return world.with_answer(read, Deletion(self._owner(body), self.namespace_terminating))
            case TryCreate():
                self._try(body, read.new)
                tried = replace(world, refusals=self._world(key, body).refusals)
                return tried.with_answer(read, read.new.name)
            case TakeHostLease():
                return world.with_answer(read, self._lease(read.host, body["metadata"]["uid"]))

    def _lease(self, host: str, uid: str) -> HostLease:
        if self.lease_refused is not None:
            return HostLease(host, None, refused=self.lease_refused)
        if self.cloud.now - self._renewed.get(host, self.cloud.now) > LEASE:
            self.leases.pop(host, None)
        if host not in self.leases:
            self._effect(lambda: self._take(host, uid))
        holder = self.leases[host]
        if holder == uid:
            self._renewed[host] = self.cloud.now
        return HostLease(host, None if holder == uid else holder)

    def _refuse(self, owner: Body, new: CreateObject[Any]) -> bool:
        """Whether Kubernetes does not create it; what it said is remembered as the runtime does."""
        known = self.refusals.setdefault(owner["metadata"]["uid"], {})
        there = self.migrations.get(new.name)
        words = self.refuses_creates(new)
        if words is None and there is not None:
            owners = [one["uid"] for one in there["metadata"].get("ownerReferences", [])]
            words = None if owner["metadata"]["uid"] in owners else f"the name {new.name} is another object's"
        if words is None:
            return False
        known[new.name] = Refusal(new.name, words, self.cloud.now, taken=self.refuses_creates(new) is None)
        return True

    def _try(self, owner: Body, new: CreateObject[Any]) -> None:
        if not self._refuse(owner, new):
            known = self.refusals[owner["metadata"]["uid"]]
            for name in [name for name, one in known.items() if name == new.name or one.creates]:
                del known[name]

    def _take(self, host: str, uid: str) -> None:
        self.leases[host] = uid
        self._renewed[host] = self.cloud.now

    def _carry_out(self, key: tuple[str, str], body: Body, decision: Decision[Any]) -> None:
        metadata = body["metadata"]
        finalizer = "vmferry.dev/maintenance" if key[0] == "hm" else "vmferry.dev/migration"
        others = [one for one in metadata.get("finalizers", ()) if one != finalizer]
        has = finalizer in metadata.get("finalizers", ())
        if decision.finalizer and not has and "deletionTimestamp" not in metadata:
            self._effect(lambda: metadata.update(finalizers=[*others, finalizer]))
            has = True
        self._write(key, body, decision.status)
        for event in decision.events:
            self.say(f"{key[1]}: {event.type} {event.reason}: {event.message}")
        if decision.action is not None:
            self._act(key, body, decision.action)
        for child in decision.deletes:
            self._effect(lambda child=child: self.delete_migration(child.name))  # type: ignore[misc]
            self.say(f"{key[1]}: cancels {child.name}")
        for new in decision.creates:
            if self._refuse(body, new):
                self.say(f"{key[1]}: cannot create {new.name}")
                self._due.pop(key, None)
            elif new.name not in self.migrations:
                self._effect(lambda new=new: self._create(body, new))  # type: ignore[misc]
        if decision.release_lease is not None and self.leases.get(decision.release_lease) == metadata["uid"]:
            self._effect(lambda: self.leases.pop(decision.release_lease or ""))
        if not decision.finalizer and has:
            self._effect(lambda: metadata.update(finalizers=others) if others else metadata.pop("finalizers"))
        if decision.delete:
            self._effect(lambda: self.migrations.pop(key[1], None))
            self.say(f"{key[1]}: has outlived its time")
        if not metadata.get("finalizers") and metadata.get("deletionTimestamp"):
            self._collect(key[1]) if key[0] == "hm" else self.migrations.pop(key[1], None)
            self.say(f"{key[1]}: gone")

    def _act(self, key: tuple[str, str], body: Body, action: Action) -> None:
        server = self.cloud.servers.get(getattr(action, "server_id", ""))
        of = f" {server.name}" if server else ""
        to = f" -> {target}" if (target := getattr(action, "target_host", "")) else ""
        self.say(f"{key[1]}: asks the cloud: {type(action).__name__}{of}{to}")
        outcomes: list[Any] = []
        self._effect(lambda: outcomes.append(self.cloud.act(action)))
        if key[0] == "hm":
            settled, events = maintenance_outcome.settle(
                HostMaintenance.read(body), action, outcomes[0], self.cloud.now
            )
            self._write(key, body, settled)
        else:
            status, events = migration_outcome.settle(VMMigration.read(body), action, outcomes[0], self.cloud.now)
            self._write(key, body, status)
        for event in events:
            self.say(f"{key[1]}: {event.type} {event.reason}: {event.message}")

    def _create(self, owner: Body, new: CreateObject[Any]) -> None:
        body = self._new(new.name)
        body["metadata"] |= {
            "namespace": new.namespace,
            "labels": dict(new.labels),
            "annotations": dict(new.annotations),
            "ownerReferences": [
                {
                    "apiVersion": API_VERSION,
                    "kind": "HostMaintenance",
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                    "controller": True,
                }
            ],
        }
        body["spec"] = new.spec.to_json()
        self.migrations[new.name] = body
        spec = new.spec
        server = self.cloud.servers.get(spec.server.id)
        name = server.name if server else spec.server.id
        self.say(f"{owner['metadata']['name']}: creates {new.name}: {spec.type} {name} -> {spec.target.host}")

    def _new(self, name: str) -> Body:
        self._uid += 1
        return {
            "metadata": {
                "name": name,
                "uid": f"uid-{self._uid}",
                "generation": 1,
                "creationTimestamp": format_time(self.cloud.now),
            },
        }

    def _objects(self, kind: str) -> dict[str, Body]:
        return self.maintenances if kind == "hm" else self.migrations

    def _collect(self, name: str) -> None:
        """The garbage collector: the children go with their owner."""
        uid = self.maintenances.pop(name)["metadata"]["uid"]
        for child in list(self.migrations.values()):
            owners = child["metadata"].get("ownerReferences", [])
            if any(owner["uid"] == uid for owner in owners):
                self.delete_migration(child["metadata"]["name"])

    def _write(self, key: tuple[str, str], body: Body, status: Any) -> None:
        new = status.to_json()
        old = body.get("status", {})
        if new == old:
            return
        self._effect(lambda: body.update(status=new))
        self.writes += 1
        if new.get("phase") != old.get("phase"):
            ready: Body = next((c for c in new["conditions"] if c["type"] == "Ready"), {})
            if key[0] == "hm":
                self.say(f"{key[1]}: {old.get('phase')} -> {new.get('phase')}: {ready.get('message')}")
            elif new.get("phase") in (Phase.SUCCEEDED, Phase.FAILED, Phase.BLOCKED, Phase.CANCELLED):
                self.say(f"{key[1]}: {new.get('phase')}: {ready.get('message')}")

    def say(self, line: str) -> None:
        passed = int((self.cloud.now - START).total_seconds())
        self.log.append(f"{passed:4d}s {line}")
