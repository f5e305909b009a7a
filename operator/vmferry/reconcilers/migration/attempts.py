"""The states of an attempt, which attempts count, and how an attempt is closed."""

from __future__ import annotations

from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import Attempt, attempt_state

#: states that the operator sets; all other states are Nova's migration statuses
REQUESTED = "Requested"
REFUSED = "Refused"
NOT_SENT = "NotSent"
#: the cloud rate-limits requests or is busy; the request is sent again (I40)
NOT_NOW = "NotNow"
SERVER_GONE = "ServerGone"

#: why the operator aborted a running migration
DELETED = "Deleted"
TIMED_OUT = "TimedOut"

#: condition reason: the resource is being deleted, but its running migration is not aborted
RUNS_TO_COMPLETION = "RunsToCompletion"


def succeeded(attempt: Attempt) -> bool:
    return not attempt.open and attempt.state in ("Completed", "Confirmed", "Done")


def counts(attempt: Attempt) -> bool:
    """Whether the attempt used up one of the allowed attempts. A request that Nova never acted on did not (I40)."""
    return attempt.state not in (NOT_SENT, NOT_NOW)


def ended_by_others(attempt: Attempt) -> bool:
    """Whether another user aborted or reverted the migration. That is intended, so it is not retried."""
    return not attempt.open and attempt.state in ("Cancelled", "Reverted") and attempt.stop_reason is None


def end(scope: MigrationScope, attempt: Attempt, state: str, message: str | None) -> None:
    """Close the attempt with `state`. The later steps of the same reconcile decide what follows."""
    attempt.state = clip(attempt_state(state), 64)
    attempt.ended_at = scope.now
    attempt.message = clip(message, 2048) if message else None
    if not succeeded(attempt):
        scope.status.progress = None
        scope.event(
            EventReason.ATTEMPT_FAILED,
            f"attempt {attempt.number} to {attempt.target_host} ended {attempt.state}: {message}",
            warning=True,
        )
