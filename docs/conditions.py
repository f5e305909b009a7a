"""Generates docs/reference/conditions.md from the enums of the reasons; called by `docs.generate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vmferry.planning.choose_type import TypeReason
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.reconcilers.rows import KINDS
from vmferry.resources.documented import ConditionReason, Documented

_INTRODUCTION = """\
# Conditions, reasons and phases

Programs read conditions; the phase is for people. `Reconciling` and `Stalled` are present only while they are True, as
kstatus expects; the others are always present once a resource was reconciled. `kubectl wait --for=condition=TYPE` waits
for one.

```
kubectl wait --for=condition=Succeeded vmm/web-1 -n migrations --timeout=1h
kubectl get vmm web-1 -n migrations -o \\
  jsonpath='{range .status.conditions[*]}{.type}{"\\t"}{.status}{"\\t"}{.reason}{"\\t"}{.message}{"\\n"}{end}'
```

Phases: [of a VMMigration](../migrations.md#phases), [of a HostMaintenance](../host-maintenance.md#phases)."""

#: the reasons of prerequisites that the conditions of a kind can also have
_PASSED_ON = {
    "VMMigration": "Besides these, `PrerequisitesMet`, `Ready` and `Succeeded` give the "
    "[reasons of prerequisites](#reasons-of-prerequisites-of-attempts-and-of-requests).",
    "HostMaintenance": "Besides these, `PrerequisitesMet`, `Cordoned` and `Ready` give the "
    "[reasons of prerequisites](#reasons-of-prerequisites-of-attempts-and-of-requests): `HostNotFound` for a host that "
    "the cloud does not list, `Conflict` for one that another resource or operator has, `CloudRefused` where Nova "
    "refuses to disable or enable it.",
}


def _conditions(meanings: Mapping[str, tuple[str, str, str]]) -> Iterator[str]:
    yield "| condition | True | False | Unknown |"
    yield "|---|---|---|---|"
    for type_, cells in meanings.items():
        yield f"| `{type_}` | {' | '.join(cells)} |"


def _reasons(reasons: type[ConditionReason]) -> Iterator[str]:
    yield "| reason | condition | meaning | what to do |"
    yield "|---|---|---|---|"
    if reasons is MigrationReason:
        yield from (f"| `{reason.value}` | `TypeResolved` | {reason.meaning} | |" for reason in TypeReason)
    for reason in reasons:
        types = ", ".join(f"`{type_}`" for type_ in reason.conditions.split(", "))
        yield f"| `{reason.value}` | {types} | {reason.meaning} | {reason.remedy} |"


def _meanings(reasons: type[Documented]) -> Iterator[str]:
    yield "| reason | meaning |"
    yield "|---|---|"
    yield from (f"| `{reason.value}` | {reason.meaning} |" for reason in reasons)


def page(head: str) -> str:
    lines = [head + _INTRODUCTION]
    for kind in KINDS.values():
        lines += ["", f"## {kind.name}", "", *_conditions(kind.conditions)]
        lines += ["", f"## {kind.name}: reasons", "", *_reasons(kind.reasons), "", _PASSED_ON[kind.name]]
    lines += [
        "",
        "## Reasons of prerequisites, of attempts and of requests",
        "",
        "In `status.prerequisites[].reason`, `status.ineligibleTargets[].reason`, `status.blockers[].reason` and in "
        "conditions. What to do about each: [prerequisites](../prerequisites.md).",
        "",
        *_meanings(Reason),
        "",
    ]
    return "\n".join(lines)
