"""Threads for calls that may never return, because Python cannot end a thread that waits for an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

#: how many times the number of threads may hang before no new ones are made
MOST = 3

T = TypeVar("T")


class Threads:
    """`number` threads that work; those that hang are replaced, up to `MOST` times as many. For one event loop."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool = self._new_pool()
        #: calls that were given up on, with the pool whose thread they hold
        self._hanging: dict[Future[Any], ThreadPoolExecutor] = {}

    @property
    def exhausted(self) -> bool:
        """So many hang that only a new process helps."""
        return len(self._still_hanging()) >= MOST * self._number

    async def run(self, function: Callable[[], T]) -> T:
        """Who gives up on it, by a time-out or by a cancellation, leaves the thread to itself."""
        self._replace_if_hanging()
        call = self._pool.submit(function)
        try:
            return await asyncio.wrap_future(call)
        finally:
            if not call.done() and not call.cancel():
                self._hanging[call] = self._pool

    def close(self) -> None:
        """Take no new calls, and wait for none."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _new_pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._number, thread_name_prefix="cloud")

    def _still_hanging(self) -> dict[Future[Any], ThreadPoolExecutor]:
        if self._hanging:
            self._hanging = {call: pool for call, pool in self._hanging.items() if not call.done()}
        return self._hanging

    def _replace_if_hanging(self) -> None:
        held = sum(pool is self._pool for pool in self._still_hanging().values())
        if 2 * held < self._number or self.exhausted:
            return
        logger.warning(
            "%s of %s threads wait for answers that do not come; new ones take their place", held, self._number
        )
        # those that still work finish what they were given
        self._pool.shutdown(wait=False)
        self._pool = self._new_pool()
