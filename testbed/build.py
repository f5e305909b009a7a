"""Builders of cloud facts for tests: a healthy server, host or cloud, of which a test overrides only what it is
about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

from vmferry.cloud.model import (
    CPU,
    Fact,
    Flavor,
    Host,
    HostFacts,
    Hypervisor,
    Inventory,
    Migration,
    OperatingSystem,
    Part,
    ResolvedType,
    Server,
    ServerGroup,
    Service,
    Snapshot,
    index_groups,
)
from vmferry.policy import Policy
from vmferry.prerequisites.check import PlannedMove, Question

#: the fixed current time of all tests
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

#: Nova's `status` by the vm_state of a server
STATUS = {
    "active": "ACTIVE",
    "building": "BUILD",
    "paused": "PAUSED",
    "suspended": "SUSPENDED",
    "stopped": "SHUTOFF",
    "rescued": "RESCUE",
    "resized": "VERIFY_RESIZE",
    "soft-delete": "SOFT_DELETED",
    "deleted": "DELETED",
    "error": "ERROR",
    "shelved": "SHELVED",
    "shelved_offloaded": "SHELVED_OFFLOADED",
}
_POWER = {"active": 1, "rescued": 1, "paused": 3, "suspended": 4, "stopped": 4}


def ident(name: str) -> str:
    """Return a UUID that depends only on the name."""
    return str(uuid5(NAMESPACE_DNS, name))


def flavor(**over: Any) -> Flavor:
    """A flavor with 2 vCPUs, 4 GiB memory, and no disk."""
    return Flavor(**{"name": "m1.medium", "vcpus": 2, "memory_mb": 4096, "disk_gb": 0, **over})


def server(**over: Any) -> Server:
    """A running, volume-backed server on host-a. `vm_state` alone also sets status and power state."""
    name = over.get("name", "web-1")
    state = over.get("vm_state", "active")
    facts: dict[str, Any] = {
        "id": ident(name),
        "name": name,
        "project_id": "p-shop",
        "status": STATUS.get(state, state.upper()),
        "vm_state": state,
        "task_state": None,
        "power_state": _POWER.get(state, 0),
        "host": "host-a",
        "availability_zone": "nova",
        "flavor": flavor(),
        "image_id": None,
        "volumes": (ident(f"{name}-root"),),
        "metadata": {},
    }
    return Server(**{**facts, **over})


def service(host: str, **over: Any) -> Service:
    """A service that is up and enabled, with a heartbeat five seconds ago."""
    facts: dict[str, Any] = {
        "id": ident(f"service-{host}"),
        "host": host,
        "zone": "nova",
        "enabled": True,
        "up": True,
        "forced_down": False,
        "disabled_reason": None,
        "last_seen": NOW - timedelta(seconds=5),
    }
    return Service(**{**facts, **over})


def hypervisor(host: str, **over: Any) -> Hypervisor:
    """A hypervisor with QEMU 6.2.0."""
    facts: dict[str, Any] = {
        "id": ident(f"hypervisor-{host}"),
        "hostname": f"{host}.example.org",
        "service_host": host,
        "type": "QEMU",
        "version": 6_002_000,
    }
    return Hypervisor(**{**facts, **over})


def room(**over: Inventory) -> dict[str, Inventory]:
    """The inventories of an empty host with 32 vCPUs, 64 GiB memory and 500 GiB disk."""
    return {
        "VCPU": Inventory(capacity=32, used=0),
        "MEMORY_MB": Inventory(capacity=65_536, used=0),
        "DISK_GB": Inventory(capacity=500, used=0),
        **over,
    }


SKYLAKE = CPU("Intel", "x86_64", "Skylake-Server-IBRS", frozenset({"fpu", "sse2", "avx", "avx512f", "pku"}))
JAMMY = OperatingSystem("Ubuntu", "22.04")
NOBLE = OperatingSystem("Ubuntu", "24.04")


def facts(cpu: CPU | None = SKYLAKE, system: OperatingSystem | None = JAMMY, **over: Any) -> HostFacts:
    """The facts of a Skylake host with Ubuntu 22.04, each reported by one source."""
    return HostFacts(
        **{
            "cpu": (Fact(cpu, "Nova", NOW),) if cpu else (),
            "operating_system": (Fact(system, "resource manager", NOW),) if system else (),
            **over,
        }
    )


def host(name: str, **over: Any) -> Host:
    """A healthy, empty host. Fields of `Service` (`up`, `zone` ...) and `version` may be given directly."""
    fields = set(Host.__dataclass_fields__)
    of_service = {key: value for key, value in over.items() if key in Service.__dataclass_fields__}
    of_hypervisor = {"version": over["version"]} if "version" in over else {}
    unknown = set(over) - fields - set(of_service) - {"version"}
    assert not unknown, f"neither a host nor its service has {unknown}"
    parts: dict[str, Any] = {
        "service": service(name, **of_service),
        "hypervisor": hypervisor(name, **of_hypervisor),
        "inventories": room(),
        "facts": facts(),
    }
    return Host(**{"name": name, **parts, **{key: value for key, value in over.items() if key in fields}})


def dead_host(name: str, **over: Any) -> Host:
    """A host whose service is down, with the last heartbeat five minutes ago."""
    return host(name, **{"up": False, "last_seen": NOW - timedelta(minutes=5), **over})


def migration(of: Server, number: int = 1, **over: Any) -> Migration:
    """A running live migration of `of` from its host to host-b."""
    facts: dict[str, Any] = {
        "id": number,
        "uuid": ident(f"migration-{number}"),
        "server_id": of.id,
        "type": "live-migration",
        "status": "running",
        "source_host": of.host,
        "target_host": "host-b",
        "user_id": "somebody",
    }
    return Migration(**{**facts, **over})


def move(of: Server, target: str, **over: Any) -> PlannedMove:
    """A live migration of `of` that was decided at `NOW`."""
    facts: dict[str, Any] = {
        "server_id": of.id,
        "type": ResolvedType.LIVE,
        "source_host": of.host or "",
        "target_host": target,
        "needs": of.needs,
        "decided_at": NOW,
    }
    return PlannedMove(**{**facts, **over})


def snapshot(
    servers: Iterable[Server] | None = None,
    hosts: Iterable[Host] | None = None,
    migrations: Iterable[Migration] = (),
    *,
    server_groups: Iterable[ServerGroup] = (),
    read_at: Mapping[Part, datetime] | None = None,
    **over: Any,
) -> Snapshot:
    """A snapshot of which every part was read at `NOW`; by default `server()` and the hosts host-a, host-b and
    host-c."""
    by_id = {s.id: s for s in ([server()] if servers is None else servers)}
    by_name = {h.name: h for h in ([host(f"host-{x}") for x in "abc"] if hosts is None else hosts)}
    by_uuid = {m.uuid: m for m in migrations}
    groups = tuple(server_groups)
    facts: dict[str, Any] = {
        "projects": {"p-shop": "shop"},
        "user_id": "vmferry",
        "ports": {},
    }
    return Snapshot(
        servers=by_id,
        hosts=by_name,
        server_groups=groups,
        migrations=by_uuid,
        read_at=dict.fromkeys(Part, NOW) if read_at is None else read_at,
        servers_by_host=index_servers(by_id),
        migrations_by_server=index_migrations(by_uuid),
        groups_by_server=index_groups(groups),
        **{**facts, **over},
    )


def question(
    of: Server | None = None,
    kind: ResolvedType = ResolvedType.LIVE,
    view: Snapshot | None = None,
    target: str | None = "host-b",
    **over: Any,
) -> Question:
    """The question whether `of` (by default `server()`) can be moved to `target`. Its source host is taken from
    `view`."""
    asked = server() if of is None else of
    view = snapshot([asked]) if view is None else view
    facts: dict[str, Any] = {
        "source": view.hosts.get(asked.host) if asked.host else None,
        "target": view.hosts[target] if target else None,
        "policy": Policy(),
        "now": NOW,
        "group": view.group_of(asked.id),
        "ports": view.ports_of(asked.id),
        "stop_if_running": False,
        "attested": None,
        "os_upgrade": False,
        "broken": None,
        "moves": (),
        "earlier": (),
        "in_maintenance": frozenset(),
        "os_upgrades": {},
    }
    return Question(server=asked, type=kind, snapshot=view, **{**facts, **over})


def index_servers(servers: Mapping[str, Server]) -> dict[str, tuple[str, ...]]:
    """Server ids by host, for `Snapshot.servers_by_host`."""
    by_host: dict[str, list[str]] = {}
    for server in servers.values():
        if server.host:
            by_host.setdefault(server.host, []).append(server.id)
    return {host: tuple(ids) for host, ids in by_host.items()}


def index_migrations(migrations: Mapping[str, Migration]) -> dict[str, tuple[Migration, ...]]:
    """Migrations by server, newest first, for `Snapshot.migrations_by_server`."""
    by_server: dict[str, list[Migration]] = {}
    for migration in sorted(migrations.values(), key=lambda m: m.id, reverse=True):
        by_server.setdefault(migration.server_id, []).append(migration)
    return {server: tuple(found) for server, found in by_server.items()}
