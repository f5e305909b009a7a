"""`/_control/`: the API through which a test changes the simulated cloud itself.

Callers send the token of this run in `X-Control-Token`. Requests from web pages are refused: those with an `Origin`
header, and those addressed to a host name instead of an IP address, because a page's own name could be made to resolve
to this address (DNS rebinding).

GET    /_control/state                      a summary of hosts, servers and migrations
POST   /_control/hosts                      add a host (an entry of a fleet file)
DELETE /_control/hosts/{host}               remove the host and all servers on it
POST   /_control/hosts/{host}/kill | start  kill or start its nova-compute
PUT    /_control/hosts/{host}/cell          {"down": true}: the database of its cell does not answer
PUT    /_control/hosts/{host}/knobs         set knobs, null removes a knob; DELETE /_control/knobs removes all
POST   /_control/services                   add a stray service record (an entry of a fleet file); DELETE removes all
POST   /_control/servers                    add a running server (an entry of a fleet file)
DELETE /_control/servers/{id}               delete the server at once
POST   /_control/faults                     order a fault; DELETE /_control/faults removes all
GET    /_control/requests                   counts by method and route, and when each last came; DELETE clears them
POST   /_control/clock                      {"step": seconds} or {"speed": factor}
PATCH  /_control/settings                   {"nova": {…}, "durations": {…}, "token_lifetime": …}
DELETE /_control/tokens                     revoke every token
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from vmferry.simulator import fleet, lifecycle
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import ApiError, BadRequestError, ForbiddenError, NotFoundError
from vmferry.simulator.faults import FAULTS, REQUESTS, Fault
from vmferry.simulator.keystone import TOKENS
from vmferry.simulator.model import Host
from vmferry.simulator.web import CLOUD, Reply, read_json

TOKEN: web.AppKey[str] = web.AppKey("control token", str)
HEADER = "X-Control-Token"

_Handler = Callable[[web.Request, Cloud, Any], Reply]

#: the knobs that a host can have, and the types of their values
KNOBS: dict[str, tuple[type, ...]] = {
    "live_seconds": (int, float),
    "live_seconds_per_gib": (int, float),
    "fail_live_at": (int, float),
    "never_converge": (bool,),
    "fail_pre_live": (bool, str),
    "cold_seconds": (int, float),
    "fail_cold": (bool, str),
    "disk_used_gb": (int, float),
    # These knobs hold builds until the knob is removed. `hold_scheduled`: the server has an allocation on the host but
    # is not on it yet.
    "hold_scheduled": (bool,),
    # `hold_spawning`: the server is on the host in BUILD.
    "hold_spawning": (bool,),
}


def install(app: web.Application) -> None:
    routes: list[tuple[str, str, _Handler]] = [
        ("GET", "/state", _state),
        ("POST", "/hosts", _add_host),
        ("DELETE", "/hosts/{host}", _remove_host),
        ("POST", "/hosts/{host}/kill", _kill),
        ("POST", "/hosts/{host}/start", _start),
        ("PUT", "/hosts/{host}/cell", _cell),
        ("PUT", "/hosts/{host}/knobs", _knobs),
        ("DELETE", "/knobs", _reset_knobs),
        ("POST", "/services", _add_service),
        ("DELETE", "/services", _remove_services),
        ("POST", "/servers", _add_server),
        ("DELETE", "/servers/{id}", _remove_server),
        ("GET", "/faults", _faults),
        ("POST", "/faults", _add_fault),
        ("DELETE", "/faults", _remove_faults),
        ("GET", "/requests", _requests),
        ("DELETE", "/requests", _forget_requests),
        ("GET", "/clock", _clock),
        ("POST", "/clock", _move_clock),
        ("PATCH", "/settings", _settings),
        ("DELETE", "/tokens", _revoke_tokens),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, "/_control" + path, _serve(handler))


def _serve(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def served(request: web.Request) -> web.Response:
        cloud = request.app[CLOUD]
        try:
            _let_in(request)
            body = await read_json(request)
            cloud.clock.run_due()
            reply = handler(request, cloud, body)
        except ValidationError as error:
            reply = Reply(400, {"error": fleet.explain(error)})
        except ApiError as error:
            reply = Reply(error.status, {"error": error.message})
        return reply.response({})

    return served


def _let_in(request: web.Request) -> None:
    """Check the origin and the token of a control request. Raises ForbiddenError."""
    if "Origin" in request.headers or not _is_address(request.host):
        raise ForbiddenError("this is not for web pages")
    if not hmac.compare_digest(request.headers.get(HEADER, "").encode(), request.app[TOKEN].encode()):
        raise ForbiddenError(f"the header {HEADER} lacks the token of this run")


def _is_address(host: str) -> bool:
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name == "localhost"
    return True


def _host(request: web.Request, cloud: Cloud) -> Host:
    name = request.match_info["host"]
    if name not in cloud.hosts:
        raise NotFoundError(f"no host {name}; there are {', '.join(cloud.hosts)}")
    return cloud.hosts[name]


def _state(_request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    hosts = {
        host.name: {
            "alive": host.alive,
            "up": cloud.is_up(host),
            "disabled": host.disabled,
            "disabled_reason": host.disabled_reason,
            "forced_down": host.forced_down,
            "knobs": host.knobs,
            "servers": [server.id for server in cloud.servers_on(host.name)],
            "used": {name: cloud.ledger.used(host.uuid, name) for name in cloud.inventories(host)},
            "queued": [migration.id for migration in host.queue],
        }
        for host in cloud.hosts.values()
    }
    servers = {
        server.id: {
            "name": server.name,
            "status": server.status,
            "task_state": server.task_state,
            "host": server.host,
            "project_id": server.project_id,
            "deleted": server.deleted_at is not None,
        }
        for server in cloud.servers.values()
    }
    migrations = [
        {
            "id": migration.id,
            "type": migration.type,
            "status": migration.status,
            "server": migration.server_id,
            "source": migration.source,
            "destination": migration.destination,
        }
        for migration in cloud.migrations.values()
    ]
    return Reply(200, {"now": cloud.now, "hosts": hosts, "servers": servers, "migrations": migrations})


def _add_host(_request: web.Request, cloud: Cloud, body: Any) -> Reply:
    entry = fleet.HostEntry.model_validate(body)
    if entry.name in cloud.hosts:
        raise BadRequestError(f"there already is a host {entry.name}")
    host = fleet.add_host(cloud, entry, entry.name)
    return Reply(201, {"name": host.name, "hypervisor": host.uuid, "service": host.service_uuid})


def _remove_host(request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    host = _host(request, cloud)
    for server in cloud.servers_on(host.name):
        lifecycle.forget(cloud, server)
    cloud.remove_host(host.name)
    return Reply(204)


def _kill(request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    lifecycle.kill_compute(cloud, _host(request, cloud))
    return Reply(204)


def _start(request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    lifecycle.start_compute(cloud, _host(request, cloud))
    return Reply(204)


def _knobs(request: web.Request, cloud: Cloud, body: Any) -> Reply:
    host = _host(request, cloud)
    if not isinstance(body, dict):
        raise BadRequestError("a JSON object of knobs is needed")
    for name, value in body.items():
        check_knob(name, value)
    kept = {**host.knobs, **body}
    host.knobs = {name: value for name, value in kept.items() if value is not None}
    lifecycle.release_held(cloud, host)
    return Reply(200, host.knobs)


class _CellOrder(BaseModel, extra="forbid"):
    down: bool


def _cell(request: web.Request, cloud: Cloud, body: Any) -> Reply:
    host = _host(request, cloud)
    host.unreachable = _CellOrder.model_validate(body or {}).down
    return Reply(204)


def check_knob(name: str, value: Any) -> None:
    """Raises BadRequestError for an unknown knob and for a value of the wrong type."""
    if name not in KNOBS:
        raise BadRequestError(f"no knob {name}; there are {', '.join(KNOBS)}")
    numbers_only = bool not in KNOBS[name]
    if value is not None and (not isinstance(value, KNOBS[name]) or (numbers_only and isinstance(value, bool))):
        raise BadRequestError(f"knob {name}: {value!r} is not a {' or '.join(kind.__name__ for kind in KNOBS[name])}")


def _reset_knobs(_request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    for host in cloud.hosts.values():
        host.knobs = {}
        lifecycle.release_held(cloud, host)
    return Reply(204)


def _add_service(_request: web.Request, cloud: Cloud, body: Any) -> Reply:
    entry = fleet.StrayServiceEntry.model_validate(body)
    return Reply(201, {"id": fleet.add_stray_service(cloud, entry).id})


def _remove_services(_request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    cloud.stray_services.clear()
    return Reply(204)


def _add_server(_request: web.Request, cloud: Cloud, body: Any) -> Reply:
    entry = fleet.ServerEntry.model_validate(body)
    try:
        server = fleet.add_server(cloud, entry, entry.name, entry.host)
    except fleet.FleetError as error:
        raise BadRequestError(str(error)) from error
    return Reply(201, {"id": server.id})


def _remove_server(request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    server = cloud.servers.get(request.match_info["id"])
    if server is None or server.deleted_at is not None:
        raise NotFoundError(f"no server {request.match_info['id']}")
    lifecycle.forget(cloud, server)
    return Reply(204)


def _faults(request: web.Request, _cloud: Cloud, _body: Any) -> Reply:
    active = request.app[FAULTS].active
    return Reply(200, {"faults": [{"id": number, **fault.model_dump()} for number, fault in active.items()]})


def _add_fault(request: web.Request, _cloud: Cloud, body: Any) -> Reply:
    return Reply(201, {"id": request.app[FAULTS].add(Fault.model_validate(body))})


def _remove_faults(request: web.Request, _cloud: Cloud, _body: Any) -> Reply:
    request.app[FAULTS].active.clear()
    return Reply(204)


def _requests(request: web.Request, _cloud: Cloud, _body: Any) -> Reply:
    known = request.app[REQUESTS]
    counts = dict(sorted(known.counts.items()))
    return Reply(200, {"total": sum(counts.values()), "requests": counts, "last": known.last})


def _forget_requests(request: web.Request, _cloud: Cloud, _body: Any) -> Reply:
    request.app[REQUESTS].clear()
    return Reply(204)


def _clock(_request: web.Request, cloud: Cloud, _body: Any) -> Reply:
    return Reply(200, {"now": cloud.now, "speed": cloud.clock.speed})


class _ClockOrder(BaseModel, extra="forbid"):
    step: float | None = None
    speed: float | None = None


def _move_clock(request: web.Request, cloud: Cloud, body: Any) -> Reply:
    order = _ClockOrder.model_validate(body or {})
    if (order.step or 0) < 0 or (order.speed or 0) < 0:
        raise BadRequestError("time does not run backwards")
    if order.speed is not None:
        cloud.clock.set_speed(order.speed)
    if order.step is not None:
        cloud.clock.step(order.step)
    return _clock(request, cloud, None)


def _settings(_request: web.Request, cloud: Cloud, body: Any) -> Reply:
    if not isinstance(body, dict) or not set(body) <= {"nova", "durations", "token_lifetime"}:
        raise BadRequestError("only nova, durations and token_lifetime can be changed")
    settings = cloud.settings
    # The settings are validated as a whole first, so that an invalid request changes nothing.
    checked = settings.model_validate(
        {
            **settings.model_dump(),
            **body,
            "nova": {**settings.nova.model_dump(), **body.get("nova", {})},
            "durations": {**settings.durations.model_dump(), **body.get("durations", {})},
        }
    )
    cloud.settings = checked
    return Reply(200, checked.model_dump())


def _revoke_tokens(request: web.Request, _cloud: Cloud, _body: Any) -> Reply:
    request.app[TOKENS].revoke_all()
    return Reply(204)
