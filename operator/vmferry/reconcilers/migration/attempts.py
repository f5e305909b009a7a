"""Following one attempt: from the written intent to Nova's last word on it.

Nova's records are the truth (I2). A record is ours when it is of the right type, from the right host, by our user,
and newer than the newest one that Nova had when the intent was written (I3); ids ascend, so no clocks are compared.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from vmferry.cloud.actions import AbortMigration, ConfirmResize, ForceComplete
from vmferry.cloud.model import NOVA_TYPE, Detail, Migration, MigrationStage, ResolvedType, Server, Snapshot
from vmferry.planning.storage_class import storage_class
from vmferry.policy import Policy
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.stuck import left_over
from vmferry.reconcilers.conditions import NOT_NOW, READY
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.failures import failed_in_nova
from vmferry.reconcilers.migration.scope import MigrationDecision, Scope
from vmferry.reconcilers.nova_explanation import asked_as, nova_words
from vmferry.resources.base import clip, format_time
from vmferry.resources.vmmigration import Attempt, AttemptFailure, ProgressView, VMMigration
from vmferry.resources.words import OnTimeout, Phase, StorageClass

#: states of an attempt that are ours; all others are Nova's status words
REQUESTED = "Requested"
REFUSED = "Refused"
NOT_SENT = "NotSent"
SERVER_GONE = "ServerGone"

#: why we asked a running migration to stop
DELETED = "Deleted"
TIMED_OUT = "TimedOut"

#: reason of a running migration whose resource is deleted, and which is not aborted
RUNS_TO_COMPLETION = "RunsToCompletion"

#: Nova's action names (`os-instance-actions`)
ACTION_NAME = {
    ResolvedType.LIVE: "live-migration",
    ResolvedType.COLD: "migrate",
    ResolvedType.EVACUATE: "evacuate",
}

#: what the server must look like at the target (I5)
_ARRIVED = {
    ResolvedType.LIVE: ("active", "paused"),
    ResolvedType.COLD: ("active", "stopped"),
    ResolvedType.EVACUATE: ("active", "stopped"),
}

_POLL = timedelta(seconds=2)
_ASK_AGAIN = timedelta(seconds=60)
#: of all reads of progress together, what one takes up: ten a second
_PROGRESS_SHARE = timedelta(seconds=0.1)
#: a server in ERROR for which an attempt is blamed that had ended so long ago at most
_TURNS = timedelta(minutes=5)
#: a cloud's clock and ours may differ by this much where times have to be compared
_SKEW = timedelta(seconds=60)


def succeeded(attempt: Attempt) -> bool:
    return not attempt.open and attempt.state in ("completed", "confirmed", "done")


def counts(attempt: Attempt) -> bool:
    """Whether it used up one of the allowed attempts: a request that Nova never acted on did not (I40)."""
    return attempt.state not in (NOT_SENT, NOT_NOW)


def ended_by_others(attempt: Attempt) -> bool:
    """Somebody else aborted or reverted our migration: a person's will, not a failure to be tried again."""
    return not attempt.open and attempt.state in ("cancelled", "reverted") and attempt.stop_reason is None


def deadline(attempt: Attempt, server: Server | None, scope: Scope) -> datetime:
    """When the attempt counts as stuck; by default it grows with the bytes to copy. Nova's own queue does not count."""
    return _deadline(attempt, server, scope.spec.timeout, scope.policy, scope.snapshot)


def is_past_deadline(obj: VMMigration, snapshot: Snapshot, policy: Policy, now: datetime) -> bool:
    """Whether the open attempt of a VMMigration, if it has one, is past its deadline. While the migration waits in
    Nova's own queue it has no deadline."""
    attempt = obj.status.open_attempt
    if attempt is None:
        return False
    server_id = obj.status.server.id if obj.status.server is not None else None
    records = snapshot.migrations_by_server.get(server_id or "", ())
    if any(record.waits for record in records if record.uuid == attempt.migration_id):
        return False
    server = snapshot.servers.get(server_id or "")
    return now >= _deadline(attempt, server, obj.spec.timeout, policy, snapshot)


def _deadline(
    attempt: Attempt, server: Server | None, timeout: timedelta | None, policy: Policy, snapshot: Snapshot
) -> datetime:
    begun = attempt.running_since or attempt.started_at
    return begun + (timeout or default_timeout(attempt, server, policy, snapshot))


def default_timeout(attempt: Attempt, server: Server | None, policy: Policy, snapshot: Snapshot) -> timedelta:
    """By the attempt's own hosts: the server may be at the target already."""
    if server is None:
        return policy.timeout_base
    gib = server.flavor.memory_mb / 1024
    hosts = snapshot.hosts
    source, target = hosts.get(attempt.source_host), hosts.get(attempt.target_host)
    if storage_class(server, source, policy, target) not in (
        StorageClass.VOLUMES_ONLY,
        StorageClass.EPHEMERAL_SHARED,
    ):
        gib += server.local_disk_gb
    return policy.timeout_base + policy.timeout_per_gib * gib


def find_record(scope: Scope, attempt: Attempt) -> Migration | None:
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


def follow(scope: Scope) -> MigrationDecision | None:
    """One look at the open attempt. None: there is none, or it has just ended and its end is in the status."""
    attempt = scope.status.open_attempt
    if attempt is None:
        return None
    scope.see_server()
    record = find_record(scope, attempt)
    if record is None:
        return _without_record(scope, attempt)
    if attempt.migration_id is None:
        attempt.migration_id = record.uuid
        if record.stage is not MigrationStage.BAD:
            what = f"{attempt.type} migration {record.uuid} to {attempt.target_host}"
            scope.tell(EventReason.MIGRATION_STARTED, f"{what} is {record.status}{asked_as(attempt.request_id)}")
    attempt.state = clip(record.status, 64)
    if attempt.running_since is None and not record.waits:
        attempt.running_since = scope.now
    if record.target_host:
        attempt.target_host = record.target_host
        scope.status.target_host = record.target_host
    match record.stage:
        case MigrationStage.IN_FLIGHT:
            return _in_flight(scope, attempt, record)
        case MigrationStage.FINISHED:
            return _confirm(scope, attempt, record)
        case MigrationStage.GOOD:
            return _verify(scope, attempt, record)
        case MigrationStage.BAD:
            return _failed(scope, attempt, record)
        case MigrationStage.UNKNOWN:
            message = f"Nova says {record.status} of migration {record.uuid}, a word this operator does not know"
            scope.conditions.waiting_for_people("FactUnknown", message)
            return scope.decide(Phase.MIGRATING, requeue_after=_ASK_AGAIN)
        case MigrationStage.LEFTOVER:
            found = left_over(record)
            stuck(scope, f"{found.message}; {found.remedy}")
            return scope.decide(Phase.MIGRATING, requeue_after=_ASK_AGAIN)


def stuck(scope: Scope, message: str) -> None:
    """Report that it does not go on by itself (R47), with an Event the first time."""
    ready = scope.conditions.get(READY)
    if ready is None or ready.reason != Reason.NO_PROGRESS:
        scope.tell(EventReason.NO_PROGRESS, message, warning=True)
    scope.conditions.waiting_for_people(Reason.NO_PROGRESS, message)


def _without_record(scope: Scope, attempt: Attempt) -> MigrationDecision | None:
    """Nova shows no record of the attempt: unknown, neither failure nor success (I4)."""
    age = scope.now - attempt.started_at
    young = age < scope.policy.record_grace
    detail = scope.world.detail
    if attempt.request_id is not None and young and attempt.migration_id is None:
        # right after the 202 the row may be missing; the shared view will show it
        scope.conditions.progressing("Migrating", f"Nova took request {attempt.request_id}")
        return scope.decide(Phase.MIGRATING, requeue_after=_POLL)
    if detail is None or detail.actions is None:
        return scope.needs(actions=True, events_of=attempt.request_id)
    if detail.server is None:
        _end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
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
        message = f"Nova took the request: {witness.request_id}"
    elif witness is not None:
        if witness.message and detail.server.task_state is None and not young:
            words = nova_words(detail.actions, attempt.request_id, detail.server)
            in_error = detail.server.vm_state == "error"
            attempt.failure = failed_in_nova(attempt, words, in_error=in_error, server_name=detail.server.name)
            _end(scope, attempt, "failed", words)
            return None
        message = f"Nova took request {attempt.request_id} and shows no migration yet"
    elif not young and detail.server.task_state is None and attempt.migration_id is None:
        # three witnesses say that nothing was asked of Nova: no record, no action, no task
        _end(scope, attempt, NOT_SENT, "Nova has no trace of the request: it never got there")
        return None
    else:
        message = "it is being looked up whether Nova took the request"
    if scope.now >= deadline(attempt, scope.server, scope):
        scope.conditions.waiting_for_people("FactUnknown", f"{message}; see the server's instance actions")
    else:
        scope.conditions.progressing("Migrating", message)
    return scope.decide(Phase.MIGRATING, requeue_after=_POLL if young else _POLL * 5)


def _last_record_before(attempt: Attempt, detail: Detail) -> datetime | None:
    """When Nova recorded the last migration that was there before the attempt: an action older than that is not ours.
    Both times are the cloud's."""
    texts = [m.created_at for m in detail.migrations if m.id <= attempt.previous_migration_id and m.created_at]
    try:
        moments = [datetime.fromisoformat(text) for text in texts]
    except ValueError:
        return None
    return max((m if m.tzinfo else m.replace(tzinfo=UTC) for m in moments), default=None)


def _in_flight(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision:
    live = attempt.type is ResolvedType.LIVE
    if live and scope.wish_is_unread:
        return scope.needs_deletion()
    if record.waits and not (live and scope.withdrawn):
        return _waits_for_nova(scope, attempt, record)
    due = deadline(attempt, scope.server, scope)
    late = scope.now >= due and not record.waits
    if live and (scope.withdrawn or late):
        asked = attempt.stop_requested_at
        if asked is None or scope.now - asked >= _ASK_AGAIN:
            return _stop(scope, attempt, record)
    if live and record.status.startswith("running") and _progress_is_old(scope):
        if not scope.world.progress_read:
            return scope.needs_progress(record.id)
        _note_progress(scope)
    where = f"{attempt.source_host} to {attempt.target_host}"
    message = f"{attempt.type} from {where}: Nova's record is {record.status}"
    reason = "Aborting" if attempt.stop_requested_at else "Migrating"
    if scope.deleting and not (live and scope.withdrawn):
        reason = RUNS_TO_COMPLETION
        why = why_it_goes_on(scope) if live else "it cannot be aborted"
        message += f"; the resource is being deleted, but {why}: it runs to completion"
        _announce_completion(scope, why)
    elif scope.deleting:
        message += "; being aborted"
    if late:
        message += f"; over its deadline of {due:%Y-%m-%dT%H:%M:%SZ}"
    if late and scope.now - due >= scope.policy.stuck_after:
        stuck(scope, f"{message}; Nova does not end it: see nova-compute's log on both hosts")
    else:
        scope.conditions.progressing(reason, message)
    wait = _progress_pace(scope) if live else _POLL * 5
    if live and not late:
        wait = min(wait, due - scope.now)
    return scope.decide(Phase.MIGRATING, requeue_after=max(wait, timedelta(seconds=1)))


def why_it_goes_on(scope: Scope) -> str:
    """Why the deletion of this resource is no wish to cancel it."""
    deletion = scope.world.deletion
    if deletion is not None and deletion.namespace_terminating:
        return f"only because its namespace {scope.obj.metadata.namespace} is being deleted"
    if deletion is None or deletion.owner is None:
        return "its HostMaintenance is gone"
    return f"only because its HostMaintenance {deletion.owner.name} is being deleted"


def _announce_completion(scope: Scope, why: str) -> None:
    before = scope.conditions.get(READY)
    if before is None or before.reason != RUNS_TO_COMPLETION:
        scope.tell(EventReason.RUNS_TO_COMPLETION, f"the resource is being deleted, but {why}: it runs to completion")


def _waits_for_nova(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """Nova has not begun: no deadline counts, nothing is aborted, and no target is at fault. What lasts is reported."""
    since = f"since {format_time(attempt.started_at)}"
    message = (
        f"Nova has accepted the migration and has not started it: its record is {record.status}, asked for {since}"
    )
    if record.status == "queued":
        message += (
            f"; nova-compute on {attempt.source_host} runs other live migrations first (max_concurrent_live_migrations)"
        )
    reason = "Migrating"
    if scope.deleting:
        reason = RUNS_TO_COMPLETION
        why = why_it_goes_on(scope) if attempt.type is ResolvedType.LIVE else "it cannot be aborted"
        message += f"; the resource is being deleted, but {why}: it runs to completion"
        _announce_completion(scope, why)
    if scope.now - attempt.started_at >= scope.policy.stuck_after:
        remedy = f"check nova-compute on {attempt.source_host} and nova-conductor; deleting this object aborts it"
        scope.conditions.waiting_for_people("WaitingForNova", f"{message}; {remedy}")
    else:
        scope.conditions.progressing(reason, message)
    return scope.decide(Phase.MIGRATING, requeue_after=_POLL * 5)


def _stop(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """Abort, or force, our own live migration (I6, I9): what counts is what its record says afterwards."""
    force = not scope.withdrawn and scope.spec.on_timeout is OnTimeout.FORCE_COMPLETE and record.status == "running"
    attempt.stop_requested_at = scope.now
    if not force:
        attempt.stop_reason = DELETED if scope.withdrawn else TIMED_OUT
    why = "the resource is being deleted" if scope.withdrawn else "the attempt is over its deadline"
    what = "forcing completion of" if force else "aborting"
    reason = EventReason.FORCE_COMPLETE_REQUESTED if force else EventReason.ABORT_REQUESTED
    scope.tell(reason, f"{what} migration {record.uuid}: {why}")
    scope.conditions.progressing("Aborting" if not force else "Migrating", f"{what} the migration: {why}")
    assert scope.server_id is not None
    action = (ForceComplete if force else AbortMigration)(scope.server_id, record.id)
    return scope.decide(Phase.MIGRATING, action=action, requeue_after=_POLL)


def _progress_is_old(scope: Scope) -> bool:
    progress = scope.status.progress
    read_at = progress.updated_at if progress else None
    return read_at is None or scope.now - read_at >= _progress_pace(scope)


def _progress_pace(scope: Scope) -> timedelta:
    """Of each migration, so that hundreds at once neither keep the cloud nor Kubernetes busy with it."""
    return max(scope.policy.progress_every, _PROGRESS_SHARE * (1 + len(scope.world.moves)))


def _note_progress(scope: Scope) -> None:
    read = scope.world.progress
    if read is None:
        return
    scope.status.progress = ProgressView(
        percent=read.percent,
        total_bytes=max(0, read.memory_total_bytes) + max(0, read.disk_total_bytes),
        memory_remaining_bytes=max(0, read.memory_remaining_bytes),
        disk_remaining_bytes=max(0, read.disk_remaining_bytes),
        updated_at=scope.now,
    )


def _confirm(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision:
    """A cold migration waits in VERIFY_RESIZE; only our own is confirmed, and only a plain one (I7)."""
    same_flavor = record.old_flavor_id == record.new_flavor_id
    if record.type != NOVA_TYPE[ResolvedType.COLD] or not same_flavor:
        scope.conditions.waiting_for_people(
            "ResizePending", f"{record.type} {record.uuid} is not a plain cold migration"
        )
        return scope.decide(Phase.VERIFYING, requeue_after=_ASK_AGAIN)
    asked = attempt.confirm_requested_at
    message = f"the server is on {attempt.target_host}; its move is being confirmed"
    if scope.now - deadline(attempt, scope.server, scope) >= scope.policy.stuck_after:
        state = f"{scope.server.status}, task {scope.server.task_state}" if scope.server else "not listed"
        stuck(scope, f"{message}, and Nova does not end that: it is {state}")
    else:
        scope.conditions.progressing("Verifying", message)
    if asked is not None and scope.now - asked < _ASK_AGAIN:
        return scope.decide(Phase.VERIFYING, requeue_after=_POLL)
    if not scope.has_fresh_detail():
        return scope.needs()
    server = scope.server
    if server is None or server.vm_state != "resized" or server.task_state is not None:
        return scope.decide(Phase.VERIFYING, requeue_after=_POLL)
    attempt.confirm_requested_at = scope.now
    return scope.decide(Phase.VERIFYING, action=ConfirmResize(server.id), requeue_after=_POLL)


def _verify(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision | None:
    """Success is: our record is good, the server is at the target, idle, and in a fitting state (I5)."""
    server = scope.server
    arrived = (
        server is not None
        and server.host == record.target_host
        and server.task_state is None
        and server.vm_state in _ARRIVED[attempt.type]
    )
    if arrived:
        _end(scope, attempt, record.status, None)
        return None
    patience = max(deadline(attempt, server, scope), attempt.started_at + scope.policy.timeout_base)
    # the shared view shows the arrival within a poll or two; only then is the server asked for by itself
    waited = scope.status.phase is Phase.VERIFYING and scope.now - attempt.started_at >= _POLL * 5
    detail = scope.world.detail
    if waited and (detail is None or detail.actions is None or not scope.has_fresh_detail()):
        return scope.needs(actions=True)
    if scope.has_fresh_detail() and server is None:
        _end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
        return None
    if server is not None and detail is not None and _others_came_after(scope, record, server, detail):
        _end(scope, attempt, record.status, f"somebody else has changed the server since: it is {server.status}")
        return None
    found = f"it is on {server.host}, {server.status}, task {server.task_state}" if server else "it is not listed"
    message = f"Nova's record is {record.status}; waiting for the server at {record.target_host}: {found}"
    if scope.now >= patience:
        scope.conditions.waiting_for_people("FactUnknown", message)
    else:
        scope.conditions.progressing("Verifying", message)
    # its arrival wakes this object; until the next poll has had its time nothing else is to be learnt
    first = scope.status.phase is not Phase.VERIFYING
    return scope.decide(Phase.VERIFYING, requeue_after=_POLL * 3 if first else _POLL)


def _others_came_after(scope: Scope, record: Migration, server: Server, detail: Detail) -> bool:
    """Our record is good, and what was last asked of the server was asked by somebody else: that it is not as we would
    have left it is their will, and nothing that will pass. Nova lets nobody touch it before our move is over."""
    newest = detail.actions[0] if detail.actions else None
    theirs = newest is not None and newest.user_id not in (None, scope.snapshot.user_id)
    moved_on = any(other.id > record.id for other in detail.migrations)
    there = server.host == record.target_host or moved_on
    return theirs and there and server.task_state is None and server.vm_state not in ("error", "resized")


def _failed(scope: Scope, attempt: Attempt, record: Migration) -> MigrationDecision | None:
    detail = scope.world.detail
    if detail is None or detail.actions is None:
        return scope.needs(actions=True, events_of=attempt.request_id)
    server = detail.server
    if server is None:
        _end(scope, attempt, SERVER_GONE, "the server was deleted while it was being moved")
        return None
    settling = server.task_state is not None and server.vm_state != "error"
    if settling and scope.now < deadline(attempt, server, scope) + scope.policy.timeout_base:
        scope.conditions.progressing("Verifying", f"Nova's record is {record.status}; it is still {server.task_state}")
        return scope.decide(Phase.VERIFYING, requeue_after=_POLL)
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
    _end(scope, attempt, record.status, words)
    return None


def note_late_error(scope: Scope) -> None:
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


def _end(scope: Scope, attempt: Attempt, state: str, message: str | None) -> None:
    """Close the attempt; the steps that follow in the same pass decide what comes next."""
    attempt.state = clip(state, 64)
    attempt.ended_at = scope.now
    attempt.message = clip(message, 2048) if message else None
    if not succeeded(attempt):
        scope.status.progress = None
        scope.tell(
            EventReason.ATTEMPT_FAILED,
            f"attempt {attempt.number} to {attempt.target_host} ended {attempt.state}: {message}",
            warning=True,
        )
