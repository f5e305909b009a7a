"""`/os-services`, `/os-hypervisors` and `/os-availability-zone`."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from vmferry.simulator import lifecycle
from vmferry.simulator.clock import database
from vmferry.simulator.cloud import CONTROLLER
from vmferry.simulator.errors import BadRequestError, NotFoundError
from vmferry.simulator.model import Host, StrayService
from vmferry.simulator.nova.schema import boolean, check_object, one_of, text
from vmferry.simulator.web import Call, Reply, Route

_SERVICES = "os_compute_api:os-services"
_HYPERVISORS = "os_compute_api:os-hypervisors"


# ---- services


def _services(call: Call) -> Reply:
    call.require(f"{_SERVICES}:list")
    call.only("host", "binary", since=75)
    binary, host = call.query.get("binary"), call.query.get("host")
    rows = [_controller_service(call, number, name) for number, name in enumerate(("scheduler", "conductor"), start=1)]
    own = [_service_view(call, entry) for entry in call.cloud.hosts.values()]
    strays = call.cloud.stray_services
    rows += [_stray_view(call, stray) for stray in strays if stray.first]
    rows += own
    rows += [_stray_view(call, stray) for stray in strays if not stray.first]
    rows = [row for row in rows if binary in (None, "", row["binary"]) and host in (None, "", row["host"])]
    return Reply(200, {"services": rows})


def _controller_service(call: Call, number: int, name: str) -> dict[str, Any]:
    row = {
        "binary": f"nova-{name}",
        "host": CONTROLLER,
        "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) if call.since(53) else number,
        "zone": "internal",
        "status": "enabled",
        "state": "up",
        "updated_at": database(call.cloud.now),
        "disabled_reason": None,
    }
    return row | ({"forced_down": False} if call.since(11) else {})


def _service_view(call: Call, host: Host) -> dict[str, Any]:
    if host.unreachable:  # microversion 2.69
        return {"binary": "nova-compute", "host": host.name, "status": "UNKNOWN"}
    row = {
        "binary": "nova-compute",
        "host": host.name,
        "id": host.service_uuid if call.since(53) else host.number + 2,
        "zone": call.cloud.zone_of(host.name),
        "status": "disabled" if host.disabled else "enabled",
        "state": "up" if call.cloud.is_up(host) else "down",
        "updated_at": database(call.cloud.last_seen(host)),
        "disabled_reason": host.disabled_reason,
    }
    return row | ({"forced_down": host.forced_down} if call.since(11) else {})


def _stray_view(call: Call, stray: StrayService) -> dict[str, Any]:
    row = {
        "binary": "nova-compute",
        "host": stray.host,
        "id": stray.id,
        "zone": call.cloud.zone_of(stray.host),
        "status": "disabled" if stray.disabled else "enabled",
        "state": "up" if stray.up else "down",
        "updated_at": database(stray.updated_at),
        "disabled_reason": stray.disabled_reason,
    }
    return row | ({"forced_down": stray.forced_down} if call.since(11) else {})


def _stray(call: Call) -> StrayService | None:
    return next((stray for stray in call.cloud.stray_services if stray.id == call.params["id"]), None)


def _find_service(call: Call) -> Host:
    service_id = call.params["id"]
    if not _is_uuid(service_id):
        raise BadRequestError(f"Invalid uuid {service_id}")
    for host in call.cloud.hosts.values():
        if host.service_uuid == service_id:
            return host
    for name in ("scheduler", "conductor"):
        if service_id == str(uuid.uuid5(uuid.NAMESPACE_DNS, name)):
            raise BadRequestError(
                f"Updating a nova-{name} service is not supported. Only nova-compute services can be updated."
            )
    raise NotFoundError(f"Service {service_id} could not be found.")


def _update_service(call: Call) -> Reply:
    call.require(f"{_SERVICES}:update")
    optional = ("status", "disabled_reason", "forced_down")
    body = check_object("body", call.body or {}, optional=optional)
    if "status" in body:
        one_of("status", body["status"], ("enabled", "disabled"))
    reason = body.get("disabled_reason")
    if "disabled_reason" in body:
        text("disabled_reason", reason, shortest=1, longest=255)
    stray = _stray(call)
    if stray is not None:
        if "status" in body:
            stray.disabled, stray.disabled_reason = body["status"] == "disabled", reason
        stray.forced_down = bool(body.get("forced_down", stray.forced_down))
        return Reply(200, {"service": _stray_view(call, stray)})
    host = _find_service(call)
    if body.get("status") == "enabled" and reason:
        raise BadRequestError("Specifying 'disabled_reason' with status 'enabled' is invalid.")
    if "status" not in body and "forced_down" not in body:
        raise BadRequestError("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
    forced = boolean("forced_down", body["forced_down"]) if "forced_down" in body else None
    if forced is False:
        _refuse_with_evacuations(call, host)
    if "status" in body:
        call.cloud.set_disabled(host, body["status"] == "disabled", reason)
    if forced is not None:
        host.forced_down = forced
    return Reply(200, {"service": _service_view(call, host)})


def _refuse_with_evacuations(call: Call, host: Host) -> None:
    for migration in call.cloud.migrations.values():
        if migration.type != "evacuation" or migration.source != host.name or migration.status != "done":
            continue
        # deleting a server also deletes its migration records
        if call.cloud.servers[migration.server_id].deleted_at is None:
            raise BadRequestError(
                f"Unable to force up host {host.name} as `done` evacuation migration records remain associated with "
                "the host. Ensure the compute service has been restarted, allowing these records to move to "
                "`completed` before retrying this request."
            )


def _update_service_by_name(call: Call) -> Reply:
    """The form below 2.53: the action is in the path, the host and the binary are in the body."""
    call.require(f"{_SERVICES}:update")
    verb, body = call.params["id"], call.body or {}
    if verb not in ("enable", "disable", "disable-log-reason") and not (verb == "force-down" and call.since(11)):
        raise NotFoundError("Unknown action")
    name, binary = body.get("host", ""), body.get("binary", "")
    if binary != "nova-compute":
        raise BadRequestError(
            f"Updating a {binary} service is not supported. Only nova-compute services can be updated."
        )
    host = call.cloud.hosts.get(name)
    if host is None:
        raise NotFoundError(f"Host '{name}' is not mapped to any cell")
    answer: dict[str, Any] = {"host": name, "binary": binary}
    if verb == "force-down":
        forced = boolean("forced_down", body.get("forced_down"))
        if not forced:
            _refuse_with_evacuations(call, host)
        host.forced_down = forced
        return Reply(200, {"service": answer | {"forced_down": forced}})
    reason = body.get("disabled_reason") if verb == "disable-log-reason" else None
    call.cloud.set_disabled(host, verb != "enable", reason)
    answer["status"] = "disabled" if host.disabled else "enabled"
    if host.disabled_reason:
        answer["disabled_reason"] = host.disabled_reason
    return Reply(200, {"service": answer})


def _delete_service(call: Call) -> Reply:
    call.require(f"{_SERVICES}:delete")
    if (stray := _stray(call)) is not None:
        call.cloud.stray_services.remove(stray)
        return Reply(204)
    lifecycle.remove_service(call.cloud, _find_service(call))
    return Reply(204)


# ---- hypervisors


def _hypervisors(call: Call) -> Reply:
    call.require(f"{_HYPERVISORS}:list")
    return _hypervisor_page(call, detail=False)


def _hypervisors_detail(call: Call) -> Reply:
    call.require(f"{_HYPERVISORS}:list-detail")
    return _hypervisor_page(call, detail=True)


def _hypervisor_page(call: Call, *, detail: bool) -> Reply:
    call.only("hypervisor_hostname_pattern", "limit", "marker", "with_servers", since=53)
    hosts = [host for host in call.cloud.hosts.values() if not host.unreachable]
    pattern = call.query.get("hypervisor_hostname_pattern") if call.since(53) else None
    if pattern is not None:
        if "limit" in call.query or "marker" in call.query:
            raise BadRequestError(
                "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported."
            )
        hosts = [host for host in hosts if pattern in host.name]
        if not hosts:
            raise NotFoundError(f"No hypervisor matching '{pattern}' could be found.")
        return Reply(200, {"hypervisors": [_hypervisor_view(call, host, detail=detail) for host in hosts]})
    if not call.since(33):
        return Reply(200, {"hypervisors": [_hypervisor_view(call, host, detail=detail) for host in hosts]})
    limit = call.limit()
    if marker := call.query.get("marker"):
        places = [i for i, host in enumerate(hosts) if marker in (host.uuid, str(host.number))]
        if not places:
            raise BadRequestError(f"marker [{marker}] not found")
        hosts = hosts[places[0] + 1 :]
    hosts = hosts[:limit]
    views = [_hypervisor_view(call, host, detail=detail) for host in hosts]
    body: dict[str, Any] = {"hypervisors": views}
    if views and len(views) == limit:
        path = "/os-hypervisors/detail" if detail else "/os-hypervisors"
        body["hypervisors_links"] = call.next_link(path, str(views[-1]["id"]))
    return Reply(200, body)


def _hypervisor(call: Call) -> Reply:
    call.require(f"{_HYPERVISORS}:show")
    return Reply(200, {"hypervisor": _hypervisor_view(call, _find_hypervisor(call), detail=True)})


def _uptime(call: Call) -> Reply:
    call.require(f"{_HYPERVISORS}:uptime")
    host = _find_hypervisor(call)
    if not call.cloud.is_up(host):
        raise BadRequestError(f"Compute service of {host.name} is unavailable at this time.")
    return Reply(200, {"hypervisor": _hypervisor_view(call, host, detail=False) | {"uptime": _up_for(call)}})


def _find_hypervisor(call: Call) -> Host:
    wanted = call.params["id"]
    if call.since(53) and not _is_uuid(wanted):
        raise BadRequestError(f"Invalid uuid {wanted}")
    for host in call.cloud.hosts.values():
        if wanted == (host.uuid if call.since(53) else str(host.number)):
            return host
    raise NotFoundError(f"Hypervisor with ID '{wanted}' could not be found.")


def _hypervisor_view(call: Call, host: Host, *, detail: bool) -> dict[str, Any]:
    cloud = call.cloud
    view: dict[str, Any] = {
        "id": host.uuid if call.since(53) else host.number,
        "hypervisor_hostname": host.name,
        "state": "up" if cloud.is_up(host) else "down",
        "status": "disabled" if host.disabled else "enabled",
    }
    if detail:
        view |= {
            "hypervisor_type": host.hypervisor_type,
            "hypervisor_version": host.hypervisor_version,
            "host_ip": host.ip,
            "service": {
                "id": host.service_uuid if call.since(53) else host.number + 2,
                "host": host.name,
                "disabled_reason": host.disabled_reason,
            },
        }
        view |= {"uptime": _up_for(call)} if call.since(88) else _sizes(call, host)
    if call.since(53) and call.flag("with_servers"):
        servers = [
            {"name": f"instance-{server.number:08x}", "uuid": server.id} for server in cloud.servers_on(host.name)
        ]
        if servers or call.since(75):
            view["servers"] = servers
    return view


def _sizes(call: Call, host: Host) -> dict[str, Any]:
    """The fields that 2.88 removed because Placement reports them."""
    servers = call.cloud.servers_on(host.name)
    memory_used = host.reserved_memory_mb + sum(server.flavor.ram_mb for server in servers)
    disk_used = sum(server.local_disk_gb for server in servers)
    sizes: dict[str, Any] = {
        "vcpus": host.vcpus,
        "memory_mb": host.memory_mb,
        "local_gb": host.disk_gb,
        "vcpus_used": sum(server.flavor.vcpus for server in servers),
        "memory_mb_used": memory_used,
        "local_gb_used": disk_used,
        "free_ram_mb": host.memory_mb - memory_used,
        "free_disk_gb": host.disk_gb - disk_used,
        "current_workload": sum(server.task_state is not None for server in servers),
        "running_vms": len(servers),
        "disk_available_least": host.disk_gb - disk_used,
    }
    cpu_info = {
        "arch": "x86_64",
        "model": host.cpu.model,
        "vendor": host.cpu.vendor,
        "topology": {
            "cells": host.sockets,
            "sockets": 1,
            "cores": max(host.vcpus // host.sockets // 2, 1),
            "threads": 2,
        },
        "features": sorted(host.cpu.all_features),
    }
    # Before 2.28 this is a JSON string within JSON.
    return sizes | {"cpu_info": cpu_info if call.since(28) else json.dumps(cpu_info)}


def _up_for(call: Call) -> str:
    """The uptime that the host last reported; a dead host still has it."""
    now = datetime.fromtimestamp(call.cloud.now, UTC)
    minutes, _ = divmod(int(call.cloud.now - call.cloud.started_at), 60)
    return f" {now:%H:%M:%S} up {minutes} min,  0 users,  load average: 0.00, 0.00, 0.00\n"


def _is_uuid(value: str) -> bool:
    try:
        uuid.UUID(value)
    except ValueError:
        return False
    return True


# ---- availability zones


def _zones(call: Call) -> Reply:
    return Reply(200, {"availabilityZoneInfo": _zone_views(call, detail=False)})


def _zones_detail(call: Call) -> Reply:
    call.require("os_compute_api:os-availability-zone:detail")
    return Reply(200, {"availabilityZoneInfo": _zone_views(call, detail=True)})


def _zone_views(call: Call, *, detail: bool) -> list[dict[str, Any]]:
    cloud = call.cloud
    zones: dict[str, list[Host]] = {}
    for host in cloud.hosts.values():
        zones.setdefault(cloud.zone_of(host.name), []).append(host)
    views = []
    for name, hosts in zones.items():
        view: dict[str, Any] = {
            "zoneName": name,
            "zoneState": {"available": any(not host.disabled for host in hosts)},
            "hosts": None,
        }
        if detail:
            view["hosts"] = {
                host.name: {
                    "nova-compute": {
                        "available": cloud.is_up(host),
                        "active": not host.disabled,
                        "updated_at": database(cloud.last_seen(host)),
                    }
                }
                for host in hosts
            }
        views.append(view)
    if detail:
        report = {"available": True, "active": True, "updated_at": database(cloud.now)}
        internal = {CONTROLLER: {"nova-conductor": report, "nova-scheduler": report}}
        views.append({"zoneName": "internal", "zoneState": {"available": True}, "hosts": internal})
    return views


ROUTES = [
    Route("GET", "/os-services", _services),
    Route("PUT", "/os-services/{id}", _update_service, since=53),
    Route("PUT", "/os-services/{id}", _update_service_by_name, until=52),
    Route("DELETE", "/os-services/{id}", _delete_service, since=53),
    Route("GET", "/os-hypervisors", _hypervisors),
    Route("GET", "/os-hypervisors/detail", _hypervisors_detail),
    Route("GET", "/os-hypervisors/{id}", _hypervisor),
    Route("GET", "/os-hypervisors/{id}/uptime", _uptime, until=87),
    Route("GET", "/os-availability-zone", _zones),
    Route("GET", "/os-availability-zone/detail", _zones_detail),
]
