"""The key of an object in the queue and in the store."""

from __future__ import annotations

from typing import NamedTuple


class Key(NamedTuple):
    kind: str
    #: empty for a cluster-scoped object
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}" if self.namespace else f"{self.kind}/{self.name}"
