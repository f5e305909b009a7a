"""An attempt in flight: its progress, its deadline, and whether it is aborted."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.actions import AbortMigration, ForceComplete
from vmferry.cloud.model import Migration, ResolvedType
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attempts import DELETED, TIMED_OUT
from vmferry.reconcilers.migration.deadline import deadline
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.scope import ASK_AGAIN, POLL, MigrationDecision, MigrationScope
from vmferry.reconcilers.reads import ReadCopyProgress, ReadDeletion
from vmferry.resources.base import format_time
from vmferry.resources.vmmigration import Attempt, ProgressView
from vmferry.resources.words import OnTimeout, Phase

#: budget of one progress read: at most ten reads a second over all migrations
_PROGRESS_SHARE = timedelta(seconds=0.1)


def in_flight(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision:
    live = attempt.type is ResolvedType.LIVE
    if live and scope.wish_is_unread:
        return scope.needs_deletion()
    if record.waits and not (live and scope.withdrawn):
        return _waits_for_nova(scope, attempt, record)
    due = deadline(attempt, scope.server, scope)
    late = scope.now >= due and not record.waits
    if live and (scope.withdrawn or late):
        asked = attempt.stop_requested_at
        if asked is None or scope.now - asked >= ASK_AGAIN:
            return _abort_or_force(scope, attempt, record)
    if live and record.status.startswith("running") and _progress_is_old(scope):
        if scope.world.answer(ReadCopyProgress) is None:
            return scope.needs_progress(record.id)
        _note_progress(scope)
    where = f"{attempt.source_host} to {attempt.target_host}"
    message = f"{attempt.type} from {where}: Nova's record is {record.status}"
    reason = MigrationReason.ABORTING if attempt.stop_requested_at else MigrationReason.MIGRATING
    if scope.deleting and not (live and scope.withdrawn):
        reason = MigrationReason.RUNS_TO_COMPLETION
        why = why_it_goes_on(scope) if live else "it cannot be aborted"
        message += f"; the resource is being deleted, but {why}: it runs to completion"
        _announce_completion(scope, why)
    elif scope.deleting:
        message += "; being aborted"
    if late:
        message += f"; over its deadline of {due:%Y-%m-%dT%H:%M:%SZ}"
    if late and scope.now - due >= scope.policy.stuck_after:
        scope.report_no_progress(f"{message}; Nova does not end it: see nova-compute's log on both hosts")
    else:
        scope.progressing(reason, message)
    wait = _progress_pace(scope) if live else POLL * 5
    if live and not late:
        wait = min(wait, due - scope.now)
    return scope.decide(Phase.MIGRATING, requeue_after=max(wait, timedelta(seconds=1)))


def why_it_goes_on(scope: MigrationScope) -> str:
    """Why the deletion of this resource does not cancel the migration."""
    deletion = scope.world.answer(ReadDeletion)
    if deletion is not None and deletion.namespace_terminating:
        return f"only because its namespace {scope.obj.metadata.namespace} is being deleted"
    if deletion is None or deletion.owner is None:
        return "its HostMaintenance is gone"
    return f"only because its HostMaintenance {deletion.owner.name} is being deleted"


def _announce_completion(scope: MigrationScope, why: str) -> None:
    scope.event_once(EventReason.RUNS_TO_COMPLETION, f"the resource is being deleted, but {why}: it runs to completion")


def _waits_for_nova(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """Nova has not started the migration: no deadline applies, nothing is aborted, and no target is at fault.

    After `policy.stuckAfter` the migration is reported as stalled.
    """
    since = f"since {format_time(attempt.started_at)}"
    message = (
        f"Nova has accepted the migration and has not started it: its record is {record.status}, asked for {since}"
    )
    if record.status == "queued":
        message += (
            f"; nova-compute on {attempt.source_host} runs other live migrations first (max_concurrent_live_migrations)"
        )
    reason = MigrationReason.MIGRATING
    if scope.deleting:
        reason = MigrationReason.RUNS_TO_COMPLETION
        why = why_it_goes_on(scope) if attempt.type is ResolvedType.LIVE else "it cannot be aborted"
        message += f"; the resource is being deleted, but {why}: it runs to completion"
        _announce_completion(scope, why)
    if scope.now - attempt.started_at >= scope.policy.stuck_after:
        remedy = f"check nova-compute on {attempt.source_host} and nova-conductor; deleting this object aborts it"
        scope.stalled(MigrationReason.WAITING_FOR_NOVA, f"{message}; {remedy}")
    else:
        scope.progressing(reason, message)
    return scope.decide(Phase.MIGRATING, requeue_after=POLL * 5)


def _abort_or_force(scope: MigrationScope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """Abort the operator's own live migration, or force it to complete (I6, I9). Nova's record decides the result."""
    force = not scope.withdrawn and scope.spec.on_timeout is OnTimeout.FORCE_COMPLETE and record.status == "running"
    attempt.stop_requested_at = scope.now
    if not force:
        attempt.stop_reason = DELETED if scope.withdrawn else TIMED_OUT
    why = "the resource is being deleted" if scope.withdrawn else "the attempt is over its deadline"
    what = "forcing completion of" if force else "aborting"
    reason = EventReason.FORCE_COMPLETE_REQUESTED if force else EventReason.ABORT_REQUESTED
    scope.event(reason, f"{what} migration {record.uuid}: {why}")
    scope.progressing(
        MigrationReason.ABORTING if not force else MigrationReason.MIGRATING, f"{what} the migration: {why}"
    )
    assert scope.server_id is not None
    action = (ForceComplete if force else AbortMigration)(scope.server_id, record.id)
    return scope.decide(Phase.MIGRATING, action=action, requeue_after=POLL)


def _progress_is_old(scope: MigrationScope) -> bool:
    progress = scope.status.progress
    read_at = progress.updated_at if progress else None
    return read_at is None or scope.now - read_at >= _progress_pace(scope)


def _progress_pace(scope: MigrationScope) -> timedelta:
    """Interval between two progress reads of one migration. It grows with the number of moves, so that hundreds of them
    overload neither the cloud nor Kubernetes."""
    return max(scope.policy.progress_every, _PROGRESS_SHARE * (1 + len(scope.world.moves)))


def _note_progress(scope: MigrationScope) -> None:
    answer = scope.world.answer(ReadCopyProgress)
    read = answer.progress if answer is not None else None
    if read is None:
        return
    scope.status.progress = ProgressView(
        percent=read.percent,
        total_bytes=max(0, read.memory_total_bytes) + max(0, read.disk_total_bytes),
        memory_remaining_bytes=max(0, read.memory_remaining_bytes),
        disk_remaining_bytes=max(0, read.disk_remaining_bytes),
        updated_at=scope.now,
    )
