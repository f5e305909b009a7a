"""`/servers`: list, show, create, update, delete, metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vmferry.simulator import lifecycle
from vmferry.simulator.clock import parse
from vmferry.simulator.errors import BadRequestError, ForbiddenError, NotFoundError
from vmferry.simulator.lifecycle import NewServer
from vmferry.simulator.model import STATUSES, Flavor, Server, Volume
from vmferry.simulator.nova.schema import check_object, metadata_of_server, text
from vmferry.simulator.nova.server_view import basic, full
from vmferry.simulator.web import Call, Reply, Route

#: the allowed query parameters of a list; from 2.75 on, Nova refuses all others
_QUERY = frozenset(
    [
        "access_ip_v4",
        "access_ip_v6",
        "all_tenants",
        "auto_disk_config",
        "availability_zone",
        "changes-before",
        "changes-since",
        "config_drive",
        "created_at",
        "deleted",
        "description",
        "display_description",
        "display_name",
        "flavor",
        "host",
        "hostname",
        "image",
        "image_ref",
        "ip",
        "ip6",
        "kernel_id",
        "key_name",
        "launch_index",
        "launched_at",
        "limit",
        "locked",
        "locked_by",
        "marker",
        "name",
        "node",
        "not-tags",
        "not-tags-any",
        "power_state",
        "progress",
        "project_id",
        "ramdisk_id",
        "reservation_id",
        "root_device_name",
        "soft_deleted",
        "sort_dir",
        "sort_key",
        "status",
        "tags",
        "tags-any",
        "task_state",
        "tenant_id",
        "terminated_at",
        "user_id",
        "uuid",
        "vm_state",
    ]
)


def _list(call: Call) -> Reply:
    return _page(call, lambda server: basic(call, server), "/servers")


def _detail(call: Call) -> Reply:
    return _page(call, lambda server: full(call, server, single=False), "/servers/detail")


def _page(call: Call, view: Callable[[Server], dict[str, Any]], path: str) -> Reply:
    rows = _filtered(call)
    marker, limit = call.query.get("marker"), call.limit()
    if marker:
        places = [index for index, server in enumerate(rows) if server.id == marker]
        if not places:
            raise BadRequestError(f"marker [{marker}] not found")
        rows = rows[places[0] + 1 :]
    rows = rows[:limit]
    body: dict[str, Any] = {"servers": [view(server) for server in rows]}
    if rows and len(rows) == limit:
        body["servers_links"] = call.next_link(path, rows[-1].id)
    return Reply(200, body)


def _filtered(call: Call) -> list[Server]:
    """The servers that match the query, newest first as in Nova."""
    query, cloud, caller = call.query, call.cloud, call.caller
    if call.since(75):
        for name in query:
            if name not in _QUERY and not name.startswith("_"):
                raise BadRequestError(f"{name!r} does not match any of the regexes: '^_'")
    all_projects = "all_tenants" in query and query["all_tenants"] not in ("0", "false", "False")
    if all_projects:
        which = "detail" if "/detail" in call.url else "index"
        call.require(f"os_compute_api:servers:{which}:get_all_tenants")
    tests: list[Callable[[Server], bool]] = []
    if not all_projects:
        tests.append(lambda server: server.project_id == caller.project_id)
    changes_since, changes_before = _instant(call, "changes-since"), _instant(call, "changes-before")
    # Nova compares whole seconds.
    if changes_since is not None:
        tests.append(lambda server: int(server.updated_at) >= int(changes_since))
    if changes_before is not None:
        tests.append(lambda server: int(server.updated_at) <= int(changes_before))
    wants_deleted = _wants_deleted(call, windowed=changes_since is not None or changes_before is not None)
    if wants_deleted is not None:
        tests.append(lambda server: (server.deleted_at is not None) == wants_deleted)
    statuses = query.getall("status", [])
    if statuses:
        known = {status.upper() for status in statuses} & STATUSES
        if not known:
            if call.since(38):
                raise BadRequestError("Invalid status value")
            return []
        tests.append(lambda server: server.status in known)
    tests += _administrators_filters(call) + _everyones_filters(call)
    # with a limit, a marker or a filter, Nova omits the servers of a cell that does not answer
    tests.append(lambda server: not cloud.is_unreachable(server))
    return [server for server in cloud.servers_newest_first() if all(test(server) for test in tests)]


def _wants_deleted(call: Call, *, windowed: bool) -> bool | None:
    if "DELETED" in (status.upper() for status in call.query.getall("status", [])):
        if not call.caller.is_admin:
            raise ForbiddenError("Only administrators may list deleted instances")
        return True
    if "deleted" in call.query and call.caller.is_admin:
        return call.flag("deleted")
    return None if windowed else False


def _administrators_filters(call: Call) -> list[Callable[[Server], bool]]:
    """Filters that Nova silently ignores for other callers."""
    tests: list[Callable[[Server], bool]] = []
    if not call.caller.is_admin:
        return tests
    query = call.query
    project = query.get("project_id") or query.get("tenant_id")
    if host := query.get("host"):
        tests.append(lambda server: server.host == host)
    if node := query.get("node"):
        tests.append(lambda server: server.host == node)
    if project and "all_tenants" in query:
        tests.append(lambda server: server.project_id == project)
    if user := query.get("user_id"):
        tests.append(lambda server: server.user_id == user)
    if zone := query.get("availability_zone"):
        tests.append(lambda server: call.cloud.zone_of(server.host) == zone)
    for name in ("task_state", "vm_state"):
        if name in query:
            wanted = query[name]
            tests.append(lambda server, name=name, wanted=wanted: getattr(server, name) == wanted)  # type: ignore[misc]
    if "power_state" in query:
        tests.append(lambda server: str(server.power_state) == query["power_state"])
    return tests


def _everyones_filters(call: Call) -> list[Callable[[Server], bool]]:
    query = call.query
    tests: list[Callable[[Server], bool]] = []
    if name := query.get("name"):
        tests.append(lambda server: name in server.name)
    if ids := query.getall("uuid", []):
        tests.append(lambda server: server.id in ids)
    if flavor := query.get("flavor"):
        tests.append(lambda server: server.flavor.id == flavor)
    if "image" in query:
        tests.append(lambda server: server.image_id == query["image"])
    if call.since(73) and "locked" in query:
        locked = call.flag("locked")
        tests.append(lambda server: (server.locked_by is not None) == locked)
    return tests


def _instant(call: Call, name: str) -> float | None:
    if name not in call.query or (name == "changes-before" and not call.since(66)):
        return None
    try:
        return parse(call.query[name])
    except ValueError:
        value = call.query[name]
        raise BadRequestError(
            f"Invalid input for query parameters {name}. Value: {value}. {value!r} is not a 'date-time'"
        ) from None


def _show(call: Call) -> Reply:
    server = call.cloud.find_server(call.params["id"], call.caller)
    if call.cloud.is_unreachable(server):  # microversion 2.69
        return Reply(
            200, {"server": {"id": server.id, "tenant_id": server.project_id, "status": "UNKNOWN", "links": []}}
        )
    return Reply(200, {"server": full(call, server, single=True)})


def _create(call: Call) -> Reply:
    wanted = (call.body or {}).get("server")
    if not isinstance(wanted, dict):
        raise BadRequestError("'server' is a required property")
    new = _read_new(call, wanted)
    server = lifecycle.create(call.cloud, new, call.caller)
    for volume_id, _ in server.volumes:
        call.cloud.volumes[volume_id].server_id = server.id
    body = {
        "id": server.id,
        "links": basic(call, server)["links"],
        "OS-DCF:diskConfig": "MANUAL",
        "security_groups": [{"name": "default"}],
        "adminPass": "simulated",
    }
    return Reply(202, {"server": body}, {"Location": f"{call.base}/servers/{server.id}"})


def _read_new(call: Call, wanted: dict[str, Any]) -> NewServer:
    cloud, caller = call.cloud, call.caller
    if "name" not in wanted:
        raise BadRequestError(
            f"Invalid input for field/attribute server. Value: {wanted}. 'name' is a required property"
        )
    if call.since(37) and "networks" not in wanted:
        raise BadRequestError(
            f"Invalid input for field/attribute server. Value: {wanted}. 'networks' is a required property"
        )
    flavor = _flavor(call, str(wanted.get("flavorRef", "")))
    volumes = _volumes(call, wanted, flavor)
    image_id = str(wanted.get("imageRef") or "") or None
    if image_id is not None and image_id not in cloud.images:
        raise BadRequestError("Can not find requested image")
    if image_id is None and not volumes:
        raise BadRequestError("Missing imageRef attribute")
    hints = (call.body or {}).get("os:scheduler_hints") or (call.body or {}).get("OS-SCH-HNT:scheduler_hints") or {}
    group = hints.get("group")
    if group is not None and group not in cloud.groups:
        raise BadRequestError(f"Instance group {group} could not be found.")
    zone, _, forced_host = str(wanted.get("availability_zone") or "").partition(":")
    host = forced_host.partition(":")[0] or None
    if host is not None:
        call.require("os_compute_api:servers:create:forced_host")
    if "host" in wanted and call.since(74):
        call.require("compute:servers:create:requested_destination")
        if host is not None:
            raise BadRequestError(
                "Destination is conflict: host and/or hypervisor_hostname cannot be specified together with forced "
                "hosts/nodes in availability_zone."
            )
        host = str(wanted["host"])
    if host is not None and host not in cloud.hosts:
        raise BadRequestError(f"Compute host {host} could not be found.")
    known_zones = {aggregate.zone for aggregate in cloud.aggregates.values()} | {cloud.settings.nova.default_zone}
    if zone and zone not in known_zones:
        raise BadRequestError("The requested availability zone is not available")
    return NewServer(
        name=str(wanted["name"]),
        flavor=flavor,
        image_id=None if volumes and volumes[0][2] else image_id,
        volumes=[(volume_id, delete) for volume_id, delete, _ in volumes],
        project_id=caller.project_id,
        user_id=caller.user_id,
        host=host,
        forced_host=bool(forced_host),
        zone=zone or None,
        group_id=group,
        metadata=metadata_of_server(wanted.get("metadata") or {}),
        hints={key: value if isinstance(value, list) else [value] for key, value in hints.items()},
        description=wanted.get("description"),
        key_name=wanted.get("key_name"),
        network=wanted.get("networks") not in (None, "none", []),
    )


def _flavor(call: Call, reference: str) -> Flavor:
    flavor = call.cloud.flavors.get(reference.rsplit("/", 1)[-1])
    if flavor is None:
        raise BadRequestError(f"Flavor {reference} could not be found.")
    return flavor


def _volumes(call: Call, wanted: dict[str, Any], flavor: Flavor) -> list[tuple[str, bool, bool]]:
    """Create the volumes that the block device mapping requires.

    Returns (id, delete on termination, whether it is the root volume), the root volume first.
    """
    cloud, rows = call.cloud, []
    for mapping in wanted.get("block_device_mapping_v2") or []:
        if mapping.get("destination_type", "volume") != "volume" or mapping.get("source_type") == "blank":
            continue
        delete = bool(mapping.get("delete_on_termination", False))
        root = str(mapping.get("boot_index")) == "0"
        if mapping.get("source_type") == "volume":
            volume_id = str(mapping.get("uuid"))
            if volume_id not in cloud.volumes:
                raise BadRequestError(f"Block Device Mapping is Invalid: failed to get volume {volume_id}.")
        else:
            volume = Volume(
                id=cloud.new_uuid(),
                name="",
                size_gb=int(mapping.get("volume_size") or flavor.disk_gb or 1),
                type=str(mapping.get("volume_type") or "__DEFAULT__"),
                project_id=call.caller.project_id,
                created_at=cloud.now,
            )
            cloud.volumes[volume.id] = volume
            volume_id = volume.id
        rows.append((volume_id, delete, root))
    return sorted(rows, key=lambda entry: not entry[2])


def _update(call: Call) -> Reply:
    server = call.cloud.find_server(call.params["id"], call.caller)
    body = check_object(
        "server",
        (call.body or {}).get("server"),
        optional=("name", "description", "hostname", "accessIPv4", "accessIPv6", "OS-DCF:diskConfig"),
    )
    if "name" in body:
        server.name = text("name", body["name"]) or server.name
    if "description" in body and call.since(19):
        server.description = body["description"]
    call.cloud.touch(server)
    return Reply(200, {"server": full(call, server, single=True)})


def _delete(call: Call) -> Reply:
    server = call.cloud.find_server(call.params["id"], call.caller)
    lifecycle.delete(call.cloud, server, call.caller)
    return Reply(204)


# ---- metadata


def _metadata_of(call: Call) -> Server:
    return call.cloud.find_server(call.params["id"], call.caller)


def _metadata(call: Call) -> Reply:
    return Reply(200, {"metadata": _metadata_of(call).metadata})


def _metadata_body(call: Call) -> dict[str, str]:
    return metadata_of_server((call.body or {}).get("metadata"))


def _set_metadata(call: Call) -> Reply:
    server = _metadata_of(call)
    server.metadata = _metadata_body(call)
    call.cloud.touch(server)
    return Reply(200, {"metadata": server.metadata})


def _add_metadata(call: Call) -> Reply:
    server = _metadata_of(call)
    server.metadata = server.metadata | _metadata_body(call)
    call.cloud.touch(server)
    return Reply(200, {"metadata": server.metadata})


def _item(call: Call) -> Reply:
    server, key = _metadata_of(call), call.params["key"]
    if key not in server.metadata:
        raise NotFoundError("Metadata item was not found")
    return Reply(200, {"meta": {key: server.metadata[key]}})


def _set_item(call: Call) -> Reply:
    server, key = _metadata_of(call), call.params["key"]
    meta = (call.body or {}).get("meta") or {}
    if list(meta) != [key]:
        raise BadRequestError("Request body and URI mismatch")
    server.metadata = server.metadata | meta
    call.cloud.touch(server)
    return Reply(200, {"meta": meta})


def _delete_item(call: Call) -> Reply:
    server, key = _metadata_of(call), call.params["key"]
    if key not in server.metadata:
        raise NotFoundError("Metadata item was not found")
    server.metadata = {name: value for name, value in server.metadata.items() if name != key}
    call.cloud.touch(server)
    return Reply(204)


def _limits(call: Call) -> Reply:
    mine = [s for s in call.cloud.servers.values() if s.project_id == call.caller.project_id and s.deleted_at is None]
    absolute = {
        "maxServerMeta": 128,
        "maxTotalInstances": -1,
        "maxTotalCores": -1,
        "maxTotalRAMSize": -1,
        "maxTotalKeypairs": 100,
        "maxServerGroups": -1,
        "maxServerGroupMembers": 10,
        "totalInstancesUsed": len(mine),
        "totalCoresUsed": sum(server.flavor.vcpus for server in mine),
        "totalRAMUsed": sum(server.flavor.ram_mb for server in mine),
        "totalServerGroupsUsed": len(call.cloud.groups),
    }
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})


ROUTES = [
    Route("GET", "/servers", _list),
    Route("GET", "/servers/detail", _detail),
    Route("POST", "/servers", _create),
    Route("GET", "/servers/{id}", _show),
    Route("PUT", "/servers/{id}", _update),
    Route("DELETE", "/servers/{id}", _delete),
    Route("GET", "/servers/{id}/metadata", _metadata),
    Route("PUT", "/servers/{id}/metadata", _set_metadata),
    Route("POST", "/servers/{id}/metadata", _add_metadata),
    Route("GET", "/servers/{id}/metadata/{key}", _item),
    Route("PUT", "/servers/{id}/metadata/{key}", _set_item),
    Route("DELETE", "/servers/{id}/metadata/{key}", _delete_item),
    Route("GET", "/limits", _limits),
]
