"""Capacity (R16): room on the target, as Placement counts it, less what decided moves will take.

Capacity is (total - reserved) * allocation ratio, of the host's tree of providers as one, or of the sharing provider
that holds a resource for it. A move that Nova has claimed already is in Placement's `used`; one that was decided after
the figures were read is subtracted here, from every host that takes of the same room.
"""

from __future__ import annotations

from vmferry.cloud.model import Host, Part
from vmferry.prerequisites.frame import Finding, Question, failed, passed, unknown
from vmferry.prerequisites.moves import Moves
from vmferry.prerequisites.words import Name, Reason

_UNITS = {"VCPU": "vCPU", "MEMORY_MB": "MiB memory", "DISK_GB": "GiB disk"}


def planned(question: Question, host: Host, resource: str) -> int:
    """What moves towards `host` will take of a resource and the figures cannot show yet."""
    read_at = question.snapshot.read_at.get(Part.RESOURCES)
    grace = question.policy.record_grace
    by_target = Moves.of(question.moves).by_target
    # a pool's room is taken from by moves to any of its hosts
    targets = [host.name] if _shared_by(host, resource) is None else by_target
    return sum(
        move.needs.get(resource, 0)
        for target in targets
        if _same_room(question, host, target, resource)
        for move in by_target.get(target, ())
        if move.server_id != question.server.id and (read_at is None or read_at < move.decided_at + grace)
    )


def _same_room(question: Question, host: Host, other: str, resource: str) -> bool:
    """Whether what lands on `other` takes of the room of `host`."""
    if other == host.name:
        return True
    pool, found = _shared_by(host, resource), question.snapshot.hosts.get(other)
    return pool is not None and found is not None and _shared_by(found, resource) == pool


def _shared_by(host: Host, resource: str) -> str | None:
    inventory = (host.inventories or {}).get(resource)
    return inventory.shared if inventory else None


def check(question: Question) -> Finding:
    target = question.target
    assert target is not None
    if target.inventories is None:
        return unknown(
            Name.CAPACITY,
            f"the cloud does not tell how much room {target.name} has",
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
            "free room there, or choose another host",
            target.name,
        )
    if missing:
        return unknown(
            Name.CAPACITY,
            f"{target.name} reports no {', '.join(missing)}",
            f"check the inventory of {target.name} in Placement",
            target.name,
        )
    return passed(Name.CAPACITY, "enough room", target.name)
