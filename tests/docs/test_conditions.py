"""docs/reference/conditions.md has each condition, reason and phase that the code knows, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers import conditions, kill_switch, refused_writes
from vmferry.reconcilers.maintenance import scope as maintenance_scope
from vmferry.reconcilers.migration import attempts
from vmferry.reconcilers.owned_migrations import Ownership
from vmferry.resources.words import MaintenancePhase, Phase

ROOT = Path(__file__).resolve().parents[2]
RECONCILERS = ROOT / "operator" / "vmferry" / "reconcilers"
PAGE = (ROOT / "docs" / "reference" / "conditions.md").read_text(encoding="utf-8")

#: functions that set a condition, with the place of the reason among their arguments
SETTERS = {
    "set": 2,
    "progressing": 0,
    "waiting_for_people": 0,
    "stalled": 0,
    "ready": 0,
    "finished": 1,
    "conclude": 2,
    "not_now": 1,
}
#: where each kind sets its conditions
OF = {"VMMigration": "migration", "HostMaintenance": "maintenance"}
CONSTANTS = {
    name: word
    for module in (conditions, attempts, maintenance_scope, kill_switch, refused_writes)
    for name, word in vars(module).items()
}
ENUMS = {"Reason": Reason, "Ownership": Ownership}
#: both kinds pass on what was found of a prerequisite: these reasons have a page of their own
PASSED_ON = {reason.value for reason in Reason}


def words(node: ast.expr) -> Iterator[str]:
    """What an argument may be, as far as the code says it there."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from words(node.body)
        yield from words(node.orelse)
    elif isinstance(node, ast.Name) and isinstance(CONSTANTS.get(node.id), str):
        yield CONSTANTS[node.id]
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ENUMS:
        yield getattr(ENUMS[node.value.id], node.attr).value


def assigned(tree: ast.AST) -> Iterator[str]:
    """`reason = "Empty"`, and `phase, reason, message = ...`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        pairs = (
            zip(target.elts, value.elts, strict=True)
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            else [(target, value)]
        )
        for name, what in pairs:
            if isinstance(name, ast.Name) and name.id == "reason":
                yield from words(what)


def reasons(kind: str) -> set[str]:
    found: set[str] = set()
    for file in (RECONCILERS / OF[kind]).glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found |= set(assigned(tree))
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            at = SETTERS.get(name)
            if at is not None and len(call.args) > at:
                found |= set(words(call.args[at]))
    return found


def section(title: str) -> str:
    return re.split(r"^#+ ", PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0], flags=re.MULTILINE)[0]


def rows(text: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("kind", OF)
def test_the_page_has_each_reason_that_the_reconciler_gives(kind: str) -> None:
    found = reasons(kind)
    if kind == "VMMigration":
        choice = ast.parse((ROOT / "operator" / "vmferry" / "planning" / "choose_type.py").read_text(encoding="utf-8"))
        found |= {
            call.args[1].value
            for call in ast.walk(choice)
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Choice"
            if isinstance(call.args[1], ast.Constant) and isinstance(call.args[1].value, str)
        } | {"Requested", "ServerStopped", Ownership.OWNER_MISSING.value, Ownership.FALSE_CLAIM.value}
    else:
        found.add(maintenance_scope.FALSE_CLAIM)
    assert len(found) > 15
    told = rows(section(f"{kind}: reasons"))
    assert told == found - PASSED_ON | (told & PASSED_ON)
    assert found & PASSED_ON <= rows(section("Reasons of prerequisites, of attempts and of requests"))


def test_the_page_has_each_reason_of_a_prerequisite() -> None:
    assert rows(section("Reasons of prerequisites, of attempts and of requests")) == PASSED_ON


@pytest.mark.parametrize("kind", OF)
def test_the_page_has_each_condition(kind: str) -> None:
    own = {
        "VMMigration": {conditions.SUCCEEDED, conditions.TYPE_RESOLVED},
        "HostMaintenance": {
            maintenance_scope.CORDONED,
            maintenance_scope.DRAINED,
            maintenance_scope.FALSE_CLAIMS,
        },
    }[kind]
    every = {
        conditions.PREREQUISITES_MET,
        conditions.READY,
        conditions.RECONCILING,
        conditions.STALLED,
        conditions.CLOUD_UNVERIFIED,
    }
    assert rows(section(kind)) == own | every


@pytest.mark.parametrize(
    ("page", "title", "enum"),
    [
        pytest.param("migrations.md", "Phases", Phase, id="VMMigration"),
        pytest.param("host-maintenance.md", "Phases", MaintenancePhase, id="HostMaintenance"),
    ],
)
def test_the_guide_has_each_phase(page: str, title: str, enum: type[Phase | MaintenancePhase]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert rows(text.split(f"\n## {title}\n")[1].split("\n## ")[0]) == {word.value for word in enum}
