"""The report of a run: tables for people, JSON for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from testbed.agreement.classes import Did, Outcome
from testbed.agreement.trial import Case
from vmferry.prerequisites.enums import Name, Result

DEFECTS = (Outcome.PASSED_BUT_REFUSED, Outcome.REFUSED_BUT_POSSIBLE)
AGREED = (Outcome.AGREE_PASS, Outcome.AGREE_REFUSE, Outcome.STRICTER_BY_POLICY)


def confusion(cases: Iterable[Case]) -> list[str]:
    """A row for each prerequisite: its finding against Nova's reaction."""
    counts: dict[Name, Counter[str]] = {}
    for case in cases:
        if case.outcome is Outcome.UNCLEAR:
            continue
        moved = case.happened.did is Did.MOVED
        names = {one.name for one in case.against}
        for finding in case.findings:
            row = counts.setdefault(finding.name, Counter())
            if finding.result is Result.NOT_APPLICABLE:
                continue
            if finding.name in names:
                row["blocks" + ("/moved" if moved else "/refused")] += 1
                if len(names) == 1:
                    row["alone" + ("/moved" if moved else "/refused")] += 1
            else:
                row["passed" + ("/moved" if moved else "/refused")] += 1
    columns = (
        ("passed/moved", "passed, moved"),
        ("passed/refused", "passed, refused*"),
        ("blocks/refused", "blocks, refused"),
        ("alone/refused", "… it alone"),
        ("blocks/moved", "blocks, moved"),
        ("alone/moved", "… it alone"),
    )
    lines = [f"{'prerequisite':<18}" + "".join(f"{title:>18}" for _, title in columns)]
    for name, row in counts.items():
        lines.append(f"{name:<18}" + "".join(f"{row[key]:>18}" for key, _ in columns))
    lines.append("* by Nova; another prerequisite may have blocked it as well")
    return lines


def by_outcome(cases: Sequence[Case]) -> list[str]:
    """A row for each type of migration: its outcomes."""
    outcomes = [outcome for outcome in Outcome if any(case.outcome is outcome for case in cases)]
    lines = [f"{'kind':<10}" + "".join(f"{outcome:>24}" for outcome in outcomes)]
    for kind in sorted({case.request.kind for case in cases}):
        row = Counter(case.outcome for case in cases if case.request.kind is kind)
        lines.append(f"{kind:<10}" + "".join(f"{row[outcome]:>24}" for outcome in outcomes))
    return lines


def policies(cases: Iterable[Case]) -> list[str]:
    """How often each requirement made us stricter than Nova."""
    found = Counter(
        " and ".join(sorted({f"{one.name}/{one.reason}" for one in case.against}))
        + f" ({'; '.join(case.requirements)})"
        for case in cases
        if case.outcome is Outcome.STRICTER_BY_POLICY
    )
    return [f"{count:>6}  {what}" for what, count in found.most_common()]


def disagreement(case: Case, seed: int) -> str:
    """All facts that are needed to reproduce a disagreement."""
    told: dict[str, Any] = {"seed": seed, **case.as_json()}
    findings = told.pop("findings")
    head = f"{case.outcome}: seed {seed}, step {case.request.step}: {case.request.kind} of {case.server.name}"
    lines = [f"{head} ({case.server.status} on {case.server.host}) to {case.request.target or 'any host'}"]
    lines.append(f"  we:   {'go to ' + case.picked if case.picked else '; '.join(told['against'])}")
    lines.append(f"  Nova: {case.happened.did} ({case.happened.host}, {case.happened.status}) {case.happened.words}")
    lines.append(f"  server: {json.dumps(told['server'])}")
    lines += [f"  {f['name']}: {f['result']} {f['reason'] or ''} {f['message']}" for f in findings]
    return "\n".join(lines)


def closing(cases: Sequence[Case], wanted: int) -> list[str]:
    """The last lines of the report."""
    count = Counter(case.outcome for case in cases)
    agreed = sum(count[outcome] for outcome in AGREED)
    lines = [f"stricter by policy {count[Outcome.STRICTER_BY_POLICY]}"]
    if count[Outcome.UNCLEAR]:
        lines.append(f"unclear {count[Outcome.UNCLEAR]} (no answer or no end in time: nothing is concluded)")
    if len(cases) < wanted:
        lines.append(f"{len(cases)} of {wanted} requests were made in the time given")
    lines.append(
        f"agreement: {agreed} of {len(cases)}, passed-but-refused {count[Outcome.PASSED_BUT_REFUSED]}, "
        f"refused-but-possible {count[Outcome.REFUSED_BUT_POSSIBLE]}"
    )
    return lines


def write(path: Path, seed: int, cases: Sequence[Case], facts: dict[str, Any]) -> None:
    count = Counter(str(case.outcome) for case in cases)
    path.parent.mkdir(parents=True, exist_ok=True)
    body = {"seed": seed, **facts, "outcomes": count, "cases": [case.as_json() for case in cases]}
    path.write_text(json.dumps(body, indent=1))
