"""Following one attempt: from the written intent to Nova's last word on it.

Nova's records are the truth (I2). A record is ours when it is of the right type, from the right host, by our user,
and newer than the newest one that Nova had when the intent was written (I3); ids ascend, so no clocks are compared.
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
    """Nova's record of the attempt, adopted by its UUID or recognised for the first time."""
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
    """One look at the open attempt. None: there is none, or it has just ended and its end is in the status."""
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


#: a server in ERROR for which an attempt is blamed that had ended so long ago at most
_TURNS = timedelta(minutes=5)


def note_late_error(scope: MigrationScope) -> None:
    """Nova may mark a server ERROR some seconds after it has ended the record: it was the attempt that left it so."""
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
