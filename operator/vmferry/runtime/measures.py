"""What a status tells Prometheus: what is counted when it is written, and what the object adds to the gauges.

An end is counted once, by the operator that writes it: a finished object that is only seen again counts nothing.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache

from vmferry.cloud.nova import Login
from vmferry.reconcilers.conditions import NOT_NOW, STALLED
from vmferry.reconcilers.migration.attempts import (
    DELETED,
    NOT_SENT,
    REFUSED,
    SERVER_GONE,
    TIMED_OUT,
    ended_by_others,
    succeeded,
)
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import Attempt, ProgressView, VMMigration
from vmferry.resources.words import MaintenancePhase
from vmferry.runtime import metrics
from vmferry.runtime.metrics import Scraped

#: a gauge with its labels, and what the object adds to it
Share = tuple[tuple[Scraped, tuple[str, ...]], int]
Shares = tuple[Share, ...]

#: the counts of `status.progress` that add up to its total
_STATES = ("moved", "moving", "waiting", "blocked", "left")
#: nothing is drained, or is going to be
_QUIET = (None, MaintenancePhase.CHECKED, MaintenancePhase.RELEASED)


# ---- a VMMigration


def count_migration(before: VMMigration, after: VMMigration) -> None:
    """Both as written, one right after the other."""
    old, new = before.status, after.status
    type_ = new.type.value if new.type else metrics.UNDECIDED
    if old.started_at is None and new.started_at is not None and after.metadata.creation_timestamp is not None:
        waited = _seconds(after.metadata.creation_timestamp, new.started_at)
        metrics.MIGRATION_WAIT.labels(type_).observe(waited)
    was_open = {attempt.number: attempt.open for attempt in old.attempts}
    for attempt in new.attempts:
        if not attempt.open and was_open.get(attempt.number, True):
            metrics.ATTEMPTS.labels(attempt.type.value, _result(attempt)).inc()
    copied = _copied(new.progress) - _copied(old.progress)
    if copied > 0:
        metrics.COPIED.labels(type_).inc(copied)
    if old.completed_at is None and new.completed_at is not None and new.phase is not None:
        metrics.MIGRATIONS_FINISHED.labels(type_, new.phase.value).inc()
        if new.started_at is not None:
            took = _seconds(new.started_at, new.completed_at)
            metrics.MIGRATION_SECONDS.labels(type_, new.phase.value).observe(took)


def migration_shares(obj: VMMigration) -> Shares:
    status = obj.status
    type_, phase = status.type or metrics.UNDECIDED, status.phase or "Pending"
    always = _migration(str(type_), str(phase))
    if status.completed_at is not None:
        return always
    shares = list(always)
    stalled = status.condition(STALLED)
    if stalled is not None:
        shares.append(((metrics.BLOCKED, (VMMigration.KIND, stalled.reason)), 1))
    if status.progress is not None and status.open_attempt is not None:
        shares += [
            ((metrics.REMAINING, ("memory",)), status.progress.memory_remaining_bytes),
            ((metrics.REMAINING, ("disk",)), status.progress.disk_remaining_bytes),
        ]
    return tuple(shares)


@cache
def _migration(type_: str, phase: str) -> Shares:
    """The finished ones are the many, and add nothing else: they share it."""
    return (((metrics.MIGRATIONS, (type_, phase)), 1),)


def _result(attempt: Attempt) -> str:
    """How an ended attempt ended, in few words: one of `metrics.RESULTS`."""
    if succeeded(attempt):
        return "Succeeded"
    if attempt.state in (REFUSED, NOT_SENT, NOT_NOW, SERVER_GONE):
        return attempt.state
    if attempt.stop_reason in (TIMED_OUT, DELETED):
        return "TimedOut" if attempt.stop_reason == TIMED_OUT else "Cancelled"
    return "EndedByOthers" if ended_by_others(attempt) else "Failed"


def _copied(progress: ProgressView | None) -> int:
    if progress is None:
        return 0
    return max(0, progress.total_bytes - progress.memory_remaining_bytes - progress.disk_remaining_bytes)


# ---- a HostMaintenance


def count_maintenance(before: HostMaintenance, after: HostMaintenance) -> None:
    """Both as written, one right after the other."""
    status = after.status
    if before.status.drained_at is None and status.drained_at is not None and status.admitted_at is not None:
        metrics.DRAINS.observe(_seconds(status.admitted_at, status.drained_at))


def maintenance_shares(obj: HostMaintenance) -> Shares:
    status = obj.status
    shares: list[Share] = [((metrics.MAINTENANCES, (str(status.phase or "Pending"),)), 1)]
    if status.progress is not None and status.admitted_at is not None:
        counts = {state: getattr(status.progress, state) for state in _STATES}
        shares += [((metrics.MAINTENANCE_SERVERS, (state,)), count) for state, count in counts.items()]
    if status.phase not in _QUIET:
        stalled = status.condition(STALLED)
        if stalled is not None:
            shares.append(((metrics.BLOCKED, (HostMaintenance.KIND, stalled.reason)), 1))
        shares += [((metrics.BLOCKERS, (blocker.reason,)), 1) for blocker in status.blockers]
    return tuple(shares)


# ---- calls


def cloud_call(service: str, operation: str, code: int | None, seconds: float) -> None:
    """One request of the client to OpenStack; see `cloud.nova.session.OnRequest`."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.CLOUD_REQUESTS.labels(service, operation, answered).inc()
    metrics.CLOUD_SECONDS.labels(service, operation).observe(seconds)


def cloud_login(login: Login) -> None:
    """After each login."""
    metrics.CLOUD_UNVERIFIED.set(not login.verified)


def kubernetes_call(verb: str, resource: str, code: int | None, seconds: float) -> None:
    """One request to the Kubernetes API."""
    answered = metrics.NO_ANSWER if code is None else str(code)
    metrics.KUBERNETES_REQUESTS.labels(verb, resource, answered).inc()
    metrics.KUBERNETES_SECONDS.labels(verb, resource).observe(seconds)


def _seconds(begin: datetime, end: datetime) -> float:
    """Not below 0: the two moments may be of two clocks."""
    return max(0.0, (end - begin).total_seconds())
