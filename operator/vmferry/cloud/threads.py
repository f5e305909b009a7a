"""Threads for calls that may never return: Python cannot end a thread that waits for an answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

#: hanging threads allowed, as a multiple of the pool's size, before no new pool is created
MOST = 3

T = TypeVar("T")


class Threads:
    """A pool of `number` threads that replaces hanging ones, up to `MOST` times `number`. For one event loop."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._pool = self._new_pool()
        #: abandoned calls that still run, with the pool whose thread each of them occupies
        self._hanging: dict[Future[Any], ThreadPoolExecutor] = {}

    @property
    def exhausted(self) -> bool:
        """Whether so many threads hang that only a new process helps."""
        return len(self._still_hanging()) >= MOST * self._number

    async def run(self, function: Callable[[], T]) -> T:
        """Run `function` in a thread. After a timeout or a cancellation, the thread keeps running on its own."""
        self._replace_if_hanging()
        call = self._pool.submit(function)
        try:
            return await asyncio.wrap_future(call)
        finally:
            if not call.done() and not call.cancel():
                self._hanging[call] = self._pool

    def close(self) -> None:
        """Accept no new calls, and do not wait for running ones."""
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
        # calls that are still running may finish
        self._pool.shutdown(wait=False)
        self._pool = self._new_pool()
