"""Statuses that version 0.1 wrote are read as they were meant."""

from __future__ import annotations

import pytest

from testbed.build import NOW
from vmferry.reconcilers.migration.attempts import ended_by_others, succeeded
from vmferry.resources.hostmaintenance import MaintenanceProgress
from vmferry.resources.vmmigration import Attempt, VMMigrationStatus, attempt_state
from vmferry.resources.words import HeldBy


def test_servers_that_stay_were_called_left() -> None:
    read = MaintenanceProgress.model_validate({"total": 3, "moved": 1, "left": 2})
    assert (read.staying, read.to_json()["staying"], "left" in read.to_json()) == (2, 2, False)


ENDED = {"number": 1, "type": "Live", "sourceHost": "a", "targetHost": "b", "startedAt": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("running", "Running"),
        ("post-migrating", "PostMigrating"),
        ("completed", "Completed"),
        ("NotSent", "NotSent"),
        ("ServerGone", "ServerGone"),
    ],
)
def test_a_state_was_spelled_as_nova_does(before: str, now: str) -> None:
    assert Attempt.model_validate({**ENDED, "state": before}).state == now
    assert attempt_state(now) == now, "read again, it stays"


@pytest.mark.parametrize("state", ["completed", "confirmed", "done"])
def test_what_had_succeeded_has_succeeded(state: str) -> None:
    assert succeeded(Attempt.model_validate({**ENDED, "state": state, "endedAt": "2026-01-01T00:01:00Z"}))


@pytest.mark.parametrize("state", ["cancelled", "reverted"])
def test_what_a_person_had_ended_was_ended_by_a_person(state: str) -> None:
    assert ended_by_others(Attempt.model_validate({**ENDED, "state": state, "endedAt": "2026-01-01T00:01:00Z"}))


@pytest.mark.parametrize(
    ("reason", "held_by"),
    [
        ("Stopped", HeldBy.KILL_SWITCH),
        ("BreakerOpen", HeldBy.BREAKER),
        ("AwaitingResult", HeldBy.AWAITED_RESULT),
        ("Paused", HeldBy.PAUSE),
        ("Queued", None),
    ],
)
def test_what_holds_a_migration_was_the_reason_of_a_condition(reason: str, held_by: HeldBy | None) -> None:
    ready = {"type": "Ready", "status": "False", "reason": reason, "message": "m", "lastTransitionTime": NOW}
    assert VMMigrationStatus.model_validate({"conditions": [ready]}).held_by is held_by
