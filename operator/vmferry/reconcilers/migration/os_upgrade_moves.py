"""One-way moves of servers to a newer operating system (R22), and where they are recorded.

The record is the finished VMMigration that moved the server: its attempt contains the operating systems that source
and target ran at that time. The cloud offers no better place: metadata and tags belong to the project, which may read,
change and delete them, and a migration record names hosts but not their operating systems. So such a VMMigration is
kept beyond its `ttlAfterFinished` for as long as its server exists. A person may still delete it; then only the hosts'
facts prevent the way back, because ordinary moves never go to an older system.
"""

from __future__ import annotations

from collections.abc import Iterable

from vmferry.cloud.facts.os_info import known_system
from vmferry.cloud.model import OperatingSystem
from vmferry.prerequisites.check import OSUpgradeMove
from vmferry.reconcilers.migration.attempts import succeeded
from vmferry.resources.vmmigration import OSCrossing, VMMigration


def between(source: OperatingSystem | None, target: OperatingSystem | None) -> OSCrossing | None:
    """The OS upgrade of a move between hosts that run these systems, as the attempt's status records it."""
    if source is None or target is None or not source.older_than(target):
        return None  # not an upgrade, or the systems have no order
    return OSCrossing(source=str(source), target=str(target))


def crossing_of(obj: VMMigration) -> OSUpgradeMove | None:
    """The OS upgrade move that the object's status records; None if its server made none."""
    server = obj.status.server
    for attempt in reversed(obj.status.attempts):
        if attempt.crossing is None or server is None or not succeeded(attempt):
            continue
        source, target = known_system(attempt.crossing.source), known_system(attempt.crossing.target)
        if source is not None and target is not None:
            return OSUpgradeMove(server.id, source, target, f"{obj.KIND} {obj.key}")
    return None


def furthest(crossings: Iterable[OSUpgradeMove]) -> dict[str, OSUpgradeMove]:
    """By server id: the OS upgrade move to the newest system."""
    found: dict[str, OSUpgradeMove] = {}
    for crossing in crossings:
        known = found.get(crossing.server_id)
        if known is None or known.target.older_than(crossing.target):
            found[crossing.server_id] = crossing
    return found
