"""An attempt without a migration record in Nova: neither a failure nor a success (I4)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmferry.cloud.model import Detail, ResolvedType
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.migration.attempts import NOT_SENT, SERVER_GONE, end
from vmferry.reconcilers.migration.deadline import deadline
from vmferry.reconcilers.migration.failures import failed_in_nova
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.nova_explanation import nova_words
from vmferry.reconcilers.reads import ReadServer
from vmferry.resources.vmmigration import Attempt
from vmferry.resources.words import Phase

#: Nova's action names (`os-instance-actions`)
ACTION_NAME = {
    ResolvedType.LIVE: "live-migration",
    ResolvedType.COLD: "migrate",
    ResolvedType.EVACUATE: "evacuate",
}

#: maximum difference between the cloud's clock and the operator's where their times are compared
_SKEW = timedelta(seconds=60)


def without_record(scope: MigrationScope, attempt: Attempt) -> MigrationDecision | None:
    """Follow an attempt without a record: its result is unknown until Nova's instance actions show it (I4)."""
    age = scope.now - attempt.started_at
    young = age < scope.policy.record_grace
    detail = scope.world.answer(ReadServer)
    if attempt.request_id is not None and young and attempt.migration_id is None:
        # right after the 202 response the record may be missing; the shared view will show it
        scope.progressing(MigrationReason.MIGRATING, f"Nova accepted request {attempt.request_id}")
        return scope.decide(Phase.MIGRATING, requeue_after=POLL)
    if detail is None or detail.actions is None:
        return scope.needs(actions=True, events_of=attempt.request_id)
    if detail.server is None:
        end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
        return None
    theirs = {a.request_id for a in scope.status.attempts if a is not attempt}
    before = _last_record_before(attempt, detail)
    witness = next(
        (
            a
            for a in detail.actions
            if (a.request_id == attempt.request_id)
            or (
                attempt.request_id is None
                and a.action == ACTION_NAME[attempt.type]
                and a.request_id not in theirs
                and (a.user_id is None or a.user_id == scope.snapshot.user_id)
                and (a.started_at is None or a.started_at >= attempt.started_at - _SKEW)
                and (a.started_at is None or before is None or a.started_at > before)
            )
        ),
        None,
    )
    if witness is not None and attempt.request_id is None:
        attempt.request_id = witness.request_id
        message = f"Nova accepted the request: {witness.request_id}"
    elif witness is not None:
        if witness.message and detail.server.task_state is None and not young:
            words = nova_words(detail.actions, attempt.request_id, detail.server)
            in_error = detail.server.vm_state == "error"
            attempt.failure = failed_in_nova(attempt, words, in_error=in_error, server_name=detail.server.name)
            end(scope, attempt, "failed", words)
            return None
        message = f"Nova accepted request {attempt.request_id} and shows no migration yet"
    elif not young and detail.server.task_state is None and attempt.migration_id is None:
        # three sources show that Nova received no request: no record, no action, no task
        end(scope, attempt, NOT_SENT, "Nova has no record of the request: it never arrived")
        return None
    else:
        message = "checking whether Nova accepted the request"
    if scope.now >= deadline(attempt, scope.server, scope):
        scope.stalled(Reason.FACT_UNKNOWN, f"{message}; see the server's instance actions")
    else:
        scope.progressing(MigrationReason.MIGRATING, message)
    return scope.decide(Phase.MIGRATING, requeue_after=POLL if young else POLL * 5)


def _last_record_before(attempt: Attempt, detail: Detail) -> datetime | None:
    """When Nova recorded the last migration before the attempt; an older action is not the attempt's.

    Both times are from the cloud's clock.
    """
    texts = [m.created_at for m in detail.migrations if m.id <= attempt.previous_migration_id and m.created_at]
    try:
        moments = [datetime.fromisoformat(text) for text in texts]
    except ValueError:
        return None
    return max((m if m.tzinfo else m.replace(tzinfo=UTC) for m in moments), default=None)
