"""Free capacity of each host while a plan grows: Placement's figures minus decided moves minus the plan's own moves.

The result equals that of `prerequisites.capacity` with the plan's moves among the decided ones, in constant time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from vmferry.planning.limits import in_flight_to_each
from vmferry.prerequisites import capacity
from vmferry.prerequisites.capacity import CapacityKey, capacity_key
from vmferry.prerequisites.check import Question
from vmferry.prerequisites.enums import Name

MEMORY = "MEMORY_MB"

#: by Placement resource class
Needs = Mapping[str, int]


class FreeCapacity:
    """Free capacity of each host, and the number of moves in flight to it."""

    def __init__(self, question: Question) -> None:
        """`question` provides the snapshot, the decided moves and the policy; its server does not count."""
        self.hosts = question.snapshot.hosts
        self._coming = Counter(in_flight_to_each(question.snapshot, question.moves))
        self._tolerant = Name.CAPACITY in question.policy.tolerate_unknown
        self._free: dict[CapacityKey, int] = {}
        #: memory used according to Placement and the plan, without the decided moves: the rank depends on it
        self._ranked: dict[CapacityKey, int] = {}
        self._total: dict[str, int] = {}
        nobody = replace(question, server=replace(question.server, id=""))
        for host in self.hosts.values():
            for resource, inventory in (host.inventories or {}).items():
                key = capacity_key(host, resource)
                if key not in self._free:
                    taken = capacity.planned(nobody, host, resource) if question.moves else 0
                    self._free[key] = inventory.free - taken
                    if resource == MEMORY:
                        self._ranked[key] = inventory.used
                    self._total[resource] = self._total.get(resource, 0) + max(inventory.capacity, 0)

    def fits(self, needs: Needs, name: str, without: tuple[Needs, str] | None = None) -> bool:
        """Whether the host has capacity; `without`: after releasing what was placed with these needs on that host."""
        host = self.hosts[name]
        if host.inventories is None:
            return self._tolerant
        known = True
        for resource, needed in needs.items():
            inventory = host.inventories.get(resource)
            if inventory is None:
                known = False
                continue
            free = self._free[capacity_key(host, resource)]
            if without is not None and self._has(without[1], resource):
                same = capacity_key(self.hosts[without[1]], resource) == capacity_key(host, resource)
                free += without[0].get(resource, 0) if same else 0
            if needed > free or (inventory.max_unit is not None and needed > inventory.max_unit):
                return False
        return known or self._tolerant

    def place(self, needs: Needs, name: str) -> None:
        self._move(needs, name, 1)

    def release(self, needs: Needs, name: str) -> None:
        self._move(needs, name, -1)

    def _move(self, needs: Needs, name: str, sign: int) -> None:
        self._coming[name] += sign
        for resource, needed in needs.items():
            if self._has(name, resource):
                key = capacity_key(self.hosts[name], resource)
                self._free[key] -= sign * needed
                if resource == MEMORY:
                    self._ranked[key] += sign * needed

    def _has(self, name: str, resource: str) -> bool:
        return resource in (self.hosts[name].inventories or {})

    def order(self, needs: Needs, name: str) -> tuple[int, float, str]:
        """The sort key of a host as in `targets.rank`: fewest moves in flight, then lowest memory use, then name."""
        memory = (self.hosts[name].inventories or {}).get(MEMORY)
        if memory is None or memory.capacity <= 0:
            return self._coming[name], 1.0, name
        taken = self._ranked[capacity_key(self.hosts[name], MEMORY)] + needs.get(MEMORY, 0)
        return self._coming[name], round(taken / memory.capacity, 2), name

    def weight(self, needs: Needs) -> float:
        """The server's largest share of the total of any resource over all hosts."""
        return max((n / self._total[r] for r, n in needs.items() if self._total.get(r)), default=0.0)

    def headroom(self, names: Iterable[str]) -> tuple[int, int]:
        """Free and total memory of these hosts in MiB; hosts that do not report it are left out of both."""
        telling = [self.hosts[name] for name in names if self._has(name, MEMORY)]
        free = sum(max(self._free[capacity_key(host, MEMORY)], 0) for host in telling)
        return free, sum((host.inventories or {})[MEMORY].capacity for host in telling)
