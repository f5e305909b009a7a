"""Adds up what the objects add to the gauges, as they come, change and go: who asks need not walk through them."""

from __future__ import annotations

from collections.abc import Iterator

from vmferry.reconcilers.telemetry import Sample
from vmferry.runtime.key import Key


class Totals:
    """By key; belongs to one event loop."""

    def __init__(self) -> None:
        self._samples: dict[Key, tuple[Sample, ...]] = {}
        #: a sum that has become 0 stays: the series goes to 0, it does not vanish
        self._sums: dict[tuple[str, tuple[str, ...]], float] = {}

    def put(self, key: Key, samples: tuple[Sample, ...]) -> None:
        """What the object adds from now on."""
        self.remove(key)
        self._samples[key] = samples
        for metric, labels, value in samples:
            self._sums[metric, labels] = self._sums.get((metric, labels), 0) + value

    def remove(self, key: Key) -> None:
        for metric, labels, value in self._samples.pop(key, ()):
            self._sums[metric, labels] -= value

    def sums(self) -> Iterator[Sample]:
        return (Sample(metric, labels, value) for (metric, labels), value in self._sums.items())
