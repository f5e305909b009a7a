"""The scheduler: allocation candidates of Placement, then filters, then weighers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import NoValidHostError
from vmferry.simulator.model import Flavor, Host, Server, ServerGroup


@dataclass(frozen=True, slots=True)
class Wish:
    """A request to the scheduler."""

    server: Server
    flavor: Flavor
    ignore: Collection[str] = ()
    only: str | None = None  # only this host is a candidate


def select(cloud: Cloud, wish: Wish) -> Host:
    """Select a host. Raises NoValidHostError, with an empty reason when Placement has no candidate."""
    candidates = [host for host in _asked_for(cloud, wish) if _placement_offers(cloud, host, wish)]
    if not candidates:
        raise NoValidHostError("")
    fitting = [host for host in candidates if _passes_filters(cloud, host, wish)]
    if not fitting:
        raise NoValidHostError(NoValidHostError.NOT_ENOUGH)
    return _heaviest(cloud, fitting, wish.server)


def _asked_for(cloud: Cloud, wish: Wish) -> Collection[Host]:
    if wish.only is None:
        return cloud.hosts.values()
    return [cloud.hosts[wish.only]] if wish.only in cloud.hosts else []


def _placement_offers(cloud: Cloud, host: Host, wish: Wish) -> bool:
    if host.disabled_trait:
        return False
    if wish.server.pinned_zone and cloud.zone_of(host.name) != wish.server.pinned_zone:
        return False
    required = [
        key[6:] for key, value in wish.flavor.extra_specs.items() if key[:6] == "trait:" and value == "required"
    ]
    if required and not set(required) <= set(cloud.traits(host)):
        return False
    return cloud.has_room(host, wish.server.resources(wish.flavor))


def _passes_filters(cloud: Cloud, host: Host, wish: Wish) -> bool:
    if host.name in wish.ignore or host.disabled or not cloud.is_up(host):
        return False
    if not _aggregates_match(cloud, host, wish.flavor):
        return False
    nova = cloud.settings.nova
    if nova.multi_tenancy_isolation and not _lets_project_in(cloud, host, wish.server.project_id):
        return False
    if nova.isolated_aggregates and not _not_isolated(cloud, host, wish.flavor):
        return False
    group = cloud.groups.get(wish.server.group_id or "")
    return group is None or _group_allows(cloud, host, wish.server, group)


def _aggregates_match(cloud: Cloud, host: Host, flavor: Flavor) -> bool:
    scope = "aggregate_instance_extra_specs:"
    for key, value in flavor.extra_specs.items():
        if key.startswith(scope):
            name = key.removeprefix(scope)
            if not any(aggregate.metadata.get(name) == value for aggregate in cloud.aggregates_of(host.name)):
                return False
    return True


def _lets_project_in(cloud: Cloud, host: Host, project_id: str) -> bool:
    """Nova's AggregateMultiTenancyIsolation."""
    projects = {
        part.strip()
        for aggregate in cloud.aggregates_of(host.name)
        for key, value in aggregate.metadata.items()
        if key.startswith("filter_tenant_id")
        for part in value.split(",")
    }
    return not projects or project_id in projects


def _not_isolated(cloud: Cloud, host: Host, flavor: Flavor) -> bool:
    """Nova's `enable_isolated_aggregate_filtering`."""
    required = {key for key, value in flavor.extra_specs.items() if value == "required"}
    return not any(
        key.startswith("trait:") and value == "required" and key not in required
        for aggregate in cloud.aggregates_of(host.name)
        for key, value in aggregate.metadata.items()
    )


def _group_allows(cloud: Cloud, host: Host, server: Server, group: ServerGroup) -> bool:
    members = [cloud.servers[member] for member in group.members if member in cloud.servers]
    hosts = [member.host for member in members if member.deleted_at is None and member.host]
    if group.policy == "anti-affinity":
        return host.name == server.host or hosts.count(host.name) < group.max_server_per_host
    if group.policy == "affinity":
        # the server's own host counts as a host of the group, so a server that is alone on it cannot move elsewhere
        return not hosts or host.name in hosts
    return True


def _heaviest(cloud: Cloud, hosts: Sequence[Host], server: Server) -> Host:
    """Select by Nova's default weighers, each with multiplier 1; the first of equals wins.

    The weigher for the current workload of a host is omitted, because its value changes from moment to moment.
    """
    used = cloud.ledger.used
    # without overcommitment for memory and disk, as in the hypervisor's own figures
    memory = [host.memory_mb - host.reserved_memory_mb - used(host.uuid, "MEMORY_MB") for host in hosts]
    disk = [host.disk_gb - used(host.uuid, "DISK_GB") for host in hosts]
    vcpus = [host.vcpus * host.vcpu_ratio - used(host.uuid, "VCPU") for host in hosts]
    # any difference in the hypervisor version weighs as much as the full range of memory
    versions = [host.hypervisor_version for host in hosts]
    weights = (
        _normal(memory, least=0),
        _normal(disk, least=0),
        _normal(vcpus, least=0),
        _normal(versions, least=min(versions)),
        _soft_affinity(cloud, hosts, server),
    )
    sums = [sum(column) for column in zip(*weights, strict=True)]
    return hosts[sums.index(max(sums))]


def _soft_affinity(cloud: Cloud, hosts: Sequence[Host], server: Server) -> list[float]:
    group = cloud.groups.get(server.group_id or "")
    if group is None or group.policy not in ("soft-affinity", "soft-anti-affinity"):
        return [0.0] * len(hosts)
    sign = 1 if group.policy == "soft-affinity" else -1
    members = [sign * sum(other.id in group.members for other in cloud.servers_on(host.name)) for host in hosts]
    return _normal(members, least=min(members))


def _normal(values: Sequence[float], *, least: float) -> list[float]:
    """Scale `values` so that `least` becomes 0 and the maximum becomes 1; all become 0 when there is no range."""
    span = max(values) - least
    return [(value - least) / span if span else 0.0 for value in values]
