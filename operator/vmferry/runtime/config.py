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

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from vmferry import policy as rules
from vmferry.cloud.facts.os_info import operating_system
from vmferry.cloud.model import GuestCPU, GuestCPUMode, OperatingSystem
from vmferry.prerequisites.words import Name
from vmferry.resources.base import Duration, format_duration

_DEFAULTS = rules.Policy()


#: a third of a Lease's duration is to spare
LONGEST_VERIFY = timedelta(seconds=80)

#: what client-go adds at random to the pause between two tries to lead, as a part of it
JITTER = 0.2

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the file and every wrong field."""


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


def _positive(span: timedelta) -> timedelta:
    if span <= timedelta(0):
        raise ValueError("must be longer than 0s")
    return span


class Cloud(_Section):
    """Which cloud of which clouds.yaml."""

    #: None: the OS_* environment variables say which
    name: Annotated[str, Field(min_length=1)] | None = None
    #: None: where openstacksdk looks by itself
    clouds_file: Path | None = None


class Polling(_Section):
    """How often the parts of the shared view are read; what the fields mean stands at `cloud.observer.Pace`."""

    poll: Duration = timedelta(seconds=5)
    full: Duration = timedelta(minutes=5)
    hosts: Duration = timedelta(seconds=10)
    resources: Duration = timedelta(seconds=20)
    groups: Duration = timedelta(seconds=20)
    projects: Duration = timedelta(seconds=30)
    facts: Duration = timedelta(seconds=20)

    _positive = field_validator("*")(_positive)

    def seconds(self) -> dict[str, float]:
        return {name: getattr(self, name).total_seconds() for name in type(self).model_fields}


class SharedStorage(_Section):
    """Hosts whose ephemeral disks lie on one shared storage."""

    name: Annotated[str, Field(min_length=1)]
    hosts: list[str] = []
    aggregates: list[str] = []


class _OfHosts(_Section):
    """Says something of the hosts that it names, and of all hosts of the aggregates that it names."""

    hosts: list[str] = []
    aggregates: list[str] = []

    @model_validator(mode="after")
    def _names_some(self) -> Self:
        if not self.hosts and not self.aggregates:
            raise ValueError("name the hosts or aggregates that this is about")
        return self


class OperatingSystems(_OfHosts):
    """Hosts that run one operating system."""

    #: distribution and version, like `Ubuntu 22.04`
    system: str

    @field_validator("system")
    @classmethod
    def _is_known(cls, text: str) -> str:
        if operating_system(text) is None:
            raise ValueError(f"{text!r} is no distribution with its version, like Ubuntu 22.04")
        return text

    def rule(self) -> rules.SystemOf:
        system: OperatingSystem | None = operating_system(self.system)
        assert system is not None
        return rules.SystemOf(system, frozenset(self.hosts), frozenset(self.aggregates))


class GuestCPUs(_OfHosts):
    """Hosts whose guests see one CPU, as Nova's cpu_mode and cpu_models make it."""

    mode: GuestCPUMode
    model: str = ""

    @model_validator(mode="after")
    def _model_goes_with_custom(self) -> Self:
        if (self.mode is GuestCPUMode.CUSTOM) != bool(self.model):
            raise ValueError("a model goes with mode Custom, and only with it")
        return self

    def rule(self) -> rules.GuestCPUOf:
        return rules.GuestCPUOf(GuestCPU(self.mode, self.model), frozenset(self.hosts), frozenset(self.aggregates))


class Limits(_Section):
    """How many migrations may run at once, everybody's counted."""

    per_source: Annotated[int, Field(ge=1)] = _DEFAULTS.limits.per_source
    per_target: Annotated[int, Field(ge=1)] = _DEFAULTS.limits.per_target
    total: Annotated[int, Field(ge=1)] = _DEFAULTS.limits.total


class Maintenance(_Section):
    """How hosts are drained; what the fields mean stands at `vmferry.policy.Maintenance`."""

    max_hosts_per_cluster: Annotated[int, Field(ge=1)] = _DEFAULTS.maintenance.max_hosts_per_cluster
    headroom_percent: Annotated[int, Field(ge=0, le=90)] = _DEFAULTS.maintenance.headroom_percent
    settle: Duration = _DEFAULTS.maintenance.settle
    verify_every: Duration = _DEFAULTS.maintenance.verify_every
    #: the operator's own, where the file names none
    namespace: Namespace = _DEFAULTS.maintenance.namespace

    _positive = field_validator("settle", "verify_every")(_positive)

    @field_validator("verify_every")
    @classmethod
    def _keeps_the_lease(cls, span: timedelta) -> timedelta:
        """A look at the host is what renews its Lease (I32)."""
        if span > LONGEST_VERIFY:
            raise ValueError(f"must be at most {format_duration(LONGEST_VERIFY)}, or the host's Lease would run out")
        return span


class Policy(_Section):
    """`vmferry.policy.Policy` as YAML: what the fields mean stands there."""

    shared_storage: list[SharedStorage] = []
    local_unless_shared: bool = _DEFAULTS.local_unless_shared
    limits: Limits = Limits()
    maintenance: Maintenance = Maintenance()
    bandwidth: Annotated[int, Field(ge=1)] | None = _DEFAULTS.bandwidth
    tolerate_unknown: list[Name] = []
    max_view_age: Duration = _DEFAULTS.max_view_age
    host_down_for: Duration = _DEFAULTS.host_down_for
    timeout_base: Duration = _DEFAULTS.timeout_base
    timeout_per_gib: Annotated[Duration, Field(alias="timeoutPerGiB")] = _DEFAULTS.timeout_per_gib
    stop_timeout: Duration = _DEFAULTS.stop_timeout
    recheck: Duration = _DEFAULTS.recheck
    retry_backoff: Duration = _DEFAULTS.retry_backoff
    progress_every: Duration = _DEFAULTS.progress_every
    record_grace: Duration = _DEFAULTS.record_grace
    ttl_after_finished: Duration | None = _DEFAULTS.ttl_after_finished
    operating_systems: list[OperatingSystems] = []
    guest_cpu: Annotated[list[GuestCPUs], Field(alias="guestCPU")] = []

    @field_validator("tolerate_unknown")
    @classmethod
    def _no_data_is_risked(cls, names: list[Name]) -> list[Name]:
        """What Storage does not know is whether an evacuation would lose the disks (I14)."""
        if Name.STORAGE in names:
            raise ValueError("Storage cannot be tolerated: an evacuation might lose data; name sharedStorage instead")
        return names

    _positive = field_validator("max_view_age", "timeout_base", "stop_timeout", "recheck", "progress_every")(_positive)

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
                "maintenance": rules.Maintenance(**dict(self.maintenance)),
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
    level: LogLevel = LogLevel.INFO
    format: LogFormat = LogFormat.JSON


class Health(_Section):
    """Where /healthz, /readyz and /metrics are served; loopback unless told otherwise."""

    address: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080


class LeaderElection(_Section):
    """Which of several operators acts; the spans mean what they do in client-go."""

    enabled: bool = True
    #: of the Lease, in the operator's own namespace
    name: ObjectName = "vmferry"
    #: a standby takes over when the leader was silent for this long
    lease_duration: Duration = timedelta(seconds=15)
    #: a leader that could not renew for this long stops
    renew_deadline: Duration = timedelta(seconds=10)
    retry_period: Duration = timedelta(seconds=2)

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

    cloud: Cloud = Cloud()
    #: None: $KUBECONFIG, the Pod's ServiceAccount, or the user's own kubeconfig, in this order
    kubeconfig: Path | None = None
    #: empty: all
    namespaces: list[Namespace] = []
    #: the operator's own: the Leases of hosts lie in it
    namespace: Namespace = _DEFAULTS.maintenance.namespace
    policy: Policy = Policy()
    polling: Polling = Polling()
    workers: Annotated[int, Field(ge=1, le=64)] = 4
    #: how often all objects are listed and looked at again
    resync: Duration = timedelta(minutes=10)
    #: how long running passes may take to finish once the operator is told to stop
    grace: Duration = timedelta(seconds=20)
    log: Log = Log()
    health: Health = Health()
    leader_election: LeaderElection = LeaderElection()
    #: the ConfigMap, in the operator's own namespace, that is the kill switch
    stop_switch: ObjectName = "vmferry-stop"

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
_ENVIRONMENT = {
    "VMFERRY_CLOUD": ("cloud", "name"),
    "VMFERRY_CLOUDS_FILE": ("cloud", "cloudsFile"),
    "VMFERRY_KUBECONFIG": ("kubeconfig",),
    "VMFERRY_HEALTH_ADDRESS": ("health", "address"),
    "VMFERRY_HEALTH_PORT": ("health", "port"),
    # a Pod's own namespace, unless told otherwise
    "POD_NAMESPACE": ("namespace",),
    "VMFERRY_NAMESPACE": ("namespace",),
}


def load(path: Path, environment: Mapping[str, str]) -> Config:
    """Read the file; the environment wins over it. Raises ConfigError."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    return parse({} if data is None else data, environment, str(path))


def parse(data: Any, environment: Mapping[str, str], source: str = "configuration") -> Config:
    """From parsed YAML; raises ConfigError with every wrong field."""
    if not isinstance(data, dict):
        raise ConfigError(f"{source}: must be a mapping of keys to values")
    for variable, fields in _ENVIRONMENT.items():
        if value := environment.get(variable):
            data = _with(data, fields, value)
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False)
        raise ConfigError("\n".join(f"{source}: {_sentence(p)}" for p in problems)) from error


def _with(data: dict[str, Any], fields: tuple[str, ...], value: str) -> dict[str, Any]:
    first, *rest = fields
    if not rest:
        return {**data, first: value}
    inner = data.get(first)
    return {**data, first: _with(inner if isinstance(inner, dict) else {}, tuple(rest), value)}


def _sentence(problem: Any) -> str:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
    if problem["type"] == "extra_forbidden":
        return f"{field}: no such key"
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}"
