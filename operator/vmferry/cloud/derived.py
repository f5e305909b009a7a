"""Results computed once per snapshot and shared by all callers."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, TypeVar, TypeVarTuple

Inputs = TypeVarTuple("Inputs")
Result = TypeVar("Result")

#: results kept for one function: reconciles with a fresh reading of their server use other inputs in between
_KEPT = 4


class Derived:
    """Results of pure functions, kept exactly as long as the snapshot that holds this object.

    This is the only place where deciding code keeps anything between two calls. A result is reused only for the very
    same input objects; inputs, like snapshots, are replaced and never changed. Two operators, or two tests, share
    nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Callable[..., Any], list[tuple[tuple[Any, ...], Any]]] = {}

    def once(self, compute: Callable[[*Inputs], Result], *inputs: *Inputs) -> Result:
        """`compute(*inputs)`, cached; the caller must not change the result.

        The snapshot itself must not be an input: it would keep itself alive until the next full garbage collection.
        """
        known = self._known.setdefault(compute, [])
        for before, result in known:
            if all(map(is_, before, inputs)):
                return result  # type: ignore[no-any-return]
        result = compute(*inputs)
        known.insert(0, (inputs, result))
        del known[_KEPT:]
        return result
