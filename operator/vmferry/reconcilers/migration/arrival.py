"""After Nova has finished: confirm a cold migration, verify the arrival, explain a failure."""

from __future__ import annotations

from vmferry.cloud.actions import ConfirmResize
from vmferry.cloud.model import NOVA_TYPE, Detail, Migration, ResolvedType, Server
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.migration.attempts import DELETED, SERVER_GONE, TIMED_OUT, end, ended_by_others
from vmferry.reconcilers.migration.deadline import deadline
from vmferry.reconcilers.migration.failures import failed_in_nova
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import ASK_AGAIN, POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.nova_explanation import nova_words
from vmferry.reconcilers.reads import ReadServer
from vmferry.resources.vmmigration import Attempt
from vmferry.resources.words import Phase

#: the vm_states in which a server may be at its target (I5)
_ARRIVED = {
    ResolvedType.LIVE: ("active", "paused"),
    ResolvedType.COLD: ("active", "stopped"),
    ResolvedType.EVACUATE: ("active", "stopped"),
}


def confirm(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """Confirm a cold migration in VERIFY_RESIZE: only the operator's own, and only without a flavor change (I7)."""
    same_flavor = record.old_flavor_id == record.new_flavor_id
    if record.type != NOVA_TYPE[ResolvedType.COLD] or not same_flavor:
        scope.stalled(Reason.RESIZE_PENDING, f"{record.type} {record.uuid} is not a plain cold migration")
        return scope.decide(Phase.VERIFYING, requeue_after=ASK_AGAIN)
    asked = attempt.confirm_requested_at
    message = f"the server is on {attempt.target_host}; its move is being confirmed"
    if scope.now - deadline(attempt, scope.server, scope) >= scope.policy.stuck_after:
        state = f"{scope.server.status}, task {scope.server.task_state}" if scope.server else "not listed"
        scope.report_no_progress(f"{message}, and Nova does not end that: it is {state}")
    else:
        scope.progressing(MigrationReason.VERIFYING, message)
    if asked is not None and scope.now - asked < ASK_AGAIN:
        return scope.decide(Phase.VERIFYING, requeue_after=POLL)
    if not scope.has_fresh_detail():
        return scope.needs()
    server = scope.server
    if server is None or server.vm_state != "resized" or server.task_state is not None:
        return scope.decide(Phase.VERIFYING, requeue_after=POLL)
    attempt.confirm_requested_at = scope.now
    return scope.decide(Phase.VERIFYING, action=ConfirmResize(server.id), requeue_after=POLL)


def verify(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision | None:
    """Verify success: the record is good, and the server is at the target, idle, and in an expected state (I5)."""
    server = scope.server
    arrived = (
        server is not None
        and server.host == record.target_host
        and server.task_state is None
        and server.vm_state in _ARRIVED[attempt.type]
    )
    if arrived:
        end(scope, attempt, record.status, None)
        return None
    patience = max(deadline(attempt, server, scope), attempt.started_at + scope.policy.timeout_base)
    # the shared view shows the arrival within a poll or two; the server is read separately only after that
    waited = scope.status.phase is Phase.VERIFYING and scope.now - attempt.started_at >= POLL * 5
    detail = scope.world.answer(ReadServer)
    if waited and (detail is None or detail.actions is None or not scope.has_fresh_detail()):
        return scope.needs(actions=True)
    if scope.has_fresh_detail() and server is None:
        end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
        return None
    if server is not None and detail is not None and _others_came_after(scope, record, server, detail):
        end(scope, attempt, record.status, f"somebody else has changed the server since: it is {server.status}")
        return None
    found = f"it is on {server.host}, {server.status}, task {server.task_state}" if server else "it is not listed"
    message = f"Nova's record is {record.status}; waiting for the server at {record.target_host}: {found}"
    if scope.now >= patience:
        scope.stalled(Reason.FACT_UNKNOWN, message)
    else:
        scope.progressing(MigrationReason.VERIFYING, message)
    # the arrival triggers a reconcile; before the next poll completes there is nothing new to read
    first = scope.status.phase is not Phase.VERIFYING
    return scope.decide(Phase.VERIFYING, requeue_after=POLL * 3 if first else POLL)


def _others_came_after(scope: MigrationScope, record: Migration, server: Server, detail: Detail) -> bool:
    """Whether another user changed the server after the operator's move succeeded, so its state will not become the
    expected one. Nova does not let anyone act on the server before the move has finished."""
    newest = detail.actions[0] if detail.actions else None
    theirs = newest is not None and newest.user_id not in (None, scope.snapshot.user_id)
    moved_on = any(other.id > record.id for other in detail.migrations)
    there = server.host == record.target_host or moved_on
    return theirs and there and server.task_state is None and server.vm_state not in ("error", "resized")


def failed(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision | None:
    detail = scope.world.answer(ReadServer)
    if detail is None or detail.actions is None:
        return scope.needs(actions=True, events_of=attempt.request_id)
    server = detail.server
    if server is None:
        end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
        return None
    settling = server.task_state is not None and server.vm_state != "error"
    if settling and scope.now < deadline(attempt, server, scope) + scope.policy.timeout_base:
        scope.progressing(
            MigrationReason.VERIFYING, f"Nova's record is {record.status}; it is still {server.task_state}"
        )
        return scope.decide(Phase.VERIFYING, requeue_after=POLL)
    by_nova: str | None = None
    if attempt.stop_reason == TIMED_OUT:
        words = "aborted: it was over its deadline"
    elif attempt.stop_reason == DELETED:
        words = "aborted: the resource was deleted"
    elif ended_by_others(attempt.model_copy(update={"ended_at": scope.now})):
        words = f"{record.status} by somebody else"
    else:
        words = by_nova = nova_words(detail.actions, attempt.request_id, server)
    in_error = server.vm_state == "error"
    attempt.failure = failed_in_nova(attempt, by_nova, in_error=in_error, server_name=server.name)
    if in_error:
        words += f"; the server is in ERROR on {server.host}"
    end(scope, attempt, record.status, words)
    return None
