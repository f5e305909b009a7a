"""Following one attempt from the written intent to the final status of Nova's migration record.

Nova's records are the truth (I2). A record belongs to an attempt if it has the attempt's type and source host, was
created by the operator's user, and has a higher id than every record that existed when the intent was written (I3).
Ids ascend, so no clocks are compared.
"""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.model import NOVA_TYPE, Migration, MigrationStage, ResolvedType
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.stuck import left_over
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.arrival import confirm, failed, verify
from vmferry.reconcilers.migration.attempts import REFUSED, SERVER_GONE, counts, succeeded
from vmferry.reconcilers.migration.running import in_flight
from vmferry.reconcilers.migration.scope import ASK_AGAIN, MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.unrecorded import without_record
from vmferry.reconcilers.nova_explanation import asked_as
from vmferry.resources.base import clip
from vmferry.resources.vmmigration import Attempt, AttemptFailure, attempt_state
from vmferry.resources.words import Phase


def find_record(scope: MigrationScope, attempt: Attempt) -> Migration | None:
    """Nova's record of the attempt: by the UUID that the status already has, or else the first matching new record."""
    assert scope.server_id is not None
    records = scope.snapshot.migrations_by_server.get(scope.server_id, ())
    if attempt.migration_id is not None:
        return next((m for m in records if m.uuid == attempt.migration_id), None)
    ours = [
        m
        for m in records
        if m.id > attempt.previous_migration_id
        and m.type == NOVA_TYPE[attempt.type]
        and m.source_host in (attempt.source_host, None)
        and (m.user_id is None or scope.snapshot.user_id is None or m.user_id == scope.snapshot.user_id)
    ]
    return min(ours, key=lambda m: m.id, default=None)


def follow(scope: MigrationScope) -> MigrationDecision | None:
    """Check the open attempt. None: no attempt is open, or it has just ended and the status records its result."""
    attempt = scope.status.open_attempt
    if attempt is None:
        return None
    scope.see_server()
    record = find_record(scope, attempt)
    if record is None:
        return without_record(scope, attempt)
    if attempt.migration_id is None:
        attempt.migration_id = record.uuid
        if record.stage is not MigrationStage.BAD:
            what = f"{attempt.type} migration {record.uuid} to {attempt.target_host}"
            scope.event(EventReason.MIGRATION_STARTED, f"{what} is {record.status}{asked_as(attempt.request_id)}")
    attempt.state = clip(attempt_state(record.status), 64)
    if attempt.running_since is None and not record.waits:
        attempt.running_since = scope.now
    if record.target_host:
        attempt.target_host = record.target_host
        scope.status.target_host = record.target_host
    match record.stage:
        case MigrationStage.IN_FLIGHT:
            return in_flight(scope, attempt, record)
        case MigrationStage.FINISHED:
            return confirm(scope, attempt, record)
        case MigrationStage.GOOD:
            return verify(scope, attempt, record)
        case MigrationStage.BAD:
            return failed(scope, attempt, record)
        case MigrationStage.UNKNOWN:
            message = f"migration {record.uuid} has the status {record.status}, which this operator does not know"
            scope.stalled(Reason.FACT_UNKNOWN, message)
            return scope.decide(Phase.MIGRATING, requeue_after=ASK_AGAIN)
        case MigrationStage.LEFTOVER:
            found = left_over(record)
            scope.report_no_progress(f"{found.message}; {found.remedy}")
            return scope.decide(Phase.MIGRATING, requeue_after=ASK_AGAIN)


#: an attempt is held responsible for a server in ERROR if it ended at most this long ago
_TURNS = timedelta(minutes=5)


def note_late_error(scope: MigrationScope) -> None:
    """Record that the last attempt left its server in ERROR: Nova may set it some seconds after closing the record."""
    attempt = scope.status.attempts[-1] if scope.status.attempts else None
    server = scope.server
    if attempt is None or attempt.ended_at is None or server is None or server.vm_state != "error":
        return
    of_nova = counts(attempt) and attempt.state not in (REFUSED, SERVER_GONE)
    of_nova = of_nova and attempt.type is not ResolvedType.EVACUATE
    late = attempt.failure is None or not attempt.failure.left_in_error
    if of_nova and late and not succeeded(attempt) and scope.now - attempt.ended_at <= _TURNS:
        attempt.failure = attempt.failure or AttemptFailure()
        attempt.failure.left_in_error = True
