"""The common request and response types of all services; each service renders errors in its own shape."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import BadRequestError, ForbiddenError
from vmferry.simulator.model import Caller

CLOUD: web.AppKey[Cloud] = web.AppKey("cloud", Cloud)


@dataclass(slots=True)
class Call:
    """A request as the handlers receive it. `version` is the minor microversion: 100 for 2.100."""

    cloud: Cloud
    caller: Caller
    version: int
    params: dict[str, str]
    query: MultiMapping[str]
    body: Any
    #: the URL of the service, without a trailing slash: `http://127.0.0.1:5000/compute/v2.1`
    base: str
    url: str

    def since(self, version: int) -> bool:
        return self.version >= version

    def require(self, rule: str) -> None:
        """Require an administrator. Raises ForbiddenError."""
        if not self.caller.is_admin:
            raise ForbiddenError.policy(rule)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true", "t", "yes", "y", "on")

    def only(self, *names: str, since: int) -> None:
        """Refuse all other query parameters, from microversion `since` on. Raises BadRequestError."""
        unknown = [name for name in self.query if name not in names]
        if unknown and self.since(since):
            listed = ", ".join(repr(name) for name in unknown)
            verb = "was" if len(unknown) == 1 else "were"
            raise BadRequestError(f"Additional properties are not allowed ({listed} {verb} unexpected)")

    def limit(self) -> int:
        """The page size. Raises BadRequestError."""
        most = self.cloud.settings.nova.max_limit
        text = self.query.get("limit")
        if text is None:
            return most
        if not text.isdigit():
            raise BadRequestError(
                f"Invalid input for query parameters limit. Value: {text}. {text!r} does not match '^[0-9]*$'"
            )
        return min(int(text), most)

    def next_link(self, path: str, marker: str) -> list[dict[str, str]]:
        """Nova's link to the next page."""
        query = [(key, value) for key, value in self.query.items() if key != "marker"] + [("marker", marker)]
        query.sort()
        text = "&".join(f"{key}={value}" for key, value in query)
        return [{"rel": "next", "href": f"{self.base}{path}?{text}"}]


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, headers: dict[str, str]) -> web.Response:
        everything = {**headers, **self.headers}
        if self.body is None:
            return web.Response(status=self.status, headers=everything)
        return web.Response(
            body=json.dumps(self.body).encode(),
            status=self.status,
            headers=everything,
            content_type="application/json",
        )


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a service. `since` and `until` are the first and the last minor microversion that have it."""

    method: str
    path: str
    handler: Handler
    since: int = 0
    until: int = 9999


async def read_json(request: web.Request) -> Any:
    """The parsed body; None for an empty body. Raises BadRequestError."""
    text = await request.text()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise BadRequestError("Malformed request body") from None


def base_url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
