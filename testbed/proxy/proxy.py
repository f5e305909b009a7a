"""A proxy in front of one server. It forwards requests unless a fault was ordered for them.

The faults are those of the simulator (`vmferry.simulator.faults.Fault`) and, for watch streams, of
`testbed.proxy.watch`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from testbed.proxy.journal import Journal, Passed
from testbed.proxy.watch import WatchFault, altered
from vmferry.simulator.faults import Earlier, Fault, Faults, refusal, reset, spoiled

#: hop-by-hop headers (RFC 9110, 7.6.1), and headers that would prevent reading the bodies
_NOT_HANDED_ON = {
    name.lower()
    for name in (
        hdrs.CONNECTION,
        hdrs.KEEP_ALIVE,
        hdrs.TRANSFER_ENCODING,
        hdrs.CONTENT_LENGTH,
        hdrs.HOST,
        hdrs.ACCEPT_ENCODING,
        hdrs.EXPECT,
        hdrs.UPGRADE,
    )
}


class Proxy:
    """A proxy in the event loop that starts it; `testbed.proxy.thread` has a loop of its own.

    `upstream` is scheme, address and port. `addresses` maps texts in responses to replacements, so that the endpoints
    of a catalog lead clients to the proxies.
    """

    def __init__(
        self,
        name: str,
        upstream: str,
        *,
        seed: int = 1,
        trust: ssl.SSLContext | None = None,
        serve_as: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.upstream = upstream.rstrip("/")
        self.addresses: Mapping[str, str] = {}
        self.faults = Faults(seed)
        self.watch_faults: list[WatchFault] = []
        self.journal = Journal()
        #: called in the proxy's thread after a request other than GET had its effect, before its response
        self.on_effect: Callable[[Passed], object] | None = None
        #: number of applied faults by name
        self.met: Counter[str] = Counter()
        self.port = 0
        self._trust = trust
        self._serve_as = serve_as
        self._earlier: Earlier[web.Response] = Earlier()
        self._seed = seed
        self._watches: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._serve_as else 'http'}://127.0.0.1:{self.port}"

    # -- lifecycle

    async def start(self) -> None:
        # The server may have closed a kept connection in the meantime, which would look like a lost response.
        connector = aiohttp.TCPConnector(limit=0, force_close=self._trust is None, ssl=self._trust or True)
        self._session = aiohttp.ClientSession(
            connector=connector,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._pass)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site: web.TCPSite | None = None
        await self.open()

    async def stop(self) -> None:
        await self.shut()
        await self._runner.cleanup()
        await self._session.close()

    async def open(self) -> None:
        """Listen; after `shut`, on the same port again."""
        if self._site is None:
            site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._serve_as, reuse_address=True)
            await site.start()
            self._site = site
            self.port = self._runner.addresses[0][1]

    async def shut(self) -> None:
        """Simulate an outage: refuse new connections, and end the existing ones."""
        if self._site is not None:
            site, self._site = self._site, None
            await site.stop()
            self.hang_up()

    def hang_up(self) -> None:
        """End every connection, including those of watches."""
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    def cut_watches(self) -> int:
        """End every watch, as when an API server goes away. Returns their number."""
        tasks = list(self._watches)
        for task in tasks:
            task.cancel()
        return len(tasks)

    # -- a request

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        passed = Passed.of(request.method, request.path_qs, body)
        self.journal.note(passed)
        fault = self.faults.take(request.method, request.path_qs) or Fault()
        passed.fault = told(fault)
        if passed.fault:
            self.met[passed.fault] += 1
        if fault.delay:
            await asyncio.sleep(fault.delay)
        if fault.drop == "before":
            return reset(request)
        if fault.status is not None:
            passed.answered = True
            return refusal(fault, f"the proxy of {self.name}")
        old = self._earlier.find(request.path_qs) if fault.stale and request.method == "GET" else None
        if old is not None:
            return web.Response(status=old.status, body=old.body, headers=old.headers)
        try:
            async with await self._ask(request, body) as answer:
                passed.status = answer.status
                if "watch=true" in request.query_string and answer.status == 200:
                    return await self._stream(request, answer)
                content = self._led_here(await answer.read())
        except aiohttp.ClientError:
            return reset(request)
        if self.on_effect is not None and request.method != "GET":
            self.on_effect(passed)
        response = web.Response(status=answer.status, body=content, headers=self._headers(answer.headers))
        if request.method == "GET" and answer.status == 200:
            kept = web.Response(status=answer.status, body=content, headers=self._headers(answer.headers))
            self._earlier.note(request.path_qs, kept)
        if fault.lag:
            await asyncio.sleep(fault.lag)
        answered = await spoiled(fault, request, response)
        passed.answered = answered is response
        return answered

    async def _ask(self, request: web.Request, body: bytes) -> aiohttp.ClientResponse:
        headers = self._headers(request.headers)
        if hdrs.USER_AGENT not in headers:
            headers[hdrs.USER_AGENT] = ""
        return await self._session.request(
            request.method,
            URL(self.upstream + request.raw_path, encoded=True),
            data=body or None,
            headers=headers,
            allow_redirects=False,
            skip_auto_headers=[hdrs.CONTENT_TYPE],
        )

    def _headers(self, headers: Mapping[str, str]) -> CIMultiDict[str]:
        kept: CIMultiDict[str] = CIMultiDict()
        for name, value in headers.items():
            if name.lower() not in _NOT_HANDED_ON:
                kept.add(name, self._led_here(value.encode()).decode())
        return kept

    def _led_here(self, content: bytes) -> bytes:
        """Replace the addresses of servers behind proxies by those of their proxies."""
        for address, ours in self.addresses.items():
            content = content.replace(address.encode(), ours.encode())
        return content

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Forward a watch line by line until either side ends."""
        response = web.StreamResponse(status=answer.status, headers=self._headers(answer.headers))
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._watches.add(task)
        self._seed += 1
        fault = next((one for one in self.watch_faults if one.matches(request.path_qs)), None)
        try:
            async for line in altered(answer.content, fault, self._seed, self.met):
                await response.write(line)
        except asyncio.CancelledError:
            self.met["watch cut"] += 1
            if request.transport is not None:
                request.transport.abort()
        except (aiohttp.ClientError, ConnectionError):
            pass
        finally:
            self._watches.discard(task)
        return response


def told(fault: Fault) -> str:
    """The name of a fault in a few words; empty if it has no effect."""
    if fault.status is not None:
        return str(fault.status)
    words = [f"drop {fault.drop}"] if fault.drop else []
    words += [name for name in ("delay", "lag", "truncate", "stale", "redirect", "drip") if getattr(fault, name)]
    return ", ".join(words)
