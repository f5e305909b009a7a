"""Which changes of a VMMigration's status are written at once, and which with the next one that is.

What is decided, begun or over is news, and so is all that a program may wait for: the phase, the verdict on each
prerequisite, the conditions. How many others wait, which of two equal hosts comes first today, or Nova's word for the
stage of a migration that runs on is not: with thousands of objects these alone would be most of all writes. A crash
loses nothing with them, for the next look finds them again (I3: what is recorded before a request always is news).
"""

from __future__ import annotations

import re
from typing import Any

from vmferry.resources.vmmigration import Attempt, VMMigrationStatus
from vmferry.resources.words import Phase

#: of a migration that runs
_RUNNING = (Phase.MIGRATING, Phase.VERIFYING)
#: whoever waits is told where it would go; that changes with every move of others
_HOSTS = ("eligibleTargets", "ineligibleTargets")
_NUMBER = re.compile(r"\b\d+\b")


def is_news(before: VMMigrationStatus, after: VMMigrationStatus) -> bool:
    """Whether `after` must not wait for the next write."""
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
    """All but what Nova's record tells from look to look; the record itself is found again by its attempt."""
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
