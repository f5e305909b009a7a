"""Capacity (R16): the target's capacity as Placement counts it, minus what decided moves will take.

Capacity is (total - reserved) * allocation ratio, summed over the host's own provider tree, or that of the sharing
provider that holds a resource for it. Placement's `used` includes moves that Nova has already claimed; moves decided
after the figures were read are subtracted here, for every host that uses the same capacity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmferry.cloud.model import Host, Part
from vmferry.prerequisites.check import Finding, PlannedMove, Question, failed, passed, unknown
from vmferry.prerequisites.enums import Name, Reason

_UNITS = {"VCPU": "vCPU", "MEMORY_MB": "MiB memory", "DISK_GB": "GiB disk"}


#: the owner of the capacity, a host or a sharing provider, and the resource class
CapacityKey = tuple[str, str]


def capacity_key(host: Host, resource: str) -> CapacityKey:
    """A key that is equal for hosts that share the capacity."""
    inventory = (host.inventories or {}).get(resource)
    shared = inventory.shared if inventory else None
    return (f"provider {shared}" if shared else host.name, resource)


def planned(question: Question, host: Host, resource: str) -> int:
    """What decided moves to the same capacity will take of a resource and Placement's figures may not include."""
    by_capacity = question.snapshot.derived.once(_by_capacity, question.moves, question.snapshot.hosts)
    moves = by_capacity.get(capacity_key(host, resource))
    if moves is None:
        return 0
    read_at = question.snapshot.read_at.get(Part.RESOURCES)
    grace = question.policy.record_grace
    return sum(
        move.needs[resource]
        for move in moves
        if move.server_id != question.server.id and (read_at is None or read_at < move.decided_at + grace)
    )


def _by_capacity(moves: Sequence[PlannedMove], hosts: Mapping[str, Host]) -> dict[CapacityKey, list[PlannedMove]]:
    """The decided moves by the capacity that they use, so that a check of one host need not search all moves."""
    by_capacity: dict[CapacityKey, list[PlannedMove]] = {}
    for move in moves:
        target = hosts.get(move.target_host)
        for resource in move.needs:
            key = (move.target_host, resource) if target is None else capacity_key(target, resource)
            by_capacity.setdefault(key, []).append(move)
    return by_capacity


def check(question: Question) -> Finding:
    target = question.target
    assert target is not None
    if target.inventories is None:
        return unknown(
            Name.CAPACITY,
            f"the capacity of {target.name} is unknown",
            "give the operator's user access to Placement",
            target.name,
        )
    short: list[str] = []
    missing: list[str] = []
    for resource, needed in question.server.needs.items():
        unit = _UNITS.get(resource, resource)
        inventory = target.inventories.get(resource)
        if inventory is None:
            missing.append(unit)
            continue
        free = inventory.free - planned(question, target, resource)
        if needed > free:
            short.append(f"{needed} {unit} needed, {max(free, 0)} free")
        elif inventory.max_unit is not None and needed > inventory.max_unit:
            short.append(f"{needed} {unit} needed, {inventory.max_unit} is the most for one server")
    if short:
        return failed(
            Name.CAPACITY,
            Reason.INSUFFICIENT_CAPACITY,
            f"{target.name}: {'; '.join(short)}",
            "free capacity there, or choose another host",
            target.name,
        )
    if missing:
        return unknown(
            Name.CAPACITY,
            f"{target.name} reports no {', '.join(missing)}",
            f"check the inventory of {target.name} in Placement",
            target.name,
        )
    return passed(Name.CAPACITY, "enough capacity", target.name)
