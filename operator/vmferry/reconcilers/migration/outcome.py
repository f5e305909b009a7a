"""Records the outcome of a cloud request in the status."""

from __future__ import annotations

from datetime import datetime, timedelta

from vmferry.cloud.actions import (
    Accepted,
    Action,
    ColdMigrate,
    Evacuate,
    LiveMigrate,
    NotNow,
    NotSent,
    Outcome,
    Refused,
    StartServer,
    StopServer,
)
from vmferry.reconcilers.decision import Event, EventType
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attempts import NOT_NOW, NOT_SENT, REFUSED
from vmferry.reconcilers.migration.failures import refused
from vmferry.reconcilers.nova_explanation import asked_as
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import VMMigration, VMMigrationStatus


def record_outcome(
    obj: VMMigration, action: Action, outcome: Outcome, now: datetime
) -> tuple[VMMigrationStatus, tuple[Event, ...]]:
    """The status and Events after a request.

    If Nova gave no answer, the attempt stays open: the next reconcile finds the result (I4).
    """
    status = obj.status.model_copy(deep=True)
    if isinstance(action, LiveMigrate | ColdMigrate | Evacuate):
        return _settle_move(status, action, outcome, now)
    what, request = type(action).__name__, asked_as(outcome.request_id)
    if isinstance(outcome, Accepted):
        return status, (_accepted(action, outcome),)
    if isinstance(outcome, NotNow):
        _wait_longer(status, action, now)
    words = f"{what}: {clip(outcome.message)}{request}"
    return status, (Event(EventReason(f"{what}NotDone"), words, EventType.WARNING),)


def _wait_longer(status: VMMigrationStatus, action: Action, now: datetime) -> None:
    """Restart the time limit of a shutdown or start: it runs from the moment the cloud accepts the request."""
    stop = status.graceful_stop
    if stop is None:
        return
    if isinstance(action, StopServer):
        stop.requested_at = stop.asked_at = now
    elif isinstance(action, StartServer):
        stop.start_requested_at = stop.asked_at = now


def _accepted(action: Action, outcome: Accepted) -> Event:
    """The Event that records Nova's request id (I33)."""
    return Event(EventReason.REQUEST_ACCEPTED, f"Nova accepted {type(action).__name__}{asked_as(outcome.request_id)}")


def _settle_move(
    status: VMMigrationStatus, action: Action, outcome: Outcome, now: datetime
) -> tuple[VMMigrationStatus, tuple[Event, ...]]:
    attempt = status.open_attempt
    if attempt is None:
        return status, ()
    attempt.request_id = outcome.request_id
    if isinstance(outcome, NotSent):
        attempt.state = NOT_SENT
        attempt.ended_at = now
        attempt.message = clip(f"not sent: {outcome.message}", 2048)
        return status, (Event(EventReason.NOT_SENT, clip(attempt.message), EventType.WARNING),)
    if isinstance(outcome, NotNow):
        attempt.state = NOT_NOW
        attempt.ended_at = now
        attempt.retry_at = now + timedelta(seconds=outcome.retry_after)
        attempt.message = clip(f"not now: {outcome.message}{asked_as(outcome.request_id)}", 2048)
        return status, (Event(EventReason.NOT_NOW, clip(attempt.message), EventType.WARNING),)
    if isinstance(outcome, Refused):
        attempt.state = REFUSED
        attempt.ended_at = now
        attempt.message = clip(f"{outcome.code}: {outcome.message}{asked_as(outcome.request_id)}", 2048)
        attempt.failure = refused(attempt, outcome, status.server.name if status.server else "")
        return status, (Event(EventReason.CLOUD_REFUSED, clip(attempt.message), EventType.WARNING),)
    if isinstance(outcome, Accepted):
        return status, (_accepted(action, outcome),)
    attempt.message = clip(f"no answer: {outcome.message}", 2048)
    return status, (
        Event(EventReason.NO_ANSWER, f"{clip(attempt.message)}{asked_as(outcome.request_id)}", EventType.WARNING),
    )
