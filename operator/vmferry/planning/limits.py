"""Which moves may start now (I24, R17): limits per source, per target and in total, over all migrations in flight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vmferry.cloud.leftovers import last_change
from vmferry.cloud.model import Migration, MigrationStage, Snapshot
from vmferry.policy import Limits
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.moves import EarlierMoves, QueuePosition


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counts of what is in flight; callers that use `full` for many moves on one snapshot can share them."""

    leaving: Counter[str]
    coming: Counter[str]
    total: int
    #: by source: live migrations that Nova accepted and keeps queued, because others run there
    queued: Counter[str] = field(default_factory=Counter)

    def left_at(self, source: str, limits: Limits) -> int:
        """How many more moves may leave a host.

        0 while Nova queues there: no API reports how many its own configuration allows at once.
        """
        return 0 if self.queued[source] else limits.per_source - self.leaving[source]


def traffic(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> Traffic:
    """Everything in flight: Nova's records, and decided moves that have no record yet.

    Nova reports the target of a cold migration late; until then the decided target counts. The result is shared and
    must not be changed.
    """
    return snapshot.derived.once(_count, running(snapshot), moves)


def _count(running: tuple[Migration, ...], moves: tuple[PlannedMove, ...]) -> Traffic:
    known = {m.server_id for m in running}
    decided = {m.server_id: m.target_host for m in moves}
    pairs = [(m.source_host or "", m.target_host or decided.get(m.server_id, "")) for m in running]
    pairs += [(m.source_host, m.target_host) for m in moves if m.server_id not in known]
    return Traffic(
        Counter(source for source, _ in pairs),
        Counter(target for _, target in pairs),
        len(pairs),
        Counter(m.source_host or "" for m in running if m.status == "queued"),
    )


def running(snapshot: Snapshot) -> tuple[Migration, ...]:
    """The migrations that count against the limits.

    A cold migration that waits for its confirmation no longer copies anything and does not count; a migration with an
    unknown status does (I35).
    """
    return snapshot.derived.once(_running, snapshot.migrations)


def _running(migrations: Mapping[str, Migration]) -> tuple[Migration, ...]:
    stages = (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN)
    return tuple([m for m in migrations.values() if m.stage in stages])


def in_flight_to_each(snapshot: Snapshot, moves: tuple[PlannedMove, ...]) -> Counter[str]:
    """Number of moves in flight to each host, by host name; shared like the result of `traffic`."""
    return traffic(snapshot, moves).coming


def describe(record: Migration, snapshot: Snapshot) -> str:
    server = snapshot.servers.get(record.server_id)
    changed = last_change(record)
    since = f", last changed at {changed:%Y-%m-%dT%H:%MZ}" if changed else ""
    return f"{record.type} {record.uuid} of {server.name if server else record.server_id} ({record.status}{since})"


def full(
    source: str,
    target: str,
    snapshot: Snapshot,
    moves: tuple[PlannedMove, ...],
    earlier: Sequence[PlannedMove],
    limits: Limits,
    in_flight: Traffic | None = None,
) -> str | None:
    """Why one more move from `source` to `target` has to wait, None if it need not.

    `earlier` are the moves before this one in the queue. Each reserves its place at its source, and at its target if
    it has no alternative. Of the total, and of targets to which moves have alternatives, the queue reserves only what
    it could use now: reserving more would leave capacity unused. `in_flight` is `traffic(snapshot, moves)`, if the
    caller has it already.
    """
    now, earlier = in_flight or traffic(snapshot, moves), EarlierMoves.of(earlier)
    leaving = now.leaving[source] + earlier.leaving(source)
    if queued := now.queued[source]:
        return (
            f"limited by Nova's max_concurrent_live_migrations: {queued} live migrations from {source} are queued "
            "there, for others run"
        )
    if leaving >= limits.per_source:
        return f"{limited('perSource', limits.per_source)}: {leaving} migrations leave {source} or go first"
    first = snapshot.derived.once(next_up, earlier, now, limits)
    coming = now.coming[target] + earlier.coming(target) + first.taken[target]
    if coming >= limits.per_target:
        return f"{limited('perTarget', limits.per_target)}: {coming} migrations go to {target} or go first"
    if now.total + len(first.moves) >= limits.total:
        return f"{limited('total', limits.total)}: {now.total} migrations are in flight and {len(first.moves)} go first"
    return None


def limited(name: str, limit: int, where: str = "policy.limits") -> str:
    """The text for a limit that prevents a start: the limit's name, its value, and where it is configured."""
    return f"limited by {name} {limit} ({where})"


def holders(snapshot: Snapshot, *hosts: str | None) -> list[Migration]:
    """The records that count against the limits of these hosts (of the cloud if none is given), oldest first."""
    wanted = {host for host in hosts if host}
    found = [m for m in running(snapshot) if not wanted or wanted & {m.source_host, m.target_host}]
    return sorted(found, key=lambda m: m.id)


def first_free(
    source: str,
    targets: Iterable[str],
    snapshot: Snapshot,
    moves: tuple[PlannedMove, ...],
    earlier: Sequence[PlannedMove],
    limits: Limits,
) -> str | None:
    """The first of `targets` for which `full` returns None; None if the move has to wait for every one of them."""
    now, earlier = traffic(snapshot, moves), EarlierMoves.of(earlier)
    if now.left_at(source, limits) <= earlier.leaving(source):
        return None
    first = snapshot.derived.once(next_up, earlier, now, limits)
    if now.total + len(first.moves) >= limits.total:
        return None
    return next((t for t in targets if now.coming[t] + earlier.coming(t) + first.taken[t] < limits.per_target), None)


@dataclass(frozen=True, slots=True)
class NextUp:
    """The moves of a queue that the limits would allow to start now, all together."""

    #: in queue order
    moves: tuple[PlannedMove, ...]
    #: their queue positions
    positions: tuple[QueuePosition, ...]
    #: by host: how many of them would go there although they have alternatives
    taken: Counter[str]


def next_up(queue: EarlierMoves, now: Traffic, limits: Limits) -> NextUp:
    """Each move takes the first of its hosts that has a free place after the moves before it."""
    found: list[tuple[QueuePosition, PlannedMove]] = []
    taken: Counter[str] = Counter()
    coming, left = now.coming, limits.total - now.total
    if left <= 0:
        return NextUp((), (), taken)
    # later moves from the same source wait for the earlier ones, whatever delays these
    free = {host: now.left_at(host, limits) for host in queue.sources}
    # a target without a free place has none for later moves either
    shut: set[str] = set()
    for position, move in queue.first_of({host: most for host, most in free.items() if most > 0}):
        for host in (move.target_host, *(move.elsewhere or ())):
            if host in shut:
                continue
            if coming.get(host, 0) + queue.coming(host, position) + taken.get(host, 0) >= limits.per_target:
                shut.add(host)
                continue
            found.append((position, move))
            if move.elsewhere is not None:
                taken[host] += 1
            break
        if len(found) == left:
            break
    return NextUp(tuple([move for _, move in found]), tuple([position for position, _ in found]), taken)
