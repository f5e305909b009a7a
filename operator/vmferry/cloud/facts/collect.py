"""The facts of all hosts, from every source in the cloud. Pure; the operator's configuration is added elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from vmferry.cloud.facts import marks
from vmferry.cloud.model import Fact, Host, HostFacts


def with_facts(
    hosts: Mapping[str, Host], resource_manager: Mapping[str, HostFacts], read_at: datetime | None
) -> dict[str, Host]:
    """The hosts with the facts from Nova, the administrator's marks and PCD's resource manager, Nova first."""
    nothing = HostFacts()
    return {
        name: replace(host, facts=_facts(host, resource_manager.get(name, nothing), read_at))
        for name, host in hosts.items()
    }


def _facts(host: Host, managed: HostFacts, read_at: datetime | None) -> HostFacts:
    marked = marks.facts(host.aggregates, host.traits, read_at)
    cpu = host.hypervisor.cpu if host.hypervisor else None
    return HostFacts(
        operating_system=managed.operating_system + marked.operating_system,
        cpu=((Fact(cpu, "Nova", read_at),) if cpu else ()) + managed.cpu,
        guest_cpu=managed.guest_cpu + marked.guest_cpu,
        storage_pool=managed.storage_pool + marked.storage_pool,
        responding=managed.responding,
        unreadable=managed.unreadable + marked.unreadable,
    )
