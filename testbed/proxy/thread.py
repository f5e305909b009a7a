"""Proxies in a thread of their own, ordered about from outside of it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from testbed.proxy.proxy import Proxy
from testbed.proxy.watch import WatchFault
from vmferry.simulator.faults import Fault

T = TypeVar("T")
SECONDS = 30


class Proxies:
    """Runs between `with` and its end. All methods are for other threads than its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self.all: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for proxy in self.all:
            self._run(proxy.stop())
        self._run(_end_the_others())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS)

    def start(self, proxy: Proxy) -> Proxy:
        self._run(proxy.start())
        self.all.append(proxy)
        return proxy

    def order(self, proxy: Proxy, fault: Fault) -> int:
        """Its number, for `revoke`."""
        return self._call(lambda: proxy.faults.add(fault))

    def revoke(self, proxy: Proxy, number: int) -> None:
        """Nothing happens when it was used up."""
        self._call(lambda: proxy.faults.active.pop(number, None))

    def order_watch(self, proxy: Proxy, fault: WatchFault | None) -> None:
        """For the watches that begin from now on, so those that there are end; None: no fault any more."""

        def ordered() -> None:
            proxy.watch_faults[:] = [fault] if fault else []
            proxy.cut_watches()

        self._call(ordered)

    def cut_watches(self, proxy: Proxy) -> int:
        return self._call(proxy.cut_watches)

    def shut(self, proxy: Proxy) -> None:
        self._run(proxy.shut())

    def open(self, proxy: Proxy) -> None:
        self._run(proxy.open())

    def clear(self) -> None:
        """No fault is in force any more, anywhere."""
        for proxy in self.all:
            self._call(proxy.faults.active.clear)
            if proxy.watch_faults:
                self.order_watch(proxy, None)
            self.open(proxy)

    def _call(self, function: Callable[[], T]) -> T:
        async def called() -> T:
            return function()

        return self._run(called())

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(SECONDS)


async def _end_the_others() -> None:
    """What handles a request of somebody who has gone may still wait for its server."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
