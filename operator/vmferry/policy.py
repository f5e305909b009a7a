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
    """Hosts whose ephemeral disks lie on one shared storage."""

    name: Annotated[str, Field(min_length=1), doc("What to call it; equal names are one storage.")]
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
            raise ValueError("name the hosts or aggregates that this is about")
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=SECTION)
class SystemOf(_OfHosts):
    """Hosts that run one operating system."""

    system: Annotated[
        OperatingSystem,
        BeforeValidator(_known_system),
        WithJsonSchema({"type": "string"}),
        doc(
            "Distribution and version, like Ubuntu 22.04. Any text will do; what is not a known step of a distribution "
            "is only compared for equality."
        ),
    ]


@dataclass(frozen=True, slots=True, kw_only=True, config=SECTION)
class GuestCPUOf(_OfHosts):
    """Hosts whose guests see one CPU, as Nova's cpu_mode and cpu_models make it."""

    mode: Annotated[GuestCPUMode, doc("Nova's cpu_mode.")]
    model: Annotated[str, doc("With Custom, and only with it: libvirt's name of the model.")] = ""

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
    """How many migrations may run at once, everybody's counted."""

    per_source: Annotated[Count, doc("Migrations at once away from one host.")] = 2
    per_target: Annotated[Count, doc("Migrations at once onto one host.")] = 2
    total: Annotated[Count, doc("Migrations at once in the whole cloud.")] = 10


@dataclass(frozen=True, slots=True, config=SECTION)
class Maintenance:
    """How hosts are drained."""

    max_hosts_per_cluster: Annotated[
        Count, doc("Hosts of one availability zone in maintenance at once; a further one is Queued.")
    ] = 1
    headroom_percent: Annotated[
        int,
        Field(ge=0, le=90),
        doc(
            "Percent of the memory of the zone's other enabled hosts that must stay free once a host is drained; else "
            "it is not begun, unless its ignoreHeadroom says so. 0: not asked."
        ),
    ] = 0
    settle: Annotated[Span, doc("Between the two looks that must both find a host empty.")] = timedelta(seconds=30)
    verify_every: Annotated[
        Span,
        doc("How often a host in maintenance is looked at again; at most 1m20s, for the look renews its Lease."),
    ] = timedelta(seconds=60)
    namespace: Annotated[
        Namespace,
        doc("Where the VMMigrations of a maintenance are created. Without it the operator's own namespace."),
    ] = "vmferry-system"
    labels: Annotated[
        dict[str, str],
        doc(
            "Labels of these VMMigrations, where the rules of a cluster (Kyverno, Gatekeeper, an admission policy) "
            "demand some. Those below vmferry.dev/ are the operator's own."
        ),
    ] = Field(default_factory=dict, json_schema_extra={"default": {}})
    annotations: Annotated[dict[str, str], doc("Annotations of these VMMigrations, likewise.")] = Field(
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
    """When nothing more is started because attempts fail by a common cause."""

    attempts: Annotated[
        Count,
        doc(
            "Failures in a row from one host (servers left in ERROR, or the same failure on different targets) after "
            "which nothing more starts from it. One more than that, from several hosts, and nothing starts anywhere."
        ),
    ] = 2
    hosts: Annotated[
        Count, doc("From how many hosts the failures must be before nothing more starts in the whole cloud.")
    ] = 2
    window: Annotated[Span, doc("Time within which the failures from several hosts must lie.")] = timedelta(hours=1)
    pause: Annotated[
        Span,
        doc(
            "Time before one trial move may start, at most 24h; doubled after each trial that fails, up to 24h. A "
            "trial may leave one more server in ERROR."
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
        doc("Hosts whose ephemeral disks (Nova's instances folder) lie on one shared storage; nobody else tells."),
    ] = ()
    local_unless_shared: Annotated[
        bool,
        doc(
            "What holds for hosts in no sharedStorage: true says that their ephemeral disks are local, false that "
            "nobody knows. Live and Cold copy them either way; Evacuate fails with LocalDisk, or waits with "
            "FactUnknown."
        ),
    ] = False
    limits: Annotated[
        Limits, doc("How many migrations may run at once, whoever started them; what is over them is Queued.")
    ] = Limits()
    breaker: Annotated[
        Breaker,
        doc("When nothing more is started because attempts fail by a common cause. Evacuations are never held."),
    ] = Breaker()
    maintenance: Annotated[Maintenance, doc("How hosts are drained.")] = Maintenance()
    bandwidth: Annotated[
        Count | None,
        doc(
            "What may be copied at once over one host's management network, in units: a live or cold migration is one, "
            "and one more for each 100 GiB of local disk. What is heavier than the limit runs alone. Without it "
            "there is no such limit."
        ),
    ] = None
    tolerate_unknown: Annotated[
        frozenset[Name],
        AS_LIST,
        doc("Prerequisites that may pass although nobody tells the facts. Never Storage, SourceHost or TargetHost."),
    ] = frozenset()
    max_view_age: Annotated[
        Span, doc("A view of the cloud that is older decides nothing; the resources say CloudViewStale.")
    ] = timedelta(seconds=60)
    host_down_for: Annotated[
        Span, doc("A host counts as failed only after its compute service was silent for this long.")
    ] = timedelta(seconds=60)
    timeout_base: Annotated[Span, doc("Deadline of an attempt whose resource names none; see timeoutPerGiB.")] = (
        timedelta(minutes=10)
    )
    timeout_per_gib: Annotated[
        Span,
        Field(alias="timeoutPerGiB"),
        doc("What each GiB of memory and local disk to copy adds to timeoutBase."),
    ] = timedelta(seconds=60)
    stop_timeout: Annotated[
        Span,
        doc(
            "How long a graceful stop, and the start after it, may take; then the migration has failed. And how long "
            "a server that was stopped for its move may wait for it (paused, blocked, kill switch): then it is started "
            "again, and the migration has failed."
        ),
    ] = timedelta(minutes=5)
    recheck: Annotated[
        Span, doc("How often what is blocked or paused is looked at again, if no change in the cloud wakes it.")
    ] = timedelta(seconds=30)
    retry_backoff: Annotated[Span, doc("Between a failed attempt and the next, doubled with each one.")] = timedelta(
        seconds=15
    )
    stuck_after: Annotated[
        Span,
        doc(
            "What has not changed for this long counts as stuck and is reported with its remedy: a server in one task, "
            "an open migration record whose server is idle (it then uses up no limit), a drain in which nothing moves, "
            "a migration past its deadline that Nova does not end."
        ),
    ] = timedelta(minutes=30)
    progress_every: Annotated[
        Span,
        doc(
            "How often the bytes of a running live migration are read and written; less often while more run "
            "than ten a second allow."
        ),
    ] = timedelta(seconds=10)
    record_grace: Annotated[
        Span,
        doc("How long Nova may take to show the record of a move before its other records are asked for it."),
    ] = timedelta(seconds=20)
    ttl_after_finished: Annotated[
        Span | None,
        doc(
            "Delete finished VMMigrations that do not say themselves how long they stay; those of a HostMaintenance go "
            "with it, and what was applied (kubectl apply, a pipeline) stays. Without it all stay."
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
        tuple[SystemOf, ...], doc("Which operating system hosts run, where the cloud does not tell.")
    ] = ()
    guest_cpu: Annotated[
        tuple[GuestCPUOf, ...],
        Field(alias="guestCPU"),
        doc("What guests see as their CPU, where it is not the host's own model, Nova's default."),
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
