"""How fast the harness calls a cloud, and how long it waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from vmferry.cloud.observer import Pace


@dataclass(frozen=True)
class Tempo:
    """Times in seconds; the defaults suit a real Nova on a busy machine."""

    #: hosts, resources and groups are also read by `View.refresh` where a verdict depends on their latest state
    pace: Pace = field(
        default_factory=lambda: Pace(poll=2.5, full=3600, hosts=12, resources=12, groups=20, projects=3600)
    )
    #: how long a host must have no heartbeat to count as failed; more than the cloud's own `service_down_time`
    down_for: timedelta = timedelta(seconds=20)
    #: between two readings of a host whose heartbeats should stop
    look: float = 2.0
    #: how long another administrator's migration copies while we assess
    busy: float = 15.0
    #: timeout of a single step of a server; long, because other labs may use the machine at the same time
    patience: float = 240.0
