"""docs/prerequisites.md has each prerequisite, in the status's order, with each of its reasons, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vmferry.cloud.model import ResolvedType
from vmferry.prerequisites.chains import TABLE
from vmferry.prerequisites.enums import Name, Reason

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "operator" / "vmferry"
PAGE = (ROOT / "docs" / "prerequisites.md").read_text(encoding="utf-8")

#: what is found of a prerequisite elsewhere than in the file of its name
BESIDES = {
    Name.AVAILABILITY_ZONE: ["prerequisites/flavor_demands.py"],
    Name.TARGET_HOST: ["planning/targets.py"],
    Name.SERVER_TASK: ["prerequisites/stuck.py"],
}
#: in planning, but of no prerequisite
OF_ATTEMPTS = {Reason.CLOUD_REFUSED}


def file_of(name: Name) -> str:
    return "prerequisites/" + re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=U)(?=M)", "_", name.value).lower() + ".py"


def reasons_in_the_code(name: Name) -> set[str]:
    texts = [(SOURCES / path).read_text(encoding="utf-8") for path in (file_of(name), *BESIDES.get(name, []))]
    words = {word for text in texts for word in re.findall(r"\bReason\.([A-Z_]+)", text)}
    return {Reason[word].value for word in words} - {*OF_ATTEMPTS, Reason.FACT_UNKNOWN}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_first_table_has_them_in_the_order_of_the_status_with_their_kinds() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(#(\w+)\) \| .* \| ([\w, ]+) \|$", PAGE, re.MULTILINE)
    told = [(name, anchor, kinds) for name, anchor, kinds in rows]
    every = frozenset(ResolvedType)
    assert told == [
        (
            p.name.value,
            p.name.value.lower(),
            "all" if kinds == every else ", ".join(k.value for k in ResolvedType if k in kinds),
        )
        for p, kinds in TABLE
    ]


@pytest.mark.parametrize("name", list(Name))
def test_a_section_has_each_reason_of_the_check_with_its_remedy(name: Name) -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", section(name.value), re.MULTILINE)
    assert {reason for reason, _, _ in rows} - {Reason.FACT_UNKNOWN.value} == reasons_in_the_code(name)


@pytest.mark.parametrize("name", list(Name))
def test_a_section_says_what_unknown_means_where_the_check_can_say_so(name: Name) -> None:
    code = (SOURCES / file_of(name)).read_text(encoding="utf-8")
    text = section(name.value)
    assert "Unknown" in text and ("Never `Unknown`" in text) == ("unknown(" not in code)
