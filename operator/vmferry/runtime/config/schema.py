"""The keys of the configuration file. What decides stands in `vmferry.policy`, in the same form."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from vmferry.config_types import SECTION, File, Namespace, ObjectName, Span, doc, positive
from vmferry.policy import Policy
from vmferry.resources.base import format_duration

#: what client-go adds at random to the pause between two tries to lead, as a part of it
JITTER = 0.2
#: of an address to listen on: an IP address, IPv6 with its zone, or a name of labels that DNS takes
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{1,45}(%[\w.-]{1,15})?|[0-9A-Za-z_-]{1,63}(\.[0-9A-Za-z_-]{1,63}){0,7}", re.ASCII)
#: listen on every address, IPv4 and IPv6
EVERY_ADDRESS = "*"


class _Section(BaseModel):
    model_config = ConfigDict(**SECTION, frozen=True)


class Cloud(_Section):
    """Which cloud of which clouds.yaml."""

    name: Annotated[
        str | None,
        Field(min_length=1),
        doc(
            "Name of the cloud in clouds.yaml; may be omitted if cloudsFile contains only one. Without both, the "
            "environment's OS_* variables define the cloud."
        ),
    ] = None
    clouds_file: Annotated[
        File | None,
        doc(
            "Path of the clouds.yaml. If set, only this file counts: OS_* variables and any clouds.yaml, "
            "secure.yaml or clouds-public.yaml elsewhere are ignored. Without it, openstacksdk searches its usual"
            " places."
        ),
    ] = None


class Polling(_Section):
    """How often the parts of the shared view are read, see `cloud.observer.Pace`."""

    poll: Annotated[Span, doc("Changes of servers and migrations; every 2s while a migration is running.")] = timedelta(
        seconds=5
    )
    full: Annotated[Span, doc("All servers and migrations, which corrects what a read of changes does not show.")] = (
        timedelta(minutes=5)
    )
    hosts: Annotated[Span, doc("Compute services, hypervisors and aggregates.")] = timedelta(seconds=10)
    resources: Annotated[Span, doc("Placement: capacity, traits, sharing providers.")] = timedelta(seconds=20)
    groups: Annotated[Span, doc("Server groups, and the ports of servers in Neutron.")] = timedelta(seconds=20)
    projects: Annotated[Span, doc("The names of projects, which identify servers.")] = timedelta(seconds=30)
    facts: Annotated[
        Span,
        doc(
            "Private Cloud Director's resource manager, if there is one. If it does not respond, the view does "
            "not become stale."
        ),
    ] = timedelta(seconds=20)

    _positive = field_validator("*")(positive)

    def seconds(self) -> dict[str, float]:
        return {name: getattr(self, name).total_seconds() for name in type(self).model_fields}


class LogFormat(StrEnum):
    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Log(_Section):
    """What the operator logs to stderr."""

    level: Annotated[LogLevel, doc("The lowest level that is logged; debug includes the libraries.")] = LogLevel.INFO
    format: Annotated[LogFormat, doc("json: one object per line. text: for people.")] = LogFormat.JSON


class Health(_Section):
    """Where /healthz, /readyz and /metrics are served; by default on the loopback address."""

    address: Annotated[str, doc("Address to listen on; * is every IPv4 and IPv6 address, which a Pod needs.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535), doc("Port to listen on; 0: a free port, which is logged.")] = 8080

    @field_validator("address")
    @classmethod
    def _can_be_listened_on(cls, text: str) -> str:
        if text != EVERY_ADDRESS and _ADDRESS.fullmatch(text) is None:
            raise ValueError("must be an IP address, the name of a host, or *")
        return text


class LeaderElection(_Section):
    """Which of several operators acts; the durations have the same meaning as in client-go."""

    enabled: Annotated[bool, doc("false: this operator acts without a Lease; only safe if no other operator runs.")] = (
        True
    )
    name: Annotated[ObjectName, doc("The name of the Lease, in the operator's own namespace.")] = "vmferry"
    lease_duration: Annotated[
        Span,
        doc("A standby takes over if the leader has not renewed the Lease for this long; longer than renewDeadline."),
    ] = timedelta(seconds=15)
    renew_deadline: Annotated[
        Span,
        doc("A leader that cannot renew the Lease for this long stops leading; longer than 1.2 times retryPeriod."),
    ] = timedelta(seconds=10)
    retry_period: Annotated[Span, doc("Time between two attempts to acquire or renew the Lease.")] = timedelta(
        seconds=2
    )

    _positive = field_validator("lease_duration", "renew_deadline", "retry_period")(positive)

    @model_validator(mode="after")
    def _leaders_stop_in_time(self) -> Self:
        if self.lease_duration <= self.renew_deadline:
            raise ValueError("leaseDuration must be longer than renewDeadline")
        if self.renew_deadline <= self.retry_period * (1 + JITTER):
            raise ValueError(f"renewDeadline must be longer than {1 + JITTER:g} times retryPeriod")
        return self


class Config(_Section):
    """The whole file."""

    cloud: Annotated[Cloud, doc("The OpenStack cloud.")] = Cloud()
    kubeconfig: Annotated[
        File | None,
        doc(
            "Path of the kubeconfig. Without it: $KUBECONFIG, the Pod's ServiceAccount, or the user's own "
            "kubeconfig, in this order."
        ),
    ] = None
    class_: Annotated[
        ObjectName | None,
        Field(alias="class"),
        doc(
            "If several operators run in one cluster: this one serves the objects whose label vmferry.dev/class "
            "has this value. Without it: the objects without the label."
        ),
    ] = None
    namespaces: Annotated[
        list[Namespace],
        doc("Namespaces whose VMMigrations are served; empty: all. Must contain policy.maintenance.namespace."),
    ] = []
    namespace: Annotated[
        Namespace,
        doc("The operator's namespace: it contains the Leases of hosts, the leader Lease and the kill switch."),
    ] = Policy().maintenance.namespace
    policy: Annotated[Policy, doc("The rules for decisions.")] = Policy()
    polling: Annotated[
        Polling,
        doc("How often the cloud is read; poll, hosts, resources and groups must be shorter than policy.maxViewAge."),
    ] = Polling()
    workers: Annotated[int, Field(ge=1, le=64), doc("Number of parallel reconciles.")] = 8
    resync: Annotated[Span, doc("How often all objects are listed and reconciled again.")] = timedelta(minutes=10)
    grace: Annotated[Span, doc("How long running reconciles may take to finish when the operator stops.")] = timedelta(
        seconds=20
    )
    log: Annotated[Log, doc("What the operator logs to stderr.")] = Log()
    health: Annotated[Health, doc("Where /healthz, /readyz and /metrics are served.")] = Health()
    leader_election: Annotated[LeaderElection, doc("Which of several operators acts.")] = LeaderElection()
    stop_switch: Annotated[
        ObjectName, doc("Name of the ConfigMap in the operator's namespace that is the kill switch.")
    ] = "vmferry-stop"
    resume_marks: Annotated[
        ObjectName,
        doc("Name of the ConfigMap in the operator's namespace that closes breakers: see policy.breaker."),
    ] = "vmferry-resume"

    _positive = field_validator("resync")(positive)

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
