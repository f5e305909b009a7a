"""The policy: the part of the configuration that decides, read straight from YAML. Every field has a safe default."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator
from pydantic.dataclasses import dataclass

from vmferry.cloud.facts.os_info import operating_system, unreadable
from vmferry.cloud.model import GuestCPU, GuestCPUMode, OperatingSystem
from vmferry.config_types import (
    AS_LIST,
    SECTION,
    Aggregates,
    Count,
    Hosts,
    Namespace,
    Span,
    doc,
    positive,
    within_a_day,
)
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name
from vmferry.resources.base import GROUP, format_duration, shown

#: a third of a Lease's duration is to spare
LONGEST_VERIFY = timedelta(seconds=80)
#: of a breaker: failures are forgotten a day after the last one
LONGEST_PAUSE = timedelta(days=1)
#: a label's value, and its key without the prefix
_MARK = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
#: the prefix of a label's key, a DNS subdomain
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


@dataclass(frozen=True, slots=True, config=SECTION)
class StoragePool:
    """Hosts whose ephemeral disks are on one shared storage."""

    name: Annotated[str, Field(min_length=1), doc("Name of the storage; entries with the same name are one storage.")]
    hosts: Hosts = frozenset()
    aggregates: Aggregates = frozenset()


def _known_system(value: object) -> object:
    if not isinstance(value, str):
        return value
    if (why := unreadable(value)) is not None:
        raise ValueError(f"{shown(value)} is no distribution with its version, like Ubuntu 22.04: {why}")
    return operating_system(value)


@dataclass(frozen=True, slots=True, config=SECTION)
class _OfHosts:
    """A fact about the named hosts and all hosts of the named aggregates."""

    hosts: Hosts = frozenset()
    aggregates: Aggregates = frozenset()

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not self.hosts and not self.aggregates:
            raise ValueError("name at least one host or aggregate")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=SECTION)
class SystemOf(_OfHosts):
    """Hosts that run one operating system."""

    system: Annotated[
        OperatingSystem,
        BeforeValidator(_known_system),
        WithJsonSchema({"type": "string"}),
        doc(
            "Distribution and version, like Ubuntu 22.04. Any text is allowed; a text that is not a known version"
            " of a distribution is only compared for equality."
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True, config=SECTION)
class GuestCPUOf(_OfHosts):
    """Hosts whose guests see one CPU, as Nova's cpu_mode and cpu_models make it."""

    mode: Annotated[GuestCPUMode, doc("Nova's cpu_mode.")]
    model: Annotated[str, doc("Only with mode Custom: libvirt's name of the model.")] = ""

    @property
    def cpu(self) -> GuestCPU:
        return GuestCPU(self.mode, self.model)

    @model_validator(mode="after")
    def _model_goes_with_custom(self) -> Self:
        if (self.mode is GuestCPUMode.CUSTOM) != bool(self.model):
            raise ValueError("a model goes with mode Custom, and only with it")
        return self


@dataclass(frozen=True, slots=True, config=SECTION)
class Limits:
    """How many migrations may run in parallel, whoever started them."""

    per_source: Annotated[Count, doc("Maximum number of parallel migrations from one host.")] = 2
    per_target: Annotated[Count, doc("Maximum number of parallel migrations to one host.")] = 2
    total: Annotated[Count, doc("Maximum number of parallel migrations in the cloud.")] = 10


@dataclass(frozen=True, slots=True, config=SECTION)
class Maintenance:
    """How hosts are drained."""

    max_hosts_per_cluster: Annotated[
        Count,
        doc(
            "Maximum number of hosts of one availability zone in maintenance at the same time; further ones are Queued."
        ),
    ] = 1
    headroom_percent: Annotated[
        int,
        Field(ge=0, le=90),
        doc(
            "Percentage of the memory of the zone's other enabled hosts that must remain free after a drain. "
            "Otherwise the drain does not start, unless ignoreHeadroom is set. 0: not checked."
        ),
    ] = 0
    settle: Annotated[Span, doc("Time between the two checks that must both find a host empty.")] = timedelta(
        seconds=30
    )
    verify_every: Annotated[
        Span,
        doc("How often a host in maintenance is rechecked. At most 1m20s, because each check renews the host's Lease."),
    ] = timedelta(seconds=60)
    namespace: Annotated[
        Namespace,
        doc("Namespace of the VMMigrations that a maintenance creates. Without it: the operator's namespace."),
    ] = "vmferry-system"
    labels: Annotated[
        dict[str, str],
        doc(
            "Labels of these VMMigrations, if rules of the cluster (Kyverno, Gatekeeper, an admission policy) "
            "require some. Labels with the prefix vmferry.dev/ are reserved."
        ),
    ] = Field(default_factory=dict, json_schema_extra={"default": {}})
    annotations: Annotated[dict[str, str], doc("Annotations of these VMMigrations, for the same purpose.")] = Field(
        default_factory=dict, json_schema_extra={"default": {}}
    )

    _positive = field_validator("settle", "verify_every")(positive)

    @field_validator("labels", "annotations")
    @classmethod
    def _fit_for_metadata(cls, pairs: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for key, value in pairs.items():
            prefix, slash, name = key.rpartition("/")
            if not _MARK.fullmatch(name) or (slash and not _PREFIX.fullmatch(prefix)) or len(prefix) > 253:
                raise ValueError(f"{shown(key)} is no key of a label: write team or example.com/team")
            if prefix == GROUP or prefix.endswith(f".{GROUP}"):
                raise ValueError(f"{shown(key)} is the operator's own")
            if info.field_name == "labels" and value and not _MARK.fullmatch(value):
                raise ValueError(f"{shown(value)} is no value of a label: at most 63 letters, digits, '-', '_' and '.'")
        return pairs

    @field_validator("verify_every")
    @classmethod
    def _keeps_the_lease(cls, span: timedelta) -> timedelta:
        """Each check of the host renews its Lease (I32)."""
        if span > LONGEST_VERIFY:
            raise ValueError(f"must be at most {format_duration(LONGEST_VERIFY)}, or the host's Lease would run out")
        return span


@dataclass(frozen=True, slots=True, config=SECTION)
class Breaker:
    """Stops new migrations after failures with a common cause."""

    attempts: Annotated[
        Count,
        doc(
            "Consecutive failures from one host (servers left in ERROR, or the same error on different targets) "
            "after which no migration starts from it. If one more than that fails, from several hosts, no "
            "migration starts in the cloud."
        ),
    ] = 2
    hosts: Annotated[
        Count, doc("Number of hosts from which failures must come before no migration starts in the cloud.")
    ] = 2
    window: Annotated[Span, doc("Period in which the failures from several hosts must occur.")] = timedelta(hours=1)
    pause: Annotated[
        Span,
        doc(
            "Pause before a trial migration, at most 24h; doubled after each trial that fails, up to 24h. A "
            "failed trial may leave one more server in ERROR."
        ),
    ] = timedelta(minutes=15)

    _positive = field_validator("window", "pause")(positive)

    @field_validator("pause")
    @classmethod
    def _ends_before_it_is_forgotten(cls, span: timedelta) -> timedelta:
        if span > LONGEST_PAUSE:
            raise ValueError(f"must be at most {format_duration(LONGEST_PAUSE)}")
        return span


@dataclass(frozen=True, slots=True, config=SECTION)
class Policy:
    """The rules by which the operator decides."""

    shared_storage: Annotated[
        tuple[StoragePool, ...],
        doc(
            "Hosts whose ephemeral disks (Nova's instances folder) are on one shared storage. No other source "
            "reports this."
        ),
    ] = ()
    local_unless_shared: Annotated[
        bool,
        doc(
            "Hosts that are in no sharedStorage: true means that their ephemeral disks are local, false that this"
            " is unknown. Live and Cold copy the disks in either case; Evacuate fails with LocalDisk, or is "
            "blocked with FactUnknown."
        ),
    ] = False
    limits: Annotated[
        Limits, doc("How many migrations may run in parallel, whoever started them; further ones are Queued.")
    ] = Limits()
    breaker: Annotated[
        Breaker,
        doc("Stops new migrations after failures with a common cause. Evacuations are never delayed."),
    ] = Breaker()
    maintenance: Annotated[Maintenance, doc("How hosts are drained.")] = Maintenance()
    bandwidth: Annotated[
        Count | None,
        doc(
            "Limit of the copies over one host's management network, in units: a live or cold migration counts "
            "one, and one more for each 100 GiB of local disk. A migration that exceeds the limit by itself runs "
            "alone. Without it: no limit."
        ),
    ] = None
    tolerate_unknown: Annotated[
        frozenset[Name],
        AS_LIST,
        doc("Prerequisites whose Unknown does not block. Never Storage, SourceHost or TargetHost."),
    ] = frozenset()
    max_view_age: Annotated[
        Span,
        doc(
            "Maximum age of the view of the cloud. Nothing is decided on an older view; the resources have "
            "the reason CloudViewStale."
        ),
    ] = timedelta(seconds=60)
    host_down_for: Annotated[
        Span, doc("A host counts as failed only if its compute service has not reported for this long.")
    ] = timedelta(seconds=60)
    timeout_base: Annotated[Span, doc("Deadline of an attempt if the resource sets none; see timeoutPerGiB.")] = (
        timedelta(minutes=10)
    )
    timeout_per_gib: Annotated[
        Span,
        Field(alias="timeoutPerGiB"),
        doc("Added to timeoutBase for each GiB of memory and local disk to copy."),
    ] = timedelta(seconds=60)
    stop_timeout: Annotated[
        Span,
        doc(
            "How long a graceful shutdown, and the start after it, may take before the migration fails. Also, how"
            " long a server that was shut down may wait for its migration (paused, blocked, kill switch) before "
            "it is started again and the migration fails."
        ),
    ] = timedelta(minutes=5)
    recheck: Annotated[
        Span,
        doc("How often a blocked or paused resource is rechecked, unless a change in the cloud triggers it earlier."),
    ] = timedelta(seconds=30)
    retry_backoff: Annotated[Span, doc("Pause after a failed attempt, doubled with each one.")] = timedelta(seconds=15)
    stuck_after: Annotated[
        Span,
        doc(
            "If nothing has changed for this long, the resource is reported as stuck, with a remedy: a server in "
            "one task, an open migration record whose server is idle (it then uses up no limit), a drain in which"
            " no server moves, a migration past its deadline that Nova does not end."
        ),
    ] = timedelta(minutes=30)
    progress_every: Annotated[
        Span,
        doc(
            "How often the progress of a running live migration is read and written; less often if more than ten "
            "reads per second would be needed."
        ),
    ] = timedelta(seconds=10)
    record_grace: Annotated[
        Span,
        doc("How long the record of a new migration may be missing in Nova before other sources are checked."),
    ] = timedelta(seconds=20)
    ttl_after_finished: Annotated[
        Span | None,
        doc(
            "Finished VMMigrations without a ttlAfterFinished of their own are deleted after this time. Those of "
            "a HostMaintenance are deleted with it, and objects that were applied (kubectl apply, a GitOps tool) "
            "remain. Without it: all remain."
        ),
    ] = None
    expire_after: Annotated[
        Span,
        doc(
            "A VMMigration that has not started this long after its creation ends as Failed with the reason Expired, "
            "also while it is paused or the kill switch is on; its startBefore takes precedence. Those of a "
            "HostMaintenance do not expire. 0s: never."
        ),
    ] = timedelta(hours=24)
    operating_systems: Annotated[
        tuple[SystemOf, ...], doc("Operating systems of hosts, where the cloud does not report them.")
    ] = ()
    guest_cpu: Annotated[
        tuple[GuestCPUOf, ...],
        Field(alias="guestCPU"),
        doc("The CPU that guests see, if it is not the host's own model, which is Nova's default."),
    ] = ()

    @field_validator("tolerate_unknown")
    @classmethod
    def _no_data_is_risked(cls, names: frozenset[Name]) -> frozenset[Name]:
        """What these do not know is whether a server would lose its disks or be started twice (I12, I14)."""
        for name in sorted(names):
            if name in NEVER_TOLERATED:
                raise ValueError(f"{name} cannot be tolerated: {NEVER_TOLERATED[name]}")
        return names

    _positive = field_validator(
        "max_view_age", "timeout_base", "stop_timeout", "recheck", "stuck_after", "progress_every"
    )(positive)

    _within_a_day = field_validator("timeout_per_gib", "retry_backoff")(within_a_day)
