"""The metrics of a HostMaintenance."""

from __future__ import annotations

from vmferry.reconcilers.conditions import STALLED
from vmferry.reconcilers.telemetry import Sample, Telemetry, seconds_between
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.words import MaintenancePhase

#: the counts of `status.progress` that add up to its total
_STATES = ("moved", "moving", "waiting", "blocked", "staying")
#: phases in which nothing is being drained or going to be
_QUIET = (None, MaintenancePhase.CHECKED, MaintenancePhase.RELEASED, MaintenancePhase.IN_SERVICE)


def telemetry(before: HostMaintenance | None, after: HostMaintenance) -> Telemetry:
    return Telemetry(_gauges(after), _changes(before, after) if before is not None else ())


def _changes(before: HostMaintenance, after: HostMaintenance) -> tuple[Sample, ...]:
    status = after.status
    if before.status.drained_at is not None or status.drained_at is None or status.admitted_at is None:
        return ()
    return (Sample("vmferry_drain_duration_seconds", (), seconds_between(status.admitted_at, status.drained_at)),)


def _gauges(obj: HostMaintenance) -> tuple[Sample, ...]:
    status = obj.status
    gauges = [Sample("vmferry_maintenances", (str(status.phase or "Pending"),), 1)]
    if status.progress is not None and status.admitted_at is not None:
        gauges += [
            Sample("vmferry_maintenance_servers", (state,), getattr(status.progress, state)) for state in _STATES
        ]
    if status.phase not in _QUIET:
        stalled = status.condition(STALLED)
        if stalled is not None:
            gauges.append(Sample("vmferry_blocked", (obj.KIND, stalled.reason), 1))
        gauges += [Sample("vmferry_maintenance_blockers", (blocker.reason,), 1) for blocker in status.blockers]
    return tuple(gauges)
