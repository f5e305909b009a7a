"""Faults on the wire that a test orders: slow answers, errors, connections that drop before or after the effect."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections import Counter
from typing import Literal

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ConfigDict, Field, field_validator

from vmferry.simulator.web import Reply


class Fault(BaseModel):
    """What happens to the requests that match; both patterns are regular expressions that search."""

    model_config = ConfigDict(extra="forbid")

    method: str = ".*"
    path: str = ".*"
    #: answer with this status instead, without any effect
    status: int | None = Field(None, ge=400, le=599)
    body: dict[str, object] | None = None
    headers: dict[str, str] = {}
    #: real seconds before the request has its effect
    delay: float = Field(0, ge=0)
    #: close the connection without an answer, before the request had its effect or after
    drop: Literal["before", "after"] | None = None
    #: how many requests it takes; None: all
    times: int | None = Field(None, ge=1)

    @field_validator("method", "path")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return value


class Faults:
    """The ordered ones, oldest first; a request takes the first that matches."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.active: dict[int, Fault] = {}

    def add(self, fault: Fault) -> int:
        number = next(self._numbers)
        self.active[number] = fault
        return number

    def take(self, method: str, path: str) -> Fault | None:
        for number, fault in self.active.items():
            if re.search(fault.method, method) and re.search(fault.path, path):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times == 0:
                        del self.active[number]
                return fault
        return None


class Requests:
    """How many requests each route has had; actions count by their name too."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def note(self, method: str, route: str, action: str | None) -> None:
        self.counts[f"{method} {route}" + (f" {action}" if action else "")] += 1


FAULTS: web.AppKey[Faults] = web.AppKey("faults", Faults)
REQUESTS: web.AppKey[Requests] = web.AppKey("requests", Requests)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    if request.path.startswith("/_control"):
        return await handler(request)
    await _count(request)
    fault = request.app[FAULTS].take(request.method, request.path_qs)
    if fault is None:
        return await handler(request)
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.drop == "before":
        return _hang_up(request)
    if fault.status is not None:
        name = "computeFault" if fault.status >= 500 else "badRequest"
        body = fault.body or {name: {"code": fault.status, "message": "injected by the simulator's control API"}}
        return Reply(fault.status, body, fault.headers).response({})
    response = await handler(request)
    return _hang_up(request) if fault.drop == "after" else response


def _hang_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def _count(request: web.Request) -> None:
    resource = request.match_info.route.resource
    action = None
    if request.method == "POST" and request.path.endswith("/action"):
        try:
            action = next(iter(await request.json()), None)
        except ValueError:
            action = None
    request.app[REQUESTS].note(request.method, resource.canonical if resource else "(no such path)", action)
