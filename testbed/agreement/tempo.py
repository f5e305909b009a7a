"""How fast a cloud may be asked, and how long the harness waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from vmferry.cloud.observer import Pace


@dataclass(frozen=True)
class Tempo:
    """Times in seconds; as they stand, those of a real Nova on a busy machine."""

    #: hosts, resources and groups are read by `View.refresh` wherever a verdict could turn on their last seconds
    pace: Pace = field(
        default_factory=lambda: Pace(poll=2.5, full=3600, hosts=12, resources=12, groups=20, projects=3600)
    )
    #: how long a host has to be silent until it counts as failed; more than the cloud's own `service_down_time`
    down_for: timedelta = timedelta(seconds=20)
    #: between two looks at a host that shall fall silent
    look: float = 2.0
    #: how long somebody else's migration copies while we judge
    busy: float = 15.0
    #: what a step of a server may take; long, because other labs may want the machine at the same time
    patience: float = 240.0
