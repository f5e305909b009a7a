"""The metrics of an object as plain data. `runtime/metrics` defines the metrics of these names."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Sample(NamedTuple):
    #: full name of the metric
    metric: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    #: the object's contributions to gauges
    gauges: tuple[Sample, ...]
    #: increments of counters and observations of histograms by the object's last change
    changes: tuple[Sample, ...] = ()


def seconds_between(begin: datetime, end: datetime) -> float:
    """The difference in seconds, at least 0 because the two times may come from different clocks."""
    return max(0.0, (end - begin).total_seconds())
