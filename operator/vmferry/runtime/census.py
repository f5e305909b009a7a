"""Adds up what the objects add to the gauges, as they come, change and go: who asks need not walk through them."""

from __future__ import annotations

from collections.abc import Iterator

from vmferry.runtime.key import Key
from vmferry.runtime.measures import Shares
from vmferry.runtime.metrics import Scraped


class Census:
    """By key; belongs to one event loop."""

    def __init__(self) -> None:
        self._shares: dict[Key, Shares] = {}
        #: a sum that has become 0 stays: the series goes to 0, it does not vanish
        self._sums: dict[tuple[Scraped, tuple[str, ...]], int] = {}

    def put(self, key: Key, shares: Shares) -> None:
        """What the object adds from now on."""
        self.remove(key)
        self._shares[key] = shares
        for gauge, number in shares:
            self._sums[gauge] = self._sums.get(gauge, 0) + number

    def remove(self, key: Key) -> None:
        for gauge, number in self._shares.pop(key, ()):
            self._sums[gauge] -= number

    def sums(self) -> Iterator[tuple[Scraped, tuple[str, ...], int]]:
        """Each gauge, its labels, its value."""
        return ((gauge, labels, number) for (gauge, labels), number in self._sums.items())
