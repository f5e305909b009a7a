"""What is told has a reason of the table, and what is asked of the cloud leaves its request id (I33)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest

from vmferry import reconcilers
from vmferry.cloud import actions
from vmferry.cloud.actions import Accepted, Action, Outcome, Refused, ServerAction, Unanswered
from vmferry.reconcilers.event_reasons import OF_MAINTENANCES, OF_MIGRATIONS, OF_OPERATOR, EventReason
from vmferry.reconcilers.maintenance import outcome as maintenance_outcome
from vmferry.reconcilers.migration import outcome as migration_outcome
from vmferry.resources.hostmaintenance import HostMaintenance
from vmferry.resources.vmmigration import VMMigration

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILES = [path for folder in reconcilers.__path__ for path in sorted(Path(folder).rglob("*.py"))]


def reasons() -> Iterator[tuple[str, ast.expr]]:
    """What each call that posts an Event gives as its reason, and the function that it stands in."""
    for path in FILES:
        for function in ast.walk(ast.parse(path.read_text())):
            if not isinstance(function, ast.FunctionDef):
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call):
                    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                    if name in ("event", "event_once", "Event"):
                        yield function.name, call.args[0]


def test_a_reason_is_of_the_table() -> None:
    found = list(reasons())
    assert len(found) > 25
    for where, reason in found:
        assert "EventReason" in ast.unparse(reason) or isinstance(reason, ast.Name), f"{where}: {ast.unparse(reason)}"
        assert not isinstance(reason, ast.Constant | ast.JoinedStr), f"{where}: {ast.unparse(reason)}"


def test_each_reason_is_told_and_explained() -> None:
    text = "\n".join(path.read_text() for path in FILES if path.name != "event_reasons.py")
    runtime = FILES[0].parent.parent / "runtime"
    text += (runtime / "reconcile.py").read_text() + (runtime / "operator.py").read_text()
    told = {EventReason[name] for name in re.findall(r"EventReason\.([A-Z_]+)", text)}
    told |= {
        EventReason(f"{action.__name__}NotDone")
        for action in get_args(ServerAction)
        if action not in get_args(actions.Move)
    }
    assert told == set(EventReason) == OF_MIGRATIONS.keys() | OF_MAINTENANCES.keys() | OF_OPERATOR.keys()


@pytest.mark.parametrize("reason", EventReason)
def test_a_reason_is_camel_case(reason: EventReason) -> None:
    assert re.fullmatch(r"([A-Z][a-z]+)+", reason)


def sample(action: type[Action]) -> Action:
    """One of that kind, whatever it is about."""
    values: dict[str, Any] = {name: 7 if name == "migration_id" else "x" for name in action.__dataclass_fields__}
    return action(**values)


OUTCOMES: dict[str, Outcome] = {
    "taken": Accepted("req-7"),
    "refused": Refused(409, "no", "req-7"),
    "no clear answer": Unanswered("HTTP 500", "req-7"),
}
STATUS = {
    "attempts": [
        {
            "number": 1,
            "type": "Live",
            "sourceHost": "a",
            "targetHost": "b",
            "state": "Requested",
            "startedAt": "2026-01-01T00:00:00Z",
        }
    ]
}


@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
@pytest.mark.parametrize("action", get_args(Action), ids=lambda action: action.__name__)
def test_I33_each_request_leaves_its_id_in_an_event(action: type[Action], outcome: Outcome) -> None:
    metadata: dict[str, Any] = {"name": "m", "namespace": "n", "uid": "u", "resourceVersion": "1"}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    if action in get_args(ServerAction):
        spec = {"server": {"id": "11111111-1111-4111-8111-111111111111"}}
        move = VMMigration.read({"metadata": metadata, "spec": spec, "status": STATUS})
        _, events = migration_outcome.record_outcome(move, sample(action), outcome, NOW)
    else:
        drain = HostMaintenance.read({"metadata": metadata, "spec": {"host": "a"}})
        _, events = maintenance_outcome.record_outcome(drain, sample(action), outcome, NOW)
    (event,) = events
    assert "(request req-7)" in event.message
    assert (event.type == "Normal") == isinstance(outcome, Accepted)
