"""Expiry (I39): a request that has not started in time finishes as Expired and starts nothing afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta

from vmferry.reconcilers import conditions as c
from vmferry.reconcilers.migration.attempts import succeeded
from vmferry.reconcilers.migration.scope import MigrationScope
from vmferry.resources.base import format_duration, format_time


def expired(scope: MigrationScope) -> str | None:
    """Why the request has expired, including what blocked it; None: it may start, or part of it is in progress.

    Needs no view of the cloud, so a request also expires while that view is stale. A paused request counts as not
    started. A preflight does not expire: the time starts once `preflightOnly` is removed.
    """
    status, spec = scope.status, scope.spec
    if spec.preflight_only:
        status.requested_at = None
        return None
    if status.requested_at is None:
        created = scope.obj.metadata.creation_timestamp
        status.requested_at = created if created is not None and not scope.seen_before else scope.now
    last = status.attempts[-1] if status.attempts else None
    under_way = status.graceful_stop is not None or (last is not None and (last.open or succeeded(last)))
    due = _due(scope, status.requested_at)
    if under_way or scope.deleting or due is None or scope.now < due[0]:
        return None
    ready = status.condition(c.READY)
    blocked_by = ready.message if ready is not None else "it was not reconciled before"
    what = "it did not start" if last is None else "no further attempt started"
    return f"{what} before {format_time(due[0])} ({due[1]}): {blocked_by}"


def _due(scope: MigrationScope, requested_at: datetime) -> tuple[datetime, str] | None:
    """The time by which the request must start, and the setting that defines it."""
    spec, span = scope.spec, scope.policy.expire_after
    if spec.start_before is not None:
        return spec.start_before, "spec.startBefore"
    if span <= timedelta(0) or scope.owned_by_maintenance:
        return None
    return requested_at + span, f"policy.expireAfter {format_duration(span)}"
