"""Every word of a condition is documented, given by the code, and of the enum of its kind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmferry.planning.choose_type import TypeReason
from vmferry.prerequisites.enums import Reason
from vmferry.reconcilers.maintenance.reasons import CONDITIONS as MAINTENANCE_CONDITIONS
from vmferry.reconcilers.maintenance.reasons import MaintenanceReason
from vmferry.reconcilers.migration.reasons import CONDITIONS as MIGRATION_CONDITIONS
from vmferry.reconcilers.migration.reasons import MigrationReason
from vmferry.resources.words import MaintenancePhase, Phase

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "operator" / "vmferry"
TEXT = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py"))


@pytest.mark.parametrize("reason", [*MigrationReason, *MaintenanceReason, *Reason, *TypeReason], ids=repr)
def test_a_reason_is_given_somewhere_and_explained(
    reason: MigrationReason | MaintenanceReason | Reason | TypeReason,
) -> None:
    assert re.search(rf"{type(reason).__name__}\.{reason.name}\b", TEXT), "nothing gives it"
    assert reason.meaning
    assert "|" not in reason.meaning + reason.remedy, "it would end the cell of its table"


@pytest.mark.parametrize(
    ("reasons", "conditions"),
    [
        pytest.param(MigrationReason, MIGRATION_CONDITIONS, id="VMMigration"),
        pytest.param(MaintenanceReason, MAINTENANCE_CONDITIONS, id="HostMaintenance"),
    ],
)
def test_a_reason_is_of_known_conditions(
    reasons: type[MigrationReason | MaintenanceReason], conditions: dict[str, tuple[str, str, str]]
) -> None:
    for reason in reasons:
        assert set(reason.conditions.split(", ")) <= conditions.keys(), reason


@pytest.mark.parametrize(
    ("page", "title", "enum"),
    [
        pytest.param("migrations.md", "Phases", Phase, id="VMMigration"),
        pytest.param("host-maintenance.md", "Phases", MaintenancePhase, id="HostMaintenance"),
    ],
)
def test_the_guide_has_each_phase(page: str, title: str, enum: type[Phase | MaintenancePhase]) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = text.split(f"\n## {title}\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == {word.value for word in enum}
