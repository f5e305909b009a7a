"""Proxies in a separate thread, controlled from other threads."""

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
    """A context manager that runs proxies. Its methods must be called from other threads than its own."""

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
        """Order a fault. Returns its number, for `revoke`."""
        return self._call(lambda: proxy.faults.add(fault))

    def revoke(self, proxy: Proxy, number: int) -> None:
        """Remove a fault; does nothing if it was already used up."""
        self._call(lambda: proxy.faults.active.pop(number, None))

    def order_watch(self, proxy: Proxy, fault: WatchFault | None) -> None:
        """Set the fault of new watches, and end the existing watches; None removes the fault."""

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
        """Remove all faults of all proxies."""
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
    """Cancel handlers of requests whose client is gone, which may still wait for the upstream server."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
