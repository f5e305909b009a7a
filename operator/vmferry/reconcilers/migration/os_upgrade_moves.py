"""Servers that went to a newer operating system, one way (R22): where that is remembered.

The memory is the finished VMMigration that moved the server: its attempt says what source and target ran at that time.
The cloud would be the better place, for it knows the server's whole life, but has none that is ours: metadata and
tags are the project's own, which may read, change and delete them, and a migration record names hosts, not what they
ran then. So such a VMMigration outlives its `ttlAfterFinished` for as long as its server lives. A person may still
delete it; then the hosts' facts alone guard the way back, as the plain rule is never to an older system.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmferry.cloud.facts.os_info import known_system
from vmferry.cloud.model import OperatingSystem
from vmferry.prerequisites.check import OSUpgradeMove
from vmferry.reconcilers.migration.attempts import succeeded
from vmferry.resources.vmmigration import OSCrossing, VMMigration


def between(source: OperatingSystem | None, target: OperatingSystem | None) -> OSCrossing | None:
    """What an attempt's status says of a move between hosts that run these."""
    if source is None or target is None or not source.older_than(target):
        return None  # other systems are never crossed to, and have no order
    return OSCrossing(source=str(source), target=str(target))


def crossing_of(obj: VMMigration) -> OSUpgradeMove | None:
    """The crossing that the object's status remembers; None when its server has not crossed."""
    server = obj.status.server
    for attempt in reversed(obj.status.attempts):
        if attempt.crossing is None or server is None or not succeeded(attempt):
            continue
        source, target = known_system(attempt.crossing.source), known_system(attempt.crossing.target)
        if source is not None and target is not None:
            return OSUpgradeMove(server.id, source, target, f"{obj.KIND} {obj.key}")
    return None


def furthest(crossings: Iterable[OSUpgradeMove]) -> dict[str, OSUpgradeMove]:
    """By server: the crossing to the newest system."""
    found: dict[str, OSUpgradeMove] = {}
    for crossing in crossings:
        known = found.get(crossing.server_id)
        if known is None or known.target.older_than(crossing.target):
            found[crossing.server_id] = crossing
    return found
