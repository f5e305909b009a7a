"""The metrics of a VMMigration.

A finished migration is counted once, by the operator that writes its final status; reading it again counts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from vmferry.reconcilers.conditions import STALLED
from vmferry.reconcilers.migration.attempts import (
    DELETED,
    NOT_NOW,
    NOT_SENT,
    REFUSED,
    SERVER_GONE,
    TIMED_OUT,
    ended_by_others,
    succeeded,
)
from vmferry.reconcilers.telemetry import Sample, Telemetry, seconds_between
from vmferry.resources.vmmigration import Attempt, ProgressView, VMMigration

#: type label of an object that finished before its type was decided
UNDECIDED = "Undecided"
#: results of an attempt, as a metric label
RESULTS = (
    "Succeeded",
    "Failed",
    "Refused",
    "NotSent",
    "NotNow",
    "TimedOut",
    "Cancelled",
    "EndedByOthers",
    "ServerGone",
)


def telemetry(before: VMMigration | None, after: VMMigration) -> Telemetry:
    return Telemetry(_gauges(after), tuple(_changes(before, after)) if before is not None else ())


def _changes(before: VMMigration, after: VMMigration) -> Iterator[Sample]:
    old, new = before.status, after.status
    type_ = new.type.value if new.type else UNDECIDED
    if old.started_at is None and new.started_at is not None and after.metadata.creation_timestamp is not None:
        waited = seconds_between(after.metadata.creation_timestamp, new.started_at)
        yield Sample("vmferry_migration_wait_seconds", (type_,), waited)
    was_open = {attempt.number: attempt.open for attempt in old.attempts}
    for attempt in new.attempts:
        if not attempt.open and was_open.get(attempt.number, True):
            yield Sample("vmferry_migration_attempts_total", (attempt.type.value, _result(attempt)), 1)
    copied = _copied(new.progress) - _copied(old.progress)
    if copied > 0:
        yield Sample("vmferry_migration_copied_bytes_total", (type_,), copied)
    if old.completed_at is None and new.completed_at is not None and new.phase is not None:
        yield Sample("vmferry_migrations_finished_total", (type_, new.phase.value), 1)
        if new.started_at is not None:
            took = seconds_between(new.started_at, new.completed_at)
            yield Sample("vmferry_migration_duration_seconds", (type_, new.phase.value), took)


def _gauges(obj: VMMigration) -> tuple[Sample, ...]:
    status = obj.status
    type_, phase = status.type or UNDECIDED, status.phase or "Pending"
    always = _migrations(str(type_), str(phase))
    if status.completed_at is not None:
        return always
    gauges = list(always)
    stalled = status.condition(STALLED)
    if stalled is not None:
        gauges.append(Sample("vmferry_blocked", (obj.KIND, stalled.reason), 1))
    if status.progress is not None and status.open_attempt is not None:
        remaining = {"memory": status.progress.memory_remaining_bytes, "disk": status.progress.disk_remaining_bytes}
        gauges += [Sample("vmferry_migration_remaining_bytes", (part,), number) for part, number in remaining.items()]
    return tuple(gauges)


@cache
def _migrations(type_: str, phase: str) -> tuple[Sample, ...]:
    """Cached, because most objects are finished and report only this sample."""
    return (Sample("vmferry_migrations", (type_, phase), 1),)


def _result(attempt: Attempt) -> str:
    """The result of an ended attempt, from `RESULTS`."""
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
