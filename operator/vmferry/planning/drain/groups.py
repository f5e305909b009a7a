"""Where the members of one server group will be after all decided moves and the plan's own moves.

`prerequisites.server_group` lets every host wait while a member is in flight, so the state afterwards is computed here.
Anti-affinity counts the servers that the plan has placed. Soft policies and affinity use them only as a preference, so
that a plan holds in whatever order its moves are made.
"""

from __future__ import annotations

from collections import Counter

from vmferry.cloud.model import NOVA_TYPE, MigrationStage, ResolvedType, ServerGroup, Snapshot, nothing_to_confirm
from vmferry.prerequisites.check import PlannedMove

AFFINITY, ANTI_AFFINITY = "affinity", "anti-affinity"
HARD = (AFFINITY, ANTI_AFFINITY)
#: what one member on a host adds to that host's rank; lower is better
_WISH = {AFFINITY: -1, "soft-affinity": -1, "soft-anti-affinity": 1}


def in_flight(snapshot: Snapshot, server_id: str) -> bool:
    """Whether Nova is moving the server now; migrations other than evacuations end with a dead source host."""
    for record in snapshot.migrations_by_server.get(server_id, ()):
        if record.stage not in (MigrationStage.IN_FLIGHT, MigrationStage.UNKNOWN):
            continue
        source = snapshot.hosts.get(record.source_host or "")
        if record.type == NOVA_TYPE[ResolvedType.EVACUATE] or source is None or source.service.up:
            return True
    return False


class Members:
    """The members of `group` by host; those on `source`, which is no target, are left out."""

    def __init__(self, group: ServerGroup, source: str | None, snapshot: Snapshot, decided: dict[str, PlannedMove]):
        self.group = group
        self._most = group.max_server_per_host if group.policy == ANTI_AFFINITY else None
        self._wish = _WISH.get(group.policy, 0)
        self.counts: Counter[str] = Counter()
        for member in group.members:
            for host in _places(member, snapshot, decided, group.policy):
                self.counts[host] += 1
        self._before = Counter(self.counts)
        self._source = self._before.pop(source or "", 0)
        self.counts.pop(source or "", None)

    @property
    def together(self) -> bool:
        """Whether only hosts that already have members are allowed."""
        return self.group.policy == AFFINITY

    def allows(self, host: str, *, leaving: int = 0, alone: bool = False) -> bool:
        """Whether the policy allows one more member there, after `leaving` placed ones leave.

        `alone` ignores everything that the plan has placed.
        """
        if self.together:
            return self._before[host] > 0 and self._before[host] >= self._source - 1
        there = self._before[host] if alone else self.counts[host] - leaving
        return self._most is None or there < self._most

    def wish(self, host: str) -> int:
        return self._wish * self.counts[host]

    def place(self, host: str) -> None:
        self.counts[host] += 1

    def release(self, host: str) -> None:
        self.counts[host] -= 1


def _places(member: str, snapshot: Snapshot, decided: dict[str, PlannedMove], policy: str) -> set[str]:
    """Hosts where a member counts; a migration that may still be reverted counts on both of its hosts.

    Under a soft policy it counts as in `targets.standing`: on its host and on the target of its move.
    """
    server = snapshot.servers.get(member)
    here = {server.host} if server is not None and server.host else set()
    records = [m for m in snapshot.migrations_by_server.get(member, ()) if m.open and not nothing_to_confirm(m, server)]
    if policy not in HARD:
        going = {decided[member].target_host} if member in decided else set()
        return here | going | {m.target_host for m in records if m.target_host}
    if member in decided or in_flight(snapshot, member):
        moving = {m.target_host for m in records if m.stage is not MigrationStage.FINISHED and m.target_host}
        return moving or ({decided[member].target_host} if member in decided else here)
    if policy == AFFINITY:
        return here
    targets = {m.target_host for m in records if m.target_host}
    sources = {m.source_host for m in records if m.source_host} if policy == ANTI_AFFINITY else set()
    return here | targets | sources
