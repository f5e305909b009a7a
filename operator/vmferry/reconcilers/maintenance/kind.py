"""The `Kind` of HostMaintenance, which owns VMMigrations and moves no server itself."""

from __future__ import annotations

from vmferry.reconcilers.event_reasons import OF_MAINTENANCES
from vmferry.reconcilers.host_claims import claim_of
from vmferry.reconcilers.kind import Kind
from vmferry.reconcilers.maintenance.outcome import record_outcome
from vmferry.reconcilers.maintenance.plan import plan
from vmferry.reconcilers.maintenance.reasons import CONDITIONS, MaintenanceReason
from vmferry.reconcilers.maintenance.telemetry import telemetry
from vmferry.resources import catalog
from vmferry.resources.hostmaintenance import HostMaintenance, HostMaintenanceStatus
from vmferry.resources.words import MaintenancePhase


def _released(obj: HostMaintenance) -> bool:
    """Whether nothing is left to undo and the status describes the current spec."""
    return (
        not obj.spec.enabled
        and obj.status.phase in (MaintenancePhase.RELEASED, MaintenancePhase.IN_SERVICE)
        and obj.status.observed_generation == obj.metadata.generation
        and obj.metadata.deletion_timestamp is None
    )


HOST_MAINTENANCE: Kind[HostMaintenance, HostMaintenanceStatus] = Kind(
    type=catalog.HOST_MAINTENANCE,
    reasons=MaintenanceReason,
    conditions=CONDITIONS,
    events=OF_MAINTENANCES,
    plan=plan,
    record_outcome=record_outcome,
    finished=_released,
    describe=lambda obj: {"host": obj.status.host or obj.spec.host},
    telemetry=telemetry,
    claim=claim_of,
)
