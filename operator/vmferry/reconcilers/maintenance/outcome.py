"""Records the outcome of a cloud request in the status."""

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
from vmferry.resources.words import CordonAnswer


def record_outcome(
    obj: HostMaintenance, action: Action, outcome: Outcome, now: datetime
) -> tuple[HostMaintenanceStatus, tuple[Event, ...]]:
    """The status and Events after a request. The next reconcile reads the effect from the host, not from the answer."""
    status = obj.status.model_copy(deep=True)
    cordon = isinstance(action, DisableService)
    request = asked_as(outcome.request_id)
    conditions = Conditions(status.conditions, obj.metadata.generation, now)
    if isinstance(outcome, NotNow):
        message = f"the cloud asks to wait, {type(action).__name__} is sent again: {outcome.message}"
        _answered(status, CordonAnswer.NOT_NOW, message)
        conditions.set(CORDONED, not cordon, MaintenanceReason.NOT_NOW, message)
    elif status.cordon is not None and status.cordon.answer is CordonAnswer.NOT_NOW:
        # the cloud no longer postpones the request
        _answered(status, None, None)
        reason = MaintenanceReason.CORDONING if cordon else MaintenanceReason.UNCORDONING
        conditions.set(CORDONED, not cordon, reason, f"{type(action).__name__} was sent")
    if isinstance(outcome, Accepted):
        if cordon:
            return status, (Event(EventReason.CORDONED, f"disabled the compute service on {status.host}{request}"),)
        return status, (Event(EventReason.UNCORDONED, f"enabled the compute service on {status.host}{request}"),)
    if isinstance(outcome, Refused):
        # the cloud would refuse the request again, so a person must be informed
        message = f"the cloud refuses {type(action).__name__}: {outcome.code} {outcome.message}"
        _answered(status, CordonAnswer.REFUSED, message)
        conditions.set(CORDONED, not cordon, Reason.CLOUD_REFUSED, message)
    not_done = EventReason.NOT_CORDONED if cordon else EventReason.NOT_UNCORDONED
    words = f"{type(action).__name__}: {clip(outcome.message)}{request}"
    return status, (Event(not_done, words, EventType.WARNING),)


def _answered(status: HostMaintenanceStatus, answer: CordonAnswer | None, message: str | None) -> None:
    if status.cordon is not None:
        status.cordon.answer, status.cordon.message = answer, clip(message, 2048) if message else None
