"""Which changes of a status are written at once."""

from __future__ import annotations

from typing import Any

import pytest

from vmferry.reconcilers.migration.status_writes import is_news
from vmferry.resources.vmmigration import VMMigrationStatus

TIME = "2026-01-01T12:00:00Z"
Status = dict[str, Any]


def condition(reason: str, message: str, type_: str = "Ready", status: str = "False") -> Status:
    return {"type": type_, "status": status, "lastTransitionTime": TIME, "reason": reason, "message": message}


def queued(message: str = "waits for its turn: 9 migrations leave cmp1 or go first, the limit is 4") -> Status:
    return {
        "phase": "Queued",
        "type": "Live",
        "server": {"id": "00000000-0000-4000-8000-000000000001", "name": "web", "state": "ACTIVE"},
        "sourceHost": "cmp1",
        "targetHost": "cmp2",
        "conditions": [condition("Queued", message)],
        "prerequisites": [{"name": "Capacity", "result": "Passed", "host": "cmp2", "message": "enough capacity"}],
        "eligibleTargets": [{"host": "cmp2", "rank": 1, "message": "20% taken"}],
    }


def blocked() -> Status:
    message = "Capacity: cmp2: 4096 MiB memory needed, 100 free"
    return {**queued(), "phase": "Blocked", "conditions": [condition("InsufficientCapacity", message)]}


def running(**over: Any) -> Status:
    attempt = {
        "number": 1,
        "type": "Live",
        "sourceHost": "cmp1",
        "targetHost": "cmp2",
        "state": "Requested",
        "requestID": "req-1",
        "startedAt": TIME,
    }
    return {
        **queued(),
        "phase": "Migrating",
        "startedAt": TIME,
        "conditions": [
            condition("Migrating", "accepted req-1"),
            condition("x", "y", "Reconciling", "True"),
        ],
        "attempts": [{**attempt, **over}],
    }


def change(of: Status, **over: Any) -> tuple[Status, Status]:
    return of, {**of, **over}


def attempt(**over: Any) -> tuple[Status, Status]:
    return running(), running(**over)


UNANSWERED = running(requestID=None)

NEWS: dict[str, tuple[Status, Status]] = {
    "its phase": change(queued(), phase="Blocked"),
    "it has begun": (queued(), running()),
    "why it waits": change(queued(), conditions=[condition("CloudViewStale", "no view")]),
    "a prerequisite of one that waits": change(
        queued(),
        prerequisites=[{"name": "Capacity", "result": "Failed", "reason": "InsufficientCapacity", "message": ""}],
    ),
    "the host that it is on": change(queued(), sourceHost="cmp9"),
    "the spec that it was looked at for": change(queued(), observedGeneration=2),
    "the words of a blocker": change(blocked(), conditions=[condition("InsufficientCapacity", "Capacity: cmp3: full")]),
    "its request's id": (UNANSWERED, running()),
    "the record of a request without an answer (I3)": (UNANSWERED, running(requestID=None, migrationID="m1")),
    "its end": attempt(state="completed", endedAt=TIME),
    "a stop that was asked for": attempt(stopRequestedAt=TIME, stopReason="TimedOut"),
    "a confirmation that was asked for (I7)": attempt(confirmRequestedAt=TIME),
    "another attempt": change(running(), attempts=[*running()["attempts"], {**running()["attempts"][0], "number": 2}]),
    "how far the copy is": change(running(), progress={"percent": 10, "updatedAt": TIME}),
    "that people must do something": change(running(), conditions=[condition("FactUnknown", "?", "Stalled", "True")]),
    "a server that is being stopped": change(running(), gracefulStop={"requestedAt": TIME}),
    "what is not known to wait": change({**queued(), "phase": "Pending"}, targetHost="cmp3"),
}

NO_NEWS: dict[str, tuple[Status, Status]] = {
    "how many go first": (queued(), queued("waits for its turn: 5 migrations leave cmp1 or go first, the limit is 4")),
    "which of the eligible hosts is the best today": change(
        queued(), targetHost="cmp3", eligibleTargets=[{"host": "cmp3", "rank": 1, "message": "10% taken"}]
    ),
    "how much room a blocker lacks": change(
        blocked(), conditions=[condition("InsufficientCapacity", "Capacity: cmp2: 4096 MiB memory needed, 90 free")]
    ),
    "Nova's word for its stage": attempt(state="preparing"),
    "the record of a request with an answer": attempt(state="running", migrationID="m1"),
    "that the server is about to arrive": change(
        running(),
        phase="Verifying",
        conditions=[condition("Verifying", "z"), condition("x", "y", "Reconciling", "True")],
    ),
}


def read(status: Status) -> VMMigrationStatus:
    return VMMigrationStatus.model_validate(status)


@pytest.mark.parametrize(("before", "after"), NEWS.values(), ids=NEWS.keys())
def test_it_is_news(before: Status, after: Status) -> None:
    assert is_news(read(before), read(after))


@pytest.mark.parametrize(("before", "after"), NO_NEWS.values(), ids=NO_NEWS.keys())
def test_it_can_wait(before: Status, after: Status) -> None:
    assert read(before) != read(after)
    assert not is_news(read(before), read(after))
