"""VMMigration: the state machine of one move.

`plan` looks at the object and the world and says what to do; `settle` writes down what came of an action. A pass is
the list of steps in `STEPS`, each of which may end it. Nothing is remembered between passes but the status.

    Pending -> Checking -> Blocked | Queued -> Migrating -> Verifying -> Succeeded | Failed | Cancelled
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
from vmferry.cloud.model import ResolvedType, Server
from vmferry.planning.breaker import Hold
from vmferry.planning.choose_type import Choice
from vmferry.planning.limits import describe, full, holders, limited
from vmferry.planning.request import Request
from vmferry.planning.storage_class import storage_class
from vmferry.planning.targets import Assessment, assess, blocked
from vmferry.policy import Policy
from vmferry.prerequisites import host_facts
from vmferry.prerequisites.check import PlannedMove
from vmferry.prerequisites.enums import Reason
from vmferry.prerequisites.moves import Moves
from vmferry.prerequisites.stuck import unchanged_since
from vmferry.reconcilers import conditions as c
from vmferry.reconcilers import gitops_owned
from vmferry.reconcilers.backoff import pause_after
from vmferry.reconcilers.conditions import NOT_NOW
from vmferry.reconcilers.decision import Decision, Event, EventType, World
from vmferry.reconcilers.event_reasons import EventReason
from vmferry.reconcilers.kill_switch import AWAITING_RESULT, BREAKER_OPEN, STOPPED
from vmferry.reconcilers.migration.attempts import (
    NOT_SENT,
    REFUSED,
    REQUESTED,
    SERVER_GONE,
    TIMED_OUT,
    counts,
    ended_by_others,
    follow,
    note_late_error,
    stuck,
    succeeded,
)
from vmferry.reconcilers.migration.attestation import attests_unseen, contradiction
from vmferry.reconcilers.migration.expiry import expired
from vmferry.reconcilers.migration.failures import refused
from vmferry.reconcilers.migration.os_upgrade_moves import between, crossing_of
from vmferry.reconcilers.migration.scope import MigrationDecision, Scope, planned_move
from vmferry.reconcilers.migration.verdicts import write_verdicts
from vmferry.reconcilers.nova_explanation import asked_as, no_valid_host
from vmferry.reconcilers.owned import MAINTENANCE
from vmferry.reconcilers.owners import Ownership
from vmferry.reconcilers.refused_writes import FINALIZER, WRITE_REFUSED
from vmferry.resources.base import clip, format_duration, format_time
from vmferry.resources.vmmigration import (
    MAX_ATTEMPTS,
    Attempt,
    GracefulStop,
    OSCrossing,
    VMMigration,
    VMMigrationStatus,
)
from vmferry.resources.words import MigrationType, Phase

__all__ = ["plan", "settle"]

#: more than the client ever waits for a cloud that asked to
_LONGEST_PAUSE = timedelta(minutes=6)
_POLL = timedelta(seconds=2)


def plan(obj: VMMigration, world: World, now: datetime, policy: Policy) -> MigrationDecision:
    """What to do about `obj` now. Pure: the same arguments give the same decision."""
    scope = Scope(obj, world, now, policy)
    note_late_error(scope)
    if scope.status.completed_at is None:
        scope.conditions.report_unverified(scope.snapshot)
    for step in STEPS:
        decision = step(scope)
        if decision is not None:
            return _not_off_for_good(scope, decision)
    raise AssertionError("the last step always decides")


# ---- the steps, in their order


def _finished(scope: Scope) -> MigrationDecision | None:
    """Over: nothing is done any more but the deletion after its time."""
    done = scope.status.completed_at
    if done is None:
        return None
    phase = scope.status.phase or Phase.SUCCEEDED
    for condition in scope.status.conditions:
        condition.observed_generation = scope.obj.metadata.generation
    ttl = _ttl(scope)
    _say_whether_it_stays(scope)
    if scope.deleting or ttl is None:
        return scope.decide(phase)
    if crossing_of(scope.obj) is not None and (scope.server is not None or not scope.has_fresh_detail()):
        # it is all that remembers that the server cannot return (R22); gone is only what Nova says is gone (I4)
        if scope.server is None:
            return scope.needs()
        return scope.decide(phase, requeue_after=ttl)
    if scope.world.breakers.rests_on(scope.obj.key, scope.now):
        # deleted, it would be as if it had not failed
        return scope.decide(phase, requeue_after=max(ttl, scope.policy.recheck))
    left = done + ttl - scope.now
    return scope.decide(phase, delete=left <= timedelta(0), requeue_after=max(left, timedelta(seconds=1)))


def _expired(scope: Scope) -> MigrationDecision | None:
    why = expired(scope)
    return _conclude(scope, Phase.FAILED, Reason.EXPIRED, why) if why is not None else None


def _stale_view(scope: Scope) -> MigrationDecision | None:
    """No decision on stale data: it is said, and the next fresh view goes on by itself."""
    age = scope.world.snapshot.age(scope.now)
    if age is not None and age <= scope.policy.max_view_age:
        return None
    if scope.deleting and not scope.owes:
        return None
    if age is None and scope.world.snapshot.trouble is None and scope.reported:
        # the first view is being read: nothing new to report
        return Decision(
            scope.obj.status,
            finalizer=scope.owes,
            requeue_after=_POLL,
            move=planned_move(scope.obj.status, scope.world.snapshot),
        )
    message = c.stale_view(scope.world.snapshot)
    if scope.conditions.get(c.PREREQUISITES_MET) is None:
        scope.conditions.set(c.PREREQUISITES_MET, None, "CloudViewStale", message)
    scope.conditions.progressing("CloudViewStale", message)
    return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=timedelta(seconds=5))


def _unread(scope: Scope) -> MigrationDecision | None:
    """The cloud fails while its last view still counts as fresh: a new resource says so at once."""
    if scope.world.unread is None or scope.reported or scope.owes:
        return None
    scope.conditions.progressing("CloudViewStale", c.unread(scope.world.unread))
    return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=timedelta(seconds=5))


def _succeeded(scope: Scope) -> MigrationDecision | None:
    attempts = scope.status.attempts
    if not attempts or not succeeded(attempts[-1]):
        return None
    last = attempts[-1]
    scope.see_server()
    scope.status.target_host = last.target_host
    return _conclude(
        scope,
        Phase.SUCCEEDED,
        "MigrationSucceeded",
        f"{last.type} from {last.source_host} to {last.target_host} is complete",
    )


def _server_gone(scope: Scope) -> MigrationDecision | None:
    attempts = scope.status.attempts
    if attempts and attempts[-1].state == SERVER_GONE:
        scope.status.graceful_stop = None
        return _conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, attempts[-1].message or "the server is gone")
    return None


def _cancelled(scope: Scope) -> MigrationDecision | None:
    """Nothing is in flight, so that nothing is lost, whoever has deleted it."""
    if not scope.deleting:
        return None
    message = "the resource was deleted"
    if _used(scope):
        message = f"{_last_words(scope)}; it is not tried again, for the resource was deleted"
    return _conclude(scope, Phase.CANCELLED, "Cancelled", message)


def _without_owner(scope: Scope) -> MigrationDecision | None:
    """What a HostMaintenance has created moves nothing without it, nor what only claims to be its own (I42)."""
    found = scope.ownership
    if found in (Ownership.NONE, Ownership.OWNED):
        return None
    name = scope.obj.metadata.labels.get(MAINTENANCE, "")
    named = f"HostMaintenance {name}" if name else "a HostMaintenance"
    if found is Ownership.OWNER_MISSING:
        message = f"it was created by {named}, which is not there any more: it moves nothing"
    else:
        message = f"it claims to belong to {named}, which has not created it: it moves nothing"
    if scope.status.graceful_stop is not None or scope.status.attempts:
        last = f"{_last_words(scope)}; " if scope.status.attempts else ""
        return _conclude(scope, Phase.FAILED, found, f"{last}{message}")
    remedy = "delete it, or create a VMMigration of your own for this server"
    _announce_block(scope, found, message)
    _forget_verdicts(scope)
    scope.conditions.waiting_for_people(found, f"{message}; {remedy}")
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def _finalizer_refused(scope: Scope) -> MigrationDecision | None:
    """Nothing is begun that a deletion of the object would leave half done."""
    found = next((one for one in scope.world.refusals if one.subject == FINALIZER), None)
    if found is None or scope.owes or scope.now - found.at >= scope.policy.recheck:
        return None
    message = f"Kubernetes refuses our finalizer on this object: {found.message}"
    ready = scope.conditions.get(c.READY)
    if ready is None or ready.reason != WRITE_REFUSED:
        scope.tell(EventReason.WRITE_REFUSED, message, warning=True)
    scope.conditions.waiting_for_people(WRITE_REFUSED, message)
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def _find_server(scope: Scope) -> MigrationDecision | None:
    """The server must be there; what is not listed is asked for by itself before it counts as unknown (I4)."""
    ref = scope.spec.server
    if scope.server_id is None or (not scope.started and ref.id is None):
        ambiguous = scope.snapshot.ambiguous_project(ref.project or "")
        if ambiguous is not None:
            return _not_found(scope, ambiguous)
    if scope.server_id is None:
        if len(scope.candidates) > 1:
            ids = ", ".join(sorted(s.id for s in scope.candidates)[:10])
            return _not_found(
                scope,
                f"{len(scope.candidates)} servers are named {ref.name} in {ref.project}; give one id of: {ids}",
            )
        known = scope.snapshot.names_are_known(ref.project or "")
        message = scope.snapshot.not_found(ref.name or "", ref.project or "")
        return _not_found(scope, message, Reason.SERVER_NOT_FOUND if known else Reason.FACT_UNKNOWN)
    if scope.server is None and scope.server_id in scope.snapshot.unreachable_servers:
        message = f"Nova cannot reach the cell of server {scope.server_id}: where and how it is, is unknown"
        _announce_block(scope, Reason.FACT_UNKNOWN, message)
        scope.conditions.waiting_for_people(Reason.FACT_UNKNOWN, message)
        return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)
    if scope.server is None:
        if not scope.has_fresh_detail():
            return scope.needs()
        if scope.started:
            scope.status.graceful_stop = None
            return _conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, "the server was deleted meanwhile")
        # Nova never gives an id to another server, so it cannot appear later
        return _conclude(scope, Phase.FAILED, Reason.SERVER_NOT_FOUND, f"the cloud has no server {scope.server_id}")
    scope.see_server()
    scope.status.source_host = scope.server.host
    return None


def _not_found(scope: Scope, message: str, reason: Reason = Reason.SERVER_NOT_FOUND) -> MigrationDecision:
    """A server of that name may still be created, so the request waits until it expires."""
    if attests_unseen(scope) and not scope.spec.preflight_only:
        message += ", so the request attests no host to be dead"
        return _conclude(scope, Phase.FAILED, reason, message)
    _announce_block(scope, reason, message)
    _forget_verdicts(scope)
    scope.conditions.waiting_for_people(reason, message)
    return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)


def _starting_again(scope: Scope) -> MigrationDecision | None:
    """A start that was begun because the move was held is completed before anything else is decided."""
    stop = scope.status.graceful_stop
    if stop is None or stop.start_requested_at is None:
        return None
    return _release_server(scope)


def _release_server(scope: Scope) -> MigrationDecision | None:
    """Start the server that we stopped for a move that may not start now; None: it runs, and nothing has begun."""
    owed = _start_again(scope)
    if isinstance(owed, Decision):
        return owed
    scope.status.graceful_stop = None
    if owed is not None:
        return _conclude(scope, Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, owed)
    return None


def _attested(scope: Scope) -> MigrationDecision | None:
    """An Evacuate is for the one host that it attests to be dead; what contradicts that ends it (I38)."""
    found = contradiction(scope)
    if not isinstance(found, str):
        return found
    message = f"{found}; once it is certain that the host is powered off, create another request"
    if scope.status.attempts:
        message = f"{_last_words(scope)}; {message}"
    return _conclude(scope, Phase.FAILED, Reason.HOST_NOT_FAILED, message)


def _giving_up(scope: Scope) -> MigrationDecision | None:
    """The move could not start in time after the server was stopped for it: the server is started again."""
    stop = scope.status.graceful_stop
    if stop is None or stop.reason is None:
        return None
    return _conclude(scope, Phase.FAILED, stop.reason, stop.message or stop.reason)


def _stopping(scope: Scope) -> MigrationDecision | None:
    """The graceful stop before a cold migration was asked for: wait for it, ask again if it got lost."""
    stop, server = scope.status.graceful_stop, scope.server
    assert server is not None
    if stop is not None and server.vm_state == "stopped":
        stop.stopped_at = stop.stopped_at or scope.now
    if stop is None or server.vm_state != "active" or _used(scope):
        return None
    waited = scope.now - stop.requested_at
    since = scope.now - (stop.asked_at or stop.requested_at)
    away = _away(scope, since)
    pause = scope.policy.record_grace
    if waited >= scope.policy.stop_timeout and not away and since >= pause and server.task_state is None:
        scope.status.graceful_stop = None
        return _conclude(scope, Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, "the server did not stop in time")
    scope.conditions.progressing("StoppingServer", "the server is being stopped gracefully")
    if server.task_state is None and since >= pause:
        if not scope.has_fresh_detail():
            return scope.needs()
        if scope.world.stopped.against(scope.snapshot, server.host) is not None or _hold(scope, server) is not None:
            # it runs and nothing stops it: nothing has begun
            scope.status.graceful_stop = None
            return None
        # stopping twice does no harm, waiting for a stop that was never asked for does
        stop.requested_at = scope.now if away else stop.requested_at
        stop.asked_at = scope.now
        return scope.decide(Phase.MIGRATING, action=StopServer(server.id), requeue_after=_POLL * 5)
    _at_it(scope, stop)
    if waited >= scope.policy.stop_timeout + scope.policy.stuck_after:
        stuck(scope, f"the server was to be stopped gracefully: Nova is still {server.task_state}")
    return scope.decide(Phase.MIGRATING, requeue_after=_POLL)


def _away(scope: Scope, since_asked: timedelta) -> bool:
    """Whether nobody has asked for so long that the operator was not there: its own absence is no server's failure."""
    return since_asked >= scope.policy.stop_timeout


def _at_it(scope: Scope, stop: GracefulStop) -> None:
    """The cloud takes its time, and the operator is there: written now and then, not each time."""
    since = scope.now - (stop.asked_at or scope.now)
    if since >= scope.policy.stop_timeout / 2 and not _away(scope, since):
        stop.asked_at = scope.now


def _given_up(scope: Scope) -> MigrationDecision | None:
    """Attempts are bounded (I23); a person who aborted ours is not fought."""
    attempts = scope.status.attempts
    if not attempts:
        return None
    last = attempts[-1]
    if ended_by_others(last):
        return _conclude(scope, Phase.FAILED, Reason.CONFLICT, last.message or last.state)
    if _tries(scope) > scope.spec.retries or len(attempts) >= MAX_ATTEMPTS or not _may_try_again(scope):
        return _conclude_tried(scope)
    return None


def _may_try_again(scope: Scope) -> bool:
    """Not on the only host that the request allows, and not with a server that our attempt left in ERROR."""
    wanted = scope.spec.target
    host = scope.snapshot.find_host(wanted.host) if wanted else None
    if host is not None and host.name in _avoid(scope):
        return False
    last = scope.status.attempts[-1]
    broken = scope.server is not None and scope.server.vm_state == "error"
    return not (broken and counts(last) and last.type is not ResolvedType.EVACUATE)


def _check(scope: Scope) -> MigrationDecision | None:
    """Every prerequisite, all at once; nothing moves while one of them is not met."""
    server = scope.server
    assert server is not None
    choice = _kind(scope, server)
    scope.status.type = choice.type
    scope.conditions.set(c.TYPE_RESOLVED, True, choice.reason, choice.message)
    scope.status.storage = storage_class(server, scope.source, scope.policy)
    if not scope.status.attempts and _request(scope).is_met(server, choice.type, scope.source):
        return _conclude(scope, Phase.SUCCEEDED, "AlreadyOnTarget", f"the server is on {server.host} already")

    found = _assess(scope, server, choice.type, _avoid(scope))
    if found.waits_for is not None and not scope.spec.preflight_only:
        return _wait_for_others(scope, found, found.waits_for)
    first = found.against[0] if found.against else None
    reason = (first.reason if first else None) or Reason.FACT_UNKNOWN
    unreachable = scope.doubt is not None and scope.doubt.unreachable
    if first and _is_news(scope, reason) and not scope.has_fresh_detail() and not unreachable:
        # the shared view may be some seconds old: nobody is refused for what was true then
        return scope.needs()
    write_verdicts(scope.status, found)
    if first:
        if _used(scope) and _only_tried_hosts_are_left(scope, server, choice.type):
            return _conclude_tried(scope)
        # a server that was stopped for a move that may not start does not stay off
        if scope.status.graceful_stop is not None and (decision := _release_server(scope)) is not None:
            return decision
        message = blocked(found.against)
        _announce_block(scope, reason, message)
        scope.conditions.waiting_for_people(reason, message)
        scope.status.target_host = None
        return scope.decide(Phase.BLOCKED, requeue_after=scope.policy.recheck)
    if found.target is None:
        return _conclude_tried(scope)
    scope.status.target_host = found.target
    scope.status.storage = storage_class(server, scope.source, scope.policy, scope.snapshot.hosts.get(found.target))
    message, best = f"the server can go to {found.target}", found.eligible[0].host
    if best != found.target:
        message += f" at once; to {best}, which ranks first, others go before it"
    scope.conditions.set(c.PREREQUISITES_MET, True, "AllPassed", message)
    return None


def _wait_for_others(scope: Scope, found: Assessment, target: str) -> MigrationDecision:
    """Nothing but other moves stands in the way: it takes its place in the queue, for the host that it will go to."""
    write_verdicts(scope.status, found)
    message = blocked(found.against)
    reason = next((f.reason for f in found.against if f.waits), found.against[0].reason) or Reason.FACT_UNKNOWN
    scope.status.target_host = target
    scope.conditions.set(c.PREREQUISITES_MET, False, reason, message)
    # what is held has no turn, and delays nobody
    if (held := _held(scope)) is not None:
        return held
    source = scope.server.host if scope.server else None
    if not _nothing_holds_it_alive(scope, message, source or "", target):
        scope.conditions.progressing("Queued", f"waits for its turn: {message}")
    return scope.decide(Phase.QUEUED, requeue_after=_POLL * 5)


def _preflight_only(scope: Scope) -> MigrationDecision | None:
    if not scope.spec.preflight_only:
        return None
    message = f"all prerequisites are met; the server can go to {scope.status.target_host}"
    scope.conditions.finished(True, "PreflightPassed", message)
    return scope.decide(Phase.SUCCEEDED, requeue_after=scope.policy.recheck)


def _paused(scope: Scope) -> MigrationDecision | None:
    if not scope.spec.paused:
        return None
    message = "spec.paused is true: nothing new is started"
    if scope.status.graceful_stop is not None:
        scope.conditions.waiting_for_people(Reason.PAUSED, message)
    else:
        scope.conditions.progressing(Reason.PAUSED, message)
    return scope.decide(Phase.PENDING, requeue_after=scope.policy.recheck)


def _stopped(scope: Scope) -> MigrationDecision | None:
    """The kill switch (I31) is told, and lifted it goes on by itself; the last word is asked for before the request."""
    server, target = scope.server, scope.status.target_host
    why = scope.world.stopped.against(scope.snapshot, server.host if server else None, target)
    if why is None:
        return None
    ready = scope.conditions.get(c.READY)
    if ready is None or ready.reason != STOPPED:
        scope.tell(EventReason.STOPPED, why)
    scope.conditions.progressing(STOPPED, why)
    return scope.decide(Phase.QUEUED, requeue_after=scope.policy.recheck)


def _held(scope: Scope) -> MigrationDecision | None:
    """The breaker (I37): what failed for others of this host by a common cause is not tried on every server."""
    server = scope.server
    assert server is not None
    hold = _hold(scope, server)
    if hold is None:
        return None
    stop = scope.status.graceful_stop
    if stop is not None and (decision := _release_server(scope)) is not None:
        return decision
    wait = scope.policy.recheck if hold.until is None else min(hold.until - scope.now, scope.policy.recheck)
    if hold.open:
        ready = scope.conditions.get(c.READY)
        if ready is None or ready.reason != BREAKER_OPEN:
            scope.tell(EventReason.BREAKER_OPEN, hold.message, warning=True)
        scope.conditions.progressing(BREAKER_OPEN, hold.message)
    else:
        scope.conditions.progressing(AWAITING_RESULT, hold.message)
        wait = _POLL * 5
    return scope.decide(Phase.QUEUED, requeue_after=max(wait, timedelta(seconds=1)))


def _hold(scope: Scope, server: Server) -> Hold | None:
    kind = scope.status.type
    if server.host is None or kind is None:
        return None
    return scope.world.breakers.against(server.host, kind, scope.now, scope.world.moves)


def _back_off(scope: Scope) -> MigrationDecision | None:
    """A pause before the next attempt, longer with each one."""
    attempts = scope.status.attempts
    if not attempts or attempts[-1].ended_at is None:
        return None
    if attempts[-1].state == NOT_NOW:
        return _not_now(scope, attempts[-1])
    due = attempts[-1].ended_at + pause_after(len(attempts), scope.policy)
    if scope.now >= due:
        return None
    scope.conditions.progressing("Retrying", f"{_last_words(scope)}; next attempt to {scope.status.target_host}")
    return scope.decide(Phase.PENDING, requeue_after=due - scope.now)


def _not_now(scope: Scope, attempt: Attempt) -> MigrationDecision | None:
    """The pause that the cloud asked for; one that is longer than any was written by a wrong clock."""
    assert attempt.ended_at is not None
    due = attempt.retry_at or attempt.ended_at
    if scope.now >= due or due - attempt.ended_at > _LONGEST_PAUSE:
        return None
    scope.conditions.progressing(NOT_NOW, f"{attempt.message}; the request is sent again at {due:%Y-%m-%dT%H:%M:%SZ}")
    return scope.decide(Phase.PENDING, requeue_after=due - scope.now)


def _queue(scope: Scope) -> MigrationDecision | None:
    """Within the limits, counted over everybody's migrations (I24)."""
    server, target = scope.server, scope.status.target_host
    assert server is not None and server.host is not None and target is not None
    why = full(server.host, target, scope.snapshot, _moves(scope), _earlier(scope), scope.policy.limits)
    if why is None:
        return None
    if not _nothing_holds_it_alive(scope, why, server.host, target):
        scope.conditions.progressing("Queued", f"waits for its turn: {why}")
    return scope.decide(Phase.QUEUED, requeue_after=_POLL * 5)


def _nothing_holds_it_alive(scope: Scope, why: str, source: str, target: str) -> bool:
    """Whether all that it waits for has not changed for so long that it will not: reported as stalled then."""
    snapshot, policy = scope.snapshot, scope.policy
    ends = () if why.startswith(limited("total", policy.limits.total)) else (source, target)
    ours = {
        move.server_id: move
        for move in scope.world.moves
        if not ends or not {move.source_host, move.target_host}.isdisjoint(ends)
    }
    theirs = [record for record in holders(snapshot, *ends) if record.server_id not in ours]
    now, servers, after = snapshot.cloud_time(scope.now), snapshot.servers, policy.stuck_after
    alive = any(scope.now < _overdue(move, policy) for move in ours.values()) or any(
        unchanged_since(servers.get(record.server_id), record, now, after) is None for record in theirs
    )
    if alive or not (ours or theirs):
        return False
    names = [describe(record, snapshot) for record in holders(snapshot, *ends)]
    stuck(scope, f"waits for its turn: {why}: {', '.join(names[:3]) or 'moves that do not go on'}")
    return True


def _overdue(move: PlannedMove, policy: Policy) -> datetime:
    """When a move of ours counts as one that does not end, by the default deadline of its server."""
    gib = move.needs.get("MEMORY_MB", 0) / 1024 + move.needs.get("DISK_GB", 0)
    return move.decided_at + policy.timeout_base + policy.timeout_per_gib * gib + policy.stuck_after


def _start(scope: Scope) -> MigrationDecision:
    """Re-check against a fresh read of the server, write the intent, ask Nova (I2, I3)."""
    server, target, kind = scope.server, scope.status.target_host, scope.status.type
    assert server is not None and server.host is not None and target is not None and kind is not None
    if not scope.has_fresh_detail():
        return scope.needs()
    scope.status.started_at = scope.status.started_at or scope.now
    scope.status.progress = None
    for breaker in scope.world.breakers.concerning(server.host, kind, scope.now):
        if scope.status.graceful_stop is None:
            scope.tell(EventReason.TRIAL_MOVE, f"trial move: {breaker.message()}")
    if kind is ResolvedType.COLD and server.vm_state == "active":
        scope.status.graceful_stop = GracefulStop(requested_at=scope.now, asked_at=scope.now)
        scope.tell(EventReason.STOPPING_SERVER, "stopping the server gracefully before its cold migration")
        scope.conditions.progressing("StoppingServer", "the server is being stopped gracefully")
        return scope.decide(Phase.MIGRATING, action=StopServer(server.id), requeue_after=_POLL)
    records = scope.snapshot.migrations_by_server.get(server.id, ())
    if scope.status.attempts and scope.status.attempts[-1].state == NOT_NOW:
        # the same attempt once more: a limit may last for hours
        scope.status.attempts.pop()
    attempt = Attempt(
        number=len(scope.status.attempts) + 1,
        type=kind,
        source_host=server.host,
        target_host=target,
        state=REQUESTED,
        previous_migration_id=max((m.id for m in records), default=0),
        started_at=scope.now,
        crossing=_crossing(scope, target),
    )
    scope.status.attempts.append(attempt)
    message = f"attempt {attempt.number}: {kind} from {server.host} to {target}"
    scope.tell(EventReason.MIGRATING, message)
    scope.conditions.progressing("Migrating", message)
    action: Action
    if kind is ResolvedType.LIVE:
        action = LiveMigrate(server.id, target)
    elif kind is ResolvedType.COLD:
        action = ColdMigrate(server.id, target)
    else:
        action = Evacuate(server.id, target, start=server.vm_state == "active")
    return scope.decide(Phase.MIGRATING, action=action, requeue_after=_POLL)


STEPS: tuple[Callable[[Scope], MigrationDecision | None], ...] = (
    _finished,
    _expired,
    _stale_view,
    _unread,
    follow,
    _succeeded,
    _server_gone,
    _cancelled,
    _without_owner,
    _finalizer_refused,
    _find_server,
    _attested,
    _giving_up,
    _given_up,
    _starting_again,
    _stopping,
    _check,
    _preflight_only,
    _paused,
    _stopped,
    _held,
    _back_off,
    _queue,
    _start,
)


# ---- what the steps share

#: reasons for which a move waits, and the reason for which it fails if that lasts while its server is off
_WAITS = {
    Reason.PAUSED: Reason.CONFLICT,
    "Queued": TIMED_OUT,
    "Retrying": Reason.CLOUD_REFUSED,
}


def _not_off_for_good(scope: Scope, decision: MigrationDecision) -> MigrationDecision:
    """A server that was stopped for its move waits for it no longer than `stopTimeout`: then it is started again."""
    stop, server, ready = scope.status.graceful_stop, scope.server, scope.conditions.get(c.READY)
    waits = decision.status is scope.status and scope.status.phase in (Phase.PENDING, Phase.BLOCKED, Phase.QUEUED)
    if not waits or stop is None or stop.stopped_at is None or ready is None or ready.reason == "CloudViewStale":
        return decision
    if server is None or server.vm_state != "stopped" or scope.status.open_attempt is not None:
        return decision
    ends = [a.ended_at for a in scope.status.attempts if a.ended_at is not None]
    since = max([stop.stopped_at, *ends])
    due = since + scope.policy.stop_timeout
    if scope.now < due:
        scope.conditions.add(
            f"the server is off for this move since {format_time(since)}; unless it starts before {format_time(due)}, "
            "the server is started again and this request fails"
        )
        wait = min(decision.requeue_after or _POLL, max(due - scope.now, timedelta(seconds=1)))
        return scope.decide(scope.status.phase or Phase.PENDING, requeue_after=wait)
    stop.reason = _WAITS.get(ready.reason, ready.reason)
    stop.message = clip(
        f"the move did not start within {format_duration(scope.policy.stop_timeout)} after the server was stopped for "
        f"it: {ready.message}",
        2048,
    )
    return _conclude(scope, Phase.FAILED, stop.reason, stop.message)


def _tries(scope: Scope) -> int:
    """Those that count against `retries`. A host of our own choice that Nova's scheduler refused uses up none: it is
    avoided from then on, and there are only so many hosts."""
    free = scope.spec.target is None
    return sum(counts(a) and not (free and no_valid_host(a.message)) for a in scope.status.attempts)


def _used(scope: Scope) -> int:
    return sum(counts(a) for a in scope.status.attempts)


def _crossing(scope: Scope, target: str) -> OSCrossing | None:
    there = scope.snapshot.find_host(target)
    if scope.source is None or there is None:
        return None
    here = host_facts.operating_system(scope.source, scope.policy)
    return between(here.value, host_facts.operating_system(there, scope.policy).value)


def _last_words(scope: Scope) -> str:
    last = scope.status.attempts[-1]
    return f"attempt {last.number} to {last.target_host} ended {last.state}: {last.message or 'no reason was given'}"


def _request(scope: Scope) -> Request:
    spec = scope.spec
    kept = scope.status.attestation
    # a preflight supposes that the host is dead
    here = scope.server.host if scope.server is not None and spec.preflight_only else None
    return Request(
        type=spec.type,
        target=spec.target.host if spec.target else None,
        stop_if_running=spec.stop_if_running,
        os_upgrade=spec.os_upgrade,
        attested=kept.host if kept is not None else here,
    )


def _kind(scope: Scope, server: Server) -> Choice:
    if scope.spec.type is MigrationType.AUTO and scope.status.graceful_stop is not None:
        return Choice(ResolvedType.COLD, "ServerStopped", "the server was stopped for its cold migration: Cold")
    return _request(scope).resolved_type(server, scope.source)


def _assess(scope: Scope, server: Server, kind: ResolvedType, avoid: frozenset[str] = frozenset()) -> Assessment:
    request = _request(scope)
    question = request.question(
        server,
        kind,
        scope.snapshot,
        scope.policy,
        scope.now,
        moves=_moves(scope),
        earlier=_earlier(scope),
        in_maintenance=scope.world.in_maintenance,
        os_upgrades=scope.world.os_upgrades,
        broken=scope.world.broken,
    )
    return assess(question, request.target, avoid, scope.world.assess_hosts)


def _moves(scope: Scope) -> tuple[PlannedMove, ...]:
    """What others have begun. Of those whose servers were stopped and are not on their way yet each counts the ones
    that were stopped before it: if all counted all, they would hold each other up for good."""
    stop = scope.status.graceful_stop
    if stop is None or not any(move.stopped for move in scope.world.moves):
        return scope.world.moves
    own = stop.requested_at, scope.server_id or ""
    return Moves(m for m in scope.world.moves if not m.stopped or (m.decided_at, m.server_id) < own)


def _earlier(scope: Scope) -> Sequence[PlannedMove]:
    """Those that go first. Whose server was stopped for its move has begun: all others count it and wait for it, so it
    waits for none of them."""
    return () if scope.status.graceful_stop is not None else scope.world.earlier


def _is_news(scope: Scope, reason: str) -> bool:
    """Whether the status does not say already that this stands in the way."""
    before = scope.conditions.get(c.PREREQUISITES_MET)
    return before is None or before.status != "False" or before.reason != reason


def _avoid(scope: Scope) -> frozenset[str]:
    """Hosts that an attempt failed on. A conflict (409) was not the host's fault."""
    return frozenset(
        a.target_host
        for a in scope.status.attempts
        if counts(a) and not succeeded(a) and not (a.state == REFUSED and (a.message or "").startswith("409"))
    )


def _only_tried_hosts_are_left(scope: Scope, server: Server, kind: ResolvedType) -> bool:
    return _assess(scope, server, kind).target is not None


def _forget_verdicts(scope: Scope) -> None:
    scope.status.server = None
    scope.status.source_host = scope.status.target_host = None
    scope.status.prerequisites = []
    scope.status.eligible_targets = []
    scope.status.ineligible_targets = []


def _announce_block(scope: Scope, reason: str, message: str) -> None:
    """The condition, and an Event the first time that this reason stands in the way."""
    if _is_news(scope, reason):
        scope.tell(EventReason.PREREQUISITES_NOT_MET, message, warning=True)
    scope.conditions.set(c.PREREQUISITES_MET, False, reason, message)


_ENDS = {Phase.SUCCEEDED: EventReason.SUCCEEDED, Phase.CANCELLED: EventReason.CANCELLED}


def _conclude(scope: Scope, phase: Phase, reason: str, message: str) -> MigrationDecision:
    """The end, once a server that we stopped runs again."""
    owed = _start_again(scope)
    if isinstance(owed, Decision):
        return owed
    if owed is not None:
        phase, reason, message = Phase.FAILED, Reason.STATE_NOT_MIGRATABLE, f"{message}; but {owed}"
    scope.status.graceful_stop = None
    scope.status.completed_at = scope.now
    if scope.conditions.get(c.PREREQUISITES_MET) is None:
        scope.conditions.set(c.PREREQUISITES_MET, None, reason, message)
    good = phase is Phase.SUCCEEDED
    scope.conditions.finished(good, reason, message)
    _say_whether_it_stays(scope)
    if good and scope.status.progress is not None:
        scope.status.progress.percent = 100
        scope.status.progress.memory_remaining_bytes = scope.status.progress.disk_remaining_bytes = 0
    if phase is not Phase.CANCELLED or scope.started:
        reason_told = EventReason.EXPIRED if reason == Reason.EXPIRED else _ENDS.get(phase, EventReason.FAILED)
        scope.tell(reason_told, message, warning=not good)
    ttl = _ttl(scope)
    return scope.decide(phase, requeue_after=None if ttl is None else max(ttl, timedelta(seconds=1)))


def _ttl(scope: Scope) -> timedelta | None:
    """How long it outlives its end; None: for good. A HostMaintenance counts its moves, and knows the way back of each,
    by its VMMigrations: these go when it goes."""
    metadata = scope.obj.metadata
    if gitops_owned.owner_of(metadata) is not None:
        return None
    stays = scope.owned_by_maintenance or gitops_owned.applied(metadata)
    own = scope.spec.ttl_after_finished
    # 0s is a wish, too: at once
    return own if own is not None or stays else scope.policy.ttl_after_finished


def _say_whether_it_stays(scope: Scope) -> None:
    """A `ttlAfterFinished` that is not carried out is explained where people look."""
    succeeded, ready = scope.conditions.get(c.SUCCEEDED), scope.conditions.get(c.READY)
    if succeeded is None or ready is None:
        return
    message = succeeded.message
    who = gitops_owned.owner_of(scope.obj.metadata)
    if who is not None and scope.spec.ttl_after_finished is not None:
        message += (
            f"; not deleted after its ttlAfterFinished: {who} would create it again, and it would run again; "
            "take it out of the repository instead"
        )
    scope.conditions.set(c.READY, {"True": True, "False": False}.get(ready.status), ready.reason, message)


def _conclude_tried(scope: Scope) -> MigrationDecision:
    """Failed, because the attempts did."""
    last = scope.status.attempts[-1]
    reason = TIMED_OUT if last.stop_reason == TIMED_OUT else Reason.CLOUD_REFUSED
    return _conclude(scope, Phase.FAILED, reason, _last_words(scope))


def _start_again(scope: Scope) -> MigrationDecision | str | None:
    """Start the server that we stopped: a decision while that goes on, a text if it cannot be done, None when done."""
    stop, server = scope.status.graceful_stop, scope.server
    if stop is None or server is None:
        return None
    asked = stop.start_requested_at
    scope.conditions.progressing("StartingServer", "the server is being started again")
    if server.task_state is not None:
        _at_it(scope, stop)
        if asked is not None and scope.now - asked >= scope.policy.stop_timeout + scope.policy.stuck_after:
            stuck(scope, f"the server is to be started again: Nova is still {server.task_state}")
        return scope.decide(Phase.VERIFYING, requeue_after=_POLL)
    since = scope.now - (stop.asked_at or asked) if asked is not None else None
    if server.vm_state == "stopped" and since is not None and since < scope.policy.record_grace:
        return scope.decide(Phase.VERIFYING, requeue_after=_POLL)
    if not scope.has_fresh_detail():
        return scope.needs()
    if server.vm_state == "active":
        return None
    if server.vm_state != "stopped":
        return f"the server is {server.status} and was not started again"
    away = since is not None and _away(scope, since)
    if asked is not None and scope.now - asked >= scope.policy.stop_timeout and not away:
        return "the server could not be started again"
    stop.start_requested_at = scope.now if asked is None or away else asked
    stop.asked_at = scope.now
    scope.tell(EventReason.STARTING_SERVER, "starting the server again after its cold migration")
    return scope.decide(Phase.VERIFYING, action=StartServer(server.id), requeue_after=_POLL)


# ---- what came of an action


def settle(
    obj: VMMigration, action: Action, outcome: Outcome, now: datetime
) -> tuple[VMMigrationStatus, tuple[Event, ...]]:
    """The status after an action was tried. No answer changes nothing: the next pass looks it up (I4)."""
    status = obj.status.model_copy(deep=True)
    if isinstance(action, LiveMigrate | ColdMigrate | Evacuate):
        return _settle_move(status, action, outcome, now)
    what, request = type(action).__name__, asked_as(outcome.request_id)
    if isinstance(outcome, Accepted):
        return status, (_taken(action, outcome),)
    if isinstance(outcome, NotNow):
        _wait_longer(status, action, now)
    words = f"{what}: {clip(outcome.message)}{request}"
    return status, (Event(EventReason(f"{what}NotDone"), words, EventType.WARNING),)


def _wait_longer(status: VMMigrationStatus, action: Action, now: datetime) -> None:
    """The time that a stop or a start may take begins when the cloud accepts the request for it."""
    stop = status.graceful_stop
    if stop is None:
        return
    if isinstance(action, StopServer):
        stop.requested_at = stop.asked_at = now
    elif isinstance(action, StartServer):
        stop.start_requested_at = stop.asked_at = now


def _taken(action: Action, outcome: Accepted) -> Event:
    """What is asked for leaves its request id in an Event (I33)."""
    return Event(EventReason.REQUEST_ACCEPTED, f"Nova took {type(action).__name__}{asked_as(outcome.request_id)}")


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
        return status, (_taken(action, outcome),)
    attempt.message = clip(f"no answer: {outcome.message}", 2048)
    return status, (
        Event(EventReason.NO_ANSWER, f"{clip(attempt.message)}{asked_as(outcome.request_id)}", EventType.WARNING),
    )
