"""Placement: inventories, allocations, and allocation candidates."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from vmferry.simulator.errors import (
    ApiError,
    BadRequestError,
    ForbiddenError,
    NotAcceptableError,
    NotFoundError,
    UnauthorizedError,
)
from vmferry.simulator.keystone import TOKENS, unauthorized
from vmferry.simulator.model import Host
from vmferry.simulator.web import CLOUD, Call, Reply, Route, base_url, read_json

PREFIX = "/placement"
HIGHEST = 39
_TITLES = {400: "Bad Request", 403: "Forbidden", 404: "Not Found", 406: "Not Acceptable", 409: "Conflict"}
#: the texts that Placement (webob) puts before its own message for a status code
_PREFACES = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.\n\n ",
    403: "Access was denied to this resource.\n\n ",
    404: "The resource could not be found.\n\n ",
    406: "The resource could not be generated that was acceptable to your browser (content of type application/json. "
    "\n\n Invalid microversion: ",
}
_VERSION = re.compile(r"^1\.(\d+)$")


def install(app: web.Application) -> None:
    for path in (PREFIX, PREFIX + "/"):
        app.router.add_get(path, _versions)
    for route in ROUTES:
        app.router.add_route(route.method, PREFIX + route.path, _serve(route))


async def _versions(request: web.Request) -> web.Response:
    document = {
        "id": "v1.0",
        "status": "CURRENT",
        "min_version": "1.0",
        "max_version": f"1.{HIGHEST}",
        "links": [{"rel": "self", "href": ""}],
    }
    return Reply(200, {"versions": [document]}).response({"x-openstack-request-id": f"req-{uuid.uuid4()}"})


def negotiate(headers: Any) -> int:
    """The minor version that the headers request; 0 without one. Raises BadRequestError, NotAcceptableError."""
    for header in headers.getall("OpenStack-API-Version", []):
        for part in header.split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == "placement":
                if words[1] == "latest":
                    return HIGHEST
                match = _VERSION.match(words[1])
                if match is None:
                    raise BadRequestError(f"invalid version string: {words[1]}")
                if int(match[1]) > HIGHEST:
                    raise NotAcceptableError(f"Unacceptable version header: {words[1]}")
                return int(match[1])
    return 0


def _serve(route: Route) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def served(request: web.Request) -> web.Response:
        request_id = f"req-{uuid.uuid4()}"
        headers = {"x-openstack-request-id": request_id, "Vary": "openstack-api-version"}
        try:
            reply = await _answer(request, route, request_id, headers)
        except UnauthorizedError:
            reply = unauthorized(request)
        except ApiError as error:
            entry: dict[str, Any] = {
                "status": error.status,
                "title": _TITLES[error.status],
                "detail": f"{_PREFACES.get(error.status, '')}{error.message}  ",
                "request_id": request_id,
            }
            if error.status == 406:
                entry |= {"max_version": f"1.{HIGHEST}", "min_version": "1.0"}
            elif int(headers.get("openstack-api-version", "placement 1.0").rpartition(".")[2]) >= 23:
                entry["code"] = "placement.undefined_code"
            reply = Reply(error.status, {"errors": [entry]})
        return reply.response(headers)

    return served


async def _answer(request: web.Request, route: Route, request_id: str, headers: dict[str, str]) -> Reply:
    cloud = request.app[CLOUD]
    caller = request.app[TOKENS].caller(request.headers.get("X-Auth-Token"), request_id)
    version = negotiate(request.headers)
    headers["openstack-api-version"] = f"placement 1.{version}"
    body = await read_json(request)
    cloud.clock.run_due()
    call = Call(
        cloud,
        caller,
        version,
        dict(request.match_info),
        request.query,
        body,
        base_url(request) + PREFIX,
        str(request.url),
    )
    if version < route.since:
        raise NotFoundError(" ")
    if not caller.is_admin:
        name = route.path.split("/")[1]
        raise ForbiddenError(f"Policy does not allow placement:{name}:list to be performed.")
    return route.handler(call)


def _find(call: Call) -> Host:
    for host in call.cloud.hosts.values():
        if host.uuid == call.params["id"]:
            return host
    raise NotFoundError(f"No resource provider with uuid {call.params['id']} found ")


def _generation(call: Call, host: Host) -> int:
    return len(call.cloud.ledger.consumers_of(host.uuid)) + 1


def _provider(call: Call, host: Host) -> dict[str, Any]:
    path = f"/placement/resource_providers/{host.uuid}"
    names = ["self", "inventories", "usages"]
    names += ["aggregates"] if call.since(1) else []
    names += ["traits"] if call.since(6) else []
    names += ["allocations"] if call.since(11) else []
    view: dict[str, Any] = {
        "uuid": host.uuid,
        "name": host.name,
        "generation": _generation(call, host),
        "links": [{"rel": name, "href": path if name == "self" else f"{path}/{name}"} for name in names],
    }
    return view | ({"parent_provider_uuid": None, "root_provider_uuid": host.uuid} if call.since(14) else {})


def _providers(call: Call) -> Reply:
    query, cloud = call.query, call.cloud
    hosts = list(cloud.hosts.values())
    if "name" in query:
        hosts = [host for host in hosts if host.name == query["name"]]
    if "uuid" in query:
        hosts = [host for host in hosts if host.uuid == query["uuid"]]
    if "in_tree" in query:
        hosts = [host for host in hosts if host.uuid == query["in_tree"]]
    hosts = _restricted(call, hosts)
    if "resources" in query:
        wanted = _resources(query["resources"])
        hosts = [host for host in hosts if cloud.has_room(host, wanted)]
    return Reply(200, {"resource_providers": [_provider(call, host) for host in hosts]})


def _restricted(call: Call, hosts: list[Host]) -> list[Host]:
    """Filter by `required` traits (`!` forbids a trait) and by `member_of` aggregates."""
    for text in call.query.getall("required", []):
        for trait in text.split(","):
            forbidden, name = trait.startswith("!"), trait.lstrip("!")
            hosts = [host for host in hosts if (name in call.cloud.traits(host)) != forbidden]
    for text in call.query.getall("member_of", []):
        forbidden, text = text.startswith("!"), text.lstrip("!")
        wanted = set(text.removeprefix("in:").split(","))
        hosts = [
            host
            for host in hosts
            if any(entry.uuid in wanted for entry in call.cloud.aggregates_of(host.name)) != forbidden
        ]
    return hosts


def _resources(text: str) -> dict[str, int]:
    try:
        return {name: int(amount) for name, _, amount in (part.partition(":") for part in text.split(","))}
    except ValueError:
        raise BadRequestError(
            "Badly formed resources parameter. Expected resources query string parameter in form: "
            f"?resources=VCPU:2,MEMORY_MB:1024. Got: {text}."
        ) from None


def _show(call: Call) -> Reply:
    return Reply(200, _provider(call, _find(call)))


def _inventories(call: Call) -> Reply:
    host = _find(call)
    body = {"inventories": call.cloud.inventories(host), "resource_provider_generation": _generation(call, host)}
    return Reply(200, body)


def _inventory(call: Call) -> Reply:
    host, name = _find(call), call.params["resource"]
    inventory = call.cloud.inventories(host).get(name)
    if inventory is None:
        raise NotFoundError(f"No inventory of class {name} for {host.uuid}")
    return Reply(200, {**inventory, "resource_provider_generation": _generation(call, host)})


def _usages(call: Call) -> Reply:
    host = _find(call)
    used = {name: call.cloud.ledger.used(host.uuid, name) for name in call.cloud.inventories(host)}
    return Reply(200, {"usages": used, "resource_provider_generation": _generation(call, host)})


def _traits(call: Call) -> Reply:
    host = _find(call)
    body = {"traits": call.cloud.traits(host), "resource_provider_generation": _generation(call, host)}
    return Reply(200, body)


def _set_traits(call: Call) -> Reply:
    """Set the custom traits; the others follow from the host."""
    host = _find(call)
    wanted = (call.body or {}).get("traits", [])
    host.traits = {trait for trait in wanted if str(trait).startswith("CUSTOM_")}
    return _traits(call)


def _aggregates(call: Call) -> Reply:
    host = _find(call)
    body: dict[str, Any] = {"aggregates": [entry.uuid for entry in call.cloud.aggregates_of(host.name)]}
    return Reply(200, body | ({"resource_provider_generation": _generation(call, host)} if call.since(19) else {}))


def _provider_allocations(call: Call) -> Reply:
    host, ledger = _find(call), call.cloud.ledger
    held = {}
    for consumer in ledger.consumers_of(host.uuid):
        record = ledger.consumers[consumer]
        entry: dict[str, Any] = {"resources": record.holds[host.uuid]}
        held[consumer] = entry | ({"consumer_generation": record.generation} if call.since(28) else {})
    return Reply(200, {"allocations": held, "resource_provider_generation": _generation(call, host)})


def _allocations(call: Call) -> Reply:
    record = call.cloud.ledger.consumers.get(call.params["consumer"])
    if record is None:
        return Reply(200, {"allocations": {}})
    hosts = {host.uuid: host for host in call.cloud.hosts.values()}
    body: dict[str, Any] = {
        "allocations": {
            provider: {"resources": resources, "generation": _generation(call, hosts[provider])}
            for provider, resources in record.holds.items()
            if provider in hosts
        }
    }
    if call.since(12):
        body |= {"project_id": record.project_id, "user_id": record.user_id}
    if call.since(28):
        body["consumer_generation"] = record.generation
    if call.since(38):
        body["consumer_type"] = "INSTANCE"
    return Reply(200, body)


def _delete_allocations(call: Call) -> Reply:
    consumer = call.params["consumer"]
    if consumer not in call.cloud.ledger.consumers:
        raise NotFoundError(f"No allocations for consumer '{consumer}'")
    call.cloud.ledger.release(consumer)
    return Reply(204)


def _candidates(call: Call) -> Reply:
    cloud = call.cloud
    if "resources" not in call.query:
        raise BadRequestError("There must be at least one resources or resources[$S] parameter.")
    wanted = _resources(call.query["resources"])
    hosts = [host for host in _restricted(call, list(cloud.hosts.values())) if cloud.has_room(host, wanted)]
    if "in_tree" in call.query:
        hosts = [host for host in hosts if host.uuid == call.query["in_tree"]]
    if "limit" in call.query:
        hosts = hosts[: int(call.query["limit"])]
    requests: list[dict[str, Any]] = []
    for host in hosts:
        if call.since(12):
            entry: dict[str, Any] = {"allocations": {host.uuid: {"resources": wanted}}}
            if call.since(34):
                entry["mappings"] = {"": [host.uuid]}
        else:
            entry = {"allocations": [{"resource_provider": {"uuid": host.uuid}, "resources": wanted}]}
        requests.append(entry)
    body = {
        "allocation_requests": requests,
        "provider_summaries": {host.uuid: _summary(call, host, wanted) for host in hosts},
    }
    return Reply(200, body)


def _summary(call: Call, host: Host, wanted: dict[str, int]) -> dict[str, Any]:
    resources = {
        name: {
            "capacity": int((inventory["total"] - inventory["reserved"]) * inventory["allocation_ratio"]),
            "used": call.cloud.ledger.used(host.uuid, name),
        }
        for name, inventory in call.cloud.inventories(host).items()
        if call.since(27) or name in wanted
    }
    summary: dict[str, Any] = {"resources": resources}
    if call.since(17):
        summary["traits"] = call.cloud.traits(host)
    if call.since(29):
        summary |= {"parent_provider_uuid": None, "root_provider_uuid": host.uuid}
    return summary


def _project_usages(call: Call) -> Reply:
    project = call.query.get("project_id", "")
    sums: dict[str, int] = {}
    for record in call.cloud.ledger.consumers.values():
        if record.project_id == project:
            for resources in record.holds.values():
                for name, amount in resources.items():
                    sums[name] = sums.get(name, 0) + amount
    return Reply(200, {"usages": sums})


ROUTES = [
    Route("GET", "/resource_providers", _providers),
    Route("GET", "/resource_providers/{id}", _show),
    Route("GET", "/resource_providers/{id}/inventories", _inventories),
    Route("GET", "/resource_providers/{id}/inventories/{resource}", _inventory),
    Route("GET", "/resource_providers/{id}/usages", _usages),
    Route("GET", "/resource_providers/{id}/traits", _traits, since=6),
    Route("PUT", "/resource_providers/{id}/traits", _set_traits, since=6),
    Route("GET", "/resource_providers/{id}/aggregates", _aggregates, since=1),
    Route("GET", "/resource_providers/{id}/allocations", _provider_allocations),
    Route("GET", "/allocations/{consumer}", _allocations),
    Route("DELETE", "/allocations/{consumer}", _delete_allocations),
    Route("GET", "/allocation_candidates", _candidates, since=10),
    Route("GET", "/usages", _project_usages, since=9),
]
