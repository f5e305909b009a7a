"""The allocations of Placement: how much of each resource provider each consumer holds."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

Resources = dict[str, int]


@dataclass(slots=True)
class Consumer:
    project_id: str
    user_id: str
    generation: int = 1
    holds: dict[str, Resources] = field(default_factory=dict)  # by provider uuid


class Ledger:
    """Allocations by consumer (a server, or a migration that holds the source's share), and the sums by provider."""

    def __init__(self) -> None:
        self.consumers: dict[str, Consumer] = {}
        self._used: dict[str, Resources] = defaultdict(lambda: defaultdict(int))
        self._of_provider: dict[str, set[str]] = defaultdict(set)

    def used(self, provider: str, resource: str) -> int:
        return self._used[provider].get(resource, 0)

    def consumers_of(self, provider: str) -> list[str]:
        return sorted(self._of_provider[provider])

    def claim(self, consumer: str, provider: str, resources: Resources, *, project_id: str, user_id: str) -> None:
        """Set what the consumer holds of this provider. Its allocations on other providers remain."""
        self.release(consumer, provider)
        record = self.consumers.setdefault(consumer, Consumer(project_id, user_id, generation=0))
        record.generation += 1
        record.holds[provider] = dict(resources)
        self._of_provider[provider].add(consumer)
        for name, amount in resources.items():
            self._used[provider][name] += amount

    def release(self, consumer: str, provider: str | None = None) -> None:
        """Release what the consumer holds of one provider, or of all providers."""
        record = self.consumers.get(consumer)
        if record is None:
            return
        for held in [provider] if provider else list(record.holds):
            for name, amount in record.holds.pop(held, {}).items():
                self._used[held][name] -= amount
            self._of_provider[held].discard(consumer)
        if not record.holds:
            del self.consumers[consumer]

    def hand_over(self, old: str, new: str) -> None:
        """Move all allocations from one consumer to another. Nova does this to keep the source's allocation under its
        migration."""
        record = self.consumers.get(old)
        if record is None:
            return
        for provider, resources in list(record.holds.items()):
            self.release(old, provider)
            self.claim(new, provider, resources, project_id=record.project_id, user_id=record.user_id)
