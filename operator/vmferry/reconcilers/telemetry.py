"""What an object reports to Prometheus, as plain data. The metrics of these names are defined in `runtime/metrics`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Sample(NamedTuple):
    #: its full name
    metric: str
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    #: what the object adds to gauges
    gauges: tuple[Sample, ...]
    #: by what its last change increases counters, or what histograms observe of it
    changes: tuple[Sample, ...] = ()


def seconds_between(begin: datetime, end: datetime) -> float:
    """Not below 0: the two moments may be of two clocks."""
    return max(0.0, (end - begin).total_seconds())
