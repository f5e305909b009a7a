"""Serves /healthz, /readyz and /metrics without a login, in a thread and an event loop of its own.

Because there is no login, clients must not be able to exhaust the operator's memory, or the time of the event loop that
renews its Lease. aiohttp's server limits neither the time for the head of a request nor the number of connections. A
probe needs only one request and one response per connection, so this server implements just that.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, TypeVar

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Metric, generate_latest

from vmferry.runtime.config import EVERY_ADDRESS
from vmferry.runtime.health import Health

#: maximum number of bytes of the request line and all header lines
HEAD_BYTES = 8192
#: seconds that a client has to send the head, and again to receive the response
DEADLINE = 5.0
#: maximum number of connections; a further connection closes the oldest, so a probe that sends at once is answered
CONNECTIONS = 32
#: seconds that the operator's event loop has to respond, and seconds for which metrics are cached
LOOP_SECONDS = 2.0
METRICS_SECONDS = 1.0
#: seconds without a heartbeat after which the operator's event loop is stuck, and seconds between its heartbeats
LOOP_STUCK_SECONDS = 30.0
LOOP_BEAT = 1.0

_TEXT = "text/plain; charset=utf-8"
_REQUEST = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\r\n")

logger = logging.getLogger(__name__)

T = TypeVar("T")
#: HTTP status, type and content
Answer = tuple[HTTPStatus, str, bytes]


class HealthServer:
    """Serves between `start` and `stop`, which must be called in the operator's event loop."""

    def __init__(
        self,
        health: Health,
        address: str,
        port: int,
        inventory: Callable[[], Iterable[Metric]] = tuple,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        """`inventory` is called in the operator's event loop; `registry` is read in the server's thread."""
        self._health = health
        self._address = address
        self._port = port
        self._inventory = inventory
        self._registry = registry
        self._thread = threading.Thread(target=self._run, name="probes", daemon=True)
        self._bound: concurrent.futures.Future[int] = concurrent.futures.Future()
        #: open connections, the oldest first
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._metrics: tuple[float, bytes] = float("-inf"), b""
        self._measuring: asyncio.Lock

    async def start(self) -> int:
        """Return the port; for port 0 a free one is chosen. Raises OSError if the port is in use."""
        self._main = asyncio.get_running_loop()
        self._beating = asyncio.create_task(self._beat(), name="event loop")
        self._thread.start()
        return await asyncio.wrap_future(self._bound)

    async def stop(self) -> None:
        self._beating.cancel()
        if self._bound.done() and self._bound.exception() is None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        await asyncio.to_thread(self._thread.join, DEADLINE)

    async def _beat(self) -> None:
        while True:
            self._health.beat("event loop", LOOP_STUCK_SECONDS)
            await asyncio.sleep(LOOP_BEAT)

    # -- in the server's thread

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._bound.done():
                logger.exception("the health port is served no more")
            else:
                self._bound.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._stopping, self._measuring = asyncio.get_running_loop(), asyncio.Event(), asyncio.Lock()
        every = self._address == EVERY_ADDRESS
        place: dict[str, Any] = (
            {"sock": every_address(self._port)} if every else {"host": self._address, "port": self._port}
        )
        server = await asyncio.start_server(self._connected, limit=HEAD_BYTES, **place)
        async with server:
            self._bound.set_result(server.sockets[0].getsockname()[1])
            await self._stopping.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        while len(self._connections) > CONNECTIONS:
            oldest = next(iter(self._connections))
            self._connections.pop(oldest).transport.abort()
            oldest.cancel()
        try:
            async with asyncio.timeout(DEADLINE):
                method, answer = await self._answer(reader)
            async with asyncio.timeout(DEADLINE):
                writer.write(_written(*answer, body=method != b"HEAD"))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client is slow or gone, or the connection was closed in favour of a newer one
        finally:
            writer.transport.abort()
            self._connections.pop(task, None)

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[bytes, Answer]:
        """Read a request and return its method and the response."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return b"GET", _plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        request = _REQUEST.match(head)
        if request is None:
            return b"GET", _plain(HTTPStatus.BAD_REQUEST)
        method, path = request[1], request[2].partition(b"?")[0]
        pages: dict[bytes, Callable[[], Coroutine[Any, Any, Answer]]] = {
            b"/healthz": self._healthz,
            b"/readyz": self._readyz,
            b"/metrics": self._metrics_page,
        }
        if path not in pages:
            return method, _plain(HTTPStatus.NOT_FOUND)
        if method not in (b"GET", b"HEAD"):
            return method, _plain(HTTPStatus.METHOD_NOT_ALLOWED)
        try:
            return method, await pages[path]()
        except Exception:
            logger.exception("no answer to a probe")
            return method, _plain(HTTPStatus.INTERNAL_SERVER_ERROR)

    async def _healthz(self) -> Answer:
        return _told(self._health.sick(), [])

    async def _readyz(self) -> Answer:
        async def ask() -> Answer:
            return _told(self._health.unready(), self._health.notes())

        try:
            return await self._in_main_loop(ask())
        except TimeoutError:
            return _told(["event loop: no answer in time"], [])

    async def _metrics_page(self) -> Answer:
        async def count() -> list[Metric]:
            return list(self._inventory())

        async with self._measuring:  # simultaneous requests share one collection
            at, text = self._metrics
            if time.monotonic() - at >= METRICS_SECONDS:
                try:
                    counted = await self._in_main_loop(count())
                except TimeoutError:
                    counted = []  # without the inventory, the other metrics can still show that the loop hangs
                text = generate_latest(self._registry) + generate_latest(_Counted(counted))
                self._metrics = time.monotonic(), text
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, text

    async def _in_main_loop(self, asked: Coroutine[Any, Any, T]) -> T:
        """Run the coroutine in the operator's event loop. Raises TimeoutError after `LOOP_SECONDS`."""
        future = asyncio.run_coroutine_threadsafe(asked, self._main)
        async with asyncio.timeout(LOOP_SECONDS):
            return await asyncio.wrap_future(future)


def every_address(port: int) -> socket.socket:
    """One socket for all IPv4 and IPv6 addresses, for Pods with either or both.

    Raises OSError if the port is in use.
    """
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


class _Counted(CollectorRegistry):
    """A registry of metrics that were collected already, for `generate_latest`."""

    def __init__(self, counted: list[Metric]) -> None:
        super().__init__()
        self._counted = counted

    def collect(self) -> Iterable[Metric]:
        return self._counted


def _plain(status: HTTPStatus) -> Answer:
    return status, _TEXT, f"{status.phrase}\n".encode()


def _told(problems: list[str], notes: list[str]) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if problems else HTTPStatus.OK
    return status, _TEXT, ("\n".join((problems or ["ok"]) + notes) + "\n").encode(errors="replace")


def _written(status: HTTPStatus, kind: str, content: bytes, *, body: bool) -> bytes:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (content if body else b"")
