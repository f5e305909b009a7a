"""Virtual time: an event loop whose clock jumps to the next timer, and patches that give modules that clock.

Nothing in a storm waits for a socket or a thread. So when no task is ready, the loop advances the clock instead of
waiting.
"""

from __future__ import annotations

import asyncio
import random
import selectors
import time as real_time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo
from types import SimpleNamespace
from typing import Any
from unittest import mock

from vmferry.cloud import observer
from vmferry.cloud.facts import resource_manager
from vmferry.cloud.nova import hosts, http, not_now, placement, servers, session
from vmferry.runtime import elector, health, host_lease, operator, queue, reconcile, triggers, view_age

#: the virtual start time of every storm
START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

#: returns the error in seconds of the wall clock of the running operator
SKEW: ContextVar[Callable[[], float]] = ContextVar("skew", default=lambda: 0.0)


class Loop(asyncio.SelectorEventLoop):
    """An event loop with virtual time in seconds, which starts well above 0 like a machine's monotonic clock."""

    def __init__(self) -> None:
        super().__init__(_Selector(self))
        self.at = 1000.0

    def time(self) -> float:
        return self.at


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will ever happen")
        self._loop.at += max(timeout, 0.0)
        return []


def moment(loop: Loop) -> datetime:
    """The true virtual time."""
    return START + timedelta(seconds=loop.at - 1000.0)


class _Serial(ThreadPoolExecutor):
    """Executes everything at once in the calling thread."""

    def map(self, fn: Any, *iterables: Any, **_: Any) -> Any:
        return [fn(*each) for each in zip(*iterables, strict=True)]


@contextmanager
def patched(loop: Loop, seed: int) -> Iterator[None]:
    """Make the operator's modules use the time of `loop`, and random numbers that are determined by `seed`."""

    class Moment(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return moment(loop) + timedelta(seconds=SKEW.get()())

    clocks = (real_time.monotonic, elector.clock)
    before = random.getstate()
    random.seed(seed)
    with ExitStack() as stack:

        def put(where: Any, name: str, what: Any) -> None:
            stack.enter_context(mock.patch.object(where, name, what))

        fake_time = SimpleNamespace(monotonic=loop.time)
        for module in (observer, session, http, not_now):
            put(module, "time", fake_time)
        for module in (
            observer,
            session,
            hosts,
            servers,
            resource_manager,
            reconcile,
            operator,
            elector,
            host_lease,
            view_age,
        ):
            put(module, "datetime", Moment)
        put(placement, "ThreadPoolExecutor", _Serial)
        for function in (
            queue.WorkQueue.__init__,
            triggers.Triggers.__init__,
            host_lease.HostLeases.__init__,
            elector.Elector.__init__,
            health.Health.__init__,
        ):
            named = {k: loop.time if v in clocks else v for k, v in (function.__kwdefaults__ or {}).items()}
            placed = tuple(loop.time if v in clocks else v for v in function.__defaults__ or ())
            put(function, "__kwdefaults__", named or None)
            put(function, "__defaults__", placed or None)
        try:
            yield
        finally:
            random.setstate(before)
