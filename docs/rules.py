"""Finds the files that cite each rule number, and generates the columns of docs/design/rules.md from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "design" / "rules.md"

#: a single number, or a range like `R25-R30`
_NUMBER = re.compile(r"\b([IR])(\d{1,2})(?:-[IR]?(\d{1,2}))?\b")
_ROW = re.compile(r"^\| ([IR]\d+) \| (.+?) \| (.*?) ?\| (.*?) ?\|$")
#: prefix of the last column where no test cites the rule
KEPT_BY = "Kept by "
#: folders whose files verify that a rule is kept: tests, and the tools that check whole runs
SHOWN_BY = ("tests", "testbed")
#: how many files a cell names before it gives the number of further ones
_NAMED = 3

Citations = Mapping[str, list[str]]


def numbers(text: str) -> Iterator[str]:
    """Yield each rule that the text cites, including those within a range."""
    for letter, first, last in _NUMBER.findall(text):
        yield from (f"{letter}{number}" for number in range(int(first), int(last or first) + 1))


@cache
def citations(*folders: str) -> Citations:
    """The Python files below these folders that cite each rule, by rule; those with most citations first."""
    counts: dict[str, dict[str, int]] = {}
    for path in sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for rule in numbers(path.read_text(encoding="utf-8")):
            files = counts.setdefault(rule, {})
            name = path.relative_to(ROOT).as_posix()
            files[name] = files.get(name, 0) + 1
    return {rule: sorted(files, key=lambda name: (-files[name], name)) for rule, files in counts.items()}


def defined() -> dict[str, tuple[str, str]]:
    """The sentence and the last column of each rule on the page."""
    rows = (_ROW.match(line) for line in PAGE.read_text(encoding="utf-8").splitlines())
    return {row[1]: (row[2], row[4]) for row in rows if row}


def page() -> str:
    """The required content of the page: sentences unchanged, the two columns after them generated."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    return "".join(f"{_with_citations(line)}\n" for line in lines)


def _with_citations(line: str) -> str:
    row = _ROW.match(line)
    if row is None:
        return line
    rule, sentence, _, shown = row.groups()
    tests = citations(*SHOWN_BY).get(rule)
    last = _cell(tests, "tests/") if tests else shown if shown.startswith(KEPT_BY) else ""
    return f"| {rule} | {sentence} | {_cell(citations('operator').get(rule, []), 'operator/vmferry/')} | {last} |"


def _cell(files: list[str], folder: str) -> str:
    """Name the first files, without their common folder."""
    named = ", ".join(f"`{name.removeprefix(folder)}`" for name in files[:_NAMED])
    more = len(files) - _NAMED
    return f"{named} and {more} more" if more > 0 else named
