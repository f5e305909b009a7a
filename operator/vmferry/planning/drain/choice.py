"""Possible hosts of a server, best first.

`HostAssessments.takers` finds them; `Pool` sorts them by rank for servers of one size. Capacity and server groups,
which change while a plan grows, are left to the modules `capacity` and `groups`.
"""

from __future__ import annotations

import heapq
from collections.abc import Container
from dataclasses import dataclass, field

from vmferry.cloud.model import Server
from vmferry.planning.drain.capacity import FreeCapacity, Needs
from vmferry.planning.drain.groups import Members
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name

#: these checks are replaced by `capacity` and `groups` while the plan grows
APART = (Name.CAPACITY, Name.SERVER_GROUP)

#: added to the tier of hosts where Nova may refuse the server, so that they come after all others
BEHIND = 2
#: tier (0: the host is free now, 1: after other moves have ended; plus BEHIND where Nova may refuse the server), then
#: the group's preference, then `FreeCapacity.order`
Rank = tuple[int, int, int, float, str]


class Pool:
    """Hosts for servers with equal requirements and equal size, best first."""

    def __init__(self, tiers: dict[str, int], needs: Needs, capacity: FreeCapacity) -> None:
        self.needs = needs
        self._capacity = capacity
        #: hosts with enough capacity before the plan places any server, with their tiers
        self.alone = {name: tier for name, tier in tiers.items() if capacity.fits(needs, name)}
        self._heap: list[Rank] = []
        self.refill()

    def refill(self) -> None:
        """Rebuild the heap after capacity was released, since `best` drops full hosts for good."""
        self._heap = [self.rank(name) for name in self.alone]
        heapq.heapify(self._heap)

    def rank(self, name: str, wish: int = 0) -> Rank:
        return (self.alone[name], wish, *self._capacity.order(self.needs, name))

    def fits(self, name: str) -> bool:
        return self._capacity.fits(self.needs, name)

    def best(self, skip: Container[str]) -> Rank | None:
        """The best host with capacity that is not in `skip`.

        An entry's rank is only updated when it reaches the top, which suffices because ranks only get worse.
        """
        aside: list[Rank] = []
        found: Rank | None = None
        while self._heap:
            name = self._heap[0][-1]
            if not self.fits(name):
                heapq.heappop(self._heap)
                continue
            now = self.rank(name)
            if now != self._heap[0]:
                heapq.heapreplace(self._heap, now)
            elif name in skip:
                aside.append(heapq.heappop(self._heap))
            else:
                found = now
                break
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return found


@dataclass(slots=True, eq=False)
class ServerToPlace:
    """A server that needs a host."""

    question: Question
    pool: Pool
    members: Members | None
    #: hosts where a prerequisite blocked this very server
    refused: set[str] = field(default_factory=set)
    target: str | None = None

    @property
    def server(self) -> Server:
        return self.question.server

    def alone(self) -> list[str]:
        """Hosts that could take it if no other server of the plan moved, by name."""
        return sorted(n for n in self.pool.alone if self.members is None or self.members.allows(n, alone=True))

    def choices(self) -> int:
        """Number of hosts that could take it; valid only before anything is placed."""
        members, pool = self.members, self.pool.alone
        if members is None:
            return len(pool)
        if members.together:
            return sum(n in pool and members.allows(n) for n in members.counts)
        return len(pool) - sum(n in pool and not members.allows(n) for n in members.counts)

    def best(self, but: str | None = None) -> str | None:
        """The best host with capacity now, except `but`."""
        pool, members = self.pool, self.members
        if members is None:
            found = pool.best(self.refused | {but} if but else self.refused)
            return found[-1] if found else None
        known = [n for n, count in members.counts.items() if count and n in pool.alone]
        ranks = [
            pool.rank(n, members.wish(n))
            for n in known
            if n != but and n not in self.refused and members.allows(n) and pool.fits(n)
        ]
        if not members.together and (other := pool.best({*known, *self.refused, but or ""})) is not None:
            ranks.append(other)
        return min(ranks)[-1] if ranks else None

    def place(self, capacity: FreeCapacity, target: str) -> None:
        self.target = target
        capacity.place(self.pool.needs, target)
        if self.members is not None:
            self.members.place(target)

    def release(self, capacity: FreeCapacity) -> None:
        assert self.target is not None
        capacity.release(self.pool.needs, self.target)
        if self.members is not None:
            self.members.release(self.target)
        self.target = None
