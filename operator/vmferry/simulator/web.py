"""One way in for every service: a call in, a reply out, errors in the service's own shape."""

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
    """A request as the handlers see it.  `version` is the minor microversion: 100 for 2.100."""

    cloud: Cloud
    caller: Caller
    version: int
    params: dict[str, str]
    query: MultiMapping[str]
    body: Any
    #: where the service is, without a slash at the end: `http://127.0.0.1:5000/compute/v2.1`
    base: str
    url: str

    def since(self, version: int) -> bool:
        return self.version >= version

    def require(self, rule: str) -> None:
        """What an administrator may do.  Raises ForbiddenError."""
        if not self.caller.is_admin:
            raise ForbiddenError.policy(rule)

    def flag(self, name: str) -> bool:
        return self.query.get(name, "").lower() in ("1", "true", "t", "yes", "y", "on")

    def only(self, *names: str, since: int) -> None:
        """Refuse every other query parameter, from this microversion on.  Raises BadRequestError."""
        unknown = [name for name in self.query if name not in names]
        if unknown and self.since(since):
            listed = ", ".join(repr(name) for name in unknown)
            verb = "was" if len(unknown) == 1 else "were"
            raise BadRequestError(f"Additional properties are not allowed ({listed} {verb} unexpected)")

    def limit(self) -> int:
        """The page's size.  Raises BadRequestError."""
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
        """Nova's way to say that there may be more."""
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
    """`since` and `until` are the first and the last minor microversion that has it."""

    method: str
    path: str
    handler: Handler
    since: int = 0
    until: int = 9999


async def read_json(request: web.Request) -> Any:
    """The body; None without one.  Raises BadRequestError."""
    text = await request.text()
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        raise BadRequestError("Malformed request body") from None


def base_url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}"
