"""Conditions as the Kubernetes API conventions and kstatus read them (R33).

`Reconciling` and `Stalled` are present only while they are True; the others always are.
"""

from __future__ import annotations

import re
from datetime import datetime
from enum import StrEnum

from vmferry.cloud.model import Snapshot
from vmferry.resources.base import Condition, clip
from vmferry.resources.documented import ReasonWord

PREREQUISITES_MET = "PrerequisitesMet"
SUCCEEDED = "Succeeded"
READY = "Ready"
TYPE_RESOLVED = "TypeResolved"
RECONCILING = "Reconciling"
STALLED = "Stalled"

#: the connection to the cloud is not protected; present only while it is so
CLOUD_UNVERIFIED = "CloudUnverified"
UNVERIFIED_MESSAGE = (
    "the operator's clouds.yaml has verify: false, so the cloud's certificates are not checked: whoever is between can "
    "read the operator's credentials and change what it sees and does; set `cacert` and remove `verify: false`"
)


#: pattern of an error text -> the cause of the failed read; the first match counts
_CAUSES = (
    (r"\b401\b|cannot log in|Unauthorized", "the credentials are refused"),
    (r"\b403\b|Forbidden", "a right is missing"),
    (r"\b429\b", "too many requests"),
    (r"\bHTTP 5\d\d\b|\b50[0-9]\b", "the cloud fails"),
    (r"[Tt]imed? ?-?out|Timeout", "no answer in time"),
    (r"[Cc]onnect|[Rr]efused|[Rr]eset|resolve|unreachable|No route", "the cloud is unreachable"),
)


def _cause(trouble: str) -> str:
    return next((words for pattern, words in _CAUSES if re.search(pattern, trouble)), "the cloud cannot be read")


def stale_view(snapshot: Snapshot) -> str:
    """The message for a shared view that is too old to decide anything."""
    if snapshot.trouble is None and not snapshot.read_at:
        return "the cloud is being read for the first time; nothing is decided before that has ended"
    trouble = snapshot.trouble or "it answers too slowly"
    why = f"{_cause(trouble)}: {trouble}" if snapshot.trouble else trouble
    return f"the view of the cloud is stale, nothing is decided until it is fresh again: {why}"


def unread(trouble: str) -> str:
    """The message for a failed read while the shared view is still fresh."""
    return f"a read of the cloud failed, it is tried again: {_cause(trouble)}: {trouble}"


class Conditions:
    """The conditions of a status, changed in place. The transition time changes only with the condition's status."""

    def __init__(self, conditions: list[Condition], generation: int, now: datetime) -> None:
        self._list = conditions
        self._generation = generation
        self._now = now

    def get(self, type_: str) -> Condition | None:
        return next((c for c in self._list if c.type == type_), None)

    def set(self, type_: str, status: bool | None, reason: ReasonWord, message: str) -> None:
        """Set a condition; a `status` of None is Unknown."""
        word = "Unknown" if status is None else str(status)
        old = self.get(type_)
        new = Condition(
            type=type_,
            status=word,
            observed_generation=self._generation,
            last_transition_time=old.last_transition_time if old and old.status == word else self._now,
            reason=reason,
            message=clip(message, 2048),
        )
        if old is None:
            self._list.append(new)
        else:
            self._list[self._list.index(old)] = new

    def drop(self, *types: str) -> None:
        self._list[:] = [c for c in self._list if c.type not in types]

    def report_unverified(self, snapshot: Snapshot, reason: StrEnum) -> None:
        """Set CloudUnverified only while the cloud's certificates are not checked."""
        if snapshot.verified:
            self.drop(CLOUD_UNVERIFIED)
        elif snapshot.verified is False:
            self.set(CLOUD_UNVERIFIED, True, reason, UNVERIFIED_MESSAGE)
