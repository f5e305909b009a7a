"""The part of Neutron that a migration reads: the list of ports with their types."""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from vmferry.simulator.errors import UnauthorizedError
from vmferry.simulator.keystone import TOKENS, unauthorized
from vmferry.simulator.model import Server
from vmferry.simulator.web import CLOUD, Reply, base_url


def install(app: web.Application) -> None:
    for path in ("/network", "/network/"):
        app.router.add_get(path, _versions)
    app.router.add_get("/network/v2.0/ports", _ports)


async def _versions(request: web.Request) -> web.Response:
    document = {
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{base_url(request)}/network/v2.0/"}],
    }
    return Reply(200, {"versions": [document]}).response({})


async def _ports(request: web.Request) -> web.Response:
    """List ports: of all projects for an administrator, else of the caller's project. Filters by type and by server."""
    request_id = f"req-{uuid.uuid4()}"
    headers = {"x-openstack-request-id": request_id}
    cloud, query = request.app[CLOUD], request.query
    try:
        caller = request.app[TOKENS].caller(request.headers.get("X-Auth-Token"), request_id)
    except UnauthorizedError:
        return unauthorized(request).response(headers)
    cloud.clock.run_due()
    ports = [
        port
        for server in cloud.servers.values()
        if server.deleted_at is None and (caller.is_admin or server.project_id == caller.project_id)
        for port in _of(server)
        if all(port[name] in query.getall(name) for name in ("binding:vnic_type", "device_id") if name in query)
    ]
    ids = [port["id"] for port in ports]
    start = ids.index(query["marker"]) + 1 if query.get("marker") in ids else 0
    limit = int(query.get("limit", len(ports)))
    page, more = ports[start : start + limit], len(ports) > start + limit
    fields = query.getall("fields", [])
    body: dict[str, Any] = {"ports": [{k: v for k, v in port.items() if not fields or k in fields} for port in page]}
    if more and page:
        following = request.url.update_query(marker=page[-1]["id"])
        body["ports_links"] = [{"rel": "next", "href": str(following)}]
    return Reply(200, body).response(headers)


def _of(server: Server) -> list[dict[str, str]]:
    """A normal port for each address, and the ports of special types."""
    types = ["normal"] * len(server.addresses) + server.port_types
    return [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{server.id}/{number}")),
            "device_id": server.id,
            "device_owner": "compute:nova",
            "project_id": server.project_id,
            "binding:vnic_type": kind,
        }
        for number, kind in enumerate(types)
    ]
