"""The operator's configuration: one YAML file; every key is optional, an unknown one is an error that says which.

    cloud: {name: mycloud, cloudsFile: /etc/vmferry/clouds.yaml}
    namespaces: [migrations]        # empty: all
    policy:
      sharedStorage: [{name: nfs-1, aggregates: [rack-1]}]
      operatingSystems: [{system: Ubuntu 22.04, aggregates: [rack-1]}, {system: Ubuntu 24.04, hosts: [host-9]}]
      guestCPU: [{mode: Custom, model: Skylake-Server-IBRS, aggregates: [rack-1]}]
      limits: {perSource: 2, perTarget: 2, total: 10}
      maintenance: {maxHostsPerCluster: 1, headroomPercent: 10, namespace: migrations}

A few places can be given by the environment, where a container needs that: see `from_environment`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from vmferry import policy as rules
from vmferry.cloud.facts.os_info import operating_system, unreadable
from vmferry.cloud.model import GuestCPU, GuestCPUMode, OperatingSystem
from vmferry.planning.breaker import LONGEST_PAUSE
from vmferry.prerequisites.enums import NEVER_TOLERATED, Name
from vmferry.resources.base import GROUP, Duration, clip, format_duration, shown

_DEFAULTS = rules.Policy()


#: a third of a Lease's duration is to spare
LONGEST_VERIFY = timedelta(seconds=80)

#: of any duration
LONGEST = timedelta(days=366)

#: of anything that is counted
MOST = 1_000_000

#: what client-go adds at random to the pause between two tries to lead, as a part of it
JITTER = 0.2


def told(description: str) -> Any:
    """What a key means, for the reference in docs/."""
    return Field(description=description)


ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


def _not_for_ever(span: timedelta) -> timedelta:
    """What is added to a moment, or multiplied first, must stay within the calendar."""
    if span > LONGEST:
        raise ValueError(f"must be at most {format_duration(LONGEST)}")
    return span


def _within_a_day(span: timedelta) -> timedelta:
    """The same for what is multiplied: by GiB, or doubled with each attempt."""
    if span > timedelta(days=1):
        raise ValueError("must be at most 24h")
    return span


Span = Annotated[Duration, AfterValidator(_not_for_ever)]


def _in_figures(count: int) -> int:
    """It stands in sentences, and Python does not print thousands of digits."""
    if count > MOST:
        raise ValueError(f"must be at most {MOST}")
    return count


Count = Annotated[int, Field(ge=1), AfterValidator(_in_figures)]


#: a label's value, and its key without the prefix
_MARK = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
#: the prefix of a label's key, a DNS subdomain
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and every wrong field."""


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return span


def _no_nul(path: Path) -> Path:
    """No file system takes one, and Python says so where nobody expects it."""
    if "\0" in str(path):
        raise ValueError("must not contain a NUL character")
    return path


File = Annotated[Path, AfterValidator(_no_nul)]
#: of an address to listen on: an IP address, IPv6 with its zone, or a name of labels that DNS takes
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{1,45}(%[\w.-]{1,15})?|[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63}){0,7}", re.ASCII)


#: the same for all of them, of both families
EVERY_ADDRESS = "*"


class Cloud(_Section):
    """Which cloud of which clouds.yaml."""

    name: Annotated[
        str | None,
        Field(min_length=1),
        told(
            "Which cloud of clouds.yaml; not needed where cloudsFile has one only. Without both, the environment's "
            "OS_* variables name it."
        ),
    ] = None
    clouds_file: Annotated[
        File | None,
        told(
            "The clouds.yaml. It alone counts then: no OS_* variable and no clouds.yaml, secure.yaml or "
            "clouds-public.yaml elsewhere. Without it openstacksdk searches its usual places."
        ),
    ] = None


class Polling(_Section):
    """How often the parts of the shared view are read, see `cloud.observer.Pace`."""

    poll: Annotated[
        Span, told("Servers and migrations, by what changed since; every 2s while something is being migrated.")
    ] = timedelta(seconds=5)
    full: Annotated[
        Span, told("Servers and migrations, all of them, against what a read of changes does not show.")
    ] = timedelta(minutes=5)
    hosts: Annotated[Span, told("Compute services, hypervisors and aggregates.")] = timedelta(seconds=10)
    resources: Annotated[Span, told("Placement: room, traits, sharing providers.")] = timedelta(seconds=20)
    groups: Annotated[Span, told("Server groups, and the ports of servers in Neutron.")] = timedelta(seconds=20)
    projects: Annotated[Span, told("The names of projects, by which servers are found.")] = timedelta(seconds=30)
    facts: Annotated[
        Span,
        told("Private Cloud Director's resource manager, where there is one; that it is silent makes no view stale."),
    ] = timedelta(seconds=20)

    _positive = field_validator("*")(_positive)

    def seconds(self) -> dict[str, float]:
        return {name: getattr(self, name).total_seconds() for name in type(self).model_fields}


class SharedStorage(_Section):
    """Hosts whose ephemeral disks lie on one shared storage."""

    name: Annotated[str, Field(min_length=1), told("What to call it; equal names are one storage.")]
    hosts: Annotated[list[str], told("Names of compute service hosts.")] = []
    aggregates: Annotated[list[str], told("Names of host aggregates: all their hosts.")] = []


class _OfHosts(_Section):
    """Says something of the hosts that it names, and of all hosts of the aggregates that it names."""

    hosts: Annotated[list[str], told("Names of compute service hosts.")] = []
    aggregates: Annotated[list[str], told("Names of host aggregates: all their hosts.")] = []

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not self.hosts and not self.aggregates:
            raise ValueError("name the hosts or aggregates that this is about")
        return self


class OperatingSystems(_OfHosts):
    """Hosts that run one operating system."""

    system: Annotated[
        str,
        told(
            "Distribution and version, like Ubuntu 22.04. Any text will do; what is not a known step of a distribution "
            "is only compared for equality."
        ),
    ]

    @field_validator("system")
    @classmethod
    def _is_known(cls, text: str) -> str:
        if (why := unreadable(text)) is not None:
            raise ValueError(f"{shown(text)} is no distribution with its version, like Ubuntu 22.04: {why}")
        return text

    def rule(self) -> rules.SystemOf:
        system: OperatingSystem | None = operating_system(self.system)
        assert system is not None
        return rules.SystemOf(system, frozenset(self.hosts), frozenset(self.aggregates))


class GuestCPUs(_OfHosts):
    """Hosts whose guests see one CPU, as Nova's cpu_mode and cpu_models make it."""

    mode: Annotated[GuestCPUMode, told("Nova's cpu_mode.")]
    model: Annotated[str, told("With Custom, and only with it: libvirt's name of the model.")] = ""

    @model_validator(mode="after")
    def _model_goes_with_custom(self) -> Self:
        if (self.mode is GuestCPUMode.CUSTOM) != bool(self.model):
            raise ValueError("a model goes with mode Custom, and only with it")
        return self

    def rule(self) -> rules.GuestCPUOf:
        return rules.GuestCPUOf(GuestCPU(self.mode, self.model), frozenset(self.hosts), frozenset(self.aggregates))


class Limits(_Section):
    """How many migrations may run at once, everybody's counted."""

    per_source: Annotated[Count, told("Migrations at once away from one host.")] = _DEFAULTS.limits.per_source
    per_target: Annotated[Count, told("Migrations at once onto one host.")] = _DEFAULTS.limits.per_target
    total: Annotated[Count, told("Migrations at once in the whole cloud.")] = _DEFAULTS.limits.total


class Breaker(_Section):
    """When nothing more is started because attempts fail by a common cause: `vmferry.policy.Breaker` as YAML."""

    attempts: Annotated[
        Count,
        told(
            "Failures in a row from one host (servers left in ERROR, or the same failure on different targets) after "
            "which nothing more starts from it. One more than that, from several hosts, and nothing starts anywhere."
        ),
    ] = _DEFAULTS.breaker.attempts
    hosts: Annotated[
        Count, told("From how many hosts the failures must be before nothing more starts in the whole cloud.")
    ] = _DEFAULTS.breaker.hosts
    window: Annotated[Span, told("Time within which the failures from several hosts must lie.")] = (
        _DEFAULTS.breaker.window
    )
    pause: Annotated[
        Span,
        told(
            "Time before one trial move may start, at most 24h; doubled after each trial that fails, up to 24h. A "
            "trial may leave one more server in ERROR."
        ),
    ] = _DEFAULTS.breaker.pause

    _positive = field_validator("window", "pause")(_positive)

    @field_validator("pause")
    @classmethod
    def _ends_before_it_is_forgotten(cls, span: timedelta) -> timedelta:
        """Failures are forgotten a day after the last one."""
        if span > LONGEST_PAUSE:
            raise ValueError(f"must be at most {format_duration(LONGEST_PAUSE)}")
        return span


class Maintenance(_Section):
    """How hosts are drained: `vmferry.policy.Maintenance` as YAML."""

    max_hosts_per_cluster: Annotated[
        Count, told("Hosts of one availability zone in maintenance at once; a further one is Queued.")
    ] = _DEFAULTS.maintenance.max_hosts_per_cluster
    headroom_percent: Annotated[
        int,
        Field(ge=0, le=90),
        told(
            "Percent of the memory of the zone's other enabled hosts that must stay free once a host is drained; else "
            "it is not begun, unless its ignoreHeadroom says so. 0: not asked."
        ),
    ] = _DEFAULTS.maintenance.headroom_percent
    settle: Annotated[Span, told("Between the two looks that must both find a host empty.")] = (
        _DEFAULTS.maintenance.settle
    )
    verify_every: Annotated[
        Span,
        told("How often a host in maintenance is looked at again; at most 1m20s, for the look renews its Lease."),
    ] = _DEFAULTS.maintenance.verify_every
    namespace: Annotated[
        Namespace,
        told("Where the VMMigrations of a maintenance are created. Without it the operator's own namespace."),
    ] = _DEFAULTS.maintenance.namespace

    labels: Annotated[
        dict[str, str],
        told(
            "Labels of these VMMigrations, where the rules of a cluster (Kyverno, Gatekeeper, an admission policy) "
            "demand some. Those below vmferry.dev/ are the operator's own."
        ),
    ] = {}
    annotations: Annotated[dict[str, str], told("Annotations of these VMMigrations, likewise.")] = {}

    _positive = field_validator("settle", "verify_every")(_positive)

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

    def rule(self) -> rules.Maintenance:
        return rules.Maintenance(
            **{
                **dict(self),
                "labels": tuple(sorted(self.labels.items())),
                "annotations": tuple(sorted(self.annotations.items())),
            }
        )

    @field_validator("verify_every")
    @classmethod
    def _keeps_the_lease(cls, span: timedelta) -> timedelta:
        """A look at the host is what renews its Lease (I32)."""
        if span > LONGEST_VERIFY:
            raise ValueError(f"must be at most {format_duration(LONGEST_VERIFY)}, or the host's Lease would run out")
        return span


class Policy(_Section):
    """`vmferry.policy.Policy` as YAML."""

    shared_storage: Annotated[
        list[SharedStorage],
        told("Hosts whose ephemeral disks (Nova's instances folder) lie on one shared storage; nobody else tells."),
    ] = []
    local_unless_shared: Annotated[
        bool,
        told(
            "What holds for hosts in no sharedStorage: true says that their ephemeral disks are local, false that "
            "nobody knows. Live and Cold copy them either way; Evacuate fails with LocalDisk, or waits with "
            "FactUnknown."
        ),
    ] = _DEFAULTS.local_unless_shared
    limits: Annotated[
        Limits, told("How many migrations may run at once, whoever started them; what is over them is Queued.")
    ] = Limits()
    breaker: Annotated[
        Breaker,
        told("When nothing more is started because attempts fail by a common cause. Evacuations are never held."),
    ] = Breaker()
    maintenance: Annotated[Maintenance, told("How hosts are drained.")] = Maintenance()
    bandwidth: Annotated[
        Count | None,
        told(
            "What may be copied at once over one host's management network, in units: a live or cold migration is one, "
            "and one more for each 100 GiB of local disk. What is heavier than the limit runs alone. Without it "
            "there is no such limit."
        ),
    ] = _DEFAULTS.bandwidth
    tolerate_unknown: Annotated[
        list[Name],
        told("Prerequisites that may pass although nobody tells the facts. Never Storage, SourceHost or TargetHost."),
    ] = []
    max_view_age: Annotated[
        Span, told("A view of the cloud that is older decides nothing; the resources say CloudViewStale.")
    ] = _DEFAULTS.max_view_age
    host_down_for: Annotated[
        Span, told("A host counts as failed only after its compute service was silent for this long.")
    ] = _DEFAULTS.host_down_for
    timeout_base: Annotated[Span, told("Deadline of an attempt whose resource names none; see timeoutPerGiB.")] = (
        _DEFAULTS.timeout_base
    )
    timeout_per_gib: Annotated[
        Span,
        Field(alias="timeoutPerGiB"),
        told("What each GiB of memory and local disk to copy adds to timeoutBase."),
    ] = _DEFAULTS.timeout_per_gib
    stop_timeout: Annotated[
        Span,
        told(
            "How long a graceful stop, and the start after it, may take; then the migration has failed. And how long "
            "a server that was stopped for its move may wait for it (paused, blocked, kill switch): then it is started "
            "again, and the migration has failed."
        ),
    ] = _DEFAULTS.stop_timeout
    recheck: Annotated[
        Span, told("How often what is blocked or paused is looked at again, if no change in the cloud wakes it.")
    ] = _DEFAULTS.recheck
    retry_backoff: Annotated[Span, told("Between a failed attempt and the next, doubled with each one.")] = (
        _DEFAULTS.retry_backoff
    )
    stuck_after: Annotated[
        Span,
        told(
            "What has not changed for this long counts as stuck and is reported with its remedy: a server in one task, "
            "an open migration record whose server is idle (it then uses up no limit), a drain in which nothing moves, "
            "a migration past its deadline that Nova does not end."
        ),
    ] = _DEFAULTS.stuck_after
    progress_every: Annotated[
        Span,
        told(
            "How often the bytes of a running live migration are read and written; less often while more run "
            "than ten a second allow."
        ),
    ] = _DEFAULTS.progress_every
    record_grace: Annotated[
        Span,
        told("How long Nova may take to show the record of a move before its other records are asked for it."),
    ] = _DEFAULTS.record_grace
    ttl_after_finished: Annotated[
        Span | None,
        told(
            "Delete finished VMMigrations that do not say themselves how long they stay; those of a HostMaintenance go "
            "with it, and what was applied (kubectl apply, a pipeline) stays. Without it all stay."
        ),
    ] = _DEFAULTS.ttl_after_finished
    expire_after: Annotated[
        Span,
        told(
            "A VMMigration that has not started this long after its creation ends as Failed with the reason Expired, "
            "also while it is paused or the kill switch is on; its startBefore takes precedence. Those of a "
            "HostMaintenance do not expire. 0s: never."
        ),
    ] = _DEFAULTS.expire_after
    operating_systems: Annotated[
        list[OperatingSystems], told("Which operating system hosts run, where the cloud does not tell.")
    ] = []
    guest_cpu: Annotated[
        list[GuestCPUs],
        Field(alias="guestCPU"),
        told("What guests see as their CPU, where it is not the host's own model, Nova's default."),
    ] = []

    @field_validator("tolerate_unknown")
    @classmethod
    def _no_data_is_risked(cls, names: list[Name]) -> list[Name]:
        """What these do not know is whether a server would lose its disks or be started twice (I12, I14)."""
        for name in names:
            if name in NEVER_TOLERATED:
                raise ValueError(f"{name} cannot be tolerated: {NEVER_TOLERATED[name]}")
        return names

    _positive = field_validator(
        "max_view_age", "timeout_base", "stop_timeout", "recheck", "stuck_after", "progress_every"
    )(_positive)

    _within_a_day = field_validator("timeout_per_gib", "retry_backoff")(_within_a_day)

    def rules(self) -> rules.Policy:
        plain = {name: getattr(self, name) for name in type(self).model_fields}
        return rules.Policy(
            **plain
            | {
                "shared_storage": tuple(
                    rules.StoragePool(pool.name, frozenset(pool.hosts), frozenset(pool.aggregates))
                    for pool in self.shared_storage
                ),
                "limits": rules.Limits(**self.limits.model_dump()),
                "breaker": rules.Breaker(**dict(self.breaker)),
                "maintenance": self.maintenance.rule(),
                "tolerate_unknown": frozenset(self.tolerate_unknown),
                "operating_systems": tuple(one.rule() for one in self.operating_systems),
                "guest_cpu": tuple(one.rule() for one in self.guest_cpu),
            }
        )


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(_Section):
    """What the operator says on stderr."""

    level: Annotated[LogLevel, told("The least that is said; debug tells of the libraries, too.")] = LogLevel.INFO
    format: Annotated[LogFormat, told("json: an object a line. text: for people.")] = LogFormat.JSON


class Health(_Section):
    """Where /healthz, /readyz and /metrics are served; loopback unless told otherwise."""

    address: Annotated[str, told("The address to listen on; * is every address, IPv4 and IPv6, as a Pod needs.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535), told("The port; 0: a free one, which the log tells.")] = 8080

    @field_validator("address")
    @classmethod
    def _can_be_listened_on(cls, text: str) -> str:
        if text != EVERY_ADDRESS and _ADDRESS.fullmatch(text) is None:
            raise ValueError("must be an IP address, the name of a host, or *")
        return text


class LeaderElection(_Section):
    """Which of several operators acts; the spans mean what they do in client-go."""

    enabled: Annotated[bool, told("false: this operator acts without asking; only where it is alone for certain.")] = (
        True
    )
    name: Annotated[ObjectName, told("The name of the Lease, in the operator's own namespace.")] = "vmferry"
    lease_duration: Annotated[
        Span, told("A standby takes over when the leader was silent for this long; longer than renewDeadline.")
    ] = timedelta(seconds=15)
    renew_deadline: Annotated[
        Span, told("A leader that could not renew for this long stops; longer than 1.2 times retryPeriod.")
    ] = timedelta(seconds=10)
    retry_period: Annotated[Span, told("Between two tries to lead, or to renew.")] = timedelta(seconds=2)

    _positive = field_validator("lease_duration", "renew_deadline", "retry_period")(_positive)

    @model_validator(mode="after")
    def _leaders_stop_in_time(self) -> Self:
        if self.lease_duration <= self.renew_deadline:
            raise ValueError("leaseDuration must be longer than renewDeadline")
        if self.renew_deadline <= self.retry_period * (1 + JITTER):
            raise ValueError(f"renewDeadline must be longer than {1 + JITTER:g} times retryPeriod")
        return self


class Config(_Section):
    """The whole file."""

    cloud: Annotated[Cloud, told("Which OpenStack.")] = Cloud()
    kubeconfig: Annotated[
        File | None,
        told("The kubeconfig. Without it $KUBECONFIG, the Pod's ServiceAccount or the user's own, in this order."),
    ] = None
    class_: Annotated[
        ObjectName | None,
        Field(alias="class"),
        told(
            "Which objects are this operator's, where several run in one cluster: those with the label "
            "vmferry.dev/class of this value. Without it those without the label."
        ),
    ] = None
    namespaces: Annotated[
        list[Namespace],
        told("Where VMMigrations are looked for; empty: everywhere. Must contain policy.maintenance.namespace."),
    ] = []
    namespace: Annotated[
        Namespace, told("The operator's own: Leases of hosts, its own one and the kill switch lie in it.")
    ] = _DEFAULTS.maintenance.namespace
    policy: Annotated[Policy, told("The rules by which it is decided.")] = Policy()
    polling: Annotated[
        Polling, told("How often the cloud is read; poll, hosts, resources and groups shorter than policy.maxViewAge.")
    ] = Polling()
    workers: Annotated[int, Field(ge=1, le=64), told("Objects that are looked at at once.")] = 8
    resync: Annotated[Span, told("How often all objects are listed and looked at again.")] = timedelta(minutes=10)
    grace: Annotated[Span, told("How long running looks may take to finish once the operator is told to stop.")] = (
        timedelta(seconds=20)
    )
    log: Annotated[Log, told("What it says on stderr.")] = Log()
    health: Annotated[Health, told("Where /healthz, /readyz and /metrics are served.")] = Health()
    leader_election: Annotated[LeaderElection, told("Which of several operators acts.")] = LeaderElection()
    stop_switch: Annotated[
        ObjectName, told("The name of the ConfigMap, in the operator's own namespace, that is the kill switch.")
    ] = "vmferry-stop"
    resume_marks: Annotated[
        ObjectName,
        told(
            "The name of the ConfigMap, in the operator's own namespace, whose marks close breakers: see "
            "policy.breaker."
        ),
    ] = "vmferry-resume"

    _positive = field_validator("resync")(_positive)

    @model_validator(mode="before")
    @classmethod
    def _drains_at_home(cls, data: Any) -> Any:
        """Where no namespace is named for the VMMigrations of a maintenance, they lie in the operator's own."""
        own = data.get("namespace") if isinstance(data, dict) else None
        policy = data.get("policy", {}) if own else None
        maintenance = policy.get("maintenance", {}) if isinstance(policy, dict) else None
        if not isinstance(policy, dict) or not isinstance(maintenance, dict):
            return data  # nothing to fill in, or an error that is told as such
        return {**data, "policy": {**policy, "maintenance": {"namespace": own, **maintenance}}}

    @model_validator(mode="after")
    def _children_are_seen(self) -> Self:
        wanted = self.policy.maintenance.namespace
        if self.namespaces and wanted not in self.namespaces:
            raise ValueError(
                f"namespaces must contain {wanted}, policy.maintenance.namespace: "
                "what is created there would not be seen"
            )
        return self

    @model_validator(mode="after")
    def _views_can_be_fresh(self) -> Self:
        """A part that is read more seldom than the view may be old would make it stale for ever and again."""
        longest = self.policy.max_view_age
        slow = [name for name in ("poll", "hosts", "resources", "groups") if getattr(self.polling, name) >= longest]
        if slow:
            raise ValueError(f"polling.{slow[0]} must be shorter than policy.maxViewAge, {format_duration(longest)}")
        return self


#: environment variables and the fields that they set
ENVIRONMENT = {
    "VMFERRY_CLOUD": ("cloud", "name"),
    "VMFERRY_CLOUDS_FILE": ("cloud", "cloudsFile"),
    "VMFERRY_KUBECONFIG": ("kubeconfig",),
    "VMFERRY_HEALTH_ADDRESS": ("health", "address"),
    "VMFERRY_HEALTH_PORT": ("health", "port"),
    # a Pod's own namespace, unless told otherwise
    "POD_NAMESPACE": ("namespace",),
    "VMFERRY_NAMESPACE": ("namespace",),
}


#: a ConfigMap holds no more; a device would never end
_LARGEST = 1024 * 1024
#: problems that are told; whoever has more has written something else than a configuration
_TOLD = 20
#: what stands behind these in PyYAML's words may be a password that begins with * or !
_WORD = re.compile(r"\b(alias|tag|handle|anchor) ['\"].*", re.DOTALL)


class _Loader(yaml.SafeLoader):
    """PyYAML's own, which lets errors of Python pass where a scalar is not what its tag or its look says."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.constructor.ConstructorError(None, None, f"no good {kind}", node.start_mark) from error


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the file; the environment wins over it. Raises ConfigError."""
    source = str(path)
    try:
        with path.open("rb") as file:
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        raise _error(source, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _error(source, f"cannot be read: {error}") from error
    if len(raw) > _LARGEST:
        raise _error(source, "is larger than 1 MiB")
    try:
        data = yaml.load(raw.decode("utf-8"), _Loader)  # noqa: S506 (a SafeLoader)
    except UnicodeDecodeError as error:
        raise _error(source, f"is not YAML: no UTF-8 at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise _error(source, f"is not YAML: {_where(error)}") from error
    except RecursionError as error:
        raise _error(source, "is nested too deeply") from error
    return parse({} if data is None else data, environment, source)


def _where(error: yaml.YAMLError) -> str:
    """What is wrong at which line, without the line itself: a password may stand in it."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    said, mark = _WORD.sub(r"\1", error.problem or "unreadable"), error.problem_mark
    return f"{said}, line {mark.line + 1}, column {mark.column + 1}" if mark else said


def parse(data: Any, environment: Mapping[str, str], source: str = "configuration") -> Config:
    """From parsed YAML; raises ConfigError with every wrong field, of very many with the first ones."""
    if not isinstance(data, dict):
        raise _error(source, "must be a mapping of keys to values")
    for variable, fields in ENVIRONMENT.items():
        if value := environment.get(variable):
            data = _with(data, fields, value)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        told = [_sentence(problem) for problem in problems[:_TOLD]]
        more = len(problems) - len(told)
        raise _error(source, *told, f"and {more} more" if more else "") from error


def _error(source: str, *sentences: str) -> ConfigError:
    """One clean line each, bounded, whoever wrote the file and its name."""
    name = source if source.isprintable() and source.strip() else repr(source)
    return ConfigError("\n".join(f"{clip(name, 512)}: {clip(text, 512)}" for text in sentences if text))


def _with(data: dict[str, Any], fields: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = fields
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    return {**data, first: _with(inner if isinstance(inner, dict) else {}, tuple(rest), value)}


def _sentence(problem: Any) -> str:
    field = clip("".join(map(_step, problem["loc"])).lstrip("."), 256)
    if problem["type"] == "extra_forbidden":
        return f"{field}: no such key"
    said = problem["msg"].removeprefix("Value error, ")
    return f"{field}: {said}" if problem["loc"] else said


def _step(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return f".{clip(part, 64)}" if part.isprintable() and part.strip() else f".{shown(part)}"
