"""Runs a reconcile, which is a list of steps: the first step that returns a decision ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Facts = ParamSpec("Facts")
Decided = TypeVar("Decided")


def run(steps: Iterable[Callable[Facts, Decided | None]], *facts: Facts.args, **more: Facts.kwargs) -> Decided | None:
    """The first decision that a step returns; None if no step decides."""
    return next((decided for step in steps if (decided := step(*facts, **more)) is not None), None)
