"""Nova's entry point: version documents, microversion negotiation, tokens, and error responses."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiohttp import web

from vmferry.simulator.errors import ApiError, BadRequestError, NotAcceptableError, UnauthorizedError, no_such_resource
from vmferry.simulator.keystone import TOKENS, unauthorized
from vmferry.simulator.nova import (
    aggregates,
    flavors,
    hosts,
    instance_actions,
    migrations,
    server_actions,
    server_groups,
    servers,
)
from vmferry.simulator.web import CLOUD, Call, Reply, Route, base_url, read_json

PREFIX = "/compute/v2.1"
_FAULTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
_VERSION = re.compile(r"^([1-9]\d*)\.([1-9]\d*|0)$")
_VARY = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


def routes() -> Iterable[Route]:
    for module in (
        servers,
        server_actions,
        migrations,
        instance_actions,
        hosts,
        aggregates,
        server_groups,
        flavors,
    ):
        yield from module.ROUTES


def install(app: web.Application) -> None:
    for path in ("/compute", "/compute/"):
        app.router.add_get(path, _versions)
    for path in (PREFIX, PREFIX + "/"):
        app.router.add_get(path, _version)
    by_place: dict[tuple[str, str], list[Route]] = {}
    for route in routes():
        by_place.setdefault((route.method, route.path), []).append(route)
    for (method, path), choices in by_place.items():
        app.router.add_route(method, PREFIX + path, _serve(choices))


def fault(status: int, message: str) -> dict[str, Any]:
    return {_FAULTS.get(status, "computeFault"): {"code": status, "message": message}}


def negotiate(headers: Any, highest: str) -> tuple[int, int]:
    """Return (major, minor) from the request headers; (2, 1) without a version header.

    `OpenStack-API-Version: compute X` takes precedence over `X-OpenStack-Nova-API-Version: X`; of several versions in
    one header the last applies. Raises BadRequestError for a malformed version. Does not check the range.
    """
    wanted: str | None = None
    for header in headers.getall("OpenStack-API-Version", []):
        for part in header.split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == "compute":
                wanted = words[1]
    if wanted is None:
        wanted = headers.get("X-OpenStack-Nova-API-Version")
    if wanted is None:
        return 2, 1
    if wanted == "latest":
        wanted = highest
    match = _VERSION.match(wanted)
    if match is None:
        raise BadRequestError(f"API Version String {wanted} is of invalid format. Must be of format MajorNum.MinorNum.")
    return int(match[1]), int(match[2])


def _serve(choices: list[Route]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def served(request: web.Request) -> web.Response:
        request_id = f"req-{uuid.uuid4()}"
        headers = {"x-openstack-request-id": request_id, "x-compute-request-id": request_id, "Vary": _VARY}
        try:
            reply = await _answer(request, choices, request_id, headers)
        except UnauthorizedError:
            reply = unauthorized(request)
        except ApiError as error:
            reply = Reply(error.status, fault(error.status, error.message))
        return reply.response(headers)

    return served


async def _answer(request: web.Request, choices: list[Route], request_id: str, headers: dict[str, str]) -> Reply:
    cloud = request.app[CLOUD]
    caller = request.app[TOKENS].caller(request.headers.get("X-Auth-Token"), request_id)
    highest = cloud.settings.nova.max_microversion
    major, minor = negotiate(request.headers, highest)
    headers["OpenStack-API-Version"] = f"compute {major}.{minor}"
    headers["X-OpenStack-Nova-API-Version"] = f"{major}.{minor}"
    if not (2, 1) <= (major, minor) <= (2, int(highest.split(".")[1])):
        raise NotAcceptableError(
            f"Version {major}.{minor} is not supported by the API. Minimum is 2.1 and maximum is {highest}."
        )
    body = await read_json(request)
    cloud.clock.run_due()
    call = Call(
        cloud=cloud,
        caller=caller,
        version=minor,
        params=dict(request.match_info),
        query=request.query,
        body=body,
        base=base_url(request) + PREFIX,
        url=str(request.url),
    )
    for route in choices:
        if route.since <= minor <= route.until:
            return route.handler(call)
    raise no_such_resource()


def _documents(request: web.Request) -> list[dict[str, Any]]:
    highest = request.app[CLOUD].settings.nova.max_microversion
    return [
        {
            "id": "v2.1",
            "status": "CURRENT",
            "version": highest,
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [{"rel": "self", "href": f"{base_url(request)}{PREFIX}/"}],
        }
    ]


async def _versions(request: web.Request) -> web.Response:
    return Reply(200, {"versions": _documents(request)}).response({"x-openstack-request-id": f"req-{uuid.uuid4()}"})


async def _version(request: web.Request) -> web.Response:
    document = _documents(request)[0]
    document["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
    document["media-types"] = [
        {"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}
    ]
    request_id = f"req-{uuid.uuid4()}"
    headers = {
        "x-openstack-request-id": request_id,
        "x-compute-request-id": request_id,
        "OpenStack-API-Version": "compute 2.1",
        "X-OpenStack-Nova-API-Version": "2.1",
        "Vary": _VARY,
    }
    return Reply(200, {"version": document}).response(headers)
