"""The whole simulated cloud: its records, lookups, and the small changes that several modules share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from vmferry.simulator.clock import Clock
from vmferry.simulator.cpu import Cpu, model_features
from vmferry.simulator.errors import NotFoundError
from vmferry.simulator.ledger import Ledger
from vmferry.simulator.model import (
    Aggregate,
    Caller,
    Fault,
    Flavor,
    Host,
    Image,
    InstanceAction,
    Migration,
    Project,
    Server,
    ServerGroup,
    StrayService,
    User,
    Volume,
)
from vmferry.simulator.settings import Settings

_NAMESPACE = uuid.UUID("6f1f3a52-7a0e-4c1c-9a80-6f3f1d1b6c11")
#: traits that every libvirt host of a current Nova reports, except those about devices
_DRIVER_TRAITS = frozenset(
    [
        "COMPUTE_ACCELERATORS",
        "COMPUTE_ARCH_X86_64",
        "COMPUTE_DEVICE_TAGGING",
        "COMPUTE_IMAGE_TYPE_QCOW2",
        "COMPUTE_IMAGE_TYPE_RAW",
        "COMPUTE_NET_ATTACH_INTERFACE",
        "COMPUTE_NET_ATTACH_INTERFACE_WITH_TAG",
        "COMPUTE_NET_VIF_MODEL_VIRTIO",
        "COMPUTE_NODE",
        "COMPUTE_RESCUE_BFV",
        "COMPUTE_SECURITY_UEFI_SECURE_BOOT",
        "COMPUTE_SOCKET_PCI_NUMA_AFFINITY",
        "COMPUTE_STORAGE_BUS_SCSI",
        "COMPUTE_STORAGE_BUS_VIRTIO",
        "COMPUTE_TRUSTED_CERTS",
        "COMPUTE_VOLUME_ATTACH_WITH_TAG",
        "COMPUTE_VOLUME_EXTEND",
        "COMPUTE_VOLUME_MULTI_ATTACH",
        "HW_ARCH_X86_64",
        "HW_CPU_HYPERTHREADING",
    ]
)
#: the host name of the conductor and the scheduler
CONTROLLER = "controller"


class Cloud:
    """All records of one cloud, in memory."""

    def __init__(self, settings: Settings | None = None, clock: Clock | None = None) -> None:
        self.settings = settings or Settings()
        self.clock = clock or Clock(speed=self.settings.speed)
        self.started_at = self.clock.now()
        self.ledger = Ledger()
        self.projects: dict[str, Project] = {}
        self.users: dict[str, User] = {}
        self.hosts: dict[str, Host] = {}
        self.stray_services: list[StrayService] = []
        self.flavors: dict[str, Flavor] = {}
        self.images: dict[str, Image] = {}
        self.volumes: dict[str, Volume] = {}
        self.servers: dict[str, Server] = {}  # includes deleted servers
        self.migrations: dict[int, Migration] = {}
        self.aggregates: dict[int, Aggregate] = {}
        self.groups: dict[str, ServerGroup] = {}
        self._migrations_of: dict[str, list[Migration]] = {}
        self._on_host: dict[str, set[str]] = {}
        self._newest_first: list[Server] | None = None
        self._ids = 0
        self._server_count = 0

    # ---- names and times

    @property
    def now(self) -> float:
        return self.clock.now()

    def new_uuid(self) -> str:
        """Return a UUID that follows from the seed and the number of earlier calls, so that each run yields the same
        sequence."""
        self._ids += 1
        return str(uuid.UUID(bytes=uuid.uuid5(_NAMESPACE, f"{self.settings.seed}/{self._ids}").bytes, version=4))

    # ---- hosts

    def add_host(self, host: Host) -> None:
        self.hosts[host.name] = host
        self._on_host.setdefault(host.name, set())

    def remove_host(self, name: str) -> None:
        for aggregate in self.aggregates.values():
            if name in aggregate.hosts:
                aggregate.hosts.remove(name)
        del self.hosts[name]

    def last_seen(self, host: Host) -> float:
        """When the host's nova-compute last wrote its heartbeat."""
        if not host.alive:
            return host.last_seen
        interval = self.settings.nova.report_interval
        return self.now - (self.now - host.started_at) % interval

    def is_up(self, host: Host) -> bool:
        """The state that Nova's service group reports. A killed host counts as up until `service_down_time` has
        passed."""
        if host.forced_down:
            return False
        return self.now - self.last_seen(host) <= self.settings.nova.service_down_time

    def is_unreachable(self, server: Server) -> bool:
        """Whether the database of the cell of the server's host does not answer."""
        host = self.hosts.get(server.host or "")
        return host is not None and host.unreachable

    def set_disabled(self, host: Host, disabled: bool, reason: str | None) -> None:
        host.disabled, host.disabled_reason = disabled, reason
        if host.alive:
            host.disabled_trait = disabled

    def zone_of(self, host: str | None) -> str:
        for aggregate in self.aggregates.values():
            if host in aggregate.hosts and aggregate.zone:
                return aggregate.zone
        return self.settings.nova.default_zone

    def aggregates_of(self, host: str) -> Iterator[Aggregate]:
        return (aggregate for aggregate in self.aggregates.values() if host in aggregate.hosts)

    def inventories(self, host: Host) -> dict[str, dict[str, Any]]:
        def inventory(total: int, reserved: int, ratio: float, most: int) -> dict[str, Any]:
            return {
                "total": total,
                "reserved": reserved,
                "min_unit": 1,
                "max_unit": most,
                "step_size": 1,
                "allocation_ratio": ratio,
            }

        return {
            "VCPU": inventory(host.vcpus, 0, host.vcpu_ratio, host.vcpus),
            "MEMORY_MB": inventory(host.memory_mb, host.reserved_memory_mb, host.memory_ratio, host.memory_mb),
            "DISK_GB": inventory(host.disk_gb, 0, host.disk_ratio, host.disk_gb),
        }

    def has_room(self, host: Host, wanted: dict[str, int]) -> bool:
        inventories = self.inventories(host)
        for name, amount in wanted.items():
            inventory = inventories.get(name)
            if inventory is None or amount > inventory["max_unit"]:
                return False
            capacity = int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"])
            if self.ledger.used(host.uuid, name) + amount > capacity:
                return False
        return True

    def traits(self, host: Host) -> list[str]:
        extra = {"COMPUTE_STATUS_DISABLED"} if host.disabled_trait else set()
        return sorted({*host.cpu.traits, *host.traits, *extra, *_DRIVER_TRAITS})

    def guest_cpu(self, host: Host) -> Cpu:
        """The CPU that a guest sees when it starts on this host."""
        nova = self.settings.nova
        if nova.cpu_mode == "custom" and nova.cpu_model:
            return Cpu(nova.cpu_model, host.cpu.vendor, model_features(nova.cpu_model))
        return host.cpu

    # ---- servers

    def add_server(self, server: Server) -> None:
        self.servers[server.id] = server
        self._newest_first = None
        if server.group_id:
            self.groups[server.group_id].members.append(server.id)

    def next_server_number(self) -> int:
        self._server_count += 1
        return self._server_count

    def find_server(self, server_id: str, caller: Caller, *, deleted: bool = False) -> Server:
        """Return a server that the caller may see. Raises NotFoundError."""
        server = self.servers.get(server_id)
        visible = server is not None and (caller.is_admin or server.project_id == caller.project_id)
        if server is None or not visible or (server.deleted_at is not None and not deleted):
            raise NotFoundError(f"Instance {server_id} could not be found.")
        return server

    def servers_newest_first(self) -> list[Server]:
        if self._newest_first is None:
            self._newest_first = sorted(self.servers.values(), key=lambda s: (-s.created_at, -s.number))
        return self._newest_first

    def servers_on(self, host: str) -> list[Server]:
        return [self.servers[server_id] for server_id in sorted(self._on_host.get(host, ()))]

    def place(self, server: Server, host: str | None) -> None:
        """Record that the server is on this host. Its allocations in Placement are not changed."""
        if server.host:
            self._on_host[server.host].discard(server.id)
        server.host = host
        if host:
            self._on_host.setdefault(host, set()).add(server.id)
        self.touch(server)

    def leave(self, server: Server) -> None:
        """Remove the deleted server from its host; its record keeps the host's name."""
        if server.host:
            self._on_host[server.host].discard(server.id)

    def touch(self, server: Server) -> None:
        server.updated_at = self.now

    def set_task(self, server: Server, task: str | None) -> None:
        server.task_state = task
        self.touch(server)

    def fail_server(self, server: Server, message: str, code: int = 500) -> None:
        """Set the server to ERROR with a fault."""
        server.vm_state, server.task_state = "error", None
        server.fault = Fault(code, message[:255], self.now, f"Traceback (most recent call last):\n  {message}\n")
        self.touch(server)

    def record(self, server: Server, action: str, caller: Caller) -> InstanceAction:
        entry = InstanceAction(
            name=action,
            server_id=server.id,
            request_id=caller.request_id,
            user_id=caller.user_id,
            project_id=caller.project_id,
            started_at=self.now,
            updated_at=self.now,
        )
        server.actions.append(entry)
        return entry

    # ---- migrations

    def add_migration(self, server: Server, kind: str, caller: Caller, *, destination: str | None = None) -> Migration:
        migration = Migration(
            id=len(self.migrations) + 1,
            uuid=self.new_uuid(),
            server_id=server.id,
            type=kind,
            status="accepted",
            source=server.host or "",
            created_at=self.now,
            user_id=caller.user_id,
            project_id=caller.project_id,
            destination=destination,
            flavor=server.flavor,
            old_flavor=server.flavor,
        )
        self.migrations[migration.id] = migration
        self._migrations_of.setdefault(server.id, []).append(migration)
        return migration

    def add_record(
        self, server: Server, kind: str, status: str, source: str, target: str | None, age: float
    ) -> Migration:
        """Add a record of a past migration that no step of the simulator changes."""
        made_at = self.now - age
        record = Migration(
            id=len(self.migrations) + 1,
            uuid=self.new_uuid(),
            server_id=server.id,
            type=kind,
            status=status,
            source=source,
            created_at=made_at,
            updated_at=made_at,
            user_id=server.user_id,
            project_id=server.project_id,
            destination=target,
            flavor=server.flavor,
            old_flavor=server.flavor,
        )
        self.migrations[record.id] = record
        self._migrations_of.setdefault(server.id, []).append(record)
        return record

    def migrations_of(self, server_id: str) -> list[Migration]:
        return self._migrations_of.get(server_id, [])

    def set_status(self, migration: Migration, status: str) -> None:
        migration.status = status
        migration.updated_at = self.now

    # ---- casts

    def cast(self, host_name: str, seconds: float, action: Any) -> Any:
        """Make the host's nova-compute run the action after this many seconds. If it is dead, it runs the action when
        it is back."""

        def deliver() -> None:
            host = self.hosts.get(host_name)
            if host is None:
                return
            if host.alive:
                action()
            else:
                host.mailbox.append(action)

        return self.clock.after(seconds, deliver)
