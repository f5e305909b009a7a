"""The record in a Lease (coordination.k8s.io/v1), as client-go's leader election writes and reads it.

The holder of a Lease renews it. A Lease without a holder is free. It has expired when its record has not changed for
its duration, measured from the moment when this process first saw the record: clocks of two machines are never
compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

from vmferry.runtime.store import Body

KIND = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}


class LeaseClient(Protocol):
    """The Lease methods of `kube.Kube`. All raise `KubeError`."""

    async def get_lease(self, namespace: str, name: str) -> Body: ...

    async def put_lease(self, namespace: str, body: Body) -> Body: ...

    async def delete_lease(self, namespace: str, name: str, uid: str, version: str) -> None: ...


def written(before: Body, holder: str, seconds: float, now: datetime) -> Body:
    """The record that follows `before` when `holder` takes or renews the Lease; an empty `holder` releases it."""
    moment = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    kept = before.get("holderIdentity") == holder
    changes = int(before.get("leaseTransitions") or 0)
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": max(1, math.ceil(seconds)),
        "acquireTime": before.get("acquireTime", moment) if kept else moment,
        "renewTime": moment,
        "leaseTransitions": changes if kept or not holder or not before else changes + 1,
    }


class Seen:
    """The last seen record of each Lease, by name, and the time of its last change."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[str, tuple[Body, float]] = {}

    def note(self, name: str, record: Body) -> None:
        self._records[name] = (record, self._clock())

    def forget(self, name: str) -> None:
        self._records.pop(name, None)

    def age(self, name: str, record: Body) -> float:
        """Seconds since this process first saw this record; infinity if it has not seen it before."""
        seen = self._records.get(name)
        return self._clock() - seen[1] if seen is not None and seen[0] == record else float("inf")

    def unchanged(self, name: str, record: Body) -> float:
        """Like `age`, but a record that was not seen before is noted and counts as 0 seconds old."""
        age = self.age(name, record)
        if age == float("inf"):
            self.note(name, record)
            return 0.0
        return age
