"""Invariants of hosts in maintenance, for `rules`.

The checks use only what was written to Kubernetes and the true state of the cloud, never an operator's memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vmferry.cloud.model import _STAGES, MigrationStage
from vmferry.reconcilers.owned_migrations import PURPOSE, Purpose
from vmferry.resources.words import MaintenancePhase
from vmferry.runtime.host_lease import lease_name
from vmferry.runtime.key import Key
from vmferry.runtime.store import Body
from vmferry.simulator.model import Host, Server

if TYPE_CHECKING:
    from testbed.storm.world import World

#: maximum age in seconds of the operator's reading of a host, and of requests that it may not know yet
FRESH = 25.0


class Maintenances:
    """Checks all HostMaintenances of a storm."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._cloud = world.site.cloud
        #: when `returnVMs` was last set, by uid of the HostMaintenance
        self._returns: dict[str, float] = {}

    def acts(self, key: Key | None, host: Host, body: Any) -> None:
        """Check a change of a compute service, right before it is executed."""
        asked = self._world.api.objects.get(key) if key else None
        if asked is None:
            return
        uid = asked["metadata"]["uid"]
        if body["status"] == "disabled" and uid not in body["disabled_reason"]:
            self._world.wrong(f"I8: {host.name} is disabled, and the reason does not say for whom")
        lease = self._world.api.leases.get((self._world.config.namespace, lease_name(host.name)), {})
        holder = lease.get("spec", {}).get("holderIdentity")
        if holder != f"{key}/{uid}":
            self._world.wrong(f"I32: {host.name} is {body['status']} for {key}, and its Lease is held by {holder}")

    def created(self, body: Body) -> None:
        """Check a new VMMigration that an operator has created."""
        metadata = body["metadata"]
        owners = {owner["uid"] for owner in metadata.get("ownerReferences", [])}
        back = metadata.get("labels", {}).get(PURPOSE) == Purpose.RETURN
        if back and not any(self._now - self._returns.get(uid, float("-inf")) <= FRESH for uid in owners):
            self._world.wrong(f"I28: {metadata['name']} takes a server back, and nobody asks for it")

    def status_written(self, key: Key, before: Body, body: Body) -> None:
        status = body["status"]
        if (host := status.get("host")) is not None and self._world.judge.is_doubled(host):
            for condition in status.get("conditions", []):
                if condition["type"] in ("Cordoned", "Drained") and condition["status"] == "True":
                    self._world.wrong(f"I36: {key} says {condition['type']} of {host}, which is listed twice")
        if "admittedAt" in status and "admittedAt" not in before:
            self._admitted(key, status["host"])
        ready = status.get("phase") == MaintenancePhase.IN_MAINTENANCE
        if ready and before.get("phase") != MaintenancePhase.IN_MAINTENANCE:
            self._empty(key, status["host"], body["spec"])

    def see(self) -> None:
        for key, body in self._world.api.objects.items():
            if key.kind == "HostMaintenance" and body["spec"].get("returnVMs"):
                self._returns[body["metadata"]["uid"]] = self._now

    def at_the_end(self) -> Iterator[str]:
        for key, body in self._world.api.objects.items():
            status = body.get("status", {})
            there = key.kind == "HostMaintenance" and status.get("phase") == MaintenancePhase.IN_MAINTENANCE
            if there and not self._cloud.hosts[status["host"]].disabled:
                yield f"I27: {key} says that {status['host']} is in maintenance, and it is enabled"

    def _admitted(self, key: Key, host: str) -> None:
        zone = self._cloud.zone_of(host)
        held = [
            body["status"]["host"]
            for other, body in self._world.api.objects.items()
            if other != key and other.kind == "HostMaintenance" and "admittedAt" in body.get("status", {})
        ]
        if host in held:
            self._world.wrong(f"I26: {key} is let in, and another one has {host}")
        neighbours = [other for other in held if self._cloud.zone_of(other) == zone]
        limit = self._world.config.policy.maintenance.max_hosts_per_cluster
        if len(neighbours) + 1 > limit:
            self._world.wrong(f"I26: {key} is let in beside {neighbours}, the limit of {zone} is {limit}")

    def _empty(self, key: Key, host: str, spec: Body) -> None:
        """Check that a host in maintenance has no server that must leave, and no open migration (I20)."""
        for server in self._cloud.servers.values():
            there = server.host == host and server.deleted_at is None and not _stays(server, spec)
            if there and server.id not in self._world.judge.touched:
                self._world.wrong(f"I20: {key} says that {host} is empty, and {server.name} is there")
        for record in self._cloud.migrations.values():
            open_ = _STAGES.get(record.status) not in (MigrationStage.GOOD, MigrationStage.BAD)
            known = open_ and record.uuid not in self._world.judge.leftovers and self._now - record.created_at > FRESH
            alive = self._cloud.servers[record.server_id].deleted_at is None
            if known and alive and host in (record.source, record.destination):
                self._world.wrong(f"I20: {key} says that {host} is empty, and {record.uuid} is {record.status}")

    @property
    def _now(self) -> float:
        return self._cloud.now


def _stays(server: Server, spec: Body) -> bool:
    """Whether the server stays on the host by the spec."""
    off = server.vm_state in ("stopped", "suspended")
    return spec.get("poweredOff" if off else "running") == "Leave"
