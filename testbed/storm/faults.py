"""Faults between the operator and the world, as spans of time in which they may strike."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """Kinds of faults. The value describes what happens to calls or events within the span."""

    CLOUD_DOWN = "the cloud is away"
    CLOUD_SLOW = "the cloud is slow"
    CLOUD_REFUSES_LOGIN = "tokens are void and nobody can log in"
    LOST_BEFORE = "requests to the cloud are lost"
    LOST_AFTER = "answers of the cloud are lost"
    READS_FAIL = "reads of the cloud fail"
    LISTS_FAIL = "lists of the cloud fail"
    TOO_MANY = "the cloud says 429"
    ERROR_BEFORE = "the cloud says 5xx and does nothing"
    ERROR_AFTER = "the cloud says 5xx and does it"
    STALE = "older answers of the cloud come again"
    DRIP = "answers of the cloud come byte by byte"
    KUBE_DOWN = "Kubernetes is away"
    KUBE_SLOW = "Kubernetes is slow"
    KUBE_ERROR = "Kubernetes says 500"
    KUBE_LOST = "answers of Kubernetes are lost"
    KUBE_CONFLICT = "others write to the objects"
    STATUS_INVALID = "Kubernetes says 422 to statuses"
    CREATES_REFUSED = "a policy of Kubernetes refuses new migrations"
    WATCH_AWAY = "the watch is broken"
    WATCH_SLOW = "events come late"
    WATCH_TWICE = "events come twice"


@dataclass(slots=True)
class Span:
    """From `begin` to `end` (seconds of the storm) the fault strikes each call with the probability `chance`."""

    kind: Kind
    begin: float
    end: float
    chance: float
    dice: Random = field(repr=False)

    def __str__(self) -> str:
        return f"{self.kind}, {self.end - self.begin:.0f} s, {self.chance:.0%}"


class Faults:
    """All spans of a storm, and the number of times that faults struck."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.struck = 0

    def strikes(self, kind: Kind, now: float) -> bool:
        for span in self.spans:
            if span.kind is kind and span.begin <= now < span.end and span.dice.random() < span.chance:
                self.struck += 1
                return True
        return False

    def on(self, kind: Kind, now: float) -> bool:
        """Whether a span of this kind is active, without drawing a random number."""
        return any(span.kind is kind and span.begin <= now < span.end for span in self.spans)

    def left(self, kind: Kind, now: float) -> float:
        """Seconds until all active spans of this kind have ended."""
        return max((span.end - now for span in self.spans if span.kind is kind and span.begin <= now), default=0.0)

    def end_all(self, now: float) -> None:
        for span in self.spans:
            span.end = min(span.end, now)
