"""Shared parts of the drain tests: builders of a cloud, and a control plane that checks invariants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from typing import Any

from testbed.build import ident
from testbed.lifecycle.control_plane import POLICY, ControlPlane
from testbed.lifecycle.little_cloud import LittleCloud
from vmferry.policy import Policy
from vmferry.reconcilers.decision import Decision
from vmferry.resources.hostmaintenance import MAX_BLOCKERS, MAX_MOVES, HostMaintenance
from vmferry.resources.words import MaintenancePhase
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body

HOSTS = ("cmp1", "cmp2", "cmp3")


class Drain(ControlPlane):
    """Checks after every tick what must hold in every drain."""

    def __init__(self, cloud: LittleCloud, policy: Policy = POLICY) -> None:
        super().__init__(cloud, policy)
        #: server groups whose policy was satisfied at the start
        self.whole = {group.id for group in cloud.groups if not self._broken(group.members)}
        #: number of decisions with an action, to detect hot loops
        self.asked = 0

    def tick(self) -> None:
        super().tick()
        for name, body in self.maintenances.items():
            self._counts_are_right(name, body)
        for group in self.cloud.groups:
            if group.id in self.whole and group.policy == "anti-affinity":
                assert not self._broken(group.members), self.told("two members of an anti-affinity group share a host")
        limits = self.policy.limits
        assert max(self.most_from.values(), default=0) <= limits.per_source, self.told("too many leave a host")
        assert max(self.most_to.values(), default=0) <= limits.per_target, self.told("too many go to a host")

    def _broken(self, members: frozenset[str]) -> bool:
        """Whether two members are on one host or moving from or to it."""
        places: list[set[str | None]] = []
        for member in members:
            server = self.cloud.servers.get(member)
            moving = [m for m in self.cloud.migrations if m.server_id == member and m.open]
            if server is not None:
                places.append(
                    {server.host, *(m.target_host for m in moving), *(m.source_host for m in moving)} - {None}
                )
        return any(one & other for one, other in combinations(places, 2))

    def _counts_are_right(self, name: str, body: Body) -> None:
        status = body.get("status", {})
        p = status.get("progress")
        if p:
            parts = p["moved"] + p["moving"] + p["waiting"] + p["blocked"] + p["staying"]
            assert p["total"] == parts, self.told(f"{name}: {p}")
        assert len(status.get("blockers", [])) <= MAX_BLOCKERS
        assert len(status.get("moves", [])) <= MAX_MOVES
        conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
        assert "False" not in (conditions.get("Reconciling"), conditions.get("Stalled"))
        if conditions.get("Ready") == "True":
            assert not {"Reconciling", "Stalled"} & conditions.keys(), self.told(f"{name} is ready and is not")

    def decided(self, key: Key, decision: Decision[Any]) -> None:
        if key.kind == HostMaintenance.KIND:
            wait = decision.requeue_after
            assert wait is None or wait >= timedelta(seconds=1), self.told(f"{key.name} is reconciled again at once")
            ended = decision.status.phase in (MaintenancePhase.RELEASED, MaintenancePhase.IN_SERVICE)
            assert wait is not None or ended, self.told(f"{key.name} is never reconciled again")
            self.asked += decision.action is not None

    def told(self, what: str) -> str:
        return "\n".join([what, *self.log[-40:]])

    # -- vocabulary of scenarios

    def is_(self, name: str, reason: str, status: str | None = None) -> bool:
        found = self.condition(name, "Ready") if name in self.maintenances else None
        return found is not None and found[1] == reason and status in (None, found[0])

    def in_maintenance(self, name: str = "cmp1", seconds: float = 900) -> None:
        self.run(lambda: self.is_(name, "InMaintenance", "True"), seconds)

    def released(self, name: str = "cmp1", seconds: float = 900) -> None:
        self.run(lambda: self.is_(name, "Released", "True"), seconds)

    def blocked(self, name: str = "cmp1", seconds: float = 900) -> None:
        self.run(lambda: self.phase(name) == MaintenancePhase.BLOCKED, seconds)

    def gone(self, name: str = "cmp1", seconds: float = 900) -> None:
        self.run(lambda: name not in self.maintenances and not self.migrations, seconds)

    def stuck(self, name: str = "cmp1") -> bool:
        """Whether the maintenance is blocked and no migration is open."""
        return self.phase(name) == MaintenancePhase.BLOCKED and not [m for m in self.cloud.migrations if m.open]

    def phase(self, name: str = "cmp1") -> str | None:
        found: str | None = self.maintenances[name].get("status", {}).get("phase")
        return found

    def people(self, what: str, do: Callable[[], object]) -> None:
        """Log and carry out an action of somebody else."""
        self.say(f"-- {what}")
        do()

    def server(self, name: str, **change: Any) -> None:
        guest = {"power_state": {"active": 1, "paused": 3}.get(change["vm_state"], 4)} if "vm_state" in change else {}
        self.people(
            f"{name}: " + ", ".join(f"{key} {value}" for key, value in change.items()),
            lambda: self.cloud.servers.update(
                {ident(name): replace(self.cloud.servers[ident(name)], **{**guest, **change})}
            ),
        )

    def service(self, host: str, **change: Any) -> None:
        self.people(
            f"{host}: " + ", ".join(f"{key} {value}" for key, value in change.items()),
            lambda: self.cloud.set_service(host, **change),
        )

    def switch(self, name: str = "cmp1", **spec: Any) -> None:
        """Apply a change of the manifest."""
        words = ", ".join(f"{key}: {value}" for key, value in spec.items())
        self.people(f"kubectl apply {name}: {words or 'as it is'}", lambda: self.apply(name, **spec))

    def story(self) -> str:
        """The log, followed by the final state of all objects and hosts."""
        names = {server.id: server.name for server in self.cloud.servers.values()}
        lines = [*self.log, ""]
        for name, body in sorted(self.maintenances.items()):
            status = body.get("status", {})
            lines.append(f"{name}: {status.get('phase')} {status.get('progress', {})}")
            for blocker in status.get("blockers", []):
                lines.append(f"  blocker {blocker['name']}: {blocker['reason']}: {blocker['message']}")
                lines.append(f"    remedy: {blocker.get('remedy')}")
            for move in status.get("moves", []):
                words = f": {move['message']}" if "message" in move else ""
                lines.append(f"  move {move['name']} -> {move.get('targetHost')} {move['state']}{words}")
        for host in self.cloud.hosts.values():
            here = sorted(s.name for s in self.cloud.servers.values() if s.host == host.name)
            service = host.service
            word = "enabled" if service.enabled else f"disabled ({service.disabled_reason})"
            lines.append(f"{host.name}: {word}: {', '.join(here) or 'empty'}")
        lines.append("moved: " + ", ".join(f"{names.get(s, s)} -> {to} ({kind})" for s, kind, to in self.cloud.moved))
        return "\n".join(lines) + "\n"


def a_cloud(*servers: str, hosts: tuple[str, ...] = HOSTS, seconds: float = 8, **cloud: Any) -> LittleCloud:
    """A cloud with servers on cmp1, each given as `web-1`, `db-1 stopped` or `big paused`."""
    made = LittleCloud(seconds=seconds, **cloud)
    for host in hosts:
        made.add_host(host)
    for words in servers:
        name, _, state = words.partition(" ")
        add(made, name, vm_state=state or "active")
    return made


def add(cloud: LittleCloud, name: str, host: str = "cmp1", **over: Any) -> str:
    return cloud.add_server(host, id=ident(name), name=name, **over).id


def where(cloud: LittleCloud) -> dict[str, str | None]:
    return {server.name: server.host for server in cloud.servers.values()}


def moves_of(cloud: LittleCloud, name: str) -> int:
    return sum(server == ident(name) for server, _, _ in cloud.moved)
