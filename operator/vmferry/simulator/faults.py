"""Faults on the wire that a test orders: slow responses, errors, connections that drop before or after the request has
its effect, truncated responses, and stale ones."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import struct
import time
from collections import Counter, OrderedDict
from random import Random
from typing import Generic, Literal, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vmferry.simulator.web import Reply

#: seconds between two bytes of a dripping response
DRIP_SECONDS = 0.5


class Fault(BaseModel):
    """A fault for all matching requests. `method` and `path` are regular expressions that match anywhere in the
    text."""

    model_config = ConfigDict(extra="forbid")

    method: str = ".*"
    path: str = ".*"
    #: respond with this status; the request has no effect
    status: int | None = Field(None, ge=400, le=599)
    body: dict[str, object] | None = None
    headers: dict[str, str] = {}
    #: real seconds to wait before the request has its effect
    delay: float = Field(0, ge=0)
    #: real seconds to wait between the effect and the response
    lag: float = Field(0, ge=0)
    #: reset the connection without a response, before or after the request has its effect
    drop: Literal["before", "after"] | None = None
    #: close the connection in the middle of the response body
    truncate: bool = False
    #: the request has its effect, and the response is a redirect to the same URL
    redirect: bool = False
    #: real seconds during which the body is a trickle of blanks; then the connection closes
    drip: float = Field(0, ge=0)
    #: repeat the last response to the same GET; a GET without an earlier response is answered normally
    stale: bool = False
    #: how many requests it affects; None: no limit
    times: int | None = Field(None, ge=1)
    #: the share of matching requests that it affects
    probability: float = Field(1, gt=0, le=1)

    @field_validator("method", "path")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class Faults:
    """The ordered faults, oldest first; the first match applies. `seed` is that of the probabilities."""

    def __init__(self, seed: int = 1) -> None:
        self._numbers = itertools.count(1)
        self._random = Random(seed)  # noqa: S311 - chance, no secret
        self.active: dict[int, Fault] = {}

    def add(self, fault: Fault) -> int:
        number = next(self._numbers)
        self.active[number] = fault
        return number

    def take(self, method: str, path: str) -> Fault | None:
        for number, fault in self.active.items():
            if re.search(fault.method, method) and re.search(fault.path, path):
                if fault.probability < 1 and self._random.random() >= fault.probability:
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        del self.active[number]
                return fault
        return None


Answer = TypeVar("Answer")


class Earlier(Generic[Answer]):
    """The last response to each of the latest `size` distinct GET requests, for faults that are `stale`."""

    def __init__(self, size: int = 512) -> None:
        self._size = size
        self._answers: OrderedDict[str, Answer] = OrderedDict()

    def note(self, path: str, answer: Answer) -> None:
        self._answers[_same(path)] = answer
        self._answers.move_to_end(_same(path))
        if len(self._answers) > self._size:
            self._answers.popitem(last=False)

    def find(self, path: str) -> Answer | None:
        return self._answers.get(_same(path))


def _same(path: str) -> str:
    """The path without the only query parameter that differs with each request."""
    return re.sub(r"changes-since=[^&]*&?", "", path)


class Requests:
    """The number of requests per route, and when the last came, in seconds since 1970 by the clock of this machine.

    Server actions are also counted by name. Lists with an `instance_uuid` are counted separately.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.last: dict[str, float] = {}

    def note(self, method: str, route: str, action: str | None) -> None:
        name = f"{method} {route}" + (f" {action}" if action else "")
        self.counts[name] += 1
        self.last[name] = time.time()

    def clear(self) -> None:
        self.counts.clear()
        self.last.clear()


FAULTS: web.AppKey[Faults] = web.AppKey("faults", Faults)
EARLIER: web.AppKey[Earlier[web.Response]] = web.AppKey("earlier", Earlier)
REQUESTS: web.AppKey[Requests] = web.AppKey("requests", Requests)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith("/_control"):
        return await handler(request)
    await _count(request)
    fault = request.app[FAULTS].take(request.method, request.path_qs)
    earlier = request.app[EARLIER]
    if fault is None:
        return _noted(request, await handler(request))
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.drop == "before":
        return reset(request)
    if fault.status is not None:
        return refusal(fault, "the simulator's control API")
    old = earlier.find(request.path_qs) if fault.stale and request.method == "GET" else None
    if old is not None:
        response: web.StreamResponse = _again(old)
    else:
        response = _noted(request, await handler(request))
    if fault.lag:
        await asyncio.sleep(fault.lag)
    return await spoiled(fault, request, response) if isinstance(response, web.Response) else response


def _noted(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.method == "GET" and isinstance(response, web.Response) and response.status == 200:
        request.app[EARLIER].note(request.path_qs, response)
    return response


def _again(old: web.Response) -> web.Response:
    """Copy a response: aiohttp sends a response object only once."""
    headers = {name: value for name, value in old.headers.items() if name != "Content-Length"}
    return web.Response(status=old.status, body=old.body, headers=headers)


def refusal(fault: Fault, by: str) -> web.Response:
    """The response that the fault orders. Without a body of its own, it has the shape of Nova's errors."""
    assert fault.status is not None
    name = "computeFault" if fault.status >= 500 else "badRequest"
    body = fault.body or {name: {"code": fault.status, "message": f"injected by {by}"}}
    return Reply(fault.status, body, fault.headers).response({})


def reset(request: web.BaseRequest) -> web.Response:
    """Reset the connection, so that the client gets an error instead of a response."""
    if request.transport is not None:
        raw = request.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    return web.Response(status=500)


async def spoiled(fault: Fault, request: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
    """Apply the faults that follow the effect of the request to its response."""
    if fault.drop == "after":
        return reset(request)
    if fault.redirect:
        return web.Response(status=307, headers={"Location": str(request.url)})
    if fault.drip:
        return await dripped(request, whole, fault.drip)
    return await truncated(request, whole) if fault.truncate and whole.body else whole


async def dripped(request: web.BaseRequest, whole: web.Response, seconds: float) -> web.StreamResponse:
    """Send blanks for `seconds` instead of a body, then close the connection."""
    response = web.StreamResponse(status=whole.status, headers={"Content-Type": "application/json"})
    with contextlib.suppress(ConnectionResetError):  # the client has closed the connection
        await response.prepare(request)
        for _ in range(max(1, round(seconds / DRIP_SECONDS))):
            await response.write(b" ")
            await asyncio.sleep(DRIP_SECONDS)
    if request.transport is not None:
        request.transport.close()
    return response


async def truncated(request: web.BaseRequest, whole: web.Response) -> web.StreamResponse:
    """Send half of the body, then close the connection."""
    body = whole.body if isinstance(whole.body, bytes) else b""
    headers = {name: value for name, value in whole.headers.items() if name != "Content-Length"}
    response = web.StreamResponse(status=whole.status, headers=headers)
    response.content_length = len(body)
    with contextlib.suppress(ConnectionResetError):  # the client has closed the connection
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _count(request: web.Request) -> None:
    resource = request.match_info.route.resource
    # count lists for a single server separately from lists of all servers
    action = "instance_uuid" if "instance_uuid" in request.query else None
    if request.method == "POST" and request.path.endswith("/action"):
        try:
            action = next(iter(await request.json()), None)
        except ValueError:
            action = None
    request.app[REQUESTS].note(request.method, resource.canonical if resource else "(no such path)", action)
