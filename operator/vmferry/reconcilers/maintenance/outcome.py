"""What the cloud answered to an action, as the status records it."""

from __future__ import annotations

from datetime import datetime

from vmferry.cloud.actions import Accepted, Action, DisableService, NotNow, Outcome, Refused
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.conditions import Conditions
from vmferry.reconcilers.decision import Event, EventType
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.maintenance.scope import CORDONED
from vmferry.reconcilers.nova_explanation import asked_as
from vmferry.resources.base import clip
from vmferry.resources.hostmaintenance import HostMaintenance, HostMaintenanceStatus


def settle(
    obj: HostMaintenance, action: Action, outcome: Outcome, now: datetime
) -> tuple[HostMaintenanceStatus, tuple[Event, ...]]:
    """The status after an action was tried: what it did shows in the next look at the host, not in its answer."""
    status = obj.status.model_copy(deep=True)
    cordon = isinstance(action, DisableService)
    request = asked_as(outcome.request_id)
    conditions = Conditions(status.conditions, obj.metadata.generation, now)
    was = conditions.get(CORDONED)
    if isinstance(outcome, NotNow):
        message = f"the cloud asks to wait, {type(action).__name__} is sent again: {outcome.message}"
        conditions.set(CORDONED, not cordon, MaintenanceReason.NOT_NOW, clip(message))
    elif was is not None and was.reason == MaintenanceReason.NOT_NOW:
        # it is past that
        conditions.set(
            CORDONED,
            not cordon,
            MaintenanceReason.CORDONING if cordon else MaintenanceReason.UNCORDONING,
            f"{type(action).__name__} was sent",
        )
    if isinstance(outcome, Accepted):
        done = EventReason.CORDONED if cordon else EventReason.UNCORDONED
        return status, (Event(done, f"Nova took it{request}"),)
    if isinstance(outcome, Refused):
        # what the cloud refuses once it will refuse again: a person has to know
        message = f"the cloud refuses {type(action).__name__}: {outcome.code} {outcome.message}"
        enabled = isinstance(action, DisableService)
        conditions.set(CORDONED, not enabled, Reason.CLOUD_REFUSED, message)
    not_done = EventReason.NOT_CORDONED if cordon else EventReason.NOT_UNCORDONED
    words = f"{type(action).__name__}: {clip(outcome.message)}{request}"
    return status, (Event(not_done, words, EventType.WARNING),)
