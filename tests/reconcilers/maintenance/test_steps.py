"""The order of the steps: what needs to know the servers of a host cannot run before they are known (R27)."""

from __future__ import annotations

from typing import Any

import pytest

from vmferry.reconcilers.maintenance import plan
from vmferry.reconcilers.maintenance.survey import Survey
from vmferry.reconcilers.steps import run


@pytest.mark.parametrize("step", [*plan.ADMISSION, *plan.MAINTENANCE], ids=lambda step: step.__name__)
def test_a_step_that_follows_the_survey_does_not_run_without_it(step: Any) -> None:
    with pytest.raises(TypeError, match="survey"):
        step(object())


def test_a_survey_is_of_a_host() -> None:
    """An empty one would be an empty host."""
    with pytest.raises(TypeError, match="host"):
        Survey()  # type: ignore[call-arg]


def test_the_first_step_that_decides_ends_the_reconcile() -> None:
    ran: list[int] = []

    def step(number: int, decision: str | None) -> Any:
        def decide(scope: str) -> str | None:
            ran.append(number)
            return decision and f"{decision} of {scope}"

        return decide

    assert run((step(1, None), step(2, "the end"), step(3, "another")), "a scope") == "the end of a scope"
    assert ran == [1, 2]
    assert run((step(1, None),), "a scope") is None
