"""Who may start now (I24, R17): limits per source, per target and in all, counted over everybody's migrations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmferry.cloud.model import Migration, MigrationStage, Snapshot
from vmferry.policy import Limits
from vmferry.prerequisites.frame import PlannedMove


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is in flight, counted once: for whoever asks `full` of many moves on one view."""

    leaving: Counter[str]
    coming: Counter[str]
    total: int


def traffic(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> Traffic:
    """All that is in flight: Nova's records, and decided moves that have none yet.

    Nova names the target of a cold migration late: until then the decided one counts.
    """
    running = _running(snapshot.migrations)
    known = {m.server_id for m in running}
    decided = {m.server_id: m.target_host for m in moves}
    pairs = [(m.source_host or "", m.target_host or decided.get(m.server_id, "")) for m in running]
    pairs += [(m.source_host, m.target_host) for m in moves if m.server_id not in known]
    return Traffic(Counter(source for source, _ in pairs), Counter(target for _, target in pairs), len(pairs))


class _LastLook:
    """The running migrations of the view that was asked about last: every pass of every queued object asks about the
    same one, whose mappings are replaced and never changed."""

    of: Mapping[str, Migration] | None = None
    running: tuple[Migration, ...] = ()


def _running(migrations: Mapping[str, Migration]) -> tuple[Migration, ...]:
    """A cold migration that waits for its confirmation copies nothing any more and does not count. A status that we do
    not know does (I35)."""
    if _LastLook.of is not migrations:
        stages = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)
        _LastLook.running = tuple([m for m in migrations.values() if m.stage in stages])
        _LastLook.of = migrations
    return _LastLook.running


def in_flight_to_each(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> Counter[str]:
    """How many moves are on their way to each host, by its name."""
    return traffic(snapshot, moves).coming


def full(
    source: str,
    target: str,
    snapshot: Snapshot,
    moves: tuple[PlannedMove, ...],
    ahead: Sequence[PlannedMove],
    limits: Limits,
    in_flight: Traffic | None = None,
) -> str | None:
    """Why one more move from `source` to `target` has to wait, None if it need not.

    `ahead` are queued moves that go first. They hold their place, save those that a host's own limit holds back:
    these would only keep the total from being used. `in_flight` saves counting, if the caller has
    `traffic(snapshot, moves)` already; the cost is then one look at each move ahead.
    """
    now = in_flight or traffic(snapshot, moves)
    leaving = now.leaving[source] + sum([m.source_host == source for m in ahead])
    coming = now.coming[target] + sum([m.target_host == target for m in ahead])
    if leaving >= limits.per_source:
        return f"{leaving} migrations leave {source} or go first, the limit is {limits.per_source}"
    if coming >= limits.per_target:
        return f"{coming} migrations go to {target} or go first, the limit is {limits.per_target}"
    could_start, out, into = 0, Counter(now.leaving), Counter(now.coming)
    for move in ahead:
        if now.total + could_start >= limits.total:
            break
        if out[move.source_host] < limits.per_source and into[move.target_host] < limits.per_target:
            out[move.source_host] += 1
            into[move.target_host] += 1
            could_start += 1
    if now.total + could_start >= limits.total:
        return f"{now.total} migrations are in flight and {could_start} go first, the limit is {limits.total}"
    return None
