"""The operator broken by hand in typical ways, and that the storm sees each: `python -m tests.storm.broken`.

A rule that nothing can break proves nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from unittest import mock

from tests.storm.world import storm
from vmferry.cloud.actions import Move, NotSent, Outcome, Unanswered
from vmferry.prerequisites import chains
from vmferry.prerequisites.frame import passed
from vmferry.prerequisites.words import Name
from vmferry.reconcilers import attempts, vmmigration
from vmferry.reconcilers.scope import Scope
from vmferry.runtime import kinds, reconcile
from vmferry.runtime.fence import Fence
from vmferry.runtime.queue import WorkQueue

#: storms in which much happens: two operators, lost answers, a drain
SEEDS = (3006, 3026, 3003, 3002, *range(3007, 3026))


@dataclass(frozen=True, slots=True)
class Break:
    """How the operator is broken, and the rules by which that is seen."""

    how: Callable[[ExitStack], None]
    rules: frozenset[str]


def put(stack: ExitStack, where: Any, name: str, what: Any) -> None:
    stack.enter_context(mock.patch.object(where, name, what))


def of_kind(stack: ExitStack, **change: Any) -> None:
    """VMMigrations are decided on in another way."""
    row = replace(kinds.VM_MIGRATION, **change)
    stack.enter_context(mock.patch.dict(kinds.KINDS, {row.name: row}))


def passes(stack: ExitStack, *names: Name) -> None:
    """These prerequisites are always met."""

    def always(check: Any) -> Any:
        if check.name not in names:
            return check
        return replace(check, check=lambda question: passed(check.name, "never mind", None))

    table = tuple((always(check), of) for check, of in chains.TABLE)
    chain = {kind: tuple(always(check) for check in of) for kind, of in chains.CHAINS.items()}
    for module in [m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("vmferry.")]:
        for name, value in (("TABLE", table), ("CHAINS", MappingProxyType(chain))):
            if getattr(module, name, None) is getattr(chains, name) and module is not chains:
                put(stack, module, name, value)
    put(stack, chains, "TABLE", table)
    put(stack, chains, "CHAINS", MappingProxyType(chain))


def no_intent(stack: ExitStack) -> None:
    """The status says only afterwards what was done."""
    write = reconcile.Reconciler._put_status

    async def later(self: Any, kind: Any, key: Any, obj: Any, status: Any) -> Any:
        attempts = getattr(status, "attempts", [])
        if attempts and attempts[-1].state == "Requested" and attempts[-1].request_id is None:
            return kind.with_status(obj, status)
        return await write(self, kind, key, obj, status)

    put(stack, reconcile.Reconciler, "_put_status", later)


def sends_again(stack: ExitStack) -> None:
    """No answer is taken for no effect, and others' migrations are not looked for."""
    settle = vmmigration.settle

    def hasty(obj: Any, action: Any, outcome: Outcome, now: datetime) -> Any:
        lost = isinstance(outcome, Unanswered) and isinstance(action, Move)
        return settle(obj, action, NotSent("lost") if lost else outcome, now)

    of_kind(stack, settle=hasty)
    passes(stack, Name.SERVER_TASK)


def no_fence(stack: ExitStack) -> None:
    """Whoever leads, everybody acts."""
    init = Fence.__init__

    def always(self: Any, kube: Any, term: Any) -> None:
        init(self, kube, lambda: 0)

    put(stack, Fence, "__init__", always)


def no_limits(stack: ExitStack) -> None:
    put(stack, vmmigration, "full", lambda *_: None)


def owes_nothing(stack: ExitStack) -> None:
    """No finalizer holds what is under way."""
    put(stack, Scope, "owes", False)


def believes(stack: ExitStack) -> None:
    """A move that Nova took counts as done."""

    def hopeful(scope: Any, attempt: Any, record: Any) -> Any:
        attempt.state, attempt.ended_at = "completed", scope.now
        return None

    put(stack, attempts, "_in_flight", hopeful)


def hot(stack: ExitStack) -> None:
    """What is to be looked at later is looked at now."""
    put(stack, WorkQueue, "add_after", lambda self, key, delay, **_: self.add(key))


def chatters(stack: ExitStack) -> None:
    """The status is written whether it says something new or not."""
    put(stack, reconcile, "_same", lambda *_: False)


def gives_up(stack: ExitStack) -> None:
    """What is not known yet never will be: an exception out of a look."""

    def impatient(*_: Any) -> Any:
        raise ValueError("no record")

    put(stack, attempts, "_without_record", impatient)


BREAKS: dict[str, Break] = {
    "no write-ahead intent": Break(no_intent, frozenset({"lost", "I3"})),
    "sends again after no answer": Break(sends_again, frozenset({"I3"})),
    "drops the fence": Break(no_fence, frozenset({"I32"})),
    "ignores the limits": Break(no_limits, frozenset({"I24"})),
    "holds no finalizer": Break(owes_nothing, frozenset({"I9", "lost"})),
    "believes that what began has ended": Break(believes, frozenset({"I5"})),
    "looks again at once": Break(hot, frozenset({"a hot loop"})),
    "writes what is written already": Break(chatters, frozenset({"says the same"})),
    "a look ends in an exception": Break(gives_up, frozenset({"an exception"})),
}


@contextmanager
def broken(name: str) -> Iterator[None]:
    with ExitStack() as stack:
        BREAKS[name].how(stack)
        yield


def seen(name: str) -> set[str]:
    """The rules by which the first storm that sees that break does; not every storm has a chance to."""
    with broken(name):
        return next((by for seed in SEEDS if (by := storm(seed).rules & BREAKS[name].rules)), set())


def main() -> int:
    """A line for each; 1 when one of them is not seen."""
    blind = 0
    for name in BREAKS:
        by = seen(name)
        blind += not by
        print(f"{'seen by ' + ', '.join(sorted(by)) if by else 'NOT SEEN'}: {name}", flush=True)
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main())
