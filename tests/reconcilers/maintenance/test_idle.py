"""A host that was never in maintenance is in service, and one that was is released."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.build import NOW
from vmferry.cloud.model import Snapshot
from vmferry.policy import Policy
from vmferry.reconcilers.maintenance.plan import plan
from vmferry.reconcilers.world import World
from vmferry.resources.hostmaintenance import HostMaintenance, HostMaintenanceStatus
from vmferry.resources.words import MaintenancePhase

TIME = "2026-01-01T00:00:00Z"


def ready(reason: str, status: str = "True", message: str = "the host is back in service") -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": TIME}


def planned(status: dict[str, Any]) -> HostMaintenanceStatus:
    body = {"metadata": {"name": "cmp1"}, "spec": {"host": "cmp1", "enabled": False}, "status": status}
    return plan(HostMaintenance.read(body), World(Snapshot()), NOW, Policy()).status


@pytest.mark.parametrize(
    "before",
    [
        pytest.param({}, id="new"),
        pytest.param({"phase": "Blocked", "conditions": [ready("HostNotFound", "False")]}, id="it was blocked"),
        pytest.param({"phase": "Checked", "conditions": [ready("PreflightPassed")]}, id="it was checked"),
        pytest.param({"phase": "Released", "conditions": [ready("Released")]}, id="written by version 0.1"),
        pytest.param(
            {"phase": "InService", "conditions": [ready("CloudViewStale", "False")]}, id="switched on and off"
        ),
    ],
)
def test_a_host_that_was_never_in_maintenance_is_in_service(before: dict[str, Any]) -> None:
    status = planned(before)
    found = status.condition("Ready")
    assert status.phase is MaintenancePhase.IN_SERVICE
    assert found is not None and (found.status, found.reason) == ("True", "InService")


def test_a_host_that_was_in_maintenance_is_released_and_its_report_stays() -> None:
    before = {"phase": "Released", "releasedAt": TIME, "conditions": [ready("Released", message="3 servers stay away")]}
    status = planned(before)
    found = status.condition("Ready")
    assert status.phase is MaintenancePhase.RELEASED
    assert found is not None and found.message == "3 servers stay away"
