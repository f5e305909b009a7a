"""The fleet file, in YAML: hosts, flavors, images, projects, servers, and settings of the cloud.

    hosts:
    - {name: cmp1, cpu: {model: Skylake-Server-IBRS}, vcpus: 32, memory_gb: 256, disk_gb: 400, store: pool1}
    - {name: "blade{n}", count: 100, cpu: {model: EPYC-Milan, vendor: AMD}}
    aggregates:
    - {name: cluster1, zone: cluster1, hosts: [cmp1]}
    servers:
    - {name: "web-{n}", count: 20, flavor: m1.small, image: cirros}     # spread over all hosts

An entry with `count` creates that many; `{n}` in its name becomes the number, from 1.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

try:
    # takes a quarter of the time, which matters with thousands of servers
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # pragma: no cover - a PyYAML without libyaml
    from yaml import SafeLoader  # type: ignore[assignment]
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from vmferry.simulator.clock import Clock
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.cpu import Cpu
from vmferry.simulator.lifecycle import NewServer, record_of, settle, start
from vmferry.simulator.model import (
    PAUSED,
    SHUTDOWN,
    SUSPENDED,
    Flavor,
    Host,
    Image,
    Project,
    Server,
    ServerGroup,
    StrayService,
    User,
    Volume,
)
from vmferry.simulator.nova.aggregates import new_aggregate
from vmferry.simulator.settings import Settings


class FleetError(Exception):
    """The fleet file is invalid. The message has a line for each finding, with its location."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Counted(_Entry):
    name: str = Field(min_length=1, max_length=255)
    count: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _names_differ(self) -> _Counted:
        if self.count > 1 and "{n}" not in self.name:
            raise ValueError(f"name {self.name!r} needs {{n}} in it, because count is {self.count}")
        return self

    def names(self) -> list[str]:
        return [self.name.replace("{n}", str(number)) for number in range(1, self.count + 1)]


class CpuEntry(_Entry):
    model: str = "Skylake-Server-IBRS"
    vendor: str = "Intel"
    features: list[str] = []


class HostEntry(_Counted):
    cpu: CpuEntry = CpuEntry()
    hypervisor: str = Field("6.2.0", pattern=r"^\d+\.\d+(\.\d+)?$", description="the version of qemu")
    libvirt: str = Field("8.0.0", pattern=r"^\d+\.\d+(\.\d+)?$")
    os: str = "Ubuntu 22.04.5 LTS"
    sockets: int = Field(2, ge=1)
    vcpus: int = Field(32, ge=1)
    memory_gb: int = Field(256, ge=1)
    disk_gb: int = Field(400, ge=1)
    reserved_memory_mb: int = Field(512, ge=0)
    cpu_ratio: float = Field(16.0, gt=0)
    memory_ratio: float = Field(1.0, gt=0)
    disk_ratio: float = Field(1.0, gt=0)
    store: str = Field("local", description="the name of a shared store, or `local`")
    traits: list[str] = []
    disabled: bool = False
    disabled_reason: str | None = None
    forced_down: bool = False
    knobs: dict[str, float | bool | str] = {}


class StrayServiceEntry(_Entry):
    """A second service record with a host's name, such as remains of a host that was moved to another cell."""

    host: str = Field(min_length=1)
    id: str | None = None
    state: Literal["up", "down"] = "down"
    status: Literal["enabled", "disabled"] = "enabled"
    forced_down: bool = False
    age_seconds: float = Field(31_536_000, ge=0, description="since its last heartbeat")
    first: bool = Field(False, description="listed before the hosts' own services, not after them")


class AggregateEntry(_Entry):
    name: str = Field(min_length=1)
    zone: str | None = None
    hosts: list[str] = []
    metadata: dict[str, str] = {}


class FlavorEntry(_Entry):
    name: str = Field(min_length=1)
    id: str | None = None
    vcpus: int = Field(ge=1)
    ram_mb: int = Field(ge=1)
    disk_gb: int = Field(0, ge=0)
    ephemeral_gb: int = Field(0, ge=0)
    swap_mb: int = Field(0, ge=0)
    extra_specs: dict[str, str] = {}


class ImageEntry(_Entry):
    name: str = Field(min_length=1)
    id: str | None = None
    properties: dict[str, str] = {}


class UserEntry(_Entry):
    name: str = Field(min_length=1)
    password: str = "secret"  # noqa: S105 - a simulated cloud on loopback
    project: str
    roles: list[str] = ["member", "reader"]


class GroupEntry(_Entry):
    name: str = Field(min_length=1)
    policy: Literal["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"]
    project: str = "admin"
    max_server_per_host: int = Field(1, ge=1)


class VolumeEntry(_Entry):
    name: str = Field(min_length=1)
    size_gb: int = Field(10, ge=1)
    type: str = "shared"
    project: str = "admin"


class RecordEntry(_Entry):
    """A migration record without a running migration: finished long ago, or abandoned by a killed nova-compute."""

    type: Literal["live-migration", "migration", "resize", "evacuation"] = "live-migration"
    status: str = Field(min_length=1)
    source: str = Field(min_length=1)
    target: str | None = None
    age_seconds: float = Field(0, ge=0, description="since it was made, and last changed")


class ServerEntry(_Counted):
    project: str = "admin"
    host: str | None = None
    flavor: str
    image: str | None = None
    volume: str | None = Field(None, description="a volume's name, or `new`; then it boots from it")
    data_volumes: list[str] = []
    state: Literal["active", "stopped", "paused", "suspended", "error", "building"] = "active"
    power_state: int | None = Field(None, description="of its guest, where it is not what goes with its state")
    metadata: dict[str, str] = {}
    group: str | None = None
    zone: str | None = None
    locked: bool = False
    locked_reason: str | None = None
    ports: list[str] = Field([], description="types (`binding:vnic_type`) of ports besides the ordinary ones")
    task: str | None = Field(None, description="a task that never ends")
    age_seconds: float = Field(0, ge=0, description="since it was last changed")
    records: list[RecordEntry] = []

    @model_validator(mode="after")
    def _boots_from_one(self) -> ServerEntry:
        if (self.image is None) == (self.volume is None):
            raise ValueError("give either image or volume")
        return self


class Fleet(_Entry):
    settings: Settings = Settings()
    projects: list[str] = ["admin", "tenant"]
    users: list[UserEntry] = [
        UserEntry(name="admin", project="admin", roles=["admin", "manager", "member", "reader"]),
        UserEntry(name="operator", project="tenant"),
    ]
    hosts: list[HostEntry] = Field(min_length=1)
    services: list[StrayServiceEntry] = []
    aggregates: list[AggregateEntry] = []
    flavors: list[FlavorEntry] = Field(min_length=1)
    images: list[ImageEntry] = []
    volumes: list[VolumeEntry] = []
    groups: list[GroupEntry] = []
    servers: list[ServerEntry] = []


def load(path: Path) -> Fleet:
    """Read and validate a fleet file. Raises FleetError."""
    try:
        document = yaml.load(path.read_text(), Loader=SafeLoader)
    except OSError as error:
        raise FleetError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FleetError(f"{path}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise FleetError(f"{path}: a mapping with hosts and flavors is needed")
    try:
        return Fleet.model_validate(document)
    except ValidationError as error:
        raise FleetError(f"{path}:\n{explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Format validation errors as `hosts[2].vcpus: Input should be …`, a line for each finding."""
    lines = []
    for finding in error.errors():
        place = ""
        for step in finding["loc"]:
            place += f"[{step}]" if isinstance(step, int) else f".{step}" if place else str(step)
        lines.append(f"  {place or 'the whole'}: {finding['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)


def build(fleet: Fleet, *, speed: float | None = None, clock: Clock | None = None) -> Cloud:
    """Return the cloud that the file describes, with all servers running. Raises FleetError."""
    settings = fleet.settings.model_copy(deep=True)
    if speed is not None:
        settings.speed = speed
    cloud = Cloud(settings, clock)
    for name in _unique("projects", fleet.projects):
        project = Project(cloud.new_uuid().replace("-", ""), name)
        cloud.projects[project.id] = project
    for user in fleet.users:
        project_id = _project(cloud, user.project, f"user {user.name}")
        record = User(cloud.new_uuid().replace("-", ""), user.name, user.password, {project_id: tuple(user.roles)})
        cloud.users[record.id] = record
    for entry in fleet.hosts:
        for name in entry.names():
            if name in cloud.hosts:
                raise FleetError(f"hosts: there are two named {name}")
            add_host(cloud, entry, name)
    for service in fleet.services:
        add_stray_service(cloud, service)
    for aggregate in fleet.aggregates:
        _add_aggregate(cloud, aggregate)
    for flavor in fleet.flavors:
        _add_flavor(cloud, flavor)
    for image in fleet.images:
        image_id = image.id or cloud.new_uuid()
        cloud.images[image_id] = Image(image_id, image.name, dict(image.properties), cloud.now)
    for volume in fleet.volumes:
        _add_volume(cloud, volume.name, volume.size_gb, volume.type, volume.project)
    for group in fleet.groups:
        project_id = _project(cloud, group.project, f"group {group.name}")
        new = ServerGroup(cloud.new_uuid(), group.name, group.policy, project_id, _anyone(cloud, project_id))
        new.max_server_per_host = group.max_server_per_host
        cloud.groups[new.id] = new
    turn = itertools.cycle(cloud.hosts)
    for server in fleet.servers:
        for name in server.names():
            add_server(cloud, server, name, server.host or next(turn))
    return cloud


def add_host(cloud: Cloud, entry: HostEntry, name: str) -> Host:
    number = max((host.number for host in cloud.hosts.values()), default=0) + 1
    host = Host(
        name=name,
        uuid=cloud.new_uuid(),
        service_uuid=cloud.new_uuid(),
        number=number,
        cpu=Cpu(entry.cpu.model, entry.cpu.vendor, frozenset(entry.cpu.features)),
        hypervisor_version=_version(entry.hypervisor),
        libvirt_version=_version(entry.libvirt),
        os_version=entry.os,
        vcpus=entry.vcpus,
        memory_mb=entry.memory_gb * 1024,
        disk_gb=entry.disk_gb,
        reserved_memory_mb=entry.reserved_memory_mb,
        vcpu_ratio=entry.cpu_ratio,
        memory_ratio=entry.memory_ratio,
        disk_ratio=entry.disk_ratio,
        store=None if entry.store == "local" else entry.store,
        ip=f"127.0.{number >> 8}.{number & 255 or 1}" if number > 200 else f"127.0.0.{10 + number}",
        started_at=cloud.now,
        sockets=entry.sockets,
        traits=set(entry.traits),
        disabled=entry.disabled,
        disabled_trait=entry.disabled,
        disabled_reason=entry.disabled_reason,
        forced_down=entry.forced_down,
        knobs=dict(entry.knobs),
    )
    cloud.add_host(host)
    return host


def add_stray_service(cloud: Cloud, entry: StrayServiceEntry) -> StrayService:
    stray = StrayService(
        id=entry.id or cloud.new_uuid(),
        host=entry.host,
        up=entry.state == "up",
        forced_down=entry.forced_down,
        disabled=entry.status == "disabled",
        updated_at=cloud.now - entry.age_seconds,
        first=entry.first,
    )
    cloud.stray_services.append(stray)
    return stray


def add_server(cloud: Cloud, entry: ServerEntry, name: str, host_name: str | None) -> Server:
    """Add a server that already runs on its host. Raises FleetError."""
    where = f"server {name}"
    project_id = _project(cloud, entry.project, where)
    flavor = _named(list(cloud.flavors.values()), entry.flavor, where, "flavor")
    image = _named(list(cloud.images.values()), entry.image, where, "image") if entry.image else None
    group = _named(list(cloud.groups.values()), entry.group, where, "group") if entry.group else None
    host = cloud.hosts.get(host_name or next(iter(cloud.hosts)))
    if host is None:
        raise FleetError(f"{where}: there is no host {host_name}")
    if not cloud.has_room(host, flavor.resources(volume_backed=image is None)):
        raise FleetError(f"{where}: host {host.name} has no room left for flavor {flavor.name}")
    volumes = []
    if entry.volume == "new":
        volumes.append(_add_volume(cloud, f"{name}-root", flavor.disk_gb or 10, "shared", entry.project))
    elif entry.volume is not None:
        volumes.append(_named(list(cloud.volumes.values()), entry.volume, where, "volume"))
    volumes += [_named(list(cloud.volumes.values()), text, where, "volume") for text in entry.data_volumes]
    new = NewServer(
        name=name,
        flavor=flavor,
        image_id=image.id if image else None,
        volumes=[(volume.id, False) for volume in volumes],
        project_id=project_id,
        user_id=_anyone(cloud, project_id),
        zone=entry.zone,
        group_id=group.id if group else None,
        metadata=entry.metadata,
        hints={"group": [group.id]} if group else {},
    )
    server = record_of(cloud, new)
    server.port_types = list(entry.ports)
    cloud.add_server(server)
    for volume in volumes:
        volume.server_id = server.id
    settle(cloud, server, host)
    start(cloud, server)
    if entry.state != "active":
        server.vm_state = entry.state
        power = {"stopped": SHUTDOWN, "paused": PAUSED, "suspended": SUSPENDED}
        server.power_state = power.get(entry.state, server.power_state)
    if entry.power_state is not None:
        server.power_state = entry.power_state
    if entry.locked:
        server.locked_by, server.locked_reason = "admin", entry.locked_reason
    server.task_state = entry.task
    server.updated_at -= entry.age_seconds
    for record in entry.records:
        cloud.add_record(server, record.type, record.status, record.source, record.target, record.age_seconds)
    return server


def _add_aggregate(cloud: Cloud, entry: AggregateEntry) -> None:
    aggregate = new_aggregate(cloud, entry.name, entry.zone)
    aggregate.metadata |= entry.metadata
    for name in entry.hosts:
        if name == "*":
            aggregate.hosts += list(cloud.hosts)
        elif name in cloud.hosts:
            aggregate.hosts.append(name)
        else:
            raise FleetError(f"aggregate {entry.name}: there is no host {name}")
    for host in aggregate.hosts:
        zones = {other.zone for other in cloud.aggregates_of(host) if other.zone}
        if len(zones) > 1:
            raise FleetError(
                f"aggregate {entry.name}: host {host} would be in two zones, {' and '.join(sorted(zones))}"
            )


def _add_flavor(cloud: Cloud, entry: FlavorEntry) -> None:
    flavor_id = entry.id or cloud.new_uuid()
    if flavor_id in cloud.flavors or any(flavor.name == entry.name for flavor in cloud.flavors.values()):
        raise FleetError(f"flavors: there are two named {entry.name} or with the id {flavor_id}")
    cloud.flavors[flavor_id] = Flavor(
        flavor_id,
        entry.name,
        entry.vcpus,
        entry.ram_mb,
        entry.disk_gb,
        entry.ephemeral_gb,
        entry.swap_mb,
        extra_specs=dict(entry.extra_specs),
    )


def _add_volume(cloud: Cloud, name: str, size_gb: int, kind: str, project: str) -> Volume:
    volume = Volume(cloud.new_uuid(), name, size_gb, kind, _project(cloud, project, f"volume {name}"), cloud.now)
    cloud.volumes[volume.id] = volume
    return volume


def _project(cloud: Cloud, name: str, where: str) -> str:
    return _named(list(cloud.projects.values()), name, where, "project").id


_Named = TypeVar("_Named", Project, Flavor, Image, Volume, ServerGroup)


def _named(records: list[_Named], name: str, where: str, kind: str) -> _Named:
    for record in records:
        if record.name == name:
            return record
    known = ", ".join(record.name for record in records[:10]) or "none"
    raise FleetError(f"{where}: there is no {kind} {name} (there are: {known})")


def _anyone(cloud: Cloud, project_id: str) -> str:
    """Return a user of the project, to own its resources."""
    for user in cloud.users.values():
        if project_id in user.roles:
            return user.id
    return next(iter(cloud.users))


def _unique(what: str, names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise FleetError(f"{what}: there are two named {name}")
    return names


def _version(text: str) -> int:
    """Convert `8.2.2` to the number in the hypervisors API: 8002002."""
    parts: list[Any] = [int(part) for part in text.split(".")] + [0, 0]
    return int(parts[0] * 1_000_000 + parts[1] * 1000 + parts[2])
