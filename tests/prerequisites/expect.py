"""How the tables of the prerequisites are written: a question, the verdict, and words that its sentences must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from vmferry.prerequisites.check import Finding, Question
from vmferry.prerequisites.enums import Name, Reason, Result


@dataclass(frozen=True)
class Case:
    """`says` and `remedy` are words that must stand in the message and in the remedy (R20)."""

    question: Question
    result: Result
    reason: Reason | None = None
    says: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()
    host: str | None = None


def passes(question: Question, *says: str) -> Case:
    return Case(question, Result.PASSED, says=says)


def fails(
    question: Question, reason: Reason, says: tuple[str, ...], remedy: tuple[str, ...], host: str | None = None
) -> Case:
    return Case(question, Result.FAILED, reason, says, remedy, host)


def cannot_tell(question: Question, says: tuple[str, ...], remedy: tuple[str, ...], host: str | None = None) -> Case:
    return Case(question, Result.UNKNOWN, Reason.FACT_UNKNOWN, says, remedy, host)


def compare(finding: Finding, name: Name, case: Case) -> None:
    assert (finding.name, finding.result, finding.reason) == (name, case.result, case.reason), finding
    missing = [word for word in case.says if word not in finding.message]
    missing += [word for word in case.remedy if word not in (finding.remedy or "")]
    assert not missing, f"{missing} not in {finding}"
    if case.host is not None:
        assert finding.host == case.host, f"R20: on which host: {finding}"
    if case.result in (Result.FAILED, Result.UNKNOWN):
        assert finding.remedy, f"R20: what the user can do: {finding}"


def table(check: Callable[[Question], Finding], name: Name, cases: Mapping[str, Case]) -> Callable[[str], None]:
    """A test of each case of a table, for a module to call `test_it_says`."""

    @pytest.mark.parametrize("sentence", cases)
    def says(sentence: str) -> None:
        finding = check(cases[sentence].question)
        compare(finding, name, cases[sentence])
        assert "None" not in finding.message

    return says
