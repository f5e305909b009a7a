"""What an attempt is: its states, which of them count, and how it is closed."""

from __future__ import annotations

from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import Attempt, attempt_state

#: states of an attempt that are ours; all others are Nova's status words
REQUESTED = "Requested"
REFUSED = "Refused"
NOT_SENT = "NotSent"
#: the cloud limits requests, or is busy; the request is sent again (I40)
NOT_NOW = "NotNow"
SERVER_GONE = "ServerGone"

#: why we asked a running migration to stop
DELETED = "Deleted"
TIMED_OUT = "TimedOut"

#: reason of a running migration whose resource is deleted, and which is not aborted
RUNS_TO_COMPLETION = "RunsToCompletion"


def succeeded(attempt: Attempt) -> bool:
    return not attempt.open and attempt.state in ("Completed", "Confirmed", "Done")


def counts(attempt: Attempt) -> bool:
    """Whether it used up one of the allowed attempts: a request that Nova never acted on did not (I40)."""
    return attempt.state not in (NOT_SENT, NOT_NOW)


def ended_by_others(attempt: Attempt) -> bool:
    """Somebody else aborted or reverted our migration: a person's will, not a failure to be tried again."""
    return not attempt.open and attempt.state in ("Cancelled", "Reverted") and attempt.stop_reason is None


def end(scope: MigrationScope, attempt: Attempt, state: str, message: str | None) -> None:
    """Close the attempt; the steps that follow in the same pass decide what comes next."""
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
