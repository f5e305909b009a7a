"""Parsing of raw JSON from Nova, Placement and Keystone into the model's plain data.

Pure and fast: 10,000 servers take well under a second, whereas the SDK's own resource objects take tens of seconds.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from vmferry.cloud.actions import OUR_REASON
from vmferry.cloud.model import (
    CPU,
    ActionEvent,
    Aggregate,
    Flavor,
    Host,
    Hypervisor,
    InstanceAction,
    Inventory,
    Migration,
    Progress,
    Server,
    ServerGroup,
    Service,
)
from vmferry.redaction import redact

Json = Mapping[str, Any]

#: statuses of deleted servers, which Nova still lists for `changes-since`
GONE = frozenset({"DELETED", "SOFT_DELETED"})


class PartialAnswerError(ValueError):
    """Nova could not reach one of its cells and reports only the names of the records there (2.69)."""


class HiddenFieldError(ValueError):
    """A field is missing that Nova shows only to users whom a policy permits it; the message names the policy."""


def policy_missing(rule: str) -> str:
    """The error text for a policy that hides something from the operator's user."""
    return f"the operator's user lacks the policy {rule}"


#: the policies whose lack hides fields. Nova omits the hidden fields of a server, and sets those of a migration to
#: null (`_output` in nova/api/openstack/compute/migrations.py)
_SERVER_HOST = "OS-EXT-SRV-ATTR:host"
SERVER_ATTRIBUTES = "os_compute_api:os-extended-server-attributes"
MIGRATION_HOSTS = "os_compute_api:os-migrations:index:host"
ACTION_EVENTS = "os_compute_api:os-instance-actions:events"
EVENT_DETAILS = "os_compute_api:os-instance-actions:events:details"
PORT_TYPES = "get_port:binding:vnic_type"


@dataclass(frozen=True, slots=True)
class Resources:
    """Placement's report on a compute host, with its tree of resource providers combined."""

    inventories: Mapping[str, Inventory]
    #: traits of the root provider: those of a child provider describe only its devices
    traits: frozenset[str]


def time(text: str | None) -> datetime | None:
    """Parse ISO 8601 as OpenStack writes it; a time without a zone is UTC."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@lru_cache(maxsize=4096)
def _flavor(
    name: str, vcpus: int, memory: int, disk: int, ephemeral: int, swap: int, specs: tuple[tuple[str, str], ...] | None
) -> Flavor:
    """Cached, so that servers of one flavor share one object."""
    return Flavor(name, vcpus, memory, disk, ephemeral, swap, dict(specs or ()), extra_specs_told=specs is not None)


@lru_cache(maxsize=4096)
def _properties(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Cached, so that servers of one image share one object."""
    return dict(items)


def server(raw: Json) -> Server:
    """One entry of `GET /servers/detail` or `GET /servers/{id}`. Raises `PartialAnswerError` and `HiddenFieldError`."""
    if "name" not in raw or raw["status"] == "UNKNOWN":
        raise PartialAnswerError(f"Nova cannot reach the cell of server {raw['id']}")
    if _SERVER_HOST not in raw and "OS-EXT-STS:vm_state" in raw:
        raise HiddenFieldError(f"Nova hides on which host a server is: {policy_missing(SERVER_ATTRIBUTES)}")
    flavor = raw["flavor"]
    specs = flavor.get("extra_specs")
    image = raw.get("image")
    properties = image.get("properties") if image else None
    fault = raw.get("fault")
    return Server(
        raw["id"],
        raw["name"],
        raw["tenant_id"],
        raw["status"],
        raw["OS-EXT-STS:vm_state"],
        raw["OS-EXT-STS:task_state"],
        raw["OS-EXT-STS:power_state"] or 0,
        raw["OS-EXT-SRV-ATTR:host"],
        raw.get("OS-EXT-AZ:availability_zone") or "",
        _flavor(
            flavor["original_name"],
            flavor["vcpus"],
            flavor["ram"],
            flavor["disk"],
            flavor["ephemeral"],
            flavor["swap"],
            None if specs is None else tuple(sorted(specs.items())),
        ),
        image["id"] if image else None,
        tuple([volume["id"] for volume in raw.get("os-extended-volumes:volumes_attached", ())]),
        raw["metadata"],
        raw["locked"],
        _words(raw.get("locked_reason")),
        _words(fault.get("message")) if fault else None,
        raw["updated"] or "",
        raw.get("pinned_availability_zone"),
        None if properties is None else _properties(tuple(sorted(properties.items()))),
    )


def _words(text: str | None) -> str | None:
    """Redact a text: Nova's exceptions may contain what was sent to it, and people may write anything into a reason."""
    return redact(text) if text and isinstance(text, str) else text


def _reason(text: str | None) -> str | None:
    """A service's disabled reason; the operator's own reasons are not redacted, because they are compared (I8)."""
    return text if isinstance(text, str) and text.startswith(OUR_REASON) else _words(text)


def migration(raw: Json) -> Migration:
    """One entry of `GET /os-migrations`. Raises `HiddenFieldError`."""
    if raw["source_compute"] is None and raw["dest_compute"] is None and raw.get("source_node", "") is None:
        raise HiddenFieldError(f"Nova hides the hosts of migrations: {policy_missing(MIGRATION_HOSTS)}")
    return Migration(
        raw["id"],
        raw["uuid"],
        raw["instance_uuid"],
        raw["migration_type"],
        raw["status"],
        raw["source_compute"],
        raw["dest_compute"],
        raw.get("user_id"),
        raw["created_at"] or "",
        raw["updated_at"] or "",
        raw.get("old_instance_type_id"),
        raw.get("new_instance_type_id"),
    )


def action(raw: Json) -> InstanceAction:
    """One entry of `GET /servers/{id}/os-instance-actions`, or a single action with its events."""
    events = tuple(
        ActionEvent(event["event"], event.get("result"), event.get("host"), _details(event))
        for event in raw.get("events") or ()
    )
    return InstanceAction(
        raw["request_id"],
        raw["action"],
        _words(raw.get("message")),
        raw.get("user_id"),
        time(raw.get("start_time")),
        events,
    )


def with_hidden_events(raw: Json) -> Json:
    """A single action; if a policy hides the events of a failed action, an event that names the policy is added."""
    if "events" in raw or raw.get("message") != "Error":
        return raw
    hidden = f"Nova hides what failed: {policy_missing(ACTION_EVENTS)}"
    return {**raw, "events": [{"event": "hidden", "result": "Error", "details": hidden}]}


def _details(event: Json) -> str | None:
    """The reason of a failed step, or the policy that hides it."""
    if "details" not in event and event.get("result") == "Error":
        return f"Nova hides the reason: {policy_missing(EVENT_DETAILS)}"
    return _words(event.get("details"))


def progress(raw: Json) -> Progress:
    """`GET /servers/{id}/migrations/{id}`; the counts are null until the copy starts."""
    return Progress(
        raw.get("memory_total_bytes") or 0,
        raw.get("memory_remaining_bytes") or 0,
        raw.get("disk_total_bytes") or 0,
        raw.get("disk_remaining_bytes") or 0,
    )


def service(raw: Json) -> Service:
    """One entry of `GET /os-services`. Raises `PartialAnswerError` for an unreachable cell: the host may be alive."""
    if raw.get("status") == "UNKNOWN" or "state" not in raw:
        raise PartialAnswerError(f"Nova cannot reach the cell of host {raw.get('host')}")
    return Service(
        id=str(raw["id"]),
        host=raw["host"],
        zone=raw["zone"],
        enabled=raw["status"] == "enabled",
        up=raw["state"] == "up",
        forced_down=bool(raw.get("forced_down")),
        disabled_reason=_reason(raw.get("disabled_reason")),
        last_seen=time(raw.get("updated_at")),
    )


def hypervisor(raw: Json) -> Hypervisor:
    """One entry of `GET /os-hypervisors/detail`."""
    return Hypervisor(
        id=str(raw["id"]),
        hostname=raw["hypervisor_hostname"],
        service_host=raw["service"]["host"],
        type=raw["hypervisor_type"],
        version=raw["hypervisor_version"],
        cpu=cpu(raw.get("cpu_info")),
        whole={resource: raw[key] for resource, key in _WHOLE.items() if raw.get(key)},
    )


def hypervisor_servers(raw: Json) -> frozenset[str]:
    """The servers of `GET /os-hypervisors/{id}?with_servers=true` (2.75)."""
    return frozenset(server["uuid"] for server in raw["hypervisor"]["servers"])


def consumers(raw: Json) -> frozenset[str]:
    """The consumers in `GET /resource_providers/{uuid}/allocations`."""
    return frozenset(raw["allocations"])


#: the fields of a hypervisor (up to 2.87) by Placement resource class; each equals Placement's `max_unit`
_WHOLE = {"VCPU": "vcpus", "MEMORY_MB": "memory_mb", "DISK_GB": "local_gb"}


def cpu(raw: Any) -> CPU | None:
    """`cpu_info` of a hypervisor: an object from 2.28 on, a JSON string before, `{}` if the driver reports none."""
    try:
        reported = json.loads(raw) if isinstance(raw, str) else raw
    except ValueError:
        return None
    if not isinstance(reported, dict) or not reported:
        return None
    features = reported.get("features")
    return _cpu(
        str(reported.get("vendor") or ""),
        str(reported.get("arch") or ""),
        str(reported.get("model") or ""),
        tuple(features) if isinstance(features, list) else (),
    )


@lru_cache(maxsize=1024)
def _cpu(vendor: str, arch: str, model: str, features: tuple[str, ...]) -> CPU:
    """Cached, so that hosts with the same CPU share one object."""
    return CPU(vendor, arch, model, frozenset(features))


def aggregate(raw: Json) -> Aggregate:
    """One entry of `GET /os-aggregates`."""
    return Aggregate(
        id=raw["id"],
        name=raw["name"],
        availability_zone=raw.get("availability_zone"),
        hosts=frozenset(raw["hosts"]),
        metadata=raw["metadata"],
    )


def server_group(raw: Json) -> ServerGroup:
    """One entry of `GET /os-server-groups` (2.64)."""
    return ServerGroup(
        id=raw["id"],
        name=raw["name"],
        policy=raw["policy"],
        members=frozenset(raw["members"]),
        max_server_per_host=int((raw.get("rules") or {}).get("max_server_per_host", 1)),
    )


def ports(raw: Json) -> list[tuple[str, str]]:
    """`GET /v2.0/ports` of Neutron: each port's device id and type. Raises `HiddenFieldError`."""
    if raw["ports"] and not any("binding:vnic_type" in port for port in raw["ports"]):
        raise HiddenFieldError(f"Neutron hides the types of ports: {policy_missing(PORT_TYPES)}")
    return [(port["device_id"], port.get("binding:vnic_type") or "normal") for port in raw["ports"]]


def candidate_resources(raw: Json) -> dict[str, Resources]:
    """`provider_summaries` of `GET /allocation_candidates`: each provider tree combined, by its root provider."""
    trees: dict[str, list[Mapping[str, Inventory]]] = {}
    for summary in raw["provider_summaries"].values():
        trees.setdefault(summary["root_provider_uuid"], []).append(
            {name: Inventory(amount["capacity"], amount["used"]) for name, amount in summary["resources"].items()}
        )
    return {
        root: Resources(_tree(parts), frozenset(raw["provider_summaries"][root]["traits"]))
        for root, parts in trees.items()
        if root in raw["provider_summaries"]
    }


def provider_inventories(inventories: Json, usages: Json) -> dict[str, Inventory]:
    """The inventories of one provider from its own pages, with the capacity computed as in Placement."""
    used = usages["usages"]
    return {
        name: Inventory(
            capacity=int((amount["total"] - amount["reserved"]) * amount["allocation_ratio"]),
            used=used.get(name, 0),
            max_unit=amount.get("max_unit"),
        )
        for name, amount in inventories["inventories"].items()
    }


def provider_resources(parts: Iterable[Mapping[str, Inventory]], traits: Json) -> Resources:
    """A tree of providers combined, with the traits of its root."""
    return Resources(_tree(parts), frozenset(traits["traits"]))


def _tree(parts: Iterable[Mapping[str, Inventory]]) -> dict[str, Inventory]:
    """The providers of a tree combined.

    A server gets its whole amount of a resource class from one provider, so with several providers the largest free
    amount of a single provider is the maximum unit.
    """
    by_class: dict[str, list[Inventory]] = {}
    for part in parts:
        for name, inventory in part.items():
            by_class.setdefault(name, []).append(inventory)
    return {
        name: several[0]
        if len(several) == 1
        else Inventory(
            sum(inventory.capacity for inventory in several),
            sum(inventory.used for inventory in several),
            max(
                0,
                *(
                    inventory.free if inventory.max_unit is None else min(inventory.free, inventory.max_unit)
                    for inventory in several
                ),
            ),
        )
        for name, several in by_class.items()
    }


@dataclass(frozen=True, slots=True)
class SharingProvider:
    """A provider whose capacity other providers use (`MISC_SHARES_VIA_AGGREGATE`)."""

    id: str
    inventories: Mapping[str, Inventory]
    #: ids of the providers in its Placement aggregates
    members: frozenset[str]


def with_shared(own: Mapping[str, Resources], sharing: Iterable[SharingProvider]) -> dict[str, Resources]:
    """The hosts' resources, with those that a sharing provider holds for them.

    A host's own inventory has precedence: Nova's libvirt driver reports none if the disks are shared. Of several
    sharing providers, the one with the most free capacity counts, since a server gets all of a class from one provider.
    """
    inventories = dict(own)
    for provider in sorted(sharing, key=lambda provider: provider.id):
        shared = {name: replace(inventory, shared=provider.id) for name, inventory in provider.inventories.items()}
        for member in provider.members & own.keys():
            known = inventories[member].inventories
            better = {
                name: inventory
                for name, inventory in shared.items()
                if name not in known or (known[name].shared is not None and known[name].free < inventory.free)
            }
            inventories[member] = replace(inventories[member], inventories={**known, **better})
    return inventories


def _with_max_unit(inventories: Mapping[str, Inventory], whole: Mapping[str, int]) -> Mapping[str, Inventory]:
    """Add the largest single allocation from the hypervisor's own total; allocation candidates do not report it."""
    return {
        resource: replace(inventory, max_unit=whole.get(resource))
        if inventory.max_unit is None and not inventory.shared
        else inventory
        for resource, inventory in inventories.items()
    }


def join_hosts(
    services: Iterable[Service],
    hypervisors: Iterable[Hypervisor],
    aggregates: Iterable[Aggregate],
    resources: Mapping[str, Resources] | None,
    doubtful: Container[str],
) -> dict[str, Host]:
    """Hosts by name: service, hypervisor and resources, joined by the service's exact host name (I1).

    The `doubtful` hosts are left out, see `cloud.contradictions.doubtful_hosts`.
    """
    by_host = {hypervisor.service_host: hypervisor for hypervisor in hypervisors}
    aggregates_of: dict[str, list[Aggregate]] = {}
    for aggregate in sorted(aggregates, key=lambda aggregate: aggregate.id):
        for name in aggregate.hosts:
            aggregates_of.setdefault(name, []).append(aggregate)
    hosts: dict[str, Host] = {}
    for service in services:
        if service.host in doubtful:
            continue
        its = by_host.get(service.host)
        reported = resources.get(its.id) if resources is not None and its is not None else None
        hosts[service.host] = Host(
            name=service.host,
            service=service,
            hypervisor=its,
            inventories=_with_max_unit(reported.inventories, its.whole) if reported and its else None,
            traits=reported.traits if reported else frozenset(),
            aggregates=tuple(aggregates_of.get(service.host, ())),
        )
    return hosts
