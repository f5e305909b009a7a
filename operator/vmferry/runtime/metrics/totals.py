"""Running totals of the objects' contributions to the gauges, so that a scrape need not iterate over all objects."""

from __future__ import annotations

from collections.abc import Iterator

from vmferry.reconcilers.telemetry import Sample
from vmferry.runtime.key import Key


class Totals:
    """Contributions by the object's key. Belongs to one event loop."""

    def __init__(self) -> None:
        self._samples: dict[Key, tuple[Sample, ...]] = {}
        #: a sum of 0 is kept, so that its series shows 0 and does not disappear
        self._sums: dict[tuple[str, tuple[str, ...]], float] = {}

    def put(self, key: Key, samples: tuple[Sample, ...]) -> None:
        """Replace the object's contributions."""
        self.remove(key)
        self._samples[key] = samples
        for metric, labels, value in samples:
            self._sums[metric, labels] = self._sums.get((metric, labels), 0) + value

    def remove(self, key: Key) -> None:
        for metric, labels, value in self._samples.pop(key, ()):
            self._sums[metric, labels] -= value

    def sums(self) -> Iterator[Sample]:
        return (Sample(metric, labels, value) for (metric, labels), value in self._sums.items())
