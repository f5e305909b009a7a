"""How a request finishes: its result, how long the object is kept, and when it is deleted."""

from __future__ import annotations

from datetime import timedelta

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers import gitops_owned
from vmferry.reconcilers.decision import Decision
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.migration.attempts import SERVER_GONE, TIMED_OUT, counts, ended_by_others, succeeded
from vmferry.reconcilers.migration.expiry import expired
from vmferry.reconcilers.migration.os_upgrade_moves import crossing_of
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.migration.restart import start_again
from vmferry.reconcilers.migration.scope import MigrationDecision, MigrationScope
from vmferry.reconcilers.migration.tries import attempts_used, counted_tries, describe_last_attempt, hosts_to_avoid
from vmferry.resources.documented import PassedOn, ReasonWord
from vmferry.resources.vmmigration import MAX_ATTEMPTS
from vmferry.resources.words import Phase


def finished(scope: MigrationScope) -> MigrationDecision | None:
    """A finished request only waits for its deletion after `ttlAfterFinished`."""
    done = scope.status.completed_at
    if done is None:
        return None
    phase = scope.status.phase or Phase.SUCCEEDED
    for condition in scope.status.conditions:
        condition.observed_generation = scope.obj.metadata.generation
    ttl = _ttl(scope)
    if scope.deleting or ttl is None:
        return scope.decide(phase)
    if crossing_of(scope.obj) is not None and (scope.server is not None or not scope.has_fresh_detail()):
        # this object is the only record that the server must not move back (R22), and only Nova can confirm that the
        # server is gone (I4)
        if scope.server is None:
            return scope.needs()
        return scope.decide(phase, requeue_after=ttl)
    if scope.world.breakers.rests_on(scope.obj.key, scope.now):
        # an open breaker counts this failure: deleting the object would lose it
        return scope.decide(phase, requeue_after=max(ttl, scope.policy.recheck))
    left = done + ttl - scope.now
    return scope.decide(phase, delete=left <= timedelta(0), requeue_after=max(left, timedelta(seconds=1)))


def fail_expired(scope: MigrationScope) -> MigrationDecision | None:
    why = expired(scope)
    return conclude(scope, Phase.FAILED, Reason.EXPIRED, why) if why is not None else None


def conclude_success(scope: MigrationScope) -> MigrationDecision | None:
    attempts = scope.status.attempts
    if not attempts or not succeeded(attempts[-1]):
        return None
    last = attempts[-1]
    scope.see_server()
    scope.status.target_host = last.target_host
    return conclude(
        scope,
        Phase.SUCCEEDED,
        MigrationReason.MIGRATION_SUCCEEDED,
        f"{last.type} from {last.source_host} to {last.target_host} is complete",
    )


def server_gone(scope: MigrationScope) -> MigrationDecision | None:
    attempts = scope.status.attempts
    if attempts and attempts[-1].state == SERVER_GONE:
        scope.status.graceful_stop = None
        return conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, attempts[-1].message or "the server is gone")
    return None


def cancelled(scope: MigrationScope) -> MigrationDecision | None:
    """Cancel a deleted request. Nothing is in flight, so the cause of the deletion does not matter."""
    if not scope.deleting:
        return None
    message = "the resource was deleted"
    if attempts_used(scope):
        message = f"{describe_last_attempt(scope)}; it is not tried again, for the resource was deleted"
    return conclude(scope, Phase.CANCELLED, MigrationReason.CANCELLED, message)


def fail_exhausted(scope: MigrationScope) -> MigrationDecision | None:
    """Fail when the attempts are used up (I23), or when a person aborted or reverted the migration."""
    attempts = scope.status.attempts
    if not attempts:
        return None
    last = attempts[-1]
    if ended_by_others(last):
        return conclude(scope, Phase.FAILED, Reason.CONFLICT, last.message or last.state)
    if counted_tries(scope) > scope.spec.retries or len(attempts) >= MAX_ATTEMPTS or not _may_try_again(scope):
        return conclude_tried(scope)
    return None


def _may_try_again(scope: MigrationScope) -> bool:
    """No retry if the requested target has failed already, or if the last attempt left the server in ERROR."""
    wanted = scope.spec.target
    host = scope.snapshot.find_host(wanted.host) if wanted else None
    if host is not None and host.name in hosts_to_avoid(scope):
        return False
    last = scope.status.attempts[-1]
    broken = scope.server is not None and scope.server.vm_state == "error"
    return not (broken and counts(last) and last.type is not ResolvedType.EVACUATE)


_ENDS = {Phase.SUCCEEDED: EventReason.SUCCEEDED, Phase.CANCELLED: EventReason.CANCELLED}


def conclude(scope: MigrationScope, phase: Phase, reason: ReasonWord, message: str) -> MigrationDecision:
    """Finish the request with this phase and reason; a server that was shut down for it is started first."""
    owed = start_again(scope)
    if isinstance(owed, Decision):
        return owed
    if owed is not None:
        phase, reason, message = Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, f"{message}; but {owed}"
    scope.status.graceful_stop = None
    scope.status.completed_at = scope.now
    if scope.conditions.get(c.PREREQUISITES_MET) is None:
        scope.conditions.set(c.PREREQUISITES_MET, None, reason, message)
    good = phase is Phase.SUCCEEDED
    (scope.ready if good else scope.failed)(reason, message)
    if good and scope.status.progress is not None:
        scope.status.progress.percent = 100
        scope.status.progress.memory_remaining_bytes = scope.status.progress.disk_remaining_bytes = 0
    if phase is not Phase.CANCELLED or scope.started:
        reason_told = EventReason.EXPIRED if reason == Reason.EXPIRED else _ENDS.get(phase, EventReason.FAILED)
        scope.event(reason_told, message, warning=not good)
    ttl = _ttl(scope)
    return scope.decide(phase, requeue_after=None if ttl is None else max(ttl, timedelta(seconds=1)))


def conclude_tried(scope: MigrationScope) -> MigrationDecision:
    """Fail with the result of the last attempt."""
    last = scope.status.attempts[-1]
    reason = MigrationReason.TIMED_OUT if last.stop_reason == TIMED_OUT else Reason.CLOUD_REFUSED
    return conclude(scope, Phase.FAILED, reason, describe_last_attempt(scope))


def _ttl(scope: MigrationScope) -> timedelta | None:
    """How long to keep the finished object; None: no limit.

    A HostMaintenance counts its moves and plans their return by its VMMigrations, so these are deleted with it.
    """
    metadata = scope.obj.metadata
    if gitops_owned.owner_of(metadata) is not None:
        return None
    stays = scope.owned_by_maintenance or gitops_owned.applied(metadata)
    own = scope.spec.ttl_after_finished
    # 0s is a value too: delete at once
    return own if own is not None or stays else scope.policy.ttl_after_finished


def explain_kept_object(scope: MigrationScope) -> None:
    """Explain in Ready why `ttlAfterFinished` is not applied."""
    succeeded, ready = scope.conditions.get(c.SUCCEEDED), scope.conditions.get(c.READY)
    if scope.status.completed_at is None or succeeded is None or ready is None:
        return
    message = succeeded.message
    who = gitops_owned.owner_of(scope.obj.metadata)
    if who is not None and scope.spec.ttl_after_finished is not None:
        message += (
            f"; not deleted after its ttlAfterFinished: {who} would create it again, and it would run again; "
            "take it out of the repository instead"
        )
    scope.conditions.set(c.READY, {"True": True, "False": False}.get(ready.status), PassedOn(ready.reason), message)
