"""`python -m testbed.agreement.compare A B`: what two clouds answered to the same requests, by the JSON of two runs.

Requests run at once, so a step may meet its server elsewhere in another run; only steps that met it the same count.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Case = Mapping[str, Any]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
#: events of the conductor, whose host has the machine's name in one cloud and a fixed name in the other
CONDUCTOR = re.compile(r"\b(cold_migrate|rebuild_server|conductor_\w+) on [\w.-]+:")


def question(case: Case) -> tuple[object, ...]:
    """The request and the state of its server."""
    server = case["server"]
    told = ("name", "flavor", "host", "status", "task", "locked")
    return (case["kind"], UUID.sub("…", case["target"] or ""), *(server[name] for name in told))


def words(case: Case) -> str:
    return CONDUCTOR.sub(r"\1:", UUID.sub("…", case["nova"]["words"]))


@dataclass(frozen=True)
class Differs:
    """A step that found the same server in both runs, and the fields in which its results differ."""

    step: int
    fields: tuple[str, ...]


def compare(one: Mapping[int, Case], other: Mapping[int, Case]) -> list[Differs]:
    """Compare the steps that found the same server in both runs."""
    found = []
    for step in sorted(one.keys() & other.keys()):
        a, b = one[step], other[step]
        if question(a) == question(b):
            fields = [name for name in ("did", "status", "host") if a["nova"][name] != b["nova"][name]]
            fields += ["words"] if words(a) != words(b) else []
            found.append(Differs(step, tuple(fields)))
    return found


def lines(one: Mapping[int, Case], other: Mapping[int, Case]) -> list[str]:
    """Describe every difference, and then the shares of equal results."""
    found = compare(one, other)
    told = []
    for differs in found:
        if differs.fields:
            a, b = one[differs.step], other[differs.step]
            kind, target, *server = question(a)
            told.append(
                f"step {differs.step}: {', '.join(differs.fields)}: {kind} of {server} to {target or 'any host'}"
            )
            told += [f"  {json.dumps(case['nova'])}" for case in (a, b)]
    told.append(f"{len(found)} of {len(one.keys() & other.keys())} steps met the same server in the same state")
    for name in ("did", "status", "words", "host"):
        same = sum(name not in differs.fields for differs in found)
        told.append(f"same {name:<7} {same:>5} of {len(found)}  {same / max(1, len(found)):.2%}")
    named = [differs for differs in found if one[differs.step]["target"]]
    same = sum(not differs.fields for differs in named)
    told.append(f"same in all, of requests that name a host: {same} of {len(named)}  {same / max(1, len(named)):.2%}")
    return told


def load(path: Path) -> dict[int, Case]:
    return {case["step"]: case for case in json.loads(path.read_text())["cases"]}


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print("\n".join(lines(load(Path(sys.argv[1])), load(Path(sys.argv[2])))))
