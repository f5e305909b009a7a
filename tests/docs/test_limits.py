"""docs/limits.md has the bounds that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmferry.cloud.nova.session import MINIMUM
from vmferry.prerequisites.operating_system import UPGRADES
from vmferry.resources.hostmaintenance import MAX_BLOCKERS, MAX_MOVES, HostMaintenanceSpec
from vmferry.resources.vmmigration import MAX_ATTEMPTS, MAX_ELIGIBLE, MAX_INELIGIBLE

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "limits.md").read_text(encoding="utf-8")
MOST_PARALLEL = next(m.le for m in HostMaintenanceSpec.model_fields["max_parallel"].metadata if hasattr(m, "le"))

BOUNDS = {
    "Nova": f"microversion {'.'.join(map(str, MINIMUM))} or newer",
    "attempts of a VMMigration": f"{MAX_ATTEMPTS}, whatever happens",
    "`status.eligibleTargets`, `status.ineligibleTargets`": f"the best {MAX_ELIGIBLE} hosts, {MAX_INELIGIBLE} reasons",
    "`status.blockers`, `status.moves`": f"{MAX_BLOCKERS} servers each",
    "parallel moves of a HostMaintenance": f"{MOST_PARALLEL}, within",
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_bound_is_that_of_the_code(what: str) -> None:
    row = re.search(rf"^\| {re.escape(what)} \| (.*) \|$", PAGE, re.MULTILINE)
    assert row is not None and row[1].startswith(BOUNDS[what])


def test_the_lists_of_servers_are_equally_long() -> None:
    assert MAX_BLOCKERS == MAX_MOVES, "docs/limits.md tells one number of both"


def test_the_upgrades_that_are_known_are_told() -> None:
    told = re.findall(r"an upgrade is known for (\w+) ([\d.]+) to ([\d.]+) only", PAGE)
    assert {(old.distribution, old.version, new.version) for old, new in UPGRADES} == set(told)
