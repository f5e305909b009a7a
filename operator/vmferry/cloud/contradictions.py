"""Detection of records that contradict each other (I36). Pure.

One rule holds for every list with a key that need not be unique: if two records claim one key, neither is used.
A record is identified by its own id; the same id listed twice is one record that was read twice.

Nova keeps the tables of services and hypervisors per cell. A host that was moved to another cell, or discovered
twice, is therefore listed twice, and Nova itself refuses to choose (ServiceNotUnique in `nova/compute/api.py`).
Names not handled here are unique by Nova's schema (aggregates), or are only printed and select nothing (flavors, the
hostnames of hypervisors and the names of their resource providers).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from vmferry.cloud.model import DoubtfulHost, Hypervisor, Service

Record = TypeVar("Record", Service, Hypervisor)


def doubtful_hosts(
    services: Iterable[Service], hypervisors: Iterable[Hypervisor], unreachable: Iterable[str] = ()
) -> dict[str, DoubtfulHost]:
    """The hosts whose records contradict each other, and the unreachable ones, by service host name."""
    of_guests = [one for one in hypervisors if one.has_guests]
    by_host = _by_key((one.host, one) for one in services)
    nodes = _by_key((one.service_host, one) for one in of_guests)
    claimed: dict[str, set[str]] = {}
    for one in of_guests:
        claimed.setdefault(one.id, set()).add(one.service_host)
    found = {host: _unreachable(host, nodes) for host in unreachable}
    # later findings replace earlier ones: contradictory services, which hide whether the host is up, matter most
    for uuid, hosts in sorted(claimed.items()):
        if len(hosts) > 1:
            for host in hosts:
                found[host] = _shared_hypervisor(host, uuid, hosts, nodes)
    for host, its_nodes in nodes.items():
        if len(its_nodes) > 1:
            found[host] = _several_hypervisors(host, its_nodes)
    for host, its_services in by_host.items():
        if len(its_services) > 1:
            found[host] = _several_services(host, its_services, nodes)
    return found


def _unreachable(host: str, nodes: Mapping[str, Mapping[str, Hypervisor]]) -> DoubtfulHost:
    return DoubtfulHost(
        host,
        f"Nova cannot reach the cell of {host}: whether it is up, and what is on it, is unknown",
        "bring the database of that cell back (`nova-manage cell_v2 list_cells`); other cells are not affected",
        frozenset(nodes.get(host, ())),
        unreachable=True,
    )


def _by_key(pairs: Iterable[tuple[str, Record]]) -> dict[str, dict[str, Record]]:
    """Records by key, then by their own id."""
    found: dict[str, dict[str, Record]] = {}
    for key, record in pairs:
        found.setdefault(key, {})[record.id] = record
    return found


def _several_services(
    host: str, services: Mapping[str, Service], nodes: Mapping[str, Mapping[str, Hypervisor]]
) -> DoubtfulHost:
    listed = ", ".join(f"{one.id} ({_state(one)})" for one in sorted(services.values(), key=lambda one: one.id))
    return DoubtfulHost(
        host,
        f"Nova lists {len(services)} compute services named {host}: {listed}; which of them is the host is unknown",
        f"find out which one is the host's (`openstack compute service list --long --host {host}`; one may be in "
        "another cell), and delete the stale record: `openstack compute service delete ID`",
        frozenset(nodes.get(host, ())),
    )


def _several_hypervisors(host: str, nodes: Mapping[str, Hypervisor]) -> DoubtfulHost:
    listed = ", ".join(f"{one.id} ({one.hostname})" for one in sorted(nodes.values(), key=lambda one: one.id))
    return DoubtfulHost(
        host,
        f"Nova lists {len(nodes)} hypervisors of {host}: {listed}; which of them is the host is unknown",
        f"compare them with `openstack hypervisor list`; restarting nova-compute on {host} removes records that are "
        "not its own",
        frozenset(nodes),
    )


def _shared_hypervisor(
    host: str, uuid: str, hosts: set[str], nodes: Mapping[str, Mapping[str, Hypervisor]]
) -> DoubtfulHost:
    return DoubtfulHost(
        host,
        f"Nova lists the hypervisor {uuid} for several hosts: {', '.join(sorted(hosts))}",
        "give each host a compute_id file of its own (Nova's state_path), as Nova's documentation describes",
        frozenset(nodes.get(host, ())),
    )


def _state(service: Service) -> str:
    """The state without the time of the heartbeat, which would make every poll a change."""
    up = "forced down" if service.forced_down else "up" if service.up else "down"
    return f"{up}, {'enabled' if service.enabled else 'disabled'}"
