"""Which status changes of a VMMigration are written at once, and which wait for the next write.

Written at once: everything that was decided, started or finished, and everything a client may wait for (the phase, the
result of each prerequisite, the conditions). Deferred: how many moves are queued, the order of equal hosts, and Nova's
status of a running migration; with thousands of objects these would be most of all writes. A crash loses nothing by
that, because the next reconcile finds the deferred facts again. What must be recorded before a request is always
written at once (I3).
"""

from __future__ import annotations

import re
from typing import Any

from vmferry.resources.vmmigration import Attempt, VMMigrationStatus
from vmferry.resources.words import Phase

#: phases of a running migration
_RUNNING = (Phase.MIGRATING, Phase.VERIFYING)
#: the host lists of a queued or blocked migration, which change with every move of other servers
_HOSTS = ("eligibleTargets", "ineligibleTargets")
_NUMBER = re.compile(r"\b\d+\b")


def is_news(before: VMMigrationStatus, after: VMMigrationStatus) -> bool:
    """Whether `after` must be written at once."""
    if before.phase in _RUNNING and after.phase in _RUNNING:
        return _running(before) != _running(after)
    if before.phase is not after.phase:
        return True
    if after.phase is Phase.QUEUED:
        return _queued(before) != _queued(after)
    if after.phase is Phase.BLOCKED:
        return _blocked(before) != _blocked(after)
    return True


def _running(status: VMMigrationStatus) -> object:
    """Everything except what changes with Nova's record, which is found again through its attempt."""
    rest = status.to_json()
    for key in ("phase", "server", "targetHost", "attempts"):
        rest.pop(key, None)
    attempts = [_attempt(attempt) for attempt in status.attempts]
    return {**rest, "conditions": [(c.type, c.status) for c in status.conditions]}, attempts


def _attempt(attempt: Attempt) -> Any:
    if not attempt.open:
        return attempt.to_json()
    told = {"state", "target_host", "migration_id"}
    return {**attempt.model_dump(exclude=told), "known": attempt.request_id or attempt.migration_id}


def _queued(status: VMMigrationStatus) -> object:
    rest = status.to_json()
    for key in (*_HOSTS, "targetHost"):
        rest.pop(key, None)
    rest["conditions"] = [(c.type, c.status, c.reason, c.observed_generation) for c in status.conditions]
    rest["prerequisites"] = [(p.name, p.result, p.reason) for p in status.prerequisites]
    return rest


def _blocked(status: VMMigrationStatus) -> object:
    rest = status.to_json()
    for key in _HOSTS:
        rest.pop(key, None)
    return _without_numbers(rest)


def _without_numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _NUMBER.sub("#", v) if k == "message" else _without_numbers(v) for k, v in value.items()}
    return [_without_numbers(one) for one in value] if isinstance(value, list) else value
