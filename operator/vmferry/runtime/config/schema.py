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
            "Which cloud of clouds.yaml; not needed where cloudsFile has one only. Without both, the environment's "
            "OS_* variables name it."
        ),
    ] = None
    clouds_file: Annotated[
        File | None,
        doc(
            "The clouds.yaml. It alone counts then: no OS_* variable and no clouds.yaml, secure.yaml or "
            "clouds-public.yaml elsewhere. Without it openstacksdk searches its usual places."
        ),
    ] = None


class Polling(_Section):
    """How often the parts of the shared view are read, see `cloud.observer.Pace`."""

    poll: Annotated[
        Span, doc("Servers and migrations, by what changed since; every 2s while something is being migrated.")
    ] = timedelta(seconds=5)
    full: Annotated[Span, doc("Servers and migrations, all of them, against what a read of changes does not show.")] = (
        timedelta(minutes=5)
    )
    hosts: Annotated[Span, doc("Compute services, hypervisors and aggregates.")] = timedelta(seconds=10)
    resources: Annotated[Span, doc("Placement: room, traits, sharing providers.")] = timedelta(seconds=20)
    groups: Annotated[Span, doc("Server groups, and the ports of servers in Neutron.")] = timedelta(seconds=20)
    projects: Annotated[Span, doc("The names of projects, by which servers are found.")] = timedelta(seconds=30)
    facts: Annotated[
        Span,
        doc("Private Cloud Director's resource manager, where there is one; that it is silent makes no view stale."),
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
    """What the operator says on stderr."""

    level: Annotated[LogLevel, doc("The least that is said; debug tells of the libraries, too.")] = LogLevel.INFO
    format: Annotated[LogFormat, doc("json: an object a line. text: for people.")] = LogFormat.JSON


class Health(_Section):
    """Where /healthz, /readyz and /metrics are served; loopback unless told otherwise."""

    address: Annotated[str, doc("The address to listen on; * is every address, IPv4 and IPv6, as a Pod needs.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, Field(ge=0, le=65535), doc("The port; 0: a free one, which the log tells.")] = 8080

    @field_validator("address")
    @classmethod
    def _can_be_listened_on(cls, text: str) -> str:
        if text != EVERY_ADDRESS and _ADDRESS.fullmatch(text) is None:
            raise ValueError("must be an IP address, the name of a host, or *")
        return text


class LeaderElection(_Section):
    """Which of several operators acts; the spans mean what they do in client-go."""

    enabled: Annotated[bool, doc("false: this operator acts without asking; only where it is alone for certain.")] = (
        True
    )
    name: Annotated[ObjectName, doc("The name of the Lease, in the operator's own namespace.")] = "vmferry"
    lease_duration: Annotated[
        Span, doc("A standby takes over when the leader was silent for this long; longer than renewDeadline.")
    ] = timedelta(seconds=15)
    renew_deadline: Annotated[
        Span, doc("A leader that could not renew for this long stops; longer than 1.2 times retryPeriod.")
    ] = timedelta(seconds=10)
    retry_period: Annotated[Span, doc("Between two tries to lead, or to renew.")] = timedelta(seconds=2)

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

    cloud: Annotated[Cloud, doc("Which OpenStack.")] = Cloud()
    kubeconfig: Annotated[
        File | None,
        doc("The kubeconfig. Without it $KUBECONFIG, the Pod's ServiceAccount or the user's own, in this order."),
    ] = None
    class_: Annotated[
        ObjectName | None,
        Field(alias="class"),
        doc(
            "Which objects are this operator's, where several run in one cluster: those with the label "
            "vmferry.dev/class of this value. Without it those without the label."
        ),
    ] = None
    namespaces: Annotated[
        list[Namespace],
        doc("Where VMMigrations are looked for; empty: everywhere. Must contain policy.maintenance.namespace."),
    ] = []
    namespace: Annotated[
        Namespace, doc("The operator's own: Leases of hosts, its own one and the kill switch lie in it.")
    ] = Policy().maintenance.namespace
    policy: Annotated[Policy, doc("The rules by which it is decided.")] = Policy()
    polling: Annotated[
        Polling, doc("How often the cloud is read; poll, hosts, resources and groups shorter than policy.maxViewAge.")
    ] = Polling()
    workers: Annotated[int, Field(ge=1, le=64), doc("Objects that are looked at at once.")] = 8
    resync: Annotated[Span, doc("How often all objects are listed and looked at again.")] = timedelta(minutes=10)
    grace: Annotated[Span, doc("How long running looks may take to finish once the operator is told to stop.")] = (
        timedelta(seconds=20)
    )
    log: Annotated[Log, doc("What it says on stderr.")] = Log()
    health: Annotated[Health, doc("Where /healthz, /readyz and /metrics are served.")] = Health()
    leader_election: Annotated[LeaderElection, doc("Which of several operators acts.")] = LeaderElection()
    stop_switch: Annotated[
        ObjectName, doc("The name of the ConfigMap, in the operator's own namespace, that is the kill switch.")
    ] = "vmferry-stop"
    resume_marks: Annotated[
        ObjectName,
        doc(
            "The name of the ConfigMap, in the operator's own namespace, whose marks close breakers: see "
            "policy.breaker."
        ),
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
