"""The cloud as plain, immutable data.

All deciding code works on these types; the Nova client fills them from raw JSON. Times are aware `datetime`s in UTC.
Sizes carry their unit in the name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from vmferry.cloud.derived import Derived

Value = TypeVar("Value")


class ResolvedType(StrEnum):
    """How a server is moved: a migration type after `Auto` has been resolved."""

    LIVE = "Live"
    COLD = "Cold"
    EVACUATE = "Evacuate"


#: Nova's `migration_type` of each type
NOVA_TYPE: Mapping[ResolvedType, str] = {
    ResolvedType.LIVE: "live-migration",
    ResolvedType.COLD: "migration",
    ResolvedType.EVACUATE: "evacuation",
}


@dataclass(frozen=True, slots=True)
class Flavor:
    """The flavor embedded in a server (microversion 2.47)."""

    name: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    ephemeral_gb: int = 0
    swap_mb: int = 0
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    #: False: the cloud hides the extra specs (policy os-flavor-extra-specs), so an empty mapping does not mean none
    extra_specs_told: bool = True


@dataclass(frozen=True, slots=True)
class Server:
    """One server (VM), as `GET /servers/detail` reports it to an administrator."""

    id: str
    name: str
    project_id: str
    #: Nova's summary status: ACTIVE, SHUTOFF, VERIFY_RESIZE, ERROR ...
    status: str
    #: active, stopped, paused, suspended, resized, error, rescued, shelved ...
    vm_state: str
    #: the task that Nova is running on it, None when idle
    task_state: str | None
    #: 1 running, 3 paused, 4 shut down, 0 unknown
    power_state: int
    #: compute service host; None when the server is on no host
    host: str | None
    availability_zone: str
    flavor: Flavor
    #: None: the server boots from a volume
    image_id: str | None
    volumes: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    locked: bool = False
    locked_reason: str | None = None
    fault: str | None = None
    #: when Nova last changed the record, ISO 8601, unparsed
    updated: str = ""
    #: the availability zone requested for the server (2.96); None: any, or the cloud does not report it
    pinned_availability_zone: str | None = None
    #: the image properties that Nova stores for the server (2.98), without traits; None: unknown, which is the case for
    #: every server that boots from a volume
    image_properties: Mapping[str, str] | None = None

    @property
    def local_disk_gb(self) -> int:
        """GiB of the host's ephemeral storage that the server uses, counted as Placement counts DISK_GB."""
        root = self.flavor.disk_gb if self.image_id else 0
        return root + self.flavor.ephemeral_gb + -(-self.flavor.swap_mb // 1024)

    @property
    def needs(self) -> dict[str, int]:
        """The host resources that the server needs, by Placement resource class; zeros left out."""
        wanted = {
            "VCPU": self.flavor.vcpus,
            "MEMORY_MB": self.flavor.memory_mb,
            "DISK_GB": self.local_disk_gb,
        }
        specs = self.flavor.extra_specs
        if specs.get("hw:cpu_policy", (self.image_properties or {}).get("hw_cpu_policy")) == "dedicated":
            wanted["PCPU"] = wanted.pop("VCPU")
        prefix = "resources:"
        wanted |= {k.removeprefix(prefix): int(v) for k, v in specs.items() if k.startswith(prefix) and v.isdecimal()}
        return {resource: amount for resource, amount in wanted.items() if amount}


@dataclass(frozen=True, slots=True)
class Service:
    """A nova-compute service."""

    id: str
    host: str
    zone: str
    #: whether the scheduler may use it
    enabled: bool
    #: whether it has reported within Nova's service_down_time
    up: bool
    forced_down: bool
    disabled_reason: str | None
    #: the last heartbeat that Nova recorded; a newer heartbeat is no change, so comparison ignores it
    last_seen: datetime | None = field(compare=False)


@dataclass(frozen=True, slots=True)
class Fact(Generic[Value]):
    """A value that one source reports for a host."""

    value: Value
    #: the source, for people: "Nova", "resource manager", "aggregate rack-1, os_version"
    origin: str
    #: when the source was first read with this value (a repeated value keeps its time); None: valid until the
    #: configuration changes
    read_at: datetime | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.value} ({self.origin})"


@dataclass(frozen=True, slots=True)
class ReportedFact(Generic[Value]):
    """The reports of all sources together: one agreed value, no report, or reports that contradict each other (R19)."""

    facts: tuple[Fact[Value], ...]
    #: None: no source reports a value, or the reports contradict each other
    value: Value | None

    @property
    def contradictory(self) -> bool:
        return self.value is None and len(self.facts) > 0

    def __str__(self) -> str:
        """Each source's value and origin."""
        return ", ".join(str(fact) for fact in self.facts) or "nothing"


def agree(facts: Iterable[Fact[Value]]) -> ReportedFact[Value]:
    """The value that all facts agree on; no source has precedence over another."""
    kept = tuple(facts)
    same = bool(kept) and all(fact.value == kept[0].value for fact in kept)
    return ReportedFact(kept, kept[0].value if same else None)


@dataclass(frozen=True, slots=True, eq=False)
class OperatingSystem:
    """Distribution and version, without point releases, which do not matter for decisions (R13).

    For a system that is not a known release of a known distribution, `distribution` is its whole text and `version` is
    empty. It equals the same text in any case, and is neither older nor newer than any other system.
    """

    #: in the vendor's spelling: Ubuntu, Debian, Rocky Linux
    distribution: str
    #: 22.04
    version: str

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OperatingSystem):
            return NotImplemented
        return self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[str, str]:
        return self.distribution.casefold(), self.version

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()

    @property
    def number(self) -> tuple[int, ...]:
        """The version as numbers, for comparison within one distribution; empty if the version is unknown."""
        return tuple(int(part) for part in self.version.split(".")) if self.version else ()

    def older_than(self, other: OperatingSystem) -> bool:
        """Whether this is the older of two known releases of the same distribution; False if either is unknown."""
        both = bool(self.version and other.version) and self.distribution == other.distribution
        return both and self.number < other.number


@dataclass(frozen=True, slots=True)
class CPU:
    """A host's processor. Empty texts and an empty set mean that the source does not report them."""

    #: Intel, AMD
    vendor: str = ""
    #: x86_64, aarch64
    arch: str = ""
    #: the model's name in libvirt
    model: str = ""
    #: libvirt's names of its features
    features: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return " ".join(part for part in (self.vendor, self.arch, self.model) if part) or "a CPU without a name"

    @property
    def features_complete(self) -> bool:
        """Whether `features` holds all features, not only those beyond the model's own.

        Nova has libvirt expand the features on x86; where that fails, only those beyond the model remain. Every x86 CPU
        has `fpu` and every model includes it, so its presence shows that the list was expanded.
        """
        return "fpu" in self.features


class GuestCPUMode(StrEnum):
    """How the host's CPU is exposed to guests (Nova's `cpu_mode`)."""

    HOST_MODEL = "HostModel"
    HOST_PASSTHROUGH = "HostPassthrough"
    CUSTOM = "Custom"


@dataclass(frozen=True, slots=True)
class GuestCPU:
    """The CPU that the guests of a host see."""

    mode: GuestCPUMode
    #: libvirt's name of the model; only with Custom
    model: str = ""

    def __str__(self) -> str:
        return f"{self.mode} {self.model}".rstrip()


class FactKind(StrEnum):
    """The kind of fact that a source reports for a host."""

    OPERATING_SYSTEM = "operating system"
    GUEST_CPU = "guest CPU"
    STORAGE_POOL = "shared storage"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A value configured for a host that cannot be parsed: it is ignored, and findings name it."""

    about: FactKind
    #: a sentence: the source, the value, and what is wrong with it
    message: str


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Facts about a host that Nova's services and hypervisors do not report, from all sources that do."""

    operating_system: tuple[Fact[OperatingSystem], ...] = ()
    cpu: tuple[Fact[CPU], ...] = ()
    guest_cpu: tuple[Fact[GuestCPU], ...] = ()
    #: name of the shared storage that holds its ephemeral disks
    storage_pool: tuple[Fact[str], ...] = ()
    #: whether the host responds to a health source other than Nova (I12)
    responding: tuple[Fact[bool], ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def with_those_of(self, other: HostFacts) -> HostFacts:
        """The facts of both objects."""
        return HostFacts(
            self.operating_system + other.operating_system,
            self.cpu + other.cpu,
            self.guest_cpu + other.guest_cpu,
            self.storage_pool + other.storage_pool,
            self.responding + other.responding,
            self.unreadable + other.unreadable,
        )


#: hypervisor types without guests: one service host has a hypervisor for each of its nodes
BARE_METAL = frozenset({"ironic"})


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """A hypervisor; `id` is its UUID, which is also its Placement resource provider."""

    id: str
    hostname: str
    service_host: str
    type: str
    #: Nova's packed number: 6002000 is 6.2.0
    version: int
    #: None: the driver reports none
    cpu: CPU | None = None
    #: the host's total resources by Placement resource class: no server can have more, whatever the allocation ratio
    whole: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_guests(self) -> bool:
        """Whether it runs guests. An Ironic node is itself the server, and nothing can move to it."""
        return self.type.lower() not in BARE_METAL

    @property
    def version_text(self) -> str:
        major, rest = divmod(self.version, 1_000_000)
        minor, micro = divmod(rest, 1_000)
        return f"{major}.{minor}.{micro}"


@dataclass(frozen=True, slots=True)
class Inventory:
    """One resource class of one provider."""

    #: (total - reserved) * allocation ratio, as Placement computes it
    capacity: int
    used: int
    #: largest single allocation; None: not reported
    max_unit: int | None = None
    #: the sharing provider that holds it, whose capacity several hosts share; None: the host's own provider
    shared: str | None = None

    @property
    def free(self) -> int:
        return self.capacity - self.used


@dataclass(frozen=True, slots=True)
class Aggregate:
    id: int
    name: str
    availability_zone: str | None
    hosts: frozenset[str]
    metadata: Mapping[str, str] = field(default_factory=dict)


#: stands for the policies of several groups of one server: Nova allows one group, so none of the policies is used (I36)
CONTRADICTORY = "contradictory"


@dataclass(frozen=True, slots=True)
class ServerGroup:
    id: str
    name: str
    #: affinity, anti-affinity, soft-affinity, soft-anti-affinity, or CONTRADICTORY
    policy: str
    members: frozenset[str]
    #: anti-affinity only: maximum number of members on one host
    max_server_per_host: int = 1


@dataclass(frozen=True, slots=True)
class Host:
    """A compute host: its service, its hypervisor and its capacity, joined by the service's exact host name (I1)."""

    name: str
    service: Service
    #: None if nova-compute has never registered one
    hypervisor: Hypervisor | None
    #: by Placement resource class; None: Placement did not report them
    inventories: Mapping[str, Inventory] | None = None
    traits: frozenset[str] = frozenset()
    aggregates: tuple[Aggregate, ...] = ()
    facts: HostFacts = HostFacts()

    @property
    def zone(self) -> str:
        return self.service.zone

    def answers_to(self, name: str) -> bool:
        """Whether `name` is this host's service name or its hypervisor's UUID."""
        return name == self.name or (self.hypervisor is not None and name == self.hypervisor.id)


@dataclass(frozen=True, slots=True)
class DoubtfulHost:
    """A host whose records contradict each other or cannot be read, so that nothing can be concluded about it (I36).

    It counts as neither up nor down, neither enabled nor disabled, and never as empty. `Snapshot.hosts` does not
    contain it.
    """

    name: str
    #: what is wrong with its records, with their ids; a sentence without a full stop
    problem: str
    #: what a person can do about it
    remedy: str
    #: UUIDs of the hypervisors that refer to this host
    hypervisors: frozenset[str] = frozenset()
    #: its cell is unreachable: Nova shows only the host's name, and nothing of its servers
    unreachable: bool = False

    def answers_to(self, name: str) -> bool:
        """Whether `name` is this host's service name or the UUID of one of its hypervisors."""
        return name == self.name or name in self.hypervisors


class MigrationStage(StrEnum):
    """Progress of a Nova migration record, independent of its exact status."""

    IN_FLIGHT = "in flight"
    #: a cold migration that waits for its confirmation (the server is in VERIFY_RESIZE)
    FINISHED = "finished"
    GOOD = "good"
    BAD = "bad"
    #: an unknown status: stop and report it (I35)
    UNKNOWN = "unknown"
    #: open, but Nova stopped working on it long ago; see `cloud.leftovers`
    LEFTOVER = "leftover"


_STAGES: Mapping[str, MigrationStage] = {
    **dict.fromkeys(
        (
            "accepted",
            "queued",
            "pre-migrating",
            "preparing",
            "running",
            "running (post-copy)",
            "migrating",
            "post-migrating",
            "confirming",
            "reverting",
        ),
        MigrationStage.IN_FLIGHT,
    ),
    "finished": MigrationStage.FINISHED,
    **dict.fromkeys(("completed", "confirmed", "done"), MigrationStage.GOOD),
    **dict.fromkeys(("failed", "error", "cancelled", "reverted"), MigrationStage.BAD),
}

#: the statuses in which Nova may still work on a migration, or waits for its confirmation
OPEN_STATUSES = tuple(
    word for word, stage in _STAGES.items() if stage in (MigrationStage.IN_FLIGHT, MigrationStage.FINISHED)
)


#: the statuses before Nova begins to work on a migration, by type: it waits for the conductor, for a slot of the
#: source's nova-compute (`max_concurrent_live_migrations`), or for the target to prepare. An evacuation is
#: `pre-migrating` while it runs, so that status is missing there
_WAITING: Mapping[str, frozenset[str]] = {
    "live-migration": frozenset({"accepted", "queued", "preparing", "pre-migrating"}),
    "migration": frozenset({"accepted", "queued", "pre-migrating"}),
    "evacuation": frozenset({"accepted", "queued"}),
}


@dataclass(frozen=True, slots=True)
class Migration:
    """One record of `GET /os-migrations`."""

    #: ascending within a cell: the later of two migrations of one server has the greater id
    id: int
    uuid: str
    server_id: str
    #: live-migration, migration, resize, evacuation
    type: str
    status: str
    source_host: str | None
    target_host: str | None
    #: the user who requested it (2.80)
    user_id: str | None
    created_at: str = ""
    #: excluded from comparison: Nova updates the record of a running copy every few seconds
    updated_at: str = field(default="", compare=False)
    old_flavor_id: int | None = None
    new_flavor_id: int | None = None
    #: set by `cloud.leftovers`; Nova has no such field
    leftover: bool = False

    @property
    def stage(self) -> MigrationStage:
        return MigrationStage.LEFTOVER if self.leftover else _STAGES.get(self.status, MigrationStage.UNKNOWN)

    @property
    def waits(self) -> bool:
        """Nova has accepted it but has not begun to work on it."""
        return self.status in _WAITING.get(self.type, ())

    @property
    def open(self) -> bool:
        """Whether Nova may still change the server because of it (I3); an unknown status counts as open."""
        return self.stage not in (MigrationStage.GOOD, MigrationStage.BAD)


def moment(text: str) -> datetime | None:
    """Parse a time as Nova writes it, in UTC if it names no zone; None if it cannot be parsed."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def nothing_to_confirm(migration: Migration, server: Server | None) -> bool:
    """Whether the record waits for a confirmation that is impossible: its server is idle and has no resize to confirm.

    Nova answers 409 to both confirming and reverting it, and has no call that ends it.
    """
    waits = migration.stage is MigrationStage.FINISHED
    return waits and server is not None and server.vm_state != "resized" and server.task_state is None


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One step of an instance action; `details` holds the reason of a failure (2.84)."""

    name: str
    result: str | None
    host: str | None
    details: str | None


@dataclass(frozen=True, slots=True)
class InstanceAction:
    """A request recorded on a server. Nova records it before it answers the request."""

    request_id: str
    #: live-migration, migrate, evacuate, stop, start ...
    action: str
    message: str | None
    user_id: str | None
    #: by the cloud's clock
    started_at: datetime | None = None
    events: tuple[ActionEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of the copy of a running live migration."""

    memory_total_bytes: int
    memory_remaining_bytes: int
    disk_total_bytes: int
    disk_remaining_bytes: int

    @property
    def percent(self) -> int:
        total = self.memory_total_bytes + self.disk_total_bytes
        left = self.memory_remaining_bytes + self.disk_remaining_bytes
        return 0 if total <= 0 else max(0, min(100, (total - left) * 100 // total))


class Part(StrEnum):
    """The parts of the shared snapshot, each read at its own interval."""

    SERVERS = "servers"
    MIGRATIONS = "migrations"
    HOSTS = "hosts"
    RESOURCES = "resources"
    GROUPS = "groups"
    PROJECTS = "projects"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The shared view of the whole cloud at one moment. It is never changed, only replaced."""

    servers: Mapping[str, Server] = field(default_factory=dict)
    hosts: Mapping[str, Host] = field(default_factory=dict)
    #: hosts that `hosts` leaves out until their records agree, by name (I36)
    doubtful_hosts: Mapping[str, DoubtfulHost] = field(default_factory=dict)
    #: servers that Nova only lists by id, because their cell is unreachable
    unreachable_servers: frozenset[str] = frozenset()
    server_groups: tuple[ServerGroup, ...] = ()
    #: by server id, the types (`binding:vnic_type`) of its ports other than `normal`; None: Neutron cannot be read
    ports: Mapping[str, tuple[str, ...]] | None = None
    #: every open migration and the recently ended ones, by UUID
    migrations: Mapping[str, Migration] = field(default_factory=dict)
    #: project names by id
    projects: Mapping[str, str] = field(default_factory=dict)
    #: whether `projects` is complete; if not, a name missing from it proves nothing
    projects_whole: bool = True
    #: the operator's own user in the cloud
    user_id: str | None = None
    #: identifies the cloud by region and address; no two clouds share it
    cloud_id: str | None = None
    #: whether the cloud's certificates are verified; None before the first login
    verified: bool | None = None
    #: when each part was last read completely or updated; parts never read are missing
    read_at: Mapping[Part, datetime] = field(default_factory=dict)
    #: when the compute services were requested, by the cloud's clock as the heartbeats are; None: it reports no time
    services_at: datetime | None = None
    #: why the last read failed, None if it succeeded
    trouble: str | None = None
    servers_by_host: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    #: by server id, newest first
    migrations_by_server: Mapping[str, tuple[Migration, ...]] = field(default_factory=dict)
    #: the group of each member, see `index_groups`; None: not built, and `group_of` searches all groups
    groups_by_server: Mapping[str, ServerGroup] | None = None
    #: results computed from this snapshot; a new snapshot starts empty, unless `variant` made it
    derived: Derived = field(default_factory=Derived, init=False, compare=False, repr=False)

    def variant(self, **changes: Any) -> Snapshot:
        """The same reading of the cloud with some fields replaced; results derived from unchanged inputs are shared."""
        found = replace(self, **changes)
        object.__setattr__(found, "derived", self.derived)
        return found

    def age(self, now: datetime) -> timedelta | None:
        """Age of the oldest part that moves depend on; None if one of these parts was never read.

        Projects do not count: they serve only to resolve names.
        """
        parts = [part for part in Part if part is not Part.PROJECTS]
        if any(part not in self.read_at for part in parts):
            return None
        return now - min(self.read_at[part] for part in parts)

    def cloud_time(self, now: datetime) -> datetime:
        """The cloud's time when the services were last read, or the local time `now` if the cloud reports none."""
        return self.services_at or now

    def find_host(self, name: str) -> Host | None:
        """By service host name or hypervisor UUID, exactly (I1)."""
        found = self.hosts.get(name)
        if found is not None:
            return found
        return next((host for host in self.hosts.values() if host.answers_to(name)), None)

    def find_doubt(self, name: str) -> DoubtfulHost | None:
        """The doubtful host with exactly this service name or hypervisor UUID, or None."""
        found = self.doubtful_hosts.get(name)
        if found is not None:
            return found
        return next((host for host in self.doubtful_hosts.values() if host.answers_to(name)), None)

    def hides(self, server_ids: Iterable[str]) -> frozenset[str]:
        """Those of the servers that may be on some host of an unreachable cell."""
        if not any(host.unreachable for host in self.doubtful_hosts.values()):
            return frozenset()
        return frozenset(one for one in server_ids if one not in self.servers)

    def find_servers(self, name: str, project: str) -> list[Server]:
        """All servers with exactly this name in the project, which is given by name or id."""
        projects = {pid for pid, pname in self.projects.items() if project in (pid, pname)} | {project}
        return [s for s in self.servers.values() if s.name == name and s.project_id in projects]

    def ambiguous_project(self, project: str) -> str | None:
        """An error text if several projects have this name (names are unique only within a domain), else None."""
        ids = sorted(pid for pid, name in self.projects.items() if name == project)
        if project in self.projects or len(ids) < 2:
            return None
        return f"{len(ids)} projects are named {project}; give the id of one: {', '.join(ids[:10])}"

    def names_are_known(self, project: str) -> bool:
        """Whether the absence of a server name in the project proves that no such server exists."""
        return self.projects_whole or project in self.projects

    def not_found(self, name: str, project: str) -> str:
        """The error text for a name that matches no server."""
        if self.names_are_known(project):
            return f"no server is named {name} in project {project}"
        return (
            f"it is not known whether a server is named {name} in project {project}: the list of projects cannot be "
            "read whole; give the server's id, or the project's id"
        )

    def group_of(self, server_id: str) -> ServerGroup | None:
        """The server group that contains the server, or None; Nova allows one."""
        if self.groups_by_server is not None:
            return self.groups_by_server.get(server_id)
        return index_groups(group for group in self.server_groups if server_id in group.members).get(server_id)

    def ports_of(self, server_id: str) -> tuple[str, ...] | None:
        """The types of the server's ports other than `normal`; None: Neutron does not report ports."""
        return None if self.ports is None else self.ports.get(server_id, ())


@dataclass(frozen=True, slots=True)
class Detail:
    """A fresh reading of one server, beside the shared view. A field that was not read is None."""

    read_at: datetime
    #: None: Nova answered 404
    server: Server | None
    #: every migration of the server, newest first
    migrations: tuple[Migration, ...] = ()
    #: newest first; only the requested one carries its events
    actions: tuple[InstanceAction, ...] | None = None


@dataclass(frozen=True, slots=True)
class HostLook:
    """A fresh reading of one host: everything that shows whether it is empty (I20)."""

    host: str
    read_at: datetime
    #: None: Nova lists no compute service of that name
    service: Service | None
    #: servers that Nova lists on the host: all projects and all states, including builds
    servers: frozenset[str]
    #: servers in the hypervisor's record, an independent source; None: not reported
    on_hypervisor: frozenset[str] | None = None
    #: servers (consumers) with allocations on its resource provider, which a build has before it has a host; None:
    #: Placement does not report them
    allocated: frozenset[str] | None = None
    #: open migrations from or to the host
    migrations: tuple[Migration, ...] = ()
    #: servers whose evacuation from the host is `done`, but whose remains its nova-compute has not removed yet
    evacuated: frozenset[str] = frozenset()


def overlay(snapshot: Snapshot, detail: Detail, server_id: str) -> Snapshot:
    """The shared view with a fresh reading of one server merged into it.

    Mappings that already contain the reading are not copied: copies of all servers of a fleet, kept together with the
    results derived from them, took most of the memory in a batch of requests.
    """
    servers, by_server = snapshot.servers, snapshot.migrations_by_server
    migrations = snapshot.migrations
    if servers.get(server_id) != detail.server:
        servers = dict(servers)
        if detail.server is None:
            del servers[server_id]
        else:
            servers[server_id] = detail.server
    if any(migrations.get(one.uuid) != one for one in detail.migrations):
        migrations = {**migrations, **{one.uuid: one for one in detail.migrations}}
    if by_server.get(server_id, ()) != detail.migrations:
        by_server = {**by_server, server_id: detail.migrations}
    return snapshot.variant(servers=servers, migrations=migrations, migrations_by_server=by_server)


def index_groups(groups: Iterable[ServerGroup]) -> dict[str, ServerGroup]:
    """The group of each member, for `Snapshot.groups_by_server`."""
    by_server: dict[str, ServerGroup] = {}
    for group in groups:
        for member in group.members:
            known = by_server.get(member)
            by_server[member] = group if known is None or known.id == group.id else _contradictory(known, group)
    return by_server


def _contradictory(one: ServerGroup, other: ServerGroup) -> ServerGroup:
    return ServerGroup(f"{one.id}, {other.id}", f"{one.name}, {other.name}", CONTRADICTORY, one.members | other.members)
