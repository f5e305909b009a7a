"""The host facts that Private Cloud Director's resource manager has and Nova lacks: operating system, clusters.

Served only with `resource_manager: true` in the fleet file. The fields are those that its public clients read.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from vmferry.simulator.clock import database
from vmferry.simulator.cloud import Cloud
from vmferry.simulator.errors import UnauthorizedError
from vmferry.simulator.keystone import TOKENS, unauthorized
from vmferry.simulator.model import Host
from vmferry.simulator.web import CLOUD, Reply


def install(app: web.Application) -> None:
    if app[CLOUD].settings.resource_manager:
        app.router.add_get("/resmgr/v2/hosts", _hosts)
        app.router.add_get("/resmgr/v2/clusters", _clusters)


def _cloud(request: web.Request) -> Cloud:
    cloud = request.app[CLOUD]
    request.app[TOKENS].get(request.headers.get("X-Auth-Token"))
    cloud.clock.run_due()
    return cloud


async def _hosts(request: web.Request) -> web.Response:
    try:
        cloud = _cloud(request)
    except UnauthorizedError:
        return unauthorized(request).response({})
    return Reply(200, [_host(cloud, host) for host in cloud.hosts.values()]).response({})


def _host(cloud: Cloud, host: Host) -> dict[str, Any]:
    """The resource manager's view of a host. A host with an empty `os` has no `os_info`: any field may be missing."""
    info = {
        "hostname": host.name,
        "os_family": "Linux",
        "arch": "x86_64",
        "responding": host.alive,
        "last_response_time": database(cloud.last_seen(host)),
        "cpu_info": {"arch": "x86_64", "model": host.cpu.model, "vendor": host.cpu.vendor},
    }
    return {
        "id": host.name,
        "info": info | ({"os_info": host.os_version} if host.os_version else {}),
        "roles": ["pf9-ostackhost-neutron"],
        "role_status": "ok" if host.alive else "failed",
        "hypervisor_info": {"hypervisor_type": "kvm"},
        "hostconfig_id": None,
        "extensions": {},
        "message": "",
    }


async def _clusters(request: web.Request) -> web.Response:
    try:
        cloud = _cloud(request)
    except UnauthorizedError:
        return unauthorized(request).response({})
    nova = cloud.settings.nova
    clusters = [
        {
            "name": aggregate.name,
            "hostlist": list(aggregate.hosts),
            "aggregate_id": aggregate.id,
            "vmHighAvailability": {"enabled": False},
            "autoResourceRebalancing": {"enabled": False},
            "cpu": {"mode": nova.cpu_mode if nova.cpu_model else None, "model": nova.cpu_model},
            "gpu": {"enabled": False, "mode": None},
        }
        for aggregate in cloud.aggregates.values()
        if aggregate.zone
    ]
    return Reply(200, clusters).response({})
