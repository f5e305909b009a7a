"""Who may start now (I24, R17): limits per source, per target and in all, counted over everybody's migrations."""

from __future__ import annotations

from collections import Counter

from vmferry.cloud.model import MigrationStage, Snapshot
from vmferry.policy import Limits
from vmferry.prerequisites.frame import PlannedMove


def _pairs(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> list[tuple[str, str]]:
    """(source, target) of all that is in flight: Nova's records, and decided moves that have none yet.

    A cold migration that waits for its confirmation copies nothing any more and does not count. A status that we do
    not know does (I35). Nova names the target of a cold migration late: until then the decided one counts.
    """
    stages = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)
    running = [m for m in snapshot.migrations.values() if m.stage in stages]
    known = {m.server_id for m in running}
    decided = {m.server_id: m.target_host for m in moves}
    pairs = [(m.source_host or "", m.target_host or decided.get(m.server_id, "")) for m in running]
    return pairs + [(m.source_host, m.target_host) for m in moves if m.server_id not in known]


def in_flight_to_each(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> Counter[str]:
    """How many moves are on their way to each host, by its name."""
    return Counter(target for _, target in _pairs(snapshot, moves))


def full(
    source: str,
    target: str,
    snapshot: Snapshot,
    moves: tuple[PlannedMove, ...],
    ahead: tuple[PlannedMove, ...],
    limits: Limits,
) -> str | None:
    """Why one more move from `source` to `target` has to wait, None if it need not.

    `ahead` are queued moves that go first. They hold their place, save those that a host's own limit holds back:
    these would only keep the total from being used.
    """
    pairs = _pairs(snapshot, moves)
    queued = [(m.source_host, m.target_host) for m in ahead]
    if (why := _host_full(source, target, pairs + queued, limits)) is not None:
        return why
    could_start: list[tuple[str, str]] = []
    for pair in queued:
        if _host_full(*pair, pairs + could_start, limits) is None:
            could_start.append(pair)
    count = len(pairs) + len(could_start)
    if count >= limits.total:
        return f"{len(pairs)} migrations are in flight and {len(could_start)} go first, the limit is {limits.total}"
    return None


def _host_full(source: str, target: str, pairs: list[tuple[str, str]], limits: Limits) -> str | None:
    leaving = sum(s == source for s, _ in pairs)
    coming = sum(t == target for _, t in pairs)
    if leaving >= limits.per_source:
        return f"{leaving} migrations leave {source} or go first, the limit is {limits.per_source}"
    if coming >= limits.per_target:
        return f"{coming} migrations go to {target} or go first, the limit is {limits.per_target}"
    return None
