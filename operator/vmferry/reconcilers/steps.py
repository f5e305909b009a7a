"""A reconcile is a list of steps, and the first one that decides ends it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

Facts = ParamSpec("Facts")
Decided = TypeVar("Decided")


def run(steps: Iterable[Callable[Facts, Decided | None]], *facts: Facts.args, **more: Facts.kwargs) -> Decided | None:
    """What the first step that decides has decided; None: none of them does."""
    return next((decided for step in steps if (decided := step(*facts, **more)) is not None), None)
