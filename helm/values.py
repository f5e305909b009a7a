"""The chart's values as typed models: types and bounds of values.schema.json. Their descriptions are in values.yaml.

`config` is not modelled here: it is the operator's `runtime.config.Config`, without the fields that the chart sets.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

#: fields of `Config` that the chart sets, because they follow from its Pod and its mounts
SET_BY_THE_CHART = ("cloud", "kubeconfig", "namespace", "health")

Labels = dict[str, str]
#: a part of a Kubernetes object, which the API server validates
Opaque = dict[str, Any]
Port = Annotated[int, Field(ge=1, le=65535)]
#: a Kubernetes name, or empty
NameOrEmpty = Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?)?$")]


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class PullPolicy(StrEnum):
    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Image(_Section):
    repository: Annotated[str, Field(min_length=1)]
    tag: str
    digest: Annotated[str, Field(pattern="^(sha256:[0-9a-f]{64})?$")]
    pull_policy: PullPolicy


class PullSecret(_Section):
    name: Annotated[str, Field(min_length=1)]


class CloudAccess(_Section):
    name: Annotated[str, Field(min_length=1)]
    existing_secret: NameOrEmpty
    clouds_yaml: str
    ca_cert: str


class HealthServer(_Section):
    address: Annotated[str, Field(min_length=1)]


class Crds(_Section):
    install: bool
    keep: bool


class ServiceAccount(_Section):
    create: bool
    name: NameOrEmpty
    annotations: Labels


class Aggregate(_Section):
    view: bool
    edit: bool
    admin: bool


class UserRoles(_Section):
    create: bool
    aggregate: Aggregate


class Switch(_Section):
    enabled: bool


class NetworkPolicy(Switch):
    ingress_from: list[Opaque]
    egress_ports: list[Port]


class Labelled(Switch):
    labels: Labels


class ServiceMonitor(Labelled):
    interval: Annotated[str, Field(pattern="^([0-9]+(ms|s|m|h))+$")]


class PrometheusRule(Labelled):
    runbooks: Annotated[str, Field(min_length=1)]


class Values(_Section):
    """All values of the chart; `generate.schema` replaces the schema of `config`."""

    replicas: Annotated[int, Field(ge=0, le=9)]
    image: Image
    image_pull_secrets: list[PullSecret]
    name_override: NameOrEmpty
    fullname_override: NameOrEmpty
    cloud: CloudAccess
    config: Opaque
    health: HealthServer
    crds: Crds
    uninstall_check: Switch
    service_account: ServiceAccount
    user_roles: UserRoles
    termination_grace_period_seconds: Annotated[int, Field(ge=1)]
    resources: Opaque
    pod_security_context: Opaque
    security_context: Opaque
    env: list[Opaque]
    pod_annotations: Labels
    pod_labels: Labels
    node_selector: Labels
    tolerations: list[Opaque]
    affinity: Opaque
    topology_spread_constraints: list[Opaque]
    priority_class_name: NameOrEmpty
    pod_disruption_budget: Switch
    network_policy: NetworkPolicy
    service_monitor: ServiceMonitor
    prometheus_rule: PrometheusRule
    dashboard: Labelled
    # Helm adds it where the chart is a dependency of another chart
    global_: Annotated[Opaque, Field(alias="global")] = {}
