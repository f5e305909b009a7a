"""The records of the simulated cloud. Times are simulated seconds since the epoch."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vmferry.simulator.clock import Event
from vmferry.simulator.cpu import Cpu

#: Nova's power states
NO_STATE, RUNNING, PAUSED, SHUTDOWN, CRASHED, SUSPENDED = 0, 1, 3, 4, 6, 7

#: `status` by (vm_state, task_state); the entry with None applies to all other tasks
_STATUS: dict[str, dict[str | None, str]] = {
    "active": {
        None: "ACTIVE",
        "rebooting": "REBOOT",
        "rebooting_hard": "HARD_REBOOT",
        "rebuilding": "REBUILD",
        "rebuild_spawning": "REBUILD",
        "migrating": "MIGRATING",
        "resize_prep": "RESIZE",
        "resize_migrating": "RESIZE",
        "resize_migrated": "RESIZE",
        "resize_finish": "RESIZE",
    },
    "building": {None: "BUILD"},
    "stopped": {
        None: "SHUTOFF",
        "resize_prep": "RESIZE",
        "resize_migrating": "RESIZE",
        "resize_migrated": "RESIZE",
        "resize_finish": "RESIZE",
        "rebuilding": "REBUILD",
        "rebuild_spawning": "REBUILD",
    },
    "resized": {None: "VERIFY_RESIZE", "resize_reverting": "REVERT_RESIZE"},
    "paused": {None: "PAUSED", "migrating": "MIGRATING"},
    "suspended": {None: "SUSPENDED"},
    "rescued": {None: "RESCUE"},
    "error": {None: "ERROR", "rebuilding": "REBUILD", "rebuild_spawning": "REBUILD"},
    "deleted": {None: "DELETED"},
    "soft-delete": {None: "SOFT_DELETED"},
    "shelved": {None: "SHELVED"},
    "shelved_offloaded": {None: "SHELVED_OFFLOADED"},
}
STATUSES = frozenset(status for row in _STATUS.values() for status in row.values())


@dataclass(slots=True)
class Flavor:
    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    public: bool = True
    description: str | None = None
    extra_specs: dict[str, str] = field(default_factory=dict)

    def resources(self, *, volume_backed: bool) -> dict[str, int]:
        """The resources that a server of this flavor takes from a host. A volume-backed root disk takes no space
        there."""
        disk = (0 if volume_backed else self.disk_gb) + self.ephemeral_gb + -(-self.swap_mb // 1024)
        wanted = {"VCPU": self.vcpus, "MEMORY_MB": self.ram_mb, "DISK_GB": disk}
        return {name: amount for name, amount in wanted.items() if amount}


@dataclass(slots=True)
class Image:
    id: str
    name: str
    properties: dict[str, str]
    created_at: float
    min_disk_gb: int = 0
    min_ram_mb: int = 0
    size: int = 16_338_944


@dataclass(slots=True)
class Volume:
    id: str
    name: str
    size_gb: int
    type: str
    project_id: str
    created_at: float
    server_id: str | None = None
    multiattach: bool = False


@dataclass(slots=True)
class Project:
    id: str
    name: str
    description: str = ""


@dataclass(slots=True)
class User:
    id: str
    name: str
    password: str
    roles: dict[str, tuple[str, ...]]  # by project id


@dataclass(slots=True)
class Host:
    """A compute host: its nova-compute, its hypervisor and its Placement provider."""

    name: str
    uuid: str  # of the hypervisor and of the resource provider
    service_uuid: str
    number: int
    cpu: Cpu
    hypervisor_version: int
    libvirt_version: int
    os_version: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    reserved_memory_mb: int
    vcpu_ratio: float
    memory_ratio: float
    disk_ratio: float
    store: str | None  # the shared store that holds its instances; None: its own disk
    ip: str
    started_at: float
    hypervisor_type: str = "QEMU"
    sockets: int = 2
    traits: set[str] = field(default_factory=set)
    alive: bool = True
    coming: Event | None = None  # while its nova-compute starts
    last_seen: float = 0.0  # when it was killed; while alive the heartbeat is computed
    disabled: bool = False
    #: its trait in Placement. Its own nova-compute writes this, so it does not change while nova-compute is dead
    disabled_trait: bool = False
    disabled_reason: str | None = None
    forced_down: bool = False
    knobs: dict[str, Any] = field(default_factory=dict)
    #: the database of its cell does not answer: Nova shows the host's name and nothing else
    unreachable: bool = False
    #: casts that wait until nova-compute is back, as they would in its message queue
    mailbox: list[Callable[[], None]] = field(default_factory=list)
    #: builds that a knob holds
    held: list[Callable[[], None]] = field(default_factory=list)
    copying: set[int] = field(default_factory=set)  # ids of live migrations that hold a slot here
    queue: deque[Migration] = field(default_factory=deque)


@dataclass(slots=True)
class StrayService:
    """A record of a nova-compute service without a process: left in another cell, or discovered twice."""

    id: str
    host: str
    up: bool
    forced_down: bool
    disabled: bool
    updated_at: float
    disabled_reason: str | None = None
    #: listed before the services of hosts
    first: bool = False


@dataclass(slots=True)
class Server:
    id: str
    number: int
    name: str
    project_id: str
    user_id: str
    flavor: Flavor
    image_id: str | None  # None: boots from a volume
    volumes: list[tuple[str, bool]]  # (id, delete on termination), the root volume first
    created_at: float
    updated_at: float
    host: str | None = None
    launched_host: str | None = None
    vm_state: str = "building"
    task_state: str | None = None
    power_state: int = NO_STATE
    launched_at: float | None = None
    deleted_at: float | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    hints: dict[str, Any] = field(default_factory=dict)
    group_id: str | None = None
    pinned_zone: str | None = None
    locked_by: str | None = None
    locked_reason: str | None = None
    fault: Fault | None = None
    description: str | None = None
    key_name: str | None = None
    old_vm_state: str | None = None  # while it is resized or rescued
    old_flavor: Flavor | None = None
    addresses: dict[str, str] = field(default_factory=dict)
    port_types: list[str] = field(default_factory=list)  # `binding:vnic_type` of ports other than `normal`
    guest_cpu: Cpu | None = None
    actions: list[InstanceAction] = field(default_factory=list)

    @property
    def volume_backed(self) -> bool:
        return self.image_id is None

    @property
    def status(self) -> str:
        tasks = _STATUS[self.vm_state]
        return tasks.get(self.task_state, tasks[None])

    @property
    def local_disk_gb(self) -> int:
        return self.flavor.resources(volume_backed=self.volume_backed).get("DISK_GB", 0)

    def resources(self, flavor: Flavor | None = None) -> dict[str, int]:
        return (flavor or self.flavor).resources(volume_backed=self.volume_backed)


@dataclass(slots=True)
class Fault:
    code: int
    message: str
    created_at: float
    details: str = ""


@dataclass(slots=True)
class Copy:
    """The copy phase of a live migration, with its progress at any instant."""

    started_at: float
    seconds: float
    ceiling: float  # the fraction at which it stops: 1 unless it fails or never converges
    memory_bytes: int
    disk_bytes: int

    def fraction(self, now: float) -> float:
        passed = 1.0 if self.seconds <= 0 else (now - self.started_at) / self.seconds
        return min(max(passed, 0.0), self.ceiling)


@dataclass(slots=True)
class Migration:
    id: int
    uuid: str
    server_id: str
    type: str  # live-migration, migration, resize, evacuation
    status: str
    source: str
    created_at: float
    user_id: str
    project_id: str
    updated_at: float | None = None
    destination: str | None = None
    destination_ip: str | None = None
    source_node: str | None = None
    destination_node: str | None = None
    flavor: Flavor | None = None
    old_flavor: Flavor | None = None
    block: bool = False
    copy: Copy | None = None
    action: InstanceAction | None = None
    next_step: Event | None = None


@dataclass(slots=True)
class ActionEvent:
    name: str
    host: str
    started_at: float
    finished_at: float | None = None
    result: str | None = None
    details: str | None = None
    traceback: str | None = None


@dataclass(slots=True)
class InstanceAction:
    """A request for a server and its outcome; `request_id` is the key of both."""

    name: str
    server_id: str
    request_id: str
    user_id: str
    project_id: str
    started_at: float
    updated_at: float
    message: str | None = None
    events: list[ActionEvent] = field(default_factory=list)

    def begin(self, event: str, host: str, now: float) -> None:
        self.events.append(ActionEvent(event, host, now))
        self.updated_at = now

    def end(self, event: str, now: float, *, error: str | None = None) -> None:
        """Close the first event of this name, as Nova does: after several tried hosts only the first event has a
        result."""
        for entry in self.events:
            if entry.name == event:
                entry.finished_at = now
                entry.result = "Success" if error is None else "Error"
                if error is not None:
                    entry.details = error[:255]  # the width of Nova's column
                    entry.traceback = f'  File "simulator", in {event}\n    {error}\n'
                    self.message = "Error"
                break
        self.updated_at = now


@dataclass(slots=True)
class Aggregate:
    id: int
    uuid: str
    name: str
    created_at: float
    hosts: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def zone(self) -> str | None:
        return self.metadata.get("availability_zone")


@dataclass(slots=True)
class ServerGroup:
    id: str
    name: str
    policy: str
    project_id: str
    user_id: str
    max_server_per_host: int = 1
    members: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a request, and the request id."""

    user_id: str
    project_id: str
    roles: tuple[str, ...]
    request_id: str

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles


def host_id(project_id: str, host: str | None) -> str:
    """Nova's `hostId`: a project can see that two servers share a host, but not which host."""
    return hashlib.sha224((project_id + host).encode()).hexdigest() if host else ""
