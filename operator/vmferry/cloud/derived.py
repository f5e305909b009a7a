"""What is computed from a snapshot once, for all who need it."""

from __future__ import annotations

from collections.abc import Callable
from operator import is_
from typing import Any, TypeVar, TypeVarTuple

Inputs = TypeVarTuple("Inputs")
Result = TypeVar("Result")

#: results of one function that are kept: a reconcile with fresh details of its server has inputs of its own in between
_KEPT = 4


class Derived:
    """Results of pure functions, kept for as long as the snapshot that holds this object, and no longer.

    It is the one place where what decides keeps anything between two calls. A result counts only for the very same
    input objects; inputs are replaced and never changed, as a snapshot is. Two operators, or two tests, share nothing.
    """

    def __init__(self) -> None:
        self._known: dict[Callable[..., Any], list[tuple[tuple[Any, ...], Any]]] = {}

    def once(self, compute: Callable[[*Inputs], Result], *inputs: *Inputs) -> Result:
        """`compute(*inputs)`, which the caller must not change.

        The snapshot itself is no input: it would keep itself alive until the next full garbage collection.
        """
        known = self._known.setdefault(compute, [])
        for before, result in known:
            if all(map(is_, before, inputs)):
                return result  # type: ignore[no-any-return]
        result = compute(*inputs)
        known.insert(0, (inputs, result))
        del known[_KEPT:]
        return result
