"""The scheduler: Placement's candidates first, then the filters, then the emptiest host."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import NoValidHostError
from vmferry.simulator.model import Flavor, Host, Server, ServerGroup


@dataclass(frozen=True, slots=True)
class Wish:
    """One question to the scheduler."""

    server: Server
    flavor: Flavor
    ignore: Collection[str] = ()
    only: str | None = None  # the one host that was asked for


def select(cloud: Cloud, wish: Wish) -> Host:
    """The host for it.  Raises NoValidHostError: with an empty reason when Placement already has none."""
    candidates = [host for host in _asked_for(cloud, wish) if _placement_offers(cloud, host, wish)]
    if not candidates:
        raise NoValidHostError("")
    fitting = [host for host in candidates if _passes_filters(cloud, host, wish)]
    if not fitting:
        raise NoValidHostError(NoValidHostError.NOT_ENOUGH)
    return min(fitting, key=lambda host: (-_free_memory(cloud, host), host.number))


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


def _group_allows(cloud: Cloud, host: Host, server: Server, group: ServerGroup) -> bool:
    members = [cloud.servers[member] for member in group.members if member in cloud.servers]
    hosts = [member.host for member in members if member.deleted_at is None and member.host]
    if group.policy == "anti-affinity":
        return host.name == server.host or hosts.count(host.name) < group.max_server_per_host
    if group.policy == "affinity":
        # the host that the server itself is on is one of them: alone there, it can be moved to no other
        return not hosts or host.name in hosts
    return True


def _free_memory(cloud: Cloud, host: Host) -> float:
    return host.memory_mb * host.memory_ratio - cloud.ledger.used(host.uuid, "MEMORY_MB")
